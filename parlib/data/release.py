"""A benchmark as it lies on disk: its splits as listed, the faults in them, and the `Dataset` made of one."""

import json
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from parlib.data.images import RGBImage, survey
from parlib.errors import BadInput
from parlib.schema import Schema


@dataclass
class Listing:
    """One split as listed: image names (N), labels (N, A) int8 with -1 unknown, identities (N) or None."""

    names: list[str]
    labels: np.ndarray
    identity: list[str] | None = None

    def __add__(self, other):
        identity = None if self.identity is None else self.identity + other.identity
        return Listing(self.names + other.names, np.concatenate([self.labels, other.labels]), identity)


@dataclass
class Release:
    """What a benchmark's reader returns.

    Attributes:
        source: the annotation file.
        splits: name -> `Listing`, disjoint by intention; `trainval` is made of train and val.
        folders: where the images may lie below `root`, in order of preference.
        expected: split -> number of rows in the official release.
        notes: what was left out or chosen, for the description and for `check`.
    """

    name: str
    root: Path
    source: Path
    schema: Schema
    splits: dict[str, Listing]
    folders: tuple[str, ...] = (".",)
    expected: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def listing(self, split):
        if split == "trainval" and {"train", "val"} <= set(self.splits):
            return self.splits["train"] + self.splits["val"]
        if split == "all":
            first, *rest = self.splits.values()
            return sum(rest, first)
        if split not in self.splits:
            known = [*self.splits, *(["trainval"] if "val" in self.splits else []), "all"]
            raise BadInput(f"{self.name} has no split {split!r}; it has {', '.join(known)}")
        return self.splits[split]

    @property
    def rendered(self):
        return (self.root / "rendered.json").is_file()

    def size_notes(self, splits):
        """One line for each split whose size is not the official one."""
        out = []
        for split in splits:
            have, want = len(self.listing(split).names), self.expected.get(split)
            if want not in (None, have) and not self.rendered:
                out.append(
                    f"{self.source}: {self.name} {split} has {have:,} rows, the official release {want:,}: a sample or "
                    f"another edition, and no number from it is a {self.name} result"
                )
        return out

    def dataset(self, split, images=True):
        """The `Dataset` of a split; BadInput for a faulty list or for images that are not there."""
        broken = faults(self)
        if broken:
            raise BadInput("; ".join(broken[:3]))
        listing = self.listing(split)
        for note in self.size_notes([split]):
            warnings.warn(note, UserWarning, stacklevel=3)
        width = len(self.schema)
        # The schema rides with the labels column: it survives select, map, concatenate and save_to_disk.
        labels = datasets.List(datasets.Value("int8", id=json.dumps(self.schema.to_dict())), length=width)
        features = {"labels": labels, "image_id": datasets.Value("string")}
        flat = pa.array(np.ascontiguousarray(listing.labels, np.int8).reshape(-1))
        columns = {
            "labels": pa.FixedSizeListArray.from_arrays(flat, width),
            "image_id": pa.array(listing.names, pa.string()),
        }
        if listing.identity is not None:
            features["identity"] = datasets.Value("string")
            columns["identity"] = pa.array(listing.identity, pa.string())
        if images:
            paths = pa.array(self._paths(listing.names), pa.string())
            columns["image"] = pa.StructArray.from_arrays([pa.nulls(len(paths), pa.binary()), paths], ["bytes", "path"])
            features["image"] = RGBImage()
        features = datasets.Features(features)
        table = pa.table(columns).cast(features.arrow_schema)
        about = f"{self.name} {split} from {self.source}. " + " ".join(self.notes)
        return datasets.Dataset(
            datasets.table.InMemoryTable(table), datasets.DatasetInfo(about.strip(), features=features)
        )

    def _paths(self, names):
        found = survey(self.root, self.folders, names)
        places = ", ".join(str(self.root / folder) for folder in self.folders)
        if found.outside:
            raise BadInput(
                f"{self.source}: {len(found.outside)} image names or links lead out of {self.root}, first "
                f"{found.outside[0]!r}; put the images themselves below the root"
            )
        if found.folder is None or not found.paths:
            zips = sorted(p.name for p in self.root.glob("*.zip"))
            remedy = f"unpack {zips[0]} there" if zips else "put them there, or use images=False for labels alone"
            raise BadInput(
                f"{self.root}: none of {len(names):,} images found; looked for {names[0]} in {places}; {remedy}"
            )
        if found.missing:
            raise BadInput(
                f"{found.folder}: {len(found.missing):,} of {len(names):,} images are missing, first "
                f"{', '.join(found.missing[:3])}; unpack the archive again, or use images=False for labels alone"
            )
        return [found.paths[name] for name in names]


