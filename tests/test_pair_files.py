"""Training pairs from files: shards, folders, tables; their order, their damage, their shares."""

import csv
import importlib.util
import io
import json
import os
import pickle
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from wds_files import picture, write_tar

from clip_lab.data import pair_shards
from clip_lab.data.file_pairs import EpochOrder, FilePairs, Row, Source, decode, random_crop, seeded
from clip_lab.data.pair_shards import INDEX, PLACE
from clip_lab.data.pair_sources import open_pairs
from clip_lab.data.pair_tables import Strings
from clip_lab.errors import LabError
from clip_lab.model import CONFIGS, TextConfig
from clip_lab.model.text import TextTransformer

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}


@pytest.fixture(autouse=True)
def caches(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def plain(colour: tuple[int, int, int], form: str = "PNG", size: tuple[int, int] = (40, 32)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def sample(number: int, shard: int = 0) -> list[tuple[str, bytes]]:
    """As img2dataset writes one."""
    key = f"{shard:05}{number:04}"
    caption = f"picture {number} of shard {shard}"
    known = {"caption": caption, "key": key, "status": "success"}
    return [
        (f"{key}.jpg", picture(number)),
        (f"{key}.json", json.dumps(known).encode()),
        (f"{key}.txt", caption.encode()),
    ]


def write_shards(folder: Path, sizes: list[int]) -> Path:
    for shard, size in enumerate(sizes):
        files = [file for number in range(size) for file in sample(number, shard)]
        write_tar(folder / f"{shard:05}.tar", files)
    return folder


class Numbers(Source):
    """Rows without a disk: each picture's red is its number; some are damaged."""

    def __init__(self, sizes: list[int], damaged: frozenset[int] = frozenset()):
        self.shard_sizes, self.damaged = np.array(sizes), damaged
        self.good = [plain((i % 256, 0, 0)) for i in range(min(256, sum(sizes)))]

    def row(self, number: int) -> Row:
        data = b"no picture" if number in self.damaged else self.good[number % 256]
        return Row(data, [f"caption {number}", f"title {number}"], f"row-{number}")


def same(one, other) -> bool:
    return (
        torch.equal(one.images, other.images)
        and one.captions == other.captions
        and one.ids == other.ids
        and tuple(one.skipped) == tuple(other.skipped)  # a loader makes lists of tuples
    )


# -- formats --------------------------------------------------------------------------------------


def test_shards_give_every_sample_with_its_caption(tmp_path):
    source = open_pairs(write_shards(tmp_path, [5, 3]))
    rows = [source.row(i) for i in range(len(source))]
    assert [row.id for row in rows[4:6]] == ["00000.tar/000000004", "00001.tar/000010000"]
    assert [row.picture for row in rows] == [picture(i) for i in (0, 1, 2, 3, 4, 0, 1, 2)]
    assert rows[6].captions == ["picture 1 of shard 1"]
    assert source.shard_sizes.tolist() == [5, 3]
    assert source.notes == ()


def test_the_text_comes_before_the_json_and_has_a_caption_a_line(tmp_path):
    tell = json.dumps({"caption": "from json"}).encode()
    several = json.dumps({"caption": ["one", "two", 3]}).encode()
    files = [("a.webp", plain((1, 2, 3), "WEBP")), ("a.json", tell), ("a.txt", b"from\n\ntext\n")]
    files += [("d.x/b.png", plain((1, 2, 3))), ("d.x/b.json", tell), ("c.jpeg", picture(1))]
    files += [("c.json", several), ("e.png", b""), ("e.json", b"[no json")]
    files += [("f.jpg", picture(1)), ("f.json", b'{"caption": "\\ud800"}')]
    write_tar(tmp_path / "x.tar", files)
    source = open_pairs(tmp_path / "x.tar")
    found = {row.id: row.captions for row in map(source.row, range(len(source)))}
    assert found == {
        "x.tar/a": ["from", "text"],
        "x.tar/d.x/b": ["from json"],
        "x.tar/c": ["one", "two"],
        "x.tar/e": [],
        "x.tar/f": ["?"],
    }


def test_samples_without_picture_or_caption_are_left_out_and_counted(tmp_path):
    files = [*sample(0), ("lonely.jpg", picture(1)), ("mute.txt", b"x"), ("notes.md", b"x")]
    write_tar(tmp_path / "0.tar", files)
    source = open_pairs(tmp_path)
    assert len(source) == 1
    assert source.notes[0].endswith(": 3 samples.")


def test_long_names_and_pax_headers_are_read(tmp_path):
    name = "folder/" + "very_long_" * 30 + "ä"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as archive:
            for key in ("first", name):
                for end, content in ((".jpg", picture(7)), (".txt", key.encode())):
                    member = tarfile.TarInfo(key + end)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        row = open_pairs(path).row(1)
        assert row == Row(picture(7), [name], f"{path.name}/{name}")


def test_a_range_of_shards_takes_those_and_misses_none(tmp_path):
    write_shards(tmp_path, [2, 3, 4])
    assert open_pairs(f"{tmp_path}/{{00001..00002}}.tar").shard_sizes.tolist() == [3, 4]
    assert open_pairs(f"{tmp_path}/{{00000..00000}}.tar").row(1).id == "00000.tar/000000001"
    with pytest.raises(LabError, match=r"no shard .*00003\.tar"):
        open_pairs(f"{tmp_path}/{{00000..00009}}.tar")
    with pytest.raises(LabError, match="one range of numbers"):
        open_pairs(f"{tmp_path}/{{0..1}}-{{0..1}}.tar")


@pytest.mark.peers
def test_a_range_names_what_braceexpand_names():
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    from clip_lab.data import pair_sources

    for pattern in ("a-{7..12}.tar", "{00098..00101}.tar", "x{0..0}y.tar", "{08..11}.tar"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "is_file", lambda path: True)
            assert list(pair_sources._names(Path(pattern))) == list(braceexpand(pattern))


@pytest.mark.peers
def test_the_webdataset_package_finds_the_same_samples(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="the extra 'peers' is not installed")
    write_shards(tmp_path, [4])
    extra = [("deep/er/x.y.jpg", b"no"), ("deep/er/x.jpg", picture(5)), ("deep/er/x.txt", b"hello")]
    write_tar(tmp_path / "00001.tar", [*sample(1, 1), *extra])
    urls = [str(tmp_path / name) for name in ("00000.tar", "00001.tar")]
    theirs = [
        (s["__key__"], s["jpg"], s["txt"].decode())
        for s in webdataset.WebDataset(urls, shardshuffle=False)
    ]
    source = open_pairs(tmp_path)
    rows = [source.row(i) for i in range(len(source))]
    assert [(r.id.split("/", 1)[1], r.picture, r.captions[0]) for r in rows] == theirs


def test_a_folder_has_captions_beside_its_pictures(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").write_bytes(picture(1))
    (tmp_path / "a/1.txt").write_text("a thing\nanother thing\n")
    (tmp_path / "2.png").write_bytes(plain((5, 5, 5)))
    source = open_pairs(tmp_path)
    assert [source.row(i) for i in range(len(source))] == [
        Row(tmp_path / "a/1.jpg", ["a thing", "another thing"], str(Path("a/1.jpg")))
    ]
    assert source.notes == ("Left out, for want of a caption: 1 pictures.",)


def test_without_texts_the_folders_say_what_the_pictures_show(tmp_path):
    for name in ("train/polar_bear/1.jpg", "train/n02123045/1.jpg", "cover.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(1))
    source = open_pairs(tmp_path)
    assert [source.row(i).captions for i in range(2)] == [["tabby cat"], ["polar bear"]]
    assert len(source) == 2
    assert len(source.notes) == 1


def write_pictures(folder: Path) -> None:
    for name in COLOURS:
        (folder / "pictures").mkdir(exist_ok=True)
        (folder / f"pictures/{name}.png").write_bytes(plain(COLOURS[name]))


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables_pair_files_with_captions(tmp_path, kind):
    write_pictures(tmp_path)
    rows = [(f"pictures/{name}.png", f'a "{name}", one\nplain') for name in COLOURS]
    rows.append((str(tmp_path / "pictures/red.png"), "红色"))
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra 'training' is not installed")
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.table({"n": range(4), "Path": [r[0] for r in rows],
                               "TITLE": [r[1] for r in rows]})  # fmt: skip
        parquet.write_table(table, path, row_group_size=2)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream, delimiter="," if kind == "csv" else "\t")
            writer.writerows([("n", "Path", "TITLE"), *((i, *row) for i, row in enumerate(rows))])
    source = open_pairs(path)
    found = [source.row(i) for i in range(len(source))]
    assert [(row.id, row.captions) for row in found] == [(name, [text]) for name, text in rows]
    assert [Path(row.picture).resolve() for row in found[::3]] == [
        tmp_path / "pictures/red.png"
    ] * 2
    assert open_pairs(path, caption_column="Path").row(1).captions == [rows[1][0]]
    with pytest.raises(LabError, match="no column “title”"):
        open_pairs(path, caption_column="title")
    assert same(FilePairs(source, 4, 16).batch(1), FilePairs(open_pairs(path), 4, 16).batch(1))


def test_a_parquet_caption_may_be_a_list_or_nothing(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'training' is not installed")
    from pyarrow import parquet

    write_pictures(tmp_path)
    names = [f"pictures/{name}.png" for name in COLOURS]
    captions = [["one", " two "], [], None]
    parquet.write_table(pyarrow.table({"path": names, "text": captions}), tmp_path / "t.parquet")
    source = open_pairs(tmp_path / "t.parquet")
    assert [source.row(i).captions for i in range(3)] == [["one", "two"], [], []]
    parquet.write_table(pyarrow.table({"path": names, "text": [1, 2, 3]}), tmp_path / "t.parquet")
    with pytest.raises(LabError, match=r"“text” .* holds int64, not text"):
        open_pairs(tmp_path / "t.parquet")


def test_without_pyarrow_parquet_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LabError, match=r"clip-lab\[training\]"):
        open_pairs(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "path", ["../x.png", "a/../../x.png", "pictures", "no.png", "", "x" * 5000]
)
def test_a_table_does_not_lead_out_of_its_folder_nor_to_what_is_no_file(tmp_path, path):
    folder = tmp_path / "set"
    folder.mkdir()
    write_pictures(folder)
    (tmp_path / "x.png").write_bytes(plain((0, 0, 0)))
    (folder / "t.csv").write_text(f"path,caption\npictures/red.png,red\n{path},secret\n")
    source = open_pairs(folder / "t.csv")
    assert source.row(0).captions == ["red"]
    with pytest.raises(LabError):
        source.row(1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no column"),
        ("t.csv", b"path,caption\n", "no rows"),
        ("t.csv", b"path,words\na.png,b\n", "it has: path, words"),
        ("t.csv", b"url,caption\nhttp://x/y.png,b\n", "no column .* picture"),
        ("t.csv", b"path,caption\nhttp://x/y.png,b\n", "addresses"),
        ("t.tsv", b"path\tcaption\n\xff\xfe\ta\n", "UTF-8"),
        ("t.csv", b"path,caption\na.png," + b"x" * 200_000, "field larger"),
        ("t.parquet", b"no parquet", "Parquet file that can be read"),
        ("t.tar", b"no archive" * 100, "no tar archive"),
        ("t.tar", b"", "no tar archive"),
        ("t.txt", b"", "nothing to train on"),
        ("folder/t.txt", b"", "neither shards"),
        ("folder/t.jpg", b"", "neither shards"),
    ],
)
def test_what_can_not_be_opened_is_told_at_once(tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="the extra 'training' is not installed")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(LabError, match=message):
        open_pairs(path if path.parent == tmp_path else path.parent)


def test_what_is_not_there_is_told(tmp_path):
    for place in ("none", "none.tar", "none.csv", "none/{0..3}.tar", "x" * 5000):
        with pytest.raises(LabError):
            open_pairs(tmp_path / place)
    with pytest.raises(LabError, match="no table"):
        open_pairs(write_shards(tmp_path / "s", [1]), "path")


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=12))
def test_packed_strings_are_the_strings(strings):
    assert list(Strings(strings)) == strings


