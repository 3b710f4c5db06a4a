"""Targets: one output each, a path and how its value is saved and loaded.

A target is made for every output of every task that is looked at, so making one does nothing: no folder, no
file, no look at the disk. All are ``luigi.LocalTarget``; plain luigi tasks can use them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import luigi

from d6tpipe import cache, plugins, settings
from d6tpipe.errors import DeclarationError, NotBuiltError, PipeError, StorageError
from d6tpipe.interfaces import Writer, Written

__all__ = [
    "CSVGZPandasTarget",
    "CSVPandasTarget",
    "CacheTarget",
    "DataTarget",
    "ExcelPandasTarget",
    "FormatTarget",
    "JsonTarget",
    "PdCacheTarget",
    "PickleTarget",
    "PqPandasTarget",
]

_Stamp = tuple[int, int, int]
_MISSING: Any = object()

_kept: dict[str, dict[tuple[object, ...], tuple[_Stamp, Any]]] = {}
"""Loaded values (``cached=True``): absolute path, then how it was loaded, to the file's stamp and the value.

Not ``d6tpipe.cache.data``: a key there means that a memory output exists.
"""


class CacheTarget(luigi.LocalTarget):
    """A value in the memory of this process: ``d6tpipe.cache.data[path]``. Nothing touches the disk.

    Parameters
    ----------
    path : str or path-like
        Any name; `path` is its text.
    """

    def __init__(self, path: str | os.PathLike[str], format: Any = None, is_tmp: bool = False) -> None:
        # Not luigi's constructor: it looks up a format in the configuration.
        self.path, self.format, self.is_tmp = str(path), format, is_tmp

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def exists(self) -> bool:
        return self.path in cache.data

    def invalidate(self) -> bool:
        """Forget the value; return True."""
        cache.data.pop(self.path, None)
        return True

    def load(self, cached: bool = True) -> Any:
        """Return the value itself, not a copy.

        Parameters
        ----------
        cached : bool
            No effect; there so that every target's ``load`` can be called alike.

        Raises
        ------
        NotBuiltError
            Nothing was saved under this path in this process.
        """
        try:
            return cache.data[self.path]
        except KeyError:
            raise NotBuiltError(
                "This output is not in memory",
                facts={"path": self.path},
                hint="Run the task first, in this process: memory outputs end with their process.",
            ) from None

    def save(self, df: Any) -> str:
        """Keep a value, of any kind; return the path.

        A record can tell it from other values by its content, where that is plain data, numpy's or pandas'; what else
        is built again counts as changed.
        """
        cache.keep(self.path, df, plugins.load("digests", "content")(df))
        return self.path


class PdCacheTarget(CacheTarget):
    """A DataFrame in memory; the same as `CacheTarget`."""


class DataTarget(luigi.LocalTarget):
    """A file whose value is loaded and saved by functions; the base for targets of one's own.

    Parameters
    ----------
    path : str or path-like
        Where the file is or will be.

    Examples
    --------
    ::

        class FeatherTarget(DataTarget):
            def load(self, cached=False, **options):
                return super().load(pd.read_feather, cached, **options)

            def save(self, df, **options):
                return super().save(df, "to_feather", **options)
    """

    format = None  # luigi's default, looked up by whoever opens the file
    is_tmp = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Not luigi's constructor: it makes text of the path and looks up a format.
        try:
            self._text = path if type(path) is str else os.fspath(path)
        except TypeError:
            raise DeclarationError(
                f"A target needs a path, not {path!r}",
                facts={"target": type(self).__name__},
                hint="Give the path as text or as pathlib.Path.",
            ) from None

    @property  # type: ignore[override]
    def path(self) -> pathlib.Path:
        """Where the file is, a ``pathlib.Path``; may be assigned."""
        # Made when asked for: a Path costs more than the rest of the target.
        return pathlib.Path(self._text)

    @path.setter
    def path(self, path: str | os.PathLike[str]) -> None:
        self._text = os.fspath(path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def exists(self) -> bool:
        return bool(_files().exists(self._text))

    def invalidate(self) -> bool:
        """Remove the file, if there is one; return whether it is gone.

        Raises
        ------
        StorageError
            The file cannot be removed.
        """
        _files().remove(self._text)
        _forget(self._text)
        return not self.exists()

    def load(self, fun: Callable[..., Any], cached: bool = False, **options: Any) -> Any:
        """Return ``fun(path, **options)``.

        Parameters
        ----------
        fun : callable
            Reader, for example ``pd.read_csv``; is given a ``pathlib.Path``.
        cached : bool
            Keep the value in memory and return the same object next time, until the file changes or other
            options are given. ``d6tpipe.settings.cached = True`` does this everywhere.
        **options
            Passed to `fun`.

        Raises
        ------
        NotBuiltError
            There is no file.
        StorageError
            There is one, but `fun` cannot read it; what it raised is the cause.
        """
        return self._load(fun, self.path, cached, options)

    def save(self, df: Any, fun: str, **options: Any) -> pathlib.Path:
        """Call ``df.<fun>(path, **options)`` and return the path.

        The method is given a temporary path in the same folder; the file appears under its own name when it
        is whole. The folder is made if it is missing.

        Parameters
        ----------
        df : object
            Value to save.
        fun : str
            Name of its method that writes a file, for example ``"to_csv"``.
        **options
            Passed to the method.

        Raises
        ------
        DeclarationError
            `df` has no such method.
        StorageError
            The disk said no. What was there before is unchanged.
        """
        writer = getattr(df, fun, None)
        if not callable(writer):
            raise DeclarationError(
                f"{type(self).__name__} saves by calling .{fun}(), which {type(df).__name__} does not have",
                facts={"path": self._text, "got": f"{type(df).__module__}.{type(df).__qualname__}"},
                hint="Save a value of the right type, or use another target or task class for it.",
            )
        # Before, not on demand as formats do: a missing folder makes these methods fail in any way they like.
        _files().ensure_folder(os.path.dirname(self._text) or ".")
        self.store(lambda temporary: writer(pathlib.Path(temporary), **options))
        return self.path

    def open(self, mode: str = "r") -> Any:
        """Open the file as luigi does: text, and for ``"w"`` under a temporary name until closed."""
        return self._as_luigi().open(mode)

    @contextlib.contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Give a temporary path; the file there gets its own name when the block ends without an error."""
        with self._as_luigi().temporary_path() as temporary:
            yield temporary

    def _as_luigi(self) -> luigi.LocalTarget:
        # luigi does string arithmetic on `path`, which is a Path here.
        return luigi.LocalTarget(str(self.path), format=self.format)

    def store(self, fill: Callable[[str], None]) -> Written:
        """Call ``fill(temporary path)``, then give the file its name; return size, time and digest."""
        written: Written = _files().write(self._text, fill)
        _forget(self._text)
        return written

    def _load(self, read: Callable[..., Any], where: Any, cached: bool, options: dict[str, Any]) -> Any:
        slot = stamp = None
        if cached or settings.cached:
            slot, stamp = self._slot(read, options), _stamp(self._text)
            if slot and stamp:
                held = _kept.get(os.path.abspath(self._text), {}).get(slot)
                if held and held[0] == stamp:
                    return held[1]
        try:
            value = read(where, **options)
        except (PipeError, MemoryError):
            raise
        except Exception as error:
            if not self.exists():
                raise NotBuiltError(
                    "This output does not exist yet",
                    facts={"path": self._text, "target": type(self).__name__},
                    hint="Run its task first, for example with d6tpipe.run(task).",
                ) from None
            raise self._unreadable(error, options) from error
        if slot and stamp:
            # The stamp is from before the reading: if the file changed meanwhile, the next load reads again.
            _kept.setdefault(os.path.abspath(self._text), {})[slot] = (stamp, value)
        return value

    def _slot(self, read: Callable[..., Any], options: dict[str, Any]) -> tuple[object, ...] | None:
        """Return what tells one way of loading this file from another; None if options cannot be compared."""
        try:
            chosen = pickle.dumps(sorted(options.items()))
        except (pickle.PicklingError, TypeError, AttributeError):
            return None
        return type(self), getattr(read, "__qualname__", repr(read)), chosen

    def _unreadable(self, error: Exception, options: dict[str, Any]) -> StorageError:
        facts = {
            "path": self._text,
            "target": type(self).__name__,
            "reader said": f"{type(error).__name__}: {error}",
        }
        hint = "If the file is damaged, build it again: reset() the task and run it."
        if isinstance(error, PermissionError):
            hint = "Check who may read the file."
        elif options:
            facts["options"] = ", ".join(f"{name}={str(value)[:60]}" for name, value in options.items())
            hint = f"Check the options given to load(). {hint}"
        return StorageError("Cannot read an output", facts=facts, hint=hint)


