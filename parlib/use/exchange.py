"""Answers in the forms of other programs: `datasets.Dataset`, FiftyOne's JSON, and lists as pipelines give them; and a
model as one ONNX file for machines without Python."""

import contextlib
import copy
import io
import itertools
import logging
import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import datasets
import torch
from PIL import Image
from torch import nn

from parlib.data.images import RGBImage
from parlib.errors import BadInput
from parlib.files import json_text, write_atomic
from parlib.use.crops import Images, size_of

if TYPE_CHECKING:
    from parlib.use.model import Model
    from parlib.use.predict import Job, Person

FORMAT_LIMIT = 2**31  # bytes that one ONNX file can hold


def to_dataset(job: "Job") -> datasets.Dataset:
    """The answers of a `Job`, one row per person, with the schema in the features.

    Columns: `image`, the picture or full frame, decoded when it is asked for; `image_id`; `box`, [left, top, width,
    height] in pixels, or None; `scores`, attribute -> probability; `labels`, attribute -> 1 or 0, -1 where the image
    could not be read; `error`. With people of several crops `person` takes the place of image, image_id and box.
    """
    names, rows, crops = job.schema.names, [], iter(job.crops)
    for person in itertools.chain.from_iterable(job.people()):
        answers = person.get("attributes") or {name: {"probability": None, "decision": -1} for name in names}
        row: dict[str, Any] = {"scores": {name: answer["probability"] for name, answer in answers.items()}}
        row |= {"labels": {name: int(answer["decision"]) for name, answer in answers.items()}}
        row["error"] = person.get("error")
        if job.together:
            row["person"] = person["person"]
        else:
            source = next(crops).source
            picture = source if isinstance(source, Image.Image) else os.fspath(source)
            row["image"] = None if "error" in person else picture
            row |= {"image_id": person["image"], "box": person.get("box")}
        rows.append(row)
    text = datasets.Value("string")
    place = {"image": RGBImage(), "image_id": text, "box": datasets.List(datasets.Value("float32"))}
    features = {"person": text} if job.together else place
    features |= {"scores": {name: datasets.Value("float32") for name in names}}
    features |= {"labels": {name: datasets.Value("int8") for name in names}, "error": text}
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


def write_fiftyone(parts: Iterable[list["Person"]], file: IO[bytes], job: "Job") -> tuple[int, list[tuple[str, str]]]:
    """Write the answers about image files as a `labels.json` of FiftyOne, as they come; returns as `write_people`.

    Whole pictures: the layout of its FiftyOneImageClassificationDataset, a list of `label` and `confidence` for the
    attributes decided yes. Boxes: that of its FiftyOneImageDetectionDataset, label `person`, `bounding_box` in
    fractions of the frame, the probabilities as `attributes`. Images are named by their absolute paths, so importing
    takes `labels_path` alone. An image that cannot be read is null. BadInput for people of several crops, or pictures
    that are no files.
    """
    if job.together or any(isinstance(crop.source, Image.Image) for crop in job.crops):
        raise BadInput("FiftyOne's labels are of image files: not of pictures in memory, nor one for several images")
    answered, unreadable, start = 0, [], b'{"labels": {\n'
    pairs = zip(job.crops, itertools.chain.from_iterable(parts), strict=True)
    for path, group in itertools.groupby(pairs, lambda pair: os.path.abspath(str(pair[0].source))):
        targets: Any = []
        for crop, person in group:
            answers = person.get("attributes") or {}
            answered += bool(answers)
            if "error" in person:
                unreadable.append((person["image"], person["error"]))
            elif crop.box:
                width, height = size_of(crop.source)
                left, top, right, bottom = crop.box.within(width, height)
                shape = [left / width, top / height, (right - left) / width, (bottom - top) / height]
                scores = {name: answer["probability"] for name, answer in answers.items()}
                targets.append({"label": "person", "bounding_box": shape, "attributes": scores})
            else:
                yes = {name: answer["probability"] for name, answer in answers.items() if answer["decision"]}
                targets += [{"label": name, "confidence": p} for name, p in yes.items()]
            targets = None if "error" in person else targets
        file.write(start + f"{json_text(path, None)}: {json_text(targets, None)}".encode())
        start = b",\n"
    file.write(b"\n}}\n")
    return answered, unreadable


