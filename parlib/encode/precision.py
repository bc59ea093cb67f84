"""The precision of the frozen image tower: the fastest on this machine whose features are still those of fp32."""

import copy
import json
import platform
import time
import timeit
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from parlib.encode.hub import EXAMPLES, SHIPPED
from parlib.errors import BadInput
from parlib.files import json_text, one_line, only_one, reading, write_atomic
from parlib.memory import memory_budget
from parlib.profile import cache_folder

if TYPE_CHECKING:
    from parlib.encode.encoder import Encoder

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
FASTER = 1.2  # times as fast as fp32 that bf16 must be for `auto` to take it
ALIKE = 0.99  # cosine of an image's pooled features with those in fp32 that each example must reach
LARGEST = 256  # images of a GPU's batch at most; a shard of SigLIP 2 base holds 128
LONG = 300  # seconds without compiling from which compiling is tried


def set_precision(encoder: "Encoder", precision: str) -> None:
    """Convert a new encoder's image tower to `fp32`, `bf16`, or for `auto` what a trial on this machine chose.

    The trial is made once per machine and encoder and kept in the file `precision.json` of the cache; the text tower
    and the encoder's identity stay those of fp32. `nano` is fp32 under `auto`, so that its numbers are the same on
    every machine. BadInput for an unknown precision or one that the device lacks.
    """
    if precision not in ("auto", *PRECISIONS):
        raise BadInput(f"unknown precision {precision!r}; known: auto, {', '.join(PRECISIONS)}")
    has_bf16 = _has(encoder.device, torch.bfloat16)
    if precision == "bf16" and not has_bf16:
        raise BadInput(f"device {encoder.device} cannot compute in bf16: use --precision fp32")
    if precision == "auto":
        precision = _chosen(encoder) if has_bf16 and encoder.name not in SHIPPED else "fp32"
    if precision != "fp32":
        encoder.identity  # noqa: B018  (of the weights as published, before they are converted)
        encoder.precision = precision
        encoder.model.vision_model.to(PRECISIONS[precision])


def compile_if_it_pays(encoder: "Encoder", images: int) -> None:
    """Compile the forward of full batches in bf16 if that saves more seconds on so many images than it takes.

    Both are measured once per machine and encoder, on jobs that would last at least `LONG` seconds, and kept with the
    trial. Where no compiler works the job goes on without, with a note. Before, `fit_batch` is called.
    """
    fit_batch(encoder)
    encoder.compiled_size = 0
    if encoder.precision == "fp32":
        return
    with _measured(encoder) as known:
        if "bf16" not in known:
            known["bf16"] = _rate(encoder, _examples(encoder))
        batch = encoder.pixels([Image.new("RGB", (96, 192))] * encoder.batch_size)
        if images / known["bf16"] < LONG:
            return
        if "eager" not in known:
            known["eager"] = _rate(encoder, batch)
        if "compiled" in known and not _pays(known, images):
            return
        encoder.compiled_size, start = encoder.batch_size, time.perf_counter()
        try:
            encoder.encode_images(batch)
        except Exception as error:  # whatever a missing or broken compiler raises
            encoder.compiled_size = 0
            warnings.warn(f"the image tower is not compiled: {one_line(error)}", stacklevel=2)
            return
        if "compiled" not in known:
            known |= {"compiling_s": time.perf_counter() - start, "compiled": _rate(encoder, batch)}
        encoder.compiled_size = encoder.batch_size if _pays(known, images) else 0


def fit_batch(encoder: "Encoder") -> None:
    """Let a GPU encode as many images at a time as `memory_budget` allows, a power of two up to `LARGEST`.

    The bytes of an image are measured once per machine, encoder and precision, and kept with the trial. On a CPU the
    size stays as it is, so that every machine computes the same.
    """
    if encoder.device.type != "cuda":
        return
    with _measured(encoder) as known:
        name = f"{encoder.precision}_bytes"
        if name not in known:
            inputs, before = _examples(encoder), torch.cuda.memory_allocated(encoder.device)
            torch.cuda.reset_peak_memory_stats(encoder.device)
            encoder.encode_images(inputs)
            used = torch.cuda.max_memory_allocated(encoder.device) - before
            known[name] = max(1, used // len(inputs["pixel_values"]))
        fitting = min(LARGEST, memory_budget(encoder.device) // known[name])
        encoder.batch_size = 1 << max(0, fitting.bit_length() - 1)


def _pays(known, images):
    return images / known["eager"] - images / known["compiled"] > known["compiling_s"]


def _chosen(encoder):
    with _measured(encoder) as known:
        if "precision" not in known:
            known |= _trial(encoder)
            warnings.warn(
                f"encoder {encoder.name!r} computes in {known['precision']} on this machine: a trial made "
                f"{known['bf16']:.1f} images per second in bf16, {known['fp32']:.1f} in fp32, cosine of their features "
                f"{known['cosine']:.4f} or more (--precision overrides)",
                stacklevel=2,
            )
        return known["precision"]


def _trial(encoder):
    """Images per second in both precisions, the least cosine of their pooled features, and the `precision` to take."""
    half = copy.copy(encoder)
    tower = copy.deepcopy(encoder.model.vision_model).to(torch.bfloat16)
    half.precision, half.model = "bf16", nn.Module()
    half.model.vision_model, half.model.device = tower, encoder.device
    inputs = _examples(encoder)
    pooled = [one.encode_images(inputs).pooled.float() for one in (encoder, half)]
    known = {name: _rate(one, inputs) for name, one in (("fp32", encoder), ("bf16", half))}
    known["cosine"] = F.cosine_similarity(*pooled).min().item()
    is_better = known["bf16"] > FASTER * known["fp32"] and known["cosine"] > ALIKE
    return {**known, "precision": "bf16" if is_better else "fp32"}


def _examples(encoder):
    return encoder.pixels(Image.open(path) for path in sorted(EXAMPLES.glob("*.png"))[:8])


def _rate(encoder, inputs):
    """Images per second, the best of three times."""
    seconds = timeit.repeat(lambda: encoder.encode_images(inputs).pooled.cpu(), number=1, repeat=3)  # waits for a GPU
    return len(inputs["pixel_values"]) / min(seconds)


def _has(device, dtype):
    try:
        one = torch.ones(1, 1, device=device, dtype=dtype)
        return bool((one @ one).isfinite().all())
    except (RuntimeError, TypeError):
        return False


@contextmanager
def _measured(encoder: "Encoder") -> Iterator[dict[str, Any]]:
    """What was measured of this encoder on this machine, a dict whose changes are kept."""
    path = cache_folder() / "precision.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name(encoder.device) if encoder.device.type == "cuda" else encoder.device.type
    key = f"{encoder.identity['weights'][:12]} on {platform.node()}, {device}, torch {torch.__version__}"
    with only_one(path, path.with_suffix(".lock"), wait=True):
        with reading(path, "trials of precisions", "remove it: they are made again"):
            every = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        before = json_text(every.get(key))
        known = every.setdefault(key, {})
        yield known
        if json_text(known) != before:
            write_atomic(path, json_text(every) + "\n")
