"""What a class says about itself besides parameters and outputs: class options and marks.

An option is an ordinary class attribute (``version = "2"``). None of our base classes has one, so each of these words
may be a parameter, a method or a property of a task; then it is that and no option.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, overload

import luigi

from d6tpipe.errors import DeclarationError
from d6tpipe.identity import nearest
from d6tpipe.tasks.meta import TaskMeta

__all__ = [
    "MARKS", "OPTIONS", "STALE_MODES", "Env", "Mark", "Options", "allowed_failures", "class_option", "class_options",
    "env", "items", "mark", "tolerance_of",
]  # fmt: skip

MARKS = "_d6tpipe_marks"
"""Attribute of a class that keeps what decorators marked it with: it is shipped with a class of a notebook."""

STALE_MODES = ("ignore", "warn", "rerun")

_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True, slots=True)
class Env:
    """An environment variable in ``depends_on``; see `env`."""

    name: str


def env(name: str) -> Env:
    """Return what stands for an environment variable in ``depends_on``.

    Parameters
    ----------
    name : str
        Name of the variable. Of its value only a hash is recorded: it may be a secret.

    Examples
    --------
    ``depends_on = [d6tpipe.env("REGION")]``
    """
    if not isinstance(name, str) or not name or "=" in name or "\0" in name:
        raise DeclarationError(
            "env() needs the name of an environment variable",
            facts={"got": repr(name)},
            hint='Write d6tpipe.env("REGION"), without a "$" and without a value.',
        )
    return Env(name)


# ---- marks


class Mark:
    """Class decorator that marks a task class with one word; made by `mark`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"mark.{self.name}"

    @overload
    def __call__(self, cls: _Class) -> _Class: ...

    @overload
    def __call__(self) -> Mark: ...

    def __call__(self, cls: Any = None, *others: Any, **named: Any) -> Any:
        """Mark `cls` and return it; without arguments the decorator itself, as ``@mark.costly()`` is often written."""
        if cls is None and not others and not named:
            return self
        if not isinstance(cls, type) or others or named:
            raise DeclarationError(
                f"@mark.{self.name} got something that is not a task class",
                facts={"got": ", ".join([*map(repr, (cls, *others)), *[f"{n}={v!r}" for n, v in named.items()]])},
                hint=f"Write @d6tpipe.mark.{self.name} above the class.",
            )
        setattr(cls, MARKS, vars(cls).get(MARKS, frozenset()) | {self.name})
        return cls


