"""The official file layouts: which picture shows whom and where it is stored; `annotations.py` writes their labels.

A plan is a list of `Shot`s in the order they are rendered; it is made from the sizes and the seed alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from parlib.data.partition import disjoint
from parlib.errors import BadInput
from parlib.schema import schema
from pedsynth.labels import READERS, labels
from pedsynth.population import camera_shares, people_by_images, sample_person, sample_view

# benchmark -> smallest number of images per split, if not 1
LAYOUTS = {"pa100k": {}, "peta": {}, "market1501": {"train": 3}, "rapv1": {}, "rapv2": {}}
SPLITS = ("train", "val", "test")
MARKET_PEOPLE = {"trainval": 751, "test": 750}  # identities of the release
MARKET_VAL_PEOPLE = 100  # that its loader takes from the training half as val
_MINIMUM, _LARGE = 4, 200  # at least 4 positives per attribute in splits of at least 200 images
_TRIES = 4000  # people drawn to find one who has an attribute
_MOST_IMAGES = 8  # per person of PETA in a tree below the official size, so that it has enough people
_JUNK = 20  # one image of each kind per 20 test images


@dataclass
class Shot:
    """One picture. `who` counts identities from 0; `split` is None if no loader reads it; `camera` wraps around."""

    path: str
    who: int
    split: str | None
    camera: int


class Plan:
    """`people`, one per identity, and `shots` of them in the order of the release.

    Args:
        benchmark: whose layout it has.
        sizes: split -> images.
        domain: whose people are imitated.
        seed: of everything.
    """

    def __init__(self, benchmark, sizes, domain, seed):
        self.benchmark, self.sizes, self.domain, self.seed = benchmark, sizes, domain, seed
        self.people, self.shots, self.decks, self.nobody = [], [], {}, set()
        layouts = {"pa100k": self._pa100k, "peta": self._peta, "market1501": self._market1501}
        layouts.get(benchmark, self._rap)()
        self._ensure_positives()

    def rng(self, *purpose):
        """A generator for one purpose, independent of what is drawn for others."""
        return np.random.default_rng([self.seed, *purpose])

    def _add(self, split, number, camera=None):
        """Add an identity. Each split has its own generators and decks, so other splits' sizes do not change it."""
        rng = self.rng(SPLITS.index(split), number)
        self.people.append(sample_person(rng, self.domain, split, camera, self.decks.setdefault(split, {})))
        return len(self.people) - 1

    def person(self, number):
        """The `Person` of a shot; people with several shots are seen from a side drawn for each."""
        person = self.people[self.shots[number].who]
        return person if self.benchmark == "pa100k" else sample_view(self.rng(8, number), person)

    def _pa100k(self):
        """One person per image; cameras take turns, or are drawn by the shares of PETA's sub-datasets."""
        shares = camera_shares(self.domain)
        for number, split in enumerate(SPLITS):
            for i in range(self.sizes[split]):
                camera = int(self.rng(7, number, i).choice(10, p=np.divide(shares, sum(shares)))) if shares else i
                who = self._add(split, i, camera)
                self.shots.append(Shot(f"data/{len(self.shots) + 1:06d}.jpg", who, split, camera))

    def _peta(self):
        """Sub-datasets with the release's shares of images and of people with one, two, ... images; five partitions."""
        total, shares = sum(self.sizes.values()), np.array(camera_shares("peta"))
        ends = np.rint(np.cumsum(shares) * total / shares.sum()).astype(int)
        most = _MOST_IMAGES if total < shares.sum() else None
        rng, row, self.rows = self.rng(3), 0, []
        for subset, end in enumerate(ends):
            people = np.array(people_by_images()[subset][:most], float)
            if most:
                people[-1] += sum(people_by_images()[subset][most:])
            within = 0
            while row < end:
                images = min(1 + int(rng.choice(len(people), p=people / people.sum())), end - row)
                who, within = self._add("train", len(self.people), subset), within + 1
                for _ in range(images):
                    row += 1
                    self.shots.append(Shot(f"images/{row:05d}.png", who, None, subset))
                    self.rows.append((row, who + 1, subset + 1, within))
        self._random_partitions(total)
        for split, images in self.partitions[0].items():
            for image in images:
                self.shots[image - 1].split = split

    def _random_partitions(self, total):
        """Five, each split -> image numbers from 1."""
        self.partitions = []
        for number in range(5):
            order, start, part = self.rng(4, number).permutation(total) + 1, 0, {}
            for split in SPLITS:
                part[split] = np.sort(order[start : start + self.sizes[split]])
                start += self.sizes[split]
            self.partitions.append(part)

    def _rap(self):
        """Images of people in turn, two of each and of every third one more; names as in the release."""
        total = sum(self.sizes.values())
        while len(self.shots) < total:
            who = self._add("train", len(self.people))
            for _ in range(min(2 + (who % 3 == 2), total - len(self.shots))):
                number = len(self.shots)
                place = f"CAM{number % 25 + 1:02d}-2014-02-{number % 28 + 1:02d}"
                path = f"RAP_dataset/{place}-20140215124716-20140215125330-tarid{who}-frame{number}-line1.png"
                self.shots.append(Shot(path, who, None, number % 25))
        self._random_partitions(total)
        for split, images in self.partitions[0].items():
            for image in images:
                self.shots[image - 1].split = split

    def _market1501(self):
        """People of the two halves with interleaved identities; val has those whom the loader picks with seed 0."""
        train, val, test = (self.sizes[split] for split in SPLITS)
        halves = {
            "train": max(4, min(MARKET_PEOPLE["trainval"], (train + val) // 4, 4 * val + 3, train)),
            "test": max(1, min(MARKET_PEOPLE["test"], test // 4)),
        }
        ids = self.rng(5).permutation(sum(halves.values())) + 1
        self.halves, rng = {}, self.rng(6)
        for half, count in halves.items():
            mine = [f"{i:04d}" for i in sorted(ids[:count] if half == "train" else ids[-count:])]
            self.halves[half] = mine
        mine = self.halves["train"]
        chosen = disjoint(mine, {"val": min(MARKET_VAL_PEOPLE, len(mine) // 4), "train": 0}, 0)
        groups = {split: [mine[i] for i in rows] for split, rows in chosen.items()} | {"test": self.halves["test"]}
        self.who = {}
        for split in SPLITS:
            people = groups[split]
            for number, name in enumerate(people):
                self.who[name] = self._add("test" if split == "test" else "train", number + 100_000 * (split == "val"))
            each = max(1, self.sizes[split] // (2 * len(people)))  # half are spread evenly, half at random
            more = rng.multinomial(self.sizes[split] - each * len(people), np.full(len(people), 1 / len(people)))
            for name, images in zip(people, each + more, strict=True):
                self._market_shots(name, self.who[name], images, split, rng)
        for name in ("-1", "0000"):  # junk detections and distractors, which loaders leave out
            for i in range(-(-test // _JUNK)):
                self._market_shots(name, self._add("test", 200_000 + len(self.people) + i), 1, None, rng)

    def _market_shots(self, name, who, images, split, rng):
        folder = "bounding_box_train" if split in ("train", "val") else "bounding_box_test"
        for i in range(images):
            camera, sequence = int(rng.integers(6)), int(rng.integers(1, 4))
            frame = 1000 * len(self.shots) % 990_000 + int(rng.integers(1, 999))
            path = f"{folder}/{name}_c{camera + 1}s{sequence}_{frame:06d}_{i % 99 + 1:02d}.jpg"
            self.shots.append(Shot(path, who, split, camera))

    def table(self, benchmark=None):
        """(identities, attributes) int8 labels."""
        return np.array([list(labels(person, benchmark or self.benchmark).values()) for person in self.people], np.int8)

    def _ensure_positives(self):
        """Give every attribute its minimum in each large split: people seen only there are drawn again."""
        homes: list[set[str]] = [set() for _ in self.people]
        for shot in self.shots:
            homes[shot.who].add(shot.split)
        for number, split in enumerate(SPLITS):
            if self.sizes[split] < _LARGE:
                continue
            images = np.bincount([shot.who for shot in self.shots if shot.split == split], minlength=len(self.people))
            free = [who for who, home in enumerate(homes) if home == {split}]
            names, rng, table = schema(self.benchmark).names, self.rng(number, 1_000_000_007), self.table()
            blank = [i for i, name in enumerate(names) if name not in READERS[self.benchmark](self.people[0])]
            while free:
                positives = images @ table
                positives[blank] = _MINIMUM
                short = [column for column in np.argsort(positives) if positives[column] < _MINIMUM]
                if not short:
                    break
                for column in short[:1]:  # replace nobody whom another attribute needs
                    left = {who: (positives - images[who] * table[who])[table[who] == 1] for who in reversed(free)}
                    who = next((who for who, rest in left.items() if rest.min() >= _MINIMUM), free[-1])
                    free.remove(who)
                    self.people[who] = self._with(rng, names[column], split)
                    table[who] = list(labels(self.people[who], self.benchmark).values())

    def _with(self, rng, name, split):
        """A person of the domain who has an attribute; if the domain has none, one of the broad mix."""
        for domain, home in ((self.domain, split), (self.domain, "train"), ("mixed", "train")):
            for _ in range(0 if (domain, home, name) in self.nobody else _TRIES):
                person = sample_person(rng, domain, home)
                if labels(person, self.benchmark)[name]:
                    return person
            self.nobody.add((domain, home, name))
        raise BadInput(f"nobody has {name}: it cannot be rendered")

    def facts(self):
        """Facts about the tree for `rendered.json`."""
        about: dict[str, Any] = {"identities": len({shot.who for shot in self.shots if shot.split})}
        columns = {"peta": "peta105", "rapv1": "rapv1", "rapv2": "rapv2all"}.get(self.benchmark)
        if columns:
            known = READERS[columns](self.people[0])
            about["never_1"] = [name for name in schema(columns).names if name not in known]
            used = len(set(schema(self.benchmark).names) & set(about["never_1"]))
            about["never_1_because"] = f"not drawn; {used or 'none'} of them among the attributes in use"
        return about
