"""A model measured on a public test set, as CLIP_benchmark does it, figure for figure."""

import json
import platform
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

import clip_lab
from clip_lab.data.image_folder import open_image_folder
from clip_lab.data.public_set import PublicSet, Sample
from clip_lab.data.webdataset import SHARD_COUNT, is_address, open_webdataset
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.evaluation.classification import Classification, classify
from clip_lab.evaluation.retrieval import Retrieval, retrieve
from clip_lab.files import write_text
from clip_lab.preprocess import open_image
from clip_lab.zero_shot import ZeroShotClassifier

DEFAULT_TEMPLATES = ("a photo of a {}.",)  # for a set that brings none


@dataclass(frozen=True)
class Evaluation:
    """A figure, and all that it takes to get it again."""

    model: str
    dataset: str
    result: Classification | Retrieval
    classes: tuple[str, ...]  # none for retrieval, as of templates
    templates: tuple[str, ...]
    batch_size: int
    device: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self) | {"result": self.result.to_dict(), "seconds": round(self.seconds, 1)}
        values["versions"] = {
            "clip_lab": clip_lab.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        return values | {"machine": f"{platform.system()} {platform.machine()}"}

    def table(self) -> str:
        """What a person reads."""
        if isinstance(self.result, Classification):
            size = f"{self.result.accuracy.pictures:,} pictures, {len(self.classes):,} classes"
            size += f", {len(self.templates)} templates" if len(self.templates) > 1 else ""
        else:
            size = f"{self.result.pictures:,} pictures, {self.result.captions:,} captions"
        head = f"“{self.model}” on {self.dataset}: {size}, {self.seconds:.1f} s"
        return "\n".join([head, *(f"  {row}" for row in self.result.rows())])

    def save(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n")


def open_public_set(place: str | Path) -> PublicSet:
    """The set in a folder (WebDataset layout, or a folder a class) or at an http(s) address.

    Raises LabError where there is none.
    """
    if is_address(str(place)):
        return open_webdataset(str(place))
    try:
        folder = Path(place)
        if not folder.is_dir():
            raise LabError(f"There is no folder “{place}”. Give a data set's folder or address.")
        if (folder / SHARD_COUNT).exists():
            return open_webdataset(str(place))
        if any(folder.glob("test/*.tar")):
            raise LabError(f"“{place}” holds shards, but {SHARD_COUNT}, their number, is missing.")
        return open_image_folder(folder)
    except OSError as error:
        raise LabError(f"“{place}” can't be read: {error.strerror or error}.") from error


def evaluate(
    encoder: DualEncoder,
    place: str | Path,
    templates: Sequence[str] = (),
    batch_size: int = 32,
    progress: bool = False,
) -> Evaluation:
    """Zero-shot classification, or retrieval both ways, on the set that lies at `place`.

    `templates` ({} in the class's place) take precedence over the set's own. Captions longer than
    the model takes are cut, as CLIP_benchmark cuts them. Raises LabError for a set that isn't
    there, is damaged or empty; it names the picture at fault.
    """
    public_set = open_public_set(place)
    start = time.perf_counter()
    if public_set.task == "retrieval":
        templates, result = (), _retrieval(encoder, public_set, batch_size, progress)
    else:
        templates = tuple(templates) or public_set.templates or DEFAULT_TEMPLATES
        result = _classification(encoder, public_set, templates, batch_size, progress)
    return Evaluation(
        encoder.name,
        public_set.name,
        result,
        public_set.classes,
        tuple(templates),
        batch_size,
        str(encoder.device),
        time.perf_counter() - start,
    )


def _classification(
    encoder: DualEncoder,
    public_set: PublicSet,
    templates: Sequence[str],
    batch_size: int,
    progress: bool,
) -> Classification:
    weights = ZeroShotClassifier(encoder, public_set.classes, templates, progress).weights
    _check_finite(weights)
    batches = _encoded(encoder, public_set, batch_size, progress)
    return classify(
        (
            (vectors, torch.tensor([sample.target for sample in samples]))
            for vectors, samples in batches
        ),
        weights,
    )


def _retrieval(
    encoder: DualEncoder, public_set: PublicSet, batch_size: int, progress: bool
) -> Retrieval:
    image_vectors, captions = [], []
    for vectors, samples in _encoded(encoder, public_set, batch_size, progress):
        image_vectors.append(vectors)
        captions += [sample.target for sample in samples]
    texts = [text for own in captions for text in own]
    text_vectors = encoder.encode_texts(texts, progress=progress, truncate=True)
    _check_finite(text_vectors)
    return retrieve(torch.cat(image_vectors), text_vectors, captions)


def _encoded(
    encoder: DualEncoder, public_set: PublicSet, batch_size: int, progress: bool
) -> Iterator[tuple[Float[Tensor, "batch embed_dim"], list[Sample]]]:
    """Unit vectors batch by batch, each with the samples they belong to; at least one batch."""
    waiting: deque[Sample] = deque()  # read, and not yet encoded

    def images() -> Iterator[Any]:
        for sample in public_set.samples():
            waiting.append(sample)
            yield sample.image

    total, pictures = public_set.pictures, 0
    with tqdm(total=total, unit=" pictures", disable=not progress, leave=False, delay=1) as bar:
        try:
            for vectors in encoder.stream_images(images(), batch_size):
                _check_finite(vectors)
                pictures += len(vectors)
                bar.update(len(vectors))
                yield vectors, [waiting.popleft() for _ in vectors]
        except LabError as error:
            raise _named(error, waiting) from error
    if not pictures:
        raise LabError(f"“{public_set.name}” holds no pictures.")


def _named(error: LabError, waiting: deque[Sample]) -> LabError:
    """The error with the key of the first picture that can't be opened, if that was the reason."""
    for sample in waiting:
        try:
            open_image(sample.image)
        except LabError as reason:
            return LabError(f"{sample.key}: {reason}")
    return error


def _check_finite(vectors: Float[Tensor, "n embed_dim"]) -> None:
    """Comparisons with NaN are all false: such a model would be first everywhere."""
    if not vectors.isfinite().all():
        raise LabError("The model gives vectors that are no numbers (NaN). Its weights are broken.")
