"""A classifier whose classes are a list of words, to be touched: tick, untick, write one more."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
LONGEST = 60  # characters of a word that a reader writes
MOST = 40  # words on offer


class WordsWidget(LabWidget):
    """Pictures, and words that can stand on the list of classes or not.

    `cosines[i, j]` compares picture i with word j; `pictures` are (height, width, 3) arrays, uint8
    or between 0 and 1; `names` say what each shows. `listed` are the words on the list at first.
    `ask`, where a kernel is at hand, gives a new word's cosine with every picture, so that the
    reader can write words of their own. LabError for what doesn't fit together.
    """

    _esm = HERE / "words.js"
    _css = HERE / "words.css"

    cosines = traitlets.List().tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    listed = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    asked = traitlets.Unicode("").tag(sync=True)  # what the reader wrote; emptied once answered
    answer = traitlets.Unicode("").tag(sync=True)  # why a word was not taken, if it was not
    writable = traitlets.Bool(False).tag(sync=True)  # whether there is an `ask`

    def __init__(
        self,
        cosines: Float[np.ndarray, "pictures words"],
        pictures: Sequence[np.ndarray],
        names: Sequence[str],
        words: Sequence[str],
        listed: Sequence[str],
        *,
        ask: Callable[[str], Float[np.ndarray, " pictures"]] | None = None,
    ) -> None:
        matrix = np.asarray(cosines, dtype=float)
        _check(matrix, pictures, names, words, listed)
        super().__init__(
            cosines=matrix.clip(-1, 1).round(6).tolist(),
            pictures=[picture_address(picture) for picture in pictures],
            names=list(names),
            words=list(words),
            listed=list(listed),
            writable=ask is not None,
        )
        self._ask = ask
        self.observe(self._answer, "asked")

    def _answer(self, change: Any) -> None:
        """Take the word that the reader wrote, or say why not."""
        word = " ".join(change["new"].split())
        if not word or self._ask is None:
            return
        try:
            self.answer = self._taken(word)
        except LabError as error:
            self.answer = str(error)
        self.asked = ""

    def _taken(self, word: str) -> str:
        if word not in self.words:
            if len(word) > LONGEST or len(self.words) >= MOST:
                return f"A class of at most {LONGEST} characters, and at most {MOST} of them."
            assert self._ask is not None
            column = np.asarray(self._ask(word), dtype=float)
            if column.shape != (len(self.names),):
                raise LabError(f"ask(word) must give {len(self.names)} cosines, one a picture.")
            added = column.clip(-1, 1).round(6).tolist()
            rows = [[*row, cosine] for row, cosine in zip(self.cosines, added, strict=True)]
            with self.hold_trait_notifications():
                self.cosines, self.words = rows, [*self.words, word]
        if word not in self.listed:
            self.listed = [*self.listed, word]
        return ""


def _check(
    matrix: np.ndarray,
    pictures: Sequence[np.ndarray],
    names: Sequence[str],
    words: Sequence[str],
    listed: Sequence[str],
) -> None:
    expected = (len(names), len(words))
    if matrix.shape != expected or len(pictures) != len(names) or not all(expected):
        raise LabError(
            f"{len(names)} names and {len(words)} words need {len(names)} pictures and "
            f"{expected[0]} x {expected[1]} cosines; these are {len(pictures)} pictures and "
            f"cosines of shape {matrix.shape}."
        )
    if not np.abs(matrix).max() <= 1.0001:  # also catches NaN
        raise LabError(
            f"Cosines lie between -1 and 1; these reach {np.abs(matrix).max():.3g}. "
            "Scale every vector to length 1 before you multiply."
        )
    if len(set(words)) < len(words):
        raise LabError("A word stands there twice: two classes of one name can't be told apart.")
    unknown = [word for word in listed if word not in words]
    if unknown:
        raise LabError(f"“{unknown[0]}” is to be listed, but is not among the words.")
