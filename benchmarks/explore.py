"""How long each explorer takes to answer each of its controls: `python benchmarks/explore.py`.

On rendered people with nano and a head as it is trained here, and with base-224 shapes (random weights, the paper's
head). Thresholds, errors and prompts answer for 10,000 images (PA-100K's test), the dataset explorer for 100,000.
"""

import argparse
import tempfile
import time
from statistics import median

import numpy as np
import torch
from encode import encoder_of
from harness import write

from parlib.data import labels_of, load_benchmark
from parlib.encode.encoder import ImageFeatures
from parlib.learn.methods import new_head
from parlib.schema import schema
from parlib.show.explorers import AttributeExplorer, DatasetExplorer, ErrorExplorer, PromptExplorer, ThresholdExplorer
from pedsynth import synthesize

LIMITS = {"nano": 200, "base-224": 500}  # ms


class Store:
    """Random features of 10,000 images, made when asked for: what an explorer costs does not depend on them."""

    shapes = None

    def __init__(self, encoder):
        self.shape = encoder.patches, encoder.width

    def __getitem__(self, rows):
        return ImageFeatures(torch.randn(len(rows), *self.shape), torch.randn(len(rows), self.shape[1]))


def answers(name, head, splits, large, repeats):
    """{control: median and slowest ms} of every control of every explorer."""
    encoder, about = encoder_of(name), schema("pa100k")
    head = new_head(about, encoder, preset=head).eval()
    draws, test = np.random.default_rng(0), splits["test"]
    labels = np.tile(labels_of(test), (10_000 // len(test), 1))
    scores = (0.3 * labels + 0.7 * draws.random(labels.shape)).astype(np.float32)
    many = test.select(np.arange(len(labels)) % len(test))
    one = AttributeExplorer(encoder, about, test, labels_of(test), head)
    data = DatasetExplorer(large, about)
    prompts = PromptExplorer(encoder, about, torch.randn(len(labels), encoder.width), labels, ["en"])
    threshold = ThresholdExplorer(about, labels, scores)
    errors = ErrorExplorer(about, many, labels, scores, 0.5, head, Store(encoder))
    asked = {
        "one: set image": (one.image, range(1, 99)),
        "one: attribute": (one.attribute, about.names),
        "one: threshold": (one.threshold, np.linspace(0.1, 0.9, 99)),
        "one: for all": (one.everywhere, [True, False] * 50),
        "one: phrase": (one.prompt, [f"a person with {i} bags" for i in range(99)]),
        "data: has": (data.has, [(n,) for n in about.names]),
        "data: has not": (data.lacks, [(n,) for n in about.names]),
        "data: split": (data.split, ["train", "test"] * 50),
        "data: page": (data.page, range(2, 99)),
        "prompts: attribute": (prompts.attribute, about.names[1:]),
        "prompts: phrase": (prompts.prompt, [f"a person with {i} bags" for i in range(99)]),
        "threshold: attribute": (threshold.attribute, about.names[1:]),
        "threshold: threshold": (threshold.threshold, np.linspace(0.1, 0.9, 99)),
        "errors: attribute": (errors.attribute, about.names[1:]),
        "errors: kind": (errors.kind, ["false negatives", "false positives"] * 50),
        "errors: by": (errors.by, ["group", "image"] * 50),
    }
    found = {}
    for what, (control, values) in asked.items():
        if what == "data: page":
            data.has.value = data.lacks.value = ()
        taken = []
        for value in list(values)[: repeats + 1]:
            start = time.perf_counter()
            control.value = value
            taken.append(1000 * (time.perf_counter() - start))
        found[what] = {"median_ms": round(median(taken[1:]), 1), "slowest_ms": round(max(taken[1:]), 1)}
        print(f"{name:9s} {what:22s} {found[what]['median_ms']:8.1f} ms, slowest {found[what]['slowest_ms']:.1f}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as root:
        synthesize("pa100k", root, train=60, val=40, test=100, progress=False)
        splits = {split: load_benchmark("pa100k", root, split) for split in ("train", "test")}
        rows = {"train": 80_000, "test": 20_000}
        large = {s: part.select(np.arange(rows[s]) % len(part)) for s, part in splits.items()}
        cases = {"nano": "recommended", "base-224": "paper"}
        result = {name: answers(name, head, splits, large, repeats) for name, head in cases.items()}
    slow = [
        f"{name} {what}"
        for name, found in result.items()
        for what, times in found.items()
        if times["median_ms"] > LIMITS[name]
    ]
    write("explore", {"limits_ms": LIMITS, "over_the_limit": slow, "answers": result})


if __name__ == "__main__":
    main()
