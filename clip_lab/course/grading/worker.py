"""The learner's process: it defines what a notebook defines, and answers calls of its functions.

    python -m clip_lab.course.grading.worker SECONDS MEGABYTES

Requests come on the standard input (they are the grader's own, so pickled), replies go to the
standard output (`messages.pack`). What the learner's code prints goes nowhere.
"""

import os
import pickle
import resource
import struct
import sys
import traceback
from collections import OrderedDict
from typing import Any, BinaryIO

import torch
from torch import Tensor

from clip_lab.course.grading.messages import flat, pack

KEPT = 32  # calls whose graphs wait for a gradient
FILE = "<notebook>"


def main() -> None:
    """Answer requests, one after the other, until there are no more."""
    seconds, megabytes = map(int, sys.argv[1:3])
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    torch.set_num_threads(1)
    limit(seconds, megabytes)
    session = Session()
    while (request := read(requests)) is not None:
        try:
            reply = {"ok": session.answer(*request)}
        except BaseException as error:  # also SystemExit: a learner's, not ours
            reply = {"error": said(error)}
        message = pack(reply)
        replies.write(struct.pack(">I", len(message)) + message)
        replies.flush()


def limit(seconds: int, megabytes: int) -> None:
    """Processor time, memory, size of a file; no core dump."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, megabytes * 2**20),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def read(requests: BinaryIO) -> Any:
    """The next request; None at the end."""
    head = requests.read(4)
    return pickle.loads(requests.read(struct.unpack(">I", head)[0])) if len(head) == 4 else None


def said(error: BaseException) -> list[str]:
    """The error's type and text, and the learner's line at which it was raised."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
    where = f" (line {frames[-1].lineno} of its definitions)" if frames else ""
    try:
        return [type(error).__name__, f"{error}"[:500] + where]
    except Exception:  # an error whose text is another error
        return [type(error).__name__, ""]


class Session:
    """A notebook's names, and the graphs of the last calls."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.faults: list[str] = []  # of definitions that went wrong
        self.graphs: OrderedDict[int, tuple[list[Tensor], list[Tensor]]] = OrderedDict()

    def answer(self, kind: str, *request: Any) -> Any:
        kinds = {
            "ready": lambda: None,
            "define": self.define,
            "call": self.call,
            "gradient": self.gradient,
        }
        return kinds[kind](*request)

    def define(self, source: str) -> None:
        """Run definitions, one after the other; what goes wrong in one doesn't stop the next."""
        for part in source.split("\0"):
            try:
                exec(compile(part, FILE, "exec"), self.names)
            except Exception as error:
                self.faults.append(": ".join(said(error)))

    def call(self, number: int, name: str, args: tuple) -> dict[str, Any]:
        """The function's result, which of its tensors carry a gradient, and the inputs after it."""
        if name not in self.names:
            raise NameError(f"{name} could not be defined. {' '.join(self.faults)}")
        given = flat(args)
        before = [tensor.detach().clone() for tensor in given]
        result = self.names[name](*args)
        made = flat(result)
        self.graphs[number] = ([tensor for tensor in given if tensor.requires_grad], made)
        while len(self.graphs) > KEPT:
            self.graphs.popitem(last=False)
        changed = [
            None if torch.equal(old, new) else new.detach()
            for old, new in zip(before, given, strict=True)
        ]
        return {"result": result, "carries": [t.requires_grad for t in made], "changed": changed}

    def gradient(self, number: int, gradients: list[Tensor | None]) -> list[Tensor | None]:
        """Of the call's inputs, from gradients of its outputs (None: not asked for)."""
        inputs, outputs = self.graphs[number]
        asked = [
            (output, gradient)
            for output, gradient in zip(outputs, gradients, strict=True)
            if gradient is not None and output.requires_grad
        ]
        if not asked or not inputs:
            return [None for _ in inputs]
        return list(
            torch.autograd.grad(
                [output for output, _ in asked],
                inputs,
                [gradient for _, gradient in asked],
                allow_unused=True,
                retain_graph=True,
            )
        )


if __name__ == "__main__":
    main()
