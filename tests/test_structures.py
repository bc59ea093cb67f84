"""Well-formed files with unexpected content: an answer or `BadInput`, and text that stays text in every export.

`test_hostile.py` changes bytes; these tests change types, numbers, names and shapes.
"""

import csv
import html.parser
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fuzz.readers import NAMES, cut, model_folder, written
from fuzz.trees import swapped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

import parlib
from parlib.data import check, load_benchmark, pa100k, peta
from parlib.data.formats import read_table
from parlib.data.images import open_image
from parlib.data.partition import read_index
from parlib.errors import BadInput
from parlib.files import digest, markdown_cell, plain_cell
from parlib.learn.run import evaluate_run
from parlib.measure.records import read_records
from parlib.measure.tables import attribute_table, benchmark_table, render
from parlib.schema import Schema, schema
from parlib.show.annotate import annotate
from parlib.use.boxes import read_boxes
from parlib.use.crops import Crop, crops_of
from parlib.use.model import SHIPPED, card, load
from parlib.use.predict import to_table, write_people

pytestmark = pytest.mark.filterwarnings("ignore")
fast = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
NASTY = st.sampled_from(
    [
        *("../a.png", "/etc/passwd", "a\\b.png", "a\0b", "a\nb", "\x1b[31mred", "\u202eevil", "x" * 5000, "a/../../b"),
        *(
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "<script>alert(1)</script>",
            '"><img src=x>',
            "a|b",
            "[x](javascript:y)",
        ),
        *("", " ", ".", "..", "[x](javascript:y)", "ÿ", "人", "a.png"),
    ]
)
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), NASTY, st.text(max_size=5)),
    *(
        st.just(10**400),
        st.lists(st.integers(-2, 3), max_size=3),
        st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
    ),
)


def tried(read, *arguments):
    """The answer, or None for a `BadInput` with one printable line."""
    try:
        return read(*arguments)
    except BadInput as error:
        assert str(error).strip() and str(error).isprintable() and len(str(error)) <= 1900
        return None


@pytest.mark.long
@fast
@given(
    st.lists(st.fixed_dictionaries({}, optional={k: VALUES for k in ("id", "image_id", "category_id", "bbox")})), VALUES
)
def test_coco_of_any_values(tmp_path, annotations, image):
    images = [{"id": 1, "file_name": image}, {"id": image, "file_name": "a.png"}]
    people = {"images": images, "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}, *annotations]}
    tried(cut, written(tmp_path / "a.json", json.dumps(people)))


@pytest.mark.parametrize(
    "bbox",
    [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 10**400],
        [1, 2, -3, 4],
        [1, 2, 3, "x"],
        {"a": 1},
        [None] * 4,
        "1234",
        ["1"] * 4,
    ],
)
def test_a_box_that_is_none_is_refused_beside_good_ones(bbox, tmp_path):
    people = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}
    people["annotations"].append({"image_id": 1, "bbox": bbox})
    with pytest.raises(BadInput, match=r"a\.json"):
        read_boxes(written(tmp_path / "a.json", json.dumps(people)))


