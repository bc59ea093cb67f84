"""Draws one person on a transparent ground: body and clothes, then head, arms, and what they wear and carry."""

from PIL import Image, ImageChops

from parlib.data.synthetic.carried import Carried
from parlib.data.synthetic.skeleton import PALETTE, contrast, jitter, mix


def draw_person(person, rng, height):
    """A `Person` -> RGBA image `height` px high, 0.62 of that wide; soles at the bottom, body axis in the middle."""
    return Figure(person, rng, height).draw()


class Figure(Carried):
    """A dressed person, drawn from the ground up and from the far side to the near one."""

    def draw(self):
        p = self.p
        if "backpack" in p.bags and not self.back:
            self._backpack_behind()
        self._legs()
        self._footwear()
        if p.lower in ("skirt", "dress"):
            self._skirt()
        far, near = self._arms()
        if self.side:
            self._sleeve(far)
        self._torso(near if self.side else None)
        if not self.side:
            self._sleeve(far), self._sleeve(near)
        self._head()
        if p.muffler:
            self._muffler()
        self._bags(near, far)
        if self.side:
            self._sleeve(near)
        self._shade()
        return self.image

    def _arms(self):
        """(far, near) arms as [shoulder, elbow, hand]; in front and back views left and right."""
        drop, y = self.y_hip - self.y_shoulder, self.y_shoulder + 0.028
        arms = []
        for sign in (-1, 1):
            x = sign * (0.012 if self.side else self.shoulder * 0.93)
            if "held in front" in self.p.bags and not self.back:
                reach = self.turn * 0.12 if self.side else -sign * self.shoulder * 0.25
                hand = (reach if self.side else sign * 0.045, y + drop * 0.62)
                arms.append([(x, y), (x + sign * 0.02, y + drop * 0.5), hand])
                continue
            swing = self.swing * sign * 0.12 if self.side else sign * (0.02 + 0.03 * self.rng.random())
            arms.append([(x, y), (x + swing * 0.5, y + drop * 0.52), (x + swing * 1.15, y + drop * 1.05)])
        return arms

    def _sleeve(self, arm):
        p = self.p
        width = 0.026 if not self.side else 0.029
        self.limb(arm, [width, width * 0.84, width * 0.66], self.skin)
        self.disc(*arm[2], width * 0.82, width * 0.92, self.skin)
        loose = {"coat": 1.3, "jacket": 1.25, "suit": 1.15, "sweater": 1.15}.get(p.upper, 1.08)
        (x0, y0), (x1, y1) = arm[0], arm[1]
        cut = (x0 + (x1 - x0) * 0.62, y0 + (y1 - y0) * 0.62)
        (x2, y2) = arm[2]
        wrist = (x1 + (x2 - x1) * 0.9, y1 + (y2 - y1) * 0.9)
        points = [arm[0], arm[1], wrist] if p.long_sleeve else [arm[0], cut]

        def paint(pen):
            self.limb(points, [width * loose * 1.1, width * loose, width * loose * 0.9], 255, pen)

        colour = self.accent if p.upper_pattern == "splice" else mix(self.upper, (0, 0, 0), 0.1)
        plain = p.upper_pattern in ("logo", "splice", "plain")
        self.textured(paint, colour, (lambda pen: None) if plain else self._upper_marks)

    def _head(self):
        p, r = self.p, self.head * 0.5
        cx = 0.02 * self.turn if self.side else 0.0
        wide = r * (0.86 if self.side else 0.76)
        if p.long_hair and self.side:
            fall, shift = self.y_shoulder + 0.085, -0.45 * wide * self.turn
            outline = [(cx - wide * 1.12 + shift, r * 0.7), (cx + wide * 1.12 + shift, r * 0.7)]
            self.shape([*outline, (cx + wide * 1.2 + shift, fall), (cx - wide * 1.2 + shift, fall)], self.hair)
        elif p.long_hair:  # a strand on each shoulder; the face and the chest stay free
            fall = self.y_shoulder + 0.075
            for side in (-1, 1):
                strand = [(side * wide * 0.5, r * 0.5), (side * wide * 1.16, r * 0.6)]
                self.shape([*strand, (side * wide * 1.35, fall), (side * wide * 0.72, fall)], self.hair)
        self.disc(cx, r, wide, r, self.skin)
        if self.back:
            self.disc(cx, r * 0.92, wide * 1.05, r * 0.96, self.hair)
            if p.long_hair:
                self.shape(
                    [
                        (cx - wide, r),
                        (cx + wide, r),
                        (cx + wide * 1.1, self.y_shoulder + 0.1),
                        (cx - wide * 1.1, self.y_shoulder + 0.1),
                    ],
                    self.hair,
                )
            else:
                self.disc(cx, r * 1.72, wide * 0.55, r * 0.3, self.skin)
        elif self.side:
            t = self.turn
            self.shape(
                [(cx + t * wide * 0.8, r * 0.85), (cx + t * wide * 1.2, r * 1.22), (cx + t * wide * 0.75, r * 1.3)],
                self.skin,
            )
            self.disc(cx - t * wide * 0.25, r * 0.78, wide * 0.88, r * 0.8, self.hair)
            self.disc(cx + t * wide * 0.4, r * 1.2, wide * 0.55, r * 0.62, self.skin)
            self.disc(cx + t * wide * 0.55, r * 0.98, r * 0.09, r * 0.09, (25, 22, 22))
        else:
            self.disc(cx, r * 0.45, wide * 0.98, r * 0.5, self.hair)
            self.disc(cx, r * 1.1, wide * 0.84, r * 0.62, self.skin)
            for side in (-1, 1):
                self.disc(cx + side * wide * 0.4, r * 1.0, r * 0.1, r * 0.08, (25, 22, 22))
            self.line(
                [(cx - wide * 0.28, r * 1.5), (cx + wide * 0.28, r * 1.5)], mix(self.skin, (140, 30, 40), 0.6), 0.005
            )
            if p.age == "old":
                for side in (-1, 1):
                    self.line(
                        [(cx + side * wide * 0.3, r * 1.25), (cx + side * wide * 0.55, r * 1.5)],
                        mix(self.skin, (0, 0, 0), 0.4),
                        0.004,
                    )
        if p.glasses != "none" and not self.back:
            self._glasses(cx, r, wide)
        if p.hat:
            self._hat(cx, r, wide)

    def _glasses(self, cx, r, wide):
        dark = self.p.glasses == "sunglasses"
        eyes = [cx + self.turn * wide * 0.6] if self.side else [cx - wide * 0.42, cx + wide * 0.42]
        for x in eyes:
            self.disc(x, r, r * 0.3, r * 0.23, (12, 12, 14))
            if not dark:
                self.disc(x, r, r * 0.2, r * 0.14, mix(self.skin, (235, 245, 255), 0.7))
        temple = (
            [(eyes[0], r * 0.95), (cx - self.turn * wide * 0.5, r * 0.95)]
            if self.side
            else [(cx - wide * 0.8, r * 0.94), (cx + wide * 0.8, r * 0.94)]
        )
        self.line(temple, (12, 12, 14), 0.008)

    def _hat(self, cx, r, wide):
        colour = jitter(PALETTE[sorted(PALETTE)[self.rng.integers(len(PALETTE))]], self.rng, 10)
        kind = self.rng.integers(3)
        band = mix(colour, (0, 0, 0), 0.35)
        self.disc(cx, r * 0.38, wide * 1.12, r * 0.58, colour)
        self.shape(
            [
                (cx - wide * 1.12, r * 0.3),
                (cx + wide * 1.12, r * 0.3),
                (cx + wide * 1.12, r * 0.68),
                (cx - wide * 1.12, r * 0.68),
            ],
            colour,
        )
        self.line([(cx - wide * 1.1, r * 0.66), (cx + wide * 1.1, r * 0.66)], band, 0.012)
        if kind == 0 and not self.back:  # a peaked cap
            out = self.turn * wide * 1.9 if self.side else 0
            self.shape(
                [
                    (cx - wide * 0.9, r * 0.62),
                    (cx + wide * 0.9, r * 0.62),
                    (cx + out + wide * 0.5, r * 0.84),
                    (cx + out - wide * 0.5, r * 0.84),
                ],
                band,
            )
        elif kind == 1:  # a brim all round
            self.disc(cx, r * 0.68, wide * 1.8, r * 0.17, colour)

    def _muffler(self):
        colour = contrast(self.upper, self.rng)
        y, half = self.y_shoulder - 0.03, self.head * 0.46
        self.disc(0, y, half, 0.03, colour)
        self.line([(-half * 0.8, y), (half * 0.8, y + 0.008)], mix(colour, (0, 0, 0), 0.35), 0.006)
        x = half * 0.5 * self.turn
        self.shape([(x - 0.02, y), (x + 0.02, y), (x + 0.026, y + 0.16), (x - 0.016, y + 0.16)], colour)
        self.line([(x - 0.016, y + 0.15), (x + 0.026, y + 0.15)], mix(colour, (255, 255, 255), 0.5), 0.008)

    def _shade(self):
        """Light from one side, and soft folds: a form, not a cut-out."""
        w, h = self.image.size
        small = Image.new("L", (16, 24))
        light = self.rng.uniform(-1, 1)
        across = [int(226 + 46 * light * (x - 7.5) / 3.0) for x in range(16)]
        noise = self.rng.integers(-16, 17, (24, 16))
        small.putdata([max(120, min(255, across[x] + int(noise[y, x]))) for y in range(24) for x in range(16)])
        shade = small.resize((w, h), Image.Resampling.BICUBIC)
        alpha = self.image.getchannel("A")
        self.image = ImageChops.multiply(self.image.convert("RGB"), Image.merge("RGB", (shade,) * 3)).convert("RGBA")
        self.image.putalpha(alpha)
