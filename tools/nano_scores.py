"""Scores of the nano encoder on rendered people that it was not trained on: the figures of its model card."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parlib.encode.prompts import load_prompts
from parlib.measure.metrics import evaluate, tune_thresholds
from parlib.schema import schema
from pedsynth.nano.phrases import LANGUAGES
from pedsynth.nano.training import encode_texts, to_pixels


@torch.no_grad()
def image_features(model, renders, batch=250):
    """Pooled features (N, D) of `Renders`, not normalised."""
    chunks = [renders.images[i : i + batch] for i in range(0, len(renders), batch)]
    return torch.cat([model.vision_model(pixel_values=to_pixels(chunk)).pooler_output for chunk in chunks]).float()


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
        dict for JSON: by benchmark the mA and mAP of zero-shot in each language and of the linear probe, and both for
        each attribute, all at thresholds tuned on val, in percent.
    """
    model.eval()
    return {benchmark: _measure(model, tokenizer, benchmark, splits) for benchmark, splits in trees.items()}


def _measure(model, tokenizer, benchmark, splits):
    pooled = {name: image_features(model, renders) for name, renders in splits.items()}
    names = schema(benchmark).names
    out = {"images": {name: len(renders) for name, renders in splits.items()}, "zero_shot": {}, "per_attribute": {}}
    for language in LANGUAGES:
        prompts = load_prompts(benchmark, language)
        scores = {name: zero_shot(model, tokenizer, pooled[name], prompts) for name in ("val", "test")}
        result = tuned(splits, scores, names)
        out["zero_shot"][language] = _percent(result)
        if language == "en":
            out["per_attribute"]["zero_shot"] = _table(result, names)
    result = tuned(splits, _probe(pooled, splits["train"].labels), names)
    out["linear_probe"] = _percent(result)
    out["per_attribute"]["linear_probe"] = _table(result, names)
    return out


def tuned(splits, scores, names):
    thresholds = tune_thresholds(splits["val"].labels, scores["val"])
    return evaluate(splits["test"].labels, scores["test"], thresholds, names=names)


def _probe(pooled, labels):
    """One logistic regression per attribute on standardised pooled features; a constant if train has one class."""
    scores = {name: np.zeros((len(pooled[name]), labels.shape[1])) for name in ("val", "test")}
    for a in range(labels.shape[1]):
        if 0 < labels[:, a].sum() < len(labels):
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
            probe.fit(pooled["train"].numpy(), labels[:, a])
            for name in scores:
                scores[name][:, a] = probe.predict_proba(pooled[name].numpy())[:, 1]
    return scores


def _percent(result):
    return {"mA": round(100 * result.mA, 2), "mAP": round(100 * result.mAP, 2)}


def _table(result, names):
    return {name: round(100 * float(value), 2) for name, value in zip(names, result.per_attribute["mA"], strict=True)}
