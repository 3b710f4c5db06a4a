"""One body after the other, in the thread that called ``run``."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["SerialExecutor", "build"]


def build(n_workers: int = 1, settings: Any = None) -> SerialExecutor:
    """Return an executor that does everything where it is asked to."""
    return SerialExecutor()


class SerialExecutor(Executor):
    """Call the function at once, in the thread that submits it.

    Notes
    -----
    A run that meets the trait ``inline`` calls bodies itself and makes no futures.
    """

    inline = True
    in_process = True

    def __init__(self, debugging: bool = False) -> None:
        self.debugging = debugging  # also what classes say they want to run elsewhere

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``function(*args, **kwargs)`` and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (reported: the future has it)
            future.set_exception(error)
        return future
