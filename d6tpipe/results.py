"""What a run came to: a state per task, failures, a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from typing import Any

from luigi.execution_summary import LuigiStatusCode

from d6tpipe.engine.graph import Node
from d6tpipe.errors import BuildError, shown, told
from d6tpipe.interfaces import FAILURES, Failure, State
from d6tpipe.wording import Words, columns_of, named, without_class

__all__ = ["Result"]

_HEADLINES = (
    (State.FRESH, "complete, nothing to do"),
    (State.FROZEN, "frozen, accepted as they are"),
    (State.STALE, "complete but stale, used as they are"),
    (State.CACHED, "not run after all: what they need came out equal, or another run built them"),
    (State.BUILT, "built"),
    (State.NO_OUTPUT, "ran but saved nothing"),
    (State.PENDING, "to build"),
    (State.SKIPPED, "disabled"),
    (State.FAILED, "failed"),
    (State.TIMEOUT, "failed: took longer than they may"),
    (State.UPSTREAM_FAILED, "not started, something upstream failed"),
    (State.CANCELLED, "cancelled"),
)
_BAD = (*FAILURES, State.UPSTREAM_FAILED, State.CANCELLED)
_EXPLAINED = frozenset({State.STALE, State.FROZEN, State.PENDING})  # of these the summary says why
_TABLE = ("task", "family", "state", "reasons", "seconds", "error")
_SHOWN = 5
_LEADING = 3


class Result:
    """The result of a run; true if nothing failed.

    Attributes
    ----------
    ok : bool
        Every task asked for is complete, or ran and had nothing to save.
    failures : list of interfaces.Failure
        One per failed task, in the order of failing.
    seconds : float
        Wall time of the run.
    status : luigi.LuigiStatusCode
    scheduling_succeeded : bool
        The same as `ok`; luigi's name for it.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        failures: list[Failure],
        seconds: float,
        dry: bool = False,
        goals: Sequence[Node] = (),
        show_capture: str = "all",
        spare: Sequence[tuple[Set[Node | None], int]] | None = None,
    ) -> None:
        self._nodes = nodes
        self._show_capture = show_capture  # what of the output of failed tasks is part of the texts
        self._goals = goals  # what was asked for, in the order of asking
        self.failures = failures
        self.seconds = seconds
        self._dry = dry
        if dry:  # which of them would come first is of no interest
            for node in nodes:
                if node.state is State.READY:
                    node.state = State.PENDING
        self.counts = Counter(node.state for node in nodes if node.state is not None)
        self.ok = dry or not (
            any(self.counts[state] for state in _BAD)
            or (
                self.counts[State.SKIPPED] and any([node.state is State.SKIPPED and not node.excused for node in nodes])
            )
        )
        self._spare = spare
        if not self.ok and spare is not None:  # some failures are tolerated: so many of these goals, none of the others
            bad = {goal for goal in goals if goal.state in _BAD}
            excused = [bad & members for members, most in spare if len(bad & members) <= most]
            self.ok = not bad.difference(*excused)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        return f"<Result {'ok' if self.ok else 'not ok'}: {counts or 'no tasks'}>"

    @property
    def scheduling_succeeded(self) -> bool:
        return self.ok

    @property
    def status(self) -> LuigiStatusCode:
        if self.ok:
            return LuigiStatusCode.NOT_RUN if self._dry else LuigiStatusCode.SUCCESS
        bodies = [failure for failure in self.failures if failure.traceback]
        return LuigiStatusCode.FAILED if bodies or not self.failures else LuigiStatusCode.MISSING_EXT

    @property
    def states(self) -> dict[Any, State]:
        """The state of each task of the run."""
        return {node.task: node.state for node in self._nodes if node.state is not None}

    def split(self, groups: Mapping[Any, Sequence[Any]]) -> dict[Any, Result]:
        """Return one result for each group of what was asked for: its own tasks, and the failures among them.

        Parameters
        ----------
        groups : mapping of name to tasks
            Together all tasks that the run was asked for, in that order.
        """
        # By position: in a notebook the run may have replaced a task by one of the newest class.
        goals = iter(self._goals)
        place = {node: number for number, node in enumerate(self._nodes)}
        order = {id(failure): number for number, failure in enumerate(self.failures)}
        found = {}
        for name, tasks in groups.items():
            members: dict[Node, None] = {}
            asked = list(islice(goals, len(tasks)))
            stack = list(asked)
            while stack:
                node = stack.pop()
                if node not in members:
                    members[node] = None
                    stack.extend(node.needs)
                    stack.extend(getattr(node, "asked", ()))  # while running
            nodes = sorted(members, key=place.__getitem__)
            failures = [node.failure for node in nodes if node.state in FAILURES and node.failure is not None]
            failures.sort(key=lambda failure: order[id(failure)])
            found[name] = Result(nodes, failures, self.seconds, self._dry, asked, self._show_capture, self._spare)
        return found

    def table(self) -> Any:
        """Return a DataFrame with one row per task, in the order of building.

        Returns
        -------
        pandas.DataFrame
            Columns: ``task`` (text), ``family``, one per significant parameter (as text; NaN where a task has no
            such parameter), ``state``, ``reasons`` (why it was built, or is stale, in a few words), ``seconds`` (of
            the body; NaN if it did not run), ``error``. A parameter that is called like one of these columns is
            ``parameter_<name>``.
        """
        import pandas as pd

        rows, words = [], Words()
        for node in self._nodes:
            if node.state is None:
                continue
            ran = node.state in (State.BUILT, State.NO_OUTPUT, *FAILURES)
            failure = node.failure if node.state in FAILURES else None
            rows.append(
                {
                    "task": shown(node.task),
                    "family": node.task.task_family,
                    **columns_of(node.task, _TABLE),
                    "state": str(node.state),
                    "reasons": _why(node, words),
                    "seconds": node.seconds if ran else float("nan"),
                    "error": told(failure.error) if failure else "",
                }
            )
        last = list(_TABLE[2:])
        frame = pd.DataFrame(rows, columns=None if rows else [*_TABLE[:2], *last])
        return frame[[column for column in frame.columns if column not in last] + last]

    @property
    def one_line_summary(self) -> str:
        """The counts in one line."""
        words = [f"{self.counts[state]} {words}" for state, words in _HEADLINES if self.counts[state]]
        return "; ".join(words) or "no tasks"

    @property
    def summary_text(self) -> str:
        """The summary that is printed after a run."""
        total = sum(self.counts.values())
        rule = "===== d6tpipe Execution Summary ====="
        tasks = "1 task" if total == 1 else f"{total} tasks"
        lines = ["", rule, "", f"Looked at {tasks} in {self.seconds:.2f} s:"]
        words = Words()
        for state, headline in _HEADLINES:
            if self.counts[state]:
                lines.append(f"* {self.counts[state]} {headline}:")
                members = [node for node in self._nodes if node.state is state]
                explained = state in _EXPLAINED
                explained |= state is State.FRESH and (self._dry or any([node.spared for node in members]))
                lines += _by_family(members, words if explained else None)
        if self.counts[State.STALE]:
            lines += ["", *self._about_stale(words)]
        for failure in self.failures[:_SHOWN]:
            lines += ["", f"{shown(failure.task)} failed: {told(failure.error)}"]
            lines += [f"    {line}" for line in self._printed_by(failure)]
        if len(self.failures) > _SHOWN:
            lines.append(f"... and {len(self.failures) - _SHOWN} more failures in result.failures")
        lines += ["", self._verdict(), "", rule, ""]
        return "\n".join(lines)

    def _about_stale(self, words: Words) -> list[str]:
        """Return how many tasks are stale, because of what above all, and what to do about it."""
        stale = [node for node in self._nodes if node.state is State.STALE]
        found: Counter[str] = Counter()
        for node in stale:
            found.update(dict.fromkeys([words.reason(node.task, reason) for reason in node.reasons], 1))
        leading = ", ".join([word for word, _ in found.most_common(_LEADING)])
        more = f" and {len(found) - _LEADING} more reasons" if len(found) > _LEADING else ""
        first = named(stale[0].task)
        count = f"{len(stale)} tasks are stale, such as {first}" if len(stale) > 1 else f"{first} is stale"
        return [
            f"{count}: {leading}{more}.",
            'Why: d6tpipe.explain(task). Build again: run(..., stale="rerun"). Keep as is: d6tpipe.accept(task).',
        ]

    def _printed_by(self, failure: Failure) -> list[str]:
        """Return the end of what a failed body has printed, warned and logged, as far as it is to be shown."""
        return [] if failure.captured is None else failure.captured.last_lines(self._show_capture)

    def _verdict(self) -> str:
        if self._dry:
            return "A dry run: nothing was run or written."
        if not self.ok:
            return "The run is NOT complete. Mend what failed and run again: only what is left will run."
        if self.failures:
            return f"Done: {len(self.failures)} failed, no more than is tolerated."
        if self.counts[State.NO_OUTPUT]:
            return "Done, but some tasks saved nothing: they will run again next time."
        if not self.counts[State.BUILT]:
            if self.counts[State.CACHED]:
                return "Done: nothing had to be run."
            return "Everything was complete already, nothing was run."
        return "Done: nothing failed, nothing is missing."

    def raise_failure(self) -> None:
        """Raise a `BuildError` that holds every failure; does nothing if the run is ok."""
        if self.ok:
            return
        count = len(self.failures)
        facts: dict[str, object] = {}
        for number, failure in enumerate(self.failures[:_SHOWN], 1):
            about = [shown(failure.task), told(failure.error), *self._printed_by(failure)]
            facts[f"failed {number}"] = "\n".join(about)
        if count > _SHOWN:
            facts["more"] = f"{count - _SHOWN} other failures, see error.failures"
        blocked = self.counts[State.UPSTREAM_FAILED]
        if blocked:
            facts["not started"] = f"{blocked} that need what failed"
        if self.counts[State.SKIPPED]:
            facts["disabled"] = str(self.counts[State.SKIPPED])
        error = BuildError(
            f"{count} task{'s' if count != 1 else ''} failed" if count else "The run could not be completed",
            facts=facts,
            hint="Mend what failed and run again: only what is left will run. (abort=False returns the result.)",
        )
        error.failures = self.failures
        error.result = self
        raise error from (self.failures[0].error if self.failures else None)


