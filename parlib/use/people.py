"""People: found by an object detector, followed by a tracker or known by a table; and one answer for each.

Which crops are whose, how many are taken, and how their scores become one.
"""

import itertools
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logit
from tqdm.auto import tqdm

from parlib.data.folder import ROLES, find
from parlib.data.formats import read_table, some
from parlib.errors import BadInput
from parlib.files import digest, json_text, only_one, reading, write_atomic
from parlib.use.boxes import MIN_SCORE, PERSON, read_boxes
from parlib.use.clips import SUFFIXES, Clip, Frame
from parlib.use.crops import Crop, Images, by_name, crops_of, find_images, gather, listed, spelling

PART = 64  # pictures whose boxes are kept together
OVERLAP = 0.3  # intersection over union from which a box continues a track
LOST = 25  # frames without a box after which a track has ended
MOST = 32  # crops of a person that are answered
SHOWN = 3  # crops named as those that decided
_MARKET = re.compile(r"(-1|\d{4})_c\d")  # file names of Market-1501 and what is laid out like it
Person = dict[str, Any]  # an answer, see `Job.each_crop` and `combined`
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
    min_score: float | None = None,
    category: str | None = None,
    first_frame: int | None = None,
    boxes: str | os.PathLike | None = None,
) -> list[Crop]:
    """Everything to predict as `Crop`s; with `tracks` or `by` they name their person. Warnings say what is left out.

    Args:
        images: what `gather` takes, or one clip with its tracks.
        tracks: file of boxes with ids (`read_boxes`): MOT text, a table, or COCO's JSON.
        by: without tracks, `identity`: a table in the folder with columns of pictures and `identity`, or else names
            as in Market-1501; or `folder`: a folder per person.
        min_score, category: see `read_boxes`.
        first_frame: what the tracks of a clip call its first frame; default is 0 if a box is there, otherwise 1.
        boxes: file of boxes without ids (`read_boxes`), where neither `tracks` nor `by` is given.

    BadInput as of `Clip`, `read_boxes`, `gather`, or where nobody's identity is known.
    """
    if tracks and (boxes or by):
        raise BadInput("--tracks says where people are and who they are: it goes without --boxes and --by")
    if boxes and by:
        raise BadInput(f"by {by} is for pictures that show one person each: it goes without --boxes")
    images = listed(images)
    if tracks is None:
        crops = gather(images, boxes, min_score, category)
        return crops if by is None else _identified(crops, images, by)
    found = read_boxes(tracks, min_score, category, tracked=True)
    if not (path := clip_of(images)):
        return crops_of(find_images(images), found, True)
    clip = Clip(path)
    numbers = [re.findall(r"\d+", os.path.splitext(box.image)[0])[-1:] for box in found]
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
        for path in (path for image in images if os.path.isdir(str(image)) for path in find(image)):
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
    parts: Iterable[list[Person]], answers: Callable[[np.ndarray], list[dict[str, Any]]]
) -> Iterator[list[Person]]:
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
    found: dict[str, Person] = {}
    sums: dict[str, tuple[float, Any]] = {}  # person -> (weights, weighted logits (A,)) of the crops so far
    for crop in itertools.chain.from_iterable(parts):
        who = crop["person"]
        person = found.setdefault(who, Person(person=who, crops=0, left_out=0, first=None, last=None, decided=[]))
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


