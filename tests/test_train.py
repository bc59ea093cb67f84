"""Training: it learns, it repeats itself, it chooses on val alone, and it leaves the encoder as it was."""

import json

import numpy as np
import pytest
import torch

from parlib import BadInput, fit, load_encoder, predict
from parlib.cli import main
from parlib.learn.baselines import constant, linear_probe, zero_shot
from parlib.learn.losses import bce, focal, loss_function
from parlib.learn.run import evaluate_run, new_head, prepare, train_run
from parlib.learn.train import TrainOptions

SMALL = {"width": 16, "heads": 2, "grid": 2}


@pytest.fixture(scope="module")
def setting(rendered, tmp_path_factory):
    encoder, cache = load_encoder("nano"), tmp_path_factory.mktemp("cache")
    parts = {s: prepare("pa100k", rendered, s, encoder, cache, progress=False) for s in ("train", "val", "test")}
    return encoder, cache, parts


def trained(setting, seed=0, **options):
    encoder, _, parts = setting
    head = new_head("pa100k", encoder, seed, **SMALL)
    history = fit(head, parts["train"], parts["val"], TrainOptions(epochs=3, batch_size=8, threads=1, **options), seed)
    return head, history


def test_training_lowers_the_loss_and_keeps_the_best_epoch_on_val(setting):
    head, history = trained(setting, lr=3e-3)
    losses = [row["loss"] for row in history.epochs]
    assert losses[-1] < losses[0]
    best = max(row["mAP"] for row in history.epochs)
    assert history.epochs[history.best_epoch]["mAP"] == best
    assert not head.training


def test_one_seed_gives_one_result_and_another_seed_another(setting):
    one, two, other = (predict(trained(setting, seed)[0], setting[2]["test"].store) for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_encoder_is_the_same_after_training(setting):
    encoder = setting[0]
    trained(setting)
    assert load_encoder("nano").weights_hash == encoder.weights_hash
    assert not encoder.model.training


def test_the_callback_sees_every_step_and_every_epoch(setting):
    encoder, _, parts = setting
    seen = []
    head = new_head("pa100k", encoder, **SMALL)
    options = TrainOptions(epochs=2, batch_size=16, threads=1)
    fit(head, parts["train"], parts["val"], options, callback=lambda *what: seen.append(what))
    assert [what[:3] for what in seen[:4]] == [(0, 1, 3), (0, 2, 3), (0, 3, 3), (0, 3, 3)]
    assert isinstance(seen[3][3], dict) and len(seen) == 8


def test_unknown_labels_weigh_nothing():
    logits, labels = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
    labels[:, 2] = -1
    moved = logits.clone()
    moved[:, 2] += 5
    assert focal(logits, labels) == focal(moved, labels)


def test_focal_without_focus_and_smoothing_is_binary_cross_entropy():
    logits, labels = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(bce(logits, labels), want)
    # One pair worked by hand: p = 0.8 for a true yes, gamma 2, no smoothing.
    p = torch.tensor([[0.8]])
    torch.testing.assert_close(focal(p.logit(), torch.tensor([[1]]), 2.0, 0.0), -(0.2**2) * p.log().squeeze())


def test_labels_that_do_not_fit_are_named(setting):
    encoder, _, parts = setting
    head = new_head("pa100k", encoder, **SMALL)
    with pytest.raises(BadInput, match="train: 40 features"):
        fit(head, (parts["train"].store, parts["train"].labels[:5]), parts["val"])
    with pytest.raises(BadInput, match="unknown loss"):
        loss_function("hinge")


def test_baselines_have_the_shape_and_range_of_scores(setting):
    encoder, _, parts = setting
    prompts = new_head("pa100k", encoder, **SMALL).prompts
    (probe,) = linear_probe(parts["train"], [parts["test"].store])
    for scores in (constant(parts["train"].labels, 24), zero_shot(encoder, parts["test"].store, prompts), probe):
        assert scores.shape == parts["test"].labels.shape
        assert (scores >= 0).all() and (scores <= 1).all()


def test_a_run_is_saved_scored_and_repeated_exactly(setting, rendered, tmp_path):
    options = TrainOptions(epochs=1, batch_size=16, threads=1)
    for name in ("a", "b"):
        train_run("pa100k", rendered, "nano", 3, tmp_path / name, setting[1], options, **SMALL)
    one, two = evaluate_run(tmp_path / "a"), evaluate_run(tmp_path / "b")
    assert one == two
    assert one["data"]["kind"] == "rendered" and one["data"]["images"] == 24
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "run.json",
        "test.json",
    }
    with pytest.raises(BadInput, match="exists already"):
        train_run("pa100k", rendered, "nano", 3, tmp_path / "a", setting[1], options, **SMALL)


def test_the_commands_print_the_same_json_for_the_same_seed(rendered, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PARLIB_CACHE", str(tmp_path / "cache"))
    printed = []
    for name in ("a", "b"):
        where = ["--root", str(rendered), "--encoder", "nano", "--seed", "0", "--epochs", "1"]
        assert main(["train", "--benchmark", "pa100k", *where, "--out", str(tmp_path / name)]) == 0
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / name), "--split", "test"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    scores = json.loads(printed[0])
    keys = {"mA", "accuracy", "precision", "recall", "f1", "plain_accuracy", "mAP"}
    assert keys <= set(scores) and keys <= set(scores["tuned"])
