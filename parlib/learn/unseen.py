"""Attributes that a head was never trained for: how well an `open` head ranks images by their prompts alone."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from parlib.encode.encoder import Encoder, PromptFeatures
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.files import digest
from parlib.learn.baselines import zero_shot
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import Split
from parlib.learn.train import predict
from parlib.measure.bootstrap import bootstrap
from parlib.measure.metrics import evaluate


def only(split: Split, names: Sequence[str]) -> Split:
    """A split with some of its attributes; with those left in train, `fit` never sees the others."""
    schema = split.schema.subset(split.schema.name, names)
    labels = split.labels[:, [split.schema.index(name) for name in names]]
    return replace(split, labels=labels, schema=schema, about={**split.about, "labels_sha256": digest(labels.tolist())})


def unseen_table(
    head: VLMPARHead, encoder: Encoder, test: Split, language: str = "en", resamples: int = 1000
) -> pd.DataFrame:
    """Mean average precision of an `open` head on attributes it was not trained for, against what it has to beat.

    Args:
        head: trained on other attributes, or on another benchmark (its images are not those of `test` either).
        test: with two attributes or more, none of them known to the head by its prompt.
        language: of the prompts, those of zero-shot too.

    Returns:
        DataFrame, one row per way of asking: `open head`, `zero-shot` (the encoder alone), `shuffled words` (the head
        with the prompt of another of these attributes). Columns: `mAP`; `difference` (the open head's mAP minus that
        of the row), with `low` and `high`, its paired 95 % interval over draws of images, of people where known.
    """
    prompts = load_prompts(test.schema, language)
    known = sorted(set(prompts) & set(head.prompts))
    if known or len(prompts) < 2:
        why = f"the head was trained with {', '.join(known)}" if known else "two attributes or more are needed"
        raise BadInput(f"nothing unseen to score in {test.schema.name!r}: {why}; leave them out with `only`")
    features = encoder.encode_prompts(prompts)

    def answers(words):
        return predict(head.for_prompts(words, test.schema, prompts), test.store)

    scores = {
        "open head": answers(features),
        "zero-shot": zero_shot(encoder, test.store, prompts),
        "shuffled words": answers(PromptFeatures(*(part.roll(1, 0) for part in features))),
    }
    rows = {name: {"mAP": evaluate(test.labels, each).mAP} for name, each in scores.items()}
    for name in ("zero-shot", "shuffled words"):
        both = scores["open head"], scores[name]
        gain = bootstrap(test.labels, *both, identities=test.identity, resamples=resamples, ranking=True).loc["mAP"]
        rows[name] |= {"difference": gain["value"], "low": gain["low"], "high": gain["high"]}
    return pd.DataFrame(rows, ["mAP", "difference", "low", "high"]).T
