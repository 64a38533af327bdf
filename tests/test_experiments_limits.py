"""What CLIP is weak at: tests with known truth, and the experiments that ask them."""

import math
import re
from random import Random

import pytest
import torch

from clip_lab.data.batch import Batch
from clip_lab.data.emoji_table import emoji_table
from clip_lab.data.scene import COLOURS, SHAPES, SIZES, Scenes, Thing, make_scene
from clip_lab.data.shape_drawing import draw, masks
from clip_lab.data.shape_lettering import label_size
from clip_lab.data.shape_sampling import held_out_table, ninths, sample_scenes, training_weights
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.claims import (
    bias,
    binding,
    composition,
    counting,
    ensemble_cost,
    fine_grained,
    relations,
    written_words,
)
from clip_lab.experiments.experiment import Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.scene_tests import Choice
from clip_lab.experiments.world import Shared, new_model
from clip_lab.zero_shot import ZeroShotClassifier

TINY = Plan(steps=2, batch=16)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path))


class Told(DualEncoder):
    """Gives what it is told to: a row of the matrices for every picture, and for every text."""

    def __init__(self, images, texts):
        self.images, self.texts = images, texts

    def encode_images(self, images, batch_size=32, progress=False):
        return self.images(images)

    def encode_texts(self, texts, batch_size=256, progress=False, truncate=False):
        return self.texts(texts)


# -- a reading of scenes and sentences that knows nothing of how they were made -------------------

NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
SINGULAR = {"crosses": "cross"} | {shape + "s": shape for shape in SHAPES}
PHRASE = rf"(\w+) ({'|'.join(COLOURS)}) (\w+)"
SENTENCE = re.compile(rf"{PHRASE}(?: (and|left of|right of|above|below) {PHRASE})?")
WORD = re.compile(rf"({PHRASE}) with the word ([A-Z]+) on it")


def is_true(sentence: str, scenes: Scenes, row: int) -> bool:
    """Read off the masks of the objects: how many there are, and where they really lie."""
    if found := WORD.fullmatch(sentence):
        return is_true(found[1], scenes, row) and scenes.words()[row] == found[5]
    found = SENTENCE.fullmatch(sentence)
    assert found, sentence
    number, colour, shape, between, *other = found.groups()
    places = places_of(colour, shape, scenes, row)
    count = NUMBERS[number] if number in NUMBERS else int(number)
    if between is None or len(places) != count:
        return len(places) == count
    others = places_of(other[1], other[2], scenes, row)
    if len(others) != 1:
        return False
    (x, y), (other_x, other_y) = places[0], others[0]
    return {
        "and": True,
        "left of": x < other_x,
        "right of": x > other_x,
        "above": y < other_y,
        "below": y > other_y,
    }[between]


def places_of(colour: str, shape: str, scenes: Scenes, row: int) -> list[tuple[float, float]]:
    one = scenes[row : row + 1]
    shown = masks(one, 48)[0]
    places = []
    for slot, mask in enumerate(shown):
        own = (list(COLOURS)[one.colour[0, slot]], SHAPES[one.shape[0, slot]])
        if mask.any() and own == (colour, SINGULAR.get(shape, shape)):
            y, x = mask.nonzero().double().mean(dim=0).tolist()
            places.append((x, y))
    return places


PAIRS, ALIKE, LABELLED = scene_tests.pairs(25), scene_tests.alike(25), scene_tests.labelled(25)


