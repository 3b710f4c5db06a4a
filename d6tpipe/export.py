"""Sharing results: write the tasks of a flow as a module of external tasks, and import such a module elsewhere.

The written module needs nothing but d6tpipe and the data folder. Each of its classes finds the outputs of the task it
stands for, because name, parameters and location make the same file names; none of them can build anything.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import hashlib
import importlib.util
import inspect
import math
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any
from uuid import UUID

import luigi
from luigi.date_interval import DateInterval
from luigi.parameter import ParameterVisibility

from d6tpipe import flow, plugins
from d6tpipe.constructor import blueprint
from d6tpipe.errors import DeclarationError, ParameterError, PipeError
from d6tpipe.identity import nearest
from d6tpipe.tasks import TaskAggregator, TaskData, outputs

__all__ = ["FlowExport", "FlowImport"]

_OURS = "d6tpipe"
_ALIAS = "d6tflow"  # what those who get the module are used to, and what it works with as well
_NO_DEFAULT = luigi.Parameter()._default  # luigi's private mark for "no default"

# Class attributes that decide where outputs lie, in the order in which they are written.
_LOCATION = ("path", "pipename", "task_group", "target_dir", "target_ext", "save_attrib")

# Arguments that a parameter class needs besides its default, by the luigi class it derives from: the argument, the
# attribute that keeps it, and the value that may be left out.
_REQUIRED: Any = object()
_NUMBER = luigi.NumericalParameter(var_type=int, min_value=0, max_value=1)
_MOMENT = (("interval", "interval", 1), ("start", "start", luigi.DateHourParameter().start))
_ARGUMENTS: dict[type, tuple[tuple[str, str, Any], ...]] = {
    luigi.EnumParameter: (("enum", "_enum", _REQUIRED),),
    luigi.EnumListParameter: (("enum", "_enum", _REQUIRED),),
    luigi.ChoiceParameter: (("var_type", "_var_type", str), ("choices", "_choices", _REQUIRED)),
    luigi.NumericalParameter: (
        ("var_type", "_var_type", _REQUIRED),
        ("min_value", "_min_value", _REQUIRED),
        ("max_value", "_max_value", _REQUIRED),
        ("left_op", "_left_op", _NUMBER._left_op),
        ("right_op", "_right_op", _NUMBER._right_op),
    ),
    luigi.PathParameter: (("absolute", "absolute", False),),
    luigi.DateParameter: (("interval", "interval", 1), ("start", "start", luigi.DateParameter().start)),
    luigi.DateHourParameter: _MOMENT,
    luigi.DateMinuteParameter: _MOMENT,
    luigi.DateSecondParameter: _MOMENT,
}


class _NoLiteral(Exception):
    """A value that cannot be written down as Python source; the message says why."""


class _Source:
    """Python expressions for values, and the imports that these expressions need."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self.modules: dict[str, str] = {}  # module -> the name it is imported under

    def imports(self) -> list[str]:
        ours = [m for m in self.modules if m.partition(".")[0] == _ALIAS]
        rest = [m for m in self.modules if m not in ours]
        return [
            f"import {module}" if self.modules[module] == module else f"import {module} as {self.modules[module]}"
            for module in [*sorted(ours), *sorted(rest)]
        ]

    def module(self, name: str) -> str:
        """Import a module; return the expression for it."""
        if name not in self.modules:
            # A class or parameter of the same name would hide the module from all lines below it.
            clash = name.partition(".")[0] in self._taken
            self.modules[name] = name.replace(".", "_") + "_module" if clash else name
        return self.modules[name]

    def reference(self, thing: Any) -> str:
        """Return the expression for a class or function that can be imported."""
        module, name = str(thing.__module__), thing.__qualname__
        if module in ("__main__", "__mp_main__"):
            raise _NoLiteral(f"{name} is defined in the script or notebook itself; move it to a module")
        if "<" in name:
            raise _NoLiteral(f"{name} is defined inside a function; move it to the top of its module")
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not thing:
            raise _NoLiteral(f"{module}.{name} does not lead back to it")
        if module == "builtins":
            return str(name)
        top = module.partition(".")[0]
        if top == _OURS:
            return self._ours(module, name, thing)
        if top == "luigi":
            public = getattr(luigi, name.split(".")[0], None) is not None
            return f"{self.module('luigi')}.{name}" if public else f"{self.module(module)}.{name}"
        if module == "_operator":
            module = "operator"
        return f"{self.module(module)}.{name}"

    def _ours(self, module: str, name: str, thing: Any) -> str:
        """Return the expression for something of d6tpipe: the shortest, which is what d6tflow's users know."""
        parts = module.split(".")
        package = next(
            ".".join(parts[:length])
            for length in range(1, len(parts) + 1)
            if getattr(sys.modules[".".join(parts[:length])], name.split(".")[0], None) is not None
        )
        if package.count(".") > 1:  # tasks.h5 and the like are not loaded with the package
            self.module(package.replace(_OURS, _ALIAS, 1))
        return package.replace(_OURS, self.module(_ALIAS), 1) + f".{name}"

    def literal(self, value: Any) -> str:
        """Return an expression that evaluates to `value`.

        Raises
        ------
        _NoLiteral
            If there is none.
        """
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes, complex, range):
            return repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind is list:
            return f"[{self._items(value)}]"
        if kind is tuple:
            return f"({self._items(value)},)" if len(value) == 1 else f"({self._items(value)})"
        if kind in (set, frozenset):  # sorted: the text must not vary
            return f"{kind.__name__}([{', '.join(sorted(self.literal(item) for item in value))}])"
        if isinstance(value, enum.Enum):
            return self._member(value)
        if kind in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone):
            return self._moment(value)
        if isinstance(value, DateInterval):
            return f"{self.reference(kind)}.parse({value.to_string()!r})"
        if isinstance(value, pathlib.PurePath):
            return f"{self.module('pathlib')}.{'Path' if isinstance(value, Path) else kind.__name__}({str(value)!r})"
        if kind in (Decimal, Fraction, UUID):
            return f"{self.reference(kind)}({str(value)!r})"
        if isinstance(value, Mapping):  # luigi freezes the dict of a DictParameter; its constructor does so again
            return "{" + ", ".join(f"{self.literal(k)}: {self.literal(v)}" for k, v in value.items()) + "}"
        if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            return self.literal(value.item())
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return self.reference(value)
        raise _NoLiteral(f"a {kind.__module__}.{kind.__qualname__} cannot be written as Python source")

    def _items(self, values: Iterable[Any]) -> str:
        return ", ".join(self.literal(value) for value in values)

    def _member(self, value: enum.Enum) -> str:
        owner = self.reference(type(value))
        if value.name is not None and value.name in type(value).__members__:
            return f"{owner}[{value.name!r}]" if not value.name.isidentifier() else f"{owner}.{value.name}"
        return f"{owner}({self.literal(value.value)})"  # a combination of flags

    def _moment(self, value: Any) -> str:
        zone = getattr(value, "tzinfo", None)
        if zone is None or isinstance(zone, datetime.timezone):
            text = repr(value)
        elif type(zone).__name__ == "ZoneInfo" and getattr(zone, "key", None):
            text = repr(value).replace(repr(zone), f"{self.module('zoneinfo')}.ZoneInfo({zone.key!r})")
        else:
            raise _NoLiteral(f"the time zone {zone!r} cannot be written as Python source")
        name = self.module("datetime")
        return text if name == "datetime" else re.sub(r"\bdatetime\.(?=(date|time|timezone)\w*[(.])", f"{name}.", text)


