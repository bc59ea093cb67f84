"""The renderer: the same bytes for the same seed, official layouts, and every trait to be seen."""

import dataclasses
import hashlib

import numpy as np
import pytest
from scipy.io import loadmat

from parlib import BadInput, load_benchmark, schema
from parlib.data import labels_of
from parlib.data.synthetic import synthesize
from parlib.data.synthetic.labels import labels
from parlib.data.synthetic.person import AGES, BAGS, FOOTWEAR, LOWER_PATTERNS, UPPER_PATTERNS, UPPERS, VIEWS
from parlib.data.synthetic.population import DOMAINS, sample_person
from parlib.data.synthetic.render import CAMERAS, render_person


def plain(view="front"):
    """Somebody with nothing on them that could be taken away."""
    person = sample_person(np.random.default_rng(5), "pa100k")
    bare = {"hat": False, "glasses": "none", "muffler": False, "bags": frozenset(), "upper_pattern": "plain"}
    clothes = {"upper": "tshirt", "long_sleeve": False, "v_neck": False, "lower": "trousers", "lower_pattern": "plain"}
    colours = {"upper_colour": "red", "lower_colour": "blue", "footwear": "shoes", "age": "adult", "female": False}
    return dataclasses.replace(person, view=view, long_hair=False, **bare, **clothes, **colours)


def seen(person):
    image = render_person(person, np.random.default_rng(3), "pa100k", size=(100, 260))
    return np.asarray(image, np.int16)


def tree_hash(root):
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path):
    sizes = {"train": 6, "val": 3, "test": 3}
    one = synthesize("pa100k", tmp_path / "one", **sizes, workers=1, progress=False)
    two = synthesize("pa100k", tmp_path / "two", **sizes, workers=2, progress=False)
    other = synthesize("pa100k", tmp_path / "other", **sizes, seed=1, workers=1, progress=False)
    assert tree_hash(one) == tree_hash(two)
    assert tree_hash(one)["data/000001.jpg"] != tree_hash(other)["data/000001.jpg"]


def test_the_layout_is_the_official_one(rendered):
    content = loadmat(rendered / "annotation.mat")
    assert content["attributes"].shape == (26, 1) and content["attributes"][0, 0][0] == "Female"
    assert content["test_images_name"].shape == (24, 1)
    assert content["test_images_name"][0, 0][0] == "000065.jpg"
    assert content["test_label"].dtype == np.uint8


def test_labels_read_back_are_those_of_the_people_drawn(rendered):
    read = labels_of(load_benchmark("pa100k", rendered, "val"))
    people = [sample_person(np.random.default_rng([0, 1, i]), "pa100k", "val") for i in range(24)]
    assert np.array_equal(read, [list(labels(person).values()) for person in people])
    assert list(labels(people[0])) == schema("pa100k").names


def test_exclusive_sets_hold_and_rates_are_near_the_originals():
    known = schema("pa100k")
    people = [sample_person(np.random.default_rng([1, i]), "pa100k", "train") for i in range(6000)]
    values = np.array([list(labels(person).values()) for person in people])
    for group in known.exclusive:
        yes = values[:, [known.index(name) for name in group.members]].sum(1)
        assert (yes == 1).all() if group.exactly_one else (yes <= 1).all()
    original = {"Female": 0.456, "Back": 0.357, "Hat": 0.044, "Glasses": 0.179, "HandBag": 0.184, "ShoulderBag": 0.191}
    original |= {"ShortSleeve": 0.586, "UpperPlaid": 0.109, "LongCoat": 0.028, "Shorts": 0.174, "Skirt&Dress": 0.117}
    for name, rate in original.items():
        assert values[:, known.index(name)].mean() == pytest.approx(rate, abs=0.04), name


def test_a_test_split_of_default_size_has_positives_of_everything(tmp_path):
    from parlib.data.synthetic import _people

    values = np.array([list(labels(p).values()) for _, p in _people({"train": 1, "val": 1, "test": 400}, "pa100k", 0)])
    assert values[2:].sum(0).min() >= 4


CHANGES = [
    *({"age": age} for age in AGES if age != "adult"),
    *({"view": view} for view in VIEWS if view != "front"),
    *({"bags": frozenset({bag})} for bag in BAGS),
    *({"upper_pattern": pattern} for pattern in UPPER_PATTERNS if pattern != "plain"),
    *({"lower_pattern": pattern} for pattern in LOWER_PATTERNS if pattern != "plain"),
    *({"upper": upper} for upper in UPPERS if upper != "tshirt"),
    *({"footwear": shoe} for shoe in FOOTWEAR if shoe != "shoes"),
    *({"lower": lower} for lower in ("jeans", "shorts", "skirt", "dress")),
    {"female": True},
    {"long_hair": True},
    {"hat": True},
    {"glasses": "glasses"},
    {"glasses": "sunglasses"},
    {"muffler": True},
    {"long_sleeve": True},
    {"v_neck": True},
    {"upper_colour": "green"},
    {"lower_colour": "yellow"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(map(str, *change.items())))
def test_every_trait_can_be_seen(change):
    """Pixels that differ clearly from the same person without the trait: at least as many as a pair of glasses has."""
    with_trait, without = seen(dataclasses.replace(plain(), **change)), seen(plain())
    assert (np.abs(with_trait - without).max(-1) > 30).sum() >= 25


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_draws_everybody(domain):
    assert domain in CAMERAS
    for i in range(20):
        rng = np.random.default_rng([2, i])
        image = render_person(sample_person(rng, domain), rng, domain)
        assert image.mode == "RGB" and min(image.size) >= 40 and np.asarray(image).std() > 5


def test_a_finished_tree_is_returned_and_nothing_is_overwritten(rendered, tmp_path):
    sizes = {"train": 40, "val": 24, "test": 24}
    before = (rendered / "rendered.json").stat().st_mtime_ns
    assert synthesize("pa100k", rendered, **sizes) == rendered
    assert (rendered / "rendered.json").stat().st_mtime_ns == before
    with pytest.raises(BadInput, match="nothing is overwritten"):
        synthesize("pa100k", rendered, **{**sizes, "test": 25})
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BadInput, match="nothing is overwritten"):
        synthesize("pa100k", tmp_path, **sizes)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_unknown_names_and_sizes_are_named(tmp_path):
    with pytest.raises(BadInput, match="known: pa100k"):
        synthesize("imagenet", tmp_path / "x", 1, 1, 1)
    with pytest.raises(BadInput, match="unknown domain 'mars'"):
        synthesize("pa100k", tmp_path / "x", 1, 1, 1, domain="mars")
    with pytest.raises(BadInput, match="train has -1 images"):
        synthesize("pa100k", tmp_path / "x", -1, 1, 1)
    assert not (tmp_path / "x").exists()
