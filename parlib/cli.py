"""The long jobs as commands: `parlib synth, check, extract, train, predict, audit, ...`.

A user's mistake is one line on stderr and exit code 2.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

from parlib import commands
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
    jobs = parser.add_subparsers(required=True, metavar="COMMAND")

    synth = jobs.add_parser("synth", help="render a benchmark in its official file layout")
    synth.add_argument("benchmark")
    synth.add_argument("out", type=Path)
    for split, images in (("train", 3000), ("val", 600), ("test", 600)):
        synth.add_argument(f"--{split}", type=int, default=images, metavar="N", help=f"images (default {images})")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--domain", help="whose people and cameras; default: the benchmark's own")
    synth.add_argument("--workers", type=int, help="processes (default: one a core)")
    synth.set_defaults(command=commands.synth)

    check = jobs.add_parser("check", help="read a tree or a feature store: can it be used? (exit code 1 if not)")
    check.add_argument("root", type=Path)
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(command=commands.check)

    extract = jobs.add_parser("extract", help="encode the images of a split once")
    _data_arguments(extract)
    extract.add_argument("--split", default="train")
    extract.add_argument("--dtype", default="fp16", help="fp16, bf16 or fp32, as stored")
    extract.add_argument("--layout", default="tokens", help="tokens (default), grid:7 (averaged to 7 x 7) or pooled")
    extract.add_argument("--mirrored", action="store_true", help="store every image mirrored as well")
    extract.add_argument("--workers", type=int, help="processes that decode (default: one a core but one, 8 at most)")
    extract.set_defaults(command=commands.extract)

    train = jobs.add_parser("train", help="train the fusion head; selected on val, never on test")
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
    train.set_defaults(command=commands.train)

    baselines = jobs.add_parser("baselines", help="record the constant predictor, zero-shot and the probes")
    _data_arguments(baselines)
    baselines.add_argument("--language", default="en", help="of the prompts (default: en); en,zh,es adds an ensemble")
    baselines.add_argument("--view", help="score on shared attributes, such as upar-lite")
    baselines.add_argument("--out", type=Path, required=True, metavar="RECORDS", help="folder for the records")
    baselines.set_defaults(command=commands.baselines)

    evaluate = jobs.add_parser("evaluate", help="score a run and print one JSON object")
    evaluate.add_argument("run", type=Path)
    evaluate.add_argument("--split", default="test")
    evaluate.add_argument("--root", type=Path, help="default: the tree it was trained on")
    evaluate.add_argument("--benchmark", help="another than it was trained on; for runs trained with --view")
    evaluate.add_argument("--cache", type=Path, help="where features are kept (default: where they were in training)")
    evaluate.set_defaults(command=commands.evaluate)

    predict = jobs.add_parser("predict", help="what a trained model says of your images")
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
    predict.set_defaults(command=commands.predict)

    export = jobs.add_parser("export", help="image tower and head of a model as one ONNX file")
    export.add_argument("model", help="as for predict")
    export.add_argument("out", type=Path, metavar="OUT.onnx")
    export.add_argument("--encoder", help="where the model's encoder lies, if not where the model says")
    export.set_defaults(command=commands.export)

    audit = jobs.add_parser("audit", help="what a benchmark's labels give away without a pixel: one JSON object")
    audit.add_argument("--benchmark", default="pa100k", help="pa100k, peta or market1501")
    audit.add_argument("--root", type=Path, required=True, help="folder of its annotation file; needs no image")
    audit.set_defaults(command=commands.audit)

    table = jobs.add_parser("table", help="render records beside the published numbers")
    table.add_argument("records", type=Path, nargs="*", help="record files or folders of them")
    table.add_argument("--benchmark", default="pa100k")
    table.add_argument("--format", default="markdown", help="markdown, latex, csv or html")
    table.add_argument("--cross-domain", action="store_true", help="train on one, test on another, from their records")
    table.set_defaults(command=commands.table)
    return parser


def _data_arguments(parser):
    parser.add_argument("--benchmark", default="pa100k")
    parser.add_argument("--root", type=Path, required=True, help="folder of the benchmark's tree")
    parser.add_argument("--encoder", default="nano", help="nano, a local folder or a hub id")
    parser.add_argument("--revision", help="commit of a hub encoder")
    parser.add_argument(
        "--cache", type=Path, help="where features are kept (default: $PARLIB_CACHE or ~/.cache/parlib)"
    )


if __name__ == "__main__":
    sys.exit(main())
