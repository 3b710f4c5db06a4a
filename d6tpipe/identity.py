"""Names made from values: task ids, file names, labels, and the nearest name for a misspelt one."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from hashlib import md5

__all__ = ["FILE_NAME_BYTES", "UNSAFE", "file_name", "label", "nearest", "shown_id", "task_id_text"]

FILE_NAME_BYTES = 255
"""The longest file name that the usual file systems take."""

_HASH_CHARACTERS = 10
UNSAFE = re.compile(r"[^A-Za-z0-9_]")
"""What the readable part of a task id does not keep: it becomes ``_``."""


def task_id_text(
    family: str,
    texts: Mapping[str, str],
    nparams: int = 20,
    length: int = 64,
    readable: Mapping[str, str] | None = None,
) -> str:
    """Return the id of a task: family, readable values, short digest.

    Parameters
    ----------
    family : str
        Task family.
    texts : mapping of str to str
        Parameter name to serialised value, significant parameters only.
    nparams, length : int
        How many values (in the order of the names) go into the readable part, and how many characters of each.
    readable : mapping of str to str, optional
        What stands for some of the values in the readable part.

    Returns
    -------
    str
        ``family_value_value_0123456789``.

    Source
    ------
    luigi's ``task_id_str`` with the limits that d6tflow sets (20 and 64), so that data folders written by
    d6tflow stay valid; stored examples in the tests hold this in place.
    """
    names = sorted(texts)
    pairs = json.dumps(dict(texts), separators=(",", ":"), sort_keys=True)
    digest = md5(pairs.encode(), usedforsecurity=False).hexdigest()[:_HASH_CHARACTERS]
    words = {**texts, **(readable or {})}
    summary = UNSAFE.sub("_", "_".join([words[name][:length] for name in names[:nparams]]))
    return f"{family}_{summary}_{digest}"


def file_name(task_id: str, key: str, extension: str) -> str:
    """Return the file name of one output.

    Returns
    -------
    str
        ``<task_id>-<key>.<extension>``. If that is longer than a file name may be, the readable part of the
        id is cut and a longer digest of the whole id (32 characters) takes the place of the short one.
    """
    name = f"{task_id}-{key}.{extension}"
    if len(name) <= FILE_NAME_BYTES and (name.isascii() or len(name.encode()) <= FILE_NAME_BYTES):
        return name
    digest = md5(task_id.encode(), usedforsecurity=False).hexdigest()
    tail = f"_{digest}-{key}.{extension}"
    room = FILE_NAME_BYTES - len(tail.encode())
    return task_id.encode()[:room].decode(errors="ignore") + tail


def label(task: object) -> str:
    """Return a task with its module: ``module.Class[id]`` if a sweep has given it an id, else with its parameters."""
    cls = type(task)
    module = "" if cls.__module__ == "__main__" else f"{cls.__module__}."
    name = shown_id(task)
    return f"{module}{cls.__qualname__}[{name}]" if name is not None else f"{module}{task!r}"


def shown_id(task: object) -> str | None:
    """Return the id that a sweep has given a task, the last one of several; None outside of sweeps."""
    ids = task.__dict__.get("_ids")
    return str(ids[-1]) if ids else None


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` was most likely meant to be, or None if none is near."""
    candidates = list(names)
    lowered = {candidate.lower(): candidate for candidate in reversed(candidates)}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None
