"""Learning rates by validation: `python tools/tune.py`. Every trained method of the tables gets the same grid.

The trees are rendered with a seed that no record uses, only val is scored, and what was found is written to
benchmarks/results/tuning.json. The chosen values are typed into parlib/assets/methods.yaml.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from parlib.data import benchmark_root, read_release
from parlib.encode.encoder import load_encoder
from parlib.files import json_text, write_atomic
from parlib.learn.inputs import prepare
from parlib.learn.methods import build, find_methods
from parlib.learn.train import fit
from parlib.profile import profile

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "tuning.json"
SEED, RATES = 100, (1e-3, 2e-3, 4e-3, 8e-3)
METHODS = ("mlp", "attentive", "efficient", "recommended", "compact", "paper-best", "paper")


def main():
    """Command line; returns nothing. Runs that are in the file are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--epochs", type=int, help="default: the method's own")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache")
    args = parser.parse_args()
    _parts(args.cache)
    jobs = [(args.cache, key, lr, args.epochs) for key in args.methods for lr in args.rates]
    rows = json.loads(OUT.read_text())["runs"] if OUT.is_file() else []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for row in pool.map(_run, *zip(*jobs, strict=True)):
            rows = [r for r in rows if any(r[k] != row[k] for k in ("method", "lr", "epochs"))] + [row]
            print(row, flush=True)
            found = {"tree": f"rendered pa100k, seed {SEED}", "scores": "percent on val", "runs": rows}
            write_atomic(OUT, json_text(found) + "\n")


def _parts(cache):
    made = profile("small", cache=cache, seed=SEED)
    encoder, release = load_encoder(made.encoder), read_release("pa100k", benchmark_root(made))
    return encoder, [prepare(release, split, encoder, made.cache, made.dtype) for split in ("train", "val")]


def _run(cache, key, lr, epochs):
    encoder, (train, val) = _parts(cache)
    (method,) = find_methods([key])
    options = replace(method.train_options("nano"), lr=lr, threads=1)
    options = replace(options, epochs=epochs or options.epochs)
    torch.set_num_threads(1)
    history = fit(build(method, train.schema, encoder, SEED), train, val, options, SEED)
    best = history.epochs[history.best_epoch]
    about = {"method": key, "lr": lr, "epochs": options.epochs, "best_epoch": history.best_epoch}
    return {**about, "mAP": round(100 * best["mAP"], 2), "mA": round(100 * best["mA"], 2)}


if __name__ == "__main__":
    main()
