"""A benchmark by its labels: who has what, together with what, and what they look like."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
import pandas as pd
from datasets import Dataset

from parlib.data import labels_of
from parlib.errors import BadInput
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, chips, control, crop, heat, part_of, row, table_of
from parlib.show.figures.style import BLUE

_PAGE = 24  # pictures


class DatasetExplorer(Explorer):
    """Controls `has`, `lacks`, `unknown`, `split`, `identity`, `page`; views `counts`, `together`, `pictures`.

    On the page an attribute is a button in `counts`, which puts it into the next of `has`, `lacks` and `unknown`.

    Args:
        datasets: split -> `Dataset` of `load_benchmark` (with or without images).
        schema: `Schema` of their labels.
    """

    def __init__(self, datasets: Mapping[str, Dataset], schema: Schema):
        self.datasets, self.schema, self.table = datasets, schema, table_of(datasets)
        self.labels = np.concatenate([labels_of(part) for part in datasets.values()])
        self.identities = self.table["identity"].to_numpy(str) if "identity" in self.table else None
        self.columns = np.asfortranarray(self.labels)  # a filter reads few columns of many rows
        self.ones = (self.labels == 1).astype(np.float32)
        self.share = self.ones.mean(0)
        self.has, self.lacks, self.unknown = (
            control(widgets.SelectMultiple, words, options=schema.names) for words in ("Has", "Has not", "Unknown")
        )
        self.split = control(widgets.Dropdown, "Split", options=["all", *datasets])
        self.identity = control(widgets.Text, "Identity", placeholder="any", disabled=self.identities is None)
        self.page = control(widgets.BoundedIntText, "Page", min=1, max=1)
        self.counts, self.together, self.pictures = (widgets.HTML() for _ in range(3))
        self.counts.layout = {"flex": "0 1 410px", "min_width": "300px"}
        self.pictures.layout = {"flex": "1 1 280px", "min_width": "0"}
        filters = row(self.split, self.identity, self.page, *self.steps(self.page))
        super().__init__(filters, row(self.counts, self.pictures), self.together)
        self.links["filter"] = self._press
        self.answer(self._filter, self.has, self.lacks, self.unknown, self.split, self.identity)
        self.answer(self._turn, self.page)

    def _press(self, name):
        """The next of: any, has, has not, unknown (where it is unknown of some image)."""
        a, chosen = self.schema.index(name), (self.has, self.lacks, self.unknown)
        states = chosen if (self.columns[:, a] < 0).any() else chosen[:2]
        now = next((i for i, state in enumerate(states) if name in state.value), -1)
        if now >= 0:
            states[now].value = tuple(each for each in states[now].value if each != name)
        if now + 1 < len(states):
            states[now + 1].value += (name,)

    def _filter(self):
        keep = np.ones(len(self.labels), bool)
        for chosen, value in ((self.has, 1), (self.lacks, 0), (self.unknown, -1)):
            for name in chosen.value:
                keep &= self.columns[:, self.schema.index(name)] == value
        if self.split.value != "all":
            keep &= (self.table["split"] == self.split.value).to_numpy()
        if self.identity.value.strip():
            keep &= self.identities == self.identity.value.strip()
        self.rows = np.flatnonzero(keep)
        self.page.value = 1
        self._turn()
        ones = self.ones if keep.all() else self.ones[self.rows]
        both, n = ones.T @ ones, len(self.rows)  # (A, A) images that have two attributes
        people = "" if self.identities is None else f", {len(np.unique(self.identities[self.rows])):,} identities"
        states = {"● ": self.has, "○ ": self.lacks, "? ": self.unknown}
        shown = []
        for name, count, share in zip(self.schema.names, both.diagonal(), self.share, strict=True):
            mark = "".join(sign for sign, each in states.items() if name in each.value)
            shown.append((mark + name, f"{count:,.0f}", count / max(1, n), share, bool(mark), BLUE))
        unknown = ", of which it is unknown (?)" if (self.labels < 0).any() else ""
        self.counts.value = (
            f"<b>{n:,} of {len(self.labels):,} images{people}</b><br><small>Bar: share of them with the attribute; "
            "tick: share of all images; number: images. Press an attribute to keep those that have it (●), that have "
            f"it not (○){unknown}, or all.</small>{chips('filter', self.schema, shown)}"
        )
        if not n:
            self.together.value = ""
            raise BadInput("No image fits this filter: press what is marked until it is not, or clear the identity.")
        shares = pd.DataFrame(both, columns=self.schema.names) / both.diagonal()[:, None]  # nan where 0 / 0
        self.together.value = heat(
            shares,
            "Of the images with the row's attribute, the share (%) that also has the column's; grey: no such image",
        )

    def _turn(self):
        found = part_of(self.page, self.rows, _PAGE)
        seen = found if all("image" in part.column_names for part in self.datasets.values()) else ()
        self.pictures.value = (
            f'<small>Page {self.page.value} of {self.page.max}</small><div class="flow">'
            f"{''.join(crop(self.datasets, self.table, place) for place in seen)}</div>"
        )
