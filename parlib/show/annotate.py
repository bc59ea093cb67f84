"""Pictures with a model's answers: boxes numbered, one panel per person, yes answers first."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from parlib.files import write_atomic
from parlib.show.figures.style import BLUE, GREY, ORANGE
from parlib.use.crops import Crop
from parlib.use.predict import Person, to_table

HEIGHT, PANEL, LINE = 400, 230, 15  # px: height of the picture, width of a panel, height of a line
ROWS, ABREAST = 25, 4  # lines in a panel, panels in a row


def annotate(parts: Iterable[list[Person]], crops: Sequence[Crop], folder: str | os.PathLike) -> Iterator[list[Person]]:
    """Pass on the people of a `Job`, and write each image that could be read to `folder` once its last one has passed.

    The picture of `a/b.jpg` is `a/b.png`, and `a/b-2.png` where another source has that one; always below `folder`.

    Raises:
        BadInput: a picture cannot be written.
    """
    pictures: dict[str, tuple[Crop, Path]] = {}
    taken: set[str] = set()
    for crop in crops:
        if crop.name not in pictures:
            pictures[crop.name] = crop, free_path(crop.name, Path(folder), taken)
    boxed = any(crop.box for crop in crops)
    name, rows = "", list[pd.DataFrame]()  # of the image whose rows are still coming
    for people in parts:
        yield people
        table = to_table(people, boxed)
        for image, part in table[table["error"].isna()].groupby("image", sort=False):
            if rows and image != name:
                _write(*pictures[name], pd.concat(rows))
                rows = []
            name = image
            rows.append(part)
    if rows:
        _write(*pictures[name], pd.concat(rows))


def free_path(name: str, folder: Path, taken: set[str]) -> Path:
    """Where the picture of an image goes: a PNG below `folder` whose path in lower case is new in `taken`."""
    inside = [part for part in Path(name).parts if part not in ("..", Path(name).anchor)] or ["picture"]
    stem, number = folder.joinpath(*inside).with_suffix(""), 1
    path = stem.with_name(f"{stem.name}.png")
    while str(path).lower() in taken:  # systems that ignore case would write one over the other
        number += 1
        path = stem.with_name(f"{stem.name}-{number}.png")
    taken.add(str(path).lower())
    return path


def _write(crop, path, rows):
    annotated(crop.frame(), rows).save(png := io.BytesIO(), "PNG")
    write_atomic(path, png.getvalue())


def annotated(frame: Image.Image, rows: pd.DataFrame) -> Image.Image:
    """A picture with the rows of its people (see `Model`) beside it, as one RGB picture."""
    scale = HEIGHT / frame.height
    shown = frame.resize((max(1, round(frame.width * scale)), HEIGHT))
    corners = [c for c in ("x", "y", "width", "height") if c in rows]
    people = [part for _, part in rows.groupby(corners, sort=False)] if corners else [rows]
    columns, lines = min(ABREAST, len(people)), -(-len(people) // ABREAST)
    made = Image.new("RGB", (shown.width + columns * PANEL, max(HEIGHT, lines * HEIGHT)), "white")
    made.paste(shown)
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(12)
    for i, person in enumerate(people):
        left, top = shown.width + i % ABREAST * PANEL + 10, i // ABREAST * HEIGHT + 8
        if corners:
            x, y, width, height = (float(person[c].iloc[0]) * scale for c in corners)
            draw.rectangle((x, y, x + width, y + height), outline=ORANGE, width=3)
            draw.text((x + 4, y + 2), str(i + 1), fill=ORANGE, font=font, stroke_width=2, stroke_fill="white")
            draw.text((left, top), f"person {i + 1}", fill=ORANGE, font=font)
            top += LINE
        ranked = person.sort_values(["decision", "probability"], ascending=False)
        fits = ROWS - bool(corners) if len(ranked) <= ROWS else ROWS - 1 - bool(corners)
        for row in ranked.head(fits).itertuples():
            _line(draw, font, left, top, row)
            top += LINE
        if len(ranked) > fits:
            draw.text((left, top), f"and {len(ranked) - fits} less sure", fill=GREY, font=font)
    return made


def _line(draw, font, left, top, row):
    """Name, a bar of the probability with a mark at the threshold, and the number, * if not calibrated; yes is blue."""
    colour, start, width = BLUE if row.decision else GREY, left + 118, 62
    name = " ".join(row.attribute.split())[:60]
    while draw.textlength(name, font) > 112:
        name = name[:-2].rstrip("…") + "…"
    draw.text((left, top), name, fill=colour, font=font)
    draw.rectangle((start, top + 5, start + width, top + 11), fill="#E6E6E6")
    draw.rectangle((start, top + 5, start + width * row.probability, top + 11), fill=colour)
    mark = start + width * row.threshold
    draw.line((mark, top + 2, mark, top + 14), fill="black", width=1)
    number = f"{row.probability:.2f}" + ("" if row.calibrated else "*")
    draw.text((start + width + 6, top), number, fill=colour, font=font)
