"""The paper's own models, to train from nothing."""

import math
from dataclasses import replace

import torch

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIP, CONFIGS
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained.tokenizer_files import openai_tokenizer


def fresh(name: str, seed: int = 0, sigmoid: bool = False) -> DualEncoder:
    """A model of that architecture with OpenAI's vocabulary, its weights drawn from `seed`.

    `sigmoid`: with the bias, and the scale to start from, of SigLIP's loss. Raises LabError for an
    architecture that isn't there.
    """
    if name not in CONFIGS:
        raise LabError(f"There is no architecture “{name}”. There are: {', '.join(CONFIGS)}.")
    # GELU itself is as quick as its stand-in by now, and most others train with it.
    config = replace(CONFIGS[name], activation="gelu", logit_bias=sigmoid)
    torch.manual_seed(seed)
    model = CLIP(config)
    if sigmoid:
        model.logit_scale.data.fill_(math.log(10))
    card = {"name": name, "trained_on": "nothing yet", "seed": seed}
    preprocess = Preprocess(config.vision.image_size)
    return DualEncoder(model, openai_tokenizer(), preprocess, name, card)
