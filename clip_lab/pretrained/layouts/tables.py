"""What each published layout calls the tensors of a CLIP, one line a tensor.

A table is built for one configuration and read in both directions: from their names to ours when
weights are loaded, from ours to theirs when they are written back. Ours are OpenAI's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.model import BertConfig, CLIPConfig, ResNetConfig, ViTConfig

IGNORED = ("position_ids",)  # numbers 0, 1, 2 ... that old Hugging Face files carry


@dataclass(frozen=True)
class Entry:
    """One tensor of ours, and where a layout keeps it."""

    ours: str
    theirs: tuple[str, ...]  # several: parts of ours, stacked (query, key, value)
    transposed: bool = False  # a Linear's weight where ours multiplies from the right
    ones: int = 0  # dimensions of size 1 that theirs has in front

    def read(self, tensors: Mapping[str, Tensor]) -> Tensor:
        parts = [tensors[name] for name in self.theirs]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.ours.startswith("logit_"):
            return tensor.reshape(())  # some files have one number in a list
        return tensor.T if self.transposed else tensor[(0,) * self.ones]

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        tensor = tensor.T if self.transposed else tensor[(None,) * self.ones]
        if len(self.theirs) == 1:
            return {self.theirs[0]: tensor.contiguous()}
        third = len(tensor) // 3  # query, key and value; the last two stay together in a pair
        sizes = [third] * 3 if len(self.theirs) == 3 else [third, 2 * third]
        parts = tensor.split(sizes)
        return {name: part.contiguous() for name, part in zip(self.theirs, parts, strict=True)}


Table = list[Entry]


def to_ours(table: Table, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """All tensors under our names. Raises LabError that lists what is missing or left over."""
    wanted = {name for entry in table for name in entry.theirs}
    there = {name for name in tensors if not name.endswith(IGNORED)}
    if wanted != there:
        raise LabError(f"{where} does not fit its configuration: {_list(wanted, there)}.")
    return {entry.ours: entry.read(tensors) for entry in table}


def to_theirs(table: Table, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse: all tensors under the layout's names."""
    return {k: v for entry in table for k, v in entry.write(tensors[entry.ours]).items()}


def _list(wanted: set[str], there: set[str], at_most: int = 6) -> str:
    def some(names: set[str]) -> str:
        more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
        return ", ".join(sorted(names)[:at_most]) + more

    parts = [
        f"{kind} {some(names)}"
        for kind, names in (("missing are", wanted - there), ("not used are", there - wanted))
        if names
    ]
    return "; ".join(parts)


# -- OpenAI's names, which are ours ---------------------------------------------------------------


def openai(config: CLIPConfig) -> Table:
    """Every name of a CLIP of this shape, as it is."""
    return [Entry(name, (name,)) for name in our_names(config)]


def our_names(config: CLIPConfig) -> list[str]:
    """Every tensor that a model of this shape has."""
    from clip_lab.model import CLIP

    with torch.device("meta"):
        return list(CLIP(config).state_dict())


def _is_text(name: str) -> bool:
    return not name.startswith(("visual.", "logit_"))


# -- open_clip ------------------------------------------------------------------------------------


def open_clip(config: CLIPConfig, text_prefix: str = "") -> Table:
    """OpenAI's names; newer text towers stand under `text.`. SigLIP's image tower is timm's."""
    vision, table = config.vision, []
    siglip = isinstance(vision, ViTConfig) and vision.pooling == "attention"
    if isinstance(vision, ViTConfig) and siglip:
        table += _timm(vision)
    for name in our_names(config):
        if siglip and name.startswith("visual."):
            continue
        theirs = text_prefix + name if _is_text(name) else name
        if siglip and name == "text_projection":
            table.append(Entry(name, (f"{theirs}.weight",), transposed=True))
        elif siglip and name == "text_projection_bias":
            table.append(Entry(name, (f"{text_prefix}text_projection.bias",)))
        else:
            table.append(Entry(name, (theirs,)))
    return table


def _timm(vision: ViTConfig) -> Iterator[Entry]:
    trunk = "visual.trunk."
    yield from _pair("visual.conv1", f"{trunk}patch_embed.proj")
    yield Entry("visual.positional_embedding", (f"{trunk}pos_embed",), ones=1)
    for i in range(vision.layers):
        ours, theirs = f"visual.transformer.resblocks.{i}.", f"{trunk}blocks.{i}."
        for kind in ("weight", "bias"):
            yield Entry(f"{ours}attn.in_proj_{kind}", (f"{theirs}attn.qkv.{kind}",))
        yield from _pair(f"{ours}attn.out_proj", f"{theirs}attn.proj")
        yield from _pair(f"{ours}ln_1", f"{theirs}norm1")
        yield from _pair(f"{ours}ln_2", f"{theirs}norm2")
        yield from _pair(f"{ours}mlp.c_fc", f"{theirs}mlp.fc1")
        yield from _pair(f"{ours}mlp.c_proj", f"{theirs}mlp.fc2")
    yield from _pair("visual.ln_post", f"{trunk}norm")
    ours, theirs = "visual.attnpool.", f"{trunk}attn_pool."
    yield Entry(f"{ours}probe", (f"{theirs}latent",), ones=2)
    for kind in ("weight", "bias"):
        names = (f"{theirs}q.{kind}", f"{theirs}kv.{kind}")
        yield Entry(f"{ours}attn.in_proj_{kind}", names)
    yield from _pair(f"{ours}attn.out_proj", f"{theirs}proj")
    yield from _pair(f"{ours}ln", f"{theirs}norm")
    yield from _pair(f"{ours}mlp.c_fc", f"{theirs}mlp.fc1")
    yield from _pair(f"{ours}mlp.c_proj", f"{theirs}mlp.fc2")


