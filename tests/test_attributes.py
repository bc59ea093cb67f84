"""New attributes: from a phrase, from a phrase and labels, from a few labels."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.use.attributes import few_shot_attribute, zero_shot_attribute
from parlib.use.crops import find_images
from parlib.use.model import EXAMPLES


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


def test_a_phrase_is_scored_as_the_checkpoint_does(model):
    phrase, images = "a person with a red coat", [Image.open(p).convert("RGB") for _, p in find_images([EXAMPLES])]
    table = model.with_phrases({"red coat": phrase})(EXAMPLES, attributes=["red coat"])
    pooled = model.encoder.encode_images(images).pooled
    expected = model.encoder.zero_shot(pooled, model.encoder.encode_prompts([phrase]).pooled)[:, 0]
    np.testing.assert_allclose(table["probability"], expected, atol=1e-5)
    assert not table["calibrated"].any() and (table["threshold"] == 0.5).all()


def say(capsys, *arguments):
    """(exit code, stdout, stderr) of `parlib predict` with the examples."""
    code = main(["predict", "nano-pa100k", str(EXAMPLES), *arguments])
    return code, *capsys.readouterr()


def test_the_command_takes_phrases(capsys):
    asked = ("--phrase", "red coat=a person in a red coat", "--attributes", "red coat,Hat")
    code, out, _ = say(capsys, *asked)
    assert code == 0 and list(json.loads(out)[0]["attributes"]) == ["red coat", "Hat"]
    code, _, err = say(capsys, "--phrase", "Hat=a hat")
    assert code == 2 and "names these attributes twice: Hat" in err
    code, _, err = say(capsys, "--phrase", "x=")
    assert code == 2 and "'x' needs a phrase" in err


def toy(encoder, n=400, seed=0):
    """Pooled features in which an attribute is one direction, and its labels, a fifth yes."""
    draws = torch.Generator().manual_seed(seed)
    pooled = torch.randn(n, encoder.width, generator=draws)
    return pooled, (pooled[:, :3].sum(1) > 1.45).int().numpy()


def test_calibration_on_labels_makes_probabilities_mean_what_they_say(model):
    pooled, labels = toy(model.encoder)
    phrase = "a person with a hat"
    raw = zero_shot_attribute(model.encoder, "x", phrase)
    direction = torch.nn.functional.normalize(raw.weight, dim=0)
    pooled = torch.nn.functional.normalize(pooled, dim=-1) + 0.1 * torch.as_tensor(labels)[:, None] * direction
    fitted = zero_shot_attribute(model.encoder, "x", phrase, pooled, labels)
    tokens, truth = torch.zeros(400, 64, model.encoder.width), torch.as_tensor(labels).double()
    after, before = (model.with_attributes(one).scores(tokens, pooled)[:, -1].double() for one in (fitted, raw))
    loss = torch.nn.functional.binary_cross_entropy
    assert loss(after, truth) < loss(before, truth) and abs(after.mean() - truth.mean()) < 0.01
    assert (before.argsort() == after.argsort()).all(), "no ranking moves"
    assert fitted.calibrated and not raw.calibrated and "400 labels (90 yes)" in fitted.how


def test_few_labels_are_learnt_and_more_labels_are_learnt_better(model):
    pooled, labels = toy(model.encoder, 2000)
    held = slice(1000, None)
    score = []
    for n in (16, 64, 800):
        added = few_shot_attribute(model.encoder, "x", pooled[:n], labels[:n])
        got = model.with_attributes(added).scores(torch.zeros(1000, 64, model.encoder.width), pooled[held])[:, -1:]
        score.append(parlib.evaluate(labels[held, None], got.numpy()).summary()["mAP"])
        assert added.name == "x" and not added.calibrated and f"{n} labels" in added.how
    assert score[0] < score[1] < score[2] and score[2] > 0.9
    with pytest.raises(BadInput, match="at least 2 of each"):
        few_shot_attribute(model.encoder, "x", pooled[:5], np.zeros(5))
    with pytest.raises(BadInput, match="5 features for 4 labels"):
        few_shot_attribute(model.encoder, "x", pooled[:5], np.zeros(4))
