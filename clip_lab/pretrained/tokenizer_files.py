"""A model's tokenizer, from the files beside its weights; and written back for its owner.

CLIP's byte-pair merges are run by the lab's own `Tokenizer`, whatever package the folder was made
for. SigLIP's, SigLIP 2's and Chinese-CLIP's files are run by `FileTokenizer`. Each owner does
something else to a text before it is tokenized, and ids are equal only if that is done too:

                 CLIP                               SigLIP, SigLIP 2, Chinese-CLIP
    OpenCLIP     mends it (ftfy), lower case        by the config's `tokenizer_kwargs`: "clean"
    transformers one Unicode form, lower case       by the class that tokenizer_config.json names
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from clip_lab.errors import LabError
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.tokenizer import END, START, Pair, Tokenizer

MERGES = Path(__file__).parent / "openai_merges.txt.gz"
KINDS = ("clip", "siglip", "chinese_clip")
TOKENIZERS = ("spiece.model", "tokenizer.json", "vocab.txt")

Values = dict[str, Any]
AnyTokenizer = Tokenizer | FileTokenizer


@cache
def openai_tokenizer(context_length: int = 77) -> Tokenizer:
    """CLIP's own: OpenAI's merges, which the lab ships, and OpenAI's mending of texts."""
    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    return Tokenizer([_pair(line) for line in lines], context_length, repair=True)


def tokenizer_from_folder(
    folder: Path, kind: str, context_length: int, tokenizer_kwargs: Values | None = None
) -> AnyTokenizer:
    """The tokenizer of a model of this `kind` ("clip", "siglip", "chinese_clip").

    `tokenizer_kwargs`: what OpenCLIP's config says under this name ({} where it says nothing); None
    for a folder made for transformers, whose ids then come out as transformers' own. Raises
    LabError where files are missing, damaged, or ask for what isn't done here.
    """
    if kind not in KINDS:
        raise LabError(f"There is no kind of tokenizer “{kind}”. Known: {', '.join(KINDS)}.")
    if kind == "clip":
        return _clip_tokenizer(folder, context_length, tokenizer_kwargs)
    clean = "none" if tokenizer_kwargs is None else _clean(tokenizer_kwargs, "whitespace")
    config = _tokenizer_config(folder)
    spiece, tokenizer, vocab = (folder / name for name in TOKENIZERS)
    named = config.get("tokenizer_class", "SiglipTokenizer")
    if kind == "siglip" and named == "SiglipTokenizer" and spiece.is_file():
        return FileTokenizer(spiece.read_bytes(), context_length, config, clean)
    if tokenizer.is_file() and (config or kind == "chinese_clip"):
        return FileTokenizer(_text(tokenizer), context_length, config, clean)
    if vocab.is_file() and kind == "chinese_clip":
        return FileTokenizer.from_vocab(_text(vocab), context_length, config, clean)
    wanted = "spiece.model, or tokenizer.json and tokenizer_config.json,"
    if kind == "chinese_clip":
        wanted = "vocab.txt or tokenizer.json"
    raise LabError(f"“{folder}” has no tokenizer: {wanted} should lie beside the weights.")


def tokenizer_from_json(text: str) -> AnyTokenizer:
    """The tokenizer.json of the lab's own layout, whichever of the two tokenizers wrote it.

    Raises KeyError, TypeError or ValueError on anything else.
    """
    kind = json.loads(text).get("kind")
    return Tokenizer.from_json(text) if kind is None else FileTokenizer.from_json(text)


# -- CLIP's own -----------------------------------------------------------------------------------


def _clip_tokenizer(
    folder: Path, context_length: int, tokenizer_kwargs: Values | None
) -> Tokenizer:
    """By the merges in the folder, else by OpenAI's. Only OpenCLIP mends texts first."""
    repair = tokenizer_kwargs is not None
    if tokenizer_kwargs and _clean(tokenizer_kwargs, "lower") != "lower":
        raise LabError(
            f"OpenCLIP's config has CLIP's tokenizer clean texts by “{tokenizer_kwargs['clean']}”. "
            "CLIP Lab's reads them in lower case only."
        )
    merges, vocabulary = _merges_and_vocabulary(folder)
    if merges is None:
        return Tokenizer(openai_tokenizer().merges, context_length, repair)
    tokenizer = Tokenizer(merges, context_length, repair)
    if vocabulary not in (None, tokenizer.id_of):
        raise LabError(
            f"The vocabulary in “{folder}” is not numbered as CLIP's is (bytes, merges, start, "
            "end), so this is not a tokenizer of CLIP's. It can't be read here."
        )
    return tokenizer


