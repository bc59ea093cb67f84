"""Makes the head and the example pictures that ship with the package: `python tools/nano_head.py`.

The head is trained for `nano` on the small profile's rendered PA-100K tree and scored on its test split; the examples
are rendered people of another seed. The head knows rendered people only and is of no use on photographs.
"""

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from parlib.data import benchmark_root, load_benchmark
from parlib.files import write_atomic
from parlib.learn.methods import find_methods
from parlib.learn.run import evaluate_run, train_run
from parlib.profile import profile
from parlib.use.model import EXAMPLES, SHIPPED, load
from pedsynth import synthesize

SCENE = EXAMPLES.parent / "scene"
PEOPLE, SEED = 12, 2026  # example pictures, and the seed of who is in them


def main():
    """Train, score, save; then render the examples."""
    small, out = profile("small"), SHIPPED["nano-pa100k"]
    root = benchmark_root(small)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        (method,) = find_methods([small.method])
        options = method.train_options("nano")
        train_run("pa100k", root, "nano", small.seed, run, small.cache, options, **method.options)
        evaluate_run(run)
        model = load(run)
        shutil.rmtree(out, ignore_errors=True)
        model.save_pretrained(out)
        tree = synthesize("pa100k", Path(folder) / "tree", train=1, val=1, test=PEOPLE, seed=SEED, progress=False)
        shutil.rmtree(EXAMPLES, ignore_errors=True)
        EXAMPLES.mkdir()
        for number, row in enumerate(load_benchmark("pa100k", tree, "test"), 1):
            row["image"].save(EXAMPLES / f"person-{number:02d}.png", optimize=True)
        _scene(sorted(EXAMPLES.glob("*.png"))[:4])


def _scene(paths):
    """Four of the people side by side on a grey ground, and their boxes: a frame for `parlib predict --boxes`."""
    people = [Image.open(path) for path in paths]
    height, gap = max(person.height for person in people) + 40, 40
    frame = Image.new("RGB", (sum(person.width + gap for person in people) + gap, height), "#8a8f93")
    left, rows = gap, ["image,x,y,width,height"]
    for person in people:
        frame.paste(person, (left, height - person.height - 10))
        rows.append(f"frame.png,{left},{height - person.height - 10},{person.width},{person.height}")
        left += person.width + gap
    SCENE.mkdir(exist_ok=True)
    frame.save(SCENE / "frame.png", optimize=True)
    write_atomic(SCENE / "boxes.csv", "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
