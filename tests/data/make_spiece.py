"""Makes tiny.spiece.model and tiny_spiece_ids.json, which the tests read without sentencepiece.

    pip install -c constraints.txt sentencepiece protobuf transformers
    python tests/data/make_spiece.py

A unigram model of the kind that SigLIP has (ids 0 <pad>, 1 </s>, 2 <unk>), trained on the emoji's
names in some languages, with a small table of replacements; and the ids that transformers'
SiglipTokenizer gives for a few hundred strings by it.
"""

import contextlib
import io
import json
import sys
import tempfile
import unicodedata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from test_tokenizer import many_strings  # noqa: E402

from clip_lab.data.emoji_table import texts  # noqa: E402

REPLACED = [*range(0xA0, 0x180), *range(0x2000, 0x2070), *range(0x3000, 0x3030)]
REPLACED += [*range(0xFF01, 0xFF5F), *range(0xAC00, 0xAC40), 0xFB01]


def replacements() -> str:
    """Characters to their compatibility form, and both ways to write an accent to one of them."""
    rules = {}
    for code in REPLACED:
        composed = unicodedata.normalize("NFKC", chr(code))
        apart = unicodedata.normalize("NFD", chr(code))
        rules |= {form: composed for form in (chr(code), apart) if form != composed}
    rules |= {"\u200b": " ", "\u200d": " ", "\t": " ", "\u00ad": ""}
    lines = ("\t".join(" ".join(f"{ord(c):X}" for c in s) for s in rule) for rule in rules.items())
    return "\n".join(lines) + "\n"


def train(path: Path) -> None:
    import sentencepiece

    languages = ("en", "fr", "de", "ja", "hi", "uk", "ko")
    lines = [name for language in languages for names in texts(language).values() for name in names]
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # no path in the model
        Path("rules.tsv").write_text(replacements(), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=1200,
            model_type="unigram",
            character_coverage=0.98,
            normalization_rule_tsv="rules.tsv",
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )  # fmt: skip
    path.write_bytes(model.getvalue())


def strings() -> list[str]:
    names = [names[0] for names in texts("fr").values()]
    odd = ["", " ", "!!!", "  two spaces", "- a dog", "_a_b_", "\u200bzero width", "▁ already"]
    odd += ["pppf tttt ttt", "ΟΔΟΣ", "e\u0301te\u0301", "a</s>b", "<unk> x", "end</s>", "ﬁne"]
    return [*odd, *names[::40], *many_strings(150)]


def main() -> None:
    from transformers import SiglipTokenizer

    train(HERE / "tiny.spiece.model")
    tokenizer = SiglipTokenizer(str(HERE / "tiny.spiece.model"))
    ids = {text: tokenizer(text).input_ids for text in strings()}
    text = json.dumps(ids, ensure_ascii=True, separators=(",", ":"))
    (HERE / "tiny_spiece_ids.json").write_text(text.replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    main()
