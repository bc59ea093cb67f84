"""Figures of what a frozen encoder already knows."""

import math

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from parlib.show.figures.style import COLOURS, figure


def patch_colours(images, tokens, title="", caption=""):
    """The first three principal components of all patch tokens as red, green and blue, under each image.

    Args:
        images: B PIL images.
        tokens: (B, N, D) patch tokens; N must be a square number.
    """
    tokens = np.asarray(tokens, dtype=np.float32)
    side = math.isqrt(tokens.shape[1])
    parts = PCA(3, random_state=0).fit_transform(tokens.reshape(-1, tokens.shape[-1]))
    low, high = np.percentile(parts, [2, 98], axis=0)
    maps = ((parts - low) / (high - low)).clip(0, 1).reshape(len(images), side, side, 3)
    made, axes = figure(1.05 * len(images), 4.2, title, caption, 2, len(images))
    for column, (image, colours) in enumerate(zip(images, maps, strict=True)):
        axes[0, column].imshow(image)
        # Drawn in the crop's own shape: the encoder saw a square.
        axes[1, column].imshow(colours, extent=(0, image.width, image.height, 0), interpolation="nearest")
        axes[0, column].axis("off"), axes[1, column].axis("off")
    return made


def attribute_scores(by_method, column="mA", title="", caption="", chance=None):
    """One dot an attribute and method, sorted by the last method.

    Args:
        by_method: method -> `Scores.per_attribute` or {attribute: {column: value}}; values are fractions of 1.
        chance: draws a line there, such as 0.5 for mA.
    """
    frames = {method: pd.DataFrame(t).T if isinstance(t, dict) else t for method, t in by_method.items()}
    table = pd.DataFrame({method: 100 * frame[column].astype(float) for method, frame in frames.items()})
    table = table.sort_values(table.columns[-1])
    made, ax = figure(8, 0.21 * len(table) + 1.4, title, caption)
    y = np.arange(len(table))
    for (method, values), colour, marker in zip(table.items(), COLOURS, "osD^vP", strict=False):
        ax.plot(values, y, marker, color=colour, ms=4.5, label=method)
    if chance is not None:
        ax.axvline(100 * chance, color="black", lw=0.8, ls=":")
    ax.set_yticks(y, table.index, fontsize=8)
    ax.set_xlabel(f"{column} of the attribute, %")
    ax.grid(axis="x", alpha=0.25)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=4)
    return made
