"""PETA: 19,000 images of 8,699 people, 105 binary attributes (35 in use), five official partitions that leak."""

import re
from pathlib import Path

import numpy as np

from parlib.data.formats import column_order, holds, member, read_mat, texts
from parlib.data.labels import to_labels
from parlib.data.partition import disjoint, index_hash, read_index
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

EXPECTED = {"train": 9_500, "val": 1_900, "test": 7_600, "trainval": 11_400, "all": 19_000}
CUHK_CAVEAT = (
    "CUHK numbers every image as a person of its own, so people can still recur across this split inside CUHK."
)


def read(root, images=True, partition=0, attributes="35"):
    """Splits `train`, `val`, `test` of `PETA.mat` with images repacked as `images/00001.png`.

    Args:
        partition: 0..4, the official random ones, in which more than half of the test images show a person of trainval;
            `"identity-disjoint-seedN"`, ours (not PETA_ZS): whole people are dealt out by hash into the official sizes;
            or the path of a published index as `.json` or `.csv` (`parlib.data.partition.read_index`).
        attributes: `"35"`, those of the literature, or `"105"`.

    Raises:
        BadInput: no `PETA.mat`, or one with other fields; an unknown partition or attribute list.
    """
    if str(attributes) not in ("35", "105"):
        raise BadInput(f"peta has no attribute list {attributes!r}; there are '35' and '105'")
    root = Path(root)
    source = root if root.is_file() else root / "PETA.mat"
    if not source.is_file():
        raise BadInput(f"{root}: no PETA here: looked for PETA.mat, found {holds(root)}")
    peta = member(read_mat(source), "peta", source)
    names = texts(member(peta, "attribute", source))
    data = np.asarray(member(peta, "data", source))
    full = schema("peta105")
    order = column_order(names, full, source)
    if data.ndim != 2 or data.shape[1] != 4 + len(full) or not np.array_equal(data[:, 0], np.arange(1, len(data) + 1)):
        raise BadInput(
            f"{source}: peta.data is {data.shape}; expected 109 columns, the first numbering the images from 1"
        )
    labels = to_labels(data[:, 4:], names, f"{source}, peta.data")[:, order]
    chosen = full if str(attributes) == "105" else schema("peta")
    labels = np.ascontiguousarray(labels[:, [full.index(name) for name in chosen.names]])
    images_ = [f"{number:05d}.png" for number in range(1, len(data) + 1)]
    identity = data[:, 1].astype(int).astype(str).tolist()
    rows, notes, expected = _rows(partition, peta, source, images_, identity)
    splits = {
        split: Listing([images_[i] for i in index], labels[index], [identity[i] for i in index])
        for split, index in rows.items()
    }
    return Release("peta", source.parent, source, chosen, splits, ("images", "."), expected, notes)


def _rows(partition, peta, source, images, identity):
    """(split -> row numbers, notes, expected sizes) of a partition."""
    if str(partition).isdigit():
        official = np.ravel(member(peta, "partion_attribute", source))
        if not 0 <= int(partition) < len(official):
            raise BadInput(f"{source}: no partition {partition}; there are 0..{len(official) - 1}")
        rows = {}
        for split in ("train", "val", "test"):
            part = official[int(partition)]
            numbers = np.ravel(member(part, split, f"{source}, partition {partition}")).astype(int)
            if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= len(images):
                raise BadInput(f"{source}: partition {partition} {split} names images outside 1..{len(images)}")
            rows[split] = (numbers - 1).tolist()
        return rows, [f"Official random partition {partition}: people of its test images are in trainval."], EXPECTED
    ours = re.fullmatch(r"identity-disjoint-seed(\d+)", str(partition))
    if ours:
        wanted = {split: round(len(images) * EXPECTED[split] / EXPECTED["all"]) for split in ("train", "val", "test")}
        rows = disjoint(identity, wanted, int(ours[1]))
        label = f"Partition {partition}, made by parlib: it is not PETA_ZS. {CUHK_CAVEAT}"
    elif Path(partition).suffix:
        rows, label = read_index(partition, images), f"Partition read from {Path(partition).name}."
    else:
        raise BadInput(
            f"peta has no partition {partition!r}; 0..4, 'identity-disjoint-seed0', or a .json or .csv index"
        )
    names = {split: [images[i] for i in index] for split, index in rows.items()}
    return rows, [f"{label} Index SHA-256 {index_hash(names)}."], {}


def leak(release):
    """Share of test images whose identity is in train or val too; `release` from `read_release("peta", ...)`."""
    seen = set(release.listing("trainval").identity)
    test = release.listing("test").identity
    return sum(person in seen for person in test) / len(test)
