"""The closure of a class or function: everything of the project that it uses, and the names of everything else."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import operator
import os
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum, EnumMeta
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

from d6tpipe.errors import is_ours
from d6tpipe.fingerprint.bytecode import MEMO_SIZE, Code, code_of
from d6tpipe.fingerprint.source import CARRIED, file_of
from d6tpipe.fingerprint.values import (
    BY_REPR,
    CONTAINERS,
    LIMIT,
    MAPPINGS,
    MISSING,
    SCALAR_TYPES,
    SCALARS,
    array_content,
    cell_contents,
    dotted,
    field_content,
    inside,
    is_data,
    mapping_content,
)

__all__ = ["Node", "Walk", "is_project"]

_STANDARD = os.path.dirname(os.__file__) + os.sep
# The standard library's folder is also known by its shape: a wrapper that was pickled by value names the file of the
# machine that it comes from.
_LIBRARY = re.compile(r"[\\/](site|dist)-packages[\\/]|[\\/]lib(64)?[\\/]python3\.\d+[\\/]|^<frozen ")

_SLOTS = frozenset(["member_descriptor", "getset_descriptor", "wrapper_descriptor"])
_NOT_CODE = {
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
    "__classcell__", "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__",
    "__match_args__", "__module__", "__orig_bases__", "__parameters__", "__qualname__", "__slotnames__",
    "__static_attributes__", "__type_params__", "__weakref__", "_abc_impl",
}  # fmt: skip
# Written by @dataclass and NamedTuple, from the fields: these are looked at instead.
_MADE_FROM_FIELDS = {
    "__delattr__", "__eq__", "__ge__", "__getstate__", "__gt__", "__hash__", "__init__", "__le__", "__lt__",
    "__replace__", "__repr__", "__setattr__", "__setstate__",
}  # fmt: skip


def is_project(module: str, file: str | None) -> bool:
    """Return whether code belongs to the user: not the standard library, not installed, not d6tpipe.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    file : str or None
        Its file, as the code object names it; None if unknown (built in, or a class that was pickled by value).
    """
    top = module.partition(".")[0]
    if top in ("d6tpipe", "d6tflow", "builtins"):
        return module.startswith("d6tpipe.demo")
    if file is None:
        return top not in sys.stdlib_module_names
    return not (_LIBRARY.search(file) or file.startswith(_STANDARD) or is_ours(file))


@functools.lru_cache(maxsize=MEMO_SIZE)
def _counts(project: Callable[[str, str | None], bool], extra: tuple[str, ...], module: str, file: str | None) -> bool:
    if module.startswith("namedtuple_"):  # collections.namedtuple wrote it, from the fields
        return False
    return any([module == name or module.startswith(name + ".") for name in extra]) or project(module, file)


class Node:
    """A member: one function, class or named value.

    Attributes
    ----------
    label, module : str
        Where it is defined: qualified name, module.
    subject : object
        What it is.
    parts : list of str or Node
        Its content: for a function the hash of its code first, then defaults and what its closure holds.
    refs : list of str or Node
        What the code of a function refers to.
    inner : list of str or Node
        What has a name of its own below this one, as methods have: a change there is none of this member.
    """

    __slots__ = ("inner", "label", "module", "number", "parts", "refs", "subject")

    def __init__(self, label: str, module: str, subject: Any, number: int) -> None:
        self.label, self.module, self.subject, self.number = label, module, subject, number
        self.parts: list[Any] = []
        self.refs: list[Any] = []
        self.inner: list[Any] = []


class Walk:
    """The closure of one object, breadth first, in an order that depends on nothing but the code.

    Texts among the parts: literals as `ascii` writes them, ``@package:name`` for objects of libraries,
    ``task:``, ``module:``, ``import:``, ``unbound:`` and a name, and words that say how parts belong together.

    Attributes
    ----------
    nodes : list of Node
        The members; the root first.
    """

    def __init__(self, root: Any, stop: Any, skip: Any, project: Any, extra: tuple[str, ...]) -> None:
        self._stop, self._skip, self._project, self._extra = stop, skip, project, extra
        self._known: dict[Any, Node] = {}
        self._room = LIMIT
        # Everything that was looked at and can change. Holding it also keeps the ids in _known from being used again.
        self._lookups: list[tuple[Any, str, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any]] = []
        self._classes: list[tuple[type, Any, list[str], list[Any]]] = []
        self._pins: list[tuple[Callable[[Any], list[Any]], Any, list[Any]]] = []
        self.nodes: list[Node] = []
        self.stopped: list[type] = []  # classes that were named and not entered
        self._own = {id(cls) for cls in root.__mro__ if self._is_own(cls)} if isinstance(root, type) else set()
        start: list[Any] = []
        self._named(start, root, "value", "", 0)
        if not self.nodes:  # an object of a library: its name is all there is
            self._node(0, "value", "", None).parts = start
            return
        for node in self.nodes:  # grows while it is read
            self._room = LIMIT
            kind = type(node.subject)
            if kind is FunctionType:
                self._function(node, node.subject)
            elif issubclass(kind, type):
                self._class(node, node.subject)
            else:
                self._put(node.parts, node.subject)

    def is_current(self) -> bool:
        """Return whether everything that was looked at is still the same, object by object."""
        for space, name, value in self._lookups:
            if space.get(name, MISSING) is not value:
                return False
        for function, code, defaults, kwdefaults in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not kwdefaults
            ):
                return False
        # Identity: comparing would take True for 1, and asks objects that need not answer with a bool.
        for cls, mro, names, values in self._classes:
            attributes = vars(cls)
            if cls.__mro__ is not mro or [*attributes] != names:
                return False
            if not all(map(operator.is_, attributes.values(), values)):
                return False
        for read, subject, saved in self._pins:
            now = read(subject)
            if len(now) != len(saved) or not all(map(operator.is_, now, saved)):
                return False
        return True

    def _pin(self, read: Callable[[Any], list[Any]], subject: Any) -> list[Any]:
        content = read(subject)
        self._pins.append((read, subject, content))
        return content

    def _node(self, key: Any, label: str, module: str, subject: Any) -> Node:
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = Node(label, module, subject, len(self.nodes))
            self.nodes.append(node)
        return node

    def _is_own(self, defined: Any) -> bool:
        """Return whether a function or class counts as the project's."""
        module = str(defined.__module__)
        if type(defined) is FunctionType:
            file = file_of(defined)
            if defined.__code__.co_filename == CARRIED:  # whatever it wraps: by path its file need not be the one here
                module = str(defined.__globals__.get("__name__", module))
        elif module in ("__main__", "__mp_main__"):  # its file is whatever program runs: a script, a kernel, a worker
            file = None
        else:
            file = getattr(sys.modules.get(module), "__file__", None)
        return _counts(self._project, self._extra, module, file)

    # ---- functions

    def _function(self, node: Node, function: FunctionType) -> None:
        parts, code = node.parts, function.__code__
        known = code_of(code)
        defaults, kwdefaults = function.__defaults__, function.__kwdefaults__
        self._functions.append((function, code, defaults, kwdefaults))
        parts.append(known.digest)
        if defaults or kwdefaults:
            self._put(parts, defaults)
            self._put(parts, kwdefaults)
        if function.__closure__:
            for name, content in zip(code.co_freevars, self._pin(cell_contents, function), strict=True):
                if name != "__class__":
                    self._put(parts, content)
        if "__wrapped__" in function.__dict__:
            self._put(parts, function.__dict__["__wrapped__"])
        space = function.__globals__
        for name, chains in known.refs:
            self._global(node, space, name, chains)
        if known.imports:
            self._imports(node.refs, space, known)

    def _global(self, node: Node, space: dict[str, Any], name: str, chains: Iterable[tuple[str, ...]]) -> None:
        value = space.get(name, MISSING)
        self._lookups.append((space, name, value))
        if value is MISSING:
            builtins = space.get("__builtins__", {})
            builtins = builtins if type(builtins) is dict else vars(builtins)
            node.refs.append(f"@builtins:{name}" if name in builtins else f"unbound:{name}")
        elif name.startswith("__") and name.endswith("__"):
            node.refs.append(f"module:{name}")  # __file__, __name__: where, not what
        elif type(value) is ModuleType:
            for chain in chains:
                self._chain(node.refs, value, chain)
        else:
            self._named(node.refs, value, name, node.module, (id(space), name))

    def _chain(self, parts: list[Any], module: ModuleType, chain: tuple[str, ...]) -> None:
        """Follow ``module.a.b`` as long as it stays within modules of the project."""
        for name in chain:
            if not _counts(self._project, self._extra, module.__name__, getattr(module, "__file__", None)):
                break
            space = vars(module)
            value = space.get(name, MISSING)
            self._lookups.append((space, name, value))
            if value is MISSING:
                parts.append(f"unbound:{name}")
                return
            if type(value) is not ModuleType:
                self._named(parts, value, name, module.__name__, (id(space), name))
                return
            module = value
        text = f"module:{module.__name__}"
        if text not in parts:
            parts.append(text)

    def _imports(self, parts: list[Any], space: dict[str, Any], known: Code) -> None:
        """Follow the imports inside a function. What is not loaded yet is loaded, if it is the project's.

        Otherwise the result would depend on what has run before. Modules of libraries are never loaded.
        """
        modules: dict[tuple[int, str], ModuleType] = {}
        for level, source in known.imports:
            try:
                full = importlib.util.resolve_name("." * level + source, space.get("__package__") or "")
                top = full.partition(".")[0]
                found: Any = sys.modules.get(top) or importlib.util.find_spec(top)
                file = getattr(found, "__file__", None) or getattr(found, "origin", None)
                if found is None or not _counts(self._project, self._extra, full, file):
                    parts.append(f"import:{full}")
                else:
                    modules[level, source] = importlib.import_module(full)
            except Exception as error:  # noqa: BLE001  (a body that cannot run yet has a fingerprint too: this text)
                parts.append(f"import:{source} {type(error).__name__}")
        for level, source, is_from, chain in known.import_uses() if modules else ():
            module = modules.get((level, source))
            if module is None:
                continue
            name = module.__name__
            if not is_from:
                module = sys.modules[name.partition(".")[0]]
            elif chain[0] not in vars(module) and f"{name}.{chain[0]}" not in sys.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(f"{name}.{chain[0]}")
            self._chain(parts, module, chain)

    # ---- classes

    def _class(self, node: Node, cls: type) -> None:
        parts, attributes = node.parts, vars(cls)
        self._classes.append((cls, cls.__mro__, [*attributes], [*attributes.values()]))
        parts.append("class")
        for kin in (type(cls), *cls.__mro__[1:-1]):
            if kin is not type:
                self._put(parts, kin)
        skip = self._skip if id(cls) in self._own else None
        fields = attributes.get("__dataclass_fields__")
        has_fields = bool(fields) or issubclass(cls, tuple)
        is_enum = issubclass(type(cls), EnumMeta)
        if is_enum:
            self._put(parts, {name: member.value for name, member in cls.__members__.items()})  # type: ignore[attr-defined]
        for name in sorted(attributes):
            value = attributes[name]
            kind = type(value)
            if name in _NOT_CODE or kind.__name__ in _SLOTS or (skip is not None and skip(name, value)):
                continue
            if has_fields and name in _MADE_FROM_FIELDS and not _is_written(value, self._is_own, "<string>"):
                continue
            if is_enum and not _is_written(value, self._is_own):
                continue
            label = f"{node.label}.{name}"
            found: list[Any] = []
            self._named(found, value, label, node.module, (id(cls), name))
            alone = len(found) == 1 and type(found[0]) is Node and found[0].label == label
            (node.inner if alone else parts).extend([f"{name}=", *found])
        for field in (fields or {}).values():
            parts.append(f"field {field.name} {field.init} {field.compare}")
            for default in (field.default, field.default_factory):
                self._put(parts, default)

    # ---- values

    def _named(self, parts: list[Any], value: Any, label: str, module: str, key: Any) -> None:
        """Put a value that has a name: plain data is a member under that name, anything else has its own."""
        kind: Any = type(value)
        if is_data(kind):
            parts.append(self._node(key, label, module, value))
        else:
            self._put(parts, value, label)

    def _put(self, parts: list[Any], value: Any, label: str = "", depth: int = 0) -> None:
        kind = type(value)  # isinstance() would ask proxies and mocks, which may do anything
        if kind in SCALARS:
            parts.append(ascii(value))
        elif kind is FunctionType:
            self._callable(parts, value, label)
        elif issubclass(kind, type):
            if id(value) not in self._own and self._stop(value):
                parts.append(f"task:{value.__qualname__}")
                self.stopped.append(value)
            elif self._is_own(value):
                parts.append(self._node(id(value), value.__qualname__, str(value.__module__), value))
            else:
                parts.append(dotted(value))
        elif kind is ModuleType:
            parts.append(f"module:{value.__name__}")
        elif depth > 50 or self._room <= 0:  # ends what contains itself, too
            parts.append("...")
        elif issubclass(kind, Enum):
            parts.append(f"{kind.__qualname__}.{value.name}")
            self._put(parts, value.value, "", depth + 1)
        elif issubclass(kind, CONTAINERS):
            self._container(parts, kind, value, depth + 1)
        else:
            content = inside(kind, value)
            if content is None:
                self._object(parts, kind, value, depth + 1)
            else:
                parts.append(kind.__name__)
                for part in content:
                    self._put(parts, part, label, depth + 1)

    def _callable(self, parts: list[Any], function: FunctionType, label: str) -> None:
        if self._is_own(function):
            name = function.__qualname__
            if name.endswith("<lambda>"):
                name = label or name
            elif "__wrapped__" in function.__dict__:  # functools.wraps gave it the name of what it wraps
                name = f"{name}@{function.__code__.co_name}"
            parts.append(self._node(id(function), name, str(function.__module__), function))
        else:
            top = str(function.__globals__.get("__name__")).partition(".")[0]
            parts.append(f"@{top}:{function.__code__.co_name}")
            self._wrapped(parts, function.__dict__)

    def _wrapped(self, parts: list[Any], attributes: dict[str, Any]) -> None:
        """Follow a library's wrapper (lru_cache, contextmanager, cached_property, numba, click) to what it wraps."""
        for name in ("__wrapped__", "func", "py_func", "callback"):
            if type(attributes.get(name)) is FunctionType:
                self._put(parts, attributes[name])
        if type(attributes.get("registry")) is MappingProxyType:  # singledispatch
            self._put(parts, attributes["registry"])

    def _container(self, parts: list[Any], kind: type, value: Any, depth: int) -> None:
        if value.__class__ in CONTAINERS:
            parts.append(f"{kind.__name__} {len(value)}(")
        else:
            self._put(parts, kind)
            parts.append(f"{len(value)}(")
        if len(value) <= self._room:
            self._room -= len(value)
            if issubclass(kind, MAPPINGS):
                content = self._pin(mapping_content, value)
            elif issubclass(kind, (tuple, frozenset)):
                content = list(value)
            else:
                content = self._pin(list, value)
            items: list[list[Any]] = []
            for item in content:
                items.append([])
                self._put(items[-1], item, "", depth)
            if issubclass(kind, (set, frozenset)):
                items.sort(key=_sorting)
            for found in items:
                parts.extend(found)
        parts.append(")")

    def _object(self, parts: list[Any], kind: type, value: Any, depth: int) -> None:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in BY_REPR:
            parts.append(f"{name} {value!a}")
        elif name == "re.Pattern":
            parts.append(f"{name} {value.pattern!a} {value.flags}")
        elif name == "numpy.ndarray":
            parts.extend(self._pin(array_content, value))
        elif name.startswith("pathlib."):
            parts.append(f"path {str(value)!a}")
        elif issubclass(kind, SCALAR_TYPES):  # a subclass, as numpy.float64 is
            base: Any = next(base for base in kind.__mro__ if base in SCALARS)
            parts.append(f"{dotted(kind)} {base.__repr__(value)}")
        elif issubclass(kind, BuiltinFunctionType) or value is MISSING:
            parts.append("empty" if value is MISSING else dotted(value))
        else:
            self._put(parts, kind)
            fields = getattr(kind, "__dataclass_fields__", None)
            if fields and self._is_own(kind):
                for field, item in zip(fields, self._pin(field_content, value), strict=True):
                    parts.append(f"{field}=")
                    self._put(parts, item, "", depth)
            if getattr(kind, "__dictoffset__", 0):
                self._wrapped(parts, object.__getattribute__(value, "__dict__"))


def _is_written(value: Any, is_own: Callable[[Any], bool], made_in: str = "") -> bool:
    """Return whether the user wrote an attribute: not the machinery of enums, nor code that was made from text."""
    if type(value) is FunctionType:
        return is_own(value) and value.__code__.co_filename != made_in
    return type(value) in (property, classmethod, staticmethod)


def _sorting(parts: list[Any]) -> list[str]:
    return [part.label if type(part) is Node else part for part in parts]
