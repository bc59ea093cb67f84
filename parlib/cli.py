"""The long jobs as commands, with no logic of their own: `parlib synth, check, extract, train, predict, audit, ...`.

A user's mistake is one line on stderr and exit code 2.
"""

import argparse
import functools
import json
import os
import sys
import warnings
from pathlib import Path

from parlib.errors import BadInput


def main(argv=None):
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    warnings.showwarning = lambda message, *where, **more: print(f"parlib: note: {message}", file=sys.stderr)
    try:
        return arguments.command(arguments) or 0
    except BadInput as error:
        print(f"parlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("parlib: stopped; the same command goes on where it can", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser():
    parser = argparse.ArgumentParser(prog="parlib", description="Pedestrian attribute recognition, reproducibly.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    synth = commands.add_parser("synth", help="render a benchmark in its official file layout")
    synth.add_argument("benchmark")
    synth.add_argument("out", type=Path)
    for split, images in (("train", 3000), ("val", 600), ("test", 600)):
        synth.add_argument(f"--{split}", type=int, default=images, metavar="N", help=f"images (default {images})")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--domain", help="whose people and cameras; default: the benchmark's own")
    synth.add_argument("--workers", type=int, help="processes (default: one a core)")
    synth.set_defaults(command=_synth)

    check = commands.add_parser("check", help="read a tree or a feature store: can it be used? (exit code 1 if not)")
    check.add_argument("root", type=Path)
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(command=_check)

    extract = commands.add_parser("extract", help="encode the images of a split once")
    _data_arguments(extract)
    extract.add_argument("--split", default="train")
    extract.add_argument("--dtype", default="fp16", help="fp16, bf16 or fp32, as stored")
    extract.add_argument("--layout", default="tokens", help="tokens (default), grid:7 (averaged to 7 x 7) or pooled")
    extract.add_argument("--mirrored", action="store_true", help="store every image mirrored as well")
    extract.add_argument("--workers", type=int, help="processes that decode (default: one a core but one, 8 at most)")
    extract.set_defaults(command=_extract)

    train = commands.add_parser("train", help="train the fusion head; selected on val, never on test")
    _data_arguments(train)
    train.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="several: RUN/seed0, RUN/seed1, ...")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run, must not exist")
    train.add_argument("--profile", help="head and training options of small (default) or paper")
    train.add_argument("--preset", help="of the head: paper, compact or recommended (default: the profile's)")
    train.add_argument("--language", help="of the prompts (default: en)")
    train.add_argument("--view", help="train on shared attributes, such as upar-lite, to score on other benchmarks")
    for option, kind in (("epochs", int), ("lr", float), ("batch-size", int), ("loss", str), ("sampling", str)):
        train.add_argument(f"--{option}", type=kind, help="default: the profile's")
    train.add_argument("--tensorboard", type=Path, metavar="LOGS", help="write curves there (needs tensorboard)")
    train.set_defaults(command=_train)

    baselines = commands.add_parser("baselines", help="record the constant predictor, zero-shot and the probes")
    _data_arguments(baselines)
    baselines.add_argument("--language", default="en", help="of the prompts (default: en)")
    baselines.add_argument("--view", help="score on shared attributes, such as upar-lite")
    baselines.add_argument("--out", type=Path, required=True, metavar="RECORDS", help="folder for the records")
    baselines.set_defaults(command=_baselines)

    evaluate = commands.add_parser("evaluate", help="score a run and print one JSON object")
    evaluate.add_argument("run", type=Path)
    evaluate.add_argument("--split", default="test")
    evaluate.add_argument("--root", type=Path, help="default: the tree it was trained on")
    evaluate.add_argument("--benchmark", help="another than it was trained on; for runs trained with --view")
    evaluate.set_defaults(command=_evaluate)

    predict = commands.add_parser("predict", help="what a trained model says of your images")
    predict.add_argument("model", help="nano-pa100k (it ships), the folder of a run or saved model, or a hub id")
    predict.add_argument("images", nargs="*", help="files, folders, patterns (default: the examples that ship)")
    predict.add_argument("--attributes", metavar="NAMES", help="some only, joined by commas")
    predict.add_argument(
        "--phrase", action="append", default=[], metavar="NAME=TEXT", help="one more attribute, zero-shot; repeatable"
    )
    predict.add_argument("--boxes", metavar="FILE", help="people in full frames: CSV, Parquet or COCO JSON")
    predict.add_argument("--language", help="of the prompts: en, zh, es, it, fr, ar; several joined by commas")
    predict.add_argument("--threshold", type=float, help="one for all attributes (default: each one's own)")
    predict.add_argument("--format", choices=("json", "csv", "parquet"), help="default: by --out's suffix, or json")
    predict.add_argument("--out", type=Path, help="file, must not exist; a stopped job goes on (default: print)")
    predict.add_argument("--annotate", type=Path, metavar="FOLDER", help="write each picture with its answers there")
    predict.add_argument("--encoder", help="where the model's encoder lies, if not where the model says")
    predict.add_argument("--workers", type=int, help="processes that decode (default: one a core but one)")
    predict.set_defaults(command=_predict)

    export = commands.add_parser("export", help="image tower and head of a model as one ONNX file")
    export.add_argument("model", help="as for predict")
    export.add_argument("out", type=Path, metavar="OUT.onnx")
    export.add_argument("--encoder", help="where the model's encoder lies, if not where the model says")
    export.set_defaults(command=_export)

    audit = commands.add_parser("audit", help="what a benchmark's labels give away without a pixel: one JSON object")
    audit.add_argument("--benchmark", default="pa100k", help="pa100k, peta or market1501")
    audit.add_argument("--root", type=Path, required=True, help="folder of its annotation file; needs no image")
    audit.set_defaults(command=_audit)

    table = commands.add_parser("table", help="render records beside the published numbers")
    table.add_argument("records", type=Path, nargs="*", help="record files or folders of them")
    table.add_argument("--benchmark", default="pa100k")
    table.add_argument("--format", default="markdown", help="markdown, latex, csv or html")
    table.add_argument("--cross-domain", action="store_true", help="train on one, test on another, from their records")
    table.set_defaults(command=_table)
    return parser


def _data_arguments(parser):
    parser.add_argument("--benchmark", default="pa100k")
    parser.add_argument("--root", type=Path, required=True, help="folder of the benchmark's tree")
    parser.add_argument("--encoder", default="nano", help="nano, a local folder or a hub id")
    parser.add_argument("--revision", help="commit of a hub encoder")
    parser.add_argument(
        "--cache", type=Path, help="where features are kept (default: $PARLIB_CACHE or ~/.cache/parlib)"
    )


def _synth(arguments):
    from parlib.data.synthetic import synthesize

    sizes = {split: getattr(arguments, split) for split in ("train", "val", "test")}
    options = {"seed": arguments.seed, "domain": arguments.domain, "workers": arguments.workers}
    print(synthesize(arguments.benchmark, arguments.out, **sizes, **options))


def _check(arguments):
    if (arguments.root / "manifest.json").is_file():
        from parlib.encode.store import check_store as check
    else:
        from parlib.data import check

    report = check(arguments.root)
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report.to_text())
    return 0 if report.usable else 1


