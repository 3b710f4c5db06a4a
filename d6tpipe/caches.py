"""What methods keep in files: computed once per owner, by whichever thread or process comes first.

::

    <data folder>/<Class>/cached/<id of the owner>-<method>-<hash>/<file>

The owner is a task or a config. The hash stands for all that an entry belongs to: class, id, versions, method, file.

An entry has a folder to itself, where only the holder of its lock (``storage/locks.py``) writes. So the next holder
sweeps what a killed one has left. Whoever reads a value takes no lock: files appear whole.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import shutil
import threading
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import luigi

from d6tpipe import plugins, settings
from d6tpipe.declared import class_option
from d6tpipe.errors import DeclarationError, PipeError, PluginError, StorageError, shown, told, warn
from d6tpipe.failpoints import fail_point
from d6tpipe.identity import FILE_NAME_BYTES, UNSAFE, nearest
from d6tpipe.storage.files import temporary_name
from d6tpipe.targets import FormatTarget
from d6tpipe.task_values import main_name
from d6tpipe.tasks.base import Task
from d6tpipe.tasks.outputs import absolute, localized, root_of

__all__ = ["cache_path", "cached"]

_MISSING: Any = object()
_UNFINISHED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_files: Callable[[], Any] = functools.partial(plugins.load, "files", "local")

_of_thread = threading.local()
"""``held``: the entries that this thread is at work on. Not an attribute of what is pickled with its class."""


def cached(file: str, *, version: str | int = "") -> Callable[[Callable[[Any], Any]], Any]:
    """Return a decorator for methods whose value is computed once and kept in a file.

    Parameters
    ----------
    file : str
        Name of the file. Its suffix says the format: ``"terms.pkl"``, ``"terms.parquet"``, ``"terms.csv.gz"`` ...
    version : str or int, optional
        Another one means other values: those that are kept under the old one are not found any more.

    Returns
    -------
    callable
        The decorated method has ``path`` (where the value is or will be), ``exists()``, and ``invalidate()``, which
        deletes the value and returns whether there was one. It takes no arguments: the parameters of its owner are
        the key.

    Examples
    --------
    ::

        class Terms(d6tpipe.Config):
            n = d6tpipe.IntParameter()

            @d6tpipe.cached("terms.pkl")
            def load(self):
                return expensive(self.n)

    Notes
    -----
    A value belongs to class (a subclass has its own), significant values of the owner, ``version`` of the class and of
    the decorator, and method. An edit of the code changes none of these: give it another version, or invalidate.

    Every call reads the file, the one that computed the value too: all get what the format brings back, and no two
    share an object. If several call at once, one computes and the others wait. If that one fails or is killed, the
    next one tries. Where the value cannot be written there is a warning, and the caller gets it all the same.
    """
    _check_file("cached", file)

    def decorate(method: Callable[[Any], Any]) -> _Method:
        function = _checked(method, "cached", "self")
        return _Method(function, file, version, _format_of(function, file))

    return decorate


def cache_path(file: str, *, version: str | int = "") -> Callable[[Callable[[Any, Path], Any]], Any]:
    """Return a decorator for methods that read or write a file of their own, one caller at a time.

    Parameters
    ----------
    file : str
        Name of the file or folder; any suffix.
    version : str or int, optional
        As for `cached`, and so is what is returned. The path is the one argument of the method.

    Examples
    --------
    ::

        @d6tpipe.cache_path("terms.npy")
        def raw(self, path):
            if not path.exists():
                numpy.save(path, expensive(self.n))
            return numpy.load(path)

    Notes
    -----
    As long as there is no file, the path is a temporary one beside it, with the same suffix. What the method has
    written there, a file or a folder, gets its name when it returns; if it raises, or is killed, it is removed. Once
    the file is there, the method gets the file itself: a change of it in place is not protected.
    """
    _check_file("cache_path", file)

    def decorate(method: Callable[[Any, Path], Any]) -> _Method:
        return _Method(_checked(method, "cache_path", "self", "path"), file, version, "")

    return decorate


class _Method:
    """A decorated method, as an attribute of its class; without a format the function reads and writes itself."""

    def __init__(self, function: FunctionType, file: str, version: str | int, form: str) -> None:
        # Sets __wrapped__, which the fingerprint of the class follows.
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self.function, self.file, self.version, self.form = function, file, version, form

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        if owner is None:
            return self
        return _ValueEntry(owner, self) if self.form else _PathEntry(owner, self)


class _Place(NamedTuple):
    """Where an entry lies, and the key of its lock."""

    root: str
    folder: str
    path: str
    key: str

    def beside(self) -> str:
        """Return a temporary path for what will be at the path, or was."""
        return os.path.join(self.folder, temporary_name(os.path.basename(self.path)))

    @property
    def locks(self) -> Any:
        return plugins.load("locks", "files")(self.root)


class _Entry:
    """A decorated method of one owner; what users call."""

    def __init__(self, owner: Any, method: _Method) -> None:
        self._owner, self._method = owner, method

    def __repr__(self) -> str:
        return f"<{self._name()} in {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._owner, self._method.function.__name__)

    @property
    def path(self) -> Path:
        """Where the file is or will be; nothing is made."""
        return Path(self._place().path)

    def exists(self) -> bool:
        """Return whether the file is there."""
        return os.path.exists(self._place().path)

    def invalidate(self) -> bool:
        """Delete the file, as soon as nobody is at work on it; return whether there was one."""
        place = self._place()

        def look() -> Any:
            return _MISSING if os.path.lexists(place.path) or place.locks.holder(place.key) is not None else False

        return bool(self._in_turn(place, look, self._remove))

    def _remove(self, place: _Place) -> bool:
        aside = place.beside()
        try:
            os.rename(place.path, aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(
                "What a method keeps cannot be removed",
                task=self._name(),
                facts={"path": place.path, "reason": error.strerror or error},
                hint="Check who may write there.",
            ) from error
        fail_point("caches.aside")
        _discard(aside)
        with contextlib.suppress(OSError):  # a method that gets the path may have put other things there
            os.rmdir(place.folder)
        return True

    def _in_turn(self, place: _Place, look: Callable[[], Any], work: Callable[[_Place], Any]) -> Any:
        """Return what `look` finds; as long as that is `_MISSING` try for the lock, and return what `work` does."""
        held: set[_Place] = _of_thread.__dict__.setdefault("held", set())
        while True:
            found = look()
            if found is not _MISSING:
                return found
            if place in held:
                raise DeclarationError(
                    "A method whose value is kept needs that value itself",
                    task=self._name(),
                    facts={"path": place.path},
                    hint=f"{self._method.function.__qualname__}() must neither call nor invalidate itself.",
                )
            if place.locks.acquire(place.key):
                break
            place.locks.wait([place.key])
        held.add(place)
        try:
            _files().sweep(place.folder)
            fail_point("caches.locked")
            return work(place)
        finally:
            held.discard(place)
            place.locks.release([place.key])

    def _place(self) -> _Place:
        owner, method, cls = self._owner, self._method, type(self._owner)
        identity, function = _identity(owner), method.function
        # The function, not its name: an overriding method may call that of its base class, which is another entry.
        belongs_to = [
            _module(cls), cls.__qualname__, identity, class_option(cls, "version", ""), str(method.version),
            _module(function), function.__qualname__, method.file,
        ]  # fmt: skip
        digest = blake2b(json.dumps(belongs_to).encode(), digest_size=16).hexdigest()
        root = absolute(root_of(owner) if isinstance(owner, Task) else localized(absolute(os.fspath(settings.dirpath))))
        name = f"{_safe(identity, 100)}-{_safe(function.__name__, 50)}-{digest}"
        folder = os.path.join(root, _safe(cls.__name__, 100), "cached", name)
        return _Place(root, folder, os.path.join(folder, method.file), f"cached {digest}")

    def _name(self) -> str:
        return f"{shown(self._owner)}.{self._method.function.__name__}()"


class _ValueEntry(_Entry):
    """A method that returns what is kept."""

    def __call__(self) -> Any:
        place = self._place()
        return self._in_turn(place, lambda: self._read(place)[0], self._make)

    def _read(self, place: _Place) -> tuple[Any, str]:
        """Return the value, or `_MISSING` and why it cannot be read; without a reason if there is none."""
        if not os.path.exists(place.path):
            return _MISSING, ""
        try:
            return plugins.load("formats", self._method.form).load(place.path), ""
        except (PluginError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (readers can fail in any way; reported by who holds the lock)
            return _MISSING, told(error) if os.path.exists(place.path) else ""

    def _make(self, place: _Place) -> Any:
        kept, damage = self._read(place)
        if kept is not _MISSING:
            return kept
        if damage:
            warn(f"What {self._name()} has kept cannot be read and is computed again: {place.path}: {damage}")
        value = self._method.function(self._owner)
        fail_point("caches.computed")
        try:
            _files().ensure_folder(place.folder)
            FormatTarget(place.path, self._method.form).store_value(value, {}, _files())
            kept, damage = self._read(place)
        except StorageError as error:
            damage = str(error)
        except PipeError as error:  # of the format: it cannot hold the value, or lacks its library
            error.task = self._name()
            raise
        if kept is _MISSING:
            warn(f"The value of {self._name()} is not kept, the next call computes it again: {place.path}: {damage}")
            return value
        return kept


class _PathEntry(_Entry):
    """A method that gets the path."""

    def __call__(self) -> Any:
        return self._in_turn(self._place(), lambda: _MISSING, self._call)

    def _call(self, place: _Place) -> Any:
        function = self._method.function
        if os.path.exists(place.path):
            return function(self._owner, Path(place.path))
        _files().ensure_folder(place.folder)
        temporary = place.beside()
        try:
            result = function(self._owner, Path(temporary))
            fail_point("caches.filled")
            if os.path.lexists(temporary):
                _files().write(place.path, lambda path: os.rename(temporary, path))
        finally:
            _discard(temporary)
        if isinstance(result, (str, Path)) and os.fspath(result) == temporary:
            return type(result)(place.path)  # the temporary one is gone
        return result


# ---- what a declaration must be


def _check_file(decorator: str, file: Any) -> None:
    fits = isinstance(file, str) and file.isprintable() and not file.startswith(".") and not {"/", "\\"} & {*file}
    if not (fits and 0 < len(file.encode()) <= FILE_NAME_BYTES):
        raise DeclarationError(
            f"@{decorator} needs the name of a file, without folders and not hidden",
            facts={"got": f"{file!r:.300}"},
            hint=f'Write @{decorator}("values.pkl") above the method.',
        )


def _checked(method: Any, decorator: str, *given: str) -> FunctionType:
    """Return the function of a method that can be called with what is `given`."""
    if not isinstance(method, FunctionType):
        needs, got = "a method that is written with def", type(method).__name__
    elif method.__code__.co_flags & _UNFINISHED:
        needs, got = "a method that has done its work when it returns", "a generator, or async def"
    else:
        try:
            inspect.signature(method).bind(*given)
            return method
        except TypeError as error:
            needs, got = f"a method of {' and '.join(given)} alone", str(error)
    raise DeclarationError(
        f"@{decorator} needs {needs}",
        task=getattr(method, "__qualname__", repr(method)),
        facts={"got": got},
        hint=f"Write def load({', '.join(given)}). The parameters of the owner are the key: add to them.",
    )


def _format_of(function: FunctionType, file: str) -> str:
    """Return the name of the format that the suffix of a file stands for."""
    stem, *pieces = file.lower().split(".")
    wanted = [".".join(pieces[start:]) for start in range(len(pieces))]  # "csv.gz" before "gz"
    formats = {"pickle": "pickle"}
    for names in (plugins.BUILTIN["formats"], plugins.known("formats")):
        for name in names:
            formats.setdefault(plugins.load("formats", name).suffix, name)
        for suffix in wanted:
            if suffix in formats:
                return formats[suffix]
    near = nearest(pieces[-1], formats) if pieces else None
    raise DeclarationError(
        "No format has the suffix of this file",
        task=function.__qualname__,
        facts={"file": file, "known": ", ".join(f".{suffix}" for suffix in sorted(formats))},
        hint=f"Did you mean '{stem}.{near}'?" if near else "With @cache_path a method reads and writes by itself.",
    )


def _identity(owner: Any) -> str:
    """Return the id of an owner: a text that is another one where its values are."""
    # A task may have a parameter that is called config_id.
    found = None if isinstance(owner, luigi.Task) else getattr(owner, "config_id", None)
    found = found or getattr(owner, "task_id", None)
    if isinstance(found, str):
        return found
    raise DeclarationError(
        "Methods that keep their values belong to a config or a task",
        task=type(owner),
        facts={"missing": "an id that stands for the values of the object"},
        hint="Derive the class from d6tpipe.Config or from a task class, and make what varies its parameters.",
    )


# ---- small things


def _safe(text: str, longest: int) -> str:
    return UNSAFE.sub("_", text[:longest])


def _module(defined: Any) -> str:
    """Return the module of a class or function: of a script the one that it would be if it were imported."""
    return main_name() if defined.__module__ in ("__main__", "__mp_main__") else str(defined.__module__)


def _discard(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)  # leaves files and links alone
    with contextlib.suppress(OSError):
        os.unlink(path)
