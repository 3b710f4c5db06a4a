"""What ``depends_on`` may name, and how it is now: files, packages, environment variables, other code and data."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import PurePath
from types import ModuleType
from typing import Any

import luigi

from d6tpipe.declared import Env
from d6tpipe.errors import DeclarationError, shown, told, warn
from d6tpipe.fingerprint import Fingerprint, is_project
from d6tpipe.fingerprint.values import is_data
from d6tpipe.identity import nearest

Look = Callable[[Any], Fingerprint]

__all__ = ["MISSING", "UNREADABLE", "Fact", "distributions", "facts"]

MISSING, UNREADABLE = "missing", "unreadable"
"""Stand for the content of a file that is not there, and of what cannot be read."""


class Fact:
    """One thing that ``depends_on`` names.

    Attributes
    ----------
    key : str
        ``file:<path>``, ``package:<name>``, ``env:<name>`` or ``object:<name>``.
    quick : str or None
        How it is now; of code for this minor version of Python.
    """

    __slots__ = ("_code", "key", "quick")

    def __init__(self, key: str, quick: str | None, code: Fingerprint | None = None) -> None:
        self.key, self.quick, self._code = key, quick, code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fact) and (self.key, self.quick) == (other.key, other.quick)

    __hash__ = None  # type: ignore[assignment]

    @property
    def value(self) -> str | None:
        """How it is now, as it is recorded: of code what holds for all versions of Python, where it is known."""
        return (self._code.stable if self._code is not None else None) or self.quick


def facts(cls: type, items: Iterable[Any], folder: str | None, look: Look) -> list[Fact]:
    """Return how what a class depends on is now, each thing once.

    Parameters
    ----------
    cls : type
    items : iterable
        What ``depends_on`` holds.
    folder : str or None
        Where relative paths are looked for first; then in the working directory.
    look : callable
        Returns the fingerprint of a function, a class or data.

    Raises
    ------
    DeclarationError
        An item is nothing that can be watched, or a package that does not exist.
    """
    found: dict[str, dict[str, Fact]] = {}
    for item in items:
        fact = _fact(cls, item, folder, look)
        found.setdefault(fact.key, {})[str(fact.quick)] = fact
    for key, namesakes in found.items():  # two lambdas, two dicts: whatever their order
        for number, quick in enumerate(sorted(namesakes), 1):
            namesakes[quick].key = key if number == 1 else f"{key}#{number}"
    return [fact for namesakes in found.values() for fact in namesakes.values()]


def _fact(cls: type, item: Any, folder: str | None, look: Look) -> Fact:
    kind: Any = type(item)
    if isinstance(item, Env):
        return Fact(f"env:{item.name}", _secret(item.name))
    if isinstance(item, PurePath):
        return Fact(f"file:{item.as_posix()}", _content(_located(item, folder)))
    if isinstance(item, ModuleType):
        item = item.__name__
    if isinstance(item, str):
        return Fact(f"package:{item}", _package(cls, item))
    if not is_data(kind):
        module = getattr(item, "__module__", None)
        if not isinstance(module, str) or not hasattr(item, "__qualname__"):
            raise _not_watchable(cls, item)
        top = module.partition(".")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if module not in ("__main__", "__mp_main__") and not is_project(module, file):
            return Fact(f"package:{top}", _package(cls, top))  # of a library only the version is looked at
    name = getattr(item, "__qualname__", None) or getattr(getattr(item, "func", None), "__qualname__", None)
    key = f"object:{name or kind.__name__}"
    try:
        code = look(item)
    except Exception as error:  # noqa: BLE001  (reported: what cannot be looked through must not stop a run)
        _tell(key, f"depends_on of {cls.__qualname__}: {key} cannot be looked through ({told(error)})")
        return Fact(key, UNREADABLE)
    return Fact(key, code.fast, code)


def _not_watchable(cls: type, item: Any) -> DeclarationError:
    if isinstance(item, luigi.Task):
        hint = "Return it from requires(): its data are then watched too."
    elif isinstance(item, luigi.Target):
        hint = "Name the file itself: pathlib.Path('data.csv')."
    else:
        hint = "Name functions, classes, plain data, packages as text, pathlib.Path(...) or d6tpipe.env(...)."
    return DeclarationError(
        "depends_on holds something whose changes cannot be noticed",
        task=cls,
        facts={"item": f"{shown(item):.200} ({type(item).__name__})"},
        hint=hint,
    )


def _secret(name: str) -> str | None:
    value = os.environ.get(name)
    if value is None:
        return None
    return blake2b(f"{name}\0{value}".encode(errors="surrogateescape"), digest_size=16).hexdigest()


# ---- files


# path -> (what stat said before the content was read, digest)
_digests: dict[str, tuple[tuple[int, ...], str]] = {}
_MEMO_SIZE = 20_000
_PIECE = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file that was written within this time may be written again without a change of its time stamp."""

