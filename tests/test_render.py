"""What the cameras promise: counts, crop sizes, pixels that depend on the generators' states alone."""

import numpy as np
import pytest

from pedsynth.population import sample_person
from pedsynth.render import CAMERAS, render_person


def draw(domain="pa100k", seed=3, looks=None, **options):
    person = sample_person(np.random.default_rng(1), domain)
    looks = None if looks is None else np.random.default_rng(looks)
    return np.asarray(render_person(person, np.random.default_rng(seed), domain, looks=looks, **options))


def test_market_has_six_cameras_and_peta_one_for_each_of_its_ten_sources():
    assert (len(CAMERAS["market1501"]), len(CAMERAS["peta"])) == (6, 10)


@pytest.mark.parametrize("camera", range(6))
def test_every_market_crop_is_64_by_128(camera):
    assert draw("market1501", camera=camera).shape == (128, 64, 3)


@pytest.mark.parametrize("domain", CAMERAS)
def test_the_same_states_give_the_same_pixels_and_another_state_gives_others(domain):
    size = (64, 160)
    assert np.array_equal(draw(domain, looks=5, size=size), draw(domain, looks=5, size=size))
    assert not np.array_equal(draw(domain, looks=5, size=size), draw(domain, seed=4, looks=5, size=size))
    assert not np.array_equal(draw(domain, looks=5, size=size), draw(domain, looks=6, size=size))
