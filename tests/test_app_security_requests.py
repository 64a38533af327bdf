"""Which requests are answered at all: of what size and shape, from whom, for which paths.

What is done with pictures and words, and a table of all items: test_app_security.py.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")

from chromium import CHROMIUM, MISSING, QUIET
from hostile import (
    FIELDS,
    META,
    SEVERAL,
    WAYS,
    WORDS,
    Hostile,
    hostile_to,
    noise,
    sentence,
    told,
    written,
)

from apps import classify, inputs, theme
from apps.guard import MAX_BODY, MAX_DEPTH, is_tangled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where uploads are kept."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Hostile]:
    with hostile_to(folder) as client:
        yield client


def classified(client: Hostile) -> bool:
    """Whether a person's request is answered."""
    return bool(client.call("classify", [client.file(written(noise())), *WORDS])[0]["labels"])


DOORS = ["call/classify", "queue/join", "run/classify", "component_server"]  # of JSON


# -- sizes and floods -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["call/classify", "queue/join", "run/classify", "component_server"]
)
def test_json_over_the_limit_is_refused_before_it_is_parsed(
    client: Hostile, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("starlette.requests.Request.json", refuse)
    body = b'{"data": ["' + b"a" * MAX_BODY + b'"]}'
    for kind in ("application/json", "text/plain"):
        status, text = client.send(f"gradio_api/{path}", body, Content_Type=kind)
        assert status == 413 and "over 16 MB" in json.loads(text)["detail"]


def test_a_body_of_unknown_length_is_counted(client: Hostile) -> None:
    """Sent in chunks, it names no length that could be believed or not."""
    server = urlsplit(client.address)
    field = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n'
    for path, kind, megabytes in (
        ("call/classify", "application/json", 17),
        ("upload", "multipart/form-data; boundary=x", 64),
    ):
        line = http.client.HTTPConnection(server.hostname or "", server.port, timeout=60)
        head = {"Transfer-Encoding": "chunked", "Content-Type": kind}
        chunks = iter([field, *[bytes(2**20)] * megabytes])
        line.request("POST", f"/gradio_api/{path}", chunks, head, encode_chunked=True)
        assert line.getresponse().status == 413
        line.close()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10**6,
        b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"data": [' + b"[]," * 10**6 + b"1]}",
        b'{"data": [' + b'"",' * 10**6 + b"1]}",
        b'{"data": [' + b"1," * 10**6 + b"1]}",
        b'{"data": ["' + b'\\"' * 10**5,
        '{"data": [[[1]]]}'.encode("utf-16"),
    ],
    ids=["open", "deep", "deep objects", "lists", "texts", "numbers", "never closed", "UTF-16"],
)
def test_absurd_json_is_refused_before_it_is_parsed(client: Hostile, body: bytes) -> None:
    for path in ("call/classify", "queue/join", "component_server"):
        status, text = client.send(f"gradio_api/{path}", body)
        assert status == 400 and "Make it simpler" in json.loads(text)["detail"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_whatever_a_page_could_send_is_not_absurd(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert not is_tangled(text.encode("utf-8", "surrogatepass"))


@given(st.integers(1, 80), st.text('ab\\"[]{}', max_size=9))
def test_depth_is_counted_outside_texts(depth: int, text: str) -> None:
    value: object = text
    for level in range(depth):
        value = [value, text] if level % 2 else {text: value}
    assert is_tangled(json.dumps(value).encode()) == (depth > MAX_DEPTH)


def test_a_flood_of_jobs_leaves_the_page_answering(
    client: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(client.send("config")[1])
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "classify")
    data, gate = [client.file(written(noise())), *WORDS], threading.Event()
    monkeypatch.setattr(  # the model is busy until the gate opens
        classify, "read_picture", lambda upload: gate.wait(300) and inputs.read_picture(upload)
    )
    statuses = []
    for session in range(100):
        body = {"data": data, "fn_index": number, "session_hash": f"flood {session}"}
        statuses.append(client.send("gradio_api/queue/join", json.dumps(body).encode())[0])
    assert 60 <= statuses.count(200) <= 70 and statuses[-1] == 503
    assert client.send("")[0] == client.send("config")[0] == 200  # the page still opens
    gate.set()
    for _ in range(600):
        if json.loads(client.send("gradio_api/queue/status")[1])["queue_size"] == 0:
            break
        time.sleep(0.05)
    assert classified(client)


def test_what_visitors_sent_is_kept_of_a_hundred_at_most(client: Hostile) -> None:
    assert theme.launch_options()["state_session_capacity"] <= 100


# -- whose request it is --------------------------------------------------------------------------

JOIN = b'{"data": [], "fn_index": 0, "session_hash": "x"}'


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # DNS rebinding: a site points its own name here
        {"Host": "evil.example:7860", "Origin": "http://evil.example:7860"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},  # a page elsewhere that posts to this one
        {"Origin": "null"},  # a file, or a page in a sandbox
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},  # asks nobody beforehand
        {"Host": ""},
    ],
)
def test_other_sites_are_refused_all_they_ask(client: Hostile, headers: dict[str, str]) -> None:
    asked = [("", None), ("config", None), ("gradio_api/queue/join", JOIN)]
    asked += [("gradio_api/upload", b"x"), ("gradio_api/call/train", b'{"data": [1]}')]
    for path, body in asked:
        status, text = client.send(path, body, **headers)
        assert status == 403 and "own machine" in text


