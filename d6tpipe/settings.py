"""The settings: this module is the settings object.

::

    import d6tpipe.settings as settings

    settings.dir                                # read
    settings.check_dependencies = False         # assign; a wrong name or type is a SettingsError
    del settings.check_dependencies             # back to what files and environment say
    with settings.override(cached=True): ...    # for a while
    settings.describe()                         # every value and where it comes from

A value is taken from the first of these that has it:

1. an assignment,
2. an environment variable ``D6TPIPE_<KEY>``,
3. ``[tool.d6tpipe]`` of ``pyproject.toml`` or ``[d6tpipe]`` of ``setup.cfg``, in the nearest folder that has
   one of the two, from the working directory upwards,
4. the default.

Files and environment are looked at when the first value is read, not on import, and not again until
`refresh`. Relative paths mean the working directory, wherever they are written. Settings belong to the
process: they are neither per thread nor sent to other processes.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from d6tpipe.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

# For type checkers and editors. The values come into being when somebody asks: see __getattr__.
isinit: bool
isinitpipe: bool
cached: bool
save_with_param: bool
dir: str
dirpath: Path
db: Path
check_dependencies: bool
check_crc: bool
log_level: str
execution_summary: bool
uri: str | None
cloud_fs_prefix: str | None
cloud_fs_enabled: bool
stale: str
unknown_parameters: str
durable: bool
verify: str
n_workers: int | str
executor: str | None
scheduler: str | None
show_capture: str
show_locals: bool
marks: str | None
parameter_count: int
parameter_length: int
generation: int

# Key: (default, kind, what it is). A kind is "flag", "count", "text or none", "path", or the words allowed.
# A default of None for a path: it follows from `dir`, see _effective.
_KEYS: dict[str, tuple[Any, str | tuple[str, ...], str]] = {
    "isinit": (False, "flag", "set_dir() was called"),
    "isinitpipe": (False, "flag", "kept for d6tflow's users; without effect"),
    "cached": (False, "flag", "keep loaded data in memory"),
    "save_with_param": (True, "flag", "a file for each set of parameter values"),
    "dir": ("data", "path", "data folder, as text"),
    "dirpath": (None, "path", "data folder, as a path; in step with dir"),
    "db": (None, "path", "d6tflow's database file, in the data folder; without effect"),
    "check_dependencies": (True, "flag", "a task is complete only if what it requires is"),
    "check_crc": (False, "flag", "kept for d6tflow's users; without effect"),
    "log_level": (
        "WARNING",
        ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET"),
        "kept for d6tflow's users; without effect",
    ),
    "execution_summary": (True, "flag", "print a summary after a run"),
    "uri": (None, "text or none", "kept for d6tflow's users; without effect"),
    "cloud_fs_prefix": (None, "text or none", "kept for d6tflow's users; without effect"),
    "cloud_fs_enabled": (False, "flag", "kept for d6tflow's users; without effect"),
    "stale": (
        "warn",
        ("ignore", "warn", "rerun"),
        "what to do with complete tasks of which something has changed since: as luigi, name them, build them again",
    ),
    "unknown_parameters": ("error", ("error", "ignore"), "what a parameter that a task does not have is"),
    "durable": (False, "flag", "force every output to the disk before its task counts as built: safe from power cuts"),
    "verify": ("stat", ("stat", "hash"), "how outputs are compared with their records: size and time, or the bytes"),
    "n_workers": (1, "workers", "how many bodies run at once: a number, or auto"),
    "executor": (None, "text or none", "where bodies run: serial, threads, processes, loky, dask, ray or another name"),
    "scheduler": (None, "text or none", "address of a luigid that shows the runs, such as http://localhost:8082"),
    "show_capture": (
        "all",
        ("no", "stdout", "stderr", "log", "all"),
        "what of the output of a failed task is shown at the end of a run",
    ),
    "show_locals": (False, "flag", "the traceback of a failed task has the values of the variables in each frame"),
    "marks": (None, "text or none", "the marks that tasks may have, separated by commas; none: any"),
    "parameter_count": (20, "count", "how many values the readable part of a task id has"),
    "parameter_length": (64, "count", "how many characters of each"),
}

_PREFIX = "D6TPIPE_"
_FLAGS = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip

_lock = threading.RLock()
_assigned: dict[str, Any] = {}
_sources: dict[str, tuple[Any, str]] | None = None  # what files and environment say: key -> (value, where)
# A module loaded again starts from nothing, but never with a number that was seen before.
generation = globals().get("generation", 0) + 1


def set_parameter_len(nparams: int = 20, len: int = 64) -> None:
    """Set how much of the parameters is readable in a task id.

    Parameters
    ----------
    nparams : int
        How many parameter values the readable part holds.
    len : int, characters
        How much of each.

    Notes
    -----
    Task ids, and with them file names, change: what was built under other limits is not found.
    """
    values = {"parameter_count": nparams, "parameter_length": len}
    _assign(_validated(values, "set_parameter_len()"))


def describe() -> list[tuple[str, Any, str]]:
    """Return every setting as (key, value, source), in a fixed order.

    `source` is "assigned", the environment variable, the file, or "default".
    """
    with _lock:
        sources = _read_sources()
        rows = []
        for key in _KEYS:
            origin = "dir" if key == "dirpath" else key
            if origin in _assigned:
                source = "assigned"
            else:
                source = sources[origin][1] if origin in sources else "default"
            rows.append((key, getattr(_module, key), source))
        return rows


def refresh() -> None:
    """Forget what files and environment said; they are read again when the next value is.

    Assignments stay.
    """
    global _sources
    with _lock:
        _sources = None
        _forget_values()


def snapshot() -> dict[str, Any]:
    """Return all settings with their values, for `restore` in another process; the data folder as an absolute path."""
    with _lock:
        values = _effective()
        if isinstance(values["dir"], str) and "://" not in values["dir"]:
            values["dir"] = os.path.abspath(values["dir"])
        del values["dirpath"]
        if "db" not in _assigned:
            values["db"] = None
        return values


def restore(values: Mapping[str, Any]) -> None:
    """Take over what `snapshot` has returned; files and environment have no say any more."""
    with _lock:
        wanted = {key: value for key, value in values.items() if key in _KEYS and value is not None}
        if _assigned != wanted:
            _assigned.clear()
            _assign(wanted)


class override:
    """Change settings for the length of a ``with`` block.

    Afterwards each is what it was before, also if the block assigned it, or if it was not assigned at all.

    Parameters
    ----------
    **values
        Settings by name.

    Raises
    ------
    SettingsError
        For an unknown name or a value that does not fit; nothing is changed then.

    Notes
    -----
    For the whole process: other threads see the values, too.
    """

    def __init__(self, **values: Any) -> None:
        self._values = _validated(values, "override()")
        self._before: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        with _lock:
            self._before.append({key: _assigned[key] for key in self._values if key in _assigned})
            _assign(self._values)

    def __exit__(self, *exception: object) -> None:
        with _lock:
            before = self._before.pop()
            for key in self._values:
                _assigned.pop(key, None)
            _assigned.update(before)
            _forget_values()


class _Settings(types.ModuleType):
    """Class of this module: what a plain module cannot do, which is to refuse."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif name in _KEYS:
            _assign(_validated({name: value}, "assigned"))
        elif name in self.__dict__:
            raise SettingsError(
                f"settings.{name} cannot be assigned",
                hint="It is a function of the settings or counts their changes; assign a setting instead.",
            )
        else:
            raise _unknown(name, "assigned")

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            super().__delattr__(name)
        elif name not in _KEYS:
            raise _unknown(name, "deleted")
        else:
            with _lock:
                _assigned.pop("dir" if name == "dirpath" else name, None)
                _forget_values()

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *_KEYS})

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        # By reference, as any module: cloudpickle knows modules by their exact type only.
        from importlib import import_module

        return import_module, (self.__name__,)


