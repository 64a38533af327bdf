"""Prompts, few-shot, tasks, robustness, languages: experiments run whole, and judge by their rules.

The end-to-end runs are of a few steps and pictures: they show that nothing breaks, not that
anything is learnt.
"""

from dataclasses import asdict, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from clip_lab.errors import LabError
from clip_lab.experiments import emoji_world
from clip_lab.experiments.claims import (
    few_shot,
    languages,
    prompt_learning,
    prompts,
    robustness,
    tasks,
)
from clip_lab.experiments.emoji_world import SharedEmoji, Supervised, top1_among
from clip_lab.experiments.experiment import Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured
from clip_lab.experiments.world import Shared
from clip_lab.view.figures import save

TINY = Plan(steps=2, batch=16, warmup=1)
SHAPES = Shared(plan=TINY)
ENGLISH = SharedEmoji(plan=TINY)
SUPERVISED = Supervised(TINY)
MODULES = (few_shot, languages, prompt_learning, prompts, robustness, tasks)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def few_drawings(monkeypatch):
    """The first sixty emoji in place of all."""
    whole = emoji_world.drawings

    def some(style, language="en"):
        test = whole(style, language)
        targets = test.targets[:60]
        labels = test.labels[: int(targets.max()) + 1]
        return replace(
            test, pictures=test.pictures[:60], labels=labels, targets=targets, rows=test.rows[:60]
        )

    for module in (languages, prompts, robustness):
        monkeypatch.setattr(module, "drawings", some)


def measured_of(config, *runs):
    return Measured(asdict(config), tuple(range(len(runs))), runs)


def runs_whole(module, config, tmp_path, seeds=1):
    """Measure, judge and draw; the figure is a file that isn't empty."""
    this = module.EXPERIMENT
    runs = [this.measure(config, seed) for seed in range(seeds)]
    measured = measured_of(config, *runs)
    assert "%" in this.judge(measured).because
    path = save(this.draw(measured), tmp_path / "figure.png", dpi=40)
    assert path.stat().st_size > 5000
    return measured


@pytest.mark.parametrize("module", MODULES)
def test_each_is_in_the_registry_by_name_and_number(module):
    this = module.EXPERIMENT
    assert experiment(this.name) is this and experiment(str(this.number)) is this


# -- the emoji world -------------------------------------------------------------------------------


def test_top1_among_a_few_is_the_mean_over_every_draw_of_the_others():
    ranks, classes, ways = [0, 1, 3, 5], 6, 3
    expected = []
    for rank in ranks:
        draws = list(combinations(range(classes - 1), ways - 1))  # the others, the nearest first
        expected.append(sum(all(other >= rank for other in draw) for draw in draws) / len(draws))
    assert top1_among(torch.tensor(ranks), classes, ways) == pytest.approx(np.mean(expected))


def test_top1_among_all_is_top1_and_among_one_is_certain():
    ranks = torch.tensor([0, 0, 2, 4])
    assert top1_among(ranks, 5, 5) == 0.5
    assert top1_among(ranks, 5, 1) == 1
    assert top1_among(ranks, 5, 99) == 0.5  # no more than there are


def test_a_classifier_is_trained_from_clips_own_image_tower_and_kept():
    clip = emoji_world.new_model(3)
    begun = emoji_world.Classifier(emoji_world.new_model(3), 10)
    for one, other in zip(clip.model.visual.parameters(), begun.visual.parameters(), strict=True):
        assert torch.equal(one, other)
    looked = []
    trained = SUPERVISED.classifier(3, lambda step, classifier: looked.append(step), (1, 2))
    assert looked == [1, 2]
    pictures = torch.rand(2, 3, 32, 32)
    again = SUPERVISED.encoder(3).encode_images(pictures)
    torch.testing.assert_close(again, trained.encoder.encode_images(pictures))
    assert not torch.allclose(again, clip.encode_images(pictures))


def test_a_classifiers_logits_are_scaled_cosines_with_its_class_vectors():
    encoder = emoji_world.new_model(0)
    classifier = emoji_world.Classifier(encoder, 5).eval()
    batch = emoji_world.pairs(TINY, 0).batch(0)
    images = encoder.encode_pixels(encoder.preprocess.normalize(batch.images))
    with torch.no_grad():
        cosines = images @ (classifier.head / classifier.head.norm(dim=1, keepdim=True)).T
        torch.testing.assert_close(classifier(batch), cosines / 0.07, rtol=1e-4, atol=1e-4)


