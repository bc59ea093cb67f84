"""Find image files, refuse those outside the root, decode to RGB."""

import io
import os
import unicodedata
import warnings
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
from datasets.features.features import register_feature
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from parlib.errors import BadInput
from parlib.files import reading

MAX_SIDE = 16_384  # pixels; a longer picture is no photograph of a person, and may be a decompression bomb
MAX_PIXELS = 64_000_000
# Pillow would run Ghostscript on a file that starts as EPS does, whatever its name is.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
# What the pictures in a folder may be called; those that cannot be read are answered with the reason.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".webp"),
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"),
)


def folders_below(root: str | os.PathLike, depth: int) -> list[Path]:
    """`root` and the folders below it, `depth` levels down, each before those inside it, in the order of names."""
    root = Path(root)
    # os.walk passes over a folder that may not be listed, such as the lost+found of a disk.
    _, names, _ = next(os.walk(root), ("", [], [])) if depth else ("", [], [])
    return [root, *(folder for name in sorted(names) for folder in folders_below(root / name, depth - 1))]


def files_in(folder: Path) -> list[str]:
    """Names of the files in a folder, in order; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())


def survey(root: str | os.PathLike, folders: tuple[str, ...], names: list[str]) -> tuple[list[str], list[str]]:
    """Absolute paths of the images that are there, and why the others cannot be used, one line for each kind of fault.

    The images are those of the first of `folders` (relative to `root`) that holds most of them. A name and a file name
    in different Unicode forms (NFC, NFD) are the same.
    """
    # Resolved once: the root itself may be reached through a link, only what lies below may not lead away.
    root = Path(root).resolve()
    seen: dict[Path, dict[str, list[str]]] = {}
    for folder in filter(Path.is_dir, (root / name for name in folders)):
        states = pd.DataFrame(_states(root, folder, names), columns=["kind", "text"])
        seen[folder] = states.groupby("kind")["text"].agg(list).to_dict()
        if "missing" not in seen[folder]:
            break
    place = max(seen, key=lambda folder: len(seen[folder].get("found", ())), default=root)
    best = seen.get(place, {"missing": names})
    where = place if "found" in best else f"{root}, in {', '.join(folders)}"
    archive = next((path.name for path in sorted(root.glob("*.zip"))), "the archive again")
    follow = "such links are not followed: copy or move the images there, or bind-mount their folder"
    kinds = (
        ("outside", f"lead out of {root}", "write paths that start below this folder"),
        ("linked", f"are links, or in a linked folder, that leads out of {root}", follow),
        ("missing", f"are missing from {where}", f"unpack {archive}, or use images=False for labels alone"),
    )
    return best.get("found", []), [
        f"{len(best[kind]):,} of {len(names):,} images {fault}, first {', '.join(best[kind][:3])}; {remedy}"
        for kind, fault, remedy in kinds
        if kind in best
    ]


def _states(root, folder, names):
    """("found", path) or (kind of fault, name) of each image in one folder."""

    def is_inside(path):
        return Path(os.path.realpath(path)).is_relative_to(root)

    @cache
    def files(parent):  # file name in NFC -> (path, whether no link leads out of the root)
        try:
            with os.scandir(folder / parent) as entries:
                there = [entry for entry in entries if entry.is_symlink() or entry.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        inside = is_inside(folder / parent)
        return {
            unicodedata.normalize("NFC", file.name): (file.path, inside and (not file.is_symlink() or is_inside(file)))
            for file in there
        }

    for name in names:
        plain = name.replace("\\", "/")  # a table written on Windows
        parent, _, last = plain.rpartition("/")
        leads_out = plain.startswith("/") or ".." in plain.split("/") or "\0" in plain
        path, inside = ("", False) if leads_out else files(parent).get(unicodedata.normalize("NFC", last), ("", False))
        if inside:
            yield "found", path
        elif path:
            yield "linked", f"{name} (really {os.path.realpath(path)})"
        else:
            yield "outside" if leads_out else "missing", name


def open_image(path: str | os.PathLike, data: bytes | None = None) -> Image.Image:
    """The picture in a file, or in `data` named by `path`, as an upright RGB `PIL.Image`.

    EXIF rotation is applied; grey, palette, CMYK and 16-bit pictures are converted by their meaning; transparency
    becomes white. `FORMATS` are read, and HEIC where pillow-heif is installed. A picture that is missing, empty,
    truncated, of another format, or larger than `MAX_SIDE` or `MAX_PIXELS` is a BadInput that names it.
    """
    # Another library may have set it, and half a person would pass for a whole one.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with reading(path, "picture", "fetch this file again"):
        try:
            image = Image.open(path if data is None else io.BytesIO(data), formats=_formats())
        except UnidentifiedImageError:
            raise BadInput(f"{path}: {_why_unread(Path(path).read_bytes() if data is None else data)}") from None
        with image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                most = f"at most {MAX_SIDE:,} px per side and {MAX_PIXELS // 10**6} megapixels are read"
                raise BadInput(f"{path}: {width} x {height} px; {most}; crop or shrink it")
            image.load()
            return upright_rgb(image, path)


@cache
def _formats():
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return FORMATS
    return (*FORMATS, "HEIF")


def _why_unread(data):
    if not data:
        return "is empty (0 bytes); fetch this file again"
    if data[4:8] == b"ftyp" and data[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "this format (HEIC) is not read: save it as JPEG or PNG, or pip install pillow-heif"
    return f"is no image in a format that is read ({', '.join(FORMATS)}); save it as JPEG or PNG, or fetch it again"


def upright_rgb(image: Image.Image, path: str | os.PathLike) -> Image.Image:
    """A decoded picture turned and converted as `open_image` does; `path` names it in the error."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise BadInput(f"{path}: pixels are floating-point numbers; save the image with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip everything above 255 to white
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


@dataclass
class RGBImage(datasets.Image):
    """`datasets.Image` that decodes with `open_image`, so that `dataset[i]["image"]` is upright RGB or a `BadInput`.

    `datasets.load_from_disk` decodes alike once `parlib.data` has been imported, and fails without that import;
    `cast_column("image", datasets.Image())` before saving makes a dataset for programs without parlib.
    """

    mode: str | None = "RGB"
    _type: str = field(default="parlib.data.images.RGBImage", init=False, repr=False)

    def decode_example(self, value: dict, token_per_repo_id: dict[str, Any] | None = None) -> Image.Image:
        """`{"path", "bytes"}` of a picture -> upright RGB."""
        return open_image(value["path"] or "picture without a name", value["bytes"])


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # datasets calls the registration experimental
    register_feature(RGBImage, RGBImage._type)
