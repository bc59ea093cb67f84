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
def test_no_input_found_by_its_coverage_breaks_a_reader(name, told):
    done = run.session(name, int(SECONDS or 1), run.server(), run.CACHE)
    told.append(done)
    assert not done["finding"], done["finding"]
    assert done["executions"] > 1, "the fuzzer has to run"


def test_a_reader_that_breaks_is_found(tmp_path):
    """The harness itself: told what libFuzzer says of an input that raises, of one too slow and of one too large."""
    for name in ("a reader that raises", "a reader that hangs", "a reader that fills the memory"):
        found = run.session(name, 40, run.server(), tmp_path)["finding"]
        assert found and ("ValueError" in found or "timeout" in found or "out-of-memory" in found)
