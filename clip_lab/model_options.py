"""What every command that takes a model asks of it, in one place."""

import argparse
import sys
from collections.abc import Callable

from clip_lab.dual_encoder import DualEncoder

MODEL_HELP = "a name (“clip-lab models” lists them), a hub id, a folder or a file of weights"


def add_model_options(command: argparse.ArgumentParser) -> None:
    """How the model is to be loaded: `clip_lab.load`'s arguments, but the name."""
    group = command.add_argument_group("the model")
    group.add_argument("--device", help="cpu, cuda, … (default: the GPU where there is one)")
    group.add_argument("--dtype", default="float32", help="float32 (default), bfloat16, float16")
    group.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="another size than it was trained at"
    )
    group.add_argument(
        "--activation", help="quick_gelu or gelu, for weights that come without a configuration"
    )


def load_model(options: argparse.Namespace) -> DualEncoder:
    """The model that the options ask for; says what it doesn't know, if its card does."""
    from clip_lab.pretrained import load

    encoder = load(
        options.model, options.device, options.dtype, options.image_size, options.activation
    )
    if "does_not_know" in encoder.card:
        print(
            f"“{encoder.name}” was trained on {encoder.card['trained_on']}; it doesn't know "
            f"{encoder.card['does_not_know']}.",
            file=sys.stderr,
        )
    return encoder


def positive(kind: type) -> Callable[[str], float]:
    """A parser of numbers of this kind that takes none of 0 or less."""

    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    parse.__name__ = f"number greater than 0 ({kind.__name__})"  # argparse names it in its error
    return parse
