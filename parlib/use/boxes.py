"""Boxes of people in full frames, from any detector: a CSV or Parquet table, or COCO's JSON."""

import json
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from parlib.data.formats import read_table
from parlib.errors import BadInput
from parlib.files import reading

MIN_SCORE = 0.25  # boxes that a detector is less sure of are left out
_PERSON = """
person persons people pedestrian pedestrians human humans man men woman women boy girl child children adult
人 行人 人物 人员 人間 歩行者 사람 보행자 persona personas persone peatón peatones pedone pedoni gente personne
personnes piéton piétons personen fußgänger pessoa pessoas pedestre pedestres человек люди пешеход شخص أشخاص مشاة
"""
PERSON = frozenset(unicodedata.normalize("NFKC", word).casefold() for word in _PERSON.split())
_CORNERS = (
    *(("x", "y", "width", "height"), ("left", "top", "width", "height"), ("x", "y", "w", "h")),
    *(("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom")),
)
_IMAGE = ("image", "file_name", "filename", "file", "path", "image_path", "image_id", "frame")
_SCORE = ("score", "confidence", "conf", "probability")
_CLASS = ("name", "class_name", "category_name", "label", "category", "class", "category_id", "class_id", "cls")
_CROWD = ("iscrowd", "ignore", "isgroupof")
_TRACK = ("track_id", "track", "instance_id", "object_id", "person_id", "identity", "id")
_MOT = ("frame", "id", "x", "y", "width", "height", "score", "class")  # and what is not used here
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
            raise BadInput(
                f"{self.row}: box {self.x:g}, {self.y:g}, {self.width:g} x {self.height:g} lies outside its frame "
                f"{self.image} of {width} x {height} px; give left, top, width, height in its pixels"
            )
        return left, top, right, bottom


def read_boxes(
    path: str | os.PathLike, min_score: float | None = None, category: str | None = None, tracked: bool = False
) -> list[Box]:
    """Boxes of people in a detector's file, in its order.

    A table (CSV, Parquet) has a column `image` (or `file_name`, `path`, ...) and `x, y, width, height` or
    `x1, y1, x2, y2` (or `xmin` ...), and may have a score, a class and a flag for crowds. COCO's JSON has `images` and
    `annotations` with `bbox`; COCO's results are a list of `{image_id, category_id, bbox, score}`, whose id is the file
    name, such as 139 for 000000000139.jpg. Left out, counted and named in a warning: crowds (`iscrowd`, `ignore`),
    boxes of another class than a person, and low scores; columns that are not used are named, too.

    Args:
        min_score: boxes with a lower score are left out; default is `MIN_SCORE`, for scores from 0 to 1.
        category: name or number of the class to take; default is each whose name is a word for people (`PERSON`), or
            all boxes where no name is.
        tracked: the file has ids of people as well, in a column `track_id` (or `track`, `id`, ...) or as COCO's
            `track_id`; MOT text (frame, id, left, top, width, height, score, class) is then read, too. Left out are
            boxes without an id (-1), and all boxes of an id that one frame has twice: nothing says which is right.

    Raises:
        BadInput: no such file or columns, MOT or YOLO text, an image without a name, a box that is no rectangle in
            pixels, classes or scores that do not say what they mean, or no box left.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"no file of boxes {path}{': it is a folder' * path.is_dir()}")
    found, declared = _coco(path) if path.suffix.lower() == ".json" else (_table(path, tracked), [])
    kept = _left_out(path, found, found["crowd"], "crowds, not one person")
    if tracked:
        kept = _left_out(path, kept, kept["identity"].isin(("", "-1")), "no id of a track")
    else:
        kept = kept.assign(identity="")
    kept = _of_people(path, kept, category, declared)
    strange = kept[(kept["score"] < 0) | (kept["score"] > 1)]
    if min_score is None and len(strange):
        row, score = strange.iloc[0][["row", "score"]]
        raise BadInput(f"{row}: score {score:g} is not from 0 to 1: --min-score says the least to take in its own unit")
    least = MIN_SCORE if min_score is None else min_score
    kept = _left_out(path, kept, kept["score"] < least, f"score below {least:g} (--min-score)")
    if tracked:
        twice = kept.duplicated(["image", "identity"], keep=False)
        first = [f"{row.identity} in frame {row.image}" for row in kept[twice].head(1).itertuples()]
        kept = _left_out(path, kept, twice, f"one id for two people{listed(', such as', first)}")
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
        return _left_out(path, frame, ~words.isin(wanted), f"of other classes{listed(',', others)}")
    if category is not None:
        raise BadInput(f"{path} has no box of class {category!r}{listed('; it has', names)}")
    if len(names) > 1 and all(name.isdecimal() for name in names):
        numbers = listed("", names)
        raise BadInput(f"{path}: its classes have numbers{numbers} and no names: --category says which to take")
    if names:
        what = f"no category is called person{listed(', only', names)}"
        warnings.warn(f"{path}: {what}: all {len(frame)} boxes taken (--category says which to take)", stacklevel=3)
    return frame


def _folded(name):
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _table(path, tracked):
    """Boxes of a table: columns of `Box`, and score (NaN where there is none), category ("" for none), crowd."""
    with reading(path, "boxes"), open(path, encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).strip()
    if _BARE.fullmatch(line) and tracked and "," in line:
        with reading(path, "MOT text", "write lines of frame,id,left,top,width,height,score"):
            frame = pd.read_csv(path, header=None, dtype=float).iloc[:, : len(_MOT)]
            frame.columns = _MOT[: frame.shape[1]]
        frame["score"] = frame.get("score", pd.Series(-1.0, frame.index)).replace(-1, float("nan"))
        if "class" in frame:
            names = {-1: "", 1: "pedestrian"}
            frame["class"] = [names.get(number, f"class {number:g}") for number in frame["class"]]
    elif _BARE.fullmatch(line):
        kind = (
            "MOT text (frame, id, left, top, width, height, ...)" if "," in line else "YOLO text (class, centre, size)"
        )
        raise BadInput(
            f"{path} looks like {kind}, which names no image: write one CSV for all frames whose first line is "
            "image,x,y,width,height,score with file names and pixels"
        )
    else:
        frame = read_table(path)
    columns = {str(name).strip().lstrip("# ").lower(): frame[name] for name in frame.columns}
    image, score = (next((name for name in known if name in columns), None) for known in (_IMAGE, _SCORE))
    corners = next((names for names in _CORNERS if set(names) <= set(columns)), None)
    if image is None or corners is None:
        raise BadInput(
            f"{path}{listed(': found columns', list(frame.columns))}; expected image and x, y, width, height (left, "
            "top and size in pixels), or x1, y1, x2, y2"
        )
    track = next((name for name in _TRACK if tracked and name in columns and name != image), None)
    if tracked and track is None:
        raise BadInput(f"{path}: no column of ids; call it track_id{listed('; found columns', list(frame.columns))}")
    unused = [name for name in columns if name not in (image, track, *corners, score, *_CLASS, *_CROWD)]
    if unused:
        warnings.warn(f"{path}{listed(': columns not used:', unused)}", stacklevel=3)
    numbers = {c: pd.to_numeric(columns[c], errors="coerce").astype(float) for c in (*corners, score) if c}
    x, y, right, bottom = (numbers[name] for name in corners)
    if corners[2] not in ("width", "w"):
        right, bottom = right - x, bottom - y
    classes = [columns[name].map(_text) for name in _CLASS if name in columns]
    named = [texts for texts in classes if not texts.str.fullmatch(r"\d*").all()] or classes
    crowds = [columns[name].map(_text).str.lower().isin(("1", "true")) for name in _CROWD if name in columns]
    return pd.DataFrame(
        {
            "image": columns[image].map(_text),
            **{"x": x, "y": y, "width": right, "height": bottom},
            "row": [f"{path}: row {i + 1}" for i in range(len(frame))],
            "identity": columns[track].map(_text) if track else "",
            "score": numbers[score] if score else float("nan"),
            "category": named[0] if named else "",
            "crowd": pd.concat(crowds, axis=1).any(axis=1) if crowds else False,
        }
    )


def _text(cell):
    """A cell of a table as text: 7 and 7.0 are "7", an empty one is ""."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if pd.isna(cell) else str(cell)


