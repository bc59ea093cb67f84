"""Benchmark tables, from records and published rows only: nothing is typed in, and what nobody ran reads "not run"."""

import pandas as pd

from parlib.errors import BadInput
from parlib.measure.metrics import SUMMARY
from parlib.measure.published import published

# The rows a complete table has; the order is that of growing effort.
OUR_METHODS = ("constant predictor", "zero-shot", "linear probe", "VLM-PAR head")
NOTE = (
    "Percent. Ours: epoch chosen on val, never on test, threshold > 0.5 (tuned mA: thresholds chosen on val); "
    "several seeds: mean ± their standard deviation. Published: as printed by the authors [R], most of whom choose the "
    "epoch on test."
)


def benchmark_table(records, benchmark, data=None):
    """One row a method: published rows as printed, then ours from records, then what was not run.

    Args:
        records: from `read_records`; those of other benchmarks are left out.
        benchmark: `pa100k`, `peta` or `market1501`.
        data: keep only records on this kind of tree (`official`, `rendered`, `other`); default all, told apart by
            the `data` column, so that a rendered number is never read as an official one.

    Returns:
        DataFrame with text cells, ready to print; `NOTE` says how to read it.
    """
    rows = [_published_row(row) for row in published(benchmark)]
    groups = {}
    for record in records:
        about = record["data"]
        if about["benchmark"] == benchmark and about["split"] == "test" and data in (None, about["kind"]):
            groups.setdefault((record["method"], _data_words(about), record["setting"]["encoder"]), []).append(record)
    done = {method for method, _, _ in groups}
    rows += [_our_row(key, group) for key, group in sorted(groups.items(), key=lambda kv: _rank(kv[0]))]
    rows += [
        {"method": method, "data": "", **dict.fromkeys((*SUMMARY, "tuned mA"), "not run")}
        for method in OUR_METHODS
        if method not in done
    ]
    if not rows:
        raise BadInput(f"no table for benchmark {benchmark!r}: neither records nor published rows")
    columns = ["method", "data", "backbone", *SUMMARY, "tuned mA", "seeds", "caveat"]
    return pd.DataFrame(rows).reindex(columns=columns).astype(object).fillna("").set_index("method")


def render(table, form="markdown"):
    """A table as text: `markdown`, `latex` (booktabs), `csv` or `html`."""
    flat = table.reset_index()
    if form == "markdown":
        lines = [list(flat.columns), ["---"] * len(flat.columns), *flat.astype(str).values.tolist()]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    writers = {
        "csv": lambda: flat.to_csv(index=False),
        "html": lambda: flat.to_html(index=False),
        "latex": lambda: _latex(flat),
    }
    if form not in writers:
        raise BadInput(f"unknown table format {form!r}; known: markdown, {', '.join(writers)}")
    return writers[form]()


def _published_row(row):
    scores = {name: f"{row['scores'][name]:.2f}" if row["scores"].get(name) else "" for name in SUMMARY}
    data = f"official [R], {row['venue']}"
    return {"method": row["method"], "data": data, "backbone": row["backbone"], **scores, "caveat": row["caveat"]}


def _our_row(key, group):
    method, data, encoder = key
    scores = {name: _mean_spread([r["scores"][name] for r in group]) for name in SUMMARY}
    tuned = [r["tuned"]["mA"] for r in group if r["tuned"]]
    return {
        "method": method,
        "data": data,
        "backbone": encoder,
        **scores,
        "tuned mA": _mean_spread(tuned) if tuned else "",
        "seeds": str(len(group)),
        "caveat": "not comparable with official rows" if not data.startswith("official") else "",
    }


def _data_words(about):
    return f"{about['kind']}, {about['images']:,} images"


def _rank(key):
    method = key[0]
    return (key[1], OUR_METHODS.index(method) if method in OUR_METHODS else len(OUR_METHODS), key)


def _mean_spread(values):
    values = 100 * pd.Series(values, dtype=float)
    if values.isna().all():
        return "undefined"
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")


def _latex(flat):
    def escape(cell):
        for mark in "&%_#$":
            cell = str(cell).replace(mark, "\\" + mark)
        return cell.replace("±", r"$\pm$")

    lines = [" & ".join(map(escape, row)) + r" \\" for row in [list(flat.columns), *flat.values.tolist()]]
    head, body = lines[0], lines[1:]
    frame = "l" * len(flat.columns)
    return "\n".join(
        [rf"\begin{{tabular}}{{{frame}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )
