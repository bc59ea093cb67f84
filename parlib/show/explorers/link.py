"""Links between explorers: a picture opens in one image, a bar or group in the data, errors on the map."""

from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import ipywidgets as widgets
import numpy as np

from parlib.errors import BadInput
from parlib.show.explorers.attribute import AttributeExplorer
from parlib.show.explorers.dataset import DatasetExplorer
from parlib.show.explorers.error import ErrorExplorer
from parlib.show.explorers.map import MapExplorer
from parlib.show.explorers.panel import Explorer


def link(
    explorers: Iterable[Explorer],
    parts: Mapping[str, datasets.Dataset],
    labels: Mapping[str, np.ndarray] | None = None,
    tab: widgets.Tab | None = None,
) -> None:
    """Let what is pressed in one explorer open in another.

    Args:
        explorers: at most one of a class.
        parts: split -> `Dataset` with images.
        labels: split -> (n, A) in the columns of the `AttributeExplorer`; of splits it lacks no truth is shown.
        tab: shows the explorer that something was opened in, if it is among its children.
    """
    found: dict[type, Any] = {type(each): each for each in explorers}

    def show(kind):
        if tab is not None and found[kind] in tab.children:
            tab.selected_index = tab.children.index(found[kind])

    def image(split, i, attribute=None):
        one, i = found[AttributeExplorer], int(i)
        if attribute in one.schema.names:
            one.attribute.value = attribute
        if parts[split] is one.dataset:
            one.show(i)
        else:
            item = parts[split][i]
            one.set_image(item["image"], labels[split][i] if labels and split in labels else None, item["image_id"])
        show(AttributeExplorer)

    def has(name):
        data = found[DatasetExplorer]
        if name not in data.schema.names:
            raise BadInput(f"{name} is no attribute of the data.")
        data.split.value, data.identity.value, data.lacks.value, data.unknown.value = "all", "", (), ()
        data.has.value = (name,)
        show(DatasetExplorer)

    def errors():
        wrong, table = found[ErrorExplorer], found[MapExplorer].table
        here = (table["split"] == wrong.split) & table["row"].isin(wrong.errors())
        found[MapExplorer].attribute.value = wrong.attribute.value
        found[MapExplorer].select(np.flatnonzero(here))
        show(MapExplorer)

    for each in found.values():
        if AttributeExplorer in found:
            each.links["image"] = image
        if DatasetExplorer in found:
            each.links["has"] = has
        if MapExplorer in found:
            each.links |= {"errors": errors, "map": lambda: show(MapExplorer)}
