"""`parlib demo`: the page is served on a rendered tree, and noise lowers the score to chance."""

import pytest

from parlib.cli import main
from parlib.show.demo import demo_score, demo_tree


def test_noise_lowers_the_score_to_chance(tmp_path):
    scores = [demo_score(demo_tree(tmp_path, noise), tmp_path) for noise in (0, 0.5, 1)]
    assert scores[0] > scores[1] > scores[2] - 0.02 and scores[0] > 0.7
    assert scores[2] == pytest.approx(0.5, abs=0.05)


def test_the_command_serves_the_page_of_that_tree(tmp_path, monkeypatch, capsys):
    served = []
    monkeypatch.setattr("parlib.show.demo.serve", lambda *arguments: served.append(arguments))
    assert main(["demo", "--cache", str(tmp_path), "--noise", "1", "--port", "9", "--no-browser"]) == 0
    assert served == [("nano-pa100k", str(tmp_path / "demo" / "noise-1"), str(tmp_path), 9, False)]
    assert "200 rendered people, noise 1; 50 is chance" in capsys.readouterr().out
    assert main(["demo", "--noise", "2"]) == 2
