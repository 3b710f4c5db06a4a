"""What TARGET and the ``--name value`` words after it mean: the module, what it holds, and the tasks made of it.

For `cli`, which holds the commands. These two are the only modules that need click.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import luigi

import d6tpipe
from d6tpipe import functional
from d6tpipe.cli_shared import selection_asked
from d6tpipe.errors import ParameterError, PipeError, is_ours
from d6tpipe.graphs import asked_for
from d6tpipe.identity import nearest
from d6tpipe.labels import ids_of
from d6tpipe.selection import narrowed
from d6tpipe.sweeps import Sweep
from d6tpipe.tasks.external import declared_external
from d6tpipe.values import canonical
from d6tpipe.workflows import Workflow, WorkflowMulti

__all__ = ["Selection", "import_from_here", "in_module", "open_target", "option_of", "select_tasks", "users_traceback"]

IMPORT_FAILED, NOTHING_SELECTED = 3, 5  # exit codes; `cli` has the others


class _Stop(click.ClickException):
    """Ends the command; the text is printed as it is."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class _TargetFailed(_Stop):
    """The user's file or module cannot be imported."""

    exit_code = IMPORT_FAILED


class _NothingSelected(_Stop):
    """The target holds nothing that could be run."""

    exit_code = NOTHING_SELECTED


# ---- what a TARGET names


@dataclass
class _Found:
    """One thing of a module that holds tasks."""

    name: str
    kind: str  # task, aggregator, external, workflow, sweep
    about: str  # first line of its docstring
    parameters: Mapping[str, Any]  # name to parameter object
    make: Callable[[Mapping[str, str]], list[Any]]  # values as text, of its own parameters only
    lacks: Callable[[Mapping[str, str]], str]  # why it cannot be made from these values; "" if it can
    sweeps: Sequence[Sweep] = ()  # those that it is made of


def _of_class(name: str, cls: Any) -> _Found:
    parameters = dict(cls.get_params())
    external = declared_external(cls)
    idle = cls.run is luigi.Task.run and not issubclass(cls, luigi.WrapperTask)
    kind = "aggregator" if issubclass(cls, d6tpipe.tasks.TaskAggregator) else "external" if external else "task"

    def make(texts: Mapping[str, str]) -> list[Any]:
        return [cls(**_parsed(cls, parameters, texts))]

    def lacks(texts: Mapping[str, str]) -> str:
        family = cls.get_task_family()
        needed = [n for n, p in parameters.items() if n not in texts and not p.has_task_value(family, n)]
        if needed:
            return "needs " + ", ".join(map(option_of, needed))
        if external:
            return "external: its data is made elsewhere"
        return "has no run()" if idle else ""

    return _Found(name, kind, _first_line(cls), parameters, make, lacks)


def _of_tasks(name: str, kind: str, about: str, tasks: Sequence[Any]) -> _Found:
    """Return what tasks that exist already offer: values given on the command line make changed copies."""
    parameters = {n: p for task in tasks for n, p in task.get_params()}

    def make(texts: Mapping[str, str]) -> list[Any]:
        made = []
        for task in tasks:
            changes = _parsed(type(task), dict(task.get_params()), texts)
            made.append(task.clone(**changes) if changes else task)
        return made

    return _Found(name, kind, about, parameters, make, lambda texts: "")


def _of_workflow(name: str, workflow: Any) -> _Found:
    kind = "sweep" if isinstance(workflow, WorkflowMulti) else "workflow"
    if workflow.default_task is None:
        return _Found(name, kind, "", {}, lambda texts: [], lambda texts: "has no default task")
    made = workflow.get_task()
    tasks = list(made.values()) if isinstance(made, Mapping) else [made]
    about = f"{len(tasks)} x {workflow.default_task.__name__}" if kind == "sweep" else workflow.default_task.__name__
    return _of_tasks(name, kind, about, tasks)


def _of_thing(name: str, thing: Any) -> list[_Found] | None:
    """Return what `thing` offers, or None if it has nothing to do with tasks."""
    if isinstance(thing, type) and issubclass(thing, luigi.Task) and not issubclass(thing, luigi.Config):
        return [_of_class(name, thing)]
    if isinstance(thing, luigi.Task):
        return [_of_tasks(name, "task", repr(thing), [thing])]
    if isinstance(thing, (Workflow, WorkflowMulti)):
        return [_of_workflow(name, thing)]
    if isinstance(thing, Sweep):
        kinds = " and ".join(sorted(cls.__name__ for cls in thing.classes))
        found = _of_tasks(name, "sweep", f"{len(thing)} x {kinds}", thing.tasks)
        found.sweeps = [thing]
        return [found]
    if isinstance(thing, functional.Workflow):
        return [_of_class(step, cls) for step, cls in thing.steps.items()]
    return None


