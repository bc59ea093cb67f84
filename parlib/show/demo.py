"""The demonstration: the shipped head on people rendered here, with nothing to fetch, and with noise on demand."""

from pathlib import Path

import numpy as np
from PIL import Image

from parlib.files import whole_folder
from parlib.show.server import launch

_SIZES = {"train": 60, "val": 60, "test": 200}


def demo_tree(cache: str | Path, noise: float = 0.0) -> Path:
    """A small rendered PA-100K below `cache`, made once; of every pixel the share `noise` (0 to 1) is random."""
    from pedsynth import synthesize

    tree = synthesize("pa100k", Path(cache) / "demo" / "clean", **_SIZES)
    noisy = tree.with_name(f"noise-{noise:g}")
    if noise and not noisy.exists():
        with whole_folder(noisy) as out:
            for path in sorted(path for path in tree.rglob("*") if path.is_file()):
                (target := out / path.relative_to(tree)).parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
                if path.suffix == ".jpg":
                    pixels = np.asarray(Image.open(path).convert("RGB"), float)
                    draws = np.random.default_rng(int(path.stem)).uniform(0, 255, pixels.shape)
                    Image.fromarray(((1 - noise) * pixels + noise * draws).astype(np.uint8)).save(target, quality=95)
    return noisy if noise else tree


def demo(noise: float, cache: str | Path, port: int, browser: bool) -> None:
    """Serve the explorers on the tree until they are stopped; the page encodes it, and says the score at its top."""
    tree = demo_tree(cache, noise)
    people = f"{sum(_SIZES.values())} rendered people, noise {noise:g}"
    print(f"{people}; their score stands above the tabs, and is no benchmark's number", flush=True)
    launch("nano-pa100k", str(tree), str(cache), port, browser)
