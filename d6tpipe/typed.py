"""Typed declarations: ``lr: float = param(0.1)`` says what ``lr = FloatParameter(default=0.1)`` says.

`param` leaves a `Declaration` in the class body. Before the class is made, its metaclass has `declared_parameters` put
the parameter there that the annotation asks for, so that nothing else knows of two forms. Other classes (mixins, plain
luigi tasks) are served by ``__set_name__``. To type checkers annotations are the fields of a dataclass: luigi says so
of its tasks (``dataclass_transform``).
"""

from __future__ import annotations

import datetime
import enum
import math
import operator
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, overload
from weakref import WeakSet

import luigi

from d6tpipe import parameters
from d6tpipe.constructor import MISSING
from d6tpipe.errors import DeclarationError
from d6tpipe.values import canonical

if TYPE_CHECKING:
    from typing_extensions import Unpack

    class _Keywords(parameters._Keywords, total=False):
        choices: Iterable[Any] | None
        min: float | None
        max: float | None


__all__ = ["Declaration", "Open", "declared_parameters", "param"]

T = TypeVar("T")

MYPY = False
"""mypy, and no other type checker, takes it for True."""

# A constructor takes more than type checkers know: parameters without annotations, and those that @requires adds. Where
# a base is Any, mypy lets these pass and still checks the annotated ones; pyright would then check nothing at all.
if MYPY:
    Open: Any = object
elif TYPE_CHECKING:

    class Open: ...

else:
    Open = object

_CLASSES: dict[Any, str] = {
    int: "IntParameter", float: "FloatParameter", str: "StrParameter", bool: "BoolParameter",
    datetime.date: "DateParameter", datetime.datetime: "DateSecondParameter", datetime.timedelta: "TimeDeltaParameter",
    Path: "PathParameter", Any: "Parameter", list: "ListParameter", Sequence: "ListParameter",
    tuple: "TupleParameter", dict: "DictParameter", Mapping: "DictParameter",
}  # fmt: skip
_SUPPORTED = (
    "int, float, str, bool, date, datetime, Path, list[...], tuple[...], dict[...], Literal[...], Any, a task class,\n"
    "a Config, each also with | None; timedelta, an Enum, list[...] and tuple[...] of an Enum or of Literal[...]"
)


@overload
def param(default: T, **keywords: Unpack[_Keywords]) -> T: ...
@overload
def param(**keywords: Unpack[_Keywords]) -> Any: ...
def param(default: Any = MISSING, *, choices: Any = None, min: Any = None, max: Any = None, **keywords: Any) -> Any:
    """Declare a parameter of the kind that its annotation names: ``lr: float = d6tpipe.param(0.1, min=0)``.

    Parameters
    ----------
    default : object, optional
        Value when none is given. Without it the parameter must be given, except that a bool is then False, and what
        may be None is None.
    choices : iterable, optional
        The only values there are; of an int, float or str.
    min, max : number, optional
        The least and the greatest value, both of them included; of an int or float.
    **keywords
        As of `Parameter`: ``significant``, ``ignore_default``, ``description`` ...

    Returns
    -------
    object
        To type checkers the default; in fact what holds the place until the class is made.
    """
    return Declaration(default, keywords, None if choices is None else list(choices), (min, max))


class Declaration:
    """What `param` returns: a parameter of a kind that is not known yet."""

    def __init__(self, default: Any, keywords: dict[str, Any], choices: Any, bounds: tuple[Any, Any]) -> None:
        self.default, self.keywords, self.choices, self.bounds = default, keywords, choices, bounds
        # Takes its place among the parameters of both forms, and a wrong keyword is told in the line that has it.
        self.order = parameters.Parameter(**keywords)._counter

    def __set_name__(self, owner: type, name: str) -> None:
        try:
            self.settle(owner, name)
        except DeclarationError:
            if luigi.Task in owner.__mro__:
                raise
            _waiting.add(owner)  # told when a task inherits it: Python before 3.12 would make a RuntimeError of it

    def settle(self, cls: type, name: str) -> None:
        """Become a parameter of a class that is made already."""
        parameter = self.parameter(cls, name)
        setattr(cls, name, parameter)
        parameter.__set_name__(cls, name)

    def parameter(self, cls: type, name: str) -> Any:
        """Return the parameter that this is as an attribute of a class."""
        return _Reading(self, name, vars(cls), cls.__qualname__, cls.__mro__).parameter()


_waiting: WeakSet[type] = WeakSet()  # no tasks; with declarations that could not be understood so far


