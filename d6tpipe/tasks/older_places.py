"""Where else the outputs of a task may lie: under a former name of its class, or under the id of another spelling.

They count where the usual place has none. See `former_names`, and ``Blueprint.older_texts`` for the spelling.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Any, NamedTuple

import luigi

from d6tpipe import cache, plugins, settings
from d6tpipe.binding import frame_of
from d6tpipe.constructor import blueprint
from d6tpipe.former_names import any_known, called
from d6tpipe.targets import CacheTarget
from d6tpipe.task_values import tasks_of_values
from d6tpipe.tasks.outputs import folder_of, layout, locate, names_of, target_at

__all__ = [
    "OlderPlace", "all_ids", "filed_under", "former_ids", "has_former_name", "has_older_name",
    "older_places", "standing",
]  # fmt: skip

_MOST = 64  # combinations of former names that are tried for one task


class OlderPlace(NamedTuple):
    """One place where the outputs of a task may lie.

    Attributes
    ----------
    family, task_id : str
        What its record is filed under, if there is one.
    file_id : str
        The id that file names begin with: in another spelling it differs from `task_id`.
    folder : str
    names : tuple of str
        File names of the outputs.
    """

    family: str
    task_id: str
    file_id: str
    folder: str
    names: tuple[str, ...]


# ---- ids


def has_former_name(task: Any) -> bool:
    """Return whether the class of a task, or of one that is a value of its parameters, was called otherwise before."""
    if not any_known() or not hasattr(task, "_key"):
        return False
    return bool(blueprint(type(task)).former_names) or bool(_renamed_in(task))


def has_older_name(task: Any) -> bool:
    """Return whether outputs of the task may have been written under another id or in another folder."""
    plan = blueprint(type(task))
    if plan.older_texts and plan.id_as(task.__dict__, older=True) != task.task_id:
        return True
    return has_former_name(task)


def _renamed_in(task: Any) -> tuple[Any, ...]:
    """Return the classes with former names of tasks that are values of parameters, however deep."""
    if not blueprint(type(task)).objects_in and "_init" not in task.__dict__:
        return ()
    known = task.__dict__.get("_renamed_in")
    if known is None:
        found: dict[Any, None] = {}
        seen: set[int] = set()
        pending = [task]
        while pending:
            one = pending.pop()
            for inner in tasks_of_values(one, blueprint(type(one)).objects_in):
                if id(inner) not in seen and hasattr(inner, "_key"):
                    seen.add(id(inner))
                    pending.append(inner)
                    if any([name.convert is None for name in blueprint(type(inner)).former_names]):
                        found[type(inner)] = None
        known = task.__dict__["_renamed_in"] = tuple(found)
    return known


def former_ids(task: Any) -> list[tuple[str, str]]:
    """Return ``(family, task id)`` of what a task was under former names, the latest first; without that of now."""
    return [(family, task_id) for family, task_id, _ in _former_ids(task)] if has_former_name(task) else []


def _former_ids(task: Any) -> list[tuple[str, str, str]]:
    """Return family, task id, and id as d6tflow would have spelt it."""
    plan, values = blueprint(type(task)), task.__dict__
    known = values.get("_former_ids")
    if known is None or known[0] != settings.generation or plan.older_texts:
        classes = dict.fromkeys([*([type(task)] if plan.former_names else []), *_renamed_in(task)])
        choices = [[None, *[n for n in blueprint(cls).former_names if n.convert is None]] for cls in classes]
        found = []
        for combination in islice(product(*choices), _MOST):
            names = {cls: name for cls, name in zip(classes, combination, strict=True) if name is not None}
            if names:
                own = names.get(type(task))
                family = plan.family if own is None else own.family
                with called(names):
                    spelt = plan.id_as(values, family, older=True) if plan.older_texts else ""
                    task_id = plan.id_as(values, family)
                if (family, task_id) != (plan.family, task.task_id):  # not only the module was another one
                    found.append((family, task_id, spelt or task_id))
        known = values["_former_ids"] = settings.generation, list(dict.fromkeys(found))
    found = known[1]
    if any([name.convert is not None for name in plan.former_names]):
        earlier = plugins.load("services", "predecessors")(task)
        found = [*found, *[(family, task_id, task_id) for family, task_id in earlier[:1]]]
    return found


def all_ids(task: Any) -> list[tuple[str, str]]:
    """Return ``(family, task id)`` of all that a task was, those included that a later one has taken the place of."""
    found = former_ids(task)
    if any([name.convert is not None for name in blueprint(type(task)).former_names] if found else []):
        found += plugins.load("services", "predecessors")(task)
    return list(dict.fromkeys(found))


# ---- places


def older_places(task: Any) -> Iterator[OlderPlace]:
    """Yield where else the outputs of a task may lie, the most likely first; touches nothing."""
    plan, shape = blueprint(type(task)), layout(task)
    if plan.older_texts:
        spelt = plan.id_as(task.__dict__, older=True)
        if spelt != task.task_id:
            yield OlderPlace(plan.family, task.task_id, spelt, locate(task)[0], names_of(shape, spelt))
    if not has_former_name(task):
        return
    for family, task_id, spelt in _former_ids(task):
        place = folder_of(task, plan, task._key[1], family)
        yield OlderPlace(family, task_id, task_id, place, names_of(shape, task_id))
        if spelt != task_id:
            yield OlderPlace(family, task_id, spelt, place, names_of(shape, spelt))


def standing(task: Any) -> OlderPlace | None:
    """Return the older place whose outputs are those of the task: all are there, and in the usual place one is missing.

    None also while the body of the task runs: it writes to the usual place.
    """
    if not has_older_name(task):
        return None
    frame = frame_of(task)
    if (frame is not None and frame.entered) or _all_there(task, *locate(task)):
        return None
    return next((place for place in older_places(task) if _all_there(task, place.folder, place.names)), None)


def _all_there(task: Any, folder: str, names: tuple[str, ...]) -> bool:
    shape = layout(task)
    return bool(names) and all(
        [_is_there(kind, f"{folder}{os.sep}{name}") for (kind, _), name in zip(shape.kinds, names, strict=True)]
    )


def _is_there(kind: Any, path: str) -> bool:
    if isinstance(kind, type) and issubclass(kind, CacheTarget):
        return path in cache.data
    if isinstance(kind, type) and issubclass(kind, luigi.Target) and not kind.__module__.startswith("d6tpipe.targets"):
        return bool(target_at(kind, path).exists())
    return os.path.exists(path)


def filed_under(task: Any, is_known: Callable[[str, str], bool], usual_place: bool) -> tuple[str, str]:
    """Return the family and the task id that the record of a task is filed under.

    Parameters
    ----------
    task : Task
    is_known : callable
        ``is_known(family, task id)``: whether there is a record.
    usual_place : bool
        Whether outputs lie where outputs of the class usually do, rather than where an ``output()`` of its own says.

    Returns
    -------
    tuple of str
        The task's own if there is such a record, or outputs in the usual place; else those of the older outputs that
        stand for its own; else, where none are there, of the latest former name that has a record.
    """
    own: tuple[str, str] = task.task_family, task.task_id
    if not has_former_name(task) or is_known(*own):
        return own
    if usual_place:
        place = standing(task)
        if place is not None:
            return place.family, place.task_id
        if _all_there(task, *locate(task)):
            return own  # made anew, by whom is not known
    return next((ids for ids in former_ids(task) if is_known(*ids)), own)