class FormatTarget(DataTarget):
    """A file in a named format; formats come from d6tpipe or from plugins.

    Parameters
    ----------
    path : str or path-like
        Where the file is or will be.
    format_name : str
        ``"parquet"``, ``"csv"``, ``"json"``, ``"pickle"`` ...; looked up when first used.
    """

    format_name = "pickle"
    _argument = "df"  # what d6tflow calls the value in save() of this class

    def __init__(self, path: str | os.PathLike[str], format_name: str | None = None) -> None:
        # The common case without a call to the base class: 100,000 of these are made to look at a graph.
        if type(path) is str:
            self._text = path
        else:
            super().__init__(path)
        if format_name is not None:
            self.format_name = format_name

    @property
    def runs_code(self) -> bool:
        """Whether reading the file can run code that is in it."""
        return bool(getattr(plugins.load("formats", self.format_name), "runs_code", False))

    def load(self, cached: bool = False, **options: Any) -> Any:  # type: ignore[override]
        """Return the value.

        Parameters
        ----------
        cached : bool
            Keep the value in memory and return the same object next time; see `DataTarget.load`.
        **options
            Passed to the format's reader, for example ``columns=["a"]`` to ``pd.read_parquet``.

        Raises
        ------
        NotBuiltError
            There is no file.
        StorageError
            There is one that cannot be read, or not with these options.
        PluginError
            The format is unknown or its library is not installed.
        """
        reader = plugins.load("formats", self.format_name)
        return self._load(reader.load, self._text, cached, options)

    def save(self, df: Any = _MISSING, **options: Any) -> pathlib.Path:  # type: ignore[override]
        """Save a value and return the path; the file appears when it is whole.

        Parameters
        ----------
        df : object
            What the format can hold. By name it is ``df``, for JSON ``dict_`` and for pickles ``obj``, as in d6tflow.
        **options
            Passed to the format's writer, for example ``compression="gzip"`` to ``to_parquet``.

        Raises
        ------
        DeclarationError
            The format cannot hold the value. Nothing was written.
        StorageError
            The disk said no. What was there before is unchanged.
        PluginError
            The format is unknown or its library is not installed.
        """
        value = options.pop(self._argument, df) if df is _MISSING else df
        if value is _MISSING:
            raise TypeError(f"save() needs the value to save, as the first argument or as {self._argument}=")
        self.store_value(value, options, _files())
        return self.path

    def store_value(self, value: Any, options: dict[str, Any], files: Writer) -> Written:
        """Save a value with these options through `files`; return size, time and digest."""
        form = plugins.load("formats", self.format_name)
        if _dumps(form):
            written = files.write_stream(self._text, lambda stream: form.dump(value, stream, **options))
        else:
            written = files.write(self._text, lambda temporary: form.save(value, temporary, **options))
        if _kept:
            _forget(self._text)
        return written


