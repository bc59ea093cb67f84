"""The frozen SigLIP 2 pair: image tower, text tower, tokenizer and preprocessing, from one place and never trained.

Shape letters: B images, N patch tokens, A prompts, T text positions, D width.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.utils import logging as transformers_logging

from parlib.errors import BadInput

NANO = Path(__file__).parents[1] / "assets" / "siglip2-nano"
_FAMILIES = ("siglip", "siglip2")  # model_type: fixed-resolution SigLIP 1 and 2, and SigLIP 2 NaFlex
# name, patch tokens, width: sizes from the published configurations of the checkpoints.
_KNOWN = {
    "nano": ("the embedded default, rendered people only", 64, 128),
    "google/siglip2-base-patch16-224": ("the paper's encoder, ViT-B/16 at 224 px", 196, 768),
    "google/siglip2-base-patch16-256": ("ViT-B/16 at 256 px", 256, 768),
    "google/siglip2-base-patch16-384": ("ViT-B/16 at 384 px", 576, 768),
    "google/siglip2-base-patch16-512": ("ViT-B/16 at 512 px", 1024, 768),
    "google/siglip2-large-patch16-256": ("ViT-L/16 at 256 px", 256, 1024),
    "google/siglip2-so400m-patch14-384": ("So400m/14 at 384 px", 729, 1152),
    "google/siglip2-base-patch16-naflex": ("ViT-B/16, aspect ratio kept", 256, 768),
}


def available_encoders():
    """Names `load_encoder` knows by heart: `{name: (what it is, patch tokens N, width D)}`; any folder works too."""
    return dict(_KNOWN)


class ImageFeatures(NamedTuple):
    """`tokens` (B, N, D) last hidden states of the patches; `pooled` (B, D) attention-pooled, not normalised."""

    tokens: torch.Tensor
    pooled: torch.Tensor


class PromptFeatures(NamedTuple):
    """`tokens` (A, T, D) hidden states; `pooled` (A, D), the last position; `mask` (A, T) bool, False where padding."""

    tokens: torch.Tensor
    pooled: torch.Tensor
    mask: torch.Tensor


@dataclass(eq=False)
class Encoder:
    """A SigLIP pair that is asked and never taught. Made by `load_encoder`."""

    name: str
    model: torch.nn.Module
    processor: object

    @property
    def device(self):
        return self.model.device

    @property
    def width(self):
        """Width D of patch tokens and pooled features."""
        return self.model.config.vision_config.hidden_size

    @property
    def text_length(self):
        """Every prompt is padded to this length, as the checkpoint was trained."""
        return self.model.config.text_config.max_position_embeddings

    @property
    def patch_size(self):
        return self.model.config.vision_config.patch_size

    @cached_property
    def weights_hash(self):
        """SHA-256 of every weight, by name: two encoders with one hash give the same features."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def preprocessing(self):
        """The checkpoint's own image preprocessing as a plain dict: resize, rescale, normalise."""
        return {k: v for k, v in self.processor.image_processor.to_dict().items() if not k.startswith("_")}

    def preprocess(self, images):
        """PIL images -> the tensors the image tower takes: `pixel_values` (B, 3, H, W), more for NaFlex."""
        return dict(self.processor.image_processor(images=list(images), return_tensors="pt"))

    @torch.no_grad()
    def encode_images(self, images):
        """Images (a list of PIL, or what `preprocess` returned) -> `ImageFeatures` on the encoder's device."""
        inputs = images if isinstance(images, dict) else self.preprocess(images)
        inputs = {k: v.to(self.device) for k, v in inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        out = self.model.vision_model(**inputs)
        return ImageFeatures(out.last_hidden_state, out.pooler_output)

    @torch.no_grad()
    def encode_prompts(self, texts):
        """A list of A phrases -> `PromptFeatures`.

        Lower-cased and padded to the checkpoint's full length, longer ones cut there. The towers were trained without a
        padding mask, so none is passed; `mask` only says which positions hold the phrase.
        """
        ids = self.processor.tokenizer(
            [text.lower() for text in texts],
            padding="max_length",
            max_length=self.text_length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        out = self.model.text_model(input_ids=ids["input_ids"].to(self.device))
        return PromptFeatures(out.last_hidden_state, out.pooler_output, ids["attention_mask"].bool().to(self.device))

    @torch.no_grad()
    def zero_shot(self, pooled_images, pooled_prompts):
        """Probability (B, A) of each prompt for each image: sigmoid(scale * cos + bias), the checkpoint's own two."""
        images = torch.nn.functional.normalize(pooled_images.to(self.device).float(), dim=-1)  # (B, D)
        prompts = torch.nn.functional.normalize(pooled_prompts.to(self.device).float(), dim=-1)  # (A, D)
        logits = images @ prompts.T * self.model.logit_scale.float().exp() + self.model.logit_bias.float()
        return logits.sigmoid()


def load_encoder(name="nano", revision=None, device=None, dtype=torch.float32):
    """Load a frozen SigLIP / SigLIP 2 pair.

    Args:
        name: `nano`, a local folder in Hugging Face layout, or a hub id (see `available_encoders`).
        revision: commit, tag or branch of a hub id; local folders have none.
        device: default is the GPU where there is one.
        dtype: of the weights in memory; features are stored in the store's own dtype.

    Raises:
        BadInput: no such folder or hub id (or the hub cannot be reached), not a SigLIP model, no safetensors weights.
    """
    source, local = _locate(str(name))
    options = {} if local else {"revision": revision}
    level = transformers_logging.get_verbosity()
    # Without torchvision transformers announces its Pillow backend on every load; that is the one wanted here.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(source, **options)
        if config.model_type not in _FAMILIES:
            raise BadInput(f"encoder {name!r} is a {config.model_type!r} model; expected one of {', '.join(_FAMILIES)}")
        model = AutoModel.from_pretrained(source, dtype=dtype, use_safetensors=True, **options)
        processor = AutoProcessor.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        where = "the folder needs config, safetensors weights, tokenizer and preprocessor" if local else "see the hub"
        raise BadInput(f"encoder {name!r} cannot be loaded ({where}): {_first_line(error)}") from error
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Encoder(str(name), model.requires_grad_(False).eval().to(device), processor)


def _locate(name):
    """(what transformers is given, whether it is a folder on this machine)."""
    if name == "nano":
        return NANO, True
    if os.path.isdir(name):
        if not (Path(name) / "config.json").is_file():
            raise BadInput(f"encoder folder {name} has no config.json; expected a model saved with save_pretrained")
        return Path(name), True
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name, False
    raise BadInput(f"unknown encoder {name!r}: no such folder; known names: {', '.join(_KNOWN)}")


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
