"""Running tasks and asking about them: the place where declarations, engine and adapters meet."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import luigi

from d6tpipe import settings
from d6tpipe.binding import FRAME, LOADING, Unanswered
from d6tpipe.callbacks import quiet
from d6tpipe.declared import class_option
from d6tpipe.engine.graph import Graph, Node
from d6tpipe.engine.transients import is_open
from d6tpipe.errors import GraphError, ParameterError, StorageError, shown, warn
from d6tpipe.examiner import Examiner
from d6tpipe.graphs import as_tasks, asked_for, build_graph
from d6tpipe.identity import nearest
from d6tpipe.interfaces import Event, State
from d6tpipe.ledger import new_run_id
from d6tpipe.policy import Policy
from d6tpipe.results import Result
from d6tpipe.tasks import TaskAggregator
from d6tpipe.tasks.external import is_external
from d6tpipe.tasks.outputs import mirrored
from d6tpipe.trees import grouped_text, tree_text
from d6tpipe.wording import Words

__all__ = [
    "enable_cloud_storage",
    "enable_gcs",
    "invalidate_all",
    "invalidate_downstream",
    "invalidate_orphans",
    "invalidate_upstream",
    "preview",
    "run",
    "set_dir",
    "show",
    "taskflow_downstream",
    "taskflow_upstream",
]

# Options of luigi.build that change how luigi runs, not what: accepted, so that calls written for d6tflow go on
# working, and without effect here.
_LUIGI_OPTIONS = frozenset(
    {
        "assistant", "autoload_range", "cache_task_completion", "check_complete_on_run", "check_unfulfilled_deps",
        "detailed_summary", "force_multiprocessing", "keep_alive", "local_scheduler", "lock_pid_dir", "lock_size",
        "log_level", "logging_conf_file", "max_keep_alive_idle_duration", "max_reschedules", "module",
        "no_configure_logging",
        "no_install_shutdown_handler", "no_lock", "parallel_scheduling", "parallel_scheduling_processes",
        "scheduler_host", "scheduler_port", "scheduler_url", "send_failure_email", "set_worker_id", "take_lock",
        "task_limit", "task_process_context", "timeout", "wait_interval", "wait_jitter", "worker_timeout",
    }
)  # fmt: skip


# ---- running


def run(
    tasks: Any,
    forced: Any = None,
    forced_all: bool = False,
    forced_all_upstream: bool = False,
    confirm: bool = False,
    workers: int | str | None = None,
    abort: bool = True,
    execution_summary: bool | None = None,
    *,
    executor: Any = None,
    stale: str | None = None,
    freeze: Any = None,
    no_freeze: bool = False,
    stale_ok: Any = None,
    dry_run: bool = False,
    max_failures: int | None = None,
    select: str | None = None,
    marks: str | None = None,
    resources: Mapping[str, float] | None = None,
    scheduler: str | None = None,
    claim: bool = False,
    drain: bool = False,
    callbacks: Iterable[Callable[[Event], Any]] | None = None,
    progress: bool | None = None,
    show_capture: str | None = None,
    **luigi_options: Any,
) -> Any:
    """Build what is missing of `tasks` and of all they require.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
        d6tpipe's tasks and plain luigi tasks alike.
    forced : task or list of tasks, optional
        Build these again, and all that needs them. A task that is not part of the flow stands for all tasks of its
        family in it. Outputs stay until they are replaced.
    forced_all : bool
        Build `tasks` again.
    forced_all_upstream : bool
        Build `tasks` and all that they require again.
    confirm : bool
        Show what is forced and ask on the terminal; any answer but yes runs nothing and returns None.
    workers : int or "auto", optional
        How many bodies run at once; "auto": the processors that may be used, minus one, and at least one. By default
        ``settings.n_workers``, which is 1 unless something else was said.
    abort : bool
        Raise at the end if something failed; False returns the result.
    execution_summary : bool, optional
        Print the summary; by default ``settings.execution_summary``.
    executor : str, concurrent.futures.Executor or dask Client, optional
        Where bodies run: "serial", "threads", "processes", "loky", "dask", "ray", a name that was registered
        (`d6tpipe.executors.register`), an address such as "dask://host:8786", or an executor of your own, which stays
        open. By default ``settings.executor``, else "serial" for one worker and "processes" for more.
    stale : {"ignore", "warn", "rerun"}, optional
        What to do with tasks that are complete, but of which something has changed since they were built: leave them,
        as
        luigi does; leave them and name them; build them again. By default what the class says, or ``settings.stale``.
    freeze : text, task, class or list of those, optional
        Accept the outputs of these tasks as they are, for good. Text is part of a task as it is shown.
    no_freeze : bool
        Treat classes that are frozen as if they were not, this time.
    stale_ok : text, task, class or list of those, optional
        Use the outputs of these tasks as they are this time; they stay stale.
    dry_run : bool
        Run and write nothing; the result says what would be built.
    max_failures : int, optional
        Start nothing more after so many failures.
    select : str, optional
        Build only what this expression selects of `tasks` and of all they require, and what that needs; see "Selecting
        tasks" in the documentation.
    marks : str, optional
        The same with an expression of marks: "costly and not slow".
    resources : mapping of str to number, optional
        How much there is of what tasks use (luigi's ``resources = {"db": 1}``): bodies that need more together wait. By
        default what the section ``[resources]`` of luigi's configuration says; what nobody names there is one of.
    scheduler : str, optional
        Address of a ``luigid``, such as "http://localhost:8082": its pages show the graph, what runs, messages,
        progress and failures. The run does not wait for it, and goes on without it. By default
        ``settings.scheduler``, which is None; luigi's ``scheduler_host``, ``scheduler_port`` and ``scheduler_url``
        do the same.
    claim : bool
        Share the graph with other machines that run it at the same time: a body runs only where the scheduler says so.
        The run then waits for the scheduler if it does not answer.
    drain : bool
        Wait at the end until the scheduler has been told everything; otherwise for five seconds at most.
    callbacks : iterable of callables, optional
        Each is called with every `interfaces.Event`, in this process.
    progress : bool, optional
        Show progress on standard error; by default on a terminal only.
    show_capture : {"no", "stdout", "stderr", "log", "all"}, optional
        What is shown at the end of what a failed task has printed ("stderr" with warnings) and logged; by default
        ``settings.show_capture``. `d6tpipe.log` has all of it, of any task.
    **luigi_options
        Options of ``luigi.build``; accepted for compatibility, without effect.

    Returns
    -------
    Result
        True if nothing failed. Independent branches go on after a failure.

    Raises
    ------
    BuildError
        If something failed and `abort`; holds every failure.
    GraphError
        If the requirements do not make a graph; nothing was run.
    ExpressionError, NothingSelectedError
        `select` or `marks` is wrong, or selects nothing; nothing was run.
    KeyboardInterrupt
        The body that runs is given up, nothing more starts; what was built stays.
    """
    _check_options(luigi_options)
    forcing = forced is not None or forced_all or forced_all_upstream
    address = _scheduler(scheduler, luigi_options, claim, forcing)
    if LOADING.get():
        raise GraphError(
            "A module runs tasks when it is imported, and a worker has to import it",
            hint="Put the call of run() under: if __name__ == '__main__':",
        )
    if mirrored() and FRAME.get() is not None:
        return _asked_for(tasks)
    from d6tpipe.coordinator import Coordinator, Options  # a question has no use for what it imports
    from d6tpipe.dispatch import choose

    options = Options(max_failures, resources, address, claim, drain, callbacks, progress, show_capture)
    choice = choose(workers, executor)
    begin = perf_counter()
    roots, sweeps = asked_for(tasks)
    if select is not None or marks is not None:
        from d6tpipe.selection import narrowed

        roots = narrowed(roots, select, marks)
        chosen = set(roots)
        sweeps = [(sweep, [task for task in members if task in chosen]) for sweep, members in sweeps]
    examiner = Examiner(Policy(stale, freeze, no_freeze, stale_ok), new_run_id())
    graph, goals, view = build_graph(roots, prune=not forcing, examiner=examiner)
    for option in examiner.policy.unmatched(node.task for node in graph.order):
        warn(f"{option}={freeze if option == 'freeze' else stale_ok!r}: no task of the flow is meant")
    again = _forced_nodes(graph, goals, forced, forced_all, forced_all_upstream) if forcing else frozenset()
    again = frozenset(node for node in again if not is_external(node.task))
    if confirm and any(node.complete for node in again):
        print("Tasks that will run again:")
        for node in graph.order:
            if node in again and node.complete:
                print(f"  {shown(node.task)}")
        if input("Run them again (y/n)? ").strip().lower() not in ("y", "yes"):
            return None
    coordinator = Coordinator(graph, goals, view, choice, options, again, begin)
    coordinator.sweeps = sweeps
    summarised = settings.execution_summary if execution_summary is None else execution_summary
    if not dry_run:
        try:
            coordinator.carry_out()
        except (KeyboardInterrupt, SystemExit):
            if summarised:
                print(coordinator.result().summary_text)
            raise
    result = coordinator.result(dry_run)
    if summarised and (result.ok or not abort):
        print(result.summary_text)
    if abort:
        result.raise_failure()
    return result


def _asked_for(tasks: Any) -> Result:
    """Return the result of a run inside a body on a worker that does not see the data: there it only asks.

    Raises
    ------
    Unanswered
        Some of the tasks have yet to be built, by the process that coordinates.
    """
    frame = FRAME.get()
    assert frame is not None
    wanted = as_tasks(tasks)
    open_ones = [task for task in wanted if task not in frame.answered]
    if open_ones:
        raise Unanswered(open_ones)
    _, goals, _ = build_graph(wanted, judged=False)
    for node in goals:
        node.complete, node.state = True, State.FRESH
    return Result(goals, [], 0.0, goals=goals)


def bind(frame: Any, tasks: list[Any]) -> None:
    """Build what is missing of `tasks`, which the body of `frame` needs now, and note it as asked for.

    Where the body runs, and no new place is taken up in the executor: with all workers waiting for what they have asked
    for, nothing could run. Several tasks are built in threads, as many as the run has workers.
    """
    if mirrored():  # neither records nor what other machines have built are seen from here
        open_ones = [task for task in tasks if task not in frame.answered]
        if open_ones:
            raise Unanswered(open_ones)
        return
    if not tasks:
        return
    n_workers = min(len(tasks), frame.n_workers)
    executor = "serial" if n_workers == 1 else "threads"
    passing = [task for task in tasks if class_option(type(task), "transient") == "remove"]
    if passing:  # the run around this one does not know yet that they are needed here
        from d6tpipe.readers import Reading

        frame.reading = frame.reading or Reading()
        for task in passing:
            frame.reading.begin(task)
    with quiet():
        result = run(tasks, abort=False, execution_summary=False, workers=n_workers, progress=False,
                     stale=frame.stale, executor=executor)  # fmt: skip
    result.raise_failure()
    built = [task for task, state in result.states.items() if state is State.BUILT]
    frame.bound += [(task, True) for task in built]
    frame.bound += [(task, False) for task in tasks]
    frame.asked.append(tasks)


def _scheduler(url: str | None, options: Mapping[str, Any], claim: bool, forcing: bool) -> str | None:
    """Return the address of luigi's scheduler that is meant, None if none is.

    As for ``luigi.build``: it is the one of luigi's configuration if `local_scheduler` is False. Calls written for
    d6tflow, which is silent about it, mean none.
    """
    url = settings.scheduler if url is None else url
    if url is None and not options.get("local_scheduler", False):
        url = options.get("scheduler_url") or None
        host, port = options.get("scheduler_host"), options.get("scheduler_port")
        if url is None and (host or port or options.get("local_scheduler") is False):
            said = partial(luigi.configuration.get_config().get, "core")
            url = said("default-scheduler-url", "") if not (host or port) else ""
            url = url or f"{host or said('default-scheduler-host', 'localhost')}:" + str(
                port or said("default-scheduler-port", "8082")
            )
    if claim and forcing:
        raise ParameterError(
            "Machines that share a graph (claim=True) cannot build again what is there",
            facts={"because": "each would do so after the others"},
            hint="Reset the tasks first (task.reset()), and run without forced.",
        )
    if url is None:
        if claim:
            raise ParameterError(
                "claim=True needs to know where the scheduler is",
                hint='Say run(..., claim=True, scheduler="http://host:8082").',
            )
        return None
    from d6tpipe.central import address_of

    return address_of(url)


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in _LUIGI_OPTIONS:
            own = [option for option in inspect.signature(run).parameters if option not in ("tasks", "luigi_options")]
            near = nearest(name, [*own, *_LUIGI_OPTIONS])
            raise ParameterError(
                f"run() has no option '{name}'",
                facts={"options": ", ".join(own)},
                hint=f"Did you mean '{near}'?" if near else "Use one of these, or an option of luigi.build.",
            )


def _forced_nodes(graph: Graph, goals: list[Node], forced: Any, all_goals: bool, upstream: bool) -> frozenset[Node]:
    """Return what has to be built again; forced tasks and all between them and what was asked for."""
    if upstream:
        return frozenset(graph.upstream(goals))
    sources: dict[Node, None] = {}
    pending = list(goals) if all_goals else []
    while pending:
        node = pending.pop()
        if node not in sources and isinstance(node.task, TaskAggregator):  # to build what it stands for again
            pending += node.needs
        sources[node] = None
    for task in [] if forced is None else as_tasks(forced):
        meant = _matching(graph, task)
        if not meant:
            warn(f"forced={shown(task)}: no task of the flow is meant, nothing is forced by it")
        sources.update(dict.fromkeys(meant))
    return frozenset(graph.between(sources, *goals))


def tasks_meant(tasks: Any, flow: Any) -> list[Any]:
    """Return what `tasks` mean in the graph of `flow`: themselves, or all of their families (see `run`, forced)."""
    graph, _, _ = build_graph(flow, judged=False)
    return [node.task for task in as_tasks(tasks) for node in _matching(graph, task)]


def _matching(graph: Graph, task: Any) -> list[Node]:
    """Return the node of `task`; if the graph has none, all of its family, as d6tflow does."""
    node = graph.find(task)
    if node is not None and node.walked:
        return [node]
    return [node for node in graph.order if node.task.task_family == task.task_family]


# ---- questions


_MOST_TREES = 20


def preview(
    tasks: Any, indent: str = "", last: bool = True, show_params: bool = True, clip_params: bool = False
) -> None:
    """Print the tree of what `tasks` require, and what of it is complete.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
        One tree is printed for each; of more than 20, how many of each class there are and how they stand.
    indent, last, show_params, clip_params
        See `trees.tree_text`.

    Effects
    -------
    Prints to ``sys.stdout``; nothing is made on disk.
    """
    _, goals, view = build_graph(tasks)
    words = Words()
    rule = "\n ===== Luigi Execution Preview ===== \n"
    print(rule)
    if len(goals) > _MOST_TREES:
        print(grouped_text(goals, mode=view.mode, words=words))
        goals = []
    for goal in goals:
        print(tree_text(goal, indent, last, show_params, clip_params, mode=view.mode, words=words))
    print(rule)


def show(task: Any) -> None:
    """Print the tree of what a task requires; the same as `preview`."""
    preview(task)


def taskflow_upstream(task: Any, only_complete: bool = False) -> list[Any]:
    """Return `task` and all that it requires, directly or not: `task` first, depth first, each once.

    Parameters
    ----------
    task : luigi.Task
    only_complete : bool
        Leave out what is not complete.
    """
    graph, goals, _ = build_graph(task, judged=only_complete)
    return [node.task for node in graph.upstream(goals) if not (only_complete and is_open(node))]


def taskflow_downstream(task: Any, task_downstream: Any, only_complete: bool = False) -> set[Any]:
    """Return all tasks on the way from `task` to `task_downstream`, both included.

    Parameters
    ----------
    task : luigi.Task
        If the flow of `task_downstream` does not hold it, all tasks of its family are meant.
    task_downstream : task, collection or mapping of tasks
    only_complete : bool
        Leave out what is not complete.

    Returns
    -------
    set of luigi.Task
        Empty if `task_downstream` does not need `task`.
    """
    graph, goals, _ = build_graph(task_downstream, judged=only_complete)
    found = graph.between(_matching(graph, task), *goals)
    return {node.task for node in found if not (only_complete and is_open(node))}


def invalidate_upstream(task: Any, confirm: bool = False) -> bool | None:
    """Delete the outputs of `task` and of all that it requires.

    External tasks keep their outputs: d6tpipe could not make them again.

    Parameters
    ----------
    task : luigi.Task
    confirm : bool
        Show them and ask on the terminal first.

    Returns
    -------
    bool or None
        False if the answer was no, else None (as in d6tflow).
    """
    return None if _invalidate(taskflow_upstream(task), confirm) else False


def invalidate_downstream(task: Any, task_downstream: Any, confirm: bool = False) -> bool:
    """Delete the outputs of all complete tasks on the way from `task` to `task_downstream`.

    Parameters
    ----------
    task, task_downstream : luigi.Task
        See `taskflow_downstream`.
    confirm : bool
        Show them and ask on the terminal first.

    Returns
    -------
    bool
        False if the answer was no.
    """
    return _invalidate(taskflow_downstream(task, task_downstream, only_complete=True), confirm)


def _invalidate(tasks: Iterable[Any], confirm: bool) -> bool:
    chosen = [task for task in tasks if hasattr(task, "invalidate") and not is_external(task)]
    if not chosen:
        print("no tasks to invalidate")
        return True
    if confirm:
        print("Outputs of these tasks will be deleted:")
        for task in chosen:
            print(f"  {shown(task)}")
        if input("Delete them (y/n)? ").strip().lower() not in ("y", "yes"):
            return False
    for task in chosen:
        task.invalidate(confirm=False)
    return True


def invalidate_all(confirm: bool = False) -> bool:
    """Delete all recorded outputs of the data folder, and their records.

    Files without a record stay, and so do external data, what lies outside the data folder (``settings.dir``), and
    what is being built at the time. What is deleted is printed.

    Parameters
    ----------
    confirm : bool
        Show what would be deleted and ask on the terminal first.

    Returns
    -------
    bool
        False if the answer was no.
    """
    from d6tpipe.removal import everything  # few need it, and every import of d6tpipe would pay for it

    return _remove(everything(os.fspath(settings.dirpath)), confirm)


def invalidate_orphans(confirm: bool = False) -> bool:
    """Delete recorded outputs of the data folder that no class can make any more, and their records.

    The rules are those of `catalogs.clean` without flows, which can also be told which flows there are. What is
    deleted is printed, and what stays because nobody can tell.

    Parameters
    ----------
    confirm : bool
        Show what would be deleted and ask on the terminal first.

    Returns
    -------
    bool
        False if the answer was no.
    """
    from d6tpipe.removal import impossible

    return _remove(impossible(os.fspath(settings.dirpath)), confirm)


def _remove(removal: Any, confirm: bool) -> bool:
    going = bool(removal.going)
    for line in removal.lines("delete"):
        print(line)
    if not going:
        print("no outputs to delete")
        return True
    if confirm and input(f"Delete {removal.amount()} (y/n)? ").strip().lower() not in ("y", "yes"):
        return False
    removal.carry_out()
    print(f"Deleted {removal.amount()}.")
    return True


# ---- where data lies


def set_dir(dir: Any = None) -> Path:
    """Set the folder under which outputs are stored, and return it.

    Parameters
    ----------
    dir : str or path, optional
        By default the present ``settings.dir`` stays.

    Effects
    -------
    None on disk: folders are made when something is saved.
    """
    if dir is not None:
        settings.dir = dir
    settings.isinit = True
    return Path(settings.dirpath)


def enable_cloud_storage(protocol: str, bucket: str, prefix: str | None = None) -> str:
    """Store outputs in an object store; not built yet."""
    raise StorageError(
        "Object stores are not built into this version of d6tpipe",
        facts={"asked for": f"{protocol}://{bucket}" + (f"/{prefix}" if prefix else "")},
        hint="Use a local or mounted folder: d6tpipe.set_dir(...).",
    )


def enable_gcs(bucket: str, prefix: str | None = None) -> str:
    """Store outputs in Google cloud storage; not built yet."""
    return enable_cloud_storage("gcs", bucket, prefix)
