"""Code objects: what they do, without how they were written.

What differs between two compilations of the same code, and what is done about it:

==========================================================  ==========================================================
an import in the same unit turns ``mod.f()`` into another   method loads are attribute loads, NULLs and caches dropped
call (3.11+): a notebook cell differs from a script
a docstring shifts the indices of the constants             constants and names by value
line breaks: NOPs, paired instructions (3.13), ranges of    NOPs dropped, pairs split, jumps and ranges by the number
``try`` (3.11+)                                             of the instruction
aliases of imports, names of locals                         globals and locals by number
line tables, file names, future flags                       left out
==========================================================  ==========================================================
"""

from __future__ import annotations

import dis
import marshal
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType
from typing import Any

__all__ = ["Code", "code_of", "digest"]

MEMO_SIZE = 20_000


def digest(content: bytes, size: int = 16) -> str:
    """Return a hash in hexadecimal digits, twice `size` of them."""
    return blake2b(content, digest_size=size).hexdigest()


_PLAIN, _DROP, _EXTEND, _CONST, _GLOBAL, _ATTR, _NAME, _STORE_NAME, _IMPORT, _JUMP, _PAIR = range(11)
_OPS = dis.opmap
_ATTR_OP, _CONST_OP, _RETURN_OP = _OPS["LOAD_ATTR"], _OPS["LOAD_CONST"], _OPS["RETURN_VALUE"]
_RETURN_CONST_OP = _OPS.get("RETURN_CONST", -1)
_JUMP_OP = _OPS["JUMP_FORWARD"]
_RELATIVE = frozenset(dis.hasjrel)
_BACKWARD = frozenset(op for name, op in _OPS.items() if "BACKWARD" in name)
_PAIRS = {op: tuple(_OPS[half] for half in re.findall(r"(?:LOAD|STORE)_FAST(?:_BORROW)?", name))
          for name, op in _OPS.items() if name.count("_FAST") == 2}  # fmt: skip
# The low bits of these arguments say how the value is called next.
_SHIFTS = [0] * 256
_SHIFTS[_OPS["LOAD_GLOBAL"]] = int(sys.version_info >= (3, 11))
_SHIFTS[_ATTR_OP] = int(sys.version_info >= (3, 12))
if "LOAD_SUPER_ATTR" in _OPS:
    _SHIFTS[_OPS["LOAD_SUPER_ATTR"]] = 2
# One name for each kind of jump: whether it leads backwards is seen from where it leads to.
_JUMPS = {op: _OPS[name.replace("BACKWARD_IF", "FORWARD_IF")] if "_IF" in name else _JUMP_OP
          for name, op in _OPS.items() if "BACKWARD" in name or name == "JUMP_ABSOLUTE"}  # fmt: skip
_OPPOSITE = {_OPS[f"POP_JUMP_IF_{one}"]: _OPS[f"POP_JUMP_IF_{other}"]
             for one, other in (("TRUE", "FALSE"), ("FALSE", "TRUE"), ("NONE", "NOT_NONE"), ("NOT_NONE", "NONE"))
             if f"POP_JUMP_IF_{one}" in _OPS}  # fmt: skip
# Kinds of arguments that matter to whoever calls; the rest are future flags and facts that the bytecode shows too.
_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
_SCALARS = frozenset([int, float, str, bytes, bool, complex, type(None), type(Ellipsis)])
_WRITTEN_BY_PYTHON = {"__doc__", "__firstlineno__", "__static_attributes__"}


def _kinds() -> list[int]:
    kinds = [_PLAIN] * 256
    for group, kind in (
        (dis.hasconst, _CONST), (dis.hasname, _NAME), (dis.hasjrel, _JUMP), (dis.hasjabs, _JUMP), (_PAIRS, _PAIR),
        ([0], _DROP),  # CACHE; in 3.10 nothing
    ):  # fmt: skip
        for op in group:
            if op < 256:  # above: what the compiler uses inside
                kinds[op] = kind
    for name, kind in (
        ("NOP", _DROP), ("RESUME", _DROP), ("PUSH_NULL", _DROP), ("PRECALL", _DROP), ("NOT_TAKEN", _DROP),
        ("EXTENDED_ARG", _EXTEND), ("LOAD_GLOBAL", _GLOBAL), ("LOAD_ATTR", _ATTR), ("LOAD_METHOD", _ATTR),
        ("STORE_NAME", _STORE_NAME), ("IMPORT_NAME", _IMPORT),
    ):  # fmt: skip
        if _OPS.get(name, 256) < 256:
            kinds[_OPS[name]] = kind
    return kinds


