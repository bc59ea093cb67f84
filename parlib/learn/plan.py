"""The plan: a list of cells, benchmark x method x seed, and how they are carried out, each once.

Below the `runs` of a profile, a cell leaves `records/GROUP/CELL.json`, `logs/CELL.log` and, of a head, `heads/CELL`.
Any number of processes may work on one plan: a cell belongs to the process that holds its lock.
"""

import os
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from parlib.data import benchmark_root, benchmark_roots, read_release
from parlib.data.release import IN_PLAN
from parlib.encode.encoder import Encoder, load_encoder
from parlib.errors import BadInput
from parlib.files import Busy, digest, json_text, one_line, only_one
from parlib.learn.head import VLMPARHead
from parlib.learn.inputs import Rows, Split, prepare
from parlib.learn.methods import Method, Task, find_methods, own_method
from parlib.learn.run import method_records, read_run, save_run
from parlib.measure.records import read_records, write_record
from parlib.measure.tables import ALL_OTHERS
from parlib.profile import Profile
from parlib.profile import profile as profile_of

SHARED = "upar"  # the view whose attributes several benchmarks carry
DOMAINS = (*IN_PLAN, "rapv2")  # of UPAR, which are crossed in that view
_LONGEST = {"peta": "105", "rapv2": "111"}  # attribute lists, which answer more of a view than those in use
DISJOINT = "identity-disjoint-seed0"  # beside PETA's partition 0, whose test people are in train
CROSSED = ("linear", "compact", "recommended")  # methods of claims (f1) and (f2), and the best head
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Cell:
    """One training, or one predictor without any, with one seed, and the tests that it is scored on."""

    benchmark: str
    method: Method
    seed: int
    train_on: str = "train"  # or trainval
    partition: str | None = None  # of PETA, or a fold such as `fold0of5-seed0`; None is the release's own
    view: str | None = None  # train on the columns of a view of the schema
    tests: tuple[str, ...] = ()  # benchmarks; () is its own
    others: tuple[str, ...] = ()  # train and val are those of these benchmarks together instead (leave-one-domain-out)

    @property
    def name(self) -> str:
        """The name of its files."""
        where = f"all-but-{self.benchmark}" if self.others else self.benchmark
        on = None if self.train_on == "train" else self.train_on
        return "-".join(filter(None, (where, self.partition, on, self.view, self.method.key, f"seed{self.seed}")))

    @property
    def group(self) -> str:
        """The folder of its records, which tables read as one: main, words, ablation, cross."""
        return "cross" if self.view else "main" if self.method.group == "own" else self.method.group

    def records(self, profile: Profile) -> dict[str, Path]:
        """Benchmark tested on -> the file of its record."""
        folder, own = profile.runs / "records" / self.group, self.tests or (self.benchmark,)
        return {test: folder / f"{self.name}{f'-on-{test}' if self.tests else ''}.json" for test in own}

    @property
    def files(self) -> dict[str, Any]:
        """Options of `read_release`."""
        options = {"partition": self.partition, "attributes": _LONGEST.get(self.benchmark) if self.view else None}
        return {name: value for name, value in options.items() if value}

    def run(self, profile: Profile) -> Path:
        """The folder of its trained head."""
        return profile.runs / "heads" / self.name

    def log(self, profile: Profile) -> Path:
        """What happened: one line per epoch and warning, the time it took, or the error."""
        return profile.runs / "logs" / f"{self.name}.log"

    def options(self, profile: Profile) -> Any:
        """The `TrainOptions`, or None of a method that is not trained."""
        return self.method.train_options(profile.encoder, **profile.training) if self.method.is_trained else None

    def key(self, profile: Profile) -> str:
        """Hash of all that is set for it; its record holds it, so that a cell of other settings is not taken for it."""
        options = self.options(profile)
        training = {**options.to_dict(), "threads": None} if options else {}
        parts = [self.name, self.tests + self.others, self.method.kind, self.method.options, training, profile.encoder]
        return digest([*parts, profile.revision, profile.sizes, str(profile.data)])

    def is_done(self, profile: Profile) -> bool:
        """Whether all its records are there, made with these settings."""
        files = list(self.records(profile).values())
        return all(map(Path.is_file, files)) and all(
            record["setting"].get("cell") == self.key(profile) for record in read_records(*files)
        )


