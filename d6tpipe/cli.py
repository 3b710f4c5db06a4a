"""The command ``d6tpipe``: a thin skin over `flow`. What its TARGET means is found out in `cli_target`.

Exit codes: 0 ok, 1 a task failed, 2 usage or configuration, 3 the target cannot be imported, 4 the graph is invalid,
5 nothing selected; 130 interrupted by Ctrl-C, 143 stopped by SIGTERM, as shells have it.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from d6tpipe import cli_records, flow, settings  # the first for the commands it adds
from d6tpipe.capture import SHOW_CAPTURE
from d6tpipe.cli_shared import OK, SHOWN, command, console, group, print_table, selection_asked, staleness
from d6tpipe.cli_target import NOTHING_SELECTED, open_target, option_of, select_tasks, users_traceback
from d6tpipe.engine.graph import Node
from d6tpipe.errors import (
    DeclarationError,
    ExpressionError,
    GraphError,
    NothingSelectedError,
    ParameterError,
    PipeError,
    PluginError,
    SettingsError,
    shown,
    told,
)
from d6tpipe.examiner import Examiner
from d6tpipe.executors.serial import SerialExecutor
from d6tpipe.explanations import explain
from d6tpipe.graphs import build_graph
from d6tpipe.interfaces import Event, EventKind, ReasonKind, Standing, State
from d6tpipe.plans import plan
from d6tpipe.policy import Policy
from d6tpipe.selection import narrowed
from d6tpipe.trees import grouped_text, tree_text
from d6tpipe.wording import Words, named

__all__ = ["cli_records", "main"]

TASK_FAILED, USAGE, GRAPH_INVALID = 1, 2, 4  # `cli_target` has 3 and 5
INTERRUPTED, TERMINATED = 130, 143


# ---- commands


def _workers(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    if value is None:
        return None
    return settings.worker_count(int(value) if value.isdecimal() else value, "-n")


@command(name="run")
@staleness
@click.option("--force", is_flag=True, help="Build the selected tasks again even if they are complete.")
@click.option("--force-all", is_flag=True, help="Build them and all they require again.")
@click.option("--dry-run", is_flag=True, help="Say what would run and why; run and write nothing.")
@click.option("--explain", "explained", is_flag=True, help="The same at length: what has changed, and since when.")
@click.option("-x", "first", is_flag=True, help="Start nothing more after the first failure.")
@click.option("--max-failures", type=click.IntRange(min=1), help="Start nothing more after so many failures.")
@click.option("-n", "--workers", "--n-workers", callback=_workers, help="How many tasks at once: a number, or auto.")
@click.option("--executor", help="Where they run: serial, threads, processes, loky, dask, ray, dask://host:8786 ...")
@click.option("--scheduler", metavar="URL", help="A luigid that shows the run, such as http://localhost:8082.")
@click.option("--claim", is_flag=True, help="Share the tasks with other machines; the scheduler says who runs what.")
@click.option("--pdb", "debug", is_flag=True, help="Stop in the debugger where a task fails; runs them one by one.")
@click.option("--trace", is_flag=True, help="Stop in the debugger where a task begins; runs them one by one.")
@click.option("--show-locals", is_flag=True, help="Tracebacks show the variables in each frame.")
@click.option(
    "--show-capture",
    type=click.Choice(SHOW_CAPTURE),
    help="What of the output of failed tasks is shown at the end; by default all.",
)
def _run(
    target: str,
    words: tuple[str, ...],
    folder: str | None,
    policy: Mapping[str, Any],
    force: bool,
    force_all: bool,
    dry_run: bool,
    explained: bool,
    first: bool,
    max_failures: int | None,
    workers: int | str | None,
    executor: str | None,
    scheduler: str | None,
    claim: bool,
    debug: bool,
    trace: bool,
    show_locals: bool,
    show_capture: str | None,
) -> int:
    """Build what is missing of the selected tasks."""
    if first and max_failures is not None:
        raise click.UsageError("-x is --max-failures 1: give one of them.")
    alone = debug or trace
    if alone and (workers not in (None, 1) or executor not in (None, "serial")):
        word = "--pdb" if debug else "--trace"
        raise click.UsageError(f"{word} runs the tasks one by one in this process: give no other -n or --executor.")
    if show_locals:
        settings.show_locals = True
    watchers: list[Callable[[Event], Any]] = [*([_debug] if debug else []), *([_Tracer()] if trace else [])]
    selection = select_tasks(target, words, folder, narrow=False)
    select, marks = selection_asked()
    sys.stdout.flush()
    result = flow.run(
        selection.members,
        select=select,
        marks=marks,
        forced_all=force,
        forced_all_upstream=force_all,
        workers=1 if alone else workers,
        executor=SerialExecutor(debugging=True) if alone else executor,
        callbacks=watchers or None,
        scheduler=scheduler,
        claim=claim,
        abort=False,
        execution_summary=False,
        dry_run=dry_run or explained,
        progress=not alone,
        max_failures=1 if first or (trace and max_failures is None) else max_failures,
        show_capture=show_capture,
        **policy,
    )
    if dry_run or explained:
        if explained:
            _print_explanations(narrowed(selection.tasks, select, marks), policy)
            click.echo()
        _print_plan(result._nodes)
        return OK
    _print_failures(result)
    click.echo(result.summary_text)
    return OK if result.ok else TASK_FAILED


def _debug(event: Event) -> None:
    """Open the debugger at the frame in which a body has failed."""
    if event.kind is not EventKind.FAILED or event.error is None:
        return
    click.echo(f"\n{shown(event.task)} failed: {told(event.error)}")
    if event.error.__traceback__ is None:
        click.echo("There is no frame to look at: nothing was raised here.")
        return
    import pdb

    pdb.post_mortem(event.error.__traceback__)


class _Tracer:
    """Opens the debugger at the first line of each body; to leave it ends the run."""

    def __init__(self) -> None:
        import pdb

        self._debugger = pdb.Pdb(nosigint=True)

    def __call__(self, event: Event) -> None:
        if event.kind is not EventKind.STARTED:
            sys.settrace(None)
            return
        run = type(event.task).run
        code = inspect.unwrap(getattr(run, "_d6tpipe_wraps", run)).__code__
        click.echo(f"\n{shown(event.task)} begins")
        self._debugger.reset()
        self._debugger.clear_all_breaks()
        self._debugger.set_break(code.co_filename, code.co_firstlineno, True, None, code.co_name)
        self._debugger.botframe = sys._getframe()  # else it stops at once
        self._debugger.set_continue()
        sys.settrace(self._debugger.trace_dispatch)


def _print_plan(nodes: Sequence[Node]) -> None:
    """Print what a run would do, a line for each task that is not fresh."""
    words, counts, lines = Words(), dict.fromkeys(("would run", "may run", "stale", "frozen", "complete"), 0), []
    for node in nodes:
        word = _fate(node)
        if word:
            counts[word] += 1
            if word != "complete":
                lines.append((word, named(node.task), words.of(node)))
    width = max([len(word) for word, _, _ in lines], default=0)
    for word, task, why in lines:
        click.echo(f"{word:<{width}}  {task}  {why}".rstrip())
    told = [f"{count} {word}" for word, count in counts.items() if count or word in ("would run", "complete")]
    if counts["may run"]:
        click.echo('"may run": only if what it needs comes out differently.')
    click.echo(f"{', '.join(told)}. A dry run: nothing was run or written.")


def _fate(node: Node) -> str:
    """Return in a word or two what a run would make of a node; empty for what it does not look at."""
    if node.state is State.PENDING:
        forced = any([reason.kind is ReasonKind.FORCED for reason in node.reasons])
        return "may run" if node.standing is Standing.FRESH and not forced else "would run"
    if node.state is State.STALE or node.state is State.FROZEN:
        return str(node.state)
    return "" if node.state is None else "complete"


def _print_failures(result: Any) -> None:
    for failure in result.failures:
        click.echo(f"\n{shown(failure.task)} failed:", err=True)
        click.echo((failure.traceback or str(failure.error)).rstrip(), err=True)


@command(name="list")
def _list(target: str, words: tuple[str, ...], folder: str | None) -> int:
    """List what can be run, with its parameters; with -k or -m the tasks that these select."""
    if any(word is not None for word in selection_asked()):
        for task in select_tasks(target, words, folder).tasks:
            click.echo(named(task))
        return OK
    selection = open_target(target, words, folder)
    rows = []
    for one in selection.found:
        parameters = " ".join(_described(n, p) for n, p in one.parameters.items())
        about = "; ".join(filter(None, [one.about, one.lacks(selection.texts)]))
        rows.append([one.name, one.kind, parameters, about])
    print_table(["name", "kind", "parameters", "about"], rows)
    return OK


def _described(name: str, parameter: Any) -> str:
    option = option_of(name)
    default = parameter.task_value("", name) if parameter.has_task_value("", name) else None
    try:
        return option if default is None else f"{option}={parameter.serialize(default)}"
    except (TypeError, ValueError, AttributeError):  # a default of a type that its own class cannot write
        return f"{option}={default!r}"


@command(name="preview")
@staleness
def _preview(target: str, words: tuple[str, ...], folder: str | None, policy: Mapping[str, Any]) -> int:
    """Print the tree of the selected tasks."""
    selection = select_tasks(target, words, folder)
    if not any(policy.values()):
        flow.preview(selection.tasks)
        return OK
    _, goals, view = build_graph(selection.tasks, examiner=Examiner(Policy(**policy)))
    if len(goals) > SHOWN:
        click.echo(grouped_text(goals, mode=view.mode))
        return OK
    for goal in goals:
        click.echo(tree_text(goal, mode=view.mode))
    return OK


@command(name="plan")
@staleness
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
def _plan(target: str, words: tuple[str, ...], folder: str | None, policy: Mapping[str, Any], style: str) -> int:
    """Print what a run would do with each task, and why.

    The selected tasks and all they require, one row each, in the order of building.
    """
    selection = select_tasks(target, words, folder)
    frame = plan(selection.tasks, **policy)
    if style == "json":
        click.echo(frame.to_json(orient="records", indent=2))
    elif style == "csv":
        click.echo(frame.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        columns = ["task", "state", "reasons", "because_of"]
        print_table(["task", "state", "reasons", "because of"], frame[columns].values.tolist())
    return OK


@command(name="explain")
@click.option("--stale", type=click.Choice(["ignore", "warn", "rerun"]), help="Answer for a run with this mode.")
def _explain(target: str, words: tuple[str, ...], folder: str | None, stale: str | None) -> int:
    """Say why the selected tasks are stale or to be built.

    What has changed, root cause first, and what to do about it.
    """
    _print_explanations(select_tasks(target, words, folder).tasks, {"stale": stale})
    return OK


def _print_explanations(tasks: Sequence[Any], policy: Mapping[str, Any]) -> None:
    for number, task in enumerate(tasks[:SHOWN]):
        click.echo(f"{chr(10) * bool(number)}{explain(task, stale=policy['stale'])}")
    if len(tasks) > SHOWN:
        click.echo(f"\n... and {len(tasks) - SHOWN} more: name one, TARGET:Name.")


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
    console().print(table)
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
    except SystemExit as ended:
        if ended.code == TERMINATED:  # by the run, which has wound down
            click.echo("\nTerminated: what was built stays, running again does the rest.", err=True)
        raise
    except PipeError as error:
        click.echo(error, err=True)
        if error.__cause__ is not None and not isinstance(error.__cause__, (PipeError, ImportError)):
            click.echo(users_traceback(error.__cause__).rstrip(), err=True)
        return _code_of(error)


def _code_of(error: PipeError) -> int:
    if isinstance(error, NothingSelectedError):
        return NOTHING_SELECTED
    if isinstance(error, ExpressionError):
        return GRAPH_INVALID
    if isinstance(error, (ParameterError, SettingsError, PluginError)):
        return USAGE
    if isinstance(error, (GraphError, DeclarationError)):
        return GRAPH_INVALID
    return TASK_FAILED
