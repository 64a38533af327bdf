"""A folder of pictures, made searchable once."""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from clip_lab.batching import ahead, chunks
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.retrieval import VectorIndex, find_pictures

PLACE = ".clip-lab"  # inside the folder, beside the pictures it describes
BATCH = 32


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
    digest = hashlib.sha256(repr(encoder.preprocess).encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(f"{name} {tensor.double().sum().item():.10e}".encode())
    return f"{encoder.name}-{digest.hexdigest()[:12]}"


def _encode(
    encoder: DualEncoder, paths: list[Path]
) -> tuple[Float[Tensor, "read embed_dim"], list[Path], list[str]]:
    """Vectors of all that can be read; the paths they belong to; why the rest was left out."""

    def prepared(path: Path) -> Tensor | LabError:
        try:
            return encoder.preprocess(path)
        except LabError as error:
            return error

    vectors, read, skipped = [torch.zeros(0, encoder.embed_dim)], [], []
    results = zip(paths, ahead(prepared, paths, limit=2 * BATCH), strict=True)
    with tqdm(total=len(paths), unit=" pictures", leave=False) as bar:
        for chunk in chunks(results, BATCH):
            skipped += [str(result) for _, result in chunk if isinstance(result, LabError)]
            good = [(path, pixels) for path, pixels in chunk if isinstance(pixels, Tensor)]
            if good:
                read += [path for path, _ in good]
                vectors.append(encoder.encode_pixels(torch.stack([pixels for _, pixels in good])))
            bar.update(len(chunk))
    return torch.cat(vectors), read, skipped
