"""Baselines: predictors simpler than the fusion head, on the same features.

The probes are called like a head, so that `fit` trains them and `predict` scores them in the same way.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from parlib.encode.encoder import Encoder
from parlib.encode.store import FeatureStore
from parlib.learn.train import Data
from parlib.measure.metrics import evaluate, positive_rates

Prompts = Sequence[str] | Sequence[Sequence[str]]  # one phrase per attribute, or several wordings of each
NEIGHBOURS, SHARPNESS = (5, 10, 20, 50, 100), 0.07  # of `knn`


def constant(train_labels: np.ndarray, images: int) -> np.ndarray:
    """Each attribute's positive rate in train for every image, whatever it shows: (images, A). Its mA is exactly 50."""
    return np.tile(positive_rates(train_labels).astype(np.float32), (images, 1))


def zero_shot(
    encoder: Encoder, store: FeatureStore, prompts: Prompts, negatives: Sequence[str] | None = None
) -> np.ndarray:
    """The checkpoint's own probability of each prompt for each image, (n, A): nothing is trained, no label is used.

    With `negatives`, phrases that say the attribute is absent, it is a softmax over scale * cosine of the pair.
    """
    yes = embeddings(encoder, prompts)  # (A, D)
    if negatives is None:
        return encoder.zero_shot(store.pooled, yes).cpu().numpy()
    images = F.normalize(store.pooled.to(encoder.device), dim=-1)  # (n, D)
    with_yes, with_no = (images @ F.normalize(p.float(), dim=-1).T for p in (yes, embeddings(encoder, negatives)))
    return ((with_yes - with_no) * encoder.model.logit_scale.float().exp()).sigmoid().cpu().numpy()  # (n, A)


def embeddings(encoder: Encoder, prompts: Prompts) -> Tensor:
    """Pooled prompts (A, D); where an attribute has several wordings, the mean of their normalised embeddings."""
    if all(isinstance(prompt, str) for prompt in prompts):
        return encoder.encode_prompts(prompts).pooled  # type: ignore[arg-type]
    wordings = [encoder.encode_prompts(each).pooled.float() for each in prompts]  # A of (wordings, D)
    return torch.stack([F.normalize(each, dim=-1).mean(0) for each in wordings])


def logistic_probe(C: float = 0.1) -> Pipeline:
    """Logistic regression on standardised features; C is the inverse strength of the L2 penalty."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500))


def linear_probe(
    train: Data, stores: Sequence[FeatureStore], C: float = 0.1, patches: bool = False
) -> list[np.ndarray]:
    """Logistic regression per attribute on standardised pooled features: probabilities (n, A) for each of the stores.

    `patches` takes the mean of the patch tokens instead. Unknown labels (-1) are left out; an attribute with a single
    answer in train is predicted by its rate. C is the inverse strength of the L2 penalty.
    """
    store, labels = train
    store, *stores = (one.averaged() if patches else one for one in (store, *stores))
    features, out = store.pooled.numpy(), [constant(labels, len(one)) for one in stores]
    for a in range(labels.shape[1]):
        known = labels[:, a] >= 0
        if len(np.unique(labels[known, a])) < 2:
            continue
        probe = logistic_probe(C)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            probe.fit(features[known], labels[known, a])
        for scores, one in zip(out, stores, strict=True):
            scores[:, a] = probe.predict_proba(one.pooled.numpy())[:, 1]
    return out


def knn(train: Data, val: Data, stores: Sequence[FeatureStore]) -> tuple[list[np.ndarray], int]:
    """Weighted votes of the k nearest training images by cosine of pooled features, as DINO's (ICCV 2021, section 4.1).

    Returns probabilities (n, A) for each of the stores, and k: the one of `NEIGHBOURS` with the best mAP on val. A vote
    weighs exp(cosine / `SHARPNESS`); unknown labels (-1) have none, and where all are unknown the rate is given.
    """
    (store, labels), (val_store, val_labels) = train, val
    index = NearestNeighbors(metric="cosine").fit(store.pooled.numpy())

    def votes(one, sizes):
        distance, nearest = index.kneighbors(one.pooled.numpy(), sizes[-1])  # (n, k), ascending
        weight = np.exp(-distance / SHARPNESS)[..., None]  # (n, k, 1); up to a factor that the share cancels
        out = np.tile(constant(labels, 1), (len(sizes), len(one), 1))  # (sizes, n, A)
        for row, (w, y) in enumerate(zip(weight, nearest, strict=True)):
            known, yes = ((w * found).cumsum(0)[np.subtract(sizes, 1)] for found in (labels[y] >= 0, labels[y] == 1))
            np.divide(yes, known, out=out[:, row], where=known > 0)  # (sizes, A)
        return out

    sizes = sorted({min(k, len(store)) for k in NEIGHBOURS})
    best = [evaluate(np.asarray(val_labels), scores).mAP for scores in votes(val_store, sizes)]
    k = sizes[int(np.argmax(best))]
    return [votes(one, [k])[0] for one in stores], k


class MLPProbe(nn.Module):
    """Pooled feature -> LayerNorm -> a hidden layer -> one logit per attribute."""

    def __init__(self, names: Sequence[str], image_width: int, hidden: int = 4):
        super().__init__()
        self.names, self.temperature = list(names), 1.0
        widen, narrow = nn.Linear(image_width, hidden * image_width), nn.Linear(hidden * image_width, len(names))
        self.layers = nn.Sequential(nn.LayerNorm(image_width), widen, nn.GELU(), narrow)

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Pooled features (B, D) -> logits (B, A)."""
        return self.layers(pooled)


