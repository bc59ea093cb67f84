"""The encoder against transformers called directly, and against what users get wrong."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceTrainer
from transformers import AutoModel, AutoProcessor, Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip.processing_siglip import SiglipProcessor
from transformers.models.siglip.tokenization_siglip import SiglipTokenizer
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.siglip2.processing_siglip2 import Siglip2Processor

from parlib import BadInput, available_encoders, load_encoder
from parlib.encode.hub import NANO
from parlib.encode.identity import hash_tensors

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXTS = ["a person wearing a hat", "Una PERSONA con mochila", "背着背包的人"]


def first_generation(place):
    """A processor of SigLIP's first generation: sentencepiece instead of a tokenizer.json, no mask of its own."""
    vocabulary, words = io.BytesIO(), " ".join([*TEXTS, "abcdefghijklmnopqrstuvwxyz"]).lower().split()
    sizes = {"vocab_size": 60, "pad_id": -1, "bos_id": -1, "eos_id": 1, "unk_id": 2, "minloglevel": 2}
    options = {**sizes, "control_symbols": ["<s>"], "hard_vocab_limit": False}
    SentencePieceTrainer.train(sentence_iterator=iter(words * 20), model_writer=vocabulary, **options)
    (place / "spiece.model").write_bytes(vocabulary.getvalue())
    pixels = SiglipImageProcessorPil(size={"height": 96, "width": 96})
    return SiglipProcessor(pixels, SiglipTokenizer(str(place / "spiece.model")))


def save_pair(place, naflex=False, first=False):
    """A pair of random weights saved as any checkpoint is, with nano's tokenizer or one of the first generation."""
    torch.manual_seed(0)
    place.mkdir()
    processor = first_generation(place) if first else AutoProcessor.from_pretrained(NANO)
    text = {**TOWER, "vocab_size": len(processor.tokenizer), "max_position_embeddings": 24, "projection_size": 32}
    if naflex:
        config = Siglip2Config(text_config=text, vision_config={**TOWER, "num_patches": 64, "patch_size": 16})
        model = Siglip2Model(config)
        processor = Siglip2Processor(Siglip2ImageProcessorPil(patch_size=16, max_num_patches=64), processor.tokenizer)
    else:
        model = SiglipModel(SiglipConfig(text_config=text, vision_config={**TOWER, "image_size": 96, "patch_size": 16}))
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs")
    made = {"siglip": save_pair(place / "siglip"), "naflex": save_pair(place / "naflex", naflex=True), "nano": NANO}
    return {**made, "first": save_pair(place / "first", first=True)}


@pytest.fixture
def folder(folders):
    return folders["siglip"]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = ((200, 70), (120, 60), (96, 96), (40, 300), (714, 323))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in sizes]


def called_directly(source, images, texts, **options):
    """What transformers itself makes of images and texts, and which patches are none."""
    model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(source)
    length = model.config.text_config.max_position_embeddings
    ids = processor.tokenizer(
        [t.lower() for t in texts], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )["input_ids"]
    pixels = processor.image_processor(images=images, return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=ids, **pixels), pixels.get("pixel_attention_mask")


