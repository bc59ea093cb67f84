"""Your own images: a table `image,<attribute>...` beside them, partial labels allowed, described by a YAML schema."""

from pathlib import Path

from parlib.data.formats import read_table, to_labels
from parlib.data.partition import disjoint
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import Attribute, Schema

_NOT_LABELS = ("image", "file_name", "split", "identity")
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def read(root, images=True, table=None, schema=None):
    """Splits of a folder of images with one table of labels.

    The table is `table`, or `metadata.csv`, or the one CSV or Parquet file in `root`. Its columns: `image` (or
    `file_name`), a path below the root; optionally `identity` and `split`; and one column an attribute with 1, 0 and
    empty or -1 for unknown. Without `split`, whole people (or else images) are dealt out 70/10/20 by a hash of names.

    Args:
        table: file name below `root`, or a path.
        schema: a `Schema`, or a YAML file's path; without it `schema.yaml`, or else the column names as they are.

    Raises:
        BadInput: no table or several, no image column, a label that is not 1, 0, -1 or empty, an unknown column.
    """
    root = Path(root)
    source = _find(root, table)
    root = source.parent if root.is_file() else root
    frame = read_table(source)
    key = next((name for name in ("image", "file_name") if name in frame), None)
    if key is None:
        raise BadInput(
            f"{source}: looked for a column image (or file_name), found {', '.join(map(str, frame.columns[:8]))}"
        )
    described = _schema(root, schema, [str(name) for name in frame.columns if name not in _NOT_LABELS], source)
    lacks = [name for name in described.names if name not in frame]
    if lacks:
        raise BadInput(
            f"{source}: has no column {', '.join(lacks)} of the schema; found {', '.join(map(str, frame.columns))}"
        )
    names = _texts(frame[key])
    if not names:
        raise BadInput(f"{source}: all has no rows; add one for each image")
    labels = to_labels(frame[described.names], described.names, source)
    identity = _texts(frame["identity"]) if "identity" in frame else None
    notes = []
    if "split" in frame:
        rows: dict[str, list[int]] = {}
        for row, split in enumerate(_texts(frame["split"])):
            if not split:
                raise BadInput(f"{source}: row {row + 1} has no split; write train, val or test in each")
            rows.setdefault(split, []).append(row)
    else:
        sizes = {split: round(share * len(names)) for split, share in SHARES.items()}
        rows = disjoint(identity or names, sizes, seed=0)
        notes.append(
            f"Split 70/10/20 by the hash of {'identity' if identity else 'image name'}: the table has no split column."
        )
    extra = [str(name) for name in frame.columns if name not in (*_NOT_LABELS, *described.names)]
    if extra:
        notes.append(f"Columns left out, not in the schema: {', '.join(extra)}.")
    splits = {
        split: Listing([names[i] for i in index], labels[index], identity and [identity[i] for i in index])
        for split, index in rows.items()
    }
    return Release("folder", root, source, described, splits, (".", "images", "data"), {}, notes)


def _texts(column):
    """A table's column as str, '' where it is empty, whatever type the file gave it."""
    return ["" if empty else str(value) for value, empty in zip(column, column.isna(), strict=True)]


def _find(root, table):
    if root.is_file():
        return root
    if table is not None:
        path = root / table
        if not path.is_file():
            raise BadInput(f"no table {path}")
        return path
    if not root.is_dir():
        raise BadInput(f"no folder {root}")
    found = sorted([*root.glob("*.csv"), *root.glob("*.parquet")])
    first = [path for path in found if path.stem == "metadata"] or found
    if len(first) != 1:
        have = ", ".join(path.name for path in found) or "none"
        raise BadInput(
            f"{root}: looked for metadata.csv or one table of labels (CSV or Parquet), found {have}; name it: table="
        )
    return first[0]


def _schema(root, schema, columns, source):
    if isinstance(schema, Schema):
        return schema
    path = Path(schema) if schema is not None else root / "schema.yaml"
    if schema is not None or path.is_file():
        return Schema.from_yaml(path)
    if not columns:
        raise BadInput(f"{source}: has no column of labels; add one for each attribute, with 1, 0 or empty")
    return Schema(root.resolve().name, tuple(Attribute(name, name.replace("_", " ")) for name in columns))
