"""A benchmark as it lies on disk: its splits as listed, the faults in them, and the `Dataset` made of one."""

import inspect
import json
import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from parlib.data.corrections import correct
from parlib.data.images import RGBImage, survey
from parlib.data.partition import fold
from parlib.errors import BadInput
from parlib.profile import Profile
from parlib.schema import Schema

BENCHMARKS = ("pa100k", "peta", "market1501", "rapv1", "rapv2", "upar", "folder")
IN_PLAN = BENCHMARKS[:3]  # rendered by default, and audited


@dataclass
class Listing:
    """One split as listed: image names (N), labels (N, A) int8 with -1 unknown, identities (N) or None.

    Every row without an identity has one of its own. `pictures` are the N files' bytes, where a table holds them.
    """

    names: list[str]
    labels: np.ndarray
    identity: list[str] | None = None
    pictures: list[bytes] | None = None

    def __add__(self, other: "Listing") -> "Listing":
        both = ((getattr(self, name), getattr(other, name)) for name in ("identity", "pictures"))
        more = [None if mine is None or theirs is None else mine + theirs for mine, theirs in both]
        return Listing(self.names + other.names, np.concatenate([self.labels, other.labels]), *more)

    def rows(self, index: Sequence[int] | np.ndarray) -> "Listing":
        """Some of the rows, by number and in that order."""
        identity = self.identity and [self.identity[i] for i in index]
        pictures = self.pictures and [self.pictures[i] for i in index]
        return Listing([self.names[i] for i in index], self.labels[np.asarray(index, int)], identity, pictures)


