"""A folder's index: kept through kill -9, brought up to date by what changed, and nothing else."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_preprocess import bomb

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.search import Filter, FolderIndex, Progress
from clip_lab.search import folder as folder_module
from clip_lab.search import scan as scan_module

BATCH = 4


class Counting(DualEncoder):
    """It remembers how many pictures it was given."""

    count = 0

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        self.count += len(pixels)
        return super().encode_pixels(pixels)


@pytest.fixture
def counting(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(folder_module, "BATCH", BATCH)
    return Counting(encoder.model, encoder.tokenizer, encoder.preprocess, "tiny")


def paint(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 30)).save(path)


@pytest.fixture
def photos(tmp_path):
    for i in range(18):
        paint(tmp_path / "photos" / ("", "2023", "2024/May")[i % 3] / f"{i:02}.png", i)
    return tmp_path / "photos"


def run(index: FolderIndex) -> list[Progress]:
    return list(index.update())


def paths(index: FolderIndex) -> list[str]:
    return sorted(row["path"] for row in index.open().rows)


def check(index: FolderIndex, folder: Path) -> None:
    """Each row has the vector of the picture that is there now, and each picture has a row."""
    collection = index.open()
    files = [path for path in sorted(folder.rglob("*.*")) if path.suffix == ".png"]
    assert paths(index) == [path.relative_to(folder).as_posix() for path in files]
    expected = index.encoder.encode_images([folder / row["path"] for row in collection.rows])
    np.testing.assert_allclose(collection.index.vectors, expected.half().numpy(), atol=2e-3)


# -- progress -------------------------------------------------------------------------------------


def test_progress_tells_done_total_and_time_left(photos, counting):
    seen = run(FolderIndex(photos, counting))
    assert [one.done for one in seen] == [0, 4, 8, 12, 16, 18]
    assert {one.total for one in seen} == {18}
    times = [one.seconds_left for one in seen]
    assert times[0] is None and all(time > 0 for time in times[1:-1]) and times[-1] == 0
    assert counting.count == 18


def test_the_rows_are_the_pictures(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    check(index, photos)
    collection = index.open()
    assert isinstance(collection.index.vectors, np.memmap)
    row = next(row for row in collection.rows if row["name"] == "02.png")
    assert row["path"] == "2024/May/02.png" and row["folder"] == "2024/May"
    assert (row["width"], row["height"]) == (40, 30)
    assert row["bytes"] == (photos / "2024/May/02.png").stat().st_size
    inside = collection.search(collection.vector(0), 18, Filter(folder="2024"))
    assert {hit.row["folder"] for hit in inside.hits} == {"2024/May"} and inside.matching == 6


def test_the_camera_s_date_counts_before_the_file_s(tmp_path, counting):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:20 12:00:00"
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "in/a.jpg", exif=exif)
    Image.new("RGB", (40, 30)).save(tmp_path / "in/b.jpg")
    os.utime(tmp_path / "in/b.jpg", (1.7e9, 1.7e9))  # November 2023
    index = FolderIndex(tmp_path / "in", counting)
    run(index)
    dates = {row["name"]: row["date"][:7] for row in index.open().rows}
    assert dates == {"a.jpg": "2019-07", "b.jpg": "2023-11"}


# -- killed, stopped, out of room -----------------------------------------------------------------


def start_worker(photos: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).parent / "search_worker.py"), str(photos)]
    return subprocess.Popen(
        [*command, str(BATCH), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_it_goes_on_where_it_was(photos, counting):
    with start_worker(photos) as worker:
        assert worker.stdin and worker.stdout
        for expected in ("0", "4", "8"):
            assert worker.stdout.readline().strip() == expected
            worker.stdin.write("\n" if expected != "8" else "")
            worker.stdin.flush()
        index = FolderIndex(photos, counting)
        with pytest.raises(LabError, match="another process"):
            run(index)
        assert len(index.open()) == 8  # what is finished can be searched meanwhile
        worker.kill()
    assert run(index)[0].total == 10 == counting.count
    check(index, photos)


def test_killed_between_vectors_and_rows_it_loses_one_batch(photos, counting):
    with start_worker(photos, 4) as worker:  # the first is the empty database
        worker.wait()
    index = FolderIndex(photos, counting)
    files = list(index.store.place.glob("vectors-*"))
    assert files[0].stat().st_size == 12 * 32 * 2 and len(index.open()) == 8
    run(index)
    assert counting.count == 10
    check(index, photos)


def test_stopped_by_the_page_it_keeps_finished_batches(photos, counting):
    index = FolderIndex(photos, counting)
    updates = index.update()
    assert [next(updates).done for _ in range(3)] == [0, 4, 8]
    with pytest.raises(LabError, match="another process"):  # two tabs of one page
        run(FolderIndex(photos, counting))
    updates.close()
    assert len(index.open()) == 8
    counting.count = 0
    run(index)
    assert counting.count == 10


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(photos, counting):
    index = FolderIndex(photos, counting)
    updates = index.update()
    next(updates), next(updates)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
        with pytest.raises(LabError, match=r"can't be written.*What was finished is kept"):
            list(updates)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(index.open()) == 4
    run(index)
    check(index, photos)


def test_a_cache_folder_that_can_t_be_written_is_a_sentence(photos, counting, monkeypatch):
    (photos.parent / "file").write_text("")
    monkeypatch.setenv("CLIP_LAB_CACHE", str(photos.parent / "file"))
    with pytest.raises(LabError, match=r"can't be written.*CLIP_LAB_CACHE"):
        run(FolderIndex(photos, counting))


def test_nothing_is_written_among_the_pictures(photos, counting):
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    index = FolderIndex(photos, counting)
    run(index)
    index.open().thumbnail(0)
    index.remove()
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before


# -- what changes ---------------------------------------------------------------------------------


def test_only_what_is_new_or_changed_is_encoded(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    counting.count = 0
    assert [one.total for one in run(index)] == [0] and counting.count == 0
    paint(photos / "new.png", 100)
    paint(photos / "00.png", 101)  # another picture under an old name
    (photos / "03.png").unlink()
    shutil.rmtree(photos / "2023")
    run(index)
    assert counting.count == 2
    check(index, photos)


def test_what_is_moved_or_touched_is_not_encoded_again(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    counting.count = 0
    (photos / "2023").rename(photos / "holidays")
    (photos / "00.png").rename(photos / "first.png")
    os.utime(photos / "03.png")
    paint(photos / "2024/May/02.png", 7)  # by content it is what 2023/07.png was: a copy
    run(index)
    assert counting.count == 1
    check(index, photos)
    counting.count = 0
    run(index)
    assert counting.count == 0


def test_two_files_that_change_names_keep_their_own_vectors(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    (photos / "00.png").rename(photos / "x")
    (photos / "03.png").rename(photos / "00.png")
    (photos / "x").rename(photos / "03.png")
    for name in ("00.png", "03.png"):
        os.utime(photos / name)
    run(index)
    check(index, photos)


def test_what_was_deleted_takes_no_room(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    open_before = index.open()
    kept = np.array(open_before.index.vectors)
    for i in range(0, 18, 3):
        (photos / f"{i:02}.png").unlink()
    run(index)
    (file,) = index.store.place.glob("vectors-*")
    assert file.stat().st_size == 12 * 32 * 2
    np.testing.assert_array_equal(open_before.index.vectors, kept)  # a page still has it open
    check(index, photos)


def test_gaps_that_a_kill_left_are_no_fault(photos, counting, monkeypatch):
    index = FolderIndex(photos, counting)
    run(index)
    (photos / "03.png").unlink()
    paint(photos / "00.png", 50)
    monkeypatch.setattr(index.store, "compact", lambda: None)
    run(index)
    check(index, photos)
    monkeypatch.undo()
    run(index)
    check(index, photos)


# -- odd files ------------------------------------------------------------------------------------


def test_what_can_t_be_read_has_a_sentence_and_isn_t_tried_again(photos, counting, monkeypatch):
    (photos / "empty.png").write_bytes(b"")
    (photos / "deep").mkdir()
    (photos / "deep/bomb.png").write_bytes(bomb())
    os.mkfifo(photos / "pipe.png")
    Image.new("RGB", (20_000, 1)).save(photos / "thin.png")
    monkeypatch.setattr(scan_module, "MAX_BYTES", 10**6)
    (photos / "huge.png").write_bytes(bytes(10**6 + 1))
    (photos / os.fsdecode(b"caf\xe9.png")).write_bytes((photos / "00.png").read_bytes())
    index = FolderIndex(photos, counting)
    left_out = run(index)[-1].left_out
    for words in ("“empty.png”", "“deep/bomb.png”", "“huge.png”", "another encoding"):
        assert sum(words in sentence for sentence in left_out) == 1, (words, left_out)
    assert sorted(left_out) == sorted(index.left_out())
    assert run(index)[-1].total == 0
    paint(photos / "empty.png", 1)
    assert run(index)[-1] == Progress(1, 1, 0.0, ())
    assert len(index.left_out()) == len(left_out) - 1


def test_a_picture_that_is_damaged_later_is_no_longer_found(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    (photos / "00.png").write_bytes(b"no picture")
    assert "“00.png”" in run(index)[-1].left_out[0]
    assert "00.png" not in paths(index) and len(index.open()) == 17


def test_an_error_nobody_thought_of_costs_one_picture(photos, counting, monkeypatch):
    def odd(path):
        if path.name == "05.png":
            raise KeyError("never seen")
        return Image.open(path)

    monkeypatch.setattr(scan_module, "open_image", odd)
    index = FolderIndex(photos, counting)
    (sentence,) = run(index)[-1].left_out
    assert "05.png" in sentence and "KeyError" in sentence and len(index.open()) == 17


def test_links_are_not_followed(photos, counting, tmp_path):
    paint(tmp_path / "secret/outside.png", 0)
    (photos / "loop").symlink_to(photos)
    (photos / "away").symlink_to(tmp_path / "secret")
    (photos / "link.png").symlink_to(tmp_path / "secret/outside.png")
    index = FolderIndex(photos, counting)
    (sentence,) = run(index)[-1].left_out
    assert "“link.png” is a link" in sentence and len(index.open()) == 18


def test_pictures_in_a_folder_that_is_closed_for_now_are_kept(photos, counting, monkeypatch):
    index = FolderIndex(photos, counting)
    run(index)
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "2023":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(scan_module.os, "scandir", closed)
    assert "“2023/” can't be opened" in run(index)[-1].left_out[0]
    assert len(index.open()) == 18
    monkeypatch.undo()
    monkeypatch.setenv("CLIP_LAB_CACHE", str(photos.parent / "cache"))
    counting.count = 0
    run(index)
    assert counting.count == 0 and index.left_out() == []


def test_an_emptied_folder_keeps_its_index(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    photos.rename(photos.parent / "elsewhere")  # a disk that isn't plugged in
    with pytest.raises(LabError, match="no folder"):
        run(index)
    photos.mkdir()
    with pytest.raises(LabError, match="holds no pictures"):
        run(index)
    assert len(index.open()) == 18


# -- faults ---------------------------------------------------------------------------------------


def test_another_model_has_an_index_of_its_own(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    with torch.no_grad():
        counting.model.logit_scale += 1
    with pytest.raises(LabError, match="isn't indexed for this model"):
        FolderIndex(photos, counting).open()


def damage_flip(place: Path) -> None:
    (file,) = place.glob("vectors-*")
    content = bytearray(file.read_bytes())
    content[100] ^= 4
    file.write_bytes(content)


def damage_cut(place: Path) -> None:
    (file,) = place.glob("vectors-*")
    file.write_bytes(file.read_bytes()[:-5])


def damage_missing(place: Path) -> None:
    (file,) = place.glob("vectors-*")
    file.unlink()


def damage_database(place: Path) -> None:
    (place / "index.sqlite").write_bytes(b"SQLite format 3\0 and then nothing" * 99)


def damage_empty(place: Path) -> None:
    (place / "index.sqlite").write_bytes(b"")


def damage_format(place: Path) -> None:
    with sqlite3.connect(place / "index.sqlite") as database:
        database.execute("UPDATE meta SET format = 1")


@pytest.mark.parametrize(
    "damage",
    [damage_flip, damage_cut, damage_missing, damage_database, damage_empty, damage_format],
)
def test_a_damaged_index_says_how_to_build_it_anew(photos, counting, damage):
    index = FolderIndex(photos, counting)
    run(index)
    damage(index.store.place)
    with pytest.raises(LabError, match="--rebuild"):
        index.open()
    paint(photos / "new.png", 99)
    if damage is not damage_flip:  # that one is seen where the vectors are read
        with pytest.raises(LabError, match="--rebuild"):
            run(index)
    index.remove()
    run(index)
    check(index, photos)


def test_remove_deletes_the_index_and_nothing_else(photos, counting):
    index = FolderIndex(photos, counting)
    run(index)
    index.open().graph()
    (index.store.place / "mine.txt").write_text("kept")
    with pytest.raises(LabError, match="another process"), index.store.locked():
        index.remove()
    index.remove()
    assert [path.name for path in index.store.place.iterdir()] == ["mine.txt"]
    index.remove()  # nothing there: no fault
    assert index.left_out() == []


def test_an_index_of_an_earlier_version_is_named(photos, counting):
    assert FolderIndex(photos, counting).note() == ""
    (photos / ".clip-lab/tiny-0123").mkdir(parents=True)
    index = FolderIndex(photos, counting)
    assert ".clip-lab” is an index of an earlier version" in index.note()
    run(index)
    check(index, photos)


def test_the_stamp_differs_after_every_change(photos, counting):
    index = FolderIndex(photos, counting)
    stamps = [index.store.stamp]
    assert stamps == [(0, 0)]
    run(index)
    stamps.append(index.store.stamp)
    run(index)
    assert index.store.stamp == stamps[-1]  # nothing was new
    next(photos.rglob("*.png")).unlink()
    run(index)
    stamps.append(index.store.stamp)
    index.remove()
    run(index)
    stamps.append(index.store.stamp)
    assert len(set(stamps)) == 4
