"""One answer per person: whose crop is which, how many are taken, and how their scores become one."""

import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit, logit

from parlib.data.folder import ROLES, find
from parlib.data.formats import read_table, some
from parlib.errors import BadInput
from parlib.use.boxes import read_boxes
from parlib.use.clips import SUFFIXES, Clip, Frame
from parlib.use.crops import Crop, Images, by_name, crops_of, find_images, gather, listed, spelling

MOST = 32  # crops of a person that are answered
SHOWN = 3  # crops named as those that decided
_MARKET = re.compile(r"(-1|\d{4})_c\d")  # file names of Market-1501 and what is laid out like it
_NOBODY = ("", "-1", "0000")  # unknown; in Market-1501 wrong detections and people who are in no query


def weight(image: Image.Image) -> float:
    """How much a crop counts among those of its person: the standard deviation of the Laplacian at 64 x 128 px, grey.

    Blur lowers it, and enlarging a small crop blurs it. Chosen on val among powers of sharpness and size, see
    `tools/people.py`.
    """
    grey = np.asarray(image.convert("L").resize((64, 128)), np.float32)
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return round(max(float(edges.std()), 1e-3), 6)  # never 0: a person may have flat crops only


def gather_people(
    images: Images,
    tracks: str | os.PathLike | None = None,
    by: str | None = None,
    boxes: str | os.PathLike | None = None,
    first_frame: int | None = None,
    **which: Any,
) -> list[Crop]:
    """Everything to predict as `Crop`s; with `tracks` or `by` they name their person. Warnings say what is left out.

    Args:
        images: what `gather` takes, or one clip with its tracks.
        tracks: file of boxes with ids (`read_boxes`): MOT text, a table, or COCO's JSON.
        by: without tracks, `identity`: a table in the folder with columns of pictures and `identity`, or else names
            as in Market-1501; or `folder`: a folder per person.
        boxes: file of boxes without ids (`read_boxes`).
        first_frame: what the tracks of a clip call its first frame; default is 0 if a box is there, otherwise 1.
        which: `min_score` and `category` of `read_boxes`.

    Raises:
        BadInput: as `Clip`, `read_boxes`, `gather`; nobody's identity is known.
    """
    if tracks and (boxes or by):
        raise BadInput("--tracks says where people are and who they are: it goes without --boxes and --by")
    images = listed(images)
    if tracks is None:
        crops = gather(images, boxes, **which)
        return crops if by is None else _identified(crops, images, by)
    found = read_boxes(tracks, tracked=True, **which)
    if not (path := clip_of(images)):
        return crops_of(find_images(images), found, True)
    clip, numbers = Clip(path), [re.findall(r"\d+", os.path.splitext(box.image)[0])[-1:] for box in found]
    if [] in numbers:
        box = found[numbers.index([])]
        raise BadInput(f"{box.row}: {box.image!r} is no number of a frame of {clip}")
    found = [box._replace(image=str(int(number))) for box, (number,) in zip(found, numbers, strict=True)]
    first = min(1, *(int(box.image) for box in found)) if first_frame is None else first_frame
    if first_frame is None and first == 1:
        warnings.warn(f"{tracks}: no box is in frame 0, so its frames count from 1 (--first-frame)", stacklevel=2)
    crops = crops_of([(str(number + first), Frame(clip, number)) for number in range(clip.count)], found, True)
    times = [clip.seconds(int(crop.name) - first) for crop in crops]
    name = f"{os.path.basename(path)} frame"
    return [c._replace(name=f"{name} {c.name} ({time:.2f} s)") for c, time in zip(crops, times, strict=True)]


def clip_of(images: Images) -> str | None:
    """The file where images are one clip, by its name, or a list of one; else None."""
    first, *others = map(str, listed(images) or [""])
    return first if not others and first.lower().endswith(SUFFIXES) else None


