"""Showing a run in luigi's scheduler: its graph, states, messages and failures, sent by a thread on the side.

The server takes about half a millisecond a call, more than a tiny task takes to run. So nothing waits for it: of each
task only the latest state is kept, and what changes before it was sent is sent once. Changes go first, then what has
not been announced yet; a task that has run by the time its turn comes is announced and done in one call.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

from d6tpipe.central.connection import Call, Connection
from d6tpipe.central.protocol import (
    DISABLED,
    DONE,
    FAILED,
    PENDING,
    RUNNING,
    announcement,
    central_id,
    worker_info,
    worker_name,
)
from d6tpipe.errors import InternalError, SchedulerError, told, warn
from d6tpipe.interfaces import Event, EventKind, Failure

__all__ = ["DRAIN_SECONDS", "Mirror"]

logger = logging.getLogger("d6tpipe")

DRAIN_SECONDS = 5.0
_WINDOW = 100
"""How many calls are under way at once."""
_LINGER = 0.05
"""Seconds between two windows as long as the run goes on: what changes meanwhile is sent once."""
_PING = 10.0
"""Seconds; the server gives a worker up after 60 without a sign of life."""
_LONGEST_PAUSE = 5.0
_PATIENCE = 60.0
"""Seconds without an answer after which even ``drain=True`` ends."""


class _Entry:
    """What the scheduler is to know of a task."""

    __slots__ = ("explanation", "messages", "node", "ran", "runnable", "runs_there", "status", "task", "url")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.task = node.task
        self.status = DONE if node.complete else PENDING
        self.ran = self.runs_there = False
        self.runnable = False
        self.explanation: str | None = None
        self.url: str | None = None
        self.messages: queue.Queue[Any] | None = None


class _Reply:
    """What comes back for a request; stays there, whoever was interrupted while waiting for it."""

    __slots__ = ("_there", "_value")

    def __init__(self) -> None:
        self._there = threading.Event()
        self._value: Any = None

    def put(self, value: Any) -> None:
        self._value = value
        self._there.set()

    def get(self) -> Any:
        self._there.wait()
        return self._value


class Mirror:
    """Tells a scheduler what happens in a run; a reporter of events (see `interfaces.Reporter`).

    Parameters
    ----------
    url : str
        As `address_of` returns it.
    nodes : list of nodes
        All of the graph; it may grow.
    goals : list of nodes
        What was asked for.
    n_workers : int
    log_of : callable
        Returns the URL of the log of a task, shown as its tracking link.
    drain : bool
        Wait at the end until all is sent, however long it takes.
    claims : bool
        The run asks the scheduler what it may run: everything is sent at once, since others wait for it.

    Attributes
    ----------
    url, worker : str
        Of the scheduler, and the name of this run there.
    """

    def __init__(
        self,
        url: str,
        nodes: list[Any],
        goals: Sequence[Any],
        n_workers: int,
        log_of: Callable[[Any], str],
        drain: bool = False,
        claims: bool = False,
    ) -> None:
        self.url, self.worker = url, worker_name(own=claims)
        self._nodes, self._log_of, self._drain = nodes, log_of, drain
        self._info = worker_info(n_workers, goals[0].task) if goals else []
        self._connection = Connection(url)
        # Guards all that follows. The thread of the run takes the lock itself: Ctrl-C while a Condition is entered,
        # which is done in Python, would leave it locked.
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._entries: dict[str, _Entry] = {}
        self._told = 0  # so many of the nodes have an entry
        self._changed: dict[str, _Entry] = {}
        self._unannounced: dict[str, _Entry] = {}
        self._said: dict[tuple[str, str], Call] = {}  # messages and progress
        self._requests: list[tuple[list[Call], _Reply]] = []
        self._seconds_per_call = 0.0004
        self._unread: list[_Reply] = []
        self._idle = False
        self._closing = False
        self._gave_up = False
        self._introduced = False
        self._linger = 0.0 if claims else _LINGER
        self._heard = monotonic()  # when the server last answered
        self._trouble: SchedulerError | None = None
        self._warned = False
        self._thread = threading.Thread(target=self._send_all, name="d6tpipe-scheduler", daemon=True)
        self.watch()

    def start(self) -> None:
        """Begin to send; `close` ends it."""
        self._thread.start()

    # ---- the run

    def __call__(self, event: Event) -> None:
        if len(self._nodes) > self._told:
            self.watch()
        entry = self._entries.get(central_id(event.task))
        if entry is None:
            return
        kind = event.kind
        if kind is EventKind.STARTED:
            entry.status, entry.explanation, entry.ran = RUNNING, None, True
        elif kind is EventKind.COMPLETED:
            entry.status = DONE
        elif kind is EventKind.FAILED:
            entry.status = FAILED
            if entry.explanation is None:
                entry.explanation = str(event.error)
        elif event.kind is EventKind.SKIPPED and getattr(event.task, "disabled", False):
            entry.status = DISABLED
        elif entry.status == RUNNING:  # given up
            entry.status = PENDING
        else:
            return
        self._change(entry)
        self._speak_up()

    def note(self, failure: Failure) -> None:
        """Remember the traceback of a failure, of which the event comes next."""
        entry = self._entries.get(central_id(failure.task))
        if entry is not None:
            entry.explanation = failure.traceback or str(failure.error)

    def watch(self) -> None:
        """Take in what the graph has got since the last time."""
        with self._lock:
            for node in islice(self._nodes, self._told, None):
                key = central_id(node.task)
                if key not in self._entries:
                    self._unannounced[key] = self._entries[key] = _Entry(node)
            self._told = len(self._nodes)
            self._notify()

    def _change(self, entry: _Entry) -> None:
        with self._lock:
            self._changed[central_id(entry.task)] = entry
            self._notify()

    def _notify(self) -> None:
        if self._idle:
            self._idle = False
            self._news.notify_all()

    def _speak_up(self) -> None:
        """Warn, once, in the thread of the run."""
        if self._trouble is not None and not self._warned:
            self._warned = True
            warn(f"{self._trouble}\nThe run goes on; what is to be seen there is sent when it is back.")

    # ---- what bodies say (see interfaces.Status)

    def message(self, task: Any, text: str) -> None:
        """Show a message of a body that runs."""
        self._note(task, "set_task_status_message", "status_message", text)

    def progress(self, task: Any, percent: float) -> None:
        """Show how far a body is."""
        self._note(task, "set_task_progress_percentage", "progress_percentage", percent)

    def tracking_url(self, task: Any, url: str) -> None:
        """Show a link for a body that runs, in place of the one to its log."""
        entry = self._entries.get(central_id(task))
        if entry is not None:
            entry.url = url
            self._change(entry)

    def messages(self, task: Any) -> queue.Queue[Any] | None:
        """Return the queue of what is sent to the body from the page; None if the class does not want any."""
        entry = self._entries.get(central_id(task))
        if entry is None or not getattr(task, "accepts_messages", False):
            return None
        if entry.messages is None:
            entry.messages = queue.Queue()
        return entry.messages

    def ended(self, task: Any) -> None:
        """Take notice that the body is over."""

    def _note(self, task: Any, method: str, name: str, value: Any) -> None:
        key = central_id(task)
        with self._lock:
            self._said[key, method] = (method, {"task_id": key, name: value})
            self._notify()

    # ---- claims (see claims.py)

    def request(self, calls: list[Call]) -> list[Any]:
        """Make calls after all that is to be told has been told, and return what they return.

        Raises
        ------
        SchedulerError
            The scheduler cannot be reached.
        """
        reply = _Reply()
        with self._lock:
            if self._gave_up:
                raise InternalError(
                    "The thread that talks to the scheduler has ended", facts={"because": self._trouble}
                )
            self._requests.append((calls, reply))
            self._news.notify_all()
        try:
            found = reply.get()
        except BaseException:
            self._unread.append(reply)
            raise
        if isinstance(found, SchedulerError):
            raise found
        assert isinstance(found, list)
        return found

    def unread(self) -> list[Any]:
        """Return the answers to requests during which Ctrl-C was pressed."""
        found: list[Any] = []
        for reply in self._unread:
            answers = reply.get()
            found += answers if isinstance(answers, list) else []
        self._unread.clear()
        return found

    def ready(self, node: Any) -> Call:
        """Return the call after which ``get_work`` may return a task to this run."""
        if len(self._nodes) > self._told:
            self.watch()
        entry = self._entries[central_id(node.task)]
        entry.runnable = True
        return "add_task", self._fields(entry, PENDING)

    def resend(self, nodes: Iterable[Any]) -> None:
        """Tell the states of these again: the server may have been told otherwise by somebody else."""
        for node in nodes:
            entry = self._entries.get(central_id(node.task))
            if entry is not None:
                self._change(entry)

    # ---- the end

    def close(self) -> None:
        """Send what is left, for five seconds at most unless `drain` was asked for, and warn of what was not sent.

        With `drain` it also ends when the server has not answered for a minute.
        """
        with self._lock:
            self._closing = True
            self._news.notify_all()
        if self._thread.ident is None:  # the run has not begun
            return
        self._thread.join(None if self._drain else DRAIN_SECONDS)
        with self._lock:
            left = self._left()
            self._gave_up = True
            self._news.notify_all()
        self._thread.join()
        self._connection.close()
        if left and self._trouble is not None:
            warn(f"{self._trouble}\nWhat became of {left} tasks is not to be seen there.")
        elif left:
            warn(
                f"The scheduler at {self._connection.shown} has not been told what became of {left} tasks, since it "
                f"takes about half a millisecond for each. drain=True waits for it."
            )

    # ---- the thread

    def _left(self) -> int:
        return len(self._changed.keys() | self._unannounced.keys())

    def _send_all(self) -> None:
        pause = 0.0
        while True:
            with self._news:
                if not self._work():
                    self._idle = True
                    self._news.wait_for(lambda: self._closing or not self._idle or self._requests, self._until_ping())
                    self._idle = False
                self._news.wait_for(lambda: self._closing or self._requests, self._linger)
                if self._gave_up or (self._closing and not self._work()):
                    return
                changed, said = self._window()
                requests: list[tuple[list[Call], _Reply]] = []
                if not self._left():
                    requests, self._requests = self._requests, []
            try:
                self._send(changed, said, requests)
                pause, self._trouble = 0.0, None
            except BaseException as error:
                self._lose(error, requests)
                if not isinstance(error, SchedulerError):
                    self._gave_up = True
                    raise
                pause = min(_LONGEST_PAUSE, 2 * pause or 0.25)
                with self._news:
                    if self._closing and (not self._drain or monotonic() - self._heard > _PATIENCE):
                        return
                    self._news.wait_for(partial(self._is_urgent, self._closing), pause)

    def _is_urgent(self, closing: bool) -> bool:
        """Return whether the next attempt cannot wait; `closing`: what was known of the end before."""
        return self._gave_up or self._closing is not closing or bool(self._requests)

    def _work(self) -> bool:
        return bool(self._changed or self._unannounced or self._said or self._requests)

    def _until_ping(self) -> float:
        return max(0.0, self._heard + _PING - monotonic())

    def _window(self) -> tuple[list[_Entry], list[Call]]:
        """Take what is sent next."""
        taken: dict[str, _Entry] = {}
        waiting = len(self._changed) > 20 * _WINDOW  # more than a second: only what is final
        later: dict[str, _Entry] = {}
        for source in (self._changed, self._unannounced):
            while source and len(taken) < _WINDOW:
                key = next(iter(source))
                entry = source.pop(key)
                if waiting and entry.status == RUNNING:
                    later[key] = entry
                else:
                    taken[key] = entry
                    self._changed.pop(key, None)
                    self._unannounced.pop(key, None)
        self._changed.update(later)
        said = []
        if not self._changed and not self._unannounced:  # the server ignores what is said of tasks it does not know
            said, self._said = list(self._said.values()), {}
        return list(taken.values()), said

    def _send(self, changed: list[_Entry], said: list[Call], requests: list[tuple[list[Call], _Reply]]) -> None:
        connection = self._connection
        if not self._introduced:
            connection.call("add_worker", worker=self.worker, info=self._info)
            self._introduced = True
        calls: list[Call] = []
        for entry in changed:
            status = entry.status
            fields = self._fields(entry, status)
            calls.append(("add_task", fields))
            if status == RUNNING:
                entry.runs_there = True
            elif entry.runs_there:
                calls += _insist(fields)
                entry.runs_there = False
        calls += said
        if monotonic() - self._heard >= _PING / 2:
            calls.append(("ping", {"worker": self.worker}))
        began = monotonic()
        answers = connection.send(calls, self._let_run) if calls else []
        if len(calls) >= _WINDOW and not self._closing:
            took = (monotonic() - began) / len(calls)
            self._seconds_per_call = min(0.003, (self._seconds_per_call + took) / 2)
        for (method, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, SchedulerError):
                logger.warning("%s", answer)
            elif method == "ping":
                self._deliver(answer)
        while requests:
            wanted, reply = requests[0]
            reply.put(connection.send(wanted))
            del requests[0]
        self._heard = monotonic()

    def _let_run(self, calls: int) -> None:
        """Let answers gather: to be woken by each one would cost the bodies in this process more than the calls."""
        with self._news:
            self._news.wait_for(lambda: self._closing or self._requests, 0.9 * calls * self._seconds_per_call)

    def _fields(self, entry: _Entry, status: str) -> dict[str, Any]:
        running = status == RUNNING
        return announcement(
            entry.task,
            self.worker,
            status,
            [need.task for need in entry.node.needs],
            entry.runnable,
            entry.explanation if status == FAILED else None,
            entry.url or (self._log_of(entry.task) if entry.ran else None),
            running and bool(getattr(entry.task, "accepts_messages", False)),
        )

    def _lose(self, error: BaseException, requests: list[tuple[list[Call], _Reply]]) -> None:
        """Take notice that the connection is lost; a server that was started anew knows nothing."""
        lost = error if isinstance(error, SchedulerError) else SchedulerError(told(error))
        with self._news:
            if self._trouble is None:
                logger.warning("%s", lost)
            self._trouble = lost
            self._introduced = False
            running = {key: entry for key, entry in self._entries.items() if entry.status == RUNNING}
            self._changed = {**running, **self._changed}  # first, so that nobody else is given what runs here
            self._unannounced = dict(self._entries)
            requests += self._requests
            self._requests = []
        for _, reply in requests:
            reply.put(lost)

    def _deliver(self, answer: Any) -> None:
        """Hand on what was sent to bodies from the page."""
        for message in (answer or {}).get("rpc_messages", ()):
            said = message.get("kwargs", {})
            entry = self._entries.get(said.get("task_id", ""))
            if message.get("name") == "dispatch_scheduler_message" and entry is not None and entry.messages is not None:
                entry.messages.put(_Message(self, **said))


def _insist(fields: dict[str, Any]) -> list[Call]:
    """Return calls after which the server believes that a task does not run any more.

    It remembers for ever which worker a task has run on first, and ignores what others say of its end.
    """
    if fields["status"] == DONE:
        return [("mark_as_done", {"task_id": fields["task_id"]})]
    # A task that has asked for more is not looked at so closely; the second call takes it back.
    return [("add_task", {**fields, "new_deps": [fields["task_id"]]}), ("add_task", fields)]


class _Message:
    """What somebody has sent to a body from the page, as luigi's bodies know it: ``content`` and ``respond``."""

    def __init__(self, mirror: Mirror, task_id: str, message_id: str, content: str, **_: Any) -> None:
        self._mirror, self._task_id, self._message_id = mirror, task_id, message_id
        self.content = content

    def __str__(self) -> str:
        return str(self.content)

    def __eq__(self, other: object) -> bool:
        return self.content == other

    __hash__ = None  # type: ignore[assignment]

    def respond(self, response: str) -> None:
        """Show an answer on the page."""
        call = {"task_id": self._task_id, "message_id": self._message_id, "response": response}
        self._mirror.request([("add_scheduler_message_response", call)])
