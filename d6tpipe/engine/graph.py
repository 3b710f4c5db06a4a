"""The graph: which tasks need which, found without recursion, each asked once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from d6tpipe.errors import CycleError
from d6tpipe.interfaces import Failure, Reason, Standing, State, TaskView

__all__ = ["Graph", "Node"]

_NEW, _OPEN, _DONE = 0, 1, 2


class Node:
    """The engine's view of one task.

    Attributes
    ----------
    task : object
        What the view hands back for it; opaque here.
    key : hashable
        Identity; one node per key.
    needs : tuple of Node
        What it needs, without repeats, in the order asked for.
    requires : object
        What ``requires()`` returned, kept for the body.
    names : bytes
        Stands for the names of the requirements, so that renaming one is seen; empty if they have none.
    recalled : int
        How many of `needs`, the last ones, are there because the body asked for them when it was last built.
    dropped : bool
        Whether what the body asked for then was taken out of `needs`, because the body is sure to run.
    present : bool or None
        Whether all of its own outputs exist; None until judged.
    complete : bool or None
        Whether there is nothing to do for it; None until judged.
    spared : bool
        Complete, but its outputs are not there, or not all behind it: a body that needs it has to call for it first.
    standing : Standing or None
        What the record says of it, apart from what it needs; None where records do not count.
    reasons : tuple of Reason
        What has changed since it was built.
    digest : bytes or None
        Stands for what its outputs hold, as far as that is known.
    state : State or None
        What came of it in the run; None if the run did not look at it.
    users : list of Node
        Nodes of the plan that wait for it; filled by the plan.
    waiting : int
        How many of its needs are not settled yet.
    chain : int
        Length of the longest remaining chain of users.
    asked : list of Node
        What its body has asked for while running, so far; only nodes of a plan have it.
    seconds : float
        How long its body ran.
    failure : Failure or None
    """

    __slots__ = (
        "asked", "chain", "complete", "digest", "dropped", "excused", "failure", "key", "mark", "names", "needs",
        "present", "reasons", "recalled", "requires", "seconds", "spare", "spared", "standing", "state", "task",
        "users", "waiting",
    )  # fmt: skip

    def __init__(self, task: Any, key: Hashable) -> None:
        self.task = task
        self.key = key
        self.needs: tuple[Node, ...] = ()
        self.requires: Any = None
        self.names = b""
        self.recalled = 0
        self.dropped = False
        self.excused = False  # its author has said that it is not to run
        self.mark = _NEW
        self.present: bool | None = None
        self.digest: bytes | None = None
        self.standing: Standing | None = None
        self.reasons: tuple[Reason, ...] = ()
        self.complete: bool | None = None
        self.spared = False
        self.state: State | None = None

    def __repr__(self) -> str:
        return f"Node({self.task!r}, {self.state})"

    @property
    def walked(self) -> bool:
        """Whether all that it needs is in the graph."""
        return self.mark == _DONE

    def start_plan(self) -> None:
        """Set what only nodes of a plan need; nodes with nothing to do stay small."""
        self.users: list[Node] = []
        self.asked: list[Node] = []
        self.waiting = 0
        self.chain = 0
        self.spare = 0  # so many of its needs may fail
        self.seconds = 0.0
        self.failure: Failure | None = None


class Graph:
    """Tasks and what they need.

    Attributes
    ----------
    order : list of Node
        Every node after all that it needs.
    """

    def __init__(self, view: TaskView) -> None:
        self._view = view
        self.order: list[Node] = []
        self._by_instance: dict[int, Node] = {}
        self._by_key: dict[Hashable, Node] = {}
        self._alive: list[Any] = []  # second instances of a node: their id() must not be used again
        self._recalling = True

    def __len__(self) -> int:
        return len(self.order)

    def find(self, task: Any) -> Node | None:
        """Return the node of `task`, or None if it is not in the graph."""
        node = self._by_instance.get(id(task))
        return node if node is not None else self._by_key.get(self._view.identify(task)[1])

    def add(self, tasks: Iterable[Any]) -> list[Node]:
        """Add `tasks` and all that they need; return their nodes.

        Raises
        ------
        CycleError
            If a task needs itself, directly or through others. The graph is then as it was before.

        Notes
        -----
        Linear in tasks plus edges; ``needs`` of the view is called once per node.
        """
        roots = [self._node(task) for task in tasks]
        known = len(self.order)
        try:
            self._walk_all(roots, known)
        except BaseException:
            self.forget(known)
            raise
        return roots

    def _walk_all(self, roots: Sequence[Node], known: int) -> None:
        try:
            for root in roots:
                if root.mark == _NEW:
                    self._walk(root)
        except CycleError:
            # What a body once asked for may need that body by now. Only what is required today makes a circle.
            if not any(node.recalled for node in self._by_key.values()):
                raise
            self.forget(known)
            self._recalling = False
            try:
                self._walk_all(roots, known)
            finally:
                self._recalling = True

    def forget(self, known: int) -> None:
        """Take back what was added after the graph had `known` nodes: it can be added and judged again."""
        for node in self.order[known:]:
            node.complete = None
            _undo(node)
        del self.order[known:]

    def _node(self, task: Any) -> Node:
        node = self._by_instance.get(id(task))
        if node is None:
            subject, key = self._view.identify(task)
            node = self._by_key.get(key)
            if node is None:
                node = self._by_key[key] = Node(subject, key)
            if subject is not task or node.task is not task:
                self._alive.append(task)
            self._by_instance[id(task)] = node
        return node

    def _enter(self, node: Node) -> tuple[Node, Iterator[Node]]:
        tasks = self._view.needs(node)
        if tasks:
            needs = tuple([self._node(task) for task in tasks])
            if len(needs) > 1:
                once = tuple(dict.fromkeys(needs))
                if len(once) < len(needs):  # the body gets some of them twice: where, is part of what it gets
                    place = {need: number for number, need in enumerate(once)}
                    node.names += repr([place[need] for need in needs]).encode()
                    needs = once
            node.needs = needs
        if self._view.recalls and self._recalling:
            tasks = self._view.recall(node)
            if tasks:
                known = set(node.needs)
                more = [need for need in dict.fromkeys([self._node(task) for task in tasks]) if need not in known]
                node.recalled = len(more)
                node.needs += tuple(more)
        node.mark = _OPEN
        return node, iter(node.needs)

    def _walk(self, root: Node) -> None:
        stack = [self._enter(root)]
        order = self.order
        try:
            while stack:
                node, todo = stack[-1]
                for child in todo:
                    mark = child.mark
                    if mark == _NEW:
                        stack.append(self._enter(child))
                        break
                    if mark == _OPEN:
                        chain = [entry[0] for entry in stack]
                        chain = chain[chain.index(child) :]
                        raise CycleError([member.task for member in [*chain, child]])
                else:
                    stack.pop()
                    node.mark = _DONE
                    order.append(node)
        finally:
            for node, _ in stack:  # something was raised
                _undo(node)

    def upstream(self, roots: Sequence[Node]) -> list[Node]:
        """Return `roots` and all that they need, roots first, in the order of asking (depth first)."""
        seen: set[Node] = set()
        found: list[Node] = []
        stack = list(reversed(roots))
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                found.append(node)
                stack.extend(reversed(node.needs))
        return found

    def between(self, sources: Iterable[Node], *roots: Node) -> list[Node]:
        """Return the nodes on any path from one of `roots` to one of `sources`, ends included, needs first."""
        hit = set(sources)
        for node in self.order:
            if node not in hit and any(need in hit for need in node.needs):
                hit.add(node)
        reached = set(self.upstream(roots))
        return [node for node in self.order if node in hit and node in reached]


def _undo(node: Node) -> None:
    """Make as if `node` had not been walked."""
    node.mark = _NEW
    node.needs = ()
    node.names = b""
    node.recalled = 0
