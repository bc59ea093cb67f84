"""The server of the explorers' page, and the demonstration on people rendered here with noise on demand.

It loads neither torch nor a model: the page's kernel does.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from parlib.errors import BadInput
from parlib.files import ASSETS, json_text, whole_folder

_SIZES = {"train": 60, "val": 60, "test": 200}


def application() -> Any:
    """The class of the server; BadInput where the packages of the extra `explore` are missing."""
    try:
        import ipykernel  # noqa: F401 (runs the page; voila does not bring it)
        from voila.app import Voila  # type: ignore[import-untyped]
    except ImportError:
        raise BadInput("explore needs voila and ipykernel: pip install 'parlib[explore]'") from None
    return Voila


def launch(port: int, browser: bool, **wanted: str | None) -> None:
    """Serve the page of `explorers.page.run_tabs`, with its arguments, or of the profile, until it is stopped."""
    if wanted.get("run"):
        places = {key: os.path.abspath(path) if path and os.path.exists(path) else path for key, path in wanted.items()}
        os.environ["PARLIB_EXPLORE"] = json_text(places)
    # Servers drop messages above 10 MB, so a large picture could not be uploaded to an explorer.
    options = ["--Voila.tornado_settings={'websocket_max_message_size': 200000000}"]
    options += ["--VoilaConfiguration.extension_language_mapping={'.py': 'python'}", "--Voila.ip=127.0.0.1"]
    options += [f"--port={port}", *([] if browser else ["--no-browser"])]
    application().launch_instance([str(ASSETS / "explore.py"), *options])


def demo_tree(cache: str | Path, noise: float = 0.0) -> Path:
    """A small rendered PA-100K below `cache`, made once; of every pixel the share `noise` (0 to 1) is random."""
    from pedsynth import synthesize

    tree = synthesize("pa100k", Path(cache) / "demo" / "clean", **_SIZES)
    noisy = tree.with_name(f"noise-{noise:g}")
    if noise and not noisy.exists():
        with whole_folder(noisy) as out:
            shutil.copytree(tree, out, dirs_exist_ok=True)
            for path in out.rglob("*.jpg"):
                pixels = np.asarray(Image.open(path).convert("RGB"), float)
                draws = np.random.default_rng(int(path.stem)).uniform(0, 255, pixels.shape)
                Image.fromarray(((1 - noise) * pixels + noise * draws).astype(np.uint8)).save(path, quality=95)
    return noisy if noise else tree


def demo(noise: float, cache: str | Path, port: int, browser: bool) -> None:
    """Serve the explorers on the tree until they are stopped; the page encodes it, and says the score at its top."""
    tree = demo_tree(cache, noise)
    people = f"{sum(_SIZES.values())} rendered people, noise {noise:g}"
    print(f"{people}; their score stands above the tabs, and is no benchmark's number", flush=True)
    launch(port, browser, run="nano-pa100k", folder=str(tree), cache=str(cache))
