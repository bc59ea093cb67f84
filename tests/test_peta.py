import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat

from parlib.data import labels_of, load_benchmark, read_release, schema_of
from parlib.data.partition import disjoint, index_hash, read_index
from parlib.data.peta import leak
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
            "column personalLess60 holds 1, 0, 9: what 9, first in row 4",
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
        ("zs.pkl", b"\x80\x04.", "a pickle runs the code inside it"),
        ("zs.json", b"\x80\x04.", "a pickle runs the code inside it"),
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
    assert index_hash({"a": ["y", "x"]}) == index_hash({"a": ["x", "y"]}) != index_hash({"b": ["x", "y"]})


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
