import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from parlib.schema import schema

ROOT = Path(__file__).parents[1]
STORED = ROOT / "parlib" / "assets" / "real_facts.json"


def real_facts():
    """The tool, which is no package."""
    spec = importlib.util.spec_from_file_location("real_facts", ROOT / "tools" / "real_facts.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


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


def test_a_public_list_is_a_sixth_random_partition():
    """As many of its images are in each official trainval as of any random list: 11,400 of 19,000 are 60 %."""
    facts = json.loads(STORED.read_text())["peta"]
    public = facts["public_list"]
    assert public["images"] == facts["partitions"]["0"]["rows"]["test"] == 7_600
    assert public["certain"] == round((1 - public["share_with_person_outside"]) * public["images"]) == 3_099
    assert list(public["in_trainval"]) == list("01234")
    for inside in public["in_trainval"].values():
        assert inside["certain"] <= inside["fewest"] < inside["expected"] < inside["most"] < public["images"]
        assert abs(inside["certain"] / public["certain"] - 0.6) < 0.02
        assert abs(inside["expected"] / public["images"] - 0.6) < 0.01


@pytest.mark.long
@pytest.mark.real
def test_stored_facts_are_those_of_the_files(real_data):
    tool = real_facts()
    assert tool.to_json(tool.facts(real_data)) == STORED.read_text()


def test_images_of_a_list_are_counted_by_person(tmp_path):
    """Two people of CUHK and VIPeR with 3 and 2 images, counted by hand: one list has 2 of the first and the second."""
    data = np.array([[1, 1, 3, 7], [2, 1, 3, 7], [3, 1, 3, 7], [4, 2, 10, 7], [5, 2, 10, 7]])
    for folder in ("lists", "peta"):
        (tmp_path / folder).mkdir()
    savemat(tmp_path / "peta" / "PETA.mat", {"peta": {"data": data}})
    listed = [f"PETA_dataset/{name} 0 1\n" for name in ("CUHK/archive/0007.png", "CUHK/archive/07_2.png")]
    listed += [f"PETA_dataset/VIPeR/archive/007_{angle}_1.bmp 0 1\n" for angle in (0, 45)]
    (tmp_path / "lists" / "alm_PETA_test_list.txt").write_text("".join(listed))
    trainval = SimpleNamespace(listing=lambda split: SimpleNamespace(names=["00001.png", "00003.png", "00005.png"]))
    found = real_facts().public_list(tmp_path, {0: trainval})
    assert (found["images"], found["certain"], found["share_with_person_outside"]) == (4, 2, 0.5)
    # Of the first person two of three images are listed and two in trainval: one or both, 4/3 expected.
    assert found["in_trainval"] == {"0": {"certain": 1, "fewest": 2, "most": 3, "expected": 2}}
