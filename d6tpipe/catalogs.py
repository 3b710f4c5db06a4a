"""What a data folder holds, as recorded: the `catalog`, and what of it nobody needs any more (`clean`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from d6tpipe import settings
from d6tpipe.acceptance import meant
from d6tpipe.errors import GraphError
from d6tpipe.examiner import Examiner, store_of
from d6tpipe.graphs import as_tasks, build_graph
from d6tpipe.holds import holder
from d6tpipe.origins import parameters_in
from d6tpipe.policy import Policy
from d6tpipe.records import Record
from d6tpipe.removal import Removal, impossible, is_no_file, unneeded
from d6tpipe.stores import MEMORY, Store, store_at
from d6tpipe.workflows import Workflow, WorkflowMulti

__all__ = ["COLUMNS", "catalog", "clean", "removal"]

COLUMNS = (
    "family", "task_id", "parameters", "state", "outputs", "bytes", "built", "seconds", "run_id", "host", "git_commit",
    "python", "error", "exists",
)  # fmt: skip


def catalog(root: Any = None, family: str | None = None) -> Any:
    """Return what is recorded of the tasks of a data folder, one row per task, the latest first.

    Parameters
    ----------
    root : str or path, optional
        The data folder; by default ``settings.dirpath``. Each folder has records of its own: that of a workflow with
        a ``path``, too.
    family : str, optional
        Only tasks of this family (class name, after the namespace if there is one).

    Returns
    -------
    pandas.DataFrame
        ==============  ==========================================================================================
        ``family``      class name of the task
        ``task_id``
        ``parameters``  dict of parameter name to value as text, the insignificant ones, too
        ``state``       ``finished``, ``accepted`` (not run, see `accept`), ``failed``, ``interrupted``, ``running``;
                        ``observed``: made elsewhere or before there were records, only the bytes are known
        ``outputs``     list of paths, relative to the data folder if they lie in it
        ``bytes``       of all outputs together, as recorded
        ``built``       when the body ended, UTC; of accepted ones, when that was said
        ``seconds``     how long the body ran
        ``run_id``      of the run that built it, as are ``host``, ``git_commit`` and ``python``
        ``error``       what a failed body has raised
        ``exists``      whether all outputs are there now; those that are no files are not looked at
        ==============  ==========================================================================================

    Effects
    -------
    None. Records that cannot be read are warned about, and none are returned.

    Examples
    --------
    ``d6tpipe.catalog().groupby("family").bytes.sum()``
    """
    import pandas as pd

    store = store_at(os.fspath(settings.dirpath if root is None else root))
    rows = [_row(record, store) for record in store.records.all() if family is None or record.family == family]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["built"] = pd.to_datetime(frame["built"].astype("float64"), unit="s", utc=True)
    kinds = {"bytes": "int64", "seconds": "float64", "exists": "bool"}
    return frame.astype(kinds).sort_values("built", ascending=False, kind="stable", ignore_index=True)


def _row(record: Record, store: Store) -> tuple[Any, ...]:
    outputs = [output for output in record.outputs if not is_no_file(record, output)]
    there = [os.path.exists(store.absolute(output.path)) for output in outputs]
    return (
        record.family,
        record.task_id,
        parameters_in(record) or {},
        _state(record, store),
        [output.path for output in record.outputs],
        sum([output.size for output in outputs if output.size > 0]),
        record.started + record.seconds if record.started else float("nan"),
        record.seconds if record.started else float("nan"),
        record.run_id,
        record.host,
        record.git_commit,
        record.python,
        record.error,
        bool(record.outputs) and all(there),
    )


def _state(record: Record, store: Store) -> str:
    if record.stage in ("building", "saved"):
        return "interrupted" if holder(store, record.task_id) is None else "running"
    if record.stage == "finished":
        return "accepted" if record.accepted else "observed" if record.observed else "finished"
    return record.stage


# ---- what nobody needs


def clean(flows: Any = None, root: Any = None, yes: bool = False) -> Any:
    """Delete orphans: recorded outputs that no known flow produces. Without ``yes=True`` only say which these are.

    Parameters
    ----------
    flows : task, workflow, or collection or mapping of these, optional
        All flows that use the data folder. What is made neither by their tasks nor by what these need is an orphan.
        So name every flow: outputs of one that is not named are orphans, too.

        Without flows only what *cannot* be made any more is one: its class is gone from its module, or does not take
        its parameters any more. To find out, modules that the records name are imported. A module that cannot be
        imported proves nothing, nor does a class from a notebook, a script, or made by a function: such outputs stay,
        and the reason is told.
    root : str or path, optional
        The data folder; by default the one that the flows use, or ``settings.dirpath``.
    yes : bool
        Delete them, and their records.

    Returns
    -------
    pandas.DataFrame
        One row per output: ``task`` (id), ``path``, ``bytes``, ``delete`` (whether it goes, or with ``yes=True`` has
        gone), ``why`` (why it goes, or stays). Without a path: only a record is left.

    Raises
    ------
    GraphError
        If none of the flows has its outputs in the data folder, or they use several and `root` does not say which.
    StorageError
        If a file cannot be deleted.

    Notes
    -----
    Never touched: files without a record (also metadata of `saveMeta`), files that have changed since they were
    recorded, external data, what lies outside the data folder, links, folders, and what is being built at the time.
    """
    import pandas as pd

    found = removal(flows, root)
    if yes:
        found.carry_out()
    rows = [(one.task, one.path, one.size, one.goes, one.why) for one in found.candidates]
    return pd.DataFrame(rows, columns=["task", "path", "bytes", "delete", "why"]).astype(
        {"bytes": "int64", "delete": "bool"}
    )


def removal(flows: Any = None, root: Any = None) -> Removal:
    """Return what `clean` would delete."""
    if flows is None:
        return impossible(os.fspath(settings.dirpath if root is None else root))
    # What bodies have asked for is read from the records, whatever settings and classes say of what follows from these.
    examiner = Examiner(Policy("warn", no_freeze=True))
    graph, goals, view = build_graph(_tasks_of(flows), examiner=examiner)
    tasks = [node.task for node in meant(graph, goals, view, upstream=True)]
    roots = {
        os.path.realpath(store_of(task).root): store_of(task).root for task in tasks if store_of(task).root != MEMORY
    }
    if root is None:
        asked_for = meant(graph, goals, view, upstream=False)
        of_goals = {os.path.realpath(store_of(node.task).root) for node in asked_for} & roots.keys() or set(roots)
        if len(of_goals) != 1:
            raise GraphError(
                f"The flows keep their outputs {'in several data folders' if of_goals else 'in memory'}",
                facts={f"folder {number}": folder for number, folder in enumerate(sorted(of_goals), 1)},
                hint="Say which one to clean: root=...",
            )
        root = roots[of_goals.pop()]
    elif os.path.realpath(root) not in roots:
        raise GraphError(
            "None of these flows has its outputs in the data folder, so all in it would be orphans",
            facts={"data folder": os.fspath(root), "outputs are in": ", ".join(sorted(roots)) or "memory"},
            hint="Pass the flows that use it, or another root.",
        )
    return unneeded(os.fspath(root), tasks)


def _tasks_of(flows: Any) -> list[Any]:
    """Return the tasks of what may be given for flows."""
    from d6tpipe import functional  # few need it, and every import of d6tpipe would pay for it

    if isinstance(flows, Workflow):
        return flows._tasks(None)
    if isinstance(flows, WorkflowMulti):
        return _tasks_of(flows.workflow_objs)
    if isinstance(flows, functional.Workflow):
        if not flows._asked:
            raise GraphError(
                "A functional workflow knows its tasks once it has run them, and this one has run none",
                hint="Run it first (what is complete costs nothing), or pass tasks: flow.instantiated_tasks.values().",
            )
        return list(flows._asked)
    if isinstance(flows, Mapping):
        flows = flows.values()
    if isinstance(flows, Iterable) and not isinstance(flows, (str, type)):
        return [task for flow in flows for task in _tasks_of(flow)]
    return as_tasks(flows)
