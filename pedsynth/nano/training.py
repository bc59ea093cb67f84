"""One step of the nano encoder's pretraining, and the state that a resumed run needs.

The loss is SigLIP's sigmoid loss with exact targets: every phrase of a step against every image of that step, and the
renderer's truth for each pair. The usual in-batch form does not converge here, because a short phrase is true of many
images.
"""

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, pad

from pedsynth.nano import architecture
from pedsynth.nano.phrases import LANGUAGES, corpus, sample_phrase, trait_names, truths

_KINDS, _KIND_SHARES = ("is", "not", "both"), (0.66, 0.1, 0.24)
_LANGUAGE_SHARES = (0.35, *[0.13] * 5)


class Readout(torch.nn.Module):
    """A helper head that is dropped after training: one query per trait reads the patch tokens and gives a logit.

    It trains the patch tokens, and not only their pooled summary, to hold what a fusion head reads later.
    """

    def __init__(self, rates, width=architecture.WIDTH):
        """`rates` (K,): how often each trait is true; the biases start from these."""
        super().__init__()
        rates = torch.as_tensor(rates, dtype=torch.float32).clamp(0.005, 0.995)
        traits = len(rates)
        self.query = torch.nn.Parameter(torch.randn(traits, width) / width**0.5)
        self.key, self.value = torch.nn.Linear(width, width), torch.nn.Linear(width, width)
        self.answer = torch.nn.Parameter(torch.randn(traits, width) / width**0.5)
        self.pooled = torch.nn.Linear(width, traits)
        self.bias = torch.nn.Parameter(rates.logit())
        with torch.no_grad():
            self.pooled.bias.copy_(rates.logit())

    def forward(self, tokens, pooled):
        """tokens (B, N, D), pooled (B, D) -> logits (B, K) from patches and (B, K) from the summary."""
        look = (self.key(tokens) @ self.query.T).transpose(1, 2).softmax(-1)  # (B, K, N)
        seen = look @ self.value(tokens)  # (B, K, D)
        return (seen * self.answer).sum(-1) + self.bias, self.pooled(pooled)


class PhrasePool:
    """Phrases tokenized once: token ids `ids` (P, T); `answers` says of whom each phrase is true."""

    def __init__(self, tokenizer, count, seed, forbidden=frozenset()):
        """`forbidden`: lower-case texts to leave out, such as the prompts that the encoder is measured with."""
        rng = np.random.default_rng(seed)
        codes = rng.choice(LANGUAGES, count, p=_LANGUAGE_SHARES)
        kinds = rng.choice(_KINDS, count, p=_KIND_SHARES)
        each = zip(codes, kinds, strict=True)
        self.phrases = [sample_phrase(rng, str(c), str(k), forbidden=forbidden) for c, k in each]
        self.ids = encode_texts(tokenizer, [phrase.text for phrase in self.phrases])

    def answers(self, rows, traits):
        """Whether each of the phrases `rows` is true of each person: `traits` (B, K) bool -> (B, len(rows)) float."""
        return torch.from_numpy(truths([self.phrases[i] for i in rows], traits, trait_names())).float()


def encode_texts(tokenizer, texts):
    """Token ids (P, T), padded to the full length as the text tower expects."""
    options = {"padding": "max_length", "max_length": architecture.LENGTH, "truncation": True, "return_tensors": "pt"}
    return tokenizer(list(texts), **options)["input_ids"]


