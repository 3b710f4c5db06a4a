"""Digests of values in memory: no two values that differ have the same, equal ones of the usual kinds do."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import itertools
import math
import os
import pathlib
import pickle
import struct
import subprocess
import zoneinfo
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d6tpipe import plugins
from d6tpipe.formats import content
from d6tpipe.formats.content import content_digest

digest = content_digest
UTC, HOUR = datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=1))
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def test_it_is_reached_by_name() -> None:
    assert plugins.load("digests", "content") is content_digest


# -- plain values ------------------------------------------------------------------------------------------

Moment = datetime.datetime

# No two are the same, whatever Python's == says.
DIFFERENT = [
    None, True, False, 0, 1, -1, 2**70, -(2**70), 0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1j, 1 + 0j, 0j, -0j,
    "", "1", "None", "ü", "\ud800", "a", "b", b"", b"1", b"a", "i1;", b"i1;",
    datetime.date(2020, 1, 1), Moment(2020, 1, 1), Moment(2020, 1, 1, fold=1), Moment(2020, 1, 1, 0, 0, 0, 1),
    Moment(2020, 1, 1, tzinfo=UTC), Moment(2020, 1, 1, tzinfo=HOUR), Moment(2020, 1, 1, tzinfo=BERLIN),
    Moment(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "X")),
    datetime.timedelta(0), datetime.timedelta(1), datetime.timedelta(-1), datetime.timedelta(0, 1),
    datetime.timedelta(0, 0, 1),
    decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("-0"), decimal.Decimal("NaN"), decimal.Decimal("Inf"),
    (), [], {}, set(), frozenset(), (1,), [1], {1}, frozenset({1}), (True,), (1.0,), ("1",), {1: None}, {1.0: None},
    (None,), [[]], [()], ([],), [[], []], [[[]]], ((1, 2), 3), (1, (2, 3)), (1, 2, 3), [1, 2, 3], [3, 2, 1],
    ["a", "b"], ["ab"], ["", "ab"], ["ab", ""], ["a", "bsc"], ["asb", "c"], [b"a", b"bbc"], [b"abb", b"c"], [b"ab"],
    {"a": "b"}, {"b": "a"}, {"a", "b"}, {"ab"},
    {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": 2}}, {("a", "b"): 2}, [{"a": 1}, {"b": 2}], [{"a": 1, "b": 2}],
    {frozenset({1}), frozenset({2})}, {frozenset({1, 2})}, {1, 2}, {1, 1.5}, {"1", 2}, {1, "2"},
    [0] * 30, [0.0] * 30, [False] * 30, [""] * 30, [None] * 30, (0,) * 30, [0] * 31, [0] * 29 + [False],
    [False] + [0] * 29, [0] * 29 + [1], ["a"] * 30, ["a"] * 29 + ["aa"], ["a"] * 28 + ["aa", ""],
    ["a"] * 28 + ["", "aa"],
    [b"a"] * 30, [2**80] * 30, [1, 0x23] * 15, [0x12, 3] * 15, [1.5, None] * 15, [None, 1.5] * 15, [math.nan] * 30,
    ["\ud83d", "\ude00"] * 15, ["\U0001f600", ""] * 15, [[0] * 30], [[0] * 30, 0],
]  # fmt: skip


def test_no_two_of_many_values_have_the_same_digest() -> None:
    seen: dict[bytes, Any] = {}
    for value in DIFFERENT:
        found = digest(value)
        assert len(found) == 16, f"{value!r} has none"
        assert found not in seen, f"{value!r} and {seen[found]!r} have the same"
        seen[found] = value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v, v), lambda v: {"k": v}, lambda v: [1, [v]]])
def test_no_two_of_many_values_have_the_same_digest_inside_another(wrap: Callable[[Any], Any]) -> None:
    assert len(DIFFERENT) == len({digest(wrap(value)) for value in DIFFERENT})


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary(),
    st.dates(), st.datetimes(timezones=st.sampled_from([None, UTC, HOUR, BERLIN])), st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),  # which have no hash
)  # fmt: skip
hashable = st.one_of(plain, st.tuples(plain, plain), st.frozensets(plain, max_size=4))
nested = st.recursive(
    st.one_of(plain, st.sets(hashable, max_size=4), st.lists(plain, min_size=21, max_size=22)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(hashable, inner, max_size=4),
    ),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """The oracle: whether two values are equal with the types of everything in them, the order, the bits of floats."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, datetime.datetime):
        return (one.replace(tzinfo=None), one.fold, repr(one.tzinfo)) == (
            other.replace(tzinfo=None), other.fold, repr(other.tzinfo)
        )  # fmt: skip
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, (set, frozenset)):
        if len(one) != len(other):
            return False
        left = list(other)
        for item in one:
            match = next((index for index, candidate in enumerate(left) if same(item, candidate)), None)
            if match is None:
                return False
            del left[match]
        return True
    return bool(one == other)


unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@unhurried
@given(st.lists(nested, min_size=2, max_size=6))
def test_digests_are_equal_exactly_if_the_values_are(values: list[Any]) -> None:
    for one, other in itertools.combinations(values, 2):
        assert same(one, other) == (digest(one) == digest(other))


@unhurried
@given(nested, st.data())
def test_a_change_anywhere_inside_changes_the_digest(value: Any, data: st.DataObject) -> None:
    changed = mutated(value, data)
    assert same(value, changed) == (digest(value) == digest(changed))


def mutated(value: Any, data: st.DataObject) -> Any:
    """Return `value` with another thing in one place."""
    if isinstance(value, (list, tuple)) and value and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(value) - 1))
        return type(value)([*value[:index], mutated(value[index], data), *value[index + 1 :]])
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(list(value)))
        return {name: mutated(item, data) if name is key else item for name, item in value.items()}
    return data.draw(nested)


@unhurried
@given(nested)
def test_a_copy_has_the_same_digest(value: Any) -> None:
    assert digest(value) == digest(copy.deepcopy(value)) == digest(pickle.loads(pickle.dumps(value))) != b""


def test_the_digest_does_not_depend_on_the_hash_seed(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = (
        "from d6tpipe.formats.content import content_digest as digest;"
        "words = [f'word {n}' for n in range(50)];"
        "print(digest([set(words), {frozenset(words[:3]), frozenset(words[3:9]), 1}, dict.fromkeys(words)]).hex())"
    )
    printed = {run_python("-c", code, env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(printed) == 1


# -- what is not known -------------------------------------------------------------------------------------


class Sub(dict):  # type: ignore[type-arg]
    pass


class Zone(datetime.tzinfo):
    def utcoffset(self, moment: Any) -> Any:
        raise AssertionError("code of the value was called")


class Metal(type):
    __hash__ = None  # type: ignore[assignment]


class Colour(enum.IntEnum):
    RED = 1


class Odd(metaclass=Metal):
    pass


class Mine(np.ndarray):  # type: ignore[type-arg]
    pass


UNKNOWN: list[Any] = [
    object(), len, int, lambda: 1, Sub(), OrderedDict(), defaultdict(int), namedtuple("Point", "x")(1), Colour.RED,
    fractions.Fraction(1, 2), pathlib.PurePath("x"), bytearray(b"x"), memoryview(b"x"), Odd(), Ellipsis, NotImplemented,
    Moment(2020, 1, 1, tzinfo=Zone()), (n for n in ()), os.environ, np, pd, range(3),
    np.array([object()]), np.zeros(2, [("a", "i4")]), np.array([1]).view(Mine), np.ma.array([1]), np.recarray(1,
    [("a", int)]),
    np.zeros(2, np.longdouble), np.longdouble(1), np.zeros(2, np.dtype("i4", metadata={"a": 1})), np.void(b"x"),
    pd.DataFrame({"a": [object()]}), pd.DataFrame({"a": [1]}, index=[object()]), pd.DataFrame({object(): [1]}),
    pd.Series(pd.period_range("2020", periods=2)), pd.Series(pd.interval_range(0, 2)),
    pd.Series([pd.Series([object()])]),
    pd.Series(pd.arrays.SparseArray([1])), pd.DataFrame({"a": [1]}).groupby("a"), pd.Series([1]).rolling(2),
]  # fmt: skip


@pytest.mark.parametrize("value", UNKNOWN, ids=lambda value: type(value).__name__)
def test_what_is_not_known_has_no_digest_wherever_it_is(value: Any) -> None:
    for wrapped in (value, [value], {"a": (1, value)}, [value] * 30):
        assert digest(wrapped) == b""


def test_frames_with_what_is_not_known_have_no_digest() -> None:
    class MyFrame(pd.DataFrame):
        pass

    frame = pd.DataFrame({"a": [1]})
    marked = frame.copy()
    object.__setattr__(marked, "note", "mine")
    noted = frame.copy()
    noted.attrs["x"] = object()
    assert digest(frame) != b""
    assert [b"", b"", b""] == [digest(value) for value in (MyFrame(frame), marked, noted)]


def test_what_holds_itself_has_no_digest() -> None:
    around: list[Any] = [1]
    around.append({"a": around})
    assert digest(around) == b""


def test_what_would_take_long_has_no_digest() -> None:
    """A list of two times the same list of two times the same list ... has 2**100 members and a size of 100."""
    twice: Any = [1]
    for _ in range(100):
        twice = [twice, twice]
    many = {str(number): None for number in range(content.MOST_ITEMS)}
    assert [b"", b""] == [digest(value) for value in (twice, many)]


def test_what_is_large_has_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    large: list[Any] = [
        np.zeros(2000), pd.DataFrame({"a": np.zeros(2000)}), "x" * 10_001, b"x" * 10_001, ["x" * 400] * 30, [1] * 2000,
        pd.Series(["x" * 400] * 30), pd.Series(["x" * 400] * 30, dtype=object), np.broadcast_to(1.0, (100, 100)),
    ]  # fmt: skip
    assert b"" not in map(digest, large)
    monkeypatch.setattr(content, "MOST_BYTES", 10_000)
    assert {b""} == set(map(digest, large))


@pytest.mark.parametrize("value", [1, {"a": [1, "b"]}, datetime.date(2020, 1, 1)], ids=repr)
def test_numpy_and_pandas_are_not_loaded_for_other_values(
    value: Any, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    code = (
        "import datetime, sys; from d6tpipe.formats.content import content_digest as digest;"
        f"digest({value!r}); print({{'numpy', 'pandas', 'pyarrow'}} & set(sys.modules))"
    )
    assert run_python("-c", code).stdout == "set()\n"


# -- numpy -------------------------------------------------------------------------------------------------


def test_no_two_of_many_arrays_have_the_same_digest() -> None:
    base = np.arange(6)
    different: list[Any] = [
        *(base.astype(kind) for kind in ("i1", "i2", "i4", "i8", ">i8", "u8", "f2", "f4", "f8", ">f8", "c8", "c16")),
        base.astype("U1"), base.astype("S1"), base.astype("U2"), base.astype(bool), base.astype(object),
        *(base.astype(f"M8[{unit}]") for unit in ("D", "s", "ns")), base.astype("m8[ns]"),
        base.reshape(2, 3), base.reshape(3, 2), base.reshape(6, 1), base.reshape(1, 6), base.reshape(1, 2, 3),
        np.asfortranarray(base.reshape(2, 3)), base.reshape(2, 3).T, np.arange(12)[::2], base[::-1], base + 1, base[:5],
        np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0, "i8"), np.zeros(2, "U0"), np.zeros(3, "U0"),
        np.array(1), np.array(1.0), np.array([1]), np.array([0.0]), np.array([-0.0]), np.array([math.nan]),
        np.array([None]), np.array([math.nan], object), np.array(["a", None], object), np.array([None, "a"], object),
        np.array([["a", None]], object), np.array([1, "1"], object), np.array([1.0, "1"], object),
        np.array([True, "1"], object), np.array(["1", "1"], object), np.array(["1"] * 30, object),
        np.int64(1), np.int32(1), np.float64(1), np.float32(1), np.bool_(True), np.str_("1"), np.bytes_(b"1"),
        np.datetime64("2020", "D"), np.datetime64("2020", "s"), np.timedelta64(1, "s"), np.datetime64("NaT", "s"),
        np.complex128(1),
        1, 1.0, "1", b"1", True, [1], base.tolist(), base.tobytes(), [base], [base, base], (base,),
    ]  # fmt: skip
    seen: dict[bytes, Any] = {}
    for value in different:
        found = digest(value)
        assert len(found) == 16, f"{value!r} has none"
        assert found not in seen, f"{value!r} and {seen[found]!r} have the same"
        seen[found] = value
        assert found == digest(copy.deepcopy(value)) or (isinstance(value, np.ndarray) and not value.flags.contiguous)


def test_where_an_array_lies_does_not_count() -> None:
    whole = np.arange(100.0)
    assert digest(whole[10:20]) == digest(whole[10:20].copy())
    assert digest(np.arange(10)[::2]) == digest(np.arange(20)[:10:2])


# -- pandas ------------------------------------------------------------------------------------------------


def frame(**changes: Any) -> pd.DataFrame:
    columns = {"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0.5, math.nan, 1.5], **changes}
    return pd.DataFrame(columns)


def with_attrs(value: Any, **attrs: Any) -> Any:
    value.attrs.update(attrs)
    return value


def as_column(values: Any, dtype: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"k": pd.Series(values, dtype=dtype)})


BASE = frame()
DAYS = pd.date_range("2020-01-01", periods=3)

DIFFERENT_FRAMES: dict[str, Any] = {
    "base": BASE,
    "value": frame(a=[1, 2, 4]),
    "text": frame(b=["x", "y", "w"]),
    "gap": frame(b=["x", "y", None]),
    "float": frame(c=[0.5, math.nan, 2.5]),
    "renamed": BASE.rename(columns={"a": "z"}),
    "column order": BASE[["b", "a", "c"]],
    "row order": BASE.iloc[::-1],
    "index order only": BASE.set_axis([2, 1, 0]),
    "reset": BASE.iloc[::-1].reset_index(drop=True),
    "fewer rows": BASE.iloc[:2],
    "no rows": BASE.iloc[:0],
    "fewer columns": BASE[["a", "b"]],
    "no columns": BASE[[]],
    "dtype": BASE.astype({"a": "int32"}),
    "float for int": BASE.astype({"a": "float64"}),
    "nullable": BASE.astype({"a": "Int64"}),
    "unsigned nullable": BASE.astype({"a": "UInt64"}),
    "arrow": BASE.astype({"a": "int64[pyarrow]"}),
    "bool": BASE.astype({"a": bool}),
    "object of int": BASE.astype({"a": object}),
    "object of text": BASE.astype({"b": object}),
    "object of text and a gap": frame(b=pd.Series(["x", None, "z"], dtype=object)),
    "object of text and nan": frame(b=pd.Series(["x", math.nan, "z"], dtype=object)),
    "object of text and NA": frame(b=pd.Series(["x", pd.NA, "z"], dtype=object)),
    "object of text and NaT": frame(b=pd.Series(["x", pd.NaT, "z"], dtype=object)),
    "object of bytes": frame(b=pd.Series([b"x", b"y", b"z"], dtype=object)),
    "object of lists": frame(b=[["x"], ["y"], ["z"]]),
    "object of tuples": frame(b=[("x",), ("y",), ("z",)]),
    "object of dates": frame(b=[datetime.date(2020, 1, 1)] * 3),
    "python text": BASE.astype({"b": pd.StringDtype("python")}),
    "python text and a gap": frame(b=["x", None, "z"]).astype({"b": pd.StringDtype("python")}),
    "pyarrow text": BASE.astype({"b": pd.StringDtype("pyarrow")}),
    "arrow text": BASE.astype({"b": pd.ArrowDtype(pa.string())}),
    "category": BASE.astype({"b": "category"}),
    "ordered category": frame(b=pd.Categorical(["x", "y", "z"], ordered=True)),
    "more categories": frame(b=pd.Categorical(["x", "y", "z"], ["x", "y", "z", "w"])),
    "other order of categories": frame(b=pd.Categorical(["x", "y", "z"], ["z", "y", "x"])),
    "category gap": frame(b=pd.Categorical(["x", "y", None], ["x", "y", "z"])),
    "dates": frame(b=DAYS),
    "dates in seconds": frame(b=DAYS.as_unit("s")),
    "dates in UTC": frame(b=DAYS.tz_localize("UTC")),
    "dates in Berlin": frame(b=DAYS.tz_localize("Europe/Berlin")),
    "the same moments in Rome": frame(b=DAYS.tz_localize("Europe/Berlin").tz_convert("Europe/Rome")),
    "dates with an offset": frame(b=DAYS.tz_localize(HOUR)),
    "dates and a gap": frame(b=pd.Series([*DAYS[:2], pd.NaT])),
    "times": frame(b=DAYS - DAYS[0]),
    "nullable gap": frame(a=pd.array([1, 2, None], "Int64")),
    "nullable zero": frame(a=pd.array([1, 2, 0], "Int64")),
    "nullable float": frame(a=pd.array([1, 2, None], "Float64")),
    "nullable bool": frame(a=pd.array([True, False, None], "boolean")),
    "nullable bool, no gap": frame(a=pd.array([True, False, False], "boolean")),
    "index name": BASE.rename_axis("i"),
    "columns name": BASE.rename_axis(columns="i"),
    "text index": BASE.set_index("b"),
    "index of numbers": BASE.set_axis(pd.Index([0, 1, 2])),
    "index of floats": BASE.set_axis(pd.Index([0.0, 1.0, 2.0])),
    "other range": BASE.set_axis(pd.RangeIndex(1, 4)),
    "range with steps": BASE.set_axis(pd.RangeIndex(0, 6, 2)),
    "range with longer steps": BASE.set_axis(pd.RangeIndex(0, 9, 3)),
    "range with other steps to the same end": BASE.iloc[:2].set_axis(pd.RangeIndex(0, 6, 4)),
    "range with steps, two rows": BASE.iloc[:2].set_axis(pd.RangeIndex(0, 6, 3)),
    "dates as index": BASE.set_axis(DAYS),
    "dates as index, no frequency": BASE.set_axis(pd.DatetimeIndex(DAYS, freq=None)),
    "two levels": BASE.set_index(["a", "b"]),
    "two levels, other values": BASE.set_index(["a", "b"]).set_axis(
        pd.MultiIndex.from_arrays([[1, 2, 4], BASE["b"]], names=["a", "b"])
    ),
    "two levels, other combination": BASE.set_index(["a", "b"]).set_axis(
        pd.MultiIndex.from_arrays([[1, 3, 2], BASE["b"]], names=["a", "b"])
    ),
    "two levels, renamed": BASE.set_index(["a", "b"]).rename_axis(["a", "z"]),
    "two levels, other order": BASE.set_index(["b", "a"]),
    "category as index": BASE.set_index(pd.CategoricalIndex(["x", "y", "z"])),
    "columns of two levels": BASE.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("b", 1), ("c", 1)]), axis=1),
    "columns of numbers": BASE.set_axis([0, 1, 2], axis=1),
    "columns of numbers as text": BASE.set_axis(["0", "1", "2"], axis=1),
    "columns of a range": BASE.set_axis(pd.RangeIndex(3), axis=1),
    "columns of one name": BASE.set_axis(["a", "a", "a"], axis=1),
    "attrs": with_attrs(frame(), source="x"),
    "other attrs": with_attrs(frame(), source="y"),
    "flags": frame().set_flags(allows_duplicate_labels=False),
    "series": BASE["a"],
    "series renamed": BASE["a"].rename("z"),
    "series without name": BASE["a"].rename(None),
    "series named None": BASE["a"].rename("None"),
    "series of floats": BASE["a"].astype(float),
    "series reordered": BASE["a"].iloc[::-1],
    "frame of one column": BASE[["a"]],
    "index alone": pd.Index([1, 2, 3]),
    "index alone, named": pd.Index([1, 2, 3], name="a"),
    "range alone": pd.RangeIndex(1, 4),
    "array": BASE["a"].to_numpy(),
    "list": [1, 2, 3],
    "list of a frame": [BASE],
    "dict": BASE.to_dict("list"),
    "moment": pd.Timestamp("2020-01-01").as_unit("ns"),
    "moment in seconds": pd.Timestamp("2020-01-01").as_unit("s"),
    "moment the second time": pd.Timestamp(Moment(2020, 1, 2, fold=1)).as_unit("us"),
    "moment the first time": pd.Timestamp(Moment(2020, 1, 2)).as_unit("us"),
    "moment in UTC": pd.Timestamp("2020-01-01", tz="UTC"),
    "moment in Berlin": pd.Timestamp("2020-01-01 01:00", tz="Europe/Berlin"),
    "moment of Python": Moment(2020, 1, 1),
    "moment of numpy": np.datetime64("2020-01-01", "ns"),
    "span": pd.Timedelta(1, "s"),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "None": None,
    "nan": math.nan,
}

