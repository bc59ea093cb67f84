"""Corrections of labels: a small table of people's decisions, kept beside the release and applied when it is read."""

import hashlib
import os
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from parlib.data.formats import read_table
from parlib.errors import BadInput
from parlib.files import plain_cell, reading, write_atomic

COLUMNS = ("image", "attribute", "label", "decision", "who", "when", "why", "annotation")
DECISIONS = ("keep", "flip", "unknown")


def annotation_sha256(source: str | os.PathLike) -> str:
    """SHA-256 of a release's annotation file: corrections of one edition do not fit another."""
    with reading(source, "annotation file"):
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()


def read_corrections(path: str | os.PathLike) -> pd.DataFrame:
    """Decisions as text in `COLUMNS`, one row each; `BadInput` for another table."""
    table = read_table(path)
    if lacking := [name for name in COLUMNS if name not in table]:
        raise BadInput(f"{path}: no column {', '.join(lacking)}; a table of corrections has {', '.join(COLUMNS)}")
    return table[list(COLUMNS)].astype(str)


def decide(
    path: str | os.PathLike, annotation: str, image: str, attribute: str, label: int, decision: str, who: str, why: str
) -> None:
    """Write one decision (keep, flip, unknown) on a label (1 or 0) to the file, whole or not at all.

    It takes the place of an earlier one by the same person; those of others stay, and `correct` refuses two that
    disagree. `annotation` is that of `annotation_sha256`.
    """
    old = read_corrections(path) if Path(path).exists() else pd.DataFrame(columns=list(COLUMNS))
    who, why = (plain_cell(" ".join(words.split())) for words in (who, why))
    row = image, attribute, str(int(label)), decision, who, datetime.now(UTC).isoformat(timespec="seconds"), why
    same = (old["image"] == image) & (old["attribute"] == attribute) & (old["who"] == who)
    table = pd.concat([old[~same], pd.DataFrame([[*row, annotation]], columns=list(COLUMNS))])
    write_atomic(path, table.to_csv(index=False))


def correct(release, path):
    """A `Release` with the decisions of a file applied, counted in its notes and in a warning, and its hash kept.

    Raises:
        BadInput: for another annotation file, an image or attribute that is not there, a label that is not the
            release's, an unknown decision, or two decisions that disagree; it names file, row and remedy.
    """
    table, annotation = read_corrections(path), annotation_sha256(release.source)
    place = {image: (split, i) for split, listing in release.splits.items() for i, image in enumerate(listing.names)}
    labels = {split: listing.labels.copy() for split, listing in release.splits.items()}
    names, count = release.schema.names, dict.fromkeys(DECISIONS, 0)
    first: dict = {}  # (image, attribute) -> the first row about it
    for one in table.set_axis(range(1, len(table) + 1)).itertuples():
        where, who = f"{path}: row {one.Index}", one.who or "somebody"
        image, attribute = one.image, one.attribute
        if one.annotation != annotation:
            edition = f"is for annotation {one.annotation[:12]!r}, {release.source} is {annotation[:12]}"
            raise BadInput(f"{where} {edition}; take the release it was made for, or decide again")
        if image not in place or attribute not in names:
            missing = f"image {image!r}" if image not in place else f"attribute {attribute!r}"
            raise BadInput(f"{where} corrects {missing}, which {release.source} does not have; remove the row")
        if one.decision not in DECISIONS:
            raise BadInput(f"{where} decides {one.decision!r}; write {', '.join(DECISIONS[:-1])} or {DECISIONS[-1]}")
        (split, i), a = place[image], names.index(attribute)
        listed = release.splits[split].labels[i, a]
        if listed < 0 or one.label != str(listed):
            raise BadInput(f"{where} is about label {one.label}, the release has {listed}; decide again on this label")
        earlier = first.setdefault((image, attribute), one)
        if earlier.decision != one.decision:
            others = f"row {earlier.Index} ({earlier.who or 'somebody'}) {earlier.decision}"
            both = f"{who} decides {one.decision} on {image} {attribute}, {others}"
            raise BadInput(f"{where}: {both}; agree on one, and remove the other row")
        count[one.decision] += 1 if earlier is one else 0  # people who agree count once
        labels[split][i, a] = {"keep": listed, "flip": 1 - listed, "unknown": -1}[one.decision]
    done = f"{path}: {count['flip']:,} labels flipped, {count['unknown']:,} made unknown, {count['keep']:,} kept"
    warnings.warn(f"{done}; numbers on corrected labels are not those of the official ones", stacklevel=3)
    splits = {split: replace(one, labels=labels[split]) for split, one in release.splits.items()}
    about = {"sha256": annotation_sha256(path), **count}
    return replace(release, splits=splits, notes=[f"{done}.", *release.notes], corrections=about)
