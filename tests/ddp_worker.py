"""One process of several, for test_gradients.py: its share of a batch's loss and gradients.

torchrun --nproc-per-node 2 tests/ddp_worker.py OUT LOSS PIECES ROWS
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

from clip_lab.data.batch import Batch
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.training import gradients
from clip_lab.training.distributed import process_group, rank, together, world
from clip_lab.training.towers import Towers, patch_dropout

WORDS = 40


def small_model(loss: str, dtype: torch.dtype = torch.float64) -> CLIP:
    torch.manual_seed(0)
    text = TextConfig(WORDS, 12, 64, 2, WORDS - 1)
    config = CLIPConfig(16, ViTConfig(32, 8, 64, 2), text, logit_bias=loss == "sigmoid")
    return CLIP(config).to(dtype)


def batch_of(rows: int, each: int = 1) -> tuple[Batch, torch.Tensor]:
    """Pictures, tokens and groups; two pictures belong together."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(rows, 3, 32, 32, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, WORDS - 1, (rows * each, 12), generator=generator)
    ends = torch.randint(2, 12, (rows * each,), generator=generator)
    tokens[torch.arange(rows * each), ends] = WORDS - 1
    groups = torch.arange(rows)
    groups[-1] = 0
    captions = [str(number) for number in range(rows * each)]
    return Batch(images, captions, groups), tokens


def loss_and_gradients(
    loss: str, pieces: int, rows: int, share: float = 0.0, each: int = 1
) -> dict[str, torch.Tensor]:
    """What this process computes of the batch: alone, all of it."""
    model = small_model(loss).train()
    towers = together(Towers(model), torch.device("cpu"))
    batch, tokens = batch_of(rows, each)
    numbers = torch.arange(rows * each)
    own = batch.part(rank(), world())
    chosen = numbers.view(rows, each)[
        rank() * rows // world() : (rank() + 1) * rows // world()
    ].flatten()
    function = lambda features: gradients.contrast(features, own.right(), loss)  # noqa: E731
    torch.manual_seed(5)
    with patch_dropout(model, share):
        if pieces == 1:
            value = gradients.gradients_at_once(
                towers, own.images, tokens[chosen], function, torch.Tensor.backward
            )
        else:
            value = gradients.gradients_in_pieces(
                towers, own.images, tokens[chosen], function, torch.Tensor.backward, pieces
            )
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {"loss": value}


if __name__ == "__main__":
    out, loss, pieces, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with process_group(torch.device("cpu")):
        result = loss_and_gradients(loss, pieces, rows)
        total = result["loss"].clone()
        torch.distributed.all_reduce(total)
        result["loss"] = total / world()
        if rank() == 0:
            save_file(result, out)
