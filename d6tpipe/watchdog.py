"""Noticing that nothing has happened for a while: one thread, fed by an assignment."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Watchdog"]


class Watchdog:
    """Calls a function once whenever it has not been fed for a while.

    Parameters
    ----------
    bark : callable
        Called in a thread of the watchdog's own; must not raise.
    seconds : float
        How long is too long; it is noticed within twice that.

    Notes
    -----
    Costs a thread, and the process nothing: the thread sleeps. It does not keep the interpreter from ending.
    """

    def __init__(self, bark: Callable[[], object], seconds: float = 1.0) -> None:
        self._bark, self._seconds = bark, seconds
        self._fed = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def feed(self) -> None:
        """Note that something has happened; cheap enough for every task."""
        self._fed += 1

    def start(self) -> None:
        """Begin to watch, if that has not been done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="d6tpipe watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer; returns when the function does not run any more."""
        self._over.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        seen = barked = -1
        while not self._over.wait(self._seconds):
            if self._fed == seen and barked != seen:
                barked = seen
                self._bark()
            seen = self._fed
