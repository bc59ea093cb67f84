"""Across benchmarks: compared on the same images and the attributes that both carry."""

import numpy as np
import pytest

from parlib import BadInput
from parlib.measure.cross import cross_domain_losses, cross_domain_table

NAMES = ("a", "b", "c")


def record(trained, tested, scores, seed=0, view="upar-lite"):
    each = dict(zip(NAMES, scores, strict=True))
    return {
        "setting": {"seed": seed, "trained_on": {"benchmark": trained, "view": view}},
        "data": {"benchmark": tested, "split": "test"},
        "per_attribute": {name: {"mA": value} for name, value in each.items()},
        "tuned": {"per_attribute": {name: value and value + 0.01 for name, value in each.items()}},
    }


RECORDS = [
    record("x", "x", (0.9, 0.8, 0.7)),
    record("y", "y", (0.8, 0.8, None)),
    record("x", "y", (0.6, 0.7, None)),
    record("y", "x", (0.7, None, None)),
]


def test_a_loss_is_over_the_attributes_that_both_records_define():
    losses = cross_domain_losses(RECORDS).set_index(["trained_on", "tested_on"])
    assert list(losses.loc[[("y", "x")], "attribute"]) == ["a"]
    assert losses.loc[[("x", "y")], "home"].tolist() == [0.8, 0.8]


def test_the_table_shows_the_score_away_and_its_difference_from_home():
    table = cross_domain_table(RECORDS)
    assert (
        table.loc["x", "x"] == "80.0"
        and table.loc["x", "y"] == "65.0 (-15.0)"
        and table.loc["y", "x"] == "70.0 (-20.0)"
    )
    assert cross_domain_table(RECORDS, "tuned mA").loc["x", "x"] == "81.0"
    better = [*RECORDS[:3], record("y", "x", (0.95, None, None))]
    assert cross_domain_table(better).loc["y", "x"] == "95.0 (+5.0)"


def test_seeds_are_gathered_into_mean_and_spread():
    second = [
        record(t["setting"]["trained_on"]["benchmark"], t["data"]["benchmark"], (0.5, 0.5, 0.5), 1) for t in RECORDS
    ]
    spread = np.std([80, 50], ddof=1)
    assert cross_domain_table([*RECORDS, *second]).loc["x", "x"] == f"65.0 ± {spread:.1f}"


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(BadInput, match="view upar-lite"):
        cross_domain_losses([record("x", "x", (1, 1, 1), view=None)])
    with pytest.raises(BadInput, match="trained and tested on y"):
        cross_domain_losses([RECORDS[0], RECORDS[2]])
