"""Functions that are called when something happens to tasks: ``on(Fit, "completed", tell)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import luigi

from d6tpipe.binding import FRAME
from d6tpipe.errors import ParameterError, shown, told, warn
from d6tpipe.identity import nearest
from d6tpipe.interfaces import Event, EventKind

__all__ = [
    "Handler",
    "handlers",
    "is_silent",
    "meant",
    "name_of",
    "on",
    "quiet",
    "silence",
    "tell",
    "telling",
    "told_by",
]

_handlers: list[Handler] = []
_quiet: ContextVar[bool] = ContextVar("d6tpipe_quiet", default=False)
_is_worker = False
_told_by: ContextVar[str | None] = ContextVar("d6tpipe_told_by", default=None)


class Handler:
    """A function that waits for an event; made by `on`. ``remove()``, or the end of a ``with`` block, ends it."""

    def __init__(self, test: Callable[[Any], bool], kind: EventKind, callback: Callable[[Any], Any]) -> None:
        self._test, self._kind, self.callback = test, kind, callback

    def __repr__(self) -> str:
        return f"<Handler of {self._kind!s}: {name_of(self.callback)}>"

    def __call__(self, event: Event) -> None:
        """Call the function if it waits for this."""
        if event.kind is self._kind and self._test(event.task):
            self._call(event, event.task, str(event.kind))

    def _call(self, what: Any, task: Any, words: str) -> None:
        """Call the function; what it raises is a warning, in which `words` say what it was told of the task."""
        try:
            self.callback(what)
        except Exception as error:  # noqa: BLE001  (reported; what watches a run must not end it)
            warn(f"{name_of(self.callback)} raised {told(error)} when it was told that {shown(task)} {words}")

    def remove(self) -> None:
        """Call the function no more."""
        if self in _handlers:
            _handlers.remove(self)

    def __enter__(self) -> Handler:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def on(what: Any, event: str, callback: Callable[[Event], Any] | None = None) -> Any:
    """Have a function called when something happens to tasks in runs of this process, from now on.

    Parameters
    ----------
    what : task, task class or sweep
        A class stands for all its tasks, and those of its subclasses.
    event : {"started", "completed", "failed", "skipped"}
        "completed": its body has run to its end, or turned out not to have to. "skipped": it will not start, since
        something upstream failed, or the run was cancelled. Tasks that are complete already tell nothing.
    callback : callable, optional
        Called with the `interfaces.Event`. Without it a decorator is returned.

    Returns
    -------
    Handler
        ``handler.remove()`` ends it.

    Raises
    ------
    ParameterError
        There is no such event, or `what` is none of these.

    Notes
    -----
    Called once for each task and run, in the process that called ``run``, whatever the executor; ``run`` returns after
    the last call. What it raises is a warning: neither the task nor the run fails of it.

    Examples
    --------
    >>> import d6tpipe
    >>> class Fit(d6tpipe.tasks.TaskCache):
    ...     def run(self):
    ...         self.save(1)
    >>> with d6tpipe.on(Fit, "completed", lambda event: print(event.task, "is there")):
    ...     _ = d6tpipe.run(Fit(), execution_summary=False)
    Fit() is there
    """
    kinds = {str(kind): kind for kind in EventKind}
    if event not in kinds:
        near = nearest(str(event), kinds)
        raise ParameterError(
            "There is no such event",
            facts={"got": repr(event), "events": ", ".join(kinds)},
            hint=f"Did you mean {near!r}?" if near else 'Write on(Fit, "completed", tell).',
        )
    _, test = meant(what, "on", 'on(Fit, "completed", tell)')

    def register(function: Callable[[Event], Any]) -> Any:
        if not callable(function):
            raise ParameterError(
                "on() needs something to call",
                facts={"got": repr(function)},
                hint='Write on(Fit, "completed", tell), with def tell(event): ...',
            )
        handler = Handler(test, kinds[event], function)
        _handlers.append(handler)
        return handler if callback is not None else function

    return register if callback is None else register(callback)


def meant(what: Any, function: str, example: str) -> tuple[tuple[type, ...], Callable[[Any], bool]]:
    """Return which classes may be meant by a task, a task class or a sweep, and what tells whether a task of them is.

    Raises
    ------
    ParameterError
        It is none of these; the message names the function that was given it, and an example of its use.
    """
    if isinstance(what, type) and issubclass(what, luigi.Task):
        return (what,), lambda task: isinstance(task, what)
    if isinstance(what, luigi.Task):
        return (type(what),), lambda task: bool(task == what)
    if hasattr(what, "task_at"):
        members = set(what.tasks)
        return tuple({type(task) for task in members}), lambda task: task in members
    raise ParameterError(
        f"{function}() is about a task, a task class or a sweep",
        facts={"got": repr(what)},
        hint=f"Write {example}.",
    )


def is_silent() -> bool:
    """Return whether nobody is to be told of a run that begins now."""
    return _is_worker or _quiet.get()


def handlers() -> list[Callable[[Event], Any]]:
    """Return those that are to be told of a run that begins now.

    On a worker that is the body that has begun it: what it is told travels to the process that coordinates.
    """
    if not is_silent():
        return list(_handlers)
    frame = None if _quiet.get() else FRAME.get()
    while frame is not None and frame.outer is not None:
        frame = frame.outer
    return [] if frame is None else [frame.told.append]


def tell(event: Event) -> None:
    """Tell those who wait for events now."""
    for handler in handlers():
        handler(event)


@contextmanager
def telling(run_id: str) -> Iterator[None]:
    """Note that a run tells something to what is called in the ``with`` block, and may wait for its end."""
    token = _told_by.set(run_id)
    try:
        yield
    finally:
        _told_by.reset(token)


def told_by() -> str | None:
    """Return the id of the run that is telling the calling code something, and may wait for it; None if none is."""
    return _told_by.get()


@contextmanager
def quiet() -> Iterator[None]:
    """Tell nobody of runs in the ``with`` block: what they build is told by the run around them."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def silence() -> None:
    """Tell nobody of runs in this process, a worker: the one that coordinates does."""
    global _is_worker
    _is_worker = True


def name_of(callback: Any) -> str:
    """Return what a function is called in messages."""
    return str(getattr(callback, "__qualname__", None) or repr(callback))
