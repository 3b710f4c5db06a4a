"""`Session`: one run that goes on while more is asked of it."""

from __future__ import annotations

import contextvars
import inspect
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from d6tpipe import settings
from d6tpipe.binding import FRAME
from d6tpipe.callbacks import told_by
from d6tpipe.cancellation import terminable
from d6tpipe.coordinator import Coordinator, Options
from d6tpipe.dispatch import choose
from d6tpipe.errors import ParameterError, SessionError, TaskCancelled, told, warn
from d6tpipe.examiner import Examiner
from d6tpipe.executors.shared import LONGEST_GRACE
from d6tpipe.graphs import asked_for, build_graph
from d6tpipe.holds import who
from d6tpipe.identity import nearest
from d6tpipe.interfaces import Event
from d6tpipe.ledger import new_run_id
from d6tpipe.policy import Policy
from d6tpipe.results import Result
from d6tpipe.stores import Store, store_at

__all__ = ["Session"]


def _before_pools_end(call: Callable[[], None]) -> Any:
    """Have a function called when the interpreter ends, while there are still processes that run bodies."""
    from multiprocessing.util import Finalize

    return Finalize(None, call, exitpriority=200)


def _no_option(name: str) -> ParameterError:
    known = [option for option in inspect.signature(Session).parameters if option != "unknown"]
    near = nearest(name, known)
    return ParameterError(
        f"Session() has no option '{name}'",
        facts={"options": ", ".join(known)},
        hint=f"Did you mean '{near}'?" if near else "Use one of these; a session cannot force, select or claim.",
    )


class _Submission:
    """Tasks on their way into the graph."""

    def __init__(self, tasks: Sequence[Any], awaited: bool) -> None:
        self.tasks, self.awaited = tasks, awaited
        self.taken = False
        self.error: Exception | None = None


class _Submitted:
    """What comes between those who submit and the thread that runs; the ``Intake`` of the engine."""

    def __init__(self, coordinator: Coordinator, ask_in_bulk: Callable[[Sequence[Any]], None]) -> None:
        self._coordinator, self._ask_in_bulk = coordinator, ask_in_bulk
        self._news = threading.Condition()
        self._queue: deque[_Submission] = deque()
        self._current: _Submission | None = None
        self._closed = self._cancelled = False
        self._idle = False
        self.ended = False
        self._error: BaseException | None = None  # why the run has ended
        self._refusals: list[Exception] = []  # which nobody was told

    # ---- for the engine, in the thread of the run

    def take(self) -> Sequence[Any]:
        with self._news:
            if self._cancelled:
                raise TaskCancelled("the session was cancelled")
            self._current = self._queue.popleft() if self._queue else None
        if self._current is None:
            return ()
        if len(self._current.tasks) > 1:
            self._ask_in_bulk(self._current.tasks)
        return self._current.tasks

    def taken(self, goals: Sequence[Any], added: Sequence[Any]) -> None:
        self._coordinator.taken_in(goals, added)
        self._answer(None)

    def refused(self, error: Exception) -> None:
        self._answer(error)

    def _answer(self, error: Exception | None) -> None:
        assert self._current is not None
        with self._news:
            self._current.taken, self._current.error = True, error
            if error is not None and not self._current.awaited:
                self._refusals.append(error)
            self._news.notify_all()

    def wait(self) -> bool:
        with self._news:
            self._idle = True
            self._news.notify_all()
            self._news.wait_for(lambda: bool(self._queue) or self._closed or self._cancelled)
            if self._queue or self._cancelled:
                self._idle = False
                return True
            return False

    def end(self, error: BaseException | None) -> None:
        """Take notice that the run has ended, with an error perhaps."""
        with self._news:
            if error is not None and not (self._cancelled and isinstance(error, TaskCancelled)):
                self._error = error
            self.ended = True
            self._news.notify_all()

    # ---- for those who submit

    def put(self, tasks: Sequence[Any], wait: bool) -> bool:
        """Ask for tasks; False if the run has ended. `wait`: until they are part of the graph.

        Raises
        ------
        Exception
            Why they cannot be part of it.
        """
        submission = _Submission(tasks, wait)
        with self._news:
            if self.ended or self._closed:
                return False
            self._queue.append(submission)
            self._news.notify_all()
        self._coordinator.wake()
        if not wait:
            return True
        with self._news:
            self._news.wait_for(lambda: submission.taken or self.ended)
        if submission.error is not None:
            raise submission.error
        return submission.taken

    def problems(self) -> list[BaseException]:
        """Return what has gone wrong and nobody was told: of what was refused each is told once."""
        with self._news:
            refused, self._refusals = self._refusals, []
            return [*([] if self._error is None else [self._error]), *refused]

    def settled(self) -> Result:
        """Wait until nothing is left to do, and return what has come of it up to then."""
        with self._news:
            self._news.wait_for(lambda: self.ended or (self._idle and not self._queue))
            return self._coordinator.result()

    def close(self) -> None:
        """Let the run end when nothing is left to do."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def cancel(self) -> None:
        """Have the run give up all that is not done."""
        with self._news:
            self._closed = self._cancelled = True
            self._news.notify_all()
        self._coordinator.wake()


class Session:
    """A ``with`` block in which tasks are submitted and run at once, while the program goes on.

    All that is submitted is one graph: what two submissions need is built once, and the limits of the run are those of
    all together. The end of the block waits for everything, and raises what has failed.

    Parameters
    ----------
    name : str
        There is one session of a name and data folder (``settings.dir``) at a time, whatever the process.
    workers, executor, stale, freeze, no_freeze, stale_ok, max_failures, resources, scheduler, callbacks, progress, \
