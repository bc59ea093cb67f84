"""Figures of pictures, labels, encoders and scores. Where no title is given, most state the finding."""

import itertools
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

from parlib.measure.metrics import positive_rates
from parlib.measure.rows import grouped
from parlib.measure.tables import HEAD
from parlib.show.figures.style import BLUE, COLOURS, GREEN, GREY, ORANGE, dots, figure, names_on_y, patches, pictures


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


def neighbourhoods(features: ArrayLike, panels: Mapping[str, np.ndarray], title: str = "", caption: str = "") -> Figure:
    """Two principal components of features (n, D), compared by cosine, coloured once by each label of `panels`.

    `panels`: name -> n values. The shares in the titles are counted over ten nearest neighbours in all D dimensions.
    """
    unit = normalize(np.asarray(features, dtype=np.float32))
    near = NearestNeighbors(n_neighbors=11).fit(unit).kneighbors(unit, return_distance=False)[:, 1:]
    pca = PCA(2, random_state=0)
    places, variance = pca.fit_transform(unit), 100 * pca.explained_variance_ratio_
    found = {}  # label -> % of neighbours that have the same value, % among images drawn at random
    for name, values in panels.items():
        values = np.asarray(values)
        shares = np.unique(values, return_counts=True)[1] / len(values)
        found[name] = 100 * (values[near] == values[:, None]).mean(), 100 * (shares**2).sum()
    first = next(iter(panels))
    words = "{:.0f} % of an image's 10 nearest neighbours share its {}; chance is {:.0f} %"
    title = title or words.format(found[first][0], first, found[first][1])
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
    by_method: Mapping[str, Any], column: str = "mA", title: str = "", caption: str = "", chance: float | None = None
) -> Figure:
    """One dot per attribute and method, sorted by the last method, which the default title compares with the first.

    `by_method`: `Scores.per_attribute` of each, or a record's, fractions of 1; `chance`: of a line, 0.5 for mA.
    """
    frames = {method: pd.DataFrame(t).T if isinstance(t, dict) else t for method, t in by_method.items()}
    table = pd.DataFrame({method: 100 * frame[column].astype(float) for method, frame in frames.items()})
    table = table.sort_values(table.columns[-1])
    first, last = table.columns[0], table.columns[-1]
    gain = (table[last] - table[first]).dropna()
    title = title or (
        f"{last} is above {first} on {(gain > 0).sum()} of {len(gain)} attributes; the difference runs from "
        f"{gain.min():+.1f} ({gain.idxmin()}) to {gain.max():+.1f} ({gain.idxmax()}), mean {gain.mean():+.1f}"
    )
    made, ax = figure(8, 0.21 * len(table) + 1.4, title, caption)
    dots(ax, table, f"{column} of the attribute, %")
    if chance is not None:
        ax.axvline(100 * chance, color="black", lw=0.8, ls=":")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=4)
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
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


def domain_losses(losses: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """Score at home against score away, one dot per attribute and pair; `losses` from `cross_domain_losses`.

    Legends give the mean difference, away minus home, in percentage points.
    """
    pairs = 100 * losses.groupby(["trained_on", "tested_on", "attribute"], sort=False)[["home", "away"]].mean()
    pairs = pairs.reset_index().query("trained_on != tested_on")
    # As in the table: attributes first, which may differ between seeds, then seeds.
    means = 100 * losses.groupby(["tested_on", "trained_on", "seed"])[["home", "away"]].mean()
    gap = (means["away"] - means["home"]).groupby(level=["tested_on", "trained_on"]).mean()
    change = gap[[tested != trained for tested, trained in gap.index]].groupby(level=0).mean().sort_values()
    title = title or (
        f"A head trained elsewhere loses most on {change.index[0]} ({change.iloc[0]:+.1f} points) and least on "
        f"{change.index[-1]} ({change.iloc[-1]:+.1f})"
    )
    made, axes = figure(3 * len(change), 3.4, title, caption, 1, len(change), sharey=True, squeeze=False)
    lowest = pairs[["home", "away"]].min().min()
    colours = dict(zip(pairs["trained_on"].unique(), COLOURS, strict=False))
    for ax, (tested, part) in zip(axes.flat, pairs.groupby("tested_on", sort=False), strict=True):
        for trained, group in part.groupby("trained_on", sort=False):
            label = f"from {trained}: {gap[tested, trained]:+.1f}"
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
    ticks = [tick for tick in (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100) if abs(tick) <= reach]
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-0.6, len(table) - 0.4)
    names = [textwrap.fill(f"({name}) {statement}", 52) for name, statement in table["statement"].items()]
    names_on_y(ax, names, "against | for the claim (each in its unit, named at the right; logarithmic beyond 1)")
    ax.set_xticks(ticks, map(str, ticks))
    return made
