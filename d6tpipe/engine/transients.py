"""Tasks whose outputs need not be there: who calls for them, and when they may go.

The outputs of a *transient* task that are missing are no reason to build it. It is *spared*: it counts as complete, and
what needs it does, too. It is called for by a body that needs it and has to run, or because it was asked for itself.

Whether a body has to run may only be known when its turn comes: what it needs may come out as it was. So some nodes
are sure to run, and call for what they need from the start. Others may be kept. What only these need is *doubtful*:
when its turn comes it stands aside, if its record says that it would come out as it was. Whoever then has to run all
the same calls for it, and waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from d6tpipe.engine.freshness import may_be_kept
from d6tpipe.engine.graph import Node
from d6tpipe.interfaces import GOOD, Ledger, State, TaskView

__all__ = ["Leftovers", "asked_for", "find_wanted", "is_hollow", "is_open", "look_for"]


def is_open(node: Node) -> bool:
    """Return whether a node has to be built before it can be used."""
    return not node.complete or node.spared


def is_hollow(node: Node, view: TaskView) -> bool:
    """Return whether a node may be complete without having anything to load itself."""
    if view.joins(node) or node.spared:
        return True
    return not node.present and node.state is not State.BUILT and bool(view.transient(node))


def find_wanted(goals: Iterable[Node], forced: Iterable[Node], view: TaskView) -> dict[Node, bool]:
    """Return what must be built and is not in the plan, and whether it is sure to run.

    Parameters
    ----------
    goals : iterable of Node
        What was asked for itself.
    forced : iterable of Node
    view : TaskView
    """
    found = dict.fromkeys(forced, True)
    stack = [(node, True) for node in goals if is_open(node)]
    stack += [(need, True) for node in forced for need in node.needs if is_open(need)]
    while stack:
        node, called = stack.pop()
        if node.state is not None and not node.spared:
            continue
        sure = called if is_hollow(node, view) else not may_be_kept(node, view)
        if node in found and (found[node] or not sure):
            continue
        found[node] = sure
        stack += [(need, sure) for need in node.needs if not need.complete or (sure and need.spared)]
    return found


def asked_for(goals: Iterable[Node], view: TaskView) -> dict[Node, None]:
    """Return what was asked for itself: goals, and what stands behind those that only stand for others."""
    found: dict[Node, None] = {}
    pending = list(goals)
    while pending:
        node = pending.pop()
        if node not in found:
            found[node] = None
            if view.joins(node):
                pending += node.needs
    return found


def look_for(nodes: Iterable[Node], view: TaskView, ledger: Ledger) -> list[Node]:
    """Return those of `nodes` that a body cannot load although they are complete; the others stay as long as it runs.

    They are spared, or another run has removed them by now, or what is behind them.
    """
    nodes = list(nodes)
    members = asked_for(nodes, view) if view.removes else {}
    present = [node for node in members if node.complete and not is_hollow(node, view)]
    for node in ledger.use([node for node in present if view.transient(node) == "remove"]):
        node.present, node.spared = False, True
    pending = [node for node in members if view.joins(node)]
    while pending:  # those behind others last: one round, or two
        changed = [node for node in reversed(pending) if node.spared != any([need.spared for need in node.needs])]
        for node in changed:
            node.spared = not node.spared
        pending = pending if changed else []
    return [node for node in nodes if node.spared]


class Leftovers:
    """Which outputs nobody needs any more.

    A node is *through* when it is settled and nobody will load what it needs on its behalf: it has run, or does not
    have to. One with nothing of its own to load is through when all are that need it: they load what is behind it, or
    may call for it. Outputs may go when all that need them are through.

    Parameters
    ----------
    view : TaskView

    Attributes
    ----------
    spent : list of Node
        Whose outputs may go, since the last look.
    """

    def __init__(self, view: TaskView) -> None:
        self._view = view
        self._asked_for: set[Node] = set()
        self._left: dict[Node, int] = {}  # how many need it and are not through
        self._uses: dict[Node, dict[Node, None]] = {}  # what a node needs of these
        self._through: set[Node] = set()
        self.spent: list[Node] = []

    def protect(self, goals: Iterable[Node]) -> list[Node]:
        """Take notice of what was asked for itself; return those whose outputs would go otherwise."""
        found = [node for node in asked_for(goals, self._view) if node not in self._asked_for]
        self._asked_for.update(found)
        return [node for node in found if self._view.transient(node) == "remove"]

    def add(self, nodes: Iterable[Node]) -> None:
        """Take in judged nodes, each after all that it needs."""
        for node in nodes:
            self.use(node, node.needs)

    def use(self, node: Node, needs: Iterable[Node]) -> None:
        """Take notice that `node` needs these, too."""
        uses = self._uses.setdefault(node, {})
        for need in needs:
            if need not in uses and (self._view.joins(need) or self._view.transient(need)):
                uses[need] = None
                self._left[need] = self._left.get(need, 0) + 1
                if need in self._through and is_hollow(need, self._view):
                    self.call_back([need])
        if not uses:
            del self._uses[node]

    def call_back(self, nodes: Iterable[Node]) -> None:
        """Take notice that nodes are to be built again that were through."""
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node in self._through:
                self._through.discard(node)
                for need in self._uses.get(node, ()):
                    self._left[need] += 1
                    if is_hollow(need, self._view):
                        pending.append(need)

    def settled(self, nodes: Iterable[Node]) -> None:
        """Take notice that nodes are settled, if they are."""
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node in self._through or node.state not in GOOD:
                continue
            if self._left.get(node) and is_hollow(node, self._view):
                continue
            self._through.add(node)
            if self.may_go(node):
                self.spent.append(node)
            for need in self._uses.get(node, ()):
                self._left[need] -= 1
                if not self._left[need]:
                    if is_hollow(need, self._view):
                        pending.append(need)
                    elif self.may_go(need):
                        self.spent.append(need)

    def may_go(self, node: Node) -> bool:
        """Return whether nobody needs the outputs of a node any more."""
        return (
            self._left.get(node) == 0
            and node not in self._asked_for
            and node.state in GOOD
            and not is_hollow(node, self._view)
            and self._view.transient(node) == "remove"
        )
