"""Points of a parameter space: products, zips and lists of values, counted and indexed without being made."""

from __future__ import annotations

import enum
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import luigi

from d6tpipe.errors import ParameterError
from d6tpipe.task_values import Composite

__all__ = [
    "Axis", "Joined", "Listed", "Point", "Points", "Product", "Zipped", "axes_of", "product", "value_text", "zipped",
]  # fmt: skip


_LONGEST = 60  # texts of values in ids


class Point:
    """One point: a value and a short text for each name.

    Attributes
    ----------
    values : dict of str to object
    texts : dict of str to str
        What stands for the values in an id.
    """

    __slots__ = ("texts", "values")

    def __init__(self, values: dict[str, Any], texts: dict[str, str]) -> None:
        self.values, self.texts = values, texts

    def __repr__(self) -> str:
        return f"Point({', '.join(f'{name}={text}' for name, text in self.texts.items())})"


class Points(Sequence[Point]):
    """A sequence of points over the same names; made one by one when asked for.

    Attributes
    ----------
    names : tuple of str
    """

    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} points over {', '.join(self.names) or 'nothing'}>"

    def axes(self) -> Iterator[Axis]:
        """Yield the axes that the points are made of."""
        raise NotImplementedError

    def free_axes(self) -> Iterator[Axis]:
        """Yield the axes of which a value that comes up twice makes the same point twice."""
        return iter(())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Picked(self, range(*index.indices(len(self))))
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} points")
        point = Point({}, {})
        self.fill(index, point)
        return point

    def __iter__(self) -> Iterator[Point]:
        for index in range(len(self)):
            point = Point({}, {})
            self.fill(index, point)
            yield point

    def fill(self, index: int, point: Point) -> None:
        """Add the values and texts of the point at `index` to `point`."""
        raise NotImplementedError

    def all_texts(self) -> Iterator[dict[str, str]]:
        """Yield the texts of all points, in order: quicker than one point after the other."""
        for point in self:
            yield point.texts

    def all_values(self) -> Iterator[dict[str, Any]]:
        """Yield the values of all points, in order."""
        for point in self:
            yield point.values


class Axis(Points):
    """The values of one name.

    Parameters
    ----------
    name : str
    values : sweep, mapping of text to value, or iterable
        Of a sweep and of a mapping the ids, or keys, are the texts.

    Attributes
    ----------
    is_keyed : bool
        The values were given under keys.
    """

    def __init__(self, name: str, values: Any) -> None:
        self.name, self.names = name, (name,)
        self.sweep = values if hasattr(values, "task_at") else None
        self._texts: list[str] | None = None
        self.is_keyed = self.sweep is None and isinstance(values, Mapping)
        if self.sweep is not None:
            self.values: Sequence[Any] = ()
        elif self.is_keyed:
            self.values, self._texts = list(values.values()), [str(key) for key in values]
        elif isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise ParameterError(
                f"The values of '{name}' must be a list",
                facts={"got": repr(values)},
                hint=f"Write {name}=[{values!r}], or put what is the same for all into common={{...}}.",
            )
        else:
            self.values = values if isinstance(values, (list, tuple, range)) else list(values)

    def __len__(self) -> int:
        return len(self.values) if self.sweep is None else len(self.sweep)

    def axes(self) -> Iterator[Axis]:
        yield self

    free_axes = axes

    def value_at(self, index: int) -> Any:
        """Return one value; a task of a sweep is made for it."""
        return self.values[index] if self.sweep is None else self.sweep.task_at(index)

    def text_at(self, index: int) -> str:
        """Return what stands for one value in an id."""
        if self.sweep is not None:
            return str(self.sweep.ids[index])
        if self._texts is None:
            self._texts = [value_text(value) for value in self.values]
        return self._texts[index]

    def fill(self, index: int, point: Point) -> None:
        point.values[self.name] = self.value_at(index)
        point.texts[self.name] = self.text_at(index)


class Product(Points):
    """All combinations; the last part varies fastest."""

    def __init__(self, parts: Sequence[Points]) -> None:
        self._parts = parts
        self.names = _joined(parts)
        self._sizes = [len(part) for part in parts]

    def __len__(self) -> int:
        size = 1
        for one in self._sizes:
            size *= one
        return size

    def axes(self) -> Iterator[Axis]:
        for part in self._parts:
            yield from part.axes()

    def free_axes(self) -> Iterator[Axis]:
        for part in self._parts:
            yield from part.free_axes()

    def all_texts(self) -> Iterator[dict[str, str]]:
        return self._combined(Axis.text_at) or super().all_texts()

    def all_values(self) -> Iterator[dict[str, Any]]:
        return self._combined(Axis.value_at) or super().all_values()

    def _combined(self, at: Callable[[Axis, int], Any]) -> Iterator[dict[str, Any]] | None:
        """Return what `at` says of each value, in all combinations; None if the parts are not all axes."""
        axes = [part for part in self._parts if isinstance(part, Axis)]
        if len(axes) < len(self._parts):
            return None
        columns = [[at(axis, place) for place in range(len(axis))] for axis in axes]
        return (dict(zip(self.names, combination, strict=True)) for combination in itertools.product(*columns))

    def fill(self, index: int, point: Point) -> None:
        places = []
        for size in reversed(self._sizes):
            index, place = divmod(index, size)
            places.append(place)
        for part, place in zip(self._parts, reversed(places), strict=True):
            part.fill(place, point)


