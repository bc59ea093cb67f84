"""Files are written whole or not at all, by one process at a time; errors of reading name the file."""

import contextlib
import glob
import hashlib
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from parlib.errors import BadInput

ASSETS = Path(__file__).parent / "assets"  # what ships with the package


def write_atomic(path: str | os.PathLike, content: str | bytes) -> None:
    """Write so that a reader sees the old file or the new one, never a part; BadInput leaves the old one as it was."""
    path = Path(path)
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a full disk may be noticed only here
        partial.replace(path)
        sweep(path.parent, path.name)
    except OSError as error:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
        raise BadInput(f"{path} cannot be written: {error.strerror}; make room or choose another place") from error


def partial_of(path: str | os.PathLike) -> Path:
    """Where `path` is written before it is renamed: a hidden name that holds this machine and process."""
    return Path(path).with_name(f".{Path(path).name}.{platform.node()}.{os.getpid()}")


def sweep(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove what killed processes of this machine left half-written in `folder`: all of it, or that of file `name`."""
    for left in Path(folder).glob(f".{glob.escape(name) if name else '*'}.{glob.escape(platform.node())}.*"):
        pid = left.suffix[1:]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which replaces `out` when the block ends without an error; BadInput leaves `out` as it was."""
    sweep(out.parent)
    partial, old = partial_of(out), partial_of(partial_of(out))
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by an error class of its own
        raise BadInput(f"{out} cannot be written: {one_line(error)}; make room or choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Busy(BadInput):
    """Another process is writing the same file or folder."""


@contextlib.contextmanager
def only_one(path: str | os.PathLike, lock: str | os.PathLike, wait: bool = False) -> Iterator[None]:
    """Hold the file `lock` while `path` is made, and remove it afterwards; `Busy` where another process holds it."""
    held = FileLock(lock, blocking=wait)
    try:
        held.acquire()
    except Timeout:
        raise Busy(f"another process is writing {path}: wait for it, or choose another place") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}; choose another place") from error
    try:
        yield
    finally:
        if os.name != "nt":  # Windows does not remove a file that is open
            Path(lock).unlink(missing_ok=True)
        held.release()


@contextlib.contextmanager
def reading(path: str | os.PathLike, what: str, remedy: str = "take the file as it was written") -> Iterator[None]:
    """Turn whatever error a missing, damaged or foreign file causes in the block into a `BadInput` that names it."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # parsers of binary files raise a dozen classes
        if isinstance(error, FileNotFoundError) and not os.path.exists(path):
            raise BadInput(f"no {what} at {path}") from None
        if os.path.exists(path) and not os.access(path, os.R_OK):  # safetensors and pyarrow call such a file missing
            raise BadInput(f"{path} cannot be read: Permission denied; allow it and run the same again") from error
        raise BadInput(f"{what} {path} cannot be read ({type(error).__name__}: {one_line(error)}); {remedy}") from error


def read_json(path: str | os.PathLike, what: str) -> Any:
    """The content of a JSON file; `what` names its kind in the error."""
    with reading(path, what):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def json_text(content: Any, indent: int | None = 1) -> str:
    """Strict JSON text: NaN becomes null, NumPy numbers and arrays become plain ones, everything else unknown text."""
    return json.dumps(_plain(content), indent=indent, ensure_ascii=False, allow_nan=False, default=str)


def _plain(content):
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "tolist"):  # NumPy, torch
        return _plain(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_yaml(path: str | os.PathLike, what: str) -> Any:
    """The content of a YAML file, plain types only (`safe_load`); `what` names its kind in the error."""
    with reading(path, what):
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def one_line(error: object) -> str:
    """The text of an error on one line, at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def plain_cell(text: str) -> str:
    """Text for a CSV cell, with a quote before what a spreadsheet would take for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", text) else text


def markdown_cell(text: object) -> str:
    """Text for a cell of a Markdown table, with no markup, link or column separator in it."""
    line = " ".join(str(text).split()).replace("\\", "\\\\")
    return line.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").replace("`", "'")


def digest(content: Any) -> str:
    """SHA-256 of anything JSON can hold, independent of key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
