import io
import os
import pickle
import subprocess
import sys
import types
import unicodedata

import datasets
import numpy as np
import pytest
from PIL import BmpImagePlugin, Image, ImageFile, features

import parlib
from parlib.data import images, load_benchmark
from parlib.data.images import SUFFIXES, folders_below, open_image, survey
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


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", Image.new("RGB", (90, 40)), exif=exif)
    assert open_image(path).size == (40, 90)


def test_modes_become_rgb(tmp_path):
    """Each mode keeps its meaning: the value of a known pixel, not only the mode, is compared."""
    red = Image.new("RGB", (8, 8), (250, 0, 0))
    cases = {
        "grey.png": (Image.new("L", (8, 8), 77), (77, 77, 77)),
        "palette.png": (red.convert("P", palette=Image.Palette.ADAPTIVE), (250, 0, 0)),
        "bilevel.png": (Image.new("1", (8, 8), 1), (255, 255, 255)),
        "sixteen.png": (Image.fromarray(np.full((8, 8), 40_000, np.uint16)), (156, 156, 156)),
        "sixteen.tif": (Image.fromarray(np.full((8, 8), 40_000, np.uint16)), (156, 156, 156)),
        "alpha.png": (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        "grey_alpha.png": (Image.new("LA", (8, 8), (0, 255)), (0, 0, 0)),
        "cmyk.tif": (red.convert("CMYK"), (250, 0, 0)),
    }
    for name, (image, pixel) in cases.items():
        got = open_image(save(tmp_path / name, image))
        assert got.mode == "RGB" and got.getpixel((4, 4)) == pixel, name
    got = open_image(save(tmp_path / "cmyk.jpg", red.convert("CMYK"), quality=95)).getpixel((4, 4))
    assert np.abs(np.subtract(got, (250, 0, 0))).max() < 12


def test_transparent_palette_is_white(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert open_image(save(tmp_path / "a.png", image, transparency=0)).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("empty.jpg", b"", r"is empty \(0 bytes\)"),
        ("text.jpg", b"<html>404</html>", "is no image"),
        ("cut.jpg", noisy_jpeg()[:1500], "cannot be read"),
        ("header.jpg", jpeg()[:30], "is no image|cannot be read"),
    ],
)
def test_damaged_pictures_are_refused(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=f"{name}.*({match})"):
        open_image(tmp_path / name)


def test_a_truncated_picture_is_refused_even_when_pillow_was_told_to_fill_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (tmp_path / "cut.jpg").write_bytes(noisy_jpeg()[:1500])
    with pytest.raises(BadInput, match="cannot be read"):
        open_image(tmp_path / "cut.jpg")


def test_huge_and_float_and_missing(tmp_path):
    save(tmp_path / "wide.png", Image.new("1", (20_000, 10)))
    with pytest.raises(BadInput, match="20000 x 10 px; at most 16,384 px per side"):
        open_image(tmp_path / "wide.png")
    save(tmp_path / "float.tif", Image.new("F", (8, 8), 0.5))
    with pytest.raises(BadInput, match="floating-point"):
        open_image(tmp_path / "float.tif")
    with pytest.raises(BadInput, match=r"gone\.jpg"):
        open_image(tmp_path / "gone.jpg")


def test_every_cut_of_a_jpeg_is_refused_or_whole(tmp_path):
    """No prefix of a picture passes for the picture: what opens has every pixel of the original."""
    raw = noisy_jpeg()
    whole = np.asarray(Image.open(io.BytesIO(raw)))
    for end in [*range(0, len(raw) - 2, 97), len(raw)]:
        (tmp_path / "a.jpg").write_bytes(raw[:end])
        try:
            assert (np.asarray(open_image(tmp_path / "a.jpg")) == whole).all()
        except BadInput:
            assert end < len(raw)


# ---- formats ----


def test_other_suffixes_and_none_are_read_by_what_the_file_is(tmp_path):
    for name in ("a.jfif", "a.jpe", "a.JPG", "a"):
        (tmp_path / name).write_bytes(jpeg())
        assert open_image(tmp_path / name).size == (40, 90)
    assert {".jfif", ".jpe", ".avif", ".heic"} <= set(SUFFIXES)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
def test_avif_is_read(tmp_path):
    path = save(tmp_path / "a.avif", Image.new("RGB", (40, 90), (200, 30, 30)))
    assert np.abs(np.subtract(open_image(path).getpixel((9, 9)), (200, 30, 30))).max() < 8
    save(tmp_path / "wide.avif", Image.new("RGB", (17_000, 8)))
    with pytest.raises(BadInput, match="17000 x 8 px; at most 16,384 px per side"):
        open_image(tmp_path / "wide.avif")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_heic_is_read_by_pillow_heif_or_named_with_the_remedy(tmp_path, monkeypatch):
    """Also where a telephone's HEIC is called .jpg."""
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(HEIC)
        monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
        images._formats.cache_clear()
        with pytest.raises(BadInput, match=rf"{name}: this format \(HEIC\) is not read: save it as JPEG .*pillow-heif"):
            open_image(tmp_path / name)
    registered = []
    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = lambda: registered.append(Image.register_open("HEIF", BmpImagePlugin.BmpImageFile))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    images._formats.cache_clear()
    assert open_image(save(tmp_path / "a.bmp", Image.new("RGB", (4, 4)))).size == (4, 4) and registered
    images._formats.cache_clear()


