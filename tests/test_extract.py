"""The feature store: equal to encoding now, found the second time, finished after a stop, told apart from others."""

import hashlib
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import ImageOps
from test_encoder import save_pair

from parlib import BadInput, FeatureStore, extract, load_benchmark, load_encoder
from parlib.cli import main
from parlib.encode import encoder as encoders
from parlib.encode import extract as features
from parlib.encode.encoder import ImageFeatures
from parlib.encode.store import check_store


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("nano")


@pytest.fixture
def dataset(rendered, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 16)  # several shards from few images
    return load_benchmark("pa100k", rendered, "train")


@pytest.fixture
def make(dataset, encoder, tmp_path):
    """`extract` of the 40 images without a progress bar."""

    def call(given=dataset, encoder=encoder, out=tmp_path, **options):
        return extract(given, encoder, out, "t", progress=False, **options)

    return call


def bytes_of(folder):
    """Every file of a store, hidden ones too: name -> SHA-256."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


ROWS = [0, 17, 3, 39]  # out of order and across shards


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("fp16", 2e-3), ("bf16", 2e-2)])
def test_a_store_holds_what_the_encoder_says(make, dataset, encoder, dtype, tolerance):
    made = make(dtype=dtype, batch_size=8)
    want = encoder.encode_images([dataset[i]["image"] for i in ROWS])
    assert len(made) == len(dataset)
    torch.testing.assert_close(made[ROWS].tokens.float(), want.tokens, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(made[ROWS].pooled.float(), want.pooled, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(made.pooled[ROWS], made[ROWS].pooled.float())
    assert torch.equal(made[10:20].tokens, made[list(range(10, 20))].tokens)


def test_an_averaged_store_has_the_mean_of_patches_for_its_pooled_feature(make, dataset, tmp_path):
    for encoder in (load_encoder("nano"), load_encoder(str(save_pair(tmp_path / "naflex", naflex=True)))):
        made = make(encoder=encoder, dtype="fp32")
        mean = made.averaged()
        assert len(mean) == len(made)
        part = made[[5]]
        torch.testing.assert_close(mean.pooled[5], part.tokens[part.mask].mean(0))
        assert not torch.equal(made.pooled, mean.pooled)


def test_rows_that_are_not_there_are_refused(make):
    made = make()
    for rows in ([40], [-1], torch.tensor([3, 99])):
        with pytest.raises(IndexError, match="of a store of 40"):
            made[rows]
    assert made[[]].pooled.shape == (0, 128)


@pytest.mark.parametrize("grid", [4, 2, 8])
def test_a_grid_is_the_mean_of_its_patches(make, grid):
    whole, made = make(dtype="fp32"), make(dtype="fp32", layout=f"grid:{grid}")
    side = math.isqrt(whole[:].tokens.shape[1])
    blocks = whole[:].tokens.view(40, grid, side // grid, grid, side // grid, 128)  # (B, i, y, j, x, D)
    torch.testing.assert_close(made[:].tokens, blocks.mean((2, 4)).reshape(40, grid * grid, 128))
    assert torch.equal(made.pooled, whole.pooled)


def test_a_pooled_store_has_no_tokens_and_is_small(make):
    whole, made = make(), make(layout="pooled")
    assert made[ROWS].tokens.shape == (4, 0, 128)
    assert torch.equal(made[ROWS].pooled, whole[ROWS].pooled)
    size = [sum(file.stat().st_size for file in each.folder.iterdir()) for each in (whole, made)]
    assert size[1] < size[0] / 20


def test_a_mirrored_view_is_the_mirrored_image(make, dataset, encoder):
    made = make(dtype="fp32", mirrored=True)
    want = encoder.encode_images([ImageOps.mirror(dataset[i]["image"]) for i in ROWS])
    torch.testing.assert_close(FeatureStore(made.folder, mirrored=True)[ROWS].tokens, want.tokens, rtol=1e-4, atol=1e-4)
    assert torch.equal(made[ROWS].tokens, make(dtype="fp32")[ROWS].tokens)
    with pytest.raises(BadInput, match=r"no mirrored images.*parlib extract --mirrored"):
        FeatureStore(make(dtype="fp32").folder, mirrored=True)


def test_a_naflex_store_knows_which_patches_are_none(make, dataset, tmp_path):
    encoder = load_encoder(str(save_pair(tmp_path / "naflex", naflex=True)))
    made = make(encoder=encoder, dtype="fp32")
    want = encoder.encode_images([dataset[i]["image"] for i in ROWS])
    torch.testing.assert_close(made[ROWS].tokens, want.tokens, rtol=1e-4, atol=1e-4)
    assert torch.equal(made[ROWS].mask, want.mask)
    assert torch.equal(made.shapes.prod(1), made[:].mask.sum(1))
    assert not made[:].mask.all()
    assert check_store(made.folder).usable
    with pytest.raises(BadInput, match="has patch maps of any shape"):
        make(encoder=encoder, layout="grid:4")


def test_the_second_call_encodes_nothing(make, encoder, monkeypatch):
    first = make()
    monkeypatch.setattr(type(encoder), "encode_images", lambda *_: pytest.fail("encoded again"))
    assert make().folder == first.folder


def test_a_stopped_extraction_goes_on_and_ends_with_the_same_bytes(make, tmp_path, monkeypatch):
    whole = make(out=tmp_path / "whole", batch_size=8)
    saved, write = [], features.write_shard

    def stop_after_one(*arguments):
        if saved:
            raise KeyboardInterrupt
        saved.append(write(*arguments))

    monkeypatch.setattr(features, "write_shard", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        make(out=tmp_path / "stopped", batch_size=8)
    folder = next((tmp_path / "stopped").iterdir())
    with pytest.raises(BadInput, match="unfinished: 2 shards missing"):
        FeatureStore(folder)
    monkeypatch.setattr(features, "write_shard", write)
    assert bytes_of(make(out=tmp_path / "stopped", batch_size=8).folder) == bytes_of(whole.folder)


def test_whatever_determines_the_features_is_another_store(make, dataset, tmp_path):
    other = load_encoder(str(save_pair(tmp_path / "other")))
    taller = load_encoder("nano")
    taller.processor.image_processor.resample = 0
    folders = {
        make().folder,
        make(dtype="bf16").folder,
        make(layout="pooled").folder,
        make(layout="grid:4").folder,
        make(mirrored=True).folder,
        make(dataset.select(range(20))).folder,
        make(dataset.select(range(39, -1, -1))).folder,
        make(encoder=other).folder,
        make(encoder=taller).folder,
    }
    assert len(folders) == 9


def test_images_that_changed_under_a_store_are_noticed(make, encoder, rendered, tmp_path):
    root = shutil.copytree(rendered, tmp_path / "tree")
    before = make(load_benchmark("pa100k", root, "train"))
    assert before.must_fit(encoder, load_benchmark("pa100k", root, "train")) is before
    image = sorted((root / "data").iterdir())[0]
    image.write_bytes(image.read_bytes() + b"\0\xff\xd9")
    changed = load_benchmark("pa100k", root, "train")
    assert make(changed).folder != before.folder
    with pytest.raises(BadInput, match=r"made from other images \(files_sha256 differ.*parlib extract"):
        before.must_fit(dataset=changed)


def test_a_store_of_another_encoder_is_refused(make, tmp_path):
    other = load_encoder(str(save_pair(tmp_path / "other")))
    with pytest.raises(BadInput, match=r"made with another encoder: weights and tokenizer of encoder '.*other' differ"):
        make().must_fit(other)


def test_every_flipped_byte_is_found_by_check(make, capsys):
    folder = make(layout="pooled").folder
    assert main(["check", str(folder)]) == 0
    assert "40 rows, shards 3" in capsys.readouterr().out
    rng = np.random.default_rng(0)
    for file in sorted(folder.glob("shard-*")):
        whole = file.read_bytes()
        for at in {0, len(whole) - 1, *range(60), *rng.integers(0, len(whole), 40).tolist()}:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(rng.integers(8))]) + whole[at + 1 :])
            code = main(["check", str(folder)])
            said = capsys.readouterr()
            assert code, f"{file.name}, byte {at}"
            assert file.name in said.out + said.err
        file.write_bytes(whole)
    assert main(["check", str(folder)]) == 0


def test_a_shard_in_anothers_place_is_found(make):
    folder = make().folder
    (folder / "shard-00001.safetensors").write_bytes((folder / "shard-00000.safetensors").read_bytes())
    assert check_store(folder).problems == [
        "shard-00001.safetensors is damaged: remove it and run the same `parlib extract` again"
    ]
    (folder / "shard-00001.safetensors").unlink()
    assert check_store(make().folder).usable


def test_a_cut_off_shard_is_named_when_it_is_read(make):
    folder = make().folder
    shard = folder / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"shard-00001\.safetensors cannot be read.*parlib extract"):
        FeatureStore(folder)[[20]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_line_that_names_it(make, rendered, tmp_path, workers):
    root = shutil.copytree(rendered, tmp_path / "tree")
    dataset = load_benchmark("pa100k", root, "train")
    (root / "data" / dataset[20]["image_id"]).write_bytes(b"no jpeg")
    with pytest.raises(BadInput, match=r"000021\.jpg: is no image; fetch this file again$") as caught:
        make(dataset, workers=workers)
    assert "\n" not in str(caught.value)


def test_features_that_overflow_are_refused(make, encoder, monkeypatch):
    def large(self, pixels):
        images = len(pixels["pixel_values"])
        return ImageFeatures(torch.full((images, 64, 128), 1e6), torch.ones(images, 128))

    monkeypatch.setattr(type(encoder), "encode_images", large)
    with pytest.raises(BadInput, match="overflow the stored dtype; use bf16 or fp32"):
        make(workers=0)


def test_shards_and_batches_are_bounded_in_bytes(make, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 512)
    monkeypatch.setattr(features, "SHARD_BYTES", 5 * 65 * 128 * 2)  # five images of nano in fp16
    monkeypatch.setattr(encoders, "BATCH_BYTES", 3 * 12 * 96 * 96)
    seen = []
    monkeypatch.setattr(features, "_kept", lambda f, layout, kept=features._kept: seen.append(f) or kept(f, layout))
    made = make()
    assert made.manifest["shard"] == 4
    assert max(len(f.pooled) for f in seen) == 3
    torch.testing.assert_close(made.pooled, make(layout="pooled").pooled, rtol=1e-3, atol=1e-3)


def test_bad_input_is_named(dataset, make, tmp_path):
    with pytest.raises(BadInput, match="fp16, bf16, fp32"):
        make(dtype="int8")
    for layout in ("mean", "grid:", "grid:0", "grid:x"):
        with pytest.raises(BadInput, match=f"unknown layout '{layout}'.*tokens, pooled, grid:7"):
            make(layout=layout)
    with pytest.raises(BadInput, match="which has a 8 x 8 patch map"):
        make(layout="grid:3")
    with pytest.raises(BadInput, match="no feature store manifest at"):
        FeatureStore(tmp_path)
    with pytest.raises(BadInput, match="no image"):
        make(dataset.select(np.arange(0)))
    folder = make().folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(BadInput, match="another version of parlib"):
        FeatureStore(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"feature store manifest .*manifest\.json cannot be read .*parlib extract"):
        FeatureStore(folder)


def test_features_of_an_earlier_block_are_another_store(make, encoder):
    whole, early = make(), make(encoder=load_encoder("nano", layer=2))
    assert (
        whole.folder != early.folder
        and early.manifest["identity"]["layer"] == "2"
        and "layer" not in whole.manifest["identity"]
    )
    with pytest.raises(BadInput, match=r"made with another encoder: layer of"):
        early.must_fit(encoder)


def test_shards_stay_few_enough_to_be_mapped_at_once():
    base = 197 * 768 * 2  # bytes of an image of SigLIP 2 base at 224 px in fp16
    assert [features._shard(n, base) for n in (40, 100_000, 1_900_000)] == [128] * 3, "64 MB a shard"
    for images in (10**7, 10**8):
        for image_bytes in (base, 768 * 2):
            assert images / features._shard(images, image_bytes) < 2**15
