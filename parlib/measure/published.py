"""Numbers that others printed, from `assets/published.yaml`, which tells their sources. None of them was run here."""

from pathlib import Path
from typing import Any

from parlib.files import read_yaml

_PRINTED = read_yaml(Path(__file__).parents[1] / "assets" / "published.yaml", "published numbers")
VLM_PAR_CLAIM: dict[str, float] = _PRINTED["claim"]["printed"]  # benchmark -> percent, printed as "mA"


def published(benchmark: str) -> list[dict[str, Any]]:
    """Rows of one benchmark: dicts of method, venue, backbone, scores (name -> percent), protocol, caveat.

    `scores` holds what was printed and nothing else; `protocol` is "not stated" where no code says it.
    """
    unstated = {"protocol": "not stated", "caveat": ""}
    rows = []
    for entry in _PRINTED["methods"]:
        numbers = entry.get(benchmark, {})
        if isinstance(numbers, list):
            numbers = dict(zip(_PRINTED["columns"], numbers, strict=True))
        about = {name: value for name, value in entry.items() if name not in ("pa100k", "peta", "market1501")}
        if numbers:
            printed = {name: value for name, value in numbers.items() if value != "-"}
            rows.append({**unstated, **about, "scores": printed})
    if benchmark in VLM_PAR_CLAIM:
        claim = {name: value for name, value in _PRINTED["claim"].items() if name != "printed"}
        caveat = f'printed as "mA" {VLM_PAR_CLAIM[benchmark]}; {claim["caveat"]}'
        rows.append({**unstated, **claim, "scores": {}, "caveat": caveat})
    return rows
