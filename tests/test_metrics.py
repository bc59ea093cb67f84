"""Each score and each convention against a case worked by hand, a literal transcription, and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from parlib import PROTOCOLS, BadInput, evaluate, schema
from parlib.data import read_release
from parlib.measure.metrics import average_precision, positive_rates, tune_thresholds

LABELS = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]])
SCORES = np.array([[0.9, 0.2, 0.4], [0.6, 0.1, 0.8], [0.7, 0.3, 0.1], [0.2, 0.4, 0.3]])
# Decided at 0.5:   [1 0 0]          [1 0 1]          [1 0 0]          [0 0 0]


def random_case(seed, unknown=0.2, images=40, attributes=6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (images, attributes))
    labels[rng.random(labels.shape) < unknown] = -1
    return labels, rng.random(labels.shape).round(2)  # rounded: ties must not matter


def literal(labels, scores):
    """The formulas as they are written in the papers, one image and one attribute at a time."""
    images, attributes = labels.shape
    balanced, right, known = [], 0, 0
    for a in range(attributes):
        tp = fp = tn = fn = 0
        for i in range(images):
            if labels[i, a] == -1:
                continue
            says = scores[i, a] > 0.5
            tp += says and labels[i, a] == 1
            fp += says and labels[i, a] == 0
            tn += not says and labels[i, a] == 0
            fn += not says and labels[i, a] == 1
        balanced.append((tp / (tp + fn) + tn / (tn + fp)) / 2)
        right, known = right + tp + tn, known + tp + tn + fp + fn
    accuracy, precision, recall, f1 = [], [], [], []
    for i in range(images):
        y = {a for a in range(attributes) if labels[i, a] == 1}
        p = {a for a in range(attributes) if labels[i, a] != -1 and scores[i, a] > 0.5}
        accuracy.append(len(y & p) / len(y | p) if y | p else 0)
        precision.append(len(y & p) / len(p) if p else 0)
        recall.append(len(y & p) / len(y) if y else 0)
        both = precision[-1] + recall[-1]
        f1.append(2 * precision[-1] * recall[-1] / both if both else 0)
    P, R = np.mean(precision), np.mean(recall)
    return {
        "mA": np.mean(balanced),
        "accuracy": np.mean(accuracy),
        "precision": P,
        "recall": R,
        "f1": 2 * P * R / (P + R),
        "per_image": np.mean(f1),
        "plain_accuracy": right / known,
    }


def test_scores_of_a_case_worked_by_hand():
    scores = evaluate(LABELS, SCORES)
    # TPR, TNR: attribute 0: 2/2, 1/2; 1: 0/1, 3/3; 2: 1/2, 2/2.
    assert scores.mA == pytest.approx((0.75 + 0.5 + 0.75) / 3)
    # y, p: {0,2},{0} -> 1/2; {2},{0,2} -> 1/2; {0,1},{0} -> 1/2; {},{} -> 0.
    assert scores.accuracy == pytest.approx((0.5 + 0.5 + 0.5 + 0) / 4)
    assert scores.precision == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert scores.recall == pytest.approx((0.5 + 1 + 0.5 + 0) / 4)
    assert scores.f1 == pytest.approx(2 * 0.625 * 0.5 / 1.125)
    assert scores.plain_accuracy == pytest.approx(9 / 12)
    # Ranked: yes yes no no; no yes no no; yes yes no no.
    assert scores.mAP == pytest.approx((1 + 1 / 2 + 1) / 3)
    per_image = evaluate(LABELS, SCORES, f1="per_image").f1
    assert per_image == pytest.approx((2 / 3 + 2 / 3 + 2 / 3 + 0) / 4)


def test_the_table_of_a_case_worked_by_hand():
    labels = LABELS.copy()
    labels[3, 0] = -1
    table = evaluate(labels, SCORES, names=["hat", "bag", "boots"]).per_attribute
    assert {dtype.kind for dtype in table.dtypes[["positives", "known"]]} == {"i"}
    want = {  # ranked, hat: yes yes no; bag: no yes no no; boots: yes yes no no
        "positives": [2, 1, 2],
        "known": [3, 4, 4],
        "TPR": [2 / 2, 0 / 1, 1 / 2],
        "TNR": [0 / 1, 3 / 3, 2 / 2],
        "mA": [1 / 2, 1 / 2, 3 / 4],
        "precision": [2 / 3, np.nan, 1 / 1],
        "F1": [4 / 5, 0, 2 / 3],
        "AP": [1, 1 / 2, 1],
        "AUROC": [1, 2 / 3, 1],
        "plain_accuracy": [2 / 3, 3 / 4, 3 / 4],
    }
    assert list(table.columns) == list(want)
    assert (table.index.name, list(table.index)) == ("attribute", ["hat", "bag", "boots"])
    for name, values in want.items():
        assert table[name].to_numpy() == pytest.approx(np.array(values), nan_ok=True), name


def test_one_image_is_scored():
    got = evaluate(LABELS[:1], SCORES[:1])  # boots missed
    assert (got.accuracy, got.precision, got.recall) == (1 / 2, 1, 1 / 2)


def test_nothing_found_is_an_f1_of_zero():
    assert evaluate(LABELS, SCORES * 0).f1 == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", [0, 1])
def test_labels_that_all_agree_have_no_ma_and_a_plain_accuracy(answer):
    scores = evaluate(LABELS * 0 + answer, SCORES)
    assert np.isnan(scores.mA) and np.isnan(scores.mAP) and scores.undefined == (0, 1, 2)
    assert scores.plain_accuracy == pytest.approx(4 / 12 if answer else 8 / 12)


def test_a_threshold_is_a_number_or_one_for_each_attribute():
    # Above 0.65: 100 001 100 000; the boots of the first and the bag of the third are missed.
    assert evaluate(LABELS, SCORES, threshold=0.65).plain_accuracy == pytest.approx(10 / 12)
    # Above 0.65, 0.25, 0.35: 101 001 110 010; the last is given a bag.
    assert evaluate(LABELS, SCORES, threshold=[0.65, 0.25, 0.35]).plain_accuracy == pytest.approx(11 / 12)


@pytest.mark.parametrize("kind", [bool, int, np.float16, np.float32])
def test_hard_decisions_are_scored_as_they_are_whatever_their_type(kind):
    assert evaluate(LABELS, LABELS.astype(kind)).plain_accuracy == 1
    assert evaluate(LABELS, (1 - LABELS).astype(kind)).plain_accuracy == 0


def test_a_score_on_the_threshold_is_not_above_it_in_single_precision_either():
    scores = np.array([[0.1], [0.1]], np.float32)  # as a double, this is more than 0.1
    assert evaluate(np.array([[1], [0]]), scores, threshold=0.1).recall == 0


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_a_literal_transcription(seed):
    labels, scores = random_case(seed)
    want, got = literal(labels, scores), evaluate(labels, scores)
    assert evaluate(labels, scores, f1="per_image").f1 == pytest.approx(want.pop("per_image"))
    for name, value in want.items():
        assert getattr(got, name) == pytest.approx(value), name


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learn(seed):
    labels, scores = random_case(seed)
    known = labels[:, 0] >= 0
    want = average_precision_score(labels[known, 0], scores[known, 0])
    assert average_precision(labels[:, 0], scores[:, 0]) == pytest.approx(want)


@pytest.mark.parametrize("seed", range(5))
def test_instance_scores_equal_scikit_learns_samples_average(seed):
    labels, scores = random_case(seed)
    labels = labels.clip(0)  # scikit-learn knows no unknown
    got, decided = evaluate(labels, scores, f1="per_image"), scores > 0.5
    wanted = {"accuracy": jaccard_score, "precision": precision_score, "recall": recall_score, "f1": f1_score}
    for name, score in wanted.items():
        assert getattr(got, name) == pytest.approx(score(labels, decided, average="samples", zero_division=0)), name
    assert got.mA == pytest.approx(
        np.mean([balanced_accuracy_score(*pair) for pair in zip(labels.T, decided.T, strict=True)])
    )


@pytest.mark.parametrize("seed", range(5))
def test_per_attribute_f1_and_auroc_equal_scikit_learn(seed):
    labels, scores = random_case(seed)
    table = evaluate(labels, scores).per_attribute
    for a in range(labels.shape[1]):
        truth, given = labels[labels[:, a] >= 0, a], scores[labels[:, a] >= 0, a]
        assert table["AUROC"][a] == pytest.approx(roc_auc_score(truth, given))
        assert table["F1"][a] == pytest.approx(f1_score(truth, given > 0.5))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_ranking_scores_depend_on_the_order_of_scores_alone(seed, power):
    labels, scores = random_case(seed)
    plain, bent = (evaluate(labels, s).per_attribute[["AP", "AUROC"]] for s in (scores, scores**power))
    assert np.allclose(plain, bent, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_mA_does_not_change_when_yes_and_no_change_places(seed):
    labels, scores = random_case(seed)
    scores = np.where(scores == 0.5, 0.51, scores)
    turned = evaluate(np.where(labels >= 0, 1 - labels, -1), 1 - scores)
    assert turned.mA == pytest.approx(evaluate(labels, scores).mA)
    assert turned.plain_accuracy == pytest.approx(evaluate(labels, scores).plain_accuracy)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_images_counted_several_times_change_no_score(seed, times):
    labels, scores = random_case(seed)
    many = evaluate(np.tile(labels, (times, 1)), np.tile(scores, (times, 1))).summary()
    assert many == pytest.approx(evaluate(labels, scores).summary())


def test_an_attribute_nobody_labelled_is_nan_and_counted():
    labels = LABELS.copy()
    labels[:, 1] = -1
    scores = evaluate(labels, SCORES, names=["hat", "bag", "boots"])
    assert scores.undefined == ("bag",)
    assert scores.per_attribute.loc["bag", ["mA", "AP", "AUROC", "plain_accuracy"]].isna().all()


def test_a_constant_predictor_has_true_ma_of_one_half():
    labels = np.random.default_rng(0).integers(0, 2, (50, 4))
    majority = np.tile(labels.mean(0), (50, 1))
    assert evaluate(labels, majority).mA == 0.5


def test_unknown_labels_enter_no_score():
    labels, scores = random_case(3)
    changed = np.where(labels == -1, 1 - scores, scores)
    assert evaluate(labels, scores).summary() == evaluate(labels, changed).summary()


@pytest.mark.parametrize(("answer", "recall"), [(0, "TPR"), (1, "TNR")])
def test_an_attribute_with_one_answer_only_is_named_and_left_out_of_both_means(answer, recall):
    labels = LABELS.copy()
    labels[:, 1] = answer
    scores = evaluate(labels, SCORES, names=["hat", "bag", "boots"])
    assert scores.undefined == ("bag",)
    assert scores.per_attribute.loc["bag", ["mA", "AP", "AUROC", recall]].isna().all()
    assert scores.mA == pytest.approx(0.75) and scores.mAP == pytest.approx(1)
    labels[:3, 1] = 1 - answer
    assert evaluate(labels, SCORES).undefined == (), "one of the other answer is enough"


def test_mAP_of_a_single_ranked_attribute_beside_one_that_is_always_yes():
    """An attribute without a "no" once counted as AP 1.0: 0.727 in the place of 0.454."""
    rng = np.random.default_rng(0)
    labels = np.stack([np.ones(50, int), (rng.random(50) < 0.3).astype(int)], axis=1)
    scores = rng.random(labels.shape)
    got = evaluate(labels, scores)
    assert got.undefined == (0,) and round(got.mAP, 3) == 0.454
    assert got.mAP == average_precision(labels[:, 1], scores[:, 1])
    assert np.isnan(average_precision(labels[:, 0], scores[:, 0]))
    epsilon = PROTOCOLS["rethinking"](labels, scores)
    assert epsilon.mAP == got.mAP and epsilon.undefined == (0,) and np.isfinite(epsilon.per_attribute["mA"]).all()


def test_positive_rates_are_over_known_labels():
    assert positive_rates([[1, 0, -1, 1], [1, -1, -1, -1], [0, 0, -1, -1]]) == pytest.approx([2 / 3, 0, 0, 1])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_images_and_attributes_does_not_matter(seed, random):
    labels, scores = random_case(seed)
    rows, columns = list(range(labels.shape[0])), list(range(labels.shape[1]))
    random.shuffle(rows), random.shuffle(columns)
    shuffled = evaluate(labels[rows][:, columns], scores[rows][:, columns]).summary()
    assert shuffled == pytest.approx(evaluate(labels, scores).summary())


@pytest.mark.parametrize("seed", range(5))
def test_tuned_thresholds_are_the_best_of_all_cuts(seed):
    labels, scores = random_case(seed)
    tuned = evaluate(labels, scores, threshold=tune_thresholds(labels, scores)).per_attribute["mA"]
    above = scores > np.arange(-0.005, 1.01, 0.01)[:, None, None]  # (cuts, images, attributes)
    yes, no = labels == 1, labels == 0
    recalls = (above & yes).sum(1) / yes.sum(0), (~above & no).sum(1) / no.sum(0)
    assert (tuned.to_numpy() >= sum(recalls) / 2 - 1e-12).all()


def test_tuned_thresholds_of_a_case_worked_by_hand():
    yes, no, unknown = 1, 0, -1
    labels = np.array([[yes, no, no, no], [yes, yes, unknown, yes], [yes, no, no, no], [yes, yes, yes, yes]])
    scores = np.array([[0.3, 0.7, 0.2, 0.1], [0.1, 0.7, 0.3, 0.6], [0.2, 0.7, 0.4, 0.8], [0.8, 0.7, 0.9, 0.9]])
    # No "no"; nothing to cut; between 0.4 and 0.9; of two cuts that are as good the lower.
    assert tune_thresholds(labels, scores) == pytest.approx([0.5, 0.5, 0.65, 0.35])


@pytest.mark.parametrize("kind", [np.float16, np.float32, float])
def test_a_tuned_threshold_parts_scores_that_differ_by_the_least(kind):
    labels, low = np.array([[0], [1]]), np.linspace(0.1, 0.9, 9, dtype=kind)
    for scores in zip(low, np.nextafter(low, kind(1)), strict=True):
        scores = np.array(scores)[:, None]
        assert evaluate(labels, scores, threshold=tune_thresholds(labels, scores)).plain_accuracy == 1


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        (LABELS, SCORES[:3], r"^labels \(4, 3\) and scores \(3, 3\): expected one shape"),
        (LABELS + 1, SCORES, "^labels must be"),
        (LABELS, SCORES + 0.2, r"^scores .* in \[0, 1\]"),
        (LABELS, np.where(SCORES > 0.8, np.nan, SCORES), "without NaN"),
        (LABELS[:0], SCORES[:0], "^no image"),
        (LABELS * 0 - 1, SCORES, "^every label is unknown"),
    ],
)
def test_bad_input_is_named(labels, scores, words):
    with pytest.raises(BadInput, match=words):
        evaluate(labels, scores)


def test_unknown_f1_flavour_is_named():
    with pytest.raises(BadInput, match="per_image"):
        evaluate(LABELS, SCORES, f1="macro")


CASE = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])  # the last attribute has no positive
ANSWERS = np.array([[0.9, 0.48, 0.1], [0.5, 0.2, 0.7], [0.3, 0.46, 0.2], [0.5, 0.9, 0.1]])
MARKET = schema("market1501")


def convention(labels, scores, threshold, at_least, per_image, drop):
    """The reference code's loops: counts over images, 1e-20 in denominators."""
    says = [[s >= threshold if at_least else s > threshold for s in row] for row in scores]
    label_based, rows = [], []
    for a in range(labels.shape[1]):
        column = [(labels[i, a], says[i][a]) for i in range(len(labels))]
        tpr = sum(y == 1 and p for y, p in column) / (sum(y == 1 for y, _ in column) + 1e-20)
        tnr = sum(y == 0 and not p for y, p in column) / (sum(y == 0 for y, _ in column) + 1e-20)
        label_based.append((tpr + tnr) / 2)
    for i in range(len(labels)):
        both = sum(y and p for y, p in zip(labels[i], says[i], strict=True))
        either = sum(y or p for y, p in zip(labels[i], says[i], strict=True))
        if drop and not labels[i].any():
            continue
        precision, recall = both / (sum(says[i]) + 1e-20), both / (labels[i].sum() + 1e-20)
        f1 = 2 * precision * recall / (precision + recall + 1e-20)
        rows.append((both / (either + 1e-20), precision, recall, f1))
    accuracy, precision, recall, f1 = np.mean(rows, axis=0)
    if not per_image:
        f1 = 2 * precision * recall / (precision + recall + 1e-20)
    right = np.mean([labels[i, a] == says[i][a] for i in range(len(labels)) for a in range(labels.shape[1])])
    names = ("mA", "accuracy", "precision", "recall", "f1", "plain_accuracy")
    return dict(zip(names, (np.mean(label_based), accuracy, precision, recall, f1, right), strict=True))


