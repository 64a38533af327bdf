"""Other projects' packages, as the yardstick in tests marked `peers`."""

import importlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


def import_open_clip() -> Any:
    """open_clip, which imports torchvision.

    torchvision's CUDA build registers fakes for operators that a CPU torch lacks. None of them is
    needed here: such a registration may fail in silence.
    """
    register = torch.library.register_fake

    def forgiving(name: str, *args: Any, **kwargs: Any) -> Any:
        def decorate(function: Any) -> Any:
            try:
                return register(name, *args, **kwargs)(function)
            except RuntimeError:
                return function

        return decorate

    torch.library.register_fake = forgiving
    try:
        return importlib.import_module("open_clip")
    finally:
        torch.library.register_fake = register


@dataclass
class Peers:
    """What the tests compare with."""

    open_clip: Any

    @property
    def openai_merges(self) -> Path:
        return Path(self.open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"

    @property
    def open_clip_tokenizer(self) -> Any:
        return self.open_clip.SimpleTokenizer()

    def huggingface_tokenizer(self, ours: Any) -> Any:
        """transformers' CLIP tokenizer, from the vocabulary and merges that OpenAI's file gives."""
        from transformers import CLIPTokenizer

        with tempfile.TemporaryDirectory() as folder:
            vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
            vocabulary.write_text(json.dumps(self.open_clip_tokenizer.encoder))
            lines = ["#version: 0.2", *(" ".join(pair) for pair in ours.merges)]
            merges.write_text("\n".join(lines) + "\n")
            return CLIPTokenizer(vocab=str(vocabulary), merges=str(merges))
