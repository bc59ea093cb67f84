"""The encoder against transformers called directly, and against what users get wrong."""

import io
import json
import warnings

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)
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


@pytest.mark.parametrize("mean", [[0.5, 0.5, 0.5], [0.485, 0.456, 0.406]])
def test_pixels_of_one_byte_become_the_processors_in_the_forward(mean, images):
    encoder = load_encoder("nano")
    encoder.processor.image_processor.image_mean = mean
    sent, want = encoder.pixels(images), encoder.processor.image_processor(images=images, return_tensors="pt")
    assert sent["pixel_values"].dtype == torch.uint8
    seen = encoder._normalised(sent["pixel_values"])
    torch.testing.assert_close(seen, want["pixel_values"], rtol=0, atol=1e-6)
    assert torch.equal(encoder.encode_images(sent).tokens, encoder.encode_images(dict(want)).tokens)


def test_a_processor_that_does_more_is_left_to_do_it(folder, images, tmp_path):
    copy_of(folder, tmp_path)
    file = tmp_path / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor"] |= {"do_center_crop": True, "crop_size": {"height": 96, "width": 96}}
    settings["image_processor"]["size"] = {"height": 128, "width": 96}
    file.write_text(json.dumps(settings))
    with pytest.raises(BadInput, match="preprocessor resizes to 128 px but the image encoder expects 96 px"):
        load_encoder(str(tmp_path))
    settings["image_processor"]["size"] = {"height": 96, "width": 96}
    file.write_text(json.dumps(settings))
    encoder = load_encoder(str(tmp_path))
    want = encoder.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    assert not encoder._is_plain
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


def with_gemma_tokenizer(place, kind):
    """A checkpoint as the hub has it: Gemma's kind of vocabulary, and a tokenizer file that names no padding side."""
    save_pair(place)
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    made.train_from_iterator(["a person wearing a red coat and a hat"] * 20, trainer)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(place / "tokenizer.json"))
    named = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}
    settings = {"tokenizer_class": kind, "add_bos_token": False, "add_eos_token": True, **named}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return place


@pytest.mark.parametrize("kind", ["GemmaTokenizer", "Siglip2Tokenizer"])
def test_prompts_are_padded_on_the_right_where_transformers_would_pad_on_the_left(kind, tmp_path):
    place = with_gemma_tokenizer(tmp_path / "encoder", kind)
    own = AutoTokenizer.from_pretrained(place)
    assert own.padding_side == "left", "transformers' default, which this test is about"
    encoder = load_encoder(str(place))
    said = encoder.encode_prompts(["a red hat"])
    ids = own("a red hat")["input_ids"]
    assert ids[-1] == own.eos_token_id
    padded = torch.tensor([ids + [own.pad_token_id] * (encoder.text_length - len(ids))])
    with torch.no_grad():
        want = encoder.model.text_model(input_ids=padded)
    torch.testing.assert_close(said.tokens, want.last_hidden_state)
    torch.testing.assert_close(said.pooled, want.pooler_output)
    assert said.mask[0].tolist() == [True] * len(ids) + [False] * (encoder.text_length - len(ids))


