"""The small language that selects tasks: read, evaluated over a whole collection at once, near misses.

::

    selection   conjunction ("or" conjunction)*
    conjunction negation ("and" negation)*
    negation    "not"* downstream
    downstream  atom "+"*                        with everything downstream of it
    atom        "(" selection ")"
                word, "text", 'text'             part of the label, a mark or a tag; case does not matter
                [id], Class[id], pkg.Class[id]   exactly this id, exactly this class
                name=value                       = == != < <= > >= by the type of the parameter
                @state=failed, @stale            = == != for the state

Keywords are written in lower case. A text in quotes holds anything but that quote; there are no escapes. Expressions
of marks (`parse_marks`) have the same words and parentheses, and whole names of marks as their only atoms.

What the tasks are is the caller's business: it hands a `World`, which is asked for nothing that the expression has no
use for.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import heapq
import itertools
import numbers
import operator
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, NoReturn, Protocol

from d6tpipe.errors import ExpressionError
from d6tpipe.identity import nearest

__all__ = ["MISSING", "STATES", "IndexedWorld", "Selection", "World", "near_misses", "parse", "parse_marks"]

STATES: Final = (
    "pending", "ready", "running", "built", "fresh", "cached", "frozen", "stale", "skipped", "no_output", "failed",
    "upstream_failed", "cancelled", "timeout", "missing",
)  # fmt: skip
"""What ``@state=`` may be compared with."""


class _Missing:
    """Type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What `World.parameter` returns for a task that has no such parameter."""


class World(Protocol):
    """The tasks that a selection chooses from, numbered from 0; only what an expression uses is asked for."""

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


class IndexedWorld(World, Protocol):
    """A `World` that finds an id without looking at every task."""

    def index_of_id(self, id: str) -> Collection[int]:
        """Return the tasks that have this id."""


@dataclass(frozen=True, repr=False)
class Selection:
    """An expression that has been read; made by `parse` and `parse_marks`. Equal if the same is asked for."""

    text: str = field(compare=False)
    _root: _Node

    def __repr__(self) -> str:
        marks = sorted({node.name for node in _walk(self._root) if isinstance(node, _Mark)})
        return f"parse_marks({self.text!r}, {marks!r})" if marks else f"parse({self.text!r})"

    @property
    def needs_states(self) -> bool:
        """Whether the state of tasks, or whether they are stale, will be asked for."""
        return any(isinstance(node, (_State, _Stale)) for node in _walk(self._root))

    @property
    def needs_graph(self) -> bool:
        """Whether what is downstream of tasks will be asked for."""
        return any(isinstance(node, _Downstream) for node in _walk(self._root))

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
        ``a or b`` only for what a has not taken. An exact id costs no pass in an `IndexedWorld`.
        """
        items = set(range(world.size)) if among is None else set(among)
        return self._root.within(_Look(self, world), items)


def parse(text: str) -> Selection:
    """Return the selection that `text` describes.

    Raises
    ------
    ExpressionError
        If it cannot be read, or names an unknown state; the message has the column and what was expected there.

    Examples
    --------
    >>> parse("lr>=0.1 and not [data_3]").needs_states
    False
    """
    return _Parser(text, None).selection()


def parse_marks(text: str, known: Iterable[str]) -> Selection:
    """Return the selection that an expression of marks describes: ``costly and not slow``.

    Parameters
    ----------
    text : str
    known : iterable of str
        The marks that exist. Another one is an error: a misspelt mark selects nothing, or with ``not`` everything.

    Raises
    ------
    ExpressionError
        If it cannot be read or names an unknown mark; the message has the column and the nearest mark.
    """
    return _Parser(text, frozenset(known)).selection()


# ------------------------------------------------------------------------------------------- what was read


class _Look:
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
        if sum(isinstance(node, _Id) for node in _walk(self.selection._root)) < 2:
            return None
        found: dict[str, list[int]] = {}
        for item in range(self.world.size):
            for id in self.world.ids(item):
                found.setdefault(id, []).append(item)
        return lambda id: found.get(id, ())


