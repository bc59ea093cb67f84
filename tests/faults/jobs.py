"""Small versions of the long commands, as functions for a fork server; a fault can happen at any moment."""

import ctypes
import functools
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import torch

from parlib.data import load_benchmark
from parlib.encode import extract as features
from parlib.encode.encoder import load_encoder
from parlib.encode.extract import extract
from parlib.errors import BadInput
from parlib.learn.run import evaluate_run, train_run
from parlib.learn.train import TrainOptions
from parlib.show.annotate import annotate_people
from parlib.use import predict as predicting
from parlib.use.clips import Clip
from parlib.use.crops import gather
from parlib.use.model import load
from parlib.use.people import gather_people
from parlib.use.predict import Job, write_predictions
from pedsynth import synthesize


def render(root, place):
    """A tree of 24 pictures in `place/tree`."""
    synthesize("pa100k", Path(place) / "tree", train=12, val=6, test=6, workers=1, progress=False)


def extraction(root, place):
    """A store of 20 shards in `place`."""
    features.SHARD = 2
    extract(load_benchmark("pa100k", root, "train"), load_encoder(), place, "t", workers=0, progress=False)


def training(root, place):
    """Four epochs of a small head and its record, in `place/run`; its features are in a cache beside the tree."""
    run = Path(place) / "run"
    if not run.exists():
        options = TrainOptions(epochs=4, batch_size=8, threads=1)
        train_run("pa100k", root, "nano", 0, run, Path(root).parent / "cache", options, preset="compact")
    evaluate_run(run)


def prediction(root, place):
    """Predictions for the images of the tree, in parts of 16, in `place/out.csv`."""
    predicting.PART = 16
    if not (Path(place) / "out.csv").exists():
        crops = gather([root])
        write_predictions(Job(load(), crops, workers=0, progress=False), Path(place) / "out.csv")


def clip(root, place):
    """One row per person of the clip beside the tree, crops in parts of 16, in `place/out.csv`; and the clip drawn."""
    predicting.PART = 16
    if not (Path(place) / "out.csv").exists():
        crops = gather_people(Path(root).parent / "walk.mp4", Path(root).parent / "walk.csv")
        job = Job(load(), crops, ["Hat", "Female"], workers=0, progress=False)
        watch = functools.partial(annotate_people, crops=crops, folder=Path(place) / "seen")
        write_predictions(job, Path(place) / "out.csv", watch=watch)


JOBS = {"render": render, "extract": extraction, "train": training, "predict": prediction, "clip": clip}
SHOWN = {
    "render": "parlib synth",
    "extract": "parlib extract",
    "train": "parlib train",
    "predict": "parlib predict",
    "clip": "parlib predict of a clip",
}


def run(name, root, place, message, how=None):
    """Run one job as a command does: a `BadInput` becomes one message in the file `message`, and exit code 2.

    Root's right to read and write everything is dropped first, so that permissions hold as for any user.
    """
    torch.set_num_threads(1)
    _be_nobody()
    try:
        if how == "clock jumps":
            _let_the_clock_jump()
        if how == "disk full":
            return _on_a_small_disk(name, root, place, message)
        JOBS[name](root, place)
    except BadInput as error:
        Path(message).write_text(str(error))
        sys.exit(2)


def bytes_of(place):
    """Every file below, hidden ones too: path -> SHA-256; of a clip, its frames (x264's bytes differ between runs)."""
    files = sorted(path for path in Path(place).rglob("*") if path.is_file())
    return {
        str(f.relative_to(place)): Clip(f).count if f.suffix == ".mp4" else hashlib.sha256(f.read_bytes()).hexdigest()
        for f in files
    }


def _on_a_small_disk(name, root, place, message):
    """Run a job on a disk that fills up and is enlarged until the job fits; writes all messages and the final bytes.

    The disk is a tmpfs that only this process sees and that disappears with it.
    """
    libc, errors = ctypes.CDLL(None, use_errno=True), []
    _must(libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None))  # MS_REC | MS_PRIVATE: not beyond this process
    for number in range(20):
        size, remount = f"size={8 * 2**number}k".encode(), 32 if number else 0  # MS_REMOUNT
        _must(libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", remount, size))
        try:
            JOBS[name](root, place)
            break
        except BadInput as error:
            errors.append(str(error))
    Path(message).write_text(json.dumps({"errors": errors, "bytes": bytes_of(place)}))


def _be_nobody():
    """Drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH for good, in a mount namespace of this process."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _must(libc.capget(header, sets))
    administers = sets[0] >> 21 & 1  # CAP_SYS_ADMIN; without it, a user namespace gives it
    _must(libc.unshare(0x20000 if administers else 0x20000 | 0x10000000))  # CLONE_NEWNS, CLONE_NEWUSER
    _must(libc.capget(header, sets))
    for capability in (1, 2):
        _must(libc.prctl(24, capability, 0, 0, 0))  # PR_CAPBSET_DROP: child programs do not get them either
    for i in range(3):
        sets[i] &= ~0b110
    _must(libc.capset(header, sets))


def _let_the_clock_jump():
    """Make `time.time` jump by years forwards and backwards from one call to the next."""
    now, draw = time.time, random.Random(0)
    time.time = lambda: now() + draw.uniform(-1e9, 1e9)
    time.time_ns = lambda: int(time.time() * 1e9)


def _must(result):
    if result:
        raise OSError(ctypes.get_errno(), "the kernel refused what the harness needs")
