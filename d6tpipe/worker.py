"""What runs on a worker: one body from its payload, and a receipt of what came of it.

The data that a body saves stay where it saved them; what goes back is what the coordinator has to know. Exceptions:
values in memory, which are sent along.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from time import monotonic
from typing import Any

import cloudpickle

from d6tpipe import cache, cancellation, settings
from d6tpipe.binding import LOADING
from d6tpipe.bodies import BodyRunner, failure_of
from d6tpipe.callbacks import silence, tell
from d6tpipe.capture import Captured, DescriptorCapture, PythonCapture
from d6tpipe.definitions import definition
from d6tpipe.errors import BodyError, DeclarationError, TaskCancelled, told
from d6tpipe.examiner import store_of
from d6tpipe.executors import worker_process
from d6tpipe.executors.processes import ProcessExecutor
from d6tpipe.executors.shared import GRACE, LONGEST_GRACE, CodeMismatch
from d6tpipe.hooks import surroundings
from d6tpipe.interfaces import Event, Failure, Outcome, State, Status
from d6tpipe.jobs import Receipt, in_own_folder, seed_of
from d6tpipe.machine import host_name, this_process
from d6tpipe.payloads import loaded_classes, memory_paths
from d6tpipe.shipping import Depot, Packed, Parcel, Wanted, bring_back, emitted, make_room, pack, working_in
from d6tpipe.stores import MEMORY
from d6tpipe.task_values import stand_in_for
from d6tpipe.tasks.outputs import absolute, in_mirror, localized, mirrored, original, stand_in

__all__ = ["TaskResult", "give_up", "outcome_of", "resume", "run", "run_apart", "run_shipped"]


@dataclass
class TaskResult:
    """The receipt for one body, or for the part of it up to where it asked for more; the same from every worker.

    Attributes
    ----------
    state : State
        BUILT, NO_OUTPUT, FAILED, or RUNNING: it asks for `asked`.
    seconds : float
        How long the body ran, in all.
    written : dict of str to Written
        What it has saved, by name.
    error : bytes
        The exception, pickled; empty if there was none.
    traceback : str
        The user's part of it, as text.
    asked : bytes
        The tasks that the body asked for, pickled.
    kept : int
        Number under which the worker keeps the body that waits; 0: it does not.
    bound : bytes
        Tasks that the body had built, or found complete, while it went on, pickled; see `Outcome.bound`.
    memory : list of (path, stamp, pickle)
        Values that were saved in memory.
    host : str
    pid : int
    peak_memory : int
        Bytes: the most that the process has used so far.
    captured : Captured or None
        What the body has printed, warned and logged.
    files : list of Packed
        What it has saved, or only emitted if it has failed, where the worker does not see the data folder.
    told : bytes
        Events of runs that the body has started, pickled.
    """

    state: State
    seconds: float
    written: dict[str, Any] = field(default_factory=dict)
    error: bytes = b""
    traceback: str = ""
    asked: bytes = b""
    kept: int = 0
    bound: bytes = b""
    memory: list[tuple[str, Any, bytes]] = field(default_factory=list)
    host: str = ""
    pid: int = 0
    peak_memory: int = 0
    captured: Captured | None = None
    files: list[Packed] = field(default_factory=list)
    told: bytes = b""

    def __reduce__(self) -> tuple[Any, ...]:  # shorter than by name
        return TaskResult, tuple(self.__dict__.values())


class _Node:
    """What `BodyRunner` looks at."""

    __slots__ = ("requires", "task")

    def __init__(self, task: Any, requires: Any) -> None:
        self.task, self.requires = task, requires


class _Run:
    """One run, seen from a worker."""

    def __init__(self, header: dict[str, Any]) -> None:
        self.run_id = header["run_id"]
        self.settings = header["settings"]
        self.base, self.main = header["base"], header["main"]
        self.cwd, self.environ, self.path = header["cwd"], header["environ"], header["path"]
        self.bodies = BodyRunner(header["stale"], _capture(), _status_of(header["scheduler"]), header["n_workers"],
                                 self.run_id)  # fmt: skip
        self.checked: set[tuple[type, Any]] = set()
        self.process = header["process"]
        self.at_home = self.process == this_process()  # a pool of threads, say
        # what earlier runs have left in memory says nothing about this one
        if not self.at_home and not _kept and not _running:
            cache.data.clear()
        self.enter()
        self.classes = _loaded(header["classes"]) if header["classes"] else []
        loaded_classes(self.classes)

    def is_parent(self) -> bool:
        """Return whether the process that coordinates is the one that has started this one."""
        parent = multiprocessing.parent_process()
        return worker_process.output is not None and parent is not None and parent.pid == self.process[-1]

    def enter(self) -> None:
        """Make this process look as the one that coordinates."""
        if self.at_home:
            return
        silence()
        if not mirrored():
            stand_in(self.base)
        stand_in_for(self.main)
        if self.environ is None:  # perhaps another machine
            sys.path += [entry for entry in self.path if entry not in sys.path]
        else:
            sys.path[:] = self.path
        if self.environ is not None and dict(os.environ) != self.environ:
            limits = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
            os.environ.clear()
            os.environ.update(limits)
            os.environ.update(self.environ)
        if self.cwd is not None:
            os.chdir(self.cwd)
        settings.restore(self.settings)


def _loaded(data: bytes) -> Any:
    """Return what was pickled; the modules of its classes are imported on the way."""
    token = LOADING.set(True)
    try:
        return pickle.loads(data)
    finally:
        LOADING.reset(token)


@lru_cache(maxsize=1)
def _status_of(scheduler: tuple[str, str] | None) -> Status | None:
    """Return where bodies of a run say how far they are; `scheduler`: its URL, and the name of the run there."""
    if scheduler is None:
        return None
    from d6tpipe.central import RemoteStatus

    return RemoteStatus(*scheduler)


_listening: Any = None


def _capture() -> Any:
    """Return what listens to the bodies of this process, from the first one on to its end."""
    global _listening
    if _listening is None:
        files = worker_process.output
        _listening = PythonCapture() if files is None else DescriptorCapture(files)
        _listening.__enter__()
    return _listening


_runs: OrderedDict[bytes, _Run] = OrderedDict()
_current: _Run | None = None
_kept: dict[int, tuple[_Run, Any]] = {}
_running: list[Any] = []  # the frames of the bodies that run now
_numbers = count(1)
_MOST_RUNS = 4


_entering = threading.Lock()


def _run_of(header: bytes) -> _Run:
    global _current
    with _entering:  # workers of Dask may have several threads
        found = _runs.get(header)
        if found is None:
            found = _runs[header] = _Run(pickle.loads(header))
            while len(_runs) > _MOST_RUNS:
                _runs.popitem(last=False)
        elif found is not _current:
            found.enter()
            loaded_classes(found.classes)
        _current = found
        return found


def run(header: bytes, item: bytes, *memory: bytes) -> TaskResult:
    """Run the body of one task.

    Parameters
    ----------
    header, item : bytes
        Made by `payloads.Encoder`.
    *memory : bytes
        Pickled values of outputs in memory that the body may read.

    Returns
    -------
    TaskResult

    Raises
    ------
    CodeMismatch
        The class is not what it is for the coordinator; nothing was run.
    KeyboardInterrupt
    """
    return _run_item(_run_of(header), _loaded(item), memory)


def _run_item(place: _Run, item: Any, memory: tuple[bytes, ...]) -> TaskResult:
    task, requires, used, code, inputs, answered, keep, attempt, seconds, around, isolated, basis = item
    if code is not None and (task.__class__, code) not in place.checked:
        _check_code(task, code)
        place.checked.add((task.__class__, code))
    if not place.at_home:
        _take_in(inputs, memory)
    body = place.bodies.body(_Node(task, requires), used, answered, attempt, seconds)
    store = store_of(task)
    if not place.at_home:
        _seed(task)
    lock = nullcontext() if store.root == MEMORY or mirrored() else store.locks.borrow(task.task_id)
    with lock, surroundings(*around) if around is not None else nullcontext():
        if not isolated:
            return _receipt(place, body, _step(body, body.start), keep)
        if place.is_parent():
            worker_process.outlive()  # not before the lock is borrowed: till then it ends with the one that has lent it
            if seconds is not None:
                _mind_the_time(seconds)
        with in_own_folder(body) as note:
            outcome = _step(body, body.start)
            result = _receipt(place, body, outcome, keep)
            if result.state is State.BUILT and basis is not None and not mirrored():
                Receipt(place.run_id, basis, result).leave(body.frame.job.dir)
            note(outcome)
        return result


def _seed(task: Any) -> None:
    """Have random numbers of a body follow from its task, where the process is for this body alone at the time."""
    if threading.current_thread() is not threading.main_thread():
        return
    random.seed(seed_of(task))
    numpy = sys.modules.get("numpy")
    if hasattr(numpy, "random"):
        numpy.random.seed(seed_of(task))  # type: ignore[union-attr]


def run_apart(seconds: float | None, header: bytes, item: bytes, *memory: bytes) -> TaskResult:
    """Do what `run` does in a process of its own, a child of this worker that ends afterwards.

    Raises
    ------
    WorkTimeout
        After `seconds`, if they are given.
    WorkerDied
        The process ended before the body did.
    """
    return _apart(seconds, run, (header, item, *memory))


def _apart(seconds: float | None, function: Callable[..., TaskResult], args: tuple[Any, ...]) -> TaskResult:
    pool = ProcessExecutor(1)
    try:
        if seconds is not None:
            pool.submit(_ready).result()  # the time is for the body, not for the start of its process
        return pool.assign(function, args, seconds=seconds, alone=True).result()
    finally:
        pool.kill()
        pool.shutdown()


def _ready() -> None:
    """Do nothing, with all imported that a body needs."""


def _mind_the_time(seconds: float) -> None:
    """Have the body of this process stopped when its time is up, should the run that would do so have been killed."""
    if not hasattr(signal, "setitimer") or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL:
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        raise cancellation.request(f"it has taken longer than {seconds:g} s (worker_timeout)")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds + LONGEST_GRACE)


_depot: Depot | None = None
_making_depot = threading.Lock()


def run_shipped(
    seconds: float | None,
    apart: bool,
    base: str,
    where: str,
    parcels: list[Parcel],
    content: dict[bytes, bytes],
    header: bytes,
    item: bytes,
    *memory: bytes,
) -> TaskResult | Wanted:
    """Do what `run` does on a machine that does not see the data folder: one body at a time.

    Parameters
    ----------
    seconds : float or None
        See `run_apart`.
    apart : bool
        Run it in a process of its own.
    base : str
        Working folder of the coordinator.
    where : str
        Folder of the outputs, as the coordinator calls it.
    parcels : list of Parcel
        The files that the body may read.
    content : dict of bytes to bytes
        What they hold, by digest: as much of it as the worker is thought not to have.

    Returns
    -------
    TaskResult, or Wanted
        Wanted: files are missing, send them along.
    """
    global _depot
    with _making_depot:
        _depot = depot = _depot or Depot()
    with depot.guard:
        missing = depot.unpack(parcels, content)
        if missing:
            return Wanted(missing)
        place = in_mirror(where, depot.folder)
        args: tuple[Any, ...] = (depot.folder, base, place, parcels, header, item, *memory)
        try:
            result = _apart(seconds, _run_in_depot, args) if apart or seconds else _run_in_depot(*args)
            for packed in result.files:
                depot.keep_packed(packed)
        finally:
            depot.clear()
        return result


def _run_in_depot(
    depot: str, base: str, place: str, parcels: list[Parcel], header: bytes, item: bytes, *memory: bytes
) -> TaskResult:
    with working_in(depot, base, parcels):
        run_here, content = _run_of(header), _loaded(item)
        before = make_room(content[0], place)
        run_here.bodies.forget_folders()
        result = _run_item(run_here, content, memory)
        if result.state is State.BUILT:
            result.files = pack(content[0], place, before, depot)
        elif result.state is State.FAILED:
            result.files = emitted(content[0], depot)
        return result


def resume(number: int, inputs: list[tuple[str, Any]], *memory: bytes) -> TaskResult:
    """Let a body go on that this worker has kept; see `run`."""
    place, body = _kept.pop(number)
    if place is not _current:
        place.enter()
        loaded_classes(place.classes)
    _take_in(inputs, memory)
    return _receipt(place, body, _step(body, body.resume), True)


def _step(body: Any, step: Callable[[], Outcome]) -> Outcome:
    """Let a body run up to its end, or to where it asks for more, or until somebody asks this process to stop."""
    _hear_signals()
    _running.append(body.frame)
    before, sys.breakpointhook = sys.breakpointhook, _no_breakpoint
    try:
        outcome = step()
    except TaskCancelled:
        error = cancellation.taken_back()
        if error is None:  # of the run: nobody waits for what came of it
            raise
        worker_process.leave()
        seconds = monotonic() - body.frame.begun
        failure = failure_of(body.task, error, seconds)
        outcome = Outcome(State.CANCELLED, seconds, failure, captured=body.captured())
    finally:
        sys.breakpointhook = before
        _running.pop()
    return outcome


def _hear_signals() -> None:
    """Have signals that ask this process to stop raise `TaskCancelled` in the body that runs.

    In the processes of our own pool only: those of others have a way of their own to be stopped. A body before may have
    set handlers of its own.
    """
    if worker_process.output is not None and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not _stop:
                signal.signal(number, _stop)


def _after_fork_in_child() -> None:
    """Have signals end a process that a body has started by a fork, as they would anywhere."""
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is _stop:
            signal.signal(number, usual)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _stop(number: int, _: Any) -> None:
    if not _running:
        os._exit(128 + number)
    if number == signal.SIGINT:
        raise TaskCancelled("the run was interrupted")
    frame = _running[-1]
    raise cancellation.request(
        f"it has taken longer than {frame.seconds:g} s (worker_timeout)"
        if worker_process.is_late()
        else f"the process that runs it ({os.getpid()}) was asked to end (SIGTERM)"
    )


def _no_breakpoint(*_: Any, **__: Any) -> None:
    raise BodyError(
        "breakpoint() was reached in a worker, where nobody can type",
        hint='Run with executor="serial", or d6tpipe run --pdb, and the debugger opens.',
    )


def give_up(number: int) -> str:
    """Close a body that this worker has kept; return what it raised on the way, as text."""
    _, body = _kept.pop(number)
    try:
        body.close()
    except Exception as error:  # noqa: BLE001  (reported by the coordinator)
        return told(error)
    return ""


def _take_in(inputs: list[tuple[str, Any]], memory: tuple[bytes, ...]) -> None:
    for (name, stamp), data in zip(inputs, memory, strict=True):
        path = localized(name)
        if path not in cache.data or cache.stamps.get(path) != stamp or not isinstance(stamp, tuple):
            cache.restore(path, pickle.loads(data), stamp)


def _check_code(task: Any, code: tuple[str, str]) -> None:
    here = definition(task.__class__)
    fast, stable = code
    if here.code_fast == fast or (stable and here.code_stable == stable):
        return
    raise CodeMismatch(f"{task.task_family} of the module {task.__class__.__module__}")


def _receipt(place: _Run, body: Any, outcome: Outcome, keep: bool) -> TaskResult:
    result = TaskResult(outcome.state, outcome.seconds, dict(outcome.written))
    result.host, result.pid, result.peak_memory = host_name(), os.getpid(), _peak_memory()
    if body.frame.told:
        result.told = _pickled_events(body.frame.told)
        body.frame.told = []
    if outcome.suspension is not None:
        result.asked = cloudpickle.dumps(list(outcome.suspension.requirements))
        if keep:
            result.kept = next(_numbers)
            _kept[result.kept] = place, body
        else:
            body.close()
        return result
    if outcome.bound:
        result.bound = cloudpickle.dumps(list(outcome.bound))
    if outcome.failure is None and outcome.state is State.BUILT:
        try:
            result.memory = _memory_of([body.task, *[task for task, _ in outcome.bound]])
        except DeclarationError as error:
            outcome = Outcome(State.FAILED, outcome.seconds, failure_of(body.task, error, outcome.seconds))
            result.state = State.FAILED
    result.captured = outcome.captured
    if outcome.failure is not None:
        result.error, result.traceback = _pickled_error(outcome.failure.error), outcome.failure.traceback
    return result


def _memory_of(tasks: list[Any]) -> list[tuple[str, Any, bytes]]:
    found = []
    for path in memory_paths(tasks):
        if path in cache.data:
            value = cache.data[path]
            try:
                data = cloudpickle.dumps(value)
            except Exception as error:
                raise DeclarationError(
                    "A value that was saved in memory cannot be sent back from the worker",
                    task=tasks[0],
                    facts={"output": path, "type": type(value).__qualname__, "because": told(error)},
                    hint="Save it to disk in a format that can hold it, save something that can be pickled, or run "
                    'with executor="threads".',
                ) from error
            found.append((original(path), cache.stamp(path), data))
    return found


def _pickled_events(events: list[Event]) -> bytes:
    for event in events:
        if event.error is not None:
            event.error = pickle.loads(_pickled_error(event.error))
    return cloudpickle.dumps(events)


def _pickled_error(error: BaseException) -> bytes:
    trace, cause, context = error.__traceback__, error.__cause__, error.__context__
    try:
        data = cloudpickle.dumps(error)
        pickle.loads(data)  # an exception with an __init__ of its own often cannot be made again
        return data
    except Exception as second:  # noqa: BLE001  (told in what is sent instead)
        stands_for = BodyError(told(error), facts={"it cannot be sent from the worker": told(second)})
        return cloudpickle.dumps(stands_for)
    finally:
        error.__traceback__, error.__cause__, error.__context__ = trace, cause, context


def outcome_of(task: Any, result: TaskResult) -> Outcome:
    """Return what a receipt means for the engine; values in memory and files that came with it are put in place.

    Who waits for events is told those of runs that the body has started.

    Raises
    ------
    StorageError
        The disk says no to the files.
    """
    if result.memory:
        tasks = [task, *[other for other, _ in pickle.loads(result.bound)]] if result.bound else [task]
        names = {absolute(path): path for path in memory_paths(tasks)}
        result.memory = [(names.get(path, path), stamp, data) for path, stamp, data in result.memory]
    for path, stamp, data in result.memory:
        cache.restore(path, pickle.loads(data), stamp)
    for event in pickle.loads(result.told) if result.told else ():
        tell(event)
    failure = None
    if result.error:
        error = pickle.loads(result.error)
        if result.traceback and error.__cause__ is None:
            error.__cause__ = _Remote(result.traceback)
        failure = Failure(task, error, result.traceback, result.seconds, result.captured)
    outcome = Outcome(result.state, result.seconds, failure, written=result.written, captured=result.captured)
    if result.files:
        outcome.written = bring_back(task, result.files)
    if result.bound:
        outcome.bound = pickle.loads(result.bound)
    return outcome


class _Remote(Exception):
    """Shows the traceback that an exception had in the worker."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "in a worker:\n" + self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return _Remote, (self.text,)


def _peak_memory() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
