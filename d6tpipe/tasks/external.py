"""External tasks: those whose outputs are made elsewhere. One rule, asked of a class or of a task."""

from __future__ import annotations

from typing import Any

import luigi

__all__ = ["declared_external", "is_external", "plain_option"]


def plain_option(cls: type, name: str) -> Any:
    """Return a class option that is a plain value; None for a parameter or a property of that name."""
    value = getattr(cls, name, None)
    return None if isinstance(value, (luigi.Parameter, property)) else value


def declared_external(cls: type) -> bool:
    """Return whether the outputs of all tasks of `cls` are made elsewhere."""
    return getattr(cls, "run", None) in (None, NotImplemented) or bool(plain_option(cls, "external"))


def is_external(task: Any) -> bool:
    """Return whether the outputs of `task` are made elsewhere: ``external = True``, or luigi's ``run = None``."""
    own, cls = task.__dict__, task.__class__
    run = own["run"] if "run" in own else getattr(cls, "run", None)
    if run is None or run is NotImplemented:
        return True
    # Asked of the class first: a task without the attribute would look for it in vain, and that is nearly every one.
    return ("external" in own or hasattr(cls, "external")) and bool(getattr(task, "external", False))
