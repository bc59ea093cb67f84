"""The records kept with the project: every method on every benchmark over several seeds, and across benchmarks.

    python tools/records.py                                          # rendered benchmarks, to records/small and cross
    python tools/records.py --root DIR --benchmark pa100k --name sample    # one real tree, to records/sample

A seed draws people, cameras and the head's weights. Records that are there are kept, so a stopped run goes on; remove
one to make it anew.
"""

import argparse
import shutil
from pathlib import Path

from tqdm import tqdm

from parlib.data import read_release
from parlib.encode.encoder import load_encoder
from parlib.learn.baselines import baseline_records
from parlib.learn.inputs import prepare
from parlib.learn.run import evaluate_run, train_run
from parlib.learn.train import TrainOptions
from parlib.measure.records import write_record
from parlib.profile import settings
from pedsynth import RENDERER_VERSION, synthesize

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS, SHARED = ("pa100k", "peta", "market1501"), "upar-lite"


def main():
    """Command line; returns nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a real tree; default renders one a benchmark and seed")
    parser.add_argument("--benchmark", default="pa100k", help="of --root")
    parser.add_argument("--name", default="small", help="folder in records/")
    parser.add_argument("--encoder", default="nano")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache")
    args = parser.parse_args()
    for seed in tqdm(args.seeds, "records, seed"):
        if args.root:
            trees = {args.benchmark: args.root}
        else:
            sizes, made = settings("small").sizes, args.cache / "rendered" / f"records-v{RENDERER_VERSION}"
            trees = {name: synthesize(name, made / f"{name}-{seed}", **sizes, seed=seed) for name in BENCHMARKS}
        for benchmark, root in trees.items():
            within(benchmark, root, seed, args, ROOT / "records" / args.name)
        if len(trees) > 1:
            for benchmark in trees:
                across(benchmark, trees, seed, args, ROOT / "records" / "cross")


def within(benchmark, root, seed, args, out):
    """Baselines, the profile's head and the paper's in compact form, trained and tested on one benchmark."""
    heads = {"recommended": settings("small").head, "compact": {"preset": "compact"}}
    heads = {out / f"{benchmark}-{name}-head-seed{seed}.json": head for name, head in heads.items()}
    if all(path.is_file() for path in heads):
        return
    encoder = load_encoder(args.encoder)
    release = read_release(benchmark, root)
    parts = [prepare(release, split, encoder, args.cache) for split in ("train", "val", "test")]
    for record in baseline_records(*parts, encoder, seed=seed):
        write_record(record, out / f"{benchmark}-{record['method'].replace(' ', '-')}-seed{seed}.json")
    for path, head in heads.items():
        write_record(_trained(benchmark, root, seed, args, [(benchmark, root)], head)[0], path)


def across(benchmark, trees, seed, args, out):
    """A head trained on the attributes that all share, tested on every benchmark."""
    targets = {other: out / f"{benchmark}-to-{other}-seed{seed}.json" for other in trees}
    if all(path.is_file() for path in targets.values()):
        return
    records = _trained(benchmark, trees[benchmark], seed, args, trees.items(), settings("small").head, SHARED)
    for path, record in zip(targets.values(), records, strict=True):
        write_record(record, path)


def _trained(benchmark, root, seed, args, tests, head, view=None):
    run, small = args.cache / f"records-run-{benchmark}-{seed}", settings("small")
    shutil.rmtree(run, ignore_errors=True)
    options = TrainOptions(**small.training)
    train_run(benchmark, root, args.encoder, seed, run, args.cache, options, view=view, **head)
    return [evaluate_run(run, "test", tree, benchmark=other) for other, tree in tests]


if __name__ == "__main__":
    main()
