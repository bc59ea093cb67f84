"""The fusion head of VLM-PAR: image patches look at the words of each attribute's prompt, or the words at the patches.

Paper sections 3.4 and 3.5: queries are image patch tokens, keys and values are prompt tokens; residual and LayerNorm,
feed-forward, residual and LayerNorm, average pooling, one linear classifier an attribute. That is the default; the
other options are ablations, and `PRESETS` names three sets of them.

Shape letters: B images, N patches, A attributes, T prompt tokens, h heads, d head width, D model width.
"""

import functools
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import ModelCard, ModelCardData, PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from parlib.encode.encoder import Encoder, PromptFeatures
from parlib.errors import BadInput
from parlib.learn.fusion import Fusion, given, to_grid
from parlib.schema import Schema

# paper: as described there. compact: the same, narrow, on 4 x 4 averaged patches. recommended: prompts query patches.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {"width": 64, "heads": 4, "grid": 4, "feedforward": 2, "dropout": 0.0},
    "recommended": {
        **{"queries": "prompts", "norm_tokens": True, "pooled_residual": True},
        **{"heads": 4, "feedforward": 2, "dropout": 0.0},
    },
}
_CHOICES = {"queries": ("patches", "prompts", "both"), "image": ("patches", "pooled")}


class VLMPARHead(nn.Module, PyTorchModelHubMixin):
    """Patch tokens, pooled features and encoded prompts -> one logit an attribute.

    Everything needed to use a trained head travels with it: the constructor's arguments as `config.json`; the encoded
    prompts, the thresholds and the temperature as buffers in `model.safetensors`.

    Args:
        schema: `Schema.to_dict()` of the benchmark; A is its number of attributes.
        prompts: A phrases, in the schema's order.
        encoder: name of the encoder whose features it takes.
        image_width, text_width: width of the encoder's patch and prompt tokens.
        prompt_length: positions stored of each prompt; T, those in use, is the longest prompt set.
        patches: N, what `describe` counts for; any number is taken.
        width: D; None is the paper's, the encoder's own width. A smaller one projects the patches first.
        heads: h; the paper's is 8.
        learnable_tokens: trained tokens beside each prompt's frozen ones.
        grid: None keeps every patch; g averages the square patch map to g x g first.
        feedforward: hidden width of the feed-forward in units of D; the paper's is 4.
        dropout: after attention and inside the feed-forward.
        queries: `patches` (the paper's), `prompts`, or `both` (two fusions, their outputs added).
        image: `patches`, or `pooled` to put the pooled feature in their place.
        shared: one fusion for all attributes, or False for one each (A times the parameters).
        mixer: layers of self-attention over attributes before the classifiers.
        exclusive: softmax within the schema's exclusive sets; logits stay log-odds.
        pooled_residual: adds a linear classifier of the layer-normalised pooled feature to the logits.
        norm_tokens, norm_logits: LayerNorm on what comes in, BatchNorm on what goes out.
        at_once: attributes fused at a time; fewer need less memory, also in training, where they are computed twice.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        prompts: Sequence[str],
        encoder: str,
        image_width: int,
        text_width: int,
        prompt_length: int,
        patches: int = 196,
        width: int | None = None,
        heads: int = 8,
        learnable_tokens: int = 4,
        grid: int | None = None,
        feedforward: int = 4,
        dropout: float = 0.1,
        queries: Literal["patches", "prompts", "both"] = "patches",
        image: Literal["patches", "pooled"] = "patches",
        shared: bool = True,
        mixer: int = 0,
        exclusive: bool = False,
        pooled_residual: bool = False,
        norm_tokens: bool = False,
        norm_logits: bool = False,
        at_once: int | None = None,
    ):
        super().__init__()
        names = [attribute["name"] for attribute in schema["attributes"]]
        A, D = len(names), width or image_width
        if len(prompts) != A:
            raise BadInput(f"{len(prompts)} prompts for {A} attributes of {schema['name']!r}: give one each")
        if D % heads:
            raise BadInput(f"width {D} cannot be split over {heads} heads: choose a multiple")
        for option, value in (("queries", queries), ("image", image)):
            if value not in _CHOICES[option]:
                raise BadInput(f"unknown {option} {value!r} of a head; known: {', '.join(_CHOICES[option])}")
        self.schema, self.prompts, self.encoder = schema, list(prompts), encoder
        self.patches, self.image, self.image_width, self.grid, self.shared = patches, image, image_width, grid, shared
        self.at_once = (at_once or A) if shared else 1
        sets = schema.get("exclusive", ()) if exclusive else ()
        self.sets = [([names.index(m) for m in s["members"]], s.get("exactly_one", False)) for s in sets]
        # Buffers, so that they are saved and moved with the weights and never trained.
        self.prompt_tokens = nn.Buffer(torch.zeros(A, prompt_length, text_width))
        self.prompt_mask = nn.Buffer(torch.ones(A, prompt_length, dtype=torch.bool))
        self.thresholds = nn.Buffer(torch.full((A,), 0.5))
        self.temperature = nn.Buffer(torch.ones(()))

        norm = nn.LayerNorm if norm_tokens else nn.Identity
        self.norm_image, self.norm_text = norm(image_width), norm(text_width)
        self.project = nn.Identity() if image_width == D else nn.Linear(image_width, D)
        self.learnable = nn.Parameter(torch.randn(A, learnable_tokens, text_width) * 0.02)
        sides = ("patches", "prompts") if queries == "both" else (queries,)
        made, each = (text_width, D, heads, feedforward, dropout), range(1 if shared else A)
        self.fusions: Any = nn.ModuleList(nn.ModuleList(Fusion(side, *made) for _ in each) for side in sides)
        layer = (D, heads, feedforward * D, dropout, "gelu")
        self.mixer = nn.Sequential(*(nn.TransformerEncoderLayer(*layer, batch_first=True) for _ in range(mixer)))
        self.classifier = nn.Parameter(torch.randn(A, D) / math.sqrt(D))
        self.bias = nn.Parameter(torch.zeros(A))
        self.pooled_residual = None
        if pooled_residual:
            self.pooled_residual = nn.Sequential(nn.LayerNorm(image_width), nn.Linear(image_width, A))
        self.norm_logits = nn.BatchNorm1d(A) if norm_logits else nn.Identity()

    @classmethod
    def _from_pretrained(cls, *, model_id, map_location="cpu", strict=True, **options):
        """Load a local folder in silence (the mixin prints, and commands print JSON); the hub as the mixin does."""
        if not Path(model_id).is_dir():
            return super()._from_pretrained(model_id=model_id, map_location=map_location, strict=strict, **options)
        with torch.device("meta"):  # no memory for sizes that the weights may not have
            made = cls(**{k: v for k, v in options.items() if k in inspect.signature(cls).parameters})
        made.load_state_dict(load_file(Path(model_id) / "model.safetensors", map_location), strict=strict, assign=True)
        return made.float().eval()

    @classmethod
    def for_encoder(
        cls, encoder: Encoder, schema: Schema, prompts: Sequence[str], preset: str = "paper", **options: Any
    ) -> "VLMPARHead":
        """A new head for an `Encoder`, its prompts encoded once: a preset, and what `options` change in it."""
        if preset not in PRESETS:
            raise BadInput(f"unknown preset {preset!r} of the head; known: {', '.join(PRESETS)}")
        features = encoder.encode_prompts(prompts)
        _, length, text_width = features.tokens.shape
        sizes = {"image_width": encoder.width, "text_width": text_width, "prompt_length": length}
        given = {**sizes, "patches": encoder.patches, **PRESETS[preset], **options}
        return cls(schema.to_dict(), list(prompts), encoder.name, **given).set_prompts(features)

    def set_prompts(self, features: PromptFeatures) -> "VLMPARHead":
        """Take over encoded prompts (`PromptFeatures`), one an attribute, from the encoder the head was made for."""
        if features.tokens.shape != self.prompt_tokens.shape:
            want, got = tuple(self.prompt_tokens.shape), tuple(features.tokens.shape)
            raise BadInput(f"prompts do not fit this head: it takes (attributes, positions, width) {want}, got {got}")
        self.prompt_tokens.copy_(features.tokens)
        self.prompt_mask.copy_(features.mask)
        return self

    @property
    def method(self) -> str:
        """Its row name in tables: the paper's name only for the paper's direction of attention."""
        return "VLM-PAR head" if self.fusions[0][0].by_patches else "prompt-query head"

    def inputs(self, tokens: torch.Tensor, pooled: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """What meets in the fusion: x (B, N, D), real (B, N), words (A, T, D_text) frozen and learnable, mask (A, T).

        `real` and `mask` are False where padding; a patch token that is exactly 0 is padding (NaFlex)."""
        tokens = to_grid(tokens, self.grid) if self.image == "patches" else given(pooled)[:, None]
        x, real = self.project(self.norm_image(tokens)), (tokens != 0).any(-1)  # (B, N, D), (B, N)
        return x, real, *self.words(x.dtype)

    def words(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """What `inputs` gives of the prompts alone; positions that are padding in every prompt are left out first."""
        used = int(self.prompt_mask.any(0).nonzero().max()) + 1
        frozen = self.norm_text(self.prompt_tokens[:, :used])
        words = torch.cat([frozen.to(dtype), self.learnable.to(dtype)], 1)  # (A, T, D_text)
        return words, F.pad(self.prompt_mask[:, :used], (0, self.learnable.shape[1]), value=True)

    def forward(self, tokens: torch.Tensor, pooled: torch.Tensor | None = None) -> torch.Tensor:
        """Patch tokens (B, N, D_image), pooled features (B, D_image) where an option reads them -> logits (B, A)."""
        *image, words, mask = self.inputs(tokens, pooled)
        groups = list(zip(words.split(self.at_once), mask.split(self.at_once), strict=True))
        z: torch.Tensor | int = 0
        for fusions in self.fusions:
            parts = zip(fusions if not self.shared else list(fusions) * len(groups), groups, strict=True)
            again = self.shared and len(groups) > 1 and torch.is_grad_enabled()
            run = functools.partial(checkpoint, use_reentrant=False) if again else lambda fusion, *given: fusion(*given)
            z = z + torch.cat([run(fusion, *image, *group) for fusion, group in parts], 1)
        logits = (self.mixer(z) * self.classifier).sum(-1) + self.bias  # (B, A, D) x (A, D) -> (B, A)
        if self.pooled_residual is not None:
            logits = logits + self.pooled_residual(given(pooled))
        return self.within_sets(self.norm_logits(logits))

    def within_sets(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-odds of a softmax within each exclusive set, with "none" as one more answer where none may hold."""
        columns = list(logits.unbind(1))
        for members, exactly_one in self.sets:
            answers = logits[:, members] if exactly_one else F.pad(logits[:, members], (0, 1))  # (B, k or k + 1)
            for i, column in enumerate(members):
                others = [j for j in range(answers.shape[1]) if j != i]
                columns[column] = answers[:, i] - answers[:, others].logsumexp(1)
        return torch.stack(columns, 1)

    @torch.no_grad()
    def attention(
        self, tokens: torch.Tensor, pooled: torch.Tensor | None = None, attributes: slice = slice(None)
    ) -> torch.Tensor:
        """Where attributes look: (B, A, N), the mean over heads. From prompts: the attention over patches, sum 1. From
        patches: for each patch its attention on the prompt's most attended token. `attributes`: a slice of them."""
        x, real, words, mask = self.inputs(tokens, pooled)
        groups = zip(words[attributes].split(self.at_once), mask[attributes].split(self.at_once), strict=True)
        fusions = self.fusions[-1]  # the prompts' where there are both
        if not self.shared:
            fusions = fusions[attributes]
        weights = [fusions[i * (not self.shared)].attend(x, real, *group).mean(1) for i, group in enumerate(groups)]
        return torch.cat([w if w.ndim == 3 else w.amax(-1) for w in weights], 1)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The README.md of a head saved by itself, in place of the mixin's own, whose fields nobody fills."""
        data = ModelCardData(library_name="parlib", pipeline_tag="image-classification")
        text = f"{len(self.prompts)} attributes on the frozen encoder `{Path(self.encoder).name}`."
        use = '`parlib.load("FOLDER")` loads it; `save_pretrained` of what that returns writes scores and limits here.'
        return ModelCard(
            f"---\n{data.to_yaml()}\n---\n\n# {self.method[0].upper()}{self.method[1:]}\n\n{text}\n\n{use}\n"
        )

    @torch.enable_grad()  # without it torch may take a fused layer that its counter does not see
    def flops(self) -> int:
        """Floating-point operations of one more image in a forward pass, as torch counts them (matrix products)."""
        counts, training = [], self.training
        self.eval()
        for images in (1, 2):  # their difference leaves out what is computed once for all images
            tokens = self.prompt_tokens.new_ones(images, self.patches, self.image_width)
            with FlopCounterMode(display=False) as counter:
                self(tokens, tokens.mean(1))
            counts.append(counter.get_total_flops())
        self.train(training)
        return counts[1] - counts[0]

    def describe(self) -> str:
        """One line: what attends to what, sizes, trained parameters, FLOPs an image."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        D, T = self.classifier.shape[1], int(self.prompt_mask.sum(1).max())
        patches = "the pooled feature" if self.image == "pooled" else f"{self.patches} patches"
        patches += f" pooled to {self.grid}x{self.grid}" if self.grid else ""
        words = f"up to {T} prompt + {self.learnable.shape[1]} learnable tokens of {len(self.prompts)} attributes"
        both, first = len(self.fusions) == 2, self.fusions[0][0]
        verb = "and, in turn, are queried by" if both else "query" if first.by_patches else "are queried by"
        return (
            f"{patches} {verb} {words}; width {D}, {first.heads} heads, "
            f"{trained:,} trained parameters, {self.flops() / 1e9:.3g} GFLOP an image"
        )
