"""Ctrl-C, or a cluster's SIGTERM, in the middle of a step."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A wish to stop: the step at hand is finished first, so that what is saved is whole.

    A second one stops at once. Outside the main thread Python has no such signals, and nothing is
    changed.
    """

    asked = False

    def __enter__(self) -> "Interrupt":
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = [signal.signal(number, self._ask) for number in SIGNALS]
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.main:
            for number, handler in zip(SIGNALS, self.before, strict=True):
                signal.signal(number, handler)

    def _ask(self, *_signal: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
