"""What each prompt template of an ensemble does to one prediction (paper 3.1.4, taken apart)."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.zero_shot import fill


@dataclass(frozen=True)
class TemplateEffect:
    """One template: what it says alone, and what the ensemble says without it.

    `cosine`: of the picture and the ensemble's winner in this template. `share`: the softmax' share
    of that winner. A winner is a place among the labels.
    """

    template: str
    cosine: float
    share_alone: float
    winner_alone: int
    share_without: float | None  # of an ensemble of one nothing is left
    winner_without: int | None


def template_effects(
    encoder: DualEncoder,
    image_vector: Float[Tensor, " embed_dim"],
    labels: Sequence[str],
    templates: Sequence[str],
) -> tuple[int, float, list[TemplateEffect]]:
    """The ensemble's winner, its share, and each template's part in it.

    Shares are among these labels. Raises LabError for no label, no template, or one without {}.
    """
    if not labels or not templates:
        raise LabError("Give at least one label and one template.")
    prompts = [fill(template, label) for label in labels for template in templates]
    texts = encoder.encode_texts(prompts).unflatten(0, (len(labels), len(templates)))

    def shares(weights: Float[Tensor, "labels embed_dim"]) -> Float[Tensor, " labels"]:
        logits = encoder.scale * (F.normalize(weights, dim=-1) @ image_vector)
        return logits.double().softmax(dim=0)

    total = texts.sum(dim=1)
    whole = shares(total)
    winner = int(whole.argmax())
    effects = []
    for place, template in enumerate(templates):
        own = texts[:, place]
        alone = shares(own)
        without = shares(total - own) if len(templates) > 1 else None
        effects.append(
            TemplateEffect(
                template,
                float(own[winner] @ image_vector),
                float(alone[winner]),
                int(alone.argmax()),
                None if without is None else float(without[winner]),
                None if without is None else int(without.argmax()),
            )
        )
    return winner, float(whole[winner]), effects
