"""Fakes: places for files and records in memory, faults on demand, and builds that follow a script."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Event, Failure, Files, Outcome, State
from d6tpipe.records import STAGES, Hot, Record
from d6tpipe.storage.files import temporary_name

__all__ = [
    "Crash",
    "FaultyFiles",
    "MemoryFiles",
    "MemoryRecords",
    "Recorder",
    "ScriptedBodies",
    "ScriptedExecutor",
    "ScriptedView",
]


# -- files -------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here, as far as a test is concerned. No ``except Exception`` stops it."""


class MemoryFiles:
    """The ``Files`` protocol on a dict; for tests that should not leave anything behind.

    Parameters
    ----------
    contents : dict of str to bytes, optional
        What is there at the start.

    Notes
    -----
    A ``fill`` function writes to a path, so `write` gives it one in a scratch folder of the real disk.
    """

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents: dict[str, bytes] = dict(contents or {})
        self.folders: set[str] = set()
        for path in self.contents:
            self._add_folders(os.path.dirname(path))

    def _add_folders(self, folder: str) -> None:
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = os.path.dirname(folder)

    def exists(self, path: str) -> bool:
        return path in self.contents or path in self.folders

    def listing(self, folder: str) -> set[str]:
        return {os.path.basename(path) for path in (*self.contents, *self.folders) if os.path.dirname(path) == folder}

    def ensure_folder(self, folder: str) -> None:
        self._refuse_file_as_folder(folder, folder)
        self._add_folders(folder)

    def sweep(self, folder: str) -> int:
        """Return 0: what a dead process leaves behind is not in another's memory."""
        return 0

    def write(self, path: str, fill: Callable[[str], None]) -> None:
        self._refuse_file_as_folder(path, os.path.dirname(path))
        if path in self.folders:
            raise StorageError("Cannot write a file", facts={"path": path, "reason": "there is a folder"})
        scratch = tempfile.mkdtemp()
        try:
            temporary = os.path.join(scratch, temporary_name(os.path.basename(path)))
            try:
                fill(temporary)
                with open(temporary, "rb") as file:
                    content = file.read()
            except OSError as error:
                raise StorageError("Cannot write a file", facts={"path": path, "reason": error}) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._add_folders(os.path.dirname(path))
        self.contents[path] = content

    def remove(self, path: str) -> bool:
        if path in self.folders:
            raise StorageError("Cannot remove a file", facts={"path": path, "reason": "it is a folder"})
        return self.contents.pop(path, None) is not None

    def _refuse_file_as_folder(self, path: str, folder: str) -> None:
        while folder:
            if folder in self.contents:
                raise StorageError("A file is in the way", facts={"path": path, "file": folder})
            parent = os.path.dirname(folder)
            folder = parent if parent != folder else ""


class FaultyFiles:
    """Any ``Files``, with one operation that fails.

    Operations are counted from 1 in the order they happen. ``exists``, ``listing``, ``ensure_folder`` and
    ``remove`` are one each; a ``write`` is three, so that a test can stop it wherever it matters: before
    anything is written, with half of it written, and after the rename.

    Parameters
    ----------
    inner : Files
        What does the work.
    at : int
        The operation that fails; 0 for none (to count them first).
    error : BaseException or type of one, optional
        What is raised. An OSError is what a full disk gives; `Crash` (default) is the end of the process: no
        cleaning up is done, so a half-written temporary file stays.

    Attributes
    ----------
    count : int
        Operations so far.
    log : list of str
        Their names.
    """

    def __init__(self, inner: Files, at: int, error: BaseException | type[BaseException] = Crash) -> None:
        self.inner, self.at, self.error = inner, at, error
        self.count = 0
        self.log: list[str] = []

    def exists(self, path: str) -> bool:
        self._step(f"exists {path}")
        return self.inner.exists(path)

    def listing(self, folder: str) -> set[str]:
        self._step(f"listing {folder}")
        return self.inner.listing(folder)

    def ensure_folder(self, folder: str) -> None:
        self._step(f"ensure_folder {folder}")
        self.inner.ensure_folder(folder)

    def sweep(self, folder: str) -> int:
        self._step(f"sweep {folder}")
        return self.inner.sweep(folder)

    def remove(self, path: str) -> bool:
        self._step(f"remove {path}")
        return self.inner.remove(path)

    def write(self, path: str, fill: Callable[[str], None]) -> None:
        self._step(f"write {path}")

        def half(temporary: str) -> None:
            fill(temporary)
            try:
                self._step(f"fill {path}")
            except BaseException as error:
                halve(temporary)
                if isinstance(error, Crash):
                    # A dead process cleans up nothing: take the file out of reach of the inner clean-up.
                    beside = os.path.join(os.path.dirname(temporary), temporary_name(os.path.basename(path)))
                    os.rename(temporary, beside)
                raise

        self.inner.write(path, half)
        self._step(f"renamed {path}")

    def _step(self, name: str) -> None:
        self.count += 1
        self.log.append(name)
        if self.count == self.at:
            raise self.error


def halve(path: str) -> None:
    """Cut the second half of a file off, as a crash in the middle of writing does."""
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)


# -- whole builds ------------------------------------------------------------------------------------------


