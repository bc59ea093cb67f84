"""Counts people in the real benchmarks: `python tools/populations.py DATA_ROOT` writes pedsynth's `populations.json`.

Each domain is a Bayesian network counted in the public annotation file: its questions in order, each with its parents
(the earlier questions it depends on most, chosen greedily by the Akaike information criterion) and the counts of its
answers for each combination of the parents' answers. Answers use the vocabulary of `Person`. DATA_ROOT as in
`real_facts.py`.
"""

from pathlib import Path

import numpy as np
from real_facts import main
from scipy.io import loadmat

from parlib.data import read_release
from pedsynth.person import COLOURS, MARKET_LOWER, MARKET_UPPER

OUT = Path(__file__).parents[1] / "pedsynth" / "assets" / "populations.json"
SUBSETS, MOST_IMAGES = 10, 40  # PETA: people with more than 40 images are counted with 40
_PARENTS, _CELLS = 4, 800  # upper limits for one question
_ALWAYS = {  # always parents, if the benchmark asks them
    "glasses": ["view", "female", "long_sleeve"],
    "bags": ["view", "age"],
    "lower": ["formal", "female"],
    "footwear": ["formal", "female"],
}
_FRONT_ONLY = {"glasses", "bags"}  # questions with answers that cannot be seen from behind
_HIDDEN = ("glasses", "held in front")


def _first(columns, names, prefix=""):
    """(N,) str: the first word of `names` ("word=column word=column ...") whose column is 1; "" if there is none."""
    words, picked = _ones(columns, names, prefix)
    return np.array([*words, ""], object)[np.vstack([picked, np.ones(picked.shape[1], bool)]).argmax(0)]


def _joined(columns, names, prefix=""):
    """(N,) str: all words of `names` whose column is 1, joined by "|"."""
    words, picked = _ones(columns, names, prefix)
    return np.array(["|".join(np.array(words)[row]) for row in picked.T], object)


def _ones(columns, names, prefix):
    pairs = [pair.split("=") for pair in names.split()]
    return [word.replace("_", " ") for word, _ in pairs], np.stack([columns[prefix + name] == 1 for _, name in pairs])


def pa100k(c):
    """Columns of PA-100K -> question -> answers."""
    coat = c["LongCoat"] == 1
    return {
        "view": _first(c, "front=Front side=Side back=Back"),
        "female": c["Female"],
        "age": _first(c, "young=AgeLess18 between=Age18-60 old=AgeOver60"),
        "upper": np.where(coat, "coat", ""),
        "long_sleeve": np.where(coat, 1, c["LongSleeve"]),  # 1 in 16 of its long coats is called short-sleeved
        "lower": _first(c, "trousers=Trousers shorts=Shorts skirt=Skirt&Dress"),
        "upper_pattern": _first(c, "stripes=UpperStride logo=UpperLogo plaid=UpperPlaid splice=UpperSplice"),
        "lower_pattern": _first(c, "stripe=LowerStripe pattern=LowerPattern"),
        "bags": _joined(
            c, "handbag=HandBag shoulder_bag=ShoulderBag backpack=Backpack held_in_front=HoldObjectsInFront"
        ),
        "hat": c["Hat"],
        "glasses": _first(c, "glasses=Glasses"),
        "footwear": _first(c, "boots=boots"),
    }


