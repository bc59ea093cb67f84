"""Rendered benchmarks in the official file layouts: for those who have no benchmark at hand, and for tests."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from parlib.errors import BadInput
from parlib.files import partial_of, read_json, sweep
from pedsynth.annotations import write_annotations
from pedsynth.layouts import LAYOUTS, Plan
from pedsynth.population import DOMAINS
from pedsynth.render import CAMERAS, RENDERER_VERSION, render_person

__all__ = ["RENDERER_VERSION", "synthesize"]
_QUALITY = 90
_SAYS = "Rendered people, not photographs. No number from this tree is a result on the benchmark whose layout it has."


def synthesize(benchmark, out, train, val, test, seed=0, domain=None, workers=None, progress=True):
    """Render a benchmark into `out` in its official layout.

    The same arguments give the same bytes on any machine. A finished tree of the same arguments is returned at once.
    Rare attributes keep their rate, but a split of at least 200 images has four positives of each: where chance gave
    fewer, people of the split are drawn again until one has the attribute (Market-1501 itself has nobody in test with
    purple trousers). A small tree has fewer images a person than the release: at most 8 in peta, 4 or so in market1501.

    Args:
        benchmark: `pa100k`, `peta` or `market1501`.
        out: folder to make; it must not exist with other content.
        train, val, test: images a split, at least 1; of peta, in each of its five partitions; of market1501, as split
            by its loader (train at least 3).
        seed: of people, clothes, poses and cameras.
        domain: whose people and cameras (also `mixed`); default the benchmark's own.
        workers: processes; default one a core.

    Returns:
        Path of the tree.

    Raises:
        BadInput: unknown benchmark or domain, a size too small, an `out` with other content.
    """
    out, domain, sizes = Path(out), domain or benchmark, {"train": train, "val": val, "test": test}
    if benchmark not in LAYOUTS:
        raise BadInput(f"cannot render benchmark {benchmark!r}; known: {', '.join(LAYOUTS)}")
    if domain not in DOMAINS:
        raise BadInput(f"unknown domain {domain!r}; known: {', '.join(DOMAINS)}")
    for split, size in sizes.items():
        if size < LAYOUTS[benchmark].get(split, 1):
            raise BadInput(f"{split} has {size} images; {benchmark} needs at least {LAYOUTS[benchmark].get(split, 1)}")
    for name, value, least in (("seed", seed, 0), ("workers", workers, 1)):
        if value is not None and value < least:
            raise BadInput(f"{name} is {value}; it must be at least {least}")
    asked = {"benchmark": benchmark, "domain": domain, "seed": seed, **sizes, "renderer": RENDERER_VERSION}
    if out.exists():
        if _is_tree(out, asked):
            return out
        if not out.is_dir() or any(out.iterdir()):
            raise BadInput(f"{out} exists with other content: give another folder or remove it; nothing is overwritten")
    plan = Plan(benchmark, sizes, domain, seed)
    building = partial_of(out)
    sweep(out.parent)
    try:
        for folder in {Path(shot.path).parent for shot in plan.shots}:
            (building / folder).mkdir(parents=True)
        _write_images(plan, building, workers or os.cpu_count(), progress)
        write_annotations(plan, building)
        about = {"what": _SAYS, "asked": asked, **plan.facts()}
        (building / "rendered.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        building.replace(out)  # also in the place of an empty folder
    except OSError as error:
        if not _is_tree(out, asked):  # else another process was first with the same
            raise BadInput(f"{out} cannot be written: {error.strerror}; make room or choose another place") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def _is_tree(out, asked):
    about = out / "rendered.json"
    return about.is_file() and read_json(about, "rendered tree").get("asked") == asked


def _write_images(plan, root, workers, progress):
    jobs = [(number, shot, plan.person(number)) for number, shot in enumerate(plan.shots)]
    render = partial(_write_image, root=root, benchmark=plan.benchmark, domain=plan.domain, seed=plan.seed)
    with tqdm(total=len(jobs), desc=f"render {plan.benchmark}", unit="image", disable=not progress) as bar:
        if workers == 1:
            for job in jobs:
                render(job)
                bar.update()
        else:
            with ProcessPoolExecutor(workers) as pool:
                for _ in pool.map(render, jobs, chunksize=32):
                    bar.update()


def _write_image(job, root, benchmark, domain, seed):
    """One picture; what stays between the pictures of one identity is drawn from a generator of that identity."""
    number, shot, person = job
    rng = np.random.default_rng([seed, 9, number + 1])
    looks = np.random.default_rng([seed, 10, shot.who])
    size = (64, 128) if benchmark == "market1501" else None
    image = render_person(person, rng, domain, size, looks, shot.camera % len(CAMERAS[domain]))
    if shot.split is None and benchmark == "market1501":  # a detection gone wrong: a piece of somebody
        x, y = rng.uniform(0, 0.5) * image.width, rng.uniform(0, 0.5) * image.height
        image = image.resize(size, box=(x, y, x + image.width / 2, y + image.height / 2))
    image.save(root / shot.path, quality=_QUALITY)
