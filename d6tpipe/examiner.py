"""A close look at tasks: what their classes say, what lies on the disk, what is recorded, and how these differ.

The engine compares seals; here is what it asks when a seal does not match, or when something upstream has no record.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any

import luigi
from luigi.task import flatten
from luigi.task_register import Register

from d6tpipe import cache, plugins, settings
from d6tpipe.binding import binding_for, bound
from d6tpipe.constructor import blueprint
from d6tpipe.definitions import Definition, definition, held_classes, may_hold, same_module
from d6tpipe.engine.differences import CLASS_KINDS, Present, differences, of_outputs
from d6tpipe.engine.freshness import expected_seal, holds, joined_digest
from d6tpipe.fingerprint.source import same_source
from d6tpipe.former_names import any_known, former_names, successors
from d6tpipe.interfaces import Finding, Reason, ReasonKind, Stats
from d6tpipe.machine import boot_id, boot_tag, host_name
from d6tpipe.policy import Policy
from d6tpipe.predecessors import succeeding
from d6tpipe.records import InputRecord, OutputRecord, Record, combined_digest, source_key, stats_text
from d6tpipe.stores import MEMORY, Store, store_at
from d6tpipe.targets import CacheTarget, FormatTarget
from d6tpipe.tasks import TaskAggregator, TaskData
from d6tpipe.tasks.base import Task
from d6tpipe.tasks.external import is_external
from d6tpipe.tasks.older_places import all_ids, filed_under, has_former_name, has_older_name, standing
from d6tpipe.tasks.outputs import layout, locate, root_of
from d6tpipe.values import text

__all__ = [
    "DURABLE", "OBSERVED", "Examiner", "Known", "Shelf", "content_of", "digest_together", "filed_as", "joins",
    "member_then", "outputs_of", "parameters_of", "record_of", "reference", "row_of", "shelf_of", "stat_of",
    "stats_of", "store_of",
]  # fmt: skip

OBSERVED = b"observed"
"""Takes the place of the code in the seal of a record that knows only the bytes."""

DURABLE = "durable"
_DURABLE_TAG = b"durable\0"
_NEVER = b"\0"  # no seal begins like this and has this length: everything gets a close look


class Known:
    """What one run or question knows of a class.

    Attributes
    ----------
    definition : Definition
    mode : str
        "ignore", "warn", "rerun" or "frozen".
    code : bytes
        What seals of its tasks begin with, if nothing has changed.
    holds : bool
        Its tasks may hold configs, whose classes count, too.
    good, bad : list of bytes, dict of bytes to reasons
        What else they may begin with: under which nothing has changed either, or just these things.
    """

    __slots__ = ("bad", "code", "definition", "good", "holds", "mode")

    def __init__(self, found: Definition, mode: str) -> None:
        self.definition, self.mode, self.holds = found, mode, may_hold(found.cls)
        boot, durable = found.code + boot_tag(), found.code + _DURABLE_TAG
        self.code, other = (durable, boot) if settings.durable else (boot, durable)
        self.good = [other]
        self.bad: dict[bytes, tuple[Reason, ...]] = {}

    @property
    def compared(self) -> bytes:
        """What to compare seals with: nothing, where they do not say enough."""
        return _NEVER if self.looks_closer else self.code

    @property
    def looks_closer(self) -> bool:
        return self.definition.expires is not None or settings.verify == "hash"


class Examiner:
    """Looks at tasks on behalf of one run or question; writes nothing.

    Parameters
    ----------
    policy : Policy
    run_id : str
        Whose announcements do not count; empty for a question.

    Attributes
    ----------
    renewed : dict of node to Record
        What still holds but is out of date: other times, another version of Python. For a run to write.
    pruned : set of node
        Complete plain luigi tasks below which nothing was looked at: their inputs are not compared.
    observed : dict of node to list of OutputRecord
        Outputs without a record whose digest was asked for. For a run to write.
    """

    def __init__(self, policy: Policy, run_id: str = "") -> None:
        self.policy, self.run_id = policy, run_id
        self._known: dict[Any, Known] = {}
        self.pruned: set[Any] = set()
        self.quiet: dict[Store, int] = {}  # how much others had written when this looked first
        self.renewed: dict[Any, Record] = {}
        self.observed: dict[Any, list[OutputRecord]] = {}

    def known(self, cls: type) -> Known:
        """Return what is known of a class."""
        found = self._known.get(cls)
        if found is None:
            says = definition(cls)
            found = self._known[cls] = Known(says, self.policy.of_class(says))
            if says.dynamic:  # looked at now, before bodies leave something in the globals that the code uses
                for asked in says.asked:
                    self.known(asked)
        return found

    def known_of(self, task: Any) -> Known:
        """Return what is known of the class of a task, and of those of the configs that it holds."""
        cls = task.__class__
        known = self._known.get(cls) or self.known(cls)
        if not known.holds and "_init" not in task.__dict__:
            return known
        held = held_classes(task)
        if not held:
            return known
        found = self._known.get((cls, held))
        if found is None:
            says = definition(cls, held)
            found = self._known[cls, held] = Known(says, known.mode)
        return found

    def mode(self, task: Any) -> str:
        """Return what staleness means for a task."""
        mode = self.known(task.__class__).mode
        return self.policy.of_task(task, mode) if self.policy.per_task else mode

    # ---- a close look

    def examine(self, node: Any, row: Any, stats: Stats | None) -> Finding:
        """Compare the record of a task with how things are; see `interfaces.TaskView.examine`."""
        known = self.known_of(node.task)
        self.settle_inputs(node)
        if row[0] == "finished" and not known.looks_closer:
            for code in (known.code, *known.good):
                if holds(node, code, row[2], stats):
                    return Finding((), row[1])
            for code, reasons in known.bad.items():
                if holds(node, code, row[2], stats):
                    return Finding(reasons, row[1])
        record = record_of(node.task, self.run_id or None)
        if record is None:
            return Finding((Reason(ReasonKind.UNTRACKED),), None)
        row = (record.stage, record.digest, record.seal)  # another run may have finished it since the first look
        if stats is not None and is_external(node.task):  # made elsewhere, so only what is in it counts
            present = self.present(node, record, stats, known)
            if record.stage == "finished" and not of_outputs(record, present):
                return Finding((), row[1])
            node.present = True
            return Finding((), self.digest_of(node))
        found: list[Reason] = []
        if stats is None:
            found.append(Reason(ReasonKind.MISSING))
        if record.stage == "failed":
            found.append(Reason(ReasonKind.FAILED, after=record.error))
        elif record.stage != "finished":
            found.append(Reason(ReasonKind.INTERRUPTED))
        if stats is None and record.stage == "finished" and known.definition.transient:
            return self._compare(node, row, None, record, known)
        if found:
            return Finding(tuple(found), row[1] or None)
        assert stats is not None
        return self._compare(node, row, stats, record, known)

    def _compare(self, node: Any, row: Any, stats: Stats | None, record: Record, known: Known) -> Finding:
        present, gone = self.present(node, record, stats, known), stats is None
        if stats is None:
            stats = tuple([(output.size, output.mtime_ns) for output in present.outputs])
        if record.observed:
            if not of_outputs(record, present):
                return Finding((Reason(ReasonKind.UNTRACKED),), row[1])
            self.observed[node] = list(present.outputs)
            return Finding((Reason(ReasonKind.UNTRACKED),), _digest(node.task, present.outputs))
        parameters = {} if _is_converted(record, node.task) else _read(record.parameters)
        reasons = tuple(differences(record, present, parameters))
        modified = any(reason.kind is ReasonKind.OUTPUT_MODIFIED for reason in reasons)
        digest = _digest(node.task, present.outputs) if modified and not gone else row[1]
        old_code = record.seal[: len(known.code)] if len(record.seal) != 32 else b""
        alike = bool(old_code) and not known.looks_closer and expected_seal(node, old_code, stats) == row[2]
        if not reasons:
            elsewhere = record.host != host_name()
            if alike and (elsewhere or record.boot_id in (boot_id(), DURABLE)):
                known.good.append(old_code)
            expected = expected_seal(node, known.code, stats)  # None where something has yet to be built
            if expected not in (None, row[2]) and node not in self.pruned and not (alike and elsewhere):
                self.renewed[node] = self.renew(node, record, present, known)
        elif alike and all(reason.kind in CLASS_KINDS for reason in reasons):
            known.bad[old_code] = reasons
        return Finding(reasons, digest)

    def present(self, node: Any, record: Record, stats: Stats | None, known: Known) -> Present:
        """Return how a task is now, to be compared with a record of it; no `stats`: as if its outputs were there."""
        says, task = known.definition, node.task
        outputs = outputs_of(task)
        if stats is None:
            recorded = {output.key: (output.size, output.mtime_ns, output.digest) for output in record.outputs}
            for output in outputs:
                output.size, output.mtime_ns, output.digest = recorded.get(output.key, (-1, 0, b""))
        else:
            for output, (size, mtime_ns) in zip(outputs, stats, strict=True):
                output.size, output.mtime_ns = size, mtime_ns
        inputs = self._as_recorded(self.inputs(node), record, node)
        static = len(inputs) - node.recalled
        dynamic = inputs[static:]
        if not node.recalled and record.dynamic_inputs:
            dynamic = [(self._by_id(old, node), None) for old in record.dynamic_inputs]
        if node in self.pruned:
            inputs, dynamic = (
                [(entry, None) for entry in record.inputs],
                [(entry, None) for entry in record.dynamic_inputs],
            )
            static = len(inputs)
        age = time.time() - record.started - record.seconds
        then = _Then(record, says, task)
        return Present(
            same_module=_same_class(record, says),
            code_fast="" if says.ignore_code else says.code_fast,
            code_stable=lambda: says.code_stable,
            members=lambda: then.members[1],
            members_then=lambda: then.members[0],
            codes_then=lambda: [code.fast for code in then.codes],
            codes_stable_then=lambda: [code.stable for code in then.codes if code.stable],
            version=says.version,
            extras=says.extras,
            defaults=_defaults(task, says),
            inputs=inputs[:static],
            dynamic_inputs=dynamic,
            outputs=outputs,
            look_inside=stats is not None
            and (
                settings.verify == "hash" or (record.host == host_name() and record.boot_id not in (boot_id(), DURABLE))
            ),
            digest=lambda number: content_of(outputs[number]),
            expired=says.expires is not None and age > says.expires.total_seconds(),
            age=f"{timedelta(seconds=round(age))} old",
        )

    def renew(self, node: Any, record: Record, present: Present, known: Known) -> Record:
        """Return `record` brought up to date with how things are now."""
        says, relative = known.definition, store_of(node.task).relative
        outputs = [dataclasses.replace(output, path=relative(output.path)) for output in present.outputs]
        stats = tuple([(output.size, output.mtime_ns) for output in outputs])
        inputs, asked = self.inputs(node), present.dynamic_inputs or ()
        own = record.task_id == node.task.task_id  # else it goes on telling what the task was under a former name
        return dataclasses.replace(
            record,
            code_fast=says.code_fast,
            code_stable=says.code_stable,
            members=says.members,
            version=says.version,
            extras=says.extras,
            python=says.python,
            module=says.module if own else record.module,
            inputs=[entry for entry, _ in inputs[: len(inputs) - node.recalled]],
            dynamic_inputs=[entry for entry, _ in (inputs[-node.recalled :] if node.recalled else asked)],
            parameters=parameters_of(node.task) if own else record.parameters,
            outputs=outputs,
            host=host_name(),
            boot_id=DURABLE if settings.durable else boot_id(),
            seal=expected_seal(node, known.code, stats) or b"",
        )

    def renew_unseen(self, node: Any) -> Record | None:
        """Return the record of a task whose outputs are not there, brought up to date; None if there is none."""
        record = record_of(node.task, self.run_id or None)
        if record is None:
            return None
        known = self.known_of(node.task)
        return self.renew(node, record, self.present(node, record, None, known), known)

    # ---- what a task needs

    def settle_inputs(self, node: Any) -> None:
        """Find the digest of what a node needs and has no record of."""
        for need in node.needs:
            if need.digest is None:
                need.digest = self.digest_of(need)

    def basis(self, node: Any) -> bytes | None:
        """Return what stands for the code of a node's class and for what it needs, as they are now.

        None if something that it needs cannot be told by its content.
        """
        self.settle_inputs(node)
        return expected_seal(node, self.known_of(node.task).code, ())

    def digest_of(self, node: Any) -> bytes | None:
        """Return the digest of what a node's outputs hold now; None if it has yet to be built.

        Cost: reads the files, once in a run; the next run finds the answer in the records.
        """
        if joins(node.task):
            for need in node.needs:
                if need.digest is None:
                    need.digest = self.digest_of(need)
            return digest_together(node)
        if not node.present:
            return None
        outputs = outputs_of(node.task)
        for output in outputs:
            output.size, output.mtime_ns = stat_of(output) or (-1, 0)
        record = record_of(node.task, self.run_id or None)
        if record is not None and record.stage == "finished":
            then = [(output.key, output.size, output.mtime_ns) for output in record.outputs]
            if then == [(output.key, output.size, output.mtime_ns) for output in outputs]:
                return record.digest
        for output in outputs:
            output.digest = content_of(output)
        if record is None or record.observed:
            self.observed[node] = outputs
        return _digest(node.task, outputs)

    def inputs(self, node: Any) -> list[tuple[InputRecord, Any]]:
        """Return what a node needs with the digests of now, in the order of needing."""
        if not node.needs:
            return []
        names = _names(node.requires) if node.names else {}
        found = []
        for number, need in enumerate(node.needs):
            static = number < len(node.needs) - node.recalled
            key = names.get(need.task, "") if static else reference(need.task)
            found.append((InputRecord(key, need.task.task_id, need.digest or b""), need.task))
        return found

    def _as_recorded(
        self, inputs: list[tuple[InputRecord, Any]], record: Record, node: Any
    ) -> list[tuple[InputRecord, Any]]:
        """Return what a node needs, told by former names where a record does so."""
        if not any_known():
            return inputs
        known = {old.task_id for old in (*record.inputs, *record.dynamic_inputs)}
        found = []
        for (entry, task), need in zip(inputs, node.needs, strict=True):
            then = None
            if entry.task_id not in known and has_former_name(task):
                then = next((task_id for _, task_id in all_ids(task) if task_id in known), None)
            found.append((entry if then is None else InputRecord(entry.key, then, self._digest_as(need, then)), task))
        return found

    def _digest_as(self, node: Any, task_id: str) -> bytes:
        """Return the digest that a node would have if it were called by a former id."""
        if node.digest is None:
            return b""
        if joins(node.task):
            return digest_together(node, task_id) or b""
        record = record_of(node.task, self.run_id or None)
        if record is None or record.task_id == task_id or record.digest != node.digest:
            return bytes(node.digest)
        return dataclasses.replace(record, task_id=task_id).digest

    def _by_id(self, old: InputRecord, node: Any) -> InputRecord:
        """Return a former input that could not be made a task again, with what is recorded of it now."""
        store = store_of(node.task)
        record = store.records.get(old.task_id)
        if record is None:
            return InputRecord(old.key, old.task_id, b"no record")
        stat = plugins.load("files", "local").stat
        as_left = store.root == MEMORY or all(
            output.size < 0 or stat(store.absolute(output.path)) == (output.size, output.mtime_ns)
            for output in record.outputs
        )
        return InputRecord(old.key, old.task_id, record.digest if as_left else b"modified")

    def recall(self, node: Any) -> list[Any]:
        """Return the tasks that the body of a node asked for when it was last built; empty if not all can be made."""
        task = node.task
        if self.mode(task) == "ignore":
            return []
        record = record_of(task, self.run_id or None)
        if record is None or record.stage != "finished":
            return []
        found = [_made_again(old) for old in record.dynamic_inputs]
        return [] if None in found else found


# ---- tasks


def joins(task: Any) -> bool:
    """Return whether a task only stands for what it needs."""
    return isinstance(task, TaskAggregator) or type(task).complete is luigi.WrapperTask.complete


class Shelf:
    """Where the outputs of the tasks of one class and workflow lie: what is the same for all of them.

    Attributes
    ----------
    store : Store
    absolute, relative : str
        What comes before the file names, from the root of the disk and from the data folder.
    keys, formats : tuple of str
    """

    __slots__ = ("absolute", "formats", "generation", "keys", "layout", "relative", "store")

    def __init__(self, task: Any) -> None:
        self.layout = shape = layout(task)
        self.generation = settings.generation
        self.keys = shape.keys
        if shape.in_memory:  # what stands for a path there is the name in the cache
            self.store = store_at(MEMORY)
            self.absolute = self.relative = locate(task)[0] + os.sep
            self.formats = ("cache",) * len(shape.kinds)
        else:
            self.store = store_at(root_of(task))
            self.absolute = os.path.abspath(locate(task)[0]) + os.sep
            self.relative = self.store.relative(self.absolute[:-1]) + os.sep
            self.formats = tuple([suffix for _, suffix in shape.kinds])


def digest_together(node: Any, task_id: str | None = None) -> bytes | None:
    """Return the digest of a node that only stands for what it needs; with an id, as if it were called so."""
    task = node.task
    tolerant = isinstance(task, TaskAggregator) and task._allowed(len(node.needs)) > 0
    return joined_digest(node, task_id or task.task_id, tolerant)


_shelves: dict[Any, Shelf] = {}


def shelf_of(task: Any) -> Shelf | None:
    """Return the shelf of a task whose outputs are all files in the usual place, or all in memory; None for others."""
    cls = task.__class__
    key = cls, task._key[1] if isinstance(task, Task) else None
    shelf = _shelves.get(key)
    if shelf is not None and shelf.generation == settings.generation and shelf.layout is blueprint(cls).outputs:
        return None if "_moved" in task.__dict__ else shelf
    if not isinstance(task, TaskData) or cls.output is not TaskData.output or "_moved" in task.__dict__:
        return None
    shape = layout(task)
    if shape.mixed or blueprint(cls).outputs is not shape:
        return None
    if len(_shelves) > 10_000:
        _shelves.clear()
    shelf = _shelves[key] = Shelf(task)
    return shelf


def store_of(task: Any) -> Store:
    """Return the store that holds the record of a task."""
    shelf = shelf_of(task)
    if shelf is not None:
        return shelf.store
    if isinstance(task, TaskData):
        if layout(task).in_memory and type(task).output is TaskData.output:  # with options of its own
            return store_at(MEMORY)
        return store_at(root_of(task))
    return store_at(os.fspath(settings.dirpath))


def filed_as(task: Any, is_known: Callable[[str, str], bool]) -> tuple[str, str]:
    """Return the family and the id that the record of a task is filed under: its own, or those of a former name.

    `is_known` says whether there is a record of a family and id.
    """
    usual = isinstance(task, TaskData) and type(task).output is TaskData.output
    return filed_under(task, is_known, usual)


def row_of(task: Any, run_id: str | None = None) -> Any:
    """Return the hot row of a task; None if there is none. See `Records.load_one`."""
    records = store_of(task).records
    row = records.load_one(task.task_family, task.task_id, run_id)
    if row is None and has_former_name(task):
        ids = filed_as(task, lambda family, task_id: records.load_one(family, task_id, run_id) is not None)
        row = records.load_one(*ids, run_id)
    return row


def record_of(task: Any, run_id: str | None = None) -> Record | None:
    """Return the record of a task; None if there is none. See `Records.get`."""
    records = store_of(task).records
    record = records.get(task.task_id, run_id)
    if record is None and has_former_name(task):
        ids = filed_as(task, lambda family, task_id: records.load_one(family, task_id, run_id) is not None)
        record = records.get(ids[1], run_id)
    return record


def outputs_of(task: Any) -> list[OutputRecord]:
    """Return the outputs that a task declares, with absolute paths; nothing is looked at."""
    shelf = shelf_of(task)
    if shelf is not None and not has_older_name(task):
        names, before = locate(task)[1], shelf.absolute
        return [
            OutputRecord(key, before + name, format=format)
            for key, name, format in zip(shelf.keys, names, shelf.formats, strict=True)
        ]
    if isinstance(task, TaskData) and type(task).output is TaskData.output:
        shape = layout(task)
        folder, names = locate(task)
        older = standing(task)
        if older is not None:
            folder, names = older.folder, older.names
        found = []
        for key, (kind, suffix), name in zip(shape.keys, shape.kinds, names, strict=True):
            memory = isinstance(kind, type) and issubclass(kind, CacheTarget)
            path = f"{folder}{os.sep}{name}"
            found.append(
                OutputRecord(key, path if memory else os.path.abspath(path), format="cache" if memory else suffix)
            )
        return found
    found = []
    for number, target in enumerate(flatten(task.output())):
        memory = isinstance(target, CacheTarget)
        path = str(getattr(target, "path", ""))
        if not memory and not isinstance(target, luigi.LocalTarget):  # only the target knows where that is
            path = f"{type(target).__name__}://{path}"
        kind = "cache" if memory else target.format_name if isinstance(target, FormatTarget) else type(target).__name__
        found.append(OutputRecord(str(number), path if memory else _local(path), format=kind))
    return found


def _local(path: str) -> str:
    return os.path.abspath(path) if path and "://" not in path else path


def stat_of(output: OutputRecord) -> tuple[int, int] | None:
    """Return size and time of an output as they are now; None if it does not exist, (-1, 0) if nothing is known."""
    if output.format == "cache":
        if output.path not in cache.data:
            return None
        stamp = cache.stamp(output.path)
        return (-1, cache.puts.get(output.path, 0) if stamp is None else stamp[0])
    if not output.path or "://" in output.path:
        return (-1, 0)
    return plugins.load("files", "local").stat(output.path)


def stats_of(task: Any) -> Stats | None:
    """Return size and time of all outputs of a task; None if one is missing."""
    found = []
    for output in outputs_of(task):
        facts = stat_of(output)
        if facts is None:
            return None
        found.append(facts)
    return tuple(found)


def content_of(output: OutputRecord) -> bytes:
    """Return the digest of what an output holds; empty if there is none."""
    if output.format == "cache":
        stamp = cache.stamp(output.path)
        return b"" if stamp is None else stamp[1]
    if not output.path or "://" in output.path:
        return b""
    return plugins.load("files", "local").digest(output.path)


def _digest(task: Any, outputs: Iterable[OutputRecord]) -> bytes:
    outputs = list(outputs)
    return combined_digest(task.task_id, outputs, stats_text(outputs))


def parameters_of(task: Any) -> str:
    """Return all parameters of a task but the private ones as text, a JSON object."""
    if isinstance(task, Task):
        return blueprint(task.__class__).json(task.__dict__)
    return json.dumps(task.to_str_params())


class _Then:
    """The code of now beside that of a record, also where classes were called otherwise then.

    Attributes
    ----------
    codes : list of Fingerprint
        What the fingerprint of the same code may have been then; empty if nothing was called otherwise.
    members : tuple of two mappings
        Member to hash: those of the record, called as they are now, and those of now. What has not changed but for
        such names, or has the same text in another version of Python, keeps the hash of the record.
    """

    def __init__(self, record: Record, says: Definition, task: Any) -> None:
        self._record, self._says, self._task = record, says, task

    @cached_property
    def codes(self) -> list[Any]:
        return self._says.called(self._record)

    @cached_property
    def members(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        record, says = self._record, self._says
        names_then = self.codes[0].names if self.codes else says.names
        then, now = {}, dict(says.members)
        other_python = record.code_fast.partition("-")[0] != says.code_fast.partition("-")[0]
        for name, name_then in zip(says.names, names_then, strict=True):
            before = record.members.get(name_then)
            if before is None:
                continue
            then[name] = before
            if any([code.members[name_then] == before for code in self.codes]) or (
                other_python and self._has_text(name, name_then, before)
            ):
                now[name] = before
        for name in record.members.keys() - set(names_then):
            then.setdefault(name, record.members[name])
        return then, now

    def _has_text(self, name: str, name_then: str, before: str) -> bool:
        text = store_of(self._task).records.get_source(source_key(name_then, before))
        texts = [code.member_sources().get(name_then) for code in self.codes]
        return any([same_source(text, other) for other in texts or [self._says.sources().get(name)]])


def member_then(record: Record | None, says: Definition, name: str) -> str:
    """Return what a member of the code of now is called in a record."""
    codes = [] if record is None else says.called(record)
    return dict(zip(says.names, codes[0].names, strict=True)).get(name, name) if codes else name


def _same_class(record: Record, says: Definition) -> bool:
    """Return whether a record can be of a class, as it is called now or was before."""
    return same_module(record.module, says.module) or any(
        [
            former.family == record.family and (not former.module or same_module(record.module, former.module))
            for former in former_names(says.cls)
        ]
    )


def _is_converted(record: Record, task: Any) -> bool:
    """Return whether a record has parameters that those of a task were made of."""
    if record.task_id == task.task_id or not isinstance(task, Task):
        return False
    formers = blueprint(type(task)).former_names
    return any([former.convert is not None and former.family == record.family for former in formers])


def _defaults(task: Any, says: Definition) -> dict[str, str]:
    """Return the parameters that are not part of the identity at their default, with the values of this task."""
    if not says.defaults or not isinstance(task, Task):
        return {}
    parameters = blueprint(type(task)).by_name
    return {name: text(parameters[name], task.__dict__[name]) for name in says.defaults}


def _read(parameters: str) -> dict[str, str]:
    found = json.loads(parameters)
    return found if isinstance(found, dict) else {}


def _names(structure: Any) -> dict[Any, str]:
    """Return where each task is in what ``requires`` returned; empty for one task, and for a flat list without repeats.

    The name in a dict, the number in a list, joined by dots; of a task that is there twice, all its places.
    """
    if isinstance(structure, luigi.Task) or structure is None:
        return {}
    if isinstance(structure, (list, tuple)):
        tasks = [member for member in structure if isinstance(member, luigi.Task)]
        if len(tasks) == len(structure) == len(set(tasks)):
            return {}
    found: dict[Any, list[str]] = {}
    pending: list[tuple[str, Any]] = [("", structure)]
    while pending:
        place, member = pending.pop()
        if isinstance(member, luigi.Task):
            found.setdefault(member, []).append(place)
        elif isinstance(member, (Mapping, Iterable)) and not isinstance(member, (str, bytes)):
            inner = member.items() if isinstance(member, Mapping) else enumerate(member)
            pending += reversed([(f"{place}.{key}" if place else str(key), part) for key, part in inner])
    return {task: ",".join(places) for task, places in found.items()}


# ---- tasks that a body asked for, as text


def reference(task: Any) -> str:
    """Return text from which a task can be made again: module, class, parameters, data folder."""
    path, parameters = None, json.loads(parameters_of(task))
    if isinstance(task, Task):
        path = task._bound_path()
        for name in blueprint(type(task)).ignored(task.__dict__):
            del parameters[name]  # at another default by then it is still this task
    place = [type(task).__module__, type(task).__qualname__, task.task_family]
    return json.dumps([*place, parameters, path])


def _class_at(module: str, name: str) -> Any:
    """Return the class of this name in a module; None if either is gone."""
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _made_again(old: InputRecord) -> Any:
    """Return the task of a reference; None if its class is gone or its parameters do not survive as text."""
    try:
        module, name, family, parameters, path = json.loads(old.key)
        with bound(binding_for(path)):
            for cls, former in successors(family, module):  # the class of then may still be there, in a notebook
                task = succeeding(cls, former, parameters)
                if task is not None and (family, old.task_id) in all_ids(task):
                    return task
            found: Any = _class_at(module, name) or Register.get_task_cls(family)  # it may have moved
            task = found.from_str_params(parameters)
    except Exception:  # noqa: BLE001  (any of the user's code may run; the caller falls back on what is recorded)
        return None
    if not isinstance(task, luigi.Task):
        return None
    return task if old.task_id == task.task_id or old.task_id in [task_id for _, task_id in all_ids(task)] else None
