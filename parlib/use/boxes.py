"""Boxes of people in full frames, from any detector: a CSV or Parquet table, or COCO's JSON."""

import json
import os
import re
import unicodedata
import warnings
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from parlib.data.formats import EMPTY, read_table, some
from parlib.errors import BadInput
from parlib.files import ASSETS, read_yaml, reading

MIN_SCORE = 0.25  # boxes that a detector is less sure of are left out
_NAMES = read_yaml(ASSETS / "boxes.yaml", "names in files of boxes")
PERSON = frozenset(unicodedata.normalize("NFKC", word).casefold() for word in _NAMES["person"].split())
_BARE = re.compile(r"-?[\d.]+([,\s]+-?[\d.]+){4,}")  # a line of a text file without names
_COCO = (
    "expected images: [{id, file_name}] and annotations: [{image_id, bbox: [left, top, width, height]}], or a list of "
    "results [{image_id, category_id, bbox, score}]"
)


class Box(NamedTuple):
    """A rectangle in pixels of its upright frame: left, top, width, height.

    `row` says where it was read, `identity` who it is by a tracker's id, "" without one.
    """

    image: str
    x: float
    y: float
    width: float
    height: float
    row: str
    identity: str = ""

    def within(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part inside a frame of that size as whole pixels (left, top, right, bottom); BadInput where none is."""
        left, top = max(0, round(self.x)), max(0, round(self.y))
        right, bottom = min(width, round(self.x + self.width)), min(height, round(self.y + self.height))
        if left >= right or top >= bottom:
            box = f"{self.x:g}, {self.y:g}, {self.width:g} x {self.height:g}"
            frame = f"its frame {self.image} of {width} x {height} px"
            raise BadInput(f"{self.row}: box {box} lies outside {frame}; give left, top, width, height in its pixels")
        return left, top, right, bottom


def read_boxes(
    path: str | os.PathLike, min_score: float | None = None, category: str | None = None, tracked: bool = False
) -> list[Box]:
    """Boxes of people in a detector's file, in its order.

    A table (CSV, Parquet) has a column `image` (or `file_name`, `path`, ...) and `x, y, width, height` or
    `x1, y1, x2, y2` (or `xmin` ...), and may have a score, a class and a flag for crowds. COCO's JSON has `images` and
    `annotations` with `bbox`; COCO's results are a list of `{image_id, category_id, bbox, score}`, whose id is the file
    name, such as 139 for 000000000139.jpg. Warnings count what is left out, and name the columns that are not used.

    Args:
        min_score: boxes with a lower score are left out; default is `MIN_SCORE`, for scores from 0 to 1.
        category: name or number of the class to take; default is each whose name is a word for people (`PERSON`), or
            all boxes where no name is.
        tracked: the file has ids of people as well, in a column `track_id` (or `track`, `id`, ...) or as COCO's
            `track_id`; MOT text (frame, id, left, top, width, height, score, class) is then read, too. Left out are
            boxes without an id (-1), and all boxes of an id that one frame has twice: nothing says which is right.

    Raises:
        BadInput: a file without the columns above, MOT or YOLO text, a box that is no rectangle in pixels, classes or
            scores that do not say what they mean, or no box left.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"no file of boxes {path}{': it is a folder' * path.is_dir()}")
    found, declared = _coco(path, tracked) if path.suffix.lower() == ".json" else (_table(path, tracked), [])
    kept = _left_out(path, found, found["crowd"], "crowds, not one person")
    if tracked:
        kept = _left_out(path, kept, kept["identity"].isin(("", "-1")), "no id of a track")
    kept = _of_people(path, kept, category, declared)
    strange = kept[(kept["score"] < 0) | (kept["score"] > 1)]
    if min_score is None and len(strange):
        row, score = strange.iloc[0][["row", "score"]]
        raise BadInput(f"{row}: score {score:g} is not from 0 to 1: --min-score says the least to take in its own unit")
    least = MIN_SCORE if min_score is None else min_score
    kept = _left_out(path, kept, kept["score"] < least, f"score below {least:g} (--min-score)")
    twice = kept.duplicated(["image", "identity"], keep=False) & tracked
    if twice.any():
        image, identity = kept[twice].iloc[0][["image", "identity"]]
        kept = _left_out(path, kept, twice, f"one id for two people, such as {identity} in frame {image}")
    if kept.empty:
        raise BadInput(f"{path} holds no box" + (f" of a person: {len(found)} were left out" if len(found) else ""))
    boxes = [Box(*row) for row in kept[list(Box._fields)].itertuples(index=False)]
    for box in boxes:
        if not box.image.strip():
            raise BadInput(f"{box.row}: names no image")
        # Infinite and missing numbers fail this as well.
        if not (abs(box.x) < 1e6 and abs(box.y) < 1e6 and 0 < box.width < 1e6 and 0 < box.height < 1e6):
            raise BadInput(f"{box.row}: {box.x:g}, {box.y:g}, {box.width:g} x {box.height:g} is no rectangle in pixels")
    if max(max(box[1:5]) for box in boxes) <= 1:
        raise BadInput(f"{path}: no number is above 1, so these are fractions of the frame; give pixels")
    return boxes


