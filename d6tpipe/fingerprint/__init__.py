"""What a task's code amounts to: one hash over everything of the project that its result can depend on.

The closure starts at the attributes of the class and of its project base classes, and follows every name that the
code uses: helper functions (through ``import mod as m; m.f()``, too), helper classes, decorators, closures,
``partial``, default arguments, imports inside of functions, and globals that hold plain data. It stops at other task
classes (their effect arrives as data) and at libraries: of both only the name counts.

Not a change: comments, docstrings, blank lines, line breaks, annotations, the order of definitions, names of local
variables, renaming or moving a helper, another alias for the same import (but ``import m; m.f()`` and ``from m import
f`` differ), the folder of the project, the hash seed, ``__main__`` or imported, script or notebook cells, by reference
or pickled by value. ``-O`` is a change where there are asserts: the code then does less.

Two hashes. `Fingerprint.fast` is over normalised bytecode and holds for one minor version of Python.
`Fingerprint.stable` is over syntax trees and holds for all; it needs the source, counts local names and aliases, and
is for records that another version wrote. If one of the two is equal, nothing has changed.

Not seen, so declare it with ``depends_on`` or raise ``version``: attributes got by a computed name (``getattr(mod,
name)``), functions found at run time in the registry of a library, the code of libraries and C extensions, data files
and environment variables, what is patched into objects that the code does not name, the state of instances of
ordinary classes (their class is seen, and the fields of dataclasses), DataFrames and other library objects held in
globals (numpy arrays up to 1 MB are seen), what a local variable holds (``tools = mod; tools.f()``), more than `LIMIT`
items of one value, and asserts that pytest rewrote. Plain data counts with the value that it has when it is looked at:
a dict in which code keeps results looks like a change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any

from d6tpipe.fingerprint.bytecode import MEMO_SIZE, digest
from d6tpipe.fingerprint.closure import Node, Walk, is_project
from d6tpipe.fingerprint.source import source_of
from d6tpipe.fingerprint.values import LIMIT

__all__ = ["LIMIT", "PYTHON", "Fingerprint", "changed_members", "fingerprint", "is_project"]

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""What a fast hash begins with: only hashes that begin alike can be compared."""


def _never(*_: object) -> bool:
    return False


def fingerprint(
    cls: Any,
    *,
    stop: Callable[[type], bool] = _never,
    skip: Callable[[str, Any], bool] = _never,
    project: Callable[[str, str | None], bool] = is_project,
    extra: tuple[str, ...] = (),
) -> Fingerprint:
    """Return the fingerprint of a class, a function or any other object.

    Parameters
    ----------
    cls : object
        A task class; or, for ``depends_on``, whatever has code or is plain data.
    stop : callable
        ``stop(class) -> bool``: another task class; its name is noted, it is not entered. The base classes of `cls`
        are entered in any case.
    skip : callable
        ``skip(attribute name, value) -> bool``: attributes of `cls` and its bases that are not part of the result:
        scheduling hooks and parameters.
    project : callable
        ``project(module, file) -> bool``: whether code is the project's; see `is_project`.
    extra : tuple of str
        Packages that count as the project's wherever they are installed.

    Returns
    -------
    Fingerprint

    Notes
    -----
    Remembered as long as everything that was looked at is still the same object, globals included. For this the four
    options have to be the same objects in every call: functions of a module, not lambdas made on the way.
    First sight of a class with 18 members, 21 lines of them its own: about 0.17 ms; again: some 6 us.
    """
    # By name, not by identity: a notebook cell that is run again takes the place of what it defined before.
    name = cls.__qualname__ if isinstance(cls, (type, FunctionType)) else None
    key = name, getattr(cls, "__module__", None), stop, skip, project, extra
    known = _memo.get(key) if name else None
    if known is not None and known[0] is cls and known[1]._walk.is_current():
        return known[1]
    found = Fingerprint(Walk(cls, stop, skip, project, extra))
    if name:
        if len(_memo) > MEMO_SIZE:
            _memo.clear()
        _memo[key] = cls, found
    return found


_memo: dict[Any, tuple[Any, Fingerprint]] = {}


