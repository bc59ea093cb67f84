"""The fusion head of VLM-PAR: image patches look at the words of each attribute's prompt.

Paper sections 3.4 and 3.5: queries are image patch tokens, keys and values are prompt tokens; residual and LayerNorm,
feed-forward, residual and LayerNorm, average pooling, one linear classifier an attribute.

Shape letters: B images, N patches, A attributes, T prompt tokens, h heads, d head width, D model width.
"""

import inspect
import math
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from parlib.errors import BadInput


class VLMPARHead(nn.Module, PyTorchModelHubMixin):
    """Patch tokens and encoded prompts -> one logit an attribute.

    Everything needed to use a trained head travels with it: the constructor's arguments as `config.json`, the encoded
    prompts and the thresholds as buffers in `model.safetensors`.

    Args:
        schema: `Schema.to_dict()` of the benchmark; A is its number of attributes.
        prompts: A phrases, in the schema's order.
        encoder: name of the encoder whose features it takes.
        image_width, text_width: width of the encoder's patch and prompt tokens.
        prompt_length: positions stored of each prompt; T, those in use, is the longest prompt set.
        width: D; None is the paper's, the encoder's own width. A smaller one projects the patches first.
        heads: h; the paper's is 8.
        learnable_tokens: trained tokens beside each prompt's frozen ones.
        grid: None keeps every patch; g averages the square patch map to g x g first (compact).
        feedforward: hidden width of the feed-forward in units of D; the paper's is 4.
        dropout: after attention and inside the feed-forward.
    """

    def __init__(
        self,
        schema,
        prompts,
        encoder,
        image_width,
        text_width,
        prompt_length,
        width=None,
        heads=8,
        learnable_tokens=4,
        grid=None,
        feedforward=4,
        dropout=0.1,
    ):
        super().__init__()
        attributes = len(schema["attributes"])
        D = width or image_width
        if len(prompts) != attributes:
            raise BadInput(f"{len(prompts)} prompts for {attributes} attributes of {schema['name']!r}: give one each")
        if D % heads:
            raise BadInput(f"width {D} cannot be split over {heads} heads: choose a multiple")
        self.schema, self.prompts, self.encoder = schema, list(prompts), encoder
        self.heads, self.grid = heads, grid
        # Buffers, so that they are saved and moved with the weights and never trained.
        self.register_buffer("prompt_tokens", torch.zeros(attributes, prompt_length, text_width))
        self.register_buffer("prompt_mask", torch.ones(attributes, prompt_length, dtype=torch.bool))
        self.register_buffer("thresholds", torch.full((attributes,), 0.5))

        self.project = nn.Identity() if image_width == D else nn.Linear(image_width, D)
        self.learnable = nn.Parameter(torch.randn(attributes, learnable_tokens, text_width) * 0.02)
        self.query = nn.Linear(D, D)
        self.key = nn.Linear(text_width, D)
        self.value = nn.Linear(text_width, D)
        self.out = nn.Linear(D, D)
        self.norm_attention = nn.LayerNorm(D)
        self.feedforward = nn.Sequential(
            nn.Linear(D, feedforward * D), nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward * D, D)
        )
        self.norm_feedforward = nn.LayerNorm(D)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Parameter(torch.randn(attributes, D) / math.sqrt(D))
        self.bias = nn.Parameter(torch.zeros(attributes))

    @classmethod
    def _from_pretrained(cls, *, model_id, map_location="cpu", strict=True, **options):
        """Load a local folder in silence (the mixin prints, and commands print JSON); the hub as the mixin does."""
        if not Path(model_id).is_dir():
            return super()._from_pretrained(model_id=model_id, map_location=map_location, strict=strict, **options)
        made = cls(**{k: v for k, v in options.items() if k in inspect.signature(cls).parameters})
        made.load_state_dict(load_file(Path(model_id) / "model.safetensors", map_location), strict=strict)
        return made.eval()

    @classmethod
    def for_encoder(cls, encoder, schema, prompts, **options):
        """A new head for an `Encoder`, its prompts encoded once."""
        features = encoder.encode_prompts(prompts)
        _, length, text_width = features.tokens.shape
        widths = {"image_width": encoder.width, "text_width": text_width, "prompt_length": length}
        head = cls(schema.to_dict(), list(prompts), encoder.name, **widths, **options)
        return head.set_prompts(features)

    def set_prompts(self, features):
        """Take over encoded prompts (`PromptFeatures`), one an attribute, from the encoder the head was made for."""
        if features.tokens.shape != self.prompt_tokens.shape:
            asked, given = tuple(self.prompt_tokens.shape), tuple(features.tokens.shape)
            raise BadInput(
                f"prompts do not fit this head: it takes (attributes, positions, width) {asked}, got {given}"
            )
        self.prompt_tokens.copy_(features.tokens)
        self.prompt_mask.copy_(features.mask)
        return self

    def attend(self, tokens):
        """Patch tokens (B, N, D_image) -> residual stream x (B, N, D), attention weights (B, h, A, N, T), and the keys'
        tokens (A, T, D_text)."""
        x = self.project(self.pool_grid(tokens))  # (B, N, D)
        # Positions that are padding in every prompt are left out before anything is computed on them.
        used = int(self.prompt_mask.any(0).nonzero().max()) + 1
        frozen = self.prompt_tokens[:, :used]
        prompt = torch.cat([frozen.to(x.dtype), self.learnable.to(x.dtype)], 1)  # (A, T, D_text)
        mask = F.pad(self.prompt_mask[:, :used], (0, self.learnable.shape[1]), value=True)  # (A, T)
        q = self._split(self.query(x))  # (B, h, N, d)
        k = self._split(self.key(prompt))  # (A, h, T, d)
        # (B, h, N, d) x (A, h, T, d) -> (B, h, A, N, T)
        scores = torch.einsum("bhnd,ahtd->bhant", q, k) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~mask[:, None], -math.inf).softmax(-1)  # (A, 1, T) broadcasts over h, N
        return x, weights, prompt

    def forward(self, tokens, pooled=None):
        """Patch tokens (B, N, D_image) -> logits (B, A). `pooled` is accepted for the heads' common call, not used."""
        x, weights, prompt = self.attend(tokens)
        v = self._split(self.value(prompt))  # (A, h, T, d)
        # The output projection acts on each head's slice alone, so it is folded into the few values
        # instead of being applied to every (patch, attribute) pair.
        w_out = self.out.weight.view(-1, self.heads, v.shape[-1])  # (D, h, d)
        v = torch.einsum("ahtd,ehd->ahte", v, w_out)  # (A, h, T, D)
        # (B, h, A, N, T) x (A, h, T, D) -> (B, A, N, D)
        attended = torch.einsum("bhant,ahte->bane", weights, v) + self.out.bias
        y = self.norm_attention(x[:, None] + self.dropout(attended))  # (B, A, N, D)
        z = self.norm_feedforward(y + self.dropout(self.feedforward(y)))  # (B, A, N, D)
        return (z.mean(2) * self.classifier).sum(-1) + self.bias  # (B, A)

    @torch.no_grad()
    def attention(self, tokens):
        """Where attributes look: (B, A, N), for each patch the attention on its prompt's most attended token."""
        weights = self.attend(tokens)[1]  # (B, h, A, N, T)
        return weights.mean(1).amax(-1)

    def describe(self):
        """One line: what attends to what, sizes, trained parameters."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        D, T = self.out.in_features, int(self.prompt_mask.sum(1).max())
        patches = "all patches" if self.grid is None else f"{self.grid}x{self.grid} pooled patches"
        words = f"up to {T} prompt + {self.learnable.shape[1]} learnable tokens"
        return (
            f"{patches} query {words} of {len(self.prompts)} attributes; "
            f"width {D}, {self.heads} heads, {trained:,} trained parameters"
        )

    def _split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (?, L, D) -> (?, h, L, d)

    def pool_grid(self, tokens):
        """Patch tokens (B, N, D) averaged to the head's grid, (B, grid * grid, D); unchanged without one."""
        if self.grid is None:
            return tokens
        side = math.isqrt(tokens.shape[1])
        if side * side != tokens.shape[1] or side % self.grid:
            raise BadInput(f"{tokens.shape[1]} patches do not pool to a {self.grid}x{self.grid} grid; use grid=None")
        maps = tokens.transpose(1, 2).unflatten(-1, (side, side))  # (B, D, side, side)
        return F.avg_pool2d(maps, side // self.grid).flatten(2).transpose(1, 2)  # (B, grid * grid, D)
