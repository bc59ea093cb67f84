"""The plan: which cells there are, that each is done once, that a failure stops no other, and what they cost."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import parlib
from parlib import BadInput
from parlib.cli import main
from parlib.encode.encoder import load_encoder
from parlib.files import only_one
from parlib.learn import plan as planning
from parlib.learn.costs import costs, must_fit, plan_table, plan_text
from parlib.learn.inputs import two_sided
from parlib.learn.methods import build, find_methods, methods, own_method
from parlib.learn.plan import Cell, plan, run, run_cell, score_method, splits, trained_head
from parlib.measure.records import read_records
from parlib.measure.tables import ablation_table, left_out_table
from parlib.schema import schema

ROOT = Path(__file__).parents[1]
SIZES = {"train": 40, "val": 24, "test": 24}
OWN = """
import torch

class MyHead(torch.nn.Module):
    def __init__(self, names, image_width):
        super().__init__()
        self.out = torch.nn.Linear(image_width, len(names))

    def forward(self, tokens, pooled):
        return self.out(tokens.mean(1))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(cache, tmp_path):
    short = {"sizes": SIZES, "training": {"epochs": 1, "batch_size": 8}}
    return parlib.profile("small", cache=cache, runs=tmp_path / "runs", **short)


def cell(key="linear", benchmark="pa100k", **options):
    return Cell(benchmark, find_methods([key])[0], 0, **options)


def trained_on(record):
    return record["setting"]["trained_on"]


def test_a_file_of_fields_changes_any_profile(tmp_path, monkeypatch):
    file = tmp_path / "fields.yaml"
    monkeypatch.setenv("PARLIB_FIELDS", str(file))
    file.write_text("training: {epochs: 1}\nruns: from-file")
    profile = parlib.profile("small", runs=tmp_path)
    assert profile.training == {"epochs": 1} and profile.runs == tmp_path
    assert cell("mlp").options(profile).epochs == 1
    for content, words in (("epochs: 1", "unknown profile field epochs"), ("epochs", "write lines of `field: value`")):
        file.write_text(content)
        with pytest.raises(BadInput, match=words):
            parlib.profile("small")


def test_the_paper_stands_in_every_profile(small):
    cells = plan(small)
    rows = {(one.benchmark, one.partition, one.method.key) for one in cells if not one.view}
    for benchmark, partition in (("pa100k", None), ("peta", None), ("peta", planning.DISJOINT), ("market1501", None)):
        for key in ("constant", "zero-shot", "linear", "attentive", "paper", "compact", "recommended"):
            assert (benchmark, partition, key) in rows
    crossed, left_out = ([one for one in cells if one.view and bool(one.others) == out] for out in (False, True))
    assert {one.method.key for one in crossed} == {one.method.key for one in left_out} == set(planning.CROSSED)
    assert all(one.tests == ("pa100k", "peta", "market1501") for one in crossed)
    assert {(one.benchmark, one.others) for one in left_out} == {
        ("pa100k", ("peta", "market1501")),
        ("peta", ("pa100k", "market1501")),
        ("market1501", ("pa100k", "peta")),
    }
    assert not [one for one in plan(small, ["pa100k", "peta"]) if one.others], "of two, all others are the other"
    names = [one.name for one in cells]
    assert len(set(names)) == len(names)


def test_only_the_papers_profile_trains_on_trainval_and_on_three_seeds(small):
    assert not [one for one in plan(small) if one.train_on != "train"]
    paper = replace(small, name="paper")
    extra = [one for one in plan(paper, ["pa100k"]) if one.train_on == "trainval"]
    assert {one.method.kind for one in extra} == {"head"} and extra[0].name.startswith("pa100k-trainval-")
    from parlib.profile import settings

    assert settings("paper").seeds == [0, 1, 2] and settings("small").seeds == (0,)


