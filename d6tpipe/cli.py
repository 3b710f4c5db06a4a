"""The command ``d6tpipe``: a thin skin over `flow`. The only module that needs click.

Exit codes: 0 ok, 1 a task failed, 2 usage or configuration, 3 the target cannot be imported, 4 the graph is invalid,
5 nothing selected; 130 interrupted by Ctrl-C, as shells have it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
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
from luigi.task import flatten
from rich.console import Console
from rich.table import Table
from rich.text import Text

import d6tpipe
from d6tpipe import flow, functional
from d6tpipe.errors import (
    DeclarationError,
    GraphError,
    ParameterError,
    PipeError,
    PluginError,
    SettingsError,
    is_ours,
)
from d6tpipe.identity import nearest
from d6tpipe.interfaces import State
from d6tpipe.tasks.external import declared_external, is_external
from d6tpipe.values import canonical
from d6tpipe.workflows import Workflow, WorkflowMulti

__all__ = ["main"]

OK, TASK_FAILED, USAGE, IMPORT_FAILED, GRAPH_INVALID, NOTHING_SELECTED = range(6)
INTERRUPTED = 130

_SHOWN = 20  # how many lines of a list are printed before "and so many more"


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
            return "needs " + ", ".join(map(_option, needed))
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
    if isinstance(thing, functional.Workflow):
        return [_of_class(step, cls) for step, cls in thing.steps.items()]
    return None


def _in_module(module: ModuleType) -> list[_Found]:
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
            known = [one.name for one in _in_module(module)]
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
        tasks = flatten(thing)
        if tasks and all(isinstance(task, luigi.Task) for task in tasks):
            found = [_of_tasks(name, "task", f"{len(tasks)} tasks", tasks)]
    if found is None:
        raise click.UsageError(
            f"{name} is not a task, an aggregator or a workflow, but a {type(thing).__name__}: {thing!r:.80}"
        )
    return found


def _option(name: str) -> str:
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
    _put_first(os.getcwd())
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
    _put_first(str(full.parent))
    name = full.stem
    if name in sys.modules:
        known = getattr(sys.modules[name], "__file__", None)
        if known is not None and os.path.realpath(known) == str(full):
            return sys.modules[name]
        raise _TargetFailed(
            f"{path} cannot be imported as {name}: another module of that name is loaded already\n"
            f"  that one  {known or 'built into Python'}\n"
            "Rename the file."
        )
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


def _put_first(folder: str) -> None:
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def _target_failed(place: str, error: BaseException) -> _TargetFailed:
    return _TargetFailed(f"{_users_traceback(error)}\n{place} cannot be imported (see above).")


def _users_traceback(error: BaseException) -> str:
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
            near = nearest(f"--{given}", [*map(_option, known), *options])
            raise click.UsageError(
                f"Nothing selected has a parameter --{given}. "
                + (f"Did you mean {near}? " if near else "")
                + f"Parameters: {', '.join(map(_option, known)) or 'none'}."
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
                f"{_option(name)} of {cls.__name__} cannot be read from {text!r}",
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
class _Selection:
    """What a command works on: what was found, and the tasks made of it."""

    module: ModuleType
    found: list[_Found]
    texts: dict[str, str]
    tasks: list[Any]


def _open(target: str, words: Sequence[str], folder: str | None) -> _Selection:
    """Import a target and find out what it holds and what the words after it say; no task is made.

    The data folder is set before the import, for what the module does at its top level, and again after it: what
    the command line says beats what the file says.
    """
    place, name = _split(target)
    _use_folder(folder)
    module = _load(place)
    _use_folder(folder)
    found = _in_module(module) if name is None else _named(module, name)
    if not found:
        raise _NothingSelected(f"{_file_of(module)} holds no task, aggregator or workflow at its top level.")
    command = click.get_current_context().command
    texts = _texts(words, found, [option for p in command.params for option in p.opts if option.startswith("--")])
    return _Selection(module, found, texts, [])


def _select(target: str, words: Sequence[str], folder: str | None) -> _Selection:
    """Import a target and make its tasks; say what is left out, and stop if nothing is left."""
    selection = _open(target, words, folder)
    named = _split(target)[1] is not None
    for one in selection.found:
        reason = one.lacks(selection.texts)
        if not reason or (named and not reason.startswith("needs ")):
            selection.tasks += one.make(selection.texts)
        elif named:
            raise click.UsageError(f"{one.name} {reason}. Write: {target} {reason[6:].replace(',', ' VALUE')} VALUE")
        else:
            click.echo(f"left out: {one.name} ({reason})", err=True)
    selection.tasks = list(dict.fromkeys(selection.tasks))
    if not selection.tasks:
        raise _NothingSelected("Nothing to do is left: give the parameters above, or name one: TARGET:Name.")
    return selection


def _use_folder(folder: str | None) -> None:
    if folder is not None:
        d6tpipe.set_dir(folder)


# ---- commands

_TARGET_HELP = """

