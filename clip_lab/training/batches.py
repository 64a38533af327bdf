"""Batches by number, prepared ahead of the model."""

import signal
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.tokenizer import Tokenizer


@runtime_checkable
class Pairs(Protocol):
    """What the loop learns from: batch number n, the same whenever it is asked for."""

    def batch(self, step: int) -> tuple[Float[Tensor, "batch 3 size size"], list[str]]:
        """Pictures in 0..1, and the caption of each."""
        ...


class _Steps(IterableDataset):
    """Batches from `start` on, tokenised; of several workers each makes every k-th."""

    def __init__(self, data: Pairs, tokenizer: Tokenizer | FileTokenizer, start: int):
        self.data, self.tokenizer, self.start = data, tokenizer, start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.start + first
        while True:
            images, captions = self.data.batch(step)
            yield images, self.tokenizer(captions, truncate=True)
            step += stride


def load_batches(
    data: Pairs, tokenizer: Tokenizer | FileTokenizer, start: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch `start`, `start` + 1, ... as pictures and token ids, from `workers` processes."""
    steps = _Steps(data, tokenizer, start)
    return iter(
        DataLoader(steps, batch_size=None, num_workers=workers, worker_init_fn=_ignore_interrupt)
    )


def _ignore_interrupt(_worker: int) -> None:
    """A terminal sends Ctrl-C to the workers too; when to stop is for the loop to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