def test_training_belongs_to_method_and_encoder():
    (paper,) = find_methods(["paper"])
    assert paper.train_options("nano") != paper.train_options("google/siglip2-base-patch16-224")
    assert paper.train_options("any/other") == paper.train_options("google/siglip2-base-patch16-224")
    assert paper.train_options("nano").loss == paper.train_options("any/other").loss == "focal"
    assert paper.train_options("nano", epochs=1).epochs == 1


def test_every_method_that_is_trained_can_be_built():
    encoder = parlib.load_encoder("nano")
    tokens, pooled = torch.zeros(2, encoder.patches, encoder.width), torch.zeros(2, encoder.width)
    for method in methods().values():
        if method.is_trained and "paper" not in method.key:  # full width takes seconds
            assert build(method, parlib.schema("pa100k"), encoder).eval()(tokens, pooled).shape == (2, 26)


def test_a_cell_leaves_record_scores_and_log_and_is_done_once(small):
    one, said = cell(), []
    assert run([one], small, said.append) == [] and said[0].startswith("pa100k-linear-seed0: ")
    path = one.records(small)["pa100k"]
    (record,) = read_records(path)
    assert path.with_suffix(".npz").is_file() and "done in" in one.log(small).read_text()
    assert record["setting"]["trained_on"] == {"benchmark": "pa100k", "view": None}
    rates = np.array(record["data"]["train_positive_rates"], float)
    assert rates.shape == (26,) and np.nanmin(rates) >= 0 and np.nanmax(rates) <= 1
    before = path.stat().st_mtime_ns
    assert run([one], small, said.append) == [] and said[-1] == "1 of 1 cells are done already"
    assert path.stat().st_mtime_ns == before
    assert not cell().is_done(replace(small, sizes={**SIZES, "test": 25})), "of other images"


def test_a_cell_that_fails_is_reported_with_its_log_and_the_others_go_on(small, monkeypatch):
    def fails(method, task):
        raise ValueError("no luck")

    monkeypatch.setitem(planning.method_records.__globals__["run_method"].__globals__["KINDS"], "constant", fails)
    bad, good, said = cell("constant"), cell("zero-shot"), []
    assert run([bad, good], small, said.append) == [bad]
    assert good.is_done(small) and "no luck" in said[0] and str(bad.log(small)) in said[0]
    assert "Traceback" in bad.log(small).read_text()


def test_the_command_says_by_its_exit_code_that_a_cell_failed(small, capsys, monkeypatch, tmp_path):
    (tmp_path / "bad.py").write_text(OWN.replace("tokens.mean(1)", "tokens"))
    monkeypatch.setattr(sys.modules["parlib.profile"], "profile", lambda name, **changes: replace(small, **changes))
    asked = ["reproduce", "--benchmarks", "pa100k", "--methods", "constant", "--out", str(small.runs)]
    assert main([*asked, "--method", f"{tmp_path}/bad.py:MyHead"]) != 0
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "constant predictor" in out and "hours" in out


