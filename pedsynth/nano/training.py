"""One step of the nano encoder's pretraining, and the state that a resumed run needs.

The loss is SigLIP's sigmoid loss over all pairs of a step's images and captions. The usual in-batch form, in which a
caption fits its own image only, does not converge here, because a short caption is true of many images: it fits those
too. Beside it the patches are trained to tell the words of longer descriptions. No label is used.
"""

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, pad

from pedsynth.nano import architecture
from pedsynth.nano.phrases import (
    LANGUAGES,
    caption,
    corpus,
    mentioned,
    salience,
    states,
    thoroughness,
    trait_names,
    truths,
)

WRONG, BACKGROUND = 0.1, 0.05  # shares of captions that describe somebody else, and the background only
WRITERS, SENTENCES = 5, 12  # descriptions of each image, and the traits that each of them states
_DENSE = 3.0  # weight of the words of descriptions in the loss
_LANGUAGE_SHARES = (0.35, *[0.13] * 5)


class Readout(torch.nn.Module):
    """A helper that is dropped after training: a query per word reads the patch tokens and says if it is there.

    It trains the patch tokens, and not only their pooled summary, to hold what a fusion head reads later. To
    predict which words a caption holds is SuperClass (Huang et al., NeurIPS 2024, arXiv 2411.03313); here from patches.
    """

    def __init__(self, rates, width=architecture.WIDTH):
        """`rates` (K,): how often each word is there; the biases start from these."""
        super().__init__()
        rates = torch.as_tensor(rates, dtype=torch.float32).clamp(0.005, 0.995)
        words = len(rates)
        self.query = torch.nn.Parameter(torch.randn(words, width) / width**0.5)
        self.key, self.value = torch.nn.Linear(width, width), torch.nn.Linear(width, width)
        self.answer = torch.nn.Parameter(torch.randn(words, width) / width**0.5)
        self.bias = torch.nn.Parameter(rates.logit())

    def forward(self, tokens):
        """tokens (B, N, D) -> logits (B, K)."""
        look = (self.key(tokens) @ self.query.T).transpose(1, 2).softmax(-1)  # (B, K, N)
        seen = look @ self.value(tokens)  # (B, K, D)
        return (seen * self.answer).sum(-1) + self.bias


class Captions:
    """A short caption for each image and a longer description, in one of six languages each, tokenized once.

    Of a caption's writers some describe another person or only the background.
    """

    def __init__(self, tokenizer, table, seed, forbidden=frozenset()):
        """`table` (N, K): traits; `forbidden`: lower-case texts to leave out, such as the prompts measured with."""
        rng, names, count = np.random.default_rng(seed), trait_names(), len(table)
        self.names, weights = names, salience()
        subject, kind = np.arange(count), rng.random(count)
        subject[kind < WRONG] = rng.integers(count, size=(kind < WRONG).sum())
        picked = mentioned(rng, table[subject], 2, weights)
        picked[rng.random(count) < 0.4, 1] = -1
        picked[kind > 1 - BACKGROUND] = -1
        codes = rng.choice(LANGUAGES, count, p=_LANGUAGE_SHARES)
        self.phrases = [self._caption(rng, c, row, forbidden) for c, row in zip(codes, picked, strict=True)]
        self.ids = encode_texts(tokenizer, [phrase.text for phrase in self.phrases])
        self.words = described(tokenizer, rng, table)

    def _caption(self, rng, code, row, forbidden):
        return caption(rng, str(code), [self.names[j] for j in row if j >= 0], forbidden)

    def answers(self, rows, traits):
        """Which of the captions `rows` fits which of the images `rows`, traits (B, K) bool: (B, B) float.

        A caption fits the image that it was written for, right or wrong, and every other of which it is true.
        """
        out = truths([self.phrases[i] for i in rows], traits, self.names)
        out &= np.array([bool(self.phrases[i].terms) for i in rows])  # about the background: that image only
        np.fill_diagonal(out, True)
        return torch.from_numpy(out).float()


