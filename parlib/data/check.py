"""Whether a tree can be used: all its problems at once."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from parlib.data import folder, market1501, pa100k, peta, rap, upar
from parlib.data.formats import TABLES, holds, some
from parlib.data.images import MAX_SIDE, open_image
from parlib.data.release import read_release
from parlib.errors import BadInput

DECODED = 1000  # pictures per split decoded in full, by default


@dataclass
class Report:
    """What `check` found."""

    root: str
    kind: str | None = None  # one of `BENCHMARKS`; None where the tree is none of them
    source: str | None = None
    splits: dict[str, dict] = field(default_factory=dict)  # split -> counts and label findings
    problems: list[str] = field(default_factory=list)  # what `load_benchmark` refuses, one line each
    notes: list[str] = field(default_factory=list)  # what a reader of numbers from this tree should know

    @property
    def usable(self) -> bool:
        """Whether `load_benchmark` would take the tree."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """All of it and `usable`, as plain types for JSON."""
        return {**self.__dict__, "usable": self.usable}

    def to_text(self) -> str:
        """Lines for people: one per split, then problems and notes, then the verdict."""
        source = f", labels in {self.source}" if self.source else ""
        lines = [f"{self.root}: {self.kind or 'not recognised'}{source}"]
        for split, found in self.splits.items():
            phrases = [_phrase(key, value) for key, value in found.items() if value or key == "rows"]
            lines.append(f"  {split}: {'; '.join(phrases)}")
        for kind, texts in (("problem", self.problems), ("note", self.notes)):
            lines += [f"  {kind}: {text.removeprefix(f'{self.source}: ')}" for text in texts]
        return "\n".join([*lines, "usable" if self.usable else f"NOT usable: {len(self.problems)} problem(s)"])


def check(root: str | os.PathLike, images: bool = True, decode: int | None = DECODED) -> Report:
    """Report all problems of the tree at `root` at once, with counts and findings of labels.

    Args:
        root: any tree, or an annotation file.
        images: False checks the labels alone.
        decode: how many pictures per split are decoded in full, spread evenly; None for all of them. Of every other
            the header and the end are read: one that is empty, cut off, no image or too large is found in any case.
    """
    root = Path(root)
    report = Report(str(root))
    try:
        report.kind = recognise(root)
        if report.kind is None:
            raise BadInput(
                "looked for annotation.mat or train.csv (pa100k), PETA.mat, market_attribute.mat, RAP_annotation.mat, "
                f"or a table of labels ({', '.join(TABLES)}); found {holds(root)}"
            )
        release = read_release(report.kind, root, images=images)
    except BadInput as error:
        report.problems.append(str(error))
        return report
    report.source = str(release.source)
    report.problems, paths = release.problems(list(release.splits), images)
    report.notes = release.size_note([split for split in release.expected if split != "all"]) + release.notes
    lacks = [split for split in ("train", "val", "test") if split not in release.splits]
    if lacks:
        report.notes.append(f"no split {', '.join(lacks)}: training needs train and val, evaluation test")
    if release.kind == "rendered":
        report.notes.append("rendered by parlib: no photograph in it")
    for split, listing in release.splits.items():
        found = report.splits[split] = _labels(listing, release.schema)
        if not images:
            continue
        files, pictures, unreadable = paths[split], listing.pictures, []
        step = max(1, len(files) // decode) if decode else 1
        chosen = [i for i, path in enumerate(files) if i % step == 0 or pictures or not _looks_whole(path)]
        for i in chosen:
            try:
                open_image(files[i], pictures[i] if pictures else None)
            except BadInput as error:
                unreadable.append(str(error))
        found |= {"images": len(files), "decoded": len(chosen)}
        if unreadable:
            found["unreadable"] = unreadable
            report.problems.append(f"{split}: {len(unreadable)} unreadable image(s), first {unreadable[0]}")
    return report


def recognise(root: Path) -> str | None:
    """Which benchmark a tree or an annotation file is; None if no benchmark or more than one is found.

    What lies at `root` itself goes before anyone's own table there, and this before what lies further down.
    """
    if root.is_file():
        if root.suffix.lower() in TABLES:
            return "folder"
        known = {rap.ANNOTATIONS: "rap", market1501.ANNOTATIONS: "market1501", "PETA.mat": "peta"}
        found = known.get(root.name, "pa100k" if root.suffix == ".mat" and "annotation" in root.name else None)
    else:
        readers = {"market1501": market1501, "peta": peta, "rap": rap, "pa100k": pa100k, "upar": upar}
        here = [name for name, reader in readers.items() if reader.find(root, 0)]
        found = next(iter(here), "folder" if folder.find(root) else None)
        below = [] if found else [name for name, reader in readers.items() if reader.find(root, 2)]
        found = below[0] if len(below) == 1 else found
    return rap.version_of(root if root.is_file() else rap.find(root, 2)) if found == "rap" else found


def _labels(listing, schema):
    """Counts of one split; `to_text` leaves out what is zero or empty."""
    if not listing.names:
        return {"rows": 0}
    labels, names = listing.labels, np.array(schema.names)
    yes, no = (labels == 1).any(0), (labels == 0).any(0)
    unknown = (labels == -1).mean(0)
    broken = {name: int(rows.sum()) for name, rows in schema.contradictions(labels).items() if rows.any()}
    return {
        "rows": len(labels),
        "identities": len(set(listing.identity)) if listing.identity else 0,
        "unlabelled": round(float(unknown.mean()), 4),
        "mostly_unlabelled": names[unknown > 0.5].tolist(),
        "never_1": names[no & ~yes].tolist(),
        "always_1": names[yes & ~no].tolist(),
        "exclusive_sets_violated": broken,
    }


def _phrase(key, value):
    key = key.replace("_", " ")
    if isinstance(value, dict):
        value = [f"{name} {count:,}" for name, count in value.items()]
    if isinstance(value, list):
        return f"{key}: {some(value, 4)}"
    value = f"{value:.1%}" if isinstance(value, float) else f"{value:,}"
    return f"{value} rows" if key == "rows" else f"{key} {value}"


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
