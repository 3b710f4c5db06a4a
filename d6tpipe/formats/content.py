"""What a value in memory holds, as 16 bytes: by it a record tells whether a task made the same thing again.

Two values have the same digest only if they are equal in types, names, dtypes, shapes and the order of everything, so
``1``, ``True``, ``1.0`` and ``"1"`` are four. The other way round there is no promise: a digest that differs for no
good reason costs a run. For what is not known well enough (objects of classes that are not named here, subclasses,
cycles), and for what would take long, there is none.

A value is written out as parts of bytes, each with a tag, and a length or an end of its own, so no two values are
written alike; arrays as the digest of their buffer.
"""

from __future__ import annotations

import datetime
import decimal
import struct
import zoneinfo
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from xxhash import xxh3_128_digest

__all__ = ["MOST_BYTES", "MOST_ITEMS", "content_digest"]

MOST_BYTES = 200_000_000
"""Larger values have no digest; of arrays this is 20 ms of work. Members of long lists of numbers and texts, and of
columns of such objects, count as 200 bytes more: a million of them take 100 ms."""

MOST_ITEMS = 100_000
"""What has more Python objects in it than this has no digest, those lists aside; 40 ms."""

# What libraries raise of values that are not as expected. Then there is no digest, and nothing else is lost.
_TROUBLE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def content_digest(value: Any) -> bytes:
    """Return a digest of `value`; empty if there is none.

    Known are None, bool, int, float, complex, str, bytes, date, datetime, timedelta and Decimal; tuple, list, dict,
    set and frozenset of what is known; numpy arrays and scalars; pandas Series, DataFrame and Index with labels, names
    and ``attrs``, Timestamp and Timedelta. Never raises an error.
    """
    parts = _Parts()
    try:
        _write(value, parts)
    except (_Unknown, *_TROUBLE):
        return b""
    return xxh3_128_digest(b"".join(parts))


class _Unknown(Exception):
    """There is no digest."""


class _Parts(list[bytes]):
    """What was written so far, and how much more may come."""

    __slots__ = ("bytes_left", "items_left")

    def __init__(self) -> None:
        self.bytes_left = MOST_BYTES
        self.items_left = MOST_ITEMS

    def spend_items(self, number: int) -> None:
        self.items_left -= number
        if self.items_left < 0:
            raise _Unknown

    def spend_bytes(self, number: int) -> None:
        self.bytes_left -= number
        if self.bytes_left < 0:
            raise _Unknown


def _write(value: Any, out: _Parts) -> None:
    kind = type(value)
    (_RULES.get(kind) or _library_rule(kind))(value, out)


# -- the language ------------------------------------------------------------------------------------------


def _none(value: None, out: _Parts) -> None:
    out.append(b"N")


def _bool(value: bool, out: _Parts) -> None:
    out.append(b"T" if value else b"F")


def _int(value: int, out: _Parts) -> None:
    out.append(b"i%x;" % value)


def _float(value: float, out: _Parts) -> None:
    out.append(b"f" + struct.pack("<d", value))


def _complex(value: complex, out: _Parts) -> None:
    out.append(b"c" + struct.pack("<dd", value.real, value.imag))


def _str(value: str, out: _Parts) -> None:
    _sized(b"s", value.encode("utf-8", "surrogatepass"), out)


def _bytes(value: bytes, out: _Parts) -> None:
    _sized(b"b", value, out)


def _sized(tag: bytes, data: bytes, out: _Parts) -> None:
    out.spend_bytes(len(data))
    out += (b"%b%x:" % (tag, len(data)), data)


def _date(value: datetime.date, out: _Parts) -> None:
    out.append(b"d%x;" % value.toordinal())


def _datetime(value: datetime.datetime, out: _Parts) -> None:
    zone = _zone(value.tzinfo)  # first: what is not known is not asked for its offset
    _sized(b"t", f"{value.fold}{value.isoformat()} {zone}".encode(), out)


def _timedelta(value: datetime.timedelta, out: _Parts) -> None:
    out.append(b"l%x,%x,%x;" % (value.days, value.seconds, value.microseconds))


def _decimal(value: decimal.Decimal, out: _Parts) -> None:
    _sized(b"D", repr(tuple(value.as_tuple())).encode(), out)


def _tuple(value: tuple[Any, ...], out: _Parts) -> None:
    out.append(b"(%x:" % len(value))
    _items(value, out)


def _list(value: list[Any], out: _Parts) -> None:
    out.append(b"[%x:" % len(value))
    _items(value, out)


