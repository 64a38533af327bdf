"""The shapes world: drawing, sampling and batches, each against an independent check."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shape_distances import AREAS
from torch.nn import functional as F
from torch.utils.data import DataLoader

from clip_lab.data.scene import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Thing,
    concatenate,
    make_scene,
)
from clip_lab.data.shape_drawing import COLOUR_TABLE, SIZE_TABLE, draw, masks, paint, sketch
from clip_lab.data.shape_lettering import FONT, label_size
from clip_lab.data.shape_sampling import (
    GAP,
    LEAST_CONTRAST,
    WORDS,
    contrast,
    held_out_combinations,
    held_out_table,
    is_held_out,
    sample_scenes,
    training_weights,
)
from clip_lab.data.shapes import KINDS, ShapesPairs, shapes_test
from clip_lab.errors import LabError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- drawing ----


@pytest.mark.parametrize("shape", SHAPES)
def test_solid_pixels_have_the_object_s_colour_and_the_others_the_background_s(shape):
    scene = make_scene(Thing(shape, "green", "large", x=0.45, y=0.52), background="light pink")
    picture, mask = draw(scene)[0], masks(scene)[0, 0]
    inner = -F.max_pool2d(-mask[None, None].float(), 3, 1, 1)[0, 0] > 0  # a pixel off the outline
    outer = F.max_pool2d(mask[None, None].float(), 7, 1, 3)[0, 0] == 0  # tips are faint
    assert inner.sum() > 100
    green, pink = torch.tensor(COLOURS["green"]), torch.tensor(BACKGROUNDS["light pink"][0])
    assert (picture[:, inner] - green[:, None]).abs().max() < 1e-5
    assert (picture[:, outer] - pink[:, None]).abs().max() < 1e-5
    assert mask.double().mean().item() == pytest.approx(AREAS[shape] * 0.29**2, rel=0.04)


def test_each_object_of_many_has_its_own_mask():
    scenes = sample_scenes(50, seeded(2), objects=(2, 6))
    scenes = replace(scenes, texture=torch.zeros_like(scenes.texture))
    pictures, owned = draw(scenes), masks(scenes)
    inner = -F.max_pool2d(-owned.float(), 3, 1, 1) > 0
    wanted = COLOUR_TABLE[scenes.colour]  # (B, K, 3)
    for row, slot in scenes.present.nonzero().tolist():
        found = pictures[row][:, inner[row, slot]]
        assert found.numel() and (found - wanted[row, slot, :, None]).abs().max() < 1e-5
    assert not owned[~scenes.present].any()


def test_textures_show_background_through_gaps_but_leave_mask_and_rim():
    for shape, size in itertools.product(SHAPES, SIZES):
        scenes = concatenate([make_scene(Thing(shape, "blue", size, t)) for t in TEXTURES])
        assert (masks(scenes) == masks(scenes)[:1]).all()
        redness = draw(scenes)[:, 0].flatten(1).sum(1)  # blue has little red, white all of it
        assert redness[1] > redness[0] * 1.001 and redness[2] > redness[0] * 1.001


def test_smaller_pictures_are_the_larger_ones_averaged():
    scenes = sample_scenes(64, seeded(3), objects=(1, 6))
    averaged = F.avg_pool2d(draw(scenes, 128), 4)
    assert (averaged - draw(scenes, 32)).abs().mean() < 5e-3


def test_later_objects_hide_earlier_ones():
    scene = make_scene(Thing("circle", "red", "large"), Thing("circle", "blue", "small"))
    behind, front = masks(scene)[0]
    assert front[32, 32] and not behind[32, 32] and not (front & behind).any()
    assert behind[32, 48] and not front[32, 48]
    assert torch.allclose(draw(scene)[0, :, 32, 32], torch.tensor(COLOURS["blue"]))


def test_x_runs_right_y_runs_down_and_tilt_turns_counter_clockwise():
    corner = masks(make_scene(Thing("circle", x=0.8, y=0.2)))[0, 0]
    assert corner[:32, 32:].sum() == corner.sum()
    leaning = masks(make_scene(Thing("arrow", size="large", tilt=math.pi / 2)))[0, 0]
    assert leaning[:, :32].sum(0).max() > leaning[:, 32:].sum(0).max()  # the head points left


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_finite_differences(shape):
    things = [Thing(shape, "red", "medium", t, x=0.523, y=0.479) for t in TEXTURES]
    drawing = sketch(concatenate([make_scene(t, background="sky gradient") for t in things]))
    weights = torch.rand(3, 3, 64, 64, generator=seeded(), dtype=torch.float64)

    def score(name: str, value: torch.Tensor) -> torch.Tensor:
        return (paint(replace(double, **{name: value}), 64) * weights).sum()

    names = ("centre", "radius", "tilt", "rgb")
    double = replace(drawing, **{name: getattr(drawing, name).double() for name in names})
    for name in names:
        value = getattr(double, name).clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(name, value), value)
        direction = torch.rand(value.shape, generator=seeded(1), dtype=torch.float64)
        h = 1e-7
        change = score(name, value + h * direction) - score(name, value - h * direction)
        expected = change.item() / (2 * h)
        assert (slope * direction).sum().item() == pytest.approx(expected, rel=2e-2, abs=0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_finite_with_the_centre_in_a_pixel_s_middle(shape):
    """There a length is zero, whose square root has no slope."""
    things = [Thing(shape, texture=t, x=32.5 / 64, y=30.5 / 64) for t in TEXTURES]
    drawing = sketch(concatenate([make_scene(thing) for thing in things]))
    centre, radius = drawing.centre.requires_grad_(), drawing.radius.requires_grad_()
    paint(drawing, 64).square().sum().backward()
    assert centre.grad.isfinite().all() and radius.grad.isfinite().all()
    assert (radius.grad < 0).all()  # less white


def test_colours_are_told_apart():
    apart = torch.cdist(COLOUR_TABLE, COLOUR_TABLE) + torch.eye(len(COLOURS)) * 9
    assert apart.min() > 0.3
    for index, name in enumerate(COLOURS):  # and each has a light or a dark ground to stand out on
        assert (contrast()[index] > LEAST_CONTRAST).sum() >= 6, name


@pytest.mark.parametrize("word", ["BLUE", "TRIANGLE", "QUICKLY", "JVXZ"])
def test_written_word_can_be_read_dot_by_dot(word):
    scene = make_scene(Thing("circle", size="large"), word=word, word_at=(0.5, 0.45))
    size = 512
    picture = draw(scene, size)[0].mean(0)
    dot, half_width, half_height = (value.item() for value in label_size(scene.letters))
    for place, letter in enumerate(word):
        for row, bits in enumerate(FONT[letter].split()):
            for column in range(5):
                x = 0.5 - half_width + dot * (1 + 6 * place + column + 0.5)
                y = 0.45 - half_height + dot * (1 + row + 0.5)
                dark = picture[int(y * size), int(x * size)] < 0.5
                assert dark == bool(int(bits, 16) >> (4 - column) & 1), (letter, row, column)
    assert scene.words() == [word]


def test_labels_stay_within_the_picture_and_words_are_told_apart_at_64_px():
    scenes = sample_scenes(200, seeded(), written=True)
    _, half_width, half_height = label_size(scenes.letters)
    half = torch.stack([half_width, half_height], 1)
    assert ((scenes.word_centre > half) & (scenes.word_centre < 1 - half)).all()
    assert set(scenes.words()) <= {word.upper() for word in WORDS}
    labels = draw(concatenate([make_scene(Thing("circle"), word=word) for word in WORDS]))
    apart = torch.cdist(labels.flatten(1), labels.flatten(1)) + torch.eye(len(WORDS)) * 99
    assert apart.min() > 5


# ---- scenes ----


@settings(max_examples=40, deadline=None)
@given(
    least=st.integers(1, 6),
    more=st.integers(0, 5),
    alike=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_sampled_scenes_keep_what_they_promise(least, more, alike, seed):
    most = min(6, least + more)
    scenes = sample_scenes(12, seeded(seed), objects=(least, most), alike=alike)
    number = scenes.present.sum(1)
    assert number.min() >= least and number.max() <= most
    clear = contrast()
    for things, background in zip(scenes.things(), scenes.background.tolist(), strict=True):
        radii = [SIZES[t.size] for t in things]
        for (a, r), (b, s) in itertools.combinations(zip(things, radii, strict=True), 2):
            assert math.hypot(a.x - b.x, a.y - b.y) >= r + s + GAP - 1e-5
            if not alike:
                assert a.shape != b.shape and a.colour != b.colour
        for thing, r in zip(things, radii, strict=True):
            assert r + GAP - 1e-6 <= min(thing.x, thing.y)
            assert max(thing.x, thing.y) <= 1 - r - GAP + 1e-6
        if alike:
            assert len({(t.shape, t.colour, t.size, t.texture) for t in things}) == 1
        rows = [list(COLOURS).index(t.colour) for t in things]
        worst = clear[rows].amin(0)
        assert worst[background] >= min(LEAST_CONTRAST, worst.max()) - 1e-6


def test_every_attribute_occurs_and_a_seed_repeats_it_all():
    scenes = sample_scenes(3000, seeded(1))
    for values, names in (
        (scenes.shape, SHAPES), (scenes.colour, COLOURS), (scenes.size, SIZES),
        (scenes.texture, TEXTURES), (scenes.background, BACKGROUNDS),
    ):  # fmt: skip
        assert values.flatten().bincount(minlength=len(names)).min() > 20
    again = sample_scenes(3000, seeded(1))
    assert torch.equal(scenes.centre, again.centre) and torch.equal(
        draw(scenes[:4]), draw(again[:4])
    )
    assert torch.equal(SIZE_TABLE, torch.tensor(list(SIZES.values())))


def test_weights_forbid_and_favour():
    weights = torch.zeros(len(SHAPES), len(COLOURS), len(SIZES))
    weights[0, 0], weights[1, 4] = 3.0, 1.0
    scenes = sample_scenes(400, seeded(), weights=weights)
    assert {(t.shape, t.colour) for (t,) in scenes.things()} == {
        ("circle", "red"), ("square", "blue"),
    }  # fmt: skip
    assert 250 < (scenes.shape == 0).sum() < 350
    assert len(sample_scenes(5, seeded(), objects=(2, 2), weights=weights)) == 5
    with pytest.raises(LabError, match="more combinations"):
        sample_scenes(5, seeded(), objects=(3, 3), weights=weights)


def test_held_out_combinations_leave_every_part_seen():
    held_out = held_out_table()
    names = held_out_combinations()
    assert len(names) == held_out.sum() >= 40
    assert (~held_out).sum(2).min() >= 2  # each shape in each colour, in two sizes at least
    assert (~held_out).sum(1).min() >= 9 and (~held_out).sum(0).min() >= 10
    assert all(is_held_out(*name) for name in names)
    assert not is_held_out("circle", "blue", "small")
    assert training_weights().sum() == len(SHAPES) * len(COLOURS) * len(SIZES) - len(names)


def test_faults_are_told_in_words():
    with pytest.raises(LabError, match="no colour called 'turquoise'"):
        make_scene(Thing("circle", "turquoise"))
    with pytest.raises(LabError, match="at most 8 letters"):
        make_scene(Thing("circle"), word="CIRCUMSTANCES")
    with pytest.raises(LabError, match="1 to 6 objects"):
        sample_scenes(1, seeded(), objects=(1, 7))
    with pytest.raises(LabError, match="no shape called"):
        is_held_out("cube", "red", "small")
    for kinds in ({"triple": 1.0}, {"single": 0.0}, {"single": -1.0, "pair": 2.0}, {}):
        with pytest.raises(LabError, match="shares"):
            ShapesPairs(kinds=kinds)


def test_made_scenes_come_back_by_name():
    things = [Thing("star", "pink", "small", "dotted", 0.25, 0.75), Thing("drop", "grey", x=0.75)]
    scenes = concatenate([make_scene(*things, background="dark red", word="no"), make_scene()])
    assert scenes.things() == [things, []]
    assert scenes.words() == ["NO", ""] and scenes.backgrounds() == ["dark red", "white"]
    assert (draw(scenes)[1] == 1).all()  # an empty scene is its background


# ---- batches ----


def test_a_batch_depends_on_seed_and_step_alone():
    pairs = ShapesPairs(batch_size=8, size=32, seed=5)
    pictures, captions, *_ = pairs.batch(7)
    assert pictures.shape == (8, 3, 32, 32) and pictures.min() >= 0 and pictures.max() <= 1
    resumed, same, *_ = next(iter(ShapesPairs(batch_size=8, size=32, seed=5, start_step=7)))
    assert torch.equal(pictures, resumed) and captions == same
    other_seed = ShapesPairs(batch_size=8, size=32, seed=6)
    for other in (pairs.batch(8), other_seed.batch(7), other_seed.batch(6)):
        assert not torch.equal(pictures, other[0]) and captions != other[1]


def test_workers_give_the_batches_in_order():
    pairs = ShapesPairs(batch_size=4, size=32, start_step=2)
    loader = DataLoader(pairs, batch_size=None, num_workers=2)
    for step, batch in zip(range(2, 6), loader, strict=False):
        assert batch.captions == pairs.batch(step).captions


def test_no_held_out_combination_is_ever_trained_on():
    pairs = ShapesPairs(batch_size=200, kinds=dict.fromkeys(KINDS, 1.0))
    seen = {
        (t.shape, t.colour, t.size)
        for step in range(12)
        for things in pairs.scenes(step).things()
        for t in things
    }
    assert not seen & set(held_out_combinations())
    assert len(seen) == training_weights().sum()  # and every other one is


def test_kinds_and_captions_of_a_batch():
    scenes = ShapesPairs(batch_size=2000, kinds={"single": 3.0, "count": 1.0}).scenes(0)
    assert 0.7 < (scenes.present.sum(1) == 1).float().mean() < 0.8
    captions = ShapesPairs(batch_size=256).batch(0).captions
    assert len(set(captions)) >= 254


def test_retrieval_test_shows_what_its_captions_say():
    test = shapes_test(copies=2, size=32)
    assert len(test.pictures) == len(test.targets) == 2 * len(test.captions)
    assert len(test.captions) == len(set(test.captions)) == len(held_out_combinations())
    everything = shapes_test(copies=2, size=32, everything=True)
    assert everything.captions[: len(test.captions)] == test.captions
    assert len(everything.captions) == len(SHAPES) * len(COLOURS) * len(SIZES)
    assert torch.equal(everything.pictures, test.pictures)
    for picture, target in zip(test.pictures, test.targets.tolist(), strict=True):
        shape, colour, _ = held_out_combinations()[target]
        assert test.captions[target].endswith(f"{colour} {shape}")
        apart = (picture - torch.tensor(COLOURS[colour])[:, None, None]).abs().amax(0)
        assert (apart < 0.05).any()  # the colour is there
