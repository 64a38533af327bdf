"""Pairs from WebDataset shards on the disk: tar archives in which files of one name are a sample.

    00000.tar
        000000012.jpg     or png, webp, jpeg
        000000012.txt     captions, one a line
        000000012.json    what else is known; its "caption" counts where there is no .txt

So img2dataset writes them. Samples are read in any order, without unpacking: an index says at which
byte of its archive each begins. It is made once, by reading all headers, and kept in `.clip-lab/`
beside the shards, or among the user's caches where that can't be written; a shard whose size or
time of change differs is read again.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from clip_lab.data.file_pairs import Row, Source
from clip_lab.data.webdataset import LARGEST, PICTURES, StrictHeader, name_of
from clip_lab.errors import LabError
from clip_lab.files import write_whole

PLACE = ".clip-lab"  # inside the shards' folder
INDEX = "pairs-1.index"  # the number changes with the format
SPAN = np.dtype([("start", "<i8"), ("bytes", "<u4")])  # where a sample lies in its archive
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)  # ends an archive
SHOWN = 3  # of the shards that are cut, in a note
MANY = 64  # shards that are worth several processes


@dataclass(frozen=True)
class Shard:
    """What the index knows of one archive."""

    name: str
    size: int  # bytes
    changed: int  # nanoseconds
    rows: int
    incomplete: int  # samples without picture or caption, which are left out
    cut: str | None  # where the archive breaks off, if it does


class Shards(Source):
    """The samples of some shards in one folder, in order of the shards."""

    def __init__(self, folder: Path, shards: Sequence[Shard], index: "Index"):
        self.folder, self.shards, self.index = folder, tuple(shards), index
        self.shard_sizes = np.array([shard.rows for shard in shards])
        self.ends = np.cumsum(self.shard_sizes)
        self.firsts = np.array([index.firsts[shard.name] for shard in shards])  # in the index
        self.notes = tuple(_notes(shards))

    def row(self, number: int) -> Row:
        place = int(np.searchsorted(self.ends, number, side="right"))
        shard = self.shards[place]
        within = number - int(self.ends[place]) + shard.rows
        start, count = self.index.spans[int(self.firsts[place]) + within].item()
        try:
            with open(self.folder / shard.name, "rb") as stream:
                stream.seek(start)
                data = stream.read(count)
            with tarfile.open(
                fileobj=io.BytesIO(data + END), mode="r:", tarinfo=StrictHeader
            ) as part:
                files = {name_of(m): _content(part, m) for m in part if m.isfile()}
            key = next(iter(files), ("", ""))[0]
            if not key:
                raise tarfile.ReadError("no sample where the index has one")
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            raise LabError(f"“{shard.name}” can't be read, or was changed ({error}).") from error
        ends = {end: content for (_, end), content in files.items()}
        picture = next((ends[end] for end in PICTURES if end in ends), b"")
        return Row(picture, _captions(ends), f"{shard.name}/{key}")


def open_shards(folder: Path, names: Sequence[str]) -> Shards:
    """The samples of the archives of these names.

    Raises LabError for one that is missing, or no archive. One that was cut short gives the samples
    that it has whole, and a note.
    """
    index = Index.find(folder)
    states = {name: _state(folder / name) for name in names}
    known = {shard.name: shard for shard in index.shards}
    fresh = {
        name for name, state in states.items()
        if name not in known or (known[name].size, known[name].changed) != state
    }  # fmt: skip
    if fresh:
        index = index.with_new(folder, {name: states[name] for name in sorted(fresh)})
        known = {shard.name: shard for shard in index.shards}
    source = Shards(folder, [known[name] for name in names], index)
    if not len(source):
        raise LabError(
            f"The {len(names)} shards in “{folder}” hold no sample with a picture "
            f"(.{', .'.join(PICTURES)}) and a caption (.txt, or .json)."
        )
    return source


def _state(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise LabError(f"The shard “{path}” can't be opened: {error.strerror}.") from error
    return state.st_size, state.st_mtime_ns


def _notes(shards: Sequence[Shard]) -> Iterator[str]:
    cut = [shard for shard in shards if shard.cut is not None]
    for shard in cut[:SHOWN]:
        yield (
            f"{shard.name} is damaged or cut short {shard.cut}; its {shard.rows:,} whole samples "
            "are used."
        )
    if len(cut) > SHOWN:
        yield f"Shards that are so, too: {len(cut) - SHOWN:,}."
    if left_out := sum(shard.incomplete for shard in shards):
        yield f"Left out, for want of a picture or a caption, or over 256 MB: {left_out:,} samples."


# -- a sample -------------------------------------------------------------------------------------


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _captions(files: dict[str, bytes]) -> list[str]:
    if "txt" in files:
        lines = files["txt"].decode("utf-8", errors="replace").splitlines()
    else:
        lines = _json_captions(files.get("json", b""))
    return [line.strip() for line in lines if line.strip()]


def _json_captions(text: bytes) -> list[str]:
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        return []
    caption = known.get("caption") if isinstance(known, dict) else None
    captions = caption if isinstance(caption, list) else [caption]
    texts = [caption for caption in captions if isinstance(caption, str)]
    return [text.encode(errors="replace").decode() for text in texts]  # JSON may hold half a pair


# -- the index ------------------------------------------------------------------------------------


class Index:
    """Where each sample of a folder's shards lies: one file, a line of JSON and then the spans.

    12 bytes a sample, mapped into memory and shared by all processes: 5 GB for 400 million. Until
    it has a file (nowhere to write), the spans are held in memory.
    """

    def __init__(self, shards: Sequence[Shard], spans: np.ndarray, file: Path | None = None):
        self.shards, self.spans, self.file = tuple(shards), spans, file
        starts = np.cumsum([0, *(shard.rows for shard in shards)])[:-1]
        self.firsts = {s.name: int(n) for s, n in zip(shards, starts, strict=True)}

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process maps the file itself instead of being sent gigabytes."""
        if self.file is not None:
            return Index.read, (self.file,)
        return Index, (self.shards, self.spans)

    @classmethod
    def find(cls, folder: Path) -> "Index":
        """The folder's index; an empty one where there is none that can be read."""
        there = [file for file in _places(folder) if file.is_file()]
        for file in sorted(there, key=lambda file: -file.stat().st_mtime_ns):  # newest first
            try:
                return cls.read(file)
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return cls((), np.empty(0, SPAN))

    @classmethod
    def read(cls, file: Path) -> "Index":
        with file.open("rb") as stream:
            shards = [Shard(**entry) for entry in json.loads(stream.readline())["shards"]]
            offset = stream.tell()
        rows = sum(shard.rows for shard in shards)
        if file.stat().st_size != offset + rows * SPAN.itemsize:
            raise ValueError(f"{file} is not whole")
        if not rows:
            return cls(shards, np.empty(0, SPAN), file)
        return cls(shards, np.memmap(file, SPAN, "r", offset, (rows,)), file)

    def with_new(self, folder: Path, states: dict[str, tuple[int, int]]) -> "Index":
        """Another index, written to the disk, in which these shards are as they are now."""
        kept = [shard for shard in self.shards if shard.name not in states]
        spans = [self.spans[(n := self.firsts[s.name]) : n + s.rows] for s in kept]
        for shard, found in _read_headers([folder / name for name in states], states.values()):
            kept.append(shard)
            spans.append(found)
        index = Index(kept, np.concatenate(spans))
        for file in _places(folder):
            try:
                write_whole(file, index._write)
                return Index.read(file)
            except LabError:
                continue  # a folder that may only be read
        return index

    def _write(self, path: Path) -> None:
        with path.open("wb") as stream:
            entries = [asdict(shard) for shard in self.shards]
            stream.write(json.dumps({"shards": entries}).encode() + b"\n")
            self.spans.tofile(stream)


