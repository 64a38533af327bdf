"""Between a model and its fine-tuned self (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903)."""

import copy

import torch

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError


def blend(original: DualEncoder, tuned: DualEncoder, share: float) -> DualEncoder:
    """The model whose every weight is (1 − share) · original + share · tuned.

    Fine-tuning gains on its own data and loses elsewhere; on the straight line between both there
    often is a model that gains on one and keeps the other. Raises LabError for models that aren't
    built alike, or a share outside of 0 to 1.
    """
    if not 0 <= share <= 1:
        raise LabError(f"The share of the tuned model goes from 0 to 1; got {share}.")
    one, other = original.model.state_dict(), tuned.model.state_dict()
    alike = original.model.config == tuned.model.config and len(original.tokenizer) == len(
        tuned.tokenizer
    )
    if not alike or {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        raise LabError(
            "These two models aren't built alike. Blend a model with one that was trained from it."
        )
    mixed = {
        name: torch.lerp(one[name], other[name], share)
        if one[name].is_floating_point()
        else other[name]
        for name in one
    }
    model = copy.deepcopy(tuned.model)
    model.load_state_dict(mixed)
    card = tuned.card | {"blend": f"{share} of this, the rest of “{original.name}”"}
    return DualEncoder(model, tuned.tokenizer, tuned.preprocess, f"{tuned.name} blend", card)
