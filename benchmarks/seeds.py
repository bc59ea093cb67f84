"""Three seeds of a head: one after the other, in one pass, and compiled; `python benchmarks/seeds.py`.

In one pass, the weights of the seeds are stacked and a step is vectorised over them (`torch.func`), on the rows that
each seed draws or on the same ones. Random features, no dropout (its random numbers cannot be vectorised), gradients
clipped per seed. nano's shapes with one thread, as its cells are shared by processes; base-224's with every core.
"""

import os
import time
import warnings

import torch
from harness import side_by_side, write
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

from parlib.encode.encoder import PromptFeatures
from parlib.learn.baselines import PROBES
from parlib.learn.head import PRESETS, VLMPARHead
from parlib.memory import keep_memory

A, S = 26, 3  # attributes, seeds
SHAPES = {  # patches, width, positions of a prompt, those in use, batch, threads, heads
    "nano": (64, 128, 16, 10, 32, 1, ("recommended", "compact", "paper", "MLP probe")),
    "base-224": (196, 768, 64, 12, 64, os.cpu_count(), ("recommended", "compact", "MLP probe")),
}


def made(name, seed, N, D, T, used):
    """A head or probe of random weights, by the seed."""
    torch.manual_seed(seed)
    if name in PROBES:
        return PROBES[name]([str(a) for a in range(A)], D)
    schema = {"name": "base", "attributes": [{"name": str(a)} for a in range(A)]}
    head = VLMPARHead(schema, ["prompt"] * A, "base", D, D, T, patches=N, **{**PRESETS[name], "dropout": 0.0})
    tokens = torch.randn(A, T, D)
    return head.set_prompts(PromptFeatures(tokens, tokens[:, -1], torch.arange(T).expand(A, T) < used))


def trainer(head, x, pooled, labels):
    """A function that makes one step of one seed."""
    optimiser = torch.optim.AdamW(head.parameters(), 1e-4, fused=True)

    def step():
        loss = loss_of(head(x, pooled), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()

    return step


def stacked(heads, x, pooled, labels, same):
    """A function that makes one step of every seed at once; x (S, B, N, D), pooled (S, B, D), labels (S, B, A)."""
    weights = {name: each.detach().requires_grad_() for name, each in stack_module_state(heads)[0].items()}
    buffers = dict(heads[0].named_buffers())
    optimiser = torch.optim.AdamW(weights.values(), 1e-4, fused=True)
    inputs, dims = ((x[0], pooled[0]), (0, None, None)) if same else ((x, pooled), (0, 0, 0))

    def call(weights, x, pooled):
        return functional_call(heads[0], (weights, buffers), (x, pooled))

    def step():
        logits = vmap(call, dims)(weights, *inputs)  # (S, B, A)
        optimiser.zero_grad(set_to_none=True)
        loss_of(logits, labels, reduction="none").flatten(1).mean(1).sum().backward()
        gradients = [each.grad for each in weights.values()]
        norms = torch.stack([each.flatten(1).square().sum(1) for each in gradients]).sum(0).sqrt()  # (S,)
        for each in gradients:
            each.mul_((1 / (norms + 1e-6)).clamp(max=1).view(-1, *[1] * (each.ndim - 1)))
        optimiser.step()
        return S

    return step


def compared(name, N, D, T, used, batch, compiled, repeats=3):
    """Steps a second of each way, and seconds of compiling."""
    x, labels = torch.randn(S, batch, N, D), torch.randint(0, 2, (S, batch, A)).float()
    inputs = x, x.mean(2), labels
    heads, same, others = ([made(name, seed, N, D, T, used) for seed in range(S)] for _ in range(3))
    prompts = {name: buffer for name, buffer in heads[0].named_buffers() if name == "prompt_tokens"}
    for head in [*heads, *same, *others] if prompts else ():
        head.prompt_tokens.copy_(prompts["prompt_tokens"])
    steps = [trainer(head, *(part[i] for part in inputs)) for i, head in enumerate(heads)]
    ways = {
        "one after the other": lambda: [step() for step in steps] and S,
        "in one pass, own rows": stacked(same, *inputs, False),
        "in one pass, same rows": stacked(others, *inputs, True),
    }
    out = {}
    if compiled:
        fast = trainer(torch.compile(made(name, 0, N, D, T, used)), *(part[0] for part in inputs))
        start = time.perf_counter()
        fast()
        out["compiling_s"] = time.perf_counter() - start
        ways["compiled, one after the other"] = lambda: [fast() for _ in range(S)] and S
    return {**side_by_side(ways, repeats), **out}


def main():
    """Measure and write; returns nothing."""
    warnings.simplefilter("ignore")  # of operators that vmap takes one at a time
    keep_memory()
    out = {}
    for shape, (*sizes, threads, names) in SHAPES.items():
        torch.set_num_threads(threads)
        for name in names:
            compiled = shape == "base-224" and name in PRESETS
            found = out[f"{shape}, {name}"] = compared(name, *sizes, compiled)
            print(shape, name, {way: round(row["ratio"], 2) for way, row in found.items() if way != "compiling_s"})
    write("seeds", {"seeds": S, "attributes": A, "of": out})


if __name__ == "__main__":
    main()
