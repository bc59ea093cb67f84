"""What a benchmark's annotators would write about a `Person`."""

from parlib.errors import BadInput


def labels(person, benchmark="pa100k"):
    """Attribute name -> 0 or 1, in the release's own order."""
    if benchmark not in _READERS:
        raise BadInput(f"no rendered labels for {benchmark!r}; known: {', '.join(_READERS)}")
    return {name: int(value) for name, value in _READERS[benchmark](person).items()}


def _pa100k(p):
    return {
        "Female": p.female,
        "AgeOver60": p.age == "old",
        "Age18-60": p.age in ("young adult", "adult", "middle-aged"),
        "AgeLess18": p.age in ("child", "teenager"),
        "Front": p.view == "front",
        "Side": p.view == "side",
        "Back": p.view == "back",
        "Hat": p.hat,
        "Glasses": p.glasses != "none",
        "HandBag": "handbag" in p.bags,
        "ShoulderBag": bool(p.bags & {"shoulder bag", "messenger bag"}),
        "Backpack": "backpack" in p.bags,
        "HoldObjectsInFront": "held in front" in p.bags,
        "ShortSleeve": not p.long_sleeve,
        "LongSleeve": p.long_sleeve,
        "UpperStride": p.upper_pattern == "stripes",
        "UpperLogo": p.upper_pattern == "logo",
        "UpperPlaid": p.upper_pattern == "plaid",
        "UpperSplice": p.upper_pattern == "splice",
        "LowerStripe": p.lower_pattern == "stripe",
        "LowerPattern": p.lower_pattern == "pattern",
        "LongCoat": p.upper == "coat",
        "Trousers": p.lower in ("trousers", "jeans"),
        "Shorts": p.lower == "shorts",
        "Skirt&Dress": p.lower in ("skirt", "dress"),
        "boots": p.footwear == "boots",
    }


_READERS = {"pa100k": _pa100k}
