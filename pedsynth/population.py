"""Draws people whose labels have the rates, exclusive sets and co-occurrences of a benchmark.

`assets/populations.json` holds a Bayesian network per benchmark and split, counted in the public annotation files by
`tools/populations.py`: each question has the counts of its answers under the answers to its parent questions. People
are drawn from it question by question. Traits that a benchmark does not label come from the small tables below, which
are chosen, not counted. `mixed` is a broad mix for pretraining, in which traits that are rare elsewhere are common.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from pedsynth.person import COLOURS, MARKET_LOWER, MARKET_UPPER, Person

DOMAINS = ("pa100k", "peta", "market1501", "mixed")
_OTHER = {"upper": set(COLOURS) - set(MARKET_UPPER), "lower": set(COLOURS) - set(MARKET_LOWER)}
_YOUNG = {  # answer "young": age -> share
    "pa100k": {"child": 0.5, "teenager": 0.5},
    "peta": {"teenager": 0.25, "young adult": 0.75},
    "market1501": {"teenager": 0.7, "young adult": 0.3},
}
_VIEWS = {"front": 0.35, "side": 0.3, "back": 0.35}
_PATTERNS = {"plain": 0.62, "stripes": 0.1, "plaid": 0.06, "logo": 0.18, "splice": 0.04}
_TOPS = {  # short sleeves, then long ones
    "pa100k": ({"tshirt": 0.75, "shirt": 0.25}, {"shirt": 0.4, "sweater": 0.2, "jacket": 0.33, "suit": 0.07}),
    "market1501": ({"tshirt": 0.8, "shirt": 0.2}, {"shirt": 0.45, "sweater": 0.3, "jacket": 0.25}),
}
_SHOES = {
    "pa100k": {"shoes": 0.4, "leather shoes": 0.2, "sneakers": 0.3, "sandals": 0.1},
    "market1501": {"shoes": 0.25, "leather shoes": 0.05, "sneakers": 0.5, "sandals": 0.2},
}
_UPPER_COLOURS = dict(zip(COLOURS, (20, 22, 9, 4, 12, 12, 6, 5, 5, 3, 2), strict=True))
_LOWER_COLOURS = dict(zip(COLOURS, (26, 8, 3, 2, 17, 27, 4, 2, 3, 7, 1), strict=True))


def sample_person(rng, domain="pa100k", split="train", camera=None, decks=None):
    """One `Person` of a domain, from a numpy Generator.

    Args:
        domain: one of `DOMAINS`.
        split: label rates differ between splits as in the original.
        camera: for `peta`, the sub-dataset 0..9 of the person; default: drawn by its share of images.
        decks: a dict that is passed on from person to person. Answers are then dealt from shuffled decks instead of
            drawn independently, so that the rates of a few hundred people vary less than by chance.
    """
    if domain == "mixed":
        return _mixed(rng)
    answers = {}
    for name, question in _population()[domain].items():
        if name == "subset" and camera is not None:
            answers[name] = camera % len(question["answers"])
            continue
        tables = question.get(split, question["train"])
        context = ",".join(str(answers[parent]) for parent in question["parents"])
        draw = rng.random() if decks is None else _deal(rng, decks.setdefault((name, context), []))
        answers[name] = _pick(draw, range(len(question["answers"])), tables.get(context, tables[""]))
    drawn = {name: question["answers"][answers[name]] for name, question in _population()[domain].items()}
    return _complete(rng, drawn, domain)


@cache
def _population():
    path = Path(__file__).parent / "assets" / "populations.json"
    return json.loads(path.read_text(encoding="utf-8"))


def camera_shares(domain):
    """Images of each of PETA's ten sub-datasets; None for domains without sub-datasets."""
    return _population()[domain]["subset"]["train"][""] if domain == "peta" else None


def people_by_images():
    """For each of PETA's ten sub-datasets, how many people it has with 1, 2, ... images."""
    return _population()["peta_people_by_images"]


def sample_view(rng, person):
    """The person seen from another side; never from behind if that would hide something that the labels name."""
    view = _choose(rng, _VIEWS)
    return replace(person, view="side" if view == "back" and person.faces_us else view)


