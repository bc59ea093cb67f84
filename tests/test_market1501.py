import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from parlib.data import check, labels_of, load_benchmark, read_release, schema_of
from parlib.errors import BadInput
from parlib.schema import schema

AGES = ["young", "teenager", "adult", "old"]
FIELDS = ["age", *(name for name in schema("market1501").names if name not in AGES)]
pytestmark = pytest.mark.filterwarnings("ignore:.*official release:UserWarning")
HALVES = {"train": ["0002", "0007", "0010", "0011", "0020"], "test": ["0001", "0003", "0004"]}


def tree(root, edit=None, images=True, mat="market_attribute.mat"):
    """A Market-1501 of 5 + 3 people with interleaved identities; the two halves order their fields differently."""
    draw = np.random.default_rng(0)
    market = {}
    for half, ids in HALVES.items():
        order = FIELDS if half == "train" else FIELDS[::-1]
        half_struct = {name: draw.integers(1, 5 if name == "age" else 3, (1, len(ids))) for name in order}
        half_struct["image_index"] = np.array([ids], dtype=object)
        market[half] = half_struct
    if edit:
        edit(market)
    (root / mat).parent.mkdir(parents=True, exist_ok=True)
    savemat(root / mat, {"market_attribute": market})
    if images:
        for folder, ids in zip(("bounding_box_train", "bounding_box_test"), HALVES.values(), strict=True):
            (root / folder).mkdir()
            for person in ids:
                for frame in range(3):
                    Image.new("RGB", (8, 16)).save(root / folder / f"{person}_c1s1_00000{frame}_01.jpg")
        for name in ("-1_c1s1_000001_01.jpg", "0000_c1s1_000001_01.jpg", "0000_c2s1_000001_01.jpg"):
            Image.new("RGB", (8, 16)).save(root / "bounding_box_test" / name)
        (root / "bounding_box_test" / "Thumbs.db").write_bytes(b"x")
        (root / "query").mkdir()
    return market


def expected(market, half, person):
    """One person's 30 binaries, spelt out."""
    where = HALVES[half].index(person)
    codes = {name: market[half][name][0, where] for name in FIELDS}
    ages = {name: int(codes["age"] == i) for i, name in enumerate(AGES, 1)}
    return [ages[name] if name in ages else int(codes[name]) - 1 for name in schema("market1501").names]


@pytest.mark.parametrize("mat", ["market_attribute.mat", "attribute/market_attribute.mat"])
def test_small_tree(tmp_path, mat):
    market = tree(tmp_path, mat=mat)
    test = load_benchmark("market1501", tmp_path, "test")
    assert len(test) == 9 and test[0]["image"].size == (8, 16)
    assert test[0]["image_id"] == "bounding_box_test/0001_c1s1_000000_01.jpg"
    for row in test:
        assert row["labels"] == expected(market, "test", row["identity"])
    for row in load_benchmark("market1501", tmp_path, "trainval", images=True):
        assert row["labels"] == expected(market, "train", row["identity"])
    notes = test.info.description
    assert "1 junk (-1)" in notes and "2 distractors (0000)" in notes and "1 other files" in notes
    assert schema_of(test) == schema("market1501")


def test_val_is_people_of_its_own(tmp_path):
    tree(tmp_path)
    for images in (True, False):
        release = read_release("market1501", tmp_path, images=images)
        people = {split: set(part.identity) for split, part in release.splits.items()}
        assert len(people["val"]) == 1 and people["train"] | people["val"] == set(HALVES["train"])
        assert not people["train"] & people["val"] and people["test"] == set(HALVES["test"])
        if images:
            with_images = people
    assert people == with_images  # the same people with and without images
    seeds = {tuple(read_release("market1501", tmp_path, seed=s).splits["val"].identity) for s in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda m: m.pop("test"), "looked for 'test', found train"),
        (lambda m: m["train"].pop("hat"), "looked for 'hat'"),
        (lambda m: m["train"].pop("image_index"), "looked for 'image_index'"),
        (lambda m: m["test"].update(hat=np.array([[1, 3, 1]])), r"hat of identity 0003 is 3, expected 1\.\.2"),
        (lambda m: m["test"].update(age=np.array([[1, 5, 1]])), r"age of identity 0003 is 5, expected 1\.\.4"),
        (lambda m: m["test"].update(hat=np.array([[1, 1]])), "hat has 2 values for 3 identities"),
        (lambda m: m["test"].update(image_index=np.array([["0001", "0001", "0003"]], object)), "repeated identities"),
        (
            lambda m: m.update(train=m["test"]),
            r"none of 15 files .* as 0002_c1s1_000451_03\.jpg is; the first is",
        ),
    ],
)
def test_damage_is_named(tmp_path, edit, match):
    tree(tmp_path, edit=edit)
    with pytest.raises(BadInput, match=match):
        load_benchmark("market1501", tmp_path, "train")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"looked for market_attribute\.mat"):
        load_benchmark("market1501", tmp_path, "train")
    tree(tmp_path, images=False)
    with pytest.raises(BadInput, match=r"no folder bounding_box_train here .* found market_attribute\.mat"):
        load_benchmark("market1501", tmp_path, "train")
    assert len(load_benchmark("market1501", tmp_path, "trainval", images=False)) == 5