class Fingerprint:
    """What the code of one object amounts to.

    Attributes
    ----------
    fast : str
        ``"3.11-<32 hexadecimal digits>"``.
    """

    def __init__(
        self, walk: Walk, words: Mapping[str, str] | None = None, root: str = "", home: str | None = None
    ) -> None:
        self._walk = walk
        self._words = words or {}
        self._root, self._home = root or walk.nodes[0].label, walk.nodes[0].module if home is None else home
        lines = []
        for node in walk.nodes:
            lines += [
                self._words.get(part, part) if part.__class__ is str else f"#{part.number}"
                for part in (*node.parts, ";", *node.refs, ";", *node.inner, ";")
            ]
        self.fast = f"{PYTHON}-{digest(chr(10).join(lines).encode())}"

    def called(self, names: Mapping[str, str] | None = None, root: str = "", home: str | None = None) -> Fingerprint:
        """Return the fingerprint that the same code had when classes had other names.

        Parameters
        ----------
        names : mapping of str to str, optional
            Qualified name of a class that was not entered to its former one.
        root : str, optional
            The former qualified name of the object itself.
        home : str, optional
            The module where it lived; what is there, or in the module of now, is named without the module.
        """
        words = {f"task:{now}": f"task:{then}" for now, then in (names or {}).items()}
        return Fingerprint(self._walk, words, root, home)

    def _label(self, node: Node) -> str:
        """Return the qualified name of a member, what belongs to the object itself below the name of that."""
        first = self._walk.nodes[0]
        if node.module == first.module and (node is first or node.label.startswith(f"{first.label}.")):
            return self._root + node.label[len(first.label) :]
        return node.label

    @property
    def stopped(self) -> list[type]:
        """The classes that the code names and that were not entered."""
        return list(self._walk.stopped)

    def __repr__(self) -> str:
        return f"<Fingerprint {self.fast}, {len(self._walk.nodes)} members>"

    @cached_property
    def _names(self) -> list[str]:
        """The name of each member: of the root's module as it is, of others after the module; numbered if twice."""
        taken: dict[str, int] = {}
        found = []
        homes = (self._home, self._walk.nodes[0].module)
        for node in self._walk.nodes:
            label = self._label(node)
            name = label if node.module in homes else f"{node.module}.{label}"
            taken[name] = taken.get(name, 0) + 1
            found.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
        return found

    @property
    def names(self) -> list[str]:
        """The name of each member; one place stands for one member, whatever classes are called (see `called`)."""
        return self._names

    def _text(self, part: str | Node) -> str:
        """Return a part as it counts for the hash of one member."""
        return self._names[part.number] if isinstance(part, Node) else self._words.get(part, part)

    @cached_property
    def members(self) -> dict[str, str]:
        """Qualified name of each member to a short hash of it, for this minor version of Python."""
        found = {}
        for node, name in zip(self._walk.nodes, self._names, strict=True):
            parts = [self._text(part) for part in [*node.parts, ";", *node.refs]]
            found[name] = digest("\n".join(parts).encode(), 6)
        return found

    @cached_property
    def stable(self) -> str | None:
        """Hash over syntax trees, the same in all versions of Python; None where a source is missing."""
        lines = []
        for node in self._walk.nodes:
            parts = node.parts
            if node.subject.__class__ is FunctionType:
                source = source_of(node.subject)
                if source is None:
                    return None
                parts = [source.stable, *parts[1:]]
            refs = sorted({self._stable_part(part) for part in node.refs})
            inner = map(self._stable_part, node.inner)
            lines.append("\n".join([self._label(node), *map(self._stable_part, parts), *refs, *inner]))
        return digest("\n\n".join(sorted(lines)).encode())

    def _stable_part(self, part: str | Node) -> str:
        """Return what of a part holds for all versions: numbers of members do not."""
        return f"#{self._label(part)}" if isinstance(part, Node) else self._words.get(part, part)

    def member_sources(self) -> dict[str, str]:
        """Return the normalised source of each member, or what a value consists of, one part a line."""
        found = {}
        for node, name in zip(self._walk.nodes, self._names, strict=True):
            parts = [self._text(part) for part in node.parts]
            if node.subject.__class__ is FunctionType:
                source = source_of(node.subject)
                held = [f"# holds {' '.join(parts[1:])}"] if parts[1:] else []
                parts = [source.shown if source else "# source not available", *held]
            found[name] = "\n".join(parts)
        return found


def changed_members(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what differs between two `Fingerprint.members`: (name, "added", "removed" or "changed"), by name."""
    gone = [(name, "removed") for name in before if name not in after]
    new = [(name, "added") for name in after if name not in before]
    changed = [(name, "changed") for name in after if name in before and after[name] != before[name]]
    return sorted(gone + new + changed)
