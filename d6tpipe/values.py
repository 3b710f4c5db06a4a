"""The canonical form of a parameter's value, its key and its text.

What luigi leaves open is settled here: `canonical` gives a value its one form (``'7'``, ``7.0`` and a 7 of
numpy are the 7 of an `IntParameter`) or says what is wrong with it. What is known about a class stands in one
table at the end, for luigi's classes and ours. A class that the user derived from one of these is not
second-guessed: its own ``normalize`` decides.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
import numbers
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, MappingView, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import luigi
from luigi import date_interval
from luigi.freezing import FrozenOrderedDict
from luigi.parameter import ParameterException, ParameterVisibility
from luigi.task_register import Register, TaskClassException

from d6tpipe import parameters
from d6tpipe.task_paths import TaskPath, producer_of, task_path_text
from d6tpipe.task_values import Composite, has_objects, is_object_text, object_of, path_from_text, task_text

__all__ = ["canonical", "emit_text", "fast_type", "strict_key", "text"]


def canonical(param: luigi.Parameter[Any], value: Any) -> Any:
    """Return the one form that `value` has as a value of `param`.

    For luigi's own classes and ours, looked up by their exact class. Any other class has its own rules:
    what its ``normalize`` returns is returned.

    Parameters
    ----------
    param : luigi.Parameter
    value : object
        As the user gave it; text is parsed where the parameter holds something else.

    Returns
    -------
    object
        Of the type that the parameter is about. Applying it again changes nothing: neither value nor type.

    Raises
    ------
    ValueError or TypeError
        If the value does not fit; one sentence says what was expected and what came.

    Effects
    -------
    None, except that ``PathParameter(exists=True)`` looks at the disk.
    """
    rule = _RULES.get(param.__class__)
    if rule is None:
        return param.normalize(value)
    if value is None:
        if rule.takes_none:
            return None
        optional = f"Optional{type(param).__name__}"
        advice = f"; {optional} takes None" if optional in parameters.__all__ else ""
        raise ValueError(f"expected {_expected(rule, param)}, got None{advice}")
    if rule.empty_is_none and isinstance(value, str) and not value:
        return None
    try:
        return rule.coerce(param, value)
    except _Misfit as misfit:
        reason = str(misfit) or f"expected {_expected(rule, param)}, got {_show(value)}"
        raise ValueError(reason) from None
    except OverflowError:  # before year 1, after year 9999, a float beyond 1.8e308
        reason = f"expected {_expected(rule, param)}, got {_show(value)}, which is out of range"
        raise ValueError(reason) from None


def strict_key(param: luigi.Parameter[Any], value: Any) -> Any:
    """Return what stands for a canonical value in the key of a task.

    Two keys are equal exactly when the two values are the same value of the same type: ``(1,)``, ``(True,)``
    and ``(1.0,)`` differ although Python finds them equal, 0.0 and -0.0 differ since their texts do, and
    nan is itself.

    Returns
    -------
    hashable or None
        None if the value cannot be hashed.
    """
    kind = value.__class__
    if kind is str:
        return value
    if value is None:
        return type(None)  # None itself would read as "cannot be hashed"
    if isinstance(value, TaskPath) and value.producer is not None and isinstance(param, luigi.PathParameter):
        return (TaskPath, value.producer, value.key)  # equal to a path without a producer, and yet another value
    rule = _RULES.get(param.__class__)
    form = rule.key if rule is not None else "any"
    if form == "value" or (form == "number" and kind is int):
        return value
    if form == "number" and kind is float:
        return value if value < 0 or value > 0 else repr(value)
    if isinstance(value, Composite) and value._insignificant:
        return None  # not to be taken for the one that another object has
    if form == "json" and _enters_id(param) and not has_objects(value):
        return repr(value)  # exact: nothing but JSON's own types can be in it
    if form == "interval":  # luigi's intervals raise when a month is compared with a year
        return (kind, str(value))
    return _typed(value)


def text(param: luigi.Parameter[Any], value: Any) -> str:
    """Return the text of a canonical value, as it enters the task id and the command line."""
    if param.__class__ is luigi.ChoiceListParameter:
        return parameters.ChoiceListParameter.serialize(param, value)  # type: ignore[arg-type]
    if isinstance(value, (tuple, FrozenOrderedDict)) and has_objects(value):
        return json.dumps(value, default=_json)
    if isinstance(value, TaskPath) and value.producer is not None and isinstance(param, luigi.PathParameter):
        return task_path_text(value, task_text(value.producer))
    return param.serialize(value)


def _json(value: Any) -> Any:
    """Return what stands for a value that JSON has no form for: a frozen mapping, a task, a config."""
    return dict(value) if isinstance(value, Mapping) else json.loads(task_text(value))


def emit_text(param: luigi.Parameter[Any]) -> str | None:
    """Return a Python expression for the text of a canonical value, or None if only `text` knows.

    For generated code. ``{v}`` stands for the variable and may occur several times; only builtins are used.
    """
    rule = _RULES.get(param.__class__)
    return rule.emit if rule is not None else None


def fast_type(param: luigi.Parameter[Any]) -> type | None:
    """Return the class whose own instances (not those of subclasses) are canonical as they are.

    ``object`` means that everything is; None that there is no such class.
    """
    rule = _RULES.get(param.__class__)
    fast = rule.fast if rule is not None else None
    return fast if fast is None or isinstance(fast, type) else fast(param)


# ------------------------------------------------------------------------------------- coercion, by class


class _Misfit(Exception):
    """The value does not fit. Without a text of its own, `canonical` says what was expected and what came."""


def _plain(value: Any) -> Any:
    """Return Python's own object for a numpy scalar or an array without dimensions, else `value` itself."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":  # item() of nanoseconds would be a bare int
        return value.astype("datetime64[us]").item()
    if kind == "m":
        return value.astype("timedelta64[us]").item()
    return value.item()


