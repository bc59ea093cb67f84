"""An `open` head asked for attributes that it never saw."""

import numpy as np
import pytest

from parlib import BadInput, load_encoder
from parlib.data import read_release
from parlib.learn.inputs import prepare
from parlib.learn.methods import new_head
from parlib.learn.train import TrainOptions, fit
from parlib.learn.unseen import only, unseen_table
from parlib.use.model import Model

LEFT_OUT = ["Hat", "Backpack", "Female"]


@pytest.fixture(scope="module")
def trained(rendered, tmp_path_factory):
    encoder, cache = load_encoder("nano"), tmp_path_factory.mktemp("cache")
    release = read_release("pa100k", rendered)
    train, val, test = (prepare(release, s, encoder, cache, progress=False) for s in ("train", "val", "test"))
    names = [name for name in train.schema.names if name not in LEFT_OUT]
    seen = only(train, names)
    head = new_head(seen.schema, encoder, 0, preset="recommended", open=True)
    fit(head, seen, only(val, names), TrainOptions(epochs=1, batch_size=8, threads=1))
    return encoder, head, test


def test_attributes_left_out_are_scored_by_their_prompts_with_paired_intervals(trained):
    encoder, head, test = trained
    assert not set(LEFT_OUT) & set(head.names)
    table = unseen_table(head, encoder, only(test, LEFT_OUT), resamples=50)
    assert list(table.index) == ["open head", "zero-shot", "shuffled words"]
    others = table.drop("open head")
    np.testing.assert_allclose(others["difference"], table.loc["open head", "mAP"] - others["mAP"])
    assert (others["low"] <= others["difference"]).all() and (others["difference"] <= others["high"]).all()
    assert table.loc["shuffled words", "mAP"] != table.loc["open head", "mAP"]


def test_what_the_head_was_trained_for_is_not_unseen(trained):
    encoder, head, test = trained
    with pytest.raises(BadInput, match="nothing unseen to score in 'pa100k'"):
        unseen_table(head, encoder, test)
    with pytest.raises(BadInput, match="two attributes or more"):
        unseen_table(head, encoder, only(test, LEFT_OUT[:1]))


def test_a_phrase_stays_zero_shot_where_the_head_is_open(trained):
    """Measured better than the open head on attributes that it never saw (notebook 3)."""
    encoder, head, _ = trained
    more = Model(encoder, head).with_phrases({"coat": "a person in a red coat"})
    assert more.names == [*head.names, "coat"] and more.new_attributes[0].how == "zero-shot"
