"""Every reader under atheris for a moment, in a process of its own with 2 GB, and no input takes 5 s.

`PARLIB_FUZZ_SECONDS=60` takes that long for each, and the counts go to `benchmarks/results/fuzz.json`.
"""

import os

import pytest

pytest.importorskip("atheris", reason="atheris is made for Linux")

import run

SECONDS = os.environ.get("PARLIB_FUZZ_SECONDS")


@pytest.fixture(scope="module")
def told():
    """What the sessions tell; kept in the results where a time was asked for and every reader had it."""
    told = []
    yield told
    if SECONDS:
        run.keep(told)


@pytest.mark.parametrize("name", run.readers.READERS)
def test_no_input_found_by_its_coverage_breaks_a_reader(name, told, tmp_path):
    done = run.session(name, int(SECONDS or 1), run.server(), run.CACHE if SECONDS else tmp_path)
    told.append(done)
    assert not done["finding"], done["finding"]
    assert done["executions"] > 1, "the fuzzer has to run"


@pytest.mark.parametrize(
    "name, said",
    [
        ("a reader that raises", "ValueError: no BadInput"),
        ("a reader that hangs", "TimeoutError: an input took more than 5 s"),
        ("a reader that fills the memory", "out-of-memory"),
    ],
)
def test_a_reader_that_breaks_is_found(name, said, tmp_path):
    assert said in run.session(name, 20, run.server(), tmp_path)["finding"]
