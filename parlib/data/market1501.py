"""Market-1501 attributes: 751 + 750 people with 27 attributes (30 binaries), joined to images by identity."""

import re
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
EXAMPLE = "0002_c1s1_000451_03.jpg"
_NAME = re.compile(r"(-1|\d{4})_c\ds\d_\d{6}_\d{2}(?:\.(?:jpe?g|png))+", re.IGNORECASE)


def read(root, images=True, seed=0):
    """Splits of the official tree; `market_attribute.mat` lies in it, in a folder of its own or beside the tree.

    The image folders lie in the root or up to two folders further down, their images in them or in one folder for each
    person. `trainval` is the official training half, `test` the gallery. There is no official validation part: `val` is
    100 people of the training half, chosen by the hash of `seed` and their identity, and `train` the others.

    With `images=False` a row is a person (the image list exists only as file names), and `image_id` is the identity.
    With images, `image_id` is the path below the root. Junk (`-1`) and distractors (`0000`) are left out and counted.

    Raises:
        BadInput: no annotation file, other fields or codes in it, no image folder, a folder of people without labels.
    """
    source, base = _places(root)
    people = _people(source)
    splits: dict[str, Listing] = {}
    notes: list[str] = []
    for half, labels in people.items():
        if images:
            splits[half] = _images(base, half, people, source, notes)
        else:
            splits[half] = Listing(list(labels), np.array(list(labels.values()), np.int8).reshape(-1, 30), list(labels))
    whole = splits.pop("train")
    # Dealt out by person, so that the same people are val with and without images.
    whose = whole.identity or []
    ids = sorted(set(whose))
    val_size = min(VAL_IDENTITIES, len(ids) // 4)
    val = {ids[i] for i in disjoint(ids, {"val": val_size, "train": 0}, seed)["val"]} if val_size else set()
    for split, inside in (("train", False), ("val", True)):
        rows = [i for i, person in enumerate(whose) if (person in val) == inside]
        part = Listing([whole.names[i] for i in rows], whole.labels[rows], [whose[i] for i in rows])
        splits[split] = part
    notes.append(f"val is {len(val)} people of the training half, chosen by parlib with seed {seed}.")
    splits = {split: splits[split] for split in ("train", "val", "test")}
    return Release(
        "market1501", base, source, schema("market1501"), splits, (".",), IMAGES if images else IDENTITIES, notes
    )


def find(root, depth=2):
    """The annotation file of the tree at `root` or up to `depth` levels down, or else its folder of training images.

    None where there is neither.
    """
    folders = list(folders_below(root, depth))
    files = [folder / ANNOTATIONS for folder in folders] + [Path(root) / "attribute" / ANNOTATIONS]
    images = [folder / FOLDERS["train"] for folder in folders if (folder / FOLDERS["train"]).is_dir()]
    if images:  # the repository of the annotations is often cloned beside them
        files.append(Path(root).absolute().parent / "Market-1501_Attribute" / ANNOTATIONS)
    return next((file for file in files if file.is_file()), images[0] if images else None)


def _places(root):
    """(annotation file, folder of the image folders)."""
    source = Path(root) if Path(root).is_file() else find(root)
    if source is None or source.is_dir():
        raise BadInput(f"{root}: no Market-1501 attributes here: looked for {ANNOTATIONS}, found {holds(root)}")
    roots = [source.parent, source.parent.parent] if source == Path(root) else [Path(root)]
    bases = [folder for start in roots for folder in folders_below(start, 2) if (folder / FOLDERS["train"]).is_dir()]
    return source, bases[0] if bases else roots[0]


def _people(source):
    """half -> identity -> (30,) binaries."""
    market = member(read_mat(source), "market_attribute", source)
    return {half: _half(member(market, half, f"{source}, {half}"), f"{source}, {half}") for half in FOLDERS}


def _half(struct, where):
    """identity -> (30,) binaries. Fields are read by name: the two halves of the release order them differently."""
    ids = texts(member(struct, "image_index", where))
    if len(set(ids)) != len(ids) or "" in ids:
        raise BadInput(f"{where}: image_index has empty or repeated identities; take an intact copy")
    ages = next(group.members for group in schema("market1501").exclusive if group.name == "age")
    names = schema("market1501").names
    coded = {}
    for name, codes in [("age", len(ages)), *((name, 2) for name in names if name not in ages)]:
        values = np.ravel(member(struct, name, where))
        if len(values) != len(ids):
            raise BadInput(f"{where}: {name} has {len(values)} values for {len(ids)} identities; take an intact copy")
        wrong = np.flatnonzero(~np.isin(values, range(1, codes + 1)))
        if len(wrong):
            raise BadInput(f"{where}: {name} of identity {ids[wrong[0]]} is {values[wrong[0]]}, expected 1..{codes}")
        coded[name] = values
    columns = [coded["age"] == ages.index(name) + 1 if name in ages else coded[name] == 2 for name in names]
    return dict(zip(ids, np.stack(columns, axis=1).astype(np.int8), strict=True))


def _images(base, half, people, source, notes):
    """The images of a half with their person's labels; what is left out is counted in `notes`."""
    folder = FOLDERS[half]
    if not (base / folder).is_dir():
        raise BadInput(
            f"{base}: no folder {folder} here or two folders further down, found {holds(base)}; give the folder that "
            "has both, or use images=False for labels alone"
        )
    parts = [part.relative_to(base).as_posix() for part in folders_below(base / folder, 1)]
    found = [f"{part}/{name}" for part in parts for name in files_in(base / part)]
    names, identity, left = [], [], {"junk (-1)": 0, "distractors (0000)": 0, "without labels": 0, "other files": 0}
    of_the_other_half = 0
    for name in found:
        match = _NAME.fullmatch(name.rpartition("/")[2])
        person = match[1] if match else ""
        if person in people[half]:
            names.append(name)
            identity.append(person)
        else:
            kind = {"": "other files", "-1": "junk (-1)", "0000": "distractors (0000)"}.get(person, "without labels")
            left[kind] += 1
            of_the_other_half += any(person in labels for labels in people.values())
    if not names and of_the_other_half:
        raise BadInput(
            f"{base / folder}: {of_the_other_half:,} of {len(found):,} files show people of the other half of {source} "
            "and none of this one; are the two image folders swapped?"
        )
    if not names:
        raise BadInput(
            f"{base / folder}: none of {len(found):,} files is named after a person of {source}, as {EXAMPLE} is; the "
            f"first is {found[0] if found else 'not there'}"
        )
    counted = [f"{count:,} {kind}" for kind, count in left.items() if count]
    if counted:
        notes.append(f"Left out of {folder}: {', '.join(counted)}.")
    return Listing(names, np.stack([people[half][person] for person in identity]), identity)
