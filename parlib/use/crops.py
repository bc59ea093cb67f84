"""The people to predict: pictures by file, folder or pattern, whole or cut out by boxes."""

import glob
import os
import posixpath
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image

from parlib.data.formats import some
from parlib.data.images import FORMATS, SUFFIXES, open_image, upright_rgb
from parlib.errors import BadInput
from parlib.files import reading
from parlib.use.boxes import Box, read_boxes
from parlib.use.clips import SUFFIXES as CLIPS
from parlib.use.clips import Frame

Picture = str | os.PathLike | Image.Image  # a file, a folder, a pattern, or a picture
Images = Picture | Iterable[Picture]


class Crop(NamedTuple):
    """One person to look at."""

    name: str
    source: Picture
    box: Box | None = None  # None for all of the picture
    identity: str = ""  # where it is known, crops are answered person by person

    def open(self, frame: Image.Image | None = None) -> Image.Image:
        """The person as upright RGB `PIL.Image`; `frame`, the opened source, saves opening it again."""
        frame = frame or self.frame()
        return frame.crop(self.box.within(*frame.size)) if self.box else frame

    def frame(self) -> Image.Image:
        """The whole picture; BadInput where it cannot be read."""
        if isinstance(self.source, Frame):
            return self.source.clip.frame(self.source.number)
        return upright_rgb(self.source, self.name) if isinstance(self.source, Image.Image) else open_image(self.source)


def gather(
    images: Images,
    boxes: str | os.PathLike | None = None,
    min_score: float | None = None,
    category: str | None = None,
) -> list[Crop]:
    """Everything to predict, checked before anything is computed; warnings say what was left out.

    `read_boxes` takes `boxes`, `min_score` and `category`.
    """
    images = listed(images)
    pictures = [image for image in images if isinstance(image, Image.Image)]
    named: list[tuple[str, Picture]] = [(f"picture {i + 1}", image) for i, image in enumerate(pictures)]
    named += find_images(image for image in images if not isinstance(image, Image.Image))
    if not named:
        raise BadInput("no image to predict: give a file, a folder, a pattern or PIL images")
    clips = [name for name, source in named if str(source).lower().endswith(CLIPS)]
    if clips:
        raise BadInput(f"{clips[0]} is a clip: give it alone, with --tracks FILE or --detector MODEL")
    crops = crops_of(named, None if boxes is None else read_boxes(boxes, min_score, category))
    animated = sum(_is_animated(source) for source in {crop.name: crop.source for crop in crops}.values())
    if animated:
        warnings.warn(f"only the first frame of {animated} picture{'s' * (animated > 1)} was used", stacklevel=2)
    return crops


def listed(images: Images) -> list[Picture]:
    """Images as a list, also where they are one."""
    return [images] if isinstance(images, str | os.PathLike | Image.Image) else list(images)


def _is_animated(source):
    if isinstance(source, Image.Image):
        return getattr(source, "n_frames", 1) > 1
    try:  # from the header alone; a JPEG's further pictures are previews and depth maps
        with Image.open(source, formats=[f for f in FORMATS if f != "JPEG"]) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # reported with the others, when it is predicted
        return False


def find_images(sources: Iterable[Picture]) -> list[tuple[str, str]]:
    """[(name, path)] of every image in files, folders (and below) and glob patterns, each once, in order.

    In folders and patterns, a file is an image by its suffix (`SUFFIXES`) or by its first bytes; a warning names and
    counts the others. A file that is named itself is always taken. BadInput for nothing there, or no image among it.
    """
    found: dict[str, str] = {}
    others: dict[str, None] = {}
    for source in map(str, sources):
        is_folder = os.path.isdir(source)
        if os.path.exists(source) and not is_folder:
            found.setdefault(source, source)
            continue
        tops = [source] if is_folder else glob.glob(source, recursive=True)
        paths = sorted({path for top in tops for path in _below(top)})
        names = {path: os.path.relpath(path, source) if is_folder else path for path in paths}
        new = {path: name for path, name in names.items() if _is_image(path)}
        left_out = [name for path, name in names.items() if path not in new]
        if not new and is_folder:
            raise BadInput(f"{source}: no image in this folder or below; it has {some(left_out, 10) or 'no file'}")
        if not new:
            raise BadInput(f"no image {source!r}: no such file or folder, and as a pattern it matches no image")
        for path, name in new.items():
            found.setdefault(path, name)
        others |= dict.fromkeys(left_out)
    if others:
        verb = "file is no picture and was" if len(others) == 1 else "files are no pictures and were"
        warnings.warn(f"{len(others)} {verb} left out: {some(list(others), 10)}", stacklevel=2)
    return [(name, path) for path, name in found.items()]


