"""Boxes of people in full frames, from any detector: a CSV or Parquet table, or COCO's JSON."""

import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from parlib.data.formats import read_table
from parlib.errors import BadInput
from parlib.files import read_json

_COLUMNS = (("x", "y", "width", "height"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))


class Box(NamedTuple):
    """A rectangle in pixels of its upright frame: left, top, width, height; `row` says where it was read."""

    image: str
    x: float
    y: float
    width: float
    height: float
    row: str

    def within(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part inside a frame of that size as whole pixels (left, top, right, bottom); BadInput where none is."""
        left, top = max(0, round(self.x)), max(0, round(self.y))
        right, bottom = min(width, round(self.x + self.width)), min(height, round(self.y + self.height))
        if left >= right or top >= bottom:
            raise BadInput(
                f"{self.row}: box {self.x:g}, {self.y:g}, {self.width:g} x {self.height:g} lies outside its frame "
                f"{self.image} of {width} x {height} px; give left, top, width, height in its pixels"
            )
        return left, top, right, bottom


def read_boxes(path: str | os.PathLike) -> tuple[list[Box], list[str]]:
    """Boxes in a file, in its order, and notes on what was left out: (list of `Box`, list of str).

    A table has a column `image` (or `file_name`) and `x, y, width, height`, or `x1, y1, x2, y2` (`xmin` ...). COCO's
    JSON has `images` and `annotations` with `bbox`; where its categories name a person, only these are taken.

    Raises:
        BadInput: no such file or columns, an image without a name, a box that is no rectangle.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"no file of boxes {path}")
    frame, notes = _coco(path) if path.suffix.lower() == ".json" else (_table(path), [])
    boxes = []
    for image, x, y, width, height, row in frame.itertuples(index=False):
        if not isinstance(image, str) or not image.strip():
            raise BadInput(f"{path}: {row}: names no image")
        # Infinite and missing numbers fail this as well.
        if not (abs(x) < 1e6 and abs(y) < 1e6 and 0 < width < 1e6 and 0 < height < 1e6):
            raise BadInput(f"{path}: {row}: {x:g}, {y:g}, {width:g} x {height:g} is no rectangle in pixels")
        boxes.append(Box(image, x, y, width, height, f"{path}: {row}"))
    if not boxes:
        raise BadInput(f"{path} holds no box")
    return boxes, notes


def _table(path):
    frame = read_table(path)
    image = next((name for name in ("image", "file_name") if name in frame), None)
    corners = next((names for names in _COLUMNS if set(names) <= set(frame.columns)), None)
    if image is None or corners is None:
        raise BadInput(
            f"{path}: found columns {', '.join(map(str, frame.columns[:8]))}; expected image and x, y, width, height, "
            "or x1, y1, x2, y2"
        )
    numbers = frame[list(corners)].apply(pd.to_numeric, errors="coerce").astype(float)
    if corners != _COLUMNS[0]:
        numbers[corners[2]] -= numbers[corners[0]]
        numbers[corners[3]] -= numbers[corners[1]]
    rows = [f"row {i + 1}" for i in range(len(frame))]
    return pd.concat([frame[image].astype(object), numbers, pd.Series(rows)], axis=1)


def _coco(path):
    content, notes = read_json(path, "file of boxes", object), []
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        person = {c["id"] for c in content.get("categories", ()) if str(c["name"]).lower() in ("person", "pedestrian")}
        annotations = [a for a in content["annotations"] if not person or a["category_id"] in person]
        left = len(content["annotations"]) - len(annotations)
        if left:
            notes.append(f"{left} of {len(content['annotations'])} boxes in {path} are of no person and were left out")
        rows = [
            (names[a["image_id"]], *map(float, _four(a["bbox"])), f"annotation {a.get('id', i + 1)}")
            for i, a in enumerate(annotations)
        ]
        return pd.DataFrame(rows, columns=["image", "x", "y", "width", "height", "row"]), notes
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(
            f"{path}: is no COCO file of boxes ({type(error).__name__}: {error}); expected images: [{{id, file_name}}] "
            "and annotations: [{image_id, bbox: [left, top, width, height]}]"
        ) from error


def _four(numbers):
    left, top, width, height = numbers if isinstance(numbers, list) else []
    return left, top, width, height
