"""Where the name of a trained model leads, and the pictures that ship."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from PIL import Image

from parlib.errors import BadInput

_ASSETS = Path(__file__).parents[1] / "assets"
SHIPPED = {"nano-pa100k": _ASSETS / "nano-pa100k"}
EXAMPLES = _ASSETS / "examples"
Picture = str | os.PathLike | Image.Image  # a file, a folder, a pattern, or a picture
Images = Picture | Iterable[Picture]


def folder_of(name: str, revision: str | None = None, **hub: Any) -> Path:
    """The folder of a model: one that ships, one on this machine, or one fetched from the hub; BadInput for none."""
    if name in SHIPPED:
        return SHIPPED[name]
    if os.path.isdir(name):
        return Path(name)
    known = f"models that ship: {', '.join(SHIPPED)}; or the folder of a `parlib train` run, or a hub id"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BadInput(f"no model {name!r}; {known}")
    try:
        wanted = ["*.json", "*.safetensors", "README.md"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, **hub))
    # The hub's client has a dozen classes for no network, no such name and no permission.
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"no folder {name!r}, and the hub gives no such model ({first}); {known}") from error
