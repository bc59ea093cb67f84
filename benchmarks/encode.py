"""Speed and memory of the frozen encoder and its store: `python benchmarks/encode.py [PART ...]`.

Parts: `pixels` (preprocessing), `forward` (what pays in the image tower), `extraction` (from JPEGs on disk to a store),
`memory`. Weights are random where a name is not `nano`: speed does not depend on them. With a GPU:

    python benchmarks/encode.py extraction --encoder base-224 so400m-384 --images 4096 --root /data/pa100k
"""

import argparse
import copy
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import patch

import datasets
import psutil
import torch
from harness import profile, side_by_side, write
from transformers import SiglipConfig, SiglipModel

from parlib import extract, load_benchmark, load_encoder
from parlib.data.images import open_image
from parlib.encode.encoder import Encoder
from parlib.encode.extract import _Batches
from parlib.encode.precision import fit_batch, set_precision
from parlib.encode.store import write_shard
from pedsynth import synthesize

SHAPES = {  # side, patch, width, depth, attention heads, width of the feed-forward
    "base-224": (224, 16, 768, 12, 12, 3072),
    "so400m-384": (384, 14, 1152, 27, 16, 4304),
}


def encoder_of(name, layers=None):
    """`nano`, or an encoder of the published shapes and random weights with nano's tokenizer."""
    nano = load_encoder("nano")
    if name == "nano":
        return nano
    side, patch, width, depth, heads, inner = SHAPES[name]
    tower = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads}
    tower["num_hidden_layers"] = layers or depth
    text = {**tower, "vocab_size": 256_000, "max_position_embeddings": 64, "projection_size": width}
    torch.manual_seed(0)
    model = SiglipModel(
        SiglipConfig(text_config=text, vision_config={**tower, "image_size": side, "patch_size": patch})
    )
    processor = copy.deepcopy(nano.processor)
    processor.image_processor.size = {"height": side, "width": side}
    return Encoder(f"{name}, random weights", model.requires_grad_(False).eval().to(nano.device), processor)


def encoder_folder(name, out):
    """The same as a folder that `load_encoder` reads, in half precision; made if it is not there."""
    if not (out / "config.json").is_file():
        encoder = encoder_of(name)
        encoder.model.half().save_pretrained(out)
        encoder.processor.save_pretrained(out)
    return out


def pixels(encoder, dataset, repeats):
    """Preprocessing of decoded images: the checkpoint's own processor against what `preprocess` does."""
    own, images = encoder.processor.image_processor, dataset[: min(256, len(dataset))]["image"]

    def processor():
        own(images=images, return_tensors="pt")
        return len(images)

    def ours():
        encoder.preprocess(images)
        return len(images)

    resized = encoder.pixels(images)["pixel_values"]
    parts = {
        "resize": lambda: encoder.pixels(images),
        "rescale and normalise": lambda: encoder._normalised(resized),
    }
    return {**side_by_side({"processor": processor, "preprocess": ours}, repeats), "profile": _percent(parts)}


def forward(encoder, dataset, repeats):
    """The bare image tower on ready tensors, in the variants that could pay."""
    side, size, kind = encoder.preprocessing["size"]["height"], encoder.batch_size, encoder.device.type
    ready = torch.rand(size, 3, side, side, device=encoder.device)
    tower = encoder.model.vision_model
    eager = copy.deepcopy(tower)
    eager.config._attn_implementation = "eager"
    compiled = torch.compile(copy.deepcopy(tower))

    def run(model, tensor=ready, amp=None):
        def call():
            with torch.no_grad(), torch.autocast(kind, amp, enabled=amp is not None):
                model(pixel_values=tensor)
            return size

        return call

    last = ready.contiguous(memory_format=torch.channels_last)
    variants = {
        "sdpa": run(tower),
        "eager attention": run(eager),
        "channels_last": run(copy.deepcopy(tower).to(memory_format=torch.channels_last), last),
        "autocast bf16": run(tower, amp=torch.bfloat16),
        "bf16 weights": run(copy.deepcopy(tower).bfloat16(), ready.bfloat16()),
        "torch.compile": run(compiled),
    }
    found = side_by_side(variants, repeats)
    for name, work in variants.items():
        found[name]["profile"] = profile(work)
    return found


