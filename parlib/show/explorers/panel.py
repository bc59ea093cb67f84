"""What every explorer is made of: labelled controls, HTML that follows the theme of the page, links to the others.

Everything that comes from a user or a file is escaped before it is put on the page.
"""

import base64
import html
import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import ipywidgets as widgets
import matplotlib
import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from parlib.encode.encoder import Encoder
from parlib.errors import BadInput
from parlib.schema import Schema

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
            self.say("Nothing is linked here: `parlib explore` links all explorers, parlib.show.explorers.link yours.")

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

    def button(self, title: str, act: Callable[..., object], *arguments: object) -> widgets.Button:
        """A button that answers by `act(*arguments)`; a key in brackets at the end of its title presses it too."""
        made = widgets.Button(description=title, tooltip=title, layout={"width": "auto"})
        made.on_click(lambda _: self.answer(partial(act, *arguments)))
        return made

    def steps(self, number: widgets.Widget) -> list[widgets.Button]:
        """Two buttons, with the arrow keys: the number before and the number after, round the ends."""

        def step(title, by):
            def move(_):  # whoever draws the number answers: where it stays, what was said stays too
                number.value = (number.value - number.min + by) % (number.max - number.min + 1) + number.min

            made = widgets.Button(description=title, tooltip=title, layout={"width": "auto"})
            made.on_click(move)
            return made

        return [step("Previous (←)", -1), step("Next (→)", 1)]


def link(
    explorers: Iterable[Explorer],
    parts: Mapping[str, datasets.Dataset],
    labels: Mapping[str, np.ndarray] | None = None,
    tab: widgets.Tab | None = None,
) -> None:
    """Let what is pressed open elsewhere: a picture in one image, a bar or group in the data, errors on the map.

    Args:
        explorers: at most one of a class.
        parts: split -> `Dataset` with images.
        labels: split -> (n, A) in the columns of the `AttributeExplorer`; of splits it lacks no truth is shown.
        tab: shows the explorer that something was opened in, if it is among its children.
    """
    found: dict[str, Any] = {type(each).__name__: each for each in explorers}
    wanted: list[Any] = [found.get(f"{name}Explorer") for name in ("Attribute", "Dataset", "Map")]
    one, data, places = wanted

    def show(explorer):
        if tab is not None and explorer in tab.children:
            tab.selected_index = tab.children.index(explorer)

    def image(split, i, attribute=None):
        if attribute in one.schema.names:
            one.attribute.value = attribute
        if parts[split] is one.dataset:
            one.show(int(i))
        else:
            item, truth = parts[split][int(i)], (labels or {}).get(split)
            one.set_image(item["image"], None if truth is None else truth[int(i)], item["image_id"])
        show(one)

    def has(name):
        data.schema.index(name)  # raises a BadInput where these data lack it
        data.split.value, data.identity.value, data.lacks.value, data.unknown.value = "all", "", (), ()
        data.has.value = (name,)
        show(data)

    def errors():
        wrong, table = found["ErrorExplorer"], places.table
        here = (table["split"] == wrong.split) & table["row"].isin(wrong.errors())
        places.attribute.value = wrong.attribute.value
        places.select(np.flatnonzero(here))
        show(places)

    for each in found.values():
        each.links |= {"image": image} if one else {}
        each.links |= {"has": has} if data else {}
        each.links |= {"errors": errors, "map": lambda: show(places)} if places else {}


def control(kind: Callable[..., widgets.Widget], description: str, **traits: Any) -> widgets.Widget:
    """A labelled widget that reports its value once the user has settled on it."""
    made = kind(description=description, style={"description_width": "initial"}, **traits)
    if made.has_trait("continuous_update"):
        made.continuous_update = False
    return made


