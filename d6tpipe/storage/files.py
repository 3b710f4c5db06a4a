"""Files on the local disk, or on anything that is mounted like one.

A file gets its final name in one step, when it is whole: readers see the old content or the new, never a
part. Until then it has a temporary name in the same folder (a rename does not cross file systems)::

    .tmp-<host>-<pid>-<number>.<suffix>         .tmp-5f0c2a91-20771-12.csv.gz

The suffix is the final one because pandas, numpy and others choose by it how to write. Host and process tell
a later sweep whether the owner of a leftover is dead; see `temporary_owner`.

Whoever writes is told size, time and digest (`Written`). Neither size nor time of a file change when it is renamed,
so they are those of the temporary file, and nobody can have touched it in between.
"""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any

from xxhash import xxh3_128

from d6tpipe import settings
from d6tpipe.errors import StorageError
from d6tpipe.failpoints import fail_point
from d6tpipe.interfaces import Written

__all__ = ["LOCAL", "LocalFiles", "host_tag", "temporary_name", "temporary_owner"]

_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CLOEXEC
# Windows forces to the disk only what was opened for writing.
_READ = (os.O_RDONLY if os.name == "posix" else os.O_RDWR) | _CLOEXEC
_CHUNK = 1 << 20

TEMPORARY_PREFIX = ".tmp-"
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-(\d+)(?:\.|$)")
_COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip"})
# 5 (prefix) + 8 (host) + 7 (largest pid of Linux) + 2 + 14 (number) + 24 = 60 bytes
_LONGEST_SUFFIX = 24

_numbers = itertools.count()


