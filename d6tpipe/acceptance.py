"""Editing records without running anything: `accept` says that outputs are valid, `forget` that nothing is known.

Not to be confused with ``task.reset()``, which deletes outputs and leaves the record of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from d6tpipe.engine.graph import Graph, Node
from d6tpipe.errors import shown, warn
from d6tpipe.examiner import Examiner, content_of, outputs_of, stat_of, stats_of, store_of
from d6tpipe.failpoints import fail_point
from d6tpipe.graphs import build_graph
from d6tpipe.holds import batches, busy_error, held, holder
from d6tpipe.interfaces import ReasonKind, Standing
from d6tpipe.ledger import TaskLedger, new_run_id
from d6tpipe.policy import Policy
from d6tpipe.stores import Store, close_all
from d6tpipe.tasklogs import discard
from d6tpipe.tasks.external import is_external
from d6tpipe.tasks.older_places import all_ids
from d6tpipe.taskview import TaskView

__all__ = ["Survey", "accept", "forget", "meant", "survey"]


def accept(tasks: Any, upstream: bool = True) -> list[Any]:
    """Record outputs that exist as valid under today's code and inputs; nothing is run.

    For outputs that are right although something has changed since: a function was rewritten and does the same, a file
    was mended by hand, outputs come from before there were records, or from an interrupted run that had in fact
    finished them. The next run, also with ``stale="rerun"``, builds none of them.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
        Aggregators stand for their tasks.
    upstream : bool
        Also all that they need. False accepts them with the inputs as these are now, stale or not.

    Returns
    -------
    list of luigi.Task
        What was accepted, needs first. Tasks that were fresh are not in it, nor are external ones, which nobody here
        builds.

    Raises
    ------
    StorageError
        If one of them is being built right now; nothing is accepted then.

    Effects
    -------
    Reads the outputs that it accepts, and writes records. Warns of tasks that it cannot accept because there is no
    output, of theirs or of something that they need. The age that ``expires`` looks at starts anew.
    """
    found = survey(tasks, upstream)
    accepted = found.write()
    if found.left:
        warn(found.left_text())
    return accepted


def forget(tasks: Any, upstream: bool = False) -> list[Any]:
    """Drop the records of tasks: nothing is known any more of how their outputs came about. Outputs stay.

    What the tasks have printed is forgotten, too (see `log`).

    From then on these are trusted as long as they exist, as luigi does (``untracked``), also if the last attempt had
    failed or was interrupted.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
        Aggregators stand for their tasks.
    upstream : bool
        Also all that they need.

    Returns
    -------
    list of luigi.Task
        Those of which there was a record.

    Raises
    ------
    StorageError
        If one of them is being built right now; nothing is forgotten then.
    """
    graph, goals, view = build_graph(tasks, judged=False)
    by_store: dict[Store, list[Any]] = {}
    for node in meant(graph, goals, view, upstream):
        store = store_of(node.task)
        if any([store.records.load_one(*ids) is not None for ids in _filed(node.task)]):
            by_store.setdefault(store, []).append(node.task)
    _refuse_busy([task for members in by_store.values() for task in members], "forgotten")
    done: list[Any] = []
    try:
        for store, members in by_store.items():
            for batch in batches(members):
                with held(store, [task.task_id for task in batch]) as others:
                    if others:  # just begun
                        raise busy_error(_shown(others, batch), "forgotten", len(done))
                    filed = [ids for task in batch for ids in _filed(task)]
                    discard(store, filed)
                    store.records.forget([task_id for _, task_id in filed])
                done += batch
    finally:
        close_all(by_store)
    return done


def _filed(task: Any) -> list[tuple[str, str]]:
    """Return family and id of all that is recorded of a task, under former names, too."""
    return [(task.task_family, task.task_id), *all_ids(task)]


def _refuse_busy(tasks: Iterable[Any], verb: str) -> None:
    busy = {shown(task): pid for task in tasks if (pid := holder(store_of(task), task.task_id)) is not None}
    if busy:
        raise busy_error(busy, verb)


def _shown(others: Mapping[str, int | None], tasks: Iterable[Any]) -> dict[str, int | None]:
    return {shown(task): others[task.task_id] for task in tasks if task.task_id in others}


def meant(graph: Graph, goals: Iterable[Node], view: TaskView, upstream: bool) -> list[Node]:
    """Return the nodes that are meant, needs first, without those that only stand for others."""
    if upstream:
        return [node for node in graph.order if not view.joins(node)]
    meant: set[Node] = set()
    pending = list(goals)
    while pending:
        node = pending.pop()
        if view.joins(node):
            pending += node.needs
        else:
            meant.add(node)
    return [node for node in graph.order if node in meant]


# ---- what can be accepted


@dataclass
class Survey:
    """What `accept` would do.

    Attributes
    ----------
    nodes : list of Node
        To be accepted, needs first.
    left : list of (Node, str)
        What cannot be accepted, and why.
    fresh : int
        How many need not be.
    """

    _ledger: TaskLedger
    _metadata: dict[Node, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    left: list[tuple[Node, str]] = field(default_factory=list)
    fresh: int = 0

    def left_text(self) -> str:
        """Return what cannot be accepted, as a sentence."""
        some = "; ".join(f"{shown(node.task)} {why}" for node, why in self.left[:3])
        more = f"; and {len(self.left) - 3} more" if len(self.left) > 3 else ""
        return f"Not accepted: {some}{more}. The next run builds {'it' if len(self.left) == 1 else 'them'}."

    def write(self) -> list[Any]:
        """Record it, and return the tasks; see `accept`."""
        _refuse_busy([node.task for node in self.nodes], "accepted")
        accepted: list[Any] = []
        stores: dict[Store, None] = {}
        try:
            # In the order of needing: a task is recorded with the digests of what it needs.
            for store, members in groupby(self.nodes, lambda node: store_of(node.task)):
                stores[store] = None
                for batch in batches(list(members)):
                    tasks = [node.task for node in batch]
                    with held(store, [task.task_id for task in tasks]) as others:
                        if others:  # just begun
                            raise busy_error(_shown(others, tasks), "accepted", len(accepted))
                        for node in batch:
                            self._write(store, node)
                        fail_point("accept.written")
                    accepted += tasks
        finally:
            close_all(stores)
        return accepted

    def _write(self, store: Store, node: Node) -> None:
        if node.spared:
            record = self._ledger.renewed(node)
            record.accepted, node.digest = True, record.digest
        else:
            record = self._ledger.accepted(node, self._metadata.get(node, ""))
        store.records.write([record])


def survey(tasks: Any, upstream: bool = True) -> Survey:
    """Return what `accept` would do with these tasks; reads outputs, writes nothing."""
    # What is recorded counts here, whatever settings and classes say of what follows from it.
    examiner = Examiner(Policy("warn", no_freeze=True))
    graph, goals, view = build_graph(tasks, examiner=examiner)
    found = Survey(TaskLedger(view, examiner, new_run_id()))
    chosen = {node for node in meant(graph, goals, view, upstream) if not is_external(node.task)}
    changed: set[Node] = set()  # hold other data than their records say
    for node in graph.order:
        if view.joins(node):
            node.digest = None
            node.digest = examiner.digest_of(node)
            if not changed.isdisjoint(node.needs):
                changed.add(node)
            continue
        before = node.digest
        kinds = {reason.kind for reason in node.reasons}
        if node.standing is Standing.LOST or ReasonKind.FAILED in kinds:
            node.digest = None  # what is recorded is of an earlier attempt, or of none
        if node not in chosen:
            continue
        if node.spared:
            if node.standing is Standing.STALE:
                found.nodes.append(node)
            else:
                found.fresh += 1
        elif not node.present:
            gone = node.standing is Standing.MISSING and stats_of(node.task) is None
            found.left.append((node, "has no output" if gone else "says itself that it is not complete"))
        elif node.standing is Standing.MISSING:
            found.fresh += 1  # its own complete() knows better
        elif node.standing is Standing.FRESH and changed.isdisjoint(node.needs):
            found.fresh += 1
        else:
            _recall(node, graph, view)
            examiner.settle_inputs(node)
            unknown = next((need for need in node.needs if need.digest is None), None)
            if unknown is not None:
                found.left.append((node, f"needs {shown(unknown.task)}, which has no output"))
                continue
            node.digest = examiner.digest_of(node)
            found.nodes.append(node)
            found._metadata[node] = found._ledger.metadata(node)
            if node.digest != before or _has_no_digest(node.task):
                changed.add(node)
    return found


def _has_no_digest(task: Any) -> bool:
    """Return whether nothing but its record stands for what a task holds: a new record is other data then."""
    no_files = [output for output in outputs_of(task) if (stat_of(output) or (0, 0))[0] < 0]
    return not all([content_of(output) for output in no_files])


def _recall(node: Node, graph: Graph, view: TaskView) -> None:
    """Give a node back what its body once asked for: of one that was to run again, judging has dropped it."""
    if node.recalled:
        return
    known = set(node.needs)
    asked = [graph.find(task) for task in view.recall(node)]
    more = [need for need in dict.fromkeys(asked) if need is not None and need.walked and need not in known]
    node.needs += tuple(more)
    node.recalled = len(more)
