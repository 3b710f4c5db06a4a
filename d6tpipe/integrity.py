"""Is a file still what was recorded? Asked before something is read that could run code: a pickle.

Who can write into a data folder can make whoever loads a pickle run anything; and half a pickle after a power cut may
load as
nonsense. So the digest is compared first. This does not protect from somebody who changes the records as well.
"""

from __future__ import annotations

import os
from typing import Any

from d6tpipe import plugins, settings
from d6tpipe.errors import StorageError, shown, warn
from d6tpipe.examiner import record_of, store_of

__all__ = ["interrupted", "note_written", "verify"]

_MOST = 50_000  # paths remembered, about 200 bytes each

_sound: dict[str, tuple[int, int]] = {}
"""Absolute path to size and time of files that this process has written or found to be as recorded."""


def note_written(path: str, facts: tuple[int, int]) -> None:
    """Remember that this process has written a file, or found it sound."""
    if len(_sound) >= _MOST:
        _sound.clear()
    _sound[path] = facts


def verify(task: Any, path: str) -> None:
    """Raise if a file of a task is not what was recorded when it was built; what has no record is let pass.

    Parameters
    ----------
    task : TaskData
    path : str
        Of one of its outputs.

    Raises
    ------
    StorageError
        The content differs from the record although size and time do not: nobody has written the file since, so it is
        damaged, or somebody hides a change. With ``settings.verify = "hash"`` whenever the content differs. Nothing was
        loaded.

    Warns
    -----
    UserWarning
        The file was written since. (Such an output is stale, reason ``output_modified``, and used as it is.)

    Notes
    -----
    Once per file and process: one look at the records, and reading the file. After that one stat.
    """
    path = os.path.abspath(path)
    files = plugins.load("files", "local")
    facts = files.stat(path)
    if facts is None or _sound.get(path) == facts:
        return
    store = store_of(task)
    record = record_of(task)
    if record is not None and record.stage == "finished" and not record.observed:
        for output in record.outputs:
            if output.digest and store.absolute(output.path) == path and output.digest != files.digest(path):
                _differs(task, path, facts == (output.size, output.mtime_ns), record.run_id)
    note_written(path, facts)


def interrupted(task: Any) -> bool:
    """Return whether the last attempt to build a task did not come to its end: its outputs may be of two attempts."""
    if settings.stale == "ignore":  # records do not count, and no run would mend it
        return False
    record = record_of(task)
    return record is not None and record.stage in ("building", "saved")


def _differs(task: Any, path: str, hidden: bool, run_id: str) -> None:
    advice = (
        "If you have changed it yourself: d6tpipe.accept(task). "
        "If not, build it again: task.reset(confirm=False), then run."
    )
    if not hidden and settings.verify != "hash":
        warn(f"{path} of {shown(task)} was modified since it was built; loading a pickle can run any code. {advice}")
        return
    raise StorageError(
        "A pickle is not what was recorded when it was built, so it is not loaded: loading one can run any code",
        task=task,
        facts={
            "file": path,
            "size and time": "as recorded" if hidden else "changed",
            "built by run": run_id or "unknown",
        },
        hint=advice,
    )