def people_table(people: Sequence[Person], names: Sequence[str]) -> pd.DataFrame:
    """People of several crops (`combined`) as one row each.

    Columns: those of the dict, with `decided` as names joined by "; "; `yes`, the attributes decided yes, and
    `conflict`, the exclusive sets that they break, joined by ", "; and `NAME_probability` for each of the A `names`.
    """
    rows = []
    for person in people:
        answers = person.get("attributes") or {}
        yes = ", ".join(name for name, answer in answers.items() if answer["decision"])
        conflicts = ", ".join(dict.fromkeys(a["conflict"] for a in answers.values() if a["conflict"])) or None
        row = {**person, "decided": "; ".join(one["image"] for one in person["decided"])}
        row |= {"yes": yes if answers else None, "conflict": conflicts}
        rows.append(row | {f"{name}_probability": answer["probability"] for name, answer in answers.items()})
    types = {"person": "str", "crops": int, "left_out": int, "first": "str", "last": "str", "decided": "str"}
    types |= {"yes": "str", "conflict": "str", "error": "str"} | {f"{name}_probability": float for name in names}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def detect(
    images: Images, detector: str, out: str | os.PathLike, min_score: float | None = None, progress: bool = True
) -> Path:
    """Write the people that a detector finds as a CSV file, for `gather_people`: tracks of a clip, or boxes.

    Parts are kept beside `out` until it is written, so that a stopped call resumes. Pictures that cannot be read are
    counted in a warning.

    Args:
        images: a clip, or files, folders and patterns.
        detector: folder or hub id of an object detector of transformers, with weights in safetensors.
        out: columns `image` or `frame` (from 0), `x, y, width, height` in pixels, `score`, and `track_id` for a clip.
        min_score: the least score of a box, default `MIN_SCORE`.

    BadInput where there is no such detector, it knows no class that is a person, it finds nobody, or `out` exists.
    """
    out, least = Path(out), MIN_SCORE if min_score is None else min_score
    if out.exists():
        raise BadInput(f"{out} exists already: take it with --tracks or --boxes, or remove it")
    images = listed(images)
    listing, path = find_images(images), clip_of(images)
    about = [(file, os.stat(file).st_size, os.stat(file).st_mtime_ns) for _, file in listing if os.path.exists(file)]
    clip = Clip(path) if path else None
    frames = [(str(number), Frame(clip, number)) for number in range(clip.count)] if clip else listing
    crops = [Crop(*named) for named in frames]
    folder = out.with_name(f".{out.name}.{digest([about, detector, least])[:12]}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(out, folder / "lock"):
        found: list[list[list[float]] | None] = []  # of each picture; None where it cannot be read
        find = None
        for i in tqdm(range(0, len(crops), PART), desc="detect", unit="part", disable=None if progress else True):
            part = folder / f"part-{i:08d}.json"
            if not part.is_file():
                find = find or _detector(detector, least)
                write_atomic(part, json_text([find(crop) for crop in crops[i : i + PART]], None))
            with reading(part, "part of a detection", "remove it and run the same again"):
                found += json.loads(part.read_text(encoding="utf-8"))
        if unread := [crop.name for crop, boxes in zip(crops, found, strict=True) if boxes is None]:
            warnings.warn(f"{len(unread)} of {len(crops)} pictures cannot be read: {some(unread, 10)}", stacklevel=2)
        rows = [(crop.name, *box) for crop, boxes in zip(crops, found, strict=True) for box in boxes or ()]
        if not rows:
            raise BadInput(f"{detector} finds nobody in {len(crops)} pictures with a score of {least:g} (--min-score)")
        table = pd.DataFrame(rows, columns=["image", "x", "y", "width", "height", "score"])
        if clip:
            numbers = itertools.chain.from_iterable(linked([boxes or [] for boxes in found]))
            table = table.rename(columns={"image": "frame"}).assign(track_id=list(numbers))
        write_atomic(out, table.round(3).to_csv(index=False))
    shutil.rmtree(folder, ignore_errors=True)
    return out


def linked(frames: Sequence[Sequence[Sequence[float]]]) -> list[list[int]]:
    """The track of each box of `frames` (left, top, width, height, and whatever follows), numbers from 1.

    Frame by frame the pairs of least total 1 - overlap are linked (Hungarian method). A track goes on where its last
    box overlaps a new one by `OVERLAP`, and ends after `LOST` frames without one. It knows no motion and no looks:
    whoever is hidden for long, or crosses someone in a crowd, may get a new number.
    """
    tracks: dict[int, tuple[int, Sequence[float]]] = {}  # number -> (its last frame, its last box)
    out, new = [], itertools.count(1)
    for at, boxes in enumerate(frames):
        tracks = {number: last for number, last in tracks.items() if at - last[0] <= LOST}
        numbers: dict[int, int] = {}  # of the boxes by their place
        if tracks and boxes:
            overlap = _overlap(np.array([box[:4] for _, box in tracks.values()]), np.array([box[:4] for box in boxes]))
            have = list(tracks)
            pairs = zip(*linear_sum_assignment(-overlap), strict=True)
            numbers = {column: have[row] for row, column in pairs if overlap[row, column] >= OVERLAP}
        out.append([numbers.get(i) or next(new) for i in range(len(boxes))])
        tracks |= {number: (at, box) for number, box in zip(out[-1], boxes, strict=True)}
    return out


def _overlap(a, b):
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, :2] + a[:, None, 2:], b[:, :2] + b[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    return shared / (a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared)


def _detector(name, least):
    """Crop -> [[left, top, width, height, score]] of the people in its picture, None where it cannot be read."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    with reading(name, "object detector", "give the folder or hub id of one, with weights in safetensors"):
        processor = AutoImageProcessor.from_pretrained(name)
        model = AutoModelForObjectDetection.from_pretrained(name, use_safetensors=True).eval()
    names = model.config.id2label
    people = [number for number, label in names.items() if label.casefold() in PERSON]
    if not people:
        raise BadInput(f"detector {name} knows no class that is a person; it knows {some([*names.values()], 10)}")
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    @torch.no_grad()
    def find(crop):
        try:
            image = crop.frame()
        except BadInput:
            return None
        inputs, sizes = processor(images=image, return_tensors="pt").to(model.device), [image.size[::-1]]
        (found,) = processor.post_process_object_detection(model(**inputs), least, target_sizes=sizes)
        rows = torch.cat([found["boxes"], found["scores"][:, None]], 1).tolist()
        kept = [row for row, label in zip(rows, found["labels"].tolist(), strict=True) if label in people]
        return [[x, y, right - x, bottom - y, score] for x, y, right, bottom, score in kept]

    return find
