"""``self.job`` in a running body: a folder for files, progress, a logger, and facts about the run."""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from time import monotonic, time
from types import MappingProxyType
from typing import Any, TypeVar, overload

from d6tpipe import plugins
from d6tpipe.cards import write_card
from d6tpipe.declared import class_option
from d6tpipe.emissions import NAME, Writer, is_of
from d6tpipe.errors import ParameterError, StorageError, shown, told
from d6tpipe.graphs import tags
from d6tpipe.interfaces import Outcome, State
from d6tpipe.machine import host_name
from d6tpipe.task_values import task_from_text, task_text
from d6tpipe.tasks.outputs import job_folder

__all__ = ["FINISHED", "Job", "Receipt", "from_dir", "in_own_folder", "note_lost", "receipt_of", "seed_of"]

_Item = TypeVar("_Item")


def seed_of(task: Any) -> int:
    """Return a number below 2 ** 32 that follows from the identity of a task."""
    return int.from_bytes(blake2b(task.task_id.encode(), digest_size=4).digest(), "big")


class Job:
    """What a body finds as ``self.job`` while it runs.

    Attributes
    ----------
    label : str
        The task as it is shown.
    tags : mapping of str to object
        Its tags and those of what it needs; the nearer one counts.
    seed : int
        Less than 2 ** 32; the same for a task whenever and wherever it runs, another one for another task.
    attempt : int
        1, or more where ``retry_count`` lets a body be tried again.
    run_id : str
        The same for all bodies of a run; empty if nobody's run has started the body.
    log : logging.Logger
        Named after the class; what it gets is part of `d6tpipe.log`.
    """

    def __init__(self, frame: Any) -> None:
        self._task, self._frame = frame.task, frame
        self.attempt: int = frame.attempt
        self.run_id: str = frame.run_id
        self._levels: list[float] = []  # of each loop around: what was done when its present step began
        self._counts: list[int] = []  # and how many steps it has
        self._writer: Writer | None = None
        self._guard = threading.RLock()  # a body may have several threads

    def __repr__(self) -> str:
        return f"<Job of {self.label}, attempt {self.attempt}>"

    @property
    def label(self) -> str:
        return shown(self._task)

    @cached_property
    def tags(self) -> Mapping[str, Any]:
        return MappingProxyType(tags(self._task))

    @property
    def seed(self) -> int:
        return seed_of(self._task)

    @cached_property
    def log(self) -> logging.Logger:
        cls = type(self._task)
        return logging.getLogger(f"{cls.__module__}.{cls.__qualname__}")

    def random(self) -> random.Random:
        """Return a generator of random numbers that begins at the seed, for this body alone."""
        return random.Random(self.seed)

    # ---- files

    @cached_property
    def dir(self) -> Path:
        """Folder for files besides the outputs: empty when the body begins, deleted by ``reset()``.

        With ``resumable = True`` in the class what an earlier attempt has left stays there, until one succeeds and
        the next begins from nothing.
        """
        place = job_folder(self._task)
        resumable = class_option(type(self._task), "resumable", False)
        finished = os.path.join(place, FINISHED)
        try:
            if os.path.isdir(place) and (not resumable or os.path.exists(finished)):
                if is_of(os.path.join(place, NAME), self.run_id):  # perhaps not all of it has been told
                    _remove_all(place, NAME)
                else:
                    shutil.rmtree(place)
            os.makedirs(place, exist_ok=True)
        except OSError as error:
            raise StorageError(
                "The folder of a job cannot be made",
                task=self._task,
                facts={"path": place, "reason": error.strerror or error},
                hint="Check who may write there.",
            ) from error
        return Path(place)

    def artifact(self, name: str) -> Path:
        """Return the path of a file in `dir`, such as ``"plots/loss.png"``; folders above it are made.

        Raises
        ------
        ParameterError
            The name leads out of the folder.
        """
        path = self.dir / name
        if not name or Path(os.path.normpath(path)).parts[: len(self.dir.parts)] != self.dir.parts or path == self.dir:
            raise ParameterError(
                "artifact() takes a name within the folder of the job",
                task=self._task,
                facts={"name": repr(name), "folder": self.dir},
                hint='Write self.job.artifact("plots/loss.png").',
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def report(self, obj: Any, title: str | None = None) -> Path:
        """Keep something to look at: a report card, a file in the folder ``report`` of `dir`.

        Parameters
        ----------
        obj : matplotlib figure, pandas DataFrame or Series, str, or object with ``_repr_html_``
            Stored as PNG; as an HTML table (of more than 1000 rows the first ones); as Markdown; as HTML.
        title : str, optional
            Part of the file name: ``01-Loss.png``. Cards are numbered in the order of the calls.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ParameterError
            It is none of these.
        """
        with self._guard:
            return write_card(self._task, self.dir, obj, title)

    # ---- how far it is

    def remaining_time(self) -> float | None:
        """Return the seconds until the body would be stopped (``worker_timeout``); None if it may take forever."""
        frame = self._frame
        return None if frame.seconds is None else max(0.0, (frame.begun or monotonic()) + frame.seconds - monotonic())

    @overload
    def progress(self, done: float, message: str = ...) -> None: ...

    @overload
    def progress(self, done: Iterable[_Item], message: str = ...) -> Iterator[_Item]: ...

    def progress(self, done: Any, message: str = "") -> Any:
        """Tell how far the body is, to whoever shows it: luigi's scheduler, if the run has one.

        Parameters
        ----------
        done : float or iterable
            The part that is done, from 0 to 1; or what a loop goes over: ``for epoch in self.job.progress(range(9))``.
            A loop in such a loop counts as part of the step of the outer one.
        message : str, optional

        Raises
        ------
        ParameterError
            A number that is not between 0 and 1.
        """
        if isinstance(done, Iterable):
            return self._steps(done, message)
        if not 0 <= done <= 1:
            raise ParameterError(
                "progress() takes a part of the whole",
                task=self._task,
                facts={"got": done},
                hint="Give a number from 0 to 1, or what the loop goes over.",
            )
        self._tell(float(done), message)
        return None

    def _steps(self, items: Iterable[Any], message: str) -> Iterator[Any]:
        count = len(items) if isinstance(items, Sized) else 0
        level = len(self._levels)
        below = self._width(level)
        start = self._levels[-1] if self._levels else 0.0
        self._levels.append(start)
        self._counts.append(count)
        try:
            for number, item in enumerate(items):
                if count:
                    self._levels[level] = start + below * number / count
                    self._tell(self._levels[level], f"{message} {number + 1}/{count}".strip())
                yield item
            if count:
                self._tell(start + below, message)
        finally:
            del self._levels[level:], self._counts[level:]

    def _width(self, level: int) -> float:
        """Return which part of the whole one step of the loops around is."""
        width = 1.0
        for count in self._counts[:level]:
            width /= count or 1
        return width

    def _tell(self, part: float, message: str) -> None:
        for name, value in (("set_progress_percentage", round(part * 100, 2)), ("set_status_message", message)):
            tell = self._task.__dict__.get(name)
            if tell is not None and value != "":
                tell(value)

    def emit(self, name: str, /, **data: Any) -> None:
        """Tell something before the body ends, to whoever watches the task (`d6tpipe.watch`).

        Parameters
        ----------
        name : str
            What watchers know it by: ``self.job.emit("checkpoint", step=10, path=path)``.
        **data
            What JSON can hold; tuples arrive as lists, paths as text. It is kept in the folder of the job.

        Raises
        ------
        ParameterError
            JSON cannot hold a value.
        """
        self._emissions.write(name, data)

    @property
    def _emissions(self) -> Writer:
        with self._guard:
            found = self._writer
            if found is None:
                runs, frame = [self.run_id], self._frame.outer
                while frame is not None:  # the run around it has its own name, and may be the one that is watched
                    runs += [frame.run_id] if frame.run_id else []
                    frame = frame.outer
                found = self._writer = Writer(self._task, str(self.dir), runs, self.attempt)
            return found

    # ---- at its end

    def finish(self, record_id: str = "") -> None:
        """Note that the body has succeeded: the next attempt begins from nothing.

        Parameters
        ----------
        record_id : str
            Id of the run by which it is recorded, where that is not `run_id`.
        """
        if self._writer is not None or self._resumes_emissions():
            self._emissions.finish(record_id or self.run_id)
        if "dir" in self.__dict__ and class_option(type(self._task), "resumable", False):
            plugins.load("files", "local").write_stream(str(self.dir / FINISHED), lambda sink: sink.write(b""))

    def _resumes_emissions(self) -> bool:
        """Return whether earlier attempts have emitted something that belongs to what this one has finished."""
        resumable = "dir" in self.__dict__ and class_option(type(self._task), "resumable", False)
        return bool(resumable) and (self.dir / NAME).exists()


FINISHED = ".finished"


def _remove_all(place: str, but: str) -> None:
    """Remove what is in a folder, except one file."""
    for name in os.listdir(place):
        path = os.path.join(place, name)
        if name == but:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


# ---- bodies that have a process to themselves


PARAMS, STATUS, RECEIPT = "params.json", "status.json", "receipt.pickle"


@dataclass
class Receipt:
    """What came of an isolated body, left in its folder: the run that has started it may have been killed meanwhile.

    Attributes
    ----------
    run_id : str
        Of that run.
    basis : bytes
        Stands for the code of the class and for what the task needed, as they were then.
    result : worker.TaskResult
    """

    run_id: str
    basis: bytes
    result: Any

    def leave(self, place: Path) -> None:
        """Write it to the folder of the task."""
        data = pickle.dumps(self)
        plugins.load("files", "local").write_stream(str(place / RECEIPT), lambda sink: sink.write(data))


def receipt_of(task: Any) -> Receipt | None:
    """Return the receipt that lies in the folder of a task; None if there is none that can be read."""
    try:
        with open(os.path.join(job_folder(task), RECEIPT), "rb") as stream:
            found = pickle.load(stream)
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError):  # of another version, perhaps
        return None
    return found if isinstance(found, Receipt) else None


