"""Many tasks as one table: parameters, tags, metrics, state and duration; the best of them, and pivots."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from numbers import Real
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from d6tpipe.errors import ParameterError, PipeError, shown, told, warn
from d6tpipe.examiner import filed_as, shelf_of, store_of
from d6tpipe.former_names import any_known
from d6tpipe.graphs import build_graph, no_collection
from d6tpipe.identity import FILE_NAME_BYTES, nearest
from d6tpipe.interfaces import Standing
from d6tpipe.labels import ids_of, own_tags
from d6tpipe.records import Timing
from d6tpipe.selection import state_word
from d6tpipe.task_values import Composite
from d6tpipe.tasks import TaskData
from d6tpipe.tasks.older_places import former_ids, has_former_name
from d6tpipe.values import text

__all__ = ["MetricError", "Results", "best", "cell_text", "gathered", "pivot", "table"]

_LAST = ("state", "seconds")
_MOST_METRICS = 1000
_DEEPEST = 10  # metadata may hold themselves
_LIST_FROM = 8  # so many wanted files in one folder make one listing cheaper than a try at each
_CHUNK = 1 << 13
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_UNSETTLED = frozenset({"building", "saved", "failed"})  # metadata may be of another attempt than the outputs
_DATES = (datetime.date, datetime.timedelta)
_PLAIN = frozenset({bool, int, float, str, type(None), datetime.date, datetime.datetime, datetime.timedelta})


class MetricError(PipeError, KeyError):
    """No task has such a metric, or none has a number for it."""


def table(tasks: Mapping[Any, Any], index: str = "id") -> Any:
    """Return a DataFrame with one row per task, in their order.

    Parameters
    ----------
    tasks : mapping of id to task, a sweep for one
    index : str
        What the ids are called.

    Returns
    -------
    pandas.DataFrame
        Index: the ids. Columns, in this order:

        ===========  =============================================================================================
        parameters   the significant ones, in the order they are declared; of tasks of several classes those of all.
                     Numbers are numbers, dates are dates; a task is told by its id, a list or dict by the key that the
                     sweep's axis has for it, else by its text
        tags         those that are no parameter
        metrics      numbers, texts and truth values among the metadata (`saveMeta`) of tasks whose outputs are there;
                     what is in dicts in them as ``outer.inner``
        ``state``    ``fresh``, ``stale``, ``frozen``, ``missing``, ``failed``, or ``pending``: the outputs are there
                     but have to be built again
        ``seconds``  how long the body ran the last time; NaN if that is not known
        ===========  =============================================================================================

        A parameter that is called like the index or one of the last two columns becomes ``parameter_<name>``, a tag
        or metric that is called like another column ``tag_<name>`` or ``metric_<name>``.

    Effects
    -------
    None. Metadata that cannot be read are warned about.
    """
    return gathered(tasks, index).frame


def best(tasks: Mapping[Any, Any], metric: str, largest: bool = True) -> Any:
    """Return the task with the largest, or smallest, value of a metric; see ``best`` of a sweep."""
    numbers = gathered(tasks).numbers(metric)
    place = numbers.idxmax() if largest else numbers.idxmin()
    return list(tasks.values())[place]


def pivot(tasks: Mapping[Any, Any], metric: str, rows: Any = None, columns: Any = None, aggregate: str = "mean") -> Any:
    """Return a DataFrame of a metric with values of parameters as rows and columns; see ``pivot`` of a sweep."""
    found = gathered(tasks)
    numbers = found.numbers(metric)
    varying = found.varying()
    across, down = found.columns(columns), found.columns(rows)
    if not across and not down:
        across, down = varying[1:][-1:], varying[:-1] if len(varying) > 1 else varying
    elif not down:
        down = [name for name in varying if name not in across]
    twice = sorted(set(down) & set(across))
    if twice:
        raise ParameterError(
            f"'{twice[0]}' cannot be both rows and columns", facts={"rows": down, "columns": across}, hint="Drop one."
        )
    return crossed(found.frame, numbers, down, across, metric, aggregate)


def crossed(
    frame: Any, numbers: Any, rows: Sequence[str], columns: Sequence[str], name: str, aggregate: str = "mean"
) -> Any:
    """Return numbers by the values of some columns of a table, in the order in which these come up."""
    import numpy as np
    import pandas as pd

    down, left = _axis(frame, rows, [name])
    across, top = _axis(frame, columns, [name])
    known = numbers.notna().to_numpy()
    if not isinstance(aggregate, str):
        raise ParameterError(
            "aggregate= is one word", facts={"got": repr(aggregate)}, hint='Use "mean", "min", "max", "std" ...'
        )
    try:
        cells = numbers[known].groupby([down[known], across[known]]).agg(aggregate)
    except (AttributeError, TypeError, ValueError) as error:
        raise ParameterError(
            f"pandas knows no aggregate {aggregate!r}",
            facts={"it said": told(error)},
            hint='Use "mean", "min", "max", "median", "count", "std" ...',
        ) from error
    if cells.index.nlevels != 2:
        raise ParameterError(
            f"aggregate={aggregate!r} does not make one number of several",
            hint='Use "mean", "min", "max", "median", "count", "std" ...',
        )
    values = np.full((len(left), len(top)), nan)
    values[cells.index.get_level_values(0), cells.index.get_level_values(1)] = cells.to_numpy(dtype="float64")
    return pd.DataFrame(values, index=left, columns=top)


def _axis(frame: Any, names: Sequence[str], otherwise: list[str]) -> tuple[Any, Any]:
    """Return for each row of a table its place on an axis made of some columns, and that axis."""
    import numpy as np
    import pandas as pd

    if not names:
        return np.zeros(len(frame), dtype="int64"), pd.Index(otherwise)
    picked = frame[list(names)]
    first = picked.drop_duplicates()
    places = picked.groupby(list(names), dropna=False, sort=False).ngroup().to_numpy()
    if len(names) > 1:
        return places, pd.MultiIndex.from_frame(first)
    return places, pd.Index(first[names[0]], name=names[0])


def cell_text(value: Any, missing: str = "") -> str:
    """Return what a cell of a table holds as short text; `missing` stands for no value."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return missing
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat() if value == value.normalize() else value.isoformat(" ", "seconds")
    return str(value)


