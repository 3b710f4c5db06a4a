"""What bodies tell while they run, kept in a file of the job: one line of JSON each, written whole or not at all.

``<folder of the job>/.emissions``. Of a task that is not resumable it has the attempts of one run: the next run begins
a new file. (Not the next attempt: who follows the file has perhaps not seen the last lines of the one before.) When the
body has succeeded a last line says of which record these are the emissions, so that a later build that emits nothing
does not take over what an earlier one has emitted.

A body that begins again from the top, where its worker could not keep it, emits again what it has emitted. Such lines
are equal but for their time, and count once.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from types import MappingProxyType
from typing import Any

from d6tpipe.errors import ParameterError, StorageError, shown, warn
from d6tpipe.tasks.outputs import job_folder

__all__ = ["NAME", "Emission", "Lines", "Writer", "adopt", "emission", "file_of", "is_of", "listeners", "recorded"]

NAME = ".emissions"

listeners: list[Callable[[], Any]] = []
"""Called in the process of a body after it has emitted something: by whoever follows files in this process."""

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HEAD = 256
"""So many bytes at the beginning of a file tell it from any other: run, attempt and time of the first line."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One thing that a body has told by ``self.job.emit(name, **data)``.

    Attributes
    ----------
    task : luigi.Task
    name : str
    data : mapping of str to object
        As JSON gives it back: tuples are lists, paths are text. Read-only.
    attempt : int
        Of the body that has emitted it.
    run_id : str
        Of the run in which it was emitted; empty if the body was called by hand.
    time : float
        When, in seconds since 1970, by the clock of the machine of the body.
    replayed : bool
        Whether it was emitted before this run: by the body that has built the task, or by an earlier attempt of a
        resumable one.
    """

    task: Any
    name: str
    data: Mapping[str, Any]
    attempt: int
    run_id: str
    time: float
    replayed: bool


def file_of(task: Any) -> str:
    """Return where the emissions of a task are kept."""
    return os.path.join(job_folder(task), NAME)


# ---- writing


class Writer:
    """Writes what one body emits; several threads of it may do so at once.

    Parameters
    ----------
    task : luigi.Task
    folder : str
        Of the job; it is there.
    runs : sequence of str
        Id of the run of the body, then those of the runs around it, from the inside out.
    attempt : int
    """

    def __init__(self, task: Any, folder: str, runs: Sequence[str], attempt: int) -> None:
        self._task, self._attempt = task, attempt
        self._path = os.path.join(folder, NAME)
        self._about = {"run": runs[0], **({"within": list(runs[1:])} if runs[1:] else {}), "attempt": attempt}
        self._number = 0
        self._half = _ends_in_half_a_line(self._path)
        self._guard = threading.Lock()

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Append one emission.

        Raises
        ------
        ParameterError
            The name is not text, or JSON cannot hold a value.
        StorageError
            The disk said no.
        """
        if not isinstance(name, str) or not name:
            raise ParameterError(
                "emit() takes a name first",
                task=self._task,
                facts={"got": repr(name)},
                hint='Write self.job.emit("checkpoint", step=10).',
            )
        values = ", ".join([f"{json.dumps(key)}: {self._text(key, value)}" for key, value in data.items()])
        with self._guard:  # numbers are in the order of the lines
            about = json.dumps({**self._about, "time": time(), "n": self._number, "name": name})
            self._append(f'{about[:-1]}, "data": {{{values}}}}}\n')
            self._number += 1
        for listener in tuple(listeners):
            listener()

    def finish(self, record_id: str) -> None:
        """Note that the body has succeeded, and by which run this is recorded; a warning if the disk says no."""
        try:
            with self._guard:
                self._append(json.dumps({**self._about, "time": time(), "done": record_id}) + "\n")
        except StorageError as error:  # its outputs are there
            warn(f"What {shown(self._task)} has emitted will not be told again: {error.headline}")

    def _text(self, key: str, value: Any) -> str:
        try:
            return json.dumps(value, default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                "emit() takes what JSON can hold",
                task=self._task,
                facts={"key": repr(key), "got": f"{type(value).__qualname__} {value!r:.200}", "because": error},
                hint=f"Give text, numbers, lists or dicts of them, or a path: float({key}), str({key}). What is larger "
                "goes to a file: self.job.artifact(...).",
            ) from error

    def _append(self, line: str) -> None:
        data = (b"\n" if self._half else b"") + line.encode()
        try:
            descriptor = os.open(self._path, _APPEND, 0o666)
            try:
                self._half = True  # unless all of it is written
                whole = os.write(descriptor, data) == len(data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        if not whole:
            raise self._refused("only a part was written")
        self._half = False

    def _refused(self, reason: str) -> StorageError:
        return StorageError(
            "What a body emits cannot be written",
            task=self._task,
            facts={"path": self._path, "reason": reason},
            hint="Check who may write there, and whether the disk is full.",
        )


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__qualname__} is no JSON")


def _ends_in_half_a_line(path: str) -> bool:
    """Return whether the last line of a file was not written to its end: the next one must not continue it."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            return stream.read() not in (b"", b"\n")
    except FileNotFoundError:
        return False


def adopt(task: Any, run_id: str) -> None:
    """Note that what a body has emitted is recorded by another run than the one that had begun it.

    Raises
    ------
    StorageError
        The disk says no.
    """
    lines = Lines(file_of(task)).new()
    if lines and "done" in lines[-1]:
        last = lines[-1]
        writer = Writer(task, job_folder(task), [last["run"]], last["attempt"])
        writer.finish(run_id)


# ---- reading


class Lines:
    """Reads a file of emissions as it grows, also one that is replaced by another meanwhile.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self._head = b""
        self._seen: set[int] = set()  # hashes: there may be many

    def new(self) -> list[dict[str, Any]]:
        """Return what has come since the last call; what is not a whole line, or no emission, is passed over."""
        return [line for line in map(_parsed, self._raw()) if line is not None and not self._again(line)]

    def _raw(self) -> list[bytes]:
        try:
            with open(self._path, "rb", buffering=0) as stream:
                head = stream.read(_HEAD)
                if not head.startswith(self._head):
                    self._offset = 0
                self._head = head
                stream.seek(self._offset)
                data = stream.readall()
        except (FileNotFoundError, NotADirectoryError):
            return []
        size = data.rfind(b"\n") + 1
        self._offset += size
        return data[:size].splitlines()

    def _again(self, line: dict[str, Any]) -> bool:
        """Return whether the same was emitted before, by a body that has begun again meanwhile."""
        if "done" in line:
            return False
        key = hash((line["run"], line["attempt"], line["n"], line["name"], json.dumps(line["data"])))
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
        return line if line.keys() >= _DONE or (line.keys() >= _EMITTED and type(line["data"]) is dict) else None
    except (ValueError, AttributeError):
        return None


_EMITTED = {"run", "attempt", "time", "n", "name", "data"}
_DONE = {"run", "attempt", "time", "done"}


def emission(task: Any, line: Mapping[str, Any], replayed: bool) -> Emission:
    """Return the emission in a line."""
    data = MappingProxyType(line["data"])
    return Emission(task, line["name"], data, line["attempt"], line["run"], line["time"], replayed)


def is_of(path: str, run_id: str) -> bool:
    """Return whether a file has the emissions of an attempt in this run."""
    if not run_id:  # bodies that were called by hand: nobody knows
        return False
    try:
        with open(path, "rb") as stream:
            line = _parsed(stream.readline())
    except (FileNotFoundError, NotADirectoryError):
        return False
    return line is not None and line["run"] == run_id


def recorded(task: Any, resumable: bool, is_record: Callable[[str], bool]) -> list[Emission]:
    """Return what the body that has built a task has emitted.

    Parameters
    ----------
    task : luigi.Task
    resumable : bool
        All attempts count, not only the last.
    is_record : callable
        Told the id under which that body was recorded: whether the present record of the task is that one.
    """
    lines = Lines(file_of(task)).new()
    if not lines or "done" not in lines[-1] or not is_record(lines[-1]["done"]):
        return []
    last = lines[-1]
    return [
        emission(task, line, True)
        for line in lines
        if "done" not in line and (resumable or (line["run"], line["attempt"]) == (last["run"], last["attempt"]))
    ]
