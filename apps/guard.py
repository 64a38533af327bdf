"""What is refused before Gradio sees it: other sites, outside addresses, bodies without measure.

Gradio limits a file, but parses a JSON body of any size and depth, takes a thousand files at once,
fetches an outside address for whoever asks (`/file=http://…`), and answers whatever name a request
calls it by. This is an ASGI middleware: it stands between the server and Gradio.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.cleaning import clean
from apps.folders import names_this_machine
from apps.inputs import MAX_FILE_BYTES, MAX_PIXELS

MEGABYTE = 2**20
MAX_BODY = 16 * MEGABYTE  # a picture of 10 MB as a data: address takes 14
MAX_UPLOAD = 64 * MEGABYTE  # of all files of one upload
MAX_QUOTES, MAX_SYNTAX, MAX_DEPTH = 200_000, 100_000, 32
READ_ON = 4  # times the limit: a browser shows no answer that comes while it is still sending

UPLOAD = "/gradio_api/upload"
# Of Gradio's addresses, those that the lab has no use for: one starts a program for videos, one
# writes files, one asks other servers.
UNUSED = ("/gradio_api/process_recording", "/gradio_api/deep_link", "/gradio_api/proxy=")

# A JSON string; what isn't closed goes on to the end. Possessive (*+): never tried twice.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
ALIKE = bytes.maketrans(b"{}", b"[]")

ELSEWHERE = (
    "This page answers its own machine's browser alone, at 127.0.0.1 or localhost. "
    "Open it there, or start it for others: clip-lab app --host 0.0.0.0, or --public by a proxy."
)
TOO_LARGE = f"This request is over {MAX_BODY // MEGABYTE} MB. Send fewer or smaller things at once."
TOO_MANY_FILES = (
    f"These files have over {MAX_UPLOAD // MEGABYTE} MB together, the maximum allowed size. "
    f"Upload fewer at a time, each of at most {MAX_FILE_BYTES // MEGABYTE} MB."
)
TANGLED = "This request is nested too deeply, has too many parts, or is no JSON. Make it simpler."


class Guard:
    """`app` behind these checks. `own`: it is for this machine's own browser alone."""

    def __init__(self, app: ASGIApp, own: bool):
        self.app, self.own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self.refusal(scope["path"], headers)
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)
        elif scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif scope["path"].rstrip("/") == UPLOAD:
            await self._upload(scope, receive, send, headers)
        else:
            await self._post(scope, receive, send, headers)

    def refusal(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for what isn't even read; None for what may go on."""
        if self.own and not names_this_machine(headers):  # another site, or DNS rebinding
            return 403, ELSEWHERE
        if "://" in path:
            return 403, "Outside addresses are not fetched here."
        if path.startswith(UNUSED):
            return 404, "There is nothing here."
        return None

    async def _post(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        """Hand on the body once it is known to be small and simple enough to parse."""
        body = await read(receive, MAX_BODY)
        if body is None:
            refused = JSONResponse({"detail": TOO_LARGE}, 413, {"Connection": "close"})
        elif is_tangled(body):
            refused = JSONResponse({"detail": TANGLED}, 400)
        else:
            await self.app(scope, again(body, receive), send)
            return
        await refused(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        """Count what comes in, and clean what was taken before its address is told."""
        if _declared(headers) > MAX_UPLOAD:
            await read(receive, 0, READ_ON * MAX_UPLOAD)
            await PlainTextResponse(TOO_MANY_FILES, 413)(scope, receive, send)
            return
        await self.app(scope, counted(receive), partial(cleaned, send, []))


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


async def read(receive: Receive, most: int, read_on: int = READ_ON * MAX_BODY) -> bytes | None:
    """The whole body; None where it is longer than `most`, of which nothing is kept."""
    parts, length = [], 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        parts = [*parts, message.get("body", b"")] if length <= most else []
        if not message.get("more_body") or length > read_on:
            return b"".join(parts) if length <= most else None


def again(body: bytes, receive: Receive) -> Receive:
    """`receive` for a body that has been read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


def counted(receive: Receive) -> Receive:
    """`receive` that ends an upload over the limit, as Gradio itself ends one of a file too big."""
    length = 0

    async def receive_and_count() -> Message:
        nonlocal length
        message = await receive()
        length += len(message.get("body", b""))
        if length > MAX_UPLOAD:
            raise MultiPartException(TOO_MANY_FILES)
        return message

    return receive_and_count


async def cleaned(send: Send, held: list[Message], message: Message) -> None:
    """Hold back the answer to an upload, a list of paths, until the files are cleaned."""
    held.append(message)
    if message["type"] == "http.response.start" or message.get("more_body"):
        return
    if held[0]["status"] == 200:
        paths: Any = json.loads(b"".join(part.get("body", b"") for part in held))
        await anyio.to_thread.run_sync(lambda: [clean(Path(path), MAX_PIXELS) for path in paths])
    for part in held:
        await send(part)


def is_tangled(body: bytes) -> bool:
    """Whether JSON would take far more room than its text, or can't be JSON.

    Without its strings, what a page sends is a few hundred characters: brackets, commas, numbers.
    Each pass over the brackets takes the innermost level off. No NUL: not UTF-16, where an ASCII
    byte can be half of something else.
    """
    if b"\0" in body or body.count(b'"') > MAX_QUOTES:
        return True
    syntax = STRING.sub(b"", body)
    if len(syntax) > MAX_SYNTAX:
        return True
    brackets = syntax.translate(ALIKE, NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