CONVENTIONS = {
    "rethinking": (0.5, False, False, False),
    "openpar": (0.45, False, True, False),
    "deepmar": (0.5, True, False, True),
}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_a_protocol_equals_a_literal_transcription_of_its_code(name, seed):
    rng = np.random.default_rng(seed)
    labels, scores = (rng.random((40, 7)) < 0.2).astype(int), rng.random((40, 7)).round(2)
    labels[:, 0], scores[:5] = 0, 0.5  # no positive; scores on the threshold
    labels[3] = 0  # an image without a positive
    made = PROTOCOLS[name](labels, scores)
    got = made.summary()
    assert made.per_attribute["mA"].mean() == pytest.approx(got["mA"])
    for score, value in convention(labels, scores, *CONVENTIONS[name]).items():
        assert got[score] == pytest.approx(value), score


def test_conventions_differ_on_a_case_worked_by_hand():
    # > 0.5:  100 001 000 010;  > 0.45: 110 101 010 110;  >= 0.5: 100 101 000 110.
    ours, rethinking, openpar, deepmar = (PROTOCOLS[n](CASE, ANSWERS) for n in ("parlib", *CONVENTIONS))
    assert ours.undefined == (2,) and ours.mA == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert rethinking.mA == pytest.approx((3 / 4 + 3 / 4 + (0 + 3 / 4) / 2) / 3), "no positive: half its TNR"
    turned = PROTOCOLS["rethinking"](1 - CASE, ANSWERS)
    assert turned.mA == pytest.approx((1 / 4 + 1 / 4 + (1 / 4 + 0) / 2) / 3), "no negative: half its TPR"
    assert openpar.f1 == pytest.approx((2 / 3 + 1 / 2 + 0 + 2 / 3) / 4)
    assert deepmar.recall == pytest.approx((1 + 1 / 2 + 1) / 3), "the third image has no positive and is dropped"
    assert PROTOCOLS["vlm-par-code"](CASE, ANSWERS).plain_accuracy == pytest.approx(9 / 12)


