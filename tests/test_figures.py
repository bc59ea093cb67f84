"""Figures show what they are given, and titles that they compute state what data built for the purpose show."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from parlib.learn.train import History
from parlib.measure.records import make_record
from parlib.measure.tables import HEAD, attribute_table, cross_domain_losses
from parlib.show import figures

PEOPLE = [Image.new("RGB", (30, 80), colour) for colour in ("white", "gray", "black")]
RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(0, 2, (60, 3)), RNG.random((60, 3))


def drawn(made):
    """The axes of a figure that can be drawn and says what it was told to."""
    made.canvas.draw()
    assert made.get_suptitle() == "Three" and made.get_supxlabel() == "Whose data"
    return made.axes


def test_contact_sheet_shows_every_crop_once_in_its_own_shape():
    axes = drawn(figures.contact_sheet(PEOPLE, ["a", "b", "c"], "Three", "Whose data", columns=2))
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0]
    assert axes[0].images[0].get_array().shape == (80, 30, 3) and axes[2].get_title() == "c"


def test_label_rates_leave_the_unknown_out_and_count_positives():
    labels = np.array([[1, 0, 1], [1, 0, -1], [0, 1, 0], [1, 1, 0]], np.int8)
    (ax,) = drawn(figures.label_rates(labels, labels, list("abc"), "Three", "Whose data"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "b", "a"]
    train = next(line for line in ax.lines if line.get_label() == "train")
    assert train.get_xdata() == pytest.approx([1 / 3, 0.5, 0.75])
    assert [text.get_text() for text in ax.texts[:3]] == ["1", "2", "3"]


def test_training_curves_mark_the_epoch_that_was_kept():
    epochs = [{"epoch": i, "loss": 1 / i, "mA": 0.5 + i / 10, "mAP": 0.4} for i in (1, 2, 3)]
    loss, scores = drawn(figures.training_curves(History(epochs, best_epoch=3), "Three", "Whose data"))
    assert loss.lines[0].get_ydata() == pytest.approx([1, 1 / 2, 1 / 3])
    assert scores.lines[0].get_ydata() == pytest.approx([60, 70, 80]) and scores.lines[2].get_xdata()[0] == 3


def test_attention_overlay_lays_a_map_over_each_crop():
    axes = drawn(figures.attention_overlay(PEOPLE, np.eye(3, 16), list("abc"), "Three", "Whose data"))
    assert [ax.images[1].get_array().shape for ax in axes] == [(4, 4)] * 3
    assert [int(ax.images[1].get_array().argmax()) for ax in axes] == [0, 1, 2]


def test_few_shot_curves_draw_every_draw_and_the_phrase_alone():
    rows = [
        ("hat", "phrase", 0, 0.3),
        *(("hat", s, n, ap) for s in ("phrase", "nothing") for n, ap in ((1, 0.4), (9, 0.6))),
    ]
    table = pd.DataFrame(rows, columns=["attribute", "start", "labels", "AP"])
    (ax,) = drawn(figures.few_shot_curves(table, "Three", "Whose data"))
    assert ax.lines[0].get_ydata()[0] == pytest.approx(30)
    assert ax.lines[1].get_ydata() == pytest.approx([40, 60]) and ax.get_ylabel().endswith("%")


def title_of(figure):
    figure.canvas.draw()  # what cannot be drawn fails here
    return " ".join(figure.get_suptitle().split())


def test_patch_colours_find_height_where_tokens_hold_nothing_else():
    row = np.repeat(np.arange(6), 6)[None, :, None] * np.ones((3, 1, 8))
    title = title_of(figures.patch_colours(PEOPLE, row + RNG.normal(0, 1e-3, (3, 36, 8))))
    assert title.startswith("Three directions hold 100 % of the variance")
    assert title.endswith("height in the picture with |r| = 1.00")
    assert title_of(figures.patch_colours(PEOPLE, RNG.normal(0, 1, (3, 36, 8)), title="Mine")) == "Mine"


def test_attribute_scores_compare_the_last_method_with_the_first():
    per = {
        "prompts": pd.DataFrame({"mA": [0.6, 0.7]}, ["Hat", "Bag"]),
        "probe": {"Hat": {"mA": 0.9}, "Bag": {"mA": 0.6}},
    }
    title = title_of(figures.attribute_scores(per, chance=0.5))
    assert title.startswith(
        "probe is above prompts on 1 of 2 attributes; the difference runs from -10.0 (Bag) to +30.0"
    )
    assert title.endswith("(Hat), mean +10.0")


def test_similarity_maps_say_where_a_prompt_is_found():
    maps = np.zeros((3, 2, 25))
    maps[:, 0, 2] = 1  # the top row of five
    maps[:, 1, 22] = 1  # the bottom one
    made = figures.similarity_maps(PEOPLE, maps, ["a hat", "boots"])
    assert '"a hat" lies at 10 % of the height' in title_of(made)
    assert title_of(made).endswith('"boots" at 90 %')
    assert len(made.axes) == 3 * 3 + 2  # a colour bar a prompt


def test_languages_agree_with_themselves_and_not_with_their_opposite():
    rng = np.random.default_rng(0)
    scores = rng.random((50, 2))
    opposite = np.stack([scores[:, 0], 1 - scores[:, 1]], 1)
    per = {code: pd.DataFrame({"mA": [0.9, 0.6 + plus]}, ["Hat", "Bag"]) for code, plus in (("en", 0.2), ("it", 0))}
    title = title_of(figures.languages(per, {"en": scores, "it": opposite}))
    assert "between 75.0 (it) and 85.0 (en)" in title
    assert "two languages is 0.00 on average and lowest for Bag" in title
    assert "two languages is 1.00 on average" in title_of(figures.languages(per, {"en": scores, "it": scores}))


def test_neighbourhoods_tell_what_features_hold_from_what_they_do_not():
    rng = np.random.default_rng(0)
    domain = np.repeat(["street", "mall"], 60)
    features = rng.normal(0, 0.1, (120, 8)) + np.where(domain == "street", 1, -1)[:, None]
    made = figures.neighbourhoods(features, {"domain": domain, "hat": rng.integers(0, 2, 120)})
    assert title_of(made) == "100 % of an image's 10 nearest neighbours share its domain; chance is 50 %"
    first, second = (ax.get_title() for ax in made.axes)
    assert first == "domain: shared by 100 % (chance 50 %)"
    assert abs(int(second.split("hat: shared by ")[1].split(" %")[0]) - 50) < 8
    places = made.axes[0].collections[0].get_offsets()[:, 0]
    assert len(set(np.sign(places))) == 1, "the map separates what the features separate"


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
