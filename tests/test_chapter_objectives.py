"""Chapter 14: its sentences against its measurements, its parts against the lab's."""

import math

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from course_run import Run, chapter, prose

from clip_lab import heads, losses
from clip_lab.evaluation import geometry
from clip_lab.experiments.claims.objectives import times_as_many
from clip_lab.experiments.report import results
from clip_lab.view.chapters import objectives as figures
from clip_lab.view.notebook_figures import describe

CHAPTER = chapter("14_contrast")


class TestRun(Run):
    """Stopped at each gap, and quick."""


def right(points) -> float:
    return points[-1][2]


# What the chapter says of its measurements


def test_what_it_says_of_the_published_claims(ran):
    found = results()
    objectives = found["objectives"]
    assert objectives.verdict.word == "holds in part"
    assert len(objectives.measured.seeds) == 12  # "twelve seeds"
    words = times_as_many(objectives.measured, "words", "contrast")
    assert words.above_zero  # "the contrast leads on the way"
    assert math.exp(words.mean) < 2  # "by far less" than 4
    assert ran["words_cost"].mean == pytest.approx(words.mean)
    ends = {name: objectives.measured[name][:, -1].mean() for name in objectives.measured.runs[0]}
    ends.pop("pairs")
    assert max(ends.values()) - min(ends.values()) < 0.03  # "in the end all three meet"
    assert not times_as_many(objectives.measured, "captions", "words").apart
    pairs = list(objectives.measured["pairs"][0])
    early = pairs.index(12_800)  # "words lag, as they did so early"
    assert (
        objectives.measured["words"].mean(0)[early] < objectives.measured["contrast"].mean(0)[early]
    )
    assert found["collapse"].verdict.word == "holds"
    assert found["collapse"].measured["distance_rank"][:, -1].mean() < 1.5
    sigmoid = found["sigmoid"]
    assert sigmoid.verdict.word == "does not hold here"
    assert sigmoid.measured.config["sweep"]["blocks"][0] == 2  # "with two captions"
    assert sigmoid.verdict.effects["sigmoid less InfoNCE with few"].below_zero
    assert found["contrast_and_caption"].verdict.word == "holds in part"


def test_the_best_bias_of_a_batch(ran):
    for n, low in ran["lowest"].items():
        assert float(low) == pytest.approx(-math.log(n - 1), abs=0.06)
        assert ran["prior_bias"](n) == pytest.approx(-math.log(n - 1))
        at_zero = ran["valleys"][n][200]
        assert at_zero == pytest.approx(n * math.log(2), rel=1e-4)
    assert round(ran["prior_bias"](22_027), 3) == -10  # open_clip#650's batch


def test_the_losses_that_have_a_no_learn_and_spread(ran):
    for name in ("contrast_points", "sigmoid_points"):
        assert right(ran[name]) > 0.3
        assert ran[name][-1][1] > 20
    assert abs(right(ran["contrast_points"]) - right(ran["sigmoid_points"])) < 0.12
    assert 0.05 < right(ran["word_points"]) < right(ran["contrast_points"]) - 0.1


def test_without_a_no_the_rank_falls_by_more_than_half_and_accuracy_with_it(ran):
    start = ran["contrast_points"][-1]
    for name in ("then distance", "then only yes"):
        points = ran["further"][name]
        assert points[0][:2] == pytest.approx((240, start[1]))
        assert points[-1][1] < 0.5 * start[1]
        assert points[-1][1] < points[3][1] < points[0][1]  # "on their way there"
        kept = right(points) / start[2]
        assert points[-1][1] / start[1] < kept < 0.9  # "the rank shows it better"


def test_hard_negatives_are_often_false(ran):
    share = (ran["twins"].sum() / ran["off"].sum()).item()
    assert share < 0.001
    assert ran["false_share"] > 100 * share  # "common just where the loss pushes hardest"
    assert ran["clean"] == 0


def test_what_each_mistake_does(ran):
    share = {name: k / n for name, (k, n) in ran["rows"].items()}
    wrong = ran["wrong_pairs"]
    assert abs(share["mean over N²"] - share["the paper's"]) < 0.03
    assert max(share["no bias"], share["τ = 1"], share["all three"]) < 0.5 * share["the paper's"]
    assert wrong["no bias"] < -0.2  # "away from all captions"
    assert wrong["τ = 1"] > 0.95  # "everything falls together"
    assert wrong["all three"] < -0.95  # "to opposite ends"
    model, _ = ran["broken"]["no bias"]
    seen, read = ran["vectors"](model, ran["test_pictures"], ran["test_bags"])
    assert (seen * read[ran["test"].targets]).sum(1).mean() < 0  # "matches included"


def test_in_all_of_them_the_loss_falls(ran):
    zero = torch.tensor(0.0)
    given = {
        "no bias": lambda i, t, s, b: ran["sigmoid_loss"](i, t, s, zero),
        "τ = 1": lambda i, t, s, b: ran["sigmoid_loss"](i, t, zero, b),
        "all three": lambda i, t, s, b: ran["sigmoid_loss"](i, t, zero, zero) / len(i),
    }
    for name, loss in given.items():
        with torch.no_grad():
            before, after = (
                loss(*ran["vectors"](m, ran["pictures"][:64], ran["bags"][:64]), *m["numbers"])
                for m in (ran["new_model"](), ran["broken"][name][0])
            )
        assert after < before


