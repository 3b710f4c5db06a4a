"""What a task class was called before, and how its parameters were: ``renamed_from`` and ``migrates_from``.

What was built under a former name stays where it is and counts as the task's own, until the task is built anew. Here is
what classes say; `tasks.older_places` looks for the outputs, `predecessors` for the tasks that a conversion leads to.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import luigi

from d6tpipe.errors import DeclarationError

__all__ = [
    "CALLED", "FORMER", "FormerName", "any_known", "called", "former_names", "migrates_from", "note_class",
    "renamed_from", "successor_at", "successors",
]  # fmt: skip

FORMER = "_d6tpipe_former_names"
"""Attribute of a class that keeps what it was called before: it is shipped with a class of a notebook."""

_Class = TypeVar("_Class", bound=type)
Convert = Callable[[dict[str, Any]], "Mapping[str, Any] | None"]


@dataclass(frozen=True, slots=True)
class FormerName:
    """One former name of a class.

    Attributes
    ----------
    family : str
        The task family of then; outputs and records are filed under it.
    module : str
        Where the class lived; empty: wherever.
    name : str
        Qualified name.
    convert : callable or None
        From the parameters of a task of then to those of one of now; None: they are the same.
    cls : type or None
        The class of then, where it was given.
    """

    family: str
    module: str
    name: str
    convert: Convert | None = None
    cls: Any = None


def renamed_from(name: str, *, namespace: str | None = None) -> Callable[[_Class], _Class]:
    """Say what a task class was called before, or where it lived: what was built then stays valid.

    Parameters
    ----------
    name : str
        ``"OldName"``, or ``"old_module.OldName"`` if the class has moved, too. Decorators can be stacked, one for each
        former name, the latest first.
    namespace : str, optional
        Its ``task_namespace`` of then; by default that of now.

    Returns
    -------
    callable
        Class decorator.

    Raises
    ------
    DeclarationError
        It is no name of a class, or the one that the class has.

    Examples
    --------
    ::

        @d6tpipe.renamed_from("TrainModel")
        class Train(d6tpipe.tasks.TaskPickle):
            ...

    Notes
    -----
    Where the outputs of a task are missing and those under the old name are there, these are its outputs, and the
    record of then is its record: it is fresh as long as nothing but the name has changed, and so is what was built from
    it. Nothing is moved or written for this. When the task is built again, its outputs go to the new place. Subclasses
    have names of their own and inherit none of these.
    """
    module, _, short = _parts("renamed_from", name)

    def decorate(cls: _Class) -> _Class:
        _check_class("renamed_from", cls)
        found = FormerName(_family(cls, module, short, namespace), module, _qualified(cls, module, short))
        if found.family == cls.get_task_family() and module in ("", cls.__module__):  # type: ignore[attr-defined]
            raise DeclarationError(
                "@renamed_from says the name that the class has",
                task=cls,
                facts={"name": name},
                hint='Give the former one: "OldName", or "old_module.OldName" if it has moved.',
            )
        return _add(cls, found)

    return decorate


def migrates_from(old: str | type, convert: Convert) -> Callable[[_Class], _Class]:
    """Say how the parameters of a task class were before: what was built then stays valid.

    Parameters
    ----------
    old : str or task class
        The former name, as in `renamed_from`; the class's own name if only its parameters have changed; or the class of
        then, if it is still there.
    convert : callable
        Takes the recorded parameters of a task of then, a dict, and returns those of the task of now that has the same
        result, or None if there is none. What it leaves out has its default. With a name the values are the recorded
        texts; with a class they are values. Text that it returns is read as on the command line.

    Returns
    -------
    callable
        Class decorator; several can be stacked.

    Raises
    ------
    DeclarationError
        `old` is no name of a class, or `convert` cannot be called.

    Examples
    --------
    ::

        @d6tpipe.migrates_from("Train", lambda old: {"rate": old["lr"]})
        class Train(d6tpipe.tasks.TaskPickle):
            rate = d6tpipe.FloatParameter()

    Notes
    -----
    Then all is as with `renamed_from`. Of several old tasks that become the same, the one that was finished last
    counts. `convert` is called with the records of the old class, once per process and data folder; what it raises
    is an error that names the task.
    """
    if not callable(convert):
        raise DeclarationError(
            "@migrates_from needs a function that converts parameters",
            facts={"got": repr(convert)},
            hint='Write @migrates_from("Old", convert), with def convert(old): return {"rate": old["lr"]}.',
        )
    if isinstance(old, type):
        _check_class("migrates_from", old)
        kind: Any = old
        given = FormerName(kind.get_task_family(), kind.__module__, kind.__qualname__, convert, kind)

        def decorate_with(cls: _Class) -> _Class:
            _check_class("migrates_from", cls)
            return _add(cls, given)

        return decorate_with
    module, _, short = _parts("migrates_from", old)

    def decorate(cls: _Class) -> _Class:
        _check_class("migrates_from", cls)
        return _add(cls, FormerName(_family(cls, module, short), module, _qualified(cls, module, short), convert))

    return decorate


def _parts(decorator: str, name: Any) -> tuple[str, str, str]:
    parts = name.split(".") if isinstance(name, str) else [""]
    if not all(part.isidentifier() for part in parts):
        raise DeclarationError(
            f"@{decorator} needs the former name of the class",
            facts={"got": repr(name)},
            hint=f'Write @{decorator}("OldName") or @{decorator}("old_module.OldName") above the class.',
        )
    module, dot, short = str(name).rpartition(".")
    return module, dot, short


def _check_class(decorator: str, cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, luigi.Task) and hasattr(cls, "_bound_path")):
        raise DeclarationError(
            f"@{decorator} got something that is no task class of d6tpipe",
            facts={"got": f"{cls!r:.200}"},
            hint=f'Write @{decorator}("OldName") above a class that derives from d6tpipe.tasks.',
        )


def _family(cls: Any, module: str, short: str, namespace: str | None = None) -> str:
    found = cls.get_task_namespace() if namespace is None else namespace
    if namespace is None and found and found == cls.__module__ and module:  # luigi.auto_namespace
        found = module
    return f"{found}.{short}" if found else short


def _qualified(cls: type, module: str, short: str) -> str:
    if module:
        return short
    outer, dot, _ = cls.__qualname__.rpartition(".")
    return f"{outer}{dot}{short}"


def _add(cls: _Class, found: FormerName) -> _Class:
    setattr(cls, FORMER, (found, *vars(cls).get(FORMER, ())))  # the decorator above comes last, and is the latest
    note_class(cls)
    return cls


# ---- what is known


def former_names(cls: type) -> tuple[FormerName, ...]:
    """Return the former names of a class, the latest first; not those of its base classes."""
    found: tuple[FormerName, ...] = vars(cls).get(FORMER, ())
    return found


_known: list[weakref.ref[type]] = []


def note_class(cls: type) -> None:
    """Note that a class has former names: others may hold its tasks."""
    if not any([reference() is cls for reference in _known]):
        _known.append(weakref.ref(cls))


def _classes() -> Iterator[Any]:
    """Yield the classes with former names, the latest first; without definitions that others took the place of."""
    for reference in reversed(_known):
        cls = reference()
        found: Any = None if cls is None else sys.modules.get(cls.__module__)
        for part in cls.__qualname__.split(".") if cls is not None else ():
            found = getattr(found, part, None)
        if cls is not None and (found is None or found is cls):  # else a cell was run again
            yield cls


def any_known() -> bool:
    """Return whether any class of this process has former names."""
    return bool(_known)


def successors(family: str, module: str) -> Iterator[tuple[Any, FormerName]]:
    """Yield the classes that were called by a family, with the name that says so, the latest definition first.

    Parameters
    ----------
    family : str
    module : str
        Where the class lived; empty if that is not known.
    """
    for cls in _classes():
        for former in former_names(cls):
            if former.family == family and (not module or not former.module or former.module == module):
                yield cls, former


def successor_at(module: str, name: str) -> Any:
    """Return the class that was called by a qualified name in a module; None if no class says so."""
    for cls in _classes():
        for former in former_names(cls):
            if former.convert is None and former.name == name and module == (former.module or cls.__module__):
                return cls
    return None


CALLED: ContextVar[Mapping[type, FormerName] | None] = ContextVar("d6tpipe_called", default=None)
"""Classes that are told by a former name: ids and texts are as they were then."""


@contextmanager
def called(names: Mapping[type, FormerName]) -> Iterator[None]:
    """Make ids and texts inside the ``with`` block tell classes by former names."""
    token = CALLED.set(names)
    try:
        yield
    finally:
        CALLED.reset(token)
