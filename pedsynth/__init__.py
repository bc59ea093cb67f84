"""Rendered pedestrian benchmarks in the official file layouts, for tests and for users without the real data."""

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
_NOTICE = "Rendered people, not photographs. No number from this tree is a result on the benchmark whose layout it has."


def synthesize(benchmark, out, train, val, test, seed=0, domain=None, workers=None, progress=True):
    """Render a benchmark into `out` in its official layout.

    The same arguments give the same bytes on any machine. A finished tree of the same arguments is returned at once.
    Rare attributes keep their rate, but a split of at least 200 images has at least four positives of each attribute:
    if there are fewer, people of that split are drawn again until one has the attribute (the real Market-1501 test
    split has nobody in purple trousers). A small tree has fewer images per person than the release: at most 8 in peta,
    about 4 in market1501.

    Args:
        benchmark: `pa100k`, `peta`, `market1501`, `rapv1` or `rapv2`.
        out: folder to make; it must not exist with other content.
        train, val, test: images per split, at least 1. For peta they hold for each of its five partitions, for
            market1501 for the splits that its loader makes (train at least 3). The loader of rapv1
            deals val out of train and val together.
        seed: of people, clothes, poses and cameras.
        domain: the benchmark whose people and cameras are imitated, or `mixed`; default `benchmark`, of RAP `mixed`.
        workers: number of processes; default one per core.

    Returns:
        Path of the tree.

    Raises:
        BadInput: unknown benchmark or domain, a size that is too small, or an `out` with other content.
    """
    out, sizes = Path(out), {"train": train, "val": val, "test": test}
    domain = domain or {"rapv1": "mixed", "rapv2": "mixed"}.get(benchmark, benchmark)
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
    arguments = {"benchmark": benchmark, "domain": domain, "seed": seed, **sizes, "renderer": RENDERER_VERSION}
    if out.exists():
        if _is_tree(out, arguments):
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
        about = {"what": _NOTICE, "arguments": arguments, **plan.facts()}
        (building / "rendered.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        building.replace(out)  # `out` may be an empty folder
    except OSError as error:
        if not _is_tree(out, arguments):  # otherwise another process finished the same tree first
            raise BadInput(f"{out} cannot be written: {error.strerror}; make room or choose another place") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def _is_tree(out, arguments):
    path = out / "rendered.json"
    if not path.is_file():
        return False
    about = read_json(path, "rendered tree")
    return about.get("arguments", about.get("asked")) == arguments  # `asked` in trees of older versions


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
    """Render one picture; body, hair and exact colours come from a generator of the identity, the rest from its own."""
    number, shot, person = job
    rng = np.random.default_rng([seed, 9, number + 1])
    looks = np.random.default_rng([seed, 10, shot.who])
    size = (64, 128) if benchmark == "market1501" else None
    image = render_person(person, rng, domain, size, looks, shot.camera % len(CAMERAS[domain]))
    if shot.split is None and benchmark == "market1501":  # a wrong detection: a part of a person
        x, y = rng.uniform(0, 0.5) * image.width, rng.uniform(0, 0.5) * image.height
        image = image.resize(size, box=(x, y, x + image.width / 2, y + image.height / 2))
    image.save(root / shot.path, quality=_QUALITY)