def _anything(param: Any, value: Any) -> Any:
    return value


def _text(param: Any, value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (numbers.Number, Decimal)):
        return str(value)
    # What has a text of its own (paths, dates, enums ...) but not the <Thing at 0x7f..> of any other object.
    inherited = type(value).__str__ is object.__str__
    own = not inherited and getattr(value, "shape", ()) == ()
    if not own or isinstance(value, (bytes, bytearray)) or value != value:  # the last: pandas' NaT
        raise _Misfit
    return str(value)


def _int(param: Any, value: Any) -> int:
    value = _plain(value)
    try:
        if isinstance(value, (str, numbers.Integral)):
            return int(value)
        if isinstance(value, (numbers.Real, Decimal)) and (whole := math.trunc(value)) == value:
            return int(whole)
    except (ValueError, OverflowError):  # not a number, or infinite
        pass
    raise _Misfit


def _float(param: Any, value: Any) -> float:
    value = _plain(value)
    if isinstance(value, (str, numbers.Real, Decimal)):
        try:
            return float(value)
        except ValueError:
            pass
    raise _Misfit


_WORDS = {"true": True, "false": False}


def _bool(param: Any, value: Any) -> bool:
    value = _plain(value)
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise _Misfit


_BUILTIN: dict[type, Callable[[Any, Any], Any]] = {str: _text, int: _int, float: _float, bool: _bool}


def _of_type(kind: type, value: Any) -> Any:
    """Return `value` as one of `kind`."""
    if kind in _BUILTIN:
        return _BUILTIN[kind](None, value)
    if isinstance(value, kind):
        return value
    try:
        return kind(value)
    except (ValueError, TypeError, ArithmeticError):  # the last: Decimal
        raise _Misfit from None


def _number(param: Any, value: Any) -> Any:
    number = _of_type(param._var_type, value)
    if param._left_op(param._min_value, number) and param._right_op(number, param._max_value):
        return number
    raise _Misfit


def _choice(param: Any, value: Any) -> Any:
    chosen = _of_type(param._var_type, value)
    try:
        if chosen in param._choices:
            if chosen.__class__ is param._var_type:
                return chosen
            return next(choice for choice in param._choices if choice == chosen)
    except TypeError:  # unhashable
        pass
    raise _Misfit


