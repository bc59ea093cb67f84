"""What predictors that see no pixel score on a benchmark, and how far its identities leak from trainval into test."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.measure.bootstrap import persons
from parlib.measure.metrics import F1, PROTOCOLS, evaluate, positive_rates
from parlib.schema import schema

FIRST = {"train": 1, "test": 752}  # identities of the first rows, where ids are taken to be consecutive


def audit(
    benchmark: str,
    labels: np.ndarray,
    partitions: Sequence[tuple[np.ndarray, np.ndarray]],
    identities: Sequence[str] | np.ndarray | None = None,
    image_index: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The audit of one benchmark from arrays; `parlib.data.audit_arrays` reads them from its files.

    Args:
        benchmark: `pa100k`, `peta` or `market1501`.
        labels: (N, A) of 1, 0, -1. PETA's are all 105; scores are of the first 35, except where a name says 105.
        partitions: pairs of (rows of trainval, rows of test), int arrays; scores are of the first pair.
        identities: N identities, or None; see `persons` for missing ones.
        image_index: of market1501, `{"train": [...], "test": [...]}`: identities (4 digits) in the order of `labels`.

    Returns:
        dict of fractions of 1 to 6 digits; None where a score is undefined, None or [] where there is nothing to say.
        `constant_predictor`: protocol -> scores on test of each attribute's majority in trainval.
        `identity_copy`: scores of labels copied from trainval by identity (the mean over its images; trainval's rates
        for others); `protocols` and `flavours` (F1 and threshold) score them in other ways, `partitions` by partition.
        `identity_overlap`: for each partition the share of test rows whose identity is in trainval.
        `consecutive_id_mistake`, where train is taken to be identities 1..751 and test 752..1501: how many identities
        get their own labels, the share of labels that are true all the same, the constant predictor's scores.

    Raises:
        BadInput: an unknown benchmark, arrays that do not fit together, a partition without rows.
    """
    labels, about = np.asarray(labels), schema("peta105" if benchmark == "peta" else benchmark)
    if labels.ndim != 2 or labels.shape[1] != len(about):
        raise BadInput(f"audit of {benchmark} needs labels (N, {len(about)}), got {labels.shape}")
    if not partitions or not all(len(train) and len(test) for train, test in partitions):
        raise BadInput(f"audit of {benchmark}: a partition without rows in trainval or test")
    used = labels[:, : len(schema(benchmark))]
    known = [p for p in PROTOCOLS.values() if not p.view or benchmark == "market1501"]
    train, test = partitions[0]
    out: dict[str, Any] = {"constant_predictor": _all(known, used[test], _constant(used[train], len(test)))}
    out |= {"identity_copy": None, "identity_overlap": [], "consecutive_id_mistake": None}
    if benchmark == "peta":
        every = PROTOCOLS["vlm-par-code"](labels[test], _constant(labels[train], len(test)))
        out["constant_predictor"]["vlm-par-code, 105 attributes"] = _rounded(every)
    if identities is not None:
        people = persons(identities, len(labels))
        out["identity_overlap"] = [round(float(np.isin(people[b], people[a]).mean()), 6) for a, b in partitions]
        copies = [(used[b], _copied(used[a], people[a], people[b])) for a, b in partitions]
        each = [_rounded(PROTOCOLS["rethinking"](*copy)) for copy in copies]
        pairs = itertools.product((0.5, 0.45), get_args(F1))
        flavours = {f"{f1} > {limit}": _rounded(evaluate(*copies[0], limit, f1)) for limit, f1 in pairs}
        protocols = _all(known, *copies[0])
        out["identity_copy"] = {**each[0], "protocols": protocols, "flavours": flavours, "partitions": each}
    if image_index is not None:
        out["consecutive_id_mistake"] = _consecutive(used, image_index, known)
    return out


def _consecutive(labels, image_index, protocols):
    """What labels by position give, where row i of train is taken as identity 1 + i and row i of test as 752 + i."""
    ids = [
        (half, first + i, int(person)) for half, first in FIRST.items() for i, person in enumerate(image_index[half])
    ]
    if len(ids) != len(labels):
        raise BadInput(f"image_index names {len(ids)} identities for {len(labels)} rows of labels")
    rows = pd.DataFrame(ids, columns=["half", "taken_for", "person"]).rename_axis("row").reset_index()
    # Of each person that the mistake gives labels: its row, and the one whose labels it gets.
    taken = rows[["taken_for", "row"]].drop_duplicates("taken_for", keep="last")
    found = rows.merge(taken, left_on="person", right_on="taken_for", suffixes=("", "_mistaken"))
    out: dict[str, Any] = {}
    for half in FIRST:
        out[f"{half}_right"] = int(found.query("half == @half and row == row_mistaken").shape[0])
        out[f"{half}_total"] = len(image_index[half])
    train, test = (labels[found["row_mistaken"][found["half"] == half]] for half in FIRST)
    out["agreement"] = round(float((np.concatenate([train, test]) == labels[found["row"]]).mean()), 6)
    return {**out, "constant_predictor": _all(protocols, test, _constant(train, len(test)))}


def _constant(train, rows):
    """(rows, A) each attribute's majority at any usual threshold; the most frequent member of an exclusive set."""
    rates = positive_rates(train)
    return np.tile((rates + (rates > 0.5)) / 2, (rows, 1))


def _copied(train, train_people, test_people):
    """(N_test, A) mean known label of the same identity in trainval; trainval's rate where it has none."""
    each = pd.DataFrame(np.where(train < 0, np.nan, train)).groupby(train_people).mean().reindex(test_people)
    return np.where(each.isna(), positive_rates(train), each)


def _all(protocols, labels, scores):
    return {protocol.name: _rounded(protocol(labels, scores)) for protocol in protocols}


def _rounded(scores):
    """Headline scores to 6 digits, None for nan, without mAP, as these predictions rank nothing."""
    summary = {name: value for name, value in scores.summary().items() if name != "mAP"}
    return {name: None if np.isnan(value) else round(value, 6) for name, value in summary.items()}
