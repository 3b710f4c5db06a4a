"""Sweeps: many tasks of a class as one value, an ordered mapping from id to task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import luigi

from d6tpipe import plugins
from d6tpipe.declared import allowed_failures
from d6tpipe.errors import DeclarationError, ParameterError, PipeError
from d6tpipe.id_templates import IdWriter
from d6tpipe.identity import nearest
from d6tpipe.labels import add_id, check_id, check_marks, set_marks, set_tags
from d6tpipe.parameters import TaskInstanceParameter
from d6tpipe.points import Axis, Listed, Point, Points, Product, axes_of
from d6tpipe.sweep_sources import (
    Held,
    Made,
    assembled,
    bad_entries,
    collision,
    defaults_of,
    same_task,
    some,
    unknown_mark,
    unknown_names,
)

__all__ = ["Sweep", "sweep"]


class Sweep(Mapping[str, Any]):
    """Tasks under ids, in order; made by `sweep`.

    A mapping from id to task: ``FITS["data_0_ols"]``, ``len(FITS)``, ``FITS.items()``. Anything that takes tasks takes
    a sweep: `run`, `preview`, what ``requires()`` returns, what an aggregator yields. The tasks are made when they are
    first looked at. An id is a label: to rename or to extend a sweep builds nothing again.

    Attributes
    ----------
    tolerance : int, float or None
        How many of the tasks, or which part of them, may fail without a run of the sweep counting as failed.
    """

    def __init__(self, source: Made | Held, tolerance: float | None = None) -> None:
        self._source = source
        self.tolerance = tolerance
        self._names: tuple[str, ...] | None = None
        self._index: dict[str, int] | None = None
        self._made: list[Any] = [None] * len(source) if len(source) <= _EAGER_LIST else []
        self._made_few: dict[int, Any] = {}
        if tolerance is not None:
            allowed_failures(tolerance, 0, f"a sweep of {_kinds(self.classes)}")

    # ---- the mapping

    @property
    def ids(self) -> Sequence[str]:
        """The ids, in order.

        Raises
        ------
        ParameterError
            Two of them are equal.
        """
        if self._names is None:
            ids = self._source.ids()
            if len(set(ids)) < len(ids):
                raise collision(self._source, ids)
            self._names = tuple(ids)
        return self._names

    def index(self, name: str) -> int:
        """Return the position of an id; raises as ``sweep[name]`` does."""
        if self._index is None:
            self._index = {one: number for number, one in enumerate(self.ids)}
        try:
            return self._index[name]
        except KeyError:
            near = nearest(str(name), list(self.ids)[:10_000])
            raise IdError(
                f"The sweep has no id {name!r}",
                facts={"ids": some(self.ids)},
                hint=f"Did you mean {near!r}?" if near else "sweep.ids has all of them.",
            ) from None

    def __getitem__(self, name: str) -> Any:
        return self.task_at(self.index(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self._source)

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self.index(name) >= 0
        except IdError:
            return False

    def __repr__(self) -> str:
        ids = f": {some(self.ids)}" if 0 < len(self) <= _EAGER_LIST else ""
        return f"<Sweep of {len(self)} {_kinds(self.classes)}{ids}>"

    def __hash__(self) -> int:
        return hash((len(self), self.ids[:1]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sweep):
            return NotImplemented
        return self is other or (list(self.ids) == list(other.ids) and self.tasks == other.tasks)

    # ---- its tasks

    @property
    def classes(self) -> set[type]:
        """The classes of the tasks."""
        return self._source.classes()

    @property
    def tasks(self) -> list[Any]:
        """All tasks, in order.

        Raises
        ------
        ParameterError
            Some cannot be made; one message has all of them, with their ids.
        """
        if self._made and None not in self._made:
            for name, task in zip(self.ids, self._made, strict=True):
                add_id(task, name)
            return list(self._made)
        bad: dict[str, Exception] = {}
        found = []
        for number, (name, make) in enumerate(zip(self.ids, self._source.makers(self.ids), strict=True)):
            known = self._made[number] if self._made else self._made_few.get(number)
            try:
                found.append(make() if known is None else known)
                if known is not None:
                    add_id(known, name)
            except ParameterError as error:
                bad[name] = error
        if not self._source.allow_alias and not bad:
            bad = _aliases(self.ids, found)
        if bad:
            raise bad_entries(self.classes, bad)
        if self._made:
            self._made = list(found)
        return found

    @property
    def allowed(self) -> int:
        """How many of the tasks may fail."""
        return self.allowed_of(len(self))

    def allowed_of(self, count: int) -> int:
        """Return how many of `count` of its tasks may fail."""
        return allowed_failures(self.tolerance, count, repr(self))

    def task_at(self, number: int) -> Any:
        """Return the task at a position."""
        known = self._made[number] if self._made else self._made_few.get(number)
        if known is None:
            known = self._source.task(number, self.ids[number])
            if self._made:
                self._made[number] = known
            else:
                self._made_few[number] = known
        return known

    def values(self) -> Any:
        """Return the tasks, in order."""
        return self.tasks

    def items(self) -> Any:
        """Return pairs of id and task, in order."""
        return list(zip(self.ids, self.tasks, strict=True))

    # ---- other sweeps

    def where(self, keep: Callable[[Any], Any]) -> Sweep:
        """Return the sweep of the tasks for which ``keep(task)`` is true, under their ids."""
        return self._of([number for number, task in enumerate(self.tasks) if keep(task)])

    def select(self, expression: str | None = None, marks: str | None = None) -> Sweep:
        """Return the sweep of the tasks that an expression selects, under their ids.

        Parameters
        ----------
        expression : str, optional
            See "Selecting tasks" in the documentation.
        marks : str, optional
            Expression of marks.

        Raises
        ------
        ExpressionError
            The expression is wrong; the message names the column.
        NothingSelectedError
            Nothing is selected; the message has what comes near.
        """
        return self._of(plugins.load("services", "select_in")(self, expression, marks))

    def _of(self, numbers: Sequence[int]) -> Sweep:
        return Sweep(
            Held([(self.ids[number], self.task_at(number)) for number in numbers], self.classes), self.tolerance
        )

    def __add__(self, other: Any) -> Sweep:
        """Return the sweep of the tasks of both; the ids must differ."""
        if not isinstance(other, Sweep):
            return NotImplemented
        return Sweep(Held([*self.items(), *other.items()]))

    def then(
        self, cls: type, /, *, into: str | None = None, id: str | None = None, common: Any = None, **axes: Any
    ) -> Sweep:
        """Return the sweep of a class over the tasks of this one, and over further values.

        Parameters
        ----------
        cls : task class
            Has a `TaskInstanceParameter` that takes tasks of this sweep.
        into : str, optional
            Name of that parameter, if there are several.
        id : str, optional
            Template of the ids; by default the id here and the texts of the further values, joined by ``_``.
        common : mapping, optional
        **axes
            Further values; see `sweep`.

        Raises
        ------
        ParameterError
            No parameter takes these tasks, or several do.
        """
        name = self._parameter_for(cls, into)
        several, one = axes_of(axes)
        template = id if id is not None else "_".join(f"{{{axis}}}" for axis in (name, *several))
        points = Product([Axis(name, self), *[Axis(axis, values) for axis, values in several.items()]])
        return sweep(cls, points, id=template, common={**(common or {}), **one})

    def _parameter_for(self, cls: type, into: str | None) -> str:
        if not (isinstance(cls, type) and issubclass(cls, luigi.Task)):
            raise DeclarationError(
                "then() needs a task class", facts={"got": repr(cls)}, hint="Write FITS.then(Plot, kind=[...])."
            )
        holders = {
            name: parameter for name, parameter in cls.get_params() if isinstance(parameter, TaskInstanceParameter)
        }
        if into is not None:
            if into not in holders:
                raise ParameterError(
                    f"{cls.__name__} has no parameter '{into}' that holds a task",
                    facts={"parameters that do": ", ".join(holders) or "none"},
                    hint=f"Declare {into} = d6tpipe.TaskInstanceParameter(...) in it.",
                )
            return into
        fitting = [
            name
            for name, parameter in holders.items()
            if all(issubclass(kind, parameter.task_class) for kind in self.classes)
        ]
        if len(fitting) != 1:
            raise ParameterError(
                f"then() cannot tell which parameter of {cls.__name__} takes the tasks",
                facts={
                    "tasks": ", ".join(sorted(kind.__name__ for kind in self.classes)),
                    "that fit": fitting or "none",
                },
                hint='Say it: then(..., into="name").' if fitting else "Declare a TaskInstanceParameter for them.",
            )
        return fitting[0]

    # ---- what is done with all tasks

    def run(self, **options: Any) -> Any:
        """Build what is missing; the same as ``d6tpipe.run(sweep, **options)``."""
        return plugins.load("services", "run")(self, **options)

    def load(self, keys: Any = None, as_dict: bool = False) -> dict[str, Any]:
        """Return what the tasks have saved, by id; see ``outputLoad`` of a task.

        Raises
        ------
        NotBuiltError
            One of them is not complete. Where the sweep tolerates failures, those that have failed are left out.
        """
        members = self._able("outputLoad")
        if self.allowed:
            lost = plugins.load("services", "lost_among")(list(members.values()))
            if len(lost) <= self.allowed:
                members = {name: task for number, (name, task) in enumerate(members.items()) if number not in lost}
        return {name: task.outputLoad(keys, as_dict) for name, task in members.items()}

    def _able(self, method: str) -> dict[str, Any]:
        """Return the tasks by id, if they have a method."""
        members = dict(self.items())
        for name, task in members.items():
            if not hasattr(task, method):
                raise DeclarationError(
                    f"{method}() met a task that does not have it",
                    task=task,
                    facts={"id": name},
                    hint="It is a plain luigi task: go through its output(), for example output().open().",
                )
        return members

    def table(self) -> Any:
        """Return a DataFrame with a row per task: parameters, tags, metrics, state and duration; see `tables.table`."""
        return plugins.load("services", "table")(self)

    def best(self, metric: str, largest: bool = True) -> Any:
        """Return the task with the largest, or smallest, value of a metric; of equal ones the first.

        Raises
        ------
        MetricError
            No task has a number for it.
        """
        return plugins.load("services", "best")(self, metric, largest)

    def pivot(self, metric: str, rows: Any = None, columns: Any = None, aggregate: str = "mean") -> Any:
        """Return a DataFrame of a metric, with the values of parameters as rows and columns.

        Parameters
        ----------
        metric : str
        rows, columns : str or list of str, optional
            Parameters or tags; by default those that vary.
        aggregate : str
            What is done with several tasks of one cell, as pandas calls it.

        Raises
        ------
        MetricError, ParameterError
            There is no such metric, or no such parameter.
        """
        return plugins.load("services", "pivot")(self, metric, rows, columns, aggregate)

    def plot(self, metric: str, x: str | None = None, y: str | None = None, ax: Any = None) -> Any:
        """Draw a metric over the parameters that vary; return matplotlib's Axes.

        One parameter: a line, or bars. Two: a heat map. More: parallel coordinates. Needs the extra ``plots``.
        """
        return plugins.load("services", "plot")(self, metric, x, y, ax)

    def reset(self, confirm: bool = True) -> None:
        """Delete the outputs of the tasks; `confirm`: ask on the terminal first, once for each."""
        for task in self._able("reset").values():
            task.reset(confirm)


def _kinds(classes: Iterable[type]) -> str:
    return " and ".join(sorted({cls.__name__ for cls in classes})) or "nothing"


def _aliases(ids: Sequence[str], tasks: Sequence[Any]) -> dict[str, Exception]:
    """Return what is wrong with tasks that have several of the ids."""
    if len(set(tasks)) == len(tasks):
        return {}
    first: dict[Any, str] = {}
    others = [(name, first.setdefault(task, name)) for name, task in zip(ids, tasks, strict=True)]
    return {name: same_task(other) for name, other in others if name != other}


_EAGER_LIST = 200_000
"""Up to so many tasks there is a list for them; of larger sweeps only those that were asked for are kept."""


class IdError(PipeError, KeyError):
    """A sweep has no such id."""


# ---- making one


def sweep(
    cls: type,
    entries: Any = None,
    /,
    *,
    id: str | None = None,
    common: Mapping[str, Any] | None = None,
    marks: Any = None,
    allow_alias: bool = False,
    tolerance: float | None = None,
    **axes: Any,
) -> Sweep:
    """Return many tasks of one class as one value.

    Parameters
    ----------
    cls : task class
    entries : mapping, list, or `product` or `zipped`, optional
        Of id to what tells the tasks from each other: a dict of values, a named tuple, a dataclass, or a task. A list
        has such entries without ids.
    id : str, optional
        Template of the ids of points: ``"{data}_{model}"``; ``{data}`` stands for the id of a task, else for the text
        of the value. Without it ``name=value`` of what varies, joined by commas.
    common : mapping, optional
        Values that all tasks have, unless an entry says otherwise.
    marks : mapping of id to words, or words, optional
        Marks of single tasks, or of all, besides those of the class.
    allow_alias : bool
        Two ids may mean the same task.
    tolerance : int or float, optional
        How many of the tasks, or which part of them, may fail without a run of the sweep counting as failed.
    **axes
        In place of entries: lists of values by name, all combinations of them. What is no list is common to all.

    Returns
    -------
    Sweep

    Raises
    ------
    ParameterError
        Entries that cannot be made into tasks, all of them in one message, with their ids; ids that are no text, or
        collide; two ids for one task.

    Examples
    --------
    >>> import d6tpipe
    >>> class Fit(d6tpipe.tasks.TaskPickle):
    ...     model = d6tpipe.Parameter()
    ...     depth = d6tpipe.IntParameter(default=1)
    >>> d6tpipe.sweep(Fit, {"small": {"model": "tree"}, "deep": {"model": "tree", "depth": 9}})
    <Sweep of 2 Fit: small, deep>
    >>> d6tpipe.sweep(Fit, model=["ols", "tree"], depth=[1, 2])["model=ols,depth=2"]
    Fit(model='ols', depth=2)
    """
    if not (isinstance(cls, type) and issubclass(cls, luigi.Task)):
        raise DeclarationError(
            "sweep() needs a task class", facts={"got": repr(cls)}, hint="Write sweep(Train, model=[...])."
        )
    several, one = axes_of(axes)
    if entries is not None and several:
        raise ParameterError(
            "sweep() takes entries or lists of values, not both",
            facts={"lists": ", ".join(several)},
            hint="Use d6tpipe.product(...) to combine them.",
        )
    if not (id is None or isinstance(id, str)):
        raise ParameterError("id= is a template", facts={"got": repr(id)}, hint='Write id="{data}_{model}".')
    check_marks(marks)
    fixed = {**(common or {}), **one}
    if entries is None:
        entries = Product([Axis(name, values) for name, values in several.items()])
    if isinstance(entries, Points) and not isinstance(entries, Listed):
        made = Made(cls, entries, fixed, id, marks, allow_alias)
        made.check()
        return Sweep(made, tolerance)
    bad: dict[str, Exception] = {}
    if isinstance(entries, Mapping):
        if id is not None:
            raise ParameterError(
                "id= is for points and lists: the keys of a mapping are ids",
                facts={"id": repr(id)},
                hint="Leave it out, or pass list(entries.values()).",
            )
        bad.update(unknown_names(cls, fixed) if not entries else {})
        pairs = list(entries.items())
    else:
        if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
            raise ParameterError(
                "sweep() needs a mapping of ids to values, a list, or what product() returns",
                facts={"got": repr(entries)},
                hint='Write sweep(Train, {"small": {"depth": 1}}), or sweep(Train, depth=[1, 2]).',
            )
        pairs = _named(cls, entries, fixed, id, bad)
    found = _listed(cls, pairs, fixed, marks, allow_alias, bad)
    found.tolerance = tolerance
    return found


def _entry(cls: type, entry: Any) -> Any:
    """Return an entry as a dict of values, or as the task that it is."""
    if isinstance(entry, luigi.Task):
        if not isinstance(entry, cls):
            raise ParameterError(f"expected a task of the class {cls.__name__}, got {entry!r:.200}")
        return entry
    if isinstance(entry, Point):
        return entry.values
    if isinstance(entry, Mapping):
        return dict(entry)
    if hasattr(entry, "_asdict"):
        return entry._asdict()
    if dataclasses.is_dataclass(entry) and not isinstance(entry, type):
        return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    raise ParameterError(f"expected a dict of values, a named tuple, a dataclass or a task, got {entry!r:.200}")


def _named(
    cls: Any, entries: Iterable[Any], fixed: Mapping[str, Any], template: str | None, bad: dict[str, Exception]
) -> list[tuple[str, Any]]:
    """Return entries that have no ids under ids made of their values; what is wrong with the others is put in `bad`."""
    good: list[tuple[Mapping[str, str], Any]] = []
    for number, entry in enumerate(entries, 1):
        try:
            good.append((entry.texts if isinstance(entry, Point) else {}, _entry(cls, entry)))
        except ParameterError as error:
            bad[f"entry {number}"] = error
    values = [dict(entry.param_kwargs) if isinstance(entry, luigi.Task) else entry for _, entry in good]
    names = dict.fromkeys(name for one in values for name in one)
    otherwise = defaults_of(cls, names)
    otherwise.update({name: value for name, value in fixed.items() if name in names})
    listed = Listed(
        [{name: {**otherwise, **one}[name] for name in names if name in one or name in otherwise} for one in values]
    )
    points = list(listed)
    for point, (texts, _) in zip(points, good, strict=True):
        point.texts.update(texts)
    varying = [name for name in listed.names if len({point.texts.get(name) for point in points}) > 1]
    write = IdWriter(cls.__name__, template, varying or list(listed.names), (*listed.names, *fixed), fixed)
    return [(write(point), entry) for point, (_, entry) in zip(points, good, strict=True)]


def _listed(
    cls: type,
    pairs: Sequence[tuple[Any, Any]],
    fixed: Mapping[str, Any],
    marks: Any,
    allow_alias: bool,
    bad: dict[str, Exception],
) -> Sweep:
    found: list[tuple[str, Any]] = []
    seen: dict[Any, str] = {}
    for name, entry in pairs:
        shown = name if isinstance(name, str) else repr(name)
        try:
            check_id(name)
            values = _entry(cls, entry)
            task = values if isinstance(values, luigi.Task) else assembled(cls, {**fixed, **values})
        except ParameterError as error:
            bad[shown] = error
            continue
        other = seen.setdefault(task, name)
        if other != name and not allow_alias:
            bad[shown] = same_task(other)
            continue
        found.append((name, task))
        add_id(task, name)
        if not isinstance(values, luigi.Task):
            set_tags(task, values)
    if bad:
        raise bad_entries({cls}, bad)
    _mark(found, marks)
    return Sweep(Held(found, {cls}))


def _mark(pairs: Sequence[tuple[str, Any]], marks: Any) -> None:
    if marks is None:
        return
    if not isinstance(marks, Mapping):
        for _, task in pairs:
            set_marks(task, marks)
        return
    tasks = dict(pairs)
    for name, words in marks.items():
        if name not in tasks:
            raise unknown_mark(name, list(tasks))
        set_marks(tasks[name], words)
