"""One image: every attribute's score, where the model looks, and any phrase against it."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from parlib.data.images import open_image
from parlib.encode.encoder import Encoder
from parlib.encode.prompts import load_prompts
from parlib.learn.head import VLMPARHead
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, chips, control, encode_phrases, overlay, picture, row, text
from parlib.show.figures.style import BLUE, GREY, ORANGE
from parlib.use.model import Model

_ORDERS = ["as in the data", "least certain first"]


class AttributeExplorer(Explorer):
    """Controls `image`, `order`, `upload`, `attribute`, `threshold`, `everywhere`, `prompt`.

    Views `bars`, whose buttons choose the attribute, `crop`, `verdict`, `reply`.

    Args:
        encoder: `Encoder`.
        schema: `Schema` of the A attributes.
        dataset: a sequence of rows with an `image` (PIL) each.
        labels: (n, A) of 1, 0, -1; None where no truth is known.
        head: a trained head, or None for zero-shot by the default English prompts.
        every: (n, A) probabilities of all images, by which they are ordered; without them they are not.
        other: a second `Model`, whose score is shown second where it has the attribute.

    Raises:
        BadInput: a head that was trained with another encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        schema: Schema,
        dataset: Sequence[Mapping[str, Any]] | datasets.Dataset,
        labels: np.ndarray | None = None,
        head: VLMPARHead | None = None,
        every: np.ndarray | None = None,
        other: Model | None = None,
    ):
        self.encoder, self.schema, self.dataset, self.labels, self.head = encoder, schema, dataset, labels, head
        self.every, self.other = every, other
        if head is None:
            self.words = encode_phrases(encoder, load_prompts(schema), encoder.width)  # (A, D)
            self.thresholds = np.full(len(schema), 0.5)
        else:
            if trained_on := getattr(head, "encoder_identity", None):
                encoder.must_match(trained_on, "the head")
            self.words = encode_phrases(
                encoder, head.prompts, head.image_width, f"it was trained with, {head.encoder!r}"
            )
            self.thresholds = head.thresholds.cpu().numpy().astype(float)
        self.image = control(widgets.IntSlider, "Image", max=len(dataset) - 1)
        self.order = control(widgets.Dropdown, "Order", options=_ORDERS[: 1 if every is None else 2])
        self.upload = widgets.FileUpload(description="Upload a picture", accept="image/*", layout={"width": "auto"})
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.threshold = control(widgets.FloatSlider, "Threshold", max=1, step=0.01, value=self.thresholds[0])
        self.everywhere = widgets.Checkbox(description="for all attributes", indent=False)
        self.prompt = control(widgets.Text, "Any phrase", placeholder="a person with a red bag")
        self.bars, self.crop, self.verdict, self.reply = (widgets.HTML() for _ in range(4))
        left = widgets.VBox([self.crop, self.prompt, self.reply], layout={"width": "320px"})
        right = widgets.VBox([row(self.threshold, self.everywhere), self.verdict, self.bars])
        right.layout = {"flex": "1 1 400px", "min_width": "0"}
        super().__init__(row(self.image, *self.steps(self.image), self.order, self.upload), row(left, right))
        self.links["look"] = lambda name: self.attribute.set_trait("value", name)
        self.order.observe(lambda _: self.image.set_trait("value", 0), "value")
        self.answer(self._choose, self.image, self.order)
        self.answer(self._take, self.upload)
        self.answer(self._look, self.attribute)
        self.answer(self._cut, self.threshold, self.everywhere)
        self.answer(self._ask, self.prompt)

    @torch.no_grad()
    def set_image(self, image: Image.Image, truth: np.ndarray | None = None, name: str = "uploaded") -> None:
        """Encode a PIL image once; `truth` (A,) of 1, 0, -1. Everything else is answered from what is kept here."""
        inputs = self.encoder.preprocess([image])
        self.tokens, self.pooled = self.encoder.encode_images(inputs)
        self.shape = None  # a square of patches
        if "spatial_shapes" in inputs:
            self.shape = tuple(inputs["spatial_shapes"][0].tolist())
            self.tokens = self.tokens[:, : math.prod(self.shape)]
        self.shown, self.name = image, name
        self.truth = np.full(len(self.schema), -1) if truth is None else np.asarray(truth)
        self.maps = self.encoder.similarity_maps(self.tokens, self.words)[0]
        self.looks = "patch similarity to its prompt"
        if self.head is None:
            self.scores = self.encoder.zero_shot(self.pooled, self.words)[0].cpu().numpy()
        else:
            features = self.tokens.float(), self.pooled.float()
            self.scores = (self.head(*features) / self.head.temperature).sigmoid()[0].cpu().numpy()
            attends = hasattr(self.head, "attention")
            if attends and (maps := self.head.attention(*features)[0]).shape[1] > 1:
                self.maps, self.looks = maps, "attention"  # a head that reads the pooled feature looks nowhere
        self.second: dict[str, float] = {}
        if self.other is not None:
            scores = self.other.scores(*self.other.encoder.encode_images([image]))[0].tolist()
            self.second = dict(zip(self.other.names, scores, strict=True))
        self._look()
        self._ask()
        if image.width > image.height:
            self.say("Wider than high: is it a full frame? It is scored as one person; with boxes each person is.")

    def show(self, row: int) -> None:
        """Show an image of the dataset, as in its order."""
        self.order.value, self.image.value = _ORDERS[0], row
        self._choose()

    def _choose(self):
        i = self.image.value
        if self.every is not None and self.order.value != _ORDERS[0]:
            a = self.schema.index(self.attribute.value)
            i = int(np.argsort(abs(self.every[:, a] - self.thresholds[a]), kind="stable")[i])
        item = self.dataset[i]
        self.set_image(item["image"], None if self.labels is None else self.labels[i], item.get("image_id", str(i)))

    def _take(self):
        if not self.upload.value:
            return
        file = self.upload.value[0]
        image = open_image(file["name"], bytes(file["content"]))
        frames = getattr(Image.open(io.BytesIO(file["content"])), "n_frames", 1)
        image.thumbnail((1024, 1024))
        self.set_image(image, name=file["name"])
        if frames > 1:
            self.say(f"{file['name']} has {frames} frames; the first is shown.")

    def _look(self):
        a = self.schema.index(self.attribute.value)
        self.threshold.value = self.thresholds[a]
        attribute = self.schema.attributes[a]
        looks = overlay(self.shown, self.maps[a].cpu().numpy(), self.shape, 330)
        self.crop.value = (
            f'<div class="flow">{picture(self.shown, self.name, 330)}'
            f"{picture(looks, f'{attribute.name}: {self.looks}', 330)}</div>"
            f"<small>{text(attribute.meaning)}. Brighter patches have more.</small>"
        )
        self._draw()

    def _cut(self):
        where = slice(None) if self.everywhere.value else self.schema.index(self.attribute.value)
        self.thresholds[where] = self.threshold.value
        self._draw()

    def _draw(self):
        yes = self.scores > self.thresholds
        wrong = (self.truth >= 0) & (yes != (self.truth == 1))
        broken, contradictions, marked = self.schema.contradictions(yes[None]), [], set[str]()
        for group in self.schema.exclusive:
            if broken[group.name][0]:
                claimed = [name for name in group.members if yes[self.schema.index(name)]]
                contradictions.append(f"{group.name}: {' and '.join(claimed) or 'none of ' + ', '.join(group.members)}")
                marked.update(claimed or group.members)
        known = int((self.truth >= 0).sum())
        right = f"{known - wrong.sum()} of {known} answers are right." if known else "No truth is known for this image."
        impossible = f"<b>⚠ Impossible together: {text('; '.join(contradictions))}.</b>"
        second = f" After the stroke: {text(self.other.encoder.name)}, the second model." if self.other else ""
        self.verdict.value = (
            f"<small>{right} {impossible if contradictions else 'No impossible combination.'}<br>"
            f"Bar: score; tick: threshold; ● has it, ○ has not, ✗ wrong.{second}</small>"
        )
        shown = []
        for a, name in enumerate(self.schema.names):
            signs = ("⚠" if name in marked else "") + ("✗" if wrong[a] else "") + ("○", "●", "")[self.truth[a]]
            score = f"{self.scores[a]:.2f}" + (f" / {self.second[name]:.2f}" if name in self.second else "")
            colour = ORANGE if wrong[a] else BLUE if yes[a] else GREY
            chosen = name == self.attribute.value
            shown.append((name, f"{signs} {score}", self.scores[a], self.thresholds[a], chosen, colour))
        self.bars.value = chips("look", self.schema, shown)

    def _ask(self):
        phrase = self.prompt.value.strip()
        if not phrase:
            self.reply.value = "<small>Type a phrase in any language; Enter scores it.</small>"
            return
        words = self.encoder.encode_prompts([phrase]).pooled
        score = float(self.encoder.zero_shot(self.pooled, words)[0, 0])
        weights = self.encoder.similarity_maps(self.tokens, words)[0, 0].cpu().numpy()
        similarity = picture(overlay(self.shown, weights, self.shape, 240), "patch similarity", 200)
        shown = text(phrase[:120]) + "…" * (len(phrase) > 120)
        self.reply.value = (
            f'<b>Zero-shot score {score:.3f}</b> for <bdi dir="auto">{shown}</bdi>{similarity}'
            "<small>Cosine of the phrase with each patch, pooled as if it were all there is.</small>"
        )
