"""Tasks as values of parameters: their text, and the task that a text stands for."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import luigi

__all__ = ["main_name", "stand_in_for", "task_from_text", "task_text", "tasks_of_values"]


def task_text(task: Any) -> str:
    """Return a task as JSON: ``{"class": ..., "module": ..., "params": {...}}``, its significant parameters as text.

    The same for equal tasks, in every process; `task_from_text` reads it. Two classes of one name in two modules
    differ. A script counts as the module of its name, so that it may be run or imported; a notebook is ``__main__``.
    """
    found: str | None = task.__dict__.get("_text")  # one task is the value of many
    if found is None:
        cls = type(task)
        parameters = task.to_str_params(only_significant=True)
        found = task.__dict__["_text"] = json.dumps(
            {"class": cls.__qualname__, "module": _module_of(cls), "params": parameters},
            sort_keys=True,
            separators=(",", ":"),
        )
    return found


def _module_of(cls: type) -> str:
    return main_name() if cls.__module__ == "__main__" else cls.__module__


_coordinators: str | None = None


def stand_in_for(name: str) -> None:
    """Take ``__main__`` for the script of another process: this one, a worker, runs none of its own."""
    global _coordinators
    _coordinators = name


def main_name() -> str:
    """Return the name that the script which is run would have if it were imported."""
    if _coordinators is not None:
        return _coordinators
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return PurePath(file).stem if file else "__main__"


def task_from_text(text: str) -> Any:
    """Return the task that a text of `task_text` stands for.

    Raises
    ------
    ValueError
        It is no such text, or there is no such class; one sentence says which.

    Effects
    -------
    Imports the module of the class.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected a task as JSON, got {text!r} ({error})") from None
    if not isinstance(found, Mapping) or not {"class", "module"} <= set(found):
        raise ValueError(f'expected a task as JSON with "module", "class" and "params", got {text!r}')
    module, name = str(found["module"]), str(found["class"])
    try:
        place: Any = sys.modules.get("__main__" if module == main_name() else module)
        if place is None:
            place = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no class {name} in the module {module} ({error})") from None
    if not isinstance(place, type) or not issubclass(place, luigi.Task):
        raise ValueError(f"{module}.{name} is not a task class")
    return place.from_str_params(dict(found.get("params") or {}))


def tasks_of_values(task: Any, names: Iterable[str]) -> list[Any]:
    """Return the tasks that the parameters of these names hold."""
    return [value for name in names if isinstance(value := getattr(task, name), luigi.Task)]
