"""What memory outputs hold, and the hand-over points that d6tflow users know.

`data` maps the path of a memory output (as text) to its value; clearing it makes those tasks incomplete.
`api`, `pipe_default_name` and `pipes` are set by ``d6tpipe.pipes``.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from itertools import count
from typing import Any

__all__ = ["api", "data", "keep", "pipe_default_name", "pipes", "puts", "restore", "stamp", "stamps"]

stamps: dict[str, tuple[int, bytes]] = {}
"""Path to (number, digest) of the values that tasks have saved; ask `stamp`, which knows what no longer counts."""

puts: dict[str, int] = {}
"""Path to a number that no other value has, for values put in by hand, too: two of them are not taken for one."""


class _Values(dict[str, Any]):
    """Values by path. One that is put in or taken out by hand takes its stamp with it."""

    def __setitem__(self, path: str, value: Any) -> None:
        stamps.pop(path, None)
        puts[path] = next(_numbers)
        super().__setitem__(path, value)

    def __delitem__(self, path: str) -> None:
        stamps.pop(path, None)
        puts.pop(path, None)
        super().__delitem__(path)

    # Those of dict change the values without a call of the two methods above.
    clear = MutableMapping.clear
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    update = MutableMapping.update

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy is nobody's output

    def __ior__(self, other: Any) -> _Values:  # type: ignore[override,misc]
        self.update(other)
        return self


data: dict[str, Any] = _Values()

api: Any = None
pipe_default_name: str | None = None
pipes: dict[str, Any] = {}


def keep(path: str, value: Any, digest: bytes = b"") -> None:
    """Make `value` the content of the memory output `path`.

    Parameters
    ----------
    digest : bytes
        Of the value; empty if there is none that is the same for the same content only.
    """
    data[path] = value
    if type(data) is _Values:
        stamps[path] = next(_numbers), digest


def restore(path: str, value: Any, stamp: Any) -> None:
    """Make `value` the content of a memory output, as it was in another process.

    Parameters
    ----------
    stamp : tuple or other
        What `stamp` returns there; anything else stands for a value that was put in by hand.
    """
    data[path] = value
    if isinstance(stamp, tuple) and type(data) is _Values:
        stamps[path] = stamp


def stamp(path: str) -> tuple[int, bytes] | None:
    """Return (number, digest) of the value in memory under `path`.

    Returns
    -------
    tuple or None
        The number stands for one call of `keep`, in this process or any other, and fits into eight bytes. None if
        there is no value, or one that was put into `data` by hand.
    """
    return stamps.get(path) if type(data) is _Values else None


def _count() -> None:
    # By chance, not by the clock: a record must not take the value of another process for its own.
    global _numbers
    _numbers = count(int.from_bytes(os.urandom(8), "big") >> 2)


_numbers: count[int]
_count()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count)
