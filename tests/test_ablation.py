"""The ablation table: paired on the same images, one encoder, and it says what cannot be told."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parlib import BadInput, load_encoder, schema
from parlib.measure.ablation import ablation_table, impossible_share, paired_intervals
from parlib.measure.metrics import evaluate
from parlib.measure.records import make_record
from parlib.use.model import EXAMPLES

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import ablations


def record(method, seed, gap, weights="w"):
    labels = np.random.default_rng(seed).integers(0, 2, (40, 2))
    scores = np.clip(labels * 0.5 + 0.25 + np.random.default_rng(seed + 1).normal(0, 0.2, labels.shape), 0, 1)
    told = {"difference": gap, "low": gap - 0.01, "high": gap + 0.01}
    compared = {"mA": told, "mAP": {**told, "low": -1.0}, "impossible": 0.125}
    about = {"benchmark": "pa100k", "kind": "rendered", "split": "test", "items_sha256": "x"}
    return make_record(
        method, {"weights": weights, "ablation": compared}, about, labels, scores, [0.5, 0.5], ["a", "b"]
    )


def test_a_row_gives_mean_spread_and_the_paired_difference():
    records = [record("linear probe", 0, 0.0), *(record("mixer", seed, 0.02) for seed in (1, 2, 3))]
    table = ablation_table([*records, record("worse", 4, -0.05), record("same", 5, 0.005)])
    values = 100 * np.array([r["scores"]["mAP"] for r in records[1:]])
    assert table.loc["mixer", "mAP"] == f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
    assert table.loc["mixer", ["tuned mA - probe", "ahead in", "seeds"]].tolist() == [
        "+2.0 [+1.0, +3.0]",
        "tuned mA",
        "3",
    ]
    assert table.loc["worse", "ahead in"] == "behind in tuned mA, behind in mAP" and table.loc["same", "ahead in"] == ""
    assert table.loc["linear probe", "mAP - probe"] == "" and table.loc["mixer", "impossible"] == "12.5"


def test_records_of_two_encoders_make_no_table():
    with pytest.raises(BadInput, match="one encoder and one list of images; these are of 2"):
        ablation_table([record("a", 0, 0.0), record("b", 0, 0.0, "other")])


@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_paired_differences_are_those_of_the_scores_and_lie_in_their_intervals(unknown):
    random = np.random.default_rng(0)
    labels = (random.random((400, 5)) < 0.3).astype(int)
    one = np.clip(labels * 0.4 + random.random(labels.shape) * 0.6, 0, 1)
    other = np.clip(one + random.normal(0, 0.05, labels.shape), 0, 1)
    labels = np.where(random.random(labels.shape) < unknown, -1, labels)
    gaps = paired_intervals(labels, one, one > 0.5, other, other > 0.5)
    for name in ("mA", "mAP"):
        want = getattr(evaluate(labels, one), name) - getattr(evaluate(labels, other), name)
        assert gaps[name]["difference"] == pytest.approx(want)
        assert gaps[name]["low"] < want < gaps[name]["high"] < gaps[name]["low"] + 0.06
    same = paired_intervals(labels, one, one > 0.5, one, one > 0.5)
    assert same["mAP"] == same["mA"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_impossible_answers_are_two_or_none_of_what_excludes_each_other():
    pa100k = schema("pa100k")
    decided = np.zeros((3, len(pa100k)), bool)
    for name in ("Age18-60", "Front", "LongSleeve", "Trousers"):
        decided[:, pa100k.index(name)] = True
    decided[1, pa100k.index("Shorts")] = True  # two of at most one
    decided[2, pa100k.index("Front")] = False  # none of exactly one
    assert impossible_share(decided[:1], pa100k) == 0
    assert impossible_share(decided, pa100k) == pytest.approx(2 / 3)


def test_the_naflex_row_has_the_very_weights_of_the_square_one(tmp_path):
    square, wide = load_encoder(), ablations.naflex("nano", tmp_path / "wide")
    crops = [Image.open(path).convert("RGB").resize((96, 96)) for path in sorted(EXAMPLES.glob("*.png"))[:3]]
    torch.testing.assert_close(
        square.encode_images(crops).tokens, wide.encode_images(crops).tokens, rtol=1e-4, atol=1e-4
    )
    assert torch.equal(square.encode_prompts(["a hat"]).tokens, wide.encode_prompts(["a hat"]).tokens)
    assert wide.preprocess([Image.new("RGB", (50, 135))])["spatial_shapes"].tolist() == [[12, 5]]
