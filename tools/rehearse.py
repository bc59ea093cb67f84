"""The profile `paper` end to end at the true shapes, on any machine: `python tools/rehearse.py --out DIR`.

An encoder folder of SigLIP 2 base-224's configuration with random weights and a vocabulary of 256,000, three rendered
trees of a few dozen images, one epoch in small batches: plan, cells, report. Only the training is shortened. At the end
each cell's estimate stands beside the time it took.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import torch
from transformers import SiglipConfig, SiglipModel

from parlib.encode.encoder import load_encoder
from parlib.learn.costs import costs, must_fit, plan_table, plan_text
from parlib.learn.plan import plan, run
from parlib.profile import profile
from pedsynth import synthesize

BENCHMARKS = ("pa100k", "peta", "market1501")
TOWER = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
SIDE, PATCH, WORDS, LENGTH = 224, 16, 256_000, 64
SIZES = {"train": 12, "val": 8, "test": 8}


def encoder_folder(out):
    """SigLIP 2 base-224 in all but its weights, with nano's tokenizer, whose ids are the first of the vocabulary."""
    if not (out / "config.json").is_file():
        torch.manual_seed(0)
        text = {**TOWER, "vocab_size": WORDS, "max_position_embeddings": LENGTH, "projection_size": 768}
        vision = {**TOWER, "image_size": SIDE, "patch_size": PATCH}
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).half().save_pretrained(out)
        processor = copy.deepcopy(load_encoder("nano").processor)
        processor.image_processor.size = {"height": SIDE, "width": SIDE}
        processor.save_pretrained(out)
    return out


def main():
    """Rehearse; exit code 1 where a cell fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", help="keys in methods.yaml (default: all of the plan)")
    parser.add_argument("--benchmarks", nargs="+", default=BENCHMARKS)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    for name in arguments.benchmarks:
        synthesize(name, out / "data" / name, **SIZES, progress=False)
    places = {"data": out / "data", "cache": out / "cache", "runs": out}
    short = {"training": {"epochs": 1, "batch_size": 4}, "seeds": (0,)}
    paper = profile("paper", encoder=str(encoder_folder(out / "encoder")), **places, **short)
    print(paper)
    cells = plan(paper, arguments.benchmarks, arguments.methods)
    started = time.perf_counter()
    expected = costs(cells, paper)
    print(f"{plan_text(expected)}\nthe trial took {time.perf_counter() - started:.0f} s", flush=True)
    must_fit(expected, paper)
    failed = run(cells, paper)
    print(plan_table(expected, cells, paper).to_string())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