def nested(root, folder):
    """The tree's image folders moved below `folder`."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bounding_box_train", "bounding_box_test", "query"):
        (root / name).rename(root / folder / name)


LAYOUTS = {
    "as the archive unpacks": ("Market-1501-v15.09.15", "market_attribute.mat", "."),
    "another name": ("Market1501", "Market1501/market_attribute.mat", "."),
    "nested twice": ("Market-1501-v15.09.15/Market-1501-v15.09.15", "attribute/market_attribute.mat", "."),
    "attributes cloned into it": ("Market-1501", "Market-1501/Market-1501_Attribute/market_attribute.mat", "."),
    "attributes cloned beside it": ("Market-1501", "Market-1501_Attribute/market_attribute.mat", "Market-1501"),
    "both below one folder": ("Market-1501", "Market-1501_Attribute/market_attribute.mat", "."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_people_have(tmp_path, layout):
    folder, mat, root = LAYOUTS[layout]
    market = tree(tmp_path, mat=mat)
    nested(tmp_path, folder)
    test = load_benchmark("market1501", tmp_path / root, "test")
    assert len(test) == 9 and test[0]["image"].size == (8, 16)
    assert all(row["labels"] == expected(market, "test", row["identity"]) for row in test)
    report = check(tmp_path / root)
    assert report.usable and report.kind == "market1501", report.to_text()


@pytest.mark.parametrize("ending", [".JPG", ".jpg.jpg", ".jpeg"])
def test_other_endings_are_the_same_images(tmp_path, ending):
    tree(tmp_path)
    for path in tmp_path.glob("bounding_box_*/*.jpg"):
        path.rename(path.with_suffix(ending))
    test = load_benchmark("market1501", tmp_path, "test")
    assert len(test) == 9 and test[0]["image_id"] == f"bounding_box_test/0001_c1s1_000000_01{ending}"


def test_one_folder_for_each_person(tmp_path):
    tree(tmp_path)
    for path in list(tmp_path.glob("bounding_box_*/*.jpg")):
        folder = path.parent / path.name.split("_")[0]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    test = load_benchmark("market1501", tmp_path, "test")
    assert len(test) == 9 and test[0]["image_id"] == "bounding_box_test/0001/0001_c1s1_000000_01.jpg"
    assert "1 junk (-1), 2 distractors (0000)" in test.info.description and test[0]["image"].size == (8, 16)


def test_swapped_folders_are_named_only_where_they_are(tmp_path):
    tree(tmp_path)
    for path in list(tmp_path.glob("bounding_box_train/*.jpg")):
        path.rename(path.with_name(f"person {path.name}"))
    with pytest.raises(BadInput, match=r"the first is bounding_box_train/person 0002_c1s1_000000_01\.jpg$"):
        load_benchmark("market1501", tmp_path, "train")
    tree(tmp_path / "other")
    (tmp_path / "other" / "bounding_box_train").rename(tmp_path / "other" / "kept")
    (tmp_path / "other" / "bounding_box_test").rename(tmp_path / "other" / "bounding_box_train")
    (tmp_path / "other" / "kept").rename(tmp_path / "other" / "bounding_box_test")
    with pytest.raises(BadInput, match=r"shows people of the other half of .* and none of this one; .*swapped"):
        load_benchmark("market1501", tmp_path / "other", "train")


@pytest.mark.real
def test_real_people_equal_an_independent_reading(real_data):
    """Identity by identity, field by field, through another way of reading the file."""
    file = real_data / "market1501" / "market_attribute.mat"
    market = loadmat(file, struct_as_record=False, squeeze_me=True)["market_attribute"]
    names = schema("market1501").names
    for half, split, size in ((market.train, "trainval", 751), (market.test, "test", 750)):
        got = load_benchmark("market1501", file.parent, split, images=False)
        labels = dict(zip(got["identity"], labels_of(got), strict=True))
        assert len(labels) == size
        for i, person in enumerate(half.image_index):
            row = dict(zip(names, labels[person].tolist(), strict=True))
            age = [row.pop(name) for name in AGES]
            assert age.index(1) + 1 == half.age[i] and sum(age) == 1
            assert row == {name: getattr(half, name)[i] - 1 for name in row}
    assert len(load_benchmark("market1501", file.parent, "val", images=False)) == 100


@pytest.mark.real
def test_real_official_view(real_data):
    """The columns of the 12-column view are those of the release's own example prediction."""
    example = loadmat(real_data / "market1501" / "gallery_market.mat")["gallery"]
    got = load_benchmark("market1501", real_data / "market1501", "test", images=False)
    view = schema("market1501").view("12")
    codes = view(labels_of(got))
    assert example.shape == (13_115, 12) and codes.shape == (750, 12)
    # The example answers within each column's codes and near its true rate; columns in another order would not.
    for j, column in enumerate(view.columns):
        assert example[:, j].max() <= (len(column.terms) if column.question else 2)
        if not column.question:
            assert abs((example[:, j] == 2).mean() - codes[:, j].mean()) < 0.15, column.name
    # No colour at all is the answer "none", which no prediction gives.
    assert (codes[:, 10] == 8).sum() == 69 and (codes[:, 11] == 9).sum() == 44
