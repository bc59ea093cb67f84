"""Explorers in process: every control moves the views it should, and no input ends one."""

import copy
import io
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from parlib.cli import main
from parlib.data import labels_of, load_benchmark
from parlib.encode.encoder import load_encoder
from parlib.encode.extract import extract
from parlib.errors import BadInput
from parlib.learn.methods import new_head
from parlib.learn.train import predict
from parlib.measure.metrics import evaluate
from parlib.schema import Schema, schema
from parlib.show.explorers import (
    AttributeExplorer,
    DatasetExplorer,
    ErrorExplorer,
    PromptExplorer,
    ThresholdExplorer,
)
from parlib.show.explorers.page import run_tabs
from parlib.use.model import EXAMPLES, load

PA100K = schema("pa100k")
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("nano")


@pytest.fixture(scope="module")
def splits(rendered):
    return {split: load_benchmark("pa100k", rendered, split) for split in ("train", "val", "test")}


@pytest.fixture(scope="module")
def head(encoder):
    return new_head(PA100K, encoder, preset="compact").eval()


@pytest.fixture(scope="module")
def store(splits, encoder, tmp_path_factory):
    return extract(splits["test"], encoder, tmp_path_factory.mktemp("features"), "test", progress=False)


@pytest.fixture
def one(encoder, splits, head):
    return AttributeExplorer(encoder, PA100K, splits["test"], labels_of(splits["test"]), head)


@pytest.fixture
def data(splits):
    return DatasetExplorer(splits, PA100K)


@pytest.fixture(scope="module")
def scored(splits):
    """Labels with every answer and scores that are right more often than not, (24, 26)."""
    labels, draws = labels_of(splits["test"]).copy(), np.random.default_rng(0)
    labels[::5, 3] = -1
    return labels, (0.35 * (labels == 1) + 0.65 * draws.random(labels.shape)).astype(np.float32)


def changed(view, act):
    """Whether a view's value is another after `act()`."""
    before = view.value
    act()
    return view.value != before


