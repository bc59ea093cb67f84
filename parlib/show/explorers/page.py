"""The page of `parlib explore`: all explorers on one model and one benchmark or folder, each in a tab."""

import os
import warnings
from pathlib import Path
from typing import Any

import datasets
import ipywidgets as widgets
import pandas as pd

from parlib.data import benchmark_root, read_release
from parlib.data.check import recognise
from parlib.data.corrections import annotation_sha256
from parlib.data.images import RGBImage
from parlib.data.release import BENCHMARKS
from parlib.errors import BadInput
from parlib.learn.inputs import prepare
from parlib.learn.plan import encoder_of, trained_head
from parlib.learn.train import predict
from parlib.measure.metrics import evaluate
from parlib.profile import Profile, cache_folder
from parlib.profile import profile as make_profile
from parlib.show import explorers
from parlib.show.server import application, launch
from parlib.use.crops import find_images
from parlib.use.model import Model, load


def tabs(profile: Profile) -> widgets.Tab:
    """The explorers on a `Profile`'s benchmark; a head is trained first where the profile's runs hold none.

    The first is made now, the others when a browser shows it.
    """
    return _tabs(*_of_profile(profile))


def run_tabs(run: str, folder: str | None = None, cache: str | None = None, beside: str | None = None) -> widgets.Tab:
    """As `tabs`, on a trained model and a tree of any benchmark, or a folder of one's own.

    Args:
        run: folder of a run, or another name that `parlib.load` takes.
        folder: default is the tree it was trained on. Attributes that its labels lack are unknown; where they have none
            of the model's, thresholds and errors are not shown, and of images without labels only the first explorer.
        cache: where features are kept; default is that of the training.
        beside: a second model, whose scores of one image are shown beside.

    Raises:
        BadInput: no such run or folder, or a folder that cannot be read.
    """
    model, other, release, parts = _of_run(run, folder, cache, beside)
    if release is not None:
        return _tabs(model, other, release, parts)
    one = explorers.AttributeExplorer(model.encoder, model.head.schema, parts, head=model.head, other=other)
    return widgets.Tab([one], titles=["One image"])


def serve(port: int, browser: bool, **wanted: Any) -> None:
    """Serve the page on this machine alone until it is stopped: `run_tabs` with its arguments, or `tabs` without a run.

    Rendering, training and encoding come before the page, with their progress bars and errors in the terminal.
    """
    application()
    if wanted["run"]:
        _of_run(**wanted)
    else:
        _of_profile(make_profile())
    launch(port, browser, **wanted)


def _of_profile(profile):
    """Model, no second one, release, and its splits ready to be seen, of a `Profile`; what is missing is made."""
    root = benchmark_root(profile)
    encoder = encoder_of(profile)
    head, release = trained_head(profile), read_release(profile.benchmark, root)
    return Model(encoder, head), None, release, _splits(release, encoder, profile.cache, True, dtype=profile.dtype)


def _of_run(run, folder, cache, beside):
    """The same of a trained model and a folder; of one without labels no release, and a `Dataset` of its images."""
    model, other = load(run), load(beside) if beside else None
    arguments = model.run.get("arguments", {})
    root = folder or arguments.get("root")
    if not root or not os.path.isdir(root):
        raise BadInput(f"no folder {root}" if folder else f"{run} names no tree that is here: give its FOLDER")
    kind = recognise(Path(root)) if folder else arguments["benchmark"]
    if not kind:
        names, paths = zip(*find_images([root]), strict=True)
        features = datasets.Features({"image": RGBImage(), "image_id": datasets.Value("string")})
        return model, other, None, datasets.Dataset.from_dict({"image": list(paths), "image_id": list(names)}, features)
    release = read_release(kind, root, **({} if folder else arguments.get("files") or {}))
    view = None if release.name == "folder" else model.run["setting"].get("trained_on", {}).get("view")
    place = Path(cache or arguments.get("cache") or cache_folder()).expanduser()
    trained_here = Path(arguments.get("root") or "").resolve() == release.root.resolve()
    return model, other, release, _splits(release, model.encoder, place, trained_here, view=view)


def _splits(release, encoder, cache, trained_here, **options):
    """Split -> `Split`: the one to explore first, val, and where the head was trained on this tree, train too.

    Images of train that the training has not encoded yet are not: there may be many.
    """
    first = "test" if "test" in release.splits else list(release.splits)[-1]
    wanted = dict.fromkeys([first, "val", "train"] if trained_here else [first, "val"])
    return {name: prepare(release, name, encoder, cache, **options) for name in wanted if name in release.splits}


def _tabs(model, other, release, prepared):
    encoder, head = model.encoder, model.head
    splits = {split: release.dataset(split) for split in release.splits}
    name, test = next(iter(prepared.items()))
    tables = {split: pd.DataFrame(part.labels, columns=part.schema.names) for split, part in prepared.items()}
    # In the columns of the head's attributes; unknown where these labels lack one.
    labels = {split: table.reindex(columns=head.names, fill_value=-1).to_numpy() for split, table in tables.items()}
    thresholds, scores = head.thresholds.cpu().numpy(), {name: predict(head, test.store)}
    one = explorers.AttributeExplorer(encoder, head.schema, splits[name], labels[name], head, scores[name], other)
    page = widgets.Tab([one], titles=["One image"])
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
        made: dict[str, Any] = {
            "One image": one,
            "Data": explorers.DatasetExplorer(splits, release.schema),
            "Prompts": explorers.PromptExplorer(encoder, val.schema, val.store.pooled, val.labels, languages, seen),
        }
        if known:
            shown = labels[name], scores[name], thresholds
            made["Thresholds"] = explorers.ThresholdExplorer(head.schema, *shown, name)
            made["Errors"] = explorers.ErrorExplorer(head.schema, splits[name], *shown, head, test.store, name)
        stores = {split: part.store for split, part in prepared.items()}
        with warnings.catch_warnings(action="ignore"):  # the map itself says what it leaves out
            places = explorers.MapExplorer(splits, head.schema, stores, labels, scores, thresholds, encoder)
        made["Map"] = places
        cache, part = test.store.folder.parents[1], prepared.get("train", test)
        as_released = part.schema.names == release.schema.names and not release.corrections
        if as_released and (part.labels >= 0).any():
            file = cache / "corrections" / f"{release.name}-{annotation_sha256(release.source)[:12]}.csv"
            made["Labels"] = explorers.LabelExplorer(release, part, splits[part.about["split"]], file)
        made["Teach"] = explorers.TeachExplorer(places, model, cache / "taught")
        page.children, page.titles = list(made.values()), list(made)
        explorers.link(made.values(), splits, labels, page)

    one.add_class("first").links["others"] = others  # panel.js asks for them once this one is seen
    return page
