"""What runs in each process of the pool: take work from a pipe, do it, say what came of it, until the pipe ends.

This module is all that a worker needs to start, so it imports nothing of d6tpipe.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from multiprocessing import parent_process
from multiprocessing.connection import wait
from time import perf_counter
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FORGET", "LATE_AT", "LEAVING", "Known", "is_late", "leave", "main", "outlive"]

FORGET = "forget"
LEAVING = "leaving"
LATE_AT = 8

output: tuple[int, int] | None = None
"""Files for what is written to descriptors 1 and 2, which the pool looks into when this process has died. None: this
process is none of a pool."""

_leaving = False
_index = -1

_REPORT_SECONDS = 0.005
"""Results are kept for so long and then reported together."""

_THREAD_LIMITS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip


class Known:
    """Stands for bytes that this worker was sent before."""

    __slots__ = ("key",)

    def __init__(self, key: bytes) -> None:
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return Known, (self.key,)


def main(connection: Any, index: Any, printed: tuple[Any, Any], n_workers: int) -> None:
    """Serve one pipe.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        Work comes and results go here.
    index : multiprocessing.connection.Connection
        Stands for a file; the number of the work that is being done is written to its beginning; more than that,
        once that has taken longer than it may.
    printed : pair of multiprocessing.connection.Connection
        Stand for the files of `output`.
    n_workers : int
        How many such processes share the processors.
    """
    global output, _index
    output = (printed[0].fileno(), printed[1].fileno())
    _leave_terminal()
    _end_with_parent()
    _share_processors(n_workers)
    known: dict[bytes, bytes] = {}
    where = _index = index.fileno()
    try:
        while True:
            try:
                message = pickle.loads(connection.recv_bytes())
            except (EOFError, OSError):
                break
            if message == FORGET:
                known.clear()
            elif isinstance(message, tuple):
                known[message[0]] = message[1]
            else:
                _work(connection, where, message, known)
            if _leaving:
                break
    except KeyboardInterrupt:
        os._exit(130)
    except (BrokenPipeError, ConnectionResetError):  # there is nobody any more to report to: see `outlive`
        os._exit(1)


def outlive() -> None:
    """Have this process go on should the one that started it end: somebody else will want what it does.

    The work that it has by then is its last.
    """
    if fcntl is not None:
        signal.signal(signal.SIGIO, signal.SIG_IGN)


def is_late() -> bool:
    """Return whether what this process does has taken longer than it may, so that it was asked to end."""
    return bool(os.pread(_index, 1, LATE_AT))


def leave() -> None:
    """Have this process do nothing more after what it is doing, of which it still tells what came of it."""
    global _leaving
    _leaving = True


def _work(connection: Any, where: int, jobs: list[tuple[int, bytes]], known: dict[bytes, bytes]) -> None:
    results: list[tuple[int, bool, bytes, float]] = []
    reported = perf_counter()
    for number, payload in jobs:
        begin = perf_counter()
        if _leaving:
            break
        if results and begin - reported > _REPORT_SECONDS:
            connection.send_bytes(pickle.dumps(results))
            results, reported = [], begin
        os.pwrite(where, number.to_bytes(8, "little"), 0)
        good = True
        try:
            function, args, kwargs = pickle.loads(payload)
            value = function(*[known[arg.key] if arg.__class__ is Known else arg for arg in args], **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (reported: the future gets it)
            good, value = False, error
        try:
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001  (reported: the future gets it)
            what = "result" if good else "exception"
            text = f"the {what} {value!r:.200} cannot be pickled: {type(error).__name__}: {error}"
            good, data = False, pickle.dumps(RuntimeError(text))
        results.append((number, good, data, perf_counter() - begin))
    if _leaving:
        connection.send_bytes(pickle.dumps(LEAVING))
    connection.send_bytes(pickle.dumps(results))


def _leave_terminal() -> None:
    """Have Ctrl-C reach the process that coordinates, and not this one as well."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_with_parent() -> None:
    """Have this process end when the one that started the pool ends, whatever it is doing then.

    The kernel sends a signal when the other end of a pipe is closed: no thread, which a body that forks would be
    warned about, and no library that keeps the interpreter busy is in the way.
    """
    parent = parent_process()
    if parent is None or fcntl is None:
        return
    sentinel = parent.sentinel
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if wait([sentinel], 0):  # it had ended before
        os._exit(1)


def _share_processors(n_workers: int) -> None:
    """Keep numerical libraries from starting a thread per processor in each worker."""
    if "numpy" in sys.modules:  # read when it is loaded
        return
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:
        processors = os.cpu_count() or 1
    for name in _THREAD_LIMITS:
        os.environ.setdefault(name, str(max(1, processors // max(1, n_workers))))