def test_this_machine_s_own_names_are_answered(client: Hostile) -> None:
    for name in ("127.0.0.1:7860", "localhost", "[::1]:7860"):
        assert client.send("config", Host=name, Origin=f"http://{name}")[0] == 200


def test_a_page_for_others_answers_by_any_name(client: Hostile) -> None:
    """It has a name that the lab can't know; and no one's own machine stands behind it."""
    for own in (True, False):
        middleware = theme.launch_options(own)["app_kwargs"]["middleware"]
        assert [one.kwargs for one in middleware] == [{"own": own}]


class Evil(BaseHTTPRequestHandler):
    """A page elsewhere that asks the dashboard to train a model, three ways."""

    dashboard = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        body = json.dumps(json.dumps({"data": [1]}))
        self.wfile.write(
            f"""<script>
            const ask = (options) => fetch("{self.dashboard}gradio_api/call/train",
                {{method: "POST", body: {body}, ...options}}).then(a => a.text(), () => "refused");
            window.answers = Promise.all([ask({{mode: "no-cors"}}), ask({{}}),
                ask({{headers: {{"Content-Type": "application/json"}}}})]);
            </script>""".encode()
        )

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def elsewhere(dashboard: str) -> Iterator[int]:
    """The port of that page."""
    handler = type("Handler", (Evil,), {"dashboard": dashboard})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING)
