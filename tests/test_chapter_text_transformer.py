"""Chapter 5: what it says is measured; what is built is the lab's; its widget in a browser."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="widgets need the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter

import clip_lab
from clip_lab.errors import LabError
from clip_lab.interpret.attention import caption_attention
from clip_lab.model import CLIP
from clip_lab.model.config import BertConfig, CLIPConfig, ViTConfig
from clip_lab.model.text import end_positions
from clip_lab.view.widgets.attention import AttentionWidget

CHAPTER = chapter("text_transformer")
NAMES = ["start", "a", "</script><b>red</b>", "<!-- star", "end"]
LAYERS, HEADS, N = 2, 3, len(NAMES)


class TestRun(Run):
    """Stopped at each gap, and quick."""


# -- what is built --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["shapes", "emoji"])
def test_the_tower_that_is_built_is_the_labs(ran, model):
    encoder = clip_lab.load(model)
    tower, texts = encoder.model.text, ["a red circle left of a blue star", "", "cat face", "a ! b"]
    tokens = encoder.tokenizer(texts)
    end = int(tokens[1, 1])  # the empty text is a start token and an end token
    with torch.no_grad():
        states = ran["token_states"](tower, tokens, ran["causal_mask"](tokens.shape[1]))
        places = ran["end_places"](tokens, end)
        assert torch.equal(places, end_positions(tokens, end))
        mine = states[torch.arange(len(texts)), places] @ tower.text_projection
        assert torch.allclose(mine, encoder.model.encode_text(tokens), atol=2e-5)


def test_the_built_tower_gives_what_encode_texts_gives(ran):
    assert float(ran["difference"].max()) < 1e-6


def test_cutting_changes_nothing(ran):
    short = ran["cut_to_longest"](ran["rows"], ran["end"])
    assert short.shape[1] < ran["rows"].shape[1]
    wide = ran["text_vectors"](ran["rows"])
    assert torch.allclose(ran["text_vectors"](short), wide, atol=1e-6)


# -- what is said ---------------------------------------------------------------------------------


def test_nothing_after_the_end_counts_and_the_start_token_knows_nothing(ran):
    assert float(ran["change"].max()) < 1e-6
    assert float(ran["apart"]) < 1e-6
    assert len(ran["rows"]) == 44


def test_states_move_from_the_replaced_token_on_and_not_before(ran):
    moved = ran["moved"]
    assert np.tril(moved, -1).max() < 1e-6
    assert moved[np.triu_indices(len(moved))].min() > 0.01
    assert moved[:, -1].min() > 0.05  # every token reaches the end token
    red, circle = 2, 3  # places in "start a red circle ..."
    assert moved[red].argmax() == circle
    assert moved[red, red] < 0.1 * moved[red, circle]


def test_mistakes_cost_what_the_chapter_says(ran):
    shares, chance = ran["shares"], ran["chance"]
    assert shares["as it should be"] > 0.99
    assert 0.6 < shares["no mask"] < 0.95  # most pictures still find theirs
    assert shares["largest id"] < shares["no mask"]
    assert shares["mask turned round"] == pytest.approx(chance)  # all captions are one
    assert shares["no end token"] == pytest.approx(chance)
    assert len(set(ran["places"].tolist())) == 1  # "of one length, as these are"
    upside = ran["vectors"]["mask turned round"]
    assert torch.allclose(upside, upside[0].expand_as(upside), atol=1e-6)


def test_the_new_word_hides_its_noun_from_the_largest_id(ran):
    states, pair = ran["scarlet_states"], ran["pair"]
    at_end = ran["read"](states, ran["end_places"](pair, ran["end"]))
    at_largest = ran["read"](states, pair.argmax(dim=1))
    assert torch.equal(pair.argmax(dim=1), (pair == ran["scarlet"]).int().argmax(dim=1))
    assert float(at_end[0] @ at_end[1]) < 0.9
    assert float(at_largest[0] @ at_largest[1]) > 1 - 1e-5


def test_word_order_is_seen_and_hardly_counts(ran):
    same, places, colours, other = (values.mean() for values in ran["order"].values())
    assert list(ran["order"])[2] == "colours swapped"
    assert min(same, places, colours) > 0.98
    assert other < 0.8
    assert same <= places + 0.001  # the paraphrase is no nearer than the lie
    assert ran["order"]["colours swapped"].min() < 0.99  # but order is seen


def test_without_positions_and_mask_order_is_gone_and_only_then(ran):
    seen = ran["swap_seen"]
    assert abs(seen["no positions", "no mask"]) < 1e-5
    rest = [value for key, value in seen.items() if key != ("no positions", "no mask")]
    assert len(rest) == 3
    assert min(rest) > 1e-3


def test_the_published_results_are_as_told(ran):
    for name, low, high in (("relations", 0.45, 0.55), ("binding", 0.45, 0.6)):
        runs = ran["results"]()[name].measured.runs
        key = "plain_relation" if name == "relations" else "plain_swapped"
        assert len(runs) >= 3
        assert low < np.mean([run[key] for run in runs]) < high
        twins = ran["results"]()[name].verdict.effects["gain by twins"]
        assert not twins.apart  # "learnt measurably no more"


# -- the attention that is shown ------------------------------------------------------------------


def test_the_attention_shown_is_causal_and_gives_the_models_own_vector():
    encoder = clip_lab.load("emoji")
    weights = caption_attention(encoder, "a cat face")
    n = len(encoder.tokenizer.encode("a cat face")) + 2
    assert weights.shape == (3, 3, n, n)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 3, n), atol=1e-5)
    assert float(weights.triu(1).abs().max()) == 0
    again = caption_attention(encoder, "a cat with a hat")  # the same beginning, the same weights
    assert torch.allclose(weights[..., :3, :3], again[..., :3, :3], atol=1e-5)


def test_the_play_questions_have_the_answers_that_one_sees(ran):
    weights, words = ran["weights"], ran["names_of"](ran["text"], ran["emoji"].tokenizer)
    assert [words[k] for k in weights[0, :, -1].argmax(-1)] == ["heart", "face", "cat"]
    face = words.index("face")
    assert words[weights[1, 0, face].argmax()] == "cat"
    assert weights[1, 0, face].max() > 0.9
    assert (weights[2, :2, -1, :2].sum(-1) > 0.9).all()  # the start token and the first "a"


def test_a_tower_of_another_kind_is_told():
    config = CLIPConfig(8, ViTConfig(16, 8, 8, 1, 8), BertConfig(30, 8, 8, 1, 8, 8))
    other = replace(clip_lab.load("shapes"), model=CLIP(config), name="other")
    with pytest.raises(LabError, match="“other” isn't CLIP's own"):
        caption_attention(other, "a text")


# -- the widget: what Python hands over -----------------------------------------------------------


def attention(causal: bool = True, n: int = N) -> np.ndarray:
    weights = np.random.default_rng(2).gamma(0.6, size=(LAYERS, HEADS, n, n)) + 0.01
    weights = np.tril(weights) if causal else weights
    return weights / weights.sum(-1, keepdims=True)


def widget(**options) -> AttentionWidget:
    return AttentionWidget(attention(), NAMES, **options)


def test_the_widget_holds_what_it_was_given():
    made = widget(layer=1, head=-1, show="matrix")
    assert np.allclose(made.weights, attention(), atol=6e-5)
    assert (made.names, made.causal, made.token) == (NAMES, True, N - 1)
    assert (made.layer, made.head, made.show, made.grid) == (1, -1, "matrix", [])
    assert not AttentionWidget(attention(causal=False), NAMES).causal


@pytest.mark.parametrize(
    ("weights", "names", "options", "words"),
    [
        (attention()[0], NAMES, {}, "need weights of shape"),
        (attention(), NAMES[:4], {}, "4 tokens need"),
        (attention()[..., :1, :1], NAMES[:1], {}, "at least 2"),
        (attention() * 2, NAMES, {}, "after the softmax"),
        (attention() * np.nan, NAMES, {}, "after the softmax"),
        (np.log(attention(False)), NAMES, {}, "after the softmax"),
        (attention(), NAMES, {"layer": 2}, "counted from 0"),
        (attention(), NAMES, {"head": 3}, "3 heads"),
        (attention(), NAMES, {"token": 5}, "token 5"),
        (attention(), NAMES, {"grid": (3, 2)}, "as many of the 5"),
        (attention(), NAMES, {"picture": np.zeros((4, 4, 3))}, "needs `grid`"),
        (np.full((20, 20, 40, 40), 1 / 40), ["x"] * 40, {}, "too many"),
    ],
)
def test_what_the_widget_can_not_show_is_told(weights, names, options, words):
    with pytest.raises(LabError, match=words):
        AttentionWidget(weights, names, **options)


# -- the widget in a browser, without a kernel ----------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    patches = AttentionWidget(
        attention(causal=False, n=5), ["class", *"1234"], grid=(2, 2), token=0,
        picture=np.full((8, 8, 3), 0.7),
    )  # fmt: skip
    return widget_page(tmp_path_factory.mktemp("attention"), widget(), patches)


def shares(page, which: int = 0) -> list[str]:
    return page.locator(".cla").nth(which).locator(".cla-share").all_text_contents()


def expected(row: np.ndarray, token: int) -> list[str]:
    texts = [f"{100 * share:.{1 if share < 0.0995 else 0}f} %" for share in row]
    return [text if j <= token else "·" for j, text in enumerate(texts)]


def choose(page, group: str, label: str) -> None:
    page.locator(f".cla >> nth=0 >> [data-pick={group}]").get_by_label(label, exact=True).check()


@pytest.mark.browser
def test_layers_heads_and_tokens_show_their_own_row(browser, file):
    with visit(browser, file) as page:
        for layer in range(LAYERS):
            choose(page, "layer", str(layer + 1))
            for head in range(HEADS):
                choose(page, "head", str(head + 1))
                for token in (1, 4, 2):
                    page.locator(".cla >> nth=0 >> .cla-tokens label").nth(token).hover()
                    wanted = expected(attention().round(4)[layer, head, token], token)
                    assert shares(page) == wanted
        choose(page, "head", "mean")
        mean = attention().round(4)[1].mean(0)
        assert shares(page) == expected(mean[2], 2)
        assert "layer 2, mean of heads" in page.locator(".cla .cl-said").first.inner_text()
        assert page.locator(".cla b").first.inner_text().startswith("“</script><b>red</b>”")


@pytest.mark.browser
def test_arcs_go_to_what_is_looked_at_and_the_matrix_takes_their_place(browser, file):
    with visit(browser, file) as page:
        arcs = page.locator(".cla >> nth=0 >> .cla-arcs path")
        page.locator(".cla >> nth=0 >> .cla-tokens label").nth(2).hover()
        assert arcs.count() == int((attention()[0, 0, 2] >= 0.004).sum())
        widths = arcs.evaluate_all("paths => paths.map(p => parseFloat(p.style.strokeWidth))")
        row = attention()[0, 0, 2]
        assert np.allclose(widths, 1 + 9 * row[row >= 0.004], atol=0.01)
        choose(page, "show", "matrix")
        cells = page.locator(".cla >> nth=0 >> .cla-cell")
        assert not page.locator(".cla-arcs").first.is_visible()
        assert cells.count() == N * N
        assert page.locator(".cla >> nth=0 >> .cla-cell.cla-hidden").count() == N * (N - 1) // 2
        depths = cells.evaluate_all(
            "cells => cells.map(c => parseFloat(c.style.getPropertyValue('--depth')))"
        )
        assert np.allclose(np.reshape(depths, (N, N)), 100 * attention()[0, 0], atol=0.06)
        cells.nth(3 * N).hover()  # a row of the matrix chooses its token
        assert shares(page) == expected(attention().round(4)[0, 0, 3], 3)


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        said = page.locator(".cla .cl-said").first
        for key in ("Tab", "ArrowRight"):
            page.keyboard.press(key)
        assert ", layer 2, head 1," in said.inner_text()
        for key in ("Tab", "ArrowRight", "Tab", "ArrowRight", "Tab"):
            page.keyboard.press(key)
        assert ", layer 2, head 2," in said.inner_text()
        assert page.locator(".cla").first.get_attribute("data-show") == "matrix"
        assert said.inner_text().startswith("“end”, token 5 of 5")
        for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        assert said.inner_text().startswith("“<!-- star”, token 4 of 5")
        assert "hides the 1 after it" in said.inner_text()
        assert shares(page) == expected(attention().round(4)[1, 1, 3], 3)


@pytest.mark.browser
def test_a_table_says_it_in_words(browser, file):
    with visit(browser, file) as page:
        page.locator(".cla >> nth=0 >> .cla-tokens label").nth(1).hover()
        page.get_by_text("The same as a table").first.click()
        rows = page.locator(".cla >> nth=0 >> tbody tr")
        assert rows.count() == N
        one, mean = attention().round(4)[0, 0, 1], attention().round(4)[0].mean(0)[1]
        told = rows.locator("td").all_inner_texts()
        assert [text.replace("hidden", "·") for text in told[::2]] == expected(one, 1)
        assert [text.replace("hidden", "·") for text in told[1::2]] == expected(mean, 1)


@pytest.mark.browser
def test_patches_lie_as_in_the_picture(browser, file):
    with visit(browser, file) as page:
        second = page.locator(".cla").nth(1)
        boxes = [second.locator(".cla-patch").nth(k).bounding_box() for k in range(4)]
        assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"] == boxes[3]["y"]
        assert boxes[0]["x"] == boxes[2]["x"] < boxes[1]["x"] == boxes[3]["x"]
        assert "No mask" in second.locator(".cla-about").inner_text()
        second.locator(".cla-patch").nth(3).hover()
        row = attention(causal=False).round(4)[0, 0, 4]
        assert shares(page, 1) == expected(row, 4)
        assert second.locator(".cl-said").inner_text().startswith("“4”, token 5 of 5")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, width=360, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for show in ("arcs", "matrix"):
            choose(page, "show", show)
            assert grave_faults(page) == []
