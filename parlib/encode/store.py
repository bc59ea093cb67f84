"""A feature store: a folder of memory-mapped features that knows what it was made of and whether it is whole.

`manifest.json` names all that determines the features; each shard, `shard-00000.safetensors`, ..., carries the SHA-256
of what it holds, as whose and which it is, so that no flipped byte and no shard of another store goes unnoticed.
"""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from parlib.data.check import Report
from parlib.encode.encoder import Encoder, ImageFeatures, hash_tensors
from parlib.errors import BadInput
from parlib.files import digest, may_read, must_be, read_json, write_atomic

FORMAT = 3
_SHAPE = {
    **{
        "items": int,
        "shard": int,
        "mirrored": bool,
        "identity": {str: str},
        "patches": lambda value: isinstance(value, (int, str)),
    },
    **dict.fromkeys(("name", "encoder", "key", "dtype", "layout"), str),
}


class FeatureStore:
    """Patch tokens and pooled features of one split on disk, read by memory map.

    Args:
        folder: made by `extract`.
        mirrored: read the features of the mirrored images, where the store holds them.

    Raises:
        BadInput: no manifest there, shards still missing (extraction was stopped: run it again), or no mirrored images.
    """

    def __init__(self, folder: str | os.PathLike, mirrored: bool = False):
        self.folder, self.mirrored = Path(folder), mirrored
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise BadInput(f"{folder} is no feature store: no manifest.json; make one with `parlib extract`")
        self.manifest = read_json(path, "feature store manifest")
        if self.manifest.get("format") != FORMAT:
            raise BadInput(f"{folder} was written by another version of parlib; make it anew with `parlib extract`")
        if self.manifest.get("sha256") != digest({k: v for k, v in self.manifest.items() if k != "sha256"}):
            raise BadInput(f"{path} is not as it was written: remove it and run the same `parlib extract` again")
        must_be(self.manifest, _SHAPE, path)
        if not 0 < self.manifest["items"] <= self.manifest["shard"] * 1_000_000:
            raise BadInput(f"{path}: no store has so many shards; make it anew with `parlib extract`")
        if mirrored and not self.manifest["mirrored"]:
            raise BadInput(f"{folder} holds no mirrored images; extract them with `parlib extract --mirrored`")
        missing = missing_shards(self.folder, self.manifest)
        if missing:
            raise BadInput(
                f"{folder} is unfinished: {len(missing)} shards missing; run the same `parlib extract` again"
            )

    def __len__(self) -> int:
        return self.manifest["items"]

    @cached_property
    def _shards(self):
        # safetensors maps a file and reads a page when it is touched: opening all shards costs no memory.
        which = "mirrored" if self.mirrored else "plain"
        pooled = self._read(f"{which}.pooled", 2)
        if self.manifest["layout"] == "pooled":
            tokens = [part.new_empty(len(part), 0, part.shape[1]) for part in pooled]
        else:
            tokens = self._read(f"{which}.tokens", 3)
        return [ImageFeatures(*parts) for parts in zip(tokens, pooled, strict=True)]

    def _read(self, part, dimensions):
        return [self._read_one(i, name, part, dimensions) for i, name in enumerate(shard_names(self.manifest))]

    def _read_one(self, i, name, part, dimensions):
        # As many rows as the manifest says: anyone can give a file the hash of what it holds.
        path, rows = self.folder / name, min(self.manifest["shard"], len(self) - i * self.manifest["shard"])
        may_read(path)
        try:
            with safe_open(path, "pt") as file:
                tensor = file.get_tensor(part)
            if tensor.ndim != dimensions or len(tensor) != rows:
                raise ValueError(f"{part} is {tuple(tensor.shape)}, expected {rows} rows")
            return tensor
        # safetensors has an error class of its own for a damaged header.
        except Exception as error:
            raise BadInput(f"{path} is damaged ({error}): remove it and run the same `parlib extract` again") from error

    def __getitem__(self, indices: slice | Sequence[int] | np.ndarray | torch.Tensor) -> ImageFeatures:
        """Rows in the order asked -> `ImageFeatures` (B, N, D), (B, D) in the stored dtype; N is 0 in layout `pooled`.

        `indices` is a slice, a sequence of ints or a 1-D integer tensor.
        """
        shards, size = self._shards, self.manifest["shard"]  # opened first: they tell whether there are so many rows
        whole = range(len(self))
        rows = whole[indices] if isinstance(indices, slice) else torch.as_tensor(indices, dtype=torch.long).tolist()
        if not rows:
            return ImageFeatures(*(part[:0] for part in shards[0]))
        if min(rows) < 0 or max(rows) >= len(self):
            raise IndexError(f"rows {min(rows)} to {max(rows)} of a store of {len(self)}")
        # One copy from the map into the batch, row by row: five times the speed of indexing with a tensor.
        return ImageFeatures(*(torch.stack([shards[i // size][column][i % size] for i in rows]) for column in (0, 1)))

    @cached_property
    def pooled(self) -> torch.Tensor:
        """All pooled features, (n, D), in memory as fp32."""
        return torch.cat([shard.pooled for shard in self._shards]).float()

    def averaged(self) -> "FeatureStore":
        """The same store with the mean of an image's patch tokens in the place of its pooled features."""
        made = copy.copy(self)
        parts = [self[k : k + 256] for k in range(0, len(self), 256)]
        made.pooled = torch.cat([part.tokens.float().sum(1) / part.mask.sum(1, keepdim=True) for part in parts])
        return made

    @cached_property
    def shapes(self) -> torch.Tensor | None:
        """Rows and columns of each image's patches, (n, 2), of a NaFlex encoder; None where all have the same."""
        if self.manifest["patches"] != "varying":
            return None
        return torch.cat(self._read("shapes", 2))

    def must_fit(self, encoder: Encoder | None = None, dataset: datasets.Dataset | None = None) -> "FeatureStore":
        """Returns the store, or raises BadInput where it was made by another encoder or from other images."""
        if encoder is not None:
            encoder.must_match(self.manifest["identity"], f"feature store {self.folder}")
        if dataset is not None:
            differ = [key for key, value in images_of(dataset).items() if self.manifest[key] != value]
            if differ:
                raise BadInput(
                    f"{self.folder} was made from other images ({', '.join(differ)} differ): run `parlib extract` for "
                    "these, it makes another store"
                )
        return self


def check_store(folder: str | os.PathLike) -> Report:
    """Read every byte of a store and compare it with its hashes -> `Report`, as `parlib.check` gives of a tree."""
    store = FeatureStore(folder)
    report = Report(str(folder), "feature store")
    report.notes.append(
        f"{store.manifest['layout']} in {store.manifest['dtype']} of encoder {store.manifest['encoder']!r}"
    )
    report.splits[store.manifest["name"]] = {"rows": len(store), "shards": len(shard_names(store.manifest))}
    if manifest_text(store.manifest) != (store.folder / "manifest.json").read_text(encoding="utf-8"):
        report.problems.append("manifest.json is not as it was written: remove it and run `parlib extract` again")
    for name in shard_names(store.manifest):
        content = (store.folder / name).read_bytes()
        try:
            whole = shard_bytes(load(content), f"{store.manifest['key']}/{name}") == content
        # Whatever a damaged header trips safetensors into.
        except Exception:
            whole = False
        if not whole:
            report.problems.append(f"{name} is damaged: remove it and run the same `parlib extract` again")
    return report


def write_shard(path: Path, tensors: dict[str, torch.Tensor], key: str) -> None:
    """Write one shard of the store with that `key`, whole or not at all; BadInput where there is no room."""
    write_atomic(path, shard_bytes(tensors, f"{key}/{path.name}"))


def shard_bytes(tensors: dict[str, torch.Tensor], label: str) -> bytes:
    """The whole file of a shard: safetensors, and in its header the hash of `label` and the tensors."""
    return save(tensors, metadata={"sha256": hash_tensors(tensors, label)})


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as written, with a hash of its own entries."""
    entries = {k: v for k, v in manifest.items() if k != "sha256"}
    return json.dumps({**entries, "sha256": digest(entries)}, indent=1, default=str)


def images_of(dataset: datasets.Dataset) -> dict[str, str]:
    """What tells one list of images from another: hashes of their ids, and of their files' sizes in bytes."""
    files = dataset.cast_column("image", datasets.Image(decode=False))["image"]
    sizes = [os.path.getsize(file["path"]) if file["bytes"] is None else len(file["bytes"]) for file in files]
    return {"items_sha256": digest(list(dataset["image_id"])), "files_sha256": digest(sizes)}


def shard_names(manifest: Mapping[str, Any]) -> list[str]:
    """File names of all shards of a store, in the order of its rows."""
    return [f"shard-{i:05d}.safetensors" for i in range(-(-manifest["items"] // manifest["shard"]))]


def missing_shards(folder: str | os.PathLike, manifest: Mapping[str, Any]) -> list[int]:
    """Numbers of the shards that are not in `folder` yet, ascending."""
    there = set(os.listdir(folder))
    return [i for i, name in enumerate(shard_names(manifest)) if name not in there]
