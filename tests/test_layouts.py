"""Every published layout, against the package that owns it, from weights that package made."""

import pytest
import torch

from clip_lab.errors import LabError
from clip_lab.model import CONFIGS, BertConfig, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.pretrained.build import build
from clip_lab.pretrained.layouts import huggingface, open_clip, tables
from clip_lab.pretrained.layouts.inferred import infer_config

pytestmark = pytest.mark.peers

VOCABULARY = 600  # the last two tokens are start and end


def text_cfg(**values):
    return {
        "context_length": 77,
        "vocab_size": VOCABULARY,
        "width": 64,
        "heads": 1,
        "layers": 2,
    } | (values)


CLIP_CFGS = {
    "vit, quick_gelu": {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 96, "layers": 3, "width": 128, "patch_size": 32},
        "text_cfg": text_cfg(),
    },
    "heads of 80, an odd MLP": {  # as in H/14, g/14 and bigG/14
        "embed_dim": 40,
        "vision_cfg": {
            "image_size": 70,
            "layers": 2,
            "width": 160,
            "head_width": 80,
            "mlp_ratio": 4.3637,
            "patch_size": 14,
        },
        "text_cfg": text_cfg(context_length=50, width=128, heads=2, mlp_ratio=2.5),
    },
    "resnet": {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 32, "patch_size": None},
        "text_cfg": text_cfg(),
    },
}
SIGLIP_CFG = {
    "embed_dim": 768,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 256,
        "timm_model_name": "vit_base_patch32_siglip_256",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": text_cfg(
        context_length=64,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        norm_kwargs={"eps": 1e-6},
        act_kwargs={"approximate": "tanh"},
    ),
}


def tower(**values):
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    return shape | {"intermediate_size": 512} | values


HF_VALUES = {
    "CLIP": {
        "vision_config": tower(image_size=96, patch_size=16, num_attention_heads=4),
        "text_config": tower(
            vocab_size=VOCABULARY, eos_token_id=599, bos_token_id=598, max_position_embeddings=40
        ),
        "projection_dim": 48,
    },
    "Siglip": {
        "vision_config": tower(image_size=96, patch_size=16, intermediate_size=300),
        "text_config": tower(
            vocab_size=VOCABULARY, max_position_embeddings=40, intermediate_size=300
        ),
    },
    "ChineseCLIP": {
        "vision_config": tower(image_size=48, patch_size=16),
        "text_config": tower(vocab_size=VOCABULARY, num_attention_heads=4),
        "projection_dim": 48,
    },
}


def shaken(model):
    """Random numbers where a fresh model has zeros or ones, so that none is overlooked."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim <= 1 and "logit" not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def captions(number=20, context=40, seed=0):
    """Rows that begin alike and end at different places."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(number, context, dtype=torch.long)
    tokens[:, :5] = torch.tensor([VOCABULARY - 2, 3, 4, 5, 6])
    for i, row in enumerate(tokens):
        end = 6 + i % 9
        row[5:end] = torch.randint(7, VOCABULARY - 2, (end - 5,), generator=generator)
        row[end] = VOCABULARY - 1
    return tokens


def apart(ours, theirs):
    """The relative difference, after a check that there is something to compare."""
    assert theirs.norm() > 1e-6
    return ((ours - theirs).norm() / theirs.norm()).item()


def pictures(size, number=3):
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(1))


def open_clip_model(values, peers):
    torch.manual_seed(0)
    kind = peers.open_clip.CustomTextCLIP if "custom_text" in values else peers.open_clip.CLIP
    values = {k: v for k, v in values.items() if k != "custom_text"}
    return shaken(kind(**values))


@pytest.mark.parametrize("name", CLIP_CFGS)
def test_open_clip_s_models_agree(name, peers):
    values = CLIP_CFGS[name]
    theirs, config = open_clip_model(values, peers), open_clip.read_config(values)
    ours = build(config, _ours(tables.open_clip(config), theirs), "x").eval()
    images = pictures(config.vision.image_size)
    tokens = captions(context=config.text.context_length)
    with torch.no_grad():
        assert apart(ours.encode_image(images), theirs.encode_image(images)) < 1e-5
        assert apart(ours.encode_text(tokens), theirs.encode_text(tokens)) < 1e-5
        assert apart(ours(images, tokens), theirs.get_logits(images, tokens)[0]) < 1e-5


def test_open_clip_s_siglip_agrees(peers):
    theirs, config = open_clip_model(SIGLIP_CFG, peers), open_clip.read_config(SIGLIP_CFG)
    ours = build(config, _ours(tables.open_clip(config, "text."), theirs), "x").eval()
    images, tokens = pictures(256, 2), torch.randint(0, VOCABULARY, (3, 64))
    with torch.no_grad():
        assert apart(ours.encode_image(images), theirs.encode_image(images)) < 1e-5
        assert apart(ours.encode_text(tokens), theirs.encode_text(tokens)) < 1e-5
        assert apart(ours(images, tokens), theirs.get_logits(images, tokens)[0]) < 1e-5


