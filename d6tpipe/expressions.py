"""Selections of tasks: what an expression asks for, evaluated over a whole collection at once.

`grammar` reads expressions. What the tasks are is the caller's business: it hands a `World`, which is asked for nothing
that the expression has no use for.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from d6tpipe.errors import ExpressionError
from d6tpipe.identity import nearest
from d6tpipe.literals import Literal, NoOrder

__all__ = [
    "MISSING", "STATES", "And", "Comparison", "Downstream", "Id", "InState", "IsStale", "Look", "Mark", "Node", "Not",
    "Or", "Selection", "Word", "World", "listed", "meant", "walk", "wrong_at",
]  # fmt: skip


STATES: Final = ("fresh", "stale", "frozen", "pending", "failed", "missing", "removed")
"""What ``@state=`` may be compared with: how a task stands before anything runs."""


class _Missing:
    """Type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What `World.parameter` returns for a task that has no such parameter."""


class World(Protocol):
    """The tasks that a selection chooses from, numbered from 0; only what an expression uses is asked for.

    A world may also have ``index_of_id(id)``, which returns the tasks of an id without a look at every task, and
    ``called(item, path)``, which returns what the value of a parameter is called beside its text.
    """

    @property
    def size(self) -> int:
        """How many tasks there are."""

    def words(self, item: int) -> Iterable[str]:
        """Return the texts in which a word is looked for: the label, the marks, the tags as ``name=value``."""

    def marks(self, item: int) -> Collection[str]:
        """Return the marks of the task."""

    def ids(self, item: int) -> Collection[str]:
        """Return the ids of the task: none outside of a sweep, several if it is in several."""

    def module(self, item: int) -> str:
        """Return the dotted name of the module that defines its class."""

    def family(self, item: int) -> str:
        """Return the name of its class, without the module."""

    def parameter(self, item: int, path: Sequence[str]) -> Any:
        """Return the value that the dotted `path` leads to, or `MISSING`."""

    def parameter_names(self) -> Iterable[str]:
        """Return the (dotted) names to suggest for one that no task has; asked only for the message of an error."""

    def state(self, item: int) -> str:
        """Return one of `STATES`."""

    def stale(self, item: int) -> bool:
        """Return whether the task is complete, but not as recorded."""

    def downstream(self, items: set[int]) -> set[int]:
        """Return what needs one of `items`, directly or through others; `items` themselves may be among them."""


@dataclass(frozen=True, repr=False)
class Selection:
    """An expression that has been read; made by `parse` and `parse_marks`. Equal if the same is asked for."""

    text: str = field(compare=False)
    _root: Node

    def __repr__(self) -> str:
        marks = sorted({node.name for node in walk(self._root) if isinstance(node, Mark)})
        return f"parse_marks({self.text!r}, {marks!r})" if marks else f"parse({self.text!r})"

    def evaluate(self, world: World, among: Iterable[int] | None = None) -> set[int]:
        """Return the numbers of the tasks that are selected.

        Parameters
        ----------
        world : World
        among : iterable of int, optional
            Choose from these only, such as what another selection has left. What ``+`` applies to is still looked
            for in the whole world.

        Raises
        ------
        ExpressionError
            If a comparison is about a parameter that no task has, or orders what has no order; the message has the
            column.

        Notes
        -----
        One pass over the tasks for each part of the expression; ``a and b`` asks about b only for what a has left,
        ``a or b`` only for what a has not taken. An exact id costs no pass in a world with ``index_of_id``.
        """
        items = set(range(world.size)) if among is None else set(among)
        return self._root.within(Look(self, world), items)


# ------------------------------------------------------------------------------------------- what was read


class Look:
    """One evaluation: the world, and what it has answered."""

    def __init__(self, selection: Selection, world: World) -> None:
        self.selection, self.world = selection, world
        self.text = functools.cache(self._text)
        self.state = functools.cache(world.state)
        self.stale = functools.cache(world.stale)

    def _text(self, item: int) -> str:
        return "\0".join(self.world.words(item)).casefold()

    @functools.cached_property
    def by_id(self) -> Callable[[str], Collection[int]] | None:
        """Id to tasks. None where one look at each task will do: a single id, no index."""
        own: Callable[[str], Collection[int]] | None = getattr(self.world, "index_of_id", None)
        if own is not None:
            return own
        if sum(isinstance(node, Id) for node in walk(self.selection._root)) < 2:
            return None
        found: dict[str, list[int]] = {}
        for item in range(self.world.size):
            for id in self.world.ids(item):
                found.setdefault(id, []).append(item)
        return lambda id: found.get(id, ())


@dataclass(frozen=True)
class Node:
    """Part of an expression; where it stands in the text does not make it another one."""

    start: int = field(compare=False)
    end: int = field(compare=False)

    def within(self, look: Look, items: set[int]) -> set[int]:
        """Return those of `items` that are selected; `items` is not changed, the result may be `items` itself."""
        raise NotImplementedError

    def inner(self) -> tuple[Node, ...]:
        return ()


@dataclass(frozen=True)
class Word(Node):
    text: str

    def within(self, look: Look, items: set[int]) -> set[int]:
        needle, text = self.text.casefold(), look.text
        return {item for item in items if needle in text(item)} if "\0" not in needle else set()


@dataclass(frozen=True)
class Mark(Node):
    name: str

    def within(self, look: Look, items: set[int]) -> set[int]:
        name, marks = self.name, look.world.marks
        return {item for item in items if name in marks(item)}


@dataclass(frozen=True)
class Id(Node):
    family: str
    id: str

    def within(self, look: Look, items: set[int]) -> set[int]:
        if look.by_id is not None:
            found = {item for item in look.by_id(self.id) if item in items}
        else:
            id, ids = self.id, look.world.ids
            found = {item for item in items if id in ids(item)}
        return {item for item in found if self.is_of(look.world, item)} if self.family else found

    def is_of(self, world: World, item: int) -> bool:
        """Return whether the task is of this class, which may be given with some of its module's name in front."""
        full = f".{world.module(item)}.{world.family(item)}"
        return full.endswith(f".{self.family}")


