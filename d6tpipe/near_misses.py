"""What was probably meant by a selection that selects nothing."""

from __future__ import annotations

import difflib
import functools
import heapq
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from d6tpipe.errors import ExpressionError
from d6tpipe.expressions import (
    MISSING,
    And,
    Downstream,
    Id,
    Look,
    Node,
    Not,
    Or,
    Selection,
    Word,
    walk,
)
from d6tpipe.grammar import BARE, KEYWORDS, parse

__all__ = ["near_misses"]

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
    look, everything = Look(selection, world), set(range(world.size))
    missed = [node for node in _wanted(selection._root) if not node.within(look, everything)][:_ATOMS]
    rewrite = _rewritten(selection, missed, world)
    found = [] if rewrite is None else [rewrite]
    near = [world.near_word(node.text) if isinstance(node, Word) else world.near_id(node) for node in missed]
    for label in itertools.chain.from_iterable(itertools.zip_longest(*map(world.typed, near))):
        if label is not None and label not in found:
            found.append(label)
    return found[:limit]


def _wanted(node: Node) -> Iterator[Word | Id]:
    """Yield the words and ids that a task has to have, not those that it must not have."""
    if isinstance(node, (Word, Id)):
        yield node
    elif not isinstance(node, Not):
        for part in node.inner():
            yield from _wanted(part)


def _rewritten(selection: Selection, missed: Sequence[Word | Id], world: _Labels) -> str | None:
    """Return the expression with words taken apart, or None if labels do not tell that it selects something."""
    text, words = selection.text, [node for node in missed if isinstance(node, Word)]
    taken = [(node, apart) for node in words if (apart := world.apart(node.text)) is not None]
    if not taken or any(not isinstance(node, (Word, Id, Downstream, And, Or)) for node in walk(selection._root)):
        return None
    if selection._root == taken[0][0]:
        return taken[0][1]
    for node, apart in sorted(taken, key=lambda pair: -pair[0].start):
        text = f"{text[: node.start]}({apart}){text[node.end :]}"
    again = _read(text)
    return text if again is not None and again.evaluate(world) else None


def _read(text: str) -> Selection | None:
    try:
        return parse(text)
    except ExpressionError:  # a label that is no expression; one parenthesis too many inside each other
        return None


def _quoted(text: str) -> str | None:
    """Return how to write a word, or None if it cannot be written."""
    match = BARE.fullmatch(text)
    if match and text not in KEYWORDS and "*" not in text:
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
            read = _read(label)
            written = label if read is not None and isinstance(read._root, Id) else _quoted(label)
            if written is not None:
                found.append(written)
        return found

    def near_word(self, word: str) -> list[int]:
        """Return labels that hold the parts of a word in another order; if none does, those with a similar word."""
        return self.reordered(word) or _similar(word.casefold(), self.folded, _windows, 0.7)

    def near_id(self, node: Id) -> list[int]:
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
