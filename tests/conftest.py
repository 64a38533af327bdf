"""Shared by all tests: shapes checked at run time, one thread, a tiny model."""

import os
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from jaxtyping import install_import_hook

# Every shape in a signature of these rooms is checked whenever a test calls the function.
install_import_hook(
    [
        "clip_lab.model",
        "clip_lab.tokenizer",
        "clip_lab.file_tokenizer",
        "clip_lab.losses",
        "clip_lab.preprocess",
        "clip_lab.batching",
        "clip_lab.dual_encoder",
        "clip_lab.heads",
        "clip_lab.interpret",
        "clip_lab.zero_shot",
        "clip_lab.retrieval",
        "clip_lab.search",
        "clip_lab.data",
        "clip_lab.training",
        "clip_lab.evaluation",
        "clip_lab.maps",
        "clip_lab.map_collections",
    ],
    "beartype.beartype",
)

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

from clip_lab.dual_encoder import DualEncoder  # noqa: E402
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig  # noqa: E402
from clip_lab.preprocess import Preprocess  # noqa: E402
from clip_lab.tokenizer import Tokenizer  # noqa: E402

CORPUS = [
    "a red circle", "a green square", "a blue star", "a small red heart", "the lower newest widest",
    "红色的心", "一个红色的圆", "red fox", "green apple", "blue whale",
] * 2  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Where all tests are run, the book is begun at once, to be done when its tests come."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    worker = hasattr(config, "workerinput")  # of pytest-xdist: the first process has begun it
    if whole and not worker and not config.option.collectonly:
        from book_build import begin

        begin()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, what waits for the book comes last."""
    place = {"test_training.py": -1, "test_book.py": 1, "test_book_pages.py": 1}
    items.sort(key=lambda item: place.get(item.path.name, 0))


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, vocab_size=560, context_length=24)


@pytest.fixture
def encoder(tokenizer: Tokenizer) -> DualEncoder:
    """An untrained CLIP of a few thousand weights."""
    return untrained(tokenizer)


def untrained(tokenizer: Tokenizer) -> DualEncoder:
    """A tiny CLIP around any tokenizer."""
    torch.manual_seed(0)
    text = TextConfig(len(tokenizer), tokenizer.context_length, 64, 2, tokenizer.end)
    config = CLIPConfig(32, ViTConfig(32, 8, 64, 2), text)
    return DualEncoder(CLIP(config), tokenizer, Preprocess(32), "tiny")


@pytest.fixture(scope="session")
def peers():
    """open_clip and transformers; the test is skipped, saying so, where they are not installed."""
    pytest.importorskip("transformers", reason="the extra 'peers' is not installed")
    from peers import Peers, import_open_clip

    try:
        return Peers(import_open_clip())
    except ImportError as error:
        pytest.skip(f"the extra 'peers' is not installed ({error})")


@pytest.fixture(scope="module")
def browser():
    """Chromium; the test is skipped, saying so, where there is none."""
    from chromium import CHROMIUM, MISSING, open_browser

    pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")
    if not CHROMIUM.exists():
        pytest.skip(MISSING)
    with open_browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def ran(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The names at the end of the chapter that the module calls `CHAPTER`, run from the top."""
    from course_run import run_through

    return run_through(request.module.CHAPTER)


@pytest.fixture(scope="module")
def client(address: str):
    """Gradio's own client of the module's page."""
    from gradio_client import Client

    return Client(address, verbose=False, analytics_enabled=False)
