"""Market-1501 attributes: 751 + 750 people with 27 attributes (30 binaries), joined to images by identity."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from parlib.data.formats import holds, member, read_mat, texts
from parlib.data.images import files_in, folders_below
from parlib.data.partition import disjoint
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

VAL_IDENTITIES = 100
IMAGES = {"trainval": 12_936, "test": 13_115, "all": 26_051}
IDENTITIES = {"trainval": 751, "test": 750, "all": 1_501}
FOLDERS = {"train": "bounding_box_train", "test": "bounding_box_test"}
ANNOTATIONS = "market_attribute.mat"
LEFT_OUT = {"": "other files", "-1": "junk (-1)", "0000": "distractors (0000)"}
_NAME = re.compile(r"(-1|\d{4})_c\ds\d_\d{6}_\d{2}(?:\.(?:jpe?g|png))+", re.IGNORECASE)


def read(root, images=True, seed=0):
    """Splits of the official tree; `market_attribute.mat` lies in it, in a folder of its own or beside the tree.

    The image folders lie in the root or up to two folders further down, their images in them or in one folder for each
    person. `trainval` is the official training half, `test` the gallery, without junk (`-1`) and distractors (`0000`).
    `val`, which is not official, is 100 people of the training half, by the hash of `seed` and their identity.

    With `images=False` a row is a person (the image list exists only as file names), and `image_id` is the identity.
    """
    source = Path(root) if Path(root).is_file() else find(root)
    if source is None or source.is_dir():
        raise BadInput(f"{root}: no Market-1501 attributes here: looked for {ANNOTATIONS}, found {holds(root)}")
    roots = [source.parent, source.parent.parent] if source == Path(root) else [Path(root)]
    bases = [folder for start in roots for folder in folders_below(start, 2) if (folder / FOLDERS["train"]).is_dir()]
    base = next(iter(bases), roots[0])
    market = member(read_mat(source), "market_attribute", source)
    people = {half: _half(member(market, half, f"{source}, {half}"), f"{source}, {half}") for half in FOLDERS}
    halves: dict[str, Listing] = {}
    notes: list[str] = []
    for half, labels in people.items():
        names, identity = _images(base, half, people, source, notes) if images else (list(labels), list(labels))
        halves[half] = Listing(names, np.stack([labels[person] for person in identity]), identity)
    # Dealt out by person, so that the same people are val with and without images.
    whole = halves["train"]
    ids = np.unique(whole.identity or [])
    size = min(VAL_IDENTITIES, len(ids) // 4)
    is_val = np.isin(whole.identity or [], ids[disjoint(ids, {"val": size, "train": 0}, seed)["val"]])
    rows = {"train": np.flatnonzero(~is_val), "val": np.flatnonzero(is_val)}
    splits = {split: whole.rows(index) for split, index in rows.items()} | {"test": halves["test"]}
    notes.append(f"val is {size} people of the training half, chosen by parlib with seed {seed}.")
    expected = IMAGES if images else IDENTITIES
    return Release("market1501", base, source, schema("market1501"), splits, (".",), expected, notes)


def find(root, depth=2):
    """Path of the annotation file in `root` or up to `depth` levels down, else of the training images, or None."""
    folders = folders_below(root, depth)
    files = [folder / ANNOTATIONS for folder in folders] + [Path(root) / "attribute" / ANNOTATIONS]
    images = [folder / FOLDERS["train"] for folder in folders if (folder / FOLDERS["train"]).is_dir()]
    if images:  # the repository of the annotations is often cloned beside them
        files.append(Path(root).absolute().parent / "Market-1501_Attribute" / ANNOTATIONS)
    return next((file for file in files if file.is_file()), images[0] if images else None)


def _half(struct, where):
    """identity -> (30,) binaries. Fields are read by name: the two halves of the release order them differently."""
    ids = texts(member(struct, "image_index", where))
    if not ids or len(set(ids)) != len(ids) or "" in ids:
        raise BadInput(f"{where}: image_index has no, empty or repeated identities; take an intact copy")
    ages = next(group.members for group in schema("market1501").exclusive if group.name == "age")
    # `age` is 1..4; every other field is 1 for no and 2 for yes.
    fields = {name: "age" if name in ages else name for name in schema("market1501").names}
    values = {field: np.ravel(member(struct, field, where)) for field in fields.values()}
    for field, column in values.items():
        if len(column) != len(ids):
            raise BadInput(f"{where}: {field} has {len(column)} values for {len(ids)} identities; take an intact copy")
        codes = range(1, 1 + (len(ages) if field == "age" else 2))
        wrong = np.flatnonzero(~np.isin(column, codes))
        if len(wrong):
            value = f"{field} of identity {ids[wrong[0]]} is {column[wrong[0]]}"
            raise BadInput(f"{where}: {value}, expected 1..{codes[-1]}")
    columns = [values[field] == (ages.index(name) + 1 if name in ages else 2) for name, field in fields.items()]
    return dict(zip(ids, np.stack(columns, axis=1).astype(np.int8), strict=True))


def _images(base, half, people, source, notes):
    """(paths of the images of a half, their identities); what is left out is counted in `notes`."""
    folder = base / FOLDERS[half]
    if not folder.is_dir():
        raise BadInput(
            f"{base}: no folder {folder.name} here or two folders further down, found {holds(base)}; give the folder "
            "that contains both image folders, or use images=False for labels alone"
        )
    files = [part / name for part in folders_below(folder, 1) for name in files_in(part)]
    found = [path.relative_to(base).as_posix() for path in files]
    whose = [match[1] if (match := _NAME.fullmatch(path.name)) else "" for path in files]
    rows = [i for i, person in enumerate(whose) if person in people[half]]
    if not rows:
        fault = f"none of {len(found):,} files is named after a person of {source}, as 0002_c1s1_000451_03.jpg is"
        remedy = f"the first is {found[0] if found else 'not there'}"
        if any(person in labels for labels in people.values() for person in whose):
            fault, remedy = f"shows people of the other half of {source} and none of this one", "are the two swapped?"
        raise BadInput(f"{folder}: {fault}; {remedy}")
    left = Counter(LEFT_OUT.get(person, "without labels") for person in whose if person not in people[half])
    if left:
        notes.append(f"Left out of {folder.name}: {', '.join(f'{count:,} {kind}' for kind, count in left.items())}.")
    return [found[i] for i in rows], [whose[i] for i in rows]
