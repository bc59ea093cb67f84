"""A feature store: a folder of memory-mapped features with a manifest of everything that determines them."""

import copy
import hashlib
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
from parlib.encode.encoder import ImageFeatures
from parlib.encode.identity import hash_tensors
from parlib.errors import BadInput
from parlib.files import digest, reading, write_atomic
from parlib.memory import memory_budget

FORMAT = 3  # raised when shards, or the pixels that `open_image` makes of a file, change
_AGAIN = "remove it and run the same `parlib extract` again"


class FeatureStore:
    """Patch tokens and pooled features of one split that `extract` made, or of its `mirrored` images, by memory map.

    Raises:
        BadInput: no manifest there, shards still missing (extraction was stopped: run it again), or no mirrored images.
    """

    def __init__(self, folder: str | os.PathLike, mirrored: bool = False):
        self.folder, self.mirrored = Path(folder), mirrored
        path = self.folder / "manifest.json"
        with reading(path, "feature store manifest", _AGAIN):
            self.manifest = json.loads(path.read_text(encoding="utf-8"))
            if self.manifest.get("format") != FORMAT:
                raise BadInput(f"{folder} was written by another version of parlib; run `parlib extract` again")
            if mirrored and not self.manifest["mirrored"]:
                raise BadInput(f"{folder} holds no mirrored images; extract them with `parlib extract --mirrored`")
            if missing := len(missing_shards(self.folder, self.manifest)):
                raise BadInput(f"{folder} is unfinished: {missing} shards missing; run the same `parlib extract` again")

    def __len__(self) -> int:
        return self.manifest["items"]

    @property
    def precision(self) -> str:
        """Of the encoder that computed the features."""
        return self.manifest["identity"].get("precision", "fp32")

    @cached_property
    def _shards(self):
        # safetensors maps a file and reads a page when it is touched: opening all shards costs no memory.
        which = "mirrored" if self.mirrored else "plain"
        pooled = self._read(f"{which}.pooled")
        if self.manifest["layout"] == "pooled":
            tokens = [part.new_empty(len(part), 0, part.shape[1]) for part in pooled]
        else:
            tokens = self._read(f"{which}.tokens")
        return [ImageFeatures(*parts) for parts in zip(tokens, pooled, strict=True)]

    def _read(self, part):
        tensors = []
        for name in shard_names(self.manifest):
            with reading(self.folder / name, "shard", _AGAIN), safe_open(self.folder / name, "pt") as file:
                tensors.append(file.get_tensor(part))
        return tensors

    def __getitem__(self, indices: slice | Sequence[int] | np.ndarray | torch.Tensor) -> ImageFeatures:
        """Rows in the order of `indices` -> `ImageFeatures` in the stored dtype; N is 0 in layout `pooled`."""
        shards, size = self._shards, self.manifest["shard"]
        every = range(len(self))
        rows = every[indices] if isinstance(indices, slice) else torch.as_tensor(indices, dtype=torch.long).tolist()
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
        """Copy of the store whose pooled features are the mean of the patch tokens."""
        self.need_patches("the mean of the patches")
        made = copy.copy(self)
        parts = [self[k : k + 256] for k in range(0, len(self), 256)]
        made.pooled = torch.cat([part.tokens.float().sum(1) / part.mask.sum(1, keepdim=True) for part in parts])
        return made

    def resident(self, device: torch.device) -> "FeatureStore":
        """The rows in the memory of a device, to gather batches there; itself where `memory_budget` is too small."""
        if len(self) * sum(part.nbytes for part in self[:1]) > memory_budget(device):
            return self
        chunks = (self[k : k + 256] for k in range(0, len(self), 256))
        parts = [ImageFeatures(*(part.to(device) for part in chunk)) for chunk in chunks]
        made = InMemory(*map(torch.cat, zip(*parts, strict=True)))
        made.folder, made.manifest, made.mirrored = self.folder, self.manifest, self.mirrored
        return made

    def need_patches(self, reader: str) -> None:
        """BadInput, naming what reads them, where the store holds no patch tokens."""
        if self.manifest["layout"] == "pooled":
            again = "extract them again with `--layout tokens`"
            raise BadInput(f"{reader} needs patch tokens, and {self.folder} holds pooled features only: {again}")

    @cached_property
    def shapes(self) -> torch.Tensor | None:
        """Patch grid (rows, columns) of each image, (n, 2), for a NaFlex encoder, else None."""
        return torch.cat(self._read("shapes")) if self.manifest["patches"] == "varying" else None


