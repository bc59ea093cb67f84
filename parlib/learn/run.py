"""A run: from a tree on disk to a trained head in a folder, and from that folder to a record.

The same functions serve the commands and the notebooks. A run's folder holds `config.json` and `model.safetensors`
(the head), `run.json` (what was asked, so that it can be asked again), and `<split>.json` (a record an evaluation).
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from parlib.data import labels_of, load_benchmark, read_release
from parlib.encode.encoder import load_encoder
from parlib.encode.features import extract
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.files import digest, read_json, write_atomic
from parlib.learn.baselines import constant, linear_probe, zero_shot
from parlib.learn.head import VLMPARHead
from parlib.learn.train import TrainOptions, fit, predict
from parlib.measure.metrics import tune_thresholds
from parlib.measure.records import make_record, write_record
from parlib.schema import schema


@dataclass
class Split:
    """One split ready to learn from or to score: its features, its labels and where both came from."""

    store: object  # FeatureStore
    labels: np.ndarray  # (n, A) int8
    about: dict  # for records: benchmark, kind of tree, split, hash of the list of images

    def __iter__(self):
        return iter((self.store, self.labels))  # so that `fit(head, train, val)` takes it as it is

    def __getitem__(self, index):
        return (self.store, self.labels)[index]


def prepare(benchmark, root, split, encoder, cache, dtype="fp16", progress=True):
    """Load a split and its features (computed now, or found in `cache/features`) -> `Split`."""
    dataset = load_benchmark(benchmark, root, split)
    store = extract(dataset, encoder, Path(cache) / "features", f"{benchmark}-{split}", dtype, progress=progress)
    about = {
        "benchmark": benchmark,
        "kind": tree_kind(benchmark, root, split),
        "split": split,
        "items_sha256": store.manifest["items_sha256"],
        "labels_sha256": digest(labels_of(dataset).tolist()),
    }
    return Split(store, labels_of(dataset), about)


def tree_kind(benchmark, root, split):
    """What a tree is, for records: `rendered`, `official` (the release's own number of rows), or `other`."""
    release = read_release(benchmark, root)
    if (release.root / "rendered.json").is_file():
        return "rendered"
    return "other" if release.size_note([split]) else "official"


def new_head(benchmark, encoder, seed=0, language="en", **options):
    """An untrained head for a benchmark's schema and default prompts; the seed draws its weights."""
    torch.manual_seed(seed)
    about = schema(benchmark)
    return VLMPARHead.for_encoder(encoder, about, load_prompts(about, language), **options).to(encoder.device)


def train_run(benchmark, root, encoder_name, seed, out, cache, options=None, revision=None, callback=None, **head):
    """Train a head on `train`, keep the best epoch on `val`, tune thresholds on `val`, and save the run to `out`.

    Returns:
        `History`.

    Raises:
        BadInput: besides bad data or names, an `out` that already holds something.
    """
    out, options = Path(out), options or TrainOptions()
    _must_be_free(out)
    encoder = load_encoder(encoder_name, revision=revision)
    train, val = (prepare(benchmark, root, split, encoder, cache) for split in ("train", "val"))
    model = new_head(benchmark, encoder, seed, **head)
    history = fit(model, train, val, options, seed, callback)
    asked = {"benchmark": benchmark, "root": os.path.abspath(root), "cache": os.path.abspath(cache), "seed": seed}
    save_run(out, model, encoder, val, {**asked, "training": options.to_dict(), "head": head}, history)
    return history


def save_run(out, head, encoder, val, asked, history, replace=False):
    """Tune the head's thresholds on val and write the run's folder, whole or not at all.

    `replace` puts it in the place of an earlier run, as a notebook that is run again does.
    """
    out = Path(out)
    if not replace:
        _must_be_free(out)
    head.thresholds.copy_(torch.as_tensor(tune_thresholds(val.labels, predict(head, val.store))))
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    head.save_pretrained(partial)
    setting = {
        "encoder": encoder.name,
        "revision": getattr(encoder.model.config, "_commit_hash", None),
        "weights": encoder.weights_hash,
        "prompts": head.prompts,
        "seed": asked["seed"],
        "head": asked["head"],
        "training": asked["training"],
        "best_epoch": history.best_epoch,
    }
    run = {"format": 1, "asked": asked, "setting": setting, "val": val.about, "history": history.epochs}
    write_atomic(partial / "run.json", json.dumps(run, indent=1, default=float))
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


def evaluate_run(run, split="test", root=None, cache=None):
    """Score a saved run on a split of the tree it was trained on (or of another `root`) and record it in its folder.

    Returns:
        dict: the record, see `make_record`.
    """
    run = Path(run)
    saved = read_json(run / "run.json", "run")
    asked, setting = saved["asked"], saved["setting"]
    head = VLMPARHead.from_pretrained(str(run))
    encoder = load_encoder(setting["encoder"], revision=setting["revision"])
    if encoder.weights_hash != setting["weights"]:
        raise BadInput(f"encoder {setting['encoder']!r} has other weights than the one {run} was trained with")
    part = prepare(asked["benchmark"], root or asked["root"], split, encoder, cache or asked["cache"])
    torch.set_num_threads(asked["training"]["threads"])
    scores = predict(head.to(encoder.device), part.store)
    thresholds = head.thresholds.cpu().numpy()
    names = schema(asked["benchmark"]).names
    record = make_record("VLM-PAR head", setting, part.about, part.labels, scores, thresholds, names)
    write_record(record, run / f"{split}.json")
    return record


def baseline_records(train, val, test, encoder, language="en"):
    """Records of the constant predictor, zero-shot and the linear probe on `test`, thresholds tuned on `val`.

    Args:
        train, val, test: `Split`.
        language: of the default prompts that zero-shot uses.
    """
    about = schema(test.about["benchmark"])
    prompts = load_prompts(about, language)
    sized = {"encoder": encoder.name, "weights": encoder.weights_hash}
    methods = {
        "constant predictor": ({"encoder": "none"}, [constant(train.labels, len(s.labels)) for s in (val, test)]),
        "zero-shot": ({**sized, "prompts": prompts}, [zero_shot(encoder, s.store, prompts) for s in (val, test)]),
        "linear probe": ({**sized, "C": 0.1}, linear_probe(train, [val.store, test.store])),
    }
    records = []
    for method, (setting, (on_val, on_test)) in methods.items():
        thresholds = tune_thresholds(val.labels, on_val)
        records.append(make_record(method, setting, test.about, test.labels, on_test, thresholds, about.names))
    return records


def _must_be_free(out):
    if out.exists():
        raise BadInput(f"{out} exists already: give another --out, or remove it; nothing is overwritten")
