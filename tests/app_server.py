"""For the app's tests: a page served from this process, on a tiny untrained model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gradio as gr
import torch

from apps import lab, theme
from apps.models import Models
from clip_lab.dual_encoder import DualEncoder
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def tiny_encoder(name: str = "tiny", seed: int = 0) -> DualEncoder:
    """An untrained CLIP that reads every text of the app, in a few thousand weights."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train(["a drawing of an emoji", "a picture of a face"] * 2, 540, 77)
    text = TextConfig(len(tokenizer), 77, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 1), text))
    card = {"trained_on": "nothing at all", "does_not_know": "anything"}
    return DualEncoder(model, tokenizer, Preprocess(32), name, card)


@contextmanager
def running(demo: gr.Blocks) -> Iterator[str]:
    """The address of a page that is served for the length of the block."""
    address = theme.launch(demo, block=False)
    try:
        yield address
    finally:
        demo.close()


@contextmanager
def served(*encoders: DualEncoder) -> Iterator[str]:
    """The whole dashboard."""
    with running(lab.build_demo(Models(*encoders))) as address:
        yield address


class Visit:
    """A page that is open, with all that it asked for and complained of."""

    ready = "#stages .lab-body:not([hidden])"  # what is there once the page is

    def __init__(
        self,
        browser: "Browser",
        address: str,
        width: int,
        height: int,
        path: str = "",
        **options: Any,
    ):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: "Page" = browser.new_page(viewport={"width": width, "height": height}, **options)
        self.page.set_default_timeout(120_000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda note: self.complaints.append(note.text) if note.type == "error" else None,
        )
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(address + path)
        self.page.wait_for_selector(self.ready, state="attached")
        self.address = address

    def close(self) -> None:
        local = (self.address, "data:", "blob:")
        assert [url for url in self.requests if not url.startswith(local)] == []
        assert self.complaints == []
        self.page.close()