def test_in_a_real_browser_no_other_page_reaches_this_one(
    client: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (extra 'dev')")
    asked: list[object] = []
    monkeypatch.setattr("apps.training.train_live", lambda *args: asked.append(args))
    args = [*QUIET, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with playwright.sync_playwright() as player, elsewhere(client.address) as port:
        browser = player.chromium.launch(executable_path=str(CHROMIUM), args=args)
        page = browser.new_page()
        page.goto(f"http://evil.example:{port}/")
        assert page.evaluate("window.answers") == ["", "refused", "refused"]
        rebound = page.goto(client.address.replace("127.0.0.1", "evil.example"))
        assert rebound is not None and rebound.status == 403
        browser.close()
    assert not asked and classified(client)


def test_the_page_is_bound_to_this_machine_alone(client: Hostile) -> None:
    port = urlsplit(client.address).port
    assert client.address == f"http://127.0.0.1:{port}/"
    with pytest.raises(OSError):  # what listens on every address listens on this one as well
        socket.create_connection(("127.0.0.2", port), timeout=2).close()


# -- paths ----------------------------------------------------------------------------------------

LAB = Path(inputs.__file__).parents[1]
OUTSIDE = ["/etc/passwd", "../../../../../../etc/passwd", f"{LAB}/pyproject.toml", "pyproject.toml",
           "apps/inputs.py", "~/.bashrc", "file:///etc/passwd", "/proc/self/environ"]  # fmt: skip
SPELLINGS = ["gradio_api/file={}", "gradio_api/file/{}", "static/{}", "assets/{}", "svelte/{}",
             "gradio_api/proxy={}", "gradio_api/custom_component/x/client/y/{}"]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_address_hands_out_a_file_of_this_machine(client: Hostile, path: str) -> None:
    for spelling in SPELLINGS:
        for written_as in (path, path.replace("/", "%2F"), path.replace("..", "%2e%2e")):
            status, text = client.send(spelling.format(written_as))
            assert status >= 400, (spelling, written_as)
            assert "root:" not in text and "[project]" not in text and "LabError" not in text


@pytest.mark.parametrize("way", WAYS)
def test_no_picture_of_this_machine_is_read_as_if_it_were_an_upload(
    client: Hostile, folder: Path, tmp_path: Path, way: str
) -> None:
    secret = tmp_path / "secret.png"
    noise().save(secret)
    (folder / "link.png").symlink_to(secret)
    climbing = f"{folder}/../{tmp_path.name}/secret.png"
    for path in (str(secret), climbing, str(folder / "link.png"), f"file://{secret}", "a\0b"):
        for meta in ({"meta": META}, {"meta": {}}, {}):
            answer = told(client, way, {"path": path, **meta})
            assert answer is None or "file that you upload" in sentence(answer, way), (path, meta)
    (folder / "link.png").unlink()


@pytest.mark.parametrize("way", WAYS)
def test_no_address_is_asked_by_the_server(client: Hostile, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.1)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/cat.png"
        for fields in ({"path": url, "url": url}, {"url": url}, {"path": url.upper()}):
            for meta in ({"meta": META}, {}):
                answer = told(client, way, {**fields, **meta})
                assert answer is None or sentence(answer, way)
        for path in (f"gradio_api/file={url}", f"gradio_api/proxy={url}"):
            assert client.send(path)[0] == 403
        with pytest.raises(TimeoutError):
            trap.accept()


def test_outside_addresses_are_not_even_looked_up(
    client: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public host: Gradio would fetch it, and hand it out under the page's own name."""
    import safehttpx

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(safehttpx, "async_validate_url", refuse)
    for url in ("http://example.com/x.png", "https://huggingface.co/x", "HTTP://example.com"):
        assert client.send(f"gradio_api/file={url}")[0] == 403
        upload = {"path": url, "meta": META}
        assert client.call("matrix", SEVERAL["matrix"](upload)) is None
        assert client.call("map", SEVERAL["map"](upload)) is None


def test_models_collections_and_folders_are_no_paths(client: Hostile) -> None:
    picture = client.file(written(noise()))
    for name in ("/etc", "../../secret", "hf-hub:someone/model", "someone/model", "~", "", "x\0"):
        answer = client.call("classify", [picture, *WORDS[:4], name, ""])
        assert "offers no model" in answer[0]["error"]
    for name in ("/etc", "folder:/etc", "folder:..", "emoji-../../x", "folder:"):
        answer = client.call("search", ["tiny", "", "a", name, "/etc", 4, False, *FIELDS])
        assert answer[0]["error"].startswith(
            ("There is no collection", "This page reads no folders")
        )
    config = json.loads(client.send("config")[1])
    names = {one["api_name"] for one in config["dependencies"]}
    assert not names & {"index", "remove_index"}


def test_the_panels_functions_are_the_only_ones_a_client_can_name(client: Hostile) -> None:
    config = json.loads(client.send("config")[1])
    offered = {fn for one in config["components"] for fn in one["props"].get("server_fns", ())}
    assert offered == {"content_value", "sheet"}
    panel = next(one["id"] for one in config["components"] if one["props"].get("server_fns"))
    for name in ("get_config", "__class__", "postprocess", "move_resource_to_block_cache"):
        body = {"component_id": panel, "fn_name": name, "data": "/etc/passwd", "session_hash": "x"}
        assert client.send("gradio_api/component_server", json.dumps(body).encode())[0] == 404
    for asked in ("../../etc 0", "emoji 99999", "emoji -1", 7, None, ["emoji"]):
        body |= {"fn_name": "sheet", "data": asked}
        status, text = client.send("gradio_api/component_server", json.dumps(body).encode())
        assert (status, text) == (200, '""')


def test_no_answer_names_a_place_on_this_machine_but_the_uploads_or_shows_a_traceback(
    client: Hostile, folder: Path
) -> None:
    paths = ["", "config", "gradio_api/info", "gradio_api/openapi.json", "theme.css", "monitoring",
             "gradio_api/startup-events", "none", "gradio_api/queue/status"]  # fmt: skip
    texts = [client.send(path)[1] for path in paths]
    bodies = [b"{", b"[]", b'{"data": 1}', b'{"data": []}', b'{"data": [[]], "fn_index": 9999}',
              b'{"data": [{"path": "/x", "meta": 1}], "fn_index": 0}']  # fmt: skip
    for path in [*DOORS, "call/none"]:
        texts += [client.send(f"gradio_api/{path}", body)[1] for body in bodies]
    for text in texts:
        assert "Traceback" not in text and "site-packages" not in text
        assert f"{LAB}/" not in text and f'"{Path.home()}/' not in text
