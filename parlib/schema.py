"""What a benchmark's columns mean: attributes in the release's order, groups, exclusive sets, column orders, views."""

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from parlib.errors import BadInput
from parlib.files import is_name, must_be, read_yaml

_FOLDER = Path(__file__).parent / "assets" / "schemas"
_SHAPE = {
    **{"name": (is_name,), "permutations": ({str: [int]},), "views": ({str: [str]},)},
    **{"attributes": [object], "exclusive": ([{"name": is_name, "members": [is_name], "exactly_one": (bool,)}],)},
}
_ATTRIBUTE = {"name": is_name, "meaning": (str,), "group": (str,), "prompt": (str,)}
SCHEMAS = ("pa100k", "peta", "peta105", "market1501", "upar-lite")


@dataclass(frozen=True)
class Attribute:
    """One binary column: its name in the release, what a 1 means in plain English, its group, a prompt if given."""

    name: str
    meaning: str
    group: str = "other"
    prompt: str | None = None


@dataclass(frozen=True)
class ExclusiveSet:
    """Attributes of which at most one is 1 in an image, or exactly one."""

    name: str
    members: tuple[str, ...]
    exactly_one: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a view, computed from a schema's binaries.

    `terms` are names of binaries. A question (`question=True`) has the index of the term that is 1 as its value. A
    binary is 1 where any term is; `!name` stands for the opposite, `?name` makes an undecided value unknown.
    """

    name: str
    terms: tuple[str, ...]
    question: bool = False


@dataclass(frozen=True)
class View:
    """A benchmark's labels asked in other columns.

    Attributes:
        source: the schema the labels come in.
        columns: one `Column` for each column of the result.
        target: the binary `Schema` of the result, or None where a column is a multi-way question.
    """

    name: str
    source: "Schema"
    columns: tuple[Column, ...]
    target: "Schema | None" = None

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Labels (N, A) int8 in the source schema -> (N, len(columns)) int8.

        A question's value is 0..k-1, k where none of its k answers holds, -1 where that cannot be told. A binary is 1,
        0, or -1 where it is unknown or where the source does not carry it.
        """
        labels = np.asarray(labels, dtype=np.int8)
        if labels.ndim != 2 or labels.shape[1] != len(self.source):
            raise BadInput(
                f"view {self.name!r} wants labels (N, {len(self.source)}) of {self.source.name}, got {labels.shape}"
            )
        out = np.full((len(labels), len(self.columns)), -1, np.int8)
        for j, column in enumerate(self.columns):
            if column.terms:
                values = np.stack([self._term(labels, term) for term in column.terms], axis=1)
                unknown, hit = (values == -1).any(1), (values == 1).any(1)
                yes = (values == 1).argmax(1) if column.question else 1
                out[:, j] = np.where(hit, yes, np.where(unknown, -1, len(column.terms) if column.question else 0))
        return out

    def _term(self, labels, term):
        values = labels[:, self.source.index(term.lstrip("!?"))]
        if term[0] == "?":
            return np.where(values == 0, 0, -1)
        return np.where(values == -1, -1, 1 - values) if term[0] == "!" else values


