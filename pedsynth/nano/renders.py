"""Rendered people for pretraining and measuring the nano encoder, stored as arrays that are fast to read."""

import json
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from pedsynth.labels import labels
from pedsynth.nano import architecture
from pedsynth.nano.phrases import trait_names, traits
from pedsynth.population import sample_person
from pedsynth.render import CAMERAS, RENDERER_VERSION, render_person

# Far from each other and from the benchmarks' seeds, which count from 0: no person is drawn twice.
PRETRAIN_SEED, MEASURE_SEED = 777_000, 888_000
_CHUNK = 250


class Renders:
    """`images` (N, 96, 96, 3) uint8, memory-mapped; `traits` (N, K) bool, columns `trait_names()`; `labels` (N, A)."""

    def __init__(self, folder):
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.traits = np.load(folder / "traits.npy")
        self.labels = np.load(folder / "labels.npy")

    def __len__(self):
        return len(self.images)


def rendered(cache, kind, count, seed, workers=1):
    """`Renders` of a kind, from the cache or rendered now; the folder is named by the renderer's version and traits.

    Args:
        cache: folder for the arrays.
        kind: `pretrain` (people of the broad mix, seen by every benchmark's cameras, loosely cropped) or a benchmark
            and a split, such as `peta-test`.
        count: number of images.
        seed: of people, cameras and crops.
        workers: number of processes.
    """
    folder = Path(cache) / f"v{RENDERER_VERSION}-{len(trait_names())}traits-{kind}-{seed}-{count}"
    if not (folder / "done.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (count, architecture.SIZE, architecture.SIZE, 3)
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        starts, rows = range(0, count, _CHUNK), []
        with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
            jobs = (pool.map if pool else map)(partial(_chunk, kind=kind, count=count, seed=seed), starts)
            for start, (pixels, *row) in zip(starts, tqdm(jobs, f"render {kind}", total=len(starts)), strict=True):
                images[start : start + len(pixels)] = pixels
                rows.append(row)
        images.flush()
        np.save(folder / "traits.npy", np.concatenate([row[0] for row in rows]))
        np.save(folder / "labels.npy", np.concatenate([row[1] for row in rows]))
        (folder / "done.json").write_text(json.dumps({"renderer": RENDERER_VERSION}), encoding="utf-8")
    return Renders(folder)


def pretraining_labels(benchmark, count, seed=PRETRAIN_SEED):
    """A benchmark's labels (count, A) int8 for the people that `rendered` shows as `pretrain`."""
    people = (sample_person(np.random.default_rng((seed, index)), "mixed", "train") for index in range(count))
    return np.array([list(labels(person, benchmark).values()) for person in people], np.int8)


def _chunk(start, kind, count, seed):
    people = (_one(index, kind, seed) for index in range(start, min(start + _CHUNK, count)))
    return [np.stack(part) for part in zip(*people, strict=True)]


def _one(index, kind, seed):
    rng = np.random.default_rng((seed, index))
    if kind == "pretrain":
        person = sample_person(rng, "mixed", "train")
        domains = ("mixed", *sorted(set(CAMERAS) - {"mixed"}))
        image, benchmark = render_person(person, rng, domains[int(rng.integers(len(domains)))]), "pa100k"
        w, h = image.size
        left, right = rng.uniform(0, 0.06, 2) * w
        top, bottom = rng.uniform(0, 0.03, 2) * h
        box = (left, top, w - right, h - bottom)
    else:
        benchmark, split = kind.split("-")
        person = sample_person(rng, benchmark, split)
        image, box = render_person(person, rng, benchmark), None
    pixels = image.resize((architecture.SIZE, architecture.SIZE), 2, box)  # 2 is bilinear, as the processor resizes
    true, named = traits(person), labels(person, benchmark)
    return (
        np.asarray(pixels),
        np.array([true[name] for name in trait_names()]),
        np.array(list(named.values()), dtype=np.int8),
    )
