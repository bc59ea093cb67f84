"""Records and tables: everything from records, nothing mixed, what was not run says so."""

import csv
import io

import numpy as np
import pytest

from parlib import BadInput, benchmark_table
from parlib.measure.published import VLM_PAR_CLAIM, published
from parlib.measure.records import make_record
from parlib.measure.tables import HEAD, NOTE, attribute_table, render

RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(0, 2, (30, 4)), RNG.random((30, 4))


def record(method="VLM-PAR head", kind="rendered", seed=0, shift=0.0, view=None):
    data = {"benchmark": "pa100k", "kind": kind, "split": "test"} | ({"view": view} if view else {})
    setting = {"encoder": "nano", "seed": seed}
    scores = (SCORES + shift).clip(0, 1)
    return make_record(method, setting, data, LABELS, scores, np.full(4, 0.4), list("abcd"))


def test_seeds_are_gathered_into_mean_and_spread():
    made = [record(seed=s, shift=s / 20) for s in range(3)]
    row = benchmark_table(made, "pa100k").loc["VLM-PAR head"]
    values = 100 * np.array([r["scores"]["mA"] for r in made])
    assert row["mA"] == f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
    assert row["seeds"] == "3"


def test_kinds_of_data_never_share_a_row_and_rendered_rows_carry_a_caveat():
    table = benchmark_table([record(kind="rendered"), record(kind="other")], "pa100k")
    rows = table.loc[["VLM-PAR head"]]
    rows = rows[rows["seeds"] != ""]
    assert sorted(rows["data"]) == ["other, 30 images", "rendered, 30 images"]
    assert (rows["caveat"] == "not comparable with official rows").all()


def test_what_nobody_ran_reads_not_run():
    table = benchmark_table([record()], "pa100k")
    assert (table.loc[["constant predictor", "zero-shot", "linear probe"], "mA"] == "not run").all()


def test_the_papers_number_stands_in_no_score_column():
    for benchmark, claim in VLM_PAR_CLAIM.items():
        row = next(row for row in published(benchmark) if row["method"] == "VLM-PAR")
        assert row["scores"] == {} and str(claim) in row["caveat"] and "unclear" in row["caveat"]
        assert benchmark_table([], benchmark)["mA"].ne(f"{claim:.2f}").all()


def test_an_interval_stands_beside_the_score():
    made = [record(seed=s, shift=s / 20) for s in range(2)]
    low, high = 100 * np.mean([r["intervals"]["mA"] for r in made], axis=0)
    assert benchmark_table(made, "pa100k").loc["VLM-PAR head", "95 %"] == f"{low:.1f} to {high:.1f}"


def test_a_column_of_several_protocols_marks_every_cell_that_is_not_ours():
    table = benchmark_table([record()], "pa100k")
    marks = {"openpar": "†", "deepmar": "†", "not stated": "‡", "rethinking": "", "parlib": ""}
    for column in ("mA", "accuracy", "f1"):
        for cell, protocol in zip(table[column], table["protocol"], strict=True):
            if cell and cell != "not run":
                assert cell.strip("0123456789. ±") == marks[protocol], (column, cell)
    assert benchmark_table([], "market1501").loc["ResNet-50", "plain_accuracy"] == "93.61§"
    for mark in "†‡§":
        assert mark in NOTE


def test_published_rows_stand_by_falling_mA_and_tell_their_source():
    table = benchmark_table([], "peta")
    printed = table[table["data"].str.startswith("official [R]")]
    values = [float(cell.rstrip("†‡")) for cell in printed["mA"] if cell]
    assert values == sorted(values, reverse=True) and values[0] == 92.25
    assert printed.loc["DRFormer", "data"] == "official [R], NC 2022" and printed.loc["DRFormer", "backbone"] == "ViT-B"


def test_records_of_another_benchmark_are_an_error():
    with pytest.raises(BadInput, match="no record is of peta: they are of pa100k"):
        benchmark_table([record()], "peta")


def test_scores_on_a_shared_view_do_not_enter_a_benchmarks_table():
    table = benchmark_table([record(), record(view="upar-lite")], "pa100k")
    assert table.loc["VLM-PAR head", "seeds"] == "1"


def test_the_lead_of_the_head_is_over_the_best_of_the_others():
    made = [record(HEAD), record("linear probe", shift=0.3), record("zero-shot", shift=-0.3)]
    table = attribute_table(made, "pa100k")
    for name in "abcd":
        mine, *others = (100 * r["per_attribute"][name]["mA"] for r in made)
        assert table.loc[name, "lead"] == pytest.approx(mine - max(others))
    assert (
        table["lead"].is_monotonic_decreasing
        and (table["positives"] == LABELS.sum(0)[[*map("abcd".index, table.index)]]).all()
    )
    with pytest.raises(BadInput, match="one kind of data"):
        attribute_table([*made, record(kind="other")], "pa100k")
    with pytest.raises(BadInput, match="they have positives"):
        attribute_table(made, "pa100k", "Acc")


def test_text_of_a_table_cannot_break_out_of_its_format():
    table = benchmark_table([record('a|b <i>&_$\\x {50%} #1, "q"')], "pa100k")
    name = table.index[-5] if "a|b" in table.index[-5] else next(n for n in table.index if "a|b" in n)
    assert "<i>" not in render(table, "html") and "&lt;i&gt;&amp;" in render(table, "html")
    assert r"a\|b" in render(table, "markdown")
    assert r"\&\_\$\textbackslash{}x \{50\%\} \#1" in render(table, "latex")
    rows = list(csv.reader(io.StringIO(render(table, "csv"))))
    assert {len(row) for row in rows} == {len(rows[0])} and name in [row[0] for row in rows]


def test_the_header_says_selection_and_threshold_in_every_format():
    table = benchmark_table([record()], "pa100k")
    for form, start in (
        ("markdown", "Percent."),
        ("csv", "# Percent."),
        ("latex", r"\begin{table}"),
        ("html", "<table"),
    ):
        text = render(table, form, NOTE)
        assert text.startswith(start) and "never on test" in text and "0.5" in text, form


def test_every_format_holds_every_row():
    table = benchmark_table([record()], "pa100k")
    for form in ("markdown", "latex", "csv", "html"):
        text = render(table, form)
        for method in ("DeepMAR", "LLM-PAR", "VLM-PAR head", "not run"):
            assert method in text, form
    assert r"\toprule" in render(table, "latex")
    with pytest.raises(BadInput, match="unknown table format"):
        render(table, "pdf")
