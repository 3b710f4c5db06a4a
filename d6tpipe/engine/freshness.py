"""Is a task complete, and if not, why: the rules, as pure functions over nodes."""

from __future__ import annotations

from collections.abc import Iterable

from d6tpipe.engine.graph import Node
from d6tpipe.interfaces import TaskView

__all__ = ["judge", "reason"]


def judge(nodes: Iterable[Node], view: TaskView) -> None:
    """Set ``complete`` of every node that is not judged yet.

    A task is complete when all of its own outputs exist and, where it cascades, all that it needs is complete.

    Parameters
    ----------
    nodes : iterable of Node
        Each after all that it needs.
    view : TaskView
        Asked once for the outputs of all nodes together.
    """
    fresh = [node for node in nodes if node.complete is None]
    unknown = [node for node in fresh if node.present is None]
    if unknown:
        view.present(unknown)
    for node in fresh:
        present = node.present
        if present is None:  # it has a rule of its own, which may ask about what it needs: by now that is known
            present = node.present = view.ask(node)
        if present:
            for need in node.needs:
                if not need.complete:
                    present = not view.cascades(node)
                    break
        node.complete = present


def reason(node: Node) -> str:
    """Return why a judged node is not complete, in a word or two; empty if it is complete."""
    if node.complete:
        return ""
    return "upstream" if node.present else "missing"
