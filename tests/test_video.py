"""People in clips: any tracker's file, any timing, damaged frames; one answer per person, and a job that resumes."""

import contextlib
import itertools
import json
import warnings
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.use import clips
from parlib.use.clips import Clip
from parlib.use.people import combined, detect, gather_people, linked, sampled, weight
from parlib.use.predict import Job, write_predictions
from pedsynth.cameras import CAMERAS
from pedsynth.figure import draw_person
from pedsynth.population import sample_person
from pedsynth.scene import background

av = pytest.importorskip("av")
SIZE, FRAMES, PEOPLE = (320, 180), 24, 2


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two rendered people who walk through a scene, at uneven times: folder with clip.mp4 and the tracks mot.txt."""
    folder, rows = tmp_path_factory.mktemp("clip"), []
    (folder / "rendered.json").write_text("{}")
    scene = background(np.random.default_rng(0), *SIZE, CAMERAS["pa100k"][0]).convert("RGB")
    figures = []
    for i in range(PEOPLE):
        person = sample_person(np.random.default_rng(i), "pa100k", "test")
        steps = [draw_person(person, *map(np.random.default_rng, ([i, k], [i, 9])), 130) for k in range(4)]
        figures.append([step.crop(step.getbbox()) for step in steps])
    pictures = []
    for n in range(FRAMES):
        pictures.append(scene.copy())
        for i, steps in enumerate(figures):
            step = steps[n // 3 % 4]
            x, y = 8 * n + 90 * i - 10, SIZE[1] - step.height - 6
            pictures[-1].paste(step, (x, y), step)
            rows.append((i + 1, n + 1, x, y, *step.size))
    write(folder / "clip.mp4", pictures)
    lines = [f"{n},{i},{x},{y},{w},{h},1,-1,-1,-1" for i, n, x, y, w, h in sorted(rows)]
    (folder / "mot.txt").write_text("\n".join(lines) + "\n")
    return folder


def write(path, pictures, codec="libx264"):
    """A clip whose frames are shown 40 and 100 ms, in turns."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = n // 2 * 140 + n % 2 * 40, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def people_of(clip, text, name="tracks.csv", **options):
    (clip / name).write_text(text)
    return gather_people(clip / "clip.mp4", clip / name, **options)


def test_one_row_per_person_in_every_format_and_pictures_of_them(clip, tmp_path, capsys):
    command = ["predict", "nano-pa100k", str(clip / "clip.mp4"), "--tracks", str(clip / "mot.txt"), "--most", "6"]
    for suffix in ("json", "csv", "parquet"):
        assert main([*command, "--out", str(tmp_path / f"out.{suffix}"), "--annotate", str(tmp_path / "seen")]) == 0
    assert "12 of 48 crops of 2 people are answered" in capsys.readouterr().err
    people = json.loads((tmp_path / "out.json").read_text())
    assert [person["person"] for person in people] == ["1", "2"] and len(people[0]["attributes"]) == 26
    assert people[0]["crops"] == 6 and len(people[0]["decided"]) == 3
    csv, parquet = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
    assert len(csv) == len(parquet) == PEOPLE
    assert csv["Hat_probability"][1] == parquet["Hat_probability"][1] == people[1]["attributes"]["Hat"]["probability"]
    drawn = Clip(tmp_path / "seen" / "clip-people.mp4")
    assert drawn.count == FRAMES and drawn.seconds(FRAMES - 1) == pytest.approx(11 * 0.14 + 0.04, abs=0.01)
    plain = np.asarray(Clip(clip / "clip.mp4").frame(10), int)
    assert (abs(np.asarray(drawn.frame(10), int) - plain).max(-1) > 100).sum() > 200, "boxes and words are drawn"
    assert (tmp_path / "seen" / "person-2.png").is_file()


def test_a_person_is_the_weighted_mean_of_the_logits_of_the_crops(clip, model):
    with warnings.catch_warnings(action="ignore"):
        crops = gather_people(clip / "clip.mp4", clip / "mot.txt")
        job = Job(model, crops, ["Hat", "Female"], progress=False)
        table = model(clip / "clip.mp4", tracks=clip / "mot.txt", attributes=["Hat", "Female"])
    mine = [crop for part in job.each_crop() for crop in part if crop["person"] == "2"]
    p = np.array([crop["attributes"]["Female"]["probability"] for crop in mine])
    w = np.array([weight(crop.open()) for crop in crops if crop.identity == "2"])
    expected = 1 / (1 + np.exp(-(w * np.log(p / (1 - p))).sum() / w.sum()))
    assert table.set_index("person").loc["2", "Female_probability"] == pytest.approx(expected, abs=2e-6)
    assert [crop["weight"] for crop in mine] == pytest.approx(w.tolist())


