import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parlib.data import read_release
from parlib.data.partition import disjoint, fold, read_index, rows_by_split, split_of_file
from parlib.errors import BadInput
from parlib.measure.records import read_records

ROOT = Path(__file__).parents[1]
NAMES = [f"{number:05d}.png" for number in range(1, 21)]


def test_disjoint_is_the_same_everywhere():
    keys = [str(i // 2) for i in range(20)]
    rows = disjoint(keys, {"train": 10, "val": 4, "test": 6}, seed=0)
    assert rows == disjoint(keys, {"train": 10, "val": 4, "test": 6}, seed=0)
    assert sorted(itertools.chain(*rows.values())) == list(range(20))
    assert [len(part) for part in rows.values()] == [10, 4, 6]
    people = [{keys[row] for row in part} for part in rows.values()]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_dealing_leaves_no_split_empty_where_there_are_three_people(keys):
    sizes = {"train": max(1, round(0.7 * len(keys))), "val": max(1, round(0.1 * len(keys))), "test": 0}
    rows = disjoint(keys, sizes, seed=0)
    assert sorted(itertools.chain(*rows.values())) == list(range(len(keys)))
    assert sum(map(bool, rows.values())) == min(3, len(set(keys)))


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train.csv", "train"),
        ("Training.csv", "train"),
        ("valid.txt", "val"),
        ("dev.csv", "val"),
        ("alm_pa100k_test.txt", "test"),
        ("train-00000-of-00002.parquet", "train"),
        ("labels.csv", None),
        ("train_test.csv", None),
        ("constraints.csv", None),
        ("validation/metadata.csv", "val"),
    ],
)
def test_a_file_is_named_by_its_split(file, split, tmp_path):
    assert split_of_file(tmp_path / file, tmp_path) == split


def test_words_for_splits():
    words = ["Train", "validation", "TESTING", "train", "query"]
    assert rows_by_split(words, "t") == {"train": [0, 3], "val": [1], "test": [2], "query": [4]}
    with pytest.raises(BadInput, match="row 2: val and dev both mean val"):
        rows_by_split(["val", "dev"], "t")
    with pytest.raises(BadInput, match="row 2 has no split"):
        rows_by_split(["val", ""], "t")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("zs.json", json.dumps({"Train": ["00001.png", 2], "valid": ["3"], "test": [20]})),
        ("zs.csv", "image,split\n00001.png,train\n2,train\n3,val\n20,test\n"),
        ("zs.tsv", "image\tsplit\n00001.png\ttrain\n2\tTrain\n3\tdev\n20\ttest\n"),
    ],
)
def test_a_published_index(file, content, tmp_path):
    (tmp_path / file).write_text(content)
    assert read_index(tmp_path / file, NAMES) == {"train": [0, 1], "val": [2], "test": [19]}


@pytest.mark.parametrize("lines", ["00002.png 0 1 \n00001.png 1 0 \n", "data/x/00002.png\ndata/x/00001.png\n"])
def test_a_list_of_images_is_the_split_that_it_is_named_by(lines, tmp_path):
    (tmp_path / "alm_test_list.txt").write_text(lines)
    assert read_index(tmp_path / "alm_test_list.txt", NAMES) == {"test": [1, 0]}
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(BadInput, match="a list of images in a file whose name has train, val or test in it"):
        read_index(tmp_path / "list.txt", NAMES)


