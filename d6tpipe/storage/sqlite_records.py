"""Records in SQLite: ``<data root>/.d6tpipe/records.db``.

=========  =========================================================================================================
hot        what a run reads in bulk; ``record`` leads to the wide row. Clustered by family and task.
building   announcements; a row goes when its task is recorded, or withdrawn
records    wide rows, appended, so that a batch touches few pages; what many have in common is in ``shared``
shared     JSON of the class (code, members, packages) and of the run (host, process, commit), by its hash
sources    text of functions, by its hash
runs       when which run began
=========  =========================================================================================================

What is written waits in memory and goes out in one short transaction: other processes write to the same file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from math import isfinite, nan
from operator import attrgetter
from typing import Any

from d6tpipe.errors import StorageError
from d6tpipe.failpoints import fail_point
from d6tpipe.records import FIELDS, SCHEMA, STAGES, Hot, Record, Timing
from d6tpipe.storage.sqlite_files import stamp
from d6tpipe.storage.sqlite_store import SqliteStore

__all__ = ["SqliteRecords"]

_GROUP = 0.050  # seconds between two commits
_MOST_WAITING = 100_000  # rows kept in memory while the disk says no

_CODE = ("module", "code_fast", "code_stable", "members", "version", "packages", "python")
_RUN = ("run_id", "host", "pid", "boot_id", "git_commit")
_COLUMNS = ("task_id", "family", "seal", "stage", "parameters")
_WRITTEN = ("inputs", "dynamic_inputs", "outputs", "started", "seconds")
_REST = tuple(name for name in FIELDS if name not in (*_CODE, *_RUN, *_COLUMNS, *_WRITTEN))
_code_of, _run_of, _rest_of = attrgetter(*_CODE), attrgetter(*_RUN), attrgetter(*_REST)
_EMPTY = _rest_of(Record("", ""))
_text = encode_basestring_ascii
_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_NOTHING = (b"", b"")
_STARTED = '{"started":'

_WIDE = """
    SELECT h.task_id, h.family, h.seal, h.stage, r.parameters, r.own, c.json, n.json,
        EXISTS(SELECT 1 FROM building b WHERE b.family = h.family AND b.task_id = h.task_id AND b.run_id IS NOT ?)
    FROM hot h JOIN records r ON r.id = h.record
    LEFT JOIN shared c ON c.id = r.code LEFT JOIN shared n ON n.id = r.run"""
_OF_TASK = "WHERE family = ? AND task_id = ?"


class SqliteRecords(SqliteStore):
    """The ``Records`` protocol on one file. Opens what it needs when it needs it; reading never makes a file.

    Parameters
    ----------
    folder : str or path
        The data root.
    clock : callable
        Seconds; must never go back.
    network : bool, optional
        Whether `folder` is on a network file system; by default this is looked up.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        network: bool | None = None,
    ) -> None:
        self._written: Counter[str] = Counter()  # by this process: run to number of records
        self._newest, self._foreign = 0, 0  # number of the newest wide row; how often it was somebody else's
        self._rows: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._marks: dict[tuple[str, str, str], None] = {}
        self._sources: dict[str, str] = {}
        self._runs: dict[str, tuple[str, float, int]] = {}
        self._shared_rows: dict[int, str] = {}
        self._stored: set[int | str] = set()  # what the database is known to hold of shared, sources and runs
        self._shared: dict[tuple[Any, ...], tuple[int, str, tuple[Any, ...]]] = {}
        self._last: dict[str, tuple[tuple[Any, ...], int]] = {}  # family to what its records shared last; "": the run
        super().__init__(os.path.join(os.path.abspath(os.fspath(folder)), ".d6tpipe", "records.db"), clock, network)

    # -- reading ---------------------------------------------------------------------------------------------

    def load_hot(self, families: Iterable[str] | None = None, run_id: str | None = None) -> dict[str, Hot]:
        """Return ``{task id: (stage, digest, seal)}``; see `Records.load_hot`."""
        parts: list[tuple[str, tuple[str, ...]]]
        parts = [("", ())] if families is None else [(" WHERE family = ?", (family,)) for family in families]

        def ask(connection: sqlite3.Connection) -> dict[str, Hot]:
            found: dict[str, Hot] = {}
            for where, values in parts:
                rows = connection.execute(f"SELECT task_id, stage, digest, seal FROM hot{where}", values).fetchall()
                try:
                    part = {task: (STAGES[stage], digest, seal) for task, stage, digest, seal in rows}
                except (LookupError, TypeError):  # a damaged row; the others are good
                    part = {row[0]: (STAGES[row[1]], row[2], row[3]) for row in rows if _is_sound(row)}
                if found:
                    found.update(part)
                else:
                    found = part
                marks = connection.execute(f"SELECT task_id, run_id FROM building{where}", values)
                for task, announced_by in marks.fetchall():
                    if announced_by != run_id:
                        _, digest, seal = found.get(task, (None, *_NOTHING))
                        found[task] = (STAGES[0], digest, seal)
            return found

        return self._ask(ask, dict)

    def prepare(self) -> None:
        """Open for writing; see `Records.prepare`."""
        with self._lock:
            self._mind_forks()
            if self._writer is None and not self._refused and self._clock() >= self._retry_at:
                self._attempt(lambda connection: None)
        self._speak()

    def foreign(self, run_id: str) -> int:
        """Return a number that grows with what others write; see `Records.foreign`."""

        def ask(connection: sqlite3.Connection) -> int:
            return self._note_newest(connection)

        with self._lock:  # an own row that goes out now is not a foreign one
            self._ask(ask, lambda: 0)
            return self._foreign + sum(count for run, count in self._written.items() if run != run_id)

    def _note_newest(self, connection: sqlite3.Connection) -> int:
        """Return the number of the newest wide row, having noted whether somebody else has added some."""
        (newest,) = connection.execute("SELECT ifnull(max(id), 0) FROM records").fetchone()
        if newest != self._newest:
            self._newest = newest
            self._foreign += 1
        return int(newest)

    def load_one(self, family: str, task_id: str, run_id: str | None = None) -> Hot | None:
        """Return what `load_hot` has of one task; see `Records.load_one`."""
        task = (family, task_id)

        def ask(connection: sqlite3.Connection) -> Hot | None:
            row = connection.execute(f"SELECT stage, digest, seal FROM hot {_OF_TASK}", task).fetchone()
            mark = f"SELECT 1 FROM building {_OF_TASK} AND run_id IS NOT ? LIMIT 1"
            if connection.execute(mark, (*task, run_id)).fetchone():
                return (STAGES[0], *(row[1:] if row else _NOTHING))
            return (STAGES[row[0]], row[1], row[2]) if row else None

        return self._ask(ask, _none)

    def announcers(self, family: str, task_id: str) -> set[str]:
        """Return the runs that have announced a task; see `Records.announcers`."""

        def ask(connection: sqlite3.Connection) -> set[str]:
            marks = connection.execute(f"SELECT run_id FROM building {_OF_TASK}", (family, task_id))
            return {run_id for (run_id,) in marks}

        return self._ask(ask, set)

    def timings(self, families: Iterable[str]) -> dict[str, Timing]:
        """Return ``{task id: (seconds, stage, has metadata)}``; see `Records.timings`."""
        wanted = list(families)

        def ask(connection: sqlite3.Connection) -> dict[str, Timing]:
            found: dict[str, Timing] = {}
            query = "SELECT task_id, stage, own FROM hot JOIN records ON id = record WHERE family = ?"
            for family in wanted:
                for task, stage, own in connection.execute(query, (family,)):
                    try:
                        seconds, has_metadata = _timing(own)
                        found[task] = (seconds, STAGES[stage], has_metadata)
                    except (LookupError, TypeError, ValueError, AttributeError):  # damaged; the others are good
                        continue
                for (task,) in connection.execute("SELECT DISTINCT task_id FROM building WHERE family = ?", (family,)):
                    seconds, _, has_metadata = found.get(task, (nan, "", False))
                    found[task] = (seconds, STAGES[0], has_metadata)
            return found

        return self._ask(ask, dict)

    def get(self, task_id: str, run_id: str | None = None) -> Record | None:
        """Return the record of one task, or None; see `Records.get`."""

        def ask(connection: sqlite3.Connection) -> tuple[str, Any] | None:
            for family in _families(connection, task_id):
                task = (family, task_id)
                row = connection.execute(f"{_WIDE} WHERE h.family = ? AND h.task_id = ?", (run_id, *task)).fetchone()
                mark = f"SELECT 1 FROM building {_OF_TASK} AND run_id IS NOT ?"
                if row or connection.execute(mark, (*task, run_id)).fetchone():
                    return family, row
            return None

        found = self._ask(ask, _none)
        if found is None:
            return None
        family, row = found
        return self._record(row) if row else Record(task_id, family, stage=STAGES[0])

    def all(self) -> Iterator[Record]:
        """Return all records; see `Records.all`."""

        def ask(connection: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
            rows = connection.execute(f"{_WIDE} ORDER BY r.id", (None,)).fetchall()
            marks = "SELECT family, task_id FROM building EXCEPT SELECT family, task_id FROM hot"
            return rows, connection.execute(marks).fetchall()

        rows, marks = self._ask(ask, lambda: ([], []))
        for row in rows:
            record = self._record(row)
            if record is not None:
                yield record
        for family, task_id in marks:
            yield Record(task_id, family, stage=STAGES[0])

    def get_source(self, hash: str) -> str | None:
        """Return the text kept under a hash, or None."""

        def ask(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT text FROM sources WHERE hash = ?", (hash,)).fetchone()
            return str(row[0]) if row else None

        return self._ask(ask, _none)

    def _record(self, row: tuple[Any, ...]) -> Record | None:
        """Return the record in a row of `_WIDE`; None, with a warning, if it is damaged."""
        task_id, family, seal, stage, parameters, own, code, run, announced = row
        try:
            found = {"schema": SCHEMA, "task_id": task_id, "family": family, "parameters": parameters}
            for part in (own, code, run):
                if part:
                    found.update(json.loads(part))
            found["seal"], found["stage"] = seal.hex(), STAGES[0 if announced else stage]
            return Record.from_dict(found)
        except (StorageError, LookupError, TypeError, ValueError, AttributeError) as error:
            with self._lock:
                self._say("damaged record", f"The record of {task_id} in {self.path} is damaged: {error}")
            self._speak()
            return None

    # -- writing ---------------------------------------------------------------------------------------------

    def building(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        """Announce tasks, and commit; see `Records.building`."""
        with self._lock:
            self._mind_forks()
            for family, task_id in tasks:
                self._marks[family, task_id, run_id] = None
            self._store_queue()
        self._speak()

    def withdraw(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        """Take announcements back; see `Records.withdraw`."""
        marks = [(family, task_id, run_id) for family, task_id in tasks]
        with self._lock:
            for mark in marks:
                self._marks.pop(mark, None)
        self._change(
            lambda connection: connection.executemany(f"DELETE FROM building {_OF_TASK} AND run_id = ?", marks)
        )

    def write(self, records: Iterable[Record]) -> None:
        """Put records in place of earlier ones of the same tasks; see `Records.write`."""
        with self._lock:
            self._mind_forks()
            for record in records:
                if record.stage not in STAGES[1:]:
                    raise ValueError(f"stage {record.stage!r}: write() takes {STAGES[1:]}, building() announces")
                self._queue(record)
            if not 0 <= self._clock() - self._last_commit < _GROUP:
                self._store_queue()
        self._speak()

    def forget(self, task_ids: Iterable[str]) -> None:
        """Drop records and announcements of tasks."""
        wanted = list(task_ids)

        def work(connection: sqlite3.Connection) -> None:
            tasks = [(family, task_id) for task_id in wanted for family in _families(connection, task_id)]
            connection.executemany(f"DELETE FROM records WHERE id = (SELECT record FROM hot {_OF_TASK})", tasks)
            connection.executemany(f"DELETE FROM building {_OF_TASK}", tasks)
            connection.executemany(f"DELETE FROM hot {_OF_TASK}", tasks)

        self._change(work)

    def put_source(self, hash: str, text: str) -> None:
        """Keep a text under its hash; it is written with the next records."""
        with self._lock:
            self._mind_forks()
            if hash not in self._stored:
                self._sources[hash] = text

    def flush(self) -> None:
        """Make everything written so far outlive a kill."""
        with self._lock:
            self._mind_forks()
            self._retry_at = float("-inf")
            self._store_queue()
        self._speak()

    def close(self) -> None:
        """Flush, and release the file; the last process to do so removes the WAL."""
        with self._lock:
            self._mind_forks()
            self._retry_at = float("-inf")
            self._store_queue()
            fail_point("records.close")
            self._release()
            fail_point("records.closed")
            self._refused = False
            self._warned.clear()
        self._speak()

    def _change(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        """Change what is there; without a database there is nothing to change."""
        with self._lock:
            self._mind_forks()
            self._store_queue()
            if not self._refused and self._exists():
                self._attempt(work)
        self._speak()

    def _exists(self) -> bool:
        try:
            return stamp(self.path) is not None
        except OSError:
            return True  # for _attempt to find out what is wrong with it

    def _queue(self, record: Record) -> None:
        self._written[record.run_id] += 1
        code, run = self._share_code(record), self._share_run(record)
        if record.run_id and record.run_id not in self._stored:
            self._runs.setdefault(record.run_id, (record.run_id, record.started, run))
        key = (record.family, record.task_id)
        self._rows.pop(key, None)
        self._rows[key] = (
            STAGES.index(record.stage),
            record.digest,
            record.seal,
            code,
            run,
            record.parameters,
            _own_json(record),
        )
        if self._marks:
            for mark in [mark for mark in self._marks if mark[:2] == key]:
                del self._marks[mark]

    def _share_code(self, record: Record) -> int:
        values = module, fast, stable, members, version, packages, python = _code_of(record)
        last = self._last.get(record.family)
        if last is not None and last[0] == values and last[1] in self._stored:  # nearly always: the same objects
            return last[1]
        # Dicts by identity: to write them out costs 5 us.
        number = self._share(_CODE, (module, fast, stable, id(members), version, id(packages), python), values)
        self._last[record.family] = values, number
        return number

    def _share_run(self, record: Record) -> int:
        values = _run_of(record)
        last = self._last.get("")
        if last is not None and last[0] == values and last[1] in self._stored:
            return last[1]
        number = self._share(_RUN, values, values)
        self._last[""] = values, number
        return number

    def _share(self, fields: tuple[str, ...], key: tuple[Any, ...], values: tuple[Any, ...]) -> int:
        """Return the number of the row that holds these fields; every task of a class and run has the same one."""
        found = self._shared.get(key)
        if found is None:
            if len(self._shared) > 10_000:
                self._shared.clear()
            plain = {n: dict(v) if isinstance(v, Mapping) else v for n, v in zip(fields, values, strict=True)}
            text = _dumps(plain)
            number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
            # The values are kept, so that no other dict gets the id of one of these.
            found = self._shared[key] = (number, text, values)
        if found[0] not in self._stored:
            self._shared_rows[found[0]] = found[1]
        return found[0]

    # -- what the store asks for -----------------------------------------------------------------------------

    def _store_queue(self) -> None:
        if not (self._rows or self._marks or self._sources):
            return
        if not self._refused and self._clock() >= self._retry_at and self._attempt(self._insert):
            self._stored.update(self._shared_rows, self._runs, self._sources)
            self._drop_queue()
        elif self._refused or len(self._rows) + len(self._marks) > _MOST_WAITING:
            self._drop_queue()

    def _insert(self, connection: sqlite3.Connection) -> None:
        if self._shared_rows:
            connection.executemany("INSERT OR IGNORE INTO shared VALUES (?, ?)", self._shared_rows.items())
        if self._runs:
            connection.executemany("INSERT OR IGNORE INTO runs VALUES (?, ?, ?)", self._runs.values())
        if self._sources:
            connection.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", self._sources.items())
        rows = self._rows
        if rows:
            last = self._note_newest(connection)  # before rows go: a number that was in use must not come again
            connection.executemany(f"DELETE FROM records WHERE id = (SELECT record FROM hot {_OF_TASK})", rows)
            hot = [(*key, *row[:3], number) for number, (key, row) in enumerate(rows.items(), last + 1)]
            wide = [(number, *row[3:]) for number, row in enumerate(rows.values(), last + 1)]
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", wide)
            self._newest = wide[-1][0]
            connection.executemany("INSERT OR REPLACE INTO hot VALUES (?, ?, ?, ?, ?, ?)", hot)
            connection.executemany(f"DELETE FROM building {_OF_TASK}", rows)
        if self._marks:
            connection.executemany("INSERT OR IGNORE INTO building VALUES (?, ?, ?)", self._marks)

    def _drop_queue(self) -> None:
        for waiting in (self._rows, self._marks, self._sources, self._runs, self._shared_rows):
            waiting.clear()

    def _new_database(self) -> None:
        # What waits was queued without the shared rows that the database before was known to hold.
        self._stored.clear()
        self._shared_rows.update({number: text for number, text, _ in self._shared.values()})


def _own_json(record: Record) -> str:
    """Return as JSON what a record shares with no other, without what is empty; by hand: a quarter of the time."""
    outputs = ",".join(
        [
            f'[{_text(o.key)},{_text(o.path)},{o.size},{o.mtime_ns},"{o.digest.hex()}",{_text(o.format)}]'
            for o in record.outputs
        ]
    )
    parts = [f'"started":{_number(record.started)},"seconds":{_number(record.seconds)},"outputs":[{outputs}]']
    for name in ("inputs", "dynamic_inputs"):
        rows = getattr(record, name)
        if rows:
            found = ",".join([f'[{_text(row.key)},{_text(row.task_id)},"{row.digest.hex()}"]' for row in rows])
            parts.append(f'"{name}":[{found}]')
    rest = _rest_of(record)
    if rest != _EMPTY:
        for name, value, empty in zip(_REST, rest, _EMPTY, strict=True):
            if value != empty:
                parts.append(f'"{name}":{_dumps(value)}')
    return "{" + ",".join(parts) + "}"


def _timing(own: str) -> tuple[float, bool]:
    """Return how long the body ran of what `_own_json` has written, NaN if it did not; and if it saved metadata."""
    started, seconds, rest = own.split(",", 2)
    if started[:11] == _STARTED and started[11:] != "0.0":  # without parsing the rest: a fifth of the time
        if rest[-2:] == "]}":  # nothing after the lists of outputs and inputs
            return float(seconds[10:]), False
        lists, found, metadata = rest.rpartition(',"metadata":"')
        if found and lists[-1] == "]" and metadata[-2:] == '"}' and metadata[:-2].isalnum():  # nothing else
            return float(seconds[10:]), True
    whole = json.loads(own)
    ran = whole.get("started") and not (whole.get("accepted") or whole.get("observed"))
    return float(whole.get("seconds", nan)) if ran else nan, bool(whole.get("metadata"))


def _number(value: float) -> str:
    return repr(value) if isfinite(value) else _dumps(value)


def _none() -> None:
    return None


def _is_sound(row: tuple[Any, ...]) -> bool:
    return row[1] in (1, 2, 3) and isinstance(row[2], bytes) and isinstance(row[3], bytes)


def _families(connection: sqlite3.Connection, task_id: str) -> list[str]:
    """Return the families under which a task may be found; the id begins with its family, as luigi's do."""
    places = [place for place, letter in enumerate(task_id) if letter == "_"]
    guesses = [*(task_id[:place] for place in places), task_id]
    tables = "SELECT family FROM hot UNION ALL SELECT family FROM building"
    query = f"SELECT 1 FROM ({tables}) WHERE family = ? LIMIT 1"
    known = [guess for guess in guesses if connection.execute(query, (guess,)).fetchone()]
    if known:
        return known
    found = connection.execute(
        "SELECT family FROM hot WHERE task_id = ? UNION SELECT family FROM building WHERE task_id = ?",
        (task_id, task_id),
    )
    return [family for (family,) in found]
