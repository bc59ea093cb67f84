"""The page of `make explore`: all explorers on one benchmark, each in a tab."""

import ipywidgets as widgets

from parlib.data import benchmark_root, read_release
from parlib.encode.encoder import load_encoder
from parlib.learn.inputs import prepare
from parlib.learn.plan import trained_head
from parlib.learn.train import predict
from parlib.profile import Profile
from parlib.show.explorers.attribute import AttributeExplorer
from parlib.show.explorers.dataset import DatasetExplorer
from parlib.show.explorers.error import ErrorExplorer
from parlib.show.explorers.prompt import PromptExplorer
from parlib.show.explorers.threshold import ThresholdExplorer


def tabs(profile: Profile) -> widgets.Tab:
    """The five explorers on a `Profile`'s benchmark; a head is trained first where the profile's runs hold none."""
    root = benchmark_root(profile)
    release = read_release(profile.benchmark, root)
    about = release.schema
    encoder = load_encoder(profile.encoder, revision=profile.revision)
    head = trained_head(profile)
    splits = {split: release.dataset(split) for split in ("train", "val", "test")}
    val, test = (prepare(release, split, encoder, profile.cache, profile.dtype) for split in ("val", "test"))
    scores, thresholds = predict(head, test.store), head.thresholds.cpu().numpy()
    explorers = {
        "One image": AttributeExplorer(encoder, about, splits["test"], test.labels, head),
        "Data": DatasetExplorer(splits, about),
        "Prompts": PromptExplorer(encoder, about, val.store.pooled, val.labels),
        "Thresholds": ThresholdExplorer(about, test.labels, scores, thresholds),
        "Errors": ErrorExplorer(about, splits["test"], test.labels, scores, thresholds, head, test.store),
    }
    return widgets.Tab(list(explorers.values()), titles=list(explorers))
