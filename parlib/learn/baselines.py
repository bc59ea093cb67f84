"""What a head has to beat: probabilities (n, A) from less than a head."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def constant(train_labels, images):
    """Every image gets each attribute's positive rate in train, whatever it shows. True mA: exactly 50."""
    labels = np.asarray(train_labels)
    rate = (labels == 1).sum(0) / np.maximum(1, (labels >= 0).sum(0))
    return np.tile(rate.astype(np.float32), (images, 1))


def zero_shot(encoder, store, prompts):
    """The checkpoint's own probability of each prompt: nothing is trained, no label is seen."""
    return encoder.zero_shot(store.pooled, encoder.encode_prompts(prompts).pooled).cpu().numpy()


def linear_probe(train, stores, C=0.1):
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
        probe.fit(features[known], labels[known, a])
        for scores, store in zip(out, stores, strict=True):
            scores[:, a] = probe.predict_proba(store.pooled.numpy())[:, 1]
    return out
