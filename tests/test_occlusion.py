"""Covering parts of a picture."""

import pytest
import torch
from torch.nn import functional as F

from clip_lab import LabError
from clip_lab.dual_encoder import DualEncoder
from clip_lab.interpret.occlusion import CELLS, COVER, covers, occlusion
from clip_lab.preprocess import Preprocess


class SeesOneCorner(DualEncoder):
    """Its vector turns towards the text as the top left sixteenth of the picture gets brighter."""

    def __init__(self) -> None:
        self.preprocess = Preprocess(32)

    def encode_pixels(self, pixels):
        bright = pixels[:, :, :8, :8].mean(dim=(1, 2, 3))
        return F.normalize(torch.stack([bright, torch.ones_like(bright)], dim=1), dim=-1)

    def encode_texts(self, texts, batch_size=256, progress=False, truncate=False):
        return torch.tensor([[1.0, 0.0]] * len(texts))


def test_what_the_model_looks_at_stands_out() -> None:
    picture = torch.zeros(3, 32, 32)
    picture[:, :8, :8] = 1
    (maps,) = occlusion(SeesOneCorner(), [picture], ["bright", "again"])
    assert maps.shape == (2, CELLS, CELLS) and torch.equal(maps[0], maps[1])
    assert maps[0, :2, :2].min() > maps[0, 3:, 3:].abs().max() + 1e-3
    assert maps[0, 4:].abs().max() == 0 == maps[0, :, 4:].abs().max()


@pytest.mark.parametrize("size", [32, 64, 50])
def test_every_pixel_lies_under_as_many_covers(size: int) -> None:
    counts = covers(size).sum(dim=0)
    assert counts.unique().tolist() == [COVER**2]


@pytest.mark.parametrize(("pictures", "texts"), [([], ["a"]), ([torch.zeros(3, 8, 8)], [])])
def test_nothing_to_look_for_is_a_sentence(pictures, texts) -> None:
    with pytest.raises(LabError, match="nothing to look for"):
        occlusion(SeesOneCorner(), pictures, texts)
