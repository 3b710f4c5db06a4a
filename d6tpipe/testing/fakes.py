"""Fakes: places for files and records in memory, faults on demand, and builds that follow a script."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

from xxhash import xxh3_128_digest

from d6tpipe.engine.freshness import joined_digest
from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Event, Failure, Files, Outcome, State, Writer, Written
from d6tpipe.storage.files import temporary_name
from d6tpipe.storage.memory_records import MemoryRecords

__all__ = [
    "Crash",
    "FaultyFiles",
    "MemoryFiles",
    "MemoryRecords",
    "OpenLedger",
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
    A ``fill`` function writes to a path, so `write` gives it one in a scratch folder of the real disk. Times are
    1, 2, 3 ...: the number of the write.
    """

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents: dict[str, bytes] = dict(contents or {})
        self.times: dict[str, int] = {}
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

    def stat(self, path: str) -> tuple[int, int] | None:
        below = [path] if path in self.contents else self._below(path) if path in self.folders else None
        if below is None:
            return None
        return sum(len(self.contents[file]) for file in below), max([self.times.get(file, 0) for file in below] or [0])

    def stats(self, folder: str, wanted: Set[str] | None = None) -> dict[str, tuple[int, int]]:
        found = {}
        for name in self.listing(folder):
            if wanted is not None and name not in wanted:
                continue
            path = os.path.join(folder, name)
            found[name] = (-2, 0) if path in self.folders else (len(self.contents[path]), self.times.get(path, 0))
        return found

    def digest(self, path: str) -> bytes:
        if path in self.contents:
            return xxh3_128_digest(self.contents[path])
        if path not in self.folders:
            raise StorageError("Cannot read a file", facts={"path": path, "reason": "there is none"})
        return xxh3_128_digest(repr([(file[len(path) :], self.contents[file]) for file in self._below(path)]).encode())

    def _below(self, folder: str) -> list[str]:
        return sorted(path for path in self.contents if path.startswith(folder + os.sep))

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        return self._keep(path, self._filled(path, fill))

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        return self._keep(path, self._streamed(path, put))

    @contextmanager
    def together(self) -> Iterator[Writer]:
        group = _MemoryGroup(self)
        yield group
        for path, content in group.waiting:
            self._keep(path, content)

    def _keep(self, path: str, content: bytes) -> Written:
        self._add_folders(os.path.dirname(path))
        self.contents[path] = content
        self.times[path] = max(self.times.values(), default=0) + 1
        return Written(len(content), self.times[path], xxh3_128_digest(content))

    def _check_place(self, path: str) -> None:
        self._refuse_file_as_folder(path, os.path.dirname(path))
        if path in self.folders:
            raise StorageError("Cannot write a file", facts={"path": path, "reason": "there is a folder"})

    def _streamed(self, path: str, put: Callable[[Any], None]) -> bytes:
        self._check_place(path)
        stream = io.BytesIO()
        try:
            put(stream)
        except OSError as error:
            raise StorageError("Cannot write a file", facts={"path": path, "reason": error}) from error
        return stream.getvalue()

    def _filled(self, path: str, fill: Callable[[str], None]) -> bytes:
        self._check_place(path)
        scratch = tempfile.mkdtemp()
        try:
            temporary = os.path.join(scratch, temporary_name(os.path.basename(path)))
            try:
                fill(temporary)
                with open(temporary, "rb") as file:
                    return file.read()
            except OSError as error:
                raise StorageError("Cannot write a file", facts={"path": path, "reason": error}) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def remove(self, path: str) -> bool:
        if path in self.folders:
            raise StorageError("Cannot remove a file", facts={"path": path, "reason": "it is a folder"})
        self.times.pop(path, None)
        return self.contents.pop(path, None) is not None

    def _refuse_file_as_folder(self, path: str, folder: str) -> None:
        while folder:
            if folder in self.contents:
                raise StorageError("A file is in the way", facts={"path": path, "file": folder})
            parent = os.path.dirname(folder)
            folder = parent if parent != folder else ""


