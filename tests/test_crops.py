"""Which people are looked at: pictures in folders, and boxes of any detector; what is left out is named."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.use.boxes import Box, read_boxes
from parlib.use.crops import crops_of, find_images, gather
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
        ("b.json", '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}', "holds no box"),
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


PERSON, OTHER = [40, 220, 52, 122], [5, 5, 50, 50]


def coco(categories, *annotations):
    """COCO's JSON of one frame; each annotation is (category, box, more)."""
    listed = [{"id": i, "image_id": 1, "category_id": c, "bbox": b, **m} for i, (c, b, m) in enumerate(annotations, 1)]
    named = [{"id": i, "name": name} for i, name in enumerate(categories, 1)]
    images = [{"id": 1, "file_name": "frame.png"}]
    return json.dumps({"images": images, "annotations": listed, "categories": named})


def table(header, *rows):
    """A CSV of one frame."""
    return "\n".join([f"image,xmin,ymin,xmax,ymax,{header}", *(f"frame.png,{row}" for row in rows)])


@pytest.mark.parametrize(
    "text, note",
    [
        # A detector's columns: another class and a low score.
        (table("confidence,class,name", "40,220,92,342,0.91,0,person", "5,5,55,55,0.88,16,dog"), "other classes, dog"),
        (table("confidence", "40,220,92,342,0.91", "5,5,55,55,0.03"), "score below 0.25 (--min-score)"),
        (table("label", "40,220,92,342,Pedestrian", "5,5,55,55,"), "of other classes, none"),
        (table("iscrowd", "40,220,92,342,0", "5,5,55,55,1"), "crowds, not one person"),
        # Plural, foreign and capital words for people.
        (coco(["people", "dog"], (1, PERSON, {}), (2, OTHER, {})), "of other classes, dog"),
        (coco(["PERSONA", "perro"], (1, PERSON, {}), (2, OTHER, {})), "of other classes, perro"),
        (coco(["人", "狗"], (1, PERSON, {}), (2, OTHER, {})), "of other classes, 狗"),
        (coco(["person"], (1, PERSON, {}), (1, OTHER, {"iscrowd": 1})), "crowds, not one person"),
        (coco(["person"], (1, PERSON, {"score": 0.9}), (1, OTHER, {"score": 0.1})), "score below 0.25"),
        # COCO's results: its own numbers, in which 1 is a person, and the number of the frame.
        (
            json.dumps(
                [
                    {"image_id": "frame", "category_id": 1, "bbox": PERSON, "score": 0.9},
                    {"image_id": "frame", "category_id": 18, "bbox": OTHER, "score": 0.9},
                ]
            ),
            "of other classes, 18",
        ),
    ],
)
def test_what_is_no_person_is_left_out_and_counted(text, note, tmp_path):
    path = tmp_path / f"boxes.{'json' if text[0] in '{[' else 'csv'}"
    path.write_text(text)
    Image.new("RGB", (400, 400)).save(tmp_path / "frame.png")
    with pytest.warns(UserWarning, match="1 of 2 boxes left out") as notes:
        crops = gather(tmp_path / "frame.png", path)
    assert [list(crop.box[1:5]) for crop in crops] == [PERSON]
    assert len(notes) == 1 and note in str(notes[0].message)


