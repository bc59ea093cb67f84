import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from parlib.data import check, labels_of, load_benchmark, read_release, schema_of
from parlib.data.formats import read_table
from parlib.data.images import SUFFIXES
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
    with pytest.raises(BadInput, match=r"column note, row 1: 'dark' is neither yes nor no"):
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
        ("image,hat\na.jpg,3\n", r"column hat, row 1: the meaning of 3.*codes: \{yes: 2"),
        ("image,hat\na.jpg,yes\nb.jpg,maybe\n", "row 2: 'maybe' is neither yes nor no"),
        ("name,hat\na.jpg,1\n", r"looked for a column image \(or file_name, filename\), found name, hat"),
        ("image\na.jpg\n", "no column of labels"),
        ("image,hat\n", "has no rows"),
        ("", r"looked for a column image .*found Unnamed: 0|cannot be read"),
        ("image,hat\na.jpg,1,2\n1,2,3,4,5\n", "row 1 has 3 cells, the header 2"),
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
    with pytest.raises(BadInput, match=r"found one\.csv, two\.csv; choose one with --table FILE"):
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


# ---- layouts people have ----

ROWS = [("a.jpg", 1, 0), ("b.jpg", 0, 1), ("sub/c.jpg", 1, 1)]
HEADED = "image,hat,bag\n" + "".join(f"{name},{hat},{bag}\n" for name, hat, bag in ROWS)


