"""Long jobs killed at random moments: the next run ends with the bytes of a run that nothing disturbed.

`PARLIB_FAULTS=500` kills that many times (54 by default, a third each job) and writes the counts to
`benchmarks/results/faults.json`.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import jobs
import pytest
from PIL import Image

from parlib.encode.store import FeatureStore, check_store
from parlib.errors import BadInput
from parlib.use.predict import gather

KILLS = int(os.environ.get("PARLIB_FAULTS", 54)) // 3
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "faults.json"
JOBS = {"extract": jobs.run_extract, "train": jobs.run_train, "predict": jobs.run_predict}


@pytest.fixture(scope="module")
def server():
    """Starts a job in a fresh fork of a process that has imported everything."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the server finds what it imports first
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs"])

    def start(name, root, place):
        process = context.Process(target=JOBS[name], args=(str(root), str(place)))
        process.start()
        return process

    return start


def finish(process):
    process.join(120)
    assert process.exitcode == 0


def bytes_of(place):
    """Every file below, hidden ones too: path -> SHA-256."""
    files = sorted(path for path in Path(place).rglob("*") if path.is_file())
    return {str(f.relative_to(place)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("name", JOBS)
def test_killed_again_and_again_a_job_ends_as_if_nothing_had_been(name, server, rendered, tmp_path):
    undisturbed, draw = tmp_path / "undisturbed", random.Random(name)
    for _ in range(2):  # the first also fills the caches that the second finds
        shutil.rmtree(undisturbed, ignore_errors=True)
        undisturbed.mkdir()
        began = time.monotonic()
        finish(server(name, rendered, undisturbed))
        whole = time.monotonic() - began
    want, killed, place, lives = bytes_of(undisturbed), 0, None, 0
    while killed < KILLS:
        if place is None:
            lives += 1
            place = tmp_path / f"life{lives}"
            place.mkdir()
        process = server(name, rendered, place)
        process.join(draw.random() * whole)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        if process.exitcode == 0 or draw.random() < 0.3:
            finish(server(name, rendered, place))
            assert bytes_of(place) == want, f"after {killed} kills"
            place = None
    if place is not None:
        finish(server(name, rendered, place))
        assert bytes_of(place) == want
    if "PARLIB_FAULTS" in os.environ:
        counts = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        RESULTS.write_text(
            json.dumps({**counts, name: {"killed": killed, "ended_with_the_same_bytes": lives}}, indent=1)
        )


def test_two_at_once_end_as_one(server, rendered, tmp_path):
    for name in ("extract", "predict"):
        alone, both = tmp_path / f"{name}-alone", tmp_path / f"{name}-both"
        alone.mkdir(), both.mkdir()
        finish(server(name, rendered, alone))
        pair = [server(name, rendered, both) for _ in range(2)]
        for process in pair:
            process.join(120)
        # The second writer of one file is turned away; a store takes both.
        assert sorted(p.exitcode for p in pair) in ([0, 0], [0, 1] if name == "predict" else [0, 0])
        assert bytes_of(both) == bytes_of(alone)


def test_a_clock_that_jumps_changes_no_answer(server, rendered, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    finish(server("predict", rendered, first))
    image = next(rendered.rglob("*.jpg"))
    then = image.stat()
    os.utime(image, (1e9, 4e9))
    finish(server("predict", rendered, second))
    os.utime(image, (then.st_atime, then.st_mtime))
    assert bytes_of(first) == bytes_of(second)


def test_half_a_shard_is_found_and_made_again(server, rendered, tmp_path):
    finish(server("extract", rendered, tmp_path))
    want = bytes_of(tmp_path)
    shard = sorted(tmp_path.rglob("shard-*"))[3]
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert not check_store(shard.parent).usable
    with pytest.raises(BadInput, match=r"is damaged .*: remove it and run the same"):
        FeatureStore(shard.parent)[:]
    shard.unlink()
    finish(server("extract", rendered, tmp_path))
    assert bytes_of(tmp_path) == want


def test_half_an_image_is_one_error_and_the_rest_is_answered(tmp_path):
    for i in range(3):
        Image.effect_noise((60, 120), 50).save(tmp_path / f"{i}.jpg")
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:900])
    table = jobs.load()(tmp_path, attributes=["Hat"], progress=False)
    assert list(table["error"].notna()) == [False, True, False] and "cannot be decoded" in table["error"][1]


def test_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def refused(*where, **more):
        raise PermissionError(13, "Permission denied", str(where[0]))

    monkeypatch.setattr(Image, "open", refused)  # root, who runs CI, may read anything
    crops, _ = gather([tmp_path])
    with pytest.raises(BadInput, match=r"a\.png: .*Permission denied"):
        crops[0].open()
