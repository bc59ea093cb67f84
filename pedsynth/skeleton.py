"""Body proportions and pose, and drawing functions in body coordinates.

Lengths are in units of body height, y from the crown (0) to the soles (1), x from the body's axis.
"""

import math

from PIL import Image, ImageDraw

PALETTE = {
    "black": (34, 34, 38),
    "white": (228, 228, 224),
    "red": (178, 38, 42),
    "purple": (112, 56, 146),
    "gray": (128, 130, 134),
    "blue": (44, 76, 156),
    "green": (44, 118, 64),
    "yellow": (220, 188, 52),
    "pink": (228, 142, 172),
    "brown": (112, 74, 44),
    "orange": (222, 120, 42),
}
SKIN = ((246, 214, 190), (232, 188, 152), (206, 154, 112), (168, 114, 74), (122, 80, 52), (82, 54, 38))
HAIR = ((24, 20, 18), (40, 28, 22), (86, 56, 34), (140, 98, 52), (190, 150, 84), (104, 40, 26))
# Body height in heads, share of grey hair, build.
AGES = {
    "child": (5.3, 0.0, 0.95),
    "teenager": (6.3, 0.0, 0.9),
    "young adult": (7.2, 0.0, 0.98),
    "adult": (7.4, 0.08, 1.04),
    "middle-aged": (7.1, 0.45, 1.13),
    "old": (6.7, 0.88, 1.06),
}
_ABOVE = 0.05  # room above the head for a hat


