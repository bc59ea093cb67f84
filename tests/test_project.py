"""The project's own promises: one dependency list, a thin package, nothing of a third party's or a machine's."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import parlib

ROOT = Path(__file__).parents[1]


def name_of(requirement):
    return re.split(r"[=<>!~\[; ]", requirement)[0].lower().replace("_", "-")


def pins():
    """What is locked for this system: {name: version}."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [pin for pin in locked if pin.marker is None or pin.marker.evaluate()]
    return {pin.name.lower().replace("_", "-"): str(pin.specifier).removeprefix("==") for pin in here}


def test_the_three_dependency_files_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    locked = pins()
    for requirement in wanted:
        assert name_of(requirement) in locked, f"{requirement} is not in requirements.lock: run make lock"
        for version in re.findall(r"==([\w.]+)", requirement):
            assert locked[name_of(requirement)] == version
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(part["pip"] for part in conda if isinstance(part, dict))
    assert pip == ["-r requirements.lock", "-e ."], "environment.yml installs the pins and nothing beside them"
    assert f"python={project['requires-python'].lstrip('>=')}" in conda


def test_what_is_installed_is_what_is_locked():
    from importlib.metadata import PackageNotFoundError, version

    for package, pinned in pins().items():
        try:
            assert version(package).split("+")[0] == pinned, package
        except PackageNotFoundError:
            pytest.fail(f"{package} is locked and not installed: run make install")


def test_import_is_light_and_offers_its_names():
    heavy = ("torch", "transformers", "datasets", "matplotlib")
    code = f"import sys, parlib; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    for name in parlib.__all__:
        assert getattr(parlib, name) is not None
    with pytest.raises(AttributeError, match="load_benchmark"):
        parlib.load_everything  # noqa: B018


def test_the_package_is_thin():
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / "parlib").rglob("*.py")}
    assert not {str(p): n for p, n in lines.items() if n > 250}
    total = sum(n for path, n in lines.items() if "synthetic" not in path.parts)
    assert total < 8400, "the renderer aside; some 450 of them say the types of public names"


def test_a_stage_imports_only_what_stands_to_its_left():
    ground = {"errors", "files", "reading", "schema", "profile"}
    left = {
        "data": ground,
        "encode": ground | {"data"},
        "measure": ground,
        "learn": ground | {"data", "encode", "measure"},
        "use": ground | {"data", "encode", "measure", "learn"},
    }
    for stage, allowed in left.items():
        for path in (ROOT / "parlib" / stage).rglob("*.py"):
            used = set(re.findall(r"^\s*from parlib\.(\w+)", path.read_text(), flags=re.M))
            assert used <= allowed | {stage}, f"{path.name} imports {used - allowed - {stage}}"


def test_nothing_of_third_parties_or_machines_is_tracked():
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        pytest.skip("not a git checkout")
    tracked = run.stdout.split()
    assert not [name for name in tracked if re.search(r"\.(mat|jpe?g|bmp|pkl|pth|pt)$", name)]


def test_kept_records_are_of_the_encoder_that_ships():
    from parlib import load_encoder
    from parlib.measure.records import read_records

    records = read_records(*sorted((ROOT / "records").iterdir()))
    assert len(records) >= 12
    weights = {record["setting"].get("weights") for record in records if record["setting"]["encoder"] == "nano"}
    assert weights == {load_encoder("nano").weights_hash}, "nano was changed: run make records and make notebooks"
