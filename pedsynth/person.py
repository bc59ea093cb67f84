"""The ground truth of one rendered person, and its vocabulary.

Both the picture and the labels are made from a `Person`, so a label cannot contradict the picture.
"""

from dataclasses import dataclass

AGES = ("child", "teenager", "young adult", "adult", "middle-aged", "old")
VIEWS = ("front", "side", "back")
GLASSES = ("none", "glasses", "sunglasses")
UPPERS = ("tshirt", "shirt", "sweater", "jacket", "suit", "coat")  # coat: reaches the knees
UPPER_PATTERNS = ("plain", "stripes", "plaid", "logo", "splice")  # splice: blocks of different colours
LOWERS = ("trousers", "jeans", "shorts", "short skirt", "skirt", "dress")  # skirt: to the calf or longer
LOWER_PATTERNS = ("plain", "stripe", "pattern")  # stripe: a line down the leg or rings; pattern: any print
FOOTWEAR = ("shoes", "leather shoes", "sneakers", "sandals", "boots")
BAGS = ("backpack", "shoulder bag", "handbag", "messenger bag", "plastic bag", "held in front", "other")
COLOURS = ("black", "white", "red", "purple", "gray", "blue", "green", "yellow", "pink", "brown", "orange")
MARKET_UPPER = ("black", "white", "red", "purple", "gray", "blue", "green", "yellow")
MARKET_LOWER = ("black", "white", "pink", "gray", "blue", "green", "brown", "yellow", "purple")


@dataclass(frozen=True)
class Person:
    """Everything that an attribute of one of the three benchmarks can be about."""

    female: bool
    age: str  # one of AGES
    view: str  # one of VIEWS
    long_hair: bool
    hat: bool
    glasses: str  # one of GLASSES
    muffler: bool
    upper: str  # one of UPPERS
    upper_colour: str  # one of COLOURS
    upper_pattern: str  # one of UPPER_PATTERNS
    long_sleeve: bool
    v_neck: bool
    lower: str  # one of LOWERS; a dress is drawn in one piece with the upper garment
    lower_colour: str  # one of COLOURS
    lower_pattern: str  # one of LOWER_PATTERNS
    footwear: str  # one of FOOTWEAR
    bags: frozenset  # of BAGS
    formal: bool = False  # dressed up: a suit, or shirt or coat of formal cut, over pressed trousers or a skirt

    @property
    def formal_upper(self):
        """Whether the upper garment is what PETA calls formal."""
        return self.upper == "suit" or (self.formal and self.upper in ("shirt", "coat"))

    @property
    def formal_lower(self):
        """Whether the lower garment is what PETA calls formal."""
        return self.formal and self.lower in ("trousers", "short skirt", "skirt")

    @property
    def faces_us(self):
        """Whether the person wears or carries something that cannot be seen from behind."""
        return self.glasses != "none" or self.v_neck or "held in front" in self.bags
