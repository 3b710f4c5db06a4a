"""Sending bodies to executors and taking back what came of them: what stands between the engine and where bodies run.

For the engine it is one executor. Behind it may be several: the one that was asked for, and those that single classes
ask for (``executor``, ``isolate``, ``worker_timeout``). It also decides what a failure means: a body that raised, a
worker that died, a body that took too long; and whether to try again.
"""

from __future__ import annotations

import contextvars
import heapq
import importlib
import os
import pickle
import queue
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import nullcontext
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from d6tpipe import executors, plugins, settings
from d6tpipe.bodies import BodyRunner, failure_of
from d6tpipe.capture import Captured
from d6tpipe.declared import class_option
from d6tpipe.errors import (
    BodyError,
    BuildError,
    CrashError,
    DeclarationError,
    InternalError,
    PipeError,
    PluginError,
    StorageError,
    TaskCancelled,
    TaskTimeoutError,
    shown,
    told,
    warn,
)
from d6tpipe.examiner import stats_of, store_of
from d6tpipe.executors.shared import LONGEST_GRACE, CodeMismatch, WorkerDied, WorkerGone, WorkerLost, WorkTimeout
from d6tpipe.hooks import may_have_hooks, submission_of, surroundings
from d6tpipe.interfaces import Failure, Outcome, State
from d6tpipe.stores import MEMORY
from d6tpipe.tasks import TaskAggregator
from d6tpipe.tasks.meta import TaskMeta
from d6tpipe.tasks.outputs import absolute, folder

if TYPE_CHECKING:
    from d6tpipe.payloads import Encoder
    from d6tpipe.shipping import Shipper

__all__ = ["Choice", "Dispatcher", "choose"]

_AHEAD = 16
"""How many tiny bodies per worker are handed out at once, at most."""
_TINY = 0.003
_MOST = 1_000
"""How many bodies an executor that wants to see all is given at once: each is locked, and locks are kept in a list."""
_ATTEMPTS = 4
"""How often a resumable body whose time runs out is begun, unless its class says something else."""
_WARM = ("processes", "loky")
"""Executors that are kept from run to run: their processes take time to start."""


# ---- what was asked for


class Choice:
    """Which executor a run uses, and how large.

    Attributes
    ----------
    name : str
        As shown in messages.
    n_workers : int
    executor : concurrent.futures.Executor or None
        One that the caller made and will shut down; None: built by name.
    address : str
        Of the cluster, for an executor that is built by name.
    """

    __slots__ = ("address", "executor", "n_workers", "name")

    def __init__(self, name: str, n_workers: int, executor: Executor | None = None, address: str = "") -> None:
        self.name, self.n_workers, self.executor, self.address = name, n_workers, executor, address


def choose(n_workers: int | str | None, executor: Any) -> Choice:
    """Return what ``run(workers=..., executor=...)`` means.

    Parameters
    ----------
    n_workers : int, "auto" or None
        None: what the settings say, else 1, or "auto" with an executor that is not serial.
    executor : str, concurrent.futures.Executor, dask Client or None
        None: what the settings say, else serial for one worker and processes for more.

    Raises
    ------
    ParameterError
        A value that does not fit; the message lists what does.
    PluginError
        The name is unknown or its library is missing.
    """
    if n_workers is None and executor is None:
        n_workers = settings.n_workers
    elif n_workers is None:
        n_workers = settings.n_workers if settings.n_workers != 1 else None
    if executor is None:
        executor = settings.executor
    number = None if n_workers is None else _number(n_workers)
    if executor is None:
        executor = "serial" if number in (None, 1) else "processes"
    if not isinstance(executor, str):
        return _given(executor, number)
    name, _, address = executor.partition("://")
    executors.builder_of(name)  # whether it is known
    if name == "serial":
        return Choice("serial", 1)
    number = number or _number("auto")
    return Choice(name, number, address=executor if address else "")


def _number(n_workers: int | str) -> int:
    number = settings.worker_count(n_workers)
    return number if isinstance(number, int) else max(1, executors.usable_processors() - 1)


