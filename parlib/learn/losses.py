"""Losses on logits (B, A) against labels (B, A) of 1, 0 and -1; what is unknown (-1) weighs nothing.

All take `rate` (A,), each attribute's positive rate in train, though few read it. p is the probability of a yes.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from parlib.errors import BadInput

Rate = Tensor | None


def bce(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, weight: float | Tensor = 1.0, rate: Rate = None
) -> Tensor:
    """Binary cross-entropy: the mean over known labels of -weight * log(p of the true answer).

    The target is smoothed towards 1/2 by `smoothing`; `weight` broadcasts over (B, A).
    """
    known, truth = labels >= 0, labels.clamp(min=0).to(logits.dtype)
    target = truth * (1 - smoothing) + smoothing / 2
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")  # (B, A)
    return (weight * entropy)[known].mean()


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, smoothing: float = 0.05, rate: Rate = None) -> Tensor:
    """Cross-entropy with focal weighting and label smoothing, the paper's loss (section 3.5).

    With p the probability given to the true answer: -(1 - p)^gamma * log p. gamma = 0 is binary cross-entropy.
    """
    p_true = torch.where(labels > 0, logits, -logits).sigmoid()
    return bce(logits, labels, smoothing, (1 - p_true) ** gamma)


def deepmar(logits: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
    """BCE with DeepMAR's weights (ACPR 2015, eq. 2): exp(1 - rate) for a yes, exp(rate) for a no."""
    return bce(logits, labels, weight=torch.where(labels > 0, (1 - rate).exp(), rate.exp()))


def asymmetric(
    logits: Tensor,
    labels: Tensor,
    gamma_yes: float = 0.0,
    gamma_no: float = 4.0,
    margin: float = 0.05,
    rate: Rate = None,
) -> Tensor:
    """Asymmetric loss (ICCV 2021, eq. 7): focal with a power for each answer; a no below `margin` weighs nothing."""
    p = logits.sigmoid()
    p_no = (p - margin).clamp(min=0)
    yes = (1 - p) ** gamma_yes * F.logsigmoid(logits)
    no = p_no**gamma_no * torch.log1p(-p_no.clamp(max=1 - 1e-6))
    return -torch.where(labels > 0, yes, no)[labels >= 0].mean()


def adjusted(logits: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
    """BCE of logits moved by the log-odds of the rate (logit adjustment, ICLR 2021, eq. 10): the head learns
    to answer as if yes and no were equally frequent, and 0.5 becomes the threshold that mA asks for."""
    return bce(logits + rate.clamp(1e-4, 1 - 1e-4).logit(), labels)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "smoothed": functools.partial(bce, smoothing=0.05),
    "focal": focal,
    "deepmar": deepmar,
    "asymmetric": asymmetric,
    "adjusted": adjusted,
}


def loss_function(name: str) -> Callable[..., Tensor]:
    """A loss by name; `ce` is `bce`, and with the head's `exclusive` sets the softmax's cross-entropy per answer."""
    name = "bce" if name == "ce" else name
    if name not in LOSSES:
        raise BadInput(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return LOSSES[name]


def positive_rates(labels: Tensor | np.ndarray) -> Tensor:
    """Share of yes among the known labels (n, A) of each attribute, (A,); 0 where nothing is known."""
    labels = torch.as_tensor(labels)
    return (labels == 1).sum(0) / (labels >= 0).sum(0).clamp(min=1)


def balanced_weights(labels: Tensor | np.ndarray) -> Tensor:
    """Sampling weight of each image (n,), sum 1, for label-balanced sampling: the mean over its yes labels of
    1 / (number of images with that label). An image without a yes weighs as the least of the others."""
    yes = torch.as_tensor(labels) == 1
    weights = (yes / yes.sum(0).clamp(min=1)).sum(1) / yes.sum(1).clamp(min=1)
    weights = torch.where(yes.any(1), weights, weights[yes.any(1)].min()) if yes.any() else torch.ones(len(yes))
    return weights / weights.sum()


def fit_temperature(logits: Tensor, labels: Tensor | np.ndarray) -> float:
    """The one number t by which logits / t have the least BCE on these labels, which must not be test (ICML 2017).

    It moves no ranking and no decision at 0.5; it makes a probability of 0.8 right about 8 times in 10.
    """
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)  # 1 / t = exp(scale): the BCE is convex in 1 / t
    logits, labels = logits.double(), torch.tensor(np.asarray(labels))
    optimiser = torch.optim.LBFGS([scale], max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = bce(logits * scale.exp(), labels)
        loss.backward()
        return loss

    optimiser.step(closure)
    return math.exp(-scale.item())
