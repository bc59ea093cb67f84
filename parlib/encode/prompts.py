"""What the text tower is told: one phrase an attribute, in six languages, from the files beside this module."""

import os
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

from parlib.errors import BadInput
from parlib.files import read_yaml
from parlib.schema import Schema
from parlib.schema import schema as named_schema

_FOLDER = Path(__file__).parent / "prompts"


def languages() -> list[str]:
    """Codes of the languages that have a file of prompts: list of str, English first."""
    return sorted((path.stem for path in _FOLDER.glob("*.yaml")), key=lambda code: (code != "en", code))


@overload
def load_prompts(schema: str | Schema, language: str = "en", wording: int = 0, negative: bool = False) -> list[str]: ...
@overload
def load_prompts(
    schema: str | Schema, language: str, wording: Literal["all"], negative: bool = False
) -> list[list[str]]: ...
def load_prompts(
    schema: str | Schema, language: str = "en", wording: int | Literal["all"] = 0, negative: bool = False
) -> list[Any]:
    """One prompt for each attribute of a schema, in the schema's order.

    Args:
        schema: `pa100k`, `peta`, `market1501`, or any object with `name` and `names`. Where an attribute carries a
            `prompt` of its own, as users' schemas do, that is the English prompt.
        language: one of `languages()`.
        wording: which wording, 0 is the default; attributes with fewer give their last. `"all"` gives every wording.
        negative: the phrase that says the attribute is absent ("a person without a hat"); there is one wording of it.

    Returns:
        list of A str; with `wording="all"` a list of A lists of str.

    Raises:
        BadInput: unknown language or wording, a schema without prompts, or an attribute without one.
    """
    if isinstance(schema, str):
        schema = named_schema(schema)
    if wording != "all" and (isinstance(wording, bool) or not isinstance(wording, int) or wording < 0):
        raise BadInput(f"wording {wording!r} is not known: give 0, 1, 2... or 'all'")
    known, own = _read(language).get(schema.name, {}), {}
    if language == "en" and not negative:
        own = {a.name: a.prompt for a in getattr(schema, "attributes", ()) if getattr(a, "prompt", None)}
    missing = [name for name in schema.names if name not in known and name not in own]
    if missing:
        raise BadInput(
            f"no {'negative ' if negative else ''}prompt in {language!r} for {len(missing)} of {len(schema.names)} "
            f"attributes of {schema.name!r}: {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''}; there are "
            f"prompts for {', '.join(_schemas(language))}. For other attributes give each a `prompt` in its schema "
            "(read in English), or pass your own list of phrases where prompts are asked for"
        )
    if negative:
        return [[known[n]["not"]] if wording == "all" else known[n]["not"] for n in schema.names]
    wordings = [[own[name]] if name in own else list(known[name]["is"]) for name in schema.names]
    return wordings if wording == "all" else [each[min(wording, len(each) - 1)] for each in wordings]


def _schemas(language):
    return [key for key in _read(language) if key != "language"]


@cache
def _read(language):
    """A language's file, checked: every schema in it complete and every entry whole."""
    path = _FOLDER / f"{language}.yaml"
    if language not in languages():
        raise BadInput(f"no prompts in {language!r}; there are {', '.join(languages())} (a file each in {_FOLDER})")
    return check_prompts(path)


def check_prompts(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file of prompts; BadInput names the schema and attribute that is missing, unknown or badly written."""
    data = read_yaml(path, "prompts")
    if not isinstance(data, dict) or not isinstance(data.get("language"), str):
        raise BadInput(f"{path}: expected `language: NAME` and a block of prompts for each schema")
    for name, block in data.items():
        if name == "language":
            continue
        names = set(named_schema(name).names)
        if not isinstance(block, dict) or set(block) != names:
            given = set(block) if isinstance(block, dict) else set()
            raise BadInput(
                f"{path}: the prompts of {name} lack {sorted(names - given) or 'nothing'} and have unknown "
                f"{sorted(map(str, given - names)) or 'none'}; give exactly one entry for each attribute"
            )
        for attribute, entry in block.items():
            wordings = entry.get("is") if isinstance(entry, dict) else None
            texts = [*wordings, entry.get("not")] if isinstance(wordings, list) and wordings else [None]
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise BadInput(f"{path}: {name}.{attribute} must be {{is: [phrase, ...], not: phrase}}, got {entry!r}")
    return data
