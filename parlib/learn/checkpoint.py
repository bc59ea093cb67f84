"""Where a training stands after an epoch, as one file that a killed run goes on from."""

import json
from dataclasses import asdict, dataclass, field

from safetensors import safe_open
from safetensors.torch import save as to_bytes

from parlib.errors import BadInput
from parlib.files import write_atomic


@dataclass
class History:
    """What `fit` saw: one dict an epoch (`epoch`, `loss`, `mA`, `mAP`, ... on val) and the epoch that was kept."""

    epochs: list = field(default_factory=list)
    best_epoch: int = -1


def save(path, asked, history, head, average, optimiser, best):
    """Write all that training goes on from as one safetensors file, its JSON in the header; whole or not at all."""
    tensors = {f"head.{k}": v for k, v in head.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()} if average is not head else {}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
    about = {"asked": asked, "history": json.dumps(asdict(history))}
    write_atomic(path, to_bytes({k: v.contiguous().clone() for k, v in tensors.items()}, about))


def resume(path, asked, head, average, optimiser):
    """Put a checkpoint's tensors back; returns its history and best weights."""
    try:
        with safe_open(path, "pt", device=str(next(head.parameters()).device)) as file:
            about, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    # safetensors has an error class of its own for a damaged header.
    except Exception as error:
        raise BadInput(f"checkpoint {path} cannot be read ({error}): remove it to start anew") from error
    if about["asked"] != asked:
        raise BadInput(f"checkpoint {path} is of a training with other options, data or head: remove it to start anew")
    parts = {"head": {}, "best": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, key = name.split(".", 1)
        parts[part][key] = tensor
    head.load_state_dict(parts["head"])
    if average is not head:
        average.load_state_dict(parts["average"])
    moments = {}
    for name, tensor in parts["optimiser"].items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = tensor.cpu() if key == "step" else tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return History(**json.loads(about["history"])), parts["best"]