def test_the_conventions_are_those_their_users_publish():
    values = ("threshold", "comparison", "f1", "epsilon", "drop_empty", "view", "headline")
    want = {
        "parlib": (0.5, ">", "harmonic", False, False, None, "mA"),
        "rethinking": (0.5, ">", "harmonic", True, False, None, "mA"),
        "openpar": (0.45, ">", "per_image", True, False, None, "mA"),
        "deepmar": (0.5, ">=", "harmonic", True, True, None, "mA"),
        "vlm-par-code": (0.5, ">", "harmonic", False, False, None, "plain_accuracy"),
        "market-12": (0.5, ">", "harmonic", False, False, "12", "plain_accuracy"),
        "market-27": (0.5, ">", "harmonic", False, False, "27", "plain_accuracy"),
        "market-30": (0.5, ">", "harmonic", False, False, "30", "plain_accuracy"),
    }
    assert {name: tuple(getattr(made, value) for value in values) for name, made in PROTOCOLS.items()} == want
    assert all(made.name == name and made.about for name, made in PROTOCOLS.items()), "each says where it comes from"


def test_a_threshold_of_the_callers_takes_the_place_of_the_protocols():
    # Above 0.8: 100 000 000 010, so the first column of the second image and its second are missed.
    scores = PROTOCOLS["parlib"](CASE, ANSWERS, names=["a", "b", "c"], threshold=0.8)
    assert scores.plain_accuracy == pytest.approx(10 / 12)
    assert list(scores.per_attribute.index) == ["a", "b", "c"]
    with pytest.raises(BadInput, match=r"\(2,\).*one for each attribute"):
        PROTOCOLS["parlib"](CASE, ANSWERS, threshold=[0.5, 0.5])


