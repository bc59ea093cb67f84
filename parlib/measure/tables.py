"""Tables, made from records and published numbers only: no score is typed in, and what nobody ran reads "not run"."""

import html
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, tabulate

from parlib.errors import BadInput
from parlib.files import ASSETS, markdown_cell, plain_cell, read_yaml
from parlib.measure.metrics import SUMMARY
from parlib.measure.records import under
from parlib.measure.rows import VLM_PAR_CLAIM, grouped, kind_of, published

# The rows of a complete table, by growing effort.
OUR_METHODS = (
    *("constant predictor", "zero-shot pair", "zero-shot", "k-NN", "linear probe", "linear probe (patches)"),
    *("MLP probe", "attentive probe", "efficient probe", "VLM-PAR head", "prompt-query head"),
)
HEAD = OUR_METHODS[-1]  # the recommended one
REFERENCE = "linear probe"  # the ablation's
ALL_OTHERS = "all others"  # what a head is trained on, of several benchmarks, that is tested on the one left out
# How each kind of table is to be read.
_NOTES = read_yaml(ASSETS / "notes.yaml", "notes")
NOTE, LITERATURE_NOTE, ABLATION_NOTE, CROSS_NOTE, LEFT_OUT_NOTE, SUBGROUP_NOTE = _NOTES.values()
_BEST = "\ue000{}\ue001"  # around a cell in bold, until `render` knows the format
_FORMATS = {"markdown": "pipe", "latex": "latex_booktabs", "html": "html"}  # to tabulate
_BOLD = {"markdown": ("**", "**"), "latex": (r"\textbf{", "}"), "html": ("<b>", "</b>"), "csv": ("", "")}
_COLUMNS = ["method", "data", "backbone", *SUMMARY, "tuned mA", "95 %", "seeds", "protocol", "comparable", "caveat"]


def spread(values: Iterable[float], digits: int = 1, sign: str = "") -> str:
    """Fractions in percent: mean ± standard deviation (n - 1) over runs, or the value alone where there is one."""
    percent = 100 * pd.Series(list(values), dtype=float).dropna()
    if percent.empty:
        return "undefined"
    return f"{percent.mean():{sign}.{digits}f}" + (f" ± {percent.std():.{digits}f}" if len(percent) > 1 else "")


def spreads(records: Sequence[dict[str, Any]], digits: int = 1) -> dict[str, str]:
    """The `spread` of each headline score, and of `tuned mA`, which is empty where nothing was tuned."""
    tuned = [record["tuned"]["mA"] for record in records if record["tuned"]]
    cells = {name: spread([record["scores"][name] for record in records], digits) for name in SUMMARY}
    return cells | {"tuned mA": spread(tuned, digits) if tuned else ""}


def benchmark_table(
    records: Sequence[dict[str, Any]], benchmark: str, data: str | None = None, protocol: str = "parlib"
) -> pd.DataFrame:
    """One row per method and setting: published rows by mA, then ours from records, then what nobody ran.

    Args:
        records: from `read_records`. Those of other benchmarks are left out; those of the benchmark's other splits, of
            shared views and of the ablation are left out with a warning.
        benchmark: `pa100k`, `peta`, `market1501` or `folder`.
        data: keep only records on this kind of tree (`official`, `rendered`, `own`, `other`), which a column names.
        protocol: one of `PROTOCOLS`; other than `parlib` it is computed from the scores beside the records.

    Returns:
        DataFrame with text cells; `NOTE` says how to read it and its marks. Rows of records are those of `grouped`,
        those that can be compared together.

    Raises:
        BadInput: records, but none that belongs here; nothing at all to show.
    """
    printed = sorted(published(benchmark), key=lambda row: -row["scores"].get("mA", 0))
    kept = _tested_on(records, benchmark, data) if records else []
    kept = kept if protocol == "parlib" else [under(record, protocol) for record in kept]
    if not printed and not kept:
        raise BadInput(f"no table for benchmark {benchmark!r}: neither records nor published rows")
    order = {method: i for i, method in enumerate(OUR_METHODS)}
    groups = sorted(grouped(kept), key=lambda group: (group.data, order.get(group.method, len(order)), group.name))
    codes = list(dict.fromkeys(group.comparable for group in groups))
    groups.sort(key=lambda group: (group.data, codes.index(group.comparable)))
    rows = [_published_row(row, protocol) for row in printed] + [_our_row(group, protocol) for group in groups]
    unknown = dict.fromkeys((*SUMMARY, "tuned mA", "95 %"), "not run")
    rows += [{"method": method, **unknown} for method in OUR_METHODS if method not in {g.method for g in groups}]
    return pd.DataFrame(rows).reindex(columns=_COLUMNS).astype(object).fillna("").set_index("method")


