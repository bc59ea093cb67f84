"""Cross-attention between image patches and the words of prompts: the block in the middle of the head.

Shape letters: B images, N patches, A attributes, T prompt tokens, h heads, d head width, D model width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from parlib.errors import BadInput


class Fusion(nn.Module):
    """Cross-attention, residual, LayerNorm, feed-forward, residual, LayerNorm of x (B, N, D) and words (A, T, D_text).

    `queries="patches"` is the paper's and ends in the average over patches; with `"prompts"` the mean of an attribute's
    words is one query to all patches. Either way (B, A, D). The key projection has no bias: the softmax drops it.
    """

    def __init__(self, queries: str, text_width: int, D: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.heads, self.by_patches = heads, queries == "patches"
        asks, answers = (D, text_width) if self.by_patches else (text_width, D)
        self.query, self.key = nn.Linear(asks, D), nn.Linear(answers, D, bias=False)
        self.value, self.out = nn.Linear(answers, D), nn.Linear(D, D)
        self.residual = nn.Identity() if asks == D else nn.Linear(asks, D)
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(D), nn.LayerNorm(D)
        widen, narrow = nn.Linear(D, feedforward * D), nn.Linear(feedforward * D, D)
        self.feedforward = nn.Sequential(widen, nn.GELU(), nn.Dropout(dropout), narrow)
        self.dropout = nn.Dropout(dropout)

    def attend(self, x: Tensor, real: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Attention weights: of patches on words (B, h, A, N, T), or of prompts on patches (B, h, A, N)."""
        if self.by_patches:
            q, k = self._split(self.query(x)), self._split(self.key(words))  # (B, h, N, d), (A, h, T, d)
            # (B, h, N, d) x (A, h, T, d) -> (B, h, A, N, T)
            scores = torch.einsum("bhnd,ahtd->bhant", q, k) / math.sqrt(q.shape[-1])
            return scores.masked_fill(~mask[:, None], -math.inf).softmax(-1)  # (A, 1, T) broadcasts over h, N
        q = self._split(self.query(self.sentence(words, mask))[None])[0]  # (h, A, d)
        k = self._split(self.key(x))  # (B, h, N, d)
        scores = q @ k.mT / math.sqrt(q.shape[-1])  # (h, A, d) x (B, h, d, N) -> (B, h, A, N)
        return scores.masked_fill(~real[:, None, None], -math.inf).softmax(-1)

    def read(self, x: Tensor, real: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """What each patch reads from an attribute's words (B, A, N, D), or each prompt from the patches (B, A, D)."""
        weights = self.attend(x, real, words, mask)
        if not self.by_patches:
            v = self._split(self.value(x))  # (B, h, N, d)
            return self.out((weights @ v).transpose(1, 2).flatten(2))  # (B, h, A, N) x (B, h, N, d) -> (B, A, D)
        v = self._split(self.value(words))  # (A, h, T, d)
        # The output projection acts on each head's slice alone, so it is folded into the few values
        # instead of being applied to every (patch, attribute) pair.
        v = torch.einsum("ahtd,ehd->ahte", v, self.out.weight.unflatten(1, (self.heads, -1)))  # (A, h, T, D)
        v = v + self.out.bias / self.heads  # weights sum to 1 in each head, so its bias can ride along
        return torch.einsum("bhant,ahte->bane", weights, v)  # (B, A, N, D)

    def forward(self, x: Tensor, real: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """x (B, N, D), words (A, T, D_text); real (B, N), mask (A, T), both False where padding -> (B, A, D)."""
        asked = x[:, None] if self.by_patches else self.residual(self.sentence(words, mask))  # (B, 1, N, D) or (A, D)
        y = self.norm_attention(asked + self.dropout(self.read(x, real, words, mask)))  # (B, A, N, D) or (B, A, D)
        z = self.norm_feedforward(y + self.dropout(self.feedforward(y)))
        if not self.by_patches:
            return z
        share = (real / real.sum(1, keepdim=True)).to(z.dtype)  # (B, N): the average over real patches
        return torch.einsum("band,bn->bad", z, share)

    def sentence(self, words: Tensor, mask: Tensor) -> Tensor:
        """The mean of the words that are no padding: (A, T, D_text) -> (A, D_text)."""
        return (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def _split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (?, L, D) -> (?, h, L, d)


def given(pooled: torch.Tensor | None) -> torch.Tensor:
    """Pooled features (B, D) where a head reads them; BadInput where they were left out."""
    if pooled is None:
        raise BadInput("this head reads pooled features: give tokens and pooled")
    return pooled


def to_grid(tokens: torch.Tensor, grid: int | None) -> torch.Tensor:
    """Patch tokens (B, N, D) of a square patch map averaged to (B, grid * grid, D); unchanged where grid is None.

    Where grid does not divide the side, neighbouring cells share patches (torch's adaptive average pooling).
    """
    if grid is None:
        return tokens
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1] or side < grid:
        raise BadInput(f"{tokens.shape[1]} patches do not pool to a {grid}x{grid} grid; use grid=None")
    maps = tokens.transpose(1, 2).unflatten(-1, (side, side))  # (B, D, side, side)
    return F.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)  # (B, grid * grid, D)
