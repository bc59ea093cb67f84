"""`parlib demo`: the page is served on a rendered tree, and noise lowers the score to chance."""

import pytest

from parlib.cli import main
from parlib.data import read_release
from parlib.learn.inputs import prepare
from parlib.learn.train import predict
from parlib.measure.metrics import evaluate
from parlib.show.server import demo_tree
from parlib.use.model import load


def test_noise_lowers_the_score_to_chance(tmp_path):
    model, scores = load("nano-pa100k"), []
    for noise in (0, 0.5, 1):
        test = prepare(read_release("pa100k", demo_tree(tmp_path, noise)), "test", model.encoder, tmp_path)
        scores.append(evaluate(test.labels, predict(model.head, test.store), model.head.thresholds.numpy()).mA)
    assert scores[0] > scores[1] > scores[2] - 0.02 and scores[0] > 0.7
    assert scores[2] == pytest.approx(0.5, abs=0.05)


def test_the_command_serves_the_page_of_that_tree(tmp_path, monkeypatch, capsys):
    served = []
    monkeypatch.setattr("parlib.show.server.launch", lambda *arguments, **wanted: served.append((*arguments, wanted)))
    assert main(["demo", "--cache", str(tmp_path), "--noise", "1", "--port", "9", "--no-browser"]) == 0
    wanted = {"run": "nano-pa100k", "folder": str(tmp_path / "demo" / "noise-1"), "cache": str(tmp_path)}
    assert served == [(9, False, wanted)]
    assert "320 rendered people, noise 1; their score stands above the tabs" in capsys.readouterr().out
    assert main(["demo", "--noise", "2"]) == 2
