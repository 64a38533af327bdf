"""Class names and prompts as published: OpenAI's, for ImageNet and 26 other public sets.

A figure can only be set beside a published one if names and prompts are the same, to the letter:
"sunglasses" for "sunglass" or a full stop more is another classifier. So they are data, under
`files/prompts/`, each file with its source; NOTICE names the licences.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clip_lab.errors import LabError

FILES = Path(__file__).parent / "files" / "prompts"


@dataclass(frozen=True)
class PromptSet:
    """What one public set is classified by; {} in a template is the class's place."""

    classes: tuple[str, ...]
    templates: tuple[str, ...]


@cache
def prompt_sets() -> dict[str, PromptSet]:
    """All of them by name: "imagenet", "imagenet-7", "cifar10", "food101", ...

    The classes are in OpenAI's order, which for some sets (EuroSAT, Oxford Pets) isn't that of the
    class numbers in every copy of the set. "imagenet-7" has the seven templates that OpenAI's
    search among the 80 picked as an ensemble.
    """
    imagenet = _read("imagenet.json")
    names = tuple(imagenet["classes"].values())
    sets = {
        "imagenet": PromptSet(names, tuple(imagenet["templates"])),
        "imagenet-7": PromptSet(names, tuple(imagenet["templates_7"])),
    }
    for name, entry in _read("openai.json")["sets"].items():
        sets[name] = PromptSet(tuple(entry["classes"]), tuple(entry["templates"]))
    return sets


@cache
def imagenet_names() -> dict[str, str]:
    """The name of each of ImageNet's 1,000 classes by WordNet id, in ImageNet's order.

    Two names, "missile" and "sunglasses", are borne by two classes each.
    """
    return dict(_read("imagenet.json")["classes"])


def _read(name: str) -> dict[str, Any]:
    return json.loads((FILES / name).read_text(encoding="utf-8"))


def templates_of(words: Sequence[str]) -> tuple[str, ...]:
    """Templates from what a person typed, {} in the class's place.

    Each word is a template ("a photo of a {}."; {c} does as well), the name of one of
    `prompt_sets()`, or a text file with a template a line. Raises LabError for any other.
    """
    return tuple(template for word in words for template in _templates(word))


def _templates(word: str) -> Sequence[str]:
    if "{}" in word or "{c}" in word:
        return [with_braces(word)]
    if word in prompt_sets():
        return prompt_sets()[word].templates
    try:
        lines = Path(word).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise LabError(
            f"“{word[:60]}” is neither a template with {{}} in it, nor a file of such, nor one of: "
            f"{', '.join(prompt_sets())}."
        ) from error
    return [with_braces(line.strip()) for line in lines if line.strip()]


def with_braces(template: str) -> str:
    """CLIP_benchmark's {c} as the {} of everyone else."""
    return template.replace("{c}", "{}")
