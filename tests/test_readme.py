"""README's results are those of the stored records, and its commands and links exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_results_come_from_the_records(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import readme

    assert readme.with_results(README) == README, "run python tools/readme.py"
    assert readme.results().count("|") > 20
    assert readme.costs() in README and readme.costs().count(" images ") == 3


def test_every_link_and_command_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    make = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", make, flags=re.M), target
