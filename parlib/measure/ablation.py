"""What each option of the head is worth: several seeds beside the linear probe on the same test images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.schema import Schema

REFERENCE = "linear probe"
_SHOWN = ("mA", "tuned mA", "mAP", "f1")
ABLATION_NOTE = (
    "Percent on test; mean ± standard deviation over seeds. Differences from the linear probe on the same images, with "
    "95 % intervals of a paired bootstrap over test images (bounds averaged over seeds). Rows are many, "
    "uncorrected for their number, and all stand on one encoder and one kind of image."
)


def ablation_table(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row an option: mean and spread of its scores over seeds, and the paired difference from the linear probe.

    Args:
        records: of `tools/ablations.py`; those without `setting.ablation` are left out.

    Returns:
        DataFrame with text cells, by falling mAP; differences in percentage points; `ahead in` says where the interval
        lies above 0 (or below); `impossible` is the share of images whose answers at 0.5 break an exclusive set.

    Raises:
        BadInput: records of several encoders or lists of images in one table.
    """
    records = [record for record in records if "ablation" in record["setting"]]
    places = {(r["data"]["items_sha256"], r["setting"]["weights"]) for r in records}
    if len(places) != 1:
        raise BadInput(
            f"an ablation table needs records of one encoder and one list of images; these are of {len(places)}"
        )
    rows = {}
    for name in dict.fromkeys(record["method"] for record in records):
        group = [record for record in records if record["method"] == name]
        scores = pd.DataFrame([{**r["scores"], "tuned mA": r["tuned"]["mA"]} for r in group])
        compared = [r["setting"]["ablation"] for r in group]
        row = {column: _mean_spread(scores[column]) for column in _SHOWN}
        ahead = []
        for score in ("mA", "mAP") if name != REFERENCE else ():
            gap = 100 * pd.DataFrame([c[score] for c in compared]).mean()
            column = "tuned mA" if score == "mA" else score
            row[f"{column} - probe"] = f"{gap['difference']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}]"
            ahead += [column] if gap["low"] > 0 else [f"behind in {column}"] if gap["high"] < 0 else []
        row |= {"ahead in": ", ".join(ahead), "impossible": f"{100 * np.mean([c['impossible'] for c in compared]):.1f}"}
        row["seeds"] = str(len(group))
        rows[name] = (scores["mAP"].mean(), row)
    order = sorted(rows, key=lambda name: -rows[name][0])
    columns = [*_SHOWN, "tuned mA - probe", "mAP - probe", "ahead in", "impossible", "seeds"]
    table = pd.DataFrame([rows[name][1] for name in order], pd.Index(order, name="option"))
    return table.reindex(columns=columns).fillna("")


def paired_intervals(
    labels: np.ndarray,
    scores: np.ndarray,
    decided: np.ndarray,
    reference_scores: np.ndarray,
    reference_decided: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """How far one set of predictions is ahead of another on the same images, with 95 % bootstrap intervals.

    Images are drawn with replacement, the same for both; an attribute that a draw leaves without a positive or a
    negative is left out of that draw.

    Args:
        labels: (N, A) of 1, 0, -1. scores: (N, A) for mAP. decided: (N, A) bool for mA.

    Returns:
        dict: `mA` and `mAP`, each a dict of `difference`, `low`, `high`, fractions.
    """
    draws = np.random.default_rng(seed).multinomial(len(labels), np.full(len(labels), 1 / len(labels)), resamples)
    draws = np.concatenate([np.ones((1, len(labels))), draws])  # the first row is the sample itself
    yes, no = (labels == 1).astype(float), (labels == 0).astype(float)
    both = {
        "mA": [_mean_recalls(draws, yes, no, np.asarray(right)) for right in (decided, reference_decided)],
        "mAP": [_average_precisions(draws, yes, no, given) for given in (scores, reference_scores)],
    }
    out = {}
    for name, (ours, theirs) in both.items():
        gaps = np.nanmean(ours - theirs, axis=1)
        low, high = np.percentile(gaps[1:], [2.5, 97.5])
        out[name] = {"difference": float(gaps[0]), "low": float(low), "high": float(high)}
    return out


def _mean_recalls(draws, yes, no, right):
    """(TPR + TNR) / 2 of every draw and attribute; nan where one of the two is undefined."""
    with np.errstate(invalid="ignore"):
        return ((draws @ (yes * right)) / (draws @ yes) + (draws @ (no * ~right)) / (draws @ no)) / 2


def _average_precisions(draws, yes, no, scores):
    """Average precision of every draw and attribute, each image counted as often as it was drawn; ties unbroken."""
    out = np.full((len(draws), yes.shape[1]), np.nan)
    for a in range(yes.shape[1]):
        order = np.argsort(-scores[:, a], kind="stable")
        hits = draws[:, order] * yes[order, a]
        found, seen = hits.cumsum(1), (draws[:, order] * (yes + no)[order, a]).cumsum(1)
        with np.errstate(invalid="ignore"):
            out[:, a] = (hits * found / np.maximum(seen, 1)).sum(1) / found[:, -1]
    return out


def impossible_share(decided: np.ndarray, schema: Schema) -> float:
    """Share of images whose decisions (N, A) break at least one exclusive set of the schema."""
    broken = np.zeros(len(decided), bool)
    for group in schema.exclusive:
        yes = np.asarray(decided)[:, [schema.index(name) for name in group.members]].sum(1)
        broken |= (yes != 1) if group.exactly_one else (yes > 1)
    return float(broken.mean())


def _mean_spread(values):
    return f"{100 * values.mean():.1f}" + (f" ± {100 * values.std():.1f}" if len(values) > 1 else "")
