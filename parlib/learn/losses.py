"""Losses on logits (B, A) against labels (B, A) of 1, 0 and -1; unknown labels (-1) have no weight.

All take `rate` (A,), each attribute's positive rate in train, though few use it; p is the probability of a yes.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

Rate = Tensor | None
TEMPERATURES = (0.1, 10.0)  # the bounds of `fit_temperature`


def bce(logits: Tensor, labels: Tensor, smoothing: float = 0, weight: Tensor | float = 1, rate: Rate = None) -> Tensor:
    """Binary cross-entropy: the mean over known labels of -weight * log(p of the true answer).

    The target is smoothed towards 1/2 by `smoothing`; `weight` broadcasts over (B, A).
    """
    known, truth = labels >= 0, labels.clamp(min=0).to(logits.dtype)  # (B, A)
    target = truth * (1 - smoothing) + smoothing / 2
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")  # (B, A)
    return torch.where(known, weight * entropy, 0).sum() / known.sum()  # an index would make a GPU wait


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, smoothing: float = 0.05, rate: Rate = None) -> Tensor:
    """Cross-entropy with focal weighting and label smoothing, the paper's loss (section 3.5).

    With p the probability of the true answer: -(1 - p)^gamma * log p. gamma = 0 is binary cross-entropy.
    """
    p_true = torch.where(labels > 0, logits, -logits).sigmoid()  # (B, A)
    return bce(logits, labels, smoothing, (1 - p_true) ** gamma)


def deepmar(logits: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
    """BCE with DeepMAR's weights (ACPR 2015, eq. 2): exp(1 - rate) for a yes, exp(rate) for a no."""
    return bce(logits, labels, weight=torch.where(labels > 0, (1 - rate).exp(), rate.exp()))


def asymmetric(
    logits: Tensor, labels: Tensor, gamma_yes: float = 0, gamma_no: float = 4, margin: float = 0.05, rate: Rate = None
) -> Tensor:
    """Asymmetric loss (ICCV 2021, eq. 7): a focal power for each answer; a no with p below `margin` has no weight."""
    p = logits.sigmoid()  # (B, A)
    p_no = (p - margin).clamp(min=0)  # (B, A)
    yes = (1 - p) ** gamma_yes * F.logsigmoid(logits)  # (B, A)
    no = p_no**gamma_no * torch.log1p(-p_no.clamp(max=1 - 1e-6))  # (B, A)
    return -torch.where(labels >= 0, torch.where(labels > 0, yes, no), 0).sum() / (labels >= 0).sum()


def adjusted(logits: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
    """BCE of logits moved by the log-odds of the rate (logit adjustment, ICLR 2021, eq. 10).

    The head learns to answer as if yes and no were equally frequent, so that 0.5 is the threshold that favours mA.
    """
    return bce(logits + rate.clamp(1e-4, 1 - 1e-4).logit(), labels)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "ce": bce,  # with the head's `exclusive` sets this is the softmax's cross-entropy of each answer
    "smoothed": functools.partial(bce, smoothing=0.05),
    "focal": focal,
    "deepmar": deepmar,
    "asymmetric": asymmetric,
    "adjusted": adjusted,
}


def balanced_weights(labels: Tensor | np.ndarray) -> Tensor:
    """Weight of each image in label-balanced sampling (n,), sum 1: the mean of 1 / count over its yes labels.

    Count is the number of images with that label. An image without a yes has the least weight of the others.
    """
    yes = torch.as_tensor(labels) == 1  # (n, A)
    weights = (yes / yes.sum(0).clamp(min=1)).sum(1) / yes.sum(1).clamp(min=1)  # (n,)
    weights = torch.where(yes.any(1), weights, weights[yes.any(1)].min()) if yes.any() else torch.ones(len(yes))
    return weights / weights.sum()


def fit_temperature(logits: Tensor, labels: Tensor | np.ndarray) -> float | None:
    """The number t for which logits / t have the least BCE on these labels, which must not be test (ICML 2017).

    It changes no ranking and no decision at 0.5; a probability of 0.8 is then right about 8 times in 10. None where no
    t within `TEMPERATURES` is better than 1 and than both bounds: the logits then tell too little, or the labels are
    too few and fit perfectly.
    """
    logits, labels = logits.double().cpu(), torch.as_tensor(labels)  # (n, A)
    low, high = np.log(TEMPERATURES)

    def loss(log_t):
        return bce(logits / np.exp(log_t), labels).item()

    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    inside = low + 0.01 < found.x < high - 0.01
    return float(np.exp(found.x)) if inside and found.fun < loss(0.0) else None