def faults(release):
    """Why a listing cannot be used, one line each: empty names, a name twice in a split, a name in two splits."""
    out, homes = [], {}
    for split, listing in release.splits.items():
        empty = [row for row, name in enumerate(listing.names, 1) if not name]
        if empty:
            out.append(
                f"{release.source}: {split} has {len(empty)} empty image name(s), first in row {empty[0]}; "
                "write the name in, or take an intact copy"
            )
        counts = Counter(listing.names)
        twice = [name for name, count in counts.items() if count > 1 and name]
        if twice:
            out.append(
                f"{release.source}: {split} names {len(twice)} image(s) twice, first {twice[0]!r}; remove one row of each"
            )
        for name in counts:
            homes.setdefault(name, []).append(split)
    shared = [(name, splits) for name, splits in homes.items() if len(splits) > 1 and name]
    if shared:
        name, splits = shared[0]
        out.append(
            f"{release.source}: {len(shared)} image(s) are in two splits, first {name!r} in {' and '.join(splits)}; "
            "scores on them would be of training images: remove them from one"
        )
    return out


def to_labels(values, columns, where):
    """Release values {0, 1, 2, -1}, an array or a table, empty as NaN -> (N, A) int8; 2 (uncertain) and empty are -1."""
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{where}: labels must be 1, 0, -1 or empty ({error}); a column of text is no attribute"
        ) from error
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise BadInput(
            f"{where}: labels have shape {values.shape}, expected one row an image and {len(columns)} columns"
        )
    values = np.where(np.isnan(values) | (values == 2), -1, values)
    wrong = ~np.isin(values, (-1, 0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise BadInput(
            f"{where}: {wrong.sum()} label(s) are not 1, 0, -1 (unknown) or 2 (uncertain), first "
            f"{values[row, column]:g} in row {row + 1}, column {columns[column]}; correct or empty them"
        )
    return values.astype(np.int8)


def column_order(names, schema, where):
    """Positions in a file's `names` of the schema's attributes, so that a reordered file is read right."""
    if len(names) != len(schema) or set(names) != set(schema.names):
        lacks, extra = sorted(set(schema.names) - set(names)), sorted(set(names) - set(schema.names))
        raise BadInput(
            f"{where}: attributes are not those of {schema.name}: missing {lacks or 'none'}, unknown {extra or 'none'}"
        )
    return [names.index(name) for name in schema.names]


def read_table(path):
    """A CSV or Parquet file as a DataFrame, image names and identities as text."""
    import pandas as pd

    try:
        if Path(path).suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path).to_pandas(ignore_metadata=True)
        text = dict.fromkeys(("Image", "image", "file_name", "identity", "split"), str)
        return pd.read_csv(path, dtype=text)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as a table: {error}") from error


def read_mat(path):
    """Variables of a MATLAB file; BadInput where it is not one or is damaged."""
    from scipy.io import loadmat

    try:
        found = loadmat(path)
    except FileNotFoundError:
        raise BadInput(f"no file {path}") from None
    except NotImplementedError:
        raise BadInput(f"{path}: is a MATLAB 7.3 (HDF5) file; save it again with `save -v7`") from None
    # scipy's parser raises whatever a truncated or foreign file trips it with: a dozen classes have been seen.
    except Exception as error:
        raise BadInput(
            f"{path}: is truncated or no MATLAB file ({type(error).__name__}: {error}); fetch it again"
        ) from error
    return {key: value for key, value in found.items() if not key.startswith("__")}


def member(container, key, where):
    """`container[key]` of a MATLAB struct or of `read_mat`'s dict; BadInput lists what is there instead."""
    if isinstance(container, np.ndarray) and container.dtype.names and container.size == 1:
        container = {name: container.item()[i] for i, name in enumerate(container.dtype.names)}
    have = list(container) if isinstance(container, dict) else []
    if key not in have:
        raise BadInput(
            f"{where}: looked for {key!r}, found {', '.join(have) or 'no fields at all'}; is it another file?"
        )
    return container[key]


def texts(cells):
    """A MATLAB cell array of strings -> list of str; an empty or non-text cell becomes ''."""
    out = []
    for cell in np.ravel(cells):
        while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
            cell = cell.item()
        cell = np.asarray(cell)
        out.append(str(cell.ravel()[0]).strip() if cell.size == 1 and cell.dtype.kind == "U" else "")
    return out


def labels_of(dataset):
    """The labels of a benchmark's `Dataset` as (N, A) int8: 1 yes, 0 no, -1 unknown."""
    column = dataset.select_columns("labels").with_format("arrow")[:]["labels"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(dataset), -1)


def schema_of(dataset):
    """The `Schema` of the labels of a `Dataset` from `load_benchmark`."""
    text = dataset.features["labels"].feature.id
    if not text:
        raise BadInput("this dataset does not come from load_benchmark: its labels carry no schema")
    return Schema.from_dict(json.loads(text))
