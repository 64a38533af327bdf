"""What comes from outside: pictures, labels and templates, taken in without harm.

Every limit is a sentence that tells what to do (LabError). The tests try each of them.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from apps.cleaning import refusal
from clip_lab.errors import LabError
from clip_lab.preprocess import open_image
from clip_lab.zero_shot import TEMPLATES, fill

MAX_FILE_BYTES, MAX_PIXELS = 10 * 2**20, 16_000_000
MAX_LABELS, MAX_LABEL_LENGTH, MAX_LABELS_LENGTH = 20_000, 300, 400_000
MAX_PICTURES = 16  # of a matrix
MAX_PROMPTS, MAX_PROMPTS_LENGTH = 40_000, 8_000_000
OWN = "your own"  # the choice of template that reads a text box


def picture_box(value: Image.Image | None = None, **options: Any) -> gr.Image:
    """Gradio's picture box, for listeners with `preprocess=False`, which get an `Upload`.

    Left to itself, Gradio opens an upload before any limit is checked; here `read_picture` is the
    only one that does. And it would fetch an address: nothing leaves this machine. (Not a class, as
    for every subclass of a component Gradio writes a .pyi file beside the source.)
    """
    return _of_files(gr.Image(value, type="filepath", **options))


def pictures_box(**options: Any) -> gr.File:
    """Gradio's box for several pictures, for `read_pictures`; as `picture_box` is for one."""
    return _of_files(gr.File(file_count="multiple", file_types=["image"], **options))


def _of_files(box: Any) -> Any:
    keep = box.async_move_resource_to_block_cache

    async def keep_files_only(path: Any) -> str | None:
        if str(path).lower().startswith(("http:", "https:")):
            raise gr.Error("Give the picture as a file, not as an address.", print_exception=False)
        return await keep(path)

    box.async_move_resource_to_block_cache = keep_files_only  # pyright: ignore
    return box


Upload = dict[str, Any]  # Gradio's ImageData: a path in its own upload folder, or a data: url


def read_picture(upload: Upload | None) -> Image.Image:
    """What came through a `picture_box`, as upright RGB."""
    too_big = f"The picture has over {MAX_FILE_BYTES // 2**20} MB. Make it smaller first."
    if not upload or not (upload.get("url") or upload.get("path")):
        raise LabError("Choose a picture: click a sample, upload a file or paste one.")
    url = upload.get("url") or ""
    if not url.startswith("data:"):
        return open_image(_uploaded(upload.get("path") or ""), MAX_PIXELS)
    kind, _, body = url.partition(",")
    if len(body) > MAX_FILE_BYTES * 4 // 3:  # base64 writes three bytes as four characters
        raise LabError(too_big)
    try:
        return open_image(base64.b64decode(body, validate=True), MAX_PIXELS)
    except binascii.Error as error:
        raise LabError(f"The picture's {kind[:40]} address is damaged. Upload a file.") from error


def _uploaded(path: str) -> Path:
    """The path, if it is of a file that was uploaded. Gradio itself looks only at paths that say of
    themselves that they are an upload's."""
    try:
        whole = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
        whole = Path()
    if not path or not whole.is_relative_to(Path(get_upload_folder()).resolve()):
        raise LabError("Give the picture as a file that you upload, not as a path or an address.")
    if whole.is_file() and refusal(whole):
        raise LabError(refusal(whole))
    return whole


def read_pictures(uploads: Sequence[Upload] | None) -> list[Image.Image]:
    """What came through a box for several files, in their order."""
    uploads = uploads or []
    if len(uploads) > MAX_PICTURES:
        raise LabError(f"{len(uploads)} pictures are too many; at most {MAX_PICTURES} are read.")
    return [read_picture(upload) for upload in uploads]


def parse_lines(text: str, most: int) -> tuple[str, ...]:
    """Texts one a line, in their order, empty lines left out."""
    check_together("captions", text or "")
    lines = tuple(line.strip() for line in (text or "").split("\n") if line.strip())
    if not lines:
        raise LabError("Write at least one caption.")
    if len(lines) > most:
        raise LabError(f"{len(lines):,} captions are too many; at most {most} are read.")
    check_each("caption", lines)
    return lines


def check_together(what: str, text: str) -> None:
    """Raises LabError for a text that is too long to be taken apart."""
    if len(text) > MAX_LABELS_LENGTH:
        raise LabError(
            f"The {what} have {len(text):,} characters together; at most {MAX_LABELS_LENGTH:,} "
            "are read. Give fewer or shorter ones."
        )


def check_each(what: str, texts: Sequence[str]) -> None:
    """Raises LabError where one of the texts is too long."""
    longest = max(texts, key=len)
    if len(longest) > MAX_LABEL_LENGTH:
        raise LabError(
            f"The {what} “{longest[:40]}…” has {len(longest):,} characters; at most "
            f"{MAX_LABEL_LENGTH} are read. Shorten it."
        )


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels one a line, or on a single line with commas between; each once, in the order given."""
    text = (text or "").strip()
    check_together("labels", text)
    for comma in "，、":  # Chinese and Japanese
        text = text.replace(comma, ",") if "\n" not in text else text
    pieces = text.split("\n") if "\n" in text else text.split(",")
    labels = tuple(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))
    if not labels:
        raise LabError("Give at least one label: what might be in the picture?")
    if len(labels) > MAX_LABELS:
        raise LabError(f"{len(labels):,} labels are too many; at most {MAX_LABELS:,} are read.")
    check_each("label", labels)
    return labels


def choose_templates(name: str, own: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The set of that name, or the user's own, one a line. Each must hold {} for the label."""
    if name != OWN and name not in TEMPLATES:
        raise LabError(f"There is no set of templates called “{name[:80]}”.")
    check_together("templates", own or "")
    lines = tuple(dict.fromkeys(line.strip() for line in (own or "").split("\n") if line.strip()))
    templates = lines if name == OWN else TEMPLATES[name]
    if not templates:
        raise LabError("Write a template with {} where the label belongs, as in “a drawing of {}”.")
    for template in templates:
        fill(template, "")  # raises LabError where there is no {}
    letters = sum(map(len, labels))
    length = sum(len(labels) * len(t) + t.count("{}") * letters for t in templates)
    if len(labels) * len(templates) > MAX_PROMPTS or length > MAX_PROMPTS_LENGTH:
        raise LabError(
            f"{len(labels):,} labels in {len(templates):,} templates make too many texts to read "
            f"(at most {MAX_PROMPTS:,}). Give fewer labels or one template."
        )
    return templates
