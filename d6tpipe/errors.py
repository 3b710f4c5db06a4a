"""Every exception of d6tpipe, one tree.

::

    PipeError                      base; carries task, facts, hint
    ├── DeclarationError           the class is wrong                      (also a TypeError)
    │   └── ParameterError         a parameter's name or value is wrong    (also a ValueError)
    ├── SettingsError              a setting's name or value is wrong      (also ValueError, AttributeError)
    ├── GraphError                 the requirements are wrong              (also a RuntimeError)
    │   └── CycleError             holds the cycle
    ├── PluginError                unknown, broken or doubly claimed plugin
    ├── ExpressionError            a selection cannot be read, or asks for what is not there (also a ValueError)
    ├── NothingSelectedError       a selection holds no task               (also a LookupError)
    ├── SchedulerError             luigi's central scheduler does not answer
    ├── SessionError               a session is open elsewhere, has not begun, or has ended (also a RuntimeError)
    ├── StorageError               the disk or the remote said no, or a file cannot be read
    ├── OutputKeyError             an output or requirement of that name does not exist
    │                                                  (also ValueError, IndexError, KeyError)
    ├── FlowNameError              a workflow has no flow of that name     (also a KeyError)
    ├── NotBuiltError              asked to load what was never built      (also a RuntimeError)
    ├── BuildError                 one or more tasks failed; holds each    (also a RuntimeError)
    │   ├── MissingOutputError     run() returned, the output is not there
    │   ├── CrashError             the process that ran the body died
    │   ├── TaskTimeoutError       the body took longer than it may         (also a TimeoutError)
    │   └── BodyError              what the body raised cannot leave its process
    └── InternalError              a bug in d6tpipe: please report

    TaskCancelled                  a body is asked to stop                 (a KeyboardInterrupt)

Every message answers four questions: what happened, to which task, with which facts, what next.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from d6tpipe.identity import label

__all__ = [
    "BodyError",
    "BuildError",
    "CrashError",
    "CycleError",
    "DeclarationError",
    "ExpressionError",
    "FlowNameError",
    "GraphError",
    "InternalError",
    "MissingOutputError",
    "NotBuiltError",
    "NothingSelectedError",
    "OutputKeyError",
    "ParameterError",
    "PipeError",
    "PluginError",
    "SchedulerError",
    "SessionError",
    "SettingsError",
    "StorageError",
    "TaskCancelled",
    "TaskTimeoutError",
    "is_ours",
    "shown",
    "told",
    "warn",
]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class PipeError(Exception):
    """Base of all errors that d6tpipe raises.

    Parameters
    ----------
    headline : str
        What happened, in one line.
    task : object, optional
        The task or task class concerned; its ``repr`` is shown.
    facts : mapping of str to object, optional
        Shown aligned below the headline, in the order given.
    hint : str, optional
        What to do next; the last line.
    """

    def __init__(
        self,
        headline: str,
        *,
        task: object = None,
        facts: Mapping[str, object] | None = None,
        hint: str | None = None,
    ) -> None:
        # The text is made now: an exception outlives what it speaks of, and has to cross processes.
        self.headline = headline
        self.task = None if task is None else task if isinstance(task, str) else _show(task)
        self.facts = {name: str(value) for name, value in (facts or {}).items()}
        self.hint = hint
        super().__init__(headline)

    def __str__(self) -> str:
        rows = ({"task": self.task} if self.task else {}) | self.facts
        width = max((len(name) for name in rows), default=0)
        lines = [self.headline]
        for name, value in rows.items():
            lines.append(f"  {name:<{width}}  {value}".replace("\n", "\n" + " " * (width + 4)))
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(cls: type[PipeError], state: dict[str, Any]) -> PipeError:
    built_in: Any = cls
    while built_in.__module__ != "builtins":  # the one that decides what instances look like, of several
        built_in = built_in.__base__
    error: PipeError = built_in.__new__(cls)
    Exception.__init__(error, state["headline"])
    error.__dict__.update(state)
    return error


def _show(task: object) -> str:
    return task.__qualname__ if isinstance(task, type) else shown(task)


def shown(task: object) -> str:
    """Return a task as it is shown everywhere: its label if a sweep has given it an id, else its ``repr``.

    If that raises, what can be said without it.
    """
    try:
        return label(task) if "_ids" in getattr(task, "__dict__", ()) else repr(task)
    except Exception as error:  # noqa: BLE001  (a message about a failure must not fail itself)
        return f"{type(task).__qualname__}(...) (its repr raised {type(error).__name__})"


def told(error: BaseException) -> str:
    """Return the kind and the text of an exception, or what can be said without its text if that raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as second:  # noqa: BLE001  (a message about a failure must not fail itself)
        return f"{type(error).__name__} (its text raised {type(second).__name__})"