def _optional_choice(param: Any, value: Any) -> Any:
    # The empty text may be a choice like any other; else it is luigi's spelling of None.
    if isinstance(value, str) and not value and value not in param._choices:
        return None
    return _choice(param, value)


def _choices(param: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) and value not in param._choices:
        value = value.split(param._sep) if value else ()
    elif isinstance(value, str):
        value = (value,)
    return tuple(_choice(param, item) for item in _items(value))


def _date(param: Any, value: Any) -> datetime.date:
    if isinstance(value, date_interval.Month) and isinstance(param, luigi.MonthParameter):
        value = value.date_a
    if isinstance(value, date_interval.Year) and isinstance(param, luigi.YearParameter):
        value = value.date_a
    value = _parsed(param, value)
    if not isinstance(value, datetime.date) or value != value:  # pandas' NaT is a datetime
        raise _Misfit
    try:
        return param.normalize(datetime.date(value.year, value.month, value.day))
    except ValueError:  # year 0
        raise _Misfit from None


def _datetime(param: Any, value: Any) -> datetime.datetime:
    value = _parsed(param, value)
    if not isinstance(value, datetime.date) or value != value:
        raise _Misfit
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    elif value.__class__ is not datetime.datetime:  # pandas' Timestamp keeps nanoseconds
        value = datetime.datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond,
            tzinfo=value.tzinfo, fold=value.fold,
        )  # fmt: skip
    step = param._timedelta * param.interval
    try:
        # luigi's rule, in whole microseconds. Its own uses floats, and if `start` has a fraction of a second
        # it steps back once more each time it is applied.
        if (beyond := (value - param.start) % step) and value.microsecond:
            value = value.replace(microsecond=0)
            beyond = (value - param.start) % step
        return value - beyond
    except TypeError:  # one of value and start has a time zone, the other has none
        raise _Misfit from None


def _parsed(param: Any, value: Any) -> Any:
    """Return a date, a time or a length of time for its text or numpy's form of it."""
    if isinstance(value, str):
        try:
            return param.parse(value)
        except (ValueError, ParameterException):
            raise _Misfit from None
    return _plain(value)


_DURATION = re.compile(r"\s*P?T?(\s*\d+\s*[A-Za-z]+)+\s*")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def _timedelta(param: Any, value: Any) -> datetime.timedelta:
    given, value = value, _parsed(param, value)
    if isinstance(value, numbers.Real) and value == value:
        value = datetime.timedelta(seconds=float(value))
    if not isinstance(value, datetime.timedelta) or value != value:  # pandas' NaT is a timedelta, too
        raise _Misfit
    if isinstance(given, str) and any(letter in _SECONDS for letter in given.lower()):
        # luigi reads as far as it understands: of "1 week and 2 days" the week, of "2 days 1 week" the days.
        named = sum(
            int(count) * _SECONDS.get(unit.lower(), 0) for count, unit in re.findall(r"(\d+)\s*([A-Za-z])", given)
        )
        if not _DURATION.fullmatch(given) or named != value.total_seconds():
            raise _Misfit
    return datetime.timedelta(value.days, value.seconds, value.microseconds)


def _interval(param: Any, value: Any) -> date_interval.DateInterval:
    value = _parsed(param, value)
    if isinstance(value, date_interval.DateInterval):
        return value
    raise _Misfit


def _member(param: Any, value: Any) -> enum.Enum:
    kind = param._enum
    if isinstance(value, kind):
        return value
    if isinstance(value, enum.Enum):
        # The same enum defined again (a notebook cell) or rebuilt by cloudpickle is another class.
        if (type(value).__module__, type(value).__qualname__) != (kind.__module__, kind.__qualname__):
            raise _Misfit
        value = value.name
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    raise _Misfit


def _members(param: Any, value: Any) -> tuple[enum.Enum, ...]:
    if isinstance(value, str):
        value = value.split(param._sep) if value else ()
    if isinstance(value, Set):
        order = list(param._enum)
        return tuple(sorted((_member(param, item) for item in value), key=order.index))
    return tuple(_member(param, item) for item in _items(value))


