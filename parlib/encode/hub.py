"""A name becomes a folder: an encoder or a model that ships, lies on this machine, or is fetched from the hub."""

import os
from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download

from parlib.errors import BadInput
from parlib.files import ASSETS, one_line, read_yaml

NANO = ASSETS / "siglip2-nano"
SHIPPED = {"nano": NANO, "nano-pa100k": ASSETS / "nano-pa100k"}
EXAMPLES = ASSETS / "examples"  # twelve rendered people


class Known(NamedTuple):
    """A checkpoint known by name: what it is, input side in pixels (None: aspect ratio kept), N at most, D."""

    about: str
    pixels: int | None
    tokens: int
    width: int


def available_encoders() -> dict[str, Known]:
    """Encoders that `load_encoder` knows by name; any other hub id or folder of the SigLIP family works too."""
    return {name: Known(*row) for name, row in read_yaml(ASSETS / "encoders.yaml", "known encoders").items()}


def folder_of(name: str, what: str, known: Iterable[str], revision: str | None = None, **hub: Any) -> Path:
    """The folder that a name stands for; files of a hub id are fetched, or found in the cache, without any pickle.

    Args:
        name: in `SHIPPED`, a folder, or a hub id.
        what: `encoder` or `model`, for the error, which lists the `known` names.
        hub: options of `snapshot_download`, such as `token`.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    if os.path.isdir(name):
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BadInput(f"no {what} {name!r}: there is no such folder; give a folder, a hub id or {', '.join(known)}")
    wanted = ["*.json", "*.safetensors", "*.model", "README.md"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, **hub))
    except Exception as error:  # a dozen classes for no network, no such name and no permission
        raise BadInput(
            f"cannot find {what} {name!r}: no such folder, and the hub has no such name or cannot be reached (no "
            f"network, or HF_HUB_OFFLINE is set); run `hf download {name} --local-dir FOLDER` where there is a "
            f"network, then give FOLDER (cause: {shorten(one_line(error), 160)})"
        ) from error


def remedy(folder: Path) -> str:
    """What to do where an encoder's folder does not load, from what lies in it."""
    if not (folder / "config.json").is_file():
        return "it has no config.json: give a folder written by save_pretrained or `hf download`"
    if any(folder.glob("*.safetensors")):
        return "the folder needs config, safetensors weights, tokenizer and preprocessor of one checkpoint"
    for path in sorted(folder.iterdir()):
        if path.suffix in (".bin", ".pt", ".pth", ".ckpt"):
            how = "convert them with save_pretrained where you trust them"
            return f"it holds pickle weights only, {path.name}, which can run code when read: {how}"
    return "it has no *.safetensors weights: fetch them beside config.json"