@pytest.mark.parametrize("kind", HF_VALUES)
def test_huggingface_s_models_agree(kind):
    theirs, config = _huggingface(kind)
    ours = build(config, _ours(tables.huggingface(config), theirs), "x").eval()
    images, tokens = pictures(config.vision.image_size), captions()
    mask = (tokens != 0).long() if kind == "ChineseCLIP" else None
    with torch.no_grad():
        out = theirs(input_ids=tokens, pixel_values=images, attention_mask=mask)
        unit = torch.nn.functional.normalize
        assert apart(unit(ours.encode_image(images)), out.image_embeds) < 1e-5
        assert apart(unit(ours.encode_text(tokens)), out.text_embeds) < 1e-5
        assert apart(ours(images, tokens), out.logits_per_image) < 1e-5


@pytest.mark.parametrize("kind", HF_VALUES)
def test_gradients_agree_so_that_training_can_go_on(kind):
    theirs, config = _huggingface(kind)
    table = tables.huggingface(config)
    ours = build(config, _ours(table, theirs), "x").eval()
    images, tokens = pictures(config.vision.image_size), captions()
    mask = (tokens != 0).long() if kind == "ChineseCLIP" else None
    ours(images, tokens).square().mean().backward()
    out = theirs(input_ids=tokens, pixel_values=images, attention_mask=mask)
    out.logits_per_image.square().mean().backward()
    compare_gradients(_gradients(ours, table), theirs)


def compare_gradients(ours, theirs):
    """Each within 1e-4, but those that are rounding errors of nothing (a key's bias has none)."""
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    largest = max(gradient.norm() for gradient in expected.values())
    compared = [
        name for name in ours if name in expected and expected[name].norm() > 1e-6 * largest
    ]
    assert len(compared) > 30
    for name in compared:
        assert apart(ours[name], expected[name]) < 1e-4, name


@pytest.mark.parametrize("name", ["vit, quick_gelu", "resnet"])
def test_gradients_agree_with_open_clip_s(name, peers):
    values = CLIP_CFGS[name]
    theirs, config = open_clip_model(values, peers), open_clip.read_config(values)
    ours = build(config, _ours(tables.open_clip(config), theirs), "x").eval()
    images, tokens = pictures(config.vision.image_size), captions(context=77)
    ours(images, tokens).square().mean().backward()
    theirs.get_logits(images, tokens)[0].square().mean().backward()
    compare_gradients(_gradients(ours, tables.open_clip(config)), theirs)


@pytest.mark.parametrize("name", [*CLIP_CFGS, "siglip"])
def test_what_is_written_back_builds_the_same_model_in_open_clip(name, peers):
    values = {**CLIP_CFGS, "siglip": SIGLIP_CFG}[name]
    theirs, config = open_clip_model(values, peers), open_clip.read_config(values)
    table = tables.open_clip(config, "text." if name == "siglip" else "")
    state = _ours(table, theirs)
    again = open_clip_model(open_clip.write_config(config), peers)
    again.load_state_dict(tables.to_theirs(table, state))  # strictly
    assert open_clip.read_config(open_clip.write_config(config)) == config
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


@pytest.mark.parametrize("kind", HF_VALUES)
def test_what_is_written_back_builds_the_same_model_in_transformers(kind):
    theirs, config = _huggingface(kind)
    table = tables.huggingface(config)
    written = huggingface.write_config(config)
    again = type(theirs)(type(theirs.config)(**written))
    again.load_state_dict(tables.to_theirs(table, _ours(table, theirs)))  # strictly
    assert huggingface.read_config(again.config.to_dict()) == config
    assert huggingface.read_config(again.config.to_diff_dict()) == config
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "RN50-quickgelu"])
def test_real_sizes_agree(name, peers):
    values = peers.open_clip.get_model_config(name)
    theirs, config = open_clip_model(values, peers), open_clip.read_config(values)
    assert config == CONFIGS[name.removesuffix("-quickgelu")]
    ours = build(config, _ours(tables.open_clip(config), theirs), name).eval()
    images, tokens = pictures(224, 2), peers.open_clip.tokenize(["a cat", "the Eiffel tower, 1889"])
    with torch.no_grad():
        assert apart(ours.encode_image(images), theirs.encode_image(images)) < 1e-5
        assert apart(ours.encode_text(tokens), theirs.encode_text(tokens)) < 1e-5


