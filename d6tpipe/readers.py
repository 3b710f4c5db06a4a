"""Who reads outputs now, so that no run removes them meanwhile: of classes with ``transient = "remove"``.

A lock belongs to one process, and several may read. So a task has a few more keys than its own; who reads holds one of
them, whichever is free, and who removes has to get hold of all.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from d6tpipe.examiner import store_of
from d6tpipe.stores import MEMORY, Store

__all__ = ["Reading", "removing"]

_MOST = 8  # processes that can be known to read a task at once; what more there are is not waited for
_in_memory: Counter[str] = Counter()
_guard = threading.Lock()


def _keys(task_id: str) -> list[str]:
    return [f"{task_id} is read {number}" for number in range(_MOST)]


class Reading:
    """What one run, or one body, reads."""

    def __init__(self) -> None:
        self._held: dict[tuple[Store, str], str] = {}

    def begin(self, task: Any) -> bool:
        """Hinder others from removing the outputs of `task`; False if somebody is about to, or builds them."""
        store, task_id = store_of(task), task.task_id
        if (store, task_id) in self._held:
            return True
        if store.root == MEMORY:
            with _guard:
                _in_memory[task_id] += 1
            self._held[store, task_id] = ""
            return True
        for key in _keys(task_id):
            if store.locks.acquire(key):
                self._held[store, task_id] = key
                return True
        return store.locks.holder(task_id) is None

    def end(self, store: Store, task_id: str) -> None:
        """Take notice that it is not read any more."""
        key = self._held.pop((store, task_id), None)
        if key == "":
            with _guard:
                _in_memory[task_id] -= 1
        elif key is not None:
            store.locks.release([key])

    def close(self) -> None:
        """Read nothing any more."""
        for store, task_id in list(self._held):
            self.end(store, task_id)


@contextmanager
def removing(store: Store, task_id: str) -> Iterator[bool]:
    """Hold a task, and hinder everybody from beginning to read it, for a ``with`` block; yields whether that is so."""
    if store.root == MEMORY:
        with _guard:
            yield not _in_memory[task_id]
        return
    held = []
    try:
        for key in [task_id, *_keys(task_id)]:
            if not store.locks.acquire(key):
                break
            held.append(key)
        yield len(held) == 1 + _MOST
    finally:
        store.locks.release(held)
