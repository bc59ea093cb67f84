"""Pictures in, answers out: the same whatever the batch, in every format, resumed, never half a file."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.schema import schema
from parlib.use.crops import find_images, gather
from parlib.use.model import EXAMPLES
from parlib.use.predict import Job, write_predictions


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


@pytest.fixture
def folder(tmp_path):
    """Four of the example pictures, one of them in a folder below."""
    for i, path in enumerate(sorted(EXAMPLES.glob("*.png"))[:4]):
        target = tmp_path / "people" / ("below" if i == 3 else ".") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path / "people"


def say(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = main(["predict", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_prediction_is_what_encoder_and_head_compute(model, folder):
    path = sorted(folder.glob("*.png"))[0]
    table = model(path)
    features = model.encoder.encode_images([Image.open(path).convert("RGB")])
    expected = (model.head(*features) / model.head.temperature).sigmoid()[0].detach().numpy()
    assert list(table["attribute"]) == model.names == schema("pa100k").names
    np.testing.assert_allclose(table["probability"], expected, atol=1e-6)
    assert (table["decision"] == (expected > model.head.thresholds.numpy())).all()
    assert table["calibrated"].all() and table["error"].isna().all()


def test_one_answer_whatever_the_batch_and_whoever_decodes(model, folder):
    alone = pd.concat([model(path) for _, path in find_images([folder])], ignore_index=True)
    for workers in (0, 1):
        together = model(folder, workers=workers)
        np.testing.assert_allclose(alone["probability"], together["probability"], atol=1e-5)
    assert list(together["image"].unique()) == [name for name, _ in find_images([folder])]


def test_pictures_in_memory_and_patterns_and_folders_are_taken(model, folder):
    opened = [Image.open(path) for _, path in find_images([folder])]
    by_picture, by_pattern = model(opened), model(str(folder / "**" / "*.png"))
    assert list(by_picture["image"].unique()) == [f"picture {i}" for i in (1, 2, 3, 4)]
    assert sorted(by_picture["probability"]) == sorted(by_pattern["probability"])
    assert len(find_images([folder, folder / "below"])) == 4, "each image once"


def test_some_attributes_and_one_threshold(model, folder):
    table = model(folder, attributes=["Hat", "Female"], threshold=0.0)
    assert list(table["attribute"]) == ["Hat", "Female"] * 4
    assert (table["threshold"] == 0).all() and table["decision"].all()
    assert list(model(folder, attributes=["hat", "female"])["attribute"]) == ["Hat", "Female"] * 4, "in any case"
    assert list(parlib.load().thresholds) == list(model.thresholds), "nothing changed for others"


def test_the_command_prints_json_and_csv_of_the_same_numbers(capsys, model, folder):
    code, out, _ = say(capsys, "nano-pa100k", folder, "--attributes", "Hat,Female")
    assert code == 0
    people = json.loads(out)
    assert [person["image"] for person in people] == [name for name, _ in find_images([folder])]
    assert set(people[0]["attributes"]["Hat"]) == {"probability", "decision", "threshold", "calibrated", "conflict"}
    code, out, _ = say(capsys, "nano-pa100k", folder, "--attributes", "Hat,Female", "--format", "csv")
    rows = out.splitlines()
    assert rows[0] == "image,attribute,probability,decision,threshold,calibrated,conflict,error" and len(rows) == 9
    assert float(rows[1].split(",")[2]) == people[0]["attributes"]["Hat"]["probability"]


def test_without_images_the_shipped_examples_are_predicted(capsys):
    code, out, err = say(capsys, "nano-pa100k", "--attributes", "Female")
    assert code == 0 and len(json.loads(out)) == len(list(EXAMPLES.glob("*.png"))) == 12
    assert "these are the examples" in err


def test_files_are_written_whole_in_every_format(capsys, model, folder, tmp_path):
    for suffix in ("json", "csv", "parquet"):
        assert say(capsys, "nano-pa100k", folder, "--out", tmp_path / f"out.{suffix}")[0] == 0
    people = json.loads((tmp_path / "out.json").read_text())
    table, other = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
    assert len(people) == 4 and len(table) == len(other) == 4 * 26
    np.testing.assert_array_equal(table["probability"], other["probability"])
    assert people[0]["attributes"]["Female"]["probability"] == other["probability"][0]
    assert {p.name for p in tmp_path.iterdir()} == {"people", "out.json", "out.csv", "out.parquet"}, "nothing left"


def test_unreadable_files_are_named_counted_and_kept_in_the_result(capsys, folder, tmp_path):
    (folder / "a.png").write_bytes(b"")
    (folder / "z.jpg").write_bytes(b"no image")
    code, out, err = say(capsys, "nano-pa100k", folder)
    failed = [person for person in json.loads(out) if "error" in person]
    assert code == 0 and [person["image"] for person in failed] == ["a.png", "z.jpg"]
    assert "a.png" in err and "is empty" in err and "2 of 6 images could not be read" in err
    code, out, err = say(capsys, "nano-pa100k", folder / "a.png", "--format", "csv")
    assert code == 1 and len(out.splitlines()) == 2 and "is empty" in out


def test_a_stopped_job_resumes_and_ends_with_the_same_bytes(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("parlib.use.predict.PART", 2)
    crops = gather([folder])
    whole, stopped, encoded = tmp_path / "whole.csv", tmp_path / "stopped.csv", []
    write_predictions(Job(model, crops, progress=False), whole)

    class Killed(Exception):
        pass

    def stop(parts):
        yield next(parts)
        raise Killed

    with pytest.raises(Killed):
        write_predictions(Job(model, crops, progress=False), stopped, watch=stop)
    assert not stopped.exists()
    once = model.encoder.encode_images
    monkeypatch.setattr(type(model.encoder), "encode_images", lambda self, x: encoded.append(1) or once(x))
    write_predictions(Job(model, crops, progress=False), stopped)
    assert stopped.read_bytes() == whole.read_bytes() and len(encoded) == 1, "the first piece was kept"
    assert not list(tmp_path.glob(".*"))


def test_two_jobs_do_not_write_one_file(model, folder, tmp_path):
    crops = gather([folder])
    out = tmp_path / "out.csv"

    def meanwhile(parts):
        with pytest.raises(BadInput, match="another process is writing"):
            write_predictions(Job(model, crops, progress=False), out)
        yield from parts

    assert write_predictions(Job(model, crops, progress=False), out, watch=meanwhile) == (4, [])
    with pytest.raises(BadInput, match="exists already"):
        write_predictions(Job(model, crops, progress=False), out)


def test_text_that_looks_like_a_formula_is_no_formula_in_csv(capsys, folder):
    shutil.copy(next(folder.glob("*.png")), folder / "=1+1.png")
    _, out, _ = say(capsys, "nano-pa100k", folder, "--attributes", "Hat", "--format", "csv")
    assert "\n'=1+1.png,Hat" in out and "\n=1" not in out


def test_annotated_pictures_lie_below_their_folder(capsys, folder, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "image,x,y,width,height\n" + "".join(f"below/{p.name},5,5,30,60\n" for p in (folder / "below").iterdir())
    )
    code = say(capsys, "nano-pa100k", folder, "--annotate", tmp_path / "seen")[0]
    made = sorted(p.relative_to(tmp_path / "seen").as_posix() for p in (tmp_path / "seen").rglob("*.png"))
    assert code == 0 and made == sorted(name for name, _ in find_images([folder])), "frame.png stays frame.png"
    picture = Image.open(tmp_path / "seen" / made[0])
    assert picture.height == 400 and picture.width > 230
    say(capsys, "nano-pa100k", f"{folder}/../people/below", "--annotate", tmp_path / "boxed", "--boxes", boxes)
    say(capsys, "nano-pa100k", folder, "--annotate", tmp_path / "boxed", "--boxes", boxes)
    boxed = next((tmp_path / "boxed").rglob("*.png"))
    assert boxed.is_relative_to(tmp_path / "boxed")
    colours = {colour for _, colour in Image.open(boxed).getcolors(1 << 24)}
    assert (0xD5, 0x5E, 0x00) in colours, "the box is drawn"


def test_wrong_words_have_clear_answers(capsys, folder, tmp_path):
    for arguments, words in (
        ((folder, "--attributes", "Backpak"), "did you mean Backpack"),
        ((folder, "--threshold", "2"), "is no probability"),
        ((tmp_path / "nowhere",), "no such file or folder"),
        ((folder, "--format", "parquet"), "parquet needs --out"),
        ((folder, "--out", tmp_path / "x.doc"), "known: json, csv, parquet"),
    ):
        code, out, err = say(capsys, "nano-pa100k", *arguments)
        assert code == 2 and out == "" and words in err and err.strip().splitlines()[-1].startswith("parlib: ")
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="no image in this folder"):
        gather([tmp_path / "none"])


def test_answers_that_exclude_each_other_are_marked_in_every_format(capsys, model, tmp_path):
    """At threshold 0 all ages are a yes, at 1 none is: both break a set of which exactly one holds."""
    ages = ["AgeOver60", "Age18-60", "AgeLess18"]
    for threshold in (0, 1):
        table = model(EXAMPLES / "person-01.png", attributes=[*ages, "Hat"], threshold=threshold)
        assert table["conflict"].notna().tolist() == [True, True, True, False]
        assert set(table["conflict"].dropna()) == {next(g.name for g in model.schema.exclusive if ages[0] in g.members)}
    assert model(EXAMPLES / "person-01.png", attributes=["Hat", "Glasses"], threshold=0)["conflict"].isna().all()
    asked = ("--threshold", 0, "--attributes", ",".join(ages))
    for suffix in ("json", "csv", "parquet"):
        say(capsys, "nano-pa100k", EXAMPLES / "person-01.png", *asked, "--out", tmp_path / f"out.{suffix}")
    answers = json.loads((tmp_path / "out.json").read_text())[0]["attributes"]
    assert all(answers[age]["conflict"] for age in ages)
    assert pd.read_csv(tmp_path / "out.csv")["conflict"].notna().all()
    assert pd.read_parquet(tmp_path / "out.parquet")["conflict"].notna().all()


def test_a_head_for_rendered_people_says_so_once_of_other_pictures(capsys, folder, rendered):
    for pictures, notes in ((EXAMPLES, 0), (rendered / "data", 0), (folder, 1)):
        _, _, err = say(capsys, "nano-pa100k", pictures, "--attributes", "Hat")
        assert err.count("trained on rendered people") == notes, pictures


def test_a_phrase_that_is_cut_is_named_on_stderr(capsys):
    """Two phrases that differ only after the tower's 32 tokens have one answer, and a note says where each was cut."""
    start = "a person who walks along a street on a sunny day " * 4
    phrases = ("--phrase", f"red={start} and a red coat", "--phrase", f"green={start} and a green coat")
    code, out, err = say(capsys, "nano-pa100k", EXAMPLES / "person-01.png", *phrases, "--attributes", "red,green")
    assert code == 0 and err.count("parlib: note: ") >= 1 and "32" in err
    answers = json.loads(out)[0]["attributes"]
    assert answers["red"]["probability"] == answers["green"]["probability"]


def test_a_folder_of_many_kinds_of_files_is_answered_or_named(capsys, real_data, tmp_path):
    code, out, _ = say(capsys, "nano-pa100k", real_data / "cases" / "10" / "pictures", "--attributes", "Hat")
    assert code == 0 and [person["image"] for person in json.loads(out)] == ["a.jpg", "b.jfif", "c.jpe"]
