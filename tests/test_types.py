"""The types and docstrings of the public names: complete, and seen by a user's type checker through the lazy names."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

import parlib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "parlib"
# Called by the package alone: the readers behind `load_benchmark`.
INSIDE = ("data/", "files.py")
OPEN = ("data/__init__.py", "data/release.py", "data/check.py")

PROGRAM = """
import numpy as np
import parlib

data = parlib.load_benchmark("pa100k", "tree", "train", images=False)
encoder = parlib.load_encoder("nano", layer=2)
store = parlib.extract(data, encoder, "features", "pa100k-train", dtype="bf16", mirrored=True)
head = parlib.VLMPARHead.for_encoder(encoder, parlib.schema("pa100k"), parlib.load_prompts("pa100k"))
history = parlib.fit(head, (store, np.zeros((9, 26))), (store, np.zeros((9, 26))))
scores = parlib.predict(head, store)
mean: float = parlib.evaluate(np.zeros((9, 26)), scores, threshold=0.4, f1="per_image").mA
theirs: float = parlib.PROTOCOLS["openpar"](np.zeros((9, 26)), scores).summary()["mA"]
model = parlib.load("nano-pa100k", encoder=encoder)
names: list[str] = model.with_phrases({"hat": "a person with a hat"}).names
print(history.best_epoch, model.thresholds.mean(), store.pooled.shape, parlib.profile().root, mean + theirs, names)
"""
# A line of the program, what stands there instead, and the code and word of the error.
WRONG = {
    "name": ("parlib.load_encoder(", "parlib.load_encodr(", "attr-defined", "load_encodr"),
    "argument": ('"pa100k", "tree"', '"pa100k", 7', "arg-type", '"int"'),
    "keyword": ("images=False", "image=False, images=0.5", "arg-type", '"float"'),
    "misspelt keyword": ("layer=2", "layers=2", "call-arg", "layers"),
    "choice": ('dtype="bf16"', 'dtype="bf61"', "arg-type", "Literal"),
    "own type": ("predict(head, store)", "predict(head, data, store)", "arg-type", "int"),
    "attribute of scores": (").mA", ").map", "attr-defined", "map"),
    "attribute of a protocol's": ('summary()["mA"]', 'sumary()["mA"]', "attr-defined", "sumary"),
    "attribute of a model": ("model.thresholds.", "model.treshold.", "attr-defined", "treshold"),
    "result": ("names: list[str]", "names: list[int]", "assignment", "list[str]"),
}


def errors_in(tmp_path, programs):
    """What mypy says of programs, {name: text}: {name: [(line, text)]}. One run for all: torch takes seconds."""
    files = {f"user_{i}": name for i, name in enumerate(programs)}
    for file, name in files.items():
        (tmp_path / f"{file}.py").write_text(programs[name])
    # The package's own settings and cache, so that what `make lint` has read is not read again.
    said, failed, code = api.run([f"--config-file={ROOT / 'pyproject.toml'}", str(tmp_path)])
    assert code in (0, 1), failed
    found = {}
    for file, line, text in re.findall(r"^(?:.*/)?(\w+)\.py:(\d+): error: (.*)$", said, flags=re.M):
        found.setdefault(files[file], []).append((int(line), text))
    return found


@pytest.mark.long
def test_types_reach_a_users_program_through_the_lazy_names(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    programs, where = {"right": PROGRAM}, {}
    for name, (old, new, *_) in WRONG.items():
        assert PROGRAM.count(old) == 1, old
        programs[name] = PROGRAM.replace(old, new)
        where[name] = PROGRAM[: PROGRAM.index(old)].count("\n") + 1
    found = errors_in(tmp_path, programs)
    assert "right" not in found, found["right"]
    for name, (_, _, code, word) in WRONG.items():
        said = found.get(name, [])
        assert [line for line, _ in said] == [where[name]], (name, said)
        assert f"[{code}]" in said[0][1] and word in said[0][1], (name, said)


def test_checkers_read_the_very_names_that_are_there():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    names = {alias.asname: (line.module, alias.name) for line in stub.body for alias in line.names}
    assert set(names) == set(parlib.__all__) == set(dir(parlib))
    for name, (module, original) in names.items():
        assert getattr(parlib, name) is getattr(importlib.import_module(f"parlib.{module}"), original), name
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("first", ["import parlib.schema, parlib.profile", "from parlib.schema import Schema", "pass"])
def test_profile_and_schema_stay_functions_whatever_is_imported_first(first):
    code = f"import parlib; {first}; print(parlib.schema('pa100k').name, parlib.profile('small').name)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["pa100k", "small"]


def public(body, inside=""):
    """(name, definition) of every public function, method and constructor; of an overloaded one each form."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (node.name in ("__init__", "__call__") or node.name[0] != "_"):
            yield inside + node.name, node


def unannotated(source):
    """Lines of a module that lack the type of an argument or, but for constructors, of what is returned."""
    for name, node in public(ast.parse(source).body):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        lacking = [one.arg for one in every if one.annotation is None and one.arg not in ("self", "cls")]
        if lacking or (node.returns is None and node.name != "__init__"):
            yield f"{node.lineno}: {name} lacks the type of {', '.join(lacking) or 'what it returns'}"


def gated():
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).as_posix()
        if inside in OPEN or not inside.startswith(INSIDE):
            yield path


def test_every_public_function_says_its_types():
    # mypy's own setting for this tells public from private by nothing.
    said = [f"{path.relative_to(ROOT)}:{line}" for path in gated() for line in unannotated(path.read_text())]
    assert not said, "\n".join(said)


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("def f(a, *, b: int = 0) -> int: ...", "f lacks the type of a"),
        ("def f(a: int, **more) -> int: ...", "f lacks the type of more"),
        ("def f(): ...", "f lacks the type of what it returns"),
        ("class A:\n    @property\n    def b(self): ...", "A.b lacks the type of what it returns"),
        ("class A:\n    def __init__(self, b): ...", "A.__init__ lacks the type of b"),
    ],
)
def test_a_missing_type_is_found(source, lacks):
    assert next(unannotated(source)).endswith(lacks)
    assert not list(unannotated("def _f(a): ...\nclass _A:\n    def b(self, c): ..."))


def test_every_home_of_a_public_name_is_gated():
    found = [getattr(parlib, name) for name in parlib.__all__]
    homes = {getattr(one, "__module__", type(one).__module__) for one in found}
    open_ones = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in gated()}
    assert homes <= open_ones
