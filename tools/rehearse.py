"""The profile `paper` end to end at the true shapes, on any machine: `python tools/rehearse.py --out DIR`.

An encoder folder of SigLIP 2 base-224's configuration with random weights and a vocabulary of 256,000, three rendered
trees of a few dozen images, one epoch in small batches. On them run `parlib reproduce` (plan, cells, report) and the
notebooks; then `parlib reproduce` on a few real crops, where there are some. Only the training is shortened. At the
end each cell's estimate stands beside the time it took. Numbers made here say nothing about any method.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from scipy.io import loadmat, savemat

from parlib.data.formats import texts
from parlib.files import json_text
from pedsynth import synthesize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from encode import encoder_folder  # noqa: E402

REAL = Path(os.environ.get("PARLIB_TEST_DATA") or ROOT.parent / "shared" / "data") / "pa100k-sample"
SIZES = {"train": 16, "val": 8, "test": 8}
# Notebook 6 needs some backpacks and 60 images to mark. Labels of Market-1501 belong to people: two must be in val.
PER_BENCHMARK = {"pa100k": {**SIZES, "train": 64}, "peta": SIZES, "market1501": {"train": 20, "val": 12, "test": 8}}
SHORT = {"training": {"epochs": 1, "batch_size": 4}, "sizes": SIZES, "seeds": [0]}
REPRODUCE = ("-m", "parlib", "reproduce")
SAMPLE = ("constant", "zero-shot", "linear", "recommended", "paper")  # methods on the real crops


def few_crops(out):
    """The first rows of each split of the real sample, as a tree of its own."""
    content = loadmat(REAL / "annotation.mat")
    few = {name: content[name][: SIZES.get(name.split("_")[0])] for name in content if not name.startswith("__")}
    savemat(out / "annotation.mat", few)
    (out / "data").mkdir()
    for split in SIZES:
        for name in texts(few[f"{split}_images_name"]):
            shutil.copy(REAL / "data" / name, out / "data")


def main():
    """Rehearse; exit code 1 where a cell or a notebook fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", help="keys in methods.yaml (default: all of the plan)")
    parser.add_argument("--benchmarks", nargs="+", choices=PER_BENCHMARK, help="default: all")
    parser.add_argument("--notebooks", nargs="*", type=Path, help="default: all that are numbered")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    for name, sizes in PER_BENCHMARK.items():
        synthesize(name, out / "data" / name, **sizes, progress=False)
    fields = out / "fields.yaml"
    fields.write_text(json_text(SHORT) + "\n", encoding="utf-8")
    places = {"data": out / "data", "cache": out / "cache", "runs": out / "paper", "fields": fields}
    always = {"profile": "paper", "encoder": encoder_folder("base-224", out / "encoder"), **places}
    failed, took = [], {}

    def step(name, *command, **changes):
        started = time.perf_counter()
        variables = {f"PARLIB_{key.upper()}": str(value) for key, value in {**always, **changes}.items()}
        done = subprocess.run([sys.executable, *map(str, command)], env={**os.environ, **variables}, cwd=ROOT)
        took[name] = time.perf_counter() - started
        if done.returncode:
            failed.append(name)

    chosen = {"--methods": arguments.methods, "--benchmarks": arguments.benchmarks}
    options = [word for option, names in chosen.items() if names for word in (option, ",".join(names))]
    step("plan, cells, report", *REPRODUCE, *options)
    if arguments.notebooks != []:
        step("notebooks", "tools/execute_notebooks.py", "--out", out / "notebooks", *(arguments.notebooks or ()))
    if REAL.is_dir():
        with TemporaryDirectory() as crops:
            few_crops(Path(crops))
            where = {"profile": "sample", "data": crops, "runs": out / "sample"}
            step("real crops", *REPRODUCE, "--methods", ",".join(SAMPLE), **where)
    else:
        print(f"no real crops at {REAL}: set PARLIB_TEST_DATA to the folder that holds pa100k-sample/")
    print((out / "paper" / "REPORT.md").read_text(encoding="utf-8").split("## Plan, versions, hardware\n\n")[1])
    print("\n".join(f"{name}: {seconds / 60:.1f} minutes" for name, seconds in took.items()))
    print("failed:", ", ".join(failed) or "nothing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
