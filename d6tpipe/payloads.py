"""What is sent to a worker: once per run what all its tasks share, and a few hundred bytes per task.

Tasks travel by reference: module, class, values. Classes that a worker cannot import (of a notebook, a script, a file
outside ``sys.path``) travel by value, all of a run in one pickle, so that what they share is shared there, too.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import luigi
from luigi.task import flatten

from d6tpipe import cache, settings
from d6tpipe.definitions import definition
from d6tpipe.errors import DeclarationError, PipeError, told
from d6tpipe.executors.shared import Shared
from d6tpipe.fingerprint.source import CARRIED
from d6tpipe.machine import this_process
from d6tpipe.targets import CacheTarget
from d6tpipe.task_values import main_name
from d6tpipe.tasks import TaskAggregator, TaskData
from d6tpipe.tasks.outputs import absolute, layout

__all__ = ["Encoder", "class_at", "loaded_classes", "memory_paths"]

_METACLASS = type(luigi.Task)


class Encoder:
    """Turns the nodes of one run into bytes.

    Parameters
    ----------
    run_id : str
    classes : iterable of classes
        Those of the tasks that may run. Others can come up later.
    local : bool
        The workers are on this machine: they take over working directory and environment.
    stale : str, optional
        What the run does with stale tasks, if that was said.
    scheduler : (str, str), optional
        URL of luigi's scheduler and the name of the run there.
    n_workers : int
        How many bodies the run may have under way.
    """

    def __init__(
        self,
        run_id: str,
        classes: Iterable[type],
        local: bool,
        stale: str | None = None,
        scheduler: tuple[str, str] | None = None,
        n_workers: int = 1,
    ) -> None:
        self._n_workers = n_workers
        self._run_id, self._local, self._stale, self._scheduler = run_id, local, stale, scheduler
        self._importable: dict[str, bool] = {}
        self._by_value: dict[type, int] = {}
        self._codes: dict[type, tuple[str, str] | None] = {}
        self._header: Shared | None = None
        self._blobs: dict[str, tuple[Any, Shared]] = {}  # path of a value in memory -> (stamp, pickle)
        for cls in classes:
            self._place(cls)

    # ---- once per run

    @property
    def header(self) -> Shared:
        """What all tasks of the run share; another one after a class has come up that must travel by value."""
        if self._header is None:
            self._header = Shared(pickle.dumps(self._common(), pickle.HIGHEST_PROTOCOL))
        return self._header

    def _common(self) -> dict[str, Any]:
        return {
            "run_id": self._run_id,
            "stale": self._stale,
            "n_workers": self._n_workers,
            "scheduler": self._scheduler,
            "path": [os.path.abspath(entry) for entry in sys.path],
            "settings": settings.snapshot(),
            "process": this_process(),
            "main": main_name(),
            "base": os.getcwd(),
            "cwd": os.getcwd() if self._local else None,
            "environ": dict(os.environ) if self._local else None,
            "classes": self._pickled_classes(),
        }

    def _pickled_classes(self) -> bytes:
        if not self._by_value:
            return b""
        classes = list(self._by_value)
        modules = {sys.modules[cls.__module__]: None for cls in classes if cls.__module__ in sys.modules}
        with _travelling_by_value(modules):
            try:
                return _dumps_with_files(classes)
            except Exception as error:
                guilty = next((cls for cls in classes if not _can_be_pickled(cls)), classes[0])
                raise DeclarationError(
                    "A class cannot be sent to other processes",
                    task=guilty,
                    facts={"because": told(error), "defined in": guilty.__module__},
                    hint="Something that its code refers to cannot be pickled, such as an open file, a connection or a "
                    "lock at the top of the notebook or script: make it inside run(), or move the class to a module "
                    'that can be imported, or run with executor="threads".',
                ) from error

    def _place(self, cls: type) -> None:
        """Note how a class travels."""
        if cls in self._codes:
            return
        if self._is_importable(cls):
            found = definition(cls)
            self._codes[cls] = (found.code_fast, found.code_stable)
        else:
            self._codes[cls] = None
            self._by_value[cls] = len(self._by_value)
            self._header = None

    def _is_importable(self, cls: type) -> bool:
        """Return whether a worker finds the same class under the same name."""
        name = cls.__module__
        known = self._importable.get(name)
        if known is None:
            known = self._importable[name] = _importable(sys.modules.get(name))
        if not known or "<locals>" in cls.__qualname__:
            return False
        found: Any = sys.modules[name]
        for part in cls.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is cls

    # ---- per task

    def item(
        self,
        node: Any,
        used: bool,
        answered: Sequence[Any],
        keep: bool,
        attempt: int = 1,
        seconds: float | None = None,
        around: tuple[dict[str, str | None], str | None] | None = None,
        isolated: bool = False,
        basis: bytes | None = None,
    ) -> tuple[bytes, list[Shared]]:
        """Return what a worker needs to run the body of a node, and the values in memory that it reads.

        Parameters
        ----------
        node : NodeLike
        used : bool
            Whether anything waits for its output.
        answered : sequence of tasks
            Complete: what the body asked for in earlier attempts.
        keep : bool
            The worker can keep a body that waits.
        attempt : int
        seconds : float, optional
            How long the body may take.
        around : (dict of str to str, str or None), optional
            What is added to the environment, and the working folder.
        isolated : bool
            The body works in its own folder.
        basis : bytes, optional
            Stands for what its result follows from; see `jobs.Receipt`.

        Raises
        ------
        PipeError
            Something cannot be pickled; the message says what.
        """
        task = node.task
        self._place(task.__class__)
        inputs, blobs = self.inputs([need.task for need in node.needs] + list(answered))
        content = (task, node.requires, used, self._codes[task.__class__], inputs, tuple(answered), keep,
                   attempt, seconds, around, isolated, basis)  # fmt: skip
        try:
            return self._dumps(content), blobs
        except PipeError:
            raise
        except Exception as error:
            raise _unsendable(task, error) from error

    def _dumps(self, content: Any) -> bytes:
        stream = io.BytesIO()
        try:
            _QuickPickler(stream, self).dump(content)
        except Exception:  # noqa: BLE001  (the other one tells why)
            stream = io.BytesIO()
            _Pickler(stream, self).dump(content)
        return stream.getvalue()

    def reduce(self, cls: type) -> Any:
        """Return how a class is pickled; NotImplemented: by its name."""
        if cls not in self._codes:
            self._place(cls)
        place = self._by_value.get(cls)
        return NotImplemented if place is None else (class_at, (place,))

    def inputs(self, tasks: Iterable[Any]) -> tuple[list[tuple[str, Any]], list[Shared]]:
        """Return path and stamp of the values in memory that tasks have, and the values as pickles."""
        found: list[tuple[str, Any]] = []
        blobs: list[Shared] = []
        for path in memory_paths(tasks):
            if path not in cache.data:
                continue
            stamp = cache.stamp(path) or cache.puts.get(path)
            known = self._blobs.get(path)
            if known is None or known[0] != stamp:
                try:
                    data = cloudpickle.dumps(cache.data[path])
                except Exception as error:
                    raise DeclarationError(
                        "A value in memory cannot be sent to a worker",
                        facts={"output": path, "type": type(cache.data[path]).__qualname__, "because": told(error)},
                        hint='Save it to disk (a TaskPickle with a picklable value), or run with executor="threads".',
                    ) from error
                known = self._blobs[path] = stamp, Shared(data)
            found.append((absolute(path), stamp))
            blobs.append(known[1])
        return found, blobs

    def hold(self, path: str, stamp: Any, data: bytes) -> None:
        """Remember the pickle of a value in memory that a worker has sent: others may need it."""
        self._blobs[path] = stamp, Shared(data)


class _QuickPickler(pickle.Pickler):
    """Does what `_Pickler` does for tasks and plain values, in a third of the time; raises for all else."""

    def __init__(self, stream: Any, encoder: Encoder) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._encoder = encoder

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _METACLASS):
            return self._encoder.reduce(obj)
        if isinstance(obj, (type, FunctionType)) and obj.__module__.partition(".")[0] not in _ANYWHERE:
            raise pickle.PicklingError
        return NotImplemented


_ANYWHERE = frozenset({"builtins", "collections", "d6tpipe", "datetime", "luigi", "pathlib"})
"""Modules of which every worker has the same."""


class _Pickler(cloudpickle.Pickler):
    """Pickles a task; classes that travel by value stand for their place in the header."""

    def __init__(self, stream: Any, encoder: Encoder) -> None:
        super().__init__(stream)
        self._encoder = encoder

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _METACLASS):
            found = self._encoder.reduce(obj)
            if found is not NotImplemented:
                return found
        return super().reducer_override(obj)


def _code_with_file(code: CodeType) -> Any:
    make, values = _CODE(code)
    return make, tuple([code.co_filename if value == CARRIED else value for value in values])


_TABLE: Any = cloudpickle.Pickler.dispatch_table
_CODE: Callable[[CodeType], Any] = _TABLE[CodeType]


class _FilePickler(cloudpickle.Pickler):
    """Leaves the names of the files in the code that it carries, for tracebacks; cloudpickle 3.1.3 and later do not."""

    dispatch_table = ChainMap({CodeType: _code_with_file}, _TABLE)


def _dumps_with_files(value: Any) -> bytes:
    stream = io.BytesIO()
    _FilePickler(stream).dump(value)
    return stream.getvalue()


# ---- in the worker

_classes: list[type] = []


def class_at(place: int) -> type:
    """Return a class that came by value."""
    return _classes[place]


def loaded_classes(classes: list[type]) -> None:
    """Say which classes came by value with the header in force."""
    _classes[:] = classes


# ---- details


def memory_paths(tasks: Iterable[Any]) -> Iterator[str]:
    """Yield the names in ``cache.data`` of the outputs of tasks; an aggregator stands for what it yields."""
    for task in tasks:
        if isinstance(task, TaskAggregator):
            yield from memory_paths(task._children())
        elif isinstance(task, TaskData) and (
            type(task).output is not TaskData.output or layout(task).in_memory or layout(task).mixed
        ):
            for target in flatten(task.output()):
                if isinstance(target, CacheTarget):
                    yield target.path


def _importable(module: ModuleType | None) -> bool:
    if module is None or module.__name__ in ("__main__", "__mp_main__"):
        return False
    file = getattr(module, "__file__", None)
    try:
        spec = importlib.util.find_spec(module.__name__)
    except (ImportError, AttributeError, ValueError):
        return False
    if spec is None:
        return False
    if file is None or spec.origin is None:
        return file is None
    return os.path.realpath(spec.origin) == os.path.realpath(file)


class _travelling_by_value:
    """While classes are pickled, what stands in their modules goes with them."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._modules = [
            module
            for module in modules
            if module.__name__ != "__main__"
            and module.__name__ not in cloudpickle.list_registry_pickle_by_value()
            and not _importable(module)
        ]

    def __enter__(self) -> None:
        for module in self._modules:
            cloudpickle.register_pickle_by_value(module)

    def __exit__(self, *_: object) -> None:
        for module in self._modules:
            cloudpickle.unregister_pickle_by_value(module)


def _can_be_pickled(cls: type) -> bool:
    try:
        cloudpickle.dumps(cls)
    except Exception:  # noqa: BLE001  (the question was whether it raises; the caller tells why)
        return False
    return True


def _unsendable(task: Any, error: Exception) -> PipeError:
    facts: dict[str, Any] = {"because": told(error)}
    for name, value in getattr(task, "param_kwargs", {}).items():
        try:
            cloudpickle.dumps(value)
        except Exception:  # noqa: BLE001  (the question was which one raises; `because` tells why)
            facts["parameter"] = f"{name}={value!r:.100}"
    return DeclarationError(
        "The task cannot be sent to another process",
        task=task,
        facts=facts,
        hint='Give it parameters that can be pickled, or run with executor="threads".',
    )
