"""The towers: sizes, names, initialisation, and that cutting padding changes nothing."""

import math

import pytest
import torch
from torch.nn import functional as F

from clip_lab.model import (
    CLIP,
    CONFIGS,
    BertConfig,
    CLIPConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)
from clip_lab.model.text import end_positions, shared_beginning
from clip_lab.model.transformer import Attention, LayerNorm, QuickGELU

# Weights of the published models, as their own packages count them.
PARAMETERS = {
    "RN50": 102_007_137,
    "RN101": 119_688_033,
    "RN50x4": 178_300_601,
    "RN50x16": 290_979_217,
    "RN50x64": 623_258_305,
    "ViT-B-32": 151_277_313,
    "ViT-B-16": 149_620_737,
    "ViT-L-14": 427_616_513,
    "ViT-L-14-336": 427_944_193,
}
SMALL_TEXT = TextConfig(vocab_size=600, context_length=16, width=64, layers=2, end_token=599)
VIT = CLIPConfig(48, ViTConfig(32, 8, 128, 2), SMALL_TEXT)


RESNET = CLIPConfig(48, ResNetConfig(64, (1, 2, 1, 1), 16), SMALL_TEXT, "gelu")
SIGLIP_TEXT = TextConfig(600, 16, 64, 2, end_token=-1, pooling="last")
SIGLIP = CLIPConfig(
    64, ViTConfig(32, 8, 64, 2, 32, 100, "attention"), SIGLIP_TEXT, "gelu_tanh", 1e-6, True
)
CHINESE = CLIPConfig(48, ViTConfig(32, 8, 128, 2), BertConfig(600, 16, 64, 2, 20))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_published_models_have_the_published_number_of_weights(name):
    with torch.device("meta"):
        model = CLIP(CONFIGS[name])
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_vit_b_32_has_openai_s_302_tensors_under_their_names():
    with torch.device("meta"):
        names = set(CLIP(CONFIGS["ViT-B-32"]).state_dict())
    block = [
        "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias",
        "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias",
        "mlp.c_proj.weight", "mlp.c_proj.bias",
    ]  # fmt: skip
    expected = {
        f"{tower}transformer.resblocks.{i}.{name}"
        for tower in ("", "visual.")
        for i in range(12)
        for name in block
    }
    expected |= {"logit_scale", "positional_embedding", "text_projection", "token_embedding.weight"}
    expected |= {"ln_final.weight", "ln_final.bias", "visual.conv1.weight", "visual.proj"}
    expected |= {"visual.class_embedding", "visual.positional_embedding"}
    expected |= {f"visual.ln_{at}.{part}" for at in ("pre", "post") for part in ("weight", "bias")}
    assert names == expected
    assert len(names) == 302


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_weights_come_back_from_a_state_dict(config):
    torch.manual_seed(0)
    model, other = CLIP(config).eval(), CLIP(config).eval()
    other.load_state_dict(model.state_dict())
    images, tokens = _batch(config)
    with torch.no_grad():
        assert torch.equal(model(images, tokens), other(images, tokens))


@pytest.mark.parametrize(
    "config", [VIT, RESNET, SIGLIP, CHINESE], ids=["vit", "resnet", "siglip", "chinese"]
)
def test_config_survives_json(config):
    assert CLIPConfig.from_dict(config.to_dict()) == config


def test_nothing_after_the_last_end_token_changes_a_text():
    torch.manual_seed(0)
    model = CLIP(VIT)
    _, tokens = _batch(VIT)
    with torch.no_grad():
        cut = model.encode_text(tokens)
        whole = _encode_all_positions(model, tokens)
        noisy = tokens.clone()
        noisy[0, 6:] = 7  # row 0 ends at 5: what follows is never seen
        assert torch.allclose(cut, whole, atol=1e-5)
        assert torch.allclose(model.encode_text(noisy)[0], cut[0], atol=1e-5)


def test_a_text_sees_every_token_before_its_end():
    model = CLIP(VIT)
    _, tokens = _batch(VIT)
    changed = tokens.clone()
    changed[0, 1] += 1
    with torch.no_grad():
        difference = (model.encode_text(tokens) - model.encode_text(changed)).abs().amax(dim=1)
    assert difference[0] > 1e-4
    assert difference[1] < 1e-6