def _places(folder: Path) -> tuple[Path, Path]:
    """Where a folder's index may be: beside the shards, else among the user's caches."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return folder / PLACE / INDEX, caches / "clip-lab" / name / INDEX


def _read_headers(
    paths: Sequence[Path], states: Iterable[tuple[int, int]]
) -> Iterator[tuple[Shard, np.ndarray]]:
    """`index_shard` for each, with a bar; many are shared out to a process on each core."""

    def bar(results: Iterable[tuple[Shard, np.ndarray]]) -> Iterator[tuple[Shard, np.ndarray]]:
        return iter(tqdm(results, "reading headers", len(paths), unit=" shards", disable=None))

    if len(paths) < MANY:
        yield from bar(map(index_shard, paths, states))
    else:
        with ProcessPoolExecutor() as pool:
            yield from bar(pool.map(index_shard, paths, states))


def index_shard(path: Path, state: tuple[int, int]) -> tuple[Shard, np.ndarray]:
    """An archive's samples that have a picture and a caption, found by reading headers alone."""
    members, cut = _members(path, state[0])
    spans, incomplete = [], 0
    for _, sample in groupby(members, key=lambda member: name_of(member)[0]):
        files = list(sample)
        ends = {name_of(member)[1] for member in files}
        start, last = files[0].offset, files[-1]
        count = last.offset_data + -(-last.size // BLOCK) * BLOCK - start
        if ends.isdisjoint(PICTURES) or ends.isdisjoint(("txt", "json")) or count > LARGEST:
            incomplete += 1
        else:
            spans.append((start, count))
    shard = Shard(path.name, *state, len(spans), incomplete, cut)
    return shard, np.array(spans, SPAN)


def _members(path: Path, size: int) -> tuple[list[tarfile.TarInfo], str | None]:
    """The headers of an archive's files, and where it breaks off.

    Of a cut archive the last sample goes with the cut: more of its files may have followed.
    """
    members: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(path, "r:", tarinfo=StrictHeader) as archive:
            for member in archive:
                if member.isfile():
                    members.append(member)
    except (tarfile.TarError, OSError, EOFError) as error:
        if not members:
            raise LabError(
                f"“{path}” is no tar archive that can be read ({error}). Fetch it again, or move "
                "it away."
            ) from error
        last = name_of(members[-1])[0]
        return [m for m in members if name_of(m)[0] != last], f"at {last} ({error})"
    return members, None
