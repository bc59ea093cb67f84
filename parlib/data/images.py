"""Image files: found without a stat each, kept inside the root, and decoded to RGB or refused by name."""

import contextlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import datasets
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from parlib.errors import BadInput

MAX_SIDE = 16_384  # pixels; a longer picture is no photograph of a person, and may be a decompression bomb
MAX_PIXELS = 64_000_000
MAX_SCANS = 40  # of a progressive JPEG, which has a dozen; each goes over all pixels once more
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")  # Pillow would run Ghostscript on what calls itself EPS


@dataclass
class Survey:
    """Where a list of image names lies below a root.

    Attributes:
        folder: the image folder that holds most of the names, None where there is none.
        paths: name -> absolute path, for what is there.
        missing, outside: names that are not there, and names or links that lead out of the root.
    """

    folder: Path | None
    paths: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def survey(root, folders, names):
    """Look for `names` in each of `folders` (relative to `root`, in order of preference) with one scan a folder."""
    # Resolved once: the root itself may be reached through a link, only what lies below may not lead away.
    root = Path(root).resolve()
    best = Survey(None, missing=list(names))
    for folder in dict.fromkeys(folders):
        if (root / folder).is_dir():
            found = _survey_one(root, root / folder, names)
            if best.folder is None or len(found.paths) > len(best.paths):
                best = found
            if not found.missing:
                break
    return best


def _survey_one(root, folder, names):
    out, scans = Survey(folder), {}
    for name in names:
        parent, _, last = name.rpartition("/")
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or "\\" in name or "\0" in name:
            out.outside.append(name)
            continue
        if parent not in scans:
            scans[parent] = _scan(root, folder / parent)
        inside, entries = scans[parent]
        is_link = entries.get(last)
        if is_link is None:
            out.missing.append(name)
        elif not inside or (is_link and not _resolved(folder / name).is_relative_to(root)):
            out.outside.append(name)
        else:
            out.paths[name] = os.path.join(folder, name)
    return out


def _scan(root, folder):
    """(the folder lies inside the root, file name -> is a link)."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_symlink() for entry in entries if entry.is_symlink() or entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return True, {}
    return _resolved(folder).is_relative_to(root), found


def _resolved(path):
    return Path(os.path.realpath(path))


def open_image(path, data=None):
    """The picture in a file, or in `data` (bytes) named by `path`, as an upright RGB `PIL.Image`.

    EXIF rotation is applied; grey, palette, CMYK and 16-bit pictures are converted by their meaning; transparency
    becomes white. Never a partial picture.

    Raises:
        BadInput: naming the file, where it is missing, empty, truncated, no image, or larger than 16,384 px a side.
    """
    # Another library may have set it, and half a person would pass for a whole one.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if image.info.get("progressive") and _scans(path, data) > MAX_SCANS:
                raise BadInput(f"{path}: has more than {MAX_SCANS} scans, which take minutes to decode; save it anew")
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise BadInput(f"{path}: {width} x {height} px is larger than {MAX_SIDE} px a side; crop or shrink it")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), path)
    except BadInput:
        raise
    except UnidentifiedImageError:
        empty = (os.path.getsize(path) if data is None else len(data)) == 0
        raise BadInput(f"{path}: {'is empty (0 bytes)' if empty else 'is no image'}; fetch this file again") from None
    # Pillow's decoders raise whatever a damaged file trips them with; a list of classes would let some through.
    except Exception as error:
        raise BadInput(f"{path}: cannot be decoded ({error}); fetch this file again") from error


def _scans(path, data):
    with contextlib.nullcontext(io.BytesIO(data)) if data is not None else open(path, "rb") as file:
        return file.read(2**28).count(b"\xff\xda")


def _to_rgb(image, path):
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
    """`datasets.Image` that decodes with `open_image`, so that `dataset[i]["image"]` is upright RGB or a `BadInput`."""

    mode: str | None = "RGB"

    def decode_example(self, value: dict, token_per_repo_id: dict | None = None) -> Image.Image:
        """`{"path", "bytes"}` of a picture -> upright RGB."""
        if isinstance(value, dict) and self.decode and (value["path"] or value["bytes"] is not None):
            return open_image(value["path"] or "picture without a name", value["bytes"])
        return super().decode_example(value, token_per_repo_id)
