"""A run: from a tree on disk to a trained head in a folder, and from that folder to a record.

The folder holds `config.json` and `model.safetensors` (the head), `run.json` (its arguments, what determines its
scores, and its history), and one record per evaluation, `<split>.json`.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from parlib.data import read_release
from parlib.encode.encoder import Encoder, load_encoder, processes
from parlib.errors import BadInput
from parlib.files import json_text, only_one, read_json, reading, whole_folder, write_atomic
from parlib.learn.baselines import linear_probe
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import Rows, Split, head_schema, prepare, two_sided
from parlib.learn.methods import Fitted, Method, Task, find_methods, run_method
from parlib.learn.train import History, TrainOptions, predict
from parlib.measure.bootstrap import bootstrap
from parlib.measure.metrics import positive_rates, tune_thresholds
from parlib.measure.records import make_record, write_record

_REMEDY = "fetch or train it again"


def train_run(
    benchmark: str,
    root: str | os.PathLike,
    encoder_name: str | os.PathLike,
    seed: int,
    out: str | os.PathLike,
    cache: str | os.PathLike,
    options: TrainOptions | None = None,
    revision: str | None = None,
    callback: Callable[[int, int, int, Any], object] | None = None,
    view: str | None = None,  # train on the columns of a view of the schema, such as `upar`
    files: Mapping[str, Any] | None = None,  # options of `read_release`: `table`, `schema`, `partition`
    train_on: str = "train",  # or trainval, as the literature does: val then chooses among what it was trained on
    precision: str = "fp32",  # of the encoder, see `load_encoder`
    **head: Any,  # `preset`, `language` and options of `VLMPARHead`
) -> History:
    """Train a head on `train`, keep the epoch that is best on `val`, calibrate it there, and save the run to `out`.

    A run that was killed resumes after its last whole epoch when the same call is made again: its checkpoint lies
    beside `out` until that is written. Under `accelerate launch` one process writes. `BadInput` where `out` exists or
    another process is writing it.
    """
    out, options, state = Path(out), options or TrainOptions(), processes()
    checkpoint, lock = (out.with_name(f".{out.name}.{what}") for what in ("checkpoint", "lock"))
    with only_one(out, lock) if state.is_main_process else contextlib.nullcontext():
        _must_be_free(out)
        encoder = load_encoder(encoder_name, revision=revision, precision=precision)
        release = read_release(benchmark, root, **(files or {}))
        wanted: dict[str, Any] = {"view": view, "mirrored": options.mirrored}
        train, val = (prepare(release, split, encoder, cache, **wanted) for split in ("train", "val"))
        if train_on == "trainval":
            stores = [(release.listing(split).names, part.store) for split, part in (("train", train), ("val", val))]
            both = Rows(release.listing(train_on).names, stores)
            train = prepare(release, train_on, encoder, cache, view=view, store=both)
        elif train_on != "train":
            raise BadInput(f"--train-on {train_on}: known are train and trainval")
        method = Method("head", "head", "head", options=head)
        fitted = run_method(method, Task(train, val, [], encoder, seed, options, checkpoint, callback))
        if state.is_main_process:
            paths = {"root": os.path.abspath(root), "cache": os.path.abspath(cache)}
            arguments = {"benchmark": benchmark, **paths, "seed": seed, "view": view, "files": files or {}}
            save_run(out, fitted, train, val, arguments | {"training": options.to_dict(), "head": head})
            checkpoint.unlink()
        state.wait_for_everyone()
    return fitted.history


class Progress:
    """Called by `train_run` after each step and epoch: one line of what is trained, a bar, and curves.

    The line and the bar are made at the first step, so that an error before it is the only line on stderr. `logs` is a
    folder for TensorBoard's files; `BadInput` where its package is not installed.
    """

    def __init__(self, words: str, seed: int, epochs: int, logs: Path | None = None):
        self.words, self.seed, self.epochs = words, seed, epochs
        self.bar: Any = None
        self.curves: Any = None
        if logs:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise BadInput("--tensorboard needs the tensorboard package: pip install tensorboard") from None
            self.curves = SummaryWriter(logs)

    def __call__(self, epoch: int, step: int, steps: int, seen: Any) -> None:
        """After a step `seen` is its loss; after an epoch a dict with `loss` and the scores on val."""
        if self.bar is None:
            print(f"parlib: {self.words}", file=sys.stderr)
            self.bar = tqdm(total=self.epochs, initial=epoch, desc=f"train seed {self.seed}", unit="epoch")
        if isinstance(seen, dict):
            self.bar.update()
            self.bar.set_postfix({name: f"{seen[name]:.3f}" for name in ("loss", "mAP", "mA")})
            for name in ("loss", "mA", "f1", "mAP") if self.curves else ():
                self.curves.add_scalar(name, seen[name], epoch)
            if epoch + 1 == self.epochs:
                self.bar.close()  # its line ends before the notes of `calibrate`

    def close(self) -> None:
        """End the bar and the curves."""
        for one in filter(None, (self.bar, self.curves)):
            one.close()


def save_run(
    out: str | os.PathLike,
    fitted: Fitted,  # of a head
    train: Split,
    val: Split,
    arguments: dict[str, Any],  # `benchmark`, `root`, `cache`, `seed`, `view`, and the dicts `training` and `head`
    overwrite: bool = False,  # put it in the place of an earlier run
) -> None:
    """Write the folder of a run, whole or not at all."""
    if not overwrite:
        _must_be_free(Path(out))
    run = {"format": 2, "arguments": arguments, "setting": fitted.setting, "val": val.about}
    run |= {"history": fitted.history.epochs, "train_positive_rates": _rates(train, val)}
    with whole_folder(Path(out)) as folder:
        fitted.module.save_pretrained(folder)
        write_atomic(folder / "run.json", json_text(run) + "\n")


def read_run(folder: str | os.PathLike) -> tuple[dict[str, Any], VLMPARHead]:
    """What `run.json` holds, and the head, of a run or a saved model; BadInput where they cannot be used."""
    path = Path(folder) / "run.json"
    run = read_json(path, "run")
    with reading(path, "run", _REMEDY):
        _, identity = run["arguments"], run["setting"]["identity"]
    with reading(folder, "model", _REMEDY), contextlib.redirect_stdout(None):  # the mixin of the head prints a line
        head = VLMPARHead.from_pretrained(str(folder))
    head.encoder_identity = identity
    return run, head


def evaluate_run(
    run: str | os.PathLike,
    split: str = "test",
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    benchmark: str | None = None,
    files: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score a saved run on a split of its tree (or of another `root`); returns the record, also kept in its folder.

    With another `benchmark` than it was trained on, for runs trained on a view, the attributes scored are those that
    both carry; the thresholds stay those of the benchmark trained on.
    """
    run = Path(run)
    saved, head = read_run(run)
    arguments, setting = saved["arguments"], saved["setting"]
    with reading(run / "run.json", "run", _REMEDY):
        own, view = arguments["benchmark"], setting["trained_on"].get("view")
        training, rates = setting["training"], saved["train_positive_rates"]
        mirrored, threads = training["mirrored"], training["threads"]
    benchmark = benchmark or own
    if benchmark != own and not (view and root):
        raise BadInput(
            f"{run} is of {own}: scoring it on {benchmark} takes training with a view of shared "
            "attributes (`parlib train --view upar`) and the --root of the other tree"
        )
    root, kept = root or arguments.get("root"), Path(arguments.get("cache") or "")
    if not root or not (cache or (kept / "features").is_dir()):  # the run may come from another machine
        raise BadInput(f"{run}/run.json names no tree, or no cache with features, that is here: give --root, --cache")
    if set(files or {}) <= {"corrections"} and benchmark == own:
        files = {**(arguments.get("files") or {}), **(files or {})}
    release = read_release(benchmark, root, **(files or {}))
    schema = head_schema(release.schema, release.name, view)
    if head.names != schema.names:
        raise BadInput(f"{run} was trained for other attributes than {schema.name!r} has now; train it again")
    named = {part: setting.get(part) for part in ("revision", "layer")}
    encoder = load_encoder(setting["encoder"], precision=setting.get("precision", "fp32"), **named)
    encoder.must_match(setting["identity"], f"run {run}")
    part = prepare(release, split, encoder, cache or kept, view=view, mirrored=mirrored)
    torch.set_num_threads(threads)
    scores = predict(head.to(encoder.device), part.store, mirrored=mirrored)
    record = score(head.method, setting, rates, part, scores, head.thresholds.cpu().numpy())
    name = f"{split}-corrected" if release.corrections else split  # beside the record on the labels as released
    write_record(record, run / (f"{name}.json" if benchmark == own else f"{benchmark}-{name}.json"))
    return record


