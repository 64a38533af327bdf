"""Learn the emoji models' vocabulary from names and keywords in all languages (6 min).

    python scripts/build_emoji_tokenizer.py

Writes clip_lab/data/files/emoji/tokenizer.json: 8,192 tokens, so that no training run has to learn
them anew. Nothing that names a held-out concept is read.
"""

from clip_lab.data.emoji_table import FILES, languages
from clip_lab.files import write_text
from clip_lab.tokenizer import Tokenizer
from clip_lab.training.recipes import emoji_corpus

VOCABULARY, CONTEXT = 8192, 32

if __name__ == "__main__":
    tokenizer = Tokenizer.train(emoji_corpus(languages()), VOCABULARY, CONTEXT)
    write_text(FILES / "tokenizer.json", tokenizer.to_json())
    print(f"{len(tokenizer):,} tokens")
