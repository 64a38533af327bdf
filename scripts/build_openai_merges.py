"""Builds clip_lab/pretrained/openai_merges.txt.gz: the 48,894 merges that CLIP's tokenizer uses.

    python scripts/build_openai_merges.py path/to/bpe_simple_vocab_16e6.txt.gz

OpenAI's file (openai/CLIP, `clip/bpe_simple_vocab_16e6.txt.gz`; OpenCLIP's wheel carries it too)
has a title and 262,144 merges, of which CLIP reads the first. The result is the same every time.
"""

import gzip
import sys
from pathlib import Path

from clip_lab.pretrained.tokenizer_files import MERGES
from clip_lab.tokenizer import OPENAI_MERGES


def main(source: Path) -> None:
    lines = gzip.decompress(source.read_bytes()).decode("utf-8").split("\n")
    text = "\n".join(lines[1 : 1 + OPENAI_MERGES]) + "\n"
    MERGES.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
