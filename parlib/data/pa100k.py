"""PA-100K: 26 binary attributes, 80,000 / 10,000 / 10,000 images; the official `annotation.mat` or three CSV files."""

from pathlib import Path

from parlib.data.formats import column_order, holds, member, read_mat, read_table, texts
from parlib.data.labels import to_labels
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

FOLDERS = ("release_data/release_data", "release_data", "data", "images", ".")
EXPECTED = {"train": 80_000, "val": 10_000, "test": 10_000, "trainval": 90_000, "all": 100_000}


def read(root, images=True):
    """Splits `train`, `val`, `test` of the tree at `root`, or of an annotation file given itself.

    Columns are joined by the names in the file, so a copy in "group order" reads right.

    Raises:
        BadInput: neither `annotation.mat` nor `train.csv`, `val.csv`, `test.csv`; a damaged file.
    """
    root = Path(root)
    source = root if root.is_file() else root / "annotation.mat"
    root = source.parent
    if source.is_file():
        splits = _read_mat(source)
    elif (root / "train.csv").is_file():
        source = root / "train.csv"
        splits = {split: _read_csv(root / f"{split}.csv") for split in ("train", "val", "test")}
    else:
        raise BadInput(f"{root}: no PA-100K here: looked for annotation.mat or train.csv, found {holds(root)}")
    return Release("pa100k", root, source, schema("pa100k"), splits, FOLDERS, EXPECTED)


def _read_mat(path):
    mat = read_mat(path)
    names = texts(member(mat, "attributes", path))
    order = column_order(names, schema("pa100k"), path)
    splits = {}
    for split in ("train", "val", "test"):
        images = texts(member(mat, f"{split}_images_name", path))
        labels = to_labels(member(mat, f"{split}_label", path), names, f"{path}, {split}_label")
        if len(images) != len(labels):
            raise BadInput(
                f"{path}: {split} has {len(images)} image names and {len(labels)} rows of labels; fetch it again"
            )
        splits[split] = Listing(images, labels[:, order])
    return splits


def _read_csv(path):
    table = read_table(path)
    if "Image" not in table:
        raise BadInput(f"{path}: looked for a column Image, found {', '.join(map(str, table.columns[:8]))}")
    labels = table.drop(columns="Image")
    order = column_order(list(labels.columns), schema("pa100k"), path)
    return Listing(table["Image"].fillna("").tolist(), to_labels(labels, list(labels.columns), path)[:, order])
