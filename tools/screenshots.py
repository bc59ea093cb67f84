"""Pictures of the explorers for readers on the web: the page of `make explore` in a real Chromium, one PNG an explorer.

python tools/screenshots.py                          # notebooks/images/*.png
python tools/screenshots.py --out /tmp/look --width 800 --theme dark
PARLIB_EXPLORE='{"run": "RUN"}' python tools/screenshots.py --out /tmp/look --attribute hairLong --taught hairLong
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
# Tab -> box, what is typed into it (None: the example in the box), and the words that its answer brings.
PHRASES = {
    "One image": ("Any phrase", "a person in trousers", "patch similarity"),
    "Prompts": ("Your wording", "somebody with a rucksack", "yours"),
    "Map": ("Nearest to", None, "12 images selected."),
}
MARKS = 20
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find_chromium():
    """Path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def open_browser():
    """A Chromium, as a function that opens a page of it; what goes wrong in a page is in its `errors`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)

        def new_page(width=1280, height=900):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(300_000)  # a machine may be busy: only what hangs takes longer
            page.errors = []
            # Voila's template asks a CDN for an icon font that the explorers do not use; nothing else is wanted for.
            page.route(lambda url: "cdn.jsdelivr.net" in url, lambda route: route.fulfill(content_type="text/css"))
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            page.on("console", lambda line: line.type == "error" and page.errors.append(f"{line.text} {line.location}"))
            return page

        yield new_page
        browser.close()


@contextmanager
def serve(command, ready="", seconds=300, **environment):
    """Run a server (its arguments, with `{port}` in them) and give its address once `ready` answers below it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + seconds
    command = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{address}{ready}", timeout=seconds)
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        raise RuntimeError(f"{command[2]} did not answer: {log.read()[-2000:]}") from None
                    time.sleep(0.2)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


def voila(page, *options):
    """Arguments of `serve` for a .py file or a notebook as voila shows it."""
    mapping = '--VoilaConfiguration.extension_language_mapping={{".py": "python"}}'
    return ["voila", str(page), "--no-browser", "--port={port}", "--Voila.ip=127.0.0.1", mapping, *options]


def choose(page, attribute):
    """Choose an attribute in the explorer seen, by its button or in its list, and wait for the answer."""
    button = page.locator(".par:visible .chips button", has_text=attribute)
    listed = page.get_by_label("Attribute", exact=True).locator("visible=true")
    if button.count() + listed.count():
        button.first.click() if button.count() else listed.select_option(attribute)
        page.wait_for_timeout(2_000)


def teach(page, name):
    """Teach an attribute of the data under a new name: its prompt, and marks as its labels say."""
    from parlib import profile
    from parlib.data import benchmark_root, labels_of, read_release
    from parlib.encode.prompts import load_prompts
    from parlib.show.explorers.page import _of_run

    wanted = json.loads(os.environ.get("PARLIB_EXPLORE", "null"))
    release = _of_run(**dict.fromkeys(("folder", "cache", "beside")) | wanted)[2] if wanted else None
    release = release or read_release(profile().benchmark, benchmark_root(profile()))
    a = release.schema.index(name)
    parts = [release.dataset(split, images=False) for split in release.splits]
    truth = {i: row[a] for part in parts for i, row in zip(part["image_id"], labels_of(part), strict=True)}
    box = page.locator(".par:visible")
    for label, words in (("Name", f"taught {name}"), ("Phrase", load_prompts(release.schema)[a])):
        box.get_by_label(label, exact=True).fill(words)
        box.get_by_label(label, exact=True).press("Enter")
    box.get_by_label("Compare with").select_option(name)
    answers = {0: 0, 1: 0}
    for _ in range(MARKS):
        box.get_by_text(f"{answers[1]} yes, {answers[0]} no so far").wait_for()
        box.locator("progress").wait_for(state="detached")
        answer = int(truth[box.locator("figure img").first.get_attribute("alt").split()[1].rstrip(":")] == 1)
        box.get_by_role("button", name="Yes (y)" if answer else "No (n)").click()
        answers[answer] += 1
    box.get_by_text(f"learned from {MARKS} labels").first.wait_for()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=HERE.parent / "parlib" / "assets" / "explore.py")
    parser.add_argument("--out", type=Path, default=HERE.parent / "notebooks" / "images")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--attribute", default="Backpack", help="chosen in every explorer that has it")
    parser.add_argument("--taught", default="LongCoat", help="whose labels teach the new attribute")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    command = voila(arguments.page, f"--theme={arguments.theme}")
    with serve(command, "/voila/static/voila.js") as address, open_browser() as new_page:
        page = new_page(arguments.width, 900)
        page.goto(address, timeout=600_000)
        page.get_by_role("tab", name="Teach").wait_for(timeout=600_000)
        for tab in page.get_by_role("tab").all():
            tab.click()
            page.locator(".par:visible").wait_for()
            choose(page, arguments.attribute)
            if tab.inner_text() in PHRASES:
                label, phrase, answer = PHRASES[tab.inner_text()]
                box = page.get_by_label(label).locator("visible=true")
                box.fill(phrase or box.evaluate("e => e.placeholder"))
                box.press("Enter")
                page.get_by_text(answer, exact=True).filter(visible=True).first.wait_for()
            if tab.inner_text() == "Errors":
                page.get_by_role("button", name="Whom is it wrong about?").click()
                page.get_by_text("A gap holds").filter(visible=True).wait_for()
            if tab.inner_text() == "Teach":
                teach(page, arguments.taught)
            page.locator("progress").wait_for(state="detached")
            page.evaluate("document.activeElement.blur()")
            path = arguments.out / f"{tab.inner_text().lower().replace(' ', '_')}.png"
            page.locator(".par:visible").screenshot(path=path)
            Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        print("\n".join(page.errors) or "no console error")


if __name__ == "__main__":
    main()