@pytest.mark.parametrize("batch", [[0], [0, 1, 2, 3, 4], [3, 0], [2, 2, 4]])
@pytest.mark.parametrize("name", ["siglip", "naflex", "nano", "first"])
def test_everything_equals_transformers_called_directly(name, batch, folders, images):
    encoder, chosen, texts = load_encoder(str(folders[name])), [images[i] for i in batch], TEXTS[: len(batch)]
    want, mask = called_directly(folders[name], chosen, texts)
    seen, said = encoder.encode_images(chosen), encoder.encode_prompts(texts)
    there = torch.ones(seen.tokens.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    torch.testing.assert_close(seen.tokens[there], want.vision_model_output.last_hidden_state[there])
    torch.testing.assert_close(seen.pooled, want.vision_model_output.pooler_output)
    torch.testing.assert_close(said.tokens, want.text_model_output.last_hidden_state)
    torch.testing.assert_close(said.pooled, want.text_model_output.pooler_output)
    torch.testing.assert_close(encoder.zero_shot(seen.pooled, said.pooled), want.logits_per_image.sigmoid())
    assert torch.equal(seen.mask, there)
    assert not seen.tokens[~there].any()


@pytest.mark.parametrize("name", ["siglip", "naflex", "nano", "first"])
def test_pixels_are_those_of_the_checkpoints_own_processor(name, folders, images):
    mine = load_encoder(str(folders[name])).preprocess(images)
    want = AutoProcessor.from_pretrained(folders[name]).image_processor(images=images, return_tensors="pt")
    assert mine.keys() == want.keys()
    assert all(torch.equal(mine[key], want[key]) for key in mine)


def test_a_processor_that_does_more_is_left_to_do_it(folder, images, tmp_path):
    copy_of(folder, tmp_path)
    file = tmp_path / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor"] |= {"do_center_crop": True, "crop_size": {"height": 96, "width": 96}}
    settings["image_processor"]["size"] = {"height": 128, "width": 96}
    file.write_text(json.dumps(settings))
    with pytest.raises(BadInput, match="its preprocessor makes 128 px, its image tower takes 96 px"):
        load_encoder(str(tmp_path))
    settings["image_processor"]["size"] = {"height": 96, "width": 96}
    file.write_text(json.dumps(settings))
    encoder = load_encoder(str(tmp_path))
    want = encoder.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    assert encoder._levels is None
    assert torch.equal(encoder.preprocess(images)["pixel_values"], want)


@pytest.mark.parametrize("name", ["siglip", "naflex", "nano", "first"])
def test_an_image_has_one_answer_in_any_batch(name, folders, images):
    encoder = load_encoder(str(folders[name]))
    together = encoder.encode_images(images)
    for i, image in enumerate(images):
        alone = encoder.encode_images([image])
        torch.testing.assert_close(alone.tokens[0], together.tokens[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone.pooled[0], together.pooled[i], rtol=1e-4, atol=1e-4)


def test_naflex_keeps_the_shape_of_a_person(folders, images):
    encoder = load_encoder(str(folders["naflex"]))
    inputs = encoder.preprocess(images)
    rows, columns = inputs["spatial_shapes"].T
    assert (rows > columns)[[0, 1, 4]].all()
    assert (rows * columns).tolist() == encoder.encode_images(inputs).mask.sum(1).tolist()


def test_what_lies_in_padded_patches_changes_nothing(folders, images):
    encoder = load_encoder(str(folders["naflex"]))
    inputs = encoder.preprocess(images)
    clean = encoder.encode_images(inputs)
    inputs["pixel_values"][inputs["pixel_attention_mask"] == 0] = 7
    dirty = encoder.encode_images(inputs)
    assert torch.equal(clean.tokens, dirty.tokens)
    assert torch.equal(clean.pooled, dirty.pooled)


def test_a_similarity_map_is_the_zero_shot_cosine_of_each_patch_alone(images):
    encoder = load_encoder("nano")
    tokens, said = encoder.encode_images(images).tokens, encoder.encode_prompts(TEXTS).pooled
    maps = encoder.similarity_maps(tokens, said)
    assert maps.shape == (5, 3, 64)
    with torch.no_grad():  # an image whose patches are all alike is pooled to what one of them is
        pooled = encoder.model.vision_model.head(tokens[1, 7].expand(1, 64, 128))
    torch.testing.assert_close(maps[1, :, 7], torch.cosine_similarity(pooled, said), rtol=1e-4, atol=1e-5)


def test_text_is_lower_cased_and_padded_to_the_full_length():
    encoder = load_encoder("nano")
    said = encoder.encode_prompts(["A HAT", "a hat"])
    assert torch.equal(said.pooled[0], said.pooled[1])
    assert said.tokens.shape[1] == encoder.text_length
    assert said.mask.sum(1).max() < encoder.text_length


def test_a_masked_prompt_depends_on_the_phrase_alone():
    encoder = load_encoder("nano")
    plain, masked = (encoder.encode_prompts(TEXTS, mask=mask) for mask in (False, True))
    ids = encoder.processor.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]  # without any padding
    with torch.no_grad():
        want = encoder.model.text_model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(masked.tokens[0][masked.mask[0]], want)
    assert not torch.allclose(plain.tokens[0][plain.mask[0]], want, atol=1e-2)


def test_frozen_means_frozen_while_a_head_is_trained():
    from parlib import load_prompts, schema
    from parlib.learn.head import VLMPARHead

    encoder = load_encoder("nano")
    before = hash_tensors(encoder.model.state_dict())
    head = VLMPARHead.for_encoder(encoder, schema("pa100k"), load_prompts("pa100k"), width=16, heads=2)
    both = torch.nn.ModuleDict({"encoder": encoder.model, "head": head}).train()
    features = encoder.encode_images([Image.new("RGB", (40, 100))] * 2)
    assert not encoder.model.training
    assert not features.tokens.requires_grad and not features.pooled.requires_grad
    trained = [p for p in both.parameters() if p.requires_grad]
    head(features.tokens, features.pooled).sum().backward()
    torch.optim.AdamW(trained, lr=0.1).step()
    assert not any(p.requires_grad or p.grad is not None for p in encoder.model.parameters())
    assert hash_tensors(encoder.model.state_dict()) == before


def test_available_encoders_say_their_sizes(folders):
    known = available_encoders()
    assert known["google/siglip2-base-patch16-224"][1:] == (224, 196, 768)
    assert known["google/siglip2-so400m-patch14-384"][1:] == (384, 729, 1152)
    assert known["google/siglip2-base-patch16-naflex"][1:] == (None, 256, 768)
    assert "google/siglip-large-patch16-384" in known
    nano = load_encoder("nano")
    assert known["nano"][1:] == (96, nano.patches, nano.width)


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match=r"no encoder 'resnet50'.*google/siglip2-base-patch16-224"):
        load_encoder("resnet50")
    with pytest.raises(BadInput, match=r"config\.json"):
        load_encoder(str(tmp_path))
    assert "nano" in available_encoders()


