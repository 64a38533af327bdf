"""Small vocabularies of the kinds that published models have, made in a second."""

import functools
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from clip_lab.data.emoji_table import texts

DATA = Path(__file__).parent / "data"
SPIECE = DATA / "tiny.spiece.model"
SPIECE_IDS = json.loads((DATA / "tiny_spiece_ids.json").read_text())
BERT_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GEMMA_MARKS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


@functools.cache
def corpus() -> list[str]:
    """Names and keywords of the emoji in eight languages and six scripts."""
    languages = ("en", "fr", "ja", "hi", "uk", "ko", "zh", "th")
    return [name for language in languages for names in texts(language).values() for name in names]


@functools.cache
def bert_vocab() -> str:
    """A vocab.txt of 3,000 pieces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=3000, special_tokens=BERT_MARKS, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    vocabulary = tokenizer.get_vocab()
    return "".join(f"{piece}\n" for piece in sorted(vocabulary, key=vocabulary.__getitem__))


@functools.cache
def gemma_json() -> str:
    """A tokenizer.json as Gemma's: byte-pair encoding over text with "▁" for spaces, any other
    character as its bytes; the end token after a text."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    marks = [*GEMMA_MARKS, *bytes_]
    trainer = BpeTrainer(vocab_size=3000, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = values["added_tokens"][: len(GEMMA_MARKS)]
    return json.dumps(values)


@functools.cache
def t5_json() -> str:
    """A tokenizer.json as OpenCLIP's SigLIP repositories have: T5's, from a spiece.model."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    model = ModelProto.FromString(SPIECE.read_bytes())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(["</s>", "<unk>"])
    return tokenizer.to_str()


GEMMA_CONFIG = {
    "tokenizer_class": "GemmaTokenizer",
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "padding_side": "right",
    "do_lower_case": True,  # as published; transformers' GemmaTokenizer takes no notice of it
}
T5_CONFIG = {
    "tokenizer_class": "T5Tokenizer",
    "extra_ids": 0,
    "eos_token": "</s>",
    "pad_token": "</s>",
    "unk_token": "<unk>",
}