@dataclass(frozen=True)
class Schema:
    """The columns of a label matrix, in order.

    Attributes:
        name: of the benchmark, or of a user's own data.
        attributes: one `Attribute` for each column.
        exclusive: sets of which one image has at most, or exactly, one.
        permutations: other column orders in use, by name: `labels[:, schema.permutation("group")]` is in that order.
    """

    name: str
    attributes: tuple[Attribute, ...]
    exclusive: tuple[ExclusiveSet, ...] = ()
    permutations: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    questions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        names = self.names
        if not names:
            raise BadInput(f"schema {self.name!r} has no attributes")
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise BadInput(f"schema {self.name!r} names these attributes twice: {', '.join(twice)}")
        for group in self.exclusive:
            if not group.members:
                raise BadInput(f"schema {self.name!r}: its set {group.name!r} has no members")
            for member in sorted(set(group.members) - set(names)):
                self.index(member)
        for name, order in self.permutations.items():
            if sorted(order) != list(range(len(names))):
                raise BadInput(f"schema {self.name!r}: {name!r} is no permutation of 0..{len(names) - 1}")

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order: list of str."""
        return [attribute.name for attribute in self.attributes]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Group -> names of its attributes, in column order."""
        groups: dict[str, list[str]] = {}
        for attribute in self.attributes:
            groups.setdefault(attribute.group, []).append(attribute.name)
        return groups

    def index(self, name: str) -> int:
        """Column of an attribute; BadInput with the nearest names for an unknown one."""
        names = self.names
        if name not in names:
            lower = {known.lower(): known for known in names}
            near = [lower[word] for word in difflib.get_close_matches(str(name).lower(), lower, n=3)]
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}"
            raise BadInput(f"{self.name} has no attribute {name!r}; {hint}")
        return names.index(name)

    def permutation(self, name: str) -> tuple[int, ...]:
        """A named column order, as a tuple of column indices."""
        if name not in self.permutations:
            raise BadInput(f"{self.name} has no column order {name!r}; it has {', '.join(self.permutations) or 'none'}")
        return self.permutations[name]

    def subset(self, name: str, names: Sequence[str]) -> "Schema":
        """The schema of some of the columns, in the order of `names`; a set that loses a member is not exactly-one."""
        kept = tuple(self.attributes[self.index(n)] for n in names)
        sets = []
        for group in self.exclusive:
            members = tuple(n for n in group.members if n in names)
            if len(members) > 1:
                sets.append(ExclusiveSet(group.name, members, group.exactly_one and members == group.members))
        return Schema(name, kept, tuple(sets))

    def view(self, name: str) -> View:
        """`"upar-lite"` for the three benchmarks; `"12"`, `"27"`, `"30"` for market1501."""
        if name in self.questions:
            return _ask(self, name)
        known = [*self.questions, *(["upar-lite"] if self.name in SCHEMAS[:-1] else [])]
        if name not in known:
            raise BadInput(f"{self.name} has no view {name!r}; it has {', '.join(known) or 'none'}")
        columns = []
        for item in read_yaml(_FOLDER / "upar-lite.yaml", "schema")["attributes"]:
            terms = item["from"].get(self.name.removesuffix("105"), ())
            columns.append(Column(item["name"], tuple(t for t in terms if t.lstrip("!?") in self.names)))
        return View(name, self, tuple(columns), schema("upar-lite"))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for JSON or YAML; `from_dict` reads it back."""
        out = asdict(self)
        out["views"] = out.pop("questions")
        return {key: value for key, value in out.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str | os.PathLike = "this schema") -> "Schema":
        """A schema from `to_dict`, or from a user's YAML; BadInput names what is missing or unknown in it."""
        must_be(data, _SHAPE, f"{where} is no schema")
        try:
            attributes: list[Attribute] = []
            for item in data["attributes"]:
                item = {"name": item} if isinstance(item, str) else {k: v for k, v in item.items() if k != "from"}
                must_be(item, _ATTRIBUTE, f"{where} is no schema, attribute {len(attributes) + 1}")
                item["name"] = str(item["name"])
                attributes.append(Attribute(**{"meaning": item.get("prompt") or item["name"], **item}))
            sets = [{**s, "members": tuple(map(str, s["members"]))} for s in data.get("exclusive") or ()]
            orders, views = (data.get(part) or {} for part in ("permutations", "views"))
            return cls(
                str(data.get("name") or "custom"),
                tuple(attributes),
                tuple(ExclusiveSet(**s) for s in sets),
                {str(name): tuple(order) for name, order in orders.items()},
                {str(name): tuple(questions) for name, questions in views.items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{where} is no schema ({type(error).__name__}: {error}); expected name, attributes: [{{name, meaning, "
                "group, prompt}], exclusive: [{name, members, exactly_one}]"
            ) from error

    @classmethod
    def from_yaml(cls, path: str | os.PathLike) -> "Schema":
        """A schema from a YAML file; the layout is that of `parlib/assets/schemas/`."""
        return cls.from_dict(read_yaml(path, "schema"), where=path)


@cache
def schema(name: str) -> Schema:
    """The schema of a benchmark: `pa100k` (26), `peta` (35), `peta105`, `market1501` (30), `upar-lite` (25)."""
    if name not in SCHEMAS:
        raise BadInput(f"no schema {name!r}; there are {', '.join(SCHEMAS)}, or Schema.from_yaml(path) for your own")
    if name != "peta":
        return Schema.from_yaml(_FOLDER / f"{name}.yaml")
    full = schema("peta105")
    part = full.subset("peta", full.names[:35])
    # Head, upper, lower, feet, carrying, age, gender: the order of many published PETA label files.
    group = (10, 18, 19, 30, 15, 7, 9, 11, 14, 21, 26, 29, 32, 33, 34, 6, 8, 12, 25, 27, 31, 13, 23, 24, 28)
    return Schema("peta", part.attributes, part.exclusive, {"group": (*group, 4, 5, 17, 20, 22, 0, 1, 2, 3, 16)})


def _ask(source, name):
    """A view of `source` in which some exclusive sets are one multi-way question each, where their first member was."""
    sets = {group.members[0]: group for group in source.exclusive if group.name in source.questions[name]}
    inside = {member for group in sets.values() for member in group.members}
    columns = []
    for attribute in source.names:
        if attribute in sets:
            columns.append(Column(sets[attribute].name, sets[attribute].members, question=True))
        elif attribute not in inside:
            columns.append(Column(attribute, (attribute,)))
    return View(name, source, tuple(columns), None if sets else source)
