"""Intervals: equal to resampling by hand, wider by people, narrower in pairs, the same for the same seed."""

import tracemalloc

import numpy as np
import pytest

from parlib import PROTOCOLS, BadInput, bootstrap, evaluate
from parlib.measure.bootstrap import persons
from parlib.measure.metrics import AVERAGES

RNG = np.random.default_rng(0)
LABELS = (RNG.random((200, 5)) < 0.3).astype(int)
SCORES = np.clip(0.3 * LABELS + RNG.random(LABELS.shape) * 0.7, 0, 1)
PEOPLE = np.repeat(np.arange(20), 10)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if not name.startswith("market")])
@pytest.mark.parametrize("identities", [None, PEOPLE])
def test_every_draw_scores_as_its_images_would(protocol, identities):
    """One resample: low = high = that draw, which is drawn again here by hand."""
    got = bootstrap(LABELS, SCORES, identities=identities, protocol=protocol, resamples=1, seed=3)
    units = len(LABELS) if identities is None else 20
    drawn = np.random.default_rng(3).integers(units, size=units)
    rows = drawn if identities is None else np.concatenate([np.flatnonzero(who == PEOPLE) for who in drawn])
    sample, whole = (PROTOCOLS[protocol](LABELS[r], SCORES[r]).summary() for r in (rows, np.arange(len(LABELS))))
    for name in AVERAGES:
        assert got.loc[name, "value"] == pytest.approx(whole[name])
        assert got.loc[name, "low"] == got.loc[name, "high"] == pytest.approx(sample[name]), name


@pytest.mark.parametrize("identities", [None, PEOPLE])
@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_mAP_of_a_draw_is_that_of_its_images(identities, unknown):
    labels = np.where(RNG.random(LABELS.shape) < unknown, -1, LABELS)
    scores = SCORES.round(1)  # equal scores are one step, as in scikit-learn
    got = bootstrap(labels, scores, identities=identities, resamples=1, seed=3, ranking=True).loc["mAP"]
    units = len(labels) if identities is None else 20
    drawn = np.random.default_rng(3).integers(units, size=units)
    rows = drawn if identities is None else np.concatenate([np.flatnonzero(who == PEOPLE) for who in drawn])
    assert got["value"] == pytest.approx(evaluate(labels, scores).mAP)
    assert got["low"] == pytest.approx(evaluate(labels[rows], scores[rows]).mAP)


@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_paired_differences_are_those_of_the_scores_and_lie_in_their_intervals(unknown):
    labels = np.where(RNG.random((400, 5)) < unknown, -1, RNG.random((400, 5)) < 0.3)
    one = np.clip((labels == 1) * 0.4 + RNG.random(labels.shape) * 0.6, 0, 1)
    other = np.clip(one + RNG.normal(0, 0.05, labels.shape), 0, 1)
    gaps = bootstrap(labels, one, other=other, ranking=True)
    for name in ("mA", "mAP"):
        want = getattr(evaluate(labels, one), name) - getattr(evaluate(labels, other), name)
        low, value, high = gaps.loc[name, ["low", "value", "high"]]
        assert value == pytest.approx(want) and low < want < high < low + 0.07


def test_a_draw_without_a_no_leaves_the_attribute_out():
    labels = np.array([[1, 1], [1, 0], [1, 1], [0, 0]])
    scores = np.array([[0.9, 0.2], [0.8, 0.9], [0.7, 0.8], [0.6, 0.1]])
    drawn = next(seed for seed in range(99) if 3 not in np.random.default_rng(seed).integers(4, size=4)[:])
    rows = np.random.default_rng(drawn).integers(4, size=4)
    got = bootstrap(labels, scores, resamples=1, seed=drawn, ranking=True)
    assert got.loc["mAP", "low"] == pytest.approx(evaluate(labels[rows], scores[rows]).mAP, nan_ok=True)


def test_an_image_without_an_identity_is_a_person_of_its_own():
    assert persons(["b", "", "a", None, "b", float("nan"), ""], 7).tolist() == [1, 2, 0, 3, 1, 4, 5]
    missing = bootstrap(LABELS, SCORES, identities=[""] * len(LABELS), resamples=20)
    assert missing.equals(bootstrap(LABELS, SCORES, resamples=20))


def test_plain_accuracy_of_market_questions_is_drawn_too():
    labels = (RNG.random((50, 30)) < 0.2).astype(int)
    scores = RNG.random((50, 30))
    got = bootstrap(labels, scores, protocol="market-12", resamples=50).loc["plain_accuracy"]
    assert got["value"] == pytest.approx(PROTOCOLS["market-12"](labels, scores).plain_accuracy)
    assert got["low"] < got["value"] < got["high"]


