"""The scene around a person: ground, walls, objects and people behind, and objects in front."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Scene -> two ground colours, two wall colours, kinds of objects.
SCENES = {
    "street": (((118, 116, 114), (150, 146, 140)), ((150, 140, 128), (110, 120, 130)), ("car", "pole", "shop", "tree")),
    "square": (
        ((176, 168, 156), (150, 150, 152)),
        ((178, 172, 160), (140, 138, 134)),
        ("tiles", "pole", "shop", "tiles"),
    ),
    "campus": (
        ((160, 156, 148), (120, 140, 96)),
        ((96, 128, 76), (186, 178, 160)),
        ("tree", "tree", "bicycle", "pole"),
    ),
    "hall": (((150, 146, 140), (96, 92, 90)), ((190, 180, 160), (120, 112, 104)), ("shop", "tiles", "pole", "shop")),
}


def background(rng, w, h, camera):
    """RGB picture of `w` x `h` px without the person."""
    grounds, walls, things = SCENES[camera.scene]
    ground, wall = (_shade(options[rng.integers(2)], rng) for options in (grounds, walls))
    image = Image.new("RGB", (w, h), wall)
    pen = ImageDraw.Draw(image)
    horizon = round(h * rng.uniform(0.12, 0.6))
    pen.rectangle([0, horizon, w, h], fill=ground)
    for _ in range(int(rng.integers(0, camera.clutter + 1))):
        _THINGS[things[rng.integers(len(things))]](pen, rng, w, h, horizon)
    while rng.random() < camera.passer_by:
        _passer_by(pen, rng, w, h)
    return image.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 1.3)))


def shadow(image, x, y, height, rng):
    """Darken the ground under the feet at (x, y) and a little to one side."""
    wide, flat = height * rng.uniform(0.1, 0.2), max(2, height * 0.025)
    lean = rng.uniform(-1, 1) * wide
    box = [round(v) for v in (x - wide + min(0, lean), y - flat * 1.5, x + wide + max(0, lean), y + flat)]
    mask = Image.new("L", (max(1, box[2] - box[0]), max(1, box[3] - box[1])), 0)
    ImageDraw.Draw(mask).ellipse([0, 0, mask.width - 1, mask.height - 1], fill=int(rng.integers(60, 150)))
    image.paste((20, 20, 24), (box[0], box[1]), mask)


def occlude(image, rng):
    """Draw one object in front: a low wall, a post at the side, a bicycle, or another person's shoulder."""
    w, h = image.size
    pen, colour = ImageDraw.Draw(image), _any(rng)
    kind = rng.integers(4)
    if kind == 0:
        top = h * rng.uniform(0.84, 0.96)
        pen.rectangle([0, top, w, h], fill=colour)
        pen.line([0, top, w, top], fill=_shade(colour, rng, 40), width=2)
    elif kind == 1:
        edge = w * rng.uniform(0.06, 0.2)
        pen.rectangle([0, 0, edge, h] if rng.random() < 0.5 else [w - edge, 0, w, h], fill=colour)
    elif kind == 2:
        _bicycle(pen, rng, w, h, h * 0.72, near=True)
    else:
        x, r = w * (rng.uniform(-0.05, 0.08) if rng.random() < 0.5 else rng.uniform(0.92, 1.05)), w * 0.22
        top = h * rng.uniform(0.3, 0.65)
        pen.ellipse([x - r * 0.6, top - r * 1.5, x + r * 0.6, top + r * 0.2], fill=(60, 44, 36))
        pen.rounded_rectangle([x - r, top, x + r, h + r], radius=r * 0.5, fill=colour)


def _passer_by(pen, rng, w, h):
    """A person further away: head, trunk, arms and two legs, without detail."""
    x, top, tall = rng.choice([0.06, 0.12, 0.88, 0.94]) * w, rng.uniform(0.02, 0.35) * h, rng.uniform(0.4, 0.75) * h
    body, legs, skin = _any(rng), _any(rng), _shade((190, 150, 120), rng, 40)
    half, step = tall * 0.1, tall * rng.uniform(0.02, 0.09)
    for side in (-1, 1):
        foot = (x + side * step, top + tall)
        pen.line([(x + side * half * 0.4, top + tall * 0.5), foot], fill=legs, width=max(2, round(half * 0.75)))
        hand = (x + side * half * 1.25, top + tall * 0.52)
        pen.line([(x + side * half * 0.9, top + tall * 0.2), hand], fill=body, width=max(1, round(half * 0.5)))
    pen.rounded_rectangle([x - half, top + tall * 0.15, x + half, top + tall * 0.54], radius=half * 0.5, fill=body)
    pen.ellipse([x - half * 0.52, top, x + half * 0.52, top + tall * 0.15], fill=skin)
    pen.ellipse([x - half * 0.55, top - half * 0.1, x + half * 0.55, top + tall * 0.08], fill=(44, 36, 32))


