"""The experiments that look inside and build on top: heat maps, backbone, guidance, referring."""

from dataclasses import asdict, replace
from random import Random

import pytest
import torch
from torch.nn import functional as F

from clip_lab.data.scene import COLOURS, Thing, concatenate, make_scene
from clip_lab.data.shape_drawing import COLOUR_TABLE, SIZE_TABLE, draw
from clip_lab.experiments import scene_tests
from clip_lab.experiments.caption_head import says, train_head
from clip_lab.experiments.claims import backbone, guidance, heat_maps, referring
from clip_lab.experiments.experiment import Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured
from clip_lab.experiments.world import Shared, new_model
from clip_lab.heads.captions import CaptionHead, token_states
from clip_lab.heads.saying import say
from clip_lab.interpret import ascent
from clip_lab.interpret.referring import MARGIN, by_crop, by_rule, crops
from clip_lab.interpret.segmentation import NOTHING, best_threshold, mean_iou, segment
from clip_lab.model.text import TextTransformer

TINY = Shared("fine_vit", plan=Plan(steps=2, batch=16, warmup=1))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path))


def made_up(config, **values) -> Measured:
    """Three seeds that differ a little."""
    runs = tuple(
        {name: value + 0.001 * seed for name, value in values.items()} for seed in range(3)
    )
    return Measured(asdict(config), (0, 1, 2), runs)


def end_to_end(module, config):
    """Two seeds of the same names and shapes, the same numbers again, a verdict and a figure."""
    for seed in range(3):
        config.model.encoder(seed)  # trained once; from here on all come from the same file
    runs = tuple(module.measure(config, seed) for seed in (0, 1))
    assert runs[0].keys() == runs[1].keys()
    assert module.measure(config, 0) == runs[0]
    measured = Measured(asdict(config), (0, 1), runs)
    assert module.judge(measured).because
    figure = module.draw_figure(measured)
    assert figure.get_label() and figure.axes
    return measured


# -- claim 23: heat maps --------------------------------------------------------------------------


def test_heat_maps_run_from_end_to_end_and_on_a_published_model():
    config = heat_maps.Config(TINY, pictures=6)
    measured = end_to_end(heat_maps, config)
    subject = Subject(new_model("vit"))
    other = heat_maps.measure_model(config, 0, subject)
    assert other.keys() == measured.runs[0].keys()


def test_a_map_of_the_named_object_alone_scores_full_marks(monkeypatch):
    """The truth as a heat map: every method that returns it is right everywhere."""
    scenes, own = heat_maps.asked(8, 0)
    truth = heat_maps.masks(scenes, 32)[torch.arange(8), own].float()
    monkeypatch.setattr(heat_maps, "maps_of", lambda *_: truth)
    measured = heat_maps._localise(new_model("fine_vit"), 8, 0)
    assert measured["raw_pointing"] == 1 and measured["raw_overlap"] == 1
    assert measured["raw_other"] == 0 and 0 < measured["guess_pointing"] < 0.5


def test_each_picture_gets_the_map_of_its_own_text():
    encoder, (scenes, own) = new_model("fine_vit"), heat_maps.asked(5, 0)
    pictures, texts = draw(scenes, 32), heat_maps.names(scenes, own)
    for method in heat_maps.METHODS:
        maps = heat_maps.maps_of(method, encoder, pictures, texts)
        labels = [texts[3]] if method == heat_maps.PER_TEXT else heat_maps.LABELS
        alone = heat_maps.METHODS[method](encoder, pictures[3:4], labels)
        assert torch.allclose(maps[3], alone[0, labels.index(texts[3])], atol=1e-5)


def test_the_rule_of_the_heat_maps_tells_three_cases_apart():
    scores = dict(guess_pointing=0.1, guess_overlap=0.1, relevance_pointing=0.5)

    def word(surgery, raw, surgery_iou, raw_iou):
        values = scores | dict(surgery_pointing=surgery, raw_pointing=raw)
        values |= dict(surgery_overlap=surgery_iou, raw_overlap=raw_iou)
        runs = made_up(heat_maps.Config(), **values).runs
        # Each seed's sides differ by a little of their own.
        moved = tuple(run | {"raw_pointing": raw, "raw_overlap": raw_iou} for run in runs)
        return heat_maps.judge(Measured({}, (0, 1, 2), moved)).word

    assert word(0.8, 0.5, 0.4, 0.2) == HOLDS
    assert word(0.8, 0.5, 0.2, 0.4) == IN_PART
    assert word(0.5, 0.8, 0.2, 0.4) == FAILS


