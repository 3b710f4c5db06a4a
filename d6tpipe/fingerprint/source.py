"""Source of functions: the text to show, and a hash that no version of Python changes."""

from __future__ import annotations

import ast
import copy
import linecache
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, TypeVar

from d6tpipe.fingerprint.bytecode import MEMO_SIZE, code_of, digest

__all__ = ["CARRIED", "Source", "file_of", "same_source", "source_of", "undisturbed"]

CARRIED = "<dynamic-code>"
"""What the code of a function that was carried by value names as its file."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HAVE_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Not compared: what the bytecode does not show either, and what differs between versions.
_LEFT_OUT = frozenset(["annotation", "ctx", "kind", "returns", "type_comment", "type_params"])

_Result = TypeVar("_Result")

# file -> (its lines when it was read, {(name, hash, globals) of a function: {first line: Source}})
_files: dict[str, tuple[list[str], Any]] = {}


def file_of(function: FunctionType) -> str:
    """Return the file that a function was written in, as far as it says.

    One that cloudpickle (3.1.3 and later) has carried by value has lost it: its code names no file, so that equal
    functions make equal pickles. The globals it came with still do.
    """
    file = function.__code__.co_filename
    return str(function.__globals__.get("__file__") or file) if file == CARRIED else file


def source_of(function: FunctionType) -> Source | None:
    """Return the source of a function, or None if it is not there.

    The file may have been edited since it was imported: what is returned compiles to the code that `function` has.
    """
    code, file = function.__code__, file_of(function)
    linecache.checkcache(file)
    lines = linecache.getlines(file, function.__globals__)
    known = _files.get(file)
    if known is None or known[0] is not lines:
        if len(_files) > MEMO_SIZE:
            _files.clear()
        known = _files[file] = lines, _index("".join(lines), file)
    found = known[1].get(_key(code), {})
    if code.co_firstlineno in found:
        return found[code.co_firstlineno]
    return next(iter(found.values())) if len(found) == 1 else None


_TRIES = 5


def undisturbed(call: Callable[[], _Result]) -> _Result:
    """Call what parses code, again if another thread has disturbed it.

    Up to Python 3.12 threads share the counter of how deep a tree is (python/cpython#106905): where one makes way for
    another in the middle, both may find it wrong and raise SystemError. Tracebacks are written with the parser, too.
    """
    for _ in range(_TRIES - 1):
        try:
            return call()
        except SystemError as error:
            if "recursion depth" not in str(error):
                raise
    return call()


def _parsed(text: str) -> ast.Module:
    return undisturbed(lambda: ast.parse(text))


def same_source(one: str | None, other: str | None) -> bool:
    """Return whether two texts that `Source.shown` gave, perhaps in two versions of Python, are the same code.

    Versions write one tree in different ways (where parentheses and quotes go), so texts that differ are read again.
    """
    if one == other:
        return True
    if one is None or other is None:
        return False
    try:
        return _text(_parsed(one)) == _text(_parsed(other))
    except (SyntaxError, ValueError, RecursionError):  # of what is no code, the value of a global, the text decides
        return False


class Source:
    """The source of a function, or of the lambdas that share a line."""

    def __init__(self, trees: list[ast.AST]) -> None:
        self._trees = trees

    @cached_property
    def stable(self) -> str:
        """Hash of the syntax tree without docstrings and annotations, the same in all versions of Python.

        ``ast.unparse`` will not do: of the 24,438 functions of a standard library 2,495 come out differently in 3.10
        and 3.11, and 21 in 3.11 and 3.12 (here: 0 and 3).
        """
        return digest(_text(self._trees).encode())

    @cached_property
    def shown(self) -> str:
        """Text in one way of formatting, without comments and docstrings."""
        return "\n".join([ast.unparse(_WithoutDocstrings().visit(copy.deepcopy(tree))) for tree in self._trees])


def _text(tree: Any) -> str:
    if isinstance(tree, list):
        return "[" + ",".join([_text(item) for item in tree]) + "]"
    if not isinstance(tree, ast.AST):
        return ascii(tree)
    found = []
    for name in tree._fields:
        value = getattr(tree, name, None)
        if value is not None and value != [] and name not in _LEFT_OUT:
            if name == "body" and isinstance(tree, _HAVE_DOCSTRING):
                value = _body(tree)
            if isinstance(tree, ast.Set) and all([isinstance(item, ast.Constant) for item in value]):
                value = sorted(value, key=_text)
            found.append(f"{name}={_text(value)}")
    return f"{type(tree).__name__}({','.join(found)})"


class _WithoutDocstrings(ast.NodeTransformer):
    def visit(self, node: Any) -> Any:
        if isinstance(node, _HAVE_DOCSTRING):
            node.body = _body(node)
        return self.generic_visit(node)


def _body(tree: Any) -> list[ast.stmt]:
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return tree.body[1:] or [ast.Pass()]
    return tree.body


def _key(code: CodeType) -> Any:
    known = code_of(code)
    return code.co_name, known.digest, known.refs


def _index(text: str, file: str) -> dict[Any, dict[int, Source]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file's warnings were shown when it was imported
            tree = _parsed(text)
            top = compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # being edited
        return {}
    trees: dict[Any, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            decorators = getattr(node, "decorator_list", [])
            line = min([node.lineno, *[decorator.lineno for decorator in decorators]])
            trees.setdefault((getattr(node, "name", "<lambda>"), line), []).append(node)
    sources = {place: Source(found) for place, found in trees.items()}
    table: dict[Any, dict[int, Source]] = {}
    for code in _codes(top):
        place = code.co_name, code.co_firstlineno
        if place in sources:
            table.setdefault(_key(code), {})[code.co_firstlineno] = sources[place]
    return table


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
