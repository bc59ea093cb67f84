"""The head against a slow reference, and against the known ways in which this method fails."""

import pytest
import torch
from torch import eye, nn

from parlib import BadInput, VLMPARHead
from parlib.encode.encoder import PromptFeatures
from parlib.learn.fusion import Fusion
from parlib.learn.head import PRESETS
from parlib.schema import Schema

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
    fusion, attributes = model.fusions[0], []
    for a in range(A):
        block = fusion[a % len(fusion)]
        attention = nn.MultiheadAttention(D, block.heads, batch_first=True, kdim=D_TEXT, vdim=D_TEXT)
        if not block.by_patches:
            attention = nn.MultiheadAttention(D, block.heads, batch_first=True)
        # The head projects prompts of another width by its query; torch's takes queries of its own width only.
        query = nn.Identity() if block.by_patches else block.query
        with torch.no_grad():
            weights = [eye(D) if not block.by_patches else block.query.weight, block.key.weight, block.value.weight]
            biases = [torch.zeros(D) if not block.by_patches else block.query.bias, torch.zeros(D), block.value.bias]
            if attention.in_proj_weight is None:
                for name, weight in zip("qkv", weights, strict=True):
                    getattr(attention, f"{name}_proj_weight").copy_(weight)
            else:
                attention.in_proj_weight.copy_(torch.cat(weights))
            attention.in_proj_bias.copy_(torch.cat(biases))
            attention.out_proj.load_state_dict(block.out.state_dict())
        real = torch.cat([model.prompt_tokens[a][model.prompt_mask[a]], model.learnable[a]])  # (T, D_TEXT)
        words = real.expand(len(tokens), -1, -1)
        if block.by_patches:
            padded = torch.cat([words, torch.full_like(words[:, :1], 9.0)], 1)
            padding = torch.arange(padded.shape[1]).expand(len(tokens), -1) == len(real)
            residual = tokens
            read = attention(tokens, padded, padded, key_padding_mask=padding)[0]
        else:
            mean = words.mean(1, keepdim=True)  # (B, 1, D_TEXT)
            residual = block.residual(mean)
            read = attention(query(mean), tokens, tokens)[0]
        y = block.norm_attention(residual + read)
        z = block.norm_feedforward(y + block.feedforward(y)).mean(1)
        attributes.append(z @ model.classifier[a] + model.bias[a])
    return torch.stack(attributes, 1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("learnable_tokens", [0, 4])
@pytest.mark.parametrize("queries, few", [("patches", False), ("prompts", False), ("prompts", True)])
def test_forward_equals_a_slow_reference_built_from_torchs_attention(
    queries, few, learnable_tokens, shared, monkeypatch
):
    monkeypatch.setattr(Fusion, "_few_prompts", lambda fusion, attributes: few)
    mask = torch.ones(A, T, dtype=torch.bool)
    mask[1, 3:] = False
    model = head(prompt=prompts(mask=mask), learnable_tokens=learnable_tokens, queries=queries, shared=shared)
    torch.testing.assert_close(model(images()), reference(model, images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_few_prompts_read_patches_without_projecting_them_to_the_same_logits_and_gradients(bf16, monkeypatch):
    """Of a padded image too; the cheaper way is taken at the shapes of SigLIP 2 base and not at nano's."""
    found = []
    for few in (False, True):
        monkeypatch.setattr(Fusion, "_few_prompts", lambda fusion, attributes, few=few: few)
        model, tokens = head(queries="prompts", norm_tokens=True), images()
        tokens[0, -3:] = 0
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(tokens)
        logits.float().square().sum().backward()
        found.append([logits.detach(), model.attention(tokens), *(p.grad for p in model.parameters())])
    near = {"rtol": 0.1, "atol": 0.1} if bf16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(*found, **near)
    monkeypatch.undo()
    assert Fusion("prompts", 768, 768, 4, 2, 0.0)._few_prompts(26)
    assert not Fusion("prompts", 128, 128, 4, 2, 0.0)._few_prompts(26)


def test_both_directions_add_their_fusions():
    model = head(queries="both")
    parts = [head(queries=side) for side in ("patches", "prompts")]
    for part, fusions in zip(parts, model.fusions, strict=True):
        part.fusions[0].load_state_dict(fusions.state_dict())
        part.load_state_dict({n: model.state_dict()[n] for n in ("learnable", "classifier", "bias")}, strict=False)
    want = parts[0](images()) + parts[1](images()) - model.bias
    torch.testing.assert_close(model(images()), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("queries", ["patches", "prompts", "both"])
def test_changing_a_prompt_changes_that_attribute_and_without_a_mixer_no_other(queries):
    changed = prompts()
    changed.tokens[1] += torch.randn(T, D_TEXT, generator=torch.Generator().manual_seed(3))

    def moved(**options):
        before, after = head(queries=queries, **options), head(queries=queries, prompt=changed, **options)
        return ((before(images()) - after(images())).abs() > 1e-6).all(0).tolist()

    assert moved() == [False, True, False]
    assert moved(mixer=1) == [True, True, True]


def test_with_one_key_token_the_fusion_does_not_depend_on_the_image():
    """The trap: a softmax over one key is 1 whatever the image, so the text cannot steer the image."""

    def weights(model, seed):
        return model.fusions[0][0].attend(*model.inputs(images(seed), images(seed).mean(1)))

    model = head(learnable_tokens=0, prompt_length=1, prompt=PromptFeatures(*(x[:, :1] for x in prompts())))
    assert (weights(model, 1) == 1).all()
    several = head()
    assert (weights(several, 1) - weights(several, 2)).abs().max() > 1e-3
    assert weights(several, 1).shape[-1] > 1, "the default must not be in the trap"
    # The same trap the other way round: prompts that query one pooled feature.
    assert (weights(head(queries="prompts", image="pooled"), 1) == 1).all()


@pytest.mark.parametrize("queries", ["patches", "prompts", "both"])
def test_pad_tokens_and_pad_patches_change_nothing(queries):
    mask = torch.ones(A, T, dtype=torch.bool)
    mask[:, 3:] = False
    mask[1, 2:] = False
    model = head(prompt=prompts(mask=mask), queries=queries)
    noisy = prompts(mask=mask)
    noisy.tokens[~mask] = 100.0
    torch.testing.assert_close(model(images()), head(prompt=noisy, queries=queries)(images()))
    # A NaFlex image has fewer patches than the batch is wide; the rest is exactly 0.
    padded = torch.cat([images(), torch.zeros(2, 5, D)], 1)
    torch.testing.assert_close(model(images()), model(padded))


@pytest.mark.parametrize("queries", ["patches", "prompts", "both"])
def test_permuting_attributes_permutes_logits(queries):
    model, order = head(queries=queries), [2, 0, 1]
    other = head(queries=queries, prompt=PromptFeatures(*(x[order] for x in prompts())))
    state = model.state_dict()
    for name in ("learnable", "classifier", "bias"):
        getattr(other, name).data.copy_(state[name][order])
    torch.testing.assert_close(other(images()), model(images())[:, order])


@pytest.mark.parametrize(
    "options",
    [
        {"grid": 2, "width": 16},
        {"queries": "both", "mixer": 1, "pooled_residual": True, "norm_tokens": True, "norm_logits": True},
        {"queries": "prompts", "shared": False},
        {"image": "pooled", "exclusive": True},
    ],
)
def test_gradients_reach_every_parameter_and_no_prompt(options):
    model = head(**options).train()
    loss = model(images(batch=4), images(batch=4).mean(1)).sigmoid().pow(3).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not any(buffer.requires_grad for buffer in model.buffers())


@pytest.mark.parametrize("queries", ["patches", "prompts"])
def test_fusing_some_attributes_at_a_time_gives_the_same_logits_and_gradients(queries):
    whole, parts = head(queries=queries), head(queries=queries, at_once=2)
    for model in (whole, parts):
        model(images()).square().sum().backward()
    torch.testing.assert_close(parts(images()), whole(images()))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exactly_one", [True, False])
def test_exclusive_sets_give_the_probabilities_of_a_softmax(exactly_one):
    schema = {**SCHEMA, "exclusive": [{"name": "s", "members": ["a0", "a2"], "exactly_one": exactly_one}]}
    torch.manual_seed(0)
    model = VLMPARHead(schema, ["a", "b", "c"], "toy", D, D_TEXT, T, exclusive=True)
    logits = torch.randn(4, A)
    answers = logits[:, [0, 2]] if exactly_one else torch.cat([logits[:, [0, 2]], torch.zeros(4, 1)], 1)
    got = model.within_sets(logits).sigmoid()
    torch.testing.assert_close(got[:, [0, 2]], answers.softmax(1)[:, :2])
    torch.testing.assert_close(got[:, 1], logits[:, 1].sigmoid())


def test_compact_head_pools_the_patch_map():
    model = head(grid=2)
    tokens = images()
    pooled = tokens.unflatten(1, (2, 2, 2, 2)).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(model(tokens), head()(pooled))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("queries", ["patches", "prompts"])
def test_half_precision_stays_near_single(queries, dtype):
    model = head(queries=queries)
    with torch.autocast("cpu", dtype):
        half = model(images())
    error = (half.float() - model(images())).abs().max()
    assert 0 < error < (0.01 if dtype is torch.float16 else 0.08)


def test_describe_counts_parameters_and_the_flops_of_one_more_image():
    model = head(learnable_tokens=0, patches=N)
    # By hand: query N D D; scores N (A T) D; values with the output folded in N (A h T) D; feed-forward 2 x 4 N A D D.
    by_hand = 2 * (N * D * D + N * A * T * D + N * A * 4 * T * D + 8 * N * A * D * D + N * A * D)
    assert model.flops() == by_hand
    assert f"{sum(p.numel() for p in model.parameters()):,} trained parameters" in model.describe()
    assert f"{by_hand / 1e9:.3g} GFLOP" in model.describe()


@pytest.mark.parametrize("queries", ["patches", "prompts", "both"])
def test_attention_has_a_weight_for_every_attribute_and_patch(queries):
    for shared in (True, False):
        model = head(queries=queries, shared=shared)
        assert model.attention(images()).shape == (2, A, N)
    if queries != "patches":
        torch.testing.assert_close(model.attention(images()).sum(-1), torch.ones(2, A))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_options_of_the_head_and_the_default_stays_the_papers(preset):
    model = head(**{**PRESETS[preset], "heads": 4, "grid": 2 if PRESETS[preset].get("grid") else None})
    assert model(images(), images().mean(1)).shape == (2, A)
    assert PRESETS["paper"] == {} and head().fusions[0][0].by_patches


def test_saved_head_gives_the_same_logits(tmp_path):
    model = head(width=16, grid=2)
    model.thresholds.copy_(torch.tensor([0.1, 0.2, 0.3]))
    model.calibrated.copy_(torch.tensor([True, False, True]))
    model.save_pretrained(tmp_path)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".md", ".safetensors"]
    loaded = VLMPARHead.from_pretrained(str(tmp_path)).eval()
    assert torch.equal(loaded(images()), model(images()))
    assert torch.equal(loaded.thresholds, model.thresholds)
    assert torch.equal(loaded.calibrated, model.calibrated)
    assert loaded.schema == Schema.from_dict(SCHEMA) and loaded.prompts == ["a", "b", "c"]


def test_bad_options_are_named():
    with pytest.raises(BadInput, match="2 prompts for 3 attributes"):
        VLMPARHead(SCHEMA, ["a", "b"], "toy", D, D_TEXT, T)
    with pytest.raises(BadInput, match="cannot be split over 5 heads"):
        head(heads=5)
    with pytest.raises(BadInput, match="16 patches do not pool to a 5x5"):
        head(grid=5)(images())
    with pytest.raises(BadInput, match="unknown queries 'words' of a head; known: patches, prompts, both"):
        head(queries="words")
    with pytest.raises(BadInput, match="give tokens and pooled"):
        head(image="pooled")(images())
    with pytest.raises(BadInput, match="do not fit this head"):
        head().set_prompts(PromptFeatures(*(x[:2] for x in prompts())))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("queries", ["patches", "prompts", "both"])
def test_attention_of_some_attributes_is_that_part_of_all(queries, shared):
    model = head(queries=queries, shared=shared).eval()
    torch.testing.assert_close(model.attention(images(), attributes=slice(1, 3)), model.attention(images())[:, 1:3])


@pytest.mark.parametrize("queries", ["patches", "prompts"])
def test_words_are_the_own_another_attributes_random_or_learned_ones(queries):
    mask = torch.ones(A, T, dtype=torch.bool)
    mask[1, 3:] = False
    own, features = head(queries=queries, prompt=prompts(mask=mask)), prompts(mask=mask)
    shifted, random, learned = (
        head(queries=queries, prompt=features, words=words) for words in ("shifted", "random", "learned")
    )
    for other in (shifted, random, learned):  # only the words differ, not the other weights that the seed draws
        same = {name: p for name, p in other.named_parameters() if name != "prompt_tokens"}
        assert all(torch.equal(p, same[name]) for name, p in own.named_parameters())
        assert (own(images()) - other(images())).abs().max() > 1e-4
    assert torch.equal(shifted.prompt_tokens, features.tokens[[2, 0, 1]])
    assert torch.equal(shifted.prompt_mask, mask[[2, 0, 1]])
    torch.testing.assert_close(random.prompt_tokens.norm(dim=-1), features.tokens.norm(dim=-1))
    again, other = (head(seed, queries=queries, prompt=features, words="random") for seed in (0, 1))
    assert torch.equal(again.prompt_tokens, random.prompt_tokens)
    assert not torch.equal(other.prompt_tokens, random.prompt_tokens)
    # The prompts of another language give random words their norms and leave learned ones as they are.
    before = random.prompt_tokens.clone()
    random.set_prompts(PromptFeatures(2 * features.tokens, *features[1:]))
    torch.testing.assert_close(random.prompt_tokens, 2 * before)
    before = learned.prompt_tokens.clone()
    learned.set_prompts(prompts(seed=5))
    assert torch.equal(learned.prompt_tokens, before)
    learned(images()).sum().backward()
    assert learned.prompt_tokens.grad.abs().sum() > 0 and not random.prompt_tokens.requires_grad


@pytest.mark.parametrize("words", ["shifted", "random", "learned"])
def test_words_are_saved_with_the_head(words, tmp_path):
    model = head(words=words)
    model.save_pretrained(tmp_path)
    loaded = VLMPARHead.from_pretrained(str(tmp_path)).eval()
    assert loaded.word_source == words and torch.equal(loaded(images()), model(images()))


OPEN = {"open": True, "norm_tokens": True, "pooled_residual": True}


@pytest.mark.parametrize("queries", ["patches", "prompts"])
def test_an_open_head_answers_attributes_by_their_prompts_alone(queries, tmp_path):
    model, pooled = head(queries=queries, **OPEN), images().mean(1)
    assert not any(A in p.shape for p in model.parameters()), "nothing is one per attribute"
    features = PromptFeatures(*(part[[2, 0]] for part in prompts()))
    asked = Schema.from_dict({"name": "asked", "attributes": [{**SCHEMA["attributes"][i]} for i in (2, 0)]})
    other = model.for_prompts(features, asked, ["c", "a"])
    torch.testing.assert_close(other(images(), pooled), model(images(), pooled)[:, [2, 0]])
    assert other.names == ["a2", "a0"] and other.prompts == ["c", "a"] and not other.calibrated.any()
    other.save_pretrained(tmp_path)
    loaded = VLMPARHead.from_pretrained(str(tmp_path)).eval()
    assert torch.equal(loaded(images(), pooled), other(images(), pooled))


def test_an_open_head_without_prompts_and_a_closed_head_with_others_are_refused():
    asked = Schema.from_dict({"name": "asked", "attributes": [{**SCHEMA["attributes"][0]}]})
    features = PromptFeatures(*(part[:1] for part in prompts()))
    with pytest.raises(BadInput, match="no prompt in 'en' for 1 of 1 attributes of 'asked': a0"):
        head(open=True).for_prompts(features, asked)
    with pytest.raises(BadInput, match="prompts do not fit this head"):
        head(open=True).for_prompts(prompts(), asked, ["a"])
    with pytest.raises(BadInput, match="train one with the option `open`"):
        head().for_prompts(features, asked, ["a"])
    for option in ({"words": "learned"}, {"shared": False}, {"norm_logits": True}):
        with pytest.raises(BadInput, match="nothing of its own per attribute"):
            head(open=True, **option)


def test_activation_bytes_are_what_training_keeps():
    """Counted by torch: all that autograd saves of a forward pass, against the figure that bounds a batch."""
    for options in ({}, {"queries": "prompts"}, {"width": 16, "grid": 2, "feedforward": 2}):
        model, kept = head(**options, at_once=A, patches=N).train(), {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(images(batch=64), images(batch=64).mean(1))
        fixed = sum(p.nbytes for p in model.parameters()) + images(batch=64).nbytes * 2
        per_image = model.activation_bytes * A * 64
        assert 0.4 * per_image < sum(kept.values()) < per_image + 4 * fixed


def test_a_batch_is_bounded_by_the_memory_of_the_device(monkeypatch):
    """The paper's head at base-224's shapes: an 8 GB laptop and a 16 GB GPU suffice."""
    attributes = [{"name": f"a{i}", "meaning": "", "group": "g"} for i in range(26)]
    for memory in (8e9, 16e9):
        monkeypatch.setattr("parlib.learn.head.memory_budget", lambda device, memory=memory: int(memory) // 4)
        with torch.device("meta"):
            model = VLMPARHead({"name": "toy", "attributes": attributes}, ["a"] * 26, "toy", 768, 768, 12)
        assert 256 * 26 * model.activation_bytes > 40e9, "all at once would not fit"
        for batch in (4, 64):
            images = model.images_at_once(batch, torch.device("cpu"))
            assert 0 < images <= batch and images * 26 * model.activation_bytes <= memory / 4
    assert head(at_once=2).at_once == 2