def test_a_cell_that_another_process_holds_is_left_to_it(small):
    one, said = cell("constant"), []
    code = (
        "import sys; from parlib.files import only_one\n"
        "with only_one('x', sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    lock = planning._lock(small, one.name)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match="another process is writing"), only_one(one.name, lock):
            pass
        assert not said
        other.stdin.close()
    assert run([one], small, said.append) == [] and one.is_done(small)


def test_heads_are_found_by_whoever_needs_them(small):
    head = trained_head(small)
    folder = small.runs / "heads" / "pa100k-recommended-seed0"
    written = (folder / "model.safetensors").stat().st_mtime_ns
    again = trained_head(small)
    assert torch.equal(head.classifier, again.classifier) and not again.training
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    again = parlib.learn.run.evaluate_run(folder)
    assert again["scores"] == read_records(small.runs / "records")[0]["scores"]


def test_another_partition_encodes_no_image_again(small):
    own, other = (splits(cell(benchmark="peta", partition=p), small) for p in (None, planning.DISJOINT))
    stores = sorted(path.name for path in (small.cache / "features").glob("peta-*"))
    assert len([name for name in stores if name.startswith("peta-train")]) == 1
    names = {}
    for parts, partition in ((own, "0"), (other, planning.DISJOINT)):
        release = parlib.data.read_release("peta", next((small.cache / "rendered").glob("peta-*")), partition=partition)
        for split, part in parts.items():
            rows = part.store[:]
            names.setdefault(partition, {}).update(zip(release.listing(split).names, rows.pooled, strict=True))
            assert part.about["partition"] == partition and len(part.labels) == len(part.store)
            assert torch.equal(part.store[[1, 0]].tokens, rows.tokens[[1, 0]])
            assert torch.equal(part.store.pooled, rows.pooled.float())
    first, second = names.values()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert other["train"].about["items_sha256"] != own["train"].about["items_sha256"]


def test_a_domain_that_is_left_out_is_learned_from_the_others_alone(small):
    left_out = cell(benchmark="peta", view="upar", others=("pa100k", "market1501"))
    one_by_one = {name: splits(cell(benchmark=name, view="upar"), small) for name in ("pa100k", "peta", "market1501")}
    stores = sorted((small.cache / "features").glob("*"))
    parts = splits(left_out, small)
    assert sorted((small.cache / "features").glob("*")) == stores, "no image is encoded again"
    for split in ("train", "val"):
        others = [one_by_one[name][split] for name in left_out.others]
        for have, want in (
            (parts[split].store.pooled, [part.store.pooled for part in others]),
            (parts[split].store[:].tokens, [part.store[:].tokens for part in others]),
            (torch.tensor(parts[split].labels), [torch.tensor(part.labels) for part in others]),
        ):
            assert torch.equal(have, torch.cat(want))
        assert parts[split].about["domains"] == ["pa100k", "market1501"]
    own = {tuple(row.tolist()) for part in one_by_one["peta"].values() for row in part.store.pooled}
    learned = {tuple(row.tolist()) for split in ("train", "val") for row in parts[split].store.pooled}
    assert not own & learned and len(learned) == 2 * (SIZES["train"] + SIZES["val"])
    assert parts["test"].about == one_by_one["peta"]["test"].about


def test_what_a_domain_does_not_carry_is_masked_where_it_is_learned_and_where_it_is_tested(small):
    carried = {
        name: {column.name for column in parlib.schema(schema).view("upar").columns if column.terms}
        for name, schema in (("pa100k", "pa100k"), ("peta", "peta105"), ("market1501", "market1501"))
    }
    left_out = cell(benchmark="peta", view="upar", others=("pa100k", "market1501"))
    names, train = parlib.schema("upar").names, splits(left_out, small)["train"].labels
    for name, rows in (("pa100k", train[: SIZES["train"]]), ("market1501", train[SIZES["train"] :])):
        assert {names[i] for i in np.flatnonzero((rows >= 0).any(0))} == carried[name]
    assert run([left_out, cell(benchmark="peta", view="upar", tests=("peta",))], small, lambda line: None) == []
    home, away = sorted(read_records(small.runs / "records" / "cross"), key=lambda r: "domains" in trained_on(r))
    assert trained_on(home)["benchmark"] == away["data"]["benchmark"] == "peta"
    assert trained_on(away)["domains"] == ["pa100k", "market1501"]
    assert home["comparable"] == away["comparable"], "the same test images and labels"
    for record, tested, learned in (
        (home, carried["peta"], splits(cell(benchmark="peta", view="upar"), small)),
        (away, carried["peta"] & (carried["pa100k"] | carried["market1501"]), splits(left_out, small)),
    ):
        both, _ = two_sided(learned["train"].labels, learned["val"].labels, names, warn=False)
        scored = {n for n, row in record["per_attribute"].items() if row["known"]}
        assert scored == tested & set(np.array(names)[both]) and len(scored) > 5
    table = left_out_table([home, away])["peta"]
    assert int(table["compared"]) == sum("/" in cell for cell in table) > 5
    assert table["Accessory-Glasses-Normal"] == "not learned" and table["learned here"].endswith(" of 40")


def test_a_head_that_left_a_domain_out_is_evaluated_on_it(small):
    left_out = cell("compact", "market1501", view="upar", others=("pa100k", "peta"))
    assert run([left_out], small, lambda line: None) == []
    (record,) = read_records(small.runs / "records")
    again = parlib.learn.run.evaluate_run(left_out.run(small))
    assert again["scores"] == record["scores"] and again["per_attribute"] == record["per_attribute"]


def test_trainval_is_train_and_val_and_says_how_the_epoch_was_chosen(small):
    one = cell("mlp", train_on="trainval")
    assert len(splits(one, small)["train"].labels) == 64
    assert run([one], small, lambda line: None) == []
    (record,) = read_records(*one.records(small).values())
    assert record["setting"]["trained_on"]["split"] == "trainval" and "among" in record["setting"]["selection"]


def test_a_row_of_the_ablation_is_compared_with_the_linear_probe(small):
    cells = [cell(key) for key in ("ablation-linear", "no-layernorm")]
    assert run(cells, small, lambda line: None) == []
    records = read_records(small.runs / "records" / "ablation")
    assert {record["method"] for record in records} == {"linear probe", "no LayerNorm on tokens"}
    for record in records:
        gap = record["setting"]["ablation"]["mAP"]
        assert gap["low"] <= gap["difference"] <= gap["high"]
        assert (gap["difference"] == 0) == (record["method"] == "linear probe")
    assert len(ablation_table(records)) == 2


def test_a_method_of_ones_own_is_trained_and_scored_in_one_call(small, tmp_path):
    file = tmp_path / "my_head.py"
    file.write_text(OWN)
    record = score_method(f"{file}:MyHead", small, epochs=2)
    assert record["method"] == "MyHead" and record["setting"]["training"]["lr"] == 4e-3
    assert record["scores"]["mA"] > 0.4 and "source_sha256" in record["setting"]
    (own,) = [one for one in plan(small, ["pa100k"], ["constant"], own=[f"{file}:MyHead"]) if one.method.kind == "own"]
    assert own.name == "pa100k-MyHead-seed0" and own.group == "main"


def test_a_module_may_have_names_of_its_own():
    class Mine(torch.nn.Linear):
        names = property(lambda self: ["a"])

        def __init__(self, names, width):
            super().__init__(width, len(names))

    module = build(own_method(Mine), schema("pa100k"), load_encoder("nano"))
    assert module.names == ["a"] and module.temperature == 1.0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.py:MyHead", "give FILE.py:CLASS"),
        ("{file}:Other", "no class of a torch module"),
        ("{file}", "FILE.py"),
    ],
)
def test_a_method_that_is_none_is_one_line(source, words, tmp_path):
    file = tmp_path / "my_head.py"
    file.write_text(OWN)
    with pytest.raises(BadInput, match=words):
        own_method(source.format(file=file))