def test_a_pickle_is_refused_with_what_converts_it(tmp_path):
    (tmp_path / "dataset.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=r"import json, pickle; part = pickle\.load\(open\('dataset\.pkl'") as caught:
        read_index(tmp_path / "dataset.pkl", NAMES)
    compile(str(caught.value).split('python -c "')[1].removesuffix('"'), "remedy", "exec")


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=5, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_folds_test_every_row_once_and_keep_people_together(keys, count, seed):
    assume(len(set(keys)) >= count)
    folds = [fold(f"fold{i}of{count}-seed{seed}", keys) for i in range(count)]
    assert sorted(itertools.chain(*(rows["test"] for rows in folds))) == list(range(len(keys)))
    for rows in folds:
        assert rows["test"] and sorted(itertools.chain(*rows.values())) == list(range(len(keys)))
        people = [{keys[row] for row in part} for part in rows.values()]
        assert sum(map(len, people)) == len(set(keys)), "a person is in two splits"


def test_a_fold_is_the_same_everywhere_and_of_its_size():
    keys = [f"{number:06d}.jpg" for number in range(1, 1800)]
    rows = fold("fold1of5-seed0", keys)
    assert {split: len(part) for split, part in rows.items()} == {"train": 1259, "val": 180, "test": 360}
    assert rows["test"][:3] == [5, 6, 14]
    assert rows["test"] != fold("fold1of5-seed1", keys)["test"]


@pytest.mark.parametrize("name", ["fold5of5-seed0", "fold0of1-seed0", "fold0of30-seed0", "fold0", "fold0of5"])
def test_a_fold_that_does_not_exist_is_refused(name):
    with pytest.raises(BadInput, match=f"no partition '{name}': give one as fold0of5-seed0"):
        fold(name, NAMES)


def test_the_kept_folds_test_every_image_once_and_are_those_of_the_table():
    """And hold no score, label or name of a single image of the real sample."""
    table = json.loads((ROOT / "benchmarks" / "results" / "folds.json").read_text())
    folder = ROOT / "records" / "sample-folds"
    assert {path.suffix for path in folder.iterdir()} == {".json"}
    assert {"zero-shot", "linear", "recommended"} <= set(table["methods"])
    for method, row in table["methods"].items():
        records = read_records(*(folder / f"pa100k-{fold}-{method}-seed0.json" for fold in table["partitions"]))
        assert [record["data"]["partition"] for record in records] == table["partitions"]
        assert sum(record["data"]["images"] for record in records) == table["images"]
        assert len({record["data"]["items_sha256"] for record in records}) == len(records) == 5
        for name, part in (("tuned mA", "tuned"), ("mAP", "scores")):
            assert row["folds"][name] == [round(100 * record[part][name.split()[-1]], 2) for record in records]
            assert row[name]["low"] <= row[name]["high"]
    assert not re.search(r"\.jpg", "".join(path.read_text() for path in folder.iterdir()))


@pytest.mark.parametrize("benchmark", ["pa100k", "peta", "market1501"])
def test_folds_of_a_benchmark(benchmark, request):
    """Whatever the release's own splits: people together where they are known, and the fold named in the release."""
    fixture = {"pa100k": "rendered", "peta": "rendered_peta", "market1501": "rendered_market"}[benchmark]
    root = request.getfixturevalue(fixture)
    whole = read_release(benchmark, root).listing("all")
    made = [read_release(benchmark, root, partition=f"fold{i}of3-seed0") for i in range(3)]
    assert sorted(itertools.chain(*(one.splits["test"].names for one in made))) == sorted(whole.names)
    for i, release in enumerate(made):
        assert release.partition == f"fold{i}of3-seed0" and release.kind == "rendered"
        people = [set(part.identity or part.names) for part in release.splits.values()]
        assert sum(map(len, people)) == len(set(whole.identity or whole.names))
    data = made[0].dataset("test", images=False)
    assert list(data["image_id"]) == made[0].splits["test"].names
    with pytest.raises(BadInput, match="no partition 'fold3of3-seed0'"):
        read_release(benchmark, root, partition="fold3of3-seed0")


def test_an_index_called_fold_is_read_as_an_index(rendered_peta, tmp_path):
    names = read_release("peta", rendered_peta).listing("all").names
    (tmp_path / "fold1.json").write_text(json.dumps({"train": names[:5], "val": names[5:8], "test": names[8:]}))
    assert read_release("peta", rendered_peta, partition=tmp_path / "fold1.json").splits["val"].names == names[5:8]
