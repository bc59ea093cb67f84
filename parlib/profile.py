"""Profiles: one object holds every name and size that differs between a small run and the paper's."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from parlib.errors import BadInput
from parlib.files import ASSETS, read_yaml, reading

Dtype = Literal["fp16", "bf16", "fp32"]
Precision = Literal["auto", "fp32", "bf16"]
_PACKAGES = ("parlib", "torch", "transformers", "datasets", "numpy", "pandas")


@dataclass(frozen=True)
class Profile:
    """What a notebook or `parlib train` runs on. `print` shows it in full; `profile()` makes it."""

    name: str
    says: str  # the sentence that every caption of this profile carries
    encoder: str
    data: Path | None = None  # folder of real trees (`paper`) or one real tree (`sample`); None renders one
    benchmark: str = "pa100k"
    revision: str | None = None  # of a hub encoder; the resolved commit goes into every record
    sizes: dict = field(default_factory=dict)  # images per split of a rendered tree
    seed: int = 0
    seeds: Sequence[int] = (0,)  # of the plan
    method: str = "recommended"  # key in methods.yaml of the head that notebooks train and explore
    training: dict = field(default_factory=dict)  # changes the `TrainOptions` of every method, as a rehearsal does
    dtype: Dtype = "fp16"  # of stored features
    precision: Precision = "fp32"  # of the encoder; `auto` takes bf16 where a trial finds it faster and good enough
    cache: Path = Path("~/.cache/parlib")
    runs: Path = Path("~/.cache/parlib/runs")

    @property
    def root(self) -> Path | None:
        """Root of the benchmark's real tree, or None where one is to be rendered."""
        if self.data is None:
            return None
        return self.data / self.benchmark if self.name == "paper" else self.data

    def __str__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("data", "cache", "runs")}
        shown["data"] = "rendered here" if self.data is None else "real images"
        shown["versions"] = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
        return "\n".join(f"{key:9s} {value}" for key, value in shown.items())


def cache_folder() -> Path:
    """`PARLIB_CACHE`, or the folder `.cache/parlib` at home."""
    return Path(os.environ.get("PARLIB_CACHE") or "~/.cache/parlib").expanduser()


def settings(name: str) -> Profile:
    """A profile by name, as defined here: environment variables are not read and no data is looked for."""
    known = read_yaml(ASSETS / "profiles.yaml", "profiles")
    if name not in known:
        raise BadInput(f"unknown profile {name!r}; known: {', '.join(known)}")
    return Profile(name, **known[name])


def profile(name: str | None = None, **changes: Any) -> Profile:
    """The profile of that name, or of `PARLIB_PROFILE`, or `small`.

    `PARLIB_DATA`, `PARLIB_ENCODER`, `PARLIB_REVISION`, `PARLIB_PRECISION`, `PARLIB_CACHE` and `PARLIB_RUNS` replace its
    fields. So does the YAML file `PARLIB_FIELDS`, with any field, and last `changes`. `paper`, `sample` need real data.

    Raises:
        BadInput: unknown profile or field, or real data that are not there.
    """
    base = settings(name or os.environ.get("PARLIB_PROFILE") or "small")
    if file := os.environ.get("PARLIB_FIELDS"):
        with reading(file, "profile fields", "write lines of `field: value`"):
            changes = read_yaml(file, "profile fields") | changes
    known = [each.name for each in fields(Profile)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise BadInput(f"unknown profile field {', '.join(unknown)}; known: {', '.join(known)}")
    variables = ("encoder", "revision", "precision", "cache", "runs", *(() if base.name == "small" else ("data",)))
    environment = {field: os.environ.get(f"PARLIB_{field.upper()}") for field in variables}
    wanted = {field: value for field, value in environment.items() if value} | changes
    if wanted.get("encoder", base.encoder) != base.encoder:
        wanted.setdefault("revision", None)  # the pinned commit is of the profile's own encoder
    for place in ("data", "cache", "runs"):
        path = wanted.get(place, getattr(base, place))
        wanted[place] = path and Path(path).expanduser().resolve()
    made = replace(base, **wanted)
    if base.name != "small" and (made.root is None or not made.root.is_dir()):
        several = "the folder that holds pa100k/, peta/, market1501/"
        held = several if base.name == "paper" else "the root of one real tree"
        raise BadInput(f"profile {base.name!r} reads real images from {made.root}: set PARLIB_DATA to {held}")
    return made
