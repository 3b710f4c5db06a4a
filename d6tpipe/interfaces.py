"""The protocols between the parts of d6tpipe, and the records that cross them.

The engine is handed objects that follow these protocols and never learns what they are made of; adapters and
plugins implement them without inheriting anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

__all__ = [
    "FAILURES",
    "GOOD",
    "Capture",
    "CaptureRecord",
    "Event",
    "EventKind",
    "Executor",
    "Failure",
    "Files",
    "Format",
    "NodeLike",
    "Ledger",
    "Outcome",
    "Reason",
    "ReasonKind",
    "Reporter",
    "Sink",
    "Standing",
    "State",
    "Suspension",
    "TaskView",
    "Writer",
    "Written",
]


class State(str, Enum):
    """What is known of a task in one run."""

    PENDING = "pending"  # wanted, waits for its requirements
    READY = "ready"  # may start
    RUNNING = "running"
    BUILT = "built"  # ran in this run and its outputs are there
    FRESH = "fresh"  # was complete, nothing to do
    CACHED = "cached"  # looked at again: what it needs came out equal, or another run has built it meanwhile
    STALE = "stale"  # complete and used, though something it depends on has changed since
    FROZEN = "frozen"  # complete; what has changed since was waived
    SKIPPED = "skipped"  # disabled by its author
    NO_OUTPUT = "no_output"  # ran, saved nothing, and nothing needs it
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"  # did not start because something upstream failed
    CANCELLED = "cancelled"  # the run ended before it could start or finish
    TIMEOUT = "timeout"  # failed: it took longer than it may

    def __str__(self) -> str:
        return self.value


FAILURES = frozenset({State.FAILED, State.TIMEOUT})
"""The body ran, or was to run, and did not succeed."""

GOOD = frozenset({State.BUILT, State.FRESH, State.CACHED, State.STALE, State.FROZEN})
"""Its outputs are there to be used, or are not needed."""


class ReasonKind(str, Enum):
    """Why a task has to be built, or is not to be trusted; `Reason.kind`. In the order of explaining."""

    FORCED = "forced"
    MISSING = "missing"  # an output does not exist
    INTERRUPTED = "interrupted"  # the last attempt was killed, or is under way
    FAILED = "failed"  # the last attempt raised an error
    OTHER_CLASS = "other_class"  # built by another class of this name
    UNTRACKED = "untracked"  # there is no record of how it was built; trusted
    CODE = "code"
    VERSION = "version"
    DEFAULT_PARAMETER = "default_parameter"  # the default of a parameter with ignore_default
    INPUT_SET = "input_set"  # other requirements than then
    INPUT_DATA = "input_data"  # a requirement holds other data than then
    OUTPUT_MODIFIED = "output_modified"
    FILE = "file"
    PACKAGE = "package"
    ENV = "env"
    EXPIRED = "expired"
    UPSTREAM = "upstream"  # something that it needs has to be built first

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that has changed since a task was built.

    Attributes
    ----------
    kind : ReasonKind
    subject : str
        What has changed: an output, a function, a file, a requirement ...
    before, after : str
        As recorded, and as it is; empty where there is nothing to show.
    because_of : task or None
        The task upstream that has brought the change about.
    """

    kind: ReasonKind
    subject: str = ""
    before: str = ""
    after: str = ""
    because_of: Any = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}" if self.subject else str(self.kind)


class Standing(str, Enum):
    """What the record says of a task, apart from what it needs."""

    MISSING = "missing"  # an output does not exist
    LOST = "lost"  # the outputs exist but cannot be used: interrupted, failed, of another class
    UNTRACKED = "untracked"  # the outputs exist, there is no record of how they came about
    STALE = "stale"
    FRESH = "fresh"