def _tested_on(records, benchmark, data=None):
    """The records of a benchmark's test split in its own columns; a warning counts its others."""
    of_it = [r for r in records if r["data"]["benchmark"] == benchmark and data in (None, kind_of(r))]
    kept = [r for r in of_it if part_of(r) == "test"]
    if not kept:
        have = _counted(f"{r['data']['benchmark']} {part_of(r)} ({kind_of(r)})" for r in records)
        raise BadInput(f"no record is of {benchmark} test; there are {have}; give another benchmark or records")
    others = _counted(part_of(r) for r in of_it if part_of(r) != "test")
    if others:
        warnings.warn(f"the table of {benchmark} leaves out records of {others}", stacklevel=3)
    return kept


def part_of(record: dict[str, Any]) -> str:
    """What part of a benchmark a record is of, such as `val`, `test in view upar`; tables hold `test`."""
    if "ablation" in record["setting"]:
        return "the ablation"
    return " in view ".join(filter(None, (record["data"]["split"], record["data"].get("view"))))


def _counted(words):
    return ", ".join(f"{word}: {count}" for word, count in Counter(words).items())


def _one_each(records):
    """Method -> its records; BadInput where they differ in more than the seed, as a mean would hide it."""
    each: dict[str, Any] = {}
    for group in grouped(records):
        if group.method in each:
            several = " and ".join(f"{g.name}, {g.data}, {g.backbone}" for g in (each[group.method], group))
            raise BadInput(f"records of {group.method!r} differ in more than the seed, choose one of: {several}")
        each[group.method] = group
    return {method: group.records for method, group in each.items()}


def _published_row(row, protocol):
    same = ("parlib", "rethinking") if protocol in ("parlib", "rethinking") else (protocol,)
    mark = "‡" if row["protocol"] == "not stated" else "" if row["protocol"] in same else "†"
    scores = {name: f"{value:.2f}{mark}" for name, value in row["scores"].items()}
    about = {name: row[name] for name in ("method", "backbone", "protocol", "caveat")}
    return {**about, "data": ", ".join(filter(None, ("official [R]", row["venue"], row["list"]))), **scores}


def _our_row(group, protocol):
    records = group.records
    intervals = [record["intervals"]["mA"] for record in records if "mA" in record["intervals"]]
    low, high = 100 * np.mean(intervals, axis=0) if intervals else (np.nan, np.nan)
    seeds = len({(r["setting"].get("seed"), r["data"].get("labels_sha256")) for r in records})
    return {
        "method": group.name,
        "data": group.data,
        "backbone": group.backbone,
        **spreads(records, 2),
        "95 %": f"{low:.1f} to {high:.1f}" if np.isfinite(low) else "",
        "seeds": str(seeds) + (f" ({len(records)} runs)" if len(records) > seeds else ""),
        "protocol": protocol,
        "comparable": group.comparable,
        "caveat": "" if group.data.startswith("official") else "not comparable with official rows",
    }


def literature_table(
    records: Sequence[dict[str, Any]],
    columns: Sequence[str] = ("mA", "accuracy", "precision", "recall", "f1"),
    protocol: str = "parlib",
) -> pd.DataFrame:
    """Three benchmarks side by side, one row per method, as papers print it; `LITERATURE_NOTE` says what is bold.

    `columns` and `protocol` are of `benchmark_table`; benchmarks without a record show printed rows.
    """
    parts = []
    for benchmark in VLM_PAR_CLAIM:
        there = [record for record in records if record["data"]["benchmark"] == benchmark]
        part = benchmark_table(there, benchmark, protocol=protocol).reset_index()
        part = part[~part["data"].str.endswith("_ZS")]  # another division of the images
        part["data"] = part["data"].str.replace(r"(?<=\]), .*|, \d.*", "", regex=True)  # no year, no number of images
        keys = ["method", "backbone", "data"]
        part["n"] = part.groupby(keys).cumcount()  # rows that differ in their data alone stay apart
        shown = chosen_columns(part, columns)
        for name in shown:  # the greatest number of each code is marked for `render`, unless it stands alone
            numbers = pd.to_numeric(part[name].str.extract(r"^([\d.]+)")[0])
            of_code = numbers.groupby(part["comparable"])
            best = (numbers == of_code.transform("max")) & (of_code.transform("count") > 1)
            part[name] = part[name].where(~best, part[name].map(_BEST.format))
        part = part.set_index([*keys, "n"])[[*shown, "comparable"]]
        parts.append(part.rename(columns=lambda name, benchmark=benchmark: f"{benchmark} {name}"))
    table = pd.concat(parts, axis=1, sort=False).fillna("").reset_index().drop(columns="n")
    codes = [f"{benchmark} comparable" for benchmark in VLM_PAR_CLAIM]
    table["comparable"] = table[codes].agg(lambda row: " / ".join(filter(None, row)), axis=1)
    return table.drop(columns=codes).set_index("method")