@dataclass
class Release:
    """What a benchmark's reader returns."""

    name: str
    root: Path
    source: Path  # the annotation file
    schema: Schema
    splits: dict[str, Listing]  # disjoint by intention; `trainval` is made of train and val
    folders: tuple[str, ...] = (".",)  # where the images may lie below `root`, in order of preference
    expected: dict[str, int] = field(default_factory=dict)  # split -> number of rows in the official release
    notes: list[str] = field(default_factory=list)  # what was left out or chosen, for the description and for `check`
    partition: str | None = None  # which of several ways to divide the images, where a benchmark has them
    corrections: dict[str, Any] | None = None  # `sha256` of the file that was applied, and how many of each decision

    @property
    def kind(self) -> str:
        """What the tree is, for records: `rendered`, `own`, `official` (its number of rows, uncorrected) or `other`."""
        if (self.root / "rendered.json").is_file():
            return "rendered"
        if self.name == "folder":
            return "own"
        return "other" if self.corrections or self.name == "upar" or self.size_note(list(self.splits)) else "official"

    def listing(self, split: str) -> Listing:
        """The rows of a split, or of `trainval` or `all`, which are splits in a row; BadInput for an unknown one."""
        made = {name: [name] for name in self.splits}
        if {"train", "val"} <= set(made):
            made.setdefault("trainval", ["train", "val"])
        made["all"] = list(self.splits)
        if split not in made:
            raise BadInput(f"{self.name} has no split {split!r}; it has {', '.join(made)}")
        first, *rest = (self.splits[name] for name in made[split])
        return sum(rest, first)

    def size_note(self, splits: list[str]) -> list[str]:
        """[one line] where sizes are not the official ones, else []; a rendered tree says itself what it is."""
        sizes = {split: (len(self.listing(split).names), self.expected.get(split)) for split in splits}
        other = [f"{split} {have:,} ({want:,})" for split, (have, want) in sizes.items() if want not in (None, have)]
        about = f"this is a sample or another edition, and no number from it is a {self.name} result"
        if not other or (self.root / "rendered.json").is_file():
            return []
        return [f"{self.source}: rows (official release in brackets): {', '.join(other)}; {about}"]

    def dataset(self, split: str, images: bool = True) -> datasets.Dataset:
        """The `Dataset` of a split; BadInput for a faulty list or for missing images."""
        listing = self.listing(split)
        problems, paths = self.problems([split], images)
        if problems:
            raise BadInput("; ".join(problems[:3]))
        # What was chosen or left out is said where the data is used too, and not in `check` alone.
        notes = self.notes[1:] if self.corrections else self.notes  # `correct` has warned of its own, the first
        for note in [*self.size_note([split]), *([] if self.kind == "rendered" else notes)]:
            warnings.warn(note, UserWarning, stacklevel=3)
        width = len(self.schema)
        # The schema rides with the labels column: it survives select, map, concatenate and save_to_disk.
        about = datasets.Value("int8", id=json.dumps(self.schema.to_dict()))
        features = {"labels": datasets.List(about, length=width), "image_id": datasets.Value("string")}
        flat = pa.array(np.ascontiguousarray(listing.labels, np.int8).reshape(-1))
        columns = {"labels": pa.FixedSizeListArray.from_arrays(flat, width), "image_id": listing.names}
        if listing.identity is not None:
            features["identity"], columns["identity"] = datasets.Value("string"), listing.identity
        if images:
            pictures: Sequence[bytes | None] = listing.pictures or [None] * len(listing.names)
            files = zip(paths[split], pictures, strict=True)
            features["image"], columns["image"] = RGBImage(), [{"path": path, "bytes": data} for path, data in files]
        features = datasets.Features(features)
        text = f"{self.name} {split} from {self.source}. " + " ".join(self.notes)
        info = datasets.DatasetInfo(text.strip(), features=features)
        return datasets.Dataset(datasets.table.InMemoryTable(pa.table(columns, features.arrow_schema)), info)

    def problems(self, splits: Sequence[str], images: bool) -> tuple[list[str], dict[str, list[str]]]:
        """Why `dataset` refuses these splits, one line each, and split -> paths of its pictures that are there.

        Empty names, a name twice in a split or in two splits, a split without rows, images that are not there.
        """
        out, homes, paths = [], defaultdict(list), {}
        for split, listing in self.splits.items():
            # A name in NFC and one in NFD are one file.
            counts = Counter(unicodedata.normalize("NFC", name) for name in listing.names)
            empty = counts.pop("", 0)
            twice = [name for name, count in counts.items() if count > 1]
            if empty:
                row = listing.names.index("") + 1
                out.append(f"{split} has {empty} empty image name(s), first in row {row}: take an intact copy")
            if twice:
                out.append(f"{split} names {len(twice)} image(s) twice, first {twice[0]!r}; remove one row")
            for name in counts:
                homes[name].append(split)
        shared = [name for name, found in homes.items() if len(found) > 1]
        if shared:
            found = f"first {shared[0]!r} in {' and '.join(homes[shared[0]])}"
            why = "scores on them would be of training images: remove them from one"
            out.append(f"{len(shared)} image(s) are in two splits, {found}; {why}")
        for split in splits:
            listing = self.listing(split)
            if not listing.names:
                out.append(f"{split} has no rows; add images to it, or a split column to the table")
            paths[split] = listing.names
            if images and listing.pictures is None:
                paths[split], faults = survey(self.root, self.folders, listing.names)
                out += [f"{split}: {fault}" for fault in faults]
        return [f"{self.source}: {problem}" for problem in out], paths


def labels_of(dataset: datasets.Dataset) -> np.ndarray:
    """The labels of a benchmark's `Dataset` as (N, A) int8: 1 yes, 0 no, -1 unknown."""
    column = dataset.select_columns("labels").with_format("arrow")[:]["labels"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(dataset), -1)


def schema_of(dataset: datasets.Dataset) -> Schema:
    """The `Schema` of the labels of a `Dataset` from `load_benchmark`."""
    text = dataset.features["labels"].feature.id
    if not text:
        raise BadInput("this dataset does not come from load_benchmark: its labels carry no schema")
    return Schema.from_dict(json.loads(text))


def load_benchmark(
    name: str, root: str | os.PathLike, split: str | None = None, images: bool = True, **options: Any
) -> datasets.Dataset:
    """One split of a benchmark.

    Args:
        name: one of `BENCHMARKS`; `folder` is your own images.
        root: the folder the release was unpacked into.
        split: `train`, `val`, `trainval`, `test` or `all`; `folder` alone may leave it out, which means `all`.
        images: False reads the annotation file alone.
        **options: of `read_release`: `corrections`, a table of decisions on labels (`parlib.data.corrections`),
            and `partition="fold0of5-seed0"`; and of the benchmark's `read`, such as `partition` and `attributes` for
            peta and RAP, `table` and `schema` for folder.

    Returns:
        `image` (decoded on access: upright RGB), `labels` (A) int8 with -1 unknown, `image_id`, `identity` where the
        benchmark has one. `labels_of` and `schema_of` take it; `info.description` tells more. Import `parlib.data`
        before `datasets.load_from_disk` reads it again. BadInput names the path, what was looked for and what exists.
    """
    release = read_release(name, root, images, **options)
    if split is None and name != "folder":
        raise BadInput(f"{name} needs a split: {', '.join(release.splits)} or trainval")
    return release.dataset(split or "all", images)


