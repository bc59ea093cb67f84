import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from parlib.schema import schema

ROOT = Path(__file__).parents[1]
STORED = ROOT / "parlib" / "assets" / "real_facts.json"


def test_stored_facts_hold_together():
    facts = json.loads(STORED.read_text())
    pa = facts["pa100k"]
    assert (
        pa["attributes"] == schema("pa100k").names and facts["market1501"]["attributes"] == schema("market1501").names
    )
    assert pa["rows"] == {"train": 80_000, "val": 10_000, "trainval": 90_000, "test": 10_000}
    for split, rows in pa["rows"].items():
        assert np.allclose(np.array(pa["positives"][split]) / rows, pa["rates"][split], atol=1e-5)
        assert pa["exclusive"]["age"][split]["one"] == rows
    together = np.array(pa["together"])
    assert (together == together.T).all()
    assert (np.diag(together) == np.add(pa["positives"]["trainval"], pa["positives"]["test"])).all()
    assert max(STORED.stat().st_size, 0) < 60_000


def test_known_counts():
    """Numbers known from the literature and from an independent count."""
    facts = json.loads(STORED.read_text())
    test = dict(zip(facts["pa100k"]["attributes"], facts["pa100k"]["positives"]["test"], strict=True))
    assert (test["LowerStripe"], test["boots"], test["AgeLess18"]) == (25, 55, 92)
    assert facts["peta"]["identities"] == 8_699 and facts["peta"]["identities_with_differing_labels"] == 0
    assert [round(100 * facts["peta"]["leak"][str(i)], 1) for i in range(5)] == [57.7, 58.5, 58.4, 58.7, 58.8]
    market = facts["market1501"]
    assert (
        market["exclusive"]["upcolor"]["trainval"]["none"] == 78
        and market["exclusive"]["downcolor"]["test"]["none"] == 44
    )


@pytest.mark.real
def test_stored_facts_are_those_of_the_files(real_data):
    spec = importlib.util.spec_from_file_location("real_facts", ROOT / "tools" / "real_facts.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.to_json(tool.facts(real_data)) == STORED.read_text()
