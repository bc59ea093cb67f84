"""Clothes from the shoulders down; garments and patterns differ in shape and not in colour alone."""

from pedsynth.skeleton import Skeleton, dark, jitter, light, mix

_HEM = {"jacket": 0.035, "suit": 0.07, "coat": 0.24}  # below the hip
_LOOSE = {"coat": 0.014, "jacket": 0.012, "suit": 0.006, "sweater": 0.006}


class Clothes(Skeleton):
    """A skeleton with clothes."""

    def _legs(self):
        p, cut = self.p, self.cut
        thigh = self.hip * (0.66 if self.side else 0.52)
        legs = self.leg_points()
        for points in legs:
            self.limb(points, [thigh, thigh * 0.7, thigh * 0.44], self.skin)
        if p.lower in ("short skirt", "skirt", "dress"):
            return
        fall = 1.02 + (0.1 if p.formal_lower else 0.5 * cut[0])  # slim to wide
        end = 0.96 if cut[1] > 0.15 else 0.72  # some trousers end above the ankle
        reach = 0.55 + 0.75 * cut[1]  # shorts: mid-thigh to just below the knee

        def paint(pen):
            for hip, knee, foot in legs:
                if p.lower == "shorts":
                    cut_at = _along(hip, knee, reach) if reach < 1 else _along(knee, foot, reach - 1)
                    points = [hip, cut_at] if reach < 1 else [hip, knee, cut_at]
                    self.limb(points, [thigh * 1.08, thigh * fall, thigh * 0.95 * fall], 255, pen, cut=True)
                else:
                    self.limb(
                        [hip, knee, _along(knee, foot, end)],
                        [thigh * 1.06, thigh * 0.8 * fall, thigh * 0.58 * fall],
                        255,
                        pen,
                        cut=True,
                    )
            self.band(self.y_hip - 0.035, self.y_hip + 0.05, self.hip, self.hip * 1.02, 255, pen=pen)

        self.textured(paint, self.lower, self._lower_marks)

    def _lower_marks(self, pen):
        p, legs = self.p, self.leg_points()
        fold = dark(self.lower, 0.16)
        for hip, knee, foot in legs:
            self.line([(knee[0] - 0.03, knee[1] - 0.02), (knee[0] + 0.03, knee[1] + 0.005)], fold, 0.006, pen)
            self.line([hip, knee, foot], fold if not p.formal_lower else light(self.lower, 0.25), 0.004, pen)
        self.shape([(-0.012, self.y_hip + 0.03), (0.012, self.y_hip + 0.03), (0, self.y_knee)], dark(self.lower), pen)
        if p.lower == "jeans":
            fade = mix(self.lower, (205, 215, 235), 0.24)
            for hip, knee, foot in legs:
                self.line([(hip[0], self.y_hip + 0.05), knee], fade, 0.018, pen)
                self.line([(knee[0] + 0.02, knee[1]), foot], mix(fade, (214, 160, 60), 0.5), 0.004, pen)
        if p.lower_pattern == "stripe":  # one line down each leg, or down a skirt
            wide = 0.009 + 0.008 * self.cut[2]
            if p.lower in ("short skirt", "skirt", "dress"):
                for x in (-0.08, -0.027, 0.027, 0.08):
                    self.line([(x, self.y_hip - 0.05), (x * 1.7, 0.95)], self.print, wide, pen)
            for points in legs:
                self.line([(x + (0.016 if x > 0 else -0.016), y) for x, y in points], self.print, wide, pen)
        elif p.lower_pattern == "pattern":
            step = 0.026 + 0.016 * self.cut[2]
            for row in range(int(0.62 / step)):
                y = self.y_hip - 0.06 + row * step
                for column in range(-6, 7):
                    x = column * step + (step / 2 if row % 2 else 0)
                    self.disc(x, y, step * 0.3, step * 0.3, self.print, pen)

    def _skirt(self):
        p = self.p
        end = {"dress": self.y_knee + 0.04 * (self.cut[1] - 0.5), "skirt": 0.84 + 0.08 * self.cut[1]}.get(
            p.lower, self.y_knee - 0.03 - 0.07 * self.cut[1]
        )
        flare = self.hip * (1.1 + 0.5 * self.cut[0]) * (1.1 if self.side else 1)
        if self.side:  # the skirt is at least as wide as the stride under it
            share = max(0.0, (end - self.y_knee) / (0.96 - self.y_knee))
            stride = max(abs(_along(knee, foot, share)[0]) for _, knee, foot in self.leg_points())
            flare = max(flare, stride + 0.025)
        top = self.y_hip - 0.07

        def marks(pen):
            for x in (-0.6, -0.2, 0.25, 0.65):
                self.line([(x * self.waist, top), (x * flare, end)], dark(self.lower, 0.2), 0.004, pen)
            if p.lower_pattern != "plain":
                self._lower_marks(pen)
            if p.lower == "dress":
                self._upper_marks(pen)

        self.textured(lambda pen: self.band(top, end, self.waist, flare, 255, pen=pen), self.lower, marks)

    def _footwear(self):
        kind, looks = self.p.footwear, self.looks
        base = {
            "boots": ((58, 36, 22), (30, 28, 30), (120, 84, 50), (74, 70, 72), dark(self.lower, 0.25)),
            "sneakers": ((226, 226, 226), (200, 60, 60), (60, 90, 180), (50, 50, 54), (150, 190, 80)),
            "leather shoes": ((18, 14, 14), (60, 34, 20)),
            "sandals": ((70, 40, 20), (30, 30, 30), (190, 170, 140)),
        }.get(kind, ((92, 80, 68), (60, 62, 70), (150, 140, 126)))
        colour = jitter(base[looks.integers(len(base))], looks, 12)
        shaft = looks.uniform(0.3, 0.75)
        for (_, _), knee, (x, y) in self.leg_points():
            toe = 0.058 * self.turn if self.side else (0.014 if x > 0 else -0.014)
            low = y + 0.033
            sole = [(x - 0.026, y - 0.012), (x + 0.026, y - 0.012)]
            sole += [(x + 0.03 + max(toe, 0), low), (x - 0.03 + min(toe, 0), low)]
            if kind == "boots":
                top = _along((x, y), knee, shaft)
                self.limb([top, (x, y)], [self.hip * 0.4, self.hip * 0.3], colour)
                self.line([(top[0] - 0.03, top[1]), (top[0] + 0.03, top[1])], light(colour, 0.35), 0.01)
            self.shape(sole, self.skin if kind == "sandals" else colour)
            heel, tip = (sole[3][0], low - 0.004), (sole[2][0], low - 0.004)
            if kind == "sandals":
                self.line([(x - 0.024, y + 0.004), (x + 0.024, y + 0.004)], colour, 0.008)
                self.line([(x - 0.026, y + 0.02), (x + 0.026 + toe * 0.5, y + 0.02)], colour, 0.008)
                self.line([heel, tip], colour, 0.006)
            elif kind == "sneakers":
                self.line([heel, tip], (246, 246, 246), 0.013)
                stripe = dark(colour, 0.5) if sum(colour) > 500 else (240, 240, 240)
                self.line([(x - 0.012, y + 0.004), (x + 0.012 + toe * 0.4, y + 0.012)], stripe, 0.007)
            elif kind == "leather shoes":
                self.line([(x + toe * 0.4, y + 0.01), (x + 0.012 + toe * 0.6, y + 0.016)], (214, 214, 220), 0.006)
                self.line([heel, tip], dark(colour, 0.6), 0.005)

    def _torso_outline(self, extra=0.0):
        s, w, h = self.shoulder + extra, self.waist + extra, self.hip + extra
        top, mid = self.y_shoulder, (self.y_shoulder + self.y_hip) / 2 + 0.02
        neck = self.head * 0.26
        right = [(neck, top - 0.032), (s * 0.8, top - 0.008), (s, top + 0.02), (s * 0.97, top + 0.07), (w, mid)]
        right.append((h, self.y_hip))
        return right + [(-x, y) for x, y in reversed(right)]

    def _torso(self):
        p = self.p
        self.limb([(0, self.head * 0.8), (0, self.y_shoulder)], [self.head * 0.2, self.head * 0.24], self.skin)
        loose = _LOOSE.get(p.upper, 0.002 + 0.008 * self.cut[3])
        hem = (
            self.y_hip
            + _HEM.get(p.upper, -0.03 + 0.06 * self.cut[4])
            + (0.08 * self.cut[4] if p.upper == "coat" else 0)
        )

        def paint(pen):
            self.shape(self._torso_outline(loose), 255, pen)
            wide = (self.hip + loose) * (1.2 if p.upper == "coat" else 1.03)
            self.band(self.y_hip - 0.03, hem, self.hip + loose, wide, 255, pen=pen)

        self.textured(paint, self.upper, self._upper_marks)

    def _upper_marks(self, pen):
        p, top, cut = self.p, self.y_shoulder, self.cut
        shade, bright = dark(self.upper), self.accent
        if p.upper_pattern == "splice":
            if cut[5] < 0.7:  # chest and body of two colours, or left and right
                self.band(top + 0.07 + 0.12 * cut[6], 1, 0.4, 0.4, bright, pen=pen)
            else:
                self.shape([(0, 0), (0.4, 0), (0.4, 1), (0, 1)], bright, pen)
        elif p.upper_pattern == "stripes":
            step = 0.024 + 0.022 * cut[5]
            for row in range(int(0.75 / step)):
                y = top - 0.04 + row * step
                self.line([(-0.35, y), (0.35, y)], bright, step * (0.3 + 0.2 * cut[6]), pen)
        elif p.upper_pattern == "plaid":
            step = 0.032 + 0.026 * cut[5]
            for k in range(-8, 9):
                self.line([(k * step, 0), (k * step, 1)], bright, step * 0.24, pen)
            for row in range(int(0.75 / step)):
                y = top - 0.03 + row * step
                self.line([(-0.35, y), (0.35, y)], bright, step * 0.24, pen)
                self.line([(-0.35, y + step * 0.42), (0.35, y + step * 0.42)], shade, step * 0.12, pen)
        elif p.upper_pattern == "logo":
            self._logo(pen, bright)
        fold = dark(self.upper, 0.14)
        for y0, bend in ((0.1, 0.03), (0.2, -0.025), (0.26, 0.02)):
            self.line([(-self.waist, top + y0), (self.waist * 0.5 * self.turn, top + y0 + bend)], fold, 0.005, pen)
        if self.back:
            if p.upper == "suit":
                self.line([(0, self.y_hip - 0.02), (0, self.y_hip + 0.08)], shade, 0.006, pen)
            elif p.upper == "shirt":  # collar and yoke
                self.line([(-0.05, top - 0.03), (0.05, top - 0.03)], light(self.upper, 0.4), 0.016, pen)
                self.line([(-0.2, top + 0.05), (0.2, top + 0.05)], shade, 0.005, pen)
            elif p.upper == "sweater":
                self.line([(-0.2, self.y_hip - 0.02), (0.2, self.y_hip - 0.02)], shade, 0.02, pen)
            return
        x = self.shoulder * (0.45 * self.turn if self.side else 0.5 * self.yaw)
        neck = self.head * 0.3
        if p.v_neck:
            self.shape([(x - neck, top - 0.04), (x + neck, top - 0.04), (x, top + 0.08)], self.skin, pen)
            self.line([(x - neck, top - 0.04), (x, top + 0.08), (x + neck, top - 0.04)], shade, 0.006, pen)
        if p.upper == "suit":
            self.shape([(x - neck, top - 0.04), (x + neck, top - 0.04), (x, top + 0.19)], (240, 240, 242), pen)
            self.line([(x, top - 0.01), (x, top + 0.16)], dark(self.bag_colours[3], 0.2), 0.013, pen)
            self.line([(x, top + 0.18), (x, 0.9)], shade, 0.006, pen)
        elif p.upper == "shirt":
            button = (246, 246, 246) if sum(shade) < 330 else (50, 50, 50)
            self.line([(x, top - 0.03), (x, self.y_hip + 0.05)], shade, 0.005, pen)
            for k in range(5):
                self.disc(x, top + 0.03 + k * 0.055, 0.005, 0.005, button, pen)
            collar = light(self.upper, 0.4)
            for side in (-1, 1):
                self.shape([(x, top), (x + side * neck, top - 0.042), (x + side * neck, top + 0.02)], collar, pen)
            if p.formal_upper:
                self.line([(x, top), (x, top + 0.17)], dark(self.accent, 0.4), 0.013, pen)
        elif p.upper in ("jacket", "coat"):
            inner = light(self.accent, 0.25)
            open_by = 0.008 + 0.02 * cut[6]
            self.band(top - 0.03, self.y_hip, open_by, open_by * 1.3, inner, x, pen)
            for side in (-1, 1):
                self.line([(x + side * open_by, top - 0.03), (x + side * open_by * 1.3, 0.9)], shade, 0.007, pen)
                self.line(
                    [(x + side * 0.05, self.y_hip - 0.03), (x + side * 0.085, self.y_hip - 0.035)], shade, 0.007, pen
                )
            if p.formal_upper:
                for side in (-1, 1):
                    self.line([(x, top + 0.1), (x + side * neck, top - 0.03)], dark(self.upper, 0.45), 0.014, pen)
        elif p.upper == "sweater":
            self.line([(-0.2, self.y_hip - 0.02), (0.2, self.y_hip - 0.02)], shade, 0.02, pen)
            self.line([(x - neck, top - 0.022), (x + neck, top - 0.022)], shade, 0.014, pen)

    def _logo(self, pen, bright):
        """A print on the chest or the back: a block, a disc, or lines of writing."""
        kind, size = int(self.cut[5] * 3), 0.55 + 0.6 * self.cut[6]
        y, w = self.y_shoulder + 0.1 + 0.03 * self.cut[2], self.shoulder * 0.6 * size
        x = self.shoulder * (0.25 * self.turn if self.side else 0.4 * self.yaw)
        if kind == 0:
            self.band(y - 0.042 * size, y + 0.042 * size, w, w * 0.85, bright, x, pen)
            self.disc(x, y, w * 0.4, 0.022 * size, dark(bright, 0.5), pen)
        elif kind == 1:
            self.disc(x, y + 0.01, w * 0.85, 0.055 * size, bright, pen)
            self.disc(x, y + 0.01, w * 0.4, 0.028 * size, self.upper, pen)
        else:
            for row in range(3):
                half = w * (1 - 0.2 * row)
                self.line(
                    [(x - half, y - 0.03 + 0.03 * row), (x + half, y - 0.03 + 0.03 * row)], bright, 0.016 * size, pen
                )


def _along(a, b, share):
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)
