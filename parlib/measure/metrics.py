"""The scores of the field, from labels and probabilities, and the conventions of others by name in `PROTOCOLS`.

Sources: label-based mA and the instance-based four from the RAP / PETA evaluation code as kept in
valencebond/Rethinking_of_PAR; Event-AHU/OpenPAR, dangweili/pedestrian-attribute-recognition-pytorch (DeepMAR),
ldb0071/VLM-PAR and vana77/Market-1501_Attribute for their conventions; average precision and the area under the ROC
curve from scikit-learn. Unknown labels (-1) enter no score. Numbers of two protocols do not belong in one column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from parlib.errors import BadInput
from parlib.files import ASSETS, read_yaml
from parlib.schema import schema

F1 = Literal["harmonic", "per_image"]
AVERAGES = ("mA", "accuracy", "precision", "recall", "f1", "plain_accuracy")
SUMMARY = (*AVERAGES, "mAP")
_COMPARE = {">": np.greater, ">=": np.greater_equal}


@dataclass(frozen=True)
class Scores:
    """All scores of one set of predictions; each lies in [0, 1] or is nan where nothing defines it.

    `undefined` names the attributes (by column number where no names were passed) without a positive or without a
    negative among their known labels. They are left out of mAP, and of mA unless the protocol counts an undefined
    recall as 0 (`Protocol.epsilon`). They stay in the instance-based scores and in plain accuracy.
    """

    mA: float  # mean over attributes of (TPR + TNR) / 2
    accuracy: float  # this, precision and recall are instance-based: averaged over images
    precision: float
    recall: float
    f1: float  # harmonic mean of averaged precision and recall, or the mean of per-image F1
    plain_accuracy: float  # share of right answers, blind to imbalance
    mAP: float  # mean over attributes of average precision
    undefined: tuple[str | int, ...]
    per_attribute: pd.DataFrame  # one row per attribute

    def summary(self) -> dict[str, float]:
        """The seven headline scores as a plain dict."""
        return {name: getattr(self, name) for name in SUMMARY}


@dataclass(frozen=True)
class Protocol:
    """One way from probabilities to scores; call it with labels (N, A) and scores (N, A) for `Scores`.

    Each question of `view` is answered by its highest score, and plain accuracy counts questions. "No colour" is never
    an answer, so people without a colour are always wrong.
    """

    name: str
    threshold: float | np.ndarray = 0.5
    comparison: Literal[">", ">="] = ">"  # of the score of a positive with the threshold
    f1: F1 = "harmonic"
    epsilon: bool = False  # True counts an undefined recall as 0; False leaves its attribute out of mA
    drop_empty: bool = False  # leaves images without a positive out of the instance-based scores
    view: str | None = None  # of the market1501 schema
    headline: str = "mA"  # the score its users print
    about: str = ""  # where it comes from

    def __call__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        names: Sequence[str] | None = None,
        threshold: float | np.ndarray | None = None,
    ) -> Scores:
        """`Scores`; `threshold`, a number or (A,), replaces the protocol's own, such as one tuned on val."""
        labels, scores = checked(labels, scores)
        sums = self.sums(labels, scores, threshold)
        table = _per_attribute(sums, labels, scores, 0.0 if self.epsilon else np.nan)
        table.index = pd.Index(names if names is not None else range(labels.shape[1]), name="attribute")
        mA, accuracy, precision, recall, f1, plain = self.averages(sums, np.ones(len(labels))[None])[0].tolist()
        undefined = tuple(table.index[table["AP"].isna()])
        return Scores(mA, accuracy, precision, recall, f1, plain, float(table["AP"].mean()), undefined, table)

    def sums(self, labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray | None = None) -> np.ndarray:
        """What the scores are ratios of, for each image: (N, 4 A + 7) float; arguments as for a call, `checked`."""
        if self.f1 not in ("harmonic", "per_image"):
            raise BadInput(f"unknown f1 flavour {self.f1!r}; known: harmonic, per_image")
        if self.comparison not in _COMPARE:
            raise BadInput(f"unknown comparison {self.comparison!r}; known: {', '.join(_COMPARE)}")
        threshold = np.asarray(self.threshold if threshold is None else threshold, dtype=scores.dtype)
        if threshold.shape not in ((), (labels.shape[1],)):
            raise BadInput(f"threshold has shape {threshold.shape}; expected a number or one for each attribute")
        decided = _COMPARE[self.comparison](scores, threshold)
        yes, known = labels == 1, labels >= 0
        no, right, counted = known & ~yes, decided == yes, known  # the last two: (N, A), or (N, questions) of a view
        if self.view:
            view = schema("market1501").view(self.view)
            answers, columns = view(labels), []
            for j, column in enumerate(view.columns):
                members = [view.source.index(term) for term in column.terms]
                if column.question:
                    best = scores[:, members].argmax(1)
                    decided[:, members] = best[:, None] == np.arange(len(members))
                    columns.append(best == answers[:, j])
                else:
                    columns.append(right[:, members[0]])
            right, counted = np.stack(columns, axis=1), answers >= 0
        plain = np.stack([(right & counted).sum(1), counted.sum(1)], axis=1)
        each = per_image(yes, decided & known, self.drop_empty)
        return np.concatenate([yes & decided, no & ~decided, yes, no, each, plain], axis=1)

    def averages(self, sums: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Scores in the order of `AVERAGES`, (b, 6), where image n counts draws[:, n] times; `draws` is (b, N)."""
        counts = draws @ sums
        tp, tn, yes, no = np.split(counts[:, :-7], 4, axis=1)
        undefined = 0.0 if self.epsilon else np.nan
        balanced = (ratio(tp, yes, undefined) + ratio(tn, no, undefined)) / 2
        *parts, images, right, counted = counts[:, -7:].T
        accuracy, precision, recall, f1 = (ratio(part, images) for part in parts)
        if self.f1 == "harmonic":
            f1 = ratio(2 * precision * recall, precision + recall, 0.0)
        mA = pd.DataFrame(balanced).mean(axis=1)  # of the defined ones
        return np.stack([mA, accuracy, precision, recall, f1, ratio(right, counted)], axis=1)


class _Protocols(dict[str, Protocol]):
    def __missing__(self, name):
        raise BadInput(f"no protocol {name!r}; there are {', '.join(self)}")


PROTOCOLS = _Protocols(
    {name: Protocol(name, **fields) for name, fields in read_yaml(ASSETS / "protocols.yaml", "protocols").items()}
)


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
        threshold: a number or one per attribute (A,); positive is a score **above** it, as in Rethinking-of-PAR.
        f1: `harmonic` mean of the averaged precision and recall (Rethinking-of-PAR), or the mean of `per_image` F1
            (OpenPAR). They differ by 0.2 to 0.4 points on PA-100K.
        names: A attribute names for `per_attribute` and `undefined`.

    Raises:
        BadInput: an unknown `f1`, and what `checked` names.
    """
    return Protocol("evaluate", threshold, f1=f1)(labels, scores, names)


def _per_attribute(sums, labels, scores, undefined):
    """One row per attribute; a recall (TPR, TNR) without labels to count is `undefined`."""
    tp, tn, yes, no = np.split(sums[:, :-7].sum(0), 4)
    tpr, tnr, fp = ratio(tp, yes, undefined), ratio(tn, no, undefined), no - tn
    columns = [(labels[:, a], scores[:, a]) for a in range(labels.shape[1])]
    return pd.DataFrame(
        {
            "positives": yes.astype(int),
            "known": (yes + no).astype(int),
            "TPR": tpr,
            "TNR": tnr,
            "mA": (tpr + tnr) / 2,
            "precision": ratio(tp, tp + fp),
            "F1": ratio(2 * tp, yes + tp + fp),
            "AP": [average_precision(*column) for column in columns],
            "AUROC": [_masked(roc_auc_score, *column) for column in columns],
            "plain_accuracy": ratio(tp + tn, yes + no),
        }
    )


def per_image(truth: np.ndarray, decided: np.ndarray, drop_empty: bool) -> np.ndarray:
    """Accuracy, precision, recall, F1 of each image and whether it counts: (N, 5) float; a row that does not is 0.

    `truth`, `decided`: (N, A) bool, False where the label is unknown.
    """
    both, answered, true = (truth & decided).sum(1), decided.sum(1), truth.sum(1)
    parts = [ratio(both, answered + true - both, 0.0), ratio(both, answered, 0.0), ratio(both, true, 0.0)]
    parts += [ratio(2 * both, answered + true, 0.0), np.ones(len(both))]  # 2PR / (P + R)
    return np.stack(parts, axis=1) * ((true > 0) | (not drop_empty))[:, None]


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average precision of one attribute (N,) over its known labels; nan without a positive or without a negative."""
    return _masked(average_precision_score, labels, scores)


def _masked(score, labels, scores):
    known = labels >= 0
    truth = labels[known] == 1
    return float(score(truth, scores[known])) if truth.any() and not truth.all() else np.nan


def positive_rates(labels: np.ndarray) -> np.ndarray:
    """Share of yes among the known labels (N, A) of each attribute: (A,) float, 0 where none is known."""
    labels = np.asarray(labels)
    return (labels == 1).sum(0) / np.maximum(1, (labels >= 0).sum(0))


def tune_thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The threshold of each attribute (A,) that maximises its (TPR + TNR) / 2 on these labels, which must not be test.

    Candidates lie midway between neighbouring scores. Attributes without a positive or a negative keep 0.5.
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
