"""The file of the records database: made once under a lock, moved aside when damaged, opened for writing.

Traps of SQLite that this module is shaped by:

* Two processes that switch a fresh database to WAL get "database is locked" at once; the busy timeout is not used
  there. So a database is made under another name and renamed, under a lock.
* Closing any descriptor of a file drops all POSIX locks that the process holds on it. So nobody opens the file
  with `open` while this process has a connection with locks to it (`locking`).
* A log whose database has been deleted is played into the next database of that name.

Reading without leaving a trace is in `sqlite_questions`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from d6tpipe.failpoints import fail_point
from d6tpipe.records import SCHEMA, newer_than_this
from d6tpipe.storage.files import LOCAL, temporary_name

try:
    from fcntl import LOCK_EX, LOCK_NB, lockf
except ImportError:  # Windows, see _creation_lock
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

__all__ = [
    "Damaged",
    "Stamp",
    "Writer",
    "check_size",
    "close",
    "connect",
    "is_damage",
    "locking",
    "migrate",
    "open_writer",
    "opening",
    "schema_of",
    "set_aside_if_damaged",
    "stamp",
]

TABLES = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '{SCHEMA}');
CREATE TABLE hot(
    family TEXT NOT NULL, task_id TEXT NOT NULL, stage INTEGER NOT NULL, digest BLOB NOT NULL, seal BLOB NOT NULL,
    record INTEGER NOT NULL, PRIMARY KEY(family, task_id)) WITHOUT ROWID;
CREATE TABLE building(
    family TEXT NOT NULL, task_id TEXT NOT NULL, run_id TEXT NOT NULL,
    PRIMARY KEY(family, task_id, run_id)) WITHOUT ROWID;
CREATE TABLE records(id INTEGER PRIMARY KEY, code INTEGER, run INTEGER, parameters TEXT, own TEXT);
CREATE TABLE shared(id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE sources(hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs(run_id TEXT PRIMARY KEY, started REAL, facts INTEGER) WITHOUT ROWID;
"""
MIGRATIONS: dict[int, str] = {}
"""Schema to the SQL statements that lead to the next; setting ``meta`` is done here."""

PAGE = 4096
"""Bytes. A database is a whole number of pages; SQLite reads what is missing of the last one as zeros."""

PATIENCE = 10.0
"""Seconds to wait for another process, for a lock of any kind."""

_ASIDE = ("", "-wal", "-shm", "-journal")
opening = threading.RLock()
"""Held while a file is opened: the locks below it belong to the process, not to the thread."""

locking: Counter[str] = Counter()
"""Path to the number of connections of this process that hold locks on that file."""


class Damaged(sqlite3.DatabaseError):
    """The file is there and is no database of ours."""


def is_damage(error: BaseException) -> bool:
    """Return whether `error` says that the content is broken, rather than that the disk is full or busy."""
    # "malformed" and "not a database" have no class of their own and, before Python 3.11, no error code.
    return type(error) in (sqlite3.DatabaseError, Damaged) or any(
        text in str(error) for text in ("Could not decode", "no such table", "no such column")
    )


class Stamp(NamedTuple):
    """What tells whether a database file is the same, and unchanged."""

    inode: int
    size: int
    mtime_ns: int
    wal: tuple[int, int, int] | None


