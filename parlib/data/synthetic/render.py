"""A person in a place, seen by a camera: ground and clutter, passers-by, crop, blur, light, and JPEG damage."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from parlib.data.synthetic.figure import draw_person

RENDERER_VERSION = 1  # raised whenever the same seed gives other pixels


@dataclass(frozen=True)
class Camera:
    """How a benchmark looks. Ranges are (low, high), drawn evenly for each picture."""

    width: tuple = (56, 112)  # px of the crop
    ratio: tuple = (2.2, 3.1)  # height / width
    fill: tuple = (0.86, 0.99)  # share of the crop's height the person takes
    blur: tuple = (0.0, 0.9)  # px
    light: tuple = (0.7, 1.2)
    cast: int = 14  # largest shift of a colour channel
    clutter: int = 5  # things in the background
    passer_by: float = 0.15  # chance of another person behind
    occluder: float = 0.08  # chance of something in front of the feet or one side
    jpeg: tuple = (60, 92)


CAMERAS = {
    "pa100k": Camera(),
    "market1501": Camera(
        width=(64, 64), ratio=(2.0, 2.0), fill=(0.9, 1.0), blur=(0.2, 1.0), light=(0.85, 1.3), clutter=3, jpeg=(75, 92)
    ),
    "peta": Camera(width=(40, 130), ratio=(2.0, 3.2), fill=(0.8, 0.98), blur=(0.0, 1.2), light=(0.5, 1.15), cast=26),
    "mixed": Camera(width=(48, 128), ratio=(1.9, 3.2), fill=(0.8, 1.0), light=(0.6, 1.25), cast=22, jpeg=(50, 95)),
}
_SCALE = 2  # drawn this much larger, then averaged down


def render_person(person, rng, domain="pa100k", size=None):
    """One crop of one person.

    Args:
        person: a `Person`.
        rng: numpy Generator; the same state gives the same pixels on any machine.
        domain: whose camera, a key of `CAMERAS`.
        size: (width, height) in px; default is drawn from the camera.

    Returns:
        RGB `PIL.Image`, after the camera's JPEG compression.
    """
    camera = CAMERAS[domain]
    if size is None:
        width = int(rng.integers(camera.width[0], camera.width[1] + 1))
        size = (width, round(width * rng.uniform(*camera.ratio)))
    w, h = size[0] * _SCALE, size[1] * _SCALE
    image = _background(rng, w, h, camera)
    figure = draw_person(person, rng, round(h * rng.uniform(*camera.fill)))
    x = (w - figure.width) // 2 + int(w * rng.uniform(-0.06, 0.06))
    y = round((h - figure.height) * rng.uniform(0.3, 0.9))
    _shadow(image, x + figure.width // 2, y + figure.height, figure.height)
    image.paste(figure, (x, y), figure)
    if rng.random() < camera.occluder:
        _occlude(image, rng)
    return _camera(image.resize(size, Image.Resampling.BOX), rng, camera)


def _background(rng, w, h, camera):
    wall, floor = (tuple(int(c) for c in rng.integers(60, 225) + rng.integers(-22, 23, 3)) for _ in range(2))
    image = Image.new("RGB", (w, h), wall)
    pen = ImageDraw.Draw(image)
    horizon = round(h * rng.uniform(0.25, 0.75))
    pen.rectangle([0, horizon, w, h], fill=floor)
    for _ in range(int(rng.integers(0, camera.clutter + 1))):
        x, y = rng.uniform(-0.2, 1.0) * w, rng.uniform(-0.1, 0.8) * h
        box = [x, y, x + rng.uniform(0.1, 0.6) * w, y + rng.uniform(0.05, 0.4) * h]
        colour = tuple(int(c) for c in rng.integers(30, 235, 3))
        if rng.random() < 0.5:
            pen.rectangle(box, fill=colour)
        else:
            pen.line(box, fill=colour, width=int(rng.integers(1, 6)))
    if rng.random() < camera.passer_by:
        _passer_by(pen, rng, w, h)
    return image.filter(ImageFilter.BoxBlur(_SCALE * rng.uniform(0.3, 2.2)))


def _passer_by(pen, rng, w, h):
    """Somebody further off: head, body and legs in three colours, without detail."""
    x, top, tall = rng.choice([0.08, 0.92]) * w, rng.uniform(0.1, 0.35) * h, rng.uniform(0.4, 0.65) * h
    colours = [tuple(int(c) for c in rng.integers(20, 235, 3)) for _ in range(2)]
    half = tall * 0.11
    pen.rectangle([x - half, top + tall * 0.15, x + half, top + tall * 0.55], fill=colours[0])
    pen.rectangle([x - half * 0.8, top + tall * 0.55, x + half * 0.8, top + tall], fill=colours[1])
    pen.ellipse([x - half * 0.5, top, x + half * 0.5, top + tall * 0.16], fill=(190, 150, 120))


def _shadow(image, x, y, height):
    shade = Image.new("L", image.size, 0)
    wide, flat = height * 0.14, height * 0.02
    ImageDraw.Draw(shade).ellipse([x - wide, y - flat * 1.6, x + wide, y + flat], fill=110)
    image.paste(Image.new("RGB", image.size, (20, 20, 24)), (0, 0), shade)


def _occlude(image, rng):
    w, h = image.size
    colour = tuple(int(c) for c in rng.integers(40, 200, 3))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:  # something low in front of the feet
        pen.rectangle([0, h * rng.uniform(0.86, 0.96), w, h], fill=colour)
    else:  # a post or a shoulder at one edge
        edge = w * rng.uniform(0.08, 0.24)
        pen.rectangle([0, 0, edge, h] if rng.random() < 0.5 else [w - edge, 0, w, h], fill=colour)


def _camera(image, rng, camera):
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(*camera.light))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.8, 1.12))
    cast = rng.integers(-camera.cast, camera.cast + 1, 3)
    grain = rng.integers(-5, 6, (image.height, image.width, 1))
    pixels = np.asarray(image, np.int16) + cast.astype(np.int16) + grain.astype(np.int16)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    blur = rng.uniform(*camera.blur)
    if blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=int(rng.integers(*camera.jpeg)))
    return Image.open(io.BytesIO(stored.getvalue())).convert("RGB")
