"""Where a folder's vectors are kept: one file that only grows, and SQLite to say what is in it.

A batch's vectors are appended and forced to the disk first; then one SQLite transaction makes them
count. Whatever ends the process in between, even kill -9, leaves bytes that nothing points to, and
the next batch is written over them.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.files import sweep, write_whole
from clip_lab.retrieval import BLOCK

DATABASE, LOCK = "index.sqlite", "lock.sqlite"
LET_GO = 1.0  # seconds: an update that was just stopped has to finish its batch's last step
FORMAT = 2  # 1 was one pair of files inside the folder of pictures
NUMBER = np.dtype("<f2")  # float16, the same on every machine
SCHEMA = """
CREATE TABLE meta (format INTEGER, dim INTEGER, generation INTEGER, slots INTEGER);
CREATE TABLE pictures (
    slot INTEGER PRIMARY KEY,  -- which vector of the file
    path TEXT UNIQUE, length INTEGER, mtime_ns INTEGER, digest BLOB,
    date TEXT, width INTEGER, height INTEGER, crc INTEGER);
CREATE TABLE failures (path TEXT PRIMARY KEY, length INTEGER, mtime_ns INTEGER, reason TEXT);
"""


class Entry(NamedTuple):
    """A picture's file when it was read, and what was seen in it."""

    path: str  # inside the folder, with "/"
    length: int  # bytes
    mtime_ns: int
    digest: bytes
    date: str
    width: int
    height: int


class Failure(NamedTuple):
    """A file that gave no vector, and why."""

    path: str
    length: int
    mtime_ns: int
    reason: str


class Meta(NamedTuple):
    """`slots`: how many vectors of the file count; `generation`: which file it is."""

    dim: int
    generation: int
    slots: int