_KINDS = _kinds()
_BY_NAME = {_OPS[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in _OPS}


class Code:
    """What is known of a code object, nested ones included; code objects never change, so it is kept.

    `digest` holds a number where the code holds the name of a global, so that an alias does not matter.
    `refs` are these globals, ``(name, chains of attributes that are read from it)``; `imports` are the imports
    inside of functions, ``(level, module, with from, attributes)``.
    """

    __slots__ = ("_code", "_uses", "digest", "imports", "refs")
    refs: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    _uses: list[tuple[int, str, bool, tuple[str, ...]]] | None
    imports: tuple[tuple[int, str], ...]

    def __init__(self, code: CodeType) -> None:
        out: list[Any] = []
        where: list[int] = []  # the unit of each instruction in `out`
        jumps: list[tuple[int, int]] = []
        slots: dict[str, int] = {}
        chains: list[tuple[str, list[str]]] = []
        nested: list[Code] = []
        imports: list[tuple[int, str]] = []
        chain: list[str] = []
        chain_end = -1
        extended = 0
        attr_shift = _SHIFTS[_ATTR_OP]
        names, consts, raw = code.co_names, code.co_consts, code.co_code
        for unit, (op, arg) in enumerate(zip(raw[::2], raw[1::2], strict=True)):
            kind = _KINDS[op]
            if kind == _DROP:
                continue
            if extended:
                arg |= extended
                extended = 0
            where.append(unit)
            if kind == _PLAIN:
                out += op, arg
            elif kind == _CONST:
                value = consts[arg]
                value = repr(value) if value.__class__ in _SCALARS else _constant(value, nested)
                if op == _RETURN_CONST_OP:
                    out += _CONST_OP, value, _RETURN_OP, 0
                    where.append(unit)
                else:
                    out += op, value
            elif kind == _ATTR:
                name = names[arg >> attr_shift]
                if chain_end == len(out):
                    chain.append(name)
                    chain_end += 2
                out += _ATTR_OP, name
            elif kind == _GLOBAL:
                name = names[arg >> _SHIFTS[op]]
                chain = []
                chains.append((name, chain))
                out += op, slots.setdefault(name, len(slots))
                chain_end = len(out)
            elif kind == _JUMP:
                end = _end(raw, unit)
                target = arg if op not in _RELATIVE else end - arg if op in _BACKWARD else end + arg
                op = _JUMPS.get(op, op)
                if op == _JUMP_OP and jumps and jumps[-1] == (len(out) - 1, end) and out[-2] in _OPPOSITE:
                    # "if not: skip the jump back", which 3.12 writes for "if: jump back" in some layouts.
                    where.pop()
                    out[-2] = _OPPOSITE[out[-2]]
                    jumps[-1] = len(out) - 1, target
                else:
                    jumps.append((len(out) + 1, target))
                    out += op, None
            elif kind == _EXTEND:
                where.pop()
                extended = arg << 8
            elif kind == _PAIR:
                first, second = _PAIRS[op]
                out += first, arg >> 4, second, arg & 15
                where.append(unit)
            elif kind == _STORE_NAME and names[arg] in _WRITTEN_BY_PYTHON:
                del out[-2:], where[-2:]
            else:
                name = names[arg >> _SHIFTS[op]]
                if kind == _IMPORT:
                    imports.append((int(out[-3]), name))  # before it: the level, and the names after "import"
                if op in _BY_NAME:
                    chains.append((name, []))
                out += op, name
        for at, target in jumps:
            out[at] = 2 * bisect_left(where, target)
        for at, _ in jumps:  # a jump to a jump: whether the compiler made it one depends on line breaks
            for _ in range(len(jumps)):
                target = out[at]
                if target == 2 * len(where) or out[target] != _JUMP_OP:
                    break
                out[at] = out[target + 1]
        arguments = code.co_argcount + code.co_kwonlyargcount
        header = code.co_argcount, code.co_posonlyargcount, code.co_varnames[:arguments], code.co_flags & _FLAGS
        out += [header, len(slots), *_handlers(code, where)]
        # Version 2 of marshal: newer ones also write which strings are shared, and that is chance.
        self.digest = digest(marshal.dumps(out, 2))
        own: dict[str, set[tuple[str, ...]]] = {}
        for name, chain in chains:
            own.setdefault(name, set()).add(tuple(chain))
        self.refs = tuple(
            [(name, tuple(sorted(found))) for name, found in own.items()]
            + [ref for inner in nested for ref in inner.refs]
        )
        self.imports = (*imports, *[one for inner in nested for one in inner.imports])
        self._code, self._uses = code, None

    def import_uses(self) -> list[tuple[int, str, bool, tuple[str, ...]]]:
        """Return what the imports bring in and which attributes are read from it.

        Each is (level, module, whether it is "from module import", attributes). Costs some 300 us, so it is for
        imports from the project.
        """
        if self._uses is None:
            self._uses = list(dict.fromkeys(_import_uses(self._code, {})))
        return self._uses


def _end(raw: bytes, unit: int) -> int:
    """Return the unit after an instruction and its caches."""
    unit += 1
    while 2 * unit < len(raw) and raw[2 * unit] == 0 and _KINDS[0] == _DROP:
        unit += 1
    return unit


def _constant(value: Any, nested: list[Code]) -> Any:
    """Return a text or tuple that stands for a constant, types and order included."""
    kind = value.__class__
    if kind is CodeType:
        nested.append(code_of(value))
        return "code", nested[-1].digest
    if kind is tuple:
        return "tuple", *[_constant(item, nested) for item in value]
    if kind is frozenset:
        return "set", *sorted([ascii(_constant(item, nested)) for item in value])
    return repr(value)


def _handlers(code: CodeType, where: list[int]) -> list[tuple[int, ...]]:
    """Return the exception table (3.11+) by instruction, ranges that touch joined."""
    table = getattr(code, "co_exceptiontable", b"")
    if not table:
        return []
    numbers: list[int] = []
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    found: list[tuple[int, ...]] = []
    for start, length, target, depth in zip(*[iter(numbers)] * 4, strict=True):
        begin, end, handler = [bisect_left(where, unit) for unit in (start, start + length, target)]
        if found and found[-1][1:] == (begin, handler, depth):
            found[-1] = found[-1][0], end, handler, depth
        elif begin != end:
            found.append((begin, end, handler, depth))
    return found


def _import_uses(code: CodeType, bound: dict[str, Any]) -> Iterator[tuple[int, str, bool, tuple[str, ...]]]:
    source: Any = None
    use: Any = None
    before: list[Any] = [0, None]
    for step in dis.get_instructions(code):
        name, value = step.opname, step.argval
        if name == "IMPORT_NAME":
            source = int(before[-2] or 0), value, bool(before[-1]), ()
        elif name == "IMPORT_FROM":
            source = (*source[:3], (value,) if source[2] else (*source[3], value))
        elif name.startswith("STORE_"):
            if source:
                bound[value[0] if isinstance(value, tuple) else value] = source
                yield source
                source = source if source[2] else None
            if name == "STORE_FAST_LOAD_FAST":
                use = bound.get(value[1])
                continue
        elif name in ("LOAD_ATTR", "LOAD_METHOD") and use:
            use = (*use[:3], (*use[3], value))
            yield use
            continue
        elif name.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLOSURE")):
            use = bound.get(value[-1] if isinstance(value, tuple) else value)
            continue
        if name not in ("PUSH_NULL", "PRECALL", "EXTENDED_ARG"):
            use = None
        before.append(value)
    for constant in code.co_consts:
        if constant.__class__ is CodeType:
            yield from _import_uses(constant, dict(bound))


_codes: dict[int, tuple[CodeType, Code]] = {}


def code_of(code: CodeType) -> Code:
    """Return what is known of a code object, from memory if it was asked for before."""
    known = _codes.get(id(code))
    if known is None:
        if len(_codes) > MEMO_SIZE:
            _codes.clear()
        known = _codes[id(code)] = code, Code(code)  # holds the code object: its id is not used again
    return known[1]
