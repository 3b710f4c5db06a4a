"""Recording bodies that no run of ours has started: ``task.run()`` called by hand, and luigi's own workers."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from luigi.task import flatten

from d6tpipe.engine.graph import Node
from d6tpipe.errors import told
from d6tpipe.examiner import Examiner, record_of, stats_of, store_of
from d6tpipe.failpoints import fail_point
from d6tpipe.holds import PATIENCE, tell_waiting
from d6tpipe.ledger import TaskLedger, new_run_id, take_over
from d6tpipe.policy import Policy
from d6tpipe.stores import MEMORY
from d6tpipe.tasklogs import discard
from d6tpipe.taskview import TaskView

__all__ = ["HandRun", "node_of"]


class HandRun:
    """One body; announced by `enter`, recorded by `finished` or `failed`, let go of by `leave`.

    The task is locked meanwhile, so that its outputs are of one attempt; who is second waits, and says so after a
    second. Each step is safe on the disk when it returns: who calls bodies one by one has no end of a run to wait for.

    Parameters
    ----------
    task : TaskData
    frame : binding.Frame
        What the body has saved, and yielded.
    """

    def __init__(self, task: Any, frame: Any) -> None:
        self._task, self._frame = task, frame
        self._run_id = new_run_id()
        self._begin = perf_counter()
        self._examiner = Examiner(Policy(), self._run_id)
        self._examiner.known_of(task)  # before the body changes what its code looks at
        self._store = store_of(task)
        self._records = self._store.records
        self._locked = False

    def enter(self) -> None:
        """Lock the task, waiting for whoever builds it, and announce it."""
        outer = self._frame.outer
        while outer is not None and outer.task != self._task:
            outer = outer.outer
        if outer is None and self._store.root != MEMORY:
            self._lock()
        self._begin = perf_counter()
        self._records.building([(self._task.task_family, self._task.task_id)], self._run_id)
        fail_point("hand_run.announced")

    def _lock(self) -> None:
        locks, key, told = self._store.locks, self._task.task_id, False
        while not (locks.acquire(key) or take_over(self._store, key)):
            locks.wait([key], None if told else PATIENCE)
            holder = None if told else locks.holder(key)
            if holder is not None:
                told = True
                tell_waiting(self._task, holder)
        self._locked = True

    def leave(self) -> None:
        """Let go of the task; what was recorded is safe."""
        if self._locked:
            self._locked = False
            self._store.locks.release([self._task.task_id])

    def finished(self) -> None:
        """Note that the body has returned; if it has saved nothing, it is as if it had not run."""
        task = self._task
        if stats_of(task) is None:
            self._records.withdraw([(task.task_family, task.task_id)], self._run_id)
            return
        if self._frame.job is not None:
            self._frame.job.finish(self._run_id)
        ledger, node = self._ledger()
        self._forget_log()
        record = ledger.record(node, self._frame.written, perf_counter() - self._begin)
        record.asked = self._frame.outer is None and self._examiner.known(type(task)).definition.transient == "remove"
        self._records.write([record])
        self._records.flush()
        fail_point("hand_run.recorded")

    def failed(self, error: BaseException) -> None:
        """Note that the body has raised."""
        ledger, node = self._ledger()
        record = ledger.record(node, None, perf_counter() - self._begin, look=False)
        record.stage, record.error = "failed", told(error)
        self._forget_log()
        self._records.write([record])
        self._records.flush()

    def _forget_log(self) -> None:
        """Remove what an earlier attempt has printed; nobody listens to this one."""
        discard(store_of(self._task), [(self._task.task_family, self._task.task_id)])

    def _ledger(self) -> tuple[TaskLedger, Node]:
        view = TaskView(examiner=self._examiner)
        node = node_of(self._task, view)
        node.asked = [_with_digest(task, view) for wanted in self._frame.asked for task in flatten(wanted)]
        return TaskLedger(view, self._examiner, self._run_id), node


def node_of(task: Any, view: TaskView) -> Node:
    """Return a node of `task` and of what it needs directly, with the digests of those; no graph is walked."""
    task, key = view.identify(task)
    node = Node(task, key)
    node.present = True
    needs: dict[Any, Node] = {}
    tasks = view.needs(node)
    for need in tasks:
        if need not in needs:
            needs[need] = _with_digest(need, view)
    if len(needs) < len(tasks):  # as the graph does
        place = {need: number for number, need in enumerate(needs)}
        node.names += repr([place[need] for need in tasks]).encode()
    node.needs = tuple(needs.values())
    return node


def _with_digest(task: Any, view: TaskView) -> Node:
    task, key = view.identify(task)
    node = Node(task, key)
    if view.joins(node):
        return node_of(task, view)
    stats = stats_of(task)
    node.present = stats is not None
    record = record_of(task)
    if record is not None and stats == tuple([(output.size, output.mtime_ns) for output in record.outputs]):
        node.digest = record.digest
    return node
