"""Every image of a split through the frozen encoder once, at the encoder's own speed."""

import math
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import torch
from PIL import ImageOps
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from parlib.data.images import RGBImage
from parlib.encode.encoder import Encoder, processes
from parlib.encode.precision import PRECISIONS, compile_if_it_pays
from parlib.encode.store import FORMAT, FeatureStore, images_of, missing_shards, shard_names, write_shard
from parlib.errors import BadInput
from parlib.files import digest, json_text, sweep, write_atomic
from parlib.profile import Dtype

SHARD, SHARD_BYTES = 512, 2**26  # images and bytes per shard at most; two shards are in memory at a time
SHARDS = 2**14  # from twice as many on shards grow: Linux allows a process 65,530 memory maps
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def extract(
    dataset: datasets.Dataset,
    encoder: Encoder,
    out: str | os.PathLike,
    name: str,
    dtype: Dtype = "fp16",
    layout: str = "tokens",
    mirrored: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> FeatureStore:
    """Encode every image of a split once; an unfinished store goes on where it stopped, a finished one is returned.

    Under `accelerate launch` the processes divide the shards.

    Args:
        dataset: with `image` (decoded by `open_image`, whatever decoder the column has) and `image_id`.
        out: folder of stores; this one becomes a subfolder, named by `name` and by a hash of everything that determines
            the features: identity of the encoder, image ids and sizes of their files, dtype, layout, mirrored.
        name: readable part of the folder's name, such as `pa100k-train`.
        layout: `tokens` (every patch token), `grid:7` (the square patch map averaged to 7 x 7), or `pooled` (no token).
        mirrored: store the features of every image with left and right swapped as well.
        batch_size, workers: see `loader`.

    Raises:
        BadInput: an unreadable image, a full disk, features that overflow the dtype, or options that do not fit.
    """
    if dtype not in DTYPES:
        raise BadInput(f"unknown dtype {dtype!r} for features; known: {', '.join(DTYPES)}")
    if len(dataset) == 0:
        raise BadInput(f"nothing to extract: {name} has no image")
    image_bytes = (1 + mirrored) * (_tokens_kept(layout, encoder) + 1) * encoder.width * DTYPES[dtype].itemsize
    determines = {
        "format": FORMAT,
        "identity": encoder.determines,
        "items": len(dataset),
        **images_of(dataset),
        "dtype": dtype,
        "layout": layout,
        "mirrored": mirrored,
        "patches": "varying" if encoder.keeps_aspect else encoder.patches,
        "shard": _shard(len(dataset), image_bytes),
    }
    key = digest(determines)
    folder = Path(out) / f"{name}-{key[:12]}"
    manifest = {**determines, "name": name, "encoder": encoder.name, "preprocessing": encoder.preprocessing, "key": key}
    if not (folder / "manifest.json").is_file():
        write_atomic(folder / "manifest.json", json_text(manifest))
    sweep(folder)
    state = processes()
    mine = [i for i in missing_shards(folder, manifest) if i % state.num_processes == state.process_index]
    if mine:
        _name_other_precisions(determines, encoder, Path(out), name)
        compile_if_it_pays(encoder, len(dataset))
        _encode_shards(dataset, encoder, folder, manifest, mine, batch_size, workers, progress)
    state.wait_for_everyone()
    return FeatureStore(folder)


def _name_other_precisions(determines, encoder, out, name):
    """Warn of a store of the same features in another precision: it is not read."""
    for precision in PRECISIONS:
        extra = {} if precision == "fp32" else {"precision": precision}
        folder = out / f"{name}-{digest({**determines, 'identity': encoder.identity | extra})[:12]}"
        if precision != encoder.precision and (folder / "manifest.json").is_file():
            words = f"{folder} holds these features in {precision} (--precision {precision} reads it)"
            warnings.warn(f"{words}; they are computed again in {encoder.precision}", stacklevel=3)


def loader(
    source: Dataset, spans: Sequence[range], encoder: Encoder, batch_size: int | None = None, workers: int | None = None
) -> DataLoader:
    """What `source[rows]` returns for one batch of rows after the other, of the encoder's size by default.

    A batch never crosses the end of a span of rows, so a job that goes on makes the same batches. `workers` processes
    decode and resize: by default one less than there are cores, 8 at most, and none for one batch or outside Linux,
    where each would run the caller's script again from its first line.
    """
    size = batch_size or encoder.batch_size
    batches = [list(span[start : start + size]) for span in spans for start in range(0, len(span), size)]
    if workers is None:
        spare = (os.cpu_count() or 1) // processes().num_processes - 1
        workers = min(8, max(0, spare)) if sys.platform == "linux" and len(batches) > 1 else 0
    return DataLoader(
        source,
        batch_size=None,  # a sample is a whole batch
        sampler=batches,
        num_workers=workers,
        pin_memory=encoder.device.type == "cuda",
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _shard(images, image_bytes):
    """Images per shard: the largest power of two within both limits, and more where there would be too many shards."""
    return 1 << (max(1, min(SHARD, SHARD_BYTES // image_bytes), images // SHARDS).bit_length() - 1)


def _tokens_kept(layout, encoder):
    """Maximum number of patch tokens stored per image; BadInput for an unknown layout or one that does not fit."""
    if layout in ("tokens", "pooled"):
        return encoder.patches if layout == "tokens" else 0
    grid, side = layout.removeprefix("grid:"), math.isqrt(encoder.patches)
    if not (layout.startswith("grid:") and grid.isdigit() and int(grid)):
        raise BadInput(f"unknown layout {layout!r} of features; known: tokens, pooled, grid:7 (7 x 7 cells)")
    if encoder.keeps_aspect or side % int(grid):
        shape = "patch maps of any shape" if encoder.keeps_aspect else f"a patch map of {side} x {side}"
        needs = f"layout {layout} needs a square patch map that {grid} divides"
        raise BadInput(f"{needs}; encoder {encoder.name!r} has {shape}; use tokens or pooled")
    return int(grid) ** 2


def _kept(features, layout):
    """`ImageFeatures` -> what the layout stores of them, averaged in the precision of the forward."""
    if layout == "pooled":
        return {"pooled": features.pooled}
    tokens = features.tokens  # (B, N, D)
    if layout != "tokens":
        side, grid = math.isqrt(tokens.shape[1]), int(layout.removeprefix("grid:"))
        maps = tokens.transpose(1, 2).unflatten(-1, (side, side)).float()  # (B, D, side, side)
        tokens = F.avg_pool2d(maps, side // grid).flatten(2).transpose(1, 2)  # (B, grid * grid, D)
    return {"tokens": tokens, "pooled": features.pooled}


def _encode_shards(dataset, encoder, folder, manifest, missing, batch_size, workers, progress):
    shard, names = manifest["shard"], shard_names(manifest)
    spans = [range(i * shard, min((i + 1) * shard, len(dataset))) for i in missing]
    loaded = iter(loader(_Batches(dataset, encoder, manifest["mirrored"]), spans, encoder, batch_size, workers))
    hidden = not (progress and processes().is_main_process)
    with (
        ThreadPoolExecutor(1) as writer,
        tqdm(total=sum(map(len, spans)), desc=f"encode {folder.name}", unit="image", disable=hidden) as bar,
    ):
        written = None
        for index, span in zip(missing, spans, strict=True):
            tensors = _encode_span(len(span), loaded, encoder, manifest, bar)
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                where = f"features of {folder.name}, shard {index}"
                raise BadInput(f"{where}: values too large for {manifest['dtype']}; use --dtype bf16 or fp32")
            if written:
                written.result()
            # On its own thread: hashing and writing let go of the interpreter.
            written = writer.submit(write_shard, folder / names[index], tensors, manifest["key"])
        if written:
            written.result()


def _encode_span(images, loaded, encoder, manifest, bar):
    """The tensors of one shard by name, `plain.tokens`, `plain.pooled` and so on, from as many batches as it takes."""
    dtype = DTYPES[manifest["dtype"]]
    parts: dict[str, list[torch.Tensor]] = {}
    done = 0
    while done < images:
        inputs: dict[str, Any] = next(loaded)
        if "error" in inputs:
            raise BadInput(inputs["error"])
        for which, pixels in inputs.items():
            features = encoder.encode_images(pixels)
            for name, part in _kept(features, manifest["layout"]).items():
                parts.setdefault(f"{which}.{name}", []).append(part.to(dtype).to("cpu", non_blocking=True))
        if "spatial_shapes" in inputs["plain"]:
            parts.setdefault("shapes", []).append(inputs["plain"]["spatial_shapes"].to(torch.int16))
        done += len(features.pooled)
        bar.update(len(features.pooled))
    if encoder.device.type != "cpu":
        torch.accelerator.synchronize()  # the copies have arrived
    return {name: torch.cat(column) for name, column in parts.items()}


class _Batches(Dataset):
    """Batches of resized images, {"plain": inputs, "mirrored": inputs}, decoded in the worker that is asked."""

    def __init__(self, dataset, encoder, mirrored):
        self.encoder, self.mirrored = encoder.for_workers(), mirrored
        # The column's own decoder may be another one, as after `load_from_disk`; one file must give the same pixels.
        self.dataset = dataset.select_columns(["image"]).cast_column("image", RGBImage())

    def __getitem__(self, rows):
        try:
            images = self.dataset[rows]["image"]
        except BadInput as error:
            return {"error": str(error)}  # raised here, it would reach the user wrapped in a worker's traceback
        inputs = {"plain": self.encoder.pixels(images)}
        if self.mirrored:
            inputs["mirrored"] = self.encoder.pixels(map(ImageOps.mirror, images))
        return inputs
