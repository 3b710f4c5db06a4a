"""What values are made of, and what of them can change."""

from __future__ import annotations

import functools
import sys
from enum import Enum
from hashlib import blake2b
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

__all__ = [
    "BY_REPR", "CONTAINERS", "LIMIT", "MAPPINGS", "MISSING", "SCALARS", "SCALAR_TYPES", "array_content",
    "cell_contents", "dotted", "field_content", "inside", "is_data", "mapping_content",
]  # fmt: skip

LIMIT = 10_000
"""How many items of one plain-data value are looked at; a larger one, and an array of over 1 MB, counts by its size."""

MISSING: Any = object()
SCALAR_TYPES: tuple[type, ...] = (int, float, str, bytes, bool, complex, type(None), type(Ellipsis))
SCALARS = frozenset(SCALAR_TYPES)
MAPPINGS = (dict, MappingProxyType)
CONTAINERS = (list, tuple, set, frozenset, *MAPPINGS)
BY_REPR = {
    "builtins.range", "builtins.slice", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta",
    "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "zoneinfo.ZoneInfo",
}  # fmt: skip
_BY_CONTENT = {"re.Pattern", "numpy.ndarray"}


def dotted(value: Any) -> str:
    """Return package and qualified name; the module in between may change from release to release."""
    module = str(getattr(value, "__module__", None) or "builtins")
    return f"@{module.partition('.')[0]}:{getattr(value, '__qualname__', type(value).__qualname__)}"


@functools.lru_cache(maxsize=1000)
def is_data(kind: type) -> bool:
    """Return whether instances are plain data, which has no name of its own."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return (
        issubclass(kind, (*SCALAR_TYPES, *CONTAINERS, Enum, functools.partial))
        or name in BY_REPR
        or name in _BY_CONTENT
        or name.startswith("pathlib.")
        or hasattr(kind, "__dataclass_fields__")
    )


def inside(kind: type, value: Any) -> tuple[Any, ...] | None:
    """Return what a wrapper of the language or of functools consists of."""
    if kind is staticmethod or kind is classmethod:
        return (value.__func__,)
    if kind is property:
        return value.fget, value.fset, value.fdel
    if kind is MethodType:
        return value.__func__, value.__self__
    if kind is functools.partial or kind is functools.partialmethod:
        return value.func, value.args, value.keywords
    return None


# ---- what of an object can change


def cell_contents(function: FunctionType) -> list[Any]:
    found: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            found.append(MISSING)
    return found


def mapping_content(mapping: Any) -> list[Any]:
    return [part for pair in mapping.items() for part in pair]


def field_content(value: Any) -> list[Any]:
    found = []
    for name in type(value).__dataclass_fields__:
        try:
            found.append(object.__getattribute__(value, name))
        except AttributeError:
            found.append(MISSING)
    return found


def array_content(array: Any) -> list[Any]:
    if array.nbytes > 100 * LIMIT:
        data = b""
    elif array.dtype.hasobject:
        data = ascii(array.ravel()[:LIMIT].tolist()).encode()
    else:
        data = array.tobytes()
    # Interned: equal texts are one object, which is how pins are compared.
    return [sys.intern(f"array {array.dtype!s} {array.shape} {blake2b(data, digest_size=16).hexdigest()}")]