def test_costs_of_benchmarks_that_are_not_here_are_in_proportion_to_their_images(small):
    cells, away = plan(small, methods=["constant"]), replace(small, data=Path("nowhere"), cache=small.runs)
    ten, twenty = ({"train": n, "val": n, "test": n} for n in (10, 20))
    table = costs(cells, away, {"pa100k": ten, "peta": ten, "market1501": twenty})
    pa100k, market = (table.loc[f"{name}-constant-seed0"] for name in ("pa100k", "market1501"))
    assert (pa100k["images"], market["images"]) == (30, 60) and market["disk"] == 2 * pa100k["disk"] > 0
    assert table.loc["peta-identity-disjoint-seed0-constant-seed0", "disk"] == 0, "its images are encoded once"
    left_out = cell("constant", "pa100k", view="upar", others=("peta", "market1501"))
    assert costs([left_out], away, {"pa100k": ten, "peta": ten, "market1501": twenty})["images"].tolist() == [70]


def test_what_a_plan_took_stands_beside_what_was_expected(small):
    cells = [cell("constant"), cell("linear")]
    table = costs(cells, small)
    run(cells[:1], small, lambda line: None)
    shown = plan_table(table, cells, small)
    took = shown["took, hours"].tolist()
    assert took[1] == "not run" and took[2] == took[0]
    assert shown["hours"].iloc[2] == f"{table['hours'].sum():.3f}"