class ScriptedView:
    """The ``TaskView`` protocol on names: a graph written down as a dict, without a task or a disk.

    Parameters
    ----------
    needs : mapping of name to names
        What each needs; a name that is not a key needs nothing. An exception in place of the names is raised
        when that task is asked.
    present : iterable of names
        Whose outputs exist.
    priority : mapping of name to number, optional
    disabled, external : iterable of names
        What must not, and what cannot be built.
    cascade : bool
        Whether a task is complete only when all it needs is.

    Attributes
    ----------
    asked, looked : collections.Counter
        How often each task was asked what it needs, and looked at for its outputs.
    """

    def __init__(
        self,
        needs: Mapping[Any, Any],
        present: Iterable[Any] = (),
        priority: Mapping[Any, float] | None = None,
        disabled: Iterable[Any] = (),
        external: Iterable[Any] = (),
        cascade: bool = True,
    ) -> None:
        self.graph = needs
        self.outputs = set(present)
        self.priorities = dict(priority or {})
        self.off, self.elsewhere = set(disabled), set(external)
        self.cascade = cascade
        self.asked: Counter[Any] = Counter()
        self.looked: Counter[Any] = Counter()

    def identify(self, task: Any) -> tuple[Any, Hashable]:
        return task, task

    def needs(self, node: Any) -> Sequence[Any]:
        self.asked[node.task] += 1
        found = self.graph.get(node.task, ())
        if isinstance(found, BaseException):
            raise found
        return tuple(found)

    def present(self, nodes: Sequence[Any]) -> None:
        for node in nodes:
            self.looked[node.task] += 1
            node.present = node.task in self.outputs

    def cascades(self, node: Any) -> bool:
        return self.cascade

    def runnable(self, node: Any) -> bool:
        return node.task not in self.elsewhere

    def enabled(self, node: Any) -> bool:
        return node.task not in self.off

    def priority(self, node: Any) -> float:
        return self.priorities.get(node.task, 0)


class ScriptedBodies:
    """Bodies to go with a `ScriptedView`: give it to the engine as ``work``.

    Parameters
    ----------
    bodies : mapping of name to body, optional
        A body is an exception, which the task fails with (a KeyboardInterrupt is raised); a `State` it ends in;
        or a generator function without arguments that yields lists of names, which it then waits for. Any
        other task is built.

    Attributes
    ----------
    ran : list of names
        In the order the bodies were started; a resumed body is not started again.
    used : dict of name to bool
        Whether the engine said that something waits for the output.
    closed : list of names
        Bodies that were given up while they waited.
    """

    def __init__(self, bodies: Mapping[Any, Any] | None = None) -> None:
        self.bodies = dict(bodies or {})
        self.ran: list[Any] = []
        self.used: dict[Any, bool] = {}
        self.closed: list[Any] = []

    def __call__(self, node: Any, used: bool) -> Outcome:
        self.ran.append(node.task)
        self.used[node.task] = used
        body = self.bodies.get(node.task, State.BUILT)
        if isinstance(body, KeyboardInterrupt):
            raise body
        if isinstance(body, BaseException):
            return Outcome(State.FAILED, 1.0, Failure(node.task, body, "", 1.0))
        if isinstance(body, State):
            return Outcome(body, 1.0)
        return _ScriptedSuspension(self, node.task, body()).resume()


class _ScriptedSuspension:
    def __init__(self, bodies: ScriptedBodies, task: Any, generator: Generator[Any, Any, Any]) -> None:
        self.bodies, self.task, self.generator = bodies, task, generator
        self.requirements: Sequence[Any] = ()

    def resume(self) -> Outcome:
        try:
            self.requirements = next(self.generator)
        except StopIteration:
            return Outcome(State.BUILT, 1.0)
        except Exception as error:  # noqa: BLE001  (reported)
            return Outcome(State.FAILED, 1.0, Failure(self.task, error, "", 1.0))
        return Outcome(State.RUNNING, 1.0, suspension=self)

    def close(self) -> None:
        self.bodies.closed.append(self.task)
        self.generator.close()


class ScriptedExecutor:
    """The ``Executor`` protocol: work ends in the order that the test says.

    Parameters
    ----------
    order : iterable
        The task or node key that ends next; an exception instance is raised there instead. After the last entry, work
        ends in the order it was submitted.
    capacity : int
        How much is taken at once.

    Attributes
    ----------
    log : list of (str, task)
        "submit" and "done", as they happen.
    """

    def __init__(self, order: Iterable[Any] = (), capacity: int = 1) -> None:
        self.capacity = capacity
        self.log: list[tuple[str, Any]] = []
        self.closed = False
        self._order = list(order)
        self._taken: dict[Any, tuple[Any, Callable[[], Outcome]]] = {}

    def submit(self, node: Any, work: Callable[[], Outcome]) -> None:
        self.log.append(("submit", node.task))
        self._taken[node.key] = node, work

    def wait(self) -> Iterable[tuple[Any, Outcome]]:
        key = next(iter(self._taken))
        if self._order:
            wanted = self._order.pop(0)
            if isinstance(wanted, BaseException):
                raise wanted
            found = [k for k, (node, _) in self._taken.items() if wanted in (k, node.task)]
            running = [node.task for node, _ in self._taken.values()]
            assert found, f"{wanted!r} was to end next, but only {running} are under way"
            key = found[0]
        node, work = self._taken.pop(key)
        outcome = work()
        self.log.append(("done", node.task))
        return [(node, outcome)]

    def close(self) -> None:
        self.closed = True
        self._taken.clear()


class Recorder:
    """A reporter, or a callback of ``run``, that keeps what it is told.

    Attributes
    ----------
    events : list of interfaces.Event
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[Any]:
        """Return the tasks of all events of one kind ("started", "completed", "failed", "skipped")."""
        return [event.task for event in self.events if event.kind == kind]


class MemoryRecords:
    """The ``Records`` protocol on dicts; holds JSON text, so a later change of a record does not get in.

    Attributes
    ----------
    log : list of (str, list of task ids)
        "building", "write", "withdraw" and "forget", as they happen; "flush" and "close" with an empty list.
    """

    def __init__(self) -> None:
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