def upload(explorer, content, name="me.png"):
    """What a front end sends when somebody chooses a file."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": 0}
    explorer.upload.set_state({"value": [file]})


def encoded(image, kind="PNG", **options):
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["one", "data"])
def test_every_control_has_a_name_and_waits_until_it_is_settled(name, request):
    explorer = request.getfixturevalue(name)
    controls = [
        w for w in vars(explorer)["_trait_values"].get("children", ()) for w in walk(w) if hasattr(w, "description")
    ]
    inputs = [w for w in controls if not type(w).__name__.startswith("HTML")]
    assert len(inputs) >= 6
    assert all(w.description for w in inputs)
    assert not any(w.continuous_update for w in inputs if w.has_trait("continuous_update"))


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def test_another_image_attribute_or_phrase_shows_another_picture(one):
    assert changed(one.crop, lambda: setattr(one.image, "value", 3))
    assert "000068.jpg" in one.crop.value  # the fourth of test, after 40 + 24
    assert changed(one.crop, lambda: setattr(one.attribute, "value", "Hat"))
    assert "Hat: attention" in one.crop.value
    assert changed(one.reply, lambda: setattr(one.prompt, "value", "eine Person mit Hut"))
    assert "Zero-shot score" in one.reply.value and "<img" in one.reply.value
    assert changed(one.reply, lambda: setattr(one.image, "value", 4)), "the phrase is asked of the new image too"


def test_scores_are_those_of_the_head_and_thresholds_decide(one, head, store):
    one.image.value = 7
    assert np.allclose(one.scores, predict(head, store)[7], atol=2e-3)
    assert np.allclose(one.thresholds, 0.5)
    one.attribute.value = "Backpack"
    one.threshold.value = 0.99
    assert one.thresholds[PA100K.index("Backpack")] == 0.99 and (one.thresholds == 0.99).sum() == 1
    one.attribute.value = "Hat"
    assert one.threshold.value == 0.5, "the slider shows the threshold of the attribute chosen"
    one.everywhere.value = True
    one.threshold.value = 0.25
    assert (one.thresholds == 0.25).all()


def test_truth_and_impossible_combinations_are_marked(one):
    one.everywhere.value = True
    one.threshold.value = 0
    assert "view: Front and Side and Back" in one.verdict.value and "⚠" in one.bars.value
    one.threshold.value = 1
    assert "view: none of Front, Side, Back" in one.verdict.value
    right = int((np.asarray(one.truth) == 0).sum())
    assert f"{right} of 26 answers are right" in one.verdict.value
    assert one.bars.value.count("✗") == 26 - right


def test_an_upload_is_scored_without_truth(one):
    upload(one, encoded(Image.new("RGB", (60, 160), "red")))
    assert "me.png" in one.crop.value and one.message.value == ""
    assert "No truth is known" in one.verdict.value and "✗" not in one.bars.value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture at all", "is no image"),
        (b"", "empty"),
        (encoded(Image.new("L", (20_000, 10))), "20000 x 10 px; at most 16,384 px per side"),
        (encoded(Image.effect_noise((60, 160), 50))[:3000], "cannot be read"),
        (encoded(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 99)]), "2 frames"),
    ],
    ids=["text", "empty", "huge", "cut off", "animated"],
)
def test_a_bad_upload_is_a_message_and_the_explorer_lives(one, content, message):
    upload(one, content, HOSTILE)
    assert message in one.message.value and "<script" not in one.message.value + one.crop.value
    one.image.value = 5
    assert one.message.value == "" and "000070.jpg" in one.crop.value


def test_transparency_becomes_white(one):
    upload(one, encoded(Image.new("RGBA", (60, 160), (255, 0, 0, 0))))
    assert one.shown.mode == "RGB" and one.shown.getpixel((5, 5)) == (255, 255, 255)


def test_markup_is_text_everywhere_it_can_come_from(one, data, encoder, splits, store):
    one.prompt.value = HOSTILE
    own = Schema.from_dict({"name": HOSTILE, "attributes": [{"name": HOSTILE, "group": HOSTILE, "prompt": HOSTILE}]})
    labels = np.zeros((24, 1), np.int8)
    with_own = [
        AttributeExplorer(encoder, own, splits["test"], labels),
        PromptExplorer(encoder, own, store.pooled, labels, ["en"]),
        ThresholdExplorer(own, labels, np.full((24, 1), 0.4)),
        ErrorExplorer(own, splits["test"], labels, np.full((24, 1), 0.9)),
    ]
    page = one.reply.value + "".join(w.value for e in with_own for w in walk(e) if type(w).__name__ == "HTML")
    assert "&lt;script" in page and "<script" not in page and "<img src=x" not in page


def test_ids_and_split_names_are_text_too(splits, scored):
    hostile = splits["test"].remove_columns("image_id")
    for column in ("image_id", "identity"):
        hostile = hostile.add_column(column, [HOSTILE] * len(hostile))
    labels = scored[0]
    errors = ErrorExplorer(PA100K, hostile, labels, np.full(labels.shape, 0.9))
    errors.by.value = "identity"
    data = DatasetExplorer({HOSTILE: hostile}, PA100K)
    for page in (errors.pictures.value, data.pictures.value):
        assert "&lt;script" in page and "<script" not in page and "<img src=x" not in page


def test_an_answer_that_takes_long_has_a_progress_bar(one):
    seen = []
    one.answer(lambda: seen.append(one.message.value), one.image)
    one.image.value = 2
    assert all("<progress" in message for message in seen) and len(seen) == 2 and one.message.value == ""


def test_long_empty_and_right_to_left_phrases(one):
    one.prompt.value = "word " * 2000
    assert "6001 tokens" in one.message.value and len(one.reply.value) < 60_000
    one.prompt.value = "شخص يرتدي قبعة"
    assert '<bdi dir="auto">شخص' in one.reply.value
    one.prompt.value = "   "
    assert "Type a phrase" in one.reply.value


def test_without_a_head_scores_and_pictures_are_the_encoders_own(encoder, splits):
    explorer = AttributeExplorer(encoder, PA100K, splits["test"])
    expected = encoder.zero_shot(encoder.encode_images([splits["test"][0]["image"]]).pooled, explorer.words)
    assert np.allclose(explorer.scores, expected[0].numpy())
    assert "patch similarity" in explorer.crop.value and "No truth is known" in explorer.verdict.value


def test_explorers_refuse_a_head_or_features_of_another_encoder(encoder, splits, head, store, scored):
    shipped = load("nano-pa100k", encoder).head
    assert shipped.encoder_identity["weights"] == encoder.identity["weights"], "a head that was read knows its encoder"
    other = copy.copy(head)
    other.encoder_identity = {**encoder.identity, "tokenizer": "0" * 64}
    with pytest.raises(BadInput, match="the head was made with another encoder: different tokenizer"):
        AttributeExplorer(encoder, PA100K, splits["test"], head=other)
    with pytest.raises(BadInput, match="tokenizer of the store's encoder"):
        ErrorExplorer(PA100K, splits["test"], *scored, head=other, store=store)
    other.encoder_identity, other.image_width = encoder.identity, 64
    with pytest.raises(BadInput, match="features are 64 wide, encoder 'nano' makes 128"):
        AttributeExplorer(encoder, PA100K, splits["test"], head=other)
    with pytest.raises(BadInput, match="features are 64 wide, encoder 'nano' makes 128"):
        PromptExplorer(encoder, PA100K, torch.zeros(24, 64), scored[0], ["en"])


def test_a_head_of_another_kind_is_shown_without_attention(encoder, splits, store, scored):
    explorer = ErrorExplorer(PA100K, splits["test"], *scored, head=torch.nn.Linear(2, 26), store=store)
    assert explorer.attention.disabled and "page 1 of" in explorer.pictures.value


def test_of_splits_with_other_columns_what_each_has_is_shown(splits):
    named = splits["train"].add_column("identity", [str(i % 5) for i in range(len(splits["train"]))])
    data = DatasetExplorer({"train": named, "val": splits["val"].remove_columns("image")}, PA100K)
    assert data.identity.disabled and "identities" not in data.counts.value
    assert data.pictures.value.count("<figure>") == 24, "of train, not of val"


def test_a_step_that_leads_nowhere_keeps_what_was_said(data):
    data.unknown.value = ("Hat",)
    (step,) = (each for each in walk(data) if getattr(each, "description", "").startswith("Next"))
    step.click()
    assert "No image fits" in data.message.value


def test_a_filter_keeps_what_it_says(data):
    labels = np.concatenate([labels_of(part) for part in data.datasets.values()])
    female, hat = PA100K.index("Female"), PA100K.index("Hat")
    data.has.value, data.lacks.value = ("Female",), ("Hat",)
    assert list(data.rows) == list(np.flatnonzero((labels[:, female] == 1) & (labels[:, hat] == 0)))
    assert f"{len(data.rows):,} of 88 images" in data.counts.value
    data.split.value = "val"
    assert ((data.rows >= 40) & (data.rows < 64)).all() and len(data.rows)
    assert "val 0000" in data.pictures.value and "train" not in data.pictures.value


def test_pages_turn_and_a_filter_goes_back_to_the_first(data):
    assert data.page.max == 4  # 88 images, 24 a page
    assert changed(data.pictures, lambda: setattr(data.page, "value", 4)) and "Page 4 of 4" in data.pictures.value
    data.has.value = ("Trousers",)
    assert data.page.value == 1 and "Page 1 of" in data.pictures.value


def test_a_filter_without_a_match_says_so_and_can_be_undone(data):
    data.unknown.value = ("Hat",)
    assert "No image fits" in data.message.value and "<b>0 of 88" in data.counts.value
    data.unknown.value = ()
    assert data.message.value == "" and "88 of 88" in data.counts.value


def test_an_attribute_pressed_is_had_lacked_unknown_and_any_again(splits):
    part = splits["test"].map(lambda row, i: {"labels": [-1 if i < 3 else row["labels"][0], *row["labels"][1:]]}, True)
    data = DatasetExplorer({"test": part}, PA100K)

    def pressed(name):
        data.opened.value = f"filter\t{name}"
        return [state.value for state in (data.has, data.lacks, data.unknown)]

    assert 'data-open="filter\tHat"' in data.counts.value
    assert [pressed("Female") for _ in range(4)] == [
        [("Female",), (), ()],
        [(), ("Female",), ()],
        [(), (), ("Female",)],
        [(), (), ()],
    ]
    assert [pressed("Hat") for _ in range(3)][-1] == [(), (), ()], "unknown of no image"
    data.lacks.value = ("Hat",)
    assert "○ Hat" in data.counts.value


def test_together_is_the_share_of_the_rows_images_with_the_column(data):
    labels = data.labels[data.rows] == 1
    both = (labels.T.astype(int) @ labels)[0] / labels[:, 0].sum()
    assert data.together.value.startswith("<small>Of the images with the row")
    assert both[0] == 1 and changed(data.together, lambda: setattr(data.has, "value", ("Hat",)))


def test_identities_are_a_filter_where_they_are_known(rendered_market):
    explorer = DatasetExplorer({"test": load_benchmark("market1501", rendered_market, "test")}, schema("market1501"))
    someone = explorer.identities[0]
    explorer.identity.value = f" {someone} "
    assert (explorer.identities[explorer.rows] == someone).all() and ", 1 identities" in explorer.counts.value
    explorer.identity.value = "nobody"
    assert "No image fits" in explorer.message.value


def test_prompts_are_ranked_by_average_precision(encoder, store, splits):
    labels = labels_of(splits["test"])
    explorer = PromptExplorer(encoder, PA100K, store.pooled, labels, ["en", "it"])
    assert changed(explorer.table, lambda: setattr(explorer.attribute, "value", "Trousers"))
    a = PA100K.index("Trousers")
    ap = {name: evaluate(labels[:, [a]], scores[:, None]).mAP for name, (_, scores) in explorer.found.items()}
    best = [name for name in ap if round(100 * ap[name], 1) == round(100 * max(ap.values()), 1)]
    assert len(best) > 1 and f"<b>{' and '.join(best)} tie</b>" in explorer.table.value
    explorer.attribute.value = "Side"
    a = PA100K.index("Side")
    ap = {name: evaluate(labels[:, [a]], scores[:, None]).mAP for name, (_, scores) in explorer.found.items()}
    assert f"<b>{max(ap, key=ap.get)} wins</b>" in explorer.table.value
    explorer.attribute.value = "Trousers"
    assert explorer.wording.options == tuple(explorer.found)
    assert changed(explorer.prompt, lambda: setattr(explorer.wording, "value", "it 1"))
    assert "yours" not in explorer.table.value
    explorer.prompt.value = "a person in trousers, seen from behind"
    assert "yours" in explorer.table.value and "yours" in explorer.agreement.value
    explorer.prompt.value = " "
    assert "empty wording" in explorer.message.value
    seen = PromptExplorer(encoder, PA100K, store.pooled, labels, ["en"], splits["test"])
    best = seen.found["en 1"][1].argsort()[::-1][:24]
    yes = (labels[best, 0] == 1).sum()
    assert f"{yes} of 24 are labelled so" in seen.pictures.value and seen.pictures.value.count("<img") == 24
    low = 100 * pd.DataFrame({name: scores for name, (_, scores) in seen.found.items()}).rank().corr().min(axis=None)
    assert f'<span class="scale">{low:.0f}<i>' in seen.agreement.value, "the colours span what the matrix holds"


@pytest.mark.parametrize(("label", "why"), [(1, "every known image has it"), (0, "no known image has it")])
def test_no_wording_wins_where_average_precision_is_undefined(encoder, store, label, why):
    explorer = PromptExplorer(encoder, PA100K, store.pooled, np.full((24, 26), label), ["en"])
    assert f"Undefined, so no wording wins: {why}" in explorer.table.value and " wins</b>" not in explorer.table.value


def test_a_sweep_gives_what_evaluate_gives(scored):
    labels, scores = scored
    tuned = np.linspace(0.3, 0.7, 26)
    explorer = ThresholdExplorer(PA100K, labels, scores, tuned)
    for name in ("Female", "AgeLess18"):  # the second has unknown labels
        a, at = PA100K.index(name), np.array([0.0, 0.31, float(scores[2, PA100K.index(name)]), 1.0])
        found = explorer.sweep(a, at)
        for i, threshold in enumerate(at):
            expected = evaluate(labels, scores, np.where(np.arange(26) == a, threshold, tuned))
            row = expected.per_attribute.iloc[a]
            for mine, theirs in (
                ("mA", expected.mA),
                ("F1", expected.f1),
                ("plain", expected.plain_accuracy),
                ("TPR", row.TPR),
                ("TNR", row.TNR),
                ("precision", row.precision),
                ("own", row.plain_accuracy),
            ):
                assert found[mine][i] == pytest.approx(theirs, nan_ok=True), (name, threshold, mine)


def test_a_threshold_moves_curves_and_effect_and_is_kept(scored):
    explorer = ThresholdExplorer(PA100K, *scored)
    assert changed(explorer.curves, lambda: setattr(explorer.attribute, "value", "Trousers"))
    assert changed(explorer.effect, lambda: setattr(explorer.threshold, "value", 0.9))
    assert "for everybody" in explorer.effect.value and explorer.curves.value.count("<svg") == 2
    assert "precision" in explorer.precision.value and "Moved on test: Trousers" in explorer.message.value
    explorer.attribute.value = "Female"
    explorer.attribute.value = "Trousers"
    assert explorer.threshold.value == 0.9
    on_val = ThresholdExplorer(PA100K, *scored, 3e-5, split="val")
    assert on_val.threshold.value == 3e-5 and on_val.threshold.readout_format == ".1e", "a small one is not cut off"
    on_val.threshold.value = 0.9
    assert on_val.message.value == ""


def test_errors_are_errors_and_the_surest_come_first(scored, splits, head, store):
    labels, scores = scored
    explorer = ErrorExplorer(PA100K, splits["test"], labels, scores, 0.5, head, store)
    explorer.attribute.value = "Trousers"
    a = PA100K.index("Trousers")
    for kind, truth in (("false positives", 0), ("false negatives", 1)):
        explorer.kind.value = kind
        rows = explorer.errors()
        assert (labels[rows, a] == truth).all() and ((scores[rows, a] > 0.5) != truth).all()
        sure = scores[rows, a] if truth == 0 else -scores[rows, a]
        assert (np.diff(sure) <= 0).all() and len(rows)
        assert f"{len(rows)} {kind} among" in explorer.pictures.value
    assert (
        changed(explorer.pictures, lambda: setattr(explorer.by, "value", "group"))
        and " wrong (" in explorer.pictures.value
    )
    assert changed(explorer.pictures, lambda: setattr(explorer.attention, "value", False))
    surest = list(explorer.errors())
    explorer.order.value = "least certain first"
    assert list(explorer.errors()) == surest[::-1]


def test_errors_of_a_sub_group_alone(splits):
    """A model that guesses for women and knows all of men: women's score is lower, and all errors are theirs."""
    rng, part = np.random.default_rng(0), splits["train"]
    labels, female = rng.integers(0, 2, (len(part), 26)).astype(np.int8), PA100K.index("Female")
    scores = np.where(labels[:, [female]] == 1, rng.random(labels.shape), labels)
    explorer = ErrorExplorer(PA100K, part, labels, scores)
    explorer.attribute.value = "Hat"
    every = explorer.errors()
    explorer.whom.click()
    row = re.search(r">Female</button>.*?</tr>", explorer.groups.value, re.S)[0]
    assert (
        "<b>yes</b>" in row and explorer.compared.loc["Female", "gap"] < -0.3 and "Hat" not in explorer.compared.index
    )
    explorer.opened.value = "only\tFront"
    front = labels[:, PA100K.index("Front")] == 1
    assert set(explorer.errors()) == set(every[front[every]]) and "images of Front" in explorer.pictures.value
    explorer.opened.value = "only\tFront"
    assert list(explorer.errors()) == list(every)