def _car(pen, rng, w, h, horizon):
    x, wide, colour = rng.uniform(-0.5, 0.8) * w, rng.uniform(0.5, 1.0) * w, _any(rng)
    y, tall = horizon + rng.uniform(-0.05, 0.1) * h, 0.1 * h
    pen.rounded_rectangle([x, y, x + wide, y + tall], radius=tall * 0.3, fill=colour)
    pen.rounded_rectangle(
        [x + wide * 0.2, y - tall * 0.7, x + wide * 0.75, y + 1], radius=tall * 0.2, fill=(70, 80, 92)
    )
    for at in (0.2, 0.8):
        pen.ellipse(
            [x + wide * at - tall * 0.3, y + tall * 0.7, x + wide * at + tall * 0.3, y + tall * 1.3], fill=(30, 30, 32)
        )


def _pole(pen, rng, w, h, horizon):
    x = rng.uniform(0, 1) * w
    pen.line([(x, 0), (x, horizon + 0.1 * h)], fill=_shade((110, 110, 112), rng, 40), width=int(rng.integers(1, 5)))


def _tree(pen, rng, w, h, horizon):
    x, r, y = rng.uniform(-0.1, 1.1) * w, rng.uniform(0.2, 0.5) * w, horizon - rng.uniform(0.05, 0.3) * h
    pen.line([(x, y), (x, horizon + 0.04 * h)], fill=(84, 66, 48), width=max(2, w // 20))
    for _ in range(3):
        dx, dy = rng.uniform(-0.4, 0.4, 2) * r
        pen.ellipse(
            [x + dx - r * 0.7, y + dy - r * 0.7, x + dx + r * 0.7, y + dy + r * 0.6], fill=_shade((74, 108, 60), rng)
        )


def _shop(pen, rng, w, h, horizon):
    x, y = rng.uniform(-0.3, 0.9) * w, rng.uniform(-0.1, 0.6) * horizon
    box = [x, y, x + rng.uniform(0.25, 0.8) * w, y + rng.uniform(0.08, 0.35) * h]
    pen.rectangle(box, fill=_any(rng), outline=_any(rng))


def _tiles(pen, rng, w, h, horizon):
    colour, step = _shade((140, 136, 130), rng, 30), rng.uniform(0.05, 0.14) * h
    y = float(horizon)
    while y < h:
        pen.line([(0, y), (w, y)], fill=colour)
        y += step
    for k in range(-3, 8):
        pen.line([(w * (0.5 + (k - 2) * 0.12), horizon), (w * (0.5 + (k - 2) * 0.5), h)], fill=colour)


def _bicycle(pen, rng, w, h, horizon, near=False):
    r = (0.1 if near else 0.06) * h
    x, y = rng.uniform(0, 0.6) * w, horizon + (0.14 if near else 0.05) * h
    colour = _any(rng)
    for dx in (0, 2.6 * r):
        pen.ellipse([x + dx - r, y - r, x + dx + r, y + r], outline=(36, 36, 38), width=2)
    pen.line([(x, y), (x + r, y - r * 1.1), (x + 2.1 * r, y - r * 1.1), (x + 2.6 * r, y)], fill=colour, width=2)


_THINGS = {"car": _car, "pole": _pole, "tree": _tree, "shop": _shop, "tiles": _tiles, "bicycle": _bicycle}


def _any(rng):
    grey = rng.integers(30, 215)
    return tuple(int(np.clip(grey + c, 0, 255)) for c in rng.integers(-45, 46, 3))


def _shade(colour, rng, by=22):
    lift = rng.integers(-by, by + 1)
    return tuple(int(np.clip(c + lift + d, 0, 255)) for c, d in zip(colour, rng.integers(-6, 7, 3), strict=True))
