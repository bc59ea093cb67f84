"""Phrases about rendered people in six languages, each with an exact answer to whether it is true of a person.

`traits` lists the facts about a `Person`; the files in `phrase_bank/` put them in words. A phrase states one trait,
denies one, or joins two. `caption` writes what people would: few salient traits. The nano encoder is pretrained on
captions; the other phrases only train its tokenizer.
"""

from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from pedsynth.person import COLOURS

LANGUAGES = ("en", "zh", "es", "it", "fr", "ar")
# Traits that people mention when they see them, most often first: `salience` says how often.
_OFTEN = "female male child tshirt shirt jacket suit coat jeans shorts skirt dress"
_SOMETIMES = (
    "teenager under_18 adult under_30 over_60 long_hair hat sweater trousers pants skirt_or_dress backpack handbag"
    " shoulder_bag"
)
SHADE, SOMETIMES, SELDOM, COLOUR = 0.15, 0.15, 0.03, 0.01
THOROUGH = 0.2  # exponent of `salience` in descriptions
# In passing people say how light a garment is more often than they name its colour.
_SHADES = {
    "dark": ("black", "brown", "blue", "purple"),
    "light": ("white", "gray", "pink"),
    "bright": ("red", "orange", "yellow", "green"),
}
_FOLDER = Path(__file__).parent / "phrase_bank"


class Phrase(NamedTuple):
    """`text` is true of a person for whom every pair in `terms` (trait name, whether it must hold) is true."""

    text: str
    terms: tuple
    language: str


def traits(person):
    """Every fact that the bank has words for, of one `Person`: name -> bool, in a fixed order."""
    p, bare = person, person.age in ("child", "teenager")
    out = {
        "female": p.female,
        "male": not p.female,
        "child": p.age == "child",
        "teenager": p.age == "teenager",
        "under_18": bare,
        "adult": not bare and p.age != "old",
        "over_60": p.age == "old",
        "under_30": bare or p.age == "young adult",
        "from_30_to_45": p.age == "adult",
        "from_45_to_60": p.age == "middle-aged",
        "front": p.view == "front",
        "side": p.view == "side",
        "back": p.view == "back",
        "long_hair": p.long_hair,
        "short_hair": not p.long_hair,
        "hat": p.hat,
        "any_glasses": p.glasses != "none",
        "eyeglasses": p.glasses == "glasses",
        "sunglasses": p.glasses == "sunglasses",
        "muffler": p.muffler,
        "no_accessory": not p.hat and not p.muffler and p.glasses == "none",
        "short_sleeve": not p.long_sleeve,
        "long_sleeve": p.long_sleeve,
        "v_neck": p.v_neck,
        "other_upper": p.upper in ("sweater", "coat"),
        "trousers": p.lower in ("trousers", "jeans"),
        "cloth_trousers": p.lower == "trousers",
        "skirt_or_dress": p.lower in ("short skirt", "skirt", "dress"),
        "pants": p.lower in ("trousers", "jeans", "shorts"),
        "short_lower": p.lower in ("shorts", "short skirt", "dress"),
        "long_lower": p.lower in ("trousers", "jeans", "skirt"),
        "skirt": p.lower in ("short skirt", "skirt"),
        "short_skirt": p.lower == "short skirt",
        "any_bag": bool(p.bags),
        "no_bag": not p.bags,
        "formal_upper": p.formal_upper,
        "casual_upper": not p.formal_upper,
        "formal_lower": p.formal_lower,
        "casual_lower": not p.formal_lower,
    }
    out |= {name: p.upper == name for name in ("tshirt", "shirt", "sweater", "jacket", "suit", "coat")}
    patterns = {"stripes": "stripes", "plaid": "plaid", "logo": "logo", "splice": "splice", "plain_upper": "plain"}
    out |= {name: p.upper_pattern == value for name, value in patterns.items()}
    out |= {name: p.lower == name for name in ("jeans", "shorts", "dress")}
    patterns = {"lower_stripe": "stripe", "lower_pattern": "pattern", "plain_lower": "plain"}
    out |= {name: p.lower_pattern == value for name, value in patterns.items()}
    shoes = ("shoes", "leather shoes", "sneakers", "sandals", "boots")
    out |= {name.replace(" ", "_"): p.footwear == name for name in shoes}
    bags = ("backpack", "handbag", "messenger bag", "plastic bag", "held in front")
    out |= {name.replace(" ", "_"): name in p.bags for name in bags} | {"other_bag": "other" in p.bags}
    out["shoulder_bag"] = bool(p.bags & {"shoulder bag", "messenger bag"})
    for part, worn in (("upper", p.upper_colour), ("lower", p.lower_colour)):
        out |= {f"{part}_{colour}": worn == colour for colour in COLOURS}
        out |= {f"{part}_{shade}": worn in colours for shade, colours in _SHADES.items()}
    return out


@cache
def _bank(language):
    """A language's grammar, subjects, nouns (trait -> phrases) and verbs, with the colours filled in."""
    data = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    verbs = dict(data["verbs"])
    for part, (colour, word) in product(("upper", "lower"), {**data["colours"], **data["shades"]}.items()):
        verbs[f"{part}_{colour}"] = [wording.format(c=word) for wording in data[f"{part}_colour"]]
    return {**data, "verbs": verbs}


def states(language, trait, subject=0):
    """Every wording that states one trait in one language: a list of str."""
    bank = _bank(language)
    if trait in bank["nouns"]:
        return list(bank["nouns"][trait])
    who = bank["subjects"][subject % len(bank["subjects"])]
    return [form.format(s=who, a=verb) for form in bank["grammar"]["is"] for verb in bank["verbs"][trait]]


