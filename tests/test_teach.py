"""Teaching an attribute: what is asked next, what is learned, the explorer's keys, and links between explorers."""

import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from parlib.data import labels_of
from parlib.schema import schema
from parlib.show.explorers import AttributeExplorer, DatasetExplorer, ErrorExplorer, MapExplorer, TeachExplorer, link
from parlib.use.attributes import Lesson
from parlib.use.model import load

PA100K = schema("pa100k")


@pytest.fixture
def places(parts, stores, encoder):
    return MapExplorer(parts, PA100K, stores, encoder=encoder, layout="pca")


@pytest.fixture
def teach(places, tmp_path):
    return TeachExplorer(places, load("nano-pa100k"), tmp_path)


def clusters(encoder, n=2000):
    """Features (n, D) at length 1 of which every fifth lies apart, and which do."""
    truth = np.arange(n) % 5 == 0
    draws = torch.randn(n, encoder.width, generator=torch.Generator().manual_seed(0))
    draws[:, 0] += torch.from_numpy(np.where(truth, 4.0, -4.0)).float()
    return F.normalize(draws, dim=1), truth


def test_what_is_asked_is_what_helps_and_the_answers_are_learned(encoder):
    pooled, truth = clusters(encoder)
    lesson = Lesson(encoder, pooled, np.arange(len(pooled)) >= 100)
    lesson.learn("apart")
    assert lesson.attribute is None and lesson.scores is None
    assert sorted(lesson.next()) == list(range(100, 2000)) and list(lesson.next()[:3]) != [100, 101, 102]
    for _ in range(30):
        row = lesson.next()[0]
        assert lesson.marks[row] < 0 and row >= 100
        lesson.marks[row] = truth[row]
        lesson.learn("apart")
    doubt = abs(lesson.scores[lesson.next()] - lesson.attribute.threshold)
    assert (np.diff(doubt) >= 0).all()
    assert lesson.attribute.how.startswith("learned from 30 labels (")
    assert ((lesson.scores > lesson.attribute.threshold) == truth)[:100].mean() > 0.9


def test_before_both_answers_are_known_a_phrase_finds_the_missing_one(encoder):
    pooled, _ = clusters(encoder, 50)
    lesson = Lesson(encoder, pooled)
    lesson.learn("hat", ("a person with a hat",))
    assert lesson.next()[0] == lesson.scores.argmax() and lesson.attribute.how == "zero-shot"
    lesson.marks[lesson.next()[:2]] = 1
    lesson.learn("hat", ("a person with a hat",))
    assert lesson.next()[0] == lesson.scores.argmin()


@pytest.mark.parametrize("n", [1_000, 10_000])
def test_learning_and_scoring_take_less_than_a_second_of_a_processor(encoder, n):
    pooled, truth = clusters(encoder, n)
    lesson = Lesson(encoder, pooled)
    lesson.marks[:60] = truth[:60]
    lesson.learn("apart")  # the first call imports
    start = time.process_time()  # others may keep the machine busy
    lesson.learn("apart", ("a person apart",))
    assert len(lesson.scores) == n and time.process_time() - start < 1 and lesson.seconds > 0


def test_the_explorer_marks_takes_back_and_never_asks_about_test(teach, places):
    assert set(places.table["split"].iloc[teach.queue()]) == {"val"}
    first, second = teach.queue()[:2]
    teach.buttons["yes"].click()
    assert teach.lesson.marks[first] == 1 and teach.queue()[0] == second
    teach.buttons["skip"].click()
    assert teach.lesson.marks[second] == -1 and second not in teach.queue()
    teach.buttons["back"].click()
    teach.buttons["back"].click()
    assert list(teach.queue()[:2]) == [first, second] and (teach.lesson.marks == -1).all()
    teach.buttons["back"].click()
    assert teach.message.value == ""


def test_a_selection_of_the_map_is_marked_at_once_and_the_map_shows_what_is_learned(teach, places):
    teach.buttons["map"].click()
    assert "Nothing is learned yet" in teach.message.value
    labels = places.labels[:, PA100K.index("Trousers")]
    for answer in (1, 0):
        rows = np.flatnonzero(labels == answer)[:6]
        places.select(rows)
        assert list(teach.queue()[:6]) == list(rows) and "those selected on the map first" in teach.pictures.value
        teach.buttons["all yes" if answer else "all no"].click()
        assert (teach.lesson.marks[rows] == answer).all()
    teach.buttons["all no"].click()
    assert "No image is selected on the map and not marked" in teach.message.value
    assert "learned from 12 labels (6 yes)" in teach.pictures.value
    teach.name.value = "long trousers"
    teach.buttons["map"].click()
    assert places.colour.value == "long trousers"
    assert places.scatter.color_data.to_numpy() == pytest.approx(teach.lesson.scores)
    teach.compare.value = "Trousers"
    assert f"by its labels of Trousers: {100 * teach.average_precision():.1f} %" in teach.pictures.value


def test_an_attribute_is_saved_with_the_model_or_a_message_says_why_not(teach, tmp_path):
    teach.save.click()
    assert "Nothing is learned yet" in teach.message.value
    teach.phrase.value = "a person with a red <b>bag</b>"
    teach.name.value = " "
    assert "Name the attribute first" in teach.message.value
    teach.name.value = "Hat"
    teach.save.click()
    assert "Hat" in teach.message.value and not list(tmp_path.iterdir()), "the model has a hat of its own"
    teach.name.value = "red bag/<i>"
    teach.save.click()
    model = load(tmp_path / "red-bag-i-")
    assert model.names[-1] == "red bag/<i>" and "27 attributes" in teach.message.value
    assert "<i>" not in teach.pictures.value and "<i>" not in teach.message.value


def test_pictures_groups_and_errors_open_in_other_explorers(encoder, parts, places):
    labels = {split: labels_of(part) for split, part in parts.items()}
    one = AttributeExplorer(encoder, PA100K, parts["test"], labels["test"])
    data = DatasetExplorer(parts, PA100K)
    errors = ErrorExplorer(PA100K, parts["test"], labels["test"], np.full((24, 26), 0.9))
    errors.opened.value = "image\ttest\t3"
    assert "Nothing is linked" in errors.message.value
    link([one, data, errors, places], parts, labels)
    errors.attribute.value = "Hat"
    assert f'data-open="image\ttest\t{errors.errors()[0]}\tHat"' in errors.pictures.value
    errors.opened.value = "image\ttest\t3\tHat"
    assert one.image.value == 3 and one.attribute.value == "Hat" and errors.opened.value == ""
    data.opened.value = "image\tval\t5"
    assert parts["val"][5]["image_id"] in one.crop.value and list(one.truth) == list(labels["val"][5])
    places.opened.value = "image\ttest\t3"
    assert parts["test"][3]["image_id"] in one.crop.value, "also where the slider stood there before"
    errors.opened.value = "has\tBackpack"
    assert (data.columns[data.rows, PA100K.index("Backpack")] == 1).all() and "● Backpack" in data.counts.value
    errors.to_map.click()
    assert sorted(places.selection["row"]) == sorted(errors.errors()) and set(places.selection["split"]) == {"test"}
    assert places.attribute.value == "Hat"