def test_an_unknown_comparison_is_named():
    with pytest.raises(BadInput, match="'=>'; known: >, >="):
        replace(PROTOCOLS["parlib"], comparison="=>")(CASE, ANSWERS)


def person(**columns):
    row = np.zeros(30, int)
    row[[MARKET.index(name) for name, value in columns.items() if value]] = 1
    return row


def test_market_questions_are_answered_by_their_highest_score():
    labels = np.array([person(adult=1, upred=1, downblue=1), person(young=1, downblack=1)])
    scores = 0.3 * labels + 0.1  # everyone's own answer is highest, and all are below 0.5
    scores[1, MARKET.index("upwhite")] = 0.2
    # 12 columns: all right but the upper colour of the second, who has none.
    assert PROTOCOLS["market-12"](labels, scores).plain_accuracy == pytest.approx(23 / 24)
    # 27: age is right for both; the colours, asked as yes or no, are all "no": wrong for red, blue and black.
    assert PROTOCOLS["market-27"](labels, scores).plain_accuracy == pytest.approx((2 * 27 - 3) / (2 * 27))
    # 30: the two ages are missed as well.
    assert PROTOCOLS["market-30"](labels, scores).plain_accuracy == pytest.approx((2 * 30 - 5) / (2 * 30))


def test_the_answer_to_a_market_question_is_the_one_positive_among_its_columns():
    labels = np.array([person(adult=1, upred=1, downblue=1), person(young=1, downblack=1)])
    scores = 0.3 * labels + 0.1
    scores[1, MARKET.index("upwhite")] = 0.2
    got = PROTOCOLS["market-12"](labels, scores)
    # The first person is told in full; the second is given a colour that they do not have.
    assert (got.accuracy, got.precision, got.recall) == pytest.approx(((1 + 2 / 3) / 2, (1 + 2 / 3) / 2, 1))


