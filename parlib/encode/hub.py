"""Which checkpoints are known by name, where a name leads, and what to do when one does not load."""

import os
from pathlib import Path
from typing import NamedTuple

from parlib.errors import BadInput

NANO = Path(__file__).parents[1] / "assets" / "siglip2-nano"
# Sizes of the towers as published with the checkpoints; tokens are (pixels / patch) squared.
_WIDTHS = {"base": 768, "large": 1024, "so400m": 1152}
_FIXED = {
    "siglip2": "base-16 224 256 384 512, large-16 256 384 512, so400m-14 224 384, so400m-16 256 384 512",
    "siglip": "base-16 224 256 384 512, large-16 256 384, so400m-14 224 384",  # the first generation, English prompts
}


class Known(NamedTuple):
    """A checkpoint known by name: what it is, input side in pixels (None: aspect ratio kept), N at most, D."""

    about: str
    pixels: int | None
    tokens: int
    width: int


def available_encoders() -> dict[str, Known]:
    """Names `load_encoder` knows by heart: `{name: Known}`; any other hub id or folder of the family works too."""
    known = {"nano": Known("the embedded default, rendered people only", 96, 64, 128)}
    for family, listing in _FIXED.items():
        generation = "SigLIP 2" if family == "siglip2" else "SigLIP, first generation"
        for entry in listing.split(", "):
            size, *sides = entry.split()
            size, patch = size.split("-")
            for side in map(int, sides):
                name = f"google/{family}-{size}-patch{patch}-{side}"
                known[name] = Known(f"{generation} {size}/{patch}", side, (side // int(patch)) ** 2, _WIDTHS[size])
    for size in ("base", "so400m"):
        about = f"SigLIP 2 {size}/16 NaFlex, aspect ratio kept"
        known[f"google/siglip2-{size}-patch16-naflex"] = Known(about, None, 256, _WIDTHS[size])
    return known


def locate(name: str) -> tuple[Path | str, bool]:
    """(what transformers is given, whether it is a folder on this machine)."""
    if name == "nano":
        return NANO, True
    if os.path.isdir(name):
        if not (Path(name) / "config.json").is_file():
            raise BadInput(f"encoder folder {name} has no config.json; expected a model saved with save_pretrained")
        return Path(name), True
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name, False
    raise BadInput(f"unknown encoder {name!r}: no such folder; known names: {', '.join(available_encoders())}")


def remedy(source: Path | str, local: bool) -> str:
    """What to do where a checkpoint does not load, from what lies in its folder."""
    if not local:
        return (
            "not at the hub, the hub cannot be reached, or HF_HUB_OFFLINE is set and it is not in the cache; "
            f"`hf download {source} --local-dir FOLDER` where there is a network, then give FOLDER"
        )
    held = {path.name for path in Path(source).iterdir()}
    if not any(name.endswith(".safetensors") for name in held):
        pickled = sorted(name for name in held if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
        return (
            f"it holds pickle weights only, {pickled[0]}, which can run code when read: "
            "convert them with save_pretrained where you trust them"
            if pickled
            else "it has no *.safetensors weights: fetch them beside config.json"
        )
    return "the folder needs config, safetensors weights, tokenizer and preprocessor of one checkpoint"
