"""What the scores of an attribute depend on: its threshold, and the wording of its prompt."""

import io
from collections.abc import Sequence
from typing import Any

import datasets
import ipywidgets as widgets
import matplotlib
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from parlib.data.formats import some
from parlib.encode.encoder import Encoder
from parlib.encode.prompts import languages as all_languages
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.measure.metrics import AVERAGES, PROTOCOLS, average_precision, evaluate, ratio
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, encode_phrases, heat, picture, row, text
from parlib.show.figures.style import COLOURS

_FIRST = 24  # pictures
_TEXT = "#010203"  # becomes the colour of the page's text, for which Matplotlib has no name
_COLOURED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_THEME: Any = {"svg.fonttype": "none", "font.size": 9, **dict.fromkeys(_COLOURED, _TEXT)}


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


class ThresholdExplorer(Explorer):
    """Controls `attribute`, `threshold`; views `effect`, `precision`, `curves`.

    Args:
        schema: `Schema` of the A attributes.
        labels, scores: (n, A) of 1, 0, -1 and of probabilities.
        thresholds: a number or (A,), where each attribute's threshold starts.
        split: of the images; on test a threshold that is moved gets a warning.
    """

    def __init__(
        self, schema: Schema, labels: ArrayLike, scores: ArrayLike, thresholds: ArrayLike = 0.5, split: str = "test"
    ):
        self.schema, self.labels, self.scores = schema, np.asarray(labels), np.asarray(scores)
        evaluate(self.labels, self.scores, np.asarray(thresholds))  # raises a BadInput that says what is wrong
        self.thresholds = np.broadcast_to(np.asarray(thresholds, float), len(schema)).copy()
        self.start, self.split = self.thresholds.copy(), split
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        low = min(-3, int(np.floor(np.log10(max(1e-9, self.thresholds.min())))))  # rare attributes have small ones
        self.threshold = control(widgets.FloatLogSlider, "Threshold (log scale)", min=low, max=0, step=0.01)
        self.threshold.readout_format = ".3f" if low == -3 else ".1e"
        self.threshold.layout = {"width": "100%"}
        self.effect, self.precision, self.curves = (widgets.HTML() for _ in range(3))
        left = widgets.VBox([self.attribute, self.effect, self.precision], layout={"flex": "1 1 400px"})
        right = widgets.VBox([self.threshold, self.curves], layout={"flex": "1 1 480px"})
        super().__init__(row(left, right))
        self.answer(self._choose, self.attribute)
        self.answer(self._draw, self.threshold)

    def sweep(self, a: int, at: np.ndarray) -> dict[str, np.ndarray]:
        """What `evaluate` gives with the threshold of attribute `a` at each of `at` (G,) and the others as they are.

        Returns dict of (G,): TPR, TNR, precision and own plain accuracy of the attribute; mA, F1 and plain accuracy
        (`plain`) of the whole model.
        """
        by, column = PROTOCOLS["parlib"], np.arange(len(self.schema)) == a
        # What the scores are ratios of, for each image, with a "no" and with a "yes" to the attribute: (n, 4 A + 7).
        never, always = (
            by.sums(self.labels, self.scores, np.where(column, limit, self.thresholds)) for limit in (np.inf, -np.inf)
        )
        gains, above = always - never, self.scores[:, a] > at[:, None]  # (n, 4 A + 7), (G, n)
        sums, moved = np.tile(never.sum(0), (len(at), 1)), gains.any(0)  # (G, 4 A + 7), (4 A + 7,)
        sums[:, moved] += above @ gains[:, moved]
        scores = dict(zip(AVERAGES, by.averages(sums, np.eye(len(at))).T, strict=True))
        tp, tn, yes, no = sums[:, a : 4 * len(column) : len(column)].T
        return {
            "TPR": ratio(tp, yes),
            "TNR": ratio(tn, no),
            "precision": ratio(tp, tp + no - tn),
            "own": ratio(tp + tn, yes + no),
            "mA": scores["mA"],
            "F1": scores["f1"],
            "plain": scores["plain_accuracy"],
        }

    def _choose(self):
        self.threshold.value = self.thresholds[self.schema.index(self.attribute.value)]
        self._draw()

    def _draw(self):
        name, now = self.attribute.value, self.threshold.value
        a = self.schema.index(name)
        self.thresholds[a] = now
        at = np.unique(np.r_[np.linspace(0, 1, 101), np.quantile(self.scores[:, a], np.linspace(0, 1, 101)), now])
        found = self.sweep(a, at)
        here = {key: float(values[at == now][0]) for key, values in found.items()}
        change = {key: (at, found[key] - here[key]) for key in ("mA", "F1", "plain")}
        rates = {key: (at, found[key]) for key in ("TPR", "TNR")}
        precision, ring = {"precision": (found["TPR"], found["precision"])}, (here["TPR"], here["precision"])
        self.precision.value = _plot(f"{name}: precision, %", precision, "recall (TPR)", ring=ring)
        whole = _plot("Whole model: change from here, points", change, "threshold", now)
        self.curves.value = _plot(f"{name}: TPR and TNR, %", rates, "threshold", now) + whole
        yes, known = ((self.labels[:, a] >= least).sum() for least in (1, 0))
        majority, answer = max(yes, known - yes) / max(1, known), "yes" if 2 * yes > known else "no"
        lines = {
            "whole model": (here["mA"], here["F1"], here["plain"]),
            f"{name} alone": ((here["TPR"] + here["TNR"]) / 2, np.nan, here["own"]),
            f"{name}: {answer} for everybody": (0.5, np.nan, majority),
        }
        table = 100 * pd.DataFrame(lines, index=["mA", "F1", "plain accuracy"]).T
        table = table.to_html(border=0, float_format="{:.1f}".format, na_rep="undefined")
        self.effect.value = (
            f"{table}<small>{yes:,} of {known:,} images have {text(name)}: answering without looking at the image gets "
            f"{100 * majority:.1f} % in plain accuracy and 50 % in mA.</small>"
        )
        if (moved := np.flatnonzero(self.thresholds != self.start)).size and self.split == "test":
            names = some([self.schema.names[i] for i in moved])
            self.say(f"Moved on test: {names}. Scores at thresholds chosen here are too good; choose them on val.")


