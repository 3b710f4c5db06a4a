"""Class decorators that pass parameters upstream: ``requires`` and ``inherits``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import luigi
import luigi.util  # d6tflow imports it, and its users write luigi.util.requires after a bare "import luigi"

from d6tpipe.errors import DeclarationError

_Class = TypeVar("_Class", bound=type)

__all__ = ["clone_parent", "dict_inherits", "dict_requires", "inherits", "requires"]


def inherits(*tasks: Any, **named: Any) -> Callable[[_Class], _Class]:
    """Give a task class the parameters of others that it does not declare itself.

    Parameters
    ----------
    *tasks : task classes, or one dict of name to task class
    **named : task classes
        luigi's other spelling of the dict.

    Returns
    -------
    callable
        Class decorator. It adds the missing parameters and the methods ``clone_parent()`` and ``clone_parents()``,
        for a dict ``clone_parents_dict()``, which return the named tasks with this task's values.
    """
    classes = _check("inherits", tasks, named)

    def decorate(cls: _Class) -> _Class:
        for other in classes.values() if isinstance(classes, Mapping) else classes:
            for name, parameter in other.get_params():
                if not hasattr(cls, name):
                    setattr(cls, name, parameter)
        if isinstance(classes, Mapping):

            def clone_parents_dict(self: Any, **kwargs: Any) -> dict[str, Any]:
                return {name: self.clone(other, **kwargs) for name, other in classes.items()}

            cls.clone_parents_dict = clone_parents_dict  # type: ignore[attr-defined]
            if named:
                cls.clone_parents = clone_parents_dict  # type: ignore[attr-defined]
        else:

            def clone_parent(self: Any, **kwargs: Any) -> Any:
                return self.clone(classes[0], **kwargs)

            def clone_parents(self: Any, **kwargs: Any) -> list[Any]:
                return [self.clone(other, **kwargs) for other in classes]

            cls.clone_parent = clone_parent  # type: ignore[attr-defined]
            cls.clone_parents = clone_parents  # type: ignore[attr-defined]
        return cls

    return decorate


def requires(*tasks: Any, **named: Any) -> Callable[[_Class], _Class]:
    """Make a task class require others, with its own values for the parameters they share.

    Parameters
    ----------
    *tasks : task classes, or one dict of name to task class
    **named : task classes
        luigi's other spelling of the dict.

    Returns
    -------
    callable
        Class decorator: does what `inherits` does and writes ``requires()``, which returns one task for one class, a
        list for several, a dict for a dict.
    """
    classes = _check("requires", tasks, named)

    def decorate(cls: _Class) -> _Class:
        cls = inherits(*tasks, **named)(cls)

        def requires(self: Any) -> Any:
            if isinstance(classes, Mapping):
                return {name: self.clone(other) for name, other in classes.items()}
            if len(classes) == 1:
                return self.clone(classes[0])
            return [self.clone(other) for other in classes]

        cls.requires = requires  # type: ignore[attr-defined]
        return cls

    return decorate


# d6tflow's names for the form with a dict.
dict_inherits = inherits
dict_requires = requires


def clone_parent(cls: _Class) -> _Class:
    """Write ``requires()`` as ``self.clone_parent()``; deprecated, use `requires`."""
    warnings.warn("d6tpipe.clone_parent is replaced by @d6tpipe.requires(...)", DeprecationWarning, stacklevel=2)

    def requires(self: Any) -> Any:
        return self.clone_parent()

    cls.requires = requires  # type: ignore[attr-defined]
    return cls


def _check(decorator: str, tasks: tuple[Any, ...], named: dict[str, Any]) -> Any:
    classes: Any = tasks
    if named and not tasks:
        classes = named
    elif len(tasks) == 1 and isinstance(tasks[0], Mapping) and not named:
        classes = dict(tasks[0])
    if not classes or (tasks and named):
        raise DeclarationError(
            f"@{decorator} needs task classes, as a list or by name",
            facts={"got": repr(tasks or "nothing")},
            hint=f"Write @{decorator}(A), @{decorator}(A, B) or @{decorator}({{'a': A, 'b': B}}).",
        )
    for other in classes.values() if isinstance(classes, Mapping) else classes:
        if not (isinstance(other, type) and issubclass(other, luigi.Task)):
            raise DeclarationError(
                f"@{decorator} got something that is not a task class",
                facts={"got": repr(other)},
                hint="Pass the class itself, without parentheses.",
            )
    return classes
