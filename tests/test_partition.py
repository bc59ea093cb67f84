import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlib.data.partition import deal, disjoint, index_hash, read_index, rows_by_split, split_of_file
from parlib.errors import BadInput

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
    rows = deal(keys)
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


def test_the_hash_of_an_index_knows_no_order():
    assert index_hash({"a": ["x", "y"], "b": ["z"]}) == index_hash({"b": ["z"], "a": ["y", "x"]})
    assert index_hash({"a": ["x"], "b": ["y", "z"]}) != index_hash({"a": ["x", "y"], "b": ["z"]})