def test_a_beginning_that_all_texts_share_is_computed_once_and_changes_nothing():
    torch.manual_seed(0)
    model = CLIP(VIT).double()
    tokens = _alike(number=40)
    assert shared_beginning(tokens, end_positions(tokens, 599)) == 5
    together, whole = model.encode_text(tokens), _encode_all_positions(model, tokens)
    assert torch.allclose(together, whole, atol=1e-12)
    alone = torch.cat([model.encode_text(row[None]) for row in tokens])
    assert torch.allclose(together, alone, atol=1e-12)


def test_gradients_flow_through_a_shared_beginning():
    torch.manual_seed(0)
    model, tokens = CLIP(VIT).double(), _alike(number=40)
    weight = torch.randn(40, 48, dtype=torch.float64)
    gradients = []
    for encode in (model.encode_text, lambda tokens: _encode_all_positions(model, tokens)):
        model.zero_grad()
        (encode(tokens) * weight).sum().backward()
        gradients.append({k: p.grad for k, p in model.text.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-10), name


def test_equal_texts_keep_their_end_for_themselves():
    model = CLIP(VIT)
    tokens = _alike(number=1).expand(100, -1)
    with torch.no_grad():
        vectors = model.encode_text(tokens)
        assert torch.allclose(vectors, model.encode_text(tokens[:1]), atol=1e-5)


def test_the_last_block_works_for_the_class_token_alone_and_changes_nothing():
    torch.manual_seed(0)
    tower = CLIP(VIT).double().visual
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    x = tower.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(3, 1, -1), x], dim=1)
    x = tower.transformer(tower.ln_pre(x + tower.positional_embedding))
    assert torch.allclose(tower(images), tower.ln_post(x[:, 0]) @ tower.proj, atol=1e-12)


def test_padding_changes_no_chinese_text():
    torch.manual_seed(0)
    model = CLIP(CHINESE).double()
    tokens = torch.zeros(3, 16, dtype=torch.long)
    for row, length in zip(tokens, (4, 9, 6), strict=True):
        row[:length] = torch.randint(1, 600, (length,))
    together = model.encode_text(tokens)
    for row, length, vector in zip(tokens, (4, 9, 6), together, strict=True):
        assert torch.allclose(model.encode_text(row[None, :length])[0], vector, atol=1e-12)


def test_siglip_adds_its_bias_to_every_logit():
    torch.manual_seed(0)
    model = CLIP(SIGLIP).eval()
    images, tokens = torch.randn(2, 3, 32, 32), torch.randint(0, 600, (4, 16))
    with torch.no_grad():
        before = model(images, tokens)
        model.logit_bias.add_(3.0)
        assert torch.allclose(model(images, tokens), before + 3, atol=1e-5)
    assert before.mean() < -5  # it starts from -10


def test_the_end_is_found_by_equality_and_its_lack_is_an_error():
    tokens = torch.tensor([[598, 3, 599, 0], [598, 900, 2, 599]])  # 900: a token added above
    assert end_positions(tokens, 599).tolist() == [2, 3]
    with pytest.raises(ValueError, match="no end token"):
        end_positions(tokens[:, :3], 599)


def test_attention_agrees_with_its_formula():
    torch.manual_seed(0)
    attention = Attention(width=128, heads=2, layers=1).double()
    x = torch.randn(2, 5, 128, dtype=torch.float64)
    q, k, v = (x @ attention.in_proj_weight.T).split(128, dim=-1)
    heads = []
    for h in (slice(0, 64), slice(64, 128)):
        scores = q[..., h] @ k[..., h].transpose(1, 2) / math.sqrt(64)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(dim=-1) @ v[..., h])
    expected = attention.out_proj(torch.cat(heads, dim=-1))
    assert torch.allclose(attention(x, _causal(5)), expected, atol=1e-10)