def _plot(title, curves, across, line=None, ring=None):
    """HTML of curves name -> (x, y), y a fraction shown in percent; a dotted `line` at an x, a `ring` at a point."""
    from matplotlib.figure import Figure  # reads all fonts of a new machine

    with matplotlib.rc_context(_THEME):
        figure = Figure(figsize=(5.2, 3.6) if ring else (6.4, 2.4))
        ax = figure.add_axes((0.1, 0.2, 0.88, 0.76))  # a layout that fits itself takes twice the time
        for (name, (x, y)), colour, dashes in zip(curves.items(), COLOURS, ("-", "--", ":"), strict=False):
            ax.plot(x, 100 * y, dashes, color=colour, label=name)
        if line is not None:
            ax.axvline(line, color=_TEXT, linestyle=":", linewidth=1)
        if ring is not None:
            ax.plot(ring[0], 100 * ring[1], "o", color=_TEXT, markerfacecolor="none")
        ax.set(xlabel=across, xlim=(0, 1))
        ax.legend(frameon=False)
        figure.savefig(drawn := io.StringIO(), format="svg", transparent=True)
    drawing = drawn.getvalue().replace(_TEXT, "currentColor").partition("<svg")[2]
    drawing = drawing.replace("*{stroke", ".par svg {stroke")  # Matplotlib's style would hold for the whole page
    title = text(title)
    caption = f"<figcaption>{title}</figcaption>"
    return f'<figure class="plot">{caption}<svg role="img" aria-label="{title}"{drawing}</figure>'
