"""Training a head on stored features: the loop, its checkpoint, prediction and calibration.

Nothing is printed here: `fit` reports to a callback. Stopped at any moment, the same call with a `checkpoint` resumes
after the last whole epoch and ends with the same weights, bit for bit on one machine. Under `accelerate launch` each
process takes its share of every batch and gradients are summed: any number of processes computes what one does.
"""

import copy
import json
import math
import os
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import get_cosine_schedule_with_warmup

from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.files import digest, json_text, reading, write_atomic
from parlib.learn.head import BATCH, VLMPARHead
from parlib.learn.inputs import Split, two_sided
from parlib.learn.losses import LOSSES, TEMPERATURES, balanced_weights, fit_temperature
from parlib.measure.metrics import SUMMARY, evaluate, positive_rates, tune_thresholds
from parlib.memory import keep_memory, release_memory

Data = Split | tuple[FeatureStore, np.ndarray]  # features and their labels (n, A)


@dataclass(frozen=True)
class TrainOptions:
    """How a head is trained; with the seed this is all that `fit` depends on.

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
    ema: float = 0.0  # decay per step of an average of the weights, which is scored and kept instead of them; 0 is off
    mirrored: bool = False  # half of the rows from the store's mirrored images, and scores averaged over both
    select: str = "mAP"
    patience: int = 0  # epochs without a better `select` before training stops; 0 never stops early
    bf16: str = "gpu"  # where training's forward pass is in bfloat16: never, gpu, native (also by a CPU that has it)
    threads: int = 2  # CPU threads: results are bit-identical for one number of threads only

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, as plain types for JSON."""
        return asdict(self)


@dataclass
class History:
    """One dict per epoch (`epoch`, `loss`, and `mA`, `mAP`, ... on val), and the epoch that was kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1


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

    AdamW, linear warm-up and cosine to 0, gradient clipping. Validation has the precision of training; `calibrate` and
    `predict` are in fp32.

    Args:
        head: maps tokens (B, N, D), pooled (B, D) to logits (B, A); has `names` of the A attributes; trained in place.
        train, val: `Split`, or `(FeatureStore, labels)` with labels (n, A) int8 of 1, 0, -1.
        seed: of the order of the images and of dropout; the head's weights were drawn when it was built.
        callback: called after every step as `callback(epoch, step, steps, loss)` with the loss as a tensor, and after
            every epoch with its row of the history in the place of the loss.
        checkpoint: file written after every epoch; if it is there, training resumes from it.

    Raises:
        BadInput: unknown options, labels that do not fit the features or the head or hold nothing to learn, features
            that are not finite, a `select` that is undefined on val, a checkpoint of another training.
    """
    options, state = options or TrainOptions(), PartialState()
    (store, train_labels), (val_store, val_labels) = train, val
    _check(head, {"train": train, "val": val}, options)
    two_sided(train_labels, val_labels, head.names)  # type: ignore[arg-type]  # a module's attribute
    torch.set_num_threads(options.threads)
    keep_memory()
    device = next(head.parameters()).device
    autocast = in_bf16(options, device)
    size = head.images_at_once(options.batch_size, device) if isinstance(head, VLMPARHead) else options.batch_size
    labels = torch.tensor(np.asarray(train_labels))  # (n, A)
    known = (labels >= 0).sum(1).numpy()  # (n,), counted here, so that no step waits for a GPU
    rate = torch.tensor(positive_rates(train_labels), dtype=torch.float32, device=device)  # (A,)
    stores = [one.resident(device) for one in with_mirrored(store, options.mirrored)]
    val_store = val_store if options.mirrored else val_store.resident(device)
    share = slice(state.process_index, None, state.num_processes)  # of each batch, for this process

    parameters = [p for p in head.parameters() if p.requires_grad]
    group = {"params": parameters, "initial_lr": options.lr}
    optimiser = torch.optim.AdamW([group], options.lr, weight_decay=options.weight_decay, fused=True)
    average = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(options.ema)) if options.ema else None
    kept = average.module if average else head
    modules = {"head": head} | ({"average": average} if average else {})
    training = _training(head, (train, val), options, seed)
    history, best = History(), {}
    if checkpoint and Path(checkpoint).is_file():
        history, best = _resume(checkpoint, training, modules, optimiser)

    steps = len(_batches(labels, options, state.num_processes, seed * 10_000))
    total, first = steps * options.epochs, len(history.epochs)
    # One step ahead, so that neither the first nor the last step has a learning rate of 0.
    warm = max(1, round(options.warmup * total))
    schedule = get_cosine_schedule_with_warmup(optimiser, warm, total + 1, last_epoch=first * steps)
    for epoch in range(first, options.epochs):
        if options.patience and history.epochs and epoch - 1 - history.best_epoch >= options.patience:
            break
        head.train()
        # Seeded by epoch: a resumed training draws what the whole one would have drawn.
        torch.manual_seed(seed * 10_000 + epoch)
        batches = _batches(labels, options, state.num_processes, seed * 10_000 + epoch)
        losses: list[torch.Tensor] = []  # read at the end of the epoch, so that no step waits for a GPU
        for step, (rows, flip) in enumerate(batches, start=1):
            optimiser.zero_grad(set_to_none=True)
            loss = torch.zeros((), device=device)
            for some, flipped in zip(rows[share].split(size), flip[share].split(size), strict=True):
                tokens, pooled = (part.to(device).float() for part in _features(stores, some, flipped))
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                    logits = head(tokens, pooled).float()  # (B, A)
                # The mean over the known labels of the whole batch, whichever process holds them.
                part = known[some].sum() / max(1, known[rows].sum())
                lost = LOSSES[options.loss](logits, labels[some].to(device), rate=rate) if part else logits.sum()
                (lost * part).backward()  # of no known label: 0, so that its gradients are there to be summed
                loss += lost.detach() * part
            losses.append(_sum_over_processes(parameters, loss, state))
            clip_grad_norm_(parameters, options.clip)
            optimiser.step()
            schedule.step()
            if average:
                average.update_parameters(head)
            if callback:
                callback(epoch, step, steps, losses[-1])
        values = torch.stack(losses).tolist()
        if wrong := [step for step, value in enumerate(values, start=1) if not math.isfinite(value)]:
            raise BadInput(f"the loss is not finite in epoch {epoch}, step {wrong[0]}: features or labels are not")
        found = predict(kept, val_store, mirrored=options.mirrored, bf16=autocast)
        scores = evaluate(np.asarray(val_labels), found).summary()
        row = broadcast_object_list([{"epoch": epoch, "loss": float(np.mean(values)), **scores}])[0]
        if math.isnan(row[options.select]):
            raise BadInput(f"{options.select} is undefined on val, so that no epoch can be chosen by it")
        history.epochs.append(row)
        if not best or row[options.select] > history.epochs[history.best_epoch][options.select]:
            best, history.best_epoch = copy.deepcopy(kept.state_dict()), epoch
        if checkpoint and state.is_main_process:
            _save(checkpoint, training, history, best, modules, optimiser)
        if callback:
            callback(epoch, steps, steps, row)
    head.load_state_dict(best)
    head.eval()
    release_memory()
    return history


