"""Heat maps: against the papers' equations on cases small enough to compute by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.interpret import attention, heat_maps, localisation
from clip_lab.interpret.heat_maps import METHODS
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess

TEXTS = ["a red circle", "a green square", "a blue star"]


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def exact(encoder):
    """The tiny ViT in 64 bits, with positions and classes large enough to matter."""
    encoder.model.double()
    return encoder


def prepared(encoder, pictures):
    return torch.stack([encoder.preprocess(picture) for picture in pictures]).double()


def with_tower(tokenizer, vision, activation="quick_gelu"):
    torch.manual_seed(1)
    text = TextConfig(len(tokenizer), tokenizer.context_length, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, vision, text, activation))
    return DualEncoder(model, tokenizer, Preprocess(vision.image_size), "other")


# -- attention ------------------------------------------------------------------------------------


def test_attention_written_out_gives_the_models_own_picture_vector(exact, pictures):
    tower, images = exact.model.visual, prepared(exact, pictures)
    passed = attention.trace(tower, attention.first_tokens(tower, images))
    own = heat_maps.projected(tower, passed.tokens[:, 0])
    assert torch.allclose(own, exact.model.encode_image(images), atol=1e-12)


def test_what_each_token_takes_sums_to_one(encoder, pictures):
    weights = attention.attention_maps(encoder, pictures)
    assert weights.shape == (3, 2, 1, 17, 17)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 1, 17), atol=1e-5)


def test_a_resnets_pooling_is_its_values_mixed_by_the_shares(tokenizer):
    encoder = with_tower(tokenizer, ResNetConfig(64, (1, 1, 1, 1), 8))
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    shares = attention.pool_attention(encoder, pictures)
    pool = encoder.model.visual.attnpool
    assert shares.shape == (2, pool.heads, 2, 2) and (shares > 0).all()
    assert (shares.sum(dim=(2, 3)) < 1).all()
    images = torch.stack([encoder.preprocess(picture) for picture in pictures])
    with torch.no_grad():
        x = attention.last_stage(encoder.model.visual, images).flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positional_embedding
        own = 1 - shares.flatten(2).sum(dim=2, keepdim=True)
        weights = torch.cat([own, shares.flatten(2)], dim=2)
        values = pool.v_proj(x).unflatten(2, (pool.heads, -1))
        pooled = torch.einsum("bhp,bphc->bhc", weights, values).flatten(1)
        assert torch.allclose(pool.c_proj(pooled), encoder.model.encode_image(images), atol=1e-5)


def test_only_a_resnet_pools_over_places(encoder, pictures):
    with pytest.raises(LabError, match="no ResNet"):
        attention.pool_attention(encoder, pictures)


def test_weights_follow_the_formula_on_two_tokens():
    asking = torch.tensor([[[[2.0, 0.0, 0.0, 0.0]]]])
    answering = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0]]]])
    first = math.exp(2 / math.sqrt(4)) / (math.exp(2 / math.sqrt(4)) + 1)
    weights = attention.attention_weights(asking, answering)
    assert torch.allclose(weights, torch.tensor([[[[first, 1 - first]]]]))


def test_more_pictures_than_a_batch_come_back_in_order(encoder):
    many = torch.rand(attention.BATCH + 3, 3, 32, 32)
    together = heat_maps.raw_similarity(encoder, many, TEXTS)
    last = heat_maps.raw_similarity(encoder, many[-2:], TEXTS)
    assert torch.allclose(together[-2:], last, atol=1e-5)


# -- raw similarity -------------------------------------------------------------------------------


def test_raw_similarity_is_the_cosine_of_a_patch_and_a_text(exact, pictures):
    maps = heat_maps.raw_similarity(exact, pictures, TEXTS)
    tower, images = exact.model.visual, prepared(exact, pictures)
    states = tower.transformer(attention.first_tokens(tower, images))
    patch = tower.ln_post(states[1, 1 + 6]) @ tower.proj  # second picture, row 1, column 2
    text = exact.encode_texts(TEXTS)[2].double()
    assert torch.isclose(maps[1, 2, 1, 2], F.cosine_similarity(patch, text, dim=0))


def test_a_resnets_mean_among_the_asking_places_is_its_picture_vector(tokenizer):
    encoder = with_tower(tokenizer, ResNetConfig(64, (1, 1, 1, 1), 8))
    images = torch.rand(2, 3, 64, 64)
    pool, stage = encoder.model.visual.attnpool, None
    stage = attention.last_stage(encoder.model.visual, images)
    alike = stage.mean(dim=(2, 3), keepdim=True).expand_as(stage).contiguous()
    # Where all places hold the same and no position differs, each asks what the mean asks.
    with torch.no_grad():
        pool.positional_embedding.zero_()
        asked = heat_maps._all_places_ask(pool, alike)
        assert torch.allclose(asked, pool(alike)[:, None].expand_as(asked), atol=1e-5)
    maps = heat_maps.raw_similarity(encoder, images, TEXTS)
    assert maps.shape == (2, 3, 2, 2)


def test_a_siglip_patch_alone_is_what_the_pool_makes_of_one_patch(tokenizer):
    encoder = with_tower(tokenizer, ViTConfig(32, 8, 32, 2, 16, pooling="attention"))
    pool, states = encoder.model.visual.attnpool, torch.randn(2, 5, 32)
    alone = heat_maps._each_alone(pool, states)
    assert torch.allclose(alone[:, 3], pool(states[:, 3:4]), atol=1e-5)
    assert heat_maps.raw_similarity(encoder, torch.rand(2, 3, 32, 32), TEXTS).shape == (2, 3, 4, 4)


# -- attention rollout ----------------------------------------------------------------------------


def test_rollout_multiplies_half_attention_half_identity():
    first = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    second = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    heads = torch.stack([torch.stack([first, first]), torch.stack([2 * second, 0 * second])])
    rolled = heat_maps.rolled_out(heads[None])
    # By hand: (second + 1)/2 @ (first + 1)/2; the second layer's two heads average to `second`.
    by_hand = torch.tensor([[0.525, 0.475], [0.3, 0.7]], dtype=torch.float64)
    assert torch.allclose(rolled[0], by_hand)


def test_rollout_is_blind_to_the_text_and_the_others_are_not(encoder, pictures):
    for name, method in METHODS.items():
        maps = method(encoder, pictures, TEXTS)
        same = torch.allclose(maps[:, 0], maps[:, 1])
        assert same == (name == "attention rollout"), name


# -- gradient-weighted relevance ------------------------------------------------------------------


def test_relevance_follows_equations_5_and_6_by_hand():
    one = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    slope = torch.tensor([[2.0, -4.0], [0.0, 4.0]], dtype=torch.float64)
    # Ā = (∇A ⊙ A)⁺ = [[1, 0], [0, 3]]; twice: R = (1 + Ā)² for one head.
    found = heat_maps.relevances([one[None, None]] * 2, [slope[None, None]] * 2)
    assert torch.allclose(found[0], torch.tensor([[4.0, 0.0], [0.0, 16.0]], dtype=torch.float64))
    # A second head without slope halves the mean.
    heads, slopes = torch.stack([one, one])[None], torch.stack([slope, 0 * slope])[None]
    found = heat_maps.relevances([heads], [slopes])
    assert torch.allclose(found[0], torch.tensor([[1.5, 0.0], [0.0, 2.5]], dtype=torch.float64))


def test_relevance_uses_the_logits_true_slope(exact, pictures):
    """The slope of the logit in one weight, against finite differences through the model."""
    tower, images = exact.model.visual, prepared(exact, pictures[:1])
    text = exact.encode_texts(TEXTS)[0].double()
    block, start = tower.transformer.resblocks[-1], attention.first_tokens(tower, images)
    x = tower.transformer.resblocks[0](start).detach()
    q, k, v = attention.queries_keys_values(block.attn, block.ln_1(x))
    weights = attention.attention_weights(q, k).detach()

    def logit(weights):
        state = x + attention.mixed(block.attn, weights, v)
        state = state + block.mlp(block.ln_2(state))
        cosine = F.cosine_similarity(heat_maps.projected(tower, state[:, 0]), text[None])
        return (exact.model.logit_scale.exp() * cosine).sum()

    step = torch.zeros_like(weights)
    step[0, 0, 0, 5] = 1e-6
    by_difference = (logit(weights + step) - logit(weights - step)) / 2e-6
    passed = attention.trace(tower, start.detach().requires_grad_())
    vector = heat_maps.projected(tower, passed.tokens[:, 0])
    own = exact.model.logit_scale.exp() * F.cosine_similarity(vector, text[None])
    (slope,) = torch.autograd.grad(own.sum(), passed.weights[-1:])
    assert torch.isclose(slope[0, 0, 0, 5], by_difference, rtol=1e-5)


def test_relevance_works_on_a_locked_tower_and_leaves_no_gradient(encoder, pictures):
    free = heat_maps.relevance(encoder, pictures, TEXTS)
    encoder.model.requires_grad_(False)
    assert torch.allclose(heat_maps.relevance(encoder, pictures, TEXTS), free)
    assert free.min() >= 0
    assert not free.requires_grad
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


# -- CLIP Surgery ---------------------------------------------------------------------------------


def test_the_second_path_adds_value_value_attention_and_no_mlp(exact, pictures):
    tower, images = exact.model.visual, prepared(exact, pictures)
    first, last = tower.transformer.resblocks  # two blocks: the second half is the last one
    start = first(attention.first_tokens(tower, images))
    v = F.linear(last.ln_1(start), last.attn.in_proj_weight[128:])
    v = v + last.attn.in_proj_bias[128:]
    shares = torch.softmax(v @ v.mT / math.sqrt(64), dim=-1)  # one head of 64 channels
    by_hand = start + last.attn.out_proj(shares @ v)
    by_hand = tower.ln_post(by_hand) @ tower.proj
    classes, patches = heat_maps.second_path(tower, images)
    assert torch.allclose(patches, F.normalize(by_hand[:, 1:], dim=-1), atol=1e-12)
    own = F.normalize(exact.model.encode_image(images), dim=-1)
    assert torch.allclose(classes, own, atol=1e-12)


def test_feature_surgery_equals_the_papers_channel_by_channel_form():
    generator = torch.Generator().manual_seed(3)
    unit = [torch.randn(*shape, 8, generator=generator) for shape in ((2,), (2, 5), (4,))]
    pictures, patches, texts = (F.normalize(x.double(), dim=-1) for x in unit)
    shares = torch.softmax(2 * pictures @ texts.T, dim=-1)
    weights = shares / shares.mean(-1, keepdim=True)
    products = patches[:, :, None] * texts * weights[:, None, :, None]  # (B, P, T, channels)
    by_paper = (products - products.mean(dim=2, keepdim=True)).sum(-1)
    assert torch.allclose(heat_maps.without_redundancy(pictures, patches, texts), by_paper)


def test_what_all_texts_share_vanishes():
    patches = F.normalize(torch.randn(1, 5, 8), dim=-1)
    same = F.normalize(torch.randn(1, 8), dim=-1).expand(3, -1)
    found = heat_maps.without_redundancy(patches[:, 0], patches, same)
    assert torch.allclose(found, torch.zeros_like(found), atol=1e-6)


# -- any model, wrong use -------------------------------------------------------------------------


def test_every_method_works_on_openais_form(tokenizer):
    """ViT-B/32's form with fewer numbers: 224 pixels, patches of 32, twelve blocks, QuickGELU."""
    encoder = with_tower(tokenizer, ViTConfig(224, 32, 32, 12, head_width=16))
    for method in METHODS.values():
        maps = method(encoder, torch.rand(2, 3, 240, 300), TEXTS)
        assert maps.shape == (2, 3, 7, 7)
        assert maps.isfinite().all()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "raw similarity"])
