"""Every option of the head over several seeds, a record each: `python tools/ablations.py --root TREE`.

Records that are there are kept, so a stopped run goes on; remove one to make it anew. `ablation_table` refuses a folder
in which records of several encoders or trees lie.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from parlib.encode.encoder import load_encoder
from parlib.encode.prompts import load_prompts
from parlib.learn.baselines import PROBES, linear_probe
from parlib.learn.losses import LOSSES
from parlib.learn.run import new_head, prepare
from parlib.learn.train import TrainOptions, fit, predict
from parlib.measure.ablation import REFERENCE, impossible_share, paired_intervals
from parlib.measure.metrics import tune_thresholds
from parlib.measure.records import make_record, write_record
from parlib.profile import settings
from parlib.schema import schema

# What each row changes in the recommended head, or in how it is trained.
OPTIONS = {
    "recommended": {},
    "patches query (paper's, compact)": {"preset": "compact"},
    "patches and prompts query, width 64": {"queries": "both", "grid": 4, "width": 64},
    "MAP-pooled feature for patches": {"image": "pooled"},
    "frozen prompt tokens only": {"learnable_tokens": 0},
    "each attribute another's prompt": {"prompts": "shifted"},
    "mixer over attributes": {"mixer": 1},
    "softmax within exclusive sets": {"exclusive": True},
    "no pooled residual": {"pooled_residual": False},
    "no LayerNorm on tokens": {"norm_tokens": False},
    "BatchNorm on logits": {"norm_logits": True},
    "EMA of weights": {"training": {"ema": 0.99}},
    "mirrored views": {"training": {"mirrored": True}},
    "label-balanced sampling": {"training": {"sampling": "balanced"}},
    **{f"loss {loss}": {"training": {"loss": loss}} for loss in LOSSES if loss != settings("small").training["loss"]},
    **{name: {"probe": name} for name in PROBES},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--benchmark", default="pa100k")
    parser.add_argument("--encoder", default="nano")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("records/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    _load(asked, progress=True)  # extracted once, before the workers ask for it
    jobs = [(name, seed) for name in asked.options for seed in asked.seeds if not _path(asked, name, seed).exists()]
    with ProcessPoolExecutor(asked.workers, get_context("spawn"), _start, (asked,)) as pool:
        list(tqdm(pool.map(_run, *zip(*jobs, strict=True)) if jobs else [], total=len(jobs), unit="run"))


def _path(asked, name, seed=None):
    words = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    return asked.out / f"{words}{'' if seed is None else f'-seed{seed}'}.json"


def _load(asked, progress=False):
    torch.set_num_threads(1)
    encoder = load_encoder(asked.encoder)
    views = {"views": ("plain", "mirrored"), "progress": progress}
    where = (asked.benchmark, asked.root)
    return encoder, [prepare(*where, split, encoder, asked.cache, **views) for split in ("train", "val", "test")]


def _start(asked):
    """A worker's own copy of all that its runs share, and the reference they are compared with."""
    global job
    job = {"asked": asked, "schema": schema(asked.benchmark)}
    job["encoder"], job["parts"] = _load(asked)
    train, val, test = job["parts"]
    on_val, on_test = linear_probe(train, [val.store, test.store])
    job["reference"] = (on_test, on_test > tune_thresholds(val.labels, on_val))
    _record(REFERENCE, None, {"C": 0.1}, on_val, on_test)


def _run(name, seed):
    option, encoder = {**OPTIONS[name]}, job["encoder"]
    training = {**settings("small").training, **option.pop("training", {}), "threads": 1}
    shifted, probe = option.pop("prompts", None), option.pop("probe", None)
    torch.manual_seed(seed)
    if probe:
        head = PROBES[probe](load_prompts(job["schema"]), encoder.width)
    else:
        head = new_head(job["asked"].benchmark, encoder, seed, **{"preset": "recommended", **option})
    if shifted:
        head.set_prompts(encoder.encode_prompts(head.prompts[1:] + head.prompts[:1]))
    options, (train, val, test) = TrainOptions(**training), job["parts"]
    fit(head, train, val, options, seed)
    scores = [predict(head, part.store, mirrored=options.mirrored) for part in (val, test)]
    _record(name, seed, {"head": OPTIONS[name], "training": options.to_dict(), "seed": seed}, *scores)


def _record(name, seed, setting, on_val, on_test):
    _, val, test = job["parts"]
    thresholds = tune_thresholds(val.labels, on_val)
    decided = on_test > thresholds
    compared = paired_intervals(test.labels, on_test, decided, *job["reference"])
    # Decided at 0.5, where a softmax within a set says yes once at most.
    compared["impossible"] = impossible_share(on_test > 0.5, job["schema"])
    about = {"encoder": job["encoder"].name, "weights": job["encoder"].weights_hash, **json.loads(json.dumps(setting))}
    about["ablation"] = compared
    record = make_record(name, about, test.about, test.labels, on_test, thresholds, job["schema"].names)
    write_record(record, _path(job["asked"], name, seed))


if __name__ == "__main__":
    main()
