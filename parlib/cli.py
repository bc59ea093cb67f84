"""The long jobs as commands: `parlib reproduce, synth, check, extract, train, baselines, evaluate, predict, ...`.

A user's mistake is one line on stderr and exit code 2. Each command imports what it needs, so that `--help` is quick.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from parlib.commands import ModelEncoder, ModelName, Precision, Workers, audit, demo, predict, reproduce, say, table
from parlib.errors import BadInput
from parlib.profile import cache_folder

app = typer.Typer(
    help="Pedestrian attribute recognition, reproducibly.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich takes longer than all the rest of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)

Benchmark = Annotated[str, Option(help="pa100k, peta, market1501, rapv1, rapv2, upar, or folder: your own images")]
Root = Annotated[Path, Option(help="folder of the benchmark's tree")]
Encoder = Annotated[str, Option(help="nano, a local folder or a hub id")]
Revision = Annotated[str | None, Option(help="commit of a hub encoder")]
Cache = Annotated[Path | None, Option(help="folder for features (default: $PARLIB_CACHE or ~/.cache/parlib)")]
View = Annotated[str | None, Option(help="shared attributes, such as upar, to compare benchmarks")]
Table = Annotated[str | None, Option(metavar="FILE", help="labels of --benchmark folder (default: its only table)")]
Partition = Annotated[str | None, Option(help="fold0of5-seed0; PETA, RAP: 0..4 or an index file; UPAR: leave-PETA-out")]
Corrections = Annotated[str | None, Option(metavar="CSV", help="people's decisions on labels, applied and recorded")]
SchemaFile = Annotated[str | None, Option("--schema", metavar="YAML", help="of --benchmark folder")]
OfProfile = Option(help="default: the profile's")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 for a user's mistake, 130 when stopped by Ctrl-C."""
    code: Any = 0
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where, **more: say(f"note: {message}")
        try:
            typer.main.get_command(app)(args=argv, prog_name="parlib")
        except SystemExit as end:
            code = end.code
        except BadInput as error:
            say(error)
            code = 2
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has ended, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if code == 130:
        say("stopped; the same command resumes where it can")
    return code or 0


def _files(**files: str | None) -> dict[str, Any]:
    """Options of `read_release`, which refuses what a benchmark does not have."""
    return {name: os.path.abspath(path) if os.path.exists(path) else path for name, path in files.items() if path}


def _cache(cache):
    return cache.expanduser() if cache else cache_folder()


def synth(
    benchmark: Annotated[str, Argument(help="pa100k, peta, market1501, rapv1 or rapv2")],
    out: Annotated[Path, Argument(help="new folder")],
    train: Annotated[int, Option(help="images of train")] = 3000,
    val: Annotated[int, Option(help="images of val")] = 600,
    test: Annotated[int, Option(help="images of test")] = 600,
    seed: int = 0,
    domain: Annotated[str | None, Option(help="whose people and cameras (default: the benchmark's own)")] = None,
    workers: Annotated[int | None, Option(help="processes that render (default: one per core)")] = None,
) -> None:
    """Render a benchmark in its official file layout; print its root."""
    from pedsynth import synthesize

    print(synthesize(benchmark, out, train=train, val=val, test=test, seed=seed, domain=domain, workers=workers))


def check(root: Path, json: Annotated[bool, Option("--json", help="print the report as JSON")] = False) -> None:
    """Report whether a tree or a feature store can be used; exit code 1 if not."""
    from parlib.files import json_text

    if (root / "manifest.json").is_file():
        from parlib.encode.store import check_store  # imports torch

        report: Any = check_store(root)
    else:
        from parlib.data import check as check_tree

        report = check_tree(root)
    print(json_text(report.to_dict()) if json else report.to_text())
    if not report.usable:
        raise typer.Exit(1)


