"""Tasks and configs as values of parameters: their text, what a text stands for, and the tasks in a value."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import is_
from pathlib import PurePath
from typing import Any

import luigi
from luigi.freezing import FrozenOrderedDict

from d6tpipe.former_names import CALLED, successor_at
from d6tpipe.task_paths import TaskPath, path_of_output

__all__ = [
    "Composite", "configs_of", "exact", "has_objects", "is_object_text", "live", "live_values", "main_name",
    "object_of", "path_from_text", "stand_in_for", "task_from_text", "task_text", "tasks_of_values",
]  # fmt: skip


class Composite:
    """Base of what has parameters and is no task: configs."""

    from_str_params: Any
    param_kwargs: Any

    _insignificant = False
    _producers: tuple[Any, ...] = ()  # tasks that what it stands for is an output of

    def _output_of(self, tasks: Iterable[Any]) -> Any:
        """Return a copy that is known to be an output of tasks."""
        raise NotImplementedError

    def _objects(self) -> Iterable[Any]:
        """Return the values of those parameters that may hold tasks and configs."""
        raise NotImplementedError

    def _live_copy(self, memo: dict[Any, Any]) -> Any:
        raise NotImplementedError


def task_text(task: Any) -> str:
    """Return a task or a config as JSON: ``{"class": ..., "module": ..., "params": {...}}``.

    Its significant parameters are there as text. The same for equal tasks, in every process; `task_from_text` reads it.
    Two classes of one name in two modules differ. A script counts as the module of its name, so that it may be run or
    imported; a notebook is ``__main__``.
    """
    names = CALLED.get()
    found: str | None = task.__dict__.get("_text") if names is None else None  # one task is the value of many
    if found is None:
        cls = type(task)
        former = names.get(cls) if names else None
        called, module = (cls.__qualname__, "") if former is None else (former.name, former.module)
        parameters = task.to_str_params(only_significant=True)
        for name in getattr(task, "_ignored", tuple)():
            parameters.pop(name, None)
        content: dict[str, Any] = {"class": called, "module": module or _module_of(cls), "params": parameters}
        if producers := getattr(task, "_producers", ()):
            content["of"] = [json.loads(task_text(one)) for one in producers]
        found = json.dumps(content, sort_keys=True, separators=(",", ":"))
        if names is None:
            task.__dict__["_text"] = found
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
    return object_of(found)


_KEYS = frozenset({"class", "module", "params"})


def is_object_text(found: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is what `task_text` makes of a task or config, read back."""
    keys = found.keys() - {"of"}
    return keys == _KEYS and isinstance(found["class"], str) and isinstance(found["params"], Mapping)


def object_of(found: Mapping[str, Any]) -> Any:
    """Return the task or config that a text of `task_text` stands for, which was read; raises as `task_from_text`."""
    module, name = str(found["module"]), str(found["class"])
    try:
        place: Any = sys.modules.get("__main__" if module == main_name() else module)
        if place is None:
            place = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
    except (ImportError, AttributeError) as error:
        place = successor_at(module, name)
        if place is None:
            raise ValueError(f"there is no class {name} in the module {module} ({error})") from None
    if not isinstance(place, type) or not issubclass(place, (luigi.Task, Composite)):
        raise ValueError(f"{module}.{name} is not a class of tasks or configs")
    made = place.from_str_params(dict(found.get("params") or {}))
    return made._output_of([object_of(one) for one in found["of"]]) if "of" in found else made


def path_from_text(text: str) -> Any:
    """Return the path of an output that a text of `task_paths.task_path_text` stands for; None for other texts."""
    if not text.startswith('{"output":'):
        return None
    found = json.loads(text)
    return path_of_output(object_of(found["task"]), found["output"])


def tasks_of_values(task: Any, names: Iterable[str]) -> list[Any]:
    """Return the tasks that the parameters of these names hold, in configs, lists and dicts too."""
    found: list[Any] = []
    for name in names:
        _collect(getattr(task, name), found)
    for one in task.__dict__.get("_init", ()):
        _collect(one, found)
    return found


def _collect(value: Any, found: list[Any]) -> None:
    if value.__class__ is str:
        return
    if isinstance(value, luigi.Task):
        found.append(value)
    elif isinstance(value, TaskPath):
        if value.producer is not None:
            found.append(value.producer)
    elif isinstance(value, Composite):
        found += value._producers
        if not value._insignificant:
            for inner in value._objects():
                _collect(inner, found)
    elif isinstance(value, Mapping):
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, tuple):
        for inner in value:
            _collect(inner, found)


def configs_of(task: Any, names: Iterable[str]) -> Iterator[Any]:
    """Yield the configs that the parameters of these names hold, however deep, and what runs before the body."""
    pending: list[Any] = [getattr(task, name) for name in names]
    pending += task.__dict__.get("_init", ())
    while pending:
        value = pending.pop(0)
        if isinstance(value, Composite):
            yield value
            pending += value._objects()
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, tuple):
            pending += value


def exact(value: Any) -> Any:
    """Return what tells the objects in a value from others that are equal to them; None if there are none.

    They are told by where they are in memory, which is theirs as long as somebody holds them.
    """
    if value.__class__ is str:
        return None
    if isinstance(value, TaskPath):
        return str(value)
    if isinstance(value, (luigi.Task, Composite)):
        return id(value)
    if isinstance(value, (tuple, Mapping)):
        inner = [exact(one) for one in (value.values() if isinstance(value, Mapping) else value)]
        return tuple(inner) if any([one is not None for one in inner]) else None
    return None


def has_objects(value: Any) -> bool:
    """Return whether a task or a config is in a value made of tuples and mappings."""
    if isinstance(value, Mapping):
        return any([has_objects(inner) for inner in value.values()])
    if isinstance(value, tuple):
        return any([has_objects(inner) for inner in value])
    return isinstance(value, (luigi.Task, Composite))


def live(value: Any, memo: dict[Any, Any]) -> Any:
    """Return the value of a parameter with copies in place of configs, on which attributes can be set.

    A config that comes up several times has one copy in a `memo`.
    """
    return _mapped(value, lambda config: config._live_copy(memo))


def _original(config: Composite) -> Any:
    """Return what a config is a copy of, for a body; itself if it is none."""
    return config.__dict__.get("_origin", config)


def _mapped(value: Any, change: Callable[[Composite], Any]) -> Any:
    if isinstance(value, Composite):
        return change(value)
    if isinstance(value, tuple):
        items = [_mapped(item, change) for item in value]
        return value if all(map(is_, items, value)) else tuple(items)
    if isinstance(value, Mapping):
        members = {name: _mapped(item, change) for name, item in value.items()}
        return value if all(map(is_, members.values(), value.values())) else FrozenOrderedDict(members)
    return value


@contextmanager
def live_values(task: Any, names: Iterable[str]) -> Iterator[None]:
    """Let the parameters of these names, of a task whose body runs, be copies that are its own; see `live`.

    The copies are equal to what they stand for: whoever looks at the task meanwhile finds the same task.
    """
    # Somebody else may run the same body in another thread: its copies are not to stay.
    before = {name: _mapped(task.__dict__[name], _original) for name in names}
    memo: dict[Any, Any] = {}
    task.__dict__.update({name: live(value, memo) for name, value in before.items()})
    try:
        yield
    finally:
        task.__dict__.update(before)