def _dict(value: dict[Any, Any], out: _Parts) -> None:
    out.spend_items(2 * len(value))
    out.append(b"{%x:" % len(value))
    for key, item in value.items():
        _write(key, out)
        _write(item, out)


def _set(value: set[Any], out: _Parts) -> None:
    out.append(b"<%x:" % len(value))
    _sorted(value, out)


def _frozenset(value: frozenset[Any], out: _Parts) -> None:
    out.append(b">%x:" % len(value))
    _sorted(value, out)


def _sorted(values: set[Any] | frozenset[Any], out: _Parts) -> None:
    """Write members in an order that does not depend on the hash seed: that of what they are written as."""
    out.spend_items(len(values))
    start, found = len(out), []
    for item in values:
        _write(item, out)
        found.append(b"".join(out[start:]))
        del out[start:]
    out += sorted(found)


def _items(values: Sequence[Any], out: _Parts) -> None:
    """Write what is in `values`, whose number is known already."""
    if len(values) > 20:
        kinds = list(map(type, values))
        if _PLAIN.keys() >= set(kinds):
            _plain_items(values, kinds, out)
            return
    out.spend_items(len(values))
    for item in values:
        _write(item, out)


_PLAIN = {type(None): 0, bool: 1, int: 2, float: 3, str: 4}


def _plain_items(values: Sequence[Any], kinds: list[type], out: _Parts) -> None:
    """Write many numbers and texts at once, ten times as fast: which is of which kind, then kind by kind."""
    out.spend_bytes(200 * len(values))
    out += (b"*", xxh3_128_digest(bytes(map(_PLAIN.__getitem__, kinds))))
    present = set(kinds)

    def of(wanted: type) -> Sequence[Any]:
        if len(present) == 1:
            return values
        return [value for value, kind in zip(values, kinds, strict=True) if kind is wanted]

    if bool in present:
        out.append(xxh3_128_digest(bytes(of(bool))))
    if int in present:
        out.append(xxh3_128_digest(b"%x;" * len(of(int)) % tuple(of(int))))
    if float in present:
        out.append(xxh3_128_digest(array("d", of(float)).tobytes()))
    if str in present:
        lengths, text = array("Q", map(len, of(str))), "".join(of(str))
        out.spend_bytes(len(text))
        out += (xxh3_128_digest(lengths.tobytes()), xxh3_128_digest(text.encode("utf-8", "surrogatepass")))


def _zone(zone: datetime.tzinfo | None) -> str:
    """Return the name of a time zone whose rules everybody knows by it."""
    kind = type(zone)
    if zone is None or kind is datetime.timezone:
        return repr(zone)
    name = zone.key if isinstance(zone, zoneinfo.ZoneInfo) else getattr(zone, "zone", None)
    origin = kind.__module__.partition(".")[0]
    if origin not in ("zoneinfo", "pytz") or not isinstance(name, str):
        raise _Unknown
    return f"{origin} {name}"


# -- numpy -------------------------------------------------------------------------------------------------


def _array(value: Any, out: _Parts) -> None:
    # The layout counts: sums over another one can differ in the last bit.
    if value.flags.c_contiguous:
        out.append(b"a")
        _elements(value, out)
    else:
        out.append(b"A" if value.flags.f_contiguous else b"_")
        _elements(value.T if value.flags.f_contiguous else value, out)


def _elements(values: Any, out: _Parts) -> None:
    import numpy as np

    _dtype(values.dtype, out)
    _sized(b"", repr(values.shape).encode(), out)
    if values.dtype.hasobject:
        _items(values.reshape(-1).tolist(), out)
        return
    out.spend_bytes(values.nbytes)
    if values.nbytes:
        # As bytes: dates have no buffer that others can read.
        out.append(xxh3_128_digest(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data))


def _numpy_scalar(value: Any, out: _Parts) -> None:
    out.append(b"n")
    _dtype(value.dtype, out)
    out.append(value.tobytes())


def _dtype(dtype: Any, out: _Parts) -> None:
    # Not: records, whose fields have no place in `str`, and long doubles, which have bytes that mean nothing.
    if dtype.kind not in "biufcSUmMO" or dtype.char in "gG" or dtype.metadata:
        raise _Unknown
    _sized(b"", dtype.str.encode(), out)


# -- pandas ------------------------------------------------------------------------------------------------


def _frame(value: Any, out: _Parts) -> None:
    out.append(b"p")
    _about(value, out)
    _index(value.columns, out)
    _index(value.index, out)
    out.spend_items(20 * len(value.columns))
    for _, column in value.items():
        _values(column, out)


