"""People found by an object detector of transformers, and linked from frame to frame by the overlap of their boxes."""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from tqdm.auto import tqdm

from parlib.errors import BadInput
from parlib.files import digest, json_text, only_one, reading, write_atomic
from parlib.use.boxes import MIN_SCORE, PERSON, listed
from parlib.use.clips import Clip, Frame
from parlib.use.crops import Crop, find_images
from parlib.use.people import is_clip

PART = 64  # pictures whose boxes are kept together
OVERLAP = 0.3  # intersection over union from which a box continues a track
LOST = 25  # frames without a box after which a track has ended


def detect(
    images: str | os.PathLike | Iterable[str | os.PathLike],
    detector: str,
    out: str | os.PathLike,
    min_score: float | None = None,
    progress: bool = True,
) -> Path:
    """Write the people that a detector finds as a CSV file, for `gather` (images) or `gather_people` (a clip).

    Parts are kept beside `out` until it is written, so that a stopped call resumes. Pictures that cannot be read are
    counted in a warning.

    Args:
        images: a clip, or files, folders and patterns.
        detector: folder or hub id of an object detector of transformers, with weights in safetensors.
        out: columns `image` or `frame` (from 0), `x, y, width, height` in pixels, `score`, and `track_id` for a clip.
        min_score: the least score of a box, default `MIN_SCORE`.

    Raises:
        BadInput: no such detector, it knows no class that is a person, it finds nobody, or `out` exists.
    """
    out, least = Path(out), MIN_SCORE if min_score is None else min_score
    if out.exists():
        raise BadInput(f"{out} exists already: take it with --tracks or --boxes, or remove it")
    listing = find_images([images] if isinstance(images, str | os.PathLike) else images)
    about = [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for _, path in listing if os.path.exists(path)]
    if is_clip(images):
        clip = Clip(listing[0][1])
        crops = [Crop(str(number), Frame(clip, number)) for number in range(clip.count)]
    else:
        crops = [Crop(name, path) for name, path in listing]
    folder = out.with_name(f".{out.name}.{digest([about, detector, least])[:12]}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(out, folder / "lock"):
        found: list[list[list[float]] | None] = []  # of each picture; None where it cannot be read
        find = None
        for i in tqdm(range(0, len(crops), PART), desc="detect", unit="part", disable=None if progress else True):
            path = folder / f"part-{i:08d}.json"
            if not path.is_file():
                find = find or _Detector(detector, least)
                write_atomic(path, json_text([find(crop) for crop in crops[i : i + PART]], None))
            with reading(path, "part of a detection", "remove it and run the same again"):
                found += json.loads(path.read_text(encoding="utf-8"))
        if unread := [crop.name for crop, boxes in zip(crops, found, strict=True) if boxes is None]:
            warnings.warn(f"{len(unread)} of {len(crops)} pictures cannot be read{listed(':', unread)}", stacklevel=2)
        rows = [(crop.name, *box) for crop, boxes in zip(crops, found, strict=True) for box in boxes or ()]
        if not rows:
            raise BadInput(f"{detector} finds nobody in {len(crops)} pictures with a score of {least:g} (--min-score)")
        table = pd.DataFrame(rows, columns=["image", "x", "y", "width", "height", "score"])
        if is_clip(images):
            numbers = [number for each in linked([boxes or [] for boxes in found]) for number in each]
            table = table.rename(columns={"image": "frame"}).assign(track_id=numbers)
        write_atomic(out, table.round(3).to_csv(index=False))
    shutil.rmtree(folder, ignore_errors=True)
    return out


def linked(frames: Sequence[Sequence[Sequence[float]]]) -> list[list[int]]:
    """The track of each box, numbers from 1: frame by frame the pairs of least total 1 - overlap (Hungarian method).

    A track goes on where its last box overlaps a new one by `OVERLAP`, and ends after `LOST` frames without one. It
    knows no motion and no looks: whoever is hidden for long, or crosses someone in a crowd, may get a new number.

    Args:
        frames: for each frame its boxes, each left, top, width, height in pixels, and whatever follows.
    """
    tracks: dict[int, tuple[int, Sequence[float]]] = {}  # number -> (its last frame, its last box)
    out, new = [], 1
    for at, boxes in enumerate(frames):
        tracks = {number: last for number, last in tracks.items() if at - last[0] <= LOST}
        numbers = [0] * len(boxes)
        if tracks and boxes:
            overlap = _overlap(np.array([box[:4] for _, box in tracks.values()]), np.array([box[:4] for box in boxes]))
            for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, column] >= OVERLAP:
                    numbers[column] = list(tracks)[row]
        for i, box in enumerate(boxes):
            if not numbers[i]:
                numbers[i], new = new, new + 1
            tracks[numbers[i]] = (at, box)
        out.append(numbers)
    return out


def _overlap(a, b):
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, :2] + a[:, None, 2:], b[:, :2] + b[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    return shared / (a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared)


class _Detector:
    def __init__(self, name, least):
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        with reading(name, "object detector", "give the folder or hub id of one, with weights in safetensors"):
            self.processor = AutoImageProcessor.from_pretrained(name)
            self.model = AutoModelForObjectDetection.from_pretrained(name, use_safetensors=True).eval()
        names = self.model.config.id2label
        self.least, self.people = least, [number for number, label in names.items() if label.casefold() in PERSON]
        if not self.people:
            raise BadInput(f"detector {name} knows no class that is a person{listed('; it knows', [*names.values()])}")
        self.model.to("cuda" if torch.cuda.is_available() else "cpu")

    @torch.no_grad()
    def __call__(self, crop):
        """[[left, top, width, height, score]] of the people in a picture, None where it cannot be read."""
        try:
            image = crop.frame()
        except BadInput:
            return None
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device)
        sizes = [image.size[::-1]]
        (found,) = self.processor.post_process_object_detection(self.model(**inputs), self.least, target_sizes=sizes)
        rows = torch.cat([found["boxes"], found["scores"][:, None]], 1).tolist()
        kept = [row for row, label in zip(rows, found["labels"].tolist(), strict=True) if label in self.people]
        return [[x, y, right - x, bottom - y, score] for x, y, right, bottom, score in kept]
