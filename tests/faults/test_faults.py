"""Long commands under faults: each ends with the bytes of an undisturbed run, or first with one clear message.

`PARLIB_FAULTS=500` kills that many times (56 by default, a quarter for each job) and writes the counts to
`benchmarks/results/faults.json`.
"""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import jobs
import pandas as pd
import pytest
from jobs import JOBS, SHOWN, bytes_of
from PIL import Image
from test_video import write

from parlib.encode.store import FeatureStore, check_store
from parlib.errors import BadInput

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("PARLIB_FAULTS", 56)) // len(JOBS)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "faults.json"
WAIT = 600  # seconds after which a job that takes about one second counts as hanging


@pytest.fixture(scope="module")
def survived():
    """(fault, job) -> how often it was survived; a test that fails adds nothing."""
    counts = Counter()
    yield counts
    if "PARLIB_FAULTS" in os.environ:
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        for (fault, name), times in sorted(counts.items()):
            kept.setdefault(fault, {})[SHOWN[name]] = {"tried": times, "survived": times}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


@pytest.fixture(scope="module")
def start():
    """Starts a job in a fresh fork of a process that has imported everything: start(job, root, place, how=None)."""
    # The server imports `jobs` from here.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs"])

    def start(name, root, place, how=None):
        Path(place).mkdir(exist_ok=True)
        process = context.Process(target=jobs.run, args=(name, str(root), str(place), f"{place}.message", how))
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def tree(rendered, tmp_path_factory):
    """A copy of the rendered tree that faults may change and restore; beside it a clip of two people, and tracks."""
    root = tmp_path_factory.mktemp("tree") / "pa100k"
    shutil.copytree(rendered, root)
    people = [Image.open(path).resize((60, 120)) for path in sorted(root.glob("data/*.jpg"))[:2]]
    frames, rows = [], ["frame,id,x,y,width,height"]
    for n in range(24):
        frames.append(Image.new("RGB", (320, 160), "grey"))
        for i, person in enumerate(people):
            left = 4 * n + 120 * i
            frames[-1].paste(person, (left, 20))
            rows.append(f"{n},{i + 1},{left},20,60,120")
    write(root.parent / "walk.mp4", frames)
    (root.parent / "walk.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def undisturbed(start, tree, tmp_path_factory):
    """Job -> (bytes it leaves, seconds it takes) without a fault and with warm caches."""
    made = {}

    def of(name):
        if name not in made:
            for _ in range(2):  # the first run also fills the cache for the second
                place = tmp_path_factory.mktemp("undisturbed")
                began = time.monotonic()
                end(start(name, tree, place))
                made[name] = bytes_of(place), time.monotonic() - began
        return made[name]

    return of


def end(process, place=None):
    """Wait for a job; returns None if it ended well, else its one message."""
    process.join(WAIT)
    assert process.exitcode in (0, 2), f"ended with {process.exitcode}: a crash or, None, a hang"
    if process.exitcode == 0:
        return None
    message = Path(f"{place}.message").read_text()
    assert message.strip() and len(message) < 1000, message
    return message


def kill(process, seconds):
    """Send SIGKILL after so many seconds; returns whether the job was still running."""
    process.join(seconds)
    running = process.exitcode is None
    if running:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return running


@pytest.mark.parametrize("name", JOBS)
def test_killed_again_and_again_a_job_ends_as_if_nothing_had_been(name, start, tree, undisturbed, tmp_path, survived):
    (want, whole), draw = undisturbed(name), random.Random(name)
    killed, counted, lives, place = 0, 0, 0, None
    while counted < KILLS:
        if place is None:
            lives += 1
            place = tmp_path / f"life{lives}"
        process = start(name, tree, place)
        killed += kill(process, draw.random() * whole)
        if process.exitcode == 0 or draw.random() < 0.3 or killed == KILLS:
            end(start(name, tree, place), place)
            assert bytes_of(place) == want, f"after {killed} kills"
            counted, place = killed, None
    survived["killed with SIGKILL at a random moment", name] += counted


@pytest.mark.parametrize("name", JOBS)
def test_two_at_once_end_as_one(name, start, tree, undisturbed, tmp_path, survived):
    pair = [start(name, tree, tmp_path / "both") for _ in range(2)]
    messages = [message for process in pair if (message := end(process, tmp_path / "both"))]
    assert len(messages) < 2
    assert all("another process is writing" in message or "exists already" in message for message in messages)
    end(start(name, tree, tmp_path / "both"))
    assert bytes_of(tmp_path / "both") == undisturbed(name)[0]
    survived["two at once", name] += 1


@pytest.mark.parametrize("name", JOBS)
def test_a_clock_that_jumps_changes_nothing(name, start, tree, undisturbed, tmp_path, survived):
    image = next(tree.rglob("*.jpg"))
    os.utime(image, (1e9, 4e9))  # a picture from the future
    kill(start(name, tree, tmp_path / "a", "clock jumps"), undisturbed(name)[1] / 2)
    os.utime(image, (1e9, 1e9))
    end(start(name, tree, tmp_path / "a", "clock jumps"))
    assert bytes_of(tmp_path / "a") == undisturbed(name)[0]
    survived["clock jumps by years, stopped half-way", name] += 1


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk of its own, which takes Linux")
@pytest.mark.parametrize("name", JOBS)
def test_a_full_disk_is_named_and_what_was_written_stays(name, start, tree, undisturbed, tmp_path, survived):
    assert end(start(name, tree, tmp_path / "a", "disk full"), tmp_path / "a") is None
    found = json.loads((tmp_path / "a.message").read_text())
    assert found["errors"], "the disk was never full"
    for message in found["errors"]:
        assert "No space left on device" in message and str(tmp_path) in message and len(message) < 1000
    assert found["bytes"] == undisturbed(name)[0]
    survived["disk full", name] += len(found["errors"])


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unreadable(path):
    path.chmod(0)


def closed(path):
    path.chmod(0o500)


NAMED = {half: "file cut in half", unreadable: "no right to read", closed: "no right to write"}
# Job, fault, where, which file, and what the message must say. The file is in the tree, in the cache beside it, or in
# the place that the job writes to ("stopped": after the job was killed, "ended": after it ended).
FAULTS = [
    ("extract", half, "tree", "data/000007.jpg", r"000007.jpg cannot be read"),
    ("extract", half, "tree", "annotation.mat", r"annotation.mat cannot be read .*fetch it again"),
    ("extract", unreadable, "tree", "data/000007.jpg", r"000007.jpg.*Permission denied"),
    ("extract", unreadable, "tree", "annotation.mat", r"annotation.mat cannot be read: Permission denied"),
    ("extract", half, "ended", "t-*/manifest.json", r"manifest.json .*cannot be read"),
    ("extract", unreadable, "ended", "t-*/manifest.json", r"manifest.json .*Permission denied"),
    ("extract", closed, "started", ".", r"cannot be written: Permission denied"),
    ("train", half, "cache", "features/*train*/shard-00000.safetensors", r"shard-00000.* cannot be read .*remove it"),
    ("train", unreadable, "cache", "features/*train*/shard-00000.safetensors", r"shard-00000.*Permission denied"),
    ("train", half, "stopped", ".run.checkpoint", r"checkpoint .*\.run\.checkpoint cannot be read .*remove it"),
    ("train", unreadable, "stopped", ".run.checkpoint", r"\.run\.checkpoint cannot be read: Permission denied"),
    ("train", closed, "started", ".", r"cannot be written: Permission denied"),
    ("train", half, "ended", "run/model.safetensors", r"model .*a/run cannot be read"),
    ("train", half, "ended", "run/run.json", r"run\.json cannot be read"),
    ("train", unreadable, "ended", "run/config.json", r"Permission denied.*config\.json"),
    ("predict", half, "stopped", ".out.csv.*.parts/part-000000.json", r"part-000000\.json cannot be read .*remove it"),
    ("predict", unreadable, "stopped", ".out.csv.*.parts/part-000000.json", r"part-000000\.json .*Permission denied"),
    ("predict", closed, "started", ".", r"cannot be written: Permission denied"),
    ("clip", half, "stopped", ".out.csv.*.parts/part-000000.json", r"part-000000\.json cannot be read .*remove it"),
    ("clip", unreadable, "tree", "../walk.mp4", r"walk.mp4.*Permission denied"),
    ("clip", unreadable, "tree", "../walk.csv", r"walk.csv.*Permission denied"),
    ("clip", half, "tree", "../walk.mp4", r"walk.mp4 is no clip that can be read"),
    ("clip", closed, "started", ".", r"cannot be written: Permission denied"),
    ("render", closed, "started", ".", r"cannot be written: Permission denied"),
]


@pytest.mark.parametrize("name, fault, where, victim, words", FAULTS)
def test_a_damaged_or_closed_file_is_named_and_the_rest_stays(
    name, fault, where, victim, words, start, tree, undisturbed, tmp_path, survived
):
    want, place = undisturbed(name)[0], tmp_path / "a"
    place.mkdir()
    if where == "ended":
        end(start(name, tree, place))
    while where == "stopped" and not list(place.glob(victim)):
        shutil.rmtree(place)
        process = start(name, tree, place)
        while process.exitcode is None and not list(place.glob(victim)):
            time.sleep(0.001)
        kill(process, 0)
    below = {"tree": tree, "cache": tree.parent / "cache"}.get(where, place)
    (path,) = below.glob(victim) if victim != "." else [place]
    mode, content = path.stat().st_mode, path.is_file() and path.read_bytes()
    fault(path)
    message = end(start(name, tree, place), place)
    assert message and re.search(words, message), message
    path.chmod(mode)
    if where == "ended" and name == "train":  # a run is removed by the user only
        shutil.rmtree(place / "run")
    elif where == "tree":
        path.write_bytes(content)
    elif fault is half:
        path.unlink()  # as the message says
    end(start(name, tree, place))
    ended = bytes_of(place)
    # A tree with a damaged picture is another tree, so it has a store of its own.
    assert ended == want or (where == "tree" and ended.items() >= want.items())
    survived[NAMED[fault], name] += 1


def test_half_a_shard_is_found_and_made_again(start, tree, undisturbed, tmp_path, survived):
    end(start("extract", tree, tmp_path / "a"))
    shard = sorted((tmp_path / "a").rglob("shard-*"))[3]
    half(shard)
    assert not check_store(shard.parent).usable
    with pytest.raises(BadInput, match=r"cannot be read .*; remove it and run the same"):
        FeatureStore(shard.parent)[:]
    shard.unlink()
    end(start("extract", tree, tmp_path / "a"))
    assert bytes_of(tmp_path / "a") == undisturbed("extract")[0]
    survived[NAMED[half], "extract"] += 1


@pytest.mark.parametrize("fault, words", [(half, "cannot be read"), (unreadable, "Permission denied")])
def test_a_picture_that_cannot_be_read_is_one_error_and_the_rest_is_answered(fault, words, start, tmp_path, survived):
    for i in range(3):
        Image.effect_noise((60, 120), 50).save(tmp_path / f"{i}.jpg")
    fault(tmp_path / "1.jpg")
    end(start("predict", tmp_path, tmp_path / "a"))
    table = pd.read_csv(tmp_path / "a" / "out.csv").groupby("image").first()
    assert list(table["error"].notna()) == [False, True, False] and words in table["error"].iloc[1]
    survived[NAMED[fault], "predict"] += 1
