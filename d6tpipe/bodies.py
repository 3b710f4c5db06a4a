"""Running one body: what a worker does with one task, whatever the executor."""

from __future__ import annotations

import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic, perf_counter
from types import GeneratorType
from typing import Any

import luigi
from luigi.task import flatten

from d6tpipe import cancellation, plugins, settings
from d6tpipe.binding import FRAME, Frame, Unanswered
from d6tpipe.errors import (
    GraphError,
    MissingOutputError,
    PipeError,
    TaskCancelled,
    TaskTimeoutError,
    is_ours,
    shown,
    told,
    warn,
)
from d6tpipe.fingerprint.source import undisturbed
from d6tpipe.interfaces import Capture, CaptureRecord, Failure, Outcome, State, Status
from d6tpipe.tasks import TaskAggregator, TaskData
from d6tpipe.tasks.outputs import layout

__all__ = ["BodyRunner", "failure_of", "missing_input"]


def failure_of(task: Any, error: BaseException, seconds: float = 0.0) -> Failure:
    """Return the failure for `error`; its traceback starts at the first frame that is not ours."""
    frames = error.__traceback__
    while frames is not None and is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    if frames is not None:
        error.__traceback__ = frames  # what the user sees begins with the user's code
        if isinstance(error, (PipeError, TaskCancelled)):  # ... and ends with it, where our message says the rest
            last, link = frames, frames.tb_next
            while link is not None:
                last = last if is_ours(link.tb_frame.f_code.co_filename) else link
                link = link.tb_next
            last.tb_next = None
    told_whole = traceback.TracebackException.from_exception(error)
    if settings.show_locals:
        _add_locals(told_whole, error, set())
    text = undisturbed(lambda: "".join(told_whole.format()))
    return Failure(task, error, text, seconds)


_LONGEST_VALUE = 200


def _add_locals(told_whole: Any, error: BaseException | None, seen: set[int]) -> None:
    """Have a traceback, and those of what led to it, show the variables of each frame."""
    if error is None or told_whole is None or id(error) in seen:
        return
    seen.add(id(error))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for summary, frame in zip(told_whole.stack, frames, strict=False):
        if not is_ours(frame.f_code.co_filename):
            summary.locals = {name: _clipped(value) for name, value in frame.f_locals.items()}
    _add_locals(told_whole.__cause__, error.__cause__, seen)
    _add_locals(told_whole.__context__, error.__context__, seen)