class DeclarationError(PipeError, TypeError):
    """A task class is declared in a way that cannot work."""


class ParameterError(DeclarationError, ValueError):
    """A parameter is unknown, missing, read-only, or has a value that does not fit.

    Attributes
    ----------
    unbound : task class or None
        The class that a task was to be made of without all of its values.
    """

    unbound: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {name: value for name, value in self.__dict__.items() if name != "unbound"})


class SettingsError(PipeError, ValueError, AttributeError):
    """A setting is unknown or has a value that does not fit."""


class GraphError(PipeError, RuntimeError):
    """The requirements of the tasks do not make a graph that can be built."""


class CycleError(GraphError):
    """A task requires itself, directly or through others.

    Attributes
    ----------
    cycle : list of str
        The tasks on the cycle; the first is repeated at the end.
    """

    def __init__(self, cycle: Sequence[object]) -> None:
        self.cycle = [_show(task) for task in cycle]
        chain = self.cycle if len(self.cycle) <= 12 else [*self.cycle[:6], "...", *self.cycle[-5:]]
        super().__init__(
            f"Tasks require each other in a circle of {len(self.cycle) - 1}",
            facts={"cycle": " -> ".join(chain)},
            hint="Break the circle: one of these requires() must not ask for the next.",
        )


class PluginError(PipeError):
    """A plugin is unknown, cannot be loaded, or is claimed by two packages."""


class ExpressionError(PipeError, ValueError):
    """An expression that selects tasks cannot be read, or asks for a parameter, state or mark that is not there.

    Attributes
    ----------
    expression : str
        The whole text.
    column : int
        Where it is wrong: 1 is the first character; one past the last, if something is missing at the end.
    """

    expression: str = ""
    column: int = 0


class NothingSelectedError(PipeError, LookupError):
    """The expression is well, but no task is selected by it."""


class SchedulerError(PipeError):
    """luigi's central scheduler cannot be reached, or does not do what it is asked for."""


class SessionError(PipeError, RuntimeError):
    """A session is open elsewhere, has not begun, or has ended."""


class StorageError(PipeError):
    """A file could not be written, read or removed; the original error is the ``__cause__``."""


class OutputKeyError(PipeError, ValueError, IndexError, KeyError):
    """An output that the task does not declare in ``persist``, or a requirement that it does not have."""


class FlowNameError(PipeError, KeyError):
    """A `WorkflowMulti` has no flow of that name."""


class NotBuiltError(PipeError, RuntimeError):
    """An output was asked for before the task was built."""


class BuildError(PipeError, RuntimeError):
    """One or more tasks of a run failed.

    Attributes
    ----------
    failures : list of interfaces.Failure
        One per failed task: the task, the exception and its traceback as text. Tasks that could not
        start because of these are not in the list.
    result : results.Result or None
        The result of the whole run.
    """

    failures: Sequence[Any] = ()
    result: Any = None


class MissingOutputError(BuildError):
    """``run()`` returned, but an output that the task declares is not there."""


class CrashError(BuildError):
    """The process that ran a body ended before the body did."""


class TaskTimeoutError(BuildError, TimeoutError):
    """A body took longer than its ``worker_timeout``, or raised this itself because too little time is left."""


class TaskCancelled(KeyboardInterrupt):
    """The body is asked to stop: save what should not be lost, and let this pass.

    Raised in the body, wherever it happens to be, when its process gets SIGTERM (somebody, or a batch system, stops
    it; its time is up), or when the run is interrupted. Whether the body lets it pass or not, its task is not built.

    No ``Exception``, like the interrupt of Ctrl-C that it is a kind of: a body that goes on after any error of one of
    its steps must not go on after this.
    """


class NotRunningError(PipeError, AttributeError):
    """Something that a task has only while its body runs was asked for outside of it."""


class BodyError(BuildError):
    """Stands for what a body raised in a worker, where that cannot be pickled; the message tells its text."""


class InternalError(PipeError):
    """Something that cannot happen has happened: a bug in d6tpipe, please report it."""


def is_ours(file: str) -> bool:
    """Return whether a source file belongs to d6tpipe itself; the demo counts as user's code."""
    return file.startswith(_PACKAGE) and not file.startswith(_PACKAGE + "demo" + os.sep)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line of the user's code that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