_NOISE = frozenset({"__pycache__", ".d6tpipe"})


def _located(path: PurePath, folder: str | None) -> str:
    if folder is not None and not path.is_absolute():
        beside = os.path.join(folder, path)
        if os.path.lexists(beside):
            return beside
    return os.path.abspath(path)


def _content(path: str) -> str:
    """Return the digest of a file or folder, or one of the words that stand for it."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _of_folder(path)
        return _of_file(path, status)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except (OSError, ValueError) as error:
        _tell(path, f"depends_on names a file that cannot be read, its changes will not be noticed: {told(error)}")
        return UNREADABLE


_told: set[str] = set()


def _tell(what: str, message: str) -> None:
    """Warn, once for each thing."""
    if what not in _told:
        _told.add(what)
        warn(message)


def _of_file(path: str, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "no file"  # a pipe or a device: reading would wait, or use it up
    stamp = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    known = _digests.get(path)
    if known is not None and known[0] == stamp:
        return known[1]
    import xxhash

    content = xxhash.xxh3_128()
    settled = abs(time.time_ns() - status.st_mtime_ns) > _SETTLED_NS
    with open(path, "rb", buffering=0) as stream:
        while piece := stream.read(_PIECE):
            content.update(piece)
    found = content.hexdigest()
    if settled:
        if len(_digests) > _MEMO_SIZE:
            _digests.clear()
        _digests[path] = stamp, found
    return found


def _of_folder(folder: str, suffix: str = "") -> str:
    known = blake2b(digest_size=16)
    for name, path in _files_in(folder, "", ()):
        if name.endswith(suffix):
            known.update(f"{name}\0{_content(path)}\0".encode(errors="surrogateescape"))
    return known.hexdigest()


def _files_in(folder: str, inside: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    """Yield name within the folder and path of every file, sorted; links are followed, circles of them are not."""
    status = os.stat(folder)
    here = status.st_dev, status.st_ino
    if here in above:
        return
    with os.scandir(folder) as entries:
        members = sorted([(entry.name, entry.path, entry.is_dir()) for entry in entries if entry.name not in _NOISE])
    for name, path, is_folder in members:
        if is_folder:
            yield from _files_in(path, f"{inside}{name}/", (*above, here))
        else:
            yield inside + name, path


# ---- packages


def _package(cls: type, name: str) -> str:
    """Return the version of a package, a digest of the source of a module of the project, or both."""
    if not name.strip():
        raise _no_package(cls, name)
    found = _installed(name)
    place = _place_of(name)
    if place is not None and is_project(name, os.path.join(place, "")):  # also what is installed to be edited
        return f"{found[1]} {_source(place)}" if found else _source(place)
    if found is not None:
        return found[1]
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"Python {_PYTHON}"
    suppliers = {supplier: found[1] for supplier in _suppliers(top) if (found := _installed(supplier))}
    if suppliers:
        return ", ".join([f"{supplier} {version}" for supplier, version in sorted(suppliers.items())])
    if place is not None:
        return _source(place)
    raise _no_package(cls, name)


_PYTHON = sys.version.partition(" ")[0]

# name as asked for -> (sys.path, folder it is installed in, time stamp of the folder, (name, version))
_versions: dict[str, tuple[list[str], str, int, tuple[str, str]]] = {}


def _installed(name: str) -> tuple[str, str] | None:
    """Return name and version of an installed distribution; looked up again when something was installed."""
    known = _versions.get(name)
    if known is not None and known[0] == sys.path and known[2] == _time_of(known[1]):
        return known[3]
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    folder = str(distribution.locate_file(""))
    found = distribution.metadata["Name"], distribution.version
    if not all(found):  # left half removed
        return None
    _versions[name] = list(sys.path), folder, _time_of(folder), found
    return found


def _time_of(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:  # in a zip file
        return 0


def _place_of(name: str) -> str | None:
    """Return the file of a module, or the folder of a package, without importing anything."""
    top, *below = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for number in range(len(below)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            inner = ".".join([top, *below[: number + 1]])
            spec = importlib.machinery.PathFinder.find_spec(inner, list(spec.submodule_search_locations))
    except (ImportError, ValueError):  # ValueError: loaded by other means than an import
        return getattr(sys.modules.get(name), "__file__", None)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return next(iter(spec.submodule_search_locations))
    return spec.origin if spec.has_location else None


def _source(place: str) -> str:
    return _of_folder(place, ".py") if os.path.isdir(place) else _content(place)


@functools.lru_cache(maxsize=1000)
def _suppliers(module: str) -> tuple[str, ...]:
    """Return the distributions that installed a top-level module.

    As ``importlib.metadata.packages_distributions``, which takes 180 ms for 120 packages, for one module.
    """
    found = set()
    for distribution in importlib.metadata.distributions():
        tops = distribution.read_text("top_level.txt")
        if tops is not None:
            has = module in tops.split()
        else:
            record = "\n" + (distribution.read_text("RECORD") or "")
            has = f"\n{module}/" in record or f"\n{module}." in record
        if has:
            found.add(distribution.metadata["Name"])
    return tuple(sorted(found))


def _no_package(cls: type, name: str) -> DeclarationError:
    if os.sep in name or "/" in name or os.path.exists(name):
        near, hint = None, f"Text names a package; write pathlib.Path({name!r}) for a file."
    else:
        installed = {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}
        modules = [module for module in sys.modules if "." not in module and not module.startswith("_")]
        near = nearest(name, sorted(filter(None, installed))) or nearest(name, sorted(modules))
        hint = "Name an installed package or a module that can be imported, or the function or class itself."
    return DeclarationError(
        f"depends_on names a package that cannot be found: '{name}'",
        task=cls,
        facts={"looked among": "installed packages, importable modules"},
        hint=f"Did you mean '{near}'?" if near else hint,
    )


def distributions(code: Fingerprint) -> dict[str, str]:
    """Return the installed distributions that code names, with their versions."""
    found = {}
    for top in sorted(_libraries(code)):
        for name in [top] if _installed(top) else _suppliers(top):
            installed = _installed(name)
            if installed is not None:
                found[installed[0]] = installed[1]
    return found


def _libraries(code: Fingerprint) -> set[str]:
    """Return the top-level modules that code names and that belong neither to Python nor to the project."""
    tops = set()
    for node in code._walk.nodes:
        for part in (*node.parts, *node.refs):
            if part.__class__ is str and part.startswith(("@", "module:", "import:")):
                name = part[1:].partition(":")[0] if part[0] == "@" else part.partition(":")[2].partition(" ")[0]
                tops.add(name.partition(".")[0])
    # d6tpipe itself is named by the code of every task, and says nothing about one.
    others = {"d6tpipe", "d6tflow", *sys.stdlib_module_names}
    return {top for top in tops if top.isidentifier() and top not in others and not top.startswith("__")}
