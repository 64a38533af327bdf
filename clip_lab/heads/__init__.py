"""Small heads that stand on an image tower and learn to say what it sees.

CLIP's contrast was not the first way to learn from captions. The two before it (paper, figure 2)
predict what the caption says: which words (`words.py`), or all of it in order (`captions.py`).
"""

from clip_lab.heads.captions import Captioner, CaptionHead, caption_scores, nats_per_token
from clip_lab.heads.words import WordsHead, bag_of_words, words_loss, words_scores

__all__ = [
    "CaptionHead",
    "Captioner",
    "WordsHead",
    "bag_of_words",
    "caption_scores",
    "nats_per_token",
    "words_loss",
    "words_scores",
]
