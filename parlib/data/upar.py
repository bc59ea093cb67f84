"""UPAR: 40 attributes of images of PA-100K, PETA, RAPv2 and Market-1501 in one CSV, beside the folders of the four."""

import re
from dataclasses import replace
from pathlib import Path

from parlib.data import folder
from parlib.data.formats import folded, header, located
from parlib.data.partition import disjoint, read_index
from parlib.errors import BadInput
from parlib.schema import schema

# Where the challenge's download puts its table (github.com/speckean/upar_challenge).
TABLES = ("*.csv", "phase1/train/*.csv", "annotations/phase1/train/*.csv", "data/phase1/train/*.csv")


def read(root, images=True, partition=None):
    """Splits of the tree that holds the table and, as its paths say, `Market1501/`, `PA100k/`, `PETA/`, `RAPv2/`.

    A *domain* is the first folder of an image's path.

    Args:
        partition: `"leave-PETA-out"`: test is that domain, and of the images of the others one in eight is val, by the
            hash of their names; or the path of a published index (`read_index`). None: as `folder` splits the table.
    """
    source = located(root, find, "UPAR: looked for a CSV with its 40 attributes")
    base = Path(root) if Path(root).is_dir() else source.parent
    release = replace(folder.read(base, images, source.absolute(), schema("upar")), name="upar")
    if partition is None:
        return release
    whole, text = release.listing("all"), str(partition)
    domains = [name.split("/")[0] for name in whole.names]
    if left := re.fullmatch("leave-(.+)-out", text):
        if left[1] not in domains or len(set(domains)) < 2:
            raise BadInput(f"{source}: cannot leave out {left[1]!r}; its domains are {', '.join(sorted(set(domains)))}")
        others = [row for row, domain in enumerate(domains) if domain != left[1]]
        sizes = {"val": round(len(others) / 8), "train": 0}
        dealt = disjoint([whole.names[row] for row in others], sizes, 0)
        indices = {split: [others[i] for i in dealt[split]] for split in ("train", "val")}
        indices["test"] = [row for row, domain in enumerate(domains) if domain == left[1]]
        note = f"Test is {left[1]}, trained on the other domains; one in eight of their images is val, by hash."
    else:
        indices, note = read_index(partition, whole.names), f"Partition read from {Path(text).name}."
    splits = {split: whole.rows(rows) for split, rows in indices.items()}
    return replace(release, splits=splits, notes=[*release.notes, note], partition=Path(text).name)


def find(root, depth=0):
    """The first table below `root` whose header has the 40 attributes, or None."""
    known = {folded(name) for name in schema("upar").names}
    tables = (path for pattern in TABLES for path in sorted(Path(root).glob(pattern)))
    return next((path for path in tables if known <= {folded(name) for name in header(path)}), None)
