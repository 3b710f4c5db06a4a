"""Parameter classes: what a task declares.

Each class is luigi's class of the same name and works wherever luigi's does, plain ``luigi.Task`` included.
It takes one keyword more: ``ignore_default=True`` leaves the parameter out of the identity of a task while it
has its default value, so that adding a parameter to a class does not rename what is already built.

What form a value has, and which values fit, is in `d6tpipe.values`.
"""

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, overload

import luigi
from luigi import date_interval
from luigi.parameter import ParameterVisibility
from typing_extensions import TypeVar

from d6tpipe.errors import DeclarationError
from d6tpipe.task_values import Composite, is_object_text, object_of, task_from_text, task_text

if TYPE_CHECKING:
    from luigi.parameter import _NoValueType
    from typing_extensions import TypedDict, Unpack

    class _Keywords(TypedDict, total=False):
        significant: bool
        description: str | None
        config_path: Any
        positional: bool
        always_in_help: bool
        batch_method: Callable[[Iterable[Any]], Any] | None
        visibility: ParameterVisibility
        ignore_default: bool


__all__ = [
    # text, numbers, truth
    "Parameter", "StrParameter", "IntParameter", "FloatParameter", "BoolParameter", "NumericalParameter",
    # time
    "DateParameter", "MonthParameter", "YearParameter", "DateHourParameter", "DateMinuteParameter",
    "DateSecondParameter", "DateIntervalParameter", "TimeDeltaParameter",
    # one or several out of a given set
    "EnumParameter", "EnumListParameter", "ChoiceParameter", "ChoiceListParameter",
    # containers
    "DictParameter", "ListParameter", "TupleParameter",
    # other
    "PathParameter", "ConfigParameter", "TaskInstanceParameter", "TaskParameter",
    # the same, None included
    "OptionalParameter", "OptionalStrParameter", "OptionalIntParameter", "OptionalFloatParameter",
    "OptionalBoolParameter", "OptionalNumericalParameter", "OptionalChoiceParameter", "OptionalDictParameter",
    "OptionalListParameter", "OptionalTupleParameter", "OptionalPathParameter",
    "ParameterVisibility",
]  # fmt: skip

T = TypeVar("T", default=str)
E = TypeVar("E", bound=enum.Enum)
N = TypeVar("N", int, float)
TaskClass = TypeVar("TaskClass", bound=luigi.Task, default=luigi.Task)
ConfigClass = TypeVar("ConfigClass", default=Any)
DictT = TypeVar("DictT", bound=dict[Any, Any], default=dict[Any, Any])
ListT = TypeVar("ListT", bound=tuple[Any, ...], default=tuple[Any, ...])


# Signatures are written for type checkers and editors only. At run time there is one __init__, which takes
# its own keyword out and passes everything else to luigi's class of the same name (next in the order of
# bases): luigi's positional arguments keep working, whatever they are in the version installed.


class Parameter(luigi.Parameter[T]):
    """A value of any kind; text if it comes from the command line.

    Parameters
    ----------
    default : object, optional
        Value when none is given; without it the parameter must be given.
    significant : bool
        Whether it counts for the identity of a task.
    ignore_default : bool
        Leave it out of the identity while it has its default value.
    description : str, optional
        Shown in the help of the command line.
    positional : bool
        Whether it may be given by position.
    visibility : ParameterVisibility
        Whether luigi's scheduler may show it.
    """

    ignore_default: bool = False

    if TYPE_CHECKING:

        def __init__(self, default: T | _NoValueType = ..., **keywords: Unpack[_Keywords]) -> None: ...

    else:

        def __init__(self, *args, ignore_default=False, **keywords):
            super().__init__(*args, **keywords)
            self.ignore_default = bool(ignore_default)


class _Optional(Generic[T]):
    """Gives type checkers the signature of parameters whose default is None."""

    if TYPE_CHECKING:

        def __init__(self, default: T | _NoValueType | None = ..., **keywords: Unpack[_Keywords]) -> None: ...


class OptionalParameter(_Optional[str], Parameter[str], luigi.OptionalParameter):  # type: ignore[misc]
    """A value of any kind, or None."""