def classify(model: "Model", images: Images, top_k: int | None = None, **options: Any) -> list[Any]:
    """Answers as a pipeline of transformers gives them: for each person [{"label", "score"}], best first.

    A score is the attribute's own probability; they do not add up to 1. Of one picture without boxes it is that list
    itself. `options` are those of a call of the model. BadInput where an image could not be read.
    """
    table, out = model(images, progress=False, **options), []
    if table["error"].notna().any():
        raise BadInput(table["error"].dropna().iloc[0])
    place = [name for name in ("image", "x", "y", "width", "height") if name in table]
    for _, rows in table.groupby(place, sort=False):
        ranked = rows.sort_values("probability", ascending=False, kind="stable")[:top_k]
        out.append([{"label": row.attribute, "score": row.probability} for row in ranked.itertuples()])
    is_one = isinstance(images, Image.Image) or (isinstance(images, str | os.PathLike) and os.path.isfile(images))
    return out[0] if is_one and "x" not in table else out


def export_onnx(model: "Model", path: str | os.PathLike) -> Path:
    """Write `pixel_values` (batch, 3, H, W) float32 -> `probabilities` (batch, A) float32 as one ONNX file.

    The batch is dynamic. The text tower is not in it: what depends on prompts alone is computed here and becomes
    constants. The file's metadata says what a user of it must know: `attributes`, `thresholds`, `calibrated`,
    `preprocessing` (size, resampling, mean, standard deviation: the checkpoint's own), `encoder` and its `identity`.
    The model is on the CPU. BadInput for a NaFlex encoder, weights beyond one file, or where ONNX is not installed.
    """
    try:
        import onnx
        import onnxscript.optimizer
    except ImportError as error:
        raise BadInput(f"exporting needs {error.name}: pip install onnx onnxscript onnxruntime") from None
    encoder, path = model.encoder, Path(path)
    if encoder.keeps_aspect:
        raise BadInput(f"encoder {encoder.name!r} keeps the aspect ratio (NaFlex); only fixed sizes can be exported")
    if encoder.precision != "fp32":
        raise BadInput(f"encoder {encoder.name!r} is in {encoder.precision}: load the model with precision='fp32'")
    whole = _Fused(model).eval()
    size = sum(t.numel() * t.element_size() for t in whole.state_dict().values())
    if size >= FORMAT_LIMIT:
        raise BadInput(f"{encoder.name!r} has {size / 1e9:.1f} GB of weights; one ONNX file holds 2 GB")
    side = encoder.model.config.vision_config.image_size
    for name in ("torch.onnx", "onnxscript"):  # they log their own steps
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        made: Any = torch.onnx.export(
            whole,
            (torch.zeros(2, 3, side, side),),
            dynamo=True,
            opset_version=18,
            input_names=["pixel_values"],
            output_names=["probabilities"],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
        limit = math.prod(model.head.prompt_tokens.shape) * 64
        onnxscript.optimizer.optimize(made.model, input_size_limit=limit, output_size_limit=limit)
    about = {
        "attributes": model.names,
        "thresholds": model.thresholds.round(6),
        "calibrated": model.calibrated,
        "preprocessing": encoder.preprocessing,
        "encoder": encoder.name,
        "weights": encoder.identity["weights"],
        "identity": encoder.identity,
        "made_by": "parlib export",
    }
    texts = {key: one if isinstance(one, str) else json_text(one, indent=None) for key, one in about.items()}
    written = made.model_proto
    onnx.helper.set_model_props(written, texts)
    onnx.checker.check_model(written)
    write_atomic(path, written.SerializeToString())
    return path


class _Fused(nn.Module):
    """Image tower and heads in one module; each head's words are constants of the length in use."""

    def __init__(self, model):
        super().__init__()
        self.tower, self.model = model.encoder.model.vision_model, copy.copy(model)
        self.heads = self.model.heads = nn.ModuleList(_with_constant_words(head) for head in model.heads)

    def forward(self, pixel_values):
        """(B, 3, H, W) -> (B, A)."""
        features = self.tower(pixel_values=pixel_values)
        return self.model.scores(features.last_hidden_state, features.pooler_output)


def _with_constant_words(head):
    """A copy of a head whose words and mask are constants, split beforehand: a Split would keep them from folding."""
    head = copy.deepcopy(head).eval()
    head.at_once = head.at_once or len(head.names)
    with torch.no_grad():
        parts = [[part.clone() for part in whole.split(head.at_once)] for whole in head.words(torch.float32)]
    constants = [SimpleNamespace(split=lambda size, parts=each: parts) for each in parts]
    head.words = lambda dtype: constants
    return head
