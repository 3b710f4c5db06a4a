"""Functions that are called with what bodies emit, while these run: ``watch(Train, "checkpoint", tell)``.

What travels is the file of the job (see `emissions`), whatever the executor. The process that coordinates a run follows
the files of the watched tasks whose bodies run, in one thread, which there is only if something is watched; and looks
once more before it reports that a body has ended.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from d6tpipe.callbacks import Handler, is_silent, meant, name_of, telling
from d6tpipe.capture import belongs_to_nobody
from d6tpipe.declared import class_option
from d6tpipe.emissions import Emission, Lines, emission, file_of, listeners, recorded
from d6tpipe.errors import ParameterError, shown, told, warn
from d6tpipe.examiner import record_of
from d6tpipe.interfaces import Event, EventKind
from d6tpipe.jobs import FINISHED
from d6tpipe.tasks import TaskData
from d6tpipe.tasks.outputs import job_folder

__all__ = ["Follower", "Watcher", "follower_of", "watch"]

_PERIOD = 0.2
"""Seconds after which files are looked at again: bodies in other processes cannot tell when they have emitted."""
_PATIENCE = 1.0

_watchers: list[Watcher] = []


class Watcher(Handler):
    """A function that waits for emissions; made by `watch`. ``remove()``, or the end of a ``with`` block, ends it."""

    def __init__(
        self, classes: tuple[type, ...], test: Callable[[Any], bool], name: str, callback: Callable[[Emission], Any]
    ) -> None:
        self.classes, self.test, self.name, self.callback = classes, test, name, callback
        self._removed = False

    def __repr__(self) -> str:
        return f"<Watcher of {self.name!r}: {name_of(self.callback)}>"

    def __call__(self, emission: Any) -> None:
        """Call the function if it waits for this; whether for this task, the caller has found out."""
        if emission.name == self.name and not self._removed:
            self._call(emission, emission.task, f"emitted {self.name!r}")

    def remove(self) -> None:
        self._removed = True
        if self in _watchers:
            _watchers.remove(self)


def watch(what: Any, name: str, callback: Callable[[Emission], Any] | None = None) -> Any:
    """Have a function called with what bodies tell while they run, in runs of this process, from now on.

    Parameters
    ----------
    what : task, task class or sweep
        A class stands for all its tasks, and those of its subclasses.
    name : str
        What a body emits is called by: ``self.job.emit("checkpoint", step=10)`` in ``run()``.
    callback : callable, optional
        Called with the `emissions.Emission`. Without it a decorator is returned.

    Returns
    -------
    Handler
        ``handler.remove()`` ends it.

    Raises
    ------
    ParameterError
        `name` is not text, or `what` is none of these.

    Notes
    -----
    Called once for each emission and run, in the process that called ``run``, whatever the executor; those of a task in
    order, while its body still runs, and the last of them before the task is told to have completed or failed. One
    call at a time, but often in another thread than the one that called ``run``: a callback must not wait for the end
    of a task of the same run. What it raises is a warning.

    Of a task that is complete already it is called with what was emitted when the task was built (``replayed``).

    Examples
    --------
    >>> import d6tpipe
    >>> class Train(d6tpipe.tasks.TaskCache):
    ...     def run(self):
    ...         for epoch in range(2):
    ...             self.job.emit("epoch", number=epoch)
    ...         self.save(1)
    >>> with d6tpipe.watch(Train, "epoch", lambda emission: print(emission.task, dict(emission.data))):
    ...     _ = d6tpipe.run(Train(), execution_summary=False)
    Train() {'number': 0}
    Train() {'number': 1}
    """
    if not isinstance(name, str) or not name:
        raise ParameterError(
            "watch() needs the name of what is emitted",
            facts={"got": repr(name)},
            hint='Write watch(Train, "checkpoint", tell).',
        )
    classes, test = meant(what, "watch", 'watch(Train, "checkpoint", tell)')

    def register(function: Callable[[Emission], Any]) -> Any:
        if not callable(function):
            raise ParameterError(
                "watch() needs something to call",
                facts={"got": repr(function)},
                hint='Write watch(Train, "checkpoint", tell), with def tell(emission): ...',
            )
        watcher = Watcher(classes, test, name, function)
        _watchers.append(watcher)
        return watcher if callback is not None else function

    return register if callback is None else register(callback)


def follower_of(graph: Any, run_id: str, asked_for_more: bool = False) -> Follower | None:
    """Return what calls the watchers in a run; None if nobody watches anything.

    `asked_for_more`: the run is a session, and somebody may watch by and by.
    """
    return Follower(graph, run_id) if (_watchers or asked_for_more) and not is_silent() else None


class _Tail:
    """What a task that runs has emitted, as far as it is not told yet."""

    def __init__(self, task: Any, watchers: Sequence[Watcher], run_id: str) -> None:
        self._task, self._watchers, self._run_id = task, watchers, run_id
        self._lines = Lines(file_of(task))
        resumable = class_option(type(task), "resumable", False)
        # What lies there from earlier runs is told only if the body goes on from it.
        self._goes_on = resumable and not os.path.exists(os.path.join(job_folder(task), FINISHED))
        self._ended = False
        self.heard = False

    def tell(self, last: bool = False) -> None:
        if self._ended:
            return
        self._ended = last
        try:
            lines = self._lines.new()
        except OSError as error:
            self._ended = self.heard = True  # as far as it can be
            _warn_unread(self._task, error)
            return
        for line in lines:
            if "done" in line:
                continue
            ours = self._run_id == line["run"] or self._run_id in line.get("within", ())
            if ours or self._goes_on:
                self.heard = True
                _tell(self._watchers, emission(self._task, line, not ours), self._run_id)


def _warn_unread(task: Any, error: OSError) -> None:
    warn(f"What {shown(task)} has emitted cannot be read, its watchers are not told: {told(error)}")


def _tell(watchers: Sequence[Watcher], what: Emission, run_id: str) -> None:
    with telling(run_id):
        for watcher in watchers:
            watcher(what)


class Follower:
    """Calls the watchers in one run; a ``with`` block around it, told of each event of it before anybody else is.

    Parameters
    ----------
    graph : Graph
        Judged and planned: what is complete and has a state will not be built.
    run_id : str
    """

    def __init__(self, graph: Any, run_id: str) -> None:
        self._graph, self._run_id = graph, run_id
        self._watchers: list[Watcher] = []
        self._by_class: dict[type, list[Watcher]] = {}
        self._tails: dict[Any, _Tail] = {}
        self._complete: deque[tuple[Any, list[Watcher]]] = deque()  # to be told of again
        self._settled: set[Any] = set()  # what a body has asked for, and was told of
        self._known = 0
        self._calling = threading.RLock()  # while a function is called, and a file read for it
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def __enter__(self) -> Follower:
        listeners.append(self._emitted_here)
        self.look_back()
        return self

    def look_back(self) -> None:
        """Tell, in a while, what those tasks have emitted that are complete and new in the graph."""
        known, self._known = self._known, len(self._graph.order)
        self._take_complete(self._graph.order[known : self._known])

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.look_back()  # what bodies have asked for
                self._tell_all()
        finally:
            listeners.remove(self._emitted_here)
            self._stopping = True
            self._wake.set()
            if self._thread is not None:
                self._thread.join(None if kind is None else _PATIENCE)

    def __call__(self, event: Event) -> None:
        """Begin to follow a task that starts; tell all that is left of one that has ended."""
        task = event.task
        watchers = self._watching(task)
        if not watchers:
            return
        if event.kind is EventKind.STARTED:
            self._tails[task] = _Tail(task, watchers, self._run_id)
            self._start()
            return
        self._settled.add(task)
        tail = self._tails.pop(task, None)
        with self._calling:
            if tail is not None:
                tail.tell(last=True)
            # Somebody else has built it, or it had not to run after all, or what ran was begun by another run.
            if event.kind is EventKind.COMPLETED and (tail is None or not tail.heard):
                _replay(task, watchers, self._run_id)

    def _watching(self, task: Any) -> list[Watcher]:
        cls = task.__class__
        if self._watchers != _watchers:
            self._watchers = list(_watchers)
            self._by_class.clear()
        found = self._by_class.get(cls)
        if found is None:
            found = [watcher for watcher in self._watchers if issubclass(cls, watcher.classes)]
            found = self._by_class[cls] = found if issubclass(cls, TaskData) else []  # others have no job
        return [watcher for watcher in found if watcher.test(task)] if found else found

    def _take_complete(self, nodes: Sequence[Any]) -> None:
        for node in nodes:
            if node.complete and node.task not in self._settled:
                watchers = self._watching(node.task)
                if watchers:
                    self._complete.append((node.task, watchers))
        if self._complete:
            self._start()
            self._wake.set()

    # ---- the thread

    def _start(self) -> None:
        if self._thread is None:
            context = contextvars.copy_context()  # callbacks find what those of `on` find
            self._thread = threading.Thread(target=context.run, args=(self._follow,), name="d6tpipe-watch", daemon=True)
            self._thread.start()

    def _follow(self) -> None:
        belongs_to_nobody()
        while not self._stopping:
            self._tell_all()
            self._wake.wait(_PERIOD)
            self._wake.clear()

    def _tell_all(self) -> None:
        while self._complete and not self._stopping:
            with self._calling:
                if self._complete:
                    _replay(*self._complete.popleft(), self._run_id)
        for tail in list(self._tails.values()):
            with self._calling:
                tail.tell()

    def _emitted_here(self) -> None:
        if os.getpid() == self._process:  # in a fork of it the lock of the event may be held for good
            self._wake.set()


def _replay(task: Any, watchers: Sequence[Watcher], run: str) -> None:
    """Tell, on behalf of a run, what was emitted when a task was built."""

    def is_record(run_id: str) -> bool:
        record = record_of(task)
        # Of what was accepted or observed the record does not say who has built it.
        return record is None or record.accepted or record.observed or record.run_id == run_id

    try:
        found = recorded(task, class_option(type(task), "resumable", False), is_record)
    except OSError as error:
        _warn_unread(task, error)
        return
    for one in found:
        _tell(watchers, one, run)
