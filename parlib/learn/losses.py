"""Losses on logits (B, A) against labels (B, A) of 1, 0 and -1; what is unknown (-1) weighs nothing."""

import torch
from torch.nn import functional as F

from parlib.errors import BadInput


def focal(logits, labels, gamma=2.0, smoothing=0.05):
    """Cross-entropy with focal weighting and label smoothing, the paper's loss (section 3.5).

    With p the probability given to the true answer: -(1 - p)^gamma * log p, the target smoothed towards 1/2 by
    `smoothing`. gamma = 0 and smoothing = 0 is binary cross-entropy.
    """
    known = labels >= 0
    truth = labels.clamp(min=0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(
        logits, truth * (1 - smoothing) + smoothing / 2, reduction="none"
    )  # (B, A)
    p_true = torch.where(truth > 0, logits.sigmoid(), (-logits).sigmoid())
    return ((1 - p_true) ** gamma * entropy)[known].mean()


def bce(logits, labels):
    """Plain binary cross-entropy over the known labels."""
    return focal(logits, labels, gamma=0.0, smoothing=0.0)


LOSSES = {"focal": focal, "bce": bce}


def loss_function(name):
    """A loss by name."""
    if name not in LOSSES:
        raise BadInput(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return LOSSES[name]