def declared_parameters(namespace: dict[str, Any], bases: Iterable[type], name: str) -> None:
    """Put parameters in the place of declarations, in the namespace of the class `name` that is about to be made.

    `namespace` is changed. A base class that is no task gets its parameters now if it could not before.
    """
    if _waiting:
        for cls in [cls for base in bases for cls in base.__mro__ if cls in _waiting]:
            for attribute, value in list(vars(cls).items()):
                if value.__class__ is Declaration:
                    value.settle(cls, attribute)
            _waiting.discard(cls)
    for attribute, value in namespace.items():
        if value.__class__ is Declaration:
            mro = [cls for base in bases for cls in base.__mro__]
            qualname = namespace.get("__qualname__", name)
            namespace[attribute] = _Reading(value, attribute, namespace, qualname, mro).parameter()


class _Reading:
    """A declaration and the class that it stands in, made already or about to be."""

    def __init__(
        self, declared: Declaration, name: str, namespace: Mapping[str, Any], qualname: str, mro: Iterable[type]
    ) -> None:
        self.declared, self.name, self.namespace, self.qualname, self.mro = declared, name, namespace, qualname, mro
        self.written: Any = None

    def parameter(self) -> Any:
        """Return the parameter that stands for the declaration."""
        declared, default = self.declared, self.declared.default
        self.written = self._annotation()
        annotation = kind = self._resolved(self.written)
        optional = False
        if get_origin(annotation) in (Union, types.UnionType, Literal):
            inner = [item for item in get_args(annotation) if item not in (None, types.NoneType)]
            optional = len(inner) < len(get_args(annotation))
            if get_origin(annotation) is not Literal:
                kind = self._resolved(inner[0]) if len(inner) == 1 else None
        default = None if optional and default is MISSING else default
        keywords = declared.keywords if default is MISSING else {**declared.keywords, "default": default}
        parameter = self._maker(kind, optional)(**keywords)
        problem: object = None
        if default is None and not optional and annotation is not Any:
            problem = "None is no value of it"
        elif default is not None and default is not MISSING:
            problem = _misfit(parameter, default)
            if problem is None and optional and _misfit(parameter, None):
                problem = f"{type(parameter).__name__} takes None only as its default"
        if problem is not None:
            hint = f"Give a default that fits, or change the annotation of '{self.name}'."
            value = f"{default!r:.200} ({type(default).__name__})"
            raise self._error("has a default that does not fit its annotation", hint, default=value, problem=problem)
        parameter._counter = declared.order
        parameter._annotation = annotation
        return parameter

    def _annotation(self) -> Any:
        """Return the annotation that stands here, or in a base class, or what the default amounts to."""
        here = _annotations(self.namespace)
        if self.name in here:
            return here[self.name]
        for cls in self.mro:
            found: Any = vars(cls).get(self.name)
            if hasattr(found, "_annotation"):
                return found._annotation
        kind = type(self.declared.default)
        if kind in (type(None), type(MISSING)):
            hint = f"Write {self.name}: int = d6tpipe.param(...), or whatever type it has."
            raise self._error("has neither an annotation nor a default that tells its type", hint)
        return next((base for base in kind.__mro__ if base in _CLASSES and not issubclass(kind, enum.Enum)), kind)

    def _resolved(self, annotation: Any) -> Any:
        """Return what an annotation stands for: text is evaluated, further names of a type are followed."""
        while True:
            if isinstance(annotation, ForwardRef):
                annotation = annotation.__forward_arg__
            if isinstance(annotation, str):
                try:
                    annotation = eval(annotation, *self._scope())
                except Exception as error:
                    hint = "Define or import what it names above the class, and not below TYPE_CHECKING."
                    problem = f"{type(error).__name__}: {error}"
                    raise self._error("has an annotation that cannot be read", hint, problem=problem) from error
            elif get_origin(annotation) is Annotated:
                annotation = get_args(annotation)[0]
            elif further := getattr(annotation, "__supertype__", getattr(annotation, "__value__", None)):
                annotation = further  # of a NewType, of "type X = ..."
            else:
                return annotation

    def _scope(self) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """Return the globals of the class body, and the names in it and in the functions around it that still run."""
        module = self.namespace.get("__module__")
        functions = [path.rpartition(".")[2] for path in self.qualname.split(".<locals>.")[:-1]]
        not_meant = (Declaration, luigi.Parameter)  # by day: day = param()
        places: list[Any] = [{n: v for n, v in self.namespace.items() if not isinstance(v, not_meant)}]
        known: Any = None
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and (known is None or functions):
            if frame.f_globals.get("__name__") == module:
                known = known or frame.f_globals
                if functions and frame.f_code.co_name == functions[-1]:
                    functions.pop()
                    places.append(frame.f_locals)
            frame = frame.f_back
        return known or getattr(sys.modules.get(str(module)), "__dict__", {}), ChainMap(*places)

    def _maker(self, kind: Any, optional: bool) -> Callable[..., Any]:
        """Return what makes the parameter when it is called with the usual keywords."""
        own = getattr(kind, "__d6tpipe_parameter__", None)  # called with keywords of Parameter, returns a parameter
        name, further = (None, {}) if own is not None else self._class(kind)
        if self.declared.choices is not None or self.declared.bounds != (None, None):
            name, further = self._limited(kind, name)
        if own is not None:
            return own
        if (
            optional and name is not None and not name.startswith(("Date", "TaskInstance"))
        ):  # these take None as they are
            name = f"Optional{name}" if f"Optional{name}" in parameters.__all__ else None
        if name is None:
            hint = f"Take one of these, or give a parameter: {self.name} = d6tpipe.Parameter(...)."
            raise self._error("has an annotation that no parameter stands for", hint, supported=_SUPPORTED)
        return partial(getattr(parameters, name), **further)

    def _class(self, kind: Any) -> tuple[str | None, dict[str, Any]]:
        """Return the name of the parameter class for a type (None: there is none), and what else it is told."""
        base, inner = get_origin(kind) or kind, [item for item in get_args(kind) if item not in (None, Ellipsis)]
        if base is Literal:
            of = {type(value) for value in inner}
            fits = len(of) == 1 and of <= {str, int, bool}
            return ("ChoiceParameter", {"choices": inner, "var_type": of.pop()}) if fits else (None, {})
        name = _CLASSES.get(base) if isinstance(base, Hashable) else None
        if name in ("ListParameter", "TupleParameter") and len(inner) == 1:
            member, further = self._class(self._resolved(inner[0]))
            if member in ("EnumParameter", "ChoiceParameter"):
                return member.replace("Parameter", "ListParameter"), further
        if name is None and isinstance(base, type) and issubclass(base, enum.Enum):
            return "EnumParameter", {"enum": base}
        if name is None and isinstance(base, type) and issubclass(base, luigi.Task):
            return "TaskInstanceParameter", {"task_class": base}
        return name, {}

    def _limited(self, kind: Any, name: str | None) -> tuple[str, dict[str, Any]]:
        """Return the name of the parameter class that has choices or bounds, and what else it is told."""
        choices, bounds = self.declared.choices, self.declared.bounds
        hint = "choices= goes with int, float and str, min= and max= with int and float, and not both at once."
        number = name in ("IntParameter", "FloatParameter")
        if not (number if choices is None else bounds == (None, None) and (number or name == "StrParameter")):
            raise self._error("has limits that do not go with its annotation", hint)
        proper = partial(canonical, getattr(parameters, str(name))())
        try:
            if choices is not None:
                return "ChoiceParameter", {"choices": [proper(choice) for choice in choices], "var_type": kind}
            least = -math.inf if bounds[0] is None else proper(bounds[0])
            most = math.inf if bounds[1] is None else proper(bounds[1])
        except ValueError as error:
            raise self._error("has a limit that does not fit its annotation", hint, problem=error) from error
        return "NumericalParameter", {"var_type": kind, "min_value": least, "max_value": most, "right_op": operator.le}

    def _error(self, headline: str, hint: str, **facts: object) -> DeclarationError:
        written = self.written
        shown = written.__qualname__ if isinstance(written, type) and not get_args(written) else written
        return DeclarationError(
            f"Parameter '{self.name}' of {self.qualname.rpartition('.')[2]} {headline}",
            task=self.qualname,
            facts=facts if written is None else {"annotation": shown} | facts,
            hint=hint,
        )


def _misfit(parameter: luigi.Parameter[Any], value: Any) -> Exception | None:
    """Return what is wrong with a value."""
    try:
        canonical(parameter, value)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        return error
    return None


def _annotations(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the annotations of a class body; on Python 3.14 what cannot be read is a ForwardRef."""
    if sys.version_info >= (3, 14) and "__annotations__" not in namespace:
        from annotationlib import Format, call_annotate_function, get_annotate_from_class_namespace

        annotate = get_annotate_from_class_namespace(namespace)
        return {} if annotate is None else call_annotate_function(annotate, Format.FORWARDREF)
    return namespace.get("__annotations__", {})