def _series(value: Any, out: _Parts) -> None:
    out.append(b"P")
    _about(value, out)
    _write(value.name, out)
    _index(value.index, out)
    _values(value, out)


def _about(value: Any, out: _Parts) -> None:
    """Write what a frame or series has besides its data."""
    if not all(name.startswith("_") for name in vars(value)):  # somebody has set an attribute
        raise _Unknown
    _write(bool(value.flags.allows_duplicate_labels), out)
    _write(value.attrs, out)


def _index(value: Any, out: _Parts) -> None:
    import pandas as pd

    kind = type(value)
    if _library_rule(kind) is not _index:
        raise _Unknown
    _sized(b"x", kind.__name__.encode(), out)
    _write(list(value.names), out)
    if kind is pd.RangeIndex:
        _write((value.start, value.stop, value.step), out)
    elif kind is pd.MultiIndex:
        out.append(b"%x:" % value.nlevels)
        for level, codes in zip(value.levels, value.codes, strict=True):
            _index(level, out)
            _array(codes, out)
    else:
        _write(getattr(value, "freqstr", None), out)
        _values(value, out)


def _values(column: Any, out: _Parts) -> None:
    """Write what is in a Series or Index."""
    import numpy as np
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        out.append(b"v")
        _elements(column.to_numpy(), out)
        return
    kind, values = type(dtype), column.array
    if kind.__module__.partition(".")[0] != "pandas":
        raise _Unknown
    _sized(b"V", kind.__name__.encode(), out)
    if kind is pd.CategoricalDtype:
        _write(bool(dtype.ordered), out)
        _index(dtype.categories, out)
        _elements(values.codes, out)
    elif kind is pd.DatetimeTZDtype:
        _write(_zone(dtype.tz), out)
        _elements(np.asarray(values, dtype=f"M8[{dtype.unit}]"), out)
    elif kind is pd.StringDtype:
        _write((dtype.storage, repr(dtype.na_value)), out)
        if dtype.storage == "python":
            _elements(values.to_numpy(dtype=object, na_value=None), out)
        else:
            _arrow(values, out)
    elif kind is pd.ArrowDtype:
        _arrow(values, out)
    elif kind.__name__ in _MASKED:
        _elements(np.asarray(values.isna()), out)
        _elements(values.to_numpy(dtype=dtype.numpy_dtype, na_value=0), out)
    else:
        raise _Unknown


_MASKED = {
    "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype", "UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype",
    "Float32Dtype", "Float64Dtype", "BooleanDtype",
}  # fmt: skip


def _arrow(values: Any, out: _Parts) -> None:
    import pyarrow as pa

    data = values.__arrow_array__()
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    out.spend_bytes(data.nbytes)
    batch = pa.RecordBatch.from_arrays([data], [""])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:  # the schema goes in as well
        stream.write_batch(batch)
    out.append(xxh3_128_digest(sink.getvalue()))


def _moment(value: Any, out: _Parts) -> None:
    """Write a Timestamp or Timedelta."""
    _write((type(value).__name__, getattr(value, "fold", 0), _zone(getattr(value, "tzinfo", None))), out)
    _numpy_scalar(value.asm8, out)


# -- which rule for what -----------------------------------------------------------------------------------

_Rule = Callable[[Any, _Parts], None]

_RULES: dict[type, _Rule] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: _bytes,
    datetime.date: _date,
    datetime.datetime: _datetime,
    datetime.timedelta: _timedelta,
    decimal.Decimal: _decimal,
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
}


def _library_rule(kind: type) -> _Rule:
    """Return the rule for a type of numpy or pandas, which is loaded, or there would be no value of its types."""
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        import numpy as np

        _RULES[np.ndarray] = _array
        if issubclass(kind, np.generic):
            _RULES[kind] = _numpy_scalar
    elif library == "pandas":
        import pandas as pd

        _RULES[pd.DataFrame] = _frame
        _RULES[pd.Series] = _series
        _RULES[type(pd.NA)] = _singleton
        _RULES[type(pd.NaT)] = _singleton
        _RULES[pd.Timestamp] = _RULES[pd.Timedelta] = _moment
        for index in ("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex"):
            _RULES[getattr(pd, index)] = _index
    return _RULES.get(kind, _unknown)


def _singleton(value: Any, out: _Parts) -> None:
    _sized(b"1", type(value).__name__.encode(), out)


def _unknown(value: Any, out: _Parts) -> None:
    raise _Unknown
