"""Image files: found without a stat each, kept inside the root, and decoded to RGB or refused by name."""

import io
import os
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import numpy as np
from datasets.features.features import register_feature
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from parlib.errors import BadInput

MAX_SIDE = 16_384  # pixels; a longer picture is no photograph of a person, and may be a decompression bomb
MAX_PIXELS = 64_000_000
# Pillow would run Ghostscript on a file that starts as EPS does, whatever its name is.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
# What the pictures in a folder may be called; those that turn out not to be read are answered with the reason.
SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".jpe",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".avif",
    ".heic",
    ".heif",
)
_HEIC = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL)


def folders_below(root: str | os.PathLike, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, `depth` levels down, each before those inside it, in the order of names."""
    root = Path(root)
    yield root
    if depth and root.is_dir():
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
        for name in names:
            yield from folders_below(root / name, depth - 1)


def files_in(folder: Path) -> list[str]:
    """Names of the files in a folder, in order; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())


@dataclass
class Survey:
    """Where a list of image names lies below a root.

    Attributes:
        root: the resolved root.
        folder: the image folder that holds most of the names, None where there is none.
        paths: name -> absolute path, for what is there.
        missing: names that are not there.
        outside: names that lead out of the root by what they say: `..` or another absolute path.
        linked: names that lead out of the root by a symbolic link on the way to them.
    """

    root: Path
    folder: Path | None
    paths: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)

    def faults(self, folders: tuple[str, ...]) -> list[str]:
        """Why the images cannot be used, one line for each kind of fault; `folders` are those that were searched."""
        total = len(self.paths) + len(self.missing) + len(self.outside) + len(self.linked)
        out = []
        if self.outside:
            out.append(
                f"{len(self.outside):,} of {total:,} image names lead out of {self.root}, first {self.outside[0]!r}; "
                "write paths that start below this folder"
            )
        if self.linked:
            path = os.path.join(self.folder or self.root, self.linked[0])
            out.append(
                f"{len(self.linked):,} of {total:,} images are links, or in a linked folder, that leads out of "
                f"{self.root}, first {self.linked[0]} (really {os.path.realpath(path)}); such links are not followed: "
                "copy or move the images there, or bind-mount their folder"
            )
        if self.missing:
            archive = next((path.name for path in sorted(self.root.glob("*.zip"))), "the archive again")
            place = self.folder if self.paths else f"{self.root}, in {', '.join(folders)}"
            out.append(
                f"{len(self.missing):,} of {total:,} images are missing from {place}, first "
                f"{', '.join(self.missing[:3])}; unpack {archive}, or use images=False for labels alone"
            )
        return out


def survey(root: str | os.PathLike, folders: tuple[str, ...], names: list[str]) -> Survey:
    """Look for `names` in each of `folders` (relative to `root`, in order of preference) with one scan of each folder.

    A name and a file name in different Unicode forms (NFC, NFD) are the same.
    """
    # Resolved once: the root itself may be reached through a link, only what lies below may not lead away.
    root = Path(root).resolve()
    best = Survey(root, None, missing=list(names))
    for folder in dict.fromkeys(folders):
        if (root / folder).is_dir():
            found = _survey_one(root, root / folder, names)
            if best.folder is None or len(found.paths) > len(best.paths):
                best = found
            if not found.missing:
                break
    return best


def _survey_one(root, folder, names):
    out, scans = Survey(root, folder), {}
    for name in names:
        parent, _, last = name.rpartition("/")
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or "\\" in name or "\0" in name:
            out.outside.append(name)
            continue
        if parent not in scans:
            scans[parent] = _scan(root, folder / parent)
        inside, entries = scans[parent]
        path, is_link = entries.get(last) or entries.get(unicodedata.normalize("NFC", last)) or (None, False)
        if path is None:
            out.missing.append(name)
        elif not inside or (is_link and not _is_inside(path, root)):
            out.linked.append(name)
        else:
            out.paths[name] = path
    return out


def _scan(root, folder):
    """(the folder lies inside the root, file name as it is and in NFC -> (path, is a link))."""
    try:
        with os.scandir(folder) as entries:
            files = {e.name: (e.path, e.is_symlink()) for e in entries if e.is_symlink() or e.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return True, {}
    composed = {unicodedata.normalize("NFC", name): file for name, file in files.items()}
    return _is_inside(folder, root), composed | files


def _is_inside(path, root):
    return Path(os.path.realpath(path)).is_relative_to(root)


def open_image(path: str | os.PathLike, data: bytes | None = None) -> Image.Image:
    """The picture in a file, or in `data` named by `path`, as an upright RGB `PIL.Image`.

    EXIF rotation is applied; grey, palette, CMYK and 16-bit pictures are converted by their meaning; transparency
    becomes white. Never a partial picture. JPEG, PNG, BMP, WebP, TIFF, GIF and AVIF are read, and HEIC where
    pillow-heif is installed.

    Raises:
        BadInput: naming the file, where it is missing, empty, truncated, no image, of another format, or larger than
            16,384 px a side.
    """
    # Another library may have set it, and half a person would pass for a whole one.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=_formats()) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise BadInput(f"{path}: {width} x {height} px is larger than {MAX_SIDE} px a side; crop or shrink it")
            image.load()
            return upright_rgb(image, path)
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"{path}: {_why_unread(path, data)}") from None
    # Pillow's decoders raise whatever a damaged file trips them with; a list of classes would let some through.
    except Exception as error:
        raise BadInput(f"{path}: cannot be decoded ({error}); fetch this file again") from error


@cache
def _formats():
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return FORMATS
    return (*FORMATS, "HEIF")


def _why_unread(path, data):
    if data is None:
        with open(path, "rb") as file:
            data = file.read(12)
    if not data:
        return "is empty (0 bytes); fetch this file again"
    if _HEIC.match(data):
        return "this format (HEIC) is not read: save it as JPEG or PNG, or pip install pillow-heif"
    return f"is no image in a format that is read ({', '.join(FORMATS)}); save it as JPEG or PNG, or fetch it again"


def upright_rgb(image: Image.Image, path: str | os.PathLike) -> Image.Image:
    """A decoded picture turned and converted as `open_image` does; `path` names it in the error."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise BadInput(f"{path}: floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip everything above 255 to white
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


@dataclass
class RGBImage(datasets.Image):
    """`datasets.Image` that decodes with `open_image`, so that `dataset[i]["image"]` is upright RGB or a `BadInput`.

    It survives `save_to_disk`: `load_from_disk` decodes alike once `parlib.data` has been imported. Without that
    import it fails, naming this class; `cast_column("image", datasets.Image())` beforehand makes a dataset for
    programs without parlib.
    """

    mode: str | None = "RGB"
    _type: str = field(default="parlib.data.images.RGBImage", init=False, repr=False)

    def decode_example(self, value: dict, token_per_repo_id: dict[str, Any] | None = None) -> Image.Image:
        """`{"path", "bytes"}` of a picture -> upright RGB."""
        if isinstance(value, dict) and self.decode and (value["path"] or value["bytes"] is not None):
            return open_image(value["path"] or "picture without a name", value["bytes"])
        return super().decode_example(value, token_per_repo_id)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # datasets calls the registration experimental
    register_feature(RGBImage, RGBImage._type)