class Store:
    """One index on the disk. Every method is one transaction: it happens whole or not at all."""

    def __init__(self, place: Path, dim: int):
        self.place = place
        self.dim = dim

    @property
    def exists(self) -> bool:
        return (self.place / DATABASE).is_file()

    @property
    def stamp(self) -> tuple[int, int]:
        """Another one after every change; (0, 0) where there is no index. Costs next to nothing.

        SQLite counts its transactions in four bytes of a file's header (its file format, 1.3.7);
        when the file was written tells one index from the next in its place.
        """
        try:
            with (self.place / DATABASE).open("rb") as file:
                counter = file.read(28)[24:]
                return os.fstat(file.fileno()).st_mtime_ns, int.from_bytes(counter, "big")
        except OSError:
            return 0, 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process, and one thread of it, may write. Raises LabError to the second.

        The lock is SQLite's own on an empty database: the system lets go of it when the process
        ends, however it ends, and it works wherever Python does.
        """
        with self._faults():
            self.place.mkdir(parents=True, exist_ok=True)
            lock = self._connect(LOCK, "rwc", timeout=LET_GO)
        try:
            with self._faults():
                lock.execute("BEGIN EXCLUSIVE")
                sweep(self.place)
            yield
        finally:
            lock.close()

    # -- reading ----------------------------------------------------------------------------------

    def entries(self) -> dict[str, Entry]:
        """What is indexed, by path."""
        with self._transaction("DEFERRED") as database:
            found = database.execute(f"SELECT {', '.join(Entry._fields)} FROM pictures")
            return {row[0]: Entry(*row) for row in found}

    def failures(self) -> dict[str, Failure]:
        """What was left out, by path."""
        with self._transaction("DEFERRED") as database:
            found = database.execute("SELECT path, length, mtime_ns, reason FROM failures")
            return {row[0]: Failure(*row) for row in found}

    def read(self) -> tuple[Float[np.ndarray, "entries dim"], list[Entry]]:
        """All that counts: float16 vectors, memory-mapped, and their entries in the same order."""
        with self._transaction("DEFERRED") as database:
            meta = self._meta(database)
            order = f"SELECT slot, crc, {', '.join(Entry._fields)} FROM pictures ORDER BY slot"
            rows = database.execute(order).fetchall()
            vectors = self._mapped(meta)
        if len(rows) < len(vectors):  # until the next update closes the gaps
            vectors = vectors[[row[0] for row in rows]]
        for vector, row in zip(vectors, rows, strict=True):
            if zlib.crc32(vector.data) != row[1]:
                raise self._damaged("its vectors are not what was written")
        return vectors, [Entry(*row[2:]) for row in rows]

    def _mapped(self, meta: Meta) -> Float[np.ndarray, "slots dim"]:
        if meta.slots == 0:
            return np.zeros((0, self.dim), NUMBER)
        try:  # "c": torch wants memory that could be written to. Nothing is, and no file changes.
            shape = (meta.slots, self.dim)
            return np.memmap(self._vectors(meta.generation), NUMBER, "c", shape=shape)
        except (OSError, ValueError) as error:
            raise self._damaged(str(error)) from error

    # -- writing ----------------------------------------------------------------------------------

    def create(self) -> None:
        """An empty index where there is none."""
        if not self.exists:
            write_whole(self.place / DATABASE, self._write_empty)

    def _write_empty(self, path: Path) -> None:
        database = sqlite3.connect(path)
        database.executescript(SCHEMA)
        database.execute("INSERT INTO meta VALUES (?, ?, 0, 0)", (FORMAT, self.dim))
        database.commit()
        database.close()

    def append(
        self,
        entries: Sequence[Entry],
        vectors: Float[np.ndarray, "entries dim"],
        failures: Iterable[Failure] = (),
    ) -> None:
        """A batch, in place of what was known of the same paths."""
        vectors = np.ascontiguousarray(vectors, NUMBER)
        failures = list(failures)
        with self._transaction() as database:
            meta = self._meta(database)
            self._write_vectors(meta, vectors)
            paths = [(one.path,) for one in [*entries, *failures]]
            database.executemany("DELETE FROM pictures WHERE path = ?", paths)
            database.executemany("DELETE FROM failures WHERE path = ?", paths)
            rows = [
                (meta.slots + i, *entry, zlib.crc32(vector.data))
                for i, (entry, vector) in enumerate(zip(entries, vectors, strict=True))
            ]
            database.executemany("INSERT INTO pictures VALUES (?,?,?,?,?,?,?,?,?)", rows)
            database.executemany("INSERT INTO failures VALUES (?,?,?,?)", failures)
            database.execute("UPDATE meta SET slots = slots + ?", (len(entries),))

    def _write_vectors(self, meta: Meta, vectors: Float[np.ndarray, "entries dim"]) -> None:
        with open(self._vectors(meta.generation), "ab") as file:
            width = self.dim * NUMBER.itemsize
            if file.tell() < meta.slots * width:
                raise self._damaged("its file of vectors is too short")
            file.truncate(meta.slots * width)  # what a killed run left
            file.write(vectors.data)
            file.flush()
            os.fsync(file.fileno())

    def settle(self, gone: Iterable[str], moved: Iterable[tuple[str, Entry]]) -> None:
        """Forget paths; and give pictures that are the same as before another path or date.

        `moved`: the old path, and the entry as it is now.
        """
        with self._transaction() as database:
            paths = [(path,) for path in gone]
            database.executemany("DELETE FROM pictures WHERE path = ?", paths)
            database.executemany("DELETE FROM failures WHERE path = ?", paths)
            database.executemany(
                "UPDATE pictures SET path = ?, mtime_ns = ? WHERE path = ?",
                [(entry.path, entry.mtime_ns, old) for old, entry in moved],
            )

    def compact(self) -> None:
        """A file of vectors without the gaps that deleted and changed pictures have left."""
        with self._transaction() as database:
            meta = self._meta(database)
            slots = [slot for (slot,) in database.execute("SELECT slot FROM pictures ORDER BY 1")]
            if len(slots) == meta.slots:
                return
            old = self._mapped(meta)
            new = self._vectors(meta.generation + 1)
            write_whole(new, lambda path: _copy(old, slots, path))
            renumbered = enumerate(slots)  # upwards, so that no number is taken twice
            database.executemany("UPDATE pictures SET slot = ? WHERE slot = ?", renumbered)
            values = (len(slots), meta.generation + 1)
            database.execute("UPDATE meta SET slots = ?, generation = ?", values)
        with suppress(OSError):  # on Windows an open file stays
            self._vectors(meta.generation).unlink()

    def remove(self) -> None:
        """Delete the index, and no file that isn't of it."""
        with self.locked(), self._faults():
            for pattern in (DATABASE, f"{DATABASE}-*", "vectors-*.f16", "graph.*"):
                for path in self.place.glob(pattern):
                    path.unlink()
        with suppress(OSError):
            (self.place / LOCK).unlink()
            self.place.rmdir()

    # -- the database -----------------------------------------------------------------------------

    def _vectors(self, generation: int) -> Path:
        return self.place / f"vectors-{generation}.f16"

    def _connect(self, name: str, mode: str, timeout: float) -> sqlite3.Connection:
        """For any thread: a page asks for each batch from whichever is free."""
        address = f"{(self.place / name).absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(
            address, timeout, uri=True, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._faults():
            database = self._connect(DATABASE, "rw", timeout=10.0)
            try:
                database.execute(f"BEGIN {kind}")
                yield database
                database.execute("COMMIT")
            finally:
                database.close()  # without COMMIT nothing has happened

    def _meta(self, database: sqlite3.Connection) -> Meta:
        form, *values = database.execute("SELECT * FROM meta").fetchone() or (0,)
        if form != FORMAT or values[0] != self.dim:
            raise self._damaged("another version of the lab wrote it")
        return Meta(*values)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """The system's and SQLite's complaints, as sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise LabError(
                    "This folder is being indexed by another process. Wait until that is done."
                ) from error
            if "no such table" in str(error):
                raise self._damaged(str(error)) from error
            raise self._unwritable(error) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise self._unwritable(error.strerror or error) from error

    def _unwritable(self, reason: object) -> LabError:
        return LabError(
            f"The index in “{self.place}” can't be written: {reason}. What was finished is kept. "
            "Make room, or set CLIP_LAB_CACHE to another folder, and start again."
        )

    def _damaged(self, reason: str) -> LabError:
        return LabError(
            f"The index in “{self.place}” is damaged: {reason}. Build it anew: "
            "`clip-lab search FOLDER --rebuild`, or `remove` it and `update`."
        )


def _copy(vectors: Float[np.ndarray, "slots dim"], chosen: Sequence[int], path: Path) -> None:
    """Some rows into a file, a few at a time."""
    with path.open("wb") as file:
        for start in range(0, len(chosen), BLOCK):
            file.write(vectors[chosen[start : start + BLOCK]].data)
