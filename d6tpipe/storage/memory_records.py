"""Records in memory: of outputs that are kept in memory, too, and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from d6tpipe.records import STAGES, Hot, Record

__all__ = ["MemoryRecords"]


class MemoryRecords:
    """The ``Records`` protocol on dicts; holds JSON text, so a later change of a record does not get in.

    Attributes
    ----------
    log : list of (str, list of task ids)
        "building", "write", "withdraw" and "forget", as they happen; "flush" and "close" with an empty list.
    """

    def __init__(self, root: str = "") -> None:
        self.texts: dict[str, str] = {}
        self.hot: dict[str, tuple[str, Hot]] = {}  # task id to (family, hot)
        self.marks: dict[str, tuple[str, set[str]]] = {}  # task id to (family, runs)
        self.sources: dict[str, str] = {}
        self.log: list[tuple[str, list[str]]] = []

    def _announced(self, task_id: str, run_id: str | None) -> bool:
        return any(run != run_id for run in self.marks.get(task_id, ("", set()))[1])

    def load_hot(self, families: Iterable[str] | None = None, run_id: str | None = None) -> dict[str, Hot]:
        wanted = None if families is None else set(families)
        found = {task: hot for task, (family, hot) in self.hot.items() if wanted is None or family in wanted}
        for task, (family, _) in self.marks.items():
            if (wanted is None or family in wanted) and self._announced(task, run_id):
                found[task] = (STAGES[0], *found.get(task, ("", b"", b""))[1:])
        return found

    def load_one(self, family: str, task_id: str, run_id: str | None = None) -> Hot | None:
        return self.load_hot([family], run_id).get(task_id)

    def get(self, task_id: str, run_id: str | None = None) -> Record | None:
        announced = self._announced(task_id, run_id)
        if task_id in self.texts:
            record = Record.from_json(self.texts[task_id])
            record.stage = STAGES[0] if announced else record.stage
            return record
        return Record(task_id, self.marks[task_id][0], stage=STAGES[0]) if announced else None

    def all(self) -> Iterator[Record]:
        for task_id in [*self.texts, *(task for task in self.marks if task not in self.texts)]:
            record = self.get(task_id)
            if record is not None:
                yield record

    def building(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        tasks = list(tasks)
        self.log.append(("building", [task for _, task in tasks]))
        for family, task in tasks:
            self.marks.setdefault(task, (family, set()))[1].add(run_id)

    def withdraw(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        tasks = list(tasks)
        self.log.append(("withdraw", [task for _, task in tasks]))
        for _, task in tasks:
            self.marks.get(task, ("", set()))[1].discard(run_id)

    def write(self, records: Iterable[Record]) -> None:
        records = list(records)
        self.log.append(("write", [record.task_id for record in records]))
        for record in records:
            if record.stage not in STAGES[1:]:
                raise ValueError(f"stage {record.stage!r} is announced by building()")
            self.texts.pop(record.task_id, None)
            self.texts[record.task_id] = record.to_json()
            self.hot[record.task_id] = (record.family, (record.stage, record.digest, record.seal))
            self.marks.pop(record.task_id, None)

    def forget(self, task_ids: Iterable[str]) -> None:
        task_ids = list(task_ids)
        self.log.append(("forget", task_ids))
        for held in (self.texts, self.hot, self.marks):
            for task in task_ids:
                held.pop(task, None)

    def put_source(self, hash: str, text: str) -> None:
        self.sources.setdefault(hash, text)

    def get_source(self, hash: str) -> str | None:
        return self.sources.get(hash)

    def flush(self) -> None:
        self.log.append(("flush", []))

    def close(self) -> None:
        self.log.append(("close", []))
