"""The commands that look at records and change what is stored: results, log, accept, reset, clean."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click
from luigi.task import flatten

import d6tpipe
from d6tpipe import settings
from d6tpipe.acceptance import Survey, meant, survey
from d6tpipe.catalogs import catalog, removal
from d6tpipe.cli_shared import OK, SHOWN, command, folder_option, group, print_table, selecting, selection_asked
from d6tpipe.cli_target import Selection, import_from_here, in_module, select_tasks
from d6tpipe.errors import NothingSelectedError, shown
from d6tpipe.graphs import build_graph
from d6tpipe.identity import nearest
from d6tpipe.labels import ids_of
from d6tpipe.removal import in_bytes
from d6tpipe.selection import select_among
from d6tpipe.tables import cell_text, table
from d6tpipe.tasklogs import log
from d6tpipe.tasks.external import is_external
from d6tpipe.wording import Words, clipped, named
from d6tpipe.workflows import WorkflowMulti

__all__: list[str] = []

_ROWS = 50


# ---- results


@group.command("results", context_settings={"ignore_unknown_options": True})
@click.argument("target", required=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")
@folder_option
@selecting
@click.option(
    "--sort", metavar="COLUMN", help="Largest numbers first, texts from A to Z; -COLUMN: the other way round."
)
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--family", metavar="NAME", help="Only tasks of this class.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=_ROWS, show_default=True, help="Rows of the table; 0: all."
)
def _results(
    target: str | None,
    words: tuple[str, ...],
    folder: str | None,
    style: str,
    family: str | None,
    limit: int,
    sort: str | None,
) -> int:
    """Without a TARGET: list what is recorded in the data folder, the latest first.

    With one: a table of its tasks, with their parameters, metrics (saveMeta), state and duration. TARGET is
    module:Name, path/to/flow.py or path/to/flow.py:Name.
    """
    if target is not None:
        return _table_of(target, words, folder, style, family, limit, sort)
    if any(word is not None for word in selection_asked()):
        raise click.UsageError("-k and -m select among the tasks of a TARGET, and none is given.")
    root = folder or os.fspath(settings.dirpath)
    frame = _sorted(catalog(root, family), sort)
    if style == "json":
        click.echo(frame.to_json(orient="records", date_format="iso", indent=2))
    elif style == "csv":
        for column in ("parameters", "outputs"):
            frame[column] = frame[column].map(json.dumps)
        click.echo(frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n"), nl=False)
    elif len(frame):
        most = limit or len(frame)
        print_table(
            ["built (UTC)", "task", "state", "seconds", "size", "output"],
            [_result_row(row, root) for row in frame.head(most).itertuples()],
            right=("seconds", "size"),
        )
        if len(frame) > most:
            click.echo(f"... and {len(frame) - most} more: --limit 0 shows all.")
    else:
        there = "" if os.path.isdir(root) else " (there is no such folder)"
        of = f" of tasks {family}" if family else ""
        click.echo(f"Nothing is recorded{of} in {root}{there}. Another data folder: --dir FOLDER.")
    return OK


def _table_of(
    target: str,
    words: tuple[str, ...],
    folder: str | None,
    style: str,
    family: str | None,
    limit: int,
    sort: str | None,
) -> int:
    """Print the table of the tasks of a TARGET."""
    if target.startswith("-"):
        raise click.NoSuchOption(target.partition("=")[0])
    selection = select_tasks(target, words, folder, narrow=False)
    index, names, tasks = _rows_of(selection)
    chosen: Sequence[int] = range(len(tasks))
    select, marks = selection_asked()
    if select is not None or marks is not None:
        chosen = select_among(tasks, select, marks)
    chosen = [number for number in chosen if family in (None, tasks[number].task_family)]
    if not chosen:
        kinds = ", ".join(sorted({task.task_family for task in tasks}))
        raise NothingSelectedError(
            f"No task of {target} is a {family}", facts={"classes": kinds}, hint="Name one of these: --family NAME."
        )
    frame = _sorted(table({names[number]: tasks[number] for number in chosen}, index), sort)
    if style == "json":
        click.echo(frame.reset_index().to_json(orient="records", date_format="iso", indent=2))
    elif style == "csv":
        click.echo(frame.to_csv(lineterminator="\n"), nl=False)
    else:
        most = limit or len(frame)
        numbers = tuple([str(name) for name in frame.columns if frame[name].dtype.kind in "iuf"])
        rows = [
            [clipped(str(name)), *[clipped(cell_text(value)) for value in row]]
            for name, row in zip(frame.index[:most], frame.head(most).itertuples(index=False), strict=True)
        ]
        print_table([index, *map(str, frame.columns)], rows, right=numbers)
        if len(frame) > most:
            click.echo(f"... and {len(frame) - most} more: --limit 0 shows all.")
    return OK


def _rows_of(selection: Selection) -> tuple[str, list[Any], list[Any]]:
    """Return what the rows are called, their names, and their tasks; aggregators are those that they stand for."""
    first = selection.found[0]
    thing = vars(selection.module).get(first.name)
    if isinstance(thing, WorkflowMulti) and len(selection.found) == 1:
        return "flow", list(thing.workflow_objs), first.make(selection.texts)
    tasks = _members(selection.tasks)
    names = [ids_of(task)[-1] if ids_of(task) else "" for task in tasks]
    if all(names) and len(set(names)) == len(names):
        return "id", names, tasks
    names = [shown(task) for task in tasks]
    if len(set(names)) < len(names):  # the same but for the data folder, or for a parameter that is not shown
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return "task", names, tasks


def _members(tasks: list[Any]) -> list[Any]:
    """Return tasks, with those that aggregators stand for in the place of these."""
    if not any(isinstance(task, d6tpipe.tasks.TaskAggregator) for task in tasks):
        return tasks
    graph, goals, view = build_graph(tasks, judged=False)
    return [node.task for node in meant(graph, goals, view, upstream=False)]


def _sorted(frame: Any, column: str | None) -> Any:
    """Return a table sorted by a column: numbers and dates from the largest on, texts from A on; "-": the other way."""
    if column is None:
        return frame
    known = list(map(str, frame.columns))
    name = column if column in known else column.removeprefix("-")
    if name not in known:
        near = nearest(name, known)
        also = f"Did you mean {near}? " if near else ""
        raise click.UsageError(f"--sort {column}: there is no such column. {also}It has: {', '.join(known)}.")
    values = frame[name]
    if values.dtype.kind not in "biufmM":
        values = values.map(str, na_action="ignore")
    rising = (values.dtype.kind not in "biufmM") == (name == column)
    return frame.loc[values.sort_values(ascending=rising, kind="stable").index]


def _result_row(row: Any, root: str) -> list[str]:
    known = row.built == row.built  # NaT is not
    if row.error:
        about = clipped(row.error)
    elif not row.outputs:
        about = ""
    else:
        more = f" and {len(row.outputs) - 1} more" if len(row.outputs) > 1 else ""
        about = os.path.join(root, row.outputs[0]) + more
        if not row.exists:
            about = f"gone: {about}"
    return [
        f"{row.built:%Y-%m-%d %H:%M:%S}" if known else "",
        clipped(f"{row.family}({', '.join([f'{name}={value}' for name, value in row.parameters.items()])})"),
        row.state,
        f"{row.seconds:.2f}" if known and row.state != "accepted" else "",
        in_bytes(row.bytes) if row.bytes else "",
        about,
    ]


# ---- log


@command(name="log")
def _log(target: str, words: tuple[str, ...], folder: str | None) -> int:
    """Print what the selected tasks have printed, warned and logged when they ran last."""
    tasks = select_tasks(target, words, folder).tasks
    found = [(task, text) for task in tasks if (text := log(task))]
    for number, (task, text) in enumerate(found):
        if len(tasks) > 1:
            click.echo(f"{chr(10) * bool(number)}===== {named(task)} =====")
        click.echo(text, nl=False)
    if not found:
        which = named(tasks[0]) if len(tasks) == 1 else f"these {len(tasks)} tasks"
        click.echo(f"Nothing is known to have been printed by {which}.", err=True)
    return OK


# ---- accept


@command(name="accept")
@click.option("--no-upstream", is_flag=True, help="Only the selected tasks, not what they require.")
@click.option("--yes", is_flag=True, help="Record it; without it this only says what would be accepted.")
def _accept(target: str, words: tuple[str, ...], folder: str | None, no_upstream: bool, yes: bool) -> int:
    """Record outputs as valid as they are.

    Those of the selected tasks and of all they require; nothing is run. What is not there cannot be accepted.
    """
    selection = select_tasks(target, words, folder)
    found = survey(selection.tasks, upstream=not no_upstream)
    verb, reasons = "accepted" if yes else "would accept", Words()
    lines = [f"{verb}  {named(node.task)}  ({reasons.of(node) or 'other data upstream'})" for node in found.nodes]
    if yes:
        found.write()
    _print_some(lines)
    _print_some([f"cannot accept  {named(node.task)}  ({why})" for node, why in found.left])
    click.echo(_accepted(found, yes))
    return OK


def _accepted(found: Survey, yes: bool) -> str:
    rest = [f"{found.fresh} fresh"] if found.fresh else []
    rest += [f"{len(found.left)} to be built"] if found.left else []
    also = f" ({', '.join(rest)})" if rest else ""
    if not found.nodes:
        return f"Nothing to accept{also}."
    one = len(found.nodes) == 1
    tasks, as_is = ("1 task", "as it is") if one else (f"{len(found.nodes)} tasks", "as they are")
    if yes:
        return f"Accepted {tasks} {as_is}{also}."
    return f"{tasks} would be accepted {as_is}{also}. Nothing was recorded: repeat with --yes."


def _print_some(lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        click.echo(line)
    if len(lines) > SHOWN:
        click.echo(f"... and {len(lines) - SHOWN} more")


# ---- clean


@group.command("clean")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@folder_option
@click.option("--yes", is_flag=True, help="Delete; without it this only says what would be deleted.")
def _clean(targets: tuple[str, ...], folder: str | None, yes: bool) -> int:
    """Delete orphans: recorded outputs that no known flow produces.

    The TARGETs say which flows use the data folder: name all of them, what is made by none is an orphan. Without a
    TARGET only what cannot be made any more is one: its class is gone from its module, or does not take its
    parameters any more.

    Files without a record, external data, and files that have been changed since they were recorded are never deleted.
    """
    import_from_here()
    if folder is not None:
        d6tpipe.set_dir(folder)
    tasks = [task for target in targets for task in select_tasks(target, (), folder).tasks]
    found = removal(tasks if targets else None)
    if yes:
        found.carry_out()
    for line in found.lines("deleted" if yes else "would delete", SHOWN):
        click.echo(line)
    kept = f" {len(found.staying)} {'was' if yes else 'would be'} kept." if found.staying else ""
    if not found.going:
        click.echo(f"Nothing to delete.{kept}")
    elif yes:
        click.echo(f"Deleted {found.amount()}.{kept}")
    else:
        click.echo(f"{found.amount()} would be deleted.{kept} Nothing was deleted: repeat with --yes.")
    if not targets and found.staying:
        click.echo("To say which flows there are: d6tpipe clean TARGET...")
    return OK


# ---- reset


@command(name="reset")
@click.option("--upstream", is_flag=True, help="Also everything the selected tasks require.")
@click.option("--downstream", is_flag=True, help="Also everything in the file that requires the selected tasks.")
@click.option("--yes", is_flag=True, help="Delete; without it this only says what would be deleted.")
def _reset(target: str, words: tuple[str, ...], folder: str | None, upstream: bool, downstream: bool, yes: bool) -> int:
    """Delete the outputs of the selected tasks.

    -k and -m select among the tasks of TARGET themselves, not among what they require.
    """
    selection = select_tasks(target, words, folder, narrow=False)
    select, marks = selection_asked()
    if select is not None or marks is not None:
        tasks = _members(selection.tasks)
        selection.tasks = [tasks[number] for number in select_among(tasks, select, marks)]
    chosen = _to_reset(selection, upstream, downstream)
    doomed = [(task, output) for task in chosen for output in flatten(task.output()) if output.exists()]
    _print_some(
        [f"{'delete' if yes else 'would delete'}  {getattr(output, 'path', repr(task))}" for task, output in doomed]
    )
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
    graph, goals, _ = build_graph(list(dict.fromkeys(tasks)), judged=False)
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
