"""Formats for pandas objects: parquet, CSV, gzipped CSV, Excel, HDF5.

pandas and what it needs are imported on first use. Options of ``save`` go to the pandas writer
(``to_parquet``, ``to_csv`` ...), options of ``load`` to the reader.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import zipfile
from collections.abc import Callable
from typing import Any

from d6tpipe.errors import DeclarationError
from d6tpipe.plugins import need

__all__ = ["CSV", "CSVGZ", "HDF", "Excel", "Parquet"]


class Parquet:
    """A DataFrame through pyarrow, compressed with zstd; index, labels and dtypes come back.

    What parquet would change is refused: labels of mixed types (they become text), categories that are not
    text (they become plain columns), lists and dicts in cells (arrays, filled-up dicts), subclasses of
    DataFrame. ``check=False`` accepts the change. Four changes count as none: the ``freq`` of an index is
    not stored, dates in seconds come back in milliseconds, object columns come back with the dtype of what
    they hold, and text columns with the text dtype that pandas prefers.

    Notes
    -----
    The check looks at labels and dtypes (microseconds) and at object columns that are not plainly text, dates
    or the like; only if it finds something unusual is the file read back and compared.
    """

    name = "parquet"
    suffix = "parquet"

    def save(self, value: Any, path: str, *, check: bool = True, **options: Any) -> None:
        _require_frame(self.name, value, series_hint="save series.to_frame(), or use the pickle format")
        options = {"engine": "pyarrow", "compression": "zstd", **options}
        if options["engine"] == "pyarrow":
            options.setdefault(
                "version", "2.6"
            )  # the default from pyarrow 13 on; before that without nanoseconds
        # Whoever drops the index, splits the file or takes another engine has decided what is to come back.
        check = check and options["engine"] == "pyarrow" and not options.keys() & {"index", "partition_cols"}
        if check:
            _require_exact_frame(self.name, value)
        if "partition_cols" in options:
            _write(self.name, lambda: value.to_parquet(path, **options))
        else:
            # pandas does not say FileNotFoundError when the folder is missing; open() does, before any work.
            # pandas takes the name from the handle and lets pyarrow write to that.
            with open(path, "wb") as file:
                _write(self.name, lambda: value.to_parquet(file, **options))
        if check and _unusual(value):
            try:
                change = _difference(value, self.load(path))
            except Exception as error:  # noqa: BLE001  (pandas can fail anywhere on odd labels; reported below)
                change = f"it cannot be read back: {type(error).__name__}: {error}"
            if change:
                raise _not_exact(self.name, change)

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        return pd.read_parquet(path, **{"engine": "pyarrow", **options})


class CSV:
    """A DataFrame as text: values come back, types are guessed by the reader, the index is left out.

    ``index=True`` writes the index; it comes back as a column unless ``load(index_col=0)`` is asked for.
    Floats come back to the last bit. Line ends are the same on every system. Gzipped when ``compression``
    says so or the file name ends in ``.gz``, with no time and no name inside: same data, same bytes.
    """

    name = "csv"
    suffix = "csv"
    _compression = "infer"

    def save(self, value: Any, path: str, **options: Any) -> None:
        _require_frame(self.name, value, series_hint="save series.to_frame()")
        options = {"index": False, "lineterminator": "\n", **options}
        if (
            "quoting" not in options
            and "\r" not in options["lineterminator"]
            and _holds_carriage_return(value)
        ):
            # The writer quotes only its own line end, but the reader takes a bare \r for one too.
            options["quoting"] = csv.QUOTE_NONNUMERIC
        compression = options.pop("compression", self._compression)
        details = dict(compression) if isinstance(compression, dict) else {"method": compression}
        method = details.pop("method", "infer")
        if method == "infer" and path.endswith(".gz"):
            method = "gzip"
        with open(path, "wb") as file:  # also says FileNotFoundError, which pandas does not
            if method == "gzip":
                # 6, not 9: a third of the time for a few per cent more bytes. filename="": the temporary name
                # would go into the file.
                details = {"compresslevel": 6, "mtime": 0, **details}
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, **details) as zipped:
                    _write(self.name, lambda: value.to_csv(zipped, **{**options, "mode": "wb"}))
                return
            if method is None or (method == "infer" and path.endswith(".csv")):
                _write(self.name, lambda: value.to_csv(file, **{**options, "mode": "wb"}))
                return
        _write(self.name, lambda: value.to_csv(path, compression=compression, **options))

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        # Before 3.1 pandas' default parser was off by one in the last bit now and then. The exact one exists
        # in the C engine only, which these options can rule out. From 3.1 on the default is exact and asking
        # for it warns.
        old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
        if old and not options.keys() & {
            "engine",
            "sep",
            "delimiter",
            "skipfooter",
            "float_precision",
            "dialect",
        }:
            options["float_precision"] = "round_trip"
        return pd.read_csv(path, **{"compression": self._compression, **options})


class CSVGZ(CSV):
    """A DataFrame as gzipped text; otherwise as `CSV`."""

    name = "csv.gz"
    suffix = "csv.gz"
    _compression = "gzip"


class Excel:
    """A DataFrame as the first sheet of an xlsx workbook, without the index (``index=True`` writes it).

    Values come back, types as far as Excel knows them. Same data, same bytes: the dates that a workbook
    carries are set to 1 January 1980. Needs openpyxl.
    """

    name = "excel"
    suffix = "xlsx"

    def save(self, value: Any, path: str, **options: Any) -> None:
        _require_frame(self.name, value, series_hint="save series.to_frame()")
        if options.get("engine", "openpyxl") == "openpyxl":
            need("openpyxl", "The excel format")
        # Named here: pandas would take xlsxwriter where that is installed, and write other bytes.
        options = {"index": False, "engine": "openpyxl", **options}
        _touch(path)
        _write(self.name, lambda: value.to_excel(path, **options))
        _fix_dates(path)

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        if options.get("engine", "openpyxl") == "openpyxl" and not path.endswith((".xls", ".xlsb", ".ods")):
            need("openpyxl", "The excel format")
        return pd.read_excel(path, **options)


class HDF:
    """A DataFrame or Series in HDF5 under the key ``data`` (option ``key``). Needs PyTables.

    Notes
    -----
    HDF5 writes times into the file: same data does not mean same bytes.
    """

    name = "hdf"
    suffix = "hdf5"

    def save(self, value: Any, path: str, **options: Any) -> None:
        import pandas as pd

        if not isinstance(value, pd.Series):
            _require_frame(self.name, value, series_hint="")
        need("tables", "The hdf format")
        options = {"key": "data", **options, "mode": "w"}
        _touch(path)
        _write(self.name, lambda: value.to_hdf(path, **options))

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        need("tables", "The hdf format")
        return pd.read_hdf(path, **{"key": "data", **options})


# -- what may be saved -------------------------------------------------------------------------------------


def _require_frame(name: str, value: Any, *, series_hint: str) -> None:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return
    if isinstance(value, pd.Series) and series_hint:
        hint = f"A Series alone: {series_hint}."
    elif isinstance(value, dict):
        hint = (
            "A dict: for one DataFrame per key declare persist = [...] with these keys, for plain values use "
            "the json or pickle format, for columns save pd.DataFrame(value)."
        )
    else:
        hint = "Make it a DataFrame first, or declare a format that fits, for example pickle."
    raise DeclarationError(
        f"The {name} format saves a pandas DataFrame, not {type(value).__name__}",
        facts={"format": name, "got": f"{type(value).__module__}.{type(value).__qualname__}"},
        hint=hint,
    )


def _require_exact_frame(name: str, frame: Any) -> None:
    """Refuse what can be seen to change without writing it; pyarrow would warn and go on."""
    import pandas as pd

    change = None
    if type(frame) is not pd.DataFrame:
        change = f"a {type(frame).__name__} comes back as a plain DataFrame"
    elif not isinstance(frame.columns, pd.MultiIndex) and frame.columns.inferred_type.startswith("mixed"):
        other = next(label for label in frame.columns if not isinstance(label, str))
        change = f"of column labels of several types, {other!r} comes back as {str(other)!r}"
    else:
        for index_name in frame.index.names:
            if not (index_name is None or isinstance(index_name, str)):
                change = f"the index name {index_name!r} comes back as {str(index_name)!r}"
    if change:
        raise _not_exact(name, change)


def _not_exact(name: str, change: str) -> DeclarationError:
    return DeclarationError(
        f"The {name} format would not bring this DataFrame back as it is",
        facts={"format": name, "what": change},
        hint="Convert that part first, use the pickle format, or accept the change: save(..., check=False).",
    )


def _write(name: str, writer: Callable[[], Any]) -> None:
    """Call a pandas writer; what it cannot hold becomes an error that says so."""
    try:
        writer()
    except (TypeError, ValueError, NotImplementedError, OverflowError) as error:
        raise DeclarationError(
            f"The {name} format cannot hold this value, or does not know an option it was given",
            facts={"format": name, "writer said": f"{type(error).__name__}: {error}"},
            hint="Convert that part first, correct the option, or use the pickle format.",
        ) from error


def _holds_carriage_return(frame: Any) -> bool:
    for position, dtype in enumerate(frame.dtypes):
        # "O": text of all kinds, and categories, which may be text
        if getattr(dtype, "kind", "O") == "O" and any(
            isinstance(cell, str) and "\r" in cell for cell in frame.iloc[:, position]
        ):
            return True
    return False


def _touch(path: str) -> None:
    """Raise FileNotFoundError if the folder is missing; writers given a path say that in their own ways."""
    with open(path, "wb"):
        pass


# -- does parquet bring it back? ---------------------------------------------------------------------------

# Kinds of objects, as pandas.api.types.infer_dtype names them, that parquet has a type for.
_PLAIN_OBJECTS = frozenset({"string", "bytes", "decimal", "date", "time", "boolean", "empty"})


def _unusual(frame: Any) -> bool:
    """Return whether anything about `frame` calls for reading the file back. May err towards True."""
    import pandas as pd

    labels = frame.columns
    if isinstance(labels, pd.MultiIndex) or labels.inferred_type != "string":
        return True
    for position, dtype in enumerate(frame.dtypes):
        if not (
            _plain_objects(frame.iloc[:, position]) if _is_object(dtype) else _plain_dtype(dtype, len(frame))
        ):
            return True
    index = frame.index
    if isinstance(index, pd.RangeIndex):
        return False
    names = [name for name in index.names if name is not None]
    levels = index.levels if isinstance(index, pd.MultiIndex) else [index]
    return len(set(names)) < len(names) or not all(
        _plain_objects(level) if _is_object(level.dtype) else _plain_dtype(level.dtype, len(frame))
        for level in levels
    )


def _plain_dtype(dtype: Any, rows: int) -> bool:
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        # Other categories than text come back as plain columns; of no rows not even text categories do.
        return dtype.categories.inferred_type in ("string", "empty") and rows > 0
    if isinstance(dtype, (pd.ArrowDtype, pd.SparseDtype, pd.IntervalDtype, pd.PeriodDtype)):
        return False
    return getattr(dtype, "kind", "V") in "iufbmM" or isinstance(dtype, pd.StringDtype)


def _plain_objects(values: Any) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(values, skipna=True) in _PLAIN_OBJECTS


def _is_object(dtype: Any) -> bool:
    return bool(dtype == object)  # noqa: E721  (a numpy dtype equals the type it stands for)


def _difference(before: Any, after: Any) -> str | None:
    """Return the first way in which two frames differ that somebody could notice; None if there is none."""
    if before.shape != after.shape:
        return f"shape {before.shape} comes back as {after.shape}"
    for old, new in zip(before.columns, after.columns, strict=True):
        if not _same(old, new):
            return f"the column label {old!r} comes back as {new!r}"
    for what, names, others in (
        ("columns", before.columns.names, after.columns.names),
        ("index", before.index.names, after.index.names),
    ):
        if list(names) != list(others):
            return f"the {what} names {list(names)} come back as {list(others)}"
    if before.index.nlevels != after.index.nlevels:
        return f"an index of {before.index.nlevels} levels comes back with {after.index.nlevels}"
    for level in range(before.index.nlevels):
        change = _values_differ(before.index.get_level_values(level), after.index.get_level_values(level))
        if change:
            return f"in the index, {change}"
    for position, label in enumerate(before.columns):
        change = _values_differ(before.iloc[:, position], after.iloc[:, position])
        if change:
            return f"in column {label!r}, {change}"
    return None


def _values_differ(before: Any, after: Any) -> str | None:
    import pandas as pd

    old, new = before.dtype, after.dtype
    text = isinstance(old, pd.StringDtype) and (isinstance(new, pd.StringDtype) or _is_object(new))
    dates = (
        getattr(old, "kind", "") in "mM"
        and getattr(old, "kind", "") == getattr(new, "kind", "")
        and str(getattr(old, "tz", None)) == str(getattr(new, "tz", None))
    )
    nothing = (
        len(before) == 0 and isinstance(old, pd.CategoricalDtype) and isinstance(new, pd.CategoricalDtype)
    )
    if not (old == new or _is_object(old) or text or dates or nothing):
        return f"dtype {old} comes back as {new}"
    if not _is_object(old):
        return None  # a type of its own on both sides: pyarrow stores the values as they are
    for row, (value, loaded) in enumerate(zip(before, after, strict=True)):
        if not _same(value, loaded):
            return f"row {row}, {_show(value)} comes back as {_show(loaded)}"
    return None


def _show(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _same(value: Any, loaded: Any) -> bool:
    """Return whether two labels or cells are equal for whoever uses them: 1 is 1.0, but not True nor '1'."""
    import numpy as np
    import pandas as pd

    if isinstance(value, np.ndarray) or isinstance(loaded, np.ndarray):
        return (
            isinstance(value, np.ndarray)
            and isinstance(loaded, np.ndarray)
            and value.shape == loaded.shape
            and all(_same(one, other) for one, other in zip(value.ravel(), loaded.ravel(), strict=True))
        )
    if isinstance(value, (list, tuple, dict, set, frozenset)) or isinstance(loaded, (list, tuple, dict)):
        return type(value) is type(loaded) and bool(value == loaded)
    if pd.isna(value) or pd.isna(loaded):
        return bool(pd.isna(value) and pd.isna(loaded))
    if isinstance(value, (bool, np.bool_)) != isinstance(loaded, (bool, np.bool_)):
        return False
    return bool(value == loaded)


# -- the same bytes for the same workbook ------------------------------------------------------------------

_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_CORE_DATE = re.compile(rb"(<dcterms:(created|modified)\b[^>]*>)[^<]*(</dcterms:\2>)")


def _fix_dates(path: str) -> None:
    """Rewrite the zip file at `path` with fixed dates on its members and in the workbook's properties."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    beside = path + "~"
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                if name == "docProps/core.xml":
                    content = _CORE_DATE.sub(rb"\g<1>1980-01-01T00:00:00Z\g<3>", content)
                member = zipfile.ZipInfo(name, _NO_TIME)
                member.compress_type = zipfile.ZIP_DEFLATED
                member.create_system = 3  # else Windows and Unix differ
                archive.writestr(member, content)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