def test_errors_fill_pages(splits):
    labels = labels_of(splits["test"])
    explorer = ErrorExplorer(PA100K, splits["test"], np.zeros_like(labels), np.full(labels.shape, 0.9))
    assert explorer.page.max == 2 and "page 1 of 2" in explorer.pictures.value
    first = explorer.pictures.value
    explorer.page.value = 2
    assert (
        "page 2 of 2" in explorer.pictures.value and first.count("<img") == explorer.pictures.value.count("<img") == 12
    )
    explorer.attribute.value = "Hat"
    assert explorer.page.value == 1


def test_no_errors_are_a_message(scored, splits):
    labels, _ = scored
    explorer = ErrorExplorer(PA100K, splits["test"], labels, (labels == 1).astype(float))
    assert "No false positives of Female" in explorer.message.value and explorer.pictures.value == ""
    assert explorer.attention.disabled and "identity" not in explorer.by.options


def test_one_error_of_one_image_does_not_rank_first(splits):
    """Hat: 1 of 1 wrong; Glasses: 9 of 10 wrong; of all others none."""
    labels = np.zeros((24, 26), np.int8)
    hat, glasses = PA100K.index("Hat"), PA100K.index("Glasses")
    labels[0, hat], labels[1:11, glasses] = 1, 1
    scores = np.zeros((24, 26))
    scores[:10, 0] = 0.9
    explorer = ErrorExplorer(PA100K, splits["test"], labels, scores)
    explorer.by.value = "group"
    first, second = (explorer.pictures.value.index(name) for name in ("Glasses: 9 of 10", "Hat: 1 of 1"))
    assert first < second


