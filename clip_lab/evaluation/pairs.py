"""Retrieval among one's own pairs: does each caption find its picture, each picture its caption?"""

import torch

from clip_lab.data.file_pairs import Source
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.evaluation.retrieval import Retrieval, retrieve

MOST = 1000  # pairs: a recall is only comparable among as many as it was measured on


def retrieval_among(encoder: DualEncoder, source: Source) -> Retrieval:
    """Recalls among the first pairs that can be read, a thousand at most.

    Captions longer than the model takes are cut. Raises LabError where no pair can be read.
    """
    pictures, captions = [], []
    for number in range(min(MOST, len(source))):
        try:
            row = source.row(number)
            vectors = encoder.encode_images([row.picture])
        except LabError:
            continue  # damaged: training counts and names them
        if row.captions:
            pictures.append(vectors)
            captions.append(row.captions)
    if not pictures:
        raise LabError("None of the pairs to measure on can be read. Look at one of its pictures.")
    texts = [text for own in captions for text in own]
    text_vectors = encoder.encode_texts(texts, truncate=True)
    return retrieve(torch.cat(pictures), text_vectors, captions)
