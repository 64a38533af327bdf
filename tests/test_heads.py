"""Heads on an image tower: bag of words and captions, against sums worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from clip_lab.heads import (
    Captioner,
    WordsHead,
    bag_of_words,
    caption_scores,
    nats_per_token,
    words_loss,
    words_scores,
)
from clip_lab.heads.captions import (
    LookingBlock,
    causal_mask,
    log_probabilities,
    text_vectors,
    token_states,
)
from clip_lab.model.config import TextConfig

START, END = 8, 9
ROWS = torch.tensor([[START, 3, 5, 3, END, 0, 0], [START, 4, END, 0, 0, 0, 0]])


@pytest.fixture
def captioner(encoder):
    torch.manual_seed(1)
    return Captioner(encoder.model, layers=2).eval()


@pytest.fixture
def tokens(encoder):
    return encoder.tokenizer(["a red circle", "a green square", "a small red heart"])


# -- bag of words ---------------------------------------------------------------------------------


def test_a_bag_holds_each_word_once_and_no_marks():
    bag = bag_of_words(ROWS, 10, START, END)
    assert bag.tolist() == [[0, 0, 0, 1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]]


def test_words_share_the_target_evenly():
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]], dtype=torch.float64)
    bag = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    first = math.log(math.e + 1 + math.e**2)
    second = math.log(2 + math.e**3)
    by_hand = (((first - 1) + (first - 2)) / 2 + (second - 3)) / 2
    assert words_loss(logits.log_softmax(1), bag).item() == pytest.approx(by_hand, abs=1e-12)


def test_the_gradient_of_the_words_loss_is_softmax_less_target():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    bag = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    words_loss(logits.log_softmax(1), bag).backward()
    target = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = (logits.detach().softmax(1) - target) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_a_caption_without_words_asks_for_nothing():
    log_p = torch.zeros(1, 3).log_softmax(1)
    assert words_loss(log_p, torch.zeros(1, 3)) == 0


def test_a_text_scores_the_sum_of_its_words():
    log_p = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    scores = words_scores(log_p, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
    expected = torch.log(torch.tensor([[0.125, 0.0625], [0.01, 0.08]]))
    torch.testing.assert_close(scores, expected)


def test_the_words_head_learns_which_words_go_with_which_picture():
    torch.manual_seed(0)
    head, vectors = WordsHead(2, 10), torch.eye(2)
    bag = bag_of_words(ROWS, 10, START, END)
    optimizer = torch.optim.Adam(head.parameters(), 0.3)
    for _ in range(40):
        optimizer.zero_grad()
        words_loss(head(vectors), bag).backward()
        optimizer.step()
    assert words_scores(head(vectors), bag).argmax(dim=1).tolist() == [0, 1]


# -- captions -------------------------------------------------------------------------------------


def test_one_pass_over_the_tokens_gives_the_text_towers_own_vectors(captioner, tokens):
    states = token_states(captioner.text, tokens)
    vectors = text_vectors(captioner.text, states, tokens)
    torch.testing.assert_close(vectors, captioner.model.encode_text(tokens), rtol=0, atol=1e-5)


def test_no_word_is_told_what_comes_after_it(captioner, tokens):
    pictures = torch.randn(3, 3, 32, 32)
    changed = tokens.clone()
    changed[:, 2] = tokens.roll(1, 0)[:, 2]
    before, after = (captioner(pictures, rows).logits for rows in (tokens, changed))
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[0, 2], after[0, 2], atol=1e-4)


def test_every_word_sees_the_picture(captioner, tokens):
    one, other = (captioner(torch.randn(3, 3, 32, 32), tokens).logits for _ in range(2))
    assert ((one - other).abs().amax(dim=2) > 1e-4).all()


def test_a_block_looks_as_attention_says():
    """Softmax of q·k/√d over the places, then their values (one head, by hand)."""
    torch.manual_seed(0)
    config = TextConfig(10, 8, width=4, layers=1, head_width=4)
    block = LookingBlock(config).double()
    x, places = torch.randn(1, 3, 4).double(), torch.randn(1, 5, 4).double()
    asked = x + block.attn(block.ln_1(x), causal_mask(x))
    wq, wk, wv = block.look.in_proj_weight.chunk(3)
    q, k, v = block.ln_look(asked)[0] @ wq.T, places[0] @ wk.T, places[0] @ wv.T
    seen = block.look.out_proj((q @ k.T / 2).softmax(dim=1) @ v)
    expected = asked[0] + seen
    expected = expected + block.mlp(block.ln_2(expected))
    torch.testing.assert_close(block(x, places, causal_mask(x))[0], expected)


def test_a_captions_probability_is_its_tokens_product():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 10, dtype=torch.float64)
    log_p = logits.log_softmax(dim=2)
    first = [log_p[0, place, token] for place, token in enumerate([3, 5, 3, END])]
    second = [log_p[1, place, token] for place, token in enumerate([4, END])]
    every = log_probabilities(logits, ROWS, END)
    torch.testing.assert_close(every.sum(dim=1), torch.stack([sum(first), sum(second)]))
    assert every[1, 2:].tolist() == [0, 0]  # after the end nothing counts
    expected = -(sum(first) + sum(second)) / 6
    torch.testing.assert_close(nats_per_token(logits, ROWS, END), expected)


def test_who_knows_nothing_pays_the_logarithm_of_the_vocabulary():
    assert nats_per_token(torch.zeros(2, 5, 10), ROWS, END).item() == pytest.approx(math.log(10))


def test_scores_are_the_same_pair_by_pair(captioner, tokens):
    pictures = torch.randn(2, 3, 32, 32)
    vectors = captioner.model.encode_image(pictures)
    scores = caption_scores(captioner, vectors, tokens, at_once=1)
    end = captioner.text.config.end_token
    for i in range(2):
        for j in range(3):
            logits = captioner(pictures[i : i + 1], tokens[j : j + 1]).logits
            log_p = log_probabilities(logits, tokens[j : j + 1], end).sum()
            torch.testing.assert_close(scores[i, j], log_p, rtol=0, atol=1e-4)


def test_both_losses_reach_the_image_tower(captioner, tokens):
    captioned = captioner(torch.randn(3, 3, 32, 32), tokens)
    end = captioner.text.config.end_token
    weight = captioner.model.visual.conv1.weight
    (of_captions,) = torch.autograd.grad(
        nats_per_token(captioned.logits, tokens, end), weight, retain_graph=True
    )
    cosines = F.cosine_similarity(captioned.images, captioned.texts)
    (of_contrast,) = torch.autograd.grad(cosines.sum(), weight)
    assert of_captions.abs().sum() > 0 and of_contrast.abs().sum() > 0