def _left_out(path, frame, which, why):
    """The rows of which `which` is false; the others are counted in a warning."""
    if which.any():
        warnings.warn(f"{path}: {which.sum()} of {len(frame)} boxes left out: {why}", stacklevel=3)
    return frame[~which]


def _of_people(path, frame, category, declared):
    words = frame["category"].map(_folded)
    names = [name for name in frame["category"].unique() if name]
    wanted = PERSON if category is None else {_folded(category)}
    if words.isin(wanted).any() or not wanted.isdisjoint(map(_folded, declared)):
        others = frame["category"][~words.isin(wanted)].replace("", "none").unique().tolist()
        return _left_out(path, frame, ~words.isin(wanted), f"of other classes, {some(others, 10)}")
    if category is not None:
        raise BadInput(f"{path} has no box of class {category!r}; it has {some(names, 10) or 'no classes'}")
    if len(names) > 1 and all(name.isdecimal() for name in names):
        numbers = some(names, 10)
        raise BadInput(f"{path}: its classes have numbers {numbers} and no names: --category says which to take")
    if names:
        what = f"no category is called person, only {some(names, 10)}"
        warnings.warn(f"{path}: {what}: all {len(frame)} boxes taken (--category says which to take)", stacklevel=3)
    return frame


def _folded(name):
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _table(path, tracked):
    """Boxes of a table: columns of `Box`, and score (NaN where there is none), category ("" for none), crowd."""
    with reading(path, "boxes"), open(path, encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).strip()
    is_bare, is_mot = _BARE.fullmatch(line), "," in line
    if is_bare and not (tracked and is_mot):
        kind = "MOT text (frame, id, left, top, width, height, ...)" if is_mot else "YOLO text (class, centre, size)"
        remedy = "write one CSV for all frames whose first line is image,x,y,width,height,score"
        raise BadInput(f"{path} looks like {kind}, which names no image: {remedy}, with file names and pixels")
    frame = _mot(path) if is_bare else read_table(path)
    columns = {str(name).strip().lstrip("# ").lower(): frame[name] for name in frame.columns}
    images, scores, tracks, classes, crowds = (
        [name for name in _NAMES[what] if name in columns] for what in ("image", "score", "track", "class", "crowd")
    )
    image, score, track = (next(iter(names), None) for names in (images, scores, tracks if tracked else ()))
    corners = next((names for names in _NAMES["corners"] if set(names) <= set(columns)), None)
    have = some(list(frame.columns), 10)
    if image is None or corners is None:
        expected = "image and x, y, width, height (left, top and size in pixels), or x1, y1, x2, y2"
        raise BadInput(f"{path}: found columns {have}; expected {expected}")
    if tracked and track is None:
        raise BadInput(f"{path}: no column of ids; call it track_id; found columns {have}")
    used = [image, track, *corners, score, *classes, *crowds]
    if unused := [name for name in columns if name not in used]:
        warnings.warn(f"{path}: columns not used: {some(unused, 10)}", stacklevel=3)
    numbers = {c: pd.to_numeric(columns[c], errors="coerce").astype(float) for c in (*corners, score) if c}
    if score:
        cells = columns[score].map(_text).str.strip()
        strange = cells[numbers[score].isna() & ~cells.str.lower().isin(EMPTY)]
        if len(strange):
            what = f"row {strange.index[0] + 1}: {score} {strange.iloc[0]!r} is no number"
            raise BadInput(f"{path}: {what}; write 0.9, or leave it empty where there is none")
    texts = pd.DataFrame({c: columns[c].map(_text) for c in (image, track, *classes, *crowds) if c})
    named = [name for name in classes if not texts[name].str.fullmatch(r"\d*").all()] or classes
    x, y, right, bottom = (numbers[name] for name in corners)
    is_size = corners[2] in ("width", "w")
    return pd.DataFrame(
        {
            "image": texts[image],
            **{"x": x, "y": y, "width": right if is_size else right - x, "height": bottom if is_size else bottom - y},
            "row": [f"{path}: row {i + 1}" for i in range(len(frame))],
            "identity": texts[track] if track else "",
            "score": numbers[score] if score else float("nan"),
            "category": texts[named[0]] if named else "",
            "crowd": texts[crowds].isin(("1", "true", "True", "TRUE")).any(axis=1),
        }
    )


