"""Two models that differ in their batches alone, and the same tests for both."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.world import SIZE, new_model


def after_each(
    trainings: Mapping[str, type[ShapesPairs]],
    kinds: dict[str, float],
    plan: Plan,
    seed: int,
    test: Callable[[DualEncoder], dict[str, Any]],
) -> dict[str, Any]:
    """What `test` finds after each training, all from the same weights, as "TRAINING_TEST"."""
    measured = {}
    for name, data in trainings.items():
        pairs = data(plan.batch, SIZE, seed, kinds=kinds)
        encoder = train_clip(new_model(seed=seed), pairs, plan)
        measured |= for_each([name], test(encoder))
    return measured


def for_each(trainings: Iterable[str], tests: dict[str, Any]) -> dict[str, Any]:
    """One model's tests under the names of all trainings: a published one stands for each."""
    return {f"{name}_{test}": found for name in trainings for test, found in tests.items()}
