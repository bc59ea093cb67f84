"""People found by an object detector of transformers, and linked from frame to frame by the overlap of their boxes."""

import itertools
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from tqdm.auto import tqdm

from parlib.data.formats import some
from parlib.errors import BadInput
from parlib.files import digest, json_text, only_one, reading, write_atomic
from parlib.use.boxes import MIN_SCORE, PERSON
from parlib.use.clips import Clip, Frame
from parlib.use.crops import Crop, Images, find_images, listed
from parlib.use.people import clip_of

PART = 64  # pictures whose boxes are kept together
OVERLAP = 0.3  # intersection over union from which a box continues a track
LOST = 25  # frames without a box after which a track has ended


def detect(images: Images, detector: str, out: str | os.PathLike, min_score: float | None = None) -> Path:
    """Write the people that a detector finds as a CSV file, for `gather_people`: tracks of a clip, or boxes.

    Parts are kept beside `out` until it is written, so that a stopped call resumes; where `out` is there, it is kept.
    Pictures that cannot be read are counted in a warning.

    Args:
        images: a clip, or files, folders and patterns.
        detector: folder or hub id of an object detector of transformers, with weights in safetensors.
        out: columns `image` or `frame` (from 0), `x, y, width, height` in pixels, `score`, and `track_id` for a clip.
        min_score: the least score of a box, default `MIN_SCORE`.

    Raises:
        BadInput: no such detector, it knows no class that is a person, or it finds nobody.
    """
    out, least = Path(out), MIN_SCORE if min_score is None else min_score
    if out.exists():
        warnings.warn(f"{out} is there, so the detector is not run again", stacklevel=2)
        return out
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
        for i in tqdm(range(0, len(crops), PART), desc="detect", unit="part", disable=None):
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
            have, pairs = list(tracks), zip(*linear_sum_assignment(-overlap), strict=True)
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