def test_unknown_benchmarks_and_methods_list_the_known(small):
    with pytest.raises(BadInput, match="no benchmark rap in this profile; it has pa100k, peta, market1501"):
        plan(small, ["rap"])
    with pytest.raises(BadInput, match="unknown method best; known: constant"):
        plan(small, methods=["best"])


def test_costs_say_what_does_not_fit_the_disk(small, tmp_path):
    small = replace(small, cache=tmp_path / "empty")
    cells = plan(small, ["pa100k"], ["constant", "linear", "compact"])
    table = costs(cells, small)
    assert list(table.index) == [one.name for one in cells] and (table["hours"] > 0).all()
    patch_bytes = 88 * 65 * 128 * 2
    assert table["disk"].iloc[0] == patch_bytes and table["images"].iloc[0] == 88
    assert table["memory"].iloc[2] > table["memory"].iloc[0]
    text = plan_text(table)
    assert all(one.name in text for one in cells) and "3 cells" in text
    must_fit(table, small)
    with pytest.raises(BadInput, match="the plan needs"):
        must_fit(table.assign(disk=10**18), small)
    run(cells[:1], small, lambda line: None)
    assert costs(cells, small).loc[cells[0].name, ["done", "hours"]].tolist() == [True, 0.0]


def test_a_training_that_was_stopped_resumes_after_its_last_epoch(small):
    small = replace(small, training={**small.training, "epochs": 3})
    one, whole = cell("compact"), replace(small, runs=small.runs / "whole")
    run_cell(one, whole)
    epochs = []

    def stop(epoch, step, steps, seen):
        if isinstance(seen, dict):
            epochs.append(epoch)
        if epoch == 1 and step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(one, small, stop)
    assert epochs == [0] and not one.is_done(small)
    run_cell(one, small, lambda epoch, step, steps, seen: isinstance(seen, dict) and epochs.append(epoch))
    assert epochs == [0, 1, 2] and not list((small.runs / "heads").glob(".*checkpoint"))
    texts = [one.records(place)["pa100k"].read_text() for place in (small, whole)]
    assert texts[0] == texts[1]


def test_a_process_of_a_launch_works_alone_on_its_own_gpu(monkeypatch):
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "CUDA_VISIBLE_DEVICES": "4,6"}.items():
        monkeypatch.setenv(name, value)
    planning.alone()
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & set(os.environ)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"


@pytest.mark.long
def test_two_processes_share_a_plan_and_do_no_cell_twice(tmp_path):
    methods = "constant,zero-shot,linear,mlp,compact,recommended"
    command = f"-m parlib reproduce --processes 2 --benchmarks pa100k --methods {methods} --out {tmp_path}/runs"
    variables = {**os.environ, "PARLIB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, *command.split()], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for log in (tmp_path / "runs" / "logs").iterdir():
        assert log.read_text().count("done in") == 1
    assert len(list((tmp_path / "runs" / "records").rglob("*.json"))) == 6


@pytest.mark.long
def test_the_rehearsal_of_the_papers_profile_ends_well(tmp_path):
    methods, notebooks = (
        ["constant", "linear", "recommended"],
        ["notebooks/01_data.ipynb", "notebooks/06_explore.ipynb"],
    )
    command = [sys.executable, "tools/rehearse.py", "--out", tmp_path, "--methods", *methods, "--notebooks", *notebooks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "failed: nothing" in done.stdout and "not run" not in done.stdout.split("took, hours")[1]
    assert "pa100k-trainval-recommended-seed0" in done.stdout and "market1501-upar-linear-seed0" in done.stdout
    assert (tmp_path / "paper" / "report.html").is_file() and (tmp_path / "notebooks" / "06_explore.ipynb").is_file()
    says = {str(record["setting"].get("encoder")) for record in read_records(tmp_path / "paper" / "records")}
    assert says - {"None", "none"} == {str(tmp_path / "encoder")}
