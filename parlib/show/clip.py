"""People of several crops: one picture each with the crops that decided, and a clip with everybody's answers."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from parlib.errors import BadInput
from parlib.files import partial_of, sweep, write_atomic
from parlib.show.annotate import HEIGHT, annotated, free_path
from parlib.show.figures.style import COLOURS
from parlib.use.clips import Frame
from parlib.use.crops import Crop
from parlib.use.predict import Person, to_table

LINES = 5  # of answers beside a box


def annotate_people(
    parts: Iterable[list[Person]], crops: Sequence[Crop], folder: str | os.PathLike
) -> Iterator[list[Person]]:
    """Pass on the people of a `Job`, and write `person-NAME.png` for each to `folder`; for a clip, the clip as well.

    Args:
        parts: see `combined`.
        crops: every box of everybody, also those that were not answered.
        folder: the clip is written to it as `NAME-people.mp4`, with the times of its frames.

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
            path = free_path(f"person-{person['person']}.png", Path(folder), taken)
            if "error" not in person:
                shown = [of[person["person"], one["image"]].open() for one in person["decided"]]
                rows = to_table([{"image": "", "attributes": person["attributes"]}], boxed=False)
                annotated(_side_by_side(shown), rows).save(png := io.BytesIO(), "PNG")
                write_atomic(path, png.getvalue())
    if crops and isinstance(crops[0].source, Frame):
        clip = crops[0].source.clip
        _write_clip(clip, crops, everybody, Path(folder) / f"{Path(clip.path).stem}-people.mp4")


def _side_by_side(pictures):
    scaled = [each.resize((max(1, round(each.width * HEIGHT / each.height)), HEIGHT)) for each in pictures]
    made, left = Image.new("RGB", (sum(each.width for each in scaled) + 4 * len(scaled), HEIGHT), "white"), 0
    for each in scaled:
        made.paste(each, (left, 0))
        left += each.width + 4
    return made


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
