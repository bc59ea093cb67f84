"""A run: from a tree on disk to a trained head in a folder, and from that folder to a record.

The same functions serve the commands and the notebooks. A run's folder holds `config.json` and `model.safetensors`
(the head), `run.json` (what was asked, so that it can be asked again), and `<split>.json` (a record an evaluation).
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parlib.encode.encoder import Encoder, load_encoder, processes
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.files import must_be, only_one, whole_folder, write_atomic
from parlib.learn.baselines import PROBES, constant, linear_probe, zero_shot
from parlib.learn.checkpoint import History, read_run
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import Split, asked_schema, prepare
from parlib.learn.losses import fit_temperature
from parlib.learn.train import TrainOptions, fit, logits_of, predict
from parlib.measure.metrics import tune_thresholds
from parlib.measure.records import make_record, write_record
from parlib.schema import Schema

_THREADS = {"threads": lambda value: value in range(1, 1025)}
_ASKED = {"benchmark": str, "root": str, "cache": str, "view": (str,), "training": _THREADS}


def new_head(
    asked: str | Schema, encoder: Encoder, seed: int = 0, language: str = "en", preset: str = "paper", **options: Any
) -> VLMPARHead:
    """An untrained head for a schema (or a benchmark's, by name) and its prompts; the seed draws its weights."""
    torch.manual_seed(seed)
    about = asked_schema(asked) if isinstance(asked, str) else asked
    prompts = load_prompts(about, language)
    return VLMPARHead.for_encoder(encoder, about, prompts, preset, **options).to(encoder.device)


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
    view: str | None = None,
    **head: Any,
) -> History:
    """Train a head on `train`, keep the best epoch on `val`, tune thresholds on `val`, and save the run to `out`.

    A run that was killed goes on after its last whole epoch when it is asked for again: its checkpoint lies beside
    `out` until that is written. Under `accelerate launch` one process writes.

    Args:
        view: train on the columns of a view of the schema, such as `upar-lite`.
        head: `preset` and options of `VLMPARHead`.

    Returns:
        `History`.

    Raises:
        BadInput: besides bad data or names, an `out` that already holds something.
    """
    out, options, state = Path(out), options or TrainOptions(), processes()
    _must_be_free(out)
    encoder = load_encoder(encoder_name, revision=revision)
    train, val = (
        prepare(benchmark, root, split, encoder, cache, view=view, mirrored=options.mirrored)
        for split in ("train", "val")
    )
    model = new_head(train.schema, encoder, seed, **head)
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.with_name(f".{out.name}.lock")
    with only_one(out, lock) if state.is_main_process else contextlib.nullcontext():
        _must_be_free(out)
        history = fit(model, train, val, options, seed, callback, checkpoint)
        asked = {"benchmark": benchmark, "root": os.path.abspath(root), "cache": os.path.abspath(cache), "seed": seed}
        asked |= {"view": view, "training": options.to_dict(), "head": head}
        if state.is_main_process:
            save_run(out, model, encoder, val, asked, history, notes=label_notes(train, model))
            checkpoint.unlink()
        state.wait_for_everyone()
    return history


def label_notes(train: Split, head: VLMPARHead) -> list[str]:
    """What is wrong with training labels that training survives: one line an attribute, for the record."""
    labels, names = np.asarray(train[1]), [a["name"] for a in head.schema["attributes"]]
    yes, known = (labels == 1).sum(0), (labels >= 0).sum(0)
    told = {
        "all unknown": known == 0,
        "no positive": (known > 0) & (yes == 0),
        "no negative": (known > 0) & (yes == known),
    }
    return [f"{names[a]}: {what} in train" for what, where in told.items() for a in np.flatnonzero(where)]


