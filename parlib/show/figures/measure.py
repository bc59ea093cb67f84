"""Figures of what numbers mean: drawn from records, tables and the audit, never from scores of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from parlib.measure.tables import HEAD
from parlib.show.figures.style import BLUE, COLOURS, GREY, ORANGE, figure


def plain_against_mA(
    panels: Mapping[str, tuple[Mapping[str, tuple[float, float]], float | None]], title: str = "", caption: str = ""
) -> Figure:
    """Plain accuracy against mA in percent, one panel a benchmark, and a line where a number of unclear metric stands.

    Args:
        panels: name -> (`{predictor: (plain accuracy, mA)}`, the printed number or None).
    """
    made, axes = figure(3 * len(panels), 3.2, title, caption, 1, len(panels), sharey=True, squeeze=False)
    for ax, (name, (points, printed)) in zip(axes.flat, panels.items(), strict=True):
        for (label, (plain, balanced)), colour in zip(points.items(), COLOURS, strict=False):
            ax.plot(plain, balanced, "o", color=colour, ms=6)
            words, beside = f"{label}\n{plain:.1f} | {balanced:.1f}", {"textcoords": "offset points", "ha": "right"}
            ax.annotate(words, (plain, balanced), (-7, 0), va="center", fontsize=8, **beside)
        if printed is not None:
            ax.axvline(printed, color=GREY, lw=1, ls="--")
            ax.axhline(printed, color=GREY, lw=1, ls=":")
            ax.text(73, printed + 0.7, f"printed: {printed:.2f}", fontsize=8, color=GREY)
        ax.set(xlim=(72, 99), ylim=(45, 100), xlabel="plain accuracy, %")
        ax.set_title(name, loc="left", fontsize=9)
    axes[0, 0].set_ylabel("mA, %")
    return made


def copied_identities(
    overlap: Sequence[float], scores: Mapping[str, Sequence[float]], title: str = "", caption: str = ""
) -> Figure:
    """What copying an identity's labels scores in each partition, over the share of test images it can be done for.

    Args:
        overlap: share of test images with a known identity, one a partition.
        scores: `{score: one value a partition}`; all fractions of 1.
    """
    made, ax = figure(7, 3, title, caption)
    at = np.arange(len(overlap))
    ax.bar(at, 100 * np.asarray(overlap), color=GREY, alpha=0.4, width=0.6, label="identity is in trainval")
    for (name, values), colour, mark in zip(scores.items(), COLOURS, "osD^v", strict=False):
        ax.plot(at, 100 * np.asarray(values), mark, color=colour, ms=7, label=name)
    ax.axhline(50, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="official partition", ylabel="%", ylim=(0, 100), xticks=at)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


def flavours(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """One set of predictions under several conventions: a row of dots a convention, joined by a line a score.

    `table`: DataFrame in percent, one row a convention, one column a score.
    """
    made, ax = figure(7, 0.32 * len(table) + 1.6, title, caption)
    y = np.arange(len(table))[::-1]
    for name, colour in zip(table, COLOURS, strict=False):
        ax.plot(table[name], y, "o-", color=colour, ms=5, lw=1, label=name)
        for value, at in zip(table[name], y, strict=True):
            ax.annotate(f"{value:.1f}", (value, at), (0, 5), textcoords="offset points", fontsize=7, ha="center")
    ax.set_yticks(y, table.index)
    ax.set(xlabel="%", ylim=(-0.5, len(table) - 0.4))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


def calibration(records: Sequence[dict[str, Any]], title: str = "", caption: str = "") -> Figure:
    """Reliability of each method from its records' bins: share of yes against mean probability, over all seeds.

    The legend gives the expected calibration error: the mean gap between the two over labels, in percentage points.
    """
    made, ax = figure(5.2, 3.6, title, caption)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
    for method, colour in zip(dict.fromkeys(r["method"] for r in records), COLOURS, strict=False):
        bins = [record["calibration"] for record in records if record["method"] == method]
        count = np.array([b["count"] for b in bins], float)  # (seeds, bins)
        given, yes = (
            (count * [b[name] for b in bins]).sum(0) / np.maximum(1, count.sum(0)) for name in ("probability", "yes")
        )
        filled, error = count.sum(0) > 0, (count.sum(0) * abs(given - yes)).sum() / count.sum()
        ax.plot(given[filled], yes[filled], "o-", color=colour, ms=4, label=f"{method}, error {100 * error:.1f}")
    ax.set(xlabel="probability given", ylabel="share that is yes")
    ax.legend(frameon=False, fontsize=8)
    return made


def strengths(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """The head against the best baseline, attribute by attribute; `table` from `attribute_table`, with `lead`."""
    table = table.sort_values("lead")
    others = [name for name in table if name not in (HEAD, "lead", "positives")]
    made, ax = figure(7, 0.2 * len(table) + 1.4, title, caption)
    y, best = np.arange(len(table)), table[others].max(axis=1)
    ax.hlines(y, best, table[HEAD], color=GREY, lw=1)
    ax.plot(best, y, "o", color=ORANGE, ms=4, label="best baseline")
    ax.plot(table[HEAD], y, "o", color=BLUE, ms=4, label=HEAD)
    ax.set_yticks(y, [f"{n} ({k:,})" for n, k in zip(table.index, table["positives"], strict=True)], fontsize=7)
    ax.set(xlabel="% (positives in test in brackets)")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


def domain_losses(losses: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """Score at home against score away, one dot an attribute and pair; `losses` from `cross_domain_losses`."""
    pairs = losses.groupby(["trained_on", "tested_on", "attribute"])[["home", "away"]].mean().reset_index()
    pairs = pairs[pairs["trained_on"] != pairs["tested_on"]]
    tests = list(dict.fromkeys(pairs["tested_on"]))
    made, axes = figure(3 * len(tests), 3.4, title, caption, 1, len(tests), sharey=True, squeeze=False)
    colours = dict(zip(dict.fromkeys(pairs["trained_on"]), COLOURS, strict=False))
    for ax, tested in zip(axes.flat, tests, strict=True):
        for trained, group in pairs[pairs["tested_on"] == tested].groupby("trained_on"):
            loss = 100 * (group["home"] - group["away"]).mean()
            label = f"from {trained}: {-loss:+.1f}"
            ax.plot(100 * group["home"], 100 * group["away"], "o", color=colours[trained], ms=4, label=label)
        ax.plot([40, 100], [40, 100], color=GREY, lw=0.8, ls=":")
        ax.set(xlabel=f"trained on {tested}, %")
        ax.set_title(f"tested on {tested}", loc="left", fontsize=9)
        ax.legend(frameon=False, fontsize=7)
    axes[0, 0].set_ylabel("trained elsewhere, %")
    return made
