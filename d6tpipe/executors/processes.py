"""A pool of processes behind ``concurrent.futures.Executor``: a pipe per worker, and a death costs one piece of work.

The pool of the standard library loses all that is under way when one process dies, cannot say whose fault it was, and
leaves its processes behind when the parent is killed. This one gives each worker a pipe of its own: its end names the
worker and what it was doing, everything else goes on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import pickle
import selectors
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from time import monotonic
from types import ModuleType
from typing import Any

from d6tpipe.executors import worker_process
from d6tpipe.executors.shared import GRACE, Shared, WorkerDied, WorkerGone, WorkTimeout

__all__ = ["ProcessExecutor", "build"]

_TINY = 0.002
"""Seconds: work that takes less is sent several pieces at a time."""
_MESSAGE_SECONDS = 0.005
"""How much work is put into one message."""
_LARGEST_MESSAGE = 64
_MOST_OUTPUT = 1_000_000
"""Bytes of what a dead worker has printed."""


def build(n_workers: int, settings: Any = None) -> ProcessExecutor:
    """Return a pool of `n_workers` processes; they start when there is work for them."""
    return ProcessExecutor(n_workers)


class _Job:
    """A piece of work."""

    __slots__ = ("alone", "future", "kind", "number", "payload", "seconds", "shares", "worker")

    def __init__(self, number: int, payload: bytes, shares: tuple[Shared, ...], future: Future[Any]) -> None:
        self.number, self.payload, self.shares, self.future = number, payload, shares, future
        self.kind: object = None
        self.seconds: float | None = None
        self.worker: int | None = None  # the only one that can do it
        self.alone = False


class _Worker:
    """A process and what it has been given."""

    __slots__ = (
        "connection", "deadline", "ended", "index", "jobs", "known", "leaving", "own", "printed", "process", "reason",
        "retired",
    )  # fmt: skip

    def __init__(self, process: Any, connection: Any, index: int, printed: tuple[int, int]) -> None:
        self.process, self.connection, self.index, self.printed = process, connection, index, printed
        self.jobs: dict[int, _Job] = {}
        self.own: deque[_Job] = deque()  # only this one can do these
        self.known: set[bytes] = set()
        self.retired = False  # is given nothing more
        self.leaving = False  # ends of its own accord, having done what it has told of
        self.ended = False
        self.deadline: float | None = None
        self.reason: WorkTimeout | None = None

    def current(self) -> int:
        """Return the number of the job that it does, as it has written it down itself."""
        return int.from_bytes(os.pread(self.index, 8, 0), "little")

    def output(self) -> tuple[str, str]:
        """Return what it has written to standard output and standard error since its last piece of work began."""
        texts = [os.pread(file, _MOST_OUTPUT, max(0, os.fstat(file).st_size - _MOST_OUTPUT)) for file in self.printed]
        return texts[0].decode(errors="replace"), texts[1].decode(errors="replace")

    def close(self) -> None:
        """Release the pipe and the files."""
        self.ended = True
        with contextlib.suppress(OSError):
            self.connection.close()
        for file in (self.index, *self.printed):
            os.close(file)


class ProcessExecutor(Executor):
    """Run functions in other processes.

    Parameters
    ----------
    n_workers : int
        Processes; started one by one as there is work for them, and kept until `shutdown`.

    Notes
    -----
    Work whose kind has been tiny so far is sent several pieces at a time. When a process dies, what it was doing gets a
    `WorkerDied`; what it had not begun is given to others, and so is what it had finished and not reported yet (the
    work of the last few milliseconds).

    The processes end when the one that made them ends, however it ends. Ctrl-C in a terminal does not reach them:
    what they do is stopped by `shutdown` or `interrupt`.
    """

    shares = True
    affinity = True

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._lock = threading.Lock()
        self._queue: deque[_Job] = deque()
        self._workers: dict[int, _Worker] = {}
        self._estimates: dict[object, float] = {}  # kind of work -> seconds, the longest of late
        self._numbers = 0
        self._manager: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._selector: Any = None  # kept from turn to turn: to build one takes longer than to ask it
        self._watched: list[_Worker] = []
        self._awake = False
        self._closed = False
        self._stop_at: float | None = None
        self._owner = os.getpid()
        _open.add(self)

    # ---- for those who have work

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``function(*args, **kwargs)`` called in a process; see `concurrent.futures.Executor.submit`."""
        return self.assign(function, args, kwargs)

    def assign(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        kind: object = None,
        seconds: float | None = None,
        alone: bool = False,
        worker: int | None = None,
        later: bool = False,
    ) -> Future[Any]:
        """Have a function called in a process.

        Parameters
        ----------
        function, args, kwargs
            Pickled now; arguments that are `Shared` are sent to each process once.
        kind : hashable, optional
            Work of one kind takes about as long each time.
        seconds : float, optional
            When it takes longer the process gets SIGTERM, and is killed 3 s later.
        alone : bool
            In a process of its own, which ends afterwards.
        worker : int, optional
            Id of the process that has to do it; if it has ended, the future gets a `WorkerGone`.
        later : bool
            Do not begin before `flush`: waking the thread that hands out work costs more than tiny work does.

        Returns
        -------
        concurrent.futures.Future
        """
        shares = tuple([argument for argument in args if isinstance(argument, Shared)])
        if shares:
            args = tuple([worker_process.Known(value.key) if isinstance(value, Shared) else value for value in args])
        payload = pickle.dumps((function, args, kwargs or {}), pickle.HIGHEST_PROTOCOL)
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._numbers += 1
            job = _Job(self._numbers, payload, shares, future)
            job.kind, job.seconds, job.alone = (function, kind), seconds, alone
            if worker is not None:
                owner = self._workers.get(worker)
                if owner is None:
                    future.set_exception(WorkerGone(f"the worker process {worker} has ended"))
                    return future
                job.worker = worker
                owner.own.append(job)
            else:
                self._queue.append(job)
            self._start_manager()
        if not later:
            self._wake()
        return future

    def flush(self) -> None:
        """Begin what was assigned for later."""
        self._wake()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in all that runs; a process that goes on for 3 s is killed."""
        with self._lock:
            self._stop_at = monotonic() + GRACE
            for worker in self._workers.values():
                if worker.jobs:
                    _signal(worker.process, signal.SIGINT)
        self._wake()

    def forget(self) -> None:
        """Let go of what was shared: the workers keep nothing of it."""
        with self._lock:
            for worker in self._workers.values():
                worker.known.clear()
                _send(worker, worker_process.FORGET)

    def restart(self) -> None:
        """Give nothing more to the processes there are: new ones know nothing of what was imported."""
        with self._lock:
            for worker in self._workers.values():
                worker.retired = True
        self._wake()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes after what was submitted; with `cancel_futures` only what runs is awaited."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                for job in self._queue:
                    job.future.cancel()
                self._queue.clear()
            manager = self._manager
        self._wake()
        if wait and manager is not None and manager is not threading.current_thread():
            manager.join()
        _open.discard(self)

    def kill(self) -> None:
        """End all processes now, whatever they do."""
        with self._lock:
            self._closed = True
            for job in self._queue:
                job.future.cancel()
            self._queue.clear()
            for worker in self._workers.values():
                worker.process.kill()
        self._wake()

    # ---- the manager

    def _start_manager(self) -> None:
        if self._manager is None:
            self._wake_read, self._wake_write = os.pipe()
            self._selector = selectors.DefaultSelector()
            self._selector.register(self._wake_read, selectors.EVENT_READ)
            self._watched = []
            os.set_blocking(self._wake_write, False)
            self._manager = threading.Thread(target=self._manage, name="d6tpipe processes", daemon=True)
            self._manager.start()

    def _wake(self) -> None:
        if not self._awake and self._wake_write >= 0:
            self._awake = True
            with contextlib.suppress(OSError):  # full, so somebody has woken it; or closed: it has ended
                os.write(self._wake_write, b".")

    def _manage(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            with self._lock:
                for worker in list(self._workers.values()):
                    self._end(worker)
                self._selector.close()
                for descriptor in (self._wake_read, self._wake_write):
                    os.close(descriptor)
                self._wake_write = -1

    def _turn(self) -> bool:
        """Hand out work, wait for something to happen, deal with it; False at the end."""
        with self._lock:
            self._awake = False
            self._hand_out()
            workers = list(self._workers.values())
            if self._closed and not self._queue and not any(worker.jobs or worker.own for worker in workers):
                return False
            until = min([worker.deadline for worker in workers if worker.deadline is not None], default=None)
            if self._stop_at is not None:
                until = self._stop_at if until is None else min(until, self._stop_at)
        self._watch(workers)
        ready = self._selector.select(None if until is None else max(0.0, until - monotonic()))
        over: list[_Worker] = []
        for key, _ in ready:
            if key.data is None:
                os.read(self._wake_read, 4096)
                continue
            worker, is_connection = key.data
            if worker.ended:
                continue
            if is_connection:
                self._listen(worker)
            else:
                over.append(worker)
        for worker in over:
            if not worker.ended:
                self._last_words(worker)
        if until is not None:
            self._look_at_clock()
        return True

    def _watch(self, workers: list[_Worker]) -> None:
        """Wait for these workers, and for no others."""
        if workers == self._watched:
            return
        known = {id(worker) for worker in self._watched}
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data[0] not in workers:
                self._selector.unregister(key.fd)
        for worker in workers:
            if id(worker) not in known:
                self._selector.register(worker.connection.fileno(), selectors.EVENT_READ, (worker, True))
                self._selector.register(worker.process.sentinel, selectors.EVENT_READ, (worker, False))
        self._watched = workers

    def _listen(self, worker: _Worker) -> None:
        """Take one message of a worker, or note that it has ended."""
        try:
            data = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._bury(worker)
            return
        self._hear(worker, pickle.loads(data))

    def _hear(self, worker: _Worker, message: Any) -> None:
        if message == worker_process.LEAVING:  # what came of its last work comes next
            with self._lock:
                worker.leaving = worker.retired = True
            return
        self._take(worker, message)

    def _last_words(self, worker: _Worker) -> None:
        """Take what a worker that has ended had to say before."""
        try:
            while not worker.ended and worker.connection.poll():
                self._hear(worker, pickle.loads(worker.connection.recv_bytes()))
        except (EOFError, OSError):
            pass
        if not worker.ended:
            self._bury(worker)

    def _take(self, worker: _Worker, results: list[tuple[int, bool, bytes, float]]) -> None:
        done = []
        if worker.reason is not None:
            worker.reason.output = worker.output()
        with self._lock:
            for number, good, data, seconds in results:
                job = worker.jobs.pop(number)
                known = self._estimates.get(job.kind, 0.0)
                self._estimates[job.kind] = max(seconds, 0.9 * known)
                done.append((job, good, data))
            if not worker.jobs:
                worker.deadline = None
            if any(job.alone for job, _, _ in done):
                worker.retired = True
            self._hand_out()  # before anybody is told: it should have something to do meanwhile
            gone = list(worker.own) if worker.leaving else []
            if worker.leaving:
                worker.own.clear()
        for job in gone:
            job.future.set_exception(WorkerGone(f"the worker process {worker.process.pid} has ended"))
        for job, good, data in done:
            if worker.reason is not None:  # it was too late
                job.future.set_exception(worker.reason)
            else:
                _settle(job, worker, good, data)

    def _bury(self, worker: _Worker) -> None:
        """Note the end of a worker: what it was doing has failed, the rest is for others."""
        worker.process.join(GRACE)
        if worker.process.is_alive():  # it has only closed its pipe
            worker.process.kill()
            worker.process.join()
        pid, exit_code = worker.process.pid, worker.process.exitcode
        current, output = worker.current(), worker.output()
        with self._lock:
            self._workers.pop(pid, None)
            guilty = worker.jobs.pop(current, None)
            if guilty is None and len(worker.jobs) == 1 and not worker.leaving:
                guilty = worker.jobs.popitem()[1]
            left = list(worker.jobs.values())
            self._queue.extendleft(reversed([job for job in left if job.worker is None]))
            own = [*[job for job in left if job.worker is not None], *worker.own]
            worker.jobs.clear()
            worker.own.clear()
        worker.close()
        if guilty is not None:
            reason = worker.reason or WorkerDied(pid, exit_code)
            reason.output = output
            guilty.future.set_exception(reason)
        for job in own:
            job.future.set_exception(WorkerGone(f"the worker process {pid} has ended"))

    def _look_at_clock(self) -> None:
        now = monotonic()
        with self._lock:
            stop = self._stop_at is not None and now >= self._stop_at
            if stop:
                self._stop_at = None
            for worker in self._workers.values():
                late = worker.deadline is not None and now >= worker.deadline
                if late and worker.reason is None:  # asked first, so that it can save what should not be lost
                    job = next(iter(worker.jobs.values()))
                    worker.reason, worker.deadline = WorkTimeout(job.seconds or 0.0), now + GRACE
                    os.pwrite(worker.index, b"1", worker_process.LATE_AT)
                    _signal(worker.process, signal.SIGTERM)
                elif late or (stop and worker.jobs):
                    worker.deadline = None
                    worker.process.kill()

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self._closed = True
            jobs = [*self._queue, *[job for worker in self._workers.values() for job in worker.jobs.values()]]
            self._queue.clear()
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)

    # ---- handing out; the lock is held

    def _hand_out(self) -> None:
        for worker in list(self._workers.values()):
            while worker.own and not worker.jobs and not worker.leaving:
                self._give(worker, [worker.own.popleft()])
            if worker.retired and not worker.jobs and (worker.leaving or not worker.own):
                self._end(worker)
        for worker in list(self._workers.values()):
            if not self._queue:
                return
            if worker.retired or (worker.jobs and not self._all_tiny(worker)):
                continue
            if self._queue[0].alone:  # in a new process, which this one makes room for
                if not worker.jobs and not worker.own:
                    self._end(worker)
                continue
            self._give(worker, self._next_message())
        while self._queue and len(self._workers) < self.n_workers:
            worker = self._start_worker()
            worker.retired = self._queue[0].alone
            self._give(worker, self._next_message())

    def _all_tiny(self, worker: _Worker) -> bool:
        """Return whether a worker will soon be done with what it has, so that the next may be sent ahead."""
        expected = 0.0
        for job in worker.jobs.values():
            expected += self._estimates.get(job.kind, 1.0)
            if job.seconds is not None or job.alone:
                return False
        return len(worker.jobs) < _LARGEST_MESSAGE and expected < _MESSAGE_SECONDS / 2

    def _next_message(self) -> list[_Job]:
        """Take from the queue what is to be sent together."""
        share = -(-len(self._queue) // max(1, self.n_workers))
        message: list[_Job] = []
        expected = 0.0
        while self._queue and len(message) < min(share, _LARGEST_MESSAGE):
            job = self._queue[0]
            seconds = self._estimates.get(job.kind, 1.0)
            single = seconds > _TINY or job.seconds is not None or job.alone
            if message and (single or expected + seconds > _MESSAGE_SECONDS):
                break
            self._queue.popleft()
            # One that runs comes from a worker that has ended before it came to it.
            if not job.future.running() and not job.future.set_running_or_notify_cancel():
                continue
            message.append(job)
            expected += seconds
            if single:
                break
        return message

    def _give(self, worker: _Worker, jobs: list[_Job]) -> None:
        if not jobs:
            return
        for job in jobs:
            if job.future._state == "PENDING":  # work for this worker only
                job.future.set_running_or_notify_cancel()
            worker.jobs[job.number] = job
            for shared in job.shares:
                if shared.key not in worker.known:
                    worker.known.add(shared.key)
                    _send(worker, (shared.key, bytes(shared)))
        seconds = jobs[0].seconds
        worker.deadline = None if seconds is None else monotonic() + seconds
        # One that has died meanwhile is found dead by the manager.
        _send(worker, [(job.number, job.payload) for job in jobs])

    def _end(self, worker: _Worker) -> None:
        """Have a worker that does nothing end: its loop ends with the pipe."""
        self._workers.pop(worker.process.pid, None)
        worker.close()
        worker.process.join(0)

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context(_START_METHOD)
        ours, theirs = context.Pipe()
        files = [_nameless_file(), _nameless_file(os.O_APPEND), _nameless_file(os.O_APPEND)]
        # A connection is what can be handed to another process, whatever its descriptor is.
        index, out, err = [multiprocessing.connection.Connection(os.dup(file), readable=False) for file in files]
        process = context.Process(  # type: ignore[attr-defined]
            target=worker_process.main,
            args=(theirs, index, (out, err), self.n_workers),
            name="d6tpipe worker",
        )
        if _START_METHOD == "forkserver":  # no effect on a server that runs already
            context.set_forkserver_preload(["d6tpipe.executors.worker_process"])
        with _plain_main():
            process.start()
        theirs.close()
        for handed_over in (index, out, err):
            handed_over.close()
        worker = self._workers[process.pid or 0] = _Worker(process, ours, files[0], (files[1], files[2]))
        return worker


def _settle(job: _Job, worker: _Worker, good: bool, data: bytes) -> None:
    future = job.future
    future.worker = worker.process.pid  # type: ignore[attr-defined]
    try:
        value = pickle.loads(data)
    except Exception as error:  # noqa: BLE001  (reported: whoever waits gets it)
        future.set_exception(error)
        return
    if good:
        future.set_result(value)
    else:
        future.set_exception(value)


def _send(worker: _Worker, message: Any) -> None:
    with contextlib.suppress(OSError):  # it has died: the manager will find it, and what it was given
        worker.connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _signal(process: Any, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _nameless_file(flags: int = 0) -> int:
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="d6tpipe-")
    if flags:
        os.close(descriptor)
        descriptor = os.open(path, os.O_RDWR | flags)
    os.unlink(path)
    return descriptor


_START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_main_lock = threading.Lock()


class _plain_main:
    """While a process is started, ``__main__`` is empty.

    multiprocessing would run the user's script again in each worker, for classes that travel by value anyway, and
    break scripts without a main guard.
    """

    def __enter__(self) -> None:
        _main_lock.acquire()
        self._main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        # A daemon (which workers of Dask are) may have no children, lest they outlive it. Ours do not.
        config: Any = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        self._config, self._daemon = config, config.pop("daemon", None)

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._config["daemon"] = self._daemon
        sys.modules["__main__"] = self._main
        _main_lock.release()


_open: set[ProcessExecutor] = set()


def _close_all() -> None:
    """End all pools, before multiprocessing waits for their processes."""
    for pool in list(_open):
        if pool._owner == os.getpid():
            pool.kill()


multiprocessing.util.Finalize(None, _close_all, exitpriority=100)


def _after_fork_in_child() -> None:
    _open.clear()  # the processes are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
