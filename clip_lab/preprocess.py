"""From whatever a picture comes as to the tensor that a model was trained on."""

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from clip_lab.errors import LabError

MAX_PIXELS = 64_000_000  # a bigger one is more likely an attack than a photograph
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")  # no programs started
MAX_SCALED = 200_000_000  # pixels on the way to the model's square: 0.6 GB

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
RESIZES = ("crop", "squash")
ROUNDINGS = ("even", "down")

ImageSource = Image.Image | str | Path | bytes | np.ndarray | Tensor
ImageSources = Sequence[ImageSource] | Tensor | np.ndarray  # many: a list, or one array of them


def open_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Any picture as 8-bit RGB, upright, on white where it was transparent.

    Takes a path, a file's bytes, a PIL image, an array (height, width, 3; 0..255 if integer, 0..1
    if float) or a tensor (3, height, width; the same ranges). Of an animation the first frame.
    Raises LabError for a file that is missing, damaged, no picture, or of over `max_pixels`.
    """
    if isinstance(source, Tensor):
        source = (
            source.detach().cpu().movedim(0, -1).numpy() if source.ndim == 3 else source.numpy()
        )
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _upright_rgb(source, "The picture", max_pixels)
    name = "The picture" if isinstance(source, bytes) else f"“{Path(source).name}”"
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise LabError(f"{name} can't be opened: {error.strerror or error}.") from error
    with file:
        return _upright_rgb(file, name, max_pixels)


def _upright_rgb(
    source: Image.Image | io.BytesIO | io.BufferedReader, name: str, max_pixels: int
) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes and odd metadata; what matters is checked here
        try:
            opened = isinstance(source, Image.Image)
            image = source if opened else Image.open(source, formats=FORMATS)
            if image.width * image.height > max_pixels:  # from the header: nothing is decoded yet
                raise Image.DecompressionBombError
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except Image.DecompressionBombError as error:
            size = f"{max_pixels // 1_000_000} megapixels"
            raise LabError(f"{name} has over {size}. Make it smaller first.") from error
        except Image.UnidentifiedImageError as error:
            raise LabError(
                f"{name} is not a picture that can be read. PNG, JPEG, WebP, GIF, BMP and TIFF can."
            ) from error
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError) as error:
            raise LabError(f"{name} is damaged and can't be read to its end ({error}).") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit, 32-bit or float grey
        values = np.asarray(image, dtype=np.float32)
        bits = 65535 if image.mode.startswith("I") else max(float(values.max()), 1.0)
        image = Image.fromarray((values / bits * 255).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] not in (3, 4) or array.size == 0:
        raise LabError(
            f"An array of shape {array.shape} is no picture: (height, width, 3) as an array, "
            "(3, height, width) as a tensor."
        )
    if array.dtype.kind == "f":
        array = (array * 255).round()
    return _to_rgb(Image.fromarray(array.clip(0, 255).astype(np.uint8)))


@dataclass(frozen=True)
class Preprocess:
    """A model's own way to see: a square of `size` pixels, then mean and deviation by channel.

    `resize`: "crop" scales the short side to `size` and cuts out the centre, as CLIP does; "squash"
    scales both sides to `size` and keeps all of the picture, as SigLIP does. `interpolation`:
    "bicubic" or "bilinear". Every value is bit for bit what torchvision's Resize, CenterCrop,
    ToTensor and Normalize make of an RGB picture: they too call Pillow's own resize.

    `rounding`: where the crop starts when its margins come to half a pixel: "even", at the even
    neighbour (torchvision, and so OpenAI and OpenCLIP), or "down" (transformers).

    The defaults are CLIP's: mean and deviation of its training pictures.
    """

    size: int
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: str = "bicubic"
    resize: str = "crop"
    rounding: str = "even"

    def __post_init__(self) -> None:
        allowed = {"interpolation": FILTERS, "resize": RESIZES, "rounding": ROUNDINGS}
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise LabError(
                    f"Preprocessing with {field} “{getattr(self, field)}” isn't known. "
                    f"Use one of: {', '.join(values)}."
                )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.size, *self.std) <= 0:
            raise LabError(
                "Preprocessing needs a size, and a mean and a deviation for each of 3 channels, "
                f"size and deviations above 0; it got {self.size}, {self.mean} and {self.std}."
            )

    def __call__(self, source: ImageSource) -> Float[Tensor, "3 size size"]:
        image = self.crop(open_image(source))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, H, W)
        return self.normalize(pixels[None].float() / 255)[0]

    def crop(self, image: Image.Image) -> Image.Image:
        """The square that the model sees."""
        if self.resize == "squash":
            return self._scale(image, (self.size, self.size))
        width, height = image.size
        short = min(width, height)
        # Rounded down as torchvision does, so that tensors match its own exactly.
        scaled = (int(self.size * width / short), int(self.size * height / short))
        image = self._scale(image, scaled)
        start = round if self.rounding == "even" else math.floor
        left, top = (start((side - self.size) / 2) for side in scaled)
        return image.crop((left, top, left + self.size, top + self.size))

    def _scale(self, image: Image.Image, scaled: tuple[int, int]) -> Image.Image:
        """To this (width, height). A strip so thin that this would fill the memory is refused."""
        if scaled == image.size:
            return image
        if scaled[0] * max(scaled[1], image.height) > MAX_SCALED:  # Pillow widens first
            raise LabError(
                f"A picture of {image.width} × {image.height} pixels is too long and thin for a "
                f"model that sees {self.size} × {self.size}. Cut out the part that matters first."
            )
        return image.resize(scaled, FILTERS[self.interpolation])

    def normalize(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Values in 0..1 to values of mean 0 and deviation 1 over the training pictures."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return (images - mean) / std
