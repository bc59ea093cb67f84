"""One answer per person: whose crop is which, how many are taken, and how their scores become one."""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import expit, logit

from parlib.data.folder import ROLES, find
from parlib.data.formats import read_table
from parlib.errors import BadInput
from parlib.use.boxes import listed, read_boxes
from parlib.use.clips import SUFFIXES, Clip, Frame
from parlib.use.crops import Crop, Images, by_name, crops_of, find_images, gather, spelling

MOST = 32  # crops of a person that are answered
SHOWN = 3  # crops named as those that decided
_SCALE = (64, 128)  # px, at which sharpness is measured
_MARKET = re.compile(r"(-1|\d{4})_c\d")  # file names of Market-1501 and what is laid out like it
_NOBODY = ("", "-1", "0000")  # unknown; in Market-1501 wrong detections and people who are in no query


def weight(image: Image.Image) -> float:
    """How much a crop counts among those of its person: the standard deviation of the Laplacian at 64 x 128 px, grey.

    A blurred crop has little, and so has a small one, which is blurred by enlarging it. Chosen on val among powers of
    sharpness and size, see `tools/people.py`.
    """
    grey = np.asarray(image.convert("L").resize(_SCALE), np.float32)
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return round(max(float(edges.std()), 1e-3), 6)  # never 0: a person may have flat crops only


def gather_people(
    images: Images,
    tracks: str | os.PathLike | None = None,
    by: str | None = None,
    min_score: float | None = None,
    category: str | None = None,
    first_frame: int | None = None,
) -> list[Crop]:
    """Everything to predict as `Crop`s that name their person, from a clip or frames with tracks, or from a folder.

    Left out, counted and named in warnings: boxes outside their frame or behind the end of the clip, and those that
    `read_boxes` leaves out, such as of two people with one id in one frame. Boxes over the edge are cut there.

    Args:
        images: one clip, or what `gather` takes.
        tracks: file of boxes with ids (`read_boxes`): MOT text, a table, or COCO's JSON.
        by: without tracks, `identity`: a table in the folder with columns of pictures and `identity`, or else names
            as in Market-1501; or `folder`: a folder per person.
        min_score, category: see `read_boxes`.
        first_frame: what the tracks of a clip call its first frame; default is 0 if a box is there, otherwise 1.

    Raises:
        BadInput: as `Clip`, `read_boxes`, `gather`; tracks without ids; nobody's identity is known.
    """
    if tracks is None:
        return _identified(gather(images), images, by)
    boxes = read_boxes(tracks, min_score, category, tracked=True)
    paths: Any = [images] if isinstance(images, str | os.PathLike) else images
    if not is_clip(images):
        return crops_of(find_images(paths), boxes, True)
    clip, numbers = Clip(paths[0]), [re.findall(r"\d+", os.path.splitext(box.image)[0]) for box in boxes]
    for box, digits in zip(boxes, numbers, strict=True):
        if not digits:
            raise BadInput(f"{box.row}: {box.image!r} is no number of a frame of {clip}")
    boxes = [box._replace(image=str(int(digits[-1]))) for box, digits in zip(boxes, numbers, strict=True)]
    first = min(1, *(int(box.image) for box in boxes)) if first_frame is None else first_frame
    if first_frame is None and first == 1:
        warnings.warn(f"{tracks}: no box is in frame 0, so its frames count from 1 (--first-frame)", stacklevel=2)
    name = f"{os.path.basename(clip.path)} frame"
    frames = [(str(number + first), Frame(clip, number)) for number in range(clip.count)]
    times = {number: f"({clip.seconds(i):.2f} s)" for i, (number, _) in enumerate(frames)}
    return [crop._replace(name=f"{name} {crop.name} {times[crop.name]}") for crop in crops_of(frames, boxes, True)]


def is_clip(images: Images) -> bool:
    """Whether this is one file that is called as clips are."""
    return isinstance(images, str | os.PathLike) and os.fspath(images).lower().endswith(SUFFIXES)


def _identified(crops, images, by):
    """Crops with the person that `by` says; one of whom nobody knows is a person of its own."""
    places: Any = [images] if isinstance(images, str | os.PathLike | Image.Image) else images
    who: dict[int, str] = {}
    if by == "folder":
        who = {i: os.path.dirname(crop.name) for i, crop in enumerate(crops)}
    elif by == "identity":
        index, tables = by_name([crop[:2] for crop in crops]), [t for p in places if os.path.isdir(p) for t in find(p)]
        for frame in map(read_table, tables):
            plain = {str(column).strip().lower(): column for column in frame}
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
        warnings.warn(f"{unknown}{listed(':', alone, 3)}", stacklevel=3)
    return [crop._replace(identity=who.get(i, crop.name)) for i, crop in enumerate(crops)]


def sampled(crops: Sequence[Crop], most: int = MOST) -> list[Crop]:
    """At most so many crops of each person: the largest of each of `most` equal stretches; a warning counts."""
    if most < 1:
        raise BadInput(f"{most} crops of a person: take one or more")
    of: dict[str, list[int]] = {}
    for i, crop in enumerate(crops):
        of.setdefault(crop.identity, []).append(i)
    kept = []
    for rows in of.values():
        for stretch in np.array_split(rows, min(most, len(rows))):
            kept.append(max(stretch, key=lambda i: np.prod((crops[i].box or (0,) * 5)[3:5])))
    if len(kept) < len(crops):
        words = (
            f"{len(kept):,} of {len(crops):,} crops of {len(of):,} people are answered: at most {most} each (--most)"
        )
        warnings.warn(words, stacklevel=2)
    return [crops[i] for i in sorted(kept)]


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
    for crop in (crop for part in parts for crop in part):
        start = {"person": crop["person"], "crops": 0, "left_out": 0, "first": None, "last": None, "decided": []}
        person = found.setdefault(crop["person"], {**start, "sum": 0.0, "total": 0.0})
        if "error" in crop:
            person["left_out"] += 1
            person.setdefault("error", crop["error"])
            continue
        scores = np.array([answer["probability"] for answer in crop["attributes"].values()])
        person["sum"] = person["sum"] + crop["weight"] * logit(scores.clip(1e-6, 1 - 1e-6))
        person["total"] += crop["weight"]
        person["crops"] += 1
        person["first"], person["last"] = person["first"] or crop["image"], crop["image"]
        decided = [*person["decided"], {"image": crop["image"], "weight": crop["weight"]}]
        person["decided"] = sorted(decided, key=lambda one: -one["weight"])[:SHOWN]
    answered = [person for person in found.values() if person["crops"]]
    if answered:
        scores = expit(np.stack([person["sum"] / person["total"] for person in answered]))
        for person, attributes in zip(answered, answers(scores), strict=True):
            person.pop("error", None)
            person["attributes"] = attributes
            for one in person["decided"]:
                one["weight"] = round(one["weight"] / person["total"], 4)
    yield [{name: value for name, value in one.items() if name not in ("sum", "total")} for one in found.values()]
