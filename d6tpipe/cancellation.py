"""Stopping bodies on request: what SIGTERM means in a process that runs them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from d6tpipe.errors import TaskCancelled

__all__ = ["check", "request", "taken_back", "terminable"]

_requested: list[TaskCancelled] = []
"""That this process is to end, as it was raised in its main thread: bodies that ignore it are cancelled, too."""


def request(why: str) -> TaskCancelled:
    """Note that what runs in the main thread is to stop, and return what to raise there."""
    _requested[:] = [TaskCancelled(why)]
    return _requested[0]


def check() -> None:
    """Raise again what a body has caught, if it was asked to stop; for its end.

    Raises
    ------
    TaskCancelled
    """
    if _requested and threading.current_thread() is threading.main_thread():
        raise _requested[0]


def taken_back() -> TaskCancelled | None:
    """Return what was requested, which is dealt with thereby; None if nothing was."""
    return _requested.pop() if _requested else None


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM end what is done in the ``with`` block as Ctrl-C would, and then the process, with exit code 143.

    Where the program has a handler of its own for SIGTERM, and outside of the main thread, nothing is changed. Blocks
    may overlap, as those of sessions do that are open from cell to cell of a notebook: the last one to end counts.
    """
    global _blocks
    ours = signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, _stop)
    if threading.current_thread() is not threading.main_thread() or not ours:
        yield
        return
    _blocks += 1
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        _blocks -= 1
        # Ended in another thread, as a session may be, it cannot take its handler away.
        if not _blocks and threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGTERM) is _stop:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if taken_back() is not None:
                raise SystemExit(128 + signal.SIGTERM)


_blocks = 0
"""How many blocks of `terminable` are open."""


def _stop(number: int, frame: Any) -> None:
    if not _blocks:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise request("this process was asked to end (SIGTERM)")


def _after_fork_in_child() -> None:
    """Nothing of what the parent was doing is done here: who ends this process (a pool its workers, say) means it."""
    global _blocks
    _blocks = 0
    _requested.clear()
    if signal.getsignal(signal.SIGTERM) is _stop:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
