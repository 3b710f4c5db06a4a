"""The build loop: joins plan, view and executor. One thread decides; bodies run where the executor puts them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from d6tpipe.engine.freshness import judge
from d6tpipe.engine.graph import Graph, Node
from d6tpipe.engine.plan import UNSETTLED, Plan
from d6tpipe.engine.transients import Leftovers, look_for
from d6tpipe.errors import GraphError, MissingOutputError, warn
from d6tpipe.interfaces import (
    GOOD,
    Event,
    EventKind,
    Executor,
    Failure,
    Intake,
    Ledger,
    Outcome,
    Reporter,
    State,
    Suspension,
    TaskView,
)

__all__ = ["build"]


_PATIENCE = 0.5
"""Seconds after which tasks that others build are looked at again, while something runs here."""


class _Waiting:
    """A suspended body and what it still waits for."""

    __slots__ = ("left", "node", "suspension")

    def __init__(self, node: Node, suspension: Suspension, left: dict[Node, None]) -> None:
        self.node, self.suspension, self.left = node, suspension, left


class _Loop:
    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        view: TaskView,
        executor: Executor,
        ledger: Ledger,
        report: Reporter,
        refuse: Callable[[Node], Failure],
        fail: Callable[[Node, BaseException], Failure],
        note: Callable[[Failure], object],
        max_failures: int | None,
        intake: Intake | None,
    ) -> None:
        self.intake = intake
        self.graph, self.plan, self.view, self.executor, self.ledger = graph, plan, view, executor, ledger
        self.report, self.refuse, self.fail, self.note = report, refuse, fail, note
        self.max_failures = max_failures
        self.failures = 0
        self.stopped = False
        self.telling = False
        self.running: set[Node] = set()
        self.busy: list[Node] = []  # somebody else builds them
        self.waiting: dict[Node, list[_Waiting]] = {}
        self.suspended: dict[Node, _Waiting] = {}
        self.held: list[_Waiting] = []  # could go on, but there is not enough left of what they use
        self.leftovers: Leftovers | None = None

    # ---- running

    def run(self) -> None:
        plan, executor = self.plan, self.executor
        self.tell_skipped()
        self.watch(self.graph.order)
        while True:
            while self.intake is not None and self.ask(self.intake):
                pass
            held, self.held = self.held, []
            for entry in held:
                self.resume(entry.node, entry.suspension)
            while len(self.running) < executor.capacity:
                node = plan.take()
                if node is None:
                    break
                if not self.start(node):
                    self.busy.append(node)
            if self.leftovers is not None and self.leftovers.spent:
                self.remove(self.leftovers)
            if self.running:
                # With room left, look again now and then whether what others build is there.
                idle = self.busy and len(self.running) < executor.capacity
                for node, outcome in executor.wait(_PATIENCE if idle else None):
                    self.running.discard(node)
                    self.settle(node, outcome)
                if idle:
                    self.retry()
            elif self.busy:
                self.ledger.wait(self.busy)
                self.retry()
            elif self.suspended:  # nothing runs and nothing can: bodies wait for each other
                self.break_circle()
            elif self.intake is None:
                self.tell_aside()
                break
            else:
                self.tell_aside()
                self.ledger.commit()
                if not self.intake.wait():
                    break

    def ask(self, intake: Intake) -> bool:
        """Take in one of the things that are asked for by now; False: there is none."""
        tasks = intake.take()
        if not tasks:
            return False
        known = len(self.graph.order)
        try:
            goals = self.graph.add(tasks)
            added = self.graph.order[known:]
            judge(added, self.view)
            self.look_for(goals)
            self.plan.ask(goals, added)
        except Exception as error:  # noqa: BLE001  (reported to whoever has asked; the others go on)
            self.graph.forget(known)
            intake.refused(error)
            return True
        intake.taken(goals, added)
        self.watch(added, goals=goals)
        if self.stopped:
            self.plan.cancel(self.running)
        self.tell_skipped()
        return True

    def retry(self) -> None:
        busy, self.busy = self.busy, []
        self.plan.retry(busy)

    def start(self, node: Node) -> bool:
        """Start the body of a node, or settle it without; False if somebody else is at it."""
        view, plan = self.view, self.plan
        if plan.is_doubtful(node) and self.ledger.spares(node):
            plan.stand_aside(node)
            self.settled(node)
            return True
        if not view.enabled(node):
            plan.disabled(node)
            self.tell_skipped()
            return True
        if not view.runnable(node):
            self.failed(node, self.refuse(node))
            return True
        if view.spares and self.wait_for_inputs(node):
            return True
        state = self.ledger.claim(node, plan.coming)
        if state is State.PENDING:
            plan.postpone(node)
            return False
        if state is State.RUNNING:
            self.report(Event(EventKind.STARTED, node.task, State.RUNNING))
            self.running.add(node)
            self.executor.submit(node, plan.is_used(node) or node in self.waiting)
        elif state is State.FAILED:
            self.failed(node, self.refuse(node))
        else:
            self.done(node, state, 0.0)
        return True

    def done(self, node: Node, state: State, seconds: float) -> None:
        self.plan.built(node, state)
        self.report(Event(EventKind.COMPLETED, node.task, state, seconds))
        self.settled(node)

    def settled(self, node: Node) -> None:
        if self.leftovers is not None:
            self.leftovers.settled([node])
        if self.waiting:
            self.wake(node)

    def resume(self, node: Node, suspension: Suspension) -> None:
        if not self.plan.use(node):
            self.held.append(_Waiting(node, suspension, {}))
            return
        self.running.add(node)
        self.executor.resume(node, suspension)

    def settle(self, node: Node, outcome: Outcome) -> None:
        node.seconds = outcome.seconds
        if outcome.suspension is not None:
            self.plan.free(node)
            self.suspend(node, outcome.suspension)
            return
        if outcome.bound:
            self.take_in(node, outcome.bound)
        self.ledger.settle(node, outcome)
        if outcome.failure is not None:
            self.failed(node, outcome.failure, outcome.state)
        else:
            self.done(node, outcome.state, outcome.seconds)

    def failed(self, node: Node, failure: Failure, state: State = State.FAILED) -> None:
        self.failures += 1
        self.plan.failed(node, failure, state)
        self.note(failure)
        self.report(Event(EventKind.FAILED, node.task, state, node.seconds, failure.error))
        self.tell_skipped()
        if self.waiting:
            self.wake(node)
        if self.max_failures is not None and self.failures >= self.max_failures and not self.stopped:
            self.stop(self.running)

    def stop(self, but: Container[Node] = ()) -> None:
        """Start nothing more and give up all that is not settled, except `but`."""
        self.stopped = True
        for entry in [*self.suspended.values(), *self.held]:
            self.close(entry.node, entry.suspension)
        self.suspended.clear()
        self.held.clear()
        self.waiting.clear()
        self.plan.cancel(but)
        self.tell_skipped()

    def close(self, node: Node, suspension: Suspension) -> None:
        self.ledger.settle(node, Outcome(State.CANCELLED, node.seconds))
        try:
            suspension.close()
        except Exception as error:  # noqa: BLE001  (reported: it must not take the others with it)
            text = f"{node.task!r} was given up and raised {type(error).__name__} while cleaning up: {error}"
            warn(text)

    def tell_skipped(self) -> None:
        plan = self.plan
        if self.telling:  # called from below: the loop underway will come to it, however long the chain
            return
        self.telling = True
        while plan.skipped:
            skipped, plan.skipped = plan.skipped, []
            for node in skipped:
                self.report(Event(EventKind.SKIPPED, node.task, node.state or State.SKIPPED))
                if self.waiting:
                    self.wake(node)
        self.telling = False

    # ---- what need not be there (see transients.py)

    def wait_for_inputs(self, node: Node) -> bool:
        """Have built what a node that has to run lacks; False if it lacks nothing."""
        lacking = self.plan.lacks(node, self.ledger)
        if not lacking:
            return False
        state = self.ledger.look(node)
        if state is not None:  # it does not have to run
            self.done(node, state, 0.0)
            return True
        try:
            called = self.plan.call(node, lacking)
        except GraphError as error:
            self.failed(node, self.fail(node, error))
            return True
        if self.leftovers is not None:
            self.leftovers.call_back(called)
        self.tell_skipped()
        return True

    def look_for(self, nodes: Sequence[Node]) -> None:
        """Find out what of `nodes` is complete and not there."""
        if self.view.spares:
            look_for(nodes, self.view, self.ledger)

    def watch(self, nodes: Sequence[Node], asker: Node | None = None, goals: Sequence[Node] = ()) -> None:
        """Take notice of who needs what, if anything is to be removed; `goals` were asked for, or by `asker`."""
        if not self.view.removes:
            return
        found = self.leftovers
        if found is None:
            found = self.leftovers = Leftovers(self.view)
            nodes, goals = self.graph.order, [*self.plan.goals, *(() if asker is not None else goals)]
            found.add(nodes)
            self.ledger.keep(found.protect(goals))
        else:
            found.add(nodes)
            if asker is None:
                self.ledger.keep(found.protect(goals))
                found.call_back([goal for goal in goals if goal.state in UNSETTLED])
        if asker is not None:
            found.use(asker, asker.asked)
        found.settled(nodes)
        self.ledger.finish_removal([node for node in nodes if node.spared and not self.view.joins(node)])

    def remove(self, leftovers: Leftovers) -> None:
        spent, leftovers.spent = dict.fromkeys(leftovers.spent), []
        for node in self.ledger.remove([node for node in spent if leftovers.may_go(node)]):
            node.present, node.spared = False, True

    def tell_aside(self) -> None:
        """Report what nobody has called for to the end."""
        aside, self.plan.aside = self.plan.aside, {}
        for node in aside:
            self.report(Event(EventKind.COMPLETED, node.task, State.CACHED, 0.0))

    # ---- requirements asked for while running

    def suspend(self, node: Node, suspension: Suspension) -> None:
        if self.stopped:
            self.close(node, suspension)
            self.plan.cancel(self.running)
            self.tell_skipped()
            return
        known = len(self.graph.order)
        try:
            asked = self.graph.add(suspension.requirements)
            added = self.graph.order[known:]
            judge(added, self.view)
            self.look_for(asked)
            waits, bad = self.plan.grow(node, asked, added)
        except Exception as error:  # noqa: BLE001  (reported: the graph cannot take them, the body that asked has failed)
            self.graph.forget(known)
            self.close(node, suspension)
            self.failed(node, self.fail(node, error))
            return
        self.watch(added, asker=node)
        self.tell_skipped()
        if bad is not None:
            self.give_up(node, suspension, bad)
        elif not waits:
            self.resume(node, suspension)
        else:
            entry = self.suspended[node] = _Waiting(node, suspension, dict.fromkeys(waits))
            for wish in waits:
                self.waiting.setdefault(wish, []).append(entry)

    def take_in(self, node: Node, bound: Sequence[tuple[object, bool]]) -> None:
        """Note what a body has had built while it ran."""
        known = len(self.graph.order)
        nodes = self.graph.add([task for task, _ in bound])
        added = self.graph.order[known:]
        new = set(added)
        spared = [found for found in nodes if found.spared and found not in new]
        gone = self.ledger.use(spared) if spared else ()  # removed since: the body does not need them any more
        for found in nodes:
            if found not in new and found not in gone and (found.spared or found.state in UNSETTLED):
                found.present, found.spared, found.digest = True, False, None  # it was judged before it was built
        self.ledger.note([found for found, (_, built) in zip(nodes, bound, strict=True) if built])
        judge(added, self.view)
        asked = [found for found, (_, built) in zip(nodes, bound, strict=True) if not built]
        self.plan.grow(node, [found for found in asked if not found.spared], added)
        node.asked += [found for found in asked if found.spared]
        self.watch(added, asker=node)
        for found, (_, built) in zip(nodes, bound, strict=True):
            if built and found.state is State.FRESH:
                self.report(Event(EventKind.STARTED, found.task, State.RUNNING))
                found.state = State.BUILT
                self.report(Event(EventKind.COMPLETED, found.task, State.BUILT))
        if self.leftovers is not None:
            self.leftovers.settled(nodes)

    def wake(self, settled: Node) -> None:
        for entry in self.waiting.pop(settled, ()):
            if entry.node not in self.suspended:
                continue
            entry.left.pop(settled, None)
            if settled.state not in GOOD:
                del self.suspended[entry.node]
                self.give_up(entry.node, entry.suspension, settled)
            elif not entry.left:
                del self.suspended[entry.node]
                self.resume(entry.node, entry.suspension)

    def give_up(self, node: Node, suspension: Suspension, because: Node) -> None:
        self.close(node, suspension)
        if because.state is not State.NO_OUTPUT:
            self.plan.upstream_failed(node)
            self.tell_skipped()
            return
        error = MissingOutputError(
            "A body asked for a task that ran and saved nothing",
            task=node.task,
            facts={"asked for": repr(because.task)},
            hint="Call self.save(...) in its run().",
        )
        self.failed(node, self.fail(node, error))

    def break_circle(self) -> None:
        # Follow what each waits for until one comes again: that one is part of a circle, the first need not be.
        node = next(iter(self.suspended))
        chain: dict[Node, None] = {}
        while node not in chain:
            chain[node] = None
            node = next(iter(self.suspended[node].left))
            while node not in self.suspended:
                node = next(need for need in node.needs if need.state in UNSETTLED)
        circle = list(chain)[list(chain).index(node) :]
        entry = self.suspended.pop(node)
        self.close(entry.node, entry.suspension)
        error = GraphError(
            "Bodies wait for each other: each asked for a task that needs the other",
            task=entry.node.task,
            facts={"circle": " -> ".join([repr(member.task) for member in [*circle[:8], node]])},
            hint="Break the circle: one of them must not yield the other.",
        )
        self.failed(entry.node, self.fail(entry.node, error))


def build(
    graph: Graph,
    plan: Plan,
    view: TaskView,
    executor: Executor,
    ledger: Ledger,
    report: Reporter,
    refuse: Callable[[Node], Failure],
    fail: Callable[[Node, BaseException], Failure],
    note: Callable[[Failure], object],
    max_failures: int | None = None,
    intake: Intake | None = None,
) -> None:
    """Build all that `plan` holds; the nodes carry the result.

    Parameters
    ----------
    graph, plan, view
        Judged graph, and what of it has to be built.
    executor : Executor
    ledger : Ledger
        Asked before a body starts, told what came of it.
    report : callable
        Told every event, in the calling thread.
    refuse : callable
        Returns the failure of a node that cannot be built here: an external task whose output is missing, or one
        that has failed elsewhere.
    fail : callable
        Returns the failure for an error that the engine met on behalf of a node.
    note : callable
        Told every failure, in the order of failing, wherever it comes from.
    max_failures : int, optional
        Start nothing more after so many failures.
    intake : Intake, optional
        Where more is asked for while this goes on; it ends when the intake has.

    Raises
    ------
    KeyboardInterrupt
        After all that was not settled has been marked as cancelled.
    """
    loop = _Loop(graph, plan, view, executor, ledger, report, refuse, fail, note, max_failures, intake)
    try:
        loop.run()
    except Exception:
        loop.report = _tell_nobody  # whoever was told has raised it, as far as we know
        loop.stop()
        raise
    except BaseException:
        try:
            loop.stop()
        except Exception as error:  # noqa: BLE001  (reported: the interrupt says why the run ends)
            text = f"The run was interrupted, and telling so raised {type(error).__name__}: {error}"
            warn(text)
        raise


def _tell_nobody(event: Event) -> None:
    """Take an event, do nothing."""