def score(
    method: str,
    setting: dict[str, Any],
    rates: Sequence[float | None] | np.ndarray,  # (A,) positive rates in train, None or nan where not to be scored
    part: Split,
    scores: np.ndarray,
    thresholds: np.ndarray,
) -> dict[str, Any]:
    """The record of a method's `scores` (n, A) on a split."""
    known = np.array(rates, float)  # None becomes nan
    about, labels = {**part.about, "train_positive_rates": known}, np.where(np.isnan(known), -1, part.labels)
    return make_record(method, setting, about, labels, scores, thresholds, part.schema.names, part.identity)


def method_records(
    method: Method, task: Task, tests: Sequence[Split], **about: Any
) -> tuple[list[dict[str, Any]], Fitted]:
    """Train a method, tune its thresholds on val, score the tests: a record of each, and what was trained.

    `about` goes into the setting too.
    """
    fitted = run_method(method, replace(task, stores=[task.val.store, *(test.store for test in tests)]))
    fitted.setting.update(about)
    on_val, *scores = fitted.scores
    thresholds = tune_thresholds(task.val.labels, on_val)
    name = getattr(fitted.module, "method", method.name)  # a head names its row by what attends to what
    if method.group == "ablation":  # there the row is what was changed
        name = method.name
        fitted.setting["ablation"] = _against_linear(task, tests[0], scores[0], thresholds)
    made = (name, fitted.setting, _rates(task.train, task.val))
    return [score(*made, test, each, thresholds) for test, each in zip(tests, scores, strict=True)], fitted


