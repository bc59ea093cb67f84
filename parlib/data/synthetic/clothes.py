"""What a person wears from the shoulders down, each garment and pattern told apart by shape and not by colour alone."""

from parlib.data.synthetic.skeleton import Skeleton, contrast, jitter, mix


class Clothes(Skeleton):
    """A skeleton that can be dressed."""

    def _legs(self):
        p = self.p
        thigh = self.hip * (0.62 if self.side else 0.52)
        widths = [thigh, thigh * 0.72, thigh * 0.46]
        for points in self.leg_points():
            self.limb(points, widths, self.skin)
        if p.lower in ("skirt", "dress"):
            return
        fall = 1.25 if p.lower == "trousers" and not p.formal_lower else 1.08
        cloth_widths = [thigh * 1.06, thigh * 0.86 * fall, thigh * 0.66 * fall]

        def paint(pen):
            for points in self.leg_points():
                if p.lower == "shorts":
                    (x0, y0), (x1, y1) = points[0], points[1]
                    cut = (x0 + (x1 - x0) * 0.8, y0 + (y1 - y0) * 0.8)
                    self.limb([points[0], cut], [thigh * 1.1, thigh * 1.15], 255, pen)
                else:
                    self.limb(points, cloth_widths, 255, pen)
            hips = [(-self.hip, self.y_hip - 0.03), (self.hip, self.y_hip - 0.03)]
            self.shape([*hips, (self.hip, self.y_hip + 0.05), (-self.hip, self.y_hip + 0.05)], 255, pen)

        self.textured(paint, self.lower, self._lower_marks)

    def _lower_marks(self, pen):
        p = self.p
        if p.lower == "jeans":
            fade = mix(self.lower, (205, 215, 235), 0.22)
            for points in self.leg_points():
                self.line([(points[0][0], self.y_hip + 0.05), points[1]], fade, 0.018, pen)
                self.line([(points[1][0] + 0.02, self.y_knee), points[2]], mix(fade, (214, 160, 60), 0.5), 0.004, pen)
        elif p.formal_lower:
            for points in self.leg_points():
                self.line(points, mix(self.lower, (255, 255, 255), 0.3), 0.004, pen)
        bright = contrast(self.lower, None)
        if p.lower_pattern == "stripe":  # one bold line down each leg, or down the sides of a skirt
            if p.lower in ("skirt", "dress"):
                for x in (-0.08, -0.027, 0.027, 0.08):
                    self.line([(x, self.y_hip - 0.05), (x * 1.7, 0.95)], bright, 0.014, pen)
            for points in self.leg_points():
                self.line([(x + (0.016 if x > 0 else -0.016), y) for x, y in points], bright, 0.013, pen)
        elif p.lower_pattern == "pattern":
            for row in range(16):
                y = self.y_hip - 0.05 + row * 0.033
                for column in range(-7, 8):
                    x = column * 0.034 + (0.017 if row % 2 else 0)
                    self.disc(x, y, 0.0095, 0.0095, bright, pen)

    def _skirt(self):
        p = self.p
        end = self.y_knee + (0.02 if p.lower == "dress" else -0.04)
        flare = self.hip * (1.5 if self.side else 1.4)
        top = self.y_hip - 0.07

        def paint(pen):
            self.shape([(-self.waist, top), (self.waist, top), (flare, end), (-flare, end)], 255, pen)

        def marks(pen):
            for x in (-0.6, -0.2, 0.25, 0.65):
                self.line([(x * self.waist, top), (x * flare, end)], mix(self.lower, (0, 0, 0), 0.2), 0.004, pen)
            self._lower_marks(pen)
            if p.lower == "dress":
                self._upper_marks(pen)

        self.textured(paint, self.lower, marks)

    def _footwear(self):
        kind = self.p.footwear
        for (_, _), knee, foot in self.leg_points():
            x, y = foot
            toe = 0.062 * self.turn if self.side else (0.012 if x > 0 else -0.012)
            rise = 0.0 if self.side else (0.006 if self.back else -0.004)
            sole = [
                (x - 0.026, 0.955),
                (x + 0.026, 0.955),
                (x + 0.026 + max(toe, 0), 0.998),
                (x - 0.026 + min(toe, 0), 0.998),
            ]
            if kind == "boots":
                dark = (58, 36, 22)
                top = (x + (knee[0] - x) * 0.55, y + (knee[1] - y) * 0.55)
                self.limb([top, foot], [0.036, 0.03], dark)
                self.line([(top[0] - 0.034, top[1]), (top[0] + 0.034, top[1])], (150, 110, 70), 0.012)
                self.shape(sole, dark)
            elif kind == "sandals":
                self.shape(sole, self.skin)
                self.line([(x - 0.024, 0.966), (x + 0.024, 0.966)], (70, 40, 20), 0.008)
                self.line([(x - 0.026, 0.984), (x + 0.026 + toe * 0.5, 0.984)], (70, 40, 20), 0.008)
                self.line([sole[3], sole[2]], (70, 40, 20), 0.007)
            elif kind == "sneakers":
                self.shape(sole, jitter((200, 60, 60), self.rng, 60))
                self.line([(sole[3][0], 0.992), (sole[2][0], 0.992)], (250, 250, 250), 0.016)
                self.line([(x - 0.012, 0.968 + rise), (x + 0.012 + toe * 0.4, 0.974)], (250, 250, 250), 0.006)
            else:
                leather = kind == "leather shoes"
                self.shape(sole, (16, 12, 12) if leather else (92, 80, 68))
                if leather:
                    self.line([(x - 0.008 + toe * 0.4, 0.974), (x + 0.012 + toe * 0.6, 0.98)], (220, 220, 225), 0.006)

    def _torso_outline(self, extra=0.0):
        s, w, h = self.shoulder + extra, self.waist + extra, self.hip + extra
        top, mid = self.y_shoulder, (self.y_shoulder + self.y_hip) / 2 + 0.02
        neck = self.head * 0.28
        right = [(neck, top - 0.03), (s, top + 0.012), (s * 0.97, top + 0.06), (w, mid), (h, self.y_hip)]
        return right + [(-x, y) for x, y in reversed(right)]

    def _torso(self, near):
        p = self.p
        self.limb([(0, self.head * 0.8), (0, self.y_shoulder)], [self.head * 0.22] * 2, self.skin)
        hem = {"coat": self.y_knee + 0.02, "jacket": self.y_hip + 0.035, "suit": self.y_hip + 0.07}.get(p.upper)
        loose = {"coat": 0.014, "jacket": 0.012, "suit": 0.006, "sweater": 0.006}.get(p.upper, 0.0)

        def paint(pen):
            self.shape(self._torso_outline(loose), 255, pen)
            if hem:
                wide = (self.hip + loose) * (1.18 if p.upper == "coat" else 1.04)
                quad = [(-self.hip - loose, self.y_hip - 0.01), (self.hip + loose, self.y_hip - 0.01)]
                self.shape([*quad, (wide, hem), (-wide, hem)], 255, pen)

        self.textured(paint, self.upper, self._upper_marks)

    def _upper_marks(self, pen):
        p, top = self.p, self.y_shoulder
        dark, bright = mix(self.upper, (0, 0, 0), 0.3), self.accent
        if p.upper_pattern == "splice":
            self.shape([(-0.3, top + 0.12), (0.3, top + 0.12), (0.3, 0.8), (-0.3, 0.8)], bright, pen)
        elif p.upper_pattern == "stripes":
            for row in range(22):
                y = top - 0.04 + row * 0.034
                self.line([(-0.3, y), (0.3, y)], bright, 0.013, pen)
        elif p.upper_pattern == "plaid":
            for k in range(-7, 8):
                self.line([(k * 0.042, 0), (k * 0.042, 1)], bright, 0.011, pen)
            for row in range(18):
                y = top - 0.03 + row * 0.042
                self.line([(-0.3, y), (0.3, y)], bright, 0.011, pen)
                self.line([(-0.3, y + 0.017), (0.3, y + 0.017)], dark, 0.005, pen)
        elif p.upper_pattern == "logo":
            w = self.shoulder * 0.62
            self.shape([(-w, top + 0.07), (w, top + 0.07), (w * 0.8, top + 0.15), (-w * 0.8, top + 0.15)], bright, pen)
            self.disc(0, top + 0.11, w * 0.4, 0.026, dark, pen)
        if self.back:
            if p.upper == "suit":
                self.line([(0, self.y_hip - 0.02), (0, self.y_hip + 0.08)], dark, 0.006, pen)
            return
        x = self.shoulder * 0.45 * self.turn if self.side else 0.0
        neck = self.head * 0.3
        if p.v_neck:
            self.shape([(x - neck, top - 0.04), (x + neck, top - 0.04), (x, top + 0.075)], self.skin, pen)
        if p.upper == "suit":
            self.shape([(x - neck, top - 0.04), (x + neck, top - 0.04), (x, top + 0.19)], (246, 246, 246), pen)
            self.line([(x, top - 0.01), (x, top + 0.16)], (150, 24, 34), 0.014, pen)
            self.line([(x, top + 0.18), (x, 0.9)], dark, 0.006, pen)
        elif p.upper == "shirt":
            self.line([(x, top - 0.03), (x, self.y_hip)], dark, 0.005, pen)
            for k in range(5):
                self.disc(
                    x, top + 0.03 + k * 0.055, 0.006, 0.006, (250, 250, 250) if sum(dark) < 330 else (40, 40, 40), pen
                )
            for side in (-1, 1):
                self.shape([(x, top - 0.02), (x + side * neck, top - 0.04), (x + side * neck, top + 0.02)], bright, pen)
        elif p.upper in ("jacket", "coat"):
            inner = mix(self.accent, (255, 255, 255), 0.3)
            self.shape(
                [(x - 0.014, top - 0.03), (x + 0.014, top - 0.03), (x + 0.02, self.y_hip), (x - 0.02, self.y_hip)],
                inner,
                pen,
            )
            for side in (-1, 1):
                self.line([(x + side * 0.02, top - 0.03), (x + side * 0.026, 0.9)], dark, 0.008, pen)
        elif p.upper == "sweater":
            self.line([(-0.2, self.y_hip - 0.012), (0.2, self.y_hip - 0.012)], dark, 0.02, pen)
            self.line([(x - neck, top - 0.02), (x + neck, top - 0.02)], dark, 0.016, pen)
