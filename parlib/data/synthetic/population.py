"""Who walks by: people drawn so that labels have the rates, exclusive sets and co-occurrences of a benchmark.

The numbers are PA-100K's, counted in its public annotation file: train, then test where the two differ. `mixed` is a
broad mix for pretraining in which what is rare elsewhere is common.
"""

from parlib.data.synthetic.person import COLOURS, Person

DOMAINS = ("pa100k", "mixed")

# Shares of PA-100K (train, test); those that depend on gender are (female, male) in train.
_FEMALE = {"train": 0.456, "test": 0.39}
_AGE = {"train": (0.052, 0.934, 0.014), "test": (0.02, 0.954, 0.026)}  # under 18, 18 to 60, over 60
_VIEW = {"train": (0.359, 0.284, 0.357), "test": (0.297, 0.399, 0.304)}
_SHORT_SLEEVE = {"train": (0.634, 0.545), "test": (0.49, 0.41)}
_HAT, _GLASSES = (0.012, 0.074), (0.12, 0.33)
_PATTERNS = ("stripes", "logo", "plaid", "splice")
_PATTERN = {"train": (0.052, 0.154, 0.109, 0.045), "test": (0.064, 0.124, 0.122, 0.045)}
_LOWER = {"train": ((0.572, 0.172, 0.256), (0.824, 0.176, 0.0)), "test": ((0.66, 0.13, 0.21), (0.87, 0.13, 0.0))}
_COAT = {"train": (0.059, 0.004), "test": (0.09, 0.006)}
_BAGS = {"handbag": (0.237, 0.139), "shoulder bag": (0.316, 0.086), "backpack": (0.136, 0.157)}
_LOWER_STRIPE, _LOWER_PATTERN, _BOOTS, _HELD = 0.005, 0.018, 0.0062, 0.0098


def sample_person(rng, domain="pa100k", split="train"):
    """One `Person` of a domain, from a numpy Generator; priors of `split` shift as in the original."""
    return _mixed(rng) if domain == "mixed" else _pa100k(rng, "test" if split == "test" else "train")


def _pa100k(rng, split):
    female = bool(rng.random() < _FEMALE[split])
    who = 0 if female else 1
    band = _choose(rng, ("young", "between", "old"), _AGE[split])
    age = {
        "young": lambda: _choose(rng, ("child", "teenager")),
        "between": lambda: _choose(rng, ("young adult", "adult", "middle-aged"), (0.45, 0.35, 0.2)),
        "old": lambda: "old",
    }[band]()
    view = _choose(rng, ("front", "side", "back"), _VIEW[split])
    lower = _choose(rng, ("trousers", "shorts", "skirt"), _LOWER[split][who])
    coat = bool(rng.random() < _COAT[split][who])
    # Coats are winter clothes: their long sleeves are taken out of the rest's share, so that the rate stays.
    short = not coat and rng.random() < _SHORT_SLEEVE[split][who] / (1 - _COAT[split][who])
    upper = "coat" if coat else _choose(rng, ("tshirt", "shirt") if short else ("shirt", "sweater", "jacket", "suit"))
    pattern = _choose(rng, (*_PATTERNS, "plain"), (*_PATTERN[split], 1 - sum(_PATTERN[split])))
    lower_pattern = "plain"
    draw = rng.random() * (1.0 if lower != "skirt" else 0.4)  # prints are mostly on skirts
    if draw < _LOWER_STRIPE + _LOWER_PATTERN:
        lower_pattern = "stripe" if draw < _LOWER_STRIPE else "pattern"
    bags = {bag for bag, share in _BAGS.items() if rng.random() < share[who]}
    if "backpack" in bags:
        bags.discard("shoulder bag")
    if rng.random() < _HELD / (1 - _VIEW[split][2]) and view != "back":
        bags.add("held in front")
        bags.discard("handbag")
    return _dress(
        rng,
        female=female,
        age=age,
        view=view,
        lower=_choose(rng, ("trousers", "jeans")) if lower == "trousers" else _skirt(rng, lower, upper),
        upper=upper,
        upper_pattern=pattern,
        lower_pattern=lower_pattern,
        long_sleeve=not short,
        hat=bool(rng.random() < _HAT[who]),
        # Not to be seen from behind: the rate is made up in the other views.
        glasses=view != "back" and rng.random() < _GLASSES[who],
        bags=bags,
        boots=rng.random() < _BOOTS,
        muffler=rng.random() < 0.02,
        v_neck=rng.random() < 0.08,
    )