OPEN_CLIP_NAMES = {
    "RN50": 102, "RN101": 120, "RN50x4": 178, "RN50x16": 291, "RN50x64": 623,
    "ViT-B-32": 151, "ViT-B-16": 150, "ViT-L-14": 428, "ViT-L-14-336": 428,
    "ViT-H-14": 986, "ViT-g-14": 1367, "ViT-bigG-14": 2540,
    "ViT-B-16-SigLIP": 203, "ViT-L-16-SigLIP2-384": 882, "ViT-SO400M-14-SigLIP-384": 878,
    "ViT-SO400M-16-SigLIP2-384": 1136, "ViT-gopt-16-SigLIP2-256": 1871,
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN_CLIP_NAMES)
def test_the_real_sizes_have_the_same_tensors_as_in_open_clip(name, peers):
    values = peers.open_clip.get_model_config(name)
    config = open_clip.read_config(values)
    kind = peers.open_clip.CustomTextCLIP if "custom_text" in values else peers.open_clip.CLIP
    with torch.device("meta"):
        theirs = kind(**{k: v for k, v in values.items() if k != "custom_text"}).state_dict()
        ours = build_shapes(config)
    table = tables.open_clip(config, "text." if "custom_text" in values else "")
    state = tables.to_ours(table, theirs, name)
    assert {k: v.shape for k, v in state.items()} == ours
    millions = sum(shape.numel() for shape in ours.values()) / 1e6
    assert millions == pytest.approx(OPEN_CLIP_NAMES[name], abs=1)


def build_shapes(config):
    from clip_lab.model import CLIP

    return {name: tensor.shape for name, tensor in CLIP(config).state_dict().items()}


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50x4", "ViT-L-14-336"])
def test_a_configuration_is_inferred_from_shapes(name):
    tensors = {k: torch.empty(shape, device="meta") for k, shape in _shapes(CONFIGS[name]).items()}
    assert infer_config(tensors, "quick_gelu") == CONFIGS[name]


@pytest.mark.parametrize("name", ["ViT-H-14", "ViT-g-14", "ViT-bigG-14"])
def test_heads_that_no_shape_shows_are_known_of_the_three_largest(name, peers):
    config = open_clip.read_config(peers.open_clip.get_model_config(name))
    tensors = {k: torch.empty(shape, device="meta") for k, shape in _shapes(config).items()}
    assert infer_config(tensors, "gelu") == config


def test_chinese_clip_s_own_files_are_told_and_read():
    config = CLIPConfig(48, ViTConfig(48, 16, 64, 1), BertConfig(300, 52, 64, 2, 512))
    torch.manual_seed(0)
    from clip_lab.model import CLIP

    state = CLIP(config).state_dict()
    theirs = tables.to_theirs(tables.chinese_clip(config), state)
    assert "bert.encoder.layer.1.attention.self.query.weight" in theirs
    assert infer_config(theirs, "quick_gelu") == config
    again = tables.to_ours(tables.chinese_clip(config), theirs, "x")
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("vision_cfg", "attentional_pool", True),
        ("vision_cfg", "ls_init_value", 1e-5),
        ("vision_cfg", "no_ln_pre", True),
        ("text_cfg", "hf_model_name", "roberta-base"),
        ("text_cfg", "pool_type", "eos"),
        (None, "multimodal_cfg", {"layers": 12}),
    ],
)
def test_a_field_that_asks_for_what_the_lab_lacks_is_refused_by_name(part, field, value):
    values = {
        k: dict(v) if isinstance(v, dict) else v for k, v in CLIP_CFGS["vit, quick_gelu"].items()
    }
    (values[part] if part else values)[field] = value
    with pytest.raises(LabError, match=str(value) if field == "hf_model_name" else field):
        open_clip.read_config(values)


def test_other_kinds_of_huggingface_models_are_refused():
    for kind, hint in (("siglip2", "flexible"), ("blip", "blip"), (None, "None")):
        with pytest.raises(LabError, match=hint):
            huggingface.read_config({"model_type": kind})


def test_what_a_layout_cannot_hold_is_refused_when_written():
    resnet = CLIPConfig(48, ResNetConfig(64, (1, 1, 1, 1), 16), TextConfig())
    bert = CLIPConfig(48, ViTConfig(32, 16, 64, 1), BertConfig())
    with pytest.raises(LabError, match="open_clip"):
        huggingface.write_config(resnet)
    with pytest.raises(LabError, match="huggingface"):
        open_clip.write_config(bert)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_tensor_that_does_not_fit_is_named(fault, peers):
    values = CLIP_CFGS["vit, quick_gelu"]
    state, config = open_clip_model(values, peers).state_dict(), open_clip.read_config(values)
    if fault == "missing":
        del state["visual.proj"]
    elif fault == "extra":
        state["visual.stranger"] = torch.zeros(2)
    else:
        state["visual.proj"] = torch.zeros(128, 49)
    with pytest.raises(LabError, match=r"weights\.bin.*visual\.(proj|stranger)"):
        build(config, tables.to_ours(tables.open_clip(config), state, "weights.bin"), "weights.bin")


def _ours(table, theirs):
    return tables.to_ours(table, theirs.state_dict(), "x")


def _huggingface(kind):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**HF_VALUES[kind])
    theirs = shaken(getattr(transformers, f"{kind}Model")(config))
    return theirs, huggingface.read_config(config.to_diff_dict())


def _gradients(model, table):
    """Our gradients under the layout's names."""
    named = {k.removeprefix("text."): p.grad for k, p in model.named_parameters()}
    entries = [entry for entry in table if named.get(entry.ours) is not None]
    return tables.to_theirs(entries, named)


def _shapes(config):
    with torch.device("meta"):
        return build_shapes(config)
