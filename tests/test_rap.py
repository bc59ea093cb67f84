"""RAPv1 and RAPv2: layouts as released, uncertain is unknown, partitions, published indices, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat

from parlib import BadInput, load_benchmark
from parlib.data import check, labels_of, read_release, schema_of
from parlib.data.formats import read_table, to_labels
from parlib.files import digest
from parlib.schema import schema
from pedsynth import synthesize
from pedsynth.labels import labels
from pedsynth.layouts import Plan

SIZES = {"train": 40, "val": 24, "test": 24}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Version -> a small rendered tree."""
    root = tmp_path_factory.mktemp("rap")
    return {v: synthesize(v, root / v, **SIZES, workers=1, progress=False) for v in ("rapv1", "rapv2")}


@pytest.fixture
def broken(tmp_path, trees):
    """Writes RAPv2's file with some fields changed; returns its folder."""

    def write(**changed):
        rap = loadmat(trees["rapv2"] / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
        fields = {name: rap[name] for name in rap.dtype.names} | changed
        fields = {name: value for name, value in fields.items() if value is not None}
        savemat(tmp_path / "RAP_annotation.mat", {"RAP_annotation": fields})
        return tmp_path

    return write


@pytest.mark.parametrize(("version", "count"), [("rapv1", 51), ("rapv2", 54)])
def test_the_labels_read_are_those_of_the_people_drawn(version, count, trees):
    plan = Plan(version, SIZES, "mixed", 0)
    who = {shot.path.split("/")[1]: shot.who for shot in plan.shots}
    uncertain = {shot.path.split("/")[1] for shot in plan.shots[::20]}
    test = load_benchmark(version, trees[version], "test")
    assert len(test) == 24 and test[0]["image"].mode == "RGB" and schema_of(test) == schema(version)
    for name, row in zip(test["image_id"], labels_of(test), strict=True):
        drawn = list(labels(plan.people[who[name]], version).values())
        assert row[0] == (-1 if name in uncertain else drawn[0]) and row[1:].tolist() == drawn[1:]
    assert len(row) == count
    report = check(trees[version])
    assert report.usable and report.kind == version and sum(f["rows"] for f in report.splits.values()) == 88
    assert f"not among the {count} of {version}" in report.to_text() and " and " in report.to_text()


def test_the_file_has_the_fields_of_the_release(trees):
    first, second = (
        loadmat(trees[v] / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0] for v in ("rapv1", "rapv2")
    )
    assert first["label"].shape == (88, 92) and first["partion"][0, 0]["train"][0, 0].shape == (1, 64)
    assert [cell[0][0] for cell in first["attribute_eng"][:2]] == ["Female", "AgeLess16"]
    assert second["data"].shape == (88, 152) and second["selected_attribute"].shape == (1, 54)
    assert second["partition_attribute"].shape == (1, 5)
    assert [cell[0][0] for cell in second["attribute"][:54]] == schema("rapv2").names


def test_partitions_of_both(trees):
    first = read_release("rapv1", trees["rapv1"])
    assert {split: len(part.names) for split, part in first.splits.items()} == {"train": 53, "val": 11, "test": 24}
    assert "one in six is val" in first.notes[0] and first.kind == "rendered" and first.partition == "0"
    parts = [read_release("rapv2", trees["rapv2"], partition=i) for i in range(5)]
    assert len({tuple(part.listing("test").names) for part in parts}) == 5
    assert all(len(part.listing("all").names) == 88 for part in parts)
    apart = read_release("rapv2", trees["rapv2"], partition="identity-disjoint-seed0")
    people = [set(apart.listing(split).identity) for split in ("trainval", "test")]
    assert not people[0] & people[1] and sum("nobody else" in who for who in apart.listing("all").identity) == 22
    assert read_release("rapv2", trees["rapv2"], attributes="111").schema == schema("rapv2all")
    with pytest.raises(
        BadInput, match=r"rapv1: no partition|no partition 'identity-disjoint-seed0'; there are 0\.\.4, or"
    ):
        read_release("rapv1", trees["rapv1"], partition="identity-disjoint-seed0")
    with pytest.raises(BadInput, match=r"no partition 5; there are 0\.\.4"):
        read_release("rapv2", trees["rapv2"], partition=5)


@pytest.mark.parametrize("form", ["json", "numbers.json", "csv", "folder", "numbers"])
def test_an_index_of_rap_zs_is_read_in_every_form(form, trees, tmp_path):
    names = read_release("rapv2", trees["rapv2"]).listing("all").names
    order = [
        cell[0][0]
        for cell in loadmat(trees["rapv2"] / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]["name"]
    ]
    wanted = {"train": order[:50], "val": order[50:60], "test": order[60:80]}
    numbers = {split: [order.index(name) + 1 for name in part] for split, part in wanted.items()}
    path = tmp_path / f"index.{form.split('.')[-1]}"
    if "json" in form:
        path.write_text(json.dumps(numbers if "numbers" in form else wanted))
    elif form == "csv":
        rows = [(f"RAP_dataset/{name}", split) for split, part in wanted.items() for name in part]
        pd.DataFrame(rows, columns=["image", "split"]).to_csv(path, index=False)
    else:
        path = tmp_path / "lists"
        path.mkdir()
        for split, part in (numbers if form == "numbers" else wanted).items():
            (path / f"{split}.txt").write_text("\n".join(map(str, part)))
    release = read_release("rapv2", trees["rapv2"], partition=path, attributes="53")
    assert {split: part.names for split, part in release.splits.items()} == wanted and set(names) == set(order)
    hashed = digest({split: sorted(part) for split, part in wanted.items()})  # whatever the order and the form
    assert release.notes[0].endswith(f"Index SHA-256 {hashed}.")
    assert len(release.schema) == 53 and "Age46-60" not in release.schema.names and release.schema.name == "rapv2"
    if path.is_file():
        assert read_release("rapv2", trees["rapv2"], partition=path).schema == release.schema  # as RAP_ZS is scored


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"train": [1, 2], "test": [3, 90]}, r"index\.json: 1 image\(s\) are not in the benchmark, first 90"),
        ({"train": [0, 1], "test": [2]}, "first 0; numbers count from 1: add 1"),
        ({"train": [1], "val": [2], "test": []}, "no images in test"),
        ([1, 2], "expected JSON"),
    ],
)
def test_an_index_out_of_range_is_refused(content, match, trees, tmp_path):
    path = tmp_path / "index.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=match):
        read_release("rapv2", trees["rapv2"], partition=path)


