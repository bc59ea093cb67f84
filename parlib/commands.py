"""The commands `predict`, `reproduce`, `audit`, `table` and `demo`; `parlib.cli` has the others."""

import functools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from parlib.errors import BadInput
from parlib.profile import cache_folder

ModelName = Annotated[str, Argument(help="nano-pa100k (it ships), the folder of a run or saved model, or a hub id")]
ModelEncoder = Annotated[str | None, Option(help="folder or hub id of the model's encoder, if it has moved")]
Precision = Annotated[str | None, Option(help="of the encoder: fp32, bf16 or auto, the better here by a trial")]
Workers = Annotated[int | None, Option(help="processes that decode (default: one per core but one)")]


def say(words: object) -> None:
    """Print one line to stderr."""
    print(f"parlib: {words}", file=sys.stderr)


def predict(
    model: ModelName,
    images: Annotated[list[str] | None, Argument(help="files, folders, patterns, a clip (default: examples)")] = None,
    attributes: Annotated[str | None, Option(metavar="NAMES", help="some only, joined by commas")] = None,
    phrase: Annotated[list[str] | None, Option(metavar="NAME=TEXT", help="a zero-shot attribute; repeatable")] = None,
    boxes: Annotated[Path | None, Option(metavar="FILE", help="people in full frames: CSV, Parquet, COCO JSON")] = None,
    tracks: Annotated[Path | None, Option(metavar="FILE", help="boxes with ids, or MOT text: a row per person")] = None,
    detector: Annotated[str | None, Option(metavar="MODEL", help="of transformers; makes --tracks or --boxes")] = None,
    by: Annotated[str | None, Option(help="identity or folder: one row per person of a folder")] = None,
    most: Annotated[int | None, Option(min=1, help="crops taken of a person of --tracks or --by (default: 32)")] = None,
    first_frame: Annotated[int | None, Option(help="number of a clip's first frame in --tracks")] = None,
    min_score: Annotated[float | None, Option(help="boxes with a lower score are left out (default: 0.25)")] = None,
    category: Annotated[str | None, Option(help="class of the boxes to take (default: words for people)")] = None,
    language: Annotated[str | None, Option(help="of the prompts: en, zh, es, it, fr, ar; or joined by commas")] = None,
    threshold: Annotated[float | None, Option(help="one for all attributes (default: each one's own)")] = None,
    format: Annotated[
        str | None, Option(help="json, csv, parquet, fiftyone (default: --out's suffix, or json)")
    ] = None,
    out: Annotated[Path | None, Option(help="file, must not exist; a stopped job resumes (default: print)")] = None,
    annotate: Annotated[Path | None, Option(metavar="FOLDER", help="draw pictures or clip with answers there")] = None,
    encoder: ModelEncoder = None,
    precision: Precision = None,  # as in training
    workers: Workers = None,
) -> None:
    """Answer what a trained model knows about your images; exit code 1 where none could be read."""
    from parlib.use.model import EXAMPLES, load
    from parlib.use.people import MOST, gather_people
    from parlib.use.predict import Job, write_predictions

    used = load(model, encoder=encoder, language=language, precision=precision)
    if phrase:
        named = (one.partition("=") for one in phrase)
        used = used.with_phrases({name.strip(): (text if equals else name).strip() for name, equals, text in named})
    if not images and boxes is None:
        say(f"note: no image named; these are the examples in {EXAMPLES}")
    sources: Any = images or [EXAMPLES]
    if detector:
        boxes, tracks = _detected(sources, detector, min_score, boxes, tracks, out)
    crops = gather_people(sources, tracks, by, min_score, category, first_frame, boxes)
    names = attributes.split(",") if attributes else None
    job = Job(used, crops, names, threshold, workers, most=most or MOST)
    watch: Any = iter
    if annotate:  # drawing takes a second to import
        from parlib.show.annotate import annotate as draw
        from parlib.show.annotate import annotate_people

        watch = functools.partial(annotate_people if job.together else draw, crops=crops, folder=annotate)
    people, unreadable = write_predictions(job, out, format, watch)
    for name, error in unreadable[:5]:
        say(f"{name}: {error.removeprefix(f'{name}: ')}")
    if out:
        say(f"{people} people in {out}")
    if unreadable:
        say(f"{len(unreadable)} of {people + len(unreadable)} images could not be read")
    if not people:
        raise typer.Exit(1)