# ---- the table, and what its columns mean


@dataclass
class Results:
    """A table of tasks, and what its columns mean.

    Attributes
    ----------
    frame : pandas.DataFrame
    parameters : dict of str to str
        Name of a parameter or tag to its column.
    metrics : dict of str to str
        Name of a metric to its column.
    """

    frame: Any
    parameters: dict[str, str]
    metrics: dict[str, str]

    def numbers(self, metric: str) -> Any:
        """Return a metric as numbers by position; NaN where there is none.

        Raises
        ------
        MetricError
            There is no such metric, or no task has a number for it.
        """
        import pandas as pd

        column = self.metrics.get(metric, metric) if isinstance(metric, str) else metric
        if not isinstance(metric, str) or column not in {*self.metrics.values(), "seconds"}:
            near = nearest(str(metric), self.metrics)
            raise MetricError(
                f"No task has a metric {metric!r}",
                facts={"metrics": ", ".join(list(self.metrics)[:20]) or "none", "tasks": self._states()},
                hint=f"Did you mean {near!r}?" if near else "Name one of these." if self.metrics else _HOW,
            )
        found = self.frame[column].reset_index(drop=True)
        if found.dtype == object or pd.api.types.is_string_dtype(found.dtype):
            found = pd.to_numeric(found.where(found.map(lambda value: isinstance(value, Real))), errors="coerce")
        elif not (pd.api.types.is_numeric_dtype(found.dtype) or pd.api.types.is_bool_dtype(found.dtype)):
            found = pd.Series(nan, index=found.index)
        found = found.astype("float64")
        if not found.notna().any():
            raise MetricError(
                f"No task has a number for the metric {metric!r}",
                facts={"values": _some(self.frame[column]), "tasks": self._states()},
                hint=_HOW if self.frame[column].isna().all() else "Save a number under that name in saveMeta().",
            )
        return found

    def _states(self) -> str:
        counts = Counter(self.frame["state"])
        return ", ".join([f"{count} {state}" for state, count in counts.items()]) or "none"

    def columns(self, names: Any) -> list[str]:
        """Return the columns that are meant by a name, or a list of names, of parameters and tags.

        Raises
        ------
        ParameterError
            There is no such column.
        """
        found: list[str] = []
        wanted = (
            [] if names is None else [names] if isinstance(names, str) or not isinstance(names, Iterable) else names
        )
        for name in dict.fromkeys(wanted):
            column = self.parameters.get(name, name)
            if column not in self.frame.columns:
                near = nearest(str(name), self.parameters)
                raise ParameterError(
                    f"The tasks have no parameter or tag {name!r}",
                    facts={"known": ", ".join(self.parameters) or "none"},
                    hint=f"Did you mean {near!r}?" if near else "Name one of these.",
                )
            found.append(column)
        return found

    def varying(self) -> list[str]:
        """Return the columns of parameters and tags that have several values.

        Without those that are no numbers and tell the same tasks from each other as another one does, as a task and a
        parameter of it.
        """
        codes = {column: self._codes(column) for column in self.parameters.values()}
        several = [column for column, places in codes.items() if len(places) and places.max()]
        several.sort(key=lambda column: not self.is_numeric(column))
        seen: set[bytes] = set()
        kept = set()
        for column in several:
            key = codes[column].tobytes()
            if key not in seen or self.is_numeric(column):
                kept.add(column)
            seen.add(key)
        return [column for column in codes if column in kept]

    def _codes(self, column: str) -> Any:
        return self.frame.groupby(column, dropna=False, sort=False).ngroup().to_numpy()

    def is_numeric(self, column: str) -> bool:
        """Return whether a column is of numbers or dates, none of them missing, and so has an order and distances."""
        import pandas as pd

        values = self.frame[column]
        kind = values.dtype
        if pd.api.types.is_bool_dtype(kind) or values.isna().any():
            return False
        return bool(pd.api.types.is_numeric_dtype(kind) or kind.kind in "mM")