@contextmanager
def in_own_folder(body: Any) -> Iterator[Callable[[Outcome], None]]:
    """Have a body work in its folder, and keep there what is known of it; yields what takes the outcome.

    ``params.json`` is what `from_dir` reads, ``status.json`` has state, times, host, process and attempt, ``task.out``
    and ``task.err`` what the body has printed.
    """
    frame = body.frame
    frame.job = frame.job or Job(frame)
    place = frame.job.dir
    task = frame.task
    status = {
        "state": str(State.RUNNING), "task_id": task.task_id, "label": frame.job.label, "run_id": frame.run_id,
        "attempt": frame.attempt, "host": host_name(), "pid": os.getpid(), "begin": time(), "end": None, "reason": "",
    }  # fmt: skip
    with suppress(FileNotFoundError):
        os.unlink(place / RECEIPT)
    _write(place, PARAMS, json.dumps(json.loads(task_text(task)), indent=2))
    _write(place, STATUS, json.dumps(status, indent=2))

    def note(outcome: Outcome) -> None:
        failure = outcome.failure
        status.update(state=str(outcome.state), end=time(), reason="" if failure is None else told(failure.error))
        printed = outcome.captured
        _write(place, "task.out", "" if printed is None else printed.stdout)
        _write(place, "task.err", "" if printed is None else printed.stderr)
        _write(place, STATUS, json.dumps(status, indent=2))

    before = os.getcwd()
    os.chdir(place)
    try:
        yield note
    except BaseException as error:
        status.update(state=str(State.CANCELLED), end=time(), reason=told(error))
        _write(place, STATUS, json.dumps(status, indent=2))
        raise
    finally:
        os.chdir(before)


