"""Rendered benchmarks in the official file layouts: for those who have no benchmark at hand, and for tests."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import savemat
from tqdm.auto import tqdm

from parlib.data.synthetic.labels import labels
from parlib.data.synthetic.population import DOMAINS, sample_person
from parlib.data.synthetic.render import RENDERER_VERSION, render_person
from parlib.errors import BadInput
from parlib.files import read_json

__all__ = ["RENDERER_VERSION", "synthesize"]
_SPLITS = ("train", "val", "test")
_MINIMUM = 4  # positives of every attribute in each split, where the split is large enough to give them away
_QUALITY = 90


def synthesize(benchmark, out, train, val, test, seed=0, domain=None, workers=None, progress=True):
    """Render a benchmark into `out` in its official layout.

    The same arguments give the same bytes on any machine. A finished tree of the same arguments is returned at once.
    Rare attributes keep their rate, but a split of at least 200 images has four positives of each: where chance gave
    fewer, the last images of the split are drawn again until they have the attribute.

    Args:
        benchmark: `pa100k`.
        out: folder to make; it must not exist with other content.
        train, val, test: images a split, at least 1.
        seed: of people, clothes, poses and cameras.
        domain: whose people and camera; default the benchmark's own.
        workers: processes; default one a core.

    Returns:
        Path of the tree.

    Raises:
        BadInput: unknown benchmark or domain, a size below 1, an `out` with other content.
    """
    out, domain, sizes = Path(out), domain or benchmark, {"train": train, "val": val, "test": test}
    if benchmark != "pa100k":
        raise BadInput(f"cannot render benchmark {benchmark!r}; known: pa100k")
    if domain not in DOMAINS:
        raise BadInput(f"unknown domain {domain!r}; known: {', '.join(DOMAINS)}")
    for split, size in sizes.items():
        if size < 1:
            raise BadInput(f"{split} has {size} images; a split needs at least 1")
    asked = {"benchmark": benchmark, "domain": domain, "seed": seed, **sizes, "renderer": RENDERER_VERSION}
    if out.exists():
        if (out / "rendered.json").is_file() and read_json(out / "rendered.json", "rendered tree")["asked"] == asked:
            return out
        if not out.is_dir() or any(out.iterdir()):
            raise BadInput(f"{out} exists with other content: give another folder or remove it; nothing is overwritten")
    building = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    (building / "data").mkdir(parents=True)
    people = _people(sizes, domain, seed)
    jobs = [(number, person) for number, (_, person) in enumerate(people, 1)]
    render = partial(_write_image, folder=building / "data", domain=domain, seed=seed)
    with tqdm(total=len(jobs), desc=f"render {benchmark}", unit="image", disable=not progress) as bar:
        workers = workers or os.cpu_count()
        if workers == 1:
            for job in jobs:
                render(job)
                bar.update()
        else:
            with ProcessPoolExecutor(workers) as pool:
                for _ in pool.map(render, jobs, chunksize=32):
                    bar.update()
    _write_pa100k(building, people)
    says = (
        "Rendered people, not photographs. No number from this tree is a result on the benchmark whose layout it has."
    )
    (building / "rendered.json").write_text(json.dumps({"what": says, "asked": asked}, indent=1) + "\n")
    if out.exists():
        out.rmdir()
    building.rename(out)
    return out


def _people(sizes, domain, seed):
    """[(split, Person)], each from a generator of its own, so that sizes of other splits change nothing."""
    people = []
    for number, split in enumerate(_SPLITS):
        group = [sample_person(np.random.default_rng([seed, number, i]), domain, split) for i in range(sizes[split])]
        if len(group) >= 200:
            _ensure_positives(group, np.random.default_rng([seed, number, 1_000_000_007]), domain, split)
        people += [(split, person) for person in group]
    return people


def _ensure_positives(group, rng, domain, split):
    """Give each attribute its minimum by drawing the last people again; one after the other."""
    last = len(group) - 1
    for name in labels(group[0]):
        for _ in range(_MINIMUM - sum(labels(person)[name] for person in group)):
            while not labels(group[last])[name]:
                group[last] = sample_person(rng, domain, split)
            last -= 1


def _write_image(job, folder, domain, seed):
    number, person = job
    image = render_person(person, np.random.default_rng([seed, 9, number]), domain)
    image.save(folder / f"{number:06d}.jpg", quality=_QUALITY)


def _write_pa100k(root, people):
    content = {"attributes": _cells(labels(people[0][1]))}
    for split in _SPLITS:
        rows = [(number, person) for number, (home, person) in enumerate(people, 1) if home == split]
        content[f"{split}_images_name"] = _cells(f"{number:06d}.jpg" for number, _ in rows)
        content[f"{split}_label"] = np.array([list(labels(person).values()) for _, person in rows], np.uint8)
    save_mat(root / "annotation.mat", content)


def _cells(texts):
    """Strings as MATLAB's N x 1 cell array of 1 x 1 cells, the nesting of the official file."""
    texts = list(texts)
    cells = np.empty((len(texts), 1), object)
    for row, text in enumerate(texts):
        cells[row, 0] = np.array([text])
    return cells


def save_mat(path, content):
    """`scipy.io.savemat` without its time stamp, so that the same content gives the same bytes."""
    savemat(path, content, do_compression=True)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, rendered by parlib".ljust(116))
