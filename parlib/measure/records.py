"""A record: the scores of a run and all that repeats it, as JSON, and an npz file of probabilities and labels."""

import glob
import hashlib
import io
import json
import math
import os
import platform
import re
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.files import digest, json_text, read_json, reading, write_atomic
from parlib.measure.bootstrap import bootstrap, persons
from parlib.measure.metrics import PROTOCOLS

_PROTOCOL = "threshold > 0.5; f1 = harmonic mean of averaged precision and recall; fractions of 1"
_PARTS = {"method", "data", "setting", "protocol", "scores", "intervals", "tuned", "per_attribute", "sha256"}
_PACKAGES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "pillow")
_CHOSEN_ON_VAL = "epoch and thresholds chosen on val"


class Record(dict[str, Any]):
    """A record as a dict, and where its probabilities and labels are; see `read_scores`."""

    npz: bytes | None = None  # content of the file to write beside it, while it is new
    path: Path | None = None  # where it was read from


def make_record(
    method: str,
    setting: dict[str, Any],
    data: dict[str, Any],
    labels: np.ndarray,
    scores: np.ndarray,
    thresholds: np.ndarray | None,
    names: Sequence[str],
    identities: Sequence[str | None] | np.ndarray | None = None,
) -> Record:
    """Score predictions and write down how they were made.

    Args:
        method: row name in the tables, such as `VLM-PAR head`.
        setting: encoder, its identity, prompts, options, seed: whatever determines the scores; `selection`, where
            anything was chosen otherwise than on val.
        data: benchmark, kind of tree (`official`, `rendered`, `own`, `other`), split, hashes of the list and labels,
            `corrections` where labels were corrected, and, where known, `train_positive_rates` (A,).
        labels, scores, names: (N, A), (N, A), A; see `evaluate`.
        thresholds: (A,) tuned on val, or None where there was nothing to tune on.
        identities: N people, so that intervals are of another draw of people instead of images.

    Returns:
        Without a time, the same for the same inputs on the same machine. `intervals` are 95 % bootstrap intervals
        (low, high). Undefined scores are nan, and null in the file. `comparable` is the digest of `comparison`,
        `scores_file` the SHA-256 of the npz file.
    """
    scores = np.asarray(scores, dtype=np.float32)  # as the npz holds them
    npz = _npz(labels, scores, thresholds, names, identities)
    record = {
        "format": 1,
        "method": method,
        "data": {**data, "images": len(labels)},
        "setting": setting,
        "protocol": _PROTOCOL,
        **_numbers("parlib", labels, scores, thresholds, names, identities),
        "made_with": {package: version(package) for package in _PACKAGES},
        "hardware": hardware(),
        "scores_file": hashlib.sha256(npz).hexdigest(),
    }
    record["comparable"] = digest(comparison(record))
    record = json.loads(json_text(record))  # as the file holds it, for the digest
    record["sha256"] = digest(record)
    made = _with_nan(record)
    made.npz = npz
    return made


def _numbers(protocol, labels, scores, thresholds, names, identities):
    """The parts of a record that a protocol determines."""
    at_half = PROTOCOLS[protocol](labels, scores, names)
    numbers = {
        "scores": at_half.summary(),
        "intervals": _intervals(protocol, labels, scores, identities),
        "undefined_attributes": len(at_half.undefined),
        "undefined": at_half.undefined,
        "tuned": None,
        "per_attribute": at_half.per_attribute.astype(float).to_dict("index"),
        "drawn": "images" if identities is None else "identities",
        "calibration": _calibration_bins(labels, scores),
    }
    if thresholds is not None:
        tuned = PROTOCOLS[protocol](labels, scores, names, thresholds)
        numbers["tuned"] = {
            **tuned.summary(),
            "thresholds": [round(float(t), 6) for t in thresholds],
            "interval": _intervals(protocol, labels, scores, identities, thresholds).get("mA"),
            "per_attribute": tuned.per_attribute["mA"].to_dict(),
        }
    return numbers


