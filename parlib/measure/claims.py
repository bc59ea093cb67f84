"""The paper's claims and what records say of them: `claims.yaml` fixes statements and rules, this computes verdicts."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.files import digest, read_yaml
from parlib.measure.bootstrap import interval, persons, resampled, scorer
from parlib.measure.records import comparison, has_scores, read_scores
from parlib.measure.rows import grouped, kind_of, published
from parlib.measure.tables import ALL_OTHERS
from parlib.schema import schema

CLAIMS: dict[str, Any] = read_yaml(Path(__file__).parents[1] / "claims.yaml", "claims")
LEVEL: float = 1 - (1 - CLAIMS["level"]) / len(CLAIMS["claims"])  # of the interval of one claim
_ANY_METHOD = {"preset": "", "words": "", "options": "", "view": "", "partition": "0", "train_on": "train"}
COLUMNS = (
    *("statement", "data", "encoder", "verdict", "difference", "low", "high", "unit"),
    *("head", "against", "missing", "seeds", "records", "rule"),
)
_NO_HEAD = {"preset": "", "words": ""}
_NOT_RUN = {"verdict": "not run", **dict.fromkeys(("head", "against", "records"), ""), "seeds": 0}
_TINY = 1e-12  # keeps a logarithm finite where a table says never


def verdicts(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The verdict on every claim, for each kind of data and encoder that there are records of.

    Args:
        records: from `read_records` or `make_record`; those without scores beside them are left out with a warning.

    Returns:
        DataFrame, one row per claim (the index: `a`, `b1`, ...), kind of data and encoder: `statement`, `data`,
        `encoder`, `verdict` (supported, contradicted, undecided, not run), `difference`, `low`, `high` (nan where not
        run; above 0 speaks for the claim), `unit`, `head`, `against` (the hardest to beat), `missing` (with what it
        should have been compared as well), `seeds`, `records` (hashes, shortened) and `rule`.

    Raises:
        BadInput: heads that differ in more than the seed fit one claim.
    """
    kept = [record for record in records if has_scores(record)]
    if len(kept) < len(records):
        left_out = len(records) - len(kept)
        warnings.warn(f"{left_out} records have no scores beside them; no claim uses them", stacklevel=2)
    frame = pd.DataFrame([_about(record) for record in kept])
    places = sorted({(one["data"], one["encoder"]) for _, one in frame.iterrows() if one["encoder"] != "none"})
    rows = []
    for data, encoder in places or [("none", "none")]:
        here = frame[(frame["data"] == data) & (frame["encoder"] == encoder)] if places else frame
        for name, claim in CLAIMS["claims"].items():
            about = {"claim": name, "statement": claim["says"], "data": data, "encoder": encoder}
            measured = CLAIMS["measures"][claim["measure"]]
            found = _verdict(claim, here) if places else {**_NOT_RUN, "missing": ", ".join(claim["benchmarks"])}
            rows.append({**about, **found, "unit": measured["unit"], "rule": f"{measured['is']}. {CLAIMS['rule']}"})
    return pd.DataFrame(rows).set_index("claim").reindex(columns=COLUMNS)


def _about(record):
    """What claims choose records by, as one row."""
    data, setting = record["data"], record["setting"]
    head, trained = dict(setting.get("head") or {}), setting.get("trained_on") or {}
    encoder, identity = setting.get("encoder", "none"), setting.get("identity") or setting.get("weights")
    return {
        "record": record,
        "method": record["method"],
        "preset": head.pop("preset", ""),
        "words": head.pop("words", "own") if setting.get("head") else "",
        "options": digest(head) if head else "",
        "view": data.get("view") or "",
        "partition": str(data.get("partition") or "0"),
        "train_on": trained.get("split", "train"),
        "trained_on": trained.get("benchmark", data["benchmark"]),
        "benchmark": data["benchmark"] if data["split"] == "test" else "",
        "seed": setting.get("seed"),
        "data": kind_of(record),
        "encoder": "none" if encoder == "none" else f"{encoder} ({digest(identity)[:6]})",
        "comparable": digest(comparison(record)),
    }


def _verdict(claim, frame):
    """The row of a claim, about the first head of `of` that can be compared."""
    heads_on = frame[frame["benchmark"].isin(claim["benchmarks"])]
    for head in claim["of"]:
        own = {**_ANY_METHOD, "words": "own", **head}
        heads = _matching(heads_on, **own)
        _must_be_one(heads, claim)
        judged: list[dict[str, Any]] = []
        missing: list[str] = []
        for other in claim.get("against", [None]):
            reference = {**own, **other} if isinstance(other, dict) else {**own, **_NO_HEAD, "method": other}
            name = other if isinstance(other, str) else ", ".join((other or {}).values())
            terms = [_terms(claim["measure"], one, heads, _matching(frame, **reference)) for _, one in heads.iterrows()]
            used = [each for each in terms if each]
            ran = {each[0][1]["data"]["benchmark"] for each in used}
            missing += [f"{name} on {benchmark}".strip() for benchmark in claim["benchmarks"] if benchmark not in ran]
            if used:
                compared = {"head": f"{head['method']}, {head['preset']}", "against": name}
                judged.append(_judged(_draws(claim["measure"], used), used) | compared)
        if judged:
            row = min(judged, key=lambda each: each["low"])
            if missing and row["verdict"] == "supported":
                row["verdict"] = "undecided"
            return {**row, "missing": ", ".join(missing)}
    return {**_NOT_RUN, "missing": ", ".join(missing)}


def _must_be_one(heads, claim):
    for _, of_one in heads.groupby(["benchmark", "trained_on"]):
        names = [group.name for group in grouped(list(of_one["record"]))]
        if len(names) > 1:
            several = " and ".join(names)
            raise BadInput(f"several heads fit the claim {claim['says']!r}, choose the records of one: {several}")