@dataclass(frozen=True)
class InState(Node):
    name: str
    other: bool  # @state!=name

    def within(self, look: Look, items: set[int]) -> set[int]:
        name, state, other = self.name, look.state, self.other
        return {item for item in items if (state(item) == name) is not other}


@dataclass(frozen=True)
class IsStale(Node):
    def within(self, look: Look, items: set[int]) -> set[int]:
        stale = look.stale
        return {item for item in items if stale(item)}


@dataclass(frozen=True)
class Comparison(Node):
    path: tuple[str, ...]
    sign: str
    literal: Literal

    def within(self, look: Look, items: set[int]) -> set[int]:
        parameter, path, holds = look.world.parameter, self.path, self.literal.test(self.sign)
        called = getattr(look.world, "called", None) if self.sign in ("=", "!=") else None
        found, anybody = set(), not items
        for item in items:
            value = parameter(item, path)
            if value is not MISSING:
                anybody = True
                try:
                    if called is not None and self.literal.text in called(item, path):
                        if self.sign == "=":
                            found.add(item)
                    elif holds(value):
                        found.add(item)
                except NoOrder as reason:
                    raise self.no_order(look, value, str(reason)) from None
        if not anybody and not self.is_known(look.world, items):
            raise self.unknown(look)
        return found

    def is_known(self, world: World, asked: set[int]) -> bool:
        """Return whether a task that was not `asked` has the parameter: then it is not misspelt."""
        rest = (item for item in range(world.size) if item not in asked)
        return any(world.parameter(item, self.path) is not MISSING for item in rest)

    def unknown(self, look: Look) -> ExpressionError:
        name, names = ".".join(self.path), sorted(set(look.world.parameter_names()))
        return wrong_at(
            look.selection.text,
            self.start,
            f"no task has a parameter '{name}'",
            facts={"parameters": listed(names)} if names else {},
            hint=meant(name, names) or f"""To look for the text, put it in quotes: "{name}".""",
        )

    def no_order(self, look: Look, value: Any, reason: str) -> ExpressionError:
        name = ".".join(self.path)
        return wrong_at(
            look.selection.text,
            self.start,
            f"{self.sign} cannot compare parameter '{name}' with {self.literal.text!r}",
            facts={name: f"{value!r} ({type(value).__name__})", "compared by": reason},
            hint="If only some tasks have such a value, name the others first: Class and ...",
        )


@dataclass(frozen=True)
class _Around(Node):
    of: Node

    def inner(self) -> tuple[Node, ...]:
        return (self.of,)


@dataclass(frozen=True)
class _Chain(Node):
    parts: tuple[Node, ...]

    def inner(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True)
class Downstream(_Around):
    def within(self, look: Look, items: set[int]) -> set[int]:
        # Of anything, be it in `items` or not: what is downstream of it may be.
        roots = self.of.within(look, set(range(look.world.size)))
        return (roots | look.world.downstream(roots)) & items if roots else set()


@dataclass(frozen=True)
class Not(_Around):
    def within(self, look: Look, items: set[int]) -> set[int]:
        return items - self.of.within(look, items)


@dataclass(frozen=True)
class And(_Chain):
    def within(self, look: Look, items: set[int]) -> set[int]:
        for part in self.parts:
            if not items:
                break
            items = part.within(look, items)
        return items


@dataclass(frozen=True)
class Or(_Chain):
    def within(self, look: Look, items: set[int]) -> set[int]:
        found, rest = set(), set(items)
        for part in self.parts:
            if not rest:
                break
            taken = part.within(look, rest)
            found |= taken
            rest -= taken  # in place: thousands of ids over many tasks must not copy the rest each time
        return found


def walk(root: Node) -> Iterator[Node]:
    yield root
    for part in root.inner():
        yield from walk(part)


def wrong_at(
    text: str, at: int, what: str, *, facts: Mapping[str, object] | None = None, hint: str | None = None
) -> ExpressionError:
    error = ExpressionError(
        f"Wrong expression at column {at + 1}: {what}",
        facts={"expression": _picture(text, at), **(facts or {})},
        hint=hint,
    )
    error.expression, error.column = text, at + 1
    return error


def _picture(text: str, at: int) -> str:
    """Return the text, or what is around the place if it is long, with a caret under the place."""
    first, last = (0, len(text)) if len(text) <= 100 else (max(0, at - 60), min(len(text), at + 40))
    shown = "".join(char if char.isprintable() else " " for char in text[first:last])
    before = "..." if first else ""
    indent = len(before) + sum(map(_columns, shown[: at - first]))
    return f"{before}{shown}{'...' if last < len(text) else ''}\n{' ' * indent}^"


def _columns(char: str) -> int:
    """Return how many columns of a terminal a character takes."""
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def meant(name: str, names: Iterable[str]) -> str | None:
    near = nearest(name, names)
    return f"Did you mean '{near}'?" if near else None


def listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names if len(names) <= most else [*names[:most], f"... ({len(names)} in all)"])