class AttentiveProbe(nn.Module):
    """Attention pooling with one learned query per attribute and no text: shows what prompts as queries add."""

    reads_patches = True

    def __init__(self, names: Sequence[str], image_width: int, heads: int = 4):
        super().__init__()
        self.names, self.temperature = list(names), 1.0
        self.norm = nn.LayerNorm(image_width)
        self.query = nn.Parameter(torch.randn(len(names), image_width) * 0.02)
        self.attention = nn.MultiheadAttention(image_width, heads, batch_first=True)
        self.classifier = nn.Parameter(torch.randn(len(names), image_width) / image_width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(names)))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Patch tokens (B, N, D) -> logits (B, A). A token that is exactly 0 is padding (NaFlex)."""
        x, padding = self.norm(tokens), (tokens == 0).all(-1)  # (B, N, D), (B, N)
        query = self.query.expand(len(x), -1, -1)  # (B, A, D)
        read = self.attention(query, x, x, key_padding_mask=padding, need_weights=False)[0]  # (B, A, D)
        return (F.layer_norm(read, read.shape[-1:]) * self.classifier).sum(-1) + self.bias  # (B, A)


class EfficientProbe(nn.Module):
    """Efficient probing (ICLR 2026, arXiv 2506.10178): learned queries pool the patches, one linear classifier reads.

    Each of M queries attends to the patches themselves (no key projection) and reads its own D / M columns of their
    values. All that the prompt-query head has but the words.
    """

    reads_patches = True

    def __init__(self, names: Sequence[str], image_width: int, queries: int = 32):
        super().__init__()
        self.names, self.temperature = list(names), 1.0
        self.norm = nn.LayerNorm(image_width)
        self.query = nn.Parameter(torch.randn(math.gcd(queries, image_width), image_width) * 0.02)
        self.value = nn.Linear(image_width, image_width, bias=False)
        self.classifier = nn.Sequential(nn.LayerNorm(image_width), nn.Linear(image_width, len(names)))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Patch tokens (B, N, D) -> logits (B, A). A token that is exactly 0 is padding (NaFlex)."""
        x, padding = self.norm(tokens), (tokens == 0).all(-1)  # (B, N, D), (B, N)
        scores = self.query @ x.mT / x.shape[-1] ** 0.5  # (M, D) x (B, D, N) -> (B, M, N)
        weights = scores.masked_fill(padding[:, None], -math.inf).softmax(-1)  # (B, M, N)
        values = self.value(x).unflatten(-1, (len(self.query), -1))  # (B, N, M, D / M)
        return self.classifier(torch.einsum("bmn,bnmd->bmd", weights, values).flatten(1))  # (B, A)


PROBES = {"MLP probe": MLPProbe, "attentive probe": AttentiveProbe, "efficient probe": EfficientProbe}
