"""Attributes that an `open` head was never trained for: `python tools/unseen.py` writes benchmarks/results/unseen.json.

On the rendered trees of the small profile, three seeds (a seed draws people, cameras and weights): a head trained on
two thirds of PA-100K's attribute groups is asked for the others (leave-attributes-out), and one trained on one or two
benchmarks for the attributes of another one (leave-benchmark-out); each in six languages. Prompts in training are
English. The epoch is chosen on val by the attributes trained for. Heads that are in the file already are kept.
"""

import argparse
import itertools
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import block_diag

from parlib.data import BENCHMARKS, benchmark_root, read_release
from parlib.encode.encoder import load_encoder
from parlib.encode.prompts import languages, load_prompts
from parlib.files import digest, json_text, write_atomic
from parlib.learn.inputs import Rows, Split, prepare
from parlib.learn.methods import find_methods, new_head
from parlib.learn.train import fit
from parlib.learn.unseen import only, unseen_table
from parlib.measure.records import hardware
from parlib.profile import profile
from parlib.schema import Schema

OUT = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "unseen.json"
NAMES, SEEDS = BENCHMARKS[:3], (0, 1, 2)
EXPERIMENTS = [("benchmark", names) for size in (2, 1) for names in itertools.combinations(NAMES, size)]
EXPERIMENTS.insert(3, ("attributes", ("pa100k",)))
ABOUT = (
    "Percent, mean average precision over the attributes that were not trained for, on test. difference: the open head "
    "minus the other, with its paired 95 % bootstrap interval over test images, over people where they are known."
)


def together(parts):
    """Splits of several benchmarks as one: all their images and attributes; what a benchmark does not label is unknown.

    An attribute is called `benchmark/name` and keeps its English prompt, so that one `open` head learns them all.
    """
    attributes = [
        replace(attribute, name=f"{part.schema.name}/{attribute.name}", prompt=prompt)
        for part in parts
        for attribute, prompt in zip(part.schema.attributes, load_prompts(part.schema), strict=True)
    ]
    labels = block_diag(*(part.labels + 1 for part in parts)).astype(np.int8) - 1  # -1 off the diagonal
    stores = [([f"{i}/{row}" for row in range(len(part.store))], part.store) for i, part in enumerate(parts)]
    store = Rows([name for names, _ in stores for name in names], stores)
    schema = Schema("+".join(part.schema.name for part in parts), tuple(attributes))
    about = {**parts[0].about, "benchmark": schema.name, "labels_sha256": digest(labels.tolist())}
    about["items_sha256"] = digest([part.about["items_sha256"] for part in parts])
    return Split(store, labels, about, schema)


def main():
    """Command line; returns nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    made = profile("small")
    (method,) = find_methods(["recommended"])
    encoder = load_encoder(made.encoder)
    found = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {"rows": []}
    rows = found["rows"] if found.get("weights") == encoder.identity["weights"] else []
    done = {(row["seed"], row["left_out"], row["trained_on"]) for row in rows}
    every = [(seed, *experiment) for experiment in EXPERIMENTS for seed in SEEDS]
    jobs = [job for job in every if (job[0], job[1], "+".join(job[2])) not in done]
    about = {"about": ABOUT, "profile": made.name, "sizes": made.sizes, "seeds": SEEDS, "head": "recommended, open"}
    about |= {"training": method.train_options(made.encoder).to_dict(), "resamples": args.resamples}
    about |= {"encoder": made.encoder, "weights": encoder.identity["weights"], "hardware": hardware()}
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        for more in pool.map(_run, jobs, itertools.repeat(args.resamples)):
            rows += more
            write_atomic(OUT, json_text({**about, "rows": rows}) + "\n")


def _run(job, resamples):
    """Train one head, and score it on what it was not trained for: one row per benchmark and language."""
    seed, left_out, sources = job
    torch.set_num_threads(1)
    encoder, parts = _parts(seed)
    (method,) = find_methods(["recommended"])
    if left_out == "benchmark":
        train, val = (together([parts[name][split] for name in sources]) for split in ("train", "val"))
        known = set(load_prompts(train.schema))
        tests = [parts[name]["test"] for name in NAMES if name not in sources]
        tests = [_where(test, lambda prompt, _: prompt not in known) for test in tests]
    else:
        here = parts[sources[0]]
        groups = list(here["train"].schema.groups)[2::3]  # as in notebook 3
        train, val = (_where(here[split], lambda _, group: group not in groups) for split in ("train", "val"))
        tests = [_where(here["test"], lambda _, group: group in groups)]
    head = new_head(train.schema, encoder, seed, open=True, preset="recommended")
    fit(head, train, val, method.train_options(encoder.name), seed)
    rows = []
    for test, language in itertools.product(tests, languages()):
        table = unseen_table(head, encoder, test, language, resamples).mul(100).round(2)
        about = {"left_out": left_out, "trained_on": "+".join(sources), "test": test.about["benchmark"]}
        about |= {"attributes": len(test.schema), "language": language, "seed": seed}
        about["open head"] = table["mAP"]["open head"]
        rows.append({**about, **{other: dict(table.loc[other]) for other in table.index[1:]}})
        print(rows[-1], flush=True)
    return rows


def _where(split, wanted):
    """The split with the attributes for which `wanted(prompt, group)`."""
    pairs = zip(split.schema.attributes, load_prompts(split.schema), strict=True)
    return only(split, [attribute.name for attribute, prompt in pairs if wanted(prompt, attribute.group)])


def _parts(seed):
    """The encoder, and benchmark -> split -> `Split`."""
    made = profile("small", seed=seed)
    encoder = load_encoder(made.encoder)
    parts = {}
    for name in NAMES:
        release = read_release(name, benchmark_root(replace(made, benchmark=name)))
        splits = ("train", "val", "test")
        parts[name] = {split: prepare(release, split, encoder, made.cache, made.dtype) for split in splits}
    return encoder, parts


if __name__ == "__main__":
    main()
