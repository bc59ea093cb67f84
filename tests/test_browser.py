"""Notebooks in JupyterLab and explorers through voila, in a real Chromium: what a control does is seen on the page."""

import contextlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError

from parlib.data import load_benchmark
from parlib.schema import schema

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from screenshots import find_chromium, open_browser, serve, voila  # noqa: E402

pytestmark = pytest.mark.browser
SHORTS = schema("pa100k").index("Shorts")
NOTEBOOK = 1_200_000  # ms that a notebook may take where other work keeps the machine busy
SMALL = 'parlib.profile(sizes={"train": 60, "val": 40, "test": 40}, training={"epochs": 1, "batch_size": 16})'


@pytest.fixture(scope="module")
def new_page():
    if find_chromium() is None:
        reason = "no Chromium on this machine: install it (Debian: apt-get install chromium)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with open_browser() as new_page:
        yield new_page


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What is rendered, encoded and trained is shared by the tests of this module."""
    folder = tmp_path_factory.mktemp("places")
    return {"PARLIB_CACHE": str(folder / "cache"), "PARLIB_RUNS": str(folder / "runs"), "PARLIB_PROFILE": "small"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, places):
    """Address of a JupyterLab in its dark theme, with notebooks 1 and 6 without their outputs, 6 on fewer images."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks" / "images", folder / "images")
    for name in ("01_data", "06_explore"):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if name == "06_explore":
                cell.source = cell.source.replace("parlib.profile(profile_name)", SMALL)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    # Every cell is kept on the page, so that what is below the window can be asked for too.
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    theme = folder / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    theme.parent.mkdir()
    theme.write_text(json.dumps({"theme": "JupyterLab Dark"}))
    command = ["jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}"]
    command += ["--IdentityProvider.token=", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    # Also its own workspace: panels left open by somebody's last visit would hide what is asked for here.
    own = {f"JUPYTERLAB_{kind.upper()}_DIR": str(folder / kind) for kind in ("settings", "workspaces")}
    with serve(command, "/api", **own, **places) as address:
        yield f"{address}/lab"


@pytest.fixture(scope="module")
def tabs(new_page, places, tmp_path_factory):
    """The page of `make explore`, on fewer images."""
    source = tmp_path_factory.mktemp("voila") / "explore.py"
    source.write_text((ROOT / "parlib" / "assets" / "explore.py").read_text().replace("parlib.profile()", SMALL))
    uploads = '--Voila.tornado_settings={{"websocket_max_message_size": 200000000}}'
    with serve(voila(source, uploads), "/voila/static/voila.js", **places) as address:
        page = new_page()
        page.goto(address)
        page.get_by_role("tab", name="Teach").wait_for()  # it comes after the first picture, with the others
        yield page


# Each explorer of the page, in its order, and the controls that it must have.
CONTROLS = {
    "One image": {
        "Image",
        "Upload a picture",
        "Any phrase",
        "Threshold",
        "Previous",
        "Next",
        "Order",
        "for all attributes",
        "Hat",
        "Trousers",
    },
    "Data": {"Split", "Page", "Previous", "Next", "Female", "boots", "train 000001.jpg"},
    "Prompts": {"Attribute", "Start from", "Your wording"},
    "Thresholds": {"Attribute", "Threshold"},
    "Errors": {
        "Attribute",
        "false positives",
        "image",
        "group",
        "Order",
        "Page",
        "Select on the map",
        "Whom is it wrong about?",
        "show attention",
    },
    "Map": {"Colour", "Attribute", "Any phrase", "Nearest to", "Upload a picture"},
    "Labels": {"Attribute", "Who", "Why", "Keep", "Flip", "Unknown", "Back", "Rank"},
    "Teach": {"Name", "Phrase", "Compare with", "Save with the model", "Yes", "No", "Skip", "Back", "Show on the map"},
}


def opened(tabs, name):
    """The explorer behind a tab, once it is seen: found by its place, because another one is seen until then."""
    tabs.get_by_role("tab", name=name).click()
    explorer = tabs.locator(".par").nth(list(CONTROLS).index(name))
    explorer.wait_for()
    return explorer


@pytest.fixture
def tab(tabs, request):
    """One explorer's tab, open; what it logged as an error by the end of the test fails it."""
    yield opened(tabs, request.param)
    assert tabs.errors == []


def explorers(name):
    return pytest.mark.parametrize("tab", [name], indirect=True)


def run_all(page, lab, name, title):
    """Open a notebook in a workspace of its own, where no other one is open, and run it."""
    page.goto(f"{lab}/workspaces/{name}/tree/{name}.ipynb")
    page.get_by_role("heading", name=title).wait_for()
    # Until then there is no kernel, though the notebook's own indicator says idle, and what is to be run is lost.
    page.locator("#jp-main-statusbar").get_by_text("(ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    return page


def no_error(page):
    assert page.locator(".jp-mod-error, .jp-RenderedText[data-mime-type*=stderr] .ansi-red-fg").count() == 0
    assert page.errors == []


def slide(tab, name, keys="ArrowRight"):
    """Move a slider by the keyboard."""
    handle = tab.get_by_role("slider", name=name)
    handle.focus()
    handle.press(keys)


def enter(tab, name, words):
    """Type into a box and press Enter."""
    box = tab.get_by_label(name)
    box.fill(words)
    box.press("Enter")


def choose(tab, path):
    """Upload a file as somebody does who presses the button."""
    with tab.page.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Upload a picture").click()
    chooser.value.set_files(path)


# Two ways to wait for an answer. Neither can be satisfied by what was on the page before the question.
WORDS = "e => [...e.querySelectorAll('.widget-html-content')].map(view => view.innerText).join()"


def appears(tab, words, act, *arguments):
    """Do something, and wait for words that the explorer did not show before."""
    found = tab.get_by_text(words).filter(visible=True)
    assert found.count() == 0, f"{words} is there before {act.__name__}"
    act(*arguments)
    try:
        found.first.wait_for()
    except TimeoutError:
        pytest.fail(f"{words} did not appear; the page says: {tab.evaluate(WORDS)}")
    tab.locator("progress").wait_for(state="detached")  # what else the answer changes is not taken for the next one


def changes(tab, act, *arguments):
    """Do something, and wait until the views of the explorer say something else and nothing is at work any more."""
    before = tab.evaluate(WORDS)
    act(*arguments)
    done = f"([e, before]) => ({WORDS})(e) !== before && !e.querySelector('progress')"
    tab.page.wait_for_function(done, arg=[tab.element_handle(), before])


def select(tab, name, *options):
    """Select exactly these options of a list."""
    tab.get_by_label(name, exact=True).select_option(list(options))


def press(tab, name):
    """Press a button by the keyboard, which works as a click does."""
    tab.get_by_role("button", name=name).press("Enter")


@explorers("One image")
def test_one_image_answers_image_attribute_threshold_and_phrase(tab):
    tab.get_by_text("000101.jpg").first.wait_for()
    appears(tab, "000102.jpg", slide, tab, "Image")
    appears(tab, "Backpack: attention", press, tab, "Backpack")
    assert tab.locator("figure img").count() >= 2
    assert all(image.evaluate("i => i.naturalWidth > 0") for image in tab.locator("figure img").all())
    tab.get_by_label("for all attributes").check()
    none = "view: none of Front, Side, Back; sleeve: none of ShortSleeve, LongSleeve"
    appears(tab, none, slide, tab, "Threshold", "End")
    appears(tab, "view: Front and Side and Back", slide, tab, "Threshold", "Home")
    score = tab.get_by_role("button", name=re.compile("^Front")).inner_text()
    assert "⚠" in score and re.search(r"0\.\d\d", score)
    appears(tab, "<b>bold</b>", enter, tab, "Any phrase", "قبعة <b>bold</b> <img src=x onerror=alert(1)>")
    assert tab.get_by_text("Zero-shot score").count() == 1 and tab.locator("img[src=x]").count() == 0
    assert tab.locator("bdi").evaluate("e => getComputedStyle(e).direction") == "rtl"
    appears(tab, "6001 tokens", enter, tab, "Any phrase", "word " * 2000)
    assert tab.evaluate("e => e.scrollWidth <= e.clientWidth")
    appears(tab, "Type a phrase in any language", enter, tab, "Any phrase", "")


@explorers("One image")
def test_one_image_takes_uploads_and_refuses_what_is_no_picture(tab, tmp_path):
    wide = tmp_path / "large.png"
    Image.effect_noise((4000, 3500), 90).save(wide)  # more than the 10 MB that servers take by default
    assert wide.stat().st_size > 10_000_000
    (tmp_path / "none.png").write_text("no picture")
    Image.new("L", (20_000, 10)).save(tmp_path / "huge.png")
    Image.new("RGBA", (60, 160), (255, 0, 0, 0)).save(tmp_path / "alpha.png")
    frames = [Image.new("L", (60, 160), grey) for grey in (0, 99)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    appears(tab, "large.png", choose, tab, wide)
    assert tab.get_by_text("No truth is known").count() == 1
    for name, words in (
        ("none.png", "is no image"),
        ("animated.gif", "has 2 frames; the first is shown"),
        ("huge.png", "20000 x 10 px; at most 16,384 px per side"),
        ("alpha.png", "alpha.png"),
    ):
        appears(tab, words, choose, tab, tmp_path / name)
    appears(tab, re.compile(r"^0001\d\d\.jpg"), slide, tab, "Image")


def test_an_attribute_is_taught_by_keyboard_alone(tabs, places):
    """From nothing to an attribute that finds shorts on images it never asked about: words and 16 marks."""
    (tree,) = Path(places["PARLIB_CACHE"]).glob("rendered/pa100k-*")
    parts = [load_benchmark("pa100k", tree, split) for split in ("train", "val")]
    shorts = {item["image_id"]: item["labels"][SHORTS] for part in parts for item in part.remove_columns("image")}
    tabs.get_by_role("tab", name="One image").focus()
    for key in ["ArrowRight"] * list(CONTROLS).index("Teach"):
        tabs.keyboard.press(key)
    tabs.keyboard.press("Enter")
    teach = tabs.locator(".par").nth(list(CONTROLS).index("Teach"))
    teach.get_by_text("Is this: new attribute?").wait_for()
    start = time.monotonic()

    def type_next(words):
        tabs.keyboard.press("Tab")
        tabs.keyboard.type(words)

    type_next("bare legs")
    type_next("a person in shorts")
    type_next("Skirt")  # chooses in the list; Shorts, the one above, begins like others
    tabs.keyboard.press("ArrowUp")
    appears(teach, re.compile("by its labels of Shorts"), tabs.keyboard.press, "Tab")
    tabs.keyboard.press("Tab")
    answers = {0: 0, 1: 0}
    for _ in range(16):
        name = teach.locator("figure img").first.get_attribute("alt").split()[1].rstrip(":")
        answers[shorts[name]] += 1
        tabs.keyboard.press("y" if shorts[name] else "n")
        teach.get_by_text(f"{answers[1]} yes, {answers[0]} no so far").wait_for()
        teach.locator("progress").wait_for(state="detached")
    seconds = time.monotonic() - start
    words = teach.evaluate(WORDS)
    found = float(re.search(r"labels of Shorts: ([\d.]+) %", words)[1])
    chance = 100 * np.mean(
        [labels[SHORTS] for labels in load_benchmark("pa100k", tree, "test", images=False)["labels"]]
    )
    print(f"16 marks in {seconds:.0f} s; average precision {found} %, chance {chance:.1f} %; {words}")
    assert f"learned from 16 labels ({answers[1]} yes)" in words and found > chance + 30
    tabs.keyboard.press("Shift+Tab")
    appears(teach, re.compile("^Saved: .* answers 27 attributes"), tabs.keyboard.press, "Enter")
    tabs.keyboard.press("Tab")
    tabs.keyboard.press("m")
    tabs.get_by_text("Coloured by bare legs").filter(visible=True).wait_for()
    assert tabs.errors == []


@explorers("Data")
def test_data_is_filtered_and_its_pages_turn(tab):
    tab.get_by_text("140 of 140 images").wait_for()
    fewer = re.compile(r"^(?!140 )[1-9]\d* of 140 images")
    appears(tab, fewer, press, tab, "Female")
    assert tab.evaluate("document.activeElement.innerText").startswith("● Female"), "the focus stays"
    appears(tab, "Page 2 of", tab.page.keyboard.press, "ArrowRight")
    press(tab, "ShortSleeve")
    appears(tab, "No image fits this filter", press, tab, "LongSleeve")
    tab.get_by_text("○ LongSleeve").or_(tab.get_by_text("● LongSleeve")).first.wait_for()
    changes(tab, press, tab, "LongSleeve")
    changes(tab, press, tab, "LongSleeve")
    assert tab.get_by_text("No image fits this filter").count() == 0 and tab.get_by_text("Page 1 of").count() == 1


def test_what_is_pressed_opens_in_another_explorer(tabs):
    one = opened(tabs, "One image")
    errors = opened(tabs, "Errors")
    first = errors.locator("figure button").first
    image = first.locator("img").get_attribute("alt").split(":")[0]
    first.press("Enter")
    one.get_by_text(image).first.wait_for()
    assert tabs.get_by_role("tab", name="One image").get_attribute("aria-selected") == "true"
    errors = opened(tabs, "Errors")
    errors.get_by_role("button", name="Select on the map").press("m")
    tabs.get_by_text(re.compile(r"images selected")).filter(visible=True).wait_for()
    data = opened(tabs, "Data")
    shown = data.locator("figure button").nth(3)
    image = shown.locator("img").get_attribute("alt").split()[-1]
    shown.click()
    one.get_by_text(image).first.wait_for()
    assert tabs.errors == []


@explorers("Prompts")
def test_prompts_answer_attribute_and_wording(tab):
    appears(tab, "zaino", select, tab, "Attribute", "Backpack")
    appears(tab, "someone with a <b>rucksack</b>", enter, tab, "Your wording", "someone with a <b>rucksack</b>")
    appears(tab, "An empty wording finds nothing", enter, tab, "Your wording", "")


@explorers("Thresholds")
def test_one_threshold_moves_curves_and_scores(tab):
    appears(tab, "Trousers: TPR and TNR", select, tab, "Attribute", "Trousers")
    before = tab.get_by_role("row", name="Trousers alone").inner_text()
    changes(tab, slide, tab, "Threshold", "End")
    assert tab.get_by_role("row", name="Trousers alone").inner_text() != before
    slider, curve = tab.get_by_role("slider").bounding_box(), tab.get_by_role("img", name="TPR and TNR").bounding_box()
    assert 0 < curve["y"] - slider["y"] < 80 and curve["x"] < slider["x"] < curve["x"] + curve["width"]
    plots = tab.get_by_role("img").all()
    assert len(plots) == 3 and all(plot.bounding_box()["width"] > 300 for plot in plots)


@explorers("Errors")
def test_errors_by_kind_and_group_with_attention(tab):
    tab.get_by_text(re.compile("false positives (among|of)")).wait_for()
    changes(tab, select, tab, "Attribute", "UpperLogo")
    appears(tab, re.compile("false negatives (among|of UpperLogo)"), press, tab, "false negatives")
    changes(tab, select, tab, "Attribute", "Age18-60")
    appears(tab, re.compile(r"wrong \(\d+ %\)"), press, tab, "group")
    appears(tab, "A gap holds if p < 0.05", press, tab, "Whom is it wrong about?")
    changes(tab, press, tab, re.compile("^image"))
    appears(tab, re.compile("(images of|among) Female"), press, tab, "Female")
    assert tab.get_by_role("button", name="Female", exact=True).get_attribute("aria-pressed") == "true"
    changes(tab, press, tab, "Female")


@explorers("Map")
def test_the_map_is_coloured_searched_and_circled(tab):
    tab.get_by_text("140 images; ").wait_for()
    canvas = tab.locator("canvas").first
    appears(tab, "Coloured by error", select, tab, "Colour", "error")
    appears(tab, "Coloured by phrase", enter, tab, "Any phrase", "a person with a hat")
    appears(tab, "12 images selected", enter, tab, "Nearest to", "000101.jpg")
    assert tab.locator("figure img").count() == 12
    appears(tab, "No image 'nobody' on the map", enter, tab, "Nearest to", "nobody")
    tab.get_by_title("Activate lasso selection").click()
    appears(tab, re.compile("^1[0-9][0-9] images selected; the first 24"), circle, tab.page, canvas.bounding_box())


def circle(page, box):
    """Draw a lasso round nearly all of a canvas."""
    x, y, across, down = (box[side] for side in ("x", "y", "width", "height"))
    corners = [(0.1, 0.05), (0.9, 0.05), (0.9, 0.95), (0.1, 0.95), (0.1, 0.1)]
    for i, (right, below) in enumerate(corners):
        page.mouse.move(x + right * across, y + below * down, steps=30)
        if not i:
            page.mouse.down()
    page.mouse.up()


@explorers("Labels")
def test_labels_are_decided_by_keys_and_kept_in_the_file(tab, places):
    tab.get_by_text(re.compile("^Rank 1 of 60 labels")).wait_for()
    enter(tab, "Who", "Ada")
    enter(tab, "Why", "fkub, no key press")
    tab.get_by_role("button", name="Keep").focus()
    appears(tab, re.compile("^Rank 2 of 60 labels"), tab.page.keyboard.press, "f")
    appears(tab, re.compile("^Rank 3 of 60 labels.* 2 decided"), tab.page.keyboard.press, "u")
    appears(tab, "You decided: unknown", tab.page.keyboard.press, "b")
    (file,) = Path(places["PARLIB_CACHE"]).glob("corrections/pa100k-*.csv")
    rows = [line.split(",") for line in file.read_text().splitlines()]
    assert [row[3:5] for row in rows] == [["decision", "who"], ["flip", "Ada"], ["unknown", "Ada"]]


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_wider_than_the_page(tabs, width):
    tabs.set_viewport_size({"width": width, "height": 900})
    wide = "e => [...e.querySelectorAll('*')].filter(x => x.getBoundingClientRect().right > innerWidth + 1)"
    for name in CONTROLS:
        explorer = opened(tabs, name)
        with contextlib.suppress(TimeoutError):  # the page is laid out anew a moment after its size changed
            tabs.wait_for_function(f"e => ({wide})(e).length === 0", arg=explorer.element_handle())
        assert explorer.evaluate(f"e => ({wide})(e).map(x => x.outerHTML.slice(0, 200))") == [], name


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_has_a_name_and_is_reached_by_the_tab_key_and_seen_to_be(tabs, name):
    opened(tabs, name)
    nodes = tabs.context.new_cdp_session(tabs).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"slider", "button", "textbox", "combobox", "listbox", "checkbox", "spinbutton", "image"}
    asked = [n["name"] for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
    assert len(asked) >= len(CONTROLS[name]) and all(n.get("value", "").strip() for n in asked)
    reached, focused = set(), "(e => e.ariaLabel || e.querySelector('img')?.alt || (e.labels?.[0] ?? e).innerText)"
    for _ in range(90):
        tabs.keyboard.press("Tab")
        if tabs.evaluate("!!document.activeElement.closest('.par')"):
            reached.add(re.split(r" \(|\n", tabs.evaluate(f"{focused}(document.activeElement)"))[0].strip("●○ "))
            outline = tabs.evaluate("getComputedStyle(document.activeElement).outline")
            of_the_map = tabs.evaluate("!!document.activeElement.closest('.map')")  # jupyter-scatter draws its own
            assert ("solid" if of_the_map else "solid 2px") in outline, (reached, outline)
    assert reached >= CONTROLS[name]


# Text that does not stand out from the ground behind it by 4.5 : 1 (WCAG 2 AA); what is disabled need not.
FAINT = r"""box => {
  const parts = colour => colour.match(/[\d.]+/g).map(Number);
  const ground = e => {  // what is seen behind an element: its colour over that of its parent, as far as it is clear
    if (!e) return [255, 255, 255];
    const [r, g, b, opacity = 1] = parts(getComputedStyle(e).backgroundColor);
    const below = opacity < 1 ? ground(e.parentElement) : [0, 0, 0];
    return [r, g, b].map((value, i) => opacity * value + (1 - opacity) * below[i]);
  };
  const linear = value => value <= 0.04 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const contrast = e => {
    const [dark, bright] = [parts(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color']), ground(e)]
      .map(light).sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const says = e => e.value || [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  return [...box.querySelectorAll('*')]
    .filter(e => e.checkVisibility() && !e.disabled && !e.closest('style') && says(e))
    .map(e => [e.textContent || e.value, contrast(e)]).filter(([, ratio]) => ratio < 4.5);
}"""


def test_text_stands_out_in_the_light_theme(tabs):
    for name in CONTROLS:
        assert opened(tabs, name).evaluate(FAINT) == [], name


@pytest.mark.long
def test_notebook_1_runs_in_jupyterlab(new_page, lab):
    page = run_all(new_page(), lab, "01_data", "1 · Look at the people")
    page.get_by_text("usable True").wait_for(timeout=NOTEBOOK)
    page.wait_for_function("document.querySelectorAll('.jp-RenderedImage img').length == 6")
    no_error(page)


@pytest.mark.long
def test_notebook_6_runs_in_jupyterlab_and_answers(new_page, lab, tmp_path):
    page = run_all(new_page(), lab, "06_explore", "6 · Explore")
    page.get_by_text("eight explorers answer: True").wait_for(timeout=NOTEBOOK)
    data, places, errors, one, prompts, threshold, wrong, teach = page.locator(".par").all()
    appears(one, "Backpack: attention", press, one, "Backpack")
    appears(one, "Zero-shot score", enter, one, "Any phrase", "a man in a red coat")
    Image.new("RGB", (60, 160), "red").save(tmp_path / "mine.png")
    appears(one, "No truth is known", choose, one, tmp_path / "mine.png")
    changes(data, press, data, "Trousers")
    appears(prompts, "pantaloni", select, prompts, "Attribute", "Trousers")
    appears(prompts, "somebody in long trousers", enter, prompts, "Your wording", "somebody in long trousers")
    changes(threshold, slide, threshold, "Threshold", "End")
    changes(errors, select, errors, "Attribute", "UpperLogo")
    appears(places, "Coloured by split", select, places, "Colour", "split")
    appears(wrong, "Rank 2 of 60", press, wrong, "Keep")
    assert page.evaluate("document.body.dataset.jpThemeLight") == "false"
    for explorer in (one, data, prompts, threshold, errors, places, wrong, teach):
        assert explorer.evaluate(FAINT) == []
    no_error(page)