def test_file_names_that_are_no_text_survive():
    name = os.fsdecode(b"caf\xe9.png")
    assert list(Strings([name, "b"])) == [name, "b"]


# -- the index of shards --------------------------------------------------------------------------


def test_headers_are_read_once_and_again_only_for_shards_that_changed(tmp_path, monkeypatch):
    write_shards(tmp_path, [3, 2])
    read = []
    original = pair_shards.index_shard
    monkeypatch.setattr(
        pair_shards,
        "index_shard",
        lambda path, state: (read.append(path.name), original(path, state))[1],
    )
    before = [open_pairs(tmp_path).row(i) for i in range(5)]
    assert read == ["00000.tar", "00001.tar"]
    assert [open_pairs(tmp_path).row(i) for i in range(5)] == before
    assert len(read) == 2
    write_tar(tmp_path / "00000.tar", sample(9))
    assert [row.id for row in map(open_pairs(tmp_path).row, range(3))] == [
        "00000.tar/000000009", "00001.tar/000010000", "00001.tar/000010001",
    ]  # fmt: skip
    assert read == ["00000.tar", "00001.tar", "00000.tar"]
    assert [path.name for path in (tmp_path / PLACE).iterdir()] == [INDEX]


def test_a_damaged_index_is_made_anew(tmp_path):
    write_shards(tmp_path, [3])
    open_pairs(tmp_path)
    index = tmp_path / PLACE / INDEX
    whole = index.read_bytes()
    for damaged in (b"", whole[:-5], b"{}\n", b"\xff" * 90, b'{"shards": [{"name": 1}]}\n'):
        index.write_bytes(damaged)
        assert len(open_pairs(tmp_path)) == 3
        assert index.read_bytes() == whole


