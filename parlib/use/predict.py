"""Any number of pictures through a model into one file: JSON, CSV or Parquet, whole or not at all.

A long job is done in parts that are kept, so that one that was stopped resumes; only one process writes a file.
"""

import glob
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import torch
from PIL import Image
from tqdm.auto import tqdm

from parlib.encode.extract import loader
from parlib.errors import BadInput
from parlib.files import digest, json_text, only_one, plain_cell, reading, sweep, write_atomic
from parlib.use.crops import Crop
from parlib.use.people import MOST, Person, combined, people_table, sampled, weight

if TYPE_CHECKING:
    from parlib.use.model import Model

PART = 512  # crops that are computed, written and kept together
FORMATS = ("json", "csv", "parquet", "fiftyone")
_CORNERS = ("x", "y", "width", "height")
_TYPES = {"attribute": "str", "probability": float, "decision": "boolean", "threshold": float}
_TYPES |= {"calibrated": "boolean", "conflict": "str", "error": "str"}


class Job:
    """A prediction of crops, in parts of `PART` crops; the arguments are those of a `Model`.

    Of crops that name their person at most `most` of each are answered, see `sampled`.
    """

    def __init__(
        self,
        model: "Model",
        crops: Sequence[Crop],
        attributes: Sequence[str] | None = None,
        threshold: float | None = None,
        workers: int | None = None,
        progress: bool = True,
        most: int = MOST,
    ):
        self.model, self.workers, self.progress = model, workers, progress
        self.boxed, self.together = any(crop.box for crop in crops), any(crop.identity for crop in crops)
        self.crops = sampled(crops, most) if self.together else crops
        spelled = {name.lower(): name for name in model.names} | {name: name for name in model.names}
        wanted = [name.strip() for name in attributes or model.names]
        wanted = [spelled.get(name, spelled.get(name.lower(), name)) for name in wanted]
        self.schema = model.schema.subset(model.schema.name, list(dict.fromkeys(wanted)))
        self.columns = [model.schema.index(name) for name in self.schema.names]
        self.thresholds, self.calibrated = model.thresholds[self.columns], model.calibrated[self.columns]
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise BadInput(f"threshold {threshold} is no probability: give a number from 0 to 1")
            self.thresholds[:] = threshold
        folders = {None if isinstance(c.source, Image.Image) else os.path.dirname(c.source) for c in crops}
        if model.kind == "rendered" and not all(folder is not None and _is_rendered(folder) for folder in folders):
            words = "this model was trained on rendered people: its answers about photographs mean nothing"
            warnings.warn(words, stacklevel=2)

    @property
    def key(self) -> str:
        """Hash of all that determines the result: model, images with sizes and times, boxes, options."""
        how = [self.model.key, self.columns, self.thresholds.tolist(), PART]
        files = {str(crop.source): _stamp(crop.source) for crop in self.crops}
        return digest([how, [(c.name, files[str(c.source)], c.box and c.box[:5], c.identity) for c in self.crops]])

    def people(self, folder: Path | None = None) -> Iterator[list[Person]]:
        """The answers, a part at a time: one per crop, or where crops name their person one per person (`combined`)."""
        parts = self.each_crop(folder)
        return combined(parts, self.answers) if self.together else parts

    def table(self, people: Sequence[Person]) -> pd.DataFrame:
        """People as rows of text and numbers: one per attribute (`to_table`), or one per person of several crops."""
        return people_table(people, self.schema.names) if self.together else to_table(people, self.boxed)

    def each_crop(self, folder: Path | None = None) -> Iterator[list[Person]]:
        """The answers in order, a part at a time; with a `folder`, parts in it are read and the others written there.

        Each person is a dict of plain values: `image`; `box`, [left, top, width, height], where there is one;
        `person` and `weight` where the crop names its person; and `error`, or `attributes`: name -> `probability`,
        `decision`, `threshold`, `calibrated`, `conflict`.
        """
        spans = [range(i, min(i + PART, len(self.crops))) for i in range(0, len(self.crops), PART)]
        parts = [(span, folder and folder / f"part-{i:06d}.json") for i, span in enumerate(spans)]
        missing = [span for span, path in parts if not (path and path.is_file())]
        encoder = self.model.encoder
        loaded = iter(loader(_Pixels(self.crops, encoder), missing, encoder, workers=self.workers))
        done = len(self.crops) - sum(map(len, missing))
        hidden = None if self.progress else True  # None: where there is no terminal
        with tqdm(total=len(self.crops), initial=done, desc="predict", unit="image", disable=hidden) as bar:
            for span, path in parts:
                people: list[Person] = []
                if path and path.is_file():
                    with reading(path, "part of a prediction", "remove it and run the same again"):
                        people = json.loads(path.read_text(encoding="utf-8"))
                while len(people) < len(span):
                    batch = self._batch(*next(loaded))
                    people += batch
                    bar.update(len(batch))
                if path and span in missing:
                    write_atomic(path, json_text(people, indent=None))
                yield people

    def _batch(self, people, inputs):
        """The people of one batch of `_Pixels`, with their answers."""
        read = [person for person in people if "error" not in person]
        if read:
            scores = self.model.scores(*self.model.encoder.encode_images(inputs)).cpu().numpy()
            for person, attributes in zip(read, self.answers(scores[:, self.columns]), strict=True):
                person["attributes"] = attributes
        return people

    def answers(self, scores: np.ndarray) -> list[dict[str, Any]]:
        """Probabilities (n, A) of the attributes wanted -> for each row the dict `attributes` of a person."""
        decisions = scores > self.thresholds
        conflicts = np.full(decisions.shape, None, object)
        broken = self.schema.contradictions(decisions)
        for group in self.schema.exclusive:
            columns = [self.schema.index(name) for name in group.members]
            yes = decisions[:, columns]
            marked = broken[group.name][:, None] & (yes | ~yes.any(1, keepdims=True))  # all, where none is a yes
            conflicts[:, columns] = np.where(marked, group.name, conflicts[:, columns])
        return [
            {
                name: {
                    "probability": round(float(scores[i, a]), 6),
                    "decision": bool(decisions[i, a]),
                    "threshold": round(float(self.thresholds[a]), 6),
                    "calibrated": bool(self.calibrated[a]) and not self.together,
                    "conflict": conflicts[i, a],
                }
                for a, name in enumerate(self.schema.names)
            }
            for i in range(len(scores))
        ]


