"""Trained on one benchmark, tested on another: what is lost, on the same images and the same attributes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from parlib.errors import BadInput

CROSS_NOTE = (
    "Percentage points; rows: trained on, columns: tested on; mean ± standard deviation over seeds. Diagonal: score in "
    "its own domain over all its shared attributes. Elsewhere: score there, and in brackets the difference from a head "
    "trained in that domain, on the same test images and over the attributes that both domains carry."
)


def cross_domain_losses(records: Sequence[dict[str, Any]], column: str = "mA") -> pd.DataFrame:
    """One row a pair of domains, seed and attribute: the score at home and away on the same images.

    Args:
        records: of heads trained on a view of shared attributes (`setting.trained_on.view`); others are left out.
        column: of the records' `per_attribute` (threshold 0.5), such as `mA` or `AP`; `tuned mA` takes the thresholds
            tuned on val of the benchmark trained on.

    Returns:
        DataFrame: trained_on, tested_on, seed, attribute, home, away (fractions); attributes undefined in either of the
        two records are left out.

    Raises:
        BadInput: no such records, or no in-domain record for a test set and seed.
    """
    crossed = {}
    for record in records:
        trained = record["setting"].get("trained_on") or {}
        if trained.get("view") and record["data"]["split"] == "test":
            key = (trained["benchmark"], record["data"]["benchmark"], record["setting"].get("seed"))
            crossed[key] = _scores(record, column)
    if not crossed:
        raise BadInput("no record of a head trained on shared attributes: train with --view upar-lite")
    rows = []
    for (trained, tested, seed), away in crossed.items():
        if (tested, tested, seed) not in crossed:
            raise BadInput(f"no record of a head trained and tested on {tested} with seed {seed} to compare with")
        home = crossed[tested, tested, seed]
        both = [name for name in away if name in home]
        rows += [(trained, tested, seed, name, home[name], away[name]) for name in both]
    return pd.DataFrame(rows, columns=["trained_on", "tested_on", "seed", "attribute", "home", "away"])


def cross_domain_table(records: Sequence[dict[str, Any]], column: str = "mA") -> pd.DataFrame:
    """The matrix of domains as text cells; `CROSS_NOTE` says how to read it. Arguments as `cross_domain_losses`."""
    means = cross_domain_losses(records, column).groupby(["trained_on", "tested_on", "seed"])[["home", "away"]].mean()
    means["change"] = means["away"] - means["home"]
    cells: dict[str, dict[str, str]] = {}
    for (trained, tested), group in (100 * means).groupby(level=[0, 1]):
        score, change = _spread(group["away"], ""), _spread(group["change"], "+")
        cells.setdefault(tested, {})[trained] = score if trained == tested else f"{score} ({change})"
    order = list(dict.fromkeys(means.index.get_level_values(0)))
    return pd.DataFrame(cells).reindex(index=order, columns=order).fillna("not run").rename_axis("trained on")


def _scores(record, column):
    if column == "tuned mA":
        tuned = (record.get("tuned") or {}).get("per_attribute", {})
        return {name: value for name, value in tuned.items() if value is not None}
    return {name: row[column] for name, row in record["per_attribute"].items() if row.get(column) is not None}


def _spread(values, sign):
    values = np.asarray(values, float)
    return f"{values.mean():{sign}.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")
