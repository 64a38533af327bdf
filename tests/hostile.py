"""For the security tests: what a hostile client sends, by urllib alone, and what it gets."""

import base64
import io
import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_server import served, tiny_encoder
from PIL import Image

from clip_lab.map_collections import CONTENTS, Content, emoji_content

META = {"_type": "gradio.FileData"}
CANARY = b"CANARY-48N11E"  # stands for the place, in whatever field of a file

WORDS = ["cat\ndog", False, "bare name", "", "tiny", ""]
FIELDS = ["", "", "", None, None, None, None]  # the Search tab's filters, all open
# Every way into the app for a picture -> what is sent with it. Limits and Training take none.
ONE = {
    "classify": lambda picture: [picture, *WORDS],
    "templates": lambda picture: [picture, *WORDS],
    "where": lambda picture: [picture, *WORDS, "raw similarity"],
    "inside": lambda picture: ["tiny", "", picture, "cat", 1],
}
SEVERAL = {
    "matrix": lambda *pictures: ["tiny", "", "0", list(pictures), "cat\ndog"],
    "map": lambda *pictures: ["tiny", "", "gap", 2, 0, list(pictures), "", "group"],
    "near": lambda *pictures: ["own 0", "tiny", "", "gap", 2, 0, list(pictures), ""],
}
QUERY = "uploaded"  # the Search tab's box, which has no public name
WAYS = [*ONE, *SEVERAL, QUERY]


class Hostile:
    """A client of one page."""

    def __init__(self, address: str):
        self.address = address

    def send(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Status and text of a GET, or of a POST where there is a body."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Content-Type": "application/json"} | headers
        request = urllib.request.Request(self.address + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")

    def call(self, name: str, data: list[Any]) -> Any:
        """An endpoint's outputs; None where the call failed."""
        status, text = self.send(f"gradio_api/call/{name}", json.dumps({"data": data}).encode())
        assert status == 200, text[:300]
        url = f"gradio_api/call/{name}/{json.loads(text)['event_id']}"
        kind, told = self.send(url)[1].strip().split("\n")[-2:]
        assert "Traceback" not in told
        return json.loads(told.removeprefix("data: ")) if kind == "event: complete" else None

    def listener(self, name: str, data: list[Any]) -> Any:
        """The outputs of a listener that has no public name, as the page calls it."""
        config = json.loads(self.send("config")[1])
        number = next(one["id"] for one in config["dependencies"] if one["api_name"] == name)
        session = secrets.token_hex(8)
        body = {"data": data, "fn_index": number, "session_hash": session}
        status, text = self.send("gradio_api/queue/join", json.dumps(body).encode())
        assert status == 200, text[:300]
        events = self.send(f"gradio_api/queue/data?session_hash={session}")[1]
        done = next(line for line in events.split("\n") if '"process_completed"' in line)
        return json.loads(done.removeprefix("data: "))["output"].get("data")

    def upload(self, *files: bytes, name: str = "it.png") -> Any:
        """The paths that the page is given for these files; the status where it is refused."""
        edge = secrets.token_hex(16)
        head = (
            f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        )
        body = (
            b"".join(head.encode() + file + b"\r\n" for file in files) + f"--{edge}--\r\n".encode()
        )
        kind = f"multipart/form-data; boundary={edge}"
        status, text = self.send("gradio_api/upload", body, Content_Type=kind)
        return json.loads(text) if status == 200 else (status, text)

    def file(self, content: bytes, name: str = "it.png") -> dict[str, Any]:
        """What the page sends of a file that it has uploaded."""
        return {"path": self.upload(content, name=name)[0], "orig_name": name, "meta": META}


@contextmanager
def hostile_to(folder: Path) -> Iterator[Hostile]:
    """A client of the whole dashboard, which keeps uploads in `folder`; its map has four emoji."""
    whole = emoji_content()
    rows = [row + kind * whole.pictures for kind in range(3) for row in range(4)]
    columns = {key: tuple(values[row] for row in rows) for key, values in whole.columns.items()}
    names = tuple(whole.names[row] for row in rows)
    few = Content("emoji", names, columns, np.arange(4) + 4, whole.draw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setitem(CONTENTS, "emoji", lambda: few)
        with served(tiny_encoder()) as address:
            yield Hostile(address)


def told(client: Hostile, way: str, picture: Any) -> Any:
    """The answer to a picture, by one of the ways in."""
    if way == QUERY:
        return client.listener(QUERY, ["", picture])
    return client.call(way, (ONE.get(way) or SEVERAL[way])(picture))


def sentence(answer: Any, way: str) -> str:
    """What a refusal says; "" for an answer that is none."""
    if way == QUERY:
        return str(answer[2].get("value", ""))
    return str((answer[0] or {}).get("error", ""))


def data_address(content: bytes, kind: str = "image/png") -> dict[str, Any]:
    """What a box for one picture takes as well: the file itself."""
    return {"url": f"data:{kind};base64,{base64.b64encode(content).decode()}", "meta": META}


def noise(width: int = 64, height: int = 48) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def written(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def placed(kind: str) -> bytes:
    """A picture with its place in each field that its kind of file has."""
    exif = Image.Exif()
    exif[0x010E] = CANARY.decode()
    exif[0x0112] = 6  # lies on its side
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 11.0, 0.0), 0x1B: b"ASCII\0\0\0" + CANARY})
    fields: dict[str, Any] = {"exif": exif, "xmp": CANARY, "comment": CANARY, "icc_profile": CANARY}
    if kind == "GIF":
        fields = {"comment": CANARY}
    if kind == "TIFF":
        fields = {"exif": exif, "description": CANARY.decode()}
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        fields["pnginfo"] = PngInfo()
        fields["pnginfo"].add_text("Location", CANARY.decode())
        fields["pnginfo"].add(b"plCe", CANARY)
    return written(noise(), kind, **fields)


def pictures_in(answer: Any) -> list[bytes]:
    """Every picture that an answer holds as a data: address."""
    found = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", json.dumps(answer))
    return [base64.b64decode(one) for one in found]
