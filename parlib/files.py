"""Files written whole or not at all, and told apart by their bytes."""

import hashlib
import json
import os
import platform
from pathlib import Path

from parlib.errors import BadInput


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
    """Remove what killed processes of this machine left half-written in `folder`."""
    for left in Path(folder).glob(f".*.{platform.node()}.*"):
        pid = left.suffix[1:]
        if pid.isdigit() and not _runs(int(pid)):
            left.unlink(missing_ok=True)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, but there
    return True


def read_json(path, what):
    """The JSON object in `path`; `what` names it in the error when it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"no {what} at {path}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput(f"{what} {path} cannot be read: {one_line(error)}") from error


def read_yaml(path, what):
    """What a YAML file holds, of plain types only; `what` names it in the error where it is broken or a bomb.

    Aliases are allowed, and each counts as what it stands for: a thousand lines may stand for more than any memory.
    """
    import yaml

    try:
        data, held = yaml.safe_load(Path(path).read_text(encoding="utf-8")), 0
        waiting = [data]
        while waiting:
            node = waiting.pop()
            held += 1
            if held > 1_000_000:
                raise ValueError("its aliases stand for more than a million entries")
            if isinstance(node, (dict, list)):
                waiting += [*node, *node.values()] if isinstance(node, dict) else node
        return data
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{what} {path} cannot be read as YAML: {one_line(error)}") from error


def one_line(error):
    """An error as one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def digest(content):
    """SHA-256 of anything JSON can hold, independent of key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
