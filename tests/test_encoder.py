"""The encoder against transformers called directly, and against what users get wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

from parlib import BadInput, available_encoders, load_encoder
from parlib.encode.encoder import NANO

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A SiglipModel of random weights saved as any checkpoint is, with nano's tokenizer and preprocessing."""
    place = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    processor = AutoProcessor.from_pretrained(NANO)
    text = {**TOWER, "vocab_size": len(processor.tokenizer), "max_position_embeddings": 24, "projection_size": 32}
    vision = {**TOWER, "image_size": 96, "patch_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(place)
    processor.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((200, 70), (120, 60), (96, 96))]


TEXTS = ["a person wearing a hat", "Una PERSONA con mochila", "背着背包的人"]


@pytest.mark.parametrize("name", ["random", "nano"])
def test_everything_equals_transformers_called_directly(name, folder, images):
    source = folder if name == "random" else NANO
    encoder = load_encoder(str(folder) if name == "random" else "nano")
    model, processor = (
        AutoModel.from_pretrained(source, dtype=torch.float32).eval(),
        AutoProcessor.from_pretrained(source),
    )
    length = model.config.text_config.max_position_embeddings
    ids = processor.tokenizer(
        [t.lower() for t in TEXTS], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )["input_ids"]
    with torch.no_grad():
        want = model(input_ids=ids, **processor.image_processor(images=images, return_tensors="pt"))
    seen, said = encoder.encode_images(images), encoder.encode_prompts(TEXTS)
    torch.testing.assert_close(seen.tokens, want.vision_model_output.last_hidden_state)
    torch.testing.assert_close(seen.pooled, want.vision_model_output.pooler_output)
    torch.testing.assert_close(said.tokens, want.text_model_output.last_hidden_state)
    torch.testing.assert_close(said.pooled, want.text_model_output.pooler_output)
    torch.testing.assert_close(encoder.zero_shot(seen.pooled, said.pooled), want.logits_per_image.sigmoid())


def test_an_image_has_one_answer_in_any_batch(images):
    encoder = load_encoder("nano")
    together = encoder.encode_images(images)
    for i, image in enumerate(images):
        alone = encoder.encode_images([image])
        torch.testing.assert_close(alone.tokens[0], together.tokens[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone.pooled[0], together.pooled[i], rtol=1e-4, atol=1e-4)


def test_naflex_checkpoints_load_by_the_same_path(folder, images, tmp_path):
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
    from transformers.models.siglip2.processing_siglip2 import Siglip2Processor

    torch.manual_seed(0)
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24, "projection_size": 32}
    vision = {**TOWER, "num_patches": 64, "patch_size": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).eval()
    model.save_pretrained(tmp_path)
    processor = Siglip2Processor(Siglip2ImageProcessorPil(patch_size=16, max_num_patches=64), tokenizer)
    processor.save_pretrained(tmp_path)
    seen = load_encoder(str(tmp_path)).encode_images(images)
    with torch.no_grad():
        want = model.vision_model(**processor.image_processor(images=images, return_tensors="pt"))
    torch.testing.assert_close(seen.tokens, want.last_hidden_state)
    torch.testing.assert_close(seen.pooled, want.pooler_output)


def test_text_is_lower_cased_and_padded_to_the_full_length():
    encoder = load_encoder("nano")
    said = encoder.encode_prompts(["A HAT", "a hat"])
    assert torch.equal(said.pooled[0], said.pooled[1])
    assert said.tokens.shape[1] == encoder.text_length
    assert said.mask.sum(1).max() < encoder.text_length


def test_frozen_means_frozen():
    encoder = load_encoder("nano")
    before = encoder.weights_hash
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert not encoder.model.training
    features = encoder.encode_images([Image.new("RGB", (40, 100))])
    assert not features.pooled.requires_grad
    assert load_encoder("nano").weights_hash == before


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match=r"unknown encoder 'resnet50'.*google/siglip2-base-patch16-224"):
        load_encoder("resnet50")
    with pytest.raises(BadInput, match=r"config\.json"):
        load_encoder(str(tmp_path))
    assert "nano" in available_encoders()


def test_a_hub_name_that_cannot_be_reached_is_one_clear_error(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="google/no-such-model"):
        load_encoder("google/no-such-model")


def test_a_folder_that_is_no_siglip_is_named(folder, tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="is a 'bert' model; expected one of siglip, siglip2"):
        load_encoder(str(tmp_path))


def test_pickle_weights_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="safetensors"):
        load_encoder(str(tmp_path))


def test_another_weight_is_another_hash(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["logit_bias"] = weights["logit_bias"] + 1
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_encoder(str(tmp_path)).weights_hash != load_encoder(str(folder)).weights_hash
