"""The bias audit: which group of pictures a word lies nearer to."""

import pytest
import torch
from torch.nn import functional as F

from clip_lab import LabError
from clip_lab.data.emoji_table import emoji_table
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.leaning import gender_pairs, group_vectors, leaning, skin_pairs


class Speaks(DualEncoder):
    """Texts are vectors written as numbers."""

    def __init__(self) -> None:
        pass

    def encode_texts(self, texts, batch_size=256, progress=False, truncate=False):
        return F.normalize(torch.tensor([[float(x) for x in text.split()] for text in texts]))


def test_a_word_leans_to_the_pictures_it_is_nearer_to() -> None:
    generator = torch.manual_seed(0)
    noise = [0.05 * torch.randn(30, 2, generator=generator) for _ in range(2)]
    first, second = (
        F.normalize(torch.tensor(axis) + n)
        for axis, n in zip(([1.0, 0], [0, 1.0]), noise, strict=True)
    )
    found = leaning(Speaks(), ["0 1", "1 1", "1 0"], first, second)
    assert [lean.text for lean in found] == ["1 0", "1 1", "0 1"]
    assert found[0].low > 0.9 and found[2].high < -0.9
    assert found[0].apart and found[2].apart and not found[1].apart


def test_the_interval_is_of_paired_differences() -> None:
    first = torch.tensor([[1.0, 0], [0.6, 0.8], [0.8, 0.6]])
    second = torch.tensor([[0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    (lean,) = leaning(Speaks(), ["1 0"], first, second)
    # By hand: differences 0.2, 0.6, 0.2; mean 1/3, s = 0.23094, t(0.975, 2) = 4.30265
    assert lean.difference == pytest.approx(1 / 3)
    assert lean.high - lean.low == pytest.approx(2 * 4.30265 * 0.23094 / 3**0.5, abs=1e-4)


def test_pairs_show_the_same_but_for_gender_or_skin() -> None:
    rows = emoji_table().rows
    for man, woman in zip(*gender_pairs(), strict=True):
        assert rows[woman].label == "wo" + rows[man].label
    light, dark = skin_pairs()
    assert len(light) > 300
    for one, other in zip(light, dark, strict=True):
        assert (rows[one].tone, rows[other].tone) == ("1", "5")
        assert rows[one].base == rows[other].base


def test_nothing_to_ask_is_a_sentence() -> None:
    pictures = torch.eye(2)
    for texts, first in (([], pictures), (["1 0"], pictures[:1])):
        with pytest.raises(LabError):
            leaning(Speaks(), texts, first, pictures[: len(first)])
    with pytest.raises(LabError, match="There is no pair of groups"):
        group_vectors(Speaks(), "cats and dogs")
