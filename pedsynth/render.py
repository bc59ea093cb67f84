"""Renders one picture: a person in a scene as a camera sees it, with crop, blur, light and JPEG artefacts."""

import io

import numpy as np
from PIL import Image, ImageFilter

from pedsynth.cameras import CAMERAS
from pedsynth.figure import draw_person
from pedsynth.scene import background, occlude, shadow

RENDERER_VERSION = 4  # increase it when the same seed gives other pixels
_FLOOR = 44  # px: lowest resolution of a sensor over the height of a crop


def render_person(person, rng, domain="pa100k", size=None, looks=None, camera=None):
    """One crop of one person.

    Args:
        person: a `Person`.
        rng: numpy Generator for what changes from picture to picture; the same state gives the same pixels on any
            machine.
        domain: key of `CAMERAS`.
        size: (width, height) in px; default: drawn from the camera's ranges.
        looks: numpy Generator for what pictures of one person share: body, hair, exact colours and cuts; default `rng`.
        camera: index into `CAMERAS[domain]`; default: drawn.

    Returns:
        RGB `PIL.Image`, after the camera's JPEG compression.
    """
    cameras = CAMERAS[domain]
    seen_by = cameras[int(rng.integers(len(cameras))) if camera is None else camera]
    if size is None:
        width = int(rng.integers(seen_by.width[0], seen_by.width[1] + 1))
        size = (width, round(width * rng.uniform(*seen_by.ratio)))
    # Render at the resolution of the sensor, which may be lower than the crop's.
    detail = max(rng.uniform(*seen_by.detail), min(1.0, _FLOOR / size[1]))
    w, h = (max(8, round(side * detail)) for side in size)
    image = background(rng, w, h, seen_by)
    figure = draw_person(person, rng, looks or rng, round(h * rng.uniform(*seen_by.fill)), rng.uniform(*seen_by.tilt))
    x = (w - figure.width) // 2 + round(w * seen_by.shift * rng.uniform(-1, 1))
    y = round((h - figure.height) * rng.uniform(0.3, 0.9))
    shadow(image, x + figure.width // 2, y + figure.height, figure.height, rng)
    image.paste(figure, (x, y), figure)
    if rng.random() < seen_by.occluder:
        occlude(image, rng)
    return _photograph(image, size, rng, seen_by)


def _photograph(image, size, rng, camera):
    pixels = np.asarray(image, np.float32)
    gain = rng.uniform(*camera.light) * rng.uniform(*camera.contrast)
    lift = (
        128 * (rng.uniform(*camera.light) - gain) * 0.5 + rng.integers(-camera.cast, camera.cast + 1, 3) + camera.tint
    )
    grain = rng.integers(-4, 5, (*pixels.shape[:2], 1))
    image = Image.fromarray((pixels * np.float32(gain) + (lift + grain)).clip(0, 255).astype(np.uint8))
    blur = rng.uniform(*camera.blur)
    if blur > 0.25:
        image = image.filter(ImageFilter.BoxBlur(blur))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=int(rng.integers(*camera.jpeg)))
    return Image.open(io.BytesIO(stored.getvalue())).convert("RGB")
