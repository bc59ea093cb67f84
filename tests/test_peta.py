import hashlib
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat

from parlib.data import check, labels_of, load_benchmark, read_release, schema_of
from parlib.data.partition import disjoint, read_index
from parlib.data.peta import SUBSETS, leak
from parlib.errors import BadInput
from parlib.schema import schema

NAMES = schema("peta105").names
pytestmark = pytest.mark.filterwarnings("ignore:.*official release:UserWarning")


def cells(items):
    out = np.empty((len(items), 1), object)
    out[:, 0] = items
    return out


def tree(root, n=20, edit=None, images=False):
    """A PETA of n images of n / 2 people in the official layout."""
    draw = np.random.default_rng(0)
    data = np.zeros((n, 109), np.uint16)
    data[:, 0], data[:, 1], data[:, 2], data[:, 3] = np.arange(1, n + 1), np.arange(n) // 2 + 1, 1, 1
    data[:, 4:] = draw.integers(0, 2, (n, 105))
    order = draw.permutation(n) + 1
    part = {"train": order[: n // 2, None], "val": order[n // 2 : n // 2 + 2, None], "test": order[n // 2 + 2 :, None]}
    peta = {
        "data": data,
        "attribute": cells(NAMES),
        "selected_attribute": np.arange(5, 40)[None],
        "partion_attribute": cells([dict(part) for _ in range(5)]),
    }
    mat = {"peta": peta}
    if edit:
        edit(mat)
    savemat(root / "PETA.mat", mat)
    if images:
        (root / "images").mkdir()
        for i in range(1, n + 1):
            Image.new("RGB", (8, 20)).save(root / "images" / f"{i:05d}.png")
    return data, part


def test_small_tree(tmp_path):
    data, part = tree(tmp_path, images=True)
    for attributes, width in (("35", 35), ("105", 105)):
        test = load_benchmark("peta", tmp_path, "test", partition=0, attributes=attributes)
        rows = part["test"][:, 0] - 1
        assert (labels_of(test) == data[rows][:, 4 : 4 + width]).all()
        assert list(test["identity"]) == [str(data[row, 1]) for row in rows]
        assert list(test["image_id"]) == [f"{row + 1:05d}.png" for row in rows]
        assert test[0]["image"].mode == "RGB" and len(schema_of(test)) == width
    assert len(load_benchmark("peta", tmp_path, "trainval", images=False)) == 12


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda m: m.update(market=m.pop("peta")), "looked for 'peta', found market"),
        (lambda m: m.update(peta=np.zeros(3)), "looked for 'attribute', found no fields"),
        (lambda m: m.update(peta={"peta": m["peta"]}), "looked for 'attribute', found peta"),
        (lambda m: m["peta"].pop("partion_attribute"), "looked for 'partion_attribute'"),
        (lambda m: m["peta"].update(data=m["peta"]["data"][:, :40]), r"\(20, 40\); expected 109"),
        (lambda m: m["peta"].update(data=m["peta"]["data"][::-1]), "numbering the images from 1"),
        (
            lambda m: m["peta"]["data"].__setitem__((3, 6), 9),
            "column personalLess60, row 4: the meaning of 9 is not declared",
        ),
        (lambda m: m["peta"].update(attribute=cells([*NAMES[:-1], "Hat"])), "unknown .*'Hat'"),
        (
            lambda m: m["peta"]["partion_attribute"][0, 0].update(val=np.array([[0]])),
            r"partition 0 val names images outside 1\.\.20",
        ),
        (
            lambda m: m["peta"]["partion_attribute"][0, 0].update(
                val=m["peta"]["partion_attribute"][0, 0]["train"][:1]
            ),
            "in train and val",
        ),
    ],
)
def test_damage_is_named(tmp_path, edit, match):
    tree(tmp_path, edit=edit)
    with pytest.raises(BadInput, match=match):
        load_benchmark("peta", tmp_path, "train", images=False)


def test_options_are_checked(tmp_path):
    with pytest.raises(BadInput, match=r"looked for PETA\.mat"):
        load_benchmark("peta", tmp_path, "train")
    tree(tmp_path)
    with pytest.raises(BadInput, match=r"no partition 5; there are 0\.\.4"):
        load_benchmark("peta", tmp_path, "train", partition=5)
    with pytest.raises(BadInput, match="no partition 'zs'"):
        load_benchmark("peta", tmp_path, "train", partition="zs")
    with pytest.raises(BadInput, match="no attribute list 36"):
        load_benchmark("peta", tmp_path, "train", attributes=36)


