"""The shapes model's test: combinations of shape, colour and size that were never drawn for it."""

from typing import Any

from clip_lab.data.shapes import shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import Accuracy, zero_shot_accuracy


def held_out_retrieval(
    encoder: DualEncoder, everything: bool = False, seed: int = 0, copies: int = 8
) -> Accuracy:
    """Each picture finds its caption among those of all held-out combinations (of all: everything).

    Pictures are drawn at the model's own size, `copies` of each combination.
    """
    test = shapes_test(copies, encoder.preprocess.size, seed, everything)
    return zero_shot_accuracy(encoder, test.pictures, test.captions, test.targets)


def quick_look(encoder: DualEncoder) -> dict[str, float]:
    """One figure for the log of a run."""
    return {"held_out_top1": held_out_retrieval(encoder).top1}


def figures(encoder: DualEncoder) -> dict[str, Any]:
    """Everything that the model card reports."""
    return {
        "held_out_combinations": held_out_retrieval(encoder).to_dict(),
        "held_out_among_all_combinations": held_out_retrieval(encoder, True).to_dict(),
    }
