"""Ctrl-C in the middle of a step."""

import signal
import threading


class Interrupt:
    """Ctrl-C as a wish: the step at hand is finished first, so that what is saved is whole.

    A second Ctrl-C stops at once. Outside the main thread Python has no such signals, and nothing
    is changed.
    """

    asked = False

    def __enter__(self) -> "Interrupt":
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.main:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, *_signal: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
