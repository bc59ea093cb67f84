"""The audit on cases counted by hand; its figures of the real files are those stored (tests/test_real_facts.py)."""

import json
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from parlib import BadInput, audit, schema
from parlib.cli import main
from parlib.data import audit_arrays, read_release
from pedsynth import synthesize

KEYS = {"constant_predictor", "identity_copy", "identity_overlap", "consecutive_id_mistake"}


def peta(rows):
    """(N, 105) labels of which the first attribute is given."""
    labels = np.zeros((len(rows), 105), np.int8)
    labels[:, 0] = rows
    return labels


def test_copying_identities_is_right_for_those_seen():
    # Trainval: persons a a b; test: a (seen, 1), b (seen, 0), c (unseen, 1: trainval's rate 2/3 says yes).
    labels, people = peta([1, 1, 0, 1, 0, 1]), [*list("aabab"), "c"]
    out = audit("peta", labels, [(np.arange(3), np.arange(3, 6))], people)
    assert set(out) == KEYS and out["identity_overlap"] == [round(2 / 3, 6)]
    assert out["identity_copy"]["plain_accuracy"] == 1.0
    assert out["identity_copy"]["mA"] == round((1 + 34 * 0.5) / 35, 6), "34 attributes without a positive score 0.5"
    constant = out["constant_predictor"]
    assert constant["rethinking"]["plain_accuracy"] == round((35 * 3 - 1) / (35 * 3), 6)
    assert constant["vlm-par-code, 105 attributes"]["plain_accuracy"] == round((105 * 3 - 1) / (105 * 3), 6)
    assert constant["parlib"]["mA"] == 0.5


def test_a_row_without_an_identity_is_no_ones_copy():
    labels = peta([1, 1, 0, 1])
    out = audit("peta", labels, [(np.arange(2), np.arange(2, 4))], ["", "a", "", None])
    assert out["identity_overlap"] == [0.0]


def test_consecutive_ids_are_right_only_where_an_id_is_its_position():
    # Train rows are of 1 and 3, read as 1 and 2; test rows are of 752 and 4, read as 752 and 753.
    labels = np.zeros((4, 30), np.int8)
    labels[1, 0] = 1
    labels[:, schema("market1501").index("adult")] = 1
    ids = {"train": ["0001", "0003"], "test": ["0752", "0004"]}
    out = audit("market1501", labels, [(np.arange(2), np.arange(2, 4))], [*ids["train"], *ids["test"]], ids)
    found = out["consecutive_id_mistake"]
    assert [found[k] for k in ("train_right", "train_total", "test_right", "test_total")] == [1, 2, 1, 2]
    assert found["agreement"] == 1.0, "of the ids that the mistake gives any label, both get their own"


def test_the_mistake_agrees_only_where_labels_are_alike():
    # Train rows are of 1, 3 and 4, read as 1, 2, 3: person 3 gets the labels of 4, who differs in one of 30 binaries.
    labels = np.zeros((4, 30), np.int8)
    labels[:, schema("market1501").index("adult")] = 1
    labels[2, schema("market1501").index("hat")] = 1
    ids = {"train": ["0001", "0003", "0004"], "test": ["0752"]}
    out = audit("market1501", labels, [(np.arange(3), np.arange(3, 4))], [*ids["train"], *ids["test"]], ids)
    found = out["consecutive_id_mistake"]
    assert (found["train_right"], found["train_total"]) == (1, 3)
    # Compared are persons 1, 3 and 752: one of 90 labels is another's.
    assert found["agreement"] == round(89 / 90, 6)