class StrParameter(Parameter[str], luigi.StrParameter):
    """Text; numbers, paths and dates become their text."""


class OptionalStrParameter(_Optional[str], Parameter[str], luigi.OptionalStrParameter):  # type: ignore[misc]
    """Text, or None."""


class IntParameter(Parameter[int], luigi.IntParameter):
    """A whole number."""


class OptionalIntParameter(_Optional[int], IntParameter, luigi.OptionalIntParameter):  # type: ignore[misc]
    """A whole number, or None."""


class FloatParameter(Parameter[float], luigi.FloatParameter):
    """A number; 5 becomes 5.0."""


class OptionalFloatParameter(_Optional[float], FloatParameter, luigi.OptionalFloatParameter):  # type: ignore[misc]
    """A number, or None."""


class BoolParameter(Parameter[bool], luigi.BoolParameter):
    """True or False; False if there is no other default.

    ``parsing`` is luigi's: with ``BoolParameter.IMPLICIT_PARSING`` (the default) naming it on the command
    line means True, with ``EXPLICIT_PARSING`` the value is written out.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            default: bool | _NoValueType = ...,
            parsing: str | None = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalBoolParameter(_Optional[bool], BoolParameter, luigi.OptionalBoolParameter):  # type: ignore[misc]
    """True, False or None."""


class NumericalParameter(Parameter[N], luigi.NumericalParameter[N]):
    """A number of type `var_type` from `min_value` up to, not including, `max_value`."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: N | _NoValueType = ...,
            *,
            var_type: type[N],
            min_value: N,
            max_value: N,
            left_op: Callable[[Any, Any], bool] = ...,
            right_op: Callable[[Any, Any], bool] = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalNumericalParameter(NumericalParameter[N], luigi.OptionalNumericalParameter[N]):  # type: ignore[misc]
    """A number in a range, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: N | _NoValueType | None = ...,
            *,
            var_type: type[N],
            min_value: N,
            max_value: N,
            left_op: Callable[[Any, Any], bool] = ...,
            right_op: Callable[[Any, Any], bool] = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class DateParameter(Parameter[datetime.date], luigi.DateParameter):
    """A day; with `interval` = n, every n-th day counted from `start`."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: datetime.date | _NoValueType = ...,
            interval: int = 1,
            start: datetime.date | None = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class MonthParameter(DateParameter, luigi.MonthParameter):
    """The first day of a month."""


class YearParameter(DateParameter, luigi.YearParameter):
    """The first day of a year."""