def test_a_folder_that_can_not_be_written_keeps_its_index_among_the_caches(tmp_path, caches):
    write_shards(tmp_path / "shards", [3])
    (tmp_path / "shards" / PLACE).write_text("in the way")
    assert len(open_pairs(tmp_path / "shards")) == 3
    assert len(list(caches.rglob(INDEX))) == 1
    (caches / "clip-lab").rename(caches / "gone")
    (caches / "clip-lab").write_text("in the way too")
    source = open_pairs(tmp_path / "shards")
    assert source.row(2).captions == ["picture 2 of shard 0"]
    assert pickle.loads(pickle.dumps(source)).row(2) == source.row(2)


def test_a_worker_is_not_sent_the_index_but_its_place(tmp_path):
    source = open_pairs(write_shards(tmp_path, [30]))
    message = pickle.dumps(source.index)
    assert len(message) < 300
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.row(i) for i in range(30)] == [source.row(i) for i in range(30)]


def test_many_shards_are_read_by_several_processes(tmp_path, monkeypatch):
    write_shards(tmp_path / "a", [2, 1, 3])
    write_shards(tmp_path / "b", [2, 1, 3])
    alone = open_pairs(tmp_path / "a")
    monkeypatch.setattr(pair_shards, "MANY", 2)
    several = open_pairs(tmp_path / "b")
    assert np.array_equal(alone.index.spans, several.index.spans)
    write_tar(tmp_path / "b/00000.tar", sample(1))
    (tmp_path / "b/00001.tar").write_bytes(b"no archive")
    with pytest.raises(LabError, match="no tar archive"):
        open_pairs(tmp_path / "b")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8, 0.97])
