"""A model in use: loaded, asked, extended, saved, and never silently the wrong one."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.files import write_atomic
from parlib.learn.head import VLMPARHead
from parlib.schema import schema
from parlib.use.attributes import few_shot_attribute, zero_shot_attribute
from parlib.use.boxes import read_boxes
from parlib.use.model import EXAMPLES, SHIPPED, Model
from parlib.use.predict import Job, gather
from parlib.use.sources import find_images
from parlib.use.write import write_predictions


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


# What it answers


def test_a_prediction_is_what_encoder_and_head_compute(model, folder):
    path = sorted(folder.glob("*.png"))[0]
    table = model(path)
    features = model.encoder.encode_images([Image.open(path).convert("RGB")])
    expected = (model.head(*features) / model.head.temperature).sigmoid()[0].detach().numpy()
    assert list(table["attribute"]) == model.names == schema("pa100k").names
    np.testing.assert_allclose(table["probability"], expected, atol=1e-6)
    assert (table["decision"] == (expected > model.head.thresholds.numpy())).all()
    assert table["calibrated"].all() and table["error"].isna().all()


def test_the_shipped_head_knows_its_examples_better_than_chance(model):
    record = model.records["test.json"]
    assert record["data"]["kind"] == "rendered" and record["tuned"]["mA"] > 0.8
    assert model.run["setting"]["weights"] == model.encoder.weights_hash


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


def test_other_languages_answer_and_are_not_called_calibrated(model, folder):
    english, chinese = model(folder), parlib.load(language="zh")(folder)
    assert not chinese["calibrated"].any() and english["calibrated"].all()
    assert 0 < abs(english["probability"] - chinese["probability"]).max() < 1
    both = parlib.load(language="en, zh")(folder)
    np.testing.assert_allclose(both["probability"], (english["probability"] + chinese["probability"]) / 2, atol=2e-6)
    with pytest.raises(BadInput, match="no prompts in 'xx'; there are en"):
        parlib.load(language="xx")


# The command


def test_the_command_prints_json_and_csv_of_the_same_numbers(capsys, model, folder):
    code, out, _ = say(capsys, "nano-pa100k", folder, "--attributes", "Hat,Female")
    assert code == 0
    people = json.loads(out)
    assert [person["image"] for person in people] == [name for name, _ in find_images([folder])]
    assert set(people[0]["attributes"]["Hat"]) == {"probability", "decision", "threshold", "calibrated"}
    code, out, _ = say(capsys, "nano-pa100k", folder, "--attributes", "Hat,Female", "--format", "csv")
    rows = out.splitlines()
    assert rows[0] == "image,attribute,probability,decision,threshold,calibrated,error" and len(rows) == 9
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


def test_a_stopped_job_goes_on_and_ends_with_the_same_bytes(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("parlib.use.predict.PIECE", 2)
    crops, _ = gather([folder])
    whole, stopped, encoded = tmp_path / "whole.csv", tmp_path / "stopped.csv", []
    write_predictions(Job(model, crops, progress=False), whole)

    class Killed(Exception):
        pass

    def stop(tables):
        yield next(tables)
        raise Killed

    with pytest.raises(Killed):
        write_predictions(Job(model, crops, progress=False), stopped, seen=stop)
    assert not stopped.exists()
    once = model.encoder.encode_images
    monkeypatch.setattr(type(model.encoder), "encode_images", lambda self, x: encoded.append(1) or once(x))
    write_predictions(Job(model, crops, progress=False), stopped)
    assert stopped.read_bytes() == whole.read_bytes() and len(encoded) == 1, "the first piece was kept"
    assert not list(tmp_path.glob(".*"))


def test_two_jobs_do_not_write_one_file(model, folder, tmp_path):
    crops, _ = gather([folder])
    out = tmp_path / "out.csv"

    def meanwhile(tables):
        with pytest.raises(BadInput, match="another process is writing"):
            write_predictions(Job(model, crops, progress=False), out)
        yield from tables

    assert write_predictions(Job(model, crops, progress=False), out, seen=meanwhile) == (4, [])
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


# Boxes


def test_a_box_is_the_crop_of_it(capsys, model, folder, tmp_path):
    path = sorted(folder.glob("*.png"))[0]
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
    assert code == 0 and "1 of 2 boxes" in err and "are of no person" in err


@pytest.mark.parametrize(
    "row, said",
    [
        ("frame.png,500,0,10,10", "row 1: box 500, 0, 10 x 10 lies outside its frame frame.png of 64 x 128 px"),
        ("frame.png,-30,0,10,10", "lies outside its frame"),
        ("frame.png,0,0,0,10", "row 1: 0, 0, 0 x 10 is no rectangle"),
        ("frame.png,a,0,10,10", "is no rectangle"),
        ("frame.png,inf,0,10,10", "is no rectangle"),
        ("other.png,0,0,10,10", "no image 'other.png' among the 1 given"),
        (",0,0,10,10", "row 1: names no image"),
    ],
)
def test_boxes_that_cannot_be_are_refused_before_anything_is_written(capsys, tmp_path, row, said):
    Image.new("RGB", (64, 128)).save(tmp_path / "frame.png")
    (tmp_path / "boxes.csv").write_text(f"image,x,y,width,height\n{row}\n")
    out = tmp_path / "out.csv"
    code, printed, err = say(
        capsys, "nano-pa100k", tmp_path / "frame.png", "--boxes", tmp_path / "boxes.csv", "--out", out
    )
    assert code == 2 and printed == "" and said in err and err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"frame.png", "boxes.csv"}


def test_boxes_over_the_edge_are_cut_and_counted_and_frames_without_one_too(capsys, tmp_path):
    for name in ("frame.png", "empty.png"):
        Image.new("RGB", (64, 128)).save(tmp_path / name)
    (tmp_path / "boxes.csv").write_text("image,x,y,width,height\nframe.png,-10,0,40,128\nframe.png,1,1,20,50\n")
    code, out, err = say(capsys, "nano-pa100k", tmp_path, "--boxes", tmp_path / "boxes.csv")
    assert code == 0 and len(json.loads(out)) == 2 and json.loads(out)[0]["box"] == [-10, 0, 40, 128]
    assert "1 of 2 boxes reach over the edge" in err and "1 of 2 images have no box" in err


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("b.csv", "image,left\na,1\n", "expected image and x, y, width, height"),
        ("b.csv", "image,x,y,width,height\n", "holds no box"),
        ("b.json", "{", "cannot be read"),
        ("b.json", "[1]", "is no COCO file of boxes"),
        ("b.json", '{"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}', "is no COCO file"),
    ],
)
def test_files_of_boxes_that_are_none(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        read_boxes(tmp_path / name)
    with pytest.raises(BadInput, match="no file of boxes"):
        read_boxes(tmp_path / "nothing.csv")


# Attributes nobody trained


def test_a_phrase_is_scored_as_the_checkpoint_does(model, folder):
    phrase, images = "a person with a red coat", [Image.open(p).convert("RGB") for _, p in find_images([folder])]
    table = model.with_phrases({"red coat": phrase})(folder, attributes=["red coat"])
    pooled = model.encoder.encode_images(images).pooled
    expected = model.encoder.zero_shot(pooled, model.encoder.encode_prompts([phrase]).pooled)[:, 0]
    np.testing.assert_allclose(table["probability"], expected, atol=1e-5)
    assert not table["calibrated"].any() and (table["threshold"] == 0.5).all()


def test_the_command_takes_phrases(capsys, folder):
    asked = ("--phrase", "red coat=a person in a red coat", "--attributes", "red coat,Hat")
    code, out, _ = say(capsys, "nano-pa100k", folder, *asked)
    assert code == 0 and list(json.loads(out)[0]["attributes"]) == ["red coat", "Hat"]
    code, _, err = say(capsys, "nano-pa100k", folder, "--phrase", "Hat=a hat")
    assert code == 2 and "names these attributes twice: Hat" in err
    code, _, err = say(capsys, "nano-pa100k", folder, "--phrase", "x=")
    assert code == 2 and "'x' needs a phrase" in err


def toy(encoder, n=400, seed=0):
    """Pooled features in which an attribute is one direction, and its labels, a fifth yes."""
    draws = torch.Generator().manual_seed(seed)
    pooled = torch.randn(n, encoder.width, generator=draws)
    return pooled, (pooled[:, :3].sum(1) > 1.45).int().numpy()


def test_calibration_on_labels_makes_probabilities_mean_what_they_say(model):
    pooled, labels = toy(model.encoder)
    phrase = "a person with a hat"
    raw = zero_shot_attribute(model.encoder, "x", phrase)
    direction = torch.nn.functional.normalize(raw.weight, dim=0)
    pooled = torch.nn.functional.normalize(pooled, dim=-1) + 0.1 * torch.as_tensor(labels)[:, None] * direction
    fitted = zero_shot_attribute(model.encoder, "x", phrase, pooled, labels)
    tokens, truth = torch.zeros(400, 64, model.encoder.width), torch.as_tensor(labels).double()
    after, before = (model.with_added(one).scores(tokens, pooled)[:, -1].double() for one in (fitted, raw))
    loss = torch.nn.functional.binary_cross_entropy
    assert loss(after, truth) < loss(before, truth) and abs(after.mean() - truth.mean()) < 0.01
    assert (before.argsort() == after.argsort()).all(), "no ranking moves"
    assert fitted.calibrated and not raw.calibrated and "400 labels (90 yes)" in fitted.how


def test_few_labels_are_learnt_and_more_labels_are_learnt_better(model):
    pooled, labels = toy(model.encoder, 2000)
    held = slice(1000, None)
    score = []
    for n in (16, 64, 800):
        added = few_shot_attribute(model.encoder, "x", pooled[:n], labels[:n])
        got = model.with_added(added).scores(torch.zeros(1000, 64, model.encoder.width), pooled[held])[:, -1:]
        score.append(parlib.evaluate(labels[held, None], got.numpy()).summary()["mAP"])
        assert added.name == "x" and not added.calibrated and f"{n} labels" in added.how
    assert score[0] < score[1] < score[2] and score[2] > 0.9
    with pytest.raises(BadInput, match="at least 2 of each"):
        few_shot_attribute(model.encoder, "x", pooled[:5], np.zeros(5))
    with pytest.raises(BadInput, match="5 features for 4 labels"):
        few_shot_attribute(model.encoder, "x", pooled[:5], np.zeros(4))


# Saved and loaded


def test_a_saved_model_answers_the_same_and_says_where_it_comes_from(model, folder, tmp_path):
    pooled, labels = toy(model.encoder)
    made = model.with_added(few_shot_attribute(model.encoder, "scarf", pooled, labels, "a person with a scarf"))
    made.save_pretrained(tmp_path / "saved")
    again = Model.from_pretrained(tmp_path / "saved")
    pd.testing.assert_frame_equal(made(folder), again(folder))
    assert (
        again.names[-1] == "scarf" and again.records == model.records and again.run["setting"] == model.run["setting"]
    )
    held = {p.name for p in (tmp_path / "saved").iterdir()}
    assert {p.rpartition(".")[2] for p in held} == {"json", "safetensors", "md"}
    prompts = json.loads((tmp_path / "saved" / "prompts.json").read_text())
    assert set(prompts) == {"trained with", "en", "zh", "es", "it", "fr", "ar"} and all(
        len(p) == 26 for p in prompts.values()
    )
    assert "/" + str(tmp_path).strip("/").split("/")[0] + "/" not in (tmp_path / "saved" / "run.json").read_text()


def test_the_card_is_written_from_the_record(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    text, record = (tmp_path / "saved" / "README.md").read_text(), model.records["test.json"]
    assert f"| mA at thresholds tuned on val | {100 * record['tuned']['mA']:.1f} |" in text
    low, high = record["intervals"]["f1"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in text and record["sha256"][:12] in text
    assert "no photographs" in text and "Do not use it to identify" in text and model.encoder.weights_hash in text


def test_saving_replaces_a_model_and_nothing_else(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "saved")
    write_atomic(tmp_path / "thesis" / "chapter.txt", "years of work")
    with pytest.raises(BadInput, match="holds something that is no model"):
        model.save_pretrained(tmp_path / "thesis")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_models_that_are_none_or_of_another_encoder(capsys, model, folder, tmp_path):
    for name, said in (
        ("nothing", "no model 'nothing': there is no such folder; give a folder, a hub id or nano-pa100k"),
        (folder, "holds no model"),
        ("./nothing/here", "no model './nothing/here'"),
    ):
        code, out, err = say(capsys, name, folder)
        assert code == 2 and out == "" and said in err and err.count("\n") == 1
    other = parlib.load_encoder("nano")
    other.model.vision_model.post_layernorm.weight.data += 0.1
    with pytest.raises(BadInput, match="a head reads its own encoder's features only"):
        parlib.load(encoder=other)
    shutil.copytree(SHIPPED["nano-pa100k"], tmp_path / "cut")
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BadInput, match="damaged or of another version"):
        parlib.load(tmp_path / "cut")


def test_wrong_words_have_clear_answers(capsys, folder, tmp_path):
    for arguments, said in (
        ((folder, "--attributes", "Backpak"), "did you mean Backpack"),
        ((folder, "--threshold", "2"), "is no probability"),
        ((tmp_path / "nowhere",), "no such file or folder"),
        ((folder, "--format", "parquet"), "parquet needs --out"),
        ((folder, "--out", tmp_path / "x.doc"), "known: json, csv, parquet"),
    ):
        code, out, err = say(capsys, "nano-pa100k", *arguments)
        assert code == 2 and out == "" and said in err and err.count("\n") == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="no image in this folder"):
        gather([tmp_path / "none"])


def test_a_head_alone_can_be_wrapped_and_saved(tmp_path):
    encoder, own = parlib.load_encoder("nano"), schema("pa100k").subset("mine", ["Hat", "Female"])
    head = VLMPARHead.for_encoder(encoder, own, ["a hat", "a woman"], "compact")
    Model(encoder, head).save_pretrained(tmp_path / "mine")
    assert parlib.load(tmp_path / "mine").names == ["Hat", "Female"]
    assert "No evaluation was recorded" in (tmp_path / "mine" / "README.md").read_text()
