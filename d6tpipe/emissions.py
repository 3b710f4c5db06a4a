"""What bodies tell before they end: ``self.job.emit("checkpoint", step=10)``, ``watch(Train, "checkpoint", hear)``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from time import time
from types import MappingProxyType
from typing import Any

from d6tpipe.callbacks import is_told, name_of, test_of
from d6tpipe.declared import class_option
from d6tpipe.errors import ParameterError, shown, told, warn
from d6tpipe.interfaces import Event, EventKind, State
from d6tpipe.tasks import TaskData
from d6tpipe.tasks.outputs import job_folder

__all__ = ["FILE", "Emission", "Follower", "Watch", "emit", "follower_of", "told_by", "watch"]

FILE = ".emitted.jsonl"
"""In the folder of a job; a line for each emission."""

_PATIENCE = 0.2
"""Seconds between two looks at what bodies in other processes have emitted."""


@dataclass(frozen=True)
class Emission:
    """One thing that a body has told with ``self.job.emit(name, **data)``.

    Attributes
    ----------
    task : Task
    name : str
    data : mapping of str to object
        As JSON can hold it: paths are text.
    attempt : int
    run_id : str
        Of the run that has started the body.
    time : float
        When, in seconds since 1970, by the clock of the body.
    replayed : bool
        It was told in an earlier run, and is still valid: the task is complete, or goes on from there (`resumable`).
    """

    task: Any
    name: str
    data: Mapping[str, Any]
    attempt: int
    run_id: str
    time: float
    replayed: bool = False


# ---- telling, in a body


def emit(task: Any, place: Path, name: str, data: Mapping[str, Any], attempt: int, run_id: str) -> None:
    """Append an emission to those of a job whose folder is `place`.

    Raises
    ------
    ParameterError
        A value that JSON cannot hold.
    """
    if not isinstance(name, str) or not name:
        raise ParameterError(
            "emit() takes a name", task=task, facts={"got": repr(name)}, hint='Write emit("checkpoint", step=10).'
        )
    values = {}
    for key, value in data.items():
        try:
            values[key] = json.loads(json.dumps(value, default=_plain))
        except (TypeError, ValueError) as error:
            raise ParameterError(
                "emit() takes what JSON can hold",
                task=task,
                facts={"emission": name, "value": f"{key}={value!r:.100}", "because": told(error)},
                hint="Emit numbers, texts, lists, dicts or paths; save the value itself to self.job.artifact(...).",
            ) from error
    line = json.dumps({"name": name, "data": values, "attempt": attempt, "run_id": run_id, "time": time()}) + "\n"
    # One call of the system for a whole line: who is killed has written it, or not, and threads do not mix theirs.
    descriptor = os.open(place / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    for follower in list(_followers):
        follower.wake()


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is nothing that JSON knows")


# ---- being told, in the process that called run


class Watch:
    """A function that waits for emissions; made by `watch`. ``remove()``, or the end of a ``with`` block, ends it."""

    def __init__(self, test: Callable[[Any], bool], name: str, callback: Callable[[Emission], Any]) -> None:
        self.test, self.name, self.callback = test, name, callback

    def __repr__(self) -> str:
        return f"<Watch of {self.name}: {name_of(self.callback)}>"

    def __call__(self, emission: Emission, run_id: str = "") -> None:
        """Call the function, on behalf of a run."""
        token = _TELLING.set(run_id)
        try:
            self.callback(emission)
        except Exception as error:  # noqa: BLE001  (reported; what watches a run must not end it)
            text = f"when it was told that {shown(emission.task)} has emitted {emission.name!r}"
            warn(f"{name_of(self.callback)} raised {told(error)} {text}")
        finally:
            _TELLING.reset(token)

    def remove(self) -> None:
        """Call the function no more."""
        if self in _watches:
            _watches.remove(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


_watches: list[Watch] = []
_TELLING: ContextVar[str | None] = ContextVar("d6tpipe_telling", default=None)


def told_by() -> str | None:
    """Return the id of the run that is telling an emission here and now, and does not go on before that is done."""
    return _TELLING.get()


def watch(what: Any, name: str, callback: Callable[[Emission], Any] | None = None) -> Any:
    """Have a function called when bodies emit something: ``self.job.emit("checkpoint", step=10)``.

    Parameters
    ----------
    what : task, task class or sweep
        A class stands for all its tasks, and those of its subclasses.
    name : str
        What they emit.
    callback : callable, optional
        Called with the `Emission`. Without it a decorator is returned.

    Returns
    -------
    Watch
        ``remove()`` ends it.

    Raises
    ------
    ParameterError
        `what` is none of these, or there is nothing to call.

    Notes
    -----
    It is called in the process that called ``run``, while the body goes on, once for each emission and run, those of a
    task in their order, never two at a time, and not after the task is told to be completed; in the thread that called
    ``run`` or in another one. Of a task that is complete it is called with what that emitted when it was built
    (``emission.replayed``). What it raises is a warning.

    From workers that do not see the data folder emissions come with the outputs, when the body has ended.

    Examples
    --------
    >>> import d6tpipe
    >>> class Train(d6tpipe.tasks.TaskCache):
    ...     def run(self):
    ...         for step in range(2):
    ...             self.job.emit("checkpoint", step=step)
    ...         self.save("model")
    >>> with d6tpipe.watch(Train, "checkpoint", lambda emission: print(emission.data["step"])):
    ...     _ = d6tpipe.run(Train(), execution_summary=False)
    0
    1
    """
    test = test_of(what, "watch", 'Write watch(Train, "checkpoint", tell).')

    def register(function: Callable[[Emission], Any]) -> Any:
        if not callable(function) or not isinstance(name, str) or not name:
            raise ParameterError(
                "watch() needs the name of an emission, and something to call",
                facts={"name": repr(name), "to call": repr(function)},
                hint='Write watch(Train, "checkpoint", tell), with def tell(emission): ...',
            )
        made = Watch(test, name, function)
        _watches.append(made)
        return made if callback is not None else function

    return register if callback is None else register(callback)


class _Followed:
    """How far the emissions of one task have been told."""

    __slots__ = ("inode", "path", "position", "task", "watches")

    def __init__(self, task: Any, watches: list[Watch]) -> None:
        self.task, self.watches = task, watches
        self.path = os.path.join(job_folder(task), FILE)
        self.position, self.inode = 0, -1

    def news(self) -> list[dict[str, Any]]:
        """Return the lines that were written since the last time; one that is not whole yet comes later."""
        try:
            with open(self.path, "rb") as stream:
                inode = os.fstat(stream.fileno()).st_ino
                if inode != self.inode:  # an attempt that begins from nothing
                    self.position, self.inode = 0, inode
                stream.seek(self.position)
                data = stream.read()
        except OSError:  # nothing was emitted
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # of a body that was killed while it wrote, and went on
                continue
        return found


_followers: set[Follower] = set()


class Follower:
    """Tells those who watch what the bodies of one run emit; a reporter of events, and a ``with`` block.

    It has a thread as soon as a task is started that somebody watches, not before.

    Parameters
    ----------
    run_id : str
    """

    def __init__(self, run_id: str) -> None:
        self._run_id, self._begun = run_id, time()
        self._followed: dict[Any, _Followed] = {}
        self._telling = threading.RLock()
        self._news = threading.Event()
        self._over = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Follower:
        _followers.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _followers.discard(self)
        self._over = True
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look at once: something was emitted in this process."""
        self._news.set()

    def look_back(self, nodes: Iterable[Any]) -> None:
        """Tell what those of these tasks that are complete have emitted when they were built."""
        if _watches:
            for node in nodes:
                if node.complete and isinstance(node.task, TaskData):
                    self._replay(node.task)

    def __call__(self, event: Event) -> None:
        if not _watches and not self._followed:
            return
        task = event.task
        if event.kind is EventKind.STARTED:
            self._follow(task)
            return
        followed = self._followed.pop(task, None)
        if followed is not None:
            built = event.kind is EventKind.COMPLETED and event.state is State.BUILT
            self._tell(followed, last=True, lasting=built and _goes_on(type(task)))
        elif event.kind is EventKind.COMPLETED and isinstance(task, TaskData):  # it need not run
            self._replay(task)

    def _watching(self, task: Any) -> list[Watch]:
        return [watch for watch in _watches if watch.test(task)] if isinstance(task, TaskData) else []

    def _follow(self, task: Any) -> None:
        watches = self._watching(task)
        if watches:
            self._followed[task] = _Followed(task, watches)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="d6tpipe emissions", daemon=True)
                self._thread.start()

    def _replay(self, task: Any) -> None:
        watches = self._watching(task)
        if watches:
            self._tell(_Followed(task, watches), last=True, lasting=True)

    def _look(self) -> None:
        while not self._over:
            self._news.wait(_PATIENCE)
            self._news.clear()
            for followed in list(self._followed.values()):
                self._tell(followed, lasting=_resumes(type(followed.task)))

    def _tell(self, followed: _Followed, last: bool = False, lasting: bool = False) -> None:
        """Tell the news of a task; `lasting`: also what was emitted before this run."""
        with self._telling:
            if not last and followed.task not in self._followed:  # its end has been told meanwhile
                return
            for line in followed.news():
                try:
                    replayed = line["run_id"] != self._run_id and line["time"] < self._begun
                    emission = Emission(
                        followed.task, line["name"], MappingProxyType(line["data"]), line["attempt"], line["run_id"],
                        line["time"], replayed,
                    )  # fmt: skip
                except (KeyError, TypeError):  # written by somebody else
                    continue
                if lasting or not replayed:
                    for watch in followed.watches:
                        if watch.name == emission.name and watch in _watches:
                            watch(emission, self._run_id)


def _resumes(cls: type) -> bool:
    return class_option(cls, "resumable", False) is True


def _goes_on(cls: type) -> bool:
    """Return whether what a body emitted in an earlier run may be part of what is built in this one."""
    return _resumes(cls) or class_option(cls, "isolate", False) is True


def follower_of(run_id: str, asked_for_more: bool) -> Follower | None:
    """Return what tells those who watch of a run; None if nobody does, and nobody can by its end."""
    return Follower(run_id) if is_told() and (_watches or asked_for_more) else None