def _mixed(rng):
    female = bool(rng.random() < 0.5)
    view = _choose(rng, ("front", "side", "back"), (0.4, 0.3, 0.3))
    upper = _choose(rng, ("tshirt", "shirt", "sweater", "jacket", "suit", "coat"))
    lower = _choose(
        rng, ("trousers", "jeans", "shorts", "skirt", "dress") if female else ("trousers", "jeans", "shorts")
    )
    bags = {"backpack", "shoulder bag", "handbag", "messenger bag", "plastic bag", "other"}
    carried = {bag for bag in sorted(bags) if rng.random() < 0.14}
    if rng.random() < 0.12 and view != "back":
        carried = {"held in front", *(carried - {"handbag", "plastic bag", "other"})}
    return _dress(
        rng,
        female=female,
        age=_choose(rng, ("child", "teenager", "young adult", "adult", "middle-aged", "old")),
        view=view,
        lower=_skirt(rng, lower, upper),
        upper=upper,
        upper_pattern=_choose(rng, (*_PATTERNS, "plain"), (0.16, 0.16, 0.16, 0.16, 0.36)),
        lower_pattern=_choose(rng, ("plain", "stripe", "pattern"), (0.7, 0.15, 0.15)),
        long_sleeve=bool(rng.random() < (0.5 if upper in ("tshirt", "shirt") else 0.92)) or upper == "coat",
        hat=bool(rng.random() < 0.25),
        glasses=view != "back" and rng.random() < 0.5,
        bags=carried,
        boots=rng.random() < 0.2,
        muffler=rng.random() < 0.15,
        v_neck=rng.random() < 0.3,
    )


def _skirt(rng, lower, upper):
    if lower not in ("skirt", "dress"):
        return lower
    return "skirt" if upper not in ("tshirt",) else _choose(rng, ("skirt", "dress"))


def _dress(rng, *, female, age, boots, glasses, v_neck, view, bags, muffler, **traits):
    """Fill in what no rate is kept for: colours, hair, shoes."""
    footwear = (
        "boots" if boots else _choose(rng, ("shoes", "leather shoes", "sneakers", "sandals"), (0.4, 0.2, 0.3, 0.1))
    )
    return Person(
        female=female,
        age=age,
        view=view,
        long_hair=bool(rng.random() < (0.72 if female else 0.04)),
        glasses=_choose(rng, ("glasses", "sunglasses"), (0.75, 0.25)) if glasses else "none",
        muffler=bool(muffler),
        v_neck=bool(v_neck) and view != "back" and traits["upper"] in ("tshirt", "sweater", "shirt"),
        upper_colour=_choose(rng, COLOURS),
        lower_colour=_choose(rng, COLOURS, (0.24, 0.08, 0.05, 0.05, 0.14, 0.22, 0.05, 0.03, 0.05, 0.07, 0.02)),
        footwear=footwear,
        bags=frozenset(bags),
        **traits,
    )


def _choose(rng, options, shares=None):
    """One of `options`, evenly or by `shares`; one draw of the generator either way."""
    draw, total = rng.random(), sum(shares) if shares else len(options)
    for option, share in zip(options, shares or [1] * len(options), strict=True):
        draw -= share / total
        if draw < 0:
            return option
    return options[-1]
