"""Who builds what, and what is written down about it: locks and records around the bodies of one run.

For each body: take its lock, look again whether it still has to run, announce it, run it, record it, release the lock
when the
record is safe. To commit for each of 100,000 tiny tasks would cost more than the tasks, so as many tasks are locked and
announced together as are likely to take 50 ms; the transaction that announces them also stores the records of those
before.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Any

from d6tpipe import plugins, settings
from d6tpipe.binding import FRAME
from d6tpipe.definitions import Definition
from d6tpipe.engine.freshness import again
from d6tpipe.engine.freshness import expected_seal as expected
from d6tpipe.errors import StorageError, shown, told, warn
from d6tpipe.examiner import (
    DURABLE,
    OBSERVED,
    Examiner,
    Known,
    Shelf,
    content_of,
    digest_together,
    joins,
    outputs_of,
    parameters_of,
    record_of,
    row_of,
    shelf_of,
    stat_of,
    stats_of,
    store_of,
)
from d6tpipe.failpoints import fail_point
from d6tpipe.holds import PATIENCE, tell_waiting
from d6tpipe.integrity import note_written
from d6tpipe.interfaces import FAILURES, GOOD, Outcome, Standing, State
from d6tpipe.machine import boot_id, host_name
from d6tpipe.readers import Reading, removing
from d6tpipe.records import OutputRecord, Record, seal, source_key
from d6tpipe.stores import MEMORY, Store, close_all
from d6tpipe.tasklogs import TaskLogs
from d6tpipe.tasks import TaskAggregator
from d6tpipe.tasks.data import METADATA
from d6tpipe.tasks.external import is_external
from d6tpipe.tasks.older_places import has_older_name
from d6tpipe.tasks.outputs import locate
from d6tpipe.watchdog import Watchdog

if TYPE_CHECKING:
    from d6tpipe.deadlocks import WaitNote

__all__ = ["TaskLedger", "new_run_id", "take_over"]

_BATCH_SECONDS = 0.05
_LARGEST_BATCH = 64

_waiting: dict[tuple[Store, str], TaskLedger] = {}
"""What some run of this process has locked and not started: another one (inside a body, say) may take it over."""
_handing_over = threading.Lock()


def new_run_id() -> str:
    """Return a name for a run: when it began, and what tells it from others."""
    return f"{time():.3f}-{uuid.uuid4().hex[:12]}"


def take_over(store: Store, task_id: str) -> bool:
    """Take the lock of a task that a run of this process has locked and not started; return whether there was one."""
    with _handing_over:
        other = _waiting.pop((store, task_id), None)
        if other is None:
            return False
        for theirs in [theirs for theirs in other._held if theirs.task.task_id == task_id]:
            del other._held[theirs]
        return True


class TaskLedger:
    """The ``Ledger`` of one run; see `interfaces.Ledger`.

    Parameters
    ----------
    view : TaskView
    examiner : Examiner
    run_id : str
    forced : collection of nodes
        They are built whatever the records say.
    """

    def __init__(self, view: Any, examiner: Examiner, run_id: str, forced: Iterable[Any] = ()) -> None:
        self._view = view
        self._examiner = examiner
        self._run_id = run_id
        self._forced = frozenset(forced)
        self._held: dict[Any, Store] = {}  # locked and announced, not settled yet
        self._done: dict[Any, State] = {}  # locked, and found to have nothing to do
        self._ended: dict[Store, list[str]] = {}  # keys of locks to release after the next commit
        self._stores: dict[Store, None] = {}
        self._started: set[Any] = set()
        self._batch = 1
        self._batch_began = 0.0
        self._facts: dict[tuple[Known, Store], dict[str, Any]] = {}
        self._waits_for: dict[Any, float] = {}  # node to the time since when; 0: that has been told
        self._watchdog = Watchdog(self._hand_back)
        self._logs = TaskLogs()
        self._wait_note: WaitNote | None = None
        self._noted = 0.0
        self._inner = FRAME.get() is not None
        self._kept: set[Any] = set()  # transient nodes that were asked for themselves
        self._reading = Reading()
        self._left: list[Any] = []  # nobody here needs their outputs, but somebody else reads them

    # ---- before a body

    def claim(self, node: Any, coming: Callable[[], Iterable[Any]]) -> State:
        if joins(node.task):
            if isinstance(node.task, TaskAggregator) and node.needs and not _any_built(node):
                node.digest = digest_together(node)
                return State.CACHED
            return State.RUNNING
        if _runs_already(node.task):  # refused where bodies start
            return State.RUNNING
        if not self._start(node) and node not in self._done:
            if not self._claim_batch(node, coming):
                return State.PENDING
            self._watchdog.feed()
            if self._batch > 1:
                self._watchdog.start()
            if not self._start(node) and node not in self._done:  # another thread has taken it over meanwhile
                return State.PENDING
        state = self._done.pop(node, State.RUNNING)
        if state is State.FROZEN:
            self.adopt([node])
        return state

    def is_shared(self, node: Any) -> bool:
        """Return whether a node has outputs that others see, so that only one run may build them at a time."""
        return not joins(node.task) and store_of(node.task).root != MEMORY

    def look(self, node: Any) -> State | None:
        """Return the state of a present node that need not run; None if it has to, as far as can be told by now."""
        if stats_of(node.task) is None or not self._lock(node):
            return None
        self._held[node].records.prepare()
        state = self._look_again(node)
        if state is State.FROZEN:
            self.adopt([node])
        self._let_go(node)
        self.commit()
        return state

    def _start(self, node: Any) -> bool:
        """Note that the body of a node starts, if it is still ours."""
        with _handing_over:
            store = self._held.get(node)
            if store is None:
                return False
            _waiting.pop((store, node.task.task_id), None)
            self._started.add(node)
            return True

    def _hand_back(self) -> None:
        """Let go of what was locked ahead and has not started, since a body takes long: it, or others, may wait for it.

        A body may have started a process that needs one of these tasks. When their turn comes they are claimed anew.
        """
        with _handing_over:
            waiting = [node for node, store in self._held.items() if _waiting.get((store, node.task.task_id)) is self]
            by_store: dict[Store, list[Any]] = {}
            for node in waiting:
                store = self._held.pop(node)
                del _waiting[store, node.task.task_id]
                by_store.setdefault(store, []).append(node.task)
        for store, tasks in by_store.items():
            store.records.withdraw([(task.task_family, task.task_id) for task in tasks], self._run_id)
            store.records.flush()
            if store.root != MEMORY:
                store.locks.release([task.task_id for task in tasks])
        self.commit()  # what has ended, and waits for company on its way to the disk

    def _claim_batch(self, first: Any, coming: Callable[[], Iterable[Any]]) -> bool:
        if not self._lock(first):
            return False
        batch = [first]
        now = perf_counter()
        if now - self._batch_began < _BATCH_SECONDS:
            self._batch = min(2 * self._batch, _LARGEST_BATCH)
        else:
            self._batch = max(1, self._batch // 2)
        self._batch_began = now
        if self._batch > 1:
            for node in coming():
                if len(batch) >= self._batch:
                    break
                if node not in self._held and node not in self._done and self._may_share(node) and self._lock(node):
                    batch.append(node)
        quiet: dict[Store, bool] = {}
        for store in {self._held[node]: None for node in batch}:
            store.records.prepare()
            quiet[store] = store.records.foreign(self._run_id) == self._examiner.quiet.get(store)
        announced: dict[Store, list[tuple[str, str]]] = {}
        for node in batch:
            # One that was missing still is, if nobody else has recorded anything since the graph was judged.
            missing = node.present is False and node not in self._forced and quiet[self._held[node]]
            state = None if missing else self._look_again(node)
            if state is None:
                store = self._held[node]
                announced.setdefault(store, []).append((node.task.task_family, node.task.task_id))
            else:
                self._done[node] = state
                self._let_go(node)
        for store, tasks in announced.items():
            keys = self._ended.pop(store, [])
            store.records.building(tasks, self._run_id)
            self._release(store, keys)
        self.commit()  # of folders in which there is nothing to announce
        with _handing_over:  # not before: who takes one over must find it announced
            for node in batch:
                if node in self._held:
                    _waiting[self._held[node], node.task.task_id] = self
        fail_point("ledger.announced")
        return True

    def _let_go(self, node: Any) -> Store | None:
        """Have the lock of a node released after the next commit; None if it is not ours."""
        with _handing_over:
            store = self._held.pop(node, None)
            if store is not None:
                _waiting.pop((store, node.task.task_id), None)
                self._ended.setdefault(store, []).append(node.task.task_id)
        return store

    def _may_share(self, node: Any) -> bool:
        return not joins(node.task) and self._view.enabled(node) and self._view.runnable(node)

    def _lock(self, node: Any) -> bool:
        store = store_of(node.task)
        self._stores[store] = None
        key = node.task.task_id
        if store.root != MEMORY and not store.locks.acquire(key) and not take_over(store, key):
            return False
        with _handing_over:
            self._held[node] = store
        return True

    def _look_again(self, node: Any) -> State | None:
        """Return the state of a node that need not run any more; None if it has to."""
        if node in self._forced:
            return None
        task, view = node.task, self._view
        mode = view.mode(node)
        stats = stats_of(task)
        if stats is None or not view.is_there(node):
            return None
        if mode == "ignore":
            return State.CACHED if node.present is False else None
        known = self._examiner.known_of(task)
        self._examiner.settle_inputs(node)
        row = row_of(task, self._run_id)
        node.present, was_present = True, node.present
        if again(node, known.compared, row, stats, view):
            return State.CACHED
        if mode == "warn" and was_present is False and node.standing is Standing.STALE:
            return State.STALE  # somebody else has built it meanwhile, with other code or data: complete, that is
        if was_present and node.standing is not Standing.LOST and (row is None or row[0] == "finished"):
            if mode == "frozen":
                return State.FROZEN
            if mode == "warn" and self._examiner.policy.tolerates(task):
                return State.STALE
        return None

    # ---- what need not be there

    def spares(self, node: Any) -> bool:
        """Return whether a transient node whose outputs are missing would come out as its record says."""
        if node in self._forced or self._view.mode(node) == "ignore":
            return False
        task = node.task
        known = self._examiner.known_of(task)
        self._examiner.settle_inputs(node)
        row = row_of(task, self._run_id)
        return again(node, known.compared, row, None, self._view)

    def keep(self, nodes: Sequence[Any]) -> None:
        """Take notice of nodes that were asked for themselves: no run removes their outputs any more."""
        if not self._inner:
            self._kept.update(nodes)

    def use(self, nodes: Sequence[Any]) -> list[Any]:
        """Hinder others from removing the outputs of `nodes`; return those that are not there any more."""
        self._left = [node for node in self._left if node not in nodes]
        return [node for node in nodes if not self._reading.begin(node.task) or stats_of(node.task) is None]

    def remove(self, nodes: Sequence[Any]) -> list[Any]:
        """Remove outputs that nobody needs any more; return the nodes that have none now."""
        if self._inner:  # whoever runs the body around this run may need them
            return []
        self.commit()  # nothing goes before what was made of it is safe
        gone = []
        for node in nodes:
            removed = self._remove(node)
            if removed:
                gone.append(node)
            elif removed is None:
                self._left.append(node)
        return gone

    def finish_removal(self, nodes: Sequence[Any]) -> None:
        """Remove what a run that was killed while it removed outputs has left of those of `nodes`."""
        for node in [] if self._inner else nodes:
            outputs = outputs_of(node.task)
            if len(outputs) > 1 and any([stat_of(output) is not None for output in outputs]):
                self._remove(node)

    def _remove(self, node: Any) -> bool | None:
        """Remove the outputs of a node; False if they have to stay, None if they are in use."""
        from d6tpipe.removal import remove_outputs  # what it takes along is of no use to most runs

        store, key = store_of(node.task), node.task.task_id
        self._stores[store] = None
        self._reading.end(store, key)
        with removing(store, key) as alone:
            if not alone:
                return None
            try:
                record = store.records.get(key, self._run_id)
                if record is None or record.asked or record.accepted or record.stage != "finished":
                    return False
                return remove_outputs(store, record)
            except StorageError as error:
                warn(f"{error}\nThe outputs of {shown(node.task)} stay; the run goes on.")
                return False

    def note(self, nodes: Sequence[Any]) -> None:
        # Who built them has recorded them, but what is kept in memory is recorded in the memory of each process.
        for node in nodes:
            if not joins(node.task) and store_of(node.task).root == MEMORY and stats_of(node.task) is not None:
                self._write(node, self.record(node, None, 0.0))

    def wait(self, nodes: Sequence[Any]) -> None:
        self.commit()
        by_store: dict[Store, list[str]] = {}
        for node in nodes:
            by_store.setdefault(store_of(node.task), []).append(node.task.task_id)
        store, keys = next(iter(by_store.items()))
        since = self._waits_for.setdefault(nodes[0], monotonic())
        if FRAME.get() is not None and monotonic() - self._noted >= PATIENCE / 2:
            from d6tpipe.deadlocks import WaitNote

            self._noted = monotonic()
            self._wait_note = self._wait_note or WaitNote()
            self._wait_note.renew([node.task for node in nodes])
        # With several folders there is no waiting for all of them at once: come back soon and look.
        store.locks.wait(keys, 0.05 if len(by_store) > 1 else PATIENCE)
        if monotonic() - since >= PATIENCE / 2 and since > 0:
            holder = store_of(nodes[0].task).locks.holder(nodes[0].task.task_id)
            if holder is not None:
                self._waits_for[nodes[0]] = 0.0  # told
                tell_waiting(nodes[0].task, holder)

    # ---- after a body

    def settle(self, node: Any, outcome: Outcome) -> None:
        self._watchdog.feed()
        if joins(node.task):
            self._logs.note(node.task, outcome, store_of(node.task))
            node.digest = digest_together(node)
            return
        store = self._held.get(node)
        if store is None:
            return
        self._started.discard(node)
        if self._started:  # others may wait for this one while they run
            self._watchdog.start()
        task = node.task
        self._logs.note(task, outcome, store)
        if outcome.state is State.BUILT:
            record = self.record(node, outcome.written, outcome.seconds)
            node.digest = record.digest
            store.records.write([record])
        elif outcome.state in FAILURES:
            record = self.record(node, None, outcome.seconds, look=False)
            record.stage, record.error = "failed", "" if outcome.failure is None else told(outcome.failure.error)
            store.records.write([record])
        elif outcome.state is State.NO_OUTPUT:
            store.records.withdraw([(task.task_family, task.task_id)], self._run_id)
        # of one that was given up, the announcement stays: who knows what it has left
        self._let_go(node)
        fail_point("ledger.recorded")

    def commit(self) -> None:
        """Make all records safe, then release the locks of what they are about."""
        for store in list(self._ended):
            keys = self._ended.pop(store, [])  # before, since the watchdog may come in between
            store.records.flush()
            self._release(store, keys)

    def _release(self, store: Store, keys: Sequence[str]) -> None:
        if keys and store.root != MEMORY:
            store.locks.release(keys)

    def close(self) -> None:
        """End the run: write what is left, take back what was announced and not started, release all locks."""
        self._watchdog.stop()
        if self._wait_note is not None:
            self._wait_note.close()
        for node in list(self._held):
            store = self._let_go(node)
            if store is not None and node not in self._started:
                store.records.withdraw([(node.task.task_family, node.task.task_id)], self._run_id)
        self.keep_up()
        self.commit()
        for node in self._left:
            self._remove(node)
        self._reading.close()
        close_all(self._stores)

    # ---- records

    def keep_up(self) -> None:
        """Write what close looks have found out and no body has: renewed records, and digests of untracked outputs."""
        for node, record in self._examiner.renewed.items():
            if node.state in (State.FRESH, State.CACHED):
                known = self._examiner.known_of(node.task)
                self._facts_of(known, store_of(node.task))  # the texts of what its members are now
                self._write_if_unchanged(node, record)
        self._examiner.renewed.clear()
        for node, outputs in self._examiner.observed.items():
            if node.state not in (State.BUILT, State.FROZEN, *FAILURES):  # these have a record of their own by now
                self._write_if_unchanged(node, self._observed(node, outputs))
        self._examiner.observed.clear()
        for node in self._kept:
            if node.state in GOOD and node.state is not State.BUILT:
                store = store_of(node.task)
                before = store.records.get(node.task.task_id, self._run_id)
                if before is not None and before.stage == "finished" and not (before.asked or before.observed):
                    self._write_if_unchanged(node, replace(before, asked=True))
        self._kept.clear()

    def adopt(self, nodes: Iterable[Any]) -> None:
        """Record the outputs of nodes as valid as they are."""
        kept = [node for node in nodes if not joins(node.task) and not is_external(node.task)]
        digests = [self.metadata(node) for node in kept]  # first: to read a record writes those that wait
        for node, metadata in zip(kept, digests, strict=True):
            self._write(node, self.accepted(node, metadata, ran=False))

    def accepted(self, node: Any, metadata: str, ran: bool = True) -> Record:
        """Return the record of a task whose outputs are valid as they are; see `record`. Sets ``node.digest``."""
        record = self.record(node, None, 0.0, ran=ran)
        record.accepted, record.metadata = True, metadata
        node.digest = record.digest
        return record

    def metadata(self, node: Any) -> str:
        """Return the digest of the metadata that a task has now; empty if none are recorded of it."""
        record = record_of(node.task, self._run_id)
        if record is None or not record.metadata:
            return ""
        files, path = plugins.load("files", "local"), node.task._meta_there()
        return files.digest(path).hex() if files.exists(path) else ""

    def _write_if_unchanged(self, node: Any, record: Record) -> None:
        """Write a record that says nothing new, unless somebody is building the task or has built it meanwhile."""
        store, key = store_of(node.task), node.task.task_id
        if store.root != MEMORY and not store.locks.acquire(key):
            return
        self._ended.setdefault(store, []).append(key)
        stats = stats_of(node.task)
        if stats == tuple([(one.size, one.mtime_ns) for one in record.outputs]) or (node.spared and stats is None):
            self._write(node, record)

    def _write(self, node: Any, record: Record) -> None:
        store = store_of(node.task)
        self._stores[store] = None
        store.records.write([record])

    def _observed(self, node: Any, outputs: list[OutputRecord]) -> Record:
        task, store = node.task, store_of(node.task)
        record = Record(task.task_id, task.task_family, observed=True, outputs=outputs, **_circumstances(self._run_id))
        record.seal = seal(OBSERVED, (), [(output.size, output.mtime_ns) for output in outputs])
        record.started = time()
        for output in outputs:
            output.path = store.relative(output.path)
        return record

    def record(
        self, node: Any, written: Mapping[str, Any] | None, seconds: float, look: bool = True, ran: bool = True
    ) -> Record:
        """Return the record of a task whose outputs are in place.

        Parameters
        ----------
        node : Node
        written : mapping of str to Written, or None
            What is known of the outputs by name; the others are looked at.
        seconds : float
            How long the body ran.
        look : bool
            False: do not look at outputs of which nothing is known.
        ran : bool
            Whether the body has run.
        """
        task = node.task
        says = self._examiner.known_of(task)
        shelf = shelf_of(task)
        store = store_of(task) if shelf is None else shelf.store
        common = self._facts_of(says, store)
        if node.needs:
            self._examiner.settle_inputs(node)
        metadata = ""
        if written and METADATA in written:
            metadata = written[METADATA].digest.hex()
            written = {key: facts for key, facts in written.items() if key != METADATA}
        outputs = self._outputs(task, shelf, store, written or {}, look)
        stats = tuple([(output.size, output.mtime_ns) for output in outputs])
        asked = getattr(node, "asked", None) if ran else None
        if asked or (asked is not None and node.recalled):  # what it asked for the time before does not count any more
            static = node.needs[: len(node.needs) - node.recalled]
            asked = [need for need in dict.fromkeys(asked) if need not in static]
            for need in asked:
                if need.digest is None:
                    need.digest = self._examiner.digest_of(need)
            node.needs, node.recalled = (*static, *asked), len(asked)
        inputs = [entry for entry, _ in self._examiner.inputs(node)] if node.needs else []
        static = len(inputs) - node.recalled
        return Record(
            task.task_id,
            inputs=inputs[:static],
            dynamic_inputs=inputs[static:],
            parameters=parameters_of(task),
            outputs=outputs,
            seal=expected(node, says.code, stats) or b"",
            started=time() - seconds,
            seconds=seconds,
            metadata=metadata,
            asked=says.definition.transient == "remove" and self._is_asked(node, store),
            **common,
        )

    def renewed(self, node: Any) -> Record:
        """Return the record of a node whose outputs are not there, brought up to date."""
        self._facts_of(self._examiner.known_of(node.task), store_of(node.task))  # the texts of what its members are now
        self._examiner.settle_inputs(node)
        record = self._examiner.renew_unseen(node)
        return self.record(node, None, 0.0, look=False) if record is None else record

    def _is_asked(self, node: Any, store: Store) -> bool:
        """Return whether a node was asked for itself, now or when what is being replaced was built."""
        if node in self._kept:
            return True
        before = store.records.get(node.task.task_id, self._run_id) if node.present else None
        return before is not None and before.asked

    def _outputs(
        self, task: Any, shelf: Shelf | None, store: Store, written: Mapping[str, Any], look: bool
    ) -> list[OutputRecord]:
        """Return the outputs of a task as they are recorded, with what is known of them."""
        if shelf is not None and len(written) == len(shelf.keys) and not has_older_name(task):
            found = []
            for key, name, kind in zip(shelf.keys, locate(task)[1], shelf.formats, strict=True):
                size, mtime_ns, digest = written[key]
                found.append(OutputRecord(key, shelf.relative + name, size, mtime_ns, digest, kind))
                if size >= 0:
                    note_written(shelf.absolute + name, (size, mtime_ns))
            return found
        outputs = outputs_of(task)
        for output in outputs:
            known = written.get(output.key)
            if known is not None:
                output.size, output.mtime_ns, output.digest = known
            elif look:
                facts = stat_of(output)
                if facts is not None:
                    output.size, output.mtime_ns = facts
                    output.digest = content_of(output)
            if store.root != MEMORY:
                output.path = store.relative(output.path)
        return outputs

    def _facts_of(self, known: Known, store: Store) -> dict[str, Any]:
        """Return what records of all tasks of a class have in common; the first time its source is stored, too."""
        facts = self._facts.get((known, store))
        if facts is None:
            facts = self._facts[known, store] = self._class_facts(known.definition, store)
        return facts

    def _class_facts(self, says: Definition, store: Store) -> dict[str, Any]:
        for member, text in says.sources().items():
            digest = says.members.get(member)
            if digest:
                store.records.put_source(source_key(member, digest), text)
        return {
            "family": says.family,
            "module": says.module,
            "code_fast": says.code_fast,
            "code_stable": says.code_stable,
            "members": says.members,
            "version": says.version,
            "extras": says.extras,
            "packages": says.packages,
            "python": says.python,
            **_circumstances(self._run_id),
        }


def _any_built(node: Any) -> bool:
    return any(need.state is State.BUILT for need in node.needs)


def _runs_already(task: Any) -> bool:
    """Return whether the body of a task is being run by whoever asks."""
    frame = FRAME.get()
    while frame is not None:
        if frame.task == task:
            return True
        frame = frame.outer
    return False


def _circumstances(run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "host": host_name(),
        "pid": os.getpid(),
        "boot_id": DURABLE if settings.durable else boot_id(),
        "git_commit": git_commit(os.getcwd()),
    }


@lru_cache(maxsize=8)
def git_commit(folder: str) -> str:
    """Return the commit that is checked out around a folder, as its files say; empty if there is none."""
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above
    try:
        with open(os.path.join(folder, ".git", "HEAD")) as stream:
            head = stream.read().strip()
        if not head.startswith("ref: "):
            return head
        with open(os.path.join(folder, ".git", *head[5:].split("/"))) as stream:
            return stream.read().strip()
    except OSError:  # packed references, a work tree elsewhere: not worth starting git for
        return ""
