"""Records and tables: everything from records, nothing mixed, what was not run says so."""

import json

import numpy as np
import pytest

from parlib import BadInput, benchmark_table
from parlib.measure.published import VLM_PAR_CLAIM, published
from parlib.measure.records import make_record, read_records, write_record
from parlib.measure.tables import render

RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(0, 2, (30, 4)), RNG.random((30, 4))


def record(method="VLM-PAR head", kind="rendered", seed=0, shift=0.0):
    data = {"benchmark": "pa100k", "kind": kind, "split": "test"}
    setting = {"encoder": "nano", "seed": seed}
    scores = (SCORES + shift).clip(0, 1)
    return make_record(method, setting, data, LABELS, scores, np.full(4, 0.4), list("abcd"))


def test_a_record_comes_back_as_it_was_written(tmp_path):
    write_record(record(), tmp_path / "r.json")
    assert read_records(tmp_path)[0] == json.loads(json.dumps(record()))


def test_a_record_edited_by_hand_is_refused(tmp_path):
    write_record(record(), tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    (tmp_path / "r.json").write_text(text.replace('"mA": 0.', '"mA": 0.9', 1))
    with pytest.raises(BadInput, match="changed after it was made"):
        read_records(tmp_path)


def test_what_is_no_record_is_named(tmp_path):
    with pytest.raises(BadInput, match="no record at"):
        read_records(tmp_path / "nothing")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadInput, match="is no record"):
        read_records(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        read_records(tmp_path)


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


def test_every_format_holds_every_row():
    table = benchmark_table([record()], "pa100k")
    for form in ("markdown", "latex", "csv", "html"):
        text = render(table, form)
        for method in ("DeepMAR", "LLM-PAR", "VLM-PAR head", "not run"):
            assert method in text, form
    assert r"\toprule" in render(table, "latex")
    with pytest.raises(BadInput, match="unknown table format"):
        render(table, "pdf")
