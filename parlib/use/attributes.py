"""New attributes for a trained model: from a phrase, from labels, from both, or taught image by image."""

import itertools
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch.nn import functional as F

from parlib.encode.encoder import Encoder
from parlib.errors import BadInput
from parlib.learn.baselines import embeddings
from parlib.measure.metrics import average_precision, tune_thresholds

FOLDS = 5
LEAST = 2  # marks of either answer before a lesson learns from them
PRIOR = 10.0  # how much less a step along the phrase costs than one along any other direction


@dataclass(frozen=True)
class NewAttribute:
    """An attribute that a trained model got later: a direction among the normalised pooled features.

    Its probability is sigmoid(weight . pooled / |pooled| + bias). Made by `zero_shot_attribute`, `few_shot_attribute`.
    """

    name: str
    phrases: tuple[str, ...]
    weight: torch.Tensor  # (D,) float32
    bias: float
    threshold: float = 0.5
    calibrated: bool = False
    how: str = "zero-shot"

    def scores(self, pooled: torch.Tensor) -> np.ndarray:
        """Probabilities (n,) of images by their pooled features (n, D) at length 1."""
        return (pooled @ self.weight + self.bias).sigmoid().numpy()


def zero_shot_attribute(
    encoder: Encoder,
    name: str,
    phrases: str | Sequence[str],
    pooled: torch.Tensor | None = None,
    labels: np.ndarray | None = None,
) -> NewAttribute:
    """An attribute without training: the checkpoint's own score of a phrase.

    Args:
        phrases: one or several, in any language; the mean of their normalised embeddings is used (prompt ensemble).
        pooled, labels: pooled features (n, D) and labels (n,) of 1, 0, -1 of val. With them the probability is
            calibrated (Platt: a logistic regression on the score) and the threshold tuned for mA; without, the
            probability is the checkpoint's own sigmoid and the threshold 0.5. BadInput without a yes or a no.
    """
    words, weight, bias = _direction(encoder, name, phrases)
    if labels is None:
        return NewAttribute(name, words, weight, bias)
    pooled, labels = _known(name, pooled, labels)
    score = (pooled @ weight + bias).numpy()[:, None]
    fitted = LogisticRegression(C=1e3).fit(score, labels)
    a, b = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    threshold = tune_thresholds(labels[:, None], fitted.predict_proba(score)[:, 1:])[0]
    how = f"zero-shot, calibrated on {len(labels)} labels ({int(labels.sum())} yes)"
    return NewAttribute(name, words, weight * a, bias * a + b, float(threshold), True, how)


def few_shot_attribute(
    encoder: Encoder, name: str, pooled: torch.Tensor, labels: np.ndarray, phrases: str | Sequence[str] = ()
) -> NewAttribute:
    """An attribute learned from a few labelled crops: logistic regression on frozen features, from a phrase on.

    The phrase's direction is one more feature, `PRIOR` times cheaper than the others: with few labels the answer stays
    near zero-shot, with many it is a linear probe. The penalty is chosen by cross-validation on these labels, and so is
    the threshold (for mA), from predictions for the folds left out. Too few labels to call it calibrated.
    Arguments as `zero_shot_attribute`; `labels` with at least two yes and two no.
    """
    words, weight, _ = _direction(encoder, name, phrases) if phrases else ((), torch.zeros(encoder.width), 0)
    pooled, labels = _known(name, pooled, labels, least=2)
    direction = F.normalize(weight, dim=0)
    centre, spread = pooled.mean(0), pooled.std(0).mean().clamp(min=1e-6)
    x = (pooled - centre) / spread  # (n, D)
    features = torch.cat([x, PRIOR * x @ direction[:, None]], 1).numpy().astype(np.float64)
    folds = StratifiedKFold(min(FOLDS, int(labels.sum()), int((1 - labels).sum())), shuffle=True, random_state=0)
    tried = []
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):  # too weak a penalty; one thread is faster
        for C in (1e-4, 1e-3, 1e-2, 1e-1):
            probe = LogisticRegression(C=C, max_iter=500, class_weight="balanced")
            left_out = cross_val_predict(probe, features, labels, cv=folds, method="predict_proba")[:, 1]
            loss = -np.log(np.clip(np.where(labels == 1, left_out, 1 - left_out), 1e-6, 1)).mean()
            tried.append((loss, left_out, probe))
        _, left_out, fitted = min(tried, key=lambda one: one[0])
        fitted.fit(features, labels)
    coefficients = torch.as_tensor(fitted.coef_[0], dtype=torch.float32)
    weight = (coefficients[:-1] + PRIOR * coefficients[-1] * direction) / spread
    bias = float(fitted.intercept_[0]) - float(weight @ centre)
    threshold = tune_thresholds(labels[:, None], left_out[:, None])[0]
    how = f"learned from {len(labels)} labels ({int(labels.sum())} yes)"
    return NewAttribute(name, words, weight, bias, float(threshold), False, how)


