"""The one style of all figures."""

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

if TYPE_CHECKING:  # they read all fonts of a new machine, and the explorers take only colours from here
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Okabe and Ito's colours: they can be told apart in every common kind of colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
MARKERS = "osD^vPX"


def figure(
    width: float, height: float, title: str, caption: str = "", rows: int = 1, columns: int = 1, **subplots: Any
) -> "tuple[Figure, Any]":
    """A new Figure, sizes in inches, and its axes: title on top, the caption (what the data are) small below.

    Made without pyplot, so that nothing is shown twice in a notebook and nothing piles up in memory.
    """
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    made = Figure(figsize=(width, height), layout="constrained", dpi=80)
    axes = made.subplots(rows, columns, **subplots)
    made.suptitle(textwrap.fill(title, int(width * 13)), fontsize=11, x=0.01, ha="left", weight="bold")
    if caption:
        made.supxlabel(textwrap.fill(caption, int(width * 17)), fontsize=8, color=GREY, x=0.01, ha="left")
    return made, axes


def pictures(width: float, height: float, title: str, caption: str, rows: int, columns: int) -> "tuple[Figure, Any]":
    """As `figure`, with (rows, columns) axes that show no frame and no ticks."""
    made, axes = figure(width, height, title, caption, rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    return made, axes


def names_on_y(ax: "Axes", names: Iterable[str], xlabel: str) -> None:
    """One row per name, from the bottom, over an x axis with a label and a light grid."""
    names = list(names)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_xlabel(xlabel)
    ax.grid(axis="x", alpha=0.25)


def dots(ax: "Axes", table: pd.DataFrame, xlabel: str) -> None:
    """One row per index of `table`, from the bottom; one colour and marker per column."""
    for (name, values), colour, marker in zip(table.items(), COLOURS, MARKERS, strict=False):
        ax.plot(values, range(len(table)), marker, color=colour, ms=4.5, label=name)
    names_on_y(ax, table.index, xlabel)


def patches(ax: "Axes", image: Image.Image, values: np.ndarray, **drawn: Any) -> "AxesImage":
    """Patch values (N,) or colours (N, 3) in the shape of the crop; N must be a square number."""
    side, extent = math.isqrt(len(values)), (0, image.width, image.height, 0)
    return ax.imshow(values.reshape(side, side, *values.shape[1:]), extent=extent, **drawn)
