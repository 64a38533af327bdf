"""The matrix of pictures against texts."""

import pytest
import torch

from clip_lab import LabError
from clip_lab.evaluation.similarity import similarity_matrix
from clip_lab.experiments.world import new_model


def test_cosines_are_the_encoder_s_and_lengths_those_before_it_made_them_unit() -> None:
    encoder = new_model(seed=2)
    pictures, texts = list(torch.rand(3, 3, 40, 40)), ["red circle", "blue star"]
    found = similarity_matrix(encoder, pictures, texts)
    cosines = encoder.encode_images(pictures) @ encoder.encode_texts(texts).T
    assert torch.allclose(found.cosines, cosines, atol=1e-6)
    raw = encoder.model.encode_text(encoder.tokenizer(texts)).detach()
    assert torch.allclose(found.text_lengths, raw.norm(dim=1))
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    products = encoder.model.encode_image(pixels).detach() @ raw.T
    lengths = found.picture_lengths[:, None] * found.text_lengths
    assert torch.allclose(found.cosines * lengths, products, atol=1e-5)


@pytest.mark.parametrize(("pictures", "texts"), [(0, ["a"]), (2, [])])
def test_a_matrix_without_rows_or_columns_is_a_sentence(pictures: int, texts: list[str]) -> None:
    with pytest.raises(LabError, match="at least one"):
        similarity_matrix(new_model(), list(torch.rand(pictures, 3, 8, 8)), texts)
