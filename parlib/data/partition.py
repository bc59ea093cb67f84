"""Splits of our own, the same on every machine, and published ones read from plain files."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from parlib.data.formats import TABLES, member, read_table
from parlib.errors import BadInput
from parlib.files import digest, read_json

# What a split is called here, and words for it elsewhere.
_WORDS = {"train": "train training", "val": "val valid validation dev", "test": "test testing", "trainval": "trainval"}
SPLITS = {word: split for split, words in _WORDS.items() for word in words.split()}
_LAYOUTS = (
    "expected JSON {split: [image, ...]}, CSV image,split, or a list of images in a file whose name has train, val or "
    "test in it"
)
_PICKLE = (
    "import json, pickle; part = pickle.load(open('{name}', 'rb')); part = part.get('partition', part); "
    "json.dump({{split: [int(row) + 1 for row in part.get(split, part.get(split + '_idx'))] for split in ('train', "
    "'val', 'test')}}, open('index.json', 'w'))"
)


def disjoint(keys, sizes, seed):
    """Split rows, each with its key (a str), so that rows with one key stay together: split -> ascending row numbers.

    Keys are ordered by the SHA-256 of `seed:key` (no random generator: the same everywhere, for ever) and dealt out to
    the splits in turn. A split is full once it has its size (`sizes`: split -> rows; the last takes the rest), so it
    exceeds it by less than one key's rows. It is also full where the keys left are just enough for one in each split
    that follows.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    out: dict[str, list[int]] = {split: [] for split in sizes}
    keys = sorted(rows, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest(), reverse=True)
    for later, split in zip(reversed(range(len(sizes))), sizes, strict=True):
        while keys and (not later or (len(out[split]) < sizes[split] and (len(keys) > later or not out[split]))):
            out[split] += rows[keys.pop()]
    return {split: sorted(found) for split, found in out.items()}


def fold(name, keys):
    """Splits of a cross-validation: `fold0of5-seed0` is the first of five that share no row and hold every row in test.

    Rows with one key stay together; of the rows that are not in test, one in eight is val (see `disjoint`).

    Raises:
        BadInput: another name, a fold that does not exist, or more folds than keys.
    """
    found = re.fullmatch(r"fold(\d+)of(\d+)-seed(\d+)", name)
    number, count, seed = map(int, found.groups()) if found else (0, 0, 0)
    if not (number < count and 1 < count <= len(set(keys))):
        raise BadInput(f"no partition {name!r}: give one as fold0of5-seed0, from fold0 to fold4, with rows for each")
    *first, last = range(count)
    folds = disjoint(keys, {**dict.fromkeys(first, len(keys) / count), last: 0}, seed)
    others = sorted(set(range(len(keys))).difference(folds[number]))
    dealt = disjoint([keys[row] for row in others], {"val": round(len(others) / 8), "train": 0}, seed)
    return {split: [others[i] for i in dealt[split]] for split in ("train", "val")} | {"test": folds[number]}


def split_of_file(path, root):
    """The split that a table is named by, such as `test_list.txt` or `val/metadata.csv` below `root`; None for none."""
    words = re.split(r"[^A-Za-z]+", path.stem) + ([] if path.parent == Path(root) else [path.parent.name])
    found = {SPLITS[word.lower()] for word in words if word.lower() in SPLITS}
    return found.pop() if len(found) == 1 else None


def rows_by_split(words, source):
    """Split -> row numbers, from the word in each row.

    Raises:
        BadInput: a row without a word; two words for one split, such as val and dev, which may not mean the same.
    """
    rows: dict[str, list[int]] = {}
    written: dict[str, str] = {}
    for row, word in enumerate(words):
        if not word:
            raise BadInput(f"{source}: row {row + 1} has no split; write train, val or test in each")
        split = SPLITS.get(word.lower(), word)
        if written.setdefault(split, word.lower()) != word.lower():
            raise BadInput(f"{source}: row {row + 1}: {written[split]} and {word} both mean {split}; use one of them")
        rows.setdefault(split, []).append(row)
    return rows


