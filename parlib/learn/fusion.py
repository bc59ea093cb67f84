"""Cross-attention between the patches of an image and the words of an attribute, in either direction.

Shape letters: B images, N patches, A attributes, T prompt tokens, h heads, d head width, D model width.
"""

import math

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a CPU its mask is cut out of 64-bit random integers, which takes a sixth of the time."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape and dtype, as given; values are kept with probability 1 - p, rounded to 2^-16."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        draws = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # 4 values of 16 bits
        kept = draws.view(torch.int16)[: input.numel()].view(input.shape) >= round(2**16 * self.p) - 2**15  # as input
        return torch.where(kept, input / (1 - self.p), 0)


class Fusion(nn.Module):
    """Cross-attention, residual, LayerNorm, feed-forward, residual, LayerNorm: (B, N, D), (A, T, D_text) -> (B, A, D).

    With `queries="patches"`, the paper's, the result is averaged over patches. With `"prompts"` the mean of an
    attribute's words is a single query to all patches. The key projection has no bias: a softmax would cancel it.
    """

    def __init__(self, queries: str, text_width: int, D: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.heads, self.by_patches = heads, queries == "patches"
        query_width, key_width = (D, text_width) if self.by_patches else (text_width, D)
        self.query, self.key = nn.Linear(query_width, D), nn.Linear(key_width, D, bias=False)
        self.value, self.out = nn.Linear(key_width, D), nn.Linear(D, D)
        self.residual = nn.Identity() if query_width == D else nn.Linear(query_width, D)
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(D), nn.LayerNorm(D)
        widen, narrow = nn.Linear(D, feedforward * D), nn.Linear(feedforward * D, D)
        self.feedforward = nn.Sequential(widen, nn.GELU(), Dropout(dropout), narrow)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, patch_mask: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """x (B, N, D), words (A, T, D_text); masks (B, N), (A, T), bool, False where padding -> (B, A, D)."""
        skip = x[:, None] if self.by_patches else self.residual(self.sentence(words, word_mask))  # (B, 1, N, D), (A, D)
        fused = self.read(x, patch_mask, words, word_mask)  # by patches (B, A, N, D), by prompts (B, A, D)
        # In fp32 where autocast computes in bfloat16: its 8 bits would lose 1.5 points of mAP.
        y = self.norm_attention((skip + self.dropout(fused)).float())  # as fused
        z = self.norm_feedforward(y + self.dropout(self.feedforward(y)))  # as fused
        if not self.by_patches:
            return z  # (B, A, D)
        share = patch_mask / patch_mask.sum(1, keepdim=True)  # (B, N), sums to 1 over real patches
        with torch.autocast(z.device.type, enabled=False):
            return torch.einsum("band,bn->bad", z.float(), share)  # (B, A, N, D) x (B, N) -> (B, A, D)

    def attend(self, x: Tensor, patch_mask: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """Attention weights: of patches on words (B, h, A, N, T), or of prompts on patches (B, h, A, N)."""
        if self.by_patches:
            q = self._split(self.query(x))  # (B, N, D) -> (B, h, N, d)
            k = self._split(self.key(words))  # (A, T, D_text) -> (A, h, T, d)
            scores = torch.einsum("bhnd,ahtd->bhant", q, k)  # (B, h, N, d) x (A, h, T, d) -> (B, h, A, N, T)
            real = word_mask[:, None]  # (A, 1, T), for every head and patch
        else:
            q = self._split(self.query(self.sentence(words, word_mask))[None])[0]  # (A, D_text) -> (h, A, d)
            if self._few_prompts(len(words)):  # (q K) x in the place of q (K x)
                keys = self.key.weight.unflatten(0, (self.heads, -1))  # (D, D) -> (h, d, D)
                seeking = torch.einsum("had,hde->hae", q, keys).flatten(0, 1)  # (h * A, D)
                scores = (x @ seeking.T).mT.unflatten(1, q.shape[:2])  # (B, N, h * A) -> (B, h, A, N)
            else:
                scores = q @ self._split(self.key(x)).mT  # (h, A, d) x (B, h, d, N) -> (B, h, A, N)
            real = patch_mask[:, None, None]  # (B, 1, 1, N), for every head and attribute
        return (scores / math.sqrt(q.shape[-1])).masked_fill(~real, -math.inf).softmax(-1)  # as scores

    def read(self, x: Tensor, patch_mask: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """What each patch reads from an attribute's words (B, A, N, D), or each prompt from the patches (B, A, D)."""
        weights = self.attend(x, patch_mask, words, word_mask)  # (B, h, A, N, T) or (B, h, A, N)
        if not self.by_patches and self._few_prompts(len(words)):  # V (weights x) in the place of weights (V x)
            values = self.value.weight.unflatten(0, (self.heads, -1))  # (D, D) -> (h, d, D)
            seen = (weights.flatten(1, 2) @ x).unflatten(1, weights.shape[1:3])  # (B, h * A, N) -> (B, h, A, D)
            return self.out(torch.einsum("bhae,hde->bahd", seen, values).flatten(2) + self.value.bias)  # (B, A, D)
        if not self.by_patches:
            v = self._split(self.value(x))  # (B, N, D) -> (B, h, N, d)
            return self.out((weights @ v).transpose(1, 2).flatten(2))  # (B, h, A, N) x (B, h, N, d) -> (B, A, D)
        v = self._split(self.value(words))  # (A, T, D_text) -> (A, h, T, d)
        # The output projection acts on each head's slice alone: applied to the values it costs N times less.
        out = self.out.weight.unflatten(1, (self.heads, -1))  # (D, D) -> (D, h, d)
        v = torch.einsum("ahtd,ehd->ahte", v, out)  # (A, h, T, d) x (D, h, d) -> (A, h, T, D)
        v = v + self.out.bias / self.heads  # (A, h, T, D); weights sum to 1 in each head, so the bias is added once
        return torch.einsum("bhant,ahte->bane", weights, v)  # (B, h, A, N, T) x (A, h, T, D) -> (B, A, N, D)

    def sentence(self, words: Tensor, word_mask: Tensor) -> Tensor:
        """The mean of the words that are not padding: (A, T, D_text) -> (A, D_text)."""
        return (words * word_mask[..., None]).sum(1) / word_mask.sum(1, keepdim=True)  # (A, D_text)

    def _few_prompts(self, attributes):
        """Whether projecting the queries and what they read costs less than half of projecting every patch."""
        return 2 * self.heads * attributes < self.out.in_features

    def _split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (?, L, D) -> (?, L, h, d) -> (?, h, L, d)
