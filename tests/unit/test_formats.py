"""What is particular to one format; what every format does is in tests/conformance."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from d6tpipe import plugins
from d6tpipe.errors import DeclarationError, PluginError


def trip(name: str, value: Any, tmp_path: Path, **options: Any) -> Any:
    """Save and load."""
    form = plugins.load("formats", name)
    path = str(tmp_path / f".tmp-x.{form.suffix}")
    form.save(value, path, **options)
    return form.load(path)


def column(values: Any, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"c": pd.Series(values, **options)})


# -- pickle, json, text ------------------------------------------------------------------------------------


def test_pickle_is_plain_pickle(tmp_path: Path) -> None:
    plugins.load("formats", "pickle").save({"a": 1}, str(tmp_path / "x.pkl"))
    assert pickle.loads((tmp_path / "x.pkl").read_bytes()) == {"a": 1}


def test_pickle_takes_arrays_whatever_their_layout(tmp_path: Path) -> None:
    for array in (np.arange(300_000.0).reshape(3, -1), np.asfortranarray(np.eye(300)), np.arange(10)[::2]):
        np.testing.assert_array_equal(array, trip("pickle", array, tmp_path))


def test_pickle_streams_large_arrays_whatever_their_layout(tmp_path: Path) -> None:
    value = [b"x" * 100_000, np.arange(300_000.0).reshape(3, -1), np.asfortranarray(np.eye(300)), np.arange(10)[::2]]
    form, path = plugins.load("formats", "pickle"), str(tmp_path / "x.pkl")
    written = plugins.load("files", "local").write_stream(path, lambda stream: form.dump(value, stream))
    assert written.digest == plugins.load("files", "local").digest(path)
    for one, loaded in zip(value, form.load(path), strict=True):
        np.testing.assert_array_equal(one, loaded)


@pytest.mark.parametrize(
    ("name", "value", "options", "error"),
    [
        ("pickle", lambda: 1, {}, DeclarationError),
        ("json", "\ud800", {"ensure_ascii": False}, DeclarationError),
        ("text", 1, {}, DeclarationError),
        ("bytes", b"x", {"no_such": 1}, TypeError),
    ],
)
def test_what_is_refused_leaves_no_file(name: str, value: Any, options: Any, error: Any, tmp_path: Path) -> None:
    with pytest.raises(error):
        trip(name, value, tmp_path, **options)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"(?s)type function.*pickle said"):
        trip("pickle", lambda: 1, tmp_path)


def test_json_files_are_as_d6tflow_writes_them(tmp_path: Path) -> None:
    plugins.load("formats", "json").save({"ä": [1]}, str(tmp_path / "x.json"))
    assert json.dumps({"data": {"ä": [1]}}, indent=4) == (tmp_path / "x.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        ((1, [(2, 3)]), [1, [[2, 3]]]),
        ({1: {None: 2, True: 3}}, {"1": {"null": 2, "true": 3}}),
        ({"a": [1, 2.5, "x", None, False]}, {"a": [1, 2.5, "x", None, False]}),
    ],
)
def test_json_brings_back_lists_for_tuples_and_text_for_keys(value: Any, loaded: Any, tmp_path: Path) -> None:
    assert loaded == trip("json", value, tmp_path)


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": datetime.date(2020, 1, 1)}, {(1, 2): 3}, b"x"])
def test_json_refuses_what_json_refuses(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        json.dumps(value)
    with pytest.raises(DeclarationError, match="json said"):
        trip("json", value, tmp_path)


def test_json_passes_options_on(tmp_path: Path) -> None:
    assert trip("json", {"a": datetime.date(2020, 1, 1)}, tmp_path, default=str) == {"a": "2020-01-01"}


def test_json_keeps_numbers_that_are_not_numbers(tmp_path: Path) -> None:
    loaded = trip("json", [float("nan"), float("inf"), np.float64(0.1)], tmp_path)
    assert [str(number) for number in loaded] == ["nan", "inf", "0.1"]


def test_json_says_that_a_value_holds_itself(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DeclarationError, match=r"(?i)circular"):
        trip("json", value, tmp_path)


def test_text_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="utf-8"):
        trip("text", "\ud800", tmp_path)


# -- parquet -----------------------------------------------------------------------------------------------

MULTI = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])
PLAIN = {"v": [1, 2]}

KEPT: dict[str, Callable[[], pd.DataFrame]] = {
    "integer labels": lambda: pd.DataFrame(np.zeros((2, 2))),
    "float labels": lambda: pd.DataFrame([[1, 2]], columns=[1.5, 2.5]),
    "date labels": lambda: pd.DataFrame([[1, 2]], columns=pd.to_datetime(["2020-01-01", "2020-01-05"])),
    "label levels": lambda: pd.DataFrame([[1, 2]], columns=MULTI),
    "name of the labels": lambda: pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="n")),
    "datetime index": lambda: pd.DataFrame(PLAIN, index=pd.to_datetime(["2020-01-01", "2020-01-05"])),
    "time zone index": lambda: pd.DataFrame(
        PLAIN, index=pd.to_datetime(["2020-01-01", "2020-01-05"]).tz_localize("UTC")
    ),
    "named index": lambda: pd.DataFrame(PLAIN, index=pd.Index(["p", "q"], name="k")),
    "named range": lambda: pd.DataFrame(PLAIN, index=pd.RangeIndex(4, 8, 2, name="k")),
    "index levels": lambda: pd.DataFrame(PLAIN, index=MULTI),
    "index levels without names": lambda: pd.DataFrame(PLAIN, index=MULTI.set_names([None, None])),
    "index called like a column": lambda: pd.DataFrame(PLAIN, index=pd.Index([3, 4], name="v")),
    "category index": lambda: pd.DataFrame(PLAIN, index=pd.CategoricalIndex(["u", "v"], ["v", "u", "w"])),
    "period index": lambda: pd.DataFrame(PLAIN, index=pd.period_range("2020", periods=2)),
    "categories": lambda: column(["a", "b", None], dtype=pd.CategoricalDtype(["b", "a", "unused"], ordered=True)),
    "number categories": lambda: column([1, 2], dtype="category"),
    "ordered number categories": lambda: column([2, 1, None], dtype=pd.CategoricalDtype([3, 2, 1], ordered=True)),
    "small number categories": lambda: column(pd.Categorical(np.array([5, 6, 5], dtype="int8"))),
    "float categories": lambda: column([0.1, None, float("inf")], dtype="category"),
    "truth categories": lambda: column([True, False], dtype="category"),
    "nullable": lambda: column([1, None], dtype="Int64"),
    "small": lambda: column([1, 2], dtype="int8"),
    "nanoseconds": lambda: column(pd.to_datetime(["2020-01-01T00:00:00.000000001"])),
    "time zones": lambda: column(pd.to_datetime(["2020-01-01"]).tz_localize("Europe/Berlin")),
    "durations": lambda: column(pd.to_timedelta([1], unit="D")),
    "text": lambda: column(["a", None]),
    "bytes": lambda: column([b"a", b"\xff"]),
    "dates": lambda: column([datetime.date(2020, 1, 1), None]),
    "times": lambda: column([datetime.time(1, 2, 3)]),
    "decimals": lambda: column([decimal.Decimal("1.10"), decimal.Decimal("2.25")]),
    "truth with gaps": lambda: column([True, None], dtype=object),
    "arrays in cells": lambda: column([np.array([1, 2]), np.array([3])]),
    "periods": lambda: column(pd.period_range("2020", periods=2)),
    "no rows": lambda: pd.DataFrame({"a": pd.Series([], dtype="int32")}),
    "nothing": lambda: pd.DataFrame(),
    "labels only": lambda: pd.DataFrame(columns=["a", "b"]),
    "gaps in whole numbers": lambda: column([2**53 + 1, None], dtype="Int64"),
    "attrs": lambda: with_attrs(pd.DataFrame(PLAIN), {"unit": "m"}),
}

OBJECT = {"dtype": object}
NOON, UTC = datetime.datetime(2020, 1, 1, 12), datetime.timezone.utc

# What pandas and pyarrow take, and bring back as something close: name -> frame, what the cells come back as
TAKEN: dict[str, tuple[Callable[[], pd.DataFrame], list[Any]]] = {
    "lists": (lambda: column([[1, 2], [3]]), [[1, 2], [3]]),
    "tuples": (lambda: column([(1, 2), (3,)]), [[1, 2], [3]]),
    "lists with gaps": (lambda: column([["a"], None]), [["a"], None]),
    "embeddings": (lambda: column([np.array([0.5, 1.5], dtype="float32")]), [[0.5, 1.5]]),
    "dicts": (lambda: column([{"a": 1, "b": "x"}]), [{"a": 1, "b": "x"}]),
    "dicts of two kinds": (lambda: column([{"a": "x"}, {"b": "y"}]), [{"a": "x", "b": None}, {"a": None, "b": "y"}]),
    "date categories": (
        lambda: column(pd.to_datetime(["2020-01-01"])).astype("category"),
        [pd.Timestamp("2020-01-01")],
    ),
    "whole numbers among others": (lambda: column([1, 2.5], **OBJECT), [1.0, 2.5]),
    "whole numbers as objects": (lambda: column([2**62, 1], **OBJECT), [2**62, 1]),
    "two time zones": (
        lambda: column([NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))]),
        [pd.Timestamp("2020-01-01T12:00Z"), pd.Timestamp("2020-01-01T10:00Z")],
    ),
}

REFUSED: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    # labels and names that would change, or make the file unreadable
    "labels of mixed types": (lambda: pd.DataFrame({1: [1], "a": [2]}), "1 would come back as '1'"),
    "truth labels": (lambda: pd.DataFrame([[1, 2]], columns=[True, False]), "label False|read back"),
    "tuple labels": (
        lambda: pd.DataFrame([[1, 2]], columns=pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
        r"\('a', 1\) would come back",
    ),
    "category labels": (lambda: pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["a", "b"])), "read back"),
    "period labels": (lambda: pd.DataFrame([[1]], columns=pd.period_range("2020", periods=1)), "read back"),
    "number as index name": (lambda: pd.DataFrame(PLAIN, index=pd.Index([3, 4], name=0)), r"\[None, 0\] would come"),
    # cells
    "large numbers with gaps": (lambda: column([2**53 + 1, None], **OBJECT), "column 'c': whole numbers"),
    "large numbers with gaps in the index": (
        lambda: pd.DataFrame(PLAIN, index=pd.Index([2**53 + 1, None], **OBJECT)),
        "the index: whole numbers",
    ),
    "text among bytes": (lambda: column(["a", b"b"], **OBJECT), "come back as bytes"),
    "times among dates": (lambda: column([NOON.date(), NOON], **OBJECT), "time of day"),
    "times with and without zone": (lambda: column([NOON, NOON.replace(tzinfo=UTC)], **OBJECT), "time zone"),
    "nanoseconds in objects": (lambda: column([pd.Timestamp(1), None], **OBJECT), "nanoseconds"),
    "nanoseconds of durations in objects": (lambda: column([pd.Timedelta(1)], **OBJECT), "nanoseconds"),
    "rows without columns": (lambda: pd.DataFrame(index=range(3)), "rows without columns"),
    # what the writer says itself
    "labels twice": (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), "writer said.*[Dd]uplicate"),
    "index of mixed types": (lambda: pd.DataFrame(PLAIN, index=pd.Index([1, "a"], **OBJECT)), "writer said"),
    "mixed cells": (lambda: column([1, "a"], **OBJECT), "writer said.*column c"),
    "complex": (lambda: column([1j]), "writer said.*complex"),
}


def with_attrs(frame: pd.DataFrame, attrs: dict[Any, Any]) -> pd.DataFrame:
    frame.attrs = attrs
    return frame


@pytest.mark.parametrize("case", KEPT)
def test_parquet_brings_back(case: str, tmp_path: Path) -> None:
    frame = KEPT[case]()
    pd.testing.assert_frame_equal(frame, trip("parquet", frame, tmp_path))


@pytest.mark.parametrize("case", REFUSED)
def test_parquet_refuses(case: str, tmp_path: Path) -> None:
    make, said = REFUSED[case]
    with pytest.raises(DeclarationError, match=rf"(?s)parquet.*{said}"):
        trip("parquet", make(), tmp_path)


@pytest.mark.parametrize("case", TAKEN)
def test_parquet_takes_what_pandas_takes(case: str, tmp_path: Path) -> None:
    make, cells = TAKEN[case]
    loaded = trip("parquet", make(), tmp_path)["c"]
    assert cells == [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in loaded]


def test_parquet_refuses_types_of_arrow_that_pandas_cannot_read_back(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    frame = column([[1], [2]], dtype=pd.ArrowDtype(pyarrow.list_(pyarrow.int64())))
    with pytest.raises(DeclarationError, match="read back"):
        trip("parquet", frame, tmp_path)
    kept = column([1, None], dtype=pd.ArrowDtype(pyarrow.int64()))
    pd.testing.assert_frame_equal(kept, trip("parquet", kept, tmp_path))


def test_without_the_index_parquet_does_not_mind_what_is_in_it(tmp_path: Path) -> None:
    frame = pd.DataFrame(PLAIN, index=pd.Index([2**53 + 1, None], name=0, dtype=object))
    assert trip("parquet", frame, tmp_path, index=False).to_dict("list") == PLAIN


def test_parquet_notes_categories_in_the_file_and_not_in_the_frame(tmp_path: Path) -> None:
    form = plugins.load("formats", "parquet")
    frame, path = pd.DataFrame({"a": [1, 2], "b": [3, 4]}).astype("category"), str(tmp_path / "x.parquet")
    form.save(frame, path)
    assert frame.attrs == form.load(path).attrs == {}
    pd.testing.assert_frame_equal(frame[["b"]], form.load(path, columns=["b"]))
    assert list(pd.read_parquet(path)["a"]) == [1, 2]  # readable without d6tpipe


def test_parquet_does_not_keep_the_frequency_of_an_index_but_every_date_of_it(tmp_path: Path) -> None:
    frame = pd.DataFrame(PLAIN, index=pd.date_range("2020", periods=2, freq="D"))
    loaded = trip("parquet", frame, tmp_path)
    pd.testing.assert_frame_equal(frame, loaded, check_freq=False)


@pytest.mark.parametrize(
    ("values", "dtype"), [(["a", None], "str or object"), ([1, 2], "int64"), ([1.5, None], "float64")]
)
def test_parquet_gives_object_columns_the_dtype_of_what_they_hold(values: Any, dtype: str, tmp_path: Path) -> None:
    loaded = trip("parquet", column(values, dtype=object), tmp_path)["c"]
    assert str(loaded.dtype) in dtype
    assert [value for value in values if value is not None] == list(loaded.dropna())


def test_parquet_saves_a_subclass_of_dataframe_as_a_plain_one(tmp_path: Path) -> None:
    class GeoFrame(pd.DataFrame):
        pass

    loaded = trip("parquet", GeoFrame(PLAIN), tmp_path)
    assert type(loaded) is pd.DataFrame
    pd.testing.assert_frame_equal(pd.DataFrame(PLAIN), loaded)


def test_parquet_is_zstd_unless_asked_otherwise_and_d6tflow_files_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet

    form = plugins.load("formats", "parquet")
    for options, codec in (({}, "ZSTD"), ({"compression": "gzip"}, "GZIP")):
        path = str(tmp_path / f"{codec}.parquet")
        form.save(pd.DataFrame(PLAIN), path, **options)
        assert codec == pyarrow.parquet.read_metadata(path).row_group(0).column(0).compression
        pd.testing.assert_frame_equal(pd.DataFrame(PLAIN), form.load(path))


def test_options_reach_the_reader_and_the_writer(tmp_path: Path) -> None:
    form = plugins.load("formats", "parquet")
    path = str(tmp_path / "x.parquet")
    form.save(pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[7, 8]), path, index=False)
    assert list(form.load(path).index) == [0, 1]
    assert list(form.load(path, columns=["b"]).columns) == ["b"]


def test_no_file_is_read_back_when_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: str, **options: Any) -> Any:
        raise AssertionError("the file was read back")

    monkeypatch.setattr(pd, "read_parquet", never)
    frame = pd.DataFrame({"a": [1], "b": ["x"], "c": [[1.5]], "d": pd.to_datetime(["2020-01-01"])}, index=["k"])
    plugins.load("formats", "parquet").save(frame, str(tmp_path / "x.parquet"))


# -- csv ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["csv", "csv.gz", "excel"])
def test_the_index_is_left_out_unless_asked_for(name: str, tmp_path: Path) -> None:
    if name == "excel":
        pytest.importorskip("openpyxl")
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 8])
    assert list(trip(name, frame, tmp_path).columns) == ["a"]
    assert list(trip(name, frame, tmp_path, index=True).iloc[:, 0]) == [7, 8]


@pytest.mark.parametrize("name", ["csv", "csv.gz", "excel"])
def test_a_series_is_saved_as_its_one_column(name: str, tmp_path: Path) -> None:
    if name == "excel":
        pytest.importorskip("openpyxl")
    series = pd.Series([1, 2], name="n")
    pd.testing.assert_frame_equal(series.to_frame(), trip(name, series, tmp_path))


def test_csv_brings_floats_back_to_the_last_bit(tmp_path: Path) -> None:
    floats = np.random.default_rng(0).integers(0, 2**62, 2000).view("float64")
    np.testing.assert_array_equal(floats, trip("csv", pd.DataFrame({"a": floats}), tmp_path)["a"])


def test_csv_lines_end_the_same_on_every_system(tmp_path: Path) -> None:
    plugins.load("formats", "csv").save(pd.DataFrame({"a": ["x", "ü"]}), str(tmp_path / "x.csv"))
    assert "a\nx\nü\n".encode() == (tmp_path / "x.csv").read_bytes()


@pytest.mark.parametrize("text", ["a\rb", "a\r", "a\r\nb", "a\nb", 'a"b', "a,b", " a "])
def test_csv_brings_text_back_whatever_is_in_it(text: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [text, "x"], "n": [1, 2]})
    pd.testing.assert_frame_equal(frame, trip("csv", frame, tmp_path))


@pytest.mark.parametrize("compression", ["gzip", {"method": "gzip", "compresslevel": 1}, "bz2", None])
def test_csv_takes_the_compression_it_is_told(compression: Any, tmp_path: Path) -> None:
    form = plugins.load("formats", "csv.gz")
    form.save(pd.DataFrame(PLAIN), str(tmp_path / "x"), compression=compression)
    method = compression["method"] if isinstance(compression, dict) else compression
    pd.testing.assert_frame_equal(pd.DataFrame(PLAIN), form.load(str(tmp_path / "x"), compression=method))


def test_a_csv_called_gz_is_gzip_without_time_and_name(tmp_path: Path) -> None:
    plugins.load("formats", "csv").save(pd.DataFrame(PLAIN), str(tmp_path / "x.csv.gz"))
    header = (tmp_path / "x.csv.gz").read_bytes()[:8]
    assert b"\x1f\x8b\x08" + bytes(5) == header


@pytest.mark.parametrize("options", [{"sep": ";"}, {"sep": r"\s*;\s*", "engine": "python"}])
def test_csv_options_that_rule_out_the_exact_parser_work(options: dict[str, Any], tmp_path: Path) -> None:
    form = plugins.load("formats", "csv")
    form.save(pd.DataFrame({"a": [1.5], "b": [2]}), str(tmp_path / "x.csv"), sep=";")
    assert list(form.load(str(tmp_path / "x.csv"), **options).iloc[0]) == [1.5, 2]


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"(?s)csv.*indx"):
        trip("csv", pd.DataFrame(PLAIN), tmp_path, indx=False)


# -- excel -------------------------------------------------------------------------------------------------


def test_a_workbook_carries_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openpyxl")
    form = plugins.load("formats", "excel")
    form.save(pd.DataFrame(PLAIN), str(tmp_path / "x.xlsx"))
    with zipfile.ZipFile(tmp_path / "x.xlsx") as archive:
        assert {(1980, 1, 1, 0, 0, 0)} == {member.date_time for member in archive.infolist()}
        core = archive.read("docProps/core.xml")
    assert core.count(b"1980-01-01T00:00:00Z") == 2
    assert time.strftime("%Y-").encode() not in core


def test_excel_says_what_it_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    frame = column(pd.to_datetime(["2020-01-01"]).tz_localize("UTC"))
    with pytest.raises(DeclarationError, match=r"(?s)excel.*timezone"):
        trip("excel", frame, tmp_path)


def test_excel_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(PluginError, match=r"pip install d6tpipe\[excel\]"):
        trip("excel", pd.DataFrame(PLAIN), tmp_path)


# -- what optional libraries make --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("torch", "torch", r"d6tpipe\[torch\]"),
        ("keras", "tensorflow", "pip install tensorflow"),
        ("datatable", "datatable", "pip install datatable"),
        ("hdf", "tables", r"d6tpipe\[hdf\]"),
    ],
)
def test_a_missing_library_says_what_to_install(
    name: str, module: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PluginError, match=said):
        plugins.load("formats", name).load(str(tmp_path / "x"))


def test_torch_is_given_a_file_without_the_temporary_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(value: Any, file: Any, **options: Any) -> None:
        pickle.dump((value, options), file)

    def load(path: str, **options: Any) -> Any:
        return pickle.loads(Path(path).read_bytes()), options

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(save=save, load=load))
    assert trip("torch", "model", tmp_path, a=1) == (("model", {"a": 1}), {"weights_only": False})


@pytest.mark.parametrize("name", ["keras", "datatable"])
def test_a_model_of_the_wrong_type_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=name):
        trip(name, {"a": 1}, tmp_path)
    assert os.listdir(tmp_path) == []
