"""Annotated pictures: where they are written, and what is drawn in them."""

import itertools

import pytest
from PIL import Image

from parlib.errors import BadInput
from parlib.show.annotate import ROWS, annotate, annotated
from parlib.use.boxes import Box
from parlib.use.crops import Crop
from parlib.use.predict import to_table

ORANGE = (0xD5, 0x5E, 0x00)


def person(image, attributes=("Hat", "Bag"), **place):
    """Answers about one person, as a `Job` gives them."""
    yes, no = ({"threshold": 0.5, "calibrated": True, "probability": p, "decision": p > 0.5} for p in (0.9, 0.1))
    return {"image": image, **place, "attributes": dict(zip(attributes, itertools.cycle((yes, no)), strict=False))}


def written(names, folder, parts=None):
    """The PNGs below `folder` after the images `names` were annotated there."""
    box = Box("", 0, 0, 9, 30, "") if parts and "box" in parts[0][0] else None
    crops = [Crop(name, Image.new("RGB", (20, 40), (i, 0, 0)), box) for i, name in enumerate(names)]
    parts = [[person(name)] for name in names] if parts is None else parts
    passed = list(annotate(parts, crops, folder))
    assert all(one is other for one, other in zip(passed, parts, strict=True))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_a_picture_has_the_name_of_its_image_with_one_suffix(tmp_path):
    assert written(["frame.png", "a/b.jpg", "a/c.0001.jpeg", "plain"], tmp_path) == [
        "a/b.png",
        "a/c.0001.png",
        "frame.png",
        "plain.png",
    ]


def test_sources_of_one_stem_are_told_apart(tmp_path):
    assert written(["a.jpg", "a.png", "A.bmp", "a-2.png"], tmp_path) == ["A-3.png", "a-2-2.png", "a-2.png", "a.png"]
    assert Image.open(tmp_path / "a.png").getpixel((1, 1)) == (0, 0, 0)
    assert Image.open(tmp_path / "a-2.png").getpixel((1, 1)) == (1, 0, 0)


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "a/../../b.png", "..", "=1.png", "a\nb.png"])
def test_pictures_stay_below_their_folder(name, tmp_path):
    part = [person(name, attributes=("a\nb", "x" * 5000))]
    out = tmp_path / "far" / "out"
    assert len(written([name], out, [part])) == 1
    assert [path for path in tmp_path.rglob("*.*") if not path.is_relative_to(out)] == []


def test_people_of_one_image_in_several_parts_are_in_one_picture_and_errors_in_none(tmp_path):
    people = [
        person("a.jpg", box=[0, 0, 9, 30]),
        person("a.jpg", box=[10, 0, 9, 30]),
        person("b.jpg", box=[0, 0, 9, 30]),
    ]
    parts = [[each] for each in people] + [[{"image": "c.jpg", "error": "cannot be read"}]]
    assert written(["a.jpg", "b.jpg", "c.jpg"], tmp_path, parts) == ["a.png", "b.png"]
    two, one = (Image.open(tmp_path / name) for name in ("a.png", "b.png"))
    second = (two.width - 230, 60, two.width, 400)
    assert two.size == one.size and ORANGE in {colour for _, colour in two.crop(second).getcolors(1 << 24)}
    assert one.crop(second).getcolors() == [(230 * 340, (255, 255, 255))], "one panel per person"
    assert ORANGE in {colour for _, colour in two.getcolors(1 << 24)}, "the boxes are drawn"


def test_a_crowd_gets_columns_of_panels_and_then_rows_of_columns():
    names = [f"a{i}" for i in range(15)]
    for people, width, height in ((1, 200 + 230, 400), (2, 200 + 2 * 230, 400), (5, 200 + 4 * 230, 800)):
        rows = to_table([person("a.jpg", box=[9 * i, 0, 8, 30], attributes=names) for i in range(people)], boxed=True)
        assert annotated(Image.new("RGB", (40, 80)), rows).size == (width, height)


def test_a_panel_that_is_full_says_how_many_answers_it_leaves_out():
    many = to_table([person("a.jpg", attributes=(f"a{i}", f"b{i}")) for i in range(ROWS)], boxed=False)
    assert annotated(Image.new("RGB", (20, 40)), many).height == 400


def test_what_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written: File exists; "):
        written(["a.jpg"], tmp_path / "file")
