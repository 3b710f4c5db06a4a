"""What has changed between a record and how things are: the rules, cheapest first, without a disk or a clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from d6tpipe.interfaces import Reason, ReasonKind
from d6tpipe.records import InputRecord, OutputRecord, Record

__all__ = ["CLASS_KINDS", "Present", "differences", "of_outputs"]

CLASS_KINDS = frozenset(
    {ReasonKind.CODE, ReasonKind.VERSION, ReasonKind.FILE, ReasonKind.PACKAGE, ReasonKind.ENV, ReasonKind.OTHER_CLASS}
)
"""What is the same for all tasks of a class that were built under the same code."""

_EXTRAS = {"file": ReasonKind.FILE, "package": ReasonKind.PACKAGE, "env": ReasonKind.ENV, "object": ReasonKind.CODE}
_SHOWN = 12  # characters of a digest


@dataclass(slots=True)
class Present:
    """How one task and its class are now, as far as a record can be compared with it.

    Attributes
    ----------
    same_module : bool
        Whether the class of the record can be this one.
    code_fast : str
        Empty: the code does not count.
    code_stable : callable
        Returns the fingerprint that holds for all versions of Python; asked for only if the fast ones differ.
    members : callable
        Returns member to hash.
    members_then : callable or None
        Returns the members of the record as they would be called now; None: as they are.
    codes_then : callable
        Returns the fingerprints that the same code had when classes had former names.
    codes_stable_then : callable
        The same of those that hold for all versions of Python.
    version : str
    extras : mapping
    defaults : mapping of str to str
        Parameters with ``ignore_default`` to the value of this task, as text.
    inputs : sequence of (InputRecord, task)
    dynamic_inputs : sequence of (InputRecord, task) or None
        None: what the body asked for when it was built could not be found again.
    outputs : sequence of OutputRecord
        With size and time as they are, digests empty.
    look_inside : bool
        Do not trust size and time.
    digest : callable
        Returns the digest of the content of output number n.
    expired : bool
    age : str
        How old the outputs are, in words.
    """

    same_module: bool
    code_fast: str
    code_stable: Callable[[], str]
    members: Callable[[], Mapping[str, str]]
    version: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[tuple[InputRecord, Any]] = ()
    dynamic_inputs: Sequence[tuple[InputRecord, Any]] | None = ()
    outputs: Sequence[OutputRecord] = ()
    look_inside: bool = False
    digest: Callable[[int], bytes] = lambda number: b""
    expired: bool = False
    age: str = ""
    members_then: Callable[[], Mapping[str, str]] | None = None
    codes_then: Callable[[], Collection[str]] = tuple
    codes_stable_then: Callable[[], Collection[str]] = tuple


def differences(record: Record, present: Present, parameters: Mapping[str, str]) -> list[Reason]:
    """Return what has changed, most telling first; empty if nothing has.

    Parameters
    ----------
    record : Record
        In stage "finished".
    present : Present
        Its ``outputs`` get their digests here, as far as they had to be looked at or could be taken from the record.
    parameters : mapping
        ``record.parameters``, read.
    """
    return [
        *_of_code(record, present),
        *_of_defaults(parameters, present),
        *_of_inputs(record, present),
        *of_outputs(record, present),
        *([Reason(ReasonKind.EXPIRED, after=present.age)] if present.expired else []),
    ]


def _of_code(record: Record, present: Present) -> list[Reason]:
    found: list[Reason] = []
    if record.version != present.version:
        found.append(Reason(ReasonKind.VERSION, before=record.version, after=present.version))
    for name in sorted({*record.extras, *present.extras}):
        before, after = record.extras.get(name), present.extras.get(name)
        if before != after:
            kind, _, subject = name.partition(":")
            found.append(Reason(_EXTRAS.get(kind, ReasonKind.CODE), subject, _text(before), _text(after)))
    code = _of_functions(record, present)
    if (code or found) and not present.same_module:
        return [Reason(ReasonKind.OTHER_CLASS, subject=record.family, before=record.module)]
    return [*code, *found]


def _of_functions(record: Record, present: Present) -> list[Reason]:
    if not present.code_fast or not record.code_fast or record.code_fast == present.code_fast:
        return []
    if record.code_stable and record.code_stable == present.code_stable():
        return []
    if record.code_fast in present.codes_then():
        return []
    if record.code_stable and record.code_stable in present.codes_stable_then():
        return []
    now = present.members()
    then = record.members if present.members_then is None else present.members_then()
    found = []
    for name in sorted({*then, *now}):
        before, after = then.get(name, ""), now.get(name, "")
        if before != after:
            found.append(Reason(ReasonKind.CODE, name, before, after))
    return found or [Reason(ReasonKind.CODE, before=record.code_fast, after=present.code_fast)]


def _of_defaults(parameters: Mapping[str, str], present: Present) -> list[Reason]:
    return [
        Reason(ReasonKind.DEFAULT_PARAMETER, name, parameters[name], value)
        for name, value in present.defaults.items()
        if name in parameters and parameters[name] != value
    ]


def _of_inputs(record: Record, present: Present) -> list[Reason]:
    found = _between(record.inputs, present.inputs)
    if present.dynamic_inputs is None:
        found.append(Reason(ReasonKind.INPUT_SET, "what run() asked for", f"{len(record.dynamic_inputs)} tasks"))
    else:
        # Their keys are what they can be made of again, insignificant parameters included.
        found += _between(
            [_unnamed(old) for old in record.dynamic_inputs],
            [(_unnamed(new), task) for new, task in present.dynamic_inputs],
        )
    return found


def _unnamed(entry: InputRecord) -> InputRecord:
    return InputRecord("", entry.task_id, entry.digest)


def _between(then: Sequence[InputRecord], now: Sequence[tuple[InputRecord, Any]]) -> list[Reason]:
    if [(old.key, old.task_id) for old in then] != [(new.key, new.task_id) for new, _ in now]:
        before = {(old.key, old.task_id) for old in then}
        after = {(new.key, new.task_id) for new, _ in now}
        renamed = sorted(old.task_id for old in then) == sorted(new.task_id for new, _ in now)
        what = "the same under other names" if renamed else f"{len(then)} then, {len(now)} now"
        gone, more = [
            ", ".join(sorted(key if renamed else task_id for key, task_id in side)[:3])
            for side in (before - after, after - before)
        ]
        return [Reason(ReasonKind.INPUT_SET, what, gone, more)]
    return [
        Reason(ReasonKind.INPUT_DATA, new.key or new.task_id, _text(old.digest), _text(new.digest), task)
        for old, (new, task) in zip(then, now, strict=True)
        if new.digest and old.digest != new.digest  # of what has yet to be built nothing can be said
    ]


def of_outputs(record: Record, present: Present) -> list[Reason]:
    """Return which outputs hold something else than recorded; ``present.outputs`` get their digests on the way."""
    if [old.key for old in record.outputs] != [new.key for new in present.outputs]:
        before, after = (", ".join(o.key for o in side) for side in (record.outputs, present.outputs))
        return [Reason(ReasonKind.OUTPUT_MODIFIED, "persist", before, after)]
    found = []
    for number, (old, new) in enumerate(zip(record.outputs, present.outputs, strict=True)):
        same = (old.size, old.mtime_ns) == (new.size, new.mtime_ns)
        if same and not present.look_inside:
            new.digest = old.digest
            continue
        new.digest = present.digest(number)
        if new.digest != old.digest or not (new.digest or same):
            before, after = (f"{o.size} bytes, {_text(o.digest)}" for o in (old, new))
            found.append(Reason(ReasonKind.OUTPUT_MODIFIED, old.key, before, after))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()[:_SHOWN]
    return "" if value is None else str(value)
