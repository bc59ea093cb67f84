import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from parlib.data import labels_of, load_benchmark, read_release, schema_of
from parlib.errors import BadInput
from parlib.schema import Schema


def tree(root, text, files=("a.jpg", "b.jpg", "sub/c.jpg"), table="metadata.csv"):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 12), (10, 200, 10)).save(root / name)
    (root / table).write_text(text)


def test_partial_labels(tmp_path):
    tree(tmp_path, "image,hat,red_coat\na.jpg,1,\nb.jpg,0,1\nsub/c.jpg,-1,0\n")
    data = load_benchmark("folder", tmp_path)
    labels = dict(zip(data["image_id"], labels_of(data).tolist(), strict=True))
    assert labels == {"a.jpg": [1, -1], "b.jpg": [0, 1], "sub/c.jpg": [-1, 0]}
    assert data[0]["image"].mode == "RGB"
    assert schema_of(data).names == ["hat", "red_coat"] and schema_of(data).attributes[1].meaning == "red coat"


def test_split_and_identity_columns(tmp_path):
    tree(
        tmp_path,
        "file_name,split,identity,hat\na.jpg,test,007,True\nb.jpg,train,8,False\nsub/c.jpg,train,8,\n",
        table="labels.csv",
    )
    train = load_benchmark("folder", tmp_path, "train")
    assert list(train["identity"]) == ["8", "8"] and labels_of(train)[:, 0].tolist() == [0, -1]
    assert list(load_benchmark("folder", tmp_path, "test")["identity"]) == ["007"]
    with pytest.raises(BadInput, match="no split 'val'; it has test, train, all"):
        load_benchmark("folder", tmp_path, "val")


def test_parquet(tmp_path):
    import pandas as pd

    tree(tmp_path, "")
    (tmp_path / "metadata.csv").unlink()
    pd.DataFrame({"image": ["a.jpg", "b.jpg"], "hat": [1, None]}).to_parquet(tmp_path / "labels.parquet")
    assert labels_of(load_benchmark("folder", tmp_path)).tolist() in ([[1], [-1]], [[-1], [1]])


def test_yaml_schema_chooses_columns(tmp_path):
    tree(tmp_path, "image,hat,note\na.jpg,1,dark\nb.jpg,0,\n")
    with pytest.raises(BadInput, match=r"column note holds dark: 'dark' in row 1 is neither yes nor no"):
        load_benchmark("folder", tmp_path)
    (tmp_path / "schema.yaml").write_text("name: shop\nattributes: [{name: hat, prompt: a hat, group: head}]\n")
    data = load_benchmark("folder", tmp_path)
    assert schema_of(data).name == "shop" and schema_of(data).attributes[0].prompt == "a hat"
    assert "Columns left out of metadata.csv: note" in data.info.description
    own = Schema.from_dict({"attributes": ["scarf"]})
    with pytest.raises(BadInput, match="no column scarf of the schema"):
        load_benchmark("folder", tmp_path, schema=own)


def test_without_split_people_stay_together(tmp_path):
    lines = [f"{i}.jpg,{i // 4},1" for i in range(80)]
    tree(tmp_path, "image,identity,hat\n" + "\n".join(lines), files=())
    release = read_release("folder", tmp_path, images=False)
    people = [set(part.identity) for part in release.splits.values()]
    assert sorted(map(len, people), reverse=True) == [14, 4, 2] and len(set.union(*people)) == 20
    assert len(load_benchmark("folder", tmp_path, "trainval", images=False)) == 64
    assert "70/10/20" in release.notes[0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("image,hat\na.jpg,3\n", r"column hat holds 3: what 3, first in row 1.*codes: \{yes: 2"),
        ("image,hat\na.jpg,yes\nb.jpg,maybe\n", "'maybe' in row 2 is neither yes nor no"),
        ("name,hat\na.jpg,1\n", r"looked for a column image \(or file_name, filename\), found name, hat"),
        ("image\na.jpg\n", "no column of labels"),
        ("image,hat\n", "has no rows"),
        ("", r"looked for a column image .*found Unnamed: 0|cannot be read"),
        ("image,hat\na.jpg,1,2\n1,2,3,4,5\n", "table .* cannot be read"),
        ("image,hat\n../a.jpg,1\n", r"lead out of .*\.\./a\.jpg"),
        ("image,hat\na.jpg,1\na.jpg,0\n", "twice"),
        ("image,hat\n,1\n", "empty image name"),
        ("image,hat\nlost.jpg,1\n", r"1 of 1 images are missing from .*, first lost\.jpg"),
        ("image,split,hat\na.jpg,,1\n", "row 1 has no split"),
    ],
)
def test_bad_tables(tmp_path, text, match):
    tree(tmp_path, text)
    with pytest.raises(BadInput, match=match):
        load_benchmark("folder", tmp_path)


def test_which_table(tmp_path):
    tree(tmp_path, "image,hat\na.jpg,1\n", table="one.csv")
    (tmp_path / "two.csv").write_text("image,hat\nb.jpg,0\n")
    with pytest.raises(BadInput, match=r"found one\.csv, two\.csv; name it"):
        load_benchmark("folder", tmp_path)
    assert labels_of(load_benchmark("folder", tmp_path, table="two.csv")).tolist() == [[0]]
    assert labels_of(load_benchmark("folder", tmp_path / "one.csv")).tolist() == [[1]]
    with pytest.raises(BadInput, match="no table"):
        load_benchmark("folder", tmp_path, table="three.csv")
    with pytest.raises(BadInput, match="no folder"):
        load_benchmark("folder", tmp_path / "gone")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(["1", "0", "", "-1", "1.0"]), min_size=3, max_size=3), min_size=1, max_size=20)
)
def test_any_table_of_known_values_reads_back(tmp_path, values):
    values = [["0"] * 3, *values]  # -1 is unknown where the column has a 0
    means = {"1": 1, "1.0": 1, "0": 0}
    lines = [f"{i}.jpg,{','.join(row)}" for i, row in enumerate(values)]
    (tmp_path / "metadata.csv").write_text("image,a,b,c\n" + "\n".join(lines) + "\n")
    data = load_benchmark("folder", tmp_path, images=False)
    got = dict(zip(data["image_id"], labels_of(data), strict=True))
    assert all((got[f"{i}.jpg"] == [means.get(value, -1) for value in row]).all() for i, row in enumerate(values))
    assert labels_of(data).dtype == np.int8