def audit_arrays(name: str, root: str | os.PathLike) -> dict[str, Any]:
    """Arguments of `parlib.audit` for `pa100k`, `peta` or `market1501` below `root`; no image is opened.

    For Market-1501 a row is a person: the images of a person are known from file names alone.
    """
    if name not in IN_PLAN:
        raise BadInput(f"unknown benchmark {name!r} for an audit; known: {', '.join(IN_PLAN)}")
    options: list[Any] = [{"partition": i, "attributes": "105"} for i in range(5)] if name == "peta" else [{}]
    releases = [read_release(name, root, images=False, **one) for one in options]
    halves = [[sorted(release.listing(half).names) for half in ("trainval", "test")] for release in releases]
    order, whole = [*halves[0][0], *halves[0][1]], releases[0].listing("all")
    row_of = {image: row for row, image in enumerate(whole.names)}  # of a name that is there twice the last
    whole = whole.rows([row_of[image] for image in order])
    place = {image: row for row, image in enumerate(order)}
    rows = [tuple(np.array([place[image] for image in half]) for half in both) for both in halves]
    arrays: dict[str, Any] = {"benchmark": name, "labels": whole.labels, "partitions": rows}
    arrays["identities"] = whole.identity
    if name == "market1501":  # here names are identities, in the order of the annotation file
        arrays["image_index"] = dict(zip(("train", "test"), halves[0], strict=True))
    return arrays


def read_release(
    name: str,
    root: str | os.PathLike,
    images: bool = True,
    corrections: str | os.PathLike | None = None,
    **options: Any,
) -> Release:
    """Every split of a benchmark as listed, including faulty rows, with `corrections` applied where there are any.

    With `partition="fold0of5-seed0"` all its rows are dealt anew, by identity where known: see `partition.fold`.
    """
    if name not in BENCHMARKS:
        raise BadInput(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    partition = str(options.get("partition"))
    if partition.startswith("fold") and not Path(partition).suffix:  # a published index is a file
        del options["partition"]
        release = read_release(name, root, images, corrections, **options)
        whole = release.listing("all")
        splits = {split: whole.rows(rows) for split, rows in fold(partition, whole.identity or whole.names).items()}
        note = f"Partition {partition}, made by parlib by hash, {'by person' if whole.identity else 'image by image'}."
        return replace(release, splits=splits, notes=[*release.notes, note], partition=partition)
    fixed = {"version": name} if name.startswith("rap") else {}
    read = import_module(f"parlib.data.{'rap' if fixed else name}").read
    known = [one for one in inspect.signature(read).parameters if one not in ("root", "images", *fixed)]
    for option in options:
        if option not in known:
            raise BadInput(f"{name} has no option {option!r}; it has {', '.join(known) or 'none'}")
    release = read(root, images=images, **fixed, **options)
    return correct(release, corrections) if corrections else release


def benchmark_root(profile: Profile) -> Path:
    """Root of the tree a `Profile` works on: the real one it names, or one rendered into its cache, once."""
    if profile.root is not None:
        return profile.root
    from pedsynth import RENDERER_VERSION, synthesize

    sizes = "-".join(str(size) for size in profile.sizes.values())
    name = f"{profile.benchmark}-{sizes}-seed{profile.seed}-v{RENDERER_VERSION}"
    return synthesize(profile.benchmark, profile.cache / "rendered" / name, **profile.sizes, seed=profile.seed)


def benchmark_roots(profile: Profile) -> dict[str, Path]:
    """Benchmark -> root of each that a `Profile` has: all three rendered, the real ones present, or the one sample."""
    if profile.data is None:
        return {name: benchmark_root(replace(profile, benchmark=name)) for name in IN_PLAN}
    if profile.name == "paper":
        return {path.name: path for path in sorted(profile.data.iterdir()) if path.name in BENCHMARKS}
    return {profile.benchmark: benchmark_root(profile)}
