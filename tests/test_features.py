"""The feature store: equal to encoding now, found the second time, finished after a stop, told apart from others."""

import hashlib

import numpy as np
import pytest
import torch

from parlib import BadInput, FeatureStore, extract, load_benchmark, load_encoder
from parlib.encode import features


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("nano")


@pytest.fixture
def dataset(rendered, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 16)  # several shards from few images
    return load_benchmark("pa100k", rendered, "train")


def bytes_of(store):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(store.folder.iterdir())}


def test_a_store_holds_what_the_encoder_says(dataset, encoder, tmp_path):
    store = extract(dataset, encoder, tmp_path, "t", dtype="fp32", batch_size=8, progress=False)
    assert len(store) == len(dataset)
    rows = [0, 17, 3, 39]  # out of order and across shards
    want = encoder.encode_images([dataset[i]["image"] for i in rows])
    torch.testing.assert_close(store[rows].tokens, want.tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(store[rows].pooled, want.pooled, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(store.pooled[rows], store[rows].pooled)


def test_the_second_call_encodes_nothing(dataset, encoder, tmp_path, monkeypatch):
    first = extract(dataset, encoder, tmp_path, "t", progress=False)
    monkeypatch.setattr(type(encoder), "encode_images", lambda *_: pytest.fail("encoded again"))
    assert extract(dataset, encoder, tmp_path, "t", progress=False).folder == first.folder


def test_a_stopped_extraction_goes_on_and_ends_with_the_same_bytes(dataset, encoder, tmp_path, monkeypatch):
    whole = extract(dataset, encoder, tmp_path / "whole", "t", batch_size=8, progress=False)
    saved, save = [], features.save_file

    def stop_after_one(*arguments):
        if saved:
            raise KeyboardInterrupt
        saved.append(save(*arguments))

    monkeypatch.setattr(features, "save_file", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        extract(dataset, encoder, tmp_path / "stopped", "t", batch_size=8, progress=False)
    folder = next((tmp_path / "stopped").iterdir())
    with pytest.raises(BadInput, match="unfinished: 2 shards missing"):
        FeatureStore(folder)
    monkeypatch.setattr(features, "save_file", save)
    resumed = extract(dataset, encoder, tmp_path / "stopped", "t", batch_size=8, progress=False)
    assert bytes_of(resumed) == bytes_of(whole)


def test_other_images_or_another_dtype_are_another_store(dataset, encoder, tmp_path):
    folders = {
        extract(dataset, encoder, tmp_path, "t", progress=False).folder,
        extract(dataset, encoder, tmp_path, "t", dtype="bf16", progress=False).folder,
        extract(dataset.select(range(20)), encoder, tmp_path, "t", progress=False).folder,
    }
    assert len(folders) == 3


def test_bad_input_is_named(dataset, encoder, tmp_path):
    with pytest.raises(BadInput, match="fp16, bf16, fp32"):
        extract(dataset, encoder, tmp_path, "t", dtype="int8")
    with pytest.raises(BadInput, match=r"no manifest\.json"):
        FeatureStore(tmp_path)
    with pytest.raises(BadInput, match="no image"):
        extract(dataset.select(np.arange(0)), encoder, tmp_path, "t")
