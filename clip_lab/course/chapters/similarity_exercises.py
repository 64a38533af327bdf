"""Chapter 6, the exercises at its end: leads, captions that repeat, and the matrix in pieces."""

from typing import Any

import torch
from torch import Tensor

from clip_lab.course.chapters.similarity import two_shares, vectors
from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, unit


@exercise(
    "leads",
    hints=(
        "For one row: its own entry, and the largest of the rest. How do you keep the own one out "
        "of the rest?",
        "Take the diagonal's entries out of the running by a value that never wins, then look for "
        "the largest along the row.",
        "A Boolean identity matrix marks the diagonal; masked_fill puts minus infinity there; "
        "amax along the last axis gives each row's best rival. Subtract it from the diagonal.",
    ),
)
def _leads(answer: Answer) -> str:
    cosines = torch.tensor(
        [[0.9, 0.1, 0.2, 0.4], [0.3, -0.2, 0.8, -0.4], [-0.6, -0.3, -0.1, -0.3], [0, 0.7, 0.2, 0.6]]
    )
    result = answer.tensor(cosines, shape=(4,), means="one lead for each picture")
    c, own = cosines.double(), torch.eye(4, dtype=torch.bool)
    rivals = torch.stack([row[~mask] for row, mask in zip(c, own, strict=True)])
    down = torch.stack([column[~mask] for column, mask in zip(c.T, own, strict=True)])
    match = c.diagonal()
    mistakes = [
        (match - c.amax(1), "The own caption takes part in its own race: a lead is then never "
         "above 0. Leave the diagonal out of the largest."),
        (rivals.amax(1) - match, "The sign is turned round: a lead is positive where the own "
         "caption is first."),
        (match - down.amax(1), "These are the leads down the columns: "
         "pictures that compete for a caption. A row was asked for."),
        (match - rivals.mean(1), "This is the lead over the mean of the others. Only the best of "
         "them can take the first place."),
        (match - (c * ~own).amax(1), "The diagonal was set to 0, which wins where all the others "
         "are negative. Put something there that can't win."),
        (match - rivals.amin(1), "This is the lead over the worst of the others."),
        (match - c.topk(2, 1).values[:, 1], "The second-best of the row was taken off. Where the "
         "own caption isn't first, that is not its rival."),
        (c.amax(1) - c.topk(2, 1).values[:, 1], "This is the lead of whichever caption is first. "
         "Ask for the own one's, which is negative where another is first."),
        (match - rivals.amax(), "The largest of the whole matrix was taken off. Each row has a "
         "best rival of its own."),
        (rivals.amax(1), "These are the best rivals. How far above them does the own caption "
         "stand?"),
    ]  # fmt: skip
    compare(result, match - rivals.amax(1), mistakes)
    return "Positive where the own caption is first; its size is the safety."


@exercise(
    "recall_by_name",
    hints=(
        "The best caption of a row stands somewhere. Which name stands there, and is it the row's?",
        "argmax along a row gives a position. Indexing the numbers with all positions at once "
        "gives the numbers that were found.",
        "numbers[positions] against numbers, elementwise, then the mean as float. Once with the "
        "positions of the rows, once with those of the columns.",
    ),
)
def _by_name(answer: Answer) -> str:
    numbers = torch.tensor([4, 7, 4, 7, 4, 9, 4, 9])
    # Of this seed: rows 6 of 8 by name, 3 on the diagonal; columns 3 and 1.
    cosines = torch.rand(8, 8, generator=torch.Generator().manual_seed(1369))
    value, own = two_shares(answer(cosines, numbers)), torch.arange(8)
    rows, columns = cosines.argmax(1), cosines.argmax(0)
    found = [(numbers[best] == numbers).double().mean() for best in (rows, columns)]
    exact = [(best == own).double().mean() for best in (rows, columns)]
    wanted = torch.stack(found)
    mistakes = [
        (torch.stack(exact), "This asks for the diagonal itself: a twin with the same name still "
         "counts as wrong."),
        (wanted.flip(0), "The two are exchanged: pictures that find their caption (rows) come "
         "first."),
        (wanted[[0, 0]], "Both are the same direction: rows. Captions look down their column."),
        (wanted[[1, 1]], "Both are the same direction: columns. Pictures look along their row."),
        (8 * wanted, "These are counts; divide by the number of pairs."),
        (1 - wanted, "These are the shares that fail."),
        (torch.stack([(best == numbers).double().mean() for best in (rows, columns)]), "Positions "
         "were compared with names' numbers. Look up which number stands at the position."),
    ]  # fmt: skip
    compare(value, wanted, mistakes)
    return "A twin's caption says the same, so it is right."