def few_shot_curve(
    encoder: Encoder,
    name: str,
    phrases: str | Sequence[str],
    train: tuple[torch.Tensor, np.ndarray],
    test: tuple[torch.Tensor, np.ndarray],
    sizes: Sequence[int] = (16, 64, 256),
    draws: int = 3,
) -> pd.DataFrame:
    """How good an attribute gets with how many labels, with its phrase to start from and without.

    Args:
        train, test: (pooled features (n, D), labels (n,)).
        sizes: numbers of labelled crops, drawn from train without replacement, `draws` times each.

    Returns:
        DataFrame with `attribute`, `labels` (0: zero-shot), `start` (`phrase` or `nothing`), `draw`, `AP` on test.
        Draws with fewer than two yes or two no are left out.
    """
    made = [(0, "phrase", 0, zero_shot_attribute(encoder, name, phrases))]
    for size, draw in itertools.product(sizes, range(draws)):
        chosen = np.random.default_rng(draw).permutation(len(train[1]))[:size]
        pooled, labels = train[0][chosen], np.asarray(train[1])[chosen]
        if min((labels == 1).sum(), (labels == 0).sum()) >= 2:
            for start, words in (("phrase", phrases), ("nothing", ())):
                made.append((size, start, draw, few_shot_attribute(encoder, name, pooled, labels, words)))
    pooled, truth = F.normalize(torch.as_tensor(test[0]).float(), dim=-1), np.asarray(test[1])
    rows = [(name, *about, average_precision(truth, one.scores(pooled))) for *about, one in made]
    return pd.DataFrame(rows, columns=["attribute", "labels", "start", "draw", "AP"])


def _direction(encoder, name, phrases):
    """The phrases as a tuple; weight (D,) and bias of the checkpoint's own zero-shot logit for the mean of them."""
    phrases = (phrases,) if isinstance(phrases, str) else tuple(phrases)
    if not phrases or not all(isinstance(phrase, str) and phrase.strip() for phrase in phrases):
        raise BadInput(f"attribute {name!r} needs a phrase, such as 'a person with a red scarf'")
    scale, bias = encoder.model.logit_scale.float().exp(), encoder.model.logit_bias.float()
    return phrases, (scale * F.normalize(embeddings(encoder, [phrases])[0], dim=0)).cpu(), float(bias)


def _known(name, pooled, labels, least=1):
    """Normalised features (m, D) and labels (m,) of the images whose label is known."""
    labels = np.asarray(labels).astype(int).ravel()
    if pooled is None or len(pooled) != len(labels):
        raise BadInput(f"{name!r}: {0 if pooled is None else len(pooled)} features for {len(labels)} labels")
    known = labels >= 0
    yes, no = int((labels == 1).sum()), int((labels == 0).sum())
    if min(yes, no) < least:
        raise BadInput(f"{name!r}: {yes} yes and {no} no among the labels; at least {least} of each are needed")
    return F.normalize(torch.as_tensor(pooled).float().cpu(), dim=-1)[known], labels[known]


class Lesson:
    """A new attribute of n images: set `marks`, call `learn`, look at `next`.

    Args:
        pooled: (n, D), at length 1.
        askable: (n,) bool, images that `next` may ask about, so that others stay to measure on; default all.
    """

    def __init__(self, encoder: Encoder, pooled: torch.Tensor, askable: np.ndarray | None = None):
        self.encoder, self.pooled = encoder, pooled
        self.askable = np.ones(len(pooled), bool) if askable is None else askable
        self.marks = np.full(len(pooled), -1, np.int8)  # 1 yes, 0 no, -1 not marked
        self.attribute: NewAttribute | None = None  # as learned last, like what follows
        self.scores: np.ndarray | None = None  # (n,) probabilities
        self.seconds = 0.0  # that learning and scoring all images took

    def learn(self, name: str, phrases: Sequence[str] = ()) -> None:
        """Learn from the marks, or while they are fewer than two of an answer from the phrases, if any; score all."""
        start = time.perf_counter()
        if min(np.count_nonzero(self.marks == answer) for answer in (0, 1)) >= LEAST:
            self.attribute = few_shot_attribute(self.encoder, name, self.pooled, self.marks, phrases)
        else:
            self.attribute = zero_shot_attribute(self.encoder, name, phrases) if phrases else None
        self.scores = None if self.attribute is None else self.attribute.scores(self.pooled)
        self.seconds = time.perf_counter() - start

    def next(self) -> np.ndarray:
        """Rows of unmarked images that may be asked about, the most useful first.

        Once both answers are known these are the least certain ones (uncertainty sampling); before, those likeliest to
        have the answer that is missing, and without a phrase in random order.
        """
        rows = np.random.default_rng(0).permutation(len(self.marks))
        rows = rows[(self.askable & (self.marks < 0))[rows]]
        if self.attribute is None or self.scores is None:
            return rows
        scores, (no, yes) = self.scores[rows], (np.count_nonzero(self.marks == answer) for answer in (0, 1))
        worth = np.abs(scores - self.attribute.threshold)
        if yes < LEAST or no < LEAST:
            worth = -scores if yes < LEAST else scores
        return rows[np.argsort(worth, kind="stable")]