class EventKind(str, Enum):
    """What can happen to a task in a run; `Event.kind`."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"  # will not start: something upstream failed, or the run was cancelled

    def __str__(self) -> str:
        return self.value


class Event:
    """One thing that happened to one task, delivered once, in the process that called ``run``.

    Attributes
    ----------
    kind : EventKind
    task : luigi.Task
    state : State
        The state of the task after the event.
    seconds : float or None
        How long the body ran, for completed and failed tasks.
    error : BaseException or None
        What the body raised.
    """

    __slots__ = ("error", "kind", "seconds", "state", "task")

    def __init__(
        self, kind: EventKind, task: Any, state: State, seconds: float | None = None, error: BaseException | None = None
    ) -> None:
        self.kind, self.task, self.state, self.seconds, self.error = kind, task, state, seconds, error

    def __repr__(self) -> str:
        return f"Event({self.kind}, {self.task!r}, {self.state})"


@dataclass(frozen=True)
class Failure:
    """Why one task failed.

    Attributes
    ----------
    task : luigi.Task
    error : BaseException
        What was raised; for a missing output a `MissingOutputError`.
    traceback : str
        The user's traceback as text, without the frames of d6tpipe; empty when nothing was raised by the body.
    seconds : float
        How long the body ran.
    captured : capture.Captured or None
        What the body has printed, warned and logged; None if nothing, or if nobody has listened.
    """

    task: Any
    error: BaseException
    traceback: str
    seconds: float
    captured: Any = None


class Suspension(Protocol):
    """A body that waits for requirements it asked for while running."""

    requirements: Sequence[Any]

    def resume(self) -> Outcome:
        """Continue the body; called when all `requirements` are complete."""

    def close(self) -> None:
        """Give the body up; called when a requirement failed or the run ends."""


_NOTHING: Mapping[str, Any] = {}


class Outcome:
    """What came of running one body, or of a part of it up to where it asked for more.

    Attributes
    ----------
    state : State
        BUILT, NO_OUTPUT, FAILED or TIMEOUT; RUNNING when `suspension` is set.
    seconds : float
        How long the body ran, in all.
    failure : Failure or None
    suspension : Suspension or None
    written : mapping of str to Written
        What the body has saved, by the name of the output.
    bound : sequence of (task, bool)
        Tasks that the body has had built, or found complete, while it went on; whether they were built.
    captured : capture.Captured or None
        What it has printed, warned and logged, from its first step on; None if nothing, and of one that waits.
    """

    __slots__ = ("bound", "captured", "failure", "seconds", "state", "suspension", "written")

    def __init__(
        self,
        state: State,
        seconds: float,
        failure: Failure | None = None,
        suspension: Suspension | None = None,
        written: Mapping[str, Any] = _NOTHING,
        captured: Any = None,
    ) -> None:
        self.state, self.seconds, self.failure, self.suspension = state, seconds, failure, suspension
        self.written = written
        self.bound: Sequence[tuple[Any, bool]] = ()
        self.captured = captured


class Status(Protocol):
    """Where what luigi's bodies say while they run goes to: ``self.set_status_message(...)`` and the like."""

    def message(self, task: Any, text: str) -> None:
        """Show a message of a body that runs."""

    def progress(self, task: Any, percent: float) -> None:
        """Show how far a body is."""

    def tracking_url(self, task: Any, url: str) -> None:
        """Show a link for a body that runs."""

    def messages(self, task: Any) -> Any:
        """Return the queue of what is sent to a body while it runs; None if nothing can be."""

    def ended(self, task: Any) -> None:
        """Take notice that a body is over."""


class Capture(Protocol):
    """Listens to bodies: what they print, warn and log. A ``with`` block, within which bodies run."""

    def __enter__(self) -> Capture: ...

    def __exit__(self, *exception: object) -> None: ...

    def task(self) -> CaptureRecord:
        """Return what one body is listened to with."""