def extraction(encoder, dataset, repeats):
    """A split from JPEGs on disk into a store, against the bare image tower on as many ready tensors.

    `profile` holds the share of the extraction's work in percent, each part timed alone, in both precisions.
    """
    fit_batch(encoder)
    side, size = encoder.preprocessing["size"]["height"], encoder.batch_size
    pixels = torch.rand(size, 3, side, side, device=encoder.device)
    half, compiled = copy.deepcopy(encoder), copy.deepcopy(encoder)
    set_precision(half, "bf16")
    set_precision(compiled, "bf16")
    compiled.compiled_size = size

    def bare(used):
        def call():
            for start in range(0, len(dataset), size):
                used.encode_images({"pixel_values": pixels[: len(dataset) - start]})
            return len(dataset)

        return call

    def whole(used):
        def call():
            # The sample is too small for compiling to pay; a job of the benchmarks' size is compiled.
            with tempfile.TemporaryDirectory() as place, patch("parlib.encode.extract.compile_if_it_pays"):
                extract(dataset, used, place, "t", progress=False)
            return len(dataset)

        return call

    variants = {
        "fp32 bare forward": bare(encoder),
        "bf16 bare forward": bare(half),
        "bf16 compiled bare forward": bare(compiled),
        "bf16 extraction": whole(half),
        "bf16 compiled extraction": whole(compiled),
        **({"fp32 extraction": whole(encoder)} if encoder.name == "nano" else {}),  # its precision by default
    }
    encoder.identity  # noqa: B018 (computed once an encoder, here before the clock starts)
    shares = {used.precision: _shares(used, dataset) for used in (encoder, half)}
    return {**side_by_side(variants, repeats), "images": len(dataset), "profile": shares}


def _shares(encoder, dataset):
    """Percent of the time of one process that each part of an extraction takes, on one batch."""
    source, rows = _Batches(dataset, encoder, False), list(range(min(encoder.batch_size, len(dataset))))
    pixels = source[rows]["plain"]
    features = encoder.encode_images(pixels)
    with tempfile.TemporaryDirectory() as place:

        def store():
            tensors = {name: part.to("cpu", torch.float16) for name, part in features._asdict().items()}
            write_shard(Path(place) / "shard", tensors, "key")

        images, files = source.dataset[rows]["image"], [each["path"] for each in _files(dataset.select(rows))]
        parts = {
            "decode": lambda: [open_image(path) for path in files],
            "resize": lambda: encoder.pixels(images),
            "rescale and normalise": lambda: encoder._normalised(pixels["pixel_values"].to(encoder.device)),
            "normalise and forward": lambda: encoder.encode_images(pixels),
            "convert, hash and write": store,
        }
        return _percent(parts)


def _percent(parts):
    """Percent of their summed time that each part takes, timed side by side."""
    seconds = {name: row["median_s"] for name, row in side_by_side(parts, 3).items()}
    if both := seconds.pop("normalise and forward", None):
        seconds["forward"] = both - seconds["rescale and normalise"]
    return {name: round(100 * each / sum(seconds.values()), 1) for name, each in seconds.items()}


def _files(dataset):
    return dataset.cast_column("image", datasets.Image(decode=False))["image"]


def memory(encoder, dataset, repeats):
    """Most memory of this process and its workers above what the model needs, for 1x and 4x the images, in MB.

    Proportional set size, so that pages the workers share with the parent count once.
    """
    encoder.identity  # noqa: B018
    out = {}
    for times in (1, 4):
        many, before = datasets.concatenate_datasets([dataset] * times), _resident_mb()
        with tempfile.TemporaryDirectory() as place, _Peak() as peak:
            extract(many, encoder, place, "t", progress=False)
        out[f"{times}x"] = {"images": len(many), "above_the_model_mb": peak.mb - before}
    return out


def _resident_mb():
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


class _Peak:
    """Samples `_resident_mb` ten times a second while it is open; `mb` is the most it saw."""

    def __enter__(self):
        self.mb, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.1):
            self.mb = max(self.mb, _resident_mb())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def run(parts, group, text):
    """The command line of a benchmark script: each part for each encoder, written to `results/<group>-<part>.json`."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--root", type=Path, help="a PA-100K tree (default: one is rendered)")
    parser.add_argument("--encoder", nargs="+", default=["nano", "base-224"], help="nano, base-224, so400m-384")
    parser.add_argument("--images", type=int, help="default: nano 1000; else 64, memory 256")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    root = given.root or Path(tempfile.gettempdir()) / "parlib-benchmark-tree"
    if not root.is_dir():
        synthesize("pa100k", root, train=4000, val=8, test=8, progress=False)
    tree = load_benchmark("pa100k", root, "train")
    for part in given.parts or parts:
        out, start = {}, time.perf_counter()
        for name in given.encoder:
            # Memory and reading depend on the width alone: one layer shows them sooner.
            encoder = encoder_of(name, layers=1 if part in ("memory", "reading") else None)
            most = {"nano": {"extraction": 1000}}.get(name, {"memory": 256}).get(part, 1000 if name == "nano" else 64)
            count = given.images or most
            out[name] = parts[part](encoder, tree.select(range(min(count, len(tree)))), given.repeats)
        for name, rows in out.items():
            print(
                name,
                {way: round(row["ratio"], 2) for way, row in rows.items() if isinstance(row, dict) and "ratio" in row},
            )
        print(f"{part}: {time.perf_counter() - start:.0f} s")
        write(f"{group}-{part}", out)


if __name__ == "__main__":
    run({"pixels": pixels, "forward": forward, "extraction": extraction, "memory": memory}, "encode", __doc__)