def stamp(path: str) -> Stamp | None:
    """Return the stamp of the database at `path`, None if there is none."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        log = os.stat(path + "-wal")
    except OSError:
        return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, None)
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, (log.st_ino, log.st_size, log.st_mtime_ns))


def check_size(path: str, size: int) -> None:
    """Raise `Damaged` for a database whose end is torn off, unless there is a journal to mend it."""
    if size % PAGE:
        try:
            if os.stat(path + "-journal").st_size:
                return
        except OSError:
            pass
        raise Damaged("its last page is torn")


class Writer:
    """A connection that may write, and the file it belongs to."""

    def __init__(self, path: str, connection: sqlite3.Connection, inode: int) -> None:
        self.path, self.connection, self.inode = path, connection, inode

    def moved(self) -> bool:
        """Return whether the file at the path is another one by now (deleted, or moved aside)."""
        try:
            return os.stat(self.path).st_ino != self.inode
        except OSError:
            return True

    def close(self) -> None:
        """Close; the last one of all processes to do so copies the WAL into the database and removes it."""
        close(self.path, self.connection)
        if os.path.exists(self.path + "-wal"):
            # Of two that close at the same moment, each may take the other for one that stays. One at a time, then.
            try:
                with opening, _creation_lock(self.path):
                    connection = connect(self.path, "mode=rw")
                    try:
                        connection.execute("SELECT 1 FROM meta").fetchone()
                    finally:
                        close(self.path, connection)
            except (sqlite3.Error, OSError):
                pass  # it stays for the next one; nothing is lost


def open_writer(path: str, network: bool) -> tuple[Writer, str | None]:
    """Return a connection that may write, making the database and its folder if they are missing.

    Parameters
    ----------
    path : str
    network : bool
        Use a rollback journal (TRUNCATE) in place of a WAL.

    Returns
    -------
    Writer
    str or None
        Where a damaged database has been moved to.

    Raises
    ------
    NewerRecordError
        A newer d6tpipe has written it.
    sqlite3.Error, OSError
        The disk says no, or another process holds a lock for too long.
    """
    journal = "truncate" if network else "wal"
    with opening:
        try:
            writer = _existing(path, journal)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            writer = None
        if writer is not None:
            return writer, None
        os.makedirs(os.path.dirname(path), exist_ok=True)
        aside = None
        with _creation_lock(path):
            try:
                writer = _existing(path, journal, locked=True)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                aside = move_aside(path)
            if writer is None:
                _make(path, journal)
                writer = _existing(path, journal, locked=True)
        if writer is None:
            raise sqlite3.OperationalError("the database vanished while it was opened")
        return writer, aside


def set_aside_if_damaged(path: str, inode: int) -> str | None:
    """Move the database aside unless another process has already put a new one in its place."""
    with opening, _creation_lock(path):
        found = stamp(path)
        return move_aside(path) if found and found.inode == inode else None


def move_aside(path: str) -> str:
    """Rename a database and what belongs to it; return the new name of the database itself."""
    base = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}"
    aside, number = base, 1
    while os.path.exists(aside):
        aside, number = f"{base}-{number}", number + 1
    for ending in _ASIDE:
        try:
            os.replace(path + ending, aside + ending)
        except FileNotFoundError:
            pass
        fail_point("records.aside")
    return aside


def _existing(path: str, journal: str, locked: bool = False) -> Writer | None:
    """Return a writer on the database that is there; None if it is missing or has to be changed under the lock."""
    found = stamp(path)
    if found is None:
        return None
    check_size(path, found.size)
    connection = connect(path, "mode=rw")
    try:
        schema = schema_of(connection)
        if schema > SCHEMA:
            raise newer_than_this("The records database", schema, path)
        if schema < SCHEMA and not locked:
            close(path, connection)
            return None
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != journal:
            if journal == "wal" and not locked:  # the folder was on a network before
                close(path, connection)
                return None
            # Fails while others are connected, who then go on as they are; it is tried again every time.
            try:
                connection.execute(f"PRAGMA journal_mode={journal}").fetchone()
            except sqlite3.OperationalError:
                pass
        connection.execute("PRAGMA synchronous=NORMAL")
        # Tasks of one batch lie on pages far apart: write a page back once for many batches.
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA cache_size=-16384")
        if schema < SCHEMA:
            migrate(connection, schema)
        after = stamp(path)
        if after is None or after.inode != found.inode:
            if locked:
                raise sqlite3.OperationalError("the database was replaced while it was opened")
            close(path, connection)
            return None
    except BaseException:
        close(path, connection)
        raise
    fail_point("records.opened")
    return Writer(path, connection, found.inode)


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of a database; raise `Damaged` if it has none."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            raise Damaged(f"no records database: {error}") from error
        raise
    try:
        return int(row[0])
    except (TypeError, ValueError) as error:
        raise Damaged("no schema version in it") from error


def migrate(connection: sqlite3.Connection, schema: int) -> None:
    """Bring an older database to the schema of today, in one transaction."""
    steps = "".join(MIGRATIONS[version] for version in range(schema, SCHEMA))
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps} UPDATE meta SET value = '{SCHEMA}' WHERE name = 'schema'; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _make(path: str, journal: str) -> None:
    """Put an empty database at `path`, whole or not at all; the caller holds the creation lock."""
    folder, name = os.path.split(path)
    LOCAL.sweep(folder)  # what somebody who was killed here has left
    temporary = os.path.join(folder, temporary_name(name))
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(f"PRAGMA page_size={PAGE}")
            connection.executescript(f"BEGIN; {TABLES} COMMIT;")
            connection.execute(f"PRAGMA journal_mode={journal}").fetchone()
            fail_point("records.made")
        # A log whose database was deleted would be played into the new one.
        for ending in _ASIDE[1:]:
            try:
                os.unlink(path + ending)
            except FileNotFoundError:
                pass
        os.replace(temporary, path)
        fail_point("records.renamed")
    except BaseException:
        for ending in _ASIDE:
            try:
                os.unlink(temporary + ending)
            except OSError:
                pass
        raise


@contextmanager
def _creation_lock(path: str) -> Iterator[None]:
    """Hold the lock under which databases are made, moved aside and changed; freed by the kernel at a kill.

    Without ``fcntl``, and where the file system knows no locks, there is none: then two processes can make the
    database at the same time, the later one wins, and the other notices at its next commit (`Writer.moved`).
    """
    if not _CAN_LOCK:
        yield
        return
    descriptor = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                lockf(descriptor, LOCK_EX | LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)


def connect(path: str, options: str, locks: bool = True) -> sqlite3.Connection:
    """Return a connection to an existing file; `locks`: whether it is a kind that holds locks on it."""
    # Rows are used by whoever holds the lock of the store; that may be another thread each time.
    connection = sqlite3.connect(
        f"{Path(os.path.abspath(path)).as_uri()}?{options}",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    locking[path] += locks
    return connection


def close(path: str, connection: sqlite3.Connection, locks: bool = True) -> None:
    """Close what `connect` has opened."""
    connection.close()
    locking[path] -= locks
