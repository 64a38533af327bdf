"""What lies in a folder of pictures, and one of its files made ready for a model."""

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.preprocess import Preprocess, open_image
from clip_lab.retrieval import PICTURE_SUFFIXES
from clip_lab.search.store import Entry, Failure

MAX_BYTES = 256 * 2**20  # of a file: what is larger is no photograph
EXIF, TAKEN = 0x8769, 0x9003  # the tags of the camera's own notes, and in them of the moment


class Found(NamedTuple):
    """A file, as far as can be told without opening it. `problem`: why it needn't be opened."""

    length: int  # bytes
    mtime_ns: int
    problem: str = ""


class Ready(NamedTuple):
    """A picture as the model takes it, and what to note of it."""

    entry: Entry
    pixels: Tensor


def scan(folder: Path) -> dict[str, Found]:
    """Every file below `folder` that is called like a picture, by its path inside it.

    Hidden files and folders are passed over. No link is followed: what it leads to inside the
    folder is found anyway, and what lies outside is none of the index's business. Raises LabError
    where there is no such folder.
    """
    if not folder.is_dir():
        raise LabError(f"There is no folder “{folder}”.")
    return dict(sorted(_below(folder, "")))


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, Found]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if not prefix:
            raise LabError(f"“{folder}” can't be opened: {error.strerror}.") from error
        yield prefix, Found(0, 0, f"The folder “{prefix}” can't be opened: {error.strerror}.")
        return
    for entry in entries:
        path = prefix + entry.name
        picture = Path(entry.name).suffix.lower() in PICTURE_SUFFIXES
        if entry.name.startswith("."):
            continue
        if not entry.is_symlink() and entry.is_dir():
            yield from _below(Path(entry.path), path + "/")
        elif picture and (entry.is_symlink() or entry.is_file()):
            yield _file(entry, path)


def _file(entry: os.DirEntry[str], path: str) -> tuple[str, Found]:
    shown = path.encode(errors="replace").decode()  # SQLite takes Unicode alone
    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError as error:
        return shown, Found(0, 0, f"“{shown}” can't be opened: {error.strerror}.")
    problem = ""
    if shown != path:
        problem = f"“{shown}” has a name in another encoding than UTF-8. Rename it."
    elif entry.is_symlink():
        problem = f"“{shown}” is a link, and links are not followed."
    elif stat.st_size > MAX_BYTES:
        problem = f"“{shown}” has over {MAX_BYTES // 2**20} MB. Make it smaller first."
    return shown, Found(stat.st_size, stat.st_mtime_ns, problem)


def prepare(preprocess: Preprocess, folder: Path, path: str, found: Found) -> Ready | Failure:
    """A file opened and made ready; or the sentence that says why not."""
    stamp = (path, found.length, found.mtime_ns)
    if found.problem:
        return Failure(*stamp, found.problem)
    try:
        digest = digest_of(folder / path)
        image = open_image(folder / path)
        date = _taken(image) or datetime.fromtimestamp(found.mtime_ns / 1e9).isoformat()
        entry = Entry(*stamp, digest, date, image.width, image.height)
        return Ready(entry, preprocess(image))
    except LabError as error:
        name = f"“{Path(path).name}”"
        reason = str(error) if name in str(error) else f"{name}: {error}"
        return Failure(*stamp, reason.replace(name, f"“{path}”", 1))
    except Exception as error:  # one odd file in ten thousand must not end the work of an hour
        return Failure(*stamp, f"“{path}” can't be read ({type(error).__name__}: {error}).")


def digest_of(path: Path) -> bytes:
    """A file's content in sixteen bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _taken(image: Image.Image) -> str:
    """When the camera says that it took the picture, as in "2024-12-31T18:30:00"; "" if never."""
    try:
        value = image.getexif().get_ifd(EXIF)[TAKEN]
        return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S").isoformat()
    except Exception:  # damaged notes are no reason to leave out a good picture
        return ""
