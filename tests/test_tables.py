"""Tables: everything from records, nothing mixed, what was not run says so."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from parlib import PROTOCOLS, BadInput, benchmark_table
from parlib.cli import main
from parlib.files import digest, json_text
from parlib.measure.records import make_record, read_records, write_record
from parlib.measure.rows import VLM_PAR_CLAIM, published
from parlib.measure.tables import (
    ALL_OTHERS,
    HEAD,
    NOTE,
    ablation_table,
    attribute_table,
    cross_domain_losses,
    cross_domain_table,
    left_out_table,
    literature_table,
    render,
)

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
    marks = {"openpar": "†", "deepmar": "†", "not stated": "‡", "rethinking": "", "parlib": ""}  # of a table of ours
    for column in ("mA", "accuracy", "f1"):
        for cell, protocol in zip(table[column], table["protocol"], strict=True):
            if cell and cell != "not run":
                assert cell.strip("0123456789. ±") == marks[protocol], (column, cell)
    assert benchmark_table([], "market1501").loc["ResNet-50", "plain_accuracy"] == "93.61†"
    for mark in "†‡":
        assert mark in NOTE


def test_published_rows_stand_by_falling_mA_and_tell_their_source():
    table = benchmark_table([], "peta")
    printed = table[table["data"].str.startswith("official [R]")]
    values = [float(cell.rstrip("†‡")) for cell in printed["mA"] if cell]
    assert values == sorted(values, reverse=True) and values[0] == 92.25
    assert printed.loc["DRFormer", "data"] == "official [R], NC 2022" and printed.loc["DRFormer", "backbone"] == "ViT-B"


@pytest.mark.parametrize(("benchmark", "index", "values"), [("peta", "PETA_ZS", 2), ("rapv2", "RAP_ZS", 1)])
def test_rows_printed_for_a_published_list_say_so_and_stay_out_of_the_table_of_papers(benchmark, index, values):
    table = benchmark_table([], benchmark)
    printed = table[table["data"].str.startswith("official")]
    of_list = printed[printed["data"].str.endswith(f", {index}")]
    assert len(of_list) == values and of_list.loc["Rethinking-of-PAR", "mA"] in ("71.43", "71.76")
    assert (of_list["caveat"] != "").all() and "identity-disjoint lists" in of_list.loc["Rethinking-of-PAR", "caveat"]
    assert len(printed) > values and index in NOTE
    peta = literature_table([])["peta mA"]
    assert not peta.str.contains("71.43|77.86").any() and peta.str.contains("83.96").any()


def test_records_of_another_benchmark_are_an_error():
    with pytest.raises(BadInput, match=r"no record is of peta test; there are pa100k test \(rendered\): 1"):
        benchmark_table([record()], "peta")


def test_scores_on_a_shared_view_do_not_enter_a_benchmarks_table():
    with pytest.warns(UserWarning, match="leaves out records of test in view upar: 1"):
        table = benchmark_table([record(), record(view="upar")], "pa100k")
    assert table.loc["VLM-PAR head", "seeds"] == "1"
    with pytest.raises(BadInput, match="there are pa100k test in view upar"):
        benchmark_table([record(view="upar")], "pa100k")


def run(seed=0, shift=0.0, method=HEAD, kind="official", tree="t", benchmark="pa100k", **setting):
    """A record as a run leaves it; `setting` replaces its parts."""
    data = {"benchmark": benchmark, "kind": kind, "split": "test", "items_sha256": "list", "labels_sha256": tree}
    training = {"loss": "bce", "epochs": 8, "lr": 0.004, **setting.pop("training", {})}
    about = {"encoder": "nano", "weights": "w", "seed": seed, "head": {"preset": "compact"}, "training": training}
    about |= {"temperature": 1 + shift, "best_epoch": seed, "prompts": ["a", "b"], **setting}
    return make_record(method, about, data, LABELS, (SCORES + shift).clip(0, 1), None, list("abcd"))


def ours(*records, benchmark="pa100k"):
    table = benchmark_table(records, benchmark)
    return table[table["seeds"] != ""]


def test_the_command_reads_the_folder_of_a_run_and_what_lies_below(tmp_path, capsys):
    for seed, place in enumerate(("", "more/deep")):
        write_record(run(seed, seed / 9), tmp_path / "runs" / place / "test.json")
        (tmp_path / "runs" / place / "run.json").write_text("{}")
    assert main(["table", str(tmp_path / "runs"), "--format", "csv"]) == 0
    shown = capsys.readouterr()
    (row,) = (row for row in csv.reader(io.StringIO(shown.out)) if row and "query" in row[0])
    assert row[0] == "prompt-query head (compact)" and "2" in row
    assert shown.err.startswith("parlib: note: 2 JSON files are no records and are left out: ")
    (tmp_path / "empty").mkdir()
    assert main(["table", str(tmp_path / "empty")]) == 2
    assert "holds no record" in capsys.readouterr().err


def test_the_preset_stands_in_the_rows_name_and_seeds_are_one_row():
    table = ours(run(0), run(1, 0.1), run(2, 0.2))
    assert table.index.tolist() == ["prompt-query head (compact)"] and table["seeds"].tolist() == ["3"]
    assert (benchmark_table([run()], "pa100k").loc["VLM-PAR head", "mA"]) == "not run"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": {"loss": "focal"}}, ("compact, loss bce", "compact, loss focal")),
        ({"training": {"epochs": 4, "lr": 0.1}}, ("compact, epochs 8, lr 0.004", "compact, epochs 4, lr 0.1")),
        ({"head": {"preset": "recommended"}}, ("compact", "recommended")),
        ({"head": {"preset": "compact", "grid": 4}}, ("compact, grid none", "compact, grid 4")),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_two_rows_that_say_in_what(change, words):
    table = ours(run(0), run(1, 0.1, **change), run(2, 0.2))
    assert sorted(table.index) == sorted(f"prompt-query head ({each})" for each in words)
    assert sorted(table["seeds"]) == ["1", "2"] and "±" in "".join(table["mA"])


@pytest.mark.parametrize(
    ("change", "column", "word"),
    [
        ({"tree": "other"}, "data", "labels"),
        ({"weights": "other"}, "backbone", "weights"),
        ({"identity": {"weights": "w", "tokenizer": "x" * 64}}, "backbone", "tokenizer"),
        ({"encoder": "another"}, "backbone", "another"),
    ],
)
def test_rows_that_cannot_be_compared_never_look_alike(change, column, word):
    table = ours(run(0), run(0, 0.1, "linear probe", **change), run(1))
    assert len(table) == 2 and table[column].nunique() == 2
    assert any(word in cell for cell in table[column])


def test_a_rendered_tree_belongs_to_its_seed_and_the_row_says_how_many_trees():
    drawn = [run(seed, seed / 9, kind="rendered", tree=f"tree {seed}") for seed in range(3)]
    assert ours(*drawn)["data"].tolist() == ["rendered, 3 trees of 30 images"]
    same_seed = [run(0, kind="rendered", tree="one"), run(0, 0.1, kind="rendered", tree="other")]
    assert ours(*same_seed)["seeds"].tolist() == ["1", "1"], "two trees of one seed are no two seeds"


def test_repeats_of_one_seed_are_no_further_seeds():
    assert ours(run(0), run(0, 0.1))["seeds"].tolist() == ["1 (2 runs)"]


def test_a_folder_of_ones_own_is_never_called_official():
    own = run(kind="official", benchmark="folder")  # as records once said
    row = ours(own, benchmark="folder").iloc[0]
    assert row["data"] == "own, 30 images" and row["caveat"] == "not comparable with official rows"


def test_means_over_attributes_refuse_records_that_differ_in_more_than_the_seed():
    mixed = [run(0), run(1, training={"loss": "focal"})]
    with pytest.raises(BadInput, match=r"differ in more than the seed.*loss focal"):
        attribute_table(mixed, "pa100k")


def test_the_ablation_has_a_table_of_its_own():
    with pytest.warns(UserWarning, match="the ablation: 1"):
        assert len(ours(run(), ablated("mixer", 0, 0.1))) == 1


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


def ablated(method, seed, gap, weights="w"):
    labels = np.random.default_rng(seed).integers(0, 2, (40, 2))
    scores = np.clip(labels * 0.5 + 0.25 + np.random.default_rng(seed + 1).normal(0, 0.2, labels.shape), 0, 1)
    told = {"difference": gap, "low": gap - 0.01, "high": gap + 0.01}
    compared = {"mA": told, "mAP": {**told, "low": -1.0}, "impossible": 0.125}
    about = {"benchmark": "pa100k", "kind": "rendered", "split": "test", "items_sha256": "x"}
    return make_record(
        method, {"weights": weights, "ablation": compared}, about, labels, scores, [0.5, 0.5], ["a", "b"]
    )


def test_a_row_gives_mean_spread_and_the_paired_difference():
    records = [ablated("linear probe", 0, 0.0), *(ablated("mixer", seed, 0.02) for seed in (1, 2, 3))]
    table = ablation_table([*records, ablated("worse", 4, -0.05), ablated("same", 5, 0.005)])
    values = 100 * np.array([r["scores"]["mAP"] for r in records[1:]])
    assert table.loc["mixer", "mAP"] == f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
    assert table.loc["mixer", ["tuned mA - probe", "ahead in", "seeds"]].tolist() == [
        "+2.0 [+1.0, +3.0]",
        "tuned mA",
        "3",
    ]
    assert table.loc["worse", "ahead in"] == "behind in tuned mA, behind in mAP" and table.loc["same", "ahead in"] == ""
    assert table.loc["linear probe", "mAP - probe"] == "" and table.loc["mixer", "impossible"] == "12.5"


def test_records_of_two_encoders_make_no_table():
    with pytest.raises(BadInput, match="one encoder and one list of images for each seed; these have"):
        ablation_table([ablated("a", 0, 0.0), ablated("b", 0, 0.0, "other")])


NAMES = ("a", "b", "c")


def crossed(trained, tested, scores, seed=0, view="upar"):
    each = dict(zip(NAMES, scores, strict=True))
    return {
        "setting": {"seed": seed, "trained_on": {"benchmark": trained, "view": view}},
        "data": {"benchmark": tested, "split": "test"},
        "per_attribute": {name: {"mA": value, "known": 9 * (value == value)} for name, value in each.items()},
        "tuned": {"per_attribute": {name: value + 0.01 for name, value in each.items()}},
    }


CROSSED = [
    crossed("x", "x", (0.9, 0.8, 0.7)),
    crossed("y", "y", (0.8, 0.8, np.nan)),
    crossed("x", "y", (0.6, 0.7, np.nan)),
    crossed("y", "x", (0.7, np.nan, np.nan)),
]


def test_a_loss_is_over_the_attributes_that_both_records_define():
    losses = cross_domain_losses(CROSSED).set_index(["trained_on", "tested_on"])
    assert list(losses.loc[[("y", "x")], "attribute"]) == ["a"]
    assert losses.loc[[("x", "y")], "home"].tolist() == [0.8, 0.8]


def test_the_table_shows_the_score_away_and_its_difference_from_home():
    table = cross_domain_table(CROSSED)
    assert (
        table.loc["x", "x"] == "80.0"
        and table.loc["x", "y"] == "65.0 (-15.0)"
        and table.loc["y", "x"] == "70.0 (-20.0)"
    )
    assert cross_domain_table(CROSSED, "tuned mA").loc["x", "x"] == "81.0"
    better = [*CROSSED[:3], crossed("y", "x", (0.95, np.nan, np.nan))]
    assert cross_domain_table(better).loc["y", "x"] == "95.0 (+5.0)"


def test_all_others_stand_in_a_row_of_their_own_beside_each_and_by_attribute():
    left_out = [crossed(ALL_OTHERS, tested, scores) for tested, scores in (("x", (0.8, 0.7, 0)), ("y", (0.6, 0.9, 0)))]
    left_out[0]["per_attribute"]["c"] = {"mA": np.nan, "known": 0}  # y does not carry it
    table = cross_domain_table([*CROSSED, *left_out])
    assert list(table.columns) == ["x", "y"] and list(table.index) == ["x", "y", ALL_OTHERS]
    assert table.loc[ALL_OTHERS].tolist() == ["75.0 (-10.0)", "75.0 (-5.0)"]
    by_attribute = left_out_table([*CROSSED, *left_out])
    assert by_attribute["x"].tolist() == ["3 of 3", "2", "90.0 / 80.0", "80.0 / 70.0", "here alone"]
    assert by_attribute["y"].tolist() == ["2 of 3", "2", "80.0 / 60.0", "80.0 / 90.0", "not learned"]
    assert left_out_table(CROSSED).empty
    with pytest.raises(BadInput, match="trained and tested on y"):
        left_out_table([CROSSED[0], left_out[1]])


def test_seeds_of_a_pair_are_gathered_into_mean_and_spread():
    second = [
        crossed(t["setting"]["trained_on"]["benchmark"], t["data"]["benchmark"], (0.5, 0.5, 0.5), 1) for t in CROSSED
    ]
    spread = np.std([80, 50], ddof=1)
    assert cross_domain_table([*CROSSED, *second]).loc["x", "x"] == f"65.0 ± {spread:.1f}"


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(BadInput, match="view upar"):
        cross_domain_losses([crossed("x", "x", (1, 1, 1), view=None)])
    with pytest.raises(BadInput, match="two records are trained on x and tested on x with seed 0"):
        cross_domain_losses([CROSSED[0], crossed("x", "x", (1, 1, 1))])
    with pytest.raises(BadInput, match="trained and tested on y"):
        cross_domain_losses([CROSSED[0], CROSSED[2]])


def test_another_protocol_is_computed_from_the_scores_and_its_own_rows_lose_their_mark(tmp_path):
    made = record()
    write_record(made, tmp_path / "r.json")
    table = benchmark_table(read_records(tmp_path), "pa100k", protocol="openpar")
    want = PROTOCOLS["openpar"](LABELS, SCORES.astype(np.float32)).f1
    assert table.loc["VLM-PAR head", ["f1", "protocol"]].tolist() == [f"{100 * want:.2f}", "openpar"]
    assert table.loc["PromptPAR", "mA"] == "87.47" and table.loc["Rethinking-of-PAR", "mA"] == "80.21†"
    (tmp_path / "r.npz").unlink()
    with pytest.raises(BadInput, match=r"no scores of a record at .*r\.npz"):
        benchmark_table(read_records(tmp_path), "pa100k", protocol="openpar")


def test_rows_that_can_be_compared_share_a_code_and_stand_together():
    mixed = [run(0), run(0, 0.1, "linear probe", weights="v"), run(0, 0.1, "zero-shot"), run(0, 0.2, weights="v")]
    table = ours(*mixed)
    assert table["comparable"].nunique() == 2
    assert table["comparable"].tolist() == sorted(table["comparable"], key=list(table["comparable"]).index)
    assert table.groupby("comparable")["backbone"].nunique().max() == 1


def test_three_benchmarks_stand_side_by_side_and_the_best_comparable_one_is_bold():
    made = [
        run(0, shift, name, benchmark=b)
        for b in ("pa100k", "peta")
        for name, shift in (("linear probe", 0), (HEAD, 0.2))
    ]
    table = literature_table(made, ["mA", "f1"])
    assert list(table.columns) == [
        *(
            "backbone",
            "data",
            "pa100k mA",
            "pa100k f1",
            "peta mA",
            "peta f1",
            "market1501 mA",
            "market1501 f1",
            "comparable",
        )
    ]
    head, probe = table.loc["prompt-query head (compact)"], table.loc["linear probe (compact)"]
    best = max(made[:2], key=lambda one: one["scores"]["f1"])["method"]
    text = render(table, "markdown")
    bold = {name: "\ue000" in row["pa100k f1"] for name, row in ((HEAD, head), ("linear probe", probe))}
    assert bold == {HEAD: best == HEAD, "linear probe": best != HEAD}
    assert table.loc["LLM-PAR", "peta mA"].strip("\ue000\ue001") == "92.25†" and "**91.09†**" in text
    assert head["comparable"] == probe["comparable"] and " / " in head["comparable"]
    assert r"\textbf{91.09†}" in render(table, "latex") and "<b>91.09†</b>" in render(table, "html")
    assert not any(
        mark in render(table, form) for mark in "\ue000\ue001" for form in ("markdown", "latex", "csv", "html")
    )


def test_the_command_takes_columns_protocol_and_all_benchmarks(tmp_path, capsys):
    write_record(run(0), tmp_path / "r.json")
    assert main(["table", str(tmp_path), "--columns", "mA,protocol", "--protocol", "openpar", "--format", "csv"]) == 0
    assert "method,mA,protocol" in capsys.readouterr().out
    assert main(["table", str(tmp_path), "--benchmark", "all", "--columns", "f1", "--format", "latex"]) == 0
    assert r"\textbf{90.41†}" in capsys.readouterr().out
    assert main(["table", str(tmp_path), "--columns", "mAA"]) == 2
    assert "no column mAA; there are data" in capsys.readouterr().err


def test_check_says_whether_a_record_stands_up(tmp_path, capsys):
    write_record(run(0), tmp_path / "good" / "r.json")
    assert main(["table", "--check", str(tmp_path / "good")]) == 0
    assert "r.json: stands up, comparable " in capsys.readouterr().out
    forged = {name: value for name, value in run(0).items() if name != "sha256"}
    forged["scores"] = {**forged["scores"], "mA": 0.99}
    forged["data"] = {name: value for name, value in forged["data"].items() if name != "items_sha256"}
    write_record(run(0), tmp_path / "bad" / "r.json")
    (tmp_path / "bad" / "r.json").write_text(json_text({**forged, "sha256": digest(json.loads(json_text(forged)))}))
    assert main(["table", "--check", str(tmp_path / "bad")]) == 1
    said = capsys.readouterr().out
    assert "no items_sha256" in said and "digest of what is comparable" in said
    assert "scores are not those of the probabilities beside it" in said
    (tmp_path / "bad" / "r.npz").unlink()
    assert main(["table", "--check", str(tmp_path / "bad")]) == 1
    assert "no scores of a record at" in capsys.readouterr().out


def test_every_method_has_a_table_of_domains_also_one_without_a_seed(capsys):
    assert main(["table", str(Path(__file__).parents[1] / "records" / "cross"), "--cross-domain"]) == 0
    assert [line.split(". ")[0] for line in capsys.readouterr().out.splitlines() if ". Percentage" in line] == [
        "VLM-PAR head compact",
        "linear probe",
        "prompt-query head recommended",
    ]
    assert main(["table", str(Path(__file__).parents[1] / "records" / "words"), "--cross-domain"]) == 2
    assert "`parlib reproduce` makes them in cross/" in capsys.readouterr().err