def plan(
    profile: Profile,
    benchmarks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    own: Sequence[str | type[nn.Module]] = (),
) -> list[Cell]:
    """The cells of a profile, or those of some benchmarks, methods (keys of methods.yaml) and seeds.

    Of every benchmark: the main methods and `own` ones (see `own_method`); of PETA also with the identity-disjoint
    partition, of UPAR with each of its domains left out. Of PA-100K: heads with other words; in the profile `paper`
    also heads trained on trainval. Where there are several `DOMAINS`: linear probe and heads trained on one and tested
    on all, and, of three or more, trained on all but one and tested on that one.

    Raises:
        BadInput: a benchmark that the profile has not, an unknown method, a file that holds no such class.
    """
    there = list(IN_PLAN if profile.data is None else benchmark_roots(profile))
    if unknown := set(benchmarks or ()) - set(there):
        raise BadInput(f"no benchmark {', '.join(sorted(unknown))} in this profile; it has {', '.join(there)}")
    there = [name for name in there if name in (benchmarks or there)]
    main = [*find_methods(methods or ["group:main"]), *map(own_method, own)]
    words = [] if methods else find_methods(["group:words"])
    domains = [name for name in DOMAINS if name in there]
    crossed = [one for one in main if one.key in CROSSED or one.group == "own"] if len(domains) > 1 else []
    partitions: dict[str, list[str | None]] = {"peta": [None, DISJOINT]}
    if "upar" in there:  # its table as published has no test split
        names = read_release("upar", benchmark_root(replace(profile, benchmark="upar")), False).listing("all").names
        partitions["upar"] = [f"leave-{domain}-out" for domain in sorted({name.split("/")[0] for name in names})]
    cells = []
    for seed in profile.seeds if seeds is None else seeds:
        for name in there:
            cells += [Cell(name, one, seed, partition=part) for part in partitions.get(name, [None]) for one in main]
            if name == "pa100k":
                cells += [Cell(name, one, seed) for one in words]
                heads = [one for one in main if one.kind == "head" and profile.name == "paper"]
                cells += [Cell(name, one, seed, "trainval") for one in heads]
            if name in domains:
                cells += [Cell(name, one, seed, view=SHARED, tests=tuple(domains)) for one in crossed]
        for left_out in domains if len(domains) > 2 else ():
            others = tuple(name for name in domains if name != left_out)
            cells += [Cell(left_out, one, seed, view=SHARED, others=others) for one in crossed]
    return cells


def run(cells: Sequence[Cell], profile: Profile, say: Callable[[str], object] = print) -> list[Cell]:
    """Carry out the cells that are not done, and return those that failed.

    A cell that fails is said with its log, and the others go on. Cells that another process holds are left to it, and
    taken up at the end if it has not finished them. `say` is called with one line per cell.
    """
    todo = [cell for cell in cells if not cell.is_done(profile)]
    if len(todo) < len(cells):
        say(f"{len(cells) - len(todo)} of {len(cells)} cells are done already")
    failed: list[Cell] = []
    held: list[Cell] = []
    for wait in (False, True):
        for cell in list(held if wait else todo):
            try:
                with only_one(cell.name, _lock(profile, cell.name), wait):
                    if not cell.is_done(profile):
                        say(f"{cell.name}: {run_cell(cell, profile):.0f} s")
            except Busy:
                held.append(cell)
            except Exception as error:  # of this cell alone; the others go on
                failed.append(cell)
                say(f"{cell.name} failed: {one_line(error)}; log: {cell.log(profile)}")
    return failed


def run_cell(cell: Cell, profile: Profile, callback: Callable | None = None) -> float:
    """Carry out one cell, whatever is there; returns seconds. `callback` is `fit`'s."""
    started, encoder = time.monotonic(), encoder_of(profile)
    with _logged(cell.log(profile)) as write:

        def seen(epoch, step, steps, row):
            if isinstance(row, dict):
                write(json_text(row, indent=None))
            if callback:
                callback(epoch, step, steps, row)

        parts = splits(cell, profile)
        train, val = parts["train"], parts["val"]
        tests = [
            parts["test"] if name == cell.benchmark else splits(replace(cell, benchmark=name), profile)["test"]
            for name in cell.tests or [cell.benchmark]
        ]
        checkpoint = profile.runs / "heads" / f".{cell.name}.checkpoint"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        options = cell.options(profile)
        task = Task(train, val, [], encoder, cell.seed, options, checkpoint, seen)
        records, fitted = method_records(cell.method, task, tests, cell=cell.key(profile))
        if isinstance(fitted.module, VLMPARHead):
            root = benchmark_root(replace(profile, benchmark=cell.benchmark, seed=cell.seed))
            arguments = {"benchmark": cell.benchmark, "root": str(root), "cache": str(profile.cache), "seed": cell.seed}
            made_by = {"training": options.to_dict(), "head": cell.method.options}
            arguments |= {"view": cell.view, "files": cell.files, **made_by}
            save_run(cell.run(profile), fitted, train, val, arguments, overwrite=True)
        for record, path in zip(records, cell.records(profile).values(), strict=True):
            write_record(record, path)
        checkpoint.unlink(missing_ok=True)
        write(f"done in {time.monotonic() - started:.1f} s")
    return time.monotonic() - started