def test_errors_of_images_without_another_attribute_have_no_group(splits):
    one = PA100K.subset("own", ["Hat"])
    explorer = ErrorExplorer(one, splits["test"], np.zeros((24, 1), np.int8), np.full((24, 1), 0.9))
    explorer.by.value = "group"
    assert "no group to show" in explorer.message.value and explorer.pictures.value == ""


def test_the_next_image_is_a_button_away(one):
    before, after = (each for each in walk(one) if getattr(each, "description", "").startswith(("Previous", "Next")))
    after.click()
    assert one.image.value == 1
    before.click()
    before.click()
    assert one.image.value == one.image.max


def test_images_in_the_order_of_doubt(encoder, splits, head, scored):
    one = AttributeExplorer(encoder, PA100K, splits["test"], head=head, every=scored[1])
    one.attribute.value = "Hat"
    one.image.value = 5
    one.order.value = "least certain first"
    doubt = abs(scored[1][:, PA100K.index("Hat")] - 0.5)
    assert one.image.value == 0 and splits["test"][int(doubt.argmin())]["image_id"] in one.crop.value
    one.show(7)
    assert one.order.value == "as in the data" and splits["test"][7]["image_id"] in one.crop.value


def test_a_second_model_stands_beside_and_a_full_frame_is_no_person(encoder, splits, head):
    model = load("nano-pa100k")
    one = AttributeExplorer(encoder, PA100K, splits["test"], head=head, other=model)
    answers = model(splits["test"][0]["image"], progress=False).set_index("attribute")["probability"]
    assert f"/ {answers['Trousers']:.2f}" in one.bars.value and "second model" in one.verdict.value
    upload(one, encoded(Image.new("RGB", (200, 100))))
    assert "full frame" in one.message.value
    upload(one, encoded(Image.new("RGB", (60, 160))), "person.png")
    assert one.message.value == ""