# -- 12, robustness --------------------------------------------------------------------------------


def test_robustness_runs_whole(few_drawings, tmp_path):
    narrow = replace(SUPERVISED, styles=("noto",))
    config = robustness.Config(ENGLISH, narrow, SUPERVISED, batches=1)
    measured = runs_whole(robustness, config, tmp_path)
    assert 0 < measured["clip_in"][0] < 0.2  # hardly trained


def share(logits):
    return (1 / (1 + np.exp(-np.asarray(logits)))).tolist()


def robust(shifted, noise, broad=-1.0):
    """Lines of slope 1: one artist's loses 2 in logits, three artists' as `broad` says."""
    shifted += noise
    logits = np.linspace(-1.5, 1, 6)
    run = {"clip_in": 0.5, "clip_shifted": shifted}
    for name, lost in (("narrow", -2.0), ("broad", broad)):
        expected = share(lost)
        run |= {
            f"{name}_in": share(logits), f"{name}_shifted": share(logits + lost),
            f"{name}_expected": expected, f"{name}_closed": (shifted - expected) / (0.5 - expected),
            f"{name}_slope": 1.0, f"{name}_intercept": lost,
        }  # fmt: skip
    return run


@pytest.mark.parametrize(
    ("shifted", "broad", "word"),
    [
        (0.40, -1.0, HOLDS),
        (0.40, -0.4, IN_PART),  # robust, and no more than the same pictures make a classifier
        (0.20, -1.6, IN_PART),  # a small part of the gap
        (0.10, -1.0, FAILS),
    ],
)
def test_robustness_is_judged_by_the_gap_that_is_closed(shifted, broad, word):
    runs = [robust(shifted, noise, broad) for noise in (-0.005, 0, 0.005)]
    verdict = robustness.judge(measured_of(robustness.Config(), *runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(shifted - share(-2.0), abs=1e-9)


# -- 22, languages ---------------------------------------------------------------------------------


def test_languages_run_whole(few_drawings, tmp_path):
    spoken = ("de", "en", "zh")
    measured = runs_whole(languages, languages.Config(ENGLISH, SharedEmoji(spoken, TINY)), tmp_path)
    assert measured["all"].shape == (1, 3)


@pytest.mark.parametrize(("gain", "word"), [(0.5, HOLDS), (0.05, IN_PART), (-0.02, FAILS)])
def test_languages_are_judged_by_what_their_own_data_gives(gain, word):
    config = languages.Config(ENGLISH, SharedEmoji(("de", "en", "zh"), TINY))
    runs = [
        {"english": [0.2, 0.8, 0.04], "all": [0.2 + gain + n, 0.7, 0.04 + gain - n / 2]}
        for n in (-0.01, 0, 0.01)
    ]
    verdict = languages.judge(measured_of(config, *runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(gain)
    assert verdict.effects["the same, English"].mean == pytest.approx(-0.1)


# -- 2, prompts ------------------------------------------------------------------------------------


def test_prompts_run_whole(few_drawings, tmp_path, monkeypatch):
    load = prompts.pretrained.load
    small = lambda name, device: emoji_world.new_model(9) if name == "emoji" else load(name, device)  # noqa: E731
    monkeypatch.setattr(prompts.pretrained, "load", small)
    measured = runs_whole(prompts, prompts.Config(ENGLISH, SHAPES, pictures=20), tmp_path)
    assert measured["accuracies"].shape == (1, 3, 3)


def test_a_bare_word_cannot_tell_its_senses_apart():
    for word, *senses in prompts.SENSES:
        for code, _context in senses:
            row = emoji_world.emoji_table().number[code]
            assert not emoji_world.emoji_table().held_out(row), word
            said = [text.lower() for text in emoji_world.texts("en")[code]]
            assert any(word in text.split() for text in said), (word, said)
    without = tuple((w, *((code, "it") for code, _ in senses)) for w, *senses in prompts.SENSES)
    original, prompts.SENSES = prompts.SENSES, without
    try:
        assert prompts.told_apart(emoji_world.new_model(1)) == 0.5
    finally:
        prompts.SENSES = original


def prompt_run(shares, noise):
    bare, template, ensemble, context = shares
    return {
        "worlds": ["emoji, style never seen", "shapes"],
        "accuracies": [[bare, template + noise, ensemble + 2 * noise], [0.5, 0.5, 0.5]],
        "ways": 50,
        "context": context + noise,
    }


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ((0.30, 0.32, 0.36, 0.8), HOLDS),
        ((0.30, 0.28, 0.33, 0.5), IN_PART),
        ((0.30, 0.28, 0.27, 0.8), IN_PART),
        ((0.30, 0.28, 0.27, 0.5), FAILS),
    ],
)
def test_prompts_are_judged_by_both_steps(shares, word):
    runs = [prompt_run(shares, noise) for noise in (-0.001, 0, 0.001)]
    verdict = prompts.judge(measured_of(prompts.Config(), *runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(shares[2] - shares[0])


@pytest.fixture
def folder(tmp_path):
    """Two classes of eighteen pictures."""
    generator = np.random.default_rng(0)
    for name, tint in (("red circle", 0), ("blue star", 2)):
        place = tmp_path / "data" / name
        place.mkdir(parents=True)
        for i in range(18):
            pixels = generator.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., tint] += 150
            Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "data"


def test_prompts_of_a_published_model_come_from_the_folder(folder):
    subject = Subject(emoji_world.new_model(2), folder)
    run = prompts.measure_model(prompts.Config(), 0, subject)
    assert run["worlds"] == ["data"] and run["ways"] == 2
    verdict = prompts.judge(measured_of(prompts.Config(), run, run))
    assert "Data: bare name" in verdict.because
    prompts.draw_figure(measured_of(prompts.Config(), run, run))


# -- 10, few-shot ----------------------------------------------------------------------------------


def test_few_shot_runs_whole(tmp_path):
    config = few_shot.Config(SHAPES, copies=2, draws=2)
    measured = runs_whole(few_shot, config, tmp_path)
    assert measured["probe"].shape == (1, 5)
    assert measured["probe"][0].max() > 1 / 44  # even an untrained tower's vectors say something


def few_shot_run(zero_shot, noise):
    probe = [0.2, 0.3, 0.4, 0.5, 0.6]
    worth = np.interp(zero_shot + noise, probe, np.arange(5))
    return {
        "zero_shot": zero_shot + noise, "probe": probe, "log2_worth": float(worth),
        "classes": 44, "pictures": 880,
    }  # fmt: skip


@pytest.mark.parametrize(("share", "word"), [(0.42, HOLDS), (0.57, IN_PART), (0.15, FAILS)])
def test_few_shot_is_judged_by_the_shots_that_zero_shot_is_worth(share, word):
    runs = [few_shot_run(share, noise) for noise in (-0.01, 0, 0.01)]
    verdict = few_shot.judge(measured_of(few_shot.Config(), *runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(share - 0.2)


def test_few_shot_of_a_published_model_sets_sixteen_of_each_class_aside(folder):
    config = few_shot.Config(draws=2)
    run = few_shot.measure_model(config, 0, Subject(emoji_world.new_model(2), folder))
    assert run["pictures"] == 4 and run["classes"] == 2
    assert set(run) == set(few_shot_run(0.3, 0))
    assert run["probe"][-1] == 1.0  # red and blue


def test_few_shot_refuses_a_set_with_too_few_pictures(folder):
    for picture in list((folder / "blue star").glob("*.png"))[2:]:
        picture.unlink()
    with pytest.raises(LabError, match="over 16 pictures of every class"):
        few_shot.measure_model(few_shot.Config(), 0, Subject(emoji_world.new_model(2), folder))
    with pytest.raises(LabError, match="--data"):
        few_shot.measure_model(few_shot.Config(), 0, Subject(emoji_world.new_model(2)))


# -- 11, tasks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(tasks.shape_tasks()))
def test_every_task_of_shapes_has_right_labels_and_another_training_set(name):
    task = tasks.shape_tasks()[name]
    shown, targets = task.pictures(88, 0, False)
    other, _ = task.pictures(88, 0, True)
    assert shown.shape == other.shape and not torch.equal(shown, other)
    assert int(targets.min()) >= 0 and int(targets.max()) < len(task.captions)
    assert len(set(targets.tolist())) > 1 and len(set(task.captions)) == len(task.captions)
    assert torch.equal(task.pictures(88, 0, False)[1], targets)


def test_the_relation_is_the_circles_to_the_star():
    _, targets = tasks.shape_tasks()["relation"].pictures(30, 4, False)
    again = tasks.sample_scenes(
        30, tasks._generator(4, False), objects=(2, 2), weights=_circle_and_star()
    )
    for things, target in zip(again.things(), targets.tolist(), strict=True):
        places = {thing.shape: (thing.x, thing.y) for thing in things}
        right = places["circle"][0] - places["star"][0]
        down = places["circle"][1] - places["star"][1]
        if abs(right) > abs(down):
            assert tasks.SIDES[target] == ("right" if right > 0 else "left")
        else:
            assert tasks.SIDES[target] == ("below" if down > 0 else "above")


def _circle_and_star():
    weights = tasks.training_weights()
    keep = torch.tensor([name in ("circle", "star") for name in tasks.SHAPES])
    return weights * keep[:, None, None]


def test_emoji_tasks_train_on_three_artists_and_test_on_the_fourth():
    made = tasks.emoji_tasks()
    flags = made["emoji flag"]
    shown, targets = flags.pictures(10, 0, False)
    assert targets.tolist() == list(range(len(flags.captions)))
    assert len(flags.pictures(10, 0, True)[1]) == 3 * len(targets) and len(shown) > 200
    groups, numbers = made["emoji group"].pictures(50, 0, False)
    assert len(groups) == 50 and int(numbers.max()) < 9
    _, artists = made["emoji artist"].pictures(40, 0, True)
    assert artists.bincount().tolist() == [10, 10, 10, 10]


def test_tasks_run_whole(tmp_path, monkeypatch):
    few = {name: tasks.shape_tasks()[name] for name in ("size", "texture")}
    drawn = {"emoji artist": tasks.emoji_tasks()["emoji artist"]}
    monkeypatch.setattr(tasks, "shape_tasks", lambda: few)
    monkeypatch.setattr(tasks, "emoji_tasks", lambda: drawn)
    config = tasks.Config(SHAPES, ENGLISH, SUPERVISED, train=40, test=40)
    measured = runs_whole(tasks, config, tmp_path)
    assert measured["zero_shot"].shape == (1, 3)


@pytest.mark.parametrize(("won", "word"), [(3, HOLDS), (1, IN_PART), (0, FAILS)])
def test_tasks_are_judged_by_how_many_are_won(won, word):
    def run(noise):
        gains = [0.1 + noise if i < won else -0.1 + noise for i in range(4)]
        return {
            "tasks": list("abcd"), "zero_shot": [0.5 + gain for gain in gains],
            "probe": [0.5] * 4, "chance": [0.1] * 4,
        }  # fmt: skip

    verdict = tasks.judge(measured_of(tasks.Config(), *map(run, (-0.01, 0, 0.01))))
    assert verdict.word == word
    assert f"ahead on {won} of 4" in verdict.because


# -- 21, prompt learning ---------------------------------------------------------------------------


def test_prompt_learning_runs_whole(tmp_path):
    plan = Plan(2, 4, learning_rate=2e-3, warmup=1, weight_decay=0.0)
    config = prompt_learning.Config(SHAPES, shots=2, copies=1, splits=2, plan=plan)
    measured = runs_whole(prompt_learning, config, tmp_path)
    assert len(measured.runs[0]) == 6


def test_base_and_new_classes_have_nothing_in_common():
    config = prompt_learning.Config(shots=2, copies=3, splits=2)
    for split in prompt_learning._splits(emoji_world.new_model(0), config, 0):
        assert not set(split.names["base"]) & set(split.names["new"])
        assert {name: len(part) for name, part in split.names.items()} == {"base": 6, "new": 6}
        for vectors, targets in (split.train, *split.tests.values()):
            assert len(vectors) == len(targets)
            assert targets.bincount().tolist() == [len(targets) // 6] * 6


def learning_run(base, new, noise):
    written = {"written_base": 0.7, "written_new": 0.7}
    return written | {
        "coop_base": base + noise, "coop_new": 0.6, "cocoop_base": base, "cocoop_new": new + noise,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("base", "new", "word"), [(0.8, 0.68, HOLDS), (0.8, 0.55, IN_PART), (0.65, 0.55, FAILS)]
)
def test_prompt_learning_is_judged_by_base_and_new_classes(base, new, word):
    runs = [learning_run(base, new, noise) for noise in (-0.01, 0, 0.01)]
    verdict = prompt_learning.judge(measured_of(prompt_learning.Config(), *runs))
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(new - 0.6)
