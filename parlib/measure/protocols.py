"""How the field computes its scores, each convention by name and as data.

Sources: valencebond/Rethinking_of_PAR, Event-AHU/OpenPAR, dangweili/pedestrian-attribute-recognition-pytorch (DeepMAR),
ldb0071/VLM-PAR, vana77/Market-1501_Attribute. Numbers of two protocols do not belong in one column. The VLM-PAR code
averages over batches, which weighs a last, short batch as a whole one; ours are over all images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from parlib.errors import BadInput
from parlib.measure.metrics import F1, Bits, Scores, checked, score
from parlib.schema import schema

_COMPARE = {">": np.greater, ">=": np.greater_equal}


@dataclass(frozen=True)
class Protocol:
    """One way from probabilities to scores; call it with labels (N, A) and scores (N, A) for a `Scores`.

    Attributes:
        threshold, comparison: positive is a score `>` or `>=` the threshold.
        f1: `harmonic` of averaged precision and recall, or the mean of `per_image` F1.
        epsilon: True counts an attribute's undefined recall as 0 (denominators + 1e-20), so one without positives has
            mA 0.5 at most; False leaves that attribute out and counts it.
        drop_empty: images without a positive leave the instance-based scores.
        view: of the market1501 schema; its questions are answered by their highest score, and plain accuracy counts
            questions. Nobody is answered "no colour", so people without one are always wrong.
        headline: the score its users print.
        about: where it comes from.
    """

    name: str
    threshold: float | np.ndarray = 0.5
    comparison: Literal[">", ">="] = ">"
    f1: F1 = "harmonic"
    epsilon: bool = False
    drop_empty: bool = False
    view: str | None = None
    headline: str = "mA"
    about: str = ""

    def __call__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        names: Sequence[str] | None = None,
        threshold: float | np.ndarray | None = None,
    ) -> Scores:
        """`Scores`; `threshold` (a number or (A,)) takes the place of the protocol's own, such as one tuned on val."""
        labels, scores = checked(labels, scores)
        return score(self.bits(labels, scores, threshold), scores, self.f1, self.epsilon, self.drop_empty, names)

    def bits(self, labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray | None = None) -> Bits:
        """`Bits`: every decision beside its truth."""
        threshold = np.asarray(self.threshold if threshold is None else threshold, dtype=scores.dtype)
        if threshold.shape not in ((), (labels.shape[1],)):
            raise BadInput(f"threshold has shape {threshold.shape}; expected a number or one for each attribute")
        if self.comparison not in _COMPARE:
            raise BadInput(f"unknown comparison {self.comparison!r}; known: {', '.join(_COMPARE)}")
        decided = _COMPARE[self.comparison](scores, threshold)
        right, asked = decided == (labels == 1), labels >= 0
        if self.view:
            view = schema("market1501").view(self.view)
            truth, columns = view(labels), []
            for j, column in enumerate(view.columns):
                members = [view.source.index(term) for term in column.terms]
                if column.question:
                    best = scores[:, members].argmax(1)
                    decided[:, members] = best[:, None] == np.arange(len(members))
                    columns.append(best == truth[:, j])
                else:
                    columns.append(right[:, members[0]])
            right, asked = np.stack(columns, axis=1), truth >= 0
        return Bits(labels == 1, labels >= 0, decided, right & asked, asked)


class _Protocols(dict[str, Protocol]):
    def __missing__(self, name):
        raise BadInput(f"no protocol {name!r}; there are {', '.join(self)}")


PROTOCOLS = _Protocols(
    (made.name, made)
    for made in (
        Protocol("parlib", about="this package: undefined scores are nan and counted"),
        Protocol("rethinking", epsilon=True, about="Rethinking-of-PAR and what is built on it"),
        Protocol("openpar", 0.45, f1="per_image", epsilon=True, about="OpenPAR family"),
        Protocol("deepmar", comparison=">=", epsilon=True, drop_empty=True, about="DeepMAR code: logit >= 0"),
        Protocol("vlm-par-code", headline="plain_accuracy", about="the authors' code, but over images, not batches"),
        Protocol("market-12", view="12", headline="plain_accuracy", about="official: each colour and age one question"),
        Protocol("market-27", view="27", headline="plain_accuracy", about="27 attributes, age one question of four"),
        Protocol("market-30", view="30", headline="plain_accuracy", about="30 binaries, age as four"),
    )
)