def _detected(images, detector, min_score, boxes, tracks, out):
    """(boxes, tracks) with the file that the detector has made, or makes now, of images or of a clip."""
    from parlib.use.people import clip_of, detect

    is_clip = clip_of(images) is not None
    beside = out and out.with_name(f"{out.name}.{'tracks' if is_clip else 'boxes'}.csv")
    path = (tracks if is_clip else boxes) or beside
    if not path:
        raise BadInput("--detector keeps what it finds: give --out, or a file that is new as --tracks or --boxes")
    if path.exists():
        say(f"note: {path} is there, so the detector is not run again")
    else:
        say(f"people that {detector} finds: {detect(images, detector, path, min_score)}")
    return (boxes, path) if is_clip else (path, tracks)


def _split_words(options: Sequence[str] | None) -> list[str] | None:
    """An option that may be repeated, or hold several words joined by commas."""
    return [word.strip() for option in options for word in option.split(",")] if options else None


def reproduce(
    profile: Annotated[str | None, Option(help="small, sample or paper (default: $PARLIB_PROFILE or small)")] = None,
    benchmarks: Annotated[list[str] | None, Option(help="some only; repeatable, or joined by commas")] = None,
    methods: Annotated[list[str] | None, Option(help="keys in methods.yaml; group:ablation is a whole group")] = None,
    seeds: Annotated[list[str] | None, Option(help="repeatable, or joined by commas (default: the profile's)")] = None,
    method: Annotated[list[str] | None, Option(metavar="FILE.py:CLASS", help="your own module; repeatable")] = None,
    processes: Annotated[int, Option(help="that share the cells on this machine")] = 1,
    plan_only: Annotated[bool, Option("--plan", help="print the cells and what they will cost, and end")] = False,
    out: Annotated[Path | None, Option(help="records, heads and logs; finished cells are kept")] = None,
    worker: Annotated[bool, Option("--worker", hidden=True)] = False,  # one of --processes: it prints no plan or table
) -> None:
    """Carry out the plan: benchmark x method x seed; exit code 1 where a cell fails.

    Several processes share a plan: start the same command again, or under `accelerate launch`.
    """
    from parlib.learn.costs import costs, must_fit, plan_table, plan_text
    from parlib.learn.plan import alone, plan, run
    from parlib.measure.records import read_records
    from parlib.measure.tables import NOTE, benchmark_table, render
    from parlib.profile import profile as profile_of
    from parlib.show.report import write_report

    alone()
    used = profile_of(profile, **({"runs": out} if out else {}))
    numbers = _split_words(seeds)
    try:
        chosen_seeds = [int(number) for number in numbers] if numbers else None
    except ValueError:
        raise BadInput(f"--seeds {','.join(numbers or [])}: give whole numbers") from None
    cells = plan(used, _split_words(benchmarks), _split_words(methods), chosen_seeds, method or ())
    if worker:
        run(cells, used, say)
        return
    expected = costs(cells, used)
    print(plan_text(expected), flush=True)
    must_fit(expected, used)
    if plan_only:
        return
    options = {"--benchmarks": benchmarks, "--methods": methods, "--seeds": seeds, "--method": method}
    repeated = [word for option, values in options.items() for value in values or () for word in (option, value)]
    same = [*repeated, "--profile", used.name, "--out", str(used.runs), "--worker"]
    command = [sys.executable, "-m", "parlib", "reproduce", *same]
    others = [subprocess.Popen(command) for _ in range(processes - 1)]
    run(cells, used, say)
    for other in others:
        other.wait()
    failed = [cell for cell in cells if not cell.is_done(used)]
    expected = plan_table(expected, cells, used)  # beside what it took, for the report
    if (used.runs / "records" / "main").is_dir():
        records = read_records(used.runs / "records" / "main")
        for benchmark in dict.fromkeys(cell.benchmark for cell in cells):
            if any(record["data"]["benchmark"] == benchmark for record in records):
                print(render(benchmark_table(records, benchmark), note=NOTE))
    if (used.runs / "records").is_dir():
        print("report: {}, {}".format(*write_report(read_records(used.runs / "records"), used.runs, expected)))
    print(f"records, heads and logs: {used.runs}")
    if failed:
        say(f"{len(failed)} of {len(cells)} cells failed: {', '.join(cell.name for cell in failed)}")
        raise typer.Exit(1)


