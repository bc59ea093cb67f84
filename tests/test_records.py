"""A record keeps what intervals and calibration need, comes back as written, and tells when it was edited."""

import json

import numpy as np
import pytest

from parlib import BadInput, bootstrap
from parlib.measure.records import make_record, read_records, write_record

RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(-1, 2, (40, 4)), RNG.random((40, 4))
PEOPLE = np.repeat(np.arange(10), 4).astype(str)


def record(**options):
    data = {"benchmark": "pa100k", "kind": "rendered", "split": "test"}
    setting = {"encoder": "nano", "seed": 0}
    return make_record("VLM-PAR head", setting, data, LABELS, SCORES, np.full(4, 0.4), list("abcd"), **options)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    write_record(record(), tmp_path / "r.json")
    assert read_records(tmp_path)[0] == json.loads(json.dumps(record()))


@pytest.mark.parametrize("where", ["scores", "intervals", "tuned", "per_attribute", "calibration", "data", "setting"])
def test_a_record_edited_by_hand_is_refused(tmp_path, where):
    edited = record()
    edited[where] = {**edited[where], next(iter(edited[where])): 0.9}
    (tmp_path / "r.json").write_text(json.dumps(edited))
    with pytest.raises(BadInput, match="changed after it was made"):
        read_records(tmp_path)


def test_intervals_are_those_of_the_bootstrap_and_by_people_where_known():
    by_image, by_person = record(), record(identities=PEOPLE)
    for made, identities, drawn in ((by_image, None, "images"), (by_person, PEOPLE, "identities")):
        want = bootstrap(LABELS, SCORES, identities=identities)
        assert made["drawn"] == drawn
        for name, (low, high) in made["intervals"].items():
            assert (low, high) == pytest.approx(tuple(want.loc[name, ["low", "high"]]), abs=1e-6)
            assert low <= made["scores"][name] <= high
    tuned = bootstrap(LABELS, SCORES, threshold=np.full(4, 0.4)).loc["mA"]
    assert by_image["tuned"]["interval"] == pytest.approx([tuned["low"], tuned["high"]], abs=1e-6)
    assert list(by_image["tuned"]["per_attribute"]) == list("abcd")


def test_calibration_bins_hold_every_known_label():
    bins = record()["calibration"]
    known = LABELS >= 0
    assert sum(bins["count"]) == known.sum()
    assert np.dot(bins["count"], bins["yes"]) == pytest.approx((LABELS == 1).sum(), abs=1e-3)
    assert np.dot(bins["count"], bins["probability"]) == pytest.approx(SCORES[known].sum(), abs=1e-3)


def test_what_is_no_record_is_named(tmp_path):
    with pytest.raises(BadInput, match="no record at"):
        read_records(tmp_path / "nothing")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadInput, match="is no record"):
        read_records(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        read_records(tmp_path)
