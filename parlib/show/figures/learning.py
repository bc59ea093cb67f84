"""Figures of a head in training and at work."""

import math

import numpy as np
import pandas as pd

from parlib.show.figures.style import BLUE, COLOURS, GREY, ORANGE, figure


def training_curves(history, title="", caption=""):
    """Training loss, and val mA and mAP, by epoch; the kept epoch is marked. `history`: from `fit`."""
    table = pd.DataFrame(history.epochs)
    made, axes = figure(8, 2.8, title, caption, 1, 2)
    axes[0].plot(table["epoch"], table["loss"], "o-", color=GREY, ms=3)
    axes[0].set(xlabel="epoch", ylabel="training loss")
    for name, colour in (("mA", BLUE), ("mAP", ORANGE)):
        axes[1].plot(table["epoch"], 100 * table[name], "o-", color=colour, ms=3, label=f"{name} on val")
    axes[1].axvline(history.best_epoch, color=GREY, lw=0.8, ls=":")
    axes[1].set(xlabel="epoch", ylabel="%")
    axes[1].legend(frameon=False)
    return made


def attention_overlay(images, maps, titles, title="", caption="", rows=1):
    """Where an attribute looks: the attention on each patch over the darkened crop.

    Args:
        images: K PIL images.
        maps: (K, N) attention on each patch; N must be a square number.
        titles: K lines.
        rows: K is spread over so many.
    """
    maps = np.asarray(maps, dtype=np.float32)
    side = math.isqrt(maps.shape[1])
    columns = -(-len(images) // rows)
    made, axes = figure(max(7, 1.15 * columns), 0.6 + 2.8 * rows, title, caption, rows, columns, squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image, weights, line in zip(axes.flat, images, maps, titles, strict=False):
        ax.imshow(image.convert("L"), cmap="gray", vmax=330)
        grid = weights.reshape(side, side)
        extent = (0, image.width, image.height, 0)
        ax.imshow(grid, extent=extent, cmap="inferno", alpha=0.55, interpolation="bicubic")
        ax.set_title(line, fontsize=7)
        ax.axis("off")
    return made


def reliability(labels, probabilities, title="", caption="", bins=10):
    """How often an answer of p is right: share of yes against mean probability in equal bins of p.

    Args:
        labels: (N, A) of 1, 0, -1; unknown is left out.
        probabilities: `{name: (N, A)}`; the legend gives each its expected calibration error.
    """
    known, edges = labels >= 0, np.linspace(0, 1, bins + 1)
    made, ax = figure(4.6, 3.4, title, caption)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
    for (name, values), colour in zip(probabilities.items(), COLOURS, strict=False):
        table = pd.DataFrame({"p": values[known], "yes": labels[known] == 1})
        binned = table.groupby(np.digitize(table["p"], edges[1:-1]))
        mean = binned.mean()
        error = (binned.size() / len(table) * (mean["p"] - mean["yes"]).abs()).sum()
        ax.plot(mean["p"], mean["yes"], "o-", color=colour, ms=4, label=f"{name}, error {100 * error:.1f}")
    ax.set(xlabel="probability given", ylabel="share that is yes")
    ax.legend(frameon=False)
    return made
