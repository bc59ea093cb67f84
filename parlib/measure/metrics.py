"""The scores of the field, from labels and probabilities, each as its users define it.

Sources: label-based mA and the instance-based four from the RAP / PETA evaluation code as kept in Rethinking-of-PAR;
average precision as in scikit-learn. Unknown labels (-1) enter no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from parlib.errors import BadInput

F1 = Literal["harmonic", "per_image"]
SUMMARY = ("mA", "accuracy", "precision", "recall", "f1", "plain_accuracy", "mAP")


@dataclass(frozen=True)
class Bits:
    """Decisions beside the truth, all bool: truth, known, decided (N, A); right, asked (N, Q), Q the questions asked.

    Q is A unless a protocol asks several binaries as one question.
    """

    truth: np.ndarray
    known: np.ndarray
    decided: np.ndarray
    right: np.ndarray
    asked: np.ndarray


@dataclass(frozen=True)
class Scores:
    """All scores of one set of predictions.

    mA: mean over attributes of (TPR + TNR) / 2. accuracy, precision, recall: instance-based, averaged over images.
    f1: by the flavour asked for. plain_accuracy: share of right answers, blind to imbalance. mAP: mean over attributes
    of average precision. All in [0, 1]; `undefined` counts attributes left out of mA and mAP for want of a positive or
    a negative. `per_attribute`: one row an attribute.
    """

    mA: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    plain_accuracy: float
    mAP: float
    undefined: int
    per_attribute: pd.DataFrame

    def summary(self) -> dict[str, float]:
        """The seven headline scores as a plain dict."""
        return {name: getattr(self, name) for name in SUMMARY}


def evaluate(
    labels: np.ndarray,
    scores: np.ndarray,
    threshold: float | np.ndarray = 0.5,
    f1: F1 = "harmonic",
    names: Sequence[str] | None = None,
) -> Scores:
    """Score probabilities against labels; for the conventions of others see `PROTOCOLS`.

    Args:
        labels: (N, A) of 1, 0, -1 (unknown).
        scores: (N, A) probabilities in [0, 1].
        threshold: a number or one an attribute (A,); positive is a score **above** it, as in Rethinking-of-PAR.
        f1: `harmonic` is the harmonic mean of the averaged precision and recall (Rethinking-of-PAR); `per_image` is
            the mean of per-image F1 (OpenPAR). They differ by 0.2 to 0.4 points on PA-100K.
        names: A attribute names for `per_attribute`.

    Returns:
        `Scores`.

    Raises:
        BadInput: shapes that differ, labels other than 1, 0, -1 or all unknown, scores outside [0, 1] or NaN, unknown
            `f1`. Single attributes that are all unknown are `nan` and counted.
    """
    from parlib.measure.protocols import Protocol

    return Protocol("evaluate", threshold, f1=f1)(labels, scores, names)


def score(
    bits: Bits, scores: np.ndarray, f1: F1, epsilon: bool, drop_empty: bool, names: Sequence[str] | None
) -> Scores:
    """`Scores` of decisions that are made; the options are those of `Protocol`, `scores` (N, A) give AP and AUROC."""
    if f1 not in ("harmonic", "per_image"):
        raise BadInput(f"unknown f1 flavour {f1!r}; known: harmonic, per_image")
    truth, known = bits.truth, bits.known
    tp, fp = (truth & bits.decided).sum(0), (known & ~truth & bits.decided).sum(0)
    positives, negatives = truth.sum(0), (known & ~truth).sum(0)
    tn, undefined = negatives - fp, 0.0 if epsilon else np.nan
    tpr, tnr = ratio(tp, positives, undefined), ratio(tn, negatives, undefined)
    columns = zip(truth.T, known.T, np.ascontiguousarray(scores.T), strict=True)
    ranked = [_ranking(yes[seen], given[seen]) for yes, seen, given in columns]
    ap, auroc = np.array(ranked).T
    table = pd.DataFrame(
        {
            "positives": positives,
            "known": known.sum(0),
            "TPR": tpr,
            "TNR": tnr,
            "mA": (tpr + tnr) / 2,
            "precision": ratio(tp, tp + fp),
            "F1": ratio(2 * tp, positives + tp + fp),
            "AP": ap,
            "AUROC": auroc,
            "plain_accuracy": ratio(tp + tn, known.sum(0)),
        },
        index=pd.Index(names if names is not None else range(truth.shape[1]), name="attribute"),
    )
    parts = per_image(bits, drop_empty)
    accuracy, precision, recall, f1_value, _ = parts.sum(0) / max(1, parts[:, -1].sum())
    if f1 == "harmonic":
        f1_value = ratio(2 * precision * recall, precision + recall, 0.0)
    return Scores(
        mA=_mean(table["mA"]),
        accuracy=float(accuracy),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1_value),
        plain_accuracy=float(bits.right.sum() / bits.asked.sum()),
        mAP=_mean(ap),
        undefined=int(((positives == 0) | (negatives == 0)).sum()),
        per_attribute=table,
    )


def per_image(bits: Bits, drop_empty: bool) -> np.ndarray:
    """Accuracy, precision, recall, F1 of each image and whether it counts: (N, 5) float; a row that does not is 0."""
    decided = bits.decided & bits.known
    both, said, true = (bits.truth & decided).sum(1), decided.sum(1), bits.truth.sum(1)
    parts = [ratio(both, said + true - both, 0.0), ratio(both, said, 0.0), ratio(both, true, 0.0)]
    parts += [ratio(2 * both, said + true, 0.0), np.ones(len(both))]  # 2PR / (P + R) = 2 both / (said + true)
    return np.stack(parts, axis=1) * ((true > 0) | (not drop_empty))[:, None]


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average precision of one attribute (N,), as scikit-learn defines it: sum of precision times recall's step.

    nan when no label is positive. Images with equal scores count as one step.
    """
    known = labels >= 0
    return _ranking(labels[known] == 1, scores[known])[0]