def under(record: dict[str, Any], protocol: str) -> dict[str, Any]:
    """A record scored again under one of `PROTOCOLS` from the scores beside it; BadInput where there are none."""
    arrays = read_scores(record)
    people = arrays["identity"] if record["drawn"] == "identities" else None
    limits = arrays["thresholds"] if len(arrays["thresholds"]) else None
    numbers = _numbers(protocol, arrays["labels"], arrays["scores"], limits, arrays["names"].tolist(), people)
    return {**record, **numbers, "protocol": protocol}


def comparison(record: dict[str, Any]) -> dict[str, Any]:
    """What two records must share for their scores to be compared, from the record's own fields."""
    data, setting = record["data"], record["setting"]
    return {
        **{name: data.get(name) for name in ("benchmark", "view", "split", "images")},
        "list": data.get("items_sha256"),
        "labels": data.get("labels_sha256"),
        "protocol": record["protocol"],
        "encoder": setting.get("identity") or setting.get("weights"),
        "selection": setting.get("selection", _CHOSEN_ON_VAL),
        **({"corrections": data["corrections"]["sha256"]} if data.get("corrections") else {}),
    }


def write_record(record: dict[str, Any], path: str | os.PathLike) -> None:
    """Write one record as strict JSON, whole or not at all; the npz of a new one first, beside it."""
    if isinstance(record, Record) and record.npz:
        write_atomic(Path(path).with_suffix(".npz"), record.npz)
    write_atomic(path, json_text(record) + "\n")


def findings(record: dict[str, Any]) -> list[str]:
    """What is wrong with a record, one line each, none where nothing is; its scores are computed again."""
    from torch.testing import assert_close  # takes a second to import

    hashes = "items_sha256", "labels_sha256"
    found = [f"no {name}: its test images are unknown" for name in hashes if name not in record["data"]]
    if record["protocol"] != _PROTOCOL:
        found.append(f"another protocol than this version's: {record['protocol']}")
    if record.get("comparable") != digest(comparison(record)):
        found.append("its digest of what is comparable is not that of its fields; make it again with this version")
    try:
        again = under(record, "parlib")
    except BadInput as error:
        return [*found, str(error)]
    for part in ("scores", "intervals", "tuned", "per_attribute", "calibration"):
        try:  # to 6 digits, as processors differ in the last ones
            assert_close(record[part], again[part], rtol=1e-9, atol=2e-6, equal_nan=True, check_dtype=False)
        except (AssertionError, TypeError, RuntimeError, OverflowError):  # the others where somebody wrote no number
            found.append(f"{part} are not those of the probabilities beside it")
    return found


def has_scores(record: dict[str, Any]) -> bool:
    """Whether `read_scores` finds a file of scores."""
    path, content = getattr(record, "path", None), getattr(record, "npz", None)
    return "scores_file" in record and bool(content or (path and path.with_suffix(".npz").is_file()))


