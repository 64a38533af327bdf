"""CoOp and CoCoOp against their papers' equations, worked by hand, and against plain prompts."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.training.prompt_learning import ConditionalPrompts, FrozenText, LearnedPrompts

NAMES = ["red circle", "small red heart", "blue star"]
SCALE = 20.0


@pytest.fixture
def double(encoder):
    """The tiny model in float64."""
    encoder.model.double()
    return encoder


def learner(kind, encoder, words="a green"):
    text = FrozenText(encoder)
    return kind(text, NAMES, text.words(words), SCALE)


def some_pictures(count=2):
    generator = torch.Generator().manual_seed(5)
    return F.normalize(torch.randn(count, 32, generator=generator, dtype=torch.float64), dim=-1)


def by_hand(encoder, context, name):
    """One prompt alone, position by position, with the whole tower and no shortcut."""
    tower = encoder.model.text
    ids = [encoder.tokenizer.start, *encoder.tokenizer.encode(name), encoder.tokenizer.end]
    embedded = tower.token_embedding(torch.tensor(ids))
    x = torch.cat([embedded[:1], context, embedded[1:]])
    x = x + tower.positional_embedding[: len(x)]
    mask = torch.ones(len(x), len(x)).tril().bool()
    states = tower.ln_final(tower.transformer(x[None], mask))[0]
    vector = states[-1] @ tower.text_projection
    return vector / vector.norm()


def linear_layers(prompts):
    first, activation, last = prompts.meta
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    assert isinstance(activation, nn.ReLU)
    return first, last


@pytest.mark.parametrize("kind", [LearnedPrompts, ConditionalPrompts])
def test_with_the_embeddings_of_real_words_it_is_the_plain_prompt(double, kind):
    prompts = learner(kind, double, "a small")
    images = some_pictures()
    with torch.no_grad():
        plain = double.model.encode_text(double.tokenizer([f"a small {name}" for name in NAMES]))
        expected = SCALE * images @ F.normalize(plain, dim=-1).T
        torch.testing.assert_close(prompts(images), expected, rtol=0, atol=1e-10)


def test_coop_is_its_equation_worked_out_prompt_by_prompt(double):
    prompts = learner(LearnedPrompts, double)
    with torch.no_grad():
        prompts.context.copy_(torch.randn(prompts.context.shape, dtype=torch.float64))
        images = some_pictures()
        vectors = torch.stack([by_hand(double, prompts.context, name) for name in NAMES])
        torch.testing.assert_close(prompts(images), SCALE * images @ vectors.T)


def test_cocoop_shifts_every_context_vector_by_what_the_picture_says(double):
    prompts = learner(ConditionalPrompts, double).double()
    with torch.no_grad():
        for parameter in prompts.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64))
        images = some_pictures()
        logits = prompts(images)
        first, last = linear_layers(prompts)
        for row, x in zip(logits, images, strict=True):
            hidden = (first.weight @ x + first.bias).clamp(min=0)
            pi = last.weight @ hidden + last.bias
            vectors = [by_hand(double, prompts.context + pi, name) for name in NAMES]
            torch.testing.assert_close(row, SCALE * torch.stack(vectors) @ x)
    assert not torch.allclose(by_hand(double, prompts.context, NAMES[0]), vectors[0])


def test_the_meta_network_is_a_sixteenth_as_wide(double):
    first, last = linear_layers(learner(ConditionalPrompts, double))
    assert first.weight.shape == (2, 32)
    assert last.weight.shape == (64, 2)


@pytest.mark.parametrize("kind", [LearnedPrompts, ConditionalPrompts])
def test_the_gradient_of_the_loss_agrees_with_finite_differences(double, kind):
    prompts = learner(kind, double).double()
    images, targets = some_pictures(), torch.tensor([2, 0])
    if kind is ConditionalPrompts:  # off its zeros, so that all of it has a gradient
        torch.nn.init.normal_(prompts.meta[2].weight, std=0.1)

    def loss():
        return F.cross_entropy(prompts(images), targets)

    loss().backward()
    for parameter in prompts.parameters():
        assert parameter.grad is not None
        place = int(parameter.grad.abs().argmax())
        with torch.no_grad():
            flat, change = parameter.view(-1), 1e-5
            flat[place] += change
            above = loss()
            flat[place] -= 2 * change
            below = loss()
            flat[place] += change
        slope = (above - below) / (2 * change)
        torch.testing.assert_close(parameter.grad.view(-1)[place], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", [LearnedPrompts, ConditionalPrompts])
def test_the_gradient_reaches_the_context_and_no_weight_of_the_model(encoder, kind):
    before = copy.deepcopy(encoder.model.state_dict())
    prompts = learner(kind, encoder)
    names = {name for name, _ in prompts.named_parameters()}
    assert names - {"meta.0.weight", "meta.0.bias", "meta.2.weight", "meta.2.bias"} == {"context"}
    optimizer = torch.optim.SGD(prompts.parameters(), lr=0.1)
    F.cross_entropy(prompts(some_pictures().float()), torch.tensor([0, 1])).backward()
    optimizer.step()
    assert all(p.grad is None and p.requires_grad for p in encoder.model.parameters())
    assert all(p.grad is None for p in prompts.text.tower.parameters())
    for name, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_training_lowers_the_loss_and_moves_all_vectors(encoder):
    prompts = learner(LearnedPrompts, encoder)
    begun = prompts.context.detach().clone()
    images, targets = some_pictures(3).float(), torch.arange(3)
    optimizer = torch.optim.Adam(prompts.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = F.cross_entropy(prompts(images), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    assert ((prompts.context - begun).norm(dim=1) > 0).all()


def test_both_begin_with_the_same_prompts(encoder):
    images = some_pictures().float()
    one, other = (learner(kind, encoder) for kind in (LearnedPrompts, ConditionalPrompts))
    torch.testing.assert_close(one(images), other(images))


def test_what_was_learnt_can_be_asked_about_other_classes(double):
    prompts = learner(LearnedPrompts, double, "a red")
    prompts.name(["fox", "green apple"])
    images = some_pictures()
    with torch.no_grad():
        plain = double.model.encode_text(double.tokenizer(["a red fox", "a red green apple"]))
        torch.testing.assert_close(prompts(images), SCALE * images @ F.normalize(plain, dim=-1).T)


def test_prompts_that_are_too_long_and_no_classes_are_refused(encoder):
    text = FrozenText(encoder)
    with pytest.raises(LabError, match="Learn fewer vectors"):
        LearnedPrompts(text, NAMES, torch.zeros(30, 64), SCALE)
    with pytest.raises(LabError, match="at least one class"):
        LearnedPrompts(text, [], text.words("a"), SCALE)


def test_a_text_tower_that_reads_both_ways_is_refused(tokenizer):
    text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end, pooling="last")
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 1), text))
    with pytest.raises(LabError, match="from left to right"):
        FrozenText(DualEncoder(model, tokenizer, Preprocess(32)))
