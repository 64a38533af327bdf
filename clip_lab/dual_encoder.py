"""A model with everything that belongs to it: pictures and strings in, unit vectors out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from clip_lab.batching import ahead, alike, chunks
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.model import CLIP
from clip_lab.packed import WORTH_PACKING, Packed
from clip_lab.preprocess import ImageSource, ImageSources, Preprocess
from clip_lab.tokenizer import Tokenizer


@dataclass
class DualEncoder:
    """CLIP, its tokenizer and its preprocessing. What `clip_lab.load` returns.

    `card` tells what the model was trained on and how well it does, as plain JSON values.
    """

    model: CLIP
    tokenizer: Tokenizer | FileTokenizer
    preprocess: Preprocess
    name: str = "unnamed"
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval()
        large = sum(p.numel() for p in self.model.parameters()) > WORTH_PACKING
        self.packed = Packed() if large else None

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def embed_dim(self) -> int:
        return self.model.config.embed_dim

    @property
    def scale(self) -> float:
        """What cosines are multiplied by to give logits: 1/τ, learned."""
        return self.model.logit_scale.exp().item()

    @property
    def bias(self) -> float:
        """What is added to every logit: 0 but in SigLIP."""
        return 0.0 if self.model.logit_bias is None else self.model.logit_bias.item()

    def encode_images(
        self, images: ImageSources, batch_size: int = 32, progress: bool = False
    ) -> Float[Tensor, "images embed_dim"]:
        """A unit vector a picture, float32, on the CPU.

        Takes a list of what `open_image` takes (paths, bytes, PIL images, arrays, tensors), or one
        tensor (images, 3, height, width). Raises LabError for the first that can't be read.
        """
        vectors = [torch.zeros(0, self.embed_dim)]
        with _bar(len(images), batch_size, "pictures", progress) as bar:
            for batch in self.stream_images(images, batch_size):
                vectors.append(batch)
                bar.update(len(batch))
        return torch.cat(vectors)

    def stream_images(
        self, images: Iterable[ImageSource], batch_size: int = 32
    ) -> Iterator[Float[Tensor, "batch embed_dim"]]:
        """The same, batch by batch and in order, for more pictures than fit into memory.

        While the model works on one batch, threads open and resize the pictures of the next.
        """
        pictures = ahead(self.preprocess, images, limit=2 * batch_size)
        for batch in chunks(pictures, batch_size):
            yield self.encode_pixels(torch.stack(batch))

    def encode_pixels(
        self, pixels: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """The same for pictures that `preprocess` has prepared."""
        return self._unit(self.model.encode_image, pixels)

    def encode_texts(
        self,
        texts: Sequence[str],
        batch_size: int = 256,
        progress: bool = False,
        truncate: bool = False,
    ) -> Float[Tensor, "texts embed_dim"]:
        """A unit vector a text, float32, on the CPU. Raises LabError for one that is too long.

        A text that occurs twice is encoded once.
        """
        distinct = list(dict.fromkeys(texts))
        vectors = torch.zeros(len(distinct), self.embed_dim)
        tokens = self.tokenizer(distinct, truncate)
        with _bar(len(distinct), batch_size, "texts", progress) as bar:
            for rows in alike(tokens, batch_size) if distinct else ():
                vectors[rows] = self._unit(self.model.encode_text, tokens[rows])
                bar.update(len(rows))
        place = {text: i for i, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]

    @torch.inference_mode()
    def _unit(
        self, tower: Callable[[Tensor], Tensor], batch: Shaped[Tensor, "n *rest"]
    ) -> Float[Tensor, "n embed_dim"]:
        faster = self.packed if self.packed and self.device.type == "cpu" else nullcontext()
        with faster:
            vectors = tower(batch.to(self.device))
        return F.normalize(vectors.float(), dim=-1).cpu()


def _bar(number: int, batch_size: int, unit: str, progress: bool) -> tqdm:
    """A progress bar, seen once there is more than one batch."""
    hidden = not progress or number <= batch_size
    return tqdm(total=number, unit=f" {unit}", disable=hidden, leave=False)