class _MemoryGroup:
    """What `MemoryFiles.together` gives."""

    def __init__(self, files: MemoryFiles) -> None:
        self.files = files
        self.waiting: list[tuple[str, bytes]] = []

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        return self._wait(path, self.files._filled(path, fill))

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        return self._wait(path, self.files._streamed(path, put))

    def _wait(self, path: str, content: bytes) -> Written:
        self.waiting.append((path, content))
        time = max(self.files.times.values(), default=0) + len(self.waiting)
        return Written(len(content), time, xxh3_128_digest(content))


class FaultyFiles:
    """Any ``Files``, with one operation that fails.

    Operations are counted from 1 in the order they happen. Questions, ``ensure_folder`` and ``remove`` are one each;
    a ``write`` or ``write_stream`` is three, so that a test can stop it wherever it matters: before anything is
    written, with half of it written, and after the rename. Of files written ``together`` the renames come at the end.

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

    def stat(self, path: str) -> tuple[int, int] | None:
        self._step(f"stat {path}")
        return self.inner.stat(path)

    def stats(self, folder: str, wanted: Set[str] | None = None) -> dict[str, tuple[int, int]]:
        self._step(f"stats {folder}")
        return self.inner.stats(folder, wanted)

    def digest(self, path: str) -> bytes:
        self._step(f"digest {path}")
        return self.inner.digest(path)

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        written = self._filled(self.inner, path, fill)
        self._step(f"renamed {path}")
        return written

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        written = self._streamed(self.inner, path, put)
        self._step(f"renamed {path}")
        return written

    @contextmanager
    def together(self) -> Iterator[Writer]:
        with self.inner.together() as inner:
            group = _FaultyGroup(self, inner)
            yield group
        for path in group.paths:
            self._step(f"renamed {path}")

    def _filled(self, inner: Writer, path: str, fill: Callable[[str], None]) -> Written:
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

        return inner.write(path, half)

    def _streamed(self, inner: Writer, path: str, put: Callable[[Any], None]) -> Written:
        self._step(f"write {path}")

        def half(stream: Any) -> None:
            whole = io.BytesIO()
            put(whole)
            content = whole.getvalue()
            try:
                self._step(f"fill {path}")
            except BaseException as error:
                stream.write(content[: len(content) // 2])
                if isinstance(error, Crash) and hasattr(stream, "name"):
                    beside = os.path.join(os.path.dirname(stream.name), temporary_name(os.path.basename(path)))
                    os.rename(stream.name, beside)
                raise
            stream.write(content)

        return inner.write_stream(path, half)

    def _step(self, name: str) -> None:
        self.count += 1
        self.log.append(name)
        if self.count == self.at:
            raise self.error


class _FaultyGroup:
    """What `FaultyFiles.together` gives."""

    def __init__(self, files: FaultyFiles, inner: Writer) -> None:
        self.files, self.inner = files, inner
        self.paths: list[str] = []

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        self.paths.append(path)
        return self.files._filled(self.inner, path, fill)

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        self.paths.append(path)
        return self.files._streamed(self.inner, path, put)


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
    transient : mapping of name to True or "remove", optional
        What counts as complete although its outputs are not there.
    aggregators : iterable of names
        What only stands for what it needs.

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
        demands: Mapping[Any, Mapping[str, float]] | None = None,
        transient: Mapping[Any, bool | str] | None = None,
        aggregators: Iterable[Any] = (),
    ) -> None:
        self.aggregators = set(aggregators)
        self.passing = dict(transient or {})
        self.spares, self.removes = bool(self.passing), "remove" in self.passing.values()
        self.demands = dict(demands or {})
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

    recalls = False

    def recall(self, node: Any) -> Sequence[Any]:
        return ()

    def look(self, nodes: Sequence[Any]) -> Iterable[Any]:
        for node in nodes:
            if node.present is None:
                self.looked[node.task] += 1
                node.present = node.task in self.outputs or node.task in self.aggregators
        return ()

    def joins(self, node: Any) -> bool:
        return node.task in self.aggregators

    def together(self, node: Any) -> bytes | None:
        return joined_digest(node, str(node.key))

    def demand(self, node: Any) -> tuple[tuple[str, float], ...]:
        return tuple(sorted(self.demands.get(node.task, {}).items()))

    def transient(self, node: Any) -> bool | str:
        return self.passing.get(node.task, False)

    def excused(self, node: Any) -> bool:
        return bool(getattr(node.task, "skip", False))

    def tolerance(self, node: Any) -> int:
        return getattr(node.task, "tolerance", 0)

    def mode(self, node: Any) -> str:
        return "ignore"

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


class OpenLedger:
    """The ``Ledger`` protocol without locks and records: every body may run.

    Attributes
    ----------
    log : list of (str, task)
        "claim", "settle", "remove" and "keep", as they happen.

    Parameters
    ----------
    outputs : set of names, optional
        Those of a `ScriptedView`: what is built comes in, what is removed goes.
    """

    def __init__(self, outputs: set[Any] | None = None) -> None:
        self.log: list[tuple[str, Any]] = []
        self.outputs: set[Any] = set() if outputs is None else outputs

    def claim(self, node: Any, coming: Callable[[], Iterable[Any]]) -> State:
        self.log.append(("claim", node.task))
        return State.RUNNING

    def settle(self, node: Any, outcome: Outcome) -> None:
        self.log.append(("settle", node.task))
        if outcome.state is State.BUILT:
            self.outputs.add(node.task)

    def note(self, nodes: Any) -> None:
        pass

    def look(self, node: Any) -> State | None:
        return None

    def spares(self, node: Any) -> bool:
        return False

    def keep(self, nodes: Sequence[Any]) -> None:
        self.log += [("keep", node.task) for node in nodes]

    def use(self, nodes: Sequence[Any]) -> Sequence[Any]:
        return [node for node in nodes if node.task not in self.outputs]

    def finish_removal(self, nodes: Sequence[Any]) -> None:
        pass

    def remove(self, nodes: Sequence[Any]) -> Sequence[Any]:
        self.log += [("remove", node.task) for node in nodes]
        self.outputs.difference_update([node.task for node in nodes])
        return list(nodes)

    def wait(self, nodes: Sequence[Any]) -> None:
        """Return at once."""

    def commit(self) -> None:
        self.log.append(("commit", None))


class ScriptedIntake:
    """The ``Intake`` protocol: what is asked for, one part each time that nothing is left to do.

    Parameters
    ----------
    parts : iterable of lists of names
        The first is asked for at once.

    Attributes
    ----------
    goals : list of names
        What was taken into the graph.
    errors : list of Exception
    """

    def __init__(self, parts: Iterable[Sequence[Any]]) -> None:
        self._parts = list(parts)
        self._due = True
        self.goals: list[Any] = []
        self.errors: list[Exception] = []

    def take(self) -> Sequence[Any]:
        due, self._due = self._due and bool(self._parts), False
        return self._parts.pop(0) if due else []

    def taken(self, goals: Sequence[Any], added: Sequence[Any]) -> None:
        self.goals += [node.task for node in goals]

    def refused(self, error: Exception) -> None:
        self.errors.append(error)

    def wait(self) -> bool:
        self._due = bool(self._parts)
        return self._due


class ScriptedExecutor:
    """The ``Executor`` protocol: work ends in the order that the test says.

    Parameters
    ----------
    work : callable
        ``work(node, used) -> Outcome`` runs a body.
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

    def __init__(self, work: Callable[[Any, bool], Outcome], order: Iterable[Any] = (), capacity: int = 1) -> None:
        self.capacity = capacity
        self._work = work
        self.log: list[tuple[str, Any]] = []
        self.closed = False
        self._order = list(order)
        self._taken: dict[Any, tuple[Any, Callable[[], Outcome]]] = {}

    def submit(self, node: Any, used: bool) -> None:
        self._take(node, lambda: self._work(node, used))

    def resume(self, node: Any, suspension: Any) -> None:
        self._take(node, suspension.resume)

    def _take(self, node: Any, work: Callable[[], Outcome]) -> None:
        self.log.append(("submit", node.task))
        self._taken[node.key] = node, work

    def wait(self, timeout: float | None = None) -> Iterable[tuple[Any, Outcome]]:
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

    def wake(self) -> None:
        """Nothing: what is under way ends when the test says."""

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