def test_adam_ignores_a_constant_factor_and_gradient_descent_does_not(ran):
    i = torch.nn.Parameter(F.normalize(torch.randn(8, 4), dim=1))
    t, s, b = F.normalize(torch.randn(8, 4), dim=1), torch.tensor(2.0), torch.tensor(-2.0)
    for kind, same in ((torch.optim.Adam, True), (torch.optim.SGD, False)):
        moved = []
        for factor in (1, 8):
            leaf = torch.nn.Parameter(i.detach().clone())
            descent = kind([leaf], lr=0.01)
            (ran["sigmoid_loss"](leaf, t, s, b) / factor).backward()
            descent.step()
            moved.append((leaf - i).detach())
        times = 1 if same else 8
        assert torch.allclose(moved[0], times * moved[1], rtol=1e-2, atol=1e-5)


def test_memory(ran):
    kept = list(ran["megabytes"].values())
    matrix = 2048**2 * 4 / 1e6
    assert kept[1] > kept[0] > matrix  # "more memory than InfoNCE, not less"
    assert kept[2] < 0.2 * kept[1]
    assert kept[3] < 0.2 * kept[0]
    whole, pieces = ran["whole"], ran["pieces"]
    assert torch.allclose(whole, pieces, atol=1e-6)
    first, _, _, tiled = ran["gradients"].values()
    assert torch.allclose(first, tiled, atol=1e-6)


def test_22_percent(ran):
    logits = torch.tensor([-1.2487, -8.8779, -10.9327])  # open_clip#716
    shares = logits.sigmoid()
    assert [round(100 * share, d) for share, d in zip(shares.tolist(), (0, 2, 3), strict=True)] == [
        22, 0.01, 0.002,
    ]  # fmt: skip
    assert round(float(shares[0] / shares[1]), -2) == 1600


def test_sources_are_linked():
    for source in (
        "DeepCORO_CLIP/issues/39",
        "big_vision/issues/115",
        "open_clip/issues/650",
        "open_clip/issues/716",
        "vsepp/issues/6",
        "2006.06666",
        "2008.01392",
        "1511.02251",
        "2303.15343",
        "2205.01917",
        "2005.10242",
    ):  # fmt: skip
        assert source in prose(CHAPTER)


# What is built, against the lab's own


def test_its_losses_are_the_labs_in_float64(ran):
    assert max(float(d.abs()) for d in ran["apart"].values()) < 1e-12
    dice = torch.Generator().manual_seed(4)
    i, t = (F.normalize(torch.randn(40, 12, generator=dice).double(), dim=1) for _ in "it")
    s, b, own = torch.tensor(2.0).double(), torch.tensor(-4.0).double(), torch.arange(40)
    lab = losses.sigmoid_loss(i, t, s, b, own, own)
    assert ran["sigmoid_loss"](i, t, s, b) == pytest.approx(float(lab), abs=1e-12)
    parts = sum(ran["chunk_loss"](i, t[k : k + 7], k, s, b) for k in range(0, 40, 7))
    assert parts == pytest.approx(float(lab), abs=1e-12)
    assert ran["effective_rank"](i) == pytest.approx(geometry.effective_rank(i), abs=1e-10)
    logits = torch.randn(5, 9, generator=dice).double()
    bag = (torch.rand(5, 9, generator=dice) < 0.5).double()
    bag[:, 0] = 1
    lab = heads.words_loss(logits.log_softmax(1), bag)
    assert ran["words_loss"](logits, bag) == pytest.approx(float(lab), abs=1e-12)


def test_its_bag_of_words_shares_its_weights_with_the_captions(ran):
    model = ran["new_model"]()
    logits = ran["word_logits"](model, ran["test_pictures"][:3])
    seen = model["see"](ran["test_pictures"][:3])
    one = torch.eye(len(ran["words"]))
    assert torch.allclose(logits, seen @ model["read"](one).T, atol=1e-5)


def test_none_of_the_tests_captions_is_trained_on(ran):
    said = [set(c.split(" on ")[0].split()) for batch in ran["batches"] for c in batch.captions]
    for caption in ran["test"].captions:
        _, size, colour, shape = caption.split()
        assert not [w for w in said if {size, colour, shape} <= w]


# Figures


def test_figures_tell_their_numbers():
    curves = {"one": [[0.1, 0.5, 0.7], [0.2, 0.5, 0.9]]}
    words = describe(figures.by_pairs([1000, 20_000, 40_000], curves, chance=0.02))
    assert "means of 2 seeds. one: 50 % after 20,000, 80 % at the end; chance 2.0%" in words
    words = describe(figures.loss_by_bias([-4, 0, 4], {64: [5, 44, 250]}, predicted=1))
    assert "batch of 64: least at -4.0, 5.0 nats, and 44 at 0" in words
    runs = {"pull": [(0, 9.0, 0.4), (40, 1.2, 0.1)]}
    words = describe(figures.rank_and_accuracy(runs, chance=0.02, directions=64))
    assert "pull: rank 9.0 to 1.2, 10.0% right; chance 2.0%" in words
