"""Corrections are applied, counted and recorded, and refused where they do not fit."""

import hashlib
import warnings

import numpy as np
import pytest

from parlib.data import labels_of, load_benchmark, read_release
from parlib.data.corrections import COLUMNS, annotation_sha256, decide, read_corrections
from parlib.errors import BadInput
from parlib.measure.records import comparison, make_record


@pytest.fixture
def release(rendered):
    return read_release("pa100k", rendered)


@pytest.fixture
def answer(release, tmp_path):
    """A function that writes a decision on the first image of test, or changes a cell of what it writes."""
    path, annotation = tmp_path / "corrections.csv", annotation_sha256(release.source)

    def answer(attribute="Hat", decision="flip", who="Ada", image=None, label=None, annotation=annotation):
        listing = release.splits["test"]
        a = release.schema.index(attribute) if attribute in release.schema.names else 0
        known = listing.labels[0, a] if label is None else label
        decide(path, annotation, image or listing.names[0], attribute, known, decision, who, "=why, indeed")
        return path

    return answer


def test_decisions_are_written_with_who_when_and_why_and_replace_ones_own(answer):
    answer(decision="keep")
    path = answer(decision="flip")
    table = read_corrections(path)
    assert list(table) == list(COLUMNS) and len(table) == 1
    assert list(table.iloc[0][["decision", "who", "why"]]) == ["flip", "Ada", "'=why, indeed"]
    assert table["when"][0][:2] == "20" and not list(path.parent.glob(".*"))
    answer("Trousers", "unknown")
    answer("Trousers", "unknown", who="Bob")
    assert list(read_corrections(path)["who"]) == ["Ada", "Ada", "Bob"]


def test_a_benchmark_is_read_with_them_and_says_so_once(rendered, release, answer):
    answer("Hat", "flip")
    answer("Female", "keep")
    path = answer("Trousers", "unknown")
    answer("Trousers", "unknown", who="Bob")  # agrees: counted once
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        part = load_benchmark("pa100k", rendered, "test", images=False, corrections=path)
    assert len(said) == 1 and "1 labels flipped, 1 made unknown, 1 kept" in str(said[0].message)
    assert "1 labels flipped" in part.info.description
    before, after = release.splits["test"].labels, labels_of(part)
    hat, trousers = (release.schema.index(name) for name in ("Hat", "Trousers"))
    assert after[0, hat] == 1 - before[0, hat] and after[0, trousers] == -1
    assert (after != before).sum() == 2 and (release.splits["test"].labels == before).all()


def test_folds_of_corrected_labels_warn_of_the_fold_too(rendered, answer, monkeypatch):
    with pytest.warns(UserWarning, match="1 labels flipped"):
        folds = read_release("pa100k", rendered, corrections=answer(), partition="fold0of5-seed0")
    monkeypatch.setattr(folds, "root", answer().parent)  # as if it were not rendered, where notes are no warnings
    with pytest.warns(UserWarning) as notes:
        folds.dataset("test", images=False)
    words = " ".join(str(note.message) for note in notes)
    assert "Partition fold0of5-seed0" in words and "flipped" not in words  # of which `read_release` has warned


def test_corrected_labels_are_not_official_and_compare_with_nothing_else(release, rendered, answer, monkeypatch):
    path = answer("Hat", "keep")  # no label changes, and still they were looked at
    with pytest.warns(UserWarning, match="are not those of the official ones"):
        corrected = read_release("pa100k", rendered, corrections=path)
    assert corrected.corrections["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for one in (release, corrected):  # as if they were the real files
        monkeypatch.setattr(one, "expected", {split: len(part.names) for split, part in one.splits.items()})
        monkeypatch.setattr(one, "root", path.parent)
    assert (release.kind, corrected.kind) == ("official", "other")
    about = {"benchmark": "pa100k", "kind": "other", "split": "test", "items_sha256": "a", "labels_sha256": "b"}
    labels, scores = np.array([[0], [1]]), np.array([[0.2], [0.9]])
    made = [
        make_record("head", {}, about | more, labels, scores, None, ["Hat"])
        for more in ({}, {"corrections": corrected.corrections})
    ]
    assert made[0]["comparable"] != made[1]["comparable"] and "corrections" not in comparison(made[0])


def test_what_does_not_fit_is_refused_with_its_row(rendered, answer, tmp_path):
    answer("Female", "keep")

    def refused(words, **cells):
        path = answer(**cells)
        with pytest.raises(BadInput, match=words) as error:
            read_release("pa100k", rendered, corrections=path)
        assert str(error.value).startswith(f"{path}: row 2")
        table = read_corrections(path)[:1]
        path.write_text(table.to_csv(index=False))

    refused("corrects image 'none.jpg', which .* does not have; remove the row", image="none.jpg")
    refused("corrects attribute 'Wings', which .* does not have; remove the row", attribute="Wings")
    refused("is for annotation 'abc', .*; take the release it was made for, or decide again", annotation="abc")
    refused("decides 'perhaps'; write keep, flip or unknown", decision="perhaps")
    refused("is about label 7, the release has .; decide again", label=7)
    refused(r"Bob decides flip on .* Female, row 1 \(Ada\) keep; agree on one", attribute="Female", who="Bob")
    (tmp_path / "other.csv").write_text("image,Hat\na.jpg,1\n")
    with pytest.raises(BadInput, match="no column attribute, label, decision"):
        read_release("pa100k", rendered, corrections=tmp_path / "other.csv")
    with pytest.raises(BadInput, match=r"no table at .*none\.csv"):
        read_release("pa100k", rendered, corrections=tmp_path / "none.csv")
