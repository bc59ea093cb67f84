"""Benchmark tables, from records and published rows only: nothing is typed in, and what nobody ran reads "not run"."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from parlib.errors import BadInput
from parlib.files import markdown_cell, plain_cell
from parlib.measure.metrics import SUMMARY
from parlib.measure.published import published

# The rows a complete table has; the order is that of growing effort.
OUR_METHODS = (
    *("constant predictor", "zero-shot pair", "zero-shot", "linear probe", "MLP probe", "MAP probe"),
    *("VLM-PAR head", "prompt-query head"),
)
HEAD = OUR_METHODS[-1]  # the recommended one
NOTE = (
    "Percent. Ours: epoch chosen on val, never on test, threshold > 0.5, F1 = harmonic mean of averaged precision and "
    "recall (tuned mA: thresholds chosen on val); several seeds: mean ± their standard deviation; 95 %: bootstrap "
    "interval of mA over test images or people, bounds averaged over seeds. Published: as printed by the authors [R], "
    "most of whom choose the epoch on test. † another threshold or F1 than ours (OpenPAR: > 0.45, F1 per image; "
    "DeepMAR: >= 0.5, images without a positive dropped); ‡ protocol not stated; § another protocol (market-30)."
)
_MARKS = {"openpar": "†", "deepmar": "†", "not stated": "‡", "market-30": "§"}
_COLUMNS = ["method", "data", "backbone", *SUMMARY, "tuned mA", "95 %", "seeds", "protocol", "caveat"]


def benchmark_table(records: Sequence[dict[str, Any]], benchmark: str, data: str | None = None) -> pd.DataFrame:
    """One row a method: published rows by mA, then ours from records, then what was not run.

    Args:
        records: from `read_records`; those of other benchmarks, of shared views and of other splits than test are
            left out.
        benchmark: `pa100k`, `peta` or `market1501`.
        data: keep only records on this kind of tree (`official`, `rendered`, `other`); default all, told apart by
            the `data` column, so that a rendered number is never read as an official one.

    Returns:
        DataFrame with text cells, ready to print; `NOTE` says how to read it and its marks. A published cell of another
        protocol than ours carries a mark.

    Raises:
        BadInput: records of other benchmarks only, or nothing at all to show.
    """
    rows = [_published_row(row) for row in sorted(published(benchmark), key=_printed_mA)]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        about = record["data"]
        if _is_of(about, benchmark) and data in (None, about["kind"]):
            words = f"{about['kind']}, {about['images']:,} images"
            groups.setdefault((record["method"], words, record["setting"]["encoder"]), []).append(record)
    if records and not any(record["data"]["benchmark"] == benchmark for record in records):
        have = sorted({record["data"]["benchmark"] for record in records})
        raise BadInput(f"no record is of {benchmark}: they are of {', '.join(have)}; give --benchmark or other records")
    done = {method for method, _, _ in groups}
    rows += [_our_row(key, group) for key, group in sorted(groups.items(), key=lambda kv: _rank(kv[0]))]
    rows += [
        {"method": method, "data": "", **dict.fromkeys((*SUMMARY, "tuned mA", "95 %"), "not run")}
        for method in OUR_METHODS
        if method not in done
    ]
    if not published(benchmark) and not groups:
        raise BadInput(f"no table for benchmark {benchmark!r}: neither records nor published rows")
    return pd.DataFrame(rows).reindex(columns=_COLUMNS).astype(object).fillna("").set_index("method")


def attribute_table(records: Sequence[dict[str, Any]], benchmark: str, column: str = "mA") -> pd.DataFrame:
    """A score of every attribute in percent, one column a method, and the head's lead over the best of the others.

    Args:
        records: as for `benchmark_table`; of one kind of tree and encoder, or the means would mix data.
        column: of `Scores.per_attribute`: `mA`, `AP`, `AUROC`, `F1`, ...

    Returns:
        DataFrame of float, means over seeds, nan where undefined; `positives` in test; sorted by `lead` where the head
        has a record.
    """
    kept = [record for record in records if _is_of(record["data"], benchmark)]
    kinds = sorted({r["data"]["kind"] for r in kept})
    if len(kinds) != 1:
        raise BadInput(f"an attribute table needs records of {benchmark} on one kind of data; these have: {kinds}")
    methods: dict[str, list[pd.Series]] = {}
    for record in kept:
        table = pd.DataFrame(record["per_attribute"]).T.astype(float)
        if column not in table:
            raise BadInput(f"records have no {column!r} of each attribute; they have {', '.join(table)}")
        methods.setdefault(record["method"], []).append(100 * table[column])
    made = pd.DataFrame({name: pd.concat(runs, axis=1).mean(axis=1) for name, runs in methods.items()})
    others = [name for name in made if name != HEAD]
    if HEAD in made and others:
        made["lead"] = made[HEAD] - made[others].max(axis=1)
        made = made.sort_values("lead", ascending=False)
    first = pd.DataFrame(kept[0]["per_attribute"]).T  # all are of one test split
    return made.assign(positives=first["positives"].astype(int))


def render(table: pd.DataFrame, form: Literal["markdown", "latex", "csv", "html"] = "markdown", note: str = "") -> str:
    """A table as text: `markdown`, `latex` (booktabs), `csv` or `html`; `note` becomes its header or caption."""
    flat = table.reset_index() if table.index.name else table
    flat = flat.map(lambda cell: f"{cell:.2f}" if isinstance(cell, float) else " ".join(str(cell).split()))
    writers = {"markdown": _markdown, "latex": _latex, "csv": _csv, "html": _html}
    if form not in writers:
        raise BadInput(f"unknown table format {form!r}; known: {', '.join(writers)}")
    return writers[form](flat, note)


def _markdown(flat, note):
    cells = [list(flat.columns), ["---"] * flat.shape[1], *flat.values.tolist()]
    lines = ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in cells]
    return "\n".join(([note, ""] if note else []) + lines)


def _csv(flat, note):
    return (f"# {note}\n" if note else "") + flat.rename(columns=plain_cell).map(plain_cell).to_csv(index=False)


def _html(flat, note):
    text = flat.to_html(index=False)
    caption = f"<caption>{note.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}</caption>"
    return text.replace(">\n", f">\n  {caption}\n", 1) if note else text


def _latex(flat, note):
    signs = {"\\": r"\textbackslash{}", "±": r"$\pm$", "†": r"$\dagger$", "‡": r"$\ddagger$", "§": r"\S{}"}
    signs |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", ">": "$>$", "<": "$<$", "≥": r"$\ge$"}
    signs |= {mark: "\\" + mark for mark in "&%_#${}"}

    def escape(cell):
        return "".join(signs.get(letter, letter) for letter in str(cell))

    head, *body = (" & ".join(map(escape, row)) + r" \\" for row in [list(flat.columns), *flat.values.tolist()])
    rules = [r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    lines = [rf"\begin{{tabular}}{{{'l' * flat.shape[1]}}}", *rules]
    around = [r"\begin{table}", rf"\caption{{{escape(note)}}}", *lines, r"\end{table}"]
    return "\n".join(around if note else lines)


def _is_of(about, benchmark):
    return about["benchmark"] == benchmark and about["split"] == "test" and not about.get("view")


def _printed_mA(row):
    return -(row["scores"].get("mA") or 0), row["method"]


def _published_row(row):
    mark = _MARKS.get(row["protocol"], "")
    scores = {name: f"{row['scores'][name]:.2f}{mark}" if row["scores"].get(name) else "" for name in SUMMARY}
    about = {"method": row["method"], "backbone": row["backbone"], "protocol": row["protocol"], "caveat": row["caveat"]}
    return {**about, "data": ", ".join(filter(None, ("official [R]", row["venue"]))), **scores}


def _our_row(key, group):
    method, data, encoder = key
    scores = {name: _mean_spread([r["scores"].get(name) for r in group]) for name in SUMMARY}
    tuned = [r["tuned"]["mA"] for r in group if "mA" in (r.get("tuned") or {})]
    intervals = [r["intervals"]["mA"] for r in group if "mA" in r["intervals"]]
    low, high = 100 * np.mean(intervals, axis=0) if intervals else (0, 0)
    return {
        "method": method,
        "data": data,
        "backbone": encoder,
        **scores,
        "tuned mA": _mean_spread(tuned) if tuned else "",
        "95 %": f"{low:.1f} to {high:.1f}" if intervals else "",
        "seeds": str(len(group)),
        "protocol": "parlib",
        "caveat": "not comparable with official rows" if not data.startswith("official") else "",
    }


def _rank(key):
    method = key[0]
    return (key[1], OUR_METHODS.index(method) if method in OUR_METHODS else len(OUR_METHODS), key)


def _mean_spread(values):
    values = 100 * pd.Series(values, dtype=float)
    if values.isna().all():
        return "undefined"
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")