def trained_head(profile: Profile) -> VLMPARHead:
    """The plan's head of a profile's own benchmark, method and seed, on its encoder's device; trained if missing."""
    (method,) = find_methods([profile.method])
    cell = Cell(profile.benchmark, method, profile.seed)
    with only_one(cell.run(profile), _lock(profile, cell.name), wait=True):
        if not (cell.is_done(profile) and cell.run(profile).is_dir()):
            run_cell(cell, profile)
    return read_run(cell.run(profile))[1].to(encoder_of(profile).device)


def alone() -> None:
    """Make this process of `accelerate launch` work by itself, on a GPU of its own: cells are shared, not batches.

    To be called before anything asks for the processes of the launch.
    """
    rank = os.environ.get("LOCAL_RANK")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    if rank is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(rank)] if int(rank) < len(visible) > 1 else rank


def score_method(
    module: str | type[nn.Module],
    profile: Profile | None = None,
    benchmark: str = "pa100k",
    seed: int = 0,
    **training: Any,
) -> dict[str, Any]:
    """Train a module of one's own as every method of the plan is trained, and return its record, kept with the others.

    Args:
        module: a class, or `file.py:Class`, called with `(names, image_width)`; its `forward(tokens (B, N, D), pooled
            (B, D))` returns logits (B, A). Of what it is made does not matter.
        profile: see `parlib.profile`; trees and features are found or made as it says.
        training: changes to the `TrainOptions` of the profile's encoder.
    """
    profile = profile or profile_of()
    cell = Cell(benchmark, own_method(module, **training), seed)
    run_cell(cell, profile)
    return read_records(*cell.records(profile).values())[0]


def encoder_of(profile: Profile) -> Encoder:
    """The profile's encoder, loaded once."""
    return _encoder(profile.encoder, profile.revision, profile.precision)


_encoder = lru_cache(1)(lambda name, revision, precision: load_encoder(name, revision, precision=precision))


def splits(cell: Cell, profile: Profile) -> dict[str, Split]:
    """`train` (or trainval), `val` and `test` of a cell; each image is encoded once, whatever the cell trains on."""
    if cell.others:
        learned = [splits(replace(cell, benchmark=name, others=()), profile) for name in cell.others]
        joined = {split: _joined([each[split] for each in learned]) for split in ("train", "val")}
        return {**joined, "test": splits(replace(cell, others=()), profile)["test"]}
    profile = replace(profile, benchmark=cell.benchmark, seed=cell.seed)
    encoder = encoder_of(profile)
    tree = f"{cell.benchmark}-{profile.seed}"
    with only_one(tree, _lock(profile, tree), wait=True):
        root = benchmark_root(profile)
        release = read_release(cell.benchmark, root, **replace(cell, partition=None).files)
        parts = release.splits  # UPAR's table may have train alone
        kept = {split: prepare(release, split, encoder, profile.cache, profile.dtype, cell.view) for split in parts}
    if cell.partition is None and cell.train_on == "train":
        return kept
    stores = [(release.listing(split).names, part.store) for split, part in kept.items()]
    other = read_release(cell.benchmark, root, **cell.files)

    def rows(split):
        store = Rows(other.listing(split).names, stores)
        return prepare(other, split, encoder, profile.cache, view=cell.view, store=store)

    return {"train": rows(cell.train_on), "val": rows("val"), "test": rows("test")}


def _joined(parts):
    """A split of several benchmarks, in the columns of their view; features are read from where they lie."""
    ends = np.cumsum([len(part.labels) for part in parts])
    stores = [(range(end - len(part.labels), end), part.store) for end, part in zip(ends, parts, strict=True)]
    about = {name: parts[0].about[name] for name in ("kind", "split", "view")}
    about |= {"benchmark": ALL_OTHERS, "domains": [part.about["benchmark"] for part in parts]}
    about |= {name: digest([part.about[name] for part in parts]) for name in ("items_sha256", "labels_sha256")}
    labels = np.concatenate([part.labels for part in parts])
    return Split(Rows(range(ends[-1]), stores), labels, about, parts[0].schema)


def _lock(profile, name):
    folder = profile.runs / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"


@contextmanager
def _logged(path):
    """A function that writes a line to a log; warnings go there too, and the traceback of an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", buffering=1) as file, warnings.catch_warnings():

        def write(line):
            file.write(f"{time.strftime('%H:%M:%S')} {line}\n")

        warnings.showwarning = lambda message, *where, **more: write(f"note: {message}")
        try:
            yield write
        except Exception:
            write(traceback.format_exc())
            raise
