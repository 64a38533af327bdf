"""A folder of one's own pictures, made searchable once and kept up with what changes in it.

index = FolderIndex("Pictures", encoder)
for progress in index.update():
    print(progress.done, progress.total, progress.seconds_left)
answer = index.open().search(encoder.encode_texts(["a dog in the snow"])[0])
"""

import hashlib
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from clip_lab.batching import ahead, chunks
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import cache_folder
from clip_lab.retrieval import VectorIndex
from clip_lab.search.collection import Collection, picture_inside
from clip_lab.search.filters import Row
from clip_lab.search.scan import Found, Ready, digest_of, prepare, scan
from clip_lab.search.store import Entry, Failure, Store

BATCH = 64  # pictures: what a kill can cost
OLD_PLACE = ".clip-lab"  # where earlier versions kept their index, inside the folder


@dataclass(frozen=True)
class Progress:
    """How far an update has come. `left_out`: a sentence for each file newly left out so far."""

    done: int  # files, of those that had to be read
    total: int
    seconds_left: float | None  # None until the first batch has told
    left_out: tuple[str, ...]


class FolderIndex:
    """The index of one folder for one model.

    It lies in the cache folder ($CLIP_LAB_CACHE, or ~/.cache/clip-lab), never among the pictures:
    a folder of photographs may be read-only, or copied to a telephone and a cloud, and belongs to
    its owner. A folder that is renamed is therefore indexed anew. Raises LabError where there is
    no such folder.
    """

    def __init__(self, folder: str | Path, encoder: DualEncoder):
        self.folder, self.encoder = Path(folder), encoder
        if not self.folder.is_dir():
            raise LabError(f"There is no folder “{folder}”.")
        whole = str(self.folder.resolve())
        name = hashlib.blake2b(whole.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        place = cache_folder() / "search" / name / fingerprint(encoder)
        self.store = Store(place, encoder.embed_dim)

    def update(self) -> Generator[Progress, None, None]:
        """Take in what is new, changed, moved or gone; a `Progress` at the start and a batch.

        What is unchanged (size and time of change) isn't opened, and what was only moved or touched
        (content) isn't encoded. Finished batches are kept, whatever happens: the next update goes
        on from there. A file that couldn't be read is tried again when it has changed.

        Raises LabError for a folder without pictures, while another process updates, for a damaged
        index and where it can't be written.
        """
        found = scan(self.folder)
        if not found:
            raise LabError(
                f"“{self.folder}” holds no pictures (PNG, JPEG, WebP, GIF, BMP or TIFF). "
                "If it did before, its index is kept."
            )
        with self.store.locked():
            self.store.create()
            todo = self._settle(found)
            left_out: tuple[str, ...] = ()
            done, began = 0, time.perf_counter()
            yield Progress(0, len(todo), None if todo else 0.0, left_out)
            for batch in self._batches(todo):
                left_out += tuple(one.reason for one in batch if isinstance(one, Failure))
                self._append(batch)
                done += len(batch)
                seconds = (time.perf_counter() - began) / done * (len(todo) - done)
                yield Progress(done, len(todo), seconds, left_out)
            self.store.compact()

    def _settle(self, found: Mapping[str, Found]) -> dict[str, Found]:
        """Note what has gone or moved; returns what has to be read."""
        entries, failures = self.store.entries(), self.store.failures()
        known: dict[str, Entry | Failure] = {**failures, **entries}
        todo = {path: one for path, one in found.items() if not _same(one, known.get(path))}
        closed = tuple(path for path in found if path.endswith("/"))  # folders, for now unreadable
        missing = {path for path in known if path not in found and not path.startswith(closed)}
        gone = {path: entry for path, entry in entries.items() if path in missing}
        moved = dict(_moved(self.folder, todo, entries, gone))
        forgotten = missing - {old for old, _ in moved.values()}
        if moved or forgotten:
            self.store.settle(forgotten, moved.values())
        return {path: one for path, one in todo.items() if path not in moved}

    def _batches(self, todo: Mapping[str, Found]) -> Iterator[list[Ready | Failure]]:
        """While the model works on one batch, threads open and resize the pictures of the next."""

        def ready(item: tuple[str, Found]) -> Ready | Failure:
            return prepare(self.encoder.preprocess, self.folder, *item)

        return chunks(ahead(ready, todo.items(), limit=2 * BATCH), BATCH)

    def _append(self, batch: list[Ready | Failure]) -> None:
        good = [one for one in batch if isinstance(one, Ready)]
        vectors = torch.zeros(0, self.encoder.embed_dim)
        if good:
            vectors = self.encoder.encode_pixels(torch.stack([one.pixels for one in good]))
        failures = [one for one in batch if isinstance(one, Failure)]
        self.store.append([one.entry for one in good], vectors.half().numpy(), failures)

    def open(self) -> Collection:
        """What is indexed so far, to search in. Raises LabError where nothing is, or damaged."""
        if not self.store.exists:
            raise LabError(f"“{self.folder}” isn't indexed for this model yet. Update it first.")
        vectors, entries = self.store.read()
        folder = self.folder.resolve()
        return Collection(
            self.folder.name,
            VectorIndex(vectors, [_row(entry) for entry in entries]),
            lambda row: picture_inside(folder, row["path"]),
            self.store.place,
        )

    def left_out(self) -> list[str]:
        """A sentence for each file that looked like a picture and is not in the index."""
        if not self.store.exists:
            return []
        return [failure.reason for failure in self.store.failures().values()]

    def remove(self) -> None:
        """Delete the index for this model. Nothing in the folder of pictures is touched."""
        self.store.remove()

    def note(self) -> str:
        """A sentence about an index that an earlier version left in the folder; "" if none did."""
        old = self.folder / OLD_PLACE
        if not old.is_dir():
            return ""
        return (
            f"“{old}” is an index of an earlier version and no longer used; you may delete it. "
            f"The index lies in “{self.store.place}” now."
        )


def fingerprint(encoder: DualEncoder) -> str:
    """A short name that differs between models, so that no index answers for another's vectors."""
    digest = hashlib.sha256(repr(encoder.preprocess).encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(f"{name} {tensor.sum(dtype=torch.float64).item():.10e}".encode())
    return f"{Path(encoder.name).name}-{digest.hexdigest()[:12]}"


def _same(found: Found, known: Entry | Failure | None) -> bool:
    return known is not None and found[:2] == (known.length, known.mtime_ns)


def _moved(
    folder: Path, todo: Mapping[str, Found], entries: Mapping[str, Entry], gone: dict[str, Entry]
) -> Iterator[tuple[str, tuple[str, Entry]]]:
    """Paths whose content is known: (path, (its old path, its entry as it is now)).

    Only a file as long as one that is gone, or as itself was, is opened to compare.
    """
    by_content = {entry.digest: path for path, entry in gone.items()}
    lengths = {entry.length for entry in gone.values()}
    for path, found in todo.items():
        before = entries.get(path)
        if found.problem or found.length not in (lengths if before is None else {before.length}):
            continue
        try:
            digest = digest_of(folder / path)
        except OSError:  # `prepare` will say so
            continue
        old = by_content.pop(digest, None) if before is None else path
        if old is not None and entries[old].digest == digest:
            yield path, (old, entries[old]._replace(path=path, mtime_ns=found.mtime_ns))


def _row(entry: Entry) -> Row:
    folder, _, name = entry.path.rpartition("/")
    return {
        "path": entry.path,
        "name": name,
        "folder": folder,
        "date": entry.date,
        "bytes": entry.length,
        "width": entry.width,
        "height": entry.height,
    }
