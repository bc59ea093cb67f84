"""The methods of the tables, from `assets/methods.yaml`, and the one call that trains and scores any of them."""

import inspect
import itertools
import os
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from parlib.encode.encoder import Encoder
from parlib.encode.prompts import load_prompts
from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.files import ASSETS, digest, one_line, read_yaml
from parlib.learn.baselines import PROBES, constant, knn, linear_probe, zero_shot
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import Split, encoder_setting
from parlib.learn.train import TrainOptions, calibrate, fit, predict
from parlib.schema import Schema

_REGISTRY = ASSETS / "methods.yaml"
Callback = Callable[[int, int, int, Any], object]


@dataclass(frozen=True)
class Method:
    """One entry of `methods.yaml`, or a module of the user's own (`own_method`)."""

    key: str  # on the command line and in file names
    name: str  # row in the tables
    kind: str  # of `KINDS`
    group: str = "main"
    options: dict[str, Any] = field(default_factory=dict)  # of the kind
    training: dict[str, Any] = field(default_factory=dict)  # `all`, `default` or an encoder -> TrainOptions
    module: type[nn.Module] | None = None  # called with (names, image width), of a module of the user's own

    @property
    def is_trained(self) -> bool:
        """Whether `fit` trains it, so that seed and `TrainOptions` matter."""
        return self.kind in ("probe", "head", "own")

    def train_options(self, encoder: str, **changes: Any) -> TrainOptions:
        """How it is trained on an encoder of that name: defaults, then its own entry, then `changes`."""
        defaults = read_yaml(_REGISTRY, "methods")["training"]
        entry = encoder if encoder in defaults else "default"
        own = self.training.get(encoder, self.training.get(entry, {}))
        options = {**defaults[entry], **self.training.get("all", {}), **own, **changes}
        if options.get("threads") == 0:
            options["threads"] = os.cpu_count() or 1
        return TrainOptions(**options)


@dataclass
class Task:
    """What a method is trained on and scores, and how."""

    train: Split
    val: Split
    stores: Sequence[FeatureStore]  # to score
    encoder: Encoder
    seed: int = 0
    options: TrainOptions | None = None  # None: those of the method for this encoder
    checkpoint: Path | None = None  # a stopped training resumes from it
    callback: Callback | None = None  # see `fit`


class Fitted(NamedTuple):
    """What a method gives: probabilities (n, A) of each store, what its record says of it, and what was trained."""

    scores: list[np.ndarray]
    setting: dict[str, Any]
    module: Any = None
    history: Any = None  # `History` of what was trained


def methods() -> dict[str, Method]:
    """Key -> every `Method` of the registry, in the order of the file."""
    out: dict[str, Method] = {}
    for key, entry in read_yaml(_REGISTRY, "methods")["methods"].items():
        base = out.get(entry.pop("extends", ""), Method(key, key, ""))
        training = {
            part: {**base.training.get(part, {}), **changes} for part, changes in entry.pop("training", {}).items()
        }
        changed = {"options": {**base.options, **entry.pop("options", {})}, "training": {**base.training, **training}}
        out[key] = replace(base, key=key, **{"name": key, **entry, **changed})
    return out


def find_methods(keys: Sequence[str]) -> list[Method]:
    """Methods by key, in the order of the file, where `group:NAME` is all of a group; BadInput lists the known keys."""
    known = methods()
    named = [*known, *dict.fromkeys(f"group:{one.group}" for one in known.values())]
    if unknown := [key for key in keys if key not in named]:
        raise BadInput(f"unknown method {', '.join(unknown)}; known: {', '.join(named)}")
    return [one for key, one in known.items() if {key, f"group:{one.group}"} & set(keys)]


def own_method(source: str | type[nn.Module], **training: Any) -> Method:
    """A method of the user's own: a module class, or `file.py:Class`.

    The class is called with `(names, image_width)`: names of the A attributes, D of the patch tokens. Its
    `forward(tokens (B, N, D), pooled (B, D))` returns logits (B, A). `training` changes the default `TrainOptions`.
    """
    module: Any = source
    name = getattr(source, "__name__", "")
    options: dict[str, Any] = {}
    if isinstance(source, str):
        file, _, name = source.partition(":")
        if not name or not os.path.isfile(file):
            raise BadInput(f"no method {source!r}: give FILE.py:CLASS, where CLASS is a torch module in that file")
        try:
            module = runpy.run_path(file).get(name)
        except Exception as error:  # whatever the user's file raises
            raise BadInput(f"{file} cannot be run ({type(error).__name__}: {one_line(error)}); mend it") from error
        options["source_sha256"] = digest(Path(file).read_text(encoding="utf-8"))
    if not (inspect.isclass(module) and issubclass(module, nn.Module)):
        raise BadInput(f"{source!r} is no class of a torch module (nn.Module)")
    return Method(name, name, "own", "own", options, {"all": training}, module)


