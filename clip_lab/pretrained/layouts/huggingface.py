"""Hugging Face's `config.json` of CLIPModel, SiglipModel and ChineseCLIPModel, both ways.

Such a file leaves out what equals the class's default, so the defaults stand here.
"""

from typing import Any

from clip_lab.errors import LabError
from clip_lab.model import BertConfig, CLIPConfig, ResNetConfig, TextConfig, ViTConfig

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}

_TOWER = {"num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_CLIP_VISION = _TOWER | {
    "hidden_size": 768,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_CLIP_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
_SIGLIP = _TOWER | {"hidden_size": 768, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_SIGLIP_TEXT = _SIGLIP | {"vocab_size": 32000, "max_position_embeddings": 64}
_BERT = _TOWER | {
    "hidden_size": 768,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
DEFAULTS = {
    "clip": (_CLIP_VISION, _CLIP_TEXT),
    "siglip": (_SIGLIP | {"image_size": 224, "patch_size": 16}, _SIGLIP_TEXT),
    "chinese_clip": (_CLIP_VISION, _BERT),
}
CHINESE_CONTEXT = 52  # the length that Chinese-CLIP was trained at; its BERT could read 512


def read_config(values: dict[str, Any]) -> CLIPConfig:
    """A config.json as our configuration. Raises LabError for another kind of model."""
    kind = values.get("model_type")
    if kind not in DEFAULTS:
        hint = " (SigLIP 2 of flexible resolution)" if kind == "siglip2" else ""
        known = ", ".join(DEFAULTS)
        raise LabError(f"Models of type “{kind}”{hint} can't be read. These can: {known}.")
    vision, text = (
        {**defaults, **values.get(name, {}), **(values.get(f"{name}_dict") or {})}
        for name, defaults in zip(("vision_config", "text_config"), DEFAULTS[kind], strict=True)
    )
    activation, eps = _activation(vision), vision["layer_norm_eps"]
    if kind == "chinese_clip":
        embed_dim = values.get("projection_dim", 512)
        return CLIPConfig(embed_dim, _vision(vision, "class"), _bert(text), activation, eps)
    if text["layer_norm_eps"] != eps:
        raise LabError("Towers whose layer norms differ in eps are not supported.")
    if kind == "siglip":
        embed_dim = text.get("projection_size") or text["hidden_size"]
        tower = _text(text, end_token=-1, pooling="last", activation=activation)
        return CLIPConfig(embed_dim, _vision(vision, "attention"), tower, activation, eps, True)
    end = text["eos_token_id"]
    end = text["vocab_size"] - 1 if end == 2 else end  # 2: an old mistake, read as "the largest"
    tower = _text(text, end, "end", activation)
    embed_dim = values.get("projection_dim", 512)
    return CLIPConfig(embed_dim, _vision(vision, "class"), tower, activation, eps)


def _activation(values: dict[str, Any]) -> str:
    try:
        return ACTIVATIONS[values["hidden_act"]]
    except KeyError as error:
        raise LabError(f"The activation “{values['hidden_act']}” is not supported.") from error


def _vision(values: dict[str, Any], pooling: str) -> ViTConfig:
    width = values["hidden_size"]
    return ViTConfig(
        values["image_size"],
        values["patch_size"],
        width,
        values["num_hidden_layers"],
        width // values["num_attention_heads"],
        _mlp_width(values),
        pooling,
    )


def _text(values: dict[str, Any], end_token: int, pooling: str, activation: str) -> TextConfig:
    width, own = values["hidden_size"], _activation(values)
    return TextConfig(
        values["vocab_size"],
        values["max_position_embeddings"],
        width,
        values["num_hidden_layers"],
        end_token,
        width // values["num_attention_heads"],
        _mlp_width(values),
        pooling,
        None if own == activation else own,
    )


def _bert(values: dict[str, Any]) -> BertConfig:
    fixed = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2}
    for name, value in fixed.items():
        if values[name] != value:
            raise LabError(f"A BERT with {name} = {values[name]} is not supported, only {value}.")
    width, positions = values["hidden_size"], values["max_position_embeddings"]
    return BertConfig(
        values["vocab_size"],
        min(CHINESE_CONTEXT, positions),
        width,
        values["num_hidden_layers"],
        positions,
        width // values["num_attention_heads"],
        _mlp_width(values),
        values["pad_token_id"],
    )


def _mlp_width(values: dict[str, Any]) -> int | None:
    hidden = values["intermediate_size"]
    return None if hidden == 4 * values["hidden_size"] else hidden


def write_config(config: CLIPConfig) -> dict[str, Any]:
    """The inverse: a config.json that transformers builds the same model from."""
    if isinstance(config.vision, ResNetConfig):
        raise LabError("Hugging Face's CLIPModel has no ResNet: use layout=“open_clip”.")
    theirs = {ours: name for name, ours in ACTIVATIONS.items()}
    vision = _write_tower(config.vision) | {
        "image_size": config.vision.image_size,
        "patch_size": config.vision.patch_size,
        "hidden_act": theirs[config.activation],
        "layer_norm_eps": config.norm_eps,
    }
    text = _write_tower(config.text) | {"vocab_size": config.text.vocab_size}
    if isinstance(config.text, BertConfig):
        text |= {"max_position_embeddings": config.text.positions}
        text |= {"pad_token_id": config.text.pad_token, "layer_norm_eps": 1e-12}
        kind, name, own = "chinese_clip", "ChineseCLIPModel", {"hidden_act": "gelu"}
    else:
        own = {
            "max_position_embeddings": config.text.context_length,
            "hidden_act": theirs[config.text.activation or config.activation],
            "layer_norm_eps": config.norm_eps,
        }
        if config.logit_bias:
            kind, name = "siglip", "SiglipModel"
            own["projection_size"] = config.embed_dim
        else:
            kind, name = "clip", "CLIPModel"
            own["eos_token_id"] = config.text.end_token
    values = {"model_type": kind, "architectures": [name], "torch_dtype": "float32"}
    values |= {} if config.logit_bias else {"projection_dim": config.embed_dim}
    return {**values, "vision_config": vision, "text_config": text | own}


def _write_tower(tower: ViTConfig | TextConfig | BertConfig) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.mlp_width or 4 * tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.width // tower.head_width,
    }
