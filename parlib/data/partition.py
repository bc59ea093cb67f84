"""Splits of our own, the same on every machine, and published ones read from plain files."""

import hashlib
import json
from pathlib import Path

from parlib.data.formats import read_table
from parlib.errors import BadInput
from parlib.files import read_json


def disjoint(keys, sizes, seed):
    """Split rows so that rows with one key stay together.

    Keys are ordered by the SHA-256 of `seed:key` (no random generator: the same everywhere, for ever) and dealt out to
    the splits in turn; a split is full once it has its size, so it exceeds it by less than one key's rows.

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
    for key in order:
        while current < len(splits) - 1 and len(out[splits[current]]) >= sizes[splits[current]]:
            current += 1
        out[splits[current]] += rows[key]
    return {split: sorted(found) for split, found in out.items()}


def index_hash(names):
    """SHA-256 over split -> image names, whatever their order: equal hashes are equal splits."""
    text = json.dumps({split: sorted(names[split]) for split in sorted(names)})
    return hashlib.sha256(text.encode()).hexdigest()


def _is_image(value):
    return type(value) in (int, str)


def read_index(path, names):
    """A published index (PETA_ZS, RAP_ZS, your own) from JSON `{"train": [...], ...}` or CSV `image,split`.

    Images are named by file name or by number, counted from 1 in the order of `names`.

    Returns:
        split -> list of row numbers into `names`.

    Raises:
        BadInput: a pickle (reading one runs the code in it), another layout, an image that `names` does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"no split index {path}: No such file or directory")
    with open(path, "rb") as file:
        pickled = file.read(1) == b"\x80"
    if path.suffix not in (".json", ".csv") or pickled:
        raise BadInput(
            f"{path}: only .json and .csv indices are read, as a pickle runs the code inside it: where you trust it, "
            'save json.dumps({"train": [...], "val": [...], "test": [...]}), images counted from 1'
        )
    if path.suffix == ".json":
        found = read_json(path, "split index (expected JSON {split: [image, ...]})", {str: [_is_image]})
    else:
        table = read_table(path)
        if not {"image", "split"} <= set(table.columns) or table[["image", "split"]].isna().any(axis=None):
            raise BadInput(f"{path}: expected JSON {{split: [image, ...]}} or CSV image,split with both in each row")
        found = {str(split): group["image"].tolist() for split, group in table.groupby("split", sort=False)}
    place = {name: row for row, name in enumerate(names)}
    place.update({str(row + 1): row for row in range(len(names)) if str(row + 1) not in place})
    out = {}
    for split, images in found.items():
        lost = [image for image in images if str(image) not in place]
        if lost:
            hint = "; numbers count from 1: add 1 to a zero-based index" if "0" in map(str, lost) else ""
            raise BadInput(f"{path}: {len(lost)} image(s) of {split} are not in the benchmark, first {lost[0]!r}{hint}")
        out[split] = [place[str(image)] for image in images]
    if not out or not all(out.values()):
        raise BadInput(f"{path}: no images in {', '.join(s for s in out if not out[s]) or 'the file'}")
    return out
