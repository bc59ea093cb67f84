"""Baselines: predictors simpler than the fusion head, on the same features.

`MLPProbe` and `MAPProbe` are called like a head, so that `fit` trains them and `predict` scores them in the same way.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from parlib.encode.encoder import Encoder
from parlib.encode.store import FeatureStore
from parlib.learn.train import Data
from parlib.measure.metrics import positive_rates

Prompts = Sequence[str] | Sequence[Sequence[str]]  # one phrase per attribute, or several wordings of each


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


def linear_probe(train: Data, stores: Sequence[FeatureStore], C: float = 0.1) -> list[np.ndarray]:
    """Logistic regression per attribute on standardised pooled features: probabilities (n, A) for each of the stores.

    Unknown labels (-1) are left out; an attribute with a single answer in train is predicted by its rate. C is the
    inverse strength of the L2 penalty.
    """
    store, labels = train
    features, out = store.pooled.numpy(), [constant(labels, len(one)) for one in stores]
    for a in range(labels.shape[1]):
        known = labels[:, a] >= 0
        if len(np.unique(labels[known, a])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            probe.fit(features[known], labels[known, a])
        for scores, one in zip(out, stores, strict=True):
            scores[:, a] = probe.predict_proba(one.pooled.numpy())[:, 1]
    return out


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


class MAPProbe(nn.Module):
    """Attention pooling with one learned query per attribute and no text: shows what prompts as queries add."""

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


PROBES: dict[str, type[nn.Module]] = {"MLP probe": MLPProbe, "MAP probe": MAPProbe}
