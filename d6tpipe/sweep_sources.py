"""Where the tasks of a sweep come from: tasks that are there, or points that tasks are made of when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import luigi

from d6tpipe.constructor import blueprint, unknown_parameter
from d6tpipe.errors import ParameterError, PipeError
from d6tpipe.id_templates import IdWriter
from d6tpipe.identity import nearest
from d6tpipe.labels import add_called, add_id, check_id, set_marks, set_tags
from d6tpipe.parameters import TaskInstanceParameter
from d6tpipe.points import Axis, Point, Points
from d6tpipe.task_values import Composite
from d6tpipe.tasks.meta import TaskMeta

__all__ = [
    "Held",
    "Made",
    "assembled",
    "bad_entries",
    "collision",
    "defaults_of",
    "same_task",
    "some",
    "unknown_mark",
    "unknown_names",
]

_MOST_TOLD = 20


class Held:
    """Tasks that are there."""

    allow_alias = True  # whoever put them together has looked

    def __init__(self, pairs: Sequence[tuple[str, Any]], classes: Iterable[type] = ()) -> None:
        self._classes = set(classes)
        self._ids = [name for name, _ in pairs]
        self._tasks = [task for _, task in pairs]

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> list[str]:
        return self._ids

    def classes(self) -> set[type]:
        return {type(task) for task in self._tasks} or self._classes

    def task(self, number: int, name: str) -> Any:
        task = self._tasks[number]
        add_id(task, name)
        return task

    def makers(self, ids: Sequence[str]) -> Iterator[Callable[[], Any]]:
        """Yield what makes one task after the other."""
        for number, name in enumerate(ids):
            yield partial(self.task, number, name)


class Made:
    """Tasks that are made of points when they are asked for."""

    def __init__(
        self,
        cls: type,
        points: Points,
        fixed: Mapping[str, Any],
        template: str | None,
        marks: Any,
        allow_alias: bool = False,
    ) -> None:
        self.cls, self.points, self._fixed, self._marks, self.allow_alias = cls, points, fixed, marks, allow_alias
        self._keyed = [axis.name for axis in points.axes() if axis.is_keyed]
        declared = [name for name, _ in cls.get_params()]  # type: ignore[attr-defined]
        order = {name: number for number, name in enumerate(declared)}
        names = sorted(points.names, key=lambda name: order.get(name.partition(".")[0], len(order)))
        self._write = IdWriter(
            cls.__name__, template, names, (*points.names, *fixed), {**defaults_of(cls, names), **fixed}
        )
        self._dotted = any("." in name for name in (*points.names, *fixed))
        self._ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def ids(self) -> list[str]:
        if self._ids is None:
            write = self._write
            if not write.needs_values:
                point = Point({}, {})
                self._ids = []
                for point.texts in self.points.all_texts():
                    self._ids.append(write(point))
            else:
                self._ids = [write(point) for point in self.points]
            bad: dict[str, Exception] = {}
            for name in self._ids:
                try:
                    check_id(name)
                except ParameterError as error:
                    bad[repr(name)] = error
            if bad:
                raise bad_entries({self.cls}, bad)
            if isinstance(self._marks, Mapping) and (unknown := set(self._marks) - set(self._ids)):
                raise unknown_mark(sorted(unknown)[0], self._ids)
        return self._ids

    def classes(self) -> set[type]:
        return {self.cls}

    def task(self, number: int, name: str) -> Any:
        point = self.points[number]
        return self._task_of(point.values, point.texts, name)

    def makers(self, ids: Sequence[str]) -> Iterator[Callable[[], Any]]:
        """Yield what makes one task after the other."""
        texts = self.points.all_texts() if self._keyed else repeat({}, len(ids))
        for name, values, words in zip(ids, self.points.all_values(), texts, strict=True):
            yield partial(self._task_of, values, words, name)

    def _task_of(self, values: dict[str, Any], texts: Mapping[str, str], name: str) -> Any:
        whole = {**self._fixed, **values} if self._fixed else values
        task = assembled(self.cls, whole) if self._dotted else self.cls(**whole)
        add_id(task, name)
        if self._keyed:
            keys = {axis: texts[axis] for axis in self._keyed if axis in texts}
            values = {**values, **keys}
            for axis, key in keys.items():
                add_called(task, axis, key)
        set_tags(task, values)
        words = self._marks.get(name) if isinstance(self._marks, Mapping) else self._marks
        if words:
            set_marks(task, words)
        return task

    def check(self) -> None:
        """Raise for names and values that do not fit, as far as that can be told without making the tasks."""
        cls: Any = self.cls
        declared = dict(cls.get_params())
        bad = unknown_names(cls, (*self.points.names, *self._fixed))
        family = cls.get_task_family()
        given = {name.partition(".")[0] for name in (*self.points.names, *self._fixed)}
        for name, parameter in declared.items():
            if name not in given and not parameter.has_task_value(family, name):
                bad[name] = ParameterError(f"{cls.__name__} needs a value for parameter '{name}'")
        free = set() if self.allow_alias else set(self.points.free_axes())
        for axis in self.points.axes():
            if isinstance(cls, TaskMeta) and axis.name in declared and axis.name not in bad:
                bad.update(_bad_values(cls, axis, axis not in free))
        if isinstance(cls, TaskMeta):
            for name, value in self._fixed.items():
                if name in declared:
                    try:
                        blueprint(cls).admit(name, value)
                    except ParameterError as error:
                        bad[name] = error
        if bad:
            raise bad_entries({cls}, bad)


def defaults_of(cls: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the defaults of parameters, as far as they have some: what a point that leaves them out has."""
    family, parameters = cls.get_task_family(), dict(cls.get_params())
    return {
        name: parameters[name].task_value(family, name)
        for name in names
        if name in parameters and parameters[name].has_task_value(family, name)
    }


