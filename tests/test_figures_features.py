"""Titles that figures of features compute state what data built for the purpose show."""

import numpy as np
import pandas as pd
from PIL import Image

from parlib.show import figures

PEOPLE = [Image.new("RGB", (30, 80), colour) for colour in ("white", "gray", "black")]


def title_of(figure):
    figure.canvas.draw()  # what cannot be drawn fails here
    return " ".join(figure.get_suptitle().split())


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


def test_attribute_scores_compare_the_last_method_with_the_first():
    per = {
        "prompts": {"Hat": {"mA": 0.6}, "Bag": {"mA": 0.7}},
        "probe": {"Hat": {"mA": 0.9}, "Bag": {"mA": 0.6}},
    }
    title = title_of(figures.attribute_scores({name: pd.DataFrame(each).T for name, each in per.items()}, chance=0.5))
    assert title.startswith(
        "probe is above prompts on 1 of 2 attributes; the difference runs from -10.0 (Bag) to +30.0"
    )
    assert title.endswith("(Hat), mean +10.0")
