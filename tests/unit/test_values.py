"""Values of parameters: their canonical form, key and text."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import math
import operator
import types
import uuid
from pathlib import Path

import jsonschema
import luigi
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from luigi import date_interval
from luigi.freezing import FrozenOrderedDict

from d6tpipe import parameters as ours
from d6tpipe.values import canonical, emit_text, fast_type, strict_key, text

date, datetime_, timedelta = datetime.date, datetime.datetime, datetime.timedelta
NAMES = [name for name in ours.__all__ if name.endswith("Parameter")]


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


# What each class needs to be made.
NEEDED = {
    "EnumParameter": {"enum": Colour},
    "EnumListParameter": {"enum": Colour},
    "ChoiceParameter": {"choices": ["a", "b", "1"]},
    "OptionalChoiceParameter": {"choices": ["a", "b", "1"]},
    "ChoiceListParameter": {"choices": ["a", "b", "1"]},
    "NumericalParameter": {"var_type": int, "min_value": 0, "max_value": 10},
    "OptionalNumericalParameter": {"var_type": int, "min_value": 0, "max_value": 10},
}


def make(name, home=ours, **keywords):
    return getattr(home, name)(**{**NEEDED.get(name, {}), **keywords})


def both(name, **keywords):
    """The parameter of our class and that of luigi's: they follow the same rules."""
    return [make(name, home, **keywords) for home in (ours, luigi)]


