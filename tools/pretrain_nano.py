"""Pretrain the nano encoder on rendered people and phrases about them, and write it in Hugging Face layout.

    python tools/pretrain_nano.py                       # the shipped encoder, from rendering to model card
    python tools/pretrain_nano.py --minutes 30          # stop after 30 minutes; the same command resumes

An interrupted run resumes from its last checkpoint. Needs no network and no GPU.
"""

import argparse
import json
import time
from pathlib import Path

import nano_card
import torch
from nano_scores import measure
from tqdm.auto import tqdm

from parlib.encode.prompts import languages, load_prompts
from parlib.files import read_json, write_atomic
from pedsynth.nano import architecture
from pedsynth.nano.renders import MEASURE_SEED, PRETRAIN_SEED, rendered
from pedsynth.nano.training import BACKGROUND, SENTENCES, WRITERS, WRONG, Training
from pedsynth.render import RENDERER_VERSION

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("pa100k", "peta", "market1501")


def main(argv=None):
    """Command line; returns nothing."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    # The folder's name holds the plan and the renderer's version, so that no other checkpoint is resumed.
    state = args.cache / f"v{RENDERER_VERSION}-{args.name}-{args.steps}x{args.batch}-{args.images}-seed{args.seed}"
    started = time.perf_counter()
    state.mkdir(parents=True, exist_ok=True)
    renders = rendered(args.cache, "pretrain", args.images, PRETRAIN_SEED, args.workers)
    trees = {benchmark: splits(benchmark, args) for benchmark in BENCHMARKS}
    run = Training(renders, args.steps, args.batch, args.lr, args.seed, _test_prompts())
    history = {"cpu_seconds": 0.0, "threads": args.threads, "losses": []}
    if (state / "checkpoint.safetensors").is_file():
        run.load(state / "checkpoint.safetensors")
        history = read_json(state / "history.json", "history of a checkpoint")
    _train(run, history, state, args, started)
    model = run.averaged()
    about = {
        "steps": run.done,
        "planned": args.steps,
        "batch": args.batch,
        "wrong": WRONG,
        "background": BACKGROUND,
        "writers": WRITERS,
        "sentences": SENTENCES,
        "rendered_images": args.images,
        "renderer": RENDERER_VERSION,
        "seed": args.seed,
        "cpu_minutes": round(history["cpu_seconds"] / 60, 1),
        "threads": args.threads,
        "losses": history["losses"][-1] if history["losses"] else {},
        "scores": measure(model, run.processor.tokenizer, trees),
    }
    size = architecture.save(args.out, model, run.processor)
    nano_card.write(args.out, about)
    for benchmark, scores in about["scores"].items():
        print(
            benchmark,
            json.dumps({k: scores[k] for k in ("zero_shot", "linear_probe", "linear_probe_patches", "map_probe")}),
        )
    print(f"{args.out}: {size / 2**20:.1f} MB after {run.done} of {args.steps} steps")


def _test_prompts():
    """Every prompt that the encoder is measured with, in lower case: it must not learn from any of them."""
    prompts = [load_prompts(name, code, "all") for name in BENCHMARKS for code in languages()]
    return frozenset(text.lower() for each in prompts for wordings in each for text in wordings)


def splits(benchmark, args):
    counts = zip(("train", "val", "test"), args.measure_images, strict=True)
    return {
        split: rendered(args.cache, f"{benchmark}-{split}", count, MEASURE_SEED + i, args.workers)
        for i, (split, count) in enumerate(counts)
    }


def _train(run, history, state, args, started):
    """Train until the schedule or the minutes end; save every `--checkpoint` steps and at the end."""
    last, recent = time.process_time(), []  # processor time of this process; a wall clock would count other work
    for _ in tqdm(range(run.done, args.steps), "pretrain", initial=run.done, total=args.steps, mininterval=10):
        recent.append(run.step())
        out_of_time = args.minutes is not None and time.perf_counter() - started > 60 * args.minutes
        if run.done % args.checkpoint == 0 or run.done == args.steps or out_of_time:
            means = {key: round(sum(each[key] for each in recent) / len(recent), 4) for key in recent[0]}
            now = time.process_time()
            history["cpu_seconds"] += now - last
            history["losses"].append({"step": run.done, **means})
            last, recent = now, []
            run.save(state / "checkpoint.safetensors")
            write_atomic(state / "history.json", json.dumps(history))
            tqdm.write(f"step {run.done} {history['cpu_seconds']:.0f} s {means}")
        if out_of_time:
            return


def _arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "parlib/assets/siglip2-nano", help="folder to write")
    parser.add_argument("--steps", type=int, default=2000, help="length of the schedule")
    parser.add_argument(
        "--minutes", type=float, help="stop after these minutes, rendering included; run again to resume"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads; more than one helps only on an idle machine")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--images", type=int, default=32_000, help="rendered people to learn from")
    parser.add_argument(
        "--measure-images", type=int, nargs=3, default=(2000, 1000, 2000), metavar=("TRAIN", "VAL", "TEST")
    )
    parser.add_argument("--batch", type=int, default=64, help="images per step, each with its caption")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/nano", help="renders and checkpoints")
    parser.add_argument("--name", default="run", help="folder of the checkpoint in the cache")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
