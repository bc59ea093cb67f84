"""Scores of the nano encoder on rendered people that it was not trained on: the figures of its model card."""

import torch

from parlib.encode.prompts import load_prompts
from parlib.encode.store import InMemory
from parlib.learn.baselines import AttentiveProbe, linear_probe
from parlib.learn.train import TrainOptions, fit, predict
from parlib.measure.metrics import evaluate, tune_thresholds
from parlib.schema import schema
from pedsynth.nano import architecture
from pedsynth.nano.phrases import LANGUAGES
from pedsynth.nano.training import encode_texts, to_pixels

_PROBE = TrainOptions(epochs=8, batch_size=32, lr=2e-3, loss="bce", threads=1)


@torch.no_grad()
def features(model, renders, batch=250):
    """Patch tokens (N, 64, D) and pooled features (N, D) of `Renders`, not normalised."""
    chunks = [renders.images[i : i + batch] for i in range(0, len(renders), batch)]
    seen = [model.vision_model(pixel_values=to_pixels(chunk)) for chunk in chunks]
    return InMemory(torch.cat([each.last_hidden_state for each in seen]), torch.cat([e.pooler_output for e in seen]))


@torch.no_grad()
def zero_shot(model, tokenizer, pooled, prompts):
    """Probabilities (N, A) of prompts for images, by the model's own scale and bias."""
    text = model.text_model(input_ids=encode_texts(tokenizer, prompts)).pooler_output
    cosine = torch.nn.functional.normalize(pooled, dim=-1) @ torch.nn.functional.normalize(text, dim=-1).T
    return (cosine * model.logit_scale.exp() + model.logit_bias).sigmoid().double().numpy()


def measure(model, tokenizer, trees):
    """Scores of a model on rendered benchmarks.

    Args:
        trees: benchmark -> {train, val, test -> `Renders`}.

    Returns:
        dict for JSON: by benchmark the mA and mAP of zero-shot in each language, of the linear probe on the pooled
        feature and on the mean of the patches, and of the attentive probe; the first two for each attribute too. All at
        thresholds tuned on val, in percent.
    """
    model.eval()
    return {benchmark: _measure(model, tokenizer, benchmark, splits) for benchmark, splits in trees.items()}


def _measure(model, tokenizer, benchmark, splits):
    seen = {name: features(model, renders) for name, renders in splits.items()}
    means = {name: part.averaged() for name, part in seen.items()}
    names, labels = schema(benchmark).names, {name: renders.labels for name, renders in splits.items()}
    out = {"images": {name: len(renders) for name, renders in splits.items()}, "zero_shot": {}, "per_attribute": {}}
    for language in LANGUAGES:
        prompts = load_prompts(benchmark, language)
        scores = {name: zero_shot(model, tokenizer, seen[name].pooled, prompts) for name in ("val", "test")}
        result = tuned(splits, scores, names)
        out["zero_shot"][language] = percent(result)
        if language == "en":
            out["per_attribute"]["zero_shot"] = _table(result, names)
    torch.manual_seed(0)
    probe = AttentiveProbe(names, architecture.WIDTH)
    fit(probe, (seen["train"], labels["train"]), (seen["val"], labels["val"]), _PROBE)
    each = {
        "linear_probe": _linear(seen, labels["train"]),
        "linear_probe_patches": _linear(means, labels["train"]),
        "map_probe": {name: predict(probe, seen[name]) for name in ("val", "test")},
    }
    for method, scores in each.items():
        result = tuned(splits, scores, names)
        out[method] = percent(result)
        if method == "linear_probe":
            out["per_attribute"][method] = _table(result, names)
    return out


def _linear(features, labels):
    scores = linear_probe((features["train"], labels), [features["val"], features["test"]])
    return dict(zip(("val", "test"), scores, strict=True))


def tuned(splits, scores, names):
    """`evaluate` of the scores (N, A) of test, at thresholds tuned on those of val."""
    thresholds = tune_thresholds(splits["val"].labels, scores["val"])
    return evaluate(splits["test"].labels, scores["test"], thresholds, names=names)


def percent(result):
    """mA and mAP of an evaluation, in percent."""
    return {"mA": round(100 * result.mA, 2), "mAP": round(100 * result.mAP, 2)}


def _table(result, names):
    return {name: round(100 * float(value), 2) for name, value in zip(names, result.per_attribute["mA"], strict=True)}