def _given(executor: Any, number: int | None) -> Choice:
    if type(executor).__module__.partition(".")[0] == "distributed" and hasattr(executor, "scheduler_info"):
        from d6tpipe.executors.dask import of_client

        executor = of_client(executor)
    if not callable(getattr(executor, "submit", None)):
        raise PluginError(
            "executor= must be a name, a concurrent.futures.Executor or a dask Client",
            facts={"got": f"{type(executor).__module__}.{type(executor).__qualname__}"},
            hint=f"Names: {', '.join(executors.known())}.",
        )
    if number is None:
        number = getattr(executor, "n_workers", None) or getattr(executor, "_max_workers", None) or 1
    return Choice(type(executor).__name__, int(number), executor)


# ---- one executor of a run


class _Place:
    """An executor, and what may be done with it."""

    def __init__(self, name: str, executor: Any, owned: bool, start: Callable[[], Encoder]) -> None:
        self.name, self.executor, self.owned = name, executor, owned
        kind = type(executor).__module__
        self.inline = bool(getattr(executor, "inline", False))
        self.in_process = bool(getattr(executor, "in_process", kind == "concurrent.futures.thread"))
        self.affinity = bool(getattr(executor, "affinity", False))
        self.local = bool(getattr(executor, "local", name in _WARM))
        self.breaks = bool(getattr(executor, "breaks", kind == "concurrent.futures.process"))
        self.elastic = bool(getattr(executor, "elastic", False))
        self.assigns = hasattr(executor, "assign")
        self.requests = hasattr(executor, "request")
        self.remote = bool(getattr(executor, "remote", False))
        self.debugging = bool(getattr(executor, "debugging", False))
        self.offers: dict[str, float] = {}
        self._start = start
        self._encoder: Encoder | None = None
        self._shipper: Shipper | None = None

    @property
    def shipper(self) -> Shipper:
        if self._shipper is None:
            self._shipper = plugins.load("services", "shipper")()
        return self._shipper

    @property
    def encoder(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._start()
        return self._encoder


class _Work:
    """One body on its way through attempts and places."""

    __slots__ = (
        "answered", "around", "attempt", "mismatched", "node", "place", "seconds", "suspects", "used", "wanted",
    )  # fmt: skip

    def __init__(self, node: Any, used: bool, place: _Place) -> None:
        self.node, self.used, self.place = node, used, place
        self.attempt = 1
        self.answered: list[Any] = []  # what it asked for and has got, should it have to begin again
        self.around: tuple[dict[str, str | None], str | None] | None = None
        self.mismatched = False
        self.seconds: float | None = None
        self.suspects = 0
        self.wanted: set[bytes] = set()  # files that a worker did not have


class _Plan:
    """What a class says about where and how its bodies run."""

    __slots__ = ("executor", "hooked", "isolate", "resumable", "retry_delay", "retry_on")

    def __init__(self, cls: type) -> None:
        self.executor = class_option(cls, "executor")
        self.hooked = isinstance(cls, TaskMeta) and may_have_hooks(cls)
        self.isolate = class_option(cls, "isolate", False) is True
        self.resumable = class_option(cls, "resumable", False) is True
        self.retry_on = _causes(cls, class_option(cls, "retry_on"))
        self.retry_delay = _delay(cls, class_option(cls, "retry_delay", 0.0))


def _causes(cls: type, value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    causes = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    for cause in causes:
        if cause not in ("timeout", "crash") and not (isinstance(cause, type) and issubclass(cause, BaseException)):
            raise DeclarationError(
                "Class option 'retry_on' must hold exception classes, 'timeout' or 'crash'",
                task=cls,
                facts={"retry_on": repr(value)},
                hint='Write retry_on = (ConnectionError, "timeout").',
            )
    return causes


def _delay(cls: type, value: Any) -> float:
    seconds = value.total_seconds() if hasattr(value, "total_seconds") else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        raise DeclarationError(
            "Class option 'retry_delay' must be a number of seconds, or a timedelta",
            task=cls,
            facts={"retry_delay": repr(value)},
            hint="Write retry_delay = 2.5.",
        )
    return float(seconds)


class _Suspended:
    """A body that waits in a worker, or that has to begin again from the top (see `interfaces.Suspension`)."""

    def __init__(self, owner: Dispatcher, work: _Work, requirements: Sequence[Any], kept: int, process: int) -> None:
        self.requirements = requirements
        self._owner, self.work, self.kept, self.process = owner, work, kept, process

    def resume(self) -> Outcome:
        raise InternalError("A body that waits in a worker was resumed without its dispatcher")

    def close(self) -> None:
        self._owner.give_up(self)


class Dispatcher:
    """The ``Executor`` of a run (see `interfaces.Executor`).

    Parameters
    ----------
    choice : Choice
    bodies : BodyRunner
        Runs what runs in this process.
    run_id : str
    classes : callable
        Returns the classes of the tasks that may run.
    stale : str, optional
        What the run does with stale tasks, if that was said.
    scheduler : (str, str), optional
        URL of luigi's scheduler and the name of the run there: where bodies on workers say how far they are.
    basis : callable, optional
        Returns what stands for the code of a node's class and for what it needs; None if that is not known.
    forced : collection of nodes
        Their bodies run, whatever is there already.
    """

    def __init__(
        self,
        choice: Choice,
        bodies: BodyRunner,
        run_id: str,
        classes: Callable[[], Iterable[type]],
        stale: str | None = None,
        scheduler: tuple[str, str] | None = None,
        basis: Callable[[Any], bytes | None] = lambda node: None,
        forced: Container[Any] = (),
    ) -> None:
        self._forced = forced
        self._stale, self._scheduler, self._basis = stale, scheduler, basis
        self._choice, self._bodies, self._run_id, self._classes = choice, bodies, run_id, classes
        self._places: dict[str, _Place] = {}
        self._plans: dict[type, _Plan] = {}
        self._inline: deque[tuple[_Work, Callable[[], Outcome]]] = deque()
        self._done: queue.SimpleQueue[tuple[_Work | None, Any]] = queue.SimpleQueue()
        self._woken = False
        self._later: list[tuple[float, int, _Work]] = []
        self._held_back: dict[str, Any] = {}  # executors that have not been told to begin
        self._numbers = 0
        self._under_way = 0
        self._longest = 1.0  # seconds, of late
        self._main = self._place(choice.name)
        self._alone: deque[_Work] = deque()  # suspects: one of them has brought its worker down

    @property
    def capacity(self) -> int:
        if self._main.inline:
            return 1
        if self._main.elastic:
            return _MOST
        ahead = 1 if self._longest > _TINY else min(_AHEAD, 1 + int(_TINY / max(self._longest, 1e-4)))
        return self._choice.n_workers * ahead

    def offers(self, name: str) -> float:
        """Return how much of a resource the executor itself has and hands out, 0 if it knows none of that name."""
        return self._main.executor.offers(name) if self._main.requests else 0

    # ---- what the engine asks for

    def submit(self, node: Any, used: bool) -> None:
        plan = self._plans.get(node.task.__class__)
        if plan is None:
            plan = self._plans[node.task.__class__] = _Plan(node.task.__class__)
        place = self._main
        try:
            made = submission_of(node.task, self._run_id) if plan.hooked else None
        except BuildError as error:
            self._settled(_Work(node, used, place), _failed(node, error))
            return
        timeout = node.task.worker_timeout if made is None else made.timeout
        surrounds = made is not None and made.surrounds
        if plan.executor is not None and plan.executor != self._choice.name:
            place = self._place(plan.executor)
        if self._main.debugging:  # all in this thread, whatever the classes say
            place, timeout = self._main, None
        elif (timeout or plan.isolate or surrounds) and (place.in_process or (place.local and not place.assigns)):
            place = self._place("processes")
        if place.remote and not _shipping().is_shippable(node.task):  # its outputs lie who knows where: here
            place = self._place("processes")
        work = _Work(node, used, place)
        work.seconds = float(timeout) if timeout else None
        work.around = (made.env, made.cwd) if made is not None and surrounds else None
        left = self._left_behind(node) if plan.isolate and not place.remote and node not in self._forced else None
        if left is None:
            self._begin(work)
        else:
            self._settled(work, left)

    def _left_behind(self, node: Any) -> Outcome | None:
        """Return what came of the body of an isolated task that has gone on after its run was killed; None if nothing.

        It counts if everything that it follows from is as it was, and nobody has touched the outputs since.
        """
        found = plugins.load("services", "receipt")(node.task)
        if found is None or found.basis != self._basis(node):
            return None
        if found.run_id not in store_of(node.task).records.announcers(node.task.task_family, node.task.task_id):
            return None
        stats = stats_of(node.task)
        if stats is None or set(stats) - {tuple(written[:2]) for written in found.result.written.values()}:
            return None
        plugins.load("services", "adopt_emissions")(node.task, self._run_id)
        return _worker().outcome_of(node.task, found.result)

    def resume(self, node: Any, suspension: Any) -> None:
        if not isinstance(suspension, _Suspended):
            place = self._place_of(node)
            self._start_here(_Work(node, True, place), suspension.resume)
            return
        work = suspension.work
        work.answered += suspension.requirements
        if not suspension.kept:
            self._begin(work)
            return
        try:
            inputs, blobs = work.place.encoder.inputs(suspension.requirements)
        except PipeError as error:
            self._settled(work, _failed(node, error))
            return
        future = work.place.executor.assign(
            _worker().resume, (suspension.kept, inputs, *blobs), worker=suspension.process, seconds=work.seconds
        )
        self._expect(work, future)

    def wait(self, timeout: float | None = None) -> Iterable[tuple[Any, Outcome]]:
        """Block until a body is done, or waits for what it has asked for; see `interfaces.Executor.wait`."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            found: list[tuple[Any, Outcome]] = []
            if self._inline:
                work, call = self._inline.popleft()
                self._take(work, call(), found)
            self._retry_due()
            for executor in self._held_back.values():
                executor.flush()
            self._held_back.clear()
            if not found and not self._inline:
                self._take_next(found, end)
            while not self._done.empty():
                self._take(*self._done.get(), found)
            if found or self._woken or (end is not None and monotonic() >= end):
                self._woken = False
                return found

    def wake(self) -> None:
        """Have `wait` return; from any thread."""
        self._done.put((None, None))

    def _take_next(self, found: list[tuple[Any, Outcome]], end: float | None) -> None:
        """Wait for one thing to happen, until `end` at most."""
        if self._alone and not self._under_way:
            self._try_alone()
        until = self._later[0][0] if self._later else None
        if end is not None:
            until = end if until is None else min(until, end)
        try:
            self._take(*self._done.get(timeout=None if until is None else max(0.0, until - monotonic())), found)
        except queue.Empty:
            pass

    def close(self) -> None:
        """End what still runs, and the executors that are not kept."""
        running = self._under_way > 0
        for place in self._places.values():
            if running and hasattr(place.executor, "interrupt"):
                place.executor.interrupt()
        if running and all(place.assigns for place in self._places.values() if not place.inline):
            self._let_end()
        for place in self._places.values():
            executor = place.executor
            if place.owned:
                executor.shutdown(wait=not running or place.in_process, cancel_futures=True)
            elif hasattr(executor, "forget"):
                executor.forget()

    def _let_end(self) -> None:
        """Wait until bodies that were interrupted have ended: they may have something to save."""
        end = monotonic() + LONGEST_GRACE
        while self._under_way and monotonic() < end:
            try:
                work, _ = self._done.get(timeout=max(0.0, end - monotonic()))
            except queue.Empty:
                break
            self._under_way -= work is not None

    def give_up(self, suspended: _Suspended) -> None:
        """Close a body that waits in a worker."""
        if not suspended.kept:
            return
        work = suspended.work
        try:
            said = work.place.executor.assign(_worker().give_up, (suspended.kept,), worker=suspended.process).result(30)
        except (WorkerGone, WorkerDied):
            return
        if said:
            warn(f"{shown(work.node.task)} was given up and raised while cleaning up: {said}")

    # ---- places

    def _place(self, name: str) -> _Place:
        found = self._places.get(name)
        choice = self._choice
        if found is None:
            executor, owned = self._build(name)
            made = self._places[name] = found = _Place(
                name,
                executor,
                owned,
                lambda: plugins.load("services", "encoder")(
                    self._run_id, self._classes(), made.local, self._stale, self._scheduler, choice.n_workers
                ),
            )
        return found

    def _build(self, name: str) -> tuple[Any, bool]:
        choice = self._choice
        if name == choice.name and choice.executor is not None:
            return choice.executor, False
        number = choice.n_workers
        more = {"address": choice.address} if name == choice.name and choice.address else {}
        if name in _WARM:
            return executors.warm(name, number, settings), False
        try:
            return executors.builder_of(name)(n_workers=number, settings=settings, **more), True
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(
                f"The executor {name!r} cannot be built",
                facts={"n_workers": number, "its builder said": told(error)},
                hint="Correct the builder, or choose another: " + ", ".join(executors.known()) + ".",
            ) from error

    def _place_of(self, node: Any) -> _Place:
        plan = self._plans[node.task.__class__]
        return self._main if plan.executor is None else self._place(plan.executor)

    # ---- starting

    def _begin(self, work: _Work) -> None:
        place, node = work.place, work.node
        if place.in_process:
            self._start_here(work, lambda: self._here(work))
            return
        if isinstance(node.task, TaskAggregator):  # nothing runs
            self._settled(work, self._bodies(node, work.used))
            return
        try:
            args = self._payload(work)
        except (PipeError, OSError) as error:
            self._settled(work, _failed(node, error))
            return
        store = store_of(node.task)
        if store.root != MEMORY and not place.remote:
            store.locks.lend(node.task.task_id)
        try:
            future = self._sent(work, args)
        except BrokenExecutor:
            self._renew(place)
            future = self._sent(work, args)
        self._expect(work, future)

    def _here(self, work: _Work) -> Outcome:
        with surroundings(*work.around) if work.around is not None else nullcontext():  # so only where one runs alone
            return self._bodies(work.node, work.used, work.attempt)

    def _payload(self, work: _Work) -> tuple[Any, ...]:
        """Return the arguments of `worker.run`; for a worker without the data folder what `worker.run_shipped` adds."""
        place, node = work.place, work.node
        isolated = self._plans[node.task.__class__].isolate
        alone = isolated or work.around is not None  # it will begin again from the top
        keep = place.affinity and not place.remote and not alone
        item, blobs = place.encoder.item(
            node, work.used, work.answered, keep, work.attempt, work.seconds, work.around, isolated,
            self._basis(node) if isolated else None,
        )  # fmt: skip
        args = place.encoder.header, item, *blobs
        if not place.remote:
            return args
        parcels = place.shipper.parcels([need.task for need in node.needs] + work.answered)
        content = {**place.shipper.content(work.wanted), **place.shipper.first_time(parcels)}
        return os.getcwd(), absolute(folder(node.task)), parcels, content, *args

    def _sent(self, work: _Work, args: tuple[Any, ...]) -> Future[Any]:
        """Hand a body to its executor, in the way that the executor has."""
        executor: Any = work.place.executor
        task = work.node.task
        # Workers of others may be threads of one process.
        isolate = self._plans[task.__class__].isolate or (work.around is not None and not work.place.assigns)
        if work.place.assigns and not work.place.remote:
            kind = task.__class__.__qualname__
            self._held_back[work.place.name] = executor
            return executor.assign(_worker().run, args, kind=kind, seconds=work.seconds, alone=isolate, later=True)
        function: Callable[..., Any] = _worker().run
        if work.place.remote:
            function, args = _worker().run_shipped, (work.seconds, isolate, *args)
        elif isolate or work.seconds:
            function, args = _worker().run_apart, (work.seconds, *args)
        if work.place.requests:
            resources = self._resources(work.place, task)
            return executor.request(function, args, resources=resources, priority=task.priority)
        return executor.submit(function, *args)

    def _resources(self, place: _Place, task: Any) -> dict[str, float]:
        """Return what a task asks for of what the cluster has; other names are limits of the run."""
        wanted = task.process_resources()
        if not wanted:
            return {}
        for name in wanted:
            if name not in place.offers:
                place.offers[name] = place.executor.offers(name)
        return {name: amount for name, amount in wanted.items() if place.offers[name]}

    def _start_here(self, work: _Work, call: Callable[[], Outcome]) -> None:
        if work.place.inline:
            self._inline.append((work, call))
        else:
            self._expect(work, work.place.executor.submit(contextvars.copy_context().run, call))

    def _expect(self, work: _Work, future: Future[Any]) -> None:
        self._under_way += 1
        future.add_done_callback(lambda done: self._done.put((work, done)))

    def _settled(self, work: _Work, outcome: Outcome) -> None:
        """Have `wait` return an outcome that is known already."""
        self._under_way += 1
        future: Future[Any] = Future()
        future.set_result(outcome)
        self._done.put((work, future))

    # ---- what came of it

    def _take(self, work: _Work | None, done: Any, found: list[tuple[Any, Outcome]]) -> None:
        outcome = done
        if work is None:
            self._woken = True
            return
        if isinstance(done, Outcome):
            pass
        else:
            self._under_way -= 1
            outcome = self._meaning(work, done)
            if outcome is None:  # it was begun again
                return
        if outcome.failure is not None and self._retries(work, outcome.failure):
            return
        if outcome.suspension is None:
            self._longest = max(outcome.seconds, 0.8 * self._longest)
        found.append((work.node, outcome))

    def _meaning(self, work: _Work, future: Any) -> Outcome | None:
        """Return what a finished future says; None if the body has been sent again."""
        node = work.node
        try:
            result = future.result()
        except KeyboardInterrupt:
            raise
        except WorkTimeout as error:
            return self._lost(work, _failed(node, _timeout(node, error.seconds), error.seconds, error.output))
        except WorkerDied as error:
            return self._lost(work, _failed(node, _crash(node, error), output=error.output))
        except WorkerGone:  # what it had kept is lost: from the top
            self._begin(work)
            return None
        except WorkerLost:
            if work.suspects:  # it was alone this time
                return self._lost(work, _failed(node, _crash(node, WorkerDied(0, None))))
            work.suspects += 1
            self._alone.append(work)
            return None
        except CodeMismatch as error:
            return self._other_code(work, error)
        except (BrokenExecutor, CancelledError) as error:
            return self._broken(work, error)
        except BaseException as error:  # noqa: BLE001  (reported: the executor could not run it)
            return _failed(node, error)
        if isinstance(result, Outcome):
            return result
        if work.place.remote and isinstance(result, _shipping().Wanted):
            work.wanted.update(result.digests)
            self._begin(work)
            return None
        try:
            outcome = _worker().outcome_of(node.task, result)
        except StorageError as error:
            return _failed(node, error, result.seconds)
        for path, stamp, data in result.memory:
            work.place.encoder.hold(path, stamp, data)
        if result.asked:
            outcome.suspension = _Suspended(
                self, work, pickle.loads(result.asked), result.kept, getattr(future, "worker", 0)
            )
        return outcome

    def _lost(self, work: _Work, outcome: Outcome) -> Outcome:
        if self._plans[work.node.task.__class__].isolate and not work.place.remote:
            plugins.load("services", "note_lost")(work.node.task, outcome)
        return outcome

    def _other_code(self, work: _Work, error: CodeMismatch) -> Outcome | None:
        """A worker that has been kept may have imported a module before it was edited: try a new one, once."""
        restart = getattr(work.place.executor, "restart", None)
        if restart is not None and not work.mismatched:
            work.mismatched = True
            restart()
            self._begin(work)
            return None
        mismatch = BodyError(
            "The code of the class is not the same on the worker as here",
            task=work.node.task,
            facts={"class": str(error), "executor": work.place.name},
            hint="Install the same version on the workers; here, import again what was edited (or restart Python).",
        )
        return _failed(work.node, mismatch)

    def _broken(self, work: _Work, error: BaseException) -> Outcome | None:
        """One of those under way has ended its process, and the executor with it. Each is tried again, by itself."""
        work.suspects += 1
        if work.suspects > 1 and isinstance(error, BrokenExecutor):
            return _failed(work.node, _crash(work.node, error))
        self._alone.append(work)
        return None

    def _try_alone(self) -> None:
        """Run the suspects one after the other: what breaks the executor now is to blame."""
        while self._alone:
            work = self._alone.popleft()
            place = work.place
            try:
                args = self._payload(work)
            except (PipeError, OSError) as error:
                self._settled(work, _failed(work.node, error))
                continue
            try:
                future = self._sent(work, args)
                wanted = place.remote and future.exception() is None and future.result()
            except BrokenExecutor:
                self._renew(place)
                self._alone.appendleft(work)
                continue
            if place.remote and isinstance(wanted, _shipping().Wanted):  # the new worker has nothing yet
                work.wanted.update(wanted.digests)
                self._alone.appendleft(work)
                continue
            future.exception()
            if isinstance(future.exception(), BrokenExecutor):
                self._renew(place)
            self._expect(work, future)

    def _renew(self, place: _Place) -> None:
        executor, place.owned = self._build_again(place)
        place.executor = executor

    def _build_again(self, place: _Place) -> tuple[Any, bool]:
        if not place.owned and place.name not in _WARM:
            raise PluginError(
                "The executor that was given is broken: one of its workers died",
                facts={"executor": place.name},
                hint="Give a new one, or the name of an executor, which d6tpipe can build again.",
            )
        if place.name in _WARM:
            executors.discard(place.name)
        return self._build(place.name)

    # ---- trying again

    def _retries(self, work: _Work, failure: Failure) -> bool:
        limit = work.node.task.retry_count
        plan = self._plans[work.node.task.__class__]
        if limit is None and plan.resumable and isinstance(failure.error, TaskTimeoutError):
            limit = _ATTEMPTS
        if limit is None or work.attempt >= limit or isinstance(failure.error, TaskCancelled):
            return False
        if plan.retry_on is not None and not _is_cause(failure.error, plan.retry_on):
            return False
        work.attempt += 1
        work.answered = []
        self._numbers += 1
        heapq.heappush(self._later, (monotonic() + plan.retry_delay, self._numbers, work))
        return True

    def _retry_due(self) -> None:
        while self._later and self._later[0][0] <= monotonic():
            self._begin(heapq.heappop(self._later)[2])


@cache
def _worker() -> Any:
    """Return the module `worker`; a run that is serial has no use for what it imports."""
    return importlib.import_module("d6tpipe.worker")


@cache
def _shipping() -> Any:
    return importlib.import_module("d6tpipe.shipping")


def _is_cause(error: BaseException, causes: tuple[Any, ...]) -> bool:
    for cause in causes:
        if cause == "timeout":
            if isinstance(error, TaskTimeoutError):
                return True
        elif cause == "crash":
            if isinstance(error, CrashError):
                return True
        elif isinstance(error, cause):
            return True
    return False


def _failed(node: Any, error: BaseException, seconds: float = 0.0, output: tuple[str, str] = ("", "")) -> Outcome:
    """Return the outcome of a body that did not end as bodies do: nothing of it can be shown."""
    known = isinstance(error, (CrashError, TaskTimeoutError, BodyError, DeclarationError))
    if not known:
        return Outcome(State.FAILED, seconds, failure_of(node.task, error, seconds))
    captured = Captured(*output) if any(output) else None
    state = State.TIMEOUT if isinstance(error, TaskTimeoutError) else State.FAILED
    return Outcome(state, seconds, Failure(node.task, error, "", seconds, captured), captured=captured)


def _timeout(node: Any, seconds: float) -> TaskTimeoutError:
    return TaskTimeoutError(
        f"run() took longer than {seconds:g} s, and its process was stopped",
        task=node.task,
        facts={"worker_timeout": f"{seconds:g} s"},
        hint="Give it more time (worker_timeout = ...), or find out what it waits for: d6tpipe.log(task).",
    )


def _crash(node: Any, error: BaseException) -> CrashError:
    said = str(error) if isinstance(error, WorkerDied) else told(error)
    return CrashError(
        "The process that ran the task died",
        task=node.task,
        facts={"what happened": said},
        hint="What it printed last may say why: d6tpipe.log(task). What was not saved is lost; the others went on.",
    )
