"""PA-100K: 26 binary attributes, 80,000 / 10,000 / 10,000 images; the official `annotation.mat` or three CSV files."""

from parlib.data.formats import folded, header, labelled, located, read_mat, read_table, to_labels
from parlib.data.images import folders_below
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.files import read_yaml, reading
from parlib.schema import Schema, schema

FOLDERS = ("release_data/release_data", "release_data", "data", "images", "Images", ".")
EXPECTED = {"train": 80_000, "val": 10_000, "test": 10_000, "trainval": 90_000, "all": 100_000}
SPLITS = ("train", "val", "test")


def read(root, images=True):
    """Splits `train`, `val`, `test` of the tree at `root`, or of an annotation file.

    `annotation.mat` (or another .mat with "annotation" in its name) or `train.csv`, `val.csv`, `test.csv` lie in the
    root, in `annotation/` or `annotations/`, or one folder further down. Columns are joined by name. Codes other than 1
    and 0 stand in a `schema.yaml` in the root, such as `codes: {yes: 1, no: -1}`.
    """
    source = located(root, find, "PA-100K: looked for annotation.mat or train.csv with its labels")
    folder = source.parent
    base = folder.parent if folder.name.lower() in ("annotation", "annotations") else folder
    coded = schema("pa100k")
    if (path := base / "schema.yaml").is_file():
        with reading(path, "schema", "declare the codes in it, such as codes: {yes: 1, no: -1}"):
            codes = (read_yaml(path, "schema") or {}).get("codes")
        coded = Schema.from_dict({**coded.to_dict(), "codes": codes}, path)
    splits: dict[str, Listing] = {}
    notes: list[str] = []
    mat = read_mat(source) if source.suffix == ".mat" else None
    for split in SPLITS:
        if mat:
            fields = f"{split}_images_name", f"{split}_label", "attributes"
            names, table, where = labelled(mat, *fields, source)
        else:
            where = source.with_name(f"{split}.csv")
            table = read_table(where)
            picture = next((name for name in table if folded(name) == "image"), None)
            if picture is None:
                raise BadInput(f"{where}: looked for a column Image, found {', '.join(list(table)[:8])}")
            names, table = table[picture].fillna("").tolist(), table.drop(columns=picture)
        splits[split] = Listing(names, to_labels(table, coded, where, notes))
    folders = (*FOLDERS, *(f"{folder.name}/{name}" for name in FOLDERS if folder != base))
    return Release("pa100k", base, source, schema("pa100k"), splits, folders, EXPECTED, list(dict.fromkeys(notes)))


def find(root, depth=1):
    """The annotation file of the tree at `root`, or in a folder `depth` levels down; None where there is none."""
    known = {folded(name) for name in schema("pa100k").names}
    for base in folders_below(root, min(depth, 1)):
        for folder in (base, base / "annotation", base / "annotations"):
            found = sorted(path for path in folder.glob("*annotation*.mat") if path.name[:3] != "RAP")
            if found:
                return found[0]
            # Anyone's table may be called train.csv.
            if len(known.intersection(map(folded, header(folder / "train.csv")))) > 13:
                return folder / "train.csv"
    return None
