"""Folders that several tasks share, one at a time: checkpoints of runs that differ in how long they go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path
from typing import Any

from d6tpipe import plugins
from d6tpipe.constructor import blueprint, inits_text
from d6tpipe.errors import DeclarationError, GraphError
from d6tpipe.identity import nearest
from d6tpipe.tasks.outputs import absolute, folder, root_of

__all__ = ["SharedDir", "shared_dirs", "used_alone"]


class SharedDir:
    """A folder that a task shares with those that differ only in some parameters; never used by two of them at once.

    Parameters
    ----------
    ignore : list of str
        Parameters that do not count: tasks that differ only there have one folder.
    only : list of str, optional
        The parameters that count, instead.

    Raises
    ------
    DeclarationError
        When it is used: a name is not that of a significant parameter.

    Notes
    -----
    ``self.checkpoints`` is its path, ``<data folder>/<Class>/shared/<name>-<hash>``. While a body runs the folder is
    there and belongs to it alone: another task with that folder waits, in whatever process, until the body has ended
    or its process is gone. A body that yields lets others in while it waits. Nothing deletes the folder but you.

    Examples
    --------
    ::

        class Train(d6tpipe.tasks.TaskPickle):
            lr = d6tpipe.FloatParameter()
            max_iter = d6tpipe.IntParameter()
            checkpoints = d6tpipe.SharedDir(ignore=["max_iter"])
    """

    is_shared_folder = True

    def __init__(self, ignore: Iterable[str] = (), only: Iterable[str] | None = None) -> None:
        self.ignore, self.only = tuple(ignore), None if only is None else tuple(only)
        if self.ignore and self.only is not None:
            raise DeclarationError(
                "SharedDir takes ignore= or only=, not both",
                facts={"ignore": ", ".join(self.ignore), "only": ", ".join(self.only)},
                hint="Name either the parameters that do not count, or those that do.",
            )
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, task: Any, owner: type) -> Any:
        return self if task is None else Path(self.path(task))

    def path(self, task: Any) -> str:
        """Return the path of the folder of a task; nothing is made."""
        return os.path.join(folder(task), "shared", f"{self.name}-{self.key(task)}")

    def key(self, task: Any) -> str:
        """Return a hash of what counts of a task."""
        texts = self._counting(type(task), blueprint(type(task)).texts(task.__dict__))
        if "_init" in task.__dict__ and "init" not in self.ignore and self.only is None:
            texts["init"] = inits_text(task.__dict__["_init"])
        return blake2b(json.dumps(texts, sort_keys=True).encode(), digest_size=8).hexdigest()

    def _counting(self, cls: type, texts: Mapping[str, str]) -> dict[str, str]:
        known = (*blueprint(cls).identity_names, *[name for name in ("init",) if name in blueprint(cls).extras])
        for name in (*self.ignore, *(self.only or ())):
            if name not in known:
                near = nearest(name, known)
                raise DeclarationError(
                    f"SharedDir '{self.name}' names '{name}', which is no significant parameter",
                    task=cls,
                    facts={"parameters": ", ".join(known) or "none"},
                    hint=f"Did you mean '{near}'?" if near else "Name some of these.",
                )
        if self.only is not None:
            return {name: text for name, text in texts.items() if name in self.only}
        return {name: text for name, text in texts.items() if name not in self.ignore}


def shared_dirs(cls: type) -> list[SharedDir]:
    """Return the shared folders that a class declares, by name."""
    found: dict[str, SharedDir] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, SharedDir):
                found[name] = value
            else:
                found.pop(name, None)
    return [found[name] for name in sorted(found)]


_held: ContextVar[frozenset[tuple[str, str]]] = ContextVar("d6tpipe_shared_dirs", default=frozenset())
"""What the bodies around this place in the code hold."""


@contextmanager
def used_alone(task: Any) -> Iterator[None]:
    """Make the shared folders of a task, whose body runs, and keep others out of them."""
    root = absolute(root_of(task))
    locks = plugins.load("locks", "files")(root)
    outer = _held.get()
    with ExitStack() as held:
        for one in shared_dirs(type(task)):  # always in this order: two bodies do not wait for each other
            key = f"shared {type(task).__name__} {one.name} {one.key(task)}"
            if (root, key) in outer:
                raise GraphError(
                    "A body runs another task that needs the folder it is in itself",
                    task=task,
                    facts={"folder": one.path(task)},
                    hint="Yield that task, or require it: a body that waits lets others into its folder.",
                )
            while not locks.acquire(key):
                locks.wait([key])
            held.callback(locks.release, [key])
            outer = outer | {(root, key)}
            os.makedirs(one.path(task), exist_ok=True)
        token = _held.set(outer)
        try:
            yield
        finally:
            _held.reset(token)
