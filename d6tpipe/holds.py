"""Holding tasks while their records are edited, so that nobody builds them in the meantime."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from d6tpipe.errors import StorageError, shown
from d6tpipe.stores import MEMORY, Store

__all__ = ["BATCH", "PATIENCE", "batches", "busy_error", "held", "holder", "tell_waiting", "who"]

BATCH = 64
"""How many tasks are held together: the kernel keeps locks in a list, and others should not wait for long."""


PATIENCE = 1.0
"""Seconds that one waits without saying so."""


def tell_waiting(task: Any, pid: int | None) -> None:
    """Say on standard error for what one waits, and for whom."""
    sys.stderr.write(f"d6tpipe waits for {shown(task)}: {who(pid)} is building it\n")
    sys.stderr.flush()


@contextmanager
def held(store: Store, task_ids: Sequence[str]) -> Iterator[dict[str, int | None]]:
    """Hold tasks for the length of a ``with`` block; what was recorded in it is safe before they are let go.

    Yields
    ------
    dict of str to int or None
        The tasks that could not be had, and the id of the process that has them (see `holder`).
    """
    got: list[str] = []
    others: dict[str, int | None] = {}
    try:
        for task_id in task_ids:
            if store.root == MEMORY or store.locks.acquire(task_id):
                got.append(task_id)
            else:
                others[task_id] = store.locks.holder(task_id)
        yield others
        store.records.flush()
    finally:
        if got and store.root != MEMORY:
            store.locks.release(got)


def holder(store: Store, task_id: str) -> int | None:
    """Return the id of the process that builds a task now, 0 if it has none here; None if nobody does.

    Makes nothing on the disk.
    """
    return None if store.root == MEMORY else store.locks.holder(task_id)


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield `items` in parts that may be held together."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def who(pid: int | None) -> str:
    """Return a process in words."""
    return f"process {pid}" if pid else "a process of another computer or container" if pid == 0 else "another process"


def busy_error(busy: Mapping[str, int | None], verb: str, done: int = 0) -> StorageError:
    """Return the error that says which tasks cannot be edited because they are being built.

    Parameters
    ----------
    busy : mapping of str to int or None
        Task, as it is to be shown, to the process that has it.
    verb : str
        What was to be done with them: "accepted".
    done : int
        How many others it was done to before.
    """
    facts: dict[str, Any] = {task: f"in the hands of {who(pid)}" for task, pid in _first(busy.items())}
    if len(busy) > len(facts):
        facts["..."] = f"and {len(busy) - len(facts)} more"
    number = "A task is" if len(busy) == 1 else f"{len(busy)} tasks are"
    return StorageError(
        f"{number} being built right now; " + (f"only {done} others were {verb}" if done else f"nothing was {verb}"),
        facts=facts,
        hint="Wait until that run has ended (or stop it), then say it again.",
    )


def _first(items: Iterable[Any], most: int = 5) -> list[Any]:
    return list(items)[:most]
