import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from parlib.data import check, load_benchmark
from parlib.errors import BadInput


def jpeg(size=(40, 90), color=(200, 30, 30), **options):
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "JPEG", **options)
    return out.getvalue()


def noisy_jpeg():
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (90, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


def save(path, image, **options):
    image.save(path, **options)
    return path


def tree(root, rows=(("a.jpg", "1,0"), ("b.jpg", "0,1"), ("c.jpg", "1,"), ("d.jpg", "1,1")), split="train"):
    root.mkdir(exist_ok=True)
    for name, _ in rows:
        (root / name).write_bytes(noisy_jpeg())
    lines = [f"{name},{split},{values}" for name, values in rows]
    (root / "metadata.csv").write_text("image,split,hat,cap\n" + "\n".join(lines) + "\n")
    (root / "schema.yaml").write_text(
        "name: own\nattributes: [hat, cap]\nexclusive: [{name: top, members: [hat, cap], exactly_one: true}]\n"
    )
    return root


def test_good_tree(tmp_path):
    report = check(tree(tmp_path / "t"))
    assert report.usable and report.kind == "folder" and report.to_text().endswith("usable")
    found = report.splits["train"]
    assert found["rows"] == found["images"] == found["decoded"] == 4
    assert found["unlabelled"] == 0.125 and found["exclusive_sets_violated"] == {"top": 1}
    assert report.to_dict()["usable"] is True


def test_every_bad_image_is_found_whatever_is_sampled(tmp_path):
    rows = [(f"{i}.jpg", "1,0") for i in range(60)]
    root = tree(tmp_path / "t", rows)
    (root / "7.jpg").write_bytes(b"")
    (root / "21.jpg").write_bytes(noisy_jpeg()[:900])
    (root / "33.jpg").write_bytes(b"\xff\xd8 not really")
    save(root / "50.jpg", Image.new("L", (20_000, 8)))
    (root / "41.jpg").unlink()
    report = check(root, decode=2)
    assert not report.usable and report.splits["train"]["decoded"] < 10
    unreadable = [re.search(r"\d+\.jpg", text)[0] for text in report.splits["train"]["unreadable"]]
    assert unreadable == ["7.jpg", "21.jpg", "33.jpg", "50.jpg"]
    assert any("1 of 60 images are missing" in text and "first 41.jpg" in text for text in report.problems)
    assert "NOT usable: 2 problem(s)" in report.to_text()
    assert "never 1: cap" in report.to_text() and "always 1: hat" in report.to_text()


def test_a_bad_picture_in_a_dataset_is_an_error_on_access(tmp_path):
    root = tree(tmp_path / "t")
    (root / "b.jpg").write_bytes(noisy_jpeg()[:900])
    data = load_benchmark("folder", root, "train")  # opens no picture
    assert data[0]["image"].size == (40, 90)
    with pytest.raises(BadInput, match=r"b\.jpg cannot be read"):
        data[1]
    assert data.select_columns("image_id")[1] == {"image_id": "b.jpg"}


def test_names_links_and_splits(tmp_path):
    root = tree(tmp_path / "t", [("a.jpg", "1,0"), ("b.jpg", "0,1")])
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    (root / "a.jpg").unlink()
    (root / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    lines = ["a.jpg,train,1,0", "../secret.jpg,train,1,0", "b.jpg,train,0,1", "b.jpg,test,0,1", "b.jpg,test,0,1"]
    (root / "metadata.csv").write_text("image,split,hat,cap\n" + "\n".join(lines) + "\n")
    text = " | ".join(check(root).problems)
    assert "b.jpg' in train and test" in text and "names 1 image(s) twice" in text
    assert "1 of 3 images lead out of" in text and "first ../secret.jpg" in text
    assert "1 of 3 images are links" in text and "first a.jpg (really" in text


def test_unrecognised(tmp_path):
    report = check(tmp_path)
    assert not report.usable and "not recognised" in report.to_text() and "found an empty folder" in report.to_text()
    assert "no such folder" in check(tmp_path / "gone").to_text()


@pytest.mark.long
@pytest.mark.real
def test_real_trees(real_data):
    sample = check(real_data / "pa100k-sample")
    assert sample.usable and [found["decoded"] for found in sample.splits.values()] == [1000 + 400, 199, 200]
    assert not any(found["exclusive_sets_violated"] for found in sample.splits.values())
    for file, word in (("empty_name", "1 empty image name"), ("name_in_two_splits", "'001600.jpg' in train and val")):
        report = check(real_data / "pa100k-damaged" / f"annotation_{file}.mat", images=False)
        assert not report.usable and word in report.to_text() and report.kind == "pa100k"
    whole = check(real_data / "pa100k", images=False)
    assert whole.usable and not whole.notes and sum(found["rows"] for found in whole.splits.values()) == 100_000
    assert not check(real_data / "pa100k").usable  # its images are not here
    for kind in ("peta", "market1501"):
        assert check(real_data / kind, images=False).kind == kind


@pytest.mark.real
def test_real_sample_with_a_cut_image(real_data, tmp_path):
    root = tmp_path / "sample"
    shutil.copytree(real_data / "pa100k-sample", root)
    cut = root / "data" / "000007.jpg"
    cut.chmod(0o644)
    cut.write_bytes(cut.read_bytes()[:1000])
    report = check(root, decode=10)
    assert not report.usable and "000007.jpg" in report.to_text()
