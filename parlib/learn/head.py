"""The fusion head of VLM-PAR: image patches attend to the words of each attribute's prompt, or prompts to patches.

Paper, sections 3.4 and 3.5: image patch tokens are queries, prompt tokens are keys and values; then residual and
LayerNorm, feed-forward, residual and LayerNorm, the average over patches, and one linear classifier per attribute.
That is the default. The other options are ablations, and `PRESETS` names sets of them. `parlib.learn.fusion` explains
the shape letters.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import ModelCard, ModelCardData, PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from parlib.encode.encoder import Encoder, PromptFeatures
from parlib.encode.prompts import load_prompts
from parlib.errors import BadInput
from parlib.learn.fusion import Fusion
from parlib.memory import memory_budget
from parlib.schema import Schema

# paper: as described there. compact: the same, narrow, on 4 x 4 averaged patches. recommended: prompts query patches.
# paper-best: the paper's direction with what the recommended head has beside its own.
_LIGHT = {"heads": 4, "feedforward": 2, "dropout": 0.0}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {"width": 64, "grid": 4, **_LIGHT},
    "paper-best": {"norm_tokens": True, "pooled_residual": True, **_LIGHT},
    "recommended": {"queries": "prompts", "norm_tokens": True, "pooled_residual": True, **_LIGHT},
}
_CHOICES = {
    "queries": ("patches", "prompts", "both"),
    "image": ("patches", "pooled"),
    "words": ("own", "shifted", "random", "learned"),
}
# What is one per attribute; an `open` head has none of it.
_NOT_OPEN = {"words": "learned", "shared": False, "norm_logits": True}
BATCH = 64  # images scored at a time


class VLMPARHead(nn.Module, PyTorchModelHubMixin):
    """Patch tokens, pooled features and encoded prompts -> one logit per attribute.

    Everything needed to use a trained head is saved with it: the constructor's arguments in `config.json`; the encoded
    prompts, thresholds, temperature and `calibrated` as buffers in `model.safetensors`. Defaults are the paper's.
    """

    encoder_identity: dict[str, str] | None = None  # of the encoder it was trained on; set by `read_run`

    def __init__(
        self,
        schema: dict[str, Any],  # `Schema.to_dict()`, of A attributes; the head's own `schema` is a Schema
        prompts: Sequence[str],  # A phrases, in the schema's order
        encoder: str,  # name of the encoder whose features it takes
        image_width: int,  # of the encoder's patch tokens
        text_width: int,  # of its prompt tokens
        prompt_length: int,  # stored positions per prompt; T, the positions in use, is that of the longest prompt
        patches: int = 196,  # N, for which `describe` counts; the head accepts any number
        width: int | None = None,  # D; None is the encoder's own width; another one projects the patches first
        heads: int = 8,  # h
        learnable_tokens: int = 4,  # trained tokens beside each prompt's frozen ones
        grid: int | None = None,  # None keeps every patch; g averages the square patch map to g x g first
        feedforward: int = 4,  # hidden width of the feed-forward in units of D
        dropout: float = 0.1,  # after attention and inside the feed-forward
        queries: Literal["patches", "prompts", "both"] = "patches",  # both: two fusions, their outputs added
        image: Literal["patches", "pooled"] = "patches",  # pooled: the pooled feature in the place of the patches
        words: Literal["own", "shifted", "random", "learned"] = "own",  # see `set_prompts`
        open: bool = False,  # nothing of its own per attribute, so that it answers any prompt: see `for_prompts`
        shared: bool = True,  # one fusion for all attributes, or one per attribute (A times the parameters)
        mixer: int = 0,  # layers of self-attention over attributes before the classifiers
        exclusive: bool = False,  # softmax within the schema's exclusive sets; logits stay log-odds
        pooled_residual: bool = False,  # adds a linear classifier of the layer-normalised pooled feature to the logits
        norm_tokens: bool = False,  # LayerNorm on the input tokens
        norm_logits: bool = False,  # BatchNorm on the logits
        at_once: int | None = None,  # attributes fused at a time; None: as many as fit in memory
    ):
        super().__init__()
        self.schema, self.prompts, self.encoder = Schema.from_dict(schema), list(prompts), encoder
        self.names = self.schema.names
        self.method = "prompt-query head" if queries == "prompts" else "VLM-PAR head"  # its row name in tables
        A, D = len(self.schema), width or image_width
        if len(prompts) != A:
            raise BadInput(f"{len(prompts)} prompts for {A} attributes of {self.schema.name!r}: give one per attribute")
        if D % heads:
            raise BadInput(f"width {D} cannot be split over {heads} heads: choose a multiple")
        for option, value in (("queries", queries), ("image", image), ("words", words)):
            if value not in _CHOICES[option]:
                raise BadInput(f"unknown {option} {value!r} of a head; known: {', '.join(_CHOICES[option])}")
        chosen = {"words": words, "shared": shared, "norm_logits": norm_logits}
        for option, refused in _NOT_OPEN.items():
            if open and chosen[option] == refused:
                raise BadInput(f"an open head has nothing of its own per attribute: {option}={refused!r} is not for it")
        self.open, self.word_source = open, words
        self.patches, self.image, self.image_width, self.grid, self.shared = patches, image, image_width, grid, shared
        self.reads_patches = image == "patches"
        sets = self.schema.exclusive if exclusive else ()
        self.sets = [([self.schema.index(name) for name in s.members], s.exactly_one) for s in sets]
        prompt = torch.zeros(A, prompt_length, text_width)
        self.prompt_tokens = nn.Parameter(prompt) if words == "learned" else nn.Buffer(prompt)  # buffers: not trained
        self.prompt_mask = nn.Buffer(torch.ones(A, prompt_length, dtype=torch.bool))
        self.thresholds = nn.Buffer(torch.full((A,), 0.5))
        self.temperature = nn.Buffer(torch.ones(()))
        self.calibrated = nn.Buffer(torch.zeros(A, dtype=torch.bool))  # set by `parlib.learn.train.calibrate`

        norm = nn.LayerNorm if norm_tokens else nn.Identity
        self.norm_image, self.norm_text = norm(image_width), norm(text_width)
        self.project = nn.Identity() if image_width == D else nn.Linear(image_width, D)
        own = 1 if open else A  # what is one per attribute, or one for all
        self.learnable = nn.Parameter(torch.randn(own, learnable_tokens, text_width) * 0.02)
        directions = ("patches", "prompts") if queries == "both" else (queries,)
        copies = range(1 if shared else A)
        sizes = (text_width, D, heads, feedforward, dropout)
        self.fusions: Any = nn.ModuleList(nn.ModuleList(Fusion(side, *sizes) for _ in copies) for side in directions)
        layer = (D, heads, feedforward * D, dropout, "gelu")
        self.mixer = nn.Sequential(*(nn.TransformerEncoderLayer(*layer, batch_first=True) for _ in range(mixer)))
        self.classifier = nn.Parameter(torch.randn(own, D) / math.sqrt(D))
        self.bias = nn.Parameter(torch.zeros(own))
        self.pooled_residual = None
        if pooled_residual:
            linear = nn.Linear(image_width, text_width if open else A)
            self.pooled_residual = nn.Sequential(nn.LayerNorm(image_width), linear)
        self.norm_logits = nn.BatchNorm1d(A) if norm_logits else nn.Identity()
        if words in ("random", "learned"):  # drawn last: the other weights are those of a head with its own words
            self.prompt_tokens.data = F.normalize(torch.randn(A, prompt_length, text_width), dim=-1)
        self.at_once = at_once if shared else 1
        self.register_load_state_dict_post_hook(lambda head, _: head.__dict__.pop("_used", None) and None)

    @classmethod
    def _load_as_safetensor(cls, model, model_file, map_location, strict):
        """The mixin's own passes over weights that do not fit."""
        model.load_state_dict(load_file(model_file, map_location))
        return model.eval()

    @classmethod
    def for_encoder(
        cls, encoder: Encoder, schema: Schema, prompts: Sequence[str], preset: str = "paper", **options: Any
    ) -> "VLMPARHead":
        """A new head for an `Encoder`, with its prompts encoded; `options` change those of the preset."""
        if preset not in PRESETS:
            raise BadInput(f"unknown preset {preset!r} of the head; known: {', '.join(PRESETS)}")
        features = encoder.encode_prompts(prompts)
        _, length, text_width = features.tokens.shape  # (A, T, D_text)
        sizes = {"image_width": encoder.width, "text_width": text_width, "prompt_length": length}
        arguments = {**sizes, "patches": encoder.patches, **PRESETS[preset], **options}
        head = cls(schema.to_dict(), list(prompts), encoder.name, **arguments)
        if head.word_source == "learned":
            head.prompt_tokens.data *= features.tokens.norm(dim=-1).mean()
        return head.set_prompts(features)

    @torch.no_grad()
    def set_prompts(self, features: PromptFeatures) -> "VLMPARHead":
        """Use these encoded prompts, one per attribute, from the encoder the head was made for; returns the head.

        With `words="shifted"` each attribute takes the prompt of the one before it. `"random"` takes only the norms of
        the tokens, in directions that were drawn with the head's weights; `"learned"` takes only their number.
        """
        if features.tokens.shape != self.prompt_tokens.shape:
            want, got = (tuple(t.shape) for t in (self.prompt_tokens, features.tokens))
            raise BadInput(f"prompts do not fit this head: it takes (attributes, positions, width) {want}, got {got}")
        tokens, mask = features.tokens, features.mask  # (A, T, D_text), (A, T)
        if self.word_source == "shifted":
            tokens, mask = tokens.roll(1, 0), mask.roll(1, 0)
        elif self.word_source == "random":
            tokens = F.normalize(self.prompt_tokens, dim=-1) * tokens.to(self.prompt_tokens).norm(dim=-1, keepdim=True)
        if self.word_source != "learned":
            self.prompt_tokens.copy_(tokens)
        self.prompt_mask.copy_(mask)
        self.__dict__.pop("_used", None)
        return self

    def for_prompts(self, features: PromptFeatures, schema: Schema, prompts: Sequence[str] | None = None) -> Any:
        """An `open` head with these weights for the attributes of another schema, by their encoded prompts alone.

        `prompts` are the phrases, by default those of the schema (`load_prompts`). Thresholds are 0.5, and nothing is
        calibrated. `BadInput` for a head that is not open, or where an attribute has no prompt.
        """
        if not self.open:
            raise BadInput("this head answers only the attributes it was trained for: train one with the option `open`")
        phrases = list(load_prompts(schema) if prompts is None else prompts)
        changed = {"schema": schema.to_dict(), "prompts": phrases, "prompt_length": features.tokens.shape[1]}
        arguments: Any = self._hub_mixin_config
        made = type(self)(**{**arguments, **changed}).set_prompts(features)
        made.load_state_dict(dict(self.named_parameters()), strict=False)
        made.temperature.copy_(self.temperature)
        return made.to(self.classifier.device).train(self.training)

    @property
    def activation_bytes(self) -> int:
        """Bytes, in fp32, that training keeps for one attribute of one image: per row of the fusion the scores of each
        head, six results as wide as the head, and three as wide as its feed-forward. Less is needed without gradients.
        """
        read = 1 if self.image == "pooled" else self.grid**2 if self.grid else self.patches  # N
        written = self.prompt_tokens.shape[1] + self.learnable.shape[1]  # T
        fusion = self.fusions[0][0]
        rows, columns = (read, written) if fusion.by_patches else (1, read)
        wide = fusion.feedforward[0].out_features
        return 4 * rows * (3 * fusion.heads * columns + 6 * self.classifier.shape[1] + 3 * wide)

    def images_at_once(self, batch: int, device: torch.device) -> int:
        """Images of a batch that are trained on at a time: as many as `memory_budget` allows, all of a BatchNorm."""
        fitting = memory_budget(device) // (len(self.names) * self.activation_bytes)
        return batch if isinstance(self.norm_logits, nn.BatchNorm1d) else max(1, min(batch, fitting))

    def forward(self, tokens: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Patch tokens (B, N, D_image), pooled features (B, D_image) where an option reads them -> logits (B, A)."""
        inputs = self.inputs(tokens, pooled)
        z = sum(self._fuse(fusions, *inputs) for fusions in self.fusions)  # (B, A, D)
        logits = (self.mixer(z) * self.classifier).sum(-1) + self.bias  # (B, A, D) x (A, D) -> (B, A)
        if self.pooled_residual is not None:
            seen = self.pooled_residual(pooled)  # (B, A), of an open head (B, D_text)
            if self.open:
                groups = self._groups(self.fusions[0], tokens.shape[0], *inputs[2:])
                sentences = torch.cat([fusion.sentence(*group) for fusion, *group in groups])  # (A, D_text)
                seen = seen @ sentences.T / math.sqrt(seen.shape[1])  # (B, A)
            logits = logits + seen  # (B, A) + (B, A)
        return self.within_sets(self.norm_logits(logits))  # (B, A)

    def inputs(self, tokens: Tensor, pooled: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs of the fusion: patches x (B, N, D), their mask (B, N), words (A, T, D_text), their mask (A, T). Masks
        are False where padding; a patch token that is exactly 0 is padding (NaFlex)."""
        tokens = self._patches(tokens, pooled)  # (B, N, D_image)
        x = self.project(self.norm_image(tokens))  # (B, N, D_image) -> (B, N, D)
        return x, (tokens != 0).any(-1), *self.words(x.dtype)  # (B, N, D), (B, N), (A, T, D_text), (A, T)

    def _patches(self, tokens, pooled):
        """Patches as they are, averaged to a grid (cells share patches where the side is no multiple), or pooled."""
        if pooled is None and (self.image == "pooled" or self.pooled_residual is not None):
            raise BadInput("this head reads pooled features: give tokens and pooled")
        if self.image == "pooled":
            return pooled[:, None]  # (B, 1, D_image)
        if self.grid is None:
            return tokens  # (B, N, D_image)
        side = math.isqrt(tokens.shape[1])
        if side * side != tokens.shape[1] or side < self.grid:
            raise BadInput(f"{tokens.shape[1]} patches do not pool to a {self.grid}x{self.grid} grid; use grid=None")
        maps = tokens.transpose(1, 2).unflatten(-1, (side, side))  # (B, N, D_image) -> (B, D_image, side, side)
        return F.adaptive_avg_pool2d(maps, self.grid).flatten(2).transpose(1, 2)  # (B, grid * grid, D_image)

    def words(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Frozen and learnable prompt tokens (A, T, D_text) and their mask (A, T), without what is padding in all."""
        frozen = self.norm_text(self.prompt_tokens[:, : self._used])  # (A, used, D_text)
        learnable = self.learnable.to(dtype).expand(len(frozen), -1, -1)  # an open head's are the same for all
        words = torch.cat([frozen.to(dtype), learnable], 1)  # (A, T, D_text)
        return words, F.pad(self.prompt_mask[:, : self._used], (0, self.learnable.shape[1]), value=True)  # and (A, T)

    @cached_property
    def _used(self):
        """Positions of the prompts up to the last one in use; read once, as a GPU has to be waited for."""
        return int(self.prompt_mask.any(0).nonzero().max()) + 1

    def _fuse(self, fusions, x, patch_mask, words, word_mask):
        """One direction of attention for all attributes -> (B, A, D)."""
        groups = self._groups(fusions, x.shape[0], words, word_mask)
        return torch.cat([fusion(x, patch_mask, *group) for fusion, *group in groups], 1)  # (B, A, D)

    def _groups(self, fusions, images, words, word_mask):
        size = self.at_once or max(1, memory_budget(words.device) // (images * self.activation_bytes))
        groups = list(zip(words.split(size), word_mask.split(size), strict=True))
        return [(fusions[0 if self.shared else i], *group) for i, group in enumerate(groups)]

    def within_sets(self, logits: Tensor) -> Tensor:
        """Logits (B, A) -> log-odds (B, A) of a softmax within each exclusive set of k attributes; where none of them
        may hold, "none" is one more answer, with logit 0."""
        columns = list(logits.unbind(1))  # A of (B,)
        for members, exactly_one in self.sets:
            answers = logits[:, members] if exactly_one else F.pad(logits[:, members], (0, 1))  # (B, k) or (B, k + 1)
            for i, column in enumerate(members):
                others = [j for j in range(answers.shape[1]) if j != i]
                columns[column] = answers[:, i] - answers[:, others].logsumexp(1)  # (B,)
        return torch.stack(columns, 1)  # (B, A)

    @torch.no_grad()
    def attention(self, tokens: Tensor, pooled: Tensor | None = None, attributes: slice = slice(None)) -> Tensor:
        """Where attributes look: (B, A, N), the mean over heads; `attributes` selects some. By prompts (or both): the
        attention over patches, sum 1. By patches: each patch's attention on the prompt token that receives most."""
        x, patch_mask, words, word_mask = self.inputs(tokens, pooled)
        fusions = self.fusions[-1] if self.shared else self.fusions[-1][attributes]
        groups = self._groups(fusions, x.shape[0], words[attributes], word_mask[attributes])
        parts = [fusion.attend(x, patch_mask, *group).mean(1) for fusion, *group in groups]  # (B, A, N) or (B, A, N, T)
        return torch.cat([part if part.ndim == 3 else part.amax(-1) for part in parts], 1)  # (B, A, N)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The README.md of a head saved by itself, in place of the mixin's own, whose fields nobody fills."""
        front = ModelCardData(library_name="parlib", pipeline_tag="image-classification").to_yaml()
        text = f"{len(self.names)} attributes on the frozen encoder `{Path(self.encoder).name}`."
        use = '`parlib.load("FOLDER")` loads it; `save_pretrained` of what that returns writes scores and limits here.'
        return ModelCard(f"---\n{front}\n---\n\n# {self.method}\n\n{text}\n\n{use}\n")

    @torch.enable_grad()  # without it torch may take a fused layer that its counter does not see
    def flops(self) -> int:
        """Floating-point operations of one more image in a forward pass, as torch counts them (matrix products)."""
        counts, training = [], self.training
        self.eval()
        for images in (1, 2):  # their difference leaves out what is computed once for all images
            tokens = self.prompt_tokens.new_ones(images, self.patches, self.image_width)  # (B, N, D_image)
            with FlopCounterMode(display=False) as counter:
                self(tokens, tokens.mean(1))
            counts.append(counter.get_total_flops())
        self.train(training)
        return counts[1] - counts[0]

    def describe(self) -> str:
        """One line: what attends to what, sizes, trained parameters, FLOPs per image."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        D, T = self.classifier.shape[1], int(self.prompt_mask.sum(1).max())
        patches = "the pooled feature" if self.image == "pooled" else f"{self.patches} patches"
        patches += f" pooled to {self.grid}x{self.grid}" if self.grid else ""
        words = f"up to {T} prompt + {self.learnable.shape[1]} learnable tokens of {len(self.prompts)} attributes"
        verb = " and ".join("query" if fusion.by_patches else "are queried by" for fusion, *_ in self.fusions)
        cost = f"{trained:,} trained parameters, {self.flops() / 1e9:.3g} GFLOP per image"
        return f"{patches} {verb} {words}; width {D}, {self.fusions[0][0].heads} heads, {cost}"