class FlowExport:
    """Write tasks as a module of external tasks that finds their outputs.

    Parameters
    ----------
    tasks : task or list of tasks, optional
        Exactly these tasks are exported.
    flows : Workflow, WorkflowMulti or list of them, optional
        Of each flow's default task, everything upstream is exported as well.
    save : bool
        Whether to write the file `path_export`; otherwise the module is printed.
    path_export : path-like
        The file to write.

    Notes
    -----
    Several tasks of one class become one class: a parameter in which they differ gets no default there, so its value
    has to be given. Tasks that store nothing of their own (aggregators, plain luigi tasks) are left out with a
    comment, and so are classes with ``export = False``.

    Examples
    --------
    ``FlowExport(flows=flow, save=True, path_export="tasks_d6tpipe.py").generate()``
    """

    def __init__(
        self,
        tasks: Any = None,
        flows: Any = None,
        save: bool = False,
        path_export: str | os.PathLike[str] = "tasks_d6tpipe.py",
    ) -> None:
        self.tasks: list[Any] = list(_listed(tasks))
        # From the sources to the results, as one reads.
        for one in _listed(flows):
            made = one.get_task()
            for task in made.values() if isinstance(made, Mapping) else [made]:
                self.tasks.extend(reversed(flow.taskflow_upstream(task)))
        self.tasks = list(dict.fromkeys(self.tasks))
        self.save = save
        self.path_export = path_export

    def generate(self) -> Path | None:
        """Print the module, or write it to `path_export`.

        Returns
        -------
        pathlib.Path or None
            The file written; None when the module was printed.

        Raises
        ------
        PipeError
            If there is nothing to export.
        DeclarationError, ParameterError
            If a task or a value cannot be written as Python source; the message names it. Nothing is written.

        Effects
        -------
        With ``save``, `path_export` is written in one step.
        """
        text = self._module()
        if not self.save:
            sys.stdout.write(text)
            return None

        def fill(temporary: str) -> None:
            Path(temporary).write_text(text, encoding="utf-8", newline="\n")

        plugins.load("files", "local").write(os.fspath(self.path_export), fill)
        return Path(self.path_export)

    def _module(self) -> str:
        families: dict[str, list[Any]] = {}
        left_out: dict[str, str] = {}
        for task in self.tasks:
            if _option(task, "export", True) is False:
                continue
            if not isinstance(task, TaskData):
                why = "stores nothing itself" if isinstance(task, TaskAggregator) else "a plain luigi task"
                left_out[type(task).__name__] = why
                continue
            families.setdefault(task.get_task_family(), []).append(task)
        if not families:
            raise PipeError(
                "There is nothing to export",
                facts=left_out or {"given": "no task"},
                hint="Pass tasks=[...] or flows=[...] with tasks that store outputs.",
            )
        taken = {type(task).__name__ for same in families.values() for task in same}
        taken |= {name for same in families.values() for name in _parameters(same[0])}
        source = _Source(taken)
        source.module(_ALIAS)
        classes = [self._class(family, same, source) for family, same in families.items()]
        notes = [f"# Left out: {name} ({why})." for name, why in left_out.items()]
        head = ["# Written by d6tflow.FlowExport: tasks whose outputs exist already.", *notes, *source.imports()]
        return "\n\n\n".join(["\n".join(head), *classes]) + "\n"

    def _class(self, family: str, tasks: Sequence[Any], source: _Source) -> str:
        first = tasks[0]
        cls = type(first)
        for task in tasks:
            if type(task) is not cls and _place(type(task)) != _place(cls):
                raise DeclarationError(
                    f"Two classes are both called {family}",
                    facts={"one": _place(cls), "other": _place(type(task))},
                    hint="Rename one of them, or export them to two files.",
                )
        base = next(c for c in cls.__mro__ if c.__module__.partition(".")[0] == _OURS and issubclass(c, TaskData))
        _refuse_own_output(cls)
        lines = [f"class {cls.__name__}({source.reference(base)}):", "    external = True"]
        if cls.get_task_namespace():
            lines.append(f"    task_namespace = {cls.get_task_namespace()!r}")
        lines.append(f"    persist = {self._written(first, 'persist', first.persist, source)}")
        lines += self._location(tasks, base, source)
        for name, parameter in _parameters(first).items():
            lines.append(f"    {name} = {self._parameter(name, parameter, tasks, source)}")
        return "\n".join(lines)

    def _location(self, tasks: Sequence[Any], base: Any, source: _Source) -> list[str]:
        lines = []
        for name in _LOCATION:
            # The folder of the workflow that made a task beats the one of its class.
            stated = [outputs.stated_path(task) if name == "path" else _option(task, name) for task in tasks]
            values = {repr(value): value for value in stated}
            if len(values) > 1:
                raise DeclarationError(
                    f"Tasks of {tasks[0].task_family} differ in '{name}', and one class cannot hold both",
                    facts={str(number): text for number, text in enumerate(values, 1)},
                    hint="Export them to two files.",
                )
            value = next(iter(values.values()))
            if value is not None and value != getattr(base, name, None):
                lines.append(f"    {name} = {self._written(tasks[0], name, value, source)}")
        target = _option(tasks[0], "target_class")
        if target is not getattr(base, "target_class", None):
            lines.append(f"    target_class = {self._written(tasks[0], 'target_class', target, source)}")
        return lines

    def _written(self, task: Any, name: str, value: Any, source: _Source) -> str:
        try:
            return source.literal(value)
        except _NoLiteral as error:
            raise DeclarationError(
                f"{task.task_family} cannot be exported because of its '{name}'",
                task=task,
                facts={"value": repr(value), "problem": error},
                hint=f"Leave the task out, or give '{name}' a value that can be imported.",
            ) from None

    def _parameter(self, name: str, parameter: Any, tasks: Sequence[Any], source: _Source) -> str:
        values = [getattr(task, name) for task in tasks]
        arguments: dict[str, Any] = {}
        same = all(type(value) is type(values[0]) and _equal(value, values[0]) for value in values)
        # With ignore_default the default decides the identity: it may only be replaced together with that rule.
        ignored = getattr(parameter, "ignore_default", False) and parameter._default is not _NO_DEFAULT
        if ignored and not (same and not _equal(values[0], parameter._default)):
            arguments["default"] = parameter._default
            arguments["ignore_default"] = True
        elif same:
            arguments["default"] = values[0]
        for argument, attribute, unless in _arguments_of(parameter):
            value = getattr(parameter, attribute)
            if unless is _REQUIRED or value != unless:
                # The order of a set of choices varies from process to process; the text must not.
                arguments[argument] = sorted(value, key=repr) if argument == "choices" else value
        if not parameter.significant:
            arguments["significant"] = False
        if parameter.visibility != ParameterVisibility.PUBLIC:
            arguments["visibility"] = parameter.visibility
        if not parameter.positional:
            arguments["positional"] = False
        try:
            given = ", ".join(f"{argument}={source.literal(value)}" for argument, value in arguments.items())
            return f"{source.reference(type(parameter))}({given})"
        except _NoLiteral as error:
            raise ParameterError(
                f"{tasks[0].task_family} cannot be exported because of its parameter '{name}'",
                task=tasks[0],
                facts={
                    "value": repr(values[0]),
                    "parameter": f"{name} = {type(parameter).__name__}(...)",
                    "problem": error,
                },
                hint="Leave the task out, or use a value that can be imported or written down.",
            ) from None


