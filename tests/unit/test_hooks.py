"""Hooks: what a body needs around it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import BuildError, DeclarationError

CALLS: list[Any] = []


class needs_java(dp.SubmitHook):
    def __init__(self, version: int) -> None:
        self.key = version

    def before_submit(self, task: Any, job: Any) -> None:
        CALLS.append((task.task_family, self.key))
        job.env["JAVA_HOME"] = f"/opt/java{self.key}"
        job.env["SEEN"] = job.env.get("SEEN", "") + str(self.key)


class In(dp.SubmitHook):
    def __init__(self, folder: str) -> None:
        self.key = self.folder = folder

    def before_submit(self, task: Any, job: Any) -> None:
        job.cwd = self.folder


class Takes(dp.SubmitHook):
    def before_submit(self, task: Any, job: Any) -> None:
        job.resources["db"] = 2
        job.timeout = 200


class Breaks(dp.SubmitHook):
    def before_submit(self, task: Any, job: Any) -> None:
        CALLS.append("breaks")
        raise ValueError("no java")


@needs_java(11)
class Inner(dp.Config):
    size = dp.IntParameter(default=1)


@needs_java(11)
class Index(dp.Config):
    inner = dp.ConfigParameter(Inner, default={})


class Uses(dp.tasks.TaskPickle):
    index = dp.ConfigParameter(Index, default={})
    more = dp.ListParameter(default=[])

    def run(self) -> None:
        self.save((os.environ.get("JAVA_HOME"), os.environ.get("SEEN"), self.job.remaining_time()))


@needs_java(17)
@needs_java(8)
class Own(Uses):
    pass


class Plain(dp.tasks.TaskPickle):
    def run(self) -> None:
        self.save((os.environ.get("JAVA_HOME"), os.getcwd()))


@Breaks()
class Broken(Plain):
    pass


@Takes()
class Limited(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.job.remaining_time())


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False
    CALLS.clear()


EXECUTORS = [("serial", 1), ("threads", 2), ("processes", 2), ("dask", 2)]


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS)
def test_hooks_of_configs_are_applied_once_and_to_their_tasks_only(executor: str, workers: int) -> None:
    if executor == "dask":
        pytest.importorskip("distributed")
    assert dp.run([Uses(), Plain()], executor=executor, workers=workers)
    assert Uses().outputLoad()[:2] == ("/opt/java11", "11")
    assert Plain().outputLoad()[0] is None and "JAVA_HOME" not in os.environ
    assert CALLS == [("Uses", 11)]


def test_hooks_of_a_class_come_before_those_of_its_configs_in_the_order_of_decorating() -> None:
    dp.run(Own(more=[Inner(size=3)]))
    assert Own(more=[Inner(size=3)]).outputLoad()[:2] == ("/opt/java11", "81711")
    dp.run(Own(more=[Inner(size=3)]), forced_all=True)
    assert len(CALLS) == 6


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS[:3])
def test_a_hook_may_set_the_working_folder(executor: str, workers: int, tmp_path: Path) -> None:
    class Moved(Plain):
        pass

    In(str(tmp_path))(Moved)
    here = os.getcwd()
    assert dp.run(Moved(), executor=executor, workers=workers)
    assert Moved().outputLoad()[1] == str(tmp_path) and os.getcwd() == here


def test_a_hook_may_set_resources_and_time() -> None:
    assert dp.run(Limited(), resources={"db": 2})
    assert 0 < Limited().outputLoad() <= 200
    Limited().reset(confirm=False)
    with pytest.raises(dp.errors.GraphError, match="db"):
        dp.run(Limited(), resources={"db": 1})


def test_a_hook_that_raises_fails_its_task_alone() -> None:
    result = dp.run([Broken(), Plain()], abort=False)
    assert {str(state): n for state, n in result.counts.items()} == {"failed": 1, "built": 1}
    error = result.failures[0].error
    assert isinstance(error, BuildError) and "no java" in str(error) and "Breaks" in str(error)
    assert CALLS == ["breaks"]


def test_hooks_are_no_part_of_what_counts_as_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    dp.run(Plain())
    needs_java(8)(Plain)
    try:
        assert dp.run(Plain()).counts["fresh"] == 1
    finally:
        delattr(Plain, "_d6tpipe_hooks")


def test_a_hook_goes_on_classes_only() -> None:
    with pytest.raises(DeclarationError, match="no class of tasks or configs"):
        needs_java(11)(print)  # type: ignore[type-var]


class Strips(dp.SubmitHook):
    def before_submit(self, task: Any, job: Any) -> None:
        job.env["STRIPPED"] = None


def test_none_takes_a_variable_away_and_a_folder_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPPED", "here")

    class Bare(dp.tasks.TaskPickle):
        def run(self) -> None:
            self.save(os.environ.get("STRIPPED", "gone"))

    class Lost(Plain):
        pass

    Strips()(Bare)
    In("/no/such/folder")(Lost)
    result = dp.run([Bare(), Lost()], workers=2, abort=False)
    assert Bare().outputLoad() == "gone" and os.environ["STRIPPED"] == "here"
    assert "working folder that a hook has set" in str(result.failures[0].error)


@needs_java(21)
class Yields(dp.tasks.TaskPickle):
    def run(self) -> Any:
        before = os.environ.get("JAVA_HOME")
        yield Limited(n=5)
        self.save((before, os.environ.get("JAVA_HOME")))


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS[:3])
def test_a_body_that_yields_has_its_environment_afterwards_too(executor: str, workers: int) -> None:
    assert dp.run(Yields(), executor=executor, workers=workers, resources={"db": 2})
    assert Yields().outputLoad() == ("/opt/java21", "/opt/java21")
