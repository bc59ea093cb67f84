"""What a head has to beat: probabilities (n, A) from less than a head.

`MLPProbe` and `MAPProbe` are modules with a head's call, so that `fit` trains and `predict` scores them as it does a
head, on the same features and with the same care.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from parlib.encode.encoder import Encoder
from parlib.encode.store import FeatureStore
from parlib.learn.inputs import Split


def constant(train_labels: np.ndarray, images: int) -> np.ndarray:
    """Every image gets each attribute's positive rate in train, whatever it shows. True mA: exactly 50."""
    labels = np.asarray(train_labels)
    rate = (labels == 1).sum(0) / np.maximum(1, (labels >= 0).sum(0))
    return np.tile(rate.astype(np.float32), (images, 1))


def zero_shot(
    encoder: Encoder,
    store: FeatureStore,
    prompts: Sequence[str] | Sequence[Sequence[str]],
    negatives: Sequence[str] | None = None,
) -> np.ndarray:
    """The checkpoint's own probability of each prompt: nothing is trained, no label is seen.

    An attribute may have several wordings, a list in the place of its prompt: a prompt ensemble, see `embeddings`.
    With `negatives`, phrases that say the attribute is absent, the probability is a softmax over the pair: of
    scale * (cosine with the prompt, cosine with its negative).
    """
    yes = embeddings(encoder, prompts)
    if negatives is None:
        return encoder.zero_shot(store.pooled, yes).cpu().numpy()
    images = F.normalize(store.pooled.to(encoder.device), dim=-1)  # (n, D)
    cosines = [images @ F.normalize(p.float(), dim=-1).T for p in (yes, encoder.encode_prompts(negatives).pooled)]
    return ((cosines[0] - cosines[1]) * encoder.model.logit_scale.float().exp()).sigmoid().cpu().numpy()


def embeddings(encoder: Encoder, prompts: Sequence[str] | Sequence[Sequence[str]]) -> torch.Tensor:
    """(A, D) of A prompts; of several wordings of one attribute (a list of str) the mean of the normalised ones."""
    alone = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(alone) == len(prompts):
        return encoder.encode_prompts(alone).pooled
    spoken = [encoder.encode_prompts(list(wordings)).pooled.float() for wordings in prompts]
    return torch.stack([F.normalize(each, dim=-1).mean(0) for each in spoken])


def linear_probe(
    train: Split | tuple[FeatureStore, np.ndarray], stores: Sequence[FeatureStore], C: float = 0.1
) -> list[np.ndarray]:
    """Logistic regression an attribute on pooled features.

    Args:
        train: `(FeatureStore, labels)`.
        stores: feature stores to predict for.
        C: inverse strength of the L2 penalty on standardised features (scikit-learn).

    Returns:
        One (n, A) array a store. An attribute with one answer only in train is predicted by its rate.
    """
    features, labels = train[0].pooled.numpy(), np.asarray(train[1])
    out = [constant(labels, len(store)) for store in stores]
    for a in range(labels.shape[1]):
        known = labels[:, a] >= 0
        if len(np.unique(labels[known, a])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            probe.fit(features[known], labels[known, a])
        for scores, store in zip(out, stores, strict=True):
            scores[:, a] = probe.predict_proba(store.pooled.numpy())[:, 1]
    return out


class MLPProbe(nn.Module):
    """Pooled feature -> LayerNorm -> a hidden layer -> one logit an attribute."""

    def __init__(self, prompts: Sequence[str], image_width: int, hidden: int = 4):
        super().__init__()
        self.prompts, self.temperature = prompts, 1.0
        self.layers = nn.Sequential(
            nn.LayerNorm(image_width),
            nn.Linear(image_width, hidden * image_width),
            nn.GELU(),
            nn.Linear(hidden * image_width, len(prompts)),
        )

    def forward(self, tokens: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features (B, D) -> logits (B, A)."""
        return self.layers(pooled)


class MAPProbe(nn.Module):
    """Attention pooling with one learned query an attribute and no text: what prompts as queries have to beat."""

    def __init__(self, prompts: Sequence[str], image_width: int, heads: int = 4):
        super().__init__()
        self.prompts, self.temperature = prompts, 1.0
        self.norm = nn.LayerNorm(image_width)
        self.query = nn.Parameter(torch.randn(len(prompts), image_width) * 0.02)
        self.attention = nn.MultiheadAttention(image_width, heads, batch_first=True)
        self.classifier = nn.Parameter(torch.randn(len(prompts), image_width) / image_width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(prompts)))

    def forward(self, tokens: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """Patch tokens (B, N, D) -> logits (B, A). A token that is exactly 0 is padding (NaFlex)."""
        x, padding = self.norm(tokens), (tokens == 0).all(-1)  # (B, N, D), (B, N)
        query = self.query.expand(len(x), -1, -1)  # (B, A, D)
        read = self.attention(query, x, x, key_padding_mask=padding, need_weights=False)[0]  # (B, A, D)
        return (F.layer_norm(read, read.shape[-1:]) * self.classifier).sum(-1) + self.bias


PROBES: dict[str, type[nn.Module]] = {"MLP probe": MLPProbe, "MAP probe": MAPProbe}
