"""Prompts of an attribute in several languages and wordings: which one finds it, and which agree."""

from collections.abc import Sequence
from typing import Any

import datasets
import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch

from parlib.encode.encoder import Encoder
from parlib.encode.prompts import languages as all_languages
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.measure.metrics import average_precision
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, encode_phrases, heat, picture, row, text

_FIRST = 24  # pictures


class PromptExplorer(Explorer):
    """Controls `attribute`, `wording`, `prompt`; views `table`, `agreement`, `pictures`.

    Args:
        encoder: `Encoder`.
        schema: `Schema` of the A attributes, or of a benchmark that has prompts.
        pooled: (n, D) pooled image features of a validation set.
        labels: (n, A) of 1, 0, -1.
        languages: codes; every prompt in them is encoded here, once.
        dataset: the n images; without it none is shown.
    """

    def __init__(
        self,
        encoder: Encoder,
        schema: Schema,
        pooled: torch.Tensor,
        labels: np.ndarray,
        languages: Sequence[str] | None = None,
        dataset: datasets.Dataset | None = None,
    ):
        self.encoder, self.schema, self.pooled, self.labels = encoder, schema, pooled, np.asarray(labels)
        self.dataset: Any = dataset
        self.phrases: list[dict[str, str]] = [{} for _ in schema.names]  # of each attribute: name -> phrase
        for code in languages or all_languages():
            for phrases, wordings in zip(self.phrases, load_prompts(schema, code, "all"), strict=True):
                phrases |= {f"{code} {number}": phrase for number, phrase in enumerate(wordings, 1)}
        everything = [phrase for phrases in self.phrases for phrase in phrases.values()]
        self.words = encode_phrases(encoder, everything, pooled.shape[-1]).split(list(map(len, self.phrases)))
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.wording = control(widgets.Dropdown, "Start from", options=["en 1"])
        self.prompt = control(widgets.Text, "Your wording", layout={"width": "min(480px, 100%)"})
        self.table, self.agreement, self.pictures = (widgets.HTML() for _ in range(3))
        self.table.layout = {"flex": "0 1 auto", "margin": "0 40px 0 0"}
        super().__init__(row(self.attribute, self.wording, self.prompt), row(self.table, self.agreement), self.pictures)
        self.answer(self._choose, self.attribute)
        self.answer(self._start, self.wording)
        self.answer(self._draw, self.prompt)

    def _choose(self):
        self.a = self.schema.index(self.attribute.value)
        scores = self.encoder.zero_shot(self.pooled, self.words[self.a]).T.cpu().numpy()
        # name -> (phrase, scores (n,))
        self.found = {name: (phrase, scores[i]) for i, (name, phrase) in enumerate(self.phrases[self.a].items())}
        self.wording.options = list(self.found)
        self._start()
        self._draw()

    def _start(self):
        if self.wording.value:
            self.prompt.value = self.found[self.wording.value][0]

    def _draw(self):
        phrase, found = self.prompt.value.strip(), dict(self.found)
        if not phrase:
            raise BadInput("An empty wording finds nothing: type one, or choose one to start from.")
        if phrase not in self.phrases[self.a].values():
            pooled = self.encoder.encode_prompts([phrase]).pooled
            found["yours"] = phrase, self.encoder.zero_shot(self.pooled, pooled)[:, 0].cpu().numpy()
        labels = self.labels[:, self.a]
        yes, known = int((labels == 1).sum()), int((labels >= 0).sum())
        table = pd.DataFrame({"wording": list(found), "phrase": [phrase[:120] for phrase, _ in found.values()]})
        table["AP, %"] = [100 * average_precision(labels, scores) for _, scores in found.values()]
        table["mean score"] = [scores.mean() for _, scores in found.values()]
        table = table.sort_values("AP, %", ascending=False, kind="stable")
        first = table["wording"][table["AP, %"].round(1) == table["AP, %"].round(1).max()]
        best = text(" and ".join(first)) + (" wins" if len(first) == 1 else " tie")
        if yes in (0, known):
            best = "Undefined, so no wording wins: " + ("every known image has it" if yes else "no known image has it")
        formats = {"AP, %": "{:.1f}".format, "mean score": "{:.3f}".format}
        cells = table.to_html(border=0, index=False, formatters=formats, na_rep="undefined")
        fonts = "<small class='chinese'>No font here has Chinese: install one, such as Noto Sans CJK.</small>"
        self.table.value = (
            f"<b>{best}</b>: average precision, {yes:,} of {known:,} images have it; chance is "
            f"{100 * yes / max(1, known):.1f}.{cells}{fonts}"
        )
        agreement = pd.DataFrame({name: found[name][1] for name in table["wording"]}).rank().corr()
        caption = "Agreement of two wordings: rank correlation of their scores, x 100"
        self.agreement.value = heat(agreement, caption, np.nanmin([*agreement.to_numpy().flat, 1]))
        if self.dataset is not None:
            wanted = next(scores for words, scores in found.values() if words == phrase)
            self.pictures.value = self._ranked(phrase, wanted, labels)

    def _ranked(self, phrase, scores, labels):
        rows = np.argsort(-scores, kind="stable")[:_FIRST]
        figures = [picture(self.dataset[int(i)]["image"], f"{'○●?'[labels[i]]} {scores[i]:.2f}", 150) for i in rows]
        return (
            f'<b>The images that "{text(phrase[:120])}" fits best</b> ({(labels[rows] == 1).sum()} of {len(rows)} are '
            f'labelled so; ● has it, ○ has not, ? unknown)<div class="flow">{"".join(figures)}</div>'
        )