def in_module(module: ModuleType) -> list[_Found]:
    """Return all that stands at the top level of a module under a public name, in order."""
    found: dict[str, _Found] = {}
    for name, thing in list(vars(module).items()):
        own = not isinstance(thing, type) or thing.__module__ == module.__name__
        if not name.startswith("_") and own:
            for one in _of_thing(name, thing) or ():
                found.setdefault(one.name, one)
    return list(found.values())


def _named(module: ModuleType, name: str) -> list[_Found]:
    """Return what the user asked for by name."""
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            known = [one.name for one in in_module(module)]
            near = nearest(name, known)
            raise click.UsageError(
                f"{_file_of(module)} has no {name}. "
                + (f"Did you mean {near}?" if near else f"It has: {', '.join(known) or 'no tasks'}.")
            )
        thing = getattr(thing, part)
    found = _of_thing(name, thing)
    if found is None and callable(thing):  # a step of a functional workflow
        flows = [v for v in vars(module).values() if isinstance(v, functional.Workflow)]
        found = [_of_class(name, f.steps[name]) for f in flows if name in f.steps] or None
    if found is None and isinstance(thing, (list, tuple, Mapping)):
        members = list(thing.values()) if isinstance(thing, Mapping) else list(thing)
        if members and all(isinstance(one, (luigi.Task, Sweep)) for one in members):
            tasks, sweeps = asked_for(members)
            found = [_of_tasks(name, "task", f"{len(tasks)} tasks", tasks)]
            found[0].sweeps = [sweep for sweep, _ in sweeps]
    if found is None:
        raise click.UsageError(
            f"{name} is not a task, an aggregator or a workflow, but a {type(thing).__name__}: {thing!r:.80}"
        )
    return found


def option_of(name: str) -> str:
    """Return the option of a parameter as users write it."""
    return "--" + name.replace("_", "-")


def _first_line(cls: type) -> str:
    text = cls.__dict__.get("__doc__") or ""
    return text.strip().partition("\n")[0]


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return os.path.relpath(file) if file else module.__name__


# ---- importing it


def _split(target: str) -> tuple[str, str | None]:
    """Return the place and the name of ``place:name``; a colon inside a path stays."""
    place, colon, name = target.rpartition(":")
    if colon and place and all(part.isidentifier() for part in name.split(".")):
        return place, name
    return target, None


def _load(place: str) -> ModuleType:
    if place.startswith("-"):
        raise click.UsageError(f"TARGET comes first, before the parameters; {place} was found in its place.")
    if place.endswith(".py") or "/" in place or os.sep in place:
        return _load_file(Path(place))
    import_from_here()
    return _import(place)


