"""Any number of images through a model: in pieces that are kept, so that a long job that was stopped goes on."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import torch
from PIL import Image
from tqdm.auto import tqdm

from parlib.encode.extract import loader
from parlib.errors import BadInput
from parlib.files import digest, write_atomic
from parlib.use.boxes import read_boxes
from parlib.use.model import Model
from parlib.use.sources import Crop, Images, Picture, crops_of, find_images

PIECE = 512  # crops that are computed, written and kept together
COLUMNS = {
    **{"image": str, "x": float, "y": float, "width": float, "height": float},
    **{"attribute": str, "probability": float, "decision": bool, "threshold": float, "calibrated": bool, "error": str},
}


def predict_images(
    model: Model,
    images: Images,
    boxes: str | os.PathLike | None = None,
    attributes: Sequence[str] | None = None,
    threshold: float | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What a model says of images.

    Args:
        model: `Model`.
        images: a PIL image, a file, a folder, a glob pattern, or a list of these.
        boxes: file of boxes (see `read_boxes`) that cut people out of full frames.
        attributes: names to answer; all by default.
        threshold: one for all attributes in place of each one's own.
        workers: processes that decode; default is one a core but one, none for a handful of images.

    Returns:
        DataFrame, a row a person and attribute: `image`, with boxes `x, y, width, height` in pixels, `attribute`,
        `probability` in [0, 1], `decision` (probability > threshold), `threshold`, `calibrated` (fitted to labels),
        and `error`, which a row without an attribute has where an image could not be read.

    Raises:
        BadInput: see `find_images`, `crops_of`; an attribute that the model does not have, with the nearest names.
    """
    crops, _ = gather(images, boxes)
    job = Job(model, crops, attributes, threshold, workers, progress)
    return pd.concat(list(job.pieces()), ignore_index=True)


def gather(images: Images, boxes: str | os.PathLike | None = None) -> tuple[list[Crop], list[str]]:
    """Everything to predict, checked before anything is computed: (list of `Crop`, notes)."""
    images = [images] if isinstance(images, (str, os.PathLike, Image.Image)) else list(images)
    pictures = [image for image in images if isinstance(image, Image.Image)]
    named: list[tuple[str, Picture]] = [(f"picture {i + 1}", image) for i, image in enumerate(pictures)]
    if len(pictures) < len(images):
        named += find_images([image for image in images if not isinstance(image, Image.Image)])
    if not named:
        raise BadInput("no image to predict: give a file, a folder, a pattern or PIL images")
    found, notes = (None, []) if boxes is None else read_boxes(boxes)
    crops, more = crops_of(named, found)
    return crops, notes + more