show_capture
        As `run` has them.
    abort : bool
        Raise at the end if something failed; False leaves that to whoever looks at `result`.
    execution_summary : bool, optional
        Print the summary at the end; by default ``settings.execution_summary``.

    Attributes
    ----------
    name : str
    result : Result
        What has come of everything; at the end of the block.

    Raises
    ------
    ParameterError
        An unknown option; the message names the nearest one.
    SessionError
        A session of this name is open, here or in another process; or a body tries to open one.
    BuildError
        At the end of the block, if something failed and `abort`.
    GraphError
        At the end of the block, if something that was submitted does not make a graph and nobody was told.
    SystemExit
        With exit code 143: the process was asked to end (SIGTERM); what runs is asked to stop.

    Notes
    -----
    Bodies run where `run` would run them; with one worker, in the thread of the session. A block that is left by an
    exception (Ctrl-C, say) gives up what is not done: bodies in processes are asked to stop (`errors.TaskCancelled`).

    Isolated tasks (``isolate = True``) go on when the process of the session is killed. The next session, or run, that
    needs them waits for them and takes what they have built.

    Examples
    --------
    >>> import d6tpipe
    >>> class Fit(d6tpipe.tasks.TaskCache):
    ...     n = d6tpipe.IntParameter()
    ...     def run(self):
    ...         self.save(self.n ** 2)
    >>> with d6tpipe.Session("night", execution_summary=False) as session:
    ...     first = session.submit(Fit(n=3))
    ...     result = session.wait()
    ...     second = session.submit(Fit(n=first.outputLoad()))
    >>> second.outputLoad()
    81
    """

    def __init__(
        self,
        name: str,
        workers: int | str | None = None,
        executor: Any = None,
        *,
        stale: str | None = None,
        freeze: Any = None,
        no_freeze: bool = False,
        stale_ok: Any = None,
        max_failures: int | None = None,
        resources: Mapping[str, float] | None = None,
        scheduler: str | None = None,
        callbacks: Iterable[Callable[[Event], Any]] | None = None,
        progress: bool | None = None,
        show_capture: str | None = None,
        abort: bool = True,
        execution_summary: bool | None = None,
        **unknown: Any,
    ) -> None:
        for option in unknown:
            raise _no_option(option)
        if not isinstance(name, str) or not name:
            raise SessionError("A session has a name", facts={"got": repr(name)}, hint='Write Session("night").')
        self.name = name
        self.result: Result | None = None
        self._abort = abort
        self._summarised = settings.execution_summary if execution_summary is None else execution_summary
        self._choice = choose(workers, executor)
        url = settings.scheduler if scheduler is None else scheduler
        if url is not None:
            from d6tpipe.central import address_of

            url = address_of(url)
        self._options = Options(
            max_failures, resources, url, callbacks=callbacks, progress=progress, show_capture=show_capture
        )
        self._policy = Policy(stale, freeze, no_freeze, stale_ok)
        self._submitted: _Submitted | None = None
        self._coordinator: Coordinator | None = None
        self._thread: threading.Thread | None = None
        self._store: Store | None = None
        self._terminable: Any = None
        self._at_exit: Any = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        state = "not begun" if self._submitted is None else "ended" if self._submitted.ended else "open"
        return f"<Session {self.name!r}, {state}>"

    def __enter__(self) -> Session:
        return self.open()

    def open(self) -> Session:
        """Begin, and return the session: for notebooks, where a session is open from cell to cell until `close`.

        Raises
        ------
        SessionError
            See above.
        """
        if FRAME.get() is not None:
            raise SessionError(
                "A body cannot open a session",
                task=FRAME.get().task,  # type: ignore[union-attr]
                facts={"session": self.name},
                hint="Yield the tasks, or build them with d6tpipe.run(...).",
            )
        if self._submitted is not None:
            raise SessionError("A session is opened once", facts={"session": self.name}, hint="Make another one.")
        self._pid = os.getpid()
        self._lock()
        try:
            examiner = Examiner(self._policy, new_run_id())
            graph, goals, view = build_graph([], prune=True, examiner=examiner)
            self._coordinator = Coordinator(graph, goals, view, self._choice, self._options)
            self._submitted = _Submitted(self._coordinator, view.ask_in_bulk)
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run, args=(self._carry_out,), name=f"d6tpipe session {self.name}", daemon=True
            )
            self._terminable = terminable()
            self._terminable.__enter__()
            self._at_exit = _before_pools_end(self._abandon)
            self._thread.start()
        except BaseException:
            self._unlock()
            raise
        return self

    def _carry_out(self) -> None:
        assert self._coordinator is not None and self._submitted is not None
        error: BaseException | None = None
        try:
            self._coordinator.carry_out(self._submitted)
        except BaseException as raised:  # noqa: BLE001  (reported: in the thread that waits)
            error = raised
        self._submitted.end(error)

    def submit(self, tasks: Any) -> Any:
        """Have `tasks`, and all that they need, built, and go on; from any thread, and from callbacks.

        Parameters
        ----------
        tasks : task, sweep, collection or mapping of tasks

        Returns
        -------
        object
            `tasks`.

        Raises
        ------
        GraphError
            These are no tasks, or their requirements do not make a graph; nothing of them runs. Where bodies run in the
            thread of the session (one worker), and from callbacks, the latter is raised by `wait` or at the end.
        SessionError
            The session has not begun, or has ended.
        """
        if self._submitted is None or self._coordinator is None:
            raise SessionError(
                "The session has not begun", facts={"session": self.name}, hint='Write: with Session("...") as session:'
            )
        roots, sweeps = asked_for(tasks)
        if sweeps:
            self._coordinator.sweeps += sweeps
        self._check_process()
        # The thread of the run waits itself for the end of what is told of a body.
        waits = self._choice.name != "serial" and self._thread is not threading.current_thread() and told_by() is None
        if not self._submitted.put(roots, waits):
            self._raise_errors()
            raise SessionError(
                "The session has ended", facts={"session": self.name}, hint="Submit within the block, or open another."
            )
        return tasks

    def wait(self) -> Result:
        """Wait until all that was submitted is done, and return what has come of it: failures are not raised here.

        Raises
        ------
        GraphError
            Something that was submitted does not make a graph with what was there, and `submit` could not tell.
        SessionError
            The session has not begun; or a callback or a body waits, which would never end.
        """
        self._check_outside()
        assert self._submitted is not None
        result = self._submitted.settled()
        self._raise_errors()
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error is not None)

    def close(self) -> None:
        """Wait for all that was submitted, and end; raises what the end of a ``with`` block raises."""
        self._check_outside()
        if self._submitted is not None and not self._submitted.ended:
            self._end(False)

    def _end(self, given_up: bool) -> None:
        assert self._submitted is not None and self._thread is not None and self._coordinator is not None
        if self._pid != os.getpid():  # a child of a fork that has come here: the session is its parent's
            return
        submitted, broken = self._submitted, given_up
        try:
            try:
                if not given_up:
                    submitted.settled()
                    submitted.close()
                else:
                    submitted.cancel()
                self._thread.join()
            except BaseException:  # Ctrl-C while waiting
                given_up = True
                submitted.cancel()
                self._thread.join()
                raise
            finally:
                self._unlock()
                self.result = self._coordinator.result()
                if self._summarised and (self.result.ok or not self._abort or given_up):
                    print(self.result.summary_text)
        finally:
            self._at_exit.cancel()
            self._terminable.__exit__(None, None, None)
        if not broken:
            self._raise_errors()
            if self._abort:
                self.result.raise_failure()

    def _abandon(self) -> None:
        """Give up what is not done, since the interpreter ends: record what is, ask what runs to stop."""
        assert self._submitted is not None and self._thread is not None
        self._submitted.cancel()
        self._thread.join(LONGEST_GRACE)  # no longer: a body in a thread cannot be stopped

    def _raise_errors(self) -> None:
        problems = self._submitted.problems() if self._submitted is not None else []
        for other in problems[1:]:
            warn(f"Something else was submitted to the session {self.name!r} that cannot be run: {told(other)}")
        if problems:
            raise problems[0]

    def _check_outside(self) -> None:
        """Raise where the end of the session cannot be waited for."""
        if self._submitted is None or self._coordinator is None:
            raise SessionError(
                "The session has not begun",
                facts={"session": self.name},
                hint="Use it as a with block, or call open().",
            )
        self._check_process()
        run_id, frame = self._coordinator.examiner.run_id, FRAME.get()
        while frame is not None and frame.run_id != run_id:
            frame = frame.outer
        if self._thread is threading.current_thread() or frame is not None or told_by() == run_id:
            raise SessionError(
                "The session cannot wait for itself",
                facts={"session": self.name},
                hint="Wait in the block of the session, not in a callback or a body.",
            )

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise SessionError(
                "The session belongs to another process, and this one is a fork of it",
                facts={"session": self.name, "process": self._pid},
                hint="Submit there, or open another session here.",
            )

    # ---- one at a time

    @property
    def _key(self) -> str:
        return f"session {self.name}"

    def _lock(self) -> None:
        store = store_at(str(settings.dirpath))
        if not store.locks.acquire(self._key):
            raise SessionError(
                "A session of this name is open",
                facts={"session": self.name, "data folder": store.root, "by": who(store.locks.holder(self._key))},
                hint="Wait until it has ended, or give this one another name.",
            )
        self._store = store

    def _unlock(self) -> None:
        if self._store is not None:
            self._store.locks.release([self._key])
            self._store = None
