"""What another draw of test images would have scored: percentile intervals, clustered by identity, or paired."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.measure.metrics import checked, per_image, ratio
from parlib.measure.protocols import PROTOCOLS

BLOCK = 2**27  # bytes of draws held at a time
METRICS = ("mA", "accuracy", "precision", "recall", "f1", "plain_accuracy")


def bootstrap(
    labels: np.ndarray,
    scores: np.ndarray,
    other: np.ndarray | None = None,
    other_threshold: float | np.ndarray | None = None,
    identities: Sequence[str] | np.ndarray | None = None,
    protocol: str = "parlib",
    threshold: float | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Interval of each score under resampling of the test images; the spread over training seeds is not in it.

    Args:
        labels, scores: (N, A), as for `evaluate`.
        other: (N, A) scores of a second model on the same images: the intervals are then of its difference from the
            first, `scores` minus `other`, in the same draws for both.
        other_threshold: of the second model, such as one tuned on val; None is the first's.
        identities: N identities; whole people are drawn, as images of one person are not independent.
        protocol, threshold: see `PROTOCOLS` and `Protocol.__call__`.
        resamples, seed, level: draws, their seed, and the share of draws between the bounds.

    Returns:
        DataFrame of value, low, high (fractions of 1), one row a score of `METRICS`. mAP has none: it would have to be
        ranked anew in each draw. An attribute that a draw leaves without a positive or a negative is left out of that
        draw's mA unless the protocol defines it.

    Raises:
        BadInput: as `evaluate`; identities of another number than images, fewer than two units to draw.
    """
    labels, scores = checked(labels, scores)
    how = PROTOCOLS[protocol]
    groups = np.arange(len(labels))
    if identities is not None:
        if len(identities) != len(labels):
            raise BadInput(f"{len(identities)} identities for {len(labels)} images; give one for each row")
        groups = np.unique(np.asarray(identities), return_inverse=True)[1]
    units = int(groups.max()) + 1
    if units < 2 or resamples < 1:
        raise BadInput(f"{units} image(s) or people and {resamples} resample(s): nothing to draw from")
    sums = [_sums(how.bits(labels, scores, threshold), how, groups, units)]
    if other is not None:
        limit = threshold if other_threshold is None else other_threshold
        sums.append(_sums(how.bits(*checked(labels, other), limit), how, groups, units))
    rng, left, parts = np.random.default_rng(seed), resamples, []
    draws = np.ones((1, units))  # first the sample itself, then so many draws at a time as fit the memory set aside
    while True:
        scored = [_scores(each, draws, how) for each in sums]
        parts.append(scored[0] - scored[1] if other is not None else scored[0])
        if not left:
            break
        now = min(left, max(1, BLOCK // (8 * units)))
        draws = np.stack([np.bincount(rng.integers(units, size=units), minlength=units) for _ in range(now)])
        left -= now
    values = np.concatenate(parts)
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(values[1:], [tail, 100 - tail], axis=0)
    return pd.DataFrame({"value": values[0], "low": low, "high": high}, index=pd.Index(METRICS, name="score"))


def _sums(bits, protocol, groups, units):
    """What the scores are ratios of, summed over each unit: (units, 4 A + 7) float."""
    yes, no = bits.truth, bits.known & ~bits.truth
    counted = [bits.right.sum(1, keepdims=True), bits.asked.sum(1, keepdims=True)]
    columns = [yes & bits.decided, no & ~bits.decided, yes, no, per_image(bits, protocol.drop_empty), *counted]
    rows = np.concatenate(columns, axis=1, dtype=float)
    if units == len(rows):
        return rows[np.argsort(groups)]
    order = np.argsort(groups, kind="stable")
    return np.add.reduceat(rows[order], np.searchsorted(groups[order], np.arange(units)))


def _scores(sums, draws, protocol):
    """(len(draws), 6) in the order of `METRICS`: one product of matrices gives every draw's counts."""
    counts = draws @ sums
    attributes = (counts.shape[1] - 7) // 4
    tp, tn, yes, no = np.split(counts[:, : 4 * attributes], 4, axis=1)
    undefined = 0.0 if protocol.epsilon else np.nan
    balanced = (ratio(tp, yes, undefined) + ratio(tn, no, undefined)) / 2
    defined = np.isfinite(balanced)
    accuracy, precision, recall, f1, images, right, asked = counts[:, 4 * attributes :].T
    accuracy, precision, recall, f1 = (ratio(part, images) for part in (accuracy, precision, recall, f1))
    if protocol.f1 == "harmonic":
        f1 = ratio(2 * precision * recall, precision + recall, 0.0)
    balanced = ratio(np.where(defined, balanced, 0).sum(1), defined.sum(1))
    return np.stack([balanced, accuracy, precision, recall, f1, ratio(right, asked)], axis=1)
