"""The nano encoder's shape: a SigLIP in miniature, its tokenizer, and both in Hugging Face layout."""

import json

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel, SiglipProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIZE, PATCH, WIDTH, LENGTH = 96, 12, 128, 32
_VOCABULARY = 3072
_LIMIT = 8 * 2**20  # bytes of the whole folder, which is kept in git


def make_tokenizer(texts):
    """A lower-casing byte-level BPE; falling back to bytes, it knows every text.

    Like SigLIP 2's tokenizer it ends a text with `<eos>` and pads on the right to the full length.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(  # the space in front makes the first word like any other
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Prepend(" ")]
    )
    # Chinese has no spaces: unsplit, a phrase becomes one or two tokens that no other phrase shares.
    character = pre_tokenizers.Split(Regex(r"[\p{Han}\p{Hiragana}\p{Katakana}]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([character, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="right",
        model_max_length=LENGTH,
        model_input_names=["input_ids"],
    )


def make_processor(tokenizer):
    """Resize to a square, whatever the crop's shape, and scale to -1..1, as fixed-resolution SigLIP does."""
    return SiglipProcessor(SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE}, resample=2), tokenizer)


def make_model(vocabulary, seed=0, layers=4, text_layers=2):
    """An untrained `SiglipModel`: 64 patch tokens of width 128, a two-layer text tower."""
    torch.manual_seed(seed)
    shared = {"hidden_size": WIDTH, "num_attention_heads": 4, "attention_dropout": 0.0}
    config = SiglipConfig(
        text_config={
            **shared,
            "vocab_size": vocabulary,
            "num_hidden_layers": text_layers,
            "intermediate_size": 2 * WIDTH,
            "max_position_embeddings": LENGTH,
            "projection_size": WIDTH,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": 1,
        },
        vision_config={
            **shared,
            "num_hidden_layers": layers,
            "intermediate_size": 4 * WIDTH,
            "image_size": SIZE,
            "patch_size": PATCH,
        },
    )
    model = SiglipModel(config)
    with torch.no_grad():  # SigLIP's own start for a sigmoid loss: most pairs are negatives
        model.logit_scale.fill_(float(np.log(10.0)))
        model.logit_bias.fill_(-2.0)
        position = model.vision_model.embeddings.position_embedding.weight
        position.copy_(0.5 * _sine_positions(SIZE // PATCH, WIDTH))
    return model


def _sine_positions(side, width):
    """Rows and columns as sines (side * side, width): an initial value that holds which patches are neighbours."""
    frequencies = 1.0 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies  # (side, width / 4)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = waves.repeat_interleave(side, 0), waves.repeat(side, 1)
    return torch.cat([rows, columns], dim=1)


@torch.no_grad()
def start_from_patches(model, pixels):
    """Initialise the patch embedding with the leading principal components of real patches, at about unit scale.

    A random start must find edges and colours first; this one leaves the plateau sooner.
    """
    patches = torch.nn.functional.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH**2)
    patches = patches[:: max(1, len(patches) // 20_000)]
    mean = patches.mean(0)
    _, spread, directions = torch.linalg.svd(patches - mean, full_matrices=False)
    if len(spread) < WIDTH:
        return  # too few patches for that: keep the random start
    weight = directions[:WIDTH] / (spread[:WIDTH, None] / len(patches) ** 0.5 + 0.15)
    embedding = model.vision_model.embeddings.patch_embedding
    embedding.weight.copy_(weight.view_as(embedding.weight))
    embedding.bias.copy_(-weight @ mean)


def save(folder, model, processor):
    """Write the pair as a Hugging Face folder, weights in fp16; returns its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    half = SiglipModel(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    image = processor.image_processor.to_dict()
    (folder / "preprocessor_config.json").write_text(json.dumps(image, indent=2, default=str) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > _LIMIT:
        raise ValueError(f"{folder} is {size} bytes, over the limit of {_LIMIT}")
    return size
