"""Whom a model is wrong about: scores within groups of images, beside all others, and which gaps hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from parlib.errors import BadInput
from parlib.measure.bootstrap import interval, persons, resampled, scorer
from parlib.measure.metrics import AVERAGES, checked
from parlib.measure.records import read_scores
from parlib.schema import SCHEMAS, Schema, schema

LEAST = 5  # people with a yes, and with a no, that an attribute must have in the group and outside to be compared
COLUMNS = ("images", "people", "attributes", "value", "low", "high", "rest", "gap", "gap_low", "gap_high", "p")


def subgroups(
    record: dict[str, Any], groups: Mapping[str, np.ndarray | None] | None = None, resamples: int = 1000
) -> pd.DataFrame:
    """mA in groups of a record's images against the rest, from the scores that are kept beside it.

    Args:
        record: with its scores (`read_scores`), the thresholds tuned on val among them; without, 0.5.
        groups: name -> (N,) bool, such as the images of one camera, or None for those labelled with the attribute of
            that name; default: gender, age and view as far as the benchmark labels them.
        resamples: of the bootstrap (`resampled`).

    Returns:
        DataFrame, one row per group: `images`, `people`, `attributes` compared; `value`, `low`, `high`, mA in the group
        and its 95 % interval; `rest`; `gap` = value - rest, `gap_low`, `gap_high`; `p`, two-sided from the spread of
        the draws (normal), after Holm's correction (Scand. J. Statist. 6, 1979); and `holds`, p < 0.05. Fractions of
        1; nan and False where fewer than two attributes can be compared.

    Raises:
        BadInput: the record has no scores beside it, or a group is no part of its images.
    """
    arrays, data = read_scores(record), record["data"]
    about = next((schema(name) for name in (data.get("view"), data["benchmark"]) if name in SCHEMAS), None)
    limits = arrays["thresholds"] if len(arrays["thresholds"]) else None
    labels, scores, names, who = (arrays[part] for part in ("labels", "scores", "names", "identity"))
    return compare(labels, scores, limits, names.tolist(), about, groups, who, resamples)


def compare(
    labels: np.ndarray,
    scores: np.ndarray,
    limits: np.ndarray | None,
    names: Sequence[str],
    about: Schema | None = None,
    groups: Mapping[str, np.ndarray | None] | None = None,
    who: Sequence[str] | np.ndarray | None = None,
    resamples: int = 1000,
) -> pd.DataFrame:
    """`subgroups` of labels and scores (N, A) at `limits` (A,), None for 0.5; `who` (N,) is in the images."""
    labels, scores = checked(labels, scores)
    people, place, rows = persons(who, len(labels)), AVERAGES.index("mA"), {}
    for name, (members, among) in _groups(about, groups, labels, list(names)).items():

        def enough(column, members=members):
            sides = [(labels[:, column] == yes) & side for yes in (0, 1) for side in (members, ~members)]
            return all(len(set(people[side])) >= LEAST for side in sides)

        columns = [column for column, each in enumerate(names) if each not in among and enough(column)]
        row = {"images": int(members.sum()), "people": len(set(people[members])), "attributes": len(columns)}
        if len(columns) > 1:
            used = scores[:, columns], None if limits is None else limits[columns]
            sides = [np.where(side[:, None], labels[:, columns], -1) for side in (members, ~members)]
            score = [scorer(each, *used) for each in sides]
            draws = resampled(len(labels), who, resamples)
            inside, outside = np.concatenate([[each(draw)[:, place] for each in score] for draw in draws], axis=1)
            gap = inside - outside
            row |= dict(zip(("value", "low", "high"), interval(inside), strict=True))
            row |= dict(zip(("gap", "gap_low", "gap_high"), interval(gap), strict=True))
            row |= {"rest": outside[0], "p": 2 * norm.sf(abs(gap[0]) / max(np.nanstd(gap[1:]), 1e-12))}
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, "index", columns=COLUMNS).rename_axis("group")
    ranked = table["p"].dropna().sort_values()
    table["p"] = (ranked * np.arange(len(ranked), 0, -1)).cummax().clip(upper=1)  # Holm's correction
    return table.assign(holds=table["p"] < 0.05)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `subgroups` as texts in percent, for reports and cards; "too few" where nothing can be compared."""

    def cells(columns, sign):
        for value, low, high in table[columns].to_numpy():
            text = f"{100 * value:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
            yield text if value == value else "too few"

    out = table[["images", "people", "attributes"]].copy()
    out["mA"] = [*cells(["value", "low", "high"], "")]
    out["gap to the rest"] = [*cells(["gap", "gap_low", "gap_high"], "+")]
    out["p (Holm)"] = [f"{p:.3f}" if p == p else "" for p in table["p"]]
    return out.assign(holds=["yes" if held else "no" for held in table["holds"]])


def _groups(about, groups, labels, names):
    """Group -> (its images (N,) bool, names of the attributes that make the grouping and are not compared)."""
    if groups is None:
        kinds = about.groups if about else {}
        groups = {name: None for kind in ("gender", "age", "view") for name in kinds.get(kind, ()) if name in names}
    found = {}
    for name, members in groups.items():
        if members is None and name not in names:
            raise BadInput(f"group {name!r} is no attribute of this record; it has {', '.join(names)}")
        members = labels[:, names.index(name)] == 1 if members is None else np.asarray(members, bool)
        if members.shape != (len(labels),):
            raise BadInput(f"group {name!r} has shape {members.shape} for {len(labels)} images")
        sets = about.exclusive if about else ()
        found[name] = members, next((one.members for one in sets if name in one.members), (name,))
    return found