def embedded(root):
    """Parquet with the pictures in it, as the Hugging Face hub keeps them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures = [{"bytes": (root / name).read_bytes(), "path": Path(name).name} for name, *_ in ROWS]
    hat, bag = ([row[i] for row in ROWS] for i in (1, 2))
    pq.write_table(pa.table({"image": pictures, "hat": hat, "bag": bag}), root / "metadata.parquet")


def json_lines(key):
    return "".join(json.dumps({key: name, "hat": hat, "bag": bag}) + "\n" for name, hat, bag in ROWS)


LAYOUTS = {
    "comma": ("labels.csv", HEADED),
    "semicolon": ("labels.csv", HEADED.replace(",", ";")),
    "tabs": ("labels.tsv", HEADED.replace(",", "\t")),
    "tabs in .csv": ("labels.csv", HEADED.replace(",", "\t")),
    "utf-16": ("labels.csv", HEADED.encode("utf-16")),
    "byte order mark": ("labels.csv", HEADED.encode("utf-8-sig")),
    "Windows line ends": ("labels.csv", HEADED.replace("\n", "\r\n").encode()),
    "blanks after commas": ("labels.csv", HEADED.replace(",", ", ")),
    "UPAR": ("labels.csv", f"# {HEADED}"),
    "Image": ("labels.csv", HEADED.replace("image", "Image")),
    "Image Path": ("labels.csv", HEADED.replace("image", "Image Path")),
    **{key: ("labels.csv", HEADED.replace("image", key)) for key in ("filename", "file", "path", "img", "file_name")},
    "index of pandas": (
        "labels.csv",
        f",{HEADED}".replace("a.jpg", "0,a.jpg").replace("b.jpg", "1,b.jpg").replace("sub", "2,sub"),
    ),
    "JSON lines": ("metadata.jsonl", json_lines("file_name")),
    "list with blanks": ("list.txt", "".join(f"{name} {hat} {bag} \n" for name, hat, bag in ROWS)),
    "list with commas": ("list.txt", "".join(f"{name},{hat},{bag}\n" for name, hat, bag in ROWS)),
    "list with a tab": ("list.txt", "".join(f"{name}\t{hat},{bag}\n" for name, hat, bag in ROWS)),
    "CSV without a header": ("labels.csv", "".join(f"{name},{hat},{bag}\n" for name, hat, bag in ROWS)),
    "Parquet with pictures": ("metadata.parquet", embedded),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_people_have(layout, tmp_path):
    tree(tmp_path, "")
    (tmp_path / "metadata.csv").unlink()
    name, content = LAYOUTS[layout]
    if callable(content):
        content(tmp_path)
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    data = load_benchmark("folder", tmp_path)
    by_name = dict(zip((Path(image).name[-5:] for image in data["image_id"]), labels_of(data).tolist(), strict=True))
    assert by_name == {"a.jpg": [1, 0], "b.jpg": [0, 1], "c.jpg": [1, 1]}
    without_header = layout.startswith(("list", "CSV without"))
    assert schema_of(data).names == (["attribute-1", "attribute-2"] if without_header else ["hat", "bag"])
    assert all(row["image"].size == (6, 12) for row in data)
    assert ("Unnamed: 0" in data.info.description) == (layout == "index of pandas")
    assert check(tmp_path).usable


def test_a_list_names_pictures_of_every_kind(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"a{suffix} 1 0\n" for suffix in SUFFIXES))
    assert read_table(tmp_path / "list.txt")["image"].tolist() == [f"a{suffix}" for suffix in SUFFIXES]


def test_names_for_a_list_without_a_header(tmp_path):
    tree(tmp_path, "a.jpg 1 0\nb.jpg 0 1\nsub/c.jpg 1 1\n", table="list.txt")
    (tmp_path / "names.txt").write_text("hat\nred bag\n\n")
    assert schema_of(load_benchmark("folder", tmp_path)).names == ["hat", "red bag"]
    (tmp_path / "names.txt").write_text("hat\n")
    with pytest.raises(BadInput, match=r"list\.txt: has 2 labels per picture, .*names\.txt names 1"):
        load_benchmark("folder", tmp_path)
    (tmp_path / "names.txt").unlink()
    (tmp_path / "schema.yaml").write_text("attributes: [cap, bag]")
    assert schema_of(load_benchmark("folder", tmp_path)).names == ["cap", "bag"]


def test_codes_alone_in_a_schema_file(tmp_path):
    tree(tmp_path, "image,hat\na.jpg,2\nb.jpg,1\nsub/c.jpg,0\n")
    with pytest.raises(BadInput, match=r"column hat, row 1: .*2, 1, 0.*codes: \{yes: 2, no: 1, unknown: 0\}"):
        load_benchmark("folder", tmp_path)
    (tmp_path / "schema.yaml").write_text("codes: {yes: 2, no: 1, unknown: 0}\n")
    data = load_benchmark("folder", tmp_path)
    assert sorted(labels_of(data)[:, 0].tolist()) == [-1, 0, 1]


def test_one_table_per_split(tmp_path):
    tree(tmp_path, "image,hat\na.jpg,1\n", table="Train.csv")
    (tmp_path / "validation.csv").write_text("image,hat\nb.jpg,0\n")
    (tmp_path / "test.csv").write_text("image,hat\nsub/c.jpg,1\n")
    release = read_release("folder", tmp_path)
    assert {split: part.names for split, part in release.splits.items()} == {
        **{"train": ["a.jpg"], "val": ["b.jpg"], "test": ["sub/c.jpg"]}
    }
    assert check(tmp_path).kind == "folder" and check(tmp_path).usable
    (tmp_path / "test.csv").write_text("image,cap\nsub/c.jpg,1\n")
    with pytest.raises(BadInput, match=r"test\.csv: has no column hat of the schema"):
        read_release("folder", tmp_path)
    (tmp_path / "test.csv").write_text("image,hat\n")
    with pytest.raises(BadInput, match=r"test\.csv: has no rows"):
        read_release("folder", tmp_path)


@pytest.mark.parametrize("written", ["sub\\c.jpg", "{root}/sub/c.jpg", "./sub/c.jpg", ".\\sub\\c.jpg", "sub/c.jpg"])
def test_paths_of_other_systems_and_of_this_one(written, tmp_path):
    tree(tmp_path, f"image,hat\na.jpg,1\nb.jpg,1\n{written.format(root=tmp_path)},1\n")
    assert set(load_benchmark("folder", tmp_path)["image_id"]) == {"a.jpg", "b.jpg", "sub/c.jpg"}
    assert check(tmp_path).usable


@pytest.mark.parametrize("written", ["/data/c.jpg", "C:\\data\\c.jpg", "D:/c.jpg"])
def test_paths_of_another_place_are_called_that(written, tmp_path):
    tree(tmp_path, f"image,hat\na.jpg,1\nb.jpg,1\n{written},1\n")
    with pytest.raises(BadInput, match=r"row 3 names .*c\.jpg, which does not lie in .*; write paths relative to it"):
        load_benchmark("folder", tmp_path)
    assert not check(tmp_path).usable


def test_a_folder_for_each_split(tmp_path):
    for split, name in (("train", "a.jpg"), ("test", "a.jpg")):
        tree(tmp_path / split, f"file_name,hat\n{name},1\n", files=("a.jpg",))
    assert list(load_benchmark("folder", tmp_path, "test")["image_id"]) == ["test/a.jpg"]


def test_identities_are_text_and_a_row_without_one_is_a_person_of_its_own(tmp_path):
    names = [f"{i:02d}.jpg" for i in range(12)]
    ids = ["NA", "None", "007", "7", "nan", "null", "", "", "NA", "1e3", " ", "1000"]
    tree(tmp_path, "image,identity,hat\n" + "".join(f"{n},{i},1\n" for n, i in zip(names, ids, strict=True)), names)
    release = read_release("folder", tmp_path)
    whole = release.listing("all")
    who = dict(zip(whole.names, whole.identity, strict=True))
    assert [who[name] for name in names if ids[names.index(name)].strip()] == [i for i in ids if i.strip()]
    assert len({who[name] for name in ("06.jpg", "07.jpg", "10.jpg")} - set(ids)) == 3
    assert any(note.startswith("3 rows of metadata.csv have no identity") for note in release.notes)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_identities_of_typed_tables(kind, tmp_path):
    import pandas as pd

    tree(tmp_path, "")
    (tmp_path / "metadata.csv").unlink()
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg", "sub/c.jpg"], "identity": pd.array([7, None, 8], "Int64")})
    frame["hat"] = [1, 0, 1]
    if kind == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
    else:
        frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    assert sorted(read_release("folder", tmp_path).listing("all").identity)[:2] == ["7", "8"]


def test_too_few_people_for_three_splits(tmp_path):
    tree(tmp_path, "image,identity,hat\na.jpg,1,1\nb.jpg,1,0\nsub/c.jpg,2,1\n")
    report = check(tmp_path)
    assert not report.usable and "test has no rows" in report.to_text() and "test: 0 rows" in report.to_text()
    with pytest.raises(BadInput, match=r"test has no rows; .*split column"):
        load_benchmark("folder", tmp_path, "test")


@pytest.mark.parametrize(
    "text",
    [
        "image,hat\na.jpg,1\nb.jpg,0\nsub/c.jpg,1\n",
        "image,hat\na.jpg,1\nb.jpg,-1\nsub/c.jpg,1\n",
        "image,hat\na.jpg,1\nb.jpg,0\n",
        "image,hat\na.jpg,1\nb.jpg,0\nlost.jpg,0\n",
        "image,hat\na.jpg,1\nb.jpg,0\n../a.jpg,0\n",
        "image,hat\na.jpg,1\nb.jpg,0\na.jpg,0\n",
        "image,hat\na.jpg,1\nb.jpg,0\n,0\n",
        "image,split,hat\na.jpg,Train,1\nb.jpg,Validation,0\nsub/c.jpg,TEST,0\n",
        "image,split,hat\na.jpg,train,1\nb.jpg,,0\nsub/c.jpg,test,0\n",
        "image,split,hat\na.jpg,dev,1\nb.jpg,val,0\nsub/c.jpg,test,0\n",
        "image,split,hat\na.jpg,train,1\nb.jpg,test,0\n",
        "image,hat\na.jpg,maybe\nb.jpg,no\nsub/c.jpg,1\n",
        "image\na.jpg\nb.jpg\n",
        "hat\n1\n",
        "image,hat\n",
        "\n",
    ],
)
def test_check_and_the_reader_agree(text, tmp_path):
    tree(tmp_path, text, table="labels.csv")
    report = check(tmp_path)
    if report.kind is None:
        assert not report.usable
        return
    try:
        splits = read_release("folder", tmp_path).splits
        loaded = all(len(load_benchmark("folder", tmp_path, split)) for split in splits)
    except BadInput:
        loaded = False
    assert report.usable == loaded


@pytest.mark.real
def test_check_and_the_reader_agree_on_every_case(real_data):
    """Each folder with a table, label list or annotation file among the cases."""
    folders = {path.parent for path in (real_data / "cases").rglob("*") if path.suffix in (".csv", ".txt", ".jsonl")}
    seen = 0
    for folder in sorted(folders):
        report = check(folder)
        if report.kind is None:
            continue
        try:
            splits = read_release(report.kind, folder).splits
            loaded = all(len(load_benchmark(report.kind, folder, split)) for split in splits)
        except BadInput:
            loaded = False
        assert report.usable == loaded, folder
        seen += 1
    assert seen >= 6


def test_a_row_that_ends_too_soon_is_named(tmp_path):
    tree(tmp_path, "image,hat,bag\na.jpg,1,0\nb.jpg,1\n")
    with pytest.raises(BadInput, match=r"metadata\.csv: row 2 has 2 cells, the header 3"):
        read_table(tmp_path / "metadata.csv")


def test_a_list_of_celeba_asks_for_its_codes_and_reads_with_them(tmp_path):
    tree(tmp_path, "3\nhat bag\na.jpg -1  1\nb.jpg  1 -1\nsub/c.jpg 1 1\n", table="list_attr.txt")
    with pytest.raises(BadInput, match=r"list_attr\.txt: column hat, row 1: the meaning of -1 .*codes"):
        load_benchmark("folder", tmp_path)
    (tmp_path / "schema.yaml").write_text("codes: {yes: 1, no: -1}\n")
    data = load_benchmark("folder", tmp_path)
    by_name = dict(zip(data["image_id"], labels_of(data).tolist(), strict=True))
    assert by_name == {"a.jpg": [0, 1], "b.jpg": [1, 0], "sub/c.jpg": [1, 1]}
