"""Figures of measures show the numbers they are given."""

import numpy as np
import pytest

from parlib.measure.records import make_record
from parlib.measure.tables import HEAD, attribute_table, cross_domain_losses
from parlib.show import figures

RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(0, 2, (60, 3)), RNG.random((60, 3))


def record(method=HEAD, trained=None, benchmark="pa100k", scores=SCORES, labels=LABELS, **setting):
    trained_on = {"benchmark": trained, "view": trained and "upar"}
    setting = {"encoder": "nano", "seed": 0, "trained_on": trained_on, **setting}
    data = {"benchmark": benchmark, "kind": "rendered", "split": "test"} | ({"view": "upar"} if trained else {})
    return make_record(method, setting, data, labels, scores, None, list("abc"))


def points(ax, label):
    line = next(line for line in ax.lines if str(line.get_label()).startswith(label))
    return np.stack([line.get_xdata(), line.get_ydata()], axis=1)


def test_calibration_of_labels_drawn_from_the_probabilities_lies_on_the_diagonal():
    scores = RNG.random((4000, 3))
    labels = (RNG.random(scores.shape) < scores).astype(int)
    good, bad = (record(name, scores=p, labels=labels) for name, p in (("good", scores), ("bad", 1 - scores)))
    ax = figures.calibration([good, bad]).axes[0]
    assert np.abs(np.diff(points(ax, "good"))).max() < 0.05
    errors = [float(t.get_text().split()[-1]) for t in ax.get_legend().get_texts()]
    assert errors[0] < 2 and errors[1] == pytest.approx(50, abs=2)


def test_calibration_draws_a_curve_for_each_setting_over_its_seeds():
    runs = [record("probe", seed=0), record("probe", seed=1), record("probe", C=0.1), record("probe", weights="other")]
    texts = [t.get_text() for t in figures.calibration(runs).axes[0].get_legend().get_texts()]
    assert [text.split(", error")[0] for text in texts] == [
        "probe (C none), rendered, 60 images, nano (weights none)",
        "probe (C 0.1)",
        "probe (C none), rendered, 60 images, nano (weights other)",
    ]
    of_two = figures.calibration([record("probe"), record("probe", benchmark="peta")]).axes[0].get_legend().get_texts()
    assert [text.get_text().split(",")[0] for text in of_two] == ["probe (benchmark pa100k)", "probe (benchmark peta)"]


def test_strengths_draws_every_attribute_once_with_its_positives():
    table = attribute_table([record(), record("linear probe", scores=1 - SCORES)], "pa100k")
    ax = figures.strengths(table).axes[0]
    names = [text.get_text().split()[0] for text in ax.get_yticklabels()]
    assert sorted(names) == list("abc")
    assert points(ax, HEAD)[:, 0].tolist() == table.sort_values("lead")[HEAD].tolist()
    assert points(ax, "best")[:, 0] == pytest.approx(table.sort_values("lead")["linear probe"].tolist())
    lead, title = table["lead"], " ".join(ax.figure.get_suptitle().split())
    assert f"on {(lead > 0).sum()} of 3 attributes, most on {lead.idxmax()} ({lead.max():+.1f})" in title
    assert title.endswith(f"furthest behind on {lead.idxmin()} ({lead.min():+.1f})")


def test_domain_losses_draws_home_against_away_one_panel_a_test_set():
    records = [
        record(trained=a, benchmark=b, scores=SCORES if a == b else 1 - SCORES)
        for a in ("pa100k", "peta")
        for b in ("pa100k", "peta")
    ]
    losses = cross_domain_losses(records)
    made = figures.domain_losses(losses)
    away = losses[losses["trained_on"] != losses["tested_on"]].groupby("tested_on")[["home", "away"]].mean()
    worst = 100 * (away["away"] - away["home"]).min()
    assert f"({worst:+.1f} points) and least on" in " ".join(made.get_suptitle().split())
    assert [ax.get_title(loc="left") for ax in made.axes] == ["tested on peta", "tested on pa100k"]
    assert len(points(made.axes[0], "from pa100k")) == 3
