"""The answers a model was surest of and wrong: by image, by group, by identity, with where it looked."""

import math

import datasets
import ipywidgets as widgets
import numpy as np
import torch

from parlib.encode.store import FeatureStore
from parlib.errors import BadInput
from parlib.learn.head import VLMPARHead
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, overlay, picture, row, text


class ErrorExplorer(Explorer):
    """Controls `attribute`, `kind`, `by`, `attention`; view `pictures`.

    Args:
        schema: `Schema` of the A attributes.
        dataset: n rows with `image`, `image_id` and, where known, `identity`.
        labels, scores: (n, A) of 1, 0, -1 and of probabilities.
        thresholds: (A,) or a number.
        head, store: a trained head and the n images' `FeatureStore`; without them no attention is shown.
    """

    def __init__(
        self,
        schema: Schema,
        dataset: datasets.Dataset,
        labels: np.ndarray,
        scores: np.ndarray,
        thresholds: float | np.ndarray = 0.5,
        head: VLMPARHead | None = None,
        store: FeatureStore | None = None,
    ):
        self.schema, self.dataset, self.labels, self.scores = schema, dataset, np.asarray(labels), np.asarray(scores)
        self.thresholds = np.broadcast_to(np.asarray(thresholds, float), len(schema))
        self.head, self.store = head, store
        named = "identity" in getattr(dataset, "column_names", ())
        self.identities = np.asarray(dataset["identity"][:], str) if named else None
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.kind = control(widgets.ToggleButtons, "Errors", options=["false positives", "false negatives"])
        self.by = control(widgets.ToggleButtons, "By", options=["image", "group", *(["identity"] if named else [])])
        looks = hasattr(head, "attention") and store is not None
        self.attention = widgets.Checkbox(description="show attention", indent=False, value=looks, disabled=not looks)
        self.pictures = widgets.HTML()
        super().__init__(row(self.attribute, self.kind, self.by, self.attention), self.pictures)
        self.answer(self._draw, self.attribute, self.kind, self.by, self.attention)

    def errors(self) -> np.ndarray:
        """Rows of the chosen attribute's errors of the chosen kind, the most confident first."""
        a, up = self.schema.index(self.attribute.value), self.kind.value == "false positives"
        said = self.scores[:, a] > self.thresholds[a]
        rows = np.flatnonzero((self.labels[:, a] == (0 if up else 1)) & (said == up))
        return rows[np.argsort(self.scores[rows, a] * (-1 if up else 1), kind="stable")]

    def _sections(self, rows):
        """[(title, rows)]: all errors, or those of the groups or identities that have most of them."""
        a, up = self.schema.index(self.attribute.value), self.kind.value == "false positives"
        asked = self.labels[:, a] == (0 if up else 1)
        if self.by.value == "image":
            return [(f"{len(rows):,} {self.kind.value} among {asked.sum():,} images", rows[:12])]
        if self.by.value == "identity" and self.identities is not None:
            groups = {f"identity {i}": self.identities == i for i in np.unique(self.identities[rows])}
        else:
            groups = {n: self.labels[:, i] == 1 for i, n in enumerate(self.schema.names) if i != a}
        wrong = np.isin(np.arange(len(asked)), rows)
        shares = {n: (int((m & wrong).sum()), int((m & asked).sum())) for n, m in groups.items()}
        worst = sorted(
            (n for n, (errors, _) in shares.items() if errors), key=lambda n: (-shares[n][0] / shares[n][1], n)
        )
        return [
            (
                f"{n}: {shares[n][0]:,} of {shares[n][1]:,} wrong ({100 * shares[n][0] / shares[n][1]:.0f} %)",
                rows[groups[n][rows]][:4],
            )
            for n in worst[:6]
        ]

    @torch.no_grad()
    def _draw(self):
        a, rows = self.schema.index(self.attribute.value), self.errors()
        if not len(rows):
            self.pictures.value = ""
            raise BadInput(f"No {self.kind.value} of {self.attribute.value} at threshold {self.thresholds[a]:.2f}.")
        sections = self._sections(rows)
        shown = np.unique(np.concatenate([r for _, r in sections]))
        maps = {}
        if self.attention.value and self.head is not None and self.store is not None:
            device = self.head.prompt_tokens.device
            tokens, pooled = (part.to(device).float() for part in self.store[shown])
            looks = self.head.attention(tokens, pooled, slice(a, a + 1))[:, 0].cpu().numpy()
            maps = dict(zip(shown, looks, strict=True))
        made = []
        for title, part in sections:
            figures = "".join(self._figure(i, a, maps.get(i)) for i in part)
            made.append(f'<section><b>{text(title)}</b><div class="flow">{figures}</div></section>')
        self.pictures.value = "".join(made)

    def _figure(self, i, a, weights):
        item = self.dataset[int(i)]
        image, caption = item["image"], f"{item.get('image_id', i)}: {self.scores[i, a]:.2f}"
        # A head that reads the pooled feature has nowhere to look.
        if weights is None or self.store is None or len(weights) == 1:
            return picture(image, caption)
        side = math.isqrt(len(weights))
        rows, columns = (side, side) if self.store.shapes is None else self.store.shapes[i].tolist()
        return picture(image, caption, beside=overlay(image, weights[: rows * columns].reshape(rows, columns)))
