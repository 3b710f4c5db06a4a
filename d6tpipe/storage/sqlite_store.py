"""What a store in SQLite does besides its tables: connect when needed, survive forks, and never fail the caller."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

from d6tpipe import errors
from d6tpipe.errors import StorageError
from d6tpipe.failpoints import fail_point
from d6tpipe.records import NewerRecordError
from d6tpipe.storage.mounts import on_network
from d6tpipe.storage.sqlite_files import (
    Damaged,
    Writer,
    is_damage,
    open_writer,
    opening,
    set_aside_if_damaged,
    stamp,
)
from d6tpipe.storage.sqlite_questions import Question, open_question

__all__ = ["SqliteStore"]

T = TypeVar("T")

_RETRY = 1.0  # seconds before the next try after the disk said no
_TRIES = 10  # of reading a database that changes meanwhile

# Whatever reading damaged content can lead to.
_UNREADABLE = (sqlite3.Error, OSError, LookupError, TypeError, ValueError, StorageError)


class SqliteStore:
    """One database file; a subclass knows the tables.

    Parameters
    ----------
    path : str
    clock : callable
        Seconds; must never go back.
    network : bool or None
        Whether the file is on a network file system; None: look it up.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic, network: bool | None = None) -> None:
        self.path = path
        self._clock, self._network = clock, network
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._writer: Writer | None = None
        self._question: Question | None = None
        self._damage = ""  # what reading met: "sure", or "look" for what a check has to confirm
        self._refused = False  # a newer d6tpipe has written it
        self._last_commit = self._retry_at = float("-inf")
        self._warned: set[str] = set()
        self._said: list[str] = []  # warnings to give once the lock is free: they may raise
        _stores.add(self)

    # -- for the subclass to fill in -------------------------------------------------------------------------

    def _store_queue(self) -> None:
        """Write what waits, if its time has come."""

    def _drop_queue(self) -> None:
        """Forget what waits."""

    def _new_database(self) -> None:
        """Forget what the database was known to hold."""

    # -- for the subclass to use -----------------------------------------------------------------------------

    def _ask(self, ask: Callable[[sqlite3.Connection], T], otherwise: Callable[[], T]) -> T:
        """Return what `ask` finds; without a database, or if it cannot be read, what `otherwise` returns."""
        with self._lock:
            self._mind_forks()
            self._store_queue()
            found = otherwise()
            try:
                if not self._refused:
                    found = self._answer(ask, otherwise)
            except NewerRecordError as error:
                self._refuse(error)
            except _UNREADABLE as error:
                if is_damage(error):
                    self._damage = "sure" if "Could not decode" in str(error) else "look"
                self._release()
                self._say(
                    "unreadable",
                    f"The records in {self.path} cannot be read ({_reason(error)}); going on as if there were none. "
                    "Outputs are not touched. A damaged file is moved aside by the next run that writes.",
                )
        self._speak()
        return found

    def _answer(self, ask: Callable[[sqlite3.Connection], T], otherwise: Callable[[], T]) -> T:
        if self._writer is not None and not self._writer.moved():
            return ask(self._writer.connection)
        for left in reversed(range(_TRIES)):
            before = stamp(self.path)
            try:
                if self._question is not None and not self._question.current():
                    self._close_question()
                if self._question is None:
                    self._question = open_question(self.path)
                if self._question is None:
                    return otherwise()
                found = ask(self._question.connection)
                if self._question.current() or not left:
                    return found
            except _UNREADABLE:
                # What is written to while it is read without locks may look like anything.
                if before == stamp(self.path) or not left:
                    raise
            self._close_question()
        raise AssertionError("the last try returns or raises")

    def _attempt(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Do `work` in one transaction and return whether it is done; if the disk says no, warn.

        If the database is damaged it is moved aside, and `work` done on a new one.
        """
        for last in (False, True):
            try:
                connection = self._writing()
                fail_point("records.begin")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    work(connection)
                    fail_point("records.rows")
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                fail_point("records.committed")
                self._last_commit, self._retry_at = self._clock(), float("-inf")
                return True
            except NewerRecordError as error:
                self._refuse(error)
                return False
            except (sqlite3.Error, OSError, ValueError) as error:
                if is_damage(error) and not last and self._set_aside():
                    continue
                self._release()
                self._retry_at = self._clock() + _RETRY
                if isinstance(error, ValueError):  # a text that SQLite cannot hold: waiting will not help
                    self._drop_queue()
                self._say(
                    "unwritable",
                    f"Records cannot be written to {self.path} ({_reason(error)}). The run goes on and outputs are "
                    "saved, but what is built now may count as untracked or interrupted later.",
                )
                return False
        return False

    def _writing(self) -> sqlite3.Connection:
        if self._writer is not None and self._writer.moved():
            self._release()
        if self._writer is None:
            self._close_question()
            network = on_network(os.path.dirname(self.path)) if self._network is None else self._network
            self._writer, aside = open_writer(self.path, network)
            self._new_database()
            if aside:
                self._say_aside(aside)
        if self._damage:
            sure, self._damage = self._damage == "sure", ""
            if sure or self._writer.connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise Damaged("the database is damaged")
        return self._writer.connection

    def _set_aside(self) -> bool:
        writer = self._writer
        self._release()
        if writer is None:
            return False
        try:
            aside = set_aside_if_damaged(self.path, writer.inode)
        except OSError:
            return False
        if aside:
            self._say_aside(aside)
        return True

    def _say_aside(self, aside: str) -> None:
        self._say(
            "aside",
            f"The records database was damaged and has been moved to {aside}; starting with an empty one. "
            "Outputs are not touched; they count as untracked until they are built again or accepted.",
        )

    def _refuse(self, error: NewerRecordError) -> None:
        self._release()
        self._refused = True
        self._drop_queue()
        self._say("newer", f"No records are read or written. {error}")

    def _say(self, kind: str, text: str) -> None:
        """Warn of each kind of trouble once."""
        if kind not in self._warned:
            self._warned.add(kind)
            self._said.append(text)

    def _speak(self) -> None:
        """Give the warnings; the last thing a public method does, for with ``-W error`` they raise."""
        while self._said:
            errors.warn(self._said.pop(0))

    def _release(self) -> None:
        self._close_question()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                writer.close()
            except sqlite3.Error as error:
                self._say("unwritable", f"Closing {self.path} failed ({_reason(error)})")

    def _close_question(self) -> None:
        if self._question is not None:
            question, self._question = self._question, None
            question.close()

    def _mind_forks(self) -> None:
        """In a child made behind Python's back: leave the parent's connections alone, for ever.

        Closing one here would drop nothing of the parent's locks but could remove its WAL.
        """
        if self._pid != os.getpid():
            _graveyard.extend([self._writer, self._question])
            self._writer = self._question = None
            self._as_child()

    def _as_child(self) -> None:
        self._pid = os.getpid()
        self._said.clear()
        self._drop_queue()  # the parent writes it


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_graveyard: list[object] = []
_held: list[SqliteStore] = []


# SQLite keeps one table of locks per process and file. A child that inherits it believes to hold locks that only
# its parent has, also on connections of its own. So nothing is open while a fork happens: both open again.


def _before_fork() -> None:
    for store in list(_stores):
        store._lock.acquire()
        _held.append(store)
    opening.acquire()
    for store in _held:
        if store._pid == os.getpid():
            store._release()


def _after_fork_in_parent() -> None:
    opening.release()
    while _held:
        _held.pop()._lock.release()


def _after_fork_in_child() -> None:
    for store in _held:
        store._as_child()
    _after_fork_in_parent()


def _at_exit() -> None:
    for store in list(_stores):
        with store._lock:
            if store._pid == os.getpid():
                store._retry_at = float("-inf")
                store._store_queue()
                store._release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
