"""Queries, filters, approximate search and collections: what the page's Search tab stands on."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from clip_lab.data.emoji_table import emoji_table
from clip_lab.errors import LabError
from clip_lab.retrieval import VectorIndex
from clip_lab.search import (
    ApproximateIndex,
    Collection,
    Filter,
    Term,
    combine,
    emoji_collection,
    query_vector,
    recall_at_k,
    shapes_collection,
)
from clip_lab.search import built_in as built_in_module
from clip_lab.search import collection as collection_module
from clip_lab.search.collection import picture_inside


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def numbers(hits) -> list[int]:
    return [hit.number for hit in hits]


# -- queries --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5), st.integers(0, 99))
def test_a_combination_is_the_weighted_sum_made_unit(weights, seed):
    vectors = unit(len(weights), 8, seed=seed)
    total = np.array(weights) @ vectors.double().numpy()
    if np.linalg.norm(total) < 1e-2 * max(map(abs, weights)) or max(map(abs, weights)) < 1e-6:
        return
    np.testing.assert_allclose(
        combine(vectors, weights).numpy(), total / np.linalg.norm(total), atol=1e-4
    )


def test_a_picture_plus_words_minus_words(encoder):
    picture = Image.new("RGB", (32, 32), "red")
    terms = [Term("red heart"), Term(picture, 2.0, is_picture=True), Term("blue star", -0.5)]
    texts = encoder.encode_texts(["red heart", "blue star"])
    total = texts[0] - 0.5 * texts[1] + 2 * encoder.encode_images([picture])[0]
    torch.testing.assert_close(query_vector(encoder, terms), F.normalize(total, dim=0))


def test_queries_of_nothing_are_sentences(encoder):
    one = unit(1, 8)
    for terms in ([], [Term("")], [Term("  ")], [Term("a"), Term("a", -1.0)], [Term("a", 0.0)]):
        with pytest.raises(LabError):
            query_vector(encoder, terms)
    with pytest.raises(LabError, match="cancel out"):
        combine(torch.cat([one, -one]), [1.0, 1.0])
    with pytest.raises(LabError, match="no finite number"):
        combine(one, [float("nan")])
    with pytest.raises(LabError, match="as many weights"):
        combine(one, [1.0, 2.0])
    with pytest.raises(LabError, match="can't be opened"):
        query_vector(encoder, [Term("none.png", is_picture=True)])


# -- filters --------------------------------------------------------------------------------------

ROWS = [
    {"name": "Beach.JPG", "folder": "2023/Rome", "date": "2023-07-01T09:00:00", "width": 300},
    {"name": "beach ball.png", "folder": "2023", "date": "2023-07-02T23:59:59", "height": 900},
    {"name": "Straße.png", "folder": "2023 more", "date": "2024-01-01T00:00:00", "group": "food"},
    {"name": "bare"},
]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Filter(), [0, 1, 2, 3]),
        (Filter(name="BEACH"), [0, 1]),
        (Filter(name="strasse"), [2]),
        (Filter(folder="2023"), [0, 1]),
        (Filter(folder="/2023/Rome/"), [0]),
        (Filter(group="food"), [2]),
        (Filter(after="2023-07-02"), [1, 2]),
        (Filter(before="2023-07-02"), [0, 1]),
        (Filter(after="2023-07-02", before="2023-07-02"), [1]),
        (Filter(min_side=300), [0, 1]),
        (Filter(max_side=300), [0]),
        (Filter(name="beach", min_side=500), [1]),
        (Filter(name="%"), []),
    ],
)
def test_a_filter_lets_through(where, found):
    assert np.flatnonzero(where.among(ROWS)).tolist() == found


@pytest.mark.parametrize("day", ["2023-02-30", "yesterday", "2023"])
def test_a_day_that_does_not_exist_is_a_sentence(day):
    with pytest.raises(LabError, match="is no day"):
        Filter(after=day)


# -- collections ----------------------------------------------------------------------------------


def collection(size: int = 600, place: Path | None = None) -> Collection:
    vectors = unit(size, 16)
    rows = [{"name": f"{i}", "group": "even" if i % 2 == 0 else "odd"} for i in range(size)]
    index = VectorIndex.build(vectors, rows)
    return Collection("made", index, lambda row: Image.new("RGB", (400, 200), "red"), place)


def test_k_come_back_where_k_match_however_far_they_are():
    made = collection()
    answer = made.search(made.vector(0), 20, Filter(group="odd"))
    assert len(answer.hits) == 20 and answer.matching == 300
    assert {hit.row["group"] for hit in answer.hits} == {"odd"}
    everything = made.search(made.vector(0), 600).hits
    assert numbers(answer.hits) == [n for n in numbers(everything) if n % 2][:20]
    assert made.search(made.vector(0), 5, Filter(name="599")).matching == 1
    assert made.search(made.vector(0), 5, Filter(group="none")).hits == []


def test_approximate_answers_come_with_their_recall():
    made = collection()
    answer = made.search(unit(16, seed=5), 10, approximate=True)
    right = made.search(unit(16, seed=5), 10)
    assert answer.approximate and not right.approximate and right.recall is None
    share = len(set(numbers(answer.hits)) & set(numbers(right.hits))) / 10
    assert answer.recall == share >= 0.8
    filtered = made.search(unit(16, seed=5), 10, Filter(group="odd"), approximate=True)
    assert not filtered.approximate and len(filtered.hits) == 10


def test_recall_of_a_case_made_by_hand():
    vectors = F.normalize(torch.tensor([[1, 0.0], [1, 0.1], [1, 0.2], [1, 0.2], [0, 1]]), dim=-1)
    exact = VectorIndex.build(vectors, [{} for _ in vectors])
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    class Fixed(VectorIndex):
        def __init__(self, *answers: list[int]):
            self.answers = answers

        def search(self, queries, k, among=None):
            everything = exact.search(queries, len(exact))
            return [
                [hit for hit in hits if hit.number in chosen]
                for hits, chosen in zip(everything, self.answers, strict=True)
            ]

    def recall(*answers: list[int], k: int = 3) -> float:
        return recall_at_k(exact, Fixed(*answers), queries, k)

    assert recall([0, 1, 2], [4, 2, 3]) == 1
    assert recall([0, 1, 3], [4, 2, 3]) == 1  # rows 2 and 3 are equal: either is third
    assert recall([0, 1, 4], [4, 2, 3]) == pytest.approx((2 / 3 + 1) / 2)
    assert recall([4], [0]) == 0
    assert recall([1], [4], k=1) == 0.5
    with pytest.raises(LabError, match="at least one query"):
        recall_at_k(exact, exact, queries[:0])


def test_the_graph_s_scores_are_the_exact_ones():
    index = collection().index
    graph = ApproximateIndex.build(index)
    queries = unit(20, 16, seed=3)
    assert recall_at_k(index, graph, queries) > 0.9
    (hits,) = graph.search(queries[:1], 10)
    scores = index.vectors[numbers(hits)].astype(np.float64) @ queries[0].double().numpy()
    np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert 540 <= len(graph.search(queries[:1], 1000)[0]) <= 600  # threads leave some unlinked


def test_no_rows_and_one_row():
    for size in (0, 1):
        made = collection(size)
        for approximate in (False, True):
            assert len(made.search(unit(16), 5, approximate=approximate).hits) == size


def test_a_graph_is_kept_and_made_anew_when_it_does_not_fit(tmp_path, monkeypatch):
    made = collection(place=tmp_path)
    made.graph()
    built = []
    build = ApproximateIndex.build
    monkeypatch.setattr(
        ApproximateIndex, "build", lambda index, **_: built.append(1) or build(index)
    )
    query = unit(16, seed=9)
    kept = collection(place=tmp_path)
    assert kept.search(query, 10, approximate=True).hits == approximately(made, query)
    assert not built
    collection(599, tmp_path).graph()  # other vectors
    assert len(built) == 1
    content = bytearray((tmp_path / "graph.usearch").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "graph.usearch").write_bytes(content)
    collection(599, tmp_path).graph()
    (tmp_path / "graph.json").write_text("{")
    collection(599, tmp_path).graph()
    assert len(built) == 3


def approximately(made: Collection, query: torch.Tensor):
    return made.search(query, 10, approximate=True).hits


def test_without_usearch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(LabError, match=r"clip-lab\[search\]"):
        collection().search(unit(16), 5, approximate=True)


def test_another_model_s_query_is_a_sentence():
    for approximate in (False, True):
        with pytest.raises(LabError, match="another model"):
            collection().search(unit(8), 5, approximate=approximate)


# -- thumbnails -----------------------------------------------------------------------------------


def size_of(thumbnail: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert image.format == "WEBP"
        return image.size


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (1200, 600), "red").save(tmp_path / "in/photo.jpg", exif=exif)
    Image.new("RGB", (50, 50), "red").save(tmp_path / "secret.png")
    return tmp_path / "in"


def of_files(folder: Path, *names: str) -> Collection:
    index = VectorIndex.build(unit(len(names), 16), [{"path": name} for name in names])
    return Collection("files", index, lambda row: picture_inside(folder, row["path"]))


def test_thumbnails_are_small_upright_and_kept(folder):
    made = of_files(folder, "photo.jpg")
    first = made.thumbnail(0)
    assert size_of(first) == (80, 160) and len(first) < 2000
    assert b"EXIF" not in first
    (folder / "photo.jpg").unlink()
    assert made.thumbnail(0) == first
    assert size_of(made.thumbnail(0, 64)) == (64, 64)  # not made before: a square in its place


def test_no_thumbnail_shows_a_file_outside_the_folder(folder, monkeypatch):
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "text.png").write_text("no picture")
    big = Image.new("RGB", (300, 300))
    big.save(folder / "big.png")
    monkeypatch.setattr(collection_module, "MAX_PIXELS", 80_000)
    names = ("gone.png", "link.png", "../secret.png", str(folder.parent / "secret.png"))
    made = of_files(folder, *names, "text.png", "big.png", ".")
    blank = made.thumbnail(0)
    for number in range(1, 7):
        assert made.thumbnail(number) == blank
        with pytest.raises(LabError):
            made.picture(number)


# -- built in -------------------------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(built_in_module, "SHAPES_EACH", 8)
    return tmp_path


def test_emoji_are_found_by_their_own_pictures(encoder, cached):
    made = emoji_collection(encoder, "openmoji")
    assert len(made) == len(emoji_table().bases("all", ["openmoji"])) > 1500
    number = next(i for i, row in enumerate(made.rows) if row["name"] == "red apple")
    vector = encoder.encode_images([made.picture(number)])[0]
    best = made.search(vector, 3, Filter(group="food-drink")).hits[0]
    assert best.row["emoji"] == "🍎" and best.score == pytest.approx(1, abs=2e-3)
    assert size_of(made.thumbnail(number)) == (64, 64)
    with pytest.raises(LabError, match="no emoji style"):
        emoji_collection(encoder, "crayon")


def test_shapes_are_the_same_every_time_and_encoded_once(encoder, cached, monkeypatch):
    made = shapes_collection(encoder)
    assert {row["group"] for row in made.rows} == {"single", "pair", "count", "word", "medley"}
    for number in (0, 20, 39):
        vector = encoder.encode_images([made.picture(number)])[0]
        assert vector @ made.vector(number) == pytest.approx(1, abs=2e-3)
    monkeypatch.setattr(type(encoder), "encode_images", None)
    assert shapes_collection(encoder).rows == made.rows


def test_a_damaged_cache_of_a_built_in_collection_is_made_again(encoder, cached):
    shapes_collection(encoder)
    for path in cached.rglob("vectors.npy"):
        path.write_bytes(b"")
    assert len(shapes_collection(encoder)) == 40


def test_where_nothing_can_be_kept_it_works_all_the_same(encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(built_in_module, "SHAPES_EACH", 8)
    made = shapes_collection(encoder)
    assert made.search(made.vector(3), 1, approximate=True).hits[0].number == 3
    assert os.listdir(tmp_path) == ["file"]


def test_a_graph_made_block_by_block_holds_every_row(monkeypatch):
    monkeypatch.setattr("clip_lab.search.approximate.BLOCK", 7)
    index = VectorIndex.build(unit(40, 16), [{"name": str(i)} for i in range(40)])
    graph = ApproximateIndex.build(index, progress=True)
    queries = torch.from_numpy(index.vectors.astype(np.float32))
    assert [hits[0].number for hits in graph.search(queries, 1)] == list(range(40))