def audit(
    root: Annotated[Path, Option(help="folder of its annotation file; needs no image")],
    benchmark: Annotated[str, Option(help="pa100k, peta or market1501")] = "pa100k",
) -> None:
    """Print what a benchmark's labels give away without a pixel, as one JSON object."""
    from parlib.data import audit_arrays
    from parlib.files import json_text
    from parlib.measure.audit import audit as audit_labels

    print(json_text(audit_labels(**audit_arrays(benchmark, root))))


def table(
    records: Annotated[list[Path] | None, Argument(help="record files or folders of them")] = None,
    benchmark: Annotated[str, Option(help="or all: three side by side, as papers print them")] = "pa100k",
    format: Literal["markdown", "latex", "csv", "html"] = "markdown",
    columns: Annotated[str | None, Option(metavar="NAMES", help="such as mA,f1 (default: all or papers' five)")] = None,
    protocol: Annotated[str, Option(help="of parlib.PROTOCOLS; others need the scores beside the records")] = "parlib",
    cross_domain: Annotated[bool, Option("--cross-domain", help="train on one, test on another")] = False,
    check: Annotated[bool, Option("--check", help="does each record stand up? exit code 1 if not")] = False,
) -> None:
    """Print records beside the published numbers, or all pairs of benchmarks; or check records."""
    from parlib.measure import tables
    from parlib.measure.records import findings, read_records
    from parlib.measure.rows import by_method

    found = read_records(*(records or []))
    if check:
        wrong = ["; ".join(findings(record)) for record in found]
        for record, reasons in zip(found, wrong, strict=True):
            print(f"{record.path}: {reasons or 'stands up, comparable ' + record['comparable'][:6]}")
        if any(wrong):
            raise typer.Exit(1)
        return
    if cross_domain:
        crossed = [record for record in found if (record["setting"].get("trained_on") or {}).get("view")]
        if not crossed:
            raise BadInput("no record of training on shared attributes here: `parlib reproduce` makes them in cross/")
        for method, of_one in by_method(crossed).items():
            print(tables.render(tables.cross_domain_table(of_one), format, f"{method}. {tables.CROSS_NOTE}"))
            by_attribute = tables.left_out_table(of_one)
            if len(by_attribute.columns):
                print(tables.render(by_attribute, format, f"{method}. {tables.LEFT_OUT_NOTE}"))
        return
    names = columns.split(",") if columns else None
    if benchmark == "all":
        shown: dict[str, Any] = {"columns": names} if names else {}
        made, note = tables.literature_table(found, protocol=protocol, **shown), tables.LITERATURE_NOTE
    else:
        made, note = tables.benchmark_table(found, benchmark, protocol=protocol), tables.NOTE
        made = made[tables.chosen_columns(made, names)] if names else made
    print(tables.render(made, format, note))


def demo(
    noise: Annotated[float, Option(min=0, max=1, help="share of noise in every pixel of the pictures")] = 0.0,
    cache: Annotated[Path | None, Option(help="folder for pictures and features (default: as of the others)")] = None,
    port: Annotated[int, Option(help="of the page, on this machine alone")] = 8866,
    browser: Annotated[bool, Option("--browser/--no-browser", help="open the page in a browser")] = True,
) -> None:
    """Serve the explorers with the shipped model on people rendered here; needs no data and no network."""
    from parlib.show.server import demo as serve_demo

    serve_demo(noise, cache.expanduser() if cache else cache_folder(), port, browser)
