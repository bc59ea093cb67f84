"""The ONNX file answers as torch does, and says what a user of it must know."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import parlib
from parlib.cli import main
from parlib.errors import BadInput
from parlib.learn.head import VLMPARHead
from parlib.use.export import export_onnx
from parlib.use.model import Model

TOLERANCE = 2e-5  # of a probability, fp32 against fp32


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k", device="cpu")


def answers(path, pixels):
    return onnxruntime.InferenceSession(path).run(None, {"pixel_values": pixels.numpy()})[0]


def torch_answers(model, pixels):
    return model.scores(*model.encoder.encode_images({"pixel_values": pixels})).numpy()


def test_onnx_equals_torch_for_any_batch(model, tmp_path):
    path = export_onnx(model.with_phrases({"red coat": "a person in a red coat"}), tmp_path / "model.onnx")
    extended = model.with_phrases({"red coat": "a person in a red coat"})
    for batch in (1, 2, 7):
        pixels = torch.randn(batch, 3, 96, 96, generator=torch.Generator().manual_seed(batch))
        expected = torch_answers(extended, pixels)
        assert expected.shape == (batch, 27) and expected.std() > 0.05
        np.testing.assert_allclose(answers(path, pixels), expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "paper", "width": 64, "heads": 4},
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
    other, pixels = Model(model.encoder, head), torch.randn(3, 3, 96, 96)
    path = export_onnx(other, tmp_path / "model.onnx")
    np.testing.assert_allclose(answers(path, pixels), torch_answers(other, pixels), atol=TOLERANCE)


def test_the_file_says_what_goes_in_and_comes_out_and_holds_no_text_tower(model, tmp_path):
    path = export_onnx(model, tmp_path / "model.onnx")
    file = onnx.load(path)
    about = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(about["attributes"]) == model.names
    np.testing.assert_allclose(json.loads(about["thresholds"]), model.thresholds, atol=1e-6)
    assert json.loads(about["preprocessing"])["size"] == {"height": 96, "width": 96}
    assert about["weights"] == model.encoder.weights_hash
    held = sum(np.prod(tensor.dims) for tensor in file.graph.initializer)
    tower = sum(p.numel() for p in model.encoder.model.vision_model.parameters())
    head = sum(t.numel() for t in model.head.state_dict().values())
    assert tower < held < tower + head
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_export_as_a_command_and_what_it_refuses(capsys, model, tmp_path):
    assert main(["export", "nano-pa100k", str(tmp_path / "model.onnx")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.onnx")
    assert main(["export", "nothing", str(tmp_path / "other.onnx")]) == 2
    assert "no model 'nothing'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        export_onnx(model, tmp_path / "file" / "model.onnx")
