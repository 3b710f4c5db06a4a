"""One run, put together: graph, plan, ledger, executors, and who is told of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import luigi

from d6tpipe import settings
from d6tpipe.bodies import BodyRunner, failure_of, missing_input
from d6tpipe.callbacks import handlers, tell
from d6tpipe.cancellation import terminable
from d6tpipe.capture import SHOW_CAPTURE, PythonCapture
from d6tpipe.dispatch import Choice, Dispatcher
from d6tpipe.engine.build import build
from d6tpipe.engine.graph import Graph, Node
from d6tpipe.engine.limits import Limits
from d6tpipe.engine.plan import Plan
from d6tpipe.errors import ParameterError, shown
from d6tpipe.examiner import Examiner
from d6tpipe.identity import nearest
from d6tpipe.interfaces import Event, EventKind, Failure, Intake, State
from d6tpipe.ledger import TaskLedger
from d6tpipe.progress import progress_for
from d6tpipe.results import Result
from d6tpipe.tasklogs import link
from d6tpipe.tasks.external import is_external
from d6tpipe.taskview import TaskView

__all__ = ["Coordinator", "Options"]

logger = logging.getLogger("d6tpipe")


@dataclass
class Options:
    """How a run goes about it; see `flow.run`, which has the same names.

    Attributes
    ----------
    address : str or None
        Of luigi's scheduler.
    """

    max_failures: int | None = None
    resources: Mapping[str, float] | None = None
    address: str | None = None
    claim: bool = False
    drain: bool = False
    callbacks: Iterable[Callable[[Event], Any]] | None = None
    progress: bool | None = None
    show_capture: str | None = None

    def __post_init__(self) -> None:
        self.show_capture = settings.show_capture if self.show_capture is None else self.show_capture
        if self.show_capture not in SHOW_CAPTURE:
            near = nearest(str(self.show_capture), SHOW_CAPTURE)
            raise ParameterError(
                "show_capture must be one of five words",
                facts={"got": repr(self.show_capture), "allowed": ", ".join(SHOW_CAPTURE)},
                hint=f"Did you mean '{near}'?" if near else "Write show_capture='all'.",
            )


class Coordinator:
    """Carries out one run.

    Parameters
    ----------
    graph : Graph
        Judged.
    goals : list of Node
        What was asked for; grows with what is asked for later.
    view : TaskView
    choice : Choice
        Where bodies run.
    options : Options
    forced : set of Node
        Nodes to build although they are complete.
    begun : float, optional
        When the run began, by ``perf_counter``; by default now.

    Attributes
    ----------
    sweeps : list of (sweep, tasks)
        What of the goals came as a sweep.
    """

    def __init__(
        self,
        graph: Graph,
        goals: list[Node],
        view: TaskView,
        choice: Choice,
        options: Options,
        forced: frozenset[Node] = frozenset(),
        begun: float | None = None,
    ) -> None:
        self._begun = perf_counter() if begun is None else begun
        self.graph, self.goals, self.view = graph, goals, view
        self._choice, self._options, self._forced = choice, options, forced
        self._plan = Plan(graph.order, goals, view, forced)
        self._failures: list[Failure] = []
        self.sweeps: list[tuple[Any, list[Any]]] = []
        self._ledger: Any = None
        self._dispatcher: Dispatcher | None = None
        self._bar: Any = None
        self._mirror: Any = None
        self._follower: Any = None

    @property
    def examiner(self) -> Examiner:
        return self.view.examiner

    def result(self, dry: bool = False) -> Result:
        """Return what has come of it so far."""
        tolerated = [
            (set(map(self.graph.find, members)), sweep.allowed_of(len(members)))
            for sweep, members in self.sweeps
            if sweep.tolerance
        ]
        spare = tolerated if tolerated or self.view.tolerant else None
        seconds = perf_counter() - self._begun
        words = self._options.show_capture or "all"
        return Result(self.graph.order, self._failures, seconds, dry, self.goals, words, spare)

    def carry_out(self, intake: Intake | None = None) -> None:
        """Build what is missing; with an `intake` also what is asked for meanwhile, until that ends.

        Raises
        ------
        KeyboardInterrupt
            The bodies that run are given up, nothing more starts; what was built stays.
        SystemExit
            The same after SIGTERM.
        """
        options, choice, graph, examiner = self._options, self._choice, self.graph, self.examiner
        run_id, stale = examiner.run_id, examiner.policy.stale
        mirror = None
        if options.address is not None:
            from d6tpipe.central import Mirror

            mirror = self._mirror = Mirror(
                options.address, graph.order, self.goals, choice.n_workers, link, options.drain, options.claim
            )
        bar = self._bar = progress_for(options.progress, len(self._plan.nodes), intake is not None)
        luigi_is_told = intake is not None or _has_handlers()  # of a session somebody may register handlers by and by
        reporters: list[Callable[[Event], Any]] = [_luigi_events(graph, self.goals)] if luigi_is_told else []
        reporters += [bar] if bar is not None else []
        reporters += [] if mirror is None else [mirror]
        follower = None
        if intake is not None or "d6tpipe.watchers" in sys.modules:  # else nobody can have said that he watches
            from d6tpipe.watchers import follower_of

            follower = self._follower = follower_of(graph, run_id, intake is not None)
        reporters += [] if follower is None else [follower]  # before those who are told of the end of a task
        reporters += handlers() if intake is None else [tell]  # also those who wait since a moment ago
        reporters += options.callbacks or ()

        def report(event: Event) -> None:
            for reporter in reporters:
                reporter(event)

        def note(failure: Failure) -> None:
            self._failures.append(failure)
            _log(failure)
            if mirror is not None:
                mirror.note(failure)

        ledger: Any = TaskLedger(self.view, examiner, run_id, self._forced)
        refuse = missing_input
        if options.claim:
            from d6tpipe.central import ClaimingLedger

            assert mirror is not None  # flow.run has seen to it
            ledger = ClaimingLedger(ledger, mirror, missing_input)
            refuse = ledger.refuse
        self._ledger = ledger
        capture = PythonCapture()
        bodies = BodyRunner(stale, capture, mirror, choice.n_workers, run_id)
        dispatcher = self._dispatcher = Dispatcher(
            choice,
            bodies,
            run_id,
            lambda: {node.task.__class__ for node in self._plan.nodes},
            stale=stale,
            scheduler=None if mirror is None else (mirror.url, mirror.worker),
            basis=examiner.basis,
            forced=self._forced,
        )
        with terminable():
            try:
                if mirror is not None:
                    mirror.start()
                self._plan.limit(Limits(_limits(options.resources), lambda name: dispatcher.offers(name) or 1))
                self._adopt_frozen(graph.order)
                # In this order: the bar's own drawing goes past the capture.
                with bar or nullcontext(), capture, follower or nullcontext():
                    build(
                        graph,
                        self._plan,
                        self.view,
                        dispatcher,
                        ledger,
                        report if reporters else _quiet,
                        refuse=refuse,
                        fail=lambda node, error: failure_of(node.task, error),
                        note=note,
                        max_failures=options.max_failures,
                        intake=intake,
                    )
            finally:
                dispatcher.close()
                ledger.close()
                bodies.close()
                if mirror is not None:
                    mirror.close()

    def wake(self) -> None:
        """Have the run look at its intake; from any thread."""
        if self._dispatcher is not None:
            self._dispatcher.wake()

    def taken_in(self, goals: Sequence[Node], added: Sequence[Node]) -> None:
        """Take notice of what was asked for meanwhile, in the thread of the run."""
        self.goals += goals
        self._adopt_frozen(added)
        if self._bar is not None:
            self._bar.expect(len(self._plan.nodes))
        if self._mirror is not None:
            self._mirror.watch()
        if self._follower is not None:
            self._follower.look_back()

    def _adopt_frozen(self, nodes: Iterable[Node]) -> None:
        self._ledger.adopt(node for node in nodes if node.state is State.FROZEN)


def _limits(given: Mapping[str, float] | None) -> dict[str, float]:
    """Return how much there is of each resource: what luigi's configuration says, and what the call says."""
    config = luigi.configuration.get_config()
    found: dict[str, float] = {}
    if config.has_section("resources"):
        found = {name: config.getfloat("resources", name) for name in config.options("resources")}
    for name, amount in (given or {}).items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
            raise ParameterError(
                "resources= says how much there is of each: a number, 0 or more",
                facts={"got": f"{name!r}: {amount!r}"},
                hint='Write resources={"db": 2}.',
            )
        found[name] = amount
    return found


