"""The map with 1,000, 10,000 and 100,000 points in a real Chromium: until it is drawn, and frames of a pan.

python benchmarks/map.py
"""

import argparse
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from screenshots import open_browser, serve, voila

PAGE = """
import time, datasets, numpy as np, torch
from IPython.display import HTML, display
from parlib.encode.encoder import load_encoder
from parlib.schema import Schema
from parlib.show.explorers import MapExplorer
from parlib.use.attributes import Lesson
start, n = time.perf_counter(), {n}
schema = Schema.from_dict({{"name": "own", "attributes": [{{"name": "bag", "prompt": "a person with a bag"}}]}})
draws = np.random.default_rng(0)
part = datasets.Dataset.from_dict({{"image_id": [f"{{i}}.jpg" for i in range(n)]}})
store = type("S", (), {{"pooled": torch.randn(n, 128), "folder": "x", "__len__": lambda self: n}})()
labels = {{"train": draws.integers(0, 2, (n, 1))}}
places = MapExplorer({{"train": part}}, schema, {{"train": store}}, labels, layout="pca")
lesson = Lesson(load_encoder("nano"), places.features)
lesson.marks[:60] = labels["train"][:60, 0]
lesson.learn("bag")
lesson.learn("bag")
again = time.perf_counter()
places.colour_by("bag", lesson.scores)
words = f"made {{again - start:.2f}} learned {{lesson.seconds:.2f}} coloured {{time.perf_counter() - again:.2f}}"
display(HTML(f"<p id=made>{{words}}</p>"), places)
"""
FRAMES = """() => new Promise(done => {
  const times = [performance.now()];
  const next = now => { times.push(now); times.length < 62 ? requestAnimationFrame(next) : done(times); };
  requestAnimationFrame(next);
})"""


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("| points | made, learned, coloured in Python, s | page, s | median frame of a pan, ms | slowest, ms |")
    print("|---|---|---|---|---|")
    for n in (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder, open_browser() as new_page:
            path = Path(folder) / "page.py"
            path.write_text(PAGE.format(n=n))
            with serve(voila(path), "/voila/static/voila.js") as address:
                page, start = new_page(), time.perf_counter()
                page.goto(address, timeout=300_000)
                box = page.locator("canvas").first
                box.wait_for()
                opened = time.perf_counter() - start
                page.wait_for_timeout(1_000)
                at = box.bounding_box()
                x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
                page.mouse.move(x, y)
                page.mouse.down()
                page.evaluate(f"() => {{ window.panned = ({FRAMES})(); }}")
                for step in range(60):
                    page.mouse.move(x + 3 * step, y + step)
                page.mouse.up()
                times = page.evaluate("window.panned")
                frames = sorted(b - a for a, b in pairwise(times))
                made = page.locator("#made").inner_text()
                print(
                    f"| {n:,} | {made} | {opened:.1f} | {frames[len(frames) // 2]:.0f} | {frames[-1]:.0f} |", flush=True
                )


if __name__ == "__main__":
    main()