# -- claim 26: a backbone -------------------------------------------------------------------------


def test_the_backbone_runs_from_end_to_end():
    config = backbone.Config(TINY, Plan(steps=2, batch=8, warmup=1), captioned=24, pictures=24)
    end_to_end(backbone, config)


def backbone_scores(gain):
    chance = dict(colours_chance=0.1, shapes_chance=0.1, captions_blind=0.05, striped_blind_f1=0.3)
    chance |= dict(red_blind_f1=0.2, recommended_chance=0.1)
    ours = ("colours_surgery", "shapes_surgery", "captions_seeing", "striped_f1", "red_f1")
    runs = made_up(backbone.Config(), **{name: 0.3 + gain for name in (*ours, "recommended")}).runs
    return tuple(run | chance for run in runs)


@pytest.mark.parametrize("gain, word", [(0.3, HOLDS), (-0.05, IN_PART), (-0.3, FAILS)])
def test_the_rule_of_the_backbone(gain, word):
    assert backbone.judge(Measured({}, (0, 1, 2), backbone_scores(gain))).word == word


def test_a_caption_is_right_where_it_names_colour_and_shape_in_any_words():
    thing = Thing("circle", "grey")
    assert says("a small gray disc", thing) and says("grey circle", thing)
    assert not says("a small gray disco", thing)
    assert not says("a small circle", thing)
    assert not says("a red circle", thing)


def test_f1_by_hand():
    flagged, true = torch.tensor([1, 1, 1, 0, 0]).bool(), torch.tensor([1, 0, 0, 1, 0]).bool()
    assert backbone.f1(flagged, true) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    nothing = torch.zeros(5, dtype=torch.bool)
    assert backbone.f1(nothing, true) == (0, 0, 0)


def test_the_true_labels_lie_where_the_objects_are():
    left, right = Thing("square", "red", x=0.25), Thing("circle", "blue", x=0.75)
    scenes = make_scene(left, right)
    truth = backbone.truth_of(scenes, scenes.colour)[0]
    assert truth[16, 8] == 0 and truth[16, 24] == 4 and truth[2, 2] == NOTHING
    assert set(truth.unique().tolist()) == {NOTHING, 0, 4}


def test_a_caption_head_says_what_it_was_taught_to_say():
    """Eight pictures' vectors and their captions by heart: said again word for word."""
    encoder = new_model("vit")
    texts = [f"a {c} {s}" for c in ("red", "blue") for s in ("circle", "star", "heart", "drop")]
    vectors = F.normalize(torch.randn(8, encoder.embed_dim), dim=-1)
    plan = Plan(steps=120, batch=16, learning_rate=5e-3, warmup=10)
    head = train_head(encoder, vectors, encoder.tokenizer(texts), plan, 0)
    assert isinstance(encoder.model.text, TextTransformer)
    said = say(head, encoder.model.text, vectors[:, None], encoder.tokenizer.start)
    assert [encoder.tokenizer.decode(row) for row in said.tolist()] == texts


def test_what_is_said_is_the_likeliest_word_each_time():
    encoder = new_model("vit")
    text = encoder.model.text
    assert isinstance(text, TextTransformer)
    head = CaptionHead(encoder.embed_dim, replace(text.config, layers=1)).eval()
    places = torch.randn(3, 1, encoder.embed_dim)
    said = say(head, text, places, encoder.tokenizer.start)
    whole = said.clone()
    whole[:, -1] = text.config.end_token
    logits = head(places, token_states(text, whole))
    for row in range(3):
        ends = (said[row] == text.config.end_token).nonzero()
        length = int(ends[0]) if len(ends) else said.shape[1]
        chosen = logits[row].argmax(dim=-1)[: min(length, logits.shape[1]) - 1]
        assert torch.equal(chosen, said[row, 1 : 1 + len(chosen)])


