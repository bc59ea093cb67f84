"""Images one after the other, answered by button or key: labels that are most likely wrong, and a new attribute."""

import getpass
import os
import re
from pathlib import Path

import datasets
import ipywidgets as widgets
import numpy as np
import pandas as pd

from parlib.data.corrections import annotation_sha256, decide, read_corrections
from parlib.data.release import Release
from parlib.errors import BadInput
from parlib.learn.inputs import Split
from parlib.learn.label_issues import label_issues
from parlib.measure.metrics import average_precision
from parlib.show.explorers.map import MapExplorer
from parlib.show.explorers.panel import Explorer, beside, control, crop, picture, row, text
from parlib.use.attributes import LEAST, Lesson
from parlib.use.model import Model

_HEIGHTS = [480, *[150] * 30]  # px, of the crop asked about and of those that follow
_DECISIONS = {"keep": "Keep (k)", "flip": "Flip (f)", "unknown": "Unknown (u)", "back": "Back (b)"}
_MARKS = {
    "yes": "Yes (y)",
    "no": "No (n)",
    "skip": "Skip (s)",
    "back": "Back (b)",
    "all yes": "All selected: yes (+)",
    "all no": "All selected: no (-)",
    "map": "Show on the map (m)",
}


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
        self.who = control(widgets.Text, "Who", value=_user())
        self.why = control(widgets.Text, "Why", placeholder="the strap is a camera's")
        self.buttons = {name: self.button(title, self._press, name) for name, title in _DECISIONS.items()}
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
            self.found[name] = table.assign(image=np.asarray(self.dataset["image_id"][:])[table["row"].astype(int)])
        table = self.found[name]
        if not len(table):
            raise BadInput(f"{name} is too rare in {self.split.about['split']} to find wrong labels of it.")
        if not self.path.exists():
            return table.assign(decision=np.nan)
        saved = read_corrections(self.path)
        mine = saved[(saved["attribute"] == name) & (saved["who"] == " ".join(self.who.value.split()))]
        return table.assign(decision=table["image"].map(dict(zip(mine["image"], mine["decision"], strict=True))))

    def _choose(self):
        table = self.issues()
        self.rank.max = len(table)
        self.rank.value = int(table["decision"].isna().argmax()) + 1  # the first that is not decided
        self._draw()

    def _press(self, name):
        table = self.issues()
        if name == "back":
            self.rank.value -= 1
            return
        if not (who := " ".join(self.who.value.split())):
            raise BadInput("Say who decides first.")
        one = table.iloc[self.rank.value - 1]
        decide(self.path, self.annotation, one["image"], one["attribute"], one["label"], name, who, self.why.value)
        if self.rank.value == len(table):
            self._draw()
        self.rank.value += 1  # not beyond the last

    def _draw(self):
        table = self.issues()
        shown = table.iloc[self.rank.value - 1 :][: len(_HEIGHTS)]
        first = shown.iloc[0]
        answer = "yes" if first["label"] else "no"
        agree = "" if np.isnan(first["agree"]) else f" Of the person's other labels {100 * first['agree']:.0f} % agree."
        figures = []
        for one, size in zip(shown.itertuples(), _HEIGHTS, strict=False):
            caption = f"{one.image}: {one.label:d}, p = {one.score:.2f}"
            opens = ("image", self.split.about["split"], one.row, one.attribute)
            figures.append(picture(self.dataset[int(one.row)]["image"], caption, size, opens))
        decided = "" if pd.isna(first["decision"]) else f" You decided: {text(first['decision'])}."
        self.pictures.value = (
            f"<b>{text(first['attribute'])} is labelled {answer}; the probe says {first['score']:.2f} for yes.</b>"
            f"{agree}{decided}{beside(figures)}<small>Rank {self.rank.value:,} of"
            f" {len(table):,} labels by suspicion; {table['issue'].sum():,} are likely wrong,"
            f" {table['decision'].notna().sum():,} decided. Then come the next {len(shown) - 1}. Decisions are saved in"
            f" <span title='{text(str(self.path.absolute()))}'>{text('/'.join(self.path.parts[-2:]))}</span>;"
            " load_benchmark(..., corrections=FILE) applies them.</small>"
        )


def _user():
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user on this system
        return ""


