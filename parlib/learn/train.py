"""The training loop: no printing; what happens in it reaches the caller through a callback.

It can be stopped at any moment: with a `checkpoint` path the same call goes on after the last whole epoch and ends
with the same weights, bit for bit on one machine. Under `accelerate launch` each process takes its share of every batch
and gradients are summed, so that any number of processes computes what one does.
"""

import copy
import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce
from torch import nn

from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.learn.checkpoint import History, resume, save
from parlib.learn.inputs import Split
from parlib.learn.losses import balanced_weights, loss_function, positive_rates
from parlib.measure.metrics import SUMMARY, evaluate

SAMPLING = ("shuffled", "balanced")
Data = Split | tuple[FeatureStore, np.ndarray]  # features and their labels (n, A)


@dataclass(frozen=True)
class TrainOptions:
    """How a head is trained; beside the seed this is all that `fit` depends on.

    `select` names the validation score whose best epoch is kept. Nothing is ever chosen on test.
    """

    epochs: int = 10
    batch_size: int = 64  # over all processes
    lr: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1  # share of all steps
    clip: float = 1.0  # gradient norm
    loss: str = "focal"
    sampling: str = "shuffled"  # or balanced: rows drawn with replacement, those with rare labels more often
    ema: float = 0.0  # decay a step of an average of the weights, which is scored and kept in their place; 0 is none
    mirrored: bool = False  # half of the rows from the store's mirrored view, and scores averaged over both
    select: str = "mAP"
    patience: int = 0  # epochs without a better `select` before training stops; 0 never stops early
    threads: int = 2  # CPU threads: results are bit-identical for one number of threads only

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, as plain types for JSON."""
        return asdict(self)


def fit(
    head: nn.Module,
    train: Data,
    val: Data,
    options: TrainOptions | None = None,
    seed: int = 0,
    callback: Callable[[int, int, int, Any], object] | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> History:
    """Train a head on stored features and leave in it the weights of the best epoch on val.

    AdamW, linear warm-up and cosine to 0, gradient clipping; bf16 autocast on a GPU.

    Args:
        head: maps tokens (B, N, D), pooled (B, D) to logits (B, A); trained in place.
        train, val: `(FeatureStore, labels)`; labels (n, A) int8 of 1, 0, -1.
        options: `TrainOptions`.
        seed: of the order of the images and of dropout; the head's weights were drawn when it was built.
        callback: called after every step as `callback(epoch, step, steps, loss)` and after every epoch as
            `callback(epoch, steps, steps, history_row)`.
        checkpoint: file written after every epoch (see `checkpoint.save`) and gone on from if it is there.

    Returns:
        `History`.

    Raises:
        BadInput: labels that do not fit the features or the head, features that are not finite, a checkpoint of
            another training.
    """
    options, state = options or TrainOptions(), PartialState()
    labels = _fitting_labels(head, train, val)
    for option, known in (("sampling", SAMPLING), ("select", SUMMARY)):
        if getattr(options, option) not in known:
            raise BadInput(f"unknown {option} {getattr(options, option)!r}; known: {', '.join(known)}")
    if options.epochs < 1:
        raise BadInput(f"{options.epochs} epochs: at least one is needed")
    torch.set_num_threads(options.threads)
    device, share = next(head.parameters()).device, slice(state.process_index, None, state.num_processes)
    loss_of, rate = loss_function(options.loss), positive_rates(labels).to(device)
    views = views_of(train[0], options.mirrored)
    parameters = [p for p in head.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, options.lr, weight_decay=options.weight_decay, fused=True)
    average = copy.deepcopy(head) if options.ema else head
    data = [train[0].folder.name, hashlib.sha256(labels.numpy().tobytes()).hexdigest(), head.prompts]
    asked = json.dumps([options.to_dict(), seed, *data, {k: list(v.shape) for k, v in head.state_dict().items()}])
    history, first = History(), 0
    best: dict[str, torch.Tensor] = {}
    if checkpoint and Path(checkpoint).is_file():
        history, best = resume(checkpoint, asked, head, average, optimiser)
        first = len(history.epochs)
    for epoch in range(first, options.epochs):
        if options.patience and history.epochs and len(history.epochs) - 1 - history.best_epoch >= options.patience:
            break
        head.train()
        # Seeded by epoch: one that is gone on from draws what it would have drawn.
        torch.manual_seed(seed * 10_000 + epoch)
        batches = _batches(labels, options, state.num_processes, torch.Generator().manual_seed(seed * 10_000 + epoch))
        losses = []
        for step, (rows, flip) in enumerate(batches, 1):
            mine, known = rows[share], (labels[rows] >= 0).sum().clamp(min=1)
            tokens, pooled = (part.to(device).float() for part in _rows(views, mine, flip[share]))
            truth = labels[mine].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = head(tokens, pooled)
            # The mean over the known labels of the whole batch, whichever process holds them.
            part = (truth >= 0).sum() / known.to(device)
            loss = loss_of(logits.float(), truth, rate=rate) * part if part else logits.float().sum() * 0
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            losses.append(_summed(parameters, loss, state))
            if not math.isfinite(losses[-1]):
                raise BadInput(f"loss is {losses[-1]} in epoch {epoch}, step {step}: features or labels not finite")
            torch.nn.utils.clip_grad_norm_(parameters, options.clip)
            for group in optimiser.param_groups:
                group["lr"] = options.lr * _warmup_cosine(options, len(batches), epoch * len(batches) + step - 1)
            optimiser.step()
            if options.ema:
                for old, new in zip(average.state_dict().values(), head.state_dict().values(), strict=True):
                    old.lerp_(new, 1 - options.ema) if old.is_floating_point() else old.copy_(new)
            if callback:
                callback(epoch, step, len(batches), losses[-1])
        scores = evaluate(np.asarray(val[1]), predict(average, val[0], mirrored=options.mirrored))
        row = {"epoch": epoch, "loss": float(np.mean(losses)), **scores.summary()}
        if state.num_processes > 1:
            row = broadcast_object_list([row])[0]
        history.epochs.append(row)
        if not best or row[options.select] > history.epochs[history.best_epoch][options.select]:
            best, history.best_epoch = copy.deepcopy(average.state_dict()), epoch
        if checkpoint and state.is_main_process:
            save(checkpoint, asked, history, head, average, optimiser, best)
        if callback:
            callback(epoch, len(batches), len(batches), row)
    if math.isnan(history.epochs[history.best_epoch][options.select]):
        raise BadInput(f"val has no defined {options.select}: no attribute has a positive and a negative there")
    head.load_state_dict(best)
    head.eval()
    return history


@torch.no_grad()
def logits_of(head: nn.Module, store: FeatureStore, batch_size: int = 256, mirrored: bool = False) -> torch.Tensor:
    """Logits (n, A) float32 for every row of a feature store; `mirrored` averages its plain and its mirrored view."""
    head.eval()
    device, views = next(head.parameters()).device, views_of(store, mirrored)
    parts = []
    for rows in torch.arange(len(store)).split(batch_size):
        parts.append(sum(head(*(part.to(device).float() for part in view[rows])) for view in views).cpu() / len(views))
    return torch.cat(parts)


def predict(head: nn.Module, store: FeatureStore, batch_size: int = 256, mirrored: bool = False) -> np.ndarray:
    """Probabilities (n, A) float32 in [0, 1] of a head for every row of a feature store, by the head's temperature."""
    temperature = float(head.temperature)  # type: ignore[arg-type]  # a buffer of the head's, 1.0 of a probe
    return (logits_of(head, store, batch_size, mirrored) / temperature).sigmoid().numpy()


