"""A folder of pictures, made searchable once."""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.preprocess import open_image
from clip_lab.retrieval import VectorIndex, find_pictures

PLACE = ".clip-lab"  # inside the folder, beside the pictures it describes
BATCH = 64


def folder_index(
    encoder: DualEncoder, folder: Path, rebuild: bool = False
) -> tuple[VectorIndex, list[str]]:
    """The folder's index, made now if there is none for this model or if `rebuild`.

    With it, a sentence for each file that looked like a picture and could not be read. Raises
    LabError for a folder that isn't there or holds no pictures.
    """
    place = folder / PLACE / fingerprint(encoder)
    if place.is_dir() and not rebuild:
        return VectorIndex.open(place), []
    paths = list(find_pictures(folder))
    if not paths:
        raise LabError(f"“{folder}” holds no pictures (PNG, JPEG, WebP, GIF, BMP or TIFF).")
    vectors, read, skipped = _encode(encoder, paths)
    index = VectorIndex.build(vectors, [{"path": str(p.relative_to(folder))} for p in read])
    index.save(place)
    return index, skipped


def fingerprint(encoder: DualEncoder) -> str:
    """A short name that differs between models, so that no index answers for another's vectors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(f"{name} {tensor.double().sum().item():.10e}".encode())
    return f"{encoder.name}-{digest.hexdigest()[:12]}"


def _encode(
    encoder: DualEncoder, paths: list[Path]
) -> tuple[Float[Tensor, "read embed_dim"], list[Path], list[str]]:
    """Vectors of all that can be read; the paths they belong to; why the rest was left out."""
    vectors, read, skipped = [torch.zeros(0, encoder.embed_dim)], [], []
    with tqdm(total=len(paths), unit=" pictures", leave=False) as bar:
        for start in range(0, len(paths), BATCH):
            images = []
            for path in paths[start : start + BATCH]:
                try:
                    images.append(encoder.preprocess.crop(open_image(path)))
                    read.append(path)
                except LabError as error:
                    skipped.append(str(error))
                bar.update()
            vectors.append(encoder.encode_images(images))
    return torch.cat(vectors), read, skipped