def described(tokenizer, rng, table):
    """Words of the English descriptions of each image: the share of its `WRITERS` who use each word, (N, W) float16.

    A writer states `SENTENCES` traits of a person, fine ones seldom. Words of fewer than 1 in 200 images are left out.
    """
    wordings = [states("en", name) for name in trait_names()]
    first = np.cumsum([0, *map(len, wordings)])
    used = np.zeros((first[-1] + 1, len(tokenizer)), bool)  # the last row is that of no sentence
    for row, text in zip(used, [text for each in wordings for text in each], strict=False):
        row[tokenizer(text, add_special_tokens=False)["input_ids"]] = True
    used = used[:, used.any(0)]
    out = np.zeros((len(table), used.shape[1]), np.float16)
    for _ in range(WRITERS):
        picked = mentioned(rng, table, SENTENCES, thoroughness())
        count = np.diff(first)[picked]
        rows = np.where(picked >= 0, first[picked] + (rng.random(picked.shape) * count).astype(int), first[-1])
        one = np.zeros(out.shape, bool)
        for sentence in rows.T:
            one |= used[sentence]
        out += one / np.float16(WRITERS)
    return out[:, (out > 0).mean(0) >= 0.005]


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


def optimizers(named, lr):
    """[Muon for the matrices of the layers, AdamW at a third of its rate for the rest] of (name, parameter) pairs."""
    named = list(named)
    layers = [p for n, p in named if p.ndim == 2 and (".layers." in n or "head.mlp" in n)]
    chosen = {id(p) for p in layers}
    return [
        # Muon leaves the initial plateau in half of the steps that AdamW needs here.
        torch.optim.Muon(layers, lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for _, p in named if id(p) not in chosen], lr / 3, betas=(0.9, 0.98), weight_decay=0.02),
    ]


def update(optimizers, loss, lr, done, steps):
    """One step of gradient descent: warm-up, constant rate, decay over the last third of `steps`."""
    scale = min(1.0, (done + 1) / 50, max((steps - done) / max(1, steps // 3), 0.01))
    for optimizer, rate in zip(optimizers, (lr, lr / 3), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * scale
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for o in optimizers for group in o.param_groups for p in group["params"]], 1.0)
    for optimizer in optimizers:
        optimizer.step()


class Training:
    """Model, helper head, weight average and optimisers; `step` makes one update, `save` and `load` resume a run."""

    def __init__(self, renders, steps, batch=64, lr=3e-3, seed=0, forbidden=frozenset()):
        """`lr` is Muon's, for the matrices of the layers; AdamW trains everything else at a third of it.

        `pool` phrases are drawn in advance, none of them in `forbidden` (lower-case texts).
        """
        self.renders, self.steps, self.batch, self.lr = renders, steps, batch, lr
        self.seed, self.done = seed, 0
        tokenizer = architecture.make_tokenizer(corpus(seed))
        self.processor = architecture.make_processor(tokenizer)
        self.captions = Captions(tokenizer, renders.traits, seed, forbidden)
        self.model = architecture.make_model(len(tokenizer), seed)
        self.model.set_attn_implementation("eager")  # faster than the fused kernel on a CPU at this size
        architecture.start_from_patches(self.model, to_pixels(renders.images[:: max(1, len(renders) // 1000)]))
        self.helper = Readout(self.captions.words.mean(0))
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        named = [*self.model.named_parameters(), *self.helper.named_parameters()]
        self.optimizers = optimizers(named, lr)

    def step(self):
        """One update; returns the losses as a dict of float."""
        rng = np.random.default_rng((self.seed, 1, self.done))  # of the step alone: a resumed run draws the same
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(self.renders), self.batch, replace=False))
        traits = self.renders.traits[rows]
        pixels = augment(to_pixels(self.renders.images[rows]), generator)
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.model.vision_model(pixel_values=pixels)
            read = self.model.text_model(input_ids=self.captions.ids[rows])
            dense = self.helper(seen.last_hidden_state)
        words = torch.from_numpy(self.captions.words[rows]).float()
        cosine = normalize(seen.pooler_output.float(), dim=-1) @ normalize(read.pooler_output.float(), dim=-1).T
        logits = cosine * self.model.logit_scale.exp() + self.model.logit_bias  # (B, P)
        losses = {
            "captions": binary_cross_entropy_with_logits(logits, self.captions.answers(rows, traits)),
            "words": binary_cross_entropy_with_logits(dense.float(), words),
        }
        update(self.optimizers, losses["captions"] + _DENSE * losses["words"], self.lr, self.done, self.steps)
        self.done += 1
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()}

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