def test_a_person_without_a_colour_is_always_wrong():
    labels = np.array([person(adult=1)])
    for seed in range(20):
        scores = np.where(labels == 1, 0.9, 0.4 * np.random.default_rng(seed).random((1, 30)))  # all else is right
        assert PROTOCOLS["market-12"](labels, scores).plain_accuracy == pytest.approx(10 / 12)


def test_the_twelve_columns_are_asked_in_the_official_order():
    view = MARKET.view("12")
    assert [c.name for c in view.columns if c.question] == ["age", "upcolor", "downcolor"]
    upper, lower = view.columns[-2].terms, view.columns[-1].terms
    assert [t[2:] for t in upper] == ["black", "white", "red", "purple", "gray", "blue", "green", "yellow"]
    assert [t[4:] for t in lower] == ["black", "white", "pink", "gray", "blue", "green", "brown", "yellow", "purple"]


@pytest.mark.real
def test_the_official_example_prediction_has_our_columns(real_data):
    answers = loadmat(real_data / "market1501" / "gallery_market.mat")["gallery"]
    sizes = [len(c.terms) if c.question else 2 for c in MARKET.view("12").columns]
    assert answers.shape[1] == len(sizes) and (answers.max(0) <= sizes).all()
    assert (answers.max(0)[[2, 10, 11]] > 2).all(), "age and the two colours are the questions of more than two answers"
    people = read_release("market1501", real_data / "market1501", images=False).listing("test").labels
    truth = MARKET.view("12")(people)
    columns = [j for j, size in enumerate(sizes) if size == 2]
    # Images an identity differ, so rates only come near: a swapped column would be off by far more.
    assert np.abs((answers[:, columns] == 2).mean(0) - truth[:, columns].mean(0)).max() < 0.15


def test_an_unknown_protocol_is_answered_with_the_known_ones():
    with pytest.raises(BadInput, match="'rap'; there are parlib, rethinking, openpar"):
        PROTOCOLS["rap"]


@pytest.mark.parametrize("name", ["market-12", "market-27", "market-30"])
def test_market_protocols_refuse_other_columns(name):
    with pytest.raises(BadInput, match="30"):
        PROTOCOLS[name](CASE, ANSWERS)
