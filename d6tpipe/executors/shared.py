"""Bytes that many pieces of work need, and how a piece of work ended when it did not return."""

from __future__ import annotations

import signal
from hashlib import blake2b
from typing import Any

__all__ = ["GRACE", "LONGEST_GRACE", "CodeMismatch", "Shared", "WorkTimeout", "WorkerDied", "WorkerGone", "WorkerLost"]

GRACE = 3.0
"""Seconds between the request to stop and the order, and how long it may take until both are carried out."""
LONGEST_GRACE = GRACE + 1.0


class Shared(bytes):
    """Bytes that an executor with the trait ``shares`` sends to each worker once; elsewhere ordinary bytes.

    Attributes
    ----------
    key : bytes
        16 bytes that stand for the content.
    """

    key: bytes

    def __new__(cls, data: bytes) -> Shared:
        made = super().__new__(cls, data)
        made.key = blake2b(data, digest_size=16).digest()
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (bytes(self),)  # what arrives need not be hashed again


class WorkerLost(Exception):
    """The process that did the work ended again and again, perhaps because of other work that was there."""


class WorkerDied(Exception):
    """The process that did the work ended before it was done.

    Attributes
    ----------
    pid : int
    exit_code : int or None
        Negative: the number of the signal. None: not known.
    output : (str, str)
        What it had written to standard output and standard error, where that is known.
    """

    def __init__(self, pid: int, exit_code: int | None) -> None:
        super().__init__(pid, exit_code)
        self.pid, self.exit_code = pid, exit_code
        self.output = ("", "")

    def __str__(self) -> str:
        return f"the worker process {self.pid} {ended(self.exit_code)}"


class WorkTimeout(Exception):
    """The work took longer than it was given, and its process was stopped."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.output = ("", "")

    def __str__(self) -> str:
        return f"it was stopped after {self.seconds:g} s"


class WorkerGone(Exception):
    """The work was meant for one worker, which has ended since; nothing was run."""


class CodeMismatch(Exception):
    """The code that a worker has is not the code of the process that sent the work; nothing was run."""


def ended(exit_code: int | None) -> str:
    """Return in words how a process ended."""
    if exit_code is None:
        return "is gone"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    advice = {
        "SIGKILL": ": somebody killed it, or the system did for want of memory",
        "SIGSEGV": ": a fault in compiled code",
        "SIGABRT": ": a fault in compiled code",
        "SIGBUS": ": a fault in compiled code, or a disk that is full",
    }
    return f"was ended by {name}{advice.get(name, '')}"
