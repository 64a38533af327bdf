"""Public test sets in CLIP_benchmark's layout: a folder or an address that holds WebDataset shards.

    test/nshards.txt        how many shards there are
    test/0.tar, 1.tar, ...  KEY.jpg (or png, webp, jpeg), and beside it KEY.cls, the class's number,
                            or KEY.txt, the picture's captions, one a line
    classnames.txt          the classes in order of number, one a line
    zeroshot_classification_templates.txt   prompts, one a line, {c} in the class's place
    dataset_type.txt        "retrieval" where there are captions; nothing for classes

LAION publishes 40-odd sets so (https://huggingface.co/clip-benchmark). Shards are read as a stream,
from first to last: nothing is unpacked or kept, and an address needs no download beforehand.
"""

import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from io import BufferedIOBase
from itertools import groupby
from pathlib import Path

from clip_lab.data.prompts import with_braces
from clip_lab.data.public_set import CLASS_NAMES, TEMPLATES, PublicSet, Sample, class_names
from clip_lab.errors import LabError

SHARD_COUNT, TYPE = "test/nshards.txt", "dataset_type.txt"
PICTURES = ("webp", "png", "jpg", "jpeg")
LARGEST = 256 * 2**20  # bytes of one file: beyond, it's no picture and no list of names
NUMBER = re.compile(r"[0-9]{1,9}")
TIMEOUT = 30  # seconds that a server may keep silent
HUB = "https://huggingface.co/datasets/"


def open_webdataset(place: str) -> PublicSet:
    """The set in a folder or at an http(s) address; pictures are only read by its `samples()`.

    A page of the Hugging Face hub (`.../datasets/USER/NAME`, or a branch's `/tree/BRANCH`) does as
    an address. Raises LabError for what isn't there or isn't in the layout.
    """
    root = _hub_files(place)
    shards = _shard_count(root)
    name = Path(place.split("/tree/")[0].rstrip("/")).name
    kind = (read_text(root, TYPE) or "classification").strip().lower()
    if kind == "retrieval":
        return PublicSet(name, "retrieval", lambda: _samples(root, shards, None))
    if kind != "classification":
        raise LabError(
            f"“{place}” is a set of the type “{kind}”. Only classification with one class a "
            "picture, and retrieval, are measured."
        )
    names = read_text(root, CLASS_NAMES)
    if names is None:
        raise LabError(
            f"“{place}” has no {CLASS_NAMES}. Put it there: the classes' names, one a line, in "
            "order of their numbers."
        )
    classes = class_names(names, CLASS_NAMES)
    lines = (read_text(root, TEMPLATES) or "").splitlines()
    templates = tuple(with_braces(line.strip()) for line in lines if line.strip())
    return PublicSet(
        name, "classification", lambda: _samples(root, shards, len(classes)), classes, templates
    )


def is_address(place: str) -> bool:
    """Whether this is a place on the web rather than on the disk."""
    return place.lower().startswith(("http://", "https://"))


def _hub_files(place: str) -> str:
    """Where the hub serves the files whose list the page shows; any other place as it is."""
    if not place.startswith(HUB) or "/resolve/" in place:
        return place
    user, _, rest = place.removeprefix(HUB).rstrip("/").partition("/")
    name, _, branch = rest.partition("/tree/")
    return f"{HUB}{user}/{name}/resolve/{branch or 'main'}"


def _shard_count(root: str) -> int:
    text = read_text(root, SHARD_COUNT)
    if text is None:
        raise LabError(
            f"“{root}” is no data set in the WebDataset layout: {SHARD_COUNT} is missing."
        )
    if not NUMBER.fullmatch(text.strip()) or int(text) == 0:
        raise LabError(f"{SHARD_COUNT} in “{root}” should hold the number of shards, 1 or more.")
    return int(text)


# -- files, near and far --------------------------------------------------------------------------


