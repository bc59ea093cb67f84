"""The renderer: the same bytes for the same seed, official layouts, and every trait to be seen."""

import dataclasses
import hashlib

import numpy as np
import pytest
from scipy.io import loadmat

from parlib import BadInput, load_benchmark, schema
from parlib.data import labels_of
from pedsynth import synthesize
from pedsynth.labels import labels
from pedsynth.layouts import LAYOUTS, Plan
from pedsynth.person import AGES, BAGS, FOOTWEAR, LOWER_PATTERNS, UPPER_PATTERNS, UPPERS, VIEWS
from pedsynth.population import DOMAINS, sample_person
from pedsynth.render import CAMERAS, render_person


def plain(view="front"):
    """Somebody with nothing on them that could be taken away."""
    person = sample_person(np.random.default_rng(5), "pa100k")
    bare = {"hat": False, "glasses": "none", "muffler": False, "bags": frozenset(), "upper_pattern": "plain"}
    clothes = {"upper": "tshirt", "long_sleeve": False, "v_neck": False, "lower": "trousers", "lower_pattern": "plain"}
    colours = {"upper_colour": "red", "lower_colour": "blue", "footwear": "shoes", "age": "adult", "female": False}
    return dataclasses.replace(person, view=view, long_hair=False, **bare, **clothes, **colours)


def seen(person, seed=3):
    image = render_person(person, np.random.default_rng(seed), "peta", size=(100, 260), camera=8)
    return np.asarray(image, np.int16)


def pixels_changed(change, seeds=range(7)):
    """Pixels that differ clearly from the same person without the trait: the median over several pictures."""
    pairs = ((seen(dataclasses.replace(plain(), **change), s), seen(plain(), s)) for s in seeds)
    return np.median([(np.abs(one - other).max(-1) > 25).sum() for one, other in pairs])


def tree_hash(root):
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("benchmark", LAYOUTS)
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(benchmark, tmp_path):
    sizes = {"train": 6, "val": 3, "test": 3}
    one = synthesize(benchmark, tmp_path / "one", **sizes, workers=1, progress=False)
    two = synthesize(benchmark, tmp_path / "two", **sizes, workers=2, progress=False)
    other = synthesize(benchmark, tmp_path / "other", **sizes, seed=1, workers=1, progress=False)
    assert tree_hash(one) == tree_hash(two)
    pictures = [{v for k, v in tree_hash(root).items() if "/" in k} for root in (one, other)]
    assert not pictures[0] & pictures[1]


@pytest.mark.parametrize("benchmark", LAYOUTS)
def test_another_domain_is_another_picture_in_the_same_layout(benchmark, tmp_path):
    sizes = {"train": 3, "val": 1, "test": 1, "workers": 1, "progress": False}
    trees = [synthesize(benchmark, tmp_path / domain, **sizes, domain=domain) for domain in DOMAINS]
    assert all(len(load_benchmark(benchmark, root, "train")) == 3 for root in trees)
    pictures = [{v for k, v in tree_hash(root).items() if "/" in k} for root in trees]
    assert len(set.union(*pictures)) == sum(map(len, pictures))


def test_the_layout_is_the_official_one(rendered):
    content = loadmat(rendered / "annotation.mat")
    assert content["attributes"].shape == (26, 1) and content["attributes"][0, 0][0] == "Female"
    assert content["test_images_name"].shape == (24, 1)
    assert content["test_images_name"][0, 0][0] == "000065.jpg"
    assert content["test_label"].dtype == np.uint8


def test_labels_read_back_are_those_of_the_people_drawn(rendered):
    read = labels_of(load_benchmark("pa100k", rendered, "val"))
    plan = Plan("pa100k", {"train": 40, "val": 24, "test": 24}, "pa100k", 0)
    people = [plan.people[shot.who] for shot in plan.shots if shot.split == "val"]
    assert np.array_equal(read, [list(labels(person).values()) for person in people])
    assert list(labels(people[0])) == schema("pa100k").names


CHANGES = [
    *({"age": age} for age in AGES if age != "adult"),
    *({"view": view} for view in VIEWS if view != "front"),
    *({"bags": frozenset({bag})} for bag in BAGS),
    *({"upper_pattern": pattern} for pattern in UPPER_PATTERNS if pattern != "plain"),
    *({"lower_pattern": pattern} for pattern in LOWER_PATTERNS if pattern != "plain"),
    *({"upper": upper} for upper in UPPERS if upper != "tshirt"),
    *({"footwear": shoe} for shoe in FOOTWEAR if shoe != "shoes"),
    *({"lower": lower} for lower in ("jeans", "shorts", "short skirt", "skirt", "dress")),
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
    """As many pixels as a pair of glasses has, at least."""
    assert pixels_changed(change) >= 20


@pytest.mark.parametrize("upper", ["shirt", "coat"])
def test_a_formal_cut_can_be_seen(upper):
    casual = dataclasses.replace(plain(), upper=upper, long_sleeve=True)
    formal = dataclasses.replace(casual, formal=True)
    assert formal.formal_upper and formal.formal_lower and not casual.formal_upper
    assert (np.abs(seen(formal) - seen(casual)).max(-1) > 30).sum() >= 25


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_draws_everybody(domain):
    assert domain in CAMERAS
    for i in range(20):
        rng = np.random.default_rng([2, i])
        image = render_person(sample_person(rng, domain), rng, domain)
        assert image.mode == "RGB" and min(image.size) >= 24 and np.asarray(image).std() > 5


def test_a_finished_tree_is_returned_and_nothing_is_overwritten(rendered, tmp_path):
    sizes = {"train": 40, "val": 24, "test": 24}
    before = (rendered / "rendered.json").stat().st_mtime_ns
    assert synthesize("pa100k", rendered, **sizes) == rendered
    assert (rendered / "rendered.json").stat().st_mtime_ns == before
    (tmp_path / "mine.txt").write_text("keep")
    for benchmark in LAYOUTS:
        with pytest.raises(BadInput, match="nothing is overwritten"):
            synthesize(benchmark, rendered, **{**sizes, "test": 25})
        with pytest.raises(BadInput, match="nothing is overwritten"):
            synthesize(benchmark, tmp_path, **sizes)
    assert (tmp_path / "mine.txt").read_text() == "keep" and len(list(tmp_path.iterdir())) == 1


def test_unknown_names_and_sizes_are_named(tmp_path):
    with pytest.raises(BadInput, match="known: pa100k, peta, market1501"):
        synthesize("imagenet", tmp_path / "x", 1, 1, 1)
    for benchmark in LAYOUTS:
        with pytest.raises(BadInput, match="unknown domain 'mars'; known: pa100k, peta, market1501, mixed"):
            synthesize(benchmark, tmp_path / "x", 3, 1, 1, domain="mars")
        with pytest.raises(BadInput, match="train has -1 images"):
            synthesize(benchmark, tmp_path / "x", -1, 1, 1)
        with pytest.raises(BadInput, match="val has 0 images"):
            synthesize(benchmark, tmp_path / "x", 3, 0, 1)
    with pytest.raises(BadInput, match="market1501 needs at least 3"):
        synthesize("market1501", tmp_path / "x", 2, 1, 1)
    with pytest.raises(BadInput, match="workers is 0; it must be at least 1"):
        synthesize("pa100k", tmp_path / "x", 1, 1, 1, workers=0)
    with pytest.raises(BadInput, match="seed is -1"):
        synthesize("pa100k", tmp_path / "x", 1, 1, 1, seed=-1)
    assert not list(tmp_path.iterdir())