def test_postscript_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("Ghostscript was called"))
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(BadInput, match=r"a\.jpg: is no image in a format that is read \(JPEG, PNG"):
        open_image(tmp_path / "a.jpg")


# ---- datasets of pictures ----


def odd_pictures(root):
    """A folder with a transparent and a 16-bit picture, which `datasets.Image` decodes in another way."""
    alpha = np.full((20, 10, 4), (0, 0, 255, 255), np.uint8)
    alpha[:10, :, 3] = 0
    save(root / "a.png", Image.fromarray(alpha))
    save(root / "b.png", Image.fromarray(np.full((20, 10), 40_000, np.uint16)))
    (root / "metadata.csv").write_text("image,hat,split\na.png,1,train\nb.png,0,train\n")
    return load_benchmark("folder", root)


def pixels(dataset):
    return [np.asarray(row["image"]) for row in dataset]


def test_a_saved_dataset_gives_the_pixels_it_gave_before(tmp_path):
    data = odd_pictures(tmp_path)
    assert [array.mean().round(1) for array in pixels(data)] == [170.0, 156.0]  # white above blue; 40,000 / 256
    data.save_to_disk(tmp_path / "saved")
    loaded = datasets.load_from_disk(str(tmp_path / "saved"))
    data.to_parquet(tmp_path / "saved.parquet")
    read = datasets.Dataset.from_parquet(str(tmp_path / "saved.parquet"), cache_dir=str(tmp_path / "cache"))
    for other in (loaded, read, pickle.loads(pickle.dumps(data)), loaded.map(lambda row: {"n": 1})):
        for mine, theirs in zip(pixels(data), pixels(other), strict=True):
            assert theirs.shape == mine.shape and (theirs == mine).all()


def test_a_saved_dataset_is_loaded_alike_by_a_new_process_or_not_at_all(tmp_path):
    odd_pictures(tmp_path).save_to_disk(tmp_path / "saved")
    code = "import datasets, numpy; print(numpy.asarray(datasets.load_from_disk({!r})[0]['image']).mean())"
    code = code.format(str(tmp_path / "saved"))
    run = [subprocess.run([sys.executable, "-c", text + code], capture_output=True, text=True) for text in ("", LOADED)]
    assert run[0].returncode and "parlib.data.images.RGBImage" in run[0].stderr
    assert float(run[1].stdout) == 170


LOADED = "import parlib.data; "


def test_features_are_the_same_however_the_column_would_decode(tmp_path):
    """A column of `datasets.Image`, as other programs make it, has the key of ours: so it has its features too."""
    data = odd_pictures(tmp_path)
    encoder = parlib.load_encoder("nano")
    plain = data.cast_column("image", datasets.Image())
    stores = [
        parlib.extract(part, encoder, tmp_path / name, "t", progress=False, workers=0)
        for name, part in (("ours", data), ("plain", plain))
    ]
    assert stores[0].folder.name == stores[1].folder.name
    assert all((mine == theirs).all() for mine, theirs in zip(stores[0][[0, 1]], stores[1][[0, 1]], strict=True))


def test_a_name_in_another_unicode_form_is_the_same_file(tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name = unicodedata.normalize(form, f"Björn-{form}.jpg")
        (tmp_path / name).write_bytes(jpeg())
        found = survey(tmp_path, (".",), [unicodedata.normalize(other, name)])
        assert found == ([str(tmp_path / name)], [])


def test_a_name_in_two_unicode_forms_is_an_image_named_twice(tmp_path):
    (tmp_path / "Björn.jpg").write_bytes(jpeg())
    names = [unicodedata.normalize(form, "Björn.jpg") for form in ("NFC", "NFD")]
    rows = [f"{name},1,{split}" for name, split in zip(names, ("train", "val"), strict=True)]
    (tmp_path / "metadata.csv").write_text("\n".join(["image,hat,split", *rows]), encoding="utf-8")
    with pytest.raises(BadInput, match="are in two splits, first"):
        load_benchmark("folder", tmp_path, "train")


def test_a_folder_that_may_not_be_listed_is_passed_over(tmp_path, monkeypatch):
    """Such as the lost+found of a disk that holds the benchmark."""
    for name in ("a/b", "lost+found/c"):
        (tmp_path / name).mkdir(parents=True)
    scandir = os.scandir

    def guarded(path):
        if os.path.basename(path) == "lost+found":
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = [path.relative_to(tmp_path).as_posix() for path in folders_below(tmp_path, 2)]
    assert found == [".", "a", "a/b", "lost+found"]
