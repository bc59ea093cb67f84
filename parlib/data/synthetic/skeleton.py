"""The skeleton all clothes hang on, and the pen that draws in its coordinates.

Lengths are in units of body height, y from the crown (0) to the soles (1), x from the body's axis.
"""

import math

from PIL import Image, ImageDraw

PALETTE = {
    "black": (30, 30, 34),
    "white": (236, 236, 232),
    "red": (190, 34, 40),
    "purple": (112, 48, 150),
    "gray": (128, 130, 134),
    "blue": (38, 74, 168),
    "green": (40, 124, 62),
    "yellow": (228, 196, 40),
    "pink": (236, 140, 176),
    "brown": (112, 72, 40),
    "orange": (228, 120, 34),
}
SKIN = ((248, 216, 190), (232, 188, 152), (206, 154, 112), (168, 114, 74), (122, 80, 52), (82, 54, 38))
HAIR = ((24, 20, 18), (48, 32, 24), (86, 56, 34), (140, 98, 52), (190, 150, 84), (104, 40, 26))
HEADS = {"child": 5.2, "teenager": 6.5, "young adult": 7.3, "adult": 7.4, "middle-aged": 7.2, "old": 7.0}


class Skeleton:
    """Proportions and pose of one person, and shapes drawn on the picture in the body's own coordinates."""

    def __init__(self, person, rng, height):
        self.p, self.rng, self.h = person, rng, height
        self.image = Image.new("RGBA", (round(0.62 * height), height), (0, 0, 0, 0))
        self.pen = ImageDraw.Draw(self.image)
        p = person
        self.side, self.back = p.view == "side", p.view == "back"
        self.turn = 1 if rng.random() < 0.5 else -1  # which way the person faces or leans
        self.skin = jitter(SKIN[rng.integers(len(SKIN))], rng, 6)
        grey = {"old": 0.85, "middle-aged": 0.4}.get(p.age, 0.0)
        self.hair = mix(jitter(HAIR[rng.integers(len(HAIR))], rng, 8), (205, 205, 208), grey)
        self.head = 1 / HEADS[p.age]
        self.stoop = 0.035 * self.turn if p.age == "old" else 0.0
        build = rng.uniform(0.88, 1.16) * {"child": 0.95, "teenager": 0.9, "middle-aged": 1.1, "old": 1.06}.get(
            p.age, 1
        )
        depth = 0.66 if self.side else 1.0
        self.shoulder = build * depth * (0.094 if p.female else 0.112) * (0.92 if p.age == "child" else 1)
        self.hip = build * depth * (0.088 if p.female else 0.08)
        self.waist = build * depth * (0.068 if p.female else 0.08)
        self.y_shoulder = self.head * 1.22
        self.y_hip = self.y_shoulder + 0.32 - (0.03 if p.age == "child" else 0)
        self.y_knee = (self.y_hip + 1) / 2 + 0.005
        self.stride = rng.uniform(0.02, 0.085) if self.side else rng.uniform(0.0, 0.02)
        self.swing = rng.uniform(-0.5, 0.5) * (1.0 if self.side else 0.35)
        self.upper = jitter(PALETTE[p.upper_colour], rng, 10)
        self.lower = self.upper if p.lower == "dress" else jitter(PALETTE[p.lower_colour], rng, 10)
        self.accent = contrast(self.upper, rng)

    def at(self, x, y):
        lean = self.stoop * max(0.0, 1 - y / self.y_hip)
        return (self.h * (0.31 + x + lean), self.h * y)

    def shape(self, points, colour, pen=None):
        (pen or self.pen).polygon([self.at(*point) for point in points], fill=colour)

    def line(self, points, colour, width, pen=None):
        thick = max(1, round(width * self.h))
        (pen or self.pen).line([self.at(*point) for point in points], fill=colour, width=thick, joint="curve")

    def disc(self, x, y, rx, ry, colour, pen=None):
        cx, cy = self.at(x, y)
        (pen or self.pen).ellipse([cx - rx * self.h, cy - ry * self.h, cx + rx * self.h, cy + ry * self.h], fill=colour)

    def limb(self, points, widths, colour, pen=None):
        """A chain of tapering pieces with round joints."""
        for (x0, y0), (x1, y1), w0, w1 in zip(points, points[1:], widths, widths[1:], strict=False):
            length = math.hypot(x1 - x0, y1 - y0) or 1e-6
            nx, ny = -(y1 - y0) / length, (x1 - x0) / length
            quad = [(x0 + nx * w0, y0 + ny * w0), (x1 + nx * w1, y1 + ny * w1)]
            quad += [(x1 - nx * w1, y1 - ny * w1), (x0 - nx * w0, y0 - ny * w0)]
            self.shape(quad, colour, pen)
            self.disc(x1, y1, w1, w1, colour, pen)
        self.disc(*points[0], widths[0], widths[0], colour, pen)

    def textured(self, paint, colour, marks):
        """Fill what `paint(pen)` draws with `colour` and then with `marks(pen)`, kept inside it."""
        mask = Image.new("L", self.image.size, 0)
        paint(ImageDraw.Draw(mask))
        cloth = Image.new("RGBA", self.image.size, (*colour, 255))
        marks(ImageDraw.Draw(cloth))
        self.image.paste(cloth, (0, 0), mask)

    def leg_points(self):
        sep = 0.016 if self.side else self.hip * 0.52
        swing = self.stride
        left = [(-sep, self.y_hip), (-sep - swing * 0.45, self.y_knee), (-sep - swing, 0.965)]
        right = [(sep, self.y_hip), (sep + swing * 0.7, self.y_knee), (sep + swing, 0.965)]
        return left, right


def mix(a, b, share):
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def jitter(colour, rng, amount):
    return tuple(int(max(0, min(255, c + rng.integers(-amount, amount + 1)))) for c in colour)


def contrast(colour, rng):
    """A colour that stands out from `colour`: light on dark or dark on light, tinted at random."""
    luma = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    base = (238, 232, 220) if luma < 128 else (44, 40, 52)
    return base if rng is None else mix(base, PALETTE[sorted(PALETTE)[rng.integers(len(PALETTE))]], 0.35)
