"""Each body once: locks on the tasks of a data folder, between threads and between processes.

There is one empty file, ``<root>/.d6tpipe/locks``. A task is two bytes of it, far behind its end, at the hash of the
task's key. The kernel frees them when the process that holds them ends, however it ends, and can tell its process
id: no heartbeat, no expiry, nothing to unlock by hand.

The first byte belongs to who decides, the second to who runs the body. They are locked together; where a body runs in
another process, the second is left to that one: should the first process be killed, the task is not free before the
body has ended.

Traps of record locks (``lockf``) that this module is shaped by:

* They belong to the process: a second request of the same process is granted. So there is a table of what this
  process holds, and one table only per file (`locks_for`).
* Closing *any* descriptor of the file drops every lock that the process has on it. So nothing here closes one.
* A child of a fork has none of its parent's locks, but a copy of the table.
* The kernel keeps them in a list: 1 µs per call with 100 held, 0.5 ms with 20,000. So hold only what runs.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from d6tpipe import errors

try:
    from fcntl import F_GETLK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_UN, fcntl, lockf
except ImportError:  # Windows, see Locks.acquire
    _CAN_LOCK = False
else:
    _CAN_LOCK = True
    _TRY = LOCK_EX | LOCK_NB

__all__ = ["Locks", "locks_for"]

FOLDER = ".d6tpipe"
NAME = "locks"

SECOND_LOOK = 0.05
"""Seconds between two looks whether the file at the path is still the one that is open. (One each time would double
the price of a lock, and what is deleted just after it would go unseen all the same.)"""

POLLS = (0.002, 0.05)
"""Seconds between two questions whether another process has finished: at first, and at most."""

# Windows sees Ctrl-C between two waits only, and so does a wait that has just not begun anywhere.
_LONGEST_WAIT = 1.0

# The C library's struct flock. The last field makes room for what some systems append.
_BSD = any(name in sys.platform for name in ("darwin", "bsd", "dragonfly"))
_FLOCK = struct.Struct("qqihhq" if _BSD else "hhqqiq")


class Locks:
    """The locks of one data folder; there is one instance per folder and process, see `locks_for`.

    Nothing but `wait` blocks. Safe to share between threads and across a fork; the child holds nothing. Whoever
    releases need not be the thread that acquired.

    Parameters
    ----------
    path : str
        The file; the first `acquire` makes it, and its folder.

    Notes
    -----
    An exception that comes from outside just when `acquire` returns (Ctrl-C) can leave a key held of which the caller
    knows nothing. So release what was asked for, not only what was granted, when nobody else here can hold it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._alone = False  # the file cannot be locked: between threads only
        self._descriptor = -1  # -1: not open
        self._writable = False
        self._look_at = 0.0
        self._forget()

    def _forget(self) -> None:
        """Hold nothing; also what a child of a fork starts with, whose parent's threads may have held the mutex."""
        self._mutex = threading.RLock()
        self._freed = threading.Condition(self._mutex)
        self._waiting = 0
        self._held: dict[str, int] = {}
        # The values of it. Two keys of one hash are not held at once: releasing one would free the other's byte.
        self._bytes: set[int] = set()
        self._look_at = 0.0

    def acquire(self, key: str) -> bool:
        """Try to get hold of `key`; never waits.

        Returns
        -------
        bool
            False if it is held: by another process, or by anybody in this one, the caller included.

        Notes
        -----
        Where the file cannot be locked (a read-only folder, a file system without locks, Windows) there is one warning,
        and from then on keys are held between the threads of this process only.
        """
        with self._mutex:
            if key in self._held:
                return False
            offset = _offset(key)
            if offset in self._bytes:
                return False
            try:
                if not self._alone:
                    descriptor = self._open(make=True)
                    try:
                        lockf(descriptor, _TRY, 2, offset)
                    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, systems differ
                        return False
                self._held[key] = offset
                self._bytes.add(offset)
                return True
            except OSError as error:
                self._alone, failure = True, error
            except BaseException:  # Ctrl-C: the caller will not know that there is something to release
                self._drop(key, offset)
                raise
        # While nothing is held yet: a warning may be an exception.
        self._warn(failure)
        return self.acquire(key)

    def release(self, keys: Iterable[str]) -> None:
        """Let go of `keys`; what is not held here is passed over."""
        failure = None
        with self._mutex:
            for key in keys:
                offset = self._held.get(key)
                if offset is not None:
                    try:
                        self._drop(key, offset)
                    except OSError as error:
                        failure = error
            if self._waiting:
                self._freed.notify_all()
            if failure is None or self._alone:
                return
            self._alone = True
        self._warn(failure)

    def lend(self, key: str) -> None:
        """Leave the body of `key`, which is held here, to another process; that one calls `borrow`."""
        with self._mutex:
            offset = self._held.get(key)
            if offset is not None and self._writable and not self._alone:
                lockf(self._descriptor, LOCK_UN, 1, offset + 1)

    def borrow(self, key: str) -> _Borrowed:
        """Hold the body of `key`, which another process has lent, for the length of a ``with`` block.

        Where the file cannot be locked nothing is held: whoever lent it could not lock it either.
        """
        return _Borrowed(self, _offset(key) + 1)

    def wait(self, keys: Sequence[str], timeout: float | None = None) -> None:
        """Block until at least one of `keys` may be free, or there are none, or for `timeout` seconds.

        Who else waits may be faster: `acquire` can still say no. Ctrl-C ends it.
        """
        offsets = [_offset(key) for key in keys]
        end = float("inf") if timeout is None else time.monotonic() + timeout
        poll, longest_poll = POLLS
        with self._mutex:
            self._waiting += 1
            try:
                while offsets:
                    elsewhere = [offset for offset in offsets if offset not in self._bytes]
                    if elsewhere and (self._alone or None in map(self._owner, elsewhere)):
                        return
                    left = end - time.monotonic()
                    if left <= 0:
                        return
                    self._freed.wait(min(left, poll if elsewhere else _LONGEST_WAIT))
                    poll = min(poll * 1.5, longest_poll)
            finally:
                self._waiting -= 1

    def holder(self, key: str) -> int | None:
        """Return the id of the process that holds `key`; None if nobody does, as far as can be known from here.

        0 stands for a process that has no id here: of another host, or another container. Makes no file or folder.
        """
        with self._mutex:
            return os.getpid() if key in self._held else self._owner(_offset(key))

    def holds(self, key: str) -> bool:
        """Return whether this process holds `key`."""
        return key in self._held

    def _drop(self, key: str, offset: int) -> None:
        try:
            if self._writable:
                lockf(self._descriptor, LOCK_UN, 2, offset)
        finally:
            self._held.pop(key, None)
            self._bytes.discard(offset)

    def _owner(self, offset: int) -> int | None:
        """Return the id of the other process that has locked a byte, None if there is none or no way to know."""
        try:
            answer = fcntl(self._open(make=False), F_GETLK, _question(offset))
        except OSError:
            return None
        return _owner_in(answer)

    def _open(self, make: bool) -> int:
        """Return a descriptor of the file that is there now; `make`: one to lock, of a file that is made if missing.

        As long as something is held it is the one on which that is held.
        """
        if self._descriptor >= 0 and (self._writable or not make) and (self._held or not self._is_gone()):
            return self._descriptor
        if not _CAN_LOCK:
            raise OSError(errno.ENOTSUP, "this system has no record locks")
        self._descriptor, self._writable = -1, False  # not closed, see above
        writable = True
        if make:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        else:
            try:
                descriptor = os.open(self.path, os.O_RDWR)
            except OSError:  # to be asked it need not be writable
                descriptor, writable = os.open(self.path, os.O_RDONLY), False
        self._descriptor, self._writable = descriptor, writable
        self._look_at = time.monotonic() + SECOND_LOOK
        return descriptor

    def _is_gone(self) -> bool:
        """Return whether others who open the path get another file: this one was deleted, or its folder moved away."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + SECOND_LOOK
        try:
            return not os.path.samestat(os.fstat(self._descriptor), os.stat(self.path))
        except OSError:  # of the descriptor, if somebody has closed all of them, as daemons do
            return True

    def _warn(self, error: OSError) -> None:
        errors.warn(
            f"Tasks cannot be locked in {self.path} ({error.strerror or error}). A run by itself is not affected, but "
            "two processes that run at the same time may do the same work twice."
        )


class _Borrowed:
    """The ``with`` block of `Locks.borrow`; no generator, since there is one for each body."""

    __slots__ = ("_descriptor", "_locks", "_offset")

    def __init__(self, locks: Locks, offset: int) -> None:
        self._locks, self._offset, self._descriptor = locks, offset, -1

    def __enter__(self) -> None:
        locks = self._locks
        with locks._mutex:
            try:
                self._descriptor = locks._open(make=True)
                lockf(self._descriptor, _TRY, 1, self._offset)
                locks._bytes.add(self._offset)
            except OSError:
                pass

    def __exit__(self, *_: object) -> None:
        locks = self._locks
        with locks._mutex:
            locks._bytes.discard(self._offset)
            if self._descriptor == locks._descriptor:
                try:
                    lockf(self._descriptor, LOCK_UN, 1, self._offset)
                except OSError:
                    pass


def _offset(key: str) -> int:
    """Return the byte that stands for `key`; the same in every process, unlike `hash`."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2 & ~1


def _question(offset: int) -> bytes:
    """Return "who is in the way of locking these bytes" as the C library wants it."""
    if _BSD:
        return _FLOCK.pack(offset, 2, 0, F_WRLCK, os.SEEK_SET, 0)
    return _FLOCK.pack(F_WRLCK, os.SEEK_SET, offset, 2, 0, 0)


def _owner_in(answer: bytes) -> int | None:
    fields = _FLOCK.unpack(answer)
    kind, pid = (fields[3], fields[2]) if _BSD else (fields[0], fields[4])
    return None if kind == F_UNLCK else max(pid, 0)


_guard = threading.Lock()
_known: dict[str, Locks] = {}


def locks_for(root: str) -> Locks:
    """Return the locks of the data folder `root`; nothing is opened or made until they are used.

    Returns
    -------
    Locks
        The same instance at every call of this process, whatever way `root` is written: of two, each would be granted
        what the other holds.
    """
    path = os.path.join(os.path.realpath(root), FOLDER, NAME)
    with _guard:
        found = _known.get(path)
        if found is None:
            found = _known[path] = Locks(path)
        return found


def _after_fork_in_child() -> None:
    global _guard
    _guard = threading.Lock()
    for locks in list(_known.values()):
        locks._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
