"""What is remembered of a task that was built, and where it is kept.

A *record* says how an output came about: code, parameters, upstream data, the bytes that came out, and the
circumstances. Later runs compare it with how things are now. Two views of one record:

=======  =====================================================================================================
hot      ``(stage, digest, seal)``: all that a run needs in order to see that nothing has changed. Read in bulk,
         family by family; `seal` packs everything comparable into one ``bytes``, so one ``==`` decides.
`Record` everything, as text: for ``explain``, the catalog and reports. Read one by one.
=======  =====================================================================================================

A build is bracketed: `Records.building` before anything is written, then stage ``"saved"`` (outputs are in place),
then ``"finished"`` (``run`` has returned) or ``"failed"`` (it has raised). What is found in one of the first two
stages was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import starmap
from struct import Struct
from typing import Any, Protocol

from d6tpipe.errors import StorageError

__all__ = [
    "MIGRATIONS",
    "SCHEMA",
    "STAGES",
    "Hot",
    "InputRecord",
    "NewerRecordError",
    "OutputRecord",
    "Record",
    "Records",
    "Timing",
    "combined_digest",
    "same_but_outputs",
    "seal",
    "source_key",
    "stats_text",
]

SCHEMA = 1
"""Version of what is stored. A new field with a default is no new version: unknown fields are passed over, missing
ones take their default. A field that changes its meaning is, and needs an entry in `MIGRATIONS`."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version to a function from the JSON object of that version to the one of the next."""

STAGES = ("building", "saved", "finished", "failed")

Hot = tuple[str, bytes, bytes]
"""``(stage, combined digest of the outputs, seal)``. Of a task that was announced and never recorded, digest and
seal are empty; of one that is being rebuilt they are those of the record from before."""

Timing = tuple[float, str, bool]
"""``(seconds, stage, whether metadata were saved)``. NaN: the body has not run, as of what was accepted or observed."""


class NewerRecordError(StorageError):
    """A record was written by a newer d6tpipe than this one."""


@dataclass(slots=True)
class OutputRecord:
    """One output, as it was left.

    Attributes
    ----------
    key : str
        Name in ``persist``.
    path : str
        Where it is.
    size : int, bytes
        -1 for what is no file.
    mtime_ns : int, nanoseconds since 1970
    digest : bytes
        Of the content; empty when there is no digest that is the same for the same content.
    format : str
    """

    key: str
    path: str
    size: int = -1
    mtime_ns: int = 0
    digest: bytes = b""
    format: str = ""


@dataclass(slots=True)
class InputRecord:
    """One requirement, as it was read.

    Attributes
    ----------
    key : str
        Its name in what ``requires()`` returned; empty if it has none.
    task_id : str
    digest : bytes
        ``Record.digest`` of that task at the time.
    """

    key: str
    task_id: str
    digest: bytes = b""


