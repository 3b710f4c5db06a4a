"""Limits that hold between processes: so many at a time, whoever they are."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import Any

from d6tpipe import plugins, settings
from d6tpipe.errors import ParameterError
from d6tpipe.machine import user_name

__all__ = ["Token"]

_SCOPES = ("machine", "folder")


class Token:
    """One of a number of places that all processes share: ``with Token("db", 3):`` lets three in at a time.

    Parameters
    ----------
    name : str
        Processes that give the same name, and the same `total`, share the places.
    total : int
        How many places there are.
    scope : {"machine", "folder"}
        Who shares them: all processes of the user on this machine, or all that use the same data folder, from other
        machines too if locks work there.

    Raises
    ------
    ParameterError
        What was given does not fit, or `take` asks for more than there is.

    Effects
    -------
    A lock file in the temporary folder of the machine, or in the data folder. A place is free again when its block is
    left or its process has died, however it died; nothing has to be cleaned up.

    Notes
    -----
    Waits as long as no place is free; Ctrl-C ends that. To limit the tasks of one run, ``resources`` of the class is
    better: a body that waits here occupies its worker.
    """

    def __init__(self, name: str, total: int = 1, scope: str = "machine") -> None:
        if not isinstance(name, str) or not name:
            raise ParameterError("A token needs a name", facts={"got": repr(name)}, hint='Write Token("db", 3).')
        if isinstance(total, bool) or not isinstance(total, int) or total < 1:
            raise ParameterError(
                "The number of places of a token must be a number of 1 or more",
                facts={"token": name, "got": repr(total)},
                hint=f'Write Token("{name}", 3).',
            )
        if scope not in _SCOPES:
            raise ParameterError(
                "The scope of a token must be one of two words",
                facts={"got": repr(scope), "allowed": ", ".join(_SCOPES)},
                hint=f'Write Token("{name}", {total}, scope="machine").',
            )
        self.name, self.total, self.scope = name, total, scope
        self._number = 1
        self._taken: list[tuple[Any, list[str]]] = []

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.total})"

    def take(self, number: int) -> Token:
        """Return a token that takes `number` places at once: ``with Token("db", 3).take(2):``."""
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= self.total:
            raise ParameterError(
                "So many places can never be taken",
                facts={"token": repr(self), "wanted": repr(number)},
                hint=f"Take between 1 and {self.total}.",
            )
        found = Token(self.name, self.total, self.scope)
        found._number = number
        return found

    def __enter__(self) -> Token:
        locks = self._locks()
        places = [f"token {self.name} {place}" for place in range(self.total)]
        mine: list[str] = []
        try:
            while True:
                for place in places:
                    if len(mine) < self._number and locks.acquire(place):
                        mine.append(place)
                if len(mine) == self._number:
                    self._taken.append((locks, mine))
                    return self
                # All or none: two that hold a part of what they want would wait for each other.
                others = [place for place in places if place not in mine]
                locks.release(mine)
                mine.clear()
                locks.wait(others, 1.0)
        except BaseException:
            locks.release(mine)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        locks, mine = self._taken.pop()
        locks.release(mine)

    def _locks(self) -> Any:
        root = os.fspath(settings.dirpath)
        if self.scope == "machine":
            root = os.path.join(tempfile.gettempdir(), f"d6tpipe-{user_name()}")
        return plugins.load("locks", "files")(root)