def test_published_index(tmp_path):
    tree(tmp_path)
    index = {"train": list(range(1, 11)), "val": ["00011.png", 12], "test": list(range(13, 21))}
    (tmp_path / "zs.json").write_text(json.dumps(index))
    lines = [f"{image},{split}" for split, images in index.items() for image in images]
    (tmp_path / "zs.csv").write_text("image,split\n" + "\n".join(lines))
    for name in ("zs.json", "zs.csv"):
        release = read_release("peta", tmp_path, partition=tmp_path / name)
        assert {s: len(part.names) for s, part in release.splits.items()} == {"train": 10, "val": 2, "test": 8}
        assert release.splits["val"].names == ["00011.png", "00012.png"] and "SHA-256" in release.notes[0]
        assert leak(release) == 0


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("zs.pkl", b"\x80\x04.", "pickle files can run code"),
        ("zs.json", b"\x80\x04.", "pickle files can run code"),
        ("zs.npy", b"", "only JSON, .csv"),
        ("zs.json", b"[1, 2]", "expected JSON"),
        ("zs.json", b"{", "split index .* cannot be read"),
        ("zs.json", b'{"train": 3}', "expected JSON"),
        ("zs.csv", b"a,b\n1,2\n", "expected JSON .*, CSV image,split"),
        ("zs.json", b'{"train": [0, 1]}', "first 0; numbers count from 1"),
        ("zs.json", b'{"train": [21]}', "first 21$"),
        ("zs.json", b'{"train": [1], "test": []}', "no images in test"),
        ("zs.json", b"{}", "no images in the file"),
    ],
)
def test_bad_index(tmp_path, file, content, match):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadInput, match=match):
        read_index(tmp_path / file, [f"{i:05d}.png" for i in range(1, 21)])


def test_missing_index(tmp_path):
    with pytest.raises(BadInput, match="no split index"):
        read_index(tmp_path / "gone.json", ["a"])


