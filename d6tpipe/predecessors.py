"""Which tasks of then became which of now: an index over the records of classes whose parameters have changed."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from d6tpipe.binding import bound
from d6tpipe.constructor import blueprint
from d6tpipe.errors import DeclarationError, PipeError, told
from d6tpipe.former_names import FormerName
from d6tpipe.identity import task_id_text
from d6tpipe.records import Record
from d6tpipe.stores import MEMORY, store_at
from d6tpipe.tasks.outputs import layout, root_of

__all__ = ["predecessors", "succeeding"]

_FEW = 1000  # so many records are read one by one rather than all of the folder

_Index = dict[str, list[tuple[str, str]]]
_indexes: weakref.WeakKeyDictionary[type, dict[str, _Index]] = weakref.WeakKeyDictionary()


def predecessors(task: Any) -> list[tuple[str, str]]:
    """Return ``(family, task id)`` of the recorded tasks that a conversion makes a task of, the latest finished first.

    Raises
    ------
    DeclarationError
        A conversion has raised, or returned what is no task of the class.

    Notes
    -----
    The records of the former families are read once per class, data folder and process.
    """
    told: list[tuple[str, str]] | None = task.__dict__.get("_predecessors")
    if told is not None:  # sent here by a process that has looked
        return told
    cls = type(task)
    root = MEMORY if layout(task).in_memory else os.path.abspath(root_of(task))
    by_root = _indexes.setdefault(cls, {})
    index = by_root.get(root)
    if index is None:
        index = by_root[root] = _made(cls, root)
    return index.get(task.task_id, [])


def _made(cls: Any, root: str) -> _Index:
    formers: dict[str, list[FormerName]] = {}
    for former in blueprint(cls).former_names:
        if former.convert is not None:
            formers.setdefault(former.family, []).append(former)
    found: dict[str, list[tuple[float, str, str]]] = {}
    for record in _records(root, formers):
        if record.family == blueprint(cls).family and _is_of_now(cls, record):
            continue
        for former in formers[record.family]:
            if former.module and record.module and former.module != record.module.rpartition("/")[2]:
                continue
            made = _converted(cls, former, record.parameters, record.task_id)
            if made is not None:
                ended = record.started + record.seconds
                found.setdefault(made.task_id, []).append((ended, record.family, record.task_id))
                break
    return {
        task_id: [(family, old_id) for _, family, old_id in sorted(members, reverse=True)]
        for task_id, members in found.items()
    }


def _records(root: str, families: Iterable[str]) -> Iterator[Record]:
    """Yield the records of built tasks of some families."""
    records = store_at(root).records
    wanted = set(families)
    rows = [task_id for task_id, row in records.load_hot(wanted).items() if row[0] == "finished"]
    every = (records.get(task_id) for task_id in rows) if len(rows) <= _FEW else records.all()
    for record in every:
        # of what is only observed the parameters are not known
        if record is not None and record.family in wanted and record.stage == "finished" and not record.observed:
            yield record


def _is_of_now(cls: Any, record: Record) -> bool:
    """Return whether a record of a class that has kept its name has the parameters of now."""
    plan, texts = blueprint(cls), json.loads(record.parameters)
    names = plan.identity_names
    if not texts.keys() <= plan.by_name.keys():
        return False
    if texts.keys() >= set(names):
        digest = task_id_text("", {name: texts[name] for name in names}).rpartition("_")[2]
        if digest == record.task_id.rpartition("_")[2]:
            return True
    try:
        return bool(_read(cls, texts).task_id == record.task_id)
    except (PipeError, ValueError, TypeError):
        return False


def _read(cls: Any, texts: Mapping[str, str]) -> Any:
    with bound(None):
        return cls.from_str_params(dict(texts))


def succeeding(cls: Any, former: FormerName, parameters: Mapping[str, str]) -> Any:
    """Return the task of now that has taken the place of one of then, given by its parameters as text; None: none."""
    if former.convert is None:
        return cls.from_str_params(dict(parameters))
    return _converted(cls, former, json.dumps(parameters), "")


def _converted(cls: Any, former: FormerName, parameters: str, task_id: str) -> Any:
    assert former.convert is not None
    texts = json.loads(parameters)
    try:
        given = dict(texts) if former.cls is None else _read(former.cls, texts).param_kwargs
        values = former.convert(given)
        if values is None:
            return None
        by_name = blueprint(cls).by_name
        with bound(None):
            return cls(**{name: _value(by_name.get(name), value) for name, value in values.items()})
    except Exception as error:
        raise DeclarationError(
            f"@migrates_from of {cls.__qualname__} cannot convert a task",
            task=cls,
            facts={
                "old task": task_id or former.family,
                "its parameters": parameters,
                "error": told(error),
            },
            hint="Mend the function; let it return the parameters of the new task as a dict, or None if there is none.",
        ) from error


def _value(parameter: Any, value: Any) -> Any:
    return parameter.parse(value) if parameter is not None and isinstance(value, str) else value
