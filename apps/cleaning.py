"""What is kept of an upload: a picture without what was noted in it, or why it was refused.

Gradio keeps an upload as it came and hands it out to whoever knows its address. A photograph from a
telephone says where it was taken; nothing in the lab needs that.
"""

from pathlib import Path
from typing import Any

from PIL import Image

from clip_lab.errors import LabError
from clip_lab.files import write_whole
from clip_lab.preprocess import FORMATS, open_image

REFUSED = b"Refused by CLIP Lab: "  # what stands at the start of the file of a refused upload
ORIENTATION = 274  # the one EXIF tag that changes what is seen
# What Pillow finds in a file that holds a picture and no more; ever so much else can be in one.
PLAIN = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "adobe", "adobe_transform",
         "progressive", "progression", "dpi", "gamma", "interlace", "srgb", "chromaticity",
         "aspect", "transparency", "compression", "version", "background", "duration", "loop",
         "timestamp"}  # fmt: skip
PLAIN_SEGMENTS = {"APP0", "APP14"}  # of a JPEG: JFIF, and Adobe's word on colours


def clean(path: Path, max_pixels: int) -> None:
    """Write an uploaded picture's file anew without notes, if it holds any.

    Of what can't be read, or has too many pixels, the sentence that says so is kept: see `refusal`.
    """
    try:
        upright = open_image(path, max_pixels)
    except LabError as error:
        path.write_bytes(REFUSED + str(error).encode())
        return
    with Image.open(path, formats=FORMATS) as image:
        image.load()  # some notes stand at the end of a file
        if has_notes(image):
            write_whole(path, lambda file: _rewrite(image, upright, file))
            path.chmod(0o600)  # as Gradio keeps an upload: for nobody else on this machine


def refusal(path: Path) -> str:
    """Why an upload was refused; "" where it wasn't."""
    with open(path, "rb") as file:
        refused = file.read(len(REFUSED)) == REFUSED
        return file.read(1000).decode(errors="replace") if refused else ""


def has_notes(image: Image.Image) -> bool:
    """Whether a loaded file held more than a picture. What isn't known to be harmless counts."""
    segments = {name for name, _ in getattr(image, "applist", ())} - PLAIN_SEGMENTS
    private = getattr(image, "private_chunks", ())  # of a PNG
    unread = image.format in ("TIFF", "MPO")  # tags, and further pictures with notes of their own
    return bool(unread or segments or private or set(image.info) - PLAIN)


def _rewrite(image: Image.Image, upright: Image.Image, file: Path) -> None:
    if image.format == "JPEG":  # by the file's own tables, so that hardly a pixel changes
        turned, exif = image.getexif().get(ORIENTATION, 1), Image.Exif()
        if turned != 1:
            exif[ORIENTATION] = turned
        image.save(file, "JPEG", quality="keep", exif=exif, comment=b"")
        return
    kind: Any = {"format": "PNG", "compress_level": 1}
    if image.format in ("WEBP", "AVIF", "MPO"):  # a photograph would make a PNG of 20 MB
        kind = {"format": "WEBP", "quality": 95}
    upright.info.clear()  # Pillow would write a colour profile again
    upright.save(file, **kind)
