"""A model in use: loaded, extended, saved, and never silently the wrong one."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import parlib
from parlib.cli import main
from parlib.encode.hub import NANO
from parlib.errors import BadInput
from parlib.files import write_atomic
from parlib.learn.head import VLMPARHead
from parlib.schema import schema
from parlib.use.attributes import few_shot_attribute
from parlib.use.model import EXAMPLES, SHIPPED, Model


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


def test_the_shipped_head_knows_its_examples_better_than_chance(model):
    record = model.records["test.json"]
    assert record["data"]["kind"] == "rendered" and record["tuned"]["mA"] > 0.7
    assert model.run["setting"]["weights"] == model.encoder.identity["weights"]


def test_other_languages_answer_and_are_not_called_calibrated(model):
    folder = EXAMPLES
    english, chinese = model(folder), parlib.load(language="zh")(folder)
    assert not chinese["calibrated"].any() and english["calibrated"].all()
    assert 0 < abs(english["probability"] - chinese["probability"]).max() < 1
    both = parlib.load(language="en, zh")(folder)
    np.testing.assert_allclose(both["probability"], (english["probability"] + chinese["probability"]) / 2, atol=2e-6)
    with pytest.raises(BadInput, match="no prompts in 'xx'; there are en"):
        parlib.load(language="xx")


def test_a_saved_model_answers_the_same_and_says_where_it_comes_from(model, tmp_path):
    pooled = torch.randn(60, model.encoder.width, generator=torch.Generator().manual_seed(0))
    labels = (pooled[:, 0] > 0.5).int().numpy()
    made = model.with_attributes(few_shot_attribute(model.encoder, "scarf", pooled, labels, "a person with a scarf"))
    made.save_pretrained(tmp_path / "saved")
    again = Model.from_pretrained(tmp_path / "saved")
    pd.testing.assert_frame_equal(made(EXAMPLES), again(EXAMPLES))
    assert (
        again.names[-1] == "scarf" and again.records == model.records and again.run["setting"] == model.run["setting"]
    )
    held = {p.name for p in (tmp_path / "saved").iterdir()}
    assert {p.rpartition(".")[2] for p in held} == {"json", "safetensors", "md"}
    prompts = json.loads((tmp_path / "saved" / "prompts.json").read_text())
    assert set(prompts) == {"trained with", "en", "zh", "es", "it", "fr", "ar"} and all(
        len(p) == 26 for p in prompts.values()
    )
    assert "/" + str(tmp_path).strip("/").split("/")[0] + "/" not in (tmp_path / "saved" / "run.json").read_text()


def test_saving_replaces_a_model_and_nothing_else(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "saved")
    write_atomic(tmp_path / "thesis" / "chapter.txt", "years of work")
    with pytest.raises(BadInput, match="holds something that is no model"):
        model.save_pretrained(tmp_path / "thesis")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_models_that_are_none_or_of_another_encoder(capsys, tmp_path):
    for name, words in (
        ("nothing", "no model 'nothing'"),
        (EXAMPLES, "holds no model"),
        ("./nothing/here", "no model './nothing/here'"),
    ):
        code = main(["predict", str(name)])
        out, err = capsys.readouterr()
        assert code == 2 and out == "" and words in err and err.count("\n") == 1
    other = parlib.load_encoder("nano")
    other.model.vision_model.post_layernorm.weight.data += 0.1
    with pytest.raises(BadInput, match="made with another encoder: different weights than encoder 'nano'"):
        parlib.load(encoder=other)
    shutil.copytree(SHIPPED["nano-pa100k"], tmp_path / "cut")
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BadInput, match=r"cannot be read .*fetch or train it again"):
        parlib.load(tmp_path / "cut")


def test_a_head_alone_can_be_wrapped_and_saved(tmp_path):
    encoder, own = parlib.load_encoder("nano"), schema("pa100k").subset("mine", ["Hat", "Female"])
    head = VLMPARHead.for_encoder(encoder, own, ["a hat", "a woman"], "compact")
    Model(encoder, head).save_pretrained(tmp_path / "mine")
    assert parlib.load(tmp_path / "mine").names == ["Hat", "Female"]
    assert "No evaluation was recorded" in (tmp_path / "mine" / "README.md").read_text()


def changed(folder, **preprocessing):
    """A copy of nano with other preprocessing, in both files that may hold it."""
    shutil.copytree(NANO, folder)
    for path in (folder / "preprocessor_config.json", folder / "processor_config.json"):
        if path.is_file():
            content = json.loads(path.read_text())
            content.get("image_processor", content).update(preprocessing)
            path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("other", [{"image_mean": [0.485, 0.456, 0.406]}, {"resample": 3}], ids=["mean", "resample"])
def test_the_same_weights_with_other_preprocessing_are_another_encoder(other, capsys, tmp_path):
    encoder = changed(tmp_path / "nano", **other)
    assert main(["predict", "nano-pa100k", "--encoder", str(encoder), "--attributes", "Hat"]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "model nano-pa100k was made with another encoder: different preprocessing than encoder" in err
    same = shutil.copytree(NANO, tmp_path / "copy")
    assert main(["predict", "nano-pa100k", "--encoder", str(same), "--attributes", "Hat"]) == 0


def test_a_saved_model_keeps_the_identity_of_its_encoder(model, tmp_path):
    schema_of_two = schema("pa100k").subset("mine", ["Hat", "Female"])
    head = VLMPARHead.for_encoder(model.encoder, schema_of_two, ["a hat", "a woman"], "compact")
    Model(model.encoder, head).save_pretrained(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["setting"]["identity"] == model.encoder.identity
    with pytest.raises(BadInput, match="preprocessing"):
        parlib.load(tmp_path / "mine", encoder=changed(tmp_path / "nano", resample=3))


def test_json_of_a_saved_model_is_json(model, tmp_path):
    """A score that is not defined is null, never NaN."""
    record = {**model.records["test.json"], "scores": {**model.records["test.json"]["scores"], "mAP": float("nan")}}
    made = Model(model.encoder, model.head, {**model.run, "history": [{"mAP": float("nan")}]}, {"test.json": record})
    made.save_pretrained(tmp_path / "saved")
    for path in (tmp_path / "saved").glob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name, path=path: pytest.fail(f"{name} in {path.name}"))
    assert "| mAP | not defined |" in (tmp_path / "saved" / "README.md").read_text()


def test_an_option_that_no_model_has_is_an_error_and_thresholds_are_the_heads():
    model = parlib.load("nano-pa100k")
    with pytest.raises(TypeError, match="threshhold"):
        model(EXAMPLES / "person-01.png", threshhold=0.9)
    model.head.thresholds.fill_(0.99)
    assert model(EXAMPLES / "person-01.png")["threshold"].tolist() == pytest.approx([0.99] * len(model.names))
    with pytest.raises(BadInput, match="goes without --boxes"):
        model(EXAMPLES, boxes="boxes.csv", by="identity")
