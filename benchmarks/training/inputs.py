"""What is learnt from: captions of ordinary length, noise for pictures, vectors for the loss."""

import random
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.data.batch import caption_groups
from clip_lab.data.prompts import prompt_sets
from clip_lab.model import CLIPConfig
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.pretrained.tokenizer_files import openai_tokenizer
from clip_lab.tokenizer import Tokenizer
from clip_lab.training.batches import TokenBatch

SHORTEST, LONGEST = 8, 20  # words of a caption
EMBED_DIM = 512  # ViT-B/32's
COSINE = 0.15  # of a right pair: with the noise at this scale, the loss is neither nil nor log N

OPENINGS = ("a photo of", "two views of", "this is", "here we see", "close-up of", "the picture of")
LOOKS = ("large", "old", "bright red", "tiny", "broken", "hand-made", "wet", "white and blue")
DEEDS = ("standing next to", "in front of", "seen through", "leaning on", "half hidden by", "under")
PLACES = ("on a street in the old town", "in a sunny garden behind the house", "by the river",
          "at the harbour", "on the kitchen table", "in an empty room")  # fmt: skip
TIMES = ("on a rainy day in autumn", "early in the morning", "at night",
         "before the storm", "during the summer holidays", "some time last year")  # fmt: skip

Vectors = tuple[Tensor, Tensor, Tensor]  # pictures, texts, and the logarithm of the scale


class Model(NamedTuple):
    """What is trained: a name, an architecture, and how many pairs are a batch."""

    name: str
    config: CLIPConfig
    batch: int


def captions(number: int) -> list[str]:
    """None twice, each of 8 to 20 words, the lengths drawn evenly; ImageNet's names in them."""
    chance, names = random.Random(0), prompt_sets()["imagenet"].classes
    found: dict[str, None] = {}
    while len(found) < number:
        parts = [chance.choice(OPENINGS), "a"]
        for _ in range(3):
            parts += [chance.choice(LOOKS), chance.choice(names), chance.choice(DEEDS), "a"]
        parts += [chance.choice(names), chance.choice(PLACES), chance.choice(TIMES)]
        words = " ".join(parts).split()
        found[" ".join(words[: chance.randint(SHORTEST, LONGEST)])] = None
    return list(found)


def batch(model: Model, device: str = "cpu") -> TokenBatch:
    """A batch as it is when it has reached the model: pictures are normalised, captions tokens."""
    size, texts = model.config.vision.image_size, captions(model.batch)
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(model.batch, 3, size, size, generator=generator, device=device)
    tokens, groups = tokenizer()(texts).to(device), caption_groups(texts).to(device)
    return TokenBatch(images, tokens, groups, texts, ())


@cache
def tokenizer() -> Tokenizer:
    """OpenAI's, without the mending of damaged text: that needs a package and does nothing here."""
    return Tokenizer(openai_tokenizer().merges)


def vectors(number: int, device: str = "cpu") -> Vectors:
    """Unit vectors of pairs that resemble each other a little, at the clamp's largest scale."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, number, EMBED_DIM, generator=generator)
    images, other = F.normalize(noise, dim=-1)
    texts = F.normalize(COSINE * images + (1 - COSINE**2) ** 0.5 * other, dim=-1)
    found = (images, texts, torch.tensor(MAX_LOGIT_SCALE))
    return tuple(tensor.to(device).requires_grad_() for tensor in found)  # pyright: ignore