def test_a_cut_shard_gives_its_whole_samples_and_says_so(tmp_path, place):
    write_shards(tmp_path, [6, 2])
    path = tmp_path / "00000.tar"
    whole = path.read_bytes()[: open_pairs(path).index.spans[5].item()[0] + 3 * 1024]
    path.write_bytes(whole[: int(place * len(whole))])
    source = open_pairs(tmp_path)
    first = int(source.shard_sizes[0])
    assert 0 <= first < 6
    assert [source.row(i).picture for i in range(first)] == [picture(i) for i in range(first)]
    assert source.row(first).id == "00001.tar/000010000"
    assert len(source.notes) == 1
    assert f"00000.tar is damaged or cut short at 00000{first:04}" in source.notes[0]
    assert len(FilePairs(source, 2, 8).batch(0).captions) == 2


def test_a_shard_cut_between_two_files_is_not_taken_for_whole(tmp_path):
    write_shards(tmp_path, [4])
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes()[: open_pairs(path).index.spans[3].item()[0]])
    assert "cut short" in open_pairs(path).notes[0]


# -- order ----------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(sum)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(1, 9), st.integers(0, 9), st.integers(0, 5), st.data())
def test_an_epoch_is_a_permutation_whatever_the_pieces(sizes, together, seed, epoch, data):
    order = EpochOrder(np.array(sizes), together, seed, epoch)
    total = sum(sizes)
    whole = order.rows(0, total)
    assert sorted(whole.tolist()) == list(range(total))
    start = data.draw(st.integers(0, total - 1))
    stop = data.draw(st.integers(start + 1, total))
    fresh = EpochOrder(np.array(sizes), together, seed, epoch)
    assert fresh.rows(start, stop).tolist() == whole[start:stop].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 99))
