"""Sharing a graph among machines: a body runs only where luigi's scheduler says so.

All announce the whole graph as not runnable. What could run now is marked as runnable, one task at a time, and
``get_work`` decides who gets it; so its queue stays short, and it is cheap. Locks and records go on to count: they see
outputs that somebody has built without a scheduler, and hold two machines apart when the scheduler was started anew and
has forgotten who runs what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, sleep
from typing import Any

from d6tpipe.central.connection import Call
from d6tpipe.central.mirror import Mirror
from d6tpipe.central.protocol import FAILED, central_id
from d6tpipe.errors import BodyError, SchedulerError, warn
from d6tpipe.interfaces import Failure, Outcome, State
from d6tpipe.machine import host_name

__all__ = ["ClaimingLedger"]

_PAUSE = 0.1
"""Seconds before the server is asked again when it had nothing; doubled up to the next."""
_LONGEST_PAUSE = 1.0
_STUBBORN = 3
"""How often the server may give out nothing before it is told again that what the task needs is done."""


class ClaimingLedger:
    """The ``Ledger`` of a run that shares its graph with other machines (see `interfaces.Ledger`).

    Parameters
    ----------
    ledger : TaskLedger
        Of this run: locks and records.
    mirror : Mirror
    missing : callable
        Returns the failure of an external task whose output is missing.
    """

    def __init__(self, ledger: Any, mirror: Mirror, missing: Callable[[Any], Failure]) -> None:
        self._ledger, self._mirror, self._missing = ledger, mirror, missing
        self._granted: set[str] = set()  # the server has given these to this run; not settled yet
        self._marked: dict[str, Any] = {}  # runnable for the server; not given to this run
        self._asked: dict[str, int] = {}  # how often in vain
        self._failures: dict[Any, Failure] = {}
        self._pause = _PAUSE
        self._not_before = 0.0
        self._told = False

    def claim(self, node: Any, coming: Callable[[], Iterable[Any]]) -> State:
        key = central_id(node.task)
        if self._ledger.is_shared(node) and key not in self._granted:
            # The server does not give out what it knows to be done; that it is to be seen here comes first.
            found: State | None = self._ledger.look(node)
            if found is not None:
                return found
            if not self._ask(node, key):
                return State.FAILED if node in self._failures else State.PENDING
        # One after the other: what is locked ahead would be missing to the machine that it is given to.
        state: State = self._ledger.claim(node, lambda: ())
        if state not in (State.PENDING, State.RUNNING):
            self._granted.discard(key)
        return state

    def refuse(self, node: Any) -> Failure:
        """Return the failure of a node that is not built here."""
        found = self._failures.get(node)
        return self._missing(node) if found is None else found

    def adopt(self, nodes: Iterable[Any]) -> None:
        """Record the outputs of nodes as valid as they are."""
        self._ledger.adopt(nodes)

    def settle(self, node: Any, outcome: Outcome) -> None:
        self._ledger.settle(node, outcome)
        self._ledger.commit()  # before others are told that it is there
        self._granted.discard(central_id(node.task))

    def look(self, node: Any) -> State | None:
        found: State | None = self._ledger.look(node)
        return found

    def spares(self, node: Any) -> bool:
        return bool(self._ledger.spares(node))

    def keep(self, nodes: Sequence[Any]) -> None:
        self._ledger.keep(nodes)

    def use(self, nodes: Sequence[Any]) -> Sequence[Any]:
        return list(self._ledger.use(nodes))

    def finish_removal(self, nodes: Sequence[Any]) -> None:
        self._ledger.finish_removal(nodes)

    def remove(self, nodes: Sequence[Any]) -> Sequence[Any]:
        return list(self._ledger.remove(nodes))

    def note(self, nodes: Sequence[Any]) -> None:
        self._ledger.note(nodes)

    def commit(self) -> None:
        self._ledger.commit()

    def wait(self, nodes: Sequence[Any]) -> None:
        if any(central_id(node.task) in self._granted for node in nodes):  # somebody without a scheduler builds it
            self._ledger.wait(nodes)
            return
        self._ledger.commit()
        sleep(max(0.0, self._not_before - monotonic()))

    def close(self) -> None:
        """Give back what was given to this run and has not run, and end the run."""
        self._ledger.close()
        calls: list[Call] = []
        for answer in self._mirror.unread():
            if isinstance(answer, dict) and answer.get("task_id") is not None:
                self._granted.add(answer["task_id"])
        for key in self._granted:
            node = self._marked.get(key)
            if node is not None:
                _, fields = self._mirror.ready(node)
                # From RUNNING to PENDING there is no way but this; without an explanation, others try it again.
                calls += [("add_task", {**fields, "status": FAILED}), ("add_task", {**fields, "runnable": False})]
        if calls:
            try:
                self._mirror.request(calls)
            except SchedulerError as error:
                warn(f"{error}\nTasks that this run had claimed are free for others a minute after it has ended.")

    def _ask(self, node: Any, key: str) -> bool:
        """Try to be given a task; return whether that was so."""
        if monotonic() < self._not_before and key in self._marked:
            return False
        try:
            if self._has_failed(node, key):
                return False
            if self._asked.get(key, 0) >= _STUBBORN:
                self._mirror.resend(node.needs)
                self._asked[key] = 0
            self._marked[key] = node
            mark = self._mirror.ready(node)
            work = ("get_work", {"worker": self._mirror.worker, "host": host_name(), "current_tasks": None})
            answers = self._mirror.request([mark, work])
            while True:
                found = answers[-1]
                if isinstance(found, SchedulerError):
                    raise found
                given = found.get("task_id")
                if given is None:
                    break
                self._granted.add(given)
                self._pause = _PAUSE
                if given == key:
                    self._told = False
                    return True
                answers = self._mirror.request([work])
        except SchedulerError as error:
            self._say_so(error)
        self._asked[key] = self._asked.get(key, 0) + 1
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        self._not_before = monotonic() + self._pause
        return False

    def _has_failed(self, node: Any, key: str) -> bool:
        """Find out whether the body has failed on another machine since this run has announced the task."""
        text = self._call("fetch_error", {"task_id": key}).get("error")
        if not text:  # of one whose machine has gone there is none either
            return False
        found = self._call("task_list", {"status": FAILED, "upstream_status": "", "limit": False})
        if key not in found:
            return False
        try:
            text = json.loads(text)
        except ValueError:
            pass
        where = found[key].get("worker_running") or ""
        failed = BodyError(
            "The body has failed on another machine that shares the graph",
            task=node.task,
            facts={"there": where, "it said": str(text).strip()} if where else {"it said": str(text).strip()},
            hint="Mend the cause and run again.",
        )
        self._failures[node] = Failure(node.task, failed, "", 0.0)
        return True

    def _call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        [answer] = self._mirror.request([(method, arguments)])
        if isinstance(answer, SchedulerError):
            raise answer
        return answer or {}

    def _say_so(self, error: SchedulerError) -> None:
        if not self._told:
            self._told = True
            warn(f"{error}\nThe run waits for it, since nothing else says which machine runs what. Ctrl-C ends it.")
