"""onnxruntime against torch on an exported model: `python benchmarks/export.py`; nano, and base-224 shapes.

Both run on the CPU with as many threads as there are cores. Weights of base-224 are random, which speed and equality do
not mind; its head is the recommended one, untrained.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from encode import encoder_of
from harness import side_by_side, write

import parlib
from parlib.encode.prompts import load_prompts
from parlib.learn.head import VLMPARHead
from parlib.use.exchange import export_onnx
from parlib.use.model import Model

BATCHES = {"nano": (1, 64), "base-224": (1, 8)}


def model_of(name):
    if name == "nano":
        return parlib.load("nano-pa100k", device="cpu")
    encoder, schema = encoder_of(name), parlib.schema("pa100k")
    torch.manual_seed(0)
    return Model(encoder, VLMPARHead.for_encoder(encoder, schema, load_prompts(schema), "recommended"))


def compared(name, folder, repeats=7):
    """Images a second of both for each size of batch, their largest difference, and the file's size."""
    model, path = model_of(name), Path(folder) / f"{name}.onnx"
    export_onnx(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session, out = onnxruntime.InferenceSession(path, options), {"file_mb": path.stat().st_size / 1e6}
    for batch in BATCHES[name]:
        side = model.encoder.model.config.vision_config.image_size
        pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))

        def by_torch(pixels=pixels):
            by_torch.seen = model.scores(*model.encoder.encode_images({"pixel_values": pixels})).numpy()
            return len(pixels)

        def by_onnx(pixels=pixels):
            by_onnx.seen = session.run(None, {"pixel_values": pixels.numpy()})[0]
            return len(pixels)

        out[f"batch {batch}"] = side_by_side({"torch": by_torch, "onnxruntime": by_onnx}, repeats)
        out[f"batch {batch}"]["largest_difference"] = float(np.abs(by_torch.seen - by_onnx.seen).max())
    return out


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    with tempfile.TemporaryDirectory() as place:
        write("export", {name: compared(name, place) for name in BATCHES})