def _merges_and_vocabulary(folder: Path) -> tuple[list[Pair] | None, dict[str, int] | None]:
    """From merges.txt and vocab.json, else from tokenizer.json; None where there is neither."""
    try:
        if (folder / "merges.txt").is_file():
            lines = _text(folder / "merges.txt").split("\n")
            merges = [_pair(line) for line in lines[lines[0].startswith("#version") :] if line]
            there = (folder / "vocab.json").is_file()
            return merges, _object(folder / "vocab.json") if there else None
        if (folder / "tokenizer.json").is_file():
            model = _object(folder / "tokenizer.json")["model"]
            merges = [_pair(m) if isinstance(m, str) else (m[0], m[1]) for m in model["merges"]]
            return merges, model["vocab"]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, LabError):
            raise
        raise LabError(f"The tokenizer's files in “{folder}” are damaged ({error}).") from error
    return None, None


def _pair(line: str) -> Pair:
    left, right = line.split(" ")
    return left, right


# -- written back ---------------------------------------------------------------------------------


def tokenizer_to_huggingface(tokenizer: AnyTokenizer) -> dict[str, str | bytes]:
    """The files, by name, from which transformers (and through it OpenCLIP) makes the same.

    CLIP's merges become vocab.json and merges.txt; a published file is written as it came. What a
    FileTokenizer does to a text before is not in them: OpenCLIP's config says it, by
    `open_clip_tokenizer_kwargs`; transformers has nothing of the kind.
    """
    if isinstance(tokenizer, FileTokenizer):
        name = "spiece.model" if isinstance(tokenizer.source, bytes) else "tokenizer.json"
        return {name: tokenizer.source, "tokenizer_config.json": _json(tokenizer.config)}
    marks = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tokenizer.context_length}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in tokenizer.merges), ""]
    return {
        "vocab.json": _json(tokenizer.id_of),
        "merges.txt": "\n".join(lines),
        "special_tokens_map.json": _json(marks),
        "tokenizer_config.json": _json(config | marks | {"do_lower_case": True}),
    }


def is_openai(tokenizer: AnyTokenizer) -> bool:
    """Whether it is CLIP's own, which OpenCLIP brings along."""
    return isinstance(tokenizer, Tokenizer) and tokenizer.merges == openai_tokenizer().merges


def open_clip_tokenizer_kwargs(tokenizer: FileTokenizer) -> Values:
    """What to say under "tokenizer_kwargs" in OpenCLIP's config, whose least is "whitespace"."""
    return {"clean": "whitespace" if tokenizer.clean == "none" else tokenizer.clean}


def _json(values: Values) -> str:
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


# -- reading --------------------------------------------------------------------------------------


def _clean(tokenizer_kwargs: Values, otherwise: str) -> str:
    unknown = set(tokenizer_kwargs) - {"clean"}
    if unknown:
        raise LabError(
            f"OpenCLIP's config asks its tokenizer for {unknown.pop()}, which isn't done here: "
            "the ids would be others than the model was trained on."
        )
    return tokenizer_kwargs.get("clean", otherwise)


def _tokenizer_config(folder: Path) -> Values:
    """tokenizer_config.json; without its own list of tokens, special_tokens_map.json counts."""
    config, marks = (
        _object(folder / name) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "special_tokens_map.json")
    )
    return config if "added_tokens_decoder" in config else config | marks


def _object(path: Path) -> Values:
    try:
        values = json.loads(_text(path))
    except ValueError as error:
        if isinstance(error, LabError):
            raise
        raise LabError(f"“{path}” is damaged ({error}). Fetch it again.") from error
    if not isinstance(values, dict):
        raise LabError(f"“{path}” is damaged: it holds no JSON object. Fetch it again.")
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"“{path}” can't be read ({error}). Fetch it again.") from error
