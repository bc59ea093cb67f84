"""`make reproduce` is killed with all its processes at random moments; run again, it ends with the same files.

It carries out a predictor, a probe and a head on a small rendered tree; with `PARLIB_FAULTS` all methods and
`PARLIB_FAULTS` / 25 kills (4 by default).
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from jobs import bytes_of

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
FULL = os.environ.get("PARLIB_FAULTS")
KILLS = int(FULL) // 25 if FULL else 4
RESULTS = ROOT / "benchmarks" / "results" / "faults.json"


def reproduce(tree, place):
    """`make reproduce` on a tree that it takes for a real one; the environment is installed already."""
    options = "--benchmarks pa100k" + ("" if FULL else " --methods constant,linear,compact")
    variables = {"RUN": place / "run", "PARLIB_CACHE": place / "cache", "VENV": sys.prefix, "OPTIONS": options}
    call = ["make", "--old-file", f"{sys.prefix}/installed", "reproduce"]
    call += [f"{name}={value}" for name, value in variables.items()]
    setting = {"PARLIB_PROFILE": "sample", "PARLIB_DATA": str(tree), "PARLIB_ENCODER": "nano"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(call, cwd=ROOT, env={**os.environ, **setting}, **pipes)


def kill(process):
    """Send SIGKILL to make and every process below it, kernels too; returns how many were running."""
    running = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in running:
        with contextlib.suppress(ProcessLookupError):  # some end as make does
            os.kill(one.pid, signal.SIGKILL)
    process.wait()
    return len(running)


def end(process):
    out = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, out[-2000:]
    return out


def made(place):
    """Records with their scores, heads and features that a reproduction leaves; its logs tell the time."""
    kept = ("run/records/", "run/heads/", "cache/features/")
    return {name: sha for name, sha in bytes_of(place).items() if name.startswith(kept)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    from pedsynth import synthesize

    return synthesize("pa100k", tmp_path_factory.mktemp("tree") / "pa100k", 240, 200, 200, workers=1, progress=False)


def test_killed_again_and_again_it_ends_as_if_nothing_had_been(tree, tmp_path):
    place, draw, killed = tmp_path / "place", random.Random(0), 0
    began = time.monotonic()
    end(reproduce(tree, place))
    whole, want = time.monotonic() - began, made(place)
    names = {"records/main/pa100k-linear-seed0.json", "heads/pa100k-compact-seed0/model.safetensors"}
    assert {f"run/{name}" for name in names} <= set(want) and any("/features/" in name for name in want)
    shutil.rmtree(place)
    while killed < KILLS:
        process = reproduce(tree, place)
        try:
            process.communicate(timeout=draw.random() * whole)
        except subprocess.TimeoutExpired:
            assert kill(process) > 1
            killed += 1
    table = end(reproduce(tree, place))
    ended = made(place)
    assert {name for name in want | ended if want.get(name) != ended.get(name)} == set()
    assert "linear probe" in table
    if FULL:
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        fault = kept.setdefault("killed with SIGKILL at a random moment", {})
        fault["make reproduce"] = {"tried": killed, "survived": killed}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