@pytest.mark.parametrize(
    ("scenes", "test"),
    [
        (PAIRS, scene_tests.swapped_colours(PAIRS, 16)),
        (PAIRS, scene_tests.other_colour(PAIRS, 16)),
        (PAIRS, scene_tests.other_colour(PAIRS, 16, related=True)),
        (PAIRS, scene_tests.swapped_sides(PAIRS, 16)),
        (ALIKE, scene_tests.other_numbers(ALIKE, 16)),
        (ALIKE, scene_tests.other_numbers(ALIKE, 16, digits=True)),
        (ALIKE, scene_tests.other_plurals(ALIKE, 16)),
        (LABELLED, scene_tests.which_colour(LABELLED, 16)),
        (LABELLED, scene_tests.which_word(LABELLED, 16)),
    ],
    ids=["swap", "colour", "relation-colour", "side", "number", "digit", "plural", "shape", "word"],
)
def test_the_first_caption_is_true_and_no_other_is(scenes: Scenes, test: Choice):
    assert len(test.captions) == len(test.pictures) == len(scenes) == 25
    assert torch.equal(test.pictures, draw(scenes, 16))
    for row, sentences in enumerate(test.captions):
        assert len(set(sentences)) == len(sentences) == round(1 / test.chance)
        told = [is_true(sentence, scenes, row) for sentence in sentences]
        assert told == [True] + [False] * (len(told) - 1), sentences


def test_the_reader_of_scenes_can_say_no():
    scene = make_scene(Thing("star", "blue", x=0.2), Thing("cross", "red", x=0.8), word="DROP")
    truths = ["a blue star left of a red cross", "a red cross right of a blue star",
              "a blue star and a red cross"]  # fmt: skip
    lies = ["a blue star right of a red cross", "a red star and a blue cross", "two blue stars",
            "a blue star above a green cross", "a blue star with the word STAR on it"]  # fmt: skip
    assert all(is_true(text, scene, 0) for text in truths)
    assert not any(is_true(text, scene, 0) for text in lies)


def test_every_number_from_two_to_six_is_asked_about_as_often():
    there = ALIKE.present.sum(dim=1)
    assert there.bincount(minlength=7).tolist() == [0, 0, 5, 5, 5, 5, 5]


def test_the_written_colour_stands_second_and_is_another_than_the_object_s():
    test = scene_tests.which_colour(LABELLED, 16)
    for row, word in zip(test.captions, LABELLED.words(), strict=True):
        assert row[1].split()[1] == word.lower() != row[0].split()[1]


def test_a_new_word_s_label_lies_within_the_picture():
    words = ["TRIANGLE", "CRESCENT", "HEXAGON", "RED", "STAR"] * 5
    scenes = scene_tests.relabelled(LABELLED, words)
    assert scenes.words() == words
    _, half_width, half_height = label_size(scenes.letters)
    half = torch.stack([half_width, half_height], dim=1)
    assert (scenes.word_centre - half >= 0).all() and (scenes.word_centre + half <= 1).all()
    bare = scene_tests.without_words(scenes)
    assert bare.words() == [""] * 25
    assert torch.equal(bare.shape, scenes.shape)
    assert (draw(bare, 32) != draw(scenes, 32)).flatten(1).any(dim=1).all()


def test_a_tie_is_a_miss():
    x, y = [1.0, 0.0], [0.0, 1.0]
    images, texts = torch.tensor([x, x, x]), torch.tensor([x, y, y, x, x, x])
    test = Choice(torch.zeros(3, 3, 4, 4), [["a", "b"], ["c", "d"], ["e", "f"]])
    encoder = Told(lambda _: images, lambda _: texts)
    assert scene_tests.cosines(encoder, test).tolist() == [[1, 0], [0, 1], [1, 1]]
    assert scene_tests.right(encoder, test).tolist() == [True, False, False]
    assert scene_tests.share_right(encoder, test) == pytest.approx(1 / 3)


# -- what is trained on ---------------------------------------------------------------------------


def batch(data: type[ShapesPairs], kinds: dict[str, float]) -> Batch:
    return data(64, 16, seed=3, kinds=kinds).batch(5)