def test_only_a_few_shards_are_read_at_a_time(together, seed):
    rows = EpochOrder(np.full(12, 10), together, seed, 0).rows(0, 120) // 10
    for i in range(0, 120, 10 * together):
        assert len(set(rows[i : i + 10 * together].tolist())) == together


def test_orders_differ_by_epoch_and_seed_and_reach_every_place():
    def first(seed: int, epoch: int) -> list[int]:
        return EpochOrder(np.full(6, 4), 3, seed, epoch).rows(0, 24).tolist()

    orders = [first(seed, epoch) for seed in range(20) for epoch in range(20)]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert {order[0] for order in orders} == {order[11] for order in orders} == set(range(24))


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_each_row_is_shown_once_an_epoch(sizes, batch_size, together, seed):
    if batch_size > sum(sizes):
        with pytest.raises(LabError, match="can't be filled"):
            FilePairs(Numbers(sizes), batch_size)
        return
    pairs = FilePairs(Numbers(sizes), batch_size, 8, seed, together)
    for epoch in range(2):
        steps = range(epoch * pairs.steps_per_epoch, (epoch + 1) * pairs.steps_per_epoch)
        shown = [row for step in steps for row in pairs.batch(step).ids or ()]
        assert len(set(shown)) == len(shown) == sum(sizes) // batch_size * batch_size


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 13), st.data())
def test_the_parts_of_all_processes_are_the_batch(batch_size, data):
    world = data.draw(st.integers(1, batch_size))
    damaged = data.draw(st.frozensets(st.integers(0, 39), max_size=6))
    step = data.draw(st.integers(0, 9))
    pairs = FilePairs(Numbers([11, 9, 20], damaged), batch_size, 8, seed=3, shuffle_shards=2)
    whole = pairs.batch(step)
    parts = [pairs.part(rank, world).batch(step) for rank in range(world)]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert [caption for part in parts for caption in part.captions] == whole.captions
    assert [name for part in parts for name in part.ids or ()] == whole.ids
    assert tuple(reason for part in parts for reason in part.skipped) == whole.skipped
    cut = [whole.part(rank, world).captions for rank in range(world)]  # as the other data are cut
    assert [part.captions for part in parts] == cut


def test_a_process_reads_its_own_part_alone():
    source = Numbers([20])
    read = []
    original = source.row
    source.row = lambda number: (read.append(number), original(number))[1]
    FilePairs(source, 10, 8).part(1, 3).batch(0)
    assert len(read) == 3
    assert read == sorted(read)
    with pytest.raises(LabError, match="shared out"):
        FilePairs(source, 2, 8).part(0, 3)


def test_training_resumes_from_any_step(tmp_path):
    write_shards(tmp_path, [7, 6, 8])
    run = iter(FilePairs(open_pairs(tmp_path), 4, 24, seed=1))
    batches = [next(run) for _ in range(8)]
    for step in (1, 5, 7):
        again = FilePairs(open_pairs(tmp_path), 4, 24, seed=1)
        again.start_step = step
        assert same(next(iter(again)), batches[step])
    other = FilePairs(open_pairs(tmp_path), 4, 24, seed=2)
    assert not same(other.batch(0), batches[0])


