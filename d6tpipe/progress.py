"""Progress of a run: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from d6tpipe.errors import shown
from d6tpipe.interfaces import Event, EventKind

__all__ = ["LineProgress", "LiveProgress", "progress_for"]


class LineProgress:
    """A line per finished task, on standard error."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def expect(self, total: int) -> None:
        """Take notice that there are more tasks than it seemed."""
        self.total = total

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.STARTED:
            return
        self.done += 1
        took = f" {event.seconds:.2f} s" if event.seconds is not None else ""
        print(f"[{self.done}/{max(self.total, self.done)}] {event.state} {shown(event.task)}{took}", file=sys.stderr)


class LiveProgress:
    """A bar with counts and what runs now, on a terminal or in a notebook."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._failed = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._row = self._bar.add_task("starting", total=total)

    def expect(self, total: int) -> None:
        """Take notice that there are more tasks than it seemed."""
        self._bar.update(self._row, total=total)

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        failed = f" ({self._failed} failed)" if self._failed else ""
        if event.kind is EventKind.STARTED:
            self._bar.update(self._row, description=f"running {_short(event.task)}{failed}")
            return
        if event.kind is EventKind.FAILED:
            self._failed += 1
        self._bar.update(self._row, advance=1)


def _short(task: Any) -> str:
    words = shown(task)
    return words if len(words) <= 60 else words[:57] + "..."


def progress_for(choice: bool | None, total: int, growing: bool = False) -> LineProgress | LiveProgress | None:
    """Return what shows the progress of `total` tasks, or None.

    Parameters
    ----------
    choice : bool or None
        True always shows, False never; None shows on a terminal only.
    total : int
    growing : bool
        There will be more.
    """
    terminal = sys.stderr.isatty()
    if choice is False or (choice is None and not terminal) or (total == 0 and not growing):
        return None
    return LiveProgress(total) if terminal else LineProgress(total)