def _matching(frame, **wanted):
    return frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def _terms(measure, head, heads, others):
    """[(sign, record), ...] whose sum is the difference of one head, or None where a record of it is missing."""

    def like(frame, trained_on):
        found = _matching(frame, comparable=head["comparable"], trained_on=trained_on)
        found = found[found["seed"].isna() | (found["seed"] == head["seed"])]
        return found["record"].iloc[0] if len(found) else None

    terms = [(1, head["record"])]
    if measure == "published mA":
        return terms if head["data"] == "official" else None
    if measure in ("domains", "domain left out"):
        if head["trained_on"] == head["benchmark"] or (head["trained_on"] == ALL_OTHERS) != (measure != "domains"):
            return None
        home = [(-1, like(heads, head["benchmark"])), (1, like(others, head["benchmark"]))]
        terms += [*home, (-1, like(others, head["trained_on"]))]
    elif measure != "label pairs":
        terms.append((-1, like(others, head["trained_on"])))
    if measure == "rare labels" and not head["record"]["data"].get("train_positive_rates"):
        return None
    return terms if all(record for _, record in terms) else None


def _judged(draws, used):
    """Verdict, difference and interval from the value on the test images and its draws, (1 + R,)."""
    difference, low, high = interval(draws, LEVEL)
    verdict = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
    records = [record for terms in used for _, record in terms]
    seeds = {record["setting"].get("seed") for record in records} - {None}
    hashes = dict.fromkeys(record["sha256"][:8] for record in records)
    about = {"verdict": verdict, "seeds": max(1, len(seeds)), "records": ", ".join(hashes)}
    return {"difference": difference, "low": low, "high": high, **about}


def _draws(measure, used):
    """100 times the difference: its value, then that of each draw, (1 + R,)."""
    if measure == "rare labels":
        return _slopes(used)
    of_draws = {"impossible answers": _impossible, "label pairs": _pairs, "label pairs, difference": _pairs}
    each = [_contrast(terms, of_draws.get(measure, _tuned)) for terms in used]
    if measure == "published mA":
        each = [draws - max(row["scores"].get("mA", 0) for row in published("pa100k")) for draws in each]
    return np.mean(each, axis=0)


def _contrast(terms, measure):
    """A sum of signed measures under the same draws of the same images."""
    arrays, first = [read_scores(record) for _, record in terms], terms[0][1]
    labels = np.where(np.any([one["labels"] < 0 for one in arrays], axis=0), -1, arrays[0]["labels"])
    measures = [measure(labels, one, first["data"]["benchmark"]) for one in arrays]
    seed = int(digest(comparison(first))[:8], 16)  # other draws on other images
    blocks = resampled(len(labels), arrays[0]["identity"], CLAIMS["resamples"], seed)
    values = [sum(sign * of(draws) for (sign, _), of in zip(terms, measures, strict=True)) for draws in blocks]
    return 100 * np.concatenate(values)


def _tuned(labels, arrays, benchmark):
    score = scorer(labels, arrays["scores"], arrays["thresholds"] if len(arrays["thresholds"]) else None)
    return lambda draws: score(draws)[:, 0]


def _impossible(labels, arrays, benchmark):
    broken = np.any(list(schema(benchmark).contradictions(arrays["scores"] > 0.5).values()), axis=0)
    return lambda draws: -(draws @ broken) / draws.sum(1)  # fewer is better


def _pairs(labels, arrays, benchmark):
    """Mean log ratio of the table of two attributes that the probabilities imply to the independent one, in nats.

    Tables are of the half of the people that an image is not in: a table of the same images would know their labels.
    """
    a, b = np.triu_indices(labels.shape[1], 1)
    scores, half = arrays["scores"].astype(float), persons(arrays["identity"], len(labels)) % 2
    known = (labels[:, a] >= 0) & (labels[:, b] >= 0)
    gains = np.zeros(len(labels))
    for fold in (0, 1):
        table = scores[half != fold]
        p, q, joint = table[:, a].mean(0), table[:, b].mean(0), (table[:, a] * table[:, b]).mean(0)
        implied = [1 - p - q + joint, q - joint, p - joint, joint]  # (4, pairs)
        independent = [(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q]
        logs = np.log(np.maximum(implied, _TINY) / np.maximum(independent, _TINY))
        rows = half == fold
        answer = np.maximum(0, 2 * labels[rows][:, a] + labels[rows][:, b])  # 2 bits: which cell
        gains[rows] = np.where(known[rows], logs[answer, np.arange(len(a))], 0).sum(1)
    return lambda draws: (draws @ gains) / (draws @ known.sum(1))


def _slopes(used):
    """Points of AP that the gain grows by when a label is half as frequent: its value, then that of each draw."""
    rows = []
    for (_, head), (_, other) in used:
        rates = np.array(head["data"]["train_positive_rates"], float)
        for (name, row), rate in zip(head["per_attribute"].items(), rates, strict=True):
            gain = 100 * (row["AP"] - other["per_attribute"][name]["AP"])
            rows.append((head["data"]["benchmark"], name, -np.log2(rate) if rate > 0 else np.nan, gain))
    table = pd.DataFrame(rows, columns=["benchmark", "attribute", "halvings", "gain"]).dropna()
    x, y = table.groupby(["benchmark", "attribute"]).mean().to_numpy().T
    draws = np.concatenate(list(resampled(len(x), None, CLAIMS["resamples"])))
    weights = draws / draws.sum(1, keepdims=True)
    x = x - (weights @ x)[:, None]
    return (weights * x * y).sum(1) / np.maximum((weights * x**2).sum(1), _TINY)
