"""Which records stand in one row of a table, what tells rows apart, and the rows that others printed."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from parlib.files import ASSETS, digest, read_yaml
from parlib.measure.records import comparison

# In a setting, but not set.
_OUTCOMES = ("seed", "cell", "ablation", "best_epoch", "calibrated", "k", "notes", "temperature")
_OF_ENCODER = ("weights", "identity", "revision", "layer")
_PRINTED = read_yaml(ASSETS / "published.yaml", "published numbers")  # by others; it tells their sources
VLM_PAR_CLAIM: dict[str, float] = _PRINTED["claim"]["printed"]  # benchmark -> percent, printed as "mA"


@dataclass(frozen=True)
class Group:
    """Records that differ in nothing but the seed, and the texts of their row.

    Where rows would read alike, brackets say in what they differ.
    """

    method: str
    name: str  # the method with the head's preset, and options
    data: str  # kind, partition and number of images, and hashes of their list and labels
    backbone: str  # encoder, and parts of its identity
    records: list[dict[str, Any]]

    @property
    def comparable(self) -> str:
        """Code of what makes rows comparable (`parlib.measure.records.comparison`): compare those of one code."""
        return digest(sorted({digest(comparison(record)) for record in self.records}))[:6]


def grouped(records: Sequence[dict[str, Any]]) -> list[Group]:
    """One `Group` for each setting and each list of images.

    A rendered tree is drawn by the seed, so trees of several seeds are one group, unless one seed has several trees.
    """
    if not records:
        return []
    flat = pd.DataFrame([_shared(record) for record in records]).fillna("none")
    tree, rendered = flat["list"] + flat["labels"], flat["kind"] == "rendered"
    seeds = pd.Series([record["setting"].get("seed") for record in records], dtype=float)
    if (tree[rendered].groupby([seeds, flat["benchmark"], flat["partition"], flat["images"]]).nunique() < 2).all():
        flat.loc[rendered, ["list", "labels"]] = ""
    places = flat.groupby(list(flat), sort=False).groups
    rows = pd.DataFrame(list(places), columns=flat.columns)
    trees = [sorted(set(tree[place])) for place in places.values()]
    rows["list"] = rows["list"].where(rows["list"] != "", ["".join(each) for each in trees])
    count = ["" if len(each) == 1 else f"{len(each)} trees of " for each in trees]
    of_encoder = [name for name in rows if name.split(".")[0] in _OF_ENCODER]
    elsewhere = {"method", "kind", "images", "list", "labels", "partition", "encoder", "head.preset", *of_encoder}
    options = rows[[name for name in rows if name not in elsewhere]]
    names = _marked(rows["method"], options, rows["head.preset"])
    partition = (", " + rows["partition"]).where(~rows["partition"].isin(["none", "0"]), "")
    images = rows["kind"] + partition + ", " + count + rows["images"] + " images"
    data = _marked(images, rows[["partition", "list", "labels"]])
    backbones = _marked(rows["encoder"], rows[of_encoder])
    members = [[records[i] for i in place] for place in places.values()]
    return [Group(*row) for row in zip(rows["method"], names, data, backbones, members, strict=True)]


def kind_of(record: dict[str, Any]) -> str:
    """What the tree of a record is: `official`, `rendered`, `other`, or `own` for a user's own folder."""
    return "own" if record["data"]["benchmark"] == "folder" else record["data"]["kind"]


def _shared(record):
    """All that the scores of a record depend on but the seed, as flat text."""
    data, setting = record["data"], record["setting"]
    needed = dict.fromkeys(("encoder", "weights", "head.preset"))
    about = {
        **{name: data.get(name) for name in ("benchmark", "split", "view", "partition")},
        "method": record["method"],
        "kind": kind_of(record),
        "images": f"{data['images']:,}",
        "list": data.get("items_sha256"),
        "labels": data.get("labels_sha256"),
        "protocol": record["protocol"],
    }
    chosen = {name: value for name, value in setting.items() if name not in _OUTCOMES}
    nested = pd.json_normalize({**needed, **chosen, **about}).iloc[0]  # {"head": {"width": 64}} is "head.width": 64
    flat = {name: "none" if value is None else str(value) for name, value in nested.items()}
    for part, name, default in (("head", "head.words", "own"), ("trained_on", "trained_on.split", "train")):
        if setting.get(part):
            flat.setdefault(name, default)  # what a record leaves out
    return flat


def _marked(words, columns, first=None):
    """Words, and in brackets `first` and the columns in which rows with the same words, and `first`, differ: one text
    per row."""
    alike = [words.to_numpy()] if first is None else [words.to_numpy(), first.to_numpy()]
    several = columns.groupby(alike).transform("nunique") > 1
    texts = []
    for i, word in words.items():
        values = [(name.split(".")[-1], columns.at[i, name]) for name in columns if several.at[i, name]]
        notes = [f"{name} {value if len(value) < 30 else digest(value)[:6]}" for name, value in values]
        if first is not None and first[i] != "none":
            notes.insert(0, first[i])
        texts.append(f"{word} ({', '.join(dict.fromkeys(notes))})" if notes else word)
    return texts


def by_method(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Method, with the preset of a head -> its records."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        preset = (record["setting"].get("head") or {}).get("preset")
        found.setdefault(" ".join(filter(None, (record["method"], preset))), []).append(record)
    return found


def published(benchmark: str) -> list[dict[str, Any]]:
    """Rows of one benchmark: dicts of method, venue, backbone, list, scores (name -> percent), protocol, caveat.

    `scores` holds what was printed and nothing else; `protocol` is "not stated" where no code says it; `list` names the
    published index (PETA_ZS, RAP_ZS) that divides the images by person, or is "" for the benchmark's own partition.
    """
    rows = []
    lists = _PRINTED["lists"].get(benchmark, {benchmark: ""})
    for entry, (key, name) in itertools.product(_PRINTED["methods"], lists.items()):
        printed = zip(_PRINTED["columns"], entry.get(key, []), strict=False)
        scores = {column: value for column, value in printed if value != "-"}
        if scores:
            rows.append({"protocol": "not stated", "caveat": "", **entry, "list": name, "scores": scores})
    if benchmark in VLM_PAR_CLAIM:
        caveat = f'printed as "mA" {VLM_PAR_CLAIM[benchmark]}; {_PRINTED["claim"]["caveat"]}'
        rows.append({**_PRINTED["claim"], "protocol": "not stated", "caveat": caveat, "list": "", "scores": {}})
    return rows