class LocalFiles:
    """The ``Files`` protocol on local paths.

    Stateless; safe to share between threads and across a fork.
    """

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at `path`; a link to nothing does not count."""
        return os.path.exists(path)

    def listing(self, folder: str) -> set[str]:
        """Return the names in `folder`; the empty set if there is no such folder.

        Links to nothing are left out, so that ``name in listing(folder)`` and ``exists(path)`` agree.

        Notes
        -----
        One pass over the folder, no stat except for links.
        """
        try:
            with os.scandir(folder) as entries:
                return {entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path)}
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise _storage_error("Cannot list a folder", folder, folder, error) from error

    def stat(self, path: str) -> tuple[int, int] | None:
        """Return size and time of what is at `path`; None exactly where `exists` says False.

        Notes
        -----
        A file costs one system call. Of a folder all files are looked at; the time is the newest of all files and
        folders in it and of its own, so a file that is added, changed or removed changes it.
        """
        try:
            facts = os.stat(path)
            if not stat.S_ISDIR(facts.st_mode):
                return facts.st_size, facts.st_mtime_ns
        except (OSError, ValueError):
            return None
        try:
            return _folder_stat(path)
        except FileNotFoundError:  # gone meanwhile
            return None
        except OSError as error:
            raise _storage_error("Cannot look into a folder", path, path, error) from error

    def stats(self, folder: str, wanted: Set[str] | None = None) -> dict[str, tuple[int, int]]:
        """Return size and time of everything in `folder` by name; ``{}`` if there is no such folder.

        With `wanted` of what has one of these names only: beside outputs lie metadata, and each costs a system call.

        The names are those of `listing`. What is a folder itself has ``(-2, 0)``: `stat` tells the rest.
        """
        descriptor = -1
        try:
            # From an open folder the system finds each file without walking the path to it again.
            descriptor = os.open(folder, _READ) if os.scandir in os.supports_fd else -1
            with os.scandir(folder if descriptor < 0 else descriptor) as entries:
                if wanted is not None:
                    return _stats_of([entry for entry in entries if entry.name in wanted])
                return _stats_of(entries)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise _storage_error("Cannot list a folder", folder, folder, error) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def digest(self, path: str) -> bytes:
        """Return the digest of what is at `path`, read now.

        Raises
        ------
        StorageError
            It is missing or cannot be read; the original OSError is the cause.
        """
        try:
            return _look(path).digest
        except OSError as error:
            hint = "Run its task first." if error.errno == errno.ENOENT else "Check who may read it."
            raise _storage_error("Cannot read a file", path, os.path.dirname(path), error, hint) from error

    def ensure_folder(self, folder: str) -> None:
        """Make `folder` and the folders above it if they are missing."""
        try:
            _make_folders(folder)
        except OSError as error:
            raise _storage_error("Cannot make a folder", folder, folder, error) from error

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        """Make the file at `path` appear whole, or not at all.

        Parameters
        ----------
        path : str
            The final name. What is there is replaced at the end; until then readers see it unchanged. A
            link is replaced by the file, what it points to stays as it is.
        fill : callable
            Is given a temporary path in the same folder and writes a file or a folder there. If the folder around it
            is missing it must raise FileNotFoundError; that one is then made and `fill` called once more. (Looking
            first would cost every write a system call to spare the first one a retry.)

        Returns
        -------
        Written
            The digest is of what is read back, which costs 0.1 seconds per GB: it was just written, hence in memory.

        Raises
        ------
        StorageError
            The disk said no; the original OSError is the cause. What else `fill` raises comes through
            as it is. In both cases the temporary file is gone and `path` is as it was.

        Notes
        -----
        The rename is atomic for readers and for a killed process. Nothing is forced to the disk (fsync costs
        milliseconds), so after a power cut the newest files can be missing or empty; unless ``settings.durable``.
        """
        return _write(path, fill, _filled)

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        """Make the file at `path` appear whole, or not at all; as `write`, for content that comes in one stream.

        Parameters
        ----------
        path : str
            The final name.
        put : callable
            Is given an open temporary file (``interfaces.Sink``) and writes to it; called once. The digest is taken
            of what passes, so nothing is read back.
        """
        return _write(path, put, _streamed)

    def together(self) -> _Together:
        """Return a ``with`` block for several files: ``with files.together() as group: group.write(...) ...``.

        All are written before the first gets its final name, which happens at the end of the block, in order. If the
        block raises, none gets it.
        """
        return _Together()

    def remove(self, path: str) -> bool:
        """Remove the file at `path`; return whether there was one. A link goes, what it points to stays.

        Raises
        ------
        StorageError
            The disk said no, or `path` is a folder: a folder is never removed with all it holds.
        """
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _storage_error("Cannot remove a file", path, os.path.dirname(path), error) from error
        return True

    def sweep(self, folder: str) -> int:
        """Remove what processes of this host that no longer run have left in `folder`; return how many there were.

        Files of processes that run, of other hosts and from before the last boot stay: their owner may be at work.
        """
        try:
            names = [name for name in os.listdir(folder) if name.startswith(TEMPORARY_PREFIX)]
        except OSError:
            return 0
        orphans = [name for name in names if (owner := temporary_owner(name)) is not None and _is_dead(*owner)]
        for name in orphans:
            _discard(os.path.join(folder, name))
        return len(orphans)


LOCAL = LocalFiles()
"""The one instance that everybody uses."""


class _Together:
    """The block that `LocalFiles.together` returns."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str, str]] = []

    def __enter__(self) -> _Together:
        return self

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        return self._wait(path, fill, _filled)

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        return self._wait(path, put, _streamed)

    def _wait(self, path: str, content: Callable[[Any], None], method: _Method) -> Written:
        temporary, path, folder = place = _place(path)
        try:
            written = method(temporary, folder, content)
        except BaseException as error:
            _give_up(place, error)
            raise
        self._waiting.append(place)
        return written

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = 0
        try:
            if kind is None:
                for place in self._waiting:
                    if done:
                        fail_point("save.between")
                    try:
                        _rename(*place)
                    except BaseException as refused:
                        _give_up(place, refused)
                        raise
                    done += 1
        finally:
            for temporary, *_ in self._waiting[done:]:
                _discard(temporary)


class _Stream:
    """A new file without a buffer: picklers hand over frames of 64 kB, and large arrays as they are.

    ``open()`` asks the system three things that are known here; of a small file's cost that is a tenth.
    """

    __slots__ = ("content", "descriptor", "name")

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.content: Any = None
        self.name = name

    def write(self, data: Any) -> int:
        written = os.write(self.descriptor, data)
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if written != size:  # the system takes at most 2 GB at a time
            rest = memoryview(data).cast("B")[written:]
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        if self.content is None:
            self.content = xxh3_128(data)
        else:
            self.content.update(data)
        return size

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


# -- writing, step by step ---------------------------------------------------------------------------------
#
# A place is (temporary path, final path, folder of both as a prefix of them).

_Method = Callable[[str, str, Callable[[Any], None]], Written]


def _write(path: str, content: Callable[[Any], None], method: _Method) -> Written:
    temporary, path, folder = place = _place(path)
    try:
        written = method(temporary, folder, content)
        _rename(temporary, path, folder)
    except BaseException as error:
        _give_up(place, error)
        raise
    return written


def _place(path: str) -> tuple[str, str, str]:
    if os.altsep:
        path = path.replace(os.altsep, os.sep)
    cut = path.rfind(os.sep) + 1
    folder = path[:cut]
    return folder + temporary_name(path[cut:]), path, folder


