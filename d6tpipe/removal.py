"""Deleting recorded outputs: which may go, why others have to stay, and doing it.

What has no record is never touched. Of what has one these stay: what was only looked at (external data, outputs from
before there were records), what lies outside the data folder, links, folders, what another task uses, what is being
built now; and, unless everything is to go, what somebody has changed since it was recorded. With the outputs of a task
goes the folder that its bodies have as ``self.job.dir``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from d6tpipe import cache, plugins
from d6tpipe.definitions import definition
from d6tpipe.errors import StorageError, shown
from d6tpipe.examiner import outputs_of, record_of
from d6tpipe.failpoints import fail_point
from d6tpipe.holds import batches, held, holder, who
from d6tpipe.origins import IMPOSSIBLE, UNKNOWN, Origins
from d6tpipe.records import OutputRecord, Record
from d6tpipe.stores import Store, store_at
from d6tpipe.tasklogs import discard
from d6tpipe.tasks.older_places import all_ids
from d6tpipe.tasks.outputs import job_folder_name

__all__ = [
    "JOB", "Candidate", "Removal", "everything", "impossible", "in_bytes", "is_no_file", "remove_outputs", "unneeded",
]  # fmt: skip

JOB = "files of its bodies"


class Candidate:
    """One output that might go; or, with an empty path, the record of a task that has no outputs left.

    Or the folder of the bodies of a task that goes.

    Attributes
    ----------
    task : str
        Task id.
    path : str
        Absolute.
    size : int, bytes
    goes : bool
    is_job : bool
        It is the folder of the bodies.
    why : str
        Why it goes, or why it stays.
    """

    __slots__ = ("goes", "is_job", "path", "size", "task", "why")

    def __init__(self, task: str, path: str, goes: bool, why: str, is_job: bool = False) -> None:
        self.task, self.path, self.goes, self.why, self.is_job = task, path, goes, why, is_job
        found = plugins.load("files", "local").stat(path) if path else None
        self.size: int = 0 if found is None else found[0]


class Removal:
    """What is to be deleted from a data folder.

    Parameters
    ----------
    store : Store
    edited : bool
        Also what was changed after it was recorded.
    taken : mapping of str to str
        Absolute paths that have to stay, to who uses them.

    Attributes
    ----------
    candidates : list of Candidate
        In the order they were recorded.
    """

    def __init__(self, store: Store, edited: bool = False, taken: Mapping[str, str] | None = None) -> None:
        self.store, self.edited = store, edited
        self.candidates: list[Candidate] = []
        self._taken = dict(taken or {})
        self._going: dict[str, tuple[Record, list[Candidate]]] = {}
        self._root = os.path.realpath(store.root)

    @property
    def going(self) -> list[Candidate]:
        """What is to be deleted; after `carry_out`, what was."""
        return [one for one in self.candidates if one.goes]

    @property
    def staying(self) -> list[Candidate]:
        """What has to stay though nobody needs it, as far as is known."""
        return [one for one in self.candidates if not one.goes]

    def consider(self, records: Iterable[tuple[Record, str]]) -> None:
        """Have the outputs of tasks deleted: all of a task, or none if one of them has to stay."""
        wanted = [(record, why, self._busy(record) or self._stays(record)) for record, why in records]
        for record, _, stays in wanted:
            if stays:
                self._taken.update(dict.fromkeys(self._existing(record), record.task_id))
        for record, why, stays in wanted:
            stays = stays or self._stays(record)
            outputs = self._existing(record)
            members = []
            for path in dict.fromkeys([*outputs, *stays]):
                reason = stays.get(path) or (f"stays with {os.path.basename(next(iter(stays)))}" if stays else "")
                reason = reason or why or _changed(path, outputs[path])
                members.append(Candidate(record.task_id, path, not stays, reason))
            if not stays:
                members += [Candidate(record.task_id, path, True, JOB, True) for path in self._job_folders(record)]
                members = members or [Candidate(record.task_id, "", True, why)]
                self._going[record.task_id] = record, members
            self.candidates += members

    def keep(self, record: Record, why: str = "") -> None:
        """Keep the outputs of a task; with a reason if it is not known whether anybody needs them."""
        for path in self._existing(record):
            self._taken.setdefault(path, record.task_id)
            if why:
                self.candidates.append(Candidate(record.task_id, path, False, why))

    def carry_out(self) -> None:
        """Delete files and records; what cannot be deleted any more by now stays.

        Raises
        ------
        StorageError
            The disk said no; what was deleted before stays deleted.

        Notes
        -----
        First the files of a task, then its record: whenever it is interrupted, a record without an output is all
        that can be left, which is a task that is not built.
        """
        store, files = self.store, plugins.load("files", "local")
        try:
            for batch in batches(list(self._going)):
                with held(store, batch) as others:
                    done = []
                    for task_id in batch:
                        record, members = self._going[task_id]
                        reason = f"{who(others[task_id])} is building it" if task_id in others else ""
                        if not reason and (store.records.get(task_id) != record or self._stays(record)):
                            reason = "has changed in the meantime"
                        for one in members:
                            if reason:
                                one.goes, one.why = False, reason
                            elif one.is_job:
                                _remove_folder(one.path)
                            elif one.path:
                                files.remove(one.path)
                        if not reason:
                            done.append(task_id)
                        fail_point("removal.files")
                    discard(store, [(self._going[task_id][0].family, task_id) for task_id in done])
                    store.records.forget(done)
        finally:
            self._going.clear()
            store.records.close()

    def lines(self, verb: str, most: int = 20) -> list[str]:
        """Return a line for each candidate, what goes before what stays, for printing."""
        found = []
        for members, word in ((self.going, verb), (self.staying, "keep")):
            for one in members[:most]:
                what = _shown(one.path) if one.path else f"the record of {one.task} alone"
                found.append(f"{word}  {what}{f'  ({one.why})' if one.why else ''}")
            if len(members) > most:
                found.append(f"... and {len(members) - most} more")
        return found

    def amount(self) -> str:
        """Return how much goes, in words."""
        files = [one for one in self.going if one.path and not one.is_job]
        tasks = len({one.task for one in self.going})
        size = in_bytes(sum([one.size for one in self.going]))
        outputs = f"{len(files)} output{'s' * (len(files) != 1)} ({size})"
        return f"{outputs} of {tasks} task{'s' * (tasks != 1)}"

    def _existing(self, record: Record) -> dict[str, OutputRecord]:
        """Return the outputs of a record that are files, or folders, and there; by absolute path."""
        found = {}
        for output in record.outputs:
            if output.path and not is_no_file(record, output):
                path = os.path.normpath(self.store.absolute(output.path))
                if os.path.lexists(path):
                    found[path] = output
        return found

    def _job_folders(self, record: Record) -> list[str]:
        """Return the folder of the bodies of a task, beside its outputs, if there is one."""
        places = {os.path.dirname(self.store.absolute(one.path)) for one in record.outputs if one.path}
        found = [os.path.join(place, job_folder_name(record.task_id)) for place in sorted(places)]
        return [
            path
            for path in found
            if os.path.isdir(path) and not os.path.islink(path)
            and os.path.realpath(path).startswith(self._root + os.sep)
        ]  # fmt: skip

    def _busy(self, record: Record) -> dict[str, str]:
        pid = holder(self.store, record.task_id)
        return {} if pid is None else dict.fromkeys(self._existing(record) or [""], f"{who(pid)} is building it")

    def _stays(self, record: Record) -> dict[str, str]:
        """Return the outputs of a record that may not be deleted, and why."""
        outputs = self._existing(record)
        if record.observed:
            return dict.fromkeys(outputs or [""], "was not made here, only read")
        stays = {output.path: "is not a file" for output in record.outputs if is_no_file(record, output)}
        for path, output in outputs.items():
            obstacle = self._obstacle(path, output)
            if obstacle:
                stays[path] = obstacle
        return stays

    def _obstacle(self, path: str, output: OutputRecord) -> str:
        folder = os.path.realpath(os.path.dirname(path))
        if folder != self._root and not folder.startswith(self._root + os.sep):
            return "lies outside the data folder"
        if os.path.islink(path):
            return "is a link, which no task makes"
        if os.path.isdir(path):
            return "is a folder: remove it yourself"
        if path in self._taken:
            return f"is an output of {self._taken[path]}, too"
        if self.edited:
            return ""
        if output.size < 0:
            return "is left of a failed attempt: nothing is known of what it holds"
        return _changed(path, output)


def remove_outputs(store: Store, record: Record) -> bool:
    """Delete the outputs of a task and keep its record; all of them, or none if one has to stay.

    The caller holds the task.

    Returns
    -------
    bool
        Whether they are gone. What has to stay is what `Removal` leaves alone, too.

    Raises
    ------
    StorageError
        The disk said no; what was deleted before stays deleted.
    """
    held_in_memory = [output.path for output in record.outputs if output.format == "cache"]
    on_disk = replace(record, outputs=[output for output in record.outputs if output.format != "cache"])
    removal = Removal(store)
    if on_disk.outputs and removal._stays(on_disk):
        return False
    for path in removal._existing(on_disk):
        plugins.load("files", "local").remove(path)
        fail_point("removal.output")
    for path in held_in_memory:
        cache.data.pop(path, None)
    return True


def _remove_folder(path: str) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:  # somebody else has
        pass
    except OSError as error:
        raise StorageError(
            "The folder of the bodies of a task cannot be deleted",
            facts={"path": path, "reason": error.strerror or error},
            hint="Check who may write there, and say it again: what was deleted stays deleted.",
        ) from error


def _says_what_was_asked_for(record: Record | None) -> bool:
    """Return whether it is recorded for what tasks a body has asked, to its end."""
    if record is None or record.stage != "finished" or record.observed:
        return False
    return bool(record.dynamic_inputs) or not record.accepted


def is_no_file(record: Record, output: OutputRecord) -> bool:
    """Return whether an output is something else: a table, an object in a bucket, a value in memory."""
    return output.format == "cache" or "://" in output.path or (record.stage == "finished" and output.size < 0)


def _changed(path: str, output: OutputRecord) -> str:
    """Return what there is to say of a file that is not as it is recorded; empty if it is."""
    if plugins.load("files", "local").stat(path) == (output.size, output.mtime_ns):
        return ""
    return "has been changed since it was recorded"


def in_bytes(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _shown(path: str) -> str:
    """Return a path as one would type it here."""
    try:
        short = os.path.relpath(path)
    except (OSError, ValueError):  # no working folder, another drive
        return path
    return path if short.startswith(os.pardir + os.sep) else short


# ---- which


def everything(root: str) -> Removal:
    """Return all recorded outputs of a data folder, for deletion."""
    found = Removal(store_at(root), edited=True)
    found.consider([(record, "") for record in found.store.records.all()])
    return found


def impossible(root: str) -> Removal:
    """Return the outputs of a data folder that no class can make any more; see `origins`."""
    found = Removal(store_at(root))
    records = list(found.store.records.all())
    origins = Origins([record for record in records if not record.observed])
    doomed = []
    for record in records:
        verdict, why = ("", "") if record.observed else origins.of(record)
        if verdict == IMPOSSIBLE:
            doomed.append((record, why))
        else:
            found.keep(record, why if verdict == UNKNOWN else "")
    found.consider(doomed)
    return found


def unneeded(root: str, tasks: Iterable[Any]) -> Removal:
    """Return the outputs of a data folder that are neither of `tasks` nor of what these have asked for in ``run``."""
    store = store_at(root)
    records = {record.task_id: record for record in store.records.all()}
    known: set[str] = set()
    taken: dict[str, str] = {}
    asked: list[str] = []
    open_end = ""
    for task in tasks:
        known.add(task.task_id)
        known.update([task_id for _, task_id in all_ids(task)])
        taken.update({os.path.normpath(output.path): shown(task) for output in outputs_of(task)})
        if definition(type(task)).dynamic:
            record = record_of(task)
            asked += [need.task_id for need in record.dynamic_inputs] if record is not None else []
            if not _says_what_was_asked_for(record):
                open_end = shown(task)
    while asked:
        task_id = asked.pop()
        if task_id not in known:
            known.add(task_id)
            if task_id in records:
                asked += [need.task_id for need in (*records[task_id].inputs, *records[task_id].dynamic_inputs)]
    found = Removal(store, taken=taken)
    doomed = []
    for record in records.values():
        if record.task_id in known:
            found.keep(record)
        elif open_end and not record.observed:
            found.keep(record, f"{open_end} may need it: what that asks for in run() is not known")
        else:
            doomed.append((record, "none of these flows makes it"))
    found.consider(doomed)
    return found
