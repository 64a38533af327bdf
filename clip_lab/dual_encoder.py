"""A model with everything that belongs to it: pictures and strings in, unit vectors out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from clip_lab.model import CLIP
from clip_lab.preprocess import ImageSources, Preprocess
from clip_lab.tokenizer import Tokenizer


@dataclass
class DualEncoder:
    """CLIP, its tokenizer and its preprocessing. What `clip_lab.load` returns.

    `card` tells what the model was trained on and how well it does, as plain JSON values.
    """

    model: CLIP
    tokenizer: Tokenizer
    preprocess: Preprocess
    name: str = "unnamed"
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval()

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

    @torch.inference_mode()
    def encode_images(
        self, images: ImageSources, batch_size: int = 64, progress: bool = False
    ) -> Float[Tensor, "images embed_dim"]:
        """A unit vector a picture, float32, on the CPU.

        Takes a list of what `open_image` takes (paths, bytes, PIL images, arrays, tensors), or one
        tensor (images, 3, height, width). Raises LabError for the first that can't be read.
        """
        vectors = [
            self._unit(self.model.encode_image(pixels.to(self.device)))
            for pixels in (
                torch.stack([self.preprocess(image) for image in batch])
                for batch in _batches(images, batch_size, "pictures", progress)
            )
        ]
        return torch.cat(vectors) if vectors else torch.zeros(0, self.embed_dim)

    @torch.inference_mode()
    def encode_texts(
        self,
        texts: Sequence[str],
        batch_size: int = 256,
        progress: bool = False,
        truncate: bool = False,
    ) -> Float[Tensor, "texts embed_dim"]:
        """A unit vector a text, float32, on the CPU. Raises LabError for one that is too long."""
        vectors = [
            self._unit(self.model.encode_text(self.tokenizer(batch, truncate).to(self.device)))
            for batch in _batches(texts, batch_size, "texts", progress)
        ]
        return torch.cat(vectors) if vectors else torch.zeros(0, self.embed_dim)

    @staticmethod
    def _unit(vectors: Float[Tensor, "n embed_dim"]) -> Float[Tensor, "n embed_dim"]:
        return F.normalize(vectors.float(), dim=-1).cpu()


def _batches(items: Any, size: int, unit: str, progress: bool) -> Iterator[Any]:
    """Slices of `size`, with a progress bar once there is more than one."""
    starts = range(0, len(items), size)
    hidden = not progress or len(starts) < 2
    with tqdm(total=len(items), unit=f" {unit}", disable=hidden, leave=False) as bar:
        for start in starts:
            batch = items[start : start + size]
            yield batch
            bar.update(len(batch))
