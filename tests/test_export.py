"""The ONNX file answers as torch does, and says what a user of it must know."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.learn.head import VLMPARHead
from parlib.use import exchange
from parlib.use.exchange import export_onnx
from parlib.use.model import Model

pytestmark = pytest.mark.no_cover  # torch's exporter under a tracer takes minutes more
TOLERANCE = 2e-5  # of a probability, fp32 against fp32


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k", device="cpu")


def answers(path, pixels):
    return onnxruntime.InferenceSession(path).run(None, {"pixel_values": pixels.numpy()})[0]


def torch_answers(model, pixels):
    return model.scores(*model.encoder.encode_images({"pixel_values": pixels})).numpy()


def test_onnx_equals_torch_for_any_batch(model, tmp_path):
    extended = model.with_phrases({"red coat": "a person in a red coat"})
    path = export_onnx(extended, tmp_path / "model.onnx")
    for batch in (1, 2, 7):
        pixels = torch.randn(batch, 3, 96, 96, generator=torch.Generator().manual_seed(batch))
        expected = torch_answers(extended, pixels)
        assert expected.shape == (batch, 27) and expected.std() > 0.05
        np.testing.assert_allclose(answers(path, pixels), expected, atol=TOLERANCE)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        {"preset": "paper"},
        {"preset": "compact", "at_once": 5},
        {"preset": "compact"},
        {"preset": "compact", "grid": 3},
        {"preset": "recommended", "norm_logits": True, "exclusive": True, "mixer": 1},
        {"preset": "recommended", "image": "pooled"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_kind_of_head_can_be_exported(model, tmp_path, options):
    torch.manual_seed(0)
    head = VLMPARHead.for_encoder(model.encoder, parlib.schema("pa100k"), model.head.prompts, **options)
    if options.get("norm_logits"):
        head.norm_logits.running_var.fill_(4.0)
    head.temperature.fill_(1.5)
    other = Model(model.encoder, head)
    path = export_onnx(other, tmp_path / "model.onnx")
    for batch in (1, 2, 7):
        pixels = torch.randn(batch, 3, 96, 96)
        np.testing.assert_allclose(answers(path, pixels), torch_answers(other, pixels), atol=TOLERANCE)
    assert not {"MatMul", "Gemm", "Einsum"} & computed_from_constants(path), "prompts are not folded in"


def computed_from_constants(path):
    """Operators of a file that do not depend on the image: work that is the same at every run."""
    seen, found = {"pixel_values"}, set()
    for node in onnx.load(path).graph.node:
        if seen.intersection(node.input):
            seen.update(node.output)
        else:
            found.add(node.op_type)
    return found


@pytest.mark.long
def test_the_file_says_what_goes_in_and_comes_out_and_holds_no_text_tower(model, tmp_path):
    path = export_onnx(model, tmp_path / "model.onnx")
    file = onnx.load(path)
    about = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(about["attributes"]) == model.names
    np.testing.assert_allclose(json.loads(about["thresholds"]), model.thresholds, atol=1e-6)
    assert json.loads(about["preprocessing"])["size"] == {"height": 96, "width": 96}
    assert about["weights"] == model.encoder.identity["weights"]
    held = sum(np.prod(tensor.dims) for tensor in file.graph.initializer)
    tower = sum(p.numel() for p in model.encoder.model.vision_model.parameters())
    head = sum(t.numel() for t in model.head.state_dict().values())
    assert tower < held < tower + head
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.long
def test_export_as_a_command_and_what_it_refuses(capsys, model, tmp_path):
    assert main(["export", "nano-pa100k", str(tmp_path / "model.onnx")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.onnx")
    assert main(["export", "nothing", str(tmp_path / "other.onnx")]) == 2
    assert "no model 'nothing'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        export_onnx(model, tmp_path / "file" / "model.onnx")


def test_what_cannot_be_exported_is_told_before_anything_is_written(model, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(BadInput, match="keeps the aspect ratio"):
        export_onnx(SimpleNamespace(encoder=SimpleNamespace(name="naflex", keeps_aspect=True)), path)
    tower = sum(p.numel() for p in model.encoder.model.vision_model.parameters())
    with monkeypatch.context() as patch, pytest.raises(BadInput, match="one ONNX file holds 2 GB"):
        patch.setattr(exchange, "FORMAT_LIMIT", 4 * tower + 1)  # the tower alone would fit
        export_onnx(model, path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BadInput, match="pip install onnx onnxscript"):
        export_onnx(model, path)
    assert not list(tmp_path.iterdir())