@dataclass(frozen=True)
class _Node:
    """Part of an expression; where it stands in the text does not make it another one."""

    start: int = field(compare=False)
    end: int = field(compare=False)

    def within(self, look: _Look, items: set[int]) -> set[int]:
        """Return those of `items` that are selected; `items` is not changed, the result may be `items` itself."""
        raise NotImplementedError

    def inner(self) -> tuple[_Node, ...]:
        return ()


@dataclass(frozen=True)
class _Word(_Node):
    text: str

    def within(self, look: _Look, items: set[int]) -> set[int]:
        needle, text = self.text.casefold(), look.text
        return {item for item in items if needle in text(item)} if "\0" not in needle else set()


@dataclass(frozen=True)
class _Mark(_Node):
    name: str

    def within(self, look: _Look, items: set[int]) -> set[int]:
        name, marks = self.name, look.world.marks
        return {item for item in items if name in marks(item)}


@dataclass(frozen=True)
class _Id(_Node):
    family: str
    id: str

    def within(self, look: _Look, items: set[int]) -> set[int]:
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
class _State(_Node):
    name: str
    other: bool  # @state!=name

    def within(self, look: _Look, items: set[int]) -> set[int]:
        name, state, other = self.name, look.state, self.other
        return {item for item in items if (state(item) == name) is not other}


@dataclass(frozen=True)
class _Stale(_Node):
    def within(self, look: _Look, items: set[int]) -> set[int]:
        stale = look.stale
        return {item for item in items if stale(item)}


@dataclass(frozen=True)
class _Comparison(_Node):
    path: tuple[str, ...]
    sign: str
    literal: _Literal

    def within(self, look: _Look, items: set[int]) -> set[int]:
        parameter, path, holds = look.world.parameter, self.path, self.literal.test(self.sign)
        found, anybody = set(), not items
        for item in items:
            value = parameter(item, path)
            if value is not MISSING:
                anybody = True
                try:
                    if holds(value):
                        found.add(item)
                except _NoOrder as reason:
                    raise self.no_order(look, value, str(reason)) from None
        if not anybody and not self.is_known(look.world, items):
            raise self.unknown(look)
        return found

    def is_known(self, world: World, asked: set[int]) -> bool:
        """Return whether a task that was not `asked` has the parameter: then it is not misspelt."""
        rest = (item for item in range(world.size) if item not in asked)
        return any(world.parameter(item, self.path) is not MISSING for item in rest)

    def unknown(self, look: _Look) -> ExpressionError:
        name, names = ".".join(self.path), sorted(set(look.world.parameter_names()))
        near = nearest(name, names)
        return _wrong(
            look.selection.text,
            self.start,
            f"no task has a parameter '{name}'",
            facts={"parameters": _listed(names)} if names else {},
            hint=f"Did you mean '{near}'?" if near else f"""To look for the text, put it in quotes: "{name}".""",
        )

    def no_order(self, look: _Look, value: Any, reason: str) -> ExpressionError:
        name = ".".join(self.path)
        return _wrong(
            look.selection.text,
            self.start,
            f"{self.sign} cannot compare parameter '{name}' with {self.literal.text!r}",
            facts={name: f"{value!r} ({type(value).__name__})", "compared by": reason},
            hint="If only some tasks have such a value, name the others first: Class and ...",
        )


@dataclass(frozen=True)
class _Downstream(_Node):
    of: _Node

    def within(self, look: _Look, items: set[int]) -> set[int]:
        # Of anything, be it in `items` or not: what is downstream of it may be.
        roots = self.of.within(look, set(range(look.world.size)))
        return (roots | look.world.downstream(roots)) & items if roots else set()

    def inner(self) -> tuple[_Node, ...]:
        return (self.of,)


@dataclass(frozen=True)
class _Not(_Node):
    of: _Node

    def within(self, look: _Look, items: set[int]) -> set[int]:
        return items - self.of.within(look, items)

    def inner(self) -> tuple[_Node, ...]:
        return (self.of,)


@dataclass(frozen=True)
class _And(_Node):
    parts: tuple[_Node, ...]

    def inner(self) -> tuple[_Node, ...]:
        return self.parts

    def within(self, look: _Look, items: set[int]) -> set[int]:
        for part in self.parts:
            if not items:
                break
            items = part.within(look, items)
        return items


