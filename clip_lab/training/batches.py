"""Batches by number, prepared ahead of the model, in other processes."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader

from clip_lab.data.batch import Batch, Pairs, Pictures
from clip_lab.errors import LabError
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.tokenizer import Tokenizer
from clip_lab.training.interrupt import SIGNALS


class TokenBatch(NamedTuple):
    """A batch as the towers take it, but for the normalisation of the pictures."""

    images: Pictures
    tokens: Int[Tensor, "texts context"]
    groups: Int[Tensor, " images"]
    ids: Sequence[str]
    skipped: Sequence[str]


class _Tokenised(Pairs):
    """Batches with their captions as token ids; a fault travels as what it is, not as a trace."""

    def __init__(self, data: Pairs, tokenizer: Tokenizer | FileTokenizer, start: int):
        self.data, self.tokenizer, self.start_step = data, tokenizer, start

    def batch(self, step: int) -> TokenBatch | LabError:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            whole = self.data.batch(step)
            tokens = self.tokenizer(whole.captions, truncate=True)
        except LabError as error:
            return error
        return TokenBatch(whole.images, tokens, whole.right(), _ids(whole), whole.skipped)


def _ids(batch: Batch) -> list[str]:
    return batch.captions if batch.ids is None else list(batch.ids)


def load_batches(
    data: Pairs, tokenizer: Tokenizer | FileTokenizer, start: int, workers: int
) -> Iterator[TokenBatch]:
    """Batch `start`, `start` + 1, ... from `workers` processes, in order.

    Raises LabError for what the data can't give.
    """
    loader = DataLoader(
        _Tokenised(data, tokenizer, start),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_signals,
        prefetch_factor=2 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, LabError):
            raise batch
        yield batch


@contextmanager
def dead_workers_told() -> Iterator[None]:
    """Say it in a sentence when a process that prepares batches dies.

    PyTorch notices by a signal, so its error comes up wherever the main process is just then.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LabError(
            "A process that prepares batches died, most likely killed for want of memory. Use "
            "fewer --workers or a smaller batch. The last checkpoint is whole: go on from it with "
            "--resume."
        ) from error


def _ignore_signals(_worker: int) -> None:
    """Ctrl-C and SIGTERM may be sent to the workers too; when to stop is for the loop to say."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
