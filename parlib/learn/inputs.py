"""A split ready to learn from: its stored features, its labels in the columns asked for, and where both came from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parlib.data import labels_of, load_benchmark, read_release
from parlib.encode.encoder import Encoder
from parlib.encode.extract import extract
from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.files import digest
from parlib.profile import Dtype
from parlib.schema import Schema, schema


@dataclass
class Split:
    """One split ready to learn from or to score: its features, its labels and where both came from."""

    store: FeatureStore
    labels: np.ndarray  # (n, A) int8
    about: dict  # for records: benchmark, kind of tree, split, hash of the list of images
    schema: Schema  # of the A columns
    identity: list | None = None  # who is in each image, where the benchmark tells

    def __iter__(self) -> Iterator[Any]:
        return iter((self.store, self.labels))  # so that `fit(head, train, val)` takes it as it is

    def __getitem__(self, index: int) -> Any:
        return (self.store, self.labels)[index]


def asked_schema(benchmark: str, view: str | None = None, root: str | os.PathLike | None = None) -> Schema:
    """The attributes a head is trained for: the benchmark's own, those of a view such as `upar-lite`, or, for `folder`,
    those of the table in `root`.

    Where attributes have no prompts of their own, as in a view or a folder, their meaning is the (English) prompt.
    """
    if benchmark == "folder":
        if root is None or view:
            raise BadInput("a folder's attributes are those of its own table: give its root, and no view")
        target: Schema | None = read_release(benchmark, root).schema
    else:
        target = schema(benchmark).view(view).target if view else schema(benchmark)
    if target is None:
        raise BadInput(f"view {view!r} asks multi-way questions; a head answers yes or no: give upar-lite or none")
    if not view and benchmark != "folder":
        return target
    attributes = (replace(a, prompt=a.prompt or f"a person, {a.meaning}") for a in target.attributes)
    return replace(target, attributes=tuple(attributes))


def prepare(
    benchmark: str,
    root: str | os.PathLike,
    split: str,
    encoder: Encoder,
    cache: str | os.PathLike,
    dtype: Dtype = "fp16",
    progress: bool = True,
    view: str | None = None,
    **options: Any,
) -> Split:
    """Load a split and its features (computed now, or found in `cache/features`; `options` of `extract`) -> `Split`.

    With a `view` the labels are asked in its columns; -1 where the benchmark does not carry one.
    """
    dataset, target = load_benchmark(benchmark, root, split), asked_schema(benchmark, view, root)
    place = (Path(cache) / "features", f"{benchmark}-{split}")
    store = extract(dataset, encoder, *place, dtype, progress=progress, **options)
    labels = labels_of(dataset)
    if view:
        labels = schema(benchmark).view(view)(labels)
    about = {
        "benchmark": benchmark,
        "kind": tree_kind(benchmark, root, split),
        "split": split,
        "items_sha256": store.manifest["items_sha256"],
        "labels_sha256": digest(labels.tolist()),
        **({"view": view} if view else {}),
    }
    identity = list(dataset["identity"]) if "identity" in dataset.column_names else None
    return Split(store, labels, about, target, identity)


def tree_kind(benchmark: str, root: str | os.PathLike, split: str) -> str:
    """What a tree is, for records: `rendered`, `official` (the release's own number of rows), or `other`."""
    release = read_release(benchmark, root)
    if (release.root / "rendered.json").is_file():
        return "rendered"
    return "other" if release.size_note([split]) else "official"
