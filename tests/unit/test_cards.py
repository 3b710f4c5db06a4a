"""``self.job.report``: figures, tables and notes in the folder of the job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.cards import cards
from d6tpipe.errors import ParameterError


class Shows:
    def _repr_html_(self) -> str:
        return "<b>bold ä</b>"


class ShowsNot:
    def _repr_html_(self) -> None:
        return None


class Reports(dp.tasks.TaskPickle):
    what = dp.Parameter(default="text")

    def run(self) -> None:
        for obj, title in THINGS[self.what]:
            self.job.report(obj, title)
        self.save(1)


class ReportsAgain(Reports):
    resumable = True
    retry_count = 2

    def run(self) -> None:
        self.job.report("text")
        if self.job.attempt == 1:
            raise ValueError("again")
        self.save(1)


THINGS: dict[str, list[tuple[Any, Any]]] = {
    "text": [("# Notes\nä", "What I saw: a/b"), (Shows(), None), ("more", "x" * 300)],
    "none": [],
    "object": [(object(), "x")],
    "class": [(Shows, "x")],
    "silent": [(ShowsNot(), "x")],
    "title": [("text", 3)],
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


def test_cards_are_numbered_files_in_the_order_of_reporting() -> None:
    dp.run(Reports())
    found = cards(Reports())
    assert [(one.number, one.title, one.kind) for one in found] == [
        (1, "What I saw_ a_b", "md"), (2, "", "html"), (3, "x" * 100, "md"),
    ]  # fmt: skip
    assert [one.path.name[:4] for one in found] == ["01-W", "02.h", "03-x"]
    assert found[0].path.parent.name == "report" and found[0].path.read_text(encoding="utf-8") == "# Notes\nä"
    assert "<b>bold ä</b>" in found[1].path.read_text(encoding="utf-8") and "utf-8" in found[1].path.read_text()


def test_a_task_without_cards_has_none_and_nothing_is_made() -> None:
    assert cards(Reports(what="none")) == []
    dp.run(Reports(what="none"))
    assert cards(Reports(what="none")) == []


def test_a_new_build_begins_from_nothing_and_a_resumable_one_goes_on() -> None:
    dp.run(Reports())
    dp.run(Reports(), forced_all=True)
    assert len(cards(Reports())) == 3
    dp.run(ReportsAgain())
    assert [one.number for one in cards(ReportsAgain())] == [1, 2]
    ReportsAgain().reset(confirm=False)
    assert cards(ReportsAgain()) == []


@pytest.mark.parametrize("what", ["object", "class", "silent"])
def test_what_cannot_be_shown_is_told(what: str) -> None:
    (failure,) = dp.run(Reports(what=what), abort=False).failures
    assert isinstance(failure.error, ParameterError)
    for words in ("Reports", "matplotlib figure", "_repr_html_", "got"):
        assert words in str(failure.error)
    assert cards(Reports(what=what)) == []


def test_a_title_is_text() -> None:
    (failure,) = dp.run(Reports(what="title"), abort=False).failures
    assert "title of a report card is text" in str(failure.error)


def test_tables_show_their_first_rows() -> None:
    pandas = pytest.importorskip("pandas")
    THINGS["tables"] = [
        (pandas.DataFrame({"a": [1, 2], "b": ["<x>", "ä"]}), "small"),
        (pandas.Series(range(1234), name="many"), "large"),
    ]
    dp.run(Reports(what="tables"))
    small, large = [one.path.read_text(encoding="utf-8") for one in cards(Reports(what="tables"))]
    assert "&lt;x&gt;" in small and "ä" in small and "rows" not in small
    assert large.count("<tr>") == 1000 and ">999<" in large and ">1000<" not in large
    assert "The first 1,000 of 1,234 rows" in large and "many" in large


def test_a_figure_becomes_a_picture() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    THINGS["figure"] = [(figure, "Loss")]
    dp.run(Reports(what="figure"))
    (card,) = cards(Reports(what="figure"))
    assert card.path.name == "01-Loss.png" and card.path.read_bytes().startswith(b"\x89PNG")


def test_report_returns_the_path() -> None:
    class Says(dp.tasks.TaskPickle):
        def run(self) -> None:
            path = self.job.report("text", "Note")
            self.save((str(path), path.read_text(), str(self.job.dir)))

    dp.run(Says())
    path, text, folder = Says().outputLoad()
    assert Path(path) == Path(folder) / "report" / "01-Note.md" and text == "text"


def test_neither_pandas_nor_matplotlib_is_imported_for_text(run_python: Any) -> None:
    code = (
        "import sys, d6tpipe as dp\n"
        "class A(dp.tasks.TaskPickle):\n"
        "    def run(self):\n"
        "        self.job.report('text'); self.job.emit('x', n=1); self.save(1)\n"
        "dp.run(A(), execution_summary=False)\n"
        "print([name for name in ('pandas', 'matplotlib') if name in sys.modules])\n"
    )
    assert run_python("-c", code).stdout.strip().endswith("[]")
    assert "d6tpipe" in sys.modules


class ReportsAnywhere(dp.tasks.TaskPickle):
    def run(self) -> None:
        self.job.report("text")
        self.job.report(Shows())
        self.save(1)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_cards_are_there_wherever_the_body_runs(executor: str) -> None:
    dp.run(ReportsAnywhere(), executor=executor, workers=2)
    assert [one.kind for one in cards(ReportsAnywhere())] == ["md", "html"]
