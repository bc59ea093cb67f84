"""Figures of pictures and of what an encoder knows of them. Where no title is given, most state the finding."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from parlib.show.figures.style import COLOURS, ORANGE, dots, figure, patches, pictures


def contact_sheet(
    images: Sequence[Any], titles: Sequence[str] = (), title: str = "", caption: str = "", columns: int = 10
) -> Figure:
    """Crops side by side at one height, so that their aspect ratios show. `images`: PIL, or (height, width, 3)."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    made, axes = pictures(0.9 * columns, 2.4 * rows + 0.6, title, caption, rows, columns)
    for ax, image, name in zip(axes.flat, images, titles or [""] * len(images), strict=False):
        ax.imshow(np.asarray(image))
        ax.set_title(name, fontsize=7)
    return made


def similarity_maps(
    images: Sequence[Image.Image], maps: ArrayLike, phrases: Sequence[str], title: str = "", caption: str = ""
) -> Figure:
    """How similar each patch is to each prompt: one row of maps per prompt, the best patch of each image marked.

    `maps`: (B, A, N) cosines, N a square number, from `Encoder.similarity_maps`; colours span the range of a prompt.
    """
    maps = np.asarray(maps, dtype=np.float32)
    side = math.isqrt(maps.shape[-1])
    height = (maps.argmax(-1) // side + 0.5).mean(0) / side  # (A,) of the best patch, 0 at the top
    high, low = height.argmin(), height.argmax()
    title = title or (
        f'The patch most similar to "{phrases[high]}" lies at {100 * height[high]:.0f} % of the height from the top on '
        f'average, the one most similar to "{phrases[low]}" at {100 * height[low]:.0f} %'
    )
    rows, columns = len(phrases) + 1, len(images)
    made, axes = figure(1.05 * columns + 1.6, 1.75 * rows + 0.6, title, caption, rows, columns, squeeze=False)
    for ax, image in zip(axes[0], images, strict=True):
        ax.imshow(image)
        ax.axis("off")
    for row, phrase in enumerate(phrases, 1):
        each = maps[:, row - 1]  # (B, N)
        for ax, image, cosines in zip(axes[row], images, each, strict=True):
            shown = patches(ax, image, cosines, cmap="viridis", vmin=each.min(), vmax=each.max())
            y, x = divmod(int(cosines.argmax()), side)
            ax.plot((x + 0.5) / side * image.width, (y + 0.5) / side * image.height, "o", color=ORANGE, ms=4)
            ax.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(textwrap.fill(phrase, 18), fontsize=8)
        made.colorbar(shown, ax=axes[row].tolist(), label="cosine", shrink=0.8)
    return made


def languages(
    per_attribute: Mapping[str, pd.DataFrame], scores: Mapping[str, np.ndarray], title: str = "", caption: str = ""
) -> Figure:
    """Zero-shot mA of each attribute by the language of its prompt, and how similarly two languages rank the images.

    By language: `Scores.per_attribute`, and `scores`, (n, A) probabilities of the same images and attributes.
    """
    table = pd.DataFrame({code: 100 * frame["mA"].astype(float) for code, frame in per_attribute.items()})
    codes = list(table)
    by_attribute = np.stack([scores[code] for code in codes], axis=-1).transpose(1, 0, 2)  # (A, n, L)
    # (A, L, L) rank correlations over images, nan where an attribute has one score for all of them
    correlations = np.stack([pd.DataFrame(columns).rank().corr() for columns in by_attribute])
    agreement, pairs = np.nanmean(correlations, axis=0), ~np.eye(len(codes), dtype=bool)
    least = table.index[np.nanargmin(np.nanmean(correlations[:, pairs], axis=1))]
    mean = table.mean()
    title = title or (
        f"Mean mA is between {mean.min():.1f} ({mean.idxmin()}) and {mean.max():.1f} ({mean.idxmax()}); the rank "
        f"correlation of two languages is {agreement[pairs].mean():.2f} on average and lowest for {least}"
    )
    table = table.loc[table.mean(axis=1).sort_values().index]
    made, (left, right) = figure(8.6, 0.18 * len(table) + 1.6, title, caption, 1, 2, width_ratios=(3, 2))
    dots(left, table, "mA of the attribute, %")
    left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncol=len(codes))
    bar = {"label": "rank correlation over images,\nmean over attributes", "shrink": 0.5}
    named = {"xticklabels": codes, "yticklabels": codes, "square": True, "annot_kws": {"fontsize": 8}}
    least_shown = min(0, agreement.min())
    sns.heatmap(
        agreement, ax=right, cmap="viridis", vmin=least_shown, vmax=1, annot=True, fmt=".2f", cbar_kws=bar, **named
    )
    return made


