"""A trained model in use: the encoder, the head, and new attributes; from a folder, the hub, or the package."""

import contextlib
import copy
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import torch
from huggingface_hub import ModelHubMixin
from safetensors.torch import load_file, save
from torch.nn import functional as F

from parlib.encode.encoder import Encoder, load_encoder
from parlib.encode.hub import EXAMPLES, SHIPPED, folder_of  # noqa: F401 (two are imported from here)
from parlib.encode.identity import hash_tensors
from parlib.encode.prompts import languages, load_prompts
from parlib.errors import BadInput
from parlib.files import ASSETS, digest, json_text, markdown_cell, read_json, reading, whole_folder, write_atomic
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import encoder_setting
from parlib.learn.run import read_run
from parlib.measure.records import has_scores, read_records, write_record
from parlib.measure.subgroups import readable, subgroups
from parlib.measure.tables import SUBGROUP_NOTE, render
from parlib.schema import Attribute
from parlib.use.attributes import NewAttribute, zero_shot_attribute
from parlib.use.crops import Images
from parlib.use.exchange import classify
from parlib.use.people import MOST, gather_people
from parlib.use.predict import Job


class Model(ModelHubMixin):
    """Images in, named decisions out: an `Encoder`, a `VLMPARHead` trained on it, and new attributes.

    It answers A attributes, the head's and then the new ones, by their `names` in `schema`. `save_pretrained`,
    `from_pretrained` and `push_to_hub` carry safetensors, JSON and a model card, nothing else.

    Args:
        encoder: the very encoder whose features the head was trained on.
        run: the content of the `run.json` of its training, {} where there was none.
        records: file name -> record of an evaluation of the head.
        language: None for the prompts trained with, or codes joined by commas, whose scores are averaged. In other
            words than those of its training the head is not calibrated.
    """

    def __init__(
        self,
        encoder: "Encoder",  # quoted: of a dataclass the mixin makes one out of config.json
        head: VLMPARHead,
        run: dict[str, Any] | None = None,
        records: dict[str, dict[str, Any]] | None = None,
        new_attributes: Iterable[NewAttribute] = (),
        language: str | None = None,
    ):
        self.encoder, self.head, self.run, self.records = encoder, head.eval(), run or {}, records or {}
        self.new_attributes, self.language, self.heads = tuple(new_attributes), language, [self.head]
        new = tuple(Attribute(a.name, (a.phrases or (a.name,))[0], "new") for a in self.new_attributes)
        attributes = head.schema.attributes + new
        self.schema = replace(head.schema, attributes=attributes, permutations={}, questions={})
        self.names = self.schema.names
        if language:
            prompts = [load_prompts(head.schema, code.strip()) for code in language.split(",")]
            self.heads = [copy.deepcopy(self.head).set_prompts(encoder.encode_prompts(each)) for each in prompts]

    @property
    def thresholds(self) -> np.ndarray:
        """(A,) float64; a probability above it is a yes."""
        return np.array([*self.head.thresholds.tolist(), *(a.threshold for a in self.new_attributes)])

    @property
    def calibrated(self) -> np.ndarray:
        """(A,) bool: whether a probability was fitted to labels (on val), so that 0.8 means about 8 in 10 there."""
        trained = self.head.calibrated.tolist() if not self.language else [False] * len(self.head.names)
        return np.array([*trained, *(a.calibrated for a in self.new_attributes)])

    @property
    def kind(self) -> str | None:
        """The kind of tree it was trained on: `rendered`, `official`, `own`, `other`; None where no run says."""
        return (self.run.get("val") or {}).get("kind")

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that determines its scores."""
        tensors = {f"{i}.{k}": v for i, head in enumerate(self.heads) for k, v in head.state_dict().items()}
        tensors |= {f"new.{a.name}": torch.cat([a.weight, torch.tensor([a.bias])]) for a in self.new_attributes}
        return hash_tensors(tensors, digest(self.encoder.determines))

    @torch.no_grad()
    def scores(self, tokens: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """Patch tokens (B, N, D), pooled features (B, D) -> probabilities (B, A) float32."""
        tokens, pooled = tokens.float(), pooled.float()
        out = sum((head(tokens, pooled) / head.temperature).sigmoid() for head in self.heads) / len(self.heads)
        if self.new_attributes:
            weight = torch.stack([a.weight for a in self.new_attributes]).to(pooled.device)
            bias = torch.tensor([a.bias for a in self.new_attributes], device=pooled.device)
            out = torch.cat([out, (F.normalize(pooled, dim=-1) @ weight.T + bias).sigmoid()], 1)
        return out

    def __call__(
        self,
        images: Images,
        boxes: str | os.PathLike | None = None,
        attributes: Sequence[str] | None = None,
        threshold: float | None = None,
        workers: int | None = None,
        progress: bool = True,
        min_score: float | None = None,
        category: str | None = None,
        tracks: str | os.PathLike | None = None,
        by: str | None = None,
        most: int = MOST,
        first_frame: int | None = None,
    ) -> pd.DataFrame:
        """What the model answers about images.

        Args:
            images: a PIL image, a file, a folder, a glob pattern, or a list of these; or one clip, with `tracks`.
            boxes: file of boxes that cut people out of full frames; `read_boxes` takes it, `min_score` and `category`.
            threshold: one for all attributes in place of each one's own.
            workers: processes that decode; default is one per core but one, none for a handful of images.
            tracks, by: answer each person once, from at most `most` crops; `gather_people` takes them, `first_frame`.

        Returns:
            DataFrame, one row per person and attribute: `image`, with boxes `x, y, width, height` in pixels,
            `attribute`, `probability` in [0, 1], `decision` (probability > threshold), `threshold`, `calibrated`
            (fitted to labels), `conflict` (the exclusive set that the decisions break, missing where none), and
            `error`, which a row without an attribute has where an image could not be read. With `tracks` or `by`, one
            row per person, see `people_table`.

        Raises:
            BadInput: see `gather_people`; an attribute that the model does not have, with the nearest names.
        """
        crops = gather_people(images, tracks, by, min_score, category, first_frame, boxes)
        job = Job(self, crops, attributes, threshold, workers, progress, most)
        return pd.concat([job.table(people) for people in job.people()], ignore_index=True)

    classify = classify

    def with_attributes(self, *attributes: NewAttribute) -> "Model":
        """The same model with more attributes."""
        width = self.encoder.width
        for one in attributes:
            if len(one.weight) != width:
                raise BadInput(f"{one.name!r} is for features of width {len(one.weight)}, the encoder's have {width}")
        every = (*self.new_attributes, *attributes)
        return Model(self.encoder, self.head, self.run, self.records, every, self.language)

    def with_phrases(self, phrases: Mapping[str, str]) -> "Model":
        """The same model with attributes `{name: phrase}`, zero-shot and not calibrated; see `zero_shot_attribute`."""
        return self.with_attributes(*(zero_shot_attribute(self.encoder, *item) for item in phrases.items()))

    def save_pretrained(self, save_directory: str | os.PathLike, **options: Any) -> str | None:
        """Write the whole model to a folder, or nothing: over an earlier model there, never over anything else."""
        out = Path(save_directory)
        if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "run.json").is_file()):
            raise BadInput(f"{out} holds something that is no model: give a new folder")
        with whole_folder(out) as folder:
            return super().save_pretrained(folder, **options)

    def _save_pretrained(self, save_directory):
        folder = Path(save_directory)
        self.head.save_pretrained(folder)
        paths = ("root", "cache")  # of the machine it was trained on
        arguments = {key: value for key, value in self.run.get("arguments", {}).items() if key not in paths}
        run = {**self.run, "arguments": arguments, "setting": self.run.get("setting") or encoder_setting(self.encoder)}
        write_atomic(folder / "run.json", json_text(run) + "\n")
        for name, record in self.records.items():
            write_record(record, folder / name)
        prompts = {"trained with": self.head.prompts}
        for language in languages():
            with contextlib.suppress(BadInput):  # a user's own attributes, for which this language has no phrases
                prompts[language] = load_prompts(self.head.schema, language)
        write_atomic(folder / "prompts.json", json_text(prompts) + "\n")
        if self.new_attributes:
            about = [{key: value for key, value in vars(a).items() if key != "weight"} for a in self.new_attributes]
            write_atomic(folder / "added.json", json_text(about) + "\n")
            weight = torch.stack([a.weight for a in self.new_attributes])
            write_atomic(folder / "added.safetensors", save({"weight": weight}))
        write_atomic(folder / "README.md", card(self))  # over the head's own card

    @classmethod
    def _from_pretrained(cls, *, model_id, revision=None, encoder=None, device=None, language=None, **hub):
        known = {k: hub[k] for k in ("cache_dir", "force_download", "local_files_only", "token") if k in hub}
        return load(model_id, encoder=encoder, revision=revision, device=device, language=language, **known)


def load(
    name: str | os.PathLike = "nano-pa100k",
    encoder: Encoder | str | os.PathLike | None = None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    language: str | None = None,
    precision: str | None = None,
    **hub: Any,
) -> Model:
    """A `Model`: `parlib.load(MODEL)(images)`.

    Args:
        name: one that ships (`nano-pa100k`), the folder of a run or of a saved model, or a hub id.
        encoder: an `Encoder`, or its folder or hub id if it is not where the model says; it must be the one trained
            with: weights, preprocessing and tokenizer, or it is a BadInput.
        device: default is this process's GPU where there is one.
        language: see `Model`.
        precision: of the encoder, see `load_encoder`; default is that of the training.
    """
    folder = folder_of(str(name), "model", ["nano-pa100k"], revision, **hub)
    if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
        raise BadInput(f"{name} holds no model: expected config.json, model.safetensors and run.json of `parlib train`")
    run, head = read_run(folder)
    setting = run["setting"]
    if encoder is None or isinstance(encoder, (str, os.PathLike)):
        source, commit = (encoder, None) if encoder else (setting["encoder"], setting.get("revision"))
        precision = precision or setting.get("precision", "fp32")
        encoder = load_encoder(source, commit, device, precision, layer=setting.get("layer"))
    encoder.must_match(setting["identity"], f"model {name}")
    own = ("config.json", "run.json", "prompts.json", "added.json")
    files = [path for path in sorted(folder.glob("*.json")) if path.name not in own]
    records: dict[str, dict[str, Any]] = {path.name: read_records(path)[0] for path in files}
    new = []
    if (folder / "added.json").is_file():
        entries = read_json(folder / "added.json", "new attributes")
        with reading(folder / "added.safetensors", "weights of new attributes", "fetch the model again"):
            weights = load_file(folder / "added.safetensors")["weight"].float()
            for entry, weight in zip(entries, weights, strict=True):
                new.append(NewAttribute(**{**entry, "phrases": tuple(entry["phrases"])}, weight=weight))
    return Model(encoder, head.to(encoder.device), run, records, (), language).with_attributes(*new)


def card(model: Model) -> str:
    """The README.md of a `Model`: the template `assets/card.md`, filled from its run and records and nothing else."""
    setting = model.run.get("setting", {})
    encoder = setting.get("encoder", model.encoder.name)
    at_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", encoder)
    prompts = [*model.head.prompts, *(f"{' / '.join(a.phrases)} ({a.how})" for a in model.new_attributes)]
    return jinja2.Template((ASSETS / "card.md").read_text(encoding="utf-8")).render(
        base_model=encoder if at_hub else None,
        cell=markdown_cell,
        percent=lambda value: "not defined" if value is None or math.isnan(value) else f"{100 * value:.1f}",
        subgroups=lambda record: render(readable(subgroups(record)), "markdown") if has_scores(record) else "",
        subgroup_note=SUBGROUP_NOTE,
        model=model,
        setting=setting,
        trained_on={**(model.run.get("val") or {}), **(setting.get("trained_on") or {})},
        encoder=markdown_cell(encoder if at_hub else Path(encoder).name),
        no_revision="none" if at_hub else f"none ({'it ships with parlib' if encoder == 'nano' else 'a local folder'})",
        attributes=list(zip(model.names, prompts, model.thresholds, strict=True)),
    )
