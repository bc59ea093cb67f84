"""A record keeps what intervals and calibration need, comes back as written, and tells when it was edited."""

import json
import math
import shutil

import numpy as np
import pytest

from parlib import BadInput, bootstrap
from parlib.files import digest
from parlib.measure.records import comparison, make_record, read_records, read_scores, write_record

RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.integers(-1, 2, (40, 4)), RNG.random((40, 4)).astype(np.float32)
PEOPLE = np.repeat(np.arange(10), 4).astype(str)


def record(**options):
    data = {"benchmark": "pa100k", "kind": "rendered", "split": "test"}
    setting = {"encoder": "nano", "seed": 0}
    return make_record("VLM-PAR head", setting, data, LABELS, SCORES, np.full(4, 0.4), list("abcd"), **options)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    write_record(record(), tmp_path / "r.json")
    assert read_records(tmp_path)[0] == record()


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


def test_what_is_undefined_is_null_in_the_file_and_nan_when_read(tmp_path):
    data, labels = {"benchmark": "folder", "kind": "own", "split": "test"}, np.ones((20, 2), int)
    made = make_record("head", {"encoder": "nano"}, data, labels, SCORES[:20, :2], np.full(2, 0.5), ["hat", "bag"])
    write_record(made, tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["scores"]["mA"] is None
    (read,) = read_records(tmp_path)
    places = (
        read["scores"]["mAP"],
        read["tuned"]["mA"],
        read["per_attribute"]["hat"]["AP"],
        read["intervals"]["mA"][0],
    )
    assert all(map(math.isnan, places)) and read == made
    assert read["undefined"] == ["hat", "bag"] and read["undefined_attributes"] == 2
    write_record(read, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_a_record_of_one_image_has_no_interval(tmp_path):
    data = {"benchmark": "folder", "kind": "own", "split": "test"}
    one = make_record("head", {"encoder": "nano"}, data, LABELS[:1], SCORES[:1], np.full(4, 0.5), list("abcd"))
    write_record(one, tmp_path / "r.json")
    assert read_records(tmp_path)[0]["intervals"] == {} and one["tuned"]["interval"] is None


def test_records_are_found_below_a_folder_and_what_is_none_is_counted(tmp_path):
    write_record(record(), tmp_path / "runs" / "one" / "test.json")
    write_record(record(identities=PEOPLE), tmp_path / "runs" / "two" / "test.json")
    (tmp_path / "runs" / "one" / "run.json").write_text('{"format": 1}')
    (tmp_path / "runs" / "one" / "broken.json").write_text("{")
    shutil.copytree(tmp_path / "runs" / "one", tmp_path / "copied")  # a copy is no second run
    shutil.copytree(tmp_path / "runs" / "one", tmp_path / ".hidden")
    with pytest.warns(
        UserWarning, match=r"^4 JSON files are no records and are left out: .*one.broken\.json \(cannot be read\)"
    ) as noted:
        assert [r["drawn"] for r in read_records(tmp_path)] == ["images", "identities"]
    assert len(noted) == 1
    with pytest.warns(UserWarning, match="2 JSON files"):
        assert read_records(tmp_path / "runs" / "one") == [record()]


def test_a_place_without_a_record_is_an_error(tmp_path):
    with pytest.raises(BadInput, match="no record at"):
        read_records(tmp_path / "nothing")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadInput, match=r"holds no record \(JSON files read: 1\); .parlib evaluate"):
        read_records(tmp_path)
    with pytest.raises(BadInput, match=r"x\.json holds no record"):
        read_records(tmp_path / "x.json")
    for content in ("{", "[]", "null"):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(BadInput, match=r"x\.json"):
            read_records(tmp_path / "x.json")


def test_the_digest_of_what_is_comparable_tells_lists_labels_encoders_and_selection():
    def made(setting=(), data=()):
        data = {
            "benchmark": "folder",
            "kind": "own",
            "split": "test",
            "items_sha256": "a",
            "labels_sha256": "b",
            **dict(data),
        }
        setting = {"encoder": "nano", "weights": "w", "training": {"select": "mAP", "lr": 1}, **dict(setting)}
        return make_record("head", setting, data, LABELS, SCORES, None, list("abcd"))

    same = [made(), made({"seed": 1}), made({"head": {"preset": "compact"}}), made({"training": {"select": "mA"}})]
    others = [
        *(made(data={key: "other"}) for key in ("items_sha256", "labels_sha256", "view")),
        *(made({"weights": "v"}), made({"identity": {"weights": "w", "tokenizer": "t"}})),
        made({"selection": "epoch chosen on test"}),
    ]
    assert len({r["comparable"] for r in same}) == 1
    assert len({r["comparable"] for r in [same[0], *others]}) == 1 + len(others)
    assert all(comparison(r) != comparison(same[0]) for r in others)


def test_the_scores_of_a_record_lie_beside_it_and_give_its_numbers_again(tmp_path):
    written = record(identities=["", *PEOPLE[1:]])
    write_record(written, tmp_path / "r.json")
    (read,) = read_records(tmp_path)
    arrays = read_scores(read)
    assert {name: array.dtype.str for name, array in arrays.items()} == {
        **{"scores": "<f4", "labels": "|i1", "identity": "<i4", "thresholds": "<f8", "names": "<U1"}
    }
    assert (arrays["scores"] == SCORES).all() and (arrays["labels"] == LABELS).all()
    assert arrays["identity"].tolist() == [-1, *map(int, PEOPLE[1:])]
    again = bootstrap(arrays["labels"], arrays["scores"], identities=arrays["identity"])
    for name, interval in read["intervals"].items():
        assert interval == pytest.approx(list(again.loc[name, ["low", "high"]]), abs=1e-6)
    assert all((arrays[name] == same).all() for name, same in read_scores(written).items()), "and before it is written"


def test_scores_that_were_changed_or_are_missing_are_an_error(tmp_path):
    write_record(record(), tmp_path / "r.json")
    (read,) = read_records(tmp_path)
    npz = tmp_path / "r.npz"
    npz.write_bytes(npz.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"r\.npz is not the file that its record names"):
        read_scores(read)
    npz.unlink()
    with pytest.raises(BadInput, match=r"no scores of a record at .*r\.npz"):
        read_scores(read)
    old = {name: value for name, value in read.items() if name not in ("scores_file", "sha256")}
    (tmp_path / "r.json").write_text(json.dumps({**old, "sha256": digest(old)}))
    (read,) = read_records(tmp_path)
    with pytest.raises(BadInput, match="has no file of scores; make it again"):
        read_scores(read)


def test_a_copy_without_scores_does_not_hide_the_one_that_has_them(tmp_path):
    for folder in ("a", "b", "c"):
        write_record(record(), tmp_path / folder / "r.json")
    for folder in ("a", "c"):
        (tmp_path / folder / "r.npz").unlink()
    (read,) = read_records(tmp_path)
    assert len(read_scores(read)["scores"]) == len(SCORES)