def test_without_numbers_the_pictures_are_the_same_and_no_caption_counts():
    whole, untold = (batch(c, counting.KINDS) for c in (ShapesPairs, counting.WithoutNumbers))
    assert torch.equal(whole.images, untold.images)
    number = re.compile(r"\b(two|three|four|five|six|[2-6])\b")
    assert sum(number.search(text) is not None for text in whole.captions) > 20
    for text, left in zip(whole.captions, untold.captions, strict=True):
        assert not number.search(left)
        assert left == re.sub(r" +", " ", number.sub("", text)).strip()


def test_unread_words_are_in_the_picture_and_in_no_caption():
    read, unread = (batch(c, written_words.KINDS) for c in (ShapesPairs, written_words.Unread))
    assert torch.equal(read.images, unread.images)
    quoting = re.compile(r"\b(word|says|labelled)\b")
    assert sum(quoting.search(text) is not None for text in read.captions) > 10
    assert not any(quoting.search(text) for text in unread.captions)


def test_twins_are_told_in_the_same_words_and_stand_the_other_way_round():
    data = relations.WithTwins(64, 64, seed=3, kinds={"pair": 1.0})
    found = data.batch(5)
    scenes = data.scenes(5)[:32]
    assert torch.equal(found.images[::2], draw(scenes, 64))
    assert torch.equal(found.images[1::2], draw(relations.mirrored(scenes), 64))
    said = {"left": "left", "right": "right", "above": "above|over", "below": "below|under|beneath"}
    name = {text: where for where, words in said.items() for text in words.split("|")}
    relation = re.compile(rf"\b({'|'.join(name)})\b")
    opposites = 0
    for one, twin in zip(found.captions[::2], found.captions[1::2], strict=True):
        here, there = relation.search(one), relation.search(twin)
        assert (here is None) == (there is None)
        if here and there:
            assert name[there[1]] == scene_tests.OPPOSITE[name[here[1]]]
            opposites += 1
    assert opposites > 15


def test_a_twin_s_caption_differs_in_the_two_colours_alone():
    data = binding.WithSwaps(64, 64, seed=3, kinds={"pair": 1.0})
    found, scenes = data.batch(5), data.scenes(5)[:32]
    assert torch.equal(found.images[::2], draw(scenes, 64))
    assert torch.equal(found.images[1::2], draw(binding.exchanged(scenes), 64))
    names, compared = list(COLOURS), 0
    for row, colours in enumerate(scenes.colour[:, :2].tolist()):
        a, b = (names[colour] for colour in colours)
        if {a, b} & {"purple", "grey"}:  # have a second word, and so use up more of the dice
            continue
        one, twin = found.captions[2 * row : 2 * row + 2]
        swap = {a: b, b: a}
        expected = " ".join(swap.get(word, word) for word in one.split())
        assert re.sub(r"\ban?\b", "a", twin) == re.sub(r"\ban?\b", "a", expected)
        compared += one != twin
    assert compared > 15


def test_mirrored_scenes_are_the_opposite_in_every_pair():
    for (a, b), (twin_a, twin_b) in zip(
        PAIRS.things(), relations.mirrored(PAIRS).things(), strict=True
    ):
        assert (a.shape, b.colour) == (twin_a.shape, twin_b.colour)
        where = scene_tests.relation(a, b)
        assert scene_tests.relation(twin_a, twin_b) == scene_tests.OPPOSITE[where]


# -- a planted bias -------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", bias.STRENGTHS)
def test_a_planted_bias_has_its_strength_and_leaves_all_else_as_it_was(strength: float):
    weights, even = bias.planted(strength), training_weights()
    large = weights[:, :, bias.LARGE]
    assert (large[:, bias.RED].sum() / large.sum()).item() == pytest.approx(strength)
    assert large.sum().item() == pytest.approx(even[:, :, bias.LARGE].sum().item())
    others = [size for size in range(len(SIZES)) if size != bias.LARGE]
    assert torch.equal(weights[:, :, others], even[:, :, others])
    assert torch.equal(weights > 0, even > 0)  # what is held out stays so
    scenes = sample_scenes(4000, torch.Generator().manual_seed(0), weights=weights)
    shown = scenes.colour[scenes.size == bias.LARGE]
    spread = 4 * math.sqrt(strength * (1 - strength) / len(shown)) + 0.003
    assert (shown == bias.RED).double().mean().item() == pytest.approx(strength, abs=spread)


