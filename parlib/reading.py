"""What files say, read without trust: of bearable size and depth, of plain types, and of the shape that is wanted."""

import json
import math
import os
from pathlib import Path
from typing import Any

from parlib.errors import BadInput


def one_line(error: object) -> str:
    """An error as one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def may_read(path: str | os.PathLike) -> str | os.PathLike:
    """The path; BadInput where it may not be read, which safetensors and pyarrow would call missing or broken."""
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise BadInput(f"{path} cannot be read: Permission denied; allow it (chmod u+r) and run the same again")
    return path


def sized(path: str | os.PathLike, most: int = 2**27) -> str | os.PathLike:
    """The path; ValueError where it has more than `most` bytes or, a pipe or device, may never end."""
    if os.stat(path).st_size > most or not os.path.isfile(path):
        raise ValueError(f"it is no file of at most {most / 2**20:g} MB")
    return path


def read_json(path: str | os.PathLike, what: str, shape: Any = dict) -> Any:
    """What a JSON file holds, of a `shape` (see `must_be`); `what` names it in the error where it is broken."""
    try:
        text = Path(sized(path)).read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > 4e6 or text.count(",") > 1e7:  # each takes ten times its signs
            raise ValueError("it holds more than 4 million lists and objects, or 10 million entries")
        data = bearable(json.loads(text))
        if "\\ud" in text or "\\uD" in text:
            json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair is no text: nothing could write it
    except FileNotFoundError:
        raise BadInput(f"no {what} at {path}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput(f"{what} {path} cannot be read: {one_line(error)}") from error
    must_be(data, shape, f"{what} {path}")
    return data


def read_yaml(path: str | os.PathLike, what: str) -> Any:
    """What a YAML file holds, of plain types only; `what` names it in the error where it is broken or a bomb.

    Aliases are allowed, and each counts as what it stands for: a thousand lines may stand for more than any memory.
    More than 128 kB are refused: PyYAML reads 100 kB a second.
    """
    import yaml

    try:
        return bearable(yaml.safe_load(Path(sized(path, 2**17)).read_text(encoding="utf-8")), 1_000_000)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{what} {path} cannot be read as YAML: {one_line(error)}") from error


def bearable(data: Any, most: float = math.inf) -> Any:
    """The data itself; ValueError where lists and dicts lie more than 100 deep or hold more than `most` entries."""
    holders = (dict, list, tuple, set)
    nodes, held = [data] if isinstance(data, holders) else [], 0
    for _ in range(100):
        held += sum(map(len, nodes))
        if held > most:
            raise ValueError("its aliases stand for more than a million entries")
        if not nodes:
            return data
        inside = (node.values() if isinstance(node, dict) else node for node in nodes)
        nodes = [one for part in inside for one in part if isinstance(one, holders)]
    raise ValueError("it lies more than 100 deep")


def must_be(value: Any, shape: Any, where: object) -> None:
    """BadInput that names the place where a value out of a file is not of `shape`.

    A shape is a type, a predicate, `[shape]` of each member, `{key: shape}`, where the key `str` stands for every key,
    or `(shape,)` of what may be missing.
    """
    if isinstance(shape, tuple):
        if value is None:
            return
        shape = shape[0]
    if isinstance(shape, dict) and isinstance(value, dict):
        for key, inner in shape.items():
            for name in value if key is str else (key,):
                must_be(value.get(name), inner, f"{where}, {name}")
    elif isinstance(shape, list) and isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            must_be(one, shape[0], f"{where}, {i + 1}")
    elif isinstance(shape, (dict, list)) or not (isinstance(value, shape) if isinstance(shape, type) else shape(value)):
        found = "nothing" if value is None else f"{str(value)[:40]!r}"
        raise BadInput(f"{where}: {found} cannot stand there; take the file as it was written")


def is_name(value: object) -> bool:
    """Whether a value out of a file names something: text, or a number, but not YAML's yes, no and null."""
    return type(value) in (str, int, float) and bool(str(value).strip())


def number(value: object) -> bool:
    """Whether a value out of a file is NaN or a number of bearable size: a shape for `must_be`."""
    return isinstance(value, (int, float)) and not abs(value) > 1e9


def pair(value: object) -> bool:
    """Whether a value out of a file is a list of two numbers, such as an interval: a shape for `must_be`."""
    return isinstance(value, list) and len(value) == 2 and all(map(number, value))