class InMemory(FeatureStore):
    """Features in memory, read as those of a folder: tokens (n, N, D) and pooled (n, D), in any dtype on one device."""

    def __init__(self, tokens: torch.Tensor, pooled: torch.Tensor):
        self.features, self.folder, self.mirrored = ImageFeatures(tokens, pooled), Path("memory"), False
        self.manifest = {"items": len(pooled), "layout": "tokens", "patches": tokens.shape[1], "identity": {}}
        self.pooled = pooled.float()

    def __getitem__(self, indices):
        rows = indices if isinstance(indices, slice) else torch.as_tensor(indices, device=self.pooled.device)
        return ImageFeatures(*(part[rows] for part in self.features))


def check_store(folder: str | os.PathLike) -> Report:
    """Read every byte of a store and compare it with its hashes -> `Report`, as `parlib.check` returns for a tree."""
    store = FeatureStore(folder)
    about, names = store.manifest, shard_names(store.manifest)
    report = Report(str(folder), "feature store")
    report.notes.append(
        f"{about['layout']} in {about['dtype']} of encoder {about['encoder']!r}, computed in {store.precision}"
    )
    report.splits[about["name"]] = {"rows": len(store), "shards": len(names)}
    for path in (store.folder / name for name in names):
        content = path.read_bytes()
        try:
            is_whole = _shard(path, load(content), about["key"]) == content
        except Exception:  # safetensors raises many classes for a damaged header
            is_whole = False
        report.problems += [] if is_whole else [f"{path.name} is damaged: {_AGAIN}"]
    return report


def write_shard(path: Path, tensors: dict[str, torch.Tensor], key: str) -> None:
    """Write one shard of the store with that `key`, whole or not at all; BadInput where there is no room."""
    write_atomic(path, _shard(path, tensors, key))


def _shard(path, tensors, key):
    """A safetensors file whose header has the hash of its tensors, the store's key and its own name."""
    return save(tensors, metadata={"sha256": hash_tensors(tensors, f"{key}/{path.name}")})


def images_of(dataset: datasets.Dataset) -> dict[str, str]:
    """Hashes of image ids, and of file sizes in bytes or of the pictures that a table holds."""
    files = dataset.cast_column("image", datasets.Image(decode=False))["image"]
    return {
        "items_sha256": digest(list(dataset["image_id"])),
        "files_sha256": digest([_content(file) for file in files]),
    }


def _content(file):
    """SHA-256 of a picture that a table holds, or the size in bytes of a file, which is not read for it."""
    if file["bytes"] is not None:
        return hashlib.sha256(file["bytes"]).hexdigest()
    try:
        return os.path.getsize(file["path"])
    except OSError:  # whoever opens it says what is wrong
        return None


def shard_names(manifest: Mapping[str, Any]) -> list[str]:
    """File names of all shards of a store, in the order of its rows."""
    return [f"shard-{i:05d}.safetensors" for i in range(-(-manifest["items"] // manifest["shard"]))]


def missing_shards(folder: str | os.PathLike, manifest: Mapping[str, Any]) -> list[int]:
    """Numbers of the shards that are not in `folder` yet, ascending."""
    there = set(os.listdir(folder))
    return [i for i, name in enumerate(shard_names(manifest)) if name not in there]
