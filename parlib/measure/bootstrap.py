"""What another draw of test images would have scored: percentile intervals, by identity or paired where wanted.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; whole people are drawn as clusters.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from parlib.errors import BadInput
from parlib.measure.metrics import AVERAGES, PROTOCOLS, checked, ratio

BLOCK = 2**27  # bytes of draws held at a time


def bootstrap(
    labels: np.ndarray,
    scores: np.ndarray,
    other: np.ndarray | None = None,
    other_threshold: float | np.ndarray | None = None,
    identities: Sequence[str | None] | np.ndarray | None = None,
    protocol: str = "parlib",
    threshold: float | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    ranking: bool = False,
) -> pd.DataFrame:
    """95 % interval of each score under resampling of the test images; the spread over training seeds is not in it.

    Args:
        labels, scores: (N, A), as for `evaluate`.
        other: (N, A) scores of a second model on the same images. The intervals are then of the difference `scores`
            minus `other`, with the same draws for both.
        other_threshold: of the second model, such as one tuned on val; None takes the first model's.
        identities: N identities; whole people are drawn, as images of one person are not independent. See `persons`.
        protocol, threshold: see `PROTOCOLS` and `Protocol.__call__`.
        ranking: adds mAP, which is ranked anew in each draw: 9 s instead of 0.5 s for 10,000 images.

    Returns:
        DataFrame of value, low, high (fractions of 1), one row per score of `AVERAGES` (and mAP). In each draw mA and
        mAP leave out the attributes that the draw leaves without a positive or a negative, as `Scores.undefined` says.

    Raises:
        BadInput: as `evaluate`; another number of identities than of images, fewer than two images or people.
    """
    labels, scores = checked(labels, scores)
    models = [(scores, threshold)]
    if other is not None:
        models.append((checked(labels, other)[1], threshold if other_threshold is None else other_threshold))
    scorers = [scorer(labels, each, limit, protocol) for each, limit in models]

    def values(draws):
        """The scores of each draw, or their difference; image n counts draws[:, n] times."""
        each = [score(draws) for score in scorers]
        if ranking:
            ranked = [_mean_ap(draws, labels, of_model) for of_model, _ in models]
            each = [np.column_stack(pair) for pair in zip(each, ranked, strict=True)]
        return each[0] - each[1] if other is not None else each[0]

    drawn = np.concatenate([values(draws) for draws in resampled(len(labels), identities, resamples, seed)])
    names = pd.Index([*AVERAGES, "mAP"] if ranking else AVERAGES, name="score")
    return pd.DataFrame(interval(drawn), ["value", "low", "high"], names).T


def interval(draws: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Value, low, high (3, ...) of (1 + R, ...) draws, the value first; `level` is the share between the bounds."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # what is undefined in every draw is nan
        return np.stack([draws[0], *np.nanpercentile(draws[1:], [50 * (1 - level), 50 * (1 + level)], axis=0)])


def resampled(
    images: int, identities: Sequence[str | None] | np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each image counts: first (1, N) ones, then blocks (b, N) of draws, `resamples` in all.

    BadInput where there are fewer than two images or people (see `persons`), or no resample.
    """
    who = persons(identities, images)
    units = int(who.max()) + 1
    if units < 2 or resamples < 1:
        raise BadInput(f"{units} image(s) or people and {resamples} resample(s): nothing to draw from")
    yield np.ones((1, images))
    rng, block = np.random.default_rng(seed), max(1, BLOCK // (32 * images))
    for first in range(0, resamples, block):
        rows = range(min(block, resamples - first))
        yield np.stack([np.bincount(rng.integers(units, size=units), minlength=units)[who] for _ in rows]).astype(float)


def persons(identities: Sequence[str | None] | npt.ArrayLike | None, images: int) -> np.ndarray:
    """Number of the person in each image, (N,) int from 0; an image without an identity ("", None, -1) is its own."""
    if identities is None:
        return np.arange(images)
    column = pd.Series(identities, dtype=object)
    if len(column) != images:
        raise BadInput(f"{len(column)} identities for {images} images; give one for each row")
    who, known = pd.factorize(column.mask(column.isin(["", -1])), sort=True)
    missing = np.flatnonzero(who < 0)
    who[missing] = len(known) + np.arange(len(missing))
    return who


def scorer(
    labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray | None = None, protocol: str = "parlib"
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from draws (b, N) of `resampled` to the scores of each, (b, 6) in the order of `AVERAGES`."""
    how = PROTOCOLS[protocol]
    sums = how.sums(*checked(labels, scores), threshold)
    return lambda draws: how.averages(sums, draws)


def _mean_ap(draws, labels, scores):
    """(len(draws),) mean average precision where image n counts draws[:, n] times; equal scores are one step."""
    each = np.full((len(draws), labels.shape[1]), np.nan)
    for a in range(labels.shape[1]):
        known = np.flatnonzero(labels[:, a] >= 0)
        order = known[np.argsort(-scores[known, a])]
        last_of_equal = np.append(np.diff(scores[order, a]) != 0, True)
        seen = draws[:, order].cumsum(1)[:, last_of_equal]
        hits = (draws[:, order] * (labels[order, a] == 1)).cumsum(1)[:, last_of_equal]
        steps = np.diff(hits, prepend=0) * ratio(hits, seen, 0.0)
        both = (hits[:, -1] > 0) & (hits[:, -1] < seen[:, -1])
        each[both, a] = steps[both].sum(1) / hits[both, -1]
    return pd.DataFrame(each).mean(axis=1)  # of the defined ones
