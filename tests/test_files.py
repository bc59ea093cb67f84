"""What killed processes left half-written is removed, and nothing that another process still writes."""

import os
import platform
import subprocess
import sys

from parlib.files import partial_of, sweep, write_atomic


def test_only_what_processes_of_this_machine_left_is_swept(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    own = partial_of(tmp_path / "mine")
    file, folder, elsewhere = (
        tmp_path / name
        for name in (f".a.{platform.node()}.{process.pid}", f".b.{platform.node()}.{process.pid}", ".c.another.1")
    )
    folder.mkdir()
    for path in (own, file, folder / "part", elsewhere, tmp_path / f".d.{platform.node()}.{os.getppid()}"):
        path.write_text("half")
    sweep(tmp_path)
    assert sorted(path.name[:3] for path in tmp_path.iterdir()) == [".c.", ".d.", ".mi"]


def test_a_file_written_again_leaves_nothing_of_a_process_that_was_killed_while_it_wrote(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    for name in ("scores.npz", "other.npz"):
        (tmp_path / f".{name}.{platform.node()}.{process.pid}").write_text("half")
    write_atomic(tmp_path / "scores.npz", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"scores.npz", f".other.npz.{platform.node()}.{process.pid}"}