def test_a_constant_predictor_names_the_most_frequent_colour():
    labels = np.zeros((12, 30), np.int8)
    labels[:, schema("market1501").index("upred")] = [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    ids = [f"{i:04d}" for i in range(1, 13)]
    rows = [(np.arange(8), np.arange(8, 12))]
    out = audit("market1501", labels, rows, ids)
    # Of 12 questions the lower colour and the age are wrong for all, as nobody has one.
    assert out["constant_predictor"]["market-12"]["plain_accuracy"] == round(10 / 12, 6)


def stored(name):
    text = (files("parlib") / "assets" / "real_facts.json").read_text()
    return json.loads(text)[name]["audit"]


def test_stored_audits_hold_the_known_figures():
    pa100k, peta, market = (stored(name) for name in ("pa100k", "peta", "market1501"))
    constant = [
        pa100k["constant_predictor"]["vlm-par-code"],
        peta["constant_predictor"]["vlm-par-code"],
        peta["constant_predictor"]["vlm-par-code, 105 attributes"],
        market["constant_predictor"]["market-27"],
    ]
    assert [f"{100 * scores['plain_accuracy']:.2f}" for scores in constant] in (
        ["83.84", "81.88", "89.14", "85.33"],
        ["83.85", "81.88", "89.14", "85.33"],  # 83.845 exactly
    )
    assert all(scores["mA"] == 0.5 for scores in constant)
    assert [round(100 * share, 1) for share in peta["identity_overlap"]] == [57.7, 58.5, 58.4, 58.7, 58.8]
    copy = peta["identity_copy"]
    assert (round(100 * copy["mA"], 1), round(100 * copy["plain_accuracy"], 1)) == (80.7, 93.2)
    mistake = market["consecutive_id_mistake"]
    assert (mistake["train_right"], mistake["train_total"], mistake["test_total"]) == (0, 751, 750)
    assert market["identity_overlap"] == [0.0] and pa100k["identity_copy"] is None


@pytest.mark.real
@pytest.mark.parametrize("name", ["pa100k", "peta", "market1501"])
def test_the_command_prints_the_stored_audit_of_the_real_files(name, real_data, capsys):
    assert main(["audit", "--benchmark", name, "--root", str(real_data / name)]) == 0
    assert json.loads(capsys.readouterr().out) == stored(name)


@pytest.mark.parametrize("name", ["pa100k", "peta", "market1501"])
def test_a_rendered_tree_is_audited_as_a_real_one(name, request, capsys):
    tree = {"pa100k": "rendered", "peta": "rendered_peta", "market1501": "rendered_market"}[name]
    assert main(["audit", "--benchmark", name, "--root", str(request.getfixturevalue(tree))]) == 0
    assert set(json.loads(capsys.readouterr().out)) == KEYS


def test_an_image_that_is_listed_twice_is_audited_by_its_last_row(tmp_path, capsys):
    root = synthesize("pa100k", tmp_path / "tree", train=6, val=3, test=3, progress=False)
    release = read_release("pa100k", root, images=False)
    for split, listing in release.splits.items():
        rows = pd.DataFrame(listing.labels, columns=release.schema.names)
        rows.insert(0, "Image", listing.names)
        pd.concat([rows, rows[:1]]).to_csv(tmp_path / f"{split}.csv", index=False)
    assert main(["audit", "--benchmark", "pa100k", "--root", str(tmp_path)]) == 0
    assert "constant_predictor" in json.loads(capsys.readouterr().out)


def test_bad_input_is_named(tmp_path, capsys):
    with pytest.raises(BadInput, match=r"needs labels \(N, 26\)"):
        audit("pa100k", np.zeros((3, 5)), [(np.arange(2), np.arange(2, 3))])
    with pytest.raises(BadInput, match="a partition without rows"):
        audit("pa100k", np.zeros((3, 26)), [(np.arange(3), np.arange(0))])
    with pytest.raises(BadInput, match="1 identities for 3 images"):
        audit("peta", np.zeros((3, 105)), [(np.arange(2), np.arange(2, 3))], ["a"])
    with pytest.raises(BadInput, match="unknown benchmark 'folder'"):
        audit_arrays("folder", tmp_path)
    assert main(["audit", "--benchmark", "peta", "--root", str(tmp_path)]) == 2
    assert "PETA.mat" in capsys.readouterr().err
