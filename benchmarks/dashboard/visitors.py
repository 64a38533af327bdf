"""A visitor without a browser, who asks the server what the page would, the way the page does.

POST gradio_api/queue/join, then the stream of gradio_api/queue/data until the answer is there.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

SAMPLES = "sample-samples"  # the grid's id
PATIENCE = 60.0  # seconds


class Visitor:
    """One open page. `config`: the server's own list of its controls and what they call."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any]):
        self.client, self.session = client, secrets.token_hex(6)
        values = {one["id"]: one["props"].get("value") for one in config["components"]}
        self.calls = {one["api_name"]: one for one in config["dependencies"]}
        every = [one["props"] for one in config["components"]]
        self.samples = next((p["value"] for p in every if p.get("elem_id") == SAMPLES), [])
        self.first = {name: [values[i] for i in one["inputs"]] for name, one in self.calls.items()}

    def sample(self, number: int) -> dict[str, Any]:
        """A sample's picture as the page sends it."""
        one = self.samples[number]
        return {"path": None, "url": one["src"], "orig_name": one["name"],
                "meta": {"_type": "gradio.FileData"}}  # fmt: skip

    def _body(self, name: str, data: list[Any]) -> dict[str, Any]:
        call = self.calls[name]
        return {"data": data, "fn_index": call["id"], "session_hash": self.session,
                "trigger_id": call["targets"][0][0], "event_data": None}  # fmt: skip

    async def ask(self, name: str, changed: Mapping[int, Any] | None = None) -> list[Any]:
        """The outputs of a queued listener; inputs as the page opens, but for those `changed`.

        Raises RuntimeError for what the page would show as an error, panels' sentences included.
        """
        data = [(changed or {}).get(i, value) for i, value in enumerate(self.first[name])]
        joined = await self.client.post("/gradio_api/queue/join", json=self._body(name, data))
        joined.raise_for_status()
        done: dict[str, Any] = {}
        async for message in self._stream():
            if message["msg"] == "process_completed":
                done = message
        if not done.get("success"):
            raise RuntimeError(str(done.get("output") or "the stream ended early")[:200])
        outputs = done["output"]["data"]
        for value in outputs:
            if isinstance(value, dict) and value.get("error"):
                raise RuntimeError(value["error"])
        return outputs

    async def _stream(self) -> AsyncIterator[dict[str, Any]]:
        asked = {"session_hash": self.session}
        async with self.client.stream("GET", "/gradio_api/queue/data", params=asked) as stream:
            stream.raise_for_status()
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    message = json.loads(line.removeprefix("data:"))
                    yield message
                    if message["msg"] == "close_stream":
                        return


@asynccontextmanager
async def visitor(address: str) -> AsyncIterator[Visitor]:
    """Opens the page, as a browser does before anything else."""
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
        (await client.get("/")).raise_for_status()
        config = await client.get("/config")
        config.raise_for_status()
        yield Visitor(client, config.json())