def peta(c):
    """Columns of PETA (105 and `subset`) -> question -> answers; None (not counted) if `Person` has no word for it."""
    formal = c["upperBodyFormal"] == 1
    upper = _first(c, "suit=Suit jacket=Jacket tshirt=Tshirt other=Other", "upperBody")
    upper[upper == ""] = "shirt"
    upper[(upper == "suit") & ~formal | np.isin(upper, ("jacket", "tshirt")) & formal] = "shirt"
    upper[(upper == "other") & formal] = "coat"
    lower = _first(c, "trousers=Suits short_skirt=ShortSkirt skirt=LongSkirt shorts=Shorts jeans=Jeans", "lowerBody")
    lower[(lower == "jeans") & (c["lowerBodyFormal"] == 1) | (lower == "") & (c["lowerBodyTrousers"] == 1)] = "trousers"
    lower[lower == ""] = None
    sleeve = np.where(np.isin(upper, ("suit", "jacket", "coat")), 1, 1 - c["upperBodyShortSleeve"]).astype(object)
    sleeve[c["upperBodyNoSleeve"] == 1] = None
    shoes = _first(c, "boots=Boots sandals=Sandals leather_shoes=LeatherShoes sneakers=Sneaker shoes=Shoes", "footwear")
    shoes[shoes == ""] = None
    bags = _joined(c, "backpack=Backpack messenger_bag=MessengerBag plastic_bag=PlasticBags other=Other", "carrying")
    bags[(bags == "") & (c["carryingNothing"] == 0)] = None
    # Hair bands, kerchiefs and headphones are not drawn; plain glasses, which PETA does not label, replace them.
    worn = _joined(c, "hat=Hat muffler=Muffler sunglasses=Sunglasses", "accessory")
    worn[(worn == "") & (c["accessoryNothing"] == 0)] = "glasses"
    age = _first(c, "child=Less15 young=Less30 adult=Less45 middle_aged=Less60 old=Larger60", "personal")
    age[age == "middle aged"], age[age == ""] = "middle-aged", None
    return {
        "subset": c["subset"],
        "female": 1 - c["personalMale"],
        "age": age,
        "formal": formal.astype(int),
        "upper": upper,
        "long_sleeve": sleeve,
        "lower": lower,
        "footwear": shoes,
        "long_hair": c["hairLong"],
        "worn": worn,
        "bags": bags,
        "upper_pattern": _first(c, "plaid=Plaid logo=Logo stripes=ThinStripes", "upperBody"),
        "v_neck": c["upperBodyVNeck"],
        "upper_colour": _rarest(c, "upperBody"),
        "lower_colour": _rarest(c, "lowerBody"),
    }


def _rarest(c, part):
    """One colour per person; of several, the one that the fewest people wear, so that rare colours keep their rates."""
    names = {colour: f"{part}{colour.title().replace('Gray', 'Grey')}" for colour in COLOURS}
    out = _first(c, " ".join(f"{k}={v}" for k, v in sorted(names.items(), key=lambda item: c[item[1]].sum())))
    out[out == ""] = None
    return out


def market1501(c):
    """Columns of Market-1501 (30) -> question -> answers; a person without a colour gets the colour `other`."""
    pants, short = c["clothes"] == 1, c["down"] == 1
    colour = {
        part: _first(c, " ".join(f"{name}={start}{name}" for name in names))
        for part, start, names in (("upper", "up", MARKET_UPPER), ("lower", "down", MARKET_LOWER))
    }
    for answers in colour.values():
        answers[answers == ""] = "other"
    return {
        "female": c["gender"],
        "age": _first(c, "child=young young=teenager adult=adult old=old"),
        "long_hair": c["hair"],
        "long_sleeve": 1 - c["up"],
        "lower": np.where(pants, np.where(short, "shorts", "trousers"), np.where(short, "short skirt", "skirt")),
        "hat": c["hat"],
        "bags": _first(c, "backpack=backpack shoulder_bag=bag handbag=handbag"),
        "upper_colour": colour["upper"],
        "lower_colour": colour["lower"],
    }


def network(questions, homes, effective=1.0):
    """Questions -> name -> {"answers", "parents", split -> {context -> counts}}; a context is the parents' answers."""
    codes, answers = {}, {}
    for name, values in questions.items():
        values = values.tolist()
        answers[name] = sorted({value for value in values if value is not None}, key=str)
        place = {answer: number for number, answer in enumerate(answers[name])}
        codes[name] = np.array([-1 if value is None else place[value] for value in values])
    out, earlier = {}, []
    for name in questions:
        parents = [parent for parent in _ALWAYS.get(name, []) if parent in earlier]
        score = _score(codes, answers, name, parents, effective)
        while len(parents) < _PARENTS:
            candidates = [other for other in earlier if other not in parents]
            best = max(
                ((_score(codes, answers, name, [*parents, other], effective), other) for other in candidates),
                default=(score, ""),
            )
            if best[0] <= score:
                break
            score, parents = best[0], [*parents, best[1]]
        out[name] = {"answers": answers[name], "parents": parents}
        for split in dict.fromkeys(homes):
            counts = _counts(codes, answers, name, parents, np.asarray(homes) == split)
            if name in _FRONT_ONLY and "view" in parents:
                _move_to_front(out[name], counts, answers)
            out[name][split] = {",".join(map(str, key)): row.tolist() for key, row in sorted(counts.items())}
        earlier.append(name)
    return out


