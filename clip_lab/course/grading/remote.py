"""A learner's functions, called over a pipe as if they were here."""

import os
import pickle
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Wrong
from clip_lab.course.grading.messages import LARGEST, Foul, flat, unpack

START = 120  # seconds until torch is imported, also on a busy machine
MEGABYTES = 3_000


@cache
def isolation() -> tuple[str, ...]:
    """The command that keeps a process from the network, from other processes and from writing
    files: bubblewrap's, where it is installed and may be used; else none."""
    inside = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    inside += ("--unshare-all", "--die-with-parent", "--new-session")
    if not shutil.which("bwrap"):
        return ()
    tried = subprocess.run([*inside, "true"], capture_output=True, check=False)
    return inside if tried.returncode == 0 else ()


class Learner:
    """A process that holds a notebook's definitions. Close it; it is a context manager."""

    def __init__(self, definitions: Sequence[str], seconds: float) -> None:
        self.definitions, self.seconds = "\0".join(definitions), seconds
        self.calls = 0
        self.process: subprocess.Popen | None = None
        self.defined = True  # until it turns out that the definitions don't come to an end

    def __enter__(self) -> "Learner":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, *request: Any) -> Any:
        """The reply to a request. Wrong, told as a diagnosis, if the process ends or is too slow.

        After that the next request is to a fresh process, unless the definitions themselves were
        to blame: they would be again.
        """
        if not self.defined:
            raise Wrong("Its definitions (a class body, a default value?) never come to an end.")
        try:
            if self.process is None:
                self._start()
            return self._exchange(request, self.seconds)
        except _Ended as ended:
            self.stop()
            raise Wrong(str(ended)) from None

    def _start(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="clip-lab-grade-")
        worker = [sys.executable, "-m", "clip_lab.course.grading.worker"]
        limits = [str(START + int(20 * self.seconds)), str(MEGABYTES)]
        kept = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH")
        self.process = subprocess.Popen(
            [*isolation(), *worker, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder.name,
            env={name: os.environ[name] for name in kept if name in os.environ},
            start_new_session=True,
        )
        self._exchange(("ready",), START)
        self.defined = False
        self._exchange(("define", self.definitions), self.seconds)
        self.defined = True

    def _exchange(self, request: Any, seconds: float) -> Any:
        process = self.process
        assert process is not None and process.stdin is not None
        content = pickle.dumps(request)
        try:
            process.stdin.write(struct.pack(">I", len(content)) + content)
            process.stdin.flush()
        except OSError:
            raise _Ended("Its process ended on its own (os._exit, a crash?).") from None
        reply = self._reply(time.monotonic() + seconds, seconds)
        if not isinstance(reply, dict) or not reply.keys() & {"ok", "error"}:
            raise _Ended("Its process sent something that is no answer.")
        if "error" in reply:
            raise _error(reply["error"])
        return reply["ok"]

    def _reply(self, until: float, seconds: float) -> Any:
        (length,) = struct.unpack(">I", self._read(4, until, seconds))
        if length > LARGEST:
            raise _Ended(f"Its result is larger than {LARGEST >> 20} MB.")
        try:
            return unpack(self._read(length, until, seconds))
        except Foul:
            raise _Ended("Its process sent something that is no answer.") from None

    def _read(self, count: int, until: float, seconds: float) -> bytes:
        assert self.process is not None and self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        parts, left = [], count
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            while left:
                if not waiting.select(max(0.0, until - time.monotonic())):
                    raise _Ended(f"It ran for more than {seconds:.0f} s (an endless loop?).")
                part = os.read(pipe, min(left, 2**20))
                if not part:
                    raise _Ended(
                        "Its process ended on its own (os._exit, a crash, or more memory than "
                        f"{MEGABYTES:,} MB?)."
                    )
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def stop(self) -> None:
        """End the process and all that it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was left to write to a process that is gone
                pipe.close()  # pyright: ignore[reportOptionalMemberAccess]
        self.process = None
        self.folder.cleanup()


class _Ended(Exception):
    """The process is of no more use; the text says why, to the learner."""


def _error(told: Any) -> Exception:
    """What the learner's function raised, as an exception of the same name."""
    name, text = (str(part) for part in told) if isinstance(told, list) else ("Exception", "")
    if name == "NotImplementedError":
        return NotImplementedError(text)
    return type(name if name.isidentifier() else "Exception", (Exception,), {})(text)


class RemoteFunction:
    """A function of the learner's: takes what `pickle` can carry, returns what `messages` can.

    Changes that it makes to its tensors are made to ours too, and gradients flow through it.
    """

    def __init__(self, learner: Learner, name: str) -> None:
        self.learner, self.__name__ = learner, name

    def __call__(self, *args: Any) -> Any:
        self.learner.calls += 1
        number, given = self.learner.calls, flat(args)
        reply = self.learner.ask("call", number, self.__name__, args)
        for tensor, changed in zip(given, reply["changed"], strict=True):
            if changed is not None:
                tensor.data = changed
        result, made = reply["result"], flat(reply["result"])
        inputs = [tensor for tensor in given if tensor.requires_grad]
        if not inputs or not any(reply["carries"]):
            return result
        joined = _Joined.apply(self.learner, number, reply["carries"], made, *inputs)
        return _replaced(result, iter(joined))  # pyright: ignore[reportArgumentType]


class _Joined(torch.autograd.Function):
    """The learner's graph as one node of ours."""

    @staticmethod
    def forward(
        ctx: Any, learner: Learner, number: int, carries: list[bool], made: list[Tensor],
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ctx.learner, ctx.number = learner, number
        ctx.set_materialize_grads(False)  # no gradient is None, not zeros
        copies = tuple(tensor.clone() for tensor in made)
        ctx.mark_non_differentiable(
            *(copy for copy, carried in zip(copies, carries, strict=True) if not carried)
        )
        return copies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        found = ctx.learner.ask("gradient", ctx.number, list(gradients))
        return None, None, None, None, *found


def _replaced(value: Any, tensors: Any) -> Any:
    """The same value with other tensors, in the order of `flat`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, tensors) for item in value)
    if isinstance(value, dict):
        return {_replaced(k, tensors): _replaced(v, tensors) for k, v in value.items()}
    return value
