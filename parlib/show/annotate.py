"""Pictures with a model's answers: boxes numbered, one panel per person, yes answers first; and clips of people."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont, ImageOps

from parlib.errors import BadInput
from parlib.files import partial_of, sweep, write_atomic
from parlib.show.figures.style import BLUE, COLOURS, GREY, ORANGE
from parlib.use.clips import Frame
from parlib.use.crops import Crop
from parlib.use.predict import Person, to_table

HEIGHT, PANEL, LINE = 400, 230, 15  # px: height of the picture, width of a panel, height of a line
ROWS, ABREAST = 25, 4  # lines in a panel, panels in a row
LINES = 5  # of answers beside a box in a clip


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
            pictures[crop.name] = crop, _free_path(crop.name, Path(folder), taken)
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


def _free_path(name, folder, taken):
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
    tall = LINE * (min(ROWS, len(people[0]) + bool(corners)) + 1)  # of a panel, with a line of space
    deep = max(1, HEIGHT // tall)  # panels one under the other
    columns = -(-len(people) // deep)
    size = shown.width + min(ABREAST, columns) * PANEL, -(-columns // ABREAST) * HEIGHT
    made = Image.new("RGB", size, "white")
    made.paste(shown)
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(12)
    for i, person in enumerate(people):
        column, under = divmod(i, deep)
        left, top = shown.width + column % ABREAST * PANEL + 10, column // ABREAST * HEIGHT + under * tall + 8
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


def annotate_people(
    parts: Iterable[list[Person]], crops: Sequence[Crop], folder: str | os.PathLike
) -> Iterator[list[Person]]:
    """Pass on people as `combined` gives them, and write `person-NAME.png` for each to `folder`.

    For a clip, whose boxes of everybody are in `crops`, also `NAME-people.mp4`, with the times of its frames.

    Raises:
        BadInput: a picture or the clip cannot be written.
    """
    of = {(crop.identity, crop.name): crop for crop in crops}
    taken: set[str] = set()
    everybody: dict[str, Person] = {}
    for people in parts:
        yield people
        for person in people:
            everybody[person["person"]] = person
            path = _free_path(f"person-{person['person']}.png", Path(folder), taken)
            if "error" not in person:
                shown = [of[person["person"], one["image"]].open() for one in person["decided"]]
                rows = to_table([{"image": "", "attributes": person["attributes"]}], boxed=False)
                _write(Crop("", _side_by_side(shown)), path, rows)
    if crops and isinstance(crops[0].source, Frame):
        clip = crops[0].source.clip
        _write_clip(clip, crops, everybody, Path(folder) / f"{Path(clip.path).stem}-people.mp4")


def _side_by_side(pictures):
    scaled = [each.resize((max(1, round(each.width * HEIGHT / each.height)), HEIGHT)) for each in pictures]
    apart = [np.asarray(ImageOps.expand(each, (0, 0, 4, 0), "white")) for each in scaled]
    return Image.fromarray(np.hstack(apart))


def _write_clip(clip, crops, everybody, path):
    """Draw every frame that can be decoded and write it with its own time; H.264 where PyAV has it, else MPEG-4."""
    import av

    boxes: dict[int, list[Crop]] = {}
    for crop in crops:
        boxes.setdefault(crop.source.number, []).append(crop)
    colours = dict(zip(everybody, itertools.cycle(COLOURS), strict=False))
    font = ImageFont.load_default(max(12, clip.size[1] // 40))
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        with av.open(partial, "w", format="mp4") as container:
            rate = Fraction(clip.rate).limit_denominator(60000)
            stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
            stream.width, stream.height, stream.pix_fmt = *(side - side % 2 for side in clip.size), "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for number in range(clip.count):
                try:
                    picture = clip.frame(number)
                except BadInput:  # told when its crops were to be answered
                    continue
                for crop in boxes.get(number, ()):
                    _draw(picture, crop, everybody.get(crop.identity, {}), colours.get(crop.identity, "grey"), font)
                frame = av.VideoFrame.from_image(picture.crop((0, 0, stream.width, stream.height)))
                frame.pts, frame.time_base = round(1000 * clip.seconds(number)), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        partial.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise BadInput(f"{path} cannot be written ({error}); make room or choose another place") from error
    finally:
        partial.unlink(missing_ok=True)


def _draw(picture, crop, person, colour, font):
    draw, (x, y, width, height) = ImageDraw.Draw(picture), crop.box[1:5]
    draw.rectangle((x, y, x + width, y + height), outline=colour, width=max(2, font.size // 6))
    yes = [(a["probability"], name) for name, a in person.get("attributes", {}).items() if a["decision"]]
    words = [crop.identity, *(name for _, name in sorted(yes, reverse=True)[:LINES])]
    words += [f"and {len(yes) - LINES} more"] if len(yes) > LINES else []
    longest = max(draw.textlength(word, font) for word in words)
    left = x + width + 4 if x + width + longest + 4 < picture.width else x + 3  # beside the person, where there is room
    for line, word in enumerate(words):
        draw.text((left, y + line * (font.size + 2)), word, fill=colour, font=font, stroke_width=2, stroke_fill="white")