def save_run(
    out: str | os.PathLike,
    head: VLMPARHead,
    encoder: Encoder,
    val: Split,
    asked: dict[str, Any],
    history: History,
    replace: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """Calibrate the head and tune its thresholds on val, and write the run's folder, whole or not at all.

    `replace` puts it in the place of an earlier run, as a notebook that is run again does.
    """
    out, mirrored = Path(out), asked["training"].get("mirrored", False)
    if not replace:
        _must_be_free(out)
    head.temperature.fill_(fit_temperature(logits_of(head, val.store, mirrored=mirrored), val.labels))
    head.thresholds.copy_(torch.as_tensor(tune_thresholds(val.labels, predict(head, val.store, mirrored=mirrored))))
    setting = {
        "encoder": encoder.name,
        "revision": encoder.revision,
        "weights": encoder.weights_hash,
        **({"layer": encoder.layer} if encoder.layer else {}),
        "prompts": head.prompts,
        "seed": asked["seed"],
        "head": asked["head"],
        "training": asked["training"],
        "trained_on": {"benchmark": asked["benchmark"], "view": asked.get("view")},
        "temperature": float(head.temperature),
        "best_epoch": history.best_epoch,
        **({"notes": list(notes)} if notes else {}),
    }
    run = {"format": 1, "asked": asked, "setting": setting, "val": val.about, "history": history.epochs}
    with whole_folder(out) as folder:
        head.save_pretrained(folder)
        write_atomic(folder / "run.json", json.dumps(run, indent=1, default=float))


def evaluate_run(
    run: str | os.PathLike,
    split: str = "test",
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    benchmark: str | None = None,
) -> dict[str, Any]:
    """Score a saved run on a split of the tree it was trained on (or of another `root`) and record it in its folder.

    With another `benchmark` than it was trained on, which takes a run trained on a view, the attributes scored are
    those that both carry; `thresholds` stay those of the benchmark trained on.

    Returns:
        dict: the record, see `make_record`.
    """
    run = Path(run)
    saved, head = read_run(run)
    must_be(saved["asked"], _ASKED, f"{run / 'run.json'}, asked")
    asked, setting = saved["asked"], saved["setting"]
    benchmark, view = benchmark or asked["benchmark"], asked.get("view")
    crossed = benchmark != asked["benchmark"]
    if crossed and not (view and root):
        raise BadInput(
            f"{run} was trained on {asked['benchmark']}: scoring it on {benchmark} takes training with a view "
            "of shared attributes (`parlib train --view upar-lite`) and the --root of the other tree"
        )
    about = asked_schema(benchmark, view, root or asked["root"])
    if [a["name"] for a in head.schema["attributes"]] != about.names:
        raise BadInput(f"{run} was trained for other attributes than {about.name!r} has now; train it again")
    encoder = load_encoder(setting["encoder"], revision=setting.get("revision"), layer=setting.get("layer"))
    if encoder.weights_hash != setting["weights"]:
        raise BadInput(f"encoder {setting['encoder']!r} has other weights than the one {run} was trained with")
    mirrored = asked["training"].get("mirrored", False)
    if cache is None and not (Path(asked["cache"]) / "features").is_dir():  # whose run this is may not write anywhere
        raise BadInput(f"{run} was trained with features in {asked['cache']}, which has none: give another --cache")
    place = (benchmark, root or asked["root"], split, encoder, cache or asked["cache"])
    part = prepare(*place, view=view, mirrored=mirrored)
    torch.set_num_threads(asked["training"]["threads"])
    scores = predict(head.to(encoder.device), part.store, mirrored=mirrored)
    unseen = [note.split(":")[0] for note in setting.get("notes", ()) if "all unknown" in note]
    labels = np.where(np.isin(about.names, unseen), -1, part.labels)
    thresholds = head.thresholds.cpu().numpy()
    record = make_record(head.method, setting, part.about, labels, scores, thresholds, about.names, part.identity)
    write_record(record, run / (f"{benchmark}-{split}.json" if crossed else f"{split}.json"))
    return record


def baseline_records(
    train: Split,
    val: Split,
    test: Split,
    encoder: Encoder,
    language: str = "en",
    seed: int = 0,
    options: TrainOptions | None = None,
) -> list[dict[str, Any]]:
    """Records of all baselines on `test`, thresholds tuned on `val`.

    Args:
        train, val, test: `Split`.
        language: of the default prompts that zero-shot uses; several joined by commas add an ensemble of all their
            wordings.
        seed, options: of the probes that are trained by `fit`; `TrainOptions`.
    """
    about, (language, *others) = test.schema, language.split(",")
    prompts = load_prompts(about, language)
    options = options or TrainOptions(epochs=8, batch_size=32, lr=2e-3, loss="bce")
    sized = {"encoder": encoder.name, "weights": encoder.weights_hash}
    asked = {**sized, "prompts": prompts}
    methods: dict[str, tuple[dict[str, Any], Any]] = {
        "constant predictor": ({"encoder": "none"}, [constant(train.labels, len(s.labels)) for s in (val, test)]),
        "zero-shot": (asked, [zero_shot(encoder, s.store, prompts) for s in (val, test)]),
        "linear probe": ({**sized, "C": 0.1}, linear_probe(train, [val.store, test.store])),
    }
    if others:
        spoken = [load_prompts(about, code.strip(), wording="all") for code in (language, *others)]
        wordings = [list(itertools.chain(*each)) for each in zip(*spoken, strict=True)]
        ensemble = [zero_shot(encoder, s.store, wordings) for s in (val, test)]
        methods["zero-shot ensemble"] = ({**sized, "prompts": wordings}, ensemble)
    if "view" not in test.about and test.about["benchmark"] != "folder":  # others have no negative prompts
        negatives = load_prompts(about, language, negative=True)
        pair = [zero_shot(encoder, s.store, prompts, negatives) for s in (val, test)]
        methods["zero-shot pair"] = ({**asked, "negatives": negatives}, pair)
    for method, probe in PROBES.items():
        torch.manual_seed(seed)
        made = probe(prompts, encoder.width).to(encoder.device)
        fit(made, train, val, options, seed)
        trained = {**sized, "seed": seed, "training": options.to_dict()}
        methods[method] = (trained, [predict(made, s.store) for s in (val, test)])
    records = []
    for method, (setting, (on_val, on_test)) in methods.items():
        thresholds = tune_thresholds(val.labels, on_val)
        given = (test.about, test.labels, on_test, thresholds, about.names, test.identity)
        records.append(make_record(method, setting, *given))
    return records


def _must_be_free(out):
    if out.exists():
        raise BadInput(f"{out} exists already: give another --out, or remove it; nothing is overwritten")