class Job:
    """A prediction of many crops as tables of `PIECE` crops each, computed or, with a folder, found again.

    Args: as `predict_images`; `crops` from `gather`.
    """

    def __init__(
        self,
        model: Model,
        crops: Sequence[Crop],
        attributes: Sequence[str] | None = None,
        threshold: float | None = None,
        workers: int | None = None,
        progress: bool = True,
    ):
        if threshold is not None and not 0 <= threshold <= 1:
            raise BadInput(f"threshold {threshold} is no probability: give a number from 0 to 1")
        self.model, self.crops, self.workers, self.progress = model, crops, workers, progress
        lower = {name.lower(): name for name in model.names}
        asked = [name.strip() for name in attributes or model.names]
        asked = [name if name in model.names else lower.get(name.lower(), name) for name in asked]
        self.columns = [model.schema.index(name) for name in dict.fromkeys(asked)]
        self.thresholds = model.thresholds if threshold is None else np.full(len(model.names), float(threshold))

    @property
    def key(self) -> str:
        """Hash of all that determines the result: model, images with sizes and times, boxes, options."""
        asked = [self.model.weights_hash, self.columns, self.thresholds.tolist(), PIECE]
        files = {str(c.source): _stamp(c.source) for c in self.crops}
        return digest([asked, [(c.name, files[str(c.source)], c.box and c.box[:5]) for c in self.crops]])

    def pieces(self, folder: Path | None = None) -> Iterator[pd.DataFrame]:
        """The tables in order; with a `folder`, those in it are read and the others written there."""
        spans = [range(i, min(i + PIECE, len(self.crops))) for i in range(0, len(self.crops), PIECE)]
        paths = [folder and folder / f"part-{i:06d}.parquet" for i in range(len(spans))]
        todo = {i: span for i, span in enumerate(spans) if not _is_whole(paths[i])}
        encoder = self.model.encoder
        loaded = iter(loader(_Pixels(self.crops, encoder), list(todo.values()), encoder, workers=self.workers))
        hidden = None if self.progress else True  # None: shown on a terminal only
        done = len(self.crops) - sum(map(len, todo.values()))
        with tqdm(total=len(self.crops), initial=done, desc="predict", unit="image", disable=hidden) as bar:
            for i, (span, path) in enumerate(zip(spans, paths, strict=True)):
                if i not in todo:
                    yield pd.read_parquet(path)
                    continue
                table = self._table(span, loaded, bar)
                if path:
                    write_atomic(path, table.to_parquet(index=False))
                yield table

    def _table(self, span, loaded, bar):
        scores = np.full((len(span), len(self.columns)), np.nan)
        errors: dict[int, str] = {}
        at = 0
        while at < len(span):
            rows, inputs, failed = next(loaded)
            if rows:
                with torch.autocast("cuda", enabled=self.model.encoder.device.type == "cuda"):
                    features = self.model.encoder.encode_images(inputs)
                scores[[row - span[0] for row in rows]] = self.model.scores(*features).cpu().numpy()[:, self.columns]
            errors |= failed
            at += len(rows) + len(failed)
            bar.update(len(rows) + len(failed))
        return self._rows(span, scores, errors)

    def _rows(self, span, scores, errors):
        model = self.model
        parts: dict[str, list] = {name: [] for name in COLUMNS}
        names, limits = np.array(model.names, object)[self.columns], self.thresholds[self.columns]
        told = model.calibrated[self.columns]
        for row in span:
            crop, p = self.crops[row], scores[row - span[0]]
            n = 1 if row in errors else len(names)
            corners = crop.box[1:5] if crop.box else (np.nan,) * 4
            for name, value in zip(("image", "x", "y", "width", "height"), (crop.name, *corners), strict=True):
                parts[name] += [value] * n
            answers = (None,) * 5 if row in errors else (names, p.round(6), p > limits, limits.round(6), told)
            for name, value in zip(list(COLUMNS)[5:10], answers, strict=True):
                parts[name] += [None] if value is None else value.tolist()
            parts["error"] += [errors.get(row)] * n
        table = pd.DataFrame(parts).astype({"decision": "boolean", "calibrated": "boolean"})
        table = table.astype({c: "str" for c in ("image", "attribute", "error")} | {"probability": float})
        return table if any(crop.box for crop in self.crops) else table.drop(columns=["x", "y", "width", "height"])


class _Pixels(torch.utils.data.Dataset):
    """Batches of crops: (rows that could be read, what the encoder takes of them, row -> error of the others)."""

    def __init__(self, crops, encoder):
        self.crops, self.encoder, self.last = crops, replace(encoder, model=None), (None, None)

    def __len__(self):
        return len(self.crops)

    def __getitems__(self, rows):
        images, errors = {}, {}
        for row in rows:
            crop = self.crops[row]
            try:
                if self.last[0] is not crop.source:  # the boxes of a frame follow one another
                    self.last = (crop.source, crop.frame())
                images[row] = crop.open(self.last[1])
            except BadInput as error:
                errors[row] = str(error)
        return list(images), self.encoder.preprocess(images.values()) if images else None, errors


def _is_whole(path):
    """Whether a piece lies there, to its very end."""
    with contextlib.suppress(OSError, pa.ArrowException):
        return path is not None and pyarrow.parquet.read_metadata(path).num_columns > 0
    return False


def _stamp(source):
    if isinstance(source, Image.Image):
        return digest([source.size, source.tobytes().hex()])
    with contextlib.suppress(OSError):
        about = os.stat(source)
        return [str(source), about.st_size, about.st_mtime_ns]
    return [str(source)]
