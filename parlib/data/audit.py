"""What `parlib.measure.audit` is computed from: the labels and identities of a benchmark, from its annotation file."""

import os
from typing import Any

import numpy as np

from parlib.data import market1501
from parlib.data.release import read_release
from parlib.errors import BadInput


def audit_arrays(benchmark: str, root: str | os.PathLike) -> dict[str, Any]:
    """Keyword arguments of `audit` for `pa100k`, `peta` or `market1501` below `root`; no image is opened.

    For Market-1501 a row is a person: the images of a person are known from file names alone.
    """
    if benchmark == "market1501":
        source = market1501._find(root)[0]
        halves = {half: market1501._people(source, half) for half in ("train", "test")}
        ids = {half: list(people) for half, people in halves.items()}
        labels = np.array([row for people in halves.values() for row in people.values()])
        people, cut = ids["train"] + ids["test"], len(ids["train"])
        rows = [(np.arange(cut), np.arange(cut, len(people)))]
        return {"benchmark": benchmark, "labels": labels, "partitions": rows, "identities": people, "image_index": ids}
    if benchmark == "pa100k":
        release = read_release(benchmark, root, images=False)
        train, test = release.listing("trainval"), release.listing("test")
        labels = np.concatenate([train.labels, test.labels])
        rows = [(np.arange(len(train.names)), np.arange(len(train.names), len(labels)))]
        return {"benchmark": benchmark, "labels": labels, "partitions": rows}
    if benchmark != "peta":
        raise BadInput(f"no audit of {benchmark!r}; there are pa100k, peta, market1501")
    releases = [read_release(benchmark, root, images=False, partition=i, attributes="105") for i in range(5)]
    whole = releases[0].listing("all")
    place = {name: row for row, name in enumerate(whole.names)}
    lists = [[release.listing(split).names for split in ("trainval", "test")] for release in releases]
    partitions = [tuple(np.array([place[name] for name in names]) for names in both) for both in lists]
    return {"benchmark": benchmark, "labels": whole.labels, "partitions": partitions, "identities": whole.identity}
