"""The protocols between the parts of d6tpipe, and the records that cross them.

The engine is handed objects that follow these protocols and never learns what they are made of; adapters and
plugins implement them without inheriting anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

__all__ = [
    "Event",
    "EventKind",
    "Executor",
    "Failure",
    "Files",
    "Format",
    "NodeLike",
    "Outcome",
    "Reporter",
    "State",
    "Suspension",
    "TaskView",
]


class State(str, Enum):
    """What is known of a task in one run."""

    PENDING = "pending"  # wanted, waits for its requirements
    READY = "ready"  # may start
    RUNNING = "running"
    BUILT = "built"  # ran in this run and its outputs are there
    FRESH = "fresh"  # was complete, nothing to do
    SKIPPED = "skipped"  # disabled by its author
    NO_OUTPUT = "no_output"  # ran, saved nothing, and nothing needs it
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"  # did not start because something upstream failed
    CANCELLED = "cancelled"  # the run ended before it could start or finish

    def __str__(self) -> str:
        return self.value


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
    """

    task: Any
    error: BaseException
    traceback: str
    seconds: float


class Suspension(Protocol):
    """A body that waits for requirements it asked for while running."""

    requirements: Sequence[Any]

    def resume(self) -> Outcome:
        """Continue the body; called when all `requirements` are complete."""

    def close(self) -> None:
        """Give the body up; called when a requirement failed or the run ends."""


class Outcome:
    """What came of running one body, or of a part of it up to where it asked for more.

    Attributes
    ----------
    state : State
        BUILT, NO_OUTPUT or FAILED; RUNNING when `suspension` is set.
    seconds : float
        How long the body ran, in all.
    failure : Failure or None
    suspension : Suspension or None
    """

    __slots__ = ("failure", "seconds", "state", "suspension")

    def __init__(
        self,
        state: State,
        seconds: float,
        failure: Failure | None = None,
        suspension: Suspension | None = None,
    ) -> None:
        self.state, self.seconds, self.failure, self.suspension = state, seconds, failure, suspension


class NodeLike(Protocol):
    """The part of `engine.graph.Node` that adapters may read and set."""

    task: Any
    key: Hashable
    requires: Any
    present: bool | None


class TaskView(Protocol):
    """How the engine looks at tasks: it never touches one itself."""

    def identify(self, task: Any) -> tuple[Any, Hashable]:
        """Return the task to use in place of `task` (usually itself), and its key."""

    def needs(self, node: Any) -> Sequence[Any]:
        """Return the tasks that `node` needs, asking once; may set ``node.present`` and ``node.requires``."""

    def present(self, nodes: Sequence[Any]) -> None:
        """Set ``node.present`` of each: whether all of its own outputs exist; None leaves it to `ask`."""

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

    capacity: int

    def submit(self, node: Any, work: Callable[[], Outcome]) -> None:
        """Take one piece of work; called at most `capacity` times more than `wait` has handed back."""

    def wait(self) -> Iterable[tuple[Any, Outcome]]:
        """Block until at least one piece of work is done, and return what is done."""

    def close(self) -> None:
        """Release processes and threads."""


class Reporter(Protocol):
    """Who is told what happened."""

    def __call__(self, event: Event) -> None: ...


class Format(Protocol):
    """How a value becomes the bytes of a file, and back. One instance serves the whole process."""

    name: str
    suffix: str

    def save(self, value: Any, path: str, **options: Any) -> None:
        """Write `value` to a new file at `path`, a temporary name that ends in ``"." + suffix``."""

    def load(self, path: str, **options: Any) -> Any:
        """Return the value stored in the file at `path`."""


class Files(Protocol):
    """Where files live."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at `path`."""

    def listing(self, folder: str) -> set[str]:
        """Return the names in `folder`; the empty set if there is no such folder."""

    def ensure_folder(self, folder: str) -> None:
        """Make `folder` and the folders above it if they are missing."""

    def write(self, path: str, fill: Callable[[str], None]) -> None:
        """Call ``fill(temporary path)`` and give the file its final name `path` in one step."""

    def remove(self, path: str) -> bool:
        """Remove the file at `path`; return whether there was one."""

    def sweep(self, folder: str) -> int:
        """Remove temporary files in `folder` whose owners are dead; return how many there were."""