class Zipped(Points):
    """Side by side: the first of each part, the second of each, and so on."""

    def __init__(self, parts: Sequence[Points]) -> None:
        self._parts = parts
        self.names = _joined(parts)
        sizes = {", ".join(part.names): len(part) for part in parts}
        if len(set(sizes.values())) > 1:
            raise ParameterError(
                "zipped() needs equally many values of each",
                facts=sizes,
                hint="Use product() for all combinations.",
            )
        self._size = next(iter(sizes.values()), 0)

    def __len__(self) -> int:
        return self._size

    def axes(self) -> Iterator[Axis]:
        for part in self._parts:
            yield from part.axes()

    def fill(self, index: int, point: Point) -> None:
        for part in self._parts:
            part.fill(index, point)


class Joined(Points):
    """The points of one part after those of the other; the names of the parts may differ."""

    def __init__(self, parts: Sequence[Points]) -> None:
        self._parts = parts
        self.names = tuple(dict.fromkeys(name for part in parts for name in part.names))

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def axes(self) -> Iterator[Axis]:
        for part in self._parts:
            yield from part.axes()

    def fill(self, index: int, point: Point) -> None:
        for part in self._parts:
            if index < len(part):
                part.fill(index, point)
                return
            index -= len(part)


class Picked(Points):
    """Some points of others, by their places."""

    def __init__(self, points: Points, places: Sequence[int]) -> None:
        self._points, self._places, self.names = points, places, points.names

    def __len__(self) -> int:
        return len(self._places)

    def axes(self) -> Iterator[Axis]:
        yield from self._points.axes()

    def fill(self, index: int, point: Point) -> None:
        self._points.fill(self._places[index], point)


class Listed(Points):
    """Points that are written out, as dicts of values."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries
        self.names = tuple(dict.fromkeys(name for entry in entries for name in entry))

    def __len__(self) -> int:
        return len(self._entries)

    def axes(self) -> Iterator[Axis]:
        return iter(())

    def fill(self, index: int, point: Point) -> None:
        for name, value in self._entries[index].items():
            point.values[name] = value
            point.texts[name] = value_text(value)


def product(*points: Points, **axes: Any) -> Points:
    """Return all combinations of values; the last name varies fastest.

    Parameters
    ----------
    *points : Points
        Of another `product` or `zipped`.
    **axes : list, sweep or mapping
        Values by the name of the parameter. Of a sweep they are its tasks, of a mapping its values; the ids, or keys,
        stand for them in ids.

    Returns
    -------
    Points
        A sequence; to count a million points makes none of them.

    Raises
    ------
    ParameterError
        A name comes up twice, or the values of one are no list.

    Examples
    --------
    >>> len(product(model=["ols", "gbm"], seed=range(500_000)))
    1000000
    """
    return Product(_parts(points, axes))


def zipped(*points: Points, **axes: Any) -> Points:
    """Return points side by side: the first value of each name, the second of each ...; see `product`.

    Raises
    ------
    ParameterError
        There are not equally many values of each name.

    Examples
    --------
    >>> [point.texts for point in zipped(model=["ols", "gbm"], depth=[1, 3])]
    [{'model': 'ols', 'depth': '1'}, {'model': 'gbm', 'depth': '3'}]
    """
    return Zipped(_parts(points, axes))


def axes_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the names that have several values, and those that have one: text, a number, a task ..."""
    several: dict[str, Any] = {}
    one: dict[str, Any] = {}
    for name, value in values.items():
        is_several = hasattr(value, "task_at") or (
            isinstance(value, Iterable) and not isinstance(value, (str, bytes, luigi.Task, enum.Enum, type))
        )
        (several if is_several else one)[name] = value
    return several, one


def _parts(points: Iterable[Any], axes: Mapping[str, Any]) -> list[Points]:
    parts: list[Points] = []
    for one in points:
        if not isinstance(one, Points):
            raise ParameterError(
                "product() and zipped() take values by name, or what another of them has returned",
                facts={"got": repr(one)},
                hint='Write product(model=["a", "b"]).',
            )
        parts.append(one)
    return [*parts, *[Axis(name, values) for name, values in axes.items()]]


def _joined(parts: Sequence[Points]) -> tuple[str, ...]:
    names: list[str] = []
    for part in parts:
        for name in part.names:
            if name in names:
                raise ParameterError(
                    f"'{name}' comes up twice",
                    facts={"names": ", ".join(names)},
                    hint="Give the values of each name once.",
                )
            names.append(name)
    return tuple(names)


def value_text(value: Any) -> str:
    """Return what stands for a value in an id: its own text where that is short and plain, else some digits of a hash.

    Never a position, so that adding a value renames nothing.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, luigi.Task):
        ids = value.__dict__.get("_ids")
        return str(ids[-1]) if ids else value.task_id.rpartition("_")[2]
    if isinstance(value, Composite):
        name: str = value.config_id  # type: ignore[attr-defined]
        return name if len(name) <= _LONGEST else name.rpartition("_")[2]
    text = value if isinstance(value, str) else str(value) if _has_plain_text(value) else ""
    if text and len(text) <= _LONGEST and text.isprintable() and not set(text) & set("[]"):
        return text
    try:
        content = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        content = repr(value)
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()


def _has_plain_text(value: Any) -> bool:
    """Return whether the text of a value is one: of a date or a path, not of a list or some object."""
    return type(value).__str__ is not object.__str__ and not isinstance(value, (Mapping, list, tuple, set, frozenset))
