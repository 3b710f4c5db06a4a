"""Flows of plain functions: d6tflow's functional API.

Each decorated function becomes a task class of the same name with the function as its body::

    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskPqPandas)
    def get_data(task):
        task.save(df)

    @flow.task(d6tpipe.tasks.TaskPickle)
    @flow.requires(get_data)
    @flow.params(alpha=d6tpipe.FloatParameter(default=1.0))
    def train(task):
        task.save(fit(task.inputLoad(), task.alpha))

    flow.run(train, params={"alpha": 0.5})
    model = flow.outputLoad(train)

Everything else (trees, forced runs, failures) is what ``d6tpipe.run`` and ``d6tpipe.preview`` do with those classes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luigi.task_register import Register

from d6tpipe import cache, flow, plugins, settings
from d6tpipe.constructor import blueprint
from d6tpipe.decorators import requires as requires_tasks
from d6tpipe.errors import DeclarationError, NotBuiltError, ParameterError, PipeError, StorageError
from d6tpipe.identity import nearest, task_id_text
from d6tpipe.results import Result
from d6tpipe.tasks import TaskAggregator, TaskData, outputs
from d6tpipe.workflows import experiments, warn_unknown

__all__ = ["Workflow"]

Function = Callable[..., Any]
Step = Function | str
"""How a step is named by users: the decorated function, or its name."""


@dataclass
class _Recipe:
    """What is declared about one function; a class is made of it as soon as it has a task type."""

    function: Function
    task_type: Any = None
    requires: Any = ()  # names of steps and task classes: a sequence, or a dict of them
    attributes: dict[str, Any] = field(default_factory=dict)

    def classes(self, steps: Mapping[str, Any]) -> Any:
        """Return the classes that are required, as `requires` has them."""
        if isinstance(self.requires, Mapping):
            return {key: steps.get(wanted, wanted) for key, wanted in self.requires.items()}
        return [steps.get(wanted, wanted) for wanted in self.requires]

    def wants(self, name: str) -> bool:
        """Return whether the step `name` is directly required."""
        return name in (self.requires.values() if isinstance(self.requires, Mapping) else self.requires)


class Workflow:
    """Turn functions into tasks and run them.

    Attributes
    ----------
    steps : dict of str to type
        Function name to the task class made of it, in the order of definition.
    instantiated_tasks : dict of str to task
        The task that the last run made of each function it was asked for.
    multi_params : dict or None
        The experiments of the last run, None if it had just one set of parameters.
    multi_params_tasks : dict
        Experiment name to the task of the last function asked for.
    params_used : dict of str to list of dict
        Function name to the parameters it was run with, in order.
    """

    def __init__(self) -> None:
        self.steps: dict[str, Any] = {}
        self.instantiated_tasks: dict[str, Any] = {}
        self.multi_params: dict[Any, dict[str, Any]] | None = None
        self.multi_params_tasks: dict[Any, Any] = {}
        self.params_used: dict[str, list[dict[str, Any]]] = {}
        self._drafts: dict[Function, _Recipe] = {}  # not steps yet: @flow.task, the topmost decorator, comes last
        self._recipes: dict[str, _Recipe] = {}
        self._roots: dict[Any, list[Any]] = {}  # experiment -> tasks asked for, of the last run with experiments
        self._asked: dict[Any, None] = {}  # every task ever asked for, the latest last

    # ---- declaring

    def task(self, task_type: Any) -> Callable[[Function], Function]:
        """Make a step of the decorated function; the topmost decorator.

        Parameters
        ----------
        task_type : type
            Task class that says how the output is stored, such as ``d6tpipe.tasks.TaskPqPandas``.

        Raises
        ------
        DeclarationError
            If `task_type` is not a task class of d6tpipe or one derived from it.

        Examples
        --------
        ``@flow.task(d6tpipe.tasks.TaskCache)``
        """
        if not (isinstance(task_type, type) and issubclass(task_type, (TaskData, TaskAggregator))):
            raise DeclarationError(
                "flow.task needs the task class that stores the output",
                facts={"given": repr(task_type)},
                hint="Write @flow.task(d6tpipe.tasks.TaskPqPandas), or another class of d6tpipe.tasks.",
            )

        return self._declare(task_type=task_type)

    def requires(self, *args: Any) -> Callable[[Function], Function]:
        """Declare which steps the decorated function needs; their parameters become its own too.

        Parameters
        ----------
        *args : function, task class, or one dict of them
            Steps of this workflow (or ordinary task classes). With a dict the inputs are named by its keys.

        Raises
        ------
        DeclarationError
            If one of them is not a step of this workflow; the message names the nearest one.

        Examples
        --------
        ``@flow.requires(get_data)`` or ``@flow.requires({"left": get_a, "right": get_b})``
        """
        one = args[0] if len(args) == 1 else None
        wanted: Any
        if isinstance(one, Mapping):
            wanted = {key: self._wanted(step) for key, step in one.items()}
        else:
            wanted = tuple(self._wanted(step) for step in args)
        if not wanted:
            raise DeclarationError(
                "flow.requires was given no step", hint="Name the functions it needs: @flow.requires(get_data)."
            )
        return self._declare(requires=wanted)

    def params(self, **params: Any) -> Callable[[Function], Function]:
        """Declare parameters of the decorated function; inside it they are attributes of the task.

        Raises
        ------
        DeclarationError
            If a value is not a parameter object.

        Examples
        --------
        ``@flow.params(multiplier=d6tpipe.IntParameter(default=0))``
        """
        return self._declare(attributes=_parameters(params))

    def persists(self, to_persist: Sequence[str] | Mapping[str, str]) -> Callable[[Function], Function]:
        """Declare the names of the outputs of the decorated function, or a dict of names and formats.

        Examples
        --------
        ``@flow.persists(["train", "test"])``
        """
        return self._declare(attributes={"persist": to_persist})

    def add_global_params(self, **params: Any) -> None:
        """Give parameters to every step declared so far.

        Examples
        --------
        ``flow.add_global_params(multiplier=d6tpipe.IntParameter(default=0))``
        """
        for name, parameter in _parameters(params).items():
            for step, recipe in self._recipes.items():
                recipe.attributes[name] = parameter
                setattr(self.steps[step], name, parameter)

    def _declare(self, attributes: Mapping[str, Any] | None = None, **facts: Any) -> Callable[[Function], Function]:
        """Return the decorator that adds to the recipe of a function, and makes its class if it has a task type."""

        def declare(function: Function) -> Function:
            name = function.__name__
            recipe = self._recipes.get(name)
            if recipe is None or recipe.function is not function:
                recipe = self._drafts.setdefault(function, _Recipe(function))
            recipe.attributes.update(attributes or {})
            vars(recipe).update(facts)
            if recipe.task_type is not None:
                self._drafts.pop(function, None)
                self._recipes[name] = recipe
                self._build(name)
            return function

        return declare

    def _build(self, name: str) -> None:
        """Make the class of a step, and again those of the steps that use an older one."""
        outdated, done = [name], set()
        while outdated:
            name = outdated.pop(0)
            if name in done:  # a circle: said when the graph is built
                continue
            done.add(name)
            self.steps[name] = self._class(name, self._recipes[name])
            outdated += [user for user, recipe in self._recipes.items() if recipe.wants(name)]

    def _class(self, name: str, recipe: _Recipe) -> Any:
        function = recipe.function
        # Made under its final name: luigi's registry keeps a class under the name it was born with.
        namespace = {
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
            "__doc__": function.__doc__,
            "run": function,
            **recipe.attributes,
        }
        step = type(recipe.task_type)(name, (recipe.task_type,), namespace)
        wanted = recipe.classes(self.steps)
        if isinstance(wanted, dict):
            return requires_tasks(wanted)(step)
        return requires_tasks(*wanted)(step) if wanted else step

    # ---- running

    def preview(self, func_to_preview: Step, params: Mapping[str, Any] | None = None) -> None:
        """Print the tree of a step: with `params`, else with all parameters it was run with, else with defaults."""
        name = self._name_of(func_to_preview)
        if params:
            tasks = [self._instance(name, params)]
        else:
            used = self.params_used.get(name) or [{}]
            tasks = list(dict.fromkeys(self._instance(name, given) for given in used))
        flow.preview(tasks)

    def run(
        self,
        funcs_to_run: Step | list[Step],
        params: Mapping[str, Any] | None = None,
        multi_params: Mapping[Any, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Result | None:
        """Run steps and everything they need.

        Parameters
        ----------
        funcs_to_run : function, name, or list of them
        params : mapping, optional
            Parameter values. Each step takes those it declares; a name that no step declares warns.
        multi_params : mapping of name to mapping, optional
            Several experiments, each with its own values; all of them are one run, in which a step that
            several share is built once. A list numbers the experiments. Excludes `params`.
        *args, **kwargs
            As for ``d6tpipe.run``, from ``forced`` on.

        Returns
        -------
        Result
            As from ``d6tpipe.run``.

        Raises
        ------
        BuildError
            If a task failed, unless ``abort=False``.
        """
        names = [self._name_of(f) for f in (funcs_to_run if isinstance(funcs_to_run, list) else [funcs_to_run])]
        several = multi_params is not None
        if several and params:
            raise ParameterError(
                "flow.run was given both params and multi_params",
                facts={"params": dict(params)},
                hint="Write the common values into each experiment of multi_params.",
            )
        given: dict[Any, dict[str, Any]] = experiments(multi_params) if several else {None: dict(params or {})}
        made = {key: [self._instance(name, values) for name in names] for key, values in given.items()}
        self.multi_params = given if several else None
        self.multi_params_tasks = {key: tasks[-1] for key, tasks in made.items()} if several else {}
        self._roots = made if several else {}
        for key, tasks in made.items():
            for name, task in zip(names, tasks, strict=True):
                self.instantiated_tasks[name] = task
                self._asked.pop(task, None)
                self._asked[task] = None
                self.params_used.setdefault(name, []).append(dict(given[key]))
        return flow.run([task for tasks in made.values() for task in tasks], *args, **kwargs)

    # ---- loading

    def outputLoad(self, func_to_run: Step, *args: Any, **kwargs: Any) -> Any:
        """Load what a step saved in the last run.

        Parameters
        ----------
        func_to_run : function or name
            A step that was run, or one that was built because a step that was run needs it.
        *args, **kwargs
            As for ``task.outputLoad``: keys, as_dict, cached.

        Returns
        -------
        object
            The output; after a run with experiments, a dict of experiment name to output.

        Raises
        ------
        NotBuiltError
            If the step was not part of the run, or its output is not there.
        """
        return self._over_experiments(func_to_run, lambda task: task.outputLoad(*args, **kwargs))

    def outputLoadAll(self, func_to_run: Step, *args: Any, **kwargs: Any) -> Any:
        """Load what a step and everything upstream of it saved in the last run.

        Returns
        -------
        dict of str to object
            Task family to output (where a family occurs several times, task id to output); after a run with
            experiments, a dict of experiment name to such a dict.
        """

        def load_all(task: Any) -> dict[str, Any]:
            tasks = [t for t in flow.taskflow_upstream(task) if hasattr(t, "outputLoad")]
            families = [t.task_family for t in tasks]
            return {
                t.task_family if families.count(t.task_family) == 1 else t.task_id: t.outputLoad(*args, **kwargs)
                for t in tasks
            }

        return self._over_experiments(func_to_run, load_all)

    def _over_experiments(self, step: Step, load: Callable[[Any], Any]) -> Any:
        name = self._name_of(step)
        if self.multi_params is not None:
            return {key: load(self._ran_as(name, roots, key)) for key, roots in self._roots.items()}
        direct = self.instantiated_tasks.get(name)
        return load(direct if direct is not None else self._ran_as(name, reversed(list(self._asked))))

    def _ran_as(self, name: str, roots: Iterable[Any], experiment: Any = None) -> Any:
        """Return the task of step `name` at or above the given tasks."""
        for root in roots:
            for task in flow.taskflow_upstream(root):
                if self._is_step(task, name):
                    return task
        raise NotBuiltError(
            f"The function {name} has not been run yet",
            facts={"run so far": ", ".join(self.params_used) or "nothing"}
            | ({} if experiment is None else {"experiment": experiment}),
            hint=f"Call run({name}) of this workflow first.",
        )

    def _is_step(self, task: Any, name: str) -> bool:
        # By name: a function defined again (a notebook cell run twice) has a new class.
        return bool(task.get_task_family() == self.steps[name].get_task_family())

    # ---- removing

    def reset(
        self, func_to_reset: Step, params: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> list[Any] | Any:
        """Delete the output of a step: with `params`, or with all parameters it ran with so far.

        Parameters
        ----------
        func_to_reset : function or name
        params : mapping, optional
        *args, **kwargs
            As for ``task.reset``; ``confirm=False`` does not ask.

        Returns
        -------
        object or list
            What ``task.reset`` returned; without `params` a list, empty if the step never ran.
        """
        name = self._name_of(func_to_reset)
        if params:
            return self._instance(name, params).reset(*args, **kwargs)
        ran = [task for root in self._asked for task in flow.taskflow_upstream(root) if self._is_step(task, name)]
        return [task.reset(*args, **kwargs) for task in dict.fromkeys(ran)]

    def resetAll(self, *args: Any, **kwargs: Any) -> None:
        """Delete the outputs of all steps, with all parameters they ran with so far."""
        for name in self.steps:
            self.reset(name, None, *args, **kwargs)

    def delete(self, func_to_reset: Step) -> None:
        """Delete every stored output of a step, whatever its parameters, also of earlier sessions.

        Consider `reset`, which deletes only what this workflow has run.

        Effects
        -------
        Removes the step's files from its data folder, and its values from the memory cache. Files that belong
        to another task in the same folder stay, and so does everything outside that folder.
        """
        name = self._name_of(func_to_reset)
        cls = self.steps[name]
        if getattr(cls, "external", False):
            raise PipeError(
                f"{name} is external: its data was not made by d6tpipe and is not deleted",
                task=cls,
                hint="Delete the files yourself if you are sure.",
            )
        if not issubclass(cls, TaskData):
            return  # an aggregator stores nothing of its own
        folder = Path(outputs.folder_of(cls, blueprint(cls), None))
        files = plugins.load("files", "local")
        mine = _ownership(cls)
        for path in [folder / file_name for file_name in sorted(files.listing(str(folder))) if mine(file_name)]:
            if path.is_dir() and not path.is_symlink():
                _remove_folder(path)
            else:
                files.remove(str(path))
        for known in [key for key in cache.data if Path(key).parent == folder and mine(Path(key).name)]:
            del cache.data[known]

    def deleteAll(self) -> None:
        """Delete every stored output of all steps, whatever their parameters; see `delete`."""
        for name in self.steps:
            if not getattr(self.steps[name], "external", False):
                self.delete(name)

    # ---- looking up

    def _name_of(self, step: Step) -> str:
        name = step if isinstance(step, str) else getattr(step, "__name__", repr(step))
        if name in self.steps:
            return name
        if not isinstance(step, str) and step in self._drafts:
            hint = f"Put @flow.task(...) above the other decorators of {name}."
        else:
            near = nearest(name, self.steps)
            hint = f"Did you mean {near}?" if near else "Decorate the function with @flow.task(...) first."
        raise DeclarationError(
            f"{name} is not a step of this workflow",
            facts={"steps": ", ".join(self.steps) or "none"},
            hint=hint,
        )

    def _wanted(self, step: Any) -> Any:
        return step if isinstance(step, type) else self._name_of(step)

    def _instance(self, name: str, params: Mapping[str, Any]) -> Any:
        """Return the task of a step with those of the given values that it declares."""
        cls = self.steps[name]
        known = {"path", "flows", *blueprint(cls).by_name}
        warn_unknown(params, known.union(*[blueprint(step).by_name for step in self.steps.values()]))
        return cls(**{n: value for n, value in params.items() if n in known})


def _parameters(params: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in params.items():
        if not (callable(getattr(value, "parse", None)) and callable(getattr(value, "serialize", None))):
            raise DeclarationError(
                f"'{name}' is not declared as a parameter",
                facts={"given": repr(value)},
                hint=f"Write {name}=d6tpipe.IntParameter(default=...), or another parameter class.",
            )
    return params


def _ownership(cls: Any) -> Callable[[str], bool]:
    """Return the test whether a file name in the data folder belongs to an output of `cls`.

    The folder alone proves nothing: families that are alike up to their first underscore share it (``get_a``,
    ``get_b``). A name that may as well belong to a family with a longer name is left alone.
    """
    family = cls.get_task_family()
    plan = blueprint(cls)
    if not (settings.save_with_param and outputs.option(cls, plan, "save_attrib", True)):
        keys = tuple(f"{key}." for key in (*cls.persist, "meta"))
        return lambda name: name.startswith(keys)
    if not plan.identity_names:
        own = f"{task_id_text(family, {})}-"
        return lambda name: name.startswith(own)
    pattern = re.compile(re.escape(family) + r"_.*[0-9a-f]{10}-.+\.")
    longer = tuple(f"{other}_" for other in Register.task_names() if other.startswith(f"{family}_"))
    return lambda name: pattern.match(name) is not None and not name.startswith(longer)


def _remove_folder(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise StorageError(
            f"Cannot delete the folder {path.name}",
            facts={"folder": path.parent, "reason": error.strerror or error},
            hint="Check the permissions of the folder.",
        ) from error
