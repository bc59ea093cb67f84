"""The labels that a benchmark's annotators would give a `Person`."""

from parlib.errors import BadInput
from parlib.schema import schema
from pedsynth.person import COLOURS, MARKET_LOWER, MARKET_UPPER


def labels(person, benchmark="pa100k"):
    """Attribute name -> 0 or 1, in the release's own order: 26 of `pa100k`, 35 of `peta`, 30 of `market1501`.

    `peta105` gives all 105 columns of the release, `rapv1` 51, `rapv2` 54, `rapv2all` 111; columns about which a
    `Person` holds nothing are 0.
    """
    if benchmark not in READERS:
        raise BadInput(f"no rendered labels for {benchmark!r}; known: {', '.join(READERS)}")
    known = READERS[benchmark](person)
    return {name: int(known.get(name, False)) for name in schema(benchmark).names}


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
        "Skirt&Dress": p.lower in ("short skirt", "skirt", "dress"),
        "boots": p.footwear == "boots",
    }


def _peta(p):
    accessories = p.hat or p.muffler or p.glasses != "none"
    colours = {
        f"{part}Body{colour.title().replace('Gray', 'Grey')}": worn == colour
        for part, worn in (("upper", p.upper_colour), ("lower", p.lower_colour))
        for colour in COLOURS
    }
    return {
        "personalLess15": p.age == "child",
        "personalLess30": p.age in ("teenager", "young adult"),
        "personalLess45": p.age == "adult",
        "personalLess60": p.age == "middle-aged",
        "personalLarger60": p.age == "old",
        "personalMale": not p.female,
        "personalFemale": p.female,
        "hairLong": p.long_hair,
        "hairShort": not p.long_hair,
        "carryingBackpack": "backpack" in p.bags,
        "carryingMessengerBag": bool(p.bags & {"shoulder bag", "messenger bag"}),
        "carryingPlasticBags": "plastic bag" in p.bags,
        "carryingOther": bool(p.bags & {"handbag", "held in front", "other"}),
        "carryingNothing": not p.bags,
        "accessoryHat": p.hat,
        "accessoryMuffler": p.muffler,
        "accessorySunglasses": p.glasses == "sunglasses",
        "accessoryNothing": not accessories,
        "upperBodyCasual": not p.formal_upper,
        "upperBodyFormal": p.formal_upper,
        "upperBodyJacket": p.upper == "jacket",
        "upperBodySuit": p.upper == "suit",
        "upperBodySweater": p.upper == "sweater",
        "upperBodyTshirt": p.upper == "tshirt",
        "upperBodyOther": p.upper in ("sweater", "coat"),
        "upperBodyShortSleeve": not p.long_sleeve,
        "upperBodyLongSleeve": p.long_sleeve,
        "upperBodyVNeck": p.v_neck,
        "upperBodyLogo": p.upper_pattern == "logo",
        "upperBodyPlaid": p.upper_pattern == "plaid",
        "upperBodyThinStripes": p.upper_pattern == "stripes",
        "lowerBodyCasual": not p.formal_lower,
        "lowerBodyFormal": p.formal_lower,
        "lowerBodyJeans": p.lower == "jeans",
        "lowerBodyShorts": p.lower == "shorts",
        "lowerBodyShortSkirt": p.lower in ("short skirt", "dress"),
        "lowerBodyLongSkirt": p.lower == "skirt",
        "lowerBodyTrousers": p.lower == "trousers",
        "footwearLeatherShoes": p.footwear == "leather shoes",
        "footwearShoes": p.footwear == "shoes",
        "footwearSandals": p.footwear == "sandals",
        "footwearSneaker": p.footwear == "sneakers",
        "footwearBoots": p.footwear == "boots",
        **colours,
    }


def _market1501(p):
    return {
        "gender": p.female,
        "hair": p.long_hair,
        "young": p.age == "child",
        "teenager": p.age in ("teenager", "young adult"),
        "adult": p.age in ("adult", "middle-aged"),
        "old": p.age == "old",
        "up": not p.long_sleeve,
        "down": p.lower in ("shorts", "short skirt", "dress"),
        "clothes": p.lower in ("trousers", "jeans", "shorts"),
        "hat": p.hat,
        "backpack": "backpack" in p.bags,
        "bag": bool(p.bags & {"shoulder bag", "messenger bag", "plastic bag", "other"}),
        "handbag": "handbag" in p.bags,
        **{f"up{colour}": p.upper_colour == colour for colour in MARKET_UPPER},
        **{f"down{colour}": p.lower_colour == colour for colour in MARKET_LOWER},
    }


def _rapv1(p):
    return {
        "Female": p.female,
        "AgeLess16": p.age in ("child", "teenager"),
        "Age17-30": p.age == "young adult",
        "Age31-45": p.age == "adult",
        "hs-LongHair": p.long_hair,
        "hs-Hat": p.hat,
        "hs-Glasses": p.glasses == "glasses",
        "hs-Muffler": p.muffler,
        "ub-Shirt": p.upper == "shirt",
        "ub-Sweater": p.upper == "sweater",
        "ub-TShirt": p.upper == "tshirt",
        "ub-Cotton": p.upper == "coat",
        "ub-Jacket": p.upper == "jacket",
        "ub-SuitUp": p.upper == "suit",
        "ub-ShortSleeve": not p.long_sleeve,
        "lb-LongTrousers": p.lower == "trousers",
        "lb-Skirt": p.lower == "skirt",
        "lb-ShortSkirt": p.lower == "short skirt",
        "lb-Dress": p.lower == "dress",
        "lb-Jeans": p.lower == "jeans",
        "shoes-Leather": p.footwear == "leather shoes",
        "shoes-Sport": p.footwear == "sneakers",
        "shoes-Boots": p.footwear == "boots",
        "shoes-Casual": p.footwear == "shoes",
        "attach-Backpack": "backpack" in p.bags,
        "attach-SingleShoulderBag": bool(p.bags & {"shoulder bag", "messenger bag"}),
        "attach-HandBag": "handbag" in p.bags,
        "attach-PlasticBag": "plastic bag" in p.bags,
        "attach-Other": "other" in p.bags,
        "action-Holding": "held in front" in p.bags,
    }


# RAPv2 writes some names otherwise.
_RENAMED = {"Female": "Femal", "shoes-Sport": "shoes-Sports", "attach-SingleShoulderBag": "attachment-ShoulderBag"}


def _rapv2(p):
    both = {_RENAMED.get(name, name.replace("attach-", "attachment-")): value for name, value in _rapv1(p).items()}
    colours = {
        f"{'up' if (part, colour) == ('ub', 'red') else part}-Color{colour.title()}": worn == colour
        for part, worn in (("ub", p.upper_colour), ("lb", p.lower_colour))
        for colour in COLOURS
    }
    return both | {
        "Age46-60": p.age == "middle-aged",
        "AgeBiger60": p.age == "old",
        "hs-Sunglasses": p.glasses == "sunglasses",
        "lb-Shorts": p.lower == "shorts",
        "shoes-Sandals": p.footwear == "sandals",
        **colours,
    }


READERS = {
    **{"pa100k": _pa100k, "peta": _peta, "peta105": _peta, "market1501": _market1501},
    **{"rapv1": _rapv1, "rapv2": _rapv2, "rapv2all": _rapv2},
}
