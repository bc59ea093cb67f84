"""The baselines: what a head has to beat, on the same features."""

import numpy as np
import pytest
import torch

from parlib import load_encoder, load_prompts
from parlib.data import read_release
from parlib.learn.baselines import PROBES, constant, embeddings, linear_probe, zero_shot
from parlib.learn.inputs import prepare
from parlib.learn.run import baseline_records
from parlib.learn.train import TrainOptions, fit, predict


@pytest.fixture(scope="module")
def parts(rendered, tmp_path_factory):
    encoder, cache = load_encoder("nano"), tmp_path_factory.mktemp("cache")
    release = read_release("pa100k", rendered)
    return encoder, [prepare(release, s, encoder, cache, progress=False) for s in ("train", "val", "test")]


def test_an_ensemble_is_the_mean_of_normalised_embeddings():
    encoder = load_encoder("nano")
    each = torch.nn.functional.normalize(encoder.encode_prompts(["a bag", "una bolsa"]).pooled, dim=-1)
    torch.testing.assert_close(embeddings(encoder, [["a hat"], ["a bag", "una bolsa"]])[1], each.mean(0))
    plain = encoder.encode_prompts(["a hat", "a bag"]).pooled
    torch.testing.assert_close(embeddings(encoder, ["a hat", "a bag"]), plain)


def test_constant_is_the_rate_among_known_labels():
    labels = np.array([[1, -1], [0, -1], [1, 0], [-1, 1]])
    assert constant(labels, 2).tolist() == pytest.approx(np.array([[2 / 3, 0.5]] * 2))


def test_every_baseline_gives_a_record_and_the_constant_scores_exactly_50(parts):
    encoder, splits = parts
    options = TrainOptions(epochs=1, threads=1)
    records = {r["method"]: r for r in baseline_records(*splits, encoder, "en,zh", options=options)}
    by_words = ["zero-shot ensemble", "zero-shot", "zero-shot pair"]
    assert list(records) == ["constant predictor", *by_words, "linear probe", "MLP probe", "MAP probe"]
    assert records["zero-shot ensemble"]["scores"] != records["zero-shot"]["scores"]
    assert records["constant predictor"]["scores"]["mA"] == records["constant predictor"]["tuned"]["mA"] == 0.5
    assert all(len(record["tuned"]["thresholds"]) == 26 for record in records.values())


def test_zero_shot_of_a_pair_is_the_softmax_over_the_pair(parts):
    encoder, (_, _, test) = parts
    prompts, negatives = (load_prompts("pa100k", negative=no) for no in (False, True))
    normal = torch.nn.functional.normalize
    images = normal(test.store.pooled, dim=-1)
    texts = [normal(encoder.encode_prompts(p).pooled, dim=-1) for p in (prompts, negatives)]
    logits = torch.stack([images @ t.T for t in texts], -1) * encoder.model.logit_scale.exp()
    want = logits.softmax(-1)[..., 0].detach().numpy()
    np.testing.assert_allclose(zero_shot(encoder, test.store, prompts, negatives), want, atol=1e-5)


def test_linear_probe_predicts_the_rate_where_train_has_one_answer(parts):
    _, (train, _, test) = parts
    labels = train.labels.copy()
    labels[:, 3], labels[:, 4] = 0, -1
    (scores,) = linear_probe((train.store, labels), [test.store])
    assert (scores[:, 3] == 0).all() and (scores[:, 4] == 0).all()
    assert scores[:, 0].std() > 0 and (scores >= 0).all() and (scores <= 1).all()


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_trained_by_fit_and_learn(parts, name):
    encoder, (train, val, test) = parts
    torch.manual_seed(0)
    probe = PROBES[name](load_prompts("pa100k"), encoder.width)
    history = fit(probe, train, val, TrainOptions(epochs=4, batch_size=8, lr=2e-3, loss="bce", threads=1))
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    assert predict(probe, test.store).shape == test.labels.shape
