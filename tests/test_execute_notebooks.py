"""Notebooks run in the interpreter that runs the tool, whatever kernels this machine knows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

TOOL = Path(__file__).parents[1] / "tools" / "execute_notebooks.py"
CODE = "import os, sys\nprint(sys.executable, os.environ.get('MARK'))"


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "say.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)]), path)
    return path


@pytest.fixture(params=[sys.executable, "/no/such/python"])
def foreign_kernel(request, tmp_path):
    """A Jupyter path whose `python3` marks its environment, or has an interpreter that cannot run a kernel."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    argv = [request.param, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "other", "language": "python", "env": {"MARK": "another environment"}}
    (folder / "kernel.json").write_text(json.dumps(spec))
    return tmp_path / "jupyter"


def execute(*command, **environment):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_the_kernel_is_the_interpreter_that_runs_the_tool(notebook, foreign_kernel, tmp_path):
    done = execute(TOOL, "--out", tmp_path / "out", notebook, JUPYTER_PATH=str(foreign_kernel))
    assert done.returncode == 0, done.stderr
    (cell,) = nbformat.read(tmp_path / "out" / "say.ipynb", 4).cells
    assert cell.outputs[0].text.split() == [sys.executable, "None"]


def test_without_ipykernel_one_line_says_what_to_install(notebook, tmp_path):
    code = "import runpy, sys; sys.modules['ipykernel'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = execute("-c", code, TOOL, "--out", tmp_path / "out", notebook)
    assert done.returncode == 1 and "pip install 'parlib[notebooks]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_jupyterlab_finds_the_environments_own_kernel_first(foreign_kernel):
    """As `make lab` and `make explore` start it."""
    own = Path(sys.prefix) / "share" / "jupyter"
    done = execute("-m", "jupyter", "kernelspec", "list", "--json", JUPYTER_PATH=f"{own}{os.pathsep}{foreign_kernel}")
    found = json.loads(done.stdout)["kernelspecs"]["python3"]
    assert Path(found["resource_dir"]) == own / "kernels" / "python3"
    assert found["spec"]["argv"][0] in (sys.executable, "python")
    makefile = (TOOL.parents[1] / "Makefile").read_text()
    assert "export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter" in makefile