def same(a, b):
    """Equal, of one type, inside too; nan is nan, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, FrozenOrderedDict):
        return same(tuple(a.items()), tuple(b.items()))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return a == b


# ---- canonical values

NOW = datetime_(2013, 7, 10, 19, 7, 38)
CUSTOM = date_interval.Custom(date(2013, 7, 10), date(2013, 7, 12))
ARRAY = np.array([[1, 2], [3, 4]])
EQUAL = [  # class, keywords, value given, canonical value
    ("IntParameter", {}, "7", 7),
    ("IntParameter", {}, " 7 ", 7),
    ("IntParameter", {}, 7.0, 7),
    ("IntParameter", {}, True, 1),
    ("IntParameter", {}, np.int64(7), 7),
    ("IntParameter", {}, np.uint8(7), 7),
    ("IntParameter", {}, np.float32(7), 7),
    ("IntParameter", {}, np.array(7), 7),
    ("IntParameter", {}, np.bool_(True), 1),
    ("IntParameter", {}, Level.LOW, 1),
    ("IntParameter", {}, decimal.Decimal(7), 7),
    ("IntParameter", {}, 2**100, 2**100),
    ("FloatParameter", {}, 5, 5.0),
    ("FloatParameter", {}, "5", 5.0),
    ("FloatParameter", {}, "nan", math.nan),
    ("FloatParameter", {}, "-inf", -math.inf),
    ("FloatParameter", {}, -0.0, -0.0),
    ("FloatParameter", {}, np.float64(0.1), 0.1),
    ("FloatParameter", {}, np.float32(0.5), 0.5),
    ("FloatParameter", {}, np.longdouble(0.5), 0.5),
    ("FloatParameter", {}, np.int32(2), 2.0),
    ("FloatParameter", {}, decimal.Decimal("0.1"), 0.1),
    ("BoolParameter", {}, "true", True),
    ("BoolParameter", {}, "False", False),
    ("BoolParameter", {}, 0, False),
    ("BoolParameter", {}, 1, True),
    ("BoolParameter", {}, np.bool_(True), True),
    ("BoolParameter", {}, np.int64(0), False),
    ("StrParameter", {}, 7, "7"),
    ("StrParameter", {}, 0.1, "0.1"),
    ("StrParameter", {}, np.float32(0.1), "0.1"),
    ("StrParameter", {}, np.str_("a"), "a"),
    ("StrParameter", {}, Path("a/b"), str(Path("a/b"))),
    ("StrParameter", {}, date(2020, 1, 2), "2020-01-02"),
    ("StrParameter", {}, uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ("StrParameter", {}, "", ""),
    ("DateParameter", {}, "2013-07-10", date(2013, 7, 10)),
    ("DateParameter", {}, NOW, date(2013, 7, 10)),
    ("DateParameter", {}, pd.Timestamp(NOW, tz="UTC"), date(2013, 7, 10)),
    ("DateParameter", {}, np.datetime64("2013-07-10"), date(2013, 7, 10)),
    ("DateParameter", {}, np.datetime64("2013-07-10T12:00:00.000000001"), date(2013, 7, 10)),
    ("DateParameter", {"interval": 5, "start": date(2020, 1, 1)}, "2020-01-09", date(2020, 1, 6)),
    ("MonthParameter", {}, date(2013, 7, 10), date(2013, 7, 1)),
    ("MonthParameter", {}, date_interval.Month(2013, 7), date(2013, 7, 1)),
    ("MonthParameter", {}, "2013-07", date(2013, 7, 1)),
    ("MonthParameter", {}, pd.Timestamp(NOW), date(2013, 7, 1)),
    ("YearParameter", {}, date(2013, 7, 10), date(2013, 1, 1)),
    ("YearParameter", {}, date_interval.Year(2013), date(2013, 1, 1)),
    ("YearParameter", {}, "2013", date(2013, 1, 1)),
    ("DateHourParameter", {}, NOW, datetime_(2013, 7, 10, 19)),
    ("DateHourParameter", {}, date(2013, 7, 10), datetime_(2013, 7, 10)),
    ("DateHourParameter", {}, "2013-07-10T19", datetime_(2013, 7, 10, 19)),
    ("DateMinuteParameter", {}, pd.Timestamp(NOW), datetime_(2013, 7, 10, 19, 7)),
    ("DateMinuteParameter", {"interval": 5}, "2013-07-10T1909", datetime_(2013, 7, 10, 19, 5)),
    ("DateSecondParameter", {}, pd.Timestamp("2013-07-10 19:07:38.123456789"), NOW),
    ("DateSecondParameter", {}, np.datetime64("2013-07-10T19:07:38.5"), NOW),
    ("DateIntervalParameter", {}, "2013-07", date_interval.Month(2013, 7)),
    ("DateIntervalParameter", {}, date_interval.Week(2013, 7), date_interval.Week(2013, 7)),
    ("DateIntervalParameter", {}, "2013-07-10-2013-07-12", CUSTOM),
    ("TimeDeltaParameter", {}, 90, timedelta(seconds=90)),
    ("TimeDeltaParameter", {}, 0.5, timedelta(seconds=0.5)),
    ("TimeDeltaParameter", {}, np.int64(90), timedelta(seconds=90)),
    ("TimeDeltaParameter", {}, "90", timedelta(seconds=90)),
    ("TimeDeltaParameter", {}, "1 week 2 days", timedelta(days=9)),
    ("TimeDeltaParameter", {}, "0 w 0 d 0 h 0 m 0 s", timedelta(0)),
    ("TimeDeltaParameter", {}, "PT5M", timedelta(minutes=5)),
    ("TimeDeltaParameter", {}, "P1DT2H", timedelta(days=1, hours=2)),
    ("TimeDeltaParameter", {}, "P2W", timedelta(weeks=2)),
    ("TimeDeltaParameter", {}, pd.Timedelta(hours=1), timedelta(hours=1)),
    ("TimeDeltaParameter", {}, np.timedelta64(90, "s"), timedelta(seconds=90)),
    ("TaskParameter", {}, "ExternalTask", luigi.ExternalTask),
    ("EnumParameter", {}, "RED", Colour.RED),
    ("EnumListParameter", {}, "RED,BLUE", (Colour.RED, Colour.BLUE)),
    ("EnumListParameter", {}, ["BLUE", Colour.RED], (Colour.BLUE, Colour.RED)),
    ("EnumListParameter", {}, {Colour.BLUE, Colour.RED}, (Colour.RED, Colour.BLUE)),
    ("EnumListParameter", {}, "", ()),
    ("DictParameter", {}, {"b": [1, {"d": 1, "c": 2}], "a": 1}, {"a": 1, "b": (1, {"c": 2, "d": 1})}),
    ("DictParameter", {}, '{"b": 1, "a": [1]}', {"a": (1,), "b": 1}),
    ("DictParameter", {}, types.MappingProxyType({"a": np.int64(1)}), {"a": 1}),
    ("DictParameter", {}, {2: "b", 1: "a"}, {1: "a", 2: "b"}),
    ("DictParameter", {}, {"a": 1, None: 2, 3: 4}, {None: 2, 3: 4, "a": 1}),
    ("DictParameter", {}, {"a": {"z", "y"}, "b": ARRAY}, {"a": ("y", "z"), "b": ((1, 2), (3, 4))}),
    ("ListParameter", {}, [1, [2, {"b": 1, "a": 2}]], (1, (2, {"a": 2, "b": 1}))),
    ("ListParameter", {}, "[1, [2], null, true]", (1, (2,), None, True)),
    ("ListParameter", {}, ARRAY, ((1, 2), (3, 4))),
    ("ListParameter", {}, [np.float64(1), np.str_("a"), np.bool_(True)], (1.0, "a", True)),
    ("ListParameter", {}, {3, 1, 2}, (1, 2, 3)),
    ("ListParameter", {}, pd.Series([1, 2]), (1, 2)),
    ("ListParameter", {}, range(3), (0, 1, 2)),
    ("ListParameter", {}, {"b": 1, "a": 2}.keys(), ("b", "a")),
    ("ListParameter", {}, collections.deque([1]), (1,)),
    ("ListParameter", {}, [Level.LOW], (1,)),
    ("TupleParameter", {}, "((1, 2), (3, 4))", ((1, 2), (3, 4))),
    ("TupleParameter", {}, '[[1, "a"], [null, {"k": 1}]]', ((1, "a"), (None, {"k": 1}))),
    ("TupleParameter", {}, [1, 2], (1, 2)),
    ("NumericalParameter", {}, "9", 9),
    ("NumericalParameter", {}, 0, 0),
    ("NumericalParameter", {"var_type": float}, 1, 1.0),
    ("NumericalParameter", {"left_op": operator.lt, "right_op": operator.le}, 10, 10),
    ("ChoiceParameter", {}, 1, "1"),
    ("ChoiceParameter", {"choices": [0.5, 1.0], "var_type": float}, 1, 1.0),
    ("ChoiceParameter", {"choices": [1, 2], "var_type": int}, "2", 2),
    ("ChoiceParameter", {"choices": [Colour.RED], "var_type": Colour}, Colour.RED, Colour.RED),
    ("ChoiceListParameter", {}, "a,b", ("a", "b")),
    ("ChoiceListParameter", {}, ["b", "a", "a"], ("b", "a", "a")),
    ("ChoiceListParameter", {}, "", ()),
    ("PathParameter", {}, "a/b", Path("a/b")),
    ("PathParameter", {}, np.str_("a"), Path("a")),
    ("OptionalParameter", {}, "", ""),
    ("OptionalStrParameter", {}, 5, "5"),
    ("OptionalStrParameter", {}, "", ""),
    ("OptionalIntParameter", {}, "7", 7),
    ("OptionalIntParameter", {}, "", None),
    ("OptionalFloatParameter", {}, 7, 7.0),
    ("OptionalBoolParameter", {}, "true", True),
    ("OptionalNumericalParameter", {}, "7", 7),
    ("OptionalChoiceParameter", {}, "", None),
    ("OptionalChoiceParameter", {"choices": ["", "a"]}, "", ""),
    ("OptionalDictParameter", {}, {"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ("OptionalDictParameter", {}, "null", None),
    ("OptionalListParameter", {}, "[1]", (1,)),
    ("OptionalListParameter", {}, "null", None),
    ("OptionalTupleParameter", {}, "", None),
    ("OptionalPathParameter", {}, "a", Path("a")),
]  # fmt: skip


def frozen(value):
    """The expected value as it is kept: mappings frozen in the order written."""
    if isinstance(value, dict):
        return FrozenOrderedDict([(key, frozen(item)) for key, item in value.items()])
    return tuple(map(frozen, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("name", "keywords", "value", "expected"), EQUAL)
def test_value_becomes_canonical(name, keywords, value, expected):
    for parameter in both(name, **keywords):
        found = canonical(parameter, value)
        assert same(frozen(expected), found), (found, type(found))
        assert same(found, canonical(parameter, found))


REFUSED = [  # class, keywords, value, part of the message
    ("IntParameter", {}, 7.5, "expected a whole number, got 7.5"),
    ("IntParameter", {}, "abc", "expected a whole number, got 'abc'"),
    ("IntParameter", {}, None, "expected a whole number, got None; OptionalIntParameter takes None"),
    ("IntParameter", {}, "7.0", "'7.0'"),
    ("IntParameter", {}, math.nan, "nan"),
    ("IntParameter", {}, math.inf, "inf"),
    ("IntParameter", {}, b"7", "b'7' (bytes)"),
    ("IntParameter", {}, 1j, "complex"),
    ("IntParameter", {}, [1], "[1] (list)"),
    ("IntParameter", {}, np.array([1]), "whole number"),
    ("IntParameter", {}, np.timedelta64(1, "s"), "whole number"),
    ("IntParameter", {}, np.datetime64("2020-01-01", "ns"), "whole number"),
    ("IntParameter", {}, pd.NA, "whole number"),
    ("IntParameter", {}, pd.DataFrame({"a": range(100)}), "got a DataFrame"),
    ("FloatParameter", {}, "much", "expected a number, got 'much'"),
    ("FloatParameter", {}, None, "OptionalFloatParameter takes None"),
    ("FloatParameter", {}, 10**400, "out of range"),
    ("FloatParameter", {}, 1j, "expected a number"),
    ("BoolParameter", {}, "yes", "expected True or False, got 'yes'"),
    ("BoolParameter", {}, 2, "expected True or False, got 2"),
    ("BoolParameter", {}, None, "OptionalBoolParameter"),
    ("BoolParameter", {}, 1.0, "1.0"),
    ("StrParameter", {}, None, "expected text, got None; OptionalStrParameter takes None"),
    ("StrParameter", {}, b"a", "expected text"),
    ("StrParameter", {}, ["a"], "expected text"),
    ("StrParameter", {}, object(), "expected text"),
    ("StrParameter", {}, np.array(["a"]), "expected text"),
    ("StrParameter", {}, pd.NaT, "expected text"),
    ("StrParameter", {}, pd.NA, "expected text"),
    ("DateParameter", {}, "10.7.2013", "expected a date or text like '2013-07-10' or None, got '10.7.2013'"),
    ("DateParameter", {}, 20130710, "got 20130710"),
    ("DateParameter", {}, pd.NaT, "NaT"),
    ("DateParameter", {}, np.datetime64("NaT", "s"), "NaT"),
    ("DateParameter", {}, date_interval.Month(2013, 7), "expected a date"),
    ("DateParameter", {"interval": 7, "start": date(2000, 1, 1)}, date.min, "out of range"),
    ("YearParameter", {"interval": 7}, date.min, "expected a date, a year"),
    ("DateHourParameter", {}, "2013-07-10", "text like '2013-07-10T19'"),
    ("DateMinuteParameter", {}, NOW.replace(tzinfo=datetime.timezone.utc), "without a time zone"),
    ("DateSecondParameter", {"start": NOW.replace(tzinfo=datetime.timezone.utc)}, NOW, "with a time zone"),
    ("DateIntervalParameter", {}, "2013-13", "date interval"),
    ("DateIntervalParameter", {}, date(2013, 7, 10), "date interval"),
    ("DateIntervalParameter", {}, None, "got None"),
    ("TimeDeltaParameter", {}, "soon", "'soon'"),
    ("TimeDeltaParameter", {}, "1 week and 2 days", "longest unit first"),
    ("TimeDeltaParameter", {}, "2 days 1 week", "longest unit first"),
    ("TimeDeltaParameter", {}, "1 h 30", "timedelta"),
    ("TimeDeltaParameter", {}, math.nan, "nan"),
    ("TimeDeltaParameter", {}, math.inf, "out of range"),
    ("TimeDeltaParameter", {}, pd.NaT, "NaT"),
    ("TimeDeltaParameter", {}, None, "got None"),
    ("TaskParameter", {}, int, "task class"),
    ("TaskParameter", {}, "NoSuchTaskAnywhere", "NoSuchTaskAnywhere"),
    ("EnumParameter", {}, "GREEN", "expected one of RED, BLUE, got 'GREEN'"),
    ("EnumParameter", {}, 1, "one of RED, BLUE"),
    ("EnumParameter", {}, Level.LOW, "one of RED, BLUE"),
    ("EnumListParameter", {}, "RED,GREEN", "RED, BLUE"),
    ("EnumListParameter", {}, 5, "RED, BLUE"),
    ("DictParameter", {}, [1], "expected a mapping"),
    ("DictParameter", {}, "{", "expected a mapping"),
    ("DictParameter", {}, "[1]", "expected a mapping"),
    ("DictParameter", {}, None, "OptionalDictParameter"),
    ("DictParameter", {}, "null", "expected a mapping"),
    ("DictParameter", {}, {"a": date(2020, 1, 1)}, "cannot hold datetime.date(2020, 1, 1)"),
    ("DictParameter", {}, {(1, 2): 3}, "no keys like (1, 2)"),
    ("DictParameter", {}, {"a": [{1, "b"}]}, "has no order"),
    ("ListParameter", {}, "abc", "expected a sequence"),
    ("ListParameter", {}, '"abc"', "expected a sequence"),
    ("ListParameter", {}, {"a": 1}, "expected a sequence"),
    ("ListParameter", {}, 5, "expected a sequence"),
    ("ListParameter", {}, b"ab", "expected a sequence"),
    ("ListParameter", {}, None, "OptionalListParameter"),
    ("ListParameter", {}, {1, "a"}, "has no order"),
    ("ListParameter", {}, (n for n in (1, 2)), "expected a sequence"),
    ("ListParameter", {}, [object()], "cannot hold"),
    ("ListParameter", {}, np.array(["2020-01-01"], "datetime64[ns]"), "expected a sequence"),
    ("TupleParameter", {}, "{1, 2}", "expected a sequence"),
    ("TupleParameter", {}, "(1, ", "expected a sequence"),
    ("TupleParameter", {}, '("abcd")', "expected a sequence"),
    ("NumericalParameter", {}, 10, "expected a whole number in [0, 10), got 10"),
    ("NumericalParameter", {}, -1, "got -1"),
    ("NumericalParameter", {}, 7.5, "a whole number"),
    ("NumericalParameter", {"var_type": float}, math.nan, "a number in [0, 10), got nan"),
    ("OptionalNumericalParameter", {}, 10, "whole number in [0, 10) or None, got 10"),
    ("ChoiceParameter", {}, "c", "expected one of '1', 'a', 'b', got 'c'"),
    ("ChoiceParameter", {}, None, "OptionalChoiceParameter takes None"),
    ("ChoiceParameter", {"choices": [1, 2], "var_type": int}, 1.5, "one of 1, 2"),
    ("ChoiceParameter", {"choices": [(1,)], "var_type": tuple}, [[1]], "one of (1,)"),
    ("ChoiceListParameter", {}, ["a", "c"], "each one of '1', 'a', 'b'"),
    ("PathParameter", {}, 5, "expected a path, got 5"),
    ("PathParameter", {}, None, "OptionalPathParameter"),
    ("PathParameter", {"exists": True}, "no/such/file", "a path that exists"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "keywords", "value", "message"), REFUSED)
def test_value_that_does_not_fit_is_refused_in_one_sentence(name, keywords, value, message):
    for parameter in both(name, **keywords):
        with pytest.raises((ValueError, TypeError)) as caught:
            canonical(parameter, value)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("Optional")])
def test_optional_parameters_keep_none(name):
    for parameter in both(name):
        assert canonical(parameter, None) is None
        assert text(parameter, None) == ""


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("Date", "Month", "Year"))])
def test_dates_keep_none_as_luigi_does(name):
    for parameter in both(name):
        if name != "DateIntervalParameter":
            assert canonical(parameter, None) is None
            assert text(parameter, None) == "None"


@pytest.mark.parametrize("value", ["a", 1, None, [1], {"a": 1}, pd.DataFrame(), object(), int])
def test_plain_parameter_takes_any_object_as_it_is(value):
    for parameter in both("Parameter"):
        assert canonical(parameter, value) is value


def test_start_with_a_fraction_of_a_second_is_stable():
    parameter = ours.DateMinuteParameter(start=datetime_(2020, 1, 1, 0, 0, 0, 500000))
    once = canonical(parameter, datetime_(2020, 1, 1, 0, 3))
    assert once == datetime_(2020, 1, 1, 0, 2, 0, 500000)
    assert canonical(parameter, once) == once


def test_time_zone_of_start_is_kept():
    utc = datetime.timezone.utc
    parameter = ours.DateHourParameter(start=datetime_(2020, 1, 1, tzinfo=utc))
    value = datetime_(2020, 1, 1, 5, 7, tzinfo=utc)
    assert canonical(parameter, value) == datetime_(2020, 1, 1, 5, tzinfo=utc)


def test_members_of_a_redefined_enum_are_taken_by_name():
    first, second = (enum.Enum("Shape", ["ROUND"], module=__name__) for _ in range(2))
    assert canonical(ours.EnumParameter(enum=second), first.ROUND) is second.ROUND


def test_path_options_are_honoured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    for parameter in both("PathParameter", absolute=True, exists=True):
        assert canonical(parameter, "here") == tmp_path / "here"


def test_insignificant_containers_hold_anything():
    thing = object()
    for parameter in both("DictParameter", significant=False):
        assert canonical(parameter, {"b": [thing], "a": 1}) == {"a": 1, "b": (thing,)}


SCHEMA = {"type": "object", "patternProperties": {".*": {"type": "integer", "maximum": 3}}}


@pytest.mark.parametrize("schema", [SCHEMA, jsonschema.Draft7Validator(SCHEMA)])
def test_schema_is_honoured(schema):
    for parameter in both("DictParameter", schema=schema):
        assert list(canonical(parameter, {"b": 3, "a": 1}).items()) == [("a", 1), ("b", 3)]
        with pytest.raises(ValueError, match="does not fit the schema: 4 is greater"):
            canonical(parameter, {"a": 4})


def test_schema_may_fill_in_values():
    filler = types.SimpleNamespace(validate=lambda value: value.setdefault("a", [2, 1]))
    parameter = ours.DictParameter(schema=filler)
    filled = canonical(parameter, {"b": 1})
    assert same(frozen({"a": (2, 1), "b": 1}), filled)
    assert same(filled, canonical(parameter, filled))


def test_schema_of_lists_is_honoured():
    parameter = ours.ListParameter(schema={"type": "array", "minItems": 1})
    with pytest.raises(ValueError, match="schema"):
        canonical(parameter, [])


@pytest.mark.parametrize("base", [ours.IntParameter, luigi.IntParameter])
def test_class_of_the_user_has_its_own_normalize_only(base):
    class Even(base):
        def normalize(self, x):
            return x // 2 * 2

    assert canonical(Even(), 7) == 6
    assert canonical(Even(), 7.0) == 6.0
    assert isinstance(canonical(Even(), 7.0), float)
    assert (fast_type(Even()), emit_text(Even())) == (None, None)


# ---- the same for any value

for_any = settings(deadline=None)  # how long one example takes says nothing on a busy machine
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
days = st.dates(min_value=date(1000, 1, 1), max_value=date(9000, 1, 1))
moments = st.datetimes(min_value=datetime_(1000, 1, 1), max_value=datetime_(9000, 1, 1))
VALUES = {
    "Parameter": json_values,
    "StrParameter": st.text() | st.integers() | st.floats(),
    "IntParameter": st.integers() | st.booleans(),
    "FloatParameter": st.floats() | st.integers(-(10**300), 10**300),
    "BoolParameter": st.booleans(),
    "DateParameter": days | moments,
    "MonthParameter": days | moments,
    "YearParameter": days | moments,
    "DateHourParameter": moments | days,
    "DateMinuteParameter": moments | days,
    "DateSecondParameter": moments | days,
    "TimeDeltaParameter": st.timedeltas(),
    "DictParameter": st.dictionaries(st.text(max_size=3), json_values, max_size=4),
    "ListParameter": st.lists(json_values, max_size=4),
    "TupleParameter": st.lists(json_values, max_size=4),
    "NumericalParameter": st.integers(0, 9),
    "ChoiceParameter": st.sampled_from(["a", "b"]),
    "ChoiceListParameter": st.lists(st.sampled_from(["a", "b"])),
    "EnumParameter": st.sampled_from(Colour),
    "EnumListParameter": st.lists(st.sampled_from(Colour)),
    "PathParameter": st.sampled_from(["a", "a/b", "/a", "."]).map(Path),
    "OptionalStrParameter": st.none() | st.text(),
    "OptionalIntParameter": st.none() | st.integers(),
    "OptionalFloatParameter": st.none() | st.floats(),
    "OptionalBoolParameter": st.none() | st.booleans(),
    "OptionalDictParameter": st.none() | st.dictionaries(st.text(max_size=3), json_values, max_size=4),
}
parameters_with_values = st.one_of(
    [st.tuples(st.sampled_from([make(name), make(name, luigi)]), values) for name, values in VALUES.items()]
)


@for_any
@given(parameters_with_values)
def test_canonical_form_of_a_canonical_value_is_itself(pair):
    parameter, value = pair
    once = canonical(parameter, value)
    assert same(once, canonical(parameter, once))


@for_any
@given(parameters_with_values)
def test_text_of_a_canonical_value_is_luigis(pair):
    parameter, value = pair
    proper = canonical(parameter, value)
    assert text(parameter, proper) == parameter.serialize(parameter.normalize(proper))


@for_any
@given(parameters_with_values)
def test_generated_text_is_the_text(pair):
    parameter, value = pair
    proper = canonical(parameter, value)
    template = emit_text(parameter)
    if template is not None:
        assert text(parameter, proper) == eval(template.replace("{v}", "v"), {"v": proper})


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("Date", "Month", "Year"))])
@pytest.mark.parametrize("year", [1, 999, 1000, 9999])
def test_generated_text_of_early_years_is_the_text(name, year):
    parameter = make(name)
    given_value = date_interval.Date(year, 3, 4) if "Interval" in name else datetime_(year, 3, 4, 5, 6, 7)
    for value in [canonical(parameter, given_value)] + ([] if "Interval" in name else [None]):
        template = emit_text(parameter)
        if template is not None:
            assert text(parameter, value) == eval(template.replace("{v}", "v"), {"v": value})


@for_any
@given(parameters_with_values)
def test_instances_of_the_fast_type_are_canonical(pair):
    parameter, value = pair
    fast = fast_type(parameter)
    if fast is not None and (value.__class__ is fast or fast is object):
        assert same(value, canonical(parameter, value)) or fast is object


@for_any
@given(parameters_with_values, st.data())
def test_keys_are_equal_exactly_for_the_same_value(pair, data):
    parameter, value = pair
    kind = type(parameter).__name__
    other = data.draw(st.just(value) | VALUES[kind])
    one, two = canonical(parameter, value), canonical(parameter, other)
    keys = strict_key(parameter, one), strict_key(parameter, two)
    if None in keys:
        assert kind == "Parameter"
    else:
        hash(keys)
        assert (keys[0] == keys[1]) is same(one, two)


def test_text_of_values_can_be_parsed_back():
    for name, value in [
        ("DictParameter", {"b": (1, {"c": None}), "a": 1.5}),
        ("ListParameter", [1, [2, {"a": True}]]),
        ("TupleParameter", [1, [2, {"a": True}]]),
        ("TimeDeltaParameter", timedelta(days=9, seconds=5)),
        ("DateIntervalParameter", date_interval.Week(2013, 7)),
        ("EnumListParameter", [Colour.BLUE]),
    ]:
        parameter = make(name)
        proper = canonical(parameter, value)
        assert same(proper, canonical(parameter, text(parameter, proper)))


def test_choice_list_of_numbers_has_a_text():
    for parameter in both("ChoiceListParameter", choices=[1, 2], var_type=int):
        assert text(parameter, canonical(parameter, [2, 1])) == "2,1"


# ---- keys


@pytest.mark.parametrize("name", ["ListParameter", "TupleParameter", "Parameter"])
def test_keys_of_containers_tell_types_apart(name):
    parameter = make(name)
    values = [(1,), (True,), (1.0,), ("1",), ((1,),), (), (0.0,), (-0.0,)]
    assert len({strict_key(parameter, canonical(parameter, value)) for value in values}) == len(values)


def test_keys_of_mappings_tell_key_types_apart():
    parameter = ours.DictParameter()
    values = [{1: 2}, {"1": 2}, {1.0: 2}, {1: 2.0}, {}]
    assert len({strict_key(parameter, canonical(parameter, value)) for value in values}) == len(values)


def test_keys_of_any_objects_tell_types_apart():
    parameter = ours.Parameter()
    values = [1, 1.0, True, "1", "None", None, decimal.Decimal("1.0"), decimal.Decimal("1.00"), Level.LOW,
              np.int64(1), 0.0, -0.0, type(None), frozenset([1]), frozenset([True]), (None,)]  # fmt: skip
    keys = [strict_key(parameter, value) for value in values]
    assert None not in keys
    assert len(set(keys)) == len(values)


def test_nan_is_itself():
    for name in ("FloatParameter", "Parameter", "OptionalFloatParameter"):
        parameter = make(name)
        assert strict_key(parameter, float("nan")) == strict_key(parameter, float("nan"))
    parameter = ours.Parameter()
    assert strict_key(parameter, (float("nan"),)) == strict_key(parameter, (float("nan"),))


@pytest.mark.parametrize("value", [[1], {"a": 1}, ([1],), (("a", {}),), np.array([1]), pd.DataFrame()])
def test_unhashable_values_have_no_key(value):
    assert strict_key(ours.Parameter(), value) is None


def test_keys_of_intervals_can_be_compared():
    parameter = ours.DateIntervalParameter()
    month, year = (strict_key(parameter, canonical(parameter, value)) for value in ("2013-01", "2013"))
    assert month != year
    assert month == strict_key(parameter, date_interval.Month(2013, 1))


def test_same_instant_in_two_time_zones_has_two_keys():
    utc = datetime.timezone.utc
    parameter = ours.DateHourParameter(start=datetime_(2020, 1, 1, tzinfo=utc))
    there = datetime.timezone(timedelta(hours=1))
    here, elsewhere = datetime_(2020, 1, 1, 5, tzinfo=utc), datetime_(2020, 1, 1, 6, tzinfo=there)
    assert here == elsewhere
    assert strict_key(parameter, here) != strict_key(parameter, elsewhere)


# ---- what generated code asks


@pytest.mark.parametrize(
    ("name", "keywords", "expected"),
    [
        ("Parameter", {}, object),
        ("StrParameter", {}, str),
        ("IntParameter", {}, int),
        ("FloatParameter", {}, float),
        ("BoolParameter", {}, bool),
        ("OptionalIntParameter", {}, int),
        ("DateParameter", {}, date),
        ("DateParameter", {"interval": 2}, None),
        ("MonthParameter", {}, None),
        ("EnumParameter", {}, Colour),
        ("PathParameter", {}, type(Path())),
        ("PathParameter", {"exists": True}, None),
        ("NumericalParameter", {}, None),
        ("ChoiceParameter", {}, None),
        ("ListParameter", {}, None),
    ],
)
def test_fast_types(name, keywords, expected):
    for parameter in both(name, **keywords):
        assert fast_type(parameter) is expected
