"""Prediction against extraction of the same pictures, memory at 1x and 4x, and one picture cold and warm.

Both decode JPEGs from disk and run the image tower of nano; prediction adds head and table, extraction writes features.
Cold is a new Python process, with its imports and the loading of the model. Run as `python benchmarks/predict.py`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from harness import profile, side_by_side, write

import parlib
from parlib.data import load_benchmark
from parlib.use.crops import gather
from parlib.use.predict import Job, write_predictions
from pedsynth import synthesize

IMAGES = 1000


def main():
    """Ratio of images a second, and resident memory above what the model takes."""
    model, process, out = parlib.load("nano-pa100k"), psutil.Process(), {}
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        root = synthesize("pa100k", place / "tree", train=1, val=1, test=IMAGES, progress=False)
        dataset, count = load_benchmark("pa100k", root, "test"), iter(range(1000))
        crops = gather([path["path"] for path in _files(dataset)])

        def extracted():
            parlib.extract(dataset, model.encoder, place / str(next(count)), "t", progress=False)
            return IMAGES

        def predicted(many=1):
            job = Job(model, crops * many, progress=False)
            write_predictions(job, place / f"{next(count)}.parquet")
            return IMAGES * many

        out["speed"] = side_by_side({"extraction": extracted, "prediction": predicted}, 3)
        picture = _files(dataset)[0]["path"]
        command = [sys.executable, "-c", f"import parlib; parlib.load('nano-pa100k')({str(picture)!r})"]
        one = {"cold": lambda: subprocess.run(command, check=True) and 1, "warm": lambda: len(model(picture)) and 1}
        out["one picture"] = {**side_by_side(one, 5), "profile": profile(one["warm"])}
        for many in (1, 4):
            before, most = process.memory_info().rss, 0
            job = Job(model, crops * many, progress=False)
            for _ in job.people():
                most = max(most, process.memory_info().rss)
            out[f"{many}x"] = {"images": IMAGES * many, "above_before_mb": (most - before) / 1e6}
    write("predict", out)


def _files(dataset):
    import datasets

    return dataset.cast_column("image", datasets.Image(decode=False))["image"]


if __name__ == "__main__":
    main()
