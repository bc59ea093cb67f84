"""The benchmarks as they are really released, and anyone's own: each split is a `datasets.Dataset`."""

import inspect
from importlib import import_module

from parlib.data.release import labels_of, schema_of
from parlib.errors import BadInput

BENCHMARKS = ("pa100k", "peta", "market1501", "folder")

__all__ = ["BENCHMARKS", "check", "labels_of", "load_benchmark", "read_release", "schema_of"]


def load_benchmark(name, root, split=None, images=True, **options):
    """One split of a benchmark.

    Args:
        name: `pa100k`, `peta`, `market1501` or `folder` (your own images).
        root: the folder the release was unpacked into.
        split: `train`, `val`, `trainval`, `test` or `all`; `folder` alone may leave it out, which means `all`.
        images: False reads the annotation file alone.
        **options: of the benchmark's `read`: `partition` and `attributes` for peta, `seed` for market1501,
            `table` and `schema` for folder.

    Returns:
        `datasets.Dataset` with `image` (decoded on access: upright RGB), `labels` (A) int8 with -1 unknown, `image_id`, and
        `identity` where the benchmark has one. `labels_of` and `schema_of` take it; `info.description` says what it is.

    Raises:
        BadInput: naming the path or name, what was looked for and what exists.
    """
    release = read_release(name, root, images=images, **options)
    if split is None and name != "folder":
        raise BadInput(f"{name} needs a split: {', '.join(release.splits)} or trainval")
    return release.dataset(split or "all", images)


def read_release(name, root, images=True, **options):
    """Every split of a benchmark as listed, faults and all: a `Release`."""
    if name not in BENCHMARKS:
        raise BadInput(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    read = import_module(f"parlib.data.{name}").read
    known = [option for option in inspect.signature(read).parameters if option not in ("root", "images")]
    for option in options:
        if option not in known:
            raise BadInput(f"{name} has no option {option!r}; it has {', '.join(known) or 'none'}")
    return read(root, images=images, **options)


def __getattr__(name):
    if name == "check":  # the module of the same name brings the image decoders: loaded when one checks
        return import_module("parlib.data.check").check
    raise AttributeError(name)