def _below(path):
    """Every file below a folder, and its links to folders, which are not followed; of a file, the file itself."""
    if not os.path.isdir(path):
        return [path]
    inside = []
    for folder, folders, files in os.walk(path, onerror=_cannot_be_listed):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        inside += [os.path.join(folder, name) for name in (*files, *links)]
    return inside


def _cannot_be_listed(error):
    warnings.warn(f"folder {error.filename} cannot be read ({error.strerror}): its files were left out", stacklevel=2)


def _is_image(path):
    is_broken = os.path.islink(path) and not os.path.exists(path)  # reported as unreadable when it is predicted
    if os.path.basename(path).startswith(".") or not (is_broken or os.path.isfile(path)):
        return False
    if path.lower().endswith(SUFFIXES):
        return True
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS):
            return True
    except Exception:  # whatever the first bytes trip Pillow into
        return False


def crops_of(
    images: Sequence[tuple[str, Picture]], boxes: Sequence[Box] | None = None, tracked: bool = False
) -> list[Crop]:
    """`Crop`s of images, (name, source) each: whole, or as `boxes` cut them, frame by frame.

    Every box is compared with the size of its frame before anything is computed. Frames without a box are left out and
    boxes over the edge are cut there; warnings count both. A frame that cannot be read is kept whole, so that its error
    is reported with the others. Boxes that are `tracked` may leave their frame or the clip; they are left out, counted.

    Raises:
        BadInput: a box in a frame that is not among the images, or outside its frame; of tracked boxes none is left.
    """
    if boxes is None:
        return [Crop(name, source) for name, source in images]
    index, cut, out = by_name(images), 0, []
    inside: dict[int, list[Box]] = {}
    lost: dict[str, list[Box]] = {"in no frame": [], "outside their frame": []}
    for box in boxes:
        frame = index.get(spelling(box.image))
        its_boxes = lost["in no frame"] if frame is None else inside.setdefault(frame, [])
        its_boxes.append(box)
    if lost["in no frame"] and not tracked:
        first = lost["in no frame"][0]
        among = f"among the {len(images)} to predict; the first is {images[0][0]}"
        raise BadInput(f"{first.row}: no image {first.image!r}, or several of that name, {among}")
    for frame, its_boxes in sorted(inside.items()) if tracked else inside.items():  # a clip is decoded in order
        name, source = images[frame]
        try:
            size = size_of(source)
        except BadInput:
            out.append(Crop(name, source, None, its_boxes[0].identity))
            continue
        for box in its_boxes:
            try:
                left, top, right, bottom = box.within(*size)
            except BadInput:
                if not tracked:
                    raise
                lost["outside their frame"].append(box)
                continue
            cut += right - left < round(box.width) - 1 or bottom - top < round(box.height) - 1
            out.append(Crop(name, source, box, box.identity))
    for where, left_out in lost.items():
        if left_out:
            words = f"{len(left_out)} of {len(boxes)} boxes lie {where} and were left out, first {left_out[0].row}"
            if not out:
                raise BadInput(f"{words}: none is left; are these the tracks of these images?")
            warnings.warn(words, stacklevel=2)
    empty = len(images) - len(inside)
    if empty and not tracked:
        warnings.warn(f"{empty} of {len(images)} images have no box and were left out", stacklevel=2)
    if cut:
        where = "reach over the edge of their frame and were cut there"
        warnings.warn(f"{cut} of {len(boxes)} boxes {where}", stacklevel=2)
    return out


def by_name(images: Sequence[tuple[str, Picture]]) -> dict[str, int]:
    """What a box may call an image -> its index: name or path; where it is of one only, the file name, with suffix and
    without, and the number that it is."""
    short: dict[str, set[int]] = {}
    whole: dict[str, int] = {}
    for i, (name, source) in enumerate(images):
        whole |= {spelling(str(source)): i, spelling(name): i}
        last = posixpath.basename(spelling(name))
        stem = posixpath.splitext(last)[0]
        for each in (last, stem, str(int(stem)) if stem.isdecimal() else stem):
            short.setdefault(each, set()).add(i)
    return {each: min(found) for each, found in short.items() if len(found) == 1} | whole


def spelling(name: str) -> str:
    """A name of a picture with one Unicode form and one kind of slash."""
    return posixpath.normpath(unicodedata.normalize("NFC", name).replace("\\", "/"))


def size_of(source: Picture) -> tuple[int, int]:
    """(width, height) of an upright picture, from its header alone."""
    if isinstance(source, Image.Image):
        return upright_rgb(source, "picture").size
    if isinstance(source, Frame):
        return source.clip.size
    with reading(source, "picture"), Image.open(source) as image:
        turned = image.getexif().get(274, 1) >= 5  # EXIF orientation: 5 to 8 swap width and height
        return image.size[::-1] if turned else image.size
