"""Extraction: equal to encoding now, found the second time, finished after a stop, another store for other features."""

import errno
import hashlib
import math
import os
import pickle
import shutil
import sys
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, load_from_disk
from PIL import Image, ImageOps
from test_encoder import save_pair

from parlib import BadInput, FeatureStore, extract, load_benchmark, load_encoder
from parlib.data.images import RGBImage, open_image
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


def test_mirrored_features_are_those_of_the_mirrored_image(make, dataset, encoder):
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
    smoother = load_encoder("nano")
    smoother.processor.image_processor.resample = 0
    other_words = load_encoder("nano")
    other_words.processor.tokenizer.pad_token = "<eos>"
    folders = {
        make().folder,
        make(dtype="bf16").folder,
        make(layout="pooled").folder,
        make(layout="grid:4").folder,
        make(mirrored=True).folder,
        make(dataset.select(range(20))).folder,
        make(dataset.select(range(39, -1, -1))).folder,
        make(encoder=other).folder,
        make(encoder=smoother).folder,
        make(encoder=other_words).folder,
        make(encoder=load_encoder("nano", layer=2)).folder,
    }
    assert len(folders) == 11


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_line_that_names_it(make, rendered, tmp_path, workers):
    root = shutil.copytree(rendered, tmp_path / "tree")
    dataset = load_benchmark("pa100k", root, "train")
    (root / "data" / dataset[20]["image_id"]).write_bytes(b"no jpeg")
    with pytest.raises(
        BadInput, match=r"000021\.jpg: is no image in a format that is read .* fetch it again$"
    ) as caught:
        make(dataset, workers=workers)
    assert "\n" not in str(caught.value)


def test_features_that_overflow_are_refused(make, encoder, monkeypatch):
    def large(self, pixels):
        images = len(pixels["pixel_values"])
        return ImageFeatures(torch.full((images, 64, 128), 1e6), torch.ones(images, 128))

    monkeypatch.setattr(type(encoder), "encode_images", large)
    with pytest.raises(BadInput, match="values too large for fp16; use --dtype bf16 or fp32"):
        make(workers=0)


def test_shards_and_batches_are_bounded_in_bytes(make, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 512)
    monkeypatch.setattr(features, "SHARD_BYTES", 5 * 65 * 128 * 2)  # five images of nano in fp16
    monkeypatch.setattr(encoders, "BATCH_BYTES", 3 * 12 * 96 * 96)
    seen = []
    monkeypatch.setattr(features, "_kept", lambda f, layout, kept=features._kept: seen.append(f) or kept(f, layout))
    made = make(encoder=load_encoder("nano"))
    assert made.manifest["shard"] == 4
    assert max(len(f.pooled) for f in seen) == 3
    torch.testing.assert_close(made.pooled, make(layout="pooled").pooled, rtol=1e-3, atol=1e-3)


def test_options_that_do_not_fit_are_named(dataset, make):
    with pytest.raises(BadInput, match="fp16, bf16, fp32"):
        make(dtype="int8")
    for layout in ("mean", "grid:", "grid:0", "grid:x"):
        with pytest.raises(BadInput, match=f"unknown layout '{layout}'.*tokens, pooled, grid:7"):
            make(layout=layout)
    with pytest.raises(BadInput, match="has a patch map of 8 x 8; use tokens or pooled"):
        make(layout="grid:3")
    with pytest.raises(BadInput, match="no image"):
        make(dataset.select(np.arange(0)))


def test_shards_stay_few_enough_to_be_mapped_at_once():
    base = 197 * 768 * 2  # bytes of an image of SigLIP 2 base at 224 px in fp16
    assert [features._shard(n, base) for n in (40, 100_000, 1_900_000)] == [128] * 3, "64 MB a shard"
    for images in (10**7, 10**8):
        for image_bytes in (base, 768 * 2):
            assert images / features._shard(images, image_bytes) < 2**15


def pictures_with_other_pixels(place):
    """A dataset of pictures that Pillow alone would turn into other pixels: a transparent one and a 16-bit one."""
    shades = np.linspace(0, 65535, 96 * 40).reshape(96, 40)
    clear = np.zeros((96, 40, 4), np.uint8)
    clear[20:70, 10:30] = (200, 40, 40, 255)
    Image.fromarray(clear).save(place / "clear.png")
    Image.fromarray(shades.astype(np.uint16)).save(place / "deep.png")
    paths = [str(place / "clear.png"), str(place / "deep.png")]
    rows = {"image": paths, "image_id": ["clear", "deep"]}
    return Dataset.from_dict(rows).cast_column("image", datasets.Image()), [open_image(path) for path in paths]