def to_pixels(images):
    """(B, 96, 96, 3) uint8 -> (B, 3, 96, 96) in -1..1."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augment(pixels, generator):
    """Mirror half of a batch, shift it by up to 5 px, and change brightness and colour."""
    batch = len(pixels)
    flip = torch.rand(batch, generator=generator) < 0.5
    pixels = torch.where(flip[:, None, None, None], pixels.flip(-1), pixels)
    across, down = torch.randint(0, 11, (2,), generator=generator).tolist()
    size = pixels.shape[-1]
    pixels = pad(pixels, (5, 5, 5, 5), "replicate")[..., down : down + size, across : across + size]
    gain = 1 + 0.15 * (2 * torch.rand(batch, 3, 1, 1, generator=generator) - 1)
    lift = 0.15 * (2 * torch.rand(batch, 1, 1, 1, generator=generator) - 1)
    return (pixels * gain + lift).clamp(-1, 1)


class Training:
    """Model, helper head, weight average and optimisers; `step` makes one update, `save` and `load` resume a run."""

    def __init__(self, renders, steps, batch=64, phrases=64, lr=3e-3, seed=0, pool=60_000, forbidden=frozenset()):
        """`lr` is Muon's, for the matrices of the layers; AdamW trains everything else at a third of it.

        `pool` phrases are drawn in advance, none of them in `forbidden` (lower-case texts).
        """
        self.renders, self.steps, self.batch, self.phrase_count, self.lr = renders, steps, batch, phrases, lr
        self.seed, self.done = seed, 0
        tokenizer = architecture.make_tokenizer(corpus(seed))
        self.processor = architecture.make_processor(tokenizer)
        self.pool = PhrasePool(tokenizer, pool, seed, forbidden)
        self.model = architecture.make_model(len(tokenizer), seed)
        self.model.set_attn_implementation("eager")  # faster than the fused kernel on a CPU at this size
        architecture.start_from_patches(self.model, to_pixels(renders.images[:: max(1, len(renders) // 1000)]))
        self.helper = Readout(renders.traits.mean(0))
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        named = [*self.model.named_parameters(), *self.helper.named_parameters()]
        layers = {id(p) for n, p in named if p.ndim == 2 and (".layers." in n or "head.mlp" in n)}
        self.parameters = [p for _, p in named]
        self.optimizers = [
            # Muon leaves the initial plateau in half of the steps that AdamW needs here.
            torch.optim.Muon(
                [p for p in self.parameters if id(p) in layers], lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(
                [p for p in self.parameters if id(p) not in layers], lr / 3, betas=(0.9, 0.98), weight_decay=0.02
            ),
        ]

    def step(self):
        """One update; returns the losses as a dict of float."""
        rng = np.random.default_rng((self.seed, 1, self.done))  # of the step alone: a resumed run draws the same
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(self.renders), self.batch, replace=False))
        texts = rng.choice(len(self.pool.phrases), self.phrase_count, replace=False)
        traits = self.renders.traits[rows]
        pixels = augment(to_pixels(self.renders.images[rows]), generator)
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.model.vision_model(pixel_values=pixels)
            read = self.model.text_model(input_ids=self.pool.ids[texts])
            by_patch, by_summary = self.helper(seen.last_hidden_state, seen.pooler_output)
        cosine = normalize(seen.pooler_output.float(), dim=-1) @ normalize(read.pooler_output.float(), dim=-1).T
        logits = cosine * self.model.logit_scale.exp() + self.model.logit_bias  # (B, P)
        truth = torch.from_numpy(traits).float()
        losses = {
            "phrases": binary_cross_entropy_with_logits(logits, self.pool.answers(texts, traits)),
            "patches": binary_cross_entropy_with_logits(by_patch.float(), truth),
            "summary": binary_cross_entropy_with_logits(by_summary.float(), truth),
        }
        self._set_rates()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _set_rates(self):
        """Warm up, stay constant, decay over the last third; a run that is stopped early skips only the decay."""
        left = (self.steps - self.done) / max(1, self.steps // 3)
        scale = min(1.0, (self.done + 1) / 50, max(left, 0.01))
        for optimizer, rate in zip(self.optimizers, (self.lr, self.lr / 3), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _update_average(self):
        keep = min(0.995, (1 + self.done) / (10 + self.done))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def averaged(self):
        """A copy of the model with the averaged weights; this one is shipped."""
        model = type(self.model)(self.model.config)
        model.load_state_dict(self.average)
        return model.eval()

    def save(self, path):
        """Write everything that a resumed run needs as safetensors; the file is written whole or not at all."""
        parts = {"model": self.model.state_dict(), "helper": self.helper.state_dict(), "average": self.average}
        tensors = {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}
        for i, optimizer in enumerate(self.optimizers):
            for key, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer{i}/{key}/{name}": value for name, value in state.items()}
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"done": str(self.done)})
        partial.replace(path)

    def load(self, path):
        """Resume from a file of `save`."""
        with safe_open(path, "pt") as file:
            self.done = int(file.metadata()["done"])
        parts, states = {"model": {}, "helper": {}, "average": {}}, [{} for _ in self.optimizers]
        for name, value in load_file(path).items():
            part, _, rest = name.partition("/")
            if part in parts:
                parts[part][rest] = value
            else:
                key, _, field = rest.partition("/")
                states[int(part[-1])].setdefault(int(key), {})[field] = value
        self.model.load_state_dict(parts["model"])
        self.helper.load_state_dict(parts["helper"])
        self.average = parts["average"]
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
