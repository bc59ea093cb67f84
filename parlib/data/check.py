"""Whether a tree can be used: all its problems at once."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from parlib.data import folder, market1501, pa100k, peta
from parlib.data.formats import TABLES, holds
from parlib.data.images import MAX_SIDE, open_image
from parlib.data.labels import some
from parlib.data.release import read_release
from parlib.errors import BadInput

DECODED = 1000  # pictures a split decoded in full; of every other file the header and the end are read


@dataclass
class Report:
    """What `check` found.

    Attributes:
        kind: `pa100k`, `peta`, `market1501` or `folder`; None where the tree is none of them.
        splits: split -> counts and label findings.
        problems: what `load_benchmark` refuses, one line each.
        notes: what a reader of numbers from this tree should know.
    """

    root: str
    kind: str | None = None
    source: str | None = None
    splits: dict[str, dict] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether `load_benchmark` would take the tree."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """All of it and `usable`, as plain types for JSON."""
        return {**self.__dict__, "usable": self.usable}

    def to_text(self) -> str:
        """Lines for people: one per split, then problems and notes, then the verdict."""
        lines = [
            f"{self.root}: {self.kind or 'not recognised'}" + (f", labels in {self.source}" if self.source else "")
        ]
        for split, found in self.splits.items():
            phrases = [_phrase(key, value) for key, value in found.items() if value or key == "rows"]
            lines.append(f"  {split}: {'; '.join(phrases)}")
        for kind, texts in (("problem", self.problems), ("note", self.notes)):
            lines += [f"  {kind}: {text.removeprefix(f'{self.source}: ')}" for text in texts]
        return "\n".join([*lines, "usable" if self.usable else f"NOT usable: {len(self.problems)} problem(s)"])


def check(
    root: str | os.PathLike, images: bool = True, decode: int | None = DECODED, kind: str | None = None, **options: Any
) -> Report:
    """Report all problems of the tree at `root` at once, with counts and findings of labels.

    Args:
        root: any tree, or an annotation file.
        images: False checks the labels alone.
        decode: how many pictures a split are decoded in full, spread evenly; None for all of them. Of every other
            the header and the end are read: one that is empty, cut off, no image or too large is found in any case.
        kind: which benchmark it is; recognised by its files if not given.
        **options: of `load_benchmark`.

    Returns:
        A `Report`; `report.usable` says whether `load_benchmark` would take it.
    """
    root = Path(root)
    report = Report(str(root), kind or recognise(root))
    if report.kind is None:
        report.problems.append(
            "looked for annotation.mat or train.csv (pa100k), PETA.mat, market_attribute.mat, or a table of labels "
            f"({', '.join(TABLES)}); found {holds(root)}"
        )
        return report
    try:
        release = read_release(report.kind, root, images=images, **options)
    except BadInput as error:
        report.problems.append(str(error))
        return report
    report.source = str(release.source)
    splits = list(release.splits)
    surveys = {split: release.survey(split) for split in splits if images and release.splits[split].pictures is None}
    report.problems += release.problems(splits, surveys)
    report.notes += release.size_note([split for split in release.expected if split != "all"])
    report.notes += release.notes
    lacks = [split for split in ("train", "val", "test") if split not in splits]
    if lacks:
        report.notes.append(f"no split {', '.join(lacks)}: training needs train and val, evaluation test")
    if release.kind == "rendered":
        report.notes.append("rendered by parlib: no photograph in it")
    for split, listing in release.splits.items():
        report.splits[split] = _labels(listing, release.schema)
        if images:
            paths = list(surveys[split].paths.values()) if split in surveys else listing.names
            _decode(report, split, paths, listing.pictures, decode)
    return report


def recognise(root: Path) -> str | None:
    """Which benchmark a tree or an annotation file is; None if no benchmark or more than one is found.

    What lies at `root` itself goes before anyone's own table there, and this before what lies further down.
    """
    if root.is_file():
        known = {"market_attribute.mat": "market1501", "PETA.mat": "peta"}
        if root.suffix == ".mat":
            return known.get(root.name) or ("pa100k" if "annotation" in root.name else None)
        return "folder" if root.suffix.lower() in TABLES else None
    readers = {"market1501": market1501, "peta": peta, "pa100k": pa100k}
    for depth in (0, 2):
        kinds = [name for name, reader in readers.items() if reader.find(root, depth)]
        if not depth and not kinds and folder.find(root):
            return "folder"
        if kinds:
            return kinds[0] if not depth or len(kinds) == 1 else None
    return None


def _labels(listing, schema):
    """Counts of one split; `to_text` leaves out what is zero or empty."""
    if not listing.names:
        return {"rows": 0}
    labels, names = listing.labels, schema.names
    known = np.maximum((labels >= 0).sum(0), 1)
    rates = (labels == 1).sum(0) / known
    unknown = (labels == -1).mean(0)
    broken = {name: int(rows.sum()) for name, rows in schema.contradictions(labels).items() if rows.any()}
    return {
        "rows": len(labels),
        "identities": len(set(listing.identity)) if listing.identity else 0,
        "unlabelled": round(float(unknown.mean()), 4),
        "mostly_unlabelled": [name for name, share in zip(names, unknown, strict=True) if share > 0.5],
        "never_1": [name for name, rate, share in zip(names, rates, unknown, strict=True) if rate == 0 and share < 1],
        "always_1": [name for name, rate in zip(names, rates, strict=True) if rate == 1],
        "exclusive_sets_violated": broken,
    }


def _phrase(key, value):
    key = key.replace("_", " ")
    if isinstance(value, list):
        return f"{key}: {some(value, 4)}"
    if isinstance(value, dict):
        return f"{key}: {', '.join(f'{name} {count:,}' for name, count in value.items())}"
    value = f"{value:.1%}" if isinstance(value, float) else f"{value:,}"
    return f"{value} rows" if key == "rows" else f"{key} {value}"


def _decode(report, split, paths, pictures, most):
    """Open some pictures of a split in full, and look at the others."""
    step = max(1, len(paths) // most) if most else 1
    decoded, unreadable = 0, []
    for i, path in enumerate(paths):
        if i % step and pictures is None and _looks_whole(path):
            continue
        decoded += 1
        try:
            open_image(path, pictures and pictures[i])
        except BadInput as error:
            unreadable.append(str(error))
    report.splits[split] |= {"images": len(paths), "decoded": decoded}
    if unreadable:
        report.splits[split]["unreadable"] = unreadable
        report.problems.append(f"{split}: {len(unreadable)} unreadable image(s), first {unreadable[0]}")


def _looks_whole(path):
    """Whether a JPEG or PNG has a header of sensible size and its last bytes; False asks for a full decode."""
    try:
        with open(path, "rb") as file, Image.open(file, formats=("JPEG", "PNG")) as image:
            file.seek(-12, os.SEEK_END)
            whole = file.read().endswith(b"\xff\xd9" if image.format == "JPEG" else b"IEND\xaeB`\x82")
            return whole and max(image.size) <= MAX_SIDE
    # No verdict: what Pillow trips over here, the full decode names.
    except Exception:
        return False
