"""What bfloat16 changes in results: `python benchmarks/precision.py` writes `results/precision.json`.

With `--root TREE` of PA-100K, or of a part of it, only `features` on its train and test, in `precision-tree.json`.

The rendered benchmarks of the small profile, nano. `features`: methods trained on features in fp32 score test's
features of both precisions, at thresholds tuned on val in fp32. `training`: heads trained in both precisions on the
same features in fp32, three seeds, each at its own tuned thresholds; it takes a CPU or GPU that computes in bfloat16.
"""

import argparse
import itertools
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from harness import write

from parlib.data import benchmark_root, read_release
from parlib.data.release import IN_PLAN
from parlib.encode.encoder import load_encoder
from parlib.learn.inputs import prepare
from parlib.learn.methods import Task, find_methods, run_method
from parlib.learn.train import TrainOptions, in_bf16
from parlib.measure.metrics import evaluate, tune_thresholds
from parlib.profile import cache_folder, profile

READERS, TRAINED, SEEDS = (
    ("linear", "knn", "attentive", "compact", "recommended"),
    ("compact", "recommended"),
    (0, 1, 2),
)


def closeness(release, place, test, methods):
    """Of each method, trained on features in fp32: what features in bf16 change on a split (see `changes`)."""
    single, half = load_encoder("nano"), load_encoder("nano", precision="bf16")
    train, val, want = (prepare(release, split, single, place, progress=False) for split in ("train", "val", test))
    with warnings.catch_warnings(action="ignore"):  # of the store in fp32
        seen = prepare(release, test, half, place, progress=False)
    found = {}
    for method in methods:
        task = Task(train, val, [val.store, want.store, seen.store], single)
        on_val, *scores = run_method(method, task).scores
        found[method.key] = changes(want.labels, scores, [tune_thresholds(val.labels, on_val)] * 2)
    return found


def changes(labels, scores, thresholds):
    """The second of two arrays of scores (n, A) minus the first, in points; and the share of decisions that differ.

    Each has thresholds (A,) of its own; `at_half` is decided at 0.5.
    """
    one, other = (evaluate(labels, *each).summary() for each in zip(scores, thresholds, strict=True))
    halves = [evaluate(labels, each, 0.5).mA for each in scores]
    decided = [each > limits for each, limits in zip(scores, thresholds, strict=True)]
    return {
        "tuned_mA": 100 * (other["mA"] - one["mA"]),
        "mA_at_half": 100 * (halves[1] - halves[0]),
        "mAP": 100 * (other["mAP"] - one["mAP"]),
        "flipped": float((decided[0] != decided[1]).mean()),
        "flipped_at_half": float(((scores[0] > 0.5) != (scores[1] > 0.5)).mean()),
    }


def _parts(name):
    small = profile("small", seed=0, benchmark=name)
    return small, read_release(name, benchmark_root(small))


def _features(name):
    torch.set_num_threads(1)
    small, release = _parts(name)
    return closeness(release, small.cache, "test", find_methods(READERS))


def _training(name, key, seed):
    """What training in bf16 changes, and tuned mA and mAP of training in fp32."""
    torch.set_num_threads(1)
    (small, release), encoder, (method,) = _parts(name), load_encoder("nano"), find_methods([key])
    train, val, test = (
        prepare(release, split, encoder, small.cache, progress=False) for split in ("train", "val", "test")
    )
    scores, thresholds = [], []
    for bf16 in ("never", "native"):
        options = replace(method.train_options("nano"), bf16=bf16)
        on_val, on_test = run_method(method, Task(train, val, [val.store, test.store], encoder, seed, options)).scores
        scores.append(on_test)
        thresholds.append(tune_thresholds(val.labels, on_val))
    single = evaluate(test.labels, scores[0], thresholds[0]).summary()
    return {**changes(test.labels, scores, thresholds), "fp32": {name: 100 * single[name] for name in ("mA", "mAP")}}


def main():
    """Measure and write; returns nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="a PA-100K tree (default: the rendered benchmarks)")
    if root := parser.parse_args().root:
        release, methods, place = read_release("pa100k", root), find_methods(READERS), cache_folder()
        found = {split: closeness(release, place, split, methods) for split in ("train", "test")}
        images = {split: len(release.listing(split).names) for split in found}
        write("precision-tree", {"images": images, "features": found})
        return
    if not in_bf16(TrainOptions(bf16="native"), torch.device("cpu")):
        raise SystemExit("this CPU does not compute in bf16: there is nothing to compare")
    jobs = list(itertools.product(IN_PLAN, TRAINED, SEEDS))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        features = dict(zip(IN_PLAN, pool.map(_features, IN_PLAN), strict=True))
        rows = list(pool.map(_training, *zip(*jobs, strict=True)))
    training = [
        dict(zip(("benchmark", "head", "seed"), job, strict=True)) | row for job, row in zip(jobs, rows, strict=True)
    ]
    for key in TRAINED:
        gaps = {score: [row[score] for row in training if row["head"] == key] for score in ("tuned_mA", "mAP")}
        print(
            key, {score: (np.mean(values).round(2), np.std(values, ddof=1).round(2)) for score, values in gaps.items()}
        )
    write("precision", {"features": features, "training": training})


if __name__ == "__main__":
    main()
