"""What every explorer is made of: a box of labelled controls, and HTML that follows the theme of the page.

Everything that comes from a user or a file is escaped before it is put on the page.
"""

import base64
import html
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from parlib.encode.encoder import Encoder
from parlib.errors import BadInput

_BUSY = '<progress aria-label="at work"></progress>'
text = html.escape
_SCRIPT, _CSS = (Path(__file__).with_name(f"panel.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
_STYLE = f'<style onload="{text(_SCRIPT)}">{_CSS}</style>'


class Explorer(widgets.VBox):
    """A box of controls and views; `message` says in words why the value of a control cannot be used.

    What is pressed in a view calls one of `links`, kind -> function; see `picture`.
    """

    def __init__(self, *children: widgets.Widget):
        self.message = widgets.HTML(layout={"min_height": "24px"})
        self.links: dict[str, Callable[..., object]] = {}
        self.opened = control(widgets.Text, "Opened", layout={"display": "none"}).add_class("opened")
        super().__init__([widgets.HTML(_STYLE), *children, self.message, self.opened])
        self.add_class("par")
        self.answer(self._open, self.opened)

    def __repr__(self):
        return f"{type(self).__name__}()"  # ipywidgets would print the bytes of the pictures

    def say(self, line: object) -> None:
        """Put a plain line on the page; markup in it is shown, not interpreted."""
        self.message.value = f'<div class="notice" role="status">{text(str(line))}</div>'

    def _open(self):
        kind, *rest = self.opened.value.split("\t")
        self.opened.value = ""
        if kind in self.links:
            self.links[kind](*rest)
        elif kind:
            self.say(
                "Nothing is linked to this explorer: `parlib explore` links all, parlib.show.explorers.link yours."
            )

    def answer(self, draw: Callable[[], object], *controls: widgets.Widget, trait: str = "value") -> None:
        """Call `draw` now and whenever one of `controls` changes; what it warns of or refuses is said on the page."""

        def changed(_=None):
            self.message.value = _BUSY
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always", UserWarning)
                try:
                    draw()
                except BadInput as error:
                    self.say(error)
            if self.message.value == _BUSY:
                self.message.value = ""
            notes = [note.message for note in noted if note.category is UserWarning]
            if notes and not self.message.value:
                self.say(notes[-1])

        for control in controls:
            control.observe(changed, trait)
        changed()


def control(kind: Callable[..., widgets.Widget], description: str, **traits: Any) -> widgets.Widget:
    """A labelled widget that reports its value once the user has settled on it."""
    made = kind(description=description, style={"description_width": "initial"}, **traits)
    if made.has_trait("continuous_update"):
        made.continuous_update = False
    return made


def row(*children: widgets.Widget) -> widgets.Box:
    """Widgets side by side where there is room, below each other where there is not."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "width": "100%"})


def encode_phrases(encoder: Encoder, phrases: Sequence[str]) -> torch.Tensor:
    """Pooled features (n, D) of n phrases, with a progress bar where they take longer than half a second."""
    starts = tqdm(range(0, len(phrases), 16), desc="encode prompts", delay=0.5)
    return torch.cat([encoder.encode_prompts(phrases[i : i + 16]).pooled for i in starts])


def picture(
    image: Image.Image,
    caption: str = "",
    height: int = 120,
    beside: Image.Image | None = None,
    opens: Sequence[object] = (),
) -> str:
    """HTML of a picture, of another one of that height (in px) `beside` it, and of a caption in plain text.

    Pressed, it calls the link `opens[0]` of its explorer with the rest of `opens` as strings.
    """
    image = image.convert("RGB").resize((max(1, round(image.width * height / image.height)), height))
    if beside is not None:
        image = Image.fromarray(np.hstack([np.asarray(image), np.asarray(beside)]))
    image.save(buffer := io.BytesIO(), "JPEG", quality=88)
    source, caption = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", text(caption)
    shown = f'<img alt="{caption}" src="{source}">'
    if opens:
        shown = f'<button data-open="{text(chr(9).join(map(str, opens)))}">{shown}</button>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def overlay(
    image: Image.Image, weights: np.ndarray, shape: Sequence[int] | None = None, height: int = 120
) -> Image.Image:
    """A grey crop, `height` px high, under the colours of patch `weights` (N,), brightest where they are largest.

    `shape` is (rows, columns) of the patches, of which N may hold padding behind; a square where N has no room for it.
    """
    side = math.isqrt(len(weights))
    rows, columns = shape if shape is not None and math.prod(shape) <= len(weights) else (side, side)
    grid = np.asarray(weights[: rows * columns], np.float32).reshape(rows, columns)
    grid = (grid - grid.min()) / max(np.ptp(grid), 1e-12)
    size = max(1, round(image.width * height / image.height)), height
    strength = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    colours = matplotlib.colormaps["inferno"](strength[..., 0])[..., :3] * 255
    opacity = 0.2 + 0.6 * strength
    grey = np.asarray(image.convert("L").resize(size), float)[..., None]
    return Image.fromarray((grey * (1 - opacity) + colours * opacity).astype(np.uint8))


def beside(figures: Sequence[str]) -> str:
    """HTML of pictures: the first, and to its right the others."""
    return f'<div class="pair">{figures[0] if figures else ""}<div class="flow">{"".join(figures[1:])}</div></div>'


def heat(values: np.ndarray, names: Sequence[str], caption: str, low: float = 0.0) -> str:
    """A table of an (n, n) matrix of values from `low` to 1, bluer where larger, in percent where n <= 30; nan is grey.

    The caption ends with the scale of the colour.
    """
    head = "".join(f'<th scope="col">{text(name[:20])}</th>' for name in names)
    rows = []
    for name, line in zip(names, values, strict=True):
        cells = "".join(_cell(value, low, digits=len(names) <= 30) for value in line)
        rows.append(f'<tr><th scope="row">{text(name[:20])}</th>{cells}</tr>')
    kind = "heat large" if len(names) <= 14 else "heat"
    table = f"<table class='{kind}'><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    scale = f'<span class="scale">{100 * low:.0f}<i></i>100</span>'
    return f"<small>{text(caption)}. Colour: {scale}</small>{table}"


def _cell(value, low, digits):
    if np.isnan(value):
        return '<td style="background: #7F7F7F80"></td>'
    share = (value - low) / max(1e-9, 1 - low)
    opacity = round(150 * max(0.0, share))  # of 255: text of either theme stays readable on the darkest blue
    return f'<td style="background: #0072B2{opacity:02x}">{f"{100 * value:.0f}" if digits else ""}</td>'
