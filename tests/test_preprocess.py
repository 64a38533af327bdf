"""Every odd picture that people bring: the right pixels, or a sentence that says what is wrong."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from clip_lab.errors import LabError
from clip_lab.preprocess import Preprocess, open_image

RED = (200, 30, 40)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def bomb(side: int = 13_000) -> bytes:
    """A PNG of some 20 KB that decodes to 169 megapixels of black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_a_path_bytes_a_pil_image_an_array_and_a_tensor_give_the_same_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), encoded(image, "PNG"), image, pixels]
    sources += [pixels / 255, tensor, tensor.float() / 255]
    for source in sources:
        assert np.array_equal(np.asarray(open_image(source)), pixels)


def test_cmyk_16_bit_palette_and_grey():
    assert open_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).mode == "RGB"
    grey16 = Image.fromarray(np.full((8, 8), 32768, dtype=np.uint16))
    assert abs(open_image(encoded(grey16, "PNG")).getpixel((3, 3))[0] - 128) <= 1
    grey = Image.new("L", (8, 8), 77)
    assert open_image(encoded(grey, "PNG")).getpixel((0, 0)) == (77, 77, 77)
    palette = Image.new("RGB", (8, 8), RED).quantize(4)
    assert open_image(encoded(palette, "PNG")).getpixel((0, 0)) == RED


def test_transparent_becomes_white():
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half.putpixel((1, 1), (*RED, 255))
    picture = open_image(encoded(half, "PNG"))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((1, 1)) == RED


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 0, 255))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.allclose(open_image(data).getpixel((2, 2)), RED, atol=3)


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (16, 8), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    assert open_image(encoded(image, "JPEG", exif=exif)).size == (8, 16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"hello", "not a picture"),
        (bomb(), "megapixels"),
    ],
    ids=["empty", "svg", "text", "bomb"],
)
def test_bad_files_are_refused_in_a_sentence(data, message):
    assert len(data) < 50_000
    with pytest.raises(LabError, match=message):
        open_image(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_file_cut_short_is_called_damaged(format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(LabError, match=r"damaged|not a picture"):
        open_image(data[: len(data) // 2])


def test_missing_files_folders_and_odd_arrays_are_refused(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(LabError, match="can't be opened"):
            open_image(path)
    with pytest.raises(LabError, match="no picture"):
        open_image(np.zeros((4, 4, 7)))


@pytest.mark.parametrize("size", [(640, 480), (37, 211), (224, 224), (100, 30), (15, 14)])
def test_equal_to_torchvision_s_steps_on_a_pil_image(size):
    # Resize(short side, bicubic), CenterCrop, ToTensor, Normalize, written out.
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    width, height = size
    n = 32
    scaled = (n, int(n * height / width)) if width <= height else (int(n * width / height), n)
    resized = image.resize(scaled, Image.Resampling.BICUBIC)
    left, top = round((scaled[0] - n) / 2.0), round((scaled[1] - n) / 2.0)
    pixels = np.asarray(resized.crop((left, top, left + n, top + n)), dtype=np.float32) / 255
    preprocess = Preprocess(n)
    expected = (pixels - np.float32(preprocess.mean)) / np.float32(preprocess.std)
    assert np.allclose(preprocess(image).permute(1, 2, 0).numpy(), expected, atol=1e-6)
