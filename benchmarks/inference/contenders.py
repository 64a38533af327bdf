"""The four, with one set of random weights: ours, open_clip, openai/CLIP and transformers.

Each is used the way its own users do: the towers are theirs, and so are tokenisation, padding, the
reading of pictures, and the recipe for many of them. All give unit vectors in float32.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from copy import copy, deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from clip_lab import DualEncoder
from clip_lab.model import CONFIGS
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained.build import build, set_precision
from clip_lab.pretrained.layouts import huggingface, tables
from clip_lab.tokenizer import Tokenizer
from tests.peers import Peers, import_open_clip

NAME, THEIR_NAME = "ViT-B-32", "ViT-B-32-quickgelu"
CONFIG = CONFIGS[NAME]
WORKERS, BATCH = 2, 32  # the DataLoader's, in the recipe for a folder of pictures


class Contender(Protocol):
    """What the parts measure."""

    name: str

    def tokens(self, texts: list[str]) -> Any:
        """The texts as `of_tokens` takes them."""
        ...

    def of_tokens(self, tokens: Any) -> Tensor:
        """Vectors of texts that were made tokens before."""
        ...

    def of_texts(self, texts: list[str]) -> Tensor:
        """Vectors of strings."""
        ...

    def of_pixels(self, images: Tensor) -> Tensor:
        """Vectors of pictures that are tensors already, as one batch."""
        ...

    def of_files(self, paths: list[Path]) -> Tensor:
        """Vectors of picture files."""
        ...

    def in_bfloat16(self) -> "Contender":
        """A copy in half precision. Raises NotImplementedError where there is no such thing."""
        ...


def unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


class Ours:
    name = "clip_lab"

    def __init__(self, weights: dict[str, Tensor], merges: Path):
        state = tables.to_ours(tables.open_clip(CONFIG), weights, "open_clip")
        model = build(CONFIG, {key: tensor.clone() for key, tensor in state.items()}, "open_clip")
        preprocess = Preprocess(CONFIG.vision.image_size)
        self.encoder = DualEncoder(model, Tokenizer.from_openai(merges), preprocess)

    def tokens(self, texts: list[str]) -> Any:
        """The encoder with a tokenizer that has done its work: it hands out rows made before."""
        rows = dict(zip(texts, self.encoder.tokenizer(texts), strict=True))

        def ready(texts: Sequence[str], truncate: bool) -> Tensor:
            return torch.stack([rows[text] for text in texts])

        model, preprocess = self.encoder.model, self.encoder.preprocess
        return DualEncoder(model, ready, preprocess), texts  # pyright: ignore[reportArgumentType]

    def of_tokens(self, tokens: Any) -> Tensor:
        encoder, texts = tokens
        return encoder.encode_texts(texts)

    def of_texts(self, texts: list[str]) -> Tensor:
        return self.encoder.encode_texts(texts)

    def of_pixels(self, images: Tensor) -> Tensor:
        return self.encoder.encode_pixels(images)

    def of_files(self, paths: list[Path]) -> Tensor:
        return self.encoder.encode_images(paths)

    def in_bfloat16(self) -> "Ours":
        model = deepcopy(self.encoder.model)
        set_precision(model, "bfloat16")
        half = copy(self)
        half.encoder = DualEncoder(model, self.encoder.tokenizer, self.encoder.preprocess)
        return half


class Pictures(Dataset):
    """What the recipes of open_clip and openai/CLIP give to their DataLoader."""

    def __init__(self, paths: list[Path], preprocess: Any):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        return self.preprocess(Image.open(self.paths[i]))


class OpenAI:
    """openai/CLIP: 77 positions a text, whatever its length."""

    name = "openai/CLIP"

    def __init__(self, model: Any, tokenizer: Any, preprocess: Any):
        self.model, self.tokenizer, self.preprocess = model.eval(), tokenizer, preprocess

    def tokens(self, texts: list[str]) -> Tensor:
        return self.tokenizer(texts)

    @torch.inference_mode()
    def of_tokens(self, tokens: Tensor) -> Tensor:
        return unit(self.model.encode_text(tokens))

    def of_texts(self, texts: list[str]) -> Tensor:
        return self.of_tokens(self.tokens(texts))

    @torch.inference_mode()
    def of_pixels(self, images: Tensor) -> Tensor:
        dtype = self.model.visual.conv1.weight.dtype
        return unit(self.model.encode_image(images.to(dtype)))

    def of_files(self, paths: list[Path]) -> Tensor:
        loader = DataLoader(Pictures(paths, self.preprocess), BATCH, num_workers=WORKERS)
        return torch.cat([self.of_pixels(batch) for batch in loader])

    def in_bfloat16(self) -> Contender:
        raise NotImplementedError("its LayerNorm takes float32 inputs and half-precision weights")


class OpenClip(OpenAI):
    """It grew out of openai/CLIP: the same calls."""

    name = "open_clip"

    def in_bfloat16(self) -> "OpenClip":
        copy = deepcopy(self)
        copy.model.bfloat16()
        return copy


class Transformers:
    name = "transformers"

    def __init__(self, weights: dict[str, Tensor], tokenizer: Tokenizer):
        import transformers

        config = transformers.CLIPConfig(**huggingface.write_config(CONFIG))
        self.model = transformers.CLIPModel(config).eval()
        theirs = tables.to_theirs(tables.huggingface(CONFIG), weights)
        self.model.load_state_dict(theirs, strict=True)
        self.tokenizer = transformers.CLIPTokenizer(tokenizer.id_of, tokenizer.merges)
        self.processor = transformers.CLIPImageProcessor()

    def tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(texts, padding=True, return_tensors="pt")

    @torch.inference_mode()
    def of_tokens(self, tokens: Any) -> Tensor:
        return unit(self.model.get_text_features(**tokens).pooler_output)

    def of_texts(self, texts: list[str]) -> Tensor:
        return self.of_tokens(self.tokens(texts))

    @torch.inference_mode()
    def of_pixels(self, images: Tensor) -> Tensor:
        images = images.to(self.model.dtype)
        return unit(self.model.get_image_features(pixel_values=images).pooler_output)

    def of_files(self, paths: list[Path]) -> Tensor:
        vectors = []
        for start in range(0, len(paths), BATCH):
            pictures = [Image.open(path) for path in paths[start : start + BATCH]]
            pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
            vectors.append(self.of_pixels(pixels))
        return torch.cat(vectors)

    def in_bfloat16(self) -> "Transformers":
        half = deepcopy(self)
        half.model.bfloat16()
        return half


def import_openai_clip() -> Any:
    """openai/CLIP takes `packaging` out of pkg_resources, which setuptools no longer brings."""
    stand_in = SimpleNamespace(packaging=importlib.import_module("packaging"))
    importlib.import_module("packaging.version")
    sys.modules.setdefault("pkg_resources", stand_in)  # pyright: ignore[reportArgumentType]
    return importlib.import_module("clip")


def openai_clip(weights: dict[str, Tensor]) -> OpenAI:
    clip, vision, text = import_openai_clip(), CONFIG.vision, CONFIG.text
    size = vision.image_size
    sizes = (CONFIG.embed_dim, size, vision.layers, vision.width, vision.patch_size)
    heads = text.width // text.head_width
    sizes += (text.context_length, text.vocab_size, text.width, heads, text.layers)
    model = clip.model.CLIP(*sizes)
    model.load_state_dict(weights, strict=True)
    return OpenAI(model, clip.tokenize, clip.clip._transform(size))


def contenders() -> tuple[list[Any], dict[str, str]]:
    """open_clip, whose random weights all get; ours; the others that are installed. Then why not.

    The weights are numbers that half precision holds exactly, since openai/CLIP's `load` makes them
    such, as OpenAI's own are.
    """
    open_clip = import_open_clip()
    logging.getLogger().setLevel(logging.ERROR)  # it warns of random weights
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(THEIR_NAME)
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    ours = Ours(weights, Peers(open_clip).openai_merges)
    others = {
        "openai/CLIP": lambda: openai_clip(weights),
        "transformers": lambda: Transformers(weights, ours.encoder.tokenizer),
    }
    found: list[Any] = [OpenClip(model, open_clip.get_tokenizer(THEIR_NAME), preprocess), ours]
    missing = {}
    for name, make in others.items():
        try:
            found.append(make())
        except ImportError as error:
            missing[name] = str(error)
    return found, missing
