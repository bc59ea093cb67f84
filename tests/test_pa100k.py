import csv
import pickle
import shutil
import subprocess
import sys

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat

from parlib.data import check, labels_of, load_benchmark, read_release, schema_of
from parlib.errors import BadInput
from parlib.schema import schema

NAMES = schema("pa100k").names
SPLITS = ("train", "val", "test")
pytestmark = pytest.mark.filterwarnings("ignore:.*official release:UserWarning")


def cells(items):
    out = np.empty((len(items), 1), object)
    out[:, 0] = items
    return out


def rows(n, seed=0):
    """Labels (n, 26) that keep the exclusive sets."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, (n, 26), dtype=np.uint8)
    labels[:, 1:4] = np.eye(3, dtype=np.uint8)[draw.integers(0, 3, n)]
    labels[:, 4:7] = np.eye(3, dtype=np.uint8)[draw.integers(0, 3, n)]
    labels[:, 14] = 1 - labels[:, 13]
    labels[:, 22:25] = np.eye(3, dtype=np.uint8)[draw.integers(0, 3, n)]
    return labels


def tree(root, folder="data", n=3, edit=None, names=NAMES):
    """A PA-100K of 3 x n images in the official layout; `edit` changes the variables before they are written."""
    mat = {"attributes": cells(names)}
    (root / folder).mkdir(parents=True, exist_ok=True)
    number = 0
    for seed, split in enumerate(SPLITS):
        files = [f"{number + i + 1:06d}.jpg" for i in range(n)]
        number += n
        for file in files:
            Image.new("RGB", (8, 20), (200, 10, 10)).save(root / folder / file)
        mat[f"{split}_images_name"], mat[f"{split}_label"] = cells(files), rows(n, seed)
    if edit:
        edit(mat)
    savemat(root / "annotation.mat", mat)
    return mat


@pytest.mark.parametrize("folder", ["release_data/release_data", "release_data", "data"])
def test_image_layouts(tmp_path, folder):
    mat = tree(tmp_path, folder)
    data = load_benchmark("pa100k", tmp_path, "val")
    assert data[0]["image"].mode == "RGB" and data[0]["image"].size == (8, 20)
    assert data["image_id"][:] == ["000004.jpg", "000005.jpg", "000006.jpg"]
    assert labels_of(data).dtype == np.int8 and (labels_of(data) == mat["val_label"]).all()
    assert len(load_benchmark("pa100k", tmp_path, "trainval")) == 6
    assert schema_of(data) == schema("pa100k")


def as_csv(root, mat, folder=".", names=NAMES):
    """Three CSV files in place of annotation.mat."""
    (root / "annotation.mat").unlink()
    (root / folder).mkdir(exist_ok=True)
    for split in SPLITS:
        with open(root / folder / f"{split}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Image", *names])
            for name, row in zip(mat[f"{split}_images_name"][:, 0], mat[f"{split}_label"], strict=True):
                writer.writerow([name, *row])


# (where the images lie, where the annotation goes, what is given as the root)
LAYOUTS = {
    "as the archives unpack": ("release_data/release_data", "annotation/annotation.mat", "."),
    "the annotation itself": ("release_data/release_data", "annotation/annotation.mat", "annotation/annotation.mat"),
    "one folder too high": ("PA-100K/data", "PA-100K/annotation.mat", "."),
    "one folder too high, unpacked": ("PA-100K/release_data/release_data", "PA-100K/annotation/annotation.mat", "."),
    "another name": ("data", "PA100k_annotation.mat", "."),
    "Images": ("Images", "annotation.mat", "."),
    "images beside their annotation": ("annotation/data", "annotation/annotation.mat", "."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_people_have(tmp_path, layout):
    images, annotation, root = LAYOUTS[layout]
    mat = tree(tmp_path, images)
    (tmp_path / annotation).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "annotation.mat").rename(tmp_path / annotation)
    data = load_benchmark("pa100k", tmp_path / root, "val")
    assert (labels_of(data) == mat["val_label"]).all() and data[0]["image"].size == (8, 20)
    report = check(tmp_path / root)
    assert report.usable and report.kind == "pa100k", report.to_text()


def test_csv_files_written_on_windows(tmp_path):
    mat = tree(tmp_path)
    for split in SPLITS:
        names = [f"data\\{name}" for name in mat[f"{split}_images_name"][:, 0]]
        mat[f"{split}_images_name"] = cells(names)
    as_csv(tmp_path, mat)
    assert check(tmp_path).usable
    assert load_benchmark("pa100k", tmp_path, "val")[0]["image"].size == (8, 20)


@pytest.mark.parametrize("folder", ["annotations", "annotation", "PA-100K"])
def test_csv_files_in_a_folder_of_their_own(tmp_path, folder):
    mat = tree(tmp_path, "data" if folder.startswith("annotation") else f"{folder}/data")
    as_csv(tmp_path, mat, folder)
    assert (labels_of(load_benchmark("pa100k", tmp_path, "test")) == mat["test_label"]).all()
    assert check(tmp_path).usable and check(tmp_path).kind == "pa100k"


def test_attributes_are_read_by_the_names_that_fit(tmp_path):
    """27 attributes with `Male`, and other capitals and punctuation: the 26 are found, and the rest is named."""
    names = ["Male", *("Skirt_Dress" if name == "Skirt&Dress" else name.lower() for name in NAMES)]
    want = {split: rows(3, seed) for seed, split in enumerate(SPLITS)}

    def edit(mat):
        for split in SPLITS:
            mat[f"{split}_label"] = np.concatenate([1 - want[split][:, :1], want[split]], axis=1)

    mat = tree(tmp_path, edit=edit, names=names)
    for _ in range(2):
        release = read_release("pa100k", tmp_path)
        assert all((part.labels == want[split]).all() for split, part in release.splits.items())
        text = check(tmp_path).to_text()
        assert "not among the 26 of pa100k: Male" in text and "Skirt_Dress as Skirt&Dress" in text
        if (tmp_path / "annotation.mat").exists():
            as_csv(tmp_path, mat, names=names)


def test_other_codes_are_refused_and_read_when_they_are_declared(tmp_path):
    """PA-100K in +1 and -1, as some programs keep it."""

    def edit(mat):
        for split in SPLITS:
            mat[f"{split}_label"] = 2 * mat[f"{split}_label"].astype(np.int8) - 1

    want = tree(tmp_path, edit=edit)["val_label"] == 1
    with pytest.raises(
        BadInput, match=r"train_label: column \w+, row 1: the meaning of -1.*schema\.yaml, such as codes: \{yes: 2"
    ):
        load_benchmark("pa100k", tmp_path, "val")
    (tmp_path / "schema.yaml").write_text("codes: {yes: 1, no: -1}\n")
    data = load_benchmark("pa100k", tmp_path, "val")
    assert (labels_of(data) == want).all() and schema_of(data) == schema("pa100k") and check(tmp_path).usable


def test_csv_release(tmp_path):
    mat = tree(tmp_path)
    as_csv(tmp_path, mat)
    data = load_benchmark("pa100k", tmp_path, "test")
    assert (labels_of(data) == mat["test_label"]).all() and data[2]["image"].size == (8, 20)
    (tmp_path / "val.csv").write_text("Image,Female\n000001.jpg,1\n")
    with pytest.raises(BadInput, match=r"val\.csv.*missing.*Backpack"):
        load_benchmark("pa100k", tmp_path, "test")


def test_group_order_file_is_joined_by_name(tmp_path):
    order = schema("pa100k").permutation("group")
    want = rows(3)

    def edit(mat):
        mat["train_label"] = want[:, order]

    tree(tmp_path, edit=edit, names=[NAMES[i] for i in order])
    assert (labels_of(load_benchmark("pa100k", tmp_path, "train")) == want).all()


def test_dataset_survives_what_users_do(tmp_path):
    tree(tmp_path)
    data = load_benchmark("pa100k", tmp_path, "train")
    copy = pickle.loads(pickle.dumps(data))
    mapped = data.map(lambda row: {"n": 1}, keep_in_memory=True, load_from_cache_file=False)
    joined = datasets.concatenate_datasets([data, data.select([1])])
    data.save_to_disk(tmp_path / "saved")
    saved = datasets.load_from_disk(str(tmp_path / "saved"))
    for other in (saved, copy, mapped, joined, data.select([2, 0])):
        assert other[0]["image"].mode == "RGB" and schema_of(other) == schema("pa100k")
    assert (labels_of(data.select([2, 0])) == labels_of(data)[[2, 0]]).all()
    assert data.cache_files == []  # in memory: nothing in the Hugging Face cache
    paths = data.cast_column("image", datasets.Image(decode=False))
    assert paths[0]["image"]["path"].endswith("000001.jpg")


def test_size_is_said_unless_rendered(tmp_path):
    tree(tmp_path)
    with pytest.warns(UserWarning, match=r"train 3 \(80,000\)"):
        load_benchmark("pa100k", tmp_path, "train")
    (tmp_path / "rendered.json").write_text("{}")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_benchmark("pa100k", tmp_path, "train")


def drop(key):
    return lambda mat: mat.pop(key)


def put(key, value):
    return lambda mat: mat.update({key: value})


def set_label(value):
    def edit(mat):
        mat["val_label"] = mat["val_label"].astype(float)
        mat["val_label"][1, 7] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (drop("attributes"), "looked for 'attributes', found train_images_name"),
        (drop("val_label"), "looked for 'val_label'"),
        (put("attributes", cells([*NAMES[:-1], "Shoes"])), "missing .*'boots'.*unknown .*'Shoes'"),
        (put("train_label", rows(2)), r"\(2, 26\), expected 3 rows, one per image name"),
        (put("train_label", rows(3)[:, :25]), r"\(3, 25\).*26"),
        (put("train_label", cells(["a", "b", "c"])), r"labels are \(3, 1\), expected 3 rows, one per image"),
        (set_label(7), r"val_label: column Hat, row 2: the meaning of 7 is not declared"),
        (put("test_images_name", cells(["000007.jpg", np.zeros((0, 0)), "000009.jpg"])), "test has 1 empty.*row 2"),
        (put("test_images_name", cells(["000007.jpg", "000007.jpg", "000009.jpg"])), "twice.*000007"),
        (put("test_images_name", cells(["000001.jpg", "000008.jpg", "000009.jpg"])), "000001.jpg' in train and test"),
        (put("train_images_name", cells(["../x.jpg", "000002.jpg", "000003.jpg"])), r"lead out of .*\.\./x\.jpg"),
        (put("train_images_name", cells(["/etc/passwd", "000002.jpg", "000003.jpg"])), "lead out of"),
        (
            put("train_images_name", cells(["lost.jpg", "000002.jpg", "000003.jpg"])),
            r"1 of 3 images are missing.*lost\.jpg",
        ),
    ],
)
def test_damage_is_named(tmp_path, edit, match):
    tree(tmp_path, edit=edit)
    with pytest.raises(BadInput, match=match):
        load_benchmark("pa100k", tmp_path, "train")


def test_uncertain_and_empty_become_unknown(tmp_path):
    for value in (-1, np.nan):
        tree(tmp_path, edit=set_label(value))
        assert labels_of(load_benchmark("pa100k", tmp_path, "val"))[1, 7] == -1


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"looked for annotation\.mat or train\.csv .*, found an empty folder"):
        load_benchmark("pa100k", tmp_path, "train")
    with pytest.raises(BadInput, match="no such folder"):
        load_benchmark("pa100k", tmp_path / "gone", "train")
    with pytest.raises(BadInput, match="unknown benchmark 'pa100'; known: pa100k"):
        load_benchmark("pa100", tmp_path, "train")
    tree(tmp_path)
    with pytest.raises(BadInput, match="no split 'dev'; it has train, val, test"):
        load_benchmark("pa100k", tmp_path, "dev")
    with pytest.raises(BadInput, match="needs a split"):
        load_benchmark("pa100k", tmp_path)
    with pytest.raises(BadInput, match="no option 'partition'"):
        load_benchmark("pa100k", tmp_path, "train", partition=0)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data.zip").write_bytes(b"")
    with pytest.raises(BadInput, match=r"3 of 3 images are missing.*unpack data\.zip"):
        load_benchmark("pa100k", tmp_path, "train")
    assert len(load_benchmark("pa100k", tmp_path, "train", images=False)) == 3


def test_links_stay_inside(tmp_path):
    inside, outside = tmp_path / "tree", tmp_path / "secret.jpg"
    tree(inside)
    first = inside / "data" / "000001.jpg"
    shutil.copy(first, outside)
    first.unlink()
    first.symlink_to("000002.jpg")
    assert len(load_benchmark("pa100k", inside, "train")) == 3  # a link within the root
    (tmp_path / "link").symlink_to(inside)
    assert load_benchmark("pa100k", tmp_path / "link", "train")[0]["image"].size == (8, 20)  # the root itself a link
    first.unlink()
    first.symlink_to(outside)
    with pytest.raises(BadInput, match=r"1 of 3 images .* leads out of .*000001\.jpg \(really .*secret\.jpg\)"):
        load_benchmark("pa100k", inside, "train")
    (inside / "data").rename(tmp_path / "elsewhere")
    (inside / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=r"linked folder.*not followed: copy or move the images there, or bind-mount"):
        load_benchmark("pa100k", inside, "train")
    # `check` says the same, and what to do.
    assert any("not followed: copy or move" in problem for problem in check(inside).problems)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_never_get_through_as_another_error(tmp_path, data):
    """Cut anywhere, or with bytes changed: either the file still reads, or BadInput; never a traceback of the parser.

    Bytes are changed in a compressed file, as MATLAB writes them; scipy's reader is not hardened for the other kind.
    """
    if not (tmp_path / "plain.mat").exists():
        mat = tree(tmp_path)
        (tmp_path / "annotation.mat").rename(tmp_path / "plain.mat")
        savemat(tmp_path / "packed.mat", mat, do_compression=True)
    cut = data.draw(st.booleans())
    name = data.draw(st.sampled_from(["plain.mat", "packed.mat"])) if cut else "packed.mat"
    raw = bytearray((tmp_path / name).read_bytes())
    if cut:
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for place in data.draw(st.lists(st.integers(128, len(raw) - 1), min_size=1, max_size=4)):
            raw[place] = data.draw(st.integers(0, 255))
    (tmp_path / "annotation.mat").write_bytes(raw)
    try:
        load_benchmark("pa100k", tmp_path, "train", images=False)
    except BadInput as error:
        assert "annotation.mat" in str(error)


def test_matlab_73_is_named(tmp_path):
    (tmp_path / "annotation.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    with pytest.raises(BadInput, match=r"7\.3 .*save -v7"):
        load_benchmark("pa100k", tmp_path, "train")


@pytest.mark.long
@pytest.mark.real
def test_real_labels_equal_an_independent_reading(real_data):
    mat = loadmat(real_data / "pa100k" / "annotation.mat", squeeze_me=True)
    for split in SPLITS:
        data = load_benchmark("pa100k", real_data / "pa100k", split, images=False)
        assert list(data["image_id"]) == mat[f"{split}_images_name"].tolist()
        assert np.array_equal(labels_of(data), mat[f"{split}_label"])


@pytest.mark.real
def test_real_sample(real_data):
    sizes = [len(load_benchmark("pa100k", real_data / "pa100k-sample", split)) for split in SPLITS]
    assert sizes == [1400, 199, 200]
    data = load_benchmark("pa100k", real_data / "pa100k-sample", "test")
    assert all(row["image"].mode == "RGB" for row in data)


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "match"),
    [("empty_name", "test has 1 empty image name.*row 1"), ("name_in_two_splits", "'001600.jpg' in train and val")],
)
def test_real_damaged(real_data, file, match):
    with pytest.raises(BadInput, match=match):
        load_benchmark("pa100k", real_data / "pa100k-damaged" / f"annotation_{file}.mat", "train", images=False)


@pytest.mark.real
def test_labels_alone_are_cheap(real_data):
    code = (
        "import time, parlib.data as d, scipy.io\nstart = time.perf_counter()\n"
        f"d.load_benchmark('pa100k', {str(real_data / 'pa100k')!r}, 'train', images=False)\n"
        "seconds = time.perf_counter() - start\n"
        "print(seconds, *(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # VmHWM, as the maximum of getrusage starts from the parent's. Time on a shared machine errs upwards: room for it.
    assert float(out[0]) < 4 and float(out[1]) / 1024 < 300
