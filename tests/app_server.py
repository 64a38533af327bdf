"""For the app's tests: a page served from this process, on a tiny untrained model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from apps import lab, theme
from clip_lab.dual_encoder import DualEncoder
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer


def tiny_encoder() -> DualEncoder:
    """An untrained CLIP that reads every text of the app, in a few thousand weights."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["a drawing of an emoji", "a picture of a face"] * 2, 540, 77)
    text = TextConfig(len(tokenizer), 77, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 1), text))
    card = {"trained_on": "nothing at all", "does_not_know": "anything"}
    return DualEncoder(model, tokenizer, Preprocess(32), "tiny", card)


@contextmanager
def served(encoder: DualEncoder) -> Iterator[str]:
    """The address of the whole dashboard, open for the length of the block."""
    demo = lab.build_demo(encoder)
    address = theme.launch(demo, block=False)
    try:
        yield address
    finally:
        demo.close()
