"""Features of a split, computed once and memory-mapped ever after."""

import json
import os
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from parlib.encode.encoder import ImageFeatures
from parlib.errors import BadInput
from parlib.files import digest, read_json, write_atomic

SHARD = 512  # images a shard: 8 MB for nano, 150 MB for base-224 in fp16
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class FeatureStore:
    """Patch tokens and pooled features of one split on disk, read by memory map.

    Args:
        folder: made by `extract`: `manifest.json` and `shard-00000.safetensors`, ...

    Raises:
        BadInput: no manifest there, or shards still missing (extraction was stopped: run it again).
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise BadInput(f"{folder} is no feature store: no manifest.json; make one with `parlib extract`")
        self.manifest = read_json(path, "feature store manifest")
        missing = missing_shards(self.folder, len(self))
        if missing:
            raise BadInput(
                f"{folder} is unfinished: {len(missing)} shards missing; run the same `parlib extract` again"
            )

    def __len__(self):
        return self.manifest["items"]

    @cached_property
    def _shards(self):
        # safetensors maps a file and reads a page when it is touched: opening all shards costs no memory.
        files = [safe_open(self.folder / shard_name(i), "pt") for i in range(shard_count(len(self)))]
        return [ImageFeatures(file.get_tensor("tokens"), file.get_tensor("pooled")) for file in files]

    def __getitem__(self, indices):
        """Rows in the order asked -> `ImageFeatures` (B, N, D), (B, D) in the stored dtype.

        `indices` is a slice, a sequence of ints or a 1-D integer tensor.
        """
        if isinstance(indices, slice):
            indices = range(len(self))[indices]
        indices = torch.as_tensor(indices)
        tokens = torch.empty(len(indices), *self._shards[0].tokens.shape[1:], dtype=self._shards[0].tokens.dtype)
        pooled = torch.empty(len(indices), *self._shards[0].pooled.shape[1:], dtype=self._shards[0].pooled.dtype)
        shard_of = indices // SHARD
        for shard in shard_of.unique().tolist():
            where = shard_of == shard
            tokens[where] = self._shards[shard].tokens[indices[where] % SHARD]
            pooled[where] = self._shards[shard].pooled[indices[where] % SHARD]
        return ImageFeatures(tokens, pooled)

    @cached_property
    def pooled(self):
        """All pooled features, (n, D), in memory as fp32."""
        return torch.cat([shard.pooled for shard in self._shards]).float()


def extract(dataset, encoder, out, name, dtype="fp16", batch_size=64, workers=None, progress=True):
    """Encode every image of a split once.

    Args:
        dataset: a benchmark from `load_benchmark`, with `image` and `image_id`.
        encoder: from `load_encoder`.
        out: folder of stores; this one goes to a subfolder named by `name` and by a hash of everything that
            determines the features: weights, preprocessing, the list of images and dtype.
        name: readable part of the folder's name, such as `pa100k-train`.
        dtype: `fp16`, `bf16` or `fp32`, as stored.

    Returns:
        The `FeatureStore`. A finished one is returned at once; an unfinished one goes on where it stopped.
    """
    if dtype not in _DTYPES:
        raise BadInput(f"unknown dtype {dtype!r} for features; known: {', '.join(_DTYPES)}")
    if len(dataset) == 0:
        raise BadInput(f"nothing to extract: {name} has no image")
    manifest = {
        "format": 1,
        "name": name,
        "encoder": encoder.name,
        "weights": encoder.weights_hash,
        "preprocessing": encoder.preprocessing,
        "items": len(dataset),
        "items_sha256": digest(list(dataset["image_id"])),
        "dtype": dtype,
        "layout": "tokens",
        "shard": SHARD,
    }
    same = {k: v for k, v in manifest.items() if k not in ("name", "encoder")}
    key = digest(same)[:12]
    folder = Path(out) / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1, default=str))
    missing = missing_shards(folder, len(dataset))
    if missing:
        _encode_shards(dataset, encoder, folder, missing, _DTYPES[dtype], batch_size, workers, progress)
    return FeatureStore(folder)


def _encode_shards(dataset, encoder, folder, missing, dtype, batch_size, workers, progress):
    """Write the shards that are not there. A batch never crosses a shard, so a resumed run makes the same batches."""
    spans = [range(i * SHARD, min((i + 1) * SHARD, len(dataset))) for i in missing]
    batches = [span[k : k + batch_size] for span in spans for k in range(0, len(span), batch_size)]
    loader = DataLoader(
        _Images(dataset),
        batch_sampler=batches,
        num_workers=min(4, os.cpu_count() - 1) if workers is None else workers,
        collate_fn=encoder.preprocess,
        pin_memory=encoder.device.type == "cuda",
    )
    loaded = iter(loader)
    with tqdm(total=sum(map(len, spans)), desc=f"encode {folder.name}", unit="image", disable=not progress) as bar:
        for index, span in zip(missing, spans, strict=True):
            parts = []
            for start in range(0, len(span), batch_size):
                with torch.autocast("cuda", enabled=encoder.device.type == "cuda"):
                    features = encoder.encode_images(next(loaded))
                parts.append(ImageFeatures(*(part.to("cpu", dtype) for part in features)))
                bar.update(len(span[start : start + batch_size]))
            tokens, pooled = (torch.cat(column) for column in zip(*parts, strict=True))
            if not (tokens.isfinite().all() and pooled.isfinite().all()):
                raise BadInput(f"features of {folder.name}, shard {index}, overflow the stored dtype; use bf16 or fp32")
            partial = folder / f".{shard_name(index)}.{os.getpid()}"
            save_file({"tokens": tokens, "pooled": pooled}, partial)
            partial.rename(folder / shard_name(index))


class _Images(torch.utils.data.Dataset):
    """The images alone, decoded in the worker that asked."""

    def __init__(self, dataset):
        self.dataset = dataset.select_columns(["image"])

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]["image"]


def shard_count(items):
    return -(-items // SHARD)


def shard_name(index):
    return f"shard-{index:05d}.safetensors"


def missing_shards(folder, items):
    """Numbers of the shards that are not in `folder` yet, ascending."""
    return [i for i in range(shard_count(items)) if not (folder / shard_name(i)).is_file()]
