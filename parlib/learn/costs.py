"""What a plan will cost in time, memory and disk, from seconds of trial on this machine."""

import math
import re
import shutil
import tempfile
import time
import warnings
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from timeit import timeit
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.autograd.graph import saved_tensors_hooks

from parlib.data import benchmark_root, read_release
from parlib.encode.encoder import Encoder
from parlib.encode.extract import DTYPES
from parlib.encode.store import InMemory
from parlib.errors import BadInput
from parlib.files import digest, one_line, read_json
from parlib.learn.inputs import Split, head_schema
from parlib.learn.losses import LOSSES
from parlib.learn.methods import Method, Task, build, run_method
from parlib.learn.plan import SPLITS, Cell, encoder_of
from parlib.learn.train import TrainOptions, in_bf16, logits_of
from parlib.measure.records import make_record
from parlib.memory import keep_memory
from parlib.profile import Profile
from parlib.schema import Schema, schema

SHORT = 0.3  # seconds: a step that takes less is timed on a whole batch, others on two images
TRIAL = (64, 192)  # images of which the time of what is not trained is measured; the rest is a straight line
NOTE = (
    "Hours of one process on this machine as busy as it is now, from a trial of one batch of the encoder and one step "
    "of each head. Memory: peak of weights, their moments and activations, without Python and libraries."
)


# Of one method: seconds (fixed, per image trained on and epoch, per image scored), bytes in memory and on disk.
Cost = namedtuple("Cost", "fixed, train, score, memory, disk")


def costs(cells: Sequence[Cell], profile: Profile, counts: Mapping[str, dict[str, int]] | None = None) -> pd.DataFrame:
    """One row per cell: `images` to train on and to score, `disk` and `memory` in bytes, `hours`, and whether `done`.

    The first cell of a tree carries what rendering and encoding its images cost, where their features are not stored.
    `counts` are the images of each benchmark and split, where its tree is not to be read.
    """
    trial, trees = Trial(encoder_of(profile), profile), set()

    @cache  # an annotation file is read once
    def sizes(benchmark, partition):
        if counts or profile.data is None:
            return counts[benchmark] if counts else profile.sizes
        options = {"partition": partition} if partition else {}
        release = read_release(benchmark, benchmark_root(replace(profile, benchmark=benchmark)), **options)
        return {split: len(release.listing(split).names) for split in SPLITS}

    rows: list[Any] = []
    for cell in cells:
        learned = [sizes(name, cell.partition) for name in cell.others or (cell.benchmark,)]
        train, val = (sum(each[split] for each in learned) for split in ("train", "val"))
        train += val if cell.train_on == "trainval" else 0
        tests = sum(sizes(name, cell.partition)["test"] for name in cell.records(profile))
        done = cell.is_done(profile)
        disk = memory = missing = 0
        seconds = 0.0
        if not done:
            tree = cell.benchmark, cell.seed if profile.data is None else None
            if tree not in trees:
                own = sizes(cell.benchmark, cell.partition).items()
                missing = sum(size for split, size in own if not trial.is_stored(cell.benchmark, split, size))
            trees.add(tree)
            attributes, options = head_schema(schema(cell.benchmark), cell.benchmark, cell.view), cell.options(profile)
            cost = trial.of(cell.method, attributes, options)
            epochs = options.epochs if options else 1
            seconds = cost.fixed + epochs * (train * cost.train + val * cost.score) + tests * cost.score
            seconds += trial.record_seconds[0] + tests * trial.record_seconds[1] + missing * trial.image_seconds
            disk, memory = cost.disk + missing * trial.image_bytes, trial.encoder_memory + cost.memory
        rows.append((cell.name, train + val + tests, done, disk, memory, seconds / 3600))
    return pd.DataFrame(rows, columns=["cell", "images", "done", "disk", "memory", "hours"]).set_index("cell")


def must_fit(table: pd.DataFrame, profile: Profile) -> None:
    """Raise BadInput where the disk does not hold what `costs` says the plan will write."""
    for place in (profile.cache, profile.runs):
        place.mkdir(parents=True, exist_ok=True)
        needed, free = table["disk"].sum(), shutil.disk_usage(place).free
        if needed > free:
            raise BadInput(
                f"the plan needs {needed / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB free: make room, give "
                "another PARLIB_CACHE and --out, or fewer --benchmarks, --methods or --seeds"
            )


def plan_table(table: pd.DataFrame, cells: Sequence[Cell] = (), profile: Profile | None = None) -> pd.DataFrame:
    """The costs in GB and hours as text; with `cells` and their profile also the seconds that each took, by its log."""
    shown = table[["images"]].map("{:,}".format)
    shown["disk, GB"] = (table["disk"] / 1e9).map("{:.2f}".format)
    shown["memory, GB"] = (table["memory"] / 1e9).map("{:.1f}".format)
    shown["hours"] = table["hours"].map("{:.3f}".format)
    shown[""] = np.where(table["done"], "done", "")
    if profile:
        logs = [cell.log(profile) for cell in cells]
        ends = [re.findall(r"done in ([\d.]+) s", log.read_text()) if log.is_file() else [] for log in logs]
        took = np.array([float(end[-1]) / 3600 if end else math.nan for end in ends])
        shown["took, hours"] = [f"{hours:.3f}" if hours == hours else "not run" for hours in took]
        sums = {"hours": table["hours"].sum(), "took, hours": np.nansum(took[~table["done"]])}
        shown.loc["all that was not done before"] = pd.Series(sums).map("{:.3f}".format)
    return shown.fillna("")


def plan_text(table: pd.DataFrame) -> str:
    """The costs as a table to print, with their sum."""
    total = f"{len(table)} cells, {table['disk'].sum() / 1e9:.2f} GB on disk, {table['hours'].sum():.2f} hours"
    return f"{plan_table(table).to_string()}\n{total}. {NOTE}"


