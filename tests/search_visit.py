"""For the tests of the Search tab: the tab alone on tiny models, and what is asked of it."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from app_server import Visit, running, tiny_encoder
from gradio_client import Client
from PIL import Image

from apps import search
from apps.folders import Folders
from apps.models import Models
from clip_lab.search import built_in, shapes_collection

TINY, ANOTHER = tiny_encoder(), tiny_encoder("another", 1)
SHAPES = "?search-in=shapes"
OPEN: list[Any] = ["", "", "", None, None, None, None]  # filters that let everything through
GPS = (52.0, 31.0, 12.0)


@contextmanager
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, and small collections of shapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(built_in, "SHAPES_EACH", 24)
        yield


@contextmanager
def served_alone(folders: Folders) -> Iterator[str]:
    """This tab alone, on two tiny models."""
    with running(search.build_demo(Models(TINY, ANOTHER), folders)) as address:
        yield address


class Seen(Visit):
    """A visit of a page with this tab alone: it is open once results are there."""

    ready = "#found .search-card"

    def told(self, pattern: str, panel: str = "#found") -> str:
        """The line over the results, once it says this."""
        line = self.page.locator(f"{panel} .search-told").filter(has_text=re.compile(pattern))
        return line.inner_text()

    def names(self, panel: str = "#found") -> list[str]:
        return self.page.locator(f"{panel} .search-name").all_inner_texts()

    def changed(self, act: Callable[[], object]) -> None:
        """Do something, and wait until other results are there."""
        before = self.page.locator("#found .search-grid").inner_text()
        act()
        self.page.wait_for_function(
            "before => { const text = document.querySelector('#found .search-grid').innerText;"
            "return text && text !== before }",
            arg=before,
        )


def ask(client: Client, query: Any, where: str = "shapes", path: str = "", *, other: str = "",
        count: int = 6, approximate: bool = False, filters: list[Any] = OPEN) -> Any:  # fmt: skip
    """Both panels' values, as the page gets them."""
    text = query if isinstance(query, str) else json.dumps(query)
    return client.predict(
        "tiny", other, text, where, path, count, approximate, *filters, api_name="/search"
    )


def nearest(vector: torch.Tensor, count: int = 6) -> list[tuple[str, float]]:
    """The same by a plain sort of plain cosines."""
    collection = shapes_collection(TINY)
    cosines = collection.index.vectors.astype(np.float64) @ vector.double().numpy()
    cosines /= np.linalg.norm(vector.double().numpy())
    order = np.argsort(-cosines, kind="stable")[:count]
    return [(collection.rows[i]["name"], float(cosines[i])) for i in order.tolist()]


def check(value: dict[str, Any], expected: list[tuple[str, float]]) -> None:
    assert [hit["score"] for hit in value["hits"]] == pytest.approx(
        [score for _, score in expected], abs=2e-4
    )
    assert value["hits"][0]["name"] == expected[0][0]


def opened(address: str) -> Image.Image:
    assert address.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