class TeachExplorer(Explorer):
    """Controls `name`, `phrase`, `compare`, `buttons`, `save`; view `pictures`; what is learned is in `lesson`.

    It asks about the images selected on the map first: circle some there, or select errors. Then it asks about those
    whose answer is least certain, except in a split `test` beside others: that one stays to be measured on.

    Args:
        places: the map, whose images are marked and coloured.
        model: that the attribute joins; its encoder made the map's features.
        folder: where taught models are saved.
    """

    def __init__(self, places: MapExplorer, model: Model, folder: str | os.PathLike):
        self.places, self.model, self.folder = places, model, Path(folder)
        test = (places.table["split"].str.split("/").str[-1] == "test").to_numpy()
        self.held_out = test & (not test.all())
        self.lesson = Lesson(model.encoder, places.features, ~self.held_out)
        self.done: list[np.ndarray] = []  # rows of the map, marked or skipped together, the latest last
        self.name = control(widgets.Text, "Name", value="new attribute")
        self.phrase = control(widgets.Text, "Phrase", placeholder="a person with a red bag")
        self.compare = control(widgets.Dropdown, "Compare with", options=["no label", *places.schema.names])
        self.save = self.button("Save with the model", self._save)
        self.buttons = {name: self.button(title, self._press, name) for name, title in _MARKS.items()}
        self.pictures = widgets.HTML()
        controls = row(self.name, self.phrase, self.compare, self.save)
        super().__init__(controls, row(*self.buttons.values()), self.pictures)
        self.answer(self._learn, self.name, self.phrase)
        self.answer(self._draw, self.compare)
        self.answer(self._draw, places.scatter.widget, trait="selection")

    def queue(self) -> np.ndarray:
        """Rows of the map in the order asked about: those selected on it, then those that `Lesson.next` gives."""
        rows = pd.unique(np.concatenate([self._selected(), self.lesson.next()]))
        return rows[~np.isin(rows, np.concatenate([[-1], *self.done]))]

    def average_precision(self) -> float:
        """By the labels chosen to compare with, on images never marked: of test where it is held out; nan without."""
        if self.compare.value == "no label" or self.lesson.scores is None:
            return float("nan")
        labels = self.places.labels[:, self.places.schema.index(self.compare.value)]
        rows = (self.lesson.marks < 0) & (self.held_out | (not self.held_out.any()))
        return average_precision(labels[rows], self.lesson.scores[rows])

    def _selected(self):
        rows = np.asarray(self.places.scatter.selection(), int)
        return rows[~np.isin(rows, np.concatenate([[-1], *self.done]))]

    def _press(self, name):
        if name == "map":
            if self.lesson.scores is None:
                raise BadInput("Nothing is learned yet: type a phrase, or mark two images yes and two no.")
            self.places.colour_by(self.name.value.strip(), self.lesson.scores)
            self.links.get("map", lambda: None)()
            return
        if name == "back":
            self.lesson.marks[self.done.pop() if self.done else []] = -1
        else:
            rows = self._selected() if name.startswith("all") else self.queue()[:1]
            if not len(rows):
                where = "is selected on the map and not marked" if name.startswith("all") else "is left"
                raise BadInput(f"No image {where}.")
            self.lesson.marks[rows] = {"yes": 1, "no": 0, "skip": -1}[name.split()[-1]]
            self.done.append(rows)
        self._learn()

    def _learn(self):
        if not (name := self.name.value.strip()):
            raise BadInput("Name the attribute first.")
        self.lesson.learn(name, tuple(filter(None, [self.phrase.value.strip()])))
        self._draw()

    def _draw(self):
        lesson, table, rows = self.lesson, self.places.table, self.queue()
        yes, no = (int((lesson.marks == answer).sum()) for answer in (1, 0))
        source = "least certain first" if min(yes, no) >= LEAST else "the answer that is missing first"
        if lesson.attribute is None:
            source = "in random order"
            learned = "Nothing is learned before two images are marked yes and two no; a phrase scores all at once."
        else:
            learned = f"{lesson.attribute.how}; all {len(table):,} images scored in {lesson.seconds:.2f} s."
        if not np.isnan(found := self.average_precision()):
            where = "test" if self.held_out.any() else "the images not marked"
            learned += f" Average precision on {where}, by its labels of {self.compare.value}: {100 * found:.1f} %."
        if len(self._selected()):
            source = "those selected on the map first"
        figures = []
        for place, size in zip(rows, _HEIGHTS, strict=False):
            score = "" if lesson.scores is None else f": {lesson.scores[place]:.2f}"
            figures.append(crop(self.places.parts, table, place, size, score))
        self.pictures.value = (
            f"<b>Is this: {text(self.name.value)}?</b> {yes} yes, {no} no so far; {len(rows):,} left, {source}."
            f"{beside(figures)}<small>{text(learned)}</small>"
        )

    def _save(self):
        if self.lesson.attribute is None:
            raise BadInput("Nothing is learned yet: there is no attribute to save.")
        taught = self.model.with_attributes(self.lesson.attribute)
        path = self.folder / re.sub(r"[^\w-]+", "-", self.lesson.attribute.name)
        taught.save_pretrained(path)
        self.say(f"Saved: parlib.load({str(path)!r}) answers {len(taught.names)} attributes, the new one last.")
