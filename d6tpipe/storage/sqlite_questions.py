"""Reading the records database without leaving a trace: no file, no folder, no right to write needed.

A plain read-only connection of SQLite makes ``-shm`` and ``-wal`` files, and fails where it may not.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing

from d6tpipe.records import SCHEMA, newer_than_this
from d6tpipe.storage.sqlite_files import (
    Stamp,
    check_size,
    close,
    connect,
    locking,
    migrate,
    opening,
    schema_of,
    stamp,
)

__all__ = ["Question", "open_question"]

_LOG_HEADER = 32  # bytes


class Question:
    """A connection that only reads and leaves no trace; see `open_question`."""

    def __init__(self, path: str, connection: sqlite3.Connection, seen: Stamp, kind: str) -> None:
        self.path, self.connection, self.seen, self.kind = path, connection, seen, kind

    def current(self) -> bool:
        """Return whether the answer that was just read is one of the database as it is."""
        now = stamp(self.path)
        return now is not None and (now.inode == self.seen.inode if self.kind == "live" else now == self.seen)

    def close(self) -> None:
        """Release the file."""
        close(self.path, self.connection, locks=self.kind == "live")


def open_question(path: str) -> Question | None:
    """Return a connection that reads and creates nothing; None if there is no database.

    ==========  ===============================================  ==================================================
    kind        when                                             how
    ==========  ===============================================  ==================================================
    immutable   WAL database at rest: no ``-wal`` beside it, or  no locks; check `Question.current` afterwards
                one without content, left by a kill: SQLite
                would wait ten seconds for whoever has begun it
    live        ``-wal`` and ``-shm`` are there, or no WAL used  read-only, with locks, sees one moment in time
    memory      anything else: a log without index after a       copied to a scratch folder, recovered there, and
                reboot, a journal to roll back, an old schema    read into memory
    ==========  ===============================================  ==================================================

    Raises
    ------
    NewerRecordError
        A newer d6tpipe has written it.
    sqlite3.Error, OSError
        It cannot be read.
    """
    with opening:
        seen = stamp(path)
        if seen is None:
            return None
        check_size(path, seen.size)
        ours = locking[path] > 0  # then nobody may open the file behind SQLite's back
        at_rest = seen.wal is None or seen.wal[1] <= _LOG_HEADER
        immutable = at_rest and not ours and _uses_wal(path)
        options = "mode=ro&immutable=1" if immutable else "mode=ro&readonly_shm=1"
        connection = connect(path, options, not immutable)
        schema: int | None = None
        try:
            schema = schema_of(connection)
            if schema == SCHEMA:
                return Question(path, connection, seen, "immutable" if immutable else "live")
        except sqlite3.OperationalError:
            if ours:
                raise
        finally:
            if schema != SCHEMA:
                close(path, connection, not immutable)
        if schema is not None and schema > SCHEMA:
            raise newer_than_this("The records database", schema, path)
        if ours:
            raise sqlite3.OperationalError("the database is being migrated")
        return Question(path, _copied(path), seen, "memory")


def _copied(path: str) -> sqlite3.Connection:
    """Return a database in memory with the content of the one at `path`, log and journal applied."""
    # The log only grows until it is started again under a new header, and only pages that are in it are copied
    # into the database. So a database read before a log with one header, however torn, is made whole by it.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    scratch = tempfile.mkdtemp(prefix="d6tpipe-", dir=memory)
    try:
        copy = os.path.join(scratch, "records.db")
        for _ in range(20):
            before = _log_header(path)
            for ending in ("", "-journal", "-wal"):
                try:
                    shutil.copyfile(path + ending, copy + ending)
                except FileNotFoundError:
                    if os.path.exists(copy + ending):
                        os.unlink(copy + ending)
            if before == _log_header(copy) == _log_header(path):
                break
        found = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            with closing(sqlite3.connect(copy, isolation_level=None)) as source:
                source.execute("PRAGMA locking_mode=EXCLUSIVE")
                source.backup(found)
            schema = schema_of(found)
            if schema > SCHEMA:
                raise newer_than_this("The records database", schema, path)
            if schema < SCHEMA:
                migrate(found, schema)
        except BaseException:
            found.close()
            raise
        return found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _log_header(path: str) -> bytes:
    try:
        with open(path + "-wal", "rb") as file:
            return file.read(_LOG_HEADER)
    except FileNotFoundError:
        return b""


def _uses_wal(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[18:20] == b"\2\2"