def unknown_names(cls: Any, names: Iterable[str]) -> dict[str, Exception]:
    """Return the errors for names, perhaps dotted ones, that do not begin with a parameter of a class."""
    declared = [name for name, _ in cls.get_params()]
    heads = {name: name.partition(".")[0] for name in names}
    return {name: unknown_parameter(cls, head, declared) for name, head in heads.items() if head not in declared}


def _bad_values(cls: Any, axis: Axis, may_repeat: bool) -> dict[str, Exception]:
    """Return what is wrong with the values of an axis."""
    plan = blueprint(cls)
    if axis.sweep is not None:
        wanted = getattr(plan.by_name[axis.name], "task_class", luigi.Task)
        wrong = [kind for kind in axis.sweep.classes if not issubclass(kind, wanted)]
        if wrong and isinstance(plan.by_name[axis.name], TaskInstanceParameter):
            return {
                axis.name: ParameterError(f"expected tasks of the class {wanted.__name__}, got {wrong[0].__name__}")
            }
        return {}
    if isinstance(axis.values, range) and len(axis.values) > 2:  # if the ends fit, the rest does
        return _bad_values(cls, Axis(axis.name, [axis.values[0], axis.values[-1]]), may_repeat)
    bad: dict[str, Exception] = {}
    seen: dict[Any, int] = {}
    for number, value in enumerate(axis.values):
        try:
            proper, key = plan.admit(axis.name, value)
        except ParameterError as error:
            bad[f"{axis.name}={axis.text_at(number)}"] = error
            continue
        if key is not None and seen.setdefault(key, number) != number and not may_repeat:
            bad[f"{axis.name}={axis.text_at(number)}"] = ParameterError(
                f"comes up twice: {axis.values[seen[key]]!r} and {value!r} are the same value {proper!r}"
            )
    return bad


# ---- one task of values