def test_loader_workers_give_the_same_batches_in_the_same_order(tmp_path):
    pairs = FilePairs(open_pairs(write_shards(tmp_path, [7, 6])), 4, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine with one core
        loaded = iter(DataLoader(pairs, batch_size=None, num_workers=2))
    for step in range(5):
        assert same(next(loaded), pairs.batch(step))


# -- samples --------------------------------------------------------------------------------------


def test_damaged_samples_are_replaced_counted_and_named(tmp_path):
    write_shards(tmp_path, [30])
    files = [("bad.jpg", picture(1)[:300]), ("bad.txt", b"cut"), ("mute.png", plain((1, 1, 1)))]
    files += [("mute.txt", b" \n"), ("none.jpg", b""), ("none.txt", b"empty")]
    write_tar(tmp_path / "00001.tar", files)
    pairs = FilePairs(open_pairs(tmp_path), 11, 16)
    batches = [pairs.batch(step) for step in range(pairs.steps_per_epoch)]
    assert all(len(batch.captions) == len(batch.images) == 11 for batch in batches)
    reasons = sorted(reason for batch in batches for reason in batch.skipped)
    assert [reason.split(":")[0] for reason in reasons] == [
        "00001.tar/bad", "00001.tar/mute", "00001.tar/none",
    ]  # fmt: skip
    assert "damaged" in reasons[0]
    assert "no caption" in reasons[1]
    shown = {name for batch in batches for name in batch.ids or ()}
    assert shown == {f"00000.tar/00000{i:04}" for i in range(30)}


def test_a_replacement_depends_on_the_place_alone():
    damaged = frozenset(range(0, 100, 3))
    pairs = FilePairs(Numbers([50, 50], damaged), 40, 8)
    one, other = pairs.batch(1), FilePairs(Numbers([50, 50], damaged), 40, 8).batch(1)
    assert one.skipped and same(one, other)
    sound = FilePairs(Numbers([50, 50]), 40, 8).batch(1)
    for i, (name, was) in enumerate(zip(one.ids or (), sound.ids or (), strict=True)):
        if int(was.removeprefix("row-")) not in damaged:
            assert name == was
            assert torch.equal(one.images[i], sound.images[i])


def test_more_than_half_damaged_stops_with_reasons():
    pairs = FilePairs(Numbers([100], frozenset(range(20, 100))), 40, 8)
    with pytest.raises(LabError, match=r"half of batch 0 is damaged\. row-\d+: The picture is not"):
        pairs.batch(0)
    with pytest.raises(LabError, match="half"):
        FilePairs(Numbers([3], frozenset(range(3))), 1, 8).batch(0)


def test_a_shard_that_disappears_is_counted_not_a_traceback(tmp_path):
    write_shards(tmp_path, [40, 2])
    pairs = FilePairs(open_pairs(tmp_path), 42, 8)
    (tmp_path / "00001.tar").unlink()
    skipped = pairs.batch(0).skipped
    assert len(skipped) >= 2
    assert "“00001.tar” can't be read" in skipped[0]


@pytest.mark.parametrize("content", [b"", bytes(9000), b"\xff" * 9000])
def test_a_shard_that_changes_under_a_run_is_no_traceback(tmp_path, content):
    source = open_pairs(write_shards(tmp_path, [4]))
    (tmp_path / "00000.tar").write_bytes(content)
    for number in range(4):
        with pytest.raises(LabError, match="can't be read, or was changed"):
            source.row(number)


def test_every_caption_has_its_turn():
    pairs = FilePairs(Numbers([8]), 8, 8)
    chosen = [
        dict(zip(batch.ids or (), batch.captions, strict=True))["row-3"]
        for batch in map(pairs.batch, range(12))
    ]
    assert set(chosen) == {"caption 3", "title 3"}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 99))
def test_a_crop_is_a_square_of_the_picture(width, height, size, seed):
    image = Image.new("RGB", (width, height), (10, 200, 30))
    pixels = random_crop(image, size, seeded(seed))
    assert pixels.shape == (3, size, size)
    assert (pixels == torch.tensor([10, 200, 30], dtype=torch.uint8)[:, None, None]).all()


