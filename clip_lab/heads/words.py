"""A bag-of-words head: from a picture, which words does its caption hold, in whatever order?

One linear layer and a softmax over the vocabulary (Joulin et al. 2015, arXiv 1511.02251, section 3;
with phrases instead of words: Li et al. 2016, arXiv 1612.09161). It is the middle curve of the CLIP
paper's figure 2.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Words = Float[Tensor, "texts vocabulary"]
PADDING = 0


class WordsHead(nn.Module):
    """Picture vectors to the logarithm of each word's probability."""

    def __init__(self, features: int, vocabulary: int):
        super().__init__()
        self.words = nn.Linear(features, vocabulary)

    def forward(
        self, vectors: Float[Tensor, "pictures features"]
    ) -> Float[Tensor, "pictures vocabulary"]:
        return self.words(vectors).log_softmax(dim=-1)


def bag_of_words(
    tokens: Int[Tensor, "texts context"], vocabulary: int, start: int, end: int
) -> Words:
    """1 for every token that a text holds, however often; 0 for the others.

    Start, end and padding are no words.
    """
    bag = torch.zeros(len(tokens), vocabulary, device=tokens.device).scatter_(1, tokens, 1.0)
    bag[:, [start, end, PADDING]] = 0
    return bag


def words_loss(
    log_probabilities: Float[Tensor, "texts vocabulary"], bag: Words
) -> Float[Tensor, ""]:
    """Cross-entropy in nats with a target that a caption's words share evenly.

    A caption without any word asks for nothing, and counts as 0.
    """
    target = bag / bag.sum(dim=1, keepdim=True).clamp(min=1)
    return -(target * log_probabilities).sum(dim=1).mean()


def words_scores(
    log_probabilities: Float[Tensor, "pictures vocabulary"], bag: Words
) -> Float[Tensor, "pictures texts"]:
    """How well each text fits each picture: the sum of the logarithms over the text's words.

    That is the probability of drawing just these words. A longer text scores lower, so compare
    texts of like length.
    """
    return log_probabilities @ bag.T