def extract(
    root: Root,
    benchmark: Benchmark = "pa100k",
    split: str = "train",
    table: Table = None,
    schema: SchemaFile = None,
    encoder: Encoder = "nano",
    revision: Revision = None,
    cache: Cache = None,
    dtype: Annotated[str, Option(help="fp16, bf16 or fp32, as stored")] = "fp16",
    layout: Annotated[str, Option(help="tokens, grid:7 (averaged to 7 x 7) or pooled")] = "tokens",
    mirrored: Annotated[bool, Option("--mirrored", help="store every image mirrored as well")] = False,
    precision: Precision = None,
    workers: Workers = None,
) -> None:
    """Encode the images of a split once; print the folder of the features."""
    from parlib.data import read_release
    from parlib.encode.encoder import load_encoder, processes
    from parlib.learn.inputs import prepare

    options: dict[str, Any] = {"dtype": dtype, "layout": layout, "mirrored": mirrored, "workers": workers}
    used = load_encoder(encoder, revision, precision=precision or "auto")
    release = read_release(benchmark, root, **_files(table=table, schema=schema))
    part = prepare(release, split, used, _cache(cache), **options)
    if processes().is_main_process:
        print(part.store.folder)


def train(
    root: Root,
    out: Annotated[Path, Option(metavar="RUN", help="folder of the run, must not exist")],
    seeds: Annotated[list[int] | None, Option("--seeds", "--seed", help="several: RUN/seed0, ... (default: 0)")] = None,
    more_seeds: Annotated[list[int] | None, Argument(hidden=True)] = None,  # those after the first of --seeds 0 1 2
    benchmark: Benchmark = "pa100k",
    table: Table = None,
    schema: SchemaFile = None,
    profile: Annotated[str, Option(help="small or paper: encoder, head and training where no option says")] = "small",
    encoder: Annotated[str | None, Option(help="nano, a local folder or a hub id (default: the profile's)")] = None,
    revision: Annotated[str | None, Option(help="commit of a hub encoder (default: the profile's)")] = None,
    preset: Annotated[str | None, Option(help="head: paper, compact or recommended (default: the profile's)")] = None,
    language: Annotated[str | None, Option(help="of the prompts (default: en)")] = None,
    view: View = None,
    corrections: Corrections = None,
    partition: Partition = None,
    train_on: Annotated[str, Option(help="train or trainval; val is then among what it is trained on")] = "train",
    epochs: Annotated[int | None, OfProfile] = None,
    lr: Annotated[float | None, OfProfile] = None,
    batch_size: Annotated[int | None, OfProfile] = None,
    loss: Annotated[str | None, OfProfile] = None,
    sampling: Annotated[str | None, OfProfile] = None,
    cache: Cache = None,
    precision: Precision = None,  # the profile's; auto for another encoder than its own
    tensorboard: Annotated[Path | None, Option(metavar="LOGS", help="write curves there (needs tensorboard)")] = None,
) -> None:
    """Train the fusion head, its epoch chosen on val and never on test; print the folders of the runs."""
    from parlib.encode.encoder import processes
    from parlib.learn.methods import find_methods
    from parlib.learn.run import Progress, train_run
    from parlib.profile import settings

    base, is_main = settings(profile), processes().is_main_process
    used = encoder or base.encoder
    commit = revision or (base.revision if used == base.encoder else None)
    precision = precision or (base.precision if used == base.encoder else "auto")
    wanted = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "loss": loss, "sampling": sampling}
    (method,) = find_methods([preset or base.method])
    options = method.train_options(used, **{key: value for key, value in wanted.items() if value is not None})
    head = method.options | ({"language": language} if language else {})
    words = (
        f"training on {benchmark} at {root}: profile {base.name}, encoder {used}{f' at {commit}' if commit else ''}, "
        f"head {head['preset']}, {options.epochs} epochs of batches of {options.batch_size}, learning rate "
        f"{options.lr:g}, loss {options.loss}"
    )
    files = _files(table=table, schema=schema, partition=partition, corrections=corrections)
    numbers = [*(seeds or []), *(more_seeds or [])] or [0]
    for seed in numbers:
        run = out if len(numbers) == 1 else out / f"seed{seed}"
        shown = Progress(words, seed, options.epochs, tensorboard and tensorboard / run.name) if is_main else None
        where = (benchmark, root, used, seed, run, _cache(cache))
        train_run(*where, options, commit, shown, view, files, train_on, precision, **head)
        if shown:
            shown.close()
            print(run)


