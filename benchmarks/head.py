"""The head against the plain way to write it, at base-224 shapes: images/s of a training step, memory, profile.

plain: a loop over attributes, each with torch's own attention over its padded prompt, as the paper reads. Outputs are
compared before anything is timed. Run as `python benchmarks/head.py`.
"""

import argparse
from multiprocessing import get_context
from pathlib import Path

import torch
from harness import profile, side_by_side, write
from torch import nn

from parlib.encode.encoder import PromptFeatures
from parlib.learn.head import PRESETS, VLMPARHead

A, N, T, USED, D, H = 26, 196, 64, 12, 768, 8  # USED: positions of 64 that hold a prompt


class Plain(nn.Module):
    """One attribute at a time, with the weights of a `paper` head."""

    def __init__(self, head):
        super().__init__()
        self.head, block = head, head.fusions[0][0]
        self.attention = nn.MultiheadAttention(D, H, batch_first=True)
        with torch.no_grad():
            self.attention.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
            self.attention.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(D), block.value.bias]))
        self.attention.out_proj.load_state_dict(block.out.state_dict())

    def read(self, x):
        """(B, N, D) -> what patches read from each prompt, A times (B, N, D)."""
        head = self.head
        padding = torch.cat([~head.prompt_mask, torch.zeros(A, head.learnable.shape[1], dtype=torch.bool)], 1)
        words = torch.cat([head.prompt_tokens, head.learnable], 1)
        for a in range(A):
            prompt, pad = words[a].expand(len(x), -1, -1), padding[a].expand(len(x), -1)
            yield self.attention(x, prompt, prompt, key_padding_mask=pad, need_weights=False)[0]

    def forward(self, x, pooled=None):
        head, block = self.head, self.head.fusions[0][0]
        logits = []
        for a, read in enumerate(self.read(x)):
            y = block.norm_attention(x + read)
            z = block.norm_feedforward(y + block.feedforward(y))
            logits.append(z.mean(1) @ head.classifier[a] + head.bias[a])
        return torch.stack(logits, 1)


def made(name):
    torch.manual_seed(0)
    preset = "paper" if name in ("plain", "attention: plain", "attention") else name.removesuffix(", bf16")
    schema = {"name": "base", "attributes": [{"name": str(a)} for a in range(A)]}
    head = VLMPARHead(schema, ["prompt"] * A, "base", D, D, T, **{**PRESETS[preset], "dropout": 0.0})
    tokens, mask = torch.randn(A, T, D), torch.arange(T).expand(A, T) < USED
    head.set_prompts(PromptFeatures(tokens, tokens[:, -1], mask))
    return Plain(head) if name.endswith("plain") else head


def step(name, model, x):
    """One training step's forward and backward; returns images done."""
    model.zero_grad(set_to_none=True)
    if name == "attention: plain":
        reads = list(model.read(x))
        torch.autograd.backward(reads, [x] * A)  # some gradient of the right shape
    elif name == "attention":
        *image, words, mask = model.inputs(x)
        model.fusions[0][0].read(*image, words, mask).backward(x[:, None].expand(-1, A, -1, -1))
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=name.endswith("bf16")):
            logits = model(x, x.mean(1))
        logits.float().square().mean().backward()
    return len(x)


def peak_mb():
    """Most memory this program has held; `ru_maxrss` would count the parent's, from before it was started."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory(name, batch):
    """Peak resident memory of one step beyond what the model and its inputs hold, MB an image; a process of its own."""
    model, x = made(name), torch.randn(batch, N, D)
    before = peak_mb()
    step(name, model, x)
    return (peak_mb() - before) / batch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    presets = [preset + half for preset in ("paper", "compact", "recommended") for half in ("", ", bf16")]
    x, names = torch.randn(asked.batch, N, D), ("plain", *presets)
    models = {name: made(name).eval() for name in ("attention: plain", "attention", *names)}
    with torch.no_grad():
        torch.testing.assert_close(models["plain"](x), models["paper"](x), rtol=1e-3, atol=1e-4)
    result = {"shapes": {"A": A, "N": N, "T": T, "used": USED, "D": D, "heads": H, "batch": asked.batch}}
    for group in (("attention: plain", "attention"), names):
        candidates = {name: lambda name=name: step(name, models[name], x) for name in group}
        result |= side_by_side(candidates, asked.repeats)
    for name in models:
        with get_context("spawn").Pool(1) as pool:
            result[name]["mb_an_image"] = pool.apply(memory, (name, asked.batch))
    for name in presets:
        result[name]["profile"] = profile(lambda name=name: step(name, models[name], x))
        result[name]["gflop_an_image"] = models[name].flops() / 1e9
        result[name]["trained_parameters"] = sum(p.numel() for p in models[name].parameters())
    for name in models:
        print(
            f"{name:18s}", {k: round(v, 3) for k, v in result[name].items() if k in ("per_s", "ratio", "mb_an_image")}
        )
    write("head", result)


if __name__ == "__main__":
    main()
