"""Files written whole or not at all, by one process at a time, and told apart by their bytes."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shutil
from pathlib import Path

from parlib.errors import BadInput
from parlib.reading import one_line


def write_atomic(path, content):
    """Write `content` (str or bytes) so that a reader sees the old file or the new one, never a part.

    Raises:
        BadInput: the disk is full, or the place cannot be written to; what was there stays as it was.
    """
    path = Path(path)
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a full disk may be noticed only here
        partial.replace(path)
    except OSError as error:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
        raise BadInput(
            f"{path} cannot be written: {error.strerror}; make room there or choose another place"
        ) from error


def partial_of(path):
    """Where `path` is written before it is renamed: a name of this machine's and process's own."""
    return Path(path).with_name(f".{Path(path).name}.{platform.node()}.{os.getpid()}")


def sweep(folder):
    """Remove what killed processes of this machine left half-written in `folder`: files and folders."""
    for left in Path(folder).glob(f".*.{glob.escape(platform.node())}.*"):
        pid = left.suffix[1:]
        if pid.isdigit() and not _runs(int(pid)):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(out):
    """A folder to fill, which takes the place of `out` when it is whole; only then does what was there leave.

    Raises:
        BadInput: the disk is full, or the place cannot be written to; what was there stays as it was.
    """
    from safetensors import SafetensorError

    sweep(out.parent)
    partial, old = partial_of(out), partial_of(partial_of(out))
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # safetensors tells a full disk by an error of its own
        raise BadInput(f"{out} cannot be written: {one_line(error)}; make room or choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def only_one(path, lock):
    """Hold the file `lock` while `path` is made; it is removed at the end. BadInput where another process holds it."""
    try:
        file = open(lock, "w")  # noqa: SIM115
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}; choose another place") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink == 0:  # its holder removed it while we opened it
                raise BlockingIOError
        except BlockingIOError:
            raise BadInput(f"another process is writing {path}: wait for it, or choose another place") from None
        try:
            yield
        finally:
            Path(lock).unlink(missing_ok=True)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, but there
    return True


def plain_cell(text):
    """Text for a cell of CSV: a quote before what a spreadsheet would take for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", text) else text


def markdown_cell(text):
    """Text for a cell of a Markdown table: no markup, link or new column out of what a file brought."""
    text = " ".join(str(text).split()).replace("\\", "\\\\")
    return text.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").replace("`", "'")


def digest(content):
    """SHA-256 of anything JSON can hold, independent of key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
