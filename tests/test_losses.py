"""InfoNCE against float64 sums written out, and its gradients against finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_lab.losses import info_nce, info_nce_of_groups, one_way, sigmoid_loss, tiled_info_nce


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


# -- several right answers, yes or no, and tiles ---------------------------------------------------


def grouped_reference(images: np.ndarray, texts: np.ndarray, s: float, groups: list[int]) -> float:
    """Each query's right answers share its target evenly; term by term, in float64."""
    logits = math.exp(s) * images @ texts.T
    total = 0.0
    for table in (logits, logits.T):
        for i, group in enumerate(groups):
            right = [j for j, other in enumerate(groups) if other == group]
            log_sum = math.log(sum(math.exp(v) for v in table[i]))
            total += sum(log_sum - table[i][j] for j in right) / len(right)
    return total / (2 * len(groups))


seeds = st.integers(0, 10_000)
groups_of = st.lists(st.integers(0, 4), min_size=1, max_size=11)


@settings(max_examples=40, deadline=None)
@given(seeds, groups_of, st.floats(0, 4), st.integers(1, 12))
def test_groups_and_tiles_equal_the_written_out_sum(seed, groups, s, tile):
    images, texts = unit_rows(seed, len(groups), 6)
    expected = grouped_reference(images.numpy(), texts.numpy(), s, groups)
    scale, numbers = torch.tensor(s, dtype=torch.float64), torch.tensor(groups)
    whole = info_nce_of_groups(images, texts, scale, numbers).item()
    tiled = tiled_info_nce(images, texts, scale, numbers, tile).item()
    ways = [
        one_way(queries, candidates, scale, numbers, numbers, tile).mean().item()
        for queries, candidates in ((images, texts), (texts, images))
    ]
    assert whole == pytest.approx(expected, abs=1e-10)
    assert tiled == pytest.approx(expected, abs=1e-10)
    assert sum(ways) / 2 == pytest.approx(expected, abs=1e-10)


def test_without_repetitions_groups_change_nothing():
    images, texts = unit_rows(1, 6, 8)
    scale = torch.tensor(2.0, dtype=torch.float64)
    apart = torch.tensor([5, -3, 8, 0, 11, 7])
    plain = info_nce(images, texts, scale).item()
    assert info_nce_of_groups(images, texts, scale, apart).item() == pytest.approx(plain)
    assert tiled_info_nce(images, texts, scale, tile=4).item() == pytest.approx(plain)


def test_a_repeated_caption_is_no_mistake():
    # Two pictures with one caption: plain InfoNCE can't get below log 2, the grouped loss too has
    # that floor (two right answers), but no pull to tell the two apart.
    images = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 2]].requires_grad_()
    texts, groups = images.detach().clone(), torch.tensor([0, 0, 1, 2])
    (plain,) = torch.autograd.grad(info_nce(images, texts, torch.tensor(3.0)), images)
    (fair,) = torch.autograd.grad(
        info_nce_of_groups(images, texts, torch.tensor(3.0), groups), images
    )
    assert torch.allclose(fair[0], fair[1]) and plain.norm() > 0


@pytest.mark.parametrize("groups", [None, [0, 1, 0, 2, 2, 3, 4]])
@pytest.mark.parametrize("tile", [1, 3, 7, 50])
def test_the_gradients_of_tiles_equal_those_of_the_matrix(groups, tile):
    images, texts = unit_rows(5, 7, 4)
    numbers = torch.arange(7) if groups is None else torch.tensor(groups)
    inputs = [images, texts, torch.tensor(1.7, dtype=torch.float64)]
    for tensor in inputs:
        tensor.requires_grad_()
    whole = torch.autograd.grad(info_nce_of_groups(*inputs, numbers), inputs)
    chosen = None if groups is None else numbers
    tiled = torch.autograd.grad(tiled_info_nce(*inputs, chosen, tile), inputs)
    for one, other in zip(whole, tiled, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_float32_tiles_keep_gradients_within_1e_5_of_float64():
    images, texts = unit_rows(2, 300, 32)
    exact = [images, texts, torch.tensor(math.log(100), dtype=torch.float64)]
    short = [tensor.float() for tensor in exact]
    for tensor in exact + short:
        tensor.requires_grad_()
    wanted = torch.autograd.grad(info_nce(*exact), exact)
    found = torch.autograd.grad(tiled_info_nce(*short, tile=64), short)
    for one, other in zip(wanted, found, strict=True):
        assert (one - other).abs().max() < 1e-5 * max(1, float(one.abs().max()))


def test_tiles_survive_the_largest_scale_and_the_worst_pairs():
    images = torch.eye(4)
    value = tiled_info_nce(images, -images, torch.tensor(math.log(100)), tile=2)
    assert value.item() == pytest.approx(100 + math.log(3 + math.exp(-100)), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 7), st.floats(0, 4), st.floats(-12, 2))
def test_sigmoid_loss_equals_the_written_out_sum(seed, rows, s, b):
    images, texts = unit_rows(seed, rows, 5)
    logits = math.exp(s) * images.numpy() @ texts.numpy().T + b
    expected = 0.0
    for i, j in np.ndindex(rows, rows):
        sign = 1 if i == j else -1
        expected += math.log1p(math.exp(-sign * logits[i, j])) / rows
    numbers = torch.arange(rows)
    scale, bias = (torch.tensor(v, dtype=torch.float64) for v in (s, b))
    found = sigmoid_loss(images, texts, scale, bias, numbers, numbers).item()
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.peers
def test_losses_equal_open_clip_s(peers):
    from open_clip.loss import ClipLoss, SigLipLoss

    images, texts = (tensor.float() for tensor in unit_rows(4, 12, 16))
    scale, bias, numbers = torch.tensor(2.3), torch.tensor(-4.0), torch.arange(12)
    theirs = ClipLoss()(images, texts, scale.exp()).item()
    assert tiled_info_nce(images, texts, scale, tile=5).item() == pytest.approx(theirs, abs=1e-6)
    theirs = SigLipLoss()(images, texts, scale.exp(), bias).item()
    ours = sigmoid_loss(images, texts, scale, bias, numbers, numbers).item()
    assert ours == pytest.approx(theirs, abs=1e-5)