def _coco(path):
    """Boxes of COCO's JSON, annotations or results, as `_table` has them, and the names of its categories."""
    with reading(path, "COCO file of boxes", _COCO):
        content, rows = json.loads(path.read_text(encoding="utf-8")), []
        results = isinstance(content, list)
        files = {} if results else {image["id"]: image["file_name"] for image in content["images"]}
        names = {} if results else {kind["id"]: str(kind["name"]) for kind in content.get("categories", ())}
        for number, box in enumerate(content if results else content["annotations"], 1):
            row, kind = f"annotation {box.get('id', number)}", box.get("category_id", "")
            if not all(isinstance(side, int | float) for side in box["bbox"]):  # "1234" has four characters, too
                raise TypeError(f"{row}: bbox {box['bbox']!r} is not four numbers")
            left, top, width, height = map(float, box["bbox"])
            more = box.get("attributes") or {}  # where CVAT writes the track
            rows.append(
                {
                    "image": str(box["image_id"] if results else files[box["image_id"]]),
                    **{"x": left, "y": top, "width": width, "height": height},
                    "row": f"{path}: {row}",
                    "identity": _text(next((inner[t] for inner in (box, more) for t in _TRACK[:-1] if t in inner), "")),
                    "score": float(box.get("score", "nan")),
                    "category": names.get(kind, str(kind)),
                    "crowd": any(box.get(flag) for flag in _CROWD),
                }
            )
        found = pd.DataFrame(rows, columns=[*Box._fields, "score", "category", "crowd"])
        if results and "1" in set(found["category"]) and "0" not in set(found["category"]):
            found["category"] = found["category"].replace("1", "person")  # COCO's own numbers begin at 1, a person
        return found.astype({"crowd": bool, "score": float}), list(names.values())


def listed(words: str, names: Sequence, most: int = 10) -> str:
    """`words` and the first of the names, or nothing where there is none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{words} {', '.join(map(str, names[:most]))}{more}" if names else ""