def read_scores(record: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a record was made from, from the npz file beside it.

    Returns:
        `scores` (N, A) float32, `labels` (N, A) int8, `identity` (N,) int32, -1 where unknown, `names` (A,) str, and
        `thresholds` (A,) float64, of no length where none were tuned.

    Raises:
        BadInput: the file is missing, was changed, or the record was made without one.
    """
    path: Any = getattr(record, "path", None)
    content = getattr(record, "npz", None)
    if not record.get("scores_file") or not (path or content):
        raise BadInput(f"record {path or record['method']} has no file of scores; make it again with this version")
    if not content:
        npz = path.with_suffix(".npz")
        with reading(npz, "scores of a record", "copy it beside its record, or make both again"):
            content = npz.read_bytes()
        if hashlib.sha256(content).hexdigest() != record["scores_file"]:
            raise BadInput(f"{npz} is not the file that its record names; make both again")
    return dict(np.load(io.BytesIO(content), allow_pickle=False))


def _npz(labels, scores, thresholds, names, identities):
    """Content of the npz file; not compressed, so that the same scores are the same bytes everywhere."""
    people = pd.Series(identities if identities is not None else [None] * len(labels), dtype=object)
    np.savez(
        file := io.BytesIO(),
        scores=scores,
        labels=np.asarray(labels, dtype=np.int8),
        identity=pd.factorize(people.mask(people == ""), sort=True)[0].astype(np.int32),
        thresholds=np.asarray(thresholds if thresholds is not None else [], dtype=np.float64),
        names=np.asarray(names, dtype=np.str_),
    )
    return file.getvalue()


def read_records(*places: str | os.PathLike) -> list[Record]:
    """Records from files and from folders, also those below them, in the order of their paths.

    JSON files in folders that are no records are left out, with a warning that counts and names them; hidden folders
    are not searched. A copy of a record is read once. Scores that are null in the file are nan.

    Raises:
        BadInput: a place that is no record and holds none, or a record that was changed since it was made.
    """
    records: dict[str, Record] = {}
    foreign: list[str] = []
    for place in map(Path, places):
        files = [place]
        if place.is_dir():  # glob passes over what is hidden
            files = sorted(place / file for file in glob.glob("**/*.json", root_dir=place, recursive=True))
        others: list[str] = []
        for file in files:
            try:
                record = read_json(file, "record")
            except BadInput:
                if file == place:
                    raise
                others.insert(0, f"{file} (cannot be read)")
                continue
            if not isinstance(record, dict) or not set(record) >= _PARTS:
                others.append(str(file))
            elif digest({name: value for name, value in record.items() if name != "sha256"}) != record["sha256"]:
                raise BadInput(f"record {file} was changed after it was made; run the evaluation again")
            elif record["sha256"] not in records or file.with_suffix(".npz").is_file():
                records[record["sha256"]] = _with_nan(record)
                records[record["sha256"]].path = file
        if len(others) == len(files):
            hint = "`parlib evaluate RUN` and `parlib baselines` write records"
            raise BadInput(f"{place} holds no record (JSON files read: {len(files)}); {hint}")
        foreign += others
    if foreign:
        names = ", ".join(foreign[:4]) + (", ..." if len(foreign) > 4 else "")
        warnings.warn(f"{len(foreign)} JSON files are no records and are left out: {names}", stacklevel=2)
    return list(records.values())


def _with_nan(record):
    """The same record with nan where a score is null; what is no score may be null."""
    numbers = {part: _nan_for_null(record[part]) for part in ("scores", "intervals", "per_attribute")}
    if record["tuned"]:
        numbers["tuned"] = {**_nan_for_null(record["tuned"]), "interval": record["tuned"]["interval"]}
    return Record({**record, **numbers})


def _nan_for_null(value):
    if isinstance(value, dict):
        return {name: _nan_for_null(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_nan_for_null(each) for each in value]
    return math.nan if value is None else value


def hardware() -> dict[str, str | None]:
    """The processor and accelerator in words, for records and benchmarks."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    cores = re.findall(r"^model name\s*: (.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    cpu = f"{len(cores)} x {cores[0]}" if cores else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "gpu": gpu, "system": platform.system()}


def _calibration_bins(labels, scores, bins=10):
    """A reliability curve in equal bins: `count` of known labels, their mean `probability`, share of `yes` in them."""
    known = np.asarray(labels) >= 0
    probability, yes = np.asarray(scores)[known], np.asarray(labels)[known] == 1
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count, *sums = (np.bincount(place, weights, bins) for weights in (None, probability, yes))
    means = (np.array(sums) / np.maximum(1, count)).round(6).tolist()
    return {"count": count.tolist(), "probability": means[0], "yes": means[1]}


def _intervals(protocol, labels, scores, identities, thresholds=None):
    if persons(identities, len(labels)).max() < 1:  # one image or person: nothing to draw from
        return {}
    table = bootstrap(labels, scores, identities=identities, threshold=thresholds, protocol=protocol)
    return table[["low", "high"]].round(6).T.to_dict("list")
