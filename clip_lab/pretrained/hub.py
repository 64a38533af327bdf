"""Models from the Hugging Face hub, kept in its usual cache: what a model needs, and no more.

A repository often holds the same weights three times over, in other layouts and formats. One set
is taken: the best one, after the small files, so that where weights are, all the rest is.

Without a network everything in the cache keeps working. The cache's layout is the hub's own:

    models--OWNER--NAME/refs/main             the commit that “main” stood for
    models--OWNER--NAME/snapshots/COMMIT/     the files
"""

import errno
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from clip_lab.errors import LabError
from clip_lab.pretrained.registry import suggestions

SMALL_FILES = {
    "open_clip_config.json",
    "config.json",
    "card.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
}
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
HUGGING_FACE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX = ".index.json"  # ends the name of a list of shards
PATIENCE = 5.0  # seconds for the hub's first answer; then what is cached must do


def fetch(repo_id: str, revision: str | None = None) -> Path:
    """The folder of a model on the hub, after downloading what the cache lacks of it.

    `revision`: a branch, tag or commit; by default the newest. Downloads show huggingface_hub's
    progress bars. Where the hub can't be reached or refuses, a complete copy in the cache serves.
    Raises LabError that tells why there is no model to be had, and what to do.
    """
    from huggingface_hub import HfApi

    listed = False
    try:
        info = HfApi().model_info(repo_id, revision=revision, timeout=PATIENCE)
        listed = True
        names = [sibling.rfilename for sibling in info.siblings or []]
        return _download(
            repo_id, revision, names, _repository(repo_id) / "snapshots" / str(info.sha)
        )
    except LabError:
        raise
    except Exception as error:  # huggingface_hub's, its HTTP library's, the system's
        folder = cached(repo_id, revision)
        if folder is None:
            raise LabError(_explain(error, repo_id, revision, listed)) from error
        return folder


def in_cache(repo_id: str) -> bool:
    """Is a complete copy of the model in the cache? Asks nobody but the disk."""
    return cached(repo_id) is not None


def cached(repo_id: str, revision: str | None = None) -> Path | None:
    """The folder of a complete copy in the cache, or None."""
    repository = _repository(repo_id)
    ref = repository / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else revision or ""
    candidates = [repository / "snapshots" / commit] if commit else []
    if revision is None and repository.is_dir():
        # “main” may have moved on, and its files not yet have come: an older copy is as good.
        candidates += sorted((repository / "snapshots").glob("*"), key=_age)
    return next((folder for folder in candidates if _complete(folder)), None)


def weights_file(names: Collection[str]) -> str | None:
    """The one file to read a model's weights from, among the names of a folder's files.

    Weights of the layout that the configuration describes come first (timm's repositories hold a
    `model.safetensors` of the image tower alone beside open_clip's files), safetensors before
    pickles; else the only file that can be weights. None where there is none, or no telling which.
    """
    described = "open_clip_config.json" in names
    known = OPEN_CLIP + HUGGING_FACE if described else HUGGING_FACE + OPEN_CLIP
    for name in known:
        if name in names:
            return name
    for suffixes in ((".safetensors",), (".bin", ".pt", ".pth")):
        found = [name for name in names if name.endswith(suffixes) and "/" not in name]
        if len(found) == 1:
            return found[0]
    return None


# -- the cache ------------------------------------------------------------------------------------


def _repository(repo_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def _age(folder: Path) -> float:
    return -folder.stat().st_mtime


def _complete(folder: Path) -> bool:
    """Weights are there, with all their shards. They come last: then the rest is there as well."""
    names = {path.name for path in folder.glob("*") if path.is_file()}
    weights = weights_file(names)
    if weights is None or ("open_clip_config.json" not in names and _by_timm(folder)):
        return False
    parts = _parts(folder, weights)
    return bool(parts) and set(parts) <= names


def _by_timm(folder: Path) -> bool:
    """timm puts its half of a repository, the image tower, into the same cache."""
    config = folder / "config.json"
    return config.is_file() and b'"pretrained_cfg"' in config.read_bytes()


def _parts(folder: Path, weights: str) -> list[str]:
    """The files that hold the tensors: the weights, or the shards of an index; none if damaged."""
    if not weights.endswith(INDEX):
        return [weights]
    try:
        table = json.loads((folder / weights).read_text(encoding="utf-8"))
        return sorted(set(table["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


# -- downloading ----------------------------------------------------------------------------------


def _download(repo_id: str, revision: str | None, names: list[str], folder: Path) -> Path:
    """First the small files and a possible index, then the weights, into the snapshot's folder."""
    weights = weights_file(names)
    if weights is None:
        raise LabError(
            f"“{repo_id}” holds no weights that the lab can tell: no safetensors, .bin or .pt, or "
            "several under names of their own. Download the right one, and give its path."
        )
    small = [name for name in names if name in SMALL_FILES]
    _fill(repo_id, revision, [*small, weights] if weights.endswith(INDEX) else small, folder)
    parts = _parts(folder, weights)
    if not parts or not set(parts) <= set(names):
        raise LabError(f"“{repo_id}” is incomplete on the hub: “{weights}” names missing files.")
    _fill(repo_id, revision, parts, folder)
    return folder


def _fill(repo_id: str, revision: str | None, files: list[str], folder: Path) -> None:
    from huggingface_hub import snapshot_download

    if not all((folder / name).is_file() for name in files):
        snapshot_download(repo_id, revision=revision, allow_patterns=files)


# -- what went wrong, in words --------------------------------------------------------------------


def _explain(error: Exception, repo_id: str, revision: str | None, listed: bool) -> str:
    """What went wrong in a sentence, and one that says what to do.

    `listed`: the hub had answered before, so that a broken connection broke off a download.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return f"“{repo_id}” is no name on the hub: those are “owner/name”. {suggestions(repo_id)}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"“{repo_id}” is gated: its owner asks you to accept conditions. Do so on its page on "
            "the hub, log in with “hf auth login”, and run this again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"“{repo_id}” has no revision “{revision}”. Leave it out for the newest."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"There is no model “{repo_id}” on the hub, or it is private. {suggestions(repo_id)}"
            "Check the spelling; for a private one log in with “hf auth login”."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return (
            f"The hub refused “{repo_id}” (status {error.response.status_code}). Try again later, "
            "or log in with “hf auth login”."
        )
    return _explain_system(error, repo_id, listed)


def _explain_system(error: Exception, repo_id: str, listed: bool) -> str:
    """The disk's faults and the network's."""
    from huggingface_hub import constants

    if any(_is_full(cause) for cause in _causes(error)):
        return (
            f"The disk is full: “{repo_id}” doesn't fit into {constants.HF_HUB_CACHE}. Make room, "
            "or set HF_HOME to a folder on another disk; then run this again."
        )
    if isinstance(error, PermissionError):
        return f"“{error.filename}” can't be written. Set HF_HOME to a folder of your own."
    if listed:
        reason = str(error).partition("\n")[0]
        return (
            f"The download of “{repo_id}” was interrupted ({reason}). What had come whole is kept: "
            "run this again for the rest."
        )
    away = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub can't be reached"
    return (
        f"“{repo_id}” is not in the cache, and {away}. {suggestions(repo_id)}Connect once, or copy "
        f"the model's folder from another machine and give its path. {_built_in()}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    """The system's word for a full disk or quota, or the text that a Rust library passes on."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def _built_in() -> str:
    from clip_lab.pretrained import names

    return f"Built in are: {', '.join(f'“{name}”' for name in names())}."