class Trial:
    """What one image, one step and one record cost here, each measured when it is first needed."""

    def __init__(self, encoder: Encoder, profile: Profile):
        self.encoder, self.profile, self.known = encoder, profile, dict[str, Cost]()
        self.encoder_memory = sum(p.nbytes for p in encoder.model.parameters())
        self.image_bytes = (encoder.patches + 1) * encoder.width * DTYPES[profile.dtype].itemsize  # of its features

    def is_stored(self, benchmark: str, split: str, size: int) -> bool:
        """Whether the features of so many images of a split are stored, from this encoder."""
        found = (self.profile.cache / "features").glob(f"{benchmark}-{split}-*/manifest.json")
        about = [(each["identity"], each["items"]) for each in (read_json(path, "manifest") for path in found)]
        return (self.encoder.determines, size) in about

    @cached_property
    def image_seconds(self) -> float:
        """To render an image, where the profile renders, to preprocess and to encode it."""
        rendered = 0.0
        if self.profile.data is None:
            with tempfile.TemporaryDirectory() as folder:
                sizes = {"train": 32, "val": 8, "test": 8}
                few = replace(self.profile, benchmark="pa100k", sizes=sizes, cache=Path(folder))
                rendered = _seconds(benchmark_root, few) / 48
        images = [Image.new("RGB", (128, 256), (i, 90, 120)) for i in range(min(8, self.encoder.batch_size))]
        self.encoder.encode_images(images[:1])
        return rendered + _seconds(self.encoder.encode_images, images) / len(images)

    @cached_property
    def record_seconds(self) -> tuple[float, float]:
        """To make a record, and to score an image of it: intervals are drawn anew from all of them."""
        draw, names = np.random.default_rng(0), [str(i) for i in range(35)]

        def work(images):
            labels, scores = draw.integers(0, 2, (images, 35)), draw.random((images, 35), np.float32)
            make_record("trial", {}, {}, labels, scores, np.full(35, 0.5), names)

        return _line(work)

    def of(self, method: Method, attributes: Schema, options: TrainOptions | None) -> Cost:
        """What a method costs on this encoder's features."""
        steps = options and [options.batch_size, options.loss, options.bf16, options.threads]
        key = digest([method.kind, method.options, len(attributes), steps])
        if key not in self.known:
            try:
                self.known[key] = (self._trained if options else self._untrained)(method, attributes, options)
            except Exception as error:  # as its cell will fail, and the others not
                warnings.warn(f"{method.key} cannot be tried, its cost is unknown: {one_line(error)}", stacklevel=1)
                self.known[key] = Cost(math.nan, 0.0, 0.0, 0, 0)
        return self.known[key]

    def _untrained(self, method, attributes, options):
        def work(images):
            part = _noise(images, attributes, self.encoder)
            run_method(method, Task(part, part, [part.store], self.encoder))

        fixed, slope = _line(work)
        return Cost(fixed, slope, 0.0, 0, 0)

    def _trained(self, method, attributes, options):
        torch.set_num_threads(options.threads)
        keep_memory()
        started = time.perf_counter()
        module: Any = build(method, attributes, self.encoder)
        fixed = time.perf_counter() - started  # prompts are encoded, weights drawn
        optimiser = torch.optim.AdamW(module.parameters())
        half = in_bf16(options, self.encoder.device)
        weights = {p.untyped_storage().data_ptr(): p.nbytes for p in module.parameters()}
        kept: dict[int, int] = {}  # storage -> bytes of what waits for the backward pass

        def keep(tensor):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        def step(images):
            part = _noise(images, attributes, self.encoder)
            tokens, pooled = (each.float().to(self.encoder.device) for each in part.store[:])
            truth = torch.as_tensor(part.labels, device=tokens.device)
            rate = torch.full((len(attributes),), 0.5, device=tokens.device)
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=half):
                logits = module.train()(tokens, pooled)
            LOSSES[options.loss](logits.float(), truth, rate=rate).backward()
            optimiser.step()

        def score(images):
            logits_of(module, _noise(images, attributes, self.encoder).store, bf16=half)

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            step(2)  # also warms up
        train, scored = (_per_image(work, options.batch_size) for work in (step, score))
        activations = sum(size for storage, size in kept.items() if storage not in weights) // 2
        fits, weight = options.batch_size, sum(weights.values())
        if method.kind == "head":
            fits = module.images_at_once(fits, self.encoder.device)
        return Cost(fixed, train, scored, 4 * weight + activations * fits, 5 * weight)  # 5: with its checkpoint


def _noise(images, attributes, encoder):
    """A split of random features, of the encoder's shape, and labels."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(images, encoder.patches, encoder.width, generator=draw)
    store = InMemory(tokens, torch.randn(images, encoder.width, generator=draw))
    labels = np.random.default_rng(0).integers(0, 2, (images, len(attributes))).astype(np.int8)
    return Split(store, labels, {"benchmark": attributes.name, "split": "train"}, attributes)


def _line(work):
    """Seconds whatever the number of images, and seconds per image, by two trials."""
    short, long = (_seconds(work, images) for images in TRIAL)
    slope = max(0.0, long - short) / (TRIAL[1] - TRIAL[0])
    return max(0.0, short - slope * TRIAL[0]), slope


def _per_image(work, batch):
    """Seconds per image: of two images, or of a whole batch where that is short."""
    seconds = _seconds(work, 2)
    return _seconds(work, batch) / batch if seconds < SHORT else seconds / 2


def _seconds(work, *arguments):
    return timeit(partial(work, *arguments), number=1)
