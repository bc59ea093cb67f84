"""Buttons: with a key, for the number before and after, and one per attribute with a bar and a tick."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from parlib.schema import Schema
from parlib.show.explorers.panel import text


def button(title: str, act: Callable[[], object]) -> widgets.Button:
    """A button that calls `act`; a key in brackets at the end of its title presses it too."""
    made = widgets.Button(description=title, tooltip=title, layout={"width": "auto"})
    made.on_click(lambda _: act())
    return made


def steps(number: widgets.Widget) -> list[widgets.Button]:
    """Two buttons, with the arrow keys: the number before and the number after, round the ends."""

    def move(by):
        count = number.max - number.min + 1
        number.value = (number.value - number.min + by) % count + number.min

    return [button("Previous (←)", lambda: move(-1)), button("Next (→)", lambda: move(1))]


def part_of(page: widgets.BoundedIntText, every: Sequence[Any] | np.ndarray, size: int) -> Any:
    """Of a list what is on the page whose number `page` holds, `size` of it; as many pages as that takes."""
    page.max = max(1, -(-len(every) // size))
    return every[(page.value - 1) * size :][:size]


def chips(
    kind: str,
    schema: Schema,
    words: Sequence[tuple[str, str]],
    values: np.ndarray,
    ticks: np.ndarray,
    pressed: Sequence[bool] | np.ndarray,
    colours: Sequence[str],
) -> str:
    """One button per attribute, which calls the link `kind` with its name: words left and right, a bar with a tick.

    Values and ticks are in [0, 1]. Attributes that exclude each other stand together, as do those of a group.
    """
    sets = {name: f"{group.name}, one of" for group in schema.exclusive for name in group.members}
    sections: dict[str, list[str]] = {}
    for a, attribute in enumerate(schema.attributes):
        style = f"--value: {100 * values[a]:.1f}%; --tick: {100 * ticks[a]:.1f}%; --colour: {colours[a]}"
        left, right = map(text, words[a])
        sections.setdefault(sets.get(attribute.name, attribute.group), []).append(
            f'<button data-open="{kind}\t{text(attribute.name)}" style="{style}" '
            f'aria-pressed="{str(bool(pressed[a])).lower()}"><span>{left}</span><span>{right}</span></button>'
        )
    parts = (f"<section><small>{text(head)}</small>{''.join(chips)}</section>" for head, chips in sections.items())
    return f"<div class='chips'>{''.join(parts)}</div>"
