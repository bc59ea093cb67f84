"""A model as one ONNX file for machines without Python: image tower and head, with the prompts as constants."""

import contextlib
import copy
import io
import logging
import math
import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from parlib.errors import BadInput
from parlib.files import json_text, write_atomic
from parlib.use.model import Model

FORMAT_LIMIT = 2**31  # bytes that one ONNX file can hold


def export_onnx(model: Model, path: str | os.PathLike) -> Path:
    """Write `pixel_values` (batch, 3, H, W) float32 -> `probabilities` (batch, A) float32 as one ONNX file.

    The batch is dynamic. The text tower is not in it: what depends on prompts alone is computed here and becomes
    constants. The file's metadata says what a user of it must know: `attributes`, `thresholds`, `calibrated`,
    `preprocessing` (size, resampling, mean, standard deviation: the checkpoint's own), `encoder` and its `identity`.
    The model is on the CPU. BadInput for a NaFlex encoder, weights beyond one file, or where ONNX is not installed.
    """
    try:
        import onnx
        import onnxscript.optimizer
    except ImportError as error:
        raise BadInput(f"exporting needs {error.name}: pip install onnx onnxscript onnxruntime") from None
    encoder, path = model.encoder, Path(path)
    if encoder.keeps_aspect:
        raise BadInput(f"encoder {encoder.name!r} keeps the aspect ratio (NaFlex); only fixed sizes can be exported")
    if encoder.precision != "fp32":
        raise BadInput(f"encoder {encoder.name!r} is in {encoder.precision}: load the model with precision='fp32'")
    whole = _Fused(model).eval()
    size = sum(t.numel() * t.element_size() for t in whole.state_dict().values())
    if size >= FORMAT_LIMIT:
        raise BadInput(f"{encoder.name!r} has {size / 1e9:.1f} GB of weights; one ONNX file holds 2 GB")
    side = encoder.model.config.vision_config.image_size
    for name in ("torch.onnx", "onnxscript"):  # they log their own steps
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        made: Any = torch.onnx.export(
            whole,
            (torch.zeros(2, 3, side, side),),
            dynamo=True,
            opset_version=18,
            input_names=["pixel_values"],
            output_names=["probabilities"],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
        limit = math.prod(model.head.prompt_tokens.shape) * 64
        onnxscript.optimizer.optimize(made.model, input_size_limit=limit, output_size_limit=limit)
    about = {
        "attributes": model.names,
        "thresholds": model.thresholds.round(6),
        "calibrated": model.calibrated,
        "preprocessing": encoder.preprocessing,
        "encoder": encoder.name,
        "weights": encoder.identity["weights"],
        "identity": encoder.identity,
        "made_by": "parlib export",
    }
    texts = {key: one if isinstance(one, str) else json_text(one, indent=None) for key, one in about.items()}
    written = made.model_proto
    onnx.helper.set_model_props(written, texts)
    onnx.checker.check_model(written)
    write_atomic(path, written.SerializeToString())
    return path


class _Fused(nn.Module):
    """Image tower and heads in one module; each head's words are constants of the length in use."""

    def __init__(self, model):
        super().__init__()
        self.tower, self.model = model.encoder.model.vision_model, copy.copy(model)
        self.heads = self.model.heads = nn.ModuleList(_with_constant_words(head) for head in model.heads)

    def forward(self, pixel_values):
        """(B, 3, H, W) -> (B, A)."""
        features = self.tower(pixel_values=pixel_values)
        return self.model.scores(features.last_hidden_state, features.pooler_output)


def _with_constant_words(head):
    """A copy of a head whose words and mask are constants, split beforehand: a Split would keep them from folding."""
    head = copy.deepcopy(head).eval()
    head.at_once = head.at_once or len(head.names)
    with torch.no_grad():
        parts = [[part.clone() for part in whole.split(head.at_once)] for whole in head.words(torch.float32)]
    constants = [SimpleNamespace(split=lambda size, parts=each: parts) for each in parts]
    head.words = lambda dtype: constants
    return head
