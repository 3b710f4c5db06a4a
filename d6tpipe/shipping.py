"""Files on their way to workers that do not see the data folder, and back: the trait ``remote`` of an executor.

A worker keeps what it is sent in a folder of its own, its depot, which stands for the data folders while bodies run.
Files are known by their content: what a worker has is not sent again, and what arrives must be what was sent. After
a body its outputs go back in the receipt; what it has left in the depot besides is removed, whatever came of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import luigi
import xxhash
from luigi.task import flatten

from d6tpipe import plugins
from d6tpipe.binding import SHIPPED
from d6tpipe.emissions import file_of
from d6tpipe.errors import StorageError
from d6tpipe.executors.shared import Shared
from d6tpipe.interfaces import Written
from d6tpipe.machine import user_name
from d6tpipe.storage.files import temporary_name, temporary_owner
from d6tpipe.targets import CacheTarget
from d6tpipe.tasks import TaskAggregator, TaskData
from d6tpipe.tasks.data import METADATA
from d6tpipe.tasks.outputs import absolute, in_mirror, layout, out_of_mirror, stand_in

__all__ = [
    "Depot",
    "Packed",
    "Parcel",
    "Shipper",
    "Wanted",
    "bring_back",
    "emitted",
    "is_shippable",
    "make_room",
    "pack",
    "working_in",
]

_KEPT_BYTES = 64 << 20
"""How much of what was read is kept in memory, for the next worker that needs it."""
_DEPOT_BYTES = 8 << 30


class Parcel(NamedTuple):
    """One file or folder that a body may read.

    Attributes
    ----------
    path : str
        Absolute, as it is called where the run is coordinated.
    files : tuple of (str, bytes)
        Path in the folder and xxh3_128 of the content; an empty subfolder ends in a slash and has no digest. Of a file:
        one, under the empty name. Nothing at all: there is no such file.
    apart : bool
        It lies in no data folder: bodies are told by ``input()`` where it is.
    """

    path: str
    files: tuple[tuple[str, bytes], ...]
    apart: bool


@dataclass
class Wanted:
    """What a worker answers that does not have some of the files: nothing was run."""

    digests: list[bytes]


class Packed(NamedTuple):
    """One output, or another file that a body has left beside it.

    Attributes
    ----------
    path : str
        As in `Parcel`.
    files : mapping of str to bytes
        The content; of a folder: of all files in it, by their path in it, empty subfolders ending in a slash. Of a
        file: under the empty name.
    """

    path: str
    files: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Packed({self.path!r}, {sum(map(len, self.files.values()))} bytes)"


def _digest(data: bytes) -> bytes:
    return xxhash.xxh3_128_digest(data)


# ---- where the run is coordinated


def is_shippable(task: Any) -> bool:
    """Return whether the outputs of a task can be brought back: they lie in the data folder, or in memory."""
    return isinstance(task, TaskAggregator) or (isinstance(task, TaskData) and type(task).output is TaskData.output)


class Shipper:
    """Reads what bodies need, once per run as long as it does not change."""

    def __init__(self) -> None:
        self._digests: dict[str, tuple[tuple[int, int], bytes]] = {}
        self._paths: dict[bytes, str] = {}
        self._read: OrderedDict[bytes, Shared] = OrderedDict()
        self._read_bytes = 0
        self._sent: set[bytes] = set()

    def parcels(self, tasks: Iterable[Any]) -> list[Parcel]:
        """Return what makes up the outputs of tasks, and their metadata; values in memory are left out."""
        found: dict[str, Parcel] = {}
        for task in tasks:
            usual = is_shippable(task)
            for path in _paths_of(task):
                if path not in found:
                    found[path] = Parcel(path, self._files_at(path), not usual)
        return list(found.values())

    def _files_at(self, path: str) -> tuple[tuple[str, bytes], ...]:
        if os.path.isdir(path):
            return tuple(
                [
                    (inner, b"" if inner.endswith("/") else self._digest_of(os.path.join(path, inner)))
                    for inner in _names_in(path)
                ]
            ) or (("/", b""),)
        return (("", self._digest_of(path)),) if os.path.exists(path) else ()

    def _digest_of(self, path: str) -> bytes:
        facts = os.stat(path)
        stamp = facts.st_size, facts.st_mtime_ns
        known = self._digests.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = self._remember(path)
        self._digests[path] = stamp, digest
        self._paths[digest] = path
        return digest

    def _remember(self, path: str) -> bytes:
        with open(path, "rb") as stream:
            data = Shared(stream.read())
        digest = _digest(data)
        self._read[digest] = data
        self._read_bytes += len(data)
        while self._read_bytes > _KEPT_BYTES and len(self._read) > 1:
            self._read_bytes -= len(self._read.popitem(last=False)[1])
        return digest

    def first_time(self, parcels: Iterable[Parcel]) -> dict[bytes, Shared]:
        """Return the content of what no worker has been sent yet; of the rest a worker asks for what it lacks."""
        return self.content(set(digests_of(parcels)) - self._sent)

    def content(self, digests: Iterable[bytes]) -> dict[bytes, Shared]:
        """Return content by digest.

        Raises
        ------
        StorageError
            A file is not any more what it was when the digest was taken.
        """
        found = {}
        for digest in digests:
            data = self._read.get(digest)
            if data is None:
                path = self._paths[digest]
                if self._remember(path) != digest:
                    raise StorageError(
                        "An input has changed while it was being sent to a worker",
                        facts={"path": path},
                        hint="Something else writes to the data folder. Run again when it is done.",
                    )
                data = self._read[digest]
            found[digest] = data
            self._sent.add(digest)
        return found


def digests_of(parcels: Iterable[Parcel]) -> Iterator[bytes]:
    """Yield the digests of all files."""
    for parcel in parcels:
        for _, digest in parcel.files:
            if digest:
                yield digest


def _paths_of(task: Any) -> Iterator[str]:
    """Yield where the outputs and the metadata of a task are."""
    if isinstance(task, TaskAggregator):
        for member in task._children():
            yield from _paths_of(member)
        return
    paths = [absolute(str(target.path)) for target in flatten(task.output()) if _is_local(target)]
    if isinstance(task, TaskData) and paths:
        paths.append(absolute(task._meta_there()))
    yield from paths


def _is_local(target: Any) -> bool:
    return (
        isinstance(target, luigi.LocalTarget)
        and not isinstance(target, CacheTarget)
        and bool(target.path)
        and "://" not in str(target.path)
    )


def bring_back(task: Any, packed: Sequence[Packed]) -> dict[str, Written]:
    """Give what a worker has sent its place in the data folder: all of it, or nothing if the disk says no.

    Returns
    -------
    dict of str to Written
        Of the outputs and the metadata, by name.

    Raises
    ------
    StorageError
        The disk said no.
    """
    names = {absolute(str(target.path)): key for key, target in _targets(task).items()}
    names[absolute(task._meta_path())] = METADATA
    written = {}
    files = plugins.load("files", "local")
    with files.together() as group:
        for path, content in packed:
            key = names.get(path)
            if "" in content:
                what = group.write_stream(path, partial(_put, content[""]))
            elif key is None:  # others may have files in this folder, too
                for inner, data in content.items():
                    if not inner.endswith("/"):
                        group.write_stream(os.path.join(path, inner), partial(_put, data))
                continue
            else:
                what = group.write(path, partial(_fill_folder, content))
            if key is not None:
                written[key] = what
    return written


def _targets(task: Any) -> dict[str, Any]:
    keys, outputs = layout(task).keys, task._usual_output()
    return {keys[0]: outputs} if layout(task).single else {key: outputs[key] for key in keys}


def _put(data: bytes, stream: Any) -> None:
    stream.write(data)


def _fill_folder(content: Mapping[str, bytes], path: str) -> None:
    os.makedirs(path, exist_ok=True)
    for name, data in content.items():
        file = os.path.join(path, name)
        if name.endswith("/"):
            os.makedirs(file, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as stream:
            stream.write(data)


# ---- on a worker


class Depot:
    """The folder of a worker that stands for all data folders; it goes with the process.

    One body at a time works in it: `guard`.
    """

    def __init__(self) -> None:
        base = os.path.join(tempfile.gettempdir(), f"d6tpipe-depots-{user_name()}")
        files = plugins.load("files", "local")
        files.ensure_folder(base)
        files.sweep(base)  # what workers that were killed have left
        self.folder = os.path.join(base, temporary_name("depot"))
        os.mkdir(self.folder, mode=0o700)
        self.guard = threading.Lock()
        self._there: OrderedDict[str, tuple[bytes, tuple[int, int]]] = OrderedDict()  # path -> (digest, stamp)
        self._by_digest: dict[bytes, str] = {}
        self._bytes = 0
        # Not atexit: processes of the standard library's pools end without it.
        Finalize(None, shutil.rmtree, (self.folder, True), exitpriority=0)

    def unpack(self, parcels: Iterable[Parcel], content: Mapping[bytes, bytes]) -> list[bytes]:
        """Put files where bodies look for them; return the digests of those that are neither here nor in `content`."""
        missing = []
        pinned: set[str] = set()
        for path, files, _ in parcels:
            place = in_mirror(path, self.folder)
            wanted = {os.path.join(place, inner) if inner else place: digest for inner, digest in files}
            self._remove_others(place, wanted)
            pinned.update(wanted)
            for where, digest in wanted.items():
                if not digest:
                    os.makedirs(where, exist_ok=True)
                elif not self._has(where, digest) and not self._put(where, digest, content):
                    missing.append(digest)
        self._make_room(pinned)
        return missing

    def _remove_others(self, place: str, wanted: Mapping[str, bytes]) -> None:
        """Remove what is at a place, or in it, and does not belong there any more."""
        there = [os.path.join(place, inner) for inner in _names_in(place)] if os.path.isdir(place) else [place]
        for where in there:
            if where not in wanted:
                self._drop(where)
                with contextlib.suppress(OSError):
                    os.rmdir(where) if where.endswith("/") else os.unlink(where)
        if os.path.isdir(place) and place in wanted:
            shutil.rmtree(place, ignore_errors=True)

    def _drop(self, where: str) -> None:
        known = self._there.pop(where, None)
        if known is not None:
            self._bytes -= known[1][0]
            if self._by_digest.get(known[0]) == where:
                del self._by_digest[known[0]]

    def _make_room(self, pinned: Container[str]) -> None:
        """Remove the files that were used longest ago, while there is too much, but none of `pinned`."""
        for where in list(self._there):
            if self._bytes <= _DEPOT_BYTES:
                return
            if where not in pinned:
                self._drop(where)
                with contextlib.suppress(OSError):
                    os.unlink(where)

    def _has(self, where: str, digest: bytes) -> bool:
        known = self._there.get(where)
        if known is None or known[0] != digest or known[1] != _stamp(where):
            return False
        self._there.move_to_end(where)
        return True

    def _put(self, where: str, digest: bytes, content: Mapping[bytes, bytes]) -> bool:
        data = content.get(digest)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        other = self._by_digest.get(digest)
        if data is None and other is not None and self._has(other, digest):
            shutil.copyfile(other, where)
        elif data is None:
            return False
        elif _digest(data) != digest:
            raise StorageError(
                "A file did not arrive at the worker as it was sent",
                facts={"path": where},
                hint="The executor changes what it is given: look at how it sends bytes.",
            )
        else:
            with open(where, "wb") as stream:
                stream.write(data)
        self.keep(where, digest)
        return True

    def keep(self, where: str, digest: bytes) -> None:
        """Note that a file is there and need not be sent."""
        stamp = _stamp(where)
        if stamp is None:
            return
        self._drop(where)
        self._there[where] = digest, stamp
        self._by_digest[digest] = where
        self._bytes += stamp[0]

    def keep_packed(self, packed: Packed) -> None:
        """Note that what is sent back need not be sent here again."""
        where = in_mirror(packed.path, self.folder)
        for inner, data in packed.files.items():
            if not inner.endswith("/"):
                self.keep(os.path.join(where, inner) if inner else where, _digest(data))

    def clear(self) -> None:
        """Remove all that was not sent, nor kept."""
        root = os.path.join(self.folder, "root")
        for place, folders, names in os.walk(root, topdown=False):
            for name in names:
                where = os.path.join(place, name)
                if where not in self._there:
                    with contextlib.suppress(OSError):
                        os.unlink(where)
            for name in folders:
                with contextlib.suppress(OSError):  # not empty, or a link
                    where = os.path.join(place, name)
                    os.unlink(where) if os.path.islink(where) else os.rmdir(where)


@contextlib.contextmanager
def working_in(depot: str, base: str, parcels: Iterable[Parcel]) -> Iterator[None]:
    """Let a body find its data in a depot, and work in an empty folder, which is removed afterwards."""
    before = os.getcwd()
    work = os.path.join(depot, "work")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    stand_in(base, depot)
    SHIPPED.update((parcel.path, in_mirror(parcel.path, depot)) for parcel in parcels if parcel.apart)
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(before)
        SHIPPED.clear()
        stand_in(base)
        shutil.rmtree(work, ignore_errors=True)


def make_room(task: Any, place: str) -> dict[str, Any]:
    """Remove the outputs of an earlier body of the task; return what else is in their folder, with a stamp of each."""
    own = _output_names(task)
    rest = {}
    for name in _listed(place):
        path = os.path.join(place, name)
        if name not in own:
            rest[name] = _look(path)
        elif os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return rest


def _look(path: str) -> Any:
    if not os.path.isdir(path) or os.path.islink(path):
        return _stamp(path)
    return {inner: _stamp(os.path.join(path, inner)) for inner in _names_in(path)}


def pack(task: Any, place: str, before: Mapping[str, Any], depot: str) -> list[Packed]:
    """Return what the body of a task has left in the folder of its outputs: these, and what is new or changed.

    Parameters
    ----------
    task : TaskData
    place : str
        The folder.
    before : mapping of str to object
        What `make_room` has returned.
    depot : str
        Folder of the depot.

    Raises
    ------
    StorageError
        There is a link to nothing.
    """
    own = _output_names(task)
    found = []
    for name in sorted(_listed(place)):
        path = os.path.join(place, name)
        if name == ".d6tpipe" or temporary_owner(name) is not None or (name in before and before[name] == _look(path)):
            continue
        if os.path.isdir(path):
            known = before.get(name) if name not in own else None
            names = [
                inner
                for inner in _names_in(path)
                if not isinstance(known, dict) or known.get(inner) != _stamp(os.path.join(path, inner))
            ]
            content = {inner: b"" if inner.endswith("/") else _content(os.path.join(path, inner)) for inner in names}
        else:
            content = {"": _content(path)}
        found.append(Packed(out_of_mirror(path, depot), content))
    return found


def emitted(task: Any, depot: str) -> list[Packed]:
    """Return what a body that has failed is to send back: what it has emitted, if it has."""
    path = file_of(task)
    return [Packed(out_of_mirror(path, depot), {"": _content(path)})] if os.path.exists(path) else []


def _output_names(task: Any) -> set[str]:
    names = {os.path.basename(str(target.path)) for target in flatten(task._usual_output()) if _is_local(target)}
    return {*names, os.path.basename(task._meta_path())}


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise StorageError(
            "A link to nothing cannot be brought back from the worker",
            facts={"link": path, "to": os.readlink(path) if os.path.islink(path) else "?"},
            hint="Links travel as what they point to: let the body write files.",
        ) from error


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _names_in(where: str) -> Iterator[str]:
    """Yield the paths of all files in a folder, and of its empty subfolders with a slash at the end."""
    for place, folders, names in os.walk(where, followlinks=True):
        inner = os.path.relpath(place, where)
        if place != where and not folders and not names:
            yield f"{inner}/"
        for name in sorted(names):
            yield name if place == where else os.path.join(inner, name)