def _pair(ours: str, theirs: str) -> Iterator[Entry]:
    for kind in ("weight", "bias"):
        yield Entry(f"{ours}.{kind}", (f"{theirs}.{kind}",))


# -- Hugging Face: CLIPModel, SiglipModel, ChineseCLIPModel ----------------------------------------


def huggingface(config: CLIPConfig) -> Table:
    """The names of transformers' models."""
    if isinstance(config.vision, ResNetConfig):
        raise LabError("Hugging Face's CLIPModel has no ResNet: use the open_clip layout.")
    table, text = list(_hf_vision(config.vision)), config.text
    table += _bert(text, "text_model.") if isinstance(text, BertConfig) else _hf_text(config)
    if config.vision.pooling == "class":
        table.append(Entry("visual.proj", ("visual_projection.weight",), transposed=True))
        table.append(Entry("text_projection", ("text_projection.weight",), transposed=True))
    table.append(Entry("logit_scale", ("logit_scale",), ones=int(config.logit_bias)))
    if config.logit_bias:
        table.append(Entry("logit_bias", ("logit_bias",), ones=1))
    return table


def _hf_vision(vision: ViTConfig) -> Iterator[Entry]:
    theirs = "vision_model."
    yield Entry("visual.conv1.weight", (f"{theirs}embeddings.patch_embedding.weight",))
    yield Entry("visual.positional_embedding", (f"{theirs}embeddings.position_embedding.weight",))
    yield from _hf_blocks("visual.transformer.", theirs, vision.layers)
    yield from _pair("visual.ln_post", f"{theirs}post_layernorm")
    if vision.pooling == "class":
        yield Entry("visual.class_embedding", (f"{theirs}embeddings.class_embedding",))
        yield from _pair("visual.ln_pre", f"{theirs}pre_layrnorm")  # spelt so
        return
    yield Entry("visual.conv1.bias", (f"{theirs}embeddings.patch_embedding.bias",))
    ours, head = "visual.attnpool.", f"{theirs}head."
    yield Entry(f"{ours}probe", (f"{head}probe",), ones=2)
    for kind in ("weight", "bias"):
        yield Entry(f"{ours}attn.in_proj_{kind}", (f"{head}attention.in_proj_{kind}",))
    yield from _pair(f"{ours}attn.out_proj", f"{head}attention.out_proj")
    yield from _pair(f"{ours}ln", f"{head}layernorm")
    yield from _pair(f"{ours}mlp.c_fc", f"{head}mlp.fc1")
    yield from _pair(f"{ours}mlp.c_proj", f"{head}mlp.fc2")


def _hf_text(config: CLIPConfig) -> Iterator[Entry]:
    theirs = "text_model."
    yield Entry("token_embedding.weight", (f"{theirs}embeddings.token_embedding.weight",))
    yield Entry("positional_embedding", (f"{theirs}embeddings.position_embedding.weight",))
    yield from _hf_blocks("transformer.", theirs, config.text.layers)
    yield from _pair("ln_final", f"{theirs}final_layer_norm")
    if config.logit_bias:  # SigLIP
        yield Entry("text_projection", (f"{theirs}head.weight",), transposed=True)
        yield Entry("text_projection_bias", (f"{theirs}head.bias",))


def _hf_blocks(ours: str, theirs: str, layers: int) -> Iterator[Entry]:
    for i in range(layers):
        our, their = f"{ours}resblocks.{i}.", f"{theirs}encoder.layers.{i}."
        for kind in ("weight", "bias"):
            names = tuple(f"{their}self_attn.{part}_proj.{kind}" for part in "qkv")
            yield Entry(f"{our}attn.in_proj_{kind}", names)
        yield from _pair(f"{our}attn.out_proj", f"{their}self_attn.out_proj")
        yield from _pair(f"{our}ln_1", f"{their}layer_norm1")
        yield from _pair(f"{our}ln_2", f"{their}layer_norm2")
        yield from _pair(f"{our}mlp.c_fc", f"{their}mlp.fc1")
        yield from _pair(f"{our}mlp.c_proj", f"{their}mlp.fc2")


# -- Chinese-CLIP: its own files, and the part that Hugging Face's share with them -----------------


def chinese_clip(config: CLIPConfig) -> Table:
    """The files of the Chinese-CLIP project: OpenAI's names, and a BERT under `bert.`."""
    assert isinstance(config.text, BertConfig)
    ours = [name for name in our_names(config) if not _is_text(name)]
    ours.append("text_projection")
    return [Entry(name, (name,)) for name in ours] + list(_bert(config.text, "bert."))


def _bert(text: BertConfig, prefix: str) -> Iterator[Entry]:
    kinds = {
        "token_embedding.weight": "word",
        "positional_embedding": "position",
        "type_embedding": "token_type",
    }
    for ours, kind in kinds.items():
        yield Entry(ours, (f"{prefix}embeddings.{kind}_embeddings.weight",))
    yield from _pair("ln_pre", f"{prefix}embeddings.LayerNorm")
    for i in range(text.layers):
        our, their = f"resblocks.{i}.", f"{prefix}encoder.layer.{i}."
        for kind in ("weight", "bias"):
            parts = ("query", "key", "value")
            names = tuple(f"{their}attention.self.{part}.{kind}" for part in parts)
            yield Entry(f"{our}attn.in_proj_{kind}", names)
        yield from _pair(f"{our}attn.out_proj", f"{their}attention.output.dense")
        yield from _pair(f"{our}ln_1", f"{their}attention.output.LayerNorm")
        yield from _pair(f"{our}mlp.c_fc", f"{their}intermediate.dense")
        yield from _pair(f"{our}mlp.c_proj", f"{their}output.dense")
        yield from _pair(f"{our}ln_2", f"{their}output.LayerNorm")