def _complete(rng, drawn, domain):
    """A `Person` from the answers to a benchmark's questions; traits that it does not ask about are drawn."""
    female, long_sleeve = bool(drawn["female"]), bool(drawn["long_sleeve"])
    age = _choose(rng, _YOUNG[domain]) if drawn["age"] == "young" else drawn["age"]
    if age == "between":
        age = _choose(rng, {"young adult": 0.45, "adult": 0.35, "middle-aged": 0.2})
    elif age == "adult" and domain == "market1501":
        age = _choose(rng, {"adult": 0.6, "middle-aged": 0.4})
    worn = drawn.get("worn", "").split("|")
    if domain == "peta":
        glasses = next((kind for kind in ("glasses", "sunglasses") if kind in worn), "none")
    elif domain == "market1501":
        glasses = _choose(rng, {"none": 0.66, "glasses": 0.3, "sunglasses": 0.04})
    else:
        glasses = _choose(rng, {"glasses": 0.85, "sunglasses": 0.15}) if drawn["glasses"] else "none"
    v_neck = bool(drawn["v_neck"]) if domain == "peta" else rng.random() < 0.06
    upper = drawn.get("upper") or _choose(rng, _TOPS[domain][long_sleeve])
    if upper == "other":  # PETA: neither of the named garments; coats in winter
        upper = "sweater" if v_neck or not long_sleeve or rng.random() < 0.25 else "coat"
    v_neck = v_neck and upper in ("tshirt", "shirt", "sweater")
    upper_colour = _colour(rng, drawn.get("upper_colour"), "upper", _UPPER_COLOURS)
    lower_colour = _colour(rng, drawn.get("lower_colour"), "lower", _LOWER_COLOURS)
    lower = drawn["lower"]
    if domain != "peta" and lower == "trousers":
        denim = 0.7 if lower_colour in ("black", "white", "gray", "blue") else 0.0
        lower = _choose(rng, {"trousers": 1 - denim, "jeans": denim})
    elif domain == "pa100k" and lower == "skirt":
        lower = _choose(rng, {"skirt": 0.3, "short skirt": 0.4, "dress": 0.3})
        lower_colour = upper_colour if lower == "dress" and upper == "tshirt" else lower_colour
    # A dress is one garment of one colour, so both colours must agree.
    one_garment = upper == "tshirt" and upper_colour == lower_colour
    if lower in ("short skirt", "dress"):
        lower = "dress" if one_garment else "short skirt"
    view = drawn.get("view") or _choose(rng, _VIEWS)
    bags = frozenset(bag for bag in drawn["bags"].split("|") if bag)
    person = Person(
        female=female,
        age=age,
        view=view,
        long_hair=bool(drawn["long_hair"]) if "long_hair" in drawn else rng.random() < (0.72 if female else 0.04),
        hat="hat" in worn or bool(drawn.get("hat")),
        glasses=glasses,
        muffler="muffler" in worn or (domain == "pa100k" and long_sleeve and rng.random() < 0.04),
        upper=upper,
        upper_colour=upper_colour,
        upper_pattern=(drawn["upper_pattern"] or "plain") if "upper_pattern" in drawn else _choose(rng, _PATTERNS),
        long_sleeve=long_sleeve,
        v_neck=v_neck,
        lower=lower,
        lower_colour=lower_colour,
        lower_pattern=drawn.get("lower_pattern") or "plain",
        footwear=drawn.get("footwear") or _choose(rng, _SHOES[domain]),
        bags=bags,
        formal=bool(drawn.get("formal", upper == "suit")),
    )
    if view == "back" and "view" in drawn:  # PA-100K labels the view: what cannot be seen from behind is removed
        return replace(person, v_neck=False, glasses="none", bags=bags - {"held in front"})
    return replace(person, view="side") if view == "back" and person.faces_us else person


def _colour(rng, answer, part, shares):
    if answer == "other":
        return _choose(rng, {colour: shares[colour] for colour in COLOURS if colour in _OTHER[part]})
    return answer or _choose(rng, shares)


def _mixed(rng):
    """Traits drawn about evenly, except what cannot be seen from behind: the mix the nano encoder is pretrained on."""
    female = bool(rng.random() < 0.5)
    upper = _choose(rng, ("tshirt", "shirt", "sweater", "jacket", "suit", "coat"))
    lowers = ("trousers", "jeans", "shorts", *(("short skirt", "skirt", "dress") if female else ()))
    lower = _choose(rng, lowers)
    if lower == "dress" and upper != "tshirt":
        lower = "short skirt"
    bags = ("backpack", "handbag", "messenger bag", "other", "plastic bag", "shoulder bag")
    carried = {bag for bag in bags if rng.random() < 0.14}
    view = _choose(rng, ("front", "side", "back"), (0.4, 0.3, 0.3))
    if rng.random() < 0.12 and view != "back":
        carried = {"held in front", *(carried - {"handbag", "plastic bag", "other"})}
    upper_colour = _choose(rng, COLOURS)
    lower_colour = upper_colour if lower == "dress" else _choose(rng, COLOURS)
    seen = view != "back"
    return Person(
        female=female,
        age=_choose(rng, ("child", "teenager", "young adult", "adult", "middle-aged", "old")),
        view=view,
        long_hair=bool(rng.random() < (0.65 if female else 0.1)),
        hat=bool(rng.random() < 0.25),
        glasses=_choose(rng, ("none", "glasses", "sunglasses"), (0.5, 0.3, 0.2)) if seen else "none",
        muffler=bool(rng.random() < 0.15),
        upper=upper,
        upper_colour=upper_colour,
        upper_pattern=_choose(rng, ("plain", "stripes", "plaid", "logo", "splice"), (0.36, 0.16, 0.16, 0.16, 0.16)),
        long_sleeve=upper in ("jacket", "suit", "coat") or bool(rng.random() < 0.5),
        v_neck=seen and upper in ("tshirt", "shirt", "sweater") and bool(rng.random() < 0.3),
        lower=lower,
        lower_colour=lower_colour,
        lower_pattern=_choose(rng, ("plain", "stripe", "pattern"), (0.7, 0.15, 0.15)),
        footwear=_choose(rng, ("shoes", "leather shoes", "sneakers", "sandals", "boots")),
        bags=frozenset(carried),
        formal=upper == "suit" or bool(rng.random() < 0.3),
    )


def _choose(rng, options, shares=None):
    """One of `options`: evenly, by `shares`, or from a dict name -> share. It takes exactly one draw."""
    if isinstance(options, dict):
        options, shares = tuple(options), tuple(options.values())
    return _pick(rng.random(), options, shares or [1] * len(options))


def _deal(rng, deck):
    """A number in [0, 1); every 16 numbers from one deck hold one in each sixteenth of that range."""
    if not deck:
        deck.extend(rng.permutation(16).tolist())
    return (deck.pop() + rng.random()) / 16


def _pick(draw, options, shares):
    """The option that `draw` in [0, 1) falls on, if each is as wide as its share."""
    draw *= sum(shares)
    for option, share in zip(options, shares, strict=True):
        draw -= share
        if draw < 0:
            return option
    return next(option for option, share in reversed(list(zip(options, shares, strict=True))) if share)