class CaptureRecord(Protocol):
    """Listens to one body; a ``with`` block around each of its steps."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...

    def captured(self) -> Any:
        """Return the `capture.Captured` of all steps up to now; false if there is nothing."""


class NodeLike(Protocol):
    """The part of `engine.graph.Node` that adapters may read and set."""

    task: Any
    key: Hashable
    requires: Any
    names: bytes
    present: bool | None
    digest: bytes | None
    needs: tuple[Any, ...]


Stats = tuple[tuple[int, int], ...]
"""Size in bytes and modification time in nanoseconds of each output of a task, in the order of ``persist``."""


class Evidence:
    """What was found of the tasks of one class.

    Attributes
    ----------
    code : bytes
        Stands for the code of the class, as `records.seal` takes it.
    observed : bytes
        The same for outputs of which only the bytes are known, not how they came about.
    members : list of (node, hot row or None, Stats or None)
        The row is ``(stage, digest, seal)``; no Stats: an output is missing.
    transient : bool
        Whether they count although an output is missing, see `TaskView.transient`.
    """

    __slots__ = ("code", "members", "observed", "transient")

    def __init__(
        self, code: bytes, observed: bytes, members: list[tuple[Any, Any, Stats | None]], transient: bool = False
    ) -> None:
        self.code, self.observed, self.members, self.transient = code, observed, members, transient


class Finding:
    """What a close look at one task has shown.

    Attributes
    ----------
    reasons : tuple of Reason
        Empty: nothing has changed.
    digest : bytes or None
        Of what the outputs hold now; None if there is nothing to tell it by.
    """

    __slots__ = ("digest", "reasons")

    def __init__(self, reasons: tuple[Reason, ...], digest: bytes | None) -> None:
        self.reasons, self.digest = reasons, digest


class Ledger(Protocol):
    """Who may build what, and what came of it: locks and records, seen from the engine."""

    def claim(self, node: Any, coming: Callable[[], Iterable[Any]]) -> State:
        """Try to get hold of `node`.

        Returns
        -------
        State
            RUNNING: its body may start. PENDING: somebody else is building it. FAILED: its body has failed
            elsewhere. Any other: it is settled, nothing has to run.
        """

    def settle(self, node: Any, outcome: Outcome) -> None:
        """Note what came of a body that was claimed; sets ``node.digest``."""

    def note(self, nodes: Sequence[Any]) -> None:
        """Take notice of what was built elsewhere, by a body that needed it."""

    def look(self, node: Any) -> State | None:
        """Return the state of a present `node` that need not run; None if it has to, as far as can be told by now."""

    def spares(self, node: Any) -> bool:
        """Return whether a transient `node` whose outputs are missing would come out as its record says."""

    def keep(self, nodes: Sequence[Any]) -> None:
        """Take notice of nodes that were asked for themselves: no run removes their outputs any more."""

    def use(self, nodes: Sequence[Any]) -> Sequence[Any]:
        """Hinder others from removing the outputs of `nodes`, until `remove` or the end of the run.

        Returns
        -------
        sequence of nodes
            Those whose outputs are not there any more.
        """

    def finish_removal(self, nodes: Sequence[Any]) -> None:
        """Remove what a run that was killed while it removed outputs has left of those of `nodes`."""

    def remove(self, nodes: Sequence[Any]) -> Sequence[Any]:
        """Remove outputs that nobody needs any more; return the nodes that have none now."""

    def wait(self, nodes: Sequence[Any]) -> None:
        """Block until one of `nodes` may be free."""

    def commit(self) -> None:
        """Make safe what was noted, since there may be nothing to note for a while."""


class Intake(Protocol):
    """Where what is asked for while a run goes on comes from."""

    def take(self) -> Sequence[object]:
        """Return the tasks that were asked for first and not taken yet, none if there are none; does not wait.

        Raises
        ------
        KeyboardInterrupt
            The run is to end.
        """

    def taken(self, goals: Sequence[Any], added: Sequence[Any]) -> None:
        """Take notice of the nodes of what was taken last, and of all nodes that are new with it."""

    def refused(self, error: Exception) -> None:
        """Take notice that what was taken last cannot be part of the graph, and why."""

    def wait(self) -> bool:
        """Block until there is something to `take`; False: nothing will be asked for any more. Nothing runs now."""


class TaskView(Protocol):
    """How the engine looks at tasks: it never touches one itself.

    Attributes
    ----------
    recalls : bool
        Whether there is anything for `recall` to return.
    spares : bool
        Whether `transient` is true of any node.
    removes : bool
        Whether it is "remove" for any.
    """

    recalls: bool
    spares: bool
    removes: bool

    def identify(self, task: Any) -> tuple[Any, Hashable]:
        """Return the task to use in place of `task` (usually itself), and its key."""

    def needs(self, node: Any) -> Sequence[Any]:
        """Return the tasks that `node` needs, asking once; may set ``node.present`` and ``node.requires``."""

    def recall(self, node: Any) -> Sequence[Any]:
        """Return the tasks that the body of `node` asked for when it was last built."""

    def look(self, nodes: Sequence[Any]) -> Iterable[Evidence]:
        """Set ``node.present`` of each: whether all of its own outputs exist; None leaves it to `ask`.

        Where records count, yield what was found of the tasks of one class after the other, having set ``node.digest``
        of all of them before.
        """

    def examine(self, node: Any, row: Any, stats: Stats | None) -> Finding:
        """Compare the whole record of `node` with how things are; all that it needs has been judged."""

    def joins(self, node: Any) -> bool:
        """Return whether `node` only stands for what it needs and has no outputs of its own."""

    def together(self, node: Any) -> bytes | None:
        """Return the digest of a node that `joins`; None if one of those that it stands for is not known."""

    def demand(self, node: Any) -> tuple[tuple[str, float], ...]:
        """Return the resources that the body of `node` uses, ``(name, amount)`` sorted by name; usually none."""

    def excused(self, node: Any) -> bool:
        """Return whether a run counts as successful although `node`, which is not `enabled`, has not run."""

    def tolerance(self, node: Any) -> int:
        """Return how many of those that `node` needs may fail; usually none."""

    def transient(self, node: Any) -> bool | str:
        """Return whether `node` counts as complete although its outputs are missing, until somebody has to load them.

        "remove": they are removed when nobody needs them any more.
        """

    def mode(self, node: Any) -> str:
        """Return what staleness means for `node`: "ignore", "warn", "rerun" or "frozen"."""

    def ask(self, node: Any) -> bool:
        """Return what a task with a rule of its own says; asked after all that it needs has been judged."""

    def cascades(self, node: Any) -> bool:
        """Return whether `node` is complete only when all it needs is."""

    def runnable(self, node: Any) -> bool:
        """Return whether d6tpipe can build `node` (an external task's output is made elsewhere)."""

    def enabled(self, node: Any) -> bool:
        """Return whether the author allows `node` to run."""

    def priority(self, node: Any) -> float:
        """Return how much earlier than others `node` should start; larger is earlier."""


class Executor(Protocol):
    """Where bodies run. The engine submits and waits; it never sleeps."""

    @property
    def capacity(self) -> int:
        """How many bodies may be under way; may change from one moment to the next."""

    def submit(self, node: Any, used: bool) -> None:
        """Have the body of ``node.task`` run; called at most `capacity` times more than `wait` has handed back.

        `used` says whether anything waits for its output.
        """

    def resume(self, node: Any, suspension: Suspension) -> None:
        """Have a body go on that waited for what it asked for; counts like `submit`."""

    def wait(self, timeout: float | None = None) -> Iterable[tuple[Any, Outcome]]:
        """Block until at least one piece of work is done, and return what is done.

        `timeout` : after so many seconds return, with nothing if nothing is done; None: as long as it takes.
        """

    def wake(self) -> None:
        """Have `wait` return, in the thread that waits or when it waits next; from any thread."""

    def close(self) -> None:
        """Release processes and threads."""


class Reporter(Protocol):
    """Who is told what happened."""

    def __call__(self, event: Event) -> None: ...


class Written(NamedTuple):
    """A finished output, as it was left.

    Attributes
    ----------
    size : int, bytes
        Of a folder: of all files in it. -1 for a value in memory.
    mtime_ns : int, nanoseconds since 1970
        Of a folder: the newest in it. Of a value in memory: a number that no other value has.
    digest : bytes
        xxh3_128 of the bytes. Of a value in memory: of what it holds; empty where that cannot be told.
    """

    size: int
    mtime_ns: int
    digest: bytes


class Sink(Protocol):
    """A binary file as far as it can be written to."""

    def write(self, data: Any) -> int:
        """Take all of `data` (anything with a contiguous buffer) and return how many bytes that were."""

    def flush(self) -> None:
        """Do nothing; there for libraries that call it."""


class Format(Protocol):
    """How a value becomes the bytes of a file, and back. One instance serves the whole process.

    Notes
    -----
    A format that writes from the first byte to the last may have a third method, ``dump(value, stream, **options)``:
    it writes to a `Sink` what ``save`` would write to a file. The digest is then taken on the way, and small files
    are not opened again for it. A class that overrides only ``save`` is not asked to ``dump``.

    If reading can run code that is in the file, as with pickles, it has ``runs_code = True``: what is in the file is
    then compared with what was recorded first.
    """

    name: str
    suffix: str

    def save(self, value: Any, path: str, **options: Any) -> None:
        """Write `value` to a new file at `path`, a temporary name that ends in ``"." + suffix``."""

    def load(self, path: str, **options: Any) -> Any:
        """Return the value stored in the file at `path`."""


class Writer(Protocol):
    """What makes files appear whole, or not at all."""

    def write(self, path: str, fill: Callable[[str], None]) -> Written:
        """Call ``fill(temporary path)`` and give the file its final name `path` in one step."""

    def write_stream(self, path: str, put: Callable[[Any], None]) -> Written:
        """Call ``put(sink)`` and give what it wrote its final name `path` in one step."""


class Files(Writer, Protocol):
    """Where files live."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at `path`."""

    def listing(self, folder: str) -> set[str]:
        """Return the names in `folder`; the empty set if there is no such folder."""

    def stat(self, path: str) -> tuple[int, int] | None:
        """Return size and mtime_ns, as in `Written`, of the file or folder at `path`; None if there is none."""

    def stats(self, folder: str, wanted: Set[str] | None = None) -> dict[str, tuple[int, int]]:
        """Return `stat` of all files in `folder` by name; of a folder in it only ``(-2, 0)``, ask `stat` for more.

        With `wanted` only what has one of these names has to be there.
        """

    def digest(self, path: str) -> bytes:
        """Return the digest, as in `Written`, of what is at `path` now."""

    def ensure_folder(self, folder: str) -> None:
        """Make `folder` and the folders above it if they are missing."""

    def together(self) -> AbstractContextManager[Writer]:
        """Return a ``with`` block whose files get their final names at its end, or none of them if it raises."""

    def remove(self, path: str) -> bool:
        """Remove the file at `path`; return whether there was one."""

    def sweep(self, folder: str) -> int:
        """Remove temporary files in `folder` whose owners are dead; return how many there were."""
