"""Parameters as attributes of a class: each knows its name, and some names are not for them."""

from __future__ import annotations

import copy
from typing import Any

import luigi

from d6tpipe.errors import DeclarationError

__all__ = ["RESERVED", "check_name", "own_parameters"]

RESERVED = frozenset({"job"})
"""Names that a parameter cannot have: ``self.job`` is the context of a running body."""


def own_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """Give each name in the namespace of a class a parameter of its own, and return the namespace.

    As a descriptor a parameter knows only one name: one that goes by another already is copied.
    """
    seen: dict[int, str] = {}
    for name, value in namespace.items():
        if not isinstance(value, luigi.Parameter):
            continue
        if seen.setdefault(id(value), name) != name or getattr(value, "_attribute_name", name) != name:
            namespace[name] = copy.copy(value)
    return namespace


def check_name(cls: type, name: str, value: Any) -> None:
    """Raise DeclarationError for a parameter of a reserved name, and for a parameter class in place of a parameter."""
    if name in RESERVED and isinstance(value, luigi.Parameter):
        raise DeclarationError(
            f"A parameter cannot be called '{name}'",
            task=cls,
            facts={"reserved": f"self.{name} is the run-time context of a task"},
            hint=f"Rename the parameter, for example '{name}_name'.",
        )
    if isinstance(value, type) and issubclass(value, luigi.Parameter):  # it would be a plain attribute, unnoticed
        raise DeclarationError(
            f"'{name}' is a parameter class, not a parameter",
            task=cls,
            facts={"declared": f"{name} = {value.__name__}"},
            hint=f"Add the parentheses: {name} = {value.__name__}().",
        )
