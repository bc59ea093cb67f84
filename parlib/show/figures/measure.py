"""Figures of what numbers mean, from records, tables and the audit. Where no title is given, it states the finding."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from parlib.measure.rows import grouped
from parlib.measure.tables import HEAD
from parlib.show.figures.style import BLUE, COLOURS, GREEN, GREY, MARKERS, ORANGE, figure, names_on_y

_RIGHT = {"frameon": False, "loc": "center left", "bbox_to_anchor": (1, 0.5)}  # of a legend beside its axes


def plain_against_mA(
    panels: Mapping[str, tuple[Mapping[str, tuple[float, float]], float | None]], title: str = "", caption: str = ""
) -> Figure:
    """Plain accuracy against mA in percent, one panel per benchmark; lines at a printed number whose metric is unclear.

    `panels`: name -> (`{predictor: (plain accuracy, mA)}`, the printed number or None).
    """
    made, axes = figure(3 * len(panels), 3.2, title, caption, 1, len(panels), sharey=True, squeeze=False)
    for ax, (name, (points, printed)) in zip(axes.flat, panels.items(), strict=True):
        for (label, (plain, balanced)), colour in zip(points.items(), COLOURS, strict=False):
            ax.plot(plain, balanced, "o", color=colour, ms=6)
            place = {"xytext": (-7, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
            ax.annotate(f"{label}\n{plain:.1f} | {balanced:.1f}", (plain, balanced), **place, fontsize=8)
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
    """Scores of copying the labels of an identity, over the share of test images with a known one (`overlap`).

    Both have one value per partition, fractions of 1; `scores` is a dict of them by name.
    """
    made, ax = figure(7, 3, title, caption)
    at = np.arange(len(overlap))
    ax.bar(at, 100 * np.asarray(overlap), color=GREY, alpha=0.4, width=0.6, label="identity is in trainval")
    for (name, values), colour, marker in zip(scores.items(), COLOURS, MARKERS, strict=False):
        ax.plot(at, 100 * np.asarray(values), marker, color=colour, ms=7, label=name)
    ax.axhline(50, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="official partition", ylabel="%", ylim=(0, 100), xticks=at)
    ax.legend(**_RIGHT)
    return made


def flavours(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """One set of predictions under several conventions: one row of dots per convention.

    `table`: DataFrame in percent, one row per convention, one column per score.
    """
    made, ax = figure(7, 0.32 * len(table) + 1.6, title, caption)
    table = table[::-1]  # the first row on top
    for name, colour in zip(table, COLOURS, strict=False):
        ax.plot(table[name], range(len(table)), "o", color=colour, ms=5, label=name)
        for y, value in enumerate(table[name]):
            ax.annotate(f"{value:.1f}", (value, y), (5, 0), textcoords="offset points", fontsize=7, va="center")
    names_on_y(ax, table.index, "%")
    ax.set_ylim(-0.5, len(table) - 0.4)
    ax.legend(**_RIGHT)
    return made


def calibration(records: Sequence[dict[str, Any]], title: str = "", caption: str = "") -> Figure:
    """Reliability from the bins of records: share of yes against mean probability, a curve for each row of a table.

    A curve is over all seeds. The legend gives its expected calibration error: the mean gap over labels, in points.
    """
    made, ax = figure(5.2, 3.6, title, caption)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
    groups = grouped(records)
    names = [group.name for group in groups]
    for group, colour in zip(groups, itertools.cycle(COLOURS), strict=False):
        several = names.count(group.name) > 1
        label = f"{group.name}, {group.data}, {group.backbone}" if several else group.name
        bins = [record["calibration"] for record in group.records]
        count = np.array([b["count"] for b in bins], float)  # (seeds, bins)
        total = count.sum(0)
        sums = [(count * [b[name] for b in bins]).sum(0) for name in ("probability", "yes")]
        probability, yes = sums / np.maximum(1, total)
        error = (total * abs(probability - yes)).sum() / total.sum()
        filled = total > 0
        ax.plot(probability[filled], yes[filled], "o-", color=colour, ms=4, label=f"{label}, error {100 * error:.1f}")
    ax.set(xlabel="probability predicted", ylabel="share that is yes")
    ax.legend(frameon=False, fontsize=8)
    return made


def strengths(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """The head against the best baseline, attribute by attribute; `table` from `attribute_table`, with `lead`."""
    table = table.sort_values("lead")
    lead = table["lead"].dropna()
    title = title or (
        f"The head is ahead of the best baseline on {(lead > 0).sum()} of {len(lead)} attributes, most on "
        f"{lead.index[-1]} ({lead.iloc[-1]:+.1f}); it is furthest behind on {lead.index[0]} ({lead.iloc[0]:+.1f})"
    )
    best = table[HEAD] - table["lead"]
    made, ax = figure(7, 0.2 * len(table) + 1.4, title, caption)
    y = np.arange(len(table))
    ax.hlines(y, best, table[HEAD], color=GREY, lw=1)
    ax.plot(best, y, "o", color=ORANGE, ms=4, label="best baseline")
    ax.plot(table[HEAD], y, "o", color=BLUE, ms=4, label=HEAD)
    names = [f"{name} ({count:,})" for name, count in table["positives"].items()]
    names_on_y(ax, names, "% (positives in test in brackets)")
    ax.legend(**_RIGHT)
    return made


def domain_losses(losses: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """Score at home against score away, one dot per attribute and pair; `losses` from `cross_domain_losses`.

    Legends give the mean difference, away minus home, in percentage points.
    """
    pairs = 100 * losses.groupby(["trained_on", "tested_on", "attribute"], sort=False)[["home", "away"]].mean()
    pairs = pairs.reset_index().query("trained_on != tested_on").assign(change=lambda p: p["away"] - p["home"])
    change = pairs.groupby(["tested_on", "trained_on"])["change"].mean().groupby(level=0).mean().sort_values()
    title = title or (
        f"A head trained elsewhere loses most on {change.index[0]} ({change.iloc[0]:+.1f} points) and least on "
        f"{change.index[-1]} ({change.iloc[-1]:+.1f})"
    )
    made, axes = figure(3 * len(change), 3.4, title, caption, 1, len(change), sharey=True, squeeze=False)
    lowest = pairs[["home", "away"]].min().min()
    colours = dict(zip(pairs["trained_on"].unique(), COLOURS, strict=False))
    for ax, (tested, part) in zip(axes.flat, pairs.groupby("tested_on", sort=False), strict=True):
        for trained, group in part.groupby("trained_on", sort=False):
            label = f"from {trained}: {group['change'].mean():+.1f}"
            ax.plot(group["home"], group["away"], "o", color=colours[trained], ms=4, label=label)
        ax.plot([lowest, 100], [lowest, 100], color=GREY, lw=0.8, ls=":")
        ax.set(xlabel=f"trained on {tested}, %")
        ax.set_title(f"tested on {tested}", loc="left", fontsize=9)
        ax.legend(frameon=False, fontsize=7)
    axes[0, 0].set_ylabel("trained elsewhere, %")
    return made


def claims(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """The claims of one kind of data and encoder as intervals against zero; `table` from `parlib.measure.claims`.

    What lies right of zero speaks for the claim. The axis is linear within 1 and logarithmic beyond.
    """
    counts = table["verdict"].value_counts()
    title = title or "The paper's claims: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    made, ax = figure(11, 0.5 * len(table) + 1.6, title, caption)
    ax.axvline(0, color="black", lw=1)
    ax.set_xscale("symlog", linthresh=1)
    colours = {"supported": GREEN, "contradicted": ORANGE, "undecided": GREY}
    table = table[::-1]  # the first on top
    for y, row in enumerate(table.itertuples()):
        colour = colours.get(row.verdict, GREY)
        if row.verdict == "not run":
            words = "not run"
        else:
            ax.plot([row.low, row.high], [y, y], color=colour, lw=4, alpha=0.5, solid_capstyle="butt")
            ax.plot(row.difference, y, "o", color=colour, ms=7)
            against = f", against {row.against}" if row.against else ""
            words = f"{row.verdict}: {row.difference:+.2g} {row.unit}{against}"
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(words, (1, y), (6, 0), **place, va="center", fontsize=8, color=colour)
    reach = max(3.0, float(np.nanmax(np.abs(table[["low", "high"]].to_numpy(float)), initial=0)) * 1.2)
    ticks = [tick for tick in (1, 3, 10, 30, 100) if tick <= reach]
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-0.6, len(table) - 0.4)
    names = [textwrap.fill(f"({name}) {statement}", 52) for name, statement in table["statement"].items()]
    names_on_y(ax, names, "against | for the claim (each in its unit, named at the right; logarithmic beyond 1)")
    ticks = [*(-tick for tick in reversed(ticks)), 0, *ticks]
    ax.set_xticks(ticks, map(str, ticks))
    return made
