"""Photographs: the table of classes, the captions, the batches, and a folder that is amiss."""

import io
import tarfile
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image

from clip_lab.data.batch import caption_groups
from clip_lab.data.photo_augment import augment_photos, crop
from clip_lab.data.photos import (
    CHANGED,
    LEVELS,
    PhotoPairs,
    Photos,
    photo_caption,
    photo_classes,
    photo_corpus,
    read_photos,
)
from clip_lab.errors import LabError
from clip_lab.evaluation import photos as tests_of_photos
from clip_lab.pretrained import load

CLASSES = photo_classes()


def webp(colour: tuple[int, int, int], size: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "WEBP")
    return file.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.fixture
def folder(tmp_path) -> Path:
    """One picture a class in each part."""
    pictures = {f"{c.wnid}_{i}.webp": webp((i, 255 - i, 99)) for i, c in enumerate(CLASSES)}
    write_shard(tmp_path / "train-00.tar", pictures)
    write_shard(tmp_path / "val.tar", pictures)
    return tmp_path


def test_the_table_names_200_things_and_their_kinds():
    assert len(CLASSES) == len({entry.wnid for entry in CLASSES}) == 200
    assert len({entry.name for entry in CLASSES}) == 200
    for entry in CLASSES:
        assert entry.kinds and all(kind for kinds in entry.kinds for kind in kinds)
    by_name = {entry.name: entry for entry in CLASSES}
    assert by_name["Chihuahua"].at("kind")[0] == "dog"
    assert by_name["Chihuahua"].at("widest") == ("animal",)
    assert by_name["convertible"].kinds[0] == ("car", "automobile")


def test_twenty_classes_are_held_out_each_of_another_kind_that_training_knows():
    held_out = [entry for entry in CLASSES if entry.held_out]
    known = {
        kind for entry in CLASSES if not entry.held_out for kinds in entry.kinds for kind in kinds
    }
    assert len(held_out) == 20
    nearest = [next(kinds[0] for kinds in entry.kinds if kinds[0] in known) for entry in held_out]
    assert len(set(nearest)) >= 18


def test_no_name_of_a_held_out_class_is_ever_said():
    said = " ".join(photo_corpus()).casefold()
    for entry in CLASSES:
        if entry.held_out:
            assert entry.name.casefold() not in said, entry.name


def test_batches_hold_no_held_out_class_and_repeat(folder):
    pairs = PhotoPairs(read_photos(folder, "train"), 60, 32, seed=3)
    assert pairs.steps_per_epoch == 3
    met: list[str] = []
    for step in range(3):
        batch, again = pairs.batch(step), pairs.batch(step)
        assert torch.equal(batch.images, again.images) and batch.captions == again.captions
        assert batch.images.shape == (60, 3, 32, 32)
        assert batch.images.min() >= 0 and batch.images.max() <= 1
        assert batch.ids is not None
        met += batch.ids
    held_out = {entry.wnid for entry in CLASSES if entry.held_out}
    assert len(set(met)) == 180 and not {key.split("_")[0] for key in met} & held_out
    assert not torch.equal(pairs.batch(0).images, pairs.batch(3).images)


def test_groups_are_those_of_the_level_that_the_captions_speak_at(folder):
    pairs = PhotoPairs(read_photos(folder, "train"), 180, 32)
    sizes = set()
    for step in range(12):
        batch = pairs.batch(step)
        of_group: dict[int, set[str]] = {}
        for key, group in zip(batch.ids or [], batch.right().tolist(), strict=True):
            of_group.setdefault(group, set()).add(key.split("_")[0])
        level = next(
            level
            for level in LEVELS
            if len({entry.at(level)[0] for entry in CLASSES if not entry.held_out}) == len(of_group)
        )
        sizes.add(level)
        for wnids in of_group.values():
            assert len({e.at(level)[0] for e in CLASSES if e.wnid in wnids}) == 1
    assert {"name", "kind"} <= sizes