def _why(node: Node, words: Words) -> str:
    """Return why a task was built or is to be, or why it is not to be trusted, in a few words."""
    if node.state in (State.FRESH, State.STALE, State.FROZEN, State.PENDING):
        return words.of(node)
    why = "upstream" if node.present and node.needs else "missing"
    if node.reasons:
        why = words.reasons(node.task, node.reasons)
    return f"{why}, removed" if node.spared and not node.present else why


def _by_family(nodes: Sequence[Node], words: Words | None = None) -> list[str]:
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(node.task.task_family, []).append(node)
    lines = []
    for family, members in sorted(groups.items()):
        if words is None:
            lines.append(_line(family, members))
            continue
        alike: dict[str, list[Node]] = {}
        for node in members:
            alike.setdefault(_why(node, words), []).append(node)
        parts = list(alike.items())
        if len(parts) > _SHOWN:
            parts[_SHOWN - 1 :] = [("other reasons", [node for _, part in parts[_SHOWN - 1 :] for node in part])]
        lines += [f"{_line(family, part)}: {why}" if why else _line(family, part) for why, part in parts]
    return lines


def _line(family: str, members: Sequence[Node]) -> str:
    sample = ", ".join(without_class(node.task) for node in members[:_SHOWN])
    more = f", ... {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
    return f"    - {len(members)} {family}{sample if len(sample) < 200 else ''}{more}"