def _listed(one_or_many: Any) -> list[Any]:
    if one_or_many is None:
        return []
    return list(one_or_many) if isinstance(one_or_many, (list, tuple)) else [one_or_many]


def _parameters(task: Any) -> dict[str, Any]:
    return dict(task.get_params())


def _option(task: Any, name: str, default: Any = None) -> Any:
    return outputs.option(task, blueprint(type(task)), name, default)


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _equal(one: Any, other: Any) -> bool:
    return bool(one is other or one == other or repr(one) == repr(other))


def _arguments_of(parameter: Any) -> list[tuple[str, str, Any]]:
    return [row for base, rows in _ARGUMENTS.items() if isinstance(parameter, base) for row in rows]


def _refuse_own_output(cls: type) -> None:
    owner = next(base for base in cls.__mro__ if "output" in vars(base))
    if owner.__module__.partition(".")[0] != _OURS:
        raise DeclarationError(
            f"{cls.__name__} cannot be exported: it says itself where its outputs are",
            task=cls,
            facts={"output() of": _place(owner)},
            hint="Use target_dir, task_group or path instead, or set export = False in the class.",
        )


class _Tasks(dict):
    """Task classes by name, also as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            near = nearest(name, self)
            hint = f"Did you mean {near}?" if near else f"It has: {', '.join(self) or 'none'}."
            raise AttributeError(f"The imported module has no task {name}. {hint}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]


class FlowImport:
    """Import a module of tasks, such as `FlowExport` writes, from a folder.

    Parameters
    ----------
    path : path-like, optional
        The folder; the working folder if not given.
    module : str
        Name of the module, with or without ``.py``.
    path_data : path-like, optional
        Where the outputs are; relative to `path`. ``data`` if not given.

    Attributes
    ----------
    tasks : dict of str to type
        The task classes of the module, also as attributes: ``flow.tasks.GetData``.
    module_obj : module
    dirpath : pathlib.Path
        The folder with the outputs. It becomes the ``path`` of every class of the module that has none.

    Raises
    ------
    ParameterError
        If there is no such module.
    PipeError
        If the module cannot be imported; the original error is its cause.

    Examples
    --------
    ``GetData = FlowImport("../other", "tasks_d6tpipe").tasks.GetData``
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        module: str | None = None,
        path_data: str | os.PathLike[str] | None = None,
    ) -> None:
        if module is None:
            raise ParameterError(
                "FlowImport needs the name of a module", hint="Write FlowImport(path, 'tasks_d6tpipe')."
            )
        self.path = path
        self.module = module
        folder = Path(path if path is not None else ".")
        # pathlib: an absolute right side replaces the left one
        self.dirpath = folder / Path(path_data if path_data is not None else "data")
        file = folder / (module if module.endswith(".py") else f"{module}.py")
        if not file.is_file():
            others = sorted(other.name for other in folder.glob("*.py"))
            near = nearest(file.name, others)
            raise ParameterError(
                f"There is no module {module} to import",
                facts={"file": file, "modules there": ", ".join(others) or "none"},
                hint=f"Did you mean {near}?" if near else "Check path and module.",
            )
        self.module_obj = _load(file)
        self.tasks = _Tasks(
            (name, thing)
            for name, thing in inspect.getmembers(self.module_obj, inspect.isclass)
            if issubclass(thing, luigi.Task) and thing.__module__.partition(".")[0] not in (_OURS, "luigi")
        )
        for cls in self.tasks.values():
            # A task class that the module itself imported belongs to somebody else.
            own = cls.__module__ == self.module_obj.__name__ and issubclass(cls, TaskData)
            # A parameter called path is an attribute of the class too.
            if own and getattr(cls, "path", None) is None:
                cls.path = str(self.dirpath)


_LOADED: dict[str, str] = {}  # module name -> file


def _load(file: Path) -> ModuleType:
    """Return the module in `file`, run anew; it is not put into ``sys.modules``."""
    where = str(file.resolve())
    name = file.stem
    # Classes are told apart by module and name, so two modules must never share theirs.
    if name in sys.modules or _LOADED.get(name, where) != where:
        name = f"{name}_{hashlib.md5(where.encode(), usedforsecurity=False).hexdigest()[:8]}"
    _LOADED[name] = where
    spec = importlib.util.spec_from_file_location(name, where)
    if spec is None or spec.loader is None:
        raise ParameterError(f"{file} is not a Python module", hint="Give the name of a .py file.")
    module = importlib.util.module_from_spec(spec)
    try:
        with _importable(file.parent):
            spec.loader.exec_module(module)
    except Exception as error:
        raise PipeError(
            f"The module {file.name} cannot be imported",
            facts={"file": file, "problem": f"{type(error).__name__}: {error}"},
            hint="The error above this one shows the line; a module that FlowExport wrote can be exported again.",
        ) from error
    return module


@contextlib.contextmanager
def _importable(folder: Path) -> Any:
    """Let the module import its neighbours while it is loaded."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
