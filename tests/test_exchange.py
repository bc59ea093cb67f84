"""Answers for other programs: datasets, FiftyOne's documented JSON, and lists as transformers' pipelines give them."""

import json

import numpy as np
import pytest
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.use.crops import gather
from parlib.use.exchange import to_dataset
from parlib.use.model import EXAMPLES
from parlib.use.predict import Job


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


@pytest.fixture
def folder(tmp_path):
    for name in ("person-01.png", "person-02.png"):
        Image.open(EXAMPLES / name).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "rendered.json").write_text("{}")
    return tmp_path


def test_a_pipeline_call_gives_labels_and_scores_best_first(model):
    one = model.classify(EXAMPLES / "person-01.png", top_k=3)
    several = model.classify([EXAMPLES / "person-01.png", EXAMPLES / "person-02.png"])
    assert [set(each) for each in one] == [{"label", "score"}] * 3 and one == several[0][:3]
    assert len(several) == 2 and len(several[1]) == 26
    scores = [each["score"] for each in several[1]]
    assert scores == sorted(scores, reverse=True)
    table = model(EXAMPLES / "person-02.png").set_index("attribute")["probability"]
    assert {each["label"]: each["score"] for each in several[1]} == pytest.approx(table.to_dict(), abs=2e-6)
    assert model.classify(Image.open(EXAMPLES / "person-01.png"), attributes=["Hat"])[0]["label"] == "Hat"


def test_a_picture_that_cannot_be_read_is_an_error_of_the_call(model, folder):
    with pytest.raises(BadInput, match="is empty"):
        model.classify(folder / "broken.png")


@pytest.mark.filterwarnings("ignore:1 file is no picture")
def test_a_dataset_holds_pictures_scores_and_labels_by_name(model, folder):
    made = to_dataset(Job(model, gather(folder), progress=False))
    table = model(folder).set_index(["image", "attribute"])
    assert made["image_id"][:] == ["broken.png", "person-01.png", "person-02.png"]
    assert made[0]["image"] is None and "is empty" in made[0]["error"] and set(made[0]["labels"].values()) == {-1}
    assert made[1]["image"].size == Image.open(folder / "person-01.png").size and made[1]["box"] is None
    for name in ("Hat", "Female"):
        answer = table.loc[("person-02.png", name)]
        assert made[2]["scores"][name] == pytest.approx(answer["probability"], abs=1e-6)
        assert made[2]["labels"][name] == int(answer["decision"])
    people = to_dataset(Job(model, [crop._replace(identity="a") for crop in gather(folder)[1:]], progress=False))
    assert people["person"][:] == ["a"] and "image" not in people.column_names


@pytest.mark.filterwarnings("ignore:1 file is no picture")
def test_fiftyone_reads_whole_pictures_as_classifications(model, folder, tmp_path):
    """The layout in its user guide: {"labels": {absolute path: [{"label", "confidence"}, ...] or null}}."""
    out = tmp_path / "labels.json"
    assert main(["predict", "nano-pa100k", str(folder), "--format", "fiftyone", "--out", str(out)]) == 0
    labels = json.loads(out.read_text())["labels"]
    assert list(labels) == [str(folder / name) for name in ("broken.png", "person-01.png", "person-02.png")]
    assert labels[str(folder / "broken.png")] is None
    table = model(folder / "person-01.png")
    yes = table[table["decision"]]
    found = {target["label"]: target["confidence"] for target in labels[str(folder / "person-01.png")]}
    # Two pictures are answered together there, one here: the last decimal may differ.
    assert found == pytest.approx(dict(zip(yes["attribute"], yes["probability"], strict=True)), abs=2e-6)


def test_fiftyone_reads_boxes_as_detections_in_fractions_of_the_frame(folder, tmp_path, capsys):
    width, height = Image.open(folder / "person-01.png").size
    rows = [f"person-01.png,0,0,{width // 2},{height}", f"person-01.png,-9,10,{width},{height}"]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,x,y,width,height", *rows]))
    command = ["predict", "nano-pa100k", str(folder / "person-01.png"), "--boxes", str(tmp_path / "boxes.csv")]
    assert main([*command, "--format", "fiftyone"]) == 0
    ((path, targets),) = json.loads(capsys.readouterr().out)["labels"].items()
    assert path == str(folder / "person-01.png") and [target["label"] for target in targets] == ["person"] * 2
    assert targets[0]["bounding_box"] == pytest.approx([0, 0, width // 2 / width, 1])
    corners = np.array([target["bounding_box"] for target in targets])
    assert (corners >= 0).all() and (corners[:, :2] + corners[:, 2:] <= 1).all() and len(targets[0]["attributes"]) == 26


def test_fiftyone_is_for_image_files(folder, capsys):
    assert main(["predict", "nano-pa100k", str(EXAMPLES), "--by", "identity", "--format", "fiftyone"]) == 2
    (folder / "anna").mkdir()
    Image.open(EXAMPLES / "person-01.png").save(folder / "anna" / "1.png")
    assert main(["predict", "nano-pa100k", str(folder), "--by", "folder", "--format", "fiftyone"]) == 2
    assert "FiftyOne's labels are of image files" in capsys.readouterr().err
