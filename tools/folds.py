"""Cross-validation on a real tree: `PARLIB_DATA=ROOT python tools/folds.py`; every image is in test once.

ROOT is that of one tree (profile `sample`). The cells of all folds are carried out as `parlib reproduce` does it, so a
stopped run resumes and a second process may help. Their records, without scores or labels of single images, go to
records/sample-folds, and the table of all folds together to benchmarks/results/folds.json.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from parlib.files import json_text, write_atomic
from parlib.learn.methods import find_methods
from parlib.learn.plan import Cell, run
from parlib.measure.bootstrap import bootstrap
from parlib.measure.records import hardware, read_records, read_scores
from parlib.profile import profile

ROOT = Path(__file__).resolve().parents[1]
RECORDS, OUT = ROOT / "records" / "sample-folds", ROOT / "benchmarks" / "results" / "folds.json"
METHODS = ["zero-shot", "knn", "linear", "linear-patches", "attentive", "efficient", "compact", "recommended"]
FOLDS, REFERENCE = 5, "linear"
ABOUT = (
    "Percent. Every image is scored once, by a training that did not see it. `folds`: scores of single folds. The rest "
    "is of all images together, with 95 % bootstrap intervals over images, paired where it is a difference; the spread "
    "over trainings is not in them. Tuned mA takes the thresholds that each fold chose on its own val."
)


def main():
    """Command line; returns nothing. Cells that are done are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    args = parser.parse_args()
    made = profile("sample")
    names = [f"fold{number}of{FOLDS}-seed{made.seed}" for number in range(FOLDS)]
    methods = find_methods(args.methods)
    cells = {one.key: [Cell(made.benchmark, one, made.seed, partition=name) for name in names] for one in methods}
    if run([cell for each in cells.values() for cell in each], made):
        raise SystemExit("a cell failed: see its log")
    files = {key: [path for cell in each for path in cell.records(made).values()] for key, each in cells.items()}
    records = {key: read_records(*paths) for key, paths in files.items()}
    RECORDS.mkdir(parents=True, exist_ok=True)
    for path in [path for paths in files.values() for path in paths]:
        shutil.copyfile(path, RECORDS / path.name)
    pooled = {key: _together(each) for key, each in records.items()}
    rows = {key: _row(records[key], pooled[key], pooled[REFERENCE]) for key in records}
    found = {"about": ABOUT, "benchmark": made.benchmark, "partitions": names, "encoder": made.encoder}
    found |= {"images": len(pooled[REFERENCE]["labels"]), "hardware": hardware(), "methods": rows}
    write_atomic(OUT, json_text(found) + "\n")
    print(pd.json_normalize(list(rows.values())).to_string())


def _together(records):
    """Labels (N, A), scores (N, A) and the decisions at each fold's thresholds (N, A) of all folds."""
    parts = [read_scores(record) for record in records]
    decided = [part["scores"] > part["thresholds"].astype(np.float32) for part in parts]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in ("labels", "scores")}
    return {**whole, "decided": np.concatenate(decided).astype(float)}


def _row(records, pooled, reference):
    """What the table says of a method: mA at tuned thresholds and mAP, each alone and minus the linear probe's."""
    row = {"method": records[0]["method"], "head": (records[0]["setting"].get("head") or {}).get("preset")}
    row["folds"] = {"tuned mA": [_percent(r["tuned"]["mA"]) for r in records]}
    row["folds"]["mAP"] = [_percent(r["scores"]["mAP"]) for r in records]
    for name, score, part in (("tuned mA", "mA", "decided"), ("mAP", "mAP", "scores")):
        more = {"ranking": score == "mAP"}
        row[name] = _interval(bootstrap(pooled["labels"], pooled[part], **more).loc[score])
        if pooled is not reference:
            gap = bootstrap(pooled["labels"], pooled[part], reference[part], **more).loc[score]
            row[f"{name} - linear"] = _interval(gap)
    return row


def _interval(row):
    return {name: _percent(row[name]) for name in ("value", "low", "high")}


def _percent(fraction):
    return round(100 * float(fraction), 2)


if __name__ == "__main__":
    main()
