"""Records that others sent hold what records/contributed/README.md asks for, and stand up."""

from pathlib import Path

import numpy as np
import pytest

from parlib.measure import records
from parlib.measure.records import findings, make_record, read_records, write_record

CONTRIBUTED = Path(__file__).parents[1] / "records" / "contributed"
FILES = ("record.json", "record.npz", "log.txt", "command.txt")


def problems(folder):
    """What keeps a contributed folder from being taken, one line each."""
    missing = [f"{folder.name} has no {name}" for name in FILES if not (folder / name).is_file()]
    empty = [f"{folder.name}: {name} is empty" for name in FILES[2:] if not missing and not (folder / name).read_text()]
    return missing or empty or findings(read_records(folder / "record.json")[0])


def test_every_contributed_record_stands_up():
    folders = [path for path in CONTRIBUTED.iterdir() if path.is_dir()]
    assert {folder.name: problems(folder) for folder in folders} == {folder.name: [] for folder in folders}


def test_the_readme_names_every_file_that_is_asked_for():
    text = (CONTRIBUTED / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_without_one_of_its_files_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(records, "_intervals", lambda *args, **options: {})
    data = {"benchmark": "pa100k", "kind": "official", "split": "test", "items_sha256": "a", "labels_sha256": "b"}
    labels = np.eye(4, dtype=int)
    made = make_record("mine", {"encoder": "none"}, data, labels, labels / 2, None, list("abcd"))
    write_record(made, tmp_path / "record.json")
    for text in FILES[2:]:
        (tmp_path / text).write_text("parlib reproduce\n")
    assert problems(tmp_path) == []
    (tmp_path / name).unlink()
    assert problems(tmp_path) == [f"{tmp_path.name} has no {name}"]
