"""Where the records and locks of a data folder are found: one of each per folder and process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from d6tpipe import plugins
from d6tpipe.records import Records

__all__ = ["MEMORY", "Store", "close_all", "store_at"]

MEMORY = ":memory:"
"""The data folder, so to speak, of outputs that are kept in memory: their records end with them."""

_stores: dict[str, Store] = {}
_guard = threading.Lock()


class Store:
    """Records and locks of one data folder.

    Attributes
    ----------
    root : str
        Absolute path of the data folder, or `MEMORY`.
    records : Records
    """

    def __init__(self, root: str) -> None:
        self.root = root
        kind = "memory" if root == MEMORY else "sqlite"
        self.records: Records = plugins.load("records", kind)(root)
        self._locks: Any = None

    @property
    def locks(self) -> Any:
        """The locks of the folder (`storage.locks.Locks`); outputs in memory need none."""
        if self._locks is None:
            self._locks = plugins.load("locks", "files")(self.root)
        return self._locks

    def relative(self, path: str) -> str:
        """Return `path` as it is recorded: relative to the folder if it lies in it, so that the folder can be moved."""
        if not path or "://" in path:  # no place on this disk
            return path
        if not path.startswith(self.root):
            path = os.path.abspath(path)
        inside = path.startswith(self.root + os.sep)
        return path[len(self.root) + 1 :] if inside else path

    def absolute(self, recorded: str) -> str:
        """Return where a recorded path is now."""
        if self.root == MEMORY or not recorded or "://" in recorded:
            return recorded
        return os.path.join(self.root, recorded)


def store_at(root: str) -> Store:
    """Return the store of a data folder; nothing is opened or made until it is used."""
    key = root if root == MEMORY else os.path.abspath(root)
    found = _stores.get(key)
    if found is not None:
        return found
    with _guard:
        found = _stores.get(key)
        if found is None:
            found = _stores[key] = Store(key)
        return found


def close_all(stores: Iterable[Store]) -> None:
    """Flush, and release the files; each opens again when it is needed."""
    for store in stores:
        store.records.close()
