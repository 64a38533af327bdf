"""Experiments about temperature, cosines, batches, data, towers and the modality gap."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip_lab.data.batch import Batch
from clip_lab.errors import LabError
from clip_lab.evaluation.geometry import (
    Paired,
    gap_of_mixture,
    modality_gap,
    row_entropy,
    shift_gap,
)
from clip_lab.experiments.batch_sweep import Sweep as BatchSweep
from clip_lab.experiments.batch_sweep import within_blocks
from clip_lab.experiments.claims import (
    batch_size,
    cosines,
    data_size,
    sigmoid,
    temperature,
    towers,
)
from clip_lab.experiments.claims import (
    modality_gap as gap_claim,
)
from clip_lab.experiments.experiment import Subject
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.pair_tests import of_emoji, of_subject, shapes_pairs
from clip_lab.experiments.pool import Pool, draw_pairs
from clip_lab.experiments.result import DISAGREE, FAILS, HOLDS, IN_PART, Measured
from clip_lab.experiments.runner import run
from clip_lab.experiments.temperatures import (
    BINS,
    READ,
    SHARES,
    Sweep,
    fix_temperature,
    histogram,
)
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.losses import info_nce, sigmoid_loss
from clip_lab.training.towers import Features

TINY = Plan(steps=2, batch=8, learning_rate=1e-3, warmup=1)
TEMPERATURES = Sweep((0.07, 1.0), TINY, pairs=12, copies=1)
BATCHES = BatchSweep(16, (4, 8), 8, (4, 8), copies=1)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path))


# -- how vectors lie ------------------------------------------------------------------------------


def unit(*rows) -> torch.Tensor:
    return F.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


def test_entropy_is_that_of_the_softmax_by_hand():
    cosines_ = torch.tensor([[0.5, 0.3]], dtype=torch.float64)
    p = 1 / (1 + math.exp(-0.2 / 0.1))
    expected = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert row_entropy(cosines_, 0.1) == pytest.approx(expected, abs=1e-12)


def test_entropy_goes_from_nothing_to_the_logarithm_of_the_count():
    cosines_ = torch.eye(4)
    assert row_entropy(cosines_, 0.001) == pytest.approx(0, abs=1e-9)
    assert row_entropy(cosines_, 1e6) == pytest.approx(math.log(4), abs=1e-9)


def test_the_gap_is_the_difference_of_the_centroids():
    images, texts = unit([1, 0], [0, 1]), unit([-1, 0], [0, 1])
    assert modality_gap(images, texts).tolist() == pytest.approx([1, 0])


def test_shifting_by_half_of_the_gap_closes_it_and_more_of_it_widens_it():
    images, texts = unit([3, 1], [3, -1]), unit([-3, 1], [-3, -1])
    pairs = Paired(images, texts, torch.eye(2, dtype=torch.bool))
    by_hand = F.normalize(images[0] - 0.25 * torch.tensor([6 / math.sqrt(10), 0.0]), dim=-1)
    torch.testing.assert_close(shift_gap(pairs, 0.25).images[0], by_hand.double())
    sizes = [
        modality_gap(moved.images, moved.texts).norm().item()
        for moved in (shift_gap(pairs, share) for share in (-0.5, 0.0, 0.25, 0.5))
    ]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(shift_gap(pairs, 0.3).texts.norm(dim=-1), torch.ones(2).double())


def test_a_mixture_has_next_to_no_gap_where_modalities_have_one():
    images, texts = unit(*[[5, y] for y in range(-9, 9)]), unit(*[[-5, y] for y in range(-9, 9)])
    assert gap_of_mixture(images, texts) < 0.5 * modality_gap(images, texts).norm().item()


def test_matched_unmatched_and_found_look_at_the_right_cells():
    images, texts = unit([1, 0], [0, 1], [1, 1]), unit([1, 0], [1, 0], [1, 1])
    right = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    pairs = Paired(images, texts, right)
    half = math.sqrt(0.5)
    assert pairs.matched().tolist() == pytest.approx([1, 0, 1])
    assert pairs.unmatched().tolist() == pytest.approx([half, half, half, half])
    assert pairs.found() == pytest.approx(2 / 3)  # the second picture is nearer to the third text


def test_a_tie_finds_nothing():
    same = unit([1, 0], [1, 0])
    assert Paired(same, same, torch.eye(2, dtype=torch.bool)).found() == 0


def test_histogram_holds_shares_in_their_places():
    shares = histogram(torch.tensor([-1.0, 0.01, 0.01, 1.0]))
    assert len(shares) == BINS
    assert (shares[0], shares[BINS // 2], shares[-1]) == pytest.approx((0.25, 0.5, 0.25))


# -- what is trained on, and how ------------------------------------------------------------------


def test_test_pairs_have_different_captions_and_other_pictures_for_each_seed():
    pictures, captions = shapes_pairs(16, 12, 0)
    assert pictures.shape == (12, 3, 16, 16)
    assert len(set(captions)) == 12
    assert shapes_pairs(16, 12, 1)[1] != captions


def test_a_pool_shows_every_pair_once_an_epoch_and_then_again():
    drawn = draw_pairs(12, 16, seed=0)
    pool = Pool(drawn, 4, seed=0)
    first = [pool.batch(step) for step in range(3)]
    again = [pool.batch(step) for step in range(3, 6)]
    assert sorted(c for b in first for c in b.captions) == sorted(drawn.captions)
    assert sorted(c for b in again for c in b.captions) == sorted(drawn.captions)
    assert [b.captions for b in first] != [b.captions for b in again]


def test_a_pools_pictures_stay_with_their_captions():
    drawn = draw_pairs(12, 16, seed=0)
    batch = Pool(drawn, 5, seed=0).batch(1)
    for picture, caption in zip(batch.images, batch.captions, strict=True):
        assert any(
            caption == drawn.captions[row] and torch.equal(picture, drawn.pictures[row])
            for row in range(12)
        )


def test_batches_of_any_size_cut_the_same_row_of_pairs():
    drawn = draw_pairs(12, 16, seed=0)
    rows = [
        [c for step in range(12 // size) for c in Pool(drawn, size, 0).batch(step).captions]
        for size in (2, 6)
    ]
    assert rows[0] == rows[1]


def test_smaller_sets_are_part_of_larger_ones():
    small, large = draw_pairs(7, 16, seed=0), draw_pairs(12, 16, seed=0)
    assert torch.equal(small.pictures, large.first(7).pictures)
    assert small.captions == large.first(7).captions


def test_a_batch_larger_than_the_pool_is_refused():
    with pytest.raises(LabError, match="can't be filled"):
        Pool(draw_pairs(4, 16, seed=0), 5, seed=0)


def test_a_fixed_temperature_stays_fixed_while_the_towers_learn():
    encoder = new_model()
    fix_temperature(encoder, 0.2)
    before = encoder.model.text.text_projection.clone()
    train_clip(encoder, Pool(draw_pairs(16, SIZE, 0), 8, 0), TINY)
    assert 1 / encoder.scale == pytest.approx(0.2, rel=1e-6)
    assert not torch.equal(before, encoder.model.text.text_projection)


def features(bias: bool) -> tuple[Features, Batch]:
    generator = torch.Generator().manual_seed(0)
    images, texts = (
        F.normalize(torch.randn(6, 4, dtype=torch.float64, generator=generator), dim=-1)
        for _ in range(2)
    )
    batch = Batch(torch.zeros(6, 3, 2, 2), [f"caption {i}" for i in range(6)])
    scale = torch.tensor(1.5, dtype=torch.float64)
    return Features(images, texts, scale, torch.tensor(-2.0).double() if bias else None), batch


def test_blocks_are_small_batches_that_dont_see_each_other():
    (images, texts, scale, _), batch = features(False)
    expected = sum(info_nce(images[s], texts[s], scale) for s in (slice(0, 3), slice(3, 6))) / 2
    assert within_blocks(features(False)[0], batch, 3).item() == pytest.approx(float(expected))


def test_sigmoids_blocks_sum_to_its_loss_without_the_cells_between_them():
    both, batch = features(True)
    groups = batch.right()
    assert both.bias is not None
    whole = sigmoid_loss(both.images, both.texts, both.scale, both.bias, groups, groups)
    logits = both.scale.exp() * both.images @ both.texts.T + both.bias
    between = -F.logsigmoid(-logits)
    between = (between[:3, 3:].sum() + between[3:, :3].sum()) / 6
    blocks = within_blocks(both, batch, 3)
    torch.testing.assert_close(blocks, whole - between)


def test_the_learning_rate_grows_with_the_root_of_the_batch_and_pairs_seen_stay():
    sweep = BatchSweep(pairs=4096)
    small, large = sweep.plan(64), sweep.plan(1024)
    assert large.learning_rate == pytest.approx(4 * small.learning_rate)
    assert small.steps * small.batch == large.steps * large.batch == 4096


def test_steps_to_a_target_are_read_off_between_two_looks():
    steps, found = np.array([10, 20, 40]), np.array([0.2, 0.4, 0.3])
    assert towers.steps_to(0.3, steps, found) == pytest.approx(15)
    assert towers.steps_to(0.1, steps, found) == pytest.approx(5)
    assert towers.steps_to(0.5, steps, found) == math.inf


def test_multiply_adds_of_a_vit_are_those_of_its_matrices():
    tokens, patches, width = 17, 16, 64
    whole_block = tokens * 12 * width**2 + 2 * tokens**2 * width
    # The last block is asked for the class token alone: keys and values of all, the rest of one.
    last_block = 2 * tokens * width**2 + 10 * width**2 + 2 * tokens * width
    expected = patches * 3 * 8 * 8 * width + 2 * whole_block + last_block + width * 64
    assert towers.multiply_adds(new_model("vit")) == expected


# -- each experiment, end to end ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("temperature", {"sweep": TEMPERATURES}),
        ("cosines", {"sweep": TEMPERATURES, "pairs": 12}),
        ("modality_gap", {"sweep": TEMPERATURES}),
        ("batch_size", {"sweep": BATCHES}),
        ("sigmoid", {"sweep": BATCHES}),
        ("data_size", {"sizes": (8, 16), "plan": TINY, "copies": 1}),
        ("towers", {"little": 8, "plan": TINY, "looks": 2, "copies": 1}),
    ],
)
def test_an_experiment_runs_judges_and_draws(name, settings):
    result = run(name, jobs=1, settings=settings)
    module = {"modality_gap": gap_claim}.get(name) or globals()[name]
    assert result.verdict.effects
    assert "chance" in result.verdict.because.lower() or name in ("cosines", "modality_gap")
    assert module.EXPERIMENT.draw(result.measured).get_label()


@pytest.mark.parametrize("name", ["cosines", "modality_gap"])
def test_a_published_model_is_measured_drawn_and_judged_too(name, encoder):
    from clip_lab.experiments.registry import experiment

    module = experiment(name)
    config = module.quick.__class__(TEMPERATURES, pairs=8)
    assert module.measure_model is not None
    runs = tuple(module.measure_model(config, seed, Subject(encoder)) for seed in (0, 1))
    measured = Measured({"sweep": {"pairs": 12}, "pairs": 8}, (0, 1), runs)
    assert module.judge(measured).because
    assert module.draw(measured).get_label()


def test_emoji_and_labelled_folders_give_pairs_where_one_class_is_right_for_all_of_its_pictures(
    encoder, tmp_path
):
    from PIL import Image

    for number, name in enumerate(("cat", "cat", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    pairs = of_subject(Subject(encoder, tmp_path), 10, seed=0)
    assert pairs.right.sum().item() == 2 * 2 + 1
    assert len(of_emoji(encoder, 5, seed=0).images) == 5


# -- the rules, on made-up measurements -----------------------------------------------------------


def made_up(config=None, **values) -> Measured:
    """Three seeds that differ a little in every number whose name ends in _ (removed)."""
    runs = []
    for seed in range(3):
        shift = 0.01 * (seed - 1)
        runs.append(
            {
                name.removesuffix("_"): (np.array(value) + shift).tolist()
                if name.endswith("_")
                else value
                for name, value in values.items()
            }
        )
    return Measured(config or {}, (0, 1, 2), tuple(runs))


@pytest.mark.parametrize(("slope", "text"), [(1.0, "002 is right"), (-1.0, "001 is right")])
def test_the_notes_about_temperature_are_settled_by_the_entropy(slope, text):
    measured = made_up(
        fixed=[0.01, 0.1, 1.0], fixed_entropy=[4.0, 3.0, 5.0], fixed_accuracy_=[0.1, 0.5, 0.3],
        learned_accuracy=0.5, learned_temperature=0.05,
        learned_entropy_read_=[3 + slope * math.log10(tau) for tau in READ],
    )  # fmt: skip
    verdict = temperature.judge(measured)
    assert verdict.word == DISAGREE
    assert text in verdict.because
    assert verdict.effect.mean == pytest.approx(slope)
    assert verdict.effects["trained at each τ"].mean == pytest.approx(0.5)
    assert verdict.effects["learned less best fixed"].mean == pytest.approx(0)


def test_an_entropy_that_goes_up_in_one_seed_and_down_in_another_settles_nothing():
    runs = tuple(
        {
            "fixed": [0.1, 1.0], "fixed_entropy": [1.0, 2.0],
            "learned_entropy_read": [slope * math.log10(tau) for tau in READ],
            "fixed_accuracy": [0.1, 0.2], "learned_accuracy": 0.1, "learned_temperature": 0.1,
        }
        for slope in (-1, 0, 1)
    )  # fmt: skip
    assert temperature.judge(Measured({}, (0, 1, 2), runs)).word == FAILS


@pytest.mark.parametrize(
    ("matched", "rest", "word"),
    [(0.9, 0.0, HOLDS), (0.6, 0.0, IN_PART), (0.9, 0.4, IN_PART), (0.3, 0.2, FAILS)],
)
def test_cosines_must_be_near_both_claimed_figures(matched, rest, word):
    measured = made_up(
        main=1, models=["a", "b"], matched_mean_=[0.1, matched], unmatched_mean_=[0.0, rest]
    )
    assert cosines.judge(measured).word == word


@pytest.mark.parametrize(
    ("by_batch", "by_block", "word"),
    [
        ([0.3, 0.5], [0.4, 0.4], HOLDS),
        ([0.5, 0.3], [0.3, 0.5], IN_PART),
        ([0.5, 0.3], [0.5, 0.4], FAILS),
    ],
)
def test_large_batches_help_or_their_negatives_do_or_neither(by_batch, by_block, word):
    measured = Measured(
        {},
        (0, 1, 2),
        tuple(
            {
                "batches": [16, 1024], "by_batch": [by_batch[0], by_batch[1] + noise],
                "blocks": [4, 256], "by_block": [by_block[0], by_block[1] + noise],
            }
            for noise in (-0.01, 0, 0.01)
        ),
    )  # fmt: skip
    assert batch_size.judge(measured).word == word


@pytest.mark.parametrize(
    ("sigmoid_few", "info_nce_few", "word"),
    [
        (0.5, 0.3, HOLDS),
        (0.6, 0.5, HOLDS),
        (0.4, 0.3, IN_PART),
        (0.3, 0.4, FAILS),
        (0.4, 0.5, FAILS),
    ],
)
def test_sigmoid_must_lose_nothing_or_at_least_less_than_info_nce(sigmoid_few, info_nce_few, word):
    verdict = sigmoid.judge(losses(sigmoid_few, 0.5, info_nce_few, 0.5))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(sigmoid_few - 0.5)


def losses(sigmoid_few, sigmoid_many, info_nce_few, info_nce_many) -> Measured:
    runs = tuple(
        {
            "batches": [16, 1024], "blocks": [4, 256],
            "sigmoid_batches": [0.3, 0.3], "info_nce_batches": [0.3, 0.3 + noise],
            "sigmoid_blocks": [sigmoid_few + noise, sigmoid_many],
            "info_nce_blocks": [info_nce_few, info_nce_many],
        }
        for noise in (-0.005, 0, 0.005)
    )  # fmt: skip
    return Measured({}, (0, 1, 2), runs)


@pytest.mark.parametrize(
    ("found", "word"),
    [([0.1, 0.3, 0.5], HOLDS), ([0.1, 0.5, 0.5], IN_PART), ([0.5, 0.5, 0.4], FAILS)],
)
def test_more_data_must_help_and_go_on_helping(found, word):
    runs = tuple(
        {
            "sizes": [100, 1000, 10000], "found": [*found[:2], found[2] + noise],
            "found_once": [0.1, 0.2, 0.3], "endless": 0.6,
        }
        for noise in (-0.01, 0, 0.01)
    )  # fmt: skip
    verdict = data_size.judge(Measured({}, (0, 1, 2), runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx((found[2] - found[0]) / 2)


@pytest.mark.parametrize(
    ("endless", "little", "word"),
    [(0.5, 0.5, HOLDS), (0.5, 2.0, DISAGREE), (2.0, 0.5, FAILS)],
)
def test_the_vits_advantage_is_in_compute_and_may_take_much_data(endless, little, word):
    def curves(slower: float) -> tuple[list[float], list[float]]:
        steps = np.array([10, 20, 30, 40])
        return (steps / 50).tolist(), np.minimum(steps / slower / 50, 0.9).tolist()

    runs = []
    for noise in (0.98, 1.0, 1.02):
        run_ = {"steps": [10, 20, 30, 40], "resnet_work": 1_000_000, "vit_work": 1_000_000}
        for amount, slower in (("endless", endless), ("little", little)):
            run_[f"resnet_{amount}"], run_[f"vit_{amount}"] = curves(slower * noise)
        runs.append(run_)
    verdict = towers.judge(Measured({"little": 2000}, (0, 1, 2), tuple(runs)))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(-math.log2(endless), abs=0.02)


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [(1.2, 0.8, HOLDS), (1.2, 0.1, IN_PART), (0.1, 0.1, FAILS)],
)
def test_a_gap_must_be_wider_than_that_of_a_mixture(start, end, word):
    measured = made_up(
        gap_start_=start, gap_=end, gap_of_mixture=0.1, found_when_shifted_=[0.5] * len(SHARES),
        fixed=[0.01, 1.0], gap_fixed_=[1.0, 0.2],
    )  # fmt: skip
    verdict = gap_claim.judge(measured)
    assert verdict.word == word
    assert verdict.effects["gap per tenfold temperature"].mean == pytest.approx(-0.4)
