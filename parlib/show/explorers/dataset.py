"""A benchmark by its labels: who has what, together with what, and what they look like."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from datasets import Dataset

from parlib.data import labels_of
from parlib.errors import BadInput
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, bars, control, heat, picture, row

_PAGE = 16


class DatasetExplorer(Explorer):
    """Controls `has`, `lacks`, `unknown`, `split`, `identity`, `page`; views `counts`, `together`, `pictures`.

    Args:
        datasets: split -> `Dataset` of `load_benchmark` (with or without images).
        schema: `Schema` of their labels.
    """

    def __init__(self, datasets: Mapping[str, Dataset], schema: Schema):
        self.datasets, self.schema = datasets, schema
        self.labels = np.concatenate([labels_of(part) for part in datasets.values()])
        self.starts = np.cumsum([0, *(len(part) for part in datasets.values())])
        self.identities = None
        if all("identity" in part.column_names for part in datasets.values()):
            self.identities = np.concatenate([np.asarray(part["identity"][:], str) for part in datasets.values()])
        self.columns = np.asfortranarray(self.labels)  # a filter reads few columns of many rows
        self.ones = (self.labels == 1).astype(np.float32)
        self.has, self.lacks, self.unknown = (
            control(widgets.SelectMultiple, words, options=schema.names, rows=6, layout={"width": "270px"})
            for words in ("Has", "Has not", "Unknown")
        )
        self.split = control(widgets.Dropdown, "Split", options=["all", *datasets])
        self.identity = control(widgets.Text, "Identity", placeholder="any", disabled=self.identities is None)
        self.page = control(widgets.BoundedIntText, "Page", min=1, max=1)
        self.counts, self.together, self.pictures = (widgets.HTML() for _ in range(3))
        self.counts.layout = {"flex": "1 1 340px", "min_width": "300px"}
        super().__init__(
            row(self.has, self.lacks, self.unknown, widgets.VBox([self.split, self.identity, self.page])),
            self.pictures,
            row(self.counts, self.together),
        )
        self.answer(self._filter, self.has, self.lacks, self.unknown, self.split, self.identity)
        self.answer(self._turn, self.page)

    def _filter(self):
        keep = np.ones(len(self.labels), bool)
        for chosen, value in ((self.has, 1), (self.lacks, 0), (self.unknown, -1)):
            for name in chosen.value:
                keep &= self.columns[:, self.schema.index(name)] == value
        if self.split.value != "all":
            i = list(self.datasets).index(self.split.value)
            keep[: self.starts[i]] = keep[self.starts[i + 1] :] = False
        if self.identity.value.strip():
            keep &= self.identities == self.identity.value.strip()
        self.rows = np.flatnonzero(keep)
        self.page.max = max(1, -(-len(self.rows) // _PAGE))
        self.page.value = 1
        self._turn()
        if not len(self.rows):
            self.counts.value = self.together.value = ""
            raise BadInput("No image fits this filter: deselect something (Ctrl + click), or clear the identity.")
        ones = self.ones if len(self.rows) == len(self.labels) else self.ones[self.rows]
        both, n = ones.T @ ones, len(self.rows)
        share, everywhere = both.diagonal() / n, self.ones.mean(0)
        order = np.argsort(-share)
        people = "" if self.identities is None else f", {len(np.unique(self.identities[self.rows])):,} identities"
        self.counts.value = (
            f"<b>{n:,} of {len(self.labels):,} images{people}</b><br><small>Share of them that have each attribute; "
            f"tick: share of all images; number: images</small>"
            + bars((self.schema.names[a], share[a], f"{both[a, a]:,.0f}", everywhere[a]) for a in order)
        )
        own = both.diagonal()[:, None]
        matrix = np.divide(both, own, out=np.full_like(both, np.nan), where=own > 0)
        told = "Of the images with the row's attribute, the share that also has the column's"
        self.together.value = heat(matrix, self.schema.names, f"{told}: dark none, bright all, grey no such image")

    def _turn(self):
        start = (self.page.value - 1) * _PAGE
        made = []
        for at in self.rows[start : start + _PAGE]:
            part = int(np.searchsorted(self.starts, at, side="right")) - 1
            split = list(self.datasets)[part]
            item = self.datasets[split][int(at - self.starts[part])]
            if "image" in item:
                made.append(picture(item["image"], f"{split} {item['image_id']}"))
        self.pictures.value = (
            f'<div class="flow">{"".join(made)}</div><small>Page {self.page.value} of {self.page.max}</small>'
        )