def test_without_a_word_for_people_all_boxes_are_taken_and_a_note_says_so(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(coco(["osoba", "pes"], (1, PERSON, {}), (2, OTHER, {})))
    with pytest.warns(UserWarning, match="no category is called person, only osoba, pes: all 2 boxes taken"):
        assert len(read_boxes(path)) == 2
    with pytest.warns(UserWarning, match="1 of 2 boxes left out: of other classes, pes"):
        assert len(read_boxes(path, category="Osoba")) == 1
    path.write_text(coco(["person", "dog"], (2, OTHER, {})))
    with pytest.raises(BadInput, match="no box of a person: 1 were left out"), pytest.warns(UserWarning):
        read_boxes(path)


def test_attributes_of_a_coco_box_may_be_words_and_its_own_track_goes_first(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(coco(["person"], (1, PERSON, {"attributes": ["red", "tall"]})))
    assert len(read_boxes(path)) == 1
    path.write_text(coco(["person"], (1, PERSON, {"identity": "anna", "attributes": {"track_id": "7"}})))
    assert read_boxes(path, tracked=True)[0].identity == "anna"


def test_scores_and_columns_say_what_they_mean(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(table("score,track", "40,220,92,342,91,7", "5,5,55,55,30,8"))
    with (
        pytest.warns(UserWarning, match="columns not used: track"),
        pytest.raises(BadInput, match="row 1: score 91 is"),
    ):
        read_boxes(path)
    with pytest.warns(UserWarning, match="score below 50"):
        assert len(read_boxes(path, min_score=50)) == 1
    path.write_text(table("class", "40,220,92,342,0", "5,5,55,55,16"))
    with pytest.raises(BadInput, match="numbers 0, 16 and no names: --category"):
        read_boxes(path)
    with pytest.warns(UserWarning, match="other classes, 16"):
        assert len(read_boxes(path, category="0")) == 1
    path.write_text(table("score", "40,220,92,342,N/A", '5,5,55,55,"0,9"'))
    with pytest.raises(BadInput, match="row 2: score '0,9' is no number"):
        read_boxes(path)
    path.write_text(table("score", "40,220,92,342,N/A"))
    assert len(read_boxes(path)) == 1, "a box without a score is taken"


@pytest.mark.parametrize(
    "text, words",
    [
        ("1,-1,10,20,30,40,1,-1,-1,-1\n", "looks like MOT text"),
        ("0 0.5 0.5 0.1 0.2\n", "looks like YOLO text"),
        ("image,x,y,width,height\nframe.png,0.1,0.1,0.5,0.5\n", "fractions of the frame; give pixels"),
    ],
)
def test_other_kinds_of_files_are_refused_by_name(text, words, tmp_path):
    (tmp_path / "boxes.txt").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_boxes(tmp_path / "boxes.txt")


def test_a_box_finds_its_frame_by_any_of_its_names(tmp_path):
    images = [("a/000139.jpg", "/data/a/000139.jpg"), ("b/frame.png", "b/frame.png"), ("c/frame.png", "c/frame.png")]
    for name in ("000139.jpg", "000139", "139", "a\\000139.jpg", "./a/000139.jpg", "/data/a/000139.jpg"):
        assert name_of(images, name) == "a/000139.jpg"
    assert name_of(images, "c/frame.png") == "c/frame.png"
    with pytest.raises(BadInput, match="or several of that name"):
        crops_of(images, [Box("frame.png", 1, 1, 5, 5, "row 1")])


def name_of(images, name):
    """Name of the image that a box of `name` belongs to."""
    with pytest.warns(UserWarning, match="2 of 3 images have no box"):
        return crops_of(images, [Box(name, 1, 1, 5, 5, "row 1")])[0].name


# Pictures in folders and in memory


def test_a_picture_in_memory_is_read_as_from_its_file(tmp_path):
    """Transparent, 16-bit and turned by EXIF: the same pixels either way."""
    grey = np.arange(0, 64000, 1000, dtype=np.uint16).reshape(8, 8)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    turned, exif = Image.new("RGB", (8, 4), "red"), Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    clear.save(tmp_path / "clear.png")
    for path in sorted(tmp_path.iterdir()):
        (by_file,), (in_memory,) = gather([path]), gather([Image.open(path)])
        assert by_file.frame().size == in_memory.frame().size
        np.testing.assert_array_equal(by_file.frame(), in_memory.frame())


def test_every_file_of_a_folder_is_taken_or_named(tmp_path):
    picture = next(EXAMPLES.glob("*.png")).read_bytes()
    for name in ("a.png", "b.jfif", "c.JPE", "plain", "sub/d.dat", "damaged.jpg"):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "damaged.jpg" else picture)
    for name in ("notes.txt", "sub/labels.csv", ".hidden"):
        (tmp_path / "people" / name).write_text("text")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "people" / "link").symlink_to(tmp_path / "elsewhere")
    for source in (tmp_path / "people", f"{tmp_path}/people/**"):
        with pytest.warns(UserWarning, match="files are no pictures and were left out") as notes:
            found = find_images([source])
        taken = [os.path.relpath(path, tmp_path / "people") for _, path in found]
        assert taken == ["a.png", "b.jfif", "c.JPE", "damaged.jpg", "plain", "sub/d.dat"]
        assert len(notes) == 1 and all(name in str(notes[0].message) for name in ("notes.txt", "sub/labels.csv"))
    assert find_images([tmp_path / "people" / "notes.txt"]), "a file that is named itself is always answered"


def test_of_animated_pictures_the_first_frame_is_used_and_a_note_counts_them(capsys, tmp_path):
    frames = [Image.new("RGB", (40, 80), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "b.webp", "c.png", "sub/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50)
    for name in ("e.gif", "f.webp", "g.jpg"):
        frames[0].save(tmp_path / name)
    code, out, err = say(capsys, "nano-pa100k", tmp_path, "--attributes", "Hat")
    assert code == 0 and len(json.loads(out)) == 7
    assert err.count("only the first frame of 4 pictures was used") == 1
    with pytest.warns(UserWarning, match="only the first frame of 1 picture was used"):
        (crop,) = gather(Image.open(tmp_path / "a.gif"))
    assert crop.open().getpixel((5, 5)) == (255, 0, 0)