def views_of(store: FeatureStore, mirrored: bool) -> list[FeatureStore]:
    """The store, and the mirrored view of it where that is asked for; BadInput where it holds none."""
    return [store, FeatureStore(store.folder, mirrored=True)] if mirrored else [store]


def _fitting_labels(head, train, val):
    for part, (features, truth) in {"train": train, "val": val}.items():
        if len(features) != len(truth) or truth.shape[1] != len(head.prompts):
            raise BadInput(
                f"{part}: {len(features)} features, labels {tuple(truth.shape)}, head of {len(head.prompts)} attributes"
            )
    return torch.tensor(np.asarray(train[1]))


def _batches(labels, options, processes, draws):
    """[(rows, flip)] of an epoch, the same in every process; a rest of fewer than two images a process is left out."""
    if options.sampling == "balanced":
        order = torch.multinomial(balanced_weights(labels), len(labels), replacement=True, generator=draws)
    else:
        order = torch.randperm(len(labels), generator=draws)
    flips = torch.rand(len(labels), generator=draws) < 0.5
    size = options.batch_size
    batches = [b for b in zip(order.split(size), flips.split(size), strict=True) if len(b[0]) >= 2 * processes]
    if not batches:
        raise BadInput(f"{len(labels)} training images in batches of {size} for {processes} process(es): too few")
    return batches


def _rows(views, rows, flip):
    if len(views) == 1:
        return views[0][rows]
    return (
        torch.where(flip.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(*(v[rows] for v in views), strict=True)
    )


def _summed(parameters, loss, state):
    """Sum gradients and loss over processes, gradients in place; returns the loss."""
    if state.num_processes == 1:
        return loss.item()
    for p in parameters:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    total = reduce(torch.cat([loss.detach().view(1), *(p.grad.flatten() for p in parameters)]), "sum")
    for p, part in zip(parameters, total[1:].split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(part.view_as(p))
    return total[0].item()


def _warmup_cosine(options, steps, step):
    total = steps * options.epochs
    warm = max(1, round(options.warmup * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