def build(method: Method, schema: Schema, encoder: Encoder, seed: int = 0) -> nn.Module:
    """The untrained module of a method that is trained, on the encoder's device; the seed draws its weights."""
    if method.kind == "head":
        return new_head(schema, encoder, seed, **method.options)
    torch.manual_seed(seed)
    make = method.module or PROBES[method.options["probe"]]
    try:
        module: Any = make(schema.names, encoder.width).to(encoder.device)
    except TypeError as error:
        raise BadInput(f"{method.name}(names, image_width) fails: {one_line(error)}; see `own_method`") from error
    for attribute, default in (("names", schema.names), ("temperature", 1.0)):  # `fit` and `predict` read them
        if not hasattr(module, attribute):
            setattr(module, attribute, default)
    return module


def new_head(
    schema: Schema, encoder: Encoder, seed: int = 0, language: str = "en", preset: str = "paper", **options: Any
) -> VLMPARHead:
    """An untrained head for a schema and its prompts, on the encoder's device; the seed draws its weights."""
    torch.manual_seed(seed)
    prompts = load_prompts(schema, language)
    return VLMPARHead.for_encoder(encoder, schema, prompts, preset, **options).to(encoder.device)


def run_method(method: Method, task: Task) -> Fitted:
    """Train a method, where it is trained, choosing the epoch on val, and score the stores of the task."""
    fitted = KINDS[method.kind](method, task)
    if method.kind != "zero-shot":
        about = task.train.about
        trained_on = fitted.setting["trained_on"] = {"benchmark": about["benchmark"], "view": about.get("view")}
        trained_on |= {name: about[name] for name in ("corrections", "domains") if name in about}
        if about["split"] == "trainval":
            trained_on["split"] = "trainval"
            fitted.setting["selection"] = "epoch and thresholds chosen on val, which is among what was trained on"
    return fitted


def _constant(method, task):
    return Fitted([constant(task.train.labels, len(store)) for store in task.stores], {"encoder": "none"})


def _zero_shot(method, task):
    """Options: `language` (several joined by commas: an ensemble of all their wordings), `pair` (negative prompts)."""
    schema, (first, *others) = task.train.schema, method.options.get("language", "en").split(",")
    prompts: Any = load_prompts(schema, first)
    more: dict[str, Any] = {}
    if others:
        each = [load_prompts(schema, code.strip(), wording="all") for code in (first, *others)]
        prompts = [list(itertools.chain(*wordings)) for wordings in zip(*each, strict=True)]
    if method.options.get("pair"):
        more["negatives"] = load_prompts(schema, first, negative=True)
    scores = [zero_shot(task.encoder, store, prompts, **more) for store in task.stores]
    return Fitted(scores, {**encoder_setting(task.encoder), "prompts": prompts, **more})


def _linear(method, task):
    scores = linear_probe(task.train, task.stores, **method.options)
    return Fitted(scores, {**encoder_setting(task.encoder), **method.options})


def _knn(method, task):
    scores, k = knn(task.train, task.val, task.stores, **method.options)
    return Fitted(scores, {**encoder_setting(task.encoder), **method.options, "k": k})


def _trained(method, task):
    options = task.options or method.train_options(task.encoder.name)
    module: Any = build(method, task.train.schema, task.encoder, task.seed)
    history = fit(module, task.train, task.val, options, task.seed, task.callback, task.checkpoint)
    setting = {**encoder_setting(task.encoder), "seed": task.seed, "training": options.to_dict()}
    if method.kind == "head":
        notes = calibrate(module, task.train, task.val, options.mirrored)
        setting |= {"prompts": module.prompts, "head": {"preset": "paper", **method.options}}
        setting |= {"temperature": float(module.temperature), "best_epoch": history.best_epoch}
        setting |= {"notes": list(notes)} if notes else {}
    else:
        setting |= {name: value for name, value in method.options.items() if name != "probe"}
    scores = [predict(module, store, mirrored=options.mirrored) for store in task.stores]
    return Fitted(scores, setting, module, history)


# A kind of method: its function takes a `Method` and a `Task` and returns a `Fitted`.
KINDS: dict[str, Callable[[Method, Task], Fitted]] = {
    "constant": _constant,
    "zero-shot": _zero_shot,
    "k-nn": _knn,
    "linear": _linear,
    "probe": _trained,
    "head": _trained,
    "own": _trained,
}
