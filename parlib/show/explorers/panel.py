"""What every explorer is made of: a box of labelled controls, and HTML that follows the theme of the page.

Everything a user or a file brings is escaped before it is put on the page.
"""

import base64
import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from parlib.encode.encoder import Encoder
from parlib.errors import BadInput
from parlib.show.figures.style import BLUE, COLOURS, GREY, ORANGE

# Sizes and frames only: colours of text and ground are the page's own, so light and dark themes both read.
_SMOOTH = Image.Resampling.BICUBIC
_BUSY = '<progress aria-label="at work"></progress>'  # seen where an answer takes longer than 0.3 s
# Sliders and their readouts come without a name; only a script can give them their label's, also when drawn later.
_NAMES = (
    "const box = this.closest('.par'), name = () => box.querySelectorAll('[role=slider], .widget-readout').forEach("
    "e => {e.role ??= 'textbox'; e.ariaLabel = e.closest('.widget-slider').querySelector('label').textContent});"
    "new MutationObserver(name).observe(box, {childList: true, subtree: true}); name()"
)
_STYLE = f"""<style onload="{_NAMES}">
.par .widget-html-content {{line-height: 1.35; width: 100%}} .par figure {{margin: 0 8px 8px 0; width: min-content}}
.par figcaption, .par small {{font-size: 12px}} .par .flow {{display: flex; flex-flow: row wrap; gap: 4px 18px}}
.par .bar {{display: grid; grid-template-columns: 9em 1fr 5em; gap: 6px; align-items: center; font-size: 12px}}
.par .bar i {{height: 9px; background: linear-gradient(90deg, {BLUE} var(--v), #7F7F7F40 0); position: relative}}
.par .bar i::after {{content: ""; position: absolute; left: var(--m); top: -2px; width: 2px; height: 13px;
  background: currentColor}} .par .bar span {{overflow: hidden; text-overflow: ellipsis; white-space: nowrap}}
.par td, .par th {{padding: 1px 8px; text-align: left; max-width: 26em; overflow-wrap: break-word}}
.par bdi {{overflow-wrap: anywhere}} .par svg {{font-size: 11px; max-width: 100%}}
.par .notice {{border-left: 4px solid {ORANGE}; padding-left: 8px}}
@keyframes par-late {{from {{visibility: hidden}} to {{visibility: visible}}}}
.par progress {{animation: par-late 0s 0.3s both}} .par .jupyter-widgets {{max-width: 100%}}
.par.par.par :focus-visible {{outline: 2px solid {ORANGE} !important; outline-offset: 1px}}
.par .widget-dropdown > select {{appearance: auto; background-image: none}}
</style>"""
text = html.escape


class Explorer(widgets.VBox):
    """A box of controls and views; `message` says in words what a control was given that cannot be used."""

    def __init__(self, *children: widgets.Widget):
        self.message = widgets.HTML(layout={"min_height": "24px"})
        super().__init__([widgets.HTML(_STYLE), *children, self.message])
        self.add_class("par")

    def __repr__(self):
        return f"{type(self).__name__}()"  # ipywidgets would print the pictures' bytes

    def say(self, line: object) -> None:
        """Put a plain line on the page; markup in it is shown, not interpreted."""
        self.message.value = f'<div class="notice" role="status">{text(str(line))}</div>'

    def answer(self, draw: Callable[[], object], *controls: widgets.Widget) -> None:
        """Call `draw` now and whenever one of `controls` changes; a `BadInput` becomes a message on the page."""

        def changed(_=None):
            self.message.value = _BUSY
            try:
                draw()
            except BadInput as error:
                self.say(error)
            if self.message.value == _BUSY:
                self.message.value = ""

        for control in controls:
            control.observe(changed, "value")
        changed()


def control(kind: Callable[..., widgets.Widget], description: str, **traits: Any) -> widgets.Widget:
    """A labelled widget that reports a value when it is settled."""
    made = kind(description=description, style={"description_width": "initial"}, **traits)
    if made.has_trait("continuous_update"):
        made.continuous_update = False
    return made


def encode_phrases(encoder: Encoder, phrases: Sequence[str]) -> torch.Tensor:
    """Pooled features (n, D) of n phrases, with a progress bar where they take longer than half a second."""
    starts = tqdm(range(0, len(phrases), 16), desc="encode prompts", delay=0.5)
    return torch.cat([encoder.encode_prompts(phrases[i : i + 16]).pooled for i in starts])