def baselines(
    root: Root,
    out: Annotated[Path, Option(metavar="RECORDS", help="folder for the records")],
    benchmark: Benchmark = "pa100k",
    table: Table = None,
    schema: SchemaFile = None,
    encoder: Encoder = "nano",
    revision: Revision = None,
    language: Annotated[str, Option(help="of the prompts; en,zh,es adds an ensemble of all")] = "en",
    seeds: Annotated[list[int] | None, Option("--seeds", "--seed", help="of the trained probes (default: 0)")] = None,
    more_seeds: Annotated[list[int] | None, Argument(hidden=True)] = None,
    view: View = None,
    corrections: Corrections = None,
    partition: Partition = None,
    cache: Cache = None,
    precision: Precision = None,
) -> None:
    """Record the constant predictor, zero-shot and the probes on test; print the paths of the records."""
    from parlib.data import read_release
    from parlib.encode.encoder import load_encoder
    from parlib.learn.inputs import prepare
    from parlib.learn.run import baseline_records
    from parlib.measure.records import write_record

    files = _files(table=table, schema=schema, partition=partition, corrections=corrections)
    release = read_release(benchmark, root, **files)
    used = load_encoder(encoder, revision, precision=precision or "auto")
    train, val, test = (prepare(release, part, used, _cache(cache), view=view) for part in ("train", "val", "test"))
    numbers = [*(seeds or []), *(more_seeds or [])] or [0]
    for seed in numbers:
        for record in baseline_records(train, val, test, used, language, seed):
            is_seeded = len(numbers) > 1 and "seed" in record["setting"]
            path = out / f"{record['method'].replace(' ', '-')}{f'-seed{seed}' if is_seeded else ''}.json"
            if seed == numbers[0] or is_seeded:
                write_record(record, path)
                print(path)


def evaluate(
    run: Path,
    split: str = "test",
    root: Annotated[Path | None, Option(help="default: the tree it was trained on")] = None,
    benchmark: Annotated[str | None, Option(help="another than it was trained on, for runs with --view")] = None,
    table: Table = None,
    schema: SchemaFile = None,
    corrections: Corrections = None,
    partition: Partition = None,
    cache: Annotated[Path | None, Option(help="folder for features (default: the one of its training)")] = None,
) -> None:
    """Score a run, keep the record in its folder and print one JSON object."""
    from parlib.files import json_text
    from parlib.learn.run import evaluate_run

    files = _files(table=table, schema=schema, partition=partition, corrections=corrections) or None
    record = evaluate_run(run, split, root, cache, benchmark, files)
    shown = {name: record[name] for name in ("data", "tuned", "undefined_attributes", "undefined")}
    print(json_text({**shown, **record["scores"], "unit": "fraction"}))


def explore(
    run: Annotated[str | None, Argument(help="as MODEL of predict (default: the profile's own run)")] = None,
    folder: Annotated[str | None, Argument(help="a benchmark, or images of your own (default: its own tree)")] = None,
    cache: Cache = None,
    port: Annotated[int, Option(help="of the page, on this machine alone")] = 8866,
    browser: Annotated[bool, Option("--browser/--no-browser", help="open the page in a browser")] = True,
    beside: Annotated[str | None, Option(help="a second model, whose scores of one image are shown beside")] = None,
) -> None:
    """Serve the explorers of a run as one page, on a benchmark or on a folder of your own."""
    from parlib.show.explorers.page import serve

    if (beside or cache) and not run:
        raise BadInput(f"{'--beside' if beside else '--cache'} is for a RUN: give RUN too")
    serve(port, browser, run=run, folder=folder, cache=str(cache) if cache else None, beside=beside)


def export(model: ModelName, out: Annotated[Path, Argument(metavar="OUT.onnx")], encoder: ModelEncoder = None) -> None:
    """Write image tower and head of a model as one ONNX file."""
    from parlib.use.exchange import export_onnx
    from parlib.use.model import load

    print(export_onnx(load(model, encoder=encoder, device="cpu", precision="fp32"), out))


_HERE = (synth, check, extract, train, baselines, evaluate, explore, export)
for _command in (*_HERE, predict, reproduce, audit, table, demo):
    app.command()(_command)
