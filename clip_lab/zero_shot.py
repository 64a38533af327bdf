"""Classes given in words (paper 3.1): a classifier is nothing but the vectors of its captions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.preprocess import ImageSources

# Sets of prompts by name; {} is the label's place. A set of several is an ensemble (paper 3.1.4).
TEMPLATES: dict[str, tuple[str, ...]] = {
    "bare name": ("{}",),
    "photo": ("a photo of a {}.",),
    "emoji": ("an emoji of {}",),
    "drawings": (
        "{}",
        "an emoji of {}",
        "a drawing of {}",
        "a picture of {}",
    ),
}


def fill(template: str, label: str) -> str:
    """The template with the label in place of each {}.

    By replacement, never by str.format: a template comes from outside, and format specs can read
    attributes or ask for gigabytes of padding. Raises LabError where there is no {}.
    """
    if "{}" not in template:
        raise LabError(
            f"The template “{template[:60]}” has no {{}}. Put {{}} where the label belongs, "
            "as in “a photo of a {}”."
        )
    return template.replace("{}", label)


@dataclass(frozen=True)
class Prediction:
    """How each picture stands to each label, at every stage of the way to a probability."""

    labels: tuple[str, ...]
    cosines: Float[np.ndarray, "images labels"]
    scale: float  # 1/τ
    bias: float = 0.0  # SigLIP's; a softmax doesn't notice it

    @property
    def logits(self) -> Float[np.ndarray, "images labels"]:
        return self.scale * self.cosines + self.bias

    @property
    def probabilities(self) -> Float[np.ndarray, "images labels"]:
        """The softmax of each row: shares of one among *these* labels, not chances of presence."""
        exponentials = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def at_scale(self, scale: float) -> "Prediction":
        """The same cosines read at another temperature."""
        return replace(self, scale=scale)

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """For each picture its k likeliest labels with their probabilities, best first."""
        order = np.argsort(-self.cosines, axis=1, kind="stable")[:, :k]
        return [
            [(self.labels[j], float(row[j])) for j in best]
            for best, row in zip(order, self.probabilities, strict=True)
        ]


class ZeroShotClassifier:
    """One unit vector a label, made of its prompts; the nearest one is a picture's class."""

    def __init__(
        self,
        encoder: DualEncoder,
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
        progress: bool = False,
    ):
        self.labels = tuple(label.strip() for label in labels)
        if not self.labels or not all(self.labels):
            raise LabError("Give at least one label, and no empty ones.")
        if not templates:
            raise LabError("Give at least one template, for instance “{}”.")
        self.encoder = encoder
        prompts = [fill(template, label) for label in self.labels for template in templates]
        vectors = encoder.encode_texts(prompts, progress=progress)
        self.weights = self._ensemble(vectors.unflatten(0, (len(self.labels), len(templates))))

    @staticmethod
    def _ensemble(
        vectors: Float[Tensor, "labels templates embed_dim"],
    ) -> Float[Tensor, "labels embed_dim"]:
        """The mean of a label's vectors, made unit again (paper 3.1.4).

        Averaged as vectors, not as probabilities: however many the templates, the classifier is as
        small and as quick as with one.
        """
        return F.normalize(vectors.mean(dim=1), dim=-1)

    def __call__(self, images: ImageSources) -> Prediction:
        """Classify pictures: anything that `encode_images` takes."""
        return self.predict(self.encoder.encode_images(images))

    def predict(self, image_vectors: Float[Tensor, "images embed_dim"]) -> Prediction:
        """Classify pictures that were encoded before."""
        cosines = (image_vectors @ self.weights.T).numpy()
        return Prediction(self.labels, cosines, self.encoder.scale, self.encoder.bias)