def _filled(temporary: str, folder: str, fill: Callable[[str], None]) -> Written:
    fail_point("write.opened")
    try:
        fill(temporary)
    except FileNotFoundError:
        if not _made(folder):
            raise
        fill(temporary)
    written = _look(temporary, durable=settings.durable)
    fail_point("write.filled")
    return written


def _streamed(temporary: str, folder: str, put: Callable[[Any], None]) -> Written:
    try:
        descriptor = os.open(temporary, _WRITE, 0o666)
    except FileNotFoundError:
        if not _made(folder):
            raise
        descriptor = os.open(temporary, _WRITE, 0o666)
    stream = _Stream(descriptor, temporary)
    try:
        fail_point("write.opened")
        put(stream)
        if settings.durable:
            os.fsync(descriptor)
        facts = os.fstat(descriptor)
    finally:
        stream.descriptor = -1  # whoever keeps the stream must not write into the next file of that number
        os.close(descriptor)
    fail_point("write.filled")
    return Written(facts.st_size, facts.st_mtime_ns, (stream.content or xxh3_128()).digest())


def _made(folder: str) -> bool:
    """Make `folder`; return False if it was there."""
    if not folder or os.path.isdir(folder):
        return False
    _make_folders(folder)
    return True


def _rename(temporary: str, path: str, folder: str) -> None:
    try:
        os.replace(temporary, path)
    except OSError:
        if not os.path.isdir(temporary) or os.path.islink(path) or not os.path.isdir(path):
            raise
        _swap_folder(temporary, path)
    fail_point("write.renamed")
    if settings.durable:
        _force_folder(folder or ".")


def _give_up(place: tuple[str, str, str], error: BaseException) -> None:
    """Clean up after a failed write; say what happened if it was the system that refused."""
    temporary, path, folder = place
    _discard(temporary)
    if isinstance(error, OSError):
        raise _storage_error("Cannot write a file", path, folder, error) from error


def _make_folders(folder: str) -> None:
    if not settings.durable:
        os.makedirs(folder, exist_ok=True)
        return
    above = os.path.abspath(folder)
    missing = []
    while not os.path.isdir(above):
        above, last = os.path.dirname(above), above
        if above == last:
            break
        missing.append(above)
    os.makedirs(folder, exist_ok=True)
    for parent in missing:
        _force_folder(parent)


def _force_folder(folder: str) -> None:
    """Force the names in `folder` to the disk, where the system has a way to."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, _READ)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


# -- what is there -----------------------------------------------------------------------------------------

_SUBFOLDER = (-2, 0)


def _stats_of(entries: Iterable[os.DirEntry[str]]) -> dict[str, tuple[int, int]]:
    found = {}
    for entry in entries:
        try:
            if entry.is_dir():
                found[entry.name] = _SUBFOLDER
            else:
                facts = entry.stat()
                found[entry.name] = facts.st_size, facts.st_mtime_ns
        except OSError:  # a link to nothing, or gone meanwhile
            continue
    return found


def _look(path: str, durable: bool = False) -> Written:
    """Read the file or folder at `path`; with `durable`, force it to the disk."""
    try:
        descriptor = os.open(path, _READ)
    except PermissionError:  # what Windows says of folders
        if not os.path.isdir(path):
            raise
        return _look_at_folder(path, durable)
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            return _look_at_folder(path, durable)
        content, most = xxh3_128(), min(facts.st_size + 1, _CHUNK)
        while chunk := os.read(descriptor, most):
            content.update(chunk)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Written(facts.st_size, facts.st_mtime_ns, content.digest())


def _look_at_folder(folder: str, durable: bool) -> Written:
    """Read a folder with all that it holds: names, what they stand for, and the content of files."""
    content = xxh3_128()
    size = newest = 0
    for name, path, facts in sorted(_inside(folder)):
        tag, of_file = _TAGS.get(stat.S_IFMT(facts.st_mode), b"?"), b""
        if tag == b"f":
            size += facts.st_size
            of_file = _look(path, durable).digest
        elif tag == b"l":
            of_file = xxh3_128(os.fsencode(os.readlink(path))).digest()
        elif tag == b"d" and durable:
            _force_folder(path)
        newest = max(newest, facts.st_mtime_ns)
        encoded = os.fsencode(name)
        content.update(b"%b%d:%b%b" % (tag, len(encoded), encoded, of_file))
    return Written(size, newest, content.digest())


def _folder_stat(folder: str) -> tuple[int, int]:
    found = [facts for _, _, facts in _inside(folder)]
    return (
        sum(facts.st_size for facts in found if stat.S_ISREG(facts.st_mode)),
        max(facts.st_mtime_ns for facts in found),
    )


_TAGS = {stat.S_IFREG: b"f", stat.S_IFDIR: b"d", stat.S_IFLNK: b"l"}


def _inside(folder: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield (name relative to `folder`, path, facts) of `folder` and all that is in it.

    Links are followed to files, not to folders, which could lead round in a circle. What vanishes meanwhile is not
    there.
    """
    yield "", folder, os.stat(folder)
    todo = [("", folder)]
    while todo:
        prefix, inner = todo.pop()
        with suppress(FileNotFoundError), os.scandir(inner) as entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=entry.is_symlink() and entry.is_file())
                except FileNotFoundError:
                    continue
                name = prefix + entry.name
                yield name, entry.path, facts
                if stat.S_ISDIR(facts.st_mode):
                    todo.append((name + "/", entry.path))


