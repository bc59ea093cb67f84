"""A map: every image a point beside those that the encoder finds alike, coloured by what is known of it."""

import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

import datasets
import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from parlib.data import labels_of
from parlib.data.formats import some
from parlib.data.images import open_image
from parlib.encode.encoder import Encoder
from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, crop, listed, row, text
from parlib.show.figures.style import BLUE, COLOURS, GREY, ORANGE

_SHOWN = 24  # crops of a selection
_ANSWERS = {0: "no", 1: "yes", -1: "unknown"}


class MapExplorer(Explorer):
    """Controls `colour`, `attribute`, `phrase`, `near`, `upload`; views `scatter`, `hovered`, `pictures`; `selection`.

    Args:
        parts: split -> `Dataset` with images; of several benchmarks `peta/test`, by whose first word they are coloured.
        schema: `Schema` of the A attributes.
        stores: split -> `FeatureStore` of its images; images of other splits are left out, with a warning.
        labels: split -> (n, A) of 1, 0, -1; default are those of the datasets.
        scores: split -> probabilities (n, A); may lack splits.
        thresholds: (A,) or a number.
        encoder: reads phrases and uploaded pictures; without it there are none.
        layout: `umap` (needs umap-learn), `pca`, or None for UMAP where it is installed, else PCA.
        most: with more images, so many drawn at random, with a warning.

    Raises:
        BadInput: no jupyter-scatter, no features at all, or a store of other images than its dataset.
    """

    def __init__(
        self,
        parts: Mapping[str, datasets.Dataset],
        schema: Schema,
        stores: Mapping[str, FeatureStore],
        labels: Mapping[str, np.ndarray] | None = None,
        scores: Mapping[str, np.ndarray] | None = None,
        thresholds: float | np.ndarray = 0.5,
        encoder: Encoder | None = None,
        layout: str | None = None,
        most: int = 100_000,
    ):
        try:
            import jscatter
        except ImportError:
            raise BadInput("the map needs jupyter-scatter: pip install 'parlib[explore]'") from None
        self.parts, self.schema = parts, schema
        self.encoder: Any = encoder
        self.thresholds = np.broadcast_to(np.asarray(thresholds, float), len(schema))
        self.table, self.features, notes = _points(parts, stores, most)
        self.note = f" Left out: {'; '.join(notes)}." if notes else ""
        if notes:
            warnings.warn(f"the map leaves out: {'; '.join(notes)}", stacklevel=2)
        self.labels = np.full((len(self.table), len(schema)), -1, np.int8)
        self.scores = np.full(self.labels.shape, np.nan, np.float32)
        for split, group in self.table.groupby("split", sort=False):
            truth = labels[split] if labels else labels_of(parts[split])
            if truth.shape[1] != len(schema):
                wanted = f"the {len(schema)} attributes of {schema.name}"
                raise BadInput(f"labels of {split} are not {wanted}: give `labels`")
            self.labels[group.index] = truth[group["row"]]
            if scores and split in scores:
                self.scores[group.index] = scores[split][group["row"]]
        place, self.layout_name = layout_of(self.features, layout)
        self.table[["x", "y"]] = place
        low, high = place.min(0), place.max(0)
        margin = np.where(high > low, 0.05 * (high - low), 1.0)
        x_edges, y_edges = np.stack([low - margin, high + margin], axis=1).tolist()
        self.scatter = jscatter.Scatter("x", "y", data=self.table[["x", "y"]], x_scale=x_edges, y_scale=y_edges, size=7)
        self.scatter.height(420).width("auto").legend(True).axes(False).options({"aspectRatio": 2})
        self.own: dict[str, np.ndarray] = {}  # name of a colour -> probability (n,); see `colour_by`
        colours = ["label"] if np.isnan(self.scores).all() else ["label", "score", "error"]
        colours += ["benchmark", "split"] if self.table["split"].str.contains("/").any() else ["split"]
        colours += ["identity"] if "identity" in self.table else []
        colours += ["phrase"] if encoder is not None else []
        self.colour = control(widgets.Dropdown, "Colour", options=colours)
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.phrase = control(widgets.Text, "Any phrase", placeholder="a person with a red bag")
        self.near = control(widgets.Text, "Nearest to", placeholder=str(self.table["image_id"].iloc[0]))
        self.upload = widgets.FileUpload(description="Upload a picture", accept="image/*", layout={"width": "auto"})
        self.caption, self.hovered, self.pictures = (widgets.HTML() for _ in range(3))
        self.hovered.layout = {"width": "110px"}
        inputs = [self.near] if encoder is None else [self.phrase, self.near, self.upload]
        self.scatter.widget.add_class("map").layout = {"width": "auto", "flex": "1 1 300px"}
        seen = widgets.HBox([self.scatter.widget, self.hovered])
        super().__init__(row(self.colour, self.attribute, *inputs), seen, self.caption, self.pictures)
        self.answer(self._paint, self.colour, self.attribute)
        self.answer(self._ask, self.phrase)
        self.answer(self._near, self.near)
        self.answer(self._take, self.upload)
        self.answer(self._show, self.scatter.widget, trait="selection")
        self.answer(self._hover, self.scatter.widget, trait="hovering")

    @property
    def selection(self) -> pd.DataFrame:
        """The selected images, in the order selected: `split`, `row` in it, `image_id`, `identity` if known, x, y.

        And of the chosen attribute `label` (1, 0, -1) and `score` (nan where there is none).
        """
        rows, a = self.scatter.selection(), self.schema.index(self.attribute.value)
        return self.table.iloc[rows].assign(label=self.labels[rows, a], score=self.scores[rows, a])

    def select(self, rows: np.ndarray) -> None:
        """Select points by their row numbers in `table`, as a circle round them does."""
        self.scatter.selection(np.asarray(rows, int))

    def colour_by(self, name: str, values: np.ndarray) -> None:
        """Colour by a probability (n,) of each image in `table`, which joins the other colours under this name."""
        self.own[name] = values
        if name not in self.colour.options:
            self.colour.options = [*self.colour.options, name]
        if self.colour.value == name:
            self._paint()
        self.colour.value = name

    def nearest(self, feature: torch.Tensor, n: int = 12) -> np.ndarray:
        """Row numbers in `table` of the n images with the largest cosine to a pooled feature (D,), nearest first."""
        similarity = self.features @ F.normalize(feature.float().cpu(), dim=0)
        return similarity.topk(min(n, len(similarity))).indices.numpy()

    def _paint(self):
        name = self.colour.value
        values, palette = self._values(name, self.schema.index(self.attribute.value))
        missing = pd.isna(values)
        if isinstance(palette, str):
            low, high = (0, 1) if name == "score" else np.nanpercentile(values, [1, 99])
            self.scatter.color(by=np.nan_to_num(values), map=palette, norm=(float(low), max(float(high), low + 1e-6)))
        else:
            palette = {**palette, "none": GREY} if missing.any() else palette
            self.scatter.color(by=pd.Categorical(np.where(missing, "none", values), list(palette)), map=palette)
        self.scatter.filter(np.flatnonzero(~missing) if missing.any() else None)
        hidden = f" {missing.sum():,} images whose {name} is unknown are hidden." if missing.any() else ""
        self.caption.value = (
            f"<small>{len(self.table):,} images; {self.layout_name} of their pooled features. Coloured by {text(name)}."
            f"{hidden} Point at an image to see it; circle several with the lasso."
            f"{text(self.note)}</small>"
        )

    def _values(self, name, a):
        """What each image is coloured by, missing where unknown, and the palette: value -> colour, or its name."""
        labels, scores = self.labels[:, a], self.scores[:, a]
        if name in self.own:
            return self.own[name], "viridis"
        if name == "score":
            return scores, "viridis"
        if name == "label":
            return [_ANSWERS[label] for label in labels], {"no": GREY, "yes": BLUE, "unknown": "#E69F00"}
        if name == "error":
            kinds = np.where(labels == 1, "false negative", "false positive").astype(object)
            kinds[(labels == 1) == (scores > self.thresholds[a])] = "right"
            kinds[(labels < 0) | np.isnan(scores)] = None
            return kinds, {"right": GREY, "false positive": ORANGE, "false negative": BLUE}
        if name == "phrase":
            if not (phrase := self.phrase.value.strip()):
                raise BadInput("Type a phrase first; Enter colours the map by its similarity to every image.")
            words = self.encoder.encode_prompts([phrase]).pooled[0].float().cpu()
            return (self.features @ F.normalize(words, dim=0)).numpy(), "viridis"
        if name == "identity":  # every person one of seven colours, which people share
            values = "person " + pd.Series(pd.factorize(self.table["identity"])[0] % len(COLOURS) + 1).astype(str)
        else:
            values = self.table["split"].str.partition("/")[0] if name == "benchmark" else self.table["split"]
        return values, dict(zip(values.unique(), COLOURS, strict=False))

    def _ask(self):
        if self.phrase.value.strip() and self.colour.value == "phrase":
            self._paint()
        elif self.phrase.value.strip():
            self.colour.value = "phrase"

    def _near(self):
        if name := self.near.value.strip():
            rows = np.flatnonzero(self.table["image_id"] == name)
            if not len(rows):
                raise BadInput(f"No image {name!r} on the map; names are like {some(self.table['image_id'][:3])}.")
            self.select(self.nearest(self.features[rows[0]]))

    @torch.no_grad()
    def _take(self):
        if self.upload.value:
            file = self.upload.value[0]
            image = open_image(file["name"], bytes(file["content"]))
            self.select(self.nearest(self.encoder.encode_images([image]).pooled[0]))

    def _show(self):
        chosen, name = self.selection, self.attribute.value
        if not len(chosen):
            self.pictures.value = "<small>Nothing is selected.</small>"
            return
        shown = f"; the first {_SHOWN} are shown" if len(chosen) > _SHOWN else ""
        answers = ", ".join(f"{(chosen['label'] == label).sum():,} {answer}" for label, answer in _ANSWERS.items())
        self.pictures.value = (
            f"<b>{len(chosen):,} images selected{shown}.</b> {text(name)}: {answers}."
            f'<div class="flow">{"".join(crop(self.parts, self.table, i) for i in chosen.index[:_SHOWN])}</div>'
        )

    def _hover(self):
        point = self.scatter.widget.hovering
        self.hovered.value = "" if point is None else crop(self.parts, self.table, point)