def test_exclusive_attributes_stand_together(one):
    sections = one.bars.value.split("<section>")[1:]
    assert [part.count("<button") for part in sections if "one of" in part] == [3, 3, 2, 3]
    assert one.bars.value.count("<button") == 26 and one.bars.value.count("</section>") == len(sections)


def test_errors_by_identity(rendered_market):
    part = load_benchmark("market1501", rendered_market, "test")
    labels = labels_of(part)
    explorer = ErrorExplorer(schema("market1501"), part, labels, np.full(labels.shape, 0.9))
    explorer.attribute.value, explorer.by.value = "hat", "identity"
    assert "identity 0" in explorer.pictures.value and "(100 %)" in explorer.pictures.value


def test_the_page_opens_on_a_run_and_on_any_folder(rendered_market, tmp_path):
    """A model of PA-100K on its own kind of tree, on another benchmark, on labels of one's own and on bare pictures."""
    five = ("One image", "Data", "Prompts", "Thresholds", "Errors")

    def seen(page):
        """The page once a browser shows its first picture."""
        page.children[0].opened.value = "others"
        return page

    market = seen(run_tabs("nano-pa100k", rendered_market, tmp_path))
    assert market.titles == (*five[:3], "Map", "Labels", "Teach"), "no attribute in common: no thresholds, no errors"
    pictures = shutil.copytree(EXAMPLES, tmp_path / "own", ignore=shutil.ignore_patterns("*.json", "*.csv"))
    bare = run_tabs("nano-pa100k", pictures, beside="nano-pa100k")
    assert " / " in bare.children[0].bars.value
    assert bare.titles == five[:1] and "No truth is known" in bare.children[0].verdict.value
    names = sorted(path.name for path in pictures.glob("*.png"))
    rows = [f"{name},{i % 2},{i % 3 == 0:d}" for i, name in enumerate(names)]
    (pictures / "labels.csv").write_text("\n".join(["image,Hat,Scarf", *rows]))
    own = run_tabs("nano-pa100k", pictures, tmp_path)
    assert own.titles == five[:1] and "mA" in own.heading
    assert seen(own).titles == (*five, "Map", "Labels", "Teach")
    assert "of 1 answers are right" in own.children[0].verdict.value, "attributes without labels are unknown"
    assert all("<progress" not in explorer.message.value for explorer in own.children)
    assert own.children[0].message.value == ""
    for wrong, words in (
        (("nowhere",), "no model 'nowhere'"),
        (("nano-pa100k", tmp_path / "none"), "no folder"),
        (("nano-pa100k",), "names no tree that is here: give its FOLDER"),
    ):
        with pytest.raises(BadInput, match=words):
            run_tabs(*wrong)


def test_the_command_serves_what_it_was_asked_for_and_finds_mistakes_before(capsys, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr("voila.app.Voila.launch_instance", served.append)
    monkeypatch.setenv("PARLIB_EXPLORE", "null")
    assert main(["explore", "nano-pa100k", str(tmp_path / "none")]) == 2 and not served
    assert capsys.readouterr().err.startswith("parlib: no folder")
    assert main(["explore", "nano-pa100k", str(EXAMPLES), "--port", "9", "--no-browser"]) == 0
    assert {"--port=9", "--no-browser", "--Voila.ip=127.0.0.1"} < set(served[0])
    assert json.loads(os.environ["PARLIB_EXPLORE"]) == {
        "run": "nano-pa100k",
        "folder": str(EXAMPLES),
        "cache": None,
        "beside": None,
    }
