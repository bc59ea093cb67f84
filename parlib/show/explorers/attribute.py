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
from torch.nn.functional import normalize

from parlib.data.images import open_image
from parlib.encode.encoder import Encoder
from parlib.encode.prompts import load_prompts
from parlib.learn.head import VLMPARHead
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, encode_phrases, overlay, picture, row, text
from parlib.show.figures.style import BLUE, GREY, ORANGE

_NUMBERS = itertools.count()


class AttributeExplorer(Explorer):
    """Controls `image`, `upload`, `attribute`, `threshold`, `everywhere`, `prompt`; views `crop`, `verdict`, `reply`.

    Args:
        encoder: `Encoder`.
        schema: `Schema` of the A attributes.
        dataset: a sequence of rows with an `image` (PIL) each.
        labels: (n, A) of 1, 0, -1; None where no truth is known.
        head: a trained head, or None for zero-shot by the default English prompts.
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
        words = load_prompts(schema) if head is None else head.prompts
        self.words = encode_phrases(encoder, words)  # (A, D)
        self.thresholds = np.full(len(schema), 0.5) if head is None else head.thresholds.cpu().numpy().astype(float)
        self.mark = f"par-{next(_NUMBERS)}"
        self.image = control(widgets.IntSlider, "Image", max=len(dataset) - 1)
        self.upload = widgets.FileUpload(description="Upload a picture", accept="image/*", layout={"width": "auto"})
        self.attribute = control(widgets.ToggleButtons, "Attributes", options=schema.names)
        self.threshold = control(widgets.FloatSlider, "Threshold", max=1, step=0.01, value=self.thresholds[0])
        self.everywhere = widgets.Checkbox(description="for all attributes", indent=False)
        self.prompt = control(widgets.Text, "Any phrase", placeholder="a person with a red bag")
        self.bars, self.crop, self.verdict, self.reply = (widgets.HTML() for _ in range(4))
        self.attribute.add_class(self.mark)
        left = widgets.VBox([self.crop, self.prompt, self.reply], layout={"width": "320px"})
        right = widgets.VBox([row(self.threshold, self.everywhere), self.verdict, self.attribute])
        right.layout = {"flex": "1 1 400px", "min_width": "0"}
        super().__init__(self.bars, row(self.image, self.upload), row(left, right))
        self.answer(self._choose, self.image)
        self.answer(self._take, self.upload)
        self.answer(self._look, self.attribute)
        self.answer(self._cut, self.threshold, self.everywhere)
        self.answer(self._ask, self.prompt)

    @torch.no_grad()
    def set_image(self, image: Image.Image, truth: np.ndarray | None = None, name: str = "uploaded") -> None:
        """Encode a PIL image once; `truth` (A,) of 1, 0, -1. Everything else is answered from what is kept here."""
        inputs = self.encoder.preprocess([image])
        tokens, pooled = self.encoder.encode_images(inputs)
        side = math.isqrt(tokens.shape[1])
        self.shape = tuple(inputs["spatial_shapes"][0].tolist()) if "spatial_shapes" in inputs else (side, side)
        tokens = tokens[:, : math.prod(self.shape)]
        self.shown, self.truth, self.name, self.pooled = image, truth, name, pooled
        # A patch alone through the tower's own pooling: what the pooled feature would be if it were all there is.
        pool = self.encoder.model.vision_model.head
        self.patches = normalize(pool(tokens[0, :, None]).float(), dim=-1)  # (N, D)
        if self.head is None:
            self.scores = self.encoder.zero_shot(pooled, self.words)[0].cpu().numpy()
        else:
            logits = self.head(tokens.float(), pooled.float())
            self.scores = (logits / float(self.head.temperature)).sigmoid()[0].cpu().numpy()
        self.maps, self.looks = self._similarity(self.words), "patch similarity to its prompt"
        if self.head is not None and hasattr(self.head, "attention"):
            maps = self.head.attention(tokens.float(), pooled.float())[0].cpu().numpy()
            if maps.shape[1] > 1:  # a head that reads the pooled feature has nowhere to look
                self.maps, self.looks = maps, "attention"
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

    def _similarity(self, words):
        return (self.patches @ normalize(words.float(), dim=-1).T).T.cpu().numpy()  # (A, N)

    def _look(self):
        a = self.schema.index(self.attribute.value)
        self.threshold.value = self.thresholds[a]
        weights = self._grid(self.maps[a])
        attribute = self.schema.attributes[a]
        self.crop.value = (
            f'<div class="flow">{picture(self.shown, self.name, 240)}'
            f"{picture(overlay(self.shown, weights, 240), f'{attribute.name}: {self.looks}', 240)}</div>"
            f"<small>{text(attribute.meaning)}. Brighter patches have more.</small>"
        )

    def _grid(self, weights):
        whole = len(weights) == math.prod(self.shape)
        return weights.reshape(self.shape if whole else (math.isqrt(len(weights)), -1))

    def _cut(self):
        where = slice(None) if self.everywhere.value else self.schema.index(self.attribute.value)
        self.thresholds[where] = self.threshold.value
        self._draw()

    def _draw(self):
        yes = self.scores > self.thresholds
        truth = np.full(len(yes), -1) if self.truth is None else np.asarray(self.truth)
        broken, flags = set(), []
        for group in self.schema.exclusive:
            columns = [self.schema.index(name) for name in group.members]
            said = [a for a in columns if yes[a]]
            if len(said) > 1 or (group.exactly_one and not said):
                broken |= set(said or columns)
                what = " and ".join(self.schema.names[a] for a in said) or f"none of {', '.join(group.members)}"
                flags.append(f"{group.name}: {what}")
        right, known = ((truth == 1) == yes)[truth >= 0], int((truth >= 0).sum())
        told = f"{right.sum()} of {known} answers are right. " if known else "No truth is known for this image. "
        impossible = (
            f"<b>⚠ Impossible together: {text('; '.join(flags))}.</b>" if flags else "No impossible combination."
        )
        self.verdict.value = (
            f"<small>{told}{impossible}<br>Bar: score; tick: threshold; ● has it, ○ has not, ✗ wrong.</small>"
        )
        at = f".par .{self.mark}"
        rules = [
            f"{at} {{width: 100%; display: block; height: auto}} {at} > div {{column-width: 190px; display: block}}"
            f"{at} button {{width: 96%; height: 27px; text-align: left; position: relative; padding: 0 4px 6px;"
            "overflow: visible; break-inside: avoid; box-shadow: none; line-height: 20px; margin: 0}"
            f"{at} button.mod-active {{outline: 2px solid {BLUE}; font-weight: bold}} {at} button i {{display: none}}"
            f"{at} button::after {{position: absolute; right: 4px}}"
        ]
        first = {names[0]: group for group, names in self.schema.groups.items()}
        for a, name in enumerate(self.schema.names):
            wrong = truth[a] >= 0 and yes[a] != (truth[a] == 1)
            colour = ORANGE if wrong else BLUE if yes[a] else GREY
            signs = ("⚠" if a in broken else "") + ("✗" if wrong else "") + ("" if truth[a] < 0 else "○●"[truth[a]])
            s, t = 100 * self.scores[a], 100 * self.thresholds[a]
            rules.append(
                f"{at} button:nth-of-type({a + 1}) {{background: linear-gradient(90deg, #0000 calc({t:.1f}% - 1px),"
                f"currentColor 0 calc({t:.1f}% + 1px), #0000 0) 0 100%/100% 9px no-repeat, linear-gradient(90deg,"
                f"{colour} {s:.1f}%, #7F7F7F40 0) 0 100%/100% 6px no-repeat}}"
                f'{at} button:nth-of-type({a + 1})::after {{content: "{signs} {self.scores[a]:.2f}"}}'
            )
            if name in first:
                rules.append(
                    f"{at} button:nth-of-type({a + 1}) {{margin-top: 22px}} {at} button:nth-of-type({a + 1})::before"
                    f"{{content: {_quoted(first[name])}; position: absolute; top: -21px; left: 0; opacity: 0.75}}"
                )
        self.bars.value = f"<style>{''.join(rules)}</style>"

    def _ask(self):
        phrase = self.prompt.value.strip()
        if not phrase:
            self.reply.value = "<small>Type a phrase in any language; Enter asks.</small>"
            return
        words = self.encoder.encode_prompts([phrase])
        score = float(self.encoder.zero_shot(self.pooled, words.pooled)[0, 0])
        image = overlay(self.shown, self._similarity(words.pooled)[0].reshape(self.shape), 240)
        shown = text(phrase[:120]) + "…" * (len(phrase) > 120)
        cut = f" Only its first {words.mask.sum()} tokens are read." if bool(words.mask.all()) else ""
        self.reply.value = (
            f'<b>Zero-shot score {score:.3f}</b> for <bdi dir="auto">{shown}</bdi>'
            f"{cut}{picture(image, 'patch similarity', 200)}<small>Cosine of the phrase with each patch, "
            "pooled as if it were all there is.</small>"
        )


def _quoted(words):
    """A CSS string of any text."""
    return '"' + "".join(c if c.isalnum() else f"\\{ord(c):06x}" for c in words) + '"'
