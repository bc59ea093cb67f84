"""The scores of the field, from labels and probabilities, each as its users define it.

Sources: label-based mA and the instance-based four from the RAP / PETA evaluation code as kept in Rethinking-of-PAR;
average precision as in scikit-learn. Unknown labels (-1) enter no score.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from parlib.errors import BadInput

SUMMARY = ("mA", "accuracy", "precision", "recall", "f1", "plain_accuracy", "mAP")


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

    def summary(self):
        """The seven headline scores as a plain dict."""
        return {name: getattr(self, name) for name in SUMMARY}


def evaluate(labels, scores, threshold=0.5, f1="harmonic", names=None):
    """Score probabilities against labels.

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
        BadInput: shapes that differ, labels other than 1, 0, -1, scores outside [0, 1] or NaN, unknown `f1`.
    """
    labels, scores = _checked(labels, scores)
    if f1 not in ("harmonic", "per_image"):
        raise BadInput(f"unknown f1 flavour {f1!r}; known: harmonic, per_image")
    threshold = np.asarray(threshold, dtype=scores.dtype)
    if threshold.shape not in ((), (labels.shape[1],)):
        raise BadInput(f"threshold has shape {threshold.shape}; expected a number or one for each attribute")
    decided = scores > threshold
    known, truth = labels >= 0, labels == 1
    tp = (truth & decided).sum(0)
    fp = (known & ~truth & decided).sum(0)
    positives, negatives = truth.sum(0), (known & ~truth).sum(0)
    tn = negatives - fp
    tpr, tnr = _ratio(tp, positives), _ratio(tn, negatives)
    ap = np.array([average_precision(labels[:, a], scores[:, a]) for a in range(labels.shape[1])])
    table = pd.DataFrame(
        {
            "positives": positives,
            "known": known.sum(0),
            "TPR": tpr,
            "TNR": tnr,
            "mA": (tpr + tnr) / 2,
            "precision": _ratio(tp, tp + fp),
            "AP": ap,
            "plain_accuracy": _ratio(tp + tn, known.sum(0)),
        },
        index=pd.Index(names if names is not None else range(labels.shape[1]), name="attribute"),
    )
    accuracy, precision, recall, f1_value = _instance_based(truth, decided & known, f1)
    return Scores(
        mA=_mean(table["mA"]),
        accuracy=accuracy,
        precision=precision,
        recall=recall,
        f1=f1_value,
        plain_accuracy=float((tp + tn).sum() / max(1, known.sum())),
        mAP=_mean(ap),
        undefined=int(np.isnan(table["mA"]).sum()),
        per_attribute=table,
    )


def average_precision(labels, scores):
    """Average precision of one attribute (N,), as scikit-learn defines it: sum of precision times recall's step.

    nan when no label is positive. Images with equal scores count as one step.
    """
    known = labels >= 0
    truth, scores = labels[known] == 1, scores[known]
    if not truth.any():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    truth, scores = truth[order], scores[order]
    last_of_equal = np.append(np.diff(scores) != 0, True)
    hits = np.cumsum(truth)[last_of_equal]
    seen = np.arange(1, len(truth) + 1)[last_of_equal]
    return float(np.sum(hits / seen * np.diff(hits, prepend=0)) / hits[-1])


def tune_thresholds(labels, scores):
    """The threshold of each attribute (A,) that maximises its (TPR + TNR) / 2 on these labels, which must not be test.

    Candidates lie midway between neighbouring scores. Attributes without both answers keep 0.5.
    """
    labels, scores = _checked(labels, scores)
    best = np.full(labels.shape[1], 0.5)
    for a in range(labels.shape[1]):
        known = labels[:, a] >= 0
        order = np.argsort(scores[known, a], kind="stable")
        ranked, truth = scores[known, a][order].astype(float), labels[known, a][order] == 1
        if not truth.any() or truth.all():
            continue
        # Above the cut behind position i lie all later ones: TPR and TNR of every cut at once.
        tpr = 1 - np.cumsum(truth) / truth.sum()
        tnr = np.cumsum(~truth) / (~truth).sum()
        cut = np.flatnonzero(np.diff(ranked) > 0)
        if len(cut):
            i = cut[np.argmax((tpr + tnr)[cut])]
            best[a] = (ranked[i] + ranked[i + 1]) / 2
    return best


def _instance_based(truth, decided, f1):
    both, either = (truth & decided).sum(1), (truth | decided).sum(1)
    accuracy = _ratio(both, either, 0.0).mean()
    precision_of = _ratio(both, decided.sum(1), 0.0)
    recall_of = _ratio(both, truth.sum(1), 0.0)
    precision, recall = precision_of.mean(), recall_of.mean()
    if f1 == "harmonic":
        f1_value = _ratio(2 * precision * recall, precision + recall, 0.0)
    else:
        f1_value = _ratio(2 * precision_of * recall_of, precision_of + recall_of, 0.0).mean()
    return float(accuracy), float(precision), float(recall), float(f1_value)


def _ratio(a, b, undefined=np.nan):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return np.divide(a, b, out=np.full(b.shape, undefined), where=b > 0)


def _mean(values):
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _checked(labels, scores):
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape or labels.ndim != 2:
        raise BadInput(f"labels {labels.shape} and scores {scores.shape}: expected one shape (images, attributes)")
    if len(labels) == 0:
        raise BadInput("no image to score")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise BadInput("labels must be 1, 0 or -1 (unknown)")
    if not ((scores >= 0) & (scores <= 1)).all():  # false for NaN too
        raise BadInput("scores must be probabilities in [0, 1] without NaN; apply a sigmoid to logits first")
    return labels, scores