@pytest.mark.long
@fast
@given(
    st.lists(st.sampled_from(["image", "hat", "bag", "split", "identity", "", "=1"]), min_size=1, max_size=6), st.data()
)
def test_tables_of_any_columns_and_cells(tmp_path, columns, data):
    cell = st.one_of(NASTY, st.sampled_from(["0", "1", "-1", "2", "3", "1e999", "nan", ""]))
    rows = data.draw(st.lists(st.lists(cell, min_size=0, max_size=7), max_size=4))
    with open(tmp_path / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    report = check(tmp_path)
    assert isinstance(report.to_text(), str) and json.dumps(report.to_dict())
    if dataset := tried(load_benchmark, "folder", tmp_path):
        assert all(Path(file["path"]).is_relative_to(tmp_path.resolve()) for file in paths(dataset))


def paths(dataset):
    import datasets

    return dataset.cast_column("image", datasets.Image(decode=False))["image"]


@pytest.mark.long
@fast
@given(st.dictionaries(st.sampled_from(["image", "x", "y", "width", "height", "hat"]), st.integers(0, 7), min_size=1))
def test_parquet_of_any_types(tmp_path, kinds):
    made = [
        *(pa.array(["a.png", None]), pa.array([1, 2]), pa.array([1.5, float("nan")]), pa.array([True, None])),
        *(
            pa.array([b"a", b"\xff"]),
            pa.array([[1], None]),
            pa.array([{"a": 1}, None]),
            pa.array([0, 1], pa.timestamp("ns")),
        ),
    ]
    pq.write_table(pa.table({name: made[kind] for name, kind in kinds.items()}), tmp_path / "metadata.parquet")
    tried(cut, tmp_path / "metadata.parquet")
    tried(load_benchmark, "folder", tmp_path, None, False)


@pytest.mark.long
@fast
@given(st.randoms(use_true_random=False))
def test_schemas_of_any_members(tmp_path, random):
    about = swapped(
        schema("market1501").to_dict() | {"exclusive": [{"name": "a", "members": ["young", "old"]}]}, random
    )
    path = written(tmp_path / "a.yaml", yaml.safe_dump(json.loads(json.dumps(about, default=str))))
    if made := tried(lambda p: Schema.from_yaml(p), path):
        assert all(isinstance(name, str) and name.strip() for name in made.names)
        assert made.groups and Schema.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize(
    "entry", ["no", "yes", "null", "''", "[a]", "{name: no}", "{name: a, group: [x]}", "{name: a, prompt: 3}"]
)
def test_an_attribute_without_a_name_of_its_own_is_refused(entry, tmp_path):
    with pytest.raises(BadInput, match=r"a\.yaml, attribute 2 is no schema"):
        Schema.from_dict(yaml.safe_load(f"attributes: [hat, {entry}]"), "a.yaml")


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


RECORD = json.loads((SHIPPED["nano-pa100k"] / "test.json").read_text())


def checked_tables(path):
    records = read_records(path)
    for table in (benchmark_table(records, "pa100k"), attribute_table(records, "pa100k")):
        made = {form: render(table, form) for form in ("markdown", "latex", "csv", "html")}
        tags = Tags()
        tags.feed(made["html"])
        assert tags.seen <= {"table", "thead", "tbody", "tr", "th", "td"}
        rows = list(csv.reader(io.StringIO(made["csv"])))
        for cell in (cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")):
            float(cell)  # a number may have its sign
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in made["markdown"].splitlines()} == {len(rows[0]) + 1}
        assert not re.search(r"<|(?<!\\)\]\(", made["markdown"])
        assert not re.search(r"(?<!\\)[%#]|\n\n", made["latex"])


@pytest.mark.long
@fast
@given(NASTY, NASTY, NASTY)
def test_what_a_record_says_stays_text_in_every_table(tmp_path, method, kind, encoder):
    record = {**RECORD, "method": method, "data": {**RECORD["data"], "kind": kind}}
    record["setting"] = {**record["setting"], "encoder": encoder}
    record["sha256"] = digest({name: value for name, value in record.items() if name != "sha256"})
    checked_tables(written(tmp_path / "a.json", json.dumps(record)))


@pytest.mark.long
@fast
@given(NASTY, NASTY)
def test_predictions_stay_text_in_csv(image, attribute):
    answer = {"probability": 0.5, "decision": True, "threshold": 0.5, "calibrated": True, "conflict": attribute}
    people = [{"image": image, "attributes": {attribute: answer}}, {"image": "b", "error": f"{image}: bad"}]
    file = io.BytesIO()
    write_people([people], file, "csv", SimpleNamespace(table=lambda people: to_table(people, boxed=False)))
    cells = [cell for row in csv.reader(io.StringIO(file.getvalue().decode(), newline="")) for cell in row]
    for cell in (cell for cell in cells if cell[:1] in tuple("=+-@\t\r")):
        float(cell)  # a number may have its sign


def test_cells():
    assert [plain_cell(x) for x in ("=1", "-1", "-1+1", "+1.5e3", "@a", "a", "")] == [
        "'=1",
        "-1",
        "'-1+1",
        "+1.5e3",
        "'@a",
        "a",
        "",
    ]
    assert markdown_cell("a|b\n<i> [x](y) `c` \\") == r"a\|b &lt;i> [x]\(y) 'c' \\"


CELLS = st.sampled_from(
    [
        *(np.zeros((0, 0)), np.zeros((2, 3)), np.array([[1.5, np.nan]]), np.array([[1 + 2j]]), np.array(["a"], object)),
        *(np.array([["a"], ["b"]], object), np.array([[np.array([[1]])], [None]], object)[:1], "text", 3, {"a": 1}),
        *(np.zeros((2, 26)), np.full((2, 26), 7.5), np.eye(2, 26, dtype=np.uint8), np.zeros((2, 26), "S1")),
    ]
)


@pytest.mark.long
@settings(fast, max_examples=6)
@given(
    st.fixed_dictionaries({}, optional={f"{s}_{w}": CELLS for s in ("train", "val") for w in ("label", "images_name")})
)
def test_annotations_of_any_shape(tmp_path, altered):
    names = np.array([[name] for name in schema("pa100k").names], object)
    images = {f"{s}_images_name": np.array([[f"{s}0"], [f"{s}1"]], object) for s in ("train", "val", "test")}
    labels = {f"{s}_label": np.eye(2, 26, dtype=np.uint8) for s in ("train", "val", "test")}
    savemat(tmp_path / "annotation.mat", {"attributes": names, **images, **labels, **altered})
    tried(pa100k.read, tmp_path)


@pytest.mark.parametrize(
    "altered",
    [
        {"data": np.array([["a"] * 109], object)},
        {"data": np.full((2, 109), np.nan)},
        {"data": np.arange(109.0)},
        {"partion_attribute": 3},
        {"partion_attribute": np.array([["a"]], object)},
        {"attribute": np.zeros((105, 1))},
    ],
)
def test_peta_of_other_shapes_is_refused(altered, tmp_path):
    data = np.hstack([np.arange(1, 3)[:, None], np.ones((2, 3)), np.zeros((2, 105))])
    names = np.array([[name] for name in schema("peta105").names], object)
    savemat(tmp_path / "PETA.mat", {"peta": {"attribute": names, "data": data, "partion_attribute": 0, **altered}})
    with pytest.raises(BadInput, match=r"PETA\.mat"):
        peta.read(tmp_path)


@pytest.mark.long
@fast
@given(st.dictionaries(NASTY, st.lists(VALUES, max_size=3), max_size=3))
def test_split_indices_of_any_values(tmp_path, index):
    tried(read_index, written(tmp_path / "a.json", json.dumps({"train": [1], **index})), NAMES)
    table = pd.DataFrame({"image": [v[0] if v else 1 for v in index.values()], "split": list(index)})
    table.to_csv(tmp_path / "a.csv", index=False)
    tried(read_index, tmp_path / "a.csv", NAMES)


def test_a_row_without_a_split_is_not_left_out_in_silence(tmp_path):
    with pytest.raises(BadInput, match="row 2 has no split"):
        read_index(written(tmp_path / "a.csv", "image,split\n1,train\n2,\n"), NAMES)


@pytest.mark.parametrize("text", ["image,hat,hat\na.png,1,0\n", "image,hat\na.png,1,0\n"])
def test_columns_that_cannot_be_told_apart_are_refused(text, tmp_path):
    with pytest.raises(BadInput, match=r"a\.csv"):
        read_table(written(tmp_path / "a.csv", text))


def test_what_is_no_picture_by_its_bytes_runs_no_other_program(tmp_path):
    with pytest.raises(BadInput, match="is no image"):
        open_image(
            written(tmp_path / "a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
        )


def test_no_reader_opens_archives():
    sources = Path(parlib.__file__).parent.rglob("*.py")
    assert not [p for p in sources if re.search(r"\b(zipfile|tarfile|shutil\.unpack_archive|gzip)\b", p.read_text())]


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "a/../../b.png", "..", "=1.png", "a\nb.png"])
def test_annotated_pictures_stay_in_their_folder(name, tmp_path):
    answer = {"probability": 0.9, "decision": True, "threshold": 0.5, "calibrated": True, "conflict": None}
    people = [{"image": name, "attributes": {"a\nb": answer, "x" * 5000: {**answer, "decision": False}}}]
    out = tmp_path / "far" / "out"
    list(annotate([people], [Crop(name, Image.new("RGB", (20, 40)))], out))
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 1 and made[0].is_relative_to(out) and made[0].suffix == ".png"


