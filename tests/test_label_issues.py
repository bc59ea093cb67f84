"""Labels flipped on purpose are found by a probe that has not seen their person, and decided in the explorer."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from parlib.data import load_benchmark, read_release
from parlib.data.corrections import read_corrections
from parlib.errors import BadInput
from parlib.learn.inputs import Split
from parlib.learn.label_issues import label_issues
from parlib.schema import Attribute, Schema, schema
from parlib.show.explorers import LabelExplorer

RNG = np.random.default_rng(0)


@dataclass
class Store:
    pooled: torch.Tensor

    def __len__(self):
        return len(self.pooled)


def split(labels, features, identity=None):
    about = {"split": "train"}
    target = Schema("own", tuple(Attribute(f"a{i}", "it is there") for i in range(labels.shape[1])))
    return Split(Store(torch.tensor(features, dtype=torch.float32)), labels.astype(np.int8), about, target, identity)


@pytest.fixture(scope="module")
def flipped():
    """600 images of attributes that features tell, 5 % of whose labels are wrong."""
    features = RNG.normal(size=(600, 8))
    truth = (features[:, :2] > [0, 1]).astype(int)
    wrong = RNG.random(truth.shape) < 0.05
    return split(np.where(wrong, 1 - truth, truth), features), wrong


def test_flipped_labels_are_ranked_first(flipped):
    part, wrong = flipped
    table = label_issues(part)
    for a, name in enumerate(part.schema.names):
        one = table[table["attribute"] == name]
        assert sorted(one["row"]) == list(range(600)) and one["quality"].is_monotonic_increasing
        hit = wrong[one["row"], a]
        assert hit[: hit.sum()].mean() > 0.6, "chance is 0.05"
        assert hit[one["issue"].to_numpy()].mean() > 0.6 and hit[one["issue"].to_numpy()].sum() > 0.6 * hit.sum()
    assert np.allclose(table["quality"], np.where(table["label"] == 1, table["score"], 1 - table["score"]))


def test_a_person_is_never_in_training_and_test():
    """Features that only name the person tell nothing of another person: 20 images of each have the same label."""
    people = np.repeat(np.arange(30), 20)
    labels = (people % 2)[:, None]
    part = split(labels, 5 * np.eye(30)[people], people.astype(str).tolist())
    table = label_issues(part)
    assert (table["quality"] > 0.9).mean() < 0.1 and (table["agree"] == 1).all()
    part.identity = None
    alone = label_issues(part)
    assert (alone["quality"] > 0.9).mean() > 0.9 and alone["agree"].isna().all()


def test_other_labels_of_a_person_agree_or_not(flipped):
    part, _ = flipped
    labels = part.labels.copy()
    labels[:4, 0], labels[4, 0] = [1, 1, 0, -1], 0
    who = [str(max(3, i)) for i in range(600)]  # 0 to 3 are one person
    table = label_issues(Split(part.store, labels, part.about, part.schema, who), ["a0"]).set_index("row")
    assert list(table.loc[[0, 1, 2], "agree"]) == [0.5, 0.5, 0] and np.isnan(table.loc[4, "agree"])
    assert 3 not in table.index, "an unknown label is not wrong"


def test_what_is_too_rare_is_named(flipped, monkeypatch):
    part, _ = flipped
    labels = np.column_stack([part.labels, np.zeros(600), np.eye(600)[0]])
    rare = split(labels, part.store.pooled.numpy())
    with pytest.warns(UserWarning, match="2 attributes are left out, too rare to be scored: a2, a3"):
        assert set(label_issues(rare)["attribute"]) == {"a0", "a1"}
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(BadInput, match="wrong labels are found by cleanlab: pip install"):
        label_issues(rare)


@pytest.fixture
def explorer(rendered, tmp_path):
    release = read_release("pa100k", rendered)
    listing = release.splits["train"]
    store = SimpleNamespace(pooled=torch.tensor(RNG.normal(size=(40, 4)), dtype=torch.float32))
    part = Split(store, listing.labels, {"split": "train"}, schema("pa100k"))
    return LabelExplorer(release, part, load_benchmark("pa100k", rendered, "train"), tmp_path / "corrections.csv")


def test_decisions_go_to_the_file_and_are_found_again(explorer, rendered):
    explorer.who.value, explorer.why.value = "Ada  Byron", "a hood"
    first = explorer.issues().iloc[0]
    assert "Rank 1 of 40" in explorer.pictures.value and f"{first['image']}: " in explorer.pictures.value
    explorer.buttons["flip"].click()
    explorer.buttons["unknown"].click()
    saved = read_corrections(explorer.path)
    assert list(saved["decision"]) == ["flip", "unknown"] and set(saved["why"]) == {"a hood"}
    assert explorer.rank.value == 3 and "2 decided" in explorer.pictures.value
    explorer.buttons["back"].click()
    assert "You decided: unknown" in explorer.pictures.value
    with pytest.warns(UserWarning, match="1 labels flipped, 1 made unknown, 0 kept"):
        read_release("pa100k", rendered, corrections=explorer.path)
    again = LabelExplorer(explorer.release, explorer.split, explorer.dataset, explorer.path)
    again.who.value = " Ada  Byron "
    again.attribute.value = "Backpack"
    again.attribute.value = "Female"
    assert again.rank.value == 3, "it goes on at the first that is not decided"


def test_nobody_decides_nothing_and_too_rare_is_a_message(explorer):
    explorer.who.value = " "
    explorer.buttons["keep"].click()
    assert "who decides" in explorer.message.value and not explorer.path.exists()
    explorer.split.labels[:, explorer.split.schema.index("Hat")] = 0
    explorer.attribute.value = "Hat"
    assert "Hat is too rare in train" in explorer.message.value
    explorer.attribute.value = "Female"
    explorer.path.write_text("not,a,table\n")
    explorer.who.value = "Ada"
    explorer.buttons["keep"].click()
    assert "no column" in explorer.message.value
