"""What each command does with its arguments: calls of the package, printed; no logic of their own.

Everything heavy is imported where it is used, so that `parlib --help` is quick. Each returns an exit code, None is 0.
"""

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

from parlib.errors import BadInput


def synth(arguments):
    """Render a benchmark; prints its root."""
    from pedsynth import synthesize

    sizes = {split: getattr(arguments, split) for split in ("train", "val", "test")}
    options = {"seed": arguments.seed, "domain": arguments.domain, "workers": arguments.workers}
    print(synthesize(arguments.benchmark, arguments.out, **sizes, **options))


def check(arguments):
    """Report on a tree or a feature store; 1 where it cannot be used."""
    if (arguments.root / "manifest.json").is_file():
        from parlib.encode.store import check_store as check
    else:
        from parlib.data import check  # type: ignore[assignment]  # both are called with a root alone

    report = check(arguments.root)
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report.to_text())
    return 0 if report.usable else 1


def extract(arguments):
    """Store the features of a split; prints the store's folder."""
    from parlib.encode.encoder import load_encoder, processes
    from parlib.learn.run import prepare

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    where = (arguments.benchmark, arguments.root, arguments.split)
    options = {name: getattr(arguments, name) for name in ("dtype", "layout", "workers")}
    options["mirrored"] = arguments.mirrored
    folder = prepare(*where, encoder, _cache(arguments), **options).store.folder
    if processes().is_main_process:
        print(folder)


def train(arguments):
    """Train a head for each seed; prints the folders of the runs."""
    from tqdm import tqdm

    from parlib.encode.encoder import processes
    from parlib.learn.run import train_run
    from parlib.learn.train import TrainOptions
    from parlib.profile import settings

    chosen, main = settings(arguments.profile or "small"), processes().is_main_process
    names = ("epochs", "lr", "batch_size", "loss", "sampling")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    options = TrainOptions(**{**chosen.training, **given})
    head = {"preset": arguments.preset} if arguments.preset else chosen.head
    head = {**head, "language": arguments.language} if arguments.language else head
    several = len(arguments.seeds) > 1
    for seed in arguments.seeds:
        out, bar = arguments.out / f"seed{seed}" if several else arguments.out, None
        logs = _tensorboard(arguments.tensorboard / out.name) if arguments.tensorboard and main else None

        def show(epoch, step, steps, seen, seed=seed, logs=logs):
            nonlocal bar  # made at the first step, so that an error before it is the only line on stderr
            bar = bar or tqdm(total=options.epochs, initial=epoch, desc=f"train seed {seed}", unit="epoch")
            if isinstance(seen, dict):
                bar.update()
                bar.set_postfix(loss=f"{seen['loss']:.4f}", mAP=f"{seen['mAP']:.3f}", mA=f"{seen['mA']:.3f}")
                for name in ("loss", "mA", "f1", "mAP") if logs else ():
                    logs.add_scalar(name, seen[name], epoch)

        where = (arguments.benchmark, arguments.root, arguments.encoder, seed, out, _cache(arguments))
        train_run(*where, options, arguments.revision, show if main else None, arguments.view, **head)
        for open_one in filter(None, (bar, logs)):
            open_one.close()
        if main:
            print(out)


def _tensorboard(folder):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput("--tensorboard needs the tensorboard package: pip install tensorboard") from None
    return SummaryWriter(folder)


def baselines(arguments):
    """Record every baseline on test; prints the paths of the records."""
    from parlib.encode.encoder import load_encoder
    from parlib.learn.run import baseline_records, prepare
    from parlib.measure.records import write_record

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    tree = (arguments.benchmark, arguments.root)
    splits = ("train", "val", "test")
    train, val, test = (prepare(*tree, split, encoder, _cache(arguments), view=arguments.view) for split in splits)
    for record in baseline_records(train, val, test, encoder, arguments.language):
        path = arguments.out / f"{record['method'].replace(' ', '-')}.json"
        write_record(record, path)
        print(path)


def evaluate(arguments):
    """Score a run, keep the record in it and print its scores."""
    from parlib.learn.run import evaluate_run

    record = evaluate_run(arguments.run, arguments.split, arguments.root, arguments.cache, arguments.benchmark)
    shown = {"data": record["data"], **record["scores"], "tuned": record["tuned"]}
    print(json.dumps({**shown, "undefined_attributes": record["undefined_attributes"], "unit": "fraction"}, indent=1))


def predict(arguments):
    """Write or print what a model says of images, notes of what was left out on stderr; 1 where none could be read."""
    from parlib.use.model import EXAMPLES, load
    from parlib.use.predict import Job, gather
    from parlib.use.write import write_predictions

    model = load(arguments.model, encoder=arguments.encoder, language=arguments.language)
    if arguments.phrase:
        model = model.with_phrases(dict(_named(phrase) for phrase in arguments.phrase))
    if not arguments.images and arguments.boxes is None:
        print(f"parlib: note: no image given; these are the examples in {EXAMPLES}", file=sys.stderr)
    crops, notes = gather(arguments.images or [EXAMPLES], arguments.boxes)
    asked = arguments.attributes and arguments.attributes.split(",")
    job = Job(model, crops, asked, arguments.threshold, arguments.workers)
    seen: Any = iter
    if arguments.annotate:  # drawing takes a second to import
        from parlib.show.annotate import annotate

        seen = functools.partial(annotate, crops=crops, folder=arguments.annotate)
    people, unreadable = write_predictions(job, arguments.out, arguments.format, seen)
    for note in notes:
        print(f"parlib: note: {note}", file=sys.stderr)
    for name, error in unreadable[:5]:
        print(f"parlib: {name}: {error.removeprefix(f'{name}: ')}", file=sys.stderr)
    if arguments.out:
        print(f"parlib: {people} people in {arguments.out}", file=sys.stderr)
    if unreadable:
        print(f"parlib: {len(unreadable)} of {people + len(unreadable)} images could not be read", file=sys.stderr)
    return 0 if people else 1


def _named(phrase):
    name, equals, text = phrase.partition("=")
    return (name.strip(), text.strip()) if equals else (phrase.strip(), phrase.strip())


def export(arguments):
    """Write a model as ONNX."""
    from parlib.use.export import export_onnx
    from parlib.use.model import load

    print(export_onnx(load(arguments.model, encoder=arguments.encoder, device="cpu"), arguments.out))


def audit(arguments):
    """Print the audit of a benchmark's labels."""
    from parlib.data import audit_arrays
    from parlib.measure.audit import audit

    print(json.dumps(audit(**audit_arrays(arguments.benchmark, arguments.root)), indent=1))


def table(arguments):
    """Print the table of a benchmark, or of all pairs of them."""
    from parlib.measure.records import read_records
    from parlib.measure.tables import CROSS_NOTE, NOTE, benchmark_table, cross_domain_table, render

    records = read_records(*arguments.records)
    if arguments.cross_domain:
        print(render(cross_domain_table(records), arguments.format, CROSS_NOTE))
    else:
        print(render(benchmark_table(records, arguments.benchmark), arguments.format, NOTE))


def _cache(arguments):
    return Path(arguments.cache or os.environ.get("PARLIB_CACHE") or "~/.cache/parlib").expanduser()
