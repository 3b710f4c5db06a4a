"""Paths of outputs that know which task makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TaskPath", "path_of_output", "producer_of", "task_path", "task_path_text"]

_PLAIN: Any = type(Path())


class TaskPath(_PLAIN):
    """Path of an output; as a value of a task it makes that task require the one that produces it.

    Attributes
    ----------
    producer : task, or None
        None for a path that was derived from one, such as its ``parent``.
    key : str
        Name of the output; the path itself if it is none that the class declares.
    """

    producer: Any = None
    key: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        if self.producer is None:
            return _PLAIN, (str(self),)
        return path_of_output, (self.producer, self.key)

    def __repr__(self) -> str:
        return f"{_PLAIN.__name__}({str(self)!r})"


def task_path(path: Any, task: Any, key: str) -> Any:
    """Return the path of an output of a task as one that knows the task."""
    found = TaskPath(path)
    found.producer, found.key = task, key
    return found


def producer_of(value: Any) -> Any:
    """Return the task that produces what is at a path; None for all other values."""
    return value.producer if isinstance(value, TaskPath) else None


def path_of_output(task: Any, key: str) -> Any:
    """Return the path of an output of a task, or another path that it has marked as one."""
    found = task.outputPath()
    outputs = found if isinstance(found, Mapping) else {"data": found}
    return outputs[key] if key in outputs else task_path(key, task, key)


def task_path_text(path: Any, task_text: str) -> str:
    """Return what stands for the path of an output in ids: which output of which task, not where it lies."""
    return f'{{"output":{json.dumps(path.key)},"task":{task_text}}}'
