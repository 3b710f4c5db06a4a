"""Files on the local disk, or on anything that is mounted like one.

A file gets its final name in one step, when it is whole: readers see the old content or the new, never a
part. Until then it has a temporary name in the same folder (a rename does not cross file systems)::

    .tmp-<host>-<pid>-<number>.<suffix>         .tmp-5f0c2a91-20771-12.csv.gz

The suffix is the final one because pandas, numpy and others choose by it how to write. Host and process tell
a later sweep whether the owner of a leftover is dead; see `temporary_owner`.
"""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import shutil
import zlib
from collections.abc import Callable
from functools import lru_cache

from d6tpipe.errors import StorageError

__all__ = ["LOCAL", "LocalFiles", "host_tag", "temporary_name", "temporary_owner"]

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

    def ensure_folder(self, folder: str) -> None:
        """Make `folder` and the folders above it if they are missing."""
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise _storage_error("Cannot make a folder", folder, folder, error) from error

    def write(self, path: str, fill: Callable[[str], None]) -> None:
        """Make the file at `path` appear whole, or not at all.

        Parameters
        ----------
        path : str
            The final name. What is there is replaced at the end; until then readers see it unchanged. A
            link is replaced by the file, what it points to stays as it is.
        fill : callable
            Is given a temporary path in the same folder and writes there. If the folder is missing it must
            raise FileNotFoundError; the folder is then made and `fill` called once more. (Looking first
            would cost every write a system call to spare the first one a retry.)

        Raises
        ------
        StorageError
            The disk said no; the original OSError is the cause. What else `fill` raises comes through
            as it is. In both cases the temporary file is gone and `path` is as it was.

        Notes
        -----
        The rename is atomic for readers and for a killed process. Nothing is forced to the disk (fsync costs
        milliseconds), so after a power cut the newest files can be missing or empty.
        """
        if os.altsep:
            path = path.replace(os.altsep, os.sep)
        cut = path.rfind(os.sep) + 1
        temporary = path[:cut] + temporary_name(path[cut:])
        try:
            try:
                fill(temporary)
            except FileNotFoundError:
                folder = path[:cut]
                if not folder or os.path.isdir(folder):
                    raise
                os.makedirs(folder, exist_ok=True)
                fill(temporary)
            try:
                os.replace(temporary, path)
            except OSError:
                if not os.path.isdir(temporary) or os.path.islink(path) or not os.path.isdir(path):
                    raise
                _swap_folder(temporary, path)
        except BaseException as error:
            _discard(temporary)
            if isinstance(error, OSError):
                raise _storage_error("Cannot write a file", path, path[:cut], error) from error
            raise

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


def _storage_error(headline: str, path: str, folder: str, error: OSError) -> StorageError:
    facts = {"path": path, "folder": os.path.abspath(folder or "."), "reason": error.strerror or str(error)}
    culprit = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
    if culprit and culprit != path and temporary_owner(os.path.basename(culprit)) is None:
        facts["about"] = culprit
    if error.errno == errno.ENOENT and culprit and temporary_owner(os.path.basename(culprit)):
        facts["reason"] = "nothing was written under the temporary name that the writer was given"
        hint = "The function that writes the file must write exactly to the path it is given."
    else:
        hint = _HINTS.get(error.errno or 0, "See the original error above for what the system said.")
        # Linux answers EISDIR, macOS EPERM when asked to unlink a folder.
        if error.errno == errno.EPERM and os.path.isdir(path):
            hint = _HINTS[errno.EISDIR]
    return StorageError(headline, facts=facts, hint=hint)
