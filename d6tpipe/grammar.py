"""The small language that selects tasks, read.

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
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from d6tpipe.expressions import (
    STATES,
    And,
    Comparison,
    Downstream,
    Id,
    InState,
    IsStale,
    Mark,
    Node,
    Not,
    Or,
    Selection,
    Word,
    listed,
    meant,
    wrong_at,
)
from d6tpipe.identity import nearest
from d6tpipe.literals import NUMBER, Literal

__all__ = ["BARE", "KEYWORDS", "parse", "parse_marks"]


def parse(text: str) -> Selection:
    """Return the selection that `text` describes.

    Raises
    ------
    ExpressionError
        If it cannot be read, or names an unknown state; the message has the column and what was expected there.

    Examples
    --------
    >>> parse("lr>=0.1 and not [data_3]")
    parse('lr>=0.1 and not [data_3]')
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


_DEPTH = 50  # parentheses inside each other: each takes five frames of Python's stack
KEYWORDS = ("and", "or", "not")
_SPACE = re.compile(r"\s*")
BARE = re.compile(r"""[^\s"'()\[\]{}<>=!+,;&|^`@][^\s"'()\[\]{}<>=!+,;&|^`]*""")
_SIGN = re.compile(r"[=!<>]+")
_SIGNS = ("=", "==", "!=", "<", "<=", ">", ">=")
_NAME = re.compile(r"\w*")
_BRACKET = re.compile(r"[\[\]]")
_INSTEAD = {"&": "and", "|": "or", ",": "and"}

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
        raise wrong_at(self.text, at, what, facts={"expected": expected} if expected else {}, hint=hint)

    def found(self, token: _Token) -> str:
        return "it ends here" if token.kind == "end" else f"unexpected {self.text[token.start : token.end]!r}"

    # ---- grammar

    def selection(self) -> Selection:
        root = self.either()
        if self.token.kind != "end":
            self.unexpected()
        return Selection(self.text, root)

    def either(self) -> Node:
        return self.chain("or", self.all, Or)

    def all(self) -> Node:
        return self.chain("and", self.negation, And)

    def chain(self, word: str, part: Callable[[], Node], made: type[And | Or]) -> Node:
        parts = [part()]
        while self.token.kind == word:
            self.advance()
            parts.append(part())
        return parts[0] if len(parts) == 1 else made(parts[0].start, parts[-1].end, tuple(parts))

    def negation(self) -> Node:
        start, negated = self.token.start, False
        while self.token.kind == "not":
            negated = not negated
            self.advance()
        node = self.downstream()
        return Not(start, node.end, node) if negated else node

    def downstream(self) -> Node:
        node = self.atom()
        while self.token.kind == "+":
            if self.marks is not None:
                self.fail(self.token.start, "+ has no meaning among marks", hint=_NO_MARK)
            node = node if isinstance(node, Downstream) else Downstream(node.start, self.token.end, node)
            self.advance()
        return node

    def atom(self) -> Node:
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
            return Id(token.start, token.end, token.family, token.value)
        if token.kind == "word" and self.token.kind == "sign":
            return self.comparison(token)
        if not token.value:
            self.fail(token.start, "an empty text is in everything", expected=self.operand)
        if token.kind == "word" and "*" in token.value:
            hint = "A word is found anywhere in a label, no * needed; a text that holds one is put in quotes."
            self.fail(token.start + token.value.index("*"), "unexpected '*'", hint=hint)
        return Word(token.start, token.end, token.value)

    def group(self) -> Node:
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

    def mark(self, token: _Token) -> Node:
        assert self.marks is not None
        if token.kind not in ("word", "text") or self.token.kind == "sign":
            at = self.token.start if token.kind == "word" else token.start
            self.fail(at, "not a mark", expected=self.operand, hint=_NO_MARK)
        if token.value not in self.marks:
            known = sorted(self.marks)
            what, hint = f"there is no mark '{token.value}'", meant(token.value, known)
            raise wrong_at(self.text, token.start, what, facts={"marks": listed(known) or "none"}, hint=hint)
        return Mark(token.start, token.end, token.value)

    def question(self, token: _Token) -> Node:
        if token.value == "stale":
            if self.token.kind == "sign":
                self.fail(self.token.start, "@stale has no value", expected=self.follower)
            return IsStale(token.start, token.end)
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
            what, hint = f"no task is '{value.value}' before a run", meant(name, STATES)
            self.fail(value.start, what, expected=", ".join(STATES), hint=hint)
        return InState(token.start, value.end, name, sign.value == "!=")

    def comparison(self, token: _Token) -> Node:
        path = tuple(token.value.split("."))
        if NUMBER.fullmatch(token.value) or not all(path):
            self.fail(token.start, f"{token.value!r} is no name of a parameter", expected="name=value")
        sign = self.token.value
        value = self.value()
        return Comparison(token.start, value.end, path, sign, Literal(value.value, value.kind == "text"))

    def value(self) -> _Token:
        """Return what stands after a sign, and go on."""
        sign = self.token
        self.advance(value=True)
        token = self.token
        if token.kind not in ("word", "text"):
            expected = f'a value after {sign.value}: a number, a word or "text"'
            self.fail(token.start, self.found(token), expected=expected)
        self.advance()
        return token

    @property
    def follower(self) -> str:
        plus = "+, " if self.marks is None else ""
        return f"{plus}and, or, ) for the ( of column {self.open[-1] + 1}" if self.open else f"{plus}and, or, the end"

    def unexpected(self) -> NoReturn:
        """Say what is wrong with a token after which nothing was missing."""
        token, last, hint = self.token, self.last, None
        shouted = [one.value for one in (token, last) if one.kind == "word" and one.value.lower() in KEYWORDS]
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
        if match := BARE.match(text, start):
            if match.group() in KEYWORDS:
                return _Token(match.group(), start, match.end())
            if text.startswith("[", match.end()):
                return self.id(start, match.end())
            return _Token("word", start, match.end(), match.group())
        hint = f"Write {_INSTEAD[first]}." if first in _INSTEAD else "A text that holds it is put in quotes."
        self.fail(start, f"unexpected {first!r}", hint=hint)

    def plain_value(self, start: int) -> _Token | None:
        match = NUMBER.match(self.text, start)
        if match is None or BARE.match(self.text, match.end()):
            match = BARE.match(self.text, start)
        if match is None:
            return None
        if match.group() in KEYWORDS:
            word = match.group()
            self.fail(start, f"unexpected {word!r}", expected=f"""a value; if {word} is the value: "{word}\"""")
        return _Token("word", start, match.end(), match.group())

    def id(self, start: int, bracket: int) -> _Token:
        """Return the token of an id, whose brackets may hold brackets in pairs."""
        depth = 0
        for match in _BRACKET.finditer(self.text, bracket):
            depth += 1 if match.group() == "[" else -1
            if depth == 0:
                if match.start() == bracket + 1:
                    self.fail(bracket, "there is no id in the brackets", expected="[id]")
                inside = self.text[bracket + 1 : match.start()]
                return _Token("id", start, match.end(), inside, self.text[start:bracket])
        self.fail(bracket, "the bracket is not closed", expected="] after the id")
