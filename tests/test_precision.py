"""The encoder's precision: chosen by a trial, near fp32 in scores and decisions, never mixed up with another one."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from precision import closeness
from test_encoder import save_pair

from parlib import BadInput, load, load_encoder
from parlib.cli import main
from parlib.data import read_release
from parlib.encode import precision as precisions
from parlib.encode.precision import compile_if_it_pays
from parlib.learn.inputs import encoder_setting, prepare
from parlib.learn.methods import find_methods
from pedsynth import synthesize


@pytest.fixture
def images():
    draws = np.random.default_rng(0)
    return [Image.fromarray(draws.integers(0, 256, (96, 48, 3), dtype=np.uint8)) for _ in range(4)]


@pytest.fixture
def other(tmp_path, monkeypatch):
    """The folder of an encoder that is not nano, and an empty cache."""
    monkeypatch.setenv("PARLIB_CACHE", str(tmp_path / "cache"))
    return save_pair(tmp_path / "other")


@pytest.fixture
def rates(monkeypatch):
    """Images per second that a trial finds, by precision; `compiled` is that of a compiled forward."""
    found = {"fp32": 10.0, "bf16": 20.0, "compiled": 30.0}

    def rate(encoder, inputs):
        return found["compiled" if len(inputs["pixel_values"]) == encoder.compiled_size else encoder.precision]

    monkeypatch.setattr(precisions, "_rate", rate)
    return found


def test_bf16_is_another_precision_of_the_same_encoder(images):
    single, half = load_encoder("nano"), load_encoder("nano", precision="bf16")
    assert half.identity == single.identity
    half.must_match(single.identity, "a model")
    assert single.determines == single.identity
    assert half.determines == {**single.identity, "precision": "bf16"}
    assert "precision" not in encoder_setting(single), "records in fp32 stay as they were"
    assert encoder_setting(half)["precision"] == "bf16"
    want, seen = single.encode_images(images), half.encode_images(images)
    assert seen.tokens.dtype == torch.bfloat16
    assert not torch.equal(seen.pooled.float(), want.pooled)
    assert torch.cosine_similarity(seen.pooled.float(), want.pooled).min() > 0.999
    assert torch.equal(half.encode_prompts(["a hat"]).pooled, single.encode_prompts(["a hat"]).pooled)
    assert half.similarity_maps(seen.tokens, half.encode_prompts(["a hat"]).pooled).dtype == torch.float32


@pytest.mark.parametrize("naflex", [True, False])
def test_any_family_and_layer_computes_in_bf16(naflex, other, images, tmp_path):
    folder = str(save_pair(tmp_path / "naflex", naflex=True)) if naflex else str(other)
    for layer in (None, 1):
        want = load_encoder(folder, layer=layer).encode_images(images)
        seen = load_encoder(folder, layer=layer, precision="bf16").encode_images(images)
        torch.testing.assert_close(seen.tokens.float(), want.tokens, rtol=0.1, atol=0.1)
        assert torch.equal(seen.mask, want.mask)


def test_a_precision_that_is_unknown_or_that_the_device_lacks_is_refused(rendered, monkeypatch, capsys):
    with pytest.raises(BadInput, match="unknown precision 'int8'; known: auto, fp32, bf16"):
        load_encoder("nano", precision="int8")
    monkeypatch.setattr(precisions, "_has", lambda device, dtype: False)
    assert main(["extract", "--root", str(rendered), "--precision", "bf16"]) == 2
    assert capsys.readouterr().err == "parlib: device cpu cannot compute in bf16: use --precision fp32\n"


def test_auto_makes_one_trial_per_encoder_and_keeps_it(other, rates, tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match=r"in bf16 on this machine.*20\.0 images per second in bf16, 10\.0 in fp32"):
        assert load_encoder(str(other), precision="auto").precision == "bf16"
    monkeypatch.setattr(precisions, "_trial", lambda encoder: pytest.fail("a second trial"))
    with warnings.catch_warnings(action="error"):
        assert load_encoder(str(other), precision="auto").precision == "bf16"
        assert load_encoder(str(other), precision="fp32").precision == "fp32", "the user's word counts more"
    (known,) = json.loads((tmp_path / "cache" / "precision.json").read_text()).values()
    assert (known["precision"], known["fp32"], known["bf16"]) == ("bf16", 10, 20)
    assert known["cosine"] > 0.99


@pytest.mark.parametrize("change", [{"bf16": 11.0}, {"ALIKE": 1.1}, {"_has": False}])
def test_auto_stays_in_fp32_where_bf16_is_not_faster_or_not_the_same(other, rates, monkeypatch, change):
    rates["bf16"] = change.get("bf16", 20.0)
    if "ALIKE" in change:
        monkeypatch.setattr(precisions, "ALIKE", change["ALIKE"])
    if "_has" in change:
        monkeypatch.setattr(precisions, "_has", lambda device, dtype: False)
    with warnings.catch_warnings(action="ignore"):
        assert load_encoder(str(other), precision="auto").precision == "fp32"


def test_nano_is_in_fp32_without_a_trial(other, monkeypatch):
    monkeypatch.setattr(precisions, "_trial", lambda encoder: pytest.fail("a trial"))
    assert load_encoder("nano", precision="auto").precision == "fp32"


def test_a_damaged_file_of_trials_is_named(other, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "precision.json").write_text("{")
    with pytest.raises(BadInput, match=r"precision\.json cannot be read.*remove it"):
        load_encoder(str(other), precision="auto")


def test_a_forward_is_compiled_only_where_the_images_to_come_pay_for_it(other, rates, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **how: compiled.append(how) or function)
    encoder = load_encoder(str(other), precision="bf16")

    def size(images):
        compile_if_it_pays(encoder, images)
        return encoder.compiled_size

    assert size(20 * 299) == 0 and not compiled, "a short job makes no trial"
    assert size(20 * 301) == encoder.batch_size and compiled
    rates["compiled"] = 1.0
    assert size(20 * 301) == encoder.batch_size, "measured once"
    slow = load_encoder(str(other), precision="fp32")
    compile_if_it_pays(slow, 10**9)
    assert slow.compiled_size == 0, "fp32 is the same on every machine"


def test_the_batch_of_a_gpu_is_what_its_memory_holds_and_that_of_a_cpu_stays(other, monkeypatch, tmp_path):
    """A GPU of 1,000 bytes, of which 250 are for a batch; an image takes 30, the weights 500."""
    encoder, forwards = load_encoder(str(other)), []
    size = encoder.batch_size
    precisions.fit_batch(encoder)
    assert encoder.batch_size == size and not (tmp_path / "cache" / "precision.json").is_file()
    monkeypatch.setattr(type(encoder), "device", torch.device("cuda"))
    monkeypatch.setattr(
        type(encoder), "encode_images", lambda self, inputs: forwards.append(len(inputs["pixel_values"]))
    )
    gpu = {"total_memory": 1000}
    fakes = {
        "get_device_name": lambda device: "a GPU",
        "get_device_properties": lambda device: SimpleNamespace(**gpu),
        "reset_peak_memory_stats": lambda device: None,
        "memory_allocated": lambda device: 500,
        "max_memory_allocated": lambda device: 500 + 30 * forwards[-1],
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    compile_if_it_pays(encoder, 10**6)
    assert encoder.batch_size == 8, "8 x 30 fit into 250, 16 x 30 do not"
    for gpu["total_memory"], held in ((100, 1), (10**9, precisions.LARGEST)):
        precisions.fit_batch(encoder)
        assert encoder.batch_size == held
    assert len(forwards) == 1, "measured once"
    (known,) = json.loads((tmp_path / "cache" / "precision.json").read_text()).values()
    assert known == {"fp32_bytes": 30}


def test_a_compiled_forward_that_is_not_faster_is_not_used(other, rates, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    rates["compiled"] = 19.0
    encoder = load_encoder(str(other), precision="bf16")
    compile_if_it_pays(encoder, 10**6)
    assert encoder.compiled_size == 0


def test_without_a_compiler_the_job_goes_on_with_a_note(other, rates, images, monkeypatch):
    def broken(*_, **how):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", broken)
    encoder = load_encoder(str(other), precision="bf16")
    with pytest.warns(UserWarning, match="the image tower is not compiled: no C"):
        compile_if_it_pays(encoder, 10**6)
    assert len(encoder.encode_images(images).pooled) == 4


@pytest.mark.long
def test_a_compiled_forward_gives_the_features_of_the_plain_one(other, images):
    encoder = load_encoder(str(other), precision="bf16")
    want = encoder.encode_images(images)
    encoder.compiled_size = 4
    seen = encoder.encode_images(images)
    torch.testing.assert_close(seen.tokens, want.tokens, rtol=0.05, atol=0.05)
    assert "_compiled" in vars(encoder) and "_compiled" not in vars(encoder.for_workers())


def test_a_store_of_another_precision_is_named_and_not_read(rendered, tmp_path):
    single, half = load_encoder("nano"), load_encoder("nano", precision="bf16")
    release, options = read_release("pa100k", rendered), {"progress": False, "layout": "pooled"}
    first = prepare(release, "val", single, tmp_path, **options)
    assert "precision" not in json.dumps(first.store.manifest), "stores in fp32 keep their key"
    with pytest.warns(UserWarning, match=rf"{first.store.folder.name} holds these features in fp32 .*again in bf16"):
        second = prepare(release, "val", half, tmp_path, **options)
    assert second.store.folder != first.store.folder
    assert (first.store.precision, second.store.precision) == ("fp32", "bf16")
    with pytest.raises(BadInput, match="computed in bf16, and the encoder computes in fp32: load it with --precision"):
        prepare(release, "val", single, tmp_path, store=second.store)


def test_a_model_computes_in_the_precision_of_its_training(tmp_path, capsys):
    model, half = load("nano-pa100k"), load("nano-pa100k", precision="bf16")
    assert (model.encoder.precision, half.encoder.precision) == ("fp32", "bf16")
    assert model.key != half.key, "a stopped prediction does not go on in another precision"
    model.run["setting"]["precision"] = "bf16"
    model.save_pretrained(tmp_path / "saved")
    assert load(tmp_path / "saved").encoder.precision == "bf16"
    assert main(["predict", "nano-pa100k", "--precision", "bf16", "--out", str(tmp_path / "out.json")]) == 0


def must_be_close(found, mA=0.1, tuned_mA=0.5):
    """The promise; at a tuned threshold one image of a rare attribute moves mA by more than a tenth of a point."""
    for key, changed in found.items():
        assert abs(changed["mA_at_half"]) <= mA and abs(changed["tuned_mA"]) <= tuned_mA, (key, changed)
        assert abs(changed["mAP"]) <= 0.2 and max(changed["flipped"], changed["flipped_at_half"]) < 0.005, (
            key,
            changed,
        )


def test_scores_and_decisions_in_bf16_are_those_of_fp32(tmp_path):
    root = synthesize("pa100k", tmp_path / "tree", train=300, val=150, test=400, progress=False)
    must_be_close(closeness(read_release("pa100k", root), tmp_path, "test", find_methods(["linear", "attentive"])))


@pytest.mark.long
@pytest.mark.real
def test_scores_and_decisions_in_bf16_are_those_of_fp32_on_real_images(real_data, tmp_path):
    release = read_release("pa100k", real_data / "pa100k-sample")
    must_be_close(closeness(release, tmp_path, "train", find_methods(["linear", "attentive", "recommended"])))