def note_lost(task: Any, outcome: Outcome) -> None:
    """Note in the folder of an isolated task what came of its body, whose process could not."""
    place = Path(job_folder(task))
    try:
        status = json.loads((place / STATUS).read_text())
    except (OSError, ValueError):  # it did not get so far
        return
    failure, printed = outcome.failure, outcome.captured
    status.update(state=str(outcome.state), end=time(), reason="" if failure is None else told(failure.error))
    if printed is not None:
        _write(place, "task.out", printed.stdout)
        _write(place, "task.err", printed.stderr)
    _write(place, STATUS, json.dumps(status, indent=2))


def _write(place: Path, name: str, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    plugins.load("files", "local").write_stream(str(place / name), lambda sink: sink.write(data))


def from_dir(path: Any) -> Any:
    """Return the task whose folder this is: that of an isolated task (``isolate = True``), with its ``params.json``.

    Parameters
    ----------
    path : str or path
        The folder, or a file in it.

    Raises
    ------
    StorageError
        There is no ``params.json``, or it is not that of a task whose class can be imported.
    """
    place = Path(path)
    file = (place.parent if place.is_file() else place) / PARAMS
    try:
        return task_from_text(file.read_text())
    except (OSError, ValueError) as error:
        raise StorageError(
            "This is not the folder of a task",
            facts={"path": file, "reason": told(error)},
            hint="Tasks with isolate = True have one beside their outputs: <task id>-job.files.",
        ) from error
