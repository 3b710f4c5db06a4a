"""What the commands of ``d6tpipe`` share: the group they belong to, how one is declared, how tables are printed."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import d6tpipe

__all__ = [
    "OK", "SHOWN", "command", "console", "folder_option", "group", "print_table", "selecting", "selection_asked",
    "staleness",
]  # fmt: skip

OK = 0
SHOWN = 20  # how many lines of a list are printed before "and so many more"

_TARGET_HELP = """

TARGET is module:Name, path/to/flow.py (all tasks, aggregators and workflows in it) or path/to/flow.py:Name.
Parameters follow it as --name value; put -- before one that is called like an option of this command.
"""

folder_option = click.option(
    "--dir", "folder", metavar="FOLDER", help="Data folder; beats what settings and the file say."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(d6tpipe.__version__, prog_name="d6tpipe")
def group() -> None:
    """Build, look at and reset the tasks of a data pipeline.

    Exit codes: 0 ok, 1 a task failed, 2 usage or configuration, 3 the target cannot be imported, 4 the graph is
    invalid, 5 nothing selected.
    """


def command(*, name: str) -> Callable[[Callable[..., Any]], Any]:
    """Declare a command that works on a TARGET with parameters."""

    def declare(function: Callable[..., Any]) -> Any:
        function.__doc__ = inspect.cleandoc(function.__doc__ or "") + _TARGET_HELP
        function = selecting(folder_option(function))
        function = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")(function)
        function = click.argument("target")(function)
        return group.command(name, context_settings={"ignore_unknown_options": True})(function)

    return declare


_SELECTION = "d6tpipe.selection"


def selecting(function: Callable[..., Any]) -> Any:
    """Declare -k and -m; `selection_asked` has what they say."""

    def note(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        context.meta[f"{_SELECTION}.{parameter.name}"] = value

    marks = click.option(
        "-m", "marks", metavar="EXPR", expose_value=False, callback=note,
        help='Only tasks with marks: "costly and not slow".',
    )  # fmt: skip
    select = click.option(
        "-k", "select", metavar="EXPR", expose_value=False, callback=note,
        help='Only tasks that this selects, with what they need: "logistic and data_0", "lr>=0.1", "@state=failed".',
    )  # fmt: skip
    return select(marks(function))


def selection_asked() -> tuple[str | None, str | None]:
    """Return the expressions of -k and -m of the command that runs; None: not given."""
    meta = click.get_current_context().meta
    return meta.get(f"{_SELECTION}.select"), meta.get(f"{_SELECTION}.marks")


def staleness(function: Callable[..., Any]) -> Any:
    """Declare what is to be done about stale tasks; the function gets it as `policy`, options of ``flow.run``."""

    @click.option(
        "--stale",
        type=click.Choice(["ignore", "warn", "rerun"]),
        help="Tasks that are complete but have changed since: leave them, name them, build them again.",
    )
    @click.option(
        "--freeze",
        multiple=True,
        metavar="EXPR",
        help="Accept outputs as they are. EXPR: part of a task as it is shown.",
    )
    @click.option("--no-freeze", is_flag=True, help="Classes that are frozen are not, this time.")
    @click.option("--stale-ok", multiple=True, metavar="EXPR", help="Use outputs of stale tasks, this time only.")
    @functools.wraps(function)
    def with_policy(
        *arguments: Any,
        stale: str | None,
        freeze: tuple[str, ...],
        no_freeze: bool,
        stale_ok: tuple[str, ...],
        **options: Any,
    ) -> Any:
        policy = {
            "stale": stale,
            "freeze": list(freeze) or None,
            "no_freeze": no_freeze,
            "stale_ok": list(stale_ok) or None,
        }
        return function(*arguments, policy=policy, **options)

    return with_policy


def console() -> Console:
    """Return where tables are printed."""
    # Not a terminal: tables at their natural width, since whoever reads them later can scroll.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 400)


def print_table(columns: list[str], rows: list[list[str]], right: tuple[str, ...] = ()) -> None:
    """Print plain text in columns; those named in `right` are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    terminal = console()
    with terminal.capture() as printed:
        terminal.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())
