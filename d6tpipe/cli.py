"""The command ``d6tpipe``: a thin skin over `flow`. What its TARGET means is found out in `cli_target`.

Exit codes: 0 ok, 1 a task failed, 2 usage or configuration, 3 the target cannot be imported, 4 the graph is invalid,
5 nothing selected; 130 interrupted by Ctrl-C, as shells have it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from luigi.task import flatten
from rich.console import Console
from rich.table import Table
from rich.text import Text

import d6tpipe
from d6tpipe import flow
from d6tpipe.cli_target import Selection, in_module, open_target, option_of, select_tasks, users_traceback
from d6tpipe.errors import (
    DeclarationError,
    GraphError,
    ParameterError,
    PipeError,
    PluginError,
    SettingsError,
)
from d6tpipe.interfaces import State
from d6tpipe.tasks.external import is_external

__all__ = ["main"]

OK, TASK_FAILED, USAGE, GRAPH_INVALID = 0, 1, 2, 4  # `cli_target` has 3 and 5
INTERRUPTED = 130

_SHOWN = 20  # how many lines of a list are printed before "and so many more"


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
    selection = select_tasks(target, words, folder)
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
    selection = open_target(target, words, folder)
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
    option = option_of(name)
    default = parameter.task_value("", name) if parameter.has_task_value("", name) else None
    try:
        return option if default is None else f"{option}={parameter.serialize(default)}"
    except (TypeError, ValueError, AttributeError):  # a default of a type that its own class cannot write
        return f"{option}={default!r}"


@_command(name="preview")
def _preview(target: str, words: tuple[str, ...], folder: str | None) -> int:
    """Print the tree of the selected tasks."""
    selection = select_tasks(target, words, folder)
    flow.preview(selection.tasks)
    return OK


@_command(name="reset")
@click.option("--upstream", is_flag=True, help="Also everything the selected tasks require.")
@click.option("--downstream", is_flag=True, help="Also everything in the file that requires the selected tasks.")
@click.option("--yes", is_flag=True, help="Delete; without it this only says what would be deleted.")
def _reset(target: str, words: tuple[str, ...], folder: str | None, upstream: bool, downstream: bool, yes: bool) -> int:
    """Delete the outputs of the selected tasks."""
    selection = select_tasks(target, words, folder)
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


def _to_reset(selection: Selection, upstream: bool, downstream: bool) -> list[Any]:
    """Return the tasks whose outputs may be deleted; never external ones, nobody here could make them again."""
    tasks = list(selection.tasks)
    if downstream:
        for one in in_module(selection.module):
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
            click.echo(users_traceback(error.__cause__).rstrip(), err=True)
        return _code_of(error)


def _code_of(error: PipeError) -> int:
    if isinstance(error, (ParameterError, SettingsError, PluginError)):
        return USAGE
    if isinstance(error, (GraphError, DeclarationError)):
        return GRAPH_INVALID
    return TASK_FAILED
