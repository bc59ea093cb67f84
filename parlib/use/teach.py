"""Teaching a new attribute image by image: marks, what is learned from them, and which image to ask about next."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from parlib.encode.encoder import Encoder
from parlib.use.attributes import NewAttribute, few_shot_attribute, zero_shot_attribute

LEAST = 2  # marks of either answer before anything is learned


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