@pytest.mark.parametrize("kind", ["ResNet", "SigLIP"])
def test_a_tower_without_class_token_is_refused_in_a_sentence(tokenizer, method, kind):
    siglip = ViTConfig(32, 8, 32, 2, 16, pooling="attention")
    vision = siglip if kind == "SigLIP" else ResNetConfig(32, (1, 1, 1, 1), 8)
    encoder = with_tower(tokenizer, vision)
    with pytest.raises(LabError, match=rf"class token.*{kind}.*raw similarity"):
        METHODS[method](encoder, torch.rand(1, 3, 32, 32), TEXTS)


def test_nothing_to_look_for_or_into_is_refused(encoder, pictures):
    with pytest.raises(LabError, match="no text"):
        heat_maps.raw_similarity(encoder, pictures, [])
    with pytest.raises(LabError, match="no picture"):
        heat_maps.raw_similarity(encoder, pictures[:0], TEXTS)
    with pytest.raises(LabError, match="at least two"):
        heat_maps.surgery(encoder, pictures, TEXTS[:1])


# -- localisation ---------------------------------------------------------------------------------


def corner_mask():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :4, :4] = True
    return masks


def test_the_pointing_game_asks_for_the_highest_point():
    maps = torch.zeros(2, 2, 2)
    maps[0, 0, 0], maps[1, 1, 1] = 1, 1
    assert localisation.points_inside(maps, corner_mask(), 0).tolist() == [True, False]


