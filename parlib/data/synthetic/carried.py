"""What a person carries: on the back, over the shoulder, in the hands, before the chest."""

from parlib.data.synthetic.clothes import Clothes
from parlib.data.synthetic.skeleton import PALETTE, jitter, mix


class Carried(Clothes):
    """A dressed skeleton with bags."""

    def _bag_colour(self):
        return jitter(PALETTE[("black", "brown", "red", "blue", "green", "yellow")[self.rng.integers(6)]], self.rng, 16)

    def _backpack_behind(self):
        """Seen from the front only its edges and straps show; from the side it bulges behind the back."""
        self.pack = self._bag_colour()
        top = self.y_shoulder
        if self.side:
            x = -self.turn * (self.shoulder + 0.035)
            self.disc(x, top + 0.13, 0.062, 0.12, self.pack)
        else:
            s = self.shoulder
            self.shape(
                [(-s * 0.8, top - 0.035), (s * 0.8, top - 0.035), (s * 1.08, top + 0.2), (-s * 1.08, top + 0.2)],
                self.pack,
            )

    def _bags(self, near, far):
        bags, top = self.p.bags, self.y_shoulder
        if "backpack" in bags:
            if self.back:
                pack = self._bag_colour()
                w = self.shoulder * 0.74
                self.shape([(-w, top + 0.0), (w, top + 0.0), (w * 1.08, top + 0.25), (-w * 1.08, top + 0.25)], pack)
                self.disc(0, top + 0.01, w, 0.03, pack)
                self.shape(
                    [(-w * 0.7, top + 0.13), (w * 0.7, top + 0.13), (w * 0.7, top + 0.22), (-w * 0.7, top + 0.22)],
                    mix(pack, (0, 0, 0), 0.35),
                )
            else:
                for x in [self.turn * 0.0] if self.side else [-self.shoulder * 0.55, self.shoulder * 0.55]:
                    self.line([(x, top - 0.02), (x, top + 0.16)], mix(self.pack, (0, 0, 0), 0.2), 0.02)
        for kind, across in (("shoulder bag", False), ("messenger bag", True)):
            if kind in bags:
                side = self.turn
                colour = self._bag_colour()
                x = side * (0.02 if self.side else self.hip * 1.0)
                y = self.y_hip - (0.0 if across else 0.06)
                start = -side * self.shoulder * 0.6 if across else side * self.shoulder * 0.62
                self.line([(start, top - 0.015), (x, y)], mix(colour, (0, 0, 0), 0.25), 0.013)
                w, h = (0.058, 0.075) if across else (0.05, 0.1)
                self.shape([(x - w, y), (x + w, y), (x + w, y + h), (x - w, y + h)], colour)
                self.line([(x - w, y + h * 0.4), (x + w, y + h * 0.4)], mix(colour, (255, 255, 255), 0.35), 0.006)
        hands = [near[2], far[2]]
        for kind in ("handbag", "plastic bag", "other"):
            if kind in bags and hands:
                self._in_hand(kind, hands.pop(0))
        if "held in front" in bags and not self.back:
            colour = jitter((186, 142, 92), self.rng, 24)
            x, y = (self.turn * 0.115, near[2][1]) if self.side else (0, near[2][1])
            w = 0.05 if self.side else 0.082
            self.shape([(x - w, y - 0.062), (x + w, y - 0.062), (x + w, y + 0.05), (x - w, y + 0.05)], colour)
            self.line([(x - w, y - 0.01), (x + w, y - 0.01)], mix(colour, (255, 255, 255), 0.5), 0.012)

    def _in_hand(self, kind, hand):
        x, y = hand
        if kind == "handbag":
            colour = self._bag_colour()
            self.line([(x - 0.03, y + 0.06), (x, y), (x + 0.03, y + 0.06)], mix(colour, (0, 0, 0), 0.3), 0.008)
            self.shape(
                [(x - 0.042, y + 0.05), (x + 0.042, y + 0.05), (x + 0.052, y + 0.125), (x - 0.052, y + 0.125)], colour
            )
        elif kind == "plastic bag":
            colour = jitter((226, 230, 234), self.rng, 18)
            self.shape(
                [(x, y), (x + 0.05, y + 0.08), (x + 0.055, y + 0.2), (x - 0.055, y + 0.2), (x - 0.05, y + 0.08)], colour
            )
            self.line([(x - 0.02, y + 0.07), (x - 0.034, y + 0.18)], (170, 176, 184), 0.006)
            self.line([(x + 0.02, y + 0.09), (x + 0.03, y + 0.18)], (170, 176, 184), 0.006)
        else:  # a suitcase on the ground, its handle in the hand
            colour = self._bag_colour()
            self.line([(x, y), (x + 0.02, 0.78)], (70, 70, 74), 0.009)
            self.shape([(x - 0.05, 0.76), (x + 0.08, 0.76), (x + 0.08, 0.985), (x - 0.05, 0.985)], colour)
            self.line([(x - 0.03, 0.8), (x - 0.03, 0.95)], mix(colour, (255, 255, 255), 0.4), 0.008)
