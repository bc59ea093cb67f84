"""Figures of a benchmark and of training draw what they are given."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from parlib.show import figures

PEOPLE = [Image.new("RGB", (30, 80), colour) for colour in ("white", "gray", "black")]
LABELS = np.array([[1, 0, 1], [1, 0, -1], [0, 1, 0], [1, 1, 0]], np.int8)


def drawn(made, title):
    """The axes of a figure that can be drawn and says what it was told to."""
    made.canvas.draw()
    assert made.get_suptitle() == title and made.get_supxlabel() == "Whose data"
    return made.axes


def told(title):
    return {"title": title, "caption": "Whose data"}


def test_contact_sheet_shows_every_crop_once_in_its_own_shape():
    axes = drawn(figures.contact_sheet(PEOPLE, ["a", "b", "c"], **told("Three"), columns=2), "Three")
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0]
    assert axes[0].images[0].get_array().shape == (80, 30, 3) and axes[2].get_title() == "c"


def test_label_rates_leave_the_unknown_out_and_count_positives():
    (ax,) = drawn(figures.label_rates(LABELS, LABELS, list("abc"), **told("Rare")), "Rare")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "b", "a"]
    train = next(line for line in ax.lines if line.get_label() == "train")
    assert train.get_xdata() == pytest.approx([1 / 3, 0.5, 0.75])
    assert [text.get_text() for text in ax.texts[:3]] == ["1", "2", "3"]


def test_few_shot_curves_draw_every_draw_and_the_phrase_alone():
    rows = [
        ("hat", "phrase", 0, 0.3),
        *(("hat", s, n, ap) for s in ("phrase", "nothing") for n, ap in ((1, 0.4), (9, 0.6))),
    ]
    table = pd.DataFrame(rows, columns=["attribute", "start", "labels", "AP"])
    (ax,) = drawn(figures.few_shot_curves(table, **told("Few labels")), "Few labels")
    assert ax.lines[0].get_ydata()[0] == pytest.approx(30)
    assert ax.lines[1].get_ydata() == pytest.approx([40, 60]) and ax.get_ylabel().endswith("%")
