"""The small worlds that experiments train in, and the models that several of them share.

A training is one to five minutes of one processor core; what several need is trained once. The
shapes world is drawn at 32 pixels; its models are a ResNet and Vision Transformers of about 200,000
weights each.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import torch

from clip_lab import pretrained
from clip_lab.data.shapes import SHARES, ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import cache as kept
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer

SIZE = 32  # pixels a side
TOWERS: dict[str, ResNetConfig | ViTConfig] = {
    "resnet": ResNetConfig(SIZE, (1, 1, 1, 1), 8),
    "vit": ViTConfig(SIZE, patch_size=8, width=64, layers=3, head_width=32),
    "fine_vit": ViTConfig(SIZE, patch_size=4, width=64, layers=3, head_width=32),  # 64 patches
}


def new_model(tower: str = "resnet", seed: int = 0, bias: bool = False) -> DualEncoder:
    """An untrained model of the shapes world, with the built-in `shapes` model's vocabulary.

    `bias`: with the one number that SigLIP's loss adds to every logit.
    """
    tokenizer = vocabulary()
    text = TextConfig(len(tokenizer), tokenizer.context_length, 64, 2, tokenizer.end, head_width=32)
    torch.manual_seed(seed)
    model = CLIP(CLIPConfig(64, TOWERS[tower], text, "gelu", logit_bias=bias))
    return DualEncoder(model, tokenizer, Preprocess(SIZE), f"{tower}, seed {seed}")


@cache
def vocabulary() -> Tokenizer:
    """The built-in `shapes` model's: all words of the small grammar."""
    tokenizer = pretrained.load("shapes", "cpu").tokenizer
    assert isinstance(tokenizer, Tokenizer)
    return tokenizer


@dataclass(frozen=True)
class Shared:
    """A model of the shapes world that several experiments use; trained once for each seed."""

    tower: str = "resnet"
    kinds: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    plan: Plan = Plan()

    def quick(self) -> "Shared":
        """A third of the training."""
        return replace(self, plan=replace(self.plan, steps=self.plan.steps // 3))

    def encoder(self, seed: int) -> DualEncoder:
        """From the cache, or trained now."""

        def train() -> DualEncoder:
            data = ShapesPairs(self.plan.batch, SIZE, seed, kinds=self.kinds)
            return train_clip(new_model(self.tower, seed), data, self.plan)

        return kept.model("shapes", kept.digest(self, seed), train)


# Colours and sizes are learnt in 300 such steps, shapes between 300 and 1,500.
BASE = Shared(plan=Plan(steps=1500, batch=256, learning_rate=5e-3, warmup=200))
# Knows what one object is called, and has never seen two, a number or a written word.
SINGLES = Shared(kinds={"single": 1.0}, plan=Plan(1000, 256, learning_rate=5e-3, warmup=200))
FINE = Shared("fine_vit", plan=Plan(1500, 256, learning_rate=2e-3, warmup=200))  # for heat maps
