"""One body after the other, in the thread that called ``run``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from d6tpipe.interfaces import Outcome

__all__ = ["SerialExecutor"]


class SerialExecutor:
    """Run each piece of work when its result is asked for."""

    capacity = 1

    def __init__(self) -> None:
        self._queue: list[tuple[Any, Callable[[], Outcome]]] = []

    def submit(self, node: Any, work: Callable[[], Outcome]) -> None:
        """Remember the work; it runs in `wait`."""
        self._queue.append((node, work))

    def wait(self) -> Iterable[tuple[Any, Outcome]]:
        """Run what was submitted first and return it."""
        node, work = self._queue.pop(0)
        return [(node, work())]

    def close(self) -> None:
        """Forget what has not run."""
        self._queue.clear()
