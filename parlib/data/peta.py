"""PETA: 19,000 images of 8,699 people, 105 binary attributes (35 in use), five official partitions that leak."""

import itertools
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from parlib.data.formats import located, member, read_mat, some, texts, to_labels
from parlib.data.images import SUFFIXES, files_in, folders_below
from parlib.data.partition import choose
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.files import reading
from parlib.schema import schema

EXPECTED = {"train": 9_500, "val": 1_900, "test": 7_600, "trainval": 11_400, "all": 19_000}
_FIELDS = {"train": "train", "val": "val", "test": "test"}  # of a partition in PETA.mat
# In the order of PETA.mat, where column 3 of `data` numbers them from 1.
SUBSETS = ("3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR")
WITHOUT_PARTITION = "identity-disjoint-seed0"


def read(root, images=True, partition=None, attributes="35"):
    """Splits `train`, `val`, `test` of a tree that is one of these, or lies one folder further down.

    - The ten folders of the release, with images and `Label.txt` in `archive/`. Identity is the sub-dataset and the
      number before the first `_` of a file name.
    - `PETA.mat` and `images/00001.png` ..., as most programs have it.
    - `PETA.mat` beside the ten folders: its rows are their files in the order of names, and person numbers must agree.

    Args:
        partition: see `partition.choose`; None is 0 with a `PETA.mat`, and without `"identity-disjoint-seed0"`, which
            is not PETA_ZS.
        attributes: `"35"`, those of the literature, or `"105"`.
    """
    if str(attributes) not in ("35", "105"):
        raise BadInput(f"peta has no attribute list {attributes!r}; there are '35' and '105'")
    source = located(root, find, "PETA: looked for PETA.mat, or folders as CUHK with Label.txt")
    base = source.parent if source.is_file() else source
    if source == base:
        whole, official, notes = _of_archives(base)
    else:
        whole, official, notes = _of_mat(source, {} if (base / "images").is_dir() else _archives(base))
    chosen = schema("peta105" if str(attributes) == "105" else "peta")
    whole.labels = np.ascontiguousarray(whole.labels[:, : len(chosen)])  # the 35 are the first of the 105
    if partition is None:
        partition = WITHOUT_PARTITION if official is None else 0
    if str(partition).isdigit() and official is None:
        raise BadInput(
            f"{source}: the official partitions are in PETA.mat, which is missing; put it next to the ten folders, or "
            f"use partition={WITHOUT_PARTITION!r} or a list of test images"
        )
    index, names = Path(str(partition)), whole.names
    if names and "/" not in names[0] and index.is_file() and re.search(rb"\bCUHK[/\\]", index.read_bytes()):
        raise BadInput(
            f"{index} lists file names of the release, but this tree has only renumbered images ({names[0]} ...); put "
            "the ten folders next to PETA.mat and remove images/"
        )
    release = Release("peta", base, source, chosen, {"all": whole}, ("images", "."), EXPECTED, notes)
    release = choose(release, partition, official, _FIELDS)
    if str(partition).startswith("identity-disjoint"):
        cuhk = "people can recur inside CUHK, where every image is a person of its own"
        release.notes[0] = f"It is not PETA_ZS, and {cuhk}. {release.notes[0]}"
    return release


def find(root, depth=1):
    """PETA.mat, or else the folder of the ten folders, in `root` or `depth` levels down, or None."""
    folders = folders_below(root, min(depth, 1))
    files = [folder / "PETA.mat" for folder in folders if (folder / "PETA.mat").is_file()]
    return next(iter(files or filter(_archives, folders)), None)


def _archives(base):
    """Sub-dataset -> (its folder of images, its Label.txt), of those that are there, in the order of PETA.mat."""
    found: dict[str, tuple[Path, Path]] = {}
    for subset in SUBSETS:
        places = [place for place in (base / subset / "archive", base / subset) if place.is_dir()]
        labels = [place / "Label.txt" for place in places if (place / "Label.txt").is_file()]
        if labels:
            found[subset] = places[0], labels[0]
    return found


def _images(base, archives):
    """(path below `base`, sub-dataset, person) of each picture in the ten folders, in the order of PETA.mat."""
    for subset, (folder, _) in archives.items():
        for name in sorted(files_in(folder), key=str.lower):
            if name.lower().endswith(SUFFIXES):
                yield f"{folder.relative_to(base).as_posix()}/{name}", subset, _person(name)


