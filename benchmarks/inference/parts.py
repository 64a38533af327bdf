"""What is measured: each part gives a record of seconds and of how equal the vectors are."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.inference.contenders import Contender, Ours
from benchmarks.inference.inputs import prompts, write_photographs
from benchmarks.inference.measure import by_turns, check, compared
from clip_lab.data.prompts import prompt_sets
from clip_lab.zero_shot import fill

Record = dict[str, Any]
OURS = "clip_lab"


def _measured(cases: dict[str, Callable[[], Any]], rounds: int, warm_ups: int = 1) -> Record:
    return compared(by_turns(cases, rounds, warm_ups), OURS)


def texts(found: list[Contender], ours: Ours, longest: int, rounds: int) -> Record:
    """64 prompts of 5 to `longest` tokens: from ids, and from strings."""
    chosen = prompts(ours.encoder.tokenizer, 64, 5, longest)  # pyright: ignore[reportArgumentType]
    ready = {c.name: c.tokens(chosen) for c in found}
    reference = found[0].of_texts(chosen)
    return {
        "from_ids": _measured(
            {c.name: lambda c=c: c.of_tokens(ready[c.name]) for c in found}, rounds
        ),
        "from_strings": _measured({c.name: lambda c=c: c.of_texts(chosen) for c in found}, rounds),
        "equal": {c.name: check(c.of_texts(chosen), reference) for c in found},
    }


def classifier(found: list[Contender], rounds: int) -> Record:
    """ImageNet's 1,000 classes × 80 templates, extrapolated from a part of them.

    Ours: every twentieth template with all classes, as encode_texts groups them. The others: every
    500th class with all templates, the way their own recipes go from class to class (open_clip's
    takes ten classes at a time, which costs it the same a text).
    """
    imagenet = prompt_sets()["imagenet"]
    classes, templates = list(imagenet.classes), list(imagenet.templates)
    part = {OURS: [fill(t, label) for t in templates[::20] for label in classes]}
    theirs = [fill(t, label) for label in classes[::500] for t in templates]
    half = len(templates)

    def run(c: Contender) -> None:
        if c.name == OURS:
            c.of_texts(part[OURS])
        else:
            for start in range(0, len(theirs), half):
                c.of_texts(theirs[start : start + half])

    seconds = by_turns({c.name: lambda c=c: run(c) for c in found}, rounds, 0)
    share = {c.name: len(part.get(c.name, theirs)) / (len(classes) * len(templates)) for c in found}
    whole = {name: [s / share[name] for s in values] for name, values in seconds.items()}
    sample = [fill(t, label) for label in classes[:3] for t in templates[:4]]
    reference = found[0].of_texts(sample)
    return {
        "prompts": len(classes) * len(templates),
        "measured_share": share,
        "extrapolated": compared(whole, OURS),
        "equal": {c.name: check(c.of_texts(sample), reference) for c in found},
    }


def images(found: list[Contender], size: int, number: int, rounds: int) -> Record:
    """One batch of `number` pictures in float32, as tensors."""
    pixels = torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(0))
    reference = found[0].of_pixels(pixels)
    return _measured({c.name: lambda c=c: c.of_pixels(pixels) for c in found}, rounds) | {
        "equal": {c.name: check(c.of_pixels(pixels), reference) for c in found}
    }


def images_bfloat16(found: list[Contender], size: int, number: int, rounds: int) -> Record:
    """The same in bfloat16, ours also beside everybody's float32."""
    pixels = torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(0))
    # openai/CLIP's LayerNorm takes nothing but float32 and, on a GPU, float16.
    half = {c.name: c.in_bfloat16() for c in found if c.name != "openai/CLIP"}
    cases = {name: lambda c=c: c.of_pixels(pixels) for name, c in half.items()}
    cases |= {f"{c.name}, float32": lambda c=c: c.of_pixels(pixels) for c in found}
    reference = found[0].of_pixels(pixels)
    return _measured(cases, rounds) | {
        "equal": {c.name: check(c.of_pixels(pixels), reference, True) for c in half.values()}
    }


def folder(found: list[Contender], number: int, rounds: int) -> Record:
    """A folder of JPEG files to vectors, end to end."""
    with TemporaryDirectory() as place:
        paths = write_photographs(Path(place), number)
        cases = {c.name: lambda c=c: c.of_files(paths) for c in found}
        result = _measured(cases, rounds) | {"pictures": number}
        reference = found[0].of_files(paths[:8])
        result["equal"] = {c.name: check(c.of_files(paths[:8]), reference) for c in found}
    return result
