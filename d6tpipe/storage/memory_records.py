"""Records in memory: of outputs that are kept in memory, too, and for tests."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from math import nan
from operator import attrgetter

from d6tpipe.records import FIELDS, STAGES, Hot, Record, Timing

__all__ = ["MemoryRecords"]


class MemoryRecords:
    """The ``Records`` protocol on dicts; holds copies, so a later change of a record does not get in.

    Attributes
    ----------
    log : list of (str, list of task ids)
        "building", "write", "withdraw" and "forget", as they happen; "flush" and "close" with an empty list.
        Only with ``logging=True``.
    """

    def __init__(self, root: str = "", logging: bool = True) -> None:
        self.records: dict[str, Record] = {}
        self.hot: dict[str, dict[str, Hot]] = {}  # family to task id to hot row
        self.marks: dict[str, tuple[str, set[str]]] = {}  # task id to (family, runs)
        self.sources: dict[str, str] = {}
        self.log: list[tuple[str, list[str]]] = []
        self._written: Counter[str] = Counter()  # by run
        self._logging = logging and root == ""

    def _note(self, what: str, tasks: list[str]) -> None:
        if self._logging:
            self.log.append((what, tasks))

    def _announced(self, task_id: str, run_id: str | None) -> bool:
        return any(run != run_id for run in self.marks.get(task_id, ("", ()))[1])

    def load_hot(self, families: Iterable[str] | None = None, run_id: str | None = None) -> dict[str, Hot]:
        wanted = set(self.hot).union(family for family, _ in self.marks.values()) if families is None else set(families)
        found = {task: hot for family in wanted for task, hot in self.hot.get(family, {}).items()}
        for task, (family, _) in self.marks.items():
            if family in wanted and self._announced(task, run_id):
                found[task] = (STAGES[0], *found.get(task, ("", b"", b""))[1:])
        return found

    def prepare(self) -> None:
        """Nothing to do."""

    def foreign(self, run_id: str) -> int:
        return sum(count for run, count in self._written.items() if run != run_id)

    def load_one(self, family: str, task_id: str, run_id: str | None = None) -> Hot | None:
        found = self.hot.get(family, {}).get(task_id)
        if self._announced(task_id, run_id):
            return (STAGES[0], *(found or ("", b"", b""))[1:])
        return found

    def timings(self, families: Iterable[str]) -> dict[str, Timing]:
        found: dict[str, Timing] = {}
        for task, (stage, _, _) in self.load_hot(families).items():
            record = self.records.get(task)
            ran = record is not None and record.started and not (record.accepted or record.observed)
            found[task] = (
                record.seconds if record is not None and ran else nan,
                stage,
                record is not None and bool(record.metadata),
            )
        return found

    def get(self, task_id: str, run_id: str | None = None) -> Record | None:
        announced = self._announced(task_id, run_id)
        if task_id in self.records:
            record = _copied(self.records[task_id])
            record.stage = STAGES[0] if announced else record.stage
            return record
        return Record(task_id, self.marks[task_id][0], stage=STAGES[0]) if announced else None

    def all(self) -> Iterator[Record]:
        for task_id in [*self.records, *(task for task in self.marks if task not in self.records)]:
            record = self.get(task_id)
            if record is not None:
                yield record

    def building(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        tasks = list(tasks)
        self._note("building", [task for _, task in tasks])
        for family, task in tasks:
            self.marks.setdefault(task, (family, set()))[1].add(run_id)

    def announcers(self, family: str, task_id: str) -> set[str]:
        return set(self.marks.get(task_id, ("", set()))[1])

    def withdraw(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        tasks = list(tasks)
        self._note("withdraw", [task for _, task in tasks])
        for _, task in tasks:
            runs = self.marks.get(task, ("", set()))[1]
            runs.discard(run_id)
            if not runs:
                self.marks.pop(task, None)

    def write(self, records: Iterable[Record]) -> None:
        records = list(records)
        self._note("write", [record.task_id for record in records])
        for record in records:
            if record.stage not in STAGES[1:]:
                raise ValueError(f"stage {record.stage!r} is announced by building()")
            self.records.pop(record.task_id, None)
            self.records[record.task_id] = _copied(record)
            self._written[record.run_id] += 1
            rows = self.hot.setdefault(record.family, {})
            rows[record.task_id] = (record.stage, record.digest, record.seal)
            self.marks.pop(record.task_id, None)

    def forget(self, task_ids: Iterable[str]) -> None:
        task_ids = list(task_ids)
        self._note("forget", task_ids)
        for task in task_ids:
            self.records.pop(task, None)
            self.marks.pop(task, None)
            for rows in self.hot.values():
                rows.pop(task, None)

    def put_source(self, hash: str, text: str) -> None:
        self.sources.setdefault(hash, text)

    def get_source(self, hash: str) -> str | None:
        return self.sources.get(hash)

    def flush(self) -> None:
        self._note("flush", [])

    def close(self) -> None:
        self._note("close", [])


_fields = attrgetter(*FIELDS)
_LISTS = [FIELDS.index(name) for name in ("inputs", "dynamic_inputs", "outputs")]


def _copied(record: Record) -> Record:
    values = list(_fields(record))
    for place in _LISTS:
        values[place] = [copy.copy(row) for row in values[place]]
    return Record(*values)
