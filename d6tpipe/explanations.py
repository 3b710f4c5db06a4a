"""Why a task is to be built, is stale or fresh: root cause first, with what has changed and what to do about it.

`explain` asks and writes nothing. The graph is walked once; the whole records are read only of tasks that are shown.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from d6tpipe.definitions import definition
from d6tpipe.engine.graph import Graph, Node
from d6tpipe.engine.plan import Plan
from d6tpipe.errors import GraphError
from d6tpipe.examiner import Examiner, joins, member_then, outputs_of, record_of, stat_of, store_of
from d6tpipe.graphs import as_tasks, build_graph
from d6tpipe.interfaces import Reason, ReasonKind, Standing, State
from d6tpipe.machine import host_name
from d6tpipe.policy import Policy
from d6tpipe.records import Record, source_key
from d6tpipe.stores import MEMORY
from d6tpipe.tasks.external import is_external
from d6tpipe.taskview import TaskView
from d6tpipe.wording import Words, clipped, in_order, is_function, named, transition

__all__ = ["Explanation", "explain", "root_causes"]

_UNUSABLE = (Standing.MISSING, Standing.LOST)
_WAITS = (State.PENDING, State.READY)

_CAUSES = 4  # groups of causes that are shown
_REASONS = 6  # of one task
_DIFF_LINES = 20
_LINE = 100  # characters from which a line of a normalised source is broken up
_CHAIN = 6
_WIDTH = 110
_SAMPLE = 3


def explain(task: Any, *, stale: str | None = None) -> Explanation:
    """Return why a task is to be built, is stale, or is fresh.

    Parameters
    ----------
    task : luigi.Task
    stale : {"ignore", "warn", "rerun"}, optional
        Answer for a run with this mode; by default what the class says, or ``settings.stale``.

    Returns
    -------
    Explanation
        ``print`` it, or look at ``state``, ``reasons`` and ``causes``.

    Raises
    ------
    GraphError
        If the requirements do not make a graph.

    Effects
    -------
    None: nothing is made or written. Where records cannot be read, warns and answers as if there were none.
    """
    tasks = as_tasks(task)
    if len(tasks) != 1:
        raise GraphError(
            "explain() is about one task",
            facts={"got": f"{len(tasks)} tasks"},
            hint="Ask for each, or use d6tpipe.plan(tasks): a table with one row per task.",
        )
    graph, (goal,), view = build_graph(tasks, prune=True, examiner=Examiner(Policy(stale)))
    Plan(graph.order, [goal], view)
    return _Answer(graph, goal, view, stale).of(goal)


def root_causes(order: Iterable[Node]) -> dict[Node, None]:
    """Return the nodes that something is the matter with in themselves, not only because of what they need.

    Of tasks that cannot be used (never built, interrupted, failed, forced) only those furthest upstream: the others
    would have to be built anyway. Of stale ones all to which something has happened themselves.

    Parameters
    ----------
    order : iterable of Node
        Judged nodes with the states of a plan, each after all that it needs.
    """
    causes: dict[Node, None] = {}
    blocked: set[Node] = set()  # has to wait for something unusable, or is it
    altered: set[Node] = set()  # holds other data than recorded, or will
    for node in order:
        if node.state is None:
            continue
        waits = node.state in _WAITS
        below = any([need in blocked for need in node.needs])
        kinds = {reason.kind for reason in node.reasons}
        unusable = node.standing in _UNUSABLE or ReasonKind.FORCED in kinds or (not node.present and not node.reasons)
        if joins(node.task):
            if below:
                blocked.add(node)
            if any([need in altered for need in node.needs]):
                altered.add(node)
        elif waits and unusable:
            if not below:
                causes[node] = None
            blocked.add(node)
            altered.add(node)
        else:
            if below:
                blocked.add(node)
            if node.standing is Standing.STALE and (waits or node.state is State.STALE):
                if waits or ReasonKind.OUTPUT_MODIFIED in kinds:
                    altered.add(node)
                following = {id(need.task) for need in node.needs if need in altered}
                if not all([_follows(reason, following) for reason in node.reasons]):
                    causes[node] = None
    return causes


def _follows(reason: Reason, altered: set[int]) -> bool:
    """Return whether a reason only follows from what is the matter upstream; `altered` are the tasks, by id."""
    return reason.kind is ReasonKind.INPUT_DATA and id(reason.because_of) in altered


class _Answer:
    """What all explanations of one question share."""

    def __init__(self, graph: Graph, goal: Node, view: TaskView, stale: str | None) -> None:
        self.order, self.goal, self.view, self.stale = graph.order, goal, view, stale
        self.words = Words()
        self.causes = root_causes(graph.order)
        self.now = time.time()
        self._made: dict[Node, Explanation] = {}

    def of(self, node: Node) -> Explanation:
        found = self._made.get(node)
        if found is None:
            found = self._made[node] = Explanation(self, node)
        return found

    def causes_of(self, node: Node) -> list[Node]:
        """Return the root causes upstream of a node; what makes it wait comes before what is merely stale."""
        found = [cause for cause in self.above(node) if cause in self.causes]
        return sorted(found, key=lambda cause: cause.state not in _WAITS)

    def above(self, node: Node) -> list[Node]:
        """Return all that a node needs, directly or not, in the order of building."""
        if node is self.goal:
            return self.order[:-1]
        seen, stack = {node}, [node]
        while stack:
            for need in stack.pop().needs:
                if need not in seen:
                    seen.add(need)
                    stack.append(need)
        return [need for need in self.order if need in seen and need is not node]

    @cached_property
    def _next(self) -> dict[Node, Node]:
        """Each node to the next one on a shortest way down to the goal."""
        found: dict[Node, Node] = {}
        seen, level = {self.goal}, [self.goal]
        while level:
            above = []
            for node in level:
                for need in node.needs:
                    if need not in seen:
                        seen.add(need)
                        found[need] = node
                        above.append(need)
            level = above
        return found

    def chain(self, node: Node) -> list[Any]:
        found = [node.task]
        while node is not self.goal:
            above = self._next.get(node)
            if above is None:  # a body asked for it once; by now its asker has to run anyway
                break
            node = above
            found.append(node.task)
        return found


class Explanation:
    """Why a task is to be built, is stale, or is fresh; made by `explain`.

    ``str`` of it, and in notebooks the object itself, is a text to be read: root cause first.

    Attributes
    ----------
    task : luigi.Task
    state : State
        What a run would make of it now: PENDING, STALE, FROZEN or FRESH.
    mode : str
        What staleness means for it: "ignore", "warn", "rerun" or "frozen".
    """

    def __init__(self, answer: _Answer, node: Node) -> None:
        self._answer, self._node = answer, node
        self.task = node.task
        self.state = State.PENDING if node.state is None or node.state is State.READY else node.state
        self.mode = answer.view.mode(node)

    # ---- as data

    @cached_property
    def reasons(self) -> list[Reason]:
        """What is the matter with the task itself, most telling first; empty if it is fresh.

        Of kind ``upstream`` there is one for each direct requirement that has to be built first.
        """
        node, found = self._node, []
        for reason in node.reasons:
            found += self._missing() if reason.kind is ReasonKind.MISSING else [reason]
        if node.complete and node.standing is Standing.MISSING:
            found = []  # its own complete() knows better
        if not (node.complete or node.present or node.reasons or joins(node.task)):
            found = self._missing()
        begun = self._record is not None and self._record.stage in ("building", "saved")
        if node.standing is Standing.MISSING and begun and not _has(found, ReasonKind.INTERRUPTED):
            found.append(Reason(ReasonKind.INTERRUPTED))
        if self.state is State.PENDING:
            for need in node.needs:
                if need.state in _WAITS:
                    found.append(Reason(ReasonKind.UPSTREAM, named(need.task), because_of=need.task))
        return in_order(found)

    @cached_property
    def causes(self) -> list[Explanation]:
        """Explanations of the tasks upstream that something is the matter with, those furthest upstream first."""
        return [self._answer.of(node) for node in self._answer.causes_of(self._node)]

    @cached_property
    def chain(self) -> list[Any]:
        """The tasks on a shortest way from this one to the one that was asked about, both included."""
        return self._answer.chain(self._node)

    @property
    def diffs(self) -> dict[str, str]:
        """For each function, class or value whose code has changed a unified diff of its text."""
        return {
            reason.subject: self.diff(reason)
            for reason in self.reasons
            if reason.kind is ReasonKind.CODE and reason.subject
        }

    def diff(self, reason: Reason) -> str:
        """Return how the code has changed that a reason of kind ``code`` is about, as a unified diff.

        The texts are in one way of formatting, without comments. Empty if the text from then was not recorded, and
        for reasons of other kinds.
        """
        import difflib  # here, as with html below: few who import d6tpipe come to this

        before, after = self._texts(reason)
        if before is None or after is None:
            return ""
        lines = difflib.unified_diff(before, after, "when it was built", "now", lineterm="")
        return "\n".join(lines)

    def _texts(self, reason: Reason) -> tuple[list[str] | None, list[str] | None]:
        if reason.kind is not ReasonKind.CODE or not reason.subject:
            return None, None
        then: str | None = ""
        if reason.before:
            name = member_then(self._record, definition(type(self.task)), reason.subject)
            then = self._store.records.get_source(source_key(name, reason.before))
        now = self._sources.get(reason.subject) if reason.after else ""
        before, after = _lines(then), _lines(now)
        if before is not None and after is not None and _held(before)[0] != _held(after)[0]:
            return _held(before)[0], _held(after)[0]
        return before, after

    @cached_property
    def _store(self) -> Any:
        return store_of(self.task)

    @cached_property
    def _record(self) -> Record | None:
        return None if joins(self.task) else record_of(self.task)

    @cached_property
    def _sources(self) -> Mapping[str, str]:
        return definition(type(self.task)).sources()

    def _missing(self) -> list[Reason]:
        outputs = outputs_of(self.task)
        gone = [Reason(ReasonKind.MISSING, output.path or output.key) for output in outputs if stat_of(output) is None]
        return gone or [Reason(ReasonKind.MISSING, "complete() says no" if outputs else "it has no outputs")]

    @cached_property
    def _holder(self) -> int | None:
        if joins(self.task) or self.state is not State.PENDING or self._store.root == MEMORY:
            return None
        holder: int | None = self._store.locks.holder(self.task.task_id)
        return holder

    # ---- as text

    def __repr__(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(self._text)}</pre>"

    @cached_property
    def _text(self) -> str:
        return _Text(self).text()


def _has(reasons: Iterable[Reason], kind: ReasonKind) -> bool:
    return any([reason.kind is kind for reason in reasons])


def _lines(text: str | None) -> list[str] | None:
    """Return the lines of a recorded text for a diff, long ones broken up; None if there is no text."""
    if text is None:
        return None
    lines = text.splitlines()
    if not is_function(text):
        lines = _by_attribute(_readable(lines))
    return [part for line in lines for part in _folded(line)]


def _readable(lines: list[str]) -> list[str]:
    """Return what values consist of with containers as they are written in Python."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        if _OPENING.fullmatch(line):
            stack.append((line, []))
        elif line != ")" or len(stack) == 1:
            stack[-1][1].append(line)
        else:
            opening, members = stack.pop()
            kind, size = opening[:-1].split(" ")
            if len(members) == int(size) * (2 if kind == "dict" else 1):
                stack[-1][1].append(_written(kind, members))
            else:  # too large to be looked at, or its members are more than data
                stack[-1][1].extend([opening, *members, line])
    return stack[0][1] if len(stack) == 1 else lines


