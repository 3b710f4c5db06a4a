"""Report cards: what bodies show of themselves with ``self.job.report(figure)``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from d6tpipe import plugins
from d6tpipe.errors import ParameterError
from d6tpipe.tasks.outputs import job_folder

__all__ = ["FOLDER", "cards_of", "put"]

FOLDER = "report"
"""In the folder of a job."""

_MOST_ROWS = 1000


def put(task: Any, place: Path, content: Any, title: str | None) -> Path:
    """Write a report card into the folder of a job, and return its path; see `jobs.Job.report`."""
    folder = place / FOLDER
    number = len(os.listdir(folder)) + 1 if folder.is_dir() else 1
    words = re.sub(r"[^\w]+", "-", title or "").strip("-").lower()[:60]
    start = f"{number:02d}-{words}" if words else f"{number:02d}"
    files = plugins.load("files", "local")
    folder.mkdir(parents=True, exist_ok=True)
    figure = _figure(content)
    if figure is not None:
        path = folder / f"{start}.png"
        files.write(str(path), lambda temporary: figure.savefig(temporary, format="png", bbox_inches="tight"))
        return path
    text, suffix = _text(content, title)
    if text is None:
        raise ParameterError(
            "report() does not know how to show this",
            task=task,
            facts={"got": f"{type(content).__module__}.{type(content).__qualname__}"},
            hint="Give a figure of matplotlib, a DataFrame, text in Markdown, or an object with _repr_html_.",
        )
    path = folder / f"{start}.{suffix}"
    data = text.encode("utf-8", "backslashreplace")
    files.write_stream(str(path), lambda sink: sink.write(data))
    return path


def _figure(content: Any) -> Any:
    """Return the figure that something is or belongs to; None if there is none."""
    if type(content).__module__.partition(".")[0] not in ("matplotlib", "seaborn"):
        return None
    for found in (content, getattr(content, "figure", None)):
        if hasattr(found, "savefig"):
            return found
    return None


def _text(content: Any, title: str | None) -> tuple[str | None, str]:
    if isinstance(content, str):
        return f"# {title}\n\n{content}" if title else content, "md"
    pandas = sys.modules.get("pandas")
    html: str | None = None
    if pandas is not None and isinstance(content, (pandas.DataFrame, pandas.Series)):
        frame = content.to_frame() if isinstance(content, pandas.Series) else content
        html = frame.head(_MOST_ROWS).to_html()
        if len(frame) > _MOST_ROWS:
            html += f"\n<p>The first {_MOST_ROWS} of {len(frame)} rows.</p>"
    elif not isinstance(content, type) and callable(getattr(content, "_repr_html_", None)):
        html = str(content._repr_html_())
    return html, "html"


def cards_of(task: Any) -> list[Path]:
    """Return the report cards of a task in the order they were made; empty if it has none."""
    folder = Path(job_folder(task)) / FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []
