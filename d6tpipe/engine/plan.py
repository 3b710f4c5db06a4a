"""The plan: what is ready, what happened, what follows. A state machine without a clock or a disk."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

from d6tpipe.engine.freshness import MISSING
from d6tpipe.engine.graph import Node
from d6tpipe.engine.limits import Demand, Limits
from d6tpipe.engine.transients import asked_for, find_wanted, is_open, look_for
from d6tpipe.errors import CycleError
from d6tpipe.interfaces import FAILURES, GOOD, Failure, Ledger, Reason, ReasonKind, Standing, State, TaskView

__all__ = ["UNSETTLED", "Plan"]


_Entry = tuple[float, int, int, Node]


class Plan:
    """The part of a graph that has to be built.

    Parameters
    ----------
    order : sequence of Node
        Judged nodes, each after all that it needs.
    goals : sequence of Node
        What was asked for.
    view : TaskView
    forced : set of Node
        Nodes to build although they are complete.

    Attributes
    ----------
    nodes : list of Node
        What has to be built, needs first; grows with dynamic requirements.
    skipped : list of Node
        Nodes that will not start because something upstream failed, since the last look.
    goals : list of Node
        What was asked for; grows with `ask`.
    aside : dict of Node
        Nodes that nobody has called for, see `stand_aside`.

    Notes
    -----
    Starting order: priority first, then the longest remaining chain of users, then the order of asking. Every step
    costs O(log n); the whole plan O(tasks + edges).
    """

    def __init__(
        self, order: Sequence[Node], goals: Sequence[Node], view: TaskView, forced: frozenset[Node] = frozenset()
    ) -> None:
        self._view = view
        self._heap: list[_Entry] = []
        self._sequence = 0
        self._limits: Limits | None = None
        self._parked: dict[Demand, list[_Entry]] = {}  # ready, but there is not enough left of a resource
        self._using: dict[Node, Demand] = {}
        self.nodes: list[Node] = []
        self.skipped: list[Node] = []
        self._doubtful: set[Node] = set()  # transient, not there, and it is not known whether anybody needs it
        self.aside: dict[Node, None] = {}
        self.goals = list(goals)
        wanted = self._wanted(goals, forced)
        for node in order:
            if node in wanted:
                node.complete = False
                self._admit(node)
            elif node.complete and node.state is None:
                self._keep(node)
        for node in forced:
            node.reasons = (*_FORCED, *node.reasons)
        self._open(self.nodes)

    def _keep(self, node: Node) -> None:
        """Note that there is nothing to do for a node."""
        if node.spared:
            node.state = State.STALE if node.standing is Standing.STALE else State.FRESH
        elif node.standing in (Standing.STALE, Standing.UNTRACKED) and self._view.mode(node) == "frozen":
            node.state = State.FROZEN
        else:
            node.state = State.STALE if node.standing is Standing.STALE else State.FRESH

    def _wanted(self, goals: Iterable[Node], forced: frozenset[Node]) -> dict[Node, Any]:
        """Return what must be built and is not in the plan: forced nodes, and incomplete ones that a goal needs."""
        if self._view.spares:
            found = find_wanted(goals, forced, self._view)
            view = self._view
            self._doubtful.update(
                [node for node, sure in found.items() if not (sure or node.present or view.joins(node))]
            )
            return found
        wanted = dict.fromkeys(forced)
        stack = [node for node in goals if not node.complete]
        stack += [need for node in forced for need in node.needs if not need.complete]
        while stack:
            node = stack.pop()
            if node.state is None and node not in wanted:
                wanted[node] = None
                stack.extend(need for need in node.needs if not need.complete)
        return wanted

    def limit(self, limits: Limits) -> None:
        """Start nothing for which there is not enough left.

        Raises
        ------
        GraphError
            If there is never enough for one of the nodes.
        """
        for node in self.nodes:
            limits.check(node.task, self._view.demand(node))
        self._limits = limits

    def _admit(self, node: Node) -> None:
        if node.state not in (State.BUILT, State.CACHED):  # those are in there already, and called for once more
            self.nodes.append(node)
        node.start_plan()
        node.spare = self._view.tolerance(node)
        node.state = State.PENDING
        self.aside.pop(node, None)
        if node.spared:
            node.spared = False
            if node.standing is not None:
                node.standing = Standing.MISSING
                node.reasons = (*MISSING, *[reason for reason in node.reasons if reason.kind is not ReasonKind.MISSING])

    def _open(self, nodes: Sequence[Node]) -> None:
        """Connect newly admitted nodes and queue those that wait for nothing."""
        for node in nodes:
            for need in node.needs:
                if need.state is State.PENDING or need.state is State.READY or need.state is State.RUNNING:
                    need.users.append(node)
                    node.waiting += 1
        for node in reversed(nodes):
            length = 1 + node.chain
            for need in node.needs:
                if not need.complete and need.chain < length:
                    need.chain = length
        blocked = []
        for node in nodes:
            failed = sum([_is_bad(need) for need in node.needs])
            if failed > node.spare:
                blocked.append(node)
                continue
            node.spare -= failed
            if node.waiting == 0:
                self._ready(node)
        for node in blocked:
            self._block(node)

    def _ready(self, node: Node) -> None:
        node.state = State.READY
        self._sequence += 1
        heapq.heappush(self._heap, (-self._view.priority(node), -node.chain, self._sequence, node))

    # ---- what the build loop asks and tells

    def take(self) -> Node | None:
        """Return the next node to start, now RUNNING, or None if none is ready, or there is not enough left for any."""
        parked = self._best_parked()
        while self._heap:
            if parked and parked[0] < self._heap[0]:
                break
            entry = heapq.heappop(self._heap)
            node = entry[3]
            if node.state is not State.READY:
                continue
            if self._limits is not None:
                demand = self._view.demand(node)
                if demand and not self._limits.fits(demand):
                    heapq.heappush(self._parked.setdefault(demand, []), entry)
                    continue
            return self._start(node)
        return self._start(heapq.heappop(parked)[3]) if parked else None

    def _best_parked(self) -> list[_Entry]:
        """Return the parked nodes whose first may start and comes before those of others; empty if there are none."""
        best: list[_Entry] = []
        for demand, entries in self._parked.items():
            while entries and entries[0][3].state is not State.READY:
                heapq.heappop(entries)
            if (
                entries
                and self._limits is not None
                and self._limits.fits(demand)
                and (not best or entries[0] < best[0])
            ):
                best = entries
        return best

    def _start(self, node: Node) -> Node:
        node.state = State.RUNNING
        self.use(node)
        return node

    def use(self, node: Node) -> bool:
        """Note that a running `node` uses what it demands; False if there is not enough left."""
        if self._limits is None or node in self._using:
            return True
        demand = self._view.demand(node)
        if demand:
            if not self._limits.fits(demand):
                return False
            self._limits.take(demand)
            self._using[node] = demand
        return True

    def free(self, node: Node) -> None:
        """Note that `node` uses nothing, for now or for good."""
        if self._using and self._limits is not None:
            self._limits.give(self._using.pop(node, ()))

    def is_used(self, node: Node) -> bool:
        """Return whether another node of the plan waits for `node`."""
        return bool(node.users)

    def postpone(self, node: Node) -> None:
        """Note that `node`, just taken, cannot start now; `retry` makes it ready again."""
        node.state = State.READY
        self.free(node)

    def retry(self, nodes: Iterable[Node]) -> None:
        """Queue nodes that were postponed."""
        for node in nodes:
            if node.state is State.READY:
                self._ready(node)

    def coming(self) -> Iterator[Node]:
        """Yield nodes that are ready, roughly in the order of starting; the queue must not change meanwhile."""
        for entry in self._heap:
            if entry[3].state is State.READY and not (self._view.spares and self._may_stop(entry[3])):
                yield entry[3]

    def _may_stop(self, node: Node) -> bool:
        """Return whether a node may turn out to be kept, or to have to wait for what is not there."""
        return node in self._doubtful or any([need.spared or need.state in UNSETTLED for need in node.needs])

    def built(self, node: Node, state: State = State.BUILT) -> None:
        """Note that `node` is done; what waited only for it becomes ready."""
        self.free(node)
        node.state = state
        node.complete = state in GOOD
        if self._view.spares:
            node.spared = self._view.joins(node) and any([need.spared for need in node.needs])
        for user in node.users:
            user.waiting -= 1
            if user.waiting == 0 and user.state is State.PENDING:
                self._ready(user)

    def failed(self, node: Node, failure: Failure, state: State = State.FAILED) -> None:
        """Note that `node` failed; all that needs it will not start (see `skipped`)."""
        self.free(node)
        node.state = state
        node.failure = failure
        for user in node.users:
            self._block(user)

    def disabled(self, node: Node) -> None:
        """Note that the author does not allow `node` to run."""
        self.free(node)
        node.state = State.SKIPPED
        node.excused = self._view.excused(node)
        self.skipped.append(node)
        for user in node.users:
            self._block(user, node.excused)

    def _block(self, node: Node, excused: bool = False) -> None:
        """Note that a node cannot be built; `excused`: because of one that its author does not want to run."""
        stack = [node]
        while stack:
            node = stack.pop()
            if node.state is State.PENDING or node.state is State.READY:
                if node.spare:
                    node.spare -= 1
                    node.waiting -= 1
                    if node.waiting == 0:
                        self._ready(node)
                    continue
                node.state = State.SKIPPED if excused else State.UPSTREAM_FAILED
                node.excused = excused
                self.skipped.append(node)
                stack.extend(node.users)

    def upstream_failed(self, node: Node) -> None:
        """Note that a running body was given up because something that it asked for failed."""
        self.free(node)
        node.state = State.UPSTREAM_FAILED
        self.skipped.append(node)
        for user in node.users:
            self._block(user)

    def cancel(self, but: Container[Node] = ()) -> None:
        """Give up all that has not been settled, except `but`."""
        for node in self.nodes:
            if node.state in UNSETTLED and node not in but:
                node.state = State.CANCELLED
                self.skipped.append(node)
        self._heap.clear()

    # ---- growing while running

    def grow(self, node: Node, asked: Sequence[Node], order: Sequence[Node]) -> tuple[list[Node], Node | None]:
        """Take in requirements that the running `node` asked for.

        Parameters
        ----------
        node : Node
            Suspended until what it asked for is settled.
        asked : sequence of Node
            Judged nodes.
        order : sequence of Node
            New nodes of the graph, judged, needs first.

        Returns
        -------
        waits : list of Node
            Those of `asked` that are not settled yet.
        bad : Node or None
            One of `asked` that has failed already.

        Raises
        ------
        CycleError
            If something asked for needs `node` itself.
        """
        self._check_circle(node, asked)
        self._take_in(asked, order)
        bad = next((wish for wish in asked if _is_bad(wish)), None)
        waits = [wish for wish in dict.fromkeys(asked) if wish.state in UNSETTLED]
        node.asked.extend(asked)
        return waits, bad

    # ---- what is not there (see transients.py)

    def is_doubtful(self, node: Node) -> bool:
        """Return whether nobody is known to need what a node, just taken, would make."""
        return node in self._doubtful

    def stand_aside(self, node: Node) -> None:
        """Note that a doubtful node, just taken, would come out as it was: nothing is done unless somebody calls."""
        self._doubtful.discard(node)
        self.aside[node] = None
        self.built(node, State.CACHED)
        node.spared = True

    def lacks(self, node: Node, ledger: Ledger) -> list[Node]:
        """Return what a node that was just taken needs and that is not there; see `look_for`."""
        if not self._view.spares or self._view.joins(node):
            return []
        called = [need for need in node.needs if need.state in UNSETTLED]
        return called + look_for(node.needs, self._view, ledger)

    def call(self, node: Node, lacking: Sequence[Node]) -> list[Node]:
        """Have what is not there built before `node`, which was just taken; return what was called for by that.

        Raises
        ------
        GraphError
            There is never enough of a resource for one of them; nothing has changed.
        """
        called = self._take_in(lacking, ())
        self.free(node)
        node.state = State.PENDING
        for need in lacking:
            if need.state in UNSETTLED:
                need.users.append(node)
                node.waiting += 1
        if any(map(_is_bad, lacking)):
            self._block(node)
        return called

    def ask(self, goals: Sequence[Node], order: Sequence[Node]) -> None:
        """Take in what is asked for while the plan is carried out.

        Parameters
        ----------
        goals : sequence of Node
            Judged nodes.
        order : sequence of Node
            New nodes of the graph, judged, needs first.

        Raises
        ------
        GraphError
            There is never enough of a resource for one of them; nothing was taken in.
        """
        self._take_in(goals, order)
        self.goals += goals

    def _take_in(self, asked: Sequence[Node], order: Sequence[Node]) -> list[Node]:
        if self._doubtful:
            self._doubtful.difference_update(asked_for(asked, self._view))
        wanted = self._wanted(asked, frozenset())
        fresh = [new for new in order if new in wanted]
        known = {id(new) for new in fresh}
        # nodes that were in the graph already, incomplete, but that nothing of the plan needed
        late = [old for old in reversed(wanted) if id(old) not in known]
        if self._limits is not None:
            for new in wanted:
                self._limits.check(new.task, self._view.demand(new))
        for new in [*late, *fresh]:
            new.complete = False
            self._admit(new)
        for new in order:
            if new.complete and new.state is None:
                self._keep(new)
        self._open([*late, *fresh])
        return [*late, *fresh]

    def _check_circle(self, node: Node, asked: Sequence[Node]) -> None:
        """Raise if something that was asked for needs `node`.

        Many bodies may ask for one large graph. So the walk down from what was asked for and the walk up from `node`
        take turns, and the shorter one decides; only new nodes, which no user list holds yet, are always walked.
        """
        down = [wish for wish in asked if is_open(wish)]
        below, up, above = set(down), [node], {node}
        while down:
            current = down.pop()
            if current in above:
                self._raise_circle(node, asked)
            if not up and current.state is not None:
                continue  # all old nodes that need `node` are known, this is none of them
            for need in current.needs:
                if is_open(need) and need not in below:
                    below.add(need)
                    down.append(need)
            for user in up.pop().users if up else ():
                if user in below:
                    self._raise_circle(node, asked)
                if user not in above:
                    above.add(user)
                    up.append(user)

    def _raise_circle(self, node: Node, asked: Sequence[Node]) -> None:
        parents: dict[Node, Node] = {}
        stack = [wish for wish in asked if is_open(wish)]
        seen = set(stack)
        while stack:
            current = stack.pop()
            if current is node:
                chain = [node]
                while current in parents:
                    current = parents[current]
                    chain.append(current)
                raise CycleError([member.task for member in [node, *reversed(chain[1:]), node]])
            for need in current.needs:
                if is_open(need) and need not in seen:
                    seen.add(need)
                    parents[need] = current
                    stack.append(need)


def _is_bad(node: Node) -> bool:
    return node.state in _BAD


_FORCED = (Reason(ReasonKind.FORCED),)
UNSETTLED = frozenset({State.PENDING, State.READY, State.RUNNING})
_BAD = FAILURES | {State.UPSTREAM_FAILED, State.SKIPPED, State.CANCELLED, State.NO_OUTPUT}