def _extract(arguments):
    from parlib.encode.encoder import load_encoder, processes
    from parlib.learn.run import prepare

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    where = (arguments.benchmark, arguments.root, arguments.split)
    options = {name: getattr(arguments, name) for name in ("dtype", "layout", "workers")}
    options["views"] = ("plain", "mirrored") if arguments.mirrored else ("plain",)
    folder = prepare(*where, encoder, _cache(arguments), **options).store.folder
    if processes().is_main_process:
        print(folder)


def _train(arguments):
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


def _baselines(arguments):
    from parlib.encode.encoder import load_encoder
    from parlib.learn.run import baseline_records, prepare
    from parlib.measure.records import write_record

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    tree = (arguments.benchmark, arguments.root)
    splits = ("train", "val", "test")
    parts = [prepare(*tree, split, encoder, _cache(arguments), view=arguments.view) for split in splits]
    for record in baseline_records(*parts, encoder, arguments.language):
        path = arguments.out / f"{record['method'].replace(' ', '-')}.json"
        write_record(record, path)
        print(path)


def _evaluate(arguments):
    from parlib.learn.run import evaluate_run

    record = evaluate_run(arguments.run, arguments.split, arguments.root, benchmark=arguments.benchmark)
    shown = {"data": record["data"], **record["scores"], "tuned": record["tuned"]}
    print(json.dumps({**shown, "undefined_attributes": record["undefined_attributes"], "unit": "fraction"}, indent=1))


def _predict(arguments):
    from parlib.use.model import EXAMPLES, load
    from parlib.use.predict import Job, gather, write_predictions

    model = load(arguments.model, encoder=arguments.encoder, language=arguments.language)
    if arguments.phrase:
        model = model.with_phrases(dict(_named(phrase) for phrase in arguments.phrase))
    if not arguments.images and arguments.boxes is None:
        print(f"parlib: note: no image given; these are the examples in {EXAMPLES}", file=sys.stderr)
    crops, notes = gather(arguments.images or [EXAMPLES], arguments.boxes)
    asked = arguments.attributes and arguments.attributes.split(",")
    job = Job(model, crops, asked, arguments.threshold, arguments.workers)
    seen = iter
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


def _export(arguments):
    from parlib.use.export import export_onnx
    from parlib.use.model import load

    print(export_onnx(load(arguments.model, encoder=arguments.encoder, device="cpu"), arguments.out))


def _audit(arguments):
    from parlib.data.audit import audit_arrays
    from parlib.measure.audit import audit

    print(json.dumps(audit(**audit_arrays(arguments.benchmark, arguments.root)), indent=1))


def _table(arguments):
    from parlib.measure.cross import CROSS_NOTE, cross_domain_table
    from parlib.measure.records import read_records
    from parlib.measure.tables import NOTE, benchmark_table, render

    records = read_records(*arguments.records)
    if arguments.cross_domain:
        print(render(cross_domain_table(records), arguments.format, CROSS_NOTE))
    else:
        print(render(benchmark_table(records, arguments.benchmark), arguments.format, NOTE))


def _cache(arguments):
    return Path(arguments.cache or os.environ.get("PARLIB_CACHE") or "~/.cache/parlib").expanduser()


if __name__ == "__main__":
    sys.exit(main())
