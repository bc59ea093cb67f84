"""What the text tower reads: one phrase per attribute, in six languages, from the files in the folder `prompts`."""

from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

from parlib.errors import BadInput
from parlib.files import read_yaml
from parlib.schema import Schema
from parlib.schema import schema as named_schema

_FOLDER = Path(__file__).parent / "prompts"


def languages() -> list[str]:
    """Codes of the languages that have a file of prompts, English first."""
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
    """One prompt for each of the A attributes of a schema, in the schema's order; with `wording="all"` a list for each.

    Args:
        schema: `pa100k`, `peta`, `market1501`, or a `Schema`. The `prompt` of an attribute, which users' schemas have,
            is its English prompt.
        language: one of `languages()`.
        wording: which wording, from 0; attributes with fewer give their last.
        negative: the phrase that says the attribute is absent ("a person without a hat"); there is one wording of it.

    Raises:
        BadInput: unknown language or wording, or an attribute without a prompt.
    """
    about = named_schema(schema) if isinstance(schema, str) else schema
    if wording != "all" and not (isinstance(wording, int) and wording >= 0):
        raise BadInput(f"wording {wording!r} is not known: give 0, 1, 2... or 'all'")
    file = _read(language)
    entries = dict(file.get(about.name, {}))
    if language == "en" and not negative:
        entries |= {a.name: {"is": [a.prompt]} for a in about.attributes if a.prompt}
    missing = [name for name in about.names if name not in entries]
    if missing:
        raise BadInput(
            f"no {'negative ' if negative else ''}prompt in {language!r} for {len(missing)} of {len(about.names)} "
            f"attributes of {about.name!r}: {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''}; there are "
            f"prompts for {', '.join(name for name in file if name != 'language')}. For other attributes give each a "
            "`prompt` in its schema (read in English), or pass a list of phrases"
        )
    wordings = [[entries[name]["not"]] if negative else list(entries[name]["is"]) for name in about.names]
    return wordings if wording == "all" else [each[min(wording, len(each) - 1)] for each in wordings]


@cache
def _read(language):
    if language not in languages():
        raise BadInput(f"no prompts in {language!r}; there are {', '.join(languages())} (one file each in {_FOLDER})")
    return read_yaml(_FOLDER / f"{language}.yaml", "prompts")