def row(*children: widgets.Widget) -> widgets.Box:
    """Widgets side by side where there is room, below each other where there is not."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "width": "100%"})


def paged(page: widgets.BoundedIntText, every: Sequence[Any] | np.ndarray, size: int) -> Any:
    """Of a list what is on the page whose number `page` holds, `size` of it; as many pages as that takes."""
    page.max = max(1, -(-len(every) // size))
    return every[(page.value - 1) * size :][:size]


def encode_phrases(
    encoder: Encoder, phrases: Sequence[str], width: int, wanted: str = "that made them"
) -> torch.Tensor:
    """Pooled features (n, D) of n phrases, with a progress bar where they take longer than half a second.

    `BadInput` where the features of images that they will be compared with are not D wide but `width`: the encoder
    `wanted` is to be given.
    """
    if width != encoder.width:
        made = f"features are {width} wide, encoder {encoder.name!r} makes {encoder.width}"
        raise BadInput(f"{made}: give the encoder {wanted}")
    starts = tqdm(range(0, len(phrases), 16), desc="encode prompts", delay=0.5)
    return torch.cat([encoder.encode_prompts(phrases[i : i + 16]).pooled for i in starts])


def picture(image: Image.Image, caption: str, height: int = 120, opens: Sequence[object] = ()) -> str:
    """HTML of a picture of that height in px, and of a caption in plain text.

    Pressed, it calls the link `opens[0]` of its explorer with the rest of `opens` as strings.
    """
    image = image.convert("RGB").resize((max(1, round(image.width * height / image.height)), height))
    image.save(buffer := io.BytesIO(), "JPEG", quality=88)
    source, caption = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", text(caption)
    shown = f'<img alt="{caption}" src="{source}">'
    if opens:
        shown = f'<button data-open="{text(chr(9).join(map(str, opens)))}">{shown}</button>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def listed(parts: Mapping[str, datasets.Dataset]) -> pd.DataFrame:
    """The images of all splits: `split`, `row` in it, `image_id`, and `identity` where it is known."""
    columns = ("image_id", "identity")
    tables = {
        split: pd.DataFrame({name: part[name][:] for name in columns if name in part.column_names})
        for split, part in parts.items()
    }
    return pd.concat(tables, names=["split", "row"]).reset_index()


def crop(parts: Mapping[str, Any], table: pd.DataFrame, place: Any, height: int = 120, more: str = "") -> str:
    """HTML of the picture in row `place` of a `listed` the parts; pressed, it opens in one image."""
    split, i, image_id = table.loc[place, ["split", "row", "image_id"]]
    return picture(parts[split][int(i)]["image"], f"{split} {image_id}{more}", height, ("image", split, i))


def overlay(image: Image.Image, weights: np.ndarray, shape: Sequence[int] | None, height: int) -> Image.Image:
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


def chips(kind: str, schema: Schema, shown: Iterable[tuple[str, str, float, float, bool, str]]) -> str:
    """One button per attribute, which calls the link `kind` with its name.

    `shown`, of each: words on its left and right, its bar and tick in [0, 1], whether it is pressed, and its colour.
    Attributes that exclude each other stand together, as do those of a group.
    """
    sets = {name: f"{group.name}, one of" for group in schema.exclusive for name in group.members}
    sections: dict[str, list[str]] = {}
    for attribute, (left, right, value, tick, pressed, colour) in zip(schema.attributes, shown, strict=True):
        style = f"--value: {100 * value:.1f}%; --tick: {100 * tick:.1f}%; --colour: {colour}"
        sections.setdefault(sets.get(attribute.name, attribute.group), []).append(
            f'<button data-open="{kind}\t{text(attribute.name)}" style="{style}" '
            f'aria-pressed="{str(pressed).lower()}"><span>{text(left)}</span><span>{text(right)}</span></button>'
        )
    parts = (f"<section><small>{text(head)}</small>{''.join(chips)}</section>" for head, chips in sections.items())
    return f"<div class='chips'>{''.join(parts)}</div>"


def heat(table: pd.DataFrame, caption: str, low: float = 0.0) -> str:
    """A square matrix of values from `low` to 1, bluer where larger, nan grey; in percent where it has at most 30 rows.

    The caption ends with the scale of the colour.
    """
    names = [text(name[:20]) for name in table]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = ""
    for name, line in zip(names, table.to_numpy(), strict=True):
        cells = "".join(_cell(value, low, digits=len(names) <= 30) for value in line)
        body += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    kind = "heat large" if len(names) <= 14 else "heat"
    scale = f'<span class="scale">{100 * low:.0f}<i></i>100</span>'
    shown = f"<table class='{kind}'><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<small>{text(caption)}. Colour: {scale}</small>{shown}"


def _cell(value, low, digits):
    if np.isnan(value):
        return '<td style="background: #7F7F7F80"></td>'
    share = (value - low) / max(1e-9, 1 - low)
    opacity = round(150 * max(0.0, share))  # of 255: text of either theme stays readable on the darkest blue
    return f'<td style="background: #0072B2{opacity:02x}">{f"{100 * value:.0f}" if digits else ""}</td>'