@dataclass(slots=True)
class Record:
    """How one task was built.

    Attributes
    ----------
    task_id, family, module : str
    parameters : str
        All parameters with their values as text, a JSON object; the insignificant ones too.
    code_fast, code_stable : str
        The code fingerprint: of one Python version, and of all.
    members : dict of str to str
        Function or global to its hash: which one changed. `source_key` of the two leads to the text.
    version : str
        What the class declares as ``version``.
    extras : dict
        What ``depends_on`` stood for: facts of files, packages, environment variables. JSON values.
    inputs, dynamic_inputs : list of InputRecord
        What was required; and what ``run`` asked for besides, in that order.
    outputs : list of OutputRecord
    seal : bytes
        What `seal` made of code, inputs and outputs.
    started : float, seconds since 1970
    seconds : float
    peak_memory : int, bytes
    run_id : str
    attempt : int
    host, boot_id, python, git_commit : str
        `boot_id` is "durable" for what was forced to the disk.
    pid : int
    packages : dict of str to str
        Distribution to version, of the libraries that the code reaches.
    stage : {"building", "saved", "finished", "failed"}
    error : str
        What a failed attempt has raised: type and message.
    metadata : str
        Digest of what the body has saved as metadata; empty if nothing.
    accepted : bool
        Whether somebody said "valid as it is" instead of building it.
    asked : bool
        Whether a transient task was asked for itself: its outputs are not removed then.
    observed : bool
        Whether only the bytes are known, not how they came about: of external tasks, and of outputs from before there
        were records.

    Notes
    -----
    `members` and `packages` are kept by reference and shared by many records: replace them, never change them. What
    `digest` is made of must not change once it was asked for: make another record with ``dataclasses.replace``.
    """

    task_id: str
    family: str
    module: str = ""
    parameters: str = "{}"
    code_fast: str = ""
    code_stable: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[InputRecord] = field(default_factory=list)
    dynamic_inputs: list[InputRecord] = field(default_factory=list)
    outputs: list[OutputRecord] = field(default_factory=list)
    seal: bytes = b""
    started: float = 0.0
    seconds: float = 0.0
    peak_memory: int = 0
    run_id: str = ""
    attempt: int = 1
    host: str = ""
    pid: int = 0
    boot_id: str = ""
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    stage: str = "finished"
    accepted: bool = False
    asked: bool = False
    observed: bool = False
    error: str = ""
    metadata: str = ""
    _digest: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def digest(self) -> bytes:
        """What stands for the task and all its outputs together; what tasks downstream compare."""
        if self._digest is None:
            self._digest = self._combined()
        return self._digest

    def _combined(self) -> bytes:
        if not self.observed and all([output.digest for output in self.outputs]):
            built = ""  # would not be looked at, and a number as text costs as much as the rest
        else:
            built = f"{self.run_id} {self.attempt} {self.started!r}"
        subject = f"{self.task_id} {self.metadata}" if self.metadata else self.task_id
        return combined_digest(subject, self.outputs, stats_text(self.outputs) if self.observed else built)

    def to_dict(self) -> dict[str, Any]:
        """Return an object that JSON can hold, with its version under ``"schema"``."""
        found: dict[str, Any] = {"schema": SCHEMA}
        for name in FIELDS:
            value = getattr(self, name)
            found[name] = pack_field(name, value)
        return found

    def to_json(self) -> str:
        """Return the record as JSON text, ASCII, on one line."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Record:
        """Return the record that `to_dict` of this or an earlier version made.

        Raises
        ------
        NewerRecordError
            A newer d6tpipe has written it.
        StorageError
            It is damaged.
        """
        try:
            version = int(found["schema"])
            if version > SCHEMA:
                raise newer_than_this("A record", version)
            migrated = dict(found)
            while version < SCHEMA:
                migrated = MIGRATIONS[version](migrated)
                version += 1
            return cls(**{name: unpack_field(name, migrated[name]) for name in FIELDS if name in migrated})
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(
                "A record is damaged",
                facts={"reason": f"{type(error).__name__}: {error}"},
                hint="Build the task again, or accept its outputs as they are.",
            ) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Return the record in JSON text; raises as `from_dict` does."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise StorageError("A record is damaged", facts={"reason": f"no JSON: {error}"}) from error
        return cls.from_dict(found)


FIELDS: tuple[str, ...] = tuple(name for name in Record.__dataclass_fields__ if name[0] != "_")
_ROWS: dict[str, type] = {"inputs": InputRecord, "dynamic_inputs": InputRecord, "outputs": OutputRecord}


def pack_field(name: str, value: Any) -> Any:
    """Return one field of a record as JSON holds it: bytes as hexadecimal text, inputs and outputs as lists."""
    if name == "outputs":
        return [[o.key, o.path, o.size, o.mtime_ns, o.digest.hex(), o.format] for o in value]
    if name in _ROWS:
        return [[i.key, i.task_id, i.digest.hex()] for i in value]
    return value.hex() if name == "seal" else value


def unpack_field(name: str, value: Any) -> Any:
    """Return what `pack_field` was given."""
    if name == "outputs":
        return [OutputRecord(r[0], r[1], r[2], r[3], bytes.fromhex(r[4]), r[5]) for r in value]
    if name in _ROWS:
        return [InputRecord(row[0], row[1], bytes.fromhex(row[2])) for row in value]
    return bytes.fromhex(value) if name == "seal" else value


def newer_than_this(what: str, version: int, path: str | None = None) -> NewerRecordError:
    """Return the error that refuses what a later version has written."""
    return NewerRecordError(
        f"{what} was written by a newer d6tpipe",
        facts={**({"file": path} if path else {}), "its schema": version, "known here": f"up to {SCHEMA}"},
        hint="Upgrade d6tpipe here (pip install --upgrade d6tpipe), or use a data folder of its own.",
    )


def stats_text(outputs: Iterable[OutputRecord]) -> str:
    """Return what stands for outputs without a digest of which nobody knows how they were built."""
    return repr([(output.key, output.size, output.mtime_ns) for output in outputs])


def combined_digest(task_id: str, outputs: Iterable[OutputRecord], otherwise: str = "") -> bytes:
    """Return 16 bytes that stand for a task and for keys, formats and contents of all its outputs.

    Parameters
    ----------
    task_id : str
        A body can look at the parameters of what it requires, so another task with equal data is another input.
    outputs : iterable of OutputRecord
    otherwise : str
        Stands for an output without a digest; text that no other build has, so that it counts as changed.
    """
    known = blake2b(task_id.encode(errors="surrogatepass"), digest_size=16)
    for output in outputs:
        name = f"{output.key}\0{output.format}\0".encode(errors="surrogatepass")
        content = output.digest or otherwise.encode(errors="surrogatepass")
        known.update(b"%d %d " % (len(name), len(content)) + name + content)
    return known.digest()


def source_key(member: str, hash: str) -> str:
    """Return under what `Records.get_source` has the text of a member.

    The name counts: two functions can have the same code and hence the same hash, and other texts.
    """
    return f"{hash} {member}"


_pack_stat = Struct("<qq").pack
_pack_counts = Struct("<II").pack
_LONGEST_SEAL = 512


def seal(code: bytes, upstream: Iterable[bytes], outputs: Sequence[tuple[int, int]]) -> bytes:
    """Return one value that is equal exactly when nothing that can be compared has changed.

    Parameters
    ----------
    code : bytes
        Stands for all that is the same for every task of the class: code fingerprint, version, facts of files,
        packages and environment variables.
    upstream : iterable of bytes
        Digests of what the task read (``Record.digest``, 16 bytes each), in the order of its requirements.
    outputs : sequence of (int, int)
        Size in bytes and modification time in nanoseconds of each output, in the order of ``persist``.

    Returns
    -------
    bytes
        The parts one after the other; hashed when longer than 512 bytes (a fan-in over thousands).
    """
    found = code + b"".join(upstream) + b"".join(starmap(_pack_stat, outputs)) + _pack_counts(len(code), len(outputs))
    if len(found) <= _LONGEST_SEAL:
        return found
    return blake2b(found, digest_size=32).digest()


def same_but_outputs(recorded: bytes, bare: bytes) -> bool:
    """Return whether a seal is that of the same code and inputs as `bare`, which is one without outputs.

    False where that cannot be told, because they are hashed.
    """
    count = int.from_bytes(recorded[-4:], "little")
    return len(recorded) == len(bare) + 16 * count and recorded[-8:-4] == bare[-8:-4] and recorded.startswith(bare[:-8])


class Records(Protocol):
    """Where records are kept.

    Losing them must never stop a run: no method raises because of the disk. What cannot be read is answered as if
    nothing were recorded, with one warning; what cannot be written is lost, with one warning. Reading creates
    nothing. One object may be used by several threads.
    """

    def load_hot(self, families: Iterable[str] | None = None, run_id: str | None = None) -> dict[str, Hot]:
        """Return ``{task id: (stage, digest, seal)}`` of all tasks of these families; None: of all.

        A task that any run has announced is in stage ``"building"``, unless that run is `run_id`, the one that
        asks: its own announcements do not count.
        """

    def prepare(self) -> None:
        """Get ready to write. From now on answers are of the moment; before, they may be some milliseconds old."""

    def foreign(self, run_id: str) -> int:
        """Return a number that grows when records are written by anybody but that run, in this process or another."""

    def load_one(self, family: str, task_id: str, run_id: str | None = None) -> Hot | None:
        """Return what `load_hot` has of one task."""

    def timings(self, families: Iterable[str]) -> dict[str, Timing]:
        """Return ``{task id: (seconds, stage, has metadata)}`` of all tasks of families; stage as in `load_hot`."""

    def get(self, task_id: str, run_id: str | None = None) -> Record | None:
        """Return the record of one task; stage as in `load_hot`. None if nothing is known of it."""

    def all(self) -> Iterator[Record]:
        """Return all records, in the order they were written; then the tasks that were only announced."""

    def building(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        """Announce that these tasks, ``(family, task id)``, are about to be built by that run.

        When it returns this outlives a kill of the process, and so does all that was written before. Announce the
        next batch rather than the next task: this is the one call that commits every time.
        """

    def announcers(self, family: str, task_id: str) -> set[str]:
        """Return the runs that have announced a task and told nothing since: they are at it, or were killed."""

    def withdraw(self, tasks: Iterable[tuple[str, str]], run_id: str) -> None:
        """Take back what that run announced of tasks that it then did not start."""

    def write(self, records: Iterable[Record]) -> None:
        """Put these in place of what was recorded of the same tasks, and drop all announcements of them.

        Grouped: what was written in the last 50 ms may be lost in a crash, until `flush` or `building`.
        """

    def forget(self, task_ids: Iterable[str]) -> None:
        """Drop the records and announcements of these tasks."""

    def put_source(self, hash: str, text: str) -> None:
        """Keep the text of a member under its `source_key`."""

    def get_source(self, hash: str) -> str | None:
        """Return the text kept under a `source_key`."""

    def flush(self) -> None:
        """Make everything written so far outlive a kill; called when there is nothing more to start."""

    def close(self) -> None:
        """Flush, and release files. The object may be used again: it opens what it needs."""
