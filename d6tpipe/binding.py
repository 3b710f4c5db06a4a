"""Where a task is bound to, and which body is running: the two context variables of the declarations.

A `Binding` is what a `Workflow` adds to its tasks: a path and attached flows. It is carried by a context variable
through ``requires()``, ``input()`` and ``run()``, so that a task written out by hand inside them is bound alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = [
    "BINDING",
    "FRAME",
    "LOADING",
    "SHIPPED",
    "Binding",
    "Frame",
    "Unanswered",
    "binding_for",
    "bound",
    "frame_of",
    "runs_now",
]


class Binding:
    """What a workflow adds to the tasks it makes; equal only to itself.

    Attributes
    ----------
    path : str or None
        Data folder of the tasks; beats the class attribute ``path``.
    flows : mapping of str to Workflow, or None
        Other flows that a body can reach as ``self.flows["name"]``.
    """

    __slots__ = ("flows", "path")

    def __init__(self, path: str | None, flows: Mapping[str, Any] | None) -> None:
        self.path, self.flows = path, flows

    def __reduce__(self) -> tuple[Any, ...]:
        return binding_for, (self.path, self.flows)


class Frame:
    """One body while it runs.

    Attributes
    ----------
    task : luigi.Task
    requires : object
        What ``task.requires()`` returned when the graph was built; None outside a run.
    saved : set of str
        Names of the outputs saved so far.
    entered : bool
        Whether the body itself has been entered (``super().run()`` must not save twice).
    folders : set of str or None
        Folders known to exist in this run; None: look each time.
    outer : Frame or None
        The body in which this one was started.
    written : dict of str to interfaces.Written
        What is known of the outputs saved so far, by name.
    asked : list
        What the body has yielded so far, outside a run.
    bound : list of (task, bool)
        Tasks that the body has bound (``self.input(...)``), or that had to be built for those; whether they were built.
    stale : str or None
        What the run does with stale tasks, if that was said for the run.
    n_workers : int
        How many bodies the run may have under way; what this body has built together is built so, too.
    answered : frozenset of tasks
        What the body has asked for before it had to begin again; all complete.
    run_id : str
        Empty outside a run.
    attempt : int
    seconds : float or None
        How long the body may take, and `begun`: when it began, by the monotonic clock.
    reading : readers.Reading or None
        What the body has bound of what other runs may remove.
    job : jobs.Job or None
        What the body has as ``self.job``, once it has asked for it.
    told : list of interfaces.Event
        On a worker: what has happened in runs that the body has started, for those who wait for it elsewhere.
    """

    __slots__ = (
        "answered",
        "asked",
        "attempt",
        "begun",
        "bound",
        "entered",
        "folders",
        "job",
        "n_workers",
        "outer",
        "reading",
        "requires",
        "run_id",
        "saved",
        "seconds",
        "stale",
        "task",
        "told",
        "written",
    )

    @property
    def in_run(self) -> bool:
        """Whether the engine runs the body, rather than somebody who called ``task.run()``."""
        return self.folders is not None

    def __init__(self, task: Any, requires: Any = None, folders: set[str] | None = None) -> None:
        self.task = task
        self.requires = requires
        self.saved: set[str] = set()
        self.entered = False
        self.folders = folders
        self.outer: Frame | None = FRAME.get()
        self.written: dict[str, Any] = {}
        self.asked: list[Any] = []
        self.bound: list[tuple[Any, bool]] = []
        self.reading: Any = None
        self.stale: str | None = None
        self.answered: frozenset[Any] = frozenset()
        self.n_workers = 1
        self.run_id = ""
        self.attempt = 1
        self.seconds: float | None = None
        self.begun = 0.0
        self.job: Any = None
        self.told: list[Any] = []


BINDING: ContextVar[Binding | None] = ContextVar("d6tpipe_binding", default=None)
FRAME: ContextVar[Frame | None] = ContextVar("d6tpipe_frame", default=None)


def frame_of(task: Any) -> Frame | None:
    """Return the frame of the body of a task that is being run, perhaps around the one that asks."""
    frame = FRAME.get()
    while frame is not None and frame.task is not task:
        frame = frame.outer
    return frame


def runs_now(task: Any) -> bool:
    """Return whether the body of a task is being run, perhaps around the one that asks."""
    return frame_of(task) is not None


LOADING: ContextVar[bool] = ContextVar("d6tpipe_loading", default=False)
"""Whether a worker is importing what a task needs: a module that calls ``run`` when it is imported must not get far."""

SHIPPED: dict[str, str] = {}
"""On a worker that does not see the data: where files are that lie in no data folder, by the path that tasks know."""


class Unanswered(BaseException):
    """A body that is not where its run is coordinated needs tasks that only that one can build: it has to begin again.

    Not an ``Exception``: bodies that catch those must let this one pass.
    """

    def __init__(self, tasks: list[Any]) -> None:
        super().__init__(tasks)
        self.tasks = tasks


_BY_PATH: dict[str, Binding] = {}


def binding_for(path: str | None, flows: Mapping[str, Any] | None = None) -> Binding | None:
    """Return the binding to `path` and `flows`; None if there is nothing to bind.

    Bindings of one path without flows are one object, so two workflows over one folder share their tasks.
    """
    if flows:
        return Binding(path, flows)
    if path is None:
        return None
    return _BY_PATH.setdefault(path, Binding(path, None))


@contextmanager
def bound(binding: Binding | None) -> Iterator[None]:
    """Make tasks inside the ``with`` block belong to `binding`."""
    token = BINDING.set(binding)
    try:
        yield
    finally:
        BINDING.reset(token)