def chosen_columns(table: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The names of `columns`, or BadInput that lists those of the table."""
    unknown = [name for name in columns if name not in table]
    if unknown:
        raise BadInput(f"no column {', '.join(unknown)}; there are {', '.join(table)}")
    return list(columns)


def attribute_table(records: Sequence[dict[str, Any]], benchmark: str, column: str = "mA") -> pd.DataFrame:
    """A score of every attribute in percent, one column per method, and the head's lead over the best of the others.

    Of `records`, which have one kind of tree and one setting per method: means over seeds of a column of
    `Scores.per_attribute`, nan where undefined, and `positives` in the first record's test split; sorted by `lead`.
    """
    kept = _tested_on(records, benchmark)
    kinds = sorted(set(map(kind_of, kept)))
    if len(kinds) > 1:
        raise BadInput(f"an attribute table needs records of {benchmark} on one kind of data; these have: {kinds}")
    first = pd.DataFrame(kept[0]["per_attribute"]).T
    if column not in first:
        raise BadInput(f"records have no {column!r} of each attribute; they have {', '.join(first)}")
    table = pd.DataFrame()
    for method, runs in _one_each(kept).items():
        each = pd.DataFrame([{name: row[column] for name, row in run["per_attribute"].items()} for run in runs])
        table[method] = 100 * each.mean()
    others = table.columns.drop(HEAD, errors="ignore")
    if HEAD in table and len(others):
        table["lead"] = table[HEAD] - table[others].max(axis=1)
        table = table.sort_values("lead", ascending=False)
    return table.assign(positives=first["positives"].astype(int))


def ablation_table(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row per option of the head: its scores over seeds, and the paired difference from the linear probe.

    `records` are of the ablation; those without `setting.ablation` are left out. Text cells, by falling mAP;
    differences in percentage points; `ahead in` says where the interval lies above 0 (or below); `impossible` is the
    percentage of images whose answers at 0.5 break an exclusive set.
    """
    records = [record for record in records if "ablation" in record["setting"]]
    places = {(r["setting"].get("seed"), r["data"]["items_sha256"], r["setting"]["weights"]) for r in records}
    lists = Counter(seed for seed, *_ in places if seed is not None)  # a rendered tree is drawn by the seed
    if len({weights for *_, weights in places}) != 1 or max(lists.values(), default=1) > 1:
        raise BadInput("an ablation table needs one encoder and one list of images for each seed; these have several")
    rows = []
    options = sorted(_one_each(records).items(), key=lambda one: -np.mean([run["scores"]["mAP"] for run in one[1]]))
    for option, runs in options:
        compared = pd.DataFrame([run["setting"]["ablation"] for run in runs])
        row = {"option": option, "seeds": str(len(runs)), "impossible": spread([compared["impossible"].mean()])}
        ahead = []
        for name, column in (("mA", "tuned mA"), ("mAP", "mAP")) if option != REFERENCE else ():
            gap = 100 * pd.DataFrame(list(compared[name])).mean()
            row[f"{column} - probe"] = f"{gap['difference']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}]"
            ahead += [column] if gap["low"] > 0 else [f"behind in {column}"] if gap["high"] < 0 else []
        rows.append({**row, **spreads(runs), "ahead in": ", ".join(ahead)})
    columns = ["mA", "tuned mA", "mAP", "f1", "tuned mA - probe", "mAP - probe", "ahead in", "impossible", "seeds"]
    return pd.DataFrame(rows).set_index("option").reindex(columns=columns).fillna("")


def cross_domain_losses(records: Sequence[dict[str, Any]], column: str = "mA") -> pd.DataFrame:
    """One row per pair of domains, seed and attribute: the score at home and away on the same images.

    Of the `records` of heads trained on a view of shared attributes. `column` is of their `per_attribute` (threshold
    0.5), such as `AP`; `tuned mA` takes the thresholds tuned on val of the benchmark trained on. Columns: trained_on,
    tested_on, seed, attribute, home, away (fractions), where both are defined.
    """
    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for record in records:
        trained = record["setting"].get("trained_on") or {}
        if trained.get("view") and record["data"]["split"] == "test":
            seed = record["setting"].get("seed", record["data"].get("labels_sha256"))  # else by images
            pair = (trained["benchmark"], record["data"]["benchmark"], seed)
            if pair in found:
                several = f"two records are trained on {pair[0]} and tested on {pair[1]} with seed {pair[2]}"
                raise BadInput(f"{several}: give those of one method")
            if column == "tuned mA":
                found[pair] = record["tuned"]["per_attribute"]
            else:
                found[pair] = {name: row[column] for name, row in record["per_attribute"].items()}
    if not found:
        raise BadInput("no record of a head trained on shared attributes: train with --view upar")
    rows = []
    for (trained_on, tested_on, seed), away in found.items():
        home = found.get((tested_on, tested_on, seed))
        if home is None:
            raise BadInput(f"no record of a head trained and tested on {tested_on} with seed {seed} to compare with")
        rows += [(trained_on, tested_on, seed, name, home[name], away[name]) for name in away if name in home]
    return pd.DataFrame(rows, columns=["trained_on", "tested_on", "seed", "attribute", "home", "away"]).dropna()


def cross_domain_table(records: Sequence[dict[str, Any]], column: str = "mA") -> pd.DataFrame:
    """The matrix of domains as text cells; `CROSS_NOTE` says how to read it. Arguments as `cross_domain_losses`."""
    means = cross_domain_losses(records, column).groupby(["trained_on", "tested_on", "seed"])[["home", "away"]].mean()
    means["change"] = means["away"] - means["home"]
    cells = {}
    for (trained, tested), group in means.groupby(level=[0, 1]):
        change = "" if trained == tested else f" ({spread(group['change'], sign='+')})"
        cells[trained, tested] = spread(group["away"]) + change
    order = sorted(means.index.unique(0), key=lambda trained: trained == ALL_OTHERS)  # which is the last row
    table = pd.Series(cells).unstack().reindex(index=order, columns=[name for name in order if name != ALL_OTHERS])
    return table.fillna("not run").rename_axis("trained on")


def left_out_table(records: Sequence[dict[str, Any]], column: str = "mA") -> pd.DataFrame:
    """One row per attribute, one column per benchmark left out, as text; `LEFT_OUT_NOTE` says how to read it.

    Arguments as `cross_domain_losses`; means over seeds. No columns where no head was trained on all others.
    """
    losses = cross_domain_losses(records, column)
    of_others = losses[losses["trained_on"] == ALL_OTHERS].groupby(["tested_on", "attribute"], sort=False)
    means = 100 * of_others[["home", "away"]].mean()
    known = {}
    for record in records:
        where = record["data"]["benchmark"], record["setting"]["trained_on"]["benchmark"]
        known[where] = {name: row["known"] for name, row in record["per_attribute"].items()}
    table: dict[str, dict[str, str]] = {}
    for tested in means.index.unique(0):
        here, elsewhere = known[tested, tested], known[tested, ALL_OTHERS]
        learned = f"{sum(map(bool, here.values()))} of {len(here)}"
        cells = table[tested] = {"learned here": learned, "compared": str(len(means.loc[tested]))}
        for name, count in here.items():
            cells[name] = "undefined" if count and elsewhere[name] else "here alone" if count else "not learned"
        cells |= {name: f"{row['home']:.1f} / {row['away']:.1f}" for name, row in means.loc[tested].iterrows()}
    return pd.DataFrame(table).rename_axis("attribute")


def render(table: pd.DataFrame, form: Literal["markdown", "latex", "csv", "html"] = "markdown", note: str = "") -> str:
    """A table as text with `note` as its header or caption; what would be markup in a cell is escaped."""
    flat = table.reset_index() if table.index.name else table
    flat = flat.map(lambda cell: f"{cell:.2f}" if isinstance(cell, float) else " ".join(str(cell).split()))
    if form not in _BOLD:
        raise BadInput(f"unknown table format {form!r}; known: {', '.join(_BOLD)}")
    if form == "csv":
        flat = flat.map(lambda cell: cell.strip(_BEST.format("")))
        return (f"# {note}\n" if note else "") + flat.rename(columns=plain_cell).map(plain_cell).to_csv(index=False)
    if form == "markdown":
        flat = flat.rename(columns=markdown_cell).map(markdown_cell)
    text = str(tabulate(flat, headers="keys", tablefmt=_FORMATS[form], showindex=False, disable_numparse=True))
    for mark, bold in zip(_BEST.format(""), _BOLD[form], strict=True):
        text = text.replace(mark, bold)
    if form == "html" and note:
        return text.replace("<table>", f"<table>\n<caption>{html.escape(note)}</caption>", 1)
    if form == "latex" and note:
        caption = "".join(LATEX_ESCAPE_RULES.get(letter, letter) for letter in note)
        return f"\\begin{{table}}\n\\caption{{{caption}}}\n{text}\n\\end{{table}}"
    return f"{note}\n\n{text}" if note else text