def test_the_pointing_game_forgives_a_near_miss_only():
    maps, masks = torch.zeros(1, 8, 8), corner_mask()[:1]
    maps[0, 5, 0] = 1  # two pixels below the mask's last row, 3
    assert localisation.points_inside(maps, masks, 1).tolist() == [False]
    assert localisation.points_inside(maps, masks, 2).tolist() == [True]
    assert localisation.near(masks, 2).sum() == 36


def test_overlap_is_intersection_over_union_above_half_the_range():
    maps, masks = torch.zeros(2, 8, 8), corner_mask()
    maps[:, :4, :2] = 1.0
    maps[:, :4, 6:] = 0.4  # below half
    maps[1] = -maps[1] * 3  # the opposite picks all but the first two columns' upper half
    both, either = 8, 16
    low_cut = 8 / (64 - 8 + 8)
    assert torch.allclose(localisation.overlap(maps, masks), torch.tensor([both / either, low_cut]))


def test_a_flat_map_overlaps_with_nothing():
    assert localisation.overlap(torch.ones(2, 4, 4), corner_mask()).tolist() == [0, 0]


def test_a_map_that_is_the_mask_is_right_in_every_respect():
    masks = replace_mask()
    assert localisation.overlap(masks.float(), masks).tolist() == [1.0]
    assert localisation.points_inside(masks.float(), masks, 0).all()


def replace_mask():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 2:5, 3:7] = True
    return masks
