"""The map in process: what it shows, selects, finds and leaves out."""

import importlib.util
import io
import sys

import datasets
import numpy as np
import pytest
import torch

from parlib.data import labels_of, load_benchmark
from parlib.encode.extract import extract
from parlib.errors import BadInput
from parlib.schema import Schema, schema
from parlib.show.explorers import MapExplorer
from parlib.show.explorers.map import layout_of

PA100K = schema("pa100k")


@pytest.fixture
def scores(parts):
    return {"test": np.random.default_rng(0).random((len(parts["test"]), 26)).astype(np.float32)}


@pytest.fixture
def explorer(parts, stores, scores, encoder):
    return MapExplorer(parts, PA100K, stores, scores=scores, encoder=encoder, layout="pca")


def test_the_two_components_hold_the_most_variance_and_keep_their_signs():
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([9, 3, 0])
    place, name = layout_of(features, "pca")
    left, size, _ = np.linalg.svd((features - features.mean(0)).numpy(), full_matrices=False)
    assert np.abs(place) == pytest.approx(np.abs(left * size)[:, :2], abs=1e-3) and "100 % of the variance" in name
    assert (layout_of(features, "pca")[0] == place).all()
    with pytest.raises(BadInput, match="unknown layout 'tsne'; known: pca, umap"):
        layout_of(features, "tsne")


def test_a_selection_is_a_table_and_shows_its_crops(explorer, parts, scores):
    assert "Nothing is selected" in explorer.pictures.value
    explorer.attribute.value = "Hat"
    explorer.select([30, 2])
    chosen, a = explorer.selection, PA100K.index("Hat")
    assert list(chosen["split"]) == ["test", "val"] and list(chosen["row"]) == [6, 2]
    assert list(chosen["image_id"]) == [parts["test"][6]["image_id"], parts["val"][2]["image_id"]]
    assert list(chosen["label"]) == [labels_of(parts["test"])[6, a], labels_of(parts["val"])[2, a]]
    assert chosen["score"].iloc[0] == scores["test"][6, a] and np.isnan(chosen["score"].iloc[1])
    assert explorer.pictures.value.count("<img") == 2 and "2 images selected.</b> Hat:" in explorer.pictures.value
    explorer.select(range(40))
    assert explorer.pictures.value.count("<img") == 24 and "the first 24 are shown" in explorer.pictures.value


def test_pointing_at_an_image_shows_it(explorer, parts):
    explorer.scatter.widget.hovering = 25
    assert f"test {parts['test'][1]['image_id']}" in explorer.hovered.value
    explorer.scatter.widget.hovering = None
    assert explorer.hovered.value == ""


@pytest.mark.parametrize("colour", ["label", "score", "error", "split", "phrase"])
def test_every_colour_is_that_of_the_values(explorer, colour, parts, scores):
    explorer.phrase.value = "a person with a hat"
    explorer.colour.value, explorer.attribute.value = colour, "Trousers"
    found, shown = explorer.scatter.color_data, explorer.scatter.widget.filter
    a, n = PA100K.index("Trousers"), len(parts["val"])
    labels = labels_of(parts["test"])[:, a]
    want = {
        "label": np.array(["no", "yes", "unknown"])[labels],
        "score": scores["test"][:, a],
        "error": np.where(
            (scores["test"][:, a] > 0.5) == labels, "right", np.where(labels == 1, "false negative", "false positive")
        ),
        "split": ["test"] * len(labels),
        "phrase": explorer.features[n:]
        @ torch.nn.functional.normalize(explorer.encoder.encode_prompts(["a person with a hat"]).pooled[0], dim=0),
    }[colour]
    if isinstance(want, torch.Tensor) or colour == "score":
        assert found.to_numpy()[n:] == pytest.approx(np.asarray(want), abs=1e-5)
    else:
        assert list(found[n:]) == list(want)
    hidden = colour in ("score", "error")
    assert (shown is not None and list(shown) == list(range(n, 48))) if hidden else shown is None or len(shown) == 48
    assert (f"{n} images whose {colour} is unknown are hidden" in explorer.caption.value) == hidden


def test_a_phrase_colours_at_once_and_an_empty_one_is_asked_for(explorer):
    explorer.colour.value = "phrase"
    assert "Type a phrase first" in explorer.message.value
    explorer.colour.value = "label"
    explorer.phrase.value = "una persona"
    assert explorer.colour.value == "phrase" and explorer.message.value == ""


def test_the_nearest_images_are_those_of_the_largest_cosine(explorer, parts):
    name = parts["test"][3]["image_id"]
    explorer.near.value = name
    cosine = explorer.features @ explorer.features[24 + 3]
    assert explorer.selection["image_id"].iloc[0] == name and len(explorer.selection) == 12
    assert list(explorer.selection.index) == cosine.argsort(descending=True)[:12].tolist()
    explorer.near.value = "<b>nobody</b>"
    assert "No image &#x27;&lt;b&gt;nobody" in explorer.message.value


