"""A benchmark by its labels: who has what, together with what, and what they look like."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from datasets import Dataset

from parlib.data import labels_of
from parlib.errors import BadInput
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, heat, picture, row, text

_PAGE = 16  # pictures


class DatasetExplorer(Explorer):
    """Controls `has`, `lacks`, `unknown`, `split`, `identity`, `page`; views `counts`, `together`, `pictures`.

    Args:
        datasets: split -> `Dataset` of `load_benchmark` (with or without images).
        schema: `Schema` of their labels.
    """

    def __init__(self, datasets: Mapping[str, Dataset], schema: Schema):
        self.datasets, self.schema = datasets, schema
        self.labels = np.concatenate([labels_of(part) for part in datasets.values()])
        self.splits = np.repeat(list(datasets), [len(part) for part in datasets.values()])  # (n,)
        self.rows_in_split = np.concatenate([np.arange(len(part)) for part in datasets.values()])  # (n,)
        self.identities = None
        if all("identity" in part.column_names for part in datasets.values()):
            self.identities = np.concatenate([np.asarray(part["identity"][:], str) for part in datasets.values()])
        self.columns = np.asfortranarray(self.labels)  # a filter reads few columns of many rows
        self.ones = (self.labels == 1).astype(np.float32)
        self.share = self.ones.mean(0)
        self.has, self.lacks, self.unknown = (
            control(widgets.SelectMultiple, words, options=schema.names, rows=6, layout={"width": "270px"})
            for words in ("Has", "Has not", "Unknown")
        )
        self.split = control(widgets.Dropdown, "Split", options=["all", *datasets])
        self.identity = control(widgets.Text, "Identity", placeholder="any", disabled=self.identities is None)
        self.page = control(widgets.BoundedIntText, "Page", min=1, max=1)
        self.counts, self.together, self.pictures = (widgets.HTML() for _ in range(3))
        self.counts.layout = {"flex": "1 1 340px", "min_width": "300px"}
        filters = row(self.has, self.lacks, self.unknown, widgets.VBox([self.split, self.identity, self.page]))
        super().__init__(filters, self.pictures, row(self.counts, self.together))
        self.answer(self._filter, self.has, self.lacks, self.unknown, self.split, self.identity)
        self.answer(self._turn, self.page)

    def _filter(self):
        keep = np.ones(len(self.labels), bool)
        for chosen, value in ((self.has, 1), (self.lacks, 0), (self.unknown, -1)):
            for name in chosen.value:
                keep &= self.columns[:, self.schema.index(name)] == value
        if self.split.value != "all":
            keep &= self.splits == self.split.value
        if self.identity.value.strip():
            keep &= self.identities == self.identity.value.strip()
        self.rows = np.flatnonzero(keep)
        self.page.max = max(1, -(-len(self.rows) // _PAGE))
        self.page.value = 1
        self._turn()
        if not len(self.rows):
            self.counts.value = self.together.value = ""
            raise BadInput("No image fits this filter: deselect something (Ctrl + click), or clear the identity.")
        ones = self.ones if keep.all() else self.ones[self.rows]
        both, n = ones.T @ ones, len(self.rows)  # (A, A) images that have two attributes
        count = both.diagonal()
        people = "" if self.identities is None else f", {len(np.unique(self.identities[self.rows])):,} identities"
        self.counts.value = (
            f"<b>{n:,} of {len(self.labels):,} images{people}</b><br><small>Bar: share of them with the attribute; "
            f"tick: share of all images; number: images</small><table class='bars'>"
            + "".join(self._bar(a, count[a], n) for a in np.argsort(-count))
            + "</table>"
        )
        matrix = np.divide(both, count[:, None], out=np.full_like(both, np.nan), where=count[:, None] > 0)
        caption = (
            "Of the images with the row's attribute, the share (%) that also has the column's; grey: no such image"
        )
        self.together.value = heat(matrix, self.schema.names, caption)

    def _bar(self, a, count, n):
        name = text(self.schema.names[a])
        style = f"--value: {100 * count / n:.1f}%; --tick: {100 * self.share[a]:.1f}%"
        return f'<tr><th title="{name}">{name}</th><td><i style="{style}"></i></td><td>{count:,.0f}</td></tr>'

    def _turn(self):
        start = (self.page.value - 1) * _PAGE
        pictures = []
        for i in self.rows[start : start + _PAGE]:
            split = str(self.splits[i])
            item = self.datasets[split][int(self.rows_in_split[i])]
            if "image" in item:
                pictures.append(picture(item["image"], f"{split} {item['image_id']}"))
        self.pictures.value = (
            f'<div class="flow">{"".join(pictures)}</div><small>Page {self.page.value} of {self.page.max}</small>'
        )