# -- segmentation ---------------------------------------------------------------------------------


def test_each_pixel_gets_the_highest_label_or_nothing():
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 0, 0, 0], maps[0, 1, 1, 1] = 1.0, 2.0
    found = segment(maps, 2, 0.5)
    assert found[0].tolist() == [[0, NOTHING], [NOTHING, 1]]


def test_mean_iou_by_hand():
    truth = torch.tensor([[[0, 0], [1, NOTHING]]])
    found = torch.tensor([[[0, 1], [1, 1]]])
    assert mean_iou(found, truth, 3) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert mean_iou(truth, truth, 3) == 1
    assert mean_iou(torch.full_like(truth, NOTHING), truth, 3) == 0


def test_the_threshold_tells_objects_from_nothing():
    truth = torch.full((4, 8, 8), NOTHING)
    truth[:, 2:5, 2:5] = 1
    maps = 0.2 * torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    maps[:, 1, 2:5, 2:5] += 1
    cut = best_threshold(maps, truth)
    assert mean_iou(segment(maps, 8, cut), truth, 2) == 1


# -- claim 25: guidance ---------------------------------------------------------------------------


def test_guidance_runs_from_end_to_end():
    config = guidance.Config(
        replace(TINY, tower="vit"), 6, 2, 1, 32, Plan(steps=2, batch=8, warmup=1)
    )
    end_to_end(guidance, config)


@pytest.mark.parametrize(
    "named, cosine, word", [(0.6, 0.8, HOLDS), (0.6, 0.2, IN_PART), (0.1, 0.2, FAILS)]
)
def test_the_rule_of_guidance(named, cosine, word):
    values = dict(guided_named=named, guided_all=named, prior_cosine=cosine, prior_found=0.5)
    fixed = dict(chosen_named=0.2, chosen_all=0.2, text_cosine=0.5, text_found=0.5)
    runs = tuple(run | fixed for run in made_up(guidance.Config(), **values).runs)
    assert guidance.judge(Measured({}, (0, 1, 2), runs)).word == word


def test_the_slope_is_the_drawings_own():
    """Against finite differences, through picture and model; in 64 bits."""
    encoder = new_model("vit")
    encoder.model.double()
    free = torch.zeros(1, 7, dtype=torch.float64)
    free[0, 4:] = torch.tensor([1.0, -1, -1])
    wanted = encoder.encode_texts(["a red circle"]).double()

    def likeness(numbers):
        with torch.set_grad_enabled(numbers.requires_grad):
            bounded = ascent._bounded(numbers)
            return ascent.cosines(encoder, bounded, torch.tensor([[0, 0]]), wanted).sum()

    moving = free.clone().requires_grad_()
    (slope,) = torch.autograd.grad(likeness(moving), moving)
    for place in (2, 4):  # its radius and its red
        step = torch.zeros_like(free)
        step[0, place] = 1e-5
        by_difference = (likeness(free + step) - likeness(free - step)) / 2e-5
        assert slope[0, place].item() == pytest.approx(by_difference.item(), rel=1e-3, abs=1e-7)


def test_moving_uphill_raises_the_likeness_and_keeps_within_bounds():
    encoder, texts = new_model("vit"), ["a large red circle", "a small blue star"]
    starts = [ascent.ascend(encoder, texts, torch.Generator().manual_seed(0), steps=0)]
    moved = ascent.ascend(encoder, texts, torch.Generator().manual_seed(0), steps=15)
    assert (moved.cosines > starts[0].cosines).all()
    assert (moved.numbers >= ascent.LEAST).all() and (moved.numbers <= ascent.MOST).all()
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


def test_a_drawing_is_called_by_its_nearest_colour_and_size():
    numbers = torch.full((1, 7), 0.5)
    numbers[0, 2], numbers[0, 4:7] = SIZE_TABLE[2] - 0.02, COLOUR_TABLE[4] + 0.03
    drawings = ascent.Drawings(numbers, torch.tensor([[3, 0]]), torch.zeros(1))
    assert drawings.attributes() == [("star", "blue", "large")]