def test_captions_say_only_what_was_done():
    rng, thing = Random(0), CLASSES[0]
    plain = {photo_caption(thing, "name", [], rng) for _ in range(300)}
    words = ("blurry", "black and white", "dark", "bright", "close-up", "resolution", "pixelated")
    assert not any(word in caption for caption in plain for word in words)
    grey = {photo_caption(thing, "name", ["black and white"], rng) for _ in range(100)}
    assert any("black and white" in caption for caption in grey)
    assert any(thing.kinds[0][0] in caption for caption in plain)
    assert all("{" not in caption for caption in plain | grey)


def test_changes_are_what_they_are_called():
    colours = torch.randint(0, 256, (400, 3, 64, 64), dtype=torch.uint8)
    images, named = augment_photos(colours, 32, torch.Generator().manual_seed(0))
    grey = torch.tensor(["black and white" in names for names in named])
    spread = (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))
    assert 0.03 < grey.float().mean() < 0.15
    assert spread[grey].max() < 1e-5 < 0.02 < spread[~grey].min()
    dark = torch.tensor(["dark" in names for names in named])
    assert images[dark].mean() < 0.7 * images[~dark].mean()
    assert {name for names in named for name in names} == set(CHANGED)


def test_a_crop_s_area_is_what_it_says():
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64).contiguous()
    cut, area = crop(ramp, 64, torch.Generator().manual_seed(1))
    width = cut[:, 0, 32].amax(dim=1) - cut[:, 0, 32].amin(dim=1)
    assert area.min() > 0.2 and area.max() <= 1 and (width <= 1).all()
    assert (width[area < 0.4].mean() < 0.75) and (width[area > 0.9].mean() > 0.9)
    assert torch.corrcoef(torch.stack([width**2, area]))[0, 1] > 0.8


def test_a_folder_without_them_or_with_others_is_told(tmp_path):
    with pytest.raises(LabError, match=r"holds no train\*.tar"):
        read_photos(tmp_path, "train")
    write_shard(tmp_path / "val.tar", {"n99999999_1.webp": webp((1, 2, 3))})
    with pytest.raises(LabError, match="none of the 200 classes"):
        read_photos(tmp_path, "val")
    wnid = CLASSES[0].wnid
    write_shard(tmp_path / "val.tar", {f"{wnid}_1.webp": webp((1, 2, 3), 32)})
    with pytest.raises(LabError, match="32 × 32 pixels, not 64"):
        read_photos(tmp_path, "val")
    write_shard(tmp_path / "val.tar", {f"{wnid}_1.webp": b"nothing"})
    with pytest.raises(LabError, match="is damaged"):
        read_photos(tmp_path, "val")
    (tmp_path / "val.tar").write_bytes(b"nothing at all")
    with pytest.raises(LabError, match=r"val\.tar.*damaged"):
        read_photos(tmp_path, "val")


def test_a_batch_larger_than_the_collection_is_told(folder):
    with pytest.raises(LabError, match="can't be filled from 180"):
        PhotoPairs(read_photos(folder, "train"), 181)


def test_the_model_s_test_sees_each_thing_among_its_own(folder):
    encoder = load("shapes", "cpu")
    trained, never = (
        tests_of_photos.things(encoder, read_photos(folder, "val"), held_out, ("{}",))
        for held_out in (False, True)
    )
    assert (trained.pictures, trained.classes, never.pictures, never.classes) == (180, 180, 20, 20)


def test_some_of_them_keep_their_keys():
    photos = Photos(
        torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 1, 0]), ["a", "b", "c"]
    )
    first = photos.of(lambda entry: entry is CLASSES[0])
    assert first.keys == ["a", "c"] and first.classes.tolist() == [0, 0]


def test_equal_captions_make_equal_groups_everywhere():
    groups = caption_groups(["a", "b", "a", "図"])
    assert groups[0] == groups[2] and len(set(groups.tolist())) == 3
    assert torch.equal(caption_groups(["図"]), groups[3:])
