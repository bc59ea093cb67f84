"""The baselines: what a head has to beat, on the same features."""

import copy

import numpy as np
import pytest
import torch

from parlib import BadInput, load_encoder, load_prompts
from parlib.data import read_release
from parlib.learn.baselines import PROBES, constant, embeddings, knn, linear_probe, zero_shot
from parlib.learn.inputs import prepare
from parlib.learn.run import baseline_records
from parlib.learn.train import TrainOptions, fit, predict
from parlib.measure.metrics import evaluate


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
    linear = ["k-NN", "linear probe", "linear probe (patches)"]
    assert list(records) == ["constant predictor", *by_words, *linear, *PROBES]
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


def test_the_linear_probe_on_patches_is_that_on_their_mean(parts):
    _, (train, _, test) = parts
    (scores,) = linear_probe(train, [test.store], patches=True)
    mean = copy.copy(train.store), copy.copy(test.store)
    for store in mean:
        store.pooled = store[:].tokens.float().mean(1)
    np.testing.assert_allclose(scores, linear_probe((mean[0], train.labels), [mean[1]])[0], atol=1e-4)
    assert abs(scores - linear_probe(train, [test.store])[0]).max() > 0.01


def test_knn_is_the_weighted_share_of_yes_among_the_known_neighbours_and_k_is_chosen_on_val(parts, monkeypatch):
    def tried(*grid):
        monkeypatch.setattr("parlib.learn.baselines.NEIGHBOURS", grid)
        return knn

    _, (train, val, test) = parts
    labels = train.labels.copy()
    labels[:, 3], labels[::2, 4] = -1, -1
    (scores,), k = tried(3)((train.store, labels), val, [test.store])
    assert k == 3
    near = (
        torch.nn.functional.normalize(test.store.pooled, dim=-1)
        @ torch.nn.functional.normalize(train.store.pooled, dim=-1).T
    )
    for image in range(len(scores)):
        nearest = near[image].topk(3)
        for a in (0, 4):
            votes = [(v.exp(), labels[i, a]) for v, i in zip(nearest.values / 0.07, nearest.indices, strict=True)]
            known = sum(v for v, label in votes if label >= 0)
            want = sum(v for v, label in votes if label == 1) / known if known else constant(labels, 1)[0, a]
            assert scores[image, a] == pytest.approx(float(want), abs=1e-3)
    assert (scores[:, 3] == constant(labels, 1)[0, 3]).all()
    by_k = {k: evaluate(val.labels, tried(k)(train, val, [val.store])[0][0]).summary()["mAP"] for k in (1, 5, 20)}
    assert tried(1, 5, 20)(train, val, [])[1] == max(by_k, key=by_k.get)


def test_a_control_that_needs_patches_says_so_of_a_store_without(parts, rendered, tmp_path):
    encoder, _ = parts
    release = read_release("pa100k", rendered)
    train, val = (prepare(release, s, encoder, tmp_path, layout="pooled", progress=False) for s in ("train", "val"))
    with pytest.raises(BadInput, match=r"the mean of the patches needs patch tokens.*extract them again with"):
        linear_probe(train, [val.store], patches=True)
    for name in ("attentive probe", "efficient probe"):
        probe = PROBES[name](load_prompts("pa100k"), encoder.width)
        with pytest.raises(BadInput, match="Probe needs patch tokens"):
            fit(probe, train, val)
        with pytest.raises(BadInput, match="Probe needs patch tokens"):
            predict(probe, val.store)
    fit(PROBES["MLP probe"](load_prompts("pa100k"), encoder.width), train, val, TrainOptions(epochs=1, threads=1))
    assert np.isfinite(knn(train, val, [val.store])[0][0]).all()


def test_the_efficient_probe_equals_a_plain_loop_over_its_queries_and_skips_padding():
    torch.manual_seed(0)
    probe, x = PROBES["efficient probe"](["a", "b"], 16, queries=4), torch.randn(3, 9, 16)
    tokens, values = probe.norm(x), probe.value(probe.norm(x))
    read = [(tokens @ q / 4).softmax(1)[:, None] @ values[..., 4 * m : 4 * m + 4] for m, q in enumerate(probe.query)]
    want = probe.classifier(torch.cat(read, -1)[:, 0])
    torch.testing.assert_close(probe(x, None), want)
    torch.testing.assert_close(probe(torch.cat([x, torch.zeros(3, 5, 16)], 1), None), want)


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_trained_by_fit_and_learn(parts, name):
    encoder, (train, val, test) = parts
    torch.manual_seed(0)
    probe = PROBES[name](load_prompts("pa100k"), encoder.width)
    history = fit(probe, train, val, TrainOptions(epochs=4, batch_size=8, lr=2e-3, loss="bce", threads=1))
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    assert predict(probe, test.store).shape == test.labels.shape
