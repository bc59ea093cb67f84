"""Figures of patch features, and of a head in training and at work."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.decomposition import PCA

from parlib.learn.train import History
from parlib.show.figures.style import BLUE, GREY, ORANGE, figure, patches, pictures


def patch_colours(images: Sequence[Image.Image], tokens: ArrayLike, title: str = "", caption: str = "") -> Figure:
    """Three principal components of patch tokens (B, N, D), N a square number, as red, green, blue under B images."""
    tokens = np.asarray(tokens, dtype=np.float32)
    pca = PCA(3, random_state=0)
    components = pca.fit_transform(tokens.reshape(-1, tokens.shape[-1]))  # (B * N, 3)
    low, high = np.percentile(components, [2, 98], axis=0)
    maps = ((components - low) / (high - low)).clip(0, 1).reshape(*tokens.shape[:2], 3)
    height = np.tile(np.arange(tokens.shape[1]) // math.isqrt(tokens.shape[1]), len(images))  # row of each patch
    correlation = max(abs(np.corrcoef(component, height)[0, 1]) for component in components.T)
    title = title or (
        f"Three directions hold {100 * pca.explained_variance_ratio_.sum():.0f} % of the variance of these tokens; "
        f"one of them follows height in the picture with |r| = {correlation:.2f}"
    )
    made, axes = pictures(1.05 * len(images), 4.2, title, caption, 2, len(images))
    for above, below, image, colours in zip(*axes, images, maps, strict=True):
        above.imshow(image)
        patches(below, image, colours, interpolation="nearest")
    return made


def training_curves(history: History, title: str = "", caption: str = "") -> Figure:
    """Training loss, and mA and mAP on val, by epoch; a line marks the kept epoch. `history`: from `fit`."""
    table = pd.DataFrame(history.epochs).set_index("epoch")
    made, axes = figure(8, 2.8, title, caption, 1, 2)
    axes[0].plot(table["loss"], "o-", color=GREY, ms=3)
    axes[0].set(xlabel="epoch", ylabel="training loss")
    for name, colour in (("mA", BLUE), ("mAP", ORANGE)):
        axes[1].plot(100 * table[name], "o-", color=colour, ms=3, label=f"{name} on val")
    axes[1].axvline(history.best_epoch, color=GREY, lw=0.8, ls=":", label="kept epoch")
    axes[1].set(xlabel="epoch", ylabel="%")
    axes[1].legend(frameon=False)
    return made


def attention_overlay(
    images: Sequence[Image.Image],
    maps: np.ndarray,
    titles: Sequence[str],
    title: str = "",
    caption: str = "",
    rows: int = 1,
) -> Figure:
    """Attention `maps` (K, N), N a square number, over K darkened crops with a title each, spread over some rows."""
    maps = np.asarray(maps, dtype=np.float32)
    columns = -(-len(images) // rows)
    made, axes = pictures(max(7, 1.15 * columns), 0.6 + 2.8 * rows, title, caption, rows, columns)
    for ax, image, weights, line in zip(axes.flat, images, maps, titles, strict=False):
        ax.imshow(image.convert("L"), cmap="gray", vmax=330)
        patches(ax, image, weights, cmap="inferno", alpha=0.55, interpolation="bicubic")
        ax.set_title(line, fontsize=7)
    return made


def few_shot_curves(table: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """AP of new attributes by the number of labelled crops (`few_shot_curve`): one dot per draw, lines the means."""
    names = table["attribute"].unique()
    made, axes = figure(2.3 * len(names), 2.8, title, caption, 1, len(names), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        part = table[table["attribute"] == name].assign(AP=lambda rows: 100 * rows["AP"])
        labelled = part[part["labels"] > 0]
        ax.axhline(part.loc[part["labels"] == 0, "AP"].iloc[0], color=GREY, ls="--", lw=1, label="phrase alone")
        for start, colour, label in (("phrase", BLUE, "from the phrase"), ("nothing", ORANGE, "from nothing")):
            draws = labelled[labelled["start"] == start]
            ax.plot(draws["labels"], draws["AP"], "o", color=colour, ms=3, alpha=0.5)
            ax.plot(draws.groupby("labels")["AP"].mean(), color=colour, lw=1.5, label=label)
        sizes = sorted(labelled["labels"].unique())
        ax.set(title=name, xlabel="labelled crops", ylim=(0, 100), xscale="log")
        ax.set_xticks(sizes, map(str, sizes))
        ax.minorticks_off()
    axes[0, 0].set_ylabel("average precision, %")
    axes[0, 0].legend(frameon=False, fontsize=7, loc="lower right")
    return made
