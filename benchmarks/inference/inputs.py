"""What is encoded: prompts of a wanted length, and photographs, all drawn from fixed seeds."""

import random
from pathlib import Path

import numpy as np
from PIL import Image

from clip_lab.data.prompts import prompt_sets
from clip_lab.tokenizer import Tokenizer

SIZES = ((500, 375), (375, 500), (500, 333), (480, 360))  # pixels: ImageNet's usual ones
QUALITY = 90


def prompts(tokenizer: Tokenizer, number: int, shortest: int, longest: int) -> list[str]:
    """Texts whose lengths in tokens, start and end included, are drawn evenly from this range.

    Of words of ImageNet's class names, at random: no two begin alike, so that sharing beginnings
    gains nothing here.
    """
    chance = random.Random(0)
    names = prompt_sets()["imagenet"].classes
    words = sorted({word for name in names for word in name.split()})
    length_of = {word: len(tokenizer.encode(word)) for word in words}
    texts = []
    for _ in range(number):
        wanted, chosen = chance.randint(shortest, longest) - 2, []
        while wanted:
            word = chance.choice(words)
            if length_of[word] <= wanted:
                chosen.append(word)
                wanted -= length_of[word]
        texts.append(" ".join(chosen))
    return texts


def write_photographs(folder: Path, number: int) -> list[Path]:
    """JPEG files as heavy to decode as photographs: detail at every scale, 1/f as in nature.

    About 100 KB each, as ImageNet's are.
    """
    chance = np.random.default_rng(0)
    paths = []
    for i in range(number):
        path = folder / f"{i:04d}.jpg"
        pixels = like_a_photograph(*SIZES[i % len(SIZES)], chance)
        Image.fromarray(pixels).save(path, quality=QUALITY)
        paths.append(path)
    return paths


def like_a_photograph(width: int, height: int, chance: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls with frequency (Field 1987), the three colours nearly alike."""
    noise = chance.normal(size=(height, width, 1)) + 0.3 * chance.normal(size=(height, width, 3))
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(width, height))[..., None]
    waves = np.fft.rfft2(noise, axes=(0, 1)) / frequency
    picture = np.fft.irfft2(waves, s=(height, width), axes=(0, 1))
    picture = 128 + 50 * (picture - picture.mean()) / picture.std()
    return picture.clip(0, 255).astype(np.uint8)
