"""What all our task classes have in common: identity, strict read-only parameters, cloning, binding."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import luigi
from luigi.parameter import ParameterVisibility

from d6tpipe import plugins
from d6tpipe.binding import SHIPPED, binding_for, bound, frame_of, runs_now
from d6tpipe.constructor import blueprint, inits_text
from d6tpipe.errors import NotRunningError, ParameterError
from d6tpipe.task_values import Composite, object_of, tasks_of_values
from d6tpipe.tasks.meta import TaskMeta
from d6tpipe.tasks.outputs import absolute
from d6tpipe.typed import Open
from d6tpipe.values import text

__all__ = ["Task"]


class _TaskId:
    """The task id, worked out when first asked for and then an ordinary instance attribute."""

    def __get__(self, task: Any, owner: type) -> Any:
        if task is None:
            return self
        values = task.__dict__
        plan = blueprint(owner)
        found = values["task_id"] = (plan.id_as if "_init" in values else plan.task_id)(values)
        return found


class Task(luigi.Task, Open, metaclass=TaskMeta):
    """Base of our task classes; use `TaskData` or `TaskAggregator`.

    Two tasks are equal when family, significant values and data folder of the workflow are. Equal tasks that are
    alive at the same time are usually one object.
    """

    _binding: ClassVar[Any] = None
    _own_path: ClassVar[str | None] = None
    _own_flows: ClassVar[Mapping[str, Any] | None] = None

    if TYPE_CHECKING:  # every constructor takes them; see __getattr__
        path: Any = None
        flows: Any = None
        init: Any = None

    # luigi sets these three in each instance; set_tracking_url and its kin exist only while the body runs
    set_tracking_url = None
    set_status_message = None
    set_progress_percentage = None

    task_id: Any = _TaskId()

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        # Reached only from classes with an __init__ of their own; others are made by the generated constructor.
        plan = blueprint(type(self))
        try:
            self.__dict__["_intern"] = plan.fill(self, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            whole = plan.reject(args, kwargs, functools.partial(plan.fill, self))
            if whole is NotImplemented:
                raise
            self.__dict__["_intern"] = whole

    __init__._d6tpipe_fills = True  # type: ignore[attr-defined]

    # ---- identity

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        plan = blueprint(type(self))
        values = self.__dict__
        shown = [
            f"{name}={values[name]!r}"
            if isinstance(values[name], (str, luigi.Task, Composite))
            else f"{name}={text(parameter, values[name])}"
            for name, parameter in plan.parameters
            if parameter.significant and parameter.visibility != ParameterVisibility.PRIVATE and name in values
        ]
        if "_init" in values:
            shown.append(f"init={list(values['_init'])!r}")
        return f"{plan.family}({', '.join(shown)})"

    def __getattr__(self, name: str) -> Any:
        # Only names that stand nowhere else get here. `path` and `flows` are not class attributes, so that a
        # user's parameter of that name is not mistaken for one that is already there (luigi's inherits, clone).
        if name == "path":
            return self._bound_path()
        if name == "flows":
            binding = self._binding
            return binding.flows if binding is not None and binding.flows else self._own_flows
        if name == "persists":
            return self.persist
        if name == "job":
            return self._job()
        if name == "as_output" and hasattr(type(self), "_as_output"):
            return self._as_output
        if name in ("inputs", "iterInput") and runs_now(self):  # only while the body runs: luigi's clone would copy it
            return getattr(self, f"_{name}")
        # With name and obj Python's own message suggests the nearest name.
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def _job(self) -> Any:
        frame = frame_of(self)
        if frame is None:
            raise NotRunningError(
                "self.job is there only while run() runs",
                task=self,
                hint="Outside of it: d6tpipe.log(task), d6tpipe.tags(task), task.outputPath().",
            )
        if frame.job is None:
            frame.job = plugins.load("services", "job")(frame)
        return frame.job

    def __setattr__(self, name: str, value: Any) -> None:
        if name in blueprint(type(self)).by_name:
            raise ParameterError(
                f"Parameter '{name}' of a task cannot be changed",
                task=self,
                facts={"now": repr(self.__dict__.get(name, "not set yet")), "asked for": repr(value)},
                hint=f"Make another task: task.clone({name}={value!r}).",
            )
        object.__setattr__(self, name, value)
        if name in _MOVES_OUTPUT:
            self.__dict__["_moved"] = True

    def _bound_path(self) -> str | None:
        binding = self._binding
        return binding.path if binding is not None and binding.path is not None else self._own_path

    def __copy__(self) -> Any:
        # luigi's externalize copies a task and then changes the copy: it must not be the shared object
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        plan = blueprint(type(self))
        values = {name: self.__dict__[name] for name in plan.by_name}
        binding = self._binding
        bind = None if binding is None else (binding.path, binding.flows)
        told = {name: self.__dict__[name] for name in _LABELS if name in self.__dict__}
        if "_init" in self.__dict__:
            values["init"] = self.__dict__["_init"]
        if any([name.convert is not None for name in plan.former_names]):  # a worker may see no records
            told["_predecessors"] = plugins.load("services", "predecessors")(self)
        return _rebuild, (type(self), values, bind, self._own_path, self._own_flows, told)

    # ---- running by hand

    def _note_run(self, frame: Any) -> Any:
        """Return who is told what comes of a body that no run has started; None: nobody."""
        return None

    # ---- parameters

    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        """Return ``(name, parameter)`` of every parameter, in the order they were declared."""
        return list(blueprint(cls).parameters)

    @classmethod
    def get_param_names(cls, include_significant: bool = False) -> list[str]:
        """Return the names of the parameters: the significant ones, or all if `include_significant`."""
        return [name for name, parameter in blueprint(cls).parameters if include_significant or parameter.significant]

    @property
    def param_kwargs(self) -> dict[str, Any]:  # type: ignore[override]
        """The values of all parameters by name."""
        return {name: self.__dict__[name] for name in blueprint(type(self)).by_name}

    def to_str_params(self, only_significant: bool = False, only_public: bool = False) -> dict[str, str]:
        """Return the parameters as text, without private ones."""
        found = {}
        for name, parameter in blueprint(type(self)).parameters:
            if only_significant and not parameter.significant:
                continue
            if parameter.visibility == ParameterVisibility.PRIVATE:
                continue
            if only_public and parameter.visibility != ParameterVisibility.PUBLIC:
                continue
            found[name] = text(parameter, self.__dict__[name])
        if "_init" in self.__dict__:
            found["init"] = inits_text(self.__dict__["_init"])
        return found

    def _ignored(self) -> list[str]:
        return blueprint(type(self)).ignored(self.__dict__)

    @classmethod
    def from_str_params(cls, params_str: Mapping[str, str]) -> Any:
        """Return the task with these values, given as text."""
        made = super().from_str_params(dict(params_str))
        if "init" not in params_str or "init" in blueprint(cls).by_name:
            return made
        return cls(**made.param_kwargs, init=[object_of(one) for one in json.loads(params_str["init"])])

    def clone(self, cls: type | None = None, **kwargs: Any) -> Any:
        """Return a task of `cls` that shares this task's values.

        Parameters
        ----------
        cls : task class, optional
            Class of the new task; by default the class of this one.
        **kwargs
            Values that differ.

        Returns
        -------
        luigi.Task
            Parameters that both classes declare have this task's values, others their defaults.

        Raises
        ------
        ParameterError
            If a name in `kwargs` is not a parameter of `cls`, or one without a default is left without a value.
        """
        with bound(self._binding):
            return blueprint(type(self)).clone(self, cls or type(self), kwargs)

    def deps(self) -> Any:
        """Return what has to be built first: what `requires` returns, and tasks that are values of parameters."""
        wanted = super().deps()
        names = blueprint(type(self)).objects_in
        return [*tasks_of_values(self, names), *wanted] if names or "_init" in self.__dict__ else wanted

    def input(self) -> Any:
        """Return the targets of what `requires` returns, in the same structure."""
        from luigi.task import getpaths

        with bound(self._binding):
            found = getpaths(self.requires())
        return _shipped(found) if SHIPPED else found

    # ---- what TaskData adds around a body

    def _before_run(self, frame: Any) -> None:
        """Get ready for the body."""

    def _after_run(self, frame: Any, value: Any) -> None:
        """Take what the body returned."""


_MOVES_OUTPUT = frozenset(
    {"path", "persist", "persists", "pipename", "save_attrib", "target_class", "target_dir", "target_ext", "task_group"}
)


def _shipped(targets: Any) -> Any:
    """Return targets of which those that were sent to this worker are where they are here."""
    if isinstance(targets, Mapping):
        return {name: _shipped(target) for name, target in targets.items()}
    if isinstance(targets, (list, tuple)):
        return [_shipped(target) for target in targets]
    here = SHIPPED.get(absolute(str(getattr(targets, "path", "."))))
    if here is None:
        return targets
    moved = copy.copy(targets)
    moved.path = here
    return moved


_LABELS = ("_ids", "_tags", "_marks")  # see labels.py


def _rebuild(
    cls: type,
    values: dict[str, Any],
    bind: tuple[Any, Any] | None,
    path: str | None,
    flows: Any,
    told: Mapping[str, Any],
) -> Any:
    extra: dict[str, Any] = {}
    if path is not None:
        extra["path"] = path
    if flows:
        extra["flows"] = flows
    with bound(None if bind is None else binding_for(*bind)):
        task: Any = cls(**values, **extra)
    for name, value in told.items():
        task.__dict__.setdefault(name, value)
    return task