def assembled(cls: Any, values: Mapping[str, Any]) -> Any:
    """Return a task; ``data.subset`` among the names means the parameter of the task that is the value of ``data``."""
    if not any("." in name for name in values):
        return cls(**values)
    whole = {name: value for name, value in values.items() if "." not in name}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
    for head, changes in inner.items():
        whole[head] = _changed(cls, head, whole.get(head, _default(cls, head)), changes)
    return cls(**whole)


def _default(cls: Any, name: str) -> Any:
    parameters = dict(cls.get_params())
    if name not in parameters:
        raise unknown_parameter(cls, name, list(parameters))
    family = cls.get_task_family()
    return parameters[name].task_value(family, name) if parameters[name].has_task_value(family, name) else None


def _changed(cls: Any, name: str, value: Any, changes: Mapping[str, Any]) -> Any:
    if isinstance(value, (luigi.Task, Composite)):
        return assembled(type(value), {**value.param_kwargs, **changes})
    if isinstance(value, Mapping):
        whole = dict(value)
        deeper: dict[str, dict[str, Any]] = {}
        for key, change in changes.items():
            head, dot, rest = key.partition(".")
            if dot:
                deeper.setdefault(head, {})[rest] = change
            else:
                whole[head] = change
        for head, inner in deeper.items():
            whole[head] = _changed(cls, f"{name}.{head}", whole.get(head, {}), inner)
        return whole
    raise ParameterError(
        f"'{name}.{next(iter(changes))}' needs a task, a config or a dict as the value of '{name}'",
        facts={"value": repr(value), "class": cls.__name__},
        hint=f"Put one into common={{'{name}': ...}}.",
    )


# ---- messages


def some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} ... ({len(names)})" if len(names) > most else shown


def bad_entries(classes: Iterable[type], bad: Mapping[str, Exception]) -> ParameterError:
    names = " and ".join(sorted(cls.__name__ for cls in classes))
    facts = {name: _reason(error) for name, error in list(bad.items())[:_MOST_TOLD]}
    if len(bad) > _MOST_TOLD:
        facts["..."] = f"and {len(bad) - _MOST_TOLD} more"
    hints = {error.hint for error in bad.values() if isinstance(error, PipeError) and error.hint}
    return ParameterError(
        f"The sweep of {names} has {len(bad)} bad {'entry' if len(bad) == 1 else 'entries'}",
        facts=facts,
        hint=hints.pop() if len(hints) == 1 else "Correct them; nothing was made.",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, PipeError):
        problem = error.facts.get("problem")
        return f"{error.headline} ({problem})" if problem else error.headline
    return str(error)


def collision(source: Any, ids: Sequence[str]) -> ParameterError:
    seen: dict[str, int] = {}
    for number, name in enumerate(ids):
        first = seen.setdefault(name, number)
        if first != number:
            points = getattr(source, "points", None)
            if points is None:
                return ParameterError(
                    f"Two tasks of a sweep have the id {name!r}",
                    facts={"positions": f"{first + 1} and {number + 1}"},
                    hint="Rename one of them, or leave out what is there twice.",
                )
            one, other = points[first], points[number]
            equal = one.texts == other.texts
            return ParameterError(
                f"Two tasks of a sweep have the id {name!r}",
                facts={"one": repr(one), "other": repr(other)},
                hint="The points are the same: leave one out."
                if equal
                else "Name all that varies in the template of the ids.",
            )
    raise AssertionError("ids were said to collide")  # pragma: no cover


def same_task(name: str) -> ParameterError:
    """Return the error for an id of a task that has another one already."""
    return ParameterError(f"is the same task as {name!r}; allow_alias=True lets it be")


def unknown_mark(name: Any, ids: Sequence[str]) -> ParameterError:
    """Return the error for an id in ``marks=`` that is none of a sweep."""
    near = nearest(str(name), list(ids)[:10_000])
    return ParameterError(
        f"marks= names an id that the sweep does not have: {name!r}",
        facts={"ids": some(ids)},
        hint=f"Did you mean {near!r}?" if near else "sweep.ids has all of them.",
    )
