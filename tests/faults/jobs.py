"""The long jobs, small, as functions that a fork server can start and a fault can stop at any moment."""

from pathlib import Path

import torch

from parlib.data import load_benchmark
from parlib.encode import features
from parlib.encode.encoder import load_encoder
from parlib.encode.features import extract
from parlib.learn.run import train_run
from parlib.learn.train import TrainOptions
from parlib.use import predict as predicting
from parlib.use.model import load
from parlib.use.predict import Job, gather
from parlib.use.write import write_predictions


def run_extract(root, place):
    """A store of 20 shards in `place`."""
    features.SHARD = 2
    torch.set_num_threads(1)
    extract(load_benchmark("pa100k", root, "train"), load_encoder(), place, "t", workers=0, progress=False)


def run_train(root, place):
    """Four epochs of a small head, in `place/run`; its features are in `place/cache`."""
    if not (Path(place) / "run").exists():
        options = TrainOptions(epochs=4, batch_size=8, threads=1)
        train_run(
            "pa100k", root, "nano", 0, Path(place) / "run", Path(root).parent / "cache", options, preset="compact"
        )


def run_predict(root, place):
    """Answers for the test images, ten pieces, in `place/out.csv`."""
    predicting.PIECE = 4
    torch.set_num_threads(1)
    if not (Path(place) / "out.csv").exists():
        crops, _ = gather([root])
        write_predictions(Job(load(), crops, workers=0, progress=False), Path(place) / "out.csv")