def _open(root: str, name: str) -> BufferedIOBase | None:
    """A file of the set to read from; None where there is none of that name."""
    try:
        if not is_address(root):
            return open(Path(root) / name, "rb")
        return urllib.request.urlopen(f"{root.rstrip('/')}/{name}", timeout=TIMEOUT)
    except FileNotFoundError:
        return None
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise LabError(
            f"“{root}” doesn't give {name}: the server answers {error.code}, {error.reason}. "
            "Check the address, and whether the set is public."
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise LabError(
            f"{name} of “{root}” can't be read: {reason}. Check the address and the network."
            if is_address(root)
            else f"“{Path(root) / name}” can't be read: {reason}."
        ) from error


def read_text(root: str, name: str) -> str | None:
    """What a small file of the set says; None where there is none of that name."""
    stream = _open(root, name)
    if stream is None:
        return None
    with stream:
        try:
            return stream.read(LARGEST).decode("utf-8-sig")
        except (OSError, HTTPException, ValueError) as error:
            raise LabError(f"{name} of “{root}” is no text that can be read ({error}).") from error


# -- shards ---------------------------------------------------------------------------------------


def _samples(root: str, shards: int, classes: int | None) -> Iterator[Sample]:
    for number in range(shards):
        shard = f"test/{number}.tar"
        stream = _open(root, shard)
        if stream is None:
            raise LabError(f"{shard} of “{root}” is missing: there should be {shards} shards.")
        with stream:
            for key, files in groupby(shard_files(stream, shard, root), key=lambda file: file[0]):
                yield _sample(f"{key} in {shard}", {end: data for _, end, data in files}, classes)


class StrictHeader(tarfile.TarInfo):
    """A header of an archive that ends where it says so.

    tarfile takes an archive that was cut between two files, or is garbled there, for one that has
    come to its end, and pictures would be missing in silence.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset:,}") from error


def name_of(member: tarfile.TarInfo) -> tuple[str, str]:
    """Key and ending: the name up to its base's first dot, and what follows (WebDataset's rule)."""
    folder, slash, base = member.name.rpartition("/")
    key, _, end = base.partition(".")
    return folder + slash + key, end.lower()


def shard_files(stream: BufferedIOBase, shard: str, root: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, ending and content of each file in a shard that belongs to a sample."""
    last = "its start"
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader) as archive:
            for member in archive:
                last, end = name_of(member)
                nameless = not last or last.endswith("/")
                if nameless or not member.isfile() or end not in (*PICTURES, "cls", "txt"):
                    continue
                if member.size > LARGEST:
                    raise LabError(f"{member.name} in {shard} is too big for a picture.")
                content = archive.extractfile(member)
                yield last, end, content.read() if content else b""
    except (tarfile.TarError, OSError, EOFError, HTTPException) as error:
        raise LabError(
            f"{shard} of “{root}” is damaged or cut short after {last} ({error}). Fetch it again."
        ) from error


def _sample(key: str, files: dict[str, bytes], classes: int | None) -> Sample:
    picture = next((files[end] for end in PICTURES if end in files), None)
    if picture is None:
        raise LabError(f"{key} has no picture beside it (.{', .'.join(PICTURES)}).")
    return Sample(
        key, picture, _captions(key, files) if classes is None else _class(key, files, classes)
    )


def _captions(key: str, files: dict[str, bytes]) -> tuple[str, ...]:
    text = files.get("txt", b"").decode("utf-8", errors="replace")
    captions = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not captions:
        raise LabError(f"{key} has no caption (.txt). A set of the type “retrieval” needs some.")
    return captions


def _class(key: str, files: dict[str, bytes], classes: int) -> int:
    text = files.get("cls", b"").decode("ascii", errors="replace").strip()
    if not NUMBER.fullmatch(text):
        raise LabError(f"{key} has no class number (.cls), but “{text[:20]}”.")
    if int(text) >= classes:
        raise LabError(
            f"{key} is of class {int(text)}, but {CLASS_NAMES} names {classes} classes, 0 to "
            f"{classes - 1}."
        )
    return int(text)
