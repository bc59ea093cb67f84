"""The shipped nano encoder loads like any checkpoint, and the tool that makes it runs, stops and resumes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, SiglipModel, SiglipProcessor

from parlib.encode.hub import NANO
from parlib.encode.prompts import languages, load_prompts
from pedsynth.nano import phrases, training
from pedsynth.person import Person

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import nano_ceiling
import pretrain_nano

PERSON = Person(
    female=True,
    age="adult",
    view="back",
    long_hair=True,
    hat=False,
    glasses="sunglasses",
    muffler=False,
    upper="coat",
    upper_colour="red",
    upper_pattern="plaid",
    long_sleeve=True,
    v_neck=False,
    lower="jeans",
    lower_colour="blue",
    lower_pattern="plain",
    footwear="boots",
    bags=frozenset({"backpack"}),
    formal=True,
)


@pytest.fixture(scope="module")
def nano():
    return AutoModel.from_pretrained(NANO).float().eval(), AutoProcessor.from_pretrained(NANO)


def test_folder_is_small_and_plain():
    names = {path.name for path in NANO.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json", "README.md"} <= names
    assert all(Path(name).suffix in (".json", ".safetensors", ".md") for name in names)
    assert sum(path.stat().st_size for path in NANO.iterdir()) <= 8 * 2**20


def test_card_is_written_from_what_was_measured():
    card, measured = (NANO / "README.md").read_text(encoding="utf-8"), json.loads((NANO / "measured.json").read_text())
    assert set(measured["scores"]) == {"pa100k", "peta", "market1501"}
    for scores in measured["scores"].values():
        assert f"{scores['zero_shot']['en']['mA']:.1f}" in card and f"{scores['linear_probe']['mA']:.1f}" in card
        assert set(scores["zero_shot"]) == set(languages())
    assert "rendered pedestrians" in card and "pickle" in card


def test_loads_as_siglip(nano):
    model, processor = nano
    assert isinstance(model, SiglipModel) and isinstance(processor, SiglipProcessor)
    images = [Image.new("RGB", (60, 160), "red"), Image.new("RGB", (64, 128), "blue")]
    inputs = processor(text=["A Person", "a hat"], images=images, padding="max_length", return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 96, 96) and inputs["input_ids"].shape == (2, 32)
    assert inputs["pixel_values"][0, 0].min() == 1 and inputs["pixel_values"][0, 1].max() == -1  # red, in -1..1
    with torch.no_grad():
        out = model(**inputs)
    assert out.logits_per_image.shape == (2, 2) and out.logits_per_image.isfinite().all()


def test_no_text_is_unknown(nano):
    tokenizer = nano[1].tokenizer
    for language in languages():
        for text in load_prompts("peta", language):
            ids = tokenizer(text).input_ids
            assert tokenizer.unk_token_id not in ids and len(ids) <= 32, text
            assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text.lower()
    assert tokenizer("A HAT").input_ids == tokenizer("a hat").input_ids
    assert tokenizer.unk_token_id not in tokenizer("ничего ☂ 🧥").input_ids


def test_phrases_are_true_of_whom_they_should_be():
    traits = phrases.traits(PERSON)
    assert set(traits) == set(phrases.trait_names())
    true = {"female", "adult", "from_30_to_45", "back", "long_hair", "any_glasses", "sunglasses", "coat", "upper_red"}
    true |= {"plaid", "long_sleeve", "trousers", "jeans", "lower_blue", "boots", "backpack", "formal_upper", "any_bag"}
    assert all(traits[name] for name in true)
    assert not any(traits[name] for name in ("male", "front", "hat", "eyeglasses", "dress", "shoulder_bag", "no_bag"))

    table = np.array([[traits[name] for name in phrases.trait_names()]])
    cases = [
        ((("hat", True),), False),
        ((("hat", False),), True),
        ((("female", True), ("jeans", True)), True),
        ((("female", True), ("hat", True)), False),
        ((("backpack", False),), False),
    ]
    bank = [phrases.Phrase("", terms, "en") for terms, _ in cases]
    assert phrases.truths(bank, table, phrases.trait_names())[0].tolist() == [expected for _, expected in cases]


def test_every_language_says_every_trait():
    rng = np.random.default_rng(0)
    for language in phrases.LANGUAGES:
        for trait in phrases.trait_names():
            assert phrases.states(language, trait)
            yes, no = (phrases.sample_phrase(rng, language, kind, trait) for kind in ("is", "not"))
            assert yes.terms == ((trait, True),) and no.terms == ((trait, False),) and yes.text != no.text
            both = phrases.sample_phrase(rng, language, "both", trait)
            assert both.terms[0] == (trait, True) and len(both.terms) == 2
            assert "{" not in yes.text + no.text + both.text


@pytest.fixture(scope="module")
def captions(nano):
    """People of random traits, and what is written about them."""
    table = np.random.default_rng(0).random((3000, len(phrases.trait_names()))) < 0.25
    return table, training.Captions(nano[1].tokenizer, table, seed=3, forbidden=pretrain_nano._test_prompts())


def test_captions_are_never_the_prompts_measured_with(captions):
    pool = captions[1]
    prompts = {text for s in ("pa100k", "peta", "market1501") for code in languages() for text in load_prompts(s, code)}
    assert not {phrase.text.lower() for phrase in pool.phrases} & {text.lower() for text in prompts}
    assert pool.ids.shape == (3000, 32) and {phrase.language for phrase in pool.phrases} == set(languages())


def test_captions_name_few_traits_fine_ones_seldom_and_err_at_times(captions):
    table, pool = captions
    names, salience = phrases.trait_names(), dict(zip(phrases.trait_names(), phrases.salience(), strict=True))
    stated = [[name for name, _ in phrase.terms] for phrase in pool.phrases]
    assert {len(each) for each in stated} == {0, 1, 2}
    assert np.mean([not each for each in stated]) == pytest.approx(training.BACKGROUND, abs=0.02)
    wrong = [not all(table[i, names.index(name)] for name in each) for i, each in enumerate(stated)]
    assert 0.3 * training.WRONG < np.mean(wrong) < 1.2 * training.WRONG  # another person may have the trait too
    fine = {name for name, weight in salience.items() if weight == phrases.SELDOM}
    assert {"any_glasses", "logo", "sneakers", "messenger_bag", "from_30_to_45"} < fine
    mentions = [name for each in stated for name in each]
    assert np.mean([name in fine for name in mentions]) < 0.15 < np.mean([name in fine for name in names])


def test_a_caption_fits_its_own_image_and_those_it_is_true_of(captions):
    table, pool = captions
    rows = np.arange(200)
    fits = pool.answers(rows, table[rows]).numpy()
    assert fits.diagonal().all()
    for j, phrase in enumerate(pool.phrases[:200]):
        true = [bool(phrase.terms) and all(table[i, pool.names.index(name)] for name, _ in phrase.terms) for i in rows]
        assert (np.delete(fits[:, j], j) == np.delete(true, j)).all(), phrase.text


def test_words_of_descriptions_are_shares_of_writers_and_say_what_is_true(nano):
    names = phrases.trait_names()
    table = np.zeros((400, len(names)), bool)
    table[:200, names.index("hat")] = True
    table[200:, names.index("skirt")] = True
    words = training.described(nano[1].tokenizer, np.random.default_rng(0), table)
    writers = words * training.WRITERS
    assert words.min() == 0 and words.max() == pytest.approx(1, abs=1e-3)
    assert np.abs(writers - writers.round()).max() < 0.01
    # Every writer says the one trait, in wordings that share no word with the other's but for small ones.
    assert ((words[:200].max(0) > 0) != (words[200:].max(0) > 0)).sum() > 4


@pytest.mark.long
def test_pretraining_runs_stops_and_resumes(tmp_path):
    options = "--images 80 --measure-images 40 40 40 --batch 16 --steps 2 --threads 1 --workers 1"
    options = [*options.split(), "--checkpoint", "1", "--cache", str(tmp_path / "cache")]
    pretrain_nano.main([*options, "--out", str(tmp_path / "part"), "--minutes", "0"])
    assert json.loads((tmp_path / "part" / "measured.json").read_text())["steps"] == 1
    pretrain_nano.main([*options, "--out", str(tmp_path / "whole")])
    assert json.loads((tmp_path / "whole" / "measured.json").read_text())["steps"] == 2
    pretrain_nano.main([*options, "--out", str(tmp_path / "again"), "--name", "straight"])

    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("part", "whole", "again")]
    assert weights[0] != weights[1] and weights[1] == weights[2]  # the interruption changes nothing
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pkl", ".bin", ".pth")]
    assert isinstance(AutoModel.from_pretrained(tmp_path / "whole"), SiglipModel)

    few = ["--images", "80", "--measure-images", "40", "40", "40", "--steps", "2", "--workers", "1"]
    nano_ceiling.main([*few, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "whole")])
    ceiling = json.loads((tmp_path / "whole" / "measured.json").read_text())["ceiling"]
    assert set(ceiling) == {"pa100k", "peta", "market1501"} and 0 < ceiling["pa100k"]["mA"] < 100
    row = f"trained end to end on labels, 2 steps | {ceiling['pa100k']['mA']:.1f} / "
    assert row in (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
