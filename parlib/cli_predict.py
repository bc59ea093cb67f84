"""The command `predict`: images, people in frames, and people in clips; `parlib.cli` has the others."""

import functools
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from parlib.cli_paper import say
from parlib.errors import BadInput

ModelName = Annotated[str, Argument(help="nano-pa100k (it ships), the folder of a run or saved model, or a hub id")]
ModelEncoder = Annotated[str | None, Option(help="folder or hub id of the model's encoder, if it has moved")]
Precision = Annotated[str | None, Option(help="of the encoder: fp32, bf16 or auto, the better here by a trial")]
Workers = Annotated[int | None, Option(help="processes that decode (default: one per core but one)")]


def predict(
    model: ModelName,
    images: Annotated[list[str] | None, Argument(help="files, folders, patterns, a clip (default: examples)")] = None,
    attributes: Annotated[str | None, Option(metavar="NAMES", help="some only, joined by commas")] = None,
    phrase: Annotated[list[str] | None, Option(metavar="NAME=TEXT", help="a zero-shot attribute; repeatable")] = None,
    boxes: Annotated[Path | None, Option(metavar="FILE", help="people in full frames: CSV, Parquet, COCO JSON")] = None,
    tracks: Annotated[Path | None, Option(metavar="FILE", help="boxes with ids, or MOT text: a row per person")] = None,
    detector: Annotated[str | None, Option(metavar="MODEL", help="of transformers; makes --tracks or --boxes")] = None,
    by: Annotated[str | None, Option(help="identity or folder: one row per person of a folder")] = None,
    most: Annotated[int | None, Option(help="crops taken of a person of --tracks or --by (default: 32)")] = None,
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
    crops = gather_people(sources, tracks, by, boxes, first_frame, min_score=min_score, category=category)
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
    say(f"people that {detector} finds: {detect(images, detector, path, min_score)}")
    return (boxes, path) if is_clip else (path, tracks)