class _Marks:
    """``mark.<name>`` marks a task class with that word, for selecting tasks; ``mark.freeze`` also freezes it.

    ``mark.skip`` and ``mark.skipif(condition, reason="...")``: tasks of the class are skipped, and so is what needs
    them; a run counts as successful all the same. Subclasses inherit marks, and add to them.

    Examples
    --------
    ``@d6tpipe.mark.costly`` above a class, or ``marks = {"costly"}`` in it.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "skipif":
            return _skipif
        if name.startswith("_"):  # what copy, inspect and notebooks ask of any object
            raise AttributeError(name)
        return Mark(name)


def _skipif(condition: Any, *, reason: str = "") -> Callable[[_Class], _Class]:
    """Return a class decorator that marks with "skip" if a condition holds, now or when it is called."""
    holds = bool(condition() if callable(condition) and not isinstance(condition, type) else condition)

    def decorate(cls: _Class) -> _Class:
        return Mark("skip")(cls) if holds else cls

    return decorate


mark: Any = _Marks()


# ---- options


@dataclass(frozen=True, slots=True)
class Options:
    """What a class declares; see `class_option` for what each means.

    Attributes
    ----------
    version : str
    depends_on : tuple
    ignore_code, freeze : bool
    expires : datetime.timedelta or None
    stale : {"ignore", "warn", "rerun"} or None
    transient : False, True or "remove"
    marks : frozenset of str
    names : frozenset of str
        Which of these words are attributes of the class that were read as options.
    owner : type
        The class that says ``depends_on``.
    """

    version: str
    depends_on: tuple[Any, ...]
    ignore_code: bool
    freeze: bool
    expires: datetime.timedelta | None
    stale: str | None
    transient: bool | str
    marks: frozenset[str]
    names: frozenset[str]
    owner: type


def class_option(cls: type, name: str, default: Any = None) -> Any:
    """Return a class option, or `default` if the class does not say.

    Read only from classes that users wrote. Never read where the word is taken: where it is a parameter (here or in
    a base class), or the attribute found first is a method, a property or another descriptor.

    Parameters
    ----------
    cls : type
        A task class, ours or plain luigi.
    name : str
        ``version``, ``depends_on``, ``ignore_code``, ``freeze``, ``expires``, ``stale``, ``transient``, ``marks``;
        another name is returned as it is found.
    default : object
        Also for an option that is None.

    Returns
    -------
    object
        ``version``: text. ``depends_on``: tuple. ``marks``: frozenset, those of base classes included, "freeze" among
        them exactly when the class is frozen. ``freeze``: what the nearest class says, be it as option or as mark.

    Raises
    ------
    DeclarationError
        The value does not fit. Of a plain luigi class such an attribute is no option: it was not written for us.
    """
    said = _said(cls, (name,)).get(name)
    given = None if said is None else said[0][1]
    if name not in OPTIONS:
        return default if given is None else given
    found = class_options(cls)
    value = getattr(found, name)
    return value if value or (given is not None and name in found.names) else default


def class_options(cls: type) -> Options:
    """Return all options of a class; raises as `class_option` does."""
    said = _said(cls, OPTIONS)
    values = {name: _read(cls, name, *places[0]) for name, places in said.items()}
    names = frozenset(name for name, value in values.items() if value is not _MISFIT)
    freezing, marking = [dict(said[name]) if name in names else {} for name in ("freeze", "marks")]
    frozen: bool | None = None
    marks: set[str] = set()
    for owner in cls.__mro__:
        words = set(owner.__dict__.get(MARKS, ()))
        if owner in marking:
            words |= _fitting(cls, "marks", owner, marking[owner]) or set()
        if frozen is None:  # the nearest class that says
            said_here = owner in freezing and _fitting(cls, "freeze", owner, freezing[owner])
            frozen = bool(said_here) if owner in freezing else True if "freeze" in words else None
        marks |= words
    found = {name: value for name, value in values.items() if name in names and value is not None}
    return Options(
        version=found.get("version", ""),
        depends_on=found.get("depends_on", ()),
        ignore_code=found.get("ignore_code", False),
        freeze=bool(frozen),
        expires=found.get("expires"),
        stale=found.get("stale"),
        transient=found.get("transient", False),
        marks=frozenset(marks | {"freeze"} if frozen else marks - {"freeze"}),
        names=names,
        owner=said["depends_on"][0][0] if "depends_on" in names else cls,
    )


def allowed_failures(tolerance: Any, count: int, of: object) -> int:
    """Return how many of `count` tasks may fail.

    Parameters
    ----------
    tolerance : int, float or None
        A number of tasks, or a part of them between 0 and 1.
    count : int
    of : object
        Whose `tolerance` it is, for messages.

    Raises
    ------
    DeclarationError
        It is neither.
    """
    if tolerance is None:
        return 0
    if isinstance(tolerance, int) and not isinstance(tolerance, bool) and tolerance >= 0:
        return tolerance
    if isinstance(tolerance, float) and 0 <= tolerance <= 1:
        return int(tolerance * count + 1e-9)
    raise DeclarationError(
        "tolerance must be a number of tasks, or a part of them",
        task=of,
        facts={"tolerance": repr(tolerance)},
        hint="Write tolerance = 2, or tolerance = 0.1 for a tenth of them.",
    )


def tolerance_of(task: Any, count: int) -> int:
    """Return how many of `count` tasks may fail, as the class of a task says."""
    return allowed_failures(class_option(type(task), "tolerance"), count, type(task))


_MISFIT: Any = object()


def _said(cls: type, names: Iterable[str]) -> dict[str, list[tuple[type, Any]]]:
    """Return the classes that declare an option, nearest first, and what they say; without words that are taken."""
    found: dict[str, list[tuple[type, Any]]] = {}
    taken = set()
    for owner in cls.__mro__:
        attributes = owner.__dict__
        for name in names:
            if name not in attributes or _is_library(owner):
                continue
            value = attributes[name]
            if isinstance(value, luigi.Parameter):  # a subclass that gives it a plain value still means its parameter
                taken.add(name)
            elif not _is_descriptor(name, value):
                found.setdefault(name, []).append((owner, value))
            elif name not in found:
                taken.add(name)
    return {name: places for name, places in found.items() if name not in taken}


def _is_descriptor(name: str, value: Any) -> bool:
    if not hasattr(type(value), "__get__"):
        return False
    # depends_on = clean, where clean is a function of the module, is no method.
    return not (name == "depends_on" and type(value) is FunctionType and value.__name__ not in (name, "<lambda>"))


def _is_library(cls: type) -> bool:
    module = str(cls.__module__)
    return module.partition(".")[0] in ("d6tpipe", "luigi") and not module.startswith("d6tpipe.demo")


def _read(cls: type, name: str, owner: type, value: Any) -> Any:
    """Return the value of an option in its form; `_MISFIT` for what a plain luigi class calls by the same name."""
    fit, expected, example = OPTIONS[name]
    proper = None if value is None else fit(value)
    if proper is not _MISFIT or not isinstance(cls, TaskMeta):
        return proper
    words = {"stale": STALE_MODES, "transient": ("remove",)}.get(name, ())
    near = nearest(value, words) if words and isinstance(value, str) else None
    raise DeclarationError(
        f"Class option '{name}' must be {expected}",
        task=cls,
        facts={
            name: f"{value!r} ({type(value).__name__})",
            **({} if owner is cls else {"declared in": f"{owner.__module__}.{owner.__qualname__}"}),
        },
        hint=f"Did you mean '{near}'?"
        if near
        else f"Write {example}. An attribute of your own that has nothing to do with this needs another name.",
    )


def _fitting(cls: type, name: str, owner: type, value: Any) -> Any:
    proper = _read(cls, name, owner, value)
    return None if proper is _MISFIT else proper


# ---- what fits


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else _MISFIT


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else _MISFIT


def _duration(value: Any) -> Any:
    return value if isinstance(value, datetime.timedelta) else _MISFIT


def _mode(value: Any) -> Any:
    return value if isinstance(value, str) and value in STALE_MODES else _MISFIT


def _transience(value: Any) -> Any:
    return value if isinstance(value, bool) or (isinstance(value, str) and value == "remove") else _MISFIT


def _words(value: Any) -> Any:
    words = {value} if isinstance(value, str) else value
    if not isinstance(words, (set, frozenset, list, tuple)):
        return _MISFIT
    return frozenset(words) if all(isinstance(word, str) and word.strip() for word in words) else _MISFIT


def items(value: Any) -> tuple[Any, ...]:
    """Return what ``depends_on`` holds: a list, or a single thing."""
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)


OPTIONS: Mapping[str, tuple[Callable[[Any], Any], str, str]] = {
    "version": (_version, "text or a whole number", 'version = "2"'),
    "depends_on": (items, "a list", 'depends_on = [function, "numpy", Path("f.csv"), d6tpipe.env("REGION")]'),
    "ignore_code": (_flag, "True or False", "ignore_code = True"),
    "freeze": (_flag, "True or False", "freeze = True"),
    "expires": (_duration, "a datetime.timedelta", "expires = timedelta(days=1)"),
    "stale": (_mode, f"one of {', '.join(map(repr, STALE_MODES))}", 'stale = "rerun"'),
    "transient": (_transience, 'True, False or "remove"', 'transient = "remove"'),
    "marks": (_words, "a set of words", 'marks = {"costly"}'),
}
"""Option to what brings a value into its form, what is expected, and an example."""
