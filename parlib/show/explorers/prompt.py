"""Prompts of an attribute in several languages and wordings: which one finds it, and which agree."""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch

from parlib.encode.encoder import Encoder
from parlib.encode.prompts import languages as all_languages
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.measure.metrics import average_precision
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, encode_phrases, heat, row, text


class PromptExplorer(Explorer):
    """Controls `attribute`, `wording`, `prompt`; views `table`, `agreement`.

    Args:
        encoder: `Encoder`.
        schema: `Schema` of the A attributes, or of a benchmark that has prompts.
        pooled: (n, D) pooled image features of a validation set.
        labels: (n, A) of 1, 0, -1.
        languages: codes; every prompt in them is encoded here, once.
    """

    def __init__(
        self,
        encoder: Encoder,
        schema: Schema,
        pooled: torch.Tensor,
        labels: np.ndarray,
        languages: Sequence[str] | None = None,
    ):
        self.encoder, self.schema, self.pooled, self.labels = encoder, schema, pooled, np.asarray(labels)
        codes = languages or all_languages()
        listed = [load_prompts(schema, code, "all") for code in codes]
        # attribute -> [(name, phrase)]
        self.phrases = [
            [
                (f"{code} {w + 1}", phrase)
                for code, each in zip(codes, listed, strict=True)
                for w, phrase in enumerate(each[a])
            ]
            for a in range(len(schema))
        ]
        flat = [phrase for each in self.phrases for _, phrase in each]
        self.words = encode_phrases(encoder, flat).split([len(each) for each in self.phrases])
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.wording = control(widgets.Dropdown, "Start from", options=["en 1"])
        self.prompt = control(widgets.Text, "Your wording", layout={"width": "min(480px, 100%)"})
        self.table, self.agreement = widgets.HTML(), widgets.HTML()
        self.table.layout = {"flex": "0 1 auto", "margin": "0 40px 0 0"}
        super().__init__(row(self.attribute, self.wording, self.prompt), row(self.table, self.agreement))
        self.answer(self._choose, self.attribute)
        self.answer(self._start, self.wording)
        self.answer(self._draw, self.prompt)

    def _choose(self):
        self.a = self.schema.index(self.attribute.value)
        scores = self.encoder.zero_shot(self.pooled, self.words[self.a]).cpu().numpy()
        self.found = {name: (phrase, scores[:, i]) for i, (name, phrase) in enumerate(self.phrases[self.a])}
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
        if phrase not in [known for known, _ in found.values()]:
            words = self.encoder.encode_prompts([phrase]).pooled
            found["yours"] = phrase, self.encoder.zero_shot(self.pooled, words)[:, 0].cpu().numpy()
        labels = self.labels[:, self.a]
        yes, known = int((labels == 1).sum()), int((labels >= 0).sum())
        ap = {name: average_precision(labels, scores) for name, (_, scores) in found.items()}
        order = sorted(ap, key=lambda name: -np.nan_to_num(ap[name]))
        best = f"<b>{text(order[0])} wins</b>" if yes else "<b>Nobody here has it, so no wording can win</b>"
        lines = "".join(
            f'<tr><td>{text(name)}</td><td><bdi dir="auto">{text(found[name][0][:120])}</bdi></td>'
            f"<td>{100 * ap[name]:.1f}</td><td>{found[name][1].mean():.3f}</td></tr>"
            for name in order
        )
        self.table.value = (
            f"{best}: average precision, {yes:,} of {known:,} images have it; "
            f"chance is {100 * yes / max(1, known):.1f}.<table><tr><th>wording</th><th>phrase</th><th>AP, %</th>"
            f"<th>mean score</th></tr>{lines}</table>"
        )
        with np.errstate(invalid="ignore"):
            ranks = np.stack([found[n][1] for n in order]).argsort(1).argsort(1)
            agree = np.atleast_2d(np.corrcoef(ranks))
        self.agreement.value = heat(agree, order, "Agreement of two wordings: rank correlation of their scores, x 100")
