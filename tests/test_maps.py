"""Maps against an independent computation, brute force, and files that aren't what they seem."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_lab import LabError, load, map_collections
from clip_lab.evaluation.geometry import Paired, shift_gap
from clip_lab.map_collections import CONTENTS, Content, ModelMap, map_of
from clip_lab.maps import (
    LaidOut,
    gap_axes,
    neighbours,
    open_coordinates,
    pca,
    save_coordinates,
    towards_each_other,
    true_on_map,
    trustworthiness,
    umap_view,
)
from clip_lab.pretrained import names

ROOT = Path(__file__).parents[1]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def cones(pictures=60, texts=45, width=12, seed=0):
    """Two kinds of unit vectors, each about a direction of its own."""
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(2, width)) / 2
    kinds = [
        unit(middle * 3 + rng.normal(size=(n, width)) * np.linspace(0.2, 1.5, width))
        for middle, n in zip(spread, (pictures, texts), strict=True)
    ]
    return kinds[0], kinds[1]


PICTURES, TEXTS = cones()
BOTH = np.concatenate([PICTURES, TEXTS])
IS_TEXT = np.arange(len(BOTH)) >= len(PICTURES)


def faults(view, pictures, texts):
    """What is wrong with gap axes, by SVD in a basis of what is orthogonal to the gap."""
    both = np.concatenate([pictures, texts]).astype(np.float64)
    gap = pictures.astype(np.float64).mean(axis=0) - texts.astype(np.float64).mean(axis=0)
    gap /= np.linalg.norm(gap)
    complement = np.linalg.svd(gap[None])[2][1:]  # (width - 1, width), none of it along the gap
    centred = both - both.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred @ complement.T, full_matrices=False)
    number = len(view.axes) - 1
    expected = np.vstack([gap, directions[:number] @ complement])
    variances = [np.var(both @ gap), *(singular[:number] ** 2 / len(both))]
    found = []
    signs = np.sign((expected * view.axes).sum(axis=1))
    if not np.allclose(expected * signs[:, None], view.axes, atol=1e-9) or signs[0] < 0:
        found.append("axes")
    if not np.allclose(view.axes @ view.axes.T, np.eye(len(view.axes)), atol=1e-9):
        found.append("angles")
    if not np.allclose(view.shares, np.array(variances) / np.var(both, axis=0).sum(), atol=1e-9):
        found.append("shares")
    return found


# -- linear views ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_gap_axes_agree_with_an_independent_computation(dimensions):
    view = gap_axes(PICTURES, TEXTS, dimensions)
    assert view.axes.shape == (dimensions, 12) and view.axes.dtype == np.float64
    assert faults(view, PICTURES, TEXTS) == []
    assert len(view.titles) == dimensions and view.titles[0] == "modality gap"


def test_a_wrong_axis_would_be_caught():
    view = gap_axes(PICTURES, TEXTS, 3)
    turned = view.axes.copy()
    turned[:2] = np.array([[0.999, 0.0447], [-0.0447, 0.999]]) @ turned[:2]
    assert "axes" in faults(replace(view, axes=turned), PICTURES, TEXTS)
    assert "axes" in faults(replace(view, axes=-view.axes), PICTURES, TEXTS)
    assert "axes" in faults(replace(view, axes=view.axes[[0, 2, 1]]), PICTURES, TEXTS)
    leaning = view.axes + 0.01 * view.axes[0]
    assert "angles" in faults(replace(view, axes=leaning), PICTURES, TEXTS)
    assert "shares" in faults(replace(view, shares=view.shares * 1.01), PICTURES, TEXTS)
    # The first component of everything, gap and all, isn't the first one off the gap.
    naive = np.vstack([view.axes[0], pca(BOTH, 2).axes])
    assert "axes" in faults(replace(view, axes=naive), PICTURES, TEXTS)


def test_a_map_in_two_dimensions_is_the_beginning_of_one_in_three():
    # The package has points of three dimensions only, and gives the first two columns for two.
    np.testing.assert_array_equal(
        gap_axes(PICTURES, TEXTS, 2).axes, gap_axes(PICTURES, TEXTS, 3).axes[:2]
    )
    np.testing.assert_array_equal(pca(BOTH, 2).axes, pca(BOTH, 3).axes[:2])


def test_off_the_gap_both_kinds_have_the_same_mean():
    view = gap_axes(PICTURES, TEXTS, 3)
    pictures, texts = view.project(PICTURES).mean(axis=0), view.project(TEXTS).mean(axis=0)
    np.testing.assert_allclose(pictures[1:], texts[1:], atol=1e-7)
    gap = np.linalg.norm(PICTURES.astype(float).mean(axis=0) - TEXTS.astype(float).mean(axis=0))
    assert pictures[0] - texts[0] == pytest.approx(gap)


def test_components_agree_with_scikit_learn_up_to_the_sign():
    from sklearn.decomposition import PCA

    exact = BOTH.astype(np.float64)
    peer, view = PCA(3, svd_solver="full").fit(exact), pca(BOTH, 3)
    np.testing.assert_allclose(np.abs(view.project(BOTH)), np.abs(peer.transform(exact)), atol=1e-9)
    np.testing.assert_allclose(view.shares, peer.explained_variance_ratio_, atol=1e-12)


def test_signs_dont_depend_on_the_order_of_the_rows():
    view, turned_round = pca(BOTH, 3), pca(BOTH[::-1].copy(), 3)
    np.testing.assert_allclose(view.axes, turned_round.axes, atol=1e-9)
    assert (view.axes[range(3), np.abs(view.axes).argmax(axis=1)] > 0).all()


def test_all_axes_together_show_all_of_the_variance_and_all_distances():
    for view in (pca(BOTH, 12), gap_axes(PICTURES, TEXTS, 12)):
        assert view.shares.sum() == pytest.approx(1)
        points = view.project(BOTH)
        for i, j in ((0, 1), (3, 80), (70, 100)):
            full = np.linalg.norm(BOTH[i].astype(float) - BOTH[j])
            assert np.linalg.norm(points[i] - points[j]) == pytest.approx(full)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 30), st.integers(2, 30), st.integers(4, 20), st.integers(0, 99),
    st.sampled_from([2, 3]),
)  # fmt: skip
def test_no_linear_view_moves_anything_apart(pictures, texts, width, seed, dimensions):
    kinds = cones(pictures, texts, width, seed)
    both = np.concatenate(kinds)
    for view in (gap_axes(*kinds, 2), pca(both, dimensions)):
        points = view.project(both)
        assert view.shares.min() >= 0 and view.shares.sum() <= 1 + 1e-12
        np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(len(view.axes)), atol=1e-9)
        seen = np.linalg.norm(points[:, None] - points, axis=-1)
        full = np.linalg.norm(both[:, None].astype(float) - both, axis=-1)
        assert (seen <= full + 1e-9).all()


def test_a_known_vector_is_placed_exactly_where_it_is():
    view = gap_axes(PICTURES, TEXTS, 3)
    placed = view.place(BOTH[[5, 70]], IS_TEXT[[5, 70]])
    assert not placed.approximate
    np.testing.assert_array_equal(placed.points, view.project(BOTH)[[5, 70]])


def test_what_cant_be_drawn_is_said():
    none = PICTURES[:0]
    with pytest.raises(LabError, match="there are no texts"):
        gap_axes(PICTURES, none)
    with pytest.raises(LabError, match="there are no pictures"):
        gap_axes(none, TEXTS)
    with pytest.raises(LabError, match="no gap"):
        gap_axes(PICTURES, PICTURES)
    with pytest.raises(LabError, match="at least two vectors"):
        pca(none)
    with pytest.raises(LabError, match="at least two vectors"):
        pca(PICTURES[[0, 0, 0]])
    with pytest.raises(LabError, match="1 directions"):
        pca(PICTURES[:2], 2)
    with pytest.raises(LabError, match="0 directions"):
        gap_axes(PICTURES[:1], TEXTS[:1], 2)
    for bad in (np.nan, np.inf):
        broken = PICTURES.copy()
        broken[3, 4] = bad
        for make in (lambda b=broken: pca(b), lambda b=broken: gap_axes(b, TEXTS)):
            with pytest.raises(LabError, match="finite"):
                make()
    with pytest.raises(LabError, match="vectors of 12 numbers, these have 7"):
        pca(BOTH).project(BOTH[:, :7])


# -- the gap slider -------------------------------------------------------------------------------


def test_the_slider_moves_as_the_geometry_room_does():
    same = len(TEXTS)
    tensors = [torch.from_numpy(v.astype(np.float64)) for v in (PICTURES[:same], TEXTS)]
    expected = shift_gap(Paired(*tensors, torch.eye(same).bool()), 0.3)
    images, words = towards_each_other(PICTURES[:same], TEXTS, 0.3)
    np.testing.assert_allclose(images, expected.images.numpy(), atol=1e-12)
    np.testing.assert_allclose(words, expected.texts.numpy(), atol=1e-12)


def test_the_slider_at_nought_moves_nothing_and_at_a_half_closes_the_gap():
    view = gap_axes(PICTURES, TEXTS)
    images, words = towards_each_other(PICTURES, TEXTS, 0.0)
    np.testing.assert_allclose(images, PICTURES, atol=1e-7)
    np.testing.assert_allclose(words, TEXTS, atol=1e-7)
    apart = [
        view.project(a).mean(axis=0)[0] - view.project(b).mean(axis=0)[0]
        for a, b in (towards_each_other(PICTURES, TEXTS, share) for share in (-0.5, 0.0, 0.5, 1.0))
    ]
    assert apart == sorted(apart, reverse=True)
    assert abs(apart[2]) < 0.1 * apart[1] and apart[3] < 0


# -- neighbours -----------------------------------------------------------------------------------


def by_brute_force(vectors, query, rows, k):
    cosines = {
        r: round(float(np.dot(vectors[r].astype(float), query.astype(float))), 9) for r in rows
    }
    return sorted(rows, key=lambda r: (-cosines[r], r))[:k]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 12), st.integers(0, 39))
def test_neighbours_are_those_of_brute_force_ties_in_order_of_rows(seed, k, row):
    # Directions of few whole numbers: many vectors occur twice, many pairs have equal cosines.
    rng = np.random.default_rng(seed)
    vectors = unit(rng.integers(0, 2, size=(40, 4)) + np.array([1.0, 0, 0, 0]))
    is_text = rng.random(40) < 0.5
    found = neighbours(vectors, is_text, vectors[row], k, leave_out=row)
    for kind, wanted in ((found.pictures, ~is_text), (found.texts, is_text)):
        rows = [int(r) for r in np.flatnonzero(wanted) if r != row]
        assert kind.rows.tolist() == by_brute_force(vectors, vectors[row], rows, k)
        assert (np.diff(kind.cosines) <= 0).all()


def test_a_new_query_may_find_every_row_and_too_many_are_all_of_them():
    found = neighbours(BOTH, IS_TEXT, BOTH[4], k=1000)
    assert found.pictures.rows[0] == 4 and found.pictures.cosines[0] == pytest.approx(1)
    assert (len(found.pictures.rows), len(found.texts.rows)) == (60, 45)
    assert len(neighbours(PICTURES, IS_TEXT[:60], BOTH[4]).texts.rows) == 0
    with pytest.raises(LabError, match="At least one"):
        neighbours(BOTH, IS_TEXT, BOTH[4], k=0)
    with pytest.raises(LabError, match="vectors of 12 numbers"):
        neighbours(BOTH, IS_TEXT, BOTH[4][:3])


def circle(n=60):
    angles = np.sort(np.random.default_rng(1).uniform(0, 2 * np.pi, n))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_perfect_map_is_wholly_trustworthy_and_a_shuffled_one_is_not():
    # Vectors on a circle are their own map.
    vectors = circle()
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(9, 9)))[0][:2]
    wide = (vectors @ turn).astype(np.float32)  # the same circle in nine dimensions
    assert trustworthiness(vectors, wide, k=5) == pytest.approx(1)
    assert all(true_on_map(vectors, wide, row, k=5) == 5 for row in range(60))
    shuffled = vectors[np.random.default_rng(3).permutation(60)]
    assert trustworthiness(shuffled, wide, k=5) < 0.7
    assert np.mean([true_on_map(shuffled, wide, row, k=5) for row in range(60)]) < 1.5


def test_true_neighbours_are_counted_one_by_one():
    angles = np.array([0.0, 0.1, 0.25, 0.45, 2.0, 3.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # On the map row 4 has slipped in beside row 0, whose true two are 1 and 2.
    points = np.array([[0.0], [0.1], [0.3], [0.5], [0.2], [3.0]])
    assert true_on_map(points, vectors, 0, k=2) == 1
    assert true_on_map(points, vectors, 0, k=3) == 2
    assert true_on_map(points, vectors, 0, k=99) == 5
    assert true_on_map(points[:1], vectors[:1], 0) == 0


def test_whatever_is_as_near_as_the_last_neighbour_counts_as_true():
    vectors = unit(np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, -1, 0], [-1, 0, 0]]))
    points = np.array([[0.0, 0], [9, 9], [9, 8], [1, 0], [8, 8]])
    assert true_on_map(points, vectors, 0, k=1) == 1  # rows 1, 2 and 3 are equally near


def test_trustworthiness_says_what_it_needs():
    with pytest.raises(LabError, match="more than 20 points"):
        trustworthiness(circle(20), circle(20), k=10)


# -- UMAP -----------------------------------------------------------------------------------------


def test_umap_is_asked_for_cosines_a_seed_and_one_thread(monkeypatch):
    asked = {}

    class FakeUMAP:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, : asked["n_components"]] + 5

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUMAP))
    laid = umap_view(BOTH, IS_TEXT, dimensions=3, seed=7)
    assert (asked["metric"], asked["random_state"], asked["n_jobs"]) == ("cosine", 7, 1)
    assert laid.points.shape == (105, 3)
    np.testing.assert_allclose(laid.points.mean(axis=0), 0, atol=1e-5)
    umap_view(BOTH[:8], IS_TEXT[:8])
    assert asked["n_neighbors"] == 7
    with pytest.raises(LabError, match="more than 3 vectors"):
        umap_view(BOTH[:3], IS_TEXT[:3])
    with pytest.raises(LabError, match="finite"):
        umap_view(BOTH * np.float32(np.nan), IS_TEXT)


def test_without_umap_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(LabError, match="pip install"):
        umap_view(BOTH, IS_TEXT)


@pytest.fixture
def laid():
    return LaidOut(np.random.default_rng(4).normal(size=(105, 2)), BOTH, IS_TEXT)


def test_a_known_vector_is_placed_on_its_own_point_of_a_layout(laid):
    placed = laid.place(BOTH, IS_TEXT)
    assert placed.approximate
    np.testing.assert_allclose(placed.points, laid.points, atol=1e-4)


def test_a_new_vector_is_placed_among_its_nearest_of_the_same_kind(laid):
    new = unit(BOTH[[3]] + BOTH[[9]])
    rows = by_brute_force(BOTH, new[0], range(60), 4)
    weights = [1 / (1 - float(np.dot(BOTH[r].astype(float), new[0].astype(float)))) for r in rows]
    expected = np.average(laid.points[rows], axis=0, weights=weights)
    placed = laid.place(new, np.array([False]), k=4).points
    np.testing.assert_allclose(placed[0], expected)
    as_text = laid.place(new, np.array([True]), k=1).points
    nearest_text = by_brute_force(BOTH, new[0], range(60, 105), 1)
    np.testing.assert_allclose(as_text, laid.points[nearest_text])


def test_a_layout_of_pictures_alone_takes_no_text(laid):
    alone = LaidOut(laid.points[:60], PICTURES, IS_TEXT[:60])
    with pytest.raises(LabError, match="no texts on this map"):
        alone.place(TEXTS[:1], np.array([True]))
    with pytest.raises(LabError, match="vectors of 12 numbers"):
        alone.place(TEXTS[:1, :5], np.array([False]))
    assert alone.place(TEXTS[:0], IS_TEXT[:0]).points.shape == (0, 2)


# -- files of coordinates -------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    points = np.random.default_rng(5).normal(size=(9, 2)) * 10
    save_coordinates(tmp_path / "a.npz", "me", {"gap": points, "right": np.arange(9, dtype="i1")})
    return tmp_path / "a.npz", points


def test_coordinates_come_back_to_half_precision(file):
    path, points = file
    arrays = open_coordinates(path, "me", 9)
    np.testing.assert_allclose(arrays["gap"], points, rtol=2**-11)
    assert arrays["gap"].dtype == np.float32
    assert arrays["right"].tolist() == list(range(9))


def test_coordinates_of_other_weights_or_another_collection_are_refused(file):
    with pytest.raises(LabError, match="are those of me, not of you"):
        open_coordinates(file[0], "you", 9)
    with pytest.raises(LabError, match="damaged"):
        open_coordinates(file[0], "me", 8)


def test_damaged_and_foreign_files_are_refused(file, tmp_path):
    whole = file[0].read_bytes()
    bad = tmp_path / "bad.npz"
    contents = [b"", b"not an archive", whole[:50], whole[:-40], whole[:200] + whole[210:]]
    flipped = bytearray(whole)
    flipped[whole.index(b"gap.npy") + 60] ^= 255  # within the compressed numbers
    for content in [*contents, bytes(flipped)]:
        bad.write_bytes(content)
        with pytest.raises(LabError, match="no coordinates that can be read"):
            open_coordinates(bad, "me", 9)
    with pytest.raises(LabError, match="no coordinates that can be read"):
        open_coordinates(tmp_path / "missing.npz", "me", 9)
    me = np.array("me")
    for arrays in (
        {"gap": np.zeros((9, 2))},  # nobody's
        {"signature": np.array([1]), "gap": np.zeros((9, 2))},
        {"signature": me, "gap": np.array([{"a": 1}] * 9, dtype=object)},  # a pickle
        {"signature": me, "gap": np.array(["text"] * 9)},
    ):
        np.savez(bad, **arrays)
        with pytest.raises(LabError, match="no coordinates that can be read"):
            open_coordinates(bad, "me", 9)
    save_coordinates(bad, "me", {"gap": np.full((9, 2), np.nan)})
    with pytest.raises(LabError, match="damaged"):
        open_coordinates(bad, "me", 9)
    np.save(bad.with_suffix(".npy"), np.zeros((9, 2)))
    with pytest.raises(LabError, match="no coordinates that can be read"):
        open_coordinates(bad.with_suffix(".npy"), "me", 9)


# -- what the maps show ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENTS)
def test_every_row_of_a_collection_is_described(name):
    content = CONTENTS[name]()
    assert all(len(column) == len(content) for column in content.columns.values())
    assert content.is_text.sum() == len(content) - content.pictures
    modality = np.array(content.columns["modality"])
    assert ((modality == "text") == content.is_text).all()
    # A picture's name is a text, and says what the picture is called.
    assert content.is_text[content.targets].all()
    assert all(content.names[i] == content.names[t] for i, t in enumerate(content.targets))
    group = content.columns["group"]
    assert all(group[i] == group[t] for i, t in enumerate(content.targets))
    assert all((lang == "") != text for lang, text in
               zip(content.columns["language"], content.is_text, strict=True))  # fmt: skip
    drawn = content.draw([0, content.pictures - 1])
    assert drawn.shape == (2, 3, 64, 64) and drawn.min() >= 0 and drawn.max() <= 1


def test_the_emoji_are_all_there_under_several_languages():
    content = CONTENTS["emoji"]()
    assert content.pictures == 1911 and len(content) == 3 * content.pictures
    row = content.names.index("waving hand")
    assert content.columns["group"][row] == "people-body"
    spoken = content.columns["language"]
    assert all(spoken.count(code) > 300 for code in map_collections.LANGUAGES)
    assert "waving hand: dark skin tone" not in content.names
    assert spoken.count("en") == content.pictures


def test_the_digest_changes_with_what_is_shown():
    content = CONTENTS["shapes"]()
    swapped = (content.names[1], content.names[0], *content.names[2:])
    other = replace(content, names=(swapped[0] + "!", *swapped[1:]))
    assert len({content.digest(), other.digest(), CONTENTS["emoji"]().digest()}) == 3
    assert replace(content).digest() == content.digest()


@pytest.fixture(scope="module")
def shapes():
    return map_of(load("shapes", "cpu"))


@pytest.mark.parametrize("name", names())
def test_the_shipped_points_belong_to_the_shipped_weights(name):
    model_map = map_of(load(name, "cpu"))
    assert model_map.is_shipped, "run: python scripts/map_coordinates.py"
    rows = len(model_map.content)
    assert {key: array.shape for key, array in model_map.shipped.items()} == {
        "right": (rows,), "gap": (rows, 3), "pca": (rows, 3), "umap2": (rows, 2), "umap3": (rows, 3)
    }  # fmt: skip
    for view in map_collections.VIEWS:
        assert model_map.points(view, 2).shape == (rows, 2)
        assert np.ptp(model_map.points(view, 3), axis=0).min() > 0
    assert "_encoded" not in vars(model_map), "opening a map encodes nothing"
    assert model_map.file.stat().st_size < 300_000


def test_shipped_points_are_those_that_the_model_gives_today(shapes):
    for view in ("gap", "pca"):
        exact = shapes.view(view, 3).project(shapes.vectors)
        np.testing.assert_allclose(shapes.points(view, 3), exact, atol=2e-3)
    np.testing.assert_array_equal(shapes.shipped["right"], shapes.right)
    points, vectors = shapes.points("umap", 2), shapes.vectors
    assert trustworthiness(points, vectors, sample=600) > 0.93
    shuffled = points[np.random.default_rng(0).permutation(len(points))]
    assert trustworthiness(shuffled, vectors, sample=600) < 0.6


def test_right_and_wrong_are_counted_as_the_classifier_does(shapes):
    from clip_lab import ZeroShotClassifier

    content, column = shapes.content, shapes.columns["zero-shot"]
    labels = list(dict.fromkeys(content.names[t] for t in content.targets))
    best = ZeroShotClassifier(shapes.encoder, labels).predict(
        torch.from_numpy(shapes.vectors[: content.pictures])
    )
    said = [row[0][0] for row in best.top(1)]
    right = [word == content.names[i] for i, word in enumerate(said)]
    assert column[: content.pictures] == tuple("right" if r else "wrong" for r in right)
    assert set(column[content.pictures :]) == {""}
    assert np.mean(right) > 0.8


def test_a_drawn_picture_lands_in_every_view_where_it_is(shapes):
    row = 7
    vector = shapes.encoder.encode_images(shapes.content.draw([row])).numpy()
    for view in map_collections.VIEWS:
        placed = shapes.view(view, 2).place(vector, np.array([False]))
        assert placed.approximate == (view == "umap")
        np.testing.assert_allclose(placed.points[0], shapes.points(view, 2)[row], atol=0.05)


def test_the_gap_closes_on_the_map(shapes):
    text = shapes.content.is_text
    gaps = [points[~text, 0].mean() - points[text, 0].mean()
            for points in (shapes.moved(0.0), shapes.moved(0.5))]  # fmt: skip
    assert 0 < abs(gaps[1]) < 0.1 * gaps[0]
    np.testing.assert_allclose(shapes.moved(0.0), shapes.points("gap", 2), atol=2e-3)
    with pytest.raises(LabError, match="no axes"):
        shapes.moved(0.5, "umap")


def test_a_map_is_kept_for_its_weights_and_no_others(shapes, encoder):
    again = load("shapes", "cpu")
    assert map_of(again) is map_of(load("shapes", "cpu"))
    with torch.no_grad():
        again.model.logit_scale += 0.01
    other = map_of(again)
    assert other.signature != shapes.signature and not other.is_shipped
    with pytest.raises(LabError, match="are those of"):
        _ = other.shipped
    for _ in range(2):
        map_of(load("shapes", "cpu"))
        map_of(encoder)
    assert len(map_collections._kept) <= map_collections.KEPT_MAPS
    with pytest.raises(LabError, match="no collection “birds”"):
        map_of(encoder, "birds")


def test_a_damaged_file_in_the_package_is_said_and_not_shown(monkeypatch, tmp_path):
    model_map = ModelMap(load("shapes", "cpu"), CONTENTS["shapes"]())
    whole = model_map.file.read_bytes()
    monkeypatch.setattr(map_collections, "FILES", tmp_path)
    assert not ModelMap(model_map.encoder, model_map.content).is_shipped  # none there: no fault
    (tmp_path / "shapes.npz").write_bytes(whole[:1000])
    with pytest.raises(LabError, match="no coordinates that can be read"):
        model_map.points("umap", 2)


@pytest.fixture
def small():
    """Six coloured squares, one name twice."""
    colours = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    said = ("red fox", "green apple", "a blue star", "red fox", "blue whale", "a red circle")
    columns = {"modality": ("picture",) * 6 + ("text",) * 6}
    targets = np.arange(6) + 6
    return Content("small", said * 2, columns, targets,
                   lambda rows: colours[[*rows]].expand(-1, -1, 64, 64))  # fmt: skip


def test_a_model_without_shipped_points_is_encoded_once(encoder, small):
    calls = []
    encode = encoder.encode_images
    encoder.encode_images = lambda *a, **k: (calls.append(1), encode(*a, **k))[1]
    model_map = ModelMap(encoder, small)
    assert not model_map.is_shipped
    points = model_map.points("gap", 2)
    assert points.shape == (12, 2) and len(calls) == 1
    expected = gap_axes(model_map.vectors[:6], model_map.vectors[6:]).project(model_map.vectors)
    np.testing.assert_array_equal(points, expected)
    model_map.points("pca", 3)
    assert model_map.view("pca", 3) is model_map.view("pca", 3) and len(calls) == 1
    assert set(model_map.columns["zero-shot"][:6]) <= {"right", "wrong"}
    with pytest.raises(LabError, match="no view “tsne”"):
        model_map.points("tsne")


def test_two_pictures_with_one_name_are_one_class(encoder, small):
    model_map = ModelMap(encoder, small)
    vectors = torch.nn.functional.normalize(torch.eye(12)[:, :10] + 0.01, dim=1).numpy()
    vectors[6:] = vectors[:6]  # each picture on its own name's vector ...
    vectors[9] = vectors[6]
    vectors[3] = vectors[6]  # ... and row 3 on that of its namesake, row 0
    vectors[5] = vectors[7]  # but the circle on the apple
    vars(model_map)["_encoded"] = vectors
    assert model_map.right.tolist() == [1, 1, 1, 1, 1, 0] + [-1] * 6


def test_neither_importing_maps_nor_opening_a_shipped_one_loads_umap():
    code = (
        "import sys, clip_lab.maps; from clip_lab import load\n"
        "from clip_lab.map_collections import map_of\n"
        "opened = map_of(load('shapes', 'cpu'))\n"
        "for view in ('gap', 'pca', 'umap'): opened.points(view, 2), opened.points(view, 3)\n"
        "opened.columns, opened.is_shipped\n"
        "print([m for m in ('umap', 'numba', 'sklearn', 'scipy') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"
