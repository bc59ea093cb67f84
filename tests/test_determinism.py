"""One seed on one machine gives the same bytes; another number of threads the same scores to three decimals."""

import hashlib
import json

import pytest
import torch

from parlib import load_encoder
from parlib.data import read_release
from parlib.learn.inputs import prepare
from parlib.learn.run import evaluate_run, train_run
from parlib.learn.train import TrainOptions


def once(root, place, threads):
    """Features, weights and record of one small training, from nothing: ({path: hash}, record)."""
    torch.set_num_threads(threads)
    cache, run = place / "cache", place / "run"
    prepare(read_release("pa100k", root), "train", load_encoder(), cache, progress=False)
    options = TrainOptions(epochs=2, batch_size=8, threads=threads)
    train_run("pa100k", root, "nano", 3, run, cache, options, preset="recommended", dropout=0.1)
    record = evaluate_run(run)
    files = [*cache.rglob("shard-*"), run / "model.safetensors", run / "test.json"]
    return {str(f.relative_to(place)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}, record


@pytest.fixture(scope="module")
def first(rendered, tmp_path_factory):
    return once(rendered, tmp_path_factory.mktemp("first"), 1)


def test_one_seed_gives_the_same_features_weights_and_record(first, rendered, tmp_path):
    again, record = once(rendered, tmp_path, 1)
    assert len(again) == 5 and again == first[0], "three shards, the head and its record"
    assert json.dumps(record) == json.dumps(first[1])


@pytest.mark.long
def test_two_threads_score_as_one_to_three_decimals(first, rendered, tmp_path):
    _, record = once(rendered, tmp_path, 2)
    for name, value in first[1]["scores"].items():
        assert record["scores"][name] == pytest.approx(value, abs=5e-4), name