def test_a_crop_keeps_nine_tenths_of_the_square_and_moves_along_the_picture():
    ramp = np.zeros((100, 300, 3), np.uint8)
    ramp[..., 0] = np.arange(300) * 255 // 299  # how far to the right
    ramp[..., 1] = (np.arange(100) * 255 // 99)[:, None]
    starts, widths = [], []
    for seed in range(200):
        crop = random_crop(Image.fromarray(ramp), 50, seeded(seed)).float()
        starts.append(float(crop[0, 25, 0]) / 255 * 299)
        widths.append(float(crop[0, 25, -1] - crop[0, 25, 0]) / 255 * 299 * 50 / 49)
    assert 92 < min(widths) < 97 < max(widths) < 103
    assert min(starts) < 12 and max(starts) > 188


def test_a_big_jpeg_is_decoded_small_and_looks_the_same():
    draw = np.random.default_rng(0)
    coarse = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((1200, 900), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    small = decode(file.getvalue(), 100)
    assert small.size == (150, 113)  # an eighth
    assert decode(file.getvalue(), 800).size == (1200, 900)
    whole = decode(file.getvalue(), 800).resize((64, 48), Image.Resampling.BOX)
    difference = np.asarray(whole, float) - np.asarray(small.resize((64, 48)), float)
    assert np.abs(difference).mean() < 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_a_file_gives_anything_but_a_picture_or_a_lab_error(data):
    form = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]))
    content = bytearray(picture(3, form=form))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(400, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(content), 16)
    except LabError:
        return
    assert image.mode == "RGB"


@pytest.mark.parametrize("settings", [{"size": 0}, {"seed": -1}, {"shuffle_shards": 0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(LabError, match="are needed"):
        FilePairs(Numbers([9]), 2, **settings)


# -- the page of costs ----------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def costs():
    spec = importlib.util.spec_from_file_location("scale_costs", ROOT / "scripts/scale_costs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_the_script_computes(costs, tmp_path, monkeypatch):
    assert costs.main(["--check"]) == 0, "run scripts/scale_costs.py"
    page = tmp_path / "scale.md"
    page.write_text((ROOT / "book/scale.md").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(costs, "PAGE", page)
    monkeypatch.setitem(costs.PRICE, "H100", 9.99)
    assert costs.main(["--check"]) == 1
    costs.main([])
    assert costs.main(["--check"]) == 0
    assert "H100 9.99" in page.read_text(encoding="utf-8")


def test_the_formula_for_texts_counts_what_pytorch_counts(costs):
    text = TextConfig(vocab_size=99, context_length=20, width=128, layers=3, end_token=98)
    layer = torch.nn.TransformerEncoderLayer(128, 2, 512, batch_first=True)
    with FlopCounterMode(display=False) as counter:
        plain = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        plain(torch.zeros(1, 20, 128), torch.zeros(20, 20)) @ torch.zeros(128, 64)
    projections = 20 * 2 * 128 * 64  # of all 20 states here, of the last alone in CLIP
    assert counter.get_total_flops() == costs.text_flops(text, 64) + projections * 19 / 20 - (
        projections / 20 - 2 * 128 * 64
    )
    ours = TextTransformer(text, 64, "gelu", 1e-5)
    tokens = torch.arange(20)[None] + 79
    with FlopCounterMode(display=False) as counter:
        ours(tokens)
    # Our last block works for the end token alone: a third of its products fall away at most.
    assert 1 - 1 / 3 < counter.get_total_flops() / costs.text_flops(text, 64) < 1


def test_published_figures_come_out(costs):
    # GFLOP by OpenCLIP's docs/model_profile.csv: image, text. Our towers skip what nobody reads.
    published = {"ViT-B-32": (8.82, 5.96), "ViT-L-14": (162.03, 13.3), "RN50": (12.22, 5.96)}
    for name, (image, text) in published.items():
        config = CONFIGS[name]
        assert costs.text_flops(config.text, config.embed_dim) / 1e9 == pytest.approx(
            text, rel=0.01
        )
        assert 0.92 * image < costs.image_flops(config) / 1e9 <= image