if BASE["b"].dtype == object:  # before pandas 3 that is what text is
    del DIFFERENT_FRAMES["object of text"]


def test_no_two_of_many_frames_have_the_same_digest() -> None:
    seen: dict[bytes, str] = {}
    for name, value in DIFFERENT_FRAMES.items():
        found = digest(value)
        assert len(found) == 16, f"{name!r} has none"
        assert found not in seen, f"{name!r} and {seen[found]!r} have the same"
        seen[found] = name


@pytest.mark.parametrize("name", sorted(DIFFERENT_FRAMES.keys() - {"moment the second time"}))  # pandas forgets
def test_a_copied_frame_has_the_same_digest(name: str) -> None:
    value = DIFFERENT_FRAMES[name]
    assert digest(value) == digest(copy.deepcopy(value)) == digest(pickle.loads(pickle.dumps(value)))


def test_how_a_frame_came_about_does_not_count() -> None:
    column_by_column = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    from_array = pd.DataFrame(np.array([[1.0, 3.0], [2.0, 4.0]]), columns=["a", "b"])
    joined = pd.concat([column_by_column[["a"]], column_by_column[["b"]]], axis=1)
    sliced = pd.DataFrame({"x": [0.0, 0.0, 0.0], "a": [9.0, 1.0, 2.0], "b": [9.0, 3.0, 4.0]})
    sliced = sliced.iloc[1:][["a", "b"]].set_axis(pd.RangeIndex(2))
    used = column_by_column.copy()
    used["a"].sum(), used.index.is_unique, used.columns.get_loc("a"), used.describe()
    assert 1 == len({digest(value) for value in (column_by_column, from_array, joined, sliced, used)})


@pytest.mark.parametrize("dtype", ["str", object, "Int64", "Float64", "boolean", "int64[pyarrow]", "category"])
def test_what_is_under_a_gap_or_around_a_slice_does_not_count(dtype: Any) -> None:
    numbers = dtype not in ("str", object, "category")
    values: list[Any] = [1, 0, None, 1] if numbers else ["x", "y", None, "z"]
    whole = pd.concat([pd.Series(values, dtype=dtype)] * 3, ignore_index=True)
    part = whole.iloc[4:8].reset_index(drop=True)
    assert digest(pd.Series(values, dtype=dtype)) == digest(part)


text_or_gap = st.one_of(st.text(max_size=3), st.none(), st.just(math.nan), st.floats(), st.integers(), st.booleans())


@unhurried
@given(st.lists(text_or_gap, max_size=30), st.lists(text_or_gap, max_size=30))
def test_object_columns_are_told_apart_as_lists_are(one: list[Any], other: list[Any]) -> None:
    first, second = (pd.Series(values, dtype=object) for values in (one, other))
    assert same(list(first), list(second)) == (digest(first) == digest(second))
    assert digest(first) == digest(first.copy()) != b""
