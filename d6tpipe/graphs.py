"""Tasks as a graph, judged: what each of them needs, what is complete, what is stale."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import luigi

from d6tpipe.constructor import blueprint
from d6tpipe.engine.freshness import is_lost, judge
from d6tpipe.engine.graph import Graph, Node
from d6tpipe.errors import GraphError
from d6tpipe.examiner import Examiner
from d6tpipe.labels import own_tags
from d6tpipe.policy import Policy
from d6tpipe.task_values import configs_of
from d6tpipe.tasks.base import Task
from d6tpipe.taskview import TaskView

__all__ = ["as_tasks", "asked_for", "build_graph", "lost_among", "no_collection", "tags"]


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking a growing graph again and again (a quarter of the time)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # what was made here is old from the start: no young collection over it all
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def as_tasks(tasks: Any) -> list[Any]:
    """Return a list of tasks for a task, a sweep, or a collection or mapping of those."""
    return asked_for(tasks)[0]


def asked_for(tasks: Any) -> tuple[list[Any], list[tuple[Any, list[Any]]]]:
    """Return what `as_tasks` does; and each sweep among the members, with its tasks."""
    if isinstance(tasks, Mapping) and not hasattr(tasks, "task_at"):
        tasks = tasks.values()
    if isinstance(tasks, (type, str, luigi.Task)) or hasattr(tasks, "task_at") or not isinstance(tasks, Iterable):
        tasks = [tasks]
    found: list[Any] = []
    sweeps: list[tuple[Any, list[Any]]] = []
    for member in tasks:
        if isinstance(member, luigi.Task):
            found.append(member)
        elif hasattr(member, "task_at"):
            sweeps.append((member, member.tasks))
            found += sweeps[-1][1]
        else:
            made = f"Make an instance: {member.__name__}(...)." if isinstance(member, type) else ""
            raise GraphError(
                "This is not a task", facts={"got": repr(member)}, hint=made or "Pass tasks, or a list of tasks."
            )
    return found, sweeps


def build_graph(
    tasks: Any, prune: bool = False, judged: bool = True, examiner: Examiner | None = None
) -> tuple[Graph, list[Node], TaskView]:
    """Return the graph of `tasks`, the nodes of `tasks` in it, and the view it was made with.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
    prune : bool
        Look no further below complete plain luigi tasks and external tasks, as luigi does when it runs.
    judged : bool
        Also find out what is complete, and what is stale.
    examiner : Examiner, optional
        By default one for a question.

    Effects
    -------
    None; nothing is made on disk.
    """
    roots = as_tasks(tasks)
    view = TaskView(prune, examiner or Examiner(Policy() if judged else Policy("ignore")))
    with no_collection():
        if len(roots) > 1:
            view.ask_in_bulk(roots)
        goals = view.graph.add(roots)
        if judged:
            judge(view.graph.order, view)
    return view.graph, goals, view


def lost_among(tasks: Sequence[Any]) -> set[int]:
    """Return the places of those tasks that are not complete because a body has failed."""
    _, goals, _ = build_graph(tasks)
    return {place for place, node in enumerate(goals) if not node.complete and is_lost(node)}


def tags(task: Any) -> dict[str, Any]:
    """Return the tags of a task and of all that it needs, by name; the nearer one counts where two have a name.

    Configs that a task holds count with it.

    Cost: makes the graph of the task; nothing on the disk is looked at.
    """
    graph, goals, _ = build_graph(task, judged=False)
    found: dict[str, Any] = {}
    for node in graph.upstream(goals):  # the task itself first, then what is further and further away
        names = blueprint(type(node.task)).objects_in if isinstance(node.task, Task) else ()
        for holder in (node.task, *configs_of(node.task, names)):
            for name, value in own_tags(holder).items():
                found.setdefault(name, value)
    return found