def test_one_of_each_is_one_of_each_in_order():
    scenes = guidance.one_of_each(torch.Generator().manual_seed(0))
    names = [(t.shape, t.colour, t.size) for (t,) in scenes.things()]
    assert names == guidance.EVERYTHING and len(names) == 396


# -- claim 30: referring --------------------------------------------------------------------------


def test_referring_runs_from_end_to_end():
    end_to_end(referring, referring.Config(TINY, pictures=12))


@pytest.mark.parametrize("share, word", [(0.8, HOLDS), (0.45, IN_PART), (0.2, FAILS)])
def test_the_rule_of_referring(share, word):
    names = ("name_crop", "name_map", "place_map", "place_rule")
    names += tuple(f"ask_{question}" for question in referring.QUESTIONS)
    measured = made_up(referring.Config(), **{name: share for name in names})
    assert referring.judge(measured).word == word


def test_a_crop_shows_its_own_object_in_the_middle():
    one = make_scene(Thing("square", "red", "small", x=0.2, y=0.3), background="white")
    two = make_scene(Thing("circle", "blue", "large", x=0.6, y=0.6), background="black")
    red, blue = crops(concatenate([one, two]), 32)[:, 0]
    assert torch.allclose(red[:, 16, 16], COLOUR_TABLE[0], atol=0.02)
    assert torch.allclose(blue[:, 16, 16], COLOUR_TABLE[4], atol=0.02)
    # The square's half side is √½ radii, of MARGIN that a half crop holds: 16 px · 0.505 ≈ 8.
    inside = (red[1] < 0.5).double().mean().sqrt() * 32
    assert inside == pytest.approx(16 * 2 * 0.7071 / MARGIN, abs=1.5)


def test_twins_are_alike_and_only_one_is_where_the_phrase_says():
    scenes, meant = referring.twins(20, 0)
    assert len(scenes) == 20 and set(meant.tolist()) == {0, 1}
    for things, own in zip(scenes.things(), meant.tolist(), strict=True):
        right, wrong, third = things[own], things[1 - own], things[2]
        assert (right.shape, right.colour) == (wrong.shape, wrong.colour)
        assert (right.shape, right.colour) != (third.shape, third.colour)
        across = scene_tests.relation(right, third) in ("left", "right")
        one, other = ((t.x - third.x) if across else (t.y - third.y) for t in (right, wrong))
        assert one * other < 0


def test_the_rule_picks_the_twin_on_the_said_side():
    scenes = make_scene(
        Thing("circle", x=0.2, y=0.5), Thing("circle", x=0.8, y=0.4), Thing("star", x=0.5, y=0.45)
    )
    both = concatenate([scenes] * 4)
    places = ["left", "right", "above", "below"]
    picked = by_rule(both, torch.tensor([2] * 4), places)
    assert picked.tolist() == [0, 1, 1, 0]


def test_the_right_object_is_picked_by_a_perfect_model(monkeypatch):
    """One that sees the colour of a crop's middle and knows the colours' names."""
    encoder, names = new_model("vit"), list(COLOURS)

    def see(pictures, batch_size):
        nearest = torch.cdist(pictures[:, :, 16, 16], COLOUR_TABLE).argmin(dim=1)
        return F.one_hot(nearest, len(names)).float()

    def read(texts):
        places = torch.tensor([names.index(text.split()[1]) for text in texts])
        return F.one_hot(places, len(names)).float()

    monkeypatch.setattr(encoder, "encode_images", see)
    monkeypatch.setattr(encoder, "encode_texts", read)
    things = [Thing("square", c, x=x) for c, x in (("red", 0.2), ("blue", 0.5), ("green", 0.8))]
    scenes = concatenate([make_scene(*things)] * 3)
    picked = by_crop(encoder, scenes, ["a red square", "a blue one", "a green one"])
    assert picked.argmax(dim=1).tolist() == [0, 1, 2]


def test_captions_of_tastes_come_from_the_grammar():
    scenes = backbone._singles(3, 0, 3)
    assert len(backbone.captions(scenes, Random(0))) == 3
