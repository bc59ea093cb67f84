"""Extraction as it is run: killed, beside another one, over several processes."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from parlib import FeatureStore
from parlib.encode.store import check_store

pytestmark = pytest.mark.long

# Fewer images a shard than by default, so that a small tree makes many; one thread, so that sums have one order.
CODE = """
import sys, torch
from parlib.cli import main
from parlib.encode import encoder, extract as features
torch.set_num_threads(1)
features.SHARD = 2
encoder.BATCH = 2
sys.exit(main(sys.argv[1:]))
"""
SMALL = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


def command(tree, cache, *more, launcher=()):
    options = ["extract", "--root", str(tree), "--cache", str(cache), "--workers", "1", *more]
    return [sys.executable, *launcher, *options]


def start(tree, cache, *more, before="", **options):
    call = command(tree, cache, *more, launcher=["-c", before + CODE])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(call, env=SMALL, start_new_session=True, **pipes, **options)


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out.strip()


def bytes_of(cache):
    """Every file of the one store below a cache, hidden ones too: name -> SHA-256."""
    (folder,) = (cache / "features").iterdir()
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def shards(cache):
    return list(cache.glob("features/*/shard-*"))


@pytest.fixture(scope="module")
def undisturbed(rendered, tmp_path_factory):
    """Bytes of a store that nothing disturbed: 20 shards of two images and a manifest."""
    cache = tmp_path_factory.mktemp("undisturbed")
    finish(start(rendered, cache))
    made = bytes_of(cache)
    assert len(made) == 21
    return made


def test_killed_at_any_moment_it_ends_with_the_same_bytes(rendered, undisturbed, tmp_path):
    slow = "import os, time; from parlib import files; sync = os.fsync\n"
    slow += "files.os.fsync = lambda number: (time.sleep(0.05), sync(number))\n"  # most moments are within a write
    draw, seen, halves = random.Random(0), [], 0
    for _ in range(3):
        process = start(rendered, tmp_path, before=slow)
        # A random number of shards more than there were, so that every life gets on, then a random moment more.
        wanted = len(shards(tmp_path)) + draw.randint(0, 4)
        while process.poll() is None and len(shards(tmp_path)) < wanted:
            time.sleep(0.001)
        time.sleep(draw.random() * 0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        seen.append(len(shards(tmp_path)))
        halves += len(list(tmp_path.glob("features/*/.shard-*")))
    assert 0 < seen[-1] < 20, f"not killed in the middle: {seen}"
    assert halves, "never killed while it wrote"
    finish(start(rendered, tmp_path))
    assert bytes_of(tmp_path) == undisturbed


def test_two_processes_on_one_store_do_not_harm_it(rendered, undisturbed, tmp_path):
    folders = {finish(process) for process in [start(rendered, tmp_path) for _ in range(2)]}
    assert len(folders) == 1
    assert bytes_of(tmp_path) == undisturbed


def test_two_processes_of_accelerate_make_the_store_of_one(rendered, undisturbed, tmp_path):
    script = tmp_path / "extract.py"
    script.write_text(CODE)
    # `--multi_gpu` is how accelerate is asked for several processes; without a GPU they use the processors.
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", str(script)]
    done = subprocess.run(
        command(rendered, tmp_path / "cache", launcher=launcher), capture_output=True, text=True, env=SMALL, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert bytes_of(tmp_path / "cache") == undisturbed
    assert done.stderr.count("| 0/20") == 1 and "/40" not in done.stderr, "each process encodes its half"
    folder = done.stdout.strip()
    assert "\n" not in folder, "one process speaks for all"
    assert len(FeatureStore(folder)) == 40 and check_store(folder).usable
