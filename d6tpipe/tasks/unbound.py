"""Requirements that ``requires`` names by their class only: the body says which task of the class it means.

::

    def requires(self):
        return TaskA                                  # some TaskA
    def run(self):
        value = self.input(param=3).load()            # this one: built if need be, the body goes on
        parts = self.inputs([{"param": i} for i in range(3)])
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

import luigi

from d6tpipe.errors import DeclarationError, OutputKeyError, ParameterError, warn
from d6tpipe.identity import nearest

__all__ = ["binds", "class_meant", "has_classes", "in_place_of", "outside_a_body", "without_classes"]

_NAMED = frozenset({"KW_NAMES", "CALL_FUNCTION_KW", "CALL_KW", "CALL_FUNCTION_EX"})
_known: dict[Any, bool] = {}
_warned: set[tuple[type, type]] = set()


def binds(cls: type) -> bool:
    """Return whether the body of a class binds requirements: it calls ``self.inputs``, or ``self.input`` by name."""
    run = inspect.unwrap(cls.run, stop=lambda f: not hasattr(f, "__wrapped__"))  # type: ignore[attr-defined]
    code = getattr(run, "__code__", None)
    if code is None:
        return False
    found = _known.get(code)
    if found is None:
        found = _known[code] = _calls_input(code)
    return found


def _calls_input(code: CodeType) -> bool:
    names = set(code.co_names)
    if "inputs" in names:
        return True
    if "input" in names and any(instruction.opname in _NAMED for instruction in dis.get_instructions(code)):
        return True
    return any(isinstance(inner, CodeType) and _calls_input(inner) for inner in code.co_consts)


def has_classes(wanted: Any) -> bool:
    """Return whether what ``requires`` returned is a class, or a list or dict with classes in it."""
    kind = wanted.__class__
    if kind is list or kind is tuple:
        members: Any = wanted
    elif kind is dict:
        members = wanted.values()
    else:
        return isinstance(wanted, type)
    return any([isinstance(member, type) for member in members])


def without_classes(task: Any, wanted: Any) -> Any:
    """Return what ``requires`` returned without the classes in it; as it is if the body does not bind any."""
    if not binds(type(task)):
        return wanted
    if isinstance(wanted, type):
        return []
    if isinstance(wanted, Mapping):
        return {key: member for key, member in wanted.items() if not isinstance(member, type)}
    return [member for member in wanted if not isinstance(member, type)]


def in_place_of(task: Any, error: ParameterError) -> Any:
    """Return what a ``requires`` stands for that has made a task without all of its values; else raise the error."""
    cls = getattr(error, "unbound", None)
    if cls is None or not binds(type(task)):
        raise error
    if (type(task), cls) not in _warned:
        _warned.add((type(task), cls))
        warn(
            f"requires() of {type(task).__name__} makes a {cls.__name__} without all of its values; it is taken for "
            f"one that run() binds. Return the class itself: return {cls.__name__}"
        )
    return cls


def class_meant(task: Any, which: Any, ask: Callable[[], Any]) -> type:
    """Return the class that ``self.input(which, ...)`` means.

    Parameters
    ----------
    task : luigi.Task
        Whose body asks.
    which : str, int, class or None
        Name or position of the class in what ``requires`` returns, or a class itself; None: the only one there is.
    ask : callable
        Returns what ``requires`` returns, classes included.

    Raises
    ------
    OutputKeyError
        There is no such class, or several and no name.
    """
    if isinstance(which, type) and issubclass(which, luigi.Task):
        return which
    wanted = ask()
    if isinstance(wanted, type):
        wanted = {"": wanted}
    elif isinstance(wanted, (list, tuple)):
        wanted = dict(enumerate(wanted))
    classes = {key: member for key, member in wanted.items() if isinstance(member, type)} if wanted else {}
    if which is None and len(classes) == 1:
        return next(iter(classes.values()))
    if which is not None and which in classes:
        return classes[which]
    names = ", ".join(str(key) for key in classes) or "none"
    near = nearest(str(which), [str(key) for key in classes]) if which is not None else None
    if not classes:
        hint = "Let requires() return the class, without parentheses: return TaskA."
    elif which is None:
        hint = "Say which: self.input('name', param=value), or self.input(TaskA, param=value)."
    else:
        hint = f"Did you mean '{near}'?" if near else "Use one of these names, or the class itself."
    raise OutputKeyError(
        "self.input(...) with values binds a class that requires() returns",
        task=task,
        facts={"classes": names, "asked for": "the only one" if which is None else repr(which)},
        hint=hint,
    )


def outside_a_body(task: Any) -> DeclarationError:
    """Return the error for binding where no body runs."""
    return DeclarationError(
        "self.input(...) with values is for run(): it builds the task that it names",
        task=task,
        hint="Elsewhere, make the task and load it: TaskA(param=value).outputLoad(run=True).",
    )
