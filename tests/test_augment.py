"""Augmentation: exact on white, seeded, within range, and true to what each change promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_lab.data import augment
from clip_lab.data.emoji import named_by_colour
from clip_lab.data.emoji_table import emoji_table, pictures

TABLE = emoji_table()


def test_pictures_on_white_are_exact():
    """Straight alpha: colour x alpha + white x (1 - alpha), against a computation by hand."""
    pixels = torch.tensor([[[10]], [[200]], [[0]], [[51]]], dtype=torch.uint8)[None]
    expected = [(value * 51 + 255 * 204) / 255**2 for value in (10, 200, 0)]
    assert augment.on_white(pixels).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    clear = torch.tensor([[[9]], [[9]], [[9]], [[0]]], dtype=torch.uint8)[None]
    assert augment.on_white(clear).flatten().tolist() == [1, 1, 1]


def test_clean_pictures_are_only_resized():
    cells = pictures("noto")[:8]
    clean = augment.Augmentation(clean=1.0)
    keep = torch.zeros(8, dtype=torch.bool)
    drawn = augment.augment(cells, 64, torch.Generator().manual_seed(0), keep, clean)
    assert torch.equal(drawn, augment.on_white(cells))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([24, 32, 48, 64]))
def test_augmented_pictures_are_pictures(seed: int, size: int):
    cells = pictures("twemoji")[seed % 3000 :][:12]
    keep = torch.arange(12) % 2 == 0
    drawn = augment.augment(cells, size, torch.Generator().manual_seed(seed), keep)
    again = augment.augment(cells, size, torch.Generator().manual_seed(seed), keep)
    assert torch.equal(drawn, again) and drawn.shape == (12, 3, size, size)
    assert drawn.isfinite().all() and drawn.min() >= 0 and drawn.max() <= 1


@pytest.mark.parametrize(
    "change", [augment.draw_outlines, augment.flatten, augment.recolour, augment.grey, augment.blur]
)
def test_changes_keep_colours_below_alpha(change):
    """Premultiplied: no channel may exceed alpha, or the picture would glow on its background."""
    batch = augment.premultiply(pictures("fluent")[:32])
    changed = change(batch, torch.Generator().manual_seed(0))
    assert changed.shape == batch.shape and changed.isfinite().all()
    assert (changed[:, :3] <= changed[:, 3:] + 1e-4).all() and changed.min() >= -1e-6
    assert not torch.allclose(changed, batch)


def test_outlines_are_dark_and_along_the_edge():
    disc = torch.zeros(4, 4, 64, 64)
    disc[:, :, 16:48, 16:48] = 1  # a white square
    drawn = augment.draw_outlines(disc, torch.Generator().manual_seed(0))
    assert (drawn[:, :3, 30, 30] > 0.99).all() and (drawn[:, :, 4, 4] == 0).all()
    border = drawn[:, :3, 30, 13:19].amax(1)  # across the left side
    assert (border.amin(1) <= 0.2).all()
    assert drawn[:, 3, 30].sum(-1).max() <= 32 + 4


def test_moves_and_backgrounds():
    batch = augment.premultiply(pictures("noto")[:16])
    still = augment.Augmentation(scale=(1.0, 1.0), rotation=0.0, shear=0.0, shift=0.0)
    same = augment.move(batch, torch.Generator().manual_seed(0), still)
    assert torch.allclose(same, batch, atol=1e-5)
    small = augment.Augmentation(scale=(0.5, 0.5), rotation=0.0, shear=0.0, shift=0.0)
    half = augment.move(batch, torch.Generator().manual_seed(0), small)
    assert half[:, 3].sum() == pytest.approx(float(batch[:, 3].sum()) / 4, rel=0.05)
    ground = augment.background(torch.ones(16, 3, 32, 32), torch.Generator().manual_seed(0))
    assert ground.shape == (16, 3, 32, 32) and ground.std() > 0.05


def test_pictures_named_by_colour_keep_it():
    named = [TABLE.rows[i].label for i in TABLE.bases() if named_by_colour(TABLE.rows[i])]
    assert {"red heart", "green apple", "flag: Brazil"} <= set(named)
    assert not {"fox", "ring", "graduation cap"} & set(named)
    heart = pictures("noto")[[TABLE.rows[TABLE.number["2764"]].cells["noto"]] * 32]
    options = augment.Augmentation(clean=0.0, recolour=1.0, grey=1.0, background=0.0)
    drawn = augment.augment(
        heart, 32, torch.Generator().manual_seed(0), torch.ones(32, dtype=torch.bool), options
    )
    middle = drawn[:, :, 12:20, 12:20].mean((2, 3))
    assert (middle[:, 0] > middle[:, 1] + 0.2).all()