def _quiet(event: Event) -> None:
    """Tell nobody."""


def _log(failure: Failure) -> None:
    if failure.traceback:
        logger.error("%s failed\n%s", shown(failure.task), failure.traceback.rstrip())


# ---- luigi's events


def _has_handlers() -> bool:
    return any(handlers for handlers in luigi.Task._event_callbacks.values())


def _luigi_events(graph: Graph, goals: list[Node]) -> Callable[[Event], None]:
    """Return a reporter that triggers luigi's events, after telling what the graph has found.

    As luigi does, it tells of nothing below a task that is complete.
    """
    seen: set[Node] = set()
    told = len(graph.order)

    def discover(nodes: Iterable[Node]) -> None:
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            task = node.task
            if node.complete:
                task.trigger_event(luigi.Event.DEPENDENCY_PRESENT, task)
                continue
            if is_external(task):
                task.trigger_event(luigi.Event.DEPENDENCY_MISSING, task)
            for need in node.needs:
                task.trigger_event(luigi.Event.DEPENDENCY_DISCOVERED, task, need.task)
            pending += node.needs

    def report(event: Event) -> None:
        nonlocal told
        if len(graph.order) > told:  # a body has asked for more; those asked for come last
            discover(graph.order[told:])
            told = len(graph.order)
        task = event.task
        if event.kind is EventKind.STARTED:
            task.trigger_event(luigi.Event.START, task)
        elif event.kind is EventKind.COMPLETED:
            task.trigger_event(luigi.Event.PROCESSING_TIME, task, event.seconds)
            task.trigger_event(luigi.Event.SUCCESS, task)
        elif event.kind is EventKind.FAILED and not is_external(task):
            task.trigger_event(luigi.Event.FAILURE, task, event.error)

    discover(reversed(goals))
    return report