def row(*children: widgets.Widget) -> widgets.Box:
    """Side by side where there is room, below each other where there is not."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "width": "100%"})


def picture(image: Image.Image, caption: str = "", height: int = 120, beside: Image.Image | None = None) -> str:
    """A PIL image, another of that height `beside` it, and a caption (plain text) as HTML."""
    image = image.convert("RGB").resize((max(1, round(image.width * height / image.height)), height))
    if beside is not None:
        image = Image.fromarray(np.hstack([np.asarray(image), np.asarray(beside)]))
    image.save(buffer := io.BytesIO(), "JPEG", quality=88)
    data, told = base64.b64encode(buffer.getvalue()).decode(), text(caption)
    return f'<figure><img alt="{told}" src="data:image/jpeg;base64,{data}"><figcaption>{told}</figcaption></figure>'


def overlay(image: Image.Image, weights: np.ndarray, height: int = 120) -> Image.Image:
    """A grey crop under the colours of `weights` (rows, columns), brightest and thickest where they are largest."""
    weights = np.asarray(weights, float)
    scaled = (weights - weights.min()) / max(np.ptp(weights), 1e-12)
    size = max(1, round(image.width * height / image.height)), height
    scaled = np.asarray(Image.fromarray(scaled.astype(np.float32)).resize(size, _SMOOTH)).clip(0, 1)[..., None]
    colours, thick = matplotlib.colormaps["inferno"](scaled[..., 0])[..., :3] * 255, 0.2 + 0.6 * scaled
    grey = np.asarray(image.convert("L").resize(size), float)[..., None]
    return Image.fromarray((grey * (1 - thick) + colours * thick).astype(np.uint8))


def bars(rows: Iterable[tuple]) -> str:
    """Horizontal bars from `(label, share, words)` or `(label, share, words, mark)`, shares and marks in [0, 1]."""
    made = []
    for label, share, words, *mark in rows:
        at = f"{100 * mark[0]:.1f}%" if mark else "-9px; opacity: 0"
        label, width = text(label), 0 if np.isnan(share) else 100 * share
        made.append(f'<div class="bar"><span title="{label}">{label}</span>')
        made.append(f'<i style="--v: {width:.1f}%; --m: {at}"></i><span>{text(words)}</span></div>')
    return "".join(made)


def heat(values: np.ndarray, names: Sequence[str], told: str) -> str:
    """A square matrix (n, n) of values in [0, 1] and its names, few ones as figures; nan is grey; `told` says what."""
    n, step = len(names), max(9, min(26, 420 // len(names)))
    colours = (matplotlib.colormaps["cividis"](np.clip(np.nan_to_num(values), 0, 1))[..., :3] * 255).astype(np.uint8)
    colours[np.isnan(values)] = 127
    Image.fromarray(colours).save(buffer := io.BytesIO(), "PNG")
    side, data, made = n * step, base64.b64encode(buffer.getvalue()).decode(), []
    for i, name in enumerate(names):
        at, name = (i + 0.7) * step, text(name[:20])
        made.append(f'<text x="126" y="{at:.0f}" text-anchor="end">{name}</text>')
        turned = f'transform="translate({130 + at:.0f} {side + 4}) rotate(-90)"'
        made.append(f'<text {turned} text-anchor="end">{name}</text>')
        for j in range(n if n <= 20 else 0):
            fill = "black" if values[i, j] > 0.5 else "white"
            made.append(f'<text x="{133 + j * step}" y="{at:.0f}" fill="{fill}">{100 * values[i, j]:.0f}</text>')
    size = f'width="{side + 134}" viewBox="0 0 {side + 134} {side + 134}" style="font-size: {min(11, step)}px"'
    return (
        f'<small>{text(told)}</small><br><svg role="img" aria-label="{text(told)}" fill="currentColor" {size}>'
        f'<image x="130" width="{side}" height="{side}" href="data:image/png;base64,{data}" '
        f'style="image-rendering: pixelated"/>{"".join(made)}</svg>'
    )


def plot(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    across: str,
    title: str,
    span: tuple[float, float] = (0, 1),
    line: float | None = None,
    point: tuple[float, float] | None = None,
) -> str:
    """Curves over [0, 1]: name -> (x, y), y in percent within `span`; a dotted `line` at an x, a ring at a `point`."""
    low, high = span

    def at(x, y):
        return f"{34 + 250 * x:.1f},{190 - 175 * (y - low) / (high - low):.1f}"

    made = [f'<path d="M34 15V190H284" fill="none" stroke="{GREY}"/>', f'<text x="34" y="10">{text(title)}</text>']
    for i, x in enumerate((0, 0.5, 1)):
        tick = low + x * (high - low)
        made.append(f'<text x="30" y="{194 - 87.5 * i}" text-anchor="end">{100 * tick:.3g}</text>')
        made.append(f'<text x="{34 + 250 * x}" y="204" text-anchor="middle">{x}</text>')
    made.append(f'<text x="159" y="219" text-anchor="middle">{text(across)}</text>')
    for i, (name, (xs, ys)) in enumerate(curves.items()):
        stroke = f'fill="none" stroke-width="2" stroke="{COLOURS[i]}" stroke-dasharray="{("", "6 3", "2 3")[i]}"'
        points = " ".join(at(x, y) for x, y in zip(xs, ys, strict=True) if np.isfinite(y))
        made.append(f'<polyline points="{points}" {stroke}/><path d="M{34 + 80 * i} 231h24" {stroke}/>')
        made.append(f'<text x="{62 + 80 * i}" y="235">{text(name)}</text>')
    if line is not None:
        made.append(f'<path d="M{at(line, high)} {at(line, low)}" stroke="currentColor" stroke-dasharray="1 3"/>')
    if point is not None and np.isfinite(point).all():
        made.append(f'<circle r="5" fill="none" stroke="currentColor" transform="translate({at(*point)})"/>')
    named = f'role="img" aria-label="{text(title)}" viewBox="0 0 300 240" width="330" fill="currentColor"'
    return f"<svg {named}>{''.join(made)}</svg>"
