"""What bodies have printed, warned and logged, kept as text: a file per task, of its last attempt.

``<data folder>/.d6tpipe/logs/<family>/<task id>-log.txt``; of tasks whose outputs are in memory, in the data folder of
the settings. Most bodies are silent and have no file. These must not cost a look at the disk each: what is there of a
family is found out once per run, when its first task has run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import luigi

from d6tpipe import plugins, settings
from d6tpipe.capture import Captured
from d6tpipe.errors import GraphError, StorageError, warn
from d6tpipe.examiner import filed_as, store_of
from d6tpipe.identity import file_name
from d6tpipe.interfaces import Files, Outcome, State
from d6tpipe.stores import MEMORY, Store
from d6tpipe.tasks.older_places import has_former_name

__all__ = ["TaskLogs", "discard", "link", "log"]

_UNSAFE = re.compile(r"[^\w.-]")
_LONGEST_FAMILY = 60  # characters; what is cut off is in the file name


def log(task: Any) -> str:
    """Return what the last attempt at a task has printed, warned and logged; empty if that was nothing.

    Parameters
    ----------
    task : luigi.Task

    Returns
    -------
    str
        A part for each of stdout, stderr, warnings and log of which there is something, under a headline. Of more than
        a million characters only the beginning and the end are kept.

    Raises
    ------
    StorageError
        If there is something and it cannot be read.

    Effects
    -------
    None.
    """
    if not isinstance(task, luigi.Task):
        raise GraphError(
            "log() is about one task",
            facts={"got": repr(task)},
            hint="Make an instance: log(Task(...))." if isinstance(task, type) else "Ask for each.",
        )
    path = _path_of(task)
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise StorageError(
            "The log of a task cannot be read",
            task=task,
            facts={"path": path, "reason": error.strerror or error},
            hint="Check who may read it.",
        ) from error


def link(task: Any) -> str:
    """Return the URL of the file that `log` reads, whether there is one or not."""
    folder, name = os.path.split(_path_of(task))
    return f"{_url_of(folder)}/{quote(name)}"


def _path_of(task: Any) -> str:
    """Return where what the body of a task has printed is kept: under a former name if that is what its record is."""
    store, ids = store_of(task), (task.task_family, task.task_id)
    if has_former_name(task):
        ids = filed_as(task, lambda family, task_id: store.records.load_one(family, task_id) is not None)
    return _path(store, *ids)


@lru_cache(maxsize=64)
def _url_of(folder: str) -> str:
    return Path(folder).absolute().as_uri()


def discard(store: Store, tasks: Iterable[tuple[str, str]]) -> None:
    """Remove the logs of tasks, given as (family, task id); warns if one cannot be removed."""
    files = plugins.load("files", "local")
    for family, task_id in tasks:
        try:
            files.remove(_path(store, family, task_id))
        except StorageError as error:
            warn(f"An old log stays: {error}")


class TaskLogs:
    """Keeps what the bodies of one run have printed, warned and logged.

    Parameters
    ----------
    files : Files, optional
        How they are written; by default as files of this machine.
    """

    def __init__(self, files: Files | None = None) -> None:
        self._files: Files = files or plugins.load("files", "local")
        self._there: dict[tuple[Store, type], set[str]] = {}  # names of the files of each class
        self._refused: set[Store] = set()

    def note(self, task: Any, outcome: Outcome, store: Store) -> None:
        """Keep what the body of a task of `store` has printed, or remove what the one before has left.

        Where that cannot be done there is one warning per run and data folder; the run goes on.
        """
        captured = outcome.captured
        there = self._there.get((store, task.__class__))
        if there is None:
            there = self._there[store, task.__class__] = self._listed(store, task.task_family)
        if (
            (captured is None and not there)
            or (outcome.state is State.CANCELLED and outcome.failure is None)
            or store in self._refused
        ):
            return
        try:
            self._keep(store, task.task_family, task.task_id, captured, there)
        except StorageError as error:
            self._refuse(store, error)

    def _listed(self, store: Store, family: str) -> set[str]:
        folder = _folder(store, family)
        try:
            names = self._files.listing(folder)
            if any([name.startswith(".") for name in names]):
                self._files.sweep(folder)  # what a killed process has left
        except StorageError as error:
            self._refuse(store, error)
            return set()
        return names

    def _keep(self, store: Store, family: str, task_id: str, captured: Captured | None, there: set[str]) -> None:
        name = _name(task_id)
        path = os.path.join(_folder(store, family), name)
        if captured is not None:
            text = captured.text().encode("utf-8", "backslashreplace")
            self._files.write_stream(path, lambda sink: sink.write(text))
            there.add(name)
        elif name in there:
            self._files.remove(path)
            there.discard(name)

    def _refuse(self, store: Store, error: StorageError) -> None:
        if store not in self._refused:
            self._refused.add(store)
            reason = error.facts.get("reason", "")
            warn(f"What tasks print is not kept in {_root(store)} in this run: {error.headline}, {reason}")


def _root(store: Store) -> str:
    return os.path.abspath(settings.dirpath) if store.root == MEMORY else store.root


def _folder(store: Store, family: str) -> str:
    safe = _UNSAFE.sub("_", family).lstrip(".")[:_LONGEST_FAMILY]
    return os.path.join(_root(store), ".d6tpipe", "logs", safe or "_")


def _name(task_id: str) -> str:
    return file_name(task_id.replace(os.sep, "_").replace("/", "_").lstrip("."), "log", "txt")


def _path(store: Store, family: str, task_id: str) -> str:
    return os.path.join(_folder(store, family), _name(task_id))