def test_boxes_cut_people_out_of_pictures_in_memory(tmp_path):
    boxes = read_boxes(written(tmp_path / "a.csv", "image,x,y,width,height\npicture 1,1,1,4,4\n"))
    crops = crops_of([("picture 1", Image.new("RGB", (8, 8)))], boxes)
    assert [crop.open().size for crop in crops] == [(4, 4)]


@pytest.mark.parametrize("asked", [{}, {"cache": "CACHE"}])
def test_a_run_does_not_say_where_to_write(asked, tmp_path):
    run, cache = model_folder(tmp_path, "run.json"), tmp_path / "elsewhere"
    about = json.loads(run.read_text())
    about["arguments"] |= {"root": str(tmp_path), **json.loads(json.dumps(asked).replace("CACHE", str(cache)))}
    run.write_text(json.dumps(about))
    with pytest.raises(BadInput, match=r"run\.json|give another --cache"):
        evaluate_run(run.parent)
    assert not cache.exists()


@pytest.mark.long
@settings(fast, max_examples=8)
@given(NASTY, NASTY)
def test_a_card_shows_what_a_run_says_as_text(name, note):
    model = load("nano-pa100k")
    setting = {**model.run["setting"], "encoder": f"a/{name}", "notes": [note], "seed": name, "revision": note}
    model.run = {**model.run, "setting": {**setting, "trained_on": {"benchmark": name, "view": note}}}
    text = str(card(model))
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert set(yaml.safe_load(front)) <= {"library_name", "pipeline_tag", "tags", "base_model"}
    assert not re.search(r"<(?!\|)|(?<!\\)\]\(", body)
