"""What staleness means in one run: the mode of each task, and what was said for this run only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import luigi

from d6tpipe import settings
from d6tpipe.errors import ParameterError, shown
from d6tpipe.identity import nearest

__all__ = ["MODES", "Policy", "matcher"]

MODES = ("ignore", "warn", "rerun")


class Policy:
    """What staleness means in one run or question.

    Parameters
    ----------
    stale : {"ignore", "warn", "rerun"}, optional
        For all tasks; by default what the class says, or else ``settings.stale``.
    freeze : text, task, class or a list of those, optional
        Accept the outputs of these tasks as they are; see `matcher`.
    no_freeze : bool
        Classes that are frozen are not, this time.
    stale_ok : as `freeze`
        Use the outputs of these tasks this time; they stay stale.
    """

    def __init__(
        self, stale: str | None = None, freeze: Any = None, no_freeze: bool = False, stale_ok: Any = None
    ) -> None:
        if stale is not None and stale not in MODES:
            near = nearest(str(stale), MODES)
            raise ParameterError(
                "stale must be one of three words",
                facts={"got": repr(stale), "allowed": ", ".join(MODES)},
                hint=f"Did you mean '{near}'?" if near else "Write stale='warn'.",
            )
        self.stale = stale
        self.no_freeze = no_freeze
        self._frozen = None if freeze is None else matcher(freeze, "freeze")
        self._tolerated = None if stale_ok is None else matcher(stale_ok, "stale_ok")
        self.per_task = freeze is not None or stale_ok is not None

    def unmatched(self, tasks: Iterable[Any]) -> list[str]:
        """Return which of ``freeze`` and ``stale_ok`` mean none of these tasks."""
        tests = {"freeze": self._frozen, "stale_ok": self._tolerated}
        tasks = list(tasks) if self.per_task else []
        return [name for name, test in tests.items() if test is not None and not any(test(task) for task in tasks)]

    def of_class(self, found: Any) -> str:
        """Return the mode of a class, given its definition: one of `MODES` or "frozen"."""
        mode = self.stale or found.stale or settings.stale
        return "frozen" if found.freeze and not self.no_freeze and mode != "ignore" else mode

    def tolerates(self, task: Any) -> bool:
        """Return whether the outputs of a task are to be used this time whatever has changed."""
        return self._tolerated is not None and self._tolerated(task)

    def of_task(self, task: Any, mode: str) -> str:
        """Return the mode of a task whose class has `mode`."""
        if mode == "ignore":
            return mode
        if self._frozen is not None and self._frozen(task):
            return "frozen"
        if mode == "rerun" and self.tolerates(task):
            return "warn"
        return mode


def matcher(wanted: Any, option: str) -> Callable[[Any], bool]:
    """Return a function that tells whether a task is meant by what was given for an option of ``run``.

    Parameters
    ----------
    wanted : text, task, class or a list of those
        Text: part of the task as it is shown, ``Train(model='ols')``, upper or lower case.
    option : str
        Name of the option, for the error.
    """
    members = list(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
    members = [one for member in members for one in (member.tasks if hasattr(member, "task_at") else (member,))]
    tests: list[Callable[[Any], bool]] = []
    for member in members:
        if isinstance(member, str) and member.strip():
            text = member.strip().lower()
            tests.append(lambda task, text=text: text in shown(task).lower())  # type: ignore[misc]
        elif isinstance(member, luigi.Task):
            tests.append(lambda task, member=member: task == member)  # type: ignore[misc]
        elif isinstance(member, type) and issubclass(member, luigi.Task):
            tests.append(lambda task, member=member: isinstance(task, member))  # type: ignore[misc]
        else:
            raise ParameterError(
                f"{option} does not know what this means",
                facts={"got": repr(member)},
                hint=f"Write part of the task as it is shown, {option}=\"Train(model='ols')\", or pass tasks.",
            )
    return lambda task: any(test(task) for test in tests)