def _ranking(truth, scores):
    """(average precision, area under the ROC curve) of one attribute; nan where it lacks a positive (or a negative)."""
    if not truth.any():
        return np.nan, np.nan
    order = np.argsort(scores)[::-1]
    truth, scores = truth[order], scores[order]
    last_of_equal = np.append(np.diff(scores) != 0, True)
    hits = np.cumsum(truth)[last_of_equal]
    seen = np.arange(1, len(truth) + 1)[last_of_equal]
    new, misses = np.diff(hits, prepend=0), seen - hits
    ap = float(np.sum(hits / seen * new) / hits[-1])
    if not misses[-1]:
        return ap, np.nan
    # A negative stands below all hits before it and half of those that share its score.
    below = np.sum(np.diff(misses, prepend=0) * (hits - new / 2))
    return ap, float(below / (hits[-1] * misses[-1]))


def tune_thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The threshold of each attribute (A,) that maximises its (TPR + TNR) / 2 on these labels, which must not be test.

    Candidates lie midway between neighbouring scores. Attributes without both answers keep 0.5.
    """
    labels, scores = checked(labels, scores)
    best = np.full(labels.shape[1], 0.5)
    for a in range(labels.shape[1]):
        known = labels[:, a] >= 0
        order = np.argsort(scores[known, a])
        ranked, truth = scores[known, a][order].astype(float), labels[known, a][order] == 1
        if not truth.any() or truth.all():
            continue
        # Above the cut behind position i lie all later ones: TPR and TNR of every cut at once.
        tpr = 1 - np.cumsum(truth) / truth.sum()
        tnr = np.cumsum(~truth) / (~truth).sum()
        cut = np.flatnonzero(np.diff(ranked) > 0)
        if len(cut):
            i = cut[np.argmax((tpr + tnr)[cut])]
            middle = (ranked[i] + ranked[i + 1]) / 2
            fits = scores.dtype.type(middle) < ranked[i + 1]  # not where two scores are neighbours of their type
            best[a] = middle if fits else ranked[i]
    return best


def ratio(a: np.ndarray, b: np.ndarray, undefined: float = np.nan) -> np.ndarray:
    """a / b, and `undefined` where b is 0."""
    return np.divide(a, b, out=np.full(b.shape, undefined), where=b > 0)


def _mean(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, or `BadInput` that says what is wrong with them."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if scores.dtype.kind in "biu":  # hard decisions: a threshold of their type would be 0 or 1
        scores = scores.astype(float)
    if labels.shape != scores.shape or labels.ndim != 2:
        raise BadInput(f"labels {labels.shape} and scores {scores.shape}: expected one shape (images, attributes)")
    if len(labels) == 0:
        raise BadInput("no image to score")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise BadInput("labels must be 1, 0 or -1 (unknown)")
    if not (labels >= 0).any():
        raise BadInput("every label is unknown (-1): nothing to score; are these the attributes of this benchmark?")
    if not ((scores >= 0) & (scores <= 1)).all():  # false for NaN too
        raise BadInput("scores must be probabilities in [0, 1] without NaN; apply a sigmoid to logits first")
    return labels, scores
