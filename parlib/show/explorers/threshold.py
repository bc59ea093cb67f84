"""One threshold moved: what it does to its attribute and to the scores of the whole model."""

import ipywidgets as widgets
import numpy as np

from parlib.measure.metrics import evaluate
from parlib.schema import Schema
from parlib.show.explorers.panel import Explorer, control, plot, row, text


class ThresholdExplorer(Explorer):
    """Controls `attribute`, `threshold`; views `curves`, `effect`.

    Args:
        schema: `Schema` of the A attributes.
        labels, scores: (n, A) of 1, 0, -1 and of probabilities.
        thresholds: (A,) where the others stand and where each starts; default 0.5.
    """

    def __init__(
        self, schema: Schema, labels: np.ndarray, scores: np.ndarray, thresholds: float | np.ndarray | None = None
    ):
        self.schema, self.labels, self.scores = schema, np.asarray(labels), np.asarray(scores)
        given = 0.5 if thresholds is None else np.asarray(thresholds, float)
        evaluate(self.labels, self.scores, given)  # raises what is wrong with them
        self.thresholds = np.broadcast_to(given, len(schema)).copy()
        self.attribute = control(widgets.Dropdown, "Attribute", options=schema.names)
        self.threshold = control(widgets.FloatSlider, "Threshold", max=1, step=0.01)
        self.curves, self.effect = widgets.HTML(), widgets.HTML()
        super().__init__(row(self.attribute, self.threshold), self.effect, self.curves)
        self.answer(self._choose, self.attribute)
        self.answer(self._draw, self.threshold)

    def sweep(self, a: int, at: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of attribute `a` and of the whole model with its threshold at each of `at` (G,), as `evaluate` gives.

        Returns dict of (G,): TPR, TNR, precision and own accuracy of the attribute; mA, F1, plain of the model.
        """
        known, truth, scores = self.labels >= 0, self.labels == 1, self.scores[:, a]
        decided = known & (self.scores > self.thresholds)
        decided[:, a] = False
        order = np.argsort(scores)
        cut = np.searchsorted(scores[order], at, side="right")

        def total(off, on):  # over images: `on` where the score is above the threshold, `off` elsewhere
            gain = np.cumsum((on.astype(float) - off)[order][::-1])[::-1]
            return np.sum(off) + np.append(gain, 0)[cut]

        yes, asked, none = truth[:, a], known[:, a], np.zeros(len(scores))
        tp, fp = total(none, yes), total(none, asked & ~yes)
        positives, negatives = yes.sum(), (asked & ~yes).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            tpr, tnr = tp / positives, 1 - fp / negatives
            others = truth | ~known
            rates = [(truth & decided).sum(0) / truth.sum(0), (~others & ~decided).sum(0) / (~others).sum(0)]
            each = np.mean(rates, 0)
            both, said, true = (truth & decided).sum(1), decided.sum(1), truth.sum(1)
            precision = total(_ratio(both, said), _ratio(both + yes, said + asked)) / len(scores)
            recall = total(_ratio(both, true), _ratio(both + yes, true)) / len(scores)
            mine = np.repeat(each[:, None], len(cut), 1)
            mine[a] = (tpr + tnr) / 2
            right = ((decided == truth) & known).sum() - ((decided == truth) & known)[:, a].sum()
            return {
                "TPR": tpr,
                "TNR": tnr,
                "precision": tp / (tp + fp),
                "own": (tp + negatives - fp) / asked.sum(),
                "mA": np.nanmean(mine, 0) if np.isfinite(mine).any() else np.full(len(cut), np.nan),
                "F1": _ratio(2 * precision * recall, precision + recall),
                "plain": (right + tp + negatives - fp) / known.sum(),
            }

    def _choose(self):
        self.threshold.value = self.thresholds[self.schema.index(self.attribute.value)]
        self._draw()

    def _draw(self):
        a, name = self.schema.index(self.attribute.value), self.attribute.value
        self.thresholds[a] = now = self.threshold.value
        grid = np.linspace(0, 1, 101)
        at = np.unique(np.r_[grid, np.quantile(self.scores[:, a], grid), now])
        found = self.sweep(a, at)
        here = {key: float(values[at == now][0]) for key, values in found.items()}
        moved = {key: (at, found[key] - here[key]) for key in ("mA", "F1", "plain")}
        most = max(0.001, *(np.abs(np.nan_to_num(change)).max() for _, change in moved.values()))
        pr = {"precision": (found["TPR"], found["precision"])}
        rates = {key: (at, found[key]) for key in ("TPR", "TNR")}
        ring = here["TPR"], here["precision"]
        self.curves.value = (
            f'<div class="flow">{plot(pr, "recall (TPR)", f"{name}: precision, %", point=ring)}'
            f"{plot(rates, 'threshold', f'{name}: TPR and TNR, %', line=now)}"
            f"{plot(moved, 'threshold', 'Whole model: change from here, points', (-most, most), now)}</div>"
        )
        yes, known = int((self.labels[:, a] == 1).sum()), int((self.labels[:, a] >= 0).sum())
        common, answer = max(yes, known - yes) / max(1, known), "yes" if 2 * yes > known else "no"
        lines = {
            "whole model": (here["mA"], here["F1"], here["plain"]),
            f"{name} alone": ((here["TPR"] + here["TNR"]) / 2, None, here["own"]),
            f"{name}: {answer} to everybody": (0.5, None, common),
        }
        cells = "".join(f"<tr><th>{text(n)}</th>{''.join(map(_cell, v))}</tr>" for n, v in lines.items())
        self.effect.value = (
            f"<table><tr><th></th><th>mA</th><th>F1</th><th>plain accuracy</th></tr>{cells}</table><small>{yes:,} of "
            f"{known:,} images have {text(name)}: plain accuracy gives {100 * common:.1f} % to whoever never looks; mA "
            "gives 50.</small>"
        )


def _cell(value):
    return f"<td>{'' if value is None else 'undefined' if np.isnan(value) else f'{100 * value:.1f}'}</td>"


def _ratio(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) > 0)
