"""A ceiling for read-outs of the frozen nano encoder: the same network trained end to end on labels.

    python tools/nano_ceiling.py     # adds the scores to the encoder's measured.json and writes its card again

The image tower from the same start and an attentive probe on its patches are trained together on the labels that the
three benchmarks give the people of pretraining, with the same optimisers and augmentation and half as many steps
again. Nothing of it is shipped.
"""

import argparse
from pathlib import Path

import nano_card
import numpy as np
import torch
from nano_scores import percent, tuned
from pretrain_nano import BENCHMARKS, ROOT, splits
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from parlib.files import json_text, read_json, write_atomic
from parlib.learn.baselines import AttentiveProbe
from parlib.schema import schema
from pedsynth.nano import architecture
from pedsynth.nano.renders import PRETRAIN_SEED, pretraining_labels, rendered
from pedsynth.nano.training import augment, optimizers, to_pixels, update


class Network(torch.nn.Module):
    """nano's image tower and one attentive probe for all attributes of all benchmarks."""

    def __init__(self, renders, names, seed):
        super().__init__()
        model = architecture.make_model(1, seed)
        model.set_attn_implementation("eager")
        architecture.start_from_patches(model, to_pixels(renders.images[:: max(1, len(renders) // 1000)]))
        self.tower, self.probe = model.vision_model, AttentiveProbe(names, architecture.WIDTH)

    def forward(self, pixels):
        """(B, 3, 96, 96) -> logits (B, A)."""
        return self.probe(self.tower(pixel_values=pixels).last_hidden_state, None)


def train(renders, labels, names, steps, batch=64, lr=3e-3, seed=0):
    """The trained network's averaged weights."""
    network = Network(renders, names, seed)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    trained = optimizers(((n, p) for n, p in network.named_parameters() if ".head." not in n), lr)
    for step in tqdm(range(steps), "ceiling", mininterval=10):
        rng = np.random.default_rng((seed, 2, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(renders), batch, replace=False))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(augment(to_pixels(renders.images[rows]), generator))
        loss = binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(labels[rows]).float())
        update(trained, loss, lr, step, steps)
        average.update_parameters(network)
    return average.module.eval()


@torch.no_grad()
def scores(network, renders, columns, batch=250):
    """Probabilities (N, A) of the attributes in a slice of columns."""
    chunks = [renders.images[i : i + batch] for i in range(0, len(renders), batch)]
    return torch.cat([network(to_pixels(chunk))[:, columns].sigmoid() for chunk in chunks]).double().numpy()


def main(argv=None):
    """Command line; returns nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "parlib/assets/siglip2-nano", help="the encoder's folder")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--images", type=int, default=32_000, help="people of pretraining to learn from")
    parser.add_argument("--measure-images", type=int, nargs=3, default=(2000, 1000, 2000))
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/nano", help="renders")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    renders = rendered(args.cache, "pretrain", args.images, PRETRAIN_SEED, args.workers)
    trees = {benchmark: splits(benchmark, args) for benchmark in BENCHMARKS}
    labels = [pretraining_labels(benchmark, args.images) for benchmark in BENCHMARKS]
    names = [f"{benchmark} {name}" for benchmark in BENCHMARKS for name in schema(benchmark).names]
    network = train(renders, np.concatenate(labels, 1), names, args.steps)
    about, first = read_json(args.out / "measured.json", "figures of an encoder"), 0
    about["ceiling"], about["ceiling_steps"] = {}, args.steps
    for benchmark, tree in trees.items():
        own = schema(benchmark).names
        columns = slice(first, first := first + len(own))
        result = tuned(tree, {name: scores(network, tree[name], columns) for name in ("val", "test")}, own)
        about["ceiling"][benchmark] = percent(result)
    print(about["ceiling"])
    write_atomic(args.out / "measured.json", json_text(about))
    nano_card.write(args.out, about)


if __name__ == "__main__":
    main()
