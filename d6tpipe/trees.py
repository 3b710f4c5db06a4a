"""Graphs as text: the tree that ``preview`` prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from d6tpipe.engine.graph import Node
from d6tpipe.errors import shown as shown_label
from d6tpipe.interfaces import Standing
from d6tpipe.labels import ids_of
from d6tpipe.wording import Words, texts_of, without_class

__all__ = ["grouped_text", "tree_text"]

_SAMPLE = 3
_DEEPEST = 50  # levels drawn in full; lines of a chain of 100,000 would be 300,000 characters wide
_BLUE, _GREEN, _YELLOW, _END = "\033[94m", "\033[92m", "\033[93m", "\033[0m"


def _colours() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    stream = sys.stdout
    return (hasattr(stream, "isatty") and stream.isatty()) or type(stream).__module__.startswith("ipykernel")


def tree_text(
    root: Node,
    indent: str = "",
    last: bool = True,
    show_params: bool = True,
    clip_params: bool = False,
    mode: Callable[[Node], str] | None = None,
    words: Words | None = None,
) -> str:
    """Return the tree of what `root` needs, one line per task.

    Parameters
    ----------
    root : Node
        Judged, with all that it needs.
    indent : str
        Text in front of every line.
    last : bool
        Draw the root as the last of its siblings.
    show_params, clip_params : bool
        Show the significant parameters; only the first of several.
    mode : callable, optional
        Says what staleness means for a node, as ``TaskView.mode`` does; without it nothing is called frozen.
    words : Words, optional
        Give the same one to all trees of one text.

    Returns
    -------
    str
        Begins with a line break. A line ends with COMPLETE, PENDING or TRANSIENT (its outputs are not there and not
        needed) and, where there is more to say, why the task is
        to be built, that it is stale or frozen and why, or that it is untracked. A subtree that was shown before is
        not repeated: its task is marked "see above". Below 50 levels lines are not indented further but begin with
        the number of their level.
    """
    colours = _colours()
    words = words or Words()
    lines: list[str] = []
    shown: set[Node] = set()
    stack = [(root, indent, last, 0)]
    while stack:
        node, before, is_last, level = stack.pop()
        complete = node.complete
        word = "COMPLETE" if complete else "PENDING"
        why = words.of(node)
        absent = node.spared and not node.present
        if absent:
            word, why = "TRANSIENT", _absence(node, words)
        elif complete and why and node.standing is not Standing.UNTRACKED:
            why = f"{'frozen' if mode is not None and mode(node) == 'frozen' else 'stale'}: {why}"
        if colours:
            colour = _BLUE if not complete else _YELLOW if node.standing is Standing.STALE else _GREEN
            word = f"{colour}{word}{_END}"
        again = "see above" if node in shown and node.needs else ""
        tail = ", ".join(filter(None, [why, again]))
        lines.append(
            f"{before}{f'(level {level}) ' if level > _DEEPEST else ''}{'└─--' if is_last else '|--'}"
            f"[{_name(node.task, show_params, clip_params)} ({word})]"
            f"{' ' * bool(tail)}{tail}"
        )
        if node in shown:
            continue
        shown.add(node)
        below = before
        if level < _DEEPEST:
            below += "   " if is_last else "|  "
        for number, need in enumerate(reversed(node.needs)):
            stack.append((need, below, number == 0, level + 1))
    return "\n" + "\n".join(lines)


def _absence(node: Node, words: Words) -> str:
    """Return what there is to say of a transient task whose outputs are not there."""
    what = "removed; built again when needed" if node.digest else "not there; built when needed"
    if node.standing is not Standing.STALE:
        return what
    return f"stale: {words.reasons(node.task, node.reasons)}; {what}"


def _name(task: Any, show: bool, clip: bool) -> str:
    if ids_of(task):
        return shown_label(task)
    return f"{type(task).__name__}-{_parameters(task, show, clip)}"


def grouped_text(goals: Sequence[Node], mode: Callable[[Node], str] | None = None, words: Words | None = None) -> str:
    """Return how many tasks of each class many goals need, and how these stand: a few lines for any number of tasks.

    Parameters
    ----------
    goals : sequence of Node
        Judged, with all that they need.
    mode, words
        As of `tree_text`.

    Returns
    -------
    str
        A paragraph for each class, those that are needed by others further down.
    """
    words = words or Words()
    groups: dict[str, dict[str, list[Node]]] = {}
    seen: set[Node] = set(goals)
    layer = list(dict.fromkeys(goals))
    while layer:
        below: dict[Node, None] = {}
        for node in layer:
            alike = groups.setdefault(node.task.task_family, {})
            alike.setdefault(_standing(node, mode, words), []).append(node)
            for need in node.needs:
                if need not in seen:
                    seen.add(need)
                    below[need] = None
        layer = list(below)
    lines = []
    for family, alike in groups.items():
        lines.append(f"{family}: {sum(map(len, alike.values())):,} tasks")
        for standing, nodes in sorted(alike.items(), key=lambda item: -len(item[1])):
            sample = ", ".join(without_class(node.task) for node in nodes[:_SAMPLE])
            more = ", ..." if len(nodes) > _SAMPLE else ""
            lines.append(f"  {len(nodes):>9,} {standing}: {sample}{more}")
    return "\n".join(lines)


def _standing(node: Node, mode: Callable[[Node], str] | None, words: Words) -> str:
    why = words.of(node)
    if node.spared and not node.present:
        return f"TRANSIENT ({_absence(node, words)})"
    if not node.complete:
        return f"PENDING ({why})" if why else "PENDING"
    if why and node.standing is not Standing.UNTRACKED:
        return f"COMPLETE ({'frozen' if mode is not None and mode(node) == 'frozen' else 'stale'}: {why})"
    return "COMPLETE"


def _parameters(task: Any, show: bool, clip: bool) -> str:
    if not show:
        return ""
    texts = texts_of(task)
    if clip and len(texts) > 1:
        first = next(iter(texts.items()))
        return f"{dict([first])}[more]"
    return str(texts)
