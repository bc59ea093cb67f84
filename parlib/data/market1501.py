"""Market-1501 attributes: 751 + 750 people with 27 attributes (30 binaries), joined to images by identity."""

import os
import re
from pathlib import Path

import numpy as np

from parlib.data.formats import holds, member, read_mat, texts
from parlib.data.partition import disjoint
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

VAL_IDENTITIES = 100
IMAGES = {"trainval": 12_936, "test": 13_115, "all": 26_051}
IDENTITIES = {"trainval": 751, "test": 750, "all": 1_501}
FOLDERS = {"train": "bounding_box_train", "test": "bounding_box_test"}
_NAME = re.compile(r"(-1|\d{4})_c\ds\d_\d{6}_\d{2}\.(?:jpg|png)")


def read(root, images=True, seed=0):
    """Splits of the official tree; `market_attribute.mat` lies beside the image folders or in `attribute/`.

    `trainval` is the official training half, `test` the gallery. There is no official validation part: `val` is 100
    people of the training half, chosen by the hash of `seed` and their identity, and `train` the others.

    With `images=False` a row is a person (the image list exists only as file names), and `image_id` is the identity.
    With images, `image_id` is the path below the root. Junk (`-1`) and distractors (`0000`) are left out and counted.

    Raises:
        BadInput: no annotation file, other fields or codes in it, no image folder, a folder of people without labels.
    """
    root = Path(root)
    source, base = _find(root)
    splits: dict[str, Listing] = {}
    notes: list[str] = []
    for half, folder in FOLDERS.items():
        people = _people(source, half)
        if images:
            splits[half] = _join(base / folder, folder, people, source, notes)
        else:
            splits[half] = Listing(list(people), np.array(list(people.values()), np.int8).reshape(-1, 30), list(people))
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


def _find(root):
    """(annotation file, folder of the image folders)."""
    bases = (root, root / "Market-1501-v15.09.15") if not root.is_file() else (root.parent,)
    base = next((b for b in bases if (b / FOLDERS["train"]).is_dir()), bases[0])
    inside = [b / sub / "market_attribute.mat" for b in (base, root) for sub in ("", "attribute")]
    for place in [root] if root.is_file() else inside:
        if place.is_file():
            return place, base
    raise BadInput(f"{root}: no Market-1501 attributes here: looked for market_attribute.mat, found {holds(root)}")


def _people(source, half):
    """identity -> (30,) binaries. Fields are read by name: the two halves of the release order them differently."""
    where = f"{source}, {half}"
    struct = member(member(read_mat(source), "market_attribute", source), half, where)
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


def _join(path, folder, people, source, notes):
    """The images of a folder with their person's labels; what is left out is counted in `notes`."""
    try:
        with os.scandir(path) as entries:
            found = sorted(entry.name for entry in entries)
    except OSError as error:
        raise BadInput(
            f"{path}: {error.strerror}; Market-1501 images are looked for there (images=False reads labels)"
        ) from error
    names, identity, left = [], [], {"junk (-1)": 0, "distractors (0000)": 0, "without labels": 0, "other files": 0}
    for name in found:
        match = _NAME.fullmatch(name)
        person = match[1] if match else ""
        if person in people:
            names.append(f"{folder}/{name}")
            identity.append(person)
        else:
            kind = {"": "other files", "-1": "junk (-1)", "0000": "distractors (0000)"}.get(person, "without labels")
            left[kind] += 1
    if not names:
        raise BadInput(
            f"{path}: none of {len(found)} files shows a person of {source}; are the two image folders swapped?"
        )
    counted = [f"{count:,} {kind}" for kind, count in left.items() if count]
    if counted:
        notes.append(f"Left out of {folder}: {', '.join(counted)}.")
    return Listing(names, np.stack([people[person] for person in identity]), identity)
