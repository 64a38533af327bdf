"""open_clip's `open_clip_config.json`: its "model_cfg" to our configuration, and back."""

import re
from typing import Any

from clip_lab.errors import LabError
from clip_lab.model import BertConfig, CLIPConfig, ResNetConfig, TextConfig, ViTConfig

# SigLIP's image towers are timm's, and named by it. Its shapes by size: width, layers, MLP width.
TIMM_SIZES = {
    "base": (768, 12, 3072),
    "large": (1024, 24, 4096),
    "so400m": (1152, 27, 4304),
    "giantopt": (1536, 40, 6144),
}
TIMM_NAME = re.compile(r"vit_(\w+)_patch(\d+)_siglip_(\d+)")
# In timm the models that came with SigLIP 2 use GELU's tanh form, those of SigLIP the exact one.
TIMM_TANH = re.compile(r"vit_(base_patch32|large_patch16_siglip_512|so400m_patch16|giantopt)")

# What a configuration may say beyond what is read below, since it changes no result.
HARMLESS = {
    "model": {"custom_text", "init_logit_scale", "init_logit_bias", "output_dict"},
    "vision": {"timm_model_pretrained", "patch_dropout", "output_tokens", "timm_drop"},
    "text": {"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "output_tokens", "pad_id"},
}


def read_config(values: dict[str, Any]) -> CLIPConfig:
    """A model_cfg as our configuration. Raises LabError for a field that asks for what we lack."""
    rest = dict(values)
    vision_values, text_values = dict(rest.pop("vision_cfg")), dict(rest.pop("text_cfg"))
    activation = "quick_gelu" if rest.pop("quick_gelu", False) else "gelu"
    embed_dim = rest.pop("embed_dim")
    siglip = "timm_model_name" in vision_values
    if siglip:
        vision, activation = _timm_vision(vision_values)
    else:
        vision = _vision(vision_values)
    text = _siglip_text(text_values) if siglip else _text(text_values)
    for part, left in (("model", rest), ("vision", vision_values), ("text", text_values)):
        _refuse(part, left)
    if siglip:
        return CLIPConfig(embed_dim, vision, text, activation, norm_eps=1e-6, logit_bias=True)
    return CLIPConfig(embed_dim, vision, text, activation)


def _vision(values: dict[str, Any]) -> ViTConfig | ResNetConfig:
    size, layers, width = values.pop("image_size"), values.pop("layers"), values.pop("width")
    if isinstance(layers, list):
        if values.pop("head_width", 64) != 64:
            raise LabError("A ResNet whose heads aren't 64 wide is not supported.")
        values.pop("patch_size", None)
        return ResNetConfig(size, tuple(layers), width)
    head_width, ratio = values.pop("head_width", 64), values.pop("mlp_ratio", 4.0)
    return ViTConfig(
        size, values.pop("patch_size"), width, layers, head_width, _mlp_width(width, ratio)
    )


def _timm_vision(values: dict[str, Any]) -> tuple[ViTConfig, str]:
    name = values.pop("timm_model_name")
    match = TIMM_NAME.fullmatch(name)
    if not match or match[1] not in TIMM_SIZES or values.pop("timm_pool", None) != "map":
        raise LabError(f"The image tower “{name}” is not supported: of timm's, only SigLIP's are.")
    if values.pop("timm_proj", None) not in (None, "none", ""):
        raise LabError(f"“{name}” with a projection (timm_proj) is not supported.")
    width, layers, hidden = TIMM_SIZES[match[1]]
    size, heads = values.pop("image_size"), 16 if match[1] != "base" else 12
    activation = "gelu_tanh" if TIMM_TANH.match(name) else "gelu"
    hidden_or_none = None if hidden == 4 * width else hidden
    vision = ViTConfig(
        size, int(match[2]), width, layers, width // heads, hidden_or_none, "attention"
    )
    return vision, activation


def _text(values: dict[str, Any]) -> TextConfig:
    if "hf_model_name" in values:
        raise LabError(f"The text tower “{values['hf_model_name']}” is not supported.")
    width, heads = values.pop("width", 512), values.pop("heads", 8)
    vocab_size = values.pop("vocab_size", 49408)
    return TextConfig(
        vocab_size,
        values.pop("context_length", 77),
        width,
        values.pop("layers", 12),
        end_token=vocab_size - 1,
        head_width=width // heads,
        mlp_width=_mlp_width(width, values.pop("mlp_ratio", 4.0)),
    )


def _siglip_text(values: dict[str, Any]) -> TextConfig:
    expected = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
    expected["norm_kwargs"] = {"eps": 1e-6}
    for name, value in expected.items():
        if values.pop(name, None) != value:
            raise LabError(f"A SigLIP whose text tower has not {name} = {value} is not supported.")
    tanh = values.pop("act_kwargs", None)
    if tanh not in (None, {}, {"approximate": "tanh"}):
        raise LabError(f"The activation {tanh} is not supported.")
    text = _text(values)
    return TextConfig(
        **{**text.__dict__, "pooling": "last", "activation": "gelu_tanh" if tanh else "gelu"}
    )


def _mlp_width(width: int, ratio: float) -> int | None:
    return None if ratio == 4.0 else int(width * ratio)


def _refuse(part: str, left: dict[str, Any]) -> None:
    """Fields that switch on something we don't have; what is off or harmless passes."""
    unknown = {k: v for k, v in left.items() if v and k not in HARMLESS[part]}
    if unknown == {"pool_type": "argmax"} or unknown == {"pool_type": "tok"}:
        return
    if unknown:
        asked = ", ".join(f"{name} = {value}" for name, value in unknown.items())
        raise LabError(f"Its open_clip configuration asks for what the lab lacks: {asked}.")


def write_config(config: CLIPConfig) -> dict[str, Any]:
    """The inverse: a model_cfg that open_clip builds the same model from."""
    if isinstance(config.text, BertConfig):
        raise LabError("open_clip has no tower for Chinese-CLIP's text: use layout=“huggingface”.")
    text: dict[str, Any] = {
        "context_length": config.text.context_length,
        "vocab_size": config.text.vocab_size,
        "width": config.text.width,
        "heads": config.text.width // config.text.head_width,
        "layers": config.text.layers,
    }
    if config.text.mlp_width:
        text["mlp_ratio"] = _ratio(config.text.width, config.text.mlp_width)
    if config.logit_bias:
        return _write_siglip(config, text)
    if config.activation == "gelu_tanh" or config.text.activation not in (None, config.activation):
        raise LabError("open_clip has no CLIP with these activations: use layout=“lab”.")
    if config.text.end_token != config.text.vocab_size - 1:
        raise LabError("open_clip needs the end token to be the last of the vocabulary.")
    values = {"embed_dim": config.embed_dim, "vision_cfg": _write_vision(config), "text_cfg": text}
    return {**values, "quick_gelu": True} if config.activation == "quick_gelu" else values


def _write_vision(config: CLIPConfig) -> dict[str, Any]:
    vision = config.vision
    values: dict[str, Any] = {"image_size": vision.image_size, "width": vision.width}
    if isinstance(vision, ResNetConfig):
        return {**values, "layers": list(vision.layers), "patch_size": None}
    values |= {"layers": vision.layers, "patch_size": vision.patch_size}
    values["head_width"] = vision.head_width
    if vision.mlp_width:
        values["mlp_ratio"] = _ratio(vision.width, vision.mlp_width)
    return values


def _write_siglip(config: CLIPConfig, text: dict[str, Any]) -> dict[str, Any]:
    vision = config.vision
    assert isinstance(vision, ViTConfig) and isinstance(config.text, TextConfig)
    shape = (vision.width, vision.layers, vision.mlp_width or 4 * vision.width)
    names = [size for size, its_shape in TIMM_SIZES.items() if its_shape == shape]
    name = f"vit_{names[0] if names else '?'}_patch{vision.patch_size}_siglip_{vision.image_size}"
    tanh = bool(TIMM_TANH.match(name))
    if not names or config.activation != ("gelu_tanh" if tanh else "gelu"):
        raise LabError("timm has no name for this image tower: use layout=“huggingface”.")
    text |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
    text["norm_kwargs"] = {"eps": 1e-6}
    if config.text.activation == "gelu_tanh":
        text["act_kwargs"] = {"approximate": "tanh"}
    tower = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "map"}
    return {
        "embed_dim": config.embed_dim,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {"image_size": vision.image_size, **tower, "timm_proj": "none"},
        "text_cfg": text,
    }


def _ratio(width: int, hidden: int) -> float:
    """A ratio that gives `hidden` again when it is multiplied and rounded down."""
    return (hidden + 0.5) / width