@torch.no_grad()
def calibrate(head: VLMPARHead, train: Data, val: Data, mirrored: bool = False) -> list[str]:
    """Fit the head's temperature and tune one threshold per attribute on val, in place.

    `head.calibrated` becomes True for attributes with a yes and a no in train and in val. Where `fit_temperature` finds
    no temperature, it is 1 and no attribute is calibrated, which a warning says. Returns notes for the record.
    """
    (_, train_labels), (store, labels) = train, val
    complete, notes = two_sided(train_labels, labels, head.names, warn=False)  # `fit` has said it
    logits = logits_of(head, store, mirrored=mirrored)  # (n, A)
    temperature = fit_temperature(logits, np.where(complete, labels, -1))
    if temperature is None:
        low, high = TEMPERATURES
        notes.append(f"no temperature from {low} to {high} improves the loss on val; probabilities are not calibrated")
        warnings.warn(notes[-1], stacklevel=1)
    head.temperature.fill_(temperature or 1.0)
    head.calibrated.copy_(torch.as_tensor(complete & (temperature is not None)))
    probabilities = (logits / float(head.temperature)).sigmoid().numpy()  # (n, A)
    head.thresholds.copy_(torch.as_tensor(tune_thresholds(labels, probabilities)))
    return notes


@torch.no_grad()
def logits_of(
    head: nn.Module, store: FeatureStore, batch_size: int = BATCH, mirrored: bool = False, bf16: bool = False
) -> torch.Tensor:
    """Logits (n, A) float32 of every row of a store, in bfloat16 with `bf16`; `mirrored`: the mean over both sides."""
    head.eval()
    device, stores = next(head.parameters()).device, with_mirrored(store, mirrored)
    _must_hold_patches(head, store)
    parts = []
    for rows in torch.arange(len(store)).split(batch_size):
        inputs = [[part.to(device).float() for part in one[rows]] for one in stores]  # tokens and pooled features
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = sum(head(*one).float() for one in inputs)  # (B, A)
        parts.append(logits.cpu() / len(stores))
    return torch.cat(parts)


def predict(
    head: nn.Module, store: FeatureStore, batch_size: int = BATCH, mirrored: bool = False, bf16: bool = False
) -> np.ndarray:
    """Probabilities (n, A) float32 in [0, 1] for every row of a store, at the head's temperature; see `logits_of`."""
    temperature = float(head.temperature)  # type: ignore[arg-type]  # a buffer of the head's, 1.0 of a probe
    return (logits_of(head, store, batch_size, mirrored, bf16) / temperature).sigmoid().numpy()


