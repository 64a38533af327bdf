"""oneDNN's products: equal to PyTorch's own, and never those of weights that were."""

import pytest
import torch
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.packed import Packed
from clip_lab.preprocess import Preprocess


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(96, 64)


def test_products_agree_also_of_a_part_of_the_weight(layer):
    x = torch.randn(3, 7, 96)
    with torch.inference_mode(), Packed():
        whole, part = layer(x), F.linear(x, layer.weight[16:40], layer.bias[16:40])
        bare = F.linear(x, layer.weight)
    expected = layer(x).detach()
    assert torch.allclose(whole, expected, atol=1e-5)
    assert torch.allclose(part, expected[..., 16:40], atol=1e-5)
    assert torch.allclose(bare, expected - layer.bias.detach(), atol=1e-5)


def test_weights_that_were_trained_on_are_laid_out_anew(layer):
    packed, x = Packed(), torch.randn(5, 96)
    with torch.inference_mode(), packed:
        layer(x)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    layer(x).sum().backward()
    optimizer.step()
    with torch.inference_mode(), packed:
        after = layer(x)
    assert torch.allclose(after, layer(x).detach(), atol=1e-5)


def test_weights_that_were_replaced_are_not_mistaken_for_the_old_ones(layer):
    packed, x = Packed(), torch.randn(5, 96)
    for seed in range(20):
        with torch.inference_mode(), packed:
            assert torch.allclose(layer(x), x @ layer.weight.T + layer.bias, atol=1e-5)
        torch.manual_seed(seed)
        layer.weight.data = torch.randn(64, 96)


def test_other_precisions_and_a_torch_without_it_are_left_alone(layer):
    x = torch.randn(2, 96)
    packed = Packed()
    with torch.inference_mode(), packed:
        assert layer.double()(x.double()).dtype == torch.float64
    packed.there = False
    with torch.inference_mode(), packed:
        assert torch.equal(layer.float()(x), F.linear(x, layer.weight, layer.bias))
    assert packed.weights == {}


def test_a_large_model_gives_the_same_vectors_with_it_and_without(tokenizer):
    torch.manual_seed(0)
    text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(64, ViTConfig(32, 16, 768, 4), text))
    encoder = DualEncoder(model, tokenizer, Preprocess(32))
    assert encoder.packed is not None
    pixels = torch.randn(3, 3, 32, 32)
    packed = encoder.encode_pixels(pixels)
    assert len(encoder.packed.weights) > 10
    encoder.packed = None
    assert torch.allclose(packed, encoder.encode_pixels(pixels), atol=1e-6)
