"""What a benchmark's labels give away without a pixel: constants, copied identities, leaks, identities misread."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from parlib.errors import BadInput
from parlib.measure.metrics import F1, checked, evaluate
from parlib.measure.protocols import PROTOCOLS
from parlib.schema import schema

THRESHOLDS, FLAVOURS = (0.5, 0.45), get_args(F1)
FIRST_TEST = 752  # the first test identity where ids are taken to be consecutive: 751 in train


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
        labels: (N, A) of 1, 0, -1; peta's 105, of which the first 35 are scored but where said.
        partitions: a list of (rows of trainval, rows of test); scores are of the first.
        identities: N identities, or None.
        image_index: `{"train": [...], "test": [...]}`, market1501's identities (4 digits) in the order of their labels,
            where `labels` are those of train and then of test.

    Returns:
        dict that JSON can hold, fractions of 1 rounded to 6 digits, None or [] where the benchmark has nothing to tell:
        `constant_predictor`: protocol -> scores of every attribute's trainval majority on test.
        `identity_copy`: scores on the first partition of labels copied from trainval by identity (the mean over its
        images; unseen identities: trainval's rates), `protocols` and `flavours` (F1 and threshold) of the same
        predictions, `partitions` of each.
        `identity_overlap`: for each partition the share of test rows whose identity is in trainval.
        `consecutive_id_mistake`: identities that get their own labels where train is taken to be 1..751 and test
        752..1501, the share of labels that agree with the truth, and what the constant predictor scores on them.

    Raises:
        BadInput: an unknown benchmark, arrays that do not fit, a partition without rows.
    """
    labels, about = np.asarray(labels), schema("peta105" if benchmark == "peta" else benchmark)
    if labels.ndim != 2 or labels.shape[1] != len(about):
        raise BadInput(f"audit of {benchmark} wants labels (N, {len(about)}), got {labels.shape}")
    if identities is not None and len(identities) != len(labels):
        raise BadInput(f"{len(identities)} identities for {len(labels)} rows of labels; give one for each row")
    if not partitions or not all(len(train) and len(test) for train, test in partitions):
        raise BadInput(f"audit of {benchmark}: a partition without rows in trainval or test")
    used = labels[:, : len(schema(benchmark))]
    known = [p for p in PROTOCOLS.values() if not p.view or benchmark == "market1501"]
    train, test = partitions[0]
    out = {
        "constant_predictor": _all(known, used[test], _constant(used[train], len(test))),
        "identity_copy": None,
        "identity_overlap": [],
        "consecutive_id_mistake": None,
    }
    if benchmark == "peta":
        every = PROTOCOLS["vlm-par-code"](labels[test], _constant(labels[train], len(test)))
        out["constant_predictor"]["vlm-par-code, 105 attributes"] = _rounded(every)
    if identities is not None:
        people = np.asarray(identities)
        out["identity_overlap"] = [round(float(np.isin(people[b], people[a]).mean()), 6) for a, b in partitions]
        copies = [_copied(used[a], people[a], people[b]) for a, b in partitions]
        each = [
            _rounded(PROTOCOLS["rethinking"](used[b], copy)) for (_, b), copy in zip(partitions, copies, strict=True)
        ]
        protocols = _all(known, used[test], copies[0])
        pairs = itertools.product(THRESHOLDS, FLAVOURS)
        flavours = {f"{f1} > {t}": _rounded(evaluate(used[test], copies[0], t, f1)) for t, f1 in pairs}
        out["identity_copy"] = {**each[0], "protocols": protocols, "flavours": flavours, "partitions": each}
    if image_index is not None:
        out["consecutive_id_mistake"] = _consecutive(used, image_index, known)
    return out


def _consecutive(labels, image_index, known):
    """Labels by position where ids are not positions, beside those joined by `image_index`."""
    ids = {half: [int(person) for person in image_index[half]] for half in ("train", "test")}
    order = ids["train"] + ids["test"]
    if len(order) != len(labels):
        raise BadInput(f"image_index names {len(order)} identities for {len(labels)} rows of labels")
    # Row i of train is read as identity i + 1, row i of test as identity 752 + i.
    row_of = {1 + i: i for i in range(len(ids["train"]))}
    row_of |= {FIRST_TEST + i: len(ids["train"]) + i for i in range(len(ids["test"]))}
    given = {half: [row_of[person] for person in ids[half] if person in row_of] for half in ids}
    true = {half: [order.index(person) for person in ids[half] if person in row_of] for half in ids}
    right = {half: int(np.sum(np.equal(given[half], true[half]))) for half in ids}
    train, test = labels[given["train"]], labels[given["test"]]
    both_given, both_true = (labels[rows["train"] + rows["test"]] for rows in (given, true))
    return {
        **{f"{half}_{what}": n for half in ids for what, n in (("right", right[half]), ("total", len(ids[half])))},
        "agreement": round(float((both_given == both_true).mean()), 6),
        "constant_predictor": _all(known, test, _constant(train, len(test))),
    }


def _constant(train, rows):
    """(rows, A) every attribute's majority at any usual threshold; of an exclusive set the most frequent."""
    rates = _rates(train)
    return np.tile((rates + (rates > 0.5)) / 2, (rows, 1))


def _rates(labels):
    return (labels == 1).sum(0) / np.maximum(1, (labels >= 0).sum(0))


def _copied(train, train_people, test_people):
    """(N_test, A) mean known label of the same identity in trainval; trainval's rate where it has none."""
    seen, where = np.unique(train_people, return_inverse=True)
    yes, known = (np.zeros((len(seen), train.shape[1])) for _ in range(2))
    np.add.at(yes, where, train == 1)
    np.add.at(known, where, train >= 0)
    at = np.minimum(np.searchsorted(seen, test_people), len(seen) - 1)
    usable = (seen[at] == test_people)[:, None] & (known[at] > 0)
    return np.where(usable, yes[at] / np.maximum(1, known[at]), _rates(train))


def _all(protocols, labels, scores):
    return {protocol.name: _rounded(protocol(*checked(labels, scores))) for protocol in protocols}


def _rounded(scores):
    """Headline scores to 6 digits, None for nan; mAP is left out, as these predictions rank nothing."""
    summary = {name: value for name, value in scores.summary().items() if name != "mAP"}
    return {name: None if np.isnan(value) else round(value, 6) for name, value in summary.items()}
