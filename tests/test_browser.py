"""Notebooks in JupyterLab and explorers through voila, in a real Chromium: what a control does is seen on the page."""

import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from screenshots import find_chromium, open_browser, serve, voila  # noqa: E402

pytestmark = pytest.mark.browser
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
        yield f"{address}/lab/tree"


@pytest.fixture(scope="module")
def tabs(new_page, places, tmp_path_factory):
    """The page of `make explore`, on fewer images."""
    source = tmp_path_factory.mktemp("voila") / "explore.py"
    source.write_text((ROOT / "tools" / "explore.py").read_text().replace("parlib.profile()", SMALL))
    uploads = '--Voila.tornado_settings={{"websocket_max_message_size": 200000000}}'
    with serve(voila(source, uploads), "/voila/static/voila.js", **places) as address:
        page = new_page()
        page.goto(address, timeout=300_000)
        page.get_by_role("tab", name="One image").wait_for(timeout=300_000)
        yield page


@pytest.fixture
def tab(tabs, request):
    """One explorer's tab, open; what it logged as an error by the end of the test fails it."""
    name = request.param
    tabs.get_by_role("tab", name=name).click()
    explorer = tabs.locator(".par:visible")
    explorer.wait_for()
    yield explorer
    assert tabs.errors == []


def explorers(name):
    return pytest.mark.parametrize("tab", [name], indirect=True)


def run_all(page, address, title):
    page.goto(address, timeout=60_000)
    page.get_by_role("heading", name=title).wait_for(timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]:visible").first.wait_for(timeout=60_000)
    for _ in range(5):  # what is asked of a kernel in its first moments can be lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        with contextlib.suppress(TimeoutError):
            page.get_by_text("[1]:").wait_for(timeout=10_000)
            break
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


@explorers("One image")
def test_choosing_an_image_and_an_attribute(tab):
    tab.get_by_text("000101.jpg").first.wait_for()
    slide(tab, "Image")
    tab.get_by_text("000102.jpg").first.wait_for()
    tab.get_by_role("button", name="Backpack").press("Enter")  # by keyboard, as a click would
    tab.get_by_text("Backpack: attention").wait_for()
    assert tab.locator("figure img").count() >= 2
    assert all(image.evaluate("i => i.naturalWidth > 0") for image in tab.locator("figure img").all())


@explorers("One image")
def test_moving_a_threshold_for_all(tab):
    tab.get_by_label("for all attributes").check()
    slide(tab, "Threshold", "Home")
    tab.get_by_text("Impossible together").wait_for()
    score = tab.get_by_role("button", name="view Front").evaluate("b => getComputedStyle(b, '::after').content")
    assert "⚠" in score and re.search(r"0\.\d\d", score)


@explorers("One image")
def test_typing_phrases_of_every_kind(tab):
    enter(tab, "Any phrase", "قبعة <b>bold</b> <img src=x onerror=alert(1)>")
    tab.get_by_text("<b>bold</b>").wait_for()
    tab.get_by_text("Zero-shot score").wait_for()
    assert tab.locator("img[src=x]").count() == 0
    assert tab.locator("bdi").evaluate("e => getComputedStyle(e).direction") == "rtl"
    enter(tab, "Any phrase", "word " * 2000)
    tab.get_by_text("Only its first").wait_for()
    assert tab.evaluate("e => e.scrollWidth <= e.clientWidth")
    enter(tab, "Any phrase", "")
    tab.get_by_text("Type a phrase in any language").wait_for()