def neighbourhoods(
    features: ArrayLike, panels: Mapping[str, np.ndarray], neighbours: int = 10, title: str = "", caption: str = ""
) -> Figure:
    """Two principal components of features (n, D), compared by cosine, coloured once by each label of `panels`.

    `panels`: name -> n values. The shares in the titles are counted over nearest neighbours in all D dimensions.
    """
    unit = normalize(np.asarray(features, dtype=np.float32))
    near = NearestNeighbors(n_neighbors=neighbours + 1).fit(unit).kneighbors(unit, return_distance=False)[:, 1:]
    pca = PCA(2, random_state=0)
    places, variance = pca.fit_transform(unit), 100 * pca.explained_variance_ratio_
    found = {}  # label -> % of neighbours that have the same value, % among images drawn at random
    for name, values in panels.items():
        values = np.asarray(values)
        shares = np.unique(values, return_counts=True)[1] / len(values)
        found[name] = 100 * (values[near] == values[:, None]).mean(), 100 * (shares**2).sum()
    first = next(iter(panels))
    title = title or (
        f"{found[first][0]:.0f} % of an image's {neighbours} nearest neighbours share its {first}; chance is "
        f"{found[first][1]:.0f} %"
    )
    made, axes = figure(3.4 * len(panels), 3.9, title, caption, 1, len(panels), sharey=True, squeeze=False)
    for ax, (name, values) in zip(axes[0], panels.items(), strict=True):
        for value, colour in zip(np.unique(values), COLOURS, strict=False):
            ax.scatter(*places[np.asarray(values) == value].T, s=5, color=colour, label=str(value), linewidths=0)
        ax.set_title("{}: shared by {:.0f} % (chance {:.0f} %)".format(name, *found[name]), fontsize=8)
        ax.set(xlabel=f"first principal component ({variance[0]:.0f} %)", xticks=[], yticks=[])
        ax.legend(frameon=False, fontsize=8, markerscale=2, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncol=3)
    axes[0, 0].set_ylabel(f"second ({variance[1]:.0f} % of the variance)")
    return made


def attribute_scores(
    by_method: Mapping[str, pd.DataFrame], title: str = "", caption: str = "", chance: float | None = None
) -> Figure:
    """mA of each attribute, one dot per method, sorted by the last, which the default title compares with the first.

    `by_method`: `Scores.per_attribute`, fractions of 1; `chance`: where to draw a line, such as 0.5 for mA.
    """
    table = pd.DataFrame({method: 100 * frame["mA"].astype(float) for method, frame in by_method.items()})
    table = table.sort_values(table.columns[-1])
    first, last = table.columns[0], table.columns[-1]
    gain = (table[last] - table[first]).dropna()
    title = title or (
        f"{last} is above {first} on {(gain > 0).sum()} of {len(gain)} attributes; the difference runs from "
        f"{gain.min():+.1f} ({gain.idxmin()}) to {gain.max():+.1f} ({gain.idxmax()}), mean {gain.mean():+.1f}"
    )
    made, ax = figure(8, 0.21 * len(table) + 1.4, title, caption)
    dots(ax, table, "mA of the attribute, %")
    if chance is not None:
        ax.axvline(100 * chance, color="black", lw=0.8, ls=":")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=4)
    return made