class CSVPandasTarget(FormatTarget):
    """A DataFrame as CSV; the index is left out unless ``index=True``."""

    format_name = "csv"


class CSVGZPandasTarget(CSVPandasTarget):
    """A DataFrame as gzipped CSV; the index is left out unless ``index=True``."""

    format_name = "csv.gz"


class ExcelPandasTarget(FormatTarget):
    """A DataFrame as an Excel workbook; the index is left out unless ``index=True``."""

    format_name = "excel"


class PqPandasTarget(FormatTarget):
    """A DataFrame as parquet, index included."""

    format_name = "parquet"


class JsonTarget(FormatTarget):
    """Dicts, lists, text and numbers as JSON: ``{"data": value}``."""

    format_name = "json"
    _argument = "dict_"


class PickleTarget(FormatTarget):
    """Any picklable value."""

    format_name = "pickle"
    _argument = "obj"


def _dumps(form: Any) -> bool:
    """Return whether a format has a ``dump`` that writes what its ``save`` does."""
    for kind in type(form).__mro__:
        if "dump" in kind.__dict__:
            return True
        if "save" in kind.__dict__:  # overrides a dump further up
            return False
    return False


def _files() -> Any:
    return plugins.load("files", "local")


def _stamp(path: str) -> _Stamp | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    # The inode too: two writes within one tick of the clock can have the same time and size.
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _forget(path: str) -> None:
    if _kept:
        _kept.pop(os.path.abspath(path), None)
