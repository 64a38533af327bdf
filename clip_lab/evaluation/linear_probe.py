"""Linear probe (paper 3.2, appendix A.3): what can be read off the vectors with flat cuts alone?

The picture tower is frozen, and a logistic regression learns the classes from its vectors:

    minimise  Σ_i −log softmax(W x_i + b)_{y_i}  +  λ/2 ‖W‖²

The one thing to choose is λ, the strength of the L2 penalty (scikit-learn's C is 1/λ). It is chosen
on a part of the training pictures that is kept back; the test pictures are looked at once, at the
end.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target

Array = Tensor | np.ndarray

LOWEST, HIGHEST = -6, 6  # λ from 10⁻⁶ to 10⁶
FIRST_STEP = 2  # decades between the strengths tried first
LAST_STEP = 1 / 8  # "8 steps per decade", 96 in all
MAX_ITERATIONS = 1000
KEPT_BACK = 0.2  # share of the training pictures that λ is chosen on


@dataclass(frozen=True)
class Trial:
    """One strength of the sweep."""

    strength: float  # λ
    accuracy: float  # top-1 on the pictures kept back
    converged: bool  # False: stopped after MAX_ITERATIONS, as a weak penalty often is


@dataclass(frozen=True)
class Probe:
    """How well the chosen probe does on the test pictures, and how it was chosen."""

    strength: float  # λ
    accuracy: Accuracy
    trials: tuple[Trial, ...]  # weakest penalty first

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "task": "linear probe",
            "strength": self.strength,
            "accuracy": self.accuracy.to_dict(),
            "trials": [asdict(trial) for trial in self.trials],
        }

    def rows(self) -> list[str]:
        """Lines of a table."""
        low, high = self.accuracy.interval()
        unfinished = sum(not trial.converged for trial in self.trials)
        return [
            f"top-1   {self.accuracy.top1:7.2%}   95 % interval {low:.2%} to {high:.2%}, "
            f"guessing {self.accuracy.chance:.2%}",
            f"λ       {self.strength:7.3g}   best of {len(self.trials)} tried, "
            f"{unfinished} of them cut off after {MAX_ITERATIONS:,} iterations",
        ]


def linear_probe(
    train_vectors: Float[Array, "train embed_dim"],
    train_targets: Int[Array, " train"],
    test_vectors: Float[Array, "test embed_dim"],
    test_targets: Int[Array, " test"],
    seed: int = 0,
) -> Probe:
    """Choose λ on a fifth of the training pictures, fit again on all of them, test once.

    The seed decides which fifth of each class is kept back; nothing else is random. The paper takes
    the vectors before the towers' common space; any will do here, but λ means something else for
    vectors of another length.

    Raises LabError for empty or unequal arrays, values that aren't finite, a single class, a test
    class that isn't trained on, and classes with too few pictures to keep any back.
    """
    train = labelled(train_vectors, train_targets, "training")
    test = labelled(test_vectors, test_targets, "test")
    check_classes(train, test)
    back = _kept_back(train.targets, seed)
    fitted, held = train.take(~back), train.take(back)

    def trial(strength: float) -> Trial:
        model = fit(fitted, strength)
        accuracy = (ranks(model, held) == 0).double().mean().item()
        return Trial(strength, accuracy, bool(model.n_iter_.max() < MAX_ITERATIONS))

    trials = sweep(trial)
    strength = best(trials).strength
    return Probe(strength, accuracy_of(fit(train, strength), test), trials)


# -- the choice of λ ------------------------------------------------------------------------------


def sweep(trial: Callable[[float], Trial]) -> tuple[Trial, ...]:
    """The paper's binary search for the best of 97 strengths, which tries 15 at most.

    Seven strengths two decades apart; then, with half the distance each time, the two neighbours of
    the best so far, until there are eight steps to a decade. It finds the peak of an accuracy that
    rises and then falls; of several peaks it may find a lesser one.
    """
    trials = {float(e): trial(10.0**e) for e in range(LOWEST, HIGHEST + 1, FIRST_STEP)}
    step = float(FIRST_STEP)
    while step > LAST_STEP:
        step /= 2
        peak = max(trials, key=lambda e: (trials[e].accuracy, e))
        for exponent in (peak - step, peak + step):
            if LOWEST <= exponent <= HIGHEST:
                trials[exponent] = trial(10.0**exponent)
    return tuple(trials[exponent] for exponent in sorted(trials))


def best(trials: tuple[Trial, ...]) -> Trial:
    """The most accurate; of equals the one with the strongest penalty, the simplest classifier."""
    return max(trials, key=lambda trial: (trial.accuracy, trial.strength))


def _kept_back(targets: Int[np.ndarray, " train"], seed: int) -> np.ndarray:
    """A mask with a fifth of every class: at least one picture of it, and never its only one."""
    draw = np.random.default_rng(seed)
    back = np.zeros(len(targets), dtype=bool)
    for number in np.unique(targets):
        own = draw.permutation(np.flatnonzero(targets == number))
        back[own[: min(max(1, round(KEPT_BACK * len(own))), len(own) - 1)]] = True
    if not back.any():
        raise LabError(
            "Every class has a single training picture, so none can be kept back to choose the "
            "strength on. Give at least two pictures of a class, or use few_shot."
        )
    return back


# -- one probe ------------------------------------------------------------------------------------


class Labelled(NamedTuple):
    """Vectors and their class numbers, checked."""

    vectors: np.ndarray  # (pictures, embed_dim), float32
    targets: np.ndarray  # (pictures,), int64

    def take(self, which: np.ndarray) -> "Labelled":
        """The pictures that an index or a mask names."""
        return Labelled(self.vectors[which], self.targets[which])


def labelled(vectors: Array, targets: Array, what: str) -> Labelled:
    """Both as NumPy arrays. Raises LabError, naming `what` they are, for anything unusable."""
    rows = torch.as_tensor(vectors).detach().cpu().float().numpy()
    numbers = torch.as_tensor(targets).detach().cpu().long().numpy()
    if len(rows) == 0:
        raise LabError(f"There are no {what} vectors. Give at least one picture a class.")
    if len(rows) != len(numbers):
        raise LabError(
            f"There are {len(rows):,} {what} vectors and {len(numbers):,} {what} targets. "
            "Give one class number for each vector."
        )
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise LabError(
            f"Vector {bad} of the {what} vectors isn't finite (NaN or infinity). "
            "Check the model that made it."
        )
    return Labelled(rows, numbers)


def check_classes(train: Labelled, test: Labelled) -> None:
    """Raises LabError unless the training pictures say enough to classify the test pictures."""
    if train.vectors.shape[1] != test.vectors.shape[1]:
        raise LabError(
            f"Training vectors have {train.vectors.shape[1]} values and test vectors "
            f"{test.vectors.shape[1]}. Encode both with one model."
        )
    known = np.unique(train.targets)
    if len(known) < 2:
        raise LabError("All training pictures are of one class. Give at least two classes.")
    strange = np.setdiff1d(test.targets, known)
    if len(strange):
        raise LabError(
            f"Class {strange[0]} occurs among the test pictures and not in training. "
            "Add training pictures of it, or leave its test pictures out."
        )


def fit(train: Labelled, strength: float) -> Any:
    """Scikit-learn's LogisticRegression with the L2 penalty λ, found by L-BFGS.

    It stops where no derivative of the mean loss is above the tolerance. One of K classes has a
    K-th of the pictures and of the gradient: with a thousand classes and vectors of length 1 even
    the first gradient may be below the default 1e-4, and nothing is learnt. So the tolerance is
    divided by K. (From λ = 10⁵ on the weights are so small that float32 finds them only roughly.)
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise LabError(
            "scikit-learn isn't installed: pip install “clip-lab[evaluation]”."
        ) from error
    tolerance = 1e-4 / len(np.unique(train.targets))
    model = LogisticRegression(C=1 / strength, tol=tolerance, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a Trial says so itself
        return model.fit(train.vectors, train.targets)


def ranks(model: Any, test: Labelled) -> Int[Tensor, " pictures"]:
    """For each picture, how many classes score as high as its own or higher: 0 is a hit."""
    scores = model.decision_function(test.vectors)
    if scores.ndim == 1:  # of two classes scikit-learn gives the score of the second alone
        scores = np.stack([-scores, scores], axis=1)
    columns = np.searchsorted(model.classes_, test.targets)
    return rank_of_target(torch.from_numpy(scores), torch.from_numpy(columns))


def accuracy_of(model: Any, test: Labelled) -> Accuracy:
    """Among the classes that the probe was trained on."""
    return Accuracy.of_ranks(ranks(model, test), len(model.classes_))