def choose(release, partition, official, fields):
    """A `Release` of one split `all` -> the same in a partition, where a benchmark has several.

    Without a val, one in six of the rows in train (or else of those not in test) is val, by the hash of their names.

    Args:
        partition: the number of an official one; `identity-disjoint-seedN`, ours, which deals out whole people by hash
            into the official sizes; or the path of a published index (`read_index`).
        official: the official ones, MATLAB structs of row numbers from 1; `fields`: split -> its field.
    """
    whole, sizes, source = release.splits["all"], release.expected, release.source
    text = str(partition)
    total = len(whole.names)
    if text.isdigit() and int(text) < len(official):
        indices: dict = {}
        for split, field in fields.items():
            rows = np.ravel(member(official[int(text)], field, f"{source}, partition {text}")).astype(int)
            if len(rows) and not 1 <= rows.min() <= rows.max() <= total:
                raise BadInput(f"{source}: partition {text} {split} names images outside 1..{total}")
            indices[split] = rows - 1
        who = "people of its test images are in trainval" if whole.identity else "people in test may be in trainval too"
        note = f"Official random partition {text}: {who}."
    elif Path(text).suffix or Path(text).is_dir():
        indices, note = read_index(text, whole.names), f"Partition read from {Path(text).name}."
    elif (ours := re.fullmatch(r"identity-disjoint-seed(\d+)", text)) and whole.identity:
        parts = {split: round(total * sizes[split] / sizes["all"]) for split in ("train", "val", "test")}
        indices, note = disjoint(whole.identity, parts, int(ours[1])), f"Partition {text}, made by parlib by hash."
    else:
        by_person = ", identity-disjoint-seed0" if whole.identity else ""
        raise BadInput(f"{source}: no partition {partition!r}; there are 0..4{by_person}, or the path of an index")
    if "val" not in indices and "test" in indices:
        rest = set(range(total)).difference(indices["test"])
        others = sorted(indices.get("train", indices.get("trainval", rest)))
        dealt = disjoint([whole.names[i] for i in others], {"val": round(len(others) / 6), "train": 0}, 0)
        indices = {split: [others[i] for i in dealt[split]] for split in ("train", "val")} | {"test": indices["test"]}
        note += " It has no val: of the images to train on, one in six is val, by hash."
    splits = {split: whole.rows(rows) for split, rows in indices.items()}
    if not text.isdigit():
        note += f" Index SHA-256 {digest({split: sorted(part.names) for split, part in splits.items()})}."
        release = replace(release, expected={})
    return replace(release, splits=splits, notes=[note, *release.notes], partition=Path(text).name)


def read_index(path, names):
    """A published index (PETA_ZS, RAP_ZS, your own) as rows of a benchmark: split -> row numbers into `names`.

    It is JSON `{"train": [...], ...}`, CSV `image,split`, or a list of pictures (with labels or without) that the name
    of its file calls train, val or test, or a folder of such lists. Images are named by file name, with folders before
    it or without, or by number, counted from 1 in the order of `names`.

    Raises:
        BadInput: a pickle (it can run code), another layout, an image that `names` does not have.
    """
    path = Path(path)
    files = sorted(one for one in path.iterdir() if split_of_file(one, path)) if path.is_dir() else [path]
    pairs = [pair for one in files for pair in _pairs(one)]
    if not pairs:
        raise BadInput(f"{path}: {_LAYOUTS}")
    place = {str(row + 1): row for row in range(len(names))} | {name: row for row, name in enumerate(names)}
    rows = []
    for _, image in pairs:
        while image not in place and "/" in image:  # behind folders that the benchmark does not have
            image = image.split("/", 1)[1]
        rows.append(place.get(image))
    lost = [image for (_, image), row in zip(pairs, rows, strict=True) if row is None]
    if lost:
        hint = "; numbers count from 1: add 1 to a zero-based index" if "0" in lost else ""
        raise BadInput(f"{path}: {len(lost):,} image(s) are not in the benchmark, first {lost[0]}{hint}")
    split_rows = rows_by_split([split for split, _ in pairs], path)
    return {split: [rows[i] for i in found] for split, found in split_rows.items()}


def _pairs(path):
    """(split, image) of each image in a file of an index."""
    if path.is_file() and path.read_bytes()[:1] == b"\x80":
        raise BadInput(
            f"{path}: pickle files can run code, so they are not read; if you trust this one, convert it with: "
            f'python -c "{_PICKLE.format(name=path.name)}"'
        )
    if path.suffix == ".json":
        content = read_json(path, "split index")
        if not isinstance(content, dict) or not all(isinstance(images, list) for images in content.values()):
            raise BadInput(f"{path}: {_LAYOUTS}")
        empty = [str(split) for split, images in content.items() if not images]
        if empty or not content:
            raise BadInput(f"{path}: no images in {', '.join(empty) or 'the file'}")
        return [(split, str(image)) for split, images in content.items() for image in images]
    if path.suffix.lower() not in TABLES:
        raise BadInput(f"{path}: only JSON, {', '.join(TABLES)} are read as an index; save it as one of them")
    table, split = read_table(path), split_of_file(path, path.parent)
    if "image" not in table or ("split" not in table and split is None):
        raise BadInput(f"{path}: {_LAYOUTS}")
    splits = table["split"].fillna("") if "split" in table else [split] * len(table)
    return zip(splits, table["image"].fillna("").astype(str), strict=True)
