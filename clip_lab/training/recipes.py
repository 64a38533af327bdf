"""What each built-in model is made of: data, sizes, tokenizer. `clip-lab train` follows these."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from clip_lab.data.emoji import EmojiPairs
from clip_lab.data.emoji_table import TRAINED_STYLES, emoji_table, forbidden_texts, texts
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer
from clip_lab.training.batches import Pairs

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Recipe:
    """A model that can be trained by name."""

    vision: ViTConfig | ResNetConfig
    embed_dim: int
    text_width: int
    text_layers: int
    context_length: int
    vocab_size: int
    learning_rate: float
    weight_decay: float
    corpus: Callable[[], Iterator[str]]  # what the tokenizer learns from
    pairs: Callable[[int, int, int], Pairs]  # batch size, picture size and seed to batches
    trained_on: str
    unknown: str

    def encoder(self, name: str, seed: int) -> DualEncoder:
        """A fresh model, its weights drawn from `seed`."""
        tokenizer = Tokenizer.train(self.corpus(), self.vocab_size, self.context_length)
        text = TextConfig(
            len(tokenizer), self.context_length, self.text_width, self.text_layers, tokenizer.end
        )
        torch.manual_seed(seed)
        model = CLIP(CLIPConfig(self.embed_dim, self.vision, text, "gelu"))
        card: dict[str, Any] = {"name": name, "trained_on": self.trained_on}
        card |= {"does_not_know": self.unknown, "seed": seed}
        return DualEncoder(model, tokenizer, Preprocess(self.vision.image_size), name, card)

    def data(self, batch_size: int, seed: int) -> Pairs:
        """Its batches."""
        return self.pairs(batch_size, self.vision.image_size, seed)


def emoji_corpus() -> Iterator[str]:
    """Every name and keyword that training may say, in the languages of the built-in model."""
    table, forbidden = emoji_table(), forbidden_texts(LANGUAGES)
    for language in LANGUAGES:
        for row in table.bases("train", TRAINED_STYLES):
            for text in texts(language)[table.rows[row].hexcode]:
                if text.casefold() not in forbidden:
                    yield text


def _emoji_pairs(batch_size: int, size: int, seed: int) -> Pairs:
    return EmojiPairs(batch_size=batch_size, size=size, seed=seed, languages=LANGUAGES)


def _shapes_pairs(batch_size: int, size: int, seed: int) -> Pairs:
    kinds = {"single": 0.75, "pair": 0.12, "count": 0.08, "word": 0.05}
    return ShapesPairs(batch_size=batch_size, size=size, seed=seed, kinds=kinds)


def shapes_corpus() -> Iterator[str]:
    """A few thousand captions of the small grammar, by which all its words have come."""
    pairs = _shapes_pairs(batch_size=256, size=32, seed=0)
    for step in range(12):
        yield from pairs.batch(step)[1]


RECIPES = {
    "emoji": Recipe(
        vision=ResNetConfig(image_size=64, layers=(1, 2, 2, 1), width=24),
        embed_dim=256,
        text_width=192,
        text_layers=3,
        context_length=32,
        vocab_size=4096,
        learning_rate=1.5e-3,
        weight_decay=0.2,
        corpus=emoji_corpus,
        pairs=_emoji_pairs,
        trained_on=(
            "drawings of 1,760 emoji by three artists (Noto, Twemoji, Fluent 3D), "
            "with their names and keywords in English and Chinese"
        ),
        unknown="photographs, and anything else that is not drawn like an emoji",
    ),
    "shapes": Recipe(
        vision=ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=8),
        embed_dim=64,
        text_width=64,
        text_layers=2,
        context_length=32,
        vocab_size=1024,
        learning_rate=5e-3,
        weight_decay=0.1,
        corpus=shapes_corpus,
        pairs=_shapes_pairs,
        trained_on="drawn scenes of coloured shapes, with captions from a small English grammar",
        unknown="photographs, drawings, and any word outside that grammar",
    ),
}


def recipe(name: str) -> Recipe:
    """Raises LabError for a name that is not there."""
    if name not in RECIPES:
        raise LabError(f"There is no recipe “{name}”. There are: {', '.join(RECIPES)}.")
    return RECIPES[name]
