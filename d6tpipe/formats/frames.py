"""Formats for pandas objects: parquet, CSV, gzipped CSV, Excel, HDF5.

pandas and what it needs are imported on first use. Options of ``save`` go to the pandas writer
(``to_parquet``, ``to_csv`` ...), options of ``load`` to the reader.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

from d6tpipe.errors import DeclarationError
from d6tpipe.plugins import need

__all__ = ["CSV", "CSVGZ", "HDF", "Excel", "Parquet"]


class Parquet:
    """A DataFrame through pyarrow, compressed with zstd; index, labels and dtypes come back.

    Takes what ``DataFrame.to_parquet`` takes and brings it back as pandas does: lists, tuples and sets in cells
    as arrays, dicts in cells with the keys of all of them, object columns with the dtype of what they hold, a
    subclass of DataFrame as a plain one, an index without its ``freq``, dates in seconds in milliseconds.
    Categories that are numbers come back as well, where columns are labelled with text.

    Refused is only what pandas would write without an error and then bring back with other values or labels, or
    not at all: numbers among text labels (they become text), whole numbers beyond 2**53 next to gaps (rounded)
    and the like.

    Notes
    -----
    Same data, same bytes, of one version of pyarrow and pandas: both write their version into the file.
    """

    name = "parquet"
    suffix = "parquet"

    def save(self, value: Any, path: str, **options: Any) -> None:
        value = _frame(self.name, value)
        options = {"engine": "pyarrow", "compression": "zstd", **options}
        if options["engine"] == "pyarrow":
            loss = _loss(value, options.get("index"))
            if loss:
                raise DeclarationError(
                    "The parquet format would not bring this DataFrame back as it is",
                    facts={"format": self.name, "what": loss},
                    hint="Convert that part first, or use the pickle format.",
                )
            value = _with_categories_noted(value)
        if "partition_cols" not in options:  # with them the path is a folder
            _touch(path)
        _write(self.name, lambda: value.to_parquet(path, **options))

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        frame = pd.read_parquet(path, **{"engine": "pyarrow", **options})
        if _CATEGORIES in frame.attrs:
            _restore_categories(frame)
        return frame


class CSV:
    """A DataFrame as text: values come back, types are guessed by the reader, the index is left out.

    A Series is saved as a DataFrame of one column.
    ``index=True`` writes the index; it comes back as a column unless ``load(index_col=0)`` is asked for.
    Floats come back to the last bit. Line ends are the same on every system. Gzipped when ``compression``
    says so or the file name ends in ``.gz``, with no time and no name inside: same data, same bytes.
    """

    name = "csv"
    suffix = "csv"
    _compression = "infer"

    def save(self, value: Any, path: str, **options: Any) -> None:
        value = _frame(self.name, value, takes_series=True)
        options = {"index": False, "lineterminator": "\n", **options}
        if "quoting" not in options and "\r" not in options["lineterminator"] and _holds_carriage_return(value):
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

    A Series is saved as a DataFrame of one column.
    Values come back, types as far as Excel knows them. Same data, same bytes: the dates that a workbook
    carries are set to 1 January 1980. Needs openpyxl.
    """

    name = "excel"
    suffix = "xlsx"

    def save(self, value: Any, path: str, **options: Any) -> None:
        value = _frame(self.name, value, takes_series=True)
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
    Same data, same bytes, except with ``format="table"``: the indexes that PyTables adds to tables carry the time.
    """

    name = "hdf"
    suffix = "hdf5"
    runs_code = True

    def save(self, value: Any, path: str, **options: Any) -> None:
        import pandas as pd

        if not isinstance(value, pd.Series):
            value = _frame(self.name, value)
        need("tables", "The hdf format")
        options = {"key": "data", **options, "mode": "w"}
        compression = {name: options.pop(name, None) for name in ("complevel", "complib")}
        _touch(path)
        _write(self.name, lambda: _to_hdf(value, path, compression, options))

    def load(self, path: str, **options: Any) -> Any:
        import pandas as pd

        need("tables", "The hdf format")
        return pd.read_hdf(path, **{"key": "data", **options})


def _to_hdf(value: Any, path: str, compression: dict[str, Any], options: dict[str, Any]) -> None:
    import pandas as pd

    with pd.HDFStore(path, mode="w", **compression) as store:
        file = store.root._v_file
        for name in ("create_array", "create_carray", "create_earray", "create_table", "create_vlarray"):
            setattr(file, name, _without_times(getattr(file, name)))
        value.to_hdf(store, **options)


def _without_times(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of an HDF5 file that does not write the time of its call into the file, as it would."""
    return lambda *arguments, **options: create(*arguments, **{**options, "track_times": False})


# -- what may be saved -------------------------------------------------------------------------------------