def _person(name):
    """A file name, or the first word of a line in Label.txt, -> the number of its person."""
    return PurePosixPath(name).stem.split("_")[0].lstrip("0") or "0"


def _of_mat(source, archives):
    """(all rows with 105 labels, the official partitions, notes) of PETA.mat."""
    peta = member(read_mat(source), "peta", source)
    attributes = texts(member(peta, "attribute", source))
    data = np.asarray(member(peta, "data", source))
    notes: list[str] = []
    width = 4 + len(attributes)
    if data.ndim != 2 or data.shape[1] != width or not np.array_equal(data[:, 0], np.arange(1, len(data) + 1)):
        raise BadInput(
            f"{source}: peta.data is {data.shape}; expected {width} columns, the first numbering the images from 1"
        )
    table = pd.DataFrame(data[:, 4:], columns=attributes)
    labels = to_labels(table, schema("peta105"), f"{source}, peta.data", notes)
    numbers, identity, subsets, people = data[:, :4].astype(int).T
    names = [f"{number:05d}.png" for number in numbers]
    if archives:
        found = list(_images(source.parent, archives))
        wanted = [(SUBSETS[subset - 1], str(person)) for subset, person in zip(subsets, people, strict=True)]
        for row, (image, (subset, person)) in enumerate(itertools.zip_longest(found, wanted, fillvalue=("none", ""))):
            if image[1:] != (subset, person):
                raise BadInput(
                    f"{source.parent} has {len(found):,} images, {source} expects {len(wanted):,}; image {row + 1} is "
                    f"{image[0]}, expected person {person} of {subset}; unpack the release again"
                )
        names = [image for image, *_ in found]
        notes.append(
            "Images are those of the ten folders. Which row of PETA.mat an image of a person is follows the order of "
            "file names; the labels are the same for all images of a person."
        )
    return Listing(names, labels, list(map(str, identity))), np.ravel(member(peta, "partion_attribute", source)), notes


def _of_archives(base):
    """(all rows with 105 labels, no official partitions, notes) of the ten folders."""
    known, archives = schema("peta105").names, _archives(base)
    people = {subset: _label_file(label, known) for subset, (_, label) in archives.items()}
    found = list(_images(base, archives))
    rows = [row for row in found if row[2] in people[row[1]]]
    words_of = [people[subset][person] for _, subset, person in rows]  # attributes of each image
    unlabelled = [image for image, subset, person in found if person not in people[subset]]
    unknown = Counter(word for words in words_of for word in words.difference(known))
    notes = []
    if unlabelled:
        notes.append(f"Left out: {len(unlabelled):,} images without a line in Label.txt, first {unlabelled[0]}.")
    if unknown:
        counted = some([f"{word} {count:,}" for word, count in unknown.most_common()])
        notes.append(f"Left out, not among the 105 attributes (images): {counted}.")
    if len(archives) < len(SUBSETS):
        notes.append(f"Not here: {', '.join(subset for subset in SUBSETS if subset not in archives)}.")
    labels = np.array([[name in words for name in known] for words in words_of], np.int8).reshape(-1, len(known))
    identity = [f"{subset}/{person}" for _, subset, person in rows]
    return Listing([image for image, *_ in rows], labels, identity), None, notes


def _label_file(path, known):
    """Person -> set of the attributes that are 1, from the Label.txt of a sub-dataset."""
    with reading(path, "label file of PETA", "take it from the release again"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    people: dict[str, set[str]] = {}
    for row, line in enumerate(lines, 1):
        key, *words = line.split() or [""]
        if words and not set(words) & set(known):
            raise BadInput(f"{path}: row {row}: {words[0]!r} is no attribute of PETA; take the file of the release")
        if key and people.setdefault(_person(key), set(words)) != set(words):
            raise BadInput(f"{path}: row {row}: {key} appears twice with different attributes; remove one row")
    return people


def leak(release):
    """Share of test images whose identity is in train or val too; `release` from `read_release("peta", ...)`."""
    return float(np.isin(release.listing("test").identity, release.listing("trainval").identity).mean())
