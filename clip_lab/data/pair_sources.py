"""Opens whatever pairs of pictures and captions lie on the disk: shards, tables, folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clip_lab.data.file_pairs import Row, Source
from clip_lab.data.image_folder import WORDNET_ID
from clip_lab.data.pair_shards import Shards, open_shards
from clip_lab.data.pair_tables import TABLES, Strings, open_table
from clip_lab.data.prompts import imagenet_names
from clip_lab.errors import LabError
from clip_lab.retrieval import find_pictures

RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


def open_pairs(
    place: str | Path, picture_column: str | None = None, caption_column: str | None = None
) -> Source:
    """The pairs in a place, told by what is there:

    * a folder with .tar files, one such file, or a range of them, `shards/{00000..00099}.tar`:
      WebDataset shards (`pair_shards`);
    * a .csv, .tsv or .parquet file: a table of picture files and captions (`pair_tables`), whose
      columns are guessed unless they are given;
    * any other folder: its pictures with captions beside them, or in folders that say what they
      show (`PictureFolder`).

    Raises LabError for anything else, and for what can't be read.
    """
    path = Path(place)
    is_file = os.path.isfile(path)
    if path.suffix.lower() in TABLES and is_file:
        return open_table(path, picture_column, caption_column)
    if picture_column or caption_column:
        raise LabError(f"“{place}” is no table ({', '.join(TABLES)}): it has no columns to choose.")
    if RANGE.search(str(place)):
        return _range(str(place))
    if path.suffix.lower() == ".tar" and is_file:
        return open_shards(path.parent, [path.name])
    if not os.path.isdir(path):
        raise LabError(
            f"“{place}” is not there, or nothing to train on: give a folder of shards or pictures, "
            f"a .tar file, or a table ({', '.join(TABLES)})."
        )
    shards = sorted(file.name for file in path.glob("*.tar") if file.is_file())
    return open_shards(path, shards) if shards else PictureFolder(path)


def _range(pattern: str) -> Shards:
    """The shards that a pattern such as `shards/{00000..00099}.tar` names, all of them."""
    path = Path(pattern)
    if RANGE.search(str(path.parent)) or len(RANGE.findall(path.name)) != 1:
        raise LabError(f"“{pattern}” should have one range of numbers, in the files' name.")
    return open_shards(path.parent, list(_names(path)))


def _names(path: Path) -> Iterator[str]:
    match = RANGE.search(path.name)
    assert match is not None
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        name = path.name[: match.start()] + f"{number:0{len(first)}}" + path.name[match.end() :]
        if not (path.parent / name).is_file():
            raise LabError(
                f"There is no shard “{path.parent / name}”, which “{path.name}” asks for."
            )
        yield name


class PictureFolder(Source):
    """Pictures below a folder, with their captions.

    Where any picture has a text of its name beside it (`dog.jpg`, `dog.txt`), those are the
    captions, one a line, and pictures without one are left out. Where none has, a picture's caption
    is the name of the folder it lies in; of WordNet ids, ImageNet's name for it.
    """

    def __init__(self, root: Path):
        every = Strings(str(path.relative_to(root)) for path in find_pictures(root))
        captioned = Strings(name for name in every if (root / name).with_suffix(".txt").is_file())
        self.root, self.by_text = root, len(captioned) > 0
        sorted_out = Strings(name for name in every if Path(name).parent != Path())
        self.names = captioned if self.by_text else sorted_out
        if not len(self.names):
            raise LabError(
                f"“{root}” holds neither shards (.tar) nor pictures with captions: put NAME.txt "
                "beside each picture, or pictures into folders that say what they show, or name "
                f"the table ({', '.join(TABLES)}) itself."
            )
        self.shard_sizes = np.array([len(self.names)])
        if left_out := len(every) - len(self.names):
            self.notes = (f"Left out, for want of a caption: {left_out:,} pictures.",)

    def row(self, number: int) -> Row:
        name = self.names[number]
        captions = self._text(name) if self.by_text else [_spoken(Path(name).parent.name)]
        return Row(self.root / name, captions, name)

    def _text(self, name: str) -> list[str]:
        path = (self.root / name).with_suffix(".txt")
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise LabError(f"The caption “{path.name}” can't be read: {error.strerror}.") from error
        return [line.strip() for line in text.splitlines() if line.strip()]


def _spoken(folder: str) -> str:
    """A folder's name as a caption."""
    if WORDNET_ID.fullmatch(folder):
        return imagenet_names().get(folder, folder)
    return folder.replace("_", " ").strip()
