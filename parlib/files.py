"""Files written whole or not at all, and told apart by their bytes."""

import hashlib
import json
import os
from pathlib import Path

from parlib.errors import BadInput


def write_atomic(path, text):
    """Write `text` so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_json(path, what):
    """The JSON object in `path`; `what` names it in the error when it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"no {what} at {path}") from None
    except (ValueError, OSError) as error:
        raise BadInput(f"{what} {path} cannot be read: {error}") from error


def digest(content):
    """SHA-256 of anything JSON can hold, independent of key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