_HOW = 'Call self.saveMeta({"score": ...}) in run(), and run the tasks first.'


def _some(values: Any) -> str:
    some = list(dict.fromkeys([repr(value) for value in values.dropna()[:1000]]))
    return ", ".join(some[:5]) + (" ..." if len(some) > 5 else "") or "none"


def gathered(tasks: Mapping[Any, Any], index: str = "id") -> Results:
    """Return the table of tasks (see `table`), and what its columns mean."""
    import pandas as pd

    ids, members = list(tasks), list(tasks.values())
    _, goals, view = build_graph(members)
    with no_collection():
        seconds, metadata = _recorded(members, goals)
        taken = {index, *_LAST}
        columns: dict[str, Any] = {}
        parameters = _add(columns, _parameters(members), "parameter", taken)
        parameters |= _add(columns, _tags(members, parameters), "tag", taken)
        metrics = _add(columns, _Metrics(metadata).columns, "metric", taken, counts=True)
        fresh = Standing.FRESH
        states = ["fresh" if n.present and n.complete and n.standing is fresh else state_word(n, view) for n in goals]
        columns["state"] = pd.Series(states, dtype=str)
        columns["seconds"] = pd.Series(seconds, dtype="float64")
        frame = pd.DataFrame(columns)
    frame.index = pd.Index(ids, name=index)
    return Results(frame, parameters, metrics)


def _add(
    columns: dict[str, Any], found: Mapping[str, list[Any]], kind: str, taken: set[str], counts: bool = False
) -> dict[str, str]:
    """Add columns under names that are free; return these by the names they should have had."""
    wanted = set(found) - taken
    names = {}
    for name, values in found.items():
        column = name
        while column in taken or (column != name and column in wanted):
            column = f"{kind}_{column}"
        taken.add(column)
        names[name] = column
        columns[column] = _series(values, counts)
    return names


# ---- columns


