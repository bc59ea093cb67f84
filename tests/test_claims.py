"""Verdicts: from paired intervals by the rules of claims.yaml, and never more than records say."""

import numpy as np
import pytest

from parlib import BadInput, schema
from parlib.measure import claims, records
from parlib.measure.claims import CLAIMS, LEVEL, verdicts
from parlib.measure.records import make_record, write_record
from parlib.measure.rows import published
from parlib.measure.tables import ALL_OTHERS

NAMES = schema("pa100k").names
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (120, len(NAMES)))
PEOPLE = [str(i // 2) for i in range(120)]
PAPER, COMPACT = {"preset": "paper"}, {"preset": "compact"}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setitem(CLAIMS, "resamples", 400)
    monkeypatch.setattr(records, "_intervals", lambda *args: {})  # a record's own, which no claim reads


def skilled(skill, seed=0, labels=LABELS):
    """Probabilities that follow the labels the better, the greater `skill`."""
    noise = np.random.default_rng(seed).normal(0, 1, labels.shape)
    return 1 / (1 + np.exp(-(skill * (2 * labels - 1) + noise)))


MADE = {}


def record(method, scores, *options, **more):
    """As `made_record`, once for the same arguments, as scoring takes most of the time here."""
    key = (method, scores.tobytes(), repr(options), repr(more))
    if key not in MADE:
        MADE[key] = made_record(method, scores, *options, **more)
    return MADE[key]


def made_record(method, scores, head=None, seed=None, labels=LABELS, trained_on="pa100k", setting=(), **data):
    data = {"benchmark": "pa100k", "kind": "rendered", "split": "test", "items_sha256": "list", **data}
    data |= {"train_positive_rates": np.linspace(0.02, 0.5, len(NAMES)), "labels_sha256": data["benchmark"]}
    about = {"encoder": "nano", "weights": "w", "trained_on": {"benchmark": trained_on, "view": data.get("view")}}
    about |= ({"head": head} if head else {}) | ({} if seed is None else {"seed": seed}) | dict(setting)
    return make_record(method, about, data, labels, scores, np.full(len(NAMES), 0.5), NAMES, PEOPLE)


def read_outs(skill, names=("zero-shot", "zero-shot pair", "k-NN", "linear probe", "linear probe (patches)"), **data):
    return [record(name, skilled(skill, seed), **data) for seed, name in enumerate(names, 10)]


def head(skill=1.0, seed=0, method="VLM-PAR head", options=PAPER, **more):
    return record(method, skilled(skill, seed), options, seed, **more)


@pytest.mark.parametrize(("skill", "verdict"), [(2.0, "supported"), (0.1, "contradicted"), (1.0, "undecided")])
def test_a_claim_is_judged_by_the_interval_of_the_paired_difference(skill, verdict):
    row = verdicts([head(skill), *read_outs(1.0)]).loc["a"]
    assert row["verdict"] == verdict and row["low"] < row["difference"] < row["high"]
    assert (row["data"], row["unit"], row["missing"], row["seeds"]) == ("rendered", "points of mA", "", 1)
    assert (row["low"] > 0) == (verdict == "supported") and (row["high"] < 0) == (verdict == "contradicted")


def test_the_hardest_to_beat_decides_and_the_difference_is_in_points():
    easy, hard = read_outs(0.1, ["zero-shot"]), read_outs(0.9, ["linear probe"])
    made = head(1.0)
    row = verdicts([made, *easy, *hard]).loc["a"]
    assert row["against"] == "linear probe"
    assert row["difference"] == pytest.approx(100 * (made["tuned"]["mA"] - hard[0]["tuned"]["mA"]), abs=1e-4)
    assert row["records"] == f"{made['sha256'][:8]}, {hard[0]['sha256'][:8]}"


def test_without_all_it_is_compared_with_a_claim_is_never_supported():
    row = verdicts([head(2.0), *read_outs(0.1, ["linear probe"])]).loc["a"]
    assert row["low"] > 0 and row["verdict"] == "undecided" and row["missing"].startswith("zero-shot on pa100k")
    assert verdicts([head(0.1), *read_outs(1.0, ["linear probe"])]).loc["a", "verdict"] == "contradicted"


def test_what_was_not_run_says_so_for_every_claim():
    for made in ([], [head(1.0)], read_outs(1.0)):
        table = verdicts(made)
        assert list(table.index) == list(CLAIMS["claims"])
        run = {"e2"} if made and made[0]["method"] == "VLM-PAR head" else set()
        assert set(table.index[table["verdict"] != "not run"]) == run
        assert table.loc[table["verdict"] == "not run", ["difference", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    "change", [{"items_sha256": "other"}, {"setting": {"weights": "v"}}, {"partition": "1"}, {"split": "val"}]
)
def test_records_of_other_images_or_encoders_are_not_compared(change):
    table = verdicts([head(1.0), *read_outs(0.1, **change)])
    assert (table.loc[["a"], "verdict"] == "not run").all()


def test_kinds_of_data_and_encoders_have_verdicts_of_their_own():
    table = verdicts([head(2.0), *read_outs(0.5), head(0.1, kind="official"), *read_outs(0.5, kind="official")])
    of_a = table.loc["a"].set_index("data")["verdict"]
    assert of_a.to_dict() == {"official": "contradicted", "rendered": "supported"}
    other = {"setting": {"weights": "v"}}
    assert len(verdicts([head(2.0), *read_outs(0.5), head(0.1, **other), *read_outs(0.5, **other)]).loc["a"]) == 2


def test_seeds_are_averaged_and_each_is_paired_with_its_own():
    probes = [record("linear probe", skilled(1.0, 20 + seed), seed=seed) for seed in (0, 1)]
    heads = [head(1.5, seed) for seed in (0, 1)]
    row = verdicts([*heads, *probes]).loc["a"]
    gaps = [h["tuned"]["mA"] - p["tuned"]["mA"] for h, p in zip(heads, probes, strict=True)]
    assert row["difference"] == pytest.approx(100 * np.mean(gaps), abs=1e-4) and row["seeds"] == 2


def test_the_level_is_corrected_for_the_number_of_claims():
    assert pytest.approx(1 - 0.05 / len(CLAIMS["claims"])) == LEVEL
    made = [head(1.3), *read_outs(1.0)]
    wide = verdicts(made).loc["a"]
    claims.LEVEL, kept = 0.95, claims.LEVEL
    try:
        narrow = verdicts(made).loc["a"]
    finally:
        claims.LEVEL = kept
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_heads_that_differ_in_more_than_the_seed_are_refused():
    with pytest.raises(BadInput, match=r"several heads fit the claim .*lr 1.*lr 2"):
        verdicts([head(setting={"training": {"lr": lr}}) for lr in (1, 2)])
    ablated = head(2.0, options={**PAPER, "mixer": 1})
    assert verdicts([ablated, *read_outs(0.1)]).loc["a", "verdict"] == "not run", "an ablation is not the paper's head"


def test_state_of_the_art_is_asked_of_the_official_images_alone():
    best = max(row["scores"].get("mA", 0) for row in published("pa100k"))
    row = verdicts([head(0.1, kind="official")]).loc["c"]
    assert row["verdict"] == "contradicted"
    assert row["difference"] == pytest.approx(100 * head(0.1, kind="official")["tuned"]["mA"] - best, abs=1e-4)
    assert verdicts([head(9.0)]).loc["c", "verdict"] == "not run"
    assert verdicts([head(9.0, kind="official")]).loc["c", "verdict"] == "supported"


def test_help_for_rare_labels_is_the_slope_of_the_gain():
    probe, rates = skilled(0.6, 1), np.linspace(0.02, 0.5, len(NAMES))
    rare_first = np.where(rates < 0.2, skilled(3.0, 2), probe)
    made = [record("VLM-PAR head", rare_first, PAPER, 0), record("linear probe", probe)]
    row = verdicts(made).loc["d"]
    gain = [100 * (made[0]["per_attribute"][n]["AP"] - made[1]["per_attribute"][n]["AP"]) for n in NAMES]
    assert row["difference"] == pytest.approx(np.polyfit(-np.log2(rates), gain, 1)[0], abs=1e-6)
    assert row["low"] > 0 and row["verdict"] == "undecided" and "peta" in row["missing"]


def test_impossible_answers_are_counted_on_decisions():
    answers = np.zeros(LABELS.shape)
    answers[:, [NAMES.index(n) for n in ("AgeOver60", "Front", "ShortSleeve")]] = 1
    both = answers.copy()
    both[:30, NAMES.index("Back")] = 1
    made = [record("VLM-PAR head", answers, PAPER, 0), record("linear probe", both)]
    row = verdicts(made).loc["e1"]
    assert row["difference"] == pytest.approx(25) and row["low"] > 0


def test_label_pairs_gain_what_two_tables_say():
    truth = np.repeat(np.repeat([[0], [1], [1], [0]], 30, axis=0), len(NAMES), axis=1)  # all attributes go together
    knows, blind = np.where(truth == 1, 0.8, 0.2), np.full(truth.shape, 0.5)
    made = [record("VLM-PAR head", knows, PAPER, 0, truth), record("linear probe", blind, labels=truth)]
    table = verdicts(made)
    gain = np.log((0.8**2 + 0.2**2) / 2 / 0.25)  # half of the people are yes, in either half: rates are 0.5
    assert table.loc["e2", "difference"] == pytest.approx(100 * gain, rel=0.05) and table.loc["e2", "low"] > 0
    assert table.loc["e3", "difference"] == pytest.approx(100 * gain, rel=0.05)  # the blind one gains nothing


def test_label_pairs_gain_nothing_where_labels_are_independent():
    assert verdicts([head(2.0)]).loc["e2", "low"] < 0


def test_loss_across_domains_is_compared_on_the_same_images():
    def crossed(method, skill, trained_on, head=None):
        return record(method, skilled(skill, 5), head, 0 if head else None, trained_on=trained_on, view="upar")

    strong = {"VLM-PAR head": (2.0, 1.8), "linear probe": (2.0, 0.2)}
    made = []
    for (method, skills), option in zip(strong.items(), ({"preset": "compact"}, None), strict=True):
        made += [crossed(method, s, t, option) for s, t in zip(skills, ("pa100k", "peta"), strict=True)]
    assert verdicts(made).loc["f2", "verdict"] == "not run", "one benchmark is not all others"
    row = verdicts(made).loc["f1"]
    mA = [100 * one["tuned"]["mA"] for one in made]
    assert row["difference"] == pytest.approx((mA[1] - mA[0]) - (mA[3] - mA[2]), abs=1e-4)
    assert row["low"] > 0 and row["head"] == "VLM-PAR head, compact" and "market1501" in row["missing"]


def test_loss_on_a_domain_left_out_is_of_heads_trained_on_all_others():
    def left_out(method, home, away, head=None):
        made = (("pa100k", home), (ALL_OTHERS, away), ("peta", 0.01))  # the last of f1 alone
        seed = 0 if head else None
        return [record(method, skilled(s, 5), head, seed, trained_on=t, view="upar") for t, s in made]

    made = [*left_out("VLM-PAR head", 2.0, 1.8, {"preset": "compact"}), *left_out("linear probe", 2.0, 0.2)]
    row, mA = verdicts(made).loc["f2"], [100 * one["tuned"]["mA"] for one in made]
    assert row["difference"] == pytest.approx((mA[1] - mA[0]) - (mA[4] - mA[3]), abs=1e-4) and row["low"] > 0
    assert row["missing"] == "linear probe on peta, linear probe on market1501"
    assert row["verdict"] == "undecided", "two of three benchmarks are missing"
    assert abs(verdicts(made).loc["f1", "difference"]) < row["difference"]
    assert verdicts([made[0], *made[2:]]).loc["f2", "verdict"] == "not run"


def test_words_are_compared_with_those_of_the_same_head():
    own = head(2.0, options=COMPACT)
    shifted = head(0.5, options={**COMPACT, "words": "shifted"})
    table = verdicts([own, shifted, head(2.0)])
    assert table.loc["g1", ["verdict", "against"]].tolist() == ["supported", "shifted"]
    assert table.loc["g1", "head"] == "VLM-PAR head, compact" and table.loc["g2", "verdict"] == "not run"


def test_records_without_scores_are_left_out_with_a_count(tmp_path):
    write_record(head(2.0), tmp_path / "head.json")
    (tmp_path / "head.npz").unlink()
    with pytest.warns(UserWarning, match="1 records have no scores"):
        assert (verdicts(records.read_records(tmp_path))["verdict"] == "not run").all()


def test_every_claim_names_a_known_measure_and_benchmarks():
    for claim in CLAIMS["claims"].values():
        assert claim["measure"] in CLAIMS["measures"] and set(claim["benchmarks"]) <= {"pa100k", "peta", "market1501"}
        assert claim["says"].endswith(".")
