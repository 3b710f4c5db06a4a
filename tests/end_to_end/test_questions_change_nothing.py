"""Asking is free: no file, no folder, no change of a time, also where nothing can be written."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

import luigi
import pytest

import d6tpipe


class First(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter(default=1)

    def run(self):
        self.save(self.n)


class Mixed(d6tpipe.tasks.TaskData):
    persist = {"a": "pickle", "b": "parquet", "c": "json"}
    task_group = "group"

    def requires(self):
        return First()

    def run(self):
        raise AssertionError("a question ran a body")


class Plain(luigi.Task):
    def requires(self):
        return Mixed()

    def output(self):
        return luigi.LocalTarget("plain/out.txt")

    def run(self):
        raise AssertionError("a question ran a body")


class Asks(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return {"plain": Plain(), "first": [First(n=2), First(n=3)]}

    def run(self):
        raise AssertionError("a question ran a body")


class Everything(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield Asks()
        yield [First(n=4), Mixed()]


QUESTIONS = {
    "complete": lambda task: task.complete(),
    "complete without cascade": lambda task: task.complete() if isinstance(task, Everything) else task.complete(False),
    "preview": d6tpipe.preview,
    "preview of a list": lambda task: d6tpipe.preview([task, First()]),
    "show": d6tpipe.show,
    "output": lambda task: task.output(),
    "input": lambda task: task.input(),
    "outputPath": lambda task: None if isinstance(task, Everything) else task.outputPath(),
    "taskflow_upstream": d6tpipe.taskflow_upstream,
    "only complete ones": lambda task: d6tpipe.taskflow_upstream(task, only_complete=True),
    "taskflow_downstream": lambda task: d6tpipe.taskflow_downstream(First(), task),
    "dry run": lambda task: d6tpipe.run(task, dry_run=True),
    "dry run, forced": lambda task: d6tpipe.run(task, dry_run=True, forced_all_upstream=True),
    "result of a dry run": lambda task: d6tpipe.run(task, dry_run=True).table(),
    "set_dir": lambda task: d6tpipe.set_dir("data"),
    "repr": repr,
}
TASKS = {"tree": Asks, "several outputs": Mixed, "aggregator": Everything}


def ask(question, task):
    with redirect_stdout(io.StringIO()):
        return QUESTIONS[question](task())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_before_the_first_run_makes_no_folder(question, task, isolated):
    ask(question, task)
    assert [] == list(isolated.iterdir())


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_a_half_built_flow_touches_nothing(question, isolated, snapshot):
    d6tpipe.run(First(), execution_summary=False)
    Path("data/Mixed").mkdir()
    before = snapshot(isolated)
    ask(question, Everything)
    assert before == snapshot(isolated)


def test_loading_what_is_not_built_makes_no_folder(isolated):
    with pytest.raises(d6tpipe.errors.NotBuiltError):
        First().outputLoad()
    assert [] == list(isolated.iterdir())


def test_resetting_what_is_not_built_makes_no_folder(isolated):
    First().reset(confirm=False)
    d6tpipe.invalidate_upstream(Mixed())
    assert [] == list(isolated.iterdir())


def test_a_run_with_nothing_to_do_touches_nothing(isolated, snapshot):
    d6tpipe.run(First(), execution_summary=False)
    before = snapshot(isolated)
    d6tpipe.run(First(), execution_summary=False)
    assert before == snapshot(isolated)


def test_a_workflow_answers_without_making_folders(isolated):
    flow = d6tpipe.Workflow(Mixed, path=str(isolated / "elsewhere"))
    with redirect_stdout(io.StringIO()):
        flow.preview()
    flow.get_task().complete()
    flow.outputPath()
    assert [] == list(isolated.iterdir())


READ_ONLY = """
    import io, contextlib
    d6tpipe.set_dir("data")
    class Built(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save([1, 2])
    class Missing(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Built()
        def run(self):
            raise AssertionError
    with contextlib.redirect_stdout(io.StringIO()):
        d6tpipe.preview(Missing())
        d6tpipe.run(Missing(), dry_run=True)
    print(Built().complete(), Missing().complete(), Built().outputLoad())
    print([t.task_family for t in d6tpipe.taskflow_upstream(Missing())])
    print(d6tpipe.run(Built(), execution_summary=False).counts)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_questions_work_in_a_read_only_folder_as_an_ordinary_user(as_ordinary_user, common_folder, snapshot):
    class Built(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save([1, 2])

    d6tpipe.set_dir(common_folder / "data")
    d6tpipe.run(Built(), execution_summary=False)
    for path in [*common_folder.rglob("*"), common_folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(common_folder)
    done = as_ordinary_user(READ_ONLY)
    assert "True False [1, 2]\n['Missing', 'Built']\n" in done.stdout
    assert "fresh" in done.stdout and ": 1}" in done.stdout
    assert before == snapshot(common_folder)
