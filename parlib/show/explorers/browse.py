"""Pictures page by page: a benchmark by its labels, and the wrong answers a model was surest of."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from PIL import Image
from scipy.stats import binomtest

from parlib.data import labels_of
from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.learn.head import VLMPARHead
from parlib.measure.subgroups import LEAST, compare, readable
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, chips, control, crop, heat, listed, overlay, paged, picture, row, text
from parlib.show.figures.style import BLUE

_PAGE = 24  # pictures of the data, and half as many errors
_ORDERS = ["surest first", "least certain first"]


class DatasetExplorer(Explorer):
    """Controls `has`, `lacks`, `unknown`, `split`, `identity`, `page`; views `counts`, `together`, `pictures`.

    On the page an attribute is a button in `counts`, which puts it into the next of `has`, `lacks` and `unknown`.

    Args:
        datasets: split -> `Dataset` of `load_benchmark` (with or without images).
        schema: `Schema` of their labels.
    """

    def __init__(self, datasets: Mapping[str, Dataset], schema: Schema):
        self.datasets, self.schema, self.table = datasets, schema, listed(datasets)
        self.labels = np.concatenate([labels_of(part) for part in datasets.values()])
        known = all("identity" in part.column_names for part in datasets.values())
        self.identities = self.table["identity"].to_numpy(str) if known else None
        self.columns = np.asfortranarray(self.labels)  # a filter reads few columns of many rows
        self.ones = (self.labels == 1).astype(np.float32)
        self.share = self.ones.mean(0)
        self.has, self.lacks, self.unknown = (
            control(widgets.SelectMultiple, words, options=schema.names) for words in ("Has", "Has not", "Unknown")
        )
        self.split = control(widgets.Dropdown, "Split", options=["all", *datasets])
        self.identity = control(widgets.Text, "Identity", placeholder="any", disabled=self.identities is None)
        self.page = control(widgets.BoundedIntText, "Page", min=1, max=1)
        self.counts = widgets.HTML(layout={"flex": "0 1 410px", "min_width": "300px"})
        self.together, self.pictures = widgets.HTML(), widgets.HTML(layout={"flex": "1 1 300px", "min_width": "0"})
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
        found = paged(self.page, self.rows, _PAGE)
        seen = [place for place in found if "image" in self.datasets[self.table["split"][place]].column_names]
        self.pictures.value = (
            f'<small>Page {self.page.value} of {self.page.max}</small><div class="flow">'
            f"{''.join(crop(self.datasets, self.table, place) for place in seen)}</div>"
        )


class ErrorExplorer(Explorer):
    """Controls `attribute`, `kind`, `by`, `order`, `page`, `attention`, `to_map`, `whom`; views `pictures`, `groups`.

    A press on a sub-group in `groups` keeps its errors alone: `only` is its name, "" for all images.

    Args:
        schema: `Schema` of the A attributes.
        dataset: n rows with `image`, `image_id` and, where known, `identity`.
        labels, scores: (n, A) of 1, 0, -1 and of probabilities.
        thresholds: (A,) or a number.
        head, store: a trained head and the n images' `FeatureStore`; without them no attention is shown.
        split: of the n images.

    Raises:
        BadInput: the head and the store are of different encoders.
    """

    def __init__(
        self,
        schema: Schema,
        dataset: Dataset,
        labels: np.ndarray,
        scores: np.ndarray,
        thresholds: float | np.ndarray = 0.5,
        head: VLMPARHead | None = None,
        store: FeatureStore | None = None,
        split: str = "test",
    ):
        self.schema, self.dataset, self.labels, self.scores = schema, dataset, np.asarray(labels), np.asarray(scores)
        self.thresholds, self.split = np.broadcast_to(np.asarray(thresholds, float), len(schema)), split
        self.head: Any = head
        self.store: Any = store
        known = "identity" in getattr(dataset, "column_names", ())
        self.identities: Any = np.asarray(dataset["identity"][:], str) if known else None
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.kind = control(widgets.ToggleButtons, "Errors", options=["false positives", "false negatives"])
        self.by = control(widgets.ToggleButtons, "By", options=["image", "group", *(["identity"] if known else [])])
        looks = hasattr(head, "attention") and store is not None
        trained_on = getattr(head, "encoder_identity", None)
        if store is not None and trained_on:
            made = store.manifest["identity"]
            differ = [part for part, value in trained_on.items() if str(value) != made.get(part)]
            if differ:
                raise BadInput(f"{' and '.join(differ)} of the store's encoder differ from those of the head's encoder")
        self.order = control(widgets.Dropdown, "Order", options=_ORDERS)
        self.page = control(widgets.BoundedIntText, "Page", min=1, max=1, layout={"width": "110px"})
        self.to_map = self.button("Select on the map (m)", lambda: self.opened.set_trait("value", "errors"))
        self.attention = widgets.Checkbox(description="show attention", indent=False, value=looks, disabled=not looks)
        self.whom = self.button("Whom is it wrong about? (w)", self._compare)
        self.only, self.compared = "", pd.DataFrame()  # of `compare`, once it was asked for
        self.pictures, self.groups = widgets.HTML(layout={"flex": "1 1 300px", "min_width": "0"}), widgets.HTML()
        turn = row(self.order, self.page, *self.steps(self.page), self.to_map, self.whom, self.attention)
        super().__init__(row(self.attribute, self.kind, self.by), turn, row(self.groups, self.pictures))
        self.links["only"] = self._keep
        self.answer(self._choose, self.attribute, self.kind, self.by, self.order)
        self.answer(self._draw, self.page, self.attention)

    def errors(self) -> np.ndarray:
        """Rows of the chosen attribute's errors of the chosen kind, in the chosen order."""
        a, rows = self.schema.index(self.attribute.value), np.flatnonzero(self._candidates())
        rows = rows[(self.scores[rows, a] > self.thresholds[a]) != (self.labels[rows, a] == 1)]
        sign = -1 if (self.kind.value == "false positives") == (self.order.value == _ORDERS[0]) else 1
        return rows[np.argsort(sign * self.scores[rows, a], kind="stable")]

    def _candidates(self):
        """(n,) images in which the chosen kind of error is possible: those labelled no, or those labelled yes."""
        label = 0 if self.kind.value == "false positives" else 1
        members = self.labels[:, self.schema.index(self.only)] == 1 if self.only else True
        return (self.labels[:, self.schema.index(self.attribute.value)] == label) & members

    def _compare(self):
        """Fill `groups`: mA of the whole model in the images labelled with a gender, age or view."""
        if not len(self.compared):
            self.compared = compare(
                self.labels, self.scores, self.thresholds, self.schema.names, self.schema, None, self.identities
            )
        if not len(self.compared):
            raise BadInput("These labels tell no gender, age or view: there is no sub-group to compare.")

        def pressed(name):
            held = f'data-open="only\t{text(name)}" aria-pressed="{str(name == self.only).lower()}"'
            return f"<button {held}>{text(name)}</button>"

        shown = readable(self.compared)[["mA", "gap to the rest", "holds"]].reset_index()
        bold: Any = {"group": pressed, "holds": lambda held: f"<b>{held}</b>" if held == "yes" else held}
        table = shown.to_html(border=0, index=False, classes="groups", escape=False, formatters=bold)
        self.groups.layout = {"flex": "0 1 420px"}
        self.groups.value = (
            f"{table}<small>Percent: mA of the whole model on the images labelled so, and its gap to all others, with "
            f"95 % intervals, over attributes with {LEAST} people on each side. A gap holds if p < 0.05 after Holm's "
            "correction for all rows. Press a sub-group to see its errors alone, again to see all.</small>"
        )

    def _keep(self, name):
        self.only = "" if name == self.only else name
        self._compare()
        self._choose()

    def _sections(self, rows):
        """[(title as HTML, rows)]: a page of errors, or of groups or identities, the largest share of errors first.

        They are ranked by the low end of its 95 % interval (Wilson): one error of one image says little.
        """
        candidates = self._candidates()
        if self.by.value == "image":
            part = paged(self.page, rows, _PAGE // 2)
            whose = f" of {text(self.only)}" if self.only else ""
            title = f"{len(rows):,} {self.kind.value} among {candidates.sum():,} images{whose}, page {self.page.value}"
            return [(f"<b>{title} of {self.page.max}</b>", part)]
        if self.by.value == "identity":
            images, names = np.arange(len(self.labels)), "identity " + pd.Series(self.identities)
        else:
            images, columns = np.nonzero(self.labels == 1)
            names = np.array(self.schema.names)[columns]
        members = pd.DataFrame({"row": images, "name": names})[names != self.attribute.value]
        wrong = pd.DataFrame({"row": rows}).merge(members).groupby("name")["row"].agg(list)
        possible = members[candidates[members["row"]]].groupby("name").size()
        table = pd.DataFrame({"wrong": wrong, "possible": possible}).dropna()
        low = [binomtest(len(some), int(of)).proportion_ci(method="wilson").low for some, of in table.to_numpy()]
        found = []
        ranked = table.iloc[np.argsort(np.negative(low), kind="stable")]
        for name, (some, of) in paged(self.page, ranked, _PAGE // 4).iterrows():
            title = f"<b>{text(name)}: {len(some):,} of {of:,.0f} wrong ({100 * len(some) / of:.0f} %)</b>"
            if self.by.value == "group":
                title = f'<button data-open="has\t{text(name)}">{title}</button>'
            found.append((title, some[:4]))
        return found

    def _choose(self):
        self.page.value = 1
        self._draw()

    def _draw(self):
        a, rows = self.schema.index(self.attribute.value), self.errors()
        self.pictures.value = ""
        if not len(rows):
            among = f" among {self.only}" if self.only else ""
            at = f"{self.attribute.value}{among} at threshold {self.thresholds[a]:.2f}"
            raise BadInput(f"No {self.kind.value} of {at}.")
        if not (sections := self._sections(rows)):
            raise BadInput("None of these images is labelled with another attribute: there is no group to show.")
        maps = self._attention(a, np.unique(np.concatenate([part for _, part in sections])))
        self.pictures.value = "".join(
            f'<section>{title}<div class="flow">'
            f"{''.join(self._figure(i, a, maps.get(i)) for i in part)}</div></section>"
            for title, part in sections
        )

    @torch.no_grad()
    def _attention(self, a, rows):
        """Row -> (N,) attention of attribute `a` on each patch; {} where none is shown."""
        if not self.attention.value:
            return {}
        tokens, pooled = (part.to(self.head.prompt_tokens.device).float() for part in self.store[rows])
        maps = self.head.attention(tokens, pooled, slice(a, a + 1))[:, 0].cpu().numpy()
        return dict(zip(rows, maps, strict=True)) if maps.shape[1] > 1 else {}  # 1: the head reads the pooled feature

    def _figure(self, i, a, weights):
        item = self.dataset[int(i)]
        image, caption = item["image"], f"{item.get('image_id', i)}: {self.scores[i, a]:.2f}"
        if weights is not None:
            shape = None if self.store.shapes is None else self.store.shapes[i].tolist()
            looks = overlay(image, weights, shape, 200)
            image = Image.fromarray(np.hstack([np.asarray(image.convert("RGB").resize(looks.size)), np.asarray(looks)]))
        return picture(image, caption, 200, ("image", self.split, i, self.attribute.value))
