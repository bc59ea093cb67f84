"""The frozen SigLIP 2 pair: image tower, text tower, tokenizer and preprocessing, from one place and never trained.

Shape letters: B images, N patch tokens, A prompts, T text positions, D width.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from reprlib import Repr
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.utils import logging as transformers_logging

from parlib.encode.hub import available_encoders, folder_of, remedy
from parlib.errors import BadInput
from parlib.files import digest, reading

BATCH, BATCH_BYTES = 64, 40e6  # at most so many images, and bytes of pixels, are encoded at a time
_FAMILIES = ("siglip", "siglip2")  # model_type: fixed-resolution SigLIP 1 and 2, and SigLIP 2 NaFlex
_SHORT = Repr()  # a phrase's end, too, tells it from another
_SHORT.maxstring = 80


class ImageFeatures(NamedTuple):
    """`tokens` (B, N, D), last hidden states of the patches, 0 where a NaFlex image has none; `pooled` (B, D)."""

    tokens: torch.Tensor
    pooled: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """(B, N) bool, False where there is no patch: the token of a patch leaves a LayerNorm and is never all 0."""
        return self.tokens.ne(0).any(-1)


class PromptFeatures(NamedTuple):
    """`tokens` (A, T, D) hidden states; `pooled` (A, D), the last position; `mask` (A, T) bool, False where padding."""

    tokens: torch.Tensor
    pooled: torch.Tensor
    mask: torch.Tensor


@dataclass(eq=False)
class Encoder:
    """A frozen SigLIP pair, made by `load_encoder`."""

    name: str
    model: Any  # transformers' SiglipModel or Siglip2Model
    processor: Any  # tokenizer and image processor of the same checkpoint
    layer: int | None = None  # block of the image tower, counted from 1, that patch tokens come from; None is the last
    revision: str | None = None  # commit of a checkpoint from the hub

    def __post_init__(self):
        config, vision = self.model.config, self.model.config.vision_config
        self.width: int = vision.hidden_size  # D of patch tokens and pooled features
        self.text_length: int = config.text_config.max_position_embeddings  # T; every prompt is padded to it
        self.patch_size: int = vision.patch_size  # side in pixels
        self.keeps_aspect = config.model_type == "siglip2"  # NaFlex: images have any number of patches up to N
        maximum = self.preprocessing.get("max_num_patches")
        self.patches: int = maximum or (vision.image_size // vision.patch_size) ** 2  # N; NaFlex: at most
        image_bytes = 12 * self.patches * self.patch_size**2  # three channels of float32
        self.batch_size = max(1, min(BATCH, int(BATCH_BYTES // image_bytes)))  # images encoded at a time by default

    @property
    def device(self) -> torch.device:
        """Device of the weights; features are returned there."""
        return self.model.device

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The checkpoint's own image preprocessing as a plain dict: resize, rescale, normalise."""
        # Options without a value and the name of the class change between versions of transformers, the pixels do not.
        options = self.processor.image_processor.to_dict().items()
        return {k: v for k, v in options if not (v is None or k.startswith("_") or k == "image_processor_type")}

    @cached_property
    def identity(self) -> dict[str, str]:
        """SHA-256 of what determines features: `weights`, `preprocessing`, `tokenizer`, and `layer` if set."""
        parts = {
            "weights": hash_tensors(self.model.state_dict()),
            "preprocessing": digest(self.preprocessing),
            "tokenizer": hash_tokenizer(self.processor.tokenizer, self.text_length),
        }
        return parts if self.layer is None else {**parts, "layer": str(self.layer)}

    def must_match(self, identity: Mapping[str, Any], whose: str) -> None:
        """Raise BadInput if `whose` ("model runs/a") was made with a different encoder, naming the parts that differ.

        Parts that the `identity` of an older file lacks are not compared.
        """
        compared = {**identity, "layer": identity.get("layer")}
        differ = [part for part, value in compared.items() if (value and str(value)) != self.identity.get(part)]
        if differ:
            raise BadInput(
                f"{whose} was made with another encoder: different {' and '.join(differ)} than encoder {self.name!r}; "
                "use the original encoder, or run it again with this one"
            )

    def preprocess(self, images: Iterable[Image.Image]) -> dict[str, torch.Tensor]:
        """PIL images -> what the image tower takes: `pixel_values` (B, 3, H, W); for NaFlex (B, N, patch pixels),
        `pixel_attention_mask` (B, N) and `spatial_shapes` (B, 2), rows and columns of patches."""
        images = list(images)
        if self._levels is None:
            return dict(self.processor.image_processor(images=images, return_tensors="pt"))
        size, resample = self.preprocessing["size"], self.preprocessing["resample"]
        out = np.empty((len(images), 3, size["height"], size["width"]), np.float32)
        for i, image in enumerate(images):
            # (H, W, 3) uint8: Pillow resizes, and one look-up per channel rescales and normalises.
            pixels = np.asarray(image.convert("RGB").resize((size["width"], size["height"]), resample))
            for channel in range(3):
                np.take(self._levels[channel], pixels[..., channel], out=out[i, channel], mode="clip")
        return {"pixel_values": torch.from_numpy(out)}

    @cached_property
    def _levels(self):
        """(3, 256) what the processor makes of each byte, or None where it does more than resize, rescale, normalise.

        Found by running the processor on a picture that holds every byte: half the work of running it on each image.
        """
        steps = {name for name, wanted in self.preprocessing.items() if name.startswith("do_") and wanted}
        size = self.preprocessing.get("size") or {}
        plain = steps - {"do_convert_rgb"} == {"do_resize", "do_rescale", "do_normalize"}
        if not plain or set(size) != {"height", "width"}:
            return None
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2))  # (1, 256, 3)
        made = self.processor.image_processor(images=[ramp], do_resize=False, return_tensors="np")["pixel_values"]
        return np.ascontiguousarray(made[0, :, 0], np.float32)

    @torch.no_grad()
    def encode_images(self, images: Iterable[Image.Image] | dict[str, torch.Tensor]) -> ImageFeatures:
        """Images (PIL, or what `preprocess` returned) -> `ImageFeatures` on the encoder's device."""
        inputs = images if isinstance(images, dict) else self.preprocess(images)
        inputs = {k: v.to(self.device, non_blocking=True) for k, v in inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        tower = self.model.eval().vision_model
        out = tower(**inputs, output_hidden_states=self.layer is not None)
        tokens, mask = out.last_hidden_state, inputs.get("pixel_attention_mask")
        if self.layer is not None:
            tokens = tower.post_layernorm(out.hidden_states[self.layer])
        if mask is not None:
            tokens = tokens.masked_fill(mask[..., None] == 0, 0)
        return ImageFeatures(tokens, out.pooler_output)

    @torch.no_grad()
    def encode_prompts(self, texts: Iterable[str], mask: bool = False) -> PromptFeatures:
        """A phrases -> `PromptFeatures`; lower-cased, right-padded or truncated (with a warning) to the text length.

        `mask` passes the padding mask to the text tower, which was trained without one: the phrase's tokens then depend
        on the phrase alone, and zero-shot scores lose their meaning.
        """
        phrases = [text.lower() for text in texts]
        self._warn_of_cut(phrases)
        how = {"padding": "max_length", "max_length": self.text_length, "truncation": True, "return_tensors": "pt"}
        ids = self.processor.tokenizer(phrases, return_attention_mask=True, **how).to(self.device)
        tower, real = self.model.eval().text_model, ids["attention_mask"]
        batches = zip(ids["input_ids"].split(128), real.split(128), strict=True)  # so that memory is bounded
        parts = [tower(positions, part if mask else None)[:2] for positions, part in batches]
        tokens, pooled = map(torch.cat, zip(*parts, strict=True))
        return PromptFeatures(tokens, pooled, real.bool())

    def _warn_of_cut(self, phrases):
        tokenizer, length = self.processor.tokenizer, self.text_length
        for phrase, ids in dict(zip(phrases, tokenizer(phrases, verbose=False)["input_ids"], strict=True)).items():
            if len(ids) > length:
                kept = length - (ids[-1] == tokenizer.eos_token_id)  # the end of the text takes the last position
                unseen = tokenizer.decode(ids[kept:], skip_special_tokens=True).strip()
                warnings.warn(
                    f"phrase {_SHORT.repr(phrase)} has {len(ids)} tokens, encoder {self.name!r} reads {length}: "
                    f"{_SHORT.repr(unseen)} is not seen; shorten the phrase",
                    stacklevel=1,  # one place for all callers, so that Python shows the warning once
                )

    @torch.no_grad()
    def similarity_maps(self, tokens: torch.Tensor, pooled_prompts: torch.Tensor) -> torch.Tensor:
        """Cosine (B, A, N) of each prompt with each patch pooled alone, as if its token were the whole image."""
        B, N, D = tokens.shape
        alone = self.model.vision_model.head(tokens.to(self.device, self.model.dtype).reshape(B * N, 1, D))
        return self._cosines(alone, pooled_prompts).view(B, N, -1).transpose(1, 2)

    @torch.no_grad()
    def zero_shot(self, pooled_images: torch.Tensor, pooled_prompts: torch.Tensor) -> torch.Tensor:
        """Probability (B, A) of each prompt for each image: sigmoid(scale * cos + bias) of the checkpoint."""
        scale, bias = self.model.logit_scale.float().exp(), self.model.logit_bias.float()
        return (self._cosines(pooled_images, pooled_prompts) * scale + bias).sigmoid()

    def _cosines(self, images, prompts):
        """(B, D) x (A, D) -> (B, A)."""
        images, prompts = (F.normalize(part.to(self.device).float(), dim=-1) for part in (images, prompts))
        return images @ prompts.T


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


def processes() -> PartialState:
    """Which process of a launch this is, and its device. Nothing else may create accelerate's `PartialState` earlier.

    Without a GPU it must be told that CPUs are meant, and processes may wait for one another for longer than minutes.
    """
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=7))


