"""PA-100K: 26 binary attributes, 80,000 / 10,000 / 10,000 images; the official `annotation.mat` or three CSV files."""

from pathlib import Path

from parlib.data.formats import column_order, folded, header, holds, member, read_mat, read_table, texts
from parlib.data.images import folders_below
from parlib.data.labels import to_labels
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

FOLDERS = ("release_data/release_data", "release_data", "data", "images", "Images", ".")
EXPECTED = {"train": 80_000, "val": 10_000, "test": 10_000, "trainval": 90_000, "all": 100_000}
SPLITS = ("train", "val", "test")


def read(root, images=True):
    """Splits `train`, `val`, `test` of the tree at `root`, or of an annotation file.

    `annotation.mat` (or another .mat with "annotation" in its name) or `train.csv`, `val.csv`, `test.csv` lie in the
    root, in `annotation/` or `annotations/`, or in either of these one folder further down. Columns are joined by the
    names in the file, so a copy in "group order", with another attribute or in other capitals reads right.

    Raises:
        BadInput: no annotation file; a damaged one; attributes missing.
    """
    source = Path(root) if Path(root).is_file() else find(root)
    if source is None:
        raise BadInput(
            f"{root}: no PA-100K here: looked for annotation.mat or train.csv with its attributes, found {holds(root)}"
        )
    folder = source.parent
    base = folder.parent if folder.name.lower() in ("annotation", "annotations") else folder
    splits, notes = (_read_mat if source.suffix == ".mat" else _read_csv)(source)
    # In the order of preference: beside the folder of annotations, or in it.
    folders = [*FOLDERS, *(f"{folder.name}/{name}" for name in FOLDERS if folder != base)]
    return Release("pa100k", base, source, schema("pa100k"), splits, tuple(folders), EXPECTED, notes)


def find(root, depth=1):
    """The annotation file of the tree at `root`, or in a folder `depth` levels down; None where there is none."""
    for base in folders_below(root, min(depth, 1)):
        for folder in (base, base / "annotation", base / "annotations"):
            found = sorted(folder.glob("*annotation*.mat"))
            if found:
                return found[0]
            names = {folded(name) for name in header(folder / "train.csv")}
            # Anyone's table may be called train.csv.
            if len(names & {folded(name) for name in schema("pa100k").names}) > 13:
                return folder / "train.csv"
    return None


def _read_mat(path):
    mat = read_mat(path)
    names = texts(member(mat, "attributes", path))
    order, notes = column_order(names, schema("pa100k"), path)
    splits = {}
    for split in SPLITS:
        images = texts(member(mat, f"{split}_images_name", path))
        labels = to_labels(member(mat, f"{split}_label", path), names, f"{path}, {split}_label")
        if len(images) != len(labels):
            raise BadInput(
                f"{path}: {split} has {len(images)} image names and {len(labels)} rows of labels; fetch it again"
            )
        splits[split] = Listing(images, labels[:, order])
    return splits, notes


def _read_csv(first):
    splits, notes = {}, []
    for split in SPLITS:
        path = first.with_name(f"{split}.csv")
        table = read_table(path)
        if "Image" not in table:
            raise BadInput(f"{path}: looked for a column Image, found {', '.join(map(str, table.columns[:8]))}")
        labels = table.drop(columns="Image")
        order, said = column_order(list(labels.columns), schema("pa100k"), path)
        notes += said
        values = to_labels(labels, list(labels.columns), path)
        splits[split] = Listing(table["Image"].fillna("").tolist(), values[:, order])
    return splits, notes