def test_frames_are_the_same_in_any_order_and_damage_does_not_shift_them(clip, tmp_path):
    video = Clip(clip / "clip.mp4")
    inorder = [np.asarray(video.frame(i)) for i in range(FRAMES)]
    for i in (20, 3, 4, 23, 0):
        np.testing.assert_array_equal(video.frame(i), inorder[i])
    with av.open(clip / "clip.mp4") as source, av.open(tmp_path / "cut.mkv", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(video=0)):
            if packet.size and i == 6:
                damaged = av.Packet(b"\0" * packet.size)
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                packet = damaged
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    cut, lost = Clip(tmp_path / "cut.mkv"), []
    assert cut.count == FRAMES
    for i in range(FRAMES):
        try:
            if np.abs(np.asarray(cut.frame(i), int) - inorder[i]).mean() > 12:
                lost.append(i)
        except BadInput as error:
            assert "cannot be decoded: it is damaged" in str(error)
            lost.append(i)
    assert 1 <= len(lost) < FRAMES - 6


def test_a_clip_that_cannot_be_read_to_its_end_is_read_up_to_there(clip, monkeypatch):
    opened = clips._opened

    def damaged(path):
        container = opened(path)
        packets = itertools.chain(itertools.islice(container.demux(video=0), 12), fail())
        wrapped = SimpleNamespace(streams=container.streams, seek=container.seek, demux=lambda stream: packets)
        return contextlib.nullcontext(wrapped)

    def fail():
        raise av.error.InvalidDataError(1, "damaged")
        yield

    monkeypatch.setattr(clips, "_opened", damaged)
    with pytest.warns(UserWarning, match="is read up to where it is damaged"):
        assert Clip(clip / "clip.mp4").count == 12


def test_every_kind_of_tracks_gives_the_same_people(clip):
    with warnings.catch_warnings(action="ignore"):
        mot = gather_people(clip / "clip.mp4", clip / "mot.txt")
        rows = [(crop.source.number, crop.identity, *crop.box[1:5]) for crop in mot]
        table = "frame,track_id,x,y,width,height\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
        images = [{"id": 10 + n, "file_name": f"img/frame_{n:06d}.jpg"} for n in range(FRAMES)]
        boxes = [{"image_id": 10 + n, "track_id": int(i), "bbox": [x, y, w, h]} for n, i, x, y, w, h in rows]
        for text, name in ((table, "t.csv"), (json.dumps({"images": images, "annotations": boxes}), "t.json")):
            again = people_of(clip, text, name)
            assert [(c.name[:-9], c.identity, c.box[1:5]) for c in again] == [
                (f"clip.mp4 frame {c.source.number}"[: len(o.name) - 9], c.identity, c.box[1:5])
                for c, o in zip(mot, again, strict=True)
            ]


HEAD = "frame,id,x,y,width,height\n"


@pytest.mark.parametrize(
    "rows, left, note",
    [
        ("0,a,5,5,30,60\n99,a,5,5,30,60\n", 1, "1 of 2 boxes lie in no frame and were left out"),
        ("0,a,5,5,30,60\n1,a,900,5,30,60\n", 1, "1 of 2 boxes lie outside their frame and were left out"),
        ("0,a,5,5,30,60\n0,a,90,5,30,60\n1,a,5,5,30,60\n", 1, "2 of 3 boxes left out: one id for two people, such as"),
        ("0,a,5,5,30,60\n0,-1,90,5,30,60\n", 1, "1 of 2 boxes left out: no id of a track"),
        ("0,a,-20,5,40,60\n", 1, "1 of 1 boxes reach over the edge of their frame"),
        ("1,a,5,5,30,60\n", 1, "its frames count from 1"),
    ],
)
def test_what_does_not_fit_is_counted_and_the_rest_is_answered(clip, rows, left, note):
    with pytest.warns(UserWarning, match=note):
        assert len(people_of(clip, HEAD + rows)) == left


def test_what_cannot_be_used_is_one_error(clip, tmp_path, capsys):
    broken = (clip / "clip.mp4").read_bytes().replace(b"avc1", b"zzzz")
    (tmp_path / "codec.mp4").write_bytes(broken)
    (tmp_path / "text.mp4").write_text("no clip")
    for name, words in (
        ("codec.mp4", "no decoder for it"),
        ("text.mp4", "no clip that can be read"),
        ("no.mp4", "no clip"),
    ):
        code = main(["predict", "nano-pa100k", str(tmp_path / name), "--tracks", str(clip / "mot.txt")])
        assert code == 2 and words in capsys.readouterr().err.splitlines()[-1]
    for text, words in (
        (HEAD + "x,a,5,5,9,9\n", "is no number of a frame"),
        ("frame,x,y,w,h\n0,1,1,9,9\n", "no column of ids"),
    ):
        with pytest.raises(BadInput, match=words):
            people_of(clip, text)
    with pytest.raises(BadInput, match="none is left; are these the tracks"):
        people_of(clip, HEAD + "77,a,5,5,9,9\n")
    assert main(["predict", "nano-pa100k", str(clip / "clip.mp4")]) == 2
    assert "is a clip: give it alone, with --tracks" in capsys.readouterr().err


