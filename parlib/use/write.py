"""Predictions into one file, JSON, CSV or Parquet: whole or not at all, piece by piece, never two writers at once."""

import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from parlib.errors import BadInput
from parlib.files import only_one, partial_of, plain_cell, sweep
from parlib.use.predict import Job

FORMATS = ("json", "csv", "parquet")


def write_predictions(
    job: Job,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    seen: Callable[[Iterator[pd.DataFrame]], Iterable[pd.DataFrame]] = iter,
) -> tuple[int, list[tuple[str, str]]]:
    """Predict and write one file, whole or not at all; the pieces of a job that was stopped are found again.

    Args:
        job: `Job`.
        out: file, must not exist; None prints to standard output.
        format: one of `FORMATS`; default is by the suffix of `out`, or json.
        seen: takes the iterator of tables and passes them on, such as `annotate`.

    Returns:
        (people answered, [(image, error)] of what could not be read).
    """
    format = format or (Path(out).suffix[1:].lower() if out else "") or "json"
    if format not in FORMATS or (format == "parquet" and not out):
        raise BadInput(f"format {format!r} cannot be written here; known: {', '.join(FORMATS)} (parquet needs --out)")
    if not out:
        return write_tables(seen(job.pieces()), sys.stdout.buffer, format)
    out = Path(out)
    if out.exists():
        raise BadInput(f"{out} exists already: give another --out, or remove it; nothing is overwritten")
    folder, partial = out.with_name(f".{out.name}.{job.key[:12]}.parts"), partial_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(out, folder / "lock"):
            sweep(folder), sweep(out.parent)
            try:
                with open(partial, "wb") as file:
                    counts = write_tables(seen(job.pieces(folder)), file, format)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(out)
            finally:
                partial.unlink(missing_ok=True)
            for left in out.parent.glob(f".{glob.escape(out.name)}.*.parts"):  # and those of jobs asked otherwise
                shutil.rmtree(left, ignore_errors=True)
        return counts
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written: {error.strerror}; make room or choose another place, what is done is kept"
        ) from error


def write_tables(tables: Iterable[pd.DataFrame], file: IO[bytes], format: str) -> tuple[int, list[tuple[str, str]]]:
    """Write tables one after another to an open binary file: (people read, [(image, error)])."""
    people, unreadable, writer = 0, [], None
    for number, table in enumerate(tables):
        failed = table[table["error"].notna()]
        unreadable += list(zip(failed["image"], failed["error"], strict=True))
        if format == "csv":
            safe = {c: table[c].map(plain_cell, na_action="ignore") for c in ("image", "attribute", "error")}
            file.write(table.assign(**safe).to_csv(index=False, header=number == 0).encode())
        elif format == "parquet":
            part = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pyarrow.parquet.ParquetWriter(file, part.schema)
            writer.write_table(part)
        objects = list(_objects(table))
        people += len(objects) - len(failed)
        if format == "json":
            lines = ",\n".join(json.dumps(o, ensure_ascii=False) for o in objects)
            file.write((("[\n" if number == 0 else ",\n") + lines).encode())
    if writer:
        writer.close()
    if format == "json":
        file.write(b"\n]\n")
    return people, unreadable


def _objects(table):
    """One plain dict a person: image, box where there is one, and attributes or an error."""
    rows, current = table.to_dict("records"), None
    for row in rows:
        place = {"image": row["image"]}
        if "x" in row and not np.isnan(row["x"]):
            place["box"] = [row[c] for c in ("x", "y", "width", "height")]
        if not pd.isna(row["error"]):
            if current:
                yield current
                current = None
            yield {**place, "error": row["error"]}
            continue
        # A person's rows follow one another; their first attribute coming again starts the next person.
        if current is None or row["attribute"] in current["attributes"]:
            if current:
                yield current
            current = {**place, "attributes": {}}
        answer = {c: row[c] for c in ("probability", "decision", "threshold", "calibrated")}
        current["attributes"][row["attribute"]] = {**answer, "decision": bool(answer["decision"])}
    if current:
        yield current