def _parameters(tasks: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the values of the significant parameters by name; None where a task has no such parameter."""
    declared: dict[type, dict[str, Any]] = {}
    for task in tasks:
        cls = task.__class__
        if cls not in declared:
            declared[cls] = {
                name: parameter
                for name, parameter in cls.get_params()
                if parameter.significant and parameter.visibility == ParameterVisibility.PUBLIC
            }
    names = dict.fromkeys(name for found in declared.values() for name in found)
    columns = {}
    for name in names:
        if all(name in found for found in declared.values()):
            values = [getattr(task, name) for task in tasks]
        else:
            values = [getattr(task, name) if name in declared[task.__class__] else None for task in tasks]
        if not _PLAIN.issuperset(map(type, values)):
            holders = [declared[task.__class__].get(name) for task in tasks]
            called = [
                own_tags(task).get(name) if type(value) not in _PLAIN else None
                for task, value in zip(tasks, values, strict=True)
            ]
            values = _told(
                [
                    key if isinstance(key, str) else _plain(value, holder)
                    for key, value, holder in zip(called, values, holders, strict=True)
                ]
            )
        columns[name] = values
    return columns


def _tags(tasks: Sequence[Any], known: Iterable[str]) -> dict[str, list[Any]]:
    tags = [own_tags(task) for task in tasks]
    names = dict.fromkeys(name for found in tags for name in found)
    for name in known:
        names.pop(name, None)
    return {name: _told([_plain(found.get(name)) for found in tags]) for name in names}


def _plain(value: Any, parameter: Any = None) -> Any:
    """Return a value as it stands in a table: numbers, dates, texts and tasks as they are, the rest as text."""
    if type(value) in _PLAIN or isinstance(value, luigi.Task):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Composite):
        return repr(value)
    scalar = _scalar(value)
    if scalar is not None:
        return scalar
    return str(value) if parameter is None else text(parameter, value)


def _told(values: list[Any]) -> list[Any]:
    """Return values with ids in place of tasks; where one id stands for two of them, with their labels."""
    tasks = {id(value): value for value in values if isinstance(value, luigi.Task)}
    if not tasks:
        return values
    names = {key: ids_of(task)[-1] if ids_of(task) else repr(task) for key, task in tasks.items()}
    if len(set(names.values())) < len(set(tasks.values())):
        names = {key: repr(task) for key, task in tasks.items()}
    return [names.get(id(value), value) for value in values]


def _series(values: list[Any], counts: bool = False) -> Any:
    """Return plain values as a column of the type that they have.

    None is missing: among whole numbers the type is Int64 then, and boolean among truth values. With `counts` whole
    numbers become float64, as is usual for what is measured.
    """
    import pandas as pd

    kinds = set(map(type, values))
    missing = type(None) in kinds
    kinds.discard(type(None))
    try:
        if kinds == {bool}:
            return pd.Series(values, dtype="boolean" if missing else "bool")
        if kinds == {int}:
            return pd.Series(values, dtype=("float64" if counts else "Int64") if missing else "int64")
        if kinds and kinds <= {int, float}:
            return pd.Series(values, dtype="float64")
        if kinds and all(issubclass(kind, datetime.date) for kind in kinds):
            return pd.Series(pd.to_datetime(values))
        if kinds and all(issubclass(kind, datetime.timedelta) for kind in kinds):
            return pd.Series(pd.to_timedelta(values))
        if kinds == {str}:
            return pd.Series(values, dtype=str) if not missing else pd.Series(values)
    except (OverflowError, ValueError, TypeError):  # beyond what the type holds; time zones that differ
        pass
    return pd.Series(values, dtype=object)


# ---- what is recorded


class _Found:
    """Where what is recorded of the tasks is to be looked for; worked out once for those of a class and folder."""

    __slots__ = ("prefix", "tail", "timings")

    def __init__(self, task: Any) -> None:
        shelf = shelf_of(task)
        self.timings: Mapping[str, Timing] = {}
        self.prefix = self.tail = ""
        if shelf is not None and type(task)._meta_path is TaskData._meta_path:
            name = os.path.basename(task._meta_path())
            if name.startswith(f"{task.task_id}-meta"):
                self.prefix, self.tail = shelf.absolute, name[len(task.task_id) :]

    def meta_path(self, task: Any) -> str | None:
        task_id: str = task.task_id
        if has_former_name(task):
            return os.path.abspath(task._meta_there()) if hasattr(task, "_meta_there") else None
        if self.tail and len(task_id) + len(self.tail) <= FILE_NAME_BYTES and task_id.isascii():
            return self.prefix + task_id + self.tail
        return os.path.abspath(task._meta_path()) if hasattr(task, "_meta_path") else None


def _recorded(tasks: Sequence[Any], nodes: Sequence[Any]) -> tuple[list[float], list[Any]]:
    """Return how long the body of each task ran, NaN if that is not known, and its metadata, None if it has none.

    Records are read a family at once, and only metadata that are there, of tasks whose outputs are.
    """
    places: dict[Any, _Found] = {}
    by_store: dict[Any, dict[str, list[_Found]]] = {}
    where = []
    for task in tasks:
        key = shelf_of(task) or (task.__class__, store_of(task))
        place = places.get(key)
        if place is None:
            place = places[key] = _Found(task)
            by_store.setdefault(store_of(task), {}).setdefault(task.task_family, []).append(place)
        where.append(place)
        if any_known():
            for family, _ in former_ids(task):
                by_store[store_of(task)].setdefault(family, [])
    for store, families in by_store.items():
        timings = store.records.timings(families)
        for place in [place for members in families.values() for place in members]:
            place.timings = timings
    seconds = [nan] * len(tasks)

    def files() -> Iterator[tuple[int, str]]:
        unsure: dict[str, list[tuple[int, str]]] = {}  # by folder
        for number, (task, node, place) in enumerate(zip(tasks, nodes, where, strict=True)):
            timing = place.timings.get(task.task_id) or _former_timing(task, place.timings)
            if timing is not None:
                seconds[number] = timing[0]
                if timing[1] in _UNSETTLED:
                    continue
            path = place.meta_path(task) if node.present or node.spared else None
            if path is None:
                continue
            if timing is not None and timing[2]:
                yield number, path
            else:  # saved by hand, accepted, or made before there were records
                unsure.setdefault(os.path.dirname(path), []).append((number, path))
        for folder, members in unsure.items():
            yield from _existing(folder, members)

    metadata = _metadata(tasks, files())
    return seconds, metadata


def _former_timing(task: Any, timings: Mapping[str, Timing]) -> Timing | None:
    if not has_former_name(task):
        return None
    return timings.get(filed_as(task, lambda _, task_id: task_id in timings)[1])


def _existing(folder: str, files: list[tuple[int, str]]) -> list[tuple[int, str]]:
    if len(files) < _LIST_FROM:
        return files
    try:
        there = set(os.listdir(folder))
    except OSError:
        return []
    return [one for one in files if os.path.basename(one[1]) in there]


def _metadata(tasks: Sequence[Any], files: Iterable[tuple[int, str]]) -> list[Any]:
    """Return what is in files that are given by the place of their task; None for the other tasks."""
    found: list[Any] = [None] * len(tasks)
    unread: list[tuple[Any, str, Exception]] = []
    for number, path in files:
        try:
            found[number] = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except Exception as error:  # noqa: BLE001  (whatever a damaged pickle leads to; told below)
            unread.append((tasks[number], path, error))
    if unread:
        task, path, first = unread[0]
        more = f", and those of {len(unread) - 1} more tasks" if len(unread) > 1 else ""
        warn(f"Metadata of {shown(task)} cannot be read{more}: {path}: {type(first).__name__}: {first}")
    return found


def _read(path: str) -> Any:
    handle = os.open(path, _READ)  # a third of what a file object costs
    try:
        data = os.read(handle, _CHUNK)
        if len(data) == _CHUNK:
            parts = [data]
            while part := os.read(handle, 1 << 20):
                parts.append(part)
            data = b"".join(parts)
    finally:
        os.close(handle)
    return pickle.loads(data)


# ---- metrics


class _Metrics:
    """Collects the scalars in metadata as columns; those of all tasks whose metadata have the same names at once."""

    def __init__(self, metadata: Sequence[Any]) -> None:
        self.columns: dict[str, list[Any]] = {}
        self._size = len(metadata)
        self._dropped: set[str] = set()
        places = [number for number, one in enumerate(metadata) if one is not None]
        self._add("metadata", places, [metadata[number] for number in places], -1)
        if self._dropped:
            warn(f"Metadata have more than {_MOST_METRICS} names; {len(self._dropped)} are left out of the table.")

    def _add(self, name: str, places: list[int], values: list[Any], depth: int) -> None:
        """Add the values of the tasks at some places; `depth`: how many dicts are around them."""
        kinds = set(map(type, values))
        if kinds <= _PLAIN:
            self._put(name, places, values)
            return
        inner: dict[tuple[Any, ...], tuple[list[int], list[Any]]] = {}
        scalars: list[tuple[int, Any]] = []
        for place, value in zip(places, values, strict=True):
            if value.__class__ is dict or isinstance(value, Mapping):  # the first is quicker
                group = inner.setdefault(tuple(value), ([], []))
                group[0].append(place)
                group[1].append(value)
            elif (scalar := _scalar(value)) is not None:
                scalars.append((place, scalar))
        if scalars:
            self._put(name, [place for place, _ in scalars], [scalar for _, scalar in scalars])
        if depth < _DEEPEST:
            for keys, (members, dicts) in inner.items():
                for key in keys:
                    full = str(key) if depth < 0 else f"{name}.{key}"
                    self._add(full, members, [one[key] for one in dicts], depth + 1)

    def _put(self, name: str, places: list[int], values: list[Any]) -> None:
        column = self.columns.get(name)
        if column is None:
            if all([value is None for value in values]):
                return
            if len(self.columns) >= _MOST_METRICS:
                self._dropped.add(name)
                return
            if len(places) == self._size:
                self.columns[name] = values
                return
            column = self.columns[name] = [None] * self._size
        elif any([column[place] is not None for place in places]):  # another name with this text, as 5 and "5"
            self._put(f"metric_{name}", places, values)
            return
        for place, value in zip(places, values, strict=True):
            column[place] = value


def _scalar(value: Any) -> Any:
    """Return a number, truth value, text or date as Python's own, also out of numpy's or torch's; None for others."""
    if isinstance(value, (bool, *_DATES)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        inner = value.item()
        return inner if isinstance(inner, (bool, int, float, str, *_DATES)) else None
    try:
        return float(value) if isinstance(value, Real) or type(value).__name__ == "Decimal" else None
    except (ValueError, OverflowError):
        return None
