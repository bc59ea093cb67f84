"""Which people are looked at: pictures in folders, and boxes of any detector; what is left out is named."""

import json

import numpy as np
import pytest
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.use.boxes import read_boxes
from parlib.use.model import EXAMPLES


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


def say(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = main(["predict", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_box_is_the_crop_of_it(capsys, model, tmp_path):
    path = sorted(EXAMPLES.glob("*.png"))[0]
    person = Image.open(path).convert("RGB")
    frame = Image.new("RGB", (300, 260), "grey")
    frame.paste(person, (100, 30))
    frame.save(tmp_path / "frame.png")
    width, height = person.size
    written = {
        "a.csv": f"image,x,y,width,height\nframe.png,100,30,{width},{height}\n",
        "b.csv": f"image,x1,y1,x2,y2\nframe.png,100,30,{100 + width},{30 + height}\n",
        "c.json": json.dumps(
            {
                "images": [{"id": 7, "file_name": "frame.png"}],
                "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
                "annotations": [
                    {"id": 1, "image_id": 7, "category_id": 1, "bbox": [100, 30, width, height]},
                    {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]},
                ],
            }
        ),
    }
    alone = model(path)["probability"]
    for name, text in written.items():
        (tmp_path / name).write_text(text)
        table = model(tmp_path / "frame.png", boxes=tmp_path / name)
        np.testing.assert_allclose(table["probability"], alone, atol=1e-5)
        assert table.iloc[0][["x", "y", "width", "height"]].tolist() == [100, 30, width, height]
    code, _, err = say(capsys, "nano-pa100k", tmp_path / "frame.png", "--boxes", tmp_path / "c.json")
    assert code == 0 and "1 of 2 boxes" in err and "of other classes, car" in err


@pytest.mark.parametrize(
    "row, words",
    [
        ("frame.png,500,0,10,10", "row 1: box 500, 0, 10 x 10 lies outside its frame frame.png of 64 x 128 px"),
        ("frame.png,-30,0,10,10", "lies outside its frame"),
        ("frame.png,0,0,0,10", "row 1: 0, 0, 0 x 10 is no rectangle"),
        ("frame.png,a,0,10,10", "is no rectangle"),
        ("frame.png,inf,0,10,10", "is no rectangle"),
        ("other.png,0,0,10,10", "no image 'other.png', or several of that name, among the 1 to predict"),
        (",0,0,10,10", "row 1: names no image"),
    ],
)
def test_boxes_that_cannot_be_are_refused_before_anything_is_written(capsys, tmp_path, row, words):
    Image.new("RGB", (64, 128)).save(tmp_path / "frame.png")
    (tmp_path / "boxes.csv").write_text(f"image,x,y,width,height\n{row}\n")
    out = tmp_path / "out.csv"
    code, printed, err = say(
        capsys, "nano-pa100k", tmp_path / "frame.png", "--boxes", tmp_path / "boxes.csv", "--out", out
    )
    assert code == 2 and printed == "" and words in err and err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"frame.png", "boxes.csv"}


def test_boxes_over_the_edge_are_cut_and_counted_and_frames_without_one_too(capsys, tmp_path):
    for name in ("frame.png", "empty.png"):
        Image.new("RGB", (64, 128)).save(tmp_path / name)
    (tmp_path / "boxes.csv").write_text("image,x,y,width,height\nframe.png,-10,0,40,128\nframe.png,1,1,20,50\n")
    code, out, err = say(capsys, "nano-pa100k", tmp_path, "--boxes", tmp_path / "boxes.csv")
    assert code == 0 and len(json.loads(out)) == 2 and json.loads(out)[0]["box"] == [-10, 0, 40, 128]
    assert "1 of 2 boxes reach over the edge" in err and "1 of 2 images have no box" in err


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("b.csv", "image,left\na,1\n", "found columns image, left; expected image and x, y, width, height"),
        ("b.csv", "image,x,y,width,height\n", "holds no box"),
        ("b.json", "{", "cannot be read"),
        ("b.json", "[1]", "COCO file of boxes .* cannot be read"),
        (
            "b.json",
            '{"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}',
            "COCO file of boxes .* cannot be read",
        ),
    ],
)
def test_files_of_boxes_that_are_none(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=words):
        read_boxes(tmp_path / name)
    with pytest.raises(BadInput, match="no file of boxes"):
        read_boxes(tmp_path / "nothing.csv")
