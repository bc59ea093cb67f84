"""Pictures with what a model said of the people in them: boxes numbered, a panel a person, yes answers first."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from parlib.errors import BadInput
from parlib.files import partial_of
from parlib.show.figures.style import BLUE, GREY, ORANGE
from parlib.use.sources import Crop

HEIGHT, PANEL, LINE, ROWS, ABREAST = 400, 230, 15, 25, 4  # px of picture, panel and line; lines a panel, panels a row


def annotate(
    tables: Iterable[pd.DataFrame], crops: Sequence[Crop], folder: str | os.PathLike
) -> Iterator[pd.DataFrame]:
    """The tables of a `Job` again, and in `folder` a PNG of each image that could be read, once its last row went by.

    `a/b.jpg` becomes `a/b.jpg.png`, always below `folder`. Raises BadInput where it cannot be written.
    """
    sources: dict[str, Crop] = {}
    targets: dict[str, str] = {}
    taken: set[str] = set()
    waiting = None
    for crop in crops:
        if crop.name not in sources:
            inside = "/".join(part for part in Path(crop.name).parts if part not in ("..", os.sep)) or "picture"
            target = next(n for i in range(len(crops)) if (n := inside + (f"-{i + 1}" if i else "")) not in taken)
            sources[crop.name], targets[crop.name] = crop, target
            taken.add(target)
    for table in tables:
        yield table
        for name, rows in table[table["error"].isna()].groupby("image", sort=False):
            if waiting and waiting[0] == name:
                rows = pd.concat([waiting[1], rows])
            elif waiting:
                _write(sources[waiting[0]], waiting[1], Path(folder) / f"{targets[waiting[0]]}.png")
            waiting = (name, rows)
    if waiting:
        _write(sources[waiting[0]], waiting[1], Path(folder) / f"{targets[waiting[0]]}.png")


def _write(crop, rows, path):
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        annotated(crop.frame(), rows).save(partial, "PNG")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadInput(f"{path} cannot be written: {error.strerror}; make room or choose another --annotate") from error


def annotated(frame: Image.Image, rows: pd.DataFrame) -> Image.Image:
    """A picture and the rows of its people (see `predict_images`) -> an RGB picture of both side by side."""
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
    """Name, a bar of the probability with its threshold as a mark, and the number; yes in blue."""
    colour, start, width = BLUE if row.decision else GREY, left + 122, 64
    name = " ".join(row.attribute.split())[:60]
    while draw.textlength(name, font) > 114:
        name = name[:-2].rstrip("…") + "…"
    draw.text((left, top), name, fill=colour, font=font)
    draw.rectangle((start, top + 5, start + width, top + 11), fill="#E6E6E6")
    draw.rectangle((start, top + 5, start + width * row.probability, top + 11), fill=colour)
    mark = start + width * row.threshold
    draw.line((mark, top + 2, mark, top + 14), fill="black", width=1)
    draw.text(
        (start + width + 6, top), f"{row.probability:.2f}" + ("" if row.calibrated else "*"), fill=colour, font=font
    )