def test_an_uploaded_picture_finds_itself(explorer, parts):
    parts["test"][5]["image"].save(file := io.BytesIO(), "PNG")
    sent = {"name": "me.png", "type": "", "size": 1, "content": memoryview(file.getvalue()), "last_modified": 0}
    explorer.upload.set_state({"value": [sent]})
    assert explorer.selection["image_id"].iloc[0] == parts["test"][5]["image_id"]
    explorer.upload.set_state({"value": [{**sent, "content": memoryview(b"no picture")}]})
    assert "is no image" in explorer.message.value


def test_people_are_a_colour_where_they_are_known(rendered_market, encoder, tmp_path):
    part = load_benchmark("market1501", rendered_market, "test")
    store = extract(part, encoder, tmp_path, "test", progress=False)
    explorer = MapExplorer({"test": part}, schema("market1501"), {"test": store}, layout="pca")
    assert list(explorer.colour.options) == ["label", "split", "identity"], "no scores, no encoder"
    explorer.colour.value = "identity"
    colours = explorer.scatter.color_data.to_numpy()
    assert all(len(set(colours[explorer.table["identity"] == who])) == 1 for who in set(part["identity"]))


def test_what_is_left_out_is_counted_and_what_cannot_be_shown_refused(parts, stores, monkeypatch):
    with pytest.warns(UserWarning, match=r"leaves out: 24 images of val without features$"):
        explorer = MapExplorer(parts, PA100K, {"test": stores["test"]}, layout="pca")
    assert len(explorer.table) == 24 and "24 images of val without features" in explorer.caption.value
    with pytest.warns(UserWarning, match="leaves out: 38 of 48 images, drawn at random, to keep 10"):
        explorer = MapExplorer(parts, PA100K, stores, layout="pca", most=10)
    assert len(explorer.table) == len(explorer.features) == len(explorer.labels) == 10
    for split, row, label in zip(explorer.table["split"], explorer.table["row"], explorer.labels, strict=True):
        assert (label == labels_of(parts[split])[row]).all()
    broken = stores["val"].pooled.clone()
    broken[[3, 7]], broken[9] = torch.nan, 0
    monkeypatch.setitem(stores["val"].__dict__, "pooled", broken)
    with pytest.warns(UserWarning, match="3 images of val whose features are zero or not finite"):
        explorer = MapExplorer(parts, PA100K, stores, layout="pca")
    assert len(explorer.table) == 45
    with pytest.raises(BadInput, match=r"no image has features \(24 images of val without features"):
        MapExplorer(parts, PA100K, {})
    with pytest.raises(BadInput, match="features of 24 images for the 3 of val; extract them again"):
        MapExplorer({"val": parts["val"].select(range(3))}, PA100K, stores)
    monkeypatch.setitem(sys.modules, "jscatter", None)
    with pytest.raises(BadInput, match="the map needs jupyter-scatter"):
        MapExplorer(parts, PA100K, stores)


def test_umap_is_taken_where_it_is_installed_and_asked_for_where_not(monkeypatch):
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    if importlib.util.find_spec("umap"):
        place, name = layout_of(features)
        assert name == "UMAP" and place.shape == (40, 2) and np.isfinite(place).all()
        assert (layout_of(features)[0] == place).all(), "the same map every time"
        assert layout_of(features[:3])[1].startswith("the two principal components"), "too few for UMAP"
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(BadInput, match="needs UMAP: pip install umap-learn, or take layout 'pca'"):
        layout_of(features, "umap")


def test_several_benchmarks_are_coloured_apart_and_need_one_schema(parts, stores):
    several = {"pa100k/test": parts["test"], "peta/test": parts["val"]}
    places = MapExplorer(several, PA100K, {"pa100k/test": stores["test"], "peta/test": stores["val"]}, layout="pca")
    places.colour.value = "benchmark"
    assert list(places.scatter.color_data) == ["pa100k"] * 24 + ["peta"] * 24
    with pytest.raises(BadInput, match="labels of val are not the 26 attributes of pa100k: give `labels`"):
        MapExplorer(parts, PA100K, stores, {split: np.zeros((24, 35), np.int8) for split in parts}, layout="pca")


def test_of_a_million_points_a_hundred_thousand_are_drawn_and_that_is_said():
    names = [f"{i}.jpg" for i in range(1_000_000)]
    part = datasets.Dataset.from_dict({"image_id": names, "labels": np.zeros((len(names), 1), np.int8)})
    store = type(
        "Store", (), {"pooled": torch.rand(len(names), 4), "folder": "features", "__len__": lambda self: len(names)}
    )()
    one = Schema.from_dict({"name": "own", "attributes": [{"name": "bag", "prompt": "a person with a bag"}]})
    with pytest.warns(UserWarning, match="leaves out: 900,000 of 1,000,000 images, drawn at random, to keep 100,000"):
        places = MapExplorer(
            {"train": part}, one, {"train": store}, {"train": np.zeros((len(names), 1), int)}, layout="pca"
        )
    assert len(places.table) == 100_000 and "900,000 of 1,000,000 images" in places.caption.value
