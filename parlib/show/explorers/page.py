"""The page of `make explore`: all explorers on one benchmark, each in a tab."""

import os

import ipywidgets as widgets

from parlib.data import benchmark_root, load_benchmark
from parlib.encode.encoder import Encoder, load_encoder
from parlib.files import digest
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import prepare
from parlib.learn.run import train_run
from parlib.learn.train import TrainOptions, predict
from parlib.profile import Profile
from parlib.schema import schema
from parlib.show.explorers.attribute import AttributeExplorer
from parlib.show.explorers.dataset import DatasetExplorer
from parlib.show.explorers.error import ErrorExplorer
from parlib.show.explorers.prompt import PromptExplorer
from parlib.show.explorers.threshold import ThresholdExplorer


def trained_head(profile: Profile, root: str | os.PathLike, encoder: Encoder) -> VLMPARHead:
    """The head of a `Profile` on its encoder's device, trained at the first call and found in its runs ever after."""
    asked = [encoder.weights_hash, str(root), profile.seed, profile.training, profile.head]
    run = profile.runs / f"explored-{digest(asked)[:12]}"
    if not run.is_dir():
        place = (profile.benchmark, root, profile.encoder, profile.seed, run, profile.cache)
        train_run(*place, TrainOptions(**profile.training), profile.revision, **profile.head)
    return VLMPARHead.from_pretrained(str(run)).to(encoder.device)


def tabs(profile: Profile) -> widgets.Tab:
    """The five explorers on a `Profile`'s benchmark; a head is trained first where the profile's runs hold none."""
    benchmark, root, about = profile.benchmark, benchmark_root(profile), schema(profile.benchmark)
    encoder = load_encoder(profile.encoder, revision=profile.revision)
    head = trained_head(profile, root, encoder)
    splits = {split: load_benchmark(benchmark, root, split) for split in ("train", "val", "test")}
    val, test = (prepare(benchmark, root, split, encoder, profile.cache, profile.dtype) for split in ("val", "test"))
    scores, thresholds = predict(head, test.store), head.thresholds.cpu().numpy()
    explorers = {
        "One image": AttributeExplorer(encoder, about, splits["test"], test.labels, head),
        "Data": DatasetExplorer(splits, about),
        "Prompts": PromptExplorer(encoder, about, val.store.pooled, val.labels),
        "Thresholds": ThresholdExplorer(about, test.labels, scores, thresholds),
        "Errors": ErrorExplorer(about, splits["test"], test.labels, scores, thresholds, head, test.store),
    }
    return widgets.Tab(list(explorers.values()), titles=list(explorers))
