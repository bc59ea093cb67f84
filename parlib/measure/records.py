"""A run's record: one JSON with the scores and all that is needed to get them again."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from parlib.errors import BadInput
from parlib.files import digest, must_be, number, pair, read_json, write_atomic
from parlib.measure.bootstrap import bootstrap
from parlib.measure.metrics import evaluate


def _is_count(value):
    return type(value) in (int, float) and 0 <= value < 1e9


# What is read of a record, by tables and cards: anyone can give a file the hash of what it holds.
_SHAPE = {
    **{"method": str, "protocol": str, "drawn": str, "sha256": str, "scores": {str: (number,)}},
    **{"intervals": {str: pair}, "per_attribute": {str: {str: (number,), "positives": _is_count}}},
    "data": {"benchmark": str, "kind": str, "split": str, "images": int},
    "setting": {"encoder": str, "seed": (int,), "trained_on": ({"benchmark": str, "view": (str,)},)},
    "tuned": ({"mA": (number,), "interval": (pair,), "per_attribute": {str: (number,)}},),
}
_PACKAGES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "pillow")


def make_record(
    method: str,
    setting: dict[str, Any],
    data: dict[str, Any],
    labels: np.ndarray,
    scores: np.ndarray,
    thresholds: np.ndarray | None,
    names: Sequence[str],
    identities: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score predictions and say everything about how they came to be.

    Args:
        method: row name in the tables, such as `VLM-PAR head`.
        setting: encoder, weights hash, prompts, options, seed: whatever determines the scores.
        data: benchmark, kind of tree (`official`, `rendered`, `other`), split, list hash.
        labels, scores: (N, A); see `evaluate`.
        thresholds: (A,) tuned on val, or None where there was nothing to tune on.
        names: the A attributes.
        identities: N people, so that intervals are of another draw of people instead of images.

    Returns:
        dict: the same for the same inputs on the same machine; it holds no time. `intervals` are 95 % bootstrap
        intervals (low, high), `calibration` the bins of a reliability curve: both would need the scores again.
    """
    at_half = evaluate(labels, scores, names=names)
    record = {
        "format": 1,
        "method": method,
        "data": {**data, "images": len(labels)},
        "setting": setting,
        "protocol": "threshold > 0.5; f1 = harmonic mean of averaged precision and recall; fractions of 1",
        "scores": at_half.summary(),
        "intervals": _intervals(labels, scores, identities),
        "drawn": "images" if identities is None else "identities",
        "calibration": calibration_bins(labels, scores),
        "undefined_attributes": at_half.undefined,
        "tuned": None,
        "per_attribute": _plain(at_half.per_attribute),
        "made_with": {package: version(package) for package in _PACKAGES},
        "hardware": hardware(),
    }
    if thresholds is not None:
        tuned = evaluate(labels, scores, threshold=thresholds, names=names)
        interval = _intervals(labels, scores, identities, thresholds).get("mA")
        rounded = [round(float(t), 6) for t in thresholds]
        each = {name: row["mA"] for name, row in _plain(tuned.per_attribute).items()}
        record["tuned"] = {**tuned.summary(), "thresholds": rounded, "interval": interval, "per_attribute": each}
    record["sha256"] = digest(record)
    return record


def write_record(record: dict[str, Any], path: str | os.PathLike) -> None:
    """Write one record as JSON, whole or not at all."""
    write_atomic(path, json.dumps(record, indent=1, default=float) + "\n")


def read_records(*places: str | os.PathLike) -> list[dict[str, Any]]:
    """Records from files and folders (`*.json` in them), in the order of their names.

    Raises:
        BadInput: no such place, a file that is no record, or one changed since it was made (its hash tells).
    """
    files = []
    for place in map(Path, places):
        if not place.exists():
            raise BadInput(f"no record at {place}")
        files += sorted(place.glob("*.json")) if place.is_dir() else [place]
    records = []
    for file in files:
        record = read_json(file, "record")
        if "sha256" not in record or "scores" not in record:
            raise BadInput(f"{file} is no record: expected what `parlib evaluate` writes")
        content = {k: v for k, v in record.items() if k != "sha256"}
        if digest(content) != record["sha256"]:
            raise BadInput(f"record {file} was changed after it was made; run the evaluation again")
        must_be(record, _SHAPE, f"record {file}")
        records.append(record)
    return records


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


def _intervals(labels, scores, identities, threshold=None):
    if len(labels) < 2 or (identities is not None and len(set(identities)) < 2):
        return {}
    table = bootstrap(labels, scores, identities=identities, threshold=threshold)
    return {name: [round(float(row[bound]), 6) for bound in ("low", "high")] for name, row in table.iterrows()}


def calibration_bins(labels: np.ndarray, scores: np.ndarray, bins: int = 10) -> dict[str, list[float]]:
    """In equal bins of probability the labels that fall there, their mean probability and share of yes: three lists."""
    known = np.asarray(labels) >= 0
    given, yes = np.asarray(scores)[known], np.asarray(labels)[known] == 1
    place = np.minimum((given * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = {"probability": np.bincount(place, given, bins), "yes": np.bincount(place, yes, bins)}
    shares = {name: (total / np.maximum(1, count)).round(6).tolist() for name, total in sums.items()}
    return {"count": count.tolist(), **shares}


def _plain(table):
    """A DataFrame as nested dicts with None for nan: what JSON can hold and read back unchanged."""
    return {
        name: {key: None if np.isnan(value) else float(value) for key, value in row.items()}
        for name, row in table.to_dict("index").items()
    }