def test_pictures_are_decoded_in_one_way_whatever_the_column_says(make, encoder, tmp_path):
    plain, pixels = pictures_with_other_pixels(tmp_path)
    ours = plain.cast_column("image", RGBImage())
    ours.save_to_disk(str(tmp_path / "saved"))
    reloaded = load_from_disk(str(tmp_path / "saved")).cast_column("image", datasets.Image())
    want = encoder.encode_images(pixels)
    stores = {}
    for name, dataset in {"plain": plain, "ours": ours, "reloaded": reloaded}.items():
        made = make(dataset, out=tmp_path / name, dtype="fp32", workers=0)
        stores[name] = made.folder.name
        torch.testing.assert_close(made[:].pooled, want.pooled)
    assert stores["plain"] == stores["ours"]
    assert stores["reloaded"] != stores["ours"]  # pictures that a table holds are told apart by content, files by size


def test_an_image_that_went_away_is_named(make, tmp_path):
    dataset, _ = pictures_with_other_pixels(tmp_path)
    (tmp_path / "deep.png").unlink()
    with pytest.raises(BadInput, match=r"deep\.png"):
        make(dataset, workers=0)


def test_a_full_disk_is_one_clear_line_and_the_store_goes_on(make, tmp_path, monkeypatch):
    whole = make(out=tmp_path / "whole")
    calls, sync = [], os.fsync

    def full(number):
        calls.append(number)
        if len(calls) > 2:  # the manifest and a shard fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        BadInput, match=r"shard-00001\.safetensors cannot be written: No space left.*make room"
    ) as caught:
        make(out=tmp_path / "full")
    assert "\n" not in str(caught.value)
    (folder,) = (tmp_path / "full").iterdir()
    assert not list(folder.glob(".*")), "no half of a file is left"
    monkeypatch.setattr(os, "fsync", sync)
    assert bytes_of(make(out=tmp_path / "full").folder) == bytes_of(whole.folder)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_are_for_many_batches_on_linux(encoder, monkeypatch):
    def default(rows, cores, platform="linux"):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(sys, "platform", platform)
        return features.loader([], [range(rows)], encoder).num_workers

    assert [default(1000, cores) for cores in (None, 1, 2, 6, 64)] == [0, 0, 1, 5, 8]
    assert default(encoder.batch_size, 64) == 0, "one batch"
    assert default(1000, 64, "darwin") == default(1000, 64, "win32") == 0, "a script there would run once per worker"
    monkeypatch.setattr(features, "processes", lambda: SimpleNamespace(num_processes=4))
    assert default(1000, 2) == 0, "more processes than cores"


def test_what_a_worker_gets_can_be_sent_to_another_process(dataset, encoder):
    source = features._Batches(dataset, encoder, mirrored=True)
    made, again = source[[3, 5]], pickle.loads(pickle.dumps(source))[[3, 5]]
    for name in ("plain", "mirrored"):
        assert torch.equal(made[name]["pixel_values"], again[name]["pixel_values"])


def test_a_batch_that_a_gpu_has_no_memory_for_is_halved_and_no_shard_is_lost(make, tmp_path, monkeypatch):
    encoder, forward = load_encoder("nano"), encoders.Encoder._forward
    sizes = []

    def small(self, inputs):
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, inputs)

    whole = make(out=tmp_path / "whole", dtype="fp32")
    monkeypatch.setattr(encoders.Encoder, "_forward", small)
    with pytest.warns(UserWarning) as notes:
        halved = make(encoder=encoder, out=tmp_path / "halved", dtype="fp32")
    assert [str(note.message) for note in notes] == [
        "cpu has no memory for 16 images: batches are halved to 8",
        "cpu has no memory for 8 images: batches are halved to 4",
    ]
    assert sizes == [16, 8, *[4] * 10], "later batches start with what fits"
    assert halved.folder.name == whole.folder.name
    torch.testing.assert_close(halved[:].tokens, whole[:].tokens, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(encoders.Encoder, "_forward", lambda *_: small(encoder, {"pixel_values": range(99)}))
    encoder._at_once = 1
    with pytest.raises(BadInput, match="cpu has no memory for one image"):
        encoder.encode_images({"pixel_values": torch.zeros(2, 3, 96, 96)})
