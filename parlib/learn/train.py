"""The training loop: no printing, no files. What happens in it reaches the caller through a callback."""

import copy
import math
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from parlib.errors import BadInput
from parlib.learn.losses import loss_function
from parlib.measure.metrics import evaluate


@dataclass(frozen=True)
class TrainOptions:
    """How a head is trained; beside the seed this is all that `fit` depends on.

    `select` names the validation score whose best epoch is kept. Nothing is ever chosen on test.
    """

    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1  # share of all steps
    clip: float = 1.0  # gradient norm
    loss: str = "focal"
    select: str = "mAP"
    threads: int = 2  # CPU threads: results are bit-identical for one number of threads only

    def to_dict(self):
        return asdict(self)


@dataclass
class History:
    """What `fit` saw: one dict an epoch (`epoch`, `loss`, `mA`, `mAP`, ... on val) and the epoch that was kept."""

    epochs: list = field(default_factory=list)
    best_epoch: int = -1


def fit(head, train, val, options=None, seed=0, callback=None):
    """Train a head on stored features and leave in it the weights of the best epoch on val.

    Args:
        head: maps tokens (B, N, D), pooled (B, D) to logits (B, A); trained in place.
        train, val: `(FeatureStore, labels)`; labels (n, A) int8 of 1, 0, -1.
        options: `TrainOptions`.
        seed: of the order of the images and of dropout; the head's weights were drawn when it was built.
        callback: called after every step as `callback(epoch, step, steps, loss)` and after every epoch as
            `callback(epoch, steps, steps, history_row)`.

    Returns:
        `History`.

    Raises:
        BadInput: labels that do not fit the features or the head, features that are not finite.
    """
    options = options or TrainOptions()
    store, labels = train[0], torch.tensor(np.asarray(train[1]))
    for part, (features, truth) in {"train": train, "val": val}.items():
        if len(features) != len(truth) or truth.shape[1] != len(head.prompts):
            raise BadInput(
                f"{part}: {len(features)} features, labels {tuple(truth.shape)}, head of {len(head.prompts)} attributes"
            )
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    device = next(head.parameters()).device
    loss_of = loss_function(options.loss)
    steps = -(-len(store) // options.batch_size)
    optimiser = torch.optim.AdamW(head.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(options, steps * options.epochs))
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    history, best, best_score = History(), None, -math.inf
    for epoch in range(options.epochs):
        head.train()
        losses = []
        for step, rows in enumerate(torch.randperm(len(store), generator=order).split(options.batch_size), 1):
            tokens, pooled = (part.to(device).float() for part in store[rows])
            with torch.autocast(device.type, enabled=device.type == "cuda"):
                logits = head(tokens, pooled)
            loss = loss_of(logits.float(), labels[rows].to(device))
            if not loss.isfinite():
                raise BadInput(f"loss is {loss.item()} in epoch {epoch}, step {step}: features or labels not finite")
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(head.parameters(), options.clip)
            scaler.step(optimiser)
            scaler.update()
            schedule.step()
            losses.append(loss.item())
            if callback:
                callback(epoch, step, steps, losses[-1])
        scores = evaluate(np.asarray(val[1]), predict(head, val[0]))
        row = {"epoch": epoch, "loss": float(np.mean(losses)), **scores.summary()}
        history.epochs.append(row)
        if row[options.select] > best_score:
            best, best_score, history.best_epoch = copy.deepcopy(head.state_dict()), row[options.select], epoch
        if callback:
            callback(epoch, steps, steps, row)
    if best is None:
        raise BadInput(f"val has no defined {options.select}: every attribute needs a positive and a negative there")
    head.load_state_dict(best)
    head.eval()
    return history


@torch.no_grad()
def predict(head, store, batch_size=256):
    """Probabilities (n, A) float32 in [0, 1] of a head for every row of a feature store."""
    head.eval()
    device = next(head.parameters()).device
    rows = torch.arange(len(store)).split(batch_size)
    parts = [head(*(part.to(device).float() for part in store[chunk])).sigmoid().cpu() for chunk in rows]
    return torch.cat(parts).numpy()


def _warmup_cosine(options, total):
    warm = max(1, round(options.warmup * total))

    def factor(step):
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    return factor