@given(st.lists(st.sampled_from("abcdefghij"), max_size=60), st.integers(0, 5), st.randoms())
def test_disjoint_splits(keys, seed, random):
    sizes = {"train": len(keys) // 2, "val": len(keys) // 10, "test": 0}
    found = disjoint(keys, sizes, seed)
    assert sorted(row for rows in found.values() for row in rows) == list(range(len(keys)))
    people = {split: {keys[row] for row in rows} for split, rows in found.items()}
    assert not (people["train"] & people["test"] or people["train"] & people["val"] or people["val"] & people["test"])
    # The order of rows says nothing: the people of a split are the same for any.
    shuffled = random.sample(keys, len(keys))
    assert {s: {shuffled[row] for row in rows} for s, rows in disjoint(shuffled, sizes, seed).items()} == people


def test_disjoint_is_the_same_for_ever():
    found = disjoint([str(i) for i in range(10)], {"train": 5, "val": 1, "test": 0}, 0)
    order = sorted(range(10), key=lambda i: hashlib.sha256(f"0:{i}".encode()).digest())
    assert found == {"train": sorted(order[:5]), "val": order[5:6], "test": sorted(order[6:])}


# ---- as its authors give it: ten folders with pictures and Label.txt ----

# sub-dataset -> (person in Label.txt, its pictures, what else its line says)
RELEASE = {
    "3DPeS": [("100", ["100_4_FRAME_185_RGB.bmp", "100_5_FRAME_18_RGB.bmp"]), ("9", ["9_859_FRAME_89_RGB.bmp"])],
    "CAVIAR4REID": [("0001", ["0001_009.jpg", "0001_010.jpg"])],
    "CUHK": [("0002.png", ["0002.png"]), ("0003.png", ["0003.png"])],
    "GRID": [("0001", ["0001_1_25004_107_32_106_221.jpeg"])],
    "i-LID": [("0001", ["0001_001.jpg", "0001_002.jpg"])],
    "MIT": [("00002", ["00002_male_back.jpg"])],
    "PRID": [("0001", ["0001_a.png", "0001_b.png"])],
    "SARC3D": [("001", ["001_back.bmp", "001_front.bmp", "001_left.bmp", "001_Right.bmp"])],
    "TownCentre": [("0", ["0_16.jpg", "0_2.jpg"]), ("10", ["10_1.jpg"])],
    "VIPeR": [("000", ["000_0_1.bmp", "000_45_2.bmp"])],
}
PICTURES = [f"{subset}/archive/{name}" for subset, people in RELEASE.items() for _, names in people for name in names]


def attributes_of(subset, person):
    """Some attributes, the same for all images of a person."""
    number = sum(map(ord, f"{subset}{person}"))
    return [name for i, name in enumerate(NAMES) if (number * (i + 7)) % 5 == 0]


def release(root, label="archive/Label.txt"):
    """The ten folders; the pictures are small and grey."""
    for subset, people in RELEASE.items():
        (root / subset / "archive").mkdir(parents=True)
        lines = []
        for person, names in people:
            lines.append(" ".join([person, *attributes_of(subset, person)]) + " ")
            for name in names:
                Image.new("RGB", (8, 20)).save(root / subset / "archive" / name)
        (root / subset / label).write_text("\n".join(lines) + "\n")
    return root


def expected_of(image):
    """(identity, labels) of an image of `release`."""
    subset, _, name = image.split("/")
    person = next(person for person, names in RELEASE[subset] if name in names)
    number = person.removesuffix(".png").lstrip("0") or "0"
    return f"{subset}/{number}", [int(name in attributes_of(subset, person)) for name in NAMES]


def mat_of_release(root):
    """PETA.mat with the rows of `release`, as the official file has them."""

    def edit(mat):
        data = mat["peta"]["data"]
        people = {}
        for row, image in enumerate(PICTURES):
            identity, labels = expected_of(image)
            subset, person = identity.split("/")
            data[row, 1] = people.setdefault(identity, len(people) + 1)
            data[row, 2:4] = list(RELEASE).index(subset) + 1, int(person)
            data[row, 4:] = labels

    return tree(root, n=len(PICTURES), edit=edit)


@pytest.mark.parametrize("label", ["archive/Label.txt", "Label.txt"])
@pytest.mark.parametrize("folder", [".", "PETA dataset"])
def test_the_release_is_read_as_it_is(tmp_path, folder, label):
    release(tmp_path / folder, label)
    data = load_benchmark("peta", tmp_path, "all", attributes="105")
    assert sorted(data["image_id"]) == sorted(PICTURES)
    assert schema_of(data) == schema("peta105") and data[0]["image"].size == (8, 20)
    for row in data:
        assert (row["identity"], row["labels"]) == expected_of(row["image_id"])
    assert (labels_of(load_benchmark("peta", tmp_path, "all")) == labels_of(data)[:, :35]).all()
    report = check(tmp_path)
    assert report.usable and report.kind == "peta", report.to_text()
    assert "Partition identity-disjoint-seed0, made by parlib" in report.to_text()
    assert "It is not PETA_ZS" in report.to_text()
    with pytest.raises(BadInput, match=r"official partitions are in PETA\.mat, which is missing; put it next to"):
        load_benchmark("peta", tmp_path, "test", partition=0)


def test_the_release_with_the_partitions_of_peta_mat(tmp_path):
    """No repacking: the rows of PETA.mat are the files of a sub-dataset in the order of their names."""
    release(tmp_path)
    _, part = mat_of_release(tmp_path)
    test = load_benchmark("peta", tmp_path, "test", attributes="105")
    assert list(test["image_id"]) == [PICTURES[i - 1] for i in part["test"][:, 0]]
    for row in test:
        assert row["labels"] == expected_of(row["image_id"])[1]
    assert check(tmp_path).usable and "order of file names" in check(tmp_path).to_text()
    (tmp_path / "TownCentre" / "archive" / "10_1.jpg").rename(tmp_path / "TownCentre" / "archive" / "11_1.jpg")
    with pytest.raises(
        BadInput,
        match=r"has 22 images, .* expects 22; image \d+ is TownCentre/archive/11_1\.jpg, expected person 10 of T",
    ):
        load_benchmark("peta", tmp_path, "test")


def test_a_list_of_test_images_is_a_partition(tmp_path):
    """Such as ALM's list: paths of the release with 35 labels; the other images are trainval."""
    release(tmp_path)
    tested = [image for i, image in enumerate(PICTURES) if i % 3 == 0]
    lines = [f"PETA_dataset/{image} {'0 1 ' * 17}0 " for image in tested]
    path = tmp_path / "alm_PETA_test_list.txt"
    path.write_text("\n".join(lines) + "\n")
    for _ in range(2):  # without PETA.mat, and with it
        found = read_release("peta", tmp_path, partition=path)
        names = {split: part.names for split, part in found.splits.items()}
        assert names["test"] == tested and sorted(itertools.chain(*names.values())) == sorted(PICTURES)
        assert len(names["val"]) == round((len(PICTURES) - len(tested)) / 6)
        assert "read from alm_PETA_test_list.txt. It has no val" in found.notes[0]
        mat_of_release(tmp_path)
    # Repacked images have lost the names of the release.
    (tmp_path / "images").mkdir()
    with pytest.raises(BadInput, match=r"lists file names of the release.*put the ten folders next to PETA\.mat"):
        read_release("peta", tmp_path, partition=path)
    (tmp_path / "images").rmdir()
    path.write_text("PETA_dataset/CUHK/archive/0009.png 0\n")
    with pytest.raises(BadInput, match=r"alm_PETA_test_list\.txt: 1 image\(s\) are not in the benchmark") as caught:
        read_release("peta", tmp_path, partition=path)
    assert "PETA.mat" not in str(caught.value)


def test_what_is_odd_in_the_release_is_said(tmp_path):
    release(tmp_path)
    shutil.rmtree(tmp_path / "PRID")
    label = tmp_path / "CUHK" / "archive" / "Label.txt"
    first = label.read_text().splitlines()[0]
    label.write_text(f"{first} accessoryFaceMask\n\n")
    (tmp_path / "CUHK" / "archive" / "Thumbs.db").write_bytes(b"")
    text = check(tmp_path).to_text()
    assert "Left out: 1 images without a line in Label.txt, first CUHK/archive/0003.png" in text
    assert "not among the 105 attributes (images): accessoryFaceMask 1." in text and "Not here: PRID." in text
    label.write_text(f"{first}\n{first} hairBald\n")
    with pytest.raises(BadInput, match=r"Label\.txt: row 2: 0002\.png appears twice with different attributes"):
        read_release("peta", tmp_path)
    label.write_text("0002.png 0 1 1\n")
    with pytest.raises(BadInput, match=r"Label\.txt: row 1: '0' is no attribute of PETA"):
        read_release("peta", tmp_path)


@pytest.mark.real
def test_a_public_test_list_is_a_sixth_partition(real_data):
    """By sub-dataset and person, which the list names: it is none of the five in PETA.mat."""
    data = loadmat(real_data / "peta" / "PETA.mat", struct_as_record=False, squeeze_me=True)["peta"].data.astype(int)
    people = {(subset, person): [] for subset, person in data[:, 2:4].tolist()}
    for number, _, subset, person, *labels in data.tolist():
        people[subset, person].append((number, labels[:35]))
    listed = {}
    for line in (real_data / "lists" / "alm_PETA_test_list.txt").read_text().splitlines():
        path, *labels = line.split()
        _, subset, _, name = path.split("/")
        key = SUBSETS.index(subset) + 1, int(re.match(r"\d+", name)[0])
        assert [int(label) for label in labels] == people[key][0][1]  # in our order of the 35
        listed[key] = listed.get(key, 0) + 1
    assert sum(listed.values()) == 7600
    sure = {number for key, count in listed.items() if count == len(people[key]) for number, _ in people[key]}
    assert len(sure) == 3099
    shares = []
    for partition in range(5):
        found = read_release("peta", real_data / "peta", images=False, partition=partition).listing("trainval").names
        inside = {int(name[:5]) for name in found}
        least = sum(
            max(0, count - sum(number not in inside for number, _ in people[key])) for key, count in listed.items()
        )
        shares.append((least, len(sure & inside)))
    assert shares == [(2645, 1870), (2636, 1860), (2606, 1857), (2613, 1852), (2629, 1896)]


@pytest.mark.long
@pytest.mark.real
def test_real_rows_equal_an_independent_reading(real_data):
    """Row by row from the file, through another way of reading it."""
    peta = loadmat(real_data / "peta" / "PETA.mat", struct_as_record=False, squeeze_me=True)["peta"]
    assert list(peta.attribute) == NAMES
    for partition in range(5):
        for split, size in (("train", 9500), ("val", 1900), ("test", 7600)):
            numbers = getattr(peta.partion_attribute[partition], split)
            got = load_benchmark("peta", real_data / "peta", split, images=False, partition=partition, attributes="105")
            assert len(got) == size and (labels_of(got) == peta.data[numbers - 1, 4:]).all()
            assert list(got["identity"]) == [str(i) for i in peta.data[numbers - 1, 1]]
            assert list(got["image_id"]) == [f"{i:05d}.png" for i in numbers]
    got = load_benchmark("peta", real_data / "peta", "test", images=False, partition=4)
    assert (labels_of(got) == peta.data[numbers - 1][:, peta.selected_attribute - 1]).all()


@pytest.mark.real
def test_real_leak_and_what_closes_it(real_data):
    mat = loadmat(real_data / "peta" / "PETA.mat", struct_as_record=False, squeeze_me=True)["peta"]
    person = dict(zip(mat.data[:, 0].tolist(), mat.data[:, 1].tolist(), strict=True))
    shares = []
    for partition in range(5):
        part = mat.partion_attribute[partition]
        seen = {person[i] for i in [*part.train.tolist(), *part.val.tolist()]}
        want = sum(person[i] in seen for i in part.test.tolist()) / 7600
        assert leak(read_release("peta", real_data / "peta", partition=partition)) == want
        shares.append(round(100 * want, 1))
    assert shares == [57.7, 58.5, 58.4, 58.7, 58.8]
    ours = read_release("peta", real_data / "peta", partition="identity-disjoint-seed0")
    assert leak(ours) == 0 and [len(part.names) for part in ours.splits.values()] == [9543, 1900, 7557]
    assert "not PETA_ZS" in ours.notes[0] and "CUHK" in ours.notes[0]
    digest = "18c0a3369c649d88647e65101ec3c2ddbdbdcd12e4e8a36771b582447965e609"
    assert ours.notes[0].endswith(f"Index SHA-256 {digest}.")