def _identified(crops, images, by):
    """Crops with the person that `by` says; one of whom nobody knows is a person of its own."""
    who = {}
    if by == "folder":
        who = {i: os.path.dirname(crop.name) for i, crop in enumerate(crops)}
    elif by == "identity":
        index = by_name([crop[:2] for crop in crops])
        for path in (path for image in images if os.path.isdir(image) for path in find(image)):
            frame = read_table(path)
            plain = {column.strip().lower(): column for column in frame}
            found = [[plain[one] for one in ROLES[role] if one in plain] for role in ("picture", "identity")]
            if all(found):
                pairs = zip(*(frame[names[0]].fillna("").astype(str).str.strip() for names in found), strict=True)
                who |= {index[spelling(name)]: person for name, person in pairs if spelling(name) in index}
        names = {i: _MARKET.match(os.path.basename(crop.name)) for i, crop in enumerate(crops)}
        who = who or {i: match[1] for i, match in names.items() if match}
    else:
        raise BadInput(f"by {by!r} is unknown: take identity or folder")
    who = {i: person for i, person in who.items() if person not in _NOBODY}
    if not who:
        known = "a table with columns image and identity, or names as 0002_c1s1_000451_03.jpg"
        raise BadInput(f"by {by}: no image's person is known; it takes {known if by == 'identity' else 'sub-folders'}")
    if alone := [crop.name for i, crop in enumerate(crops) if i not in who]:
        unknown = f"{len(alone)} of {len(crops)} images show nobody known, and are answered each by itself"
        warnings.warn(f"{unknown}: {some(alone, 3)}", stacklevel=3)
    return [crop._replace(identity=who.get(i, crop.name)) for i, crop in enumerate(crops)]


def sampled(crops: Sequence[Crop], most: int = MOST) -> list[Crop]:
    """At most so many crops of each person: the largest of each of `most` equal stretches; a warning counts."""
    if most < 1:
        raise BadInput(f"{most} crops of a person: take one or more")
    identities = pd.Series([crop.identity for crop in crops])
    of = identities.groupby(identities, sort=False).indices
    areas = [np.prod(crop.box[3:5]) if crop.box else 0 for crop in crops]
    stretches = [part for rows in of.values() for part in np.array_split(rows, min(most, len(rows)))]
    kept = sorted(max(part, key=areas.__getitem__) for part in stretches)
    if len(kept) < len(crops):
        many = f"{len(kept):,} of {len(crops):,} crops of {len(of):,} people are answered"
        warnings.warn(f"{many}: at most {most} each (--most)", stacklevel=2)
    return [crops[i] for i in kept]


def combined(
    parts: Iterable[list[dict[str, Any]]], answers: Callable[[np.ndarray], list[dict[str, Any]]]
) -> Iterator[list[dict[str, Any]]]:
    """Crops of a `Job` as people, one dict each, in one part when the last crop has passed; only sums are kept.

    The score of a person is the sigmoid of the mean logit of the crops, weighted by `weight`.

    Args:
        parts: lists of crops with `person`, and `weight` and `attributes`, or `error`.
        answers: probabilities (n, A) -> n dicts of attributes, as `Job.answers`.

    Yields:
        One list of dicts: `person`; `crops`, how many count; `left_out`, how many could not be read; `first`, `last`,
        `decided`: names of crops, those of `decided` with their share of the weight, heaviest first; and `attributes`,
        or `error` where no crop could be read.
    """
    found: dict[str, dict[str, Any]] = {}
    sums: dict[str, tuple[float, Any]] = {}  # person -> (weights, weighted logits (A,)) of the crops so far
    for crop in itertools.chain.from_iterable(parts):
        who, start = crop["person"], {"crops": 0, "left_out": 0, "first": None, "last": None, "decided": []}
        person = found.setdefault(who, {"person": who, **start})
        if "error" in crop:
            person["left_out"] += 1
            person.setdefault("error", crop["error"])
            continue
        scores = np.array([answer["probability"] for answer in crop["attributes"].values()])
        total, logits = sums.get(who, (0.0, 0.0))
        sums[who] = total + crop["weight"], logits + crop["weight"] * logit(scores.clip(1e-6, 1 - 1e-6))
        person["crops"] += 1
        person["first"], person["last"] = person["first"] or crop["image"], crop["image"]
        decided = [*person["decided"], {"image": crop["image"], "weight": crop["weight"]}]
        person["decided"] = sorted(decided, key=lambda one: -one["weight"])[:SHOWN]
    if sums:
        scores = expit(np.stack([logits / total for total, logits in sums.values()]))
        for who, attributes in zip(sums, answers(scores), strict=True):
            found[who].pop("error", None)
            found[who]["attributes"] = attributes
            for one in found[who]["decided"]:
                one["weight"] = round(one["weight"] / sums[who][0], 4)
    yield list(found.values())