if not TYPE_CHECKING:  # it would make every name look right

    def __getattr__(name):
        """Work the values out and put them into the module's dict, where the next reader finds them.

        From then on reading a setting is an ordinary attribute access, without lock or call. A function of
        the module and not a method of its class, which would slow down every access.
        """
        if name not in _KEYS:
            if name.startswith("_"):  # what import system, pickle and pytest ask any module for
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
            raise _unknown(name, "asked for")
        with _lock:
            values = _effective()
            globals().update(values)
            return values[name]


# ------------------------------------------------------------------------------------------------- values


def _assign(values: Mapping[str, Any]) -> None:
    """Take over values that are known to fit."""
    with _lock:
        _assigned.update(values)
        _forget_values()


def changed() -> None:
    """Let everybody who has worked something out from the settings do so again."""
    with _lock:
        _forget_values()


def _forget_values() -> None:
    """Let the next reader work the values out again, and everybody know that they may have changed."""
    global generation
    for key in _KEYS:
        globals().pop(key, None)
    generation += 1


def _effective() -> dict[str, Any]:
    """Return all settings as they are now."""
    from pathlib import Path

    found = {key: value for key, (value, _where) in _read_sources().items()} | _assigned
    values = {key: found.get(key, default) for key, (default, _kind, _about) in _KEYS.items()}
    folder = values["dir"]
    # A path given as such is kept as it is: it may be of a class of its own (cloud storage).
    values["dir"] = str(folder)
    values["dirpath"] = Path(folder) if isinstance(folder, str) else folder
    database = values["db"]
    values["db"] = values["dirpath"] / ".d6tflow.json" if database is None else Path(database)
    return values


