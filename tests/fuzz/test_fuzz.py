"""Every reader of users' files under atheris for a second, in a process of its own with 2 GB and 5 s per input.

The inputs are the same each time, so that a gate does not fail by chance. `PARLIB_FUZZ_SECONDS=60` fuzzes each for so
long with other inputs and writes the counts to `benchmarks/results/fuzz.json`.
"""

import os

import pytest

pytest.importorskip("atheris", reason="atheris is made for Linux")

import run

pytestmark = pytest.mark.long
SECONDS = os.environ.get("PARLIB_FUZZ_SECONDS")


@pytest.fixture(scope="module")
def sessions():
    """Results of the sessions; written where a time was set and every reader was fuzzed."""
    sessions = []
    yield sessions
    if SECONDS:
        run.keep(sessions)


@pytest.mark.parametrize("name", run.readers.READERS)
def test_no_input_found_by_its_coverage_breaks_a_reader(name, sessions, tmp_path):
    more = (int(SECONDS), run.server(), run.CACHE) if SECONDS else (1, run.server(), tmp_path, 1)
    done = run.session(name, *more)
    sessions.append(done)
    assert not done["finding"], done["finding"]
    assert done["executions"] > 1, "the fuzzer has to run"


@pytest.mark.parametrize(
    "name, words",
    [
        ("a reader that raises", "ValueError: no BadInput"),
        ("a reader that hangs", "TimeoutError: an input took more than 5 s"),
        ("a reader that fills the memory", "out-of-memory"),
    ],
)
def test_a_reader_that_breaks_is_found(name, words, tmp_path):
    assert words in run.session(name, 20, run.server(), tmp_path)["finding"]
