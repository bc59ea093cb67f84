"""Figures of what a frozen encoder already knows. Where no title is given, it states what the given data show."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from parlib.show.figures.style import COLOURS, ORANGE, figure


def patch_colours(
    images: Sequence[Image.Image], tokens: np.ndarray | torch.Tensor, title: str = "", caption: str = ""
) -> Figure:
    """The first three principal components of all patch tokens as red, green and blue, under each image.

    Args:
        images: B PIL images.
        tokens: (B, N, D) patch tokens; N must be a square number.
    """
    tokens = np.asarray(tokens, dtype=np.float32)
    side = math.isqrt(tokens.shape[1])
    pca = PCA(3, random_state=0)
    parts = pca.fit_transform(tokens.reshape(-1, tokens.shape[-1]))
    low, high = np.percentile(parts, [2, 98], axis=0)
    maps = ((parts - low) / (high - low)).clip(0, 1).reshape(len(images), side, side, 3)
    height = np.tile(np.repeat(np.arange(side), side), len(images))  # row of each patch
    follows = max(abs(np.corrcoef(part, height)[0, 1]) for part in parts.T)
    title = title or (
        f"Three directions hold {100 * pca.explained_variance_ratio_.sum():.0f} % of the variance of all patch tokens; "
        f"one of them follows height in the picture with |r| = {follows:.2f}"
    )
    made, axes = figure(1.05 * len(images), 4.2, title, caption, 2, len(images), squeeze=False)
    for column, (image, colours) in enumerate(zip(images, maps, strict=True)):
        axes[0, column].imshow(image)
        # Drawn in the crop's own shape: the encoder saw a square.
        axes[1, column].imshow(colours, extent=(0, image.width, image.height, 0), interpolation="nearest")
        axes[0, column].axis("off"), axes[1, column].axis("off")
    return made


def similarity_maps(
    images: Sequence[Image.Image],
    maps: np.ndarray | torch.Tensor,
    phrases: Sequence[str],
    title: str = "",
    caption: str = "",
) -> Figure:
    """How much each patch is like each prompt, below the images: a row a prompt, the best patch of each marked.

    Args:
        images: B PIL images.
        maps: (B, A, N) cosines, from `Encoder.similarity_maps`; N must be a square number. Colours span each prompt's
            own range over the images shown.
        phrases: A prompts.
    """
    maps = np.asarray(maps, dtype=np.float32)
    side = math.isqrt(maps.shape[-1])
    height = (maps.argmax(-1) // side + 0.5).mean(0) / side  # (A,) of the best patch, 0 at the top
    high, low = height.argmin(), height.argmax()
    title = title or (
        f'The patch most like "{phrases[high]}" lies at {100 * height[high]:.0f} % of the height from the top on '
        f'average, the one most like "{phrases[low]}" at {100 * height[low]:.0f} %'
    )
    rows, columns = len(phrases) + 1, len(images)
    made, axes = figure(1.05 * columns + 1.6, 1.75 * rows + 0.6, title, caption, rows, columns, squeeze=False)
    for column, image in enumerate(images):
        axes[0, column].imshow(image)
        axes[0, column].axis("off")
    for row, phrase in enumerate(phrases, 1):
        each = maps[:, row - 1]  # (B, N)
        for ax, image, cosines in zip(axes[row], images, each, strict=True):
            limits = {"vmin": each.min(), "vmax": each.max(), "extent": (0, image.width, image.height, 0)}
            shown = ax.imshow(cosines.reshape(side, side), "viridis", **limits)
            y, x = divmod(int(cosines.argmax()), side)
            ax.plot((x + 0.5) / side * image.width, (y + 0.5) / side * image.height, "o", color=ORANGE, ms=4)
            ax.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel("\n".join(textwrap.wrap(phrase, 18)), fontsize=8)
        made.colorbar(shown, ax=axes[row].tolist(), label="cosine", shrink=0.8)
    return made


def languages(
    per_attribute: Mapping[str, pd.DataFrame], scores: Mapping[str, np.ndarray], title: str = "", caption: str = ""
) -> Figure:
    """Zero-shot mA of each attribute by the language of its prompt, and how alike two languages rank the images.

    Args:
        per_attribute: language -> `Scores.per_attribute` (fractions of 1).
        scores: language -> (n, A) probabilities of the same images, attributes in the order of `per_attribute`.
    """
    table = pd.DataFrame({code: 100 * frame["mA"].astype(float) for code, frame in per_attribute.items()})
    codes = list(table.columns)
    # (A, L, L) rank correlations over images: one matrix an attribute.
    stacked = np.stack([np.asarray(scores[code], dtype=np.float64) for code in codes], -1)  # (n, A, L)
    each = np.stack([_rank_correlations(stacked[:, a]) for a in range(stacked.shape[1])])
    agreement, apart = np.nanmean(each, 0), ~np.eye(len(codes), dtype=bool)
    least = table.index[np.nanargmin([np.nanmean(matrix[apart]) for matrix in each])]
    mean = table.mean()
    title = title or (
        f"Mean mA runs from {mean.min():.1f} ({mean.idxmin()}) to {mean.max():.1f} ({mean.idxmax()}); two languages "
        f"rank the images alike with a mean rank correlation of {agreement[apart].mean():.2f}, least for {least}"
    )
    table = table.loc[table.mean(axis=1).sort_values().index]
    made, (left, right) = figure(
        8.6, 0.18 * len(table) + 1.6, title, caption, 1, 2, gridspec_kw={"width_ratios": [3, 2]}
    )
    y = np.arange(len(table))
    for code, colour, marker in zip(codes, COLOURS, "osD^vPX", strict=False):
        left.plot(table[code], y, marker, color=colour, ms=4, label=code)
    left.set_yticks(y, table.index, fontsize=8)
    left.set_xlabel("mA of the attribute, %")
    left.grid(axis="x", alpha=0.25)
    left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncol=len(codes))
    shown = right.imshow(agreement, "viridis", vmin=min(0, agreement.min()), vmax=1)
    right.set_xticks(range(len(codes)), codes), right.set_yticks(range(len(codes)), codes)
    for i, row in enumerate(agreement):
        for j, value in enumerate(row):
            right.text(
                j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="black" if value > 0.6 else "white"
            )
    made.colorbar(shown, ax=right, label="rank correlation over images, mean of attributes", shrink=0.5)
    return made


def _rank_correlations(columns):
    """(n, L) -> (L, L) Spearman correlations; NaN where a column is constant."""
    ranks = pd.DataFrame(columns).rank()
    return ranks.corr().to_numpy()


def neighbourhoods(
    features: np.ndarray | torch.Tensor,
    panels: Mapping[str, np.ndarray],
    neighbours: int = 10,
    title: str = "",
    caption: str = "",
    seed: int = 0,
) -> Figure:
    """A t-SNE map of images, coloured once by each of several labels.

    Args:
        features: (n, D), compared by cosine.
        panels: name of a label -> its n values.
        neighbours: how many of each image's nearest the title's shares are counted over, in all D dimensions: a map in
            two may tear apart what is near.
    """
    unit = np.asarray(features, dtype=np.float32)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=neighbours + 1).fit(unit).kneighbors(unit, return_distance=False)[:, 1:]
    perplexity = min(30, (len(unit) - 1) / 3)
    where = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit)
    said = []
    for name, values in panels.items():
        values = np.asarray(values)
        share = (values[near] == values[:, None]).mean()
        chance = sum((values == value).mean() ** 2 for value in np.unique(values))
        said.append(f"{name} {100 * share:.0f} % ({100 * chance:.0f} % by chance)")
    title = title or f"Share of an image's {neighbours} nearest with the same label: {', '.join(said)}"
    made, axes = figure(3.4 * len(panels), 3.9, title, caption, 1, len(panels), squeeze=False)
    for ax, (name, values) in zip(axes[0], panels.items(), strict=True):
        values = np.asarray(values)
        for value, colour in zip(np.unique(values), COLOURS, strict=False):
            ax.scatter(*where[values == value].T, s=5, color=colour, label=str(value), linewidths=0)
        ax.set_title(name, fontsize=9)
        ax.axis("off")
        ax.legend(frameon=False, fontsize=8, markerscale=2, loc="upper center", bbox_to_anchor=(0.5, 0), ncol=3)
    return made


def attribute_scores(
    by_method: Mapping[str, pd.DataFrame | dict[str, dict[str, float]]],
    column: str = "mA",
    title: str = "",
    caption: str = "",
    chance: float | None = None,
) -> Figure:
    """One dot an attribute and method, sorted by the last method.

    Args:
        by_method: method -> `Scores.per_attribute` or {attribute: {column: value}}; values are fractions of 1.
        title: by default says how the last method compares with the first.
        chance: draws a line there, such as 0.5 for mA.
    """
    frames = {method: pd.DataFrame(t).T if isinstance(t, dict) else t for method, t in by_method.items()}
    table = pd.DataFrame({method: 100 * frame[column].astype(float) for method, frame in frames.items()})
    table = table.sort_values(table.columns[-1])
    first, last = table.columns[0], table.columns[-1]
    gain = table[last] - table[first]
    title = title or (
        f"{last} is above {first} on {(gain > 0).sum()} of {gain.notna().sum()} attributes, by {gain.mean():+.1f} "
        f"{column} on average; the most on {gain.idxmax()}"
    )
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
