"""Report cards: figures, tables and notes that bodies leave for a reader, numbered files in the folder of the job."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from d6tpipe import plugins
from d6tpipe.errors import ParameterError
from d6tpipe.tasks.outputs import job_folder

__all__ = ["Card", "cards", "write_card"]

_FOLDER = "report"
_MOST_ROWS = 1_000
_LONGEST_TITLE = 100  # characters, of at most 2 bytes in most scripts: a file name may have 255
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_CARD = re.compile(r"(\d{2,})(?:-(.*))?\.(png|html|md)", re.DOTALL)
_HTML = '<meta charset="utf-8">\n'


class Card(NamedTuple):
    """One report card.

    Attributes
    ----------
    number : int
        From 1, in the order in which the body has made them.
    title : str
        As far as a file name can hold it; empty if there is none.
    kind : {"png", "html", "md"}
    path : pathlib.Path
    """

    number: int
    title: str
    kind: str
    path: Path


def cards(task: Any) -> list[Card]:
    """Return the report cards of a task in the order in which its body has made them; nothing is made on disk."""
    return _cards_in(Path(job_folder(task)) / _FOLDER)


def _cards_in(folder: Path) -> list[Card]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [(match, folder / name) for name in names if (match := _CARD.fullmatch(name))]
    return sorted([Card(int(match[1]), match[2] or "", match[3], path) for match, path in found])


def write_card(task: Any, folder: Path, obj: Any, title: str | None = None) -> Path:
    """Write one card into the folder of a job; see `jobs.Job.report`."""
    if title is not None and not isinstance(title, str):
        raise ParameterError(
            "The title of a report card is text",
            task=task,
            facts={"got": repr(title)},
            hint='Write self.job.report(figure, "Loss").',
        )
    kind, put = _form_of(task, obj)
    place = folder / _FOLDER
    number = max([card.number for card in _cards_in(place)], default=0) + 1
    safe = _UNSAFE.sub("_", title or "").strip()[:_LONGEST_TITLE].encode("utf-8", "replace").decode()
    path = place / f"{number:02}{'-' if safe else ''}{safe}.{kind}"
    plugins.load("files", "local").write_stream(str(path), put)
    return path


def _form_of(task: Any, obj: Any) -> tuple[str, Callable[[Any], Any]]:
    """Return the kind of file for an object, and what writes it to a stream."""
    if isinstance(obj, str):
        return "md", _text(obj)
    if _is_a(obj, "matplotlib.axes", "Axes"):
        obj = obj.figure
    if _is_a(obj, "matplotlib.figure", "Figure"):
        return "png", lambda sink: obj.savefig(sink, format="png", bbox_inches="tight")
    if _is_a(obj, "pandas", "Series"):
        obj = obj.to_frame()
    if _is_a(obj, "pandas", "DataFrame"):
        return "html", _text(_HTML + _table(obj))
    shows = None if isinstance(obj, type) else getattr(obj, "_repr_html_", None)
    html = shows() if callable(shows) else None  # None also where it can do so, but not now
    if isinstance(html, str):
        return "html", _text(_HTML + html)
    raise ParameterError(
        "report() does not know how to show this",
        task=task,
        facts={"got": f"{type(obj).__module__}.{type(obj).__qualname__}"},
        hint="Give a matplotlib figure, a pandas DataFrame or Series, Markdown as text, or an object with _repr_html_.",
    )


def _is_a(obj: Any, module: str, name: str) -> bool:
    """Return whether an object is of a class, without importing its module: it is there if there is such an object."""
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(obj, cls)


def _table(frame: Any) -> str:
    table: str = frame.head(_MOST_ROWS).to_html()
    rows = len(frame)
    return f"{table}\n<p>The first {_MOST_ROWS:,} of {rows:,} rows</p>" if rows > _MOST_ROWS else table


def _text(text: str) -> Callable[[Any], Any]:
    data = text.encode("utf-8", "backslashreplace")
    return lambda sink: sink.write(data)