# -- names and leftovers -----------------------------------------------------------------------------------


def temporary_name(name: str) -> str:
    """Return a temporary file name for something that will be called `name`.

    Returns
    -------
    str
        At most 60 bytes, different at every call, in every process and on every host, and with the suffix
        of `name` (both parts of ``.csv.gz``). A suffix longer than 24 bytes is left out.
    """
    dot = name.rfind(".")
    suffix = name[dot:] if dot > 0 else ""
    if suffix in _COMPRESSIONS:
        inner = name.rfind(".", 1, dot)
        if inner > 0 and len(name) - inner <= _LONGEST_SUFFIX:
            suffix = name[inner:]
    if len(suffix) > _LONGEST_SUFFIX or not suffix.isascii():
        suffix = ""
    return f"{TEMPORARY_PREFIX}{host_tag()}-{os.getpid()}-{next(_numbers)}{suffix}"


def temporary_owner(name: str) -> tuple[str, int] | None:
    """Return host tag and process id of whoever made a temporary file; None for any other file name.

    A process of this host (`host_tag`) that no longer runs has left its file behind. Of another host's
    processes nothing can be known from here.
    """
    match = _TEMPORARY.match(name)
    return (match[1], int(match[2])) if match else None


@lru_cache(maxsize=1)
def host_tag() -> str:
    """Return eight characters that stand for this boot of this host and this space of process ids.

    The host name alone is not enough: containers share images, host names and process id 1. After a reboot
    the tag is a new one; leftovers from before look foreign, which errs on the side of keeping them.
    """
    facts = [platform.node()]
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            facts.append(boot.read())
        facts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass  # not Linux: the host name has to do
    return f"{zlib.crc32('|'.join(facts).encode()):08x}"


def _is_dead(host: str, pid: int) -> bool:
    if host != host_tag() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's process
        return False
    return False


def _swap_folder(temporary: str, path: str) -> None:
    """Put a folder in the place of another; for an instant there is none.

    No call that Python offers exchanges two folders. If the second rename fails the old one comes back.
    """
    aside = os.path.join(os.path.dirname(path), temporary_name(os.path.basename(path)))
    os.rename(path, aside)
    fail_point("write.aside")
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _discard(temporary: str) -> None:
    """Remove what a failed write left; never hide the failure itself behind another one."""
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)


_HINTS = {
    errno.ENOSPC: "Free some space there, or choose another data folder with d6tpipe.set_dir().",
    errno.EDQUOT: "Your quota there is used up: remove something, or use another folder: d6tpipe.set_dir().",
    errno.EACCES: "Check who may write there, or choose another data folder with d6tpipe.set_dir().",
    errno.EPERM: "Check who may write there, or choose another data folder with d6tpipe.set_dir().",
    errno.EROFS: "It is mounted read-only: choose another data folder with d6tpipe.set_dir().",
    errno.ENAMETOOLONG: "Give the output or the task a shorter name, or choose a folder with a shorter path.",
    errno.EISDIR: "There is a folder of that name: move it away or remove it yourself.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: move it away, or choose another path.",
}


def _storage_error(headline: str, path: str, folder: str, error: OSError, hint: str = "") -> StorageError:
    facts = {"path": path, "folder": os.path.abspath(folder or "."), "reason": error.strerror or str(error)}
    culprit = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
    if culprit and culprit != path and temporary_owner(os.path.basename(culprit)) is None:
        facts["about"] = culprit
    if error.errno == errno.ENOENT and culprit and temporary_owner(os.path.basename(culprit)):
        facts["reason"] = "nothing was written under the temporary name that the writer was given"
        hint = "The function that writes the file must write exactly to the path it is given."
    elif not hint:
        hint = _HINTS.get(error.errno or 0, "See the original error above for what the system said.")
        # Linux answers EISDIR, macOS EPERM when asked to unlink a folder.
        if error.errno == errno.EPERM and os.path.isdir(path):
            hint = _HINTS[errno.EISDIR]
    return StorageError(headline, facts=facts, hint=hint)
