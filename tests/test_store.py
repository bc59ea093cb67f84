"""The feature store: rows as they were stored, told apart from others, and every damaged byte found."""

import json
import shutil

import datasets
import numpy as np
import pytest
import torch

from parlib import BadInput, FeatureStore, extract, load_benchmark, load_encoder
from parlib.cli import main
from parlib.encode import extract as extraction
from parlib.encode.store import check_store, images_of


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("nano")


@pytest.fixture(scope="module")
def stored(rendered, encoder, tmp_path_factory):
    """A store of 40 rows without tokens, in three shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "SHARD", 16)
        place, dataset = tmp_path_factory.mktemp("stored"), load_benchmark("pa100k", rendered, "train")
        return extract(dataset, encoder, place, "t", layout="pooled", progress=False)


@pytest.fixture
def folder(stored, tmp_path):
    """A copy of the store that a test may damage."""
    return shutil.copytree(stored.folder, tmp_path / "copy")


def test_rows_come_in_the_order_of_the_indices(stored):
    rows = [0, 17, 3, 39]  # out of order and across shards
    assert len(stored) == 40
    assert torch.equal(stored[rows].pooled.float(), stored.pooled[rows])
    assert torch.equal(stored[np.array(rows)].pooled, stored[torch.tensor(rows)].pooled)
    assert torch.equal(stored[10:20].pooled, stored[list(range(10, 20))].pooled)
    assert stored[[]].pooled.shape == (0, 128)
    for rows in ([40], [-1], torch.tensor([3, 99])):
        with pytest.raises(IndexError, match="of a store of 40"):
            stored[rows]


def test_every_flipped_byte_is_found_by_check(folder, capsys):
    assert main(["check", str(folder)]) == 0
    assert "40 rows; shards 3" in capsys.readouterr().out
    rng = np.random.default_rng(0)
    for file in sorted(folder.glob("shard-*")):
        whole = file.read_bytes()
        for at in {0, len(whole) - 1, *range(60), *rng.integers(0, len(whole), 40).tolist()}:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(rng.integers(8))]) + whole[at + 1 :])
            (problem,) = check_store(folder).problems
            assert problem.startswith(f"{file.name} is damaged"), at
        file.write_bytes(whole)
    assert check_store(folder).usable


def test_a_shard_in_anothers_place_is_found(folder, stored):
    (folder / "shard-00001.safetensors").write_bytes((folder / "shard-00000.safetensors").read_bytes())
    assert check_store(folder).problems == [
        "shard-00001.safetensors is damaged: remove it and run the same `parlib extract` again"
    ]


def test_a_cut_off_shard_is_named_when_it_is_read(folder):
    shard = folder / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"shard-00001\.safetensors cannot be read.*parlib extract"):
        FeatureStore(folder)[[20]]


def test_what_is_no_whole_store_says_what_to_do(folder, tmp_path):
    with pytest.raises(BadInput, match=r"no feature store manifest at .*manifest\.json"):
        FeatureStore(tmp_path)
    (folder / "shard-00001.safetensors").unlink()
    with pytest.raises(BadInput, match="unfinished: 1 shards missing; run the same `parlib extract` again"):
        FeatureStore(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(BadInput, match="another version of parlib"):
        FeatureStore(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"feature store manifest .*manifest\.json cannot be read .*parlib extract"):
        FeatureStore(folder)


def test_images_that_changed_under_a_store_make_another_store(encoder, rendered, tmp_path):
    root = shutil.copytree(rendered, tmp_path / "tree")

    def dataset():
        return load_benchmark("pa100k", root, "val")

    before = extract(dataset(), encoder, tmp_path, "t", layout="pooled", progress=False)
    assert extract(dataset(), encoder, tmp_path, "t", layout="pooled", progress=False).folder == before.folder
    image = root / "data" / dataset()[0]["image_id"]
    image.write_bytes(image.read_bytes() + b"\0\xff\xd9")
    assert extract(dataset(), encoder, tmp_path, "t", layout="pooled", progress=False).folder != before.folder


def test_pictures_in_a_table_are_told_apart_by_content():
    features = datasets.Features({"image_id": datasets.Value("string"), "image": datasets.Image(decode=False)})
    one, other = (
        datasets.Dataset.from_dict({"image_id": ["a"], "image": [{"bytes": content, "path": None}]}, features)
        for content in (b"same size", b"size same")
    )
    assert images_of(one) != images_of(other)


def test_rows_in_memory_are_the_rows_of_the_file(stored, monkeypatch):
    held = stored.resident(torch.device("cpu"))
    assert held is not stored and len(held) == len(stored)
    for rows in (slice(3, 9), [5, 0, 5], torch.tensor([1, 2])):
        for one, other in zip(stored[rows], held[rows], strict=True):
            assert one.dtype == other.dtype and torch.equal(one, other)
    assert torch.equal(held.pooled, stored.pooled) and held.folder == stored.folder
    monkeypatch.setattr("parlib.encode.store.memory_budget", lambda device: 1000)
    assert stored.resident(torch.device("cpu")) is stored