def layout_of(features: torch.Tensor, layout: str | None = None) -> tuple[np.ndarray, str]:
    """Where features (n, D) lie on a map, (n, 2), and by what method; see `MapExplorer`."""
    if layout is None:
        layout = "umap" if importlib.util.find_spec("umap") and len(features) > 3 else "pca"
    if layout == "umap":
        try:
            import umap  # type: ignore[import-not-found]
        except ImportError:
            raise BadInput("this layout needs UMAP: pip install umap-learn, or take layout 'pca'") from None
        return umap.UMAP(metric="cosine", random_state=0).fit_transform(features.numpy()), "UMAP"
    if layout != "pca":
        raise BadInput(f"unknown layout {layout!r}; known: pca, umap")
    centred = features - features.mean(0)
    variance, axes = torch.linalg.eigh(centred.T.double() @ centred.double())  # ascending
    axes = axes[:, -2:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the sign of an axis is arbitrary
    share = 100 * float(variance[-2:].sum() / variance.sum().clamp(min=1e-12))
    return (centred @ axes.float()).numpy(), f"the two principal components ({share:.0f} % of the variance)"


def _points(parts, stores, most):
    """The images that have features: their table, their features (n, D) at length 1, and notes on the others."""
    notes, tables, features = [], [], []
    for split, part in parts.items():
        if split not in stores:
            notes.append(f"{len(part):,} images of {split} without features")
            continue
        if len(stores[split]) != len(part):
            counts = f"features of {len(stores[split]):,} images for the {len(part):,} of {split}"
            raise BadInput(f"{stores[split].folder}: {counts}; extract them again from this tree")
        pooled = stores[split].pooled
        usable = (pooled.isfinite().all(1) & (pooled != 0).any(1)).numpy()
        if not usable.all():
            notes.append(f"{(~usable).sum():,} images of {split} whose features are zero or not finite")
        tables.append(listed({split: part})[usable])
        features.append(F.normalize(pooled[torch.from_numpy(usable)], dim=1))
    if not sum(map(len, tables)):
        raise BadInput(f"no image has features ({'; '.join(notes) or 'no split'}): nothing can be put on a map")
    table, unit = pd.concat(tables, ignore_index=True), torch.cat(features)
    if len(table) > most:
        notes.append(f"{len(table) - most:,} of {len(table):,} images, drawn at random, to keep {most:,}")
        keep = np.sort(np.random.default_rng(0).permutation(len(table))[:most])
        table, unit = table.iloc[keep].reset_index(drop=True), unit[torch.from_numpy(keep)]
    return table, unit, notes
