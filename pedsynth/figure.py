"""Draws one person on a transparent background: body and clothes, then head, arms, and what is carried."""

import numpy as np
from PIL import Image, ImageFilter

from pedsynth.carried import Carried
from pedsynth.skeleton import PALETTE, dark, jitter, light, mix

_SCALE = 2  # drawn this much larger, then reduced
_LOOSE = {"coat": 1.3, "jacket": 1.25, "suit": 1.15, "sweater": 1.15}


def draw_person(person, pose, looks, height, tilt=0.0):
    """A `Person` -> RGBA image `height` px high, 0.7 of that wide; soles at the bottom, body axis in the middle."""
    return Figure(person, pose, looks, height * _SCALE, tilt).draw()


class Figure(Carried):
    """A complete person, drawn from the feet up and from the far side to the near one."""

    def draw(self):
        """The person as an RGBA picture, transparent around the person."""
        p = self.p
        if "backpack" in p.bags and not self.back:
            self._backpack_behind()
        if p.long_hair and not self.back and not self.side:
            self._hair_behind()
        self._legs()
        self._footwear()
        if p.lower in ("short skirt", "skirt", "dress"):
            self._skirt()
        far, near = self._arms()
        if self.side:
            self._sleeve(far)
        self._torso()
        if not self.side:
            self._sleeve(far), self._sleeve(near)
        self._head()
        if p.muffler:
            self._muffler()
        self._bags(near, far)
        if self.side:
            self._sleeve(near)
        return self._shaded()

    def _arms(self):
        """(far, near) arms as [shoulder, elbow, hand]; in front and back views left and right."""
        drop, y = self.y_hip - self.y_shoulder, self.y_shoulder + 0.03
        in_hand = len(self.p.bags & {"handbag", "plastic bag", "other"})
        arms = []
        for number, sign in enumerate((-1, 1)):
            x = sign * (0.012 if self.side else self.shoulder * 0.93)
            act, loose = self.rng.random(2)
            if "held in front" in self.p.bags and not self.back:
                reach = self.turn * 0.12 if self.side else sign * 0.05
                arms.append([(x, y), (x + sign * 0.024, y + drop * 0.5), (reach, y + drop * 0.62)])
            elif act < 0.12 and number >= in_hand and not self.side:  # a hand on the hip or in a pocket
                arms.append([(x, y), (x + sign * 0.05, y + drop * 0.5), (sign * self.hip * 1.05, y + drop * 0.92)])
            elif act < 0.2 and number >= in_hand:  # a telephone
                out = self.turn * 0.05 if self.side else sign * 0.035
                ear = (self.turn * 0.05 if self.side else sign * self.head * 0.42, self.head * 0.75)
                arms.append([(x, y), (x + out, y + drop * 0.45), ear])
            else:
                swing = self.swing * sign * 0.13 if self.side else sign * (0.016 + 0.034 * loose)
                bend = self.turn * 0.02 if self.side else 0.0
                arms.append([(x, y), (x + swing * 0.5, y + drop * 0.52), (x + swing * 1.15 + bend, y + drop * 1.04)])
        return arms

    def _sleeve(self, arm):
        p = self.p
        width = (0.027 if self.side else 0.025) * (0.75 + 0.25 * self.build)
        self.limb(arm, [width, width * 0.82, width * 0.62], self.skin)
        x, y = arm[2]
        self.disc(x, y, width * 0.85, width * 1.1, self.skin)
        loose = _LOOSE.get(p.upper, 1.05 + 0.2 * self.cut[3])
        shoulder, elbow, hand = arm
        short = 0.35 + 0.5 * self.cut[2]
        cut = (shoulder[0] + (elbow[0] - shoulder[0]) * short, shoulder[1] + (elbow[1] - shoulder[1]) * short)
        long = 0.68 if self.cut[2] < 0.12 else 0.92  # some roll their sleeves up
        wrist = (elbow[0] + (hand[0] - elbow[0]) * long, elbow[1] + (hand[1] - elbow[1]) * long)
        points = [shoulder, elbow, wrist] if p.long_sleeve else [shoulder, cut]

        def paint(pen):
            self.limb(points, [width * loose * 1.1, width * loose, width * loose * 0.85], 255, pen, cut=True)

        colour = self.accent if p.upper_pattern == "splice" and self.cut[5] < 0.7 else dark(self.upper, 0.1)
        plain = p.upper_pattern in ("logo", "splice", "plain")
        self.textured(paint, colour, (lambda pen: None) if plain else self._upper_marks)

    def _hair_behind(self):
        """Long hair that falls behind the shoulders, seen from the front."""
        if self.style < 0.65:
            r, fall = self.head * 0.5, self.y_shoulder + 0.05 + 0.06 * self.style
            self.band(r * 0.6, fall, r * 0.86, r * 1.08, self.hair)

    def _head(self):
        p, r = self.p, self.head * 0.5
        cx = 0.02 * self.turn if self.side else 0.0
        wide = r * (0.86 if self.side else 0.75)
        tied = p.long_hair and self.style >= 0.65
        if tied:  # a tail down the back
            x = cx - self.turn * wide * 1.15 if self.side else (0 if self.back else self.turn * wide * 0.9)
            if self.side or not self.back:
                self.limb([(x, r * 0.7), (x, r * 1.6), (x, self.y_shoulder + 0.03)], [0.02, 0.022, 0.01], self.hair)
        elif p.long_hair and self.side:
            fall, shift = self.y_shoulder + 0.05 + 0.06 * self.style, -0.45 * wide * self.turn
            self.band(r * 0.7, fall, wide * 1.1, wide * 1.05, self.hair, cx + shift)
        elif p.long_hair and not self.back:  # a strand before each shoulder; the face and the chest stay free
            for side in (-1, 1):
                strand = [(side * wide * 0.55, r * 0.5), (side * wide * 1.14, r * 0.6)]
                fall = self.y_shoulder + 0.03 + 0.06 * self.style
                self.shape([*strand, (side * wide * 1.3, fall), (side * wide * 0.78, fall)], self.hair)
        self.disc(cx, r, wide, r, self.skin)
        (self._from_behind if self.back else self._in_profile if self.side else self._face)(cx, r, wide)
        if tied and self.back:
            self.limb([(0, r * 0.9), (0, r * 1.6), (0, self.y_shoulder + 0.06)], [0.022, 0.026, 0.012], self.hair)
            self.disc(0, r * 1.5, 0.02, 0.009, self.accent)
        if p.glasses != "none" and not self.back:
            self._glasses(cx, r, wide)
        if p.hat:
            self._hat(cx, r, wide)

    @property
    def _bald(self):
        return not self.p.female and not self.p.long_hair and self.p.age in ("middle-aged", "old") and self.style > 0.7

    def _from_behind(self, cx, r, wide):
        if self._bald:
            self.disc(cx, r * 1.1, wide * 1.02, r * 0.5, self.hair)
            self.disc(cx, r * 0.72, wide * 0.9, r * 0.6, self.skin)
            return
        self.disc(cx, r * 0.92, wide * 1.05, r * 0.96, self.hair)
        if self.p.long_hair and self.style < 0.65:
            self.band(r, self.y_shoulder + 0.06 + 0.07 * self.style, wide, wide * 1.1, self.hair, cx)
        else:
            self.disc(cx, r * 1.74, wide * 0.55, r * 0.26, self.skin)

    def _in_profile(self, cx, r, wide):
        t = self.turn
        nose = [(cx + t * wide * 0.8, r * 0.85), (cx + t * wide * 1.18, r * 1.2), (cx + t * wide * 0.75, r * 1.28)]
        self.shape(nose, self.skin)
        if not self._bald:
            self.disc(cx - t * wide * 0.25, r * 0.78, wide * 0.88, r * 0.8, self.hair)
        else:
            self.disc(cx - t * wide * 0.5, r * 1.05, wide * 0.5, r * 0.45, self.hair)
        self.disc(cx + t * wide * 0.4, r * 1.2, wide * 0.55, r * 0.62, self.skin)
        self.disc(cx + t * wide * 0.55, r * 0.98, r * 0.09, r * 0.09, (25, 22, 22))
        self.disc(cx - t * wide * 0.08, r * 1.12, r * 0.1, r * 0.15, dark(self.skin, 0.2))

    def _face(self, cx, r, wide):
        if self._bald:
            for side in (-1, 1):
                self.disc(cx + side * wide * 0.85, r * 0.95, wide * 0.2, r * 0.3, self.hair)
        else:
            self.disc(cx, r * 0.5, wide * 1.0, r * 0.54, self.hair)
            self.disc(cx + wide * 0.1 * self.turn, r * 1.1, wide * 0.84, r * 0.66, self.skin)
        cx += wide * 0.3 * self.yaw
        for side in (-1, 1):
            self.disc(cx + side * wide * 0.4, r * 1.0, r * 0.1, r * 0.08, (25, 22, 22))
            brow = [(cx + side * wide * 0.2, r * 0.84), (cx + side * wide * 0.6, r * 0.84)]
            self.line(brow, dark(self.hair, 0.2), 0.004)
        self.line([(cx, r * 1.05), (cx + wide * 0.1 * self.turn, r * 1.25)], dark(self.skin, 0.25), 0.005)
        lips = mix(self.skin, (150, 30, 44), 0.7 if self.p.female else 0.4)
        self.line([(cx - wide * 0.28, r * 1.5), (cx + wide * 0.28, r * 1.5)], lips, 0.006)
        if (
            not (self.p.female or self.p.long_hair) and self.cut[6] > 0.8 and self.p.age not in ("child", "teenager")
        ):  # a beard
            self.disc(cx, r * 1.68, wide * 0.6, r * 0.26, mix(self.hair, self.skin, 0.3))
        if self.p.age == "old":
            for side in (-1, 1):
                crease = [(cx + side * wide * 0.3, r * 1.25), (cx + side * wide * 0.55, r * 1.5)]
                self.line(crease, dark(self.skin, 0.4), 0.004)

    def _glasses(self, cx, r, wide):
        tinted = self.p.glasses == "sunglasses"
        cx += wide * 0.3 * self.yaw
        eyes = [cx + self.turn * wide * 0.6] if self.side else [cx - wide * 0.42, cx + wide * 0.42]
        for x in eyes:
            self.disc(x, r, r * 0.27, r * 0.2, (24, 24, 26))
            if not tinted:
                self.disc(x, r, r * 0.19, r * 0.13, mix(self.skin, (235, 245, 255), 0.35))
        ends = (eyes[0], cx - self.turn * wide * 0.5) if self.side else (cx - wide * 0.85, cx + wide * 0.85)
        self.line([(x, r * 0.95) for x in ends], (12, 12, 14), 0.008)

    def _hat(self, cx, r, wide):
        colour = jitter(PALETTE[sorted(PALETTE)[self.looks.integers(len(PALETTE))]], self.looks, 12)
        kind, band = self.looks.integers(4), dark(colour, 0.35)
        self.disc(cx, r * 0.36, wide * 1.16, r * (0.72 if kind == 3 else 0.6), colour)
        self.band(r * 0.26, r * 0.68, wide * 1.16, wide * 1.16, colour, cx)
        self.line([(cx - wide * 1.14, r * 0.66), (cx + wide * 1.14, r * 0.66)], band, 0.013)
        if kind == 0:  # a peaked cap, worn either way
            ahead = 0.0 if self.back else 1.0
            if self.side:
                peak = cx + self.turn * wide * 1.5
                self.band(r * 0.58, r * 0.76, wide * 0.8, wide * 0.7, band, peak)
            elif ahead:
                self.band(r * 0.56, r * 0.86, wide * 0.95, wide * 0.8, band, cx)
        elif kind == 1:  # a brim all round
            self.disc(cx, r * 0.68, wide * 1.9, r * 0.2, colour)
            self.line([(cx - wide * 1.1, r * 0.56), (cx + wide * 1.1, r * 0.56)], light(colour, 0.5), 0.012)
        elif kind == 2:  # a woollen cap with a turned-up edge
            self.band(r * 0.46, r * 0.74, wide * 1.2, wide * 1.2, light(colour, 0.25), cx)
            self.disc(cx, -r * 0.12, r * 0.2, r * 0.18, light(colour, 0.4))

    def _muffler(self):
        colour = self.bag_colours[3] if self.cut[5] < 0.5 else light(self.bag_colours[3], 0.5)
        y, half = self.y_shoulder - 0.03, self.head * 0.46
        self.disc(0, y, half, 0.032, colour)
        self.line([(-half * 0.8, y), (half * 0.8, y + 0.008)], dark(colour, 0.35), 0.006)
        x = half * 0.5 * self.turn
        self.shape([(x - 0.02, y), (x + 0.02, y), (x + 0.026, y + 0.17), (x - 0.016, y + 0.17)], colour)
        self.line([(x - 0.016, y + 0.155), (x + 0.026, y + 0.155)], light(colour, 0.5), 0.008)

    def _shaded(self):
        """The picture at its final size, lit from one side and darker towards the outline, so that it looks solid."""
        image = self.image.reduce(_SCALE)
        w, h = image.size
        alpha = image.getchannel("A")
        inner = np.asarray(alpha.filter(ImageFilter.BoxBlur(h * 0.016)), np.float32)
        across = (np.arange(w, dtype=np.float32) - w / 2) / (h * 0.1)
        noise = Image.fromarray(self.rng.integers(0, 256, (14, 8), np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        shade = 0.62 + 0.4 * inner / 255 + self.rng.uniform(-0.2, 0.2) * across.clip(-1, 1)
        shade += (np.asarray(noise, np.float32) - 128) * (0.14 / 255)
        pixels = np.asarray(image).copy()
        pixels[..., :3] = (pixels[..., :3] * shade[..., None]).clip(0, 255).astype(np.uint8)
        return Image.fromarray(pixels)