def _items(value: Any) -> Iterable[Any]:
    """Return the items of something that has several, in an order that does not depend on chance."""
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)):
        raise _Misfit
    if isinstance(value, Sequence) or (isinstance(value, MappingView) and isinstance(value, Iterable)):
        return value
    if isinstance(value, Set):
        try:
            return sorted(value)
        except TypeError:
            raise _Misfit(f"{_show(value)} has no order; give a list") from None
    if hasattr(value, "tolist") and getattr(getattr(value, "dtype", None), "kind", "") not in ("m", "M"):
        listed = value.tolist()
        if isinstance(listed, list):
            return listed
    raise _Misfit


_LEAVES = (str, int, float, bool, type(None))


def _frozen(value: Any, strict: bool) -> Any:
    """Return `value` with tuples for sequences and ordered frozen mappings for mappings, at every level.

    With `strict`, whatever JSON has no form for is refused.
    """
    if value.__class__ in _LEAVES:
        return value
    if isinstance(value, (luigi.Task, Composite)):
        return value
    value = _plain(value)
    if isinstance(value, Mapping):
        if is_object_text(value):
            return object_of(value)
        pairs = [(_frozen(key, strict), _frozen(item, strict)) for key, item in value.items()]
        if strict and (odd := [key for key, _ in pairs if not isinstance(key, _LEAVES)]):
            raise _Misfit(f"JSON, the form that enters the id, has no keys like {_show(odd[0])}")
        try:
            pairs.sort(key=lambda pair: pair[0])
        except TypeError:  # keys of different types
            pairs.sort(key=lambda pair: (type(pair[0]).__name__, str(pair[0])))
        return FrozenOrderedDict(pairs)
    if isinstance(value, str):  # numpy's, a member of an enum of texts ...
        return str.__str__(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float):
        return float(value)
    if value is None:
        return None
    try:
        items = _items(value)
    except _Misfit as misfit:
        if not strict:
            return value
        reason = str(misfit) or f"JSON, the form that enters the id, cannot hold {_show(value)}"
        raise _Misfit(reason) from None
    return tuple([_frozen(item, strict) for item in items])


def _enters_id(param: Any) -> bool:
    return bool(param.significant) and param.visibility == ParameterVisibility.PUBLIC


def _checked(param: Any, frozen: Any) -> Any:
    """Return what the schema of the parameter makes of a value: itself, or with defaults filled in."""
    if param.schema is None:
        return frozen
    try:
        return _frozen(param.normalize(frozen), _enters_id(param))
    except Exception as error:  # validators have exceptions of their own
        reason = str(getattr(error, "message", error)).partition("\n")[0]
        raise ValueError(f"the value does not fit the schema: {reason}") from error


def _dict(param: Any, value: Any) -> Any:
    value = _parsed(param, value)
    if value is None and _takes_none(param):
        return None
    if not isinstance(value, Mapping):
        raise _Misfit
    return _checked(param, _frozen(value, _enters_id(param)))


def _list(param: Any, value: Any) -> Any:
    if isinstance(value, str):
        value = _list_from_text(param, value)
        if value is None and _takes_none(param):
            return None
    if isinstance(value, Mapping) or value is None:
        raise _Misfit
    return _checked(param, _frozen(tuple(_items(value)), _enters_id(param)))


def _list_from_text(param: Any, value: str) -> Any:
    # luigi takes any JSON: of a text it makes a list of letters, of a mapping a list of keys.
    try:
        found = json.loads(value)
    except ValueError:
        if value.lstrip().startswith("{"):
            raise _Misfit from None
        try:
            return param.parse(value)
        except (ValueError, TypeError, SyntaxError):
            raise _Misfit from None
    if found is not None and not isinstance(found, list):
        raise _Misfit
    return found


def _takes_none(param: Any) -> bool:
    return _RULES[param.__class__].takes_none


