"""The long jobs as commands: `parlib synth, check, extract, train, baselines, evaluate, table`. No logic of their own.

A user's mistake is one line on stderr and exit code 2.
"""

import argparse
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
    for split, images in (("train", 1600), ("val", 400), ("test", 400)):
        synth.add_argument(f"--{split}", type=int, default=images, metavar="N", help=f"images (default {images})")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--domain", help="whose people and cameras; default: the benchmark's own")
    synth.add_argument("--workers", type=int, help="processes (default: one a core)")
    synth.set_defaults(command=_synth)

    check = commands.add_parser("check", help="read a tree and say whether it can be used (exit code 1 if not)")
    check.add_argument("root", type=Path)
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(command=_check)

    extract = commands.add_parser("extract", help="encode the images of a split once")
    _data_arguments(extract)
    extract.add_argument("--split", default="train")
    extract.add_argument("--dtype", default="fp16", help="fp16, bf16 or fp32, as stored")
    extract.set_defaults(command=_extract)

    train = commands.add_parser("train", help="train the fusion head; selected on val, never on test")
    _data_arguments(train)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run, must not exist")
    train.add_argument("--profile", help="head and training options of small (default) or paper")
    for option, kind in (("epochs", int), ("lr", float), ("batch-size", int)):
        train.add_argument(f"--{option}", type=kind, help="default: the profile's")
    train.set_defaults(command=_train)

    baselines = commands.add_parser("baselines", help="record the constant predictor, zero-shot and a linear probe")
    _data_arguments(baselines)
    baselines.add_argument("--out", type=Path, required=True, metavar="RECORDS", help="folder for the records")
    baselines.set_defaults(command=_baselines)

    evaluate = commands.add_parser("evaluate", help="score a run and print one JSON object")
    evaluate.add_argument("run", type=Path)
    evaluate.add_argument("--split", default="test")
    evaluate.add_argument("--root", type=Path, help="default: the tree it was trained on")
    evaluate.set_defaults(command=_evaluate)

    table = commands.add_parser("table", help="render records beside the published numbers")
    table.add_argument("records", type=Path, nargs="*", help="record files or folders of them")
    table.add_argument("--benchmark", default="pa100k")
    table.add_argument("--format", default="markdown", help="markdown, latex, csv or html")
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
    from parlib.data import check

    report = check(arguments.root)
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report.to_text())
    return 0 if report.usable else 1


def _extract(arguments):
    from parlib.encode.encoder import load_encoder
    from parlib.learn.run import prepare

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    where = (arguments.benchmark, arguments.root, arguments.split)
    print(prepare(*where, encoder, _cache(arguments), dtype=arguments.dtype).store.folder)


def _train(arguments):
    from tqdm import tqdm

    from parlib.learn.run import train_run
    from parlib.learn.train import TrainOptions
    from parlib.profile import settings

    chosen = settings(arguments.profile or "small")
    given = {k: getattr(arguments, k) for k in ("epochs", "lr", "batch_size") if getattr(arguments, k) is not None}
    options = TrainOptions(**{**chosen.training, **given})
    bar = None

    def show(epoch, step, steps, seen):
        nonlocal bar  # made at the first step, so that an error before it is the only line on stderr
        bar = bar or tqdm(total=options.epochs, desc=f"train seed {arguments.seed}", unit="epoch")
        if isinstance(seen, dict):
            bar.update()
            bar.set_postfix(loss=f"{seen['loss']:.4f}", mAP=f"{seen['mAP']:.3f}", mA=f"{seen['mA']:.3f}")

    where = (arguments.benchmark, arguments.root, arguments.encoder, arguments.seed, arguments.out, _cache(arguments))
    train_run(*where, options, arguments.revision, show, **chosen.head)
    bar.close()
    print(arguments.out)


def _baselines(arguments):
    from parlib.encode.encoder import load_encoder
    from parlib.learn.run import baseline_records, prepare
    from parlib.measure.records import write_record

    encoder = load_encoder(arguments.encoder, revision=arguments.revision)
    tree = (arguments.benchmark, arguments.root)
    parts = [prepare(*tree, split, encoder, _cache(arguments)) for split in ("train", "val", "test")]
    for record in baseline_records(*parts, encoder):
        path = arguments.out / f"{record['method'].replace(' ', '-')}.json"
        write_record(record, path)
        print(path)


def _evaluate(arguments):
    from parlib.learn.run import evaluate_run

    record = evaluate_run(arguments.run, arguments.split, arguments.root)
    shown = {"data": record["data"], **record["scores"], "tuned": record["tuned"]}
    print(json.dumps({**shown, "undefined_attributes": record["undefined_attributes"], "unit": "fraction"}, indent=1))


def _table(arguments):
    from parlib.measure.records import read_records
    from parlib.measure.tables import NOTE, benchmark_table, render

    print(render(benchmark_table(read_records(*arguments.records), arguments.benchmark), arguments.format))
    if arguments.format == "markdown":
        print(f"\n{NOTE}")


def _cache(arguments):
    return Path(arguments.cache or os.environ.get("PARLIB_CACHE") or "~/.cache/parlib").expanduser()


if __name__ == "__main__":
    sys.exit(main())
