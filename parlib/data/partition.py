"""Splits of our own, the same on every machine, and published ones read from plain files."""

import hashlib
import json
import re
from pathlib import Path

from parlib.data.formats import TABLES, read_table
from parlib.errors import BadInput
from parlib.files import read_json

# Words for a split, and what it is called here.
SPLITS = {
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test", "trainval": "trainval"},
}
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
_PICKLE = (
    "import json, pickle; part = pickle.load(open('{name}', 'rb'))['partition']; json.dump({{split: [int(row) + 1 for "
    "row in part[split]] for split in ('train', 'val', 'test')}}, open('index.json', 'w'))"
)


def disjoint(keys, sizes, seed):
    """Split rows so that rows with one key stay together.

    Keys are ordered by the SHA-256 of `seed:key` (no random generator: the same everywhere, for ever) and dealt out to
    the splits in turn; a split is full once it has its size, so it exceeds it by less than one key's rows. It is also
    full where the keys left are just enough for one in each split that follows.

    Args:
        keys: one for each row, str.
        sizes: split -> wanted number of rows; the last split takes the rest.

    Returns:
        split -> list of row numbers, ascending.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    out: dict[str, list[int]] = {split: [] for split in sizes}
    order = sorted(rows, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    splits = list(sizes)
    current = 0
    for dealt, key in enumerate(order):
        while current < len(splits) - 1:
            inside = len(out[splits[current]])
            are_few = len(order) - dealt <= len(splits) - 1 - current
            if inside < sizes[splits[current]] and not (inside and are_few):
                break
            current += 1
        out[splits[current]] += rows[key]
    return {split: sorted(found) for split, found in out.items()}


def deal(keys):
    """Rows of a table without splits -> `disjoint` splits of 70/10/20 %."""
    sizes = {split: max(1, round(share * len(keys))) for split, share in SHARES.items()}
    return disjoint(keys, sizes, seed=0)


def split_name(word):
    """`train`, `val` or `test` for the words people write for them, in any case; another word as it is."""
    return SPLITS.get(word.lower(), word)


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
        split = split_name(word)
        if written.setdefault(split, word.lower()) != word.lower():
            raise BadInput(f"{source}: row {row + 1}: {written[split]} and {word} both mean {split}; use one of them")
        rows.setdefault(split, []).append(row)
    return rows


def index_hash(names):
    """SHA-256 over split -> image names, whatever their order: equal hashes are equal splits."""
    text = json.dumps({split: sorted(names[split]) for split in sorted(names)})
    return hashlib.sha256(text.encode()).hexdigest()


def read_index(path, names):
    """A published index (PETA_ZS, RAP_ZS, your own) as rows of a benchmark.

    It is JSON `{"train": [...], ...}`, CSV `image,split`, or a list of pictures (with labels or without) that the name
    of its file calls train, val or test. Images are named by file name, with folders before it or without, or by
    number, counted from 1 in the order of `names`.

    Returns:
        split -> list of row numbers into `names`.

    Raises:
        BadInput: a pickle (it can run code), another layout, an image that `names` does not have.
    """
    path = Path(path)
    if path.is_file() and path.read_bytes()[:1] == b"\x80":
        raise BadInput(
            f"{path}: pickle files can run code, so they are not read; if you trust this one, convert it with: python "
            f'-c "{_PICKLE.format(name=path.name)}"'
        )
    if path.suffix == ".json":
        content = read_json(path, "split index")
        if not isinstance(content, dict) or not all(isinstance(images, list) for images in content.values()):
            raise BadInput(f"{path}: expected JSON {{split: [image, ...]}}")
        empty = [str(split) for split, images in content.items() if not images]
        if empty or not content:
            raise BadInput(f"{path}: no images in {', '.join(empty) or 'the file'}")
        pairs = [(split, str(image)) for split, images in content.items() for image in images]
    else:
        pairs = _listed(path)
    place = {str(row + 1): row for row in range(len(names))} | {name: row for row, name in enumerate(names)}
    rows = [_place(image, place) for _, image in pairs]
    lost = [image for (_, image), row in zip(pairs, rows, strict=True) if row is None]
    if lost:
        hint = "; numbers count from 1: add 1 to a zero-based index" if "0" in lost else ""
        raise BadInput(f"{path}: {len(lost):,} image(s) are not in the benchmark, first {lost[0]}{hint}")
    split_rows = rows_by_split([split for split, _ in pairs], path)
    return {split: [rows[i] for i in found] for split, found in split_rows.items()}


def _listed(path):
    """(split, image) of each row of a table or list."""
    if path.suffix.lower() not in TABLES:
        raise BadInput(f"{path}: only JSON, {', '.join(TABLES)} are read as an index; save it as one of them")
    table = read_table(path)
    split = split_of_file(path, path.parent)
    if "image" in table and "split" in table:
        return list(zip(table["split"].fillna(""), table["image"].fillna("").astype(str), strict=True))
    if "image" not in table or split is None:
        raise BadInput(
            f"{path}: expected JSON {{split: [image, ...]}}, CSV image,split, or a list of images in a file whose name "
            "has train, val or test in it"
        )
    return [(split, image) for image in table["image"]]


def _place(image, place):
    """The row of an image, by its name or by the part behind some folders; None where it is not there."""
    while image not in place and "/" in image:
        image = image.split("/", 1)[1]
    return place.get(image)
