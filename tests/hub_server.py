"""A small stand-in for the Hugging Face hub: the endpoints that huggingface_hub asks, on localhost.

Tests set its repositories, and faults: refusals, and transfers that break off.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    commit: str = "a" * 40


@dataclass
class Hub:
    """`requests`: (method, file, Range) of every request for a file, in order."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)  # bytes to send of a file, each time
    status: int | None = None  # answer everything with this
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(_Handler):
            served = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return self

    def __exit__(self, *_error) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fetched(self) -> list[str]:
        """The files whose bytes were asked for."""
        return [name for method, name, _ in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    served: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.served.status:
            return self._answer(self.served.status, b"")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            return self._describe(*match.groups())
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._send_file(*match.groups())
        return self._answer(404, b"")

    do_HEAD = do_GET

    def _repository(self, name: str, revision: str | None) -> Repository | None:
        """Answers by itself, as the hub does, where there is nothing to give."""
        repository = self.served.repositories.get(name)
        if repository is None or repository.private:
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        if revision not in (None, "main", repository.commit):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository

    def _describe(self, name: str, kind: str | None, revision: str | None) -> None:
        if repository := self._repository(name, revision):
            files = repository.files.items()
            if kind == "tree":
                answer = [_entry(path, data) for path, data in files]
            else:
                siblings = [{"rfilename": path} for path, _ in files]
                answer = {"id": name, "sha": repository.commit, "siblings": siblings}
            self._answer(200, json.dumps(answer).encode())

    def _send_file(self, name: str, revision: str, path: str) -> None:
        wanted = self.headers.get("Range")
        self.served.requests.append((self.command, path, wanted))
        if repository := self._repository(name, revision):
            if repository.gated:
                return self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
            data = repository.files[path]
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            headers = {
                "ETag": f'"{_etag(data)}"',
                "X-Repo-Commit": repository.commit,
                "Accept-Ranges": "bytes",
                "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}",
            }
            cuts = self.served.cuts.get(path, []) if self.command == "GET" else []
            self._answer(
                206 if wanted else 200, data[first:], headers, cuts.pop(0) if cuts else None
            )

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, *_args) -> None:
        pass


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _entry(path: str, data: bytes) -> dict:
    return {"type": "file", "path": path, "size": len(data), "oid": _etag(data)}
