"""Guards on the committed notebooks: what strict nbval cannot see by itself."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Cells whose output is not compared: notebook -> how many. Give the reason for a new one here.
# 01: versions, rendering. 02: versions, image features, extraction, probe, its scores.
# 03: versions, features, training, curves, scores, two of the attention, unseen attributes.
# 04: versions, plan, table, a row of one's own.
# 05: versions, counting again where the real files are. 06: versions, features and training,
# errors of a trained head, suspicious labels, labels flipped on purpose, marks.
# 07: versions, two pictures, languages, phrases, curve, ensemble, scores of a trained head, its picture.
# solutions: profile, features, and seven that show scores of what was trained or encoded.
EXEMPT = {
    "01_data": 3,
    "02_frozen_encoder": 8,
    "03_cross_attention": 9,
    "04_benchmarks": 4,
    "05_what_the_numbers_mean": 2,
    "06_explore": 6,
    "07_your_images": 9,
    "solutions": 9,
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_all_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == list(EXEMPT)


def test_cells_ran_once_in_order_and_kept_their_outputs(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    silent = [cell for cell in cells if not cell.outputs and "nbval-ignore-output" not in cell.metadata.get("tags", [])]
    # Only the parameters cell and cells that do nothing but assign may be without output.
    assert all(re.search(r"^profile_name = |^\w[\w, ]* = ", cell.source) for cell in silent), [c.source for c in silent]
    assert len(silent) <= 3


def test_the_exempt_cells_are_those_agreed_on(path, notebook):
    exempt = [cell for cell in code_cells(notebook) if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(exempt) == EXEMPT[path.stem]
    compared = [o for cell in code_cells(notebook) if cell not in exempt for o in cell.outputs]
    assert len(compared) >= 5


def test_no_error_no_widget_state_no_time_no_path_of_a_machine(path, notebook):
    text = path.read_text()
    assert not any(o.output_type == "error" for cell in code_cells(notebook) for o in cell.outputs)
    for word in ("widget-view", "widget-state", "iopub", str(ROOT)):
        assert word not in text, word
    assert not re.search(r'[\s"\']/(home|root|tmp|Users)/', text)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_size_and_number_of_figures(path, notebook):
    assert path.stat().st_size < 500_000
    figures = [o for cell in code_cells(notebook) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(figures) <= 6 and (figures or path.stem == "solutions")


def test_prose_leads(notebook):
    cells = notebook.cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    for word in ("You will", "You need", "Small profile"):
        assert word in cells[0].source
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert words > 250
    for i, cell in enumerate(cells):
        if cell.cell_type == "code" and cell.outputs and any("image/png" in o.get("data", {}) for o in cell.outputs):
            assert cells[i + 1].cell_type == "markdown", "a figure is followed by its finding"


def test_code_is_short_and_defines_nothing_long(path, notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 25
        tree = ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.M))
        for node in ast.walk(tree):
            # Notebook 4 shows that a method of one's own is a module of a few lines.
            assert not isinstance(node, ast.ClassDef) or path.stem == "04_benchmarks"
            if isinstance(node, ast.FunctionDef):
                assert len(ast.unparse(node).splitlines()) <= 5
        for banned in ("sys.path", "!pip", "%cd", ".cuda()"):
            assert banned not in cell.source


def test_no_cell_is_dead(notebook):
    """What a cell makes, it or a later one uses; a cell that makes nothing shows or checks something."""
    cells = code_cells(notebook)
    named = [
        [
            node
            for node in ast.walk(ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.M)))
            if isinstance(node, ast.Name)
        ]
        for cell in cells
    ]
    for i, cell in enumerate(cells):
        made = {node.id for node in named[i] if isinstance(node.ctx, ast.Store)} - {"_"}
        used = {node.id for nodes in named[i:] for node in nodes if isinstance(node.ctx, ast.Load)}
        assert made <= used, f"made and never used: {made - used} in {cell.source}"
        assert made or cell.outputs, f"does nothing that anyone sees: {cell.source}"


def test_every_sanitise_rule_is_parsed_by_nbval():
    text = (ROOT / "tests" / "nbval.cfg").read_text()
    assert len(get_sanitize_patterns(text)) == text.count("\nregex:") >= 1
