"""Workflows: task classes with parameters and a data folder; one, or several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import luigi

from d6tpipe import flow as flows
from d6tpipe import plugins, settings
from d6tpipe.binding import binding_for, bound
from d6tpipe.errors import DeclarationError, FlowNameError, GraphError, warn
from d6tpipe.identity import nearest
from d6tpipe.utils import generate_exps_for_multi_param

__all__ = ["Workflow", "WorkflowMulti"]


class Workflow:
    """Task classes, run with one set of parameters in one data folder.

    Parameters
    ----------
    task : task class or list of task classes, optional
        The default task; methods that take a task use it if none is given.
    params : dict, optional
        Parameter values. Each task gets those that it declares; a name that no task of the flow declares
        is warned about.
    path : str or path, optional
        Data folder of all tasks of this flow; beats class attributes and ``d6tpipe.set_dir``.
    env : str, optional
        Adds ``/env=<env>`` to the data folder.
    """

    def __init__(
        self, task: Any = None, params: Mapping[str, Any] | None = None, path: Any = None, env: str | None = None
    ) -> None:
        if params is not None and not isinstance(params, Mapping):
            raise DeclarationError(
                "The params of a Workflow must be a dict",
                facts={"got": repr(params)},
                hint="Write Workflow(Task, {'name': value}); for several sets of values use WorkflowMulti.",
            )
        self.default_task = task
        self.params: dict[str, Any] = dict(params or {})
        if env is not None:
            base = path if path is not None else _class_path(task) or settings.dirpath
            path = f"{base}/env={env}"
        self._path = None if path is None else str(path)
        self._flows: dict[str, Any] = {}
        self._binding = binding_for(self._path)
        self._warned = False

    def __repr__(self) -> str:
        name = getattr(self.default_task, "__name__", self.default_task)
        return f"Workflow({name}, {self.params}{'' if self._path is None else f', path={self._path!r}'})"

    # ---- tasks

    def get_task(self, task: Any = None) -> Any:
        """Return the task with the parameters of this flow.

        Parameters
        ----------
        task : task class, optional
            The default task if not given; a task instance is returned as it is.
        """
        if task is None:
            task = self.default_task
            if task is None:
                raise GraphError(
                    "The workflow has no default task",
                    hint="Pass a task class to this call, or make it Workflow(task=...) or set_default(...).",
                )
        if isinstance(task, (list, tuple)):
            if len(task) != 1:
                raise GraphError(
                    "This call is about one task, the workflow's default is several",
                    facts={"default": ", ".join(getattr(one, "__name__", repr(one)) for one in task)},
                    hint="Name the task class in the call.",
                )
            task = task[0]
        if isinstance(task, luigi.Task):
            return task
        if not (isinstance(task, type) and issubclass(task, luigi.Task)):
            raise GraphError(
                "A workflow runs task classes", facts={"got": repr(task)}, hint="Pass the class, without parentheses."
            )
        names = {name for name, _ in task.get_params()}
        with bound(self._binding):
            return task(**{name: value for name, value in self.params.items() if name in names})

    def set_default(self, task: Any) -> None:
        """Set the default task, a task class."""
        self.default_task = task

    def attach_flow(self, flow: Any = None, flow_name: str = "flow") -> None:
        """Make another flow reachable in ``run()`` of this flow's tasks, as ``self.flows[flow_name]``."""
        self._flows[flow_name] = flow
        self._binding = binding_for(self._path, dict(self._flows))

    def _tasks(self, tasks: Any) -> list[Any]:
        if tasks is None and isinstance(self.default_task, (list, tuple)):
            tasks = self.default_task
        return [self.get_task(task) for task in (tasks if isinstance(tasks, (list, tuple)) else [tasks])]

    # ---- running

    def run(
        self,
        tasks: Any = None,
        forced: Any = None,
        forced_all: bool = False,
        forced_all_upstream: bool = False,
        confirm: bool = False,
        workers: int | str | None = None,
        abort: bool = True,
        execution_summary: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build tasks with the parameters of this flow; see `flow.run`.

        Parameters
        ----------
        tasks : task class or list of task classes, optional
        forced : task or task class, or a list of them, optional
        """
        chosen = self._tasks(tasks)
        self._check_names(chosen)
        return flows.run(
            chosen, self._forced(forced), forced_all, forced_all_upstream, confirm, workers, abort, execution_summary,
            **kwargs,
        )  # fmt: skip

    def _forced(self, forced: Any) -> Any:
        if forced is None:
            return None
        return [self.get_task(task) for task in (forced if isinstance(forced, (list, tuple, set)) else [forced])]

    def _check_names(self, chosen: list[Any]) -> None:
        if not self._warned:
            self._warned = _warn_unknown_in(self.params, chosen)

    def preview(
        self,
        tasks: Any = None,
        indent: str = "",
        last: bool = True,
        show_params: bool = True,
        clip_params: bool = False,
    ) -> None:
        """Print the tree of tasks with the parameters of this flow; see `flow.preview`."""
        chosen = self._tasks(tasks)
        self._check_names(chosen)
        flows.preview(chosen, indent, last, show_params, clip_params)

    # ---- outputs

    def complete(self, task: Any = None) -> bool:
        """Return whether a task is complete."""
        return bool(self.get_task(task).complete())

    def output(self, task: Any = None) -> Any:
        """Return the targets of a task."""
        return self.get_task(task).output()

    def outputPath(self, task: Any = None) -> Any:
        """Return the path of a task's output, or the paths by name; nothing is built."""
        return self.get_task(task).outputPath()

    def outputLoad(self, task: Any = None, keys: Any = None, as_dict: bool = False, cached: bool = False) -> Any:
        """Return what a task has saved; see `TaskData.outputLoad`."""
        return self.get_task(task).outputLoad(keys=keys, as_dict=as_dict, cached=cached)

    def outputLoadMeta(self, task: Any = None) -> Any:
        """Return the metadata that a task has saved."""
        return self.get_task(task).outputLoadMeta()

    def outputLoadAll(
        self, task: Any = None, keys: Any = None, as_dict: bool = False, cached: bool = False
    ) -> dict[str, Any]:
        """Return what a task and all upstream of it have saved, by class name."""
        found = flows.taskflow_upstream(self.get_task(task))
        return {
            type(one).__name__: one.outputLoad(keys=keys, as_dict=as_dict, cached=cached)
            for one in found
            if hasattr(one, "outputLoad")
        }

    # ---- starting over

    def reset(self, task: Any = None, confirm: bool = False) -> Any:
        """Delete the outputs of a task."""
        return self.get_task(task).reset(confirm)

    def reset_downstream(self, task: Any, task_downstream: Any = None, confirm: bool = False) -> bool:
        """Delete the outputs of `task` and of all between it and `task_downstream` (the default task)."""
        return flows.invalidate_downstream(self.get_task(task), self.get_task(task_downstream), confirm)

    def reset_upstream(self, task: Any = None, confirm: bool = False) -> bool | None:
        """Delete the outputs of a task and of all that it requires."""
        return flows.invalidate_upstream(self.get_task(task), confirm)


class WorkflowMulti:
    """One flow under several sets of parameters, each with a name.

    Parameters
    ----------
    task : task class, optional
        The default task.
    params : dict or list
        A dict of flow name to dict of values; a list of dicts (the names are 0, 1, 2 ...); or a dict of parameter
        name to list of values, which stands for all combinations (named ``a_1_b_2``).
    path, env
        As for ``Workflow``.
    """

    def __init__(self, task: Any = None, params: Any = None, path: Any = None, env: str | None = None) -> None:
        self.default_task = task
        self.params = experiments(params)
        self.workflow_objs = {
            name: Workflow(task=task, params=values, path=path, env=env) for name, values in self.params.items()
        }
        self._warned = False

    def __repr__(self) -> str:
        name = getattr(self.default_task, "__name__", self.default_task)
        return f"WorkflowMulti({name}, {len(self.params)} flows)"

    def get_flow(self, flow: Any) -> Workflow:
        """Return one flow by its name."""
        try:
            return self.workflow_objs[flow]
        except (KeyError, TypeError):
            near = nearest(str(flow), map(str, self.workflow_objs))
            raise FlowNameError(
                f"There is no flow {flow!r}",
                facts={"flows": ", ".join(repr(name) for name in list(self.workflow_objs)[:20])},
                hint=f"Did you mean '{near}'?" if near else "Use one of these names.",
            ) from None

    def _each(self, flow: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of one flow, or of all: then return its answers by flow name."""
        if flow is not None:
            return getattr(self.get_flow(flow), method)(*args, **kwargs)
        return {name: getattr(one, method)(*args, **kwargs) for name, one in self.workflow_objs.items()}

    def run(
        self,
        tasks: Any = None,
        flow: Any = None,
        forced: Any = None,
        forced_all: bool = False,
        forced_all_upstream: bool = False,
        confirm: bool = False,
        workers: int | str | None = None,
        abort: bool = True,
        execution_summary: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build the tasks of one flow, or of all flows as one graph: what they share is built once.

        Returns
        -------
        Result, or dict of flow name to Result
            The result of a flow speaks of its own tasks; failures are those that it depends on.

        Raises
        ------
        BuildError
            If something failed and `abort`, after all independent branches have been finished.
        """
        options = {"forced_all": forced_all, "forced_all_upstream": forced_all_upstream, "confirm": confirm,
                   "workers": workers, "abort": abort, "execution_summary": execution_summary, **kwargs}  # fmt: skip
        if flow is not None:
            return self.get_flow(flow).run(tasks, forced, **options)
        chosen = {name: one._tasks(tasks) for name, one in self.workflow_objs.items()}
        self._check_names(chosen)
        if forced is not None:  # what it means is settled flow by flow
            forced = [
                task
                for name, one in self.workflow_objs.items()
                for task in flows.tasks_meant(one._forced(forced), chosen[name])
            ]
        result = flows.run([task for group in chosen.values() for task in group], forced, **options)
        return None if result is None else result.split(chosen)

    def _check_names(self, chosen: Mapping[Any, list[Any]]) -> None:
        if not self._warned:
            names = dict.fromkeys(name for values in self.params.values() for name in values)
            self._warned = _warn_unknown_in(names, [task for group in chosen.values() for task in group])

    def preview(
        self,
        tasks: Any = None,
        flow: Any = None,
        indent: str = "",
        last: bool = True,
        show_params: bool = True,
        clip_params: bool = False,
    ) -> Any:
        """Print one tree per flow."""
        return self._each(flow, "preview", tasks, indent, last, show_params, clip_params)

    def outputLoad(
        self, task: Any = None, flow: Any = None, keys: Any = None, as_dict: bool = False, cached: bool = False
    ) -> Any:
        """Return what a task has saved, by flow name, or for one flow."""
        return self._each(flow, "outputLoad", task, keys, as_dict, cached)

    def outputLoadAll(
        self, task: Any = None, flow: Any = None, keys: Any = None, as_dict: bool = False, cached: bool = False
    ) -> Any:
        """Return what a task and all upstream of it have saved, by flow name, or for one flow."""
        return self._each(flow, "outputLoadAll", task, keys, as_dict, cached)

    def outputLoadMeta(self, task: Any = None, flow: Any = None) -> Any:
        """Return the metadata that a task has saved, by flow name, or for one flow."""
        return self._each(flow, "outputLoadMeta", task)

    def outputPath(self, task: Any = None, flow: Any = None) -> Any:
        """Return the paths of a task's outputs, by flow name, or for one flow."""
        return self._each(flow, "outputPath", task)

    def output(self, task: Any = None, flow: Any = None) -> Any:
        """Return the targets of a task, by flow name, or for one flow."""
        return self._each(flow, "output", task)

    def complete(self, task: Any = None, flow: Any = None) -> Any:
        """Return whether a task is complete, by flow name, or for one flow."""
        return self._each(flow, "complete", task)

    def table(self, task: Any = None) -> Any:
        """Return a DataFrame with a row per flow: parameters, tags, metrics, state and duration; see `tables.table`."""
        return plugins.load("services", "table")(self.get_task(task), "flow")

    def get_task(self, task: Any = None, flow: Any = None) -> Any:
        """Return a task, by flow name, or for one flow."""
        return self._each(flow, "get_task", task)

    def set_default(self, task: Any) -> None:
        """Set the default task of all flows."""
        self.default_task = task
        for one in self.workflow_objs.values():
            one.set_default(task)

    def reset(self, task: Any = None, flow: Any = None, confirm: bool = False) -> Any:
        """Delete the outputs of a task, in all flows or in one."""
        return self._gathered(flow, "reset", task, confirm)

    def reset_downstream(
        self, task: Any = None, flow: Any = None, confirm: bool = False, task_downstream: Any = None
    ) -> Any:
        """Delete the outputs between `task` and `task_downstream`, in all flows or in one."""
        return self._gathered(flow, "reset_downstream", task, task_downstream, confirm)

    def reset_upstream(self, task: Any = None, flow: Any = None, confirm: bool = False) -> Any:
        """Delete the outputs of a task and all upstream of it, in all flows or in one."""
        return self._gathered(flow, "reset_upstream", task, confirm)

    def _gathered(self, flow: Any, method: str, *args: Any) -> Any:
        answers = self._each(flow, method, *args)
        return answers if flow is not None else set(answers.values())  # a set, as in d6tflow


def experiments(params: Any) -> dict[Any, dict[str, Any]]:
    """Return ``{name: {parameter: value}}`` of the forms that sets of parameters may be given in."""
    if isinstance(params, Mapping):
        if params and all(isinstance(values, Mapping) for values in params.values()):
            return {name: dict(values) for name, values in params.items()}
        if params and all(_is_list(values) for values in params.values()):
            return dict(generate_exps_for_multi_param({name: list(v) for name, v in params.items()}))
        if not params:
            return {}
    elif isinstance(params, (list, tuple)) and all(isinstance(values, Mapping) for values in params):
        return {number: dict(values) for number, values in enumerate(params)}
    raise DeclarationError(
        "Several sets of parameters must say which sets there are",
        facts={"got": repr(params)},
        hint="Pass {'flow': {'name': value}}, [{'name': value}, ...] or {'name': [value, value]}; "
        "for a single set of values use Workflow.",
    )


def _is_list(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, (str, Mapping))


def _class_path(task: Any) -> Any:
    first = task[0] if isinstance(task, (list, tuple)) and task else task
    path = getattr(first, "path", None)
    return None if isinstance(path, (luigi.Parameter, property)) else path


def _warn_unknown_in(names: Iterable[str], tasks: list[Any]) -> bool:
    """Warn about names that no task of the flow of `tasks` declares; return whether the flow was looked at."""
    names = list(names)
    if set(names) <= _parameter_names(tasks):  # the usual case: no graph is needed to see it
        return False
    graph, _, _ = flows.build_graph(tasks, judged=False)
    warn_unknown(names, _parameter_names(node.task for node in graph.order))
    return True


def _parameter_names(tasks: Iterable[Any]) -> set[str]:
    return {name for cls in {type(task) for task in tasks} for name, _ in cls.get_params()}


def warn_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Warn about parameter names that no task of a flow declares."""
    known = sorted(known)
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean '{near}'?" if near else ""
            warn(f"No task of the flow has a parameter '{name}'.{hint}")