class Skeleton:
    """Proportions and pose of one person, and shapes drawn in that person's coordinates.

    Args:
        person: a `Person`.
        pose: numpy Generator for what changes from picture to picture.
        looks: numpy Generator for what stays the same: body, hair, exact colours and cuts.
        height: px, from the top of a hat to the soles, at which it is drawn.
        tilt: 0 is level; 0.3 is seen from high above, with a large head and short legs.
    """

    def __init__(self, person, pose, looks, height, tilt=0.0):
        self.p, self.rng, self.looks, self.tilt = person, pose, looks, tilt
        self.h = height / (1 + _ABOVE)
        self.image = Image.new("RGBA", (round(0.7 * height), height), (0, 0, 0, 0))
        self.pen, self.origin = ImageDraw.Draw(self.image), (0, 0)
        p = person
        self.side, self.back = p.view == "side", p.view == "back"
        heads, grey, size = AGES[p.age]
        tone = looks.integers(len(SKIN))
        self.skin = jitter(SKIN[tone], looks, 6)
        grey = max(0.0, min(1.0, grey + 0.25 * (looks.random() - 0.5))) if grey else 0.0
        hair = HAIR[looks.integers(len(HAIR) if tone < 3 else 2)]
        self.hair = mix(jitter(hair, looks, 8), (205, 205, 208), grey)
        self.style = looks.random()  # hair: loose, tied or put up; short, very short, or none
        self.head = looks.uniform(0.96, 1.04) / heads
        self.build = looks.uniform(0.86, 1.2) * size
        self.belly = max(0.0, self.build - 1.08) * (0.5 if p.female else 0.8)
        self.cut = looks.random(8)  # lengths, widths, places and scales of garments
        # A quarter of all people lean to the other sex's proportions.
        form = 1.0 if p.female else 0.0
        form = form + (0.5 - form) * (looks.random() if looks.random() < 0.5 else 0.1)
        self.upper = jitter(PALETTE[p.upper_colour], looks, 14)
        self.lower = self.upper if p.lower == "dress" else jitter(PALETTE[p.lower_colour], looks, 14)
        self.accent = contrast(self.upper, looks)
        self.print = contrast(self.lower, looks)
        self.bag_colours = [jitter(PALETTE[_BAGS[looks.integers(len(_BAGS))]], looks, 18) for _ in range(4)]
        self.turn = 1 if pose.random() < 0.5 else -1  # which way the person faces or leans
        self.yaw = 0.0 if self.side else pose.uniform(-0.6, 0.6)  # turned a little away from straight on
        self.stoop = self.turn * {"old": 0.045, "middle-aged": 0.008}.get(p.age, 0.0)
        depth = self.build * (0.66 if self.side else 1.0 - 0.3 * self.yaw**2)
        self.shoulder = depth * (0.113 - 0.022 * form) * (0.9 if p.age == "child" else 1)
        self.hip = depth * (0.08 + 0.009 * form)
        self.waist = depth * (0.08 - 0.013 * form) * (1 + self.belly)
        self.y_shoulder = self.head * 1.22
        self.y_hip = self.y_shoulder + 0.32 - (0.03 if p.age == "child" else 0) + 0.01 * (self.cut[7] - 0.5)
        self.y_knee = (self.y_hip + 1) / 2 + 0.005
        self.step, self.stance = pose.uniform(-1, 1), pose.uniform(1.0, 1.7)
        self.swing = pose.uniform(-0.5, 0.5) * (1.0 if self.side else 0.35)

    def at(self, x, y):
        """Pixels (x, y) of a place in units of the height, tilt included."""
        lean = self.stoop * max(0.0, 1 - y / self.y_hip)
        x0, y0 = self.origin
        wide, down = 1 + self.tilt * (0.5 - y), y * (1 + 0.6 * self.tilt * (1 - y))
        return (self.image.width / 2 + self.h * (x + lean) * wide - x0, self.h * (_ABOVE + down) - y0)

    def shape(self, points, colour, pen=None):
        """A filled polygon."""
        (pen or self.pen).polygon([self.at(*point) for point in points], fill=colour)

    def line(self, points, colour, width, pen=None):
        """A line through points, `width` in units of the height."""
        thick = max(1, round(width * self.h))
        (pen or self.pen).line([self.at(*point) for point in points], fill=colour, width=thick, joint="curve")

    def disc(self, x, y, rx, ry, colour, pen=None):
        """An ellipse around (x, y) with half-axes `rx`, `ry`, in units of the height."""
        cx, cy = self.at(x, y)
        grow = self.h * (1 + self.tilt * (0.5 - y))
        (pen or self.pen).ellipse([cx - rx * grow, cy - ry * grow, cx + rx * grow, cy + ry * grow], fill=colour)

    def band(self, y0, y1, half0, half1, colour, x=0.0, pen=None):
        """A quadrilateral, level above and below: half as wide as `half0` at `y0` and `half1` at `y1`."""
        self.shape([(x - half0, y0), (x + half0, y0), (x + half1, y1), (x - half1, y1)], colour, pen)

    def limb(self, points, widths, colour, pen=None, cut=False):
        """A chain of tapering segments with round joints; `cut` leaves the last end straight."""
        for (x0, y0), (x1, y1), w0, w1 in zip(points, points[1:], widths, widths[1:], strict=False):
            length = math.hypot(x1 - x0, y1 - y0) or 1e-6
            nx, ny = -(y1 - y0) / length, (x1 - x0) / length
            quad = [(x0 + nx * w0, y0 + ny * w0), (x1 + nx * w1, y1 + ny * w1)]
            quad += [(x1 - nx * w1, y1 - ny * w1), (x0 - nx * w0, y0 - ny * w0)]
            self.shape(quad, colour, pen)
            if not cut or (x1, y1) != points[-1]:
                self.disc(x1, y1, w1, w1, colour, pen)
        x, y = points[0]
        self.disc(x, y, widths[0], widths[0], colour, pen)

    def textured(self, paint, colour, marks):
        """Fill the area that `paint(pen)` draws with `colour`, then draw `marks(pen)` clipped to that area."""
        mask = Image.new("L", self.image.size, 0)
        paint(ImageDraw.Draw(mask))
        box = mask.getbbox()
        if box is None:
            return
        cloth = Image.new("RGBA", (box[2] - box[0], box[3] - box[1]), (*colour, 255))
        self.origin = box[:2]
        marks(ImageDraw.Draw(cloth))
        self.origin = (0, 0)
        self.image.paste(cloth, box, mask.crop(box))

    def leg_points(self):
        """(left, right) legs as [hip, knee, ankle]; from the side a stride, from the front one foot ahead."""
        if self.side:
            sep, swing = 0.014, 0.012 + 0.085 * abs(self.step)
            left = [(-sep, self.y_hip), (-sep - swing * 0.35, self.y_knee), (-sep - swing, 0.955)]
            right = [(sep, self.y_hip), (sep + swing * 0.75, self.y_knee - 0.006), (sep + swing * 0.9, 0.965)]
            return (left, right) if self.turn > 0 else ([(-x, y) for x, y in left], [(-x, y) for x, y in right])
        legs = []
        for sign in (-1, 1):
            behind = max(0.0, sign * self.step)  # the leg that is further away is higher in the picture
            x = sign * self.hip * 0.5
            apart, drift = x * (1 + self.stance) / 2, 0.02 * self.yaw * self.step * sign
            knee = (apart - sign * 0.01 * behind + drift, self.y_knee - 0.02 * behind)
            foot = (x * self.stance - sign * 0.03 * behind + 2 * drift, 0.965 - 0.045 * behind)
            legs.append([(x, self.y_hip), knee, foot])
        return legs


_BAGS = ("black", "black", "brown", "red", "blue", "green", "yellow", "gray", "pink")


def mix(a, b, share):
    """An RGB colour between two: `a` at share 0, `b` at 1."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def dark(colour, share=0.3):
    """A colour mixed with black."""
    return mix(colour, (0, 0, 0), share)


def light(colour, share=0.3):
    """A colour mixed with white."""
    return mix(colour, (255, 255, 255), share)


def jitter(colour, rng, amount):
    """A colour with each channel shifted by at most `amount` (of 255)."""
    return tuple(int(max(0, min(255, c + rng.integers(-amount, amount + 1)))) for c in colour)


def contrast(colour, rng):
    """A contrasting colour, light on dark or dark on light, with a random tint and a random degree of contrast."""
    luma = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    base = (238, 232, 220) if luma < 128 else (44, 40, 52)
    tinted = mix(base, PALETTE[sorted(PALETTE)[rng.integers(len(PALETTE))]], 0.4)
    return mix(colour, tinted, rng.uniform(0.4, 1.0))
