"""A split ready to learn from: stored features, labels, and where both came from."""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parlib.data import labels_of
from parlib.data.release import Release
from parlib.encode.encoder import Encoder, ImageFeatures, processes
from parlib.encode.extract import extract
from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.files import digest
from parlib.profile import Dtype
from parlib.schema import Schema


@dataclass
class Split:
    """One split ready to learn from or to score; unpacks into (store, labels)."""

    store: FeatureStore
    labels: np.ndarray  # (n, A) int8
    about: dict[str, Any]  # for records: benchmark, kind of tree, split, hashes of the list of images and of the labels
    schema: Schema  # of the A columns
    identity: list[str] | None = None  # who is in each of the n images, None where the benchmark does not say

    def __iter__(self) -> Iterator[Any]:
        return iter((self.store, self.labels))


def prepare(
    release: Release,
    split: str,
    encoder: Encoder,
    cache: str | os.PathLike,
    dtype: Dtype = "fp16",
    view: str | None = None,  # the labels in other columns, such as `upar`; -1 where the release has none
    store: FeatureStore | None = None,  # of the same images in the same order, such as `Rows`
    **options: Any,  # of `extract`
) -> Split:
    """Labels and features of one split of a `Release`; features are computed now or found in `cache/features`."""
    schema, dataset = head_schema(release.schema, release.name, view), release.dataset(split, images=store is None)
    if store is None:
        store = extract(dataset, encoder, Path(cache) / "features", f"{release.name}-{split}", dtype, **options)
    if store.precision != encoder.precision:
        raise BadInput(
            f"{store.folder} was computed in {store.precision}, and the encoder computes in {encoder.precision}: "
            f"load it with --precision {store.precision}, or extract the features again"
        )
    labels = release.schema.view(view)(labels_of(dataset)) if view else labels_of(dataset)
    about: dict[str, Any] = {"benchmark": release.name, "kind": release.kind, "split": split}
    about |= {"partition": release.partition} if release.partition else {}
    about |= {"items_sha256": digest(list(dataset["image_id"])), "labels_sha256": digest(labels.tolist())}
    about |= {"view": view} if view else {}
    about |= {"corrections": release.corrections} if release.corrections else {}
    identity = list(dataset["identity"]) if "identity" in dataset.column_names else None
    return Split(store, labels, about, schema, identity)


class Rows(FeatureStore):
    """Images from stores of other splits, by name, so that trainval or another partition encodes none again."""

    def __init__(self, names: Sequence[Any], stores: Sequence[tuple[Sequence[Any], FeatureStore]]):
        """`stores` are pairs of image names (n) and the store (n) that holds them; together they hold every image."""
        self.stores, self.mirrored = [store for _, store in stores], False
        place = {name: (i, row) for i, (names, _) in enumerate(stores) for row, name in enumerate(names)}
        self.places = np.array([place[name] for name in names])  # (n, 2): which store, and the row in it
        first = self.stores[0]
        self.manifest = {**first.manifest, "items": len(self.places)}
        content = digest([[store.folder.name for store in self.stores], self.places.tolist()])
        self.folder = first.folder.with_name(f"{first.folder.name}-{content[:12]}")  # there is no such folder

    def __getitem__(self, indices: slice | Sequence[int] | np.ndarray | torch.Tensor) -> ImageFeatures:
        chosen = self.places[indices if isinstance(indices, slice) else np.asarray(indices, int)]
        parts = [self.stores[i][[row]] for i, row in chosen]
        return ImageFeatures(*map(torch.cat, zip(*parts, strict=True))) if parts else self.stores[0][:0]

    @cached_property
    def pooled(self) -> torch.Tensor:
        """All pooled features, (n, D), in memory as fp32."""
        return torch.stack([self.stores[i].pooled[row] for i, row in self.places])


def head_schema(schema: Schema, benchmark: str, view: str | None = None) -> Schema:
    """The attributes a head is trained for: those of a benchmark's schema, or of a view of it.

    Where attributes have no prompts of their own, as in a view or a folder, their (English) meaning is the prompt.
    """
    target = schema.view(view).target if view else schema
    if target is None:
        raise BadInput(f"view {view!r} asks multi-way questions; a head answers yes or no: give upar or none")
    if not view and benchmark != "folder":
        return target
    attributes = (replace(a, prompt=a.prompt or f"a person, {a.meaning}") for a in target.attributes)
    return replace(target, attributes=tuple(attributes))


def two_sided(
    train: np.ndarray, val: np.ndarray, names: Sequence[str], warn: bool = True
) -> tuple[np.ndarray, list[str]]:
    """Which attributes have a yes and a no in train and in val, (A,) bool; and notes on the others.

    `warn` also gives the notes as one warning. `BadInput` where no attribute has both, in train or in val.
    """
    complete, notes, groups = np.ones(len(names), bool), [], []
    for split, labels in (("train", train), ("val", val)):
        yes, no = (labels == 1).any(0), (labels == 0).any(0)
        if not (yes & no).any():
            raise BadInput(f"{split}: no attribute has both a yes and a no among its labels; nothing can be learned")
        complete &= yes & no
        for gap, where in {"all unknown": ~yes & ~no, "no positive": ~yes & no, "no negative": yes & ~no}.items():
            found = [name for name, missing in zip(names, where, strict=True) if missing]
            notes += [f"{name}: {gap} in {split}" for name in found]
            groups += [f"{gap} in {split}: {', '.join(found)}"] if found else []
    if notes and warn and processes().is_main_process:
        text = f"{(~complete).sum()} of {len(names)} attributes cannot be learned or calibrated ({'; '.join(groups)})"
        warnings.warn(text, stacklevel=1)
    return complete, notes


def encoder_setting(encoder: Encoder) -> dict[str, Any]:
    """What a record says of the encoder: name, `revision`, `weights`, `identity`, `layer` and `precision` if set."""
    setting: dict[str, Any] = {"encoder": encoder.name, "revision": encoder.revision}
    setting |= {"weights": encoder.identity["weights"], "identity": encoder.identity}
    setting |= {"layer": encoder.layer} if encoder.layer else {}
    return setting | ({"precision": encoder.precision} if encoder.precision != "fp32" else {})