def baseline_records(
    train: Split,
    val: Split,
    test: Split,
    encoder: Encoder,
    language: str = "en",
    seed: int = 0,
    options: TrainOptions | None = None,
) -> list[dict[str, Any]]:
    """Records of all baselines of the registry on `test`; seed and options are of the trained probes.

    `language` is that of zero-shot's prompts; several, joined by commas, add an ensemble of all their wordings.
    """
    found, first = [], language.split(",")[0]
    has_negatives = "view" not in test.about and test.about["benchmark"] != "folder"
    for method in find_methods(["group:main"]):
        is_pair = method.options.get("pair")
        if method.kind == "head" or (is_pair and not has_negatives):
            continue
        if method.kind == "zero-shot":
            method = replace(method, options={**method.options, "language": first})
            if language != first and not is_pair:
                ensemble = replace(method, name="zero-shot ensemble", options={"language": language})
                found.append(ensemble)
        found.append(method)
    task = Task(train, val, [], encoder, seed, options)
    return [method_records(method, task, [test])[0][0] for method in found]


def _against_linear(task, test, scores, thresholds):
    """What the ablation table shows beside scores: paired differences from the linear probe, share of broken sets."""
    on_val, on_test = linear_probe(task.train, [task.val.store, test.store])
    other: dict[str, Any] = {"other": on_test, "other_threshold": tune_thresholds(task.val.labels, on_val)}
    gaps = bootstrap(test.labels, scores, threshold=thresholds, ranking=True, **other)
    gaps = gaps.rename(columns={"value": "difference"}).T
    # Decided at 0.5, where a softmax within a set says yes once at most.
    broken = np.any(list(test.schema.contradictions(scores > 0.5).values()), axis=0)
    return {"mA": gaps["mA"].to_dict(), "mAP": gaps["mAP"].to_dict(), "impossible": float(broken.mean())}


def _rates(train, val):
    """Positive rate of each attribute in train (A,), nan where all labels are unknown, and in a view, whose attributes
    are compared between benchmarks, where train or val lacks a yes or a no."""
    learned = (train.labels >= 0).any(0)
    if "view" in train.about:
        learned &= two_sided(train.labels, val.labels, train.schema.names, warn=False)[0]
    return np.where(learned, positive_rates(train.labels), np.nan)


def _must_be_free(out):
    if out.exists():
        raise BadInput(f"{out} exists already: give another --out, or remove it; nothing is overwritten")
