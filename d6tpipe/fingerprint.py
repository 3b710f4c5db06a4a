"""What a task's code amounts to: one hash over everything of the project that its result can depend on.

The closure starts at the attributes of the class and of its project base classes, and follows every name that the
code uses: helper functions (through ``import mod as m; m.f()`` too), helper classes, decorators, closures,
``partial``, default arguments, and globals that hold plain data. It stops at other task classes (their effect
arrives as data) and at libraries: of both only the name counts.

Not a change: comments, docstrings, blank lines, line breaks, annotations, order of definitions, names of local
variables, renaming or moving a helper, another alias for the same import (but ``import m; m.f()`` and ``from m import
f`` differ), the folder of the project, the hash seed, ``__main__`` or imported, script or notebook cells, by reference
or pickled by value. ``-O`` is a change where there are asserts: the code then does less.

Two hashes. `Fingerprint.fast` is over bytecode, normalised as the tables below say, and holds for one minor version of
Python. `Fingerprint.stable` is over the syntax tree and holds for all; it needs the source, counts names (locals and
aliases), and is for records that another minor version wrote. If one of the two is equal, nothing has changed.

Not seen, so declare it with ``depends_on`` or raise ``version``: attributes got by a computed name (``getattr(mod,
name)``, the code of ``mod[...]``), functions found in a registry of a library at run time, a library's own code and
C extensions, data files and environment variables, what another module patches into an object that is not looked at
here, the state of instances that are not dataclasses (their class is seen), DataFrames and other library objects held
in globals (numpy arrays are seen), and more than `LIMIT` items of one value. A global that code changes while it runs
counts with the value it has when it is looked at: a result cache kept in a global dict looks like a change.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib
import importlib.util
import linecache
import operator
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, EnumMeta
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from d6tpipe.errors import is_ours

__all__ = ["LIMIT", "PYTHON", "Fingerprint", "changed_members", "fingerprint", "is_project"]

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""What a fast hash begins with: only hashes that begin alike can be compared."""

LIMIT = 10_000
"""How many items of one plain-data value are looked at."""

_MEMO_SIZE = 20_000
_STANDARD = os.path.dirname(os.__file__) + os.sep
# The standard library's folder is also recognised by its shape: a wrapper that was pickled by value names the file of
# the machine it comes from.
_LIBRARY = re.compile(r"[\\/](site|dist)-packages[\\/]|[\\/]lib(64)?[\\/]python3\.\d+[\\/]|^<frozen ")


def is_project(module: str, file: str | None) -> bool:
    """Return whether code belongs to the user: not the standard library, not installed, not d6tpipe.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    file : str or None
        Its file, as in the code object; None if unknown (built in, or a class that was pickled by value).
    """
    top = module.partition(".")[0]
    if top in ("d6tpipe", "d6tflow", "builtins"):
        return module.startswith("d6tpipe.demo")
    if file is None:
        return top not in sys.stdlib_module_names
    return not (_LIBRARY.search(file) or file.startswith(_STANDARD) or is_ours(file))