def load_encoder(
    name: str | os.PathLike = "nano",
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    layer: int | None = None,
) -> Encoder:
    """Load a frozen SigLIP / SigLIP 2 pair.

    Args:
        name: `nano`, a local folder in Hugging Face layout, or a hub id (see `available_encoders`).
        revision: commit, tag or branch of a hub id.
        device: default is this process's GPU where there is one.
        dtype: of the weights in memory; features are stored in the store's own dtype.
        layer: see `Encoder`; the tower's last LayerNorm follows. The pooled feature is always the last block's.

    Raises:
        BadInput: no such folder or hub id, not a SigLIP model, no safetensors weights, or parts that do not fit.
    """
    folder = folder_of(str(name), "encoder", available_encoders(), revision)
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report of missing weights becomes an error below
    transformers_logging.disable_progress_bar()
    try:
        with reading(folder, "encoder", remedy(folder)):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if config.model_type not in _FAMILIES:
                raise BadInput(f"encoder {name!r} is a {config.model_type!r} model; expected {' or '.join(_FAMILIES)}")
            how = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True, "trust_remote_code": False}
            model, loading = AutoModel.from_pretrained(folder, **how)
            # With torchvision installed the default would be its resize, whose pixels differ from Pillow's.
            processor = AutoProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
            # The text tower pools the last position; where the file is silent, transformers pads on the left.
            processor.tokenizer.padding_side = processor.tokenizer.truncation_side = "right"
            commit = folder.name if folder.parent.name == "snapshots" else None  # the hub's cache
            encoder = Encoder(str(name), model.requires_grad_(False).eval(), processor, layer, commit)
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
    _must_fit_together(encoder, loading)
    model.to(device or processes().device)
    return encoder


def _must_fit_together(encoder, loading):
    """BadInput where weights, configuration, preprocessing or the layer do not belong together."""
    config, whose = encoder.model.config.vision_config, f"encoder {encoder.name!r}"
    wrong = [key for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in map(str, loading[kind])]
    wrong = [key for key in wrong if not key.endswith("position_ids")]  # of earlier versions of transformers
    if wrong:
        counted = f"{len(wrong)} of its weights, such as {min(wrong)}"
        raise BadInput(f"{whose}: config.json does not fit {counted}; both must come from one checkpoint")
    layers, side = config.num_hidden_layers, config.to_dict().get("image_size")
    if encoder.layer is not None and not 1 <= encoder.layer <= layers:
        raise BadInput(f"{whose} has no layer {encoder.layer} of its image tower, only 1 to {layers}")
    made = (encoder.preprocessing.get("size") or {}).get("height", side)
    if side and made != side:
        sizes = f"the preprocessor resizes to {made} px but the image encoder expects {side} px"
        raise BadInput(f"{whose}: {sizes}; take both from one checkpoint")