_OPENING = re.compile(r"(list|tuple|set|frozenset|dict) \d+\(")


def _by_attribute(lines: list[str]) -> list[str]:
    """Return what a class or an object consists of, an attribute a line."""
    found: list[str] = []
    within = False
    for line in lines:
        if line.endswith("=") or line.startswith("field "):
            found.append(line)
            within = True
        elif within:
            found[-1] += f" {line}"
        else:
            found.append(line)
    return found


def _written(kind: str, members: list[str]) -> str:
    if kind == "dict":
        return (
            "{" + ", ".join([f"{key}: {value}" for key, value in zip(members[::2], members[1::2], strict=True)]) + "}"
        )
    if kind == "tuple" and len(members) == 1:
        return f"({members[0]},)"
    if not members and kind in ("set", "frozenset"):
        return f"{kind}()"
    begin, end = {"list": "[]", "tuple": "()", "set": "{}", "frozenset": ("frozenset({", "})")}[kind]
    return begin + ", ".join(members) + end


def _held(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines of a function, and those about what it holds, which say little where the others differ."""
    return [line for line in lines if not line.startswith("# holds ")], lines


def _folded(line: str, depth: int = 1) -> list[str]:
    """Break a long line after the commas in its outermost brackets, and again within these, so that a diff is small."""
    if len(line) <= _LINE or depth > 4:
        return [line]
    parts, start, level, quote, skip = [], 0, 0, "", False
    for place, letter in enumerate(line):
        if skip:
            skip = False
        elif quote:
            skip = letter == "\\"
            if letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            level += 1
        elif letter in ")]}":
            level -= 1
        elif letter == "," and level == depth:
            parts.append(line[start : place + 1])
            start = place + 1
    parts.append(line[start:])
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    found = [parts[0], *[indent + part.lstrip() for part in parts[1:]]]
    return [piece for part in found for piece in _folded(part, depth + 1)]


# ---- the text


class _Text:
    """Writes an explanation down."""

    def __init__(self, explanation: Explanation) -> None:
        self.about = explanation
        self.answer = explanation._answer
        self.words = self.answer.words
        self.lines: list[str] = []
        self._diffs: set[tuple[str, str, str]] = set()  # shown already

    def text(self) -> str:
        about = self.about
        groups = self._groups()
        self.lines += self._verdict()
        if not groups:
            self._details(about, "  ")
        for number, members in enumerate(groups[:_CAUSES], 1):
            self.lines.append("")
            self._cause(members, f"{number}. ")
        left = [node for members in groups[_CAUSES:] for node in members]
        if left:
            sample = ", ".join([named(node.task, 60) for node in left[:_SAMPLE]])
            self.lines += ["", f"And {_count(left, 'other')}: {sample}{' ...' if len(left) > _SAMPLE else ''}"]
        if groups:
            self.lines += ["", f"{named(about.task)} itself"]
            self._details(about, "   ")
            if self.lines[-1].endswith("itself"):
                del self.lines[-2:]
        steps = self._steps(groups)
        if steps:
            width = max([len(command) for command, _ in steps])
            self.lines += ["", "What to do:"]
            self.lines += [f"  {command:<{width}}  {purpose}".rstrip() for command, purpose in steps]
        return "\n".join(self.lines)

    # ---- what it comes to

    def _verdict(self) -> list[str]:
        about = self.about
        sentences = [f"{named(about.task)} {self._standing(about)}", *self._because(about)]
        line = " ".join(sentences)
        return [line] if len(line) <= _WIDTH else sentences

    def _standing(self, about: Explanation) -> str:
        """Return what can be said of a task by itself, after its name."""
        node, state = about._node, about.state
        why = self._why(node)
        if joins(about.task):
            return f"stands for {self._members(node)}."
        if is_external(about.task):
            if node.complete:
                return "is external, made elsewhere, and it is there."
            return "is external and missing: it is made elsewhere, a run cannot build it."
        if about._holder is not None:
            return f"is being built {_holder(about._holder)}, or is next in line there."
        if state is State.PENDING:
            if not self.answer.view.enabled(node):
                return f"is to be built ({why or 'upstream'}), but its author has disabled it: a run will not build it."
            if not why:
                return "waits for what it needs."
            return f"is to be built: {why}."
        if state is State.STALE:
            return f"is stale: {why}."
        if state is State.FROZEN:
            return f"is frozen: a run accepts its outputs as they are, in spite of: {why}."
        if node.spared:
            was = "was built, and its outputs are not there any more" if node.digest else "is not built"
            return f"is transient and {was}: it is built when something that needs it has to run."
        if node.standing is Standing.UNTRACKED:
            return (
                "is untracked: its outputs are there, but nothing is recorded of how they came about. They are trusted."
            )
        if node.standing is None and about.mode == "ignore":
            return 'is complete. What has changed since it was built does not count (stale="ignore").'
        if node.standing in _UNUSABLE or node.standing is Standing.STALE:
            return "is complete: its own complete() says so."
        since = "accepted" if about._record is not None and about._record.accepted else "built"
        return f"is fresh: nothing that it depends on has changed since it was {since}."

    def _why(self, node: Node) -> str:
        """Return the reasons of a task itself in a few words."""
        reasons = [reason for reason in self.answer.of(node).reasons if reason.kind is not ReasonKind.UPSTREAM]
        return self.words.reasons(node.task, reasons, 3)

    def _because(self, about: Explanation) -> list[str]:
        """Return what is the matter upstream, and what follows from it, in sentences."""
        node, state = about._node, about.state
        above = [need for need in self.answer.above(node) if not joins(need.task)]
        waiting = [need for need in above if need.state in _WAITS]
        stale = [need for need in above if need.state is State.STALE]
        absent = [need for need in above if need.spared]
        itself = not joins(about.task)
        found = []
        if state is State.STALE and itself:
            found.append('A run uses it as it is (stale="warn").')
        if waiting and state is State.PENDING:
            found.append(f"{_count(waiting, 'task')} upstream {_is(waiting, 'has', 'have')} to be built first.")
            if itself and node.standing is Standing.FRESH:
                found.append("If what it needs comes out as it was, it does not run itself.")
        if stale:
            but = "But" if state is State.FRESH else "Besides,"
            use = _is(stale, "is stale: a run uses it as it is", "are stale: a run uses them as they are")
            found.append(f"{but} {_count(stale, 'task')} upstream {use}.")
        if absent:
            rest = "is not there: it is built when it is needed", "are not there: they are built when they are needed"
            found.append(f"{_count(absent, 'transient task')} upstream {_is(absent, *rest)}.")
        return found

    def _members(self, node: Node) -> str:
        counts: dict[str, int] = {}
        for need in node.needs:
            word = "pending" if need.state in _WAITS else str(need.state or "not looked at")
            counts[word] = counts.get(word, 0) + 1
        total = len(node.needs)
        states = ", ".join([f"{count} {word}" for word, count in counts.items()])
        return f"{total} task{'s' * (total != 1)}" + (f": {states}" if states else "")

    # ---- causes

    def _groups(self) -> list[list[Node]]:
        """Return the root causes, those together that have the same reasons."""
        groups: dict[Any, list[Node]] = {}
        for node in self.answer.causes_of(self.about._node):
            alike = tuple([_likeness(reason) for reason in in_order(node.reasons)])
            groups.setdefault((node.state in _WAITS, is_external(node.task), alike), []).append(node)
        return list(groups.values())

    def _cause(self, members: Sequence[Node], number: str) -> None:
        cause = self.answer.of(members[0])
        indent = " " * max(len(number), 2)
        self.lines.append(f"{number}{named(cause.task)} {self._standing(cause)}")
        self._details(cause, indent)
        if len(members) > 1:
            others = ", ".join([named(node.task, 60) for node in members[1 : _SAMPLE + 1]])
            more = f" and {len(members) - _SAMPLE - 1} more" if len(members) > _SAMPLE + 1 else ""
            self.lines.append(f"{indent}The same holds for {others}{more}.")
        chain = cause.chain
        if len(chain) > 2:
            way = [named(task, 60) for task in chain[: _CHAIN - 1]]
            if len(chain) > _CHAIN:
                way.append(f"... {len(chain) - _CHAIN} more ...")
            way += [named(task, 60) for task in chain[_CHAIN - 1 :][-1:]]
            self.lines.append(f"{indent}The way: {' -> '.join(way)}")

    # ---- one task

    def _details(self, about: Explanation, indent: str) -> None:
        facts = self._facts(about)
        width = max([len(name) for name in facts], default=0)
        self.lines += [f"{indent}{name:<{width}}  {value}" for name, value in facts.items()]
        reasons = [reason for reason in about.reasons if reason.kind is not ReasonKind.UPSTREAM]
        for reason in reasons[:_REASONS]:
            head, body = self._told(about, reason)
            if head:
                self.lines.append(f"{indent}* {head}")
            self.lines += [f"{indent}    {line}".rstrip() for line in body]
        if len(reasons) > _REASONS:
            self.lines.append(f"{indent}* and {len(reasons) - _REASONS} more, see .reasons")

    def _facts(self, about: Explanation) -> dict[str, str]:
        record = about._record
        if record is None or record.observed or not record.started:
            return {}
        verb = {"failed": "failed", "finished": "accepted" if record.accepted else "built"}.get(record.stage, "before")
        facts = {verb: self._when(record)}
        if not record.accepted and record.stage != "failed":
            facts[verb] += f", took {_seconds(record.seconds)}"
        where = "" if record.host == host_name() else f" on {record.host}"
        facts["by"] = f"run {record.run_id}, process {record.pid}{where}"
        if record.git_commit:
            facts["by"] += f", commit {record.git_commit[:10]}"
        return facts

    def _when(self, record: Record) -> str:
        return _moment(record.started + record.seconds, self.answer.now)

    def _told(self, about: Explanation, reason: Reason) -> tuple[str, list[str]]:
        """Return a reason as a headline and lines below it."""
        kind, subject, before, after = reason.kind, reason.subject, reason.before, reason.after
        short = self.words.reason(about.task, reason)
        if kind is ReasonKind.MISSING:
            if subject == "it has no outputs":
                return "missing: it has no outputs and no complete() of its own, so it is never complete", []
            if about._store.root == MEMORY:
                return "missing: it is kept in memory, and this process has not built it", []
            return self._gone(about, subject), []
        if kind is ReasonKind.INTERRUPTED:
            if about._holder is not None:
                return "", []
            return "interrupted: the last attempt ended before it was finished (killed, or a power cut)", []
        if kind is ReasonKind.FAILED:
            return "the last attempt failed:", after.splitlines()[:_DIFF_LINES]
        if kind is ReasonKind.OTHER_CLASS:
            return f"built by another class called {subject}, in module {before}: not taken for this one", []
        if kind is ReasonKind.UNTRACKED:
            return "", []
        if kind is ReasonKind.CODE:
            return short, self._diff(about, reason)
        if kind is ReasonKind.INPUT_SET:
            return f"other requirements: {subject}", _sides(before, after, "no longer", "new")
        if kind is ReasonKind.INPUT_DATA:
            return self._input(about, reason)
        if kind is ReasonKind.OUTPUT_MODIFIED:
            if subject == "persist":
                return short, _sides(before, after, "then", "now")
            return f"{short} outside of d6tpipe", [*self._output(about, subject), *_sides(before, after, "then", "now")]
        if kind is ReasonKind.FILE:
            return f"file {subject} {_of_file(before, after)}", []
        if kind is ReasonKind.ENV:
            change = "is set now" if not before else "is no longer set" if not after else "has another value"
            return f"environment variable {subject} {change}", []
        if kind is ReasonKind.PACKAGE:
            return short if transition(reason) else f"{short}: its source has changed", []
        if kind is ReasonKind.EXPIRED:
            return f"expired: {after}", []
        return short, []

    def _gone(self, about: Explanation, path: str) -> str:
        record = about._record
        if record is not None and record.stage == "finished" and not record.observed:
            then = {output.key: about._store.absolute(output.path) for output in record.outputs}
            for output in outputs_of(about.task):
                before = then.get(output.key)
                if output.path == path and before is not None:
                    return f"gone since: {path}" if before == path else f"missing: {path} (it was built as {before})"
        return f"missing: {path}"

    def _input(self, about: Explanation, reason: Reason) -> tuple[str, list[str]]:
        task = reason.because_of
        if task is None:
            return f"input {clipped(reason.subject)} holds other data than when this was built", []
        name = named(task)
        if reason.subject and reason.subject != task.task_id:
            name += f" ('{clipped(reason.subject)}')"
        if any([need.task is task and need.present is False for need in about._node.needs]):
            return f"its input {name} is not there", []
        head = f"its input {name} holds other data than when this was built"
        record, own = None if joins(task) else record_of(task), about._record
        if record is None or own is None or record.stage != "finished" or record.started < own.started:
            return head, []
        return head, [f"built {self._when(record)} by run {record.run_id}"]

    def _output(self, about: Explanation, key: str) -> list[str]:
        for output in outputs_of(about.task):
            if output.key == key:
                found = stat_of(output)
                when = f", {_moment(found[1] / 1e9, self.answer.now)}" if found is not None and found[0] >= 0 else ""
                return [f"{output.path}{when}"]
        return []

    def _diff(self, about: Explanation, reason: Reason) -> list[str]:
        seen = (reason.subject.rpartition(".")[2], reason.before, reason.after)
        if seen in self._diffs:
            return ["(see above)"]
        self._diffs.add(seen)
        if not (reason.before and reason.after):
            return []
        lines = ["..." if line.startswith("@@") else line for line in about.diff(reason).splitlines()[3:]]
        if not lines:
            return ["(its text from then is not recorded)"] if reason.subject in about._sources else []
        if len(lines) > _DIFF_LINES:
            lines[_DIFF_LINES:] = [f"... {len(lines) - _DIFF_LINES} more lines, see .diffs[{reason.subject!r}]"]
        return lines

    # ---- what next

    def _steps(self, groups: Sequence[Sequence[Node]]) -> list[tuple[str, str]]:
        """Return commands to type, and what for."""
        about, answer = self.about, self.answer
        option = "" if answer.stale is None else f', stale="{answer.stale}"'
        nodes = [*[node for members in groups for node in members], about._node]
        found: list[tuple[str, str]] = []
        if about._holder is not None:
            return [(f"d6tpipe.run(task{option})", "wait for it, and build what is left")]
        for node in nodes:
            if node.state in _WAITS and is_external(node.task):
                path = next(iter([output.path for output in outputs_of(node.task)]), "")
                found.append((f"provide {path}".strip(), f"the data of {named(node.task, 60)}"))
                break
        if about.state is State.PENDING and not is_external(about.task):
            failed = [node for node in nodes if _has(node.reasons, ReasonKind.FAILED)]
            purpose = "try again, when what failed is mended" if failed else "build what has to be built"
            if any([answer.of(members[0])._holder is not None for members in groups[:_CAUSES]]):
                purpose = "wait for what is being built, and build the rest"
            found.append((f"d6tpipe.run(task{option})", purpose))
        stale = [node for node in nodes if node.standing is Standing.STALE and node.state is not State.FROZEN]
        if any([node.state is State.STALE for node in stale]):
            found.append(
                (
                    'd6tpipe.run(task, stale="rerun")',
                    "build again what is stale, and what needs it if it comes out differently",
                )
            )
        if stale:
            first = "task" if stale[0] is about._node else named(stale[0].task, 60)
            others = "; the others likewise" if len(stale) > 1 else ""
            found.append((f"d6tpipe.accept({first})", f"the change does not matter: keep what is there{others}"))
        if about.state is State.FROZEN:
            found.append(('d6tpipe.run(task, no_freeze=True, stale="rerun")', "build it again all the same"))
        untracked = about._node.standing is Standing.UNTRACKED and not is_external(about.task)
        if untracked and about.state is State.FRESH:
            found.append(("d6tpipe.accept(task)", "record them as they are: from then on changes are noticed"))
            found.append(("d6tpipe.run(task, forced=task)", "build it again"))
        if about.mode == "ignore" and about._node.standing is None and not is_external(about.task):
            found.append(('d6tpipe.explain(task, stale="warn")', "see what has changed"))
        return found


def _likeness(reason: Reason) -> tuple[Any, ...]:
    """Return what two reasons have in common that are told together."""
    if reason.kind in (ReasonKind.MISSING, ReasonKind.UNTRACKED, ReasonKind.INTERRUPTED):
        return (reason.kind,)
    return (reason.kind, reason.subject, reason.before, reason.after)


def _sides(before: str, after: str, then: str, now: str) -> list[str]:
    width = max(len(then), len(now))
    return [f"{word:<{width}}  {text}" for word, text in ((then, before), (now, after)) if text]


def _of_file(before: str, after: str) -> str:
    if before == "missing":
        return "is there now, it was not then"
    return "is missing now" if after == "missing" else "has another content"


def _holder(pid: int) -> str:
    if pid == os.getpid():
        return "by this process"
    return f"right now by process {pid}" if pid else "right now by a process on another machine or in another container"


def _is(nodes: Sequence[Node], one: str, many: str) -> str:
    return one if len(nodes) == 1 else many


def _count(nodes: Sequence[Node], word: str) -> str:
    return f"{len(nodes)} {word}{'s' * (len(nodes) != 1)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _moment(moment: float, now: float) -> str:
    """Return a time as text: date and clock here, and how long ago."""
    text = f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S}"
    passed = now - moment
    if passed < 0:
        return text
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if passed >= 2 * size:
            return f"{text}, {passed // size:.0f} {unit}s ago"
    return f"{text}, {passed:.0f} s ago"
