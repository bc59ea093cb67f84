"""The page of `parlib explore`: all explorers on one model and one benchmark or folder, each in a tab."""

import os
import warnings
from pathlib import Path
from typing import Any

import datasets
import ipywidgets as widgets
import numpy as np

from parlib.data import benchmark_root, read_release
from parlib.data.check import recognise
from parlib.data.corrections import annotation_sha256
from parlib.data.images import RGBImage
from parlib.data.release import BENCHMARKS, Release
from parlib.errors import BadInput
from parlib.learn.inputs import Split, prepare
from parlib.learn.plan import encoder_of, trained_head
from parlib.learn.train import predict
from parlib.measure.metrics import evaluate
from parlib.profile import Profile
from parlib.profile import profile as make_profile
from parlib.show.explorers.attribute import AttributeExplorer
from parlib.show.explorers.dataset import DatasetExplorer
from parlib.show.explorers.error import ErrorExplorer
from parlib.show.explorers.label import LabelExplorer
from parlib.show.explorers.link import link
from parlib.show.explorers.map import MapExplorer
from parlib.show.explorers.prompt import PromptExplorer
from parlib.show.explorers.teach import TeachExplorer
from parlib.show.explorers.threshold import ThresholdExplorer
from parlib.show.server import application, launch
from parlib.use.crops import find_images
from parlib.use.model import Model, load


def tabs(profile: Profile, later: bool = False) -> widgets.Tab:
    """The explorers on a `Profile`'s benchmark; a head is trained first where the profile's runs hold none.

    `later`: only the first is made now, the others when a browser shows it.
    """
    model, release, prepared = _of_profile(profile)
    return _tabs(model, release, prepared, later=later)


def run_tabs(
    run: str, folder: str | None = None, cache: str | None = None, beside: str | None = None, later: bool = False
) -> widgets.Tab:
    """The explorers on a trained model and a tree of any benchmark, or a folder of one's own.

    Args:
        run: folder of a run, or another name that `parlib.load` takes.
        folder: default is the tree it was trained on. Attributes that its labels lack are unknown; where they have none
            of the model's, thresholds and errors are not shown, and of images without labels only the first explorer.
        cache: where features are kept; default is that of the training.
        beside: a second model, whose scores of one image are shown beside.
        later: see `tabs`.

    Raises:
        BadInput: no such run or folder, or a folder that cannot be read.
    """
    model, root, release = _opened(run, folder)
    other = load(beside) if beside else None
    if release is not None:
        return _tabs(*_of_run(model, release, cache), other, later)
    names, paths = zip(*find_images([root]), strict=True)
    features = datasets.Features({"image": RGBImage(), "image_id": datasets.Value("string")})
    pictures = datasets.Dataset.from_dict({"image": list(paths), "image_id": list(names)}, features)
    one = AttributeExplorer(model.encoder, model.head.schema, pictures, head=model.head, other=other)
    return _tab({"One image": one})


def serve(
    run: str | None, folder: str | None, cache: str | None, port: int, browser: bool, beside: str | None = None
) -> None:
    """Serve the page on this machine alone until it is stopped; without a `run` it is that of the profile.

    Rendering, training and encoding come before the page, with their progress bars and errors in the terminal.
    """
    application()
    if run:
        model, root, release = _opened(run, folder)
        if release is None:
            find_images([root])
        else:
            _of_run(model, release, cache)
        if beside:
            load(beside)
    else:
        _of_profile(make_profile())
    launch(run, folder, cache, port, browser, beside)


def _of_profile(profile):
    """Model, release, and its splits ready to be seen, of a `Profile`; what is missing is made."""
    root = benchmark_root(profile)
    encoder = encoder_of(profile)
    head, release = trained_head(profile), read_release(profile.benchmark, root)
    return Model(encoder, head), release, _splits(release, encoder, profile.cache, True, dtype=profile.dtype)


def _of_run(model: Model, release: Release, cache: str | None) -> tuple[Model, Release, dict[str, Split]]:
    """The same of a model that was trained."""
    view = None if release.name == "folder" else model.run["setting"].get("trained_on", {}).get("view")
    place = Path(cache or model.run["arguments"].get("cache") or "~/.cache/parlib").expanduser()
    trained_here = Path(model.run["arguments"].get("root") or "").resolve() == release.root.resolve()
    return model, release, _splits(release, model.encoder, place, trained_here, view=view)


