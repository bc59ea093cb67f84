"""Losses against values worked by hand; what is unknown weighs nothing in any of them."""

import math

import pytest
import torch

from parlib.learn.losses import (
    LOSSES,
    adjusted,
    asymmetric,
    balanced_weights,
    bce,
    deepmar,
    fit_temperature,
    focal,
)

# Two attributes: p = 0.8 of a true yes, p = 0.3 of a true no. log 0.8 = -0.2231436, log 0.7 = -0.3566749.
LOGITS, LABELS = torch.tensor([[0.8, 0.3]]).logit(), torch.tensor([[1, 0]], dtype=torch.int8)
RATE = torch.tensor([0.1, 0.4])


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (lambda: bce(LOGITS, LABELS), (0.2231436 + 0.3566749) / 2),
        # targets 0.95 and 0.05; log 0.2 = -1.6094379, log 0.3 = -1.2039728
        (
            lambda: bce(LOGITS, LABELS, smoothing=0.1),
            (0.95 * 0.2231436 + 0.05 * 1.6094379 + 0.95 * 0.3566749 + 0.05 * 1.2039728) / 2,
        ),
        (lambda: focal(LOGITS, LABELS, 2.0, 0.0), (0.2**2 * 0.2231436 + 0.3**2 * 0.3566749) / 2),
        (lambda: deepmar(LOGITS, LABELS, RATE), (math.exp(0.9) * 0.2231436 + math.exp(0.4) * 0.3566749) / 2),
        # the no: p - 0.05 = 0.25, 0.25^4 * -log 0.75 = 0.00390625 * 0.2876821
        (lambda: asymmetric(LOGITS, LABELS), (0.2231436 + 0.00390625 * 0.2876821) / 2),
        # odds 4 * (1/9) = 4/9 -> p 4/13; odds (3/7) * (2/3) = 2/7 -> p(no) 7/9
        (lambda: adjusted(LOGITS, LABELS, RATE), (math.log(13 / 4) + math.log(9 / 7)) / 2),
    ],
)
def test_losses_equal_values_worked_by_hand(loss, by_hand):
    assert float(loss()) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_labels_weigh_nothing_in_any_loss(name):
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
    labels[:, 2], labels[3, 0] = -1, -1
    moved = logits.clone()
    moved[:, 2], moved[3, 0] = moved[:, 2] + 5, -7
    rate, loss = torch.rand(4), LOSSES[name]
    assert loss(logits, labels, rate=rate) == loss(moved, labels, rate=rate)
    logits.requires_grad_()
    loss(logits, labels, rate=rate).backward()
    assert (logits.grad[labels < 0] == 0).all() and (logits.grad[labels >= 0] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_give_finite_losses_and_gradients(name):
    logits = torch.tensor([[60.0, -60.0, 60.0, -60.0]], requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor([[1, 1, 0, 0]]), rate=torch.tensor([0.0, 0.5, 1.0, 0.5]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_balanced_sampling_draws_rare_labels_more_often():
    labels = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 0]])
    # Means over yes labels of 1 / count: 1/3, 1/3, (1/3 + 1) / 2 = 2/3, and the least, 1/3, for the last.
    assert balanced_weights(labels).tolist() == pytest.approx([0.2, 0.2, 0.4, 0.2])
    assert balanced_weights(torch.zeros(4, 2)).tolist() == [0.25] * 4


def test_temperature_finds_the_factor_that_logits_were_blown_up_by():
    torch.manual_seed(0)
    truth = torch.randn(4000, 5)
    labels = (torch.rand(4000, 5) < truth.sigmoid()).to(torch.int8)
    labels[0] = -1
    assert fit_temperature(3 * truth, labels) == pytest.approx(3, rel=0.05)
    assert fit_temperature(truth, labels) == pytest.approx(1, rel=0.05)


def test_a_temperature_beyond_the_bounds_is_none():
    labels = torch.tensor([[1], [0], [1], [0]])
    for logits in ([[-1.0], [1.0], [-1.0], [1.0]], [[5.0], [-5.0], [5.0], [-5.0]], [[0.0]] * 4):
        assert fit_temperature(torch.tensor(logits), labels) is None, "always wrong, never wrong, all alike"
