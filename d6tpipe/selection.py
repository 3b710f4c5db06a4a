"""Which tasks an expression selects: tasks and graphs as `expressions` looks at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import luigi

from d6tpipe import settings
from d6tpipe.declared import class_option
from d6tpipe.errors import DeclarationError, NothingSelectedError
from d6tpipe.expressions import MISSING
from d6tpipe.grammar import parse, parse_marks
from d6tpipe.graphs import as_tasks, build_graph
from d6tpipe.identity import label, nearest
from d6tpipe.interfaces import ReasonKind, Standing
from d6tpipe.labels import called, ids_of, marks_of, own_tags
from d6tpipe.near_misses import near_misses
from d6tpipe.task_values import Composite

__all__ = ["narrowed", "select_among", "select_in", "select_nodes", "state_word"]

_BUILT_IN_MARKS = ("freeze", "skip")


def select_nodes(nodes: Sequence[Any], view: Any, expression: str | None, marks: str | None) -> list[Any]:
    """Return the judged nodes of a graph that expressions select, in order.

    Raises
    ------
    ExpressionError
        An expression is wrong, or it compares what cannot be compared; the message names the column.
    NothingSelectedError
        Nothing is selected; the message has what comes near.
    """
    world = _World([node.task for node in nodes], lambda: (nodes, view))
    return [nodes[number] for number in _selected(world, expression, marks)]


def select_in(sweep: Any, expression: str | None, marks: str | None) -> list[int]:
    """Return the positions of the tasks of a sweep that expressions select; raises as `select_nodes` does."""
    return select_among(sweep.tasks, expression, marks)


def select_among(tasks: Sequence[Any], expression: str | None, marks: str | None) -> list[int]:
    """Return the positions of the tasks that expressions select, of these alone; raises as `select_nodes` does."""
    return _selected(_World(tasks, lambda: _judged(tasks)), expression, marks)


def narrowed(tasks: Any, expression: str | None, marks: str | None) -> list[Any]:
    """Return those of tasks and of all they require that expressions select; raises as `select_nodes` does."""
    if expression is None and marks is None:
        return as_tasks(tasks)
    graph, _, view = build_graph(tasks)
    return [node.task for node in select_nodes(graph.order, view, expression, marks)]


def _judged(tasks: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    _, goals, view = build_graph(tasks)
    return goals, view


def _selected(world: _World, expression: str | None, marks: str | None) -> list[int]:
    found: set[int] | None = None
    if marks is not None:
        used, registered = world.all_marks(), registered_marks()
        known = {*_BUILT_IN_MARKS, *registered}
        if registered and (others := sorted(used - known)):
            meant = nearest(others[0], registered)
            raise DeclarationError(
                f"The mark '{others[0]}' is not one of those in settings.marks",
                task=type(world.marked(others[0])),
                facts={"settings.marks": ", ".join(registered)},
                hint=f"Did you mean '{meant}'?" if meant else "Add it there, or take the mark off.",
            )
        found = parse_marks(marks, known | used).evaluate(world)
    wanted = None if expression is None else parse(expression)
    if wanted is not None:
        found = wanted.evaluate(world, among=found)
    if found is None:
        return list(range(world.size))
    if not found:
        near = [] if wanted is None else near_misses(wanted, world.labels)
        raise NothingSelectedError(
            "No task is selected",
            facts={
                **({} if expression is None else {"expression": expression}),
                **({} if marks is None else {"marks": marks}),
                "tasks looked at": world.size,
            },
            hint=f"Did you mean: {'; '.join(near)}?"
            if near
            else "d6tpipe list TARGET shows the tasks and their labels.",
        )
    return sorted(found)


def registered_marks() -> list[str]:
    """Return the marks that the settings name."""
    return [word.strip() for word in (settings.marks or "").split(",") if word.strip()]


def state_word(node: Any, view: Any) -> str:
    """Return the state of a judged node in one word, as `interfaces.State` spells it, "missing" or "removed".

    "failed": its last attempt failed. "pending": its outputs are there, but something that it needs is not.
    "removed": it is transient, was built, and its outputs are not there.
    """
    if node.complete:
        if node.standing in (Standing.STALE, Standing.UNTRACKED) and view.mode(node) == "frozen":
            return "frozen"
        if node.standing is Standing.STALE:
            return "stale"
        if node.spared and not view.joins(node):
            return "removed" if node.digest else "missing"
        return "fresh"
    if any(reason.kind is ReasonKind.FAILED for reason in node.reasons):
        return "failed"
    if node.standing is Standing.STALE:  # to be built again: stale="rerun"
        return "stale"
    return "pending" if node.present else "missing"


class _World:
    """Tasks as the items that an expression is about; see `expressions.World`."""

    def __init__(self, tasks: Sequence[Any], judged: Any) -> None:
        self._tasks = tasks
        self._judge = judged
        self._class_marks: dict[type, frozenset[str]] = {}

    @property
    def size(self) -> int:
        return len(self._tasks)

    @cached_property
    def labels(self) -> list[str]:
        return [label(task) for task in self._tasks]

    def words(self, item: int) -> Iterable[str]:
        task = self._tasks[item]
        shown = self.labels[item]
        found = [shown, *self.marks(item)]
        ids = ids_of(task)
        if len(ids) > 1:
            found += [f"{shown[: -len(ids[-1]) - 1]}{other}]" for other in ids[:-1]]
        tags = own_tags(task)
        if tags:
            for name, value in tags.items():
                found.append(f"{name}={_name_of(value)}")
                others = (*called(task, name), *(ids_of(value) if isinstance(value, luigi.Task) else ()))
                found += [f"{name}={other}" for other in others]
        return found

    def marks(self, item: int) -> Collection[str]:
        task = self._tasks[item]
        cls = type(task)
        found = self._class_marks.get(cls)
        if found is None:
            found = self._class_marks[cls] = frozenset(class_option(cls, "marks", frozenset()))
        own = marks_of(task)
        return found | own if own else found

    def all_marks(self) -> set[str]:
        return {word for item in range(self.size) for word in self.marks(item)}

    def marked(self, word: str) -> Any:
        """Return the first task that has a mark."""
        return next(task for item, task in enumerate(self._tasks) if word in self.marks(item))

    def ids(self, item: int) -> Collection[str]:
        return ids_of(self._tasks[item])

    def module(self, item: int) -> str:
        return str(type(self._tasks[item]).__module__)

    def family(self, item: int) -> str:
        return type(self._tasks[item]).__name__

    def parameter(self, item: int, path: Sequence[str]) -> Any:
        task = self._tasks[item]
        value = _followed(task, path)
        if value is MISSING:
            return own_tags(task).get(".".join(path), MISSING)
        return _name_of(value) if isinstance(value, luigi.Task) else value

    def called(self, item: int, path: Sequence[str]) -> Collection[str]:
        """Return what sweeps call the value of a parameter: the keys that it was given under, the ids of a task."""
        task = self._tasks[item]
        names = called(task, path[0]) if len(path) == 1 else ()
        value = _followed(task, path)
        return (*names, *ids_of(value)) if isinstance(value, luigi.Task) else names

    def parameter_names(self) -> Iterable[str]:
        seen: dict[type, Any] = {type(task): task for task in self._tasks}
        names: dict[str, None] = {}
        for task in seen.values():
            for name in task.get_param_names(include_significant=True):
                names[name] = None
                inner = getattr(task, name)
                if isinstance(inner, luigi.Task):
                    names.update(dict.fromkeys(f"{name}.{one}" for one in inner.get_param_names()))
            names.update(dict.fromkeys(own_tags(task)))
        return names

    @cached_property
    def _nodes(self) -> tuple[Sequence[Any], Any]:
        nodes, view = self._judge()
        return nodes, view

    def state(self, item: int) -> str:
        nodes, view = self._nodes
        return state_word(nodes[item], view)

    def stale(self, item: int) -> bool:
        return self._nodes[0][item].standing is Standing.STALE

    def downstream(self, items: set[int]) -> set[int]:
        nodes = self._nodes[0]
        users: dict[Any, list[int]] = {}
        for number, node in enumerate(nodes):
            for need in node.needs:
                users.setdefault(need, []).append(number)
        found, pending = set(items), list(items)
        while pending:
            for user in users.get(nodes[pending.pop()], ()):
                if user not in found:
                    found.add(user)
                    pending.append(user)
        return found

    @cached_property
    def _by_id(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for item, task in enumerate(self._tasks):
            for name in ids_of(task):
                found.setdefault(name, []).append(item)
        return found

    def index_of_id(self, name: str) -> Collection[int]:
        return self._by_id.get(name, ())


def _attribute(value: Any, name: str) -> Any:
    """Return a parameter of a task or config, or a member of a mapping."""
    if isinstance(value, (luigi.Task, Composite)):
        kind: Any = type(value)
        return value.__dict__.get(name, MISSING) if name in _parameters(kind) else MISSING
    if isinstance(value, Mapping):
        return value.get(name, MISSING)
    return MISSING


@lru_cache(maxsize=1000)
def _parameters(cls: Any) -> frozenset[str]:
    return frozenset(name for name, _ in cls.get_params())


def _followed(task: Any, path: Sequence[str]) -> Any:
    """Return what a dotted path leads to, from a task on; `MISSING` if it leads nowhere."""
    value = task
    for name in path:
        value = _attribute(value, name)
        if value is MISSING:
            break
    return value


def _name_of(value: Any) -> str:
    if isinstance(value, luigi.Task):
        ids = ids_of(value)
        return ids[-1] if ids else repr(value)
    return str(value)