def _import(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if not f"{place}.".startswith(f"{error.name}."):  # something that the module itself imports
            raise _target_failed(place, error) from error
        raise _TargetFailed(
            f"There is no module {error.name}.\nTARGET is module:Name, path/to/flow.py or path/to/flow.py:Name."
        ) from error
    except (Exception, SystemExit) as error:
        raise _target_failed(place, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent
        near = nearest(path.name, [p.name for p in folder.glob("*.py")]) if folder.is_dir() else None
        hint = f" Did you mean {folder / near}?" if near else ""
        raise _TargetFailed(f"There is no file {path}.{hint}")
    full = path.resolve()
    root, name = full.parent, full.stem
    if name == "__init__":
        root, name = root.parent, root.name
    while (root / "__init__.py").is_file() and root.name.isidentifier():  # part of a package: it may import from it
        root, name = root.parent, f"{root.name}.{name}"
    _put_first(str(root))
    if name in sys.modules:
        known = getattr(sys.modules[name], "__file__", None)
        if known is not None and os.path.realpath(known) == str(full):
            return sys.modules[name]
        raise _TargetFailed(
            f"{path} cannot be imported as {name}: another module of that name is loaded already\n"
            f"  that one  {known or 'built into Python'}\n"
            "Rename the file."
        )
    if "." in name:
        return _import(name)
    # The name that `import flow` in its folder would give it, so that tasks are the same either way.
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise _TargetFailed(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (Exception, SystemExit)):
            raise _target_failed(str(path), error) from error
        raise
    return module


def import_from_here() -> None:
    """Let modules of the working folder be found."""
    _put_first(os.getcwd())


def _put_first(folder: str) -> None:
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def _target_failed(place: str, error: BaseException) -> _TargetFailed:
    return _TargetFailed(f"{users_traceback(error)}\n{place} cannot be imported (see above).")


def users_traceback(error: BaseException) -> str:
    """Return the traceback as text, without the frames of d6tpipe and of the import system around the user's."""
    if isinstance(error, PipeError):  # raised by us about the user's line: all our frames say nothing
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_machinery(f.filename)]
        return "".join(["Traceback (most recent call last):\n", *traceback.format_list(frames), str(error), "\n"])
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_machinery(file: str) -> bool:
    return is_ours(file) or file.startswith("<frozen importlib") or file == importlib.__file__


# ---- parameters


def _texts(words: Sequence[str], found: Sequence[_Found], options: Iterable[str]) -> dict[str, str]:
    """Return {parameter name: text} of ``--name value``, ``--name=value`` and, for truth values, ``--name``."""
    known = {name: parameter for one in found for name, parameter in one.parameters.items()}
    texts: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--") or word == "--":
            raise click.UsageError(
                f"{word!r} is not expected here. A parameter is written --name value; values that begin with -- "
                "as --name=value."
            )
        given, equals, text = word[2:].partition("=")
        name = given if given in known else given.replace("-", "_")
        if name not in known:
            near = nearest(f"--{given}", [*map(option_of, known), *options])
            raise click.UsageError(
                f"Nothing selected has a parameter --{given}. "
                + (f"Did you mean {near}? " if near else "")
                + f"Parameters: {', '.join(map(option_of, known)) or 'none'}."
            )
        if not equals:
            if left and not left[0].startswith("--"):
                text = left.pop(0)
            elif isinstance(known[name], luigi.BoolParameter):
                text = "true"
            else:
                raise click.UsageError(f"--{given} needs a value.")
        if name in texts:
            raise click.UsageError(f"--{given} is given twice: {texts[name]} and {text}.")
        texts[name] = text
    return texts


def _parsed(cls: type, parameters: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that a class takes of those given as text."""
    values = {}
    for name, text in texts.items():
        if name not in parameters:
            continue
        try:
            values[name] = parameters[name].parse(text)
        except Exception as error:  # noqa: BLE001  (reported; what parse raises is up to the author of the class)
            kind = type(parameters[name])
            known = kind.__module__ in ("luigi.parameter", "d6tpipe.parameters")
            raise ParameterError(
                f"{option_of(name)} of {cls.__name__} cannot be read from {text!r}",
                facts={
                    "parameter": f"{name} = {kind.__name__}(...)",
                    "problem": _problem(parameters[name], text, error) if known else error,
                },
                hint="Write the value as this kind of parameter takes it.",
            ) from (None if known else error)  # luigi's traceback tells nobody more than the message does
    return values


def _problem(parameter: Any, text: str, error: Exception) -> Exception:
    """Return what is wrong with a text, in the words that a call from Python gets."""
    try:
        canonical(parameter, text)
    except (ValueError, TypeError) as better:
        return better
    return error


@dataclass
class Selection:
    """What a command works on: what was found, and the tasks made of it."""

    module: ModuleType
    found: list[_Found]
    texts: dict[str, str]
    tasks: list[Any]

    @property
    def members(self) -> list[Any]:
        """The tasks, with the sweeps that they are from: what a run is asked for."""
        sweeps = [] if self.texts else [sweep for one in self.found for sweep in one.sweeps]
        known = {task for sweep in sweeps for task in sweep.tasks}
        return [*sweeps, *[task for task in self.tasks if task not in known]]


def open_target(target: str, words: Sequence[str], folder: str | None) -> Selection:
    """Import a target and find out what it holds and what the words after it say; no task is made.

    The data folder is set before the import, for what the module does at its top level, and again after it: what
    the command line says beats what the file says.
    """
    place, name = _split(target)
    _use_folder(folder)
    module = _load(place)
    _use_folder(folder)
    found = in_module(module) if name is None else _named(module, name)
    if not found:
        raise _NothingSelected(f"{_file_of(module)} holds no task, aggregator or workflow at its top level.")
    command = click.get_current_context().command
    texts = _texts(words, found, [option for p in command.params for option in p.opts if option.startswith("--")])
    return Selection(module, found, texts, [])


def select_tasks(target: str, words: Sequence[str], folder: str | None, narrow: bool = True) -> Selection:
    """Import a target and make its tasks; say what is left out, and stop if nothing is left.

    With `narrow`, the tasks are those of it, and of what it requires, that -k and -m select.
    """
    selection = open_target(target, words, folder)
    named = _split(target)[1] is not None
    left_out: dict[str, str] = {}
    for one in selection.found:
        reason = one.lacks(selection.texts)
        if not reason or (named and not reason.startswith("needs ")):
            selection.tasks += one.make(selection.texts)
        elif named:
            raise click.UsageError(f"{one.name} {reason}. Write: {target} {reason[6:].replace(',', ' VALUE')} VALUE")
        else:
            left_out[one.name] = reason
    made = {
        type(task).__name__ for task in selection.tasks if ids_of(task)
    }  # a class of which a sweep has tasks is not left out
    for name, reason in left_out.items():
        if name not in made:
            click.echo(f"left out: {name} ({reason})", err=True)
    selection.tasks = list(dict.fromkeys(selection.tasks))
    if not selection.tasks and named:
        raise _NothingSelected(f"{target} holds no tasks.")
    if not selection.tasks:
        raise _NothingSelected("Nothing to do is left: give the parameters above, or name one: TARGET:Name.")
    select, marks = selection_asked()
    if narrow and (select is not None or marks is not None):
        selection.tasks = narrowed(selection.tasks, select, marks)
    return selection


def _use_folder(folder: str | None) -> None:
    if folder is not None:
        d6tpipe.set_dir(folder)
