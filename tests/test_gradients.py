"""A batch's gradient is the same in one pass, in pieces, and spread over processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ddp_worker import batch_of, loss_and_gradients, small_model
from safetensors.torch import load_file
from torch.nn import functional as F

from clip_lab.losses import info_nce, info_nce_of_groups, sigmoid_loss
from clip_lab.training import gradients
from clip_lab.training.towers import Features, Towers, drop_patches, patch_dropout, recompute_blocks

ROOT = Path(__file__).parent.parent


def same(one: dict, other: dict, tolerance: float) -> None:
    assert one.keys() == other.keys() and len(one) > 20
    for name in one:
        assert torch.allclose(one[name], other[name], atol=tolerance, rtol=0), name


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
@pytest.mark.parametrize("pieces", [2, 7, 64])
def test_pieces_give_the_gradients_of_one_pass(loss, pieces):
    rows = max(pieces, 9)
    same(loss_and_gradients(loss, pieces, rows), loss_and_gradients(loss, 1, rows), 1e-12)


def test_one_pass_is_the_loss_written_out():
    found = loss_and_gradients("info_nce", 1, 9)
    model = small_model("info_nce").train()
    batch, tokens = batch_of(9)
    vectors = F.normalize(model.encode_image(batch.images), dim=-1)
    texts = F.normalize(model.encode_text(tokens), dim=-1)
    value = info_nce_of_groups(vectors, texts, model.logit_scale, batch.right())
    value.backward()
    assert found.pop("loss").item() == pytest.approx(value.item(), abs=1e-12)
    same(found, {n: p.grad for n, p in model.named_parameters()}, 1e-12)


def test_several_captions_of_a_picture_are_as_many_pairs_of_one_group():
    for pieces in (1, 3):
        found = loss_and_gradients("info_nce", pieces, 5, each=3)
        model = small_model("info_nce").train()
        batch, tokens = batch_of(5, 3)
        vectors = F.normalize(model.encode_image(batch.images), dim=-1).repeat_interleave(3, 0)
        texts = F.normalize(model.encode_text(tokens), dim=-1)
        groups = batch.right().repeat_interleave(3)
        info_nce_of_groups(vectors, texts, model.logit_scale, groups).backward()
        del found["loss"]
        same(found, {n: p.grad for n, p in model.named_parameters()}, 1e-12)


def test_random_numbers_are_the_same_in_both_passes():
    # With patch dropout, a piece that drew anew the second time would get another's gradient.
    found = loss_and_gradients("info_nce", 3, 9, share=0.5)
    model = small_model("info_nce").train()
    batch, tokens = batch_of(9)
    torch.manual_seed(5)
    with patch_dropout(model, 0.5):  # one graph of all pieces, each drawn in its turn
        parts = zip(batch.images.tensor_split(3), tokens.tensor_split(3), strict=True)
        features = [Towers(model)(images, texts) for images, texts in parts]
    whole = Features(
        torch.cat([f.images for f in features]),
        torch.cat([f.texts for f in features]),
        model.logit_scale,
    )
    gradients.contrast(whole, batch.right()).backward()
    del found["loss"]
    same(found, {n: p.grad for n, p in model.named_parameters()}, 1e-12)
    other = loss_and_gradients("info_nce", 3, 9, share=0.0)
    assert not torch.allclose(found["visual.conv1.weight"], other["visual.conv1.weight"])


def test_adding_up_the_gradients_of_small_batches_is_another_thing():
    # What "gradient accumulation" does to a contrastive loss: shown wrong, and left out.
    model = small_model("info_nce").train()
    batch, tokens = batch_of(8)
    for images, texts in zip(batch.images.chunk(2), tokens.chunk(2), strict=True):
        features = Towers(model)(images, texts)
        (info_nce(features.images, features.texts, features.scale) / 2).backward()
    whole = loss_and_gradients("info_nce", 1, 8)["visual.proj"]
    accumulated = model.visual.proj.grad
    assert (accumulated - whole).norm() > 0.1 * whole.norm()


@pytest.mark.parametrize(
    ("processes", "loss", "pieces"),
    [(2, "info_nce", 1), (3, "info_nce", 2), (2, "sigmoid", 2), (3, "sigmoid", 1)],
)
def test_processes_give_the_loss_and_gradients_of_one(tmp_path, processes, loss, pieces):
    rows = 11  # uneven: 5 and 6, or 3, 4 and 4
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), str(ROOT / "tests" / "ddp_worker.py")]
    out = tmp_path / "gradients.safetensors"
    done = subprocess.run(
        [*command, str(out), loss, str(pieces), str(rows)],
        capture_output=True, text=True, timeout=180, cwd=ROOT,
        env={**__import__("os").environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    same(load_file(out), loss_and_gradients(loss, 1, rows), 1e-9)


def test_recomputing_blocks_changes_no_gradient():
    plain = loss_and_gradients("info_nce", 1, 6)
    model = small_model("info_nce").train()
    recompute_blocks(model)
    batch, tokens = batch_of(6)
    features = Towers(model)(batch.images, tokens)
    gradients.contrast(features, batch.right()).backward()
    del plain["loss"]
    same(plain, {n: p.grad for n, p in model.named_parameters()}, 1e-12)


def test_dropped_patches_are_gone_and_the_class_token_stays():
    tokens = torch.arange(2 * 17 * 3).view(2, 17, 3).float()
    kept = drop_patches(tokens, 0.75, True)
    assert kept.shape == (2, 5, 3) and torch.equal(kept[:, 0], tokens[:, 0])
    for row, of_row in zip(kept, tokens, strict=True):
        places = [int((of_row == token).all(dim=1).nonzero()) for token in row]
        assert len(set(places)) == 5
    assert drop_patches(tokens, 0.99, False).shape == (2, 1, 3)


def test_patches_are_dropped_in_training_only():
    model = small_model("info_nce")
    images = batch_of(4)[0].images
    with torch.no_grad(), patch_dropout(model, 0.5):
        whole = model.eval().encode_image(images)
        thinned = model.train().encode_image(images)
    assert torch.equal(whole, model.eval().encode_image(images))
    assert not torch.allclose(whole, thinned)
    with torch.no_grad():
        assert torch.equal(whole, model.train().encode_image(images))  # nothing is left behind


def test_sigmoid_of_parts_adds_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    images, texts = F.normalize(torch.randn(2, 7, 5, generator=generator), dim=-1)
    scale, bias, groups = torch.tensor(1.0), torch.tensor(-2.0), torch.arange(7)
    whole = sigmoid_loss(images, texts, scale, bias, groups, groups)
    parts = [slice(0, 3), slice(3, 7)]
    halves = [sigmoid_loss(images, texts[p], scale, bias, groups, groups[p]) for p in parts]
    assert sum(halves).item() == pytest.approx(whole.item(), abs=1e-6)
