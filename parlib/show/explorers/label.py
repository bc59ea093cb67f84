"""Labels that are most likely wrong, one by one: keep, flip or make unknown, by button or by key."""

import os
from pathlib import Path

import datasets
import ipywidgets as widgets
import numpy as np
import pandas as pd
import psutil

from parlib.data.corrections import annotation_sha256, decide, read_corrections
from parlib.data.release import Release
from parlib.errors import BadInput
from parlib.learn.inputs import Split
from parlib.learn.label_issues import label_issues
from parlib.show.explorers.panel import Explorer, beside, control, picture, row, text

_NEXT = 30  # crops that follow
_KEYS = {"keep": "Keep (k)", "flip": "Flip (f)", "unknown": "Unknown (u)", "back": "Back (b)"}


class LabelExplorer(Explorer):
    """Controls `attribute`, `who`, `why`, `rank`, `buttons`; view `pictures`; the decisions go to the file `path`.

    Args:
        release: the labels as released, without corrections.
        split: of `prepare`, without a view.
        dataset: its images.
        path: of the corrections, which `load_benchmark(..., corrections=path)` applies.
    """

    def __init__(self, release: Release, split: Split, dataset: datasets.Dataset, path: str | os.PathLike):
        self.release, self.split, self.dataset, self.path = release, split, dataset, Path(path)
        self.annotation = annotation_sha256(release.source)
        self.attribute = control(widgets.Dropdown, "Attribute", options=split.schema.names)
        self.who = control(widgets.Text, "Who", value=psutil.Process().username())
        self.why = control(widgets.Text, "Why", placeholder="the strap is a camera's")
        self.buttons = {name: self.button(title, self._press, name) for name, title in _KEYS.items()}
        self.pictures = widgets.HTML()
        self.found: dict[str, pd.DataFrame] = {}
        self.rank = control(widgets.BoundedIntText, "Rank", min=1, value=1)  # of the label shown
        chosen = row(self.attribute, self.who, self.why)
        super().__init__(chosen, row(*self.buttons.values(), self.rank), self.pictures)
        self.answer(self._choose, self.attribute)
        self.answer(self._draw, self.rank)

    def issues(self) -> pd.DataFrame:
        """`label_issues` of the chosen attribute and the `decision` by this person on each, nan where there is none."""
        name = self.attribute.value
        if name not in self.found:
            table = label_issues(self.split, [name])
            self.found[name] = table.assign(image=[self.dataset[int(i)]["image_id"] for i in table["row"]])
        table = self.found[name]
        if not len(table):
            raise BadInput(f"{name} is too rare in {self.split.about['split']} to find wrong labels of it.")
        if not self.path.exists():
            return table.assign(decision=np.nan)
        saved = read_corrections(self.path)
        mine = saved[(saved["attribute"] == name) & (saved["who"] == self.who.value.strip())]
        return table.assign(decision=table["image"].map(dict(zip(mine["image"], mine["decision"], strict=True))))

    def _choose(self):
        table = self.issues()
        undecided = np.flatnonzero(table["decision"].isna())
        self.rank.max = len(table)
        self.rank.value = int(undecided[0]) + 1 if len(undecided) else 1
        self._draw()

    def _press(self, name):
        table = self.issues()
        if name == "back":
            self.rank.value -= 1
            return
        if not (who := self.who.value.strip()):
            raise BadInput("Say who decides first.")
        one = table.iloc[self.rank.value - 1]
        decide(self.path, self.annotation, one["image"], one["attribute"], one["label"], name, who, self.why.value)
        if self.rank.value == len(table):
            self._draw()
        self.rank.value += 1  # not beyond the last

    def _draw(self):
        table = self.issues()
        shown = table.iloc[self.rank.value - 1 :][: 1 + _NEXT]
        first = shown.iloc[0]
        answer = "yes" if first["label"] else "no"
        agree = "" if np.isnan(first["agree"]) else f" Of the person's other labels {100 * first['agree']:.0f} % agree."
        figures = [
            picture(
                self.dataset[int(one.row)]["image"],
                f"{one.image}: {one.label:d}, p = {one.score:.2f}",
                size,
                opens=("image", self.split.about["split"], one.row, first["attribute"]),
            )
            for one, size in zip(shown.itertuples(), [480, *[150] * _NEXT], strict=False)
        ]
        decided = "" if pd.isna(first["decision"]) else f" You decided: {text(first['decision'])}."
        self.pictures.value = (
            f"<b>{text(first['attribute'])} is labelled {answer}; the probe says {first['score']:.2f} for yes.</b>"
            f"{agree}{decided}{beside(figures)}<small>Rank {self.rank.value:,} of"
            f" {len(table):,} labels by suspicion; {table['issue'].sum():,} are likely wrong,"
            f" {table['decision'].notna().sum():,} decided. Then come the next {len(shown) - 1}. Decisions are saved in"
            f" <span title='{text(str(self.path.absolute()))}'>{text('/'.join(self.path.parts[-2:]))}</span>;"
            " load_benchmark(..., corrections=FILE) applies them.</small>"
        )
