"""Every image of a split through the frozen encoder once, at the encoder's own speed."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import datasets
import torch
from PIL import ImageOps
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from parlib.data.images import RGBImage
from parlib.encode.encoder import Encoder, processes
from parlib.encode.store import FORMAT, FeatureStore, images_of, manifest_text, missing_shards, shard_names, write_shard
from parlib.errors import BadInput
from parlib.files import digest, sweep, write_atomic
from parlib.profile import Dtype

SHARD, SHARD_BYTES = 512, 2**26  # images and bytes a shard at most; two of them are in memory at a time
SHARDS = 2**14  # from twice as many on shards grow: Linux lets a process map 65,530 files
BATCH, BATCH_BYTES = 64, 40e6  # images and bytes of pixels a batch at most
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


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
    """Encode every image of a split once. Under `accelerate launch` the processes divide the shards.

    Args:
        dataset: a benchmark from `load_benchmark`, with `image` and `image_id`.
        encoder: from `load_encoder`.
        out: folder of stores; this one goes to a subfolder named by `name` and by a hash of everything that
            determines the features: the encoder's identity, image ids and sizes of their files, and the options below.
        name: readable part of the folder's name, such as `pa100k-train`.
        dtype: `fp16`, `bf16` or `fp32`, as stored.
        layout: `tokens` (every patch token), `grid:7` (the square patch map averaged to 7 x 7), or `pooled` (no token).
        mirrored: store the features of every image with left and right swapped as well.
        batch_size: default is what fits 40 MB of pixels, 64 at most.
        workers: processes that decode and resize; default is one a core but one, 8 at most.

    Returns:
        The `FeatureStore`. A finished one is returned at once; an unfinished one goes on where it stopped.

    Raises:
        BadInput: an unreadable image, a full disk (what is written stays), features that overflow the dtype, or options
            that do not fit.
    """
    if dtype not in _DTYPES:
        raise BadInput(f"unknown dtype {dtype!r} for features; known: {', '.join(_DTYPES)}")
    if len(dataset) == 0:
        raise BadInput(f"nothing to extract: {name} has no image")
    kept = _tokens_kept(layout, encoder)
    image_bytes = (1 + mirrored) * (kept + 1) * encoder.width * _DTYPES[dtype].itemsize
    same = {
        "format": FORMAT,
        "identity": encoder.identity,
        "items": len(dataset),
        **images_of(dataset),
        "dtype": dtype,
        "layout": layout,
        "mirrored": mirrored,
        "patches": "varying" if encoder.keeps_aspect else encoder.patches,
        "shard": _shard(len(dataset), image_bytes),
    }
    key = digest(same)
    folder = Path(out) / f"{name}-{key[:12]}"
    manifest = {**same, "name": name, "encoder": encoder.name, "key": key}
    if not (folder / "manifest.json").is_file():
        write_atomic(folder / "manifest.json", manifest_text(manifest))
    sweep(folder)
    state = processes()
    missing = missing_shards(folder, manifest)
    mine = [i for i in missing if i % state.num_processes == state.process_index]
    if mine:
        _encode_shards(dataset, encoder, folder, manifest, mine, batch_size, workers, progress)
    state.wait_for_everyone()
    return FeatureStore(folder)


def _shard(images, image_bytes):
    """Images a shard: the largest power of two within both limits, and more where there would be too many shards."""
    return 1 << (max(1, min(SHARD, SHARD_BYTES // image_bytes), images // SHARDS).bit_length() - 1)


def _tokens_kept(layout, encoder):
    """Patch tokens stored of an image, at most; BadInput where the layout is unknown or does not fit the encoder."""
    if layout in ("tokens", "pooled"):
        return encoder.patches if layout == "tokens" else 0
    grid, side = layout.removeprefix("grid:"), math.isqrt(encoder.patches)
    if not (layout.startswith("grid:") and grid.isdigit() and int(grid)):
        raise BadInput(
            f"unknown layout {layout!r} of features; known: tokens, pooled, grid:7 (any number of cells a side)"
        )
    if encoder.keeps_aspect or side % int(grid):
        map_ = "patch maps of any shape" if encoder.keeps_aspect else f"a {side} x {side} patch map"
        raise BadInput(f"layout {layout!r} does not fit {encoder.name!r}, which has {map_}; use tokens or pooled")
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
    """Write the shards in `missing`. A batch never crosses a shard, so a resumed run makes the same batches."""
    shard, names, state = manifest["shard"], shard_names(manifest), processes()
    spans = [range(i * shard, min((i + 1) * shard, len(dataset))) for i in missing]
    size = batch_size or max(1, min(BATCH, int(BATCH_BYTES // (12 * encoder.patches * encoder.patch_size**2))))
    batches = [list(span[k : k + size]) for span in spans for k in range(0, len(span), size)]
    cuda = encoder.device.type == "cuda"
    loader = DataLoader(
        _Batches(dataset, encoder, manifest["mirrored"]),
        batch_sampler=batches,
        num_workers=min(8, (os.cpu_count() or 1) // state.num_processes - 1) if workers is None else workers,
        collate_fn=_as_it_is,
        pin_memory=cuda,
    )
    loaded = iter(loader)
    dtype, layout = _DTYPES[manifest["dtype"]], manifest["layout"]
    hidden = not (progress and state.is_main_process)
    with (
        ThreadPoolExecutor(1) as writer,
        tqdm(total=sum(map(len, spans)), desc=f"encode {folder.name}", unit="image", disable=hidden) as bar,
    ):
        written = None
        for index, span in zip(missing, spans, strict=True):
            parts: dict[str, list[torch.Tensor]] = {}
            for start in range(0, len(span), size):
                inputs = next(loaded)
                if "error" in inputs:
                    raise BadInput(inputs["error"])
                for which, pixels in inputs.items():
                    with torch.autocast("cuda", enabled=cuda):
                        features = encoder.encode_images(pixels)
                    for name, part in _kept(features, layout).items():
                        parts.setdefault(f"{which}.{name}", []).append(part.to("cpu", dtype))
                if "spatial_shapes" in inputs["plain"]:
                    parts.setdefault("shapes", []).append(inputs["plain"]["spatial_shapes"].to(torch.int16))
                bar.update(len(span[start : start + size]))
            tensors = {name: torch.cat(column) for name, column in parts.items()}
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise BadInput(f"features of {folder.name}, shard {index}, overflow the stored dtype; use bf16 or fp32")
            if written:
                written.result()
            # On its own thread: hashing and writing let go of the interpreter.
            written = writer.submit(write_shard, folder / names[index], tensors, manifest["key"])
        if written:
            written.result()


class _Batches(torch.utils.data.Dataset):
    """Batches of preprocessed images, {"plain": inputs, "mirrored": inputs}, decoded in the worker that asked."""

    def __init__(self, dataset, encoder, mirrored):
        # Workers preprocess; the model would be copied, or on some systems pickled, for nothing.
        self.encoder, self.mirrored = replace(encoder, model=None), mirrored
        # Whatever feature type the column has by now, as after `load_from_disk`: one file, the same pixels.
        self.dataset = dataset.select_columns(["image"]).cast_column("image", RGBImage())

    def __len__(self):
        return len(self.dataset)

    def __getitems__(self, rows):
        try:
            images = self.dataset[list(rows)]["image"]
        except BadInput as error:
            return {"error": str(error)}  # raised here, it would reach the user wrapped in a worker's traceback
        made = {"plain": self.encoder.preprocess(images)}
        if self.mirrored:
            made["mirrored"] = self.encoder.preprocess(map(ImageOps.mirror, images))
        return made


def _as_it_is(batch):
    return batch