def _frame(name: str, value: Any, takes_series: bool = False) -> Any:
    """Return `value` if it is a DataFrame, a Series as a DataFrame where that is taken, and refuse anything else."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, pd.Series):
        if takes_series:
            return value.to_frame()
        hint = "A Series alone: save series.to_frame(), or use the pickle format."
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


# -- what parquet loses ------------------------------------------------------------------------------------


def _loss(frame: Any, keep_index: bool | None) -> str | None:
    """Return what of `frame` would be changed or lost without an error; None if nothing.

    Labels, dtypes and object columns other than text are looked at; no file is read back. What pyarrow refuses
    is left to it.
    """
    import pandas as pd

    labels, index, dtypes = frame.columns, frame.index, list(frame.dtypes)
    objects = [(f"column {labels[n]!r}", frame.iloc[:, n]) for n, dtype in enumerate(dtypes) if _is_object(dtype)]
    names: list[Any] = []
    if keep_index is not False:
        if len(index) and not len(labels) and isinstance(index, pd.RangeIndex):
            return "rows without columns come back as nothing"
        names = [name for name in index.names if name is not None]
        levels = index.levels if isinstance(index, pd.MultiIndex) else [index]
        objects += [("the index", level) for level in levels if _is_object(level.dtype)]
    for where, cells in objects:
        loss = _loss_in_cells(cells)
        if loss:
            return f"{where}: {loss}"
    kind = "levels" if isinstance(labels, pd.MultiIndex) else labels.inferred_type
    text = kind == "string" and all(isinstance(name, str) for name in names)
    numbers = kind in ("integer", "floating") and not labels.hasnans and not names
    if (text or numbers) and not any(isinstance(dtype, pd.ArrowDtype) for dtype in dtypes):
        return None
    return _loss_without_rows(frame.iloc[:0], keep_index)


def _loss_in_cells(cells: Any) -> str | None:
    import pandas as pd

    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind == "integer":
        present = cells.dropna()
        if len(present) < len(cells) and max(map(abs, present)) > 2**53:
            return "whole numbers beyond 2**53 next to gaps would be rounded; make them 'Int64'"
    elif kind == "mixed":
        if {str, bytes} <= set(map(type, cells.to_numpy())):
            return "text among bytes would come back as bytes"
    elif kind == "date":
        if any(issubclass(one, datetime.datetime) for one in set(map(type, cells.to_numpy()))):
            return "datetimes among dates would lose the time of day"
    elif kind in ("datetime", "timedelta"):
        present = cells.dropna()
        if len({getattr(value, "tzinfo", None) is None for value in present}) > 1:
            return "times with and without a time zone would lose it"
        if any(getattr(value, "nanosecond", getattr(value, "nanoseconds", 0)) for value in present):
            return "nanoseconds of single objects would be cut off; make it a column of times"
    return None


def _loss_without_rows(empty: Any, keep_index: bool | None) -> str | None:
    """Return what becomes of unusual labels and dtypes, found out with a file in memory that has no rows."""
    import pandas as pd

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyarrow's, about labels: refused below, or not changed
        try:
            empty.to_parquet(file, engine="pyarrow", index=keep_index)
        except (TypeError, ValueError, NotImplementedError):
            return None  # the writer will say it of the real frame
        try:
            back = pd.read_parquet(io.BytesIO(file.getvalue()), engine="pyarrow")
        except (TypeError, ValueError, KeyError, NotImplementedError) as error:
            return f"labels or dtypes that cannot be read back: {type(error).__name__}: {error}"
    if not empty.columns.equals(back.columns):
        pairs = zip(empty.columns, back.columns, strict=True)
        old, new = next(pair for pair in pairs if repr(pair[0]) != repr(pair[1]))
        return f"the column label {old!r} would come back as {new!r}"
    before, after = (
        [*frame.columns.names, *([] if keep_index is False else frame.index.names)] for frame in (empty, back)
    )
    return None if before == after else f"the names {before} would come back as {after}"


def _is_object(dtype: Any) -> bool:
    return bool(dtype == object)  # noqa: E721  (a numpy dtype equals the type it stands for)


# pandas keeps `attrs` in the file, and whoever reads the file without d6tpipe can see what this one means.
_CATEGORIES = "d6tpipe.categories"


def _with_categories_noted(frame: Any) -> Any:
    """Return a frame that carries the categories which parquet has no type for: it keeps those of text."""
    import pandas as pd

    noted = {
        label: {"values": dtype.categories.tolist(), "dtype": str(dtype.categories.dtype), "ordered": dtype.ordered}
        for label, dtype in frame.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind in "biuf" and isinstance(label, str)
    }
    if noted:
        frame = frame.copy(deep=False)
        frame.attrs = {**frame.attrs, _CATEGORIES: noted}
    return frame


def _restore_categories(frame: Any) -> None:
    import pandas as pd

    for label, noted in frame.attrs.pop(_CATEGORIES).items():
        if label in frame.columns:  # load(columns=...) may have left it out
            categories = pd.Index(noted["values"], dtype=noted["dtype"])
            frame[label] = pd.Categorical(frame[label], categories, ordered=noted["ordered"])


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
