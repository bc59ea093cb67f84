"""UPAR's table over the folders of its domains: recognised, read in its order, one domain left out at a time."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import parlib
from parlib import BadInput, load_benchmark
from parlib.data import check, labels_of, read_release, schema_of
from parlib.learn.plan import plan, splits
from parlib.measure.rows import published
from parlib.schema import schema

NAMES = schema("upar").names
DOMAINS = ("Market1501/bounding_box_train", "PA100k/data", "PETA/images", "RAPv2/RAP_dataset")


@pytest.fixture
def tree(tmp_path):
    """40 pictures in four domains, with the table where the challenge puts it."""
    rows, rng = [], np.random.default_rng(0)
    for domain in DOMAINS:
        (tmp_path / domain).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 20), (i, 0, 0)).save(tmp_path / domain / f"{i}.png")
            rows.append([f"{domain}/{i}.png", *rng.integers(0, 2, 40)])
    (tmp_path / "phase1" / "train").mkdir(parents=True)
    pd.DataFrame(rows, columns=["# Image", *NAMES]).to_csv(tmp_path / "phase1" / "train" / "train.csv", index=False)
    return tmp_path


def test_the_table_is_recognised_and_read_in_its_order(tree):
    report = check(tree)
    assert report.kind == "upar" and not report.problems, report.to_text()
    table = pd.read_csv(tree / "phase1" / "train" / "train.csv")
    data = load_benchmark("upar", tree, "train")
    assert data["image_id"] == table["# Image"].tolist() and (labels_of(data) == table[NAMES].to_numpy()).all()
    assert schema_of(data) == schema("upar") and data[0]["image"].size == (8, 20)
    assert read_release("upar", tree).kind == "other"


@pytest.mark.parametrize("domain", ["Market1501", "PA100k", "PETA", "RAPv2"])
def test_each_domain_can_be_left_out(domain, tree):
    release = read_release("upar", tree, partition=f"leave-{domain}-out")
    homes = {split: {name.split("/")[0] for name in part.names} for split, part in release.splits.items()}
    assert homes["test"] == {domain} and domain not in homes["train"] | homes["val"]
    assert [len(release.splits[split].names) for split in ("train", "val", "test")] == [26, 4, 10]
    assert release.partition == f"leave-{domain}-out" and f"Test is {domain}" in release.notes[-1]


def test_the_plan_leaves_each_domain_out_and_encodes_every_image_once(tree, tmp_path_factory):
    data, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    (data / "upar").symlink_to(tree)
    profile = replace(parlib.profile("small", cache=cache, runs=cache / "runs"), name="paper", data=data)
    cells = plan(profile, methods=["constant"])
    domains = ["Market1501", "PA100k", "PETA", "RAPv2"]
    assert [cell.name for cell in cells] == [f"upar-leave-{domain}-out-constant-seed0" for domain in domains]
    names = read_release("upar", tree).listing("train").names
    pooled = []
    for cell in cells:
        parts = splits(cell, profile)
        left_out = read_release("upar", tree, partition=cell.partition)
        pooled.append({})
        for split, part in parts.items():
            assert part.labels.tolist() == left_out.listing(split).labels.tolist()
            pooled[-1].update(zip(left_out.listing(split).names, map(tuple, part.store.pooled.tolist()), strict=True))
    assert set(pooled[0]) == set(names) and all(one == pooled[0] for one in pooled)
    assert len(list((cache / "features").glob("upar-*"))) == 1


def test_an_index_is_a_partition_and_what_is_missing_is_named(tree, tmp_path):
    index = tree / "index.json"
    index.write_text(json.dumps({"train": [1, 2], "val": [3], "test": [40]}))
    assert read_release("upar", tree, partition=index).listing("test").names == ["RAPv2/RAP_dataset/9.png"]
    index.write_text(json.dumps({"train": [1], "val": [3], "test": [41]}))
    with pytest.raises(BadInput, match="not in the benchmark, first 41"):
        read_release("upar", tree, partition=index)
    with pytest.raises(BadInput, match="cannot leave out 'MIT'; its domains are Market1501, PA100k, PETA, RAPv2"):
        read_release("upar", tree, partition="leave-MIT-out")
    with pytest.raises(BadInput, match="no UPAR: looked for a CSV with its 40 attributes"):
        read_release("upar", tree / "PETA")
    (tree / "PETA" / "images" / "0.png").unlink()
    assert not check(tree).usable


@pytest.mark.real
def test_the_header_of_the_challenge_is_recognised(real_data, tmp_path):
    text = (real_data / "lists" / "upar_header_sample.csv").read_text()
    (tmp_path / "sample.csv").write_text(text)
    report = check(tmp_path, images=False)
    assert report.kind == "upar" and sum(found["rows"] for found in report.splits.values()) == 2


def test_rows_that_others_printed():
    for benchmark, value in {"rapv1": 79.27, "rapv2": 78.52, "peta_zs": 71.43, "rap_zs": 71.76}.items():
        row = published(benchmark)[0]
        assert row["scores"]["mA"] == value and row["protocol"] == "rethinking" and "README" in row["caveat"]
