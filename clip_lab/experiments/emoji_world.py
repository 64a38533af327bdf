"""The emoji world in small: models that several experiments share, and how they are tested.

Pictures are drawn at 32 pixels and augmented (`EmojiPairs`). A training takes three or four minutes
of one processor core; its model has two million weights, most of them the vocabulary's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.data.batch import Batch
from clip_lab.data.emoji import EmojiPairs, EmojiTest, emoji_test
from clip_lab.data.emoji_table import TRAINED_STYLES, emoji_table, languages, texts
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import rank_of_target
from clip_lab.experiments import cache as kept
from clip_lab.experiments.learning import Plan, image_vectors, learn, train_clip
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig
from clip_lab.model.clip import INITIAL_LOGIT_SCALE
from clip_lab.preprocess import Preprocess
from clip_lab.training.recipes import EMOJI_MIX, emoji_tokenizer

SIZE = 32  # pixels a side
EMBED = 128
WAYS = 50  # names to choose from
UNSEEN_STYLE = "openmoji"


def new_model(seed: int = 0) -> DualEncoder:
    """An untrained model, with the built-in `emoji` model's vocabulary of all languages."""
    tokenizer = emoji_tokenizer()
    text = TextConfig(len(tokenizer), tokenizer.context_length, 64, 2, tokenizer.end, head_width=32)
    torch.manual_seed(seed)
    model = CLIP(CLIPConfig(EMBED, ResNetConfig(SIZE, (1, 1, 1, 1), 16), text, "gelu"))
    return DualEncoder(model, tokenizer, Preprocess(SIZE), f"emoji, seed {seed}")


def pairs(
    plan: Plan,
    seed: int,
    spoken: tuple[str, ...] = ("en",),
    styles: tuple[str, ...] = TRAINED_STYLES,
) -> EmojiPairs:
    """Batches to train on, one caption a picture; English as often as three other languages."""
    weights = [3.0 if language == "en" else 1.0 for language in spoken]
    return EmojiPairs(
        batch_size=plan.batch,
        size=SIZE,
        seed=seed,
        styles=styles,
        languages=spoken,
        language_weights=weights,
        caption_mix=EMOJI_MIX,
    )