class _Moment(Parameter[datetime.datetime]):
    if TYPE_CHECKING:

        def __init__(
            self,
            default: datetime.datetime | _NoValueType = ...,
            interval: int = 1,
            start: datetime.datetime | None = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class DateHourParameter(_Moment, luigi.DateHourParameter):
    """A full hour of a day; with `interval` = n, every n-th."""


class DateMinuteParameter(_Moment, luigi.DateMinuteParameter):
    """A full minute of a day; with `interval` = n, every n-th."""


class DateSecondParameter(_Moment, luigi.DateSecondParameter):
    """A full second of a day; with `interval` = n, every n-th."""


class DateIntervalParameter(Parameter[date_interval.DateInterval], luigi.DateIntervalParameter):
    """A day, week, month, year or range of days: "2015-11-04", "2015-W35", "2015-05", "2015", "day-day"."""


class TimeDeltaParameter(Parameter[datetime.timedelta], luigi.TimeDeltaParameter):
    """A length of time; a number means seconds, text is "1 week 2 days" or ISO 8601."""


class EnumParameter(Parameter[E], luigi.EnumParameter[E]):
    """A member of `enum`, also given by name."""

    if TYPE_CHECKING:

        def __init__(
            self, default: E | _NoValueType = ..., *, enum: type[E], **keywords: Unpack[_Keywords]
        ) -> None: ...


class EnumListParameter(Parameter[tuple[E, ...]], luigi.EnumListParameter[E]):
    """Members of `enum`, also given by name, or all in one text with commas."""

    if TYPE_CHECKING:

        def __init__(
            self, default: tuple[E, ...] | _NoValueType = ..., *, enum: type[E], **keywords: Unpack[_Keywords]
        ) -> None: ...


class ChoiceParameter(Parameter[T], luigi.ChoiceParameter[T]):
    """One of `choices`, all of type `var_type` (text if not said)."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: T | _NoValueType = ...,
            *,
            choices: Iterable[T],
            var_type: type[T] = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalChoiceParameter(ChoiceParameter[T], luigi.OptionalChoiceParameter[T]):  # type: ignore[misc]
    """One of `choices`, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: T | _NoValueType | None = ...,
            *,
            choices: Iterable[T],
            var_type: type[T] = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class ChoiceListParameter(ChoiceParameter[T], luigi.ChoiceListParameter[T]):
    """Any number of `choices`, in order, also repeated."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: tuple[T, ...] | _NoValueType = ...,
            *,
            choices: Iterable[T],
            var_type: type[T] = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...

    def serialize(self, x: Iterable[Any]) -> str:
        """Return the chosen values with commas between them."""
        return self._sep.join(map(str, x))  # luigi's joins the values as they are: only text works there


class DictParameter(Parameter[DictT], luigi.DictParameter[DictT]):
    """A mapping that JSON can hold, frozen, its keys in order; checked against `schema` if there is one."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: DictT | Mapping[Any, Any] | _NoValueType = ...,
            *,
            schema: Any = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalDictParameter(DictParameter[dict[Any, Any]], luigi.OptionalDictParameter):  # type: ignore[misc]
    """A mapping, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: Mapping[Any, Any] | _NoValueType | None = ...,
            *,
            schema: Any = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class ListParameter(Parameter[ListT], luigi.ListParameter[ListT]):
    """A sequence that JSON can hold, as a tuple; checked against `schema` if there is one."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: ListT | Sequence[Any] | _NoValueType = ...,
            *,
            schema: Any = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalListParameter(ListParameter[ListT], luigi.OptionalListParameter[ListT]):  # type: ignore[misc]
    """A sequence, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: ListT | Sequence[Any] | _NoValueType | None = ...,
            *,
            schema: Any = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class TupleParameter(ListParameter[ListT], luigi.TupleParameter[ListT]):
    """As `ListParameter`; text may also be a Python tuple."""


class OptionalTupleParameter(TupleParameter[ListT], luigi.OptionalTupleParameter[ListT]):  # type: ignore[misc]
    """A sequence, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: ListT | Sequence[Any] | _NoValueType | None = ...,
            *,
            schema: Any = None,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class PathParameter(Parameter[Path], luigi.PathParameter):
    """A path; made absolute with `absolute`, and one that exists with `exists`."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: Path | str | _NoValueType = ...,
            *,
            absolute: bool = False,
            exists: bool = False,
            **keywords: Unpack[_Keywords],
        ) -> None: ...


class OptionalPathParameter(PathParameter, luigi.OptionalPathParameter):  # type: ignore[misc]
    """A path, or None."""

    if TYPE_CHECKING:

        def __init__(
            self,
            default: Path | str | _NoValueType | None = ...,
            *,
            absolute: bool = False,
            exists: bool = False,
            **keywords: Unpack[_Keywords],
        ) -> None: ...

        # luigi declares it as text or None, which it is not
        @overload  # type: ignore[override, no-overload-impl]
        def __get__(self, instance: None, owner: Any) -> Parameter[Path | None]: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Path | None: ...


class TaskParameter(Parameter[type[TaskClass]], luigi.TaskParameter[TaskClass]):
    """A task class, also given by its family."""


class TaskInstanceParameter(Parameter[TaskClass]):
    """A task as a value: part of the identity of the task that has it, and built before it.

    The body finds it under the name of the parameter (``self.data.outputLoad()``). It is no part of ``requires()``,
    ``input()`` and ``inputLoad()``.

    Parameters
    ----------
    task_class : task class, optional
        What the value must be an instance of; any task by default.
    default : task, optional
    **keywords
        As of `Parameter`.

    Notes
    -----
    Its text, on luigi's command line too, is JSON:
    ``{"class": "Prepare", "module": "flow", "params": {"subset": "a"}}``.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            task_class: type[TaskClass] = ...,
            default: TaskClass | _NoValueType | None = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...

    else:

        def __init__(self, task_class=luigi.Task, *args, **keywords):
            if not (isinstance(task_class, type) and issubclass(task_class, luigi.Task)):
                raise DeclarationError(
                    "TaskInstanceParameter needs a task class",
                    facts={"got": repr(task_class)},
                    hint="Write TaskInstanceParameter(Prepare).",
                )
            super().__init__(*args, **keywords)
            self.task_class = task_class

    task_class: type[luigi.Task] = luigi.Task

    def normalize(self, x: Any) -> Any:
        """Return the task; text is read as JSON."""
        task = task_from_text(x) if isinstance(x, str) else x
        if isinstance(task, Mapping):
            task = object_of(task) if is_object_text(task) else self.task_class(**task)
        if isinstance(task, self.task_class):
            return task
        if _same_name(type(task), self.task_class):  # of a notebook cell that was run again
            return task
        if isinstance(task, type) and issubclass(task, luigi.Task):
            raise ValueError(f"expected a task, got the class {task.__name__}; add the parentheses")
        raise ValueError(f"expected a task of the class {self.task_class.__name__}, got {x!r:.200}")

    def parse(self, x: str) -> Any:
        """Return the task that a text stands for."""
        return self.normalize(x)

    def serialize(self, x: Any) -> str:
        """Return the text of a task."""
        return "" if x is None else task_text(x)


class ConfigParameter(Parameter[ConfigClass]):
    """A config as a value: part of the identity of what has it.

    Parameters
    ----------
    config_class : subclass of Config
        What the value must be an instance of. A dict of values makes one: ``Train(model={"depth": 3})``.
    default : config or dict, optional
    **keywords
        As of `Parameter`.

    Notes
    -----
    Its text is JSON, ``{"class": "Model", "module": "flow", "params": {"depth": "3"}}``; on the command line the values
    alone will do, ``--model '{"depth": 3}'``.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            config_class: type[ConfigClass],
            default: ConfigClass | Mapping[str, Any] | _NoValueType | None = ...,
            **keywords: Unpack[_Keywords],
        ) -> None: ...

    else:

        def __init__(self, config_class, *args, **keywords):
            if not (isinstance(config_class, type) and issubclass(config_class, Composite)):
                raise DeclarationError(
                    "ConfigParameter needs a subclass of Config",
                    facts={"got": repr(config_class)},
                    hint="Write ConfigParameter(Model), with class Model(d6tpipe.Config).",
                )
            super().__init__(*args, **keywords)
            self.config_class = config_class

    config_class: Any = Composite

    def normalize(self, x: Any) -> Any:
        """Return the config; a dict of values makes one, and text is read as JSON."""
        if isinstance(x, str):
            x = self.parse(x)
        if isinstance(x, Mapping):
            return object_of(x) if is_object_text(x) else self.config_class(**x)
        if isinstance(x, self.config_class):
            return x
        if _same_name(type(x), self.config_class):  # of a notebook cell that was run again: with its code of now
            names = (type(x).__module__, type(x).__qualname__)
            if names == (self.config_class.__module__, self.config_class.__qualname__):
                made = self.config_class(**x.param_kwargs)
                return made._output_of(x._producers) if x._producers else made
            return x
        name = self.config_class.__name__
        if isinstance(x, type):
            raise ValueError(f"expected a config, got the class {x.__name__}; add the parentheses")
        raise ValueError(f"expected a config of the class {name} or a dict of its values, got {x!r:.200}")

    def parse(self, x: str) -> Any:
        """Return the config that a text stands for."""
        if not x:  # of None
            return None
        try:
            found = json.loads(x)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"expected the values of {self.config_class.__name__} as JSON, got {x!r} ({error})"
            ) from None
        if not isinstance(found, Mapping):
            raise ValueError(f"expected the values of {self.config_class.__name__} as a JSON object, got {x!r}")
        return self.normalize(found)

    def serialize(self, x: Any) -> str:
        """Return the text of a config."""
        return "" if x is None else task_text(x)


def _same_name(cls: type, wanted: type) -> bool:
    return any(
        [(base.__module__, base.__qualname__) == (wanted.__module__, wanted.__qualname__) for base in cls.__mro__]
    )
