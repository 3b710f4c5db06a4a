"""Bodies that wait for each other: each has asked for a task that the other one is building.

Within a process a body that needs itself is seen at once. Between processes, whoever waits from inside a body for
longer than a moment says so in a small file in the data folder, and looks whether what it waits for waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from d6tpipe import plugins
from d6tpipe.binding import FRAME
from d6tpipe.errors import GraphError, shown
from d6tpipe.examiner import store_of
from d6tpipe.storage.files import temporary_name
from d6tpipe.stores import MEMORY, Store

__all__ = ["WaitNote"]

_FOLDER = os.path.join(".d6tpipe", "waits")
_VALID_SECONDS = 10.0
"""A note that has not been renewed for so long is nobody's any more; it is renewed about every second."""


class WaitNote:
    """What one run, begun inside a body, waits for; see `renew`."""

    def __init__(self) -> None:
        self._path = ""
        self._suspected: list[str] | None = None

    def renew(self, tasks: Iterable[Any]) -> None:
        """Note that the bodies around wait for `tasks`; call it about every second while that is so.

        Raises
        ------
        GraphError
            One of them waits for a body around. Seen twice, so that nothing is taken for a ring that is passing.

        Effects
        -------
        Writes a file of some hundred bytes below ``<data folder>/.d6tpipe``, which `close` removes.
        """
        holds = {_name(task): shown(task) for task in _around()}
        if not holds:
            return
        waits = {_name(task): shown(task) for task in tasks}
        stores = {store for task in (*tasks, *_around()) if (store := store_of(task)).root != MEMORY}
        self._write(next(iter(stores)), holds, waits)
        ring = _ring(stores, holds, waits)
        if ring is not None and ring == self._suspected:
            raise GraphError(
                "Bodies wait for each other: each needs what the other one is building",
                task=_around()[0],
                facts={"ring": " needs ".join(ring)},
                hint="Let one of them do without: a task cannot need itself, over whatever other tasks.",
            )
        self._suspected = ring

    def _write(self, store: Store, holds: Mapping[str, str], waits: Mapping[str, str]) -> None:
        folder = os.path.join(store.root, _FOLDER)
        if not self._path:
            files = plugins.load("files", "local")
            files.ensure_folder(folder)
            files.sweep(folder)
            self._path = os.path.join(folder, temporary_name("wait.json"))
        with open(self._path + "~", "w", encoding="utf-8") as stream:
            json.dump({"holds": dict(holds), "waits": dict(waits)}, stream)
        os.replace(self._path + "~", self._path)

    def close(self) -> None:
        """Take the note back."""
        self._suspected = None
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


def _around() -> list[Any]:
    """Return the tasks whose bodies run around the code that asks, the innermost first."""
    found, frame = [], FRAME.get()
    while frame is not None:
        found.append(frame.task)
        frame = frame.outer
    return found


def _name(task: Any) -> str:
    return f"{store_of(task).root}|{task.task_family}|{task.task_id}"


def _ring(stores: Iterable[Store], holds: Mapping[str, str], waits: Mapping[str, str]) -> list[str] | None:
    """Return the tasks of a ring in words, from the first to the first again; None if there is none."""
    notes = [note for store in stores for note in _notes(os.path.join(store.root, _FOLDER))]
    came_from: dict[str, tuple[str, str]] = {}  # task -> (in words, by which other)
    first = next(iter(holds))
    pending = []
    for name, words in waits.items():
        came_from[name] = words, first
        pending.append(name)
    while pending:
        name = pending.pop()
        if name in holds:
            ring, name = [holds[name]], came_from[name][1]
            while name != first:
                ring.append(came_from[name][0])
                name = came_from[name][1]
            return [holds[first], *ring[::-1]]
        for note in notes:
            if name in note["holds"]:
                for other, words in note["waits"].items():
                    if other not in came_from:
                        came_from[other] = words, name
                        pending.append(other)
    return None


def _notes(folder: str) -> list[Any]:
    found, times = [], []
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.endswith("~")]
    except FileNotFoundError:
        return []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # taken back meanwhile
            with open(entry.path, encoding="utf-8") as stream:
                note = json.load(stream)
                times.append(os.fstat(stream.fileno()).st_mtime)
            found.append(note)
    newest = max(times, default=0.0)  # one's own: the clock of whoever keeps the files
    return [note for note, time in zip(found, times, strict=True) if newest - time < _VALID_SECONDS]