def _mot(path):
    columns, names = _NAMES["mot"], {-1: "", 1: "pedestrian"}
    with reading(path, "MOT text", "write lines of frame,id,left,top,width,height,score"):
        frame = pd.read_csv(path, header=None, dtype=float)
        if len(frame.columns) < 6:
            has = f"its lines have {len(frame.columns)} numbers"
            raise BadInput(f"{path}: {has}; MOT text has frame,id,left,top,width,height and more")
        frame = frame.reindex(columns=range(len(columns)))
    frame = frame.set_axis(columns, axis=1)
    classes = [names.get(number, f"class {number:g}") for number in frame["class"].fillna(-1)]
    return frame.assign(**{"score": frame["score"].replace(-1, float("nan")), "class": classes})


def _text(cell):
    """A cell of a table as text: 7 and 7.0 are "7", an empty one is ""."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if pd.isna(cell) else str(cell)


def _coco(path, tracked):
    """Boxes of COCO's JSON, annotations or results, as `_table` has them, and the names of its categories."""
    tracks = _NAMES["track"][:-1] if tracked else ()  # without `id`, which numbers the annotations
    with reading(path, "COCO file of boxes", _COCO):
        content, rows = json.loads(path.read_text(encoding="utf-8")), []
        results = isinstance(content, list)
        files = {} if results else {image["id"]: image["file_name"] for image in content["images"]}
        names = {} if results else {kind["id"]: str(kind["name"]) for kind in content.get("categories", ())}
        for number, box in enumerate(content if results else content["annotations"], 1):
            row, kind = f"annotation {box.get('id', number)}", box.get("category_id", "")
            if not all(isinstance(side, int | float) for side in box["bbox"]):  # "1234" has four characters, too
                raise TypeError(f"{row}: bbox {box['bbox']!r} is not four numbers")
            more = box.get("attributes")  # where CVAT writes the track; others have lists of words there
            places = (box, more) if isinstance(more, dict) else (box,)
            left, top, width, height = map(float, box["bbox"])
            image = str(box["image_id"] if results else files[box["image_id"]])
            identity = _text(next((place[name] for place in places for name in tracks if name in place), ""))
            about = (float(box.get("score", "nan")), names.get(kind, str(kind)), any(map(box.get, _NAMES["crowd"])))
            rows.append((image, left, top, width, height, f"{path}: {row}", identity, *about))
        found = pd.DataFrame(rows, columns=[*Box._fields, "score", "category", "crowd"])
        if results and "1" in set(found["category"]) and "0" not in set(found["category"]):
            found["category"] = found["category"].replace("1", "person")  # COCO's own numbers begin at 1, a person
        return found.astype({"crowd": bool, "score": float}), list(names.values())
