"""What is to be predicted: images by file, folder or pattern, whole or cut by boxes."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from parlib.data.images import open_image
from parlib.errors import BadInput
from parlib.use.boxes import Box

Picture = str | os.PathLike | Image.Image  # a file, a folder, a pattern, or a picture
Images = Picture | Iterable[Picture]
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


class Crop(NamedTuple):
    """One person to look at: a name, the file (or a PIL image) it is in, and the box of it, None for all of it."""

    name: str
    source: Picture
    box: Box | None = None

    def open(self, frame: Image.Image | None = None) -> Image.Image:
        """The person as upright RGB `PIL.Image`; `frame`, the opened source, saves opening it again."""
        frame = frame or self.frame()
        return frame.crop(self.box.within(*frame.size)) if self.box else frame

    def frame(self) -> Image.Image:
        """The whole picture; BadInput where it cannot be read."""
        return self.source.convert("RGB") if isinstance(self.source, Image.Image) else open_image(self.source)


def find_images(sources: Iterable[str | os.PathLike]) -> list[tuple[str, str]]:
    """[(name, path)] of every image in files, folders (and below) and glob patterns, each once, in order.

    Raises:
        BadInput: nothing there, or a folder or pattern without an image.
    """
    found: dict[str, str] = {}
    for source in map(str, sources):
        if os.path.isdir(source):
            inside = sorted(p for p in Path(source).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            new = {str(p): os.path.relpath(p, source) for p in inside if not p.name.startswith(".")}
            if not new:
                raise BadInput(f"{source}: no image in this folder or below ({', '.join(SUFFIXES)})")
        elif os.path.exists(source):
            new = {source: source}
        else:
            new = {p: p for p in sorted(glob.glob(source, recursive=True)) if Path(p).suffix.lower() in SUFFIXES}
            if not new:
                raise BadInput(f"no image {source!r}: no such file or folder, and as a pattern it matches no image")
        found |= {path: name for path, name in new.items() if path not in found}
    return [(name, path) for path, name in found.items()]


def crops_of(images: Sequence[tuple[str, Picture]], boxes: Sequence[Box] | None = None) -> tuple[list[Crop], list[str]]:
    """`Crop`s of images, (name, source) each, and notes: whole, or as `boxes` cut them, frame by frame.

    Every box is held against the size of its frame before anything is computed. A frame that cannot be read is kept
    whole, so that its error is reported with the others.

    Raises:
        BadInput: a box in a frame that is not among the images, or outside its frame.
    """
    if boxes is None:
        return [Crop(name, source) for name, source in images], []
    by_name, cut, notes = _by_name(images), 0, []
    crops: dict[int, tuple[tuple[str, Any], list[Box]]] = {}  # by id: a PIL image cannot be a key
    for box in boxes:
        if box.image not in by_name:
            raise BadInput(
                f"{box.row}: no image {box.image!r} among the {len(images)} given; the first is {images[0][0]}"
            )
        crops.setdefault(id(by_name[box.image]), (by_name[box.image], []))[1].append(box)
    out = []
    for (name, source), inside in crops.values():
        try:
            size = _size(source)
        except BadInput:
            out.append(Crop(name, source))
            continue
        for box in inside:
            left, top, right, bottom = box.within(*size)
            cut += right - left < round(box.width) - 1 or bottom - top < round(box.height) - 1
        out += [Crop(name, source, box) for box in inside]
    empty = len(images) - len(crops)
    if empty:
        notes.append(f"{empty} of {len(images)} images have no box and were left out")
    if cut:
        notes.append(f"{cut} of {len(boxes)} boxes reach over the edge of their frame and were cut there")
    return out, notes


def _by_name(images):
    """Names a box may use for an image -> the image: its own, its path, and its file name where that is of one only."""
    names, last = {}, [os.path.basename(name) for name, _ in images]
    times = Counter(last)
    for image, short in zip(images, last, strict=True):
        if times[short] == 1:
            names[short] = image
    for image in images:
        names |= {image[0]: image, str(image[1]): image}
    return names


def _size(source):
    """(width, height) of an upright picture, from its header alone."""
    if isinstance(source, Image.Image):
        return source.size
    try:
        with Image.open(source) as image:
            turned = image.getexif().get(274, 1) >= 5  # EXIF orientation: 5 to 8 swap width and height
            return image.size[::-1] if turned else image.size
    except Exception as error:  # whatever a damaged header trips Pillow into
        raise BadInput(f"{source}: cannot be read ({error})") from error