def test_a_pickled_index_is_refused_with_the_way_to_convert_it(trees, tmp_path):
    path = tmp_path / "index.pkl"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=r"pickle files can run code.*split \+ '_idx'"):
        read_release("rapv2", trees["rapv2"], partition=path)


def test_what_is_no_rap_is_refused_by_name(trees, tmp_path, broken):
    with pytest.raises(BadInput, match=r"no RAP: looked for RAP_annotation/RAP_annotation\.mat, found an empty folder"):
        read_release("rapv1", tmp_path)
    for mine, other in (("rapv1", "rapv2"), ("rapv2", "rapv1")):
        with pytest.raises(BadInput, match=f"is {other}'s file, not {mine}'s; read it with --benchmark {other}"):
            read_release(mine, trees[other])
    with pytest.raises(BadInput, match="looked for 'partition_attribute', found"):
        read_release("rapv2", broken(partition_attribute=None), images=False)
    with pytest.raises(BadInput, match=r"labels are \(88, 151\), expected 88 rows"):
        read_release("rapv2", broken(data=np.zeros((88, 151))), images=False)
    with pytest.raises(BadInput, match="87 identities for 88 images"):
        read_release("rapv2", broken(person_identity=np.ones((87, 1))), images=False)
    with pytest.raises(BadInput, match="column Femal, row 1: its codes do not declare '7'"):
        read_release("rapv2", broken(data=np.full((88, 152), 7)), images=False)
    with pytest.raises(BadInput, match="no attribute list '35'; there is 54, 53, 111"):
        read_release("rapv2", trees["rapv2"], attributes="35")
    names = np.array([[np.array([f"a{i}"])] for i in range(152)] + [None], object)[:-1].reshape(-1, 1)
    with pytest.raises(BadInput, match=r"not the attributes of rapv2: missing \['Femal'"):
        read_release("rapv2", broken(attribute=names), images=False)
    for wrong in (broken(data=np.zeros((88, 151))), trees["rapv2"] / "RAP_dataset"):
        assert not check(wrong, images=False).usable


def test_missing_pictures_are_counted(broken):
    with pytest.raises(BadInput, match="24 of 24 images are missing"):
        load_benchmark("rapv2", broken(), "test")


@pytest.mark.real
def test_order_rates_and_sets_fit_real_labels(real_data):
    """8,317 rows of RAPv1: rates that the order alone makes plausible, no row that breaks a set, 27 uncertain cells."""
    table = read_table(real_data / "lists" / "alm_rap_test.txt")
    known = schema("rapv1")
    found = to_labels(table.iloc[:, 1:].set_axis(known.names, axis=1), known, "alm_rap_test.txt", [])
    assert found.shape == (8317, 51) and (found == -1).sum() == 27
    assert not any(rows.any() for rows in known.contradictions(found).values())
    rates = {name: (found[:, i] == 1).mean() for i, name in enumerate(known.names)}
    expected = {"hs-BlackHair": 0.944, "Customer": 0.95, "BodyNormal": 0.743, "Female": 0.299, "lb-LongTrousers": 0.558}
    expected |= {"hs-BaldHead": 0.004, "ub-ShortSleeve": 0.02, "shoes-Cloth": 0.012, "action-CarrybyHand": 0.131}
    assert {name: round(rates[name], 3) for name in expected} == expected
    skirts = found[:, [known.index(name) for name in ("lb-Skirt", "lb-ShortSkirt", "lb-Dress")]] == 1
    assert (found[skirts.any(1), known.index("Female")] == 1).mean() > 0.97
    order = known.permutation("group")
    assert [known.names[i] for i in order[:2]] == ["hs-BaldHead", "hs-LongHair"] and known.names[
        order[-1]
    ] == "action-CarrybyHand"


def test_a_damaged_file_is_a_problem_and_no_crash(tmp_path):
    (tmp_path / "RAP_annotation").mkdir()
    (tmp_path / "RAP_annotation" / "RAP_annotation.mat").write_bytes(b"not a MATLAB file")
    for root in (tmp_path, tmp_path / "RAP_annotation", tmp_path / "RAP_annotation" / "RAP_annotation.mat"):
        report = check(root)
        assert not report.usable and "RAP_annotation.mat" in report.problems[0], report.to_text()