def with_mirrored(store: FeatureStore, mirrored: bool) -> list[FeatureStore]:
    """[the store], or [the store, its mirrored images]; BadInput where it holds none."""
    return [store, FeatureStore(store.folder, mirrored=True)] if mirrored else [store]


def _check(head, parts, options):
    for split, (store, labels) in parts.items():
        _must_hold_patches(head, store)
        expected = (len(store), len(head.names))
        if np.shape(labels) != expected:
            raise BadInput(f"{split}: labels are {np.shape(labels)}, but features and the head's attributes {expected}")
    choices = {"sampling": ("shuffled", "balanced"), "bf16": ("never", "gpu", "native")}
    for option, known in {"loss": LOSSES, "select": SUMMARY, **choices}.items():
        if getattr(options, option) not in known:
            raise BadInput(f"unknown {option} {getattr(options, option)!r}; known: {', '.join(known)}")
    if options.epochs < 1:
        raise BadInput(f"{options.epochs} epochs: at least one is needed")


def in_bf16(options: TrainOptions, device: torch.device) -> bool:
    """Whether training computes in bfloat16: on a GPU, and with `bf16="native"` also on a CPU that has it."""
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.10
    native = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return options.bf16 != "never" and (device.type == "cuda" or (options.bf16 == "native" and native))


def _must_hold_patches(head, store):
    if getattr(head, "reads_patches", False):
        store.need_patches(getattr(head, "method", type(head).__name__))


def _batches(labels, options, processes, seed):
    """[(rows, flip)] of an epoch, the same in every process, without a rest of fewer than two images per process."""
    draws, size = torch.Generator().manual_seed(seed), options.batch_size
    if options.sampling == "balanced":
        order = torch.multinomial(balanced_weights(labels), len(labels), replacement=True, generator=draws)  # (n,)
    else:
        order = torch.randperm(len(labels), generator=draws)  # (n,)
    flips = torch.rand(len(labels), generator=draws) < 0.5  # (n,), for training on mirrored images
    batches = [b for b in zip(order.split(size), flips.split(size), strict=True) if len(b[0]) >= 2 * processes]
    if not batches:
        raise BadInput(f"{len(labels)} training images in batches of {size} for {processes} process(es): too few")
    return batches


def _features(stores, rows, flip):
    """Tokens (B, N, D) and pooled features (B, D) of some rows, from the mirrored images where `flip` (B,) is True."""
    if len(stores) == 1:
        return stores[0][rows]
    both = zip(*(store[rows] for store in stores), strict=True)
    return [torch.where(flip.view(-1, *[1] * (plain.ndim - 1)), mirrored, plain) for plain, mirrored in both]


def _sum_over_processes(parameters, loss, state):
    """Sum gradients and loss over processes, gradients in place; returns the loss, ()."""
    if state.num_processes == 1:
        return loss
    for p in parameters:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    gradients = [p.grad for p in parameters]
    total = reduce(torch.cat([loss.view(1), parameters_to_vector(gradients)]), "sum")
    vector_to_parameters(total[1:], gradients)
    return total[0]


def _training(head, data, options, seed):
    """What a checkpoint belongs to, as one hash: options, seed, features, labels, prompts and the head's sizes."""
    parts = [[store.folder.name, np.asarray(labels).tolist()] for store, labels in data]
    sizes = {name: list(tensor.shape) for name, tensor in head.state_dict().items()}
    return digest([options.to_dict(), seed, parts, getattr(head, "prompts", head.names), sizes])


def _save(path, training, history, best, modules, optimiser):
    """Write all that training resumes from as one safetensors file, its JSON in the header; whole or not at all."""
    states = {"best": best} | {name: module.state_dict() for name, module in modules.items()}
    states |= {str(i): moments for i, moments in optimiser.state_dict()["state"].items()}
    tensors = {f"{part}/{name}": tensor for part, state in states.items() for name, tensor in state.items()}
    about = {"training": training, "history": json_text(asdict(history), indent=None)}
    write_atomic(path, save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, about))


def _resume(path, training, modules, optimiser):
    """Put a checkpoint's tensors back; returns its `History` and best weights."""
    states: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    with reading(path, "checkpoint", "remove it to start anew"), safe_open(path, "pt") as file:
        about = file.metadata()
        if about["training"] != training:
            raise BadInput(f"checkpoint {path} is of another training (options, data or head): remove it to start anew")
        for name in file.keys():  # noqa: SIM118
            part, _, name_in_part = name.partition("/")
            states[part][name_in_part] = file.get_tensor(name)
        for name, module in modules.items():
            module.load_state_dict(states[name])
        moments = {int(part): state for part, state in states.items() if part.isdigit()}
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        history = History(**json.loads(about["history"]))
    for row in history.epochs:
        row.update({name: math.nan for name, value in row.items() if value is None})  # JSON has no NaN
    return history, states["best"]
