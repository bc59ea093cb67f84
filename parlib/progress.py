"""What a training command shows while it runs."""

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from parlib.errors import BadInput


class Progress:
    """Called by `train_run` after each step and epoch: one line of what is trained, a bar, and curves.

    The line and the bar are made at the first step, so that an error before it is the only line on stderr.

    Args:
        words: of the line, after `parlib: `.
        logs: folder for TensorBoard's files; BadInput where its package is not installed.
    """

    def __init__(self, words: str, seed: int, epochs: int, logs: Path | None = None):
        self.words, self.seed, self.epochs = words, seed, epochs
        self.bar: Any = None
        self.curves = _curves(logs) if logs else None

    def __call__(self, epoch: int, step: int, steps: int, seen: Any) -> None:
        """After a step `seen` is its loss; after an epoch a dict with `loss` and the scores on val."""
        if self.bar is None:
            print(f"parlib: {self.words}", file=sys.stderr)
            self.bar = tqdm(total=self.epochs, initial=epoch, desc=f"train seed {self.seed}", unit="epoch")
        if isinstance(seen, dict):
            self.bar.update()
            self.bar.set_postfix({name: f"{seen[name]:.3f}" for name in ("loss", "mAP", "mA")})
            for name in ("loss", "mA", "f1", "mAP") if self.curves else ():
                self.curves.add_scalar(name, seen[name], epoch)

    def close(self) -> None:
        """End the bar and the curves."""
        for one in filter(None, (self.bar, self.curves)):
            one.close()


def _curves(folder):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput("--tensorboard needs the tensorboard package: pip install tensorboard") from None
    return SummaryWriter(folder)