@dataclass(frozen=True)
class _Or(_Node):
    parts: tuple[_Node, ...]

    def inner(self) -> tuple[_Node, ...]:
        return self.parts

    def within(self, look: _Look, items: set[int]) -> set[int]:
        found, rest = set(), set(items)
        for part in self.parts:
            if not rest:
                break
            taken = part.within(look, rest)
            found |= taken
            rest -= taken  # in place: thousands of ids over many tasks must not copy the rest each time
        return found


def _walk(root: _Node) -> Iterator[_Node]:
    yield root
    for part in root.inner():
        yield from _walk(part)


# ------------------------------------------------------------------------------------------- comparing values


class _NoOrder(Exception):
    """A value cannot be ordered against what was written; the text tells what it is compared by."""


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_DIGITS = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
# Not fromisoformat: what it takes differs between Python 3.10 and 3.11, and it knows no months and no hours alone.
_MOMENT = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:[T ]([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
)


@dataclass(frozen=True)
class _Literal:
    """A value as it was written. What it is follows from the value of the parameter that it is compared with."""

    text: str
    quoted: bool

    @functools.cached_property
    def number(self) -> int | float | None:
        try:
            return int(self.text) if re.fullmatch(r"[+-]?[0-9]+", self.text) else self._float
        except ValueError:  # more digits than Python converts
            return self._float

    @property
    def _float(self) -> float | None:
        is_number = _NUMBER.fullmatch(self.text) or self.text.lower() in _NO_DIGITS
        return float(self.text) if is_number else None

    @functools.cached_property
    def decimal(self) -> Decimal | None:
        try:
            return None if self.number is None else Decimal(self.text)
        except InvalidOperation:
            return Decimal(self.number or 0)

    @functools.cached_property
    def moment(self) -> datetime.datetime | None:
        """The start of the year, month, day, hour, minute or second that is written."""
        match = _MOMENT.fullmatch(self.text)
        if match is None:
            return None
        year, month, day, hour, minute, second, fraction = match.groups(default="")
        try:
            clock = (int(hour or 0), int(minute or 0), int(second or 0), int(fraction.ljust(6, "0")))
            return datetime.datetime(int(year), int(month or 1), int(day or 1), *clock)
        except ValueError:
            return None

    def test(self, sign: str) -> Callable[[Any], bool]:
        """Return what tells of a value whether the comparison holds."""
        if sign in _ORDER:
            return functools.partial(self.orders, _ORDER[sign])
        return (lambda value: not self.equals(value)) if sign == "!=" else self.equals

    def equals(self, value: Any) -> bool:
        """Return whether this is the value, or its text."""
        if isinstance(value, Enum):
            return self.text in (value.name, str(value)) or self.equals(value.value)
        if isinstance(value, str):
            return value == self.text
        if value is None:
            return self.text.lower() in ("none", "null")
        if isinstance(value, bool):
            return _TRUTH.get(self.text.lower()) is value
        if isinstance(value, PurePath):
            return value == type(value)(self.text)
        return self._same(value) or str(value) == self.text

    def _same(self, value: Any) -> bool:
        if isinstance(value, (int, float)):
            number = self.number
            return value == number if number is None or number == number else value != value
        if isinstance(value, Decimal):
            return value == self.decimal
        if isinstance(value, numbers.Number):  # those of numpy, fractions
            return bool(value == self.number)
        if isinstance(value, datetime.date):
            return self.moment is not None and bool(_moment(value) == self._near(value))
        return isinstance(value, datetime.timedelta) and value.total_seconds() == self.number

    def orders(self, compare: Callable[[Any, Any], bool], value: Any) -> bool:
        """Return whether `value` stands on the right side of this; None stands on neither.

        Raises
        ------
        _NoOrder
            If there is no order between the two.
        """
        if isinstance(value, Enum):
            return self.orders(compare, value.value)
        if value is None:
            return False
        if isinstance(value, (str, PurePath)):
            if not self.quoted and _NUMBER.fullmatch(self.text):
                raise _NoOrder(f'text; to compare with the text of a number, put it in quotes: "{self.text}"')
            return compare(str(value), self.text)
        if isinstance(value, bool):
            raise _NoOrder("= and != only")
        if isinstance(value, (numbers.Real, Decimal)):
            mine = self.decimal if isinstance(value, Decimal) else self.number
            if mine is None:
                raise _NoOrder("number")
            try:
                return bool(compare(value, mine))
            except InvalidOperation:  # a Decimal that is no number
                return False
        if isinstance(value, datetime.date):
            if self.moment is None:
                raise _NoOrder("date, such as 2020-01-31 or 2020-01-31T12:30")
            return bool(compare(_moment(value), self._near(value)))
        if isinstance(value, datetime.timedelta):
            if self.number is None:
                raise _NoOrder("number of seconds")
            return compare(value.total_seconds(), self.number)
        raise _NoOrder("= and != only")

    def _near(self, value: datetime.date) -> datetime.datetime | None:
        """Return the moment, in the time zone of `value` if that has one."""
        zone = getattr(value, "tzinfo", None)
        return self.moment.replace(tzinfo=zone) if zone is not None and self.moment is not None else self.moment


def _moment(value: datetime.date) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime(value.year, value.month, value.day)


# ------------------------------------------------------------------------------------------- reading

_DEPTH = 50  # parentheses inside each other: each takes five frames of Python's stack
_KEYWORDS = ("and", "or", "not")
_SPACE = re.compile(r"\s*")
_BARE = re.compile(r"""[^\s"'()\[\]{}<>=!+,;&|^`@][^\s"'()\[\]{}<>=!+,;&|^`]*""")
_SIGN = re.compile(r"[=!<>]+")
_SIGNS = ("=", "==", "!=", "<", "<=", ">", ">=")
_NAME = re.compile(r"\w*")
_INSTEAD = {"&": "and", "|": "or", "!": "not", ",": "and", "^": "not", "~": "not"}

_OPERAND = 'a word, "text", [id], Class[id], name=value, @state=..., @stale, not or ('
_MARK_OPERAND = "the name of a mark, not or ("
_NO_MARK = "Marks have a name and nothing else; the rest goes into the selection (select, -k)."


@dataclass(frozen=True)
class _Token:
    """One piece of the text; `value` is what it says, for an id preceded by the class."""

    kind: str  # a keyword, ( ) +, "word", "text", "id", "sign", "@", "end"
    start: int
    end: int
    value: str = ""
    family: str = ""


class _Parser:
    """Reads one expression, one token ahead; the first thing that is wrong is the one that is told."""

    def __init__(self, text: str, marks: frozenset[str] | None) -> None:
        self.text, self.marks = text, marks
        self.open: list[int] = []
        self.last = _Token("end", 0, 0)
        self.token = self.last
        if not text.strip():
            self.fail(0, "it is empty", expected=self.operand)
        self.advance()

    @property
    def operand(self) -> str:
        return _OPERAND if self.marks is None else _MARK_OPERAND

    def fail(self, at: int, what: str, *, expected: str = "", hint: str | None = None) -> NoReturn:
        raise _wrong(self.text, at, what, facts={"expected": expected} if expected else {}, hint=hint)

    def found(self, token: _Token) -> str:
        return "it ends here" if token.kind == "end" else f"unexpected {self.text[token.start : token.end]!r}"

    # ---- grammar

    def selection(self) -> Selection:
        root = self.either()
        if self.token.kind != "end":
            self.unexpected()
        return Selection(self.text, root)

    def either(self) -> _Node:
        return self.chain("or", self.all, _Or)

    def all(self) -> _Node:
        return self.chain("and", self.negation, _And)

    def chain(self, word: str, part: Callable[[], _Node], made: type[_And | _Or]) -> _Node:
        parts = [part()]
        while self.token.kind == word:
            self.advance()
            parts.append(part())
        return parts[0] if len(parts) == 1 else made(parts[0].start, parts[-1].end, tuple(parts))

    def negation(self) -> _Node:
        start, negated = self.token.start, False
        while self.token.kind == "not":
            negated = not negated
            self.advance()
        node = self.downstream()
        return _Not(start, node.end, node) if negated else node

    def downstream(self) -> _Node:
        node = self.atom()
        while self.token.kind == "+":
            if self.marks is not None:
                self.fail(self.token.start, "+ has no meaning among marks", hint=_NO_MARK)
            node = node if isinstance(node, _Downstream) else _Downstream(node.start, self.token.end, node)
            self.advance()
        return node

    def atom(self) -> _Node:
        token = self.token
        if token.kind == "(":
            return self.group()
        if token.kind not in ("word", "text", "id", "@"):
            self.fail(token.start, self.found(token), expected=self.operand)
        self.advance()
        if self.marks is not None:
            return self.mark(token)
        if token.kind == "@":
            return self.question(token)
        if token.kind == "id":
            return _Id(token.start, token.end, token.family, token.value)
        if token.kind == "word" and self.token.kind == "sign":
            return self.comparison(token)
        if not token.value:
            self.fail(token.start, "an empty text is in everything", expected=self.operand)
        if token.kind == "word" and "*" in token.value:
            self.fail(
                token.start + token.value.index("*"),
                "unexpected '*'",
                hint="A word is found anywhere in a label, no * needed; a text that holds one is put in quotes.",
            )
        return _Word(token.start, token.end, token.value)

    def group(self) -> _Node:
        start = self.token.start
        if len(self.open) == _DEPTH:
            self.fail(start, f"more than {_DEPTH} parentheses inside each other")
        self.open.append(start)
        self.advance()
        node = self.either()
        if self.token.kind != ")":
            self.unexpected()
        self.open.pop()
        self.advance()
        return node

    def mark(self, token: _Token) -> _Node:
        assert self.marks is not None
        if token.kind not in ("word", "text") or self.token.kind == "sign":
            at = self.token.start if token.kind == "word" else token.start
            self.fail(at, "not a mark", expected=self.operand, hint=_NO_MARK)
        if token.value not in self.marks:
            near = nearest(token.value, sorted(self.marks))
            raise _wrong(
                self.text,
                token.start,
                f"there is no mark '{token.value}'",
                facts={"marks": _listed(sorted(self.marks)) or "none"},
                hint=f"Did you mean '{near}'?" if near else None,
            )
        return _Mark(token.start, token.end, token.value)

    def question(self, token: _Token) -> _Node:
        if token.value == "stale":
            if self.token.kind == "sign":
                self.fail(self.token.start, "@stale has no value", expected=self.follower)
            return _Stale(token.start, token.end)
        if token.value != "state":
            near = nearest(token.value, ("state", "stale"))
            hint = f"Did you mean '@{near}'?" if near else None
            self.fail(token.start, f"there is no '@{token.value}'", expected="@state=... or @stale", hint=hint)
        sign = self.token
        if sign.value not in ("=", "==", "!="):
            self.fail(sign.start, "@state is not compared", expected="=, == or !=")
        value = self.value()
        name = value.value.lower()
        if name not in STATES:
            near = nearest(name, STATES)
            self.fail(
                value.start,
                f"there is no state '{value.value}'",
                expected=", ".join(STATES),
                hint=f"Did you mean '{near}'?" if near else None,
            )
        return _State(token.start, value.end, name, sign.value == "!=")

    def comparison(self, token: _Token) -> _Node:
        path = tuple(token.value.split("."))
        if _NUMBER.fullmatch(token.value) or not all(path):
            self.fail(token.start, f"{token.value!r} is no name of a parameter", expected="name=value")
        sign = self.token.value
        value = self.value()
        return _Comparison(token.start, value.end, path, sign, _Literal(value.value, value.kind == "text"))

    def value(self) -> _Token:
        """Return what stands after a sign, and go on."""
        sign = self.token
        self.advance(value=True)
        token = self.token
        if token.kind not in ("word", "text"):
            self.fail(
                token.start, self.found(token), expected=f"""a value after {sign.value}: a number, a word or "text\""""
            )
        self.advance()
        return token

    @property
    def follower(self) -> str:
        plus = "+, " if self.marks is None else ""
        return f"{plus}and, or, ) for the ( of column {self.open[-1] + 1}" if self.open else f"{plus}and, or, the end"

    def unexpected(self) -> NoReturn:
        """Say what is wrong with a token after which nothing was missing."""
        token, last, hint = self.token, self.last, None
        shouted = [one.value for one in (token, last) if one.kind == "word" and one.value.lower() in _KEYWORDS]
        if shouted:
            hint = f"Keywords are written in lower case: {shouted[0].lower()}."
        elif token.kind == "id" and last.kind == "word":
            hint = "There is no blank between a class and its [id]."
        elif token.kind == "sign" and last.kind == "text":
            hint = "The name of a parameter is written without quotes."
        elif token.kind == "sign":
            hint = "One comparison at a time: low<x and x<high. Ids with such signs are put in brackets: [lr=0.1,n=3]."
        elif token.kind in ("word", "text", "id"):
            hint = "A text that holds blanks or signs is put in quotes."
        self.fail(token.start, self.found(token), expected=self.follower, hint=hint)

    # ---- tokens

    def advance(self, *, value: bool = False) -> None:
        self.last, self.token = self.token, self.scan(value)

    def scan(self, value: bool) -> _Token:
        """Return the next token; where a `value` is due, a number may hold a + and no word is a keyword."""
        text = self.text
        start = _SPACE.match(text, self.token.end).end()  # type: ignore[union-attr]
        if start == len(text):
            return _Token("end", start, start)
        first = text[start]
        if value and (found := self.plain_value(start)) is not None:
            return found
        if first in "()+":
            return _Token(first, start, start + 1)
        if first in "\"'":
            end = text.find(first, start + 1)
            if end < 0:
                self.fail(start, "the quote is not closed", expected=f"{first} at the end of the text")
            return _Token("text", start, end + 1, text[start + 1 : end])
        if first == "[":
            return self.id(start, start)
        if match := _SIGN.match(text, start):
            if match.group() not in _SIGNS:
                hint = "Write not." if match.group() == "!" else None
                self.fail(start, f"unexpected {match.group()!r}", expected=", ".join(_SIGNS), hint=hint)
            return _Token("sign", start, match.end(), match.group())
        if first == "@":
            end = _NAME.match(text, start + 1).end()  # type: ignore[union-attr]
            return _Token("@", start, end, text[start + 1 : end])
        if match := _BARE.match(text, start):
            if match.group() in _KEYWORDS:
                return _Token(match.group(), start, match.end())
            if text.startswith("[", match.end()):
                return self.id(start, match.end())
            return _Token("word", start, match.end(), match.group())
        hint = f"Write {_INSTEAD[first]}." if first in _INSTEAD else "A text that holds it is put in quotes."
        self.fail(start, f"unexpected {first!r}", hint=hint)

    def plain_value(self, start: int) -> _Token | None:
        match = _NUMBER.match(self.text, start)
        if match is None or _BARE.match(self.text, match.end()):
            match = _BARE.match(self.text, start)
        if match is None:
            return None
        if match.group() in _KEYWORDS:
            word = match.group()
            self.fail(start, f"unexpected {word!r}", expected=f"""a value; if {word} is the value: "{word}\"""")
        return _Token("word", start, match.end(), match.group())

    def id(self, start: int, bracket: int) -> _Token:
        """Return the token of an id, whose brackets may hold brackets in pairs."""
        depth = 0
        for match in re.compile(r"[\[\]]").finditer(self.text, bracket):
            depth += 1 if match.group() == "[" else -1
            if depth == 0:
                if match.start() == bracket + 1:
                    self.fail(bracket, "there is no id in the brackets", expected="[id]")
                inside = self.text[bracket + 1 : match.start()]
                return _Token("id", start, match.end(), inside, self.text[start:bracket])
        self.fail(bracket, "the bracket is not closed", expected="] after the id")


def _wrong(
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


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names if len(names) <= most else [*names[:most], f"... ({len(names)} in all)"])


# ------------------------------------------------------------------------------------------- near misses

_ATOMS = 3  # how many misses of one expression are looked into
_CLOSELY = 200  # how many labels are compared letter by letter
_GRAMS = 16  # how many pieces of a word are looked for in every label
_LONGEST = 200  # longer words are no typos
_TOKEN = re.compile(r"[^\W_]+")


def near_misses(selection: Selection, labels: Iterable[str], limit: int = 5) -> list[str]:
    """Return what may have been meant by a selection that has selected nothing.

    Parameters
    ----------
    selection : Selection
    labels : iterable of str
        Labels of all tasks: ``module.Class[id]``.
    limit : int
        How many suggestions, at most.

    Returns
    -------
    list of str
        Expressions. First the one given with words taken apart, if their parts are in a label in another order:
        ``a_b and data_0`` for ``data_0_a_b``; it is there only if it selects something. Then labels, the nearest first.
        Empty if nothing is near, or if what the expression asks for is not about labels.

    Notes
    -----
    Linear in the number of labels, less than a second for 100,000. Words are looked for in labels only: for one that is
    a mark, nothing near is found.
    """
    world = _Labels(labels)
    look, everything = _Look(selection, world), set(range(world.size))
    missed = [node for node in _wanted(selection._root) if not node.within(look, everything)][:_ATOMS]
    rewrite = _rewritten(selection, missed, world)
    found = [] if rewrite is None else [rewrite]
    near = [world.near_word(node.text) if isinstance(node, _Word) else world.near_id(node) for node in missed]
    for label in itertools.chain.from_iterable(itertools.zip_longest(*map(world.typed, near))):
        if label is not None and label not in found:
            found.append(label)
    return found[:limit]


def _wanted(node: _Node) -> Iterator[_Word | _Id]:
    """Yield the words and ids that a task has to have, not those that it must not have."""
    if isinstance(node, (_Word, _Id)):
        yield node
    elif not isinstance(node, _Not):
        for part in node.inner():
            yield from _wanted(part)


def _rewritten(selection: Selection, missed: Sequence[_Word | _Id], world: _Labels) -> str | None:
    """Return the expression with words taken apart, or None if labels do not tell that it selects something."""
    text, words = selection.text, [node for node in missed if isinstance(node, _Word)]
    taken = [(node, apart) for node in words if (apart := world.apart(node.text)) is not None]
    if not taken or any(not isinstance(node, (_Word, _Id, _Downstream, _And, _Or)) for node in _walk(selection._root)):
        return None
    if selection._root == taken[0][0]:
        return taken[0][1]
    for node, apart in sorted(taken, key=lambda pair: -pair[0].start):
        text = f"{text[: node.start]}({apart}){text[node.end :]}"
    return text if _reads(text) and parse(text).evaluate(world) else None


def _reads(text: str) -> bool:
    try:
        parse(text)
    except ExpressionError:  # one parenthesis too many inside each other
        return False
    return True


def _quoted(text: str) -> str | None:
    """Return how to write a word, or None if it cannot be written."""
    match = _BARE.fullmatch(text)
    if match and text not in _KEYWORDS and "*" not in text:
        return text
    return next((f"{quote}{text}{quote}" for quote in "\"'" if quote not in text), None)


class _Labels:
    """The world as far as labels tell."""

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = list(labels)
        self.folded = [label.casefold() for label in self.labels]
        self.reordered = functools.cache(lambda word: _reordered(word.casefold(), self.folded))

    # ---- as a World

    @property
    def size(self) -> int:
        return len(self.labels)

    def words(self, item: int) -> Iterable[str]:
        return (self.labels[item],)

    def ids(self, item: int) -> Collection[str]:
        _, _, tail = self.labels[item].partition("[")
        return (tail[:-1],) if tail.endswith("]") else ()

    def module(self, item: int) -> str:
        return self.labels[item].partition("[")[0].rpartition(".")[0]

    def family(self, item: int) -> str:
        return self.labels[item].partition("[")[0].rpartition(".")[2]

    def index_of_id(self, id: str) -> Collection[int]:
        return self._index.get(id, ())

    @functools.cached_property
    def _index(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for item in range(self.size):
            for id in self.ids(item):
                found.setdefault(id, []).append(item)
        return found

    def marks(self, item: int) -> Collection[str]:
        return ()

    def parameter(self, item: int, path: Sequence[str]) -> Any:
        return MISSING

    def parameter_names(self) -> Iterable[str]:
        return ()

    def state(self, item: int) -> str:
        return ""

    def stale(self, item: int) -> bool:
        return False

    def downstream(self, items: set[int]) -> set[int]:
        return items

    # ---- what is near

    def typed(self, items: Iterable[int]) -> list[str]:
        """Return the labels as expressions that select them."""
        found = []
        for item in items:
            label = self.labels[item]
            if self.ids(item) and _reads(label) and isinstance(parse(label)._root, _Id):
                found.append(label)
            elif (written := _quoted(label)) is not None:
                found.append(written)
        return found

    def near_word(self, word: str) -> list[int]:
        """Return labels that hold the parts of a word in another order; if none does, those with a similar word."""
        return self.reordered(word) or _similar(word.casefold(), self.folded, _windows, 0.7)

    def near_id(self, node: _Id) -> list[int]:
        """Return labels with this id on another class, then with its parts in another order or else a similar id."""
        ids = [id.casefold() for id in self._index]
        asked, exact = node.id.casefold(), list(self._index)
        near = _reordered(asked, ids) or _similar(asked, ids, lambda id, _: [id], 0.6)
        found = [*self._index.get(node.id, ()), *(item for place in near for item in self._index[exact[place]])]
        if node.family:  # those of the class that was asked for first, then the nearest class
            name = node.family.rpartition(".")[2]
            found = found[:_CLOSELY]
            alike = {item: _ratio(name.casefold(), self.family(item).casefold()) for item in found}
            found.sort(key=lambda item: (self.labels[item].partition("[")[2] != f"{node.id}]", -alike[item]))
        return found

    def apart(self, word: str) -> str | None:
        """Return a word as ``a and b``: its longest parts that are all in one label; None if there is no such label."""
        places = [match.span() for match in _TOKEN.finditer(word)]
        label = next((self.folded[item] for item in self.reordered(word)), None)
        if label is None:
            return None
        parts: list[str] = []
        while places:
            count = len(places)
            while count and word[places[0][0] : places[count - 1][1]].casefold() not in label:
                count -= 1
            if not count:
                return None
            part = _quoted(word[places[0][0] : places[count - 1][1]])
            if part is None:
                return None
            parts.append(part)
            del places[:count]
        return " and ".join(dict.fromkeys(parts))


def _reordered(asked: str, names: Sequence[str]) -> list[int]:
    """Return the names that have every word of `asked`, in whatever order; the shortest first."""
    tokens = list(dict.fromkeys(_TOKEN.findall(asked)))
    if not 2 <= len(tokens) <= _GRAMS:
        return []
    places: Iterable[int] = range(len(names))
    for token in tokens:
        places = [place for place in places if token in names[place]]
    whole = [place for place in places if set(tokens).issubset(_TOKEN.findall(names[place]))]
    return heapq.nsmallest(_CLOSELY, whole, key=lambda place: len(names[place]))


def _similar(asked: str, names: Sequence[str], parts: Callable[[str, int], Iterable[str]], cutoff: float) -> list[int]:
    """Return the names one of whose `parts` is like `asked`, the nearest first.

    Only the names that share most pieces of two or three letters with `asked` are compared letter by letter: difflib
    over 100,000 names takes seconds.
    """
    if len(asked) > _LONGEST:
        return []
    size = 2 if len(asked) < 6 else 3
    grams = list(dict.fromkeys(asked[at : at + size] for at in range(len(asked) - size + 1)))
    grams = grams[:: -(-len(grams) // _GRAMS)] if grams else []
    scores = [0] * len(names)
    for gram in grams:
        for place, name in enumerate(names):
            if gram in name:
                scores[place] += 1
    shared = heapq.nlargest(_CLOSELY, range(len(names)), key=lambda place: (scores[place], -len(names[place])))
    count = len(_TOKEN.findall(asked))
    rated = {
        place: max((_ratio(asked, part) for part in parts(names[place], count)), default=0.0)
        for place in shared
        if scores[place]
    }
    return sorted((place for place in rated if rated[place] >= cutoff), key=lambda place: -rated[place])


def _windows(label: str, count: int) -> Iterator[str]:
    """Yield the pieces of a label that are about as many words long."""
    spans = [match.span() for match in _TOKEN.finditer(label)]
    for width in {max(1, count), count + 1}:
        for at in range(len(spans) - width + 1):
            yield label[spans[at][0] : spans[at + width - 1][1]]


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