def test_quick_gelu_agrees_with_its_formula_in_value_and_gradient():
    x = torch.linspace(-8, 8, 401, dtype=torch.float64, requires_grad=True)
    expected = x * torch.sigmoid(1.702 * x)
    assert torch.allclose(QuickGELU()(x), expected, atol=1e-14)
    (slope,) = torch.autograd.grad(QuickGELU()(x).sum(), x)
    assert torch.allclose(slope, torch.autograd.grad(expected.sum(), x)[0], atol=1e-13)
    assert torch.autograd.gradcheck(QuickGELU(), x[::40].detach().requires_grad_())


def test_layer_norm_computes_in_float32():
    norm = LayerNorm(64)
    x = (torch.randn(4, 64) * 3 + 500).half()
    assert norm(x).dtype == torch.float16
    assert torch.equal(norm(x), F.layer_norm(x.float(), (64,)).half())


def test_initialisation_is_the_paper_s():
    torch.manual_seed(0)
    width, layers = 512, 12
    with torch.device("cpu"):
        model = CLIP(CLIPConfig(512, ViTConfig(32, 16, 64, 1), TextConfig()))
    block = model.text.transformer.resblocks[3]
    deviations = {
        model.text.token_embedding.weight: 0.02,
        model.text.positional_embedding: 0.01,
        block.attn.in_proj_weight: width**-0.5,
        block.attn.out_proj.weight: (width * 2 * layers) ** -0.5,
        block.mlp.c_proj.weight: (width * 2 * layers) ** -0.5,
        block.mlp.c_fc.weight: (2 * width) ** -0.5,
        model.text.text_projection: width**-0.5,
    }
    for tensor, deviation in deviations.items():
        assert tensor.std().item() == pytest.approx(deviation, rel=0.03)
    assert model.logit_scale.item() == pytest.approx(2.6593, abs=1e-4)


def test_resnet_blocks_start_as_the_identity_and_attention_pool_asks_with_the_mean():
    torch.manual_seed(0)
    model = CLIP(RESNET).eval()
    block = model.visual.layer2[1]
    x = torch.randn(2, 128, 8, 8).relu()
    with torch.no_grad():
        assert torch.allclose(block(x), x)
        pool = model.visual.attnpool
        places = torch.randn(3, 512, 2, 2)
        shuffled = places.flatten(2)[:, :, torch.tensor([3, 1, 0, 2])].view(3, 512, 2, 2)
        assert not torch.allclose(pool(places), pool(shuffled), atol=1e-4)  # positions count
        pool.positional_embedding.zero_()
        assert torch.allclose(pool(places), pool(shuffled), atol=1e-5)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_logits_are_scaled_cosines(config):
    model = CLIP(config).eval()
    images, tokens = _batch(config)
    with torch.no_grad():
        logits = model(images, tokens)
        assert logits.shape == (3, 3)
        assert logits.abs().max() <= 1 / 0.07 + 1e-3


def _batch(config):
    generator = torch.Generator().manual_seed(1)
    size = config.vision.image_size
    tokens = torch.zeros(3, 16, dtype=torch.long)
    for row, end in enumerate((5, 9, 3)):
        tokens[row, :end] = torch.randint(1, 598, (end,), generator=generator)
        tokens[row, end] = 599
    return torch.randn(3, 3, size, size, generator=generator), tokens


def _causal(length):
    return torch.ones(length, length).tril().bool()


def _alike(number):
    """Rows with the same first five tokens, and ends at different places."""
    tokens = torch.zeros(number, 16, dtype=torch.long)
    tokens[:, :5] = torch.tensor([598, 11, 12, 13, 14])
    generator = torch.Generator().manual_seed(2)
    for i, row in enumerate(tokens):
        end = 6 + i % 9
        row[5:end] = torch.randint(20, 598, (end - 5,), generator=generator)
        row[end] = 599
    return tokens


def _encode_all_positions(model, tokens):
    """The text tower without the cut: every position, padding too, is worked through."""
    text = model.text
    x = text.token_embedding(tokens) + text.positional_embedding
    x = text.transformer(x, _causal(tokens.shape[1]))
    x = x[torch.arange(len(x)), end_positions(tokens, text.config.end_token)]
    return text.ln_final(x) @ text.text_projection