def test_a_stopped_job_over_a_clip_resumes_with_the_same_bytes(clip, model, tmp_path, monkeypatch):
    monkeypatch.setattr("parlib.use.predict.PART", 8)
    with warnings.catch_warnings(action="ignore"):
        crops = sampled(gather_people(clip / "clip.mp4", clip / "mot.txt"), 12)
    write_predictions(Job(model, crops, progress=False), tmp_path / "whole.json")
    batch, done = Job._batch, []

    def killed(job, *inputs):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return batch(job, *inputs)

    monkeypatch.setattr(Job, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(Job(model, crops, progress=False), tmp_path / "again.json")
    monkeypatch.setattr(Job, "_batch", lambda job, *inputs: done.append(1) or batch(job, *inputs))
    write_predictions(Job(model, crops, progress=False), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "whole.json").read_bytes() and len(done) == 3


def test_a_person_without_a_crop_that_can_be_read_is_an_error_and_not_a_crash():
    parts = [[{"image": "a", "person": "1", "error": "damaged"}], [{"image": "b", "person": "1", "error": "too"}]]
    (people,) = combined(parts, lambda scores: [])
    assert [(p["error"], p["crops"], p["left_out"]) for p in people] == [("damaged", 0, 2)]


def test_images_of_one_identity_are_answered_together(rendered_market, tmp_path, capsys, model):
    folder = rendered_market / "bounding_box_test"
    with pytest.warns(UserWarning, match="show nobody known"):
        table = model(folder, by="identity", attributes=["Hat"])
    people = {path.name[:4] for path in folder.glob("*.jpg")} - {"0000", "-1_c"}
    assert people < set(table["person"]) and table["crops"].max() > 1
    first = min(people)
    (tmp_path / "all" / "anna").mkdir(parents=True)
    for i, path in enumerate(sorted(folder.glob(f"{first}*"))):
        (tmp_path / "all" / "anna" / f"{i}.jpg").write_bytes(path.read_bytes())
    by_folder = model(tmp_path / "all", by="folder", attributes=["Hat"]).set_index("person")
    (tmp_path / "all" / "labels.csv").write_text("image,identity,Hat\n" + "anna/0.jpg,anna,\nanna/1.jpg,anna,\n")
    with warnings.catch_warnings(action="ignore"):
        by_table = model(tmp_path / "all", by="identity", attributes=["Hat"]).set_index("person")
    same = table.set_index("person")["Hat_probability"][first]
    assert by_folder["Hat_probability"]["anna"] == pytest.approx(same, abs=1e-5) and by_table["crops"]["anna"] == 2
    with pytest.raises(BadInput, match="no image's person is known"), warnings.catch_warnings(action="ignore"):
        model(tmp_path / "all" / "anna", by="folder")
    with pytest.raises(BadInput, match="no image's person is known"):
        model([Image.new("RGB", (40, 80))], by="identity")


def test_boxes_are_linked_by_overlap_and_a_gap_or_a_jump_ends_a_track():
    walk = [[[4.0 * n, 0, 20, 40], [200 - 4.0 * n, 0, 20, 40]] for n in range(10)]
    assert linked(walk) == [[1, 2]] * 10
    assert linked([[[0, 0, 20, 40]], [], [[2, 0, 20, 40]], [[100, 0, 20, 40]]]) == [[1], [], [1], [2]]
    assert linked([[[0, 0, 20, 40]], *[[]] * 30, [[0, 0, 20, 40]]])[-1] == [2]


def test_a_detector_of_transformers_finds_people_and_a_stopped_one_resumes(clip, tmp_path, monkeypatch, capsys):
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = YolosConfig(
        **tiny, image_size=[64, 64], num_detection_tokens=3, id2label={0: "person"}, label2id={"person": 0}
    )
    torch.manual_seed(0)
    made = YolosForObjectDetection(config)
    made.class_labels_classifier.layers[-1].bias.data = torch.tensor([9.0, -9.0])  # whatever it sees is a person
    made.save_pretrained(tmp_path / "yolos")
    YolosImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "yolos")
    monkeypatch.setattr("parlib.use.people.PART", 8)
    frame, seen = Clip.frame, []

    def stopped(self, number):
        if number == 12 and 12 not in seen:
            seen.append(12)
            raise KeyboardInterrupt
        return seen.append(number) or frame(self, number)

    monkeypatch.setattr(Clip, "frame", stopped)
    out = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt):
        detect(clip / "clip.mp4", str(tmp_path / "yolos"), out)
    seen.clear()
    seen.append(12)
    detect(clip / "clip.mp4", str(tmp_path / "yolos"), out)
    assert seen[1:] == list(range(8, FRAMES)) and not list(tmp_path.glob(".t.csv*")), "the first part was kept"
    table = pd.read_csv(out)
    assert len(table) == 3 * FRAMES and set(table["frame"]) == set(range(FRAMES)) and table["track_id"].min() == 1
    command = ["predict", "nano-pa100k", str(clip / "clip.mp4"), "--detector", str(tmp_path / "yolos")]
    assert main([*command, "--tracks", str(out), "--most", "1"]) == 0
    assert "so the detector is not run again" in capsys.readouterr().err
    for path, words in ((clip, "cannot be read"), (tmp_path / "nothing", "object detector")):
        with pytest.raises(BadInput, match=words):
            detect(clip / "clip.mp4", str(path), tmp_path / "u.csv")