TARGET is module:Name, path/to/flow.py (all tasks, aggregators and workflows in it) or path/to/flow.py:Name.
Parameters follow it as --name value; put -- before one that is called like an option of this command.
"""


def _command(*, name: str) -> Callable[[Callable[..., Any]], Any]:
    """Declare a command that works on a TARGET with parameters."""

    def declare(function: Callable[..., Any]) -> Any:
        function.__doc__ = (function.__doc__ or "") + _TARGET_HELP
        function = click.option(
            "--dir", "folder", metavar="FOLDER", help="Data folder; beats what settings and the file say."
        )(function)
        function = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")(function)
        function = click.argument("target")(function)
        return group.command(name, context_settings={"ignore_unknown_options": True})(function)

    return declare


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(d6tpipe.__version__, prog_name="d6tpipe")
def group() -> None:
    """Build, look at and reset the tasks of a data pipeline.

    Exit codes: 0 ok, 1 a task failed, 2 usage or configuration, 3 the target cannot be imported, 4 the graph is
    invalid, 5 nothing selected.
    """


def _workers(context: click.Context, parameter: click.Parameter, value: str) -> int:
    if value != "1":
        raise click.BadParameter(f"{value!r}: this version runs one task at a time, so only 1 is allowed.")
    return 1


@_command(name="run")
@click.option("--force", is_flag=True, help="Build the selected tasks again even if they are complete.")
@click.option("--force-all", is_flag=True, help="Build them and all they require again.")
@click.option("--dry-run", is_flag=True, help="Say what would run; run and write nothing.")
@click.option("-x", "first", is_flag=True, help="Start nothing more after the first failure.")
@click.option("--max-failures", type=click.IntRange(min=1), help="Start nothing more after so many failures.")
@click.option("-n", "--workers", callback=_workers, default="1", show_default=True, help="Tasks at a time; 1 so far.")
def _run(
    target: str,
    words: tuple[str, ...],
    folder: str | None,
    force: bool,
    force_all: bool,
    dry_run: bool,
    first: bool,
    max_failures: int | None,
    workers: int,
) -> int:
    """Build what is missing of the selected tasks."""
    if first and max_failures is not None:
        raise click.UsageError("-x is --max-failures 1: give one of them.")
    selection = _select(target, words, folder)
    sys.stdout.flush()
    result = flow.run(
        selection.tasks,
        forced_all=force,
        forced_all_upstream=force_all,
        workers=workers,
        abort=False,
        execution_summary=False,
        dry_run=dry_run,
        progress=True,
        max_failures=1 if first else max_failures,
    )
    if dry_run:
        _print_plan(result)
        return OK
    _print_failures(result)
    click.echo(result.summary_text)
    return OK if result.ok else TASK_FAILED


def _print_plan(result: Any) -> None:
    todo = [task for task, state in result.states.items() if state is not State.FRESH]
    for task in todo:
        click.echo(f"would run  {task!r}")
    complete = len(result.states) - len(todo)
    click.echo(f"{len(todo)} would run, {complete} complete. A dry run: nothing was run or written.")


def _print_failures(result: Any) -> None:
    for failure in result.failures:
        click.echo(f"\n{failure.task!r} failed:", err=True)
        click.echo((failure.traceback or str(failure.error)).rstrip(), err=True)


@_command(name="list")
def _list(target: str, words: tuple[str, ...], folder: str | None) -> int:
    """List what can be run, with its parameters."""
    selection = _open(target, words, folder)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "kind", "parameters", "about"):
        table.add_column(column)
    for one in selection.found:
        parameters = " ".join(_described(n, p) for n, p in one.parameters.items())
        about = "; ".join(filter(None, [one.about, one.lacks(selection.texts)]))
        table.add_row(*[Text(cell) for cell in (one.name, one.kind, parameters, about)])
    _console().print(table)
    return OK


def _described(name: str, parameter: Any) -> str:
    option = _option(name)
    default = parameter.task_value("", name) if parameter.has_task_value("", name) else None
    try:
        return option if default is None else f"{option}={parameter.serialize(default)}"
    except (TypeError, ValueError, AttributeError):  # a default of a type that its own class cannot write
        return f"{option}={default!r}"


@_command(name="preview")
def _preview(target: str, words: tuple[str, ...], folder: str | None) -> int:
    """Print the tree of the selected tasks."""
    selection = _select(target, words, folder)
    flow.preview(selection.tasks)
    return OK


@_command(name="reset")
@click.option("--upstream", is_flag=True, help="Also everything the selected tasks require.")
@click.option("--downstream", is_flag=True, help="Also everything in the file that requires the selected tasks.")
@click.option("--yes", is_flag=True, help="Delete; without it this only says what would be deleted.")
def _reset(target: str, words: tuple[str, ...], folder: str | None, upstream: bool, downstream: bool, yes: bool) -> int:
    """Delete the outputs of the selected tasks."""
    selection = _select(target, words, folder)
    chosen = _to_reset(selection, upstream, downstream)
    doomed = [(task, output) for task in chosen for output in flatten(task.output()) if output.exists()]
    for task, output in doomed[:_SHOWN]:
        click.echo(f"{'delete' if yes else 'would delete'}  {getattr(output, 'path', repr(task))}")
    if len(doomed) > _SHOWN:
        click.echo(f"... and {len(doomed) - _SHOWN} more")
    tasks = list(dict.fromkeys(task for task, _ in doomed))
    amount = f"{len(doomed)} output{'s' * (len(doomed) != 1)} of {len(tasks)} task{'s' * (len(tasks) != 1)}"
    if not doomed:
        click.echo("Nothing to delete: none of the selected tasks has an output.")
    elif not yes:
        click.echo(f"{amount} would be deleted. Nothing was deleted: repeat with --yes.")
    else:
        for task in tasks:
            task.invalidate(confirm=False)
        click.echo(f"Deleted {amount}.")
    return OK


def _to_reset(selection: _Selection, upstream: bool, downstream: bool) -> list[Any]:
    """Return the tasks whose outputs may be deleted; never external ones, nobody here could make them again."""
    tasks = list(selection.tasks)
    if downstream:
        for one in _in_module(selection.module):
            if not one.lacks({}):
                tasks += one.make({})
    graph, goals, _ = flow.build_graph(list(dict.fromkeys(tasks)), judged=False)
    nodes = {}
    for task in selection.tasks:
        node = graph.find(task)
        if node is not None:
            members = node.needs if isinstance(task, d6tpipe.tasks.TaskAggregator) else [node]
            nodes.update(dict.fromkeys(members))
    start = list(nodes)
    if upstream:
        nodes.update(dict.fromkeys(graph.upstream(start)))
    if downstream:
        for goal in goals:
            nodes.update(dict.fromkeys(graph.between(start, goal)))
    return [
        node.task
        for node in nodes
        if hasattr(node.task, "invalidate")
        and not is_external(node.task)
        and not isinstance(node.task, d6tpipe.tasks.TaskAggregator)
    ]


@group.command("demo")
@click.option("--dir", "folder", default="d6tpipe-demo", show_default=True, metavar="FOLDER", help="Data folder.")
def _demo(folder: str) -> int:
    """Compare four models on real data, with and without preprocessing."""
    from d6tpipe import demo

    if os.path.exists(folder) and not os.path.isdir(folder):
        raise click.UsageError(f"--dir {folder} is a file, not a folder.")
    workflow = demo.workflow(folder)
    if not workflow.complete():
        demo.need_library()
    workflow.preview()
    sys.stdout.flush()
    result = workflow.run(abort=False, execution_summary=False, progress=True)
    if not result.ok:
        _print_failures(result)
        click.echo(result.summary_text)
        return TASK_FAILED
    rows = demo.scores(workflow)
    table = Table(title="How well each model predicts patients it has not seen", title_justify="left", box=None)
    for column in ("model", "do_preprocess", "R2", "+/-", "mean error"):
        table.add_column(column, justify="left" if column in ("model", "do_preprocess") else "right")
    for row in rows:
        numbers = f"{row['r2']:.3f}", f"{row['r2_spread']:.3f}", f"{row['mean_error']:.1f}"
        table.add_row(row["model"], str(row["do_preprocess"]), *numbers)
    _console().print(table)
    built = sum(1 for state in result.states.values() if state is State.BUILT)
    click.echo()
    if built:
        click.echo(f"{built} tasks were run in {result.seconds:.1f} s. Run it again: nothing will be left to do.")
    else:
        click.echo(f"Nothing to do: all {len(result.states)} tasks are complete, none was run.")
        again = f"d6tpipe reset d6tpipe.demo.flow:CompareModels --upstream --dir {folder} --yes"
        click.echo(f"To build them again: {again}")
    best = rows[0]
    click.echo(f"\nThe outputs are in {os.path.join(folder, '')}. To load the best model in Python:\n")
    click.echo("    import d6tpipe")
    click.echo("    from d6tpipe.demo.flow import Train")
    click.echo(f"    d6tpipe.set_dir({folder!r})")
    click.echo(f"    Train(model={best['model']!r}, do_preprocess={best['do_preprocess']}).outputLoad()")
    return OK


def _console() -> Console:
    # Not a terminal: tables at their natural width, since whoever reads them later can scroll.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 400)


# ---- the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; those of the process if not given.
    """
    # Failures are printed whole at the end; the log would print them a second time, in the middle of the progress.
    logging.getLogger("d6tpipe").addHandler(logging.NullHandler())
    try:
        words = None if arguments is None else list(arguments)
        code = group.main(args=words, prog_name="d6tpipe", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except BrokenPipeError:  # d6tpipe list flow.py | head -1
        # Else Python complains when it flushes at the end. The code is the one that click gives.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nInterrupted: what was built stays, running again does the rest.", err=True)
        return INTERRUPTED
    except PipeError as error:
        click.echo(error, err=True)
        if error.__cause__ is not None and not isinstance(error.__cause__, (PipeError, ImportError)):
            click.echo(_users_traceback(error.__cause__).rstrip(), err=True)
        return _code_of(error)


def _code_of(error: PipeError) -> int:
    if isinstance(error, (ParameterError, SettingsError, PluginError)):
        return USAGE
    if isinstance(error, (GraphError, DeclarationError)):
        return GRAPH_INVALID
    return TASK_FAILED