def _validated(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings as they are kept (`dirpath` is kept as `dir`), or raise SettingsError."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _KEYS:
            raise _unknown(key, where)
        value = _fitting(key, value, where)
        origin = "dir" if key == "dirpath" else key
        if origin in kept and str(kept[origin]) != str(value):
            raise SettingsError(
                "dir and dirpath are one setting and are given two values",
                facts={"dir": values["dir"], "dirpath": values["dirpath"], "where": where},
                hint="Keep one of the two.",
            )
        kept[origin] = value
    return kept


def _fitting(key: str, value: Any, where: str) -> Any:
    """Return `value` if it is of the kind that the key wants."""
    kind = _KEYS[key][1]
    if kind == "flag":
        if isinstance(value, bool):
            return value
        wanted = "True or False"
    elif kind == "count":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        wanted = "a whole number, 0 or more"
    elif kind == "workers":
        number = _workers(value)
        if number is not None:
            return number
        wanted = "a whole number, 1 or more, or 'auto' (the processors that may be used, minus one)"
    elif kind == "path":
        if isinstance(value, os.PathLike) or (isinstance(value, str) and value):
            return value
        wanted = "a path"
    elif kind == "text or none":
        if value is None or isinstance(value, str):
            return value
        wanted = "text or None"
    else:
        for word in kind:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        wanted = "one of " + ", ".join(map(repr, kind))
    raise SettingsError(
        f"The setting '{key}' cannot be {value!r}",
        facts={"wanted": wanted, "where": where},
        hint=f"Give it {wanted}.",
    )


def _workers(value: Any) -> int | str | None:
    """Return a number of workers, or "auto"; None if it is neither."""
    if isinstance(value, str) and value.lower() == "auto":
        return "auto"
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def worker_count(value: Any, where: str = "workers=") -> int | str:
    """Return a number of workers as it was given to a run, or "auto".

    Raises
    ------
    SettingsError
        It is neither; the message says what is allowed.
    """
    return _fitting("n_workers", value, where)


def _unknown(name: str, where: str) -> SettingsError:
    from d6tpipe.identity import nearest

    near = nearest(name, _KEYS)
    return SettingsError(
        f"There is no setting '{name}'",
        facts={"where": where, "settings": ", ".join(_KEYS)},
        hint=f"Did you mean '{near}'?" if near else "Use one of the settings listed.",
    )


# ------------------------------------------------------------------------------------------------ sources


def _read_sources() -> dict[str, tuple[Any, str]]:
    """Return what files and environment say, reading them if that was not done."""
    global _sources
    if _sources is None:
        found = {}
        for where, values in [*_from_file(), *_from_environment()]:
            found.update({key: (value, where) for key, value in _validated(values, where).items()})
        _sources = found
    return _sources


def _from_environment() -> list[tuple[str, dict[str, Any]]]:
    """Return each variable as a source of its own, so that an error names it."""
    sources = []
    for name in sorted(os.environ):
        if name.startswith(_PREFIX):
            key = name[len(_PREFIX) :].lower()
            where = f"environment variable {name}"
            sources.append((where, {key: _from_text(key, os.environ[name], where)}))
    return sources


def _from_file() -> list[tuple[str, dict[str, Any]]]:
    """Return the settings of the nearest file that has some."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # the working directory was removed
        return []
    while True:
        found = _from_toml(os.path.join(folder, "pyproject.toml"))
        found += _from_cfg(os.path.join(folder, "setup.cfg"))
        if len(found) > 1:
            raise SettingsError(
                "Two files of one folder hold settings",
                facts={"files": "\n".join(where for where, _ in found)},
                hint="Keep the section in one of them.",
            )
        parent = os.path.dirname(folder)
        if found or parent == folder:
            return found
        folder = parent


def _text_of(path: str) -> str:
    """Return the text of a file that may hold settings; empty if there is none to read.

    Most files on the way up are of other projects: without our name in it a file is not parsed, be it broken.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, UnicodeDecodeError):
        return ""
    return text if "d6tpipe" in text else ""


def _from_toml(path: str) -> list[tuple[str, dict[str, Any]]]:
    text = _text_of(path)
    if not text:
        return []
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tools = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, error) from error
    section = tools.get("d6tpipe") if isinstance(tools, dict) else None
    if section is None:
        return []
    if not isinstance(section, dict):
        raise _unreadable(path, TypeError("d6tpipe is a value there, not the table [tool.d6tpipe]"))
    return [(f"[tool.d6tpipe] of {path}", section)]


def _from_cfg(path: str) -> list[tuple[str, dict[str, Any]]]:
    text = _text_of(path)
    if not text:
        return []
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=path)
    except configparser.Error as error:
        raise _unreadable(path, error) from error
    if not parser.has_section("d6tpipe"):
        return []
    where = f"[d6tpipe] of {path}"
    return [(where, {key: _from_text(key, value, where) for key, value in parser.items("d6tpipe")})]


def _unreadable(path: str, error: Exception) -> SettingsError:
    return SettingsError(
        "A file that seems to hold settings cannot be parsed",
        facts={"file": path, "problem": str(error)},
        hint="Correct the file.",
    )


def _from_text(key: str, text: str, where: str) -> Any:
    """Return the value that a text from the environment or setup.cfg stands for."""
    if key not in _KEYS:
        raise _unknown(key, where)
    kind, word = _KEYS[key][1], text.strip().lower()
    if kind == "flag":
        return _FLAGS.get(word, text)
    if kind in ("count", "workers"):
        return int(word) if word.isdecimal() else text.strip()
    if kind == "text or none":
        return None if word in ("", "none") else text.strip()
    return text.strip()


_module = sys.modules[__name__]
for _key in _KEYS:  # left over when the module is loaded again
    globals().pop(_key, None)
del _key
_module.__class__ = _Settings
