"""How time and memory grow with images, attributes and prompts: `python benchmarks/growth.py`.

Every job runs at 1x, 4x and 16x on rendered people with nano, each time in a process of its own. Seconds are those of
the job alone; memory is what the process holds (anonymous pages, not mapped files), above what it held before the job.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import RESULTS, write

import parlib
from parlib.data import labels_of, read_release
from parlib.data.check import check
from parlib.learn.baselines import zero_shot
from parlib.learn.inputs import prepare
from parlib.learn.train import TrainOptions
from parlib.measure.metrics import tune_thresholds
from parlib.use.crops import gather
from parlib.use.predict import Job, write_predictions
from pedsynth import synthesize

TIMES, REPEATS = (1, 4, 16), 2
BASE = {"images": 250, "attributes": 26, "prompts": 26}
ASKED = {"images": (100_000, 10_000_000), "attributes": (1_000,), "prompts": (1_000,)}  # what is extrapolated to
FEW = 100  # images of the splits that do not grow
ONCE = TrainOptions(epochs=1, batch_size=32, lr=1e-3, loss="bce")


def _tree(place, images):
    return synthesize("pa100k", place / f"tree-{images}", images, FEW, FEW, progress=False)


def _split(place, images, split="train"):
    return prepare(read_release("pa100k", _tree(place, images)), split, parlib.load_encoder(), place, progress=False)


def _wide(place, attributes, preset):
    """Head, train and val of so many attributes: those of PA-100K again and again, under other names."""
    encoder, schema, times = parlib.load_encoder(), parlib.schema("pa100k"), -(-attributes // 26)
    names = tuple(replace(a, name=f"{a.name}-{i}") for i in range(times) for a in schema.attributes)[:attributes]
    wide = parlib.schema("pa100k").__class__("wide", names)
    prompts = (parlib.load_prompts("pa100k") * times)[:attributes]
    head = parlib.VLMPARHead.for_encoder(encoder, wide, prompts, preset)
    parts = [_split(place, BASE["images"], split) for split in ("train", "val")]
    return head, *((part.store, np.tile(part.labels, times)[:, :attributes]) for part in parts)


def _scores(images, attributes):
    """Labels and probabilities (images, attributes) as a benchmark has them: one in five is a yes."""
    rng = np.random.default_rng(0)
    return (rng.random((images, attributes)) < 0.2).astype(np.int8), rng.random((images, attributes))


def render(place, n):
    there = Path(tempfile.mkdtemp(dir=place))
    return lambda: synthesize("pa100k", there / "new", n, FEW, FEW, progress=False)


def load(place, n):
    root = _tree(place, n)
    return lambda: labels_of(parlib.load_benchmark("pa100k", root, "train"))


def checked(place, n):
    root = _tree(place, n)
    return lambda: check(root)


def extract(place, n):
    data, encoder = parlib.load_benchmark("pa100k", _tree(place, n), "train"), parlib.load_encoder()
    there = tempfile.mkdtemp(dir=place)
    return lambda: parlib.extract(data, encoder, there, "t", progress=False)


def open_split(place, n):
    _split(place, n)
    return lambda: _split(place, n)


def train(place, n):
    encoder, part, val = parlib.load_encoder(), _split(place, n), _split(place, n, "val")
    head = parlib.VLMPARHead.for_encoder(encoder, part.schema, parlib.load_prompts("pa100k"), "recommended")
    return lambda: parlib.fit(head, part, val, ONCE)


def predict(place, n):
    model, out = parlib.load(), Path(tempfile.mkdtemp(dir=place)) / "out.parquet"
    root = _tree(place, n)
    return lambda: write_predictions(Job(model, gather([root]), progress=False), out)


def predict_boxes(place, n):
    """One box in each of n pictures."""
    model, folder = parlib.load(), Path(tempfile.mkdtemp(dir=place))
    images, boxes = sorted(_tree(place, n).rglob("*.jpg"))[:n], folder / "boxes.csv"
    boxes.write_text("image,x,y,width,height\n" + "".join(f"{p.name},0,0,20,40\n" for p in images))
    return lambda: write_predictions(Job(model, gather(images, boxes), progress=False), folder / "out.parquet")


def score(place, n):
    given = _scores(n, 26)
    return lambda: (parlib.evaluate(*given), tune_thresholds(*given))


def intervals(place, n):
    given = _scores(n, 26)
    return lambda: parlib.bootstrap(*given)


def train_compact(place, n):
    head, part, val = _wide(place, n, "compact")
    return lambda: parlib.fit(head, part, val, ONCE)


def train_recommended(place, n):
    head, part, val = _wide(place, n, "recommended")
    return lambda: parlib.fit(head, part, val, ONCE)


def score_attributes(place, n):
    given = _scores(2_000, n)
    return lambda: (parlib.evaluate(*given), tune_thresholds(*given), parlib.bootstrap(*given))


def prompts(place, n):
    encoder, part = parlib.load_encoder(), _split(place, BASE["images"])
    said = [f"{p}, number {i}" for i in range(-(-n // 26)) for p in parlib.load_prompts("pa100k")][:n]
    return lambda: zero_shot(encoder, part.store, said)


JOBS = {
    "images": {
        "render": render,
        "load labels and paths": load,
        "check": checked,
        "extract": extract,
        "open a stored split": open_split,
        "train, an epoch": train,
        "predict": predict,
        "predict, a box each": predict_boxes,
        "score and tune": score,
        "bootstrap, 1,000 draws": intervals,
    },
    "attributes": {
        "train, an epoch, compact": train_compact,
        "train, an epoch, recommended": train_recommended,
        "score, tune and bootstrap": score_attributes,
    },
    "prompts": {"encode and score zero-shot": prompts},
}


def one(axis, job, n, place):
    """Print seconds and MB of one job at one size."""
    work, most, ended = JOBS[axis][job](place, n), 0.0, threading.Event()

    def watch():
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, _anonymous_mb())

    before, watcher = _anonymous_mb(), threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    kept = work()  # held until memory is read
    seconds = time.perf_counter() - start
    ended.set(), watcher.join()
    most = max(most, _anonymous_mb())
    del kept
    print(json.dumps({"seconds": seconds, "mb": max(0.0, most - before)}))


def _anonymous_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def grown(axis, job, place):
    """A job at every size: medians, the exponent of its growth, and what the last step foretells."""
    sizes, rows = [BASE[axis] * times for times in TIMES], []
    for n in sizes:
        call = [sys.executable, __file__, "--one", axis, job, str(n), str(place)]
        runs = []
        for _ in range(REPEATS):
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{job} at {n}: {done.stderr[-2000:]}")
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        taken, held = [run["seconds"] for run in runs], [run["mb"] for run in runs]
        spread = (max(taken) - min(taken)) / statistics.median(taken)
        rows.append({axis: n, "seconds": statistics.median(taken), "spread": spread, "mb": statistics.median(held)})
        print(f"{job:32s} {n:6,} {axis:10s} {rows[-1]['seconds']:8.3f} s {rows[-1]['mb']:8.1f} MB", flush=True)
    out = {"measured": rows}
    for what in ("seconds", "mb"):
        first, middle, last = (row[what] for row in rows)
        early = (middle - first) / (sizes[1] - sizes[0])
        each = (last - middle) / (sizes[2] - sizes[1])  # of one more, past what is paid once
        told = {f"{n:,}": max(last, last + each * (n - sizes[2])) for n in ASKED[axis]}
        steps = each / early if early > 0 else None
        out[what] = {"of_one_more": each, "later_step_to_earlier": steps, "foretold": told}
    out["exponent"] = math.log(rows[2]["seconds"] / rows[1]["seconds"]) / math.log(sizes[2] / sizes[1])
    return out


def main():
    """All jobs, or the one of `--one`, which prints and writes nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=4, metavar=("AXIS", "JOB", "SIZE", "PLACE"), help=argparse.SUPPRESS)
    parser.add_argument("--jobs", nargs="+", help="some only, as named in the result; the rest of it is kept")
    arguments = parser.parse_args()
    if arguments.one:
        axis, job, n, place = arguments.one
        return one(axis, job, int(n), Path(place))
    out = json.loads((RESULTS / "growth.json").read_text())["result"] if arguments.jobs else {}
    with tempfile.TemporaryDirectory() as place:
        for axis, jobs in JOBS.items():
            for job in jobs:
                if not arguments.jobs or job in arguments.jobs:
                    out.setdefault(axis, {})[job] = grown(axis, job, Path(place))
    write("growth", out)


if __name__ == "__main__":
    main()
