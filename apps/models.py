"""The models that a page offers: those given at the start, the built-in ones, published ones."""

import threading
from collections import OrderedDict

from clip_lab import DualEncoder, LabError
from clip_lab.pretrained import load, names, registry
from clip_lab.pretrained.hub import in_cache

KEPT = 4  # models in memory at a time, beside those given at the start
NONE = ""  # the choice of no second model


class Models:
    """Models by name, loaded when first asked for.

    A page may name what it offers and nothing else: no folder of this machine and no id on the hub
    is read because a visitor typed it. Whoever starts the page gives their own models.
    """

    def __init__(
        self,
        *given: DualEncoder,
        device: str | None = None,
        dtype: str = "float32",
        public: bool = False,
    ):
        """`public`: for visitors whom nobody knows. Nothing is downloaded or trained for them."""
        self.public = public
        self.given = {encoder.name: encoder for encoder in given}
        self.device, self.dtype = device, dtype
        self.made: OrderedDict[str, DualEncoder] = OrderedDict()  # trained on this page
        self._kept: OrderedDict[str, DualEncoder] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def first(self) -> str:
        """What a page opens with: the first one given, else the emoji model."""
        return next(iter(self.given), "emoji")

    def choices(self) -> list[tuple[str, str]]:
        """What a list shows, and the name behind it."""
        own = [(f"{name} (given)" if name not in names() else name, name) for name in self.given]
        built_in = [(f"{name} (built in)", name) for name in names() if name not in self.given]
        published = [
            (f"{row.name} ({row.parameters:,.0f} million weights)", row.name)
            for row in registry.rows()
            if row.name not in self.given and self._offers(row)
        ]
        return [*own, *((name, name) for name in self.made), *built_in, *published]

    def _offers(self, row: registry.Row) -> bool:
        """To the public, of the published models those that were downloaded before."""
        return not self.public or in_cache(row.repo)

    def add(self, encoder: DualEncoder) -> None:
        """Offer a model that was trained here; the oldest such makes room."""
        with self._lock:
            self.made[encoder.name] = encoder
            while len(self.made) > KEPT:
                self.made.popitem(last=False)

    def get(self, name: str) -> DualEncoder:
        """The model, downloaded where it must be. Raises LabError for one that isn't offered."""
        for here in (self.given, self.made):
            if name in here:
                return here[name]
        row = registry.find(name)
        if name not in names() and (row is None or not self._offers(row)):
            raise LabError(f"This page offers no model “{name[:80]}”. Choose one from the list.")
        with self._lock:  # two visitors, one download
            if name not in self._kept:
                self._kept[name] = load(name, self.device, self.dtype)
            self._kept.move_to_end(name)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[name]


def about(encoder: DualEncoder) -> str:
    """What the model has seen and what it runs on, so that nobody expects more of it."""
    card = encoder.card
    seen, unknown = card.get("trained_on"), card.get("does_not_know")
    words = f"It has seen {seen}." if seen else "Its card doesn't say what it was trained on."
    words += f" Unknown to it: {unknown}." if unknown else ""
    if encoder.name in ("emoji", "shapes", "shapes-vit"):
        words += " **For a photograph choose “photos”, or a published model, above.**"
    weights = list(encoder.model.parameters())
    size = sum(weight.numel() for weight in weights) / 1e6
    kind = str(weights[0].dtype).removeprefix("torch.")
    return (
        f"**About “{encoder.name}”.** {words} {size:.1f} million weights in {kind} on "
        f"{encoder.device.type}, pictures of {encoder.preprocess.size} px."
    )
