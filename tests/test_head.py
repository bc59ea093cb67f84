"""The head against a slow reference, and against the known ways in which this method fails."""

import pytest
import torch
from torch import nn

from parlib import BadInput, VLMPARHead
from parlib.encode.encoder import PromptFeatures

A, T, N, D, D_TEXT = 3, 5, 16, 32, 24
SCHEMA = {"name": "toy", "attributes": [{"name": f"a{i}", "meaning": "", "group": "g"} for i in range(A)]}


def prompts(seed=0, mask=None):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(A, T, D_TEXT, generator=generator)
    mask = torch.ones(A, T, dtype=torch.bool) if mask is None else mask
    return PromptFeatures(tokens, tokens[:, -1], mask)


def head(seed=0, prompt=None, **options):
    torch.manual_seed(seed)
    widths = {"image_width": D, "text_width": D_TEXT, "prompt_length": T, "heads": 4}
    made = VLMPARHead(SCHEMA, ["a", "b", "c"], "toy", **{**widths, **options})
    return made.set_prompts(prompt or prompts()).eval()


def images(seed=1, batch=2):
    return torch.randn(batch, N, D, generator=torch.Generator().manual_seed(seed))


def reference(model, tokens):
    """One attribute at a time through torch's own attention, with the head's weights."""
    attention = nn.MultiheadAttention(D, model.heads, batch_first=True, kdim=D_TEXT, vdim=D_TEXT)
    with torch.no_grad():
        attention.q_proj_weight.copy_(model.query.weight)
        attention.k_proj_weight.copy_(model.key.weight)
        attention.v_proj_weight.copy_(model.value.weight)
        attention.in_proj_bias.copy_(torch.cat([model.query.bias, model.key.bias, model.value.bias]))
        attention.out_proj.weight.copy_(model.out.weight)
        attention.out_proj.bias.copy_(model.out.bias)
    logits = []
    for a in range(A):
        words = torch.cat([model.prompt_tokens[a], model.learnable[a]])
        padding = torch.cat([~model.prompt_mask[a], torch.zeros(len(model.learnable[a]), dtype=torch.bool)])
        words = words.expand(len(tokens), -1, -1)
        attended = attention(tokens, words, words, key_padding_mask=padding.expand(len(tokens), -1))[0]
        y = model.norm_attention(tokens + attended)
        z = model.norm_feedforward(y + model.feedforward(y))
        logits.append(z.mean(1) @ model.classifier[a] + model.bias[a])
    return torch.stack(logits, 1)


@pytest.mark.parametrize("learnable_tokens", [0, 4])
def test_forward_equals_a_slow_reference_built_from_torchs_attention(learnable_tokens):
    mask = torch.ones(A, T, dtype=torch.bool)
    mask[1, 3:] = False
    model = head(prompt=prompts(mask=mask), learnable_tokens=learnable_tokens)
    torch.testing.assert_close(model(images()), reference(model, images()), rtol=1e-5, atol=1e-5)


def test_changing_a_prompt_changes_that_attribute_and_no_other():
    model, other = head(), head()
    changed = prompts()
    changed.tokens[1] += 1
    other.set_prompts(changed)
    moved = (model(images()) - other(images())).abs() > 1e-6
    assert moved[:, 1].all()
    assert not moved[:, [0, 2]].any()


def test_with_one_key_token_the_fusion_does_not_depend_on_the_image():
    """The trap: a softmax over one key is 1 whatever the image, so the text cannot steer the image."""
    model = head(learnable_tokens=0, prompt_length=1, prompt=PromptFeatures(*(x[:, :1] for x in prompts())))
    assert (model.attend(images(1))[1] == 1).all()
    several = head()
    assert (several.attend(images(1))[1] - several.attend(images(2))[1]).abs().max() > 1e-3
    assert several.attend(images())[1].shape[-1] > 1, "the default must not be in the trap"


def test_pad_tokens_change_nothing():
    mask = torch.ones(A, T, dtype=torch.bool)
    mask[:, 3:] = False
    model = head(prompt=prompts(mask=mask))
    noisy = prompts(mask=mask)
    noisy.tokens[:, 3:] = 100.0
    torch.testing.assert_close(model(images()), head(prompt=noisy)(images()))


def test_permuting_attributes_permutes_logits():
    model, order = head(), [2, 0, 1]
    other = head(prompt=PromptFeatures(*(x[order] for x in prompts())))
    state = model.state_dict()
    for name in ("learnable", "classifier", "bias"):
        getattr(other, name).data.copy_(state[name][order])
    torch.testing.assert_close(other(images()), model(images())[:, order])


def test_gradients_reach_every_parameter_and_no_prompt():
    model = head(width=16, grid=2).train()
    model(images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not model.prompt_tokens.requires_grad


def test_compact_head_pools_the_patch_map():
    model = head(grid=2)
    tokens = images()
    pooled = tokens.unflatten(1, (2, 2, 2, 2)).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(model(tokens), head()(pooled))


def test_half_precision_stays_near_single():
    model = head()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images())
    assert (half.float() - model(images())).abs().max() < 0.05


def test_saved_head_gives_the_same_logits(tmp_path):
    model = head(width=16, grid=2)
    model.thresholds.copy_(torch.tensor([0.1, 0.2, 0.3]))
    model.save_pretrained(tmp_path)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".md", ".safetensors"]
    loaded = VLMPARHead.from_pretrained(str(tmp_path)).eval()
    assert torch.equal(loaded(images()), model(images()))
    assert torch.equal(loaded.thresholds, model.thresholds)
    assert loaded.schema == SCHEMA and loaded.prompts == ["a", "b", "c"]


def test_bad_options_are_named():
    with pytest.raises(BadInput, match="2 prompts for 3 attributes"):
        VLMPARHead(SCHEMA, ["a", "b"], "toy", D, D_TEXT, T)
    with pytest.raises(BadInput, match="cannot be split over 5 heads"):
        head(heads=5)
    with pytest.raises(BadInput, match="16 patches do not pool to a 3x3"):
        head(grid=3)(images())
    with pytest.raises(BadInput, match="do not fit this head"):
        head().set_prompts(PromptFeatures(*(x[:2] for x in prompts())))