@explorers("One image")
def test_uploading_pictures_and_what_is_none(tab, tmp_path):
    wide = tmp_path / "large.png"
    Image.effect_noise((4000, 3500), 90).save(wide)  # more than the 10 MB that servers take by default
    assert wide.stat().st_size > 10_000_000
    (tmp_path / "none.png").write_text("no picture")
    Image.new("L", (20_000, 10)).save(tmp_path / "huge.png")
    Image.new("RGBA", (60, 160), (255, 0, 0, 0)).save(tmp_path / "alpha.png")
    frames = [Image.new("L", (60, 160), grey) for grey in (0, 99)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    choose(tab, wide)
    tab.get_by_text("large.png").first.wait_for()
    tab.get_by_text("No truth is known").wait_for()
    for name, words in (
        ("none.png", "is no image"),
        ("animated.gif", "has 2 frames; the first is shown"),
        ("huge.png", "20000 x 10 px is larger"),
    ):
        choose(tab, tmp_path / name)
        tab.get_by_text(words).wait_for()
    choose(tab, tmp_path / "alpha.png")
    tab.get_by_text("alpha.png").first.wait_for()
    slide(tab, "Image")
    tab.get_by_text(re.compile(r"^0001\d\d\.jpg")).first.wait_for()


@explorers("Data")
def test_filtering_and_turning_pages(tab):
    tab.get_by_text("140 of 140 images").wait_for()
    tab.get_by_label("Has", exact=True).select_option(["Female"])
    tab.get_by_text(re.compile(r"^\d+ of 140 images")).wait_for()
    tab.get_by_label("Page").fill("2")
    tab.get_by_label("Page").press("Enter")
    tab.get_by_text("Page 2 of").wait_for()
    tab.get_by_label("Unknown").select_option(["Hat"])
    tab.get_by_text("No image fits this filter").wait_for()
    tab.get_by_label("Unknown").select_option([])
    tab.get_by_text("Page 1 of").wait_for()


@explorers("Prompts")
def test_choosing_an_attribute_and_editing_a_wording(tab):
    tab.get_by_label("Attribute").select_option("Backpack")
    tab.get_by_role("cell", name="zaino").first.wait_for()
    enter(tab, "Your wording", "someone with a <b>rucksack</b>")
    tab.get_by_role("cell", name="someone with a <b>rucksack</b>").wait_for()
    enter(tab, "Your wording", "")
    tab.get_by_text("An empty wording finds nothing").wait_for()


@explorers("Thresholds")
def test_moving_one_threshold(tab):
    tab.get_by_label("Attribute").select_option("Trousers")
    tab.get_by_text("Trousers: TPR and TNR").wait_for()
    before = tab.get_by_role("row", name="Trousers alone").inner_text()
    slide(tab, "Threshold", "End")
    tab.page.wait_for_function("b => !document.body.innerText.includes(b)", arg=before)
    assert tab.get_by_role("img").count() == 3


@explorers("Errors")
def test_errors_by_group_with_attention(tab):
    tab.get_by_label("Attribute").select_option("UpperLogo")
    tab.get_by_role("button", name="false negatives").click()
    tab.get_by_text(re.compile("false negatives (among|of UpperLogo)")).wait_for()
    tab.get_by_label("Attribute").select_option("Female")
    tab.get_by_role("button", name="group").click()
    tab.get_by_text(re.compile(r"wrong \(\d+ %\)|No false negatives")).first.wait_for()


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_wider_than_the_page(tabs, width):
    tabs.set_viewport_size({"width": width, "height": 900})
    for tab in tabs.get_by_role("tab").all():
        tab.click()
        wide = tabs.locator(".par:visible").evaluate(
            "e => [...e.querySelectorAll('*')].filter(x => x.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert wide == 0, tab.inner_text()


CONTROLS = {
    "One image": {"Image", "Upload a picture", "Any phrase", "Threshold", "for all attributes", "Hat", "Trousers"},
    "Data": {"Has", "Has not", "Unknown", "Split", "Page"},
    "Prompts": {"Attribute", "Start from", "Your wording"},
    "Thresholds": {"Attribute", "Threshold"},
    "Errors": {"Attribute", "false positives", "false negatives", "image", "group", "show attention"},
}


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_has_a_name_and_is_reached_by_the_tab_key_and_seen_to_be(tabs, name):
    tabs.get_by_role("tab", name=name).click()
    tabs.locator(".par:visible").wait_for()
    nodes = tabs.context.new_cdp_session(tabs).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"slider", "button", "textbox", "combobox", "listbox", "checkbox", "spinbutton", "image"}
    asked = [n["name"] for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
    assert len(asked) >= len(CONTROLS[name]) and all(n.get("value", "").strip() for n in asked)
    reached, focused = set(), "(e => e.ariaLabel || (e.labels?.[0] ?? e).innerText)(document.activeElement)"
    for _ in range(60):
        tabs.keyboard.press("Tab")
        if tabs.evaluate("!!document.activeElement.closest('.par')"):
            reached.add(tabs.evaluate(focused).split(" (")[0].strip())
            outline = tabs.evaluate("getComputedStyle(document.activeElement).outline")
            assert "solid 2px" in outline, (reached, outline)
    assert reached >= CONTROLS[name]


# Text whose colour and the ground behind it are nearer than 4.5 : 1 (WCAG 2 AA); what is disabled may be.
FAINT = r"""box => {
  const parts = c => c.match(/[\d.]+/g).map(Number), at = (c, i) => ((v) =>
    v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)(parts(c)[i] / 255);
  const light = c => 0.2126 * at(c, 0) + 0.7152 * at(c, 1) + 0.0722 * at(c, 2);
  const ground = e => !e ? 'rgb(255, 255, 255)' : (c => (parts(c)[3] ?? 1) ? c : ground(e.parentElement))(
    getComputedStyle(e).backgroundColor);
  return [...box.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.disabled && !e.closest('style') && (
    e.value || [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) && !(e.closest('svg') && e.hasAttribute(
    'fill'))).map(e => [e.textContent || e.value, (([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05))(
    [light(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color']), light(ground(e))])]).filter(([, r]) => r < 4.5)
}"""


def test_text_stands_out_in_the_light_theme(tabs):
    for tab in tabs.get_by_role("tab").all():
        tab.click()
        assert tabs.locator(".par:visible").evaluate(FAINT) == []


def test_notebook_1_runs_in_jupyterlab(new_page, lab):
    page = run_all(new_page(), f"{lab}/01_data.ipynb", "1 · Look at the people")
    page.get_by_text("usable True").wait_for(timeout=300_000)
    page.wait_for_function("document.querySelectorAll('.jp-RenderedImage img').length == 6", timeout=20_000)
    no_error(page)


def test_notebook_6_runs_in_jupyterlab_and_answers(new_page, lab, tmp_path):
    page = run_all(new_page(), f"{lab}/06_explore.ipynb", "6 · Explore")
    page.get_by_text("five explorers answer: True").wait_for(timeout=240_000)
    one, data, prompts, threshold, errors = page.locator(".par").all()
    one.get_by_role("button", name="Backpack").click()
    one.get_by_text("Backpack: attention").wait_for()
    enter(one, "Any phrase", "a man in a red coat")
    one.get_by_text("Zero-shot score").wait_for()
    Image.new("RGB", (60, 160), "red").save(tmp_path / "mine.png")
    choose(one, tmp_path / "mine.png")
    one.get_by_text("No truth is known").wait_for()
    data.get_by_label("Has", exact=True).select_option(["Trousers"])
    data.get_by_text(re.compile(r"^\d+ of 140 images")).wait_for()
    prompts.get_by_label("Attribute").select_option("Trousers")
    prompts.get_by_role("cell", name="pantaloni").first.wait_for()
    enter(prompts, "Your wording", "somebody in long trousers")
    prompts.get_by_role("cell", name="somebody in long trousers").wait_for()
    slide(threshold, "Threshold", "End")
    threshold.get_by_text("1.00").first.wait_for()
    errors.get_by_label("Attribute").select_option("UpperLogo")
    errors.get_by_text(re.compile("false positives (among|of UpperLogo)")).wait_for()
    assert page.evaluate("document.body.dataset.jpThemeLight") == "false"
    for explorer in (one, data, prompts, threshold, errors):
        assert explorer.evaluate(FAINT) == []
    no_error(page)
