"""Your own images: tables or lists of labels beside them, partial labels allowed, described by a YAML schema."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from parlib.data.formats import TABLES, header, holds, read_table, some, to_labels
from parlib.data.partition import SPLITS, disjoint, rows_by_split, split_of_file
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.files import read_yaml, reading
from parlib.schema import Schema

# Columns that are no labels: what each is called, in order of preference; case, blanks and "-" do not matter.
ROLES = {
    "picture": (
        *("image", "file_name", "filename", "image_path", "img_path", "file_path", "filepath", "image_name"),
        *("img_name", "img", "file", "path"),
    ),
    "identity": ("identity", "person_id", "pid"),
    "split": ("split", "subset", "partition", "set"),
}
NAME_FILES = ("attributes.txt", "names.txt", "classes.txt")  # one attribute per line, for lists without a header


def read(root, images=True, table=None, schema=None):
    """Splits of a folder of images with a table of labels (see `read_table`), or with one table per split.

    Its columns: the picture's path below the root (or, in Parquet, its bytes); optionally `identity` and `split`; and
    one per attribute. Without splits, whole people (or else images) are dealt out 70/10/20 by a hash of their names.

    Args:
        table: file name below `root`, or a path; without it the tables that `find` lists.
        schema: a `Schema`, or a YAML file's path; without it `schema.yaml`, or else the column names as they are.

    Raises:
        BadInput: no table or several, no column of pictures, a label that is not declared, an unknown column.
    """
    root = Path(root)
    sources, others = _sources(root, table)
    root = root.parent if root.is_file() else root
    about = schema  # or what a YAML file declares: perhaps codes or sets alone
    if not isinstance(about, Schema):
        path = root / "schema.yaml" if schema is None else Path(schema)
        about = (read_yaml(path, "schema") or {}) if schema is not None or path.is_file() else {}
        if not isinstance(about, dict) or "attributes" in about:
            about = Schema.from_dict(about, where=path)
    notes = [f"Not read: {some([path.name for path in others])}; choose by table=."] if others else []
    splits: dict[str, Listing] = {}
    for source in sources:
        frame = _named(read_table(source), source, about, notes)
        roles = _roles(frame)
        if not isinstance(about, Schema):  # the columns are the attributes, but for an index without a name
            columns = [name for name in frame if name not in roles.values() and not name.startswith("Unnamed: ")]
            if not columns:
                raise BadInput(f"{source}: has no column of labels; add one for each attribute, with 1, 0 or empty")
            attributes = [{"name": name, "meaning": name.replace("_", " ")} for name in columns]
            about = {"name": root.resolve().name, **about, "attributes": attributes}
            about = Schema.from_dict(about, where=path)
        listing = _listing(frame, roles, source, root, about, notes)
        listing.pictures = listing.pictures if images else None
        for split, rows in _splits(frame, roles, source, root, listing, notes).items():
            splits[split] = splits[split] + listing.rows(rows) if split in splits else listing.rows(rows)
    return Release("folder", root, sources[0], about, splits, (".", "images", "data"), {}, list(dict.fromkeys(notes)))


def find(root):
    """Tables in a folder, its `data/`, or called `metadata` in one for each split: those with pictures, or else all."""
    below = [path for path in sorted(Path(root).glob("*/metadata.*")) if split_of_file(path, root)]
    for paths in (sorted(Path(root).glob("*")), sorted(Path(root).glob("data/*")), below):
        tables = [path for path in paths if path.suffix.lower() in TABLES and path.is_file()]
        found = [path for path in tables if len(names := header(path)) > 1 and "picture" in _roles(names)]
        # Any text may end in .txt.
        found = found or [path for path in tables if path.suffix.lower() != ".txt"]
        if found:
            return found
    return []


def _sources(root, table):
    """(tables to read, tables passed over): `metadata.*` goes before tables named by splits, these before others."""
    path = root if table is None else root / table
    if path.is_file():
        return [path], []
    if table is not None or not root.is_dir():
        raise BadInput(f"no {'folder' if table is None else 'table'} {path}")
    found = find(root)
    split_of = {path: split_of_file(path, root) for path in found}
    if {"train", "val"} <= set(split_of.values()):
        found = [path for path in found if split_of[path] != "trainval"]  # it is those two again
    by_split = sorted(filter(split_of.get, found), key=lambda path: list(SPLITS.values()).index(split_of[path]))
    chosen = [path for path in found if path.stem == "metadata"] or by_split or found
    if len(chosen) != 1 and not (chosen and all(map(split_of.get, chosen))):
        have = ", ".join(path.name for path in found) or holds(root)
        raise BadInput(
            f"{root}: looked for metadata.csv, one table of labels ({', '.join(TABLES)}), or one named by each split; "
            f"found {have}; choose one with --table FILE (table= in Python)"
        )
    return chosen, [path for path in split_of if path not in chosen]


def _roles(names):
    """Role -> the column that has it, as it is written there."""
    plain = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in names}
    found = {role: [plain[name] for name in known if name in plain] for role, known in ROLES.items()}
    return {role: columns[0] for role, columns in found.items() if columns}


def _named(frame, source, about, notes):
    """A list without a header gets the names in a file beside it, or else those of the schema."""
    unnamed = [name for name in frame if name.startswith("attribute-")]
    if not unnamed or list(frame) != ["image", *unnamed]:
        return frame
    path = next((source.parent / name for name in NAME_FILES if (source.parent / name).is_file()), None)
    names = about.names if isinstance(about, Schema) else unnamed
    if path:
        with reading(path, "file of names", "write one attribute per line"):
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        notes.append(f"Columns are named by {path.name}.")
    if len(names) != len(unnamed):
        whose = path or "the schema"
        raise BadInput(f"{source}: has {len(unnamed)} labels per picture, {whose} names {len(names)}; they must agree")
    return frame.set_axis(["image", *names], axis=1)


def _listing(frame, roles, source, root, schema, notes):
    """All rows of a table."""
    have = some(list(frame))
    if "picture" not in roles:
        raise BadInput(f"{source}: looked for a column image (or {', '.join(ROLES['picture'][1:3])}), found {have}")
    lacks = [name for name in schema.names if name not in frame]
    if lacks:
        raise BadInput(f"{source}: has no column {', '.join(lacks)} of the schema; found {have}")
    if not len(frame):
        raise BadInput(f"{source}: has no rows; add one for each image")
    extra = [name for name in frame if name not in (*roles.values(), *schema.names)]
    if extra:
        notes.append(f"Columns left out of {source.name}: {some(extra)}.")
    labels = to_labels(frame[schema.names], schema, source, notes)
    names, pictures = _pictures(frame[roles["picture"]], source, root)
    people = _texts(frame[roles["identity"]]) if "identity" in roles else None
    if people and "" in people:
        notes.append(f"{people.count(''):,} rows of {source.name} have no identity: each is a person of its own.")
        people = [person or f"nobody else: {name}" for person, name in zip(people, names, strict=True)]
    return Listing(names, labels, people, pictures)


def _splits(frame, roles, source, root, listing, notes):
    """Split -> row numbers: of a column, by the name of the table, or dealt out."""
    split = split_of_file(source, root)
    if "split" in roles:
        return rows_by_split(_texts(frame[roles["split"]]), source)
    if split:
        notes.append(f"{source.name} is the split {split}, by its name.")
        return {split: range(len(frame))}
    kind = "identity" if listing.identity else "image name"
    notes.append(f"Split 70/10/20 by the hash of {kind}: {source.name} has no split column.")
    keys = listing.identity or listing.names
    sizes = {"train": max(1, round(0.7 * len(keys))), "val": max(1, round(0.1 * len(keys))), "test": 0}
    return disjoint(keys, sizes, seed=0)


def _texts(column):
    """A table's column as str, '' where it is empty, whatever type the file gave it."""
    return ["" if empty else str(value).strip() for value, empty in zip(column, column.isna(), strict=True)]


def _pictures(column, source, root):
    """(names, None), or (names, list of bytes) where the table holds the pictures themselves."""
    cells = [c if isinstance(c, dict) else {"bytes" if isinstance(c, bytes) else "path": c} for c in column]
    if all(cell.get("bytes") for cell in cells):
        paths = [f"{row + 1:06d}-{cell.get('path') or 'picture'}" for row, cell in enumerate(cells)]
        return [f"{source.stem}/{path}" for path in paths], [cell["bytes"] for cell in cells]
    prefix = f"{source.parent.name}/" if source.stem == "metadata" and source.parent != root else ""
    names = _texts(pd.Series([cell.get("path") for cell in cells], dtype=object))
    return [prefix + _below(name, row, source, root) if name else "" for row, name in enumerate(names, 1)], None


def _below(name, row, source, root):
    """A picture's path as a table writes it -> relative to `root`, with "/"."""
    name = name.replace("\\", "/")
    for base in (root.absolute(), root.resolve()):
        if PurePosixPath(name).is_relative_to(base.as_posix()):
            return PurePosixPath(name).relative_to(base.as_posix()).as_posix()
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise BadInput(f"{source}: row {row} names {name}, which does not lie in {root}; write paths relative to it")
    return name.removeprefix("./")