@exercise(
    "best_in_pieces",
    hints=(
        "Whoever looks for the tallest of a long queue need not see it all at once. What must be "
        "remembered from one group to the next?",
        "For each picture, the best cosine so far and where it stood. A piece gives its own best: "
        "replace where it is better. The last piece may be shorter.",
        "A position within a piece needs the piece's start added. `max` along the last axis gives "
        "values and positions; torch.where chooses between old and new, picture by picture.",
    ),
)
def _in_pieces(answer: Answer) -> str:
    images, texts = unit(vectors(9, 4, seed=11)).float(), unit(vectors(11, 4, seed=12)).float()
    seen = texts @ images.T  # (captions, pictures)
    result = answer(images, texts, 4)
    if isinstance(result, tuple):
        raise Wrong("A pair came back, values and positions: return the positions alone.")
    result = _positions(result, 9)
    compare(result, seen.argmax(0).double(), _piece_mistakes(seen, 4))
    for piece in (1, 11, 100):
        again = _positions(answer(images, texts, piece), 9)
        if not torch.equal(again, seen.argmax(0).double()):
            raise Wrong(f"With 4 captions at a time it is right, with {piece} it isn't.")
    below = unit(torch.rand(5, 3, generator=torch.Generator().manual_seed(4)) + 0.1).float()
    far = _positions(answer(below, -below, 2), 5)
    if not torch.equal(far, (-below @ below.T).argmax(0).double()):
        raise Wrong("Where all cosines are negative the answer is off: the best so far must start "
                    "below anything that can come, and 0 isn't.")  # fmt: skip
    return "The same captions as from the whole matrix, whatever the piece."


def _positions(result: Any, count: int) -> Tensor:
    try:
        values = torch.as_tensor(result).double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("One row number for each picture was expected.") from None
    if tuple(values.shape) != (count,):
        raise Wrong(f"The shape is {tuple(values.shape)}; ({count},) was expected: one row number "
                    "for each picture.")  # fmt: skip
    return values


def _piece_mistakes(seen: Tensor, piece: int) -> Mistakes:
    parts = list(seen.split(piece))
    values = torch.stack([part.amax(0) for part in parts])
    places = torch.stack([part.argmax(0) for part in parts])
    winner = values.argmax(0)
    within = places.gather(0, winner[None])[0]
    full = seen[: len(seen) // piece * piece]
    last = places[-1] + piece * (len(parts) - 1)
    found = [
        (within, "These are positions within a piece. Add where the piece starts."),
        (full.argmax(0), "The last captions, which don't fill a piece, were never looked at."),
        (places[0], "Only the first piece was looked at."),
        (last, "Each piece overwrites the one before, so the last one wins. Replace, picture by "
         "picture, only where the new cosine is better."),
        (within + winner * piece * piece, "The piece's start was multiplied by its size: it counts "
         "captions already."),
        (seen.argmin(0), "These are the worst captions."),
        (seen.amax(0), "These are the best cosines. Where they stand was asked."),
        (winner, "These are the numbers of the pieces. Which row within them?"),
    ]  # fmt: skip
    return [(mistaken.double(), text) for mistaken, text in found]