def _counts(codes, answers, name, parents, rows):
    """context -> (answers) counts over `rows`; context () holds all of them."""
    rows = rows & np.all([codes[part] >= 0 for part in (name, *parents)], axis=0)
    table = np.zeros([*(len(answers[part]) for part in parents), len(answers[name])], int)
    np.add.at(table, tuple(codes[part][rows] for part in (*parents, name)), 1)
    out = {key: table[key] for key in np.ndindex(table.shape[:-1]) if table[key].any()}
    return {(): table.reshape(-1, table.shape[-1]).sum(0), **out}


def _score(codes, answers, name, parents, effective):
    counts = _counts(codes, answers, name, parents, np.ones(len(codes[name]), bool))
    cells = len(answers[name]) * np.prod([len(answers[part]) for part in parents])
    if cells > _CELLS:
        return -np.inf
    rows = np.array([row for key, row in counts.items() if key or not parents], float)
    share = rows / rows.sum(1, keepdims=True)
    likelihood = effective * (rows * np.log(np.where(rows > 0, share, 1))).sum()
    return likelihood - len(rows) * (len(answers[name]) - 1)


def _move_to_front(question, counts, answers):
    """Move what cannot be seen from behind to the other views, so that its rate stays."""
    where, back = question["parents"].index("view"), answers["view"].index("back")
    for number, answer in enumerate(question["answers"]):
        bare = "|".join(part for part in str(answer).split("|") if part not in _HIDDEN)
        if bare == answer:
            continue
        instead = question["answers"].index(bare)
        seen = [row for key, row in counts.items() if key and key[where] != back]
        all_of = sum(int(row[number]) for key, row in counts.items() if key)
        factor, due = all_of / max(1, sum(int(row[number]) for row in seen)), 0.0
        for key, row in counts.items():
            if key:
                due += 0 if key[where] == back else row[number] * (factor - 1)
                moved = -int(row[number]) if key[where] == back else round(due)
                due -= max(0, moved)
                row[number] += moved
                row[instead] -= moved
        if any(row.min() < 0 for row in counts.values()):
            raise ValueError(f"more {answer} than people in a view")


def populations(root):
    """Everything in `populations.json`, from the files below `root`."""
    out = {"made_by": "python tools/populations.py DATA_ROOT", "source": "counted in the public annotation files"}

    def columns(release, splits):
        parts = [release.listing(split) for split in splits]
        table = dict(
            zip(release.schema.names, np.concatenate([part.labels for part in parts]).T.astype(int), strict=True)
        )
        return table, [split for split, part in zip(splits, parts, strict=True) for _ in part.names]

    table, homes = columns(read_release("pa100k", root / "pa100k", images=False), ("train", "val", "test"))
    out["pa100k"] = network(pa100k(table), homes)

    release = read_release("peta", root / "peta", images=False, attributes="105")
    table, _ = columns(release, ("all",))
    names, people = release.listing("all").names, release.listing("all").identity
    rows = loadmat(root / "peta" / "PETA.mat")["peta"][0, 0]["data"]
    table["subset"] = rows[[int(Path(name).stem) - 1 for name in names], 2].astype(int) - 1
    out["peta"] = network(peta(table), ["train"] * len(names), len(set(people)) / len(names))
    subset_of, images = dict(zip(people, table["subset"].tolist(), strict=True)), {}
    for person in people:
        images[person] = images.get(person, 0) + 1
    having = np.zeros((SUBSETS, MOST_IMAGES + 1), int)
    for person, count in images.items():
        having[subset_of[person], min(count, MOST_IMAGES)] += 1
    # subset -> number of people with 1, 2, ... images; trailing zeros cut
    out["peta_people_by_images"] = [np.trim_zeros(row[1:], "b").tolist() for row in having]

    table, homes = columns(read_release("market1501", root / "market1501", images=False), ("trainval", "test"))
    table_homes = ["train" if home == "trainval" else home for home in homes]
    out["market1501"] = network(market1501(table), table_homes)
    return out


if __name__ == "__main__":
    main(__doc__, populations, OUT)