def test_the_interval_has_the_width_of_the_standard_error():
    table = bootstrap(LABELS, SCORES, resamples=2000)
    right = ((SCORES > 0.5) == (LABELS == 1)).mean(1)
    error = right.std() / np.sqrt(len(right))
    width = table.loc["plain_accuracy", "high"] - table.loc["plain_accuracy", "low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_ten_copies_of_an_image_are_one_person_and_no_new_information():
    labels, scores = np.repeat(LABELS, 10, axis=0), np.repeat(SCORES, 10, axis=0)
    people = np.repeat(np.arange(len(LABELS)), 10)
    once, by_person = bootstrap(LABELS, SCORES), bootstrap(labels, scores, identities=people)
    assert np.allclose(once, by_person)
    by_image = bootstrap(labels, scores)
    assert (by_image["high"] - by_image["low"] < 0.5 * (once["high"] - once["low"])).all()


def test_a_model_against_itself_differs_by_nothing():
    assert (bootstrap(LABELS, SCORES, other=SCORES, resamples=50) == 0).all(axis=None)


def test_pairs_are_narrower_than_two_models_apart():
    better = np.where(RNG.random(SCORES.shape) < 0.05, LABELS, SCORES)
    paired, alone = bootstrap(LABELS, better, other=SCORES), bootstrap(LABELS, better)
    assert paired.loc["mA", "low"] > 0
    widths = [t.loc["mA", "high"] - t.loc["mA", "low"] for t in (paired, alone)]
    assert widths[0] < 0.7 * widths[1]


def test_a_seed_gives_the_same_interval_and_another_another():
    first, again, other = (bootstrap(LABELS, SCORES, seed=s, resamples=100) for s in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


def test_drawing_in_blocks_changes_nothing(monkeypatch):
    at_once = bootstrap(LABELS, SCORES, other=SCORES[::-1], resamples=100)
    monkeypatch.setattr("parlib.measure.bootstrap.BLOCK", 8 * len(LABELS) * 7)  # seven draws at a time
    assert np.allclose(at_once, bootstrap(LABELS, SCORES, other=SCORES[::-1], resamples=100), rtol=1e-12)


def test_memory_does_not_grow_with_the_number_of_draws(monkeypatch):
    labels = (RNG.random((20_000, 4)) < 0.3).astype(int)
    monkeypatch.setattr("parlib.measure.bootstrap.BLOCK", 2**22)
    tracemalloc.start()
    bootstrap(labels, RNG.random(labels.shape), resamples=300)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40e6, "all draws at once would be 48 MB beside the rest"


def test_each_model_may_have_its_own_thresholds():
    alone = [bootstrap(LABELS, SCORES, threshold=t, resamples=1).loc["mA", "value"] for t in (0.4, 0.6)]
    paired = bootstrap(LABELS, SCORES, other=SCORES, threshold=0.4, other_threshold=0.6, resamples=1)
    assert paired.loc["mA", "value"] == pytest.approx(alone[0] - alone[1]) != 0


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_the_truth_as_often_as_they_say(clustered):
    """300 studies of 40 people, five images of each alike: about 95 % by people, far fewer by images."""
    truth, inside = 0.7, 0
    for study in range(300):
        rng = np.random.default_rng(study)
        people = np.repeat(np.arange(40), 5)
        right = (rng.random(40) < truth)[people]
        labels = rng.integers(0, 2, (200, 1))
        scores = np.where(right[:, None], labels, 1 - labels) * 0.8 + 0.1
        row = bootstrap(labels, scores, identities=people if clustered else None, resamples=200, seed=study)
        low, high = row.loc["plain_accuracy", ["low", "high"]]
        inside += low <= truth <= high
    assert (0.90 < inside / 300 < 0.98) if clustered else inside / 300 < 0.75


def test_unknown_labels_enter_no_draw():
    labels = np.where(RNG.random(LABELS.shape) < 0.2, -1, LABELS)
    changed = np.where(labels == -1, 1 - SCORES, SCORES)
    assert np.allclose(bootstrap(labels, SCORES, resamples=50), bootstrap(labels, changed, resamples=50))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"identities": PEOPLE[:-1]}, "199 identities for 200 images"),
        ({"identities": PEOPLE * 0}, "nothing to draw from"),
        ({"other": SCORES[:, 1:]}, "expected one shape"),
        ({"protocol": "rap"}, "no protocol 'rap'"),
        ({"resamples": 0}, "nothing to draw from"),
    ],
)
def test_bad_input_is_named(options, words):
    with pytest.raises(BadInput, match=words):
        bootstrap(LABELS, SCORES, **options)
