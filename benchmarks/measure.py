"""How long scores and intervals take: `python benchmarks/measure.py` writes `results/measure.json`."""

import numpy as np
from harness import side_by_side, write
from sklearn.metrics import average_precision_score

from parlib.measure.bootstrap import bootstrap
from parlib.measure.metrics import average_precision, evaluate


def main():
    """100,000 x 40 labels scored, average precision beside scikit-learn's, 1,000 resamples of 10,000 x 26."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, (100_000, 40)), rng.random((100_000, 40))
    few, given, people = labels[:10_000, :26], scores[:10_000, :26], np.repeat(np.arange(2_000), 5)
    one = (labels[:, 0], scores[:, 0])
    parts = {
        "scores of 100,000 x 40": {"evaluate": lambda: evaluate(labels, scores)},
        "average precision of 100,000": {
            "parlib": lambda: average_precision(*one),
            "scikit-learn": lambda: average_precision_score(*one),
        },
        "1,000 resamples of 10,000 x 26": {
            "images": lambda: bootstrap(few, given),
            "2,000 people": lambda: bootstrap(few, given, identities=people),
            "paired, images": lambda: bootstrap(few, given, other=given[::-1]),
        },
    }
    timed = {name: side_by_side({k: _silent(f) for k, f in fns.items()}, repeats=5) for name, fns in parts.items()}
    for name, rows in timed.items():
        for who, row in rows.items():
            print(f"{name:32s} {who:16s} {row['median_s']:.3f} s")
    write("measure", timed)


def _silent(function):
    return lambda: (function(), 1)[1]


if __name__ == "__main__":
    main()