def changed_members(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what differs between two `Fingerprint.members`: (name, "added", "removed" or "changed"), by name."""
    found = [(name, "removed" if name not in after else "changed")
             for name, known in before.items() if after.get(name) != known]  # fmt: skip
    return sorted(found + [(name, "added") for name in after if name not in before])


def _hash(text: str, size: int = 16) -> str:
    return blake2b(text.encode(), digest_size=size).hexdigest()


# ---- code objects: what they do, without how they were written

# What differs between two compilations of the same code, and what is done about it:
#   an import in the same unit turns mod.f() into another call (3.11+)    method loads are attribute loads, NULLs dropped
#   a docstring shifts the indices of the constants                       constants and names by value
#   line breaks: NOPs, paired instructions (3.13), exception ranges       NOPs dropped, pairs split, jumps and ranges
#                                                                         by number of the instruction
_PLAIN, _DROP, _EXTEND, _CONST, _GLOBAL, _ATTR, _NAME, _STORE_NAME, _IMPORT, _JUMP, _PAIR = range(11)
_OPS = dis.opmap
_ATTR_OP, _CONST_OP, _RETURN_OP = _OPS["LOAD_ATTR"], _OPS["LOAD_CONST"], _OPS["RETURN_VALUE"]
_RETURN_CONST_OP = _OPS.get("RETURN_CONST", -1)
_RELATIVE = frozenset(dis.hasjrel)
_BACKWARD = frozenset(op for name, op in _OPS.items() if "BACKWARD" in name)
_PAIRS = {op: tuple(_OPS[half] for half in re.findall(r"(?:LOAD|STORE)_FAST(?:_BORROW)?", name))
          for name, op in _OPS.items() if name.count("_FAST") == 2}  # fmt: skip
_SHIFT = {_OPS["LOAD_GLOBAL"]: sys.version_info >= (3, 11), _ATTR_OP: sys.version_info >= (3, 12),
          _OPS.get("LOAD_SUPER_ATTR", -1): 2}  # fmt: skip
# Kinds of arguments that matter to whoever calls; the rest are future flags and facts that the bytecode shows too.
_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
_WRITTEN_BY_PYTHON = {"__doc__", "__firstlineno__", "__static_attributes__"}


def _kinds() -> list[int]:
    kinds = [_PLAIN] * 256
    for group, kind in (
        (dis.hasconst, _CONST), (dis.hasname, _NAME), (dis.hasjrel, _JUMP), (dis.hasjabs, _JUMP), (_PAIRS, _PAIR),
        ([0], _DROP),  # CACHE; nothing in 3.10
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


class _Code:
    """What is known of a code object, nested ones included; code objects never change, so it is kept.

    `digest` holds a number where the code holds the name of a global, so that an alias does not matter.
    `refs` are these globals, ``(name, chains of attributes that are read from it)``; `imports` are the imports
    inside of functions, ``(level, module, with from, attributes)``.
    """

    __slots__ = ("digest", "imports", "refs")

    def __init__(self, code: CodeType) -> None:
        out: list[Any] = []
        starts: list[int] = []
        jumps: list[tuple[int, int]] = []
        refs: dict[str, list[list[str]]] = {}
        nested: list[_Code] = []
        imports = False
        chain: list[str] = []
        chain_end = -1
        extended = 0
        names, consts, raw = code.co_names, code.co_consts, code.co_code
        for unit, (op, arg) in enumerate(zip(raw[::2], raw[1::2], strict=True)):
            starts.append(len(out))
            kind = _KINDS[op]
            if kind == _DROP:
                continue
            arg |= extended
            extended = 0
            if kind == _PLAIN:
                out += op, arg
            elif kind == _CONST:
                out += _CONST_OP, _constant(consts[arg], nested)
                if op == _RETURN_CONST_OP:
                    out += _RETURN_OP, 0
            elif kind == _ATTR:
                name = names[arg >> _SHIFT[_ATTR_OP]]
                if chain_end == len(out):
                    chain.append(name)
                    chain_end += 2
                out += _ATTR_OP, name
            elif kind == _GLOBAL:
                name = names[arg >> _SHIFT[op]]
                chain = []
                refs.setdefault(name, []).append(chain)
                out += op, list(refs).index(name)
                chain_end = len(out)
            elif kind == _JUMP:
                jumps.append((len(out) + 1, _target(raw, unit, op, arg)))
                out += op, None
            elif kind == _EXTEND:
                extended = arg << 8
            elif kind == _PAIR:
                first, second = _PAIRS[op]
                out += first, arg >> 4, second, arg & 15
            elif kind == _STORE_NAME and names[arg] in _WRITTEN_BY_PYTHON:
                del out[-2:]
            else:
                name = names[arg >> _SHIFT.get(op, 0)]
                imports = imports or kind == _IMPORT
                if op in _BY_NAME:
                    refs.setdefault(name, []).append([])
                out += op, name
        starts.append(len(out))
        for at, target in jumps:
            out[at] = starts[target]
        arguments = code.co_argcount + code.co_kwonlyargcount
        header = code.co_argcount, code.co_posonlyargcount, code.co_varnames[:arguments], code.co_flags & _FLAGS
        out += [header, len(refs), *_handlers(code, starts)]
        self.digest = _hash(ascii(out))
        own = [(name, tuple(sorted({tuple(chain) for chain in chains}))) for name, chains in refs.items()]
        self.refs = tuple([*own, *[ref for inner in nested for ref in inner.refs]])
        found = dict.fromkeys(_imports(code, {})) if imports else {}
        self.imports = tuple([*found, *[one for inner in nested for one in inner.imports]])


def _target(raw: bytes, unit: int, op: int, arg: int) -> int:
    """Return the unit that a jump leads to."""
    if op not in _RELATIVE:
        return arg
    unit += 1
    while raw[2 * unit] == 0 and _KINDS[0] == _DROP:  # relative to the end of the caches
        unit += 1
    return unit - arg if op in _BACKWARD else unit + arg


def _constant(value: Any, nested: list[_Code]) -> Any:
    """Return a text or tuple that stands for a constant, types and order included."""
    kind = value.__class__
    if kind is CodeType:
        nested.append(_code(value))
        return "code", nested[-1].digest
    if kind is tuple:
        return "tuple", *[_constant(item, nested) for item in value]
    if kind is frozenset:
        return "set", *sorted([ascii(_constant(item, nested)) for item in value])
    return repr(value)


def _handlers(code: CodeType, starts: list[int]) -> list[tuple[int, ...]]:
    """Return the exception table (3.11+) by instruction, ranges that touch joined."""
    numbers: list[int] = []
    value = 0
    for byte in getattr(code, "co_exceptiontable", b""):
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    found: list[tuple[int, ...]] = []
    for start, length, target, depth in zip(*[iter(numbers)] * 4, strict=True):
        begin, end, handler = starts[start], starts[start + length], starts[target]
        if found and found[-1][1:] == (begin, handler, depth):
            found[-1] = found[-1][0], end, handler, depth
        elif begin != end:
            found.append((begin, end, handler, depth))
    return found


def _imports(code: CodeType, bound: dict[str, Any]) -> Iterator[tuple[int, str, bool, tuple[str, ...]]]:
    """Yield what the imports inside a function bring in, and which attributes are read from it."""
    source: Any = None
    use: Any = None
    before: list[Any] = [0, None]
    for step in dis.get_instructions(code):
        name, value = step.opname, step.argval
        if name == "IMPORT_NAME":
            source = int(before[-2] or 0), value, bool(before[-1]), ()
        elif name == "IMPORT_FROM":
            source = (*source[:3], (value,) if source[2] else (*source[3], value))
        elif name.startswith("STORE_") and source and isinstance(value, str):
            bound[value] = source
            yield source
            source = source if source[2] else None
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
            yield from _imports(constant, dict(bound))


_codes: dict[int, tuple[CodeType, _Code]] = {}


def _code(code: CodeType) -> _Code:
    known = _codes.get(id(code))
    if known is None:
        if len(_codes) > _MEMO_SIZE:
            _codes.clear()
        known = _codes[id(code)] = code, _Code(code)  # holds the code object: its id is not used again
    return known[1]


# ---- the closure

_MISSING = object()
_SCALARS = frozenset({int, float, str, bytes, bool, complex, type(None), type(Ellipsis), type(NotImplemented)})
_SCALAR_BASES = (int, float, str, bytes, complex)
_CONTAINERS = (list, tuple, dict, set, frozenset, MappingProxyType)
_BY_TEXT = {
    "builtins.range", "builtins.slice", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta",
    "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "zoneinfo.ZoneInfo",
}  # fmt: skip
_NOT_CODE = frozenset(
    "__abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__ __classcell__ "
    "__dataclass_fields__ __dataclass_params__ __dict__ __doc__ __firstlineno__ __match_args__ __module__ "
    "__orig_bases__ __parameters__ __qualname__ __slotnames__ __static_attributes__ __type_params__ __weakref__ "
    "_abc_impl".split()
)
_MADE_BY_DATACLASS = frozenset(
    "__delattr__ __eq__ __ge__ __gt__ __hash__ __init__ __le__ __lt__ __replace__ __repr__ __setattr__ "
    "__getstate__ __setstate__".split()
)


class _Node:
    """One function, class or named value: texts and other nodes, in an order that depends on the code only.

    `inner` holds what has a name of its own below this one (the methods of a class): a change there is not a change
    of this member.
    """

    __slots__ = ("inner", "label", "module", "parts", "subject")

    def __init__(self, label: str, module: str, subject: Any) -> None:
        self.label, self.module, self.subject = label, module, subject
        self.parts: list[Any] = []
        self.inner: list[Any] = []


@functools.lru_cache(maxsize=_MEMO_SIZE)
def _counts(project: Callable[..., bool], extra: tuple[str, ...], module: str, file: str | None) -> bool:
    return module.startswith("namedtuple_") is False and (
        any([module == name or module.startswith(name + ".") for name in extra]) or project(module, file)
    )


def _dotted(value: Any) -> str:
    """Return package and qualified name: inside of a package, modules move between releases."""
    module = str(getattr(value, "__module__", None) or "builtins")
    return f"{module.partition('.')[0]}:{getattr(value, '__qualname__', type(value).__qualname__)}"


def _file_of(module: str) -> str | None:
    if module in ("__main__", "__mp_main__"):  # whatever program runs now: a kernel, a worker
        return None
    return getattr(sys.modules.get(module), "__file__", None)


def _array_text(array: Any) -> list[str]:
    data = array.tobytes() if array.dtype.kind != "O" else ascii(array.tolist()[:LIMIT]).encode()
    return [sys.intern(f"array {array.dtype.str}{array.shape} {blake2b(data, digest_size=16).hexdigest()}")]


def _class_content(cls: type) -> list[Any]:
    attributes = vars(cls)
    return [cls.__mro__, *attributes, *attributes.values()]


def _function_content(function: FunctionType) -> list[Any]:
    cells = function.__closure__
    return [function.__code__, function.__defaults__, function.__kwdefaults__, *([_cell(c) for c in cells] if cells else ())]


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return _MISSING


def _dict_content(mapping: Any) -> list[Any]:
    return [*mapping, *mapping.values()]


class _Walk:
    """The closure of one object, breadth first.

    `pins` and `lookups` are everything that was looked at and can change: if all of it is still the same, so is
    the result.
    """

    def __init__(self, stop: Any, skip: Any, project: Any, extra: tuple[str, ...]) -> None:
        self.stop, self.skip, self.project, self.extra = stop, skip, project, extra
        self.nodes: list[_Node] = []
        self.known: dict[Any, _Node] = {}
        self.pins: list[tuple[Callable[[Any], Any], Any, list[Any]]] = []
        self.lookups: list[tuple[Any, str, Any]] = []
        self.own: frozenset[type] = frozenset()
        self.room = 0

    def walk(self, root: Any) -> None:
        if isinstance(root, type):
            self.own = frozenset([cls for cls in root.__mro__ if self._counts_class(cls)])
        start: list[Any] = []
        self._named(start, root, "value", "__main__", "root")
        for node in self.nodes:  # grows while it is read
            subject = node.subject
            self.room = LIMIT
            if subject.__class__ is FunctionType:
                self._function(node, subject)
            elif issubclass(subject.__class__, type):
                self._class(node, subject)
            else:
                self._put(node.parts, subject)
        if not self.nodes:  # a library's object: its name is all there is
            self.nodes.append(_Node("value", "__main__", None))
            self.nodes[0].parts = start

    def unchanged(self) -> bool:
        for mapping, name, value in self.lookups:
            if mapping.get(name, _MISSING) is not value:
                return False
        for read, subject, saved in self.pins:
            now = read(subject)
            if len(now) != len(saved) or not all(map(operator.is_, now, saved)):
                return False
        return True

    def _pin(self, read: Callable[[Any], Any], subject: Any) -> list[Any]:
        content = read(subject)
        self.pins.append((read, subject, content))
        return content

    def _node(self, key: Any, label: str, module: str, subject: Any) -> _Node:
        node = self.known.get(key)
        if node is None:
            node = self.known[key] = _Node(label, module, subject)
            self.nodes.append(node)
        return node

    # ---- functions

    def _function(self, node: _Node, function: FunctionType) -> None:
        parts, code = node.parts, function.__code__
        known = _code(code)
        _, defaults, kwdefaults, *cells = self._pin(_function_content, function)
        parts.append(known.digest)
        if defaults:
            self._put(parts, defaults)
        if kwdefaults:
            self._put(parts, dict(sorted(kwdefaults.items())))
        for name, content in zip(code.co_freevars, cells, strict=True):
            if name != "__class__":
                self._put(parts, content)
        if "__wrapped__" in function.__dict__:
            self._put(parts, function.__dict__["__wrapped__"])
        module, space = function.__module__ or "", function.__globals__
        for name, chains in known.refs:
            self._global(parts, space, name, chains, module)
        for level, source, is_from, chain in known.imports:
            self._import(parts, space, level, source, is_from, chain)

    def _global(self, parts: list[Any], space: Any, name: str, chains: Any, module: str) -> None:
        value = space.get(name, _MISSING)
        self.lookups.append((space, name, value))
        if value is _MISSING:
            builtins = space.get("__builtins__", {})
            builtins = vars(builtins) if builtins.__class__ is ModuleType else builtins
            parts.append(f"builtins:{name}" if name in builtins else f"unbound:{name}")
        elif name.startswith("__"):
            parts.append(f"module:{name}")  # __file__, __name__: where, not what
        elif value.__class__ is ModuleType:
            for chain in chains:
                self._chain(parts, value, chain)
        else:
            self._named(parts, value, name, module, (id(space), name))

    def _chain(self, parts: list[Any], module: ModuleType, chain: tuple[str, ...]) -> None:
        """Follow ``module.a.b`` as far as it stays within modules of the project."""
        for name in chain:
            if not _counts(self.project, self.extra, module.__name__, getattr(module, "__file__", None)):
                break
            space = vars(module)
            value = space.get(name, _MISSING)
            self.lookups.append((space, name, value))
            if value.__class__ is not ModuleType:
                if value is _MISSING:
                    parts.append(f"unbound:{name}")
                else:
                    self._named(parts, value, name, module.__name__, (id(space), name))
                return
            module = value
        parts.append(f"module:{module.__name__}")

    def _import(self, parts: list[Any], space: Any, level: int, source: str, is_from: bool, chain: Any) -> None:
        """Follow an import inside a function; what is not loaded yet is loaded if it is the project's."""
        try:
            full = importlib.util.resolve_name("." * level + source, space.get("__package__") or "")
            top = full.partition(".")[0]
            spec = sys.modules.get(top) or importlib.util.find_spec(top)
            file = getattr(spec, "__file__", None) or getattr(spec, "origin", None)
            if spec is None or not _counts(self.project, self.extra, full, file):
                parts.append(f"import:{'.'.join([full, *chain])}")
                return
            module = importlib.import_module(full)
        except Exception as error:  # noqa: BLE001  (a body that cannot run yet has a fingerprint all the same)
            parts.append(f"import:{source} {type(error).__name__}")
            return
        self._chain(parts, module if is_from else sys.modules[top], chain)

    # ---- classes

    def _counts_class(self, cls: type) -> bool:
        module = str(cls.__module__)
        return _counts(self.project, self.extra, module, _file_of(module))

    def _class(self, node: _Node, cls: type) -> None:
        parts, label, module = node.parts, node.label, node.module
        self._pin(_class_content, cls)
        parts.append("class")
        if type(cls) is not type:
            self._put(parts, type(cls))
        for base in cls.__mro__[1:-1]:
            self._put(parts, base)
        attributes = vars(cls)
        fields = attributes.get("__dataclass_fields__")
        skip = self.skip if cls in self.own else None
        if issubclass(type(cls), EnumMeta):
            self._put(parts, {name: member.value for name, member in cls.__members__.items()})  # type: ignore[attr-defined]
        for name in sorted(attributes):
            value = attributes[name]
            if name in _NOT_CODE or (skip is not None and skip(name, value)):
                continue
            kind = value.__class__
            if kind.__name__ in ("member_descriptor", "getset_descriptor", "wrapper_descriptor"):
                continue
            if fields and name in _MADE_BY_DATACLASS and _is_made(value):
                continue
            if issubclass(type(cls), EnumMeta) and not (kind is FunctionType and self._counts_function(value)):
                if kind not in (property, classmethod, staticmethod):
                    continue
            full = f"{label}.{name}"
            found: list[Any] = []
            self._named(found, value, full, module, (id(cls), name))
            alone = len(found) == 1 and found[0].__class__ is _Node and found[0].label == full
            (node.inner if alone else parts).extend([f"{name}=", *found])
        for field in (fields or {}).values():
            parts.append(f"{field.name}:{field.init}{field.kw_only}{field.compare}")
            for default in (field.default, field.default_factory):
                self._put(parts, default)

    def _counts_function(self, function: FunctionType) -> bool:
        return _counts(self.project, self.extra, function.__module__ or "", function.__code__.co_filename)

    # ---- values

    def _named(self, parts: list[Any], value: Any, label: str, module: str, key: Any) -> None:
        """Put a value that stands under a name: plain data is a member, anything else has its own name."""
        kind = value.__class__
        if kind in _SCALARS or (not issubclass(kind, type) and _is_data(kind)):
            parts.append(self._node(key, label, module, value))
        else:
            self._put(parts, value, label)

    def _put(self, parts: list[Any], value: Any, label: str = "", depth: int = 0) -> None:
        kind = type(value)  # isinstance() would ask proxies and mocks, which may do anything
        if kind in _SCALARS:
            parts.append(ascii(value))
        elif kind is FunctionType:
            if self._counts_function(value):
                name = value.__qualname__
                if name.endswith("<lambda>") and label:
                    name = label
                elif "__wrapped__" in value.__dict__:
                    name = f"{name}@{value.__code__.co_name}"
                parts.append(self._node(id(value), name, value.__module__ or "", value))
            else:
                parts.append(_dotted(value))
                self._wrapped(parts, value)
        elif issubclass(kind, type):
            if value not in self.own and self.stop(value):
                parts.append(f"task:{value.__qualname__}")
            elif self._counts_class(value):
                parts.append(self._node(id(value), value.__qualname__, str(value.__module__), value))
            else:
                parts.append(_dotted(value))
        elif kind is ModuleType:
            parts.append(f"module:{value.__name__}")
        elif depth > 50 or self.room <= 0:  # also ends what contains itself
            parts.append("...")
        elif issubclass(kind, Enum):
            parts.append(f"{kind.__qualname__}.{value.name}")
            self._put(parts, value.value, "", depth + 1)
        elif issubclass(kind, _CONTAINERS):
            self._container(parts, kind, value, depth)
        elif kind in (staticmethod, classmethod):
            parts.append(kind.__name__)
            self._put(parts, value.__func__, label)
        elif kind is property:
            parts.append("property")
            for function in (value.fget, value.fset, value.fdel):
                self._put(parts, function, label)
        elif kind is MethodType:
            parts.append("bound")
            self._put(parts, value.__func__)
            self._put(parts, value.__self__, "", depth + 1)
        elif issubclass(kind, (functools.partial, functools.partialmethod)):
            parts.append("partial")
            for part in (value.func, value.args, value.keywords):
                self._put(parts, part, "", depth + 1)
        elif kind is BuiltinFunctionType or value is _MISSING:
            parts.append("empty" if value is _MISSING else _dotted(value))
        else:
            self._object(parts, kind, value, depth)

    def _container(self, parts: list[Any], kind: type, value: Any, depth: int) -> None:
        self._put(parts, kind)
        is_map = issubclass(kind, (dict, MappingProxyType))
        parts.append(f"{len(value)}(")
        if len(value) <= self.room:
            self.room -= len(value)
            content = self._pin(_dict_content if is_map else list, value)
            if issubclass(kind, (set, frozenset)):
                items: list[list[Any]] = [[] for _ in content]
                for found, item in zip(items, content, strict=True):
                    self._put(found, item, "", depth + 1)
                parts.extend([part for found in sorted(items, key=_sorting) for part in found])
            else:
                for item in content:
                    self._put(parts, item, "", depth + 1)
        parts.append(")")

    def _object(self, parts: list[Any], kind: type, value: Any, depth: int) -> None:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _BY_TEXT:
            parts.append(f"{name} {value!r}")
        elif name == "re.Pattern":
            parts.append(f"{name} {value.pattern!a} {value.flags}")
        elif name == "numpy.ndarray":
            parts.extend(self._pin(_array_text, value))
        elif name.startswith("pathlib."):
            parts.append(f"path {str(value)!a}")
        elif issubclass(kind, _SCALAR_BASES):
            base = next(base for base in kind.__mro__ if base in _SCALARS)
            parts.append(f"{_dotted(kind)} {base.__repr__(value)}")
        else:
            self._put(parts, kind)
            fields = getattr(kind, "__dataclass_fields__", None)
            if fields and self._counts_class(kind):
                content = self._pin(functools.partial(_field_values, tuple(fields)), value)
                for name, item in zip(fields, content, strict=True):
                    parts.append(f"{name}=")
                    self._put(parts, item, "", depth + 1)
            self._wrapped(parts, value)

    def _wrapped(self, parts: list[Any], value: Any) -> None:
        """Follow a library's wrapper (``lru_cache``, ``contextmanager``, numba, click) to the user's function."""
        attributes = getattr(type(value), "__dictoffset__", 0) and value.__dict__
        if attributes.__class__ is dict:
            for name in ("__wrapped__", "func", "py_func", "callback"):
                if attributes.get(name).__class__ is FunctionType:
                    self._put(parts, attributes[name])
            registry = attributes.get("registry")  # singledispatch
            if registry.__class__ is MappingProxyType:
                self._put(parts, list(registry.items()))


def _sorting(parts: list[Any]) -> list[str]:
    return [part.label if part.__class__ is _Node else part for part in parts]


def _field_values(names: tuple[str, ...], value: Any) -> list[Any]:
    return [getattr(value, name, _MISSING) for name in names]


def _is_made(value: Any) -> bool:
    return value.__class__ is not FunctionType or value.__code__.co_filename == "<string>" or "__wrapped__" in vars(value)


@functools.lru_cache(maxsize=1000)
def _is_data(kind: type) -> bool:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return (
        issubclass(kind, (*_CONTAINERS, *_SCALAR_BASES, Enum))
        or hasattr(kind, "__dataclass_fields__")
        or name in _BY_TEXT
        or name in ("re.Pattern", "numpy.ndarray")
        or name.startswith("pathlib.")
    )
