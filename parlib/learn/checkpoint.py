"""Where a training stands after an epoch, as one file that a killed run goes on from."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn, optim

from parlib.errors import BadInput
from parlib.files import may_read, must_be, read_json, write_atomic
from parlib.learn.head import VLMPARHead

# What is read of a run: its folder may be anyone's.
_TRAINED = {"benchmark": str, "view": (str,)}
_SETTING = {"encoder": str, "weights": str, "revision": (str,), "layer": (int,), "notes": ([str],)}
_RUN = {"setting": {**_SETTING, "trained_on": (_TRAINED,)}, "asked": (dict,), "val": ({"kind": (str,)},)}
_SIZES: tuple = ("image_width", "text_width", "prompt_length", "patches", "width", "heads", "learnable_tokens", "grid")
_SIZES += ("feedforward", "mixer", "at_once")


def _size(value):
    return type(value) is int and 0 <= value <= 4096


@dataclass
class History:
    """What `fit` saw: one dict an epoch (`epoch`, `loss`, `mA`, `mAP`, ... on val) and the epoch that was kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1


def save(
    path: str | os.PathLike,
    asked: str,
    history: History,
    head: nn.Module,
    average: nn.Module,
    optimiser: optim.Optimizer,
    best: dict[str, Tensor],
) -> None:
    """Write all that training goes on from as one safetensors file, its JSON in the header; whole or not at all."""
    tensors = {f"head.{k}": v for k, v in head.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()} if average is not head else {}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
    about = {"asked": asked, "history": json.dumps(asdict(history))}
    write_atomic(path, to_bytes({k: v.contiguous().clone() for k, v in tensors.items()}, about))


def resume(
    path: str | os.PathLike, asked: str, head: nn.Module, average: nn.Module, optimiser: optim.Optimizer
) -> tuple[History, dict[str, Tensor]]:
    """Put a checkpoint's tensors back; returns its history and best weights."""
    may_read(path)
    try:
        with safe_open(path, "pt", device=str(next(head.parameters()).device)) as file:
            about, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        if about["asked"] == asked:
            return _put_back(json.loads(about["history"]), tensors, head, average, optimiser)
    # safetensors has an error class of its own for a damaged header; a whole one may still name what is not there.
    except Exception as error:
        raise BadInput(f"checkpoint {path} cannot be read ({error}): remove it to start anew") from error
    raise BadInput(f"checkpoint {path} is of a training with other options, data or head: remove it to start anew")


def read_run(folder: str | os.PathLike) -> tuple[dict[str, Any], VLMPARHead]:
    """What `run.json` holds, and the head, of a run or a saved model; BadInput where they cannot be used."""
    run = read_json(Path(folder) / "run.json", "run", _RUN)
    read_json(Path(folder) / "config.json", "config", dict.fromkeys(_SIZES, (_size,)))
    may_read(Path(folder) / "model.safetensors")
    try:
        return run, VLMPARHead.from_pretrained(str(folder))
    # Whatever a damaged or foreign file trips safetensors and the constructor into.
    except Exception as error:
        raise BadInput(f"model {folder} is damaged or of another version ({error}): fetch or train it again") from error


def _put_back(history, tensors, head, average, optimiser):
    must_be(history, {"epochs": [dict], "best_epoch": int}, "history")
    parts: dict[str, dict[str, Tensor]] = {"head": {}, "best": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, key = name.split(".", 1)
        parts[part][key] = tensor
    head.load_state_dict(parts["best"])  # they are needed at the end of training; whether they fit shows here
    head.load_state_dict(parts["head"])
    if average is not head:
        average.load_state_dict(parts["average"])
    moments: dict[int, dict[str, Tensor]] = {}
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for name, tensor in parts["optimiser"].items():
        index, key = name.split(".")
        if key != "step" and tensor.shape != weights[int(index)].shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}")
        moments.setdefault(int(index), {})[key] = tensor.cpu() if key == "step" else tensor
    if len({frozenset(moment) for moment in moments.values()}) > 1:
        raise ValueError("moments of the optimiser are missing")
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return History(**history), parts["best"]
