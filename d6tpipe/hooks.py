"""Hooks that prepare where a body runs: environment, working folder, resources, time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from d6tpipe.constructor import blueprint
from d6tpipe.errors import BuildError, DeclarationError, StorageError, told
from d6tpipe.task_values import configs_of

__all__ = ["HOOKS", "Submission", "SubmitHook", "may_have_hooks", "submission_of", "surroundings"]

_Class = TypeVar("_Class", bound=type)
HOOKS = "_d6tpipe_hooks"
"""Attribute of a class that keeps the hooks it was decorated with."""


@dataclass
class Submission:
    """How the body of a task is to run; what hooks change.

    Attributes
    ----------
    env : dict of str to str or None
        Added to the environment; None takes a variable out of it. The body then has a process that is not shared with
        other bodies at the time.
    cwd : str or None
        Its working folder, likewise.
    resources : dict of str to number
        What it takes of the resources of the run.
    timeout : float or None
        Seconds after which it is stopped.
    """

    env: dict[str, str | None] = field(default_factory=dict)
    cwd: str | None = None
    resources: dict[str, float] = field(default_factory=dict)
    timeout: float | None = None

    @property
    def surrounds(self) -> bool:
        """Whether the process of the body has to be made different from others."""
        return bool(self.env) or self.cwd is not None


class SubmitHook:
    """Base class of hooks: class decorators of tasks and configs that say what a body needs around it.

    Attributes
    ----------
    key : hashable
        Hooks of one class with one key are applied once, however many classes carry them.

    Examples
    --------
    ::

        class needs_java(d6tpipe.SubmitHook):
            def __init__(self, version):
                self.key = version

            def before_submit(self, task, job):
                job.env["JAVA_HOME"] = f"/opt/java{self.key}"

        @needs_java(11)
        class Index(d6tpipe.Config):
            ...
    """

    key: Any = None

    def before_submit(self, task: Any, job: Submission) -> None:
        """Change how the body of a task is to run; called in the process that runs the graph, once per run."""
        raise NotImplementedError(f"{type(self).__name__} has no before_submit()")

    def __call__(self, cls: _Class) -> _Class:
        """Put the hook on a class of tasks or configs, and return the class."""
        if not isinstance(cls, type) or not hasattr(cls, "get_params"):
            raise DeclarationError(
                f"@{type(self).__name__} got something that is no class of tasks or configs",
                facts={"got": f"{cls!r:.200}"},
                hint=f"Write @{type(self).__name__}(...) above the class.",
            )
        setattr(cls, HOOKS, (*vars(cls).get(HOOKS, ()), self))
        return cls


def may_have_hooks(cls: type) -> bool:
    """Return whether tasks of a class can have hooks: its own, or those of configs that it holds."""
    return bool(_of_class(cls)) or bool(blueprint(cls).objects_in)


def submission_of(task: Any, run_id: str) -> Submission | None:
    """Return how the body of a task is to run, after its hooks; None if it has none.

    Raises
    ------
    BuildError
        A hook has raised.

    Notes
    -----
    Hooks are called once for a task and run; whoever asks again gets the same answer.
    """
    known = task.__dict__.get("_submission")
    if known is not None and known[0] == run_id:
        if isinstance(known[1], BuildError):
            raise known[1]
        found: Submission | None = known[1]
        return found
    try:
        made = _applied(task)
    except BuildError as error:
        task.__dict__["_submission"] = run_id, error
        raise
    task.__dict__["_submission"] = run_id, made
    return made


def _applied(task: Any) -> Submission | None:
    hooks: dict[Any, SubmitHook] = {}
    for holder in (task, *configs_of(task, blueprint(type(task)).objects_in)):
        for hook in _of_class(type(holder)):
            hooks.setdefault((type(hook), hook.key), hook)
    if not hooks:
        return None
    wanted = task.process_resources()
    resources = dict(wanted) if isinstance(wanted, Mapping) else {}
    made = Submission(resources=resources, timeout=task.worker_timeout or None)
    for hook in hooks.values():
        try:
            hook.before_submit(task, made)
        except Exception as error:
            raise BuildError(
                f"The hook {type(hook).__name__} raised an error",
                task=task,
                facts={"key": repr(hook.key), "error": told(error)},
                hint="Mend before_submit(); the task was not started.",
            ) from error
    made.env = {str(name): None if value is None else str(value) for name, value in made.env.items()}
    return made


def _of_class(cls: type) -> list[SubmitHook]:
    return [hook for base in reversed(cls.__mro__) for hook in vars(base).get(HOOKS, ())]


@contextmanager
def surroundings(env: Mapping[str, str | None], cwd: str | None) -> Iterator[None]:
    """Make the environment and the working folder of this process those of a body."""
    before, place = dict(os.environ), os.getcwd()
    for name, value in env.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        if cwd is not None:
            try:
                os.chdir(cwd)
            except OSError as error:
                raise StorageError(
                    "The working folder that a hook has set cannot be entered",
                    facts={"path": cwd, "reason": error.strerror or error},
                    hint="Have before_submit() make it, or correct job.cwd.",
                ) from error
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
