"""What a feature store buys: `python benchmarks/store.py [PART ...]`, after `benchmarks/encode.py extraction`.

Parts: `reading` (against the files' own bytes), `training` (a step from the store against the naive loop, each preset
of the head), and `cost` of PA-100K at the rates measured. Weights are random where a name is not `nano`.
"""

import copy
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import datasets
import torch
from encode import run
from harness import RESULTS, profile, side_by_side, write
from PIL import Image
from torch.nn import functional as F

from parlib import extract, load_prompts, schema
from parlib.encode.encoder import BATCH, ImageFeatures
from parlib.learn.head import VLMPARHead
from parlib.learn.methods import find_methods
from parlib.learn.train import in_bf16

BATCH_SIZE = 4  # of a training step: what the naive loop at base-224 shapes fits into 16 GB


def reading(encoder, dataset, repeats, images=1024):
    """Reading a store of the encoder's shape in order and at random against reading its files, cached and not."""
    dataset, place = _blank(images), Path(tempfile.mkdtemp())
    tokens = torch.randn(BATCH, encoder.patches, encoder.width)
    encoder = copy.copy(encoder)
    encoder.encode_images = lambda pixels: _features(tokens, len(pixels["pixel_values"]))
    encoder.pixels = lambda images: {"pixel_values": torch.zeros(len(list(images)), 1)}
    made = extract(dataset, encoder, place, "t", batch_size=BATCH, workers=0, progress=False)
    files = sorted(made.folder.glob("shard-*"))
    size = sum(file.stat().st_size for file in files) / 1e6
    shuffled = torch.randperm(images, generator=torch.Generator().manual_seed(0))

    buffer = bytearray(2**24)

    def raw(cold):
        _drop(files, cold)
        for file in files:
            with open(file, "rb", buffering=0) as opened:
                while opened.readinto(buffer):
                    pass
        return size

    def read(order, cold):
        _drop(files, cold)
        fresh = type(made)(made.folder)
        for rows in order.split(BATCH):
            fresh[rows]
        return size

    out = {"mb": size}
    for name, cold in (("cached", False), ("from disk", True)):
        out[name] = side_by_side(
            {
                "raw files": lambda cold=cold: raw(cold),
                "store, in order": lambda cold=cold: read(torch.arange(images), cold),
                "store, shuffled": lambda cold=cold: read(shuffled, cold),
            },
            repeats,
        )
    shutil.rmtree(place)
    return out


def _features(tokens, count):
    return ImageFeatures(tokens[:count], tokens[:count, 0])


def _blank(images):
    blank = {"image_id": [str(i) for i in range(images)], "image": [Image.new("RGB", (8, 8))] * images}
    kinds = datasets.Features({"image_id": datasets.Value("string"), "image": datasets.Image()})
    return datasets.Dataset.from_dict(blank, kinds)


def _drop(files, cold):
    """Take files out of the page cache (Linux), as if they were read for the first time."""
    for file in files if cold else ():
        number = os.open(file, os.O_RDONLY)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)


def training(encoder, dataset, repeats, batch=BATCH_SIZE):
    """Images a second of one training step: from the store, against the naive loop.

    The naive loop decodes the images, encodes them and all 26 prompts in every step and trains both encoders along, in
    fp32; the step from the store is in the precision in which `fit` would compute here.
    """
    about, phrases = schema("pa100k"), load_prompts("pa100k")
    few, labels = dataset.select(range(batch)), torch.randint(0, 2, (batch, len(phrases))).float().to(encoder.device)
    place = tempfile.mkdtemp()
    stored = extract(few, encoder, place, "t", progress=False)
    ids = encoder.processor.tokenizer(
        phrases, padding="max_length", max_length=encoder.text_length, return_tensors="pt"
    )
    ids = ids["input_ids"].to(encoder.device)
    out = {}
    for preset in ("paper", "compact", "recommended"):
        half = in_bf16(find_methods([preset])[0].train_options(encoder.name), encoder.device)
        head = VLMPARHead.for_encoder(encoder, about, phrases, preset).to(encoder.device).train()

        def step(optimiser, tokens, pooled, half=False, head=head):
            with torch.autocast(encoder.device.type, torch.bfloat16, enabled=half):
                logits = head(tokens, pooled)
            loss = F.binary_cross_entropy_with_logits(logits.float(), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            return batch

        alone = torch.optim.AdamW(head.parameters())

        def from_store(step=step, alone=alone, half=half):
            return step(alone, *(part.to(encoder.device).float() for part in stored[torch.arange(batch)]), half)

        trained = encoder.model.requires_grad_(True)
        together = torch.optim.AdamW([*trained.parameters(), *head.parameters()])

        def naive(step=step, together=together, trained=trained, head=head):
            seen = trained.vision_model(encoder.preprocess(few["image"])["pixel_values"].to(encoder.device))
            words = trained.text_model(input_ids=ids).last_hidden_state
            # The head holds its prompts as a buffer; here they come fresh from the text tower, with their gradient.
            head.prompt_tokens = words
            done = step(together, seen.last_hidden_state, seen.pooler_output)
            head.prompt_tokens = words.detach()
            return done

        forward = {"pixel_values": encoder.preprocess(few["image"])["pixel_values"]}

        def bare(forward=forward):
            encoder.encode_images(forward)
            return batch

        out[preset] = side_by_side({"naive loop": naive, "from the store": from_store, "bare forward": bare}, repeats)
        about_head = {"head": head.describe(), "precision": "bf16" if half else "fp32", "profile": profile(from_store)}
        out[preset] |= about_head
        trained.requires_grad_(False)
        del together, alone
    shutil.rmtree(place)
    return {"batch": batch, "presets": out}


def cost(images=100_000, train=80_000, epochs=20):
    """Hours a PA-100K extraction and 20 epochs take at the rates measured, once and by the naive loop."""
    rates = json.loads((RESULTS / "encode-extraction.json").read_text())["result"]
    steps = json.loads((RESULTS / "store-training.json").read_text())["result"]
    hours = images / rates["base-224"]["bf16 extraction"]["per_s"] / 3600
    out = {"extraction_h": hours, "presets": {}}
    for preset, measured in steps["base-224"]["presets"].items():
        one, naive = (epochs * train / measured[way]["per_s"] / 3600 for way in ("from the store", "naive loop"))
        out["presets"][preset] = {"epochs_h": one, "with_extraction_h": hours + one, "naive_h": naive}
    return out


if __name__ == "__main__":
    if "cost" not in sys.argv:
        run({"reading": reading, "training": training}, "store", __doc__)
    if not {"reading", "training"} & set(sys.argv):
        write("store-cost", cost())
