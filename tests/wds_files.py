"""Small data sets in CLIP_benchmark's WebDataset layout, for tests; and where the real one lies."""

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# Real data lies outside the repository: CIFAR-10's pictures aren't ours to pass on.
DATA = Path(os.environ.get("CLIP_LAB_DATA", Path(__file__).parents[2] / "shared" / "data"))
COLOURS = {"red": (220, 30, 30), "green": (20, 170, 40), "blue": (30, 40, 210), "grey": (90,) * 3}
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def picture(seed: int, colour: tuple[int, ...] = (128, 128, 128), form: str = "JPEG") -> bytes:
    """A file: noise around a colour, with a patch of another."""
    draw = np.random.default_rng(seed)
    pixels = np.clip(draw.normal(colour, 40, (32, 40, 3)), 0, 255).astype(np.uint8)
    pixels[8:20, 4 : 6 + seed % 29] = draw.integers(0, 256, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_classes(
    root: Path,
    samples: Sequence[tuple[bytes, int]],
    classes: Sequence[str],
    templates: Sequence[str] = ("a photo of a {c}.",),
    shards: int = 1,
) -> Path:
    """A set to classify, its samples dealt out to the shards one after the other."""
    size = -(-len(samples) // shards)
    for shard in range(shards):
        files = []
        for i, (image, target) in enumerate(samples[shard * size : (shard + 1) * size]):
            key = f"s{shard * size + i:07d}"
            files += [(f"{key}.cls", str(target).encode()), (f"{key}.jpg", image)]
        write_tar(root / f"test/{shard}.tar", files)
    (root / "test/nshards.txt").write_text(f"{shards}\n")
    (root / "classnames.txt").write_text("".join(f"{name}\n" for name in classes))
    lines = "".join(f"{template}\n" for template in templates)
    (root / "zeroshot_classification_templates.txt").write_text(lines)
    return root


def write_captions(root: Path, samples: Sequence[tuple[bytes, Sequence[str]]]) -> Path:
    """A set for retrieval."""
    files = []
    for i, (image, captions) in enumerate(samples):
        files += [(f"s{i:07d}.jpg", image), (f"s{i:07d}.txt", "\n".join(captions).encode())]
    write_tar(root / "test/0.tar", files)
    (root / "test/nshards.txt").write_text("1\n")
    (root / "dataset_type.txt").write_text("retrieval\n")
    return root


def cifar10(folder: Path) -> Path:
    """2,000 photographs where they are at hand, else 200 made-up pictures under the same names."""
    if (DATA / "wds_cifar10").is_dir():
        return DATA / "wds_cifar10"
    samples = [(picture(i, (i % 7 * 40, i % 5 * 60, i % 11 * 25)), i % 10) for i in range(200)]
    templates = [f"a {kind}photo of {a} {{c}}." for kind in ("", "bad ") for a in ("a", "the")]
    return write_classes(folder / "made_up", samples, CIFAR10, templates)