def _say(rng, bank, trait, holds=True):
    """One random wording of "has the trait" or of "does not have it"."""

    def pick(options):
        return options[rng.integers(len(options))]

    who = pick(bank["subjects"])
    if trait in bank["nouns"]:
        noun = pick(bank["nouns"][trait])
        return noun if holds else pick(bank["grammar"]["noun_not"]).format(n=noun, s=who)
    verb = pick(bank["verbs"][trait])
    first, _, rest = verb.partition(" ")  # French wraps its negation around the verb
    return pick(bank["grammar"]["is" if holds else "not"]).format(s=who, a=verb, a0=first, a1=rest)


def _join(rng, bank, first, second):
    """One random wording of "has both traits"; a noun takes the place of the subject."""
    nouns, verbs = bank["nouns"], bank["verbs"]

    def pick(options):
        return options[rng.integers(len(options))]

    if first in nouns:
        return pick(bank["grammar"]["is"]).format(s=pick(nouns[first]), a=pick(verbs[second]))
    return pick(bank["grammar"]["both"]).format(s=pick(bank["subjects"]), a=pick(verbs[first]), b=pick(verbs[second]))


def sample_phrase(rng, language, kind="is", trait=None, forbidden=frozenset()):
    """A random `Phrase`.

    Args:
        rng: numpy Generator.
        language: one of LANGUAGES.
        kind: `is` (one trait), `not` (its denial) or `both` (two traits).
        trait: the (first) trait; default is a random one.
        forbidden: lower-case texts that must not be returned, such as the prompts the encoder is measured with.
    """
    bank = _bank(language)
    names = [*bank["nouns"], *bank["verbs"]]
    trait = trait or names[rng.integers(len(names))]
    for _ in range(20):
        if kind == "both":
            verbs = [name for name in bank["verbs"] if name != trait]
            other = verbs[rng.integers(len(verbs))]
            phrase = Phrase(_join(rng, bank, trait, other), ((trait, True), (other, True)), language)
        else:
            phrase = Phrase(_say(rng, bank, trait, kind == "is"), ((trait, kind == "is"),), language)
        if phrase.text.lower() not in forbidden:
            return phrase
    raise ValueError(f"every wording of {trait!r} in {language!r} is forbidden: add one to {_FOLDER}")


@cache
def salience():
    """How often people who see a trait mention it (K,): 1 for traits mentioned most, columns `trait_names()`."""
    weights = {**dict.fromkeys(_SOMETIMES.split(), SOMETIMES), **dict.fromkeys(_OFTEN.split(), 1.0)}
    weights |= {**dict.fromkeys(_worn(_SHADES), SHADE), **dict.fromkeys(_worn(COLOURS), COLOUR)}
    return np.array([weights.get(name, SELDOM) for name in trait_names()])


@cache
def thoroughness():
    """How often a thorough description states a trait (K,): fine ones more often than `salience`, exact colours always.

    They are what a description says of a garment in place of how light it is.
    """
    weights = dict(zip(trait_names(), salience() ** THOROUGH, strict=True))
    weights |= {**dict.fromkeys(_worn(COLOURS), 1.0), **dict.fromkeys(_worn(_SHADES), SELDOM)}
    return np.array(list(weights.values()))


def _worn(colours):
    return [f"{part}_{colour}" for part in ("upper", "lower") for colour in colours]


def mentioned(rng, table, count, weights):
    """Up to `count` traits of each person that a writer picks, seen ones only: (N, count) columns of `table` (N, K).

    Drawn without replacement in proportion to `weights` (K,); -1 where a person has fewer traits.
    """
    keys = np.where(table, np.log(weights) + rng.gumbel(size=table.shape), -np.inf)
    picked = np.argsort(-keys, 1)[:, :count]
    return np.where(np.take_along_axis(table, picked, 1), picked, -1)


def caption(rng, language, names, forbidden=frozenset()):
    """A `Phrase` that states all of one or two traits; none of them: about the background.

    `forbidden`: lower-case texts that must not be returned, such as the prompts the encoder is measured with.
    """
    bank = _bank(language)
    if not names:
        return Phrase(bank["backgrounds"][rng.integers(len(bank["backgrounds"]))], (), language)
    names = sorted(names, key=lambda name: name in bank["verbs"])  # a noun first: it takes the place of the subject
    joined = len(names) == 2 and names[1] in bank["verbs"]
    for _ in range(50):
        text = _join(rng, bank, *names) if joined else _say(rng, bank, names[0])
        if text.lower() not in forbidden:
            return Phrase(text, tuple((name, True) for name in names[: 1 + joined]), language)
    raise ValueError(f"every wording of {names} in {language!r} is forbidden: add one to {_FOLDER}")


def truths(phrases, table, names):
    """Whether each phrase is true of each person.

    Args:
        phrases: list of P `Phrase`.
        table: (N, len(names)) bool, `traits` of N people.
        names: the columns of `table`.

    Returns:
        (N, P) bool.
    """
    column = {name: j for j, name in enumerate(names)}
    out = np.ones((len(table), len(phrases)), bool)
    for j, phrase in enumerate(phrases):
        for trait, holds in phrase.terms:
            out[:, j] &= table[:, column[trait]] == holds
    return out


def corpus(seed=0, per_language=6000):
    """Texts to train a tokenizer on: every stated trait, and `per_language` random phrases per language."""
    rng = np.random.default_rng(seed)
    texts = [text for code in LANGUAGES for name in trait_names() for text in states(code, name)]
    kinds = ("is", "not", "both")
    return texts + [sample_phrase(rng, code, kinds[i % 3]).text for code in LANGUAGES for i in range(per_language)]


@cache
def trait_names():
    """Names of all traits, the columns of a trait table."""
    bank = _bank("en")
    return (*bank["nouns"], *bank["verbs"])
