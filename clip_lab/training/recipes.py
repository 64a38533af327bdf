"""What each built-in model is made of: data, sizes, tokenizer. `clip-lab train` follows these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clip_lab.data.batch import Pairs
from clip_lab.data.captions import CaptionMix
from clip_lab.data.emoji import EmojiPairs
from clip_lab.data.emoji_table import (
    FILES,
    TRAINED_STYLES,
    emoji_table,
    forbidden_texts,
    languages,
    texts,
)
from clip_lab.data.photos import PhotoPairs, photo_corpus, read_photos
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer


@dataclass(frozen=True)
class Recipe:
    """A model that can be trained by name."""

    data: str  # what it learns from, and is tested on: "emoji", "shapes" or "photos"
    vision: ViTConfig | ResNetConfig
    embed_dim: int
    text_width: int
    text_layers: int
    learning_rate: float
    weight_decay: float
    warmup: int
    tokenizer: Callable[[], Tokenizer]
    # from batch size, picture size, seed, and the folder of pictures that the lab doesn't bring
    pairs: Callable[[int, int, int, Path | None], Pairs]
    trained_on: str
    unknown: str

    def encoder(self, name: str, seed: int) -> DualEncoder:
        """A fresh model, its weights drawn from `seed`."""
        tokenizer = self.tokenizer()
        length = tokenizer.context_length
        text = TextConfig(len(tokenizer), length, self.text_width, self.text_layers, tokenizer.end)
        torch.manual_seed(seed)
        model = CLIP(CLIPConfig(self.embed_dim, self.vision, text, "gelu"))
        card: dict[str, Any] = {"name": name, "trained_on": self.trained_on}
        card |= {"does_not_know": self.unknown, "seed": seed}
        return DualEncoder(model, tokenizer, Preprocess(self.vision.image_size), name, card)


def emoji_corpus(spoken: Sequence[str]) -> Iterator[str]:
    """Every name and keyword that training may say in these languages."""
    table, forbidden = emoji_table(), forbidden_texts(spoken)
    for language in spoken:
        for row in table.bases("train", TRAINED_STYLES):
            for text in texts(language)[table.rows[row].hexcode]:
                if text.casefold() not in forbidden:
                    yield text


def emoji_tokenizer() -> Tokenizer:
    """The vocabulary that scripts/build_emoji_tokenizer.py learnt from all languages."""
    return Tokenizer.from_json((FILES / "tokenizer.json").read_text(encoding="utf-8"))


# Keywords are shared between emoji and between languages: they teach what words mean. Three
# captions a picture, each in another language, cost a third of a step and are learnt from thrice.
EMOJI_MIX = CaptionMix(0.30, 0.30, 0.20, 0.10, 0.05, 0.05)
ENGLISH = 3.0  # times as often as each other language


def _emoji_pairs(batch_size: int, size: int, seed: int, _folder: Path | None) -> Pairs:
    spoken = languages()
    return EmojiPairs(
        batch_size=batch_size,
        size=size,
        seed=seed,
        languages=spoken,
        language_weights=[ENGLISH if language == "en" else 1.0 for language in spoken],
        captions_each=3,
        caption_mix=EMOJI_MIX,
    )


def _shapes_pairs(batch_size: int, size: int, seed: int, _folder: Path | None) -> Pairs:
    kinds = {"single": 0.75, "pair": 0.12, "count": 0.08, "word": 0.05}
    return ShapesPairs(batch_size=batch_size, size=size, seed=seed, kinds=kinds)


def _shapes_tokenizer() -> Tokenizer:
    """From a few thousand captions of the small grammar, by which all its words have come."""
    pairs = _shapes_pairs(256, 32, 0, None)
    captions = (caption for step in range(12) for caption in pairs.batch(step).captions)
    return Tokenizer.train(captions, 1024, 32)


def _photo_pairs(batch_size: int, size: int, seed: int, folder: Path | None) -> Pairs:
    if folder is None:
        raise LabError(
            "The photographs don't come with the lab: give the folder of Tiny ImageNet's tars, "
            "--pictures FOLDER."
        )
    return PhotoPairs(read_photos(folder, "train"), batch_size, size, seed)


RECIPES = {
    "emoji": Recipe(
        data="emoji",
        vision=ResNetConfig(image_size=64, layers=(2, 3, 4, 2), width=24),
        embed_dim=256,
        text_width=192,
        text_layers=3,
        learning_rate=1.5e-3,
        weight_decay=0.2,
        warmup=500,
        tokenizer=emoji_tokenizer,
        pairs=_emoji_pairs,
        trained_on=(
            "drawings of 1,760 emoji by three artists (Noto, Twemoji, Fluent 3D), "
            "with their names and keywords in 28 languages"
        ),
        unknown="photographs, and anything else that is not drawn like an emoji",
    ),
    "shapes": Recipe(
        data="shapes",
        vision=ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=8),
        embed_dim=64,
        text_width=64,
        text_layers=2,
        learning_rate=5e-3,
        weight_decay=0.1,
        warmup=200,
        tokenizer=_shapes_tokenizer,
        pairs=_shapes_pairs,
        trained_on="drawn scenes of coloured shapes, with captions from a small English grammar",
        unknown="photographs, drawings, and any word outside that grammar",
    ),
    "photos": Recipe(
        data="photos",
        vision=ResNetConfig(image_size=64, layers=(2, 3, 4, 2), width=24),
        embed_dim=256,
        text_width=192,
        text_layers=2,
        learning_rate=1.5e-3,
        weight_decay=0.1,
        warmup=500,
        tokenizer=lambda: Tokenizer.train(photo_corpus(), 2048, 24),
        pairs=_photo_pairs,
        trained_on=(
            "67,500 photographs of 180 things at 64 pixels (Tiny ImageNet, cut from ImageNet: for "
            "research and teaching), with names, synonyms and kinds after WordNet as captions"
        ),
        unknown="people, places, and most of what isn't one of some 200 things",
    ),
}
# The same data for a Vision Transformer, whose 64 patches a heat map can tell apart.
RECIPES["shapes-vit"] = replace(
    RECIPES["shapes"],
    vision=ViTConfig(image_size=32, patch_size=4, width=64, layers=4, head_width=16),
    learning_rate=2e-3,
)


def recipe(name: str) -> Recipe:
    """Raises LabError for a name that is not there."""
    if name not in RECIPES:
        raise LabError(f"There is no recipe “{name}”. There are: {', '.join(RECIPES)}.")
    return RECIPES[name]
