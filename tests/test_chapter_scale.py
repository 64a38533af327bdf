"""Chapter 15: its sentences against its measurements, its parts against the lab's."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from course_run import Run, chapter, prose

from clip_lab.experiments.report import results
from clip_lab.losses import info_nce, one_way, tiled_info_nce
from clip_lab.training.distributed import _Gather
from clip_lab.view.chapters import scale as figures
from clip_lab.view.notebook_figures import describe

CHAPTER = chapter("15_scale")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_claim_7_is_told_as_it_was_measured():
    found = results()["batch_size"]
    sweep = found.measured.config["sweep"]
    assert sweep["pairs"] == 40_000  # "the same 40,000 pairs"
    assert list(sweep["batches"]) == [16, 128, 1024]
    by_batch, by_block = (found.measured[key].mean(0) for key in ("by_batch", "by_block"))
    assert by_batch[-1] < 0.05 < 0.5 < by_batch[0]  # "needs steps"
    assert by_block[0] < by_block[1] < by_block[2]  # "more negatives do help"
    assert found.verdict.effects["most less fewest negatives"].low > 0


def test_what_the_towers_keep(ran):
    for name, least, most in (("ViT-B-32", 25e6, 40e6), ("ViT-L-14", 450e6, 700e6)):
        assert least < ran["per_picture"][name] < most
    assert 0.9e12 < 32_768 * ran["per_picture"]["ViT-B-32"] < 1.2e12  # "a thousand gigabytes"
    fixed = 16 * ran["weights"]["ViT-B-32"]
    assert fixed < 0.01 * 32_768 * ran["per_picture"]["ViT-B-32"]  # "small beside it"
    assert round(ran["weights"]["ViT-B-32"] / 1e6) == 151


def test_it_grows_by_as_much_with_every_picture(ran):
    """Twice the batch, twice the layers: a line through the weights."""
    from clip_lab.model import CLIP, CONFIGS

    with torch.device("meta"):
        tower = CLIP(CONFIGS["ViT-B-32"]).visual
        four = torch.empty(4, 3, 224, 224)
    kept = [ran["kept"](tower, four[:n]) for n in (1, 2, 4)]
    assert kept[2] - kept[1] == 2 * (kept[1] - kept[0]) == 2 * ran["per_picture"]["ViT-B-32"]


def test_what_is_kept_is_real_memory(ran):
    """On a real tower: the bytes of the tensors that autograd holds, counted another way."""
    tower = ran["new_model"]().visual
    pictures = ran["pictures"][:8]
    slope = (ran["kept"](tower, pictures) - ran["kept"](tower, pictures[:4])) / 4
    weights = {p.data_ptr() for p in tower.parameters()}
    graph, seen, total = [tower(pictures).grad_fn], set(), {}
    while graph:
        node = graph.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for name in dir(node):
            value = getattr(node, name) if name.startswith("_saved") else None
            if isinstance(value, torch.Tensor) and value.data_ptr() not in weights:
                total[value.data_ptr()] = value.numel() * value.element_size()
        graph += [following for following, _ in node.next_functions]
    assert 0.5 < 8 * slope / sum(total.values()) < 2


def test_pieces_give_the_exact_gradient_and_small_batches_dont(ran):
    truth = ran["truth"]
    for name, fill in ran["ways"].items():
        error = (ran["gradient_of"](fill) - truth).norm() / truth.norm()
        assert (error < 1e-12) == (name != "8 small batches")
    assert 0.5 < ran["angles"]["8 small batches"] < 0.99
    assert truth.dtype == torch.float64


def test_the_four_switches(ran):
    found = ran["found"]
    for name in ("local, with gradients", "whole, with gradients"):
        assert found[name] == pytest.approx((1, 1), abs=1e-9)
    assert found["whole, without"] == pytest.approx((1, 1 / 8), abs=1e-9)  # "an eighth"
    assert found["local, without"][0] < 0.9


def test_half_of_the_push_is_missing(ran):
    """For each vector: the whole pull of its partner, half of the push of other processes."""
    torch.manual_seed(3)
    images, texts = (F.normalize(torch.randn(8, 5).double(), dim=1) for _ in range(2))
    i, t = images.clone().requires_grad_(), texts.clone().requires_grad_()
    scale = torch.tensor(1.0).double()
    ran["without_gradients"](i, t, scale).backward()  # 8 processes of one pair
    logits = scale.exp() * images @ texts.T
    rows, columns, eye = logits.softmax(1), logits.softmax(0), torch.eye(8)
    push = scale.exp() / 16 * (rows * (1 - eye)) @ texts  # not that of the columns
    pull = scale.exp() / 16 * ((rows + columns).diagonal() - 2)[:, None] * texts
    assert i.grad is not None
    assert torch.allclose(i.grad, push + pull)


def test_without_gradients_all_vectors_fall_together(ran):
    alike = {name: ran["alike"](model) for name, model in ran["trained"].items()}
    share = {name: right / n for name, (right, n) in ran["counts"].items()}
    one, bare, apart = ran["trained"]
    assert alike[bare] > 0.95 > 0.6 > max(alike[one], alike[apart])
    assert share[bare] < 0.07 < 0.2 < min(share[one], share[apart])  # "better not to gather"
    assert abs(share[one] - share[apart]) < 0.12  # "cost little in this small world"


def test_what_sixteen_bits_do_to_logits():
    thirty = torch.tensor(30.0, dtype=torch.bfloat16)
    following = torch.nextafter(thirty, torch.tensor(99.0, dtype=torch.bfloat16))
    assert float(following - thirty) == 0.125
    better = torch.tensor([30.0, 30.05]).to(torch.bfloat16)  # 0.3 and 0.3005, times 100
    assert better[0] == better[1]
    assert 400e6 * 32 == 12.8e9  # pairs that CLIP saw: 32 times 400 million (2.5)


def test_sources_are_linked():
    for source in (
        "lightly/issues/1528",
        "LIFT/issues/4",
        "open_clip/issues/616",
        "open_clip/issues/1047",
        "sentence-transformers/pull/1822",
        "open_clip/pull/267",
        "2103.00020",
        "2101.06983",
        "2410.17243",
        "2212.07143",
    ):  # fmt: skip
        assert source in prose(CHAPTER)


# What is built, against the lab's own


def test_its_local_loss_is_the_labs(ran):
    torch.manual_seed(1)
    images, texts = (F.normalize(torch.randn(6, 4), dim=1) for _ in range(2))
    scale, everyone = torch.tensor(1.5), torch.arange(6)
    for rank in range(3):
        own = slice(2 * rank, 2 * rank + 2)
        loss = ran["local_loss"](images[own], texts[own], images, texts, scale, rank)
        lab = [
            one_way(side[own], others, scale, everyone[own], everyone)
            for side, others in ((images, texts), (texts, images))
        ]
        assert float(loss) == pytest.approx(float(sum(one.mean() for one in lab) / 2), abs=1e-5)


def test_its_way_back_is_that_of_the_labs_gather(ran, monkeypatch):
    """`_Gather.backward` adds up what all processes say, and cuts out its own rows."""
    slopes = list(torch.randn(3, 6, 2).double())
    counts = [2, 3, 1]

    def all_reduce(own: torch.Tensor) -> None:
        own.copy_(torch.stack(slopes).sum(0))

    monkeypatch.setattr("clip_lab.training.distributed.dist.all_reduce", all_reduce)
    for rank in range(3):
        context = type("Context", (), {"own": slice(sum(counts[:rank]), sum(counts[: rank + 1]))})
        lab = _Gather.backward(context, slopes[rank])
        assert torch.equal(ran["gather_backward"](slopes, counts, rank), lab)


def test_its_stream_is_half_of_the_labs_tiled_loss(ran):
    torch.manual_seed(2)
    images, texts = F.normalize(torch.randn(2, 50, 8), dim=-1)
    scale = torch.tensor(math.log(100))
    both = [ran["streamed_rows"](a, b, scale, 7) for a, b in ((images, texts), (texts, images))]
    lab = tiled_info_nce(images, texts, scale, tile=16)
    assert float(sum(both) / 2) == pytest.approx(float(lab), abs=1e-4)


def test_a_batch_in_pieces_trains_the_same_model(ran):
    """Three steps at once and in pieces end at the same weights."""
    ends = []
    for pieces in (1, 8):
        model = copy.deepcopy(ran["learner"])
        descent = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            descent.zero_grad()
            if pieces > 1:
                ran["cached_gradients"](model, *ran["batch"], pieces)
            else:
                images, texts = ran["encode"](model, *ran["batch"])
                info_nce(images, texts, model.logit_scale).backward()
            descent.step()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.allclose(*ends, atol=1e-12)


# Figures


def test_figures_tell_their_numbers():
    words = describe(
        figures.sweeps([16, 64], [[0.5, 0.1], [0.7, 0.1]], [2, 4], [[0.1, 0.2]], chance=0.02)
    )
    assert "16: 60.0 %, 64: 10.0 %" in words
    assert "2: 10.0 %, 4: 20.0 %" in words
    words = describe(figures.memory([16, 64], {"layers": [0.5, 2]}, {"a GPU": 80}))
    assert "layers: 0.5 at 16, 2 at 64; a GPU as a line at 80" in words