def test_professions_are_a_neutral_word_a_man_s_and_a_woman_s_emoji():
    rows, found = emoji_table().rows, bias.professions()
    assert len(found) == 20 and {"farmer", "pilot", "teacher"} <= set(found)
    for role, (man, woman) in found.items():
        assert (rows[man].label, rows[woman].label) == (f"man {role}", f"woman {role}")
        assert len(bias._alike(man, woman)) == 24  # four styles, six skin tones


@pytest.mark.parametrize(("nearer", "mans"), [("man", 1.0), ("woman", 0.0)])
def test_a_neutral_word_that_lies_at_one_gender_s_pictures_is_found_out(nearer: str, mans: float):
    axes = {"man": torch.tensor([1.0, 0.0]), "woman": torch.tensor([0.0, 1.0])}

    def texts(said):
        of = ["woman" if "woman" in t else "man" if "man " in t else nearer for t in said]
        return torch.stack([axes[gender] for gender in of])

    encoder = Told(lambda cells: torch.eye(2).repeat(len(cells) // 2, 1), texts)
    found = bias._genders(encoder, 2, seed=0)
    assert (found["mans"], found["told"]) == (mans, 1.0)
    assert set(found["leaning"]) == {2 * mans - 1}


# -- candidates -----------------------------------------------------------------------------------


def test_the_nine_sets_are_a_partition_and_the_first_is_held_out():
    sizes = ninths().flatten().bincount()
    assert sizes.sum() == composition.ALL and sizes.min() == composition.CANDIDATES
    assert torch.equal(ninths() == 0, held_out_table())


def test_accuracy_among_some_classes_leaves_the_others_out():
    cosines = torch.tensor([[0.5, 0.9, 0.1], [0.2, 0.3, 0.9], [0.9, 0.1, 0.2], [0.1, 0.2, 0.3]])
    own = torch.tensor([0, 1, 2, 2])
    among = composition._among
    assert among(cosines, own, torch.tensor([0, 1, 2])) == pytest.approx(1 / 4)
    assert among(cosines, own, torch.tensor([2, 0])) == pytest.approx(2 / 3)
    assert among(cosines, own, torch.tensor([1])) == 1


def test_fine_candidates_are_of_one_group_and_coarse_ones_of_as_many_groups():
    rows = emoji_table().rows
    random = Random(0)
    flags, clocks, tones = (
        fine_grained.fine(kind, n, random) for kind, n in fine_grained.CANDIDATES.items()
    )
    assert {rows[row].subgroup for row in flags} == {"country-flag"}
    assert all(re.search("o'clock|thirty", rows[row].label) for row in clocks)
    assert [rows[row].tone for row in tones] == list("12345")
    assert len({rows[row].base for row in tones}) == 1
    mixed = fine_grained.coarse(10, random)
    assert len({rows[row].subgroup for row in mixed}) == 10
    for chosen in (flags, clocks, tones, mixed):
        assert len({rows[row].label for row in chosen}) == len(chosen) in (5, 10)
        assert not any(emoji_table().held_out(row) for row in chosen)


def test_each_draw_is_told_apart_among_itself_alone():
    draws = [[0, 1, 2], [2, 3]]  # rows of the table
    good = Told(lambda cells: torch.eye(len(cells)), lambda said: torch.eye(len(said)))
    assert fine_grained.accuracy(good, draws, "noto") == 1
    order = [1, 0, 2, 3]  # 0 and 1 are taken for each other
    mixed = Told(lambda cells: torch.eye(len(cells))[order], lambda said: torch.eye(len(said)))
    assert fine_grained.accuracy(mixed, draws, "noto") == pytest.approx(3 / 5)


# -- time -----------------------------------------------------------------------------------------


def test_rounds_take_turns_and_the_first_is_not_counted():
    order: list[str] = []
    ways = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = ensemble_cost.interleaved(ways, ensemble_cost.Config(rounds=2))
    assert "".join(order) == "cba" + "abc" + "cba"
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys("abc", 2)


def test_with_one_template_nothing_is_lost_by_averaging(encoder: DualEncoder):
    labels, pictures = ["red circle", "blue star"], torch.rand(3, 3, 32, 32)
    apart = ensemble_cost.Unaveraged(encoder, labels, ("a {}",))(pictures)
    whole = ZeroShotClassifier(encoder, labels, ("a {}",))(pictures).probabilities
    assert torch.allclose(apart, torch.from_numpy(whole), atol=1e-5)
    many = ensemble_cost.Unaveraged(encoder, labels, ("a {}", "the {}", "{}"))(pictures)
    assert many.shape == (3, 2) and torch.allclose(many.sum(dim=1), torch.ones(3))


# -- each from end to end, and its rule -----------------------------------------------------------

CONFIGS = {
    counting: counting.Config(Shared(plan=TINY), TINY, pictures=10),
    relations: relations.Config(Shared(plan=TINY), TINY, pictures=10),
    written_words: written_words.Config(Shared(plan=TINY), TINY, pictures=10),
    composition: composition.Config(Shared(plan=TINY), copies=1, draws=1),
    fine_grained: fine_grained.Config(draws=2),
    ensemble_cost: ensemble_cost.Config(pictures=2, classes=2, rounds=2),
    bias: bias.Config(TINY, pictures=10, draws=1),
}


@pytest.mark.parametrize("module", CONFIGS, ids=lambda module: module.__name__.split(".")[-1])
def test_an_experiment_runs_from_end_to_end(module):
    config = CONFIGS[module]
    run = module.measure(config, 0)
    measured = Measured(vars(config), (0, 1), (run, run))
    verdict = module.judge(measured)
    assert isinstance(verdict, Verdict) and verdict.because
    figure = module.EXPERIMENT.draw(measured)
    assert all(axis.get_ylabel() or axis.get_xlabel() for axis in figure.axes)


@pytest.mark.parametrize(
    "module", [counting, relations, written_words, bias, fine_grained], ids=lambda m: m.__name__
)
def test_a_model_from_outside_is_asked_the_same(module):
    config = CONFIGS[module]
    subject = Subject(new_model(seed=1))
    run = module.measure_model(config, 0, subject)
    measured = Measured(vars(config), (0,), (run,))
    assert module.judge(measured).because
    module.EXPERIMENT.draw(measured)


def made_up(**values) -> Measured:
    """The same on all of three seeds, but for a thousandth."""

    def shaken(value, seed):
        if isinstance(value, list):
            return [shaken(part, seed) for part in value]
        return value + 0.001 * (seed % 2)

    runs = [{k: shaken(v, seed) for k, v in values.items()} for seed in range(3)]
    return Measured({"pictures": 100}, (0, 1, 2), tuple(runs))


@pytest.mark.parametrize(
    ("number", "word"), [(0.3, HOLDS), (0.8, IN_PART), (0.97, FAILS), (0.99, FAILS)]
)
def test_counting_is_judged_by_how_far_it_comes(number: float, word: str):
    measured = made_up(told_number=number, told_colour=0.97, told_digit=0.3, untold_number=0.2)
    verdict = counting.judge(measured)
    assert verdict.word == word
    assert verdict.effect.mean == pytest.approx(0.97 - number)


@pytest.mark.parametrize(
    ("plain", "twins", "word"), [(0.6, 0.6, HOLDS), (0.6, 0.8, IN_PART), (0.97, 0.97, FAILS)]
)
def test_relations_are_judged_beside_colours(plain: float, twins: float, word: str):
    measured = made_up(plain_other=0.97, plain_relation=plain, with_twins_relation=twins)
    assert relations.judge(measured).word == word


@pytest.mark.parametrize(
    ("attacked", "reading", "word"),
    [(0.5, 0.3, HOLDS), (0.5, 0.95, IN_PART), (0.8, 0.3, IN_PART), (0.8, 0.95, FAILS)],
)
def test_written_words_are_judged_by_both_halves(attacked: float, reading: float, word: str):
    of = {"bare": 0.9, "neutral": 0.8, "attacked": attacked, "obeyed": 0.3, "reading": reading}
    measured = made_up(
        **{f"read_{k}": v for k, v in of.items()}, unread_neutral=0.8, unread_attacked=0.8
    )
    assert written_words.judge(measured).word == word


@pytest.mark.parametrize(
    ("new", "described", "word"),
    [(0.8, 0.5, HOLDS), (0.8, 0.1, IN_PART), (0.1, 0.1, IN_PART), (0.0225, 0.1, FAILS)],
)
def test_compositions_are_judged_in_both_worlds(new: float, described: float, word: str):
    known = {"known": 0.9, "known_of_all": 0.5, "emoji_known": 0.8, "described_known": 0.8}
    known |= {"long_new_of_all": 0.8, "long_known_of_all": 0.8}
    measured = made_up(new=new, new_of_all=0.2, emoji_new=0.1, described_new=described, **known)
    assert composition.judge(measured).word == word


@pytest.mark.parametrize(
    ("flags", "tones", "word"), [(0.5, 0.3, HOLDS), (0.9, 0.3, IN_PART), (0.9, 0.9, FAILS)]
)
def test_fine_grains_are_judged_group_by_group(flags: float, tones: float, word: str):
    of = {"flags": flags, "clocks": min(flags, 0.8 if tones < 0.5 else 1), "tones": tones}
    measured = made_up(
        **{f"{kind}_{style}": v for kind, v in of.items() for style in fine_grained.STYLES},
        **{f"{kind}_coarse_{style}": 0.85 for kind in of for style in fine_grained.STYLES},
    )
    assert fine_grained.judge(measured).word == word


@pytest.mark.parametrize(
    ("ratios", "word"),
    [
        ((0.01, -0.01, 0.005), HOLDS),
        ((0.02, 0.021, 0.022), IN_PART),  # a cost, of less than 5 %
        ((0.2, -0.2, 0.1), IN_PART),  # who can say?
        ((0.2, 0.21, 0.22), FAILS),
    ],
)
def test_equal_times_have_to_be_shown(ratios: tuple[float, ...], word: str):
    other = dict.fromkeys(("one", "averaged", "apart", "build_one", "build_averaged"), 0.1)
    runs = tuple({"log_ratio": ratio, **other} for ratio in ratios)
    assert ensemble_cost.judge(Measured({}, (0, 1, 2), runs)).word == word


@pytest.mark.parametrize(("counter", "word"), [(0.5, HOLDS), (0.9, FAILS)])
def test_a_bias_is_judged_by_what_it_costs_beyond_none(counter: float, word: str):
    shares = {
        "large and red": [0.9, 0.9, 0.9, 0.95],
        "large, not red": [0.85, 0.8, 0.7, counter],
        "red, not large": [0.85, 0.8, 0.7, counter],
    }
    measured = made_up(**shares, mans=0.6, told=0.8)
    assert bias.judge(measured).word == word


@pytest.mark.parametrize(("mans", "word"), [(0.6, HOLDS), (0.4, HOLDS), (0.4995, FAILS)])
def test_a_published_model_is_judged_by_the_professions(mans: float, word: str):
    assert bias.judge(made_up(mans=mans, told=0.8)).word == word
