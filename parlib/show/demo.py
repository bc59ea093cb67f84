"""The demonstration: the shipped head on people rendered here, with nothing to fetch, and with noise on demand."""

from pathlib import Path

import numpy as np
from PIL import Image

from parlib.data import read_release
from parlib.files import whole_folder
from parlib.learn.inputs import prepare
from parlib.learn.train import predict
from parlib.measure.metrics import evaluate
from parlib.show.explorers.page import serve
from parlib.use.model import load

_MODEL = "nano-pa100k"
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


def demo_score(tree: Path, cache: str | Path) -> float:
    """mA of the shipped head on the tree's test images, at its own thresholds: a fraction, 0.5 by chance."""
    model = load(_MODEL)
    test = prepare(read_release("pa100k", tree), "test", model.encoder, cache)
    return evaluate(test.labels, predict(model.head, test.store), model.head.thresholds.cpu().numpy()).mA


def demo(noise: float, cache: str | Path, port: int, browser: bool) -> None:
    """Print the score, and serve the explorers on the tree until they are stopped."""
    tree = demo_tree(cache, noise)
    score, people = 100 * demo_score(tree, cache), f"{_SIZES['test']} rendered people"
    print(f"mA {score:.1f} on {people}, noise {noise:g}; 50 is chance, and neither is a benchmark's number", flush=True)
    serve(_MODEL, str(tree), str(cache), port, browser)
