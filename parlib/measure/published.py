"""Numbers that others printed, from `assets/published.yaml`, which tells their sources. None of them was run here."""

import itertools
from typing import Any

from parlib.files import ASSETS, read_yaml

_PRINTED = read_yaml(ASSETS / "published.yaml", "published numbers")
VLM_PAR_CLAIM: dict[str, float] = _PRINTED["claim"]["printed"]  # benchmark -> percent, printed as "mA"


def published(benchmark: str) -> list[dict[str, Any]]:
    """Rows of one benchmark: dicts of method, venue, backbone, list, scores (name -> percent), protocol, caveat.

    `scores` holds what was printed and nothing else; `protocol` is "not stated" where no code says it; `list` names the
    published index (PETA_ZS, RAP_ZS) that divides the images by person, or is "" for the benchmark's own partition.
    """
    rows = []
    lists = _PRINTED["lists"].get(benchmark, {benchmark: ""})
    for entry, (key, name) in itertools.product(_PRINTED["methods"], lists.items()):
        printed = zip(_PRINTED["columns"], entry.get(key, []), strict=False)
        scores = {column: value for column, value in printed if value != "-"}
        if scores:
            rows.append({"protocol": "not stated", "caveat": "", **entry, "list": name, "scores": scores})
    if benchmark in VLM_PAR_CLAIM:
        caveat = f'printed as "mA" {VLM_PAR_CLAIM[benchmark]}; {_PRINTED["claim"]["caveat"]}'
        rows.append({**_PRINTED["claim"], "protocol": "not stated", "caveat": caveat, "list": "", "scores": {}})
    return rows