def _splits(release, encoder, cache, trained_here, **options):
    """Split -> `Split`: the one to explore first, val, and where the head was trained on this tree, train too.

    Images of train that the training has not encoded yet are not: there may be many.
    """
    first = "test" if "test" in release.splits else list(release.splits)[-1]
    names = [first, "val", *(["train"] if trained_here else [])]
    wanted = dict.fromkeys(name for name in names if name in release.splits)
    return {name: prepare(release, name, encoder, cache, **options) for name in wanted}


def _opened(run: str, folder: str | None) -> tuple[Model, str, Release | None]:
    """The model, the folder, and its labels, None where it has none."""
    model = load(run)
    arguments = model.run.get("arguments", {})
    root = folder or arguments.get("root")
    if not root or not os.path.isdir(root):
        raise BadInput(f"no folder {root}" if folder else f"{run} names no tree that is here: give its FOLDER")
    if not folder:
        return model, root, read_release(arguments["benchmark"], root, **arguments.get("files") or {})
    kind = recognise(Path(root))
    return model, root, read_release(kind, root) if kind else None


def _tabs(model, release, prepared, other=None, later=False):
    encoder, head = model.encoder, model.head
    splits = {split: release.dataset(split) for split in release.splits}
    name, test = next(iter(prepared.items()))
    labels = {split: _columns(head, part) for split, part in prepared.items()}
    thresholds, scores = head.thresholds.cpu().numpy(), {name: predict(head, test.store)}
    one = AttributeExplorer(encoder, head.schema, splits[name], labels[name], head, scores[name], other)
    page = _tab({"One image": one})
    kind = {"rendered": "rendered people", "official": "official images"}.get(release.kind, "images of another source")
    which = f"partition {release.partition}, " if release.partition else ""
    page.heading = f"{release.name} ({kind}), {which}split {name}, {head.method}, encoder {encoder.name}"
    known = (labels[name] >= 0).any()  # there is an attribute that both the head and these labels have
    if known:
        page.heading += f": mA {100 * evaluate(labels[name], scores[name], thresholds).mA:.1f}; 50 is chance"

    def others():
        one.remove_class("first")
        val = prepared.get("val", test)
        languages = None if val.schema.name in BENCHMARKS else ["en"]  # a folder has no prompts in others
        seen = splits[val.about["split"]]
        explorers: dict[str, Any] = {
            "One image": one,
            "Data": DatasetExplorer(splits, release.schema),
            "Prompts": PromptExplorer(encoder, val.schema, val.store.pooled, val.labels, languages, seen),
        }
        if known:
            explorers["Thresholds"] = ThresholdExplorer(head.schema, labels[name], scores[name], thresholds, name)
            shown = splits[name], labels[name], scores[name], thresholds
            explorers["Errors"] = ErrorExplorer(head.schema, *shown, head, test.store, name)
        stores = {split: part.store for split, part in prepared.items()}
        with warnings.catch_warnings(action="ignore"):  # the map itself says what it leaves out
            explorers["Map"] = MapExplorer(splits, head.schema, stores, labels, scores, thresholds, encoder)
        cache = test.store.folder.parents[1]
        part = prepared.get("train", test)
        as_released = part.schema.names == release.schema.names and not release.corrections
        if as_released and (part.labels >= 0).any():
            seen, file = splits[part.about["split"]], f"{release.name}-{annotation_sha256(release.source)[:12]}.csv"
            explorers["Labels"] = LabelExplorer(release, part, seen, cache / "corrections" / file)
        explorers["Teach"] = TeachExplorer(explorers["Map"], model, cache / "taught")
        page.children, page.titles = list(explorers.values()), list(explorers)
        link(explorers.values(), splits, labels, page)

    if later:
        one.add_class("first").links["others"] = others  # panel.js asks for them once this one is seen
    else:
        others()
    return page


def _columns(head, split):
    """Labels of a `Split` in the columns of the head's attributes, (n, A); -1 where it lacks one."""
    columns = dict(zip(split.schema.names, split.labels.T, strict=True))
    unknown = np.full(len(split.labels), -1, np.int8)
    return np.stack([columns.get(attribute, unknown) for attribute in head.names], axis=1)


def _tab(explorers: dict[str, widgets.Widget]) -> widgets.Tab:
    return widgets.Tab(list(explorers.values()), titles=list(explorers))
