"""Figures of a benchmark before any model: who is in it, how often, in what shape."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from parlib.measure.metrics import positive_rates
from parlib.show.figures.style import BLUE, GREEN, GREY, ORANGE, figure, names_on_y, pictures


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


def domains(
    by_name: Mapping[str, tuple[Sequence[Image.Image], Sequence[float], Sequence[float]]],
    title: str = "",
    caption: str = "",
) -> Figure:
    """A strip of crops of each benchmark beside its label rates against those of the release it imitates.

    `by_name`: benchmark -> (PIL images, rates here, rates of the release); rates are fractions in one order.
    """
    n = len(by_name)
    made, axes = figure(10, 2.1 * n + 0.8, title, caption, n, 2, squeeze=False, width_ratios=(4, 1))
    for (sheet, dots), (name, (images, here, release)) in zip(axes, by_name.items(), strict=True):
        height = 100  # px: enlarged or reduced to one height, widths in proportion
        sized = [image.resize((round(image.width * height / image.height), height)) for image in images]
        strip = np.concatenate([np.asarray(image) for image in sized], axis=1)
        # Few shades: grain is most of such a picture's size in a notebook.
        sheet.imshow(strip // 12 * 12, interpolation="nearest")
        sheet.set_title(name, loc="left", fontsize=9)
        sheet.axis("off")
        dots.plot([1e-3, 1], [1e-3, 1], color=GREY, lw=0.8)
        dots.plot(np.maximum(release, 1e-3), np.maximum(here, 1e-3), "o", ms=3, color=ORANGE)
        dots.set(xscale="log", yscale="log", xlim=(8e-4, 1.3), ylim=(8e-4, 1.3), ylabel="rate, rendered")
        dots.set_aspect("equal")
    axes[-1, 1].set_xlabel("rate, release")
    return made


def label_rates(
    train: np.ndarray, test: np.ndarray, names: Sequence[str], title: str = "", caption: str = ""
) -> Figure:
    """Positive rate of A attributes in train and test labels (N, A) on a log scale, and the positives in test.

    The bar behind each test point is twice the standard error of a rate that rests on so few positives.
    """
    train_rate, rate, test = positive_rates(train), positive_rates(test), np.asarray(test)
    error, positives = 2 * np.sqrt(rate * (1 - rate) / np.maximum(1, (test >= 0).sum(0))), (test == 1).sum(0)
    order, y = np.argsort(rate), np.arange(len(names))
    made, ax = figure(8, 0.21 * len(names) + 1.3, title, caption)
    ax.errorbar(rate[order], y, xerr=error[order], fmt="o", color=ORANGE, ms=4, lw=1, label="test, ± 2 standard errors")
    ax.plot(train_rate[order], y, "|", color=BLUE, ms=10, mew=2, label="train")
    seen = np.concatenate([rate, train_rate])
    ax.set(xscale="log", xlim=(max(5e-4, seen[seen > 0].min() / 2), 1.9))
    for at, count in zip(y, positives[order], strict=True):
        ax.text(1.15, at, f"{count:,}", va="center", fontsize=7, color=GREY)
    ax.text(1.15, len(names), "in test", fontsize=7, color=GREY)
    names_on_y(ax, [names[i] for i in order], "share of images that have the attribute (log scale)")
    ax.legend(loc="upper left", frameon=False)
    return made


def cooccurrence(labels: np.ndarray, names: Sequence[str], title: str = "", caption: str = "") -> Figure:
    """How far each attribute raises or lowers another: correlation of the 0/1 labels, unknown left out pairwise."""
    known = pd.DataFrame(np.where(np.asarray(labels) >= 0, labels, np.nan), columns=names)
    matrix = known.corr().fillna(0).mask(np.eye(len(names), dtype=bool))
    made, ax = figure(8, 7.4, title, caption)
    sns.heatmap(
        matrix, ax=ax, cmap="PuOr_r", center=0, vmin=-1, vmax=1, xticklabels=True, yticklabels=True,
        cbar_kws={"label": "correlation", "shrink": 0.7},
    )  # fmt: skip
    ax.tick_params(labelsize=7)
    return made


def aspect_ratios(image: Image.Image, sizes: np.ndarray, resolution: int, title: str = "", caption: str = "") -> Figure:
    """A crop as it is and as a square encoder of `resolution` px sees it, beside all height / width ratios.

    `sizes`: (N, 2) widths and heights in px.
    """
    made, axes = figure(8, 3, title, caption, 1, 3, width_ratios=(1, 1.6, 3))
    axes[0].imshow(image)
    axes[0].set_title(f"as cropped\n{image.width} x {image.height} px", fontsize=8)
    axes[1].imshow(image.resize((resolution, resolution)))
    axes[1].set_title(f"as the encoder gets it\n{resolution} x {resolution} px", fontsize=8)
    for ax in axes[:2]:
        ax.axis("off")
    sizes = np.asarray(sizes)
    axes[2].hist(sizes[:, 1] / sizes[:, 0], bins=30, color=BLUE)
    axes[2].axvline(1, color=ORANGE)
    axes[2].text(1.03, axes[2].get_ylim()[1] * 0.92, "square", color=ORANGE, fontsize=8)
    axes[2].set(xlabel="height / width of the crop", ylabel="images", xlim=(0.9, None))
    return made


def identity_leak(leaks: Mapping[str, float], title: str = "", caption: str = "") -> Figure:
    """Share of test images whose person is also in trainval, one bar per partition. `leaks`: fractions by name."""
    made, ax = figure(8, 2.6, title, caption)
    names = list(leaks)
    values = 100 * np.array(list(leaks.values()))
    bars = ax.bar(names, values, color=[GREEN if v == 0 else ORANGE for v in values], width=0.6)
    ax.bar_label(bars, fmt="%.1f", fontsize=8)
    ax.set(ylabel="% of test images", ylim=(0, max(10, values.max() * 1.2)))
    return made