class _Pixels(torch.utils.data.Dataset):
    """Batches of crops: (people without their answers, with an `error` where the crop cannot be read; the pixels of
    the others, as the encoder takes them)."""

    def __init__(self, crops, encoder):
        self.crops, self.encoder, self.last = crops, encoder.for_workers(), (None, None)

    def __getitem__(self, rows):
        people, images = [], []
        for crop in (self.crops[row] for row in rows):
            person = {"image": crop.name, **({"box": list(crop.box[1:5])} if crop.box else {})}
            person |= {"person": crop.identity} if crop.identity else {}
            people.append(person)
            try:
                if self.last[0] is not crop.source:  # the boxes of a frame follow one another
                    self.last = (crop.source, crop.frame())
                images.append(crop.open(self.last[1]))
                person |= {"weight": weight(images[-1])} if crop.identity else {}
            except BadInput as error:
                person["error"] = str(error)
        return people, self.encoder.pixels(images) if images else None


def _stamp(source):
    if isinstance(source, Image.Image):
        return digest([source.size, source.tobytes().hex()])
    about = os.stat(source) if os.path.exists(source) else None
    return [str(source), about and about.st_size, about and about.st_mtime_ns]


def _is_rendered(folder):
    """Whether a folder holds this project's own renders: the examples, or a part of a rendered tree."""
    above = Path(folder).resolve()
    return any((place / "rendered.json").is_file() for place in (above, *above.parents))


def to_table(people: Sequence[Person], boxed: bool) -> pd.DataFrame:
    """People of a `Job` as the rows that a `Model` gives; `boxed` puts the columns of boxes in."""
    rows = []
    for person in people:
        place = {"image": person["image"], **dict(zip(_CORNERS, person.get("box", ()), strict=False))}
        place["error"] = person.get("error")
        answers = person.get("attributes") or {None: {}}  # one row where the image could not be read
        rows += [{**place, "attribute": name, **answer} for name, answer in answers.items()]
    types = {"image": "str", **(dict.fromkeys(_CORNERS, float) if boxed else {}), **_TYPES}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def write_predictions(
    job: Job,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    watch: Callable[[Iterator[list[Person]]], Iterable[list[Person]]] = iter,
) -> tuple[int, list[tuple[str, str]]]:
    """Predict and write one file, whole or not at all; the parts of a job that was stopped are found again.

    Args:
        out: file, must not exist; None prints to standard output.
        format: one of `FORMATS`; default is by the suffix of `out`, or json.
        watch: takes the iterator of people and passes them on, such as `annotate`.

    Returns:
        (people answered, [(image, error)] of what could not be read).
    """
    format = format or (Path(out).suffix[1:].lower() if out else "") or "json"
    if format not in FORMATS or (format == "parquet" and not out):
        raise BadInput(f"format {format!r} cannot be written here; known: {', '.join(FORMATS)} (parquet needs --out)")
    if not out:
        return write_people(watch(job.people()), sys.stdout.buffer, format, job)
    out = Path(out)
    if out.exists():
        raise BadInput(f"{out} exists already: give another --out, or remove it; nothing is overwritten")
    folder = out.with_name(f".{out.name}.{job.key[:12]}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(out, folder / "lock"):
            sweep(folder)
            with open(folder / "whole", "wb") as file:
                counts = write_people(watch(job.people(folder)), file, format, job)
                file.flush()
                os.fsync(file.fileno())
            (folder / "whole").replace(out)
            for left in out.parent.glob(f".{glob.escape(out.name)}.*.parts"):  # those of other options as well
                shutil.rmtree(left, ignore_errors=True)
        return counts
    except OSError as error:
        remedy = "make room or choose another place, what is done is kept"
        raise BadInput(f"{out} cannot be written: {error.strerror}; {remedy}") from error


def write_people(
    parts: Iterable[list[Person]], file: IO[bytes], format: str, job: Job
) -> tuple[int, list[tuple[str, str]]]:
    """Write the people of a `Job` to a binary file as they come: (people answered, [(image, error)])."""
    if format == "fiftyone":
        from parlib.use.exchange import write_fiftyone

        return write_fiftyone(parts, file, job)
    answered, unreadable, writer = 0, [], None
    for number, people in enumerate(parts):
        unreadable += [(p.get("image") or f"person {p['person']}", p["error"]) for p in people if "error" in p]
        answered += sum("error" not in person for person in people)
        if format == "json":
            objects = ",\n".join(json_text(person, indent=None) for person in people)
            file.write((("[\n" if number == 0 else ",\n") + objects).encode())
            continue
        rows = job.table(people)
        if format == "csv":
            texts = rows.select_dtypes("str").columns
            rows[texts] = rows[texts].map(plain_cell, na_action="ignore")
            file.write(rows.to_csv(index=False, header=number == 0).encode())
        else:
            part = pa.Table.from_pandas(rows, preserve_index=False)
            writer = writer or pyarrow.parquet.ParquetWriter(file, part.schema)
            writer.write_table(part)
    if writer:
        writer.close()
    if format == "json":
        file.write(b"\n]\n")
    return answered, unreadable
