"""Hashes of weights and tokenizers: two encoders whose hashes are equal make the same features."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from parlib.files import digest


def hash_tensors(tensors: Mapping[str, torch.Tensor], label: str = "") -> str:
    """SHA-256 of tensors by name, shape, dtype and bytes; `label` makes equal tensors in different roles differ."""
    hashed = hashlib.sha256(label.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def hash_tokenizer(tokenizer: Any, length: int) -> str:
    """SHA-256 of all that turns a phrase into ids: rules, vocabulary, special tokens, and the padding to `length`."""
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str(), object_hook=_without_defaults)
        for last_call in ("padding", "truncation"):  # what the last call asked for
            rules.pop(last_call, None)
    else:  # SigLIP's first generation
        vocabulary = hashlib.sha256(tokenizer.sp_model.serialized_model_proto()).hexdigest()
        rules = [vocabulary, tokenizer.init_kwargs.get("do_lower_case"), tokenizer.special_tokens_map]
    return digest([rules, tokenizer.pad_token_id, tokenizer.padding_side, tokenizer.truncation_side, length])


def _without_defaults(entries):
    """A later version of tokenizers may write options that an earlier one did not know, switched off."""
    return {name: value for name, value in entries.items() if value is not None and value is not False}
