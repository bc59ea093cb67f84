"""What a person carries: on the back, over the shoulder, in the hands, in front of the chest."""

from pedsynth.clothes import Clothes
from pedsynth.skeleton import dark, light, mix


class Carried(Clothes):
    """A dressed skeleton with bags."""

    def _backpack_behind(self):
        """Seen from the front only its edges show; from the side it bulges behind the back."""
        pack, top, size = self.bag_colours[0], self.y_shoulder, 0.9 + 0.35 * self.cut[3]
        if self.side:
            x = -self.turn * (self.shoulder + 0.045)
            self.disc(x, top + 0.12, 0.07 * size, 0.125 * size, pack)
            self.disc(x - self.turn * 0.03, top + 0.17, 0.04, 0.05, dark(pack, 0.3))
        else:
            s = self.shoulder * size
            self.band(top - 0.045, top + 0.21, s * 0.85, s * 1.12, pack)

    def _backpack_before(self):
        """The pack itself from behind; else the straps on the shoulders."""
        pack, top, size = self.bag_colours[0], self.y_shoulder, 0.9 + 0.35 * self.cut[3]
        if self.back:
            w = self.shoulder * 0.72 * size
            self.band(top, top + 0.25 * size, w, w * 1.08, pack)
            self.disc(0, top + 0.01, w, 0.035, pack)
            self.band(top + 0.13, top + 0.22, w * 0.7, w * 0.7, dark(pack, 0.35))
            self.line([(-w * 0.7, top + 0.06), (w * 0.7, top + 0.06)], light(pack, 0.25), 0.007)
            return
        strap = light(pack, 0.3) if sum(pack) < 180 else dark(pack, 0.15)
        for x in [self.turn * 0.01] if self.side else [-self.shoulder * 0.58, self.shoulder * 0.58]:
            self.line([(x, top - 0.025), (x * 1.05, top + 0.09), (x * 1.25, top + 0.17)], strap, 0.022)

    def _bags(self, near, far):
        bags, top = self.p.bags, self.y_shoulder
        if "backpack" in bags:
            self._backpack_before()
        for number, (kind, across) in enumerate((("shoulder bag", False), ("messenger bag", True)), 1):
            if kind in bags:
                side, colour = self.turn, self.bag_colours[number]
                strap = light(colour, 0.35) if sum(self.upper) < 300 else dark(colour, 0.4)
                x = side * (0.02 if self.side else self.hip * 1.08)
                y = self.y_hip - (0.0 if across else 0.07)
                start = -side * self.shoulder * 0.6 if across else side * self.shoulder * 0.66
                self.line([(start, top - 0.02), (x, y + 0.02)], strap, 0.014)
                w, h = (0.062, 0.08) if across else (0.05 + 0.012 * self.cut[4], 0.1)
                self.band(y, y + h, w * 0.92, w, colour, x)
                self.line([(x - w, y + h * 0.4), (x + w, y + h * 0.4)], light(colour, 0.35), 0.007)
        hands = [near[2], far[2]]
        for number, kind in enumerate(("handbag", "plastic bag", "other")):
            if kind in bags and hands:
                self._in_hand(kind, hands.pop(0), self.bag_colours[(number + 3) % 4])
        if "held in front" in bags and not self.back:
            colour = mix((196, 150, 96), self.bag_colours[3], 0.3 * self.cut[5])
            x, y = (self.turn * 0.115, near[2][1]) if self.side else (0, near[2][1])
            w = 0.05 if self.side else 0.065 + 0.03 * self.cut[4]
            self.band(y - 0.065, y + 0.05, w, w, colour, x)
            self.line([(x - w, y - 0.01), (x + w, y - 0.01)], light(colour, 0.5), 0.012)
            for hand in hands if self.side else (near[2], far[2]):
                self.disc(hand[0] * 1.2, hand[1], 0.018, 0.02, self.skin)

    def _in_hand(self, kind, hand, colour):
        x, y = hand
        if kind == "handbag":
            size = 0.9 + 0.5 * self.cut[5]
            w, drop = 0.044 * size, 0.05 + 0.03 * self.cut[6]
            self.line([(x - w * 0.6, y + drop), (x, y - 0.005), (x + w * 0.6, y + drop)], dark(colour, 0.3), 0.009)
            self.band(y + drop - 0.005, y + drop + 0.075 * size, w, w * 1.2, colour, x)
            self.line([(x - w, y + drop + 0.02), (x + w, y + drop + 0.02)], light(colour, 0.4), 0.006)
        elif kind == "plastic bag":
            colour = ((226, 230, 234), (222, 90, 80), (110, 170, 220))[int(self.cut[5] * 3)]
            sack = [(x, y), (x + 0.05, y + 0.08), (x + 0.055, y + 0.19), (x - 0.055, y + 0.19), (x - 0.05, y + 0.08)]
            self.shape(sack, colour)
            for dx, top in ((-0.02, 0.07), (0.02, 0.09)):
                self.line([(x + dx, y + top), (x + dx * 1.6, y + 0.18)], dark(colour, 0.25), 0.006)
        else:  # a suitcase on the ground, its handle in the hand
            self.line([(x, y), (x + 0.02, 0.78)], (70, 70, 74), 0.009)
            self.band(0.76, 0.985, 0.065, 0.065, colour, x + 0.015)
            self.line([(x - 0.03, 0.8), (x - 0.03, 0.95)], light(colour, 0.4), 0.008)