def _clipped(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  (shown in its place)
        return f"<{type(value).__name__} whose repr raises {told(error)}>"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ... ({len(text)} characters)"


def _no_body(task: Any) -> str:
    """Return what to do if the class of `task` has no ``run`` at all; empty if it has one."""
    if type(task).run is not luigi.Task.run:
        return ""
    return f"{task.task_family} has no run(): write one, or declare it external if its output is made elsewhere."


def missing_input(node: Any) -> Failure:
    """Return the failure of an external task whose output does not exist."""
    task = node.task
    try:
        outputs = [getattr(target, "path", target) for target in flatten(task.output()) if not target.exists()]
    except Exception as error:  # noqa: BLE001  (reported; it must not end the run)
        outputs = [f"cannot be told, output() or exists() of a target raised {told(error)}"]
    missing = MissingOutputError(
        f"{task.task_family} is external, and what it stands for does not exist",
        task=task,
        facts={"missing": "\n".join(map(str, outputs)) or "no output declared, and complete() says no"},
        hint="Put it there, or give the class a run() that makes it.",
    )
    return Failure(task, missing, "", 0.0)


class BodyRunner:
    """Runs bodies; one per run.

    luigi's bodies may call ``set_status_message``, ``set_progress_percentage``, ``set_tracking_url``,
    ``scheduler_messages`` and ``decrease_running_resources``: these exist while a body runs.

    Parameters
    ----------
    stale : str, optional
        What the run does with stale tasks, if that was said; what bodies bind is built by the same rule.
    capture : Capture, optional
        Listens to the bodies; entered and left by whoever passes it.
    status : Status, optional
        Where messages and progress of the bodies go to.
    n_workers : int
        How many bodies the run may have under way.
    run_id : str
    """

    def __init__(
        self,
        stale: str | None = None,
        capture: Capture | None = None,
        status: Status | None = None,
        n_workers: int = 1,
        run_id: str = "",
    ) -> None:
        self._n_workers, self._run_id = n_workers, run_id
        self._folders: set[str] = set()
        self._stale = stale
        self._capture = capture
        self.status = status

    def forget_folders(self) -> None:
        """Look again whether the folders of bodies are there: they may have been removed between two of them."""
        self._folders.clear()

    def close(self) -> None:
        """Remove what others that were killed while this ran have left in the folders of the bodies."""
        files = plugins.load("files", "local")
        for folder in self._folders:
            files.sweep(folder)

    def __call__(self, node: Any, used: bool, attempt: int = 1) -> Outcome:
        """Run the body of ``node.task``.

        Parameters
        ----------
        node : NodeLike
        used : bool
            Whether another task of the run waits for the output.
        attempt : int

        Raises
        ------
        KeyboardInterrupt
            The only exception that is not turned into a failure.
        """
        return self.body(node, used, attempt=attempt).start()

    def body(
        self, node: Any, used: bool, answered: Sequence[Any] = (), attempt: int = 1, seconds: float | None = None
    ) -> _Body:
        """Return a body to be started; what it asks for of `answered` is known to be complete.

        `seconds`: how long it may take.
        """
        record = None if self._capture is None else self._capture.task()
        body = _Body(node, used, self._folders, answered, self._stale, record, self.status)
        body.frame.n_workers, body.frame.run_id = self._n_workers, self._run_id
        body.frame.attempt, body.frame.seconds = attempt, seconds
        return body


def _ignore(*_: Any, **__: Any) -> None:
    """What luigi's status calls do without a central scheduler."""


_HOOKS: dict[str, Any] = {
    "set_status_message": _ignore,
    "set_progress_percentage": _ignore,
    "set_tracking_url": _ignore,
    "decrease_running_resources": _ignore,
    "scheduler_messages": None,
}
_hooked: dict[int, int] = {}  # id of a task -> how many of its bodies run: two threads may run one task at once
_hooked_lock = threading.Lock()


def _hooks_of(task: Any, status: Status) -> dict[str, Any]:
    return {
        "set_status_message": partial(status.message, task),
        "set_progress_percentage": partial(status.progress, task),
        "set_tracking_url": partial(status.tracking_url, task),
        "decrease_running_resources": _ignore,
        "scheduler_messages": status.messages(task),
    }


def _hook(task: Any, status: Status | None) -> None:
    with _hooked_lock:
        _hooked[id(task)] = _hooked.get(id(task), 0) + 1
        task.__dict__.update(_HOOKS if status is None else _hooks_of(task, status))


def _unhook(task: Any) -> None:
    with _hooked_lock:
        left = _hooked.pop(id(task)) - 1
        if left:
            _hooked[id(task)] = left
        elif isinstance(task, TaskData):
            for name in _HOOKS:
                task.__dict__.pop(name, None)
        else:  # luigi leaves them there as None
            task.__dict__.update(dict.fromkeys(_HOOKS))


class _Body:
    """One body, up to its end or to where it asks for more."""

    __slots__ = (
        "answered",
        "frame",
        "generator",
        "record",
        "requirements",
        "seconds",
        "status",
        "task",
        "used",
        "wanted",
    )

    def __init__(
        self,
        node: Any,
        used: bool,
        folders: set[str],
        answered: Sequence[Any],
        stale: str | None,
        record: CaptureRecord | None,
        status: Status | None = None,
    ) -> None:
        self.status = status
        self.record = record
        self.task = node.task
        self.answered = frozenset(answered)
        self.used = used
        self.frame = Frame(self.task, node.requires, folders)
        self.frame.stale, self.frame.answered = stale, self.answered
        self.generator: Generator[Any, Any, Any] | None = None
        self.seconds = 0.0
        self.requirements: Sequence[Any] = ()
        self.wanted: Any = None

    def start(self) -> Outcome:
        if isinstance(self.task, TaskAggregator):
            return Outcome(State.BUILT, 0.0)  # all it stands for is built
        outer = self.frame.outer
        while outer is not None:
            if outer.task == self.task:
                return self._refuse()
            outer = outer.outer
        return self._step(self.task.run)

    def _refuse(self) -> Outcome:
        error = GraphError(
            "A body runs its own task, which would never end",
            task=self.task,
            hint="Let run() neither run nor load with run=True its own task, or one that needs it.",
        )
        return Outcome(State.FAILED, 0.0, failure_of(self.task, error))

    def resume(self) -> Outcome:
        """Go on after what the body asked for is complete."""
        return self._step(lambda: self._drive(self._answer))

    def captured(self) -> Any:
        """Return what the body has printed, warned and logged so far; None if nothing."""
        return None if self.record is None else self.record.captured() or None

    def close(self) -> None:
        """Give the body up."""
        if self.frame.reading is not None:
            self.frame.reading.close()
        if self.generator is not None:
            self.generator.close()

    def _step(self, work: Callable[[], Any]) -> Outcome:
        record = self.record
        if record is None:
            return self._run(work)
        with record:
            outcome = self._run(work)
        if outcome.suspension is None:
            outcome.captured = self.captured()
            if outcome.captured is not None and outcome.failure is not None:
                outcome.failure = replace(outcome.failure, captured=outcome.captured)
        return outcome

    def _run(self, work: Callable[[], Any]) -> Outcome:
        task = self.task
        _hook(task, self.status)
        token = FRAME.set(self.frame)
        before, begin = self.seconds, perf_counter()
        if not self.frame.begun:
            self.frame.begun = monotonic()
        try:
            value = work()
            if value.__class__ is GeneratorType and self.generator is None:
                self.generator = value
                self._drive(lambda: next(value))
            self.seconds = before + perf_counter() - begin
            cancellation.check()
            if self.requirements:
                return Outcome(State.RUNNING, self.seconds, suspension=self)
            outcome = self._finish()
            outcome.bound = self.frame.bound
            if outcome.failure is None:
                if self.frame.job is not None:
                    self.frame.job.finish()
                task.on_success()
            else:
                self._tell_failure(outcome.failure.error)
            return outcome
        except KeyboardInterrupt:
            self.close()
            raise
        except Unanswered as asked:
            self.seconds = before + perf_counter() - begin
            self.requirements = asked.tasks
            return Outcome(State.RUNNING, self.seconds, suspension=self)
        except BaseException as error:  # noqa: BLE001  (reported; SystemExit of a body ends its task, not the run)
            self.seconds = before + perf_counter() - begin
            failure = failure_of(task, error, self.seconds)
            self._tell_failure(error)
            state = State.TIMEOUT if isinstance(error, TaskTimeoutError) else State.FAILED
            return Outcome(state, self.seconds, failure)
        finally:
            if self.frame.reading is not None and not self.requirements:
                self.frame.reading.close()
            FRAME.reset(token)
            _unhook(task)
            if self.status is not None:
                self.status.ended(task)

    def _tell_failure(self, error: BaseException) -> None:
        try:
            self.task.on_failure(error)
        except Exception as second:  # noqa: BLE001  (reported; the first error matters more)
            warn(f"on_failure of {shown(self.task)} raised {told(second)}")

    def _drive(self, step: Callable[[], Any]) -> None:
        """Step a generator until it ends or yields something that is not complete."""
        self.requirements = ()
        while True:
            try:
                wanted = step()
            except StopIteration:
                return
            if not isinstance(wanted, luigi.DynamicRequirements):
                wanted = luigi.DynamicRequirements(wanted)
            tasks = wanted.flat_requirements
            wrong = [task for task in tasks if not isinstance(task, luigi.Task)]
            if wrong:
                raise TypeError(f"run() yielded {wrong[0]!r}, which is not a task")
            self.wanted = wanted
            complete = wanted.complete() if wanted.custom_complete is not None else not tasks
            if self.answered and not complete:  # begun again from the top, by a worker that could not keep it
                complete = self.answered.issuperset(tasks)
            if not complete:
                self.requirements = tasks
                return
            step = self._answer

    def _answer(self) -> Any:
        """Hand the body the targets of what it asked for."""
        assert self.generator is not None
        return self.generator.send(self.wanted.paths)

    def _finish(self) -> Outcome:
        task, frame = self.task, self.frame
        if type(task).complete is luigi.WrapperTask.complete:
            # All it requires is built. Asking would walk all below it again: exponential in a ladder of wrappers.
            return Outcome(State.BUILT, self.seconds)
        ours = isinstance(task, TaskData)
        if ours and frame.saved and len(frame.saved) == len(layout(task).keys):
            return Outcome(State.BUILT, self.seconds, written=frame.written)
        outputs = flatten(task._usual_output() if ours else task.output())
        if ours and type(task).complete is TaskData.complete:
            complete = bool(outputs) and all([target.exists() for target in outputs])
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Task .* without outputs has no custom complete")
                complete = bool(task.complete())
        if complete:
            return Outcome(State.BUILT, self.seconds, written=frame.written)
        missing = [target for target in outputs if not target.exists()]
        if not self.used and not frame.saved and len(missing) == len(outputs):
            if outputs:
                advice = _no_body(task) or "Call self.save(...) in run()."
                warn(
                    f"{shown(task)} ran but saved nothing: its output {getattr(missing[0], 'path', missing[0])} "
                    f"does not exist, so it will run again next time. {advice}"
                )
            return Outcome(State.NO_OUTPUT, self.seconds)
        error = MissingOutputError(
            f"run() of {task.task_family} returned, but "
            + ("an output is missing" if missing else "its complete() still says no"),
            task=task,
            facts={
                "missing": "\n".join(str(getattr(target, "path", target)) for target in missing[:10]) or "nothing",
                "saved": ", ".join(sorted(frame.saved)) or "nothing",
            },
            hint=_no_body(task) or "Call self.save(...) once in run(), with every output that the class declares.",
        )
        return Outcome(State.FAILED, self.seconds, Failure(task, error, "", self.seconds))