def _path(param: Any, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise _Misfit
    if producer_of(value) is not None:
        return value  # type: ignore[return-value]
    if isinstance(value, str) and (found := path_from_text(value)) is not None:
        return found
    path = Path(value)
    if param.absolute:
        path = path.absolute()
    if param.exists and not path.exists():
        raise _Misfit
    return path


def _task(param: Any, value: Any) -> type:
    if isinstance(value, str):
        try:
            return param.parse(value)
        except TaskClassException as error:
            raise ValueError(f"expected a task class or the family of one: {error}") from error
    if isinstance(value, Register):
        return value
    raise _Misfit


# ------------------------------------------------------------------------------------------------- messages


def _show(value: Any) -> str:
    """Return a value as it appears in a message: short, in one line, with its type where that helps."""
    shown = repr(value)
    if len(shown) > 80 or "\n" in shown:
        return f"a {type(value).__name__}"
    return shown if isinstance(value, (str, int, float)) else f"{shown} ({type(value).__name__})"


def _listed(names: Iterable[Any]) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (f" ... ({len(names)} in all)" if len(names) > 12 else "")


def _expected(rule: _Rule, param: Any) -> str:
    expected = rule.expected if isinstance(rule.expected, str) else rule.expected(param)
    return expected + (" or None" if rule.takes_none else "")


def _expected_number(param: Any) -> str:
    kind = "a whole number" if param._var_type is int else "a number"
    return f"{kind} {param._permitted_range.partition(' ')[2]}"  # luigi's is "int in [0, 10)"


def _expected_choice(param: Any) -> str:
    return "one of " + _listed(sorted(map(repr, param._choices)))


def _expected_moment(param: Any) -> str:
    example = datetime.datetime(2013, 7, 10, 19, 7, 38).strftime(param.date_format)
    zone = "with a time zone, as its `start` has" if param.start.tzinfo else "without a time zone"
    return f"a datetime {zone}, or text like '{example}'"


def _expected_path(param: Any) -> str:
    return "a path that exists" if param.exists else "a path"


# ---------------------------------------------------------------------------------------------------- keys


def _typed(value: Any) -> Hashable | None:
    """Return a key that tells apart values of different types, inside tuples too; None if there is none."""
    kind = value.__class__
    if isinstance(value, tuple):
        return _typed_items(kind, value)
    if isinstance(value, FrozenOrderedDict):
        return _typed_items(kind, [item for pair in value.items() for item in pair])
    if isinstance(value, frozenset):
        parts = _typed_items(kind, value)
        return None if parts is None else (kind, frozenset(parts[1]))
    # Equal values with different texts (1.50 and 1.5, noon here and noon there) have different ids; nan
    # does not even equal itself.
    if isinstance(value, (float, complex, Decimal, datetime.datetime, date_interval.DateInterval)):
        return (kind, str(value))
    try:
        hash(value)
    except TypeError:
        return None
    return (kind, value)


def _typed_items(kind: type, items: Iterable[Any]) -> tuple[type, tuple[Hashable, ...]] | None:
    parts = tuple([_typed(item) for item in items])
    return None if None in parts else (kind, parts)


# ------------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class _Rule:
    """What is known about one parameter class.

    Attributes
    ----------
    coerce : callable
        ``(param, value) -> canonical value``; raises `_Misfit`. Never sees None.
    expected : str or callable of param
        Completes "expected ...".
    key : {"value", "number", "json", "interval", "any"}
        Form of `strict_key`: the value itself (its type is fixed, equal values have equal texts); int or
        float; made of JSON's types; a date interval; anything.
    emit : str or None
        See `emit_text`.
    fast : type, callable of param, or None
        See `fast_type`.
    takes_none, empty_is_none : bool
        Whether None is a value; whether empty text, as luigi's command line gives it, means None.
    """

    coerce: Callable[[Any, Any], Any]
    expected: str | Callable[[Any], str]
    key: str = "any"
    emit: str | None = None
    fast: type | Callable[[Any], type | None] | None = None
    takes_none: bool = False
    empty_is_none: bool = False


def _day_as_is(param: Any) -> type | None:
    return datetime.date if param.interval == 1 and type(param.start) is datetime.date else None


def _enum_as_is(param: Any) -> type | None:
    return param._enum


def _path_as_is(param: Any) -> type | None:
    return None if param.absolute or param.exists else type(Path())


def _time_text(quick: str, pattern: str) -> str:
    # isoformat() takes a seventh of strftime(), but pads years before 1000 where strftime() need not.
    return f"('None' if {{v}} is None else {quick} if {{v}}.year > 999 else {{v}}.strftime('{pattern}'))"


_MOMENT = _Rule(_datetime, _expected_moment, "any", takes_none=True)

_BY_NAME = {
    "Parameter": _Rule(_anything, "a value", "any", "str({v})", object, takes_none=True),
    "StrParameter": _Rule(_text, "text", "value", "{v}", str),
    "IntParameter": _Rule(_int, "a whole number", "value", "str({v})", int),
    "FloatParameter": _Rule(_float, "a number", "number", "repr({v})", float),
    "BoolParameter": _Rule(_bool, "True or False", "value", "('True' if {v} else 'False')", bool),
    "NumericalParameter": _Rule(_number, _expected_number, "number", "str({v})"),
    "DateParameter": _Rule(
        _date, "a date or text like '2013-07-10'", "value",
        _time_text("{v}.isoformat()", "%Y-%m-%d"), _day_as_is, takes_none=True,
    ),
    "MonthParameter": _Rule(
        _date, "a date, a month or text like '2013-07'", "value",
        _time_text("{v}.isoformat()[:7]", "%Y-%m"), takes_none=True,
    ),
    "YearParameter": _Rule(
        _date, "a date, a year or text like '2013'", "value",
        _time_text("str({v}.year)", "%Y"), takes_none=True,
    ),
    "DateHourParameter": replace(_MOMENT, emit=_time_text("{v}.isoformat()[:13]", "%Y-%m-%dT%H")),
    "DateMinuteParameter": _MOMENT,
    "DateSecondParameter": _MOMENT,
    "DateIntervalParameter": _Rule(
        _interval, "a date interval or text like '2013-07'", "interval", "str({v})"
    ),
    "TimeDeltaParameter": _Rule(
        _timedelta, "a timedelta, a number of seconds or text like '1 week 2 days', longest unit first",
        "value", fast=datetime.timedelta,
    ),
    "EnumParameter": _Rule(
        _member, lambda param: "one of " + _listed(param._enum.__members__), "value", "{v}.name", _enum_as_is
    ),
    "EnumListParameter": _Rule(
        _members, lambda param: "a sequence of members out of " + _listed(param._enum.__members__), "value"
    ),
    "ChoiceParameter": _Rule(_choice, _expected_choice, "any", "str({v})"),
    "ChoiceListParameter": _Rule(_choices, lambda p: "a sequence, each " + _expected_choice(p), "any"),
    "DictParameter": _Rule(_dict, "a mapping or its JSON text", "json"),
    "ListParameter": _Rule(_list, "a sequence or its JSON text", "json"),
    "TupleParameter": _Rule(_list, "a sequence or its text, as JSON or a Python tuple", "json"),
    "PathParameter": _Rule(_path, _expected_path, "value", None, _path_as_is),  # an output's path has another text
    "TaskParameter": _Rule(_task, "a task class or the family of one", "value", "{v}.get_task_family()"),
}  # fmt: skip

_TEXTUAL = {"Parameter", "StrParameter", "PathParameter", "ChoiceParameter"}


def _table() -> dict[type, _Rule]:
    rules = dict(_BY_NAME)
    for name, rule in _BY_NAME.items():
        if f"Optional{name}" in parameters.__all__:
            rules[f"Optional{name}"] = replace(
                rule,
                coerce=_optional_choice if name == "ChoiceParameter" else rule.coerce,
                emit=None if rule.emit is None else f"('' if {{v}} is None else {rule.emit})",
                takes_none=True,
                empty_is_none=name not in _TEXTUAL,
            )
    homes = (luigi.parameter, parameters)
    return {getattr(home, name): rule for name, rule in rules.items() for home in homes}


_RULES = _table()