def offline(code, tmp_path):
    """What a fresh process says that has no hub and an empty cache."""
    around = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=around)
    return done.stdout + done.stderr


def test_offline_a_folder_is_enough_and_an_unknown_name_is_told_what_to_do(folder, tmp_path):
    load = "from parlib import *; e = load_encoder({!r}); print(e.encode_prompts(['a hat']).pooled.shape)"
    assert "torch.Size([1, 32])" in offline(load.format(str(folder)), tmp_path)
    refused = offline(load.format("google/no-such-model"), tmp_path).splitlines()[-1]
    assert refused.startswith(
        "parlib.errors.BadInput: no folder 'google/no-such-model', and the encoder cannot be fetched"
    )
    assert "HF_HUB_OFFLINE" in refused and "hf download google/no-such-model" in refused


def copy_of(folder, place, *without):
    for file in folder.iterdir():
        if file.name not in without:
            (place / file.name).write_bytes(file.read_bytes())


def test_a_folder_that_is_no_siglip_is_named(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="is a 'bert' model; expected one of siglip, siglip2"):
        load_encoder(str(tmp_path))


def test_pickle_weights_are_refused_and_none_is_named(folder, tmp_path):
    copy_of(folder, tmp_path, "model.safetensors")
    with pytest.raises(BadInput, match=r"has no \*\.safetensors weights"):
        load_encoder(str(tmp_path))
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"pickle weights only, pytorch_model\.bin.*save_pretrained"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("tower", "change"),
    [
        ("vision_config", {"num_hidden_layers": 3}),  # would leave a layer at random
        ("vision_config", {"num_hidden_layers": 1}),  # would drop one
        ("text_config", {"hidden_size": 64}),
        ("vision_config", {"num_attention_heads": 5}),
        ("vision_config", {"hidden_size": "wide"}),
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(folder, tmp_path, tower, change):
    copy_of(folder, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config[tower] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=str(tmp_path)) as caught:
        load_encoder(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_damaged_or_missing_file_is_one_clear_line(folder, tmp_path, file):
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:40]), lambda path: path.unlink()):
        copy_of(folder, tmp_path)
        damage(tmp_path / file)
        with pytest.raises(BadInput, match=str(tmp_path)) as caught:
            load_encoder(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_another_weight_is_another_hash(folder, tmp_path):
    copy_of(folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["logit_bias"] = weights["logit_bias"] + 1
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_encoder(str(tmp_path)).weights_hash != load_encoder(str(folder)).weights_hash


@pytest.mark.parametrize("name", ["siglip", "naflex"])
def test_an_earlier_block_gives_its_patch_tokens_and_the_last_ones_summary(name, folders, images):
    last, first = load_encoder(str(folders[name])), load_encoder(str(folders[name]), layer=1)
    tower = first.model.vision_model
    seen = {}
    hook = tower.encoder.layers[0].register_forward_hook(lambda module, inputs, out: seen.update(out=out))
    found, plain = first.encode_images(images), last.encode_images(images)
    hook.remove()
    want = tower.post_layernorm(seen["out"][0] if isinstance(seen["out"], tuple) else seen["out"])
    torch.testing.assert_close(found.tokens[found.mask], want[found.mask])
    assert torch.equal(found.mask, plain.mask) and not torch.allclose(found.tokens, plain.tokens)
    assert torch.equal(found.pooled, plain.pooled)
    same = load_encoder(str(folders[name]), layer=2).encode_images(images)
    torch.testing.assert_close(same.tokens, plain.tokens)
    with pytest.raises(BadInput, match="has no layer 3 of its image tower, only 1 to 2"):
        load_encoder(str(folders[name]), layer=3)


def other_preprocessing(folder, place, **options):
    """A copy of a checkpoint whose preprocessing has other `options`."""
    place.mkdir()
    copy_of(folder, place)
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = place / name
        if file.is_file():
            settings = json.loads(file.read_text())
            settings.get("image_processor", settings).update(options)
            file.write_text(json.dumps(settings))
    return place


def test_an_identity_is_weights_preprocessing_and_tokenizer(tmp_path):
    nano = load_encoder("nano")
    assert set(nano.identity) == {"weights", "preprocessing", "tokenizer"}
    assert nano.identity["weights"] == nano.weights_hash
    copied = load_encoder(str(other_preprocessing(NANO, tmp_path / "copied")))
    copied.encode_prompts(["a hat"])  # what the last call asked of the tokenizer is no part of it
    assert copied.identity == nano.identity
    copied.must_match(nano.identity, "a model")

    for options in ({"resample": 3}, {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}):
        place = other_preprocessing(NANO, tmp_path / "-".join(options), **options)
        other = load_encoder(str(place))
        assert {part for part in nano.identity if nano.identity[part] != other.identity[part]} == {"preprocessing"}
        with pytest.raises(BadInput, match="model runs/a was made with another encoder: preprocessing of"):
            other.must_match(nano.identity, "model runs/a")
        other.must_match({"weights": nano.weights_hash}, "a model written before there were identities")