def test_a_file_that_asks_for_the_left_side_changes_nothing(tmp_path):
    copy_of(NANO, tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left", "truncation_side": "left"}))
    nano, left = load_encoder("nano"), load_encoder(str(tmp_path))
    phrases = [*TEXTS, "a hat " * 40]
    with pytest.warns(UserWarning, match="is not seen"):
        assert torch.equal(left.encode_prompts(phrases).pooled, nano.encode_prompts(phrases).pooled)
    assert left.identity == nano.identity


@pytest.mark.parametrize("name", ["nano", "first"])
def test_a_phrase_longer_than_the_tower_reads_is_named_once(name, folders):
    encoder = load_encoder(str(folders[name]))
    start = "a person wearing a hat and a bag " * 4
    phrases = [f"{start} and a red coat", f"{start} and a green coat"]
    with pytest.warns(UserWarning, match="is not seen") as caught:
        same = encoder.encode_prompts([*phrases, *phrases]).pooled
    assert torch.equal(same[0], same[1])
    assert len({str(warning.message) for warning in caught}) == len(caught) == 2, "one for each phrase"
    with warnings.catch_warnings(record=True) as again:  # with Python's own filter, whoever calls
        warnings.simplefilter("default")
        encoder.encode_prompts([phrases[0], "a hat"])
        encoder.encode_prompts([phrases[0]])
    assert len(again) == 1
    text = str(caught[0].message)
    tokens = len(encoder.processor.tokenizer(phrases[0], verbose=False)["input_ids"])
    assert text.startswith("phrase 'a person wearing a hat") and "\n" not in text
    assert f"has {tokens} tokens, encoder" in text and f"reads {encoder.text_length}: " in text
    unseen = text.split(": '")[1].split("' is not seen")[0]
    assert unseen.endswith("and a red coat")


def test_what_is_not_seen_begins_where_the_phrase_is_cut():
    encoder = load_encoder("nano")
    words = ["hat", "bag", "coat", "boots", "shirt", "jeans"] * 10
    fits = max(n for n in range(60) if len(encoder.processor.tokenizer(" ".join(words[:n]))["input_ids"]) <= 32)
    with warnings.catch_warnings(action="error"):
        encoder.encode_prompts([" ".join(words[:fits])])
    with pytest.warns(UserWarning, match=f"'{words[fits]}' is not seen"):
        encoder.encode_prompts([" ".join(words[: fits + 1])])


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


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The cache of the hub's client, empty, on a machine without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_offline_a_folder_is_enough_and_an_unknown_name_says_what_to_do(folder, offline):
    assert load_encoder(str(folder)).revision is None
    with pytest.raises(BadInput, match="cannot find encoder 'google/no-such-model': no such folder") as caught:
        load_encoder("google/no-such-model")
    assert "HF_HUB_OFFLINE" in str(caught.value) and "hf download google/no-such-model" in str(caught.value)


def test_a_hub_id_is_found_in_the_cache_with_its_commit(folder, offline):
    snapshot = offline / "models--some--siglip" / "snapshots" / ("0123456789" * 4)
    snapshot.mkdir(parents=True)
    copy_of(folder, snapshot)
    reference = offline / "models--some--siglip" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text(snapshot.name)
    encoder = load_encoder("some/siglip")
    assert encoder.revision == snapshot.name
    assert load_encoder("some/siglip", revision=snapshot.name).identity == load_encoder(str(folder)).identity


def copy_of(folder, place, *without):
    for file in folder.iterdir():
        if file.name not in without:
            (place / file.name).write_bytes(file.read_bytes())


def test_a_folder_that_is_no_siglip_is_named(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="is a 'bert' model; expected siglip or siglip2"):
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


def test_a_missing_part_of_weights_in_several_files_is_named(folder, tmp_path):
    copy_of(folder, tmp_path, "model.safetensors")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="100KB")
    sorted(tmp_path.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(BadInput, match="model-00002") as caught:
        load_encoder(str(tmp_path))
    assert "\n" not in str(caught.value) and "of one checkpoint" in str(caught.value)


def test_a_folder_without_any_tokenizer_is_refused(folder, tmp_path):
    copy_of(folder, tmp_path, "tokenizer.json", "tokenizer_config.json", "processor_config.json")
    processor = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(BadInput, match="tokenizer and preprocessor of one checkpoint"):
        load_encoder(str(tmp_path))


def test_another_weight_is_another_hash(folder, tmp_path):
    copy_of(folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["logit_bias"] = weights["logit_bias"] + 1
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_encoder(str(tmp_path)).identity["weights"] != load_encoder(str(folder)).identity["weights"]


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


def differing(one, other):
    return {part for part in one.identity if one.identity[part] != other.identity[part]}


def test_an_identity_is_weights_preprocessing_and_tokenizer(tmp_path):
    nano = load_encoder("nano")
    assert set(nano.identity) == {"weights", "preprocessing", "tokenizer"}
    copied = load_encoder(str(other_preprocessing(NANO, tmp_path / "copied")))
    copied.encode_prompts(["a hat"])  # what the last call asked of the tokenizer is no part of it
    assert copied.identity == nano.identity
    copied.must_match(nano.identity, "a model")
    copied.model.save_pretrained(tmp_path / "again")
    copied.processor.save_pretrained(tmp_path / "again")
    assert load_encoder(str(tmp_path / "again")).identity == nano.identity, "written again by transformers"


@pytest.mark.parametrize(
    "options", [{"resample": 3}, {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}]
)
def test_the_same_weights_with_other_preprocessing_are_another_encoder(options, tmp_path):
    nano, other = load_encoder("nano"), load_encoder(str(other_preprocessing(NANO, tmp_path / "other", **options)))
    assert differing(nano, other) == {"preprocessing"}
    with pytest.raises(BadInput, match="model runs/a was made with another encoder: different preprocessing"):
        other.must_match(nano.identity, "model runs/a")
    other.must_match({"weights": nano.identity["weights"]}, "a model written before there were identities")


@pytest.mark.parametrize("part", ["vocabulary", "rules", "padding token"])
def test_the_same_weights_with_another_tokenizer_are_another_encoder(part, tmp_path):
    copy_of(NANO, tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    if part == "vocabulary":
        vocabulary = content["model"]["vocab"]
        one, two = list(vocabulary)[-2:]
        vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    elif part == "rules":
        content["normalizer"]["normalizers"] = content["normalizer"]["normalizers"][1:]
    else:
        file = tmp_path / "tokenizer_config.json"
        content = {**json.loads(file.read_text()), "pad_token": "<eos>"}
    file.write_text(json.dumps(content))
    assert differing(load_encoder("nano"), load_encoder(str(tmp_path))) == {"tokenizer"}


def test_another_vocabulary_of_the_first_generation_is_another_tokenizer(folders, tmp_path):
    copy_of(folders["first"], tmp_path)
    model = sentencepiece_model_pb2.ModelProto.FromString((tmp_path / "spiece.model").read_bytes())
    model.pieces[5].score -= 1
    (tmp_path / "spiece.model").write_bytes(model.SerializeToString())
    assert differing(load_encoder(str(folders["first"])), load_encoder(str(tmp_path))) == {"tokenizer"}


def test_another_layer_is_another_encoder(folder):
    last, first = load_encoder(str(folder)), load_encoder(str(folder), layer=1)
    assert first.identity == {**last.identity, "layer": "1"}
    first.must_match({"weights": first.identity["weights"], "layer": 1}, "a run")
    for encoder, other in ((last, first), (first, last)):
        with pytest.raises(BadInput, match="a run was made with another encoder: different layer"):
            encoder.must_match(other.identity, "a run")