@dataclass(frozen=True)
class SharedEmoji:
    """A model of the emoji world that several experiments use; trained once for each seed."""

    languages: tuple[str, ...] = ("en",)
    plan: Plan = field(default_factory=lambda: Plan(steps=1500, learning_rate=3e-3))

    def quick(self) -> "SharedEmoji":
        """A third of the training."""
        return replace(self, plan=replace(self.plan, steps=self.plan.steps // 3))

    def encoder(self, seed: int) -> DualEncoder:
        """From the cache, or trained now."""

        def train() -> DualEncoder:
            data = pairs(self.plan, seed, self.languages)
            return train_clip(new_model(seed), data, self.plan)

        return kept.model("emoji", kept.digest(self, seed), train)


ENGLISH = SharedEmoji()
ALL_LANGUAGES = SharedEmoji(languages())


# -- without language ------------------------------------------------------------------------------


class Classifier(nn.Module):
    """CLIP with its text tower replaced by one free vector a class: supervised learning.

    The loss is the usual cross-entropy over all classes. As in CLIP it is taken of scaled cosines,
    so that language is all that differs.
    """

    def __init__(self, encoder: DualEncoder, classes: int):
        super().__init__()
        self.encoder = encoder
        self.visual = encoder.model.visual.to(memory_format=torch.channels_last)  # pyright: ignore
        width = encoder.embed_dim
        self.head = nn.Parameter(width**-0.5 * torch.randn(classes, width))
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    @property
    def weights(self) -> Float[Tensor, "classes embed_dim"]:
        """Where a zero-shot classifier has its captions' vectors."""
        return F.normalize(self.head, dim=-1)

    def forward(self, batch: Batch) -> Float[Tensor, "batch classes"]:
        return self.logit_scale.exp() * image_vectors(self.encoder, batch) @ self.weights.T


Watch = Callable[[int, Classifier], None]


@dataclass(frozen=True)
class Supervised:
    """The pictures and the image tower that `SharedEmoji` with this seed has, and no words.

    A class is a base emoji, numbered by its place in `EmojiPairs.bases`. With fewer `styles` than
    all that are trained on it is a narrower education.
    """

    plan: Plan = ENGLISH.plan
    styles: tuple[str, ...] = TRAINED_STYLES

    def quick(self) -> "Supervised":
        """A third of the training."""
        return replace(self, plan=replace(self.plan, steps=self.plan.steps // 3))

    def encoder(self, seed: int) -> DualEncoder:
        """The image tower, from the cache or trained now; its text tower has learnt nothing."""
        return self._keep(seed, lambda: self._learnt(seed).encoder)

    def classifier(self, seed: int, look: Watch, at: tuple[int, ...]) -> Classifier:
        """Trained now, and looked at after the steps of `at`. The image tower is kept."""
        classifier = self._learnt(seed, look, at)
        self._keep(seed, lambda: classifier.encoder)
        return classifier

    def _keep(self, seed: int, train: Callable[[], DualEncoder]) -> DualEncoder:
        return kept.model("emoji-supervised", kept.digest(self, seed), train)

    def _learnt(self, seed: int, look: Watch | None = None, at: tuple[int, ...] = ()) -> Classifier:
        data = pairs(self.plan, seed, styles=self.styles)
        number = {base: i for i, base in enumerate(data.bases)}
        classifier = Classifier(new_model(seed), len(data.bases)).train()

        def loss(step: int) -> Tensor:
            batch = data.batch(step)
            assert batch.groups is not None
            targets = torch.tensor([number[base] for base in batch.groups.tolist()])
            return F.cross_entropy(classifier(batch), targets)

        learn(classifier, loss, self.plan, look and (lambda step: look(step, classifier)), at)
        return classifier.eval()


SUPERVISED = Supervised()
NARROW = Supervised(replace(ENGLISH.plan, steps=750), styles=("noto",))


# -- tests -----------------------------------------------------------------------------------------


def names(bases: list[int], language: str = "en") -> list[str]:
    """What each base emoji is called."""
    said, rows = texts(language), emoji_table().rows
    return [said[rows[base].hexcode][0] for base in bases]


def drawings(style: str, language: str = "en") -> EmojiTest:
    """All trained concepts in one style, as drawn; OpenMoji is the style that no training shows."""
    return emoji_test(style, "seen", language)


def fresh(batches: int, seed: int, style: str) -> tuple[Float[Tensor, "n 3 size size"], list[int]]:
    """A style's drawings augmented anew, 256 a batch, and the base emoji that each is of."""
    data = pairs(Plan(batch=256), 1_000_000 + seed, styles=(style,))
    drawn = [data.batch(step) for step in range(batches)]
    bases = [base for step in range(batches) for base in data.bases_of(step)]
    return torch.cat([batch.images for batch in drawn]), bases


def share_right(
    image_vectors: Float[Tensor, "pictures embed_dim"],
    weights: Float[Tensor, "classes embed_dim"],
    targets: Int[Tensor, " pictures"],
    ways: int = WAYS,
) -> float:
    """Top-1 among each picture's own class and `ways` − 1 others."""
    ranks = rank_of_target(image_vectors @ weights.T, targets)
    return top1_among(ranks, len(weights), ways)


def top1_among(ranks: Int[Tensor, " pictures"], classes: int, ways: int) -> float:
    """What top-1 would be, were the other `ways` − 1 classes drawn at random, over all draws.

    A picture whose class has r others before it is right if none of them is drawn: of K = classes,
    with probability Π (K − 1 − r − j) / (K − 1 − j), j from 0 to ways − 2. Nothing is drawn, so
    nothing is added to the spread; and it tells more than top-1 among thousands, of which a small
    model gets few.
    """
    ways = min(ways, classes)
    others = classes - 1
    j = torch.arange(ways - 1, dtype=torch.float64)
    left = (others - ranks.double()[:, None] - j).clamp(min=0)  # (pictures, ways − 1)
    return (left / (others - j)).prod(dim=1).mean().item()
