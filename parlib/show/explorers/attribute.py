"""One image: every attribute's score, where the model looks, and any phrase against it."""

import io
import itertools
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
from parlib.errors import BadInput
from parlib.learn.head import VLMPARHead
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, encode_phrases, overlay, picture, row, text
from parlib.show.figures.style import BLUE, GREY, ORANGE

_NUMBERS = itertools.count()
_STEPS = {-1: "Previous", 1: "Next"}


class AttributeExplorer(Explorer):
    """Controls `image`, `step`, `upload`, `attribute`, `threshold`, `everywhere`, `prompt`.

    Views `crop`, `verdict`, `reply`.

    Args:
        encoder: `Encoder`.
        schema: `Schema` of the A attributes.
        dataset: a sequence of rows with an `image` (PIL) each.
        labels: (n, A) of 1, 0, -1; None where no truth is known.
        head: a trained head, or None for zero-shot by the default English prompts.

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
    ):
        self.encoder, self.schema, self.dataset, self.labels, self.head = encoder, schema, dataset, labels, head
        if head is not None:
            if trained_on := getattr(head, "encoder_identity", None):
                encoder.must_match(trained_on, "the head")
            if head.image_width != encoder.width:
                raise BadInput(
                    f"the head reads features {head.image_width} wide, encoder {encoder.name!r} makes {encoder.width}: "
                    f"give the encoder it was trained with, {head.encoder!r}"
                )
        self.words = encode_phrases(encoder, load_prompts(schema) if head is None else head.prompts)  # (A, D)
        self.thresholds = np.full(len(schema), 0.5) if head is None else head.thresholds.cpu().numpy().astype(float)
        self.mark = f"par-{next(_NUMBERS)}"
        self.image = control(widgets.IntSlider, "Image", max=len(dataset) - 1)
        self.step = {by: widgets.Button(description=f"{name} ({name[0].lower()})") for by, name in _STEPS.items()}
        for by, button in self.step.items():
            button.tooltip = button.description
            button.on_click(lambda _, by=by: self.image.set_trait("value", (self.image.value + by) % len(dataset)))
        self.upload = widgets.FileUpload(description="Upload a picture", accept="image/*", layout={"width": "auto"})
        self.attribute = control(widgets.ToggleButtons, "Attributes", options=schema.names)
        self.threshold = control(widgets.FloatSlider, "Threshold", max=1, step=0.01, value=self.thresholds[0])
        self.everywhere = widgets.Checkbox(description="for all attributes", indent=False)
        self.prompt = control(widgets.Text, "Any phrase", placeholder="a person with a red bag")
        self.bars, self.crop, self.verdict, self.reply = (widgets.HTML() for _ in range(4))
        self.attribute.add_class("answers").add_class(self.mark)
        left = widgets.VBox([self.crop, self.prompt, self.reply], layout={"width": "320px"})
        right = widgets.VBox([row(self.threshold, self.everywhere), self.verdict, self.attribute])
        right.layout = {"flex": "1 1 400px", "min_width": "0"}
        super().__init__(self.bars, row(self.image, *self.step.values(), self.upload), row(left, right))
        self.answer(self._choose, self.image)
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
        self.shown, self.truth, self.name = image, truth, name
        self.maps, self.looks = (
            self.encoder.similarity_maps(self.tokens, self.words)[0],
            "patch similarity to its prompt",
        )
        if self.head is None:
            self.scores = self.encoder.zero_shot(self.pooled, self.words)[0].cpu().numpy()
        else:
            features = self.tokens.float(), self.pooled.float()
            self.scores = (self.head(*features) / self.head.temperature).sigmoid()[0].cpu().numpy()
            if hasattr(self.head, "attention") and (maps := self.head.attention(*features)[0]).shape[1] > 1:
                self.maps, self.looks = maps, "attention"  # a head that reads the pooled feature looks nowhere
        self._look()
        self._draw()
        self._ask()

    def _choose(self):
        i = self.image.value
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
        looks = overlay(self.shown, self.maps[a].cpu().numpy(), self.shape, 240)
        self.crop.value = (
            f'<div class="flow">{picture(self.shown, self.name, 240)}'
            f"{picture(looks, f'{attribute.name}: {self.looks}', 240)}</div>"
            f"<small>{text(attribute.meaning)}. Brighter patches have more.</small>"
        )

    def _cut(self):
        where = slice(None) if self.everywhere.value else self.schema.index(self.attribute.value)
        self.thresholds[where] = self.threshold.value
        self._draw()

    def _draw(self):
        yes = self.scores > self.thresholds
        truth = np.full(len(yes), -1) if self.truth is None else np.asarray(self.truth)
        wrong = (truth >= 0) & (yes != (truth == 1))
        broken, contradictions, marked = self.schema.contradictions(yes[None]), [], set[str]()
        for group in self.schema.exclusive:
            if broken[group.name][0]:
                claimed = [name for name in group.members if yes[self.schema.index(name)]]
                contradictions.append(f"{group.name}: {' and '.join(claimed) or 'none of ' + ', '.join(group.members)}")
                marked.update(claimed or group.members)
        known = int((truth >= 0).sum())
        right = f"{known - wrong.sum()} of {known} answers are right." if known else "No truth is known for this image."
        impossible = "No impossible combination."
        if contradictions:
            impossible = f"<b>⚠ Impossible together: {text('; '.join(contradictions))}.</b>"
        self.verdict.value = (
            f"<small>{right} {impossible}<br>Bar: score; tick: threshold; ● has it, ○ has not, ✗ wrong.</small>"
        )
        first = {names[0]: group for group, names in self.schema.groups.items()}
        rules = []
        for a, name in enumerate(self.schema.names):
            signs = ("⚠" if name in marked else "") + ("✗" if wrong[a] else "") + ("○", "●", "")[truth[a]]
            colour = ORANGE if wrong[a] else BLUE if yes[a] else GREY
            heading = f"--above: 22px; --group: {_quoted(first[name])}" if name in first else ""
            rules.append(
                f".{self.mark} button:nth-of-type({a + 1}) {{--value: {100 * self.scores[a]:.1f}%;"
                f"--tick: {100 * self.thresholds[a]:.1f}%; --colour: {colour};"
                f'--words: "{signs} {self.scores[a]:.2f}"; {heading}}}'
            )
        self.bars.value = f"<style>{''.join(rules)}</style>"

    def _ask(self):
        phrase = self.prompt.value.strip()
        if not phrase:
            self.reply.value = "<small>Type a phrase in any language; Enter scores it.</small>"
            return
        words = self.encoder.encode_prompts([phrase])
        score = float(self.encoder.zero_shot(self.pooled, words.pooled)[0, 0])
        weights = self.encoder.similarity_maps(self.tokens, words.pooled)[0, 0].cpu().numpy()
        similarity = picture(overlay(self.shown, weights, self.shape, 240), "patch similarity", 200)
        shown = text(phrase[:120]) + "…" * (len(phrase) > 120)
        self.reply.value = (
            f'<b>Zero-shot score {score:.3f}</b> for <bdi dir="auto">{shown}</bdi>{similarity}'
            "<small>Cosine of the phrase with each patch, pooled as if it were all there is.</small>"
        )


def _quoted(words):
    """A CSS string of any text."""
    return '"' + "".join(c if c.isalnum() else f"\\{ord(c):06x}" for c in words) + '"'
