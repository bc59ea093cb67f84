"""A record: one JSON file with the scores of a run and all that is needed to repeat it."""

import json
import math
import os
import platform
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from parlib.errors import BadInput
from parlib.files import digest, json_text, read_json, write_atomic
from parlib.measure.bootstrap import bootstrap, persons
from parlib.measure.metrics import evaluate

_PROTOCOL = "threshold > 0.5; f1 = harmonic mean of averaged precision and recall; fractions of 1"
_PARTS = ("method", "data", "setting", "protocol", "scores", "intervals", "tuned", "per_attribute", "sha256")
_PACKAGES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "pillow")


def make_record(
    method: str,
    setting: dict[str, Any],
    data: dict[str, Any],
    labels: np.ndarray,
    scores: np.ndarray,
    thresholds: np.ndarray | None,
    names: Sequence[str],
    identities: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Score predictions and write down how they were made.

    Args:
        method: row name in the tables, such as `VLM-PAR head`.
        setting: encoder, its identity, prompts, options, seed: whatever determines the scores.
        data: benchmark, kind of tree (`official`, `rendered`, `own`, `other`), split, hashes of the list and labels.
        labels, scores: (N, A); see `evaluate`.
        thresholds: (A,) tuned on val, or None where there was nothing to tune on.
        names: the A attributes.
        identities: N people, so that intervals are of another draw of people instead of images.

    Returns:
        dict: the same for the same inputs on the same machine; it holds no time. `intervals` are 95 % bootstrap
        intervals (low, high) and `calibration` the bins of a reliability curve, as both would need the scores again.
        Undefined scores are nan, and null in the file. `comparable` is the digest of `comparison`.
    """
    at_half = evaluate(labels, scores, names=names)
    record = {
        "format": 1,
        "method": method,
        "data": {**data, "images": len(labels)},
        "setting": setting,
        "protocol": _PROTOCOL,
        "scores": at_half.summary(),
        "intervals": _intervals(labels, scores, identities),
        "drawn": "images" if identities is None else "identities",
        "calibration": calibration_bins(labels, scores),
        "undefined_attributes": len(at_half.undefined),
        "undefined": at_half.undefined,
        "tuned": None,
        "per_attribute": at_half.per_attribute.astype(float).to_dict("index"),
        "made_with": {package: version(package) for package in _PACKAGES},
        "hardware": hardware(),
    }
    if thresholds is not None:
        tuned = evaluate(labels, scores, threshold=thresholds, names=names)
        record["tuned"] = {
            **tuned.summary(),
            "thresholds": [round(float(t), 6) for t in thresholds],
            "interval": _intervals(labels, scores, identities, thresholds).get("mA"),
            "per_attribute": tuned.per_attribute["mA"].to_dict(),
        }
    record["comparable"] = digest(comparison(record))
    record = json.loads(json_text(record))  # as the file holds it, for the digest
    record["sha256"] = digest(record)
    return _with_nan(record)


def comparison(record: dict[str, Any]) -> dict[str, Any]:
    """What two records must share for their scores to be compared, from the record's own fields."""
    data, setting = record["data"], record["setting"]
    return {
        **{name: data.get(name) for name in ("benchmark", "view", "split", "images")},
        "list": data.get("items_sha256"),
        "labels": data.get("labels_sha256"),
        "protocol": record["protocol"],
        "encoder": setting.get("identity") or setting.get("weights"),
        "selection": (setting.get("training") or {}).get("select"),
    }


def write_record(record: dict[str, Any], path: str | os.PathLike) -> None:
    """Write one record as strict JSON, whole or not at all."""
    write_atomic(path, json_text(record) + "\n")


def read_records(*places: str | os.PathLike) -> list[dict[str, Any]]:
    """Records from files and from folders, also those below them, in the order of their paths.

    A run's folder gives the records of its evaluations. JSON files in folders that are no records are left out, with a
    warning that counts and names them; hidden folders are not searched. A copy of a record is read once. Scores that
    are null in the file are nan.

    Raises:
        BadInput: no such place, no record in a place, a named file that is no record, or a record that was changed
            since it was made (its hash tells).
    """
    records: dict[str, dict[str, Any]] = {}
    foreign: list[tuple[bool, str]] = []
    for place in map(Path, places):
        found = _visible(place) if place.is_dir() else [place]
        others = []
        for file in found:
            try:
                record = _read_record(file)
                records[record["sha256"]] = record
            except _NoRecord as error:
                if file == place:
                    raise
                parsed = error.__cause__ is None
                others.append((parsed, f"{file}" if parsed else f"{file} (cannot be read)"))
        if len(others) == len(found):
            raise BadInput(
                f"no record in {place} or below it, and {len(others)} other JSON files; `parlib evaluate RUN` and "
                "`parlib baselines` write records"
            )
        foreign += others
    if foreign:
        names = ", ".join(name for _, name in sorted(foreign)[:4]) + (", ..." if len(foreign) > 4 else "")
        warnings.warn(f"{len(foreign)} JSON files are no records and are left out: {names}", stacklevel=2)
    return list(records.values())


def _visible(folder):
    """JSON files below a folder, sorted, without those in hidden folders."""
    paths = (file.relative_to(folder) for file in sorted(folder.rglob("*.json")))
    return [folder / path for path in paths if not any(part.startswith(".") for part in path.parts)]


class _NoRecord(BadInput):
    """The file is missing, cannot be read, or holds something else."""


def _read_record(file):
    try:
        record = read_json(file, "record")
    except BadInput as error:
        raise _NoRecord(str(error)) from error
    if not isinstance(record, dict) or not set(_PARTS) <= set(record):
        raise _NoRecord(f"{file} is no record: expected what `parlib evaluate` writes")
    if digest({name: value for name, value in record.items() if name != "sha256"}) != record["sha256"]:
        raise BadInput(f"record {file} was changed after it was made; run the evaluation again")
    return _with_nan(record)


def _with_nan(record):
    """The same record with nan where a score is null; what is no score may be null."""
    numbers = {part: _nan_for_null(record[part]) for part in ("scores", "intervals", "per_attribute")}
    if record["tuned"]:
        numbers["tuned"] = {**_nan_for_null(record["tuned"]), "interval": record["tuned"]["interval"]}
    return {**record, **numbers}


def _nan_for_null(value):
    if isinstance(value, dict):
        return {name: _nan_for_null(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_nan_for_null(each) for each in value]
    return math.nan if value is None else value


def hardware() -> dict[str, str | None]:
    """The processor and accelerator in words, for records and benchmarks."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(lines)} x {lines[0].split(':')[1].strip()}" if lines else model
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": model, "gpu": gpu, "system": platform.system()}


def calibration_bins(labels: np.ndarray, scores: np.ndarray, bins: int = 10) -> dict[str, list[float]]:
    """A reliability curve: three lists of `bins` values, in equal bins of probability.

    `count` of known labels in the bin, their mean `probability`, and the share of `yes` among them.
    """
    known = np.asarray(labels) >= 0
    probability, yes = np.asarray(scores)[known], np.asarray(labels)[known] == 1
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = {"probability": np.bincount(place, probability, bins), "yes": np.bincount(place, yes, bins)}
    shares = {name: (total / np.maximum(1, count)).round(6).tolist() for name, total in sums.items()}
    return {"count": count.tolist(), **shares}


def _intervals(labels, scores, identities, threshold=None):
    if persons(identities, len(labels)).max() < 1:  # one image or person: nothing to draw from
        return {}
    table = bootstrap(labels, scores, identities=identities, threshold=threshold)
    return table[["low", "high"]].round(6).T.to_dict("list")
