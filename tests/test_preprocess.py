"""Every odd picture that people bring: the right pixels, or a sentence that says what is wrong."""

import io
import itertools
import json
import struct
import zlib
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_lab.errors import LabError
from clip_lab.preprocess import Preprocess, open_image
from clip_lab.pretrained.preprocess_files import DEFAULTS, to_huggingface

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


# -- equal to the packages that models were trained with ------------------------------------------

SIZES = [(640, 480), (1, 1), (1, 7), (500, 1), (3000, 20), (37, 211), (32, 35), (35, 32), (39, 32)]
WAYS = list(itertools.product(("bicubic", "bilinear"), ("crop", "squash")))
picture_sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def image_processors(values: dict) -> list:
    """transformers' three image processors, on Pillow's pictures and on torchvision's tensors."""
    import transformers

    names = [name + end for name in DEFAULTS for end in ("Pil", "")]
    return [getattr(transformers, name).from_dict(dict(values)) for name in names]


@settings(max_examples=80, deadline=None)
@given(picture_sizes, st.integers(1, 40), st.sampled_from(WAYS), st.integers(0, 255))
def test_a_picture_of_one_colour_stays_so_at_any_size(size, side, way, grey):
    preprocess = Preprocess(side, interpolation=way[0], resize=way[1])
    pixels = preprocess(Image.new("RGB", size, (grey, grey, grey)))
    assert pixels.shape == (3, side, side)
    colour = torch.tensor(grey, dtype=torch.float32) / 255
    expected = (colour - torch.tensor(preprocess.mean)) / torch.tensor(preprocess.std)
    assert torch.equal(pixels, expected[:, None, None].expand_as(pixels))


@pytest.mark.peers
@pytest.mark.parametrize(("interpolation", "resize"), WAYS)
def test_bit_for_bit_torchvision_s(peers, interpolation, resize):
    from torchvision import transforms

    mode = transforms.InterpolationMode(interpolation)

    @settings(max_examples=60, deadline=None, database=None)
    @given(picture_sizes, st.integers(1, 40), st.integers(0, 9))
    def equal(size, side, seed):
        ours = Preprocess(side, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation, resize)
        scaled = side if resize == "crop" else (side, side)
        theirs = transforms.Compose(
            [
                transforms.Resize(scaled, mode),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize(ours.mean, ours.std),
            ]
        )
        image = noise(*size, seed)
        assert torch.equal(ours(image), theirs(image))

    equal()


@pytest.mark.peers
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("interpolation", "resize"), WAYS)
def test_bit_for_bit_open_clip_s(peers, size, interpolation, resize):
    mode = {"crop": "shortest", "squash": "squash"}[resize]
    theirs = peers.open_clip.image_transform(
        32, is_train=False, interpolation=interpolation, resize_mode=mode
    )
    ours = Preprocess(32, interpolation=interpolation, resize=resize)
    assert torch.equal(ours(noise(*size)), theirs(noise(*size)))


@pytest.mark.peers
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("interpolation", "resize"), WAYS)
def test_bit_for_bit_transformers_on_pillow_pictures(peers, size, interpolation, resize):
    # Its processors for torchvision's tensors round colours once more: by one step, seldom.
    ours = Preprocess(32, interpolation=interpolation, resize=resize, rounding="down")
    step = 1 / 255 / min(ours.std)
    for theirs in image_processors(to_huggingface(ours)):
        pixels = theirs(noise(*size), return_tensors="pt")["pixel_values"][0]
        if type(theirs).__name__.endswith("Pil"):
            assert torch.equal(ours(noise(*size)), pixels), theirs
        else:
            assert (ours(noise(*size)) - pixels).abs().max() < 1.01 * step, theirs


@pytest.mark.peers
def test_half_a_pixel_goes_the_owner_s_way(peers):
    image = noise(35, 32)  # a margin of 3 pixels: torchvision starts at 2, transformers at 1
    even, down = (Preprocess(32, rounding=rounding)(image) for rounding in ("even", "down"))
    assert not torch.equal(even, down)
    assert torch.equal(even, peers.open_clip.image_transform(32, is_train=False)(image))
    plain = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    assert torch.equal(down, Preprocess(32).normalize(plain)[0, :, :, 1:33])


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["L", "P", "LA", "PA", "RGBA", "CMYK", "1"])
def test_pictures_in_other_modes_become_rgb_first(peers, mode):
    # On white where transparent, as in transformers. torchvision's recipe resizes in the picture's
    # own mode and only then makes it RGB; for grey that is the same.
    image = noise(50, 41).convert(mode)
    if "A" in mode:
        image.putalpha(noise(50, 41, seed=1).convert("L"))
    ours = Preprocess(32, rounding="down")
    (theirs, *_) = image_processors(to_huggingface(ours))
    assert torch.equal(ours(image), theirs(image, return_tensors="pt")["pixel_values"][0])
    if mode == "L":
        even = peers.open_clip.image_transform(32, is_train=False)
        assert torch.equal(Preprocess(32)(image), even(image))


def test_a_strip_that_would_fill_the_memory_is_refused():
    for size in ((1, 60_000), (60_000, 1)):
        with pytest.raises(LabError, match="too long and thin"):
            Preprocess(224)(Image.new("RGB", size))
    with pytest.raises(LabError, match="too long and thin"):
        Preprocess(224, resize="squash")(Image.new("RGB", (1, 1_000_000)))
    assert Preprocess(224, resize="squash")(Image.new("RGB", (1_000_000, 1))).shape[1] == 224


@pytest.mark.parametrize(
    "wrong",
    [
        {"interpolation": "nearest"},
        {"resize": "longest"},
        {"rounding": "up"},
        {"size": 0},
        {"std": (1.0, 0.0, 1.0)},
    ],
    ids=str,
)
def test_a_preprocessing_that_can_t_be_is_refused(wrong):
    with pytest.raises(LabError, match="Preprocessing"):
        Preprocess(**{"size": 32, **wrong})


def test_a_config_file_keeps_every_field():
    preprocess = Preprocess(32, (0.5, 0.5, 0.5), (0.1, 0.2, 0.3), "bilinear", "squash", "down")
    values = json.loads(json.dumps(asdict(preprocess)))
    assert Preprocess(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}) == (
        preprocess
    )
