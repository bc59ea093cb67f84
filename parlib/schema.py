"""What a benchmark's columns mean: attributes in the release's order, codes, exclusive sets, column orders, views."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from parlib.errors import BadInput
from parlib.files import ASSETS, read_yaml, reading

_FOLDER = ASSETS / "schemas"
_LAYOUT = (
    "expected name, attributes: [{name, meaning, group, prompt, codes}], exclusive: [{name, members, exactly_one}], "
    "codes: {yes, no, unknown}"
)
_VIEWED = ("pa100k", "peta", "peta105", "market1501", "rapv2", "rapv2all", "upar")  # have the view `upar`
SCHEMAS = (*_VIEWED, "rapv1", "rapv2zs")
Codes = Mapping[str, Any]  # yes, no, unknown -> what means it in a table: one value or a list of them


@dataclass(frozen=True)
class Attribute:
    """One binary column."""

    name: str  # as in the release or in the table's header
    meaning: str  # what a 1 means, in plain English
    group: str = "other"  # for figures and for averages by group
    prompt: str | None = None  # the phrase for a text encoder, where it is not made from the meaning
    codes: Codes | None = field(default=None, hash=False)  # where they differ from the schema's


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
    """A benchmark's labels asked in other columns."""

    name: str
    source: "Schema"  # that the labels come in
    columns: tuple[Column, ...]
    target: "Schema | None" = None  # binary schema of the result, or None where a column is a multi-way question

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Labels (N, A) int8 in the source schema -> (N, len(columns)) int8.

        A question's value is 0..k-1, k where none of its k answers holds, -1 where that cannot be told. A binary is 1,
        0, or -1 where it is unknown or where the source does not carry it.
        """
        labels = np.asarray(labels, dtype=np.int8)
        if labels.shape[1:] != (len(self.source),):
            wanted = f"(N, {len(self.source)}) of {self.source.name}"
            raise BadInput(f"view {self.name!r} wants labels {wanted}, got {labels.shape}")
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
    """The columns of a label matrix, in order."""

    name: str  # of the benchmark, or of a user's own data
    attributes: tuple[Attribute, ...]
    exclusive: tuple[ExclusiveSet, ...] = ()
    permutations: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)  # see `permutation`
    # View -> names of the exclusive sets that are one multi-way question in it.
    questions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    codes: Codes | None = field(default=None, hash=False)  # where they are not 1, 0 and empty

    def __post_init__(self):
        names = self.names
        if not names:
            raise BadInput(f"schema {self.name!r} has no attributes")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadInput(f"schema {self.name!r} names these attributes twice: {', '.join(twice)}")
        for group in self.exclusive:
            if not group.members:
                raise BadInput(f"schema {self.name!r}: its set {group.name!r} has no members")
            for member in group.members:
                self.index(member)
        for name, order in self.permutations.items():
            if sorted(order) != list(range(len(names))):
                raise BadInput(f"schema {self.name!r}: {name!r} is not a valid permutation of 0..{len(names) - 1}")

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [attribute.name for attribute in self.attributes]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Group -> names of its attributes, in column order."""
        found = dict.fromkeys(one.group for one in self.attributes)
        return {group: [one.name for one in self.attributes if one.group == group] for group in found}

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
        """A named column order in use: `labels[:, schema.permutation("group")]` is in that order."""
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
        return Schema(name, kept, tuple(sets), codes=self.codes)

    def contradictions(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Exclusive set -> (N,) bool, true for each row of `labels` (N, A) that breaks it.

        It breaks it where two of its members are 1, or all members of an exactly-one set 0; unknown (-1) breaks
        nothing. Decisions may be bool.
        """
        broken = {}
        for group in self.exclusive:
            members = np.asarray(labels)[:, [self.index(name) for name in group.members]]
            none_holds = (members == 0).all(1) & group.exactly_one
            broken[group.name] = ((members == 1).sum(1) > 1) | none_holds
        return broken

    def codes_of(self, name: str) -> Codes:
        """How a table writes yes, no and unknown for an attribute; empty where nothing is declared."""
        return self.attributes[self.index(name)].codes or self.codes or {}

    def view(self, name: str) -> View:
        """`"upar"` for the benchmarks; `"12"`, `"27"`, `"30"` for market1501."""
        known = [*self.questions, *(("upar",) if self.name in _VIEWED else ())]
        if name not in known:
            raise BadInput(f"{self.name} has no view {name!r}; it has {', '.join(known) or 'none'}")
        columns = []
        if name == "upar":
            for item in read_yaml(_FOLDER / "upar.yaml", "schema")["attributes"]:
                found = (terms for release, terms in item["from"].items() if self.name.startswith(release))
                terms = [item["name"]] if name == self.name else next(found, [])
                columns.append(Column(item["name"], tuple(t for t in terms if t.lstrip("!?") in self.names)))
            return View(name, self, tuple(columns), schema(name))
        # A set that is one question stands where its first member was.
        sets = {group.members[0]: group for group in self.exclusive if group.name in self.questions[name]}
        others = {member for group in sets.values() for member in group.members[1:]}
        for one in (name for name in self.names if name not in others):
            columns.append(Column(sets[one].name, sets[one].members, True) if one in sets else Column(one, (one,)))
        return View(name, self, tuple(columns), None if sets else self)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for JSON or YAML; `from_dict` reads it back."""
        out = asdict(self)
        out["views"] = out.pop("questions")
        out["attributes"] = [{k: v for k, v in one.items() if k != "codes" or v} for one in out["attributes"]]
        return {key: value for key, value in out.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str | os.PathLike = "this schema") -> "Schema":
        """A schema from `to_dict` or a user's YAML; BadInput names what is missing, unknown or of another kind."""
        if not isinstance(data, Mapping) or not isinstance(data.get("attributes"), list | tuple):
            raise BadInput(f"{where} is no schema: it has no list of attributes; {_LAYOUT}")
        _only(data, ("name", "attributes", "exclusive", "permutations", "views", "codes"), where)
        with reading(where, "schema", _LAYOUT):
            sets = []
            for item in data.get("exclusive") or ():
                _only(item, ("name", "members", "exactly_one"), f"{where}, exclusive")
                members = tuple(_name(member, f"{where}, exclusive") for member in item["members"])
                sets.append(ExclusiveSet(_name(item["name"], where), members, bool(item.get("exactly_one"))))
            orders, views = (data.get(part) or {} for part in ("permutations", "views"))
            return cls(
                _name(data.get("name") or "custom", where),
                tuple(_attribute(item, f"{where}, attribute {i + 1}") for i, item in enumerate(data["attributes"])),
                tuple(sets),
                {str(name): tuple(order) for name, order in orders.items()},
                {str(name): tuple(questions) for name, questions in views.items()},
                _codes(data.get("codes"), where),
            )

    @classmethod
    def from_yaml(cls, path: str | os.PathLike) -> "Schema":
        """A schema from a YAML file laid out as in `parlib/assets/schemas/`."""
        return cls.from_dict(read_yaml(path, "schema"), path)


@cache
def schema(name: str) -> Schema:
    """The schema of a benchmark, of a longer or shorter list of its attributes, or of a view: one of `SCHEMAS`."""
    if name not in SCHEMAS:
        raise BadInput(f"no schema {name!r}; there are {', '.join(SCHEMAS)}, or Schema.from_yaml(path) for your own")
    about = read_yaml(_FOLDER / f"{name}.yaml", "schema")
    if "of" not in about:
        return Schema.from_dict(about, where=name)
    full = schema(about["of"])
    kept = [one for one in full.names[: about["first"]] if one not in about.get("without", ())]
    orders = {order: tuple(columns) for order, columns in about.get("permutations", {}).items()}
    return replace(full.subset(about["name"], kept), permutations=orders)


def _only(item, known, where):
    unknown = [str(key) for key in item if key not in known]
    if unknown:
        raise BadInput(f"{where} is no schema: unknown key {', '.join(unknown)}; known are {', '.join(known)}")


def _name(value, where):
    if type(value) not in (str, int, float) or not str(value).strip():
        hint = 'quote it: "yes", "no"' if isinstance(value, bool) else "give a text"
        raise BadInput(f"{where} is no schema: {value!r} is not a valid name; {hint}")
    return str(value)


def _attribute(item, where):
    item = item if isinstance(item, Mapping) else {"name": item}
    # `from` is the table of a view, read by `Schema.view`.
    _only(item, ("name", "meaning", "group", "prompt", "codes", "from"), where)
    name, texts = _name(item.get("name"), where), {k: item[k] for k in ("meaning", "group", "prompt") if item.get(k)}
    if not all(isinstance(text, str) for text in texts.values()):
        raise BadInput(f"{where} is no schema: meaning, group and prompt of {name} are texts; quote them")
    return Attribute(name, **{"meaning": texts.get("prompt") or name, **texts}, codes=_codes(item.get("codes"), where))


def _codes(declared, where):
    """`codes` of a YAML file; a bare yes or no, which YAML reads as true or false, is a word again."""
    if declared is None:
        return None
    if not isinstance(declared, Mapping):
        raise BadInput(f"{where}: {declared!r} is not a valid code mapping; write codes: {{yes: 2, no: 1, unknown: 0}}")
    codes = {("no", "yes")[key] if isinstance(key, bool) else key: value for key, value in declared.items()}
    _only(codes, ("yes", "no", "unknown"), f"{where}, codes")
    return codes
