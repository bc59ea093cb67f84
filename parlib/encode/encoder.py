"""The frozen SigLIP 2 pair: image tower, text tower, tokenizer and preprocessing, from one place and never trained.

Shape letters: B images, N patch tokens, A prompts, T text positions, D width.
"""

import copy
import os
import sys
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
from parlib.encode.identity import hash_tensors, hash_tokenizer
from parlib.encode.precision import PRECISIONS, set_precision
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
    precision: str = "fp32"  # of the image tower, see `set_precision`
    compiled_size = 0  # batches of so many images are encoded by a compiled forward, see `compile_if_it_pays`
    _at_once = sys.maxsize  # images that the memory is known to hold

    def __post_init__(self):
        config, vision = self.model.config, self.model.config.vision_config
        self.width: int = vision.hidden_size  # D of patch tokens and pooled features
        self.text_length: int = config.text_config.max_position_embeddings  # T; every prompt is padded to it
        self.patch_size: int = vision.patch_size  # side in pixels
        self.keeps_aspect = config.model_type == "siglip2"  # NaFlex: images have any number of patches up to N
        maximum = self.preprocessing.get("max_num_patches")
        self.patches: int = maximum or (vision.image_size // vision.patch_size) ** 2  # N; NaFlex: at most
        image_bytes = 12 * self.patches * self.patch_size**2  # three channels of float32
        self._prompts: dict[Any, PromptFeatures] = {}  # of the last calls
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

    @property
    def determines(self) -> dict[str, str]:
        """What determines the image features: the identity, and `precision` where it is not fp32."""
        return self.identity if self.precision == "fp32" else {**self.identity, "precision": self.precision}

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
        inputs = self.pixels(images)
        return {**inputs, "pixel_values": self._normalised(inputs["pixel_values"])}

    def pixels(self, images: Iterable[Image.Image]) -> dict[str, torch.Tensor]:
        """As `preprocess`, but `pixel_values` are resized only, (B, 3, H, W) uint8, a quarter of the bytes.

        `encode_images` rescales and normalises them on its device. Of a processor that does more, all is done here.
        """
        images = list(images)
        if not self._is_plain:
            return dict(self.processor.image_processor(images=images, return_tensors="pt"))
        size, resample = self.preprocessing["size"], self.preprocessing["resample"]
        shape = (size["width"], size["height"])
        resized = [np.asarray(image.convert("RGB").resize(shape, resample)) for image in images]  # (H, W, 3) each
        return {"pixel_values": torch.from_numpy(np.stack([each.transpose(2, 0, 1) for each in resized]))}

    @cached_property
    def _is_plain(self):
        """Whether the processor does no more than resize to a fixed size, rescale and normalise."""
        steps = {name for name, wanted in self.preprocessing.items() if name.startswith("do_") and wanted}
        plain = steps - {"do_convert_rgb"} == {"do_resize", "do_rescale", "do_normalize"}
        return plain and set(self.preprocessing.get("size") or {}) == {"height", "width"}

    def _normalised(self, pixels):
        """(B, 3, H, W) uint8 -> float32, rescaled and normalised by the processor's rule; floats stay as they are."""
        if pixels.dtype != torch.uint8:
            return pixels
        options = self.preprocessing
        mean, std = (pixels.new_tensor(options[name], dtype=torch.float32) for name in ("image_mean", "image_std"))
        scaled = pixels.float().div_(1 / options["rescale_factor"])  # by division the last digit is the processor's
        return scaled.sub_(mean[:, None, None]).div_(std[:, None, None])

    def for_workers(self) -> "Encoder":
        """A copy that only preprocesses: no weights are sent to the processes that decode."""
        light = copy.copy(self)
        light.model = None
        light.__dict__.pop("_compiled", None)
        return light

    @torch.no_grad()
    def encode_images(self, images: Iterable[Image.Image] | dict[str, torch.Tensor]) -> ImageFeatures:
        """Images (PIL, or what `pixels` or `preprocess` returned) -> `ImageFeatures` on the encoder's device.

        A batch that a GPU has no memory for is halved, with a warning, and so are later ones of its size.
        """
        inputs = images if isinstance(images, dict) else self.pixels(images)
        size = len(inputs["pixel_values"])
        self.model.eval()
        if size <= self._at_once:
            try:
                return (self._compiled if size == self.compiled_size else self._forward)(inputs)
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise BadInput(f"encoder {self.name!r}: {self.device} has no memory for one image") from error
            self._at_once = size // 2
            words = f"{self.device} has no memory for {size} images: batches are halved to {self._at_once}"
            warnings.warn(words, stacklevel=2)
            torch.cuda.empty_cache()
        parts = zip(*(part.split(self._at_once) for part in inputs.values()), strict=True)
        encoded = [self.encode_images(dict(zip(inputs, part, strict=True))) for part in parts]
        return ImageFeatures(*map(torch.cat, zip(*encoded, strict=True)))

    @cached_property
    def _compiled(self):
        return torch.compile(self._forward, dynamic=False)

    def _forward(self, inputs):
        inputs = {k: v.to(self.device, non_blocking=True) for k, v in inputs.items()}
        inputs["pixel_values"] = self._normalised(inputs["pixel_values"]).to(PRECISIONS[self.precision])
        tower = self.model.vision_model
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
        phrases = tuple(text.lower() for text in texts)
        self._warn_of_cut(phrases)
        if (phrases, mask) not in self._prompts:  # the cells of a plan, and every test split, ask for the same
            kept = list(self._prompts.items())[-7:]
            self._prompts = dict([*kept, ((phrases, mask), self._encoded(list(phrases), mask))])
        return PromptFeatures(*(part.clone() for part in self._prompts[phrases, mask]))

    def _encoded(self, phrases, mask):
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
        alone = self.model.vision_model.head(tokens.to(self.device, PRECISIONS[self.precision]).reshape(B * N, 1, D))
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


def processes() -> PartialState:
    """Which process of a launch this is, and its device. Nothing else may create accelerate's `PartialState` earlier.

    Without a GPU it must be told that CPUs are meant, and processes may wait for one another for longer than minutes.
    """
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=7))


def load_encoder(
    name: str | os.PathLike = "nano",
    revision: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    layer: int | None = None,
) -> Encoder:
    """Load a frozen SigLIP / SigLIP 2 pair.

    Args:
        name: `nano`, a local folder in Hugging Face layout, or a hub id (see `available_encoders`).
        revision: commit, tag or branch of a hub id.
        device: default is this process's GPU where there is one.
        precision: of the image tower: `fp32`, `bf16`, or `auto`, see `set_precision`; stores have their own dtype.
        layer: see `Encoder`; the tower's last LayerNorm follows. The pooled feature is always the last block's.

    Raises:
        BadInput: no such folder or hub id, not a SigLIP model, no safetensors weights, parts that do not fit, or a
            precision that the device lacks.
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
            model, loading = AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, trust_remote_code=False
            )
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
    set_precision(encoder, precision)
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
