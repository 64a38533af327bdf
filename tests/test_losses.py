"""InfoNCE against float64 sums written out, and its gradients against finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_lab.losses import info_nce


def reference(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> float:
    """The two cross-entropies, term by term, in float64."""
    logits = math.exp(logit_scale) * images @ texts.T
    total = 0.0
    for i in range(len(logits)):
        total += math.log(sum(math.exp(v - logits[i, i]) for v in logits[i])) / 2
        total += math.log(sum(math.exp(v - logits[i, i]) for v in logits[:, i])) / 2
    return total / len(logits)


def unit_rows(seed: int, rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    images, texts = F.normalize(both, dim=-1)
    return images, texts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(2, 12), st.floats(0, math.log(100)))
def test_value_equals_the_written_out_sum(seed, rows, width, logit_scale):
    images, texts = unit_rows(seed, rows, width)
    expected = reference(images.numpy(), texts.numpy(), logit_scale)
    scale = torch.tensor(logit_scale, dtype=torch.float64)
    assert info_nce(images, texts, scale).item() == pytest.approx(expected, abs=1e-10)
    in_float32 = info_nce(images.float(), texts.float(), scale.float()).item()
    assert in_float32 == pytest.approx(expected, abs=1e-4)


def test_gradients_equal_finite_differences():
    images, texts = unit_rows(0, 4, 5)
    inputs = (images, texts, torch.tensor(1.3, dtype=torch.float64))
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(info_nce, inputs, eps=1e-6, atol=1e-7)


def test_gradients_equal_numpy_s_central_differences():
    images, texts = unit_rows(3, 3, 4)
    images.requires_grad_()
    info_nce(images, texts, torch.tensor(2.0, dtype=torch.float64)).backward()
    start = images.detach().numpy()
    for i, j in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[i, j] = 1e-5
        up, down = (reference(start + sign * step, texts.numpy(), 2.0) for sign in (1, -1))
        assert images.grad is not None
        assert images.grad[i, j].item() == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_a_model_that_knows_nothing_pays_log_n_and_one_that_is_sure_nothing():
    same = torch.ones(8, 4) / 2
    assert info_nce(same, same, torch.tensor(2.6593)).item() == pytest.approx(math.log(8), abs=1e-6)
    apart = torch.eye(8)
    assert info_nce(apart, apart, torch.tensor(math.log(100))).item() < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_order_of_the_pairs_and_roles_of_the_towers_do_not_matter(seed, rows):
    images, texts = unit_rows(seed, rows, 6)
    scale = torch.tensor(2.0, dtype=torch.float64)
    value = info_nce(images, texts, scale).item()
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    assert info_nce(images[order], texts[order], scale).item() == pytest.approx(value)
    assert info_nce(texts, images, scale).item() == pytest.approx(value)
    if rows > 2:
        assert info_nce(images, texts.roll(1, 0), scale).item() != pytest.approx(value)
